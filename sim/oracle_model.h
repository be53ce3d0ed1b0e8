// What the oracle believes about operations, states and collections: made of
// what kernels gave and took and of what users asked for, not of what aios
// believes.

#ifndef AIOS_SIM_ORACLE_MODEL_H_
#define AIOS_SIM_ORACLE_MODEL_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "aios/address.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "aios/wait_state_collection.h"
#include "sim/stream_check.h"

namespace aios::sim {

struct ObservedState;

// In place of an error of the kernel: the name of the target was not found.
inline constexpr int kNoTarget = -1;

struct ObservedOperation {
  OperationStart start;
  uint64_t number = 0;
  Nanoseconds started = 0;
  ObservedState* state = nullptr;

  // It has ended, or has something to tell, and its callback is still to come.
  bool owed = false;
  // The order in which they came to be owed.
  uint64_t debt = 0;
  bool timed_out = false;
  // In the collection's list of those that the next sleep is judged by.
  bool noted = false;

  // The deadline is not earlier than the one and not later than the other.
  Nanoseconds deadline_min = kForever;
  Nanoseconds deadline_max = kForever;
  Nanoseconds timeout = kForever;
  // Among equal deadlines, the order in which they were set.
  uint64_t deadline_order = 0;
  // The turn in which it was set.
  uint64_t deadline_turn = 0;

  // ---- Input.
  size_t got = 0;
  StreamHash got_hash;
  // There was input to be seen.
  bool looked = false;
  bool paused = false;
  // Its callback was called, and has not said since whether it goes on.
  bool called_back = false;

  // ---- Connects.
  uint64_t proofs = 0;
  bool connected = false;

  // ---- Output.
  size_t done = 0;
  bool sent = false;  // whole, or as a datagram
  bool attempted = false;
  int error = 0;
};

struct ObservedDatagram {
  std::string bytes;
  bool truncated = false;
  std::optional<SocketAddress> sender;
};

struct ObservedReply {
  std::string bytes;
  std::optional<SocketAddress> target;
};

struct ObservedState {
  const Poller* poller = nullptr;
  Handle handle = kNoHandle;
  bool datagram_socket = false;
  // Those that the next operations get, as far as they are known.
  std::optional<Nanoseconds> read_timeout;
  std::optional<Nanoseconds> write_timeout;
  size_t max_read = 0;

  ObservedOperation* connect = nullptr;
  ObservedOperation* input = nullptr;
  // Those that have not ended, in the order in which they were started.
  std::deque<ObservedOperation*> output;
  uint64_t last_output_ended = 0;

  // ---- Input.
  // What the kernel gave to a `ReadWithChecking` and nobody has consumed, and
  // how much of it no callback has seen yet.
  std::string unconsumed;
  size_t unseen = 0;
  std::deque<ObservedDatagram> datagrams;
  // So many of them may have been given to the callback of an abort.
  size_t datagrams_doubtful = 0;
  // What the kernel said when it gave no more: the end, or an error.
  bool input_broken = false;
  int input_error = 0;
  bool input_shut = false;
  // The turns in which the kernel was asked last, for input and to send.
  uint64_t asked_in_turn = 0;
  uint64_t sent_in_turn = 0;
  // Of the turn with this number.
  uint64_t turn = 0;
  size_t bytes_in_turn = 0;
  size_t largest_read = 0;

  // ---- Output.
  std::deque<ObservedReply> replies;
  // The kernel has taken nothing of what it was offered last, since when
  // nothing was started.
  bool refused = false;
  int output_error = 0;
  // Writes up to this number may end as aborted, since one before them has
  // ended badly.
  uint64_t aborted_to = 0;
  // By the names of aborts: the writes up to this number end before its
  // callback.
  std::map<const void*, uint64_t> aborts;
  // How the last reply ended that did not succeed.
  IoStatus reply_status = IoStatus::kOk;
  int reply_error = 0;
  // The same of a stream whose input had ended before: that becomes its error.
  int broken_reply_error = 0;
};

struct ObservedCollection {
  Limits limits;
  uint64_t turn = 0;
  bool in_turn = false;

  std::vector<const void*> noted;
  std::set<std::pair<uint64_t, const void*>> debts;
  // By deadline and number.
  std::map<std::pair<Nanoseconds, uint64_t>, const void*> deadlines;
  // The last timeout of this turn.
  Nanoseconds last_deadline = 0;
  uint64_t last_deadline_order = 0;

  uint64_t posted = 0;
  uint64_t posted_run = 0;

  // Tokens of the last wait's reports, and those of them that have no interest
  // any more.
  std::vector<const void*> reported;
  std::set<const void*> stale;

  Handle accepting = kNoHandle;
  int accepted = 0;
  // Listening sockets that are not watched, since then.
  std::map<Handle, Nanoseconds> resting;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_ORACLE_MODEL_H_
