#include "backends/epoll_kernel.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <limits>

#include "aios/check.h"

// epoll_pwait2 counts in nanoseconds instead of milliseconds. It takes a C
// library that declares it and, at run time, Linux 5.11.
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 35)
#define AIOS_HAS_EPOLL_PWAIT2 1
#endif
#endif
#ifndef AIOS_HAS_EPOLL_PWAIT2
#define AIOS_HAS_EPOLL_PWAIT2 0
#endif

namespace aios {

namespace {

// Events taken by one call; their array is on the stack. What does not fit is
// reported by the next call, as epoll puts what it has reported behind the
// rest.
constexpr size_t kEventsMax = 256;

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint64_t kNanosecondsPerMillisecond = 1'000'000;

// How many forks there were between the first process with a poller and this
// one.
std::atomic<int> forks = 0;

int Forks() { return forks.load(std::memory_order_relaxed); }

void CountForks() {
  static const int registered = pthread_atfork(
      nullptr, nullptr, [] { forks.fetch_add(1, std::memory_order_relaxed); });
  static_cast<void>(registered);
}

class EpollPoller final : public Poller {
 public:
  EpollPoller(int epoll, int wake) : epoll_(epoll), wake_(wake) {}
  ~EpollPoller() override {
    close(wake_);
    close(epoll_);
  }

  int epoll() const { return epoll_; }
  int wake() const { return wake_; }
  // Whether this process made it, and is not a child of the one that did.
  bool is_ours() const { return forks_ == Forks(); }

 private:
  const int epoll_;
  const int wake_;
  const int forks_ = Forks();
};

// In events, the eventfd that `Wake` writes to. No caller has this token.
char wake_token;
constexpr void* kWakeToken = &wake_token;

EpollPoller& Own(Poller& poller) { return static_cast<EpollPoller&>(poller); }

uint32_t ToEvents(Readiness readiness) {
  uint32_t events = 0;
  if ((readiness & kReadable) != 0) events |= EPOLLIN;
  if ((readiness & kWritable) != 0) events |= EPOLLOUT;
  return events;
}

// EPOLLERR and EPOLLHUP come unasked. Either may mean that a call in either
// direction has an answer; which one, only the call can tell.
Readiness ToReadiness(uint32_t events) {
  if ((events & ~uint32_t{EPOLLIN | EPOLLOUT}) != 0) [[unlikely]] {
    return kReadable | kWritable;
  }
  // Half of 1, 4 and both, rounded up, is 1, 2 and both.
  static_assert(EPOLLIN == 1 && EPOLLOUT == 4);
  static_assert(kReadable == 1 && kWritable == 2);
  return static_cast<Readiness>((events + 1) / 2);
}

// `epoll_wait` with the timeout in milliseconds, rounded up.
int WaitMilliseconds(int epoll, epoll_event* events, int count,
                     Nanoseconds timeout) {
  int milliseconds = -1;
  if (timeout != kForever) {
    // 24 days; a return before the timeout is allowed.
    constexpr uint64_t kLongest = std::numeric_limits<int>::max();
    uint64_t rounded =
        (static_cast<uint64_t>(timeout) + kNanosecondsPerMillisecond - 1) /
        kNanosecondsPerMillisecond;
    milliseconds = static_cast<int>(std::min(rounded, kLongest));
  }
  return epoll_wait(epoll, events, count, milliseconds);
}

// Negative for an error. The caller waits again then.
inline int WaitForEvents(int epoll, epoll_event* events, int count,
                         Nanoseconds timeout) {
#if AIOS_HAS_EPOLL_PWAIT2
  // Nothing but itself depends on it.
  static std::atomic<bool> missing = false;
  if (!missing.load(std::memory_order_relaxed)) [[likely]] {
    timespec duration;
    if (timeout != kForever) {
      // Unsigned it is divided with less.
      auto nanoseconds = static_cast<uint64_t>(timeout);
      duration.tv_sec =
          static_cast<time_t>(nanoseconds / kNanosecondsPerSecond);
      duration.tv_nsec = static_cast<long>(nanoseconds % kNanosecondsPerSecond);
    }
    int result =
        epoll_pwait2(epoll, events, count,
                     timeout != kForever ? &duration : nullptr, nullptr);
    // Old container filters answer EPERM where the system would say ENOSYS.
    if (result < 0 && (errno == ENOSYS || errno == EPERM)) [[unlikely]] {
      missing.store(true, std::memory_order_relaxed);
    }
    return result;
  }
#endif
  return WaitMilliseconds(epoll, events, count, timeout);
}

}  // namespace

Error EpollKernel::NewPoller(std::unique_ptr<Poller>* poller) {
  CountForks();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return Error(errno);
  int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake < 0) {
    Error error(errno);
    close(epoll);
    return error;
  }
  // Edge-triggered: each write to it is one event, which `Wait` consumes by
  // looking at it. Nobody ever reads the counter.
  auto own = std::make_unique<EpollPoller>(epoll, wake);
  epoll_event event = {.events = EPOLLIN | EPOLLET,
                       .data = {.ptr = kWakeToken}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) < 0) return Error(errno);
  *poller = std::move(own);
  return Error();
}

