// What a simulated name server has on the wire, as a client of plain sockets
// sees it: right answers, and each bad one.

#include "sim/name_server.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "gtest/gtest.h"
#include "sim/dns_message.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"
#include "tests/name_server/raw_dns_client.h"

namespace aios::sim {
namespace {

// A server and a client, with a zone.
struct World {
  explicit World(Simulation& simulation, NameServerOptions options = {},
                 HostOptions host = {})
      : drain{simulation},
        server(simulation.AddHost("dns", std::move(host))),
        client(simulation.AddHost("client")),
        dns(server, options) {
    dns.AddAddress("www.test", Ipv4(1), absl::Seconds(60));
    dns.AddAddress("www.test", Ipv4(2), absl::Seconds(60));
    dns.AddAddress("www.test", Ipv6(1), absl::Seconds(30));
    dns.AddAddress("v4.deep.test", Ipv4(3));
    dns.AddAlias("alias.test", "second.test", absl::Seconds(5));
    dns.AddAlias("second.test", "www.test", absl::Seconds(6));
    dns.AddAlias("dangling.test", "nothing.test");
    dns.AddAlias("loop.test", "pool.test");
    dns.AddAlias("pool.test", "loop.test");
    dns.AddName("bare.test");
  }

  static IpAddress Ipv4(uint32_t last) {
    return IpAddress::FromIpv4(0x0a010000 | last);
  }
  static IpAddress Ipv6(uint8_t last) {
    IpAddress::Ipv6Bytes bytes = {0xfd, 1};
    bytes[15] = last;
    return IpAddress::FromIpv6(bytes);
  }
  SocketAddress at(Family family = Family::kIpv4) const {
    return {family == Family::kIpv4 ? server.ipv4() : server.ipv6(), 53};
  }

