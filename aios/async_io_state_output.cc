// The output side of a state.

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/operation_observer.h"
#include "aios/output_queue.h"
#include "aios/send_lookup.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"

namespace aios {

namespace {

// Buffers of one gathering send, datagrams of one batch.
constexpr size_t kGatherMax = 64;

// Writes and datagrams that one state sends before the others have their turn.
constexpr size_t kOperationsPerTurnMax = 4 * kGatherMax;

}  // namespace

OperationKind AsyncIoState::KindOf(OutputKind kind) {
  switch (kind) {
    case OutputKind::kWriteBuffer:
      return OperationKind::kWriteBuffer;
    case OutputKind::kSendMessage:
      return OperationKind::kSendMessage;
    case OutputKind::kSendToAddress:
      return OperationKind::kSendMessageToAddress;
    case OutputKind::kReply:
      return OperationKind::kReply;
  }
  return OperationKind::kWriteBuffer;
}

const char* AsyncIoState::OutputName(OutputKind kind) {
  return OperationName(KindOf(kind));
}

// ---- Starting.

// Most writes have no options and nothing before them.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline absl::Status
AsyncIoState::StartStreamOutput(OutputKind kind, std::string_view data,
                                IoCallback& callback) {
  if ((closed_ | connecting_ | unconnected_ | output_broken_) || !callback ||
      output_first_ != nullptr || udp_ != Udp::kNo || data.empty() ||
      !loop()->replies().empty()) [[unlikely]] {
    return StartWithoutOptions(kind, data, nullptr, callback);
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  AddFirstOutput(loop, NewOutput(loop, kind, data, callback));
  return absl::OkStatus();
}

absl::Status AsyncIoState::StartWithoutOptions(OutputKind kind,
                                               std::string_view data,
                                               const SocketAddress* target,
                                               IoCallback& callback) {
  WriteOptions options;
  return StartOutput(kind, data, target, callback, options);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline OutputOperation& AsyncIoState::NewOutput(
    EventLoop& loop, OutputKind kind, std::string_view data,
    IoCallback& callback) {
  OutputOperation& operation = *loop.output_operations().Take();
  operation.next = nullptr;
  operation.state = this;
  operation.data = data.data();
  operation.size = data.size();
  operation.done = 0;
  operation.timeout = OutputOperation::kNotGiven;
  operation.callback.emplace(std::move(callback));
  operation.kind = kind;
  operation.ticket = kNoTicket;
  return operation;
}

// The turn of `output_active_` has come, as it was started.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::ActivateFirstOutput() {
  write_status_ = IoStatus::kOk;
  write_error_ = 0;
  if (output_active_->timeout == OutputOperation::kNotGiven) {
    output_active_->timeout = write_timeout_;
  }
  if (output_active_->timeout != kForever) {
    write_order_ = loop()->NextDeadlineOrder();
  }
}

// The same for one that may have waited for it.
void AsyncIoState::ActivateOutput() {
  ActivateFirstOutput();
  EventLoop& loop = *this->loop();
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnTurnOfWrite(output_active_, loop.Now(),
                            output_active_->timeout);
  }
}

// Told of before it is given its turn when it is `queued`, and then after it.
void AsyncIoState::TellStartOfOutput(const OutputOperation& operation,
                                     bool queued) {
  const bool named = operation.lookup != nullptr && !operation.lookup->found();
  OperationStart start = {.operation = &operation,
                          .state = this,
                          .kind = KindOf(operation.kind),
                          .poller = &loop()->poller(),
                          .handle = handle(),
                          .datagrams = udp_ != Udp::kNo,
                          .time = loop()->Now(),
                          .queued = queued,
                          .data = operation.data,
                          .size = operation.size,
                          .waits_for_name = named};
  if (operation.timeout != OutputOperation::kNotGiven) {
    start.timeout = operation.timeout;
    start.given = queued;
  }
  if (udp_ == Udp::kUnconnected && !named) start.target = &operation.target;
  loop()->observer()->OnStart(start);
}

// Unless the operation in progress has a deadline already. Among equal ones its
// place is that of its turn, not of this call, which may come later.
void AsyncIoState::SetWriteDeadline(EventLoop& loop) {
  if (write_deadline_ != kForever) return;
  uint32_t order = write_order_;
  SetDeadline(loop, kWriteDeadline, output_active_->timeout);
  write_order_ = order;
}

// `operation` has nothing before it.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::AddFirstOutput(
    EventLoop& loop, OutputOperation& operation) {
  output_first_ = &operation;
  output_last_ = &operation;
  output_bytes_ = operation.size;
  output_length_ = 1;
  output_active_ = &operation;
  ActivateFirstOutput();
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStartOfOutput(operation, /*queued=*/false);
  }
  // Started by a callback it is most likely sent before the time moves on, and
  // needs no deadline: see `Output`.
  if (!loop.in_call()) [[unlikely]] {
    SetWriteDeadline(loop);
  }
  SendLater(loop);
}

