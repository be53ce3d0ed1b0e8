// Any bytes as the trace of a run: what is one is the same when it is written
// and read again, and what is none is refused with the line.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sim/trace_file.h"
#include "tests/fuzz/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using aios::sim::TraceFile;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<TraceFile> trace = aios::sim::ParseTraceFile("f", text);
  if (!trace.ok()) {
    AIOS_FUZZ_CHECK(trace.status().code() ==
                    absl::StatusCode::kInvalidArgument);
    AIOS_FUZZ_CHECK(trace.status().message().substr(0, 2) == "f:");
    return 0;
  }
  const std::string written = aios::sim::FormatTraceFile(*trace);
  const absl::StatusOr<TraceFile> again =
      aios::sim::ParseTraceFile("f", written);
  AIOS_FUZZ_CHECK(again.ok());
  AIOS_FUZZ_CHECK(again->seed == trace->seed);
  AIOS_FUZZ_CHECK(again->passed == trace->passed);
  AIOS_FUZZ_CHECK(again->hash == trace->hash);
  AIOS_FUZZ_CHECK(again->time == trace->time);
  AIOS_FUZZ_CHECK(again->scenario_file == trace->scenario_file);
  AIOS_FUZZ_CHECK(again->scenario == trace->scenario);
  AIOS_FUZZ_CHECK(again->choices == trace->choices);
  AIOS_FUZZ_CHECK(again->events == trace->events);
  AIOS_FUZZ_CHECK(aios::sim::FormatTraceFile(*again) == written);
  return 0;
}