  // What closing has left on its way.
  struct Drain {
    ~Drain() { simulation.RunUntilIdle(); }
    Simulation& simulation;
  };
  Drain drain;
  Host& server;
  Host& client;
  NameServer dns;
};

// By both protocols, over both families.
struct Way {
  Family family;
  bool tcp;
};
constexpr Way kWays[] = {{Family::kIpv4, false},
                         {Family::kIpv6, false},
                         {Family::kIpv4, true},
                         {Family::kIpv6, true}};

SIMULATED_TEST(NameServer, AnswersByUdpAndTcpOverBothFamilies) {
  World world(simulation);
  for (Way way : kWays) {
    RawDnsClient client(world.client, world.at(way.family), way.tcp);
    RawAnswer answer = client.Ask(Query(4711, "www.test"));
    EXPECT_EQ(answer.sender, world.at(way.family));
    DnsMessage message = answer.message();
    EXPECT_EQ(message.id, 4711);
    EXPECT_TRUE(message.response);
    EXPECT_TRUE(message.recursion_desired);
    EXPECT_TRUE(message.recursion_available);
    EXPECT_EQ(message.code, DnsCode::kNoError);
    EXPECT_EQ(message.questions, Query(0, "www.test").questions);
    EXPECT_EQ(Addresses(message), "10.1.0.1 10.1.0.2");
    ASSERT_FALSE(message.answers.empty());
    EXPECT_EQ(message.answers[0].ttl_seconds, 60u);
    EXPECT_TRUE(message.additionals.empty());
    message = client.Ask(Query(1, "www.test", DnsType::kAaaa)).message();
    EXPECT_EQ(Addresses(message), "fd01::1");
    EXPECT_EQ(message.answers[0].ttl_seconds, 30u);
  }
  EXPECT_EQ(world.dns.queries().size(), 8u);
  EXPECT_EQ(world.dns.CountQueries("WWW.test"), 8u);
  EXPECT_EQ(world.dns.CountQueries("www.test", DnsType::kAaaa), 4u);
  EXPECT_EQ(world.dns.CountQueries("other.test"), 0u);
  const DnsQuery& first = world.dns.queries()[0];
  EXPECT_EQ(first.client.ip(), world.client.ipv4());
  EXPECT_EQ(first.server, world.at());
  EXPECT_FALSE(first.tcp);
  EXPECT_TRUE(world.dns.queries()[7].tcp);
  EXPECT_EQ(first.id, 4711);
  EXPECT_EQ(first.name, "www.test");
}

SIMULATED_TEST(NameServer, RepeatsTheQuestionAsItWasAsked) {
  World world(simulation);
  RawDnsClient client(world.client, world.at());
  DnsMessage message = client.Ask(Query(1, "wWw.TesT")).message();
  EXPECT_EQ(message.questions, Query(1, "wWw.TesT").questions);
  EXPECT_EQ(Addresses(message), "10.1.0.1 10.1.0.2");
  EXPECT_EQ(message.answers[0].name.ToString(), "wWw.TesT");
}

SIMULATED_TEST(NameServer, KnowsWhatDoesNotExist) {
  World world(simulation, {.negative_ttl = absl::Seconds(7)});
  RawDnsClient client(world.client, world.at());
  auto check = [&](std::string_view name, DnsType type, DnsCode code) {
    DnsMessage message = client.Ask(Query(1, name, type)).message();
    EXPECT_EQ(message.code, code) << name;
    EXPECT_TRUE(message.answers.empty()) << name;
    ASSERT_EQ(message.authorities.size(), 1u) << name;
    EXPECT_EQ(message.authorities[0].type, DnsType::kSoa);
    EXPECT_EQ(message.authorities[0].ttl_seconds, 7u);
    EXPECT_EQ(message.authorities[0].name.ToString(), "test");
    // The last field says it, too.
    EXPECT_EQ(message.authorities[0].data.back(), 7);
  };
  check("nothing.test", DnsType::kA, DnsCode::kNameError);
  check("a.www.test", DnsType::kA, DnsCode::kNameError);
  check("v4.deep.test", DnsType::kAaaa, DnsCode::kNoError);
  check("bare.test", DnsType::kA, DnsCode::kNoError);
  // There are names below it.
  check("deep.test", DnsType::kA, DnsCode::kNoError);
  world.dns.Remove("bare.test");
  check("bare.test", DnsType::kA, DnsCode::kNameError);
}

SIMULATED_TEST(NameServer, FollowsAliasesUntilTheyGoRound) {
  World world(simulation);
  RawDnsClient client(world.client, world.at());
  DnsMessage message = client.Ask(Query(1, "alias.test")).message();
  ASSERT_EQ(message.answers.size(), 4u);
  EXPECT_EQ(TargetOf(message.answers[0])->ToString(), "second.test");
  EXPECT_EQ(message.answers[0].ttl_seconds, 5u);
  EXPECT_EQ(TargetOf(message.answers[1])->ToString(), "www.test");
  EXPECT_EQ(message.answers[2].name.ToString(), "www.test");
  EXPECT_EQ(Addresses(message), "10.1.0.1 10.1.0.2");
  EXPECT_TRUE(message.authorities.empty());

  message = client.Ask(Query(2, "alias.test", DnsType::kCname)).message();
  EXPECT_EQ(message.answers.size(), 1u);

  message = client.Ask(Query(3, "dangling.test")).message();
  EXPECT_EQ(message.code, DnsCode::kNameError);
  EXPECT_EQ(message.answers.size(), 1u);
  EXPECT_EQ(message.authorities.size(), 1u);

  message = client.Ask(Query(4, "loop.test")).message();
  EXPECT_EQ(message.code, DnsCode::kNoError);
  ASSERT_EQ(message.answers.size(), 2u);
  EXPECT_EQ(TargetOf(message.answers[1])->ToString(), "loop.test");
}

SIMULATED_TEST(NameServer, AnAnswerThatDoesNotFitIsToBeFetchedByTcp) {
  World world(simulation);
  std::string all;
  for (uint32_t i = 0; i != 60; ++i) {
    world.dns.AddAddress("many.test", World::Ipv4(i));
    absl::StrAppend(&all, i == 0 ? "" : " ", World::Ipv4(i).ToString());
  }
  RawDnsClient udp(world.client, world.at());
  DnsMessage message = udp.Ask(Query(1, "many.test")).message();
  EXPECT_TRUE(message.truncated);
  EXPECT_TRUE(message.answers.empty());
  RawDnsClient tcp(world.client, world.at(), true);
  message = tcp.Ask(Query(1, "many.test")).message();
  EXPECT_FALSE(message.truncated);
  EXPECT_EQ(Addresses(message), all);
  // With EDNS it fits.
  DnsMessage query = Query(1, "many.test");
  query.additionals = {OptRecord(1232)};
  RawAnswer answer = udp.Ask(query);
  message = answer.message();
  EXPECT_GT(answer.bytes.size(), 512u);
  EXPECT_FALSE(message.truncated);
  EXPECT_EQ(Addresses(message), all);
  ASSERT_EQ(message.additionals.size(), 1u);
  EXPECT_EQ(message.additionals[0].type, DnsType::kOpt);
}

SIMULATED_TEST(NameServer, AnswersManyQueriesOfAConnection) {
  World world(simulation);
  simulation.SetFaults({.short_read = 300'000,
                        .short_write = 300'000,
                        .would_block = 100'000,
                        .spurious = 100'000,
                        .split = 500'000});
  RawDnsClient client(world.client, world.at(), true);
  std::string stream;
  for (uint16_t i = 0; i != 20; ++i) {
    std::string bytes = EncodeDnsMessage(Query(i, "www.test"));
    stream.push_back(static_cast<char>(bytes.size() >> 8));
    stream.push_back(static_cast<char>(bytes.size()));
    stream += bytes;
  }
  // Without the faults of this host's own calls.
  simulation.SetFaults({.split = 500'000});
  client.SendRaw(stream);
  simulation.SetFaults({.short_read = 300'000,
                        .short_write = 300'000,
                        .would_block = 100'000,
                        .spurious = 100'000,
                        .split = 500'000});
  simulation.RunFor(absl::Seconds(1));
  simulation.SetFaults({});
  std::vector<RawAnswer> answers = client.Receive(absl::Seconds(1));
  ASSERT_EQ(answers.size(), 20u);
  for (uint16_t i = 0; i != 20; ++i) {
    EXPECT_EQ(answers[i].message().id, i);
    EXPECT_EQ(Addresses(answers[i].message()), "10.1.0.1 10.1.0.2");
  }
  EXPECT_EQ(world.dns.connections(), 1u);
}

SIMULATED_TEST(NameServer, AnswersAConnectionThatIsHalfClosed) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(50)});
  RawDnsClient client(world.client, world.at(), true);
  client.Send(Query(1, "www.test"));
  EXPECT_TRUE(
      client.kernel().Shutdown(client.handle(), Direction::kOutput).ok());
  EXPECT_EQ(client.Receive(absl::Milliseconds(100)).size(), 1u);
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(world.dns.connections(), 0u);
}

SIMULATED_TEST(NameServer, RefusesConnectionsIfItHasNoTcp) {
  World world(simulation, {.tcp = false});
  RawDnsClient client(world.client, world.at(), true);
  EXPECT_EQ(client.error().Name(), "ECONNREFUSED");
  RawDnsClient udp(world.client, world.at());
  EXPECT_EQ(udp.Ask(Query(1, "www.test")).message().code, DnsCode::kNoError);
}

SIMULATED_TEST(NameServer, SaysWhatIsNoQuery) {
  World world(simulation);
  for (Way way : kWays) {
    RawDnsClient client(world.client, world.at(way.family), way.tcp);
    // Not an answer to an answer, nor to what has no header.
    DnsMessage query = Query(7, "www.test");
    query.response = true;
    client.Send(query);
    client.SendBytes("");
    client.SendBytes("\1\2\3");
    EXPECT_TRUE(client.Receive().empty());

    query = Query(0xabcd, "www.test");
    query.opcode = 5;
    EXPECT_EQ(client.Ask(query).message().code, DnsCode::kNotImplemented);
    query = Query(0xabcd, "www.test");
    query.questions.push_back(query.questions[0]);
    DnsMessage answer = client.Ask(query).message();
    EXPECT_EQ(answer.code, DnsCode::kFormatError);
    EXPECT_EQ(answer.id, 0xabcd);
    client.SendBytes(EncodeDnsMessage(Query(1, "www.test")) + "more");
    std::vector<RawAnswer> answers = client.Receive();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].message().code, DnsCode::kFormatError);
  }
  EXPECT_TRUE(world.dns.queries().empty());
  EXPECT_EQ(world.dns.malformed(), 4u * 6);
}

SIMULATED_TEST(NameServer, IsPausedAndCrashesWithItsHost) {
  World world(simulation);
  RawDnsClient client(world.client, world.at());
  world.server.Pause();
  client.Send(Query(1, "www.test"));
  EXPECT_TRUE(client.Receive().empty());
  world.server.Resume();
  EXPECT_EQ(client.Receive().size(), 1u);
  {
    RawDnsClient tcp(world.client, world.at(), true);
    world.server.Crash();
    client.Send(Query(2, "www.test"));
    EXPECT_TRUE(client.Receive().empty());
    world.server.Restart();
    world.dns.Restart();
    EXPECT_EQ(world.dns.connections(), 0u);
  }
  EXPECT_EQ(Addresses(client.Ask(Query(3, "www.test")).message()),
            "10.1.0.1 10.1.0.2");
  EXPECT_EQ(world.dns.queries().size(), 2u);
}

SIMULATED_TEST(NameServer, AcceptsAgainOnceDescriptorsAreFree) {
  World world(simulation);
  world.server.SetDescriptorsMax(world.server.descriptors_open());
  RawDnsClient client(world.client, world.at(), true);
  client.Send(Query(1, "www.test"));
  EXPECT_TRUE(client.Receive(absl::Milliseconds(50)).empty());
  world.server.SetDescriptorsMax(world.server.descriptors_open() + 1);
  EXPECT_EQ(client.Receive(absl::Milliseconds(50)).size(), 1u);
}

// ---- Rules.

SIMULATED_TEST(DnsRule, HoldsForItsNameAndTypeAndNumberOfTimes) {
  World world(simulation);
  world.dns.AddRule({.name = "WWW.test",
                     .type = DnsType::kAaaa,
                     .fault = DnsFault::kRefused,
                     .times_max = 2});
  RawDnsClient client(world.client, world.at());
  auto code = [&](std::string_view name, DnsType type) {
    return client.Ask(Query(1, name, type)).message().code;
  };
  EXPECT_EQ(code("www.test", DnsType::kA), DnsCode::kNoError);
  EXPECT_EQ(code("alias.test", DnsType::kAaaa), DnsCode::kNoError);
  EXPECT_EQ(code("www.test", DnsType::kAaaa), DnsCode::kRefused);
  EXPECT_EQ(code("www.test", DnsType::kAaaa), DnsCode::kRefused);
  EXPECT_EQ(code("www.test", DnsType::kAaaa), DnsCode::kNoError);
  EXPECT_EQ(world.dns.fault_count(DnsFault::kRefused).fired, 2u);
  EXPECT_EQ(world.dns.queries()[2].fault, DnsFault::kRefused);
  EXPECT_EQ(world.dns.queries()[4].fault, DnsFault::kNone);
}

SIMULATED_TEST(DnsRule, TheFirstThatHoldsCounts) {
  World world(simulation);
  world.dns.AddRule({.name = "www.test", .fault = DnsFault::kNone});
  world.dns.AddRule({.fault = DnsFault::kServerFailure});
  RawDnsClient client(world.client, world.at());
  EXPECT_EQ(client.Ask(Query(1, "www.test")).message().code, DnsCode::kNoError);
  EXPECT_EQ(client.Ask(Query(1, "bare.test")).message().code,
            DnsCode::kServerFailure);
  world.dns.ClearRules();
  EXPECT_EQ(client.Ask(Query(1, "bare.test")).message().code,
            DnsCode::kNoError);
}

// Which of 200 queries a rule is applied to.
std::vector<bool> Applied(uint64_t seed, bool with_other_rule) {
  Simulation simulation({.seed = seed});
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kRefused, .per_million = 200'000});
  if (with_other_rule) {
    world.dns.AddRule({.fault = DnsFault::kGarbage, .per_million = 500'000});
  }
  RawDnsClient client(world.client, world.at());
  std::vector<bool> applied;
  for (uint16_t i = 0; i != 200; ++i) {
    client.Send(Query(i, "www.test"));
    client.Receive(absl::Milliseconds(1));
    applied.push_back(world.dns.queries()[i].fault == DnsFault::kRefused);
  }
  return applied;
}

TEST(DnsRule, IsAppliedByChanceThatFollowsFromTheSeed) {
  std::vector<bool> applied = Applied(1, false);
  auto count = std::count(applied.begin(), applied.end(), true);
  EXPECT_GT(count, 15);
  EXPECT_LT(count, 80);
  EXPECT_EQ(Applied(1, false), applied);
  EXPECT_NE(Applied(2, false), applied);
  // Another rule moves nothing.
  EXPECT_EQ(Applied(1, true), applied);
}

// ---- Each bad answer. The client asks by UDP, over IPv4.

class BadAnswer {
 public:
  BadAnswer(Simulation& simulation, DnsFault fault, bool tcp = false,
            HostOptions host = {})
      : world(simulation, {}, std::move(host)),
        client(world.client, world.at(), tcp),
        fault_(fault) {
    world.dns.AddRule({.fault = fault});
  }
  ~BadAnswer() {
    FaultCount count = world.dns.fault_count(fault_);
    EXPECT_GE(count.fired, 1u);
    EXPECT_GE(count.effective, 1u);
    for (size_t i = 0; i != static_cast<size_t>(DnsFault::kCount); ++i) {
      auto other = static_cast<DnsFault>(i);
      if (other == fault_) continue;
      EXPECT_EQ(world.dns.fault_count(other).fired, 0u) << DnsFaultName(other);
    }
  }

  std::vector<RawAnswer> Answers(std::string_view name = "www.test") {
    client.Send(Query(4711, name));
    return client.Receive();
  }

  World world;
  RawDnsClient client;

 private:
  DnsFault fault_;
};

SIMULATED_TEST(BadAnswer, Silence) {
  BadAnswer bad(simulation, DnsFault::kSilence);
  EXPECT_TRUE(bad.Answers().empty());
  EXPECT_EQ(bad.world.dns.queries().size(), 1u);
}

SIMULATED_TEST(BadAnswer, Delay) {
  World world(simulation);
  world.dns.AddRule({.name = "www.test", .delay = absl::Milliseconds(300)});
  RawDnsClient client(world.client, world.at());
  client.Send(Query(1, "www.test"));
  client.Send(Query(2, "bare.test"));
  std::vector<RawAnswer> answers = client.Receive(absl::Seconds(1));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].message().id, 2);
  EXPECT_LE(answers[0].after, 2'000'000);
  EXPECT_EQ(answers[1].message().id, 1);
  EXPECT_EQ(Addresses(answers[1].message()), "10.1.0.1 10.1.0.2");
  EXPECT_GE(answers[1].after, 300'000'000);
  EXPECT_LE(answers[1].after, 302'000'000);
  EXPECT_EQ(world.dns.fault_count(DnsFault::kDelay).effective, 1u);
}

void CheckCode(Simulation& simulation, DnsFault fault, DnsCode code,
               size_t authorities) {
  World world(simulation);
  world.dns.AddRule({.fault = fault});
  uint64_t asked = 0;
  for (Way way : kWays) {
    RawDnsClient client(world.client, world.at(way.family), way.tcp);
    DnsMessage message = client.Ask(Query(4711, "www.test")).message();
    EXPECT_EQ(message.id, 4711);
    EXPECT_EQ(message.code, code);
    EXPECT_TRUE(message.answers.empty());
    EXPECT_EQ(message.authorities.size(), authorities);
    EXPECT_EQ(world.dns.fault_count(fault).effective, ++asked);
  }
}

SIMULATED_TEST(BadAnswer, NameError) {
  CheckCode(simulation, DnsFault::kNameError, DnsCode::kNameError, 1);
}
SIMULATED_TEST(BadAnswer, ServerFailure) {
  CheckCode(simulation, DnsFault::kServerFailure, DnsCode::kServerFailure, 0);
}
SIMULATED_TEST(BadAnswer, Refused) {
  CheckCode(simulation, DnsFault::kRefused, DnsCode::kRefused, 0);
}

SIMULATED_TEST(BadAnswer, FormatErrorToEdns) {
  BadAnswer bad(simulation, DnsFault::kFormatErrorToEdns);
  DnsMessage query = Query(4711, "www.test");
  query.additionals = {OptRecord(4096)};
  DnsMessage message = bad.client.Ask(query).message();
  EXPECT_EQ(message.code, DnsCode::kFormatError);
  EXPECT_TRUE(message.answers.empty());
  EXPECT_TRUE(message.additionals.empty());
  EXPECT_TRUE(bad.world.dns.queries()[0].edns);
  // Without EDNS it does not mind.
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(Addresses(answers[0].message()), "10.1.0.1 10.1.0.2");
  FaultCount count = bad.world.dns.fault_count(DnsFault::kFormatErrorToEdns);
  EXPECT_EQ(count.fired, 2u);
  EXPECT_EQ(count.effective, 1u);
}

SIMULATED_TEST(BadAnswer, TruncatedForcesTcp) {
  BadAnswer bad(simulation, DnsFault::kTruncated);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_TRUE(answers[0].message().truncated);
  EXPECT_TRUE(answers[0].message().answers.empty());
  RawDnsClient tcp(bad.world.client, bad.world.at(), true);
  DnsMessage message = tcp.Ask(Query(4711, "www.test")).message();
  EXPECT_FALSE(message.truncated);
  EXPECT_EQ(Addresses(message), "10.1.0.1 10.1.0.2");
}

SIMULATED_TEST(BadAnswer, WrongId) {
  BadAnswer bad(simulation, DnsFault::kWrongId);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].message().id, 4711);
  EXPECT_EQ(Addresses(answers[0].message()), "10.1.0.1 10.1.0.2");
}

SIMULATED_TEST(BadAnswer, WrongQuestion) {
  BadAnswer bad(simulation, DnsFault::kWrongQuestion);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  DnsMessage message = answers[0].message();
  EXPECT_EQ(message.id, 4711);
  EXPECT_EQ(message.questions[0].name.ToString(), "victim.test");
  EXPECT_EQ(Addresses(message), "10.66.66.66");
}

SIMULATED_TEST(BadAnswer, FromAnotherAddress) {
  BadAnswer bad(simulation, DnsFault::kOtherAddress, false,
                {.addresses = {World::Ipv4(99), World::Ipv6(99)}});
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].sender, SocketAddress(World::Ipv4(99), 53));
  EXPECT_EQ(Addresses(answers[0].message()), "10.1.0.1 10.1.0.2");
  RawDnsClient ipv6(bad.world.client, bad.world.at(Family::kIpv6));
  EXPECT_EQ(ipv6.Ask(Query(1, "www.test")).sender,
            SocketAddress(World::Ipv6(99), 53));
}