// Calls `Flush` soon: after the callback of this state, if one is running.
inline void AsyncIoState::SendLater(EventLoop& loop) {
  if (!loop.InCallbackOf(*this)) loop.FlushLater(*this);
}

absl::Status AsyncIoState::WriteBuffer(std::string_view data,
                                       IoCallback callback) {
  return StartStreamOutput(OutputKind::kWriteBuffer, data, callback);
}

absl::Status AsyncIoState::WriteBuffer(std::string_view data,
                                       IoCallback callback,
                                       WriteOptions options) {
  return StartOutput(OutputKind::kWriteBuffer, data, nullptr, callback,
                     options);
}

absl::Status AsyncIoState::SendMessage(std::string_view data,
                                       IoCallback callback) {
  return StartStreamOutput(OutputKind::kSendMessage, data, callback);
}

absl::Status AsyncIoState::SendMessage(std::string_view data,
                                       IoCallback callback,
                                       WriteOptions options) {
  return StartOutput(OutputKind::kSendMessage, data, nullptr, callback,
                     options);
}

absl::Status AsyncIoState::SendMessageToAddress(const HostSpec& host,
                                                const Service& service,
                                                std::string_view data,
                                                IoCallback callback,
                                                WriteOptions options) {
  constexpr const char* kCall = "SendMessageToAddress";
  if (absl::Status status = CheckOpen(kCall); !status.ok()) return status;
  auto refuse = [this](const absl::Status& why) {
    return absl::Status(why.code(),
                        absl::StrCat(Refusal(kCall), why.message()));
  };
  if (IsName(host)) {
    absl::StatusOr<uint16_t> port =
        loop()->names().Port(service, SocketType::kDatagram);
    if (!port.ok()) return refuse(port.status());
    return SendToName(host.text(), *port, data, callback, options);
  }
  absl::StatusOr<SocketAddress> target =
      ResolveAddress(*loop(), host, service, SocketType::kDatagram);
  if (!target.ok()) return refuse(target.status());
  return StartOutput(OutputKind::kSendToAddress, data, &*target, callback,
                     options);
}

absl::Status AsyncIoState::SendToName(std::string_view host, uint16_t port,
                                      std::string_view data,
                                      IoCallback& callback,
                                      WriteOptions& options) {
  if (ipv6_ && !socket_ipv6_) {
    return absl::InvalidArgumentError(absl::StrCat(
        Refusal(OutputName(OutputKind::kSendToAddress)),
        "names are looked up in IPv6, as `ipv6` says, but the socket is IPv4"));
  }
  NameService& names = loop()->names();
  Family family = ipv6_ ? Family::kIpv6 : Family::kIpv4;
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
    return absl::Status(
        status.code(),
        absl::StrCat(Refusal(OutputName(OutputKind::kSendToAddress)),
                     status.message()));
  }
  return StartOutput(OutputKind::kSendToAddress, data, nullptr, callback,
                     options, std::move(lookup));
}

void AsyncIoState::TargetIsKnown(OutputOperation& operation) {
  if (socket_ipv6_) {
    operation.target = SocketAddress(operation.target.ip().ToIpv4Mapped(),
                                     operation.target.port());
  }
  if (&operation == output_active_ && !output_blocked_) {
    loop()->FlushLater(*this);
  }
}

