#include "tests/kqueue_double/kqueue_double.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/kqueue_double/socket_double.h"

namespace aios::test {

namespace {

constexpr uint16_t kAdd = 0x0001;
constexpr uint16_t kDelete = 0x0002;
constexpr uint16_t kEnable = 0x0004;
constexpr uint16_t kDisable = 0x0008;
constexpr uint16_t kClear = 0x0020;
constexpr uint16_t kReceipt = 0x0040;
constexpr uint16_t kError = 0x4000;
constexpr uint16_t kEof = 0x8000;
constexpr uint32_t kTrigger = 0x01000000;

constexpr int64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr int64_t kSecondsMax = 100'000'000;

constexpr uint32_t kReadBits = EPOLLIN | EPOLLRDHUP;
constexpr uint32_t kWriteBits = EPOLLOUT;
// These come unasked.
constexpr uint32_t kErrorBits = EPOLLERR | EPOLLHUP;

// Stands for the eventfd among the descriptors in reports of epoll.
constexpr int kWakeFd = -1;

// A filter of a descriptor, or an event of the user.
struct Knote {
  int fd = 0;
  DoubleFilter filter = DoubleFilter::kRead;
  uintptr_t ident = 0;
  uintptr_t udata = 0;
  bool clear = false;
  bool enabled = true;
  bool triggered = false;  // kUser only
  bool queued = false;
};

using Key = std::pair<uintptr_t, DoubleFilter>;

// epoll says that something has happened to a descriptor (edge-triggered);
// whether a filter of it is true is asked of the descriptor itself when its
// turn comes. So it is in the systems that have kqueue.
struct Kqueue {
  KqueueBehaviour behaviour;
  int epoll_fd = -1;
  int wake_fd = -1;
  std::map<Key, Knote> knotes;
  // Those that may be true, in the order of their turns.
  std::vector<Knote*> queue;
};

// One for all: there is nothing to gain from more. Never destroyed, for
// descriptors are closed until the very end.
std::mutex& Mutex() {
  static std::mutex& mutex = *new std::mutex();
  return mutex;
}
std::map<int, std::unique_ptr<Kqueue>>& Kqueues() {
  static auto& kqueues = *new std::map<int, std::unique_ptr<Kqueue>>();
  return kqueues;
}

Kqueue* Find(int kqueue_fd) {
  auto found = Kqueues().find(kqueue_fd);
  return found != Kqueues().end() ? found->second.get() : nullptr;
}

int Fail(int code) {
  errno = code;
  return -1;
}

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

bool IsSocket(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

void Queue(Kqueue& kqueue, Knote& knote) {
  if (knote.queued || !knote.enabled) return;
  knote.queued = true;
  kqueue.queue.push_back(&knote);
}

void Unqueue(Kqueue& kqueue, Knote& knote) {
  std::erase(kqueue.queue, &knote);
  knote.queued = false;
}

// Wakes the wait in progress, so that it looks at its queue.
void Nudge(Kqueue& kqueue) { eventfd_write(kqueue.wake_fd, 1); }

// Tells epoll which filters the descriptor has now. Gives 0 or an errno value.
int Watch(Kqueue& kqueue, int fd, bool was_watched) {
  auto ident = static_cast<uintptr_t>(fd);
  epoll_event event = {.events = EPOLLET, .data = {.fd = fd}};
  bool watched = false;
  for (auto [filter, bits] : {std::pair(DoubleFilter::kRead, kReadBits),
                              std::pair(DoubleFilter::kWrite, kWriteBits)}) {
    if (!kqueue.knotes.contains(Key(ident, filter))) continue;
    event.events |= bits;
    watched = true;
  }
  int operation = !watched      ? EPOLL_CTL_DEL
                  : was_watched ? EPOLL_CTL_MOD
                                : EPOLL_CTL_ADD;
  return epoll_ctl(kqueue.epoll_fd, operation, fd, &event) == 0 ? 0 : errno;
}

bool IsWatched(const Kqueue& kqueue, int fd) {
  auto ident = static_cast<uintptr_t>(fd);
  return kqueue.knotes.contains(Key(ident, DoubleFilter::kRead)) ||
         kqueue.knotes.contains(Key(ident, DoubleFilter::kWrite));
}

void Remove(Kqueue& kqueue, Knote& knote) {
  Unqueue(kqueue, knote);
  bool is_user = knote.filter == DoubleFilter::kUser;
  int fd = knote.fd;
  kqueue.knotes.erase(Key(knote.ident, knote.filter));
  if (!is_user) Watch(kqueue, fd, true);
}

// Gives 0 or an errno value.
int Add(Kqueue& kqueue, const DoubleEvent& change) {
  Key key(change.ident, change.filter);
  auto fd = static_cast<int>(change.ident);
  bool is_user = change.filter == DoubleFilter::kUser;
  bool was_watched = !is_user && IsWatched(kqueue, fd);
  auto [place, is_new] = kqueue.knotes.try_emplace(key);
  Knote& knote = place->second;
  if (is_new) {
    knote.fd = fd;
    knote.filter = change.filter;
    knote.ident = change.ident;
    knote.clear = (change.flags & kClear) != 0;
    if (!is_user) {
      int code = Watch(kqueue, fd, was_watched);
      if (code != 0) {
        kqueue.knotes.erase(place);
        // Files that are always ready.
        return code == EPERM ? EINVAL : code;
      }
    }
  }
  knote.udata = change.udata;
  knote.triggered = false;
  knote.enabled = (change.flags & kDisable) == 0;
  if (knote.enabled) {
    Queue(kqueue, knote);
  } else {
    Unqueue(kqueue, knote);
  }
  return 0;
}

// Gives 0 or an errno value.
int Apply(Kqueue& kqueue, const DoubleEvent& change) {
  switch (change.filter) {
    case DoubleFilter::kRead:
    case DoubleFilter::kWrite:
      if (!IsOpen(static_cast<int>(change.ident))) return EBADF;
      break;
    case DoubleFilter::kUser:
      break;
    default:
      return EINVAL;
  }
  if ((change.flags & kAdd) != 0) return Add(kqueue, change);
  auto found = kqueue.knotes.find(Key(change.ident, change.filter));
  if (found == kqueue.knotes.end()) return ENOENT;
  Knote& knote = found->second;
  if ((change.flags & kDelete) != 0) {
    Remove(kqueue, knote);
    return 0;
  }
  if (kqueue.behaviour.overwrites_udata) knote.udata = change.udata;
  if ((change.flags & kDisable) != 0) {
    knote.enabled = false;
    Unqueue(kqueue, knote);
  }
  if ((change.flags & kEnable) != 0) {
    knote.enabled = true;
    Queue(kqueue, knote);
  }
  if (change.filter == DoubleFilter::kUser && (change.fflags & kTrigger) != 0) {
    knote.triggered = (change.flags & kClear) == 0;
    if (knote.triggered) {
      Queue(kqueue, knote);
      Nudge(kqueue);
    }
  }
  return 0;
}

// Queues the filters to which something has happened.
void TakeNews(Kqueue& kqueue) {
  std::array<epoll_event, 64> news;
  int count;
  do {
    count = epoll_wait(kqueue.epoll_fd, news.data(),
                       static_cast<int>(news.size()), 0);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = news[static_cast<size_t>(i)];
      if (event.data.fd == kWakeFd) continue;
      auto ident = static_cast<uintptr_t>(event.data.fd);
      for (auto [filter, bits] :
           {std::pair(DoubleFilter::kRead, kReadBits),
            std::pair(DoubleFilter::kWrite, kWriteBits)}) {
        if ((event.events & (bits | kErrorBits)) == 0) continue;
        auto knote = kqueue.knotes.find(Key(ident, filter));
        if (knote != kqueue.knotes.end()) Queue(kqueue, knote->second);
      }
    }
  } while (count == static_cast<int>(news.size()));
}

// Whether the filter is true now; `flags` are those of its event.
bool IsTrue(const Knote& knote, uint16_t* flags) {
  *flags = knote.clear ? kClear : 0;
  if (knote.filter == DoubleFilter::kUser) return knote.triggered;
  if (ErrorLeftOn(knote.fd) != 0) return true;
  bool reads = knote.filter == DoubleFilter::kRead;
  pollfd state = {
      .fd = knote.fd,
      .events = static_cast<int16_t>(reads ? POLLIN | POLLRDHUP : POLLOUT),
      .revents = 0};
  if (poll(&state, 1, 0) <= 0) return false;
  // Linux calls a socket that was never connected hung up. Native filters are
  // silent.
  if ((state.revents & POLLHUP) != 0 && (state.revents & POLLERR) == 0 &&
      IsSocket(knote.fd)) {
    pollfd input = {.fd = knote.fd, .events = POLLRDHUP, .revents = 0};
    if (poll(&input, 1, 0) <= 0 || (input.revents & POLLRDHUP) == 0) {
      return false;
    }
  }
  int ends = reads ? POLLRDHUP | POLLHUP : POLLHUP;
  if ((state.revents & ends) != 0) *flags |= kEof;
  return true;
}

// Writes the events of the filters that are true, each in its turn.
size_t Collect(Kqueue& kqueue, std::span<DoubleEvent> events) {
  size_t count = 0;
  size_t looked_at = 0;
  for (size_t n = kqueue.queue.size(); looked_at < n && count < events.size();
       ++looked_at) {
    Knote& knote = *kqueue.queue[looked_at];
    uint16_t flags;
    knote.queued = false;
    if (!IsTrue(knote, &flags)) continue;
    events[count++] = {.ident = knote.ident,
                       .filter = knote.filter,
                       .flags = flags,
                       .udata = knote.udata};
    if (knote.clear) {
      knote.triggered = false;
    } else {
      Queue(kqueue, knote);
    }
  }
  kqueue.queue.erase(kqueue.queue.begin(),
                     kqueue.queue.begin() + static_cast<ptrdiff_t>(looked_at));
  return count;
}

bool IsValid(const timespec& timeout) {
  return timeout.tv_sec >= 0 && timeout.tv_sec <= kSecondsMax &&
         timeout.tv_nsec >= 0 && timeout.tv_nsec < kNanosecondsPerSecond;
}

int64_t Now() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kNanosecondsPerSecond + now.tv_nsec;
}

// Waits for news without the lock. As ppoll: 0 after `end`, -1 when
// interrupted.
int Sleep(int epoll_fd, const int64_t* end) {
  pollfd epoll = {.fd = epoll_fd, .events = POLLIN, .revents = 0};
  if (end == nullptr) return ppoll(&epoll, 1, nullptr, nullptr);
  int64_t left = std::max(*end - Now(), int64_t{0});
  timespec timeout = {.tv_sec = left / kNanosecondsPerSecond,
                      .tv_nsec = left % kNanosecondsPerSecond};
  return ppoll(&epoll, 1, &timeout, nullptr);
}

}  // namespace

