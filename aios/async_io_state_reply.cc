// `Reply`: answers without a callback, sent when the callback of a
// `ReadWithChecking` returns, or when those of datagrams that came together
// have. What the kernel does not take then is copied.

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/event_loop.h"
#include "aios/output_queue.h"
#include "aios/reply_batch.h"
#include "aios/state_inline.h"

namespace aios {

namespace {

// As much of `replies` as one turn may send.
Transfer SendPart(Kernel& kernel, Handle handle, const ReplyBatch& replies,
                  size_t room) {
  std::array<ConstBuffer, ReplyBatch::kLengthMax> part;
  size_t length = 0;
  for (const ConstBuffer& buffer : replies.buffers()) {
    if (room == 0) break;
    size_t size = std::min(buffer.size, room);
    part[length++] = {buffer.data, size};
    room -= size;
  }
  return kernel.Send(handle, {part.data(), length});
}

}  // namespace

ABSL_ATTRIBUTE_ALWAYS_INLINE inline absl::Status AsyncIoState::ReplyAtOnce(
    EventLoop& loop, std::string_view data) {
  loop.CheckThread();
  // What lies in the input buffer stays there until the callback has returned;
  // other bytes may be gone when this call has.
  if (input_buffer_->Holds(data)) {
    loop.replies().Add(data);
    return absl::OkStatus();
  }
  return AddCopyOfReply(loop, data);
}

absl::Status AsyncIoState::ReplyOnStream(std::string_view data) {
  if (!may_reply_ || output_broken_ || observed_ ||
      !ReplyBatch::IsSmall(data) || output_first_ != nullptr ||
      loop()->replies().full()) [[unlikely]] {
    return ReplyInDetail(data);
  }
  return ReplyAtOnce(*loop(), data);
}

// The batch is not full.
ABSL_ATTRIBUTE_NOINLINE absl::Status AsyncIoState::AddCopyOfReply(
    EventLoop& loop, std::string_view data) {
  if (!loop.replies().AddCopy(data)) {
    // So much is sent at once, and the kernel copies it.
    loop.replies().Add(data);
    SendReplies(loop);
  }
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReplyInDetail(std::string_view data) {
  if (!observed_ || closed_ || !may_reply_) return TryReply(data);
  EventLoop& loop = *this->loop();
  OperationObserver& observer = *loop.observer();
  if (udp_ != Udp::kNo) {
    observer.OnReply(this, data, ReplyTarget(loop));
    if (output_first_ == nullptr && HoldReply(loop, data)) {
      return absl::OkStatus();
    }
  } else {
    // Before, as it may be sent inside.
    observer.OnReply(this, data, nullptr);
    if (!output_broken_ && ReplyBatch::IsSmall(data) &&
        output_first_ == nullptr && !loop.replies().full()) {
      return ReplyAtOnce(loop, data);
    }
  }
  absl::Status status = TryReply(data);
  if (!status.ok()) observer.OnReplyRefused(this);
  return status;
}

absl::Status AsyncIoState::TryReply(std::string_view data) {
  constexpr const char* kCall = "Reply";
  if (absl::Status status = CheckOpen(kCall); !status.ok()) return status;
  if (!may_reply_) {
    return absl::FailedPreconditionError(
        absl::StrCat(Refusal(kCall), "only the callback of a ",
                     udp_ == Udp::kNo ? "ReadWithChecking" : "ReceiveMessages",
                     " that goes on may call it"));
  }
  if (data.empty() && udp_ == Udp::kNo) {
    return CheckRange(kCall, 0, 0, 0, /*may_be_empty=*/false);
  }
  EventLoop& loop = *this->loop();
  if (udp_ != Udp::kNo) {
    SendRepliesOfCallback();
  } else if (!loop.replies().HasRoom(data, loop.limits().bytes_per_turn_max)) {
    SendReplies(loop);
  }
  if (output_first_ != nullptr) {
    bool may_wait = queue_output_ || output_first_->kind == OutputKind::kReply;
    if (!may_wait ||
        !HasRoomBehindFirst(loop.replies().bytes() + data.size())) {
      return RefuseForLackOfRoom(kCall, may_wait);
    }
  }
  if (udp_ == Udp::kNo && !output_broken_) {
    if (!input_buffer_->Holds(data)) return AddCopyOfReply(loop, data);
    loop.replies().Add(data);
    return absl::OkStatus();
  }
  if (udp_ != Udp::kNo && output_active_ == nullptr) {
    HoldOrSendReply(loop, data);
    return absl::OkStatus();
  }
  std::unique_ptr<char[]> copy(new char[data.size()]);
  if (!data.empty()) std::memcpy(copy.get(), data.data(), data.size());
  QueueReply(loop, std::move(copy), data.size(),
             udp_ == Udp::kNo ? nullptr : ReplyTarget(loop));
  return absl::OkStatus();
}

// Before something that must not come between the callback's replies and their
// way out.
void AsyncIoState::SendRepliesOfCallback() {
  EventLoop& loop = *this->loop();
  if (!loop.InCallbackOf(*this)) return;
  if (!loop.replies().empty()) SendReplies(loop);
  if (!loop.datagram_replies().empty()) SendDatagramReplies(loop);
}

// Copies what the kernel did not take of them to the output queue, or all of
// them behind what is being written already.
void AsyncIoState::QueueReplies(EventLoop& loop, Transfer sent) {
  ReplyBatch& replies = loop.replies();
  bool first = output_active_ == nullptr;
  size_t room = loop.limits().bytes_per_turn_max;
  if (first && replies.bytes() > room) {
    sent = SendPart(loop.kernel(), Watcher::handle(), replies, room);
  }
  if (!sent.error.ok() && !IsPassing(sent.error)) {
    write_error_ = sent.error.code();
    output_broken_ = true;
  }
  size_t size = replies.bytes() - sent.count;
  std::unique_ptr<char[]> rest(new char[size]);
  char* end = rest.get();
  size_t skip = sent.count;
  for (const ConstBuffer& buffer : replies.buffers()) {
    size_t skipped = std::min(skip, buffer.size);
    skip -= skipped;
    std::memcpy(end, buffer.data + skipped, buffer.size - skipped);
    end += buffer.size - skipped;
  }
  replies.Clear();
  QueueReply(loop, std::move(rest), size, /*target=*/nullptr);
  if (output_broken_ || !first) return;
  SetWriteDeadline(loop);
  // Also when the kernel might take more at once: see `OutputStream`.
  SetBlocked(true);
}

// One that was in the output queue, and is in it no more.
void AsyncIoState::ReplyEnded(IoStatus status, Error error) {
  const OutputOperation* operation = output_first_;
  while (operation != nullptr && operation->kind != OutputKind::kReply) {
    operation = operation->next;
  }
  replies_wait_ = operation != nullptr;
  // A datagram may get lost.
  if (udp_ != Udp::kNo) status = IoStatus::kOk;
  if (!input_paused_ || (replies_wait_ && status == IoStatus::kOk)) return;
  input_paused_ = false;
  if (status == IoStatus::kOk) {
    GoOnChecking(*loop());
    return;
  }
  // Answers are missing, which is news even where the end of the stream is
  // none.
  if (status == IoStatus::kError && read_error_ == 0) {
    read_error_ = error.code();
  }
  CompleteInput(status, error);
}

// All replies are sent. What the callback has left in the buffer may be what it
// could not answer before: no other news of that may ever come.
void AsyncIoState::GoOnChecking(EventLoop& loop) {
  if (BufferedDataLength() != 0) {
    input_buffer_->old_length = input_buffer_->size();
    CompleteInput(IoStatus::kOk);
    return;
  }
  if (HasBatch()) {
    CompleteInput(IoStatus::kOk);
    return;
  }
  input_ended_ = false;
  SetDeadline(loop, kReadDeadline, read_timeout_);
  WaitForReadable(loop);
  TellContinue();
}

// In place of going on, while replies wait.
void AsyncIoState::PauseChecking(EventLoop& loop) {
  input_paused_ = true;
  input_ended_ = true;
  ReleaseInputBuffer();
  ClearDeadline(loop, kReadDeadline);
  UpdateInterest(loop);
}

}  // namespace aios
