// Which names are asked for, in which order, and what comes of it.

#include "aios/name_search.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

using testing::ElementsAre;

const std::vector<std::string> kDomains = {"a.test", "B.test."};

std::vector<std::string> Names(std::string_view name, int ndots) {
  return NameCandidates(name, kDomains, ndots).names;
}

TEST(NameCandidatesTest, TheOrderDependsOnTheDots) {
  EXPECT_THAT(Names("x", 1), ElementsAre("x.a.test", "x.b.test", "x"));
  EXPECT_THAT(Names("x", 0), ElementsAre("x", "x.a.test", "x.b.test"));
  EXPECT_THAT(Names("x.y", 1), ElementsAre("x.y", "x.y.a.test", "x.y.b.test"));
  EXPECT_THAT(Names("x.y", 2), ElementsAre("x.y.a.test", "x.y.b.test", "x.y"));
  EXPECT_THAT(Names("x.", 5), ElementsAre("x"));
  EXPECT_EQ(NameCandidates("x", kDomains, 1).as_it_is, 2u);
  EXPECT_EQ(NameCandidates("x", kDomains, 0).as_it_is, 0u);
}

TEST(NameCandidatesTest, WhatIsTooLongOrThereTwiceIsLeftOut) {
  std::string long_name(60, 'x');
  std::string domain = absl::StrCat(long_name, ".", long_name, ".", long_name,
                                    ".", std::string(59, 'x'));
  EXPECT_THAT(NameCandidates("abcdefghijk", {domain, "c", "C.", "c"}, 1).names,
              ElementsAre("abcdefghijk.c", "abcdefghijk"));
  EXPECT_EQ(NameCandidates("abcdefghij", {domain}, 1).names.size(), 2u);
}

// Answers by name and family ("x 4"); what is not there does not exist.
using Zone = std::map<std::string, Error>;

std::string Word(Error error) { return error.ok() ? "found" : error.Name(); }

// Looks for `x` in the families and says what was asked and what came of it.
std::string Search(const Zone& zone, std::vector<Family> wanted, int ndots = 1,
                   NameSearch search = {}) {
  for (Family family : wanted) search.Want(family);
  if (!search.begun()) search.Begin(NameCandidates("x", kDomains, ndots));
  std::string text;
  for (int i = 0; i != 20 && !search.over(); ++i) {
    std::vector<Family> asked;
    EXPECT_TRUE(search.HasQuestion());
    while (std::optional<Family> family = search.NextQuestion()) {
      asked.push_back(*family);
    }
    EXPECT_FALSE(search.HasQuestion());
    std::string name = search.candidate();
    for (Family family : asked) {
      EXPECT_TRUE(search.waits());
      std::string key =
          absl::StrCat(name, family == Family::kIpv4 ? " 4" : " 6");
      absl::StrAppend(&text, key, ", ");
      auto found = zone.find(key);
      search.Take(family, {.error = found != zone.end()
                                        ? found->second
                                        : Error(LookupError::kNoSuchName)});
    }
    EXPECT_FALSE(search.waits());
    for (Family family : {Family::kIpv4, Family::kIpv6}) {
      while (std::optional<CaresReply> result = search.TakeResult(family)) {
        absl::StrAppend(&text, family == Family::kIpv4 ? "4:" : "6:",
                        Word(result->error), " ");
      }
    }
  }
  EXPECT_TRUE(search.over());
  return absl::StrCat(text, search.exists() ? search.candidate() : "-",
                      search.uncertain() ? " uncertain" : "");
}

const std::vector<Family> kBoth = {Family::kIpv4, Family::kIpv6};
constexpr Error kNone = Error(LookupError::kNoAddress);
constexpr Error kServfail = Error(LookupError::kServerFailure);
constexpr Error kRefused = Error(LookupError::kRefused);

TEST(NameSearchTest, AnAddressIsGivenBeforeTheOtherFamilyHasAnswered) {
  for (Family first : {Family::kIpv4, Family::kIpv6}) {
    Family other = first == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4;
    NameSearch search;
    search.Want(first);
    search.Want(other);
    search.Begin(NameCandidates("x", kDomains, 1));
    while (search.NextQuestion().has_value()) {
    }
    CaresReply reply;
    search.Take(first, std::move(reply));
    std::optional<CaresReply> result = search.TakeResult(first);
    ASSERT_TRUE(result.has_value());
    EXPECT_TRUE(result->error.ok());
    EXPECT_FALSE(search.TakeResult(other).has_value());
    EXPECT_FALSE(search.over());
  }
}

TEST(NameSearchTest, EndsWithEitherFamily) {
  EXPECT_EQ(Search({{"x.a.test 6", Error()}, {"x.b.test 4", Error()}}, kBoth),
            "x.a.test 6, x.a.test 4, 4:NODATA 6:found x.a.test");
  EXPECT_EQ(Search({{"x.a.test 6", kServfail}, {"x.a.test 4", Error()}}, kBoth),
            "x.a.test 6, x.a.test 4, 4:found 6:SERVFAIL x.a.test");
  EXPECT_EQ(Search({{"x.b.test 4", Error()}}, kBoth),
            "x.a.test 6, x.a.test 4, x.b.test 6, x.b.test 4, "
            "4:found 6:NODATA x.b.test");
}