SIMULATED_TEST(BadAnswer, FromAnotherPortWhenThereIsNoOtherAddress) {
  BadAnswer bad(simulation, DnsFault::kOtherAddress);
  for (int i = 0; i != 3; ++i) {
    std::vector<RawAnswer> answers = bad.Answers();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_EQ(answers[0].sender.ip(), bad.world.server.ipv4());
    EXPECT_NE(answers[0].sender.port(), 53);
  }
}

SIMULATED_TEST(BadAnswer, Forged) {
  BadAnswer bad(simulation, DnsFault::kForged);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 3u);
  // Ties in time are decided by chance: they may arrive in any order.
  int right = 0;
  for (const RawAnswer& answer : answers) {
    DnsMessage message = answer.message();
    bool believable = message.id == 4711 && answer.sender == bad.world.at();
    EXPECT_EQ(Addresses(message),
              believable ? "10.1.0.1 10.1.0.2" : "10.66.66.66");
    right += believable ? 1 : 0;
  }
  EXPECT_EQ(right, 1);
}

SIMULATED_TEST(BadAnswer, Poisoned) {
  BadAnswer bad(simulation, DnsFault::kPoisoned);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  DnsMessage message = answers[0].message();
  EXPECT_EQ(Addresses(message), "10.1.0.1 10.1.0.2 10.66.66.66 fd66::66");
  EXPECT_EQ(message.answers[2].name.ToString(), NameServer::kPoisonedName);
  ASSERT_EQ(message.additionals.size(), 2u);
  EXPECT_EQ(AddressOf(message.additionals[0]), NameServer::PoisonIpv4());
  EXPECT_EQ(AddressOf(message.additionals[1]), NameServer::PoisonIpv6());
}

