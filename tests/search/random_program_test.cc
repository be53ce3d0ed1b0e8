// The searching simulation on aios as it is: the simulation's own checks find
// nothing. What they find when there is something: docs/mutants.md.

#include "tests/search/random_program.h"

#include "sim/simulated_test.h"

namespace aios::test {
namespace {

SIMULATED_TEST_SEEDS(RandomProgramTest, KeepsEveryPromise, 1, 60) {
  RunRandomProgram(simulation);
}

}  // namespace
}  // namespace aios::test