int MakeKqueue(KqueueBehaviour behaviour) {
  auto kqueue = std::make_unique<Kqueue>();
  kqueue->behaviour = behaviour;
  int fd = epoll_create1(0);
  if (fd < 0) return -1;
  kqueue->epoll_fd = fd;
  kqueue->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = kWakeFd}};
  if (kqueue->wake_fd < 0 ||
      epoll_ctl(fd, EPOLL_CTL_ADD, kqueue->wake_fd, &event) < 0) {
    int code = errno;
    if (kqueue->wake_fd >= 0) close(kqueue->wake_fd);
    close(fd);
    return Fail(code);
  }
  [[maybe_unused]] static const int handlers_added =
      pthread_atfork([] { Mutex().lock(); }, [] { Mutex().unlock(); },
                     [] {
                       Kqueues().clear();
                       Mutex().unlock();
                     });
  std::lock_guard<std::mutex> lock(Mutex());
  Kqueues()[fd] = std::move(kqueue);
  return fd;
}

void MayHaveBecomeReady(int fd) {
  std::lock_guard<std::mutex> lock(Mutex());
  auto ident = static_cast<uintptr_t>(fd);
  for (auto& [kqueue_fd, kqueue] : Kqueues()) {
    for (DoubleFilter filter : {DoubleFilter::kRead, DoubleFilter::kWrite}) {
      auto knote = kqueue->knotes.find(Key(ident, filter));
      if (knote == kqueue->knotes.end()) continue;
      Queue(*kqueue, knote->second);
      Nudge(*kqueue);
    }
  }
}

