// The resolver, and the unmodified c-ares under it, against simulated name
// servers in virtual time.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "gtest/gtest.h"
#include "sim/name_server.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"

namespace aios::sim {
namespace {

IpAddress Ipv4(uint32_t last) { return IpAddress::FromIpv4(0x0a010000 | last); }

IpAddress Ipv6(uint8_t last) {
  IpAddress::Ipv6Bytes bytes = {0xfd, 1};
  bytes[15] = last;
  return IpAddress::FromIpv6(bytes);
}

// What the callback of a lookup was given.
struct Looked {
  int calls = 0;
  std::string error;
  std::vector<std::string> addresses;
  Nanoseconds took = 0;
  std::unique_ptr<Lookup> lookup;

  std::string All() const {
    std::string all = error;
    for (const std::string& address : addresses) all += " " + address;
    return all;
  }
};

// A client, and two servers with the same zone.
struct World {
  explicit World(Simulation& simulation, ResolverOptions options = {},
                 HostOptions server_options = {})
      : simulation(simulation),
        drain{simulation},
        client(simulation.AddHost("client")),
        dns(simulation.AddHost("dns", server_options)),
        dns2(simulation.AddHost("dns2")) {
    for (NameServer* server : {&dns, &dns2}) {
      server->AddAddress("v4.test", Ipv4(1));
      server->AddAddress("v6.test", Ipv6(1));
      server->AddAddress("both.test", Ipv4(2));
      server->AddAddress("both.test", Ipv6(2));
      server->AddAlias("alias.test", "second.test");
      server->AddAlias("second.test", "v4.test");
      server->AddAlias("loop.test", "pool.test");
      server->AddAlias("pool.test", "loop.test");
      server->AddName("bare.test");
      server->AddAddress(NameServer::kPoisonedName, Ipv4(66));
      for (uint32_t i = 0; i != 60; ++i) {
        server->AddAddress("many.test", Ipv4(100 + i));
      }
    }
    MakeClient(std::move(options));
  }

  // One server, asked twice for half a second and then a second, unless said
  // otherwise.
  void MakeClient(ResolverOptions options) {
    if (!options.servers.has_value()) {
      options.servers = {{simulation.FindHost("dns")->ipv4(), 53}};
    }
    if (!options.timeout.has_value()) {
      options.timeout = absl::Milliseconds(500);
    }
    if (!options.tries.has_value()) options.tries = 2;
    collection = MakeWaitStateCollection(client.kernel(),
                                         {.resolver = std::move(options)})
                     .value();
  }

  std::unique_ptr<Looked> Start(
      std::string_view name, LookupFamily family = LookupFamily::kIpv4,
      absl::Duration timeout = absl::InfiniteDuration()) {
    auto looked = std::make_unique<Looked>();
    Looked* out = looked.get();
    Nanoseconds start = simulation.now();
    auto lookup =
        LookUp(*collection, name, 80,
               [this, out, start](const LookupResult& result) {
                 ++out->calls;
                 out->error = result.error.Name();
                 out->took = simulation.now() - start;
                 for (const SocketAddress& address : result.addresses) {
                   out->addresses.push_back(address.ip().ToString());
                 }
               },
               {.family = family, .timeout = timeout});
    EXPECT_TRUE(lookup.ok()) << lookup.status();
    if (lookup.ok()) out->lookup = *std::move(lookup);
    EXPECT_EQ(out->calls, 0);
    return looked;
  }

  // Waits for its end, and for what may still come after it.
  std::unique_ptr<Looked> Finish(
      std::string_view name, LookupFamily family = LookupFamily::kIpv4,
      absl::Duration timeout = absl::InfiniteDuration()) {
    std::unique_ptr<Looked> looked = Start(name, family, timeout);
    EXPECT_TRUE(simulation.RunUntil([&] { return looked->calls != 0; }));
    simulation.RunFor(absl::Milliseconds(10));
    EXPECT_EQ(looked->calls, 1);
    return looked;
  }

  // What closing has left on its way.
  struct Drain {
    ~Drain() { simulation.RunUntilIdle(); }
    Simulation& simulation;
  };

