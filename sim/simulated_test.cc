#include "sim/simulated_test.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

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

// Runs the body once, and keeps the events if they are to be compared.
Run RunOnce(const std::function<void(Simulation&)>& body, uint64_t seed,
            bool keep) {
  Simulation simulation({.seed = seed});
  if (keep) simulation.trace().KeepAll(kEventsComparedMax);
  body(simulation);
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
  Run run{.hash = simulation.trace_hash(), .events = simulation.trace().all()};
  for (const std::unique_ptr<Host>& host : simulation.hosts()) {
    run.hosts.push_back(host->name());
  }
  return run;
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
  for (uint64_t seed = seeds.first;; ++seed) {
    bool is_first = seed == seeds.first;
    Run run = RunOnce(body, seed, is_first);
    if (Failed()) return;
    if (is_first) {
      Run again = RunOnce(body, seed, true);
      EXPECT_EQ(run.hash, again.hash)
          << "seed " << seed
          << " gave another trace the second time: something in the test does "
             "not follow from the seed; "
          << Divergence(run, again);
      if (Failed()) return;
    }
    if (seed == seeds.last) break;
  }
}

}  // namespace aios::sim