int CallKevent(int kqueue_fd, std::span<const DoubleEvent> changes,
               std::span<DoubleEvent> events, const timespec* timeout) {
  int64_t end = 0;
  if (timeout != nullptr) {
    if (!IsValid(*timeout)) return Fail(EINVAL);
    end = Now() + timeout->tv_sec * kNanosecondsPerSecond + timeout->tv_nsec;
  }
  std::unique_lock<std::mutex> lock(Mutex());
  Kqueue* kqueue = Find(kqueue_fd);
  if (kqueue == nullptr) return Fail(EBADF);
  if (timeout != nullptr && (timeout->tv_sec != 0 || timeout->tv_nsec != 0)) {
    int64_t tick = kqueue->behaviour.tick_nanoseconds;
    end = (end + tick - 1) / tick * tick;
  }
  size_t errors = 0;
  for (const DoubleEvent& change : changes) {
    int code = Apply(*kqueue, change);
    if (code == 0 && (change.flags & kReceipt) == 0) continue;
    if (errors == events.size()) {
      if (code != 0) return Fail(code);
      continue;
    }
    DoubleEvent& event = events[errors++];
    event = change;
    event.flags = kError;
    if (kqueue->behaviour.errors_keep_flags) event.flags |= change.flags;
    event.data = code;
  }
  if (errors != 0) return static_cast<int>(errors);
  if (events.empty()) return 0;
  for (;;) {
    TakeNews(*kqueue);
    size_t count = Collect(*kqueue, events);
    if (count != 0) return static_cast<int>(count);
    if (timeout != nullptr && Now() >= end) return 0;
    lock.unlock();
    int woken = Sleep(kqueue_fd, timeout != nullptr ? &end : nullptr);
    int code = errno;
    lock.lock();
    if (woken < 0) return Fail(code);
    kqueue = Find(kqueue_fd);
    if (kqueue == nullptr) return Fail(EBADF);
  }
}

}  // namespace aios::test

