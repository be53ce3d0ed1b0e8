#include "tests/support/sim_world.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "sim/choice.h"

namespace aios::test {

namespace {

// The host of a peer, as plain code uses it: one socket, and a place to wait
// for it.
class PeerSocket {
 public:
  PeerSocket(sim::Host& host, Handle handle)
      : host_(host), raw_(host), handle_(handle) {}
  PeerSocket(PeerSocket&& other) noexcept
      : host_(other.host_),
        raw_(other.host_),
        handle_(std::exchange(other.handle_, kNoHandle)) {}
  ~PeerSocket() { Close(); }

  Kernel& kernel() const { return host_.kernel(); }
  sim::Host& host() const { return host_; }
  sim::RawSockets& raw() { return raw_; }
  Handle get() const { return handle_; }
  Handle Give() { return std::exchange(handle_, kNoHandle); }
  void Close() { kernel().Close(Give()); }

  // Lets the world go on until the socket is ready, for the guard time at most.
  bool Await(Readiness direction) {
    std::unique_ptr<Poller> poller;
    EXPECT_TRUE(kernel().NewPoller(&poller).ok());
    EXPECT_TRUE(
        kernel()
            .SetInterest(*poller, handle_, nullptr, kNotReady, direction)
            .ok());
    Nanoseconds end = kernel().Now() + kGuard;
    while (kernel().Now() < end) {
      std::array<Report, 1> report;
      if (kernel().Wait(*poller, report, end - kernel().Now()) != 0) {
        return true;
      }
    }
    return false;
  }

  SocketAddress LocalAddress() const {
    SocketAddress address;
    EXPECT_TRUE(kernel().LocalAddress(handle_, &address).ok());
    return address;
  }

 private:
  sim::Host& host_;
  sim::RawSockets raw_;
  Handle handle_;
};

PeerSocket MakeSocket(sim::Host& host, SocketType type, Family family) {
  Handle handle = kNoHandle;
  Error error = host.kernel().Open(type, family, &handle);
  EXPECT_TRUE(error.ok()) << error.Name();
  return PeerSocket(host, handle);
}

PeerSocket MakeBoundSocket(sim::Host& host, SocketType type,
                           const IpAddress& ip) {
  PeerSocket socket = MakeSocket(host, type, ip.family());
  Error error = host.kernel().Bind(socket.get(), SocketAddress(ip, 0));
  EXPECT_TRUE(error.ok()) << error.Name();
  return socket;
}

Error ConnectWithinGuard(PeerSocket& socket, const SocketAddress& address) {
  Error error = socket.kernel().Connect(socket.get(), address);
  if (error != Error(EINPROGRESS)) return error;
  if (!socket.Await(kWritable)) return Error(ETIMEDOUT);
  return socket.kernel().TakeError(socket.get());
}

class SimTcpPeer final : public TcpPeer {
 public:
  explicit SimTcpPeer(PeerSocket socket) : socket_(std::move(socket)) {}

  Transfer TrySend(std::string_view bytes) override {
    if (bytes.empty()) return {};
    ConstBuffer buffer = {.data = bytes.data(), .size = bytes.size()};
    return socket_.kernel().Send(socket_.get(), {&buffer, 1});
  }
  Transfer TryReceive(std::span<char> buffer) override {
    return socket_.kernel().Receive(socket_.get(), buffer);
  }

  bool AwaitWritable() override {
    bool ready = socket_.Await(kWritable);
    EXPECT_TRUE(ready) << "the peer could not send";
    return ready;
  }
  bool AwaitReadable() override {
    bool ready = socket_.Await(kReadable);
    EXPECT_TRUE(ready) << "the peer received nothing";
    return ready;
  }

  Error Shutdown(Direction direction) override {
    return socket_.kernel().Shutdown(socket_.get(), direction);
  }
  void Close() override { socket_.Close(); }
  void Reset() override { socket_.raw().CloseWithReset(socket_.Give()); }

