// Programs that do everything that aios can do, at random, and expect nothing:
// whether all went well is for the simulation's own checks to say.

#ifndef AIOS_TESTS_SEARCH_RANDOM_PROGRAM_H_
#define AIOS_TESTS_SEARCH_RANDOM_PROGRAM_H_

#include "sim/simulation.h"

namespace aios::test {

// Two servers, a client and a name server, each on a host of its own, which
// talk to each other by TCP and UDP while calls fail, links are slow, hosts
// stand still and connections break. The seed decides what is done, which
// faults there are and how narrow the limits are. Everything is closed when it
// returns.
void RunRandomProgram(sim::Simulation& simulation);

}  // namespace aios::test

#endif  // AIOS_TESTS_SEARCH_RANDOM_PROGRAM_H_
