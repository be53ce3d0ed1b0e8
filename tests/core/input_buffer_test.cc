#include "aios/input_buffer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/random.h"
#include "tests/support/heap.h"

namespace aios {
namespace {

constexpr size_t kCapacity = InputBuffer::kCapacity;

void Append(InputBuffer& buffer, std::string_view bytes) {
  std::span<char> room = buffer.Room(bytes.size());
  ASSERT_GE(room.size(), bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  buffer.Append(bytes.size());
}

TEST(InputBufferTest, IsEmptyAtFirst) {
  InputBuffer buffer;
  EXPECT_EQ(buffer.size(), 0u);
  EXPECT_EQ(buffer.view(), "");
  EXPECT_EQ(buffer.old_length, 0u);
}

TEST(InputBufferTest, GrowsAtItsEndAndIsConsumedAtItsFront) {
  InputBuffer buffer;
  Append(buffer, "one");
  Append(buffer, "two");
  EXPECT_EQ(buffer.view(), "onetwo");
  buffer.Consume(4);
  EXPECT_EQ(buffer.view(), "wo");
  buffer.Consume(0);
  EXPECT_EQ(buffer.view(), "wo");
  buffer.Consume(2);
  EXPECT_EQ(buffer.view(), "");
}

TEST(InputBufferTest, RoomIsNoMoreThanWanted) {
  InputBuffer buffer;
  for (size_t wanted : {size_t{1}, size_t{100}, kCapacity - 1, kCapacity,
                        kCapacity + 1, 5 * kCapacity}) {
    size_t room = buffer.Room(wanted).size();
    EXPECT_LE(room, wanted);
    EXPECT_GE(room, std::min(wanted, kCapacity / 4));
    EXPECT_GE(room, wanted / 4);
  }
}

// The bytes are counted, not where they lie.
TEST(InputBufferTest, AppendingLessThanTheRoomIsAllowed) {
  InputBuffer buffer;
  std::span<char> room = buffer.Room(1000);
  std::memcpy(room.data(), "ab", 2);
  buffer.Append(2);
  buffer.Room(1000)[0] = 'c';
  buffer.Append(1);
  buffer.Append(0);
  EXPECT_EQ(buffer.view(), "abc");
}

// However much is left in it between two reads, each byte is moved a few times
// at most, and memory is taken seldom.
TEST(InputBufferTest, CostIsInProportionToTheTraffic) {
  const std::string piece(1000, 'y');
  for (size_t kept : {size_t{1}, kCapacity / 4, kCapacity / 2, kCapacity - 2000,
                      2 * kCapacity, 20 * kCapacity}) {
    SCOPED_TRACE(std::to_string(kept) + " bytes are kept");
    test::HeapUse before = test::CurrentHeapUse();
    InputBuffer buffer;
    size_t appended = 0;
    size_t moved = 0;
    const char* begin = buffer.view().data();
    auto append = [&](size_t size) {
      std::span<char> room = buffer.Room(size);
      ASSERT_EQ(room.size(), size);
      if (buffer.view().data() != begin) moved += buffer.size();
      std::memcpy(room.data(), piece.data(), size);
      buffer.Append(size);
      appended += size;
      begin = buffer.view().data();
    };
    for (size_t left = kept; left != 0;) {
      size_t size = std::min(left, piece.size());
      ASSERT_NO_FATAL_FAILURE(append(size));
      left -= size;
    }
    for (int i = 0; i < 10000; ++i) {
      ASSERT_NO_FATAL_FAILURE(append(piece.size()));
      buffer.Consume(piece.size());
      begin = buffer.view().data();
      ASSERT_EQ(buffer.size(), kept);
    }
    EXPECT_LE(moved, 4 * appended);
    test::HeapUse used = test::CurrentHeapUse() - before;
    EXPECT_LE(used.allocations, 10);
    EXPECT_LE(used.bytes, static_cast<int64_t>(4 * kept + 2 * kCapacity));
  }
}

TEST(InputBufferTest, HoldsMuchMoreThanItBeganWith) {
  InputBuffer buffer;
  std::string all;
  for (int i = 0; i < 100; ++i) {
    std::string piece(4000, static_cast<char>('a' + i % 26));
    Append(buffer, piece);
    all += piece;
  }
  EXPECT_TRUE(buffer.view() == all);
}

TEST(InputBufferTest, AgreesWithAString) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    size_t wanted_max = size_t{1} << (1 + random.Below(18));
    // Some are drained, some pile up.
    size_t consume_percent = 30 + random.Below(60);
    InputBuffer buffer;
    std::string model;
    for (int step = 0; step < 400 && model.size() < (size_t{4} << 20); ++step) {
      if (random.Below(100) >= consume_percent) {
        size_t wanted = 1 + random.Below(wanted_max);
        std::span<char> room = buffer.Room(wanted);
        ASSERT_LE(room.size(), wanted);
        ASSERT_GE(room.size(),
                  std::min(wanted, std::max(wanted / 4, kCapacity / 4)));
        // As a receive does: some of it, or none at all.
        size_t filled = random.Below(room.size() + 1);
        for (size_t i = 0; i < filled; ++i) {
          room[i] = static_cast<char>(random.Next());
        }
        model.append(room.data(), filled);
        buffer.Append(filled);
      } else {
        size_t n = random.Below(2) == 0 ? model.size()
                                        : random.Below(model.size() + 1);
        buffer.Consume(n);
        model.erase(0, n);
      }
      ASSERT_EQ(buffer.size(), model.size());
      ASSERT_TRUE(buffer.view() == model) << "step " << step;
    }
  }
}

std::unique_ptr<InputBuffer> TakeFrom(InputBufferPool& pool) {
  std::unique_ptr<InputBuffer> buffer;
  pool.Take(buffer);
  return buffer;
}

TEST(InputBufferPoolTest, GivesBackWhatItWasGiven) {
  InputBufferPool pool;
  std::unique_ptr<InputBuffer> buffer = TakeFrom(pool);
  InputBuffer* first = buffer.get();
  pool.Give(buffer);
  EXPECT_EQ(buffer, nullptr);
  EXPECT_EQ(TakeFrom(pool).get(), first);
}

TEST(InputBufferPoolTest, BuffersComeEmpty) {
  InputBufferPool pool;
  std::unique_ptr<InputBuffer> buffer = TakeFrom(pool);
  Append(*buffer, "consumed");
  buffer->Consume(buffer->size());
  buffer->old_length = 4;
  pool.Give(buffer);
  buffer = TakeFrom(pool);
  EXPECT_EQ(buffer->view(), "");
  EXPECT_EQ(buffer->old_length, 0u);
  EXPECT_EQ(buffer->Room(kCapacity).size(), kCapacity);
}

TEST(InputBufferPoolTest, BuffersThatHadToGrowAreLetGo) {
  InputBufferPool pool;
  std::unique_ptr<InputBuffer> buffer = TakeFrom(pool);
  for (int i = 0; i < 5; ++i) Append(*buffer, std::string(kCapacity / 4, 'x'));
  pool.Give(buffer);
  // One that was kept would have more room than was asked of a new one.
  EXPECT_EQ(TakeFrom(pool)->Room(4 * kCapacity).size(), kCapacity);
}

// A burst of connections must not hold its memory for ever.
TEST(InputBufferPoolTest, KeepsABoundedNumber) {
  InputBufferPool pool;
  test::HeapUse before = test::CurrentHeapUse();
  auto bytes_after_burst_of = [&](size_t number) {
    {
      std::vector<std::unique_ptr<InputBuffer>> taken;
      for (size_t i = 0; i < number; ++i) taken.push_back(TakeFrom(pool));
      for (std::unique_ptr<InputBuffer>& buffer : taken) {
        pool.Give(buffer);
      }
    }
    return (test::CurrentHeapUse() - before).bytes;
  };
  int64_t bytes = bytes_after_burst_of(500);
  EXPECT_GT(bytes, 0);
  EXPECT_LT(bytes, int64_t{8} << 20);
  EXPECT_EQ(bytes_after_burst_of(5000), bytes);
}

TEST(InputBufferPoolTest, SteadyUseTakesNothingFromTheHeap) {
  InputBufferPool pool;
  std::unique_ptr<InputBuffer> buffer = TakeFrom(pool);
  pool.Give(buffer);
  test::HeapUse before = test::CurrentHeapUse();
  for (int i = 0; i < 1000; ++i) {
    pool.Take(buffer);
    pool.Give(buffer);
  }
  EXPECT_EQ((test::CurrentHeapUse() - before).allocations, 0);
}

}  // namespace
}  // namespace aios
