// backends/kqueue_filters.h: every mapping, on every system.

#include "backends/kqueue_filters.h"

#include <cerrno>
#include <cstdint>
#include <limits>
#include <vector>

#include "aios/kernel.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

constexpr KqueueChange kAddRead = {.filter = KqueueFilter::kRead, .add = true};
constexpr KqueueChange kAddWrite = {.filter = KqueueFilter::kWrite,
                                    .add = true};
constexpr KqueueChange kDeleteRead = {.filter = KqueueFilter::kRead,
                                      .add = false};
constexpr KqueueChange kDeleteWrite = {.filter = KqueueFilter::kWrite,
                                       .add = false};
constexpr Readiness kBoth = kReadable | kWritable;

std::vector<KqueueChange> Changes(Readiness from, Readiness to) {
  KqueueChanges changes(from, to);
  return {changes.begin(), changes.end()};
}

TEST(KqueueChanges, OfEveryInterestToEveryOther) {
  using List = std::vector<KqueueChange>;
  EXPECT_EQ(Changes(kNotReady, kNotReady), List{});
  EXPECT_EQ(Changes(kNotReady, kReadable), List{kAddRead});
  EXPECT_EQ(Changes(kNotReady, kWritable), List{kAddWrite});
  EXPECT_EQ(Changes(kNotReady, kBoth), (List{kAddRead, kAddWrite}));
  EXPECT_EQ(Changes(kReadable, kNotReady), List{kDeleteRead});
  EXPECT_EQ(Changes(kReadable, kReadable), List{kAddRead});
  EXPECT_EQ(Changes(kReadable, kWritable), (List{kDeleteRead, kAddWrite}));
  EXPECT_EQ(Changes(kReadable, kBoth), (List{kAddRead, kAddWrite}));
  EXPECT_EQ(Changes(kWritable, kNotReady), List{kDeleteWrite});
  EXPECT_EQ(Changes(kWritable, kReadable), (List{kDeleteWrite, kAddRead}));
  EXPECT_EQ(Changes(kWritable, kWritable), List{kAddWrite});
  EXPECT_EQ(Changes(kWritable, kBoth), (List{kAddRead, kAddWrite}));
  EXPECT_EQ(Changes(kBoth, kNotReady), (List{kDeleteRead, kDeleteWrite}));
  EXPECT_EQ(Changes(kBoth, kReadable), (List{kDeleteWrite, kAddRead}));
  EXPECT_EQ(Changes(kBoth, kWritable), (List{kDeleteRead, kAddWrite}));
  EXPECT_EQ(Changes(kBoth, kBoth), (List{kAddRead, kAddWrite}));
}

TEST(KqueueFilter, IsADirection) {
  EXPECT_EQ(ToReadiness(KqueueFilter::kRead), kReadable);
  EXPECT_EQ(ToReadiness(KqueueFilter::kWrite), kWritable);
}

TEST(IsRefusal, OnlyOfWhatIsStillWanted) {
  for (int code : {EBADF, EINVAL, ENOMEM, EPERM, EPIPE}) {
    EXPECT_TRUE(IsRefusal(code, true)) << code;
    EXPECT_FALSE(IsRefusal(code, false)) << code;
  }
}

TEST(IsRefusal, NotOfADeletionThatCameTooLateNorOfAReceipt) {
  EXPECT_FALSE(IsRefusal(ENOENT, true));
  EXPECT_FALSE(IsRefusal(ENOENT, false));
  EXPECT_FALSE(IsRefusal(0, true));
  EXPECT_FALSE(IsRefusal(0, false));
}

TEST(KqueueTimeout, IsRoundedUp) {
  using Timeout = KqueueTimeout;
  EXPECT_EQ(ToKqueueTimeout(0), Timeout{});
  EXPECT_EQ(ToKqueueTimeout(1), (Timeout{.nanoseconds = 1'000}));
  EXPECT_EQ(ToKqueueTimeout(1'000), (Timeout{.nanoseconds = 1'000}));
  EXPECT_EQ(ToKqueueTimeout(1'001), (Timeout{.nanoseconds = 2'000}));
  EXPECT_EQ(ToKqueueTimeout(999'999'000),
            (Timeout{.nanoseconds = 999'999'000}));
  EXPECT_EQ(ToKqueueTimeout(999'999'001), (Timeout{.seconds = 1}));
  EXPECT_EQ(ToKqueueTimeout(1'999'999'999), (Timeout{.seconds = 2}));
  EXPECT_EQ(ToKqueueTimeout(2'500'000'000),
            (Timeout{.seconds = 2, .nanoseconds = 500'000'000}));
}

TEST(KqueueTimeout, IsAlwaysOneThatSystemsTake) {
  constexpr int64_t kSecond = 1'000'000'000;
  for (Nanoseconds timeout :
       {Nanoseconds{-1}, -kSecond, std::numeric_limits<int64_t>::min(),
        Nanoseconds{0}, 99'999'999 * kSecond + 999'999'999,
        100'000'000 * kSecond, 100'000'000 * kSecond + 1, kForever - 1}) {
    KqueueTimeout native = ToKqueueTimeout(timeout);
    EXPECT_GE(native.seconds, 0) << timeout;
    EXPECT_GE(native.nanoseconds, 0) << timeout;
    EXPECT_LT(native.nanoseconds, kSecond) << timeout;
    EXPECT_LE(native.seconds * kSecond + native.nanoseconds,
              100'000'000 * kSecond)
        << timeout;
  }
}

}  // namespace
}  // namespace aios
