// The output operations of a state: their queue, and sending what is in it.

#ifndef AIOS_STATE_OUTPUT_H_
#define AIOS_STATE_OUTPUT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/base/attributes.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "aios/state/channel.h"
#include "aios/state/deadline.h"
#include "aios/state/output_operation.h"
#include "aios/state/phases.h"
#include "aios/wait_state_collection.h"

namespace aios {

// A list from the oldest operation whose callback has not been called to the
// newest. Those before the active one have ended.
class Output {
 public:
  bool empty() const { return first_ == nullptr; }
  // The oldest one.
  const OutputOperation* first() const { return first_; }
  // The one whose turn it is; null when all have ended.
  const OutputOperation* active() const { return active_; }
  // Bytes and operations, those included whose callback has yet to run.
  size_t bytes() const { return bytes_; }
  size_t length() const { return length_; }
  // Whether there is one of `kind`.
  bool Has(OutputKind kind) const;

  // Whether the stream has failed for good, as `status` and `error` say.
  bool is_broken() const { return phase_ == OutputPhase::kBroken; }
  bool is_blocked() const { return phase_ == OutputPhase::kBlocked; }
  // There is something, and nothing says that it cannot be sent.
  bool may_send() const { return active_ != nullptr && !is_blocked(); }

  IoStatus status() const { return status_; }
  Error error() const { return Error(error_); }
  void SetStatus(IoStatus status, Error error) {
    status_ = status;
    error_ = error.code();
  }

  Nanoseconds timeout() const { return timeout_; }
  void set_timeout(Nanoseconds timeout) { timeout_ = timeout; }
  Deadline& deadline() { return deadline_; }

  // Whether operations may wait behind the one in progress.
  bool may_wait() const { return may_wait_; }
  void set_may_wait() { may_wait_ = true; }
  // Whether `size` bytes more may wait: the limits are for what does so behind
  // the operation in progress.
  bool HasRoom(const Limits& limits, size_t size) const {
    return first_ == nullptr || (may_wait_ && HasRoomBehindFirst(limits, size));
  }
  bool HasRoomBehindFirst(const Limits& limits, size_t size) const;

  // ---- Starting.

  // One from the pool, with what all of them have.
  ABSL_ATTRIBUTE_ALWAYS_INLINE static OutputOperation& New(
      EventLoop& loop, Channel& channel, OutputKind kind, std::string_view data,
      IoCallback& callback) {
    OutputOperation& operation = *loop.output_operations().Take();
    operation.next = nullptr;
    operation.channel = &channel;
    operation.data = data.data();
    operation.size = data.size();
    operation.done = 0;
    operation.timeout = OutputOperation::kNotGiven;
    operation.callback.emplace(std::move(callback));
    operation.kind = kind;
    operation.ticket = kNoTicket;
    return operation;
  }

  // `operation` has nothing before it, and the stream is not broken.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void AddFirst(EventLoop& loop, Channel& channel,
                                             OutputOperation& operation) {
    first_ = &operation;
    last_ = &operation;
    bytes_ = operation.size;
    length_ = 1;
    active_ = &operation;
    ActivateFirst(loop);
    if (loop.observer() != nullptr) [[unlikely]] {
      TellStart(loop, channel, operation, /*queued=*/false);
    }
    // Started by a callback it is most likely sent before the time moves on,
    // and needs no deadline: see `Send`.
    if (!loop.in_call()) [[unlikely]] {
      ArmDeadline(loop, channel);
    }
    channel.SendSoon(loop);
  }
  // It may have others before it.
  void Add(EventLoop& loop, Channel& channel, OutputOperation& operation);

  // Unless the operation in progress has a deadline already. Among equal ones
  // its place is that of its turn, not of this call, which may come later.
  void ArmDeadline(EventLoop& loop, Channel& channel) {
    if (deadline_.armed()) return;
    deadline_.ArmInPlace(loop, channel, active_->timeout);
  }

  // ---- Sending; there is something to send.

