// The unmodified c-ares does the same for the same seed, in any process.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/name_server/lookups_of_a_seed.h"
#include "tests/programs/program.h"

namespace aios::sim {
namespace {

TEST(Lookups, AreTheSameInEveryProcess) {
  for (uint64_t seed : {1, 2, 3, 4711}) {
    std::string here = LookupsOfASeed(seed);
    for (int i = 0; i != 3; ++i) {
      test::Program program("tests/name_server/print_lookups",
                            {std::to_string(seed)});
      EXPECT_EQ(program.Wait(), 0) << program.err();
      EXPECT_EQ(program.out(), here);
    }
  }
}

TEST(Lookups, AreTheSameInEveryEnvironment) {
  std::string here = LookupsOfASeed(3);
  // What c-ares and the C library would look at.
  setenv("RES_OPTIONS", "ndots:9 timeout:1 attempts:9 rotate", 1);
  setenv("LOCALDOMAIN", "elsewhere.test", 1);
  setenv("HOSTALIASES", "/etc/hosts", 1);
  setenv("LC_ALL", "C.UTF-8", 1);
  setenv("TZ", "Asia/Tokyo", 1);
  test::Program program("tests/name_server/print_lookups", {"3"});
  EXPECT_EQ(program.Wait(), 0) << program.err();
  EXPECT_EQ(program.out(), here);
  EXPECT_EQ(LookupsOfASeed(3), here);
}

TEST(Lookups, AreTheSameWhateverRanBefore) {
  std::string first = LookupsOfASeed(7);
  for (uint64_t seed = 8; seed != 20; ++seed) LookupsOfASeed(seed);
  EXPECT_EQ(LookupsOfASeed(7), first);
}

TEST(Lookups, DifferFromSeedToSeed) {
  std::set<std::string> all;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    std::string text = LookupsOfASeed(seed);
    EXPECT_EQ(text.find("NOT DONE"), std::string::npos) << text;
    // All that follows the number of the seed.
    all.insert(text.substr(text.find("ids")));
  }
  EXPECT_EQ(all.size(), 20u);
}

}  // namespace
}  // namespace aios::sim
