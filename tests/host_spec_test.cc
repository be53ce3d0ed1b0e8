#include "aios/host_spec.h"

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/address.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

uint32_t InterfaceIndex(std::string_view name) {
  return name == "eth0" ? 2 : 0;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// A name of `size` bytes in labels of up to 63.
std::string NameOfSize(size_t size) {
  std::string name(size, 'a');
  for (size_t i = 63; i + 1 < size; i += 64) name[i] = '.';
  return name;
}

TEST(HostSpecTest, IsMadeFromEveryKindOfTextAndFromAddresses) {
  const auto text = [](const HostSpec& host) {
    EXPECT_FALSE(host.is_address());
    return std::string(host.text());
  };
  const char* pointer = "a";
  EXPECT_EQ(text(pointer), "a");
  EXPECT_EQ(text("b"), "b");
  EXPECT_EQ(text(std::string("c")), "c");
  EXPECT_EQ(text(std::string_view("def").substr(0, 1)), "d");
  EXPECT_EQ(text(static_cast<const char*>(nullptr)), "");

  const HostSpec address = IpAddress::Loopback(Family::kIpv6);
  EXPECT_TRUE(address.is_address());
  EXPECT_EQ(address.address(), IpAddress::Loopback(Family::kIpv6));
  EXPECT_EQ(address.text(), "");

  static_assert(!std::is_constructible_v<HostSpec, int>);
  static_assert(std::is_trivially_copyable_v<HostSpec>);
  static_assert(std::is_trivially_copyable_v<Service>);
}

TEST(HostSpecTest, ShowsItselfInMessages) {
  EXPECT_EQ(HostSpec("a\nb").ToString(), "\"a\\nb\"");
  EXPECT_EQ(HostSpec(IpAddress::Loopback(Family::kIpv4)).ToString(),
            "127.0.0.1");
  EXPECT_EQ(Service("http").ToString(), "\"http\"");
  EXPECT_EQ(Service("80").ToString(), "\"80\"");
  EXPECT_EQ(Service(80).ToString(), "80");
}

TEST(ServiceTest, IsMadeFromIntegersOfEveryWidthWithoutWrappingAround) {
  const auto port = [](const Service& service) {
    EXPECT_TRUE(service.is_port());
    return service.port();
  };
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(port(0), 0);
  EXPECT_EQ(port(80), 80);
  EXPECT_EQ(port(80u), 80);
  EXPECT_EQ(port(uint16_t{65535}), 65535);
  EXPECT_EQ(port(-1), -1);
  EXPECT_EQ(port((int64_t{1} << 32) + 80), (int64_t{1} << 32) + 80);
  EXPECT_EQ(port(kMin), kMin);
  EXPECT_EQ(port(std::numeric_limits<uint64_t>::max()), kMax);
  EXPECT_EQ(port(uint64_t{1} << 63), kMax);
  static_assert(!std::is_constructible_v<Service, char>);
}

TEST(ServiceTest, IsMadeFromEveryKindOfText) {
  const auto text = [](const Service& service) {
    EXPECT_FALSE(service.is_port());
    return std::string(service.text());
  };
  EXPECT_EQ(text("80"), "80");
  EXPECT_EQ(text(std::string("http")), "http");
  EXPECT_EQ(text(std::string_view("443").substr(0, 2)), "44");
  EXPECT_EQ(text(static_cast<const char*>(nullptr)), "");
}

TEST(HostSpecTest, LiteralAddressesNeedNoLookup) {
  for (const char* text :
       {"127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::1",
        "::ffff:10.0.0.1", "fe80::1%3", "fe80::1%eth0"}) {
    SCOPED_TRACE(text);
    EXPECT_EQ(KindOf(HostSpec(text)), SpecKind::kLiteral);
    const absl::StatusOr<IpAddress> address =
        LiteralIpAddress(text, InterfaceIndex);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(*address, IpAddress::Parse(text, InterfaceIndex).value());
    // As a value it is the same.
    EXPECT_EQ(KindOf(HostSpec(*address)), SpecKind::kLiteral);
    EXPECT_EQ(LiteralIpAddress(*address, InterfaceIndex).value(), *address);
  }
}

TEST(HostSpecTest, AnUnknownInterfaceIsAnErrorOfALiteral) {
  EXPECT_EQ(KindOf(HostSpec("fe80::1%eth9")), SpecKind::kLiteral);
  const absl::Status status =
      LiteralIpAddress("fe80::1%eth9", InterfaceIndex).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(status), AllOf(HasSubstr("\"fe80::1%eth9\""),
                                     HasSubstr("no network interface")));
}

