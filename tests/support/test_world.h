// The world in which a test meets a kernel: the kernel itself, and peers that
// are not aios. The suites that run on every kernel are written against this
// interface alone; they open no socket, read no clock and never sleep.
//
// On a real kernel a peer is a plain socket used with blocking calls. On a
// simulated one it is a scripted host, and the calls that would block advance
// virtual time instead. In both nothing waits for ever: whatever has not
// happened after `kGuard` ends as a test failure at the line that waited for
// it.
//
// The code under test runs on the test's own thread, so it stands still while a
// peer waits. A peer must therefore not wait for what that code has yet to do:
// run it first, or take turns with the calls whose names begin with `Try`:
//
//   size_t sent = 0;
//   ASSERT_TRUE(world.Until([&] {
//     sent += peer->TrySend(bytes.substr(sent)).count;
//     collection.Wait(absl::ZeroDuration());
//     return done;
//   }));

#ifndef AIOS_TESTS_SUPPORT_TEST_WORLD_H_
#define AIOS_TESTS_SUPPORT_TEST_WORLD_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios::test {

// How long anything in a test may take, on the clock of the world.
inline constexpr Nanoseconds kGuard = 10'000'000'000;

// What a peer read: `bytes`, and why it read no more. With neither `end` nor
// `error`, it has as many as it asked for.
struct PeerRead {
  std::string bytes;
  bool end = false;  // end of the stream
  Error error;       // such as ECONNRESET
};

// The other end of a TCP connection. Destroying it closes it.
class TcpPeer {
 public:
  virtual ~TcpPeer() = default;

  // Takes a prefix of the bytes, or EAGAIN. Never waits.
  virtual Transfer TrySend(std::string_view bytes) = 0;
  // As `Kernel::Receive`: 1 or more bytes, 0 for the end of the stream, or an
  // error, EAGAIN among them. Never waits.
  virtual Transfer TryReceive(std::span<char> buffer) = 0;

  // Wait until the next `TrySend` or `TryReceive` will not answer EAGAIN.
  // False, and a test failure, when the guard time is over.
  virtual bool AwaitWritable() = 0;
  virtual bool AwaitReadable() = 0;

  virtual Error Shutdown(Direction direction) = 0;
  // Closes in the ordinary way: FIN, or, on some systems, RST when there is
  // unread input.
  virtual void Close() = 0;
  // Closes with RST.
  virtual void Reset() = 0;

  virtual SocketAddress LocalAddress() = 0;
  virtual SocketAddress RemoteAddress() = 0;

  // Make the buffers small. The kernel may round; set the one for receiving
  // through `TcpListenerPeer` when the window matters from the beginning.
  virtual void SetReceiveBuffer(int bytes) = 0;
  virtual void SetSendBuffer(int bytes) = 0;

  // Sends everything. An error is one of the connection; not being able to go
  // on is a test failure.
  Error Send(std::string_view bytes);
  // Waits for input, then reads once: at most `limit` bytes.
  PeerRead Receive(size_t limit = 65536);
  // Reads exactly `size` bytes. Anything else is a test failure.
  std::string ReceiveExactly(size_t size);
  // Reads to the end of the stream or to an error.
  PeerRead ReceiveAll();
  Error ShutdownWrite() { return Shutdown(Direction::kOutput); }
};

class TcpListenerPeer {
 public:
  virtual ~TcpListenerPeer() = default;
  virtual SocketAddress address() const = 0;
  // For the connections accepted from now on.
  virtual void SetReceiveBuffer(int bytes) = 0;
  // Waits for a connection. Null, and a test failure, when none comes.
  virtual std::unique_ptr<TcpPeer> Accept() = 0;
};

struct PeerDatagram {
  std::string payload;
  SocketAddress sender;
};

class UdpPeer {
 public:
  virtual ~UdpPeer() = default;
  virtual SocketAddress address() const = 0;
  virtual Error SendTo(const SocketAddress& target,
                       std::string_view payload) = 0;
  // From then on `Send` works, and datagrams from elsewhere are not received.
  virtual Error Connect(const SocketAddress& target) = 0;
  virtual Error Send(std::string_view payload) = 0;
  // Nothing when no datagram is there. Never waits.
  virtual std::optional<PeerDatagram> TryReceive() = 0;
  // Waits for a datagram. An empty one from nowhere, and a test failure, when
  // none comes.
  virtual PeerDatagram Receive() = 0;
};

// A socket of the code under test with the peer it is connected to. The socket
// is as any other code would have made it: blocking, and unknown to aios until
// `Adopt`. The test closes it.
struct TcpPair {
  Handle handle = kNoHandle;
  std::unique_ptr<TcpPeer> peer;
};

// While it lives, the process (on a simulated kernel: the host) can have no
// more handles than it has. Peers cannot be made meanwhile, nor can real peers
// accept.
class HandleShortage {
 public:
  virtual ~HandleShortage() = default;
  // Lets `count` more be made.
  virtual void Allow(int count) = 0;
};

// While it lives, calls are interrupted (EINTR) as often as the world can do
// it.
class Interruptions {
 public:
  virtual ~Interruptions() = default;
  // How often there was an occasion.
  virtual int64_t count() const = 0;
};

