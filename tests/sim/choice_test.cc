#include "sim/choice.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace aios::sim {
namespace {

// Worked out by another program. They never change: recorded seeds and traces
// would be worthless.
TEST(Choice, MixGivesTheSameForEver) {
  struct Row {
    uint64_t a;
    uint64_t b;
    uint64_t mixed;
  };
  constexpr Row kRows[] = {
      {0x0, 0x0, 0xfb6abba1f7b2ab7e},
      {0x1, 0x0, 0x6eec433ec9c7c2b2},
      {0x0, 0x1, 0xf309451ff927575e},
      {0xffffffffffffffff, 0xffffffffffffffff, 0xce18583e35e6ef1b},
      {0x123456789abcdef, 0xfedcba9876543210, 0xdb6102b076cb0bfe},
  };
  for (const Row& row : kRows) EXPECT_EQ(Mix(row.a, row.b), row.mixed);
}

TEST(Choice, DrawsAreTheSameForEver) {
  Choices choices(1);
  ChoiceEntity entity(5);
  EXPECT_EQ(choices.Draw(Site::kLatency, entity), 0xd3753a76a0b9f27b);
  EXPECT_EQ(choices.Draw(Site::kLatency, entity), 0xadffbeaaf6637aa8);
  EXPECT_EQ(choices.Draw(Site::kLoss, entity), 0xe2499fc5d611824e);
  EXPECT_EQ(choices.Draw(Site::kLatency, entity), 0x17f5e307f48c865b);
  EXPECT_EQ(choices.Draw(Site::kLoss, entity), 0xe70fb32ae53418ee);
}

TEST(Choice, IntegersBelowALimitAreTheSameForEver) {
  Choices choices(1);
  ChoiceEntity entity(0);
  constexpr std::array<uint64_t, 16> kBelowTen = {3, 5, 3, 1, 6, 7, 6, 5,
                                                  4, 1, 1, 1, 5, 6, 7, 5};
  for (uint64_t expected : kBelowTen) {
    EXPECT_EQ(choices.Below(Site::kUser, entity, 10), expected);
  }
}

TEST(Choice, BelowStaysBelowAndReachesEveryNumberEquallyOften) {
  Choices choices(42);
  ChoiceEntity entity(1);
  constexpr size_t kCount = 7;
  constexpr int kDraws = 70'000;
  std::array<int, kCount> seen = {};
  for (int i = 0; i != kDraws; ++i) {
    uint64_t value = choices.Below(Site::kUser, entity, kCount);
    ASSERT_LT(value, kCount);
    ++seen[value];
  }
  for (int count : seen) EXPECT_NEAR(count, kDraws / kCount, 400);
  EXPECT_EQ(choices.Below(Site::kUser, entity, 1), 0u);
}

TEST(Choice, ScaleAtItsEdges) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  EXPECT_EQ(Choices::Scale(0, kMost), 0u);
  EXPECT_EQ(Choices::Scale(kMost, 1), 0u);
  EXPECT_EQ(Choices::Scale(kMost, 10), 9u);
  EXPECT_EQ(Choices::Scale(kMost, kMost), kMost - 1);
  EXPECT_EQ(Choices::Scale(uint64_t{1} << 63, 10), 5u);
}

TEST(Choice, ChanceIsAsOftenAsItSays) {
  Choices choices(3);
  ChoiceEntity entity(9);
  int hits = 0;
  for (int i = 0; i != 100'000; ++i) {
    if (choices.Chance(Site::kLoss, entity, 50'000)) ++hits;
  }
  EXPECT_NEAR(hits, 5000, 300);
  for (int i = 0; i != 100; ++i) {
    EXPECT_TRUE(choices.Chance(Site::kLoss, entity, 1'000'000));
    EXPECT_FALSE(choices.Chance(Site::kLoss, entity, 0));
  }
}

TEST(Choice, AFaultThatIsOffDrawsNothing) {
  Choices choices(3);
  ChoiceEntity entity(9);
  choices.Record();
  EXPECT_FALSE(choices.Chance(Site::kLoss, entity, 0));
  EXPECT_TRUE(choices.recorded().empty());
}

TEST(Choice, SeedSiteEntityAndOrdinalEachMatter) {
  std::set<uint64_t> values;
  size_t draws = 0;
  for (uint64_t seed : {1, 2}) {
    for (Site site : {Site::kLoss, Site::kLatency}) {
      for (uint64_t id : {0, 1, 77}) {
        Choices choices(seed);
        ChoiceEntity entity(id);
        for (int ordinal = 0; ordinal != 3; ++ordinal, ++draws) {
          values.insert(choices.Draw(site, entity));
        }
      }
    }
  }
  EXPECT_EQ(values.size(), draws);
}

TEST(Choice, OneSiteDoesNotMoveAnother) {
  Choices alone(8);
  Choices both(8);
  ChoiceEntity a(4);
  ChoiceEntity b(4);
  ChoiceEntity other(5);
  for (int i = 0; i != 50; ++i) {
    both.Draw(Site::kLoss, b);
    both.Draw(Site::kLatency, other);
    EXPECT_EQ(alone.Draw(Site::kLatency, a), both.Draw(Site::kLatency, b));
  }
}

TEST(Choice, ANamedChoiceIsOverriddenAndNoOther) {
  Choices plain(6);
  Choices edited(6);
  edited.Set({Site::kLoss, 3, 1, 12345});
  ChoiceEntity a(3);
  ChoiceEntity b(3);
  for (uint32_t ordinal = 0; ordinal != 4; ++ordinal) {
    uint64_t expected = plain.Draw(Site::kLoss, a);
    if (ordinal == 1) expected = 12345;
    EXPECT_EQ(edited.Draw(Site::kLoss, b), expected) << ordinal;
  }
}

TEST(Choice, RecordedChoicesReplayARun) {
  Choices first(10);
  first.Record();
  ChoiceEntity a(2);
  std::vector<uint64_t> drawn;
  for (int i = 0; i != 5; ++i) drawn.push_back(first.Draw(Site::kUser, a));
  ASSERT_EQ(first.recorded().size(), 5u);
  Choices replay(/*seed=*/99);
  for (const Choice& choice : first.recorded()) replay.Set(choice);
  ChoiceEntity b(2);
  for (uint64_t value : drawn) EXPECT_EQ(replay.Draw(Site::kUser, b), value);
  EXPECT_NE(replay.Draw(Site::kUser, b), first.Draw(Site::kUser, a))
      << "beyond the recorded ones the seed decides";
}

TEST(Choice, EverySiteHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (size_t i = 0; i != static_cast<size_t>(Site::kCount); ++i) {
    Site site = static_cast<Site>(i);
    std::string_view name = SiteName(site);
    EXPECT_FALSE(name.empty());
    EXPECT_TRUE(names.insert(name).second) << name;
    EXPECT_EQ(SiteByName(name), site);
  }
  EXPECT_EQ(SiteByName("no such site"), Site::kCount);
  // The name is the number, 6 bits of it.
  EXPECT_LE(names.size(), 64u);
}

}  // namespace
}  // namespace aios::sim
