#include "tests/ending/cell.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string_view>

namespace aios::test {

namespace {

constexpr std::array<std::string_view, 13> kOperationNames = {
    "ReadBuffer",        "ReadWithChecking",
    "ReceiveMessageTcp", "ReceiveMessageUdp",
    "ReceiveMessages",   "WaitForInput",
    "WriteBuffer",       "SendMessageTcp",
    "SendMessageUdp",    "SendMessageToAddress",
    "QueuedWrite",       "QueuedSend",
    "ConnectTcp"};

constexpr std::array<std::string_view, 5> kOutcomeNames = {
    "Success", "Timeout", "Eof", "Error", "Never"};

constexpr std::array<std::string_view, 10> kActNames = {
    "Nothing",         "AbortInput",       "AbortOutput", "AbortIo",
    "AbortAndClose",   "Shutdown",         "Close",       "Destroy",
    "CloseCollection", "DestroyCollection"};

constexpr std::array<std::string_view, 12> kPlaceNames = {
    "Nowhere",
    "JustStarted",
    "WhileActive",
    "WhenReported",
    "WhenEnded",
    "InOwnCallback",
    "InEarlierCallback",
    "InOwnCallbackAfterRestart",
    "InOtherStatesCallback",
    "InOtherDirectionsCallback",
    "InCallbackOfWriteBefore",
    "InAbortCallback"};

constexpr std::array<std::string_view, 7> kCallerNames = {
    "operation", "before", "again",   "first abort",
    "abort",     "close",  "shutdown"};

template <typename Enum, size_t n>
std::string_view NameIn(const std::array<std::string_view, n>& names,
                        Enum value) {
  return names[static_cast<size_t>(value)];
}

IoStatus StatusOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kTimeout:
      return IoStatus::kTimeout;
    case Outcome::kEof:
      return IoStatus::kEof;
    case Outcome::kError:
      return IoStatus::kError;
    case Outcome::kSuccess:
    case Outcome::kNever:
      break;
  }
  return IoStatus::kOk;
}

// All that runs by itself, from the start to the end.
std::vector<Ran> NaturalRuns(const Cell& cell) {
  const Ran before_done = {.caller = Caller::kBefore, .count = kFull};
  if (cell.outcome == Outcome::kNever) {
    // There the write before it goes through, so that its callback can run.
    if (cell.place == Place::kInCallbackOfWriteBefore) return {before_done};
    if (cell.place != Place::kInAbortCallback) return {};
    std::vector<Ran> runs;
    // It was queued behind the one that is interrupted.
    if (cell.is_queued()) {
      runs.push_back(
          {.caller = Caller::kOperation, .status = IoStatus::kAborted});
    }
    runs.push_back({.caller = Caller::kFirstAbort,
                    .status = IoStatus::kAborted,
                    .interrupted = true});
    return runs;
  }
  IoStatus status = StatusOf(cell.outcome);
  Ran end = {.caller = Caller::kOperation, .status = status};
  // Sends fail at once when they fail before there was a turn.
  bool part =
      cell.has_part() && (cell.is_input() || cell.place != Place::kWhenEnded);
  // A datagram is gone when the next comes.
  end.count = part && cell.operation != Operation::kReceiveMessages ? kPart : 0;
  if (status == IoStatus::kOk && !cell.is_connect() &&
      cell.operation != Operation::kWaitForInput) {
    end.count = kFull;
  }
  if (cell.is_checking() && part) {
    return {{.caller = Caller::kOperation, .count = kPart}, end};
  }
  if (!cell.is_queued()) return {end};
  if (status == IoStatus::kOk) return {before_done, end};
  Ran before = end;
  before.caller = Caller::kBefore;
  if (cell.operation == Operation::kQueuedWrite) {
    // The stream has a hole now.
    end = {.caller = Caller::kOperation, .status = IoStatus::kAborted};
  } else if (cell.outcome == Outcome::kError) {
    // The next datagram goes all the same.
    end = {.caller = Caller::kOperation, .count = kFull};
  }
  return {before, end};
}

