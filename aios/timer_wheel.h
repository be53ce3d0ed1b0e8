// The timers of a collection: a hierarchical timing wheel with exact expiry.

#ifndef AIOS_TIMER_WHEEL_H_
#define AIOS_TIMER_WHEEL_H_

#include <array>
#include <cstddef>
#include <cstdint>

#include "aios/kernel.h"

namespace aios {

// What is put on the wheel; embedded in its owner, which is its subclass.
struct TimerEntry {
  bool on_wheel() const { return link != nullptr; }

  TimerEntry* next = nullptr;
  // The pointer that points here; null while the entry is on no wheel.
  TimerEntry** link = nullptr;
  // Valid while the entry is on the wheel.
  Nanoseconds expiry = 0;
};

// Schedules entries in constant time, whatever their number. Time is cut into
// ticks; level 0 has a slot for each of the next 64 ticks, level 1 one for each
// 64 ticks, and so on. An entry sits on the lowest level that tells its tick
// from the current one, and moves down when the current tick comes near. Slots
// remember a lower bound of their entries' expiry, so that the time to wait is
// exact to the nanosecond although the slots are coarse.
class TimerWheel {
 public:
  // `entry.expiry` is set to `expiry`. The entry must not be on the wheel.
  // An expiry that has passed is due at the next `Advance`.
  void Schedule(TimerEntry& entry, Nanoseconds expiry);

  void Cancel(TimerEntry& entry) {
    TimerEntry** link = entry.link;
    TimerEntry* next = entry.next;
    entry.link = nullptr;
    *link = next;
    if (next != nullptr) [[likely]] {
      next->link = link;
    } else {
      CancelledLast(link);
    }
  }

  // A moment before which nothing is due: exact as long as nothing was
  // cancelled, otherwise perhaps too early. `kForever` when the wheel is empty.
  Nanoseconds NextExpiry() const { return next_expiry_; }

  // Moves the time on to `now`, takes every entry off whose expiry is not
  // later, and returns them as a list linked by `next`, in no particular order.
  // Scheduling one of them again overwrites its `next`.
  [[nodiscard]] TimerEntry* Advance(Nanoseconds now);

 private:
  // 65.5 µs: fine enough that a slot of level 0 rarely holds two moments.
  static constexpr int kTickBits = 16;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  // Enough for all of 63 bits.
  static constexpr int kLevels = (63 - kTickBits + kSlotBits - 1) / kSlotBits;

  struct Slot {
    TimerEntry* first = nullptr;
    Nanoseconds expiry_min = kForever;
  };

  void MarkEmpty(size_t position);
  // Looks for `next_expiry_` in the first slot, which has the earliest ticks.
  void FindNextExpiry();
  // The last entry of the list that `link` belongs to was taken off.
  void CancelledLast(TimerEntry** link);

  // Level after level, `kSlots` each.
  std::array<Slot, kLevels* kSlots> slots_ = {};
  std::array<uint64_t, kLevels> occupied_ = {};
  uint64_t levels_ = 0;  // bit set: the level has an occupied slot
  uint64_t tick_ = 0;    // the current tick
  Nanoseconds next_expiry_ = kForever;
};

}  // namespace aios

#endif  // AIOS_TIMER_WHEEL_H_
