// Counts of the heap in Google Benchmark's reports.

#ifndef AIOS_BENCH_ALLOCATIONS_H_
#define AIOS_BENCH_ALLOCATIONS_H_

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "benchmark/benchmark.h"
#include "tests/support/heap.h"

namespace aios::bench {

// From its construction to `Report`, which adds "allocations" for each of
// `operations` to the report, and ends the program with 1 when there are more
// than `most`: counts are gates, times are not. Pauses leave out what belongs
// to the benchmark.
class CountAllocations {
 public:
  void Pause() { count_ += test::CurrentHeapUse().allocations - begin_; }
  void Resume() { begin_ = test::CurrentHeapUse().allocations; }

  void Report(benchmark::State& state, int64_t operations, double most = 0) {
    Pause();
    if (static_cast<double>(count_ - kOnceMax) >
        most * static_cast<double>(operations)) {
      std::cerr << count_ << " allocations for " << operations
                << " operations, at most " << most << " each" << std::endl;
      std::exit(1);
    }
    state.SetItemsProcessed(operations);
    state.counters["allocations"] =
        benchmark::Counter(operations > 0 ? static_cast<double>(count_) /
                                                static_cast<double>(operations)
                                          : 0);
  }

 private:
  // Of buffers that reach their size.
  static constexpr int64_t kOnceMax = 16;

  int64_t begin_ = test::CurrentHeapUse().allocations;
  int64_t count_ = 0;
};

}  // namespace aios::bench

#endif  // AIOS_BENCH_ALLOCATIONS_H_
