// The small members of `AsyncIoState` that every message goes through.

#ifndef AIOS_STATE_INLINE_H_
#define AIOS_STATE_INLINE_H_

#include <cerrno>
#include <cstddef>
#include <span>
#include <utility>

#include "absl/base/attributes.h"
#include "aios/async_io_state.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/operation_observer.h"
#include "aios/output_queue.h"
#include "aios/reply_batch.h"
#include "aios/state_extras.h"

namespace aios {

inline bool AsyncIoState::MayStart(const IoCallback& callback) const {
  return !(closed_ | connecting_ | unconnected_) && callback;
}

inline void AsyncIoState::UpdateInterest(EventLoop& loop) {
  Readiness wanted = kNotReady;
  if (input_kind_ != InputKind::kNone && !(input_ended_ | input_broken_)) {
    wanted |= kReadable;
  }
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
                                      const IoResult& result) {
  EventLoop& loop = *this->loop();
  input_kind_ = InputKind::kNone;
  input_paused_ = false;
  ClearDeadline(loop, kReadDeadline);
  UpdateInterest(loop);
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(this, end, result);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::WaitForReadable(
    EventLoop& loop) {
  if (input_broken_) [[unlikely]] {
    CompleteInput(BrokenInputStatus(), Error(read_error_));
    return;
  }
  // kqueue is silent about a stream without a peer, and the operation would
  // never end.
  if (extras_ != nullptr && extras_->was_unconnected) [[unlikely]] {
    if (Input(loop)) QueueInput(loop);
  }
  UpdateInterest(loop);
}

// `SetDeadline` for an operation that goes on: mostly its deadline was set
// before and moves to a later time, which the timer finds when it expires.
inline void AsyncIoState::PutOffReadDeadline(EventLoop& loop) {
  Nanoseconds deadline = DeadlineAfter(loop.turn_time(), read_timeout_);
  if (deadline < read_deadline_ || deadline == kForever) [[unlikely]] {
    ResetReadDeadline(loop);
    return;
  }
  read_deadline_ = deadline;
  read_order_ = loop.NextDeadlineOrder();
}

// Calls the callback of a `ReadWithChecking` or `ReceiveMessages` where it
// lies, which saves moving it away and back for every message: so meanwhile
// neither it may be replaced nor this object go. Returns false when the
// operation is over with it, for `EndChecking`.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::CallBackWhereItLies(
    EventLoop& loop, const IoResult& result) {
  finished_ = false;
  may_discard_ = true;
  may_reply_ = true;
  input_callback_runs_ = true;
  if (observed_) [[unlikely]] {
    TellCallback(result);
  }
  loop.BeginCallback(*this);
  input_callback_(*this, result);
  input_callback_runs_ = false;
  may_reply_ = false;
  may_discard_ = false;
  return !(finished_ || closed_);
}

// The callback of a `ReadWithChecking` has returned, and wants more.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::ContinueChecking(
    EventLoop& loop) {
  PutOffReadDeadline(loop);
  size_t size = input_buffer_->size();
  if (size == 0) [[likely]] {
    loop.input_buffers().Give(input_buffer_);
  } else {
    input_buffer_->old_length = size;
    if (!input_broken_ && size >= loop.limits().input_buffer_bytes_max)
        [[unlikely]] {
      CompleteInput(IoStatus::kError, Error(EMSGSIZE));
      return;
    }
  }
  // A broken stream is in nobody's interest.
  if (!EventLoop::Wants(*this, kReadable)) [[unlikely]] {
    WaitForReadableAgain(loop);
  }
}

inline IoResult AsyncIoState::InputResult() const {
  IoResult result;
  result.status = read_status_;
  if (read_status_ == IoStatus::kError) result.error = Error(read_error_);
  switch (input_kind_) {
    case InputKind::kReadWithChecking:
      if (input_buffer_ != nullptr) result.data = input_buffer_->view();
      result.count = result.data.size();
      break;
    case InputKind::kReceiveMessage:
      if (needs_address_ && read_status_ == IoStatus::kOk) {
        result.sender = &extras_->sender;
      }
      result.truncated = input_truncated_;
      [[fallthrough]];
    case InputKind::kReadBuffer:
      result.count = input_done_;
      result.data = {input_data_, input_done_};
      break;
    case InputKind::kReceiveMessages:
    case InputKind::kWaitForInput:
    case InputKind::kNone:
      break;
  }
  return result;
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

// What the callback has answered so far leaves in one send.
inline void AsyncIoState::SendReplies(EventLoop& loop) {
  ReplyBatch& replies = loop.replies();
  Transfer sent;
  if (output_active_ == nullptr &&
      replies.bytes() <= loop.limits().bytes_per_turn_max) [[likely]] {
    sent = loop.kernel().Send(Watcher::handle(), replies.buffers());
    if (sent.count == replies.bytes()) [[likely]] {
      replies.Clear();
      write_status_ = IoStatus::kOk;
      write_error_ = 0;
      return;
    }
  }
  QueueReplies(loop, sent);
}

// Where a reply to the datagram goes that the callback was given last: null for
// the peer.
inline const SocketAddress* AsyncIoState::ReplyTarget(EventLoop& loop) const {
  return udp_ == Udp::kUnconnected ? &loop.datagram_batch_in_use().last().sender
                                   : nullptr;
}

// Until the callbacks have returned that follow one another. Returns false when
// there is no room.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::HoldReply(
    EventLoop& loop, std::string_view data) {
  DatagramReplies& replies = loop.datagram_replies();
  DatagramBatch& batch = loop.datagram_batch_in_use();
  if (replies.full() || data.size() > DatagramReplies::kSizeMax ||
      !batch.Keep(&data)) [[unlikely]] {
    return false;
  }
  replies.Add({{data.data(), data.size()}, ReplyTarget(loop)});
  return true;
}

// The same to datagrams that callbacks have been given, one after the other.
inline void AsyncIoState::SendDatagramReplies(EventLoop& loop) {
  DatagramReplies& replies = loop.datagram_replies();
  write_status_ = IoStatus::kOk;
  write_error_ = 0;
  Transfer sent =
      loop.kernel().SendDatagrams(Watcher::handle(), replies.datagrams());
  if (sent.count != replies.length()) [[unlikely]] {
    SendRestOfReplies(loop, sent);
  }
  replies.Clear();
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

// `Invoke` for a callback that may look at the input buffer and discard, when
// there is nothing that `Finish` would have to end.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::InvokeWithBuffer(
    IoCallback& callback, std::span<IoCallback> unused,
    const IoResult& result) noexcept {
  EventLoop& loop = *this->loop();
  may_discard_ = true;
  finished_ = true;
  loop.BeginCallback(*this);
  callback(*this, result);
  if (loop.InCallbackOf(*this)) {
    may_discard_ = false;
    ReleaseInputBuffer();
  }
  callback = nullptr;
  for (IoCallback& one : unused) one = nullptr;
  if (loop.EndCallback()) AfterCallback(loop);
}

}  // namespace aios

#endif  // AIOS_STATE_INLINE_H_