SIMULATED_TEST(BadAnswer, Empty) {
  BadAnswer bad(simulation, DnsFault::kEmpty);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].bytes, "");
  RawDnsClient tcp(bad.world.client, bad.world.at(), true);
  tcp.Send(Query(1, "www.test"));
  answers = tcp.Receive();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].bytes, "");
}

SIMULATED_TEST(BadAnswer, Garbage) {
  BadAnswer bad(simulation, DnsFault::kGarbage);
  std::set<std::string> all;
  int with_header = 0;
  for (int i = 0; i != 20; ++i) {
    std::vector<RawAnswer> answers = bad.Answers();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_TRUE(answers[0].malformed());
    EXPECT_FALSE(answers[0].bytes.empty());
    if (answers[0].bytes.substr(0, 2) == "\x12\x67") ++with_header;
    all.insert(answers[0].bytes);
  }
  EXPECT_EQ(all.size(), 20u);
  EXPECT_GT(with_header, 0);
  EXPECT_LT(with_header, 20);
}

SIMULATED_TEST(BadAnswer, CutOff) {
  BadAnswer bad(simulation, DnsFault::kCutOff);
  std::set<size_t> sizes;
  for (int i = 0; i != 20; ++i) {
    std::vector<RawAnswer> answers = bad.Answers();
    ASSERT_EQ(answers.size(), 1u);
    EXPECT_TRUE(answers[0].malformed());
    sizes.insert(answers[0].bytes.size());
  }
  EXPECT_GT(sizes.size(), 5u);
}

