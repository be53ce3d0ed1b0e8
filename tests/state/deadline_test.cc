#include "aios/state/deadline.h"

#include "gtest/gtest.h"
#include "tests/state/part_test.h"

namespace aios {
namespace {

class DeadlineTest : public test::PartTest {
 protected:
  Deadline deadline_;
};

TEST_F(DeadlineTest, WithoutATimeoutThereIsNone) {
  deadline_.Arm(loop_, channel_, kForever);
  EXPECT_FALSE(deadline_.armed());
  EXPECT_EQ(deadline_.at(), kForever);
}

TEST_F(DeadlineTest, CountsFromTheTimeOfTheTurn) {
  InATurn([this] {
    deadline_.Arm(loop_, channel_, 500);
    EXPECT_EQ(deadline_.at(), loop_.turn_time() + 500);
    deadline_.Disarm(loop_);
    EXPECT_FALSE(deadline_.armed());
  });
}

TEST_F(DeadlineTest, TheOneArmedLaterComesLaterAmongEqualOnes) {
  InATurn([this] {
    Deadline other;
    deadline_.Arm(loop_, channel_, 500);
    other.Arm(loop_, channel_, 500);
    EXPECT_EQ(deadline_.at(), other.at());
    EXPECT_LT(deadline_.order(), other.order());
    deadline_.Disarm(loop_);
    other.Disarm(loop_);
  });
}

TEST_F(DeadlineTest, APlaceThatWasTakenIsKept) {
  InATurn([this] {
    Deadline other;
    deadline_.TakePlace(loop_);
    other.Arm(loop_, channel_, 500);
    deadline_.ArmInPlace(loop_, channel_, 500);
    EXPECT_LT(deadline_.order(), other.order());
    deadline_.Disarm(loop_);
    other.Disarm(loop_);
  });
}

TEST_F(DeadlineTest, PutOffMovesItAndItsPlace) {
  InATurn([this] {
    Deadline other;
    deadline_.Arm(loop_, channel_, 500);
    other.Arm(loop_, channel_, 700);
    deadline_.PutOff(loop_, channel_, 700);
    EXPECT_EQ(deadline_.at(), other.at());
    EXPECT_GT(deadline_.order(), other.order());
    other.Disarm(loop_);
    // To an earlier time, too, and to none.
    deadline_.PutOff(loop_, channel_, 100);
    EXPECT_EQ(deadline_.at(), loop_.turn_time() + 100);
    deadline_.PutOff(loop_, channel_, kForever);
    EXPECT_FALSE(deadline_.armed());
  });
}

}  // namespace
}  // namespace aios
