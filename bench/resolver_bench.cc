// A lookup whose answer is in the resolver's cache, beside an address, which
// needs no lookup. The answer was given by a simulated name server.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "bench/allocations.h"
#include "benchmark/benchmark.h"
#include "sim/name_server.h"
#include "sim/simulation.h"

namespace aios::bench {
namespace {

class World {
 public:
  World()
      : dns_(simulation_.AddHost("dns")),
        collection_(
            MakeWaitStateCollection(
                simulation_.AddHost("client").kernel(),
                {.resolver = {.servers = {{{simulation_.FindHost("dns")->ipv4(),
                                            53}}},
                              .ttl_min = absl::Hours(24)}})
                .value()) {
    dns_.AddAddress("www.test", simulation_.FindHost("dns")->ipv4());
  }
  ~World() { simulation_.RunUntilIdle(); }

  // Looks the host up; its answer comes in the next turn.
  void LookUpNow(const std::string& host) {
    int64_t wanted = answers_ + 1;
    std::unique_ptr<Lookup> lookup = Start(host);
    collection_->Call();
    if (answers_ != wanted) std::abort();
  }

  // The same, when the name server has to be asked.
  void LookUpLater(const std::string& host) {
    int64_t wanted = answers_ + 1;
    std::unique_ptr<Lookup> lookup = Start(host);
    simulation_.RunUntil([&] { return answers_ == wanted; });
    if (answers_ != wanted) std::abort();
  }

 private:
  std::unique_ptr<Lookup> Start(const std::string& host) {
    return LookUp(*collection_, host, 80,
                  [this](const LookupResult& result) {
                    if (result.ok()) ++answers_;
                  },
                  {.family = LookupFamily::kIpv4})
        .value();
  }

  sim::Simulation simulation_;
  sim::NameServer dns_;
  std::unique_ptr<WaitStateCollection> collection_;
  int64_t answers_ = 0;
};

void CacheHit(benchmark::State& bench) {
  World world;
  world.LookUpLater("www.test");
  world.LookUpNow("www.test");
  CountAllocations allocations;
  for (auto _ : bench) world.LookUpNow("www.test");
  // The lookup and its addresses, as for an address.
  allocations.Report(bench, bench.iterations(), /*most=*/2);
}
BENCHMARK(CacheHit);

void Address(benchmark::State& bench) {
  World world;
  world.LookUpNow("10.0.0.1");
  CountAllocations allocations;
  for (auto _ : bench) world.LookUpNow("10.0.0.1");
  allocations.Report(bench, bench.iterations(), /*most=*/2);
}
BENCHMARK(Address);

}  // namespace
}  // namespace aios::bench

BENCHMARK_MAIN();
