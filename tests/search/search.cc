// Runs simulations that expect nothing over many seeds, and prints what the
// simulation itself finds wrong with them. See `kUsage`.

#include <malloc.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"
#include "sim/simulation.h"
#include "tests/search/random_program.h"

// What was deleted is made unrecognisable: who still uses it falls over, in
// every run of the seed.
void operator delete(void* memory) noexcept {
  if (memory == nullptr) return;
  // Of large ones the beginning does.
  size_t size = std::min<size_t>(malloc_usable_size(memory), 8192);
  std::memset(memory, 0xdd, size);
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  operator delete(memory);
}

namespace aios::test {

namespace {

constexpr char kUsage[] =
    R"(search: runs simulations that expect nothing over many seeds

  search [FLAG...] [SCENARIO.yaml...]

Runs the random programs and, if nothing is found in them, the scenarios without
their expectations. Prints a line for each of the two: in how many seeds the
simulation's own checks found something wrong, and which; then the first finding
of each kind. Each seed has a process of its own, so that one that crashes or
hangs is a finding, too.

  --seeds=A..B            of the random programs (default 1..200)
  --scenario_seeds=A..B   of the scenarios (default 1..20)
  --enough=N              stops when that was so in N seeds (default: never)
  --jobs=N                processes at a time (default 2)
  --verbose               every finding

Ends with 0 when nothing was found, 1 when something was, 2 when the command
line or a file is malformed.
)";

constexpr int kFound = 1;
constexpr int kBadInput = 2;

// Of one seed, of real time; most take a hundredth of a second.
constexpr unsigned kSecondsMax = 60;

[[noreturn]] void Complain(const std::string& message) {
  std::cerr << "search: " << message << "\n\n" << kUsage << std::flush;
  std::exit(kBadInput);
}

struct Seeds {
  uint64_t first = 1;
  uint64_t last = 200;
};

Seeds ParseSeeds(const std::string& text) {
  Seeds seeds;
  size_t dots = text.find("..");
  std::string last = dots == std::string::npos ? text : text.substr(dots + 2);
  if (!absl::SimpleAtoi(text.substr(0, dots), &seeds.first) ||
      !absl::SimpleAtoi(last, &seeds.last) || seeds.last < seeds.first) {
    Complain(absl::StrCat("seeds are a number, or a range such as 1..200, not ",
                          text));
  }
  return seeds;
}

using Findings = std::vector<std::string>;

// ---- What a seed does.

Findings RunProgram(uint64_t seed) {
  sim::Simulation simulation({.seed = seed});
  RunRandomProgram(simulation);
  for (const auto& host : simulation.hosts()) host->Resume();
  sim::RunResult idle = simulation.RunUntilIdle();
  Findings findings = simulation.violations();
  if (!idle) {
    findings.push_back(absl::StrCat("livelock: ", idle.report));
  } else if (std::string left = simulation.Leftovers(); !left.empty()) {
    findings.push_back(absl::StrCat("leftovers: ", left));
  }
  return findings;
}

// A text that ends in the name of the scenario.
Findings RunScenarios(const std::vector<sim::Scenario>& scenarios,
                      uint64_t seed) {
  Findings findings;
  for (const sim::Scenario& scenario : scenarios) {
    sim::ScenarioResult result = sim::RunScenario(scenario, {.seed = seed});
    for (const std::string& violation : result.violations) {
      findings.push_back(absl::StrCat(violation, " (in ", scenario.file, ")"));
    }
  }
  return findings;
}

// The rule that a finding breaks, by its name: "I4", "leftovers", "crash".
std::string RuleOf(std::string_view finding) {
  // "invariant broken at 7.5 s on host 2: I4: …"
  size_t place = finding.find(" on host ");
  if (finding.starts_with("invariant broken at ") && place != finding.npos) {
    place = finding.find(": ", place);
    finding.remove_prefix(std::min(place + 2, finding.size()));
  }
  if (finding.starts_with("left over")) return "leftovers";
  return std::string(finding.substr(0, finding.find(':')));
}

// ---- A process for each seed.

struct Child {
  uint64_t seed = 0;
  pid_t process = 0;
  int output = -1;
  std::string text = {};
};

// Findings are separated by a byte that no text has.
constexpr char kSeparator = '\1';

Child Start(uint64_t seed, const std::function<Findings(uint64_t)>& run) {
  std::array<int, 2> ends;
  std::cout << std::flush;
  if (pipe(ends.data()) != 0) std::abort();
  pid_t process = fork();
  if (process < 0) std::abort();
  if (process != 0) {
    close(ends[1]);
    return {.seed = seed, .process = process, .output = ends[0]};
  }
  close(ends[0]);
  // What a failed check prints is the finding.
  dup2(ends[1], STDERR_FILENO);
  alarm(kSecondsMax);
  std::string text;
  for (const std::string& finding : run(seed)) {
    absl::StrAppend(&text, finding, std::string(1, kSeparator));
  }
  for (size_t done = 0; done != text.size();) {
    ssize_t written =
        write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (written <= 0) break;
    done += static_cast<size_t>(written);
  }
  _exit(0);
}

// Of a child whose output has ended.
Findings End(Child& child) {
  close(child.output);
  int status = 0;
  waitpid(child.process, &status, 0);
  Findings findings;
  std::string_view text = child.text;
  for (size_t end; (end = text.find(kSeparator)) != text.npos;) {
    findings.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (WIFSIGNALED(status)) {
    bool hangs = WTERMSIG(status) == SIGALRM;
    findings.push_back(
        absl::StrCat(hangs ? "hang" : "crash", ": ",
                     text.empty() ? std::string(strsignal(WTERMSIG(status)))
                                  : std::string(text.substr(0, 1000))));
  } else if (WEXITSTATUS(status) != 0) {
    findings.push_back(absl::StrCat("crash: it ended with status ",
                                    WEXITSTATUS(status), ": ",
                                    std::string(text.substr(0, 1000))));
  }
  return findings;
}

struct Summary {
  uint64_t seeds = 0;
  uint64_t found = 0;
  // In how many seeds.
  std::map<std::string, uint64_t> rules;
  std::map<std::string, std::pair<uint64_t, std::string>> firsts;
};

void Add(uint64_t seed, const Findings& findings, Summary& summary) {
  ++summary.seeds;
  if (!findings.empty()) ++summary.found;
  std::map<std::string, std::string> rules;
  for (const std::string& finding : findings) {
    rules.emplace(RuleOf(finding), finding);
  }
  for (auto& [rule, finding] : rules) {
    ++summary.rules[rule];
    summary.firsts.try_emplace(rule, seed, finding);
  }
}

struct SearchOptions {
  uint64_t enough = ~uint64_t{0};
  size_t jobs = 2;
  bool verbose = false;
};

Summary Search(Seeds seeds, const SearchOptions& options,
               const std::function<Findings(uint64_t)>& run) {
  Summary summary;
  std::vector<Child> children;
  // Those that have ended before one with a smaller seed.
  std::map<uint64_t, Findings> ended;
  uint64_t next = seeds.first;
  uint64_t next_counted = seeds.first;
  auto enough = [&] { return summary.found >= options.enough; };
  while ((next <= seeds.last && !enough()) || !children.empty()) {
    while (next <= seeds.last && !enough() && children.size() < options.jobs) {
      children.push_back(Start(next++, run));
    }
    std::vector<pollfd> waits;
    for (const Child& child : children) {
      waits.push_back({.fd = child.output, .events = POLLIN, .revents = 0});
    }
    poll(waits.data(), waits.size(), -1);
    for (size_t i = children.size(); i-- != 0;) {
      if (waits[i].revents == 0) continue;
      std::array<char, 4096> bytes;
      ssize_t size = read(children[i].output, bytes.data(), bytes.size());
      if (size > 0) {
        children[i].text.append(bytes.data(), static_cast<size_t>(size));
        continue;
      }
      ended[children[i].seed] = End(children[i]);
      children.erase(children.begin() + static_cast<int64_t>(i));
    }
    // Counted in the order of seeds: so the end is the same with any number of
    // processes.
    for (auto one = ended.find(next_counted); one != ended.end() && !enough();
         one = ended.find(++next_counted)) {
      Add(one->first, one->second, summary);
      if (!options.verbose) continue;
      for (const std::string& finding : one->second) {
        std::cout << "seed " << one->first << ": " << finding << "\n";
      }
    }
  }
  return summary;
}

void Print(std::string_view what, const Summary& summary) {
  std::cout << what << ": " << summary.found << " of " << summary.seeds
            << " seeds";
  const char* separator = ": ";
  for (const auto& [rule, seeds] : summary.rules) {
    std::cout << separator << rule << " " << seeds;
    separator = ", ";
  }
  std::cout << "\n";
  for (const auto& [rule, first] : summary.firsts) {
    std::cout << "  seed " << first.first << ": " << first.second.substr(0, 600)
              << "\n";
  }
  std::cout << std::flush;
}

std::vector<sim::Scenario> ReadScenarios(
    const std::vector<std::string>& files) {
  std::vector<sim::Scenario> scenarios;
  for (const std::string& file : files) {
    std::ifstream stream(file, std::ios::binary);
    std::ostringstream text;
    if (!stream.is_open() || !(text << stream.rdbuf())) {
      Complain(absl::StrCat(file, " cannot be read"));
    }
    auto scenario = sim::ParseScenario(file, text.str());
    if (!scenario.ok()) Complain(std::string(scenario.status().message()));
    scenarios.push_back(*std::move(scenario));
  }
  return scenarios;
}

int Main(const std::vector<std::string>& arguments) {
  Seeds seeds;
  Seeds scenario_seeds = {.first = 1, .last = 20};
  SearchOptions options;
  std::vector<std::string> files;
  for (const std::string& argument : arguments) {
    size_t equals = argument.find('=');
    std::string value =
        equals == std::string::npos ? "" : argument.substr(equals + 1);
    std::string name = argument.substr(0, equals);
    if (name == "--help") {
      std::cout << kUsage;
      return 0;
    }
    if (name == "--seeds") {
      seeds = ParseSeeds(value);
    } else if (name == "--scenario_seeds") {
      scenario_seeds = ParseSeeds(value);
    } else if (name == "--enough") {
      if (!absl::SimpleAtoi(value, &options.enough) || options.enough < 1) {
        Complain("--enough must be 1 or more");
      }
    } else if (name == "--jobs") {
      if (!absl::SimpleAtoi(value, &options.jobs) || options.jobs < 1 ||
          options.jobs > 1000) {
        Complain("--jobs must be 1 to 1000");
      }
    } else if (argument == "--verbose") {
      options.verbose = true;
    } else if (argument.starts_with('-')) {
      Complain(absl::StrCat("there is no flag ", argument));
    } else {
      files.push_back(argument);
    }
  }
  std::vector<sim::Scenario> scenarios = ReadScenarios(files);
  Summary programs = Search(seeds, options, RunProgram);
  Print("programs", programs);
  uint64_t found = programs.found;
  if (found == 0 && !scenarios.empty()) {
    Summary summary = Search(scenario_seeds, options, [&](uint64_t seed) {
      return RunScenarios(scenarios, seed);
    });
    Print("scenarios", summary);
    found += summary.found;
  }
  return found == 0 ? 0 : kFound;
}

}  // namespace

}  // namespace aios::test

int main(int argc, char** argv) {
  return aios::test::Main({argv + 1, argv + argc});
}
