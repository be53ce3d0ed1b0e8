// A run in the trace event format, for Perfetto and chrome://tracing.

#ifndef AIOS_SIM_PERFETTO_H_
#define AIOS_SIM_PERFETTO_H_

#include <string>

#include "sim/recording.h"

namespace aios::sim {

// JSON: hosts as processes, operations and packets as slices on them, faults as
// instants, with virtual time.
std::string ToPerfetto(const Recording& recording);

}  // namespace aios::sim

#endif  // AIOS_SIM_PERFETTO_H_
