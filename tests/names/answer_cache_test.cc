#include "aios/answer_cache.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/support/heap.h"

namespace aios {
namespace {

Answer To(const std::string& ip) {
  Answer answer;
  answer.destinations.push_back({.ip = IpAddress::Parse(ip).value()});
  return answer;
}

std::string Found(AnswerCache& cache, std::string_view key, Nanoseconds now) {
  const Answer* answer = cache.Find(key, Family::kIpv4, now);
  if (answer == nullptr) return "none";
  if (!answer->error.ok()) return answer->error.Name();
  return answer->destinations.front().ip.ToString();
}

TEST(AnswerCacheTest, KeepsAnAnswerUntilItExpires) {
  AnswerCache cache(10);
  cache.Put("a", Family::kIpv4, "x", To("192.0.2.1"), 100);
  EXPECT_EQ(Found(cache, "a", 99), "192.0.2.1");
  EXPECT_EQ(Found(cache, "b", 99), "none");
  EXPECT_EQ(Found(cache, "a", 100), "none");
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(Found(cache, "a", 99), "none");
}

TEST(AnswerCacheTest, KeepsThatThereIsNone) {
  AnswerCache cache(10);
  Answer none;
  none.error = Error(LookupError::kNoSuchName);
  cache.Put("a", Family::kIpv4, "x", none, 100);
  EXPECT_EQ(Found(cache, "a", 1), "NXDOMAIN");
}

TEST(AnswerCacheTest, ALaterAnswerTakesThePlaceOfAnEarlierOne) {
  AnswerCache cache(10);
  cache.Put("a", Family::kIpv4, "x", To("192.0.2.1"), 100);
  cache.Put("a", Family::kIpv4, "x", To("192.0.2.2"), 50);
  EXPECT_EQ(Found(cache, "a", 49), "192.0.2.2");
  EXPECT_EQ(Found(cache, "a", 50), "none");
  EXPECT_EQ(cache.size(), 0u);
}

TEST(AnswerCacheTest, WhatWasNotUsedForLongestMakesRoom) {
  AnswerCache cache(3);
  for (int i = 0; i != 3; ++i) {
    cache.Put(absl::StrCat(i), Family::kIpv4, "x", To("192.0.2.1"), 100);
  }
  EXPECT_EQ(Found(cache, "0", 1), "192.0.2.1");
  cache.Put("3", Family::kIpv4, "x", To("192.0.2.1"), 100);
  EXPECT_EQ(Found(cache, "1", 1), "none");
  for (std::string key : {"0", "2", "3"}) {
    EXPECT_EQ(Found(cache, key, 1), "192.0.2.1") << key;
  }
  EXPECT_EQ(cache.size(), 3u);
}

TEST(AnswerCacheTest, TheFamiliesOfANameExpireByThemselves) {
  AnswerCache cache(1);
  cache.Put("a", Family::kIpv4, "a.x", To("192.0.2.1"), 50);
  cache.Put("a", Family::kIpv6, "a.x", To("::1"), 100);
  EXPECT_EQ(cache.size(), 1u);
  EXPECT_EQ(Found(cache, "a", 49), "192.0.2.1");
  EXPECT_EQ(Found(cache, "a", 50), "none");
  ASSERT_NE(cache.Find("a", Family::kIpv6, 99), nullptr);
  EXPECT_EQ(cache.Find("a", Family::kIpv6, 100), nullptr);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(AnswerCacheTest, AnAddressSaysWhichNameItIs) {
  AnswerCache cache(10);
  Answer none;
  none.error = Error(LookupError::kNoAddress);
  EXPECT_EQ(cache.FindOwner("a", 1), nullptr);
  cache.Put("a", Family::kIpv6, "a.x", none, 200);
  EXPECT_EQ(cache.FindOwner("a", 1), nullptr);
  cache.Put("a", Family::kIpv4, "a.x", To("192.0.2.1"), 100);
  ASSERT_NE(cache.FindOwner("a", 99), nullptr);
  EXPECT_EQ(*cache.FindOwner("a", 99), "a.x");
  EXPECT_EQ(cache.FindOwner("a", 100), nullptr);
}

TEST(AnswerCacheTest, AnAnswerAboutAnotherNameTakesThePlaceOfBothFamilies) {
  AnswerCache cache(10);
  cache.Put("a", Family::kIpv4, "a.x", To("192.0.2.1"), 100);
  cache.Put("a", Family::kIpv6, "a.y", To("::1"), 100);
  EXPECT_EQ(Found(cache, "a", 1), "none");
  EXPECT_NE(cache.Find("a", Family::kIpv6, 1), nullptr);
  EXPECT_EQ(*cache.FindOwner("a", 1), "a.y");
}

TEST(AnswerCacheTest, ForgetsAll) {
  AnswerCache cache(10);
  cache.Put("a", Family::kIpv4, "a", To("192.0.2.1"), 100);
  cache.Clear();
  EXPECT_EQ(Found(cache, "a", 1), "none");
  EXPECT_EQ(cache.size(), 0u);
}

TEST(AnswerCacheTest, MayBeSwitchedOff) {
  AnswerCache cache(0);
  cache.Put("a", Family::kIpv4, "x", To("192.0.2.1"), 100);
  EXPECT_EQ(Found(cache, "a", 1), "none");
}

TEST(AnswerCacheTest, FindingTakesNothingFromTheHeap) {
  AnswerCache cache(10);
  cache.Put("a name that is too long for a short string", Family::kIpv4, "x",
            To("::1"), 100);
  test::HeapUse before = test::CurrentHeapUse();
  const Answer* found = cache.Find("a name that is too long for a short string",
                                   Family::kIpv4, 1);
  EXPECT_EQ((test::CurrentHeapUse() - before).allocations, 0);
  EXPECT_NE(found, nullptr);
}

}  // namespace
}  // namespace aios
