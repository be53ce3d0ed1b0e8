#include "aios/async_io_state.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/operation_observer.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"

namespace aios {

namespace {

constexpr size_t kMaxReadMax = size_t{1} << 30;

}  // namespace

// ---- Making and closing.

EventLoop& StateFactory::Loop(WaitStateCollection& collection) {
  return *collection.loop_;
}

std::unique_ptr<AsyncIoState> StateFactory::Make(
    WaitStateCollection& collection, Handle handle, bool socket_ipv6,
    CreateAsyncIoStateOptions&& options) {
  std::unique_ptr<AsyncIoState> state =
      Make(Loop(collection), handle, socket_ipv6);
  state->read_timeout_ = ToNanoseconds(options.read_timeout);
  state->write_timeout_ = ToNanoseconds(options.write_timeout);
  state->user_info_ = std::move(options.user_info);
  state->udp_ = options.udp;
  state->ipv6_ = options.ipv6;
  state->queue_output_ = options.queue_output;
  if (!options.name.empty()) state->set_name(std::move(options.name));
  return state;
}

namespace {

// Takes what is in `object` and `options` when it succeeds.
absl::StatusOr<std::unique_ptr<AsyncIoState>> Adopt(
    WaitStateCollection& collection, SocketStreamObject& object,
    CreateAsyncIoStateOptions& options) {
  auto refuse = [&](auto... why) {
    return absl::InvalidArgumentError(
        absl::StrCat("CreateAsyncIoState refused: handle ", object.handle,
                     options.name.empty() ? "" : " for \"", options.name,
                     options.name.empty() ? "" : "\"", why...));
  };
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return refuse(
        ": a timeout is negative; give a length or absl::InfiniteDuration()");
  }
  if (object.pointer.has_value()) options.udp = Udp::kNo;
  SocketInfo info;
  if (Error error = collection.kernel().Adopt(object.handle, &info);
      !error.ok()) {
    return refuse(" cannot be used: ", error.Message());
  }
  const char* mistake = nullptr;
  bool datagram = info.type == SocketType::kDatagram;
  if (options.udp == Udp::kNo) {
    if (datagram) {
      mistake = " is a UDP socket; set `udp`";
    } else if (info.listening) {
      mistake = " is a listening socket; use AcceptTcpConnections";
    }
  } else if (!datagram) {
    mistake = " is a TCP socket; set `udp` to Udp::kNo";
  } else if (info.connected != (options.udp == Udp::kConnected)) {
    mistake = info.connected
                  ? " is a connected UDP socket; set `udp` to Udp::kConnected"
                  : " is an unconnected UDP socket; set `udp` to "
                    "Udp::kUnconnected";
  }
  if (mistake != nullptr) {
    collection.kernel().Release(object.handle);
    return refuse(mistake);
  }
  std::unique_ptr<AsyncIoState> state =
      StateFactory::Make(collection, object.handle,
                         info.family == Family::kIpv6, std::move(options));
  StateFactory::HandleIsGiven(*state);
  if (!datagram && !info.connected) {
    StateFactory::Extras(*state).was_unconnected = true;
  }
  if (object.pointer.has_value()) {
    StateExtras& extras = StateFactory::Extras(*state);
    extras.object = std::move(object.pointer);
    extras.close_object = object.close;
  }
  return state;
}

}  // namespace

absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoState(
    WaitStateCollection& collection, Handle handle,
    CreateAsyncIoStateOptions options) {
  SocketStreamObject object{.handle = handle};
  return Adopt(collection, object, options);
}

absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoStateOnStream(
    WaitStateCollection& collection, SocketStreamObject object,
    CreateAsyncIoStateOptions options) {
  return Adopt(collection, object, options);
}

inline void AsyncIoState::CloseSocket(EventLoop& loop, CloseOptions options) {
  Handle handle = Watcher::handle();
  loop.Remove(*this);
  if (handle == kNoHandle) return;
  if (options.keep_alive) {
    loop.kernel().Release(handle);
  } else if (extras_ != nullptr && extras_->close_object != nullptr) {
    // Its own code closes the socket, which is to be as it was; and the kernel
    // must forget it, for its number comes back.
    loop.kernel().Release(handle);
    extras_->close_object(extras_->object);
  } else if (handle_given_) {
    CloseGivenHandle(loop.kernel(), handle);
  } else {
    loop.kernel().Close(handle);
  }
}

// Other code may have told the socket to linger.
ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::CloseGivenHandle(Kernel& kernel,
                                                            Handle handle) {
  bool lingers = false;
  if (kernel.GetOption(handle, SocketOption::kLinger, &lingers).ok() &&
      lingers) {
    // What goes wrong here goes wrong with the close, too.
    static_cast<void>(
        kernel.SetOption(handle, SocketOption::kLinger, /*on=*/false));
  }
  kernel.Close(handle);
}

