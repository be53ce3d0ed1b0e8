// What a fuzz target demands of the code: a false condition ends the process,
// which is how libFuzzer and replay_main.cc learn that an input failed.

#ifndef AIOS_TESTS_FUZZ_FUZZ_CHECK_H_
#define AIOS_TESTS_FUZZ_FUZZ_CHECK_H_

#include <cstdio>
#include <cstdlib>

#define AIOS_FUZZ_CHECK(condition)                                           \
  do {                                                                       \
    if (!(condition)) {                                                      \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
                   #condition);                                              \
      std::abort();                                                          \
    }                                                                        \
  } while (false)

#endif  // AIOS_TESTS_FUZZ_FUZZ_CHECK_H_