TEST(NameSearchTest, OneFamilyAsksForTheOtherBeforeItLeavesWhatMayExist) {
  EXPECT_EQ(
      Search({{"x.a.test 4", kNone}, {"x.a.test 6", Error()}}, {Family::kIpv4}),
      "x.a.test 4, x.a.test 6, 4:NODATA 6:found x.a.test");
  EXPECT_EQ(Search({{"x.a.test 4", kServfail}, {"x.a.test 6", Error()}},
                   {Family::kIpv4}),
            "x.a.test 4, x.a.test 6, 4:SERVFAIL 6:found x.a.test");
  EXPECT_EQ(
      Search({{"x.a.test 4", kNone}, {"x.b.test 4", Error()}}, {Family::kIpv4}),
      "x.a.test 4, x.a.test 6, x.b.test 4, 4:found x.b.test");
  // The last one needs no other family to be decided.
  EXPECT_EQ(Search({{"x 4", kNone}}, {Family::kIpv4}),
            "x.a.test 4, x.b.test 4, x 4, 4:NODATA -");
}

TEST(NameSearchTest, AnErrorDecidesWhichIsNext) {
  EXPECT_EQ(Search({{"x.a.test 4", kServfail}}, kBoth),
            "x.a.test 6, x.a.test 4, x.b.test 6, x.b.test 4, x 6, x 4, "
            "4:SERVFAIL 6:NXDOMAIN - uncertain");
  // The worse one of two families.
  EXPECT_EQ(Search({{"x.a.test 4", kRefused}, {"x.a.test 6", kNone}}, kBoth),
            "x.a.test 6, x.a.test 4, x 6, x 4, "
            "4:REFUSED 6:NODATA - uncertain");
  for (LookupError error : {LookupError::kTimedOut, LookupError::kRefused,
                            LookupError::kMalformedAnswer}) {
    EXPECT_EQ(Search({{"x.a.test 4", Error(error)}, {"x 4", Error()}},
                     {Family::kIpv4}),
              "x.a.test 4, x 4, 4:found x uncertain");
    EXPECT_EQ(Search({{"x.b.test 4", Error(error)}}, {Family::kIpv4}, 0),
              "x 4, x.a.test 4, x.b.test 4, 4:NXDOMAIN - uncertain")
        << "the name as it is was asked before";
  }
  for (LookupError error :
       {LookupError::kUnreachable, LookupError::kNotConfigured}) {
    EXPECT_EQ(
        Search({{"x.a.test 4", Error(error)}, {"x 4", Error()}},
               {Family::kIpv4}),
        absl::StrCat("x.a.test 4, 4:", Error(error).Name(), " - uncertain"));
  }
}

TEST(NameSearchTest, AfterTheNameAsItIsTheDomainsFollowWhateverItWas) {
  for (Error error : {kServfail, kRefused, kNone}) {
    EXPECT_EQ(Search({{"x 4", error}, {"x 6", error}, {"x.b.test 4", Error()}},
                     kBoth, 0),
              absl::StrCat("x 6, x 4, x.a.test 6, x.a.test 4, x.b.test 6, "
                           "x.b.test 4, 4:found 6:NODATA x.b.test",
                           error == kNone ? "" : " uncertain"));
    EXPECT_EQ(Search({{"x 4", error}, {"x 6", error}}, kBoth, 0),
              absl::StrCat("x 6, x 4, x.a.test 6, x.a.test 4, x.b.test 6, "
                           "x.b.test 4, 4:",
                           error.Name(), " 6:", error.Name(), " -",
                           error == kNone ? "" : " uncertain"));
  }
}

TEST(NameSearchTest, WhatIsToldOfManyErrors) {
  // That there is no address goes before what was found out nowhere.
  EXPECT_EQ(Search({{"x.a.test 4", kServfail}, {"x.b.test 4", kNone}},
                   {Family::kIpv4}),
            "x.a.test 4, x.a.test 6, x.b.test 4, x.b.test 6, x 4, "
            "4:NODATA - uncertain");
  // What exists in one family exists.
  EXPECT_EQ(Search({{"x 4", kNone}}, kBoth),
            "x.a.test 6, x.a.test 4, x.b.test 6, x.b.test 4, x 6, x 4, "
            "4:NODATA 6:NODATA -");
}

TEST(NameSearchTest, OfANameThatIsKnownOneFamilyIsAsked) {
  NameSearch search;
  search.Begin(NameCandidates::Of("x.b.test"));
  EXPECT_EQ(Search({}, {Family::kIpv6}, 1, std::move(search)),
            "x.b.test 6, 6:NODATA x.b.test");
}

TEST(NameSearchTest, AFamilyThatIsWantedLaterJoins) {
  NameSearch search;
  search.Want(Family::kIpv4);
  search.Begin(NameCandidates("x", kDomains, 1));
  EXPECT_EQ(search.NextQuestion(), Family::kIpv4);
  search.Want(Family::kIpv6);
  search.Take(Family::kIpv4, {.error = kNone});
  EXPECT_FALSE(search.TakeResult(Family::kIpv4).has_value());
  EXPECT_EQ(search.NextQuestion(), Family::kIpv6);
  search.Take(Family::kIpv6, {});
  EXPECT_EQ(search.TakeResult(Family::kIpv6)->error, Error());
  EXPECT_EQ(search.TakeResult(Family::kIpv4)->error, kNone);
  EXPECT_TRUE(search.over());
  // Who asks once more is answered by the name that was found.
  search.Want(Family::kIpv4);
  EXPECT_FALSE(search.over());
  EXPECT_EQ(search.NextQuestion(), Family::kIpv4);
  EXPECT_EQ(search.candidate(), "x.a.test");
}

}  // namespace
}  // namespace aios
