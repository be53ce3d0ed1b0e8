// Between the durations of the API and the nanoseconds of the core.

#ifndef AIOS_DURATION_H_
#define AIOS_DURATION_H_

#include "absl/time/time.h"
#include "aios/kernel.h"

namespace aios {

// Rounded up, so that nothing ends early; an infinite duration, and one beyond
// 292 years, is `kForever`. `duration` must not be negative.
inline Nanoseconds ToNanoseconds(absl::Duration duration) {
  // Most are; the conversion would divide them.
  if (duration == absl::InfiniteDuration()) return kForever;
  Nanoseconds nanoseconds = absl::ToInt64Nanoseconds(duration);
  if (nanoseconds == kForever) return kForever;
  return absl::Nanoseconds(nanoseconds) < duration ? nanoseconds + 1
                                                   : nanoseconds;
}

inline absl::Duration FromNanoseconds(Nanoseconds nanoseconds) {
  return nanoseconds == kForever ? absl::InfiniteDuration()
                                 : absl::Nanoseconds(nanoseconds);
}

// The deadline of something that may take `timeout` from `now` on.
inline Nanoseconds DeadlineAfter(Nanoseconds now, Nanoseconds timeout) {
  Nanoseconds deadline;
  return __builtin_add_overflow(now, timeout, &deadline) ? kForever : deadline;
}

}  // namespace aios

#endif  // AIOS_DURATION_H_
