#include "sim/fault_name.h"

#include <array>
#include <cstddef>

namespace aios::sim {

std::string_view FaultName(Fault fault) {
  static constexpr std::array<std::string_view,
                              static_cast<size_t>(Fault::kCount)>
      kNames = {
          "loss",           "duplication", "reordering",
          "corruption",     "partition",   "hold",
          "reset",          "pause",       "crash",
          "clock",          "short read",  "short write",
          "split",          "would block", "spurious report",
          "interrupt",      "errno",       "port exhaustion",
          "queue overflow", "join",
      };
  return fault == Fault::kCount ? "none" : kNames[static_cast<size_t>(fault)];
}

}  // namespace aios::sim
