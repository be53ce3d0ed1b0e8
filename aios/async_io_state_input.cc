// The input side of a state.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/input_buffer.h"
#include "aios/operation_observer.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"

namespace aios {

namespace {

// What is read in pieces of at least this size is a stream, not messages.
constexpr size_t kStreamReadMin = size_t{16} << 10;

}  // namespace

OperationKind AsyncIoState::KindOf(InputKind kind) {
  switch (kind) {
    case InputKind::kReadBuffer:
      return OperationKind::kReadBuffer;
    case InputKind::kNone:
    case InputKind::kReadWithChecking:
      return OperationKind::kReadWithChecking;
    case InputKind::kReceiveMessage:
      return OperationKind::kReceiveMessage;
    case InputKind::kReceiveMessages:
      return OperationKind::kReceiveMessages;
    case InputKind::kWaitForInput:
      return OperationKind::kWaitForInput;
  }
  return OperationKind::kReadWithChecking;
}

const char* AsyncIoState::InputName(InputKind kind) {
  return OperationName(KindOf(kind));
}

// ---- Starting.

// What most calls are; the others are looked at in detail.
inline bool AsyncIoState::MayStartInput(const IoCallback& callback) const {
  return MayStart(callback) && input_kind_ == InputKind::kNone;
}

absl::Status AsyncIoState::CheckInput(InputKind kind,
                                      const IoCallback& callback,
                                      const Timeout& timeout) const {
  absl::Status status = CheckStart(InputName(kind), callback, timeout);
  if (!status.ok()) return status;
  if (input_kind_ != InputKind::kNone) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(InputName(kind)), InputName(input_kind_),
                     " is in progress; only one input operation may be"));
  }
  if (udp_ != Udp::kNo && (kind == InputKind::kReadBuffer ||
                           kind == InputKind::kReadWithChecking)) {
    return absl::InvalidArgumentError(absl::StrCat(
        Refusal(InputName(kind)), "the socket is UDP; use ReceiveMessage",
        kind == InputKind::kReadWithChecking ? "s" : ""));
  }
  if (udp_ == Udp::kNo && kind == InputKind::kReceiveMessages) {
    return absl::InvalidArgumentError(absl::StrCat(
        Refusal(InputName(kind)), "the socket is TCP; use ReadWithChecking"));
  }
  return status;
}

// The same for the operations that read into `buffer`.
absl::Status AsyncIoState::CheckRead(InputKind kind, std::span<char> buffer,
                                     const IoCallback& callback,
                                     const Timeout& timeout, size_t start,
                                     size_t end) const {
  absl::Status status = CheckInput(kind, callback, timeout);
  if (!status.ok()) return status;
  return CheckRange(InputName(kind), start, end, buffer.size(),
                    /*may_be_empty=*/false);
}

void AsyncIoState::StartInput(InputKind kind, IoCallback& callback,
                              std::optional<IoCallback>* error_callback,
                              const Timeout& timeout, UserInfo& user_info) {
  EventLoop& loop = *this->loop();
  loop.Enter();
  TakeInputOptions(error_callback, timeout, user_info);
  KeepInputCallback(callback);
  BeginInput(loop, kind);
}

void AsyncIoState::TakeInputOptions(std::optional<IoCallback>* error_callback,
                                    const Timeout& timeout,
                                    UserInfo& user_info) {
  if (timeout.has_value()) {
    read_timeout_ = ToNanoseconds(*timeout);
    TellTimeoutSet(Direction::kInput, *timeout);
  }
  if (user_info.has_value()) user_info_ = *std::move(user_info);
  if (error_callback != nullptr && error_callback->has_value()) [[unlikely]] {
    StateExtras& extras = Extras();
    (input_callback_runs_ ? extras.next_input_error_callback
                          : extras.input_error_callback) =
        *std::move(*error_callback);
  }
}

