// Pseudo-random numbers for tests: the same on every system for the same seed,
// which the distributions of <random> are not.

#ifndef AIOS_TESTS_RANDOM_H_
#define AIOS_TESTS_RANDOM_H_

#include <cstddef>
#include <cstdint>

namespace aios {

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
  }

  // Less than `limit`, which is not 0. Slightly uneven, which no test minds.
  size_t Below(size_t limit) { return static_cast<size_t>(Next() % limit); }

 private:
  uint64_t state_;
};

}  // namespace aios

#endif  // AIOS_TESTS_RANDOM_H_
