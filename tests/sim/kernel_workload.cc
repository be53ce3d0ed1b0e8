#include "tests/sim/kernel_workload.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "sim/network_options.h"
#include "sim/simulation.h"
#include "sim/trace.h"

namespace aios::test {

namespace {

constexpr uint16_t kPort = 7;
constexpr size_t kStreamBytes = 5000;
constexpr int kConnections = 3;
constexpr int kDatagrams = 20;
constexpr Nanoseconds kBetweenDatagrams = 7'000'000;

void Check(bool right) {
  if (!right) std::abort();
}

// A program of a host: it tries all its sockets whenever it runs.
class Program {
 public:
  explicit Program(sim::Host& host) : kernel_(host.kernel()) {
    Check(kernel_.NewPoller(&poller_).ok());
    kernel_.Drive(*poller_, [this] {
      std::array<Report, 4> reports;
      kernel_.Wait(*poller_, reports, 0);
      return Run();
    });
  }
  virtual ~Program() = default;
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

 protected:
  struct Socket {
    Handle handle = kNoHandle;
    Readiness interest = kNotReady;
    std::string unsent;
    size_t received = 0;
    bool ended = false;
  };

  // Returns for how long there is nothing to do.
  virtual Nanoseconds Run() = 0;

  Kernel& kernel() { return kernel_; }

  void Watch(Socket& socket, Readiness wanted) {
    if (wanted == socket.interest) return;
    Error error = kernel_.SetInterest(*poller_, socket.handle, &socket,
                                      socket.interest, wanted);
    if (error.ok()) socket.interest = wanted;
  }

  void Close(Socket& socket) {
    Watch(socket, kNotReady);
    kernel_.Close(socket.handle);
    socket = Socket();
  }

  // Sends and receives what it can; false at an error.
  bool Pump(Socket& socket, std::string* received) {
    while (!socket.unsent.empty()) {
      ConstBuffer buffer = {socket.unsent.data(), socket.unsent.size()};
      Transfer sent = kernel_.Send(socket.handle, {&buffer, 1});
      if (sent.error.code() == EAGAIN) break;
      if (!sent.error.ok()) return false;
      socket.unsent.erase(0, sent.count);
    }
    std::array<char, 700> room;
    while (!socket.ended) {
      Transfer got = kernel_.Receive(socket.handle, room);
      if (got.error.code() == EAGAIN) break;
      if (!got.error.ok()) return false;
      socket.ended = got.count == 0;
      socket.received += got.count;
      received->append(room.data(), got.count);
    }
    return true;
  }

 private:
  Kernel& kernel_;
  std::unique_ptr<Poller> poller_;
};

// Sends back what it gets.
class Server final : public Program {
 public:
  explicit Server(sim::Host& host) : Program(host) {
    Check(kernel()
              .Open(SocketType::kStream, Family::kIpv6, &listener_.handle)
              .ok());
    SocketAddress any(IpAddress::Any(Family::kIpv6), kPort);
    Check(kernel().Bind(listener_.handle, any).ok());
    Check(kernel().Listen(listener_.handle, 2).ok());
    Check(
        kernel().Open(SocketType::kDatagram, Family::kIpv6, &udp_.handle).ok());
    Check(kernel().Bind(udp_.handle, any).ok());
    Watch(listener_, kReadable);
    Watch(udp_, kReadable);
  }

 private:
  Nanoseconds Run() override {
    Handle handle = kNoHandle;
    if (kernel().Accept(listener_.handle, &handle).ok()) {
      sockets_.push_back(std::make_unique<Socket>());
      sockets_.back()->handle = handle;
    }
    for (std::unique_ptr<Socket>& socket : sockets_) {
      std::string received;
      bool right = Pump(*socket, &received);
      socket->unsent += received;
      if (!right || (socket->ended && socket->unsent.empty())) {
        Close(*socket);
        socket = nullptr;
        continue;
      }
      Readiness wanted = socket->ended ? kNotReady : kReadable;
      if (!socket->unsent.empty()) wanted |= kWritable;
      Watch(*socket, wanted);
    }
    std::erase(sockets_, nullptr);
    std::array<char, 1000> room;
    IncomingDatagram datagram;
    if (kernel().ReceiveDatagram(udp_.handle, room, true, &datagram).ok()) {
      OutgoingDatagram answer = {{room.data(), datagram.size},
                                 &datagram.sender};
      static_cast<void>(kernel().SendDatagrams(udp_.handle, {&answer, 1}));
    }
    return kForever;
  }

  Socket listener_;
  Socket udp_;
  std::vector<std::unique_ptr<Socket>> sockets_;
};

// Connects one time after the other, and sends datagrams at a steady pace.
class Client final : public Program {
 public:
  Client(sim::Host& host, const IpAddress& server)
      : Program(host), server_(server, kPort) {
    Check(kernel()
              .Open(SocketType::kDatagram, server.family(), &udp_.handle)
              .ok());
    Watch(udp_, kReadable);
  }

