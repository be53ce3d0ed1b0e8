#include "backends/kqueue_filters.h"

#include <algorithm>
#include <cerrno>

namespace aios {

namespace {

constexpr Nanoseconds kMicrosecond = 1'000;
constexpr Nanoseconds kSecond = 1'000'000'000;

// macOS answers EINVAL beyond. It is three years; a return before the timeout
// is allowed.
constexpr int64_t kSecondsMax = 100'000'000;

constexpr std::array<KqueueFilter, 2> kFilters = {KqueueFilter::kRead,
                                                  KqueueFilter::kWrite};

}  // namespace

KqueueChanges::KqueueChanges(Readiness from, Readiness to) {
  for (KqueueFilter filter : kFilters) {
    if ((from & ~to & ToReadiness(filter)) != 0) {
      list_[count_++] = {.filter = filter, .add = false};
    }
  }
  for (KqueueFilter filter : kFilters) {
    if ((to & ToReadiness(filter)) != 0) {
      list_[count_++] = {.filter = filter, .add = true};
    }
  }
}

Readiness ToReadiness(KqueueFilter filter) {
  return filter == KqueueFilter::kRead ? kReadable : kWritable;
}

bool IsRefusal(int64_t code, bool last_adds) {
  return code != 0 && code != ENOENT && last_adds;
}

KqueueTimeout ToKqueueTimeout(Nanoseconds timeout) {
  // No sum is taken before it is known to fit.
  int64_t seconds = timeout / kSecond;
  if (seconds >= kSecondsMax) return {.seconds = kSecondsMax};
  Nanoseconds rest = std::max(timeout % kSecond, Nanoseconds{0});
  rest = (rest + kMicrosecond - 1) / kMicrosecond * kMicrosecond;
  if (rest == kSecond) return {.seconds = seconds + 1};
  return {.seconds = std::max(seconds, int64_t{0}), .nanoseconds = rest};
}

}  // namespace aios