// All of `Close`, except that `input_callback_` stays.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline size_t AsyncIoState::CloseButCallback(
    CloseOptions options) {
  EventLoop& loop = *this->loop();
  loop.Enter();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    TellClose(*observer);
  }
  closed_ = true;
  connecting_ = false;
  ClearDeadline(loop, kReadDeadline);
  ClearDeadline(loop, kWriteDeadline);
  if (input_ticket_ != kNoTicket) loop.CancelCompletion(input_ticket_);
  input_ticket_ = kNoTicket;
  input_kind_ = InputKind::kNone;
  if (extras_ != nullptr || output_first_ != nullptr) [[unlikely]] {
    return CloseWithMore(loop, options);
  }
  CloseSocket(loop, options);
  return BufferedDataLength();
}

AsyncIoState::~AsyncIoState() {
  if (closed_) return;
  CloseButCallback({});
  // While the state is there: what the callback captured may look at it.
  input_callback_ = nullptr;
}

void AsyncIoState::operator delete(AsyncIoState* state,
                                   std::destroying_delete_t) {
  if (state->input_callback_runs_) {
    // All but the object: the running callback lies in it. See `RunChecking`.
    state->Close();
    state->user_info_.reset();
    state->deleted_ = true;
    return;
  }
  state->~AsyncIoState();
  ::operator delete(state);
}

size_t AsyncIoState::Close(CloseOptions options) {
  if (closed_) return 0;
  // Destroying a callback may run code of the user, which may destroy this
  // state: so they all go last, and nothing of the state is touched after them.
  IoCallback input_callback;
  if (input_callback_runs_) {
    SendRepliesOfCallback();
    may_reply_ = false;
  } else {
    input_callback = std::move(input_callback_);
  }
  return CloseButCallback(options);
}

// What is left of `Close` when there are writes, or the state has extras.
size_t AsyncIoState::CloseWithMore(EventLoop& loop, CloseOptions options) {
  OutputOperation* operations = std::exchange(output_first_, nullptr);
  output_active_ = nullptr;
  output_last_ = nullptr;
  output_bytes_ = 0;
  output_length_ = 0;
  for (OutputOperation* operation = operations; operation != nullptr;
       operation = operation->next) {
    if (operation->ticket != kNoTicket) {
      loop.CancelCompletion(operation->ticket);
    }
  }
  IoCallback input_error_callback;
  IoCallback next_input_callback;
  IoCallback next_input_error_callback;
  IoCallback connect_callback;
  std::vector<std::unique_ptr<Ending>> endings_to_apply;
  std::vector<std::unique_ptr<Ending>> endings;
  std::unique_ptr<ConnectRace> race;
  if (extras_ != nullptr) {
    if (extras_->connect_ticket != kNoTicket) {
      loop.CancelCompletion(extras_->connect_ticket);
    }
    for (const std::unique_ptr<Ending>& ending : extras_->endings) {
      loop.CancelCompletion(ending->ticket);
    }
    next_input_callback = std::move(extras_->next_input_callback);
    next_input_error_callback = std::move(extras_->next_input_error_callback);
    if (!input_callback_runs_) {
      input_error_callback = std::move(extras_->input_error_callback);
    }
    connect_callback = std::move(extras_->connect_callback);
    race = std::move(extras_->race);
    if (race != nullptr) race->Stop();
    endings_to_apply.swap(extras_->endings_to_apply);
    endings.swap(extras_->endings);
    if (extras_->batch != nullptr) {
      loop.GiveDatagramBatch(std::move(extras_->batch));
    }
  }
  CloseSocket(loop, options);
  size_t left = BufferedDataLength();
  while (operations != nullptr) {
    OutputOperation* next = operations->next;
    std::optional<IoCallback> callback = std::move(operations->callback);
    std::optional<IoCallback> error_callback =
        std::move(operations->error_callback);
    operations->callback.reset();
    operations->error_callback.reset();
    loop.output_operations().Give(operations);
    operations = next;
  }
  return left;
}

void AsyncIoState::TellClose(OperationObserver& observer) const {
  constexpr auto kSilent = OperationObserver::End::kSilent;
  IoResult result;
  result.status = IoStatus::kAborted;
  if (connecting_) observer.OnEnd(extras_.get(), kSilent, result);
  if (input_kind_ != InputKind::kNone) {
    result.count = input_done_;
    observer.OnEnd(this, kSilent, result);
  }
  for (const OutputOperation* operation = output_first_; operation != nullptr;
       operation = operation->next) {
    result.count = operation->done;
    observer.OnEnd(operation, kSilent, result);
  }
  observer.OnClose(this);
}