  SocketAddress LocalAddress() override { return socket_.LocalAddress(); }
  SocketAddress RemoteAddress() override {
    SocketAddress address;
    EXPECT_TRUE(socket_.kernel().PeerAddress(socket_.get(), &address).ok());
    return address;
  }

  void SetReceiveBuffer(int bytes) override {
    socket_.raw().SetReceiveBuffer(socket_.get(), static_cast<size_t>(bytes));
  }
  void SetSendBuffer(int bytes) override {
    socket_.raw().SetSendBuffer(socket_.get(), static_cast<size_t>(bytes));
  }

 private:
  PeerSocket socket_;
};

class SimTcpListenerPeer final : public TcpListenerPeer {
 public:
  explicit SimTcpListenerPeer(PeerSocket socket)
      : socket_(std::move(socket)), address_(socket_.LocalAddress()) {}

  SocketAddress address() const override { return address_; }

  void SetReceiveBuffer(int bytes) override {
    socket_.raw().SetReceiveBuffer(socket_.get(), static_cast<size_t>(bytes));
  }

  std::unique_ptr<TcpPeer> Accept() override {
    Handle connection = kNoHandle;
    Error error = socket_.kernel().Accept(socket_.get(), &connection);
    if (error == Error(EAGAIN) && socket_.Await(kReadable)) {
      error = socket_.kernel().Accept(socket_.get(), &connection);
    }
    if (!error.ok()) {
      ADD_FAILURE() << "nobody connected to the peer: " << error.Name();
      return nullptr;
    }
    return std::make_unique<SimTcpPeer>(PeerSocket(socket_.host(), connection));
  }

 private:
  PeerSocket socket_;
  const SocketAddress address_;
};

class SimUdpPeer final : public UdpPeer {
 public:
  explicit SimUdpPeer(PeerSocket socket)
      : socket_(std::move(socket)), address_(socket_.LocalAddress()) {}

  SocketAddress address() const override { return address_; }

  Error SendTo(const SocketAddress& target, std::string_view payload) override {
    return Send(
        {.payload = {payload.data(), payload.size()}, .target = &target});
  }
  Error Connect(const SocketAddress& target) override {
    return socket_.kernel().Connect(socket_.get(), target);
  }
  Error Send(std::string_view payload) override {
    return Send(OutgoingDatagram{.payload = {payload.data(), payload.size()}});
  }

  std::optional<PeerDatagram> TryReceive() override {
    std::string payload(65536, '\0');
    IncomingDatagram datagram;
    Error error = socket_.kernel().ReceiveDatagram(socket_.get(), payload, true,
                                                   &datagram);
    if (!error.ok()) {
      EXPECT_TRUE(error == Error(EAGAIN) || error == Error(ECONNREFUSED))
          << error.Name();
      return std::nullopt;
    }
    payload.resize(datagram.size);
    return PeerDatagram{.payload = std::move(payload),
                        .sender = datagram.sender};
  }

  PeerDatagram Receive() override {
    do {
      if (std::optional<PeerDatagram> datagram = TryReceive()) {
        return *std::move(datagram);
      }
    } while (socket_.Await(kReadable));
    ADD_FAILURE() << "the peer received no datagram";
    return {};
  }

 private:
  Error Send(const OutgoingDatagram& datagram) {
    return socket_.kernel().SendDatagrams(socket_.get(), {&datagram, 1}).error;
  }

  PeerSocket socket_;
  const SocketAddress address_;
};

class SimShortage final : public HandleShortage {
 public:
  SimShortage(sim::Host& host, int spare) : host_(host) {
    limit_ = host.descriptors_open() + spare;
    host_.SetDescriptorsMax(limit_);
  }
  ~SimShortage() override {
    host_.SetDescriptorsMax(sim::HostOptions().descriptors_max);
  }
  void Allow(int count) override {
    limit_ += count;
    host_.SetDescriptorsMax(limit_);
  }

