// Counts what the whole program takes from the heap with `new`. Linking this
// library replaces the global `new` and `delete`:
//
//   HeapUse before = CurrentHeapUse();
//   …
//   HeapUse used = CurrentHeapUse() - before;
//   EXPECT_EQ(used.allocations, 0);

#ifndef AIOS_TESTS_SUPPORT_HEAP_H_
#define AIOS_TESTS_SUPPORT_HEAP_H_

#include <cstdint>

namespace aios::test {

struct HeapUse {
  // Made since the program began.
  int64_t allocations = 0;
  // In use now, with what a common allocator adds: 8 bytes for each, the whole
  // rounded up to 16.
  int64_t bytes = 0;

  HeapUse operator-(const HeapUse& earlier) const {
    return {allocations - earlier.allocations, bytes - earlier.bytes};
  }
};

// Of all threads together.
HeapUse CurrentHeapUse();

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_HEAP_H_