// How many of the natural runs are over when somebody interferes, and how many
// callbacks are due by then.
struct Progress {
  size_t over = 0;
  size_t due = 0;
};

Progress ProgressOf(const Cell& cell, size_t natural) {
  // The first part of a `ReadWithChecking` has a callback of its own.
  size_t parts = cell.is_checking() && cell.has_part() ? 1 : 0;
  switch (cell.place) {
    case Place::kNowhere:
    case Place::kInOwnCallback:
    case Place::kInOwnCallbackAfterRestart:
    case Place::kInAbortCallback:
      return {.over = natural};
    case Place::kJustStarted:
      return {};
    case Place::kWhileActive:
    case Place::kWhenReported:
      return {.over = parts};
    case Place::kWhenEnded:
      // What was in the buffer comes first, the end after that.
      return {.due = parts != 0 ? parts : natural};
    case Place::kInEarlierCallback:
      return {.over = parts};
    case Place::kInOtherStatesCallback:
    case Place::kInOtherDirectionsCallback:
      // The time of a datagram begins when the one before has timed out.
      if (cell.operation == Operation::kQueuedSend &&
          cell.outcome == Outcome::kTimeout) {
        return {.due = 1};
      }
      return {.over = parts, .due = natural - parts};
    case Place::kInCallbackOfWriteBefore:
      if (cell.operation == Operation::kQueuedSend &&
          cell.outcome == Outcome::kTimeout) {
        return {.over = 1};
      }
      return {.over = 1, .due = natural - 1};
  }
  return {};
}

// How much the operation that an abort interrupts has done by then.
size_t DoneBy(const Cell& cell, const std::vector<Ran>& natural,
              const Progress& progress) {
  if (cell.operation == Operation::kWaitForInput ||
      cell.operation == Operation::kReceiveMessages || cell.is_connect()) {
    return 0;
  }
  if (progress.due != 0) {
    const Ran& last = natural[progress.over + progress.due - 1];
    const Ran& first = natural[progress.over];
    return cell.is_queued() ? first.count : last.count;
  }
  return cell.has_part() && cell.place != Place::kJustStarted ? kPart : 0;
}

bool IsStartedAgain(const Cell& cell) {
  return cell.place == Place::kInOwnCallbackAfterRestart ||
         cell.place == Place::kInAbortCallback;
}

// What the operation that the callback has started again does by itself: on a
// stream that is broken it ends at once.
std::vector<Ran> RunsAgainAtOnce(const Cell& cell) {
  if (cell.place != Place::kInOwnCallbackAfterRestart || cell.is_datagram() ||
      (cell.outcome != Outcome::kEof && cell.outcome != Outcome::kError)) {
    return {};
  }
  return {{.caller = Caller::kAgain, .status = StatusOf(cell.outcome)}};
}

// In the next turn it finds what the first one has left. Otherwise nothing
// happens to it.
std::vector<Ran> RunsAgainLater(const Cell& cell) {
  if (cell.place != Place::kInOwnCallbackAfterRestart) return {};
  if (cell.operation == Operation::kWaitForInput &&
      cell.outcome == Outcome::kSuccess) {
    return {{.caller = Caller::kAgain}};
  }
  // The error came before the datagram.
  if (cell.receives_datagrams() && cell.outcome == Outcome::kError) {
    return {{.caller = Caller::kAgain, .count = kFull}};
  }
  return {};
}

template <typename Iterator>
void Append(std::vector<Ran>& runs, Iterator begin, Iterator end) {
  std::copy(begin, end, std::back_inserter(runs));
}

}  // namespace

bool Cell::is_datagram() const {
  return receives_datagrams() || operation == Operation::kSendMessageUdp ||
         operation == Operation::kSendMessageToAddress ||
         operation == Operation::kQueuedSend;
}

