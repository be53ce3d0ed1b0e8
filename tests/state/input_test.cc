#include "aios/state/input.h"

#include <array>
#include <cerrno>

#include "aios/state/datagrams.h"
#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class InputTest : public test::PartTest {
 protected:
  void Begin(InputKind kind) {
    input_.SetCallback(Ignore());
    input_.Begin(loop_, channel_, kind);
    input_.SetBuffer(buffer_);
  }
  ~InputTest() override { input_.Close(loop_); }

  std::array<char, 8> buffer_;
  Input input_;
  Received received_;
};

TEST_F(InputTest, FillsTheBufferInAsManyPiecesAsCome) {
  kernel_.input = {{"abc"}, {"defghi"}};
  Begin(InputKind::kReadBuffer);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  EXPECT_EQ(input_.done(), 3U);
  EXPECT_TRUE(input_.Fill(loop_, channel_));
  IoResult result = input_.Result(received_);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(result.data, "abcdefgh");
  EXPECT_EQ(kernel_.asked, (std::vector<size_t>{8, 5}));
}

TEST_F(InputTest, ReadsNoMoreThanATurnMay) {
  std::array<char, 100> large;
  Begin(InputKind::kReadBuffer);
  input_.SetBuffer(large);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  EXPECT_EQ(kernel_.asked, std::vector<size_t>{limits_.bytes_per_turn_max});
}

TEST_F(InputTest, NothingThereIsNoEnd) {
  Begin(InputKind::kReadBuffer);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  EXPECT_TRUE(input_.waiting());
}

TEST_F(InputTest, TheEndOfTheStreamCountsForThoseThatFollow) {
  kernel_.input = {{"abc"}, {""}};
  Begin(InputKind::kReadBuffer);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  EXPECT_TRUE(input_.Fill(loop_, channel_));
  EXPECT_EQ(input_.Result(received_).status, IoStatus::kEof);
  EXPECT_EQ(input_.Result(received_).count, 3U);
  input_.Over(loop_, channel_, OperationObserver::End::kCallback, {});
  Begin(InputKind::kReadBuffer);
  InATurn([this] { input_.Await(loop_, channel_); });
  EXPECT_EQ(input_.status(), IoStatus::kEof);
  EXPECT_EQ(channel_.inputs_ended, 1);
  input_.Unqueue();
}

TEST_F(InputTest, TheFirstErrorOfAStreamStays) {
  kernel_.input = {{"", ECONNRESET}};
  Begin(InputKind::kReadBuffer);
  EXPECT_TRUE(input_.Fill(loop_, channel_));
  EXPECT_EQ(input_.error().code(), ECONNRESET);
  InATurn([this] {
    input_.Complete(loop_, channel_, IoStatus::kError, Error(EPIPE));
  });
  EXPECT_EQ(input_.error().code(), ECONNRESET);
  input_.Unqueue();
}

TEST_F(InputTest, LackOfMemoryIsNoEnd) {
  kernel_.input = {{"", ENOBUFS}};
  Begin(InputKind::kReadBuffer);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  EXPECT_TRUE(input_.waiting());
}

TEST_F(InputTest, LookingTakesNothingAndBelievesNoReport) {
  Begin(InputKind::kWaitForInput);
  EXPECT_FALSE(input_.Look(loop_, channel_));
  kernel_.input = {{"x"}};
  EXPECT_TRUE(input_.Look(loop_, channel_));
  EXPECT_EQ(input_.Result(received_).status, IoStatus::kOk);
  EXPECT_EQ(input_.Result(received_).count, 0U);
  EXPECT_EQ(kernel_.input.size(), 1U);
}

TEST_F(InputTest, IsWantedOnlyWhileItWaits) {
  Begin(InputKind::kReadBuffer);
  input_.Await(loop_, channel_);
  EXPECT_TRUE(channel_.Wants(kReadable));
  InATurn([this] { input_.Complete(loop_, channel_, IoStatus::kTimeout); });
  EXPECT_FALSE(channel_.Wants(kReadable));
  input_.Unqueue();
}

TEST_F(InputTest, APausedOneIsInProgressAndDoesNotWait) {
  Begin(InputKind::kReadWithChecking);
  input_.Pause(loop_, channel_);
  EXPECT_TRUE(input_.in_progress());
  EXPECT_TRUE(input_.paused());
  EXPECT_FALSE(input_.waiting());
  EXPECT_FALSE(channel_.Wants(kReadable));
  input_.Restart(loop_, channel_);
  EXPECT_TRUE(input_.waiting());
  EXPECT_TRUE(channel_.Wants(kReadable));
}

TEST_F(InputTest, AnInterruptedOneTellsWhatWasDoneAndIsOver) {
  kernel_.input = {{"abc"}};
  Begin(InputKind::kReadBuffer);
  EXPECT_FALSE(input_.Fill(loop_, channel_));
  IoCallback callback;
  IoResult result = input_.Interrupt(loop_, channel_, received_, &callback);
  EXPECT_EQ(result.status, IoStatus::kAborted);
  EXPECT_TRUE(result.interrupted);
  EXPECT_EQ(result.data, "abc");
  EXPECT_TRUE(callback);
  EXPECT_FALSE(input_.in_progress());
  EXPECT_EQ(input_.status(), IoStatus::kAborted);
}

TEST_F(InputTest, AnOutcomeThatWaitsForItsCallbackCanBeTakenBack) {
  Begin(InputKind::kReadBuffer);
  InATurn([this] {
    input_.Complete(loop_, channel_, IoStatus::kTimeout);
    input_.CancelQueued(loop_);
  });
  EXPECT_EQ(channel_.inputs_ended, 0);
}

}  // namespace
}  // namespace aios
