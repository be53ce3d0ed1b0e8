// Connecting to names in virtual time: addresses that refuse, are slow or say
// nothing, and every moment at which it may end.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/name_server.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"

namespace aios::sim {
namespace {

constexpr Nanoseconds kMillisecond = 1'000'000;

// Nobody has it.
IpAddress Blackhole(uint32_t last) {
  return IpAddress::FromIpv4(0xcb007100 | last);
}

struct World {
  explicit World(Simulation& simulation)
      : simulation(simulation),
        drain{simulation},
        client(simulation.AddHost("client")),
        server(simulation.AddHost("server")),
        idle(simulation.AddHost("idle")),
        dns(simulation.AddHost("dns")),
        there(MakeWaitStateCollection(server.kernel()).value()),
        here(MakeWaitStateCollection(
                 client.kernel(),
                 {.resolver = {.servers = {{{simulation.hosts()[3]->ipv4(),
                                             53}}},
                               .timeout = absl::Milliseconds(500),
                               .tries = 2}})
                 .value()),
        listener(
            AcceptTcpConnections(
                *there, 80,
                [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
                  accepted.push_back(std::move(state));
                })
                .value()) {}

  void Connect(std::string_view name,
               absl::Duration timeout = absl::InfiniteDuration()) {
    Nanoseconds start = simulation.now();
    state = ConnectTcp(*here, name, 80,
                       [this, start](AsyncIoState&, const IoResult& result) {
                         ++calls;
                         took = simulation.now() - start;
                         status = result.error.ok()
                                      ? std::string(IoStatusName(result.status))
                                      : result.error.Name();
                         detail = result.detail;
                       },
                       {.connect_timeout = timeout})
                .value();
    EXPECT_EQ(calls, 0);
  }

  // What closing has left on its way.
  struct Drain {
    ~Drain() { simulation.RunUntilIdle(); }
    Simulation& simulation;
  };