 private:
  sim::Host& host_;
  int limit_;
};

class SimInterruptions final : public Interruptions {
 public:
  explicit SimInterruptions(sim::Simulation& simulation)
      : simulation_(simulation), earlier_(simulation.faults()) {
    sim::FaultRates faults = earlier_;
    faults.interrupt = 500'000;
    simulation_.SetFaults(faults);
    before_ = Count();
  }
  ~SimInterruptions() override { simulation_.SetFaults(earlier_); }
  int64_t count() const override { return Count() - before_; }

 private:
  int64_t Count() const {
    return static_cast<int64_t>(
        simulation_.fault_count(sim::Fault::kInterrupt).fired);
  }

  sim::Simulation& simulation_;
  const sim::FaultRates earlier_;
  int64_t before_;
};

sim::HostOptions HostOptionsFor(const IpAddress& link_local, bool faulty) {
  sim::HostOptions options;
  options.addresses.push_back(link_local);
  options.faulty_calls = faulty;
  return options;
}

IpAddress LinkLocalAddress(uint8_t number) {
  IpAddress::Ipv6Bytes bytes = {0xfe, 0x80};
  bytes[15] = number;
  return IpAddress::FromIpv6(bytes, /*scope=*/2);
}

}  // namespace

uint64_t SeedOfTest() {
  const char* text = std::getenv("AIOS_SIM_SEED");
  uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
  const testing::TestInfo* test =
      testing::UnitTest::GetInstance()->current_test_info();
  if (test == nullptr) return seed;
  for (std::string_view part : {test->test_suite_name(), test->name()}) {
    for (char c : part) seed = sim::Mix(seed, static_cast<unsigned char>(c));
  }
  return seed;
}

SimWorld::SimWorld(const SimWorldOptions& options)
    : simulation_({.seed = options.seed, .faults = options.faults}),
      host_(simulation_.AddHost("host",
                                HostOptionsFor(LinkLocalAddress(1), true))),
      peer_host_(options.same_host
                     ? host_
                     : simulation_.AddHost(
                           "peer", HostOptionsFor(LinkLocalAddress(2), false))),
      kernel_(host_.kernel()),
      raw_(host_) {}

SimWorld::~SimWorld() {
  if (testing::Test::HasFailure()) {
    std::fprintf(stderr, "the simulated world at the end: %s",
                 simulation_.Report().c_str());
  }
}

IpAddress SimWorld::host_ip(Family family) {
  if (&host_ == &peer_host_) return IpAddress::Loopback(family);
  return family == Family::kIpv4 ? host_.ipv4() : host_.ipv6();
}

IpAddress SimWorld::peer_ip(Family family) {
  if (&host_ == &peer_host_) return IpAddress::Loopback(family);
  return family == Family::kIpv4 ? peer_host_.ipv4() : peer_host_.ipv6();
}

std::optional<TestWorld::LinkLocal> SimWorld::link_local() {
  return LinkLocal{.ip = LinkLocalAddress(1), .interface_name = "eth0"};
}

std::unique_ptr<TcpPeer> SimWorld::ConnectTo(const SocketAddress& address) {
  PeerSocket socket =
      MakeSocket(peer_host_, SocketType::kStream, address.family());
  Error error = ConnectWithinGuard(socket, address);
  if (!error.ok()) {
    ADD_FAILURE() << "the peer could not connect to " << address.ToString()
                  << ": " << error.Name();
    return nullptr;
  }
  return std::make_unique<SimTcpPeer>(std::move(socket));
}

std::unique_ptr<TcpListenerPeer> SimWorld::Listen(Family family) {
  PeerSocket socket =
      MakeBoundSocket(peer_host_, SocketType::kStream, peer_ip(family));
  Error error = socket.kernel().Listen(socket.get(), 1024);
  EXPECT_TRUE(error.ok()) << error.Name();
  return std::make_unique<SimTcpListenerPeer>(std::move(socket));
}

std::unique_ptr<UdpPeer> SimWorld::Udp(Family family) {
  return std::make_unique<SimUdpPeer>(
      MakeBoundSocket(peer_host_, SocketType::kDatagram, peer_ip(family)));
}

TcpPair SimWorld::RawSocketPair(Family family) {
  std::unique_ptr<TcpListenerPeer> listener = Listen(family);
  PeerSocket socket(host_, raw_.Open(SocketType::kStream, family));
  Error error = ConnectWithinGuard(socket, listener->address());
  EXPECT_TRUE(error.ok()) << error.Name();
  TcpPair pair;
  pair.peer = listener->Accept();
  pair.handle = socket.Give();
  return pair;
}

Handle SimWorld::RawSocket(SocketType type, Family family) {
  return raw_.Open(type, family);
}

Handle SimWorld::RawListener(Family family) {
  Handle handle = raw_.Open(SocketType::kStream, family);
  EXPECT_TRUE(
      host_.kernel().Bind(handle, SocketAddress(host_ip(family), 0)).ok());
  EXPECT_TRUE(host_.kernel().Listen(handle, 1024).ok());
  return handle;
}

Handle SimWorld::RawForeign(Foreign kind) {
  switch (kind) {
    case Foreign::kNotASocket:
      return raw_.OpenForeign(Error(ENOTSOCK));
    case Foreign::kClosed:
      return raw_.Closed();
    case Foreign::kOtherFamily:
      return raw_.OpenForeign(Error(EPROTONOSUPPORT));
  }
  return kNoHandle;
}

Transfer SimWorld::DirectSend(Handle handle, std::string_view bytes) {
  PeerSocket socket(host_, handle);
  Transfer all;
  for (;;) {
    ConstBuffer buffer = {.data = bytes.data() + all.count,
                          .size = bytes.size() - all.count};
    Transfer sent = host_.kernel().Send(handle, {&buffer, 1});
    all.count += sent.count;
    // A blocking one returns when all is sent.
    if (!IsBlocking(handle) || all.count == bytes.size()) {
      all.error = sent.error;
      break;
    }
    if (sent.error.ok()) continue;
    if (sent.error != Error(EAGAIN) || !socket.Await(kWritable)) {
      if (all.count == 0) all.error = sent.error;
      break;
    }
  }
  socket.Give();
  return all;
}

Transfer SimWorld::DirectReceive(Handle handle, std::span<char> buffer) {
  PeerSocket socket(host_, handle);
  Transfer received;
  do {
    received = host_.kernel().Receive(handle, buffer);
  } while (received.error == Error(EAGAIN) && IsBlocking(handle) &&
           socket.Await(kReadable));
  socket.Give();
  return received;
}

bool SimWorld::IsBlocking(Handle handle) { return raw_.IsBlocking(handle); }

void SimWorld::SetBlocking(Handle handle, bool blocking) {
  raw_.SetBlocking(handle, blocking);
}

Handle SimWorld::Duplicate(Handle handle) { return raw_.Duplicate(handle); }

void SimWorld::DirectClose(Handle handle) { host_.kernel().Close(handle); }

SocketAddress SimWorld::RefusingAddress(SocketType type, Family family) {
  // It stays bound, as in the real world, so that nobody else gets the port.
  PeerSocket socket = MakeBoundSocket(peer_host_, type, peer_ip(family));
  SocketAddress address = socket.LocalAddress();
  if (type == SocketType::kDatagram) {
    EXPECT_TRUE(socket.kernel().Connect(socket.get(), address).ok());
  }
  socket.Give();
  return address;
}

SocketAddress SimWorld::SilentAddress(Family family) {
  // Of no host.
  if (family == Family::kIpv4) {
    return SocketAddress(IpAddress::FromIpv4(0x0aff'fffe), 7);
  }
  IpAddress::Ipv6Bytes bytes = {0xfd};
  bytes[1] = 1;
  return SocketAddress(IpAddress::FromIpv6(bytes), 7);
}

std::unique_ptr<HandleShortage> SimWorld::LimitHandles(int spare) {
  // So that what it needs is there before handles are short.
  Until([] { return true; });
  return std::make_unique<SimShortage>(host_, spare);
}

std::unique_ptr<Interruptions> SimWorld::InterruptCalls() {
  return std::make_unique<SimInterruptions>(simulation_);
}

}  // namespace aios::test
