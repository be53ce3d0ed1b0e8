// A queue from which an entry can be taken out again before its turn.

#ifndef AIOS_TICKET_QUEUE_H_
#define AIOS_TICKET_QUEUE_H_

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/base/attributes.h"

namespace aios {

// Names the place of an entry. 0 is never given out, so that it can mean "not
// queued". Four bytes instead of the two pointers of an intrusive list: every
// idle connection keeps several.
using Ticket = uint32_t;
inline constexpr Ticket kNoTicket = 0;

// First in, first out, in a ring that grows to the largest length it ever had
// and allocates no more after that. `T` has a value that converts to false:
// `T()` marks an entry that was cancelled.
template <typename T>
class TicketQueue {
 public:
  TicketQueue() = default;
  // Begins at another place than the first, for tests of the wrap-around.
  explicit TicketQueue(Ticket begin) : head_(begin), tail_(begin) {}

  // Entries between the ends, cancelled ones included.
  uint32_t size() const { return tail_ - head_; }
  bool empty() const { return tail_ == head_; }

  Ticket Push(T value) {
    // Position 0 would make the ticket that means "none".
    if (tail_ == kNoTicket) [[unlikely]] {
      Put(T());
    }
    return Put(std::move(value));
  }

  // The entry of `ticket` must be in the queue; `Pop` will give `T()` for it.
  void Cancel(Ticket ticket) { ring_[ticket & mask_] = T(); }

  // The queue must not be empty.
  T Pop() { return std::exchange(ring_[head_++ & mask_], T()); }

 private:
  Ticket Put(T value) {
    if (size() == capacity_) [[unlikely]] {
      Grow();
    }
    ring_[tail_ & mask_] = std::move(value);
    return tail_++;
  }

  ABSL_ATTRIBUTE_NOINLINE void Grow() {
    uint32_t capacity = capacity_ == 0 ? 64 : capacity_ * 2;
    std::unique_ptr<T[]> ring(new T[capacity]());
    for (uint32_t i = head_; i != tail_; ++i) {
      ring[i & (capacity - 1)] = std::move(ring_[i & mask_]);
    }
    ring_ = std::move(ring);
    capacity_ = capacity;
    mask_ = capacity - 1;
  }

  // Positions wrap around at 2^32 and index it masked.
  std::unique_ptr<T[]> ring_;
  uint32_t capacity_ = 0;  // a power of two
  uint32_t mask_ = 0;
  uint32_t head_ = 1;
  uint32_t tail_ = 1;
};

}  // namespace aios

#endif  // AIOS_TICKET_QUEUE_H_
