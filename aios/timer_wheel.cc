#include "aios/timer_wheel.h"

#include <algorithm>

namespace aios {

void TimerWheel::Schedule(TimerEntry& entry, Nanoseconds expiry) {
  entry.expiry = expiry;
  uint64_t tick = std::max(static_cast<uint64_t>(expiry) >> kTickBits, tick_);
  // The highest group of bits in which the ticks differ names the level.
  unsigned level = (63 - __builtin_clzll((tick ^ tick_) | 1)) / kSlotBits;
  uint64_t index = (tick >> (level * kSlotBits)) % kSlots;
  Slot& slot = slots_[level * kSlots + index];
  entry.next = slot.first;
  entry.link = &slot.first;
  slot.first = &entry;
  slot.expiry_min = std::min(slot.expiry_min, expiry);
  next_expiry_ = std::min(next_expiry_, expiry);
  if (entry.next != nullptr) {
    entry.next->link = &entry.next;
  } else {
    occupied_[level] |= uint64_t{1} << index;
    levels_ |= uint64_t{1} << level;
  }
}

void TimerWheel::MarkEmpty(size_t position) {
  slots_[position].expiry_min = kForever;
  size_t level = position / kSlots;
  occupied_[level] &= ~(uint64_t{1} << (position % kSlots));
  if (occupied_[level] == 0) levels_ &= ~(uint64_t{1} << level);
}

void TimerWheel::FindNextExpiry() {
  if (levels_ == 0) {
    next_expiry_ = kForever;
    return;
  }
  int level = __builtin_ctzll(levels_);
  int index = __builtin_ctzll(occupied_[level]);
  next_expiry_ = slots_[level * kSlots + index].expiry_min;
}

void TimerWheel::CancelledLast(TimerEntry** link) {
  // If `link` lies among the slots, the list had no other.
  auto offset = reinterpret_cast<uintptr_t>(link) -
                reinterpret_cast<uintptr_t>(slots_.data());
  if (offset >= sizeof(slots_)) return;
  MarkEmpty(offset / sizeof(Slot));
  FindNextExpiry();
}

TimerEntry* TimerWheel::Advance(Nanoseconds now) {
  TimerEntry* due = nullptr;
  uint64_t target = static_cast<uint64_t>(now) >> kTickBits;
  while (levels_ != 0) {
    int level = __builtin_ctzll(levels_);
    int index = __builtin_ctzll(occupied_[level]);
    int shift = level * kSlotBits;
    // The slot shares the bits above its level with the current tick.
    uint64_t start = ((tick_ >> shift) & ~uint64_t{kSlots - 1}) | index;
    start <<= shift;
    if (start > target) break;
    Slot& slot = slots_[level * kSlots + index];
    bool last = level == 0 && start >= target;
    if (last && slot.expiry_min > now) break;

    TimerEntry* list = slot.first;
    slot.first = nullptr;
    MarkEmpty(static_cast<size_t>(level * kSlots + index));
    tick_ = std::max(tick_, start);
    while (list != nullptr) {
      TimerEntry* entry = list;
      list = entry->next;
      if (entry->expiry <= now) {
        entry->link = nullptr;
        entry->next = due;
        due = entry;
      } else {
        Schedule(*entry, entry->expiry);
      }
    }
    if (last) break;
  }
  tick_ = std::max(tick_, target);
  FindNextExpiry();
  return due;
}

}  // namespace aios
