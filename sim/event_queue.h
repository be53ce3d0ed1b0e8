// The events of a simulation in the order in which they happen.

#ifndef AIOS_SIM_EVENT_QUEUE_H_
#define AIOS_SIM_EVENT_QUEUE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "aios/kernel.h"

namespace aios::sim {

enum class EventKind : uint8_t { kPacket, kTcpTimer, kFunction, kTurn };

// Where an event is in the queue: kept by those who may take it back.
using EventPlace = size_t;
inline constexpr EventPlace kNoEvent = ~size_t{0};

struct Event {
  Nanoseconds time = 0;
  uint64_t number = 0;
  void* object = nullptr;
  // Null when nobody will take it back.
  EventPlace* place = nullptr;
  uint32_t tie = 0;
  // What happens on the network comes before the code that could see it.
  uint8_t rank = 0;
  EventKind kind = EventKind::kFunction;

  bool Before(const Event& other) const {
    if (time != other.time) return time < other.time;
    if (rank != other.rank) return rank < other.rank;
    if (tie != other.tie) return tie < other.tie;
    return number < other.number;
  }
};

// A heap in which every event knows its place, so that one can be taken back:
// the queue holds what is going to happen, and nothing else.
class EventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  size_t size() const { return heap_.size(); }
  const Event& first() const { return heap_.front(); }
  // In no order.
  const std::vector<Event>& all() const { return heap_; }

  void Push(const Event& event) {
    heap_.push_back(event);
    Up(heap_.size() - 1);
  }

  Event Pop() {
    Event event = heap_.front();
    Remove(0);
    return event;
  }

  void Remove(EventPlace place) {
    if (heap_[place].place != nullptr) *heap_[place].place = kNoEvent;
    Event last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    Put(place, last);
    Down(place);
    Up(place);
  }

 private:
  static constexpr size_t kChildren = 4;

  void Put(size_t index, const Event& event) {
    heap_[index] = event;
    if (event.place != nullptr) *event.place = index;
  }

  void Up(size_t index) {
    Event event = heap_[index];
    while (index != 0) {
      size_t parent = (index - 1) / kChildren;
      if (!event.Before(heap_[parent])) break;
      Put(index, heap_[parent]);
      index = parent;
    }
    Put(index, event);
  }

  void Down(size_t index) {
    Event event = heap_[index];
    for (;;) {
      size_t child = index * kChildren + 1;
      if (child >= heap_.size()) break;
      size_t end = std::min(child + kChildren, heap_.size());
      size_t first = child;
      while (++child != end) {
        if (heap_[child].Before(heap_[first])) first = child;
      }
      if (!heap_[first].Before(event)) break;
      Put(index, heap_[first]);
      index = first;
    }
    Put(index, event);
  }

  std::vector<Event> heap_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_EVENT_QUEUE_H_