  // Sends as much as one turn may. Returns the operation that is over with it
  // and whose callback is to be called now; null when there is none, or others
  // come first.
  ABSL_ATTRIBUTE_ALWAYS_INLINE OutputOperation* Flush(EventLoop& loop,
                                                      Channel& channel) {
    OutputOperation& operation = *active_;
    // Most flushes are one write, and the kernel takes it all.
    if (operation.next != nullptr || operation.done != 0 ||
        operation.lookup != nullptr ||
        operation.size > loop.limits().bytes_per_turn_max) [[unlikely]] {
      Send(loop, channel);
      return nullptr;
    }
    if (channel.is_stream()) [[likely]] {
      ConstBuffer buffer{operation.data, operation.size};
      Transfer transfer = channel.Send(loop, {&buffer, 1});
      if (transfer.count != operation.size) [[unlikely]] {
        SentPart(loop, channel, transfer);
        return nullptr;
      }
    } else {
      OutgoingDatagram datagram = DatagramOf(channel, operation);
      Transfer transfer = channel.SendDatagrams(loop, {&datagram, 1});
      if (transfer.count == 0) [[unlikely]] {
        SentNone(loop, channel, transfer);
        return nullptr;
      }
    }
    operation.done = operation.size;
    if (&operation != first_ || !loop.MayCallBack()) [[unlikely]] {
      EndActive(loop, IoStatus::kOk);
      return nullptr;
    }
    deadline_.Disarm(loop);
    first_ = nullptr;
    active_ = nullptr;
    last_ = nullptr;
    bytes_ = 0;
    length_ = 0;
    return &operation;
  }
  // The same, with every callback in the completion phase.
  void Send(EventLoop& loop, Channel& channel);
  // Until the kernel takes no more; one short count does not prove that.
  void SendAllThatFits(EventLoop& loop, Channel& channel);

  // What replies do that could not be sent whole, and wait in the queue now.
  void WaitForSocket(EventLoop& loop, Channel& channel) {
    ArmDeadline(loop, channel);
    SetBlocked(loop, channel, true);
  }
  // They failed: so does what follows.
  void Break(Error error) {
    phase_ = OutputPhase::kBroken;
    error_ = error.code();
  }

  // ---- The end.

  // The operation in progress has failed or timed out, and so what waits behind
  // it on a stream.
  void Fail(EventLoop& loop, Channel& channel, IoStatus status,
            Error error = Error());
  // The oldest one has ended; its callback comes next.
  OutputOperation& Pop() {
    OutputOperation& operation = *first_;
    first_ = operation.next;
    if (first_ == nullptr) last_ = nullptr;
    bytes_ -= operation.size;
    --length_;
    return operation;
  }
  // Ends the oldest one for `Abort`; the caller gives it back to the pool. Then
  // those behind it end by their callbacks, with `kAborted`.
  OutputOperation& Interrupt(EventLoop& loop);
  void AbortRest(EventLoop& loop, Channel& channel);
  // Takes all of them out for `Close`: a list, which the caller gives back.
  OutputOperation* Close(EventLoop& loop);

 private:
  // The turn of `active_` has come, as it was started.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void ActivateFirst(EventLoop& loop) {
    status_ = IoStatus::kOk;
    error_ = 0;
    if (active_->timeout == OutputOperation::kNotGiven) {
      active_->timeout = timeout_;
    }
    if (active_->timeout != kForever) deadline_.TakePlace(loop);
  }
  // The same for one that may have waited for it.
  void Activate(EventLoop& loop);
  static void TellStart(EventLoop& loop, const Channel& channel,
                        const OutputOperation& operation, bool queued);
  void SendStream(EventLoop& loop, Channel& channel);
  void SendDatagrams(EventLoop& loop, Channel& channel);
  void SentPart(EventLoop& loop, Channel& channel, Transfer transfer);
  void SentNone(EventLoop& loop, Channel& channel, Transfer transfer);
  bool DatagramsSent(EventLoop& loop, const Transfer& transfer);
  static OutgoingDatagram DatagramOf(const Channel& channel,
                                     const OutputOperation& operation) {
    return {{operation.data, operation.size},
            channel.udp() == Udp::kUnconnected ? &operation.target : nullptr};
  }
  void SetBlocked(EventLoop& loop, Channel& channel, bool blocked);
  void EndActive(EventLoop& loop, IoStatus status, Error error = Error());
  void AbortWaiting(EventLoop& loop, Channel& channel);

  OutputOperation* first_ = nullptr;
  OutputOperation* active_ = nullptr;
  OutputOperation* last_ = nullptr;
  size_t bytes_ = 0;
  Nanoseconds timeout_ = kForever;
  [[no_unique_address]] Deadline deadline_;
  uint32_t length_ = 0;
  int error_ = 0;
  IoStatus status_ = IoStatus::kOk;
  OutputPhase phase_ = OutputPhase::kFlowing;
  bool may_wait_ = false;
};

}  // namespace aios

#endif  // AIOS_STATE_OUTPUT_H_
