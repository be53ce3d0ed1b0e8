#include "aios/state/checking.h"

#include <cerrno>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class CheckingTest : public test::PartTest {
 protected:
  CheckingTest() {
    input_.SetCallback(Ignore());
    input_.Begin(loop_, channel_, InputKind::kReadWithChecking);
  }
  ~CheckingTest() override { input_.Close(loop_); }

  Error error_;
  Checking checking_;
  Input input_;
  Received received_;
};

TEST_F(CheckingTest, ReadsAtMostMaxRead) {
  checking_.set_max_read(5);
  kernel_.input = {{"12345678"}};
  EXPECT_EQ(checking_.Read(loop_, channel_, received_, &error_), 5U);
  EXPECT_EQ(kernel_.asked, std::vector<size_t>{5});
  EXPECT_EQ(received_.view(), "12345");
}

TEST_F(CheckingTest, MaxReadHasARange) {
  EXPECT_FALSE(Checking::IsMaxRead(0));
  EXPECT_TRUE(Checking::IsMaxRead(1));
  EXPECT_TRUE(Checking::IsMaxRead(Checking::kMaxReadMax));
  EXPECT_FALSE(Checking::IsMaxRead(Checking::kMaxReadMax + 1));
}

TEST_F(CheckingTest, WithoutBytesTheBufferIsGivenBack) {
  EXPECT_EQ(checking_.Read(loop_, channel_, received_, &error_), 0U);
  EXPECT_FALSE(checking_.End(loop_, received_, input_, error_));
  EXPECT_FALSE(received_.has_buffer());
  EXPECT_TRUE(input_.waiting());
}

TEST_F(CheckingTest, TheEndOfTheStreamEndsIt) {
  kernel_.input = {{""}};
  EXPECT_EQ(checking_.Read(loop_, channel_, received_, &error_), 0U);
  EXPECT_TRUE(checking_.End(loop_, received_, input_, error_));
  EXPECT_EQ(input_.status(), IoStatus::kEof);
}

TEST_F(CheckingTest, WhatTheCallbackLeavesHasBeenSeen) {
  kernel_.input = {{"abcdef"}};
  InATurn([this] {
    EXPECT_EQ(checking_.Read(loop_, channel_, received_, &error_), 6U);
    received_.Drop(2);
    checking_.GoOn(loop_, channel_, received_, input_);
  });
  EXPECT_EQ(received_.old_length(), 4U);
  EXPECT_TRUE(channel_.Wants(kReadable));
}

TEST_F(CheckingTest, MoreThanTheBufferMayHoldEndsIt) {
  kernel_.input = {{std::string(limits_.input_buffer_bytes_max, 'x')}};
  InATurn([this] {
    EXPECT_EQ(checking_.Read(loop_, channel_, received_, &error_),
              limits_.input_buffer_bytes_max);
    checking_.GoOn(loop_, channel_, received_, input_);
  });
  EXPECT_EQ(input_.status(), IoStatus::kError);
  EXPECT_EQ(input_.error().code(), EMSGSIZE);
  EXPECT_EQ(received_.size(), limits_.input_buffer_bytes_max);
  input_.Unqueue();
}

TEST_F(CheckingTest, ReadsAgainOnlyAfterAFullReadAndWithinTheTurn) {
  checking_.set_max_read(10);
  EXPECT_TRUE(checking_.MayReadAgain(loop_, 10, 10));
  EXPECT_FALSE(checking_.MayReadAgain(loop_, 10, 9));
  EXPECT_TRUE(checking_.MayReadAgain(loop_, 22, 10));
  EXPECT_FALSE(checking_.MayReadAgain(loop_, 23, 10));
}

}  // namespace
}  // namespace aios
