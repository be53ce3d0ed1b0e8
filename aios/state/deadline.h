// When an operation times out.

#ifndef AIOS_STATE_DEADLINE_H_
#define AIOS_STATE_DEADLINE_H_

#include <cstdint>

#include "absl/base/attributes.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/watcher.h"

namespace aios {

// One direction of a state has at most one. The state's timer is set to the
// earlier one of both, or to an earlier time still.
class Deadline {
 public:
  bool armed() const { return at_ != kForever; }
  Nanoseconds at() const { return at_; }
  // Deadlines that are equal fire in this order.
  uint32_t order() const { return order_; }

  // Without a timeout there is none.
  void Arm(EventLoop& loop, Watcher& watcher, Nanoseconds timeout) {
    if (Set(loop, watcher, timeout)) order_ = loop.NextDeadlineOrder();
  }

  // Takes its place among equal ones for `ArmInPlace`, which may come later.
  void TakePlace(EventLoop& loop) { order_ = loop.NextDeadlineOrder(); }
  void ArmInPlace(EventLoop& loop, Watcher& watcher, Nanoseconds timeout) {
    Set(loop, watcher, timeout);
  }

  // `Arm`, in a turn, for an operation that goes on: mostly it was armed before
  // and moves to a later time, which the timer finds when it expires.
  void PutOff(EventLoop& loop, Watcher& watcher, Nanoseconds timeout) {
    Nanoseconds at = DeadlineAfter(loop.turn_time(), timeout);
    if (at < at_ || at == kForever) [[unlikely]] {
      Rearm(loop, watcher, timeout);
      return;
    }
    at_ = at;
    order_ = loop.NextDeadlineOrder();
  }

  void Disarm(EventLoop& loop) {
    if (at_ == kForever) return;
    at_ = kForever;
    loop.CountDeadlines(-1);
  }

 private:
  bool Set(EventLoop& loop, Watcher& watcher, Nanoseconds timeout) {
    Nanoseconds at = DeadlineAfter(loop.Now(), timeout);
    if (at == kForever) {
      Disarm(loop);
      return false;
    }
    if (at_ == kForever) loop.CountDeadlines(1);
    at_ = at;
    loop.ScheduleTimer(watcher, at);
    return true;
  }
  // Keeps the rare step out of the way of those that go on.
  ABSL_ATTRIBUTE_NOINLINE void Rearm(EventLoop& loop, Watcher& watcher,
                                     Nanoseconds timeout) {
    Arm(loop, watcher, timeout);
  }

  Nanoseconds at_ = kForever;
  uint32_t order_ = 0;
};

}  // namespace aios

#endif  // AIOS_STATE_DEADLINE_H_
