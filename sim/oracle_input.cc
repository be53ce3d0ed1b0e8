// The rules of input: what is read, and what callbacks are told of it.

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sim/oracle.h"

namespace aios::sim {

namespace {

// What is looked at of long buffers: the end, where the news are.
constexpr size_t kComparedMax = size_t{64} << 10;

bool IsBufferOfCaller(OperationKind kind) {
  return kind == OperationKind::kReadBuffer ||
         kind == OperationKind::kReceiveMessage;
}

}  // namespace

void Oracle::StartInput(Operation& operation) {
  State& state = *operation.state;
  state.input = &operation;
  state.reply_status = IoStatus::kOk;
  const OperationStart& start = operation.start;
  CheckTimeout(operation, start.timeout,
               state.read_timeout.value_or(start.timeout));
  state.read_timeout = start.timeout;
  state.max_read = start.max_read;
  if (start.datagrams) {
    if (start.kind == OperationKind::kWaitForInput) {
      operation.looked = !state.datagrams.empty();
    }
    if (state.datagrams.size() > state.datagrams_doubtful || state.input_shut) {
      Owe(operation);
    }
    return;
  }
  if (start.buffered != state.unconsumed.size()) {
    Violation(rule::kInputBytes,
              absl::StrCat("the input buffer holds ", start.buffered,
                           " bytes, and not the ", state.unconsumed.size(),
                           " that were received and not consumed"),
              operation);
    state.unconsumed.resize(start.buffered);
  }
  state.unseen = 0;
  if (state.unconsumed.empty()) {
    if (state.input_broken) Owe(operation);
    return;
  }
  if (!IsBufferOfCaller(start.kind)) {
    operation.looked = true;
    Owe(operation);
    return;
  }
  operation.got = std::min(start.size, state.unconsumed.size());
  operation.got_hash.Add(std::span(state.unconsumed).first(operation.got));
  state.unconsumed.erase(0, operation.got);
  if (operation.got == start.size || state.input_broken ||
      start.kind == OperationKind::kReceiveMessage) {
    Owe(operation);
  }
}

// ---- What the kernel gives.

// Null when nobody asks; then programs may use the socket directly.
Oracle::Operation* Oracle::InputFor(State& state) {
  if (const Collection* collection = FindCollection(state.poller)) {
    state.asked_in_turn = collection->turn;
  }
  if (state.input == nullptr) {
    if (InTurn(state)) {
      Violation(rule::kReadsForOperation,
                absl::StrCat("socket ", state.handle,
                             " is read, and no operation wants input"));
    }
    return nullptr;
  }
  if (state.input->paused) {
    Violation(rule::kBackPressure, "it reads on while its replies wait",
              *state.input);
  }
  return state.input;
}

void Oracle::OnReceive(Handle handle, std::span<const char> buffer,
                       const Transfer& transfer) {
  State* found = FindSocket(handle);
  if (found == nullptr || found->datagram_socket) return;
  State& state = *found;
  Operation* wanted = InputFor(state);
  if (wanted == nullptr) return;
  Operation& operation = *wanted;
  if (transfer.count == 0) {
    BreakInput(state, transfer);
    return;
  }
  std::span<const char> bytes = buffer.first(transfer.count);
  const OperationStart& start = operation.start;
  if (IsBufferOfCaller(start.kind)) {
    if (buffer.data() != start.data + operation.got ||
        buffer.size() > start.size - operation.got) {
      Violation(rule::kReadsForOperation,
                "it reads to another place than the next of its buffer",
                operation);
    }
    operation.got += transfer.count;
    operation.got_hash.Add(bytes);
    if (operation.got == start.size ||
        start.kind == OperationKind::kReceiveMessage) {
      Owe(operation);
    }
  } else {
    if (buffer.size() > state.max_read) {
      Violation(rule::kMaxRead,
                absl::StrCat("it reads up to ", buffer.size(), " bytes, not ",
                             state.max_read),
                operation);
    }
    state.unconsumed.append(bytes.data(), bytes.size());
    state.unseen += bytes.size();
    Owe(operation);
  }
  CountRead(state, operation, transfer.count);
}

void Oracle::CountRead(State& state, const Operation& operation, size_t count) {
  const Collection* collection = FindCollection(state.poller);
  if (collection == nullptr) return;
  if (state.turn != collection->turn) {
    state.turn = collection->turn;
    state.bytes_in_turn = 0;
    state.largest_read = 0;
  }
  state.bytes_in_turn += count;
  state.largest_read = std::max(state.largest_read, count);
  // A final attempt at a deadline may read as much again, and a little more in
  // its last piece.
  size_t limit =
      std::max(collection->limits.bytes_per_turn_max, state.largest_read);
  if (operation.start.kind == OperationKind::kReadBuffer) limit *= 3;
  if (state.bytes_in_turn > limit) {
    Violation(
        rule::kBytesPerTurn,
        absl::StrCat("it has read ", state.bytes_in_turn, " bytes in one turn"),
        operation);
    state.bytes_in_turn = 0;
  }
}

void Oracle::BreakInput(State& state, const Transfer& transfer) {
  if (transfer.error.code() == EAGAIN) return;
  if (!state.input_broken) {
    state.input_broken = true;
    state.input_error = transfer.error.code();
  }
  Owe(*state.input);
}

void Oracle::OnPeek(Handle handle, const Transfer& transfer) {
  State* state = FindSocket(handle);
  if (state == nullptr) return;
  Operation* operation = InputFor(*state);
  if (operation == nullptr) return;
  if (state->datagram_socket) {
    if (transfer.error.code() == EAGAIN) return;
    if (transfer.error.ok()) {
      operation->looked = true;
    } else {
      operation->error = transfer.error.code();
    }
    Owe(*operation);
  } else if (transfer.count == 0) {
    BreakInput(*state, transfer);
  } else {
    operation->looked = true;
    Owe(*operation);
  }
}

// ---- What callbacks are told.

void Oracle::OnCallback(const void* name, const IoResult& result) {
  if (retired_) return;
  Operation* found = Find(name);
  if (found == nullptr) {
    Violation(rule::kEndsOnce, "an operation calls back that is over");
    return;
  }
  Operation& operation = *found;
  State& state = *operation.state;
  if (operation.paused) {
    // They are out, or it would not.
    if (RepliesWait(state)) {
      Violation(rule::kBackPressure, "it calls back while its replies wait",
                operation);
    }
    operation.paused = false;
  }
  if (operation.start.datagrams) {
    JudgeDatagram(operation, result);
  } else {
    if (!operation.owed) {
      Violation(rule::kNews, "its callback is called, and there is no news",
                operation);
    }
    JudgeUnconsumed(operation, result);
    state.unseen = 0;
    const Collection* collection = FindCollection(state.poller);
    if (collection != nullptr &&
        result.data.size() > collection->limits.input_buffer_bytes_max) {
      Violation(rule::kInputBuffer,
                absl::StrCat(result.data.size(), " bytes have piled up"),
                operation);
    }
  }
  operation.called_back = true;
  JudgeOrder(operation);
  Pay(operation);
  ClearDeadline(operation);
}

void Oracle::OnContinue(const void* name, Nanoseconds time, Nanoseconds timeout,
                        bool paused) {
  if (retired_) return;
  Operation* found = Find(name);
  if (found == nullptr) return;
  Operation& operation = *found;
  State& state = *operation.state;
  JudgeReplies(state, "the callback has returned");
  if (std::exchange(operation.called_back, false) && !paused &&
      RepliesWait(state)) {
    Violation(rule::kBackPressure, "it goes on while its replies wait",
              operation);
  }
  // What the callback has left is offered again, whether or not more came.
  const bool goes_on = operation.paused && !paused;
  operation.paused = paused;
  Note(operation);
  if (paused) {
    ClearDeadline(operation);
    return;
  }
  SetDeadline(operation, time, timeout);
  const Collection* collection = FindCollection(state.poller);
  bool full =
      collection != nullptr &&
      state.unconsumed.size() >= collection->limits.input_buffer_bytes_max;
  if ((goes_on && !state.unconsumed.empty()) ||
      state.datagrams.size() > state.datagrams_doubtful || state.input_broken ||
      state.input_shut || full) {
    Owe(operation);
  }
}

void Oracle::OnMaxReadSet(const void* name, size_t max_read) {
  if (State* state = FindState(name)) state->max_read = max_read;
}

void Oracle::OnDrop(const void* name, size_t count) {
  State* state = FindState(name);
  if (retired_ || state == nullptr) return;
  if (count > state->unconsumed.size()) {
    Violation(rule::kInputBytes, "more bytes are dropped than were there");
  }
  state->unconsumed.erase(0, count);
  // Nothing is left of what the next operation was to be told of at once.
  if (state->unconsumed.empty() && state->input != nullptr &&
      !state->input_broken) {
    Pay(*state->input);
  }
}

void Oracle::JudgeInput(Operation& operation, const IoResult& result) {
  State& state = *operation.state;
  JudgeReplies(state, "the operation has ended");
  JudgeInputStatus(operation, result);
  if (operation.start.kind == OperationKind::kWaitForInput) return;
  if (operation.start.datagrams) {
    if (operation.start.kind == OperationKind::kReceiveMessage && result.ok()) {
      JudgeDatagram(operation, result);
    }
    return;
  }
  if (IsBufferOfCaller(operation.start.kind)) {
    JudgeBytes(operation, result);
  } else {
    JudgeUnconsumed(operation, result);
  }
}

void Oracle::JudgeInputStatus(Operation& operation, const IoResult& result) {
  const State& state = *operation.state;
  const int code = result.error.code();
  bool right = false;
  switch (result.status) {
    case IoStatus::kOk:
      switch (operation.start.kind) {
        case OperationKind::kReadBuffer:
          right = operation.got == operation.start.size;
          break;
        case OperationKind::kReceiveMessage:
          right = operation.start.datagrams || operation.got != 0;
          break;
        case OperationKind::kWaitForInput:
          if (!operation.looked) {
            Violation(rule::kInputSeen,
                      "it ends with ok, and there is no input", operation);
          }
          return;
        default:
          // `Finish`.
          right = true;
      }
      break;
    case IoStatus::kEof:
      right = operation.start.datagrams
                  ? state.input_shut
                  : state.input_broken && state.input_error == 0;
      break;
    case IoStatus::kTimeout:
      right = operation.timed_out || state.reply_status == IoStatus::kTimeout;
      break;
    case IoStatus::kAborted:
      right = state.reply_status == IoStatus::kAborted;
      break;
    case IoStatus::kError: {
      const Collection* collection = FindCollection(state.poller);
      right = (state.input_broken && (code == state.input_error ||
                                      code == state.broken_reply_error)) ||
              (state.reply_status == IoStatus::kError &&
               code == state.reply_error) ||
              (operation.start.datagrams && code == operation.error) ||
              (code == EMSGSIZE && collection != nullptr &&
               state.unconsumed.size() >=
                   collection->limits.input_buffer_bytes_max);
      right &= code != 0;
      break;
    }
  }
  // It was closed behind the state's back.
  if (right || state.handle == kNoHandle) return;
  Violation(
      rule::kInputStatus,
      absl::StrCat(
          "it ends with ", std::string(IoStatusName(result.status)), " ",
          result.error.ok() ? "" : result.error.Name(), ", and the kernel ",
          !state.input_broken ? std::string("did not say so")
          : state.input_error == 0
              ? std::string("said end of file")
              : absl::StrCat("said ", Error(state.input_error).Name())),
      operation);
}

// Of an operation with the caller's buffer.
void Oracle::JudgeBytes(Operation& operation, const IoResult& result) {
  if (result.count != operation.got || result.data.size() != result.count) {
    Violation(rule::kInputCount,
              absl::StrCat("it tells of ", result.count,
                           " bytes, the kernel gave ", operation.got),
              operation);
    return;
  }
  StreamHash hash;
  hash.Add(result.data);
  if (result.data.data() != operation.start.data ||
      hash.value() != operation.got_hash.value()) {
    Violation(rule::kInputBytes,
              "what is in its buffer is not what the kernel gave", operation);
  }
}

// Of one with the state's.
void Oracle::JudgeUnconsumed(const Operation& operation,
                             const IoResult& result) {
  const State& state = *operation.state;
  if (result.count != state.unconsumed.size()) {
    Violation(rule::kInputCount,
              absl::StrCat("it tells of ", result.count, " bytes, and ",
                           state.unconsumed.size(),
                           " were received and not consumed"),
              operation);
    return;
  }
  // `Finish` only counts.
  std::string_view data = result.data;
  if (data.empty()) return;
  std::string_view there = state.unconsumed;
  if (data.size() > kComparedMax) {
    data.remove_prefix(data.size() - kComparedMax);
    there.remove_prefix(there.size() - kComparedMax);
  }
  if (data != there) {
    Violation(rule::kInputBytes,
              "what its callback is given is not what the kernel gave",
              operation);
  }
}

void Oracle::AbortInput(Operation& operation, const IoResult& result) {
  State& state = *operation.state;
  switch (operation.start.kind) {
    case OperationKind::kReadBuffer:
      JudgeBytes(operation, result);
      break;
    case OperationKind::kReceiveMessage:
      if (operation.start.datagrams) {
        // An empty one cannot be told from none.
        if (result.count != 0 && !state.datagrams.empty()) {
          state.datagrams.pop_front();
        } else if (!state.datagrams.empty() &&
                   state.datagrams.front().bytes.empty()) {
          ++state.datagrams_doubtful;
        }
      } else {
        JudgeBytes(operation, result);
      }
      break;
    case OperationKind::kReadWithChecking:
      JudgeUnconsumed(operation, result);
      break;
    default:
      break;
  }
}

}  // namespace aios::sim
