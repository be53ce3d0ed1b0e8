#include "aios/name_tables.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Ips(const HostsTable& table, std::string_view name,
                             Family family) {
  std::vector<std::string> ips;
  const HostsTable::Addresses* found = table.Find(name);
  if (found == nullptr) return {"none"};
  for (const IpAddress& ip : (*found)[static_cast<size_t>(family)]) {
    ips.push_back(ip.ToString());
  }
  return ips;
}

TEST(HostsTableTest, HasTheNamesOfEachAddress) {
  HostsTable table(
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
  HostsTable table(
      std::string_view("192.0.2 short\n"
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
  EXPECT_EQ(Ips(HostsTable(text), "many", Family::kIpv4).size(), 32u);
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
      "good 8/tcp");
  for (std::string name : {"noport", "noslash", "large", "minus", "123"}) {
    EXPECT_EQ(table.Find(name, std::nullopt), std::nullopt) << name;
  }
  EXPECT_EQ(table.Find("good", std::nullopt), 8);
}

ResolvConf Parse(std::string_view text) {
  return ResolvConf(text, [](std::string_view name) {
    return name == "eth0" ? uint32_t{3} : uint32_t{0};
  });
}

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
                                         "[2001:db8::1]:53"));
  EXPECT_THAT(conf.search_domains, ElementsAre("a.example", "b.example"));
  EXPECT_EQ(conf.ndots, 2);
  EXPECT_EQ(conf.timeout, absl::Seconds(3));
  EXPECT_EQ(conf.tries, 4);
}

TEST(ResolvConfTest, TheLastOfSearchAndDomainCounts) {
  EXPECT_THAT(Parse("search a b\ndomain c d\n").search_domains,
              ElementsAre("c"));
}

TEST(ResolvConfTest, CutsOrPassesOverOddOptions) {
  ResolvConf conf = Parse(
      "options ndots:99 timeout:0 attempts:0 ndots: ndots:x timeout:-1 "
      "attempts:1x\noptions timeout:99999999999\n");
  EXPECT_EQ(conf.ndots, 15);
  EXPECT_EQ(conf.timeout, absl::Seconds(30));
  EXPECT_EQ(conf.tries, 1);
  EXPECT_EQ(Parse(""), ResolvConf());
  EXPECT_EQ(Parse("options"), ResolvConf());
  EXPECT_EQ(Parse("nameserver"), ResolvConf());
}

}  // namespace
}  // namespace aios
