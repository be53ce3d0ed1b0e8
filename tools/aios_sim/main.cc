// Runs scenarios on the simulated network. See `kUsage`.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "aios/text.h"
#include "backends/default_kernel.h"
#include "sim/diagram.h"
#include "sim/pcapng.h"
#include "sim/perfetto.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"
#include "sim/trace.h"
#include "sim/trace_file.h"
#include "tools/aios_sim/real_world.h"
#include "tools/aios_sim/search.h"
#include "tools/aios_sim/shrink.h"

namespace aios {

namespace {

constexpr char kUsage[] =
    R"(aios_sim: runs scenarios on a simulated network with virtual time

  aios_sim run FILE...       runs scenarios, one line each
    --seed=N                 with this seed (default 1)
    --seeds=A..B             with each of these
    --jobs=N                 so many at a time (default: one a core)
    --table                  every operation: what it did, and should have done
    --kernel=sim|epoll       on real sockets of this machine, in real time, and
                             compares the outcomes with those of the simulation
    --diagram=FILE.html      draws the runs, for a browser
   of one scenario and seed only:
    --trace=FILE             writes the run, to be replayed
    --pcap=FILE.pcapng       its packets, for Wireshark
    --perfetto=FILE.json     its timeline, for ui.perfetto.dev
  aios_sim replay TRACE      repeats a run from its choices; takes --table,
                             --diagram, --pcap, --perfetto
  aios_sim check FILE...     runs each twice and compares; takes --seed, --seeds,
                             --jobs
  aios_sim shrink FILE --out=SMALLER
                             makes of a scenario that fails with --seed one with
                             fewer steps and faults that fails in the same way
  aios_sim list [FILE...]    what the scenarios are about

Ends with 0 when all went as expected, 1 when something did not, 2 when the
command line or a file is malformed. Honours TEST_TOTAL_SHARDS and
TEST_SHARD_INDEX: each of the shards does its part of the runs.
)";

// What cannot be read or understood.
constexpr int kBadInput = 2;

constexpr std::string_view kScenarioFolder = "sim/scenarios";
constexpr std::string_view kReplayCommand = "bazel run //sim:aios_sim -- ";

using Clock = std::chrono::steady_clock;

Nanoseconds Since(Clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() -
                                                              begin)
      .count();
}

// Of the command line.
[[noreturn]] void Complain(std::string_view message) {
  std::cerr << "aios_sim: " << message << "\n\n" << kUsage << std::flush;
  std::exit(kBadInput);
}

struct Options {
  std::string command;
  std::vector<std::string> files;
  uint64_t seed_first = 1;
  uint64_t seed_last = 1;
  int jobs = 0;
  bool table = false;
  std::string trace;
  std::string diagram;
  std::string pcap;
  std::string perfetto;
  std::string out;
  std::string kernel = "sim";
  // The names of those that were given.
  std::vector<std::string> given;

  bool draws() const {
    return !diagram.empty() || !pcap.empty() || !perfetto.empty();
  }
};

// Reads the number that `name`, a flag or a variable, has, or complains.
uint64_t NumberOf(const std::string& name, std::string_view text) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  uint64_t number = 0;
  switch (ReadDecimal(text, kMost, &number)) {
    case DecimalError::kNone:
      break;
    case DecimalError::kAboveLimit:
      Complain(absl::StrCat(name, " is at most ", kMost));
    case DecimalError::kLeadingZero:
      Complain(absl::StrCat(name, " has a leading zero"));
    case DecimalError::kEmpty:
    case DecimalError::kNotDecimal:
      Complain(absl::StrCat(name, " needs a number, not ", Quoted(text)));
  }
  return number;
}

