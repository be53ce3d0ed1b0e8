// Each fault fires and changes something that can be observed; switching one on
// moves no other.

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/choice.h"
#include "sim/fault_name.h"
#include "sim/network_options.h"
#include "sim/simulation.h"
#include "tests/sim/network.h"
#include "tests/sim/state_workload.h"

namespace aios::test {
namespace {

// Who can tell: the callbacks of a program, by status, count, data or time; or
// only the kernel calls below the states, which hide it from the program.
enum class Seen { kByCallbacks, kByCalls };

// What a fault needs while it lasts.
struct Disturbance {
  std::vector<sim::Rule> rules;
  std::vector<Handle> handles;
};

struct FaultCase {
  std::string_view name;
  sim::Fault fault;
  Seen seen;
  std::function<void(StateWorkload&, sim::Simulation&, Disturbance&)> apply;
};

void PrintTo(const FaultCase& fault, std::ostream* out) { *out << fault.name; }

FaultCase Rate(std::string_view name, sim::Fault fault, Seen seen,
               sim::FaultRates rates) {
  return {name, fault, seen,
          [rates](StateWorkload&, sim::Simulation& simulation, Disturbance&) {
            simulation.SetFaults(rates);
          }};
}

// In force between two moments of the run.
FaultCase During(
    std::string_view name, sim::Fault fault,
    std::function<sim::Rule(StateWorkload&, sim::Simulation&)> make_rule) {
  return {name, fault, Seen::kByCallbacks,
          [make_rule](StateWorkload& workload, sim::Simulation& simulation,
                      Disturbance& disturbance) {
            simulation.After(absl::Milliseconds(15), [&, make_rule] {
              disturbance.rules.push_back(make_rule(workload, simulation));
            });
            simulation.After(absl::Milliseconds(300),
                             [&] { disturbance.rules.clear(); });
          }};
}

FaultCase At(std::string_view name, sim::Fault fault,
             std::function<void(StateWorkload&, sim::Simulation&)> act) {
  return {name, fault, Seen::kByCallbacks,
          [act](StateWorkload& workload, sim::Simulation& simulation,
                Disturbance&) {
            // In the middle of a round.
            simulation.After(absl::Microseconds(10'430),
                             [&, act] { act(workload, simulation); });
          }};
}

std::vector<FaultCase> AllFaults() {
  using sim::Fault;
  return {
      Rate("loss", Fault::kLoss, Seen::kByCallbacks, {.loss = 30'000}),
      Rate("duplication", Fault::kDuplication, Seen::kByCallbacks,
           {.duplication = 50'000}),
      Rate("reordering", Fault::kReordering, Seen::kByCallbacks,
           {.reordering = 50'000}),
      Rate("corruption", Fault::kCorruption, Seen::kByCallbacks,
           {.corruption = 100'000}),
      During("partition_both_ways", Fault::kPartition,
             [](StateWorkload& workload, sim::Simulation& simulation) {
               return simulation.Partition(workload.client(),
                                           workload.server());
             }),
      During("partition_one_way", Fault::kPartition,
             [](StateWorkload& workload, sim::Simulation& simulation) {
               return simulation.Partition(workload.server(), workload.client(),
                                           /*both=*/false);
             }),
      During("hold_and_release", Fault::kHold,
             [](StateWorkload& workload, sim::Simulation& simulation) {
               return simulation.Hold(workload.client(), workload.server());
             }),
      During("lose_by_rule", Fault::kLoss,
             [](StateWorkload& workload, sim::Simulation& simulation) {
               return simulation.Lose(workload.client(), workload.server(),
                                      500'000);
             }),
      At("reset", Fault::kReset,
         [](StateWorkload& workload, sim::Simulation& simulation) {
           simulation.ResetConnections(workload.client(), workload.server());
         }),
      At("pause", Fault::kPause,
         [](StateWorkload& workload, sim::Simulation& simulation) {
           workload.server().Pause();
           simulation.After(absl::Milliseconds(100),
                            [&] { workload.server().Resume(); });
         }),
      At("crash_and_restart", Fault::kCrash,
         [](StateWorkload& workload, sim::Simulation& simulation) {
           workload.server().Crash();
           workload.StopServer();
           simulation.After(absl::Milliseconds(30), [&] {
             workload.server().Restart();
             workload.StartServer();
           });
         }),
      At("clock_step", Fault::kClock,
         [](StateWorkload& workload, sim::Simulation&) {
           workload.client().StepClock(-absl::Hours(1));
         }),
      At("clock_drift", Fault::kClock,
         [](StateWorkload& workload, sim::Simulation&) {
           workload.client().SetClockDrift(200);
         }),
      Rate("short_read", Fault::kShortRead, Seen::kByCallbacks,
           {.short_read = 100'000}),
      Rate("short_write", Fault::kShortWrite, Seen::kByCallbacks,
           {.short_write = 100'000}),
      Rate("split", Fault::kSplit, Seen::kByCallbacks, {.split = 200'000}),
      Rate("join", Fault::kJoin, Seen::kByCallbacks, {.join = 200'000}),
      Rate("would_block", Fault::kWouldBlock, Seen::kByCalls,
           {.would_block = 100'000}),
      Rate("spurious_report", Fault::kSpurious, Seen::kByCalls,
           {.spurious = 300'000}),
      Rate("interrupt", Fault::kInterrupt, Seen::kByCalls,
           {.interrupt = 300'000}),
      Rate("errno", Fault::kErrno, Seen::kByCallbacks, {.error = 50'000}),
      {"port_exhaustion", Fault::kPortExhaustion, Seen::kByCallbacks,
       [](StateWorkload& workload, sim::Simulation& simulation,
          Disturbance& disturbance) {
         // All of them are in use.
         Kernel& kernel = workload.client().kernel();
         for (;;) {
           Handle handle = kNoHandle;
           EXPECT_TRUE(
               kernel.Open(SocketType::kStream, Family::kIpv4, &handle).ok());
           disturbance.handles.push_back(handle);
           Error error = kernel.Bind(
               handle, SocketAddress(IpAddress::Any(Family::kIpv4), 0));
           if (!error.ok()) break;
         }
         // The program's own connection has its port already.
         simulation.After(absl::Milliseconds(15), [&] {
           simulation.ResetConnections(workload.client(), workload.server());
         });
         simulation.After(absl::Milliseconds(80), [&] {
           for (Handle handle : disturbance.handles) {
             workload.client().kernel().Close(handle);
           }
         });
       }},
      {"queue_overflow", Fault::kQueueOverflow, Seen::kByCallbacks,
       [](StateWorkload& workload, sim::Simulation& simulation, Disturbance&) {
         simulation.SetLink(
             workload.client(), workload.server(),
             {.bits_per_second = 1'000'000, .queue_bytes_max = 1500});
       }},
  };
}

class Faults : public testing::TestWithParam<FaultCase> {};

INSTANTIATE_TEST_SUITE_P(All, Faults, testing::ValuesIn(AllFaults()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST_P(Faults, FireAndHaveAnEffect) {
  const FaultCase& fault = GetParam();
  constexpr uint64_t kSeeds = 20;
  uint64_t runs_changed = 0;
  sim::FaultCount count;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    std::vector<std::string> transcripts[2];
    uint64_t hashes[2];
    for (bool with : {false, true}) {
      sim::Simulation simulation({.seed = seed});
      Disturbance disturbance;
      {
        StateWorkload workload(simulation);
        if (with) fault.apply(workload, simulation, disturbance);
        workload.Run();
        transcripts[with] = workload.transcript();
      }
      hashes[with] = simulation.trace_hash();
      EXPECT_EQ(simulation.violations(), std::vector<std::string>());
      EXPECT_GT(transcripts[with].size(), 50u);
      sim::FaultCount counted = simulation.fault_count(fault.fault);
      if (with) {
        count.fired += counted.fired;
        count.effective += counted.effective;
      } else {
        EXPECT_EQ(counted.fired, 0u) << "nothing was switched on";
      }
    }
    bool changed = fault.seen == Seen::kByCallbacks
                       ? transcripts[0] != transcripts[1]
                       : hashes[0] != hashes[1];
    if (changed) ++runs_changed;
  }
  std::printf(
      "%-20s fired %6llu  effective %6llu  changed %2llu of %llu runs\n",
      std::string(fault.name).c_str(),
      static_cast<unsigned long long>(count.fired),
      static_cast<unsigned long long>(count.effective),
      static_cast<unsigned long long>(runs_changed),
      static_cast<unsigned long long>(kSeeds));
  EXPECT_GT(count.fired, 0u);
  EXPECT_GT(count.effective, 0u);
  EXPECT_LE(count.effective, count.fired);
  EXPECT_GT(runs_changed, 0u);
}

TEST(FaultList, HasEveryFault) {
  std::vector<FaultCase> cases = AllFaults();
  for (size_t i = 0; i != static_cast<size_t>(sim::Fault::kCount); ++i) {
    sim::Fault fault = static_cast<sim::Fault>(i);
    EXPECT_TRUE(std::any_of(
        cases.begin(), cases.end(),
        [&](const FaultCase& other) { return other.fault == fault; }))
        << sim::FaultName(fault);
  }
}

// ---- Each on its own.

// The choices at `site` that a stream of datagrams meets.
std::vector<sim::Choice> ChoicesAt(sim::Site site,
                                   const sim::FaultRates& faults,
                                   bool partition = false) {
  Network network({.seed = 4, .faults = faults});
  network.simulation.SetLink(
      network.a, network.b,
      {.latency = sim::Latency::Uniform(absl::Microseconds(10),
                                        absl::Microseconds(400))});
  network.simulation.choices().Record();
  sim::Rule rule;
  if (partition) {
    network.simulation.After(absl::Milliseconds(30), [&] {
      rule = network.simulation.Partition(network.a, network.b);
    });
    network.simulation.After(absl::Milliseconds(60), [&] { rule.Lift(); });
  }
  network.Stream(200, 50, absl::Milliseconds(1));
  std::vector<sim::Choice> choices;
  for (const sim::Choice& choice : network.simulation.choices().recorded()) {
    if (choice.site == site) choices.push_back(choice);
  }
  return choices;
}

TEST(FaultFamilies, OneSwitchedOnMovesNoOther) {
  constexpr uint32_t kRate = 100'000;
  struct Family {
    sim::Site site;
    uint32_t sim::FaultRates::*rate;
  };
  const Family kFamilies[] = {
      {sim::Site::kLoss, &sim::FaultRates::loss},
      {sim::Site::kDuplication, &sim::FaultRates::duplication},
      {sim::Site::kReordering, &sim::FaultRates::reordering},
      {sim::Site::kCorruption, &sim::FaultRates::corruption},
  };
  const std::vector<sim::Choice> latencies = ChoicesAt(sim::Site::kLatency, {});
  EXPECT_EQ(latencies.size(), 200u);
  for (const Family& family : kFamilies) {
    SCOPED_TRACE(std::string(sim::SiteName(family.site)));
    sim::FaultRates alone;
    alone.*family.rate = kRate;
    const std::vector<sim::Choice> choices = ChoicesAt(family.site, alone);
    EXPECT_EQ(choices.size(), 200u);
    EXPECT_EQ(ChoicesAt(sim::Site::kLatency, alone), latencies);
    for (const Family& other : kFamilies) {
      if (other.site == family.site) continue;
      sim::FaultRates both = alone;
      both.*other.rate = kRate;
      EXPECT_EQ(ChoicesAt(family.site, both), choices)
          << sim::SiteName(other.site);
    }
    EXPECT_EQ(ChoicesAt(family.site, alone, /*partition=*/true), choices)
        << "partition";
  }
}

TEST(FaultFamilies, TheSamePacketsAreLostWhateverElseGoesWrong) {
  auto lost = [](sim::FaultRates faults) {
    faults.loss = 200'000;
    Network network({.seed = 9, .faults = faults});
    network.Stream(200, 50, absl::Milliseconds(5));
    std::vector<uint64_t> numbers;
    for (const sim::RecordedPacket& packet :
         network.simulation.recording()->packets()) {
      if (packet.dropped) {
        numbers.push_back(static_cast<uint64_t>(packet.sent));
      }
    }
    return numbers;
  };
  const std::vector<uint64_t> alone = lost({});
  EXPECT_NEAR(static_cast<double>(alone.size()), 40, 20);
  EXPECT_EQ(lost({.duplication = 300'000}), alone);
  EXPECT_EQ(lost({.reordering = 300'000}), alone);
  EXPECT_EQ(lost({.corruption = 300'000}), alone);
}

// ---- Errors of calls have their real effects.

TEST(InjectedErrors, AConnectionThatAcceptFailsOnStaysPending) {
  sim::Simulation simulation;
  sim::Host& a = simulation.AddHost("a", {.faulty_calls = false});
  sim::Host& b = simulation.AddHost("b");
  Handle listener = kNoHandle;
  Handle client = kNoHandle;
  SocketAddress address(b.ipv4(), 80);
  ASSERT_TRUE(
      b.kernel().Open(SocketType::kStream, Family::kIpv4, &listener).ok());
  ASSERT_TRUE(b.kernel().Bind(listener, address).ok());
  ASSERT_TRUE(b.kernel().Listen(listener, 4).ok());
  ASSERT_TRUE(
      a.kernel().Open(SocketType::kStream, Family::kIpv4, &client).ok());
  EXPECT_EQ(a.kernel().Connect(client, address), Error(EINPROGRESS));
  simulation.RunUntilIdle();
  simulation.SetFaults({.error = 1'000'000});
  Handle accepted = kNoHandle;
  for (int i = 0; i != 10; ++i) {
    Error error = b.kernel().Accept(listener, &accepted);
    EXPECT_TRUE(error == Error(EMFILE) || error == Error(ENFILE) ||
                error == Error(ENOBUFS) || error == Error(ENOMEM))
        << error.Name();
  }
  simulation.SetFaults({});
  EXPECT_TRUE(b.kernel().Accept(listener, &accepted).ok());
}

TEST(InjectedErrors, AConnectionThatASendFailsOnIsBrokenForThePeerToo) {
  Connection connection;
  // Only this host's calls fail.
  sim::Host& c = connection.simulation.AddHost("c");
  Handle handle = connection.Open(c, SocketType::kStream);
  EXPECT_EQ(c.kernel().Connect(handle, connection.AddressOf(connection.b, 80)),
            Error(EINPROGRESS));
  Handle accepted = kNoHandle;
  ASSERT_TRUE(connection.simulation.RunUntil([&] {
    return connection.b.kernel().Accept(connection.listener, &accepted).ok();
  }));
  connection.simulation.SetFaults({.error = 1'000'000});
  Error error = connection.Send(c, handle, "hello").error;
  EXPECT_TRUE(error == Error(ECONNRESET) || error == Error(EPIPE) ||
              error == Error(ETIMEDOUT))
      << error.Name();
  connection.simulation.SetFaults({});
  EXPECT_EQ(connection.Send(c, handle, "hello").error, Error(EPIPE))
      << "it stays broken";
  connection.simulation.RunUntilIdle();
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.b, accepted, &bytes).error,
            Error(ECONNRESET));
}

TEST(PortExhaustion, IsAnErrorAndEndsWhenAPortIsFree) {
  sim::Simulation simulation;
  sim::Host& host = simulation.AddHost(
      "host", {.ephemeral_port_first = 40000, .ephemeral_port_last = 40002});
  Kernel& kernel = host.kernel();
  std::vector<Handle> handles;
  SocketAddress any(IpAddress::Any(Family::kIpv4), 0);
  for (int i = 0; i != 4; ++i) {
    handles.push_back(kNoHandle);
    ASSERT_TRUE(
        kernel.Open(SocketType::kDatagram, Family::kIpv4, &handles.back())
            .ok());
    EXPECT_EQ(kernel.Bind(handles.back(), any),
              i == 3 ? Error(EADDRINUSE) : Error());
  }
  kernel.Close(handles[1]);
  EXPECT_EQ(kernel.Bind(handles[3], any), Error());
}

}  // namespace
}  // namespace aios::test
