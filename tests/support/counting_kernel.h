// A kernel that counts the calls made to another one:
//
//   CountingKernel kernel(world.kernel());
//   …
//   CallCounts before = kernel.counts();
//   OneRoundTrip();
//   CallCounts made = kernel.counts() - before;
//   EXPECT_LE(made.total(), 3) << made.ToString();
//   EXPECT_EQ(made.of(KernelCall::kSetInterest), 0);

#ifndef AIOS_TESTS_SUPPORT_COUNTING_KERNEL_H_
#define AIOS_TESTS_SUPPORT_COUNTING_KERNEL_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <ostream>
#include <string>

#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/support/kernel_decorator.h"

namespace aios::test {

// How many calls of each kind were made, and how many of them failed. Would
// block (EAGAIN) is a failure here, for it is a call that gained nothing; a
// connect in progress is none.
struct CallCounts {
  std::array<int64_t, kKernelCallCount> made = {};
  std::array<int64_t, kKernelCallCount> failed = {};

  int64_t of(KernelCall call) const;
  int64_t failures_of(KernelCall call) const;

  // All but `Now`, which is not a system call where it matters.
  int64_t total() const;
  int64_t total_failures() const;

  // Only what is not zero: "Receive 2 (1 failed), Send 1, Wait 1"; "none".
  std::string ToString() const;

  // What was made since `earlier`.
  CallCounts operator-(const CallCounts& earlier) const;

  friend bool operator==(const CallCounts&, const CallCounts&) = default;
  friend void PrintTo(const CallCounts& counts, std::ostream* out);
};

// Counts in all threads, without allocating.
class CountingKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  // Calls that other threads make meanwhile may be in it or not.
  CallCounts counts() const;

 protected:
  void After(KernelCall call, Handle handle, Error error) override;

 private:
  std::array<std::atomic<int64_t>, kKernelCallCount> made_ = {};
  std::array<std::atomic<int64_t>, kKernelCallCount> failed_ = {};
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_COUNTING_KERNEL_H_
