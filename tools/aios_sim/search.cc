#include "tools/aios_sim/search.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sim/choice.h"

namespace aios {

namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kFailuresKept = 10;

// What this thread runs, for the handler of signals.
thread_local const char* running_file = nullptr;
thread_local uint64_t running_seed = 0;

void WriteToStderr(const char* text) {
  static_cast<void>(!write(STDERR_FILENO, text, std::strlen(text)));
}

// As a signal handler may call next to nothing, the number is written by hand.
void OnCrash(int signal) {
  if (running_file != nullptr) {
    char digits[21];
    char* end = digits + sizeof(digits) - 1;
    *end = '\0';
    uint64_t seed = running_seed;
    do {
      *--end = static_cast<char>('0' + seed % 10);
      seed /= 10;
    } while (seed != 0);
    WriteToStderr("aios_sim: crashed in\n  bazel run //sim:aios_sim -- run ");
    WriteToStderr(running_file);
    WriteToStderr(" --seed=");
    WriteToStderr(end);
    WriteToStderr("\n");
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

struct Outcome {
  bool done = false;
  uint64_t hash = 0;
};

class Searcher {
 public:
  Searcher(const std::vector<sim::Scenario>& scenarios,
           const SearchOptions& options)
      : scenarios_(scenarios),
        options_(options),
        summaries_(scenarios.size()),
        hashes_(scenarios.size()),
        left_(scenarios.size()) {}

  void Run(absl::FunctionRef<void(size_t, const SearchSummary&)> done);

 private:
  struct Job {
    size_t scenario;
    uint64_t seed;
  };

  uint64_t Seeds() const {
    return options_.seed_last - options_.seed_first + 1;
  }
  uint64_t Total() const { return Seeds() * scenarios_.size(); }
  // The `n`-th job of this shard, of `Jobs()`.
  Job JobAt(uint64_t n) const {
    uint64_t number = n * options_.shards + options_.shard;
    return {static_cast<size_t>(number / Seeds()),
            options_.seed_first + number % Seeds()};
  }
  uint64_t Jobs() const {
    uint64_t total = Total();
    if (options_.shard >= total) return 0;
    return (total - options_.shard + options_.shards - 1) / options_.shards;
  }

  void Work();
  void Finish(const Job& job, const sim::ScenarioResult& result,
              Nanoseconds wall);
  void ShowProgress(uint64_t done);
  void Summarize(size_t scenario);

  const std::vector<sim::Scenario>& scenarios_;
  const SearchOptions& options_;
  std::atomic<uint64_t> next_ = 0;
  std::atomic<bool> failed_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<SearchSummary> summaries_;
  std::vector<std::vector<std::pair<uint64_t, uint64_t>>> hashes_;
  std::vector<uint64_t> left_;
  uint64_t finished_ = 0;
  int working_ = 0;
};

void Searcher::Work() {
  uint64_t jobs = Jobs();
  while (!failed_.load(std::memory_order_relaxed)) {
    uint64_t n = next_.fetch_add(1, std::memory_order_relaxed);
    if (n >= jobs) break;
    Job job = JobAt(n);
    const sim::Scenario& scenario = scenarios_[job.scenario];
    running_file = scenario.file.c_str();
    running_seed = job.seed;
    Clock::time_point begin = Clock::now();
    sim::ScenarioResult result = sim::RunScenario(scenario, {.seed = job.seed});
    if (options_.twice) {
      sim::ScenarioResult again =
          sim::RunScenario(scenario, {.seed = job.seed});
      if (again.hash != result.hash) {
        result.failures.push_back(absl::StrCat(
            scenario.file, ":1:1: a second run went another way: hash ",
            absl::Hex(result.hash, absl::kZeroPad16), ", then ",
            absl::Hex(again.hash, absl::kZeroPad16)));
      }
    }
    running_file = nullptr;
    auto wall = std::chrono::duration_cast<std::chrono::nanoseconds>(
        Clock::now() - begin);
    Finish(job, result, wall.count());
  }
  std::lock_guard<std::mutex> lock(mutex_);
  --working_;
  changed_.notify_all();
}

void Searcher::Finish(const Job& job, const sim::ScenarioResult& result,
                      Nanoseconds wall) {
  std::lock_guard<std::mutex> lock(mutex_);
  SearchSummary& summary = summaries_[job.scenario];
  ++summary.runs;
  summary.events += result.events;
  summary.virtual_time += result.time;
  summary.wall_time += wall;
  hashes_[job.scenario].push_back({job.seed, result.hash});
  if (!result.passed()) {
    failed_.store(true, std::memory_order_relaxed);
    ++summary.failed;
    summary.failures.push_back({job.seed, result.failures, result.report});
  }
  ++finished_;
  --left_[job.scenario];
  changed_.notify_all();
}

void Searcher::ShowProgress(uint64_t done) {
  uint64_t failed = 0;
  for (const SearchSummary& summary : summaries_) failed += summary.failed;
  std::fprintf(
      stderr, "\r\033[K%s",
      absl::StrCat(done, " of ", Jobs(), " runs, ", failed, " failed").c_str());
}

void Searcher::Summarize(size_t scenario) {
  SearchSummary& summary = summaries_[scenario];
  auto& hashes = hashes_[scenario];
  std::sort(hashes.begin(), hashes.end());
  summary.hash = hashes.size() == 1 ? hashes[0].second : 0;
  if (hashes.size() > 1) {
    for (const auto& [seed, hash] : hashes) {
      summary.hash = sim::Mix(summary.hash ^ seed, hash);
    }
  }
  std::sort(summary.failures.begin(), summary.failures.end(),
            [](const auto& a, const auto& b) { return a.seed < b.seed; });
  if (summary.failures.size() > kFailuresKept) {
    summary.failures.resize(kFailuresKept);
  }
  summary.complete = left_[scenario] == 0;
}

void Searcher::Run(absl::FunctionRef<void(size_t, const SearchSummary&)> done) {
  uint64_t jobs = Jobs();
  for (uint64_t n = 0; n != jobs; ++n) ++left_[JobAt(n).scenario];
  std::vector<std::thread> threads;
  std::unique_lock<std::mutex> lock(mutex_);
  for (int i = 0; i != std::max(1, options_.jobs); ++i) {
    ++working_;
    try {
      threads.emplace_back([this] { Work(); });
    } catch (const std::system_error& error) {
      // The machine has no more threads to give: go on with those there are.
      --working_;
      if (i != 0) break;
      std::cerr << "aios_sim: no thread to run in: " << error.what()
                << std::endl;
      std::exit(1);
    }
  }
  // No more often than eyes can follow.
  Clock::time_point next_show = Clock::now();
  for (size_t scenario = 0; scenario != scenarios_.size(); ++scenario) {
    while (left_[scenario] != 0 && working_ != 0) {
      if (options_.progress && Clock::now() >= next_show) {
        ShowProgress(finished_);
        next_show = Clock::now() + std::chrono::milliseconds(100);
      }
      changed_.wait_for(lock, std::chrono::milliseconds(200));
    }
    if (options_.progress) std::fprintf(stderr, "\r\033[K");
    Summarize(scenario);
    if (summaries_[scenario].runs != 0) done(scenario, summaries_[scenario]);
  }
  lock.unlock();
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

void Search(const std::vector<sim::Scenario>& scenarios,
            const SearchOptions& options,
            absl::FunctionRef<void(size_t, const SearchSummary&)> done) {
  Searcher(scenarios, options).Run(done);
}

void TellRunOnCrash() {
  for (int signal : {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV}) {
    std::signal(signal, OnCrash);
  }
}

}  // namespace aios
