// Assertions for mistakes of the programmer. What the network, the kernel or a
// file does is never asserted: it is an error with a defined answer.

#ifndef AIOS_CHECK_H_
#define AIOS_CHECK_H_

#include <cstdio>
#include <cstdlib>

// Ends the program with `message` unless `condition` holds.
#define AIOS_CHECK(condition, message)                                      \
  do {                                                                      \
    if (!(condition)) [[unlikely]] {                                        \
      std::fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, message, \
                   #condition);                                             \
      std::abort();                                                         \
    }                                                                       \
  } while (false)

// The same in debug builds; nothing in optimised ones (NDEBUG).
#ifdef NDEBUG
#define AIOS_DCHECK(condition, message) \
  do {                                  \
  } while (false)
#else
#define AIOS_DCHECK(condition, message) AIOS_CHECK(condition, message)
#endif

#endif  // AIOS_CHECK_H_
