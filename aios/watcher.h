// What an event loop serves: a socket, its readiness and its timer.

#ifndef AIOS_WATCHER_H_
#define AIOS_WATCHER_H_

#include <cstdint>

#include "aios/kernel.h"
#include "aios/ticket_queue.h"
#include "aios/timer_wheel.h"

namespace aios {

class EventLoop;

// The base of states and accepting-handles. The event loop calls it in its
// turns, never within a callback of the user.
class Watcher : private TimerEntry {
 public:
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

 protected:
  Watcher() = default;
  // The subclass has removed itself from its loop.
  virtual ~Watcher();

  // The handle is ready in directions that are wanted. A hint.
  virtual void OnReady(Readiness ready) = 0;

  // The kernel cannot watch the handle.
  virtual void OnWatchFailed(Error error) = 0;

  // The timer has expired. Calls `EventLoop::Due` for every deadline that has
  // passed and returns the earliest one that has not, `kForever` for none.
  virtual Nanoseconds OnTimer(Nanoseconds now) = 0;

  // The turn of a deadline that `OnTimer` found due.
  virtual void OnDue(uint8_t which) = 0;

  // Sends what was queued since the last flush.
  virtual void OnFlush() = 0;

  // The collection closes: end silently.
  virtual void OnCollectionClose() = 0;

  Handle handle() const { return handle_; }
  // Null before it was added to a loop and after it was removed (a little
  // later, when it was removed inside its own callback).
  EventLoop* loop() const { return loop_; }

 private:
  friend class EventLoop;

  EventLoop* loop_ = nullptr;
  // The loop's list of watchers, oldest first.
  Watcher* previous_ = nullptr;
  Watcher* next_ = nullptr;
  Handle handle_ = kNoHandle;
  // Not `kNoTicket` while in the loop's queue of the same name.
  Ticket interest_ticket_ = kNoTicket;
  Ticket flush_ticket_ = kNoTicket;
  // The directions to be told about, and those the kernel was asked for.
  Readiness wanted_ = kNotReady;
  Readiness applied_ = kNotReady;
  // The kernel keeps reporting input that nobody wants: ask it to stop.
  bool input_unwanted_ = false;
  // One of aios' own: not counted among the states and accepting-handles.
  bool internal_ = false;
  // Removed from the loop inside its own callback, which is still running.
  bool removed_ = false;
  // See `EventLoop::NothingBehindReport`.
  bool resting_ = false;
  uint8_t empty_reports_ = 0;
  uint8_t last_empty_turn_ = 0;
};

}  // namespace aios

#endif  // AIOS_WATCHER_H_
