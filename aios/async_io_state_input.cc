// The input side of a state.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/input_buffer.h"
#include "aios/operation_observer.h"
#include "aios/state_extras.h"

namespace aios {

const char* AsyncIoState::InputName(InputKind kind) {
  switch (kind) {
    case InputKind::kNone:
      return "nothing";
    case InputKind::kReadBuffer:
      return "ReadBuffer";
    case InputKind::kReadWithChecking:
      return "ReadWithChecking";
    case InputKind::kReceiveMessage:
      return "ReceiveMessage";
    case InputKind::kWaitForInput:
      return "WaitForInput";
  }
  return "unknown";
}

// ---- Starting.

absl::Status AsyncIoState::CheckInput(InputKind kind,
                                      const IoCallback& callback,
                                      const Timeout& timeout) const {
  absl::Status status = CheckStart(InputName(kind), callback, timeout);
  if (!status.ok()) return status;
  if (input_kind_ != InputKind::kNone) [[unlikely]] {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(InputName(kind)), InputName(input_kind_),
                     " is in progress; only one input operation may be"));
  }
  if (udp_ != Udp::kNo && (kind == InputKind::kReadBuffer ||
                           kind == InputKind::kReadWithChecking)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Refusal(InputName(kind)), "the socket is UDP; use ReceiveMessage"));
  }
  return status;
}

void AsyncIoState::StartInput(InputKind kind, IoCallback& callback,
                              IoCallback* error_callback,
                              const Timeout& timeout, UserInfo& user_info) {
  if (timeout.has_value()) read_timeout_ = ToNanoseconds(*timeout);
  if (user_info.has_value()) user_info_ = *std::move(user_info);
  input_kind_ = kind;
  input_callback_ = std::move(callback);
  if (error_callback != nullptr && *error_callback) {
    Extras().input_error_callback = std::move(*error_callback);
  }
  input_done_ = 0;
  input_ended_ = false;
  input_truncated_ = false;
  read_status_ = IoStatus::kOk;
  if (!input_broken_) read_error_ = 0;
  SetDeadline(kReadDeadline, read_timeout_);
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnStart(this, this, InputName(kind));
  }
}

// The operation has ended: what follows is its last callback, or none.
void AsyncIoState::InputIsOver(OperationObserver::End end, IoStatus status,
                               size_t count) {
  input_kind_ = InputKind::kNone;
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnEnd(this, end, status, count);
  }
}

void AsyncIoState::WaitForReadable() {
  if (input_broken_) {
    CompleteInput(BrokenInputStatus(), Error(read_error_));
    return;
  }
  // kqueue is silent about a stream without a peer, and the operation would
  // never end.
  if (extras_ != nullptr && extras_->was_unconnected) [[unlikely]] {
    Input();
  }
  UpdateInterest();
}

absl::Status AsyncIoState::ReadBuffer(std::span<char> buffer,
                                      IoCallback callback,
                                      ReadBufferOptions options) {
  constexpr InputKind kKind = InputKind::kReadBuffer;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (status.ok()) {
    status = CheckRange(InputName(kKind), options.start, &options.end,
                        buffer.size(), /*may_be_empty=*/false);
  }
  if (!status.ok()) return status;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  input_data_ = buffer.data() + options.start;
  input_size_ = options.end - options.start;
  if (input_buffer_ != nullptr) {
    input_done_ = TakeBuffered({input_data_, input_size_});
  }
  if (input_done_ == input_size_) {
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable();
  }
  return status;
}

absl::Status AsyncIoState::ReadWithChecking(IoCallback callback,
                                            ReadWithCheckingOptions options) {
  constexpr InputKind kKind = InputKind::kReadWithChecking;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (status.ok() && options.max_read.has_value()) {
    status = CheckMaxRead(InputName(kKind), *options.max_read);
  }
  if (!status.ok()) return status;
  if (options.max_read.has_value()) {
    max_read_ = static_cast<uint32_t>(*options.max_read);
  }
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  if (input_buffer_ != nullptr) input_buffer_->old_length = 0;
  if (BufferedDataLength() != 0) {
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable();
  }
  return status;
}

absl::Status AsyncIoState::WaitForInput(IoCallback callback,
                                        WaitForInputOptions options) {
  constexpr InputKind kKind = InputKind::kWaitForInput;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (!status.ok()) return status;
  StartInput(kKind, callback, nullptr, options.timeout, options.user_info);
  if (BufferedDataLength() != 0) {
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable();
  }
  return status;
}

