// What the simulator costs: events, operations, runs and idle time.

#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aios/aios.h"
#include "benchmark/benchmark.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"
#include "sim/simulation.h"

namespace aios::sim {
namespace {

// A server that sends back what it reads, with an idle timeout.
class EchoServer {
 public:
  EchoServer(Host& host, absl::Duration idle_timeout)
      : collection_(MakeWaitStateCollection(host.kernel()).value()),
        listener_(
            AcceptTcpConnections(
                *collection_, 7,
                [this, idle_timeout](AcceptingHandle&,
                                     std::unique_ptr<AsyncIoState> state) {
                  connections_.push_back(
                      std::make_unique<Connection>(std::move(state)));
                  connections_.back()->Read(idle_timeout);
                })
                .value()) {}

 private:
  struct Connection {
    explicit Connection(std::unique_ptr<AsyncIoState> state)
        : state(std::move(state)) {}
    void Read(Timeout timeout) {
      benchmark::DoNotOptimize(state->ReceiveMessage(
          buffer,
          [this](AsyncIoState&, const IoResult& input) {
            if (!input.ok()) {
              state->Close();
              return;
            }
            benchmark::DoNotOptimize(state->WriteBuffer(
                input.data,
                [this](AsyncIoState&, const IoResult&) { Read({}); }));
          },
          {.timeout = timeout}));
    }
    std::unique_ptr<AsyncIoState> state;
    std::array<char, 64> buffer;
  };

  std::unique_ptr<WaitStateCollection> collection_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::unique_ptr<AcceptingHandle> listener_;
};

// Sends 64 bytes and waits for them, again and again.
class Client {
 public:
  Client(Host& host, const Host& server)
      : collection_(MakeWaitStateCollection(host.kernel()).value()),
        state_(ConnectTcp(*collection_, server.ipv4(), 7,
                          [this](AsyncIoState&, const IoResult&) { Ask(); })
                   .value()) {}

  uint64_t round_trips() const { return round_trips_; }

