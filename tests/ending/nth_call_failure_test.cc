// Every kernel call fails once: the first, the second, … until a run gets by
// without reaching the failing one; with every error that the call may give. In
// each run every operation that was started ends exactly once, no handle is
// left open, and the collection serves others as before.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/ending/handle_kernel.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

// More than all turns of any scenario here.
constexpr int kTurnsMax = 2'000;
// Runs of a scenario: more than it has calls.
constexpr int64_t kRunsMax = 2'000;
// Bounds every wait, so that a lost wake-up fails a test and does not hang it.
constexpr absl::Duration kTurnMax = absl::Milliseconds(20);

// One run of a scenario on a kernel of which one call fails.
class FaultyRun {
 public:
  FaultyRun(TestWorld& world, int64_t n, size_t variant)
      : world_(world), faults_(world.kernel()), handles_(faults_) {
    // When taking away the interest is what fails, the handle is closed all the
    // same.
    handles_.AllowClosingWatched();
    faults_.FailNth(n, variant);
  }

  TestWorld& world() { return world_; }
  bool fault_was_reached() const { return faults_.fault_was_reached(); }
  std::optional<KernelCall> failed_call() const {
    return faults_.failed_call();
  }
  size_t open_handles() const { return handles_.open_handles(); }

  // Null when the failing call was one of its own.
  WaitStateCollection* MakeCollection() {
    absl::StatusOr<std::unique_ptr<WaitStateCollection>> made =
        MakeWaitStateCollection(handles_);
    if (!made.ok()) {
      EXPECT_TRUE(fault_was_reached()) << made.status();
      return nullptr;
    }
    collection_ = *std::move(made);
    return collection_.get();
  }

  // A callback that counts itself as the end of one operation.
  IoCallback End(
      std::function<void(AsyncIoState&, const IoResult&)> then = {}) {
    size_t operation = ends_.size();
    ends_.push_back(0);
    return
        [this, operation, then](AsyncIoState& state, const IoResult& result) {
          EXPECT_FALSE(starting_) << "a callback ran inside the starting call";
          ++ends_[operation];
          if (then) then(state, result);
        };
  }

  // Starts an operation by a call that takes the callback. A refusal takes the
  // operation back: nothing may end then.
  template <typename Function>
  void Start(Function start,
             std::function<void(AsyncIoState&, const IoResult&)> then = {}) {
    IoCallback callback = End(std::move(then));
    starting_ = true;
    absl::Status status = start(std::move(callback));
    starting_ = false;
    EXPECT_TRUE(status.ok()) << status;
  }

  bool AllEnded() const {
    for (int ends : ends_) {
      if (ends == 0) return false;
    }
    return true;
  }

  // Runs the collection until `done`; the peer does its part between turns.
  void Until(std::function<bool()> done, std::function<void()> peer = {}) {
    for (int turn = 0; !done(); ++turn) {
      ASSERT_LT(turn, kTurnsMax) << "it never ended";
      if (peer) peer();
      collection_->Wait(kTurnMax);
      collection_->Call();
    }
  }

  // What must hold in the end.
  void Finish() {
    if (collection_ != nullptr) {
      for (int i = 0; i != 3; ++i) {
        collection_->Wait(absl::ZeroDuration());
        collection_->Call();
      }
      ServeAnother();
      states_.clear();
      EXPECT_EQ(collection_->size(), 0u);
      collection_.reset();
    }
    for (int ends : ends_) EXPECT_EQ(ends, 1);
    EXPECT_EQ(open_handles(), 0u);
  }

  AsyncIoState* Keep(std::unique_ptr<AsyncIoState> state) {
    states_.push_back(std::move(state));
    return states_.back().get();
  }

  // A connected state with its peer; null when the failing call was needed.
  AsyncIoState* MakeConnected(std::unique_ptr<TcpPeer>* peer,
                              bool queue_output = false) {
    TcpPair pair = world_.RawSocketPair(Family::kIpv4);
    *peer = std::move(pair.peer);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = CreateAsyncIoState(
        *collection_, pair.handle, {.queue_output = queue_output});
    if (!state.ok()) {
      EXPECT_TRUE(fault_was_reached()) << state.status();
      world_.DirectClose(pair.handle);
      return nullptr;
    }
    return Keep(*std::move(state));
  }