absl::Status AsyncIoState::ReceiveMessage(std::span<char> buffer,
                                          IoCallback callback,
                                          ReceiveMessageOptions options) {
  constexpr InputKind kKind = InputKind::kReceiveMessage;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (status.ok()) {
    status = CheckRange(InputName(kKind), options.start, &options.end,
                        buffer.size(), /*may_be_empty=*/false);
  }
  if (!status.ok()) return status;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  input_data_ = buffer.data() + options.start;
  input_size_ = options.end - options.start;
  needs_address_ = options.needs_address;
  if (needs_address_) {
    SocketAddress& sender = Extras().sender;
    // On TCP the sender is always the peer. If there is none any more, the
    // receive will say so.
    if (udp_ == Udp::kNo) {
      static_cast<void>(loop()->kernel().PeerAddress(handle(), &sender));
    }
  }
  if (BufferedDataLength() != 0) {
    input_done_ = TakeBuffered({input_data_, input_size_});
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable();
  }
  return status;
}

// ---- Reading.

void AsyncIoState::Input() {
  switch (input_kind_) {
    case InputKind::kNone:
      return;
    case InputKind::kReadBuffer:
      return InputToBuffer();
    case InputKind::kReadWithChecking:
      return InputToOwnBuffer();
    case InputKind::kReceiveMessage:
      return InputMessage();
    case InputKind::kWaitForInput:
      return InputPeek();
  }
}

void AsyncIoState::InputToBuffer() {
  if (input_ended_) return;
  size_t room =
      std::min(input_size_ - input_done_, loop()->limits().bytes_per_turn_max);
  Transfer transfer =
      loop()->kernel().Receive(handle(), {input_data_ + input_done_, room});
  if (!transfer.error.ok()) return InputError(transfer.error);
  if (transfer.count == 0) return BreakInput(IoStatus::kEof);
  input_done_ += transfer.count;
  if (input_done_ == input_size_) CompleteInput(IoStatus::kOk);
}

void AsyncIoState::InputToOwnBuffer() {
  if (input_ended_) return;
  EventLoop& loop = *this->loop();
  if (input_buffer_ == nullptr) input_buffer_ = loop.input_buffers().Take();
  size_t wanted = std::min<size_t>(
      max_read_, loop.limits().input_buffer_bytes_max - input_buffer_->size());
  Transfer transfer =
      loop.kernel().Receive(handle(), input_buffer_->Room(wanted));
  if (transfer.count != 0) {
    input_buffer_->Append(transfer.count);
    CompleteInput(IoStatus::kOk);
    return;
  }
  ReleaseInputBuffer();
  if (!transfer.error.ok()) return InputError(transfer.error);
  BreakInput(IoStatus::kEof);
}

void AsyncIoState::InputMessage() {
  if (input_ended_) return;
  Kernel& kernel = loop()->kernel();
  if (udp_ == Udp::kNo) {
    Transfer transfer = kernel.Receive(handle(), {input_data_, input_size_});
    if (!transfer.error.ok()) return InputError(transfer.error);
    if (transfer.count == 0) return BreakInput(IoStatus::kEof);
    input_done_ = transfer.count;
  } else {
    IncomingDatagram datagram;
    Error error = kernel.ReceiveDatagram(handle(), {input_data_, input_size_},
                                         needs_address_, &datagram);
    if (!error.ok()) return InputError(error);
    input_done_ = datagram.size;
    input_truncated_ = datagram.truncated;
    if (needs_address_) extras_->sender = datagram.sender;
  }
  CompleteInput(IoStatus::kOk);
}

void AsyncIoState::InputPeek() {
  if (input_ended_) return;
  // Looking is what makes a spurious report invisible.
  Transfer transfer = loop()->kernel().Peek(handle());
  if (!transfer.error.ok()) return InputError(transfer.error);
  if (transfer.count == 0 && udp_ == Udp::kNo) {
    return BreakInput(IoStatus::kEof);
  }
  CompleteInput(IoStatus::kOk);
}

void AsyncIoState::InputError(Error error) {
  if (error.code() == EAGAIN) return;
  if (udp_ == Udp::kNo) {
    BreakInput(IoStatus::kError, error);
  } else {
    CompleteInput(IoStatus::kError, error);
  }
}

// ---- Ending.

void AsyncIoState::BreakInput(IoStatus status, Error error) {
  input_broken_ = true;
  read_error_ = error.code();
  CompleteInput(status, error);
}

IoStatus AsyncIoState::BrokenInputStatus() const {
  return read_error_ == 0 ? IoStatus::kEof : IoStatus::kError;
}

void AsyncIoState::CompleteInput(IoStatus status, Error error) {
  input_ended_ = true;
  read_status_ = status;
  if (!input_broken_) read_error_ = error.code();
  ClearDeadline(kReadDeadline);
  UpdateInterest();
  input_ticket_ = loop()->Complete(&AsyncIoState::RunInput, this);
}

IoResult AsyncIoState::InputResult() const {
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
    case InputKind::kWaitForInput:
    case InputKind::kNone:
      break;
  }
  return result;
}