// ---- Errors of the caller.

std::string AsyncIoState::Describe() const {
  std::string name = this->name();
  return absl::StrCat("async-io-state ",
                      name.empty() ? "" : absl::StrCat("\"", name, "\" "), "(",
                      udp_ == Udp::kNo ? "tcp" : "udp", ", ",
                      closed_ ? std::string("closed")
                              : absl::StrCat("handle ", Watcher::handle()),
                      ")");
}

std::string AsyncIoState::Refusal(const char* call) const {
  return absl::StrCat(Describe(), ": ", call, " refused: ");
}

absl::Status AsyncIoState::CheckOpen(const char* call) const {
  if (closed_) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(call), "the state is closed"));
  }
  loop()->Enter();
  return absl::OkStatus();
}

absl::Status AsyncIoState::CheckStart(const char* call,
                                      const IoCallback& callback,
                                      const Timeout& timeout) const {
  if (MayStart(callback) &&
      (!timeout.has_value() || *timeout >= absl::ZeroDuration())) [[likely]] {
    loop()->Enter();
    return absl::OkStatus();
  }
  if (absl::Status status = CheckOpen(call); !status.ok()) return status;
  if (connecting_) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(call), "it is not connected yet, ",
        udp_ == Udp::kNo ? "ConnectTcp" : "ConnectUdp", " is in progress"));
  }
  if (unconnected_) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(call), "it is not connected, its ",
        udp_ == Udp::kNo ? "ConnectTcp" : "ConnectUdp", " did not succeed"));
  }
  if (!callback) {
    return absl::InvalidArgumentError(
        absl::StrCat(Refusal(call), "the callback is empty"));
  }
  return CheckTimeout(call, *timeout);
}

absl::Status AsyncIoState::CheckTimeout(const char* call,
                                        absl::Duration timeout) const {
  if (timeout >= absl::ZeroDuration()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      Refusal(call), "the timeout ", absl::FormatDuration(timeout),
      " is negative; give a length, zero or absl::InfiniteDuration()"));
}

absl::Status AsyncIoState::CheckRange(const char* call, size_t start,
                                      size_t end, size_t size,
                                      bool may_be_empty) const {
  if (end == kToEnd) end = size;
  if (start <= end && end <= size && (may_be_empty || start < end)) [[likely]] {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      Refusal(call), "the range [", start, ", ", end, ") of a buffer of ", size,
      " bytes is ", start == end && end <= size ? "empty" : "not within it"));
}

// ---- Attributes.

std::any AsyncIoState::object() const {
  if (extras_ != nullptr && extras_->object.has_value()) return extras_->object;
  return handle();
}

WaitStateCollection* AsyncIoState::collection() const {
  return closed_ ? nullptr : &loop()->collection();
}

StateExtras::~StateExtras() = default;

StateExtras& AsyncIoState::Extras() {
  if (extras_ == nullptr) extras_ = std::make_unique<StateExtras>();
  return *extras_;
}

std::string AsyncIoState::name() const {
  return extras_ != nullptr ? extras_->name : std::string();
}

void AsyncIoState::set_name(std::string name) {
  Extras().name = std::move(name);
}

absl::Duration AsyncIoState::read_timeout() const {
  return FromNanoseconds(read_timeout_);
}

absl::Duration AsyncIoState::write_timeout() const {
  return FromNanoseconds(write_timeout_);
}

absl::Status AsyncIoState::set_read_timeout(absl::Duration timeout) {
  if (timeout < absl::ZeroDuration()) [[unlikely]] {
    return CheckTimeout("set_read_timeout", timeout);
  }
  read_timeout_ = ToNanoseconds(timeout);
  TellTimeoutSet(Direction::kInput, timeout);
  return absl::OkStatus();
}

absl::Status AsyncIoState::set_write_timeout(absl::Duration timeout) {
  if (timeout < absl::ZeroDuration()) [[unlikely]] {
    return CheckTimeout("set_write_timeout", timeout);
  }
  write_timeout_ = ToNanoseconds(timeout);
  TellTimeoutSet(Direction::kOutput, timeout);
  return absl::OkStatus();
}

absl::Status AsyncIoState::TakeMaxRead(const char* call, size_t max_read) {
  if (max_read < 1 || max_read > kMaxReadMax) [[unlikely]] {
    return RefuseMaxRead(call, max_read);
  }
  max_read_ = static_cast<uint32_t>(max_read);
  if (observed_ && !closed_) [[unlikely]] {
    loop()->observer()->OnMaxReadSet(this, max_read);
  }
  return absl::OkStatus();
}

absl::Status AsyncIoState::RefuseMaxRead(const char* call,
                                         size_t max_read) const {
  return absl::InvalidArgumentError(absl::StrCat(Refusal(call), "max_read is ",
                                                 max_read, "; it must be 1 to ",
                                                 kMaxReadMax));
}

