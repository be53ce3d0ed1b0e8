// Prints the lookups of the seed that is its only argument.

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/name_server/lookups_of_a_seed.h"

int main(int argc, char** argv) {
  uint64_t seed = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 1;
  std::fputs(aios::sim::LookupsOfASeed(seed).c_str(), stdout);
  return 0;
}
