#include "aios/state/input.h"

#include <algorithm>

namespace aios {

bool Input::Fill(EventLoop& loop, Channel& channel) {
  size_t room = std::min(size_ - done_, loop.limits().bytes_per_turn_max);
  Transfer transfer = channel.Receive(loop, {data_ + done_, room});
  if (transfer.count == 0) [[unlikely]] {
    return EndStream(transfer.error);
  }
  done_ += transfer.count;
  return done_ == size_ && EndWell();
}

bool Input::FillFrom(Received& received) {
  done_ = received.Take({data_, size_});
  return done_ == size_;
}

bool Input::ReceiveOnce(EventLoop& loop, Channel& channel) {
  Transfer transfer = channel.Receive(loop, {data_, size_});
  if (transfer.count == 0) [[unlikely]] {
    return EndStream(transfer.error);
  }
  done_ = transfer.count;
  return EndWell();
}

bool Input::Look(EventLoop& loop, Channel& channel) {
  // Looking is what makes a spurious report invisible.
  Transfer transfer = channel.Peek(loop);
  if (channel.is_stream() && transfer.count == 0) {
    return EndStream(transfer.error);
  }
  if (IsPassing(transfer.error)) return false;
  return End(transfer.error.ok() ? IoStatus::kOk : IoStatus::kError,
             transfer.error);
}

void Input::Queue(EventLoop& loop, Channel& channel) {
  deadline_.Disarm(loop);
  UpdateInterest(loop, channel);
  ticket_ = channel.QueueInputEnded(loop);
}

void Input::Complete(EventLoop& loop, Channel& channel, IoStatus status,
                     Error error) {
  // What has broken a stream stays its error.
  if (over_) error = Error(error_);
  End(status, error);
  Queue(loop, channel);
}

void Input::Pause(EventLoop& loop, Channel& channel) {
  phase_ = InputPhase::kPaused;
  deadline_.Disarm(loop);
  UpdateInterest(loop, channel);
}

IoResult Input::Interrupt(EventLoop& loop, Channel& channel,
                          const Received& received, IoCallback* callback) {
  CancelQueued(loop);
  *callback = std::move(callback_);
  status_ = IoStatus::kOk;
  IoResult result = Result(received);
  result.status = IoStatus::kAborted;
  result.interrupted = true;
  Over(loop, channel, OperationObserver::End::kAbort, result);
  status_ = IoStatus::kAborted;
  return result;
}

}  // namespace aios