  Simulation& simulation;
  Drain drain;
  Host& client;
  Host& server;
  Host& idle;
  NameServer dns;
  std::unique_ptr<WaitStateCollection> there;
  std::unique_ptr<WaitStateCollection> here;
  std::vector<std::unique_ptr<AsyncIoState>> accepted;
  std::unique_ptr<AcceptingHandle> listener;
  std::unique_ptr<AsyncIoState> state;
  int calls = 0;
  Nanoseconds took = 0;
  std::string status;
  std::string detail;
};

SIMULATED_TEST(SimulatedConnect, TriesOneAddressAfterTheOther) {
  World world(simulation);
  for (uint32_t i = 1; i <= 4; ++i) {
    world.dns.AddAddress("www.test", Blackhole(i));
  }
  world.dns.AddAddress("www.test", world.server.ipv4());
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  EXPECT_EQ(world.status, "ok");
  EXPECT_EQ(world.state->peer_address(),
            SocketAddress(world.server.ipv4(), 80));
  // 250 ms for each of those before it.
  EXPECT_GE(world.took, 1000 * kMillisecond);
  EXPECT_LT(world.took, 1001 * kMillisecond);
  simulation.RunFor(absl::Milliseconds(1));
  // The losers are closed, and the resolver has no socket: there are a poller
  // and the connection.
  EXPECT_EQ(world.client.descriptors_open(), 2);
  EXPECT_EQ(world.accepted.size(), 1u);
}

// IPv4 of the name itself, IPv6 of another one that a search domain leads to:
// the connection must not end there, whichever is quicker to answer.
SIMULATED_TEST(SimulatedConnect, AllAddressesAreThoseOfOneName) {
  for (bool slow : {false, true}) {
    Simulation inner({.seed = simulation.seed()});
    World world(inner);
    world.here =
        MakeWaitStateCollection(
            world.client.kernel(),
            {.resolver = {.servers = {{{inner.hosts()[3]->ipv4(), 53}}},
                          .search_domains = {{"corp.test"}}}})
            .value();
    world.dns.AddAddress("www.shop.test", world.idle.ipv4());
    world.dns.AddAddress("www.shop.test.corp.test", world.server.ipv6());
    if (slow) {
      world.dns.AddRule({.type = DnsType::kA, .delay = absl::Milliseconds(80)});
    }
    world.Connect("www.shop.test");
    EXPECT_TRUE(inner.RunUntil([&] { return world.calls != 0; }));
    EXPECT_EQ(world.status, "ECONNREFUSED") << world.detail;
    EXPECT_EQ(world.dns.CountQueries("www.shop.test.corp.test"), 0u);
  }
}

SIMULATED_TEST(SimulatedConnect, AnAddressThatIsThereTwiceIsTriedOnce) {
  World world(simulation);
  for (int i = 0; i != 3; ++i) {
    world.dns.AddAddress("www.test", world.idle.ipv4());
  }
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  std::string text = SocketAddress(world.idle.ipv4(), 80).ToString();
  size_t first = world.detail.find(text);
  ASSERT_NE(first, std::string::npos) << world.detail;
  EXPECT_EQ(world.detail.find(text, first + 1), std::string::npos)
      << world.detail;
}

SIMULATED_TEST(SimulatedConnect, GoesOnAtOnceWhenAnAddressRefuses) {
  World world(simulation);
  world.dns.AddAddress("www.test", Blackhole(1));
  world.dns.AddAddress("www.test", world.idle.ipv4());
  world.dns.AddAddress("www.test", world.server.ipv4());
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  EXPECT_EQ(world.status, "ok") << world.detail;
  // 250 ms for the first, and nothing for the second.
  EXPECT_LT(world.took, 260 * kMillisecond);
}

SIMULATED_TEST(SimulatedConnect, TakesTheFamiliesInTurn) {
  World world(simulation);
  Host& dns = *simulation.hosts()[3];
  // All refuse.
  for (Host* host : {&world.idle, &dns}) {
    world.dns.AddAddress("www.test", host->ipv4());
    world.dns.AddAddress("www.test", host->ipv6());
  }
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  auto place = [&](const IpAddress& ip) {
    return world.detail.find(SocketAddress(ip, 80).ToString());
  };
  size_t last4 = std::max(place(world.idle.ipv4()), place(dns.ipv4()));
  size_t last6 = std::max(place(world.idle.ipv6()), place(dns.ipv6()));
  EXPECT_GT(last4, std::min(place(world.idle.ipv6()), place(dns.ipv6())));
  EXPECT_GT(last6, std::min(place(world.idle.ipv4()), place(dns.ipv4())));
}

SIMULATED_TEST(SimulatedConnect, ALoserThatAnswersLaterIsClosed) {
  World world(simulation);
  // Both families of the server, the one by a long way.
  world.dns.AddAddress("www.test", world.server.ipv4());
  world.dns.AddAddress("www.test", world.server.ipv6());
  simulation.SetLink(world.server, world.client,
                     {.latency = Latency::Uniform(absl::Milliseconds(1),
                                                  absl::Milliseconds(600))});
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  EXPECT_EQ(world.status, "ok");
  simulation.RunFor(absl::Seconds(10));
  EXPECT_EQ(world.calls, 1);
  EXPECT_EQ(world.client.descriptors_open(), 2);
  // What the server has accepted of the loser ends by itself.
  int open = 0;
  for (const std::unique_ptr<AsyncIoState>& accepted : world.accepted) {
    bool ended = false;
    char byte;
    ASSERT_TRUE(
        accepted
            ->ReadBuffer({&byte, 1},
                         [&](AsyncIoState&, const IoResult&) { ended = true; })
            .ok());
    simulation.RunFor(absl::Seconds(2));
    if (!ended) ++open;
    accepted->Close();
  }
  EXPECT_EQ(open, 1);
}

SIMULATED_TEST(SimulatedConnect, TheErrorTellsWhatWasTried) {
  World world(simulation);
  world.dns.AddAddress("www.test", world.idle.ipv4());
  world.dns.AddAddress("www.test", world.idle.ipv6());
  world.Connect("www.test");
  EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
  EXPECT_EQ(world.status, "ECONNREFUSED");
  for (const IpAddress& address : {world.idle.ipv4(), world.idle.ipv6()}) {
    EXPECT_NE(world.detail.find(SocketAddress(address, 80).ToString()),
              std::string::npos)
        << world.detail;
  }
  EXPECT_NE(world.detail.find("www.test"), std::string::npos) << world.detail;
}

SIMULATED_TEST(SimulatedConnect, TheTimeoutCountsTheLookup) {
  World world(simulation);
  world.dns.AddRule({.name = "late.test", .delay = absl::Milliseconds(300)});
  world.dns.AddRule({.name = "silent.test", .fault = DnsFault::kSilence});
  world.dns.AddAddress("late.test", Blackhole(1));
  for (std::string_view name : {"late.test", "silent.test"}) {
    world.calls = 0;
    world.Connect(name, absl::Milliseconds(400));
    EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
    EXPECT_EQ(world.status, "timeout") << name;
    EXPECT_EQ(world.took, 400 * kMillisecond) << name;
    simulation.RunFor(absl::Seconds(3));
    EXPECT_EQ(world.calls, 1);
  }
}

SIMULATED_TEST_SEEDS(SimulatedConnect, MayEndAtAnyMoment, 1, 200) {
  World world(simulation);
  world.dns.AddRule({.delay = absl::Milliseconds(20)});
  world.dns.AddAddress("www.test", Blackhole(1));
  world.dns.AddAddress("www.test", world.idle.ipv4());
  world.dns.AddAddress("www.test", world.server.ipv4());
  world.dns.AddAddress("www.test", world.server.ipv6());
  world.Connect("www.test");
  // Around the moments at which something happens.
  constexpr uint64_t kMoments[] = {0, 20'000, 70'000, 270'000, 320'000};
  uint64_t moment = kMoments[simulation.Choose(5)] + simulation.Choose(3) * 50 +
                    simulation.Choose(100);
  simulation.RunFor(absl::Microseconds(moment));
  int calls = world.calls;
  bool aborted = false;
  switch (simulation.Choose(5)) {
    case 0:
      EXPECT_TRUE(
          world.state
              ->Abort([&](AsyncIoState&, const IoResult&) { aborted = true; },
                      Direction::kIo)
              .ok());
      simulation.RunFor(absl::Seconds(5));
      EXPECT_TRUE(aborted);
      EXPECT_LE(world.calls, 1);
      break;
    case 1:
      world.state->Close();
      simulation.RunFor(absl::Seconds(5));
      EXPECT_EQ(world.calls, calls);
      break;
    case 2:
      world.state.reset();
      simulation.RunFor(absl::Seconds(5));
      EXPECT_EQ(world.calls, calls);
      break;
    case 3:
      world.here.reset();
      simulation.RunFor(absl::Seconds(5));
      EXPECT_EQ(world.calls, calls);
      break;
    default:
      EXPECT_TRUE(simulation.RunUntil([&] { return world.calls != 0; }));
      EXPECT_EQ(world.status, "ok");
      return;
  }
  // Nobody who may not be is connected any more.
  if (world.here != nullptr && calls == 0) {
    EXPECT_LE(world.client.descriptors_open(), 2);
  }
}

}  // namespace
}  // namespace aios::sim
