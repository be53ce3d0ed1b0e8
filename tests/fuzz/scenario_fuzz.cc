// Any bytes as a scenario: it is one, and then all of it can be described, or
// it is refused with a place that the text has.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"
#include "tests/fuzz/fuzz_check.h"

namespace aios::sim {
namespace {

// "f:3:14: what is wrong"; a line of the text, or the one behind its end.
void CheckRefusal(std::string_view text, const absl::Status& status) {
  AIOS_FUZZ_CHECK(status.code() == absl::StatusCode::kInvalidArgument);
  const std::string message(status.message());
  AIOS_FUZZ_CHECK(message.substr(0, 2) == "f:");
  const size_t second = message.find(':', 2);
  const size_t third = message.find(": ", second);
  AIOS_FUZZ_CHECK(second != message.npos && third != message.npos);
  size_t line = 0;
  size_t column = 0;
  AIOS_FUZZ_CHECK(absl::SimpleAtoi(message.substr(2, second - 2), &line));
  AIOS_FUZZ_CHECK(absl::SimpleAtoi(
      message.substr(second + 1, third - second - 1), &column));
  // Lines end by either character, as YAML has it.
  const auto lines = static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }));
  AIOS_FUZZ_CHECK(line >= 1 && line <= lines + 2);
  AIOS_FUZZ_CHECK(column >= 1 && column <= text.size() + 2);
  AIOS_FUZZ_CHECK(message.size() > third + 2);
}

void CheckScenario(const Scenario& scenario) {
  AIOS_FUZZ_CHECK(!scenario.hosts.empty());
  AIOS_FUZZ_CHECK(!scenario.steps.empty());
  AIOS_FUZZ_CHECK(scenario.end >= 0);
  for (const ScenarioState& state : scenario.states) {
    AIOS_FUZZ_CHECK(state.host < scenario.hosts.size());
    AIOS_FUZZ_CHECK(state.peer == kNone || state.peer < scenario.states.size());
  }
  for (const ScenarioStep& step : scenario.steps) {
    AIOS_FUZZ_CHECK(!DescribeStep(scenario, step).empty());
    AIOS_FUZZ_CHECK(IsOperation(step.action) == (step.state != kNone));
    AIOS_FUZZ_CHECK(step.state == kNone || step.state < scenario.states.size());
    AIOS_FUZZ_CHECK(step.after == kNone || step.after < scenario.steps.size());
    AIOS_FUZZ_CHECK(ParseScenarioTime(TimeText(step.at)) == step.at);
  }
  static_cast<void>(WhatOnlySimulationCan(scenario));
}

}  // namespace
}  // namespace aios::sim

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<aios::sim::Scenario> scenario =
      aios::sim::ParseScenario("f", text);
  if (scenario.ok()) {
    aios::sim::CheckScenario(*scenario);
  } else {
    aios::sim::CheckRefusal(text, scenario.status());
  }
  return 0;
}
