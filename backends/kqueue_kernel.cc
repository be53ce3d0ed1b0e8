#include "backends/kqueue_kernel.h"

// The order is that of the systems' manuals: older headers do not include what
// they need.
// clang-format off
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
// clang-format on
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/kqueue_filters.h"

// A wake is an event of its own kind where the headers know that, and a byte in
// a pipe where not.
#if defined(EVFILT_USER) && defined(NOTE_TRIGGER)
#define AIOS_HAS_USER_FILTER 1
#else
#define AIOS_HAS_USER_FILTER 0
#endif

namespace aios {

namespace {

using Event = struct kevent;
using Udata = decltype(Event::udata);

// Events taken by one call; their array is on the stack. What does not fit is
// reported by the next call, as kqueue puts what it has reported behind the
// rest.
constexpr size_t kEventsMax = 256;

constexpr timespec kNoTime = {};

// A pointer nearly everywhere, an integer of its size in NetBSD before version
// 10.
Udata ToUdata(void* token) { return std::bit_cast<Udata>(token); }
void* FromUdata(Udata udata) { return std::bit_cast<void*>(udata); }

// By name and through the macro: order, number and types of the members differ,
// and so do the values of the constants. The token is in every change, also
// where it says nothing new: some systems store it with each, a null included.
Event MakeEvent(Handle ident, decltype(Event::filter) filter,
                decltype(Event::flags) flags, decltype(Event::fflags) fflags,
                void* token) {
  Event event = {};
  EV_SET(&event, static_cast<uintptr_t>(ident), filter, flags, fflags, 0,
         ToUdata(token));
  return event;
}

Event MakeEvent(Handle handle, const KqueueChange& change, void* token) {
  // Always with the same flags, for what was added with others keeps them.
  return MakeEvent(
      handle, change.filter == KqueueFilter::kRead ? EVFILT_READ : EVFILT_WRITE,
      change.add ? EV_ADD : EV_DELETE, 0, token);
}

// One call with both lists; NetBSD counts them in size_t, the others in int.
int Kevent(int kqueue_fd, std::span<const Event> changes,
           std::span<Event> events, const timespec* timeout) {
  return kevent(kqueue_fd, changes.data(), static_cast<int>(changes.size()),
                events.data(), static_cast<int>(events.size()), timeout);
}

int WaitForEvents(int kqueue_fd, std::span<const Event> changes,
                  std::span<Event> events, Nanoseconds timeout) {
  if (timeout == kForever) return Kevent(kqueue_fd, changes, events, nullptr);
  KqueueTimeout native = ToKqueueTimeout(timeout);
  timespec duration = {};
  duration.tv_sec = static_cast<decltype(duration.tv_sec)>(native.seconds);
  duration.tv_nsec =
      static_cast<decltype(duration.tv_nsec)>(native.nanoseconds);
  return Kevent(kqueue_fd, changes, events, &duration);
}

// Not inherited by child processes. No header tells whether the system could
// make it so at once.
Error SetCloseOnExec(int fd) {
  return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? Error(errno) : Error();
}

// The part of a poller that other threads reach. The event of a wake carries
// the token given to `Register`.
#if AIOS_HAS_USER_FILTER

class Waker {
 public:
  Error Register(int kqueue_fd, void* token) {
    kqueue_fd_ = kqueue_fd;
    token_ = token;
    // The event is over with being reported. In a call of its own: to add and
    // to trigger in one works on some systems only.
    Event event = MakeEvent(0, EVFILT_USER, EV_ADD | EV_CLEAR, 0, token);
    return Kevent(kqueue_fd, {&event, 1}, {}, &kNoTime) < 0 ? Error(errno)
                                                            : Error();
  }

  void Trigger() {
    // Not EV_CLEAR again: most systems would clear the event at once.
    Event event = MakeEvent(0, EVFILT_USER, 0, NOTE_TRIGGER, token_);
    while (Kevent(kqueue_fd_, {&event, 1}, {}, &kNoTime) < 0 &&
           errno == EINTR) {
    }
  }

  void Consume() {}

 private:
  int kqueue_fd_ = -1;
  void* token_ = nullptr;
};

#else

class Waker {
 public:
  ~Waker() {
    for (int fd : pipe_) {
      if (fd >= 0) close(fd);
    }
  }

  Error Register(int kqueue_fd, void* token) {
    if (pipe(pipe_.data()) < 0) {
      pipe_ = {-1, -1};
      return Error(errno);
    }
    for (int fd : pipe_) {
      if (Error error = SetCloseOnExec(fd); !error.ok()) return error;
      if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) return Error(errno);
    }
    Event event = MakeEvent(pipe_[0], EVFILT_READ, EV_ADD, 0, token);
    return Kevent(kqueue_fd, {&event, 1}, {}, &kNoTime) < 0 ? Error(errno)
                                                            : Error();
  }

  void Trigger() {
    // A pipe that is full has bytes to wake by.
    char byte = 0;
    while (write(pipe_[1], &byte, 1) < 0 && errno == EINTR) {
    }
  }

  // Many wakes are one.
  void Consume() {
    std::array<char, 256> bytes;
    ssize_t count;
    do {
      count = read(pipe_[0], bytes.data(), bytes.size());
    } while (count > 0 || (count < 0 && errno == EINTR));
  }

 private:
  std::array<int, 2> pipe_ = {-1, -1};
};

#endif

}  // namespace

class KqueueKernel::KqueuePoller final : public Poller {
 public:
  KqueuePoller(KqueueKernel& kernel, int fd) : kernel_(kernel), fd_(fd) {
    std::lock_guard<std::mutex> lock(kernel_.mutex_);
    kernel_.pollers_.insert(this);
  }
  ~KqueuePoller() override {
    {
      std::lock_guard<std::mutex> lock(kernel_.mutex_);
      kernel_.pollers_.erase(this);
    }
    close(fd_);
  }