Error EpollKernel::SetInterest(Poller& poller, Handle handle, void* token,
                               Readiness from, Readiness to) {
  // Epoll is shared with the process that made it, which has the same sockets:
  // what a child removes would be removed for both.
  if (!Own(poller).is_ours()) [[unlikely]] {
    return Error();
  }
  if (to == kNotReady) {
    // Not an empty mask: errors and hang-ups would be reported all the same.
    // Whatever fails here, the handle is not watched afterwards.
    if (from != kNotReady) {
      epoll_ctl(Own(poller).epoll(), EPOLL_CTL_DEL, handle, nullptr);
    }
    return Error();
  }
  int epoll = Own(poller).epoll();
  epoll_event event = {.events = ToEvents(to), .data = {.ptr = token}};
  bool add = from == kNotReady;
  int result =
      epoll_ctl(epoll, add ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, handle, &event);
  if (result == 0) [[likely]] {
    return Error();
  }
  // The caller and epoll can disagree on whether it is there when a handle was
  // closed behind our back, and the same number came again. The caller's wish
  // is clear.
  if (add && errno == EEXIST) {
    result = epoll_ctl(epoll, EPOLL_CTL_MOD, handle, &event);
  } else if (!add && errno == ENOENT) {
    result = epoll_ctl(epoll, EPOLL_CTL_ADD, handle, &event);
  }
  return result == 0 ? Error() : Error(errno);
}

size_t EpollKernel::Wait(Poller& poller, std::span<Report> reports,
                         Nanoseconds timeout) {
  AIOS_DCHECK(Own(poller).is_ours(),
              "a collection belongs to the process that made it: a child of "
              "fork must not run it");
  std::array<epoll_event, kEventsMax> events;
  auto room = static_cast<int>(std::min(reports.size(), events.size()));
  int found = WaitForEvents(Own(poller).epoll(), events.data(), room, timeout);
  // Negative when interrupted, say: an early return without reports. The
  // caller comes back with what is left of its timeout.
  if (found <= 0) return 0;
  Report* report = reports.data();
  for (const epoll_event* event = events.data(); found != 0; ++event, --found) {
    if (event->data.ptr == kWakeToken) [[unlikely]] {
      // It may have taken the only place from a report.
      if (room == 1) return Wait(poller, reports, 0);
      continue;
    }
    *report++ = {.token = event->data.ptr, .ready = ToReadiness(event->events)};
  }
  return static_cast<size_t>(report - reports.data());
}

void EpollKernel::Wake(Poller& poller) {
  // Cannot fail: the counter overflows only after 2^64 wakes.
  eventfd_write(Own(poller).wake(), 1);
}

}  // namespace aios
