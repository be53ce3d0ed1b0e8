// The refusals against the table they come from.

#include "aios/state/refusals.h"

#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class RefusalsTest : public test::PartTest {
 protected:
  Refusals refusals() const {
    return {channel_, input_, output_, received_, "mail"};
  }
  ~RefusalsTest() override { input_.Close(loop_); }

  static Call CallAt(size_t i) { return static_cast<Call>(i); }
  static std::string Text(const absl::Status& status) {
    return std::string(status.message());
  }

  Input input_;
  Output output_;
  Received received_;
};

TEST_F(RefusalsTest, NameTheStateTheCallAndTheReason) {
  absl::Status status =
      refusals().CheckCallback(Call::kReadBuffer, IoCallback());
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Text(status),
            "async-io-state \"mail\" (tcp, handle 3): ReadBuffer refused: the "
            "callback is empty");
}

TEST_F(RefusalsTest, EachCallInEachPhaseOfTheChannel) {
  channel_.BeginConnecting();
  for (size_t i = 0; i != kCallRules.size(); ++i) {
    EXPECT_EQ(refusals().CheckChannel(CallAt(i)).ok(),
              kCallRules[i].channel != CallRule::Channel::kOpen)
        << kCallRules[i].name << " while connecting";
  }
  channel_.Drop();
  channel_.EndConnecting();
  for (size_t i = 0; i != kCallRules.size(); ++i) {
    EXPECT_EQ(refusals().CheckChannel(CallAt(i)).ok(),
              kCallRules[i].channel != CallRule::Channel::kOpen)
        << kCallRules[i].name << " without a socket";
  }
  channel_.Leave(loop_);
  for (size_t i = 0; i != kCallRules.size(); ++i) {
    EXPECT_EQ(refusals().CheckChannel(CallAt(i)).ok(),
              kCallRules[i].channel == CallRule::Channel::kAny)
        << kCallRules[i].name << " on a closed state";
  }
}

TEST_F(RefusalsTest, EachCallInEachCallback) {
  for (auto phase :
       {InCallback::kNone, InCallback::kReceive, InCallback::kLookClosed,
        InCallback::kLastLook, InCallback::kChecking, InCallback::kMessages,
        InCallback::kFinished, InCallback::kClosed, InCallback::kDeleted}) {
    received_.set_in_callback(phase);
    for (size_t i = 0; i != kCallRules.size(); ++i) {
      CallRule::Callback needs = kCallRules[i].callback;
      bool allowed =
          needs == CallRule::Callback::kAny ||
          (needs == CallRule::Callback::kMayDiscard && MayDiscard(phase)) ||
          (needs == CallRule::Callback::kGoesOn && GoesOn(phase));
      EXPECT_EQ(refusals().CheckInCallback(CallAt(i)).ok(), allowed)
          << kCallRules[i].name << " in phase " << static_cast<int>(phase);
    }
  }
}

TEST_F(RefusalsTest, EachCallOnEachKindOfSocket) {
  for (Udp udp : {Udp::kNo, Udp::kUnconnected, Udp::kConnected}) {
    channel_.set_udp(udp);
    for (size_t i = 0; i != kCallRules.size(); ++i) {
      const char* mistake =
          kCallRules[i].wrong_socket[static_cast<size_t>(udp)];
      absl::Status status = refusals().CheckSocket(CallAt(i));
      EXPECT_EQ(status.ok(), mistake == nullptr) << kCallRules[i].name;
      if (mistake != nullptr) {
        EXPECT_NE(Text(status).find(mistake), std::string::npos);
      }
    }
  }
}

TEST_F(RefusalsTest, EachCallWhileInputIsInProgress) {
  input_.SetCallback(Ignore());
  input_.Begin(loop_, channel_, InputKind::kWaitForInput);
  for (size_t i = 0; i != kCallRules.size(); ++i) {
    CallRule::Free free = kCallRules[i].free;
    EXPECT_EQ(refusals().CheckFree(CallAt(i)).ok(),
              free != CallRule::Free::kInput && free != CallRule::Free::kIo)
        << kCallRules[i].name;
  }
}

TEST_F(RefusalsTest, Ranges) {
  EXPECT_TRUE(
      refusals().CheckRange(Call::kReadBuffer, 2, kToEnd, 5, false).ok());
  EXPECT_TRUE(refusals().CheckRange(Call::kReadBuffer, 5, 5, 5, true).ok());
  EXPECT_NE(Text(refusals().CheckRange(Call::kReadBuffer, 5, 5, 5, false))
                .find("empty"),
            std::string::npos);
  EXPECT_NE(Text(refusals().CheckRange(Call::kReadBuffer, 3, 2, 5, true))
                .find("not within it"),
            std::string::npos);
  EXPECT_NE(Text(refusals().CheckRange(Call::kReadBuffer, 0, 6, 5, true))
                .find("not within it"),
            std::string::npos);
}

}  // namespace
}  // namespace aios
