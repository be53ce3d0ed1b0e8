#include "sim/trace_file.h"

#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sim/yaml_tree.h"

namespace aios::sim {

namespace {

constexpr std::string_view kMagic = "aios-trace";

// Of the words of a line.
constexpr size_t kWordsMax = 8;

std::optional<uint64_t> ParseNumber(std::string_view text, int base = 10) {
  uint64_t number = 0;
  auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// Goes through the lines. After a mistake nothing more is read.
class Reader {
 public:
  Reader(std::string_view file, std::string_view text)
      : file_(file), rest_(text) {}

  bool failed() const { return !error_.empty(); }
  absl::Status status() const { return absl::InvalidArgumentError(error_); }

  void Fail(std::string_view what) {
    if (!failed()) error_ = AtPlace(file_, {line_, 1}, what);
  }

  // The next line; a file that is cut off ends within one.
  std::string_view Line() {
    ++line_;
    size_t end = rest_.find('\n');
    if (end == std::string_view::npos) {
      Fail("the file is truncated: a line is missing here");
      rest_ = {};
      return {};
    }
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return line;
  }

  // The words of the next line, which has `count` and begins with `first`,
  // unless that is empty.
  std::array<std::string_view, kWordsMax> Words(std::string_view first,
                                                size_t count) {
    std::array<std::string_view, kWordsMax> words;
    std::string_view line = Line();
    size_t n = 0;
    while (!failed()) {
      size_t space = n + 1 == count ? std::string_view::npos : line.find(' ');
      words[n++] = line.substr(0, space);
      if (space == std::string_view::npos) break;
      line.remove_prefix(space + 1);
    }
    if (!failed() && (n != count || (!first.empty() && words[0] != first))) {
      Fail(first.empty()
               ? absl::StrCat("expected ", count, " words")
               : absl::StrCat("expected \"", std::string(first), "\" here"));
      words = {};
    }
    return words;
  }

  uint64_t Number(std::string_view word, int base = 10) {
    std::optional<uint64_t> number = ParseNumber(word, base);
    if (!number.has_value()) Fail("expected a number");
    return number.value_or(0);
  }

  Nanoseconds Time(std::string_view word) {
    uint64_t time = Number(word);
    if (time < static_cast<uint64_t>(kForever)) {
      return static_cast<Nanoseconds>(time);
    }
    Fail("expected a time");
    return 0;
  }

  // A number that says how many lines follow.
  uint64_t Count(std::string_view word) {
    uint64_t count = Number(word);
    if (count > rest_.size()) {
      Fail("the file is truncated: it has fewer lines than it says here");
      return 0;
    }
    return count;
  }

  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view file_;
  std::string_view rest_;
  int line_ = 0;
  std::string error_;
};

What WhatByName(std::string_view name) {
  for (size_t i = 0; i != static_cast<size_t>(What::kCount); ++i) {
    if (WhatName(static_cast<What>(i)) == name) return static_cast<What>(i);
  }
  return What::kCount;
}

}  // namespace

std::string FormatTraceFile(const TraceFile& trace) {
  std::string text =
      absl::StrFormat("%s %d\nseed %d\nresult %s\nhash %016x\ntime %d\n",
                      std::string(kMagic), kTraceFileVersion, trace.seed,
                      trace.passed ? "pass" : "fail", trace.hash, trace.time);
  size_t lines = 0;
  std::string scenario;
  for (std::string_view rest = trace.scenario; !rest.empty();) {
    size_t end = rest.find('\n');
    scenario.append("|").append(rest.substr(0, end)).append("\n");
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    ++lines;
  }
  absl::StrAppend(&text, "scenario ", lines, " ", trace.scenario_file, "\n",
                  scenario, "choices ", trace.choices.size(), "\n");
  for (const Choice& choice : trace.choices) {
    absl::StrAppend(&text, std::string(SiteName(choice.site)), " ",
                    choice.entity, " ", choice.ordinal, " ", choice.value,
                    "\n");
  }
  absl::StrAppend(&text, "events ", trace.events.size(), "\n");
  for (const TraceEvent& event : trace.events) {
    absl::StrAppend(&text, event.time, " ", event.host, " ",
                    std::string(WhatName(event.what)), " ", event.subject, " ",
                    event.a, " ", event.b, "\n");
  }
  absl::StrAppend(&text, "end\n");
  return text;
}

absl::StatusOr<TraceFile> ParseTraceFile(std::string_view file,
                                         std::string_view text) {
  Reader reader(file, text);
  if (text.size() > kTraceFileBytesMax) {
    reader.Line();
    reader.Fail(
        absl::StrCat("the file has more than ", kTraceFileBytesMax, " bytes"));
    return reader.status();
  }
  TraceFile trace;
  if (text.substr(0, kMagic.size() + 1) != std::string(kMagic) + " ") {
    reader.Line();
    reader = Reader(file, "\n");
    reader.Line();
    reader.Fail("this is no trace: expected \"aios-trace\" at its beginning");
    return reader.status();
  }
  auto words = reader.Words(kMagic, 2);
  if (uint64_t version = reader.Number(words[1]);
      !reader.failed() && version != kTraceFileVersion) {
    reader.Fail(absl::StrCat("the trace is of version ", version,
                             "; this program reads version ",
                             kTraceFileVersion));
  }
  trace.seed = reader.Number(reader.Words("seed", 2)[1]);
  words = reader.Words("result", 2);
  trace.passed = words[1] == "pass";
  if (!trace.passed && words[1] != "fail") reader.Fail("expected pass or fail");
  trace.hash = reader.Number(reader.Words("hash", 2)[1], 16);
  trace.time = reader.Time(reader.Words("time", 2)[1]);

  words = reader.Words("scenario", 3);
  trace.scenario_file = std::string(words[2]);
  for (uint64_t n = reader.Count(words[1]); n != 0 && !reader.failed(); --n) {
    std::string_view line = reader.Line();
    if (line.substr(0, 1) != "|") {
      reader.Fail("expected a line of the scenario, after \"|\"");
      break;
    }
    trace.scenario.append(line.substr(1)).append("\n");
  }

  words = reader.Words("choices", 2);
  for (uint64_t n = reader.Count(words[1]); n != 0 && !reader.failed(); --n) {
    words = reader.Words("", 4);
    uint64_t ordinal = reader.Number(words[2]);
    Choice choice{SiteByName(words[0]), reader.Number(words[1]),
                  static_cast<uint32_t>(ordinal), reader.Number(words[3])};
    if (ordinal > UINT32_MAX) reader.Fail("expected a smaller number");
    if (choice.site != Site::kCount) trace.choices.push_back(choice);
  }

  words = reader.Words("events", 2);
  for (uint64_t n = reader.Count(words[1]); n != 0 && !reader.failed(); --n) {
    words = reader.Words("", 6);
    TraceEvent event;
    event.time = reader.Time(words[0]);
    uint64_t host = reader.Number(words[1]);
    if (host > UINT32_MAX) reader.Fail("expected a smaller number");
    event.host = static_cast<uint32_t>(host);
    event.what = WhatByName(words[2]);
    event.subject = reader.Number(words[3]);
    event.a = reader.Number(words[4]);
    event.b = reader.Number(words[5]);
    if (event.what == What::kCount && !reader.failed()) {
      reader.Fail("expected the name of an event");
    }
    trace.events.push_back(event);
  }
  reader.Words("end", 1);
  if (!reader.failed() && !reader.at_end()) {
    reader.Line();
    reader.Fail("expected nothing after \"end\"");
  }
  if (reader.failed()) return reader.status();
  return trace;
}

}  // namespace aios::sim
