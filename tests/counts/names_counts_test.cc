// What names cost, in counts: as counts_test.cc, only on real kernels. The name
// server is a peer on the thread of the test.

#ifdef __linux__
#include <malloc.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/names/dns_peer.h"
#include "tests/support/counting_kernel.h"
#include "tests/support/heap.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

std::vector<KernelParam> RealKernels() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.make_world()->simulated();
  });
  return kernels;
}

class NamesCountsTest : public testing::TestWithParam<KernelParam> {
 protected:
  NamesCountsTest()
      : world_(GetParam().make_world()),
        kernel_(world_->kernel()),
        server_(*world_, Family::kIpv4) {
    Configure({});
  }

  void Configure(ResolverOptions options) {
    options.servers = {server_.address()};
    options.search_domains = std::vector<std::string>();
    // No test depends on the files of its machine.
    options.hosts_file = "";
    options.services_file = "";
    collection_.reset();
    auto made = MakeWaitStateCollection(kernel_, {.resolver = options});
    ASSERT_TRUE(made.ok()) << made.status();
    collection_ = *std::move(made);
  }

  void Turn() {
    collection_->Wait(absl::Seconds(10));
    collection_->Call();
  }

  const std::unique_ptr<TestWorld> world_;
  CountingKernel kernel_;
  DnsPeer server_;
  std::unique_ptr<WaitStateCollection> collection_;
};

INSTANTIATE_TEST_SUITE_P(All, NamesCountsTest, testing::ValuesIn(RealKernels()),
                         NameOf);

TEST_P(NamesCountsTest, ASendToACachedNameCostsWhatOneToAnAddressCosts) {
  constexpr int kSends = 200;
  std::unique_ptr<UdpPeer> peer = world_->Udp(Family::kIpv4);
  std::string ip = peer->address().ip().ToString();
  uint16_t port = peer->address().port();
  server_.Add("a-name-that-is-quite-long.example", ip);
  auto state = OpenUdp(*collection_);
  ASSERT_TRUE(state.ok()) << state.status();
  int sent = 0;
  auto send = [&](const char* host) {
    int wanted = sent + 1;
    absl::Status status = (*state)->SendMessageToAddress(
        host, port, "hello", [&sent](AsyncIoState&, const IoResult& result) {
          sent += result.ok();
        });
    ASSERT_TRUE(status.ok()) << status;
    for (int i = 0; i != 100 && sent != wanted; ++i) {
      server_.Serve();
      Turn();
    }
    ASSERT_EQ(sent, wanted);
    EXPECT_EQ(peer->Receive().payload, "hello");
  };
  struct Cost {
    CallCounts calls;
    int64_t allocations = 0;
  };
  auto cost = [&](const char* host) {
    send(host);
    Cost cost;
    for (int i = 0; i != kSends; ++i) {
      // The peers' own do not count.
      CallCounts calls = kernel_.counts();
      HeapUse heap = CurrentHeapUse();
      int wanted = sent + 1;
      EXPECT_TRUE((*state)
                      ->SendMessageToAddress(
                          host, port, "hello",
                          [&sent](AsyncIoState&, const IoResult& result) {
                            sent += result.ok();
                          })
                      .ok());
      Turn();
      EXPECT_EQ(sent, wanted) << "one turn";
      CallCounts made = kernel_.counts() - calls;
      for (size_t call = 0; call != made.made.size(); ++call) {
        cost.calls.made[call] += made.made[call];
        cost.calls.failed[call] += made.failed[call];
      }
      cost.allocations += (CurrentHeapUse() - heap).allocations;
      EXPECT_EQ(peer->Receive().payload, "hello");
    }
    return cost;
  };
  Cost address = cost(ip.c_str());
  Cost name = cost("a-name-that-is-quite-long.example");
  // Outside of a turn the cache looks at the clock, which is no system call.
  for (Cost* cost : {&name, &address}) {
    cost->calls.made[static_cast<size_t>(KernelCall::kNow)] = 0;
  }
  EXPECT_EQ(name.calls.ToString(), address.calls.ToString());
  EXPECT_EQ(name.calls.of(KernelCall::kSendDatagrams), kSends);
  EXPECT_EQ(address.allocations, 0);
  EXPECT_EQ(name.allocations, 0);
  EXPECT_EQ(server_.queries(), 1u);
}

