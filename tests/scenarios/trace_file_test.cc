// Runs as files: they say all that there is to say, and nothing that is not
// whole is taken for one.

#include "sim/trace_file.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace aios::sim {

namespace {

TraceFile Example() {
  TraceFile trace;
  trace.scenario_file = "a folder/x.yaml";
  trace.scenario = "title: x\n\n  y: |\n";
  trace.seed = 18446744073709551615u;
  trace.passed = false;
  trace.hash = 0x0123456789abcdef;
  trace.time = 1'500'000'000;
  trace.choices = {{Site::kLatency, 1, 2, 3},
                   {Site::kUser, ~uint64_t{0}, 4, ~uint64_t{0}}};
  trace.events = {{.time = 5,
                   .subject = 6,
                   .a = 7,
                   .b = 8,
                   .host = 1,
                   .what = What::kSend}};
  return trace;
}

std::string ErrorOf(const std::string& text) {
  absl::StatusOr<TraceFile> trace = ParseTraceFile("f", text);
  return trace.ok() ? "none" : std::string(trace.status().message());
}

TEST(TraceFileTest, SaysAllThereIs) {
  TraceFile trace = Example();
  absl::StatusOr<TraceFile> read = ParseTraceFile("f", FormatTraceFile(trace));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->scenario_file, trace.scenario_file);
  EXPECT_EQ(read->scenario, trace.scenario);
  EXPECT_EQ(read->seed, trace.seed);
  EXPECT_EQ(read->passed, trace.passed);
  EXPECT_EQ(read->hash, trace.hash);
  EXPECT_EQ(read->time, trace.time);
  EXPECT_EQ(read->choices, trace.choices);
  EXPECT_EQ(read->events, trace.events);
}

TEST(TraceFileTest, TruncatedAnywhere) {
  std::string text = FormatTraceFile(Example());
  for (size_t size = 0; size != text.size(); ++size) {
    EXPECT_NE(ErrorOf(text.substr(0, size)), "none") << size;
  }
  EXPECT_TRUE(
      absl::StrContains(ErrorOf(text.substr(0, text.size() - 4)), "truncated"));
}

TEST(TraceFileTest, OtherVersionsAndOtherFiles) {
  std::string text = FormatTraceFile(Example());
  EXPECT_EQ(ErrorOf(absl::StrReplaceAll(text, {{"trace 1\n", "trace 2\n"}})),
            "f:1:1: the trace is of version 2; this program reads version 1");
  EXPECT_TRUE(absl::StrContains(ErrorOf("title: x\n"), "this is no trace"));
  EXPECT_TRUE(absl::StrContains(ErrorOf(text + "x\n"), "nothing after"));
  EXPECT_EQ(ErrorOf(absl::StrReplaceAll(text, {{"\nseed ", "\nseat "}})),
            "f:2:1: expected \"seed\" here");
  EXPECT_TRUE(absl::StrContains(
      ErrorOf(absl::StrReplaceAll(text, {{"choices 2", "choices 99999999"}})),
      "truncated"));
}

TEST(TraceFileTest, NumbersThatAreTooGreat) {
  std::string text = FormatTraceFile(Example());
  EXPECT_EQ(
      ErrorOf(absl::StrReplaceAll(
          text, {{"\ntime 1500000000\n", "\ntime 9223372036854775807\n"}})),
      "f:5:1: expected a time");
  EXPECT_TRUE(absl::StrContains(
      ErrorOf(absl::StrReplaceAll(
          text, {{"\n5 1 send ", "\n18446744073709551615 1 send "}})),
      "expected a time"));
  EXPECT_TRUE(
      absl::StrContains(ErrorOf(absl::StrReplaceAll(
                            text, {{"\n5 1 send ", "\n5 4294967296 send "}})),
                        "a smaller number"));
  EXPECT_TRUE(absl::StrContains(
      ErrorOf(absl::StrReplaceAll(text, {{"\n5 1 send ", "\n5 1 walk "}})),
      "the name of an event"));
}

TEST(TraceFileTest, ChoicesThatThisProgramDoesNotKnow) {
  std::string text = absl::StrReplaceAll(
      FormatTraceFile(Example()), {{"\nlatency ", "\nphase_of_the_moon "}});
  absl::StatusOr<TraceFile> read = ParseTraceFile("f", text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->choices.size(), 1u);
}

}  // namespace

}  // namespace aios::sim
