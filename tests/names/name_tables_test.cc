#include "aios/name_tables.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "aios/name_hash.h"
#include "aios/resolver_options.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A table whose index is made `bytes_max` bytes at a time.
HostsTable Hosts(std::string_view text, size_t bytes_max = 1'000'000) {
  HostsTable table((std::string(text)));
  while (!table.Build(bytes_max)) {
  }
  return table;
}

// The only interface is eth0.
uint32_t IndexOf(std::string_view name) { return name == "eth0" ? 3 : 0; }

std::vector<std::string> Ips(const HostsTable& table, std::string_view name,
                             Family family) {
  HostsTable::Addresses found;
  if (!table.Find(name, IndexOf, &found)) return {"none"};
  std::vector<std::string> ips;
  for (const IpAddress& ip : found[static_cast<size_t>(family)]) {
    ips.push_back(ip.ToString());
  }
  return ips;
}

TEST(HostsTableTest, HasTheNamesOfEachAddress) {
  HostsTable table = Hosts(
      "# comment\n"
      "127.0.0.1\tlocalhost\n"
      "\n"
      "  192.0.2.1  One.Example one   # and a comment\r\n"
      "2001:db8::1 one.example\n"
      "192.0.2.2 one.example.\n"
      "192.0.2.1 one.example\n"
      "fe80::1%7 local");
  EXPECT_THAT(Ips(table, "one.example", Family::kIpv4),
              ElementsAre("192.0.2.1", "192.0.2.2"));
  EXPECT_THAT(Ips(table, "one.example", Family::kIpv6),
              ElementsAre("2001:db8::1"));
  EXPECT_THAT(Ips(table, "one", Family::kIpv4), ElementsAre("192.0.2.1"));
  EXPECT_THAT(Ips(table, "one", Family::kIpv6), IsEmpty());
  EXPECT_THAT(Ips(table, "local", Family::kIpv6), ElementsAre("fe80::1%7"));
  EXPECT_THAT(Ips(table, "two", Family::kIpv4), ElementsAre("none"));
}

TEST(HostsTableTest, PassesOverWhatIsMalformed) {
  HostsTable table =
      Hosts(std::string_view("192.0.2 short\n"
                             "name first\n"
                             "192.0.2.1\n"
                             "192.0.2.2 bad..name 1.2.3 -\xff a\0b good\n"
                             "192.0.2.3 fine",
                             75));
  EXPECT_THAT(Ips(table, "short", Family::kIpv4), ElementsAre("none"));
  EXPECT_THAT(Ips(table, "first", Family::kIpv4), ElementsAre("none"));
  EXPECT_THAT(Ips(table, "1.2.3", Family::kIpv4), ElementsAre("none"));
  EXPECT_THAT(Ips(table, "good", Family::kIpv4), ElementsAre("192.0.2.2"));
}

TEST(HostsTableTest, OneNameHasABoundedNumberOfAddresses) {
  std::string text;
  for (int i = 0; i != 200; ++i) {
    text += "192.0.2." + std::to_string(i) + " many\n";
  }
  EXPECT_EQ(Ips(Hosts(text), "many", Family::kIpv4).size(), 32u);
}

TEST(HostsTableTest, ZonesAreIndexesOrNamesOfInterfaces) {
  HostsTable table = Hosts(
      "fe80::1%7 index\n"
      "fe80::1%eth0 name\n"
      "fe80::1 several\nfe80::1%7 several\nfe80::1%eth0 several\n"
      "fe80::1%3 several\n"
      "fe80::1%eth9 gone\n"
      "192.0.2.1%eth0 wrong\nfe80::1% wrong\nfe80::1%a/b wrong\n");
  EXPECT_THAT(Ips(table, "index", Family::kIpv6), ElementsAre("fe80::1%7"));
  EXPECT_THAT(Ips(table, "name", Family::kIpv6), ElementsAre("fe80::1%3"));
  EXPECT_THAT(Ips(table, "several", Family::kIpv6),
              ElementsAre("fe80::1", "fe80::1%7", "fe80::1%3"));
  // It is in the file, wherever the interface is.
  EXPECT_THAT(Ips(table, "gone", Family::kIpv6), IsEmpty());
  EXPECT_THAT(Ips(table, "wrong", Family::kIpv6), ElementsAre("none"));
  // An interface may come later.
  HostsTable::Addresses found;
  ASSERT_TRUE(table.Find(
      "gone", [](std::string_view) { return uint32_t{9}; }, &found));
  ASSERT_EQ(found[1].size(), 1u);
  EXPECT_EQ(found[1][0].ToString(), "fe80::1%9");
}

