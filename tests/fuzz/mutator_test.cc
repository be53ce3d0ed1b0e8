#include "tests/fuzz/mutator.h"

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> Inputs(Mutator mutator, int count) {
  std::vector<std::string> inputs;
  inputs.reserve(count);
  for (int i = 0; i < count; ++i) inputs.push_back(mutator.Next());
  return inputs;
}

TEST(MutatorTest, SameSeedSameInputs) {
  const auto inputs = [](uint64_t seed) {
    return Inputs(Mutator(seed, {"abc", "defghi"}, {"::"}, 100), 1000);
  };
  EXPECT_EQ(inputs(1), inputs(1));
  EXPECT_NE(inputs(1), inputs(2));
}

TEST(MutatorTest, InputsAreManyAndBounded) {
  const std::string seed(60, 'x');
  const std::vector<std::string> inputs =
      Inputs(Mutator(1, {seed, "short"}, {"token"}, 20), 10000);
  std::set<std::string> different;
  bool empty = false;
  bool token = false;
  for (const std::string& input : inputs) {
    EXPECT_LE(input.size(), seed.size());
    empty = empty || input.empty();
    token = token || input.find("token") != std::string::npos;
    different.insert(input);
  }
  EXPECT_GT(different.size(), 5000u);
  EXPECT_TRUE(empty);
  EXPECT_TRUE(token);
}

TEST(MutatorTest, WorksWithoutSeedsAndDictionary) {
  for (const std::string& input : Inputs(Mutator(1, {}, {}, 3), 1000)) {
    EXPECT_LE(input.size(), 3u);
  }
}

TEST(DictionaryTest, ReadsTokensWithTheirEscapes) {
  const absl::StatusOr<std::vector<std::string>> tokens = ParseDictionary(
      "# comment\n"
      "\n"
      "\"plain\"\n"
      "  named=\"a\\\\b\\\"c\"  \r\n"
      "\"\\x00\\xfFz\"\n"
      "\"last\"");
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  EXPECT_THAT(*tokens, ElementsAre("plain", "a\\b\"c",
                                   std::string("\0\xff"
                                               "z",
                                               3),
                                   "last"));
  EXPECT_THAT(ParseDictionary("").value(), IsEmpty());
}

TEST(DictionaryTest, RefusesOtherLinesByTheirNumber) {
  for (const char* line : {"plain", "\"", "\"\"", "\"a", "\"a\"b", "\"\\\"",
                           "\"\\x0\"", "\"\\xg0\"", "\"\\n\"", "name\"a\""}) {
    SCOPED_TRACE(line);
    const absl::Status status =
        ParseDictionary(std::string("\"fine\"\n\n") + line).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("line 3"));
  }
}

}  // namespace
}  // namespace aios
