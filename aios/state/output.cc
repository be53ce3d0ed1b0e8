#include "aios/state/output.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace aios {

namespace {

// Buffers of one gathering send, datagrams of one batch.
constexpr size_t kGatherMax = 64;

// Writes and datagrams that one state sends before the others have their turn.
constexpr size_t kOperationsPerTurnMax = 4 * kGatherMax;

}  // namespace

bool Output::Has(OutputKind kind) const {
  const OutputOperation* operation = first_;
  while (operation != nullptr && operation->kind != kind) {
    operation = operation->next;
  }
  return operation != nullptr;
}

bool Output::HasRoomBehindFirst(const Limits& limits, size_t size) const {
  size_t waiting_bytes = bytes_ - first_->size;
  return length_ <= limits.output_queue_length_max &&
         size <= limits.output_queue_bytes_max &&
         waiting_bytes <= limits.output_queue_bytes_max - size;
}

// ---- Starting.

void Output::Add(EventLoop& loop, Channel& channel,
                 OutputOperation& operation) {
  (first_ == nullptr ? first_ : last_->next) = &operation;
  last_ = &operation;
  bytes_ += operation.size;
  ++length_;
  if (loop.observer() != nullptr) [[unlikely]] {
    TellStart(loop, channel, operation, /*queued=*/true);
  }
  if (active_ == nullptr) {
    active_ = &operation;
    if (is_broken()) {
      EndActive(loop, IoStatus::kError, Error(error_));
      return;
    }
    Activate(loop);
    if (!loop.in_call()) ArmDeadline(loop, channel);
  }
  if (!is_blocked()) channel.SendSoon(loop);
}

void Output::Activate(EventLoop& loop) {
  ActivateFirst(loop);
  if (OperationObserver* observer = loop.observer()) [[unlikely]] {
    observer->OnTurnOfWrite(active_, loop.Now(), active_->timeout);
  }
}

namespace {

OperationKind KindOf(OutputKind kind) {
  switch (kind) {
    case OutputKind::kWriteBuffer:
      return OperationKind::kWriteBuffer;
    case OutputKind::kSendMessage:
      return OperationKind::kSendMessage;
    case OutputKind::kSendToAddress:
      return OperationKind::kSendMessageToAddress;
    case OutputKind::kReply:
      break;
  }
  return OperationKind::kReply;
}

}  // namespace

// `queued`: before it is given its turn; otherwise after that.
void Output::TellStart(EventLoop& loop, const Channel& channel,
                       const OutputOperation& operation, bool queued) {
  const bool named = operation.lookup != nullptr && !operation.lookup->found();
  OperationStart start = {.operation = &operation,
                          .state = &channel,
                          .kind = KindOf(operation.kind),
                          .poller = &loop.poller(),
                          .handle = channel.handle(),
                          .datagrams = !channel.is_stream(),
                          .time = loop.Now(),
                          .queued = queued,
                          .data = operation.data,
                          .size = operation.size,
                          .waits_for_name = named};
  if (operation.timeout != OutputOperation::kNotGiven) {
    start.timeout = operation.timeout;
    start.given = queued;
  }
  if (channel.udp() == Udp::kUnconnected && !named) {
    start.target = &operation.target;
  }
  loop.observer()->OnStart(start);
}

// ---- Sending.

void Output::Send(EventLoop& loop, Channel& channel) {
  if (channel.is_stream()) {
    SendStream(loop, channel);
  } else {
    SendDatagrams(loop, channel);
  }
  if (active_ != nullptr) ArmDeadline(loop, channel);
}

void Output::SendAllThatFits(EventLoop& loop, Channel& channel) {
  while (active_ != nullptr) {
    const OutputOperation* operation = active_;
    size_t done = operation->done;
    Send(loop, channel);
    if (active_ == operation && operation->done == done) return;
  }
}

// A send of one write was not all that was asked for.
void Output::SentPart(EventLoop& loop, Channel& channel, Transfer transfer) {
  if (!transfer.error.ok() && !IsPassing(transfer.error)) {
    Fail(loop, channel, IoStatus::kError, transfer.error);
    return;
  }
  active_->done += transfer.count;
  WaitForSocket(loop, channel);
}

// The same for one datagram.
void Output::SentNone(EventLoop& loop, Channel& channel, Transfer transfer) {
  DatagramsSent(loop, transfer);
  SetBlocked(loop, channel, active_ != nullptr);
  if (active_ != nullptr) ArmDeadline(loop, channel);
}

void Output::SendStream(EventLoop& loop, Channel& channel) {
  size_t room = loop.limits().bytes_per_turn_max;
  // Goes on only as long as the kernel takes all that it is offered.
  for (size_t sent = 0; room != 0 && sent < kOperationsPerTurnMax;) {
    size_t offered = 0;
    size_t length = 0;
    std::array<ConstBuffer, kGatherMax> buffers;
    for (OutputOperation* operation = active_;
         operation != nullptr && length != kGatherMax && offered != room;
         operation = operation->next) {
      size_t size = std::min(operation->size - operation->done, room - offered);
      buffers[length++] = {operation->data + operation->done, size};
      offered += size;
    }
    Transfer transfer = channel.Send(loop, {buffers.data(), length});
    if (!transfer.error.ok() && !IsPassing(transfer.error)) {
      Fail(loop, channel, IoStatus::kError, transfer.error);
      return;
    }
    room -= transfer.count;
    for (size_t left = transfer.count; left != 0;) {
      OutputOperation* operation = active_;
      size_t taken = std::min(operation->size - operation->done, left);
      operation->done += taken;
      left -= taken;
      if (operation->done != operation->size) break;
      ++sent;
      EndActive(loop, IoStatus::kOk);
      if (active_ != nullptr) Activate(loop);
    }
    if (active_ == nullptr || transfer.count != offered) break;
  }
  // What is left waits for the socket, also when the kernel might take more at
  // once: the others have their turn first.
  SetBlocked(loop, channel, active_ != nullptr);
}

