// The judge that watches every simulation: whether operations end as promised.

#ifndef AIOS_SIM_ORACLE_H_
#define AIOS_SIM_ORACLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "sim/recording.h"
#include "sim/trace.h"

namespace aios::sim {

// Checks, for the states of one host:
//   I1  every operation ends exactly once, by its callback, by that of an abort
//       or silently;
//   I3  no timeout comes before its deadline;
//   I5  writes of a state end in the order in which they were started;
//   I6  no operation of a closed state ends by a callback.
// The others are checked where they can be seen: I2 by the event loop (a
// callback within a callback, or outside of a turn, ends a debug build), I4 by
// the connections (each byte that is received is the one that was sent), I7 by
// `Simulation::Leftovers`, I8 by the livelock detector, I9 by the address
// sanitizer, I10 by `SIMULATED_TEST`, which runs its first seed twice.
class Oracle final : public OperationObserver {
 public:
  // The first so many are kept.
  static constexpr size_t kViolationsMax = 100;

  // All must outlive the oracle.
  Oracle(Trace& trace, const Nanoseconds& now, uint32_t host,
         std::vector<std::string>& violations,
         const std::unique_ptr<Recording>& recording)
      : trace_(trace),
        now_(now),
        host_(host),
        violations_(violations),
        recording_(recording) {}

  void OnStart(const void* operation, const void* state,
               const char* kind) override;
  void OnEnd(const void* operation, End end, IoStatus status,
             size_t count) override;
  void OnTimeout(const void* operation, Nanoseconds deadline) override;
  void OnClose(const void* state) override;

  // Operations that have started and not ended.
  size_t pending() const { return pending_.size(); }
  // One line each, oldest first.
  std::string DescribePending() const;
  // The host has crashed: its operations will never end, and that is right.
  void Retire();

 private:
  struct Operation {
    uint64_t number;
    const void* state;
    std::string_view kind;
    Nanoseconds start;
  };

  void Violation(std::string_view what, const Operation& operation);
  static bool IsOutput(std::string_view kind);

  Trace& trace_;
  const Nanoseconds& now_;
  const uint32_t host_;
  std::vector<std::string>& violations_;
  // The simulation's; null as long as it has none.
  const std::unique_ptr<Recording>& recording_;
  bool retired_ = false;
  uint64_t next_number_ = 1;
  struct State {
    size_t pending = 0;
    // The number of the last write that has ended.
    uint64_t last_output = 0;
  };

  // By their names, which are addresses: only looked up, never walked in an
  // order that could be seen.
  std::map<const void*, Operation> pending_;
  std::map<const void*, State> states_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_ORACLE_H_
