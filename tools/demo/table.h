// A table of operations, each with its outcome and what it should have been.

#ifndef AIOS_TOOLS_DEMO_TABLE_H_
#define AIOS_TOOLS_DEMO_TABLE_H_

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aios::demo {

// How an operation should end.
struct Expected {
  std::string status;
  size_t bytes = 0;
  // How long it should take at least.
  std::chrono::milliseconds duration_min{0};
};

// The status of an operation whose callback must not be called.
inline constexpr std::string_view kSilent = "no callback";

class Table {
 public:
  using Row = size_t;

  // Begins with a title and the names of the columns. Times count from now.
  Table(std::string_view title, bool colored);

  // Adds the row of an operation that starts now.
  Row Start(std::string operation, Expected expected);
  // That operation has ended.
  void End(Row row, std::string status, size_t bytes);

  // Whether all rows have ended that are not to be silent.
  bool complete() const;

  // Prints the rows since the last call below a heading. Those that have not
  // ended are taken not to do so any more.
  void Print(std::string_view heading);

  // Prints the last line. Returns whether all rows were as expected.
  bool Finish();

 private:
  using Clock = std::chrono::steady_clock;

  struct Outcome {
    Clock::time_point when;
    std::string status;
    size_t bytes = 0;
  };
  struct Entry {
    std::string operation;
    Expected expected;
    Clock::time_point earliest;
    std::optional<Outcome> outcome;
    // A second outcome: operations end once.
    bool ended_again = false;
  };

  bool AsExpected(const Entry& entry) const;
  std::string Milliseconds(Clock::time_point time) const;
  void PrintColored(const char* color, std::string_view text) const;

  const bool colored_;
  const Clock::time_point start_ = Clock::now();
  std::vector<Entry> entries_;
  size_t printed_ = 0;
  size_t failed_ = 0;
};

}  // namespace aios::demo

#endif  // AIOS_TOOLS_DEMO_TABLE_H_