TEST(HostsTableTest, IsTheSameInWhateverSteps) {
  constexpr std::string_view kText =
      "# comment with 192.0.2.9 one\n"
      "\t 192.0.2.1  One.Example one # two\n"
      "192.0.2.2 one#two\n"
      "192.0.2.3\n"
      "192.0.2.4 one.example.\r\n"
      "192.0.2.5 two\nbad two";
  for (size_t step = 1; step <= kText.size(); ++step) {
    SCOPED_TRACE(step);
    HostsTable table = Hosts(kText, step);
    EXPECT_THAT(Ips(table, "one.example", Family::kIpv4),
                ElementsAre("192.0.2.1", "192.0.2.4"));
    EXPECT_THAT(Ips(table, "one", Family::kIpv4),
                ElementsAre("192.0.2.1", "192.0.2.2"));
    EXPECT_THAT(Ips(table, "two", Family::kIpv4), ElementsAre("192.0.2.5"));
    EXPECT_THAT(Ips(table, "192.0.2.3", Family::kIpv4), ElementsAre("none"));
  }
}

TEST(HostsTableTest, AStepIsBoundedWhateverIsInTheFile) {
  // One word, one name, blanks and a comment, as long as the file.
  for (const std::string& text :
       {"192.0.2.1" + std::string(100'000, 'x'),
        "192.0.2.1 " + std::string(100'000, 'x'),
        std::string(100'000, ' ') + "192.0.2.1 a", std::string(100'000, '#')}) {
    HostsTable table(text);
    int steps = 1;
    while (!table.Build(1'000)) ++steps;
    EXPECT_GE(steps, 100);
    EXPECT_LE(steps, 205);
  }
}

TEST(HostsTableTest, ManyNamesAndManyLinesOfOneName) {
  std::string text;
  for (int i = 0; i != 20'000; ++i) {
    absl::StrAppend(&text, "10.0.", i / 256, ".", i % 256, " name", i, " NAME",
                    i, ".example all\n");
  }
  HostsTable table = Hosts(text, 4'096);
  for (int i = 0; i != 20'000; ++i) {
    std::string ip = absl::StrCat("10.0.", i / 256, ".", i % 256);
    ASSERT_THAT(Ips(table, absl::StrCat("name", i), Family::kIpv4),
                ElementsAre(ip));
    ASSERT_THAT(Ips(table, absl::StrCat("name", i, ".example"), Family::kIpv4),
                ElementsAre(ip));
  }
  EXPECT_THAT(Ips(table, "name20000", Family::kIpv4), ElementsAre("none"));
  EXPECT_EQ(Ips(table, "all", Family::kIpv4).size(), 32u);
  EXPECT_EQ(Ips(table, "all", Family::kIpv4).back(), "10.0.0.31");
}

TEST(HostsTableTest, NamesThatAreChosenForOnePlaceAreFound) {
  // 400 names, all in one place of the table for so many.
  std::string text;
  std::vector<std::string> names;
  for (int i = 0; names.size() != 400; ++i) {
    std::string name = absl::StrCat("n", i);
    if (NameHash(name, 0) % 1024 != 0) continue;
    absl::StrAppend(&text, "192.0.2.1 ", name, "\n");
    names.push_back(name);
  }
  HostsTable table(text);
  int passes = 1;
  while (!table.Build(text.size())) ++passes;
  EXPECT_EQ(passes, 5) << "it was begun again with another hash";
  for (const std::string& name : names) {
    ASSERT_THAT(Ips(table, name, Family::kIpv4), ElementsAre("192.0.2.1"));
  }
}

TEST(ServicesTableTest, HasThePortsOfEachName) {
  ServicesTable table(
      "# comment\n"
      "domain 53/tcp\n"
      "domain\t53/udp nameserver # alias\n"
      "only 7/udp\n"
      "split 1/tcp\n"
      "split 2/udp\n"
      "split 3/tcp\n"
      "other 9/sctp\n");
  EXPECT_EQ(table.Find("domain", SocketType::kStream), 53);
  EXPECT_EQ(table.Find("nameserver", SocketType::kDatagram), 53);
  EXPECT_EQ(table.Find("nameserver", SocketType::kStream), std::nullopt);
  EXPECT_EQ(table.Find("only", SocketType::kStream), std::nullopt);
  EXPECT_EQ(table.Find("only", std::nullopt), 7);
  EXPECT_EQ(table.Find("split", SocketType::kStream), 1) << "the first line";
  EXPECT_EQ(table.Find("split", SocketType::kDatagram), 2);
  EXPECT_EQ(table.Find("other", std::nullopt), 9);
  EXPECT_EQ(table.Find("other", SocketType::kStream), std::nullopt);
  EXPECT_EQ(table.Find("Domain", SocketType::kStream), std::nullopt);
  EXPECT_EQ(table.Find("none", std::nullopt), std::nullopt);
}

TEST(ServicesTableTest, PassesOverWhatIsMalformed) {
  ServicesTable table(
      "noport\n"
      "noslash 7\n"
      "large 65536/tcp\n"
      "minus -1/tcp\n"
      "123 7/tcp\n"
      "empty /tcp\n"
      "trailing 7x/tcp\n"
      "good 8/tcp\n"
      "zeros 00080/tcp\n"
      "zero 0/tcp");
  for (std::string name :
       {"noport", "noslash", "large", "minus", "123", "empty", "trailing"}) {
    EXPECT_EQ(table.Find(name, std::nullopt), std::nullopt) << name;
  }
  EXPECT_EQ(table.Find("good", std::nullopt), 8);
  EXPECT_EQ(table.Find("zeros", std::nullopt), 80);
  EXPECT_EQ(table.Find("zero", std::nullopt), 0);
}

ResolvConf Parse(std::string_view text) { return ResolvConf(text, IndexOf); }

std::vector<std::string> Servers(const ResolvConf& conf) {
  std::vector<std::string> servers;
  for (const SocketAddress& server : conf.servers) {
    servers.push_back(server.ToString());
  }
  return servers;
}

TEST(ResolvConfTest, HasServersDomainsAndOptions) {
  ResolvConf conf = Parse(
      "# comment\n"
      "; comment\n"
      "domain first.example\n"
      "nameserver 192.0.2.1\n"
      "nameserver\tfe80::1%eth0\n"
      "nameserver fe80::1%eth9\n"
      "nameserver name.example\n"
      "nameserver 0.0.0.0\n"
      "nameserver 2001:db8::1\n"
      "nameserver 192.0.2.4\n"
      "search a.example b.example. bad..example\n"
      "options ndots:2 timeout:3 attempts:4 rotate edns0\n");
  EXPECT_THAT(Servers(conf), ElementsAre("192.0.2.1:53", "[fe80::1%3]:53",
                                         "[2001:db8::1]:53", "192.0.2.4:53"));
  EXPECT_THAT(conf.search_domains, ElementsAre("a.example", "b.example"));
  EXPECT_EQ(conf.ndots, 2);
  EXPECT_EQ(conf.timeout, absl::Seconds(3));
  EXPECT_EQ(conf.tries, 4);
}

TEST(ResolvConfTest, TheLastOfSearchAndDomainCounts) {
  EXPECT_THAT(Parse("search a b\ndomain c d\n").search_domains,
              ElementsAre("c"));
}

TEST(ResolvConfTest, HasAsManyAsTheOptionsMayHave) {
  std::string servers;
  std::string domains = "search";
  for (size_t i = 0; i != 100; ++i) {
    absl::StrAppend(&servers, "nameserver 192.0.2.", i, "\n");
    absl::StrAppend(&domains, " d", i, ".example");
  }
  ResolvConf conf = Parse(servers + domains);
  ASSERT_EQ(conf.servers.size(), kNameServersMax);
  EXPECT_EQ(conf.servers.back().ToString(), "192.0.2.15:53");
  ASSERT_EQ(conf.search_domains.size(), kSearchDomainsMax);
  EXPECT_EQ(conf.search_domains.back(), "d63.example");
  ResolverOptions options;
  options.servers = conf.servers;
  options.search_domains = conf.search_domains;
  EXPECT_TRUE(CheckOptions(options).ok());
  options.search_domains->push_back("d64.example");
  EXPECT_FALSE(CheckOptions(options).ok());
}

TEST(ResolvConfTest, LeadingZerosMeanNothing) {
  ResolvConf conf = Parse("options ndots:01 timeout:010 attempts:0002\n");
  EXPECT_EQ(conf.ndots, 1);
  EXPECT_EQ(conf.timeout, absl::Seconds(10));
  EXPECT_EQ(conf.tries, 2);
  conf =
      Parse("options ndots:00 timeout:0099 attempts:000000000000000000009\n");
  EXPECT_EQ(conf.ndots, 0);
  EXPECT_EQ(conf.timeout, absl::Seconds(30));
  EXPECT_EQ(conf.tries, 5);
}

TEST(ResolvConfTest, CutsOrPassesOverOddOptions) {
  ResolvConf conf = Parse(
      "options ndots:99 timeout:0 attempts:0 ndots: ndots:x timeout:-1 "
      "attempts:1x\noptions timeout:99999999999\n");
  EXPECT_EQ(conf.ndots, 15);
  EXPECT_EQ(conf.timeout, absl::Seconds(30));
  EXPECT_EQ(conf.tries, 1);
  for (std::string odd : {"ndots:", "ndots:+2", "ndots:-2", "ndots:2x",
                          "ndots:0x2", "ndots: 2", "ndots:2.5", "ndots2",
                          "timeout:-1", "attempts:99999999999999999999x"}) {
    EXPECT_EQ(Parse("options " + odd), ResolvConf()) << odd;
  }
  EXPECT_EQ(Parse(""), ResolvConf());
  EXPECT_EQ(Parse("options"), ResolvConf());
  EXPECT_EQ(Parse("nameserver"), ResolvConf());
}

}  // namespace
}  // namespace aios
