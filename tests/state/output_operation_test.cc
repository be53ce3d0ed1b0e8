#include "aios/state/output_operation.h"

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/heap.h"

namespace aios {
namespace {

TEST(OutputOperationPoolTest, GivesOutEachOperationOnce) {
  OutputOperationPool pool;
  std::vector<OutputOperation*> taken;
  std::set<OutputOperation*> seen;
  for (int round = 0; round < 3; ++round) {
    seen.clear();
    for (int i = 0; i < 100; ++i) {
      taken.push_back(pool.Take());
      EXPECT_TRUE(seen.insert(taken.back()).second);
    }
    for (OutputOperation* operation : taken) pool.Give(operation);
    taken.clear();
  }
}

TEST(OutputOperationPoolTest, SteadyUseTakesNothingFromTheHeap) {
  OutputOperationPool pool;
  std::vector<OutputOperation*> taken(100);
  auto burst = [&] {
    for (OutputOperation*& operation : taken) operation = pool.Take();
    for (OutputOperation* operation : taken) pool.Give(operation);
  };
  burst();
  test::HeapUse before = test::CurrentHeapUse();
  for (int i = 0; i < 100; ++i) burst();
  EXPECT_EQ((test::CurrentHeapUse() - before).allocations, 0);
}

// A long queue must not hold its memory for ever.
TEST(OutputOperationPoolTest, KeepsABoundedNumber) {
  test::HeapUse at_first = test::CurrentHeapUse();
  {
    OutputOperationPool pool;
    auto bytes_after_burst_of = [&](size_t number) {
      {
        std::vector<OutputOperation*> taken(number);
        for (OutputOperation*& operation : taken) operation = pool.Take();
        for (OutputOperation* operation : taken) pool.Give(operation);
      }
      return (test::CurrentHeapUse() - at_first).bytes;
    };
    int64_t bytes = bytes_after_burst_of(20'000);
    EXPECT_GT(bytes, 0);
    EXPECT_LT(bytes, int64_t{4} << 20);
    EXPECT_EQ(bytes_after_burst_of(60'000), bytes);
  }
  EXPECT_EQ((test::CurrentHeapUse() - at_first).bytes, 0) << "not given back";
}

}  // namespace
}  // namespace aios