TEST_P(NamesCountsTest, ALookupOfACachedNameCostsWhatOneOfAnAddressCosts) {
  constexpr int kLookups = 200;
  server_.Add("a-name-that-is-quite-long.example", "192.0.2.7");
  int found = 0;
  auto look_up = [&](const std::string& host) {
    int wanted = found + 1;
    HeapUse heap = CurrentHeapUse();
    auto lookup =
        LookUp(*collection_, host, 80,
               [&found](const LookupResult& result) { found += result.ok(); },
               {.family = LookupFamily::kIpv4});
    int64_t allocations = (CurrentHeapUse() - heap).allocations;
    EXPECT_TRUE(lookup.ok()) << lookup.status();
    for (int i = 0; i != 100 && found != wanted; ++i) {
      server_.Serve();
      Turn();
    }
    EXPECT_EQ(found, wanted);
    return allocations;
  };
  auto cost = [&](const std::string& host) {
    look_up(host);
    int64_t allocations = 0;
    for (int i = 0; i != kLookups; ++i) allocations += look_up(host);
    return allocations;
  };
  // The lookup and its addresses.
  EXPECT_EQ(cost("192.0.2.7"), 2 * kLookups);
  EXPECT_EQ(cost("a-name-that-is-quite-long.example"), 2 * kLookups);
  EXPECT_EQ(server_.queries(), 1u);
}

// Of all threads, c-ares' memory included; 0 where nobody can tell.
int64_t BytesInUse() {
#ifdef __GLIBC__
  return static_cast<int64_t>(mallinfo2().uordblks);
#else
  return 0;
#endif
}

ptrdiff_t Threads() {
  std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST_P(NamesCountsTest, AThousandLookupsAtOnce) {
  constexpr int kLookups = 1000;
  for (int i = 0; i != kLookups; ++i) {
    server_.Add(absl::StrCat("host", i, ".example"), "192.0.2.7");
  }
  ptrdiff_t threads = Threads();
  int64_t before = BytesInUse();
  CallCounts calls = kernel_.counts();
  int found = 0;
  std::vector<std::unique_ptr<Lookup>> lookups;
  for (int i = 0; i != kLookups; ++i) {
    auto lookup =
        LookUp(*collection_, absl::StrCat("host", i, ".example"), 80,
               [&found](const LookupResult& result) { found += result.ok(); },
               {.family = LookupFamily::kIpv4});
    ASSERT_TRUE(lookup.ok()) << lookup.status();
    lookups.push_back(*std::move(lookup));
  }
  int64_t in_progress = BytesInUse() - before;
  int64_t most = in_progress;
  int turns = 0;
  while (found < kLookups && turns < 10000) {
    server_.Serve();
    Turn();
    ++turns;
    most = std::max(most, BytesInUse() - before);
  }
  EXPECT_EQ(found, kLookups);
  EXPECT_EQ(server_.queries(), static_cast<size_t>(kLookups));
  EXPECT_EQ(Threads(), threads);
  int64_t kept = BytesInUse() - before;
  CallCounts made = kernel_.counts() - calls;
  std::cout << "1,000 lookups: " << most / 1024
            << " KiB at the most, the lookups and the test's name server "
               "included; "
            << kept / 1024 << " KiB kept; " << turns << " turns; "
            << made.ToString() << "\n";
  EXPECT_LT(most, int64_t{2} << 20);
  // One socket does for all that are asked at a time.
  EXPECT_LE(made.of(KernelCall::kOpen), 10);
  EXPECT_EQ(made.of(KernelCall::kSendDatagrams), kLookups);
  EXPECT_LE(made.of(KernelCall::kWait), turns);
}

TEST_P(NamesCountsTest, ALookupWakesNobodyButForItsAnswersAndTimers) {
  server_.Add("host.example", "192.0.2.7");
  int ended = 0;
  auto start = [&](const char* name) {
    auto lookup =
        LookUp(*collection_, name, 80, [&](const LookupResult&) { ++ended; },
               {.family = LookupFamily::kIpv4});
    EXPECT_TRUE(lookup.ok()) << lookup.status();
    return *std::move(lookup);
  };
  auto waits = [this] { return kernel_.counts().of(KernelCall::kWait); };
  int64_t before = waits();
  std::unique_ptr<Lookup> lookup = start("host.example");
  ASSERT_TRUE(world_->Until([&] {
    server_.Serve();
    return server_.queries() == 1;
  }));
  while (ended == 0) Turn();
  EXPECT_EQ(waits() - before, 1);

  // Two rounds, and so two timers.
  Configure({.timeout = absl::Milliseconds(5), .tries = 2});
  server_.Hold();
  before = waits();
  lookup = start("silent.example");
  while (ended == 1) Turn();
  EXPECT_EQ(waits() - before, 2);
  server_.Serve();
  EXPECT_EQ(server_.queries(), 3u);
}

}  // namespace
}  // namespace aios::test
