#include "tests/support/blocking_peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "gtest/gtest.h"

namespace aios::test {

namespace {

#if defined(MSG_NOSIGNAL)
constexpr int kSendFlags = MSG_NOSIGNAL;
#else
constexpr int kSendFlags = 0;
#endif

constexpr int kDatagramMax = 65536;

union NativeAddress {
  sockaddr generic;
  sockaddr_in ipv4;
  sockaddr_in6 ipv6;
};

// Not the functions of backends/posix_socket.h: a mistake in those must not
// agree with itself.
socklen_t ToNative(const SocketAddress& address, NativeAddress* native) {
  std::memset(native, 0, sizeof(*native));
  const IpAddress& ip = address.ip();
  IpAddress::Ipv6Bytes bytes = ip.ipv6();
  if (ip.is_ipv4()) {
    native->ipv4.sin_family = AF_INET;
    native->ipv4.sin_port = htons(address.port());
    // The last four of ::ffff:a.b.c.d.
    std::memcpy(&native->ipv4.sin_addr, &bytes[12], 4);
    return sizeof(native->ipv4);
  }
  native->ipv6.sin6_family = AF_INET6;
  native->ipv6.sin6_port = htons(address.port());
  std::memcpy(&native->ipv6.sin6_addr, bytes.data(), bytes.size());
  native->ipv6.sin6_scope_id = ip.scope();
  return sizeof(native->ipv6);
}

SocketAddress FromNative(const NativeAddress& native) {
  if (native.generic.sa_family == AF_INET) {
    return SocketAddress(
        IpAddress::FromIpv4(ntohl(native.ipv4.sin_addr.s_addr)),
        ntohs(native.ipv4.sin_port));
  }
  IpAddress::Ipv6Bytes bytes;
  std::memcpy(bytes.data(), &native.ipv6.sin6_addr, bytes.size());
  return SocketAddress(IpAddress::FromIpv6(bytes, native.ipv6.sin6_scope_id),
                       ntohs(native.ipv6.sin6_port));
}

Error LastError() { return Error(errno); }

bool Poll(int descriptor, short events, Nanoseconds timeout) {
  pollfd entry = {.fd = descriptor, .events = events, .revents = 0};
  int milliseconds = static_cast<int>(timeout / 1'000'000);
  int result;
  do {
    result = poll(&entry, 1, milliseconds);
  } while (result < 0 && errno == EINTR);
  return result > 0;
}

Transfer TransferOf(ssize_t result) {
  if (result < 0) return {.error = LastError()};
  return {.count = static_cast<size_t>(result)};
}

void SetIntOption(int descriptor, int level, int name, int value) {
  EXPECT_EQ(setsockopt(descriptor, level, name, &value, sizeof(value)), 0)
      << LastError().Name();
}

// The peer's sockets do not block, so that its calls can end in time.
void Prepare(int descriptor) {
  EXPECT_TRUE(SetBlockingMode(descriptor, false).ok());
#if defined(SO_NOSIGPIPE)
  int on = 1;
  setsockopt(descriptor, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

class BlockingTcpPeer final : public TcpPeer {
 public:
  explicit BlockingTcpPeer(OwnedDescriptor socket)
      : socket_(std::move(socket)) {
    Prepare(socket_.get());
    // Small pieces are to leave when they are sent. A connection that is gone
    // already may refuse, and needs it no more.
    int on = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }

  Transfer TrySend(std::string_view bytes) override {
    ssize_t result;
    do {
      result = send(socket_.get(), bytes.data(), bytes.size(), kSendFlags);
    } while (result < 0 && errno == EINTR);
    return TransferOf(result);
  }

  Transfer TryReceive(std::span<char> buffer) override {
    ssize_t result;
    do {
      result = recv(socket_.get(), buffer.data(), buffer.size(), 0);
    } while (result < 0 && errno == EINTR);
    return TransferOf(result);
  }

  bool AwaitWritable() override {
    bool ready = PollWritable(socket_.get(), kGuard);
    EXPECT_TRUE(ready) << "the peer could not send";
    return ready;
  }

  bool AwaitReadable() override {
    bool ready = PollReadable(socket_.get(), kGuard);
    EXPECT_TRUE(ready) << "the peer received nothing";
    return ready;
  }

  Error Shutdown(Direction direction) override {
    int how = direction == Direction::kInput    ? SHUT_RD
              : direction == Direction::kOutput ? SHUT_WR
                                                : SHUT_RDWR;
    return shutdown(socket_.get(), how) == 0 ? Error() : LastError();
  }

  void Close() override { socket_.Close(); }

  void Reset() override {
    linger now = {.l_onoff = 1, .l_linger = 0};
    EXPECT_EQ(
        setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    socket_.Close();
  }

  SocketAddress LocalAddress() override {
    return LocalAddressOf(socket_.get());
  }
  SocketAddress RemoteAddress() override {
    return RemoteAddressOf(socket_.get());
  }

  void SetReceiveBuffer(int bytes) override {
    SetIntOption(socket_.get(), SOL_SOCKET, SO_RCVBUF, bytes);
  }
  void SetSendBuffer(int bytes) override {
    SetIntOption(socket_.get(), SOL_SOCKET, SO_SNDBUF, bytes);
  }

 private:
  OwnedDescriptor socket_;
};

class BlockingTcpListenerPeer final : public TcpListenerPeer {
 public:
  explicit BlockingTcpListenerPeer(OwnedDescriptor socket)
      : socket_(std::move(socket)), address_(LocalAddressOf(socket_.get())) {
    Prepare(socket_.get());
  }

  SocketAddress address() const override { return address_; }

  void SetReceiveBuffer(int bytes) override {
    SetIntOption(socket_.get(), SOL_SOCKET, SO_RCVBUF, bytes);
  }

  std::unique_ptr<TcpPeer> Accept() override {
    OwnedDescriptor connection = AcceptWithinGuard(socket_.get());
    if (!connection.valid()) return nullptr;
    return MakeTcpPeer(std::move(connection));
  }

 private:
  OwnedDescriptor socket_;
  const SocketAddress address_;
};

class BlockingUdpPeer final : public UdpPeer {
 public:
  explicit BlockingUdpPeer(OwnedDescriptor socket)
      : socket_(std::move(socket)), address_(LocalAddressOf(socket_.get())) {
    Prepare(socket_.get());
    // Some systems send no datagram that is longer than this, and have small
    // ones.
    int bytes = 0;
    socklen_t length = sizeof(bytes);
    getsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, &length);
    if (bytes < kDatagramMax) {
      SetIntOption(socket_.get(), SOL_SOCKET, SO_SNDBUF, kDatagramMax);
    }
  }

  SocketAddress address() const override { return address_; }

  Error SendTo(const SocketAddress& target, std::string_view payload) override {
    NativeAddress native;
    socklen_t length = ToNative(target, &native);
    ssize_t result = sendto(socket_.get(), payload.data(), payload.size(),
                            kSendFlags, &native.generic, length);
    return result < 0 ? LastError() : Error();
  }

  Error Connect(const SocketAddress& target) override {
    NativeAddress native;
    socklen_t length = ToNative(target, &native);
    return connect(socket_.get(), &native.generic, length) == 0 ? Error()
                                                                : LastError();
  }

  Error Send(std::string_view payload) override {
    ssize_t result =
        send(socket_.get(), payload.data(), payload.size(), kSendFlags);
    return result < 0 ? LastError() : Error();
  }

  std::optional<PeerDatagram> TryReceive() override {
    std::string payload(65536, '\0');
    NativeAddress native = {};
    socklen_t length = sizeof(native);
    ssize_t result = recvfrom(socket_.get(), payload.data(), payload.size(), 0,
                              &native.generic, &length);
    if (result < 0) {
      EXPECT_TRUE(errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED)
          << LastError().Name();
      return std::nullopt;
    }
    payload.resize(static_cast<size_t>(result));
    return PeerDatagram{.payload = std::move(payload),
                        .sender = FromNative(native)};
  }

  PeerDatagram Receive() override {
    while (PollReadable(socket_.get(), kGuard)) {
      if (std::optional<PeerDatagram> datagram = TryReceive()) {
        return *std::move(datagram);
      }
    }
    ADD_FAILURE() << "the peer received no datagram";
    return {};
  }

 private:
  OwnedDescriptor socket_;
  const SocketAddress address_;
};

}  // namespace

void OwnedDescriptor::Close() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

OwnedDescriptor MakeSocket(SocketType type, Family family) {
  OwnedDescriptor made(
      socket(family == Family::kIpv4 ? AF_INET : AF_INET6,
             type == SocketType::kStream ? SOCK_STREAM : SOCK_DGRAM, 0));
  EXPECT_TRUE(made.valid()) << LastError().Name();
  return made;
}

OwnedDescriptor MakeBoundSocket(SocketType type, Family family) {
  OwnedDescriptor made = MakeSocket(type, family);
  NativeAddress native;
  socklen_t length =
      ToNative(SocketAddress(IpAddress::Loopback(family), 0), &native);
  EXPECT_EQ(bind(made.get(), &native.generic, length), 0) << LastError().Name();
  return made;
}

Error SetBlockingMode(int descriptor, bool blocking) {
  int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0) return LastError();
  flags = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK;
  return fcntl(descriptor, F_SETFL, flags) == 0 ? Error() : LastError();
}

SocketAddress LocalAddressOf(int descriptor) {
  NativeAddress native = {};
  socklen_t length = sizeof(native);
  EXPECT_EQ(getsockname(descriptor, &native.generic, &length), 0)
      << LastError().Name();
  return FromNative(native);
}

SocketAddress RemoteAddressOf(int descriptor) {
  NativeAddress native = {};
  socklen_t length = sizeof(native);
  EXPECT_EQ(getpeername(descriptor, &native.generic, &length), 0)
      << LastError().Name();
  return FromNative(native);
}

Error ConnectWithin(int descriptor, const SocketAddress& address,
                    Nanoseconds timeout) {
  NativeAddress native;
  socklen_t length = ToNative(address, &native);
  int flags = fcntl(descriptor, F_GETFL);
  if (Error error = SetBlockingMode(descriptor, false); !error.ok()) {
    return error;
  }
  Error error;
  if (connect(descriptor, &native.generic, length) != 0) {
    error = LastError();
    if (error == Error(EINPROGRESS) || error == Error(EINTR)) {
      if (PollWritable(descriptor, timeout)) {
        int code = 0;
        socklen_t size = sizeof(code);
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size);
        error = Error(code);
      } else {
        error = Error(ETIMEDOUT);
      }
    }
  }
  fcntl(descriptor, F_SETFL, flags);
  return error;
}

OwnedDescriptor AcceptWithinGuard(int listener) {
  while (PollReadable(listener, kGuard)) {
    OwnedDescriptor connection(accept(listener, nullptr, nullptr));
    if (connection.valid()) return connection;
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      ADD_FAILURE() << "accept: " << LastError().Name();
      return connection;
    }
  }
  ADD_FAILURE() << "nobody connected to the peer";
  return OwnedDescriptor();
}

bool PollReadable(int descriptor, Nanoseconds timeout) {
  return Poll(descriptor, POLLIN, timeout);
}

bool PollWritable(int descriptor, Nanoseconds timeout) {
  return Poll(descriptor, POLLOUT, timeout);
}

std::unique_ptr<TcpPeer> MakeTcpPeer(OwnedDescriptor connected) {
  if (!connected.valid()) return nullptr;
  return std::make_unique<BlockingTcpPeer>(std::move(connected));
}

std::unique_ptr<TcpListenerPeer> MakeTcpListenerPeer(Family family) {
  OwnedDescriptor socket = MakeBoundSocket(SocketType::kStream, family);
  if (!socket.valid() || listen(socket.get(), 1024) != 0) {
    ADD_FAILURE() << "listen: " << LastError().Name();
    return nullptr;
  }
  return std::make_unique<BlockingTcpListenerPeer>(std::move(socket));
}

std::unique_ptr<UdpPeer> MakeUdpPeer(Family family) {
  OwnedDescriptor socket = MakeBoundSocket(SocketType::kDatagram, family);
  if (!socket.valid()) return nullptr;
  return std::make_unique<BlockingUdpPeer>(std::move(socket));
}

}  // namespace aios::test
