// Running scenarios: every kind of disappointment is found and named, and a run
// can be had again.

#include "sim/scenario_runner.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace aios::sim {

namespace {

Scenario Parse(const std::string& rest) {
  absl::StatusOr<Scenario> scenario =
      ParseScenario("f",
                    "title: x\nhosts: [client, server]\nlink: {latency: 10ms}\n"
                    "states:\n"
                    "  alice: {host: client, connect: bob, queue_output: yes}\n"
                    "  bob: {host: server}\n"
                    "  plain: {host: client, plain: yes, connect: other}\n"
                    "  other: {host: server, plain: yes}\n" +
                        rest);
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  return scenario.ok() ? *scenario : Scenario();
}

// The failures, one a line.
std::string FailuresOf(const std::string& rest) {
  std::string text;
  for (const std::string& failure : RunScenario(Parse(rest)).failures) {
    absl::StrAppend(&text, failure, "\n");
  }
  return text;
}

#define EXPECT_FAILURE(rest, part)                                           \
  do {                                                                       \
    std::string failures = FailuresOf(rest);                                 \
    EXPECT_TRUE(absl::StrContains(failures, part)) << "found: " << failures; \
  } while (false)

constexpr char kExchange[] =
    "steps:\n"
    "  - {at: 0s, name: read, state: alice, read_buffer: 4}\n"
    "  - {at: 1s, name: write, state: bob, write_buffer: abcd}\n";

TEST(ScenarioRunnerTest, WhatIsAsExpectedPasses) {
  ScenarioResult result = RunScenario(Parse(kExchange));
  EXPECT_TRUE(result.passed()) << result.failures[0];
  ASSERT_EQ(result.rows.size(), 2u);
  EXPECT_EQ(result.rows[0].operation, "alice: read_buffer 4");
  EXPECT_EQ(result.rows[0].status, "ok");
  EXPECT_EQ(result.rows[0].count, 4u);
  EXPECT_EQ(result.rows[0].ended_at, 1'010'000'000);
  EXPECT_EQ(result.time, 1'010'000'000);
  EXPECT_NE(result.hash, 0u);
  EXPECT_GT(result.events, 0u);
}

TEST(ScenarioRunnerTest, EveryDisappointmentIsNamed) {
  auto read = [](const std::string& expect) {
    return absl::StrCat(
        "steps:\n  - {at: 0s, name: read, state: alice, read_buffer: 4, ",
        "timeout: 5s, expect: ", expect,
        "}\n  - {at: 1s, state: bob, write_buffer: abcd}\n");
  };
  EXPECT_EQ(FailuresOf(read("{status: ok, text: abcd, at: 1.01s}")), "");
  EXPECT_FAILURE(read("timeout"),
                 "f:10:5: alice: read_buffer 4, timeout 5s: ended with ok, 4 "
                 "bytes, at 1.01s, after 1.01s, \"abcd\"; expected timeout: "
                 "the status differs");
  EXPECT_FAILURE(read("{status: ok, count: 3}"), "the count differs");
  EXPECT_FAILURE(read("{status: ok, text: abce}"), "the text differs");
  EXPECT_FAILURE(read("{status: ok, at: 1s}"), "the time differs");
  EXPECT_FAILURE(read("{status: ok, takes: [2s, 3s]}"), "it took differs");
  EXPECT_FAILURE(read("never"), "that it ended differs");
  EXPECT_FAILURE(read("[eof, timeout]"), "expected eof; or timeout");
  EXPECT_FAILURE(read("{refused: failed_precondition}"), "was not refused");
  EXPECT_EQ(FailuresOf(read("any")), "");
}

TEST(ScenarioRunnerTest, TooManyEventsAreNamed) {
  EXPECT_FAILURE(absl::StrCat(kExchange, "events_max: 5\n"),
                 "f:12:13: it took ");
  EXPECT_EQ(FailuresOf(absl::StrCat(kExchange, "events_max: 500\n")), "");
}

TEST(ScenarioRunnerTest, TheRecordingIsOfTheScenario) {
  ScenarioResult result = RunScenario(Parse(kExchange), {.draw = true});
  EXPECT_TRUE(result.passed());
  ASSERT_NE(result.recording, nullptr);
  ASSERT_EQ(result.recording->hosts().size(), 2u);
  bool found = false;
  for (const RecordedOperation& operation : result.recording->operations()) {
    if (operation.detail != "read_buffer 4") continue;
    found = true;
    EXPECT_EQ(operation.state_name, "alice");
    EXPECT_EQ(operation.start, result.zero);
    EXPECT_EQ(operation.end, result.zero + 1'010'000'000);
  }
  EXPECT_TRUE(found);
  // Drawing is no part of the run.
  EXPECT_EQ(result.hash, RunScenario(Parse(kExchange)).hash);
}

TEST(ScenarioRunnerTest, WhatDoesNotHappenIsNamed) {
  EXPECT_FAILURE("steps: [{at: 0s, state: alice, read_buffer: 4}]\n",
                 "has not ended; expected ok");
  EXPECT_FAILURE(
      "steps:\n"
      "  - {at: 0s, name: r, state: alice, read_buffer: 4, expect: any}\n"
      "  - {after: r, state: alice, read_buffer: 4}\n",
      "was never started");
  EXPECT_FAILURE(
      "steps:\n"
      "  - {at: 0s, state: alice, read_buffer: 4, expect: any}\n"
      "  - {at: 0s, state: alice, read_buffer: 4}\n",
      "was refused: FAILED_PRECONDITION");
  EXPECT_FAILURE(
      "steps:\n"
      "  - {at: 0s, state: alice, read_buffer: 4}\n"
      "  - {at: 1s, state: alice, close: }\n",
      "was aborted or closed without its callback");
  EXPECT_FAILURE(
      "steps:\n"
      "  - {at: 0s, crash: client}\n"
      "  - {at: 0s, state: alice, read_buffer: 4, expect: any}\n",
      "its host is down");
}

TEST(ScenarioRunnerTest, OrderIsChecked) {
  std::string order = std::string(kExchange) + "order: [read, write]\n";
  EXPECT_FAILURE(order, "f:12:8: write ended before read");
  EXPECT_EQ(FailuresOf(std::string(kExchange) + "order: [write, read]\n"), "");
}

TEST(ScenarioRunnerTest, PlainSocketsTalkToEachOther) {
  EXPECT_EQ(
      FailuresOf("steps:\n"
                 "  - {at: 0s, state: plain, send: {size: 1MiB}}\n"
                 "  - {at: 0s, name: r, state: other, receive: 1MiB}\n"
                 "  - {after: r, name: s, state: plain, shutdown: output}\n"
                 "  - {after: s, state: other, receive: to_end,\n"
                 "     expect: {status: eof, count: 0}}\n"
                 "  - {at: 5s, state: other, reset: }\n"
                 "  - {at: 6s, state: plain, receive: to_end,\n"
                 "     expect: {status: ECONNRESET, count: 0}}\n"),
      "");
}

TEST(ScenarioRunnerTest, TheSameOptionsGiveTheSameRun) {
  Scenario scenario =
      Parse(std::string("faults: {loss: 20%, split: 50%}\n") + kExchange);
  ScenarioResult first = RunScenario(scenario, {.seed = 7});
  ScenarioResult second = RunScenario(scenario, {.seed = 7, .record = true});
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.events, second.events);
  ScenarioResult other = RunScenario(scenario, {.seed = 8});
  EXPECT_NE(first.hash, other.hash);
}

TEST(ScenarioRunnerTest, ChoicesAreTheWholeOfIt) {
  Scenario scenario =
      Parse(std::string("faults: {loss: 20%, split: 50%}\n") + kExchange);
  ScenarioResult recorded = RunScenario(scenario, {.seed = 7, .record = true});
  ASSERT_FALSE(recorded.choices.empty());
  // Whatever else is drawn from the seed, the choices that are named decide;
  // also when there are names of things that nobody asks for.
  std::vector<Choice> choices = recorded.choices;
  choices.push_back({Site::kUser, 12345, 6, 7});
  std::reverse(choices.begin(), choices.end());
  ScenarioResult replayed =
      RunScenario(scenario, {.seed = 999, .choices = choices});
  EXPECT_EQ(replayed.hash, recorded.hash);
}

TEST(ScenarioRunnerTest, FaultsHaveTheirTime) {
  ScenarioResult result =
      RunScenario(Parse("faults:\n"
                        "  - {loss: 100%, from: 10s, until: 20s}\n"
                        "  - {loss: 0.0001%}\n"
                        "steps:\n"
                        "  - {at: 1s, state: alice, write_buffer: ab}\n"
                        "  - {at: 1s, name: r1, state: bob, read_buffer: 2,\n"
                        "     expect: {status: ok, at: 1.01s}}\n"
                        "  - {at: 11s, state: alice, write_buffer: cd}\n"
                        "  - {after: r1, state: bob, read_buffer: 2,\n"
                        "     expect: {status: ok, at: [20s, 40s]}}\n"));
  EXPECT_TRUE(result.passed()) << result.failures[0];
  EXPECT_GT(result.faults[static_cast<size_t>(Fault::kLoss)].effective, 0u);
}

TEST(ScenarioRunnerTest, WhatOnlyTheSimulationCan) {
  EXPECT_TRUE(WhatOnlySimulationCan(Parse(kExchange)).whole.empty());
  EXPECT_EQ(WhatOnlySimulationCan(Parse(kExchange)).parts.size(), 1u);
  EXPECT_EQ(WhatOnlySimulationCan(
                Parse("steps: [{at: 0s, partition: [client, server]}]\n"))
                .whole.size(),
            1u);
  EXPECT_FALSE(WhatOnlySimulationCan(
                   Parse(std::string("faults: {loss: 1%}\n") + kExchange))
                   .whole.empty());
  EXPECT_EQ(WhatOnlySimulationCan(
                Parse(std::string("only_simulated: it is long\n") + kExchange))
                .whole[0],
            "it is long");
}

}  // namespace

}  // namespace aios::sim
