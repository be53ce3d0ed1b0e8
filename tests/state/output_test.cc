#include "aios/state/output.h"

#include <cerrno>
#include <string_view>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class OutputTest : public test::PartTest {
 protected:
  ~OutputTest() override {
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

  OutputOperation& New(std::string_view data,
                       OutputKind kind = OutputKind::kWriteBuffer) {
    IoCallback callback = Ignore();
    return Output::New(loop_, channel_, kind, data, callback);
  }
  // In a turn, as a callback would, so that the callbacks of what ends come
  // later in it.
  void Send(std::initializer_list<std::string_view> all) {
    InATurn([&] {
      for (std::string_view data : all) {
        output_.Add(loop_, channel_, New(data));
      }
      output_.Send(loop_, channel_);
    });
    // As the state does before it calls back.
    for (size_t i = popped_; i < channel_.outputs_ended.size(); ++i) {
      EXPECT_EQ(&output_.Pop(), channel_.outputs_ended[i]);
    }
    popped_ = channel_.outputs_ended.size();
  }
  std::vector<IoStatus> Ends() const {
    std::vector<IoStatus> statuses;
    for (OutputOperation* ended : channel_.outputs_ended) {
      statuses.push_back(ended->status);
    }
    return statuses;
  }

  Output output_;
  size_t popped_ = 0;
};

TEST_F(OutputTest, ManyWritesLeaveInOneSendAndEndInTheirOrder) {
  Send({"ab", "cd", "ef"});
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"abcdef"});
  EXPECT_EQ(Ends(), std::vector<IoStatus>(3, IoStatus::kOk));
  EXPECT_TRUE(output_.empty());
  EXPECT_EQ(output_.bytes(), 0U);
  EXPECT_EQ(output_.length(), 0U);
}

TEST_F(OutputTest, WhatTheKernelDoesNotTakeWaitsForTheSocket) {
  kernel_.room = {{3}};
  Send({"ab", "cd"});
  EXPECT_EQ(Ends(), std::vector<IoStatus>{IoStatus::kOk});
  EXPECT_TRUE(output_.is_blocked());
  EXPECT_FALSE(output_.may_send());
  EXPECT_TRUE(channel_.Wants(kWritable));
  EXPECT_EQ(output_.active()->done, 1U);
  Send({});
  EXPECT_EQ(kernel_.sent, (std::vector<std::string>{"abc", "d"}));
  EXPECT_FALSE(channel_.Wants(kWritable));
}

TEST_F(OutputTest, SendsNoMoreThanATurnMay) {
  std::string large(limits_.bytes_per_turn_max + 5, 'x');
  Send({large});
  EXPECT_EQ(kernel_.sent.size(), 1U);
  EXPECT_EQ(kernel_.sent[0].size(), limits_.bytes_per_turn_max);
  EXPECT_TRUE(output_.is_blocked());
}

TEST_F(OutputTest, AfterAnErrorOfTheStreamWhatFollowsIsAborted) {
  kernel_.room = {{0, EPIPE}};
  Send({"ab", "cd"});
  EXPECT_EQ(Ends(),
            (std::vector<IoStatus>{IoStatus::kError, IoStatus::kAborted}));
  EXPECT_TRUE(output_.is_broken());
  EXPECT_EQ(output_.status(), IoStatus::kError);
  EXPECT_EQ(output_.error().code(), EPIPE);
  // And each later one fails without a call of the kernel.
  InATurn([this] { output_.Add(loop_, channel_, New("ef")); });
  EXPECT_EQ(Ends().back(), IoStatus::kError);
  EXPECT_EQ(kernel_.sent.size(), 1U);
  EXPECT_EQ(&output_.Pop(), channel_.outputs_ended.back());
}

TEST_F(OutputTest, ATimeoutLeavesTheStreamUsable) {
  kernel_.room = {{1}};
  Send({"ab", "cd"});
  InATurn([this] { output_.Fail(loop_, channel_, IoStatus::kTimeout); });
  EXPECT_EQ(Ends(),
            (std::vector<IoStatus>{IoStatus::kTimeout, IoStatus::kAborted}));
  EXPECT_FALSE(output_.is_broken());
  EXPECT_FALSE(output_.is_blocked());
  output_.Pop();
  output_.Pop();
}

TEST_F(OutputTest, ADatagramThatFailsIsAloneInThat) {
  channel_.set_udp(Udp::kConnected);
  kernel_.room = {{0, ECONNREFUSED}};
  Send({"ab", "cd"});
  EXPECT_EQ(Ends(), (std::vector<IoStatus>{IoStatus::kError, IoStatus::kOk}));
  EXPECT_EQ(kernel_.sent, std::vector<std::string>{"cd"});
}

TEST_F(OutputTest, TheLimitsAreForWhatWaitsBehindTheFirst) {
  EXPECT_TRUE(output_.HasRoom(limits_, 1000));
  output_.Add(loop_, channel_, New(std::string_view("0123456789")));
  EXPECT_FALSE(output_.HasRoom(limits_, 1));
  output_.set_may_wait();
  EXPECT_TRUE(output_.HasRoom(limits_, 100));
  EXPECT_FALSE(output_.HasRoom(limits_, 101));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(output_.HasRoom(limits_, 1));
    output_.Add(loop_, channel_, New("x"));
  }
  EXPECT_FALSE(output_.HasRoom(limits_, 1));
}

TEST_F(OutputTest, TheDeadlineOfAWaitingOneCountsFromItsTurn) {
  output_.set_timeout(1000);
  kernel_.room = {{1}};
  Send({"ab", "cd"});
  ASSERT_TRUE(output_.deadline().armed());
  Nanoseconds first = output_.deadline().at();
  kernel_.room = {{1}, {1}};
  Send({});
  EXPECT_FALSE(output_.deadline().armed() && output_.deadline().at() == first);
}

TEST_F(OutputTest, AnInterruptEndsTheOldestAndAbortsWhatWaits) {
  kernel_.room = {{1}};
  Send({"ab", "cd"});
  InATurn([this] {
    OutputOperation& operation = output_.Interrupt(loop_);
    EXPECT_EQ(operation.done, 1U);
    output_.AbortRest(loop_, channel_);
    operation.callback.reset();
    loop_.output_operations().Give(&operation);
  });
  EXPECT_EQ(Ends(), std::vector<IoStatus>{IoStatus::kAborted});
  EXPECT_EQ(output_.status(), IoStatus::kAborted);
  output_.Pop();
}

TEST_F(OutputTest, SendAllThatFitsStopsWhereNothingFits) {
  kernel_.room = {{1}, {1}, {0, EAGAIN}};
  InATurn([this] {
    output_.Add(loop_, channel_, New("abcd"));
    output_.SendAllThatFits(loop_, channel_);
  });
  EXPECT_EQ(kernel_.sent, (std::vector<std::string>{"a", "b", ""}));
}

}  // namespace
}  // namespace aios
