#include "aios/state/received.h"

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "gtest/gtest.h"

namespace aios {
namespace {

constexpr size_t kLimit = 1 << 20;

class ReceivedTest : public testing::Test {
 protected:
  void Add(std::string_view bytes) {
    std::span<char> room = received_.Room(pool_, 100, kLimit);
    ASSERT_GE(room.size(), bytes.size());
    std::memcpy(room.data(), bytes.data(), bytes.size());
    received_.Append(bytes.size());
  }

  InputBufferPool pool_;
  Received received_;
};

TEST_F(ReceivedTest, HoldsNothingWithoutABuffer) {
  EXPECT_FALSE(received_.has_buffer());
  EXPECT_EQ(received_.size(), 0U);
  EXPECT_EQ(received_.view(), "");
  EXPECT_EQ(received_.old_length(), 0U);
  std::array<char, 4> buffer;
  EXPECT_EQ(received_.Take(buffer), 0U);
}

TEST_F(ReceivedTest, RoomIsNeverMoreThanTheLimitLeaves) {
  Add("12345678");
  EXPECT_EQ(received_.Room(pool_, 100, 10).size(), 2U);
  EXPECT_EQ(received_.Room(pool_, 1, 10).size(), 1U);
}

TEST_F(ReceivedTest, MayDropOnlyWhatIsThereAndOnlyWhereItMay) {
  Add("abc");
  EXPECT_FALSE(received_.MayDrop(0));
  received_.set_in_callback(InCallback::kLastLook);
  EXPECT_TRUE(received_.MayDrop(3));
  EXPECT_FALSE(received_.MayDrop(4));
  received_.Drop(2);
  EXPECT_EQ(received_.view(), "c");
}

TEST_F(ReceivedTest, UnderAnObserverNothingIsDroppedUnseen) {
  Add("abc");
  received_.set_in_callback(InCallback::kChecking);
  EXPECT_TRUE(received_.MayDropUnseen(3));
  received_.set_observed();
  EXPECT_FALSE(received_.MayDropUnseen(3));
  EXPECT_TRUE(received_.MayDrop(3));
}

TEST_F(ReceivedTest, AnEmptyBufferStaysAsLongAsACallbackLooks) {
  Add("abc");
  received_.set_in_callback(InCallback::kChecking);
  received_.Drop(3);
  received_.Release(&pool_);
  EXPECT_TRUE(received_.has_buffer());
  received_.set_in_callback(InCallback::kNone);
  received_.Release(&pool_);
  EXPECT_FALSE(received_.has_buffer());
  EXPECT_TRUE(pool_.has_next());
}

TEST_F(ReceivedTest, ABufferWithBytesStays) {
  Add("abc");
  received_.Release(&pool_);
  EXPECT_EQ(received_.view(), "abc");
}

TEST_F(ReceivedTest, OfAClosedStateTheBufferIsNotForThePool) {
  Add("abc");
  received_.Drop(3);
  received_.Release(nullptr);
  EXPECT_FALSE(received_.has_buffer());
  EXPECT_FALSE(pool_.has_next());
}

TEST_F(ReceivedTest, TakeGivesTheFirstBytesAndKeepsTheRest) {
  Add("abcdef");
  std::array<char, 4> buffer;
  EXPECT_EQ(received_.Take(buffer), 4U);
  EXPECT_EQ(std::string_view(buffer.data(), 4), "abcd");
  EXPECT_EQ(received_.view(), "ef");
}

TEST_F(ReceivedTest, WhatWasSeenIsRemembered) {
  Add("ab");
  received_.MarkAsSeen(2);
  Add("c");
  EXPECT_EQ(received_.old_length(), 2U);
  received_.MarkAsNew();
  EXPECT_EQ(received_.old_length(), 0U);
}

}  // namespace
}  // namespace aios
