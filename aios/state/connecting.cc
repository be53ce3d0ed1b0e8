#include "aios/state/connecting.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace aios {

void Connecting::Start(const SocketAddress& target, Nanoseconds timeout,
                       Error error) {
  EventLoop& loop = *channel_.loop();
  target_ = target;
  channel_.BeginConnecting();
  TellStart(OperationKind::kConnectTcp, timeout);
  if (error.ok()) error = channel_.StartConnect(loop, target);
  if (error.code() == EINPROGRESS) {
    output_.deadline().Arm(loop, channel_, timeout);
    channel_.Want(loop, kWritable, true);
  } else {
    Complete(error.ok() ? IoStatus::kOk : IoStatus::kError, error);
  }
}

absl::Status Connecting::StartByName(OperationKind kind, ConnectPlan plan,
                                     Nanoseconds timeout) {
  EventLoop& loop = *channel_.loop();
  ConnectRaceOwner& owner = *this;
  race_ = std::make_unique<ConnectRace>(owner, std::move(plan));
  channel_.BeginConnecting();
  TellStart(kind, timeout);
  output_.deadline().Arm(loop, channel_, timeout);
  return race_->Start(loop);
}

void Connecting::TellStart(OperationKind kind, Nanoseconds timeout) const {
  EventLoop& loop = *channel_.loop();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnStart({.operation = this,
                       .state = static_cast<const Channel*>(&channel_),
                       .kind = kind,
                       .poller = &loop.poller(),
                       .handle = channel_.handle(),
                       .datagrams = !channel_.is_stream(),
                       .time = loop.Now(),
                       .timeout = timeout});
  }
}

void Connecting::RaceIsOver(Handle handle, Family family, Error error) {
  if (handle == kNoHandle) {
    Complete(IoStatus::kError, error);
    return;
  }
  channel_.Attach(handle, family);
  Complete(IoStatus::kOk, Error());
}

void Connecting::Look() {
  if (race_ != nullptr) {
    race_->LookAgain();
    return;
  }
  EventLoop& loop = *channel_.loop();
  if (Error error = channel_.TakeError(loop); !error.ok()) {
    Complete(IoStatus::kError, error);
    return;
  }
  // A spurious report finds no error either: only a peer proves the connection.
  if (channel_.PeerAddress().has_value()) Complete(IoStatus::kOk, Error());
}

void Connecting::TimeOut() {
  Nanoseconds deadline = output_.deadline().at();
  // An answer that has come by now counts, too.
  Look();
  if (ticket_ != kNoTicket) return;
  if (OperationObserver* observer = channel_.loop()->observer()) [[unlikely]] {
    observer->OnTimeout(this, deadline);
  }
  Complete(IoStatus::kTimeout, Error());
}

void Connecting::Complete(IoStatus status, Error error) {
  EventLoop& loop = *channel_.loop();
  if (ticket_ != kNoTicket) return;
  if (status != IoStatus::kOk) detail_ = Describe(error);
  if (race_ != nullptr) race_->Stop();
  output_.deadline().Disarm(loop);
  result_.status = status;
  result_.error = error;
  input_.SetStatus(status, error);
  output_.SetStatus(status, error);
  if (status == IoStatus::kOk) {
    channel_.Want(loop, kWritable, false);
  } else {
    channel_.Drop();
  }
  ticket_ = channel_.QueueConnectEnded(loop);
}

// Why there is no connection; `error` is none when there was no answer in time.
std::string Connecting::Describe(Error error) const {
  if (race_ != nullptr) return race_->Describe();
  return absl::StrCat("no connection to ", target_.ip().ToString(), ", port ",
                      target_.port(), ": ",
                      error.ok() ? "no answer yet" : error.Message());
}

IoResult Connecting::Finish(IoCallback* callback, std::string* detail) {
  channel_.EndConnecting();
  ticket_ = kNoTicket;
  race_.reset();
  *callback = std::move(callback_);
  *detail = std::move(detail_);
  IoResult result = result_;
  result.detail = *detail;
  if (OperationObserver* observer = channel_.loop()->observer()) [[unlikely]] {
    observer->OnEnd(this, OperationObserver::End::kCallback, result);
  }
  return result;
}

void Connecting::Interrupt(IoCallback* callback) {
  EventLoop& loop = *channel_.loop();
  if (ticket_ != kNoTicket) loop.CancelCompletion(ticket_);
  *callback = std::move(callback_);
  race_.reset();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    IoResult result;
    result.status = IoStatus::kAborted;
    observer->OnEnd(this, OperationObserver::End::kAbort, result);
  }
  output_.deadline().Disarm(loop);
  channel_.Drop();
  channel_.EndConnecting();
  input_.SetStatus(IoStatus::kAborted, input_.error());
  output_.SetStatus(IoStatus::kAborted, output_.error());
}

void Connecting::Close() {
  EventLoop& loop = *channel_.loop();
  if (ticket_ != kNoTicket) loop.CancelCompletion(ticket_);
  if (race_ != nullptr) race_->Stop();
}

}  // namespace aios
