// Simulated tests for GoogleTest; the one header that they include.
//
//   SIMULATED_TEST(Echo, SurvivesLoss) {
//     simulation.SetFaults({.loss = 50'000});
//     sim::Host& server = simulation.AddHost("server");
//     …
//     EXPECT_TRUE(simulation.RunUntil([&] { return done; }));
//   }
//
// The body runs once for each seed, with a fresh `simulation`, and the first
// seed twice: another trace the second time is a failure. A run that fails
// prints its seed, the command that replays it, every host's sockets and
// queues, and the tail of the trace; no further seed is run then. At the end of
// a body no descriptor may be open, and every operation must have ended exactly
// once; what is still on its way then arrives first.
//
// Environment: AIOS_SIM_SEEDS=7 or =1..1000 says which seeds. Without it, 1 to
// 20, or what `SIMULATED_TEST_SEEDS` says.

#ifndef AIOS_SIM_SIMULATED_TEST_H_
#define AIOS_SIM_SIMULATED_TEST_H_

#include <cstdint>
#include <functional>
#include <string_view>

#include "gtest/gtest.h"
#include "sim/simulation.h"

namespace aios::sim {

struct SeedRange {
  uint64_t first = 1;
  uint64_t last = 20;
};

// Reads "7" or "1..1000"; false when it is neither.
bool ParseSeedRange(std::string_view text, SeedRange* range);

// Runs the body for all seeds, as the macros do.
void RunSimulated(const std::function<void(Simulation&)>& body,
                  SeedRange default_seeds);

}  // namespace aios::sim

#define SIMULATED_TEST_SEEDS(suite, name, first, last)                         \
  static void SimulatedBody_##suite##_##name(                                  \
      ::aios::sim::Simulation& simulation);                                    \
  TEST(suite, name) {                                                          \
    ::aios::sim::RunSimulated(&SimulatedBody_##suite##_##name, {first, last}); \
  }                                                                            \
  static void SimulatedBody_##suite##_##name(                                  \
      [[maybe_unused]] ::aios::sim::Simulation& simulation)

#define SIMULATED_TEST(suite, name) SIMULATED_TEST_SEEDS(suite, name, 1, 20)

#endif  // AIOS_SIM_SIMULATED_TEST_H_