// Sanitizers have a `close` of their own, which wants to hear of the calls.
// NOLINTNEXTLINE(bugprone-reserved-identifier): so they call it.
extern "C" __attribute__((weak)) int __interceptor_close(int fd);

// In place of the C library's, as this is how kqueue learns of it.
extern "C" int close(int fd) {
  using aios::test::DoubleFilter;
  using aios::test::Kqueue;
  using aios::test::Kqueues;
  static auto* const real =
      __interceptor_close != nullptr
          ? &__interceptor_close
          : reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "close"));
  int wake_fd = -1;
  {
    std::lock_guard<std::mutex> lock(aios::test::Mutex());
    for (auto& [kqueue_fd, kqueue] : Kqueues()) {
      for (DoubleFilter filter : {DoubleFilter::kRead, DoubleFilter::kWrite}) {
        auto knote = kqueue->knotes.find(
            aios::test::Key(static_cast<uintptr_t>(fd), filter));
        if (knote != kqueue->knotes.end()) Remove(*kqueue, knote->second);
      }
    }
    aios::test::ForgetSocket(fd);
    if (auto closed = Kqueues().find(fd); closed != Kqueues().end()) {
      wake_fd = closed->second->wake_fd;
      Kqueues().erase(closed);
    }
  }
  if (wake_fd >= 0) real(wake_fd);
  return real(fd);
}
