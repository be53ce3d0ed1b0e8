#include "tests/name_server/lookups_of_a_seed.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "sim/name_server.h"
#include "sim/simulation.h"

namespace aios::sim {

std::string LookupsOfASeed(uint64_t seed) {
  constexpr int kNames = 10;
  constexpr int kLookups = 60;
  Simulation simulation({.seed = seed});
  Host& client = simulation.AddHost("client");
  NameServer first(simulation.AddHost("first"));
  NameServer second(simulation.AddHost("second"));
  for (NameServer* server : {&first, &second}) {
    for (uint32_t i = 0; i != kNames; ++i) {
      std::string name = absl::StrCat("n", i, ".test");
      server->AddAddress(name, IpAddress::FromIpv4(0x0a010000 | i),
                         absl::Seconds(i));
      if (i % 2 == 0) {
        server->AddAlias(absl::StrCat("alias", i, ".test"), name);
      }
    }
    for (DnsFault fault :
         {DnsFault::kSilence, DnsFault::kTruncated, DnsFault::kServerFailure,
          DnsFault::kTcpReset, DnsFault::kForged, DnsFault::kGarbage}) {
      server->AddRule({.fault = fault, .per_million = 100'000});
    }
  }
  simulation.SetFaults({.loss = 50'000,
                        .duplication = 50'000,
                        .reordering = 50'000,
                        .corruption = 20'000,
                        .short_read = 50'000,
                        .would_block = 50'000,
                        .spurious = 50'000,
                        .split = 200'000});
  auto collection =
      MakeWaitStateCollection(
          client.kernel(),
          {.resolver = {.servers = {{{simulation.hosts()[1]->ipv4(), 53},
                                     {simulation.hosts()[2]->ipv6(), 53}}},
                        .timeout = absl::Milliseconds(300),
                        .tries = 2}})
          .value();
  std::string ends;
  int ended = 0;
  std::vector<std::unique_ptr<Lookup>> lookups;
  for (int i = 0; i != kLookups; ++i) {
    uint64_t number = simulation.Choose(kNames);
    std::string name =
        absl::StrCat(number % 2 == 0 ? "alias" : "n", number, ".test");
    auto lookup =
        LookUp(*collection, name, 80, [&](const LookupResult& result) {
          ++ended;
          absl::StrAppend(&ends, simulation.now(), " ", result.error.Name());
          for (const SocketAddress& address : result.addresses) {
            absl::StrAppend(&ends, " ", address.ToString());
          }
          ends += '\n';
        });
    if (lookup.ok()) lookups.push_back(*std::move(lookup));
    simulation.RunFor(absl::Milliseconds(simulation.Choose(500)));
  }
  bool done =
      static_cast<bool>(simulation.RunUntil([&] { return ended == kLookups; }));
  std::string text = absl::StrCat(
      "seed ", seed, " hash ", absl::Hex(simulation.trace_hash()), " events ",
      simulation.events(), done ? "" : " NOT DONE", "\nids");
  for (NameServer* server : {&first, &second}) {
    for (const DnsQuery& query : server->queries()) {
      absl::StrAppend(&text, " ", query.id);
    }
  }
  return absl::StrCat(text, "\n", ends);
}

}  // namespace aios::sim
