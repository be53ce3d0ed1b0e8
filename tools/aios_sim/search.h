// Runs scenarios with many seeds, on all cores.

#ifndef AIOS_TOOLS_AIOS_SIM_SEARCH_H_
#define AIOS_TOOLS_AIOS_SIM_SEARCH_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "aios/kernel.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"

namespace aios {

struct SearchOptions {
  uint64_t seed_first = 1;
  uint64_t seed_last = 1;
  int jobs = 1;
  // Runs each twice, and fails when the hashes differ.
  bool twice = false;
  // This process' part of the runs.
  uint64_t shard = 0;
  uint64_t shards = 1;
  // A line that is rewritten, for people who wait.
  bool progress = false;
};

// Of one scenario with all its seeds.
struct SearchSummary {
  uint64_t runs = 0;
  uint64_t failed = 0;
  uint64_t events = 0;
  uint64_t hash = 0;  // of all hashes, in the order of the seeds
  Nanoseconds virtual_time = 0;
  Nanoseconds wall_time = 0;  // of all cores
  bool complete = true;       // no run was left out
  // The first of them, in the order of the seeds.
  struct Failure {
    uint64_t seed = 0;
    std::vector<std::string> failures;
    std::string report;
  };
  std::vector<Failure> failures;
};

// Calls `done` with each scenario's place, in their order. Begins no further
// runs after a failure.
void Search(const std::vector<sim::Scenario>& scenarios,
            const SearchOptions& options,
            absl::FunctionRef<void(size_t, const SearchSummary&)> done);

// When the program crashes, says in which run.
void TellRunOnCrash();

}  // namespace aios

#endif  // AIOS_TOOLS_AIOS_SIM_SEARCH_H_
