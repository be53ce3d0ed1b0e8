#include "aios/duration.h"

#include "absl/time/time.h"
#include "aios/kernel.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

TEST(DurationTest, WholeNanosecondsStayAsTheyAre) {
  for (Nanoseconds nanoseconds : {Nanoseconds{0}, Nanoseconds{1}, kSecond - 1,
                                  kSecond, 86400 * kSecond, kForever - 1}) {
    EXPECT_EQ(ToNanoseconds(absl::Nanoseconds(nanoseconds)), nanoseconds);
    EXPECT_EQ(FromNanoseconds(nanoseconds), absl::Nanoseconds(nanoseconds));
  }
}

TEST(DurationTest, RoundsUpSoThatNothingEndsEarly) {
  // The smallest that Abseil can tell from zero.
  absl::Duration quarter = absl::Nanoseconds(1) / 4;
  EXPECT_EQ(ToNanoseconds(quarter), 1);
  EXPECT_EQ(ToNanoseconds(absl::Nanoseconds(1) + quarter), 2);
  EXPECT_EQ(ToNanoseconds(absl::Nanoseconds(2) - quarter), 2);
  EXPECT_EQ(ToNanoseconds(absl::Seconds(5) + quarter), 5 * kSecond + 1);
  EXPECT_EQ(ToNanoseconds(absl::Seconds(1) / 3), 333'333'334);
}

TEST(DurationTest, InfinityIsForeverAndBack) {
  EXPECT_EQ(ToNanoseconds(absl::InfiniteDuration()), kForever);
  EXPECT_EQ(FromNanoseconds(kForever), absl::InfiniteDuration());
}

TEST(DurationTest, LongerThanTheClockIsForever) {
  EXPECT_EQ(ToNanoseconds(absl::Hours(24) * 365 * 300), kForever);
  EXPECT_EQ(ToNanoseconds(absl::Nanoseconds(kForever)), kForever);
  EXPECT_EQ(
      ToNanoseconds(absl::Nanoseconds(kForever - 1) + absl::Nanoseconds(1) / 4),
      kForever);
}

TEST(DurationTest, DeadlineNeverOverflows) {
  EXPECT_EQ(DeadlineAfter(10, 0), 10);
  EXPECT_EQ(DeadlineAfter(10, 5), 15);
  EXPECT_EQ(DeadlineAfter(10, kForever), kForever);
  EXPECT_EQ(DeadlineAfter(10, kForever - 9), kForever);
  EXPECT_EQ(DeadlineAfter(10, kForever - 11), kForever - 1);
  EXPECT_EQ(DeadlineAfter(kForever - 1, 1), kForever);
  EXPECT_EQ(DeadlineAfter(kForever - 1, 2), kForever);
}

}  // namespace
}  // namespace aios