 private:
  // The failure of one is nobody else's: a message goes through as always.
  void ServeAnother() {
    if (!fault_was_reached()) return;
    std::unique_ptr<TcpPeer> peer;
    AsyncIoState* state = MakeConnected(&peer);
    ASSERT_NE(state, nullptr);
    ASSERT_TRUE(peer->Send("question").ok());
    std::array<char, 8> buffer;
    Start([&](IoCallback callback) {
      return state->ReadBuffer(buffer, std::move(callback));
    });
    Until([&] { return AllEnded(); });
    EXPECT_EQ(std::string_view(buffer.data(), buffer.size()), "question");
    EXPECT_EQ(state->read_status(), IoStatus::kOk);
  }

  TestWorld& world_;
  FaultKernel faults_;
  HandleKernel handles_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::vector<std::unique_ptr<AsyncIoState>> states_;
  std::vector<int> ends_;
  bool starting_ = false;
};

struct Scenario {
  std::string name;
  std::function<void(FaultyRun&)> run;
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

void ConnectScenario(FaultyRun& run) {
  std::unique_ptr<TcpListenerPeer> peer = run.world().Listen(Family::kIpv4);
  WaitStateCollection* collection = run.MakeCollection();
  if (collection == nullptr) return;
  bool connected = false;
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(*collection, peer->address().ip(), peer->address().port(),
                 run.End([&](AsyncIoState& state, const IoResult& result) {
                   connected = result.ok();
                   EXPECT_EQ(state.handle() != kNoHandle, connected);
                 }),
                 {.keepalive = true});
  ASSERT_TRUE(state.ok()) << state.status();
  run.Keep(*std::move(state));
  run.Until([&] { return run.AllEnded(); });
  EXPECT_TRUE(connected || run.fault_was_reached());
}

void AcceptScenario(FaultyRun& run) {
  WaitStateCollection* collection = run.MakeCollection();
  if (collection == nullptr) return;
  std::vector<std::unique_ptr<AsyncIoState>> accepted;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          *collection, 0,
          [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
            accepted.push_back(std::move(state));
          },
          {.address = run.world().host_ip(Family::kIpv4), .nodelay = true});
  if (!listener.ok()) {
    EXPECT_TRUE(run.fault_was_reached()) << listener.status();
    return;
  }
  SocketAddress address = (*listener)->local_address();
  std::unique_ptr<TcpPeer> first = run.world().ConnectTo(address);
  run.Until([&] { return !accepted.empty() || run.fault_was_reached(); });
  // Whatever failed, and even if it took the first connection with it: the next
  // one is accepted.
  std::unique_ptr<TcpPeer> second = run.world().ConnectTo(address);
  run.Until([&] {
    bool lost = run.failed_call() == KernelCall::kAccept;
    return accepted.size() >= (lost ? 1u : 2u);
  });
  EXPECT_LE(accepted.size(), 2u);
}

void ReadBufferScenario(FaultyRun& run) {
  if (run.MakeCollection() == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer);
  if (state == nullptr) return;
  std::array<char, 12> buffer;
  std::string_view rest = "first second";
  ASSERT_TRUE(peer->Send(rest.substr(0, 6)).ok());
  run.Start([&](IoCallback callback) {
    return state->ReadBuffer(buffer, std::move(callback));
  });
  bool sent = false;
  run.Until([&] { return run.AllEnded(); },
            [&] {
              // A reset connection refuses it, which is part of the scenario.
              if (!std::exchange(sent, true)) {
                static_cast<void>(peer->TrySend(rest.substr(6)));
              }
            });
  if (state->read_status() == IoStatus::kOk) {
    EXPECT_EQ(std::string_view(buffer.data(), buffer.size()), rest);
  } else {
    EXPECT_TRUE(run.fault_was_reached());
  }
}