// Sockets that nobody should hand to aios.
enum class Foreign {
  kNotASocket,   // ENOTSOCK
  kClosed,       // EBADF
  kOtherFamily,  // a stream socket, but not of IPv4 or IPv6: EPROTONOSUPPORT
};

// How a system differs from Linux where the contract of kernels leaves it open.
// What a test expects may depend on this, and on the name of no system.
struct Personality {
  // A peer is told by RST that its bytes were not read before the close, and
  // otherwise by the end of the stream.
  bool unread_input_resets = true;
  // To shut down a stream that has no peer is ENOTCONN, and otherwise OK.
  bool shutdown_needs_a_peer = true;
  // The longest datagram that a socket sends as it was made.
  size_t datagram_max = 65'507;
  // Attempts to connect stay in progress when the listener's queue is full, and
  // otherwise have an end.
  bool has_silent_addresses = true;
};

class TestWorld {
 public:
  virtual ~TestWorld();

  virtual const Personality& personality() const {
    static constexpr Personality kOfLinux;
    return kOfLinux;
  }

  // The kernel of the code under test. Wrap it in a decorator at will; peers
  // never pass through it.
  virtual Kernel& kernel() = 0;

  // True when time is virtual: then only what the world knows of can happen,
  // and a `Wait` without a timeout must not depend on another thread.
  virtual bool simulated() const = 0;

  // Whether sockets of this family work here (IPv6 is switched off in many a
  // container). Tests of a family begin with AIOS_NEEDS_FAMILY.
  virtual bool HasFamily(Family family) = 0;

  // The address under which the code under test and the peers find each other.
  // Real worlds: the loopback address for both.
  virtual IpAddress host_ip(Family family) = 0;
  virtual IpAddress peer_ip(Family family) = 0;

  // A link-local address of the host of the code under test, with its scope,
  // and the name of that interface. None on machines without.
  struct LinkLocal {
    IpAddress ip;
    std::string interface_name;
  };
  virtual std::optional<LinkLocal> link_local() = 0;

  // Peers. They wait for the connection to be established, which needs a
  // listener and no accept. Null and a test failure when that fails.
  virtual std::unique_ptr<TcpPeer> ConnectTo(const SocketAddress& address) = 0;
  virtual std::unique_ptr<TcpListenerPeer> Listen(Family family) = 0;
  virtual std::unique_ptr<UdpPeer> Udp(Family family) = 0;

  // A connected socket with its peer, and an unconnected one, a listening one
  // (on a free port of `host_ip`).
  virtual TcpPair RawSocketPair(Family family) = 0;
  virtual Handle RawSocket(SocketType type, Family family) = 0;
  virtual Handle RawListener(Family family) = 0;
  virtual Handle RawForeign(Foreign kind) = 0;

  // What code that knows nothing of aios does with a handle of its own:
  // blocking calls, straight to the socket.
  virtual Transfer DirectSend(Handle handle, std::string_view bytes) = 0;
  virtual Transfer DirectReceive(Handle handle, std::span<char> buffer) = 0;
  virtual bool IsBlocking(Handle handle) = 0;
  virtual void SetBlocking(Handle handle, bool blocking) = 0;
  // A second handle of the same socket, as `dup` or a child process makes it.
  virtual Handle Duplicate(Handle handle) = 0;
  // Closes a handle of the code under test without aios' knowledge.
  virtual void DirectClose(Handle handle) = 0;
  // Whether a child process would inherit it.
  virtual bool IsInherited(Handle handle) = 0;

  // An address at which every TCP connect is refused, every datagram answered
  // by port unreachable, as long as the world lives.
  virtual SocketAddress RefusingAddress(SocketType type, Family family) = 0;
  // An address at which a TCP connect stays in progress for long. Needs
  // nothing outside the machine. Tests begin with AIOS_NEEDS_SILENT_ADDRESS.
  virtual SocketAddress SilentAddress(Family family) = 0;

  // From now on no more than `spare` handles can be made.
  virtual std::unique_ptr<HandleShortage> LimitHandles(int spare) = 0;

  virtual std::unique_ptr<Interruptions> InterruptCalls() = 0;

  // Calls `condition` until it is true, letting the world go on a little
  // between the calls. False when it did not become true within the guard time;
  // nothing is reported then, so write ASSERT_TRUE(world.Until(…)). The
  // condition may do the work of the code under test, such as one turn of its
  // loop.
  bool Until(absl::FunctionRef<bool()> condition);

 private:
  // Where `Until` waits; made when first needed.
  std::unique_ptr<Poller> idle_poller_;
};

// Skips the test where no address is silent.
#define AIOS_NEEDS_SILENT_ADDRESS(world)                      \
  do {                                                        \
    if (!(world).personality().has_silent_addresses) {        \
      GTEST_SKIP() << "this system answers every attempt to " \
                      "connect on the machine";               \
    }                                                         \
  } while (false)

// Skips the test where the world lacks a family.
#define AIOS_NEEDS_FAMILY(world, family)                       \
  do {                                                         \
    if (!(world).HasFamily(family)) {                          \
      GTEST_SKIP() << "this machine lacks the address family"; \
    }                                                          \
  } while (false)

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_TEST_WORLD_H_