 private:
  void Connect() {
    if (connections_ == kConnections) return;
    ++connections_;
    Error error =
        kernel().Open(SocketType::kStream, server_.family(), &tcp_.handle);
    if (!error.ok()) return;
    error = kernel().Connect(tcp_.handle, server_);
    if (!error.ok() && error.code() != EINPROGRESS) {
      Close(tcp_);
      return;
    }
    tcp_.unsent.resize(kStreamBytes);
    for (size_t i = 0; i != kStreamBytes; ++i) {
      tcp_.unsent[i] = static_cast<char>(i * 7 + i / 251);
    }
    connecting_ = true;
  }

  void RunTcp() {
    if (tcp_.handle == kNoHandle) Connect();
    if (tcp_.handle == kNoHandle) return;
    if (connecting_) {
      SocketAddress peer;
      Error error = kernel().TakeError(tcp_.handle);
      connecting_ =
          error.ok() && !kernel().PeerAddress(tcp_.handle, &peer).ok();
      if (!error.ok()) {
        Close(tcp_);
        return;
      }
    }
    if (!connecting_) {
      std::string received;
      if (!Pump(tcp_, &received) || tcp_.received == kStreamBytes) {
        Close(tcp_);
        return;
      }
    }
    Watch(tcp_, connecting_ || !tcp_.unsent.empty() ? kReadable | kWritable
                                                    : kReadable);
  }

  void RunUdp() {
    std::array<char, 64> room;
    IncomingDatagram datagram;
    while (kernel().ReceiveDatagram(udp_.handle, room, true, &datagram).ok()) {
    }
    if (datagrams_ == kDatagrams || kernel().Now() < next_datagram_) return;
    std::string payload(static_cast<size_t>(datagrams_) * 3 % 60, 'd');
    ++datagrams_;
    next_datagram_ = kernel().Now() + kBetweenDatagrams;
    OutgoingDatagram query = {{payload.data(), payload.size()}, &server_};
    static_cast<void>(kernel().SendDatagrams(udp_.handle, {&query, 1}));
  }

  Nanoseconds Run() override {
    RunTcp();
    RunUdp();
    if (tcp_.handle == kNoHandle && connections_ != kConnections) {
      return kBetweenDatagrams;
    }
    if (datagrams_ == kDatagrams) return kForever;
    return std::max<Nanoseconds>(next_datagram_ - kernel().Now(), 0);
  }

  SocketAddress server_;
  Socket tcp_;
  Socket udp_;
  bool connecting_ = false;
  int connections_ = 0;
  int datagrams_ = 0;
  Nanoseconds next_datagram_ = 0;
};

}  // namespace

uint64_t RunKernelWorkload(uint64_t seed,
                           std::vector<sim::TraceEvent>* events) {
  sim::FaultRates faults;
  faults.loss = faults.duplication = faults.reordering = 10'000;
  faults.corruption = 20'000;
  faults.short_read = faults.short_write = faults.would_block = 50'000;
  faults.spurious = faults.interrupt = faults.split = faults.join = 50'000;
  faults.error = 2'000;
  sim::Simulation simulation({.seed = seed, .faults = faults});
  if (events != nullptr) simulation.trace().KeepAll();
  sim::Host& server = simulation.AddHost("server");
  sim::Host& near = simulation.AddHost("near");
  sim::Host& far = simulation.AddHost("far");
  simulation.SetLink(near, server,
                     {.latency = sim::Latency::Uniform(absl::Microseconds(20),
                                                       absl::Microseconds(90)),
                      .bits_per_second = 20'000'000,
                      .queue_bytes_max = 20'000});
  simulation.SetLink(far, server,
                     {.latency = sim::Latency::Exponential(
                          absl::Milliseconds(2), absl::Milliseconds(1)),
                      .mtu_bytes = 600});
  simulation.SetLink(server, far,
                     {.latency = sim::Latency::HeavyTailed(
                          absl::Milliseconds(2), absl::Microseconds(100))});
  auto echo = std::make_unique<Server>(server);
  Client first(near, server.ipv4());
  Client second(far, server.ipv6());
  sim::Rule cut;
  sim::Rule held;
  simulation.After(absl::Milliseconds(4),
                   [&] { cut = simulation.Partition(near, server, false); });
  simulation.After(absl::Milliseconds(9), [&] { cut.Lift(); });
  simulation.After(absl::Milliseconds(11),
                   [&] { held = simulation.Hold(far, server); });
  simulation.After(absl::Milliseconds(15), [&] { held.Lift(); });
  simulation.After(absl::Milliseconds(20), [&] { near.Pause(); });
  simulation.After(absl::Milliseconds(25), [&] { near.Resume(); });
  simulation.After(absl::Milliseconds(30),
                   [&] { simulation.ResetConnections(near, server); });
  simulation.After(absl::Milliseconds(35), [&] {
    near.StepClock(absl::Hours(1));
    far.SetClockDrift(200);
  });
  simulation.After(absl::Milliseconds(40), [&] {
    server.Crash();
    echo = nullptr;
  });
  simulation.After(absl::Milliseconds(60), [&] {
    server.Restart();
    echo = std::make_unique<Server>(server);
  });
  simulation.RunFor(absl::Seconds(20));
  Check(simulation.violations().empty());
  if (events != nullptr) *events = simulation.trace().all();
  return simulation.trace_hash();
}

}  // namespace aios::test
