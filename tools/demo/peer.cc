#include "tools/demo/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace aios::demo {

namespace {

// Returns the result of a system call, unless it has failed.
template <typename T>
T Check(T result, const char* call) {
  if (result < 0) {
    std::perror(call);
    std::exit(1);
  }
  return result;
}

int MakeSocket() {
  return Check(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket");
}

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// Binds to a free port and returns that.
uint16_t Bind(int socket) {
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  Check(bind(socket, reinterpret_cast<sockaddr*>(&address), length), "bind");
  Check(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length),
        "getsockname");
  return ntohs(address.sin_port);
}

}  // namespace

Peer Peer::Connect(uint16_t port) {
  int socket = MakeSocket();
  sockaddr_in address = Loopback(port);
  Check(connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address)),
        "connect");
  return Peer(socket);
}

Peer& Peer::operator=(Peer&& other) noexcept {
  std::swap(socket_, other.socket_);
  return *this;
}

Peer::~Peer() {
  if (socket_ >= 0) close(socket_);
}

void Peer::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    bytes.remove_prefix(
        Check(send(socket_, bytes.data(), bytes.size(), 0), "send"));
  }
}

std::string Peer::ReceiveAll() {
  std::string all;
  std::array<char, 16384> buffer;
  while (size_t count =
             Check(recv(socket_, buffer.data(), buffer.size(), 0), "recv")) {
    all.append(buffer.data(), count);
  }
  return all;
}

void Peer::Reset() {
  linger hard = {.l_onoff = 1, .l_linger = 0};
  Check(setsockopt(socket_, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)),
        "setsockopt");
  close(std::exchange(socket_, -1));
}

Listener::Listener() : socket_(MakeSocket()), port_(Bind(socket_)) {
  int bytes = kReceiveBufferBytes;
  Check(setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)),
        "setsockopt");
  Check(listen(socket_, SOMAXCONN), "listen");
}

Listener::~Listener() { close(socket_); }

Peer Listener::Accept() {
  return Peer(Check(accept(socket_, nullptr, nullptr), "accept"));
}

uint16_t UnusedPort() {
  int socket = MakeSocket();
  uint16_t port = Bind(socket);
  close(socket);
  return port;
}

void SetSendBuffer(int socket, int bytes) {
  Check(setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)),
        "setsockopt");
}

}  // namespace aios::demo
