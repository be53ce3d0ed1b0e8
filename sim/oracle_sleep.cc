// The rules of turns: what must have happened before a collection sleeps, and
// what one turn may do.

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "sim/oracle.h"

namespace aios::sim {

namespace {

// How long a listening socket rests when there are no descriptors.
constexpr Nanoseconds kAcceptRest = 100'000'000;

}  // namespace

void Oracle::OnTurn(const Poller& poller, bool begins) {
  if (Collection* collection = FindCollection(&poller)) {
    collection->in_turn = begins;
  }
}

void Oracle::OnReports(const Poller& poller, std::span<const Report> reports) {
  Collection* collection = FindCollection(&poller);
  if (collection == nullptr) return;
  ++collection->turn;
  collection->last_deadline = 0;
  collection->last_deadline_order = 0;
  collection->accepting = kNoHandle;
  collection->stale.clear();
  collection->reported.clear();
  for (const Report& report : reports) {
    collection->reported.push_back(report.token);
  }
}

void Oracle::OnInterest(Handle handle, const Poller& poller, const void* token,
                        Readiness interest) {
  if (State* state = FindSocket(handle)) {
    for (Operation* operation :
         {state->connect, state->input, Unsent(*state)}) {
      if (operation != nullptr) Note(*operation);
    }
  }
  Collection* collection = FindCollection(&poller);
  if (collection == nullptr) return;
  if (interest != kNotReady) {
    collection->resting.erase(handle);
    return;
  }
  if (listeners_.contains(handle)) collection->resting.emplace(handle, now_);
  const std::vector<const void*>& reported = collection->reported;
  if (std::find(reported.begin(), reported.end(), token) != reported.end()) {
    collection->stale.insert(token);
  }
}

void Oracle::OnServe(const Poller& poller, const void* token) {
  Collection* collection = FindCollection(&poller);
  if (collection != nullptr && collection->stale.contains(token)) {
    Violation(rule::kStaleReport,
              "a report is served of a socket that was given up in this turn");
  }
}

void Oracle::OnAccepted(const Poller& poller, Handle listener) {
  Collection* collection = FindCollection(&poller);
  if (collection == nullptr) return;
  listeners_.insert(listener);
  if (collection->accepting != listener) {
    collection->accepting = listener;
    collection->accepted = 0;
  }
  if (++collection->accepted > collection->limits.accepts_per_turn_max) {
    Violation(rule::kAcceptsPerTurn,
              absl::StrCat("socket ", listener, " accepts ",
                           collection->accepted, " connections in one turn"));
  }
}

uint64_t Oracle::OnPost(const Poller& poller) {
  Collection* collection = FindCollection(&poller);
  if (collection == nullptr) return 0;
  // Those that are being run have left their places.
  if (collection->posted - collection->posted_run >=
      2 * collection->limits.posted_max) {
    Violation(rule::kPostedLimit,
              absl::StrCat(collection->posted - collection->posted_run,
                           " posted functions wait"));
  }
  return collection->posted++;
}

void Oracle::OnRunPosted(const Poller& poller, uint64_t number) {
  Collection* collection = FindCollection(&poller);
  if (collection == nullptr) return;
  if (number != collection->posted_run) {
    Violation(rule::kPosted,
              absl::StrCat("posted function ", number, " runs where ",
                           collection->posted_run, " is the next"));
  }
  collection->posted_run = number + 1;
}

void Oracle::OnSleep(const Poller& poller, Nanoseconds length,
                     absl::FunctionRef<Readiness(Handle)> interest) {
  Collection* found = FindCollection(&poller);
  if (found == nullptr) return;
  Collection& collection = *found;
  if (collection.posted_run != collection.posted) {
    Violation(rule::kPosted,
              absl::StrCat("the collection sleeps, and posted function ",
                           collection.posted_run, " has not run"));
    collection.posted_run = collection.posted;
  }
  while (!collection.deadlines.empty()) {
    const auto [key, name] = *collection.deadlines.begin();
    const Nanoseconds deadline = key.first;
    if (deadline - now_ >= length) break;
    Operation* operation = Find(name);
    Violation(rule::kNotLate,
              absl::StrCat("the collection sleeps ",
                           length == kForever ? std::string("for ever")
                                              : absl::StrCat(length, " ns"),
                           ", its deadline is in ", deadline - now_, " ns"),
              *operation);
    ClearDeadline(*operation);
  }
  for (const auto& [listener, since] : collection.resting) {
    if (since + kAcceptRest - now_ >= length) continue;
    Violation(rule::kAcceptsAgain,
              absl::StrCat("the collection sleeps, and listening socket ",
                           listener, " is not watched any more"));
    collection.resting.clear();
    break;
  }
  std::vector<const void*> noted;
  noted.swap(collection.noted);
  for (const void* name : noted) {
    Operation* operation = Find(name);
    if (operation == nullptr || !operation->noted) continue;
    operation->noted = false;
    JudgeSleepOf(*operation, interest);
  }
  noted.clear();
  if (collection.noted.empty()) collection.noted.swap(noted);
}

void Oracle::JudgeSleepOf(Operation& operation,
                          absl::FunctionRef<Readiness(Handle)> interest) {
  State& state = *operation.state;
  if (operation.owed || operation.connected) {
    operation.connected = false;
    Violation(rule::kCallbackOwed,
              "the collection sleeps, and its callback was not called",
              operation);
    Pay(operation);
    return;
  }
  if (state.handle == kNoHandle) return;
  Readiness wanted = kReadable;
  if (IsInput(operation.start.kind)) {
    if (operation.paused) {
      if (RepliesWait(state)) return;
      Violation(rule::kCallbackOwed, "it is paused, and its replies are out",
                operation);
      return;
    }
  } else {
    if (IsOutput(operation.start.kind) &&
        (Unsent(state) != &operation || operation.start.waits_for_name)) {
      return;
    }
    wanted = kWritable;
  }
  if ((interest(state.handle) & wanted) == 0) {
    Violation(rule::kLostWakeUp,
              absl::StrCat("the collection sleeps, and does not watch socket ",
                           state.handle),
              operation);
  }
}

}  // namespace aios::sim