absl::Status AsyncIoState::SendMessageToAddress(const SocketAddress& address,
                                                std::string_view data,
                                                IoCallback callback) {
  if (!MayStart(callback) || udp_ != Udp::kUnconnected || socket_ipv6_ ||
      address.family() != Family::kIpv4 || !HasRoomInQueue(data.size()) ||
      !loop()->datagram_replies().empty()) [[unlikely]] {
    return StartWithoutOptions(OutputKind::kSendToAddress, data, &address,
                               callback);
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  OutputOperation& operation =
      NewOutput(loop, OutputKind::kSendToAddress, data, callback);
  operation.target = address;
  if (output_first_ == nullptr) {
    AddFirstOutput(loop, operation);
  } else {
    AddOutput(loop, operation);
  }
  return absl::OkStatus();
}

absl::Status AsyncIoState::SendMessageToAddress(const SocketAddress& address,
                                                std::string_view data,
                                                IoCallback callback,
                                                WriteOptions options) {
  return StartOutput(OutputKind::kSendToAddress, data, &address, callback,
                     options);
}

absl::Status AsyncIoState::CheckOutput(OutputKind kind, std::string_view data,
                                       const SocketAddress* target,
                                       const IoCallback& callback,
                                       const WriteOptions& options) const {
  const char* call = OutputName(kind);
  absl::Status status = CheckStart(call, callback, options.timeout);
  if (!status.ok()) return status;
  const char* mistake = nullptr;
  if (kind == OutputKind::kWriteBuffer && udp_ != Udp::kNo) {
    mistake = udp_ == Udp::kConnected
                  ? "the socket is UDP; use SendMessage"
                  : "the socket is UDP; use SendMessageToAddress";
  } else if (kind == OutputKind::kSendMessage && udp_ == Udp::kUnconnected) {
    mistake = "the socket is not connected; use SendMessageToAddress";
  } else if (kind == OutputKind::kSendToAddress && udp_ != Udp::kUnconnected) {
    mistake = "the socket has a fixed peer; use SendMessage";
  }
  if (mistake != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(Refusal(call), mistake));
  }
  status = CheckRange(call, options.start, options.end, data.size(),
                      /*may_be_empty=*/udp_ != Udp::kNo);
  if (!status.ok()) return status;
  if (target != nullptr && !socket_ipv6_ && target->ip().Unmapped().is_ipv6()) {
    return absl::InvalidArgumentError(
        absl::StrCat(Refusal(call), "the socket is IPv4, the address ",
                     target->ToString(), " is IPv6"));
  }
  size_t size = std::min(options.end, data.size()) - options.start;
  if (HasRoomInQueue(size)) return status;
  return RefuseForLackOfRoom(call, queue_output_);
}

absl::Status AsyncIoState::RefuseForLackOfRoom(const char* call,
                                               bool may_wait) const {
  if (!may_wait) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(call), OutputName(output_first_->kind),
                     " is in progress; only one output operation may be, "
                     "unless the state has queue_output"));
  }
  const Limits& limits = loop()->limits();
  return absl::ResourceExhaustedError(absl::StrCat(
      Refusal(call), "behind the ", OutputName(output_first_->kind),
      " in progress ", output_bytes_ - output_first_->size, " bytes wait in ",
      output_length_ - 1, " operations; the limits are ",
      limits.output_queue_bytes_max, " and ", limits.output_queue_length_max));
}

// Whether `size` bytes more may wait: the limits are for what does so behind
// the operation in progress.
inline bool AsyncIoState::HasRoomInQueue(size_t size) const {
  return output_first_ == nullptr ||
         (queue_output_ && HasRoomBehindFirst(size));
}

bool AsyncIoState::HasRoomBehindFirst(size_t size) const {
  const Limits& limits = loop()->limits();
  size_t waiting_bytes = output_bytes_ - output_first_->size;
  return output_length_ <= limits.output_queue_length_max &&
         size <= limits.output_queue_bytes_max &&
         waiting_bytes <= limits.output_queue_bytes_max - size;
}

