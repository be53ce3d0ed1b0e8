#include "tests/support/real_world.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "gtest/gtest.h"

namespace aios::test {

namespace {

Error LastError() { return Error(errno); }

// Every descriptor below a lowered limit is taken.
class RealShortage final : public HandleShortage {
 public:
  explicit RealShortage(int spare) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit_), 0);
    OwnedDescriptor first_free(open("/dev/null", O_RDONLY | O_CLOEXEC));
    rlimit lower = limit_;
    lower.rlim_cur = static_cast<rlim_t>(first_free.get() + spare + 8);
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0) << LastError().Name();
    for (;;) {
      OwnedDescriptor filler(dup(first_free.get()));
      if (!filler.valid()) break;
      fillers_.push_back(std::move(filler));
    }
    EXPECT_EQ(errno, EMFILE);
    fillers_.push_back(std::move(first_free));
    Allow(spare);
  }

  ~RealShortage() override {
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &limit_), 0) << LastError().Name();
  }

  void Allow(int count) override {
    for (; count > 0 && !fillers_.empty(); --count) fillers_.pop_back();
  }

 private:
  rlimit limit_ = {};
  std::vector<OwnedDescriptor> fillers_;
};

std::atomic<int64_t> signals_handled = 0;

// A signal every half millisecond, with a handler after which system calls are
// not restarted.
class RealInterruptions final : public Interruptions {
 public:
  RealInterruptions() : before_(signals_handled.load()) {
    struct sigaction action = {};
    action.sa_handler = [](int) {
      signals_handled.fetch_add(1, std::memory_order_relaxed);
    };
    EXPECT_EQ(sigaction(SIGALRM, &action, &earlier_), 0);
    SetTimer(500);
  }

  ~RealInterruptions() override {
    SetTimer(0);
    EXPECT_EQ(sigaction(SIGALRM, &earlier_, nullptr), 0);
  }

  int64_t count() const override { return signals_handled.load() - before_; }

 private:
  void SetTimer(suseconds_t microseconds) {
    itimerval timer = {};
    timer.it_interval.tv_usec = microseconds;
    timer.it_value.tv_usec = microseconds;
    EXPECT_EQ(setitimer(ITIMER_REAL, &timer, nullptr), 0);
  }

  const int64_t before_;
  struct sigaction earlier_ = {};
};

}  // namespace

Personality RealWorld::PersonalityOfThisSystem() {
  Personality personality;
#if !defined(__linux__)
  personality.datagram_max = 9216;
#endif
#if defined(__FreeBSD__) || defined(__NetBSD__)
  personality.unread_input_resets = false;
#endif
#if defined(__NetBSD__)
  personality.shutdown_needs_a_peer = false;
#endif
#if defined(__FreeBSD__)
  // It answers, and then resets.
  personality.has_silent_addresses = false;
#endif
  return personality;
}

bool RealWorld::HasFamily(Family family) {
  OwnedDescriptor socket(
      ::socket(family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0));
  if (!socket.valid()) return false;
  if (family == Family::kIpv4) return true;
  // IPv6 may be compiled in, and yet without an address.
  sockaddr_in6 address = {};
  address.sin6_family = AF_INET6;
  address.sin6_addr = in6addr_loopback;
  return bind(socket.get(), reinterpret_cast<sockaddr*>(&address),
              sizeof(address)) == 0;
}

IpAddress RealWorld::host_ip(Family family) {
  return IpAddress::Loopback(family);
}

IpAddress RealWorld::peer_ip(Family family) {
  return IpAddress::Loopback(family);
}

std::optional<TestWorld::LinkLocal> RealWorld::link_local() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return std::nullopt;
  std::optional<LinkLocal> found;
  for (ifaddrs* entry = list; entry != nullptr && !found.has_value();
       entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET6) {
      continue;
    }
    sockaddr_in6 address;
    std::memcpy(&address, entry->ifa_addr, sizeof(address));
    if (!IN6_IS_ADDR_LINKLOCAL(&address.sin6_addr)) continue;
    // An address that is still tentative cannot be used.
    OwnedDescriptor probe(::socket(AF_INET6, SOCK_DGRAM, 0));
    if (bind(probe.get(), reinterpret_cast<sockaddr*>(&address),
             sizeof(address)) != 0) {
      continue;
    }
    IpAddress::Ipv6Bytes bytes;
    std::memcpy(bytes.data(), &address.sin6_addr, bytes.size());
    found = LinkLocal{.ip = IpAddress::FromIpv6(bytes, address.sin6_scope_id),
                      .interface_name = entry->ifa_name};
  }
  freeifaddrs(list);
  return found;
}

std::unique_ptr<TcpPeer> RealWorld::ConnectTo(const SocketAddress& address) {
  OwnedDescriptor socket = MakeSocket(SocketType::kStream, address.family());
  Error error = ConnectWithin(socket.get(), address, kGuard);
  if (!error.ok()) {
    ADD_FAILURE() << "the peer could not connect to " << address.ToString()
                  << ": " << error.Name();
    return nullptr;
  }
  return MakeTcpPeer(std::move(socket));
}

std::unique_ptr<TcpListenerPeer> RealWorld::Listen(Family family) {
  return MakeTcpListenerPeer(family);
}

std::unique_ptr<UdpPeer> RealWorld::Udp(Family family) {
  return MakeUdpPeer(family);
}

