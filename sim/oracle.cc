#include "sim/oracle.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace aios::sim {

namespace {

std::string Seconds(Nanoseconds time) {
  return absl::StrCat(time / 1'000'000'000, ".",
                      absl::Dec(time % 1'000'000'000, absl::kZeroPad9), " s");
}

}  // namespace

void Oracle::Violation(std::string_view rule, std::string_view what) {
  if (violations_.size() >= kViolationsMax) return;
  violations_.push_back(
      absl::StrCat("invariant broken at ", Seconds(now_), " on host ", host_,
                   ": ", std::string(rule), ": ", std::string(what)));
}

void Oracle::Violation(std::string_view rule, std::string_view what,
                       const Operation& operation) {
  Violation(rule,
            absl::StrCat(std::string(what), " (operation ", operation.number,
                         ", ", OperationName(operation.start.kind),
                         ", started at ", Seconds(operation.started), ")"));
}

// ---- The model.

Oracle::Operation* Oracle::Find(const void* operation) {
  auto found = pending_.find(operation);
  return found == pending_.end() ? nullptr : &found->second;
}

Oracle::State* Oracle::FindState(const void* state) {
  auto found = states_.find(state);
  return found == states_.end() ? nullptr : &found->second;
}

Oracle::State* Oracle::FindSocket(Handle handle) {
  auto found = sockets_.find(handle);
  return found == sockets_.end() ? nullptr : found->second;
}

Oracle::Collection* Oracle::FindCollection(const Poller* poller) {
  auto found = collections_.find(poller);
  return found == collections_.end() ? nullptr : &found->second;
}

bool Oracle::InTurn(const State& state) {
  const Collection* collection = FindCollection(state.poller);
  return collection != nullptr && collection->in_turn;
}

void Oracle::Note(Operation& operation) {
  Collection* collection = FindCollection(operation.start.poller);
  if (operation.noted || collection == nullptr) return;
  operation.noted = true;
  collection->noted.push_back(operation.start.operation);
}

void Oracle::Owe(Operation& operation) {
  ClearDeadline(operation);
  Note(operation);
  if (std::exchange(operation.owed, true)) return;
  operation.debt = next_debt_++;
  // Replies call nobody back; when a name was not found is not seen; and of
  // datagrams that came together none has ended before its turn.
  if (operation.start.kind == OperationKind::kReply ||
      operation.start.waits_for_name ||
      (operation.start.datagrams && IsInput(operation.start.kind))) {
    return;
  }
  if (Collection* collection = FindCollection(operation.start.poller)) {
    collection->debts.emplace(operation.debt, operation.start.operation);
  }
}

void Oracle::Pay(Operation& operation) {
  if (!std::exchange(operation.owed, false)) return;
  if (Collection* collection = FindCollection(operation.start.poller)) {
    collection->debts.erase({operation.debt, operation.start.operation});
  }
}

void Oracle::OnCollection(const Poller& poller, const Limits& limits) {
  if (retired_) return;
  Collection& collection = collections_[&poller];
  collection = {};
  collection.limits = limits;
}

void Oracle::OnCollectionEnd(const Poller& poller) {
  collections_.erase(&poller);
}

// ---- Operations.

void Oracle::OnStart(const OperationStart& start) {
  if (retired_) return;
  auto [place, added] = pending_.try_emplace(start.operation);
  if (!added) {
    Violation(rule::kEndsOnce, "it was replaced before it had ended",
              place->second);
    OnEnd(start.operation, End::kSilent, {});
    place = pending_.try_emplace(start.operation).first;
  }
  Operation& operation = place->second;
  operation.start = start;
  operation.number = next_number_++;
  operation.started = now_;
  State& state = states_[start.state];
  operation.state = &state;
  state.poller = start.poller;
  state.datagram_socket = start.datagrams;
  if (state.handle != start.handle) {
    sockets_.erase(state.handle);
    state.handle = start.handle;
  }
  if (start.handle != kNoHandle) sockets_[start.handle] = &state;
  if (shut_before_.erase(start.handle) != 0 && start.datagrams) {
    state.input_shut = true;
  }
  // The hash is older than the kinds.
  trace_.Add(now_, What::kOperationStarted, host_, operation.number,
             std::strlen(OperationName(start.kind)));
  if (recording_ != nullptr) {
    recording_->OnStart(host_, operation.number, start.state,
                        OperationName(start.kind), IsOutput(start.kind), now_);
  }
  Note(operation);
  if (IsOutput(start.kind)) {
    StartOutput(operation);
  } else {
    SetDeadline(operation, start.time, start.timeout);
    if (IsInput(start.kind)) {
      StartInput(operation);
    } else {
      state.connect = &operation;
      operation.proofs = proofs_;
    }
  }
}

void Oracle::OnEnd(const void* name, End end, const IoResult& result) {
  if (retired_) return;
  Operation* found = Find(name);
  if (found == nullptr) {
    Violation(rule::kEndsOnce, "it ended a second time, or without a start");
    return;
  }
  Operation& operation = *found;
  trace_.Add(
      now_, What::kOperationEnded, host_, operation.number,
      static_cast<uint64_t>(end) * 16 + static_cast<uint64_t>(result.status),
      result.count);
  if (recording_ != nullptr) {
    recording_->OnEnd(host_, operation.number, end, result.status, result.count,
                      now_);
  }
  State& state = *operation.state;
  if (IsOutput(operation.start.kind)) {
    if (operation.number < state.last_output_ended) {
      Violation(rule::kWritesInOrder,
                "a write that was started later has ended before", operation);
    }
    state.last_output_ended =
        std::max(state.last_output_ended, operation.number);
    std::erase(state.output, &operation);
    if (end == End::kCallback) {
      JudgeOutput(operation, result);
    } else if (end == End::kAbort) {
      AbortOutput(operation, result);
    }
  } else if (IsInput(operation.start.kind)) {
    if (end == End::kCallback) {
      JudgeInput(operation, result);
    } else if (end == End::kAbort) {
      AbortInput(operation, result);
    }
    if (state.input == &operation) state.input = nullptr;
  } else {
    if (end == End::kCallback) JudgeConnect(operation, result);
    if (state.connect == &operation) state.connect = nullptr;
  }
  if (end == End::kCallback) JudgeOrder(operation);
  Pay(operation);
  ClearDeadline(operation);
  pending_.erase(name);
}

void Oracle::OnClose(const void* name) {
  if (retired_) return;
  auto found = states_.find(name);
  if (found == states_.end()) return;
  State& state = found->second;
  JudgeReplies(state, "the state closes");
  std::vector<Operation*> left(state.output.begin(), state.output.end());
  for (Operation* operation : {state.connect, state.input}) {
    if (operation != nullptr) left.push_back(operation);
  }
  if (!left.empty()) {
    const Operation* oldest = *std::min_element(
        left.begin(), left.end(), [](const Operation* a, const Operation* b) {
          return a->number < b->number;
        });
    Violation(rule::kSilentAfterClose,
              "its state is closed and it has not ended", *oldest);
    for (Operation* operation : left) {
      Pay(*operation);
      ClearDeadline(*operation);
      pending_.erase(operation->start.operation);
    }
  }
  OnHandleGone(state.handle);
  states_.erase(found);
}

std::string Oracle::DescribePending() const {
  std::vector<const Operation*> operations;
  for (const auto& [name, operation] : pending_) {
    operations.push_back(&operation);
  }
  std::sort(operations.begin(), operations.end(),
            [](const Operation* a, const Operation* b) {
              return a->number < b->number;
            });
  std::string text;
  for (const Operation* operation : operations) {
    absl::StrAppend(&text, "  operation ", operation->number, ", ",
                    OperationName(operation->start.kind),
                    ", in progress since ", Seconds(operation->started), "\n");
  }
  return text;
}

void Oracle::Retire() {
  retired_ = true;
  pending_.clear();
  states_.clear();
  sockets_.clear();
  collections_.clear();
}

void Oracle::JudgeOrder(const Operation& operation) {
  const Collection* collection = FindCollection(operation.start.poller);
  if (collection == nullptr || collection->debts.empty()) return;
  const auto& [debt, name] = *collection->debts.begin();
  if (debt >= operation.debt ||
      !collection->debts.contains(
          {operation.debt, operation.start.operation})) {
    return;
  }
  const Operation* first = Find(name);
  Violation(rule::kCallbackOrder,
            absl::StrCat("it calls back before operation ", first->number, ", ",
                         OperationName(first->start.kind),
                         ", which has ended before"),
            operation);
}

// ---- Sockets.

void Oracle::OnHandleGone(Handle handle) {
  shut_before_.erase(handle);
  if (listeners_.erase(handle) != 0) {
    for (auto& [poller, collection] : collections_) {
      collection.resting.erase(handle);
    }
  }
  State* state = FindSocket(handle);
  if (state == nullptr) return;
  state->handle = kNoHandle;
  sockets_.erase(handle);
}

}  // namespace aios::sim