absl::Status AsyncIoState::StartOutput(OutputKind kind, std::string_view data,
                                       const SocketAddress* target,
                                       IoCallback& callback,
                                       WriteOptions& options,
                                       std::unique_ptr<SendLookup> lookup) {
  if (!closed_) SendRepliesOfCallback();
  absl::Status status = CheckOutput(kind, data, target, callback, options);
  if (!status.ok()) return status;
  EventLoop& loop = *this->loop();
  OutputOperation& operation = NewOutput(loop, kind, data, callback);
  if (target != nullptr) {
    // A socket of IPv6 reaches IPv4 by mapped addresses, and by no others.
    operation.target = SocketAddress(
        socket_ipv6_ ? target->ip().ToIpv4Mapped() : target->ip().Unmapped(),
        target->port());
  }
  if (lookup != nullptr) [[unlikely]] {
    lookup->set_operation(&operation);
    operation.lookup = std::move(lookup);
  }
  TakeOptions(operation, options);
  if (output_first_ == nullptr && !output_broken_) {
    AddFirstOutput(loop, operation);
  } else {
    AddOutput(loop, operation);
  }
  return status;
}

// `operation` may have others before it.
inline void AsyncIoState::AddOutput(EventLoop& loop,
                                    OutputOperation& operation) {
  (output_first_ == nullptr ? output_first_ : output_last_->next) = &operation;
  output_last_ = &operation;
  output_bytes_ += operation.size;
  ++output_length_;
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStartOfOutput(operation, /*queued=*/true);
  }
  if (output_active_ == nullptr) {
    output_active_ = &operation;
    if (output_broken_) {
      CompleteOutput(IoStatus::kError, Error(write_error_));
      return;
    }
    ActivateOutput();
    if (!loop.in_call()) SetWriteDeadline(loop);
  }
  if (!output_blocked_) SendLater(loop);
}

void AsyncIoState::TakeOptions(OutputOperation& operation,
                               WriteOptions& options) {
  operation.data += options.start;
  operation.size = std::min(options.end, operation.size) - options.start;
  if (options.timeout.has_value()) {
    operation.timeout = ToNanoseconds(*options.timeout);
    write_timeout_ = operation.timeout;
    TellTimeoutSet(Direction::kOutput, *options.timeout);
  }
  if (options.error_callback.has_value() && *options.error_callback) {
    operation.error_callback.emplace(*std::move(options.error_callback));
  }
  if (options.user_info.has_value()) user_info_ = *std::move(options.user_info);
}

// Of bytes that a `Reply` has copied.
void AsyncIoState::QueueReply(EventLoop& loop, std::unique_ptr<char[]> data,
                              size_t size, const SocketAddress* target) {
  std::string_view bytes(data.get(), size);
  IoCallback callback = [data = std::move(data)](AsyncIoState& state,
                                                 const IoResult& result) {
    state.ReplyEnded(result.status, result.error);
  };
  replies_wait_ = true;
  OutputOperation& operation =
      NewOutput(loop, OutputKind::kReply, bytes, callback);
  if (target != nullptr) operation.target = *target;
  AddOutput(loop, operation);
}

// ---- Writing.

// Calls the callback of `operation` where it lies: it is not in the queue any
// more, so it neither changes nor goes by what the callback does.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::CallBackOutput(
    EventLoop& loop, OutputOperation& operation,
    const IoResult& result) noexcept {
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnEnd(&operation, OperationObserver::End::kCallback, result);
  }
  loop.BeginCallback(*this);
  if (operation.error_callback.has_value() && result.status == IoStatus::kError)
      [[unlikely]] {
    (*operation.error_callback)(*this, result);
  } else {
    (*operation.callback)(*this, result);
  }
  // What they captured may own this state.
  operation.callback.reset();
  operation.error_callback.reset();
  loop.output_operations().Give(&operation);
  if (loop.EndCallback()) AfterCallback(loop);
}

void AsyncIoState::OnFlush() {
  if (HasOutputToSend()) Flush(*loop());
}

