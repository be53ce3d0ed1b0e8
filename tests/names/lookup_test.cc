// Lookups of names, on every kernel, with a name server of the test's own.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "tests/names/names_test.h"

namespace aios::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

using Addresses = std::vector<std::string>;

class LookupTest : public NamesTest {};

INSTANTIATE_TEST_SUITE_P(All, LookupTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(LookupTest, FindsTheAddressesOfAName) {
  server_.Add("host.example", "192.0.2.7");
  auto looked = Finish("host.example");
  EXPECT_EQ(looked->error, Error());
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
  EXPECT_THAT(server_.log(), ElementsAre("host.example A"));
  EXPECT_TRUE(looked->lookup->ended());
  RunFor();
  EXPECT_EQ(looked->calls, 1);
}

TEST_P(LookupTest, BothFamiliesAreAskedFor) {
  server_.Add("host.example", "192.0.2.7");
  server_.Add("host.example", "2001:db8::7");
  auto looked = Finish("host.example", LookupFamily::kBoth);
  EXPECT_THAT(looked->addresses,
              UnorderedElementsAre("192.0.2.7:80", "[2001:db8::7]:80"));
  EXPECT_THAT(server_.log(),
              UnorderedElementsAre("host.example A", "host.example AAAA"));
}

TEST_P(LookupTest, OneFamilyIsEnough) {
  server_.Add("host.example", "192.0.2.7");
  auto looked = Finish("host.example", LookupFamily::kBoth);
  EXPECT_EQ(looked->addresses, Addresses{"192.0.2.7:80"});
}

}  // namespace
}  // namespace aios::test