inline void AsyncIoState::KeepInputCallback(IoCallback& callback) {
  if (input_callback_runs_) [[unlikely]] {
    Extras().next_input_callback = std::move(callback);
  } else {
    input_callback_ = std::move(callback);
  }
}

// Its callbacks and options are in place.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::BeginInput(
    EventLoop& loop, InputKind kind) {
  input_kind_ = kind;
  input_done_ = 0;
  input_ended_ = false;
  input_truncated_ = false;
  read_status_ = IoStatus::kOk;
  if (!input_broken_) read_error_ = 0;
  SetDeadline(loop, kReadDeadline, read_timeout_);
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStartOfInput(kind);
  }
}

// The range to read to is in place.
void AsyncIoState::TellStartOfInput(InputKind kind) {
  OperationStart start = {.operation = this,
                          .state = this,
                          .kind = KindOf(kind),
                          .poller = &loop()->poller(),
                          .handle = handle(),
                          .datagrams = udp_ != Udp::kNo,
                          .time = loop()->Now(),
                          .timeout = read_timeout_,
                          .buffered = BufferedDataLength(),
                          .max_read = max_read_};
  if (kind == InputKind::kReadBuffer || kind == InputKind::kReceiveMessage) {
    start.data = input_data_;
    start.size = input_size_;
  }
  loop()->observer()->OnStart(start);
}