void AsyncIoState::Flush(EventLoop& loop) {
  OutputOperation& operation = *output_active_;
  // Most flushes are one write, and the kernel takes it all.
  if (operation.next != nullptr || operation.done != 0 ||
      operation.lookup != nullptr ||
      operation.size > loop.limits().bytes_per_turn_max) [[unlikely]] {
    Output();
    return;
  }
  if (udp_ == Udp::kNo) [[likely]] {
    ConstBuffer buffer{operation.data, operation.size};
    Transfer transfer = loop.kernel().Send(Watcher::handle(), {&buffer, 1});
    if (transfer.count != operation.size) [[unlikely]] {
      OutputPart(transfer);
      return;
    }
  } else {
    OutgoingDatagram datagram = DatagramOf(operation);
    Transfer transfer =
        loop.kernel().SendDatagrams(Watcher::handle(), {&datagram, 1});
    if (transfer.count == 0) [[unlikely]] {
      DatagramsSent(transfer);
      SetBlocked(output_active_ != nullptr);
      if (output_active_ != nullptr) SetWriteDeadline(loop);
      return;
    }
  }
  operation.done = operation.size;
  if (&operation != output_first_ || !loop.MayCallBack()) [[unlikely]] {
    CompleteOutput(IoStatus::kOk);
    return;
  }
  ClearDeadline(loop, kWriteDeadline);
  output_first_ = nullptr;
  output_active_ = nullptr;
  output_last_ = nullptr;
  output_bytes_ = 0;
  output_length_ = 0;
  IoResult result;
  result.count = operation.size;
  CallBackOutput(loop, operation, result);
}

// A send was not all that was asked for.
void AsyncIoState::OutputPart(Transfer transfer) {
  if (!transfer.error.ok() && !IsPassing(transfer.error)) {
    FailOutput(IoStatus::kError, transfer.error);
    return;
  }
  output_active_->done += transfer.count;
  SetWriteDeadline(*loop());
  SetBlocked(true);
}

void AsyncIoState::Output() {
  if (udp_ == Udp::kNo) {
    OutputStream();
  } else {
    OutputDatagrams();
  }
  if (output_active_ != nullptr) SetWriteDeadline(*loop());
}

// Until the kernel takes no more; one short count does not prove that.
void AsyncIoState::OutputAllThatFits() {
  while (output_active_ != nullptr) {
    const OutputOperation* operation = output_active_;
    size_t done = operation->done;
    Output();
    if (output_active_ == operation && operation->done == done) return;
  }
}

void AsyncIoState::OutputStream() {
  EventLoop& loop = *this->loop();
  size_t room = loop.limits().bytes_per_turn_max;
  // Goes on only as long as the kernel takes all that it is offered.
  for (size_t sent = 0; room != 0 && sent < kOperationsPerTurnMax;) {
    size_t offered = 0;
    size_t length = 0;
    std::array<ConstBuffer, kGatherMax> buffers;
    for (OutputOperation* operation = output_active_;
         operation != nullptr && length != kGatherMax && offered != room;
         operation = operation->next) {
      size_t size = std::min(operation->size - operation->done, room - offered);
      buffers[length++] = {operation->data + operation->done, size};
      offered += size;
    }
    Transfer transfer =
        loop.kernel().Send(Watcher::handle(), {buffers.data(), length});
    if (!transfer.error.ok() && !IsPassing(transfer.error)) {
      FailOutput(IoStatus::kError, transfer.error);
      return;
    }
    room -= transfer.count;
    for (size_t left = transfer.count; left != 0;) {
      OutputOperation* operation = output_active_;
      size_t taken = std::min(operation->size - operation->done, left);
      operation->done += taken;
      left -= taken;
      if (operation->done != operation->size) break;
      ++sent;
      CompleteOutput(IoStatus::kOk);
      if (output_active_ != nullptr) ActivateOutput();
    }
    if (output_active_ == nullptr || transfer.count != offered) break;
  }
  // What is left waits for the socket, also when the kernel might take more at
  // once: the others have their turn first.
  SetBlocked(output_active_ != nullptr);
}

