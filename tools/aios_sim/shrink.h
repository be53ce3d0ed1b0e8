// Makes of a scenario that fails a smaller one that fails in the same way.

#ifndef AIOS_TOOLS_AIOS_SIM_SHRINK_H_
#define AIOS_TOOLS_AIOS_SIM_SHRINK_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "sim/scenario.h"

namespace aios {

struct Shrunk {
  std::string text;
  // What it fails with, without its place.
  std::string failure;
  size_t steps_before = 0;
  size_t steps = 0;
  uint64_t runs = 0;
};

// Takes away steps, states, rates of faults and other keys, first many at a
// time, as long as the first failure of a run with `seed` stays what it is.
// Steps that share a line stay together. Nothing when the scenario passes.
std::optional<Shrunk> Shrink(const sim::Scenario& scenario, uint64_t seed);

}  // namespace aios

#endif  // AIOS_TOOLS_AIOS_SIM_SHRINK_H_
