// Abort, AbortAndClose and Shutdown: ending what is in progress, then calling
// back.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/event_loop.h"
#include "aios/input_buffer.h"
#include "aios/operation_observer.h"
#include "aios/output_queue.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"

namespace aios {

namespace {

bool Includes(Direction direction, Direction part) {
  return (static_cast<int>(direction) & static_cast<int>(part)) != 0;
}

}  // namespace

absl::Status AsyncIoState::Abort(IoCallback abort_callback,
                                 Direction direction) {
  constexpr const char* kCall = "Abort";
  if (absl::Status status = CheckOpen(kCall); !status.ok()) return status;
  if (!abort_callback) {
    return absl::InvalidArgumentError(
        absl::StrCat(Refusal(kCall), "the callback is empty"));
  }
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kAbort;
  ending->direction = direction;
  ending->callback = std::move(abort_callback);
  StartEnding(std::move(ending));
  return absl::OkStatus();
}

absl::Status AsyncIoState::AbortAndClose(AbortAndCloseOptions options) {
  if (absl::Status status = CheckOpen("AbortAndClose"); !status.ok()) {
    return status;
  }
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kClose;
  ending->close_callback = std::move(options.close_callback);
  ending->keep_alive = options.keep_alive;
  StartEnding(std::move(ending));
  return absl::OkStatus();
}

Error AsyncIoState::ShutSocketDown(Direction direction) {
  // What was written before the end belongs to the stream.
  if (Includes(direction, Direction::kOutput)) {
    SendRepliesOfCallback();
    OutputAllThatFits();
  }
  Error error = loop()->kernel().Shutdown(Watcher::handle(), direction);
  // Linux says so to a datagram socket without a peer, and shuts it down.
  bool done = error.ok() || error.code() == ENOTCONN;
  if (!done || direction == Direction::kOutput || udp_ == Udp::kNo ||
      input_broken_) {
    return error;
  }
  // A stream tells of its end when it is read. A datagram socket only is ready
  // from now on, for ever, and has nothing to give.
  if (HasBatch()) loop()->GiveDatagramBatch(std::move(extras_->batch));
  // A callback that is running comes before its operation's end.
  if (input_kind_ != InputKind::kNone && !input_ended_ && !may_reply_) {
    EndStream(Error());
    QueueInput(*loop());
  } else {
    input_broken_ = true;
    if (read_error_ != 0) {
      // That of an earlier datagram is not how the input has ended.
      read_error_ = 0;
      read_status_ = IoStatus::kEof;
    }
  }
  return error;
}

absl::StatusOr<bool> AsyncIoState::Shutdown(Direction direction,
                                            ShutdownOptions options) {
  constexpr const char* kCall = "Shutdown";
  if (absl::Status status = CheckOpen(kCall); !status.ok()) return status;
  if (connecting_ || unconnected_) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(kCall), connecting_ ? "it is not connected yet"
                                                 : "it is not connected"));
  }
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kShutdown;
  ending->direction = direction;
  ending->callback = std::move(options.callback);
  if (options.abort && Busy(direction)) {
    StartEnding(std::move(ending));
    return false;
  }
  ending->result.error = ShutSocketDown(direction);
  Error error = ending->result.error;
  if (!error.ok()) ending->result.status = IoStatus::kError;
  if (ending->callback) {
    // It is done: only the callback is left, as for an abort of nothing.
    ending->kind = Ending::Kind::kAbort;
    Post(std::move(ending));
  }
  if (!error.ok()) {
    return error.ToStatus(absl::StrCat(Describe(), ": ", kCall));
  }
  return true;
}

bool AsyncIoState::Busy(Direction direction) const {
  return (Includes(direction, Direction::kInput) &&
          input_kind_ != InputKind::kNone) ||
         (Includes(direction, Direction::kOutput) && output_first_ != nullptr);
}

void AsyncIoState::StartEnding(std::unique_ptr<Ending> ending) {
  if (loop()->InCallbackOf(*this)) {
    Extras().endings_to_apply.push_back(std::move(ending));
  } else {
    ApplyEnding(std::move(ending));
  }
}

void AsyncIoState::ApplyEnding(std::unique_ptr<Ending> ending) {
  // A close ends everything by itself when its turn comes.
  if (ending->kind != Ending::Kind::kClose) {
    if (connecting_) {
      InterruptConnect(*ending);
    } else {
      if (Includes(ending->direction, Direction::kInput)) {
        InterruptInput(*ending);
      }
      if (Includes(ending->direction, Direction::kOutput)) {
        InterruptOutput(*ending);
      }
    }
    if (ending->direction == Direction::kIo) {
      // With both directions there is no one operation to tell of.
      IoResult result;
      result.interrupted = ending->result.interrupted;
      result.status = ending->result.status;
      ending->result = result;
    }
  }
  Post(std::move(ending));
}

void AsyncIoState::Post(std::unique_ptr<Ending> ending) {
  ending->state = this;
  ending->ticket = loop()->Complete(&AsyncIoState::RunEnding, ending.get());
  Extras().endings.push_back(std::move(ending));
}

