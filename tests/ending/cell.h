// The cells of the table "every operation ends exactly once": operation ×
// outcome × what ends it before that × where that comes from; and what has to
// happen in each, as aios/async_io_state.h defines it.

#ifndef AIOS_TESTS_ENDING_CELL_H_
#define AIOS_TESTS_ENDING_CELL_H_

#include <cstddef>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "aios/io_result.h"
#include "aios/kernel.h"

namespace aios::test {

enum class Operation {
  kReadBuffer,
  kReadWithChecking,
  kReceiveMessageTcp,
  kReceiveMessageUdp,
  kReceiveMessages,
  kWaitForInput,
  kWriteBuffer,
  kSendMessageTcp,
  kSendMessageUdp,
  kSendMessageToAddress,
  kQueuedWrite,  // behind another write, on TCP
  kQueuedSend,   // behind another datagram
  kConnectTcp,
};

// What would happen to it if nobody interfered. Operations that can do a part
// of their work do so before a timeout, an end or an error.
enum class Outcome {
  kSuccess,
  kTimeout,
  kEof,
  kError,
  kNever,  // nothing happens
};

// What somebody does.
enum class Act {
  kNothing,
  kAbortInput,
  kAbortOutput,
  kAbortIo,
  kAbortAndClose,
  kShutdown,  // of the operation's direction, with `abort`
  kClose,
  kDestroy,
  kCloseCollection,
  kDestroyCollection,
};

// When and from where.
enum class Place {
  kNowhere,  // with `kNothing`
  // Outside of callbacks: right after the start; after turns in which the
  // operation did a part of its work, if it can; when a `Wait` has reported it
  // and no `Call` has served it; when it has ended and its callback is due.
  kJustStarted,
  kWhileActive,
  kWhenReported,
  kWhenEnded,
  // Inside its own callback: the last one; one before the last; the last one,
  // which has started the same operation once more.
  kInOwnCallback,
  kInEarlierCallback,
  kInOwnCallbackAfterRestart,
  // Inside other callbacks, while it is active (`kNever`) or, having ended, is
  // due to call back: of another state, of the same state's other direction, of
  // the write before it in the queue.
  kInOtherStatesCallback,
  kInOtherDirectionsCallback,
  kInCallbackOfWriteBefore,
  // Inside the callback of an abort of it, which has started it once more.
  kInAbortCallback,
};

struct Cell {
  Operation operation = Operation::kReadBuffer;
  Outcome outcome = Outcome::kSuccess;
  Act act = Act::kNothing;
  Place place = Place::kNowhere;

  bool is_input() const { return operation <= Operation::kWaitForInput; }
  bool is_connect() const { return operation == Operation::kConnectTcp; }
  bool is_queued() const {
    return operation == Operation::kQueuedWrite ||
           operation == Operation::kQueuedSend;
  }
  bool is_datagram() const;
  bool receives_datagrams() const {
    return operation == Operation::kReceiveMessageUdp ||
           operation == Operation::kReceiveMessages;
  }
  // Whether its callback is called again and again.
  bool is_checking() const {
    return operation == Operation::kReadWithChecking ||
           operation == Operation::kReceiveMessages;
  }
  // Whether it does a part of its work before it times out, fails, or finds the
  // end.
  bool has_part() const;
  // The direction that it occupies.
  Direction direction() const;
  bool closes() const;
  // An abort of the operation's direction, or of another one.
  bool is_abort() const;
  bool act_concerns_it() const;

  // Such as "ReadBuffer_Timeout_CloseInOwnCallback".
  std::string Name() const;
  friend void PrintTo(const Cell& cell, std::ostream* out) {
    *out << cell.Name();
  }
};

// All of the product.
std::vector<Cell> AllCells();

// Why a combination cannot be; empty for those that can.
std::optional<std::string> WhyImpossible(const Cell& cell);

std::vector<Cell> PossibleCells();

// How much each operation moves, and how much of it in the first part.
inline constexpr size_t kFull = 8;
inline constexpr size_t kPart = 3;

// A callback that ran, and what it was given.
enum class Caller {
  kOperation,
  kBefore,      // the write before it in the queue
  kAgain,       // what its own callback has started
  kFirstAbort,  // the callback of an `Abort` before the act
  kAbort,       // the callback of `Abort`
  kClose,       // of `AbortAndClose`
  kShutdown     // of `Shutdown`; how that went is not looked at
};

struct Ran {
  Caller caller = Caller::kOperation;
  IoStatus status = IoStatus::kOk;
  size_t count = 0;
  bool interrupted = false;

  friend bool operator==(const Ran&, const Ran&) = default;
  friend void PrintTo(const Ran& ran, std::ostream* out);
};

struct Expected {
  // Every callback that runs, in order.
  std::vector<Ran> runs;
  // How many of them have run when somebody interferes.
  size_t runs_before_act = 0;
  // Callbacks that still wait at the end, of operations to which nothing
  // happens.
  size_t left_active = 0;
};

Expected ExpectedOf(const Cell& cell);

}  // namespace aios::test

#endif  // AIOS_TESTS_ENDING_CELL_H_
