// What the user calls: each call checks, sends what goes before it, and hands
// over to a part of the state.

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/address.h"
#include "aios/duration.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/state/send_lookup.h"
#include "aios/state/state.h"

namespace aios {

namespace {

OperationKind KindOf(InputKind kind) {
  switch (kind) {
    case InputKind::kReadBuffer:
      return OperationKind::kReadBuffer;
    case InputKind::kReceiveMessage:
      return OperationKind::kReceiveMessage;
    case InputKind::kReceiveMessages:
      return OperationKind::kReceiveMessages;
    case InputKind::kWaitForInput:
      return OperationKind::kWaitForInput;
    case InputKind::kReadWithChecking:
    case InputKind::kNone:
      break;
  }
  return OperationKind::kReadWithChecking;
}

}  // namespace

// ---- Checks that several have in common.

absl::Status State::CheckStart(Call call, const IoCallback& callback,
                               const Timeout& timeout) const {
  if (MayStart(callback) &&
      (!timeout.has_value() || *timeout >= absl::ZeroDuration())) [[likely]] {
    loop()->Enter();
    return absl::OkStatus();
  }
  Refusals refusals = this->refusals();
  absl::Status status = refusals.CheckChannel(call);
  if (status.ok()) status = refusals.CheckCallback(call, callback);
  if (status.ok() && timeout.has_value()) {
    status = refusals.CheckTimeout(RuleOf(call).name, *timeout);
  }
  return status;
}

absl::Status State::CheckInput(InputKind kind, const IoCallback& callback,
                               const Timeout& timeout) const {
  Call call = CallOf(kind);
  absl::Status status = CheckStart(call, callback, timeout);
  if (status.ok()) status = refusals().CheckFree(call);
  if (status.ok()) status = refusals().CheckSocket(call);
  return status;
}

// The same for the operations that read into `buffer`.
absl::Status State::CheckRead(InputKind kind, std::span<char> buffer,
                              const IoCallback& callback,
                              const Timeout& timeout, size_t start,
                              size_t end) const {
  absl::Status status = CheckInput(kind, callback, timeout);
  if (!status.ok()) return status;
  return refusals().CheckRange(CallOf(kind), start, end, buffer.size(),
                               /*may_be_empty=*/false);
}

absl::Status State::CheckOutput(OutputKind kind, std::string_view data,
                                const SocketAddress* target,
                                const IoCallback& callback,
                                const WriteOptions& options) const {
  Call call = CallOf(kind);
  absl::Status status = CheckStart(call, callback, options.timeout);
  if (!status.ok()) return status;
  Refusals refusals = this->refusals();
  status = refusals.CheckSocket(call);
  if (status.ok()) {
    status = refusals.CheckRange(call, options.start, options.end, data.size(),
                                 /*may_be_empty=*/!is_stream());
  }
  if (status.ok()) status = refusals.CheckTarget(call, target);
  if (!status.ok()) return status;
  size_t size = std::min(options.end, data.size()) - options.start;
  if (output.HasRoom(loop()->limits(), size)) return status;
  return refusals.NoRoom(call, output.may_wait());
}

// ---- Input.

void State::StartInput(InputKind kind, IoCallback& callback,
                       std::optional<IoCallback>* error_callback,
                       const Timeout& timeout, UserInfo& user_info) {
  EventLoop& loop = *this->loop();
  loop.Enter();
  TakeInputOptions(error_callback, timeout, user_info);
  KeepInputCallback(callback);
  input.Begin(loop, *this, kind);
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStartOfInput(kind);
  }
}

// The range to read to is in place.
ABSL_ATTRIBUTE_NOINLINE void State::TellStartOfInput(InputKind kind) {
  OperationStart start = {.operation = &input,
                          .state = name_of_state(),
                          .kind = KindOf(kind),
                          .poller = &loop()->poller(),
                          .handle = handle(),
                          .datagrams = !is_stream(),
                          .time = loop()->Now(),
                          .timeout = input.timeout(),
                          .buffered = received_.size(),
                          .max_read = checking.max_read()};
  if (kind == InputKind::kReadBuffer || kind == InputKind::kReceiveMessage) {
    start.data = input.buffer().data();
    start.size = input.buffer().size();
  }
  loop()->observer()->OnStart(start);
}