  Simulation& simulation;
  Drain drain;
  Host& client;
  NameServer dns;
  NameServer dns2;
  std::unique_ptr<WaitStateCollection> collection;
};

bool Between(Nanoseconds time, int64_t least_ms, int64_t most_ms) {
  return time >= least_ms * 1'000'000 && time <= most_ms * 1'000'000;
}

SIMULATED_TEST(SimulatedLookup, FindsAddresses) {
  World world(simulation);
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  EXPECT_EQ(world.Finish("V6.Test", LookupFamily::kIpv6)->All(), "OK fd01::1");
  EXPECT_EQ(world.Finish("both.test", LookupFamily::kBoth)->addresses.size(),
            2u);
  EXPECT_EQ(world.Finish("alias.test")->All(), "OK 10.1.0.1");
  EXPECT_EQ(world.dns.queries().size(), 5u);
}

SIMULATED_TEST(SimulatedLookup, OverIpv6) {
  World world(simulation);
  world.MakeClient({.servers = {{{simulation.FindHost("dns")->ipv6(), 53}}}});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  world.dns.AddRule({.fault = DnsFault::kTruncated});
  EXPECT_EQ(world.Finish("alias.test")->All(), "OK 10.1.0.1");
  EXPECT_TRUE(world.dns.queries().back().tcp);
}

SIMULATED_TEST(SimulatedLookup, TellsErrorsApart) {
  World world(simulation);
  EXPECT_EQ(world.Finish("nothing.test")->error, "NXDOMAIN");
  EXPECT_EQ(world.Finish("bare.test")->error, "NODATA");
  EXPECT_EQ(world.Finish("v4.test", LookupFamily::kIpv6)->error, "NODATA");
  world.dns.AddRule({.name = "a.test", .fault = DnsFault::kServerFailure});
  world.dns.AddRule({.name = "b.test", .fault = DnsFault::kRefused});
  world.dns.AddRule({.name = "c.test", .fault = DnsFault::kSilence});
  world.dns.AddRule({.name = "d.test", .fault = DnsFault::kNameLoop});
  world.dns.AddRule({.name = "e.test", .fault = DnsFault::kNameError});
  EXPECT_EQ(world.Finish("a.test")->error, "SERVFAIL");
  EXPECT_EQ(world.Finish("b.test")->error, "REFUSED");
  EXPECT_EQ(world.Finish("c.test")->error, "NAME_TIMEOUT");
  EXPECT_EQ(world.Finish("d.test")->error, "BAD_NAME_ANSWER");
  EXPECT_EQ(world.Finish("e.test")->error, "NXDOMAIN");
}

SIMULATED_TEST(SimulatedLookup, AliasesThatGoRoundEnd) {
  World world(simulation);
  std::unique_ptr<Looked> looked = world.Finish("loop.test");
  EXPECT_NE(looked->error, "OK");
  EXPECT_TRUE(looked->addresses.empty());
}

// ---- Time.

SIMULATED_TEST(SimulatedLookup, ASilentServerIsAskedAgainAndThenGivenUp) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kSilence});
  uint64_t events = simulation.events();
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->error, "NAME_TIMEOUT");
  EXPECT_TRUE(Between(looked->took, 1500, 1510)) << looked->took;
  ASSERT_EQ(world.dns.queries().size(), 2u);
  EXPECT_TRUE(Between(world.dns.queries()[1].time - world.dns.queries()[0].time,
                      500, 505));
  // c-ares rounds down how long there is to wait: nobody turns round until it
  // is over.
  EXPECT_LT(simulation.events() - events, 60u);
}

SIMULATED_TEST(SimulatedLookup, TheNextServerAnswers) {
  World world(simulation);
  world.MakeClient({.servers = {{{simulation.FindHost("dns")->ipv4(), 53},
                                 {simulation.FindHost("dns2")->ipv6(), 53}}}});
  world.dns.AddRule({.fault = DnsFault::kSilence, .times_max = 1});
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 500, 505)) << looked->took;
  // At once when the first one only has no answer.
  world.dns.AddRule({.fault = DnsFault::kServerFailure, .times_max = 1});
  looked = world.Finish("alias.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 0, 1)) << looked->took;
  EXPECT_EQ(world.dns2.queries().size(), 2u);
}

