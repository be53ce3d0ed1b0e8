#include "aios/ticket_queue.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/random.h"

namespace aios {
namespace {

// How many entries before the positions wrap around at 2^32.
TicketQueue<int> QueueBeforeWrap(uint32_t entries) {
  return TicketQueue<int>(Ticket{0} - entries);
}

// Takes the front, and what was cancelled before it.
int PopNext(TicketQueue<int>& queue) {
  while (!queue.empty()) {
    if (int value = queue.Pop(); value != 0) return value;
  }
  return 0;
}

TEST(TicketQueueTest, FirstInFirstOut) {
  TicketQueue<int> queue;
  EXPECT_TRUE(queue.empty());
  for (int i = 1; i <= 1000; ++i) EXPECT_NE(queue.Push(i), kNoTicket);
  EXPECT_EQ(queue.size(), 1000u);
  for (int i = 1; i <= 1000; ++i) EXPECT_EQ(queue.Pop(), i);
  EXPECT_TRUE(queue.empty());
}

TEST(TicketQueueTest, CancelledEntryKeepsItsPlaceAsNothing) {
  TicketQueue<int> queue;
  queue.Push(1);
  Ticket ticket = queue.Push(2);
  queue.Push(3);
  queue.Cancel(ticket);
  EXPECT_EQ(queue.size(), 3u);
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 0);
  EXPECT_EQ(queue.Pop(), 3);
}

TEST(TicketQueueTest, TicketsStayValidWhileTheRingGrows) {
  TicketQueue<int> queue;
  // The ring's seam lies in the middle of the entries.
  for (int i = 0; i < 40; ++i) queue.Push(-1);
  for (int i = 0; i < 40; ++i) queue.Pop();
  std::vector<Ticket> tickets;
  for (int i = 1; i <= 500; ++i) tickets.push_back(queue.Push(i));
  for (size_t i = 0; i < tickets.size(); i += 2) queue.Cancel(tickets[i]);
  for (int i = 2; i <= 500; i += 2) EXPECT_EQ(PopNext(queue), i);
  EXPECT_EQ(PopNext(queue), 0);
}

TEST(TicketQueueTest, PopAndCancelLetGoOfWhatWasHeld) {
  TicketQueue<std::shared_ptr<int>> queue;
  auto popped = std::make_shared<int>(1);
  auto cancelled = std::make_shared<int>(2);
  queue.Push(popped);
  Ticket ticket = queue.Push(cancelled);
  queue.Pop();
  EXPECT_EQ(popped.use_count(), 1);
  queue.Cancel(ticket);
  EXPECT_EQ(cancelled.use_count(), 1);
}

TEST(TicketQueueTest, NoTicketIsNeverGivenOut) {
  for (uint32_t before = 0; before < 10; ++before) {
    TicketQueue<int> queue = QueueBeforeWrap(before);
    for (int i = 1; i <= 20; ++i) {
      ASSERT_NE(queue.Push(i), kNoTicket) << before << " before";
    }
    for (int i = 1; i <= 20; ++i) ASSERT_EQ(PopNext(queue), i);
  }
}

// However full the ring is when the positions wrap, nothing is lost: position 0
// is passed over, which takes a place of its own.
TEST(TicketQueueTest, WrapsAroundAtEveryFill) {
  for (uint32_t before = 0; before <= 260; ++before) {
    SCOPED_TRACE(std::to_string(before) + " entries before the wrap");
    TicketQueue<int> queue = QueueBeforeWrap(before);
    std::vector<Ticket> tickets;
    for (int i = 1; i <= 300; ++i) tickets.push_back(queue.Push(i));
    for (size_t i = 0; i < tickets.size(); i += 3) queue.Cancel(tickets[i]);
    for (int i = 1; i <= 300; ++i) {
      if (i % 3 != 1) {
        ASSERT_EQ(PopNext(queue), i);
      }
    }
    ASSERT_EQ(PopNext(queue), 0);
    ASSERT_TRUE(queue.empty());
  }
}

TEST(TicketQueueTest, SteadyUseAcrossTheWrapDoesNotGrowIt) {
  TicketQueue<int> queue = QueueBeforeWrap(1000);
  int next = 1;
  for (int i = 1; i <= 50; ++i) queue.Push(i);
  for (int i = 51; i <= 3000; ++i) {
    queue.Push(i);
    ASSERT_EQ(PopNext(queue), next++);
    // One more while the place of position 0 is among them.
    ASSERT_LE(queue.size(), 51u);
  }
}

TEST(TicketQueueTest, AgreesWithADeque) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    // Some begin near the wrap, and some grow much.
    TicketQueue<int> queue =
        QueueBeforeWrap(static_cast<uint32_t>(random.Below(2000)));
    size_t push_percent = 30 + random.Below(40);
    struct Entry {
      int value;
      Ticket ticket;
    };
    std::deque<Entry> model;
    for (int step = 1; step <= 5000; ++step) {
      size_t dice = random.Below(100);
      if (dice < push_percent) {
        Ticket ticket = queue.Push(step);
        ASSERT_NE(ticket, kNoTicket);
        model.push_back({step, ticket});
      } else if (dice < push_percent + 10) {
        if (model.empty()) continue;
        size_t place = random.Below(model.size());
        queue.Cancel(model[place].ticket);
        model.erase(model.begin() + static_cast<std::ptrdiff_t>(place));
      } else if (model.empty()) {
        ASSERT_EQ(PopNext(queue), 0);
        ASSERT_TRUE(queue.empty());
      } else {
        ASSERT_EQ(PopNext(queue), model.front().value);
        model.pop_front();
      }
      ASSERT_GE(queue.size(), model.size());
    }
  }
}

}  // namespace
}  // namespace aios