SIMULATED_TEST(BadAnswer, NameLoop) {
  BadAnswer bad(simulation, DnsFault::kNameLoop);
  std::set<size_t> sizes;
  for (int i = 0; i != 10; ++i) {
    std::vector<RawAnswer> answers = bad.Answers();
    ASSERT_EQ(answers.size(), 1u);
    const std::string& bytes = answers[0].bytes;
    EXPECT_EQ(bytes.substr(0, 2), "\x12\x67");
    absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
    EXPECT_NE(message.status().message().find("refers to itself"),
              absl::string_view::npos)
        << message.status();
    sizes.insert(bytes.size());
  }
  EXPECT_EQ(sizes.size(), 2u);
}

SIMULATED_TEST(BadAnswer, Oversized) {
  BadAnswer bad(simulation, DnsFault::kOversized);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_GT(answers[0].bytes.size(), 8000u);
  EXPECT_FALSE(answers[0].message().truncated);
  EXPECT_EQ(Addresses(answers[0].message()), "10.1.0.1 10.1.0.2");
  RawDnsClient tcp(bad.world.client, bad.world.at(), true);
  tcp.Send(Query(1, "www.test"));
  answers = tcp.Receive(absl::Seconds(1));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_GT(answers[0].bytes.size(), 65500u);
  EXPECT_EQ(Addresses(answers[0].message()), "10.1.0.1 10.1.0.2");
}