SIMULATED_TEST(SimulatedLookup, TimesOutInTimeAndForgetsTheLateAnswer) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(300), .times_max = 1});
  std::unique_ptr<Looked> looked =
      world.Finish("v4.test", LookupFamily::kIpv4, absl::Milliseconds(200));
  EXPECT_EQ(looked->error, "NAME_TIMEOUT");
  EXPECT_EQ(looked->took, 200'000'000);
  simulation.RunFor(absl::Seconds(5));
  EXPECT_EQ(looked->calls, 1);
}

SIMULATED_TEST(SimulatedLookup, AfterAYearItStillAnswersAtOnce) {
  World world(simulation);
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  simulation.RunFor(absl::Hours(24 * 365));
  uint64_t events = simulation.events();
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 0, 1));
  EXPECT_LT(simulation.events() - events, 60u);
}

TEST(SimulatedLookup, AYearPassesWithALookupInProgress) {
  Simulation simulation;
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kSilence, .times_max = 1});
  std::unique_ptr<Looked> looked = world.Start("v4.test");
  simulation.RunFor(absl::Milliseconds(1));
  world.client.Pause();
  simulation.RunFor(absl::Hours(24 * 365));
  world.client.Resume();
  uint64_t events = simulation.events();
  EXPECT_TRUE(simulation.RunUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_LT(simulation.events() - events, 60u);
}

// ---- Bad answers.

SIMULATED_TEST(SimulatedLookup, ForgedAnswersAreNotBelieved) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kForged});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  EXPECT_EQ(world.Finish("both.test", LookupFamily::kIpv6)->All(),
            "OK fd01::2");
}

SIMULATED_TEST(SimulatedLookup, AnswersFromElsewhereAreNotHeard) {
  World world(simulation, {}, {.addresses = {Ipv4(99)}});
  world.dns.AddRule({.fault = DnsFault::kOtherAddress});
  EXPECT_EQ(world.Finish("v4.test")->error, "NAME_TIMEOUT");
}

SIMULATED_TEST(SimulatedLookup, AnswersToAnotherQuestionAreNotHeard) {
  World world(simulation);
  world.dns.AddRule({.name = "a.test", .fault = DnsFault::kWrongId});
  world.dns.AddRule({.name = "b.test", .fault = DnsFault::kWrongQuestion});
  EXPECT_EQ(world.Finish("a.test")->error, "NAME_TIMEOUT");
  EXPECT_EQ(world.Finish("b.test")->error, "NAME_TIMEOUT");
  EXPECT_EQ(world.Finish(NameServer::kPoisonedName)->All(), "OK 10.1.0.66");
}

SIMULATED_TEST(SimulatedLookup, UnaskedRecordsAreNotKept) {
  World world(simulation);
  world.dns.AddRule({.name = "v4.test", .fault = DnsFault::kPoisoned});
  EXPECT_EQ(world.Finish("v4.test")->error, "OK");
  EXPECT_EQ(world.Finish(NameServer::kPoisonedName)->All(), "OK 10.1.0.66");
  EXPECT_EQ(world.dns.CountQueries(NameServer::kPoisonedName), 1u);
}

SIMULATED_TEST(SimulatedLookup, UnaskedRecordsAreNotPassedOn) {
  World world(simulation);
  world.dns.AddRule({.name = "v4.test", .fault = DnsFault::kPoisoned});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
}

SIMULATED_TEST(SimulatedLookup, AddressesOfTheOtherFamilyAreNotPassedOn) {
  World world(simulation);
  world.dns.AnswerWith([](std::string_view message, bool) {
    DnsMessage answer = DecodeDnsMessage(message).value();
    answer.response = true;
    answer.additionals.clear();
    for (const IpAddress& address : {Ipv6(1), Ipv4(1)}) {
      answer.answers.push_back(
          AddressRecord(answer.questions[0].name, address, 60));
    }
    return EncodeDnsMessage(answer);
  });
  EXPECT_EQ(world.Finish("v4.test", LookupFamily::kIpv4)->All(), "OK 10.1.0.1");
  EXPECT_EQ(world.Finish("v4.test", LookupFamily::kIpv6)->All(), "OK fd01::1");
  EXPECT_EQ(world.Finish("both.test", LookupFamily::kBoth)->addresses.size(),
            2u);
}

