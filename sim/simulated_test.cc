#include "sim/simulated_test.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gtest/gtest.h"
#include "sim/another_process.h"
#include "sim/choice.h"
#include "sim/simulation.h"
#include "sim/trace.h"

namespace aios::sim {

namespace {

std::string ReplayCommand(uint64_t seed) {
  const testing::TestInfo* test =
      testing::UnitTest::GetInstance()->current_test_info();
  std::string filter = absl::StrCat(test->test_suite_name(), ".", test->name());
  const char* target = std::getenv("TEST_TARGET");
  if (target != nullptr) {
    return absl::StrCat("bazel test ", target,
                        " --test_env=AIOS_SIM_SEEDS=", seed,
                        " --test_filter=", filter, " --test_output=all");
  }
  return absl::StrCat("AIOS_SIM_SEEDS=", seed, " ",
                      testing::internal::GetArgvs().empty()
                          ? "TEST"
                          : testing::internal::GetArgvs()[0],
                      " --gtest_filter=", filter);
}

bool Failed() { return testing::Test::HasFailure(); }

// Of the two runs that are compared, so many events are kept.
constexpr size_t kEventsComparedMax = 500'000;

struct Run {
  uint64_t hash = 0;
  bool failed = false;
  int threads_started = 0;
  std::vector<TraceEvent> events = {};
  std::vector<std::string> hosts = {};
};

std::string Describe(const Run& run, size_t place) {
  if (place == run.events.size()) return "none: it has ended";
  const TraceEvent& event = run.events[place];
  return Trace::Describe(
      event, event.host < run.hosts.size() ? run.hosts[event.host] : "nowhere");
}

// What the first event is that differs, for people.
std::string Divergence(const Run& a, const Run& b) {
  size_t place = Trace::FirstDifference(a.events, b.events);
  if (place == a.events.size() && place == b.events.size()) {
    return absl::StrCat("the first ", place, " events are the same");
  }
  return absl::StrCat("event ", place,
                      " is the first that differs:\n  first:  ",
                      Describe(a, place), "\n  second: ", Describe(b, place));
}

// What one process tells another of its run; both are the same program.
struct RunHeader {
  uint64_t hash;
  uint64_t events;
  uint64_t hosts;
  int threads_started;
  bool failed;
};

std::string ToText(const Run& run) {
  RunHeader header{.hash = run.hash,
                   .events = run.events.size(),
                   .hosts = run.hosts.size(),
                   .threads_started = run.threads_started,
                   .failed = run.failed};
  std::string text(reinterpret_cast<const char*>(&header), sizeof(header));
  text.append(reinterpret_cast<const char*>(run.events.data()),
              run.events.size() * sizeof(TraceEvent));
  for (const std::string& host : run.hosts) {
    text.append(host);
    text.push_back('\0');
  }
  return text;
}

std::optional<Run> FromText(std::string_view text) {
  RunHeader header;
  if (text.size() < sizeof(header)) return std::nullopt;
  std::memcpy(&header, text.data(), sizeof(header));
  text.remove_prefix(sizeof(header));
  if (text.size() / sizeof(TraceEvent) < header.events) return std::nullopt;
  Run run{.hash = header.hash,
          .failed = header.failed,
          .threads_started = header.threads_started};
  run.events.resize(header.events);
  size_t size = header.events * sizeof(TraceEvent);
  if (size != 0) std::memcpy(run.events.data(), text.data(), size);
  text.remove_prefix(size);
  for (uint64_t i = 0; i != header.hosts; ++i) {
    size_t end = text.find('\0');
    if (end == text.npos) return std::nullopt;
    run.hosts.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  return run;
}

// While it lives, memory that is allocated does not lie where it would lie
// without it, nor in the order in which it is allocated: so that a run that
// depends on addresses differs from one without. What is there is the C
// library's allocator; those of sanitizers are moved less.
class ShakenHeap {
 public:
  // Nothing for 0; other numbers give other orders.
  explicit ShakenHeap(uint64_t number) {
    if (number == 0) return;
    for (size_t size = 16; size <= kSizeMax; size += 16) {
      std::vector<std::unique_ptr<char[]>> blocks;
      for (size_t i = 0; i != kBlocks; ++i) {
        blocks.push_back(std::make_unique<char[]>(size));
        std::swap(blocks.back(),
                  blocks[Mix(number, size * kBlocks + i) % (i + 1)]);
      }
      // Those that stay keep the others from becoming one.
      for (size_t i = 0; i != kBlocks; i += 2) {
        kept_.push_back(std::move(blocks[i]));
      }
    }
  }

 private:
  static constexpr size_t kSizeMax = 512;
  static constexpr size_t kBlocks = 64;
  std::vector<std::unique_ptr<char[]>> kept_;
};

// Runs the body once, and keeps the events if they are to be compared.
Run RunOnce(const std::function<void(Simulation&)>& body, uint64_t seed,
            bool keep, uint64_t shake = 0) {
  ShakenHeap heap(shake);
  Simulation simulation({.seed = seed});
  if (keep) simulation.trace().KeepAll(kEventsComparedMax);
  simulation.CallInside([&] { body(simulation); });
  // What closing everything has left on its way arrives.
  for (const std::unique_ptr<Host>& host : simulation.hosts()) host->Resume();
  RunResult idle = simulation.RunUntilIdle();
  EXPECT_TRUE(idle) << idle.report;
  for (const std::string& violation : simulation.violations()) {
    ADD_FAILURE() << violation;
  }
  if (!Failed()) {
    std::string leftovers = simulation.Leftovers();
    EXPECT_EQ(leftovers, "") << "at the end of the test these are left";
  }
  if (Failed()) {
    std::printf("seed %llu failed; replay it with\n  %s\n%s",
                static_cast<unsigned long long>(seed),
                ReplayCommand(seed).c_str(), simulation.Report().c_str());
  }
  Run run{.hash = simulation.trace_hash(),
          .failed = Failed(),
          .threads_started = simulation.threads_started(),
          .events = simulation.trace().all()};
  for (const std::unique_ptr<Host>& host : simulation.hosts()) {
    run.hosts.push_back(host->name());
  }
  return run;
}

// Counts the calls of `RunSimulated` in the current test.
class CallCount : public testing::EmptyTestEventListener {
 public:
  // The number of this call, from 1.
  static int Next() {
    static auto* const count = [] {
      auto* count = new CallCount;
      testing::UnitTest::GetInstance()->listeners().Append(count);
      return count;
    }();
    return ++count->calls_;
  }

 private:
  void OnTestStart(const testing::TestInfo& /*test*/) override { calls_ = 0; }

  int calls_ = 0;
};

// Which run another process is to do.
struct Task {
  int call;
  uint64_t shake;
};

std::optional<Task> OwnTask() {
  const std::string* text = GivenTask();
  if (text == nullptr) return std::nullopt;
  std::vector<std::string> words = absl::StrSplit(*text, ' ');
  Task task;
  if (words.size() != 2 || !absl::SimpleAtoi(words[0], &task.call) ||
      !absl::SimpleAtoi(words[1], &task.shake)) {
    return std::nullopt;
  }
  return task;
}

struct OtherRun {
  std::optional<Run> run = {};
  ProcessOutcome outcome = {};
};

OtherRun RunElsewhere(const Task& task, bool fixed_addresses) {
  OtherRun other{
      .outcome = RunTestInAnotherProcess(
          absl::StrCat(task.call, " ", task.shake), fixed_addresses)};
  if (other.outcome.answer.has_value()) {
    other.run = FromText(*other.outcome.answer);
  }
  return other;
}

bool OtherProcessesAreWanted() {
  const char* text = std::getenv("AIOS_SIM_OTHER_PROCESS");
  return text == nullptr || std::string_view(text) != "0";
}

constexpr std::string_view kOfTheState =
    "In fresh processes this run is always the same, so it is something that "
    "outlives a run: a static or global object (a generator, a counter, a "
    "cache, an iterator; the state of rand_r, erand48, nrand48 or jrand48), or "
    "a file.";
constexpr std::string_view kOfAddresses =
    "With fixed addresses this run is always the same, so it depends on where "
    "things lie in memory: a std::set or std::map ordered by pointers, the "
    "order of absl::flat_hash_set or another hash table, the hash or the text "
    "of an address, memory that was not initialised.";
constexpr std::string_view kFromOutside =
    "Fresh processes with the same addresses differ, too, so it comes from "
    "outside: threads (std::thread, std::async), the processor's counters and "
    "random numbers (rdtsc, rdrand, absl::Now where Abseil reads them), the "
    "number of the process or of a thread, files, real sockets; or a static "
    "object that was made of one of these before the run.";
constexpr std::string_view kUnknown =
    "It may be something that outlives a run (a static or global object: a "
    "generator, a counter, a cache; the state of rand_r or erand48), where "
    "things lie in memory (a std::set or std::map ordered by pointers, the "
    "order of absl::flat_hash_set or another hash table), or what is outside "
    "(std::thread, std::async, rdtsc, rdrand, the number of the process, "
    "files).";

// Finds out by further runs in fresh processes what kind of thing it is that
// made two runs of a seed differ.
std::string_view Suspects(int call) {
  if (!OtherProcessesAreWanted()) return kUnknown;
  auto hash = [&](uint64_t shake, bool fixed_addresses) {
    OtherRun other = RunElsewhere({call, shake}, fixed_addresses);
    return other.run.has_value() ? std::optional(other.run->hash)
                                 : std::nullopt;
  };
  std::optional<uint64_t> fixed = hash(0, true);
  if (!fixed.has_value()) return kUnknown;
  for (int i = 0; i != 2; ++i) {
    if (hash(0, true) != fixed) return kFromOutside;
  }
  for (uint64_t shake : {3, 4}) {
    if (hash(shake, false) != fixed) return kOfAddresses;
  }
  return kOfTheState;
}

void ReportDifference(const Run& run, const Run& other, uint64_t seed, int call,
                      std::string_view where) {
  std::string threads;
  if (int count = std::max(run.threads_started, other.threads_started)) {
    threads = absl::StrCat("\nThe body has started ", count,
                           count == 1 ? " thread" : " threads",
                           ", by std::thread, std::async or the like, which is "
                           "the first suspect.");
  }
  ADD_FAILURE() << "seed " << seed << " gave another trace " << where
                << ": something in the test does not follow from the seed; "
                << Divergence(run, other) << "\n"
                << Suspects(call) << threads
                << "\ndocs/simulation.md has a list of what to do instead.";
}

// Runs the first seed once more in this process, and once in another one.
void CompareRuns(const std::function<void(Simulation&)>& body, uint64_t seed,
                 const Run& run, int call) {
  Run again = RunOnce(body, seed, true, 1);
  if (Failed()) return;
  if (run.hash != again.hash) {
    ReportDifference(run, again, seed, call, "the second time");
    return;
  }
  if (!OtherProcessesAreWanted()) return;
  OtherRun other = RunElsewhere({call, 2}, false);
  const ProcessOutcome& outcome = other.outcome;
  if (outcome.failed || (other.run.has_value() && other.run->failed)) {
    ADD_FAILURE() << "the run of seed " << seed
                  << " fails in another process and not in this one; "
                  << outcome.trouble
                  << " (AIOS_SIM_OTHER_PROCESS=0 does without it). It says:\n"
                  << outcome.output;
  } else if (!other.run.has_value()) {
    std::printf("skipped: the comparison with another process; %s\n",
                outcome.trouble.empty() ? "it did not answer"
                                        : outcome.trouble.c_str());
  } else if (other.run->hash != run.hash) {
    ReportDifference(run, *other.run, seed, call, "in another process");
  }
}

}  // namespace

bool ParseSeedRange(std::string_view text, SeedRange* range) {
  size_t dots = text.find("..");
  std::string first(text.substr(0, dots));
  std::string last(dots == text.npos ? text : text.substr(dots + 2));
  SeedRange parsed;
  if (!absl::SimpleAtoi(first, &parsed.first) ||
      !absl::SimpleAtoi(last, &parsed.last) || parsed.last < parsed.first) {
    return false;
  }
  *range = parsed;
  return true;
}

void RunSimulated(const std::function<void(Simulation&)>& body,
                  SeedRange default_seeds) {
  SeedRange seeds = default_seeds;
  if (const char* text = std::getenv("AIOS_SIM_SEEDS")) {
    ASSERT_TRUE(ParseSeedRange(text, &seeds))
        << "AIOS_SIM_SEEDS is \"" << text
        << "\"; it must be a seed such as 7, or a range such as 1..1000";
  }
  int call = CallCount::Next();
  if (std::optional<Task> task = OwnTask()) {
    bool is_meant = call == task->call;
    Run run = RunOnce(body, seeds.first, is_meant, is_meant ? task->shake : 0);
    if (is_meant) Answer(ToText(run));
    return;
  }
  for (uint64_t seed = seeds.first;; ++seed) {
    bool is_first = seed == seeds.first;
    Run run = RunOnce(body, seed, is_first);
    if (Failed()) return;
    if (is_first) CompareRuns(body, seed, run, call);
    if (Failed()) return;
    if (seed == seeds.last) break;
  }
}

}  // namespace aios::sim