// By hand: Abseil's flags end the program with 1 where they are malformed.
Options ParseOptions(const std::vector<std::string>& arguments) {
  Options options;
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      std::cout << kUsage;
      std::exit(0);
    }
    if (argument.substr(0, 2) != "--") {
      (options.command.empty() ? options.command
                               : options.files.emplace_back()) = argument;
      continue;
    }
    size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals - 2);
    std::string value =
        equals == std::string::npos ? "" : argument.substr(equals + 1);
    auto number = [&] { return NumberOf("--" + name, value); };
    if (name == "seed") {
      options.seed_first = options.seed_last = number();
    } else if (name == "seeds") {
      size_t dots = value.find("..");
      if (dots == std::string::npos) {
        Complain(absl::StrCat("--seeds needs a range such as 1..1000, not ",
                              Quoted(value)));
      }
      std::string_view range = value;
      options.seed_first = NumberOf("--seeds", range.substr(0, dots));
      options.seed_last = NumberOf("--seeds", range.substr(dots + 2));
      if (options.seed_last < options.seed_first) {
        Complain("--seeds ends before it begins");
      }
    } else if (name == "jobs") {
      uint64_t jobs = number();
      if (jobs < 1 || jobs > 1024) Complain("--jobs must be 1 to 1024");
      options.jobs = static_cast<int>(jobs);
    } else if (name == "table" && equals == std::string::npos) {
      options.table = true;
    } else if (std::string* file = name == "trace"      ? &options.trace
                                   : name == "diagram"  ? &options.diagram
                                   : name == "pcap"     ? &options.pcap
                                   : name == "perfetto" ? &options.perfetto
                                   : name == "out"      ? &options.out
                                                        : nullptr) {
      if (value.empty()) {
        Complain(absl::StrCat("--", name, " needs the name of a file"));
      }
      *file = value;
    } else if (name == "kernel") {
      options.kernel = value;
    } else {
      Complain(absl::StrCat("there is no flag ", argument));
    }
    options.given.push_back(name);
  }
  if (options.jobs == 0) {
    options.jobs =
        std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }
  return options;
}

// Nothing, after a message, when it cannot be read.
std::optional<std::string> ReadFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    std::cerr << path << ": is a folder, not a file" << std::endl;
    return std::nullopt;
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // An empty file gives nothing to copy, which is no failure of reading.
  if (file.is_open()) text << file.rdbuf();
  if (!file.is_open() || file.bad()) {
    std::cerr << path << ": cannot be read" << std::endl;
    return std::nullopt;
  }
  return text.str();
}

// All of it or nothing: a file of this name is whole.
bool WriteFile(const std::string& path, const std::string& text) {
  std::string part = absl::StrCat(path, ".", getpid(), ".part");
  {
    std::ofstream file(part, std::ios::binary);
    file << text;
    file.close();
    if (!file) {
      std::cerr << part << ": cannot be written" << std::endl;
      std::error_code error;
      std::filesystem::remove(part, error);
      return false;
    }
  }
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (!error) return true;
  std::cerr << path << ": " << error.message() << std::endl;
  std::filesystem::remove(part, error);
  return false;
}

// All that can be read; `*ok` is false when some cannot.
std::vector<sim::Scenario> ReadScenarios(const std::vector<std::string>& files,
                                         bool* ok) {
  std::vector<sim::Scenario> scenarios;
  for (const std::string& file : files) {
    std::optional<std::string> text = ReadFile(file);
    if (!text.has_value()) {
      *ok = false;
      continue;
    }
    absl::StatusOr<sim::Scenario> scenario = sim::ParseScenario(file, *text);
    if (!scenario.ok()) {
      *ok = false;
      std::cerr << scenario.status().message() << std::endl;
      continue;
    }
    scenarios.push_back(*std::move(scenario));
  }
  return scenarios;
}

