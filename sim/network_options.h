// How links behave, and what may go wrong on them and in kernels.

#ifndef AIOS_SIM_NETWORK_OPTIONS_H_
#define AIOS_SIM_NETWORK_OPTIONS_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

namespace aios::sim {

// How long packets travel. Drawn by integer arithmetic alone, so that every
// machine draws the same.
struct Latency {
  enum class Kind : uint8_t {
    kFixed,        // `base`
    kUniform,      // `base` to `base` + `spread`
    kExponential,  // `base`, and on average `spread` more
    kHeavyTailed,  // `base`, mostly a little of `spread` more, rarely 1000
                   // times
  };
  Kind kind = Kind::kFixed;
  absl::Duration base = absl::Microseconds(50);
  absl::Duration spread = absl::ZeroDuration();

  static Latency Fixed(absl::Duration base) { return {Kind::kFixed, base}; }
  static Latency Uniform(absl::Duration from, absl::Duration to) {
    return {Kind::kUniform, from, to - from};
  }
  static Latency Exponential(absl::Duration base, absl::Duration mean) {
    return {Kind::kExponential, base, mean};
  }
  static Latency HeavyTailed(absl::Duration base, absl::Duration typical) {
    return {Kind::kHeavyTailed, base, typical};
  }
};

// One direction between two hosts.
struct LinkOptions {
  Latency latency = {};
  // 0: no limit.
  uint64_t bits_per_second = 0;
  // Of packets waiting for the link; beyond it they are dropped. Only with
  // `bits_per_second`.
  size_t queue_bytes_max = 256 * 1024;
  // The largest packet, headers of 40 bytes included. Larger datagrams travel
  // in fragments, and are lost with any of them; streams are cut to fit.
  size_t mtu_bytes = 1500;
};

// Probabilities, each in a million. Zero switches the fault off; no fault
// influences the draws of another.
struct FaultRates {
  // Packets.
  uint32_t loss = 0;
  uint32_t duplication = 0;
  uint32_t reordering = 0;
  uint32_t corruption = 0;  // datagrams only
  // Kernel calls.
  uint32_t short_read = 0;
  uint32_t short_write = 0;
  uint32_t would_block = 0;
  uint32_t spurious = 0;
  uint32_t interrupt = 0;
  uint32_t error = 0;
  // Cuts streams into segments of random length instead of full ones.
  uint32_t split = 0;
  // Lets streams wait up to a millisecond before they send, so that writes
  // travel joined.
  uint32_t join = 0;
};

// Each family that can go wrong, for counting.
enum class Fault : uint8_t {
  kLoss,
  kDuplication,
  kReordering,
  kCorruption,
  kPartition,
  kHold,
  kReset,
  kPause,
  kCrash,
  kClock,
  kShortRead,
  kShortWrite,
  kSplit,
  kWouldBlock,
  kSpurious,
  kInterrupt,
  kErrno,
  kPortExhaustion,
  kQueueOverflow,
  kJoin,
  kCount,
};

// How often a fault was applied, and how often that changed something that can
// be observed.
struct FaultCount {
  uint64_t fired = 0;
  uint64_t effective = 0;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_NETWORK_OPTIONS_H_
