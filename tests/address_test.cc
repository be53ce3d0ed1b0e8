#include "aios/address.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/random.h"
#include "tests/system_address.h"

namespace aios {
namespace {

using namespace std::string_view_literals;  // NOLINT
using ::testing::HasSubstr;
using ::testing::SizeIs;

IpAddress Ipv6(std::array<uint16_t, 8> groups, uint32_t scope = 0) {
  IpAddress::Ipv6Bytes bytes;
  for (size_t i = 0; i < groups.size(); ++i) {
    bytes[2 * i] = static_cast<uint8_t>(groups[i] >> 8);
    bytes[2 * i + 1] = static_cast<uint8_t>(groups[i]);
  }
  return IpAddress::FromIpv6(bytes, scope);
}

// The only two interfaces of these tests.
uint32_t InterfaceIndex(std::string_view name) {
  if (name == "eth0") return 2;
  if (name == "wlx001122334455") return 77;  // as long as a name can be
  return 0;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// Any address, but zeros, small groups and well-known prefixes are frequent:
// there the text has its special cases.
IpAddress RandomAddress(Random& random) {
  if (random.Below(4) == 0) {
    uint32_t value = static_cast<uint32_t>(random.Next());
    for (int octet = 0; octet < 4; ++octet) {
      if (random.Below(4) == 0) value &= ~(uint32_t{0xff} << (8 * octet));
    }
    return IpAddress::FromIpv4(value);
  }
  std::array<uint16_t, 8> groups;
  for (uint16_t& group : groups) {
    group = static_cast<uint16_t>(random.Next() >> (random.Below(5) * 4 + 44));
    if (random.Below(2) == 0) group = 0;
  }
  if (random.Below(8) == 0) {
    std::fill_n(groups.begin(), 6, uint16_t{0});
    if (random.Below(2) == 0) groups[5] = 0xffff;
  }
  uint32_t scope = 0;
  if (random.Below(4) == 0) {
    groups[0] = 0xfe80;
    scope = static_cast<uint32_t>(random.Next() >> (32 + random.Below(32)));
  }
  return Ipv6(groups, scope);
}

TEST(IpAddressTest, DefaultIsAnyIpv4) {
  const IpAddress address;
  EXPECT_TRUE(address.is_ipv4());
  EXPECT_TRUE(address.is_any());
  EXPECT_EQ(address, IpAddress::Any(Family::kIpv4));
  EXPECT_EQ(address.ToString(), "0.0.0.0");
}

TEST(IpAddressTest, Ipv4HasItsFirstOctetInTheMostSignificantByte) {
  const IpAddress address = IpAddress::FromIpv4(0x7F000001);
  EXPECT_EQ(address.ToString(), "127.0.0.1");
  EXPECT_EQ(address.ipv4(), 0x7F000001u);
  EXPECT_EQ(address.family(), Family::kIpv4);
  EXPECT_EQ(address, IpAddress::Loopback(Family::kIpv4));
  EXPECT_EQ(address, IpAddress::Parse("127.0.0.1").value());
}

TEST(IpAddressTest, Ipv6KeepsItsBytesAndScope) {
  const IpAddress::Ipv6Bytes bytes = {0xfe, 0x80, 0, 0, 0, 0, 0, 0,
                                      1,    2,    3, 4, 5, 6, 7, 8};
  const IpAddress address = IpAddress::FromIpv6(bytes, 3);
  EXPECT_EQ(address.family(), Family::kIpv6);
  EXPECT_EQ(address.ipv6(), bytes);
  EXPECT_EQ(address.scope(), 3u);
  EXPECT_EQ(address.ipv4(), 0u);
  EXPECT_EQ(address.ToString(), "fe80::102:304:506:708%3");
}

TEST(IpAddressTest, EqualityIncludesFamilyAndScope) {
  const IpAddress v4 = IpAddress::FromIpv4(0x0A000001);
  EXPECT_NE(v4, v4.ToIpv4Mapped());
  EXPECT_NE(IpAddress::Any(Family::kIpv4), IpAddress::Any(Family::kIpv6));
  EXPECT_NE(Ipv6({0xfe80, 0, 0, 0, 0, 0, 0, 1}, 1),
            Ipv6({0xfe80, 0, 0, 0, 0, 0, 0, 1}, 2));
  EXPECT_NE(Ipv6({0xfe80, 0, 0, 0, 0, 0, 0, 1}, 1),
            Ipv6({0xfe80, 0, 0, 0, 0, 0, 0, 1}));
}

TEST(IpAddressTest, MappedAddressesGoBothWays) {
  const IpAddress v4 = IpAddress::FromIpv4(0x0A000001);
  const IpAddress mapped = v4.ToIpv4Mapped();
  EXPECT_FALSE(v4.is_ipv4_mapped());
  EXPECT_TRUE(mapped.is_ipv4_mapped());
  EXPECT_TRUE(mapped.is_ipv6());
  EXPECT_EQ(mapped.ToString(), "::ffff:10.0.0.1");
  EXPECT_EQ(mapped.ipv4(), 0x0A000001u);
  EXPECT_EQ(v4.ipv6(), mapped.ipv6());
  EXPECT_EQ(mapped.ToIpv4Mapped(), mapped);
  const IpAddress other = Ipv6({0x2001, 0xdb8, 0, 0, 0, 0, 0, 1}, 5);
  EXPECT_EQ(other.ToIpv4Mapped(), other);
}

TEST(IpAddressTest, AnyAndLoopbackSeeThroughTheMappedForm) {
  struct {
    const char* text;
    bool any;
    bool loopback;
  } const kCases[] = {
      {"0.0.0.0", true, false},
      {"::", true, false},
      {"::ffff:0.0.0.0", true, false},
      {"127.0.0.1", false, true},
      {"127.255.255.255", false, true},
      {"::1", false, true},
      {"::ffff:127.1.2.3", false, true},
      {"126.255.255.255", false, false},
      {"128.0.0.0", false, false},
      {"0.0.0.1", false, false},
      {"::2", false, false},
      {"1::", false, false},
      {"1::1", false, false},
      {"::127.0.0.1", false, false},  // not mapped but "compatible"
      {"::ffff:10.0.0.1", false, false},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const IpAddress address = IpAddress::Parse(c.text).value();
    EXPECT_EQ(address.is_any(), c.any);
    EXPECT_EQ(address.is_loopback(), c.loopback);
  }
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    EXPECT_EQ(IpAddress::Any(family).family(), family);
    EXPECT_TRUE(IpAddress::Any(family).is_any());
    EXPECT_EQ(IpAddress::Loopback(family).family(), family);
    EXPECT_TRUE(IpAddress::Loopback(family).is_loopback());
  }
}

TEST(IpAddressTest, ParsesIpv4) {
  struct {
    const char* text;
    uint32_t value;
  } const kCases[] = {
      {"0.0.0.0", 0},
      {"1.2.3.4", 0x01020304},
      {"255.255.255.255", 0xFFFFFFFF},
      {"10.0.20.200", 0x0A0014C8},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const absl::StatusOr<IpAddress> address = IpAddress::Parse(c.text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, IpAddress::FromIpv4(c.value));
    EXPECT_EQ(address->ToString(), c.text);
  }
}

TEST(IpAddressTest, ParsesIpv6AndPrintsItAsRfc5952) {
  struct {
    const char* text;
    std::array<uint16_t, 8> groups;
    const char* canonical;
  } const kCases[] = {
      {"::", {0, 0, 0, 0, 0, 0, 0, 0}, "::"},
      {"::1", {0, 0, 0, 0, 0, 0, 0, 1}, "::1"},
      {"1::", {1, 0, 0, 0, 0, 0, 0, 0}, "1::"},
      {"0:0:0:0:0:0:0:0", {0, 0, 0, 0, 0, 0, 0, 0}, "::"},
      {"1:2:3:4:5:6:7:8", {1, 2, 3, 4, 5, 6, 7, 8}, "1:2:3:4:5:6:7:8"},
      // Lower case, no leading zeros.
      {"2001:0DB8::00aF", {0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xaf}, "2001:db8::af"},
      {"ABCD:EF01:2345:6789:abcd:ef01:2345:6789",
       {0xabcd, 0xef01, 0x2345, 0x6789, 0xabcd, 0xef01, 0x2345, 0x6789},
       "abcd:ef01:2345:6789:abcd:ef01:2345:6789"},
      // One zero group is not shortened, though it may be read so.
      {"2001:db8::1:1:1:1:1",
       {0x2001, 0xdb8, 0, 1, 1, 1, 1, 1},
       "2001:db8:0:1:1:1:1:1"},
      {"1:2:3:4:5:6:7::", {1, 2, 3, 4, 5, 6, 7, 0}, "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", {0, 2, 3, 4, 5, 6, 7, 8}, "0:2:3:4:5:6:7:8"},
      // The longest run of zeros, the first of equal ones.
      {"2001:0:0:1:0:0:0:1", {0x2001, 0, 0, 1, 0, 0, 0, 1}, "2001:0:0:1::1"},
      {"2001:db8:0:0:1:0:0:1",
       {0x2001, 0xdb8, 0, 0, 1, 0, 0, 1},
       "2001:db8::1:0:0:1"},
      {"0:0:1::", {0, 0, 1, 0, 0, 0, 0, 0}, "0:0:1::"},
      {"0:0:1:2:3:4:0:0", {0, 0, 1, 2, 3, 4, 0, 0}, "::1:2:3:4:0:0"},
      // IPv4 at the end. Only mapped addresses are printed so.
      {"::ffff:10.0.0.1", {0, 0, 0, 0, 0, 0xffff, 0xa00, 1}, "::ffff:10.0.0.1"},
      {"::ffff:a00:1", {0, 0, 0, 0, 0, 0xffff, 0xa00, 1}, "::ffff:10.0.0.1"},
      {"0:0:0:0:0:ffff:0.0.0.0",
       {0, 0, 0, 0, 0, 0xffff, 0, 0},
       "::ffff:0.0.0.0"},
      {"::1.2.3.4", {0, 0, 0, 0, 0, 0, 0x102, 0x304}, "::102:304"},
      {"64:ff9b::1.2.3.4",
       {0x64, 0xff9b, 0, 0, 0, 0, 0x102, 0x304},
       "64:ff9b::102:304"},
      {"1:2:3:4:5:6:7.8.9.10",
       {1, 2, 3, 4, 5, 6, 0x708, 0x90a},
       "1:2:3:4:5:6:708:90a"},
      {"1:2:3:4:5::7.8.9.10",
       {1, 2, 3, 4, 5, 0, 0x708, 0x90a},
       "1:2:3:4:5:0:708:90a"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const absl::StatusOr<IpAddress> address = IpAddress::Parse(c.text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, Ipv6(c.groups));
    EXPECT_EQ(address->ToString(), c.canonical);
    EXPECT_EQ(IpAddress::Parse(c.canonical).value(), *address);
  }
}

TEST(IpAddressTest, ParsesZones) {
  struct {
    const char* text;
    uint32_t scope;
    const char* canonical;
  } const kCases[] = {
      {"fe80::1%2", 2, "fe80::1%2"},
      {"fe80::1%4294967295", 4294967295, "fe80::1%4294967295"},
      {"fe80::1%0", 0, "fe80::1"},  // RFC 4007: the default zone
      {"fe80::1%eth0", 2, "fe80::1%2"},
      {"fe80::1%wlx001122334455", 77, "fe80::1%77"},
      // Any IPv6 address may have one.
      {"ff02::fb%3", 3, "ff02::fb%3"},
      {"2001:db8::1%4", 4, "2001:db8::1%4"},
      {"::ffff:10.0.0.1%5", 5, "::ffff:10.0.0.1%5"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const absl::StatusOr<IpAddress> address =
        IpAddress::Parse(c.text, InterfaceIndex);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->scope(), c.scope);
    EXPECT_EQ(address->ToString(), c.canonical);
    // The canonical text needs no names.
    EXPECT_EQ(IpAddress::Parse(c.canonical).value(), *address);
  }
}

TEST(IpAddressTest, AsksForInterfaceNamesOnlyAndOnce) {
  std::vector<std::string> asked;
  const auto record = [&asked](std::string_view name) {
    asked.emplace_back(name);
    return uint32_t{9};
  };
  EXPECT_EQ(IpAddress::Parse("fe80::1%en7", record).value().scope(), 9u);
  EXPECT_THAT(asked, testing::ElementsAre("en7"));
  asked.clear();
  EXPECT_TRUE(IpAddress::Parse("fe80::1%7", record).ok());
  EXPECT_TRUE(IpAddress::Parse("fe80::1", record).ok());
  EXPECT_FALSE(IpAddress::Parse("fe80::g%en7", record).ok());
  EXPECT_FALSE(IpAddress::Parse("127.0.0.1%en7", record).ok());
  EXPECT_FALSE(IpAddress::Parse("fe80::1%wlx0011223344556", record).ok());
  EXPECT_THAT(asked, SizeIs(0));
}

TEST(IpAddressTest, RefusesWhatIsNoAddressAndSaysWhy) {
  constexpr const char* kAddress = "expected an address such as";
  constexpr const char* kFour = "expected four numbers from 0 to 255";
  constexpr const char* kZero = "leading zero";
  constexpr const char* kAbove = "above 255";
  constexpr const char* kGroups = "more than eight groups";
  constexpr const char* kFew = "fewer than eight groups";
  constexpr const char* kGap = "only once";
  constexpr const char* kStray = "single ':'";
  constexpr const char* kHex = "not a hexadecimal number";
  constexpr const char* kFourDigits = "more than four digits";
  constexpr const char* kEnd = "an IPv4 part must be its end";
  constexpr const char* kIndexOrName = "neither an index nor the name";
  struct {
    std::string text;
    const char* reason;
  } const kCases[] = {
      {"", kAddress},
      {" ", kAddress},
      {"localhost", kAddress},
      {"example.com", kAddress},
      {"0x7f.0.0.1", kAddress},
      {"1.2.3.4 ", kAddress},
      {" 1.2.3.4", kAddress},
      {"1.2.3.4\n", kAddress},
      {"+1.2.3.4", kAddress},
      {"1.2.3.-4", kAddress},
      {"1.2.3.4/8", kAddress},
      {std::string("1.2.3.4\0", 8), kAddress},
      {"1.2.3.\xd9\xa4", kAddress},  // an Arabic digit
      {".", kFour},
      {"%1", kFour},
      {"1", kFour},
      {"2130706433", kAbove},
      {"127.1", kFour},
      {"1.2.3", kFour},
      {"1.2.3.", kFour},
      {".1.2.3", kFour},
      {"1..3.4", kFour},
      {"1.2.3.4.", kFour},
      {"1.2.3.4.5", kFour},
      {"256.1.1.1", kAbove},
      {"1.1.1.256", kAbove},
      {"1.1.1.4294967297", kAbove},
      {"1.1.1.99999999999999999999999999", kAbove},
      {"01.2.3.4", kZero},
      {"1.2.3.00", kZero},
      {"1.2.3.010", kZero},
      {"127.0.0.1%1", "only an IPv6 address has a zone"},
      {"127.0.0.1%", "only an IPv6 address has a zone"},
      {":", kStray},
      {":1", kStray},
      {":1:2:3:4:5:6:7:8", kStray},
      {"1:", kStray},
      {"1:2:3:4:5:6:7:", kStray},
      {"::1:", kStray},
      {":::", kGap},
      {"1:::2", kGap},
      {"::1::", kGap},
      {"1::2::3", kGap},
      {"::1:2::", kGap},
      {"1:2:3:4:5:6:7", kFew},
      {"1:2", kFew},
      {"1.2.3.4:5", kEnd},
      {"1:2:3:4:5:6.7.8.9", kFew},
      {"1:2:3:4:5:6:7:8:9", kGroups},
      {"1:2:3:4:5:6:7:1.2.3.4", kGroups},
      {"1:2:3:4:5:6:7:8:1.2.3.4", kGroups},
      {"1:2:3:4:5:6:7:8:", kStray},
      {"1:2:3:4:5:6:7:8::", "\"::\" must stand for at least one group"},
      {"::1:2:3:4:5:6:7:8", "\"::\" must stand for at least one group"},
      {"1:2:3:4::5:6:7:8", "\"::\" must stand for at least one group"},
      {"1:2:3:4:5:6::1.2.3.4", "\"::\" must stand for at least one group"},
      {"::12345", kFourDigits},
      {"::00001", kFourDigits},
      {"::11111111111111111111", kFourDigits},
      {"::g", kHex},
      {"::0x1", kHex},
      {"::-1", kHex},
      {" ::1", kHex},
      {"::1 ", kHex},
      {std::string("::1\0", 4), kHex},
      {"::1/64", kHex},
      {"http://1.2.3.4", kHex},
      {"::1.2.3", kFour},
      {"::1.2.3.4.5", kFour},
      {"::1.2.3.256", kAbove},
      {"::1.2.3.04", kZero},
      {"::1.2.3.4:5", kEnd},
      {"::1.2.3.4::", kEnd},
      {"::1.2.a.4", kFour},
      {"[::1]", "brackets"},
      {"[::1]:80", "brackets"},
      {"fe80::1%", "its zone is empty"},
      {"fe80::1%01", "its zone has a leading zero"},
      {"fe80::1%00", "its zone has a leading zero"},
      {"fe80::1%4294967296", "its zone is above 4294967295"},
      {"fe80::1%99999999999999999999", "its zone is above 4294967295"},
      {"fe80::1%wlx0011223344556", "its zone is longer"},
      {"fe80::1%eth1", "no network interface"},
      {"fe80::1%+2", "no network interface"},
      {"fe80::1%!~", "no network interface"},
      {"fe80::1%e h0", kIndexOrName},
      {"fe80::1%eth0/", kIndexOrName},
      {"fe80::1%eth0:", kIndexOrName},
      {"fe80::1%eth0%", kIndexOrName},
      {"fe80::1%%2", kIndexOrName},
      {"fe80::1%2 ", kIndexOrName},
      {"fe80::1%\xc3\xa9th0", kIndexOrName},
      {std::string("fe80::1%eth0\0", 13), kIndexOrName},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    const absl::StatusOr<IpAddress> address =
        IpAddress::Parse(c.text, InterfaceIndex);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(address.status()), HasSubstr(c.reason));
  }
}

TEST(IpAddressTest, WithoutAFunctionAZoneMustBeANumber) {
  EXPECT_EQ(Message(IpAddress::Parse("fe80::1%eth0").status()),
            "bad IP address \"fe80::1%eth0\": its zone must be a number here");
}

TEST(IpAddressTest, MessagesQuoteTheTextOnOneLineAndCutIt) {
  EXPECT_EQ(Message(IpAddress::Parse("a\n\"\xff").status()),
            "bad IP address \"a\\n\\\"\\xff\": expected an address such as "
            "127.0.0.1 or ::1");
  const std::string whole(100, 'a');
  EXPECT_THAT(Message(IpAddress::Parse(whole).status()),
              HasSubstr("\"" + whole + "\": "));
  EXPECT_THAT(Message(IpAddress::Parse(whole + "b").status()),
              HasSubstr("\"" + whole + "\"... (101 bytes): "));
  const std::string message =
      Message(IpAddress::Parse(std::string(100000, '\0')).status());
  EXPECT_THAT(message, HasSubstr("\\x00\"... (100000 bytes): "));
  EXPECT_LT(message.size(), 600u);
}

TEST(IpAddressTest, ReadsOnlyItsOwnPartOfALongerText) {
  const std::string_view text = "10.0.0.123::12";
  EXPECT_EQ(IpAddress::Parse(text.substr(0, 8)).value().ToString(), "10.0.0.1");
  EXPECT_EQ(IpAddress::Parse(text.substr(10, 3)).value().ToString(), "::1");
}

TEST(IpAddressTest, RandomAddressesSurvivePrintingAndParsing) {
  Random random(20240501);
  int differs = 0;
  for (int i = 0; i < 20000; ++i) {
    const IpAddress address = RandomAddress(random);
    const std::string text = address.ToString();
    SCOPED_TRACE(text);
    const absl::StatusOr<IpAddress> parsed = IpAddress::Parse(text);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    ASSERT_EQ(*parsed, address);

    const std::string number = text.substr(0, text.find('%'));
    if (SystemTextDiffers(address)) {
      EXPECT_EQ(number.find('.'), std::string::npos);
      ++differs;
    } else {
      ASSERT_EQ(number, SystemText(address));
    }
    const std::optional<IpAddress> system = SystemParse(number);
    ASSERT_TRUE(system.has_value());
    EXPECT_EQ(system->ipv6(), address.ipv6());
    EXPECT_EQ(system->family(), address.family());
  }
  EXPECT_GT(differs, 0);
}

// Texts one or two edits away from an address.
TEST(IpAddressTest, AcceptsOfMutatedTextsWhatTheSystemAccepts) {
  constexpr std::string_view kBytes =
      "0123456789abcdefABCDEFg.::::%[] x/\n\0"sv;
  Random random(7);
  int accepted = 0;
  for (int i = 0; i < 100000; ++i) {
    std::string text = RandomAddress(random).ToString();
    text.resize(std::min(text.find('%'), text.size()));
    for (size_t edits = 1 + random.Below(2); edits > 0; --edits) {
      const char byte = kBytes[random.Below(kBytes.size())];
      const size_t place = random.Below(text.size() + 1);
      switch (random.Below(3)) {
        case 0:
          text.insert(place, 1, byte);
          break;
        case 1:
          text.erase(place, 1);
          break;
        default:
          text.replace(place, 1, 1, byte);
      }
    }
    SCOPED_TRACE(testing::PrintToString(text));
    const absl::StatusOr<IpAddress> ours = IpAddress::Parse(text);
    // A '%' among the edits makes a zone, which inet_pton does not know.
    const bool zone = text.find('%') != std::string::npos;
    const std::optional<IpAddress> system =
        SystemParse(text.substr(0, text.find('%')));
    if (ours.ok()) {
      ++accepted;
      ASSERT_TRUE(system.has_value());
      ASSERT_EQ(ours->ipv6(), system->ipv6());
      ASSERT_EQ(ours->family(), system->family());
    }
#ifdef __GLIBC__
    // Others take more, such as leading zeros.
    if (!ours.ok() && !zone) {
      ASSERT_FALSE(system.has_value());
    }
#endif
  }
  EXPECT_GT(accepted, 10000);
}

TEST(SocketAddressTest, DefaultIsAnyIpv4AndPort0) {
  EXPECT_EQ(SocketAddress().ToString(), "0.0.0.0:0");
  EXPECT_EQ(SocketAddress(), SocketAddress(IpAddress(), 0));
}

TEST(SocketAddressTest, ParsesAndPrints) {
  struct {
    const char* text;
    const char* ip;
    uint16_t port;
  } const kCases[] = {
      {"127.0.0.1:80", "127.0.0.1", 80},
      {"0.0.0.0:0", "0.0.0.0", 0},
      {"255.255.255.255:65535", "255.255.255.255", 65535},
      {"[::1]:80", "::1", 80},
      {"[::]:0", "::", 0},
      {"[fe80::1%2]:65535", "fe80::1%2", 65535},
      {"[::ffff:10.0.0.1]:443", "::ffff:10.0.0.1", 443},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.text);
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(c.text);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->ip(), IpAddress::Parse(c.ip).value());
    EXPECT_EQ(address->family(), address->ip().family());
    EXPECT_EQ(address->port(), c.port);
    EXPECT_EQ(address->ToString(), c.text);
    EXPECT_EQ(*address, SocketAddress(address->ip(), c.port));
  }
}

