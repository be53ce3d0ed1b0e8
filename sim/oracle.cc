#include "sim/oracle.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace aios::sim {

namespace {

std::string Seconds(Nanoseconds time) {
  return absl::StrCat(time / 1'000'000'000, ".",
                      absl::Dec(time % 1'000'000'000, absl::kZeroPad9), " s");
}

}  // namespace

bool Oracle::IsOutput(std::string_view kind) {
  return kind.substr(0, 5) == "Write" || kind.substr(0, 4) == "Send" ||
         kind == "Reply";
}

void Oracle::Violation(std::string_view what, const Operation& operation) {
  if (violations_.size() >= kViolationsMax) return;
  violations_.push_back(
      absl::StrCat("invariant broken at ", Seconds(now_), " on host ", host_,
                   ": ", std::string(what), " (operation ", operation.number,
                   ", ", std::string(operation.kind), ", started at ",
                   Seconds(operation.start), ")"));
}

void Oracle::OnStart(const void* operation, const void* state,
                     const char* kind) {
  if (retired_) return;
  Operation started{next_number_++, state, kind, now_};
  auto [place, added] = pending_.try_emplace(operation, started);
  if (!added) {
    Violation("I1: it was replaced before it had ended", place->second);
    place->second = started;
  } else {
    ++states_[state].pending;
  }
  trace_.Add(now_, What::kOperationStarted, host_, started.number,
             std::strlen(kind));
  if (recording_ != nullptr) {
    recording_->OnStart(host_, started.number, state, kind, IsOutput(kind),
                        now_);
  }
}

void Oracle::OnEnd(const void* operation, End end, IoStatus status,
                   size_t count) {
  if (retired_) return;
  auto found = pending_.find(operation);
  if (found == pending_.end()) {
    Violation("I1: it ended a second time, or without a start",
              {0, nullptr, "unknown", 0});
    return;
  }
  Operation ended = found->second;
  pending_.erase(found);
  trace_.Add(now_, What::kOperationEnded, host_, ended.number,
             static_cast<uint64_t>(end) * 16 + static_cast<uint64_t>(status),
             count);
  if (recording_ != nullptr) {
    recording_->OnEnd(host_, ended.number, end, status, count, now_);
  }
  State& state = states_[ended.state];
  --state.pending;
  if (IsOutput(ended.kind)) {
    uint64_t& last = state.last_output;
    if (ended.number < last) {
      Violation("I5: a write that was started later has ended before", ended);
    }
    last = std::max(last, ended.number);
  }
}

void Oracle::OnTimeout(const void* operation, Nanoseconds deadline) {
  auto found = pending_.find(operation);
  if (found != pending_.end() && now_ < deadline) {
    Violation(absl::StrCat("I3: it times out ", deadline - now_,
                           " ns before its deadline"),
              found->second);
  }
}

void Oracle::OnClose(const void* state) {
  if (retired_) return;
  auto found = states_.find(state);
  if (found == states_.end()) return;
  bool pending = found->second.pending != 0;
  states_.erase(found);
  if (!pending) return;
  // The oldest: the map is in the order of addresses.
  const Operation* oldest = nullptr;
  for (const auto& [name, operation] : pending_) {
    if (operation.state == state &&
        (oldest == nullptr || operation.number < oldest->number)) {
      oldest = &operation;
    }
  }
  if (oldest != nullptr) {
    Violation("I6: its state is closed and it has not ended", *oldest);
  }
}

std::string Oracle::DescribePending() const {
  std::vector<Operation> operations;
  for (const auto& [name, operation] : pending_) {
    operations.push_back(operation);
  }
  std::sort(operations.begin(), operations.end(),
            [](const Operation& a, const Operation& b) {
              return a.number < b.number;
            });
  std::string text;
  for (const Operation& operation : operations) {
    absl::StrAppend(&text, "  operation ", operation.number, ", ",
                    std::string(operation.kind), ", in progress since ",
                    Seconds(operation.start), "\n");
  }
  return text;
}

void Oracle::Retire() {
  retired_ = true;
  pending_.clear();
  states_.clear();
}

}  // namespace aios::sim
