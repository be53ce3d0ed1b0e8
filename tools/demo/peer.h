// The other ends of the demo's connections: plain blocking sockets on the
// loopback address, so that what aios does is judged by something else.

#ifndef AIOS_TOOLS_DEMO_PEER_H_
#define AIOS_TOOLS_DEMO_PEER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace aios::demo {

// The loopback address of the demo.
inline constexpr char kLoopback[] = "127.0.0.1";

// A TCP socket, closed with its object. What fails ends the program: it would
// be no fault of aios.
class Peer {
 public:
  // Connects to the port.
  static Peer Connect(uint16_t port);

  Peer(Peer&& other) noexcept : socket_(other.socket_) { other.socket_ = -1; }
  Peer& operator=(Peer&& other) noexcept;
  ~Peer();

  void Send(std::string_view bytes);
  // Reads to the end of the stream.
  std::string ReceiveAll();
  // Closes the connection with a reset.
  void Reset();

 private:
  friend class Listener;

  explicit Peer(int socket) : socket_(socket) {}

  int socket_;
};

// A listening socket on a free port.
class Listener {
 public:
  // How much the connections hold that nobody has read yet.
  static constexpr int kReceiveBufferBytes = 32 << 10;

  Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener();

  uint16_t port() const { return port_; }
  // Waits for a connection.
  Peer Accept();

 private:
  int socket_;
  uint16_t port_;
};

// A port on which nobody listens.
uint16_t UnusedPort();

// Limits how much a socket takes to send that the peer has no room for.
void SetSendBuffer(int socket, int bytes);

}  // namespace aios::demo

#endif  // AIOS_TOOLS_DEMO_PEER_H_