TcpPair RealWorld::RawSocketPair(Family family) {
  OwnedDescriptor listener = MakeBoundSocket(SocketType::kStream, family);
  EXPECT_EQ(listen(listener.get(), 1), 0) << LastError().Name();
  OwnedDescriptor socket = MakeSocket(SocketType::kStream, family);
  Error error =
      ConnectWithin(socket.get(), LocalAddressOf(listener.get()), kGuard);
  EXPECT_TRUE(error.ok()) << error.Name();
  TcpPair pair;
  pair.peer = MakeTcpPeer(AcceptWithinGuard(listener.get()));
  pair.handle = socket.Give();
  return pair;
}

Handle RealWorld::RawSocket(SocketType type, Family family) {
  return MakeSocket(type, family).Give();
}

Handle RealWorld::RawListener(Family family) {
  OwnedDescriptor listener = MakeBoundSocket(SocketType::kStream, family);
  EXPECT_EQ(listen(listener.get(), 1024), 0) << LastError().Name();
  return listener.Give();
}

Handle RealWorld::RawForeign(Foreign kind) {
  switch (kind) {
    case Foreign::kNotASocket:
      return open("/dev/null", O_RDWR);
    case Foreign::kClosed:
      // Far above what is in use, so that nobody gets the same number.
      return 1'000'000'000;
    case Foreign::kOtherFamily:
      return ::socket(AF_UNIX, SOCK_STREAM, 0);
  }
  return kNoHandle;
}

Transfer RealWorld::DirectSend(Handle handle, std::string_view bytes) {
  // Blocks inside `send` only if the socket takes less than all.
  if (IsBlocking(handle) && !PollWritable(handle, kGuard)) {
    ADD_FAILURE() << "cannot be written to directly";
    return {.error = Error(ETIMEDOUT)};
  }
#if defined(MSG_NOSIGNAL)
  constexpr int kFlags = MSG_NOSIGNAL;
#else
  constexpr int kFlags = 0;
#endif
  ssize_t result = send(handle, bytes.data(), bytes.size(), kFlags);
  if (result < 0) return {.error = LastError()};
  return {.count = static_cast<size_t>(result)};
}

Transfer RealWorld::DirectReceive(Handle handle, std::span<char> buffer) {
  if (IsBlocking(handle) && !PollReadable(handle, kGuard)) {
    ADD_FAILURE() << "has nothing to be read directly";
    return {.error = Error(ETIMEDOUT)};
  }
  ssize_t result = recv(handle, buffer.data(), buffer.size(), 0);
  if (result < 0) return {.error = LastError()};
  return {.count = static_cast<size_t>(result)};
}

bool RealWorld::IsBlocking(Handle handle) {
  int flags = fcntl(handle, F_GETFL);
  EXPECT_GE(flags, 0) << LastError().Name();
  return (flags & O_NONBLOCK) == 0;
}

void RealWorld::SetBlocking(Handle handle, bool blocking) {
  EXPECT_TRUE(SetBlockingMode(handle, blocking).ok());
}

Handle RealWorld::Duplicate(Handle handle) {
  int copy = dup(handle);
  EXPECT_GE(copy, 0) << LastError().Name();
  return copy;
}

void RealWorld::DirectClose(Handle handle) { close(handle); }

bool RealWorld::IsInherited(Handle handle) {
  int flags = fcntl(handle, F_GETFD);
  EXPECT_GE(flags, 0) << LastError().Name();
  return (flags & FD_CLOEXEC) == 0;
}

SocketAddress RealWorld::RefusingAddress(SocketType type, Family family) {
  // The port stays taken, so that nobody else comes to listen there. A datagram
  // socket takes nothing once it is connected, here to itself. The port of a
  // stream is that of a connection: one that is bound and nothing else says
  // nothing to strangers on some systems. Bound all the same, so that it is not
  // chosen for the attempt itself, which then would connect to itself.
  OwnedDescriptor socket = MakeBoundSocket(type, family);
  SocketAddress address = LocalAddressOf(socket.get());
  SocketAddress target = address;
  if (type == SocketType::kStream) {
    OwnedDescriptor listener = MakeBoundSocket(type, family);
    EXPECT_EQ(listen(listener.get(), 1), 0) << LastError().Name();
    target = LocalAddressOf(listener.get());
    held_.push_back(std::move(listener));
  }
  EXPECT_TRUE(ConnectWithin(socket.get(), target, kGuard).ok());
  held_.push_back(std::move(socket));
  return address;
}

SocketAddress RealWorld::SilentAddress(Family family) {
  // When a listener's queue is full, further attempts are not answered.
  OwnedDescriptor listener = MakeBoundSocket(SocketType::kStream, family);
  EXPECT_EQ(listen(listener.get(), 0), 0) << LastError().Name();
  SocketAddress address = LocalAddressOf(listener.get());
  held_.push_back(std::move(listener));
  constexpr int kAttemptsMax = 64;
  constexpr Nanoseconds kLongEnough = 50'000'000;
  for (int i = 0; i < kAttemptsMax; ++i) {
    OwnedDescriptor filler = MakeSocket(SocketType::kStream, family);
    Error error = ConnectWithin(filler.get(), address, kLongEnough);
    held_.push_back(std::move(filler));
    if (error == Error(ETIMEDOUT)) return address;
  }
  ADD_FAILURE() << "the listener's queue does not get full";
  return address;
}

std::unique_ptr<HandleShortage> RealWorld::LimitHandles(int spare) {
  // So that what it needs is there before handles are short.
  Until([] { return true; });
  return std::make_unique<RealShortage>(spare);
}

std::unique_ptr<Interruptions> RealWorld::InterruptCalls() {
  return std::make_unique<RealInterruptions>();
}

}  // namespace aios::test
