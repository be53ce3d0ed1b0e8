// A simulation takes memory for what is in flight and in use, not for how long
// it has run.

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"
#include "tests/support/heap.h"

namespace aios::sim {
namespace {

// A client that connects, asks, reads the answer, closes and connects again,
// through losses: what ends has to go.
class Visits {
 public:
  Visits(Host& server, Host& client)
      : server_(server),
        there_(MakeWaitStateCollection(server.kernel()).value()),
        here_(MakeWaitStateCollection(client.kernel()).value()),
        listener_(
            AcceptTcpConnections(
                *there_, 7,
                [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
                  Serve(std::move(state));
                })
                .value()) {
    Visit();
  }

  uint64_t count() const { return count_; }

 private:
  void Serve(std::shared_ptr<AsyncIoState> state) {
    auto buffer = std::make_shared<std::array<char, 2000>>();
    EXPECT_TRUE(state
                    ->ReadBuffer(
                        *buffer,
                        [state, buffer](AsyncIoState&, const IoResult& input) {
                          if (!input.ok()) return;
                          EXPECT_TRUE(state
                                          ->WriteBuffer(input.data,
                                                        [state, buffer](
                                                            AsyncIoState&,
                                                            const IoResult&) {})
                                          .ok());
                        },
                        {.timeout = absl::Seconds(10)})
                    .ok());
  }

  void Visit() {
    client_ =
        ConnectTcp(
            *here_, server_.ipv4(), 7,
            [this](AsyncIoState& state, const IoResult& result) {
              if (!result.ok()) return Again();
              EXPECT_TRUE(state
                              .WriteBuffer(question_, [](AsyncIoState&,
                                                         const IoResult&) {})
                              .ok());
              EXPECT_TRUE(
                  state
                      .ReadBuffer(answer_,
                                  [this](AsyncIoState&, const IoResult&) {
                                    ++count_;
                                    Again();
                                  },
                                  {.timeout = absl::Seconds(10)})
                      .ok());
            },
            {.connect_timeout = absl::Seconds(5)})
            .value();
  }
  void Again() {
    EXPECT_TRUE(here_->Apply([this] { Visit(); }).ok());
  }

  Host& server_;
  std::string_view question_ = std::string_view(kQuestion, sizeof(kQuestion));
  static constexpr char kQuestion[2000] = {};
  std::array<char, 2000> answer_;
  uint64_t count_ = 0;
  std::unique_ptr<WaitStateCollection> there_;
  std::unique_ptr<WaitStateCollection> here_;
  std::unique_ptr<AsyncIoState> client_;
  std::unique_ptr<AcceptingHandle> listener_;
};

TEST(MemoryTest, DoesNotGrowWithTime) {
  Simulation simulation(
      {.faults = {.loss = 20'000, .duplication = 20'000, .split = 200'000}});
  Host& server = simulation.AddHost("server");
  Host& client = simulation.AddHost("client");
  // Connections that have ended are remembered for a minute.
  simulation.SetLink(client, server,
                     {.latency = Latency::Fixed(absl::Milliseconds(20))});
  Visits visits(server, client);
  EXPECT_TRUE(simulation.RunFor(absl::Minutes(5)));
  uint64_t count = visits.count();
  int64_t early = test::CurrentHeapUse().bytes;
  EXPECT_TRUE(simulation.RunFor(absl::Minutes(15)));
  int64_t late = test::CurrentHeapUse().bytes;
  EXPECT_GT(count, 500u);
  EXPECT_GT(visits.count(), 3 * count);
  EXPECT_LT(late, early + early / 5) << "bytes in use";
}

}  // namespace
}  // namespace aios::sim
