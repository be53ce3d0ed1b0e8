// Name servers and names in scenarios: what is written is meant, what is wrong
// is told with its place, and what is asked is counted.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/name_server.h"
#include "sim/scenario.h"
#include "sim/scenario_runner.h"

namespace aios::sim {

namespace {

constexpr char kHead[] = "title: x\nhosts: [client, server, dns]\n";
constexpr char kTail[] =
    "states:\n"
    "  alice: {host: client, udp: 7000}\n"
    "  bob: {host: server, udp: 9000}\n"
    "steps:\n"
    "  - {at: 0s, state: alice, send_message_to: abc, to: \"www.test:9000\"}\n"
    "  - {at: 0s, state: bob, receive_message: 100}\n";
constexpr char kServer[] =
    "name_servers:\n"
    "  dns: {names: {www.test: server}}\n";

absl::StatusOr<Scenario> Parse(const std::string& names) {
  return ParseScenario("f", absl::StrCat(kHead, names, kTail));
}

std::string ErrorOf(const std::string& names) {
  absl::StatusOr<Scenario> scenario = Parse(names);
  return scenario.ok() ? "none" : std::string(scenario.status().message());
}

std::string FailuresOf(const std::string& names) {
  absl::StatusOr<Scenario> scenario = Parse(names);
  EXPECT_TRUE(scenario.ok()) << scenario.status();
  std::string text;
  if (!scenario.ok()) return text;
  for (const std::string& failure : RunScenario(*scenario).failures) {
    absl::StrAppend(&text, failure, "\n");
  }
  return text;
}

#define EXPECT_ERROR(names, place, part)                                    \
  do {                                                                      \
    std::string found = ErrorOf(names);                                     \
    EXPECT_EQ(found.substr(0, found.find(": ")), place) << "in: " << found; \
    EXPECT_TRUE(absl::StrContains(found, part)) << found;                   \
  } while (false)

TEST(ScenarioNamesTest, WhatIsWrittenIsMeant) {
  absl::StatusOr<Scenario> scenario = Parse(
      "name_servers:\n"
      "  dns:\n"
      "    tcp: no\n"
      "    negative_ttl: 7s\n"
      "    names:\n"
      "      www.test: server\n"
      "      v4.test: {a: [server, 10.9.8.7], ttl: 5s}\n"
      "      v6.test: {aaaa: \"fd00::99\"}\n"
      "      alias.test: {alias: www.test}\n"
      "      bare.test: {}\n"
      "    rules:\n"
      "      - {name: v4.test, type: a, delay: 300ms, times: 2}\n"
      "      - {fault: servfail, chance: 5%}\n"
      "  server:\n"
      "resolver: {servers: [server, dns], family: ipv6, timeout: 1s, tries: "
      "3}\n"
      "asked: {www.test: 1, v4.test: [1, 2]}\n");
  ASSERT_TRUE(scenario.ok()) << scenario.status();
  ASSERT_EQ(scenario->name_servers.size(), 2u);
  const ScenarioNameServer& dns = scenario->name_servers[0];
  EXPECT_EQ(dns.host, 2u);
  EXPECT_FALSE(dns.options.tcp);
  EXPECT_EQ(dns.options.negative_ttl, absl::Seconds(7));
  ASSERT_EQ(dns.records.size(), 6u);
  EXPECT_EQ(dns.records[0].name, "www.test");
  EXPECT_EQ(dns.records[0].host, 1u);
  EXPECT_EQ(dns.records[0].family, std::nullopt);
  EXPECT_EQ(dns.records[1].host, 1u);
  EXPECT_EQ(dns.records[1].family, Family::kIpv4);
  EXPECT_EQ(dns.records[1].ttl, absl::Seconds(5));
  EXPECT_EQ(dns.records[2].address->ToString(), "10.9.8.7");
  EXPECT_EQ(dns.records[3].address->ToString(), "fd00::99");
  EXPECT_EQ(dns.records[4].alias, "www.test");
  EXPECT_EQ(dns.records[5].name, "bare.test");
  ASSERT_EQ(dns.rules.size(), 2u);
  EXPECT_EQ(dns.rules[0].name, "v4.test");
  EXPECT_EQ(dns.rules[0].type, DnsType::kA);
  EXPECT_EQ(dns.rules[0].delay, absl::Milliseconds(300));
  EXPECT_EQ(dns.rules[0].times_max, 2u);
  EXPECT_EQ(dns.rules[1].fault, DnsFault::kServerFailure);
  EXPECT_EQ(dns.rules[1].per_million, 50'000u);
  EXPECT_EQ(scenario->resolver.servers, (std::vector<ScenarioIndex>{1, 2}));
  EXPECT_EQ(scenario->resolver.family, Family::kIpv6);
  EXPECT_EQ(scenario->resolver.timeout, absl::Seconds(1));
  EXPECT_EQ(scenario->resolver.tries, 3);
  ASSERT_EQ(scenario->asked.size(), 2u);
  EXPECT_EQ(scenario->asked[1].count.max, 2u);
  EXPECT_EQ(scenario->steps[0].target, kNone);
  EXPECT_EQ(scenario->steps[0].target_name, "www.test");
  EXPECT_EQ(scenario->steps[0].port, 9000);
  EXPECT_EQ(DescribeStep(*scenario, scenario->steps[0]),
            "alice: send_message_to 3 to www.test:9000");
}

TEST(ScenarioNamesTest, MistakesAreToldWithTheirPlace) {
  EXPECT_ERROR("name_servers: [dns]\n", "f:3:15", "expected hosts, as");
  EXPECT_ERROR("name_servers: {ghost: }\n", "f:3:16", "no host \"ghost\"");
  EXPECT_ERROR("name_servers:\n  dns: {zone: x}\n", "f:4:9",
               "a name server has: tcp, negative_ttl, names, rules");
  EXPECT_ERROR("name_servers:\n  dns: {names: [x]}\n", "f:4:16",
               "expected names, as");
  EXPECT_ERROR("name_servers:\n  dns: {names: {a..b: server}}\n", "f:4:17",
               "expected a domain name");
  EXPECT_ERROR("name_servers:\n  dns: {names: {1.2.3.4: server}}\n", "f:4:17",
               "expected a domain name");
  EXPECT_ERROR("name_servers:\n  dns: {names: {a.test: ghost}}\n", "f:4:25",
               "no host \"ghost\"");
  EXPECT_ERROR("name_servers:\n  dns: {names: {a.test: {a: \"::1\"}}}\n",
               "f:4:29", "expected an IPv4 address at");
  EXPECT_ERROR("name_servers:\n  dns: {names: {a.test: {a: [[server]]}}}\n",
               "f:4:30", "expected a host or an address");
  EXPECT_ERROR(
      "name_servers:\n  dns: {names: {a.test: {alias: b.test, a: server}}}\n",
      "f:4:33", "a name with an alias has no addresses");
  EXPECT_ERROR("name_servers:\n  dns: {names: {a.test: {alias: b..c}}}\n",
               "f:4:33", "expected a domain name");
  EXPECT_ERROR("name_servers:\n  dns: {rules: x}\n", "f:4:16",
               "expected a list of rules");
  EXPECT_ERROR("name_servers:\n  dns: {rules: [{fault: thunder}]}\n", "f:4:25",
               "expected one of: none, delay, silence, nxdomain");
  EXPECT_ERROR("name_servers:\n  dns: {rules: [{type: mx}]}\n", "f:4:24",
               "expected a or aaaa");
  EXPECT_ERROR("name_servers:\n  dns: {rules: [{chance: 101%}]}\n", "f:4:26",
               "expected a rate");
  EXPECT_ERROR("resolver: {servers: dns}\n", "f:3:21", "expected a list");
  EXPECT_ERROR("resolver: {servers: [ghost]}\n", "f:3:22", "no host \"ghost\"");
  EXPECT_ERROR("resolver: {family: ipx}\n", "f:3:20", "expected ipv4 or ipv6");
  EXPECT_ERROR("resolver: {timeout: 0s}\n", "f:3:21", "1ms to 1min");
  EXPECT_ERROR("resolver: {tries: 0}\n", "f:3:19", "1 or more");
  EXPECT_ERROR("resolver: {tries: 11}\n", "f:3:19", "at most 10");
  EXPECT_ERROR("resolver: {tries: 99999999999999999999}\n", "f:3:19",
               "at most 10, not 99999999999999999999");
  EXPECT_ERROR("resolver: {tries: 03}\n", "f:3:19", "leading zeros");
  EXPECT_ERROR("resolver: {tries: -3}\n", "f:3:19", "0 or more");
  EXPECT_ERROR("resolver: {tries: 3x}\n", "f:3:19", "0 or more");
  EXPECT_ERROR("asked: 3\n", "f:3:8", "expected numbers of queries");
  EXPECT_ERROR("asked: {a.test: -1}\n", "f:3:17", "expected a size");
}

std::string StepError(const std::string& step) {
  absl::StatusOr<Scenario> scenario =
      ParseScenario("f", absl::StrCat(kHead,
                                      "states:\n"
                                      "  alice: {host: client, udp: 7000}\n"
                                      "  carol: {host: client}\n"
                                      "steps:\n"
                                      "  - {at: 0s, ",
                                      step, "}\n"));
  return scenario.ok() ? "none" : std::string(scenario.status().message());
}

TEST(ScenarioNamesTest, NamesInStepsAreChecked) {
  EXPECT_EQ(StepError("state: carol, connect: \"www.test:80\""), "none");
  EXPECT_EQ(StepError("state: carol, connect: \"server:80\""), "none");
  for (const char* step :
       {"state: carol, connect: \"ghost:80\"",
        "state: carol, connect: \"www.test\"",
        "state: carol, connect: \"www.test:0\"",
        "state: carol, connect: \"a..b:80\"",
        "state: alice, send_message_to: x, to: \"1.2.3:80\"",
        "state: alice, send_message_to: x, to: \"server:80\"",
        "state: alice, send_message_to: x, to: \"www.test:\""}) {
    EXPECT_EQ(StepError(step).substr(0, 4), "f:7:") << StepError(step);
  }
}

TEST(ScenarioNamesTest, ADatagramGoesToAName) {
  EXPECT_EQ(FailuresOf(kServer), "");
  EXPECT_EQ(FailuresOf(absl::StrCat(kServer, "asked: {www.test: 1}\n")), "");
}

TEST(ScenarioNamesTest, AWrongNumberOfQueriesIsAFailure) {
  std::string failures =
      FailuresOf(absl::StrCat(kServer, "asked: {www.test: 2}\n"));
  EXPECT_TRUE(absl::StrContains(
      failures, "f:5:9: name servers were asked 1 times for www.test"))
      << failures;
}

TEST(ScenarioNamesTest, ANameThatIsNotThereIsTheErrorOfTheSend) {
  std::string failures = FailuresOf("name_servers: {dns: }\n");
  EXPECT_TRUE(absl::StrContains(failures, "ended with NXDOMAIN")) << failures;
  EXPECT_TRUE(absl::StrContains(FailuresOf(""), "NAME_NOT_CONFIGURED"));
}

TEST(ScenarioNamesTest, RealKernelsSkipNameServers) {
  absl::StatusOr<Scenario> scenario = Parse(kServer);
  ASSERT_TRUE(scenario.ok());
  SimulatedOnly only = WhatOnlySimulationCan(*scenario);
  ASSERT_EQ(only.whole.size(), 1u);
  EXPECT_TRUE(absl::StrContains(only.whole[0], "name servers"));
}

}  // namespace

}  // namespace aios::sim
