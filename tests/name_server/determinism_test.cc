// The unmodified c-ares does the same for the same seed, in any process.

#include <cstdint>
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