bool OnTerminal(int descriptor) {
  const char* terminal = std::getenv("TERM");
  return isatty(descriptor) != 0 && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

std::string Colored(const char* color, const std::string& text) {
  static const bool colored =
      OnTerminal(STDOUT_FILENO) && std::getenv("NO_COLOR") == nullptr;
  return colored ? absl::StrCat("\033[", color, "m", text, "\033[0m") : text;
}
std::string Verdict(bool passed) {
  return passed ? Colored("32", "pass") : Colored("1;31", "FAIL");
}

std::string Milliseconds(Nanoseconds time) {
  return absl::StrFormat("%.3f ms", static_cast<double>(time) / 1e6);
}

// ---- The table of one run.

size_t Width(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(),
      [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

void PrintTable(const sim::Scenario& scenario,
                const sim::ScenarioResult& result) {
  std::vector<std::vector<std::string>> lines = {
      {"at", "operation", "ended", "status", "bytes", "expected", ""}};
  for (const sim::ScenarioRow& row : result.rows) {
    bool operation = sim::IsOperation(scenario.steps[row.step].action);
    bool ended = row.ended != 0 && !row.status.empty();
    std::string status = row.status.empty() && operation ? "-" : row.status;
    if (row.truncated) status += ", truncated";
    bool counts = operation && ended && row.status.rfind("refused", 0) != 0;
    lines.push_back({row.started == 0 ? "-" : sim::TimeText(row.started_at),
                     row.operation, ended ? sim::TimeText(row.ended_at) : "",
                     status, counts ? absl::StrCat(row.count) : "",
                     row.expected, operation ? "" : "-"});
    if (operation) lines.back().back() = row.as_expected ? "ok" : "FAIL";
  }
  std::vector<size_t> widths(lines[0].size());
  for (const auto& line : lines) {
    for (size_t i = 0; i != line.size(); ++i) {
      widths[i] = std::max(widths[i], Width(line[i]));
    }
  }
  for (size_t n = 0; n != lines.size(); ++n) {
    std::string text = "  ";
    for (size_t i = 0; i + 1 != lines[n].size(); ++i) {
      std::string pad(widths[i] - Width(lines[n][i]), ' ');
      bool right = i == 0 || i == 2 || i == 4;
      text += (right ? pad + lines[n][i] : lines[n][i] + pad) + "  ";
    }
    const std::string& verdict = lines[n].back();
    if (n == 0) {
      std::cout << Colored("2", text) << "\n";
    } else {
      std::cout << text
                << (verdict == "ok"     ? Colored("32", verdict)
                    : verdict == "FAIL" ? Colored("1;31", verdict)
                                        : "")
                << "\n";
    }
  }
}

// ---- Commands.

void PrintLine(const sim::Scenario& scenario, bool passed,
               const std::string& seeds, const SearchSummary& summary) {
  std::cout << Verdict(passed) << "  " << scenario.file << "  " << seeds << "  "
            << summary.events << " events  virtual "
            << Milliseconds(summary.virtual_time) << "  wall "
            << Milliseconds(summary.wall_time)
            << absl::StrFormat("  hash %016x", summary.hash) << std::endl;
}

// As a shell takes it for one word.
std::string ShellWord(const std::string& text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./+=:,@";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string::npos) {
    return text;
  }
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

void PrintFailures(const sim::Scenario& scenario, const SearchSummary& summary,
                   bool report) {
  for (const SearchSummary::Failure& failure : summary.failures) {
    for (const std::string& what : failure.failures) {
      std::cout << "  " << what << "\n";
    }
    if (report) std::cout << failure.report;
    std::cout << "  replay: " << kReplayCommand << "run "
              << ShellWord(scenario.file) << " --seed=" << failure.seed
              << std::endl;
  }
}

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* value = std::getenv(name);
  if (value == nullptr) return otherwise;
  // A shard that took itself for another would leave runs out.
  return NumberOf(name, value);
}

int RunMany(const std::vector<sim::Scenario>& scenarios, const Options& options,
            bool twice) {
  SearchOptions search;
  search.seed_first = options.seed_first;
  search.seed_last = options.seed_last;
  search.jobs = options.jobs;
  search.twice = twice;
  search.shards =
      std::max<uint64_t>(FromEnvironment("TEST_TOTAL_SHARDS", 1), 1);
  search.shard = FromEnvironment("TEST_SHARD_INDEX", 0);
  if (search.shard >= search.shards) {
    Complain("TEST_SHARD_INDEX is not below TEST_TOTAL_SHARDS");
  }
  if (const char* file = std::getenv("TEST_SHARD_STATUS_FILE")) {
    std::ofstream touched(file, std::ios::app);
  }
  search.progress = OnTerminal(STDERR_FILENO);
  bool one_seed = search.seed_first == search.seed_last;
  if (search.seed_last - search.seed_first >=
      std::numeric_limits<uint64_t>::max() / (scenarios.size() + 1)) {
    Complain("--seeds: that are too many");
  }
  bool passed = true;
  uint64_t runs = 0;
  Search(scenarios, search, [&](size_t place, const SearchSummary& summary) {
    const sim::Scenario& scenario = scenarios[place];
    bool good = summary.failed == 0;
    std::string seeds = one_seed ? absl::StrCat("seed ", search.seed_first)
                                 : absl::StrCat("seeds ", search.seed_first,
                                                "..", search.seed_last);
    if (!summary.complete || search.shards != 1) {
      absl::StrAppend(&seeds, " (", summary.runs, " runs)");
    }
    PrintLine(scenario, good, seeds, summary);
    if (!good) {
      passed = false;
      PrintFailures(scenario, summary, one_seed && scenarios.size() == 1);
    }
    runs += summary.runs;
  });
  if (runs > 1 || !passed) {
    std::cout << runs << " runs, "
              << (passed ? "all as expected"
                         : "not all as expected; stopped at that")
              << std::endl;
  }
  return passed ? 0 : 1;
}

// What a run is kept as.
sim::DiagramRun DiagramOf(const sim::Scenario& scenario, uint64_t seed,
                          const sim::ScenarioResult& result) {
  return {
      .title = scenario.title,
      .about = absl::StrCat(scenario.about, scenario.about.empty() ? "" : " ",
                            "(", scenario.file, ", seed ", seed, ")"),
      .verdict = result.passed() ? "pass" : "fail",
      .failures = result.failures,
      .recording = result.recording.get(),
      .zero = result.zero};
}

bool WriteAndTell(const std::string& path, const std::string& text) {
  if (!WriteFile(path, text)) return false;
  std::cout << "  written: " << path << std::endl;
  return true;
}

bool WriteExports(const Options& options,
                  const std::vector<sim::DiagramRun>& runs) {
  return (options.diagram.empty() ||
          WriteAndTell(options.diagram, sim::ToDiagram(runs))) &&
         (options.pcap.empty() ||
          WriteAndTell(options.pcap, sim::ToPcapng(*runs[0].recording))) &&
         (options.perfetto.empty() ||
          WriteAndTell(options.perfetto, sim::ToPerfetto(*runs[0].recording)));
}

void PrintRun(const sim::Scenario& scenario, uint64_t seed,
              const sim::ScenarioResult& result, Nanoseconds wall, bool table) {
  if (table) {
    std::cout << "\n" << Colored("1", scenario.title) << "\n";
    PrintTable(scenario, result);
  } else {
    SearchSummary summary;
    summary.events = result.events;
    summary.hash = result.hash;
    summary.virtual_time = result.time;
    summary.wall_time = wall;
    PrintLine(scenario, result.passed(), absl::StrCat("seed ", seed), summary);
  }
  for (const std::string& failure : result.failures) {
    std::cout << "  " << failure << std::endl;
  }
}

// One seed, shown or kept.
int RunOne(const std::vector<sim::Scenario>& scenarios,
           const Options& options) {
  size_t failed = 0;
  size_t operations = 0;
  std::vector<sim::ScenarioResult> results;
  std::vector<sim::DiagramRun> runs;
  for (const sim::Scenario& scenario : scenarios) {
    Clock::time_point begin = Clock::now();
    results.push_back(
        sim::RunScenario(scenario, {.seed = options.seed_first,
                                    .record = !options.trace.empty(),
                                    .draw = options.draws()}));
    sim::ScenarioResult& result = results.back();
    PrintRun(scenario, options.seed_first, result, Since(begin), options.table);
    if (!result.passed()) ++failed;
    for (const sim::ScenarioRow& row : result.rows) {
      if (sim::IsOperation(scenario.steps[row.step].action)) {
        operations += row.started;
      }
    }
    if (options.draws()) {
      runs.push_back(DiagramOf(scenario, options.seed_first, result));
    }
    if (!options.trace.empty()) {
      sim::TraceFile trace{.scenario_file = scenario.file,
                           .scenario = scenario.source,
                           .seed = options.seed_first,
                           .passed = result.passed(),
                           .hash = result.hash,
                           .time = result.time,
                           .choices = std::move(result.choices),
                           .events = std::move(result.trace)};
      if (!WriteAndTell(options.trace, sim::FormatTraceFile(trace))) {
        return kBadInput;
      }
    }
  }
  if (options.table) {
    std::string all = absl::StrCat(scenarios.size(), " scenarios, ", operations,
                                   " operations, ");
    std::cout << "\n"
              << (failed == 0
                      ? Colored("32", all + "all as expected")
                      : Colored("1;31",
                                absl::StrCat(all, failed, " scenarios failed")))
              << std::endl;
  }
  if (!WriteExports(options, runs)) return kBadInput;
  return failed == 0 ? 0 : 1;
}

int Replay(const std::string& path, const Options& options) {
  std::optional<std::string> text = ReadFile(path);
  if (!text.has_value()) return kBadInput;
  absl::StatusOr<sim::TraceFile> trace = sim::ParseTraceFile(path, *text);
  if (!trace.ok()) {
    std::cerr << trace.status().message() << std::endl;
    return kBadInput;
  }
  absl::StatusOr<sim::Scenario> scenario =
      sim::ParseScenario(trace->scenario_file, trace->scenario);
  if (!scenario.ok()) {
    std::cerr << path << ": its scenario: " << scenario.status().message()
              << std::endl;
    return kBadInput;
  }
  Clock::time_point begin = Clock::now();
  sim::ScenarioResult result =
      sim::RunScenario(*scenario, {.seed = trace->seed,
                                   .choices = trace->choices,
                                   .record = true,
                                   .draw = options.draws()});
  PrintRun(*scenario, trace->seed, result, Since(begin), options.table);
  if (result.hash == trace->hash) {
    std::cout << "  the same run as recorded, event by event" << std::endl;
  } else {
    size_t n = 0;
    while (n < result.trace.size() && n < trace->events.size() &&
           result.trace[n] == trace->events[n]) {
      ++n;
    }
    auto describe = [&](const std::vector<sim::TraceEvent>& events) {
      if (n >= events.size()) return std::string("nothing");
      const sim::TraceEvent& event = events[n];
      return sim::Trace::Describe(event, event.host < scenario->hosts.size()
                                             ? scenario->hosts[event.host].name
                                             : "nowhere");
    };
    std::cout << "  not the same run as recorded: this program decides other "
                 "things. The first event that differs is number "
              << n << "\n    recorded: " << describe(trace->events)
              << "\n    now:      " << describe(result.trace)
              << "\n  The result is "
              << (result.passed() == trace->passed ? "the same." : "another.")
              << std::endl;
  }
  if (options.draws() &&
      !WriteExports(options, {DiagramOf(*scenario, trace->seed, result)})) {
    return kBadInput;
  }
  return result.passed() ? 0 : 1;
}

int RunOnRealKernel(const std::vector<sim::Scenario>& scenarios, Kernel& kernel,
                    uint64_t seed) {
  bool passed = true;
  size_t skipped = 0;
  for (const sim::Scenario& scenario : scenarios) {
    sim::SimulatedOnly only = sim::WhatOnlySimulationCan(scenario);
    if (!only.whole.empty()) {
      ++skipped;
      std::cout << Colored("33", "skip") << "  " << scenario.file << "\n";
      for (const std::string& reason : only.whole) {
        std::cout << "  " << reason << "\n";
      }
      continue;
    }
    RealWorld world(kernel, scenario);
    sim::ScenarioResult real = sim::RunScenarioIn(scenario, world);
    sim::ScenarioResult simulated = sim::RunScenario(scenario, {.seed = seed});
    // Where the expectation leaves it open, the two must still agree on how
    // an operation ended.
    for (size_t i = 0; i != real.rows.size(); ++i) {
      const sim::ScenarioRow& here = real.rows[i];
      const sim::ScenarioRow& there = simulated.rows[i];
      if (here.status == there.status && here.ended == there.ended) continue;
      real.failures.push_back(sim::AtPlace(
          scenario.file, scenario.steps[here.step].place,
          absl::StrCat(here.operation, ": \"", here.status, "\" here, \"",
                       there.status, "\" in the simulation")));
    }
    bool good = real.passed();
    passed = passed && good;
    std::cout << Verdict(good) << "  " << scenario.file << "  "
              << std::string(kernel.name()) << "  wall "
              << Milliseconds(real.time) << "\n";
    for (const std::string& failure : real.failures) {
      std::cout << "  " << failure << "\n";
    }
    for (const std::string& part : only.parts) {
      std::cout << "  skipped: " << part << "\n";
    }
    std::cout << std::flush;
  }
  std::cout << scenarios.size() - skipped << " scenarios on "
            << std::string(kernel.name()) << ", " << skipped << " skipped, "
            << (passed ? "all as expected" : "not all as expected")
            << std::endl;
  return passed ? 0 : 1;
}

int MakeSmaller(const sim::Scenario& scenario, const Options& options) {
  std::optional<Shrunk> shrunk = Shrink(scenario, options.seed_first);
  if (!shrunk.has_value()) {
    std::cerr << scenario.file << ": passes with seed " << options.seed_first
              << ": there is nothing to shrink" << std::endl;
    return kBadInput;
  }
  std::cout << shrunk->steps << " of " << shrunk->steps_before
            << " steps are left, after " << shrunk->runs << " runs\n  "
            << shrunk->failure << std::endl;
  std::string text = absl::StrCat(
      "# Shrunk from ", scenario.file, ". With --seed=", options.seed_first,
      " it fails:\n# ", absl::StrReplaceAll(shrunk->failure, {{"\n", "\n# "}}),
      "\n", shrunk->text);
  if (!WriteAndTell(options.out, text)) return kBadInput;
  std::cout << "  replay: " << kReplayCommand << "run "
            << ShellWord(options.out) << " --seed=" << options.seed_first
            << std::endl;
  return 0;
}

int List(const std::vector<sim::Scenario>& scenarios) {
  for (const sim::Scenario& scenario : scenarios) {
    std::cout << Colored("1", scenario.file) << "\n    " << scenario.title
              << "\n";
  }
  return 0;
}

// The committed scenarios, in the order of their names.
std::vector<std::string> CommittedScenarios() {
  std::vector<std::string> files;
  std::string folder(kScenarioFolder);
  if (!std::filesystem::is_directory(folder)) {
    if (const char* top = std::getenv("BUILD_WORKSPACE_DIRECTORY")) {
      folder = absl::StrCat(top, "/", folder);
    }
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".yaml") {
      files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Whether the flags go with the command, and with each other.
void CheckOptions(const Options& options) {
  static const std::map<std::string, std::set<std::string>> kFlags = {
      {"run",
       {"seed", "seeds", "jobs", "table", "kernel", "trace", "diagram", "pcap",
        "perfetto"}},
      {"replay", {"table", "diagram", "pcap", "perfetto"}},
      {"check", {"seed", "seeds", "jobs"}},
      {"shrink", {"seed", "out"}},
      {"list", {}},
  };
  if (options.command.empty()) Complain("what to do is missing");
  auto flags = kFlags.find(options.command);
  if (flags == kFlags.end()) {
    Complain(absl::StrCat("there is no command \"", options.command, "\""));
  }
  for (const std::string& name : options.given) {
    if (!flags->second.contains(name)) {
      Complain(absl::StrCat(options.command, " has no --", name));
    }
  }
  if (options.command == "replay" && options.files.size() != 1) {
    Complain("replay needs one TRACE");
  }
  if (options.command == "shrink" &&
      (options.files.size() != 1 || options.out.empty())) {
    Complain("shrink needs one FILE and --out");
  }
  bool many = options.seed_first != options.seed_last;
  if (many && (options.table || !options.trace.empty() || options.draws())) {
    Complain("--table, --trace and pictures are of one seed");
  }
  if (options.files.size() > 1 &&
      !(options.trace.empty() && options.pcap.empty() &&
        options.perfetto.empty())) {
    Complain("--trace, --pcap and --perfetto are of one scenario");
  }
}

int Main(const std::vector<std::string>& arguments) {
  // As the user sees files, not as `bazel run` does.
  if (const char* folder = std::getenv("BUILD_WORKING_DIRECTORY")) {
    std::error_code error;
    std::filesystem::current_path(folder, error);
  }
  Options options = ParseOptions(arguments);
  CheckOptions(options);
  if (options.command == "replay") return Replay(options.files[0], options);
  if (options.command == "list" && options.files.empty()) {
    options.files = CommittedScenarios();
  }
  if (options.files.empty()) {
    Complain(absl::StrCat(options.command, " needs a FILE"));
  }
  Kernel* kernel = nullptr;
  if (options.kernel != "sim") {
    kernel = KernelByName(options.kernel);
    if (kernel == nullptr) {
      Complain(
          absl::StrCat("--kernel: there is no \"", options.kernel, "\" here"));
    }
    if (options.seed_first != options.seed_last || options.table ||
        !options.trace.empty() || options.draws()) {
      Complain("a real kernel has no seeds, tables, traces and pictures");
    }
  }

  bool ok = true;
  std::vector<sim::Scenario> scenarios = ReadScenarios(options.files, &ok);
  // What is malformed is told before anything runs.
  if (!ok) return kBadInput;
  if (options.command == "list") return List(scenarios);
  if (options.command == "shrink") return MakeSmaller(scenarios[0], options);
  if (kernel != nullptr) {
    return RunOnRealKernel(scenarios, *kernel, options.seed_first);
  }
  if (options.table || !options.trace.empty() || options.draws()) {
    return RunOne(scenarios, options);
  }
  return RunMany(scenarios, options, options.command == "check");
}

}  // namespace

}  // namespace aios

int main(int argc, char* argv[]) {
  aios::TellRunOnCrash();
  return aios::Main({argv + 1, argv + argc});
}