void ReadWithCheckingScenario(FaultyRun& run) {
  if (run.MakeCollection() == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer);
  if (state == nullptr) return;
  // Its callback may run many times; its last run is its end.
  std::string input;
  int ends = 0;
  absl::Status status =
      state->ReadWithChecking([&](AsyncIoState& state, const IoResult& result) {
        ASSERT_EQ(ends, 0) << "called after its end";
        input += result.data;
        if (result.count != 0) {
          EXPECT_TRUE(state.Discard(result.count).ok());
        }
        if (!result.ok()) ++ends;
      });
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_TRUE(peer->Send("one line\n").ok());
  ASSERT_TRUE(peer->ShutdownWrite().ok());
  run.Until([&] { return ends != 0; });
  if (state->read_status() == IoStatus::kEof) {
    EXPECT_EQ(input, "one line\n");
  } else {
    EXPECT_TRUE(run.fault_was_reached());
  }
}

// Questions that are answered with more than the buffers of the connection
// take, by a peer that reads a little at a time: some replies are sent at once,
// some wait, and the `ReadWithChecking` with them.
void ReplyScenario(FaultyRun& run) {
  if (run.MakeCollection() == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer);
  if (state == nullptr) return;
  const std::string data(1 << 20, 'r');
  size_t replied = 0;
  int ends = 0;
  absl::Status status =
      state->ReadWithChecking([&](AsyncIoState& state, const IoResult& result) {
        ASSERT_EQ(ends, 0) << "called after its end";
        if (!result.ok()) {
          ++ends;
          return;
        }
        for (size_t i = 0; i != result.count; ++i) {
          EXPECT_TRUE(state.Reply(data).ok());
          EXPECT_TRUE(state.Reply("!").ok());
          replied += data.size() + 1;
        }
        EXPECT_TRUE(state.Discard(result.count).ok());
      });
  ASSERT_TRUE(status.ok()) << status;
  size_t received = 0;
  bool reads_end = false;
  std::vector<char> buffer(1 << 18);
  auto drain = [&] {
    Transfer transfer = peer->TryReceive(buffer);
    received += transfer.count;
    return transfer.count != 0;
  };
  ASSERT_TRUE(peer->Send("???").ok());
  run.Until([&] { return ends != 0; },
            [&] {
              drain();
              // What it still waits for could be lost by a reset connection.
              if (replied == 3 * (data.size() + 1) &&
                  !std::exchange(reads_end, true)) {
                static_cast<void>(peer->ShutdownWrite());
              }
            });
  EXPECT_EQ(state->output_queue_length(), 0u);
  if (state->read_status() == IoStatus::kEof) {
    while (received < replied && peer->AwaitReadable() && drain()) {
    }
    EXPECT_EQ(received, 3 * (data.size() + 1));
  } else {
    EXPECT_TRUE(run.fault_was_reached());
    EXPECT_LE(received, replied);
  }
}

void WaitForInputScenario(FaultyRun& run) {
  if (run.MakeCollection() == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer);
  if (state == nullptr) return;
  run.Start([&](IoCallback callback) {
    return state->WaitForInput(std::move(callback));
  });
  ASSERT_TRUE(peer->Send("x").ok());
  run.Until([&] { return run.AllEnded(); });
  EXPECT_TRUE(state->read_status() == IoStatus::kOk || run.fault_was_reached());
}

// Five writes, longer together than the buffers of the connection, to a peer
// that reads a little at a time.
void WriteScenario(FaultyRun& run) {
  if (run.MakeCollection() == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer, /*queue_output=*/true);
  if (state == nullptr) return;
  const std::string data(1 << 20, 'w');
  size_t written = 0;
  int previous = -1;
  for (int i = 0; i != 5; ++i) {
    run.Start(
        [&](IoCallback callback) {
          return state->WriteBuffer(data, std::move(callback));
        },
        [&, i](AsyncIoState&, const IoResult& result) {
          EXPECT_EQ(previous, i - 1) << "out of order";
          previous = i;
          written += result.count;
        });
  }
  size_t received = 0;
  std::vector<char> buffer(1 << 18);
  auto drain = [&] {
    Transfer transfer = peer->TryReceive(buffer);
    received += transfer.count;
    return transfer.count != 0;
  };
  run.Until([&] { return run.AllEnded(); }, [&] { drain(); });
  if (state->write_status() == IoStatus::kOk) {
    while (received < written && peer->AwaitReadable() && drain()) {
    }
    EXPECT_EQ(received, 5 * data.size());
    EXPECT_EQ(written, 5 * data.size());
  } else {
    EXPECT_TRUE(run.fault_was_reached());
    EXPECT_LE(received, written);
  }
}

