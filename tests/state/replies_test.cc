#include "aios/state/replies.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class RepliesTest : public test::PartTest {
 protected:
  // Room for several datagrams of any size.
  RepliesTest() : PartTest(1 << 20) {
    std::span<char> room = received_.Room(loop_.input_buffers(), 100, 1000);
    std::memcpy(room.data(), "question", 8);
    received_.Append(8);
  }
  ~RepliesTest() override {
    for (OutputOperation* left = output_.Close(loop_); left != nullptr;) {
      OutputOperation* next = left->next;
      left->callback.reset();
      loop_.output_operations().Give(left);
      left = next;
    }
    for (OutputOperation* ended : channel_.outputs_ended) {
      ended->callback.reset();
      loop_.output_operations().Give(ended);
    }
  }

  void Hold(std::string_view data) {
    replies_.Hold(loop_, channel_, output_, received_, data);
  }

  Received received_;
  Output output_;
  Replies replies_;
};

TEST_F(RepliesTest, LeaveTogether) {
  InATurn([this] {
    Hold("a");
    Hold(received_.view().substr(0, 5));
    EXPECT_TRUE(kernel_.sent.empty());
    replies_.SendStream(loop_, channel_, output_);
  });
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"aquest"});
  EXPECT_FALSE(replies_.waiting());
  EXPECT_TRUE(loop_.replies().empty());
}

TEST_F(RepliesTest, BytesFromElsewhereAreCopied) {
  InATurn([this] {
    std::string local = "local";
    Hold(local);
    local = "gone!";
    replies_.SendStream(loop_, channel_, output_);
  });
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"local"});
}

TEST_F(RepliesTest, WhatTheKernelDoesNotTakeIsQueued) {
  kernel_.room = {{2}};
  InATurn([this] {
    Hold("abcd");
    Hold("ef");
    replies_.SendStream(loop_, channel_, output_);
  });
  EXPECT_TRUE(replies_.waiting());
  ASSERT_NE(output_.first(), nullptr);
  EXPECT_EQ(output_.first()->kind, OutputKind::kReply);
  EXPECT_EQ(std::string_view(output_.first()->data, output_.first()->size),
            "cdef");
  EXPECT_TRUE(output_.is_blocked());
}

TEST_F(RepliesTest, GoBehindWhatIsBeingWritten) {
  kernel_.room = {{1}};
  InATurn([this] {
    IoCallback callback = Ignore();
    output_.Add(loop_, channel_,
                Output::New(loop_, channel_, OutputKind::kWriteBuffer, "xyz",
                            callback));
    output_.Send(loop_, channel_);
    Hold("abc");
    replies_.SendStream(loop_, channel_, output_);
  });
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"x"});
  EXPECT_EQ(output_.length(), 2U);
  EXPECT_TRUE(replies_.waiting());
}

TEST_F(RepliesTest, ThatFailBreakTheStream) {
  kernel_.room = {{0, EPIPE}};
  InATurn([this] {
    Hold("abc");
    replies_.SendStream(loop_, channel_, output_);
  });
  EXPECT_TRUE(output_.is_broken());
  ASSERT_EQ(channel_.outputs_ended.size(), 1U);
  EXPECT_EQ(channel_.outputs_ended[0]->status, IoStatus::kError);
  EXPECT_EQ(channel_.outputs_ended[0]->error.code(), EPIPE);
  output_.Pop();
  replies_.CountAnew(output_);
  EXPECT_FALSE(replies_.waiting());
}

TEST_F(RepliesTest, TheGateIsForTheRunningCallbackOnly) {
  InATurn([this] {
    Hold("abc");
    replies_.SendHeld(loop_, channel_, output_);
    EXPECT_TRUE(kernel_.sent.empty());
    loop_.BeginCallback(channel_);
    replies_.SendHeld(loop_, channel_, output_);
    loop_.EndCallback();
  });
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"abc"});
}

TEST_F(RepliesTest, ToDatagramsGoOnWithoutTheOneThatFails) {
  channel_.set_udp(Udp::kConnected);
  kernel_.input = {{"question"}};
  kernel_.room = {{1, 0}, {0, ECONNREFUSED}, {0, EAGAIN}};
  InATurn([this] {
    ASSERT_TRUE(loop_.datagram_batch().ReceiveOne(kernel_, kHandle).ok());
    loop_.datagram_batch().Next();
    for (const char* text : {"1", "2", "3"}) {
      ASSERT_TRUE(Replies::HoldDatagram(loop_, channel_, text));
    }
    replies_.SendDatagrams(loop_, channel_, output_);
  });
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"1"});
  ASSERT_EQ(output_.length(), 1U);
  EXPECT_EQ(std::string_view(output_.first()->data, 1), "3");
  EXPECT_TRUE(replies_.waiting());
}

}  // namespace
}  // namespace aios
