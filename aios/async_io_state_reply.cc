// `Reply`: answers without a callback, sent as they are when the callback of a
// `ReadWithChecking` returns. Only what the kernel does not take then is
// copied.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/async_io_state.h"
#include "aios/event_loop.h"
#include "aios/output_queue.h"
#include "aios/reply_batch.h"
#include "aios/state_inline.h"

namespace aios {

absl::Status AsyncIoState::Reply(std::string_view data) {
  if (!may_reply_ || output_broken_ || data.empty() ||
      output_first_ != nullptr || loop()->replies().full()) [[unlikely]] {
    return ReplyInDetail(data);
  }
  loop()->replies().Add(data);
  return absl::OkStatus();
}

absl::Status AsyncIoState::ReplyInDetail(std::string_view data) {
  constexpr const char* kCall = "Reply";
  if (absl::Status status = CheckOpen(kCall); !status.ok()) return status;
  if (!may_reply_) {
    return absl::FailedPreconditionError(absl::StrCat(
        Refusal(kCall),
        "only the callback of ReadWithChecking may call it, and not after "
        "Finish"));
  }
  if (data.empty()) {
    return CheckRange(kCall, 0, 0, 0, /*may_be_empty=*/false);
  }
  EventLoop& loop = *this->loop();
  if (!loop.replies().empty()) SendReplies(loop);
  if (output_first_ == nullptr && !output_broken_) {
    loop.replies().Add(data);
    return absl::OkStatus();
  }
  if (output_first_ != nullptr) {
    bool may_wait = queue_output_ || output_first_->kind == OutputKind::kReply;
    if (!may_wait || !HasRoomBehindFirst(data.size())) {
      return RefuseForLackOfRoom(kCall, may_wait);
    }
  }
  std::unique_ptr<char[]> copy(new char[data.size()]);
  std::memcpy(copy.get(), data.data(), data.size());
  QueueReply(loop, std::move(copy), data.size());
  return absl::OkStatus();
}

// Before something that must not come between the callback's replies and their
// way out.
void AsyncIoState::SendRepliesOfCallback() {
  EventLoop& loop = *this->loop();
  if (loop.InCallbackOf(*this) && !loop.replies().empty()) SendReplies(loop);
}

// Copies what the kernel did not take of them to the output queue.
void AsyncIoState::QueueReplies(EventLoop& loop, Transfer sent) {
  bool blocked = sent.count != 0 || !sent.error.ok();
  if (!sent.error.ok() && sent.error.code() != EAGAIN) {
    write_error_ = sent.error.code();
    output_broken_ = true;
  }
  ReplyBatch& replies = loop.replies();
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
  QueueReply(loop, std::move(rest), size);
  if (output_broken_) return;
  SetWriteDeadline(loop);
  SetBlocked(blocked);
}

// One that was in the output queue, and is in it no more.
void AsyncIoState::ReplyEnded(IoStatus status, Error error) {
  const OutputOperation* operation = output_first_;
  while (operation != nullptr && operation->kind != OutputKind::kReply) {
    operation = operation->next;
  }
  replies_wait_ = operation != nullptr;
  if (!input_paused_ || (replies_wait_ && status == IoStatus::kOk)) return;
  input_paused_ = false;
  EventLoop& loop = *this->loop();
  if (status == IoStatus::kOk || input_broken_) {
    input_ended_ = false;
    if (input_buffer_ != nullptr) {
      ContinueChecking(loop);
    } else {
      PutOffReadDeadline(loop);
      WaitForReadable(loop);
    }
  } else {
    CompleteInput(status, error);
  }
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