TEST(SocketAddressTest, RefusesWhatIsNoSocketAddressAndSaysWhy) {
  constexpr const char* kExpected = "expected an address and a port";
  constexpr const char* kBrackets = "is written in brackets";
  constexpr const char* kNumber = "the port is not a decimal number";
  struct {
    std::string text;
    const char* reason;
  } const kCases[] = {
      {"", kExpected},
      {"127.0.0.1", kExpected},
      {"localhost", kExpected},
      {"[::1]", kExpected},
      {"[::1", kExpected},
      {"[", kExpected},
      {"[:", kExpected},
      {"[]", kExpected},
      {"[::1]80", kExpected},
      {"[::1] :80", kExpected},
      {"::1", kBrackets},
      {"::1:80", kBrackets},
      {"1:2:3:4:5:6:7:8:80", kBrackets},
      {"::1]:80", kBrackets},
      {"[]:80", "expected an address such as"},
      {":80", "expected an address such as"},
      {"localhost:80", "expected an address such as"},
      {" 127.0.0.1:80", "expected an address such as"},
      {"[127.0.0.1]:80", "brackets are for IPv6 addresses only"},
      {"[[::1]]:80", "brackets"},
      {"[::1%lo]:80", "its zone must be a number here"},
      {"127.0.0.1:", "the port is empty"},
      {"[::1]:", "the port is empty"},
      {"127.0.0.1:http", kNumber},
      {"127.0.0.1:+80", kNumber},
      {"127.0.0.1:-1", kNumber},
      {"127.0.0.1: 80", kNumber},
      {"127.0.0.1:80 ", kNumber},
      {"127.0.0.1:0x50", kNumber},
      {std::string("127.0.0.1:80\0", 13), kNumber},
      {"127.0.0.1:080", "the port has a leading zero"},
      {"127.0.0.1:00", "the port has a leading zero"},
      {"127.0.0.1:65536", "the port is above 65535"},
      {"127.0.0.1:18446744073709551696", "the port is above 65535"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    const absl::StatusOr<SocketAddress> address = SocketAddress::Parse(c.text);
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(address.status()), HasSubstr("bad socket address \""));
    EXPECT_THAT(Message(address.status()), HasSubstr(c.reason));
  }
}

TEST(SocketAddressTest, RandomAddressesSurvivePrintingAndParsing) {
  Random random(99);
  for (int i = 0; i < 5000; ++i) {
    const SocketAddress address(RandomAddress(random),
                                static_cast<uint16_t>(random.Next()));
    const absl::StatusOr<SocketAddress> parsed =
        SocketAddress::Parse(address.ToString());
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    ASSERT_EQ(*parsed, address) << address.ToString();
  }
}

}  // namespace
}  // namespace aios