// A UDP state; null when the failing call was one of those that make it.
AsyncIoState* OpenUdpState(FaultyRun& run, UdpOptions options = {}) {
  WaitStateCollection* collection = run.MakeCollection();
  if (collection == nullptr) return nullptr;
  absl::StatusOr<std::unique_ptr<AsyncIoState>> opened =
      OpenUdp(*collection, std::move(options));
  if (!opened.ok()) {
    EXPECT_TRUE(run.fault_was_reached()) << opened.status();
    return nullptr;
  }
  return run.Keep(*std::move(opened));
}

// Without an address nobody can send to it: when asking for it was the failing
// call, it is asked again.
std::optional<SocketAddress> AddressOf(FaultyRun& run,
                                       const AsyncIoState& state) {
  std::optional<SocketAddress> address = state.address();
  if (!address.has_value()) {
    EXPECT_TRUE(run.fault_was_reached());
    address = state.address();
  }
  return address;
}

void SendDatagramScenario(FaultyRun& run) {
  std::unique_ptr<UdpPeer> peer = run.world().Udp(Family::kIpv4);
  AsyncIoState* state = OpenUdpState(run);
  if (state == nullptr) return;
  int failed = 0;
  for (int i = 0; i != 3; ++i) {
    run.Start(
        [&](IoCallback callback) {
          return state->SendMessageToAddress(peer->address(), "datagram",
                                             std::move(callback));
        },
        [&](AsyncIoState&, const IoResult& result) {
          if (!result.ok()) ++failed;
        });
  }
  run.Until([&] { return run.AllEnded(); });
  // A datagram that fails does not take the others with it, a socket that
  // cannot be watched takes none.
  EXPECT_LE(failed, run.fault_was_reached() ? 1 : 0);
}

void ReceiveDatagramScenario(FaultyRun& run) {
  std::unique_ptr<UdpPeer> peer = run.world().Udp(Family::kIpv4);
  AsyncIoState* state =
      OpenUdpState(run, {.local_address = run.world().host_ip(Family::kIpv4)});
  if (state == nullptr) return;
  std::array<char, 32> buffer;
  run.Start([&](IoCallback callback) {
    return state->ReceiveMessage(buffer, std::move(callback),
                                 {.needs_address = true});
  });
  std::optional<SocketAddress> address = AddressOf(run, *state);
  ASSERT_TRUE(address.has_value());
  ASSERT_TRUE(peer->SendTo(*address, "datagram").ok());
  run.Until([&] { return run.AllEnded(); });
  EXPECT_TRUE(state->read_status() == IoStatus::kOk || run.fault_was_reached());
}

// Echoes datagrams, some of which come together. What ends the receiving does
// not take a datagram with it; a reply may get lost.
void ReceiveMessagesScenario(FaultyRun& run) {
  constexpr int kDatagrams = 12;
  std::unique_ptr<UdpPeer> peer = run.world().Udp(Family::kIpv4);
  AsyncIoState* state =
      OpenUdpState(run, {.local_address = run.world().host_ip(Family::kIpv4)});
  if (state == nullptr) return;
  std::optional<SocketAddress> address = AddressOf(run, *state);
  ASSERT_TRUE(address.has_value());
  int received = 0;
  std::function<void()> receive = [&] {
    run.Start(
        [&](IoCallback end) {
          return state->ReceiveMessages(
              [&, end = std::move(end)](AsyncIoState& state,
                                        const IoResult& result) mutable {
                if (result.ok()) {
                  EXPECT_EQ(result.data, std::to_string(received));
                  EXPECT_EQ(*result.sender, peer->address());
                  EXPECT_TRUE(state.Reply(result.data).ok());
                  if (++received != kDatagrams) return;
                  EXPECT_TRUE(state.Finish().ok());
                }
                end(state, result);
              });
        },
        [&](AsyncIoState&, const IoResult& result) {
          if (result.ok()) return;
          EXPECT_TRUE(run.fault_was_reached());
          receive();
        });
  };
  receive();
  int sent = 0;
  run.Until([&] { return received == kDatagrams; },
            [&] {
              for (int i = 0; i < 3 && sent < kDatagrams; ++i, ++sent) {
                ASSERT_TRUE(peer->SendTo(*address, std::to_string(sent)).ok());
              }
            });
  run.Until([&] { return state->output_queue_length() == 0; });
  bool lost = state->write_status() == IoStatus::kError ||
              run.failed_call() == KernelCall::kSendDatagrams;
  int replies = 0;
  while (replies < kDatagrams - (lost ? 1 : 0)) {
    static_cast<void>(peer->Receive());
    ++replies;
  }
}

