#include "sim/another_process.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/personality.h>
#endif

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

extern char** environ;

namespace aios::sim {

namespace {

// "3 task": the descriptor for the answer, and the task.
constexpr const char* kVariable = "AIOS_SIM_TASK";

// A file without a name.
class TemporaryFile {
 public:
  TemporaryFile() {
#if defined(__linux__)
    descriptor_ = memfd_create("aios", MFD_CLOEXEC);
#else
    if (FILE* file = tmpfile(); file != nullptr) {
      descriptor_ = dup(fileno(file));
      fclose(file);
    }
#endif
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (descriptor_ >= 0) close(descriptor_);
  }

  int descriptor() const { return descriptor_; }

  std::string Contents() const {
    std::string contents;
    std::array<char, 65536> buffer;
    ssize_t count;
    while ((count = pread(descriptor_, buffer.data(), buffer.size(),
                          static_cast<off_t>(contents.size()))) > 0) {
      contents.append(buffer.data(), static_cast<size_t>(count));
    }
    return contents;
  }

 private:
  int descriptor_ = -1;
};

// While it lives, programs that are started have their addresses randomised, or
// not.
class AddressRandomisation {
 public:
  explicit AddressRandomisation(bool fixed) {
#if defined(__linux__)
    before_ = personality(0xffffffff);
    auto flags = static_cast<unsigned long>(before_);
    unsigned long wanted =
        fixed ? flags | ADDR_NO_RANDOMIZE : flags & ~ADDR_NO_RANDOMIZE;
    works_ = before_ != -1 && (wanted == flags || personality(wanted) != -1);
#else
    works_ = !fixed;
#endif
  }
  AddressRandomisation(const AddressRandomisation&) = delete;
  AddressRandomisation& operator=(const AddressRandomisation&) = delete;
  ~AddressRandomisation() {
#if defined(__linux__)
    if (before_ != -1) personality(static_cast<unsigned long>(before_));
#endif
  }
  bool works() const { return works_; }

 private:
  [[maybe_unused]] int before_ = -1;
  bool works_;
};

// The command line of this program, with which it runs the current test only.
std::vector<std::string> Arguments() {
  const testing::TestInfo* test =
      testing::UnitTest::GetInstance()->current_test_info();
  std::vector<std::string> arguments;
  for (const std::string& argument : testing::internal::GetArgvs()) {
    if (!argument.starts_with("--gtest_")) arguments.push_back(argument);
  }
  if (test == nullptr || arguments.empty()) return {};
  arguments.insert(arguments.begin() + 1,
                   {absl::StrCat("--gtest_filter=", test->test_suite_name(),
                                 ".", test->name()),
                    "--gtest_also_run_disabled_tests"});
  return arguments;
}

// The variables by which one of several tests is chosen, and by which files are
// named that a test writes or removes.
bool IsForThisProcessOnly(std::string_view variable) {
  return variable.starts_with("GTEST_") ||
         variable.starts_with("TEST_SHARD_") ||
         variable.starts_with("TEST_TOTAL_SHARDS=") ||
         variable.starts_with("TEST_PREMATURE_EXIT_FILE=") ||
         variable.starts_with("TESTBRIDGE_TEST_ONLY=") ||
         variable.starts_with("XML_OUTPUT_FILE=");
}

std::vector<std::string> Environment() {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!IsForThisProcessOnly(*variable)) variables.emplace_back(*variable);
  }
  return variables;
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What this program lies in.
std::string Executable([[maybe_unused]] const std::string& called_as) {
#if defined(__linux__)
  return "/proc/self/exe";
#else
  return called_as;
#endif
}

struct Given {
  int descriptor;
  std::string task;
};

// Read once, and hidden from programs that the test may start.
const Given* GetGiven() {
  static const Given* const given = []() -> const Given* {
    const char* variable = getenv(kVariable);
    if (variable == nullptr) return nullptr;
    std::string_view text = variable;
    size_t blank = text.find(' ');
    auto* given = new Given;
    if (blank == text.npos ||
        !absl::SimpleAtoi(std::string(text.substr(0, blank)),
                          &given->descriptor)) {
      delete given;
      return nullptr;
    }
    given->task = text.substr(blank + 1);
    unsetenv(kVariable);
    return given;
  }();
  return given;
}

}  // namespace

ProcessOutcome RunTestInAnotherProcess(std::string_view task,
                                       bool fixed_addresses) {
  std::vector<std::string> arguments = Arguments();
  if (arguments.empty()) {
    return {.trouble = "GoogleTest has not been given a command line"};
  }
  TemporaryFile answer;
  TemporaryFile output;
  if (answer.descriptor() < 0 || output.descriptor() < 0) {
    return {.trouble = absl::StrCat("no temporary file: ", strerror(errno))};
  }
  std::vector<std::string> variables = Environment();
  variables.push_back(absl::StrCat(kVariable, "=", answer.descriptor(), " ") +
                      std::string(task));

  pid_t process;
  {
    AddressRandomisation randomisation(fixed_addresses);
    if (fixed_addresses && !randomisation.works()) {
      return {.trouble = "addresses cannot be fixed here"};
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    // A descriptor that is copied onto itself stays open in the new program.
    posix_spawn_file_actions_adddup2(&actions, answer.descriptor(),
                                     answer.descriptor());
    posix_spawn_file_actions_adddup2(&actions, output.descriptor(), 1);
    posix_spawn_file_actions_adddup2(&actions, output.descriptor(), 2);
    int error = posix_spawn(&process, Executable(arguments[0]).c_str(),
                            &actions, nullptr, Pointers(arguments).data(),
                            Pointers(variables).data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      return {.trouble =
                  absl::StrCat("it cannot be started: ", strerror(error))};
    }
  }
  int status = 0;
  while (waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) return {.trouble = "its end was waited for elsewhere"};
  }
  ProcessOutcome outcome{.output = output.Contents()};
  std::string text = answer.Contents();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    if (!text.empty()) {
      outcome.answer = std::move(text);
    } else {
      outcome.trouble = "it did not run the test";
    }
    return outcome;
  }
  outcome.failed = true;
  outcome.trouble =
      WIFEXITED(status)
          ? absl::StrCat("it ended with status ", WEXITSTATUS(status))
          : absl::StrCat("it was ended by signal ", WTERMSIG(status));
  return outcome;
}

const std::string* GivenTask() {
  const Given* given = GetGiven();
  return given == nullptr ? nullptr : &given->task;
}

void Answer(std::string_view answer) {
  fflush(nullptr);
  int descriptor = GetGiven()->descriptor;
  while (!answer.empty()) {
    ssize_t count = write(descriptor, answer.data(), answer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) _exit(1);
    answer.remove_prefix(static_cast<size_t>(count));
  }
  _exit(0);
}

}  // namespace aios::sim