SIMULATED_TEST(BadAnswer, OutOfOrder) {
  BadAnswer bad(simulation, DnsFault::kOutOfOrder);
  for (uint16_t i = 0; i != 5; ++i) {
    bad.client.Send(Query(i, "www.test"));
    simulation.RunFor(absl::Milliseconds(1));
  }
  std::vector<RawAnswer> answers = bad.client.Receive(absl::Seconds(1));
  ASSERT_EQ(answers.size(), 5u);
  std::vector<uint16_t> order;
  for (const RawAnswer& answer : answers) order.push_back(answer.message().id);
  // The two of a pair leave at one moment: chance may turn them round again.
  std::set<uint16_t> first = {order[0], order[1]};
  EXPECT_EQ(first, (std::set<uint16_t>{0, 1}));
  // The last one has nobody to be overtaken by.
  EXPECT_EQ(order[4], 4);
  EXPECT_GE(answers[4].after, 100'000'000);
  EXPECT_EQ(bad.world.dns.fault_count(DnsFault::kOutOfOrder).effective, 2u);
}

SIMULATED_TEST(BadAnswer, OutOfOrderOnAConnection) {
  BadAnswer bad(simulation, DnsFault::kOutOfOrder, true);
  for (uint16_t i = 0; i != 4; ++i) bad.client.Send(Query(i, "www.test"));
  std::vector<RawAnswer> answers = bad.client.Receive(absl::Seconds(1));
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_EQ(answers[0].message().id, 1);
  EXPECT_EQ(answers[1].message().id, 0);
  EXPECT_EQ(answers[2].message().id, 3);
  EXPECT_EQ(answers[3].message().id, 2);
}

