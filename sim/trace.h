// What happened in a simulation, as a running hash, a tail for reports, and on
// request the whole of it.

#ifndef AIOS_SIM_TRACE_H_
#define AIOS_SIM_TRACE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "aios/kernel.h"

namespace aios::sim {

// Append only, as for `Site`.
enum class What : uint8_t {
  // Calls of the kernel: subject is the socket; `a` the result or error, `b` a
  // size or an argument.
  kOpen,
  kClose,
  kBind,
  kListen,
  kConnect,
  kAccept,
  kReceive,
  kSend,
  kReceiveDatagram,
  kSendDatagram,
  kShutdown,
  kSetOption,
  kTakeError,
  kPeek,
  kInterest,
  kAdopt,
  kRelease,
  // Waiting: subject is the poller; `a` the number of reports.
  kWait,
  kReport,
  kWake,
  kTurn,
  // The network: subject is the packet; `a` its sequence number, `b` its length
  // and flags.
  kPacketSent,
  kPacketDelivered,
  kPacketDropped,
  kPacketDuplicated,
  kPacketCorrupted,
  kPacketHeld,
  kRetransmit,
  // Hosts and faults.
  kPause,
  kResume,
  kCrash,
  kRestart,
  kFault,
  kClockStep,
  // Operations of aios states, by the observer: `a` the kind, `b` the count.
  kOperationStarted,
  kOperationEnded,
  // A mark of the user; `a` and `b` are theirs.
  kMark,
  // A connection is reset by a program (subject: the socket), or by the network
  // (subject: the end).
  kReset,
  // A message reaches a name server: subject is its contents, `a` its number
  // and `b` its length.
  kQuery,
  kCount,
};

std::string_view WhatName(What what);

struct TraceEvent {
  Nanoseconds time = 0;
  uint64_t subject = 0;
  uint64_t a = 0;
  uint64_t b = 0;
  uint32_t host = 0;
  What what = What::kMark;
  friend bool operator==(const TraceEvent&, const TraceEvent&) = default;
};

class Trace {
 public:
  Trace();

  void Add(Nanoseconds time, What what, uint32_t host, uint64_t subject,
           uint64_t a = 0, uint64_t b = 0);

  // Of every event so far, in order. The same in every process for the same
  // seed and the same program.
  uint64_t hash() const { return hash_; }
  uint64_t size() const { return size_; }

  // Keeps the first so many events from now on; otherwise only the tail is
  // kept.
  void KeepAll(size_t count_max = ~size_t{0}) { kept_max_ = count_max; }
  const std::vector<TraceEvent>& all() const { return all_; }

  // The last events, oldest first, at most `kTail`.
  static constexpr size_t kTail = 256;
  std::vector<TraceEvent> Tail() const;

  // The number of the first event, from 0, that is not the same in both; of
  // all, when one goes on where the other has ended. Their length when they are
  // the same.
  static size_t FirstDifference(const std::vector<TraceEvent>& a,
                                const std::vector<TraceEvent>& b);

  // One line: "12.345678901 alpha  send  #7 4096 0".
  static std::string Describe(const TraceEvent& event,
                              std::string_view host_name);

 private:
  uint64_t hash_ = 0;
  uint64_t size_ = 0;
  size_t kept_max_ = 0;
  std::vector<TraceEvent> tail_;
  std::vector<TraceEvent> all_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_TRACE_H_