void State::TellTimeoutSet(Direction direction, Nanoseconds timeout) const {
  if (received_.observed() && !closed()) [[unlikely]] {
    loop()->observer()->OnTimeoutSet(name_of_state(), direction, timeout);
  }
}

void State::TellMaxReadSet() const {
  if (received_.observed() && !closed()) [[unlikely]] {
    loop()->observer()->OnMaxReadSet(name_of_state(), checking.max_read());
  }
}

void State::TellDrop(size_t n) const {
  if (received_.observed() && !closed() && n != 0) [[unlikely]] {
    loop()->observer()->OnDrop(name_of_state(), n);
  }
}

void State::TakeInputOptions(std::optional<IoCallback>* error_callback,
                             const Timeout& timeout, UserInfo& user_info) {
  if (timeout.has_value()) {
    input.set_timeout(ToNanoseconds(*timeout));
    TellTimeoutSet(Direction::kInput, input.timeout());
  }
  if (user_info.has_value()) user_info_slot = *std::move(user_info);
  if (error_callback != nullptr && error_callback->has_value()) [[unlikely]] {
    StateExtras& extras = Extras();
    (RunsInPlace(received_.in_callback()) ? extras.next_input_error_callback
                                          : extras.input_error_callback) =
        *std::move(*error_callback);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::KeepInputCallback(
    IoCallback& callback) {
  if (RunsInPlace(received_.in_callback())) [[unlikely]] {
    Extras().next_input_callback = std::move(callback);
  } else {
    input.SetCallback(std::move(callback));
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::AwaitInput(EventLoop& loop) {
  if (was_unconnected() && !input.is_over() && Attempt(loop)) [[unlikely]] {
    input.Queue(loop, *this);
    return;
  }
  input.Await(loop, *this);
}

// A `ReadWithChecking` was started: its callback is called at once when there
// is something to look at already.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::AwaitInputToCheck(
    EventLoop& loop) {
  if (received_.has_buffer()) [[unlikely]] {
    received_.MarkAsNew();
    if (received_.size() != 0) {
      input.Complete(loop, *this, IoStatus::kOk);
      return;
    }
  }
  AwaitInput(loop);
}

absl::Status AsyncIoState::ReadBuffer(std::span<char> buffer,
                                      IoCallback callback,
                                      ReadBufferOptions options) {
  constexpr InputKind kKind = InputKind::kReadBuffer;
  State& state = State::Of(*this);
  if (!state.MayStartInput(callback) || options.timeout.has_value() ||
      !state.is_stream() || options.start >= buffer.size() ||
      options.end != kToEnd) [[unlikely]] {
    absl::Status status = state.CheckRead(
        kKind, buffer, callback, options.timeout, options.start, options.end);
    if (!status.ok()) return status;
  }
  state.input.SetBuffer(buffer.subspan(
      options.start, std::min(options.end, buffer.size()) - options.start));
  state.StartInput(kKind, callback, &options.error_callback, options.timeout,
                   options.user_info);
  EventLoop& loop = *state.loop();
  if (received_.has_buffer()) [[unlikely]] {
    bool full = state.input.FillFrom(received_);
    state.ReleaseReceived();
    if (full) {
      state.input.Complete(loop, state, IoStatus::kOk);
      return absl::OkStatus();
    }
  }
  state.AwaitInput(loop);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReadWithChecking(IoCallback callback) {
  State& state = State::Of(*this);
  if (!state.MayStartInput(callback) || !state.is_stream() ||
      RunsInPlace(received_.in_callback())) [[unlikely]] {
    ReadWithCheckingOptions options;
    return state.StartChecking(callback, options);
  }
  EventLoop& loop = *state.loop();
  loop.Enter();
  state.input.SetCallback(std::move(callback));
  state.input.Begin(loop, state, InputKind::kReadWithChecking);
  if (loop.observer() != nullptr) [[unlikely]] {
    state.TellStartOfInput(InputKind::kReadWithChecking);
  }
  state.AwaitInputToCheck(loop);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReadWithChecking(IoCallback callback,
                                            ReadWithCheckingOptions options) {
  return State::Of(*this).StartChecking(callback, options);
}

absl::Status State::StartChecking(IoCallback& callback,
                                  ReadWithCheckingOptions& options) {
  constexpr InputKind kKind = InputKind::kReadWithChecking;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (status.ok() && options.max_read.has_value()) {
    status = refusals().CheckMaxRead(NameOf(kKind), *options.max_read);
    if (status.ok()) {
      checking.set_max_read(*options.max_read);
      TellMaxReadSet();
    }
  }
  if (!status.ok()) return status;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  AwaitInputToCheck(*loop());
  return status;
}

absl::Status AsyncIoState::WaitForInput(IoCallback callback,
                                        WaitForInputOptions options) {
  constexpr InputKind kKind = InputKind::kWaitForInput;
  State& state = State::Of(*this);
  absl::Status status = state.CheckInput(kKind, callback, options.timeout);
  if (!status.ok()) return status;
  state.StartInput(kKind, callback, nullptr, options.timeout,
                   options.user_info);
  EventLoop& loop = *state.loop();
  if (received_.size() != 0 || state.has_datagrams()) {
    state.input.Complete(loop, state, IoStatus::kOk);
  } else {
    state.AwaitInput(loop);
  }
  return status;
}

absl::Status AsyncIoState::ReceiveMessage(std::span<char> buffer,
                                          IoCallback callback) {
  return State::Of(*this).StartReceive(buffer, callback,
                                       /*needs_address=*/false);
}

absl::Status AsyncIoState::ReceiveMessageWithAddress(std::span<char> buffer,
                                                     IoCallback callback) {
  return State::Of(*this).StartReceive(buffer, callback,
                                       /*needs_address=*/true);
}

absl::Status State::StartReceive(std::span<char> buffer, IoCallback& callback,
                                 bool needs_address) {
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
  State& state = State::Of(*this);
  absl::Status status =
      state.CheckRead(InputKind::kReceiveMessage, buffer, callback,
                      options.timeout, options.start, options.end);
  if (!status.ok()) return status;
  state.TakeInputOptions(&options.error_callback, options.timeout,
                         options.user_info);
  size_t end = std::min(options.end, buffer.size());
  state.BeginReceive(*state.loop(),
                     buffer.subspan(options.start, end - options.start),
                     callback, options.needs_address);
  return status;
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void State::BeginReceive(
    EventLoop& loop, std::span<char> range, IoCallback& callback,
    bool needs_address) {
  KeepInputCallback(callback);
  input.SetBuffer(range);
  input.set_needs_address(needs_address);
  input.Begin(loop, *this, InputKind::kReceiveMessage);
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStartOfInput(InputKind::kReceiveMessage);
  }
  if (is_stream()) {
    ReceiveFromStream(loop);
    return;
  }
  bool asks_again = loop.InCallbackOf(*this);
  input.set_asks_again(asks_again);
  if (extras == nullptr) [[unlikely]] {
    // Where the sender, and what comes together, is kept.
    if (needs_address || asks_again) Extras();
  } else if (!extras->datagrams.empty()) {
    // While the callback of a receive is running, what is there comes after it.
    if (received_.in_callback() != InCallback::kReceive) {
      extras->datagrams.TakeNext(loop, input);
      input.Complete(loop, *this, IoStatus::kOk);
    }
    return;
  }
  if (input.is_over() || !Wants(kReadable)) AwaitInput(loop);
}

void State::ReceiveFromStream(EventLoop& loop) {
  input.set_asks_again(false);
  if (input.needs_address()) {
    // The sender is always the peer. If there is none any more, the receive
    // will say so.
    Extras().datagrams.set_sender(PeerAddress().value_or(SocketAddress()));
  }
  if (received_.size() != 0) [[unlikely]] {
    input.FillFrom(received_);
    ReleaseReceived();
    input.Complete(loop, *this, IoStatus::kOk);
  } else {
    AwaitInput(loop);
  }
}

absl::Status AsyncIoState::ReceiveMessages(IoCallback callback) {
  return ReceiveMessages(std::move(callback), ReceiveMessagesOptions());
}

absl::Status AsyncIoState::ReceiveMessages(IoCallback callback,
                                           ReceiveMessagesOptions options) {
  constexpr InputKind kKind = InputKind::kReceiveMessages;
  State& state = State::Of(*this);
  absl::Status status = state.CheckInput(kKind, callback, options.timeout);
  if (!status.ok()) return status;
  state.StartInput(kKind, callback, &options.error_callback, options.timeout,
                   options.user_info);
  // For the size of the batches.
  state.Extras();
  EventLoop& loop = *state.loop();
  if (state.has_datagrams()) {
    state.input.Complete(loop, state, IoStatus::kOk);
  } else {
    state.AwaitInput(loop);
  }
  return status;
}

// ---- What was received.

// `Discard`, when there is more to it than dropping bytes.
absl::StatusOr<size_t> AsyncIoState::DiscardInDetail(size_t n) {
  State& state = State::Of(*this);
  if (!received_.MayDrop(n)) return state.RefuseDrop(Call::kDiscard, n);
  received_.Drop(n);
  state.TellDrop(n);
  return received_.size();
}

absl::StatusOr<size_t> State::RefuseDrop(Call call, size_t n) const {
  Refusals refusals = this->refusals();
  absl::Status status = refusals.CheckChannel(call);
  if (status.ok()) status = refusals.CheckInCallback(call);
  if (status.ok()) status = refusals.CheckDrop(call, n);
  return status;
}

absl::StatusOr<size_t> AsyncIoState::Finish(size_t n) {
  State& state = State::Of(*this);
  if (!received_.MayDrop(n)) [[unlikely]] {
    return state.RefuseDrop(Call::kFinish, n);
  }
  state.SendHeldReplies();
  received_.Drop(n);
  state.TellDrop(n);
  size_t left = received_.size();
  if (GoesOn(received_.in_callback())) {
    received_.set_in_callback(InCallback::kFinished);
    IoResult result;
    result.count = left;
    state.input.Over(*state.loop(), state, OperationObserver::End::kCallback,
                     result);
  } else {
    received_.set_in_callback(InCallback::kNone);
  }
  state.ReleaseReceived();
  return left;
}

absl::StatusOr<size_t> AsyncIoState::GetBufferedData(
    std::span<char> buffer, GetBufferedDataOptions options) {
  constexpr Call kCall = Call::kGetBufferedData;
  State& state = State::Of(*this);
  absl::Status status = state.refusals().CheckFree(kCall);
  if (status.ok()) {
    status = state.refusals().CheckRange(kCall, options.start, options.end,
                                         buffer.size(), /*may_be_empty=*/true);
  }
  if (!status.ok()) return status;
  if (options.end == kToEnd) options.end = buffer.size();
  size_t count = received_.Take(
      buffer.subspan(options.start, options.end - options.start));
  state.ReleaseReceived();
  state.TellDrop(count);
  return count;
}

// ---- Output.

// Most writes have no options and nothing before them.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline absl::Status State::StartStreamOutput(
    OutputKind kind, std::string_view data, IoCallback& callback) {
  if (!MayStart(callback) || output.is_broken() || !output.empty() ||
      !is_stream() || data.empty() || !loop()->replies().empty()) [[unlikely]] {
    return StartOutputWithoutOptions(kind, data, nullptr, callback);
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  output.AddFirst(loop, *this, Output::New(loop, *this, kind, data, callback));
  return absl::OkStatus();
}

absl::Status State::StartOutputWithoutOptions(OutputKind kind,
                                              std::string_view data,
                                              const SocketAddress* target,
                                              IoCallback& callback) {
  WriteOptions options;
  return StartOutput(kind, data, target, callback, options);
}

absl::Status State::StartOutput(OutputKind kind, std::string_view data,
                                const SocketAddress* target,
                                IoCallback& callback, WriteOptions& options,
                                std::unique_ptr<SendLookup> lookup) {
  if (!closed()) SendHeldReplies();
  absl::Status status = CheckOutput(kind, data, target, callback, options);
  if (!status.ok()) return status;
  EventLoop& loop = *this->loop();
  OutputOperation& operation = Output::New(loop, *this, kind, data, callback);
  if (target != nullptr) {
    // A socket of IPv6 reaches IPv4 by mapped addresses, and by no others.
    operation.target = SocketAddress(
        socket_ipv6() ? target->ip().ToIpv4Mapped() : target->ip().Unmapped(),
        target->port());
  }
  if (lookup != nullptr) [[unlikely]] {
    lookup->set_operation(&operation);
    operation.lookup = std::move(lookup);
  }
  TakeOptions(operation, options);
  if (output.empty() && !output.is_broken()) {
    output.AddFirst(loop, *this, operation);
  } else {
    output.Add(loop, *this, operation);
  }
  return status;
}

void State::TakeOptions(OutputOperation& operation, WriteOptions& options) {
  operation.data += options.start;
  operation.size = std::min(options.end, operation.size) - options.start;
  if (options.timeout.has_value()) {
    operation.timeout = ToNanoseconds(*options.timeout);
    output.set_timeout(operation.timeout);
    TellTimeoutSet(Direction::kOutput, operation.timeout);
  }
  if (options.error_callback.has_value() && *options.error_callback) {
    operation.error_callback.emplace(*std::move(options.error_callback));
  }
  if (options.user_info.has_value()) {
    user_info_slot = *std::move(options.user_info);
  }
}

absl::Status AsyncIoState::WriteBuffer(std::string_view data,
                                       IoCallback callback) {
  return State::Of(*this).StartStreamOutput(OutputKind::kWriteBuffer, data,
                                            callback);
}

absl::Status AsyncIoState::WriteBuffer(std::string_view data,
                                       IoCallback callback,
                                       WriteOptions options) {
  return State::Of(*this).StartOutput(OutputKind::kWriteBuffer, data, nullptr,
                                      callback, options);
}

absl::Status AsyncIoState::SendMessage(std::string_view data,
                                       IoCallback callback) {
  return State::Of(*this).StartStreamOutput(OutputKind::kSendMessage, data,
                                            callback);
}

absl::Status AsyncIoState::SendMessage(std::string_view data,
                                       IoCallback callback,
                                       WriteOptions options) {
  return State::Of(*this).StartOutput(OutputKind::kSendMessage, data, nullptr,
                                      callback, options);
}

absl::Status AsyncIoState::SendMessageToAddress(const HostSpec& host,
                                                const Service& service,
                                                std::string_view data,
                                                IoCallback callback,
                                                WriteOptions options) {
  constexpr Call kCall = Call::kSendMessageToAddress;
  State& state = State::Of(*this);
  Refusals refusals = state.refusals();
  if (state.closed()) return refusals.CheckChannel(kCall);
  EventLoop& loop = *state.loop();
  loop.Enter();
  if (IsName(host)) {
    absl::StatusOr<uint16_t> port =
        loop.names().Port(service, SocketType::kDatagram);
    if (!port.ok()) return refusals.Refuse(kCall, port.status());
    return state.SendToName(host.text(), *port, data, callback, options);
  }
  absl::StatusOr<SocketAddress> target =
      ResolveAddress(loop, host, service, SocketType::kDatagram);
  if (!target.ok()) return refusals.Refuse(kCall, target.status());
  return state.StartOutput(OutputKind::kSendToAddress, data, &*target, callback,
                           options);
}

absl::Status State::SendToName(std::string_view host, uint16_t port,
                               std::string_view data, IoCallback& callback,
                               WriteOptions& options) {
  constexpr Call kCall = Call::kSendMessageToAddress;
  if (ipv6() && !socket_ipv6()) {
    return refusals().Refuse(
        kCall, absl::InvalidArgumentError(
                   "names are looked up in IPv6, as `ipv6` says, but the "
                   "socket is IPv4"));
  }
  NameService& names = loop()->names();
  Family family = ipv6() ? Family::kIpv6 : Family::kIpv4;
  const Answer* known = names.Known(host, family);
  if (known != nullptr && known->error.ok()) [[likely]] {
    SocketAddress target(known->destinations.front().ip, port);
    return StartOutput(OutputKind::kSendToAddress, data, &target, callback,
                       options);
  }
  // Nobody is asked for the sake of an operation that is refused.
  absl::Status status =
      CheckOutput(OutputKind::kSendToAddress, data, nullptr, callback, options);
  if (!status.ok()) return status;
  auto lookup = std::make_unique<SendLookup>(host, port);
  if (known != nullptr) {
    lookup->Fail(known->error);
  } else if (status = lookup->Ask(names, family); !status.ok()) {
    return refusals().Refuse(kCall, status);
  }
  return StartOutput(OutputKind::kSendToAddress, data, nullptr, callback,
                     options, std::move(lookup));
}

absl::Status AsyncIoState::SendMessageToAddress(const SocketAddress& address,
                                                std::string_view data,
                                                IoCallback callback) {
  constexpr OutputKind kKind = OutputKind::kSendToAddress;
  State& state = State::Of(*this);
  if (!state.MayStart(callback) || state.udp() != Udp::kUnconnected ||
      state.socket_ipv6() || address.family() != Family::kIpv4 ||
      !state.output.HasRoom(state.loop()->limits(), data.size()) ||
      !state.loop()->datagram_replies().empty()) [[unlikely]] {
    return state.StartOutputWithoutOptions(kKind, data, &address, callback);
  }
  EventLoop& loop = *state.loop();
  loop.Enter();
  OutputOperation& operation = Output::New(loop, state, kKind, data, callback);
  operation.target = address;
  if (state.output.empty()) {
    state.output.AddFirst(loop, state, operation);
  } else {
    state.output.Add(loop, state, operation);
  }
  return absl::OkStatus();
}

absl::Status AsyncIoState::SendMessageToAddress(const SocketAddress& address,
                                                std::string_view data,
                                                IoCallback callback,
                                                WriteOptions options) {
  return State::Of(*this).StartOutput(OutputKind::kSendToAddress, data,
                                      &address, callback, options);
}

absl::Status AsyncIoState::ReplyOnStream(std::string_view data) {
  State& state = State::Of(*this);
  if (received_.in_callback() != InCallback::kChecking ||
      state.output.is_broken() || received_.observed() ||
      !state.output.empty() || !ReplyBatch::IsSmall(data) ||
      state.loop()->replies().full()) [[unlikely]] {
    return state.ReplyInDetail(data);
  }
  state.HoldReplyOnStream(data);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReplyToDatagram(std::string_view data) {
  State& state = State::Of(*this);
  EventLoop& loop = *state.loop();
  if (received_.observed() || !state.output.empty() ||
      !Replies::HoldDatagram(loop, state, data)) [[unlikely]] {
    return state.ReplyInDetail(data);
  }
  loop.CheckThread();
  return absl::OkStatus();
}

ABSL_ATTRIBUTE_NOINLINE absl::Status State::ReplyInDetail(
    std::string_view data) {
  if (!received_.observed() || !GoesOn(received_.in_callback())) {
    return TryReply(data);
  }
  EventLoop& loop = *this->loop();
  OperationObserver& observer = *loop.observer();
  if (is_stream()) {
    // Before, as it may be sent inside.
    observer.OnReply(name_of_state(), data, nullptr);
    if (!output.is_broken() && ReplyBatch::IsSmall(data) && output.empty() &&
        !loop.replies().full()) {
      HoldReplyOnStream(data);
      return absl::OkStatus();
    }
  } else {
    observer.OnReply(name_of_state(), data, Replies::Target(loop, *this));
    if (output.empty() && Replies::HoldDatagram(loop, *this, data)) {
      return absl::OkStatus();
    }
  }
  absl::Status status = TryReply(data);
  if (!status.ok()) observer.OnReplyRefused(name_of_state());
  return status;
}

absl::Status State::TryReply(std::string_view data) {
  constexpr Call kCall = Call::kReply;
  Refusals refusals = this->refusals();
  absl::Status status = refusals.CheckChannel(kCall);
  if (status.ok()) status = refusals.CheckInCallback(kCall);
  if (status.ok() && data.empty() && is_stream()) {
    status = refusals.CheckRange(kCall, 0, 0, 0, /*may_be_empty=*/false);
  }
  if (!status.ok()) return status;
  EventLoop& loop = *this->loop();
  const Limits& limits = loop.limits();
  if (!is_stream()) {
    SendHeldReplies();
  } else if (!loop.replies().HasRoom(data, limits.bytes_per_turn_max)) {
    replies.SendStream(loop, *this, output);
  }
  if (!output.empty()) {
    bool may_wait =
        output.may_wait() || output.first()->kind == OutputKind::kReply;
    if (!may_wait || !output.HasRoomBehindFirst(
                         limits, loop.replies().bytes() + data.size())) {
      return refusals.NoRoom(kCall, may_wait);
    }
  }
  if (is_stream() && !output.is_broken()) {
    replies.Hold(loop, *this, output, received_, data);
  } else if (!is_stream() && output.active() == nullptr) {
    replies.HoldOrSendDatagram(loop, *this, output, data);
  } else {
    replies.QueueCopy(loop, *this, output, data,
                      is_stream() ? nullptr : Replies::Target(loop, *this));
  }
  return status;
}

// ---- Ending.

absl::Status AsyncIoState::Abort(IoCallback abort_callback,
                                 Direction direction) {
  State& state = State::Of(*this);
  absl::Status status = state.refusals().CheckChannel(Call::kAbort);
  if (status.ok()) {
    status = state.refusals().CheckCallback(Call::kAbort, abort_callback);
  }
  if (!status.ok()) return status;
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kAbort;
  ending->direction = direction;
  ending->callback = std::move(abort_callback);
  state.StartEnding(std::move(ending));
  return status;
}

absl::Status AsyncIoState::AbortAndClose(AbortAndCloseOptions options) {
  State& state = State::Of(*this);
  absl::Status status = state.refusals().CheckChannel(Call::kAbortAndClose);
  if (!status.ok()) return status;
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kClose;
  ending->close_callback = std::move(options.close_callback);
  ending->keep_alive = options.keep_alive;
  state.StartEnding(std::move(ending));
  return status;
}

absl::StatusOr<bool> AsyncIoState::Shutdown(Direction direction,
                                            ShutdownOptions options) {
  State& state = State::Of(*this);
  absl::Status status = state.refusals().CheckChannel(Call::kShutdown);
  if (!status.ok()) return status;
  auto ending = std::make_unique<Ending>();
  ending->kind = Ending::Kind::kShutdown;
  ending->direction = direction;
  ending->callback = std::move(options.callback);
  if (options.abort && state.Busy(direction)) {
    state.StartEnding(std::move(ending));
    return false;
  }
  ending->result.error = state.ShutSocketDown(direction);
  Error error = ending->result.error;
  if (!error.ok()) ending->result.status = IoStatus::kError;
  if (ending->callback) {
    // It is done: only the callback is left, as for an abort of nothing.
    ending->kind = Ending::Kind::kAbort;
    state.QueueEnding(std::move(ending));
  }
  if (!error.ok()) {
    return error.ToStatus(
        absl::StrCat(state.refusals().Describe(), ": Shutdown"));
  }
  return true;
}

// ---- Attributes.

StateExtras& State::Extras() {
  if (extras == nullptr) extras = std::make_unique<StateExtras>();
  return *extras;
}

Handle AsyncIoState::handle() const {
  const State& state = State::Of(*this);
  state.set_handle_given();
  return state.handle();
}

std::any AsyncIoState::object() const {
  const State& state = State::Of(*this);
  if (state.extras != nullptr && state.extras->object.has_value()) {
    return state.extras->object;
  }
  return handle();
}

WaitStateCollection* AsyncIoState::collection() const {
  const State& state = State::Of(*this);
  return state.closed() ? nullptr : &state.loop()->collection();
}

bool AsyncIoState::closed() const { return State::Of(*this).closed(); }

bool AsyncIoState::connecting() const { return State::Of(*this).connecting(); }

std::string AsyncIoState::name() const {
  const State& state = State::Of(*this);
  return state.extras != nullptr ? state.extras->name : std::string();
}

void AsyncIoState::set_name(std::string name) {
  State::Of(*this).Extras().name = std::move(name);
}

const std::any& AsyncIoState::user_info() const {
  return State::Of(*this).user_info_slot;
}

std::any& AsyncIoState::user_info() { return State::Of(*this).user_info_slot; }

void AsyncIoState::set_user_info(std::any user_info) {
  State::Of(*this).user_info_slot = std::move(user_info);
}

absl::Duration AsyncIoState::read_timeout() const {
  return FromNanoseconds(State::Of(*this).input.timeout());
}

absl::Duration AsyncIoState::write_timeout() const {
  return FromNanoseconds(State::Of(*this).output.timeout());
}

absl::Status AsyncIoState::set_read_timeout(absl::Duration timeout) {
  State& state = State::Of(*this);
  if (timeout < absl::ZeroDuration()) [[unlikely]] {
    return state.refusals().CheckTimeout("set_read_timeout", timeout);
  }
  state.input.set_timeout(ToNanoseconds(timeout));
  state.TellTimeoutSet(Direction::kInput, state.input.timeout());
  return absl::OkStatus();
}

absl::Status AsyncIoState::set_write_timeout(absl::Duration timeout) {
  State& state = State::Of(*this);
  if (timeout < absl::ZeroDuration()) [[unlikely]] {
    return state.refusals().CheckTimeout("set_write_timeout", timeout);
  }
  state.output.set_timeout(ToNanoseconds(timeout));
  state.TellTimeoutSet(Direction::kOutput, state.output.timeout());
  return absl::OkStatus();
}

IoStatus AsyncIoState::read_status() const {
  return State::Of(*this).input.status();
}

IoStatus AsyncIoState::write_status() const {
  return State::Of(*this).output.status();
}

Error AsyncIoState::read_error() const {
  return State::Of(*this).input.error();
}

Error AsyncIoState::write_error() const {
  return State::Of(*this).output.error();
}

size_t AsyncIoState::max_read() const {
  return State::Of(*this).checking.max_read();
}

absl::Status AsyncIoState::set_max_read(size_t max_read) {
  State& state = State::Of(*this);
  if (!Checking::IsMaxRead(max_read)) [[unlikely]] {
    return state.refusals().CheckMaxRead("set_max_read", max_read);
  }
  state.checking.set_max_read(max_read);
  state.TellMaxReadSet();
  return absl::OkStatus();
}

size_t AsyncIoState::old_length() const { return received_.old_length(); }

size_t AsyncIoState::output_queue_bytes() const {
  return State::Of(*this).output.bytes();
}

size_t AsyncIoState::output_queue_length() const {
  return State::Of(*this).output.length();
}

std::optional<SocketAddress> AsyncIoState::address() const {
  return State::Of(*this).LocalAddress();
}

std::optional<SocketAddress> AsyncIoState::peer_address() const {
  return State::Of(*this).PeerAddress();
}

}  // namespace aios
