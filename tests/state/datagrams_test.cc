#include "aios/state/datagrams.h"

#include <array>
#include <cerrno>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class DatagramsTest : public test::PartTest {
 protected:
  DatagramsTest() { channel_.set_udp(Udp::kUnconnected); }
  ~DatagramsTest() override {
    input_.Close(loop_);
    datagrams_.Drop(loop_);
  }

  void Begin(bool needs_address, bool asks_again) {
    input_.SetCallback(Ignore());
    input_.Begin(loop_, channel_, InputKind::kReceiveMessage);
    input_.SetBuffer(buffer_);
    input_.set_needs_address(needs_address);
    input_.set_asks_again(asks_again);
  }
  IoResult Receive() {
    EXPECT_TRUE(
        Datagrams::ReceiveMessage(loop_, channel_, input_, &datagrams_));
    IoResult result = input_.Result(received_);
    input_.Over(loop_, channel_, OperationObserver::End::kCallback, result);
    return result;
  }

  std::array<char, 4> buffer_;
  Input input_;
  Received received_;
  Datagrams datagrams_;
};

TEST_F(DatagramsTest, OneThatIsTooLongIsCutAndFlagged) {
  kernel_.input = {{"abcdef"}, {"gh"}};
  Begin(false, false);
  IoResult result = Receive();
  EXPECT_EQ(result.data, "abcd");
  EXPECT_TRUE(result.truncated);
  Begin(false, false);
  result = Receive();
  EXPECT_EQ(result.data, "gh");
  EXPECT_FALSE(result.truncated);
}

TEST_F(DatagramsTest, TheSenderIsKeptForWhoNeedsIt) {
  kernel_.input = {{"ab"}};
  Begin(true, false);
  Receive();
  EXPECT_EQ(datagrams_.sender().port(), 7);
}

TEST_F(DatagramsTest, WhoAsksAgainAndAgainGetsThoseThatWaitTogether) {
  for (const char* text : {"1", "2", "3", "4", "5", "6"}) {
    kernel_.input.push_back({text});
  }
  std::string all;
  // Two alone, then two at a time are asked for.
  for (int i = 0; i < 3; ++i) {
    Begin(true, true);
    all += Receive().data;
  }
  EXPECT_EQ(all, "123");
  EXPECT_EQ(kernel_.input.size(), 2U);
  ASSERT_FALSE(datagrams_.empty());
  Begin(true, true);
  datagrams_.TakeNext(loop_, input_);
  EXPECT_EQ(input_.Result(received_).data, "4");
  EXPECT_TRUE(datagrams_.empty());
}

TEST_F(DatagramsTest, AnErrorEndsTheReceiveAndNoneWaits) {
  kernel_.input = {{"", ECONNREFUSED}};
  Begin(false, false);
  IoResult result = Receive();
  EXPECT_EQ(result.status, IoStatus::kError);
  EXPECT_EQ(result.error.code(), ECONNREFUSED);
  EXPECT_FALSE(input_.is_over());
}

TEST_F(DatagramsTest, NothingThereIsNoEnd) {
  Begin(false, false);
  EXPECT_FALSE(Datagrams::ReceiveMessage(loop_, channel_, input_, &datagrams_));
  EXPECT_TRUE(input_.waiting());
}

TEST_F(DatagramsTest, WhatIsLeftOfABatchIsKeptForTheNext) {
  kernel_.input = {{"1"}};
  input_.SetCallback(Ignore());
  input_.Begin(loop_, channel_, InputKind::kReceiveMessages);
  EXPECT_TRUE(datagrams_.ReceiveForLater(loop_, channel_, input_));
  ASSERT_FALSE(datagrams_.empty());
  DatagramBatch& batch = datagrams_.PutBack(loop_);
  EXPECT_TRUE(datagrams_.empty());
  EXPECT_EQ(batch.Next().size, 1U);
  datagrams_.Keep(loop_);
  EXPECT_TRUE(datagrams_.empty());
}

}  // namespace
}  // namespace aios
