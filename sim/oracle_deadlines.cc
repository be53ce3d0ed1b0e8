// The rules of deadlines.

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "sim/oracle.h"

namespace aios::sim {

void Oracle::SetDeadline(Operation& operation, Nanoseconds time,
                         Nanoseconds timeout) {
  ClearDeadline(operation);
  operation.timeout = timeout;
  operation.deadline_order = next_deadline_order_++;
  operation.deadline_min = DeadlineAfter(time, timeout);
  operation.deadline_max = operation.deadline_min;
  if (time > now_) {
    Violation(rule::kDeadlineAsAsked, "its deadline counts from a time to come",
              operation);
  }
  Collection* collection = FindCollection(operation.start.poller);
  if (collection != nullptr) operation.deadline_turn = collection->turn;
  if (operation.deadline_max != kForever && collection != nullptr) {
    collection->deadlines[{operation.deadline_max, operation.number}] =
        operation.start.operation;
  }
}

void Oracle::ClearDeadline(Operation& operation) {
  if (operation.deadline_max == kForever) return;
  if (Collection* collection = FindCollection(operation.start.poller)) {
    collection->deadlines.erase({operation.deadline_max, operation.number});
  }
  operation.deadline_max = kForever;
}

// A write that a callback has started has no deadline before the first attempt
// to send it.
void Oracle::AttemptWrite(Operation& operation) {
  if (operation.attempted) return;
  operation.attempted = true;
  if (operation.deadline_max == kForever) return;
  Nanoseconds deadline_min = operation.deadline_min;
  uint64_t order = operation.deadline_order;
  SetDeadline(operation, now_, operation.timeout);
  operation.deadline_min = deadline_min;
  operation.deadline_order = order;
}

void Oracle::OnTurnOfWrite(const void* name, Nanoseconds time,
                           Nanoseconds timeout) {
  if (retired_) return;
  Operation* operation = Find(name);
  if (operation == nullptr) return;
  // Those before it whose names were not found have had theirs.
  for (Operation* before : operation->state->output) {
    if (before == operation) break;
    if (!before->start.waits_for_name || before->sent || before->owed) continue;
    before->error = kNoTarget;
    Owe(*before);
  }
  operation->start.queued = false;
  State& state = *operation->state;
  // One that was given its own keeps it.
  CheckTimeout(*operation, timeout,
               operation->start.given ? operation->start.timeout
                                      : state.write_timeout.value_or(timeout));
  SetDeadline(*operation, time, timeout);
  Note(*operation);
}

void Oracle::OnTimeoutSet(const void* name, Direction direction,
                          Nanoseconds timeout) {
  if (retired_) return;
  State& state = states_[name];
  (direction == Direction::kInput ? state.read_timeout : state.write_timeout) =
      timeout;
}

void Oracle::CheckTimeout(const Operation& operation, Nanoseconds timeout,
                          Nanoseconds expected) {
  if (timeout == expected) return;
  Violation(rule::kTimeoutStays,
            absl::StrCat("its timeout is ", timeout, " ns, and not ", expected,
                         " ns as was given last"),
            operation);
}

void Oracle::OnTimeout(const void* name, Nanoseconds deadline) {
  if (retired_) return;
  Operation* found = Find(name);
  if (found == nullptr) return;
  Operation& operation = *found;
  if (now_ < deadline) {
    Violation(rule::kNotEarly,
              absl::StrCat("it times out ", deadline - now_,
                           " ns before its deadline"),
              operation);
  }
  if (deadline < operation.deadline_min) {
    Violation(rule::kDeadlineAsAsked,
              operation.deadline_min == kForever
                  ? std::string("it times out, and has no timeout")
                  : absl::StrCat("its deadline is ",
                                 operation.deadline_min - deadline,
                                 " ns earlier than its timeout says"),
              operation);
  }
  const State& state = *operation.state;
  if (operation.owed) {
    Violation(rule::kInputWins, "it times out with what it waited for",
              operation);
  }
  if (Collection* collection = FindCollection(operation.start.poller)) {
    const bool tried =
        IsInput(operation.start.kind) ? state.asked_in_turn == collection->turn
        : IsOutput(operation.start.kind) && !operation.start.waits_for_name
            ? state.sent_in_turn == collection->turn
            : true;
    if (!tried && !operation.owed) {
      Violation(rule::kInputWins, "it times out without a last attempt",
                operation);
    }
    // One of a write that has had its turn in this turn of the loop may fire in
    // the place of that of the write before it.
    const bool fresh = operation.deadline_turn == collection->turn;
    if (!fresh && std::tie(deadline, operation.deadline_order) <
                      std::tie(collection->last_deadline,
                               collection->last_deadline_order)) {
      Violation(rule::kDeadlineOrder,
                "its deadline was before that of one that has just timed out",
                operation);
    }
    if (!fresh) {
      collection->last_deadline = deadline;
      collection->last_deadline_order = operation.deadline_order;
    }
  }
  operation.timed_out = true;
  if (IsOutput(operation.start.kind) && !operation.start.datagrams) {
    operation.state->aborted_to = next_number_ - 1;
    for (Operation* one : operation.state->output) Owe(*one);
  }
  Owe(operation);
}

}  // namespace aios::sim