void AsyncIoState::RunInput(void* object) {
  auto& state = *static_cast<AsyncIoState*>(object);
  state.input_ticket_ = kNoTicket;
  IoResult result = state.InputResult();
  IoCallback callback = std::move(state.input_callback_);
  IoCallback unused;
  if (state.extras_ != nullptr && state.extras_->input_error_callback)
      [[unlikely]] {
    unused = std::move(state.extras_->input_error_callback);
    if (result.status == IoStatus::kError) std::swap(callback, unused);
  }
  if (state.input_kind_ == InputKind::kReadWithChecking) {
    state.RunChecking(callback, unused, result);
  } else {
    state.InputIsOver(OperationObserver::End::kCallback, result.status,
                      result.count);
    state.Invoke(callback, unused, result);
  }
}

void AsyncIoState::RunChecking(IoCallback& callback, IoCallback& unused,
                               const IoResult& result) noexcept {
  EventLoop& loop = *this->loop();
  // Any outcome but success ends the operation.
  if (!result.ok()) {
    InputIsOver(OperationObserver::End::kCallback, result.status, result.count);
  }
  finished_ = !result.ok();
  may_discard_ = true;
  loop.BeginCallback(*this);
  callback(*this, result);
  bool exists = loop.InCallbackOf(*this);
  if (exists) may_discard_ = false;
  if (exists && !finished_ && !closed_) {
    input_callback_ = std::move(callback);
    if (unused) Extras().input_error_callback = std::move(unused);
    loop.EndCallback();
    ContinueChecking();
    AfterCallback();
    return;
  }
  callback = nullptr;
  unused = nullptr;
  if (!loop.EndCallback()) return;
  ReleaseInputBuffer();
  AfterCallback();
}

void AsyncIoState::ContinueChecking() {
  ReleaseInputBuffer();
  if (input_buffer_ != nullptr) {
    input_buffer_->old_length = input_buffer_->size();
  }
  input_ended_ = false;
  SetDeadline(kReadDeadline, read_timeout_);
  if (!input_broken_ &&
      BufferedDataLength() >= loop()->limits().input_buffer_bytes_max) {
    CompleteInput(IoStatus::kError, Error(EMSGSIZE));
    return;
  }
  WaitForReadable();
}

// ---- The input buffer.

void AsyncIoState::ReleaseInputBuffer() {
  // While a callback may look at it, it stays.
  if (input_buffer_ == nullptr || input_buffer_->size() != 0 || may_discard_) {
    return;
  }
  if (closed_) {
    input_buffer_.reset();
  } else {
    loop()->input_buffers().Give(std::move(input_buffer_));
  }
}

size_t AsyncIoState::TakeBuffered(std::span<char> buffer) {
  std::string_view there = input_buffer_->view();
  size_t count = std::min(there.size(), buffer.size());
  std::memcpy(buffer.data(), there.data(), count);
  input_buffer_->Consume(count);
  ReleaseInputBuffer();
  return count;
}

size_t AsyncIoState::BufferedDataLength() const {
  return input_buffer_ != nullptr ? input_buffer_->size() : 0;
}

size_t AsyncIoState::old_length() const {
  return input_buffer_ != nullptr ? input_buffer_->old_length : 0;
}

absl::StatusOr<size_t> AsyncIoState::GetBufferedData(
    std::span<char> buffer, GetBufferedDataOptions options) {
  constexpr const char* kCall = "GetBufferedData";
  if (input_kind_ != InputKind::kNone) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(kCall), InputName(input_kind_), " is in progress"));
  }
  if (output_first_ != nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(kCall), OutputName(output_first_->kind), " is in progress"));
  }
  absl::Status status = CheckRange(kCall, options.start, &options.end,
                                   buffer.size(), /*may_be_empty=*/true);
  if (!status.ok()) return status;
  if (input_buffer_ == nullptr) return 0;
  return TakeBuffered(
      buffer.subspan(options.start, options.end - options.start));
}

absl::StatusOr<size_t> AsyncIoState::DropInput(const char* call, size_t n) {
  if (!may_discard_) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(call),
        "only the callback of ReadWithChecking may call it, and not after "
        "Finish"));
  }
  size_t there = BufferedDataLength();
  if (n > there) {
    return absl::InvalidArgumentError(absl::StrCat(
        Refusal(call), n, " bytes were to be dropped, ", there, " are there"));
  }
  if (n != 0) input_buffer_->Consume(n);
  return there - n;
}

absl::StatusOr<size_t> AsyncIoState::Discard(size_t n) {
  return DropInput("Discard", n);
}

absl::StatusOr<size_t> AsyncIoState::Finish(size_t n) {
  absl::StatusOr<size_t> left = DropInput("Finish", n);
  if (!left.ok()) return left;
  may_discard_ = false;
  if (!finished_) {
    finished_ = true;
    InputIsOver(OperationObserver::End::kCallback, IoStatus::kOk, *left);
  }
  ReleaseInputBuffer();
  return left;
}

}  // namespace aios
