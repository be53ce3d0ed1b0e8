// Every kernel call fails once while names are resolved: the first, the second,
// … with every error that the call may give. In each run every operation ends
// exactly once, no handle is left open, and the next lookup is answered.

#include <array>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/names/names_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

// Runs of one variant: more than there are calls.
constexpr int64_t kRunsMax = 500;

class FaultsTest : public NamesTest {
 protected:
  FaultsTest() : faults_(files_) {
    files_.files["/etc/hosts"] = "192.0.2.1 other.example\n";
    files_.files["/etc/services"] = "mine 7/udp\n";
  }
  ~FaultsTest() override { DestroyCollection(); }

  // A collection without a memory.
  void Renew() {
    // No call is to fail any more.
    faults_.FailNth(std::numeric_limits<int64_t>::max(), size_t{0});
    ResolverOptions options = Options();
    options.timeout = absl::Milliseconds(5);
    options.failure_ttl = absl::ZeroDuration();
    RemakeCollection({.resolver = std::move(options)}, &faults_);
  }

  // Calls `run` once for each call of its that can fail; it counts what ends.
  void FailEachCall(absl::FunctionRef<void()> run) {
    for (size_t variant = 0; variant != FaultKernel::kErrorVariants;
         ++variant) {
      for (int64_t n = 1;; ++n) {
        ASSERT_LT(n, kRunsMax);
        Renew();
        faults_.FailNth(n, variant);
        run();
        if (HasFailure()) {
          ADD_FAILURE() << "variant " << variant << ", call " << n << ": "
                        << (faults_.failed_call().has_value()
                                ? CallName(*faults_.failed_call())
                                : "none");
          return;
        }
        if (!faults_.fault_was_reached()) break;
        // It goes on as before.
        auto looked = Finish("host.example");
        ASSERT_EQ(looked->error, Error())
            << looked->detail << ", after " << CallName(*faults_.failed_call());
      }
    }
  }

  FaultKernel faults_;
};

INSTANTIATE_TEST_SUITE_P(All, FaultsTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(FaultsTest, OfALookup) {
  server_.Add("host.example", "192.0.2.7");
  server_.Add("host.example", "192.0.2.8");
  server_.Add("host.example", "2001:db8::7");
  FailEachCall([&] {
    std::array<int, 3> ends = {};
    std::vector<std::unique_ptr<Lookup>> lookups;
    for (int i = 0; i != 3; ++i) {
      constexpr std::array<const char*, 3> kNames = {
          "host.example", "none.example", "other.example"};
      absl::StatusOr<std::unique_ptr<Lookup>> lookup = LookUp(
          collection(), kNames[i], 80, [&ends, i](const LookupResult& result) {
            ++ends[i];
            EXPECT_EQ(result.ok(), !result.addresses.empty());
            EXPECT_EQ(result.ok(), result.detail.empty());
          });
      ASSERT_OK(lookup);
      lookups.push_back(*std::move(lookup));
    }
    ASSERT_TRUE(ServeUntil([&] { return ends[0] + ends[1] + ends[2] >= 3; }));
    EXPECT_EQ(ends, (std::array<int, 3>{1, 1, 1}));
  });
}

TEST_P(FaultsTest, OfSends) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  server_.Add("host.example", peer->address().ip().ToString());
  FailEachCall([&] {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = OpenUdp(collection());
    if (!state.ok()) {
      EXPECT_TRUE(faults_.fault_was_reached()) << state.status();
      return;
    }
    std::array<int, 3> ends = {};
    auto end = [&ends](int i) {
      return [&ends, i](AsyncIoState&, const IoResult&) { ++ends[i]; };
    };
    ASSERT_OK((*state)->SendMessageToAddress(
        "host.example", peer->address().port(), "1", end(0)));
    ASSERT_OK((*state)->SendMessageToAddress("none.example", 7, "2", end(1)));
    ASSERT_OK((*state)->SendMessageToAddress(
        "Host.Example", peer->address().port(), "3", end(2)));
    ASSERT_TRUE(ServeUntil([&] { return ends[0] + ends[1] + ends[2] >= 3; }));
    EXPECT_EQ(ends, (std::array<int, 3>{1, 1, 1}));
    while (peer->TryReceive().has_value()) {
    }
  });
}

TEST_P(FaultsTest, OfAConnect) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  server_.Add("host.example", listener->address().ip().ToString());
  if (world().HasFamily(Family::kIpv6)) {
    // Where nobody listens.
    server_.Add("host.example", world().peer_ip(Family::kIpv6).ToString());
  }
  FailEachCall([&] {
    int ends = 0;
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectTcp(collection(), "host.example", listener->address().port(),
                   [&](AsyncIoState& state, const IoResult& result) {
                     ++ends;
                     EXPECT_EQ(result.ok(), state.handle() != kNoHandle);
                     EXPECT_EQ(result.ok(), result.detail.empty());
                   },
                   {.connect_timeout = absl::Seconds(5)});
    ASSERT_OK(state);
    ASSERT_TRUE(ServeUntil([&] { return ends != 0; }));
    EXPECT_EQ(ends, 1);
    // The loser, and the rest of the other one's lookup.
    state->reset();
    RunFor(absl::Milliseconds(1));
  });
}

}  // namespace
}  // namespace aios::test
