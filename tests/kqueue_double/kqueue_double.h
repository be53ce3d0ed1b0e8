// A test double of kqueue over epoll, so that the kqueue kernel runs on Linux.
// It has what that kernel uses, with the semantics of the BSDs
// (docs/portability.md), and where these differ, those that are hardest on the
// caller:
//
//  * Filters are keyed by descriptor and filter. To add one that is there
//    modifies it, EV_CLEAR aside, which stays as it was.
//  * Reports are level-triggered, in turn, and once per trigger with EV_CLEAR.
//    Each filter of a descriptor has an event of its own.
//  * A change that fails is an event with EV_ERROR, and there are no others
//    then. Without room for it the call fails, and the rest is not done.
//  * A closed descriptor loses its filters, though a duplicate may be open; a
//    wait in progress does not notice. (The double defines `close` for that.
//    Descriptors that `dup2` replaces are not noticed.)
//  * EVFILT_USER: adding and triggering in one call adds only; adding again
//    drops a trigger; EV_CLEAR in a trigger loses it.
//  * A timeout that is negative, not normal, or longer than 100,000,000 s is
//    refused (EINVAL).
//  * A signal ends a wait after the changes were made.
//  * The kqueue itself is not close-on-exec, and a forked child has none.
//
// Not there: `data` and `fflags` of events, which are hints and always 0, and
// other filters and flags.

#ifndef AIOS_TESTS_KQUEUE_DOUBLE_KQUEUE_DOUBLE_H_
#define AIOS_TESTS_KQUEUE_DOUBLE_KQUEUE_DOUBLE_H_

#include <time.h>

#include <cstdint>
#include <span>

namespace aios::test {

// What differs between the systems without a trace in their headers.
struct KqueueBehaviour {
  // Every change stores its `udata`, not only those with EV_ADD.
  bool overwrites_udata = false;
  // With an error the flags of the change come back, too.
  bool errors_keep_flags = false;
  // Sleeps end at one of the system's ticks, not before the timeout.
  int64_t tick_nanoseconds = 1;
};

enum class DoubleFilter : int16_t { kRead = -1, kWrite = -2, kUser = -11 };

// struct kevent, in whatever form a flavour gives it to its callers. The values
// of the constants are those of sys/event.h in this folder.
struct DoubleEvent {
  uintptr_t ident = 0;
  DoubleFilter filter = DoubleFilter::kRead;
  uint16_t flags = 0;
  uint32_t fflags = 0;
  int64_t data = 0;
  uintptr_t udata = 0;
};

// As kqueue(2) and kevent(2): -1 and errno when they fail.
int MakeKqueue(KqueueBehaviour behaviour);
int CallKevent(int kqueue_fd, std::span<const DoubleEvent> changes,
               std::span<DoubleEvent> events, const timespec* timeout);

// For the double of sockets: the filters of the descriptor are to be looked at.
void MayHaveBecomeReady(int fd);

}  // namespace aios::test

#endif  // AIOS_TESTS_KQUEUE_DOUBLE_KQUEUE_DOUBLE_H_
