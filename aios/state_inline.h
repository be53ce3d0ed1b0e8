// The small members of `AsyncIoState` that every message goes through.

#ifndef AIOS_STATE_INLINE_H_
#define AIOS_STATE_INLINE_H_

#include "aios/async_io_state.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/output_queue.h"
#include "aios/state_extras.h"

namespace aios {

inline bool AsyncIoState::MayStart(const IoCallback& callback) const {
  return !(closed_ | connecting_ | unconnected_) && callback;
}

inline void AsyncIoState::UpdateInterest(EventLoop& loop) {
  Readiness wanted = kNotReady;
  if (input_kind_ != InputKind::kNone && !input_ended_) wanted |= kReadable;
  if (output_blocked_ || connecting_) wanted |= kWritable;
  loop.Want(*this, wanted);
}

inline void AsyncIoState::SetDeadline(EventLoop& loop, DueDeadline which,
                                      Nanoseconds timeout) {
  // No timeout gives no deadline: the time is greater than zero.
  Nanoseconds deadline = DeadlineAfter(loop.Now(), timeout);
  if (deadline == kForever) {
    ClearDeadline(loop, which);
    return;
  }
  Nanoseconds& place =
      which == kReadDeadline ? read_deadline_ : write_deadline_;
  if (place == kForever) loop.CountDeadlines(1);
  place = deadline;
  (which == kReadDeadline ? read_order_ : write_order_) =
      loop.NextDeadlineOrder();
  loop.ScheduleTimer(*this, deadline);
}

inline void AsyncIoState::ClearDeadline(EventLoop& loop, DueDeadline which) {
  Nanoseconds& deadline =
      which == kReadDeadline ? read_deadline_ : write_deadline_;
  if (deadline == kForever) return;
  deadline = kForever;
  loop.CountDeadlines(-1);
}

// The operation has ended: what follows is its last callback, or none.
inline void AsyncIoState::InputIsOver(OperationObserver::End end,
                                      IoStatus status, size_t count) {
  EventLoop& loop = *this->loop();
  input_kind_ = InputKind::kNone;
  ClearDeadline(loop, kReadDeadline);
  UpdateInterest(loop);
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(this, end, status, count);
  }
}

inline OutputOperation* AsyncIoState::PopOutput() {
  OutputOperation* operation = output_first_;
  output_first_ = operation->next;
  if (output_first_ == nullptr) output_last_ = nullptr;
  output_bytes_ -= operation->size;
  --output_length_;
  return operation;
}

inline bool AsyncIoState::HasOutputToSend() const {
  return output_active_ != nullptr && !output_blocked_;
}

inline void AsyncIoState::ApplyEndingsOfCallback() {
  if (extras_ != nullptr && !extras_->endings_to_apply.empty() && !closed_)
      [[unlikely]] {
    ApplyEndings();
  }
}

// What the callback has started is neither sent nor ended before it returns.
inline void AsyncIoState::AfterCallback(EventLoop& loop) {
  ApplyEndingsOfCallback();
  if (HasOutputToSend()) loop.FlushLater(*this);
}

}  // namespace aios

#endif  // AIOS_STATE_INLINE_H_