void AsyncIoState::OutputDatagrams() {
  Kernel& kernel = loop()->kernel();
  bool blocked = false;
  for (size_t sent = 0;
       output_active_ != nullptr && !blocked && sent < kOperationsPerTurnMax;) {
    if (output_active_->lookup != nullptr) [[unlikely]] {
      const TargetLookup& lookup = *output_active_->lookup;
      if (lookup.pending()) {
        // Those behind it wait, too: the order is that of the calls.
        SetBlocked(false);
        return;
      }
      if (!lookup.found()) {
        CompleteOutput(IoStatus::kError, lookup.error());
        if (output_active_ != nullptr) ActivateOutput();
        ++sent;
        continue;
      }
    }
    std::array<OutgoingDatagram, kGatherMax> batch;
    size_t length = 0;
    for (OutputOperation* operation = output_active_;
         operation != nullptr && length != kGatherMax &&
         (operation->lookup == nullptr || operation->lookup->found());
         operation = operation->next) {
      batch[length++] = DatagramOf(*operation);
    }
    Transfer transfer =
        kernel.SendDatagrams(Watcher::handle(), {batch.data(), length});
    sent += std::max<size_t>(transfer.count, 1);
    blocked = DatagramsSent(transfer);
  }
  SetBlocked(output_active_ != nullptr);
}

OutgoingDatagram AsyncIoState::DatagramOf(const OutputOperation& operation) {
  return {
      {operation.data, operation.size},
      operation.state->udp_ == Udp::kUnconnected ? &operation.target : nullptr};
}

// Returns whether the socket takes no more for now.
bool AsyncIoState::DatagramsSent(const Transfer& transfer) {
  EventLoop& loop = *this->loop();
  for (size_t i = 0; i != transfer.count; ++i) {
    output_active_->done = output_active_->size;
    EndActive(loop, IoStatus::kOk, Error());
    if (output_active_ != nullptr) ActivateOutput();
  }
  if (transfer.error.code() == EAGAIN) return true;
  if (!transfer.error.ok()) {
    // Only this datagram's fault, or news of an earlier one: the others go.
    CompleteOutput(IoStatus::kError, transfer.error);
    if (output_active_ != nullptr) ActivateOutput();
  }
  return false;
}

void AsyncIoState::SetBlocked(bool blocked) {
  if (output_blocked_ == blocked) return;
  output_blocked_ = blocked;
  UpdateInterest(*loop());
}

// ---- Ending.

void AsyncIoState::CompleteOutput(IoStatus status, Error error) {
  EndActive(*loop(), status, error);
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::EndActive(
    EventLoop& loop, IoStatus status, Error error) {
  OutputOperation* operation = output_active_;
  if (operation->lookup != nullptr) [[unlikely]] {
    operation->lookup->End(status);
  }
  operation->status = status;
  operation->error = error;
  write_status_ = status;
  write_error_ = error.code();
  ClearDeadline(loop, kWriteDeadline);
  output_active_ = operation->next;
  operation->ticket = loop.Complete(&AsyncIoState::RunOutput, operation);
}

void AsyncIoState::FailOutput(IoStatus status, Error error) {
  CompleteOutput(status, error);
  if (udp_ != Udp::kNo) {
    if (output_active_ != nullptr) {
      ActivateOutput();
      SetWriteDeadline(*loop());
      if (!output_blocked_) loop()->FlushLater(*this);
    } else {
      SetBlocked(false);
    }
    return;
  }
  // Bytes are missing from the stream now: what was to follow them must not.
  AbortQueued();
  write_status_ = status;
  write_error_ = error.code();
  output_broken_ = status == IoStatus::kError;
}

void AsyncIoState::AbortQueued() {
  while (output_active_ != nullptr) CompleteOutput(IoStatus::kAborted);
  SetBlocked(false);
}

void AsyncIoState::RunOutput(void* object) {
  auto* operation = static_cast<OutputOperation*>(object);
  AsyncIoState& state = *operation->state;
  AIOS_DCHECK(operation == state.output_first_, "writes end in their order");
  state.PopOutput();
  IoResult result;
  result.status = operation->status;
  result.error = operation->error;
  result.count = operation->done;
  if (operation->lookup != nullptr) [[unlikely]] {
    // It goes with the operation, after the callback.
    result.detail = operation->lookup->detail();
  }
  state.CallBackOutput(*state.loop(), *operation, result);
}

}  // namespace aios