TEST(HostSpecTest, NamesCannotBeResolvedYet) {
  const std::string kNames[] = {"localhost",
                                "example.com",
                                "example.com.",
                                "a",
                                "A-b.C_d",
                                "_service._udp.example.com",
                                "abcdefghijklmnopqrstuvwxyz0123456789-_",
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ.",
                                "xn--bcher-kva",
                                "-a-",
                                "1.2.3.4.example",
                                "3com",
                                "0xg",
                                "1e3",
                                "1.2.3.a4",
                                "0xa.b",
                                std::string(63, 'a'),
                                NameOfSize(253),
                                NameOfSize(253) + "."};
  for (const std::string& name : kNames) {
    SCOPED_TRACE(name);
    EXPECT_EQ(KindOf(HostSpec(name)), SpecKind::kName);
    const absl::Status status = LiteralIpAddress(name, InterfaceIndex).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(Message(status),
                AllOf(StartsWith("host name " + HostSpec(name).ToString()),
                      HasSubstr("has to be looked up: a literal IP")));
  }
  EXPECT_EQ(
      Message(LiteralIpAddress("example.com", InterfaceIndex).status()),
      "host name \"example.com\" has to be looked up: a literal IP address is "
      "wanted");
}

TEST(HostSpecTest, RefusesMalformedHostsAndSaysWhy) {
  constexpr const char* kLooks = "looks like an IP address but is not one";
  constexpr const char* kEmptyLabel = "has an empty label";
  constexpr const char* kWhite = "white space or a control character";
  constexpr const char* kCharacter = "a character that no host name has";
  constexpr const char* kPort = "a port is given as the service";
  struct {
    std::string text;
    const char* reason;
  } const kCases[] = {
      {"", "host \"\" is empty"},
      {".", kEmptyLabel},
      {"..", kEmptyLabel},
      {".com", kEmptyLabel},
      {"a..b", kEmptyLabel},
      {"a.b..", kEmptyLabel},
      {std::string(64, 'a'), "a label of more than 63 bytes"},
      {"a." + std::string(64, 'a') + ".b", "a label of more than 63 bytes"},
      {NameOfSize(254), "longer than 253 bytes"},
      {NameOfSize(254) + ".", "longer than 253 bytes"},
      {std::string(100000, 'a'), "longer than 253 bytes"},
      {std::string("example.com\0", 12), "a NUL byte"},
      {std::string("\0", 1), "a NUL byte"},
      {std::string("127.0.0.1\0", 10), "a NUL byte"},
      {" ", kWhite},
      {"example .com", kWhite},
      {" example.com", kWhite},
      {"example.com\n", kWhite},
      {"example.com\r\n", kWhite},
      {"exam\tple", kWhite},
      {"127.0.0.1 ", kWhite},
      {" 127.0.0.1", kWhite},
      {"\x7f", kWhite},
      {"b\xc3\xbc"
       "cher.example",
       "not ASCII"},
      {"example\xff", "not ASCII"},
      {"exa$mple", kCharacter},
      {"user@example.com", kCharacter},
      {"example.com/", kCharacter},
      {"1.2.3.4/8", kCharacter},
      {"*.example.com", kCharacter},
      {"127.0.0.1%1", kCharacter},
      {"example.com:80", kPort},
      {"127.0.0.1:80", kPort},
      {"localhost:", kPort},
      {"http://example.com", kPort},
      // The forms of inet_aton, and what else ends in a number.
      {"1", kLooks},
      {"0", kLooks},
      {"2130706433", kLooks},
      {"0x7f000001", kLooks},
      {"127.1", kLooks},
      {"1.2.3", kLooks},
      {"1.2.3.", kLooks},
      {"127.0.0.1.", kLooks},
      {"1.2.3.4.5", kLooks},
      {"256.1.1.1", kLooks},
      {"1.1.1.256", kLooks},
      {"01.2.3.4", kLooks},
      {"0177.0.0.1", kLooks},
      {"0x7f.1", kLooks},
      {"0x7f.0.0.1", kLooks},
      {"127.0.0.0x1", kLooks},
      {"127.0.0.0X1f", kLooks},
      {"127.0.0.0x", kLooks},
      {"0x0123456789abcdefABCDEF", kLooks},
      {"0x", kLooks},
      {"example.1", kLooks},
      {"example.0x1", kLooks},
      {"-1.-1.-1.1", kLooks},
      // Meant as IPv6.
      {"1:2", kPort},
      {"1:2:3", "fewer than eight groups"},
      {":::", "bad IP address \":::\": "},
      {"::g", "not a hexadecimal number"},
      {"[::1]", "brackets"},
      {"[::1]:80", "brackets"},
      {"::1%", "its zone is empty"},
      {"::1%4294967296", "its zone is above"},
      {"::1%abcdefghijklmnop", "its zone is longer"},
      {"::ffff:1.2.3", "expected four numbers"},
      {std::string("::1\0", 4), "not a hexadecimal number"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    EXPECT_EQ(KindOf(HostSpec(c.text)), SpecKind::kMalformed);
    const absl::Status status =
        LiteralIpAddress(c.text, InterfaceIndex).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(status), AllOf(HasSubstr(c.reason),
                                       HasSubstr(HostSpec(c.text).ToString())));
  }
}

