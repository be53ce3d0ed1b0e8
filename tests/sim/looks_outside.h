// Every way in which a program can look at clocks and at randomness through the
// C and the C++ library.

#ifndef AIOS_TESTS_SIM_LOOKS_OUTSIDE_H_
#define AIOS_TESTS_SIM_LOOKS_OUTSIDE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace aios::test {

struct Look {
  std::string name;
  // What was seen, as text.
  std::function<std::string()> look;
};

// Those of which each call gives something else.
std::vector<Look> LooksAtRandomness();
// Those that tell how late it is.
std::vector<Look> LooksAtClocks();
// Both.
std::vector<Look> LooksOutside();

// What is seen in a fresh simulation of this seed, in the body and in an event
// of it, several times each. One line.
std::string SeenInASimulation(const Look& look, uint64_t seed);

}  // namespace aios::test

#endif  // AIOS_TESTS_SIM_LOOKS_OUTSIDE_H_
