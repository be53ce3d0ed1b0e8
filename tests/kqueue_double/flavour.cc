// One flavour of the double: its kqueue() and kevent(), in the form that
// sys/event.h declares for it, and the kernel over them.

#include "tests/kqueue_double/flavour.h"

#include <sys/event.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/kqueue_kernel.h"
#include "tests/kqueue_double/kqueue_double.h"

namespace {

using aios::test::DoubleEvent;
using aios::test::DoubleFilter;
using Udata = decltype(kevent::udata);

DoubleEvent ToDouble(const struct kevent& event) {
  return {.ident = event.ident,
          .filter = static_cast<DoubleFilter>(event.filter),
          .flags = event.flags,
          .fflags = event.fflags,
          .data = event.data,
          .udata = std::bit_cast<uintptr_t>(event.udata)};
}

void FromDouble(const DoubleEvent& from, struct kevent* to) {
  EV_SET(to, from.ident, static_cast<int16_t>(from.filter), from.flags,
         from.fflags, from.data, std::bit_cast<Udata>(from.udata));
}

}  // namespace

int kqueue() {
  return aios::test::MakeKqueue(
      {.overwrites_udata = AIOS_KQUEUE_OVERWRITES_UDATA != 0,
       .errors_keep_flags = AIOS_KQUEUE_ERRORS_KEEP_FLAGS != 0,
       .tick_nanoseconds = AIOS_KQUEUE_TICK_NANOSECONDS});
}

int kevent(int kq, const struct kevent* changes, int change_count,
           struct kevent* events, int event_count, const timespec* timeout) {
  // Kept, so that a call allocates nothing: there are tests that count.
  static thread_local std::vector<DoubleEvent> own_changes;
  static thread_local std::vector<DoubleEvent> own_events;
  own_changes.clear();
  for (const struct kevent& change :
       std::span(changes, static_cast<size_t>(change_count))) {
    own_changes.push_back(ToDouble(change));
  }
  own_events.resize(static_cast<size_t>(event_count));
  int count = aios::test::CallKevent(kq, own_changes, own_events, timeout);
  for (int i = 0; i < count; ++i) {
    FromDouble(own_events[static_cast<size_t>(i)], &events[i]);
  }
  return count;
}

namespace aios::test {

Kernel& AIOS_KQUEUE_JOIN(KqueueOverDouble, AIOS_KQUEUE_FLAVOUR)() {
  // Never destroyed, like the default kernel.
  static KqueueKernel& kernel = *new KqueueKernel();
  return kernel;
}

}  // namespace aios::test
