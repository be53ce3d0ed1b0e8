// Runs the current test of GoogleTest once more in a process of its own, as the
// same program started anew. What a process decides once is decided again
// there: where things lie in memory, the seeds of hash tables, what static
// objects are made of.
//
// The process gets a task, a text, and gives an answer. It runs the test from
// its beginning; the one that has the task looks for it in the test:
//
//   if (const std::string* task = GivenTask()) Answer(…);  // does not return

#ifndef AIOS_SIM_ANOTHER_PROCESS_H_
#define AIOS_SIM_ANOTHER_PROCESS_H_

#include <optional>
#include <string>
#include <string_view>

namespace aios::sim {

struct ProcessOutcome {
  // What it has answered. Without an answer, `trouble` says why.
  std::optional<std::string> answer = {};
  std::string trouble = {};
  // It was started, and ended badly before it could answer.
  bool failed = false;
  // What it has printed.
  std::string output = {};
};

// Waits for the end of the process. Flags of GoogleTest and the variables by
// which Bazel and GoogleTest choose tests, split them and collect their results
// do not reach it. `fixed_addresses` switches the randomisation of addresses
// off, which a debugger may have done before; otherwise it is on.
ProcessOutcome RunTestInAnotherProcess(std::string_view task,
                                       bool fixed_addresses);

// In a process that was started so, and null in all others.
const std::string* GivenTask();

// Ends the process at once.
[[noreturn]] void Answer(std::string_view answer);

}  // namespace aios::sim

#endif  // AIOS_SIM_ANOTHER_PROCESS_H_
