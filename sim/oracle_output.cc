// The rules of output: what is sent, and how writes and replies end.

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "sim/oracle.h"

namespace aios::sim {

void Oracle::StartOutput(Operation& operation) {
  State& state = *operation.state;
  const OperationStart& start = operation.start;
  state.refused = false;
  if (const Collection* collection = FindCollection(state.poller);
      collection != nullptr && !state.output.empty()) {
    size_t bytes = start.size;
    for (const Operation* one : state.output) {
      if (one != state.output.front()) bytes += one->start.size;
    }
    // Replies are looked at one by one, and wait together.
    if (bytes > collection->limits.output_queue_bytes_max ||
        state.output.size() > collection->limits.output_queue_length_max) {
      Violation(rule::kOutputQueue,
                absl::StrCat(bytes, " bytes wait in ", state.output.size(),
                             " operations"),
                operation);
    }
  }
  state.output.push_back(&operation);
  if (!start.queued) {
    CheckTimeout(operation, start.timeout,
                 state.write_timeout.value_or(start.timeout));
    state.write_timeout = start.timeout;
    SetDeadline(operation, start.time, start.timeout);
  }
  if (start.kind == OperationKind::kReply) TakeReply(operation);
  // Nothing is sent any more.
  if (state.output_error != 0) {
    operation.error = state.output_error;
    Owe(operation);
  }
}

// The first that is still to be sent.
Oracle::Operation* Oracle::Unsent(State& state) {
  for (Operation* operation : state.output) {
    if (!operation->sent && operation->error == 0 && !operation->timed_out &&
        operation->number > state.aborted_to) {
      return operation;
    }
  }
  return nullptr;
}

// ---- Replies.

void Oracle::OnReply(const void* name, std::string_view data,
                     const SocketAddress* target) {
  State* state = FindState(name);
  if (retired_ || state == nullptr) return;
  ObservedReply& reply = state->replies.emplace_back();
  reply.bytes = data;
  if (target != nullptr) reply.target = *target;
}

void Oracle::OnReplyRefused(const void* name) {
  State* state = FindState(name);
  if (retired_ || state == nullptr || state->replies.empty()) return;
  state->replies.pop_back();
}

// Those that are kept in the output queue.
void Oracle::TakeReply(Operation& operation) {
  State& state = *operation.state;
  std::string_view data(operation.start.data, operation.start.size);
  if (operation.start.datagrams) {
    if (!state.replies.empty() && state.replies.front().bytes == data) {
      state.replies.pop_front();
      return;
    }
  } else {
    while (!data.empty() && !state.replies.empty()) {
      std::string& first = state.replies.front().bytes;
      if (data.substr(0, first.size()) != first) break;
      data.remove_prefix(first.size());
      state.replies.pop_front();
    }
    if (data.empty()) return;
  }
  Violation(rule::kRepliesLeave, "what waits is not what was replied",
            operation);
  state.replies.clear();
}

void Oracle::JudgeReplies(State& state, std::string_view when) {
  if (state.replies.empty()) return;
  size_t bytes = 0;
  for (const ObservedReply& reply : state.replies) bytes += reply.bytes.size();
  state.replies.clear();
  Violation(rule::kRepliesLeave,
            absl::StrCat(std::string(when), ", and ", bytes,
                         " bytes of its replies are nowhere"));
}

// ---- Sending.

// Returns whether the kernel gave an error.
bool Oracle::TakeOffer(State& state, const Transfer& transfer) {
  if (const Collection* collection = FindCollection(state.poller)) {
    state.sent_in_turn = collection->turn;
  }
  state.refused = transfer.error.code() == EAGAIN;
  return !transfer.error.ok() && !state.refused;
}

void Oracle::OnSend(Handle handle, std::span<const ConstBuffer> buffers,
                    const Transfer& transfer) {
  State* found = FindSocket(handle);
  if (found == nullptr || found->datagram_socket) return;
  State& state = *found;
  const bool failed = TakeOffer(state, transfer);
  Operation* operation = Unsent(state);
  if (operation == nullptr) {
    if (!JudgeReplyOffer(state, buffers)) return;
    for (size_t left = transfer.count; left != 0 && !state.replies.empty();) {
      std::string& first = state.replies.front().bytes;
      size_t taken = std::min(left, first.size());
      first.erase(0, taken);
      left -= taken;
      if (first.empty()) state.replies.pop_front();
    }
    if (failed) state.output_error = transfer.error.code();
    return;
  }
  AttemptWrite(*operation);
  JudgeOffer(state, buffers);
  for (size_t left = transfer.count; left != 0 && operation != nullptr;) {
    size_t taken = std::min(left, operation->start.size - operation->done);
    operation->done += taken;
    left -= taken;
    if (operation->done != operation->start.size) break;
    operation->sent = true;
    Owe(*operation);
    operation = Unsent(state);
  }
  if (failed && operation != nullptr) FailWrite(*operation, transfer.error);
  if (operation != nullptr) Note(*operation);
}

void Oracle::FailWrite(Operation& operation, Error error) {
  State& state = *operation.state;
  operation.error = error.code();
  Owe(operation);
  if (operation.start.datagrams) return;
  state.output_error = error.code();
  state.aborted_to = next_number_ - 1;
  for (Operation* one : state.output) Owe(*one);
}

// Of a stream's writes.
void Oracle::JudgeOffer(State& state, std::span<const ConstBuffer> buffers) {
  auto next =
      std::find(state.output.begin(), state.output.end(), Unsent(state));
  size_t offered = 0;
  bool right = true;
  for (const ConstBuffer& buffer : buffers) {
    offered += buffer.size;
    if (!right || next == state.output.end()) {
      right = false;
      break;
    }
    const Operation& operation = **next++;
    size_t left = operation.start.size - operation.done;
    right = buffer.data == operation.start.data + operation.done &&
            (buffer.size == left ||
             (buffer.size < left && &buffer == &buffers.back()));
  }
  if (!right) {
    Violation(rule::kSendsForOperation,
              "what is sent is not what comes next of the writes in progress",
              *Unsent(state));
  }
  const Collection* collection = FindCollection(state.poller);
  if (collection != nullptr &&
      offered > collection->limits.bytes_per_turn_max) {
    Violation(rule::kBytesPerTurn,
              absl::StrCat("it sends ", offered, " bytes at once"),
              *Unsent(state));
  }
}

// Of what callbacks have replied on a stream. False: none of its business.
bool Oracle::JudgeReplyOffer(State& state,
                             std::span<const ConstBuffer> buffers) {
  if (state.replies.empty() && !InTurn(state)) return false;
  auto reply = state.replies.begin();
  std::string_view there;
  for (const ConstBuffer& buffer : buffers) {
    std::string_view offered(buffer.data, buffer.size);
    while (!offered.empty()) {
      if (there.empty() && reply != state.replies.end()) {
        there = (reply++)->bytes;
      }
      size_t size = std::min(offered.size(), there.size());
      if (size == 0 || offered.substr(0, size) != there.substr(0, size)) {
        Violation(rule::kSendsForOperation,
                  absl::StrCat("socket ", state.handle,
                               " sends what is neither a write in progress nor "
                               "a reply"));
        return false;
      }
      offered.remove_prefix(size);
      there.remove_prefix(size);
    }
  }
  return true;
}

void Oracle::OnSendDatagrams(Handle handle,
                             std::span<const OutgoingDatagram> datagrams,
                             const Transfer& transfer) {
  State* found = FindSocket(handle);
  if (found == nullptr || !found->datagram_socket) return;
  State& state = *found;
  const bool failed = TakeOffer(state, transfer);
  auto same_target = [](const SocketAddress* a, const SocketAddress* b) {
    return (a == nullptr && b == nullptr) ||
           (a != nullptr && b != nullptr && *a == *b);
  };
  if (Unsent(state) == nullptr) {
    if (state.replies.empty() && !InTurn(state)) return;
    for (size_t i = 0; i != datagrams.size(); ++i) {
      const OutgoingDatagram& datagram = datagrams[i];
      if (i < state.replies.size()) {
        const ObservedReply& reply = state.replies[i];
        if (std::string_view(datagram.payload.data, datagram.payload.size) ==
                reply.bytes &&
            same_target(datagram.target,
                        reply.target.has_value() ? &*reply.target : nullptr)) {
          continue;
        }
      }
      Violation(rule::kSendsForOperation,
                absl::StrCat("socket ", handle,
                             " sends a datagram that is neither of an "
                             "operation nor a reply"));
      return;
    }
    // One that fails is lost.
    size_t done = transfer.count + (failed ? 1 : 0);
    for (; done != 0 && !state.replies.empty(); --done) {
      state.replies.pop_front();
    }
    return;
  }
  auto next =
      std::find(state.output.begin(), state.output.end(), Unsent(state));
  AttemptWrite(**next);
  for (const OutgoingDatagram& datagram : datagrams) {
    if (next == state.output.end() ||
        datagram.payload.data != (*next)->start.data ||
        datagram.payload.size != (*next)->start.size ||
        ((*next)->start.target != nullptr &&
         !same_target(datagram.target, (*next)->start.target))) {
      Violation(rule::kSendsForOperation,
                "what is sent is not what comes next of the writes in progress",
                *Unsent(state));
      break;
    }
    ++next;
  }
  for (size_t left = transfer.count; left != 0; --left) {
    Operation* operation = Unsent(state);
    if (operation == nullptr) return;
    operation->done = operation->start.size;
    operation->sent = true;
    Owe(*operation);
  }
  Operation* operation = Unsent(state);
  if (operation == nullptr) return;
  if (failed) FailWrite(*operation, transfer.error);
  Note(*operation);
}

void Oracle::OnShutdown(Handle handle, Direction direction) {
  State* found = FindSocket(handle);
  if (found == nullptr) {
    if (direction != Direction::kOutput) shut_before_.insert(handle);
    return;
  }
  State& state = *found;
  if (direction != Direction::kInput) {
    JudgeReplies(state, "output is shut down");
    const Operation* unsent = Unsent(state);
    if (unsent != nullptr && !unsent->start.waits_for_name && !state.refused) {
      Violation(rule::kSentBeforeShutdown,
                "output is shut down, and it was not tried before", *unsent);
    }
  }
  if (direction != Direction::kOutput && state.datagram_socket) {
    state.input_shut = true;
    state.datagrams.clear();
    state.datagrams_doubtful = 0;
    if (state.input != nullptr) Owe(*state.input);
  }
}

// ---- Ending.

void Oracle::JudgeOutput(Operation& operation, const IoResult& result) {
  State& state = *operation.state;
  if (operation.start.kind == OperationKind::kReply) {
    EndReply(state, result.status, result.error.code());
  }
  if (result.count != operation.done) {
    Violation(rule::kWriteCount,
              absl::StrCat("it tells of ", result.count,
                           " bytes, the kernel took ", operation.done),
              operation);
  }
  const int code = result.error.code();
  bool right = false;
  switch (result.status) {
    case IoStatus::kOk:
      right = operation.sent;
      break;
    case IoStatus::kTimeout:
      right = operation.timed_out && operation.error == 0;
      break;
    case IoStatus::kAborted:
      right = operation.number <= state.aborted_to && operation.error == 0 &&
              !operation.sent;
      break;
    case IoStatus::kError:
      right = code != 0 &&
              (code == operation.error || operation.start.waits_for_name ||
               state.handle == kNoHandle);
      break;
    case IoStatus::kEof:
      break;
  }
  if (right) return;
  Violation(rule::kWriteStatus,
            absl::StrCat(
                "it ends with ", std::string(IoStatusName(result.status)), " ",
                result.error.ok() ? "" : result.error.Name(),
                operation.sent ? std::string(", and the kernel took all of it")
                : operation.error != 0
                    ? absl::StrCat(", and the kernel said ",
                                   Error(operation.error).Name())
                    : std::string(", and the kernel did not say so")),
            operation);
}

// There are some that have not ended.
bool Oracle::RepliesWait(const State& state) {
  return std::any_of(state.output.begin(), state.output.end(),
                     [](const Operation* one) {
                       return one->start.kind == OperationKind::kReply;
                     });
}

// What reads for it goes on when all replies are out, or ends with the first
// that is not; of datagrams, which may get lost, it goes on.
void Oracle::EndReply(State& state, IoStatus status, int error) {
  const bool failed = status != IoStatus::kOk && !state.datagram_socket;
  if (state.input == nullptr || !state.input->paused) return;
  if (failed && state.reply_status == IoStatus::kOk) {
    state.reply_status = status;
    state.reply_error = error;
  }
  if (failed && state.input_broken) state.broken_reply_error = error;
  if (failed || (!RepliesWait(state) &&
                 !(state.unconsumed.empty() && state.datagrams.empty()))) {
    Owe(*state.input);
  }
}

void Oracle::AbortOutput(Operation& operation, const IoResult& result) {
  State& state = *operation.state;
  if (result.count != operation.done) {
    Violation(rule::kWriteCount,
              absl::StrCat("it tells of ", result.count,
                           " bytes, the kernel took ", operation.done),
              operation);
  }
  state.aborted_to = next_number_ - 1;
  for (Operation* one : state.output) Owe(*one);
  if (operation.start.kind == OperationKind::kReply) {
    EndReply(state, IoStatus::kAborted, 0);
  }
}

void Oracle::OnAbortOfOutput(const void* name, const void* ending) {
  if (State* state = FindState(name)) {
    state->aborts[ending] = next_number_ - 1;
  }
}

void Oracle::OnAbortCallback(const void* name, const void* ending) {
  State* state = FindState(name);
  if (state == nullptr) return;
  auto abort = state->aborts.find(ending);
  if (abort == state->aborts.end()) return;
  if (!state->output.empty() &&
      state->output.front()->number <= abort->second) {
    Violation(rule::kAbortAfterWrites,
              "the callback of the abort that has ended it comes first",
              *state->output.front());
  }
  state->aborts.erase(abort);
}

}  // namespace aios::sim
