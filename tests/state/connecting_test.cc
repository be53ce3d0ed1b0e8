#include "aios/state/connecting.h"

#include <cerrno>

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class ConnectingTest : public test::PartTest {
 protected:
  static constexpr Nanoseconds kTimeout = 1'000'000;

  void Start(Error error = Error()) {
    connecting_.Start(SocketAddress(IpAddress::Loopback(Family::kIpv4), 80),
                      kTimeout, error);
  }
  IoResult Finish() { return connecting_.Finish(&callback_, &detail_); }
  ~ConnectingTest() override { connecting_.Close(); }

  Input input_;
  Output output_;
  Connecting connecting_{channel_, input_, output_, Ignore()};
  IoCallback callback_;
  std::string detail_;
};

TEST_F(ConnectingTest, OnlyAPeerProvesTheConnection) {
  kernel_.connect_error = EINPROGRESS;
  kernel_.has_peer = false;
  Start();
  EXPECT_TRUE(channel_.connecting());
  EXPECT_TRUE(channel_.Wants(kWritable));
  EXPECT_TRUE(output_.deadline().armed());
  InATurn([this] { connecting_.Look(); });
  EXPECT_EQ(channel_.connects_ended, 0);
  kernel_.has_peer = true;
  InATurn([this] { connecting_.Look(); });
  EXPECT_EQ(channel_.connects_ended, 1);
  EXPECT_TRUE(Finish().ok());
  EXPECT_TRUE(callback_);
  EXPECT_TRUE(channel_.open());
  EXPECT_FALSE(output_.deadline().armed());
  EXPECT_FALSE(channel_.Wants(kWritable));
}

TEST_F(ConnectingTest, AFailureSaysWhereToAndClosesTheSocket) {
  kernel_.connect_error = EINPROGRESS;
  Start();
  kernel_.socket_error = ECONNREFUSED;
  InATurn([this] { connecting_.Look(); });
  EXPECT_EQ(kernel_.closed, std::vector<Handle>{kHandle});
  IoResult result = Finish();
  EXPECT_EQ(result.status, IoStatus::kError);
  EXPECT_EQ(result.error.code(), ECONNREFUSED);
  EXPECT_NE(result.detail.find("127.0.0.1, port 80"), std::string::npos);
  EXPECT_EQ(channel_.phase(), ChannelPhase::kUnconnected);
  EXPECT_EQ(input_.status(), IoStatus::kError);
  EXPECT_EQ(output_.status(), IoStatus::kError);
}

TEST_F(ConnectingTest, WhatFailsAtOnceIsToldLaterAllTheSame) {
  InATurn([this] {
    Start(Error(EMFILE));
    EXPECT_EQ(channel_.connects_ended, 0);
  });
  EXPECT_EQ(channel_.connects_ended, 1);
  EXPECT_EQ(Finish().error.code(), EMFILE);
}

TEST_F(ConnectingTest, AnAnswerThatHasComeByTheDeadlineCounts) {
  kernel_.connect_error = EINPROGRESS;
  Start();
  InATurn([this] { connecting_.TimeOut(); });
  EXPECT_TRUE(Finish().ok());
}

TEST_F(ConnectingTest, TimesOutWithoutOne) {
  kernel_.connect_error = EINPROGRESS;
  kernel_.has_peer = false;
  Start();
  InATurn([this] { connecting_.TimeOut(); });
  EXPECT_EQ(Finish().status, IoStatus::kTimeout);
  EXPECT_EQ(channel_.phase(), ChannelPhase::kUnconnected);
}

TEST_F(ConnectingTest, AnInterruptTakesTheCallbackAndTheSocket) {
  kernel_.connect_error = EINPROGRESS;
  Start();
  InATurn([this] { connecting_.Interrupt(&callback_); });
  EXPECT_TRUE(callback_);
  EXPECT_EQ(channel_.connects_ended, 0);
  EXPECT_EQ(channel_.phase(), ChannelPhase::kUnconnected);
  EXPECT_EQ(input_.status(), IoStatus::kAborted);
  EXPECT_EQ(output_.status(), IoStatus::kAborted);
}

}  // namespace
}  // namespace aios