bool Cell::has_part() const {
  if (outcome == Outcome::kSuccess || outcome == Outcome::kNever) return false;
  if (operation == Operation::kReceiveMessages) {
    // What ends it before a turn is not preceded by a datagram.
    return place != Place::kWhenEnded;
  }
  return operation == Operation::kReadBuffer ||
         operation == Operation::kReadWithChecking ||
         operation == Operation::kWriteBuffer ||
         operation == Operation::kSendMessageTcp ||
         operation == Operation::kQueuedWrite;
}

Direction Cell::direction() const {
  if (is_connect()) return Direction::kIo;
  return is_input() ? Direction::kInput : Direction::kOutput;
}

bool Cell::closes() const {
  return act == Act::kAbortAndClose || act == Act::kClose ||
         act == Act::kDestroy || act == Act::kCloseCollection ||
         act == Act::kDestroyCollection;
}

bool Cell::is_abort() const {
  return act == Act::kAbortInput || act == Act::kAbortOutput ||
         act == Act::kAbortIo;
}

bool Cell::act_concerns_it() const {
  switch (act) {
    case Act::kNothing:
      return false;
    case Act::kAbortInput:
      return direction() != Direction::kOutput;
    case Act::kAbortOutput:
      return direction() != Direction::kInput;
    default:
      return true;
  }
}

std::string Cell::Name() const {
  std::string name(NameIn(kOperationNames, operation));
  name += "_";
  name += NameIn(kOutcomeNames, outcome);
  if (act == Act::kNothing) return name;
  name += "_";
  name += NameIn(kActNames, act);
  name += NameIn(kPlaceNames, place);
  return name;
}

std::vector<Cell> AllCells() {
  std::vector<Cell> cells;
  for (size_t operation = 0; operation != kOperationNames.size(); ++operation) {
    for (size_t outcome = 0; outcome != kOutcomeNames.size(); ++outcome) {
      Cell cell = {.operation = static_cast<Operation>(operation),
                   .outcome = static_cast<Outcome>(outcome)};
      cells.push_back(cell);
      for (size_t place = 1; place != kPlaceNames.size(); ++place) {
        for (size_t act = 1; act != kActNames.size(); ++act) {
          cell.act = static_cast<Act>(act);
          cell.place = static_cast<Place>(place);
          cells.push_back(cell);
        }
      }
    }
  }
  return cells;
}

std::optional<std::string> WhyImpossible(const Cell& cell) {
  if (cell.outcome == Outcome::kEof &&
      (!cell.is_input() || cell.is_datagram())) {
    return "only the input of a stream has an end";
  }
  switch (cell.place) {
    case Place::kNowhere:
    case Place::kJustStarted:
    case Place::kWhileActive:
      break;
    case Place::kWhenReported:
      if (cell.outcome == Outcome::kNever) {
        return "nothing is reported when nothing happens";
      }
      break;
    case Place::kWhenEnded:
      if (cell.outcome == Outcome::kNever) return "it does not end";
      if (cell.outcome == Outcome::kTimeout) {
        return "deadlines fire in a Call, which runs the callbacks, too";
      }
      if (cell.receives_datagrams() && cell.outcome == Outcome::kSuccess) {
        return "datagrams are received in a Call, which runs the callbacks, "
               "too";
      }
      break;
    case Place::kInOwnCallback:
      if (cell.outcome == Outcome::kNever) return "its callback never runs";
      break;
    case Place::kInEarlierCallback:
      if (!cell.is_checking()) return "it has one callback only";
      if (!cell.has_part()) return "the first callback is the last one";
      break;
    case Place::kInOwnCallbackAfterRestart:
      if (cell.outcome == Outcome::kNever) return "its callback never runs";
      if (cell.is_connect()) return "a state is connected once";
      break;
    case Place::kInOtherStatesCallback:
      break;
    case Place::kInOtherDirectionsCallback:
      if (cell.is_connect()) {
        return "no other operation can be in progress until it is connected";
      }
      break;
    case Place::kInCallbackOfWriteBefore:
      if (!cell.is_queued()) return "there is no write before it";
      break;
    case Place::kInAbortCallback:
      if (cell.is_connect()) return "a state is connected once";
      if (cell.outcome != Outcome::kNever) {
        return "the abort came before its outcome";
      }
      break;
  }
  if (cell.act == Act::kDestroyCollection &&
      cell.place >= Place::kInOwnCallback) {
    return "a collection must not be destroyed by its own callbacks, which is "
           "checked";
  }
  if (cell.act == Act::kShutdown && cell.is_connect() &&
      !(cell.place == Place::kInOwnCallback &&
        cell.outcome == Outcome::kSuccess)) {
    return "Shutdown is refused when it is not connected";
  }
  return std::nullopt;
}

