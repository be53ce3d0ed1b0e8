// A simulated run with everything that looking up names can meet: for tests
// that compare runs.

#ifndef AIOS_TESTS_NAME_SERVER_LOOKUPS_OF_A_SEED_H_
#define AIOS_TESTS_NAME_SERVER_LOOKUPS_OF_A_SEED_H_

#include <cstdint>
#include <string>

namespace aios::sim {

// What happened, in a few lines that every run of this seed must repeat: the
// hash of the trace, the ids of all queries, and how each lookup ended.
std::string LookupsOfASeed(uint64_t seed);

}  // namespace aios::sim

#endif  // AIOS_TESTS_NAME_SERVER_LOOKUPS_OF_A_SEED_H_