SIMULATED_TEST(SimulatedLookup, EmptyDatagramsAnswerNothing) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kEmpty, .times_max = 1});
  std::unique_ptr<Looked> first = world.Start("v4.test");
  std::unique_ptr<Looked> second = world.Start("alias.test");
  EXPECT_TRUE(simulation.RunUntil(
      [&] { return first->calls != 0 && second->calls != 0; }));
  EXPECT_EQ(first->All(), "OK 10.1.0.1");
  EXPECT_EQ(second->All(), "OK 10.1.0.1");
  // The one is asked again, the other is not disturbed.
  EXPECT_TRUE(Between(std::max(first->took, second->took), 500, 505));
  EXPECT_TRUE(Between(std::min(first->took, second->took), 0, 1));
  world.dns.AddRule({.fault = DnsFault::kEmpty});
  EXPECT_EQ(world.Finish("second.test")->error, "NAME_TIMEOUT");
}

SIMULATED_TEST(SimulatedLookup, TruncatedAnswersAreFetchedByTcp) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kTruncated});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  ASSERT_EQ(world.dns.queries().size(), 2u);
  EXPECT_TRUE(world.dns.queries()[1].tcp);
  for (uint32_t i = 0; i != 200; ++i) {
    world.dns.AddAddress("lots.test", Ipv4(i));
  }
  world.dns.ClearRules();
  EXPECT_EQ(world.Finish("lots.test")->addresses.size(), 32u);
  EXPECT_TRUE(world.dns.queries().back().tcp);
}

SIMULATED_TEST(SimulatedLookup, ConnectionsThatBreakAreMadeAgain) {
  for (DnsFault fault : {DnsFault::kTcpReset, DnsFault::kTcpEnd}) {
    Simulation inner({.seed = simulation.seed()});
    World world(inner);
    // Both the datagram and the connection.
    world.dns.AddRule({.fault = fault, .times_max = 2});
    std::unique_ptr<Looked> looked = world.Finish("v4.test");
    EXPECT_EQ(looked->All(), "OK 10.1.0.1") << DnsFaultName(fault);
    EXPECT_EQ(world.dns.fault_count(fault).effective, 1u);
    EXPECT_TRUE(inner.violations().empty());
  }
}

SIMULATED_TEST(SimulatedLookup, ConnectionsThatAlwaysBreakAreAnError) {
  World world(simulation);
  world.dns.AddRule({.name = "a.test", .fault = DnsFault::kTcpReset});
  world.dns.AddRule({.name = "b.test", .fault = DnsFault::kTcpEnd});
  world.dns.AddRule({.name = "c.test", .fault = DnsFault::kTcpSilence});
  for (std::string_view name : {"a.test", "b.test", "c.test"}) {
    std::unique_ptr<Looked> looked = world.Finish(name);
    EXPECT_NE(looked->error, "OK") << name;
    EXPECT_TRUE(Between(looked->took, 0, 2500)) << name << looked->took;
  }
}

// c-ares moved the query to other memory when it was told by a late datagram
// that EDNS is not known, while the query waited to be sent by TCP. Only a
// sanitizer sees what it read then.
SIMULATED_TEST(SimulatedLookup, ALateFormatErrorDoesNotDisturbTcp) {
  World world(simulation);
  Host& server = *simulation.FindHost("dns");
  for (auto [from, to] :
       {std::pair(&world.client, &server), std::pair(&server, &world.client)}) {
    simulation.SetLink(*from, *to,
                       {.latency = Latency::Fixed(absl::Milliseconds(50))});
  }
  // Asked again after 500 ms; by TCP from 600 ms on, and connected 100 ms
  // later.
  world.dns.AddRule({.fault = DnsFault::kFormatErrorToEdns,
                     .delay = absl::Milliseconds(560),
                     .times_max = 1});
  world.dns.AddRule({.fault = DnsFault::kTruncated});
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 800, 805)) << looked->took;
  EXPECT_EQ(world.dns.fault_count(DnsFault::kFormatErrorToEdns).effective, 1u);
}

