// The one input operation of a state: from its start to its outcome. What is
// special about reading into the state's own buffer is in `checking.h`, about
// datagrams in `datagrams.h`.

#ifndef AIOS_STATE_INPUT_H_
#define AIOS_STATE_INPUT_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/base/attributes.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "aios/state/channel.h"
#include "aios/state/deadline.h"
#include "aios/state/phases.h"
#include "aios/state/received.h"
#include "aios/ticket_queue.h"

namespace aios {

class Input {
 public:
  // `kNone`: no operation is in progress.
  InputKind kind() const { return kind_; }
  bool in_progress() const { return kind_ != InputKind::kNone; }
  // Of the operation in progress.
  InputPhase phase() const { return phase_; }
  bool waiting() const {
    return in_progress() && phase_ == InputPhase::kWaiting;
  }

  IoStatus status() const { return status_; }
  Error error() const { return Error(error_); }
  void SetStatus(IoStatus status, Error error) {
    status_ = status;
    error_ = error.code();
  }

  // An error of something else that ends the operation; the first one counts.
  void NoteError(Error error) {
    if (error_ == 0) error_ = error.code();
  }

  // The stream has ended or failed for good, or input was shut down: so does
  // each further operation end.
  bool is_over() const { return over_; }
  void SetOver() { over_ = true; }

  Nanoseconds timeout() const { return timeout_; }
  void set_timeout(Nanoseconds timeout) { timeout_ = timeout; }
  Deadline& deadline() { return deadline_; }

  // ---- The callback. It may only be replaced while it does not run where it
  // lies.
  void SetCallback(IoCallback&& callback) { callback_ = std::move(callback); }
  IoCallback TakeCallback() { return std::move(callback_); }
  void DropCallback() { callback_ = nullptr; }
  void CallBackInPlace(AsyncIoState& state, const IoResult& result) {
    callback_(state, result);
  }

  // ---- Starting. The callback is in place.

  void Begin(EventLoop& loop, Channel& channel, InputKind kind) {
    kind_ = kind;
    phase_ = InputPhase::kWaiting;
    done_ = 0;
    truncated_ = false;
    status_ = IoStatus::kOk;
    if (!over_) error_ = 0;
    deadline_.Arm(loop, channel, timeout_);
  }
  // The caller's buffer, for the operations that have one.
  void SetBuffer(std::span<char> buffer) {
    data_ = buffer.data();
    size_ = buffer.size();
  }
  std::span<char> buffer() const { return {data_, size_}; }
  bool needs_address() const { return needs_address_; }
  void set_needs_address(bool needs) { needs_address_ = needs; }
  // Whether the receive was started by the callback of the one before.
  bool asks_again() const { return asks_again_; }
  void set_asks_again(bool asks_again) { asks_again_ = asks_again; }

  // Waits for input, unless there will be none.
  void Await(EventLoop& loop, Channel& channel) {
    if (over_) [[unlikely]] {
      Complete(loop, channel, OverStatus());
      return;
    }
    channel.Want(loop, kReadable, true);
  }
  void UpdateInterest(EventLoop& loop, Channel& channel) {
    channel.Want(loop, kReadable, waiting() && !over_);
  }

  // ---- Progress. What returns a bool says whether the operation has ended
  // now: its outcome is noted, and `Queue` or the callback come next.

  // Fills the caller's buffer, as far as one turn may.
  bool Fill(EventLoop& loop, Channel& channel);
  // The same from what was received before.
  bool FillFrom(Received& received);
  // Takes what one receive gives.
  bool ReceiveOnce(EventLoop& loop, Channel& channel);
  // Finds out whether there is input.
  bool Look(EventLoop& loop, Channel& channel);
  size_t done() const { return done_; }

  // A datagram is in the caller's buffer.
  void SetReceived(size_t size, bool truncated) {
    done_ = size;
    truncated_ = truncated;
  }

  bool End(IoStatus status, Error error = Error()) {
    phase_ = InputPhase::kEnded;
    SetStatus(status, error);
    return true;
  }
  // The status is that of the start.
  bool EndWell() {
    phase_ = InputPhase::kEnded;
    return true;
  }
  // A stream gave nothing, and `error` or the end as the reason.
  bool EndStream(Error error) {
    if (IsPassing(error)) return false;
    over_ = true;
    return End(error.ok() ? IoStatus::kEof : IoStatus::kError, error);
  }
  // A datagram socket gave nothing, and `error` as the reason.
  bool EndDatagram(Error error) {
    return !IsPassing(error) && End(IoStatus::kError, error);
  }
  // What those that find the stream over end with.
  IoStatus OverStatus() const {
    return error_ == 0 ? IoStatus::kEof : IoStatus::kError;
  }

