// The memory of a simulation is bounded by what is in flight, not by how long
// it has run.

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"
#include "tests/support/heap.h"

namespace aios::test {
namespace {

// A round of everything: a connection is made, used and closed, datagrams are
// sent, packets are lost, cut and held.
class Rounds {
 public:
  Rounds()
      : server_(simulation_.AddHost("server")),
        client_(simulation_.AddHost("client")),
        there_(MakeWaitStateCollection(server_.kernel()).value()),
        here_(MakeWaitStateCollection(client_.kernel()).value()) {
    listener_ =
        AcceptTcpConnections(
            *there_, 80,
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              reader_ = std::move(state);
              Read();
            })
            .value();
    udp_ = OpenUdp(*here_).value();
  }

  void Run() {
    bool done = false;
    writer_ = ConnectTcp(*here_, server_.ipv4(), 80,
                         [&](AsyncIoState& state, const IoResult&) {
                           static_cast<void>(state.WriteBuffer(
                               bytes_, [&](AsyncIoState&, const IoResult&) {
                                 done = true;
                               }));
                         })
                  .value();
    static_cast<void>(
        udp_->SendMessageToAddress(SocketAddress(server_.ipv4(), 9), "x",
                                   [](AsyncIoState&, const IoResult&) {}));
    EXPECT_TRUE(simulation_.RunUntil([&] { return done; }));
    writer_ = nullptr;
    {
      sim::Rule hold = simulation_.Hold(server_, client_);
      simulation_.RunFor(absl::Milliseconds(1));
    }
    // Until no end of the connection is remembered.
    simulation_.RunFor(absl::Minutes(10));
    reader_ = nullptr;
    simulation_.RunFor(absl::Minutes(10));
  }

  sim::Simulation& simulation() { return simulation_; }

 private:
  void Read() {
    static_cast<void>(reader_->ReceiveMessage(
        buffer_, [this](AsyncIoState&, const IoResult& result) {
          if (result.ok()) Read();
        }));
  }

  sim::Simulation simulation_{
      {.faults = {.loss = 10'000, .reordering = 10'000, .split = 10'000}}};
  sim::Host& server_;
  sim::Host& client_;
  std::unique_ptr<WaitStateCollection> there_;
  std::unique_ptr<WaitStateCollection> here_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::unique_ptr<AsyncIoState> reader_;
  std::unique_ptr<AsyncIoState> writer_;
  std::unique_ptr<AsyncIoState> udp_;
  std::string bytes_ = std::string(100'000, 'x');
  std::array<char, 4000> buffer_;
};

TEST(Memory, DoesNotGrowWithTheLengthOfTheRun) {
  Rounds rounds;
  for (int i = 0; i != 50; ++i) rounds.Run();
  const HeapUse warm = CurrentHeapUse();
  for (int i = 0; i != 200; ++i) rounds.Run();
  const HeapUse later = CurrentHeapUse() - warm;
  EXPECT_GT(rounds.simulation().events(), 20'000u);
  // The largest number of packets under way at a time may still rise a little.
  EXPECT_LE(later.bytes, 64 * 1024);
  EXPECT_TRUE(rounds.simulation().violations().empty());
}

TEST(Memory, ALargeStreamTakesWhatItsBuffersHold) {
  sim::Simulation simulation;
  sim::Host& a = simulation.AddHost("a");
  sim::Host& b = simulation.AddHost("b");
  Handle listener = kNoHandle;
  Handle from = kNoHandle;
  Handle to = kNoHandle;
  SocketAddress address(b.ipv4(), 80);
  ASSERT_TRUE(
      b.kernel().Open(SocketType::kStream, Family::kIpv4, &listener).ok());
  ASSERT_TRUE(b.kernel().Bind(listener, address).ok());
  ASSERT_TRUE(b.kernel().Listen(listener, 1).ok());
  ASSERT_TRUE(a.kernel().Open(SocketType::kStream, Family::kIpv4, &from).ok());
  static_cast<void>(a.kernel().Connect(from, address));
  ASSERT_TRUE(simulation.RunUntil(
      [&] { return b.kernel().Accept(listener, &to).ok(); }));
  const HeapUse before = CurrentHeapUse();
  const std::string bytes(100'000, 'x');
  std::string room(100'000, '\0');
  int64_t most = 0;
  uint64_t received = 0;
  for (int i = 0; i != 2000; ++i) {
    ConstBuffer buffer = {bytes.data(), bytes.size()};
    static_cast<void>(a.kernel().Send(from, {&buffer, 1}));
    simulation.RunFor(absl::Microseconds(200));
    received += b.kernel().Receive(to, room).count;
    most = std::max(most, (CurrentHeapUse() - before).bytes);
  }
  EXPECT_GT(received, 150'000'000u);
  EXPECT_LT(most, 10'000'000);
  EXPECT_TRUE(simulation.violations().empty());
}

}  // namespace
}  // namespace aios::test