SIMULATED_TEST(SimulatedLookup, OddAnswersAreUnderstood) {
  World world(simulation);
  world.dns.AddRule({.name = "v4.test", .fault = DnsFault::kTwice});
  world.dns.AddRule({.name = "both.test", .fault = DnsFault::kOutOfOrder});
  world.dns.AddRule(
      {.name = "alias.test", .fault = DnsFault::kFormatErrorToEdns});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  EXPECT_EQ(world.Finish("both.test", LookupFamily::kBoth)->addresses.size(),
            2u);
  EXPECT_EQ(world.Finish("alias.test")->All(), "OK 10.1.0.1");
  EXPECT_GE(world.dns.fault_count(DnsFault::kOutOfOrder).effective, 1u);
  EXPECT_EQ(world.dns.fault_count(DnsFault::kFormatErrorToEdns).effective, 1u);
}

// ---- Servers that do not answer queries with EDNS.

SIMULATED_TEST(SimulatedLookup, AQuestionComesAgainWithoutEdns) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kSilenceToEdns});
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 500, 505)) << looked->took;
  ASSERT_EQ(world.dns.queries().size(), 2u);
  EXPECT_TRUE(world.dns.queries()[0].edns);
  EXPECT_FALSE(world.dns.queries()[1].edns);
  EXPECT_EQ(world.dns.malformed(), 0u);
  // A second question makes it certain; from then on there is nothing to wait
  // for, also when the resolver was idle for long.
  EXPECT_EQ(world.Finish("both.test")->All(), "OK 10.1.0.2");
  for (std::string_view name : {"alias.test", "second.test"}) {
    looked = world.Finish(name);
    EXPECT_EQ(looked->All(), "OK 10.1.0.1");
    EXPECT_TRUE(Between(looked->took, 0, 1)) << looked->took;
    EXPECT_FALSE(world.dns.queries().back().edns);
    simulation.RunFor(absl::Minutes(2));
  }
  // What is too long for such a datagram comes by TCP.
  EXPECT_EQ(world.Finish("many.test")->addresses.size(), 32u);
  EXPECT_TRUE(world.dns.queries().back().tcp);
}

SIMULATED_TEST(SimulatedLookup, BothFamiliesAtOnceMakeItCertain) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kSilenceToEdns});
  EXPECT_EQ(world.Finish("both.test", LookupFamily::kBoth)->addresses.size(),
            2u);
  std::unique_ptr<Looked> looked = world.Finish("v4.test");
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
  EXPECT_TRUE(Between(looked->took, 0, 1)) << looked->took;
}

SIMULATED_TEST(SimulatedLookup, AServerThatKnowsEdnsIsAskedAgainWithIt) {
  World world(simulation);
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  // What is lost now says nothing about EDNS.
  for (std::string_view name : {"both.test", "alias.test", "second.test"}) {
    world.dns.AddRule({.fault = DnsFault::kSilence, .times_max = 1});
    EXPECT_EQ(world.Finish(name)->error, "OK");
  }
  ASSERT_EQ(world.dns.queries().size(), 7u);
  for (const DnsQuery& query : world.dns.queries()) EXPECT_TRUE(query.edns);
}

SIMULATED_TEST(SimulatedLookup, ALossAtFirstDoesNotSwitchEdnsOff) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kSilence, .times_max = 1});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  EXPECT_FALSE(world.dns.queries().back().edns);
  EXPECT_EQ(world.Finish("both.test")->All(), "OK 10.1.0.2");
  EXPECT_TRUE(world.dns.queries().back().edns);
}

SIMULATED_TEST(SimulatedLookup, WithASingleTryEdnsCannotBeLeftOut) {
  World world(simulation);
  world.MakeClient({.tries = 1});
  world.dns.AddRule({.fault = DnsFault::kSilenceToEdns});
  EXPECT_EQ(world.Finish("v4.test")->error, "NAME_TIMEOUT");
  EXPECT_EQ(world.dns.queries().size(), 1u);
}

