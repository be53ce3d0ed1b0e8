// The examples of RFC 6724, section 10.2, and what else the rules say.

#include "aios/destination_order.h"

#include <string>
#include <vector>

#include "aios/address.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios {
namespace {

using testing::ElementsAre;

IpAddress Ip(const std::string& text) { return IpAddress::Parse(text).value(); }

// An empty source: none.
struct Pair {
  std::string ip;
  std::string source;
};

std::vector<std::string> Sorted(const std::vector<Pair>& pairs) {
  std::vector<Destination> destinations;
  for (const Pair& pair : pairs) {
    Destination destination = {.ip = Ip(pair.ip),
                               .source = Destination::Source::kNone};
    if (!pair.source.empty()) {
      destination.source = Destination::Source::kKnown;
      destination.source_ip = Ip(pair.source);
    }
    destinations.push_back(destination);
  }
  SortDestinations(destinations);
  std::vector<std::string> ips;
  for (const Destination& destination : destinations) {
    ips.push_back(destination.ip.ToString());
  }
  return ips;
}

TEST(DestinationOrder, Rule1AvoidsWhatCannotBeReached) {
  EXPECT_THAT(Sorted({{"2001:db8::1", ""}, {"192.0.2.1", "192.0.2.9"}}),
              ElementsAre("192.0.2.1", "2001:db8::1"));
}

TEST(DestinationOrder, Rule2PrefersTheSameScope) {
  EXPECT_THAT(Sorted({{"198.51.100.121", "169.254.13.78"},
                      {"2001:db8:1::1", "2001:db8:1::2"}}),
              ElementsAre("2001:db8:1::1", "198.51.100.121"));
  EXPECT_THAT(Sorted({{"2001:db8:1::1", "fe80::1"},
                      {"198.51.100.121", "198.51.100.117"}}),
              ElementsAre("198.51.100.121", "2001:db8:1::1"));
}

TEST(DestinationOrder, Rule5PrefersTheSameLabel) {
  EXPECT_THAT(Sorted({{"2001:db8:1::1", "2002:c633:6401::2"},
                      {"2002:c633:6401::1", "2002:c633:6401::2"}}),
              ElementsAre("2002:c633:6401::1", "2001:db8:1::1"));
}

TEST(DestinationOrder, Rule6PrefersHigherPrecedence) {
  EXPECT_THAT(
      Sorted({{"10.1.2.3", "10.1.2.4"}, {"2001:db8:1::1", "2001:db8:1::2"}}),
      ElementsAre("2001:db8:1::1", "10.1.2.3"));
  EXPECT_THAT(Sorted({{"2002:c633:6401::1", "2002:c633:6401::2"},
                      {"2001:db8:1::1", "2001:db8:1::2"}}),
              ElementsAre("2001:db8:1::1", "2002:c633:6401::1"));
  // Unique local addresses come behind IPv4.
  EXPECT_THAT(Sorted({{"fd00::1", "fd00::2"}, {"192.0.2.1", "192.0.2.9"}}),
              ElementsAre("192.0.2.1", "fd00::1"));
  EXPECT_THAT(Sorted({{"127.0.0.1", "127.0.0.1"}, {"::1", "::1"}}),
              ElementsAre("::1", "127.0.0.1"));
}

TEST(DestinationOrder, Rule8PrefersTheSmallerScope) {
  EXPECT_THAT(
      Sorted({{"2001:db8:1::1", "2001:db8:1::2"}, {"fe80::1", "fe80::2"}}),
      ElementsAre("fe80::1", "2001:db8:1::1"));
}

TEST(DestinationOrder, Rule9PrefersTheLongerCommonPrefixInIpv6Alone) {
  EXPECT_THAT(Sorted({{"2001:db8:2::1", "2001:db8:1::2"},
                      {"2001:db8:1::1", "2001:db8:1::2"}}),
              ElementsAre("2001:db8:1::1", "2001:db8:2::1"));
  // No further than the part that names the network.
  EXPECT_THAT(Sorted({{"2001:db8::8000:0:0:1", "2001:db8::2"},
                      {"2001:db8::3", "2001:db8::2"}}),
              ElementsAre("2001:db8::8000:0:0:1", "2001:db8::3"));
  EXPECT_THAT(
      Sorted({{"198.51.100.1", "192.0.2.9"}, {"192.0.2.1", "192.0.2.9"}}),
      ElementsAre("198.51.100.1", "192.0.2.1"));
}

TEST(DestinationOrder, Rule10KeepsTheOrder) {
  EXPECT_THAT(Sorted({{"192.0.2.3", "192.0.2.9"},
                      {"192.0.2.1", "192.0.2.9"},
                      {"192.0.2.2", "192.0.2.9"}}),
              ElementsAre("192.0.2.3", "192.0.2.1", "192.0.2.2"));
  EXPECT_THAT(Sorted({}), ElementsAre());
}

class FindSourcesTest : public testing::TestWithParam<test::KernelParam> {};

INSTANTIATE_TEST_SUITE_P(All, FindSourcesTest,
                         testing::ValuesIn(test::AllKernels()), test::NameOf);

TEST_P(FindSourcesTest, AsksTheKernelOnce) {
  auto world = GetParam().make_world();
  std::vector<Destination> destinations = {
      {.ip = world->peer_ip(Family::kIpv4)},
      {.ip = Ip("192.0.2.1"), .source = Destination::Source::kNone}};
  FindSources(world->kernel(), destinations);
  EXPECT_EQ(destinations[0].source, Destination::Source::kKnown);
  EXPECT_EQ(destinations[0].source_ip, world->host_ip(Family::kIpv4));
  EXPECT_EQ(destinations[1].source, Destination::Source::kNone)
      << "what was asked for is not asked again";
}

}  // namespace
}  // namespace aios
