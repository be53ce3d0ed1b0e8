// Simulated tests for GoogleTest; the one header that they include.
//
//   SIMULATED_TEST(Echo, SurvivesLoss) {
//     simulation.SetFaults({.loss = 50'000});
//     sim::Host& server = simulation.AddHost("server");
//     …
//     EXPECT_TRUE(simulation.RunUntil([&] { return done; }));
//   }
//
// The body runs once for each seed, with a fresh `simulation`, and in it: the
// clocks of the C library show virtual time there, and its randomness follows
// from the seed. The first seed runs a second time, and a third time in another
// process, in which this test program is started anew for this test only:
// another trace is a failure, and the message says what may be the reason. A
// run that fails prints its seed, the command that replays it, every host's
// sockets and queues, and the tail of the trace; no further seed is run then.
// At the end of a body no descriptor may be open, and every operation must have
// ended exactly once; what is still on its way then arrives first.
//
// Environment: AIOS_SIM_SEEDS=7 or =1..1000 says which seeds. Without it, 1 to
// 20, or what `SIMULATED_TEST_SEEDS` says. AIOS_SIM_OTHER_PROCESS=0 does
// without other processes; then it is not found when something is decided once
// a process, such as the seeds of hash tables.

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

// Runs the body for all seeds, as the macros do. To be called in a test of
// GoogleTest, on its thread. In another process the test runs from its
// beginning up to the call that is compared, and the calls before that do their
// first seed only.
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