TEST(ServiceTest, PortsNeedNoLookup) {
  for (const int port : {0, 1, 80, 65535}) {
    SCOPED_TRACE(port);
    EXPECT_EQ(KindOf(Service(port)), SpecKind::kLiteral);
    EXPECT_EQ(LiteralPort(port).value(), port);
    EXPECT_EQ(KindOf(Service(std::to_string(port))), SpecKind::kLiteral);
    EXPECT_EQ(LiteralPort(std::to_string(port)).value(), port);
  }
}

TEST(ServiceTest, NamesAreNoPorts) {
  const std::string kNames[] = {
      "http", "domain-s", "z3950", "3com-tsmux",  "whois++",
      "a",    "80x",      "0x50",  "azAZ09+-._*", std::string(63, 'a')};
  for (const std::string& name : kNames) {
    SCOPED_TRACE(name);
    EXPECT_EQ(KindOf(Service(name)), SpecKind::kName);
    const absl::Status status = LiteralPort(name).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_EQ(Message(status), "service name \"" + name +
                                   "\" has to be looked up: a port number is "
                                   "wanted");
  }
}

TEST(ServiceTest, RefusesMalformedServicesAndSaysWhy) {
  constexpr const char* kNeither =
      "is neither a port number nor a service name";
  constexpr const char* kCharacter = "a character that no service name has";
  struct {
    std::string text;
    const char* reason;
  } const kCases[] = {
      {"", "service \"\" is empty"},
      {"65536", "port \"65536\" is above 65535"},
      {"4294967376", "is above 65535"},
      {"18446744073709551696", "is above 65535"},
      {std::string(100000, '9'), "is above 65535"},
      {"080", "port \"080\" has a leading zero"},
      {"00", "has a leading zero"},
      {std::string(100000, '0'), "has a leading zero"},
      {"-1", kNeither},
      {"-80", kNeither},
      {"+80", kNeither},
      {"8.0", kNeither},
      {"-", kNeither},
      {"80,", kCharacter},
      {" 80", kCharacter},
      {"80 ", kCharacter},
      {"80\n", kCharacter},
      {std::string("80\0", 3), kCharacter},
      {std::string("http\0", 5), kCharacter},
      {" ", kCharacter},
      {"80/tcp", kCharacter},
      {"http:", kCharacter},
      {"\xd9\xa8", kCharacter},
      {std::string(64, 'a'), "longer than 63 bytes"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(testing::PrintToString(c.text));
    EXPECT_EQ(KindOf(Service(c.text)), SpecKind::kMalformed);
    const absl::Status status = LiteralPort(c.text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(Message(status), AllOf(HasSubstr(c.reason),
                                       HasSubstr(Service(c.text).ToString())));
  }
}

TEST(ServiceTest, RefusesIntegersThatAreNoPort) {
  struct {
    Service service;
    const char* message;
  } const kCases[] = {
      {-1, "port -1 is below 0"},
      {std::numeric_limits<int>::min(), "port -2147483648 is below 0"},
      {65536, "port 65536 is above 65535"},
      {(int64_t{1} << 32) + 80, "port 4294967376 is above 65535"},
      {std::numeric_limits<uint64_t>::max(),
       "port 9223372036854775807 is above 65535"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.message);
    EXPECT_EQ(KindOf(c.service), SpecKind::kMalformed);
    const absl::Status status = LiteralPort(c.service).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Message(status), c.message);
  }
}

TEST(LiteralSocketAddressTest, TakesHostAndServiceInEveryForm) {
  const SocketAddress expected =
      SocketAddress::Parse("[fe80::1%2]:8080").value();
  const std::string host = "fe80::1%eth0";
  const std::string service = "8080";
  const auto resolve = [](const HostSpec& h, const Service& s) {
    return LiteralSocketAddress(h, s, InterfaceIndex).value();
  };
  EXPECT_EQ(resolve("fe80::1%2", 8080), expected);
  EXPECT_EQ(resolve(host, service), expected);
  EXPECT_EQ(resolve(host.c_str(), "8080"), expected);
  EXPECT_EQ(resolve(expected.ip(), expected.port()), expected);
}

TEST(LiteralSocketAddressTest, TellsTheErrorOfTheHostFirst) {
  const auto message = [](const HostSpec& h, const Service& s) {
    return Message(LiteralSocketAddress(h, s, InterfaceIndex).status());
  };
  EXPECT_EQ(message("", ""), "host \"\" is empty");
  EXPECT_EQ(message("::1", ""), "service \"\" is empty");
  EXPECT_EQ(message("::1", 65536), "port 65536 is above 65535");
  EXPECT_THAT(message("localhost", "http"), StartsWith("host name"));
  EXPECT_THAT(message("127.0.0.1", "http"), StartsWith("service name"));
}

}  // namespace
}  // namespace aios
