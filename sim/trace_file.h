// A run of a scenario as a text file that says all that is needed to repeat it:
// the scenario, the seed, every choice by its name, the events, the hash.

#ifndef AIOS_SIM_TRACE_FILE_H_
#define AIOS_SIM_TRACE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "aios/kernel.h"
#include "sim/choice.h"
#include "sim/trace.h"

namespace aios::sim {

struct TraceFile {
  std::string scenario_file;
  std::string scenario;
  uint64_t seed = 1;
  bool passed = true;
  uint64_t hash = 0;
  Nanoseconds time = 0;
  std::vector<Choice> choices;
  std::vector<TraceEvent> events;
};

inline constexpr int kTraceFileVersion = 1;
inline constexpr size_t kTraceFileBytesMax = size_t{1} << 30;

std::string FormatTraceFile(const TraceFile& trace);

// Errors: InvalidArgument, "file:line:1: what was expected", for what is no
// such file, is of another version or is not whole. A choice of a site that
// this program does not know is left out: it decides nothing here.
absl::StatusOr<TraceFile> ParseTraceFile(std::string_view file,
                                         std::string_view text);

}  // namespace aios::sim

#endif  // AIOS_SIM_TRACE_FILE_H_