 private:
  void Ask() {
    benchmark::DoNotOptimize(
        state_->WriteBuffer(std::string_view(request_.data(), request_.size()),
                            [](AsyncIoState&, const IoResult&) {}));
    benchmark::DoNotOptimize(
        state_->ReadBuffer(answer_, [this](AsyncIoState&, const IoResult&) {
          ++round_trips_;
          Ask();
        }));
  }

  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<AsyncIoState> state_;
  std::array<char, 64> request_ = {};
  std::array<char, 64> answer_ = {};
  uint64_t round_trips_ = 0;
};

// Pairs of a client and a server, each on a host of its own. An operation is a
// send or a receive of either; the items per second are those.
void PingPong(benchmark::State& state) {
  int64_t pairs = state.range(0);
  Simulation simulation;
  std::vector<std::unique_ptr<EchoServer>> servers;
  std::vector<std::unique_ptr<Client>> clients;
  for (int64_t i = 0; i != pairs; ++i) {
    Host& server = simulation.AddHost("server" + std::to_string(i));
    Host& client = simulation.AddHost("client" + std::to_string(i));
    servers.push_back(
        std::make_unique<EchoServer>(server, absl::InfiniteDuration()));
    clients.push_back(std::make_unique<Client>(client, server));
  }
  auto round_trips = [&] {
    uint64_t sum = 0;
    for (const auto& client : clients) sum += client->round_trips();
    return sum;
  };
  uint64_t events = simulation.events();
  for (auto _ : state) {
    if (!simulation.RunFor(absl::Milliseconds(1))) {
      state.SkipWithError("the simulation got stuck");
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(round_trips() * 4));
  state.counters["events"] =
      benchmark::Counter(static_cast<double>(simulation.events() - events),
                         benchmark::Counter::kIsRate);
  state.counters["time_per_event"] = benchmark::Counter(
      static_cast<double>(simulation.events() - events),
      benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
// 10 hosts and 500 hosts: the time per event should be nearly the same.
BENCHMARK(PingPong)->Arg(1)->Arg(5)->Arg(250);

// A whole simulation: two hosts, a connection, 4 bytes of the 10 that are being
// read, and the read timeout.
void ShortRun(benchmark::State& state) {
  uint64_t seed = 0;
  for (auto _ : state) {
    Simulation simulation({.seed = ++seed});
    Host& server = simulation.AddHost("server");
    Host& client = simulation.AddHost("client");
    auto there = MakeWaitStateCollection(server.kernel()).value();
    auto here = MakeWaitStateCollection(client.kernel()).value();
    std::unique_ptr<AsyncIoState> writer;
    auto listener =
        AcceptTcpConnections(
            *there, 7,
            [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> accepted) {
              writer = std::move(accepted);
              benchmark::DoNotOptimize(writer->WriteBuffer(
                  "four", [](AsyncIoState&, const IoResult&) {}));
            })
            .value();
    std::array<char, 10> buffer;
    IoStatus status = IoStatus::kOk;
    auto reader = ConnectTcp(*here, server.ipv4(), 7,
                             [&](AsyncIoState& connected, const IoResult&) {
                               benchmark::DoNotOptimize(connected.ReadBuffer(
                                   buffer,
                                   [&](AsyncIoState&, const IoResult& result) {
                                     status = result.status;
                                   },
                                   {.timeout = absl::Seconds(1)}));
                             })
                      .value();
    if (!simulation.RunUntil([&] { return status == IoStatus::kTimeout; })) {
      state.SkipWithError("the read did not time out");
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ShortRun);

// The scenario S01, from its file: six states on two hosts, seven steps, the
// judgement of each.
void ScenarioRun(benchmark::State& state) {
  constexpr char kFile[] =
      "sim/scenarios/s01_read_timeout_and_data_together.yaml";
  std::ostringstream text;
  text << std::ifstream(kFile).rdbuf();
  absl::StatusOr<Scenario> scenario = ParseScenario(kFile, text.str());
  if (!scenario.ok()) {
    state.SkipWithError(scenario.status().ToString().c_str());
    return;
  }
  uint64_t seed = 0;
  for (auto _ : state) {
    if (!RunScenario(*scenario, {.seed = ++seed}).passed()) {
      state.SkipWithError("the scenario failed");
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(ScenarioRun);

// An hour in which connections wait, their idle timeout of 30 s re-armed by a
// message every 20 s.
void IdleHour(benchmark::State& state) {
  for (auto _ : state) {
    Simulation simulation;
    Host& server = simulation.AddHost("server");
    Host& client = simulation.AddHost("client");
    EchoServer echo(server, absl::Seconds(30));
    auto here = MakeWaitStateCollection(client.kernel()).value();
    std::vector<std::unique_ptr<AsyncIoState>> states;
    for (int64_t i = 0; i != state.range(0); ++i) {
      states.push_back(ConnectTcp(*here, server.ipv4(), 7,
                                  [](AsyncIoState&, const IoResult&) {})
                           .value());
    }
    std::vector<std::array<char, 1>> answers(states.size());
    for (int i = 0; i != 180; ++i) {
      if (!simulation.RunFor(absl::Seconds(20))) {
        state.SkipWithError("the simulation got stuck");
      }
      for (size_t j = 0; j != states.size(); ++j) {
        bool ok =
            states[j]
                ->WriteBuffer("x", [](AsyncIoState&, const IoResult&) {})
                .ok() &&
            states[j]
                ->ReadBuffer(answers[j], [](AsyncIoState&, const IoResult&) {})
                .ok();
        if (!ok) state.SkipWithError("a connection was not idle");
      }
    }
  }
}
BENCHMARK(IdleHour)->Arg(1000)->Unit(benchmark::kMillisecond)->Iterations(1);

}  // namespace
}  // namespace aios::sim

BENCHMARK_MAIN();
