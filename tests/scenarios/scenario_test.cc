// Reading scenarios: what is written is what is meant, and what is wrong is
// told with its place.

#include "sim/scenario.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "sim/yaml_tree.h"

namespace aios::sim {

namespace {

constexpr char kGood[] = R"(title: a read that times out
about: for people
hosts: [client, server]
link: {latency: 10ms}
states:
  alice: {host: client, connect: bob, queue_output: yes}
  bob: {host: server}
steps:
  - {at: 0s, name: read, state: alice, read_buffer: 10, timeout: 300ms,
     expect: {status: timeout, count: 4, at: [300ms, 301ms]}}
  - {at: 100ms, state: bob, write_buffer: abcd}
  - {after: read, plus: 1s, state: alice, write_buffer: {size: 1.5KiB}, times: 2}
)";

// The message, without the file's name.
std::string ErrorOf(const std::string& text) {
  absl::StatusOr<Scenario> scenario = ParseScenario("f", text);
  if (scenario.ok()) return "none";
  EXPECT_EQ(scenario.status().code(), absl::StatusCode::kInvalidArgument);
  std::string message(scenario.status().message());
  EXPECT_EQ(message.substr(0, 2), "f:");
  return message.substr(2);
}

// The good one with its steps replaced.
std::string WithSteps(const std::string& steps) {
  std::string text = kGood;
  return text.substr(0, text.find("steps:")) + "steps:\n" + steps;
}
std::string StepError(const std::string& steps) {
  return ErrorOf(WithSteps(steps));
}

#define EXPECT_ERROR(error, place, part)                                    \
  do {                                                                      \
    std::string found = (error);                                            \
    EXPECT_EQ(found.substr(0, found.find(": ")), place) << "in: " << found; \
    EXPECT_TRUE(absl::StrContains(found, part)) << found;                   \
  } while (false)

TEST(ScenarioTest, WhatIsWrittenIsMeant) {
  absl::StatusOr<Scenario> scenario = ParseScenario("f", kGood);
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->title, "a read that times out");
  ASSERT_EQ(scenario->hosts.size(), 2u);
  EXPECT_EQ(scenario->hosts[1].name, "server");
  EXPECT_EQ(scenario->link.latency.base, absl::Milliseconds(10));
  ASSERT_EQ(scenario->states.size(), 2u);
  EXPECT_TRUE(scenario->states[0].active);
  EXPECT_EQ(scenario->states[0].peer, 1u);
  EXPECT_EQ(scenario->states[1].peer, 0u);
  EXPECT_EQ(scenario->states[0].queue_output, true);
  ASSERT_EQ(scenario->steps.size(), 3u);
  const ScenarioStep& read = scenario->steps[0];
  EXPECT_EQ(read.action, Action::kReadBuffer);
  EXPECT_EQ(read.size, 10u);
  EXPECT_EQ(read.timeout, absl::Milliseconds(300));
  ASSERT_EQ(read.expect.outcomes.size(), 1u);
  EXPECT_EQ(read.expect.outcomes[0].status, IoStatus::kTimeout);
  EXPECT_EQ(read.expect.outcomes[0].count->max, 4u);
  EXPECT_EQ(read.expect.outcomes[0].at->max, 301'000'000);
  EXPECT_EQ(read.place.line, 9);
  EXPECT_EQ(DescribeStep(*scenario, read),
            "alice: read_buffer 10, timeout 300ms");
  const ScenarioStep& write = scenario->steps[2];
  EXPECT_EQ(write.after, 0u);
  EXPECT_EQ(write.plus, 1'000'000'000);
  EXPECT_EQ(write.size, 1536u);
  EXPECT_EQ(write.times, 2u);
  // Unless it says otherwise, an operation is to end well and do all of it.
  EXPECT_EQ(write.expect.outcomes[0].status, IoStatus::kOk);
  EXPECT_EQ(write.expect.outcomes[0].count->min, 1536u);
}

TEST(ScenarioTest, TimesAndSizes) {
  EXPECT_EQ(ParseScenarioTime("1.5ms"), 1'500'000);
  EXPECT_EQ(ParseScenarioTime("49d"), 49ll * 24 * 3600 * 1'000'000'000);
  EXPECT_EQ(ParseScenarioTime("0"), 0);
  for (const char* bad : {"", "5", "-1s", "1 s", "1.s", ".5s", "0.5ns", "1e3s",
                          "101000d", "99999999999999999999s", "s", "1sec"}) {
    EXPECT_EQ(ParseScenarioTime(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(ParseScenarioSize("100"), 100u);
  EXPECT_EQ(ParseScenarioSize("64KiB"), 65536u);
  EXPECT_EQ(ParseScenarioSize("1.5MiB"), 1572864u);
  for (const char* bad : {"", "-5", "1KB", "0.3", "1.0000000001GiB", "0x10",
                          "9999999999999GiB"}) {
    EXPECT_EQ(ParseScenarioSize(bad), std::nullopt) << bad;
  }
  for (Nanoseconds time :
       {Nanoseconds{0}, Nanoseconds{1}, Nanoseconds{99'999'999},
        Nanoseconds{1'500'000'000}, Nanoseconds{7'200'000'000'000}}) {
    EXPECT_EQ(ParseScenarioTime(TimeText(time)), time) << TimeText(time);
  }
}

TEST(ScenarioTest, NotAText) {
  EXPECT_ERROR(ErrorOf(""), "1:1", "empty");
  EXPECT_ERROR(ErrorOf("# nothing\n"), "1:1", "empty");
  EXPECT_ERROR(ErrorOf(std::string("title: x\nhosts: \0", 17)), "2:8",
               "no text");
  EXPECT_ERROR(ErrorOf("title: \xff\xfe"), "1:8", "no text");
  EXPECT_ERROR(ErrorOf(std::string(2 << 20, 'a')), "1:1", "bytes");
  EXPECT_ERROR(ErrorOf("title: " + std::string(99, '[') + std::string(99, ']')),
               "1:23", "deep");
  std::string many = "title: [";
  for (int i = 0; i != 110'000; ++i) many += "1,";
  EXPECT_ERROR(ErrorOf(many + "]"), "1:200003", "100000 values");
}

TEST(ScenarioTest, NotAScenario) {
  EXPECT_ERROR(ErrorOf("a list"), "1:1", "expected the keys of a scenario");
  EXPECT_ERROR(ErrorOf("- title"), "1:1", "expected the keys of a scenario");
  EXPECT_ERROR(ErrorOf("title: x\n"), "1:1", "needs \"hosts\"");
  EXPECT_ERROR(ErrorOf("title: [x\n"), "2:1", "end of sequence");
  EXPECT_ERROR(ErrorOf("title: x\ntitle: y\n"), "2:1", "a second time");
  EXPECT_ERROR(ErrorOf("title: &a x\nhosts: *a\n"), "1:8", "anchors");
  EXPECT_ERROR(ErrorOf("title: x\ncolour: red\n"), "2:1",
               "unknown key \"colour\"; a scenario has: title, about");
  EXPECT_ERROR(ErrorOf("title: x\nhosts: [a, a]\nsteps: []\n"), "2:12",
               "two hosts \"a\"");
  EXPECT_ERROR(ErrorOf("title: x\n---\ntitle: y\n"), "3:1", "second document");
}

TEST(ScenarioTest, HowManyEventsItMayTake) {
  absl::StatusOr<Scenario> scenario =
      ParseScenario("f", std::string(kGood) + "events_max: 500\n");
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  EXPECT_EQ(scenario->events_max, 500u);
  for (const char* bad : {"0", "-1", "many", "18446744073709551616"}) {
    std::string error =
        ErrorOf(std::string(kGood) + "events_max: " + bad + "\n");
    EXPECT_EQ(error.substr(0, 6), "13:13:") << bad << ": " << error;
  }
}

TEST(ScenarioTest, DeepAndLongTextsEndQuickly) {
  EXPECT_ERROR(ErrorOf("title: " + std::string(500'000, '[')), "1:9",
               "a word as the key");
  EXPECT_ERROR(ErrorOf("title: " + std::string(500'000, '{')), "1:9",
               "a word as the key");
  EXPECT_ERROR(ErrorOf(std::string(500'000, '-')), "1:1", "");
  std::string steps = "title:\n";
  for (int i = 1; i != 400; ++i) steps += std::string(i, ' ') + "- - a:\n";
  EXPECT_NE(ErrorOf(steps), "none");
  EXPECT_NE(ErrorOf("title: \"" + std::string(900'000, 'x') + "\n"), "none");
}

TEST(ScenarioTest, StatesThatCannotBe) {
  auto with = [](const std::string& states) {
    return ErrorOf("title: x\nhosts: [c, s]\nstates:\n" + states +
                   "steps: [{at: 0s, pause: c}]\n");
  };
  EXPECT_ERROR(with("  a: {host: x}\n"), "4:13", "no host \"x\"");
  EXPECT_ERROR(with("  a: {host: c, connect: b}\n"), "4:25", "no state \"b\"");
  EXPECT_ERROR(with("  a: {host: c}\n  a: {host: s}\n"), "5:3",
               "a second time");
  EXPECT_ERROR(with("  a: {host: c, connect: a}\n"), "4:6", "another state");
  EXPECT_ERROR(with("  a: {host: c, udp: 0}\n"), "4:21", "1 to 65535");
  EXPECT_ERROR(with("  a: {host: c, udp: 7}\n  b: {host: c, udp: 7}\n"), "5:6",
               "taken");
  EXPECT_ERROR(with("  a: {host: c, read_timeout: -1s}\n"), "4:30",
               "not a negative one");
  EXPECT_ERROR(with("  a: {connect: b}\n  b: {host: c}\n"), "4:6",
               "needs \"host\"");
}

TEST(ScenarioTest, StepsThatCannotBe) {
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, read_buffer: -5}\n"),
               "9:41", "not a negative one");
  EXPECT_ERROR(StepError("  - {at: 0s, state: carol, read_buffer: 5}\n"),
               "9:21", "no state \"carol\"");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, read_bufer: 5}\n"), "9:28",
               "unknown key \"read_bufer\"");
  EXPECT_ERROR(StepError("  - {state: alice, read_buffer: 5}\n"), "9:5",
               "either \"at: TIME\" or \"after: NAME\"");
  EXPECT_ERROR(StepError("  - {at: 2s, state: alice, read_buffer: 5}\n"
                         "  - {at: 1s, state: alice, read_buffer: 5}\n"),
               "10:10", "backwards");
  EXPECT_ERROR(StepError("  - {at: 0s, name: r, state: alice, read_buffer: 5}\n"
                         "  - {at: 0s, name: r, state: bob, read_buffer: 5}\n"),
               "10:20", "two steps named \"r\"");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, send: x}\n"), "9:5",
               "only plain sockets");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, write_buffer: {size: 1, "
                         "text: x}}\n"),
               "9:42", "either");
  EXPECT_ERROR(StepError("  - {at: 0s, partition: [client, client]}\n"), "9:25",
               "two different hosts");
  EXPECT_ERROR(StepError("  - {at: 0s, lift: r}\n"), "9:20",
               "no partition, hold or lose");
}

TEST(ScenarioTest, ExpectationsThatCannotComeTrue) {
  EXPECT_ERROR(StepError("  - {after: x, state: alice, read_buffer: 5}\n"),
               "9:13", "never starts");
  EXPECT_ERROR(
      StepError("  - {after: r, name: r, state: alice, read_buffer: 5}\n"),
      "9:5", "waits for itself");
  EXPECT_ERROR(
      StepError("  - {at: 0s, name: r, state: alice, read_buffer: 5, expect: "
                "never}\n"
                "  - {after: r, state: alice, read_buffer: 5}\n"),
      "10:13", "does not end");
  EXPECT_ERROR(StepError("  - {at: 5s, state: alice, read_buffer: 5, expect: "
                         "{at: 1s}}\n"),
               "9:52", "cannot come true");
  EXPECT_ERROR(StepError("  - {at: 5s, state: alice, read_buffer: 5, expect: "
                         "{at: 60s}}\nend: 10s\n"),
               "9:52", "not reached");
  EXPECT_ERROR(
      StepError("  - {at: 5s, state: alice, read_buffer: 5}\nend: 1s\n"), "9:5",
      "not reached");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, read_buffer: 5}\n"
                         "order: [a, b]\n"),
               "10:9", "no operation is named \"a\"");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, read_buffer: 5, expect: "
                         "done}\n"),
               "9:52", "expected a status");
  EXPECT_ERROR(StepError("  - {at: 0s, state: alice, read_buffer: 5, expect: "
                         "{status: never, count: 1}}\n"),
               "9:52", "stand alone");
}

}  // namespace

}  // namespace aios::sim