SIMULATED_TEST(SimulatedLookup, EachServerHasItsOwnWayWithEdns) {
  World world(simulation);
  world.MakeClient({.servers = {{{simulation.FindHost("dns")->ipv4(), 53},
                                 {simulation.FindHost("dns2")->ipv6(), 53}}}});
  world.dns.AddRule({.fault = DnsFault::kSilenceToEdns});
  world.dns2.AddRule({.fault = DnsFault::kServerFailure});
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
  ASSERT_EQ(world.dns2.queries().size(), 1u);
  EXPECT_TRUE(world.dns2.queries()[0].edns);
  ASSERT_EQ(world.dns.queries().size(), 2u);
  EXPECT_FALSE(world.dns.queries()[1].edns);
}

SIMULATED_TEST(SimulatedLookup, EveryBadAnswerEndsTheLookupOnce) {
  World world(simulation);
  for (size_t i = 0; i != static_cast<size_t>(DnsFault::kCount); ++i) {
    auto fault = static_cast<DnsFault>(i);
    std::string name = "n" + std::to_string(i) + ".test";
    world.dns.AddAddress(name, Ipv4(1));
    world.dns.AddRule({.name = name, .fault = fault});
    std::unique_ptr<Looked> looked = world.Finish(name);
    EXPECT_TRUE(Between(looked->took, 0, 3500)) << DnsFaultName(fault);
    if (looked->error == "OK") {
      EXPECT_EQ(looked->addresses.front(), "10.1.0.1") << DnsFaultName(fault);
    }
  }
}

// ---- Who asks what is known, or asked already.

SIMULATED_TEST_SEEDS(SimulatedLookup, ThoseWhoAskTheSameAskOnce, 1, 3) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(100)});
  std::vector<std::unique_ptr<Looked>> lookups;
  for (int i = 0; i != 1000; ++i) {
    lookups.push_back(world.Start(i % 2 == 0 ? "v4.test" : "V4.TEST"));
    if (i % 100 == 0) simulation.RunFor(absl::Milliseconds(1));
  }
  auto ended = [&] {
    return std::all_of(lookups.begin(), lookups.end(),
                       [](const auto& looked) { return looked->calls == 1; });
  };
  EXPECT_TRUE(simulation.RunUntil(ended));
  EXPECT_EQ(world.dns.queries().size(), 1u);
  for (const auto& looked : lookups) {
    ASSERT_EQ(looked->All(), "OK 10.1.0.1");
  }
}

SIMULATED_TEST_SEEDS(SimulatedLookup, AThousandNamesAreAskedForFewAtATime, 1,
                     3) {
  World world(simulation);
  world.MakeClient({.questions_max = 10});
  world.dns.AddRule({.delay = absl::Milliseconds(5)});
  std::vector<std::unique_ptr<Looked>> lookups;
  for (uint32_t i = 0; i != 1000; ++i) {
    std::string name = "n" + std::to_string(i) + ".test";
    world.dns.AddAddress(name, Ipv4(i));
    lookups.push_back(world.Start(name));
  }
  auto ended = [&] {
    return std::all_of(lookups.begin(), lookups.end(),
                       [](const auto& looked) { return looked->calls == 1; });
  };
  EXPECT_TRUE(simulation.RunUntil(ended));
  EXPECT_EQ(world.dns.queries().size(), 1000u);
  for (uint32_t i = 0; i != 1000; ++i) {
    ASSERT_EQ(lookups[i]->All(), "OK " + Ipv4(i).ToString());
  }
  // A hundred rounds, of 5 ms and the way there and back.
  EXPECT_TRUE(Between(lookups.back()->took, 505, 520)) << lookups.back()->took;
}

SIMULATED_TEST(SimulatedLookup, AnswersAreKeptForTheirTime) {
  World world(simulation);
  world.dns.AddAddress("short.test", Ipv4(5), absl::Seconds(10));
  EXPECT_EQ(world.Finish("short.test")->All(), "OK 10.1.0.5");
  simulation.RunFor(absl::Seconds(9));
  for (int i = 0; i != 50; ++i) {
    EXPECT_EQ(world.Finish("SHORT.test")->All(), "OK 10.1.0.5");
    if (i == 25) world.dns.Remove("short.test");
  }
  EXPECT_EQ(world.dns.queries().size(), 1u);
  simulation.RunFor(absl::Seconds(10));
  EXPECT_EQ(world.Finish("short.test")->error, "NXDOMAIN");
  EXPECT_EQ(world.dns.queries().size(), 2u);
}

