#include "tests/support/counting_kernel.h"

#include <cerrno>
#include <cstddef>

namespace aios::test {

namespace {

constexpr size_t IndexOf(KernelCall call) { return static_cast<size_t>(call); }

int64_t SumWithoutNow(const std::array<int64_t, kKernelCallCount>& counts) {
  int64_t sum = 0;
  for (int64_t count : counts) sum += count;
  return sum - counts[IndexOf(KernelCall::kNow)];
}

}  // namespace

int64_t CallCounts::of(KernelCall call) const { return made[IndexOf(call)]; }

int64_t CallCounts::failures_of(KernelCall call) const {
  return failed[IndexOf(call)];
}

int64_t CallCounts::total() const { return SumWithoutNow(made); }

int64_t CallCounts::total_failures() const { return SumWithoutNow(failed); }

std::string CallCounts::ToString() const {
  std::string text;
  for (size_t i = 0; i < kKernelCallCount; ++i) {
    if (made[i] == 0) continue;
    if (!text.empty()) text += ", ";
    text += CallName(static_cast<KernelCall>(i));
    text += " " + std::to_string(made[i]);
    if (failed[i] != 0) text += " (" + std::to_string(failed[i]) + " failed)";
  }
  return text.empty() ? "none" : text;
}

CallCounts CallCounts::operator-(const CallCounts& earlier) const {
  CallCounts difference = *this;
  for (size_t i = 0; i < kKernelCallCount; ++i) {
    difference.made[i] -= earlier.made[i];
    difference.failed[i] -= earlier.failed[i];
  }
  return difference;
}

void PrintTo(const CallCounts& counts, std::ostream* out) {
  *out << counts.ToString();
}

CallCounts CountingKernel::counts() const {
  CallCounts counts;
  for (size_t i = 0; i < kKernelCallCount; ++i) {
    counts.made[i] = made_[i].load(std::memory_order_relaxed);
    counts.failed[i] = failed_[i].load(std::memory_order_relaxed);
  }
  return counts;
}

void CountingKernel::After(KernelCall call, Handle, Error error) {
  made_[IndexOf(call)].fetch_add(1, std::memory_order_relaxed);
  if (!error.ok() && error != Error(EINPROGRESS)) {
    failed_[IndexOf(call)].fetch_add(1, std::memory_order_relaxed);
  }
}

}  // namespace aios::test