  int fd() const { return fd_; }
  Waker& waker() { return waker_; }

  // Changes to tell with the next wait, in order; the last of a handle and
  // filter counts. Guarded by the kernel's mutex, as others may close the
  // handles.
  std::vector<Event>& changes() { return changes_; }
  // Whether to look at them, and so to lock, at all. Belongs to the thread of
  // the poller.
  bool has_changes() const { return has_changes_; }
  void set_has_changes(bool has) { has_changes_ = has; }
  // Those that a wait is busy with. Belongs to it alone, and is empty in
  // between; a member for the sake of its memory.
  std::vector<Event>& telling() { return telling_; }

 private:
  KqueueKernel& kernel_;
  const int fd_;
  Waker waker_;
  std::vector<Event> changes_;
  std::vector<Event> telling_;
  bool has_changes_ = false;
};

Error KqueueKernel::NewPoller(std::unique_ptr<Poller>* poller) {
  int fd = kqueue();
  if (fd < 0) return Error(errno);
  auto own = std::make_unique<KqueuePoller>(*this, fd);
  if (Error error = SetCloseOnExec(fd); !error.ok()) return error;
  if (Error error = own->waker().Register(fd, own.get()); !error.ok()) {
    return error;
  }
  *poller = std::move(own);
  return Error();
}

Error KqueueKernel::SetInterest(Poller& poller, Handle handle, void* token,
                                Readiness from, Readiness to) {
  auto& own = static_cast<KqueuePoller&>(poller);
  own.set_has_changes(true);
  std::lock_guard<std::mutex> lock(mutex_);
  for (const KqueueChange& change : KqueueChanges(from, to)) {
    own.changes().push_back(MakeEvent(handle, change, token));
  }
  return Error();
}

void KqueueKernel::Close(Handle handle) {
  {
    // The system forgets the filters of a handle that is closed. Changes that
    // it has yet to hear of would reach the next socket of this number.
    std::lock_guard<std::mutex> lock(mutex_);
    for (KqueuePoller* poller : pollers_) {
      std::erase_if(poller->changes(), [handle](const Event& change) {
        return change.ident == static_cast<uintptr_t>(handle);
      });
    }
  }
  PosixKernel::Close(handle);
}

size_t KqueueKernel::Wait(Poller& poller, std::span<Report> reports,
                          Nanoseconds timeout) {
  auto& own = static_cast<KqueuePoller&>(poller);
  std::vector<Event>& telling = own.telling();
  if (own.has_changes()) {
    own.set_has_changes(false);
    std::lock_guard<std::mutex> lock(mutex_);
    telling.swap(own.changes());
  }
  size_t told = 0;
  size_t count = 0;
  bool woken = false;
  std::array<Event, kEventsMax> events;
  bool again = true;
  while (again && count < reports.size()) {
    // No more changes in a call than there is room for their errors: at one
    // that does not fit the system stops and leaves out the rest. So a long
    // list goes in parts, of which the last one waits.
    size_t room = std::min(reports.size() - count, events.size());
    size_t part = std::min(telling.size() - told, room);
    bool last = told + part == telling.size();
    bool sleep = last && count == 0 && !woken;
    int found = WaitForEvents(
        own.fd(), std::span<const Event>(telling).subspan(told, part),
        std::span(events).first(room), sleep ? timeout : 0);
    // Interrupted: an early return without reports. The changes may have been
    // made or not, and are told again.
    if (found < 0) break;
    told += part;
    again = !last;
    for (const Event& event :
         std::span(events).first(static_cast<size_t>(found))) {
      void* token = FromUdata(event.udata);
      // Systems may or may not keep other flags beside it.
      if ((event.flags & EV_ERROR) != 0) {
        // No events come with errors, and no sleep: that is still to be done.
        again = true;
        // By the whole list, for what comes later overrides this change.
        auto change = std::find_if(
            telling.rbegin(), telling.rend(),
            [&](const Event& other) { return other.ident == event.ident; });
        if (change == telling.rend() ||
            !IsRefusal(event.data, (change->flags & EV_ADD) != 0)) {
          continue;
        }
        void* wanting = FromUdata(change->udata);
        reports[count++] = {.token = wanting,
                            .error = Error(static_cast<int>(event.data))};
        // Both directions go, not only the one that was refused; and with that
        // a refusal of the other is not reported as well.
        for (const KqueueChange& undo :
             KqueueChanges(kReadable | kWritable, kNotReady)) {
          telling.push_back(
              MakeEvent(static_cast<Handle>(event.ident), undo, wanting));
        }
      } else if (token == &own) {
        own.waker().Consume();
        woken = true;
        // It may have taken the only place, perhaps from a report.
        if (room == 1) again = true;
      } else if (last) {
        reports[count++] = {.token = token,
                            .ready = ToReadiness(event.filter == EVFILT_READ
                                                     ? KqueueFilter::kRead
                                                     : KqueueFilter::kWrite)};
      }
      // Else an event before all changes were told: it comes again.
    }
  }
  if (told < telling.size()) {
    own.set_has_changes(true);
    std::lock_guard<std::mutex> lock(mutex_);
    own.changes().insert(own.changes().begin(),
                         telling.begin() + static_cast<ptrdiff_t>(told),
                         telling.end());
  }
  telling.clear();
  return count;
}

void KqueueKernel::Wake(Poller& poller) {
  static_cast<KqueuePoller&>(poller).waker().Trigger();
}

}  // namespace aios