void AsyncIoState::InterruptConnect(Ending& ending) {
  EventLoop& loop = *this->loop();
  StateExtras& extras = Extras();
  if (extras.connect_ticket != kNoTicket) {
    loop.CancelCompletion(std::exchange(extras.connect_ticket, kNoTicket));
  }
  ending.suppressed[0] = std::move(extras.connect_callback);
  extras.race.reset();
  connecting_ = false;
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    IoResult result;
    result.status = IoStatus::kAborted;
    observer->OnEnd(&extras, OperationObserver::End::kAbort, result);
  }
  ClearDeadline(loop, kWriteDeadline);
  DropSocket();
  read_status_ = IoStatus::kAborted;
  write_status_ = IoStatus::kAborted;
  ending.result.status = IoStatus::kAborted;
  ending.result.interrupted = true;
}

void AsyncIoState::InterruptInput(Ending& ending) {
  if (input_kind_ == InputKind::kNone) return;
  EventLoop& loop = *this->loop();
  if (input_ticket_ != kNoTicket) {
    loop.CancelCompletion(std::exchange(input_ticket_, kNoTicket));
  }
  ending.suppressed[0] = std::move(input_callback_);
  if (extras_ != nullptr) {
    ending.suppressed[1] = std::move(extras_->input_error_callback);
  }
  // As its callback would have found it, had the operation just succeeded.
  read_status_ = IoStatus::kOk;
  bool ended = input_ended_;
  input_ended_ = true;
  ending.result = InputResult();
  if (ending.result.sender != nullptr) {
    ending.result.sender = nullptr;
    if (ended) {
      ending.sender = extras_->sender;
      ending.result.sender = &ending.sender;
    }
  }
  ending.checking = input_kind_ == InputKind::kReadWithChecking;
  ending.result.status = IoStatus::kAborted;
  ending.result.interrupted = true;
  InputIsOver(OperationObserver::End::kAbort, ending.result);
  read_status_ = IoStatus::kAborted;
}

void AsyncIoState::InterruptOutput(Ending& ending) {
  if (output_first_ == nullptr) return;
  OutputOperation* operation = PopOutput();
  if (operation->ticket != kNoTicket) {
    loop()->CancelCompletion(operation->ticket);
  } else {
    output_active_ = operation->next;
    ClearDeadline(*loop(), kWriteDeadline);
  }
  ending.result = IoResult();
  ending.result.count = operation->done;
  ending.result.status = IoStatus::kAborted;
  ending.result.interrupted = true;
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnEnd(operation, OperationObserver::End::kAbort, ending.result);
    observer->OnAbortOfOutput(this, &ending);
  }
  ending.suppressed[2] = *std::move(operation->callback);
  operation->callback.reset();
  if (operation->error_callback.has_value()) {
    ending.suppressed[3] = *std::move(operation->error_callback);
    operation->error_callback.reset();
  }
  bool is_reply = operation->kind == OutputKind::kReply;
  loop()->output_operations().Give(operation);
  AbortQueued();
  write_status_ = IoStatus::kAborted;
  if (is_reply) ReplyEnded(IoStatus::kAborted, Error());
}

void AsyncIoState::RunEnding(void* object) {
  auto* raw = static_cast<Ending*>(object);
  AsyncIoState& state = *raw->state;
  std::vector<std::unique_ptr<Ending>>& endings = state.extras_->endings;
  auto place = std::find_if(
      endings.begin(), endings.end(),
      [raw](const std::unique_ptr<Ending>& e) { return e.get() == raw; });
  // Declared before what is invoked, so that it goes last.
  std::unique_ptr<Ending> ending = std::move(*place);
  endings.erase(place);
  switch (ending->kind) {
    case Ending::Kind::kShutdown: {
      ending->result = IoResult();
      ending->result.error = state.ShutSocketDown(ending->direction);
      if (!ending->result.error.ok()) ending->result.status = IoStatus::kError;
      // What has ended by it was first.
      ending->kind = Ending::Kind::kAbort;
      state.Post(std::move(ending));
      return;
    }
    case Ending::Kind::kClose:
      state.FinishClose(*ending);
      return;
    case Ending::Kind::kAbort:
      break;
  }
  if (!ending->callback) return;
  if (OperationObserver* observer = state.loop()->observer()) [[unlikely]] {
    observer->OnAbortCallback(&state, raw);
  }
  IoCallback callback = std::move(ending->callback);
  if (ending->checking && state.input_kind_ == InputKind::kNone) {
    // What is buffered now. With both directions there are no details.
    ending->result.data = {};
    if (ending->direction != Direction::kIo) {
      if (state.input_buffer_ != nullptr) {
        ending->result.data = state.input_buffer_->view();
      }
      ending->result.count = ending->result.data.size();
    }
    state.InvokeWithBuffer(callback, ending->suppressed, ending->result);
    return;
  }
  // When the next operation has been started, the buffer is that one's.
  if (ending->checking) ending->result.data = {};
  state.Invoke(callback, ending->suppressed, ending->result);
}

void AsyncIoState::FinishClose(Ending& ending) noexcept {
  EventLoop& loop = *this->loop();
  loop.BeginCallback(*this);
  Close({.keep_alive = ending.keep_alive});
  // Closing destroys callbacks, which may have destroyed this state.
  if (loop.InCallbackOf(*this) && ending.close_callback) {
    ending.close_callback(*this);
    ending.close_callback = nullptr;
  }
  loop.EndCallback();
}

}  // namespace aios
