#include "sim/event_queue.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "sim/choice.h"

namespace aios::sim {
namespace {

Event At(Nanoseconds time, uint8_t rank = 0, uint32_t tie = 0,
         uint64_t number = 0, EventPlace* place = nullptr) {
  return {
      .time = time, .number = number, .place = place, .tie = tie, .rank = rank};
}

TEST(EventQueue, EarlierComesFirst) {
  EventQueue queue;
  for (Nanoseconds time : {5, 1, 4, 2, 3}) queue.Push(At(time));
  EXPECT_EQ(queue.size(), 5u);
  for (Nanoseconds time = 1; time <= 5; ++time) {
    EXPECT_EQ(queue.first().time, time);
    EXPECT_EQ(queue.Pop().time, time);
  }
  EXPECT_TRUE(queue.empty());
}

TEST(EventQueue, OfOneMomentRankThenTieThenNumberDecide) {
  std::vector<Event> in_order = {At(1, 1, 9, 9), At(2, 0, 9, 9),
                                 At(2, 1, 0, 9), At(2, 1, 1, 1),
                                 At(2, 1, 1, 2), At(3, 0, 0, 0)};
  std::vector<Event> events = in_order;
  do {
    EventQueue queue;
    for (const Event& event : events) queue.Push(event);
    for (const Event& event : in_order) {
      Event first = queue.Pop();
      ASSERT_EQ(first.time, event.time);
      ASSERT_EQ(first.rank, event.rank);
      ASSERT_EQ(first.tie, event.tie);
      ASSERT_EQ(first.number, event.number);
    }
  } while (std::next_permutation(
      events.begin(), events.end(),
      [](const Event& a, const Event& b) { return a.Before(b); }));
}

TEST(EventQueue, EveryEventKnowsItsPlaceAndCanBeTakenBack) {
  constexpr size_t kEvents = 500;
  Choices choices(1);
  ChoiceEntity entity(1);
  EventQueue queue;
  std::vector<EventPlace> places(kEvents, kNoEvent);
  for (size_t i = 0; i != kEvents; ++i) {
    queue.Push(
        At(static_cast<Nanoseconds>(choices.Below(Site::kUser, entity, 100)), 0,
           0, i, &places[i]));
  }
  for (size_t i = 0; i != kEvents; ++i) {
    ASSERT_EQ(queue.all()[places[i]].number, i);
  }
  // Every third is taken back, wherever it is.
  for (size_t i = 0; i < kEvents; i += 3) {
    queue.Remove(places[i]);
    EXPECT_EQ(places[i], kNoEvent);
  }
  Event last = At(-1);
  size_t count = 0;
  while (!queue.empty()) {
    Event event = queue.Pop();
    EXPECT_NE(event.number % 3, 0u);
    EXPECT_EQ(places[event.number], kNoEvent) << "it is not there any more";
    EXPECT_TRUE(last.Before(event));
    last = event;
    ++count;
  }
  EXPECT_EQ(count, kEvents - (kEvents + 2) / 3);
}

TEST(EventQueue, TheLastOneCanBeTakenBack) {
  EventQueue queue;
  EventPlace place = kNoEvent;
  queue.Push(At(1, 0, 0, 0, &place));
  queue.Remove(place);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(place, kNoEvent);
}

}  // namespace
}  // namespace aios::sim