void Output::SendDatagrams(EventLoop& loop, Channel& channel) {
  bool blocked = false;
  for (size_t sent = 0;
       active_ != nullptr && !blocked && sent < kOperationsPerTurnMax;) {
    if (active_->lookup != nullptr) [[unlikely]] {
      const TargetLookup& lookup = *active_->lookup;
      if (lookup.pending()) {
        // Those behind it wait, too: the order is that of the calls.
        SetBlocked(loop, channel, false);
        return;
      }
      if (!lookup.found()) {
        EndActive(loop, IoStatus::kError, lookup.error());
        if (active_ != nullptr) Activate(loop);
        ++sent;
        continue;
      }
    }
    std::array<OutgoingDatagram, kGatherMax> batch;
    size_t length = 0;
    for (OutputOperation* operation = active_;
         operation != nullptr && length != kGatherMax &&
         (operation->lookup == nullptr || operation->lookup->found());
         operation = operation->next) {
      batch[length++] = DatagramOf(channel, *operation);
    }
    Transfer transfer = channel.SendDatagrams(loop, {batch.data(), length});
    sent += std::max<size_t>(transfer.count, 1);
    blocked = DatagramsSent(loop, transfer);
  }
  SetBlocked(loop, channel, active_ != nullptr);
}

// Returns whether the socket takes no more for now.
bool Output::DatagramsSent(EventLoop& loop, const Transfer& transfer) {
  for (size_t i = 0; i != transfer.count; ++i) {
    active_->done = active_->size;
    EndActive(loop, IoStatus::kOk);
    if (active_ != nullptr) Activate(loop);
  }
  if (transfer.error.code() == EAGAIN) return true;
  if (!transfer.error.ok()) {
    // Only this datagram's fault, or news of an earlier one: the others go.
    EndActive(loop, IoStatus::kError, transfer.error);
    if (active_ != nullptr) Activate(loop);
  }
  return false;
}

void Output::SetBlocked(EventLoop& loop, Channel& channel, bool blocked) {
  if (is_blocked() == blocked) return;
  phase_ = blocked ? OutputPhase::kBlocked : OutputPhase::kFlowing;
  channel.Want(loop, kWritable, blocked);
}

// ---- The end.

void Output::EndActive(EventLoop& loop, IoStatus status, Error error) {
  OutputOperation* operation = active_;
  if (operation->lookup != nullptr) [[unlikely]] {
    operation->lookup->End(status);
  }
  operation->status = status;
  operation->error = error;
  SetStatus(status, error);
  deadline_.Disarm(loop);
  active_ = operation->next;
  operation->ticket = loop.Complete(
      [](void* object) {
        auto* ended = static_cast<OutputOperation*>(object);
        ended->channel->OnOutputEnded(*ended);
      },
      operation);
}

void Output::Fail(EventLoop& loop, Channel& channel, IoStatus status,
                  Error error) {
  EndActive(loop, status, error);
  if (!channel.is_stream()) {
    if (active_ != nullptr) {
      Activate(loop);
      ArmDeadline(loop, channel);
      if (!is_blocked()) loop.FlushLater(channel);
    } else {
      SetBlocked(loop, channel, false);
    }
    return;
  }
  // Bytes are missing from the stream now: what was to follow them must not.
  AbortWaiting(loop, channel);
  SetStatus(status, error);
  if (status == IoStatus::kError) phase_ = OutputPhase::kBroken;
}

void Output::AbortWaiting(EventLoop& loop, Channel& channel) {
  while (active_ != nullptr) EndActive(loop, IoStatus::kAborted);
  SetBlocked(loop, channel, false);
}

OutputOperation& Output::Interrupt(EventLoop& loop) {
  OutputOperation& operation = Pop();
  if (operation.ticket != kNoTicket) {
    loop.CancelCompletion(operation.ticket);
  } else {
    active_ = operation.next;
    deadline_.Disarm(loop);
  }
  return operation;
}

void Output::AbortRest(EventLoop& loop, Channel& channel) {
  AbortWaiting(loop, channel);
  status_ = IoStatus::kAborted;
}

OutputOperation* Output::Close(EventLoop& loop) {
  deadline_.Disarm(loop);
  OutputOperation* operations = std::exchange(first_, nullptr);
  active_ = nullptr;
  last_ = nullptr;
  bytes_ = 0;
  length_ = 0;
  for (OutputOperation* operation = operations; operation != nullptr;
       operation = operation->next) {
    if (operation->ticket != kNoTicket) {
      loop.CancelCompletion(operation->ticket);
    }
  }
  return operations;
}

}  // namespace aios