absl::Status AsyncIoState::set_max_read(size_t max_read) {
  return TakeMaxRead("set_max_read", max_read);
}

std::optional<SocketAddress> AsyncIoState::address() const {
  SocketAddress address;
  if (Watcher::handle() == kNoHandle ||
      !loop()->kernel().LocalAddress(Watcher::handle(), &address).ok()) {
    return std::nullopt;
  }
  return address;
}

std::optional<SocketAddress> AsyncIoState::peer_address() const {
  SocketAddress address;
  if (Watcher::handle() == kNoHandle ||
      !loop()->kernel().PeerAddress(Watcher::handle(), &address).ok()) {
    return std::nullopt;
  }
  return address;
}

// ---- Readiness.

void AsyncIoState::OnWatchFailed(Error error) {
  if (connecting_) {
    CompleteConnect(IoStatus::kError, error);
    return;
  }
  if (input_kind_ != InputKind::kNone && !input_ended_) {
    CompleteInput(IoStatus::kError, error);
  }
  if (output_active_ != nullptr) FailOutput(IoStatus::kError, error);
  UpdateInterest(*loop());
}

// ---- Deadlines.

Nanoseconds AsyncIoState::OnTimer(Nanoseconds now) {
  EventLoop& loop = *this->loop();
  Nanoseconds next = kForever;
  if (read_deadline_ <= now) {
    loop.Due(*this, read_deadline_, read_order_, kReadDeadline);
  } else {
    next = read_deadline_;
  }
  if (write_deadline_ <= now) {
    loop.Due(*this, write_deadline_, write_order_, kWriteDeadline);
  } else {
    next = std::min(next, write_deadline_);
  }
  return next;
}

void AsyncIoState::OnDue(uint8_t which) {
  Nanoseconds now = loop()->Now();
  if (which == kReadDeadline) {
    if (read_deadline_ > now) return;
    // Reports may have been left for a later wait, and a timeout of zero means
    // one attempt: what has arrived by now counts, in however many pieces the
    // kernel gives it.
    EventLoop& loop = *this->loop();
    size_t begin = input_done_;
    size_t before;
    bool ended;
    do {
      before = input_done_;
      ended = Input(loop);
    } while (!ended && input_kind_ == InputKind::kReadBuffer &&
             input_done_ != before &&
             input_done_ - begin < loop.limits().bytes_per_turn_max);
    if (ended) {
      QueueInput(loop);
    } else if (input_kind_ != InputKind::kNone && !input_ended_) {
      TellTimeout(this, read_deadline_);
      CompleteInput(IoStatus::kTimeout);
    }
    return;
  }
  if (write_deadline_ > now) return;
  if (connecting_) {
    // An answer that has come by now counts, too.
    FinishConnect();
    if (extras_->connect_ticket == kNoTicket) {
      TellTimeout(extras_.get(), write_deadline_);
      CompleteConnect(IoStatus::kTimeout);
    }
    return;
  }
  OutputOperation* operation = output_active_;
  Output();
  if (output_active_ == operation && operation != nullptr) {
    TellTimeout(operation, write_deadline_);
    FailOutput(IoStatus::kTimeout, Error());
  }
}

void AsyncIoState::TellTimeout(const void* operation, Nanoseconds deadline) {
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnTimeout(operation, deadline);
  }
}

void AsyncIoState::TellTimeoutSet(Direction direction,
                                  absl::Duration timeout) const {
  if (observed_ && !closed_) [[unlikely]] {
    loop()->observer()->OnTimeoutSet(this, direction, ToNanoseconds(timeout));
  }
}

void AsyncIoState::TellDrop(size_t n) {
  if (n == 0 || closed_) return;
  if (OperationObserver* observer = loop()->observer()) [[unlikely]] {
    observer->OnDrop(this, n);
  }
}

// ---- Callbacks.

void AsyncIoState::Invoke(IoCallback& callback, std::span<IoCallback> unused,
                          const IoResult& result) noexcept {
  EventLoop& loop = *this->loop();
  loop.BeginCallback(*this);
  callback(*this, result);
  // What they captured may own this state.
  callback = nullptr;
  for (IoCallback& one : unused) one = nullptr;
  if (loop.EndCallback()) AfterCallback(loop);
}

void AsyncIoState::ApplyEndings() {
  while (!extras_->endings_to_apply.empty()) {
    std::vector<std::unique_ptr<Ending>> endings;
    endings.swap(extras_->endings_to_apply);
    for (std::unique_ptr<Ending>& ending : endings) {
      ApplyEnding(std::move(ending));
    }
  }
}

}  // namespace aios
