#include "tools/demo/table.h"

#include <algorithm>
#include <iostream>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"

namespace aios::demo {

namespace {

constexpr char kBold[] = "\033[1m";
constexpr char kGreen[] = "\033[32m";
constexpr char kRed[] = "\033[1;31m";

std::string Line(const std::string& operation, const std::string& when,
                 const std::string& status, const std::string& bytes,
                 const std::string& expected) {
  return absl::StrFormat("%-42s%9s  %-19s%9s  %-34s", operation, when, status,
                         bytes, expected);
}

}  // namespace

Table::Table(std::string_view title, bool colored) : colored_(colored) {
  std::cout << title << "\n\n";
  PrintColored(kBold, Line("operation", "when", "status", "bytes",
                           "expected: status, bytes, when"));
  std::cout << "\n";
}

Table::Row Table::Start(std::string operation, Expected expected) {
  Clock::time_point earliest = Clock::now() + expected.duration_min;
  entries_.push_back(
      {std::move(operation), std::move(expected), earliest, std::nullopt});
  return entries_.size() - 1;
}

void Table::End(Row row, std::string status, size_t bytes) {
  Entry& entry = entries_[row];
  if (row < printed_) {
    std::cout << "  " << entry.operation << ": ended after all, with "
              << status;
    PrintColored(kRed, " FAIL");
    std::cout << std::endl;
    ++failed_;
    return;
  }
  if (entry.outcome.has_value()) entry.ended_again = true;
  entry.outcome = Outcome{Clock::now(), std::move(status), bytes};
}

bool Table::complete() const {
  return std::all_of(entries_.begin(), entries_.end(), [](const Entry& entry) {
    return entry.outcome.has_value() || entry.expected.status == kSilent;
  });
}

bool Table::AsExpected(const Entry& entry) const {
  if (!entry.outcome.has_value()) return entry.expected.status == kSilent;
  return !entry.ended_again && entry.outcome->status == entry.expected.status &&
         entry.outcome->bytes == entry.expected.bytes &&
         entry.outcome->when >= entry.earliest;
}

void Table::Print(std::string_view heading) {
  std::cout << "\n";
  PrintColored(kBold, heading);
  std::cout << "\n";
  for (; printed_ != entries_.size(); ++printed_) {
    const Entry& entry = entries_[printed_];
    std::string expected = entry.expected.status;
    if (entry.expected.status != kSilent) {
      expected += absl::StrFormat(", %d", entry.expected.bytes);
    }
    if (entry.expected.duration_min.count() != 0) {
      expected += ", from " + Milliseconds(entry.earliest) + " on";
    }
    std::string when = "-";
    std::string status(kSilent);
    std::string bytes = "-";
    if (entry.outcome.has_value()) {
      when = Milliseconds(entry.outcome->when);
      status = entry.outcome->status;
      bytes = std::to_string(entry.outcome->bytes);
    }
    if (entry.ended_again) status += ", again";
    std::cout << Line("  " + entry.operation, when, status, bytes, expected);
    if (AsExpected(entry)) {
      PrintColored(kGreen, "ok");
    } else {
      ++failed_;
      PrintColored(kRed, "FAIL");
    }
    std::cout << std::endl;
  }
}

bool Table::Finish() {
  std::cout << "\n";
  if (failed_ == 0) {
    PrintColored(kGreen, absl::StrFormat("All %d operations ended as expected.",
                                         entries_.size()));
  } else {
    PrintColored(kRed,
                 absl::StrFormat("%d of %d operations did not end as expected.",
                                 failed_, entries_.size()));
  }
  std::cout << std::endl;
  return failed_ == 0;
}

std::string Table::Milliseconds(Clock::time_point time) const {
  return absl::StrFormat(
      "%.1f", std::chrono::duration<double, std::milli>(time - start_).count());
}

void Table::PrintColored(const char* color, std::string_view text) const {
  if (colored_) {
    std::cout << color << text << "\033[0m";
  } else {
    std::cout << text;
  }
}

}  // namespace aios::demo
