// `ReceiveMessages`: datagrams that are looked at where they were received, and
// the replies to them.
//
// What is received is in the collection's `DatagramBatch` while the callback is
// called for one after the other. Where that has to stop before the last one,
// the state keeps the batch, as a `ReceiveMessage` that was started by its own
// callback does.

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "absl/base/attributes.h"
#include "aios/async_io_state.h"
#include "aios/datagram_batch.h"
#include "aios/event_loop.h"
#include "aios/output_queue.h"
#include "aios/reply_batch.h"
#include "aios/state_extras.h"
#include "aios/state_inline.h"

namespace aios {

absl::Status AsyncIoState::ReceiveMessages(IoCallback callback) {
  return ReceiveMessages(std::move(callback), ReceiveMessagesOptions());
}

absl::Status AsyncIoState::ReceiveMessages(IoCallback callback,
                                           ReceiveMessagesOptions options) {
  constexpr InputKind kKind = InputKind::kReceiveMessages;
  absl::Status status = CheckInput(kKind, callback, options.timeout);
  if (!status.ok()) return status;
  StartInput(kKind, callback, &options.error_callback, options.timeout,
             options.user_info);
  // For the size of the batches.
  Extras();
  if (HasBatch()) {
    CompleteInput(IoStatus::kOk);
  } else {
    WaitForReadable(*loop());
  }
  return status;
}

// It is readable, and its callback may be called at once.
void AsyncIoState::OnMessages(EventLoop& loop) {
  DatagramBatch& batch = loop.datagram_batch();
  Error error = ReceiveTogether(loop, batch);
  if (error.ok()) [[likely]] {
    RunMessages(loop, batch);
  } else if (EndDatagram(error)) {
    RunInput(this);
  } else {
    loop.NothingBehindReport(*this);
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline Error AsyncIoState::ReceiveTogether(
    EventLoop& loop, DatagramBatch& batch) {
  BatchSize& batch_size = extras_->batch_size;
  if (batch_size.get() == 1) [[likely]] {
    Error error = batch.ReceiveOne(loop.kernel(), Watcher::handle());
    if (error.ok()) batch_size.CameAlone();
    return error;
  }
  Transfer transfer = batch.Receive(loop.kernel(), Watcher::handle(),
                                    /*want_sender=*/true, batch_size.get());
  if (transfer.error.ok()) batch_size.Came(transfer.count);
  return transfer.error;
}

// For a callback that is called later.
bool AsyncIoState::InputMessages(EventLoop& loop) {
  Error error = ReceiveTogether(loop, loop.datagram_batch());
  if (!error.ok()) return EndDatagram(error);
  KeepBatch(loop);
  input_ended_ = true;
  return true;
}

// Calls back with what is in the batch, one after the other.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void AsyncIoState::RunMessages(
    EventLoop& loop, DatagramBatch& batch) noexcept {
  IoResult result;
  bool at_once;
  for (;;) {
    const IncomingDatagram& datagram = batch.Next();
    result.truncated = datagram.truncated;
    result.count = datagram.size;
    result.data = {datagram.buffer.data(), datagram.size};
    result.sender = &datagram.sender;
    if (!CallBackWhereItLies(loop, result)) [[unlikely]] {
      EndMessages(loop);
      return;
    }
    at_once = MayGoOnAtOnce(loop);
    if (batch.empty() || !at_once) break;
    loop.EndCallbackOfOpen();
  }
  if (!loop.datagram_replies().empty()) SendDatagramReplies(loop);
  loop.EndCallbackOfOpen();
  if (!at_once || replies_wait_ || observed_) [[unlikely]] {
    GoOnInDetail(loop, at_once);
  } else if (read_timeout_ != kForever || read_deadline_ != kForever) {
    PutOffReadDeadline(loop);
  }
  if (HasOutputToSend()) Flush(loop);
}

ABSL_ATTRIBUTE_NOINLINE void AsyncIoState::GoOnInDetail(EventLoop& loop,
                                                        bool at_once) {
  if (!at_once || replies_wait_) {
    GoOnLater(loop);
  } else {
    PutOffReadDeadline(loop);
  }
  if (input_kind_ != InputKind::kNone) TellContinue();
}

// Nothing that the callback did has to come before the next datagram.
inline bool AsyncIoState::MayGoOnAtOnce(EventLoop& loop) const {
  return loop.MayCallBack() && !replies_wait_ && !input_broken_ &&
         extras_->endings_to_apply.empty();
}

void AsyncIoState::GoOnLater(EventLoop& loop) {
  KeepBatch(loop);
  ApplyEndingsOfCallback();
  if (input_kind_ == InputKind::kNone) return;
  if (replies_wait_) {
    PauseChecking(loop);
  } else if (HasBatch()) {
    CompleteInput(IoStatus::kOk);
  } else {
    PutOffReadDeadline(loop);
    WaitForReadable(loop);
  }
}

// As `EndChecking`.
void AsyncIoState::EndMessages(EventLoop& loop) {
  KeepBatch(loop);
  if (HasBatch() && input_kind_ != InputKind::kNone && !input_ended_) {
    // The callback has started it, and what is kept is for it.
    if (input_kind_ == InputKind::kReceiveMessage) TakeFromBatch(loop);
    CompleteInput(IoStatus::kOk);
  }
  EndChecking(loop);
}

// Keeps what is left for the next callback, or the next operation.
void AsyncIoState::KeepBatch(EventLoop& loop) {
  DatagramBatch& batch = loop.datagram_batch();
  if (closed_ || input_broken_) {
    batch.Clear();
  } else if (!batch.empty()) {
    extras_->batch = loop.TakeDatagramBatch();
  }
}

void AsyncIoState::RunKeptMessages(EventLoop& loop) {
  if (!HasBatch()) {
    // Input has been shut down meanwhile.
    EndInput(BrokenInputStatus(), Error());
    CallBackLast();
    return;
  }
  input_ended_ = false;
  UpdateInterest(loop);
  loop.PutDatagramBatch(std::move(extras_->batch));
  RunMessages(loop, loop.datagram_batch());
}

// ---- Replies.

absl::Status AsyncIoState::ReplyToDatagram(std::string_view data) {
  if (!may_reply_ || observed_ || output_first_ != nullptr ||
      !HoldReply(*loop(), data)) [[unlikely]] {
    return ReplyInDetail(data);
  }
  loop()->CheckThread();
  return absl::OkStatus();
}

// There are no replies before it.
void AsyncIoState::HoldOrSendReply(EventLoop& loop, std::string_view data) {
  if (HoldReply(loop, data)) return;
  loop.datagram_replies().Add({{data.data(), data.size()}, ReplyTarget(loop)});
  SendDatagramReplies(loop);
}

// One that fails is lost. What the kernel does not take now goes to the output
// queue.
void AsyncIoState::SendRestOfReplies(EventLoop& loop, Transfer sent) {
  std::span<const OutgoingDatagram> left = loop.datagram_replies().datagrams();
  for (;;) {
    left = left.subspan(sent.count);
    if (sent.error.code() == EAGAIN) break;
    if (!sent.error.ok()) left = left.subspan(1);
    write_status_ = sent.error.ok() ? IoStatus::kOk : IoStatus::kError;
    write_error_ = sent.error.code();
    if (left.empty()) break;
    sent = loop.kernel().SendDatagrams(Watcher::handle(), left);
  }
  for (const OutgoingDatagram& reply : left) {
    std::unique_ptr<char[]> copy(new char[reply.payload.size]);
    if (reply.payload.size != 0) {
      std::memcpy(copy.get(), reply.payload.data, reply.payload.size);
    }
    QueueReply(loop, std::move(copy), reply.payload.size, reply.target);
  }
  if (!left.empty()) {
    SetWriteDeadline(loop);
    SetBlocked(true);
  }
}

}  // namespace aios
