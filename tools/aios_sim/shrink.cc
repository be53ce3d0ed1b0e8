#include "tools/aios_sim/shrink.h"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "sim/scenario_runner.h"

namespace aios {

namespace {

using Lines = std::vector<std::string>;

enum class What : uint8_t { kSteps, kStates, kAtMargin };

// Lines that go or stay together, counted from 0.
struct Piece {
  size_t first = 0;
  size_t count = 0;
};

// "file:line:column: what" without the place, which moves.
std::string WithoutPlace(std::string_view failure) {
  size_t colon = failure.find(": ");
  return std::string(colon == failure.npos ? failure
                                           : failure.substr(colon + 2));
}

class Shrinker {
 public:
  Shrinker(const sim::Scenario& scenario, uint64_t seed)
      : file_(scenario.file), seed_(seed) {}

  // The first failure of the text; empty when it is no scenario, or passes.
  std::string FailureOf(const std::string& text, size_t* steps = nullptr) {
    absl::StatusOr<sim::Scenario> scenario = sim::ParseScenario(file_, text);
    if (!scenario.ok()) return {};
    if (steps != nullptr) *steps = scenario->steps.size();
    ++runs_;
    sim::ScenarioResult result = sim::RunScenario(*scenario, {.seed = seed_});
    return result.passed() ? std::string() : WithoutPlace(result.failures[0]);
  }

  bool Fails(const std::string& text) { return FailureOf(text) == failure_; }

  void set_failure(std::string failure) { failure_ = std::move(failure); }
  uint64_t runs() const { return runs_; }

  // The steps, the states, or whatever stands at the left margin, as the text
  // has them.
  std::vector<Piece> PiecesOf(const Lines& lines, What what) {
    std::vector<Piece> pieces;
    absl::StatusOr<sim::Scenario> scenario =
        sim::ParseScenario(file_, absl::StrJoin(lines, "\n"));
    if (!scenario.ok()) return pieces;
    auto at_margin = [&](size_t line) {
      return !lines[line].empty() && lines[line][0] != ' ' &&
             lines[line][0] != '#';
    };
    auto end_of = [&](size_t first, size_t limit) {
      size_t end = first + 1;
      while (end < limit && !at_margin(end)) ++end;
      return end;
    };
    if (what != What::kAtMargin) {
      std::vector<size_t> starts;
      auto add = [&](sim::TextPlace place) {
        auto line = static_cast<size_t>(place.line - 1);
        if (starts.empty() || starts.back() != line) starts.push_back(line);
      };
      if (what == What::kSteps) {
        for (const auto& step : scenario->steps) add(step.place);
      } else {
        for (const auto& state : scenario->states) add(state.place);
      }
      for (size_t i = 0; i != starts.size(); ++i) {
        size_t limit = i + 1 < starts.size() ? starts[i + 1] : lines.size();
        pieces.push_back({starts[i], end_of(starts[i], limit) - starts[i]});
      }
    } else {
      for (size_t line = 0; line != lines.size(); ++line) {
        if (at_margin(line)) {
          pieces.push_back({line, end_of(line, lines.size()) - line});
        }
      }
    }
    return pieces;
  }

  // Without as many of the pieces as possible.
  bool TakePiecesAway(Lines& lines, What what) {
    bool any = false;
    for (size_t chunk = std::max<size_t>(PiecesOf(lines, what).size() / 2, 1);;
         chunk = (chunk + 1) / 2) {
      for (size_t i = 0;;) {
        std::vector<Piece> pieces = PiecesOf(lines, what);
        if (i >= pieces.size()) break;
        size_t last = std::min(i + chunk, pieces.size()) - 1;
        Lines fewer(lines.begin(),
                    lines.begin() + static_cast<int64_t>(pieces[i].first));
        fewer.insert(fewer.end(),
                     lines.begin() + static_cast<int64_t>(pieces[last].first +
                                                          pieces[last].count),
                     lines.end());
        if (Fails(absl::StrJoin(fewer, "\n"))) {
          lines = std::move(fewer);
          any = true;
        } else {
          // Every pair is tried: the two ends of a connection go together.
          i += chunk <= 2 ? 1 : chunk;
        }
      }
      if (chunk == 1) return any;
    }
  }

  // Without as many "name: 5%" as possible.
  bool TakeRatesAway(Lines& lines) {
    constexpr std::string_view kDigits = "0123456789.";
    bool any = false;
    for (std::string& line : lines) {
      for (size_t from = 0;;) {
        size_t unit = line.find_first_of("%p", from);
        if (unit == line.npos) break;
        from = unit + 1;
        size_t length = line[unit] == '%'                   ? 1
                        : line.compare(unit, 3, "ppm") == 0 ? 3
                                                            : 0;
        size_t colon = line.rfind(": ", unit);
        if (length == 0 || colon == line.npos ||
            line.find_first_not_of(kDigits, colon + 2) != unit) {
          continue;
        }
        size_t begin = line.find_last_of(" {", colon - 1) + 1;
        size_t end = unit + length;
        if (line.compare(end, 2, ", ") == 0) end += 2;
        std::string whole = line;
        line.erase(begin, end - begin);
        if (Fails(absl::StrJoin(lines, "\n"))) {
          any = true;
          from = begin;
        } else {
          line = whole;
        }
      }
    }
    return any;
  }

 private:
  const std::string file_;
  const uint64_t seed_;
  std::string failure_;
  uint64_t runs_ = 0;
};

}  // namespace

std::optional<Shrunk> Shrink(const sim::Scenario& scenario, uint64_t seed) {
  Shrinker shrinker(scenario, seed);
  Shrunk shrunk;
  shrunk.failure = shrinker.FailureOf(scenario.source);
  if (shrunk.failure.empty()) return std::nullopt;
  shrinker.set_failure(shrunk.failure);
  shrunk.steps_before = scenario.steps.size();
  Lines lines = absl::StrSplit(scenario.source, '\n');
  // What goes may let others go.
  for (bool any = true; any;) {
    any = shrinker.TakePiecesAway(lines, What::kSteps);
    any |= shrinker.TakePiecesAway(lines, What::kStates);
    any |= shrinker.TakePiecesAway(lines, What::kAtMargin);
    any |= shrinker.TakeRatesAway(lines);
  }
  // A last line that is one.
  if (!lines.empty() && !lines.back().empty()) lines.emplace_back();
  shrunk.text = absl::StrJoin(lines, "\n");
  static_cast<void>(shrinker.FailureOf(shrunk.text, &shrunk.steps));
  shrunk.runs = shrinker.runs();
  return shrunk;
}

}  // namespace aios
