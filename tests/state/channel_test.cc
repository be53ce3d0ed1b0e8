#include "aios/state/channel.h"

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

using ChannelTest = test::PartTest;

TEST_F(ChannelTest, OneDirectionIsWantedWithoutTheOther) {
  channel_.Want(loop_, kReadable, true);
  channel_.Want(loop_, kWritable, true);
  EXPECT_TRUE(channel_.Wants(kReadable | kWritable));
  channel_.Want(loop_, kReadable, false);
  EXPECT_FALSE(channel_.Wants(kReadable));
  EXPECT_TRUE(channel_.Wants(kWritable));
}

TEST_F(ChannelTest, AConnectEndsWithASocketOrWithout) {
  channel_.BeginConnecting();
  EXPECT_TRUE(channel_.connecting());
  channel_.EndConnecting();
  EXPECT_TRUE(channel_.open());
  channel_.BeginConnecting();
  channel_.Drop();
  // As long as its callback has not run.
  EXPECT_TRUE(channel_.connecting());
  channel_.EndConnecting();
  EXPECT_EQ(channel_.phase(), ChannelPhase::kUnconnected);
  EXPECT_EQ(kernel_.closed, std::vector<Handle>{kHandle});
  EXPECT_EQ(channel_.handle(), kNoHandle);
  EXPECT_EQ(channel_.LocalAddress(), std::nullopt);
  EXPECT_EQ(channel_.PeerAddress(), std::nullopt);
}

TEST_F(ChannelTest, ASocketThatItIsGivenHasItsFamily) {
  channel_.BeginConnecting();
  channel_.Drop();
  channel_.Attach(9, Family::kIpv6);
  channel_.EndConnecting();
  EXPECT_TRUE(channel_.open());
  EXPECT_EQ(channel_.handle(), 9);
  EXPECT_TRUE(channel_.ipv6());
  EXPECT_TRUE(channel_.socket_ipv6());
}

TEST_F(ChannelTest, LeavingGivesTheSocketToTheCaller) {
  EXPECT_EQ(channel_.Leave(loop_), kHandle);
  EXPECT_TRUE(channel_.closed());
  EXPECT_EQ(channel_.handle(), kNoHandle);
  EXPECT_TRUE(kernel_.closed.empty());
}

TEST_F(ChannelTest, SendsSoonOnceHoweverOftenItIsAsked) {
  InATurn([this] {
    channel_.SendSoon(loop_);
    channel_.SendSoon(loop_);
  });
  EXPECT_EQ(channel_.flushes, 1);
}

TEST_F(ChannelTest, InsideItsCallbackSendingIsLeftToWhatFollowsThat) {
  InATurn([this] {
    loop_.BeginCallback(channel_);
    channel_.SendSoon(loop_);
    loop_.EndCallback();
  });
  EXPECT_EQ(channel_.flushes, 0);
}

}  // namespace
}  // namespace aios
