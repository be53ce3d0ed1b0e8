// The timer wheel against a model: a multimap of expiries.

#include "aios/timer_wheel.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "aios/kernel.h"
#include "gtest/gtest.h"
#include "tests/random.h"

namespace aios {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds kYear = 365 * 24 * 3600 * kSecond;

// As in timer_wheel.h, to aim at every slot.
constexpr int kTickBits = 16;
constexpr int kSlotBits = 6;
constexpr Nanoseconds kTick = Nanoseconds{1} << kTickBits;

struct Timer : TimerEntry {
  int id = 0;
};

// What `Advance` gives, in the order of the ids.
std::vector<int> IdsAdvancing(TimerWheel& wheel, Nanoseconds now) {
  std::vector<int> ids;
  for (TimerEntry* entry = wheel.Advance(now); entry != nullptr;
       entry = entry->next) {
    EXPECT_FALSE(entry->on_wheel());
    EXPECT_LE(entry->expiry, now);
    ids.push_back(static_cast<Timer*>(entry)->id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

// Numbers of every size, small ones as often as large ones.
Nanoseconds AnySize(Random& random, int bits_max) {
  auto bits = static_cast<int>(random.Below(static_cast<size_t>(bits_max)) + 1);
  return static_cast<Nanoseconds>(random.Next() >> (64 - bits));
}

TEST(TimerWheelTest, EmptyWheelHasNothingDue) {
  TimerWheel wheel;
  EXPECT_EQ(wheel.NextExpiry(), kForever);
  EXPECT_EQ(wheel.Advance(1), nullptr);
  EXPECT_EQ(wheel.Advance(100 * kYear), nullptr);
  EXPECT_EQ(wheel.NextExpiry(), kForever);
}

TEST(TimerWheelTest, ExactToTheNanosecondAtEveryDistance) {
  for (Nanoseconds start : {Nanoseconds{1}, 5 * kSecond, kYear}) {
    for (int bit = 0; bit < 62; ++bit) {
      for (Nanoseconds offset : {-1, 0, 1}) {
        Nanoseconds expiry = start + (Nanoseconds{1} << bit) + offset;
        if (expiry <= start) continue;
        TimerWheel wheel;
        ASSERT_EQ(wheel.Advance(start), nullptr);
        Timer timer;
        wheel.Schedule(timer, expiry);
        ASSERT_TRUE(timer.on_wheel());
        ASSERT_EQ(timer.expiry, expiry);
        ASSERT_EQ(wheel.NextExpiry(), expiry);
        ASSERT_EQ(wheel.Advance(expiry - 1), nullptr) << start << " " << expiry;
        ASSERT_EQ(wheel.NextExpiry(), expiry);
        ASSERT_EQ(wheel.Advance(expiry), &timer) << start << " " << expiry;
        ASSERT_EQ(timer.next, nullptr);
        ASSERT_FALSE(timer.on_wheel());
        ASSERT_EQ(wheel.NextExpiry(), kForever);
      }
    }
  }
}

TEST(TimerWheelTest, TheLatestMomentThereIs) {
  TimerWheel wheel;
  Timer timer;
  wheel.Schedule(timer, kForever - 1);
  EXPECT_EQ(wheel.NextExpiry(), kForever - 1);
  EXPECT_EQ(wheel.Advance(kForever - 2), nullptr);
  EXPECT_EQ(wheel.Advance(kForever - 1), &timer);
}

TEST(TimerWheelTest, WhatHasPassedIsDueAtTheNextAdvance) {
  TimerWheel wheel;
  ASSERT_EQ(wheel.Advance(kYear), nullptr);
  for (Nanoseconds ago : {Nanoseconds{0}, Nanoseconds{1}, kTick, kSecond}) {
    Timer timer;
    wheel.Schedule(timer, kYear - ago);
    EXPECT_LE(wheel.NextExpiry(), kYear);
    EXPECT_EQ(wheel.Advance(kYear), &timer) << ago;
  }
}

TEST(TimerWheelTest, AdvancingToTheSameMomentAgainGivesNothing) {
  TimerWheel wheel;
  Timer due;
  Timer later;
  wheel.Schedule(due, kSecond);
  wheel.Schedule(later, kSecond + 1);
  EXPECT_EQ(wheel.Advance(kSecond), &due);
  EXPECT_EQ(due.next, nullptr);
  EXPECT_EQ(wheel.Advance(kSecond), nullptr);
  EXPECT_EQ(wheel.NextExpiry(), kSecond + 1);
  EXPECT_EQ(wheel.Advance(kSecond + 1), &later);
}

TEST(TimerWheelTest, ManyOfOneMomentAreDueTogether) {
  TimerWheel wheel;
  std::vector<Timer> timers(1000);
  for (Timer& timer : timers) wheel.Schedule(timer, 3 * kSecond);
  EXPECT_EQ(wheel.Advance(3 * kSecond - 1), nullptr);
  EXPECT_EQ(IdsAdvancing(wheel, 3 * kSecond).size(), timers.size());
  EXPECT_EQ(wheel.NextExpiry(), kForever);
}

// As the event loop does.
TEST(TimerWheelTest, DueEntriesMayBeScheduledAgainWhileTheListIsWalked) {
  TimerWheel wheel;
  std::vector<Timer> timers(100);
  for (size_t i = 0; i < timers.size(); ++i) {
    timers[i].id = static_cast<int>(i);
    wheel.Schedule(timers[i], kSecond + static_cast<Nanoseconds>(i));
  }
  Nanoseconds now = 2 * kSecond;
  size_t count = 0;
  TimerEntry* entry = wheel.Advance(now);
  while (entry != nullptr) {
    auto* timer = static_cast<Timer*>(entry);
    entry = entry->next;
    // Some of them in the past, into the very slot that is being emptied.
    wheel.Schedule(*timer, timer->id % 2 == 0 ? now - 1 : now + kSecond);
    ++count;
  }
  EXPECT_EQ(count, timers.size());
  EXPECT_EQ(IdsAdvancing(wheel, now).size(), timers.size() / 2);
  EXPECT_EQ(wheel.NextExpiry(), now + kSecond);
  EXPECT_EQ(IdsAdvancing(wheel, now + kSecond).size(), timers.size() / 2);
}

// Three entries in each slot that the wheel has, seen from several moments; one
// of them is cancelled, and it matters neither which nor where it stood.
TEST(TimerWheelTest, CancelFromEverySlotAndPlace) {
  constexpr int kLevels = 8;
  constexpr int kSlots = 1 << kSlotBits;
  for (Nanoseconds start :
       {Nanoseconds{1}, 63 * kTick, 12345 * kSecond, kYear + 77}) {
    for (int level = 0; level < kLevels; ++level) {
      for (int slot = 0; slot < kSlots; ++slot) {
        int shift = kTickBits + level * kSlotBits;
        // The last level has fewer: all of them together are 63 bits.
        if (shift >= 63 || (Nanoseconds{slot} >> (63 - shift)) != 0) continue;
        uint64_t base = static_cast<uint64_t>(start) >> shift;
        base = (base & ~uint64_t{kSlots - 1}) | static_cast<uint64_t>(slot);
        auto expiry = static_cast<Nanoseconds>(base << shift);
        if (expiry <= start) continue;
        for (int cancelled = 0; cancelled < 3; ++cancelled) {
          TimerWheel wheel;
          ASSERT_EQ(wheel.Advance(start), nullptr);
          Timer timers[3];
          std::vector<int> expected;
          for (int i = 0; i < 3; ++i) {
            timers[i].id = i;
            wheel.Schedule(timers[i], expiry);
            if (i != cancelled) expected.push_back(i);
          }
          wheel.Cancel(timers[cancelled]);
          ASSERT_FALSE(timers[cancelled].on_wheel());
          ASSERT_LE(wheel.NextExpiry(), expiry);
          ASSERT_EQ(wheel.Advance(expiry - 1), nullptr);
          ASSERT_EQ(IdsAdvancing(wheel, expiry), expected)
              << "from " << start << ", level " << level << ", slot " << slot;
          ASSERT_EQ(wheel.NextExpiry(), kForever);
        }
      }
    }
  }
}

TEST(TimerWheelTest, CancellingTheLastOfASlotEmptiesIt) {
  for (int bit = 0; bit < 62; ++bit) {
    TimerWheel wheel;
    Timer first;
    Timer second;
    Nanoseconds expiry = (Nanoseconds{1} << bit) + 1;
    wheel.Schedule(first, expiry);
    wheel.Schedule(second, expiry);
    wheel.Cancel(second);
    EXPECT_EQ(wheel.NextExpiry(), expiry);
    wheel.Cancel(first);
    EXPECT_EQ(wheel.NextExpiry(), kForever) << bit;
    EXPECT_EQ(wheel.Advance(100 * kYear), nullptr);
  }
}

TEST(TimerWheelTest, OrderOfSchedulingDoesNotMatter) {
  Random random(7);
  std::vector<Nanoseconds> expiries(200);
  for (Nanoseconds& expiry : expiries) expiry = AnySize(random, 62) + 1;
  std::vector<Nanoseconds> moments = expiries;
  for (int i = 0; i < 100; ++i) moments.push_back(AnySize(random, 62) + 1);
  std::sort(moments.begin(), moments.end());

  std::vector<std::vector<int>> seen;
  for (int order = 0; order < 20; ++order) {
    std::vector<int> ids(expiries.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(i);
    for (size_t i = ids.size() - 1; order != 0 && i != 0; --i) {
      std::swap(ids[i], ids[random.Below(i + 1)]);
    }
    TimerWheel wheel;
    std::vector<Timer> timers(expiries.size());
    for (int id : ids) {
      auto index = static_cast<size_t>(id);
      timers[index].id = id;
      wheel.Schedule(timers[index], expiries[index]);
    }
    std::vector<std::vector<int>> due;
    for (Nanoseconds moment : moments) {
      due.push_back(IdsAdvancing(wheel, moment));
    }
    if (order == 0) seen = due;
    ASSERT_EQ(due, seen) << "order " << order;
  }
}

TEST(TimerWheelTest, FarJumpFindsAllThatLiesBetween) {
  TimerWheel wheel;
  std::vector<Timer> timers(62);
  std::vector<int> all;
  for (int bit = 0; bit < 62; ++bit) {
    timers[static_cast<size_t>(bit)].id = bit;
    wheel.Schedule(timers[static_cast<size_t>(bit)], Nanoseconds{1} << bit);
    all.push_back(bit);
  }
  EXPECT_EQ(IdsAdvancing(wheel, Nanoseconds{1} << 61), all);
  // And it works on from there.
  Timer next;
  wheel.Schedule(next, (Nanoseconds{1} << 61) + 3);
  EXPECT_EQ(wheel.Advance((Nanoseconds{1} << 61) + 2), nullptr);
  EXPECT_EQ(wheel.Advance((Nanoseconds{1} << 61) + 3), &next);
}

// An entry far away is looked at a few times on its way down, not in every
// tick: a year is 481 billion ticks.
TEST(TimerWheelTest, WaitingForNextExpiryTakesOneWakeWhenNothingIsCancelled) {
  Random random(11);
  TimerWheel wheel;
  std::vector<Timer> timers(500);
  for (Timer& timer : timers) wheel.Schedule(timer, AnySize(random, 60) + 1);
  size_t due = 0;
  size_t wakes = 0;
  while (wheel.NextExpiry() != kForever) {
    std::vector<int> ids = IdsAdvancing(wheel, wheel.NextExpiry());
    ASSERT_FALSE(ids.empty()) << "woke for nothing";
    due += ids.size();
    ++wakes;
  }
  EXPECT_EQ(due, timers.size());
  EXPECT_LE(wakes, timers.size());
}

// ---- Against the model.

struct Mix {
  const char* name;
  int bits_max;        // of the distances
  int cancel_percent;  // of the operations
  int advance_percent;
};

void PrintTo(const Mix& mix, std::ostream* out) { *out << mix.name; }

class TimerWheelModelTest : public testing::TestWithParam<Mix> {};

TEST_P(TimerWheelModelTest, AgreesWithAMultimap) {
  const Mix& mix = GetParam();
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    TimerWheel wheel;
    std::multimap<Nanoseconds, int> model;
    std::vector<Timer> timers(300);
    for (size_t i = 0; i < timers.size(); ++i) {
      timers[i].id = static_cast<int>(i);
    }
    Nanoseconds now = 1 + AnySize(random, 55);
    ASSERT_EQ(wheel.Advance(now), nullptr);
    // Exact until something is cancelled, and again when nothing is left.
    bool exact = true;

    auto forget = [&](const Timer& timer) {
      auto [begin, end] = model.equal_range(timer.expiry);
      for (auto entry = begin; entry != end; ++entry) {
        if (entry->second == timer.id) {
          model.erase(entry);
          return;
        }
      }
      FAIL() << "the model does not have it";
    };
    auto check_next = [&] {
      Nanoseconds next = wheel.NextExpiry();
      if (model.empty()) {
        exact = true;
        ASSERT_EQ(next, kForever);
      } else if (exact) {
        ASSERT_EQ(next, model.begin()->first);
      } else {
        ASSERT_LE(next, model.begin()->first);
      }
    };
    auto advance = [&](Nanoseconds to) {
      std::vector<int> expected;
      while (!model.empty() && model.begin()->first <= to) {
        expected.push_back(model.begin()->second);
        model.erase(model.begin());
      }
      std::sort(expected.begin(), expected.end());
      ASSERT_EQ(IdsAdvancing(wheel, to), expected) << "from " << now;
      now = to;
    };

    for (int step = 0; step < 4000; ++step) {
      auto dice = static_cast<int>(random.Below(100));
      Timer& timer = timers[random.Below(timers.size())];
      if (dice < mix.cancel_percent) {
        if (!timer.on_wheel()) continue;
        forget(timer);
        wheel.Cancel(timer);
        exact = false;
      } else if (dice < mix.cancel_percent + mix.advance_percent) {
        // Half of the time as the event loop does it, and one in eight of these
        // a little too early.
        Nanoseconds to = now + AnySize(random, mix.bits_max);
        if (random.Below(2) == 0 && wheel.NextExpiry() != kForever) {
          to = std::max(now, wheel.NextExpiry());
          if (to > now && random.Below(8) == 0) --to;
        }
        // The distances add up; stay within what there is.
        if (to > kForever / 2) continue;
        advance(to);
      } else if (!timer.on_wheel()) {
        Nanoseconds expiry = now + AnySize(random, mix.bits_max);
        // A few have passed already.
        if (random.Below(16) == 0) {
          expiry = std::max<Nanoseconds>(now - AnySize(random, 20), 1);
        }
        wheel.Schedule(timer, expiry);
        model.emplace(expiry, timer.id);
      }
      ASSERT_NO_FATAL_FAILURE(check_next()) << "step " << step;
    }

    // What is left comes by waiting for it; each wake for nothing makes the
    // next one better.
    size_t wakes = 0;
    while (!model.empty()) {
      Nanoseconds next = wheel.NextExpiry();
      size_t left = model.size();
      ASSERT_NO_FATAL_FAILURE(advance(std::max(now, next)));
      if (model.size() == left) {
        ASSERT_GT(wheel.NextExpiry(), next) << "no progress";
      }
      // A bound, not a guess: each wake empties a slot or gives an entry back.
      ASSERT_LE(++wakes, timers.size() * 9);
    }
    EXPECT_EQ(wheel.NextExpiry(), kForever);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, TimerWheelModelTest,
    testing::Values(Mix{"Nanoseconds", 8, 0, 30}, Mix{"AFewTicks", 20, 0, 30},
                    Mix{"Seconds", 34, 0, 30}, Mix{"Years", 58, 0, 30},
                    Mix{"TicksWithCancels", 20, 30, 20},
                    Mix{"SecondsWithCancels", 34, 30, 20},
                    Mix{"YearsWithCancels", 58, 30, 20},
                    Mix{"MostlyCancels", 40, 48, 4},
                    Mix{"MostlyAdvances", 40, 10, 60}),
    [](const testing::TestParamInfo<Mix>& info) { return info.param.name; });

}  // namespace
}  // namespace aios