  // Its callback comes in the completion phase.
  void Queue(EventLoop& loop, Channel& channel);
  void Complete(EventLoop& loop, Channel& channel, IoStatus status,
                Error error = Error());

  // ---- One that calls back again and again.

  // Called back, it goes on.
  void GoOn() { phase_ = InputPhase::kWaiting; }
  void Pause(EventLoop& loop, Channel& channel);
  bool paused() const { return in_progress() && phase_ == InputPhase::kPaused; }
  // Waits anew, with its idle timeout.
  void Restart(EventLoop& loop, Channel& channel) {
    phase_ = InputPhase::kWaiting;
    deadline_.Arm(loop, channel, timeout_);
    Await(loop, channel);
  }
  void PutOffDeadline(EventLoop& loop, Channel& channel) {
    deadline_.PutOff(loop, channel, timeout_);
  }
  bool has_timeout() const { return timeout_ != kForever || deadline_.armed(); }

  // ---- The end.

  // What the callback is told; without the sender of a datagram.
  IoResult Result(const Received& received) const;

  // Nothing is in progress any more: what follows is the last callback, or
  // none.
  void Over(EventLoop& loop, Channel& channel, OperationObserver::End end,
            const IoResult& result) {
    kind_ = InputKind::kNone;
    deadline_.Disarm(loop);
    UpdateInterest(loop, channel);
    if (OperationObserver* observer = loop.observer()) [[unlikely]] {
      observer->OnEnd(this, end, result);
    }
  }
  // The same for what most often is started again by its own callback: so the
  // interest in input is looked at after that.
  void OverForNow(EventLoop& loop, const IoResult& result) {
    kind_ = InputKind::kNone;
    deadline_.Disarm(loop);
    if (OperationObserver* observer = loop.observer()) [[unlikely]] {
      observer->OnEnd(this, OperationObserver::End::kCallback, result);
    }
  }
  // Its callback is on the way, and is not any more.
  void Unqueue() { ticket_ = kNoTicket; }
  void CancelQueued(EventLoop& loop) {
    if (ticket_ != kNoTicket) {
      loop.CancelCompletion(std::exchange(ticket_, kNoTicket));
    }
  }
  // Ends it for `Abort`: puts its callback into `callback`, and returns what
  // that would have been told had it just succeeded.
  IoResult Interrupt(EventLoop& loop, Channel& channel,
                     const Received& received, IoCallback* callback);
  // Ends it for `Close`, without a word to the kernel. The callback stays.
  void Close(EventLoop& loop) {
    deadline_.Disarm(loop);
    CancelQueued(loop);
    kind_ = InputKind::kNone;
  }

 private:
  // Set from the start of an operation until it is called.
  IoCallback callback_;
  // The caller's buffer, and what is in it already.
  char* data_ = nullptr;
  size_t size_ = 0;
  size_t done_ = 0;
  Nanoseconds timeout_ = kForever;
  [[no_unique_address]] Deadline deadline_;
  // Set while its callback waits to be called.
  Ticket ticket_ = kNoTicket;
  int error_ = 0;
  InputKind kind_ = InputKind::kNone;
  InputPhase phase_ = InputPhase::kWaiting;
  IoStatus status_ = IoStatus::kOk;
  bool over_ : 1 = false;
  bool truncated_ : 1 = false;
  bool needs_address_ : 1 = false;
  bool asks_again_ : 1 = false;
};

inline IoResult Input::Result(const Received& received) const {
  IoResult result;
  result.status = status_;
  if (status_ == IoStatus::kError) result.error = Error(error_);
  switch (kind_) {
    case InputKind::kReadWithChecking:
      result.data = received.view();
      result.count = result.data.size();
      break;
    case InputKind::kReceiveMessage:
      result.truncated = truncated_;
      [[fallthrough]];
    case InputKind::kReadBuffer:
      result.count = done_;
      result.data = {data_, done_};
      break;
    case InputKind::kReceiveMessages:
    case InputKind::kWaitForInput:
    case InputKind::kNone:
      break;
  }
  return result;
}

}  // namespace aios

#endif  // AIOS_STATE_INPUT_H_