void CloseScenario(FaultyRun& run) {
  WaitStateCollection* collection = run.MakeCollection();
  if (collection == nullptr) return;
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState* state = run.MakeConnected(&peer);
  if (state == nullptr) return;
  // Silently ended, so it must not count.
  bool called = false;
  std::array<char, 8> buffer;
  ASSERT_TRUE(state
                  ->ReadBuffer(buffer, [&](AsyncIoState&,
                                           const IoResult&) { called = true; })
                  .ok());
  collection->Wait(absl::ZeroDuration());
  collection->Call();
  // Only a failure to watch the socket can have ended the read before.
  EXPECT_TRUE(!called || run.fault_was_reached());
  bool closed = false;
  ASSERT_TRUE(state
                  ->AbortAndClose(
                      {.close_callback = [&](AsyncIoState&) { closed = true; }})
                  .ok());
  run.Until([&] { return closed; });
  EXPECT_TRUE(state->closed());
}

const std::vector<Scenario>& Scenarios() {
  static const auto* const scenarios = new std::vector<Scenario>{
      {"Connect", ConnectScenario},
      {"Accept", AcceptScenario},
      {"ReadBuffer", ReadBufferScenario},
      {"ReadWithChecking", ReadWithCheckingScenario},
      {"Reply", ReplyScenario},
      {"WaitForInput", WaitForInputScenario},
      {"Write", WriteScenario},
      {"SendDatagram", SendDatagramScenario},
      {"ReceiveDatagram", ReceiveDatagramScenario},
      {"ReceiveMessages", ReceiveMessagesScenario},
      {"Close", CloseScenario},
  };
  return *scenarios;
}

// All but the simulated host with peers of its own, which is no other kernel
// than the one with peers elsewhere.
std::vector<KernelParam> Kernels() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.name == "sim_loopback";
  });
  return kernels;
}

class NthCallFailure
    : public testing::TestWithParam<std::tuple<KernelParam, Scenario>> {};

INSTANTIATE_TEST_SUITE_P(
    All, NthCallFailure,
    testing::Combine(testing::ValuesIn(Kernels()),
                     testing::ValuesIn(Scenarios())),
    [](const testing::TestParamInfo<std::tuple<KernelParam, Scenario>>& info) {
      return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
    });

TEST_P(NthCallFailure, EveryOperationEndsOnceAndNothingIsLeft) {
  const auto& [kernel, scenario] = GetParam();
  int64_t calls = 0;
  for (size_t variant = 0; variant != FaultKernel::kErrorVariants; ++variant) {
    for (int64_t n = 1;; ++n) {
      ASSERT_LT(n, kRunsMax);
      SCOPED_TRACE("call " + std::to_string(n) + " fails, error number " +
                   std::to_string(variant));
      std::unique_ptr<TestWorld> world = kernel.make_world();
      FaultyRun run(*world, n, variant);
      scenario.run(run);
      bool reached = run.fault_was_reached();
      run.Finish();
      if (testing::Test::HasFailure()) return;
      if (!reached) break;
      ++calls;
    }
  }
  // The scenario must have got somewhere.
  EXPECT_GE(calls, 3 * static_cast<int64_t>(FaultKernel::kErrorVariants));
}

}  // namespace
}  // namespace aios::test
