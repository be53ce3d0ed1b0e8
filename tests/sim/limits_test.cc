// How a run ends that does not end by itself, and what it says then.

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"

namespace aios::test {
namespace {

class Limits : public testing::Test {
 protected:
  std::unique_ptr<WaitStateCollection> Collection(sim::Host& host) {
    return MakeWaitStateCollection(host.kernel()).value();
  }
  bool ReportHas(const sim::RunResult& result, const std::string& text) {
    bool has = result.report.find(text) != std::string::npos;
    EXPECT_TRUE(has) << "no \"" << text << "\" in\n" << result.report;
    return has;
  }

  sim::Simulation simulation_{{.seed = 77, .turns_at_one_moment_max = 500}};
  sim::Host& alpha_ = simulation_.AddHost("alpha");
  sim::Host& beta_ = simulation_.AddHost("beta");
};

TEST_F(Limits, ALivelockIsNoticedAndItsHostNamed) {
  auto innocent = Collection(alpha_);
  auto culprit = Collection(beta_);
  auto quiet = OpenUdp(*innocent, {.local_port = 4711}).value();
  auto busy = OpenUdp(*culprit, {.local_port = 4712}).value();
  std::function<void()> again = [&] {
    EXPECT_TRUE(culprit->Apply([&] { again(); }).ok());
  };
  again();
  Nanoseconds start = simulation_.now();
  sim::RunResult result = simulation_.RunUntil([] { return false; });
  EXPECT_EQ(result.reason, sim::StopReason::kLivelock);
  EXPECT_FALSE(result);
  ReportHas(result,
            "livelock: a collection of host \"beta\" has had 501 turns");
  ReportHas(result, ":4712");
  EXPECT_EQ(result.report.find("livelock: a collection of host \"alpha\""),
            std::string::npos);
  EXPECT_EQ(simulation_.now(), start) << "no time has passed";
}

TEST_F(Limits, ManyTurnsOfManyMomentsAreNoLivelock) {
  auto collection = Collection(alpha_);
  int turns = 0;
  std::function<void()> again = [&] {
    if (++turns == 2000) return;
    simulation_.After(absl::Nanoseconds(1), [&] {
      EXPECT_TRUE(collection->Apply([&] { again(); }).ok());
    });
  };
  again();
  EXPECT_TRUE(simulation_.RunUntil([&] { return turns == 2000; }));
}

TEST_F(Limits, TheLimitOfVirtualTimeSaysWhatWasPending) {
  auto collection = Collection(alpha_);
  auto state = OpenUdp(*collection, {.local_port = 4711}).value();
  char byte;
  ASSERT_TRUE(state
                  ->ReceiveMessage({&byte, 1},
                                   [](AsyncIoState&, const IoResult&) {},
                                   {.timeout = absl::Hours(5)})
                  .ok());
  Nanoseconds start = simulation_.now();
  sim::RunResult result = simulation_.RunUntil([] { return false; },
                                               {.time_max = absl::Minutes(2)});
  EXPECT_EQ(result.reason, sim::StopReason::kTimeLimit);
  EXPECT_EQ(simulation_.now() - start, 120'000'000'000);
  ReportHas(result, "the limit of virtual time was reached");
  ReportHas(result, "seed 77");
  ReportHas(result, "host \"alpha\"");
  ReportHas(result, ":4711");
  ReportHas(result, "ReceiveMessage, in progress since 1000.000000000 s");
  ReportHas(result, "the last events:");
}

TEST_F(Limits, TheLimitOfEvents) {
  int calls = 0;
  std::function<void()> again = [&] {
    ++calls;
    simulation_.After(absl::Milliseconds(1), again);
  };
  again();
  sim::RunResult result =
      simulation_.RunUntil([] { return false; }, {.events_max = 100});
  EXPECT_EQ(result.reason, sim::StopReason::kTurnLimit);
  ReportHas(result, "the limit of events was reached");
  EXPECT_EQ(calls, 101);
}

TEST_F(Limits, NothingLeftToDoIsNoSuccessOfAConditionThatDoesNotHold) {
  auto collection = Collection(alpha_);
  sim::RunResult result = simulation_.RunUntil([] { return false; });
  EXPECT_EQ(result.reason, sim::StopReason::kIdle);
  EXPECT_FALSE(result);
  ReportHas(result, "nothing is left to do");
  EXPECT_TRUE(simulation_.RunUntilIdle());
}

TEST_F(Limits, IdleTimePassesInRunFor) {
  Nanoseconds start = simulation_.now();
  EXPECT_TRUE(simulation_.RunFor(absl::Hours(24)));
  EXPECT_EQ(simulation_.now() - start,
            absl::ToInt64Nanoseconds(absl::Hours(24)));
}

TEST_F(Limits, LeftoversAreDescriptorsOperationsAndPackets) {
  EXPECT_EQ(simulation_.Leftovers(), "");
  auto collection = Collection(alpha_);
  auto state = OpenUdp(*collection, {.local_port = 4711}).value();
  char byte;
  ASSERT_TRUE(
      state->ReceiveMessage({&byte, 1}, [](AsyncIoState&, const IoResult&) {})
          .ok());
  ASSERT_TRUE(state
                  ->SendMessageToAddress(SocketAddress(beta_.ipv4(), 9), "x",
                                         [](AsyncIoState&, const IoResult&) {})
                  .ok());
  simulation_.RunFor(absl::Microseconds(1));
  std::string leftovers = simulation_.Leftovers();
  for (const char* text : {"2 descriptors are open; host \"alpha\"", ":4711",
                           "1 operations have not ended", "ReceiveMessage",
                           "1 packets in flight"}) {
    EXPECT_NE(leftovers.find(text), std::string::npos)
        << text << " in " << leftovers;
  }
  state = nullptr;
  collection = nullptr;
  simulation_.RunUntilIdle();
  EXPECT_EQ(simulation_.Leftovers(), "");
}

TEST_F(Limits, PacketsThatAreHeldAreLeftovers) {
  sim::Rule rule = simulation_.Hold(alpha_, beta_);
  auto collection = Collection(alpha_);
  auto state = OpenUdp(*collection).value();
  ASSERT_TRUE(state
                  ->SendMessageToAddress(SocketAddress(beta_.ipv4(), 9), "x",
                                         [](AsyncIoState&, const IoResult&) {})
                  .ok());
  simulation_.RunUntilIdle();
  state = nullptr;
  collection = nullptr;
  EXPECT_EQ(simulation_.Leftovers(), "1 packets in flight\n");
  rule.Lift();
  simulation_.RunUntilIdle();
  EXPECT_EQ(simulation_.Leftovers(), "");
}

TEST_F(Limits, ARuleOutlivesNothing) {
  sim::Rule rule;
  {
    sim::Rule held = simulation_.Hold(alpha_, beta_);
    rule = std::move(held);
  }
  rule = simulation_.Partition(alpha_, beta_);
  rule.Lift();
  rule.Lift();
}

}  // namespace
}  // namespace aios::test