absl::Status AsyncIoState::ReadBuffer(std::span<char> buffer,
                                      IoCallback callback,
                                      ReadBufferOptions options) {
  constexpr InputKind kKind = InputKind::kReadBuffer;
  if (!MayStartInput(callback) || options.timeout.has_value() ||
      udp_ != Udp::kNo || options.start >= buffer.size() ||
      options.end != kToEnd) [[unlikely]] {
    absl::Status status = CheckRead(kKind, buffer, callback, options.timeout,
                                    options.start, options.end);
    if (!status.ok()) return status;
  }
  input_data_ = buffer.data() + options.start;
  input_size_ = std::min(options.end, buffer.size()) - options.start;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  if (input_buffer_ != nullptr) [[unlikely]] {
    input_done_ = TakeBuffered({input_data_, input_size_});
    if (input_done_ == input_size_) {
      CompleteInput(IoStatus::kOk);
      return absl::OkStatus();
    }
  }
  WaitForReadable(*loop());
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReadWithChecking(IoCallback callback) {
  if (!MayStart(callback) || input_kind_ != InputKind::kNone ||
      udp_ != Udp::kNo || input_callback_runs_) [[unlikely]] {
    return StartCheckingWithoutOptions(callback);
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  input_callback_ = std::move(callback);
  BeginInput(loop, InputKind::kReadWithChecking);
  WaitForInputToCheck(loop);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReadWithChecking(IoCallback callback,
                                            ReadWithCheckingOptions options) {
  return StartChecking(callback, options);
}

absl::Status AsyncIoState::StartCheckingWithoutOptions(IoCallback& callback) {
  ReadWithCheckingOptions options;
  return StartChecking(callback, options);
}

absl::Status AsyncIoState::StartChecking(IoCallback& callback,
                                         ReadWithCheckingOptions& options) {
  constexpr InputKind kKind = InputKind::kReadWithChecking;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (status.ok() && options.max_read.has_value()) {
    status = TakeMaxRead(InputName(kKind), *options.max_read);
  }
  if (!status.ok()) return status;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  WaitForInputToCheck(*loop());
  return status;
}

// A `ReadWithChecking` was started: its callback is called at once when there
// is something to look at already.
inline void AsyncIoState::WaitForInputToCheck(EventLoop& loop) {
  if (input_buffer_ != nullptr) {
    input_buffer_->old_length = 0;
    if (input_buffer_->size() != 0) {
      CompleteInput(IoStatus::kOk);
      return;
    }
  }
  WaitForReadable(loop);
}

absl::Status AsyncIoState::WaitForInput(IoCallback callback,
                                        WaitForInputOptions options) {
  constexpr InputKind kKind = InputKind::kWaitForInput;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (!status.ok()) return status;
  StartInput(kKind, callback, nullptr, options.timeout, options.user_info);
  if (BufferedDataLength() != 0 || HasBatch()) {
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable(*loop());
  }
  return status;
}

absl::Status AsyncIoState::ReceiveMessage(std::span<char> buffer,
                                          IoCallback callback) {
  return StartReceive(buffer, callback, /*needs_address=*/false);
}

absl::Status AsyncIoState::ReceiveMessageWithAddress(std::span<char> buffer,
                                                     IoCallback callback) {
  return StartReceive(buffer, callback, /*needs_address=*/true);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline absl::Status AsyncIoState::StartReceive(
    std::span<char> buffer, IoCallback& callback, bool needs_address) {
  if (!MayStartInput(callback) || buffer.empty()) [[unlikely]] {
    return CheckRead(InputKind::kReceiveMessage, buffer, callback, Timeout(),
                     /*start=*/0, kToEnd);
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  BeginReceive(loop, buffer, callback, needs_address);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReceiveMessage(std::span<char> buffer,
                                          IoCallback callback,
                                          ReceiveMessageOptions options) {
  absl::Status status = CheckRead(InputKind::kReceiveMessage, buffer, callback,
                                  options.timeout, options.start, options.end);
  if (!status.ok()) return status;
  TakeInputOptions(&options.error_callback, options.timeout, options.user_info);
  size_t end = std::min(options.end, buffer.size());
  BeginReceive(*loop(), buffer.subspan(options.start, end - options.start),
               callback, options.needs_address);
  return status;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::BeginReceive(
    EventLoop& loop, std::span<char> range, IoCallback& callback,
    bool needs_address) {
  KeepInputCallback(callback);
  input_data_ = range.data();
  input_size_ = range.size();
  needs_address_ = needs_address;
  BeginInput(loop, InputKind::kReceiveMessage);
  if (udp_ == Udp::kNo) {
    ReceiveFromStream(loop);
    return;
  }
  asks_again_ = loop.InCallbackOf(*this);
  if (extras_ == nullptr) [[unlikely]] {
    // Where the sender, and what comes together, is kept.
    if (needs_address || asks_again_) Extras();
  } else if (extras_->batch != nullptr) {
    if (!receive_callback_runs_) {
      TakeFromBatch(loop);
      CompleteInput(IoStatus::kOk);
    }
    return;
  }
  if (input_broken_ || !EventLoop::Wants(*this, kReadable)) {
    WaitForReadable(loop);
  }
}

void AsyncIoState::ReceiveFromStream(EventLoop& loop) {
  if (needs_address_) {
    // The sender is always the peer. If there is none any more, the receive
    // will say so.
    static_cast<void>(
        loop.kernel().PeerAddress(Watcher::handle(), &Extras().sender));
  }
  if (BufferedDataLength() != 0) [[unlikely]] {
    input_done_ = TakeBuffered({input_data_, input_size_});
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable(loop);
  }
}

// ---- Calling back a `ReadWithChecking` that goes on.

// These two keep rare steps out of the way of those that go on.
ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::WaitForReadableAgain(
    EventLoop& loop) {
  WaitForReadable(loop);
}

ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::ResetReadDeadline(EventLoop& loop) {
  SetDeadline(loop, kReadDeadline, read_timeout_);
}

// Calls the callback of a `ReadWithChecking` with what is in the buffer, which
// is something. Returns false when the state may have been closed, perhaps
// destroyed.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::RunChecking(
    EventLoop& loop) noexcept {
  IoResult result;
  result.data = input_buffer_->view();
  result.count = result.data.size();
  if (!CallBackWhereItLies(loop, result)) [[unlikely]] {
    EndChecking(loop);
    return false;
  }
  if (!loop.replies().empty()) SendReplies(loop);
  loop.EndCallbackOfOpen();
  if (replies_wait_ || observed_) [[unlikely]] {
    PauseOrContinueChecking(loop);
  } else {
    ContinueChecking(loop);
  }
  ApplyEndingsOfCallback();
  // At once: what a server answers is still in the cache, and the next
  // connection writes its answer to the same memory.
  if (!HasOutputToSend()) return true;
  Flush(loop);
  return false;
}

ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::PauseOrContinueChecking(
    EventLoop& loop) {
  if (replies_wait_) {
    PauseChecking(loop);
  } else {
    ContinueChecking(loop);
  }
  TellContinue();
}

void AsyncIoState::TellCallback(const IoResult& result) {
  loop()->observer()->OnCallback(this, result);
}

void AsyncIoState::TellContinue() {
  EventLoop& loop = *this->loop();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnContinue(this, loop.Now(), read_timeout_, input_paused_);
  }
}

// In its own callback, which has just returned, it was finished, closed or
// destroyed.
ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::EndChecking(EventLoop& loop) {
  // What they captured may own this state.
  IoCallback callback = std::move(input_callback_);
  IoCallback error_callback;
  if (extras_ != nullptr) {
    error_callback = std::move(extras_->input_error_callback);
    // What the callback has started instead.
    input_callback_ = std::move(extras_->next_input_callback);
    extras_->input_error_callback =
        std::move(extras_->next_input_error_callback);
  }
  if (deleted_) {
    loop.EndCallback();
    delete this;
    return;
  }
  callback = nullptr;
  error_callback = nullptr;
  if (!loop.EndCallback()) return;
  ReleaseInputBuffer();
  AfterCallback(loop);
}

// ---- Reading. What returns a bool says whether the operation has ended now:
// its outcome is noted, and `QueueInput` or the callback come next.

// Where the next bytes go; mostly to a buffer that is new to this state.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline std::span<char>
AsyncIoState::RoomInOwnBuffer(EventLoop& loop) {
  size_t wanted =
      std::min<size_t>(max_read_, loop.limits().input_buffer_bytes_max);
  if (input_buffer_ != nullptr || wanted > InputBuffer::kCapacity ||
      !loop.input_buffers().has_next()) [[unlikely]] {
    return MoreRoomInOwnBuffer(loop);
  }
  loop.input_buffers().Take(input_buffer_);
  return input_buffer_->RoomOfEmpty(wanted);
}

ABSL_ATTRIBUTE_NOINLINE std::span<char> AsyncIoState::MoreRoomInOwnBuffer(
    EventLoop& loop) {
  if (input_buffer_ == nullptr) loop.input_buffers().Take(input_buffer_);
  return input_buffer_->Room(std::min<size_t>(
      max_read_, loop.limits().input_buffer_bytes_max - input_buffer_->size()));
}

// Returns how many bytes it has read; none: see `EndStream`.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline size_t AsyncIoState::ReadToOwnBuffer(
    EventLoop& loop, Error* error) {
  std::span<char> room = RoomInOwnBuffer(loop);
  Transfer transfer = loop.kernel().Receive(Watcher::handle(), room);
  input_buffer_->Append(transfer.count);
  *error = transfer.error;
  return transfer.count;
}

bool AsyncIoState::InputToOwnBuffer(EventLoop& loop) {
  Error error;
  if (ReadToOwnBuffer(loop, &error) == 0) return EndOfOwnBuffer(loop, error);
  // The status is that of the start.
  input_ended_ = true;
  return true;
}

void AsyncIoState::OnReady(Readiness ready) {
  EventLoop& loop = *this->loop();
  if (ready != kReadable || !loop.MayCallBack()) [[unlikely]] {
    ServeReady(loop, ready);
  } else if (input_kind_ == InputKind::kReadWithChecking) {
    Error error;
    size_t count = ReadToOwnBuffer(loop, &error);
    if (count >= kStreamReadMin) [[unlikely]] {
      CheckStream(loop, count);
    } else if (count != 0) [[likely]] {
      RunChecking(loop);
    } else if (EndOfOwnBuffer(loop, error)) {
      RunInput(this);
    } else {
      loop.NothingBehindReport(*this);
    }
  } else if (input_kind_ == InputKind::kReceiveMessages) {
    OnMessages(loop);
  } else if (udp_ != Udp::kNo) {
    OnDatagram(loop);
  } else {
    size_t done = input_done_;
    if (Input(loop)) {
      RunInput(this);
    } else if (input_done_ == done) {
      loop.NothingBehindReport(*this);
    }
  }
}

// `count` bytes have been read. When that was as much as it may be, most likely
// there is more already, and asking for it costs less than waiting for it.
ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::CheckStream(EventLoop& loop,
                                                       size_t count) {
  for (size_t sum = count; RunChecking(loop); sum += count) {
    if (count != std::min<size_t>(max_read_, InputBuffer::kCapacity) ||
        sum + count > loop.limits().bytes_per_turn_max ||
        input_kind_ != InputKind::kReadWithChecking ||
        !EventLoop::Wants(*this, kReadable) || !loop.MayCallBack()) {
      return;
    }
    Error error;
    count = ReadToOwnBuffer(loop, &error);
    if (count == 0) {
      if (EndOfOwnBuffer(loop, error)) RunInput(this);
      return;
    }
  }
}

ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::ServeReady(EventLoop& loop,
                                                      Readiness ready) {
  if (connecting_) {
    FinishConnect();
    if (connecting_ && extras_->connect_ticket == kNoTicket) {
      loop.NothingBehindReport(*this);
    }
    return;
  }
  size_t input_done = input_done_;
  bool ended = (ready & kReadable) != 0 && Input(loop);
  if (ended) QueueInput(loop);
  const OutputOperation* operation = output_active_;
  size_t output_done = operation != nullptr ? operation->done : 0;
  if ((ready & kWritable) != 0 && operation != nullptr) Output();
  if (!ended && input_done_ == input_done && output_active_ == operation &&
      (operation == nullptr || operation->done == output_done)) {
    loop.NothingBehindReport(*this);
  }
}

bool AsyncIoState::Input(EventLoop& loop) {
  if (input_ended_) return false;
  switch (input_kind_) {
    case InputKind::kNone:
      return false;
    case InputKind::kReadWithChecking:
      return InputToOwnBuffer(loop);
    case InputKind::kReceiveMessage:
      return InputMessage(loop);
    case InputKind::kReceiveMessages:
      return InputMessages(loop);
    case InputKind::kReadBuffer:
      return InputToBuffer(loop);
    case InputKind::kWaitForInput:
      return InputPeek(loop);
  }
  return false;
}

inline bool AsyncIoState::InputToBuffer(EventLoop& loop) {
  size_t room =
      std::min(input_size_ - input_done_, loop.limits().bytes_per_turn_max);
  Transfer transfer = loop.kernel().Receive(Watcher::handle(),
                                            {input_data_ + input_done_, room});
  if (transfer.count == 0) [[unlikely]] {
    return EndStream(transfer.error);
  }
  input_done_ += transfer.count;
  input_ended_ = input_done_ == input_size_;
  return input_ended_;
}

inline bool AsyncIoState::InputMessage(EventLoop& loop) {
  if (udp_ == Udp::kNo) {
    Transfer transfer =
        loop.kernel().Receive(Watcher::handle(), {input_data_, input_size_});
    if (transfer.count == 0) [[unlikely]] {
      return EndStream(transfer.error);
    }
    input_done_ = transfer.count;
    input_ended_ = true;
    return true;
  }
  return InputDatagram(loop);
}

void AsyncIoState::OnDatagram(EventLoop& loop) {
  bool ended = input_kind_ == InputKind::kReceiveMessage ? InputDatagram(loop)
                                                         : Input(loop);
  if (!ended) [[unlikely]] {
    loop.NothingBehindReport(*this);
    return;
  }
  if (!loop.MayCallBack()) [[unlikely]] {
    QueueInput(loop);
  } else {
    // At once, as after a `ReadWithChecking`.
    if (CallBackOnce(loop) && HasOutputToSend()) Flush(loop);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::InputDatagram(
    EventLoop& loop) {
  if (asks_again_ && extras_->batch_size.get() != 1) return InputBatch(loop);
  IncomingDatagram datagram;
  Error error = loop.kernel().ReceiveDatagram(
      Watcher::handle(), {input_data_, input_size_}, needs_address_, &datagram);
  if (!error.ok()) [[unlikely]] {
    return EndDatagram(error);
  }
  input_done_ = datagram.size;
  input_truncated_ = datagram.truncated;
  if (needs_address_) extras_->sender = datagram.sender;
  if (asks_again_) extras_->batch_size.CameAlone();
  input_ended_ = true;
  return true;
}

bool AsyncIoState::InputBatch(EventLoop& loop) {
  std::unique_ptr<DatagramBatch> batch = loop.TakeDatagramBatch();
  Transfer transfer =
      batch->Receive(loop.kernel(), Watcher::handle(), /*want_sender=*/true,
                     extras_->batch_size.get());
  if (!transfer.error.ok()) [[unlikely]] {
    loop.GiveDatagramBatch(std::move(batch));
    return EndDatagram(transfer.error);
  }
  extras_->batch_size.Came(transfer.count);
  extras_->batch = std::move(batch);
  TakeFromBatch(loop);
  input_ended_ = true;
  return true;
}

// There was none, and `error` is the reason.
bool AsyncIoState::EndDatagram(Error error) {
  return !IsPassing(error) && EndInput(IoStatus::kError, error);
}

bool AsyncIoState::HasBatch() const {
  return extras_ != nullptr && extras_->batch != nullptr;
}

// Its callback has started the next receive, which has not been looked at yet.
inline bool AsyncIoState::WaitsForBatch() const {
  return HasBatch() && input_kind_ == InputKind::kReceiveMessage &&
         !input_ended_;
}

// Calls back with one after the other, as long as the callback asks for more.
// Returns false when the state is closed, perhaps destroyed.
bool AsyncIoState::ServeBatch(EventLoop& loop) {
  do {
    if (!loop.MayCallBack()) [[unlikely]] {
      TakeFromBatch(loop);
      CompleteInput(IoStatus::kOk);
      return true;
    }
    if (extras_->input_error_callback) [[unlikely]] {
      JoinErrorCallback();
    }
    const IncomingDatagram& datagram =
        extras_->batch->Take({input_data_, input_size_});
    IoResult result;
    result.truncated = datagram.truncated;
    result.count = datagram.size;
    result.data = {input_data_, datagram.size};
    SocketAddress sender = datagram.sender;
    if (needs_address_) result.sender = &sender;
    if (extras_->batch->empty()) {
      loop.GiveDatagramBatch(std::move(extras_->batch));
    }
    if (!CallBackReceived(loop, result)) return false;
  } while (WaitsForBatch());
  return true;
}

void AsyncIoState::TakeFromBatch(EventLoop& loop) {
  const IncomingDatagram& datagram =
      extras_->batch->Take({input_data_, input_size_});
  input_done_ = datagram.size;
  input_truncated_ = datagram.truncated;
  extras_->sender = datagram.sender;
  if (extras_->batch->empty()) {
    loop.GiveDatagramBatch(std::move(extras_->batch));
  }
}

bool AsyncIoState::InputPeek(EventLoop& loop) {
  // Looking is what makes a spurious report invisible.
  Transfer transfer = loop.kernel().Peek(Watcher::handle());
  if (udp_ == Udp::kNo && transfer.count == 0) {
    return EndStream(transfer.error);
  }
  if (IsPassing(transfer.error)) return false;
  return EndInput(transfer.error.ok() ? IoStatus::kOk : IoStatus::kError,
                  transfer.error);
}

bool AsyncIoState::EndOfOwnBuffer(EventLoop& loop, Error error) {
  if (input_buffer_->size() == 0) {
    loop.input_buffers().Give(input_buffer_);
  }
  return EndStream(error);
}

// A stream gave nothing, and `error` or the end as the reason.
bool AsyncIoState::EndStream(Error error) {
  if (IsPassing(error)) return false;
  input_broken_ = true;
  return EndInput(error.ok() ? IoStatus::kEof : IoStatus::kError, error);
}

// ---- Ending.

bool AsyncIoState::EndInput(IoStatus status, Error error) {
  input_ended_ = true;
  read_status_ = status;
  read_error_ = error.code();
  return true;
}

IoStatus AsyncIoState::BrokenInputStatus() const {
  return read_error_ == 0 ? IoStatus::kEof : IoStatus::kError;
}

void AsyncIoState::QueueInput(EventLoop& loop) {
  ClearDeadline(loop, kReadDeadline);
  UpdateInterest(loop);
  input_ticket_ = loop.Complete(&AsyncIoState::RunInput, this);
}

void AsyncIoState::CompleteInput(IoStatus status, Error error) {
  // What has broken a stream stays its error.
  if (input_broken_) error = Error(read_error_);
  EndInput(status, error);
  QueueInput(*loop());
}

void AsyncIoState::RunInput(void* object) {
  auto& state = *static_cast<AsyncIoState*>(object);
  state.input_ticket_ = kNoTicket;
  EventLoop& loop = *state.loop();
  if (state.input_kind_ == InputKind::kReadWithChecking &&
      state.read_status_ == IoStatus::kOk) {
    if (state.BufferedDataLength() == 0) [[unlikely]] {
      // The callback that started it has dropped since what was there.
      state.GoOnChecking(loop);
      return;
    }
    state.input_ended_ = false;
    state.RunChecking(loop);
  } else if (state.input_kind_ == InputKind::kReceiveMessages &&
             state.read_status_ == IoStatus::kOk) {
    state.RunKeptMessages(loop);
  } else {
    if (state.CallBackOnce(loop) && state.HasOutputToSend()) {
      loop.FlushLater(state);
    }
  }
}

// Calls the callback of an operation that is over with it. Returns true when it
// has left to the caller to send what the callback has started.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::CallBackOnce(
    EventLoop& loop) {
  if (input_kind_ != InputKind::kReceiveMessage ||
      read_status_ != IoStatus::kOk) [[unlikely]] {
    CallBackLast();
    return false;
  }
  if (extras_ != nullptr && extras_->input_error_callback) [[unlikely]] {
    JoinErrorCallback();
  }
  IoResult result;
  result.truncated = input_truncated_;
  result.count = input_done_;
  result.data = {input_data_, input_done_};
  // Not in the state, which the callback may destroy.
  SocketAddress sender;
  if (needs_address_) {
    sender = extras_->sender;
    result.sender = &sender;
  }
  if (!CallBackReceived(loop, result)) return false;
  return !WaitsForBatch() || ServeBatch(loop);
}

// The same for what most often is started again by its own callback: so the
// interest in input is looked at after that. Returns false when the state is
// closed, perhaps destroyed.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool AsyncIoState::CallBackReceived(
    EventLoop& loop, const IoResult& result) noexcept {
  input_kind_ = InputKind::kNone;
  ClearDeadline(loop, kReadDeadline);
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(this, OperationObserver::End::kCallback, result);
  }
  receive_callback_runs_ = true;
  {
    // What it captured may own this state.
    IoCallback callback = std::move(input_callback_);
    loop.BeginCallback(*this);
    callback(*this, result);
  }
  if (!loop.EndCallback() || closed_) [[unlikely]] {
    return false;
  }
  receive_callback_runs_ = false;
  if (input_kind_ == InputKind::kNone) UpdateInterest(loop);
  ApplyEndingsOfCallback();
  return true;
}

// The operation has succeeded: its error callback, which is not called, goes
// together with its callback.
void AsyncIoState::JoinErrorCallback() {
  input_callback_ = [callback = std::move(input_callback_),
                     unused = std::move(extras_->input_error_callback)](
                        AsyncIoState& state, const IoResult& result) mutable {
    callback(state, result);
  };
}

void AsyncIoState::CallBackLast() {
  IoResult result = InputResult();
  bool checking = input_kind_ == InputKind::kReadWithChecking ||
                  input_kind_ == InputKind::kReceiveMessages;
  InputIsOver(OperationObserver::End::kCallback, result);
  IoCallback callback = std::move(input_callback_);
  if (extras_ != nullptr && extras_->input_error_callback) [[unlikely]] {
    CallBackLastInDetail(callback, result, checking);
  } else if (checking) {
    InvokeWithBuffer(callback, {}, result);
  } else {
    Invoke(callback, {}, result);
  }
}

void AsyncIoState::CallBackLastInDetail(IoCallback& callback,
                                        const IoResult& result, bool checking) {
  IoCallback error_callback = std::move(extras_->input_error_callback);
  if (result.status == IoStatus::kError) {
    std::swap(callback, error_callback);
  }
  if (checking) {
    InvokeWithBuffer(callback, {&error_callback, 1}, result);
  } else {
    Invoke(callback, {&error_callback, 1}, result);
  }
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
    loop()->input_buffers().Give(input_buffer_);
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
  absl::Status status = CheckRange(kCall, options.start, options.end,
                                   buffer.size(), /*may_be_empty=*/true);
  if (!status.ok()) return status;
  if (options.end == kToEnd) options.end = buffer.size();
  if (input_buffer_ == nullptr) return 0;
  size_t taken =
      TakeBuffered(buffer.subspan(options.start, options.end - options.start));
  TellDrop(taken);
  return taken;
}

// `Discard`, when there is more to it than dropping bytes.
absl::StatusOr<size_t> AsyncIoState::DiscardInDetail(size_t n) {
  size_t there = BufferedDataLength();
  if (!may_discard_ || closed_ || n > there) return RefuseDrop("Discard", n);
  if (n != 0) input_buffer_->Consume(n);
  TellDrop(n);
  return there - n;
}

absl::StatusOr<size_t> AsyncIoState::RefuseDrop(const char* call,
                                                size_t n) const {
  if (absl::Status status = CheckOpen(call); !status.ok()) return status;
  if (!may_discard_) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(call), "only the callback of ",
                     udp_ == Udp::kNo ? "ReadWithChecking" : "ReceiveMessages",
                     " may call it, and not after Finish"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(Refusal(call), n, " bytes were to be dropped, ",
                   BufferedDataLength(), " are there"));
}

absl::StatusOr<size_t> AsyncIoState::Finish(size_t n) {
  size_t there = BufferedDataLength();
  if (!may_discard_ || closed_ || n > there) [[unlikely]] {
    return RefuseDrop("Finish", n);
  }
  SendRepliesOfCallback();
  if (n != 0) input_buffer_->Consume(n);
  TellDrop(n);
  size_t left = there - n;
  may_discard_ = false;
  may_reply_ = false;
  if (!finished_) {
    finished_ = true;
    IoResult result;
    result.count = left;
    InputIsOver(OperationObserver::End::kCallback, result);
  }
  ReleaseInputBuffer();
  return left;
}

}  // namespace aios