SIMULATED_TEST(BadAnswer, Twice) {
  BadAnswer bad(simulation, DnsFault::kTwice);
  std::vector<RawAnswer> answers = bad.Answers();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].bytes, answers[1].bytes);
}

// By UDP, the client is sent to TCP first.
void CheckTruncated(World& world) {
  RawDnsClient udp(world.client, world.at());
  DnsMessage message = udp.Ask(Query(1, "www.test")).message();
  EXPECT_TRUE(message.truncated);
  EXPECT_TRUE(message.answers.empty());
}

SIMULATED_TEST(BadAnswer, TcpReset) {
  BadAnswer bad(simulation, DnsFault::kTcpReset, true);
  EXPECT_TRUE(bad.Answers().empty());
  EXPECT_EQ(bad.client.error().Name(), "ECONNRESET");
  EXPECT_EQ(bad.world.dns.connections(), 0u);
  CheckTruncated(bad.world);
}

SIMULATED_TEST(BadAnswer, TcpEndsWithinTheAnswer) {
  BadAnswer bad(simulation, DnsFault::kTcpEnd, true);
  EXPECT_TRUE(bad.Answers().empty());
  EXPECT_TRUE(bad.client.ended());
  EXPECT_GT(bad.client.rest().size(), 12u);
  CheckTruncated(bad.world);
}