SIMULATED_TEST(SimulatedLookup, ThatThereIsNothingIsKeptBriefly) {
  World world(simulation);
  for (int i = 0; i != 10; ++i) {
    EXPECT_EQ(world.Finish("nothing.test")->error, "NXDOMAIN");
    EXPECT_EQ(world.Finish("bare.test")->error, "NODATA");
  }
  EXPECT_EQ(world.dns.queries().size(), 2u);
  world.dns.AddAddress("nothing.test", Ipv4(7));
  simulation.RunFor(absl::Seconds(5));
  EXPECT_EQ(world.Finish("nothing.test")->All(), "OK 10.1.0.7");
  EXPECT_EQ(world.dns.queries().size(), 3u);
}

SIMULATED_TEST(SimulatedLookup, AServerInTroubleIsNotAskedAgainAtOnce) {
  World world(simulation);
  world.dns.AddRule({.fault = DnsFault::kServerFailure});
  EXPECT_EQ(world.Finish("v4.test")->error, "SERVFAIL");
  size_t queries = world.dns.queries().size();
  EXPECT_EQ(world.Finish("v4.test")->error, "SERVFAIL");
  EXPECT_EQ(world.dns.queries().size(), queries);
  world.dns.ClearRules();
  simulation.RunFor(absl::Seconds(1));
  EXPECT_EQ(world.Finish("v4.test")->All(), "OK 10.1.0.1");
}

// ---- Ends.

SIMULATED_TEST(SimulatedLookup, CanEndAtAnyMoment) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(20)});
  // Around the moment at which the answer comes.
  absl::Duration before = absl::Microseconds(19'900 + simulation.Choose(400));
  std::unique_ptr<Looked> cancelled = world.Start("v4.test");
  std::unique_ptr<Looked> destroyed = world.Start("v4.test");
  std::unique_ptr<Looked> kept = world.Start("v4.test");
  simulation.RunFor(before);
  cancelled->lookup->Cancel();
  destroyed->lookup.reset();
  int calls = destroyed->calls;
  simulation.RunFor(absl::Seconds(3));
  EXPECT_EQ(cancelled->calls, 1);
  EXPECT_EQ(destroyed->calls, calls);
  EXPECT_EQ(kept->All(), "OK 10.1.0.1");
  if (before < absl::Milliseconds(20)) {
    EXPECT_EQ(cancelled->error, "NAME_CANCELLED");
  }
}

SIMULATED_TEST(SimulatedLookup, EndsInTheCallbackOfAnother) {
  World world(simulation);
  world.dns.AddRule({.fault = simulation.Choose(2) == 0
                                  ? DnsFault::kTcpReset
                                  : DnsFault::kTruncated});
  std::unique_ptr<Looked> other = world.Start("both.test");
  int calls = 0;
  auto lookup =
      LookUp(*world.collection, "v4.test", 80, [&](const LookupResult&) {
        ++calls;
        other->lookup->Cancel();
        world.collection->Close();
      });
  ASSERT_TRUE(lookup.ok());
  simulation.RunFor(absl::Seconds(5));
  EXPECT_EQ(calls, 1);
  EXPECT_LE(other->calls, 1);
}

SIMULATED_TEST(SimulatedLookup, TheCollectionMayGoFirst) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(20)});
  std::unique_ptr<Looked> looked = world.Start("v4.test");
  simulation.RunFor(absl::Milliseconds(simulation.Choose(30)));
  int calls = looked->calls;
  world.collection.reset();
  simulation.RunFor(absl::Seconds(3));
  EXPECT_EQ(looked->calls, calls);
}

SIMULATED_TEST(SimulatedLookup, SurvivesTheRestartOfTheServer) {
  World world(simulation);
  Host& host = *simulation.FindHost("dns");
  std::unique_ptr<Looked> looked = world.Start("v4.test");
  host.Crash();
  simulation.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(looked->calls, 0);
  host.Restart();
  world.dns.Restart();
  EXPECT_TRUE(simulation.RunUntil([&] { return looked->calls != 0; }));
  EXPECT_EQ(looked->All(), "OK 10.1.0.1");
}

}  // namespace
}  // namespace aios::sim