std::vector<Cell> PossibleCells() {
  std::vector<Cell> cells;
  for (const Cell& cell : AllCells()) {
    if (!WhyImpossible(cell).has_value()) cells.push_back(cell);
  }
  return cells;
}

void PrintTo(const Ran& ran, std::ostream* out) {
  *out << NameIn(kCallerNames, ran.caller) << " " << IoStatusName(ran.status)
       << " " << ran.count << (ran.interrupted ? " interrupted" : "");
}

Expected ExpectedOf(const Cell& cell) {
  const std::vector<Ran> natural = NaturalRuns(cell);
  const std::vector<Ran> again = RunsAgainAtOnce(cell);
  const std::vector<Ran> again_later = RunsAgainLater(cell);
  const Progress progress = ProgressOf(cell, natural.size());
  const auto over =
      natural.begin() + static_cast<std::ptrdiff_t>(progress.over);
  const auto due = over + static_cast<std::ptrdiff_t>(progress.due);

  // Of the operation and the one before it, and of the one started again; how
  // many have not ended when all is over and nobody has interfered.
  size_t started = cell.is_queued() ? 2 : 1;
  size_t ended = natural.size();
  if (cell.is_checking()) ended = std::min<size_t>(ended, 1);
  size_t active = started - ended;
  if (IsStartedAgain(cell) && ((again.empty() && again_later.empty()) ||
                               cell.operation == Operation::kReceiveMessages)) {
    ++active;
  }

  Expected expected;
  Append(expected.runs, natural.begin(), over);
  expected.runs_before_act = expected.runs.size();
  auto run_what_is_due = [&] {
    Append(expected.runs, over, due);
    Append(expected.runs, again.begin(), again.end());
  };

  if (!cell.act_concerns_it()) {
    // It goes on as if nothing had happened.
    run_what_is_due();
    if (cell.is_abort()) expected.runs.push_back({.caller = Caller::kAbort});
    Append(expected.runs, due, natural.end());
    Append(expected.runs, again_later.begin(), again_later.end());
    expected.left_active = active;
    return expected;
  }
  if (cell.act == Act::kAbortAndClose) {
    // Comes after the callbacks that were due already.
    run_what_is_due();
    expected.runs.push_back({.caller = Caller::kClose});
    return expected;
  }
  if (cell.closes()) return expected;

  // An abort, or a shutdown with one.
  Ran end = {.caller = cell.act == Act::kShutdown ? Caller::kShutdown
                                                  : Caller::kAbort};
  bool interrupts_again = IsStartedAgain(cell);
  bool in_progress = over != natural.end() || active != 0 || interrupts_again;
  if (in_progress) {
    bool before_is_over =
        cell.is_queued() && progress.over != 0 && over != natural.end();
    if (cell.is_queued() && progress.over == 0) {
      // The one before is interrupted; this one ends by its own callback, and
      // if it had been done already, it says so.
      Ran queued = {.caller = Caller::kOperation, .status = IoStatus::kAborted};
      if (progress.due == 2) queued = natural[1];
      expected.runs.push_back(queued);
    }
    if (end.caller == Caller::kAbort) {
      end.status = IoStatus::kAborted;
      end.interrupted = true;
      if (cell.act != Act::kAbortIo && !interrupts_again) {
        if (before_is_over) {
          end.count = progress.due != 0 ? over->count : 0;
        } else {
          end.count = DoneBy(cell, natural, progress);
        }
      }
    }
  }
  expected.runs.push_back(end);
  return expected;
}

}  // namespace aios::test