SIMULATED_TEST(BadAnswer, TcpSilence) {
  BadAnswer bad(simulation, DnsFault::kTcpSilence, true);
  EXPECT_TRUE(bad.Answers().empty());
  EXPECT_FALSE(bad.client.ended());
  EXPECT_EQ(bad.world.dns.connections(), 1u);
  CheckTruncated(bad.world);
}

TEST(DnsFault, NamesComeBack) {
  for (size_t i = 0; i != static_cast<size_t>(DnsFault::kCount); ++i) {
    auto fault = static_cast<DnsFault>(i);
    EXPECT_EQ(DnsFaultByName(DnsFaultName(fault)), fault);
  }
  EXPECT_EQ(DnsFaultByName("thunder"), DnsFault::kCount);
}

// Every fault at once, by chance, over many seeds: each fires, and each makes a
// difference.
TEST(DnsFault, EachFiresAndTakesEffect) {
  std::map<DnsFault, FaultCount> counts;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Simulation simulation({.seed = seed});
    World world(simulation);
    for (size_t i = 1; i != static_cast<size_t>(DnsFault::kCount); ++i) {
      world.dns.AddRule(
          {.fault = static_cast<DnsFault>(i),
           .delay = i == 1 ? absl::Milliseconds(1) : absl::ZeroDuration(),
           .per_million = 100'000});
    }
    for (uint16_t i = 0; i != 60; ++i) {
      RawDnsClient client(world.client, world.at(), i % 3 == 0);
      DnsMessage query = Query(i, "www.test");
      if (i % 2 == 0) query.additionals = {OptRecord(1232)};
      client.Send(query);
      client.Receive(absl::Milliseconds(1));
    }
    for (size_t i = 1; i != static_cast<size_t>(DnsFault::kCount); ++i) {
      auto fault = static_cast<DnsFault>(i);
      counts[fault].fired += world.dns.fault_count(fault).fired;
      counts[fault].effective += world.dns.fault_count(fault).effective;
    }
    EXPECT_TRUE(simulation.violations().empty());
  }
  for (const auto& [fault, count] : counts) {
    std::printf("%-16s fired %4llu, effective %4llu\n",
                std::string(DnsFaultName(fault)).c_str(),
                static_cast<unsigned long long>(count.fired),
                static_cast<unsigned long long>(count.effective));
    EXPECT_NE(count.fired, 0u) << DnsFaultName(fault);
    EXPECT_NE(count.effective, 0u) << DnsFaultName(fault);
  }
  EXPECT_EQ(counts.size(), static_cast<size_t>(DnsFault::kCount) - 1);
}

}  // namespace
}  // namespace aios::sim
