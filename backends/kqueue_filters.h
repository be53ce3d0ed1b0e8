// What the kqueue kernel tells the system and hears from it, in terms of the
// seam: pure functions without kqueue's headers, so that they are tested on
// every system.

#ifndef AIOS_BACKENDS_KQUEUE_FILTERS_H_
#define AIOS_BACKENDS_KQUEUE_FILTERS_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "aios/error.h"
#include "aios/kernel.h"

namespace aios {

// kqueue watches each direction of a handle on its own, by a filter.
enum class KqueueFilter : uint8_t { kRead, kWrite };

// Adds the filter to those of a handle, or deletes it. To add one that is there
// gives it the new token, and is no error.
struct KqueueChange {
  KqueueFilter filter = KqueueFilter::kRead;
  bool add = false;

  friend bool operator==(const KqueueChange&, const KqueueChange&) = default;
};

// The changes that make an interest `to` out of the interest `from`, in the
// order in which they are to be made: the last of them adds unless `to` is
// empty, which is how `IsRefusal` knows. Wanted filters are always added, also
// those of `from`: the token may be new, and so may the socket of this number.
class KqueueChanges {
 public:
  KqueueChanges(Readiness from, Readiness to);

  const KqueueChange* begin() const { return list_.data(); }
  const KqueueChange* end() const { return list_.data() + count_; }

 private:
  std::array<KqueueChange, 2> list_;
  size_t count_ = 0;
};

// What an event of the filter reports. Not a word on its flags: an end of file
// comes together with unread bytes, may be one of a single direction, and the
// error beside it is not taken by looking. Only the next call on the socket
// tells the truth.
Readiness ToReadiness(KqueueFilter filter);

// Whether the result of a change, an errno value, takes its interest from
// someone who wants it. `last_adds` is whether the last change of the handle in
// the list adds: if not, the caller has let go of it, and whatever was to be
// deleted is not there any more. ENOENT is the answer to a deletion alone, and
// 0 is that of a change that was made (systems give one if EV_RECEIPT asks).
bool IsRefusal(int64_t code, bool last_adds);

// A `Wait` of this length for a system that counts in seconds and nanoseconds.
// `timeout` is not kForever. Rounded up to whole microseconds, for some systems
// cut what is below, and kept within what no system refuses.
struct KqueueTimeout {
  int64_t seconds = 0;
  int64_t nanoseconds = 0;

  friend bool operator==(const KqueueTimeout&, const KqueueTimeout&) = default;
};
KqueueTimeout ToKqueueTimeout(Nanoseconds timeout);

}  // namespace aios

#endif  // AIOS_BACKENDS_KQUEUE_FILTERS_H_
