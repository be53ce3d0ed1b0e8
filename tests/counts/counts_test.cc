// What the library costs, in counts: kernel calls and allocations a message,
// heap a connection. They are exact, on every machine, and so they are gates:
// who makes one larger has to say so here.
//
// Only on real kernels: a simulated one has spurious reports and short counts
// by design. The server's collection runs on the thread of the test; its peers
// are blocking sockets, whose calls and allocations do not count.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/support/counting_kernel.h"
#include "tests/support/heap.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

constexpr size_t kMessage = 32;
constexpr absl::Duration kIdleTimeout = absl::Seconds(30);

std::vector<KernelParam> RealKernels() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.make_world()->simulated();
  });
  return kernels;
}

void Check(const absl::Status& status) { ASSERT_TRUE(status.ok()) << status; }

// How a server reads its messages.
enum class Reads {
  kBuffer,        // ReadBuffer of as many bytes as a message has
  kMessages,      // ReceiveMessage
  kCheckingOnce,  // ReadWithChecking, finished at each message
  kCheckingOn,    // ReadWithChecking, which goes on
};

void PrintTo(Reads reads, std::ostream* out) {
  *out << static_cast<int>(reads);
}

// One connection of an echo server, as a user would write it. It has the idle
// timeout armed again by every message.
class Connection {
 public:
  Connection(std::unique_ptr<AsyncIoState> state, Reads reads)
      : state_(std::move(state)), reads_(reads) {
    Check(state_->set_read_timeout(kIdleTimeout));
    Check(state_->set_write_timeout(kIdleTimeout));
    Read();
  }

  AsyncIoState* state() { return state_.get(); }
  int64_t messages() const { return messages_; }

 private:
  void Read() {
    switch (reads_) {
      case Reads::kBuffer:
        Check(state_->ReadBuffer(buffer_,
                                 [this](AsyncIoState&, const IoResult& result) {
                                   OnMessage(result);
                                 }));
        break;
      case Reads::kMessages:
        Check(state_->ReceiveMessage(
            buffer_, [this](AsyncIoState&, const IoResult& result) {
              OnMessage(result);
            }));
        break;
      case Reads::kCheckingOnce:
      case Reads::kCheckingOn:
        Check(state_->ReadWithChecking(
            [this](AsyncIoState& state, const IoResult& result) {
              if (result.ok()) {
                if (result.count < kMessage) return;
                std::copy(result.data.begin(), result.data.end(), buffer_);
                absl::StatusOr<size_t> left = reads_ == Reads::kCheckingOn
                                                  ? state.Discard(result.count)
                                                  : state.Finish(result.count);
                EXPECT_EQ(left.value(), 0u);
              }
              OnMessage(result);
            }));
        break;
    }
  }

  void OnMessage(const IoResult& result) {
    if (!result.ok()) {
      // The end of the stream: it is over.
      state_.reset();
      return;
    }
    ++messages_;
    Check(state_->WriteBuffer({buffer_, result.count},
                              [this](AsyncIoState&, const IoResult&) {
                                if (reads_ != Reads::kCheckingOn) Read();
                              }));
  }

  std::unique_ptr<AsyncIoState> state_;
  const Reads reads_;
  char buffer_[kMessage];
  int64_t messages_ = 0;
};

class CountsTest : public testing::TestWithParam<KernelParam> {
 protected:
  CountsTest() : world_(GetParam().make_world()), kernel_(world_->kernel()) {
    auto made = MakeWaitStateCollection(kernel_);
    EXPECT_TRUE(made.ok()) << made.status();
    collection_ = *std::move(made);
  }

  ~CountsTest() override {
    connections_.clear();
    listener_.reset();
  }

  void Listen(Reads reads, int backlog = 0) {
    auto made = AcceptTcpConnections(
        *collection_, 0,
        ConnectionFunction([this, reads](AcceptingHandle&,
                                         std::unique_ptr<AsyncIoState> state) {
          connections_.push_back(
              std::make_unique<Connection>(std::move(state), reads));
        }),
        {.backlog = backlog,
         .address = world_->host_ip(Family::kIpv4),
         .nodelay = true});
    ASSERT_TRUE(made.ok()) << made.status();
    listener_ = *std::move(made);
  }

  // One turn; what it took from the heap is added up.
  void Turn() {
    HeapUse before = CurrentHeapUse();
    collection_->Wait(absl::Seconds(10));
    collection_->Call();
    allocations_ += (CurrentHeapUse() - before).allocations;
  }

  void TurnUntil(absl::FunctionRef<bool()> condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) Turn();
    ASSERT_TRUE(condition());
  }

  // A connection to the server, accepted.
  std::unique_ptr<TcpPeer> NewConnection() {
    std::unique_ptr<TcpPeer> peer =
        world_->ConnectTo(listener_->local_address());
    size_t wanted = connections_.size() + 1;
    TurnUntil([&] { return connections_.size() == wanted; });
    return peer;
  }

  // All peers send a message, the server serves them, all get the answer.
  // Returns the number of turns that took.
  int RoundTrip(std::span<std::unique_ptr<TcpPeer>> peers) {
    const std::string message(kMessage, 'm');
    for (auto& peer : peers) EXPECT_TRUE(peer->Send(message).ok());
    int64_t wanted = messages() + static_cast<int64_t>(peers.size());
    int turns = 0;
    while (messages() < wanted && turns < 1000) {
      Turn();
      ++turns;
    }
    EXPECT_EQ(messages(), wanted);
    for (auto& peer : peers) {
      EXPECT_EQ(peer->ReceiveExactly(kMessage), message);
    }
    return turns;
  }

  int64_t messages() const {
    int64_t sum = 0;
    for (const auto& connection : connections_) sum += connection->messages();
    return sum;
  }

  // Since the last time.
  CallCounts TakeCounts() {
    CallCounts now = kernel_.counts();
    CallCounts made = now - counted_;
    counted_ = now;
    return made;
  }
  int64_t TakeAllocations() { return std::exchange(allocations_, 0); }

  const std::unique_ptr<TestWorld> world_;
  CountingKernel kernel_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
  CallCounts counted_;
  int64_t allocations_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, CountsTest, testing::ValuesIn(RealKernels()),
                         NameOf);

constexpr Reads kAllReads[] = {Reads::kBuffer, Reads::kMessages,
                               Reads::kCheckingOnce, Reads::kCheckingOn};

// ---- Kernel calls.

TEST_P(CountsTest, ThreeCallsARoundTripAndNoChangeOfInterest) {
  constexpr int kRoundTrips = 200;
  for (Reads reads : kAllReads) {
    SCOPED_TRACE(testing::PrintToString(reads));
    connections_.clear();
    Listen(reads);
    std::vector<std::unique_ptr<TcpPeer>> peers;
    peers.push_back(NewConnection());
    for (int i = 0; i < 3; ++i) RoundTrip(peers);
    TakeCounts();
    for (int i = 0; i < kRoundTrips; ++i) {
      ASSERT_EQ(RoundTrip(peers), 1) << "one turn";
    }
    CallCounts made = TakeCounts();
    EXPECT_EQ(made.of(KernelCall::kWait), kRoundTrips);
    EXPECT_EQ(made.of(KernelCall::kReceive), kRoundTrips);
    EXPECT_EQ(made.of(KernelCall::kSend), kRoundTrips);
    EXPECT_EQ(made.total(), 3 * kRoundTrips) << made.ToString();
    EXPECT_EQ(made.of(KernelCall::kSetInterest), 0);
    EXPECT_EQ(made.total_failures(), 0) << made.ToString();
  }
}

// The same when the collection loops by itself, and the clock is read once a
// turn.
TEST_P(CountsTest, ALoopReadsTheClockOnceATurn) {
  constexpr int kRoundTrips = 200;
  Listen(Reads::kCheckingOn);
  std::vector<std::unique_ptr<TcpPeer>> peers;
  peers.push_back(NewConnection());
  RoundTrip(peers);
  TakeCounts();
  // The peer blocks, in a thread of its own.
  std::thread thread([&] {
    const std::string message(kMessage, 'm');
    for (int i = 0; i < kRoundTrips; ++i) {
      EXPECT_TRUE(peers[0]->Send(message).ok());
      EXPECT_EQ(peers[0]->ReceiveExactly(kMessage), message);
    }
    Check(collection_->Apply([this] { collection_->StopLoop(); }));
  });
  collection_->Loop();
  thread.join();
  CallCounts made = TakeCounts();
  int64_t turns = made.of(KernelCall::kWait);
  EXPECT_EQ(made.of(KernelCall::kReceive), kRoundTrips);
  EXPECT_EQ(made.of(KernelCall::kSend), kRoundTrips);
  EXPECT_EQ(made.of(KernelCall::kSetInterest), 0);
  // One more for what was applied.
  EXPECT_LE(turns, kRoundTrips + 1);
  EXPECT_LE(made.of(KernelCall::kNow), turns + 1);
  EXPECT_EQ(made.total_failures(), 0) << made.ToString();
}

// An answer that takes a turn of its own: meanwhile no input is wanted.
TEST_P(CountsTest, ReadWriteReadOverSeveralTurnsChangesNoInterest) {
  TcpPair pair = world_->RawSocketPair(Family::kIpv4);
  auto state = CreateAsyncIoState(*collection_, pair.handle);
  ASSERT_TRUE(state.ok()) << state.status();
  char byte;
  int answers = 0;
  std::function<void()> read;
  auto answer = [&] {
    Check(
        (*state)->WriteBuffer({&byte, 1}, [&](AsyncIoState&, const IoResult&) {
          ++answers;
          read();
        }));
  };
  read = [&] {
    Check((*state)->ReadBuffer({&byte, 1}, [&](AsyncIoState&, const IoResult&) {
      Check(collection_->Apply(answer));
    }));
  };
  read();
  auto exchange = [&] {
    EXPECT_TRUE(pair.peer->Send("m").ok());
    TurnUntil([&, wanted = answers + 1] { return answers == wanted; });
    EXPECT_EQ(pair.peer->ReceiveExactly(1), "m");
  };
  exchange();
  TakeCounts();
  for (int i = 0; i < 100; ++i) exchange();
  CallCounts made = TakeCounts();
  EXPECT_EQ(made.of(KernelCall::kSetInterest), 0);
  EXPECT_EQ(made.of(KernelCall::kWait), 200);
  EXPECT_EQ(made.total(), 400) << made.ToString();
  EXPECT_EQ(made.total_failures(), 0);
}

TEST_P(CountsTest, ReadyConnectionsShareTheWait) {
  constexpr int kConnections = 16;
  constexpr int kRoundTrips = 50;
  Listen(Reads::kCheckingOn);
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < kConnections; ++i) peers.push_back(NewConnection());
  for (int i = 0; i < 3; ++i) RoundTrip(peers);
  TakeCounts();
  for (int i = 0; i < kRoundTrips; ++i) ASSERT_EQ(RoundTrip(peers), 1);
  CallCounts made = TakeCounts();
  EXPECT_EQ(made.of(KernelCall::kWait), kRoundTrips);
  EXPECT_EQ(made.of(KernelCall::kReceive), kRoundTrips * kConnections);
  EXPECT_EQ(made.of(KernelCall::kSend), kRoundTrips * kConnections);
  EXPECT_EQ(made.total(), kRoundTrips * (2 * kConnections + 1))
      << made.ToString();
  EXPECT_EQ(made.total_failures(), 0);
}

// Notes receives and sends, in their order.
class TransferRecorder final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  std::string TakeTransfers() { return std::exchange(transfers_, ""); }

 protected:
  void After(KernelCall call, Handle, Error) override {
    if (call == KernelCall::kReceive) transfers_ += "receive ";
    if (call == KernelCall::kSend) transfers_ += "send ";
  }

 private:
  std::string transfers_;
};

// A server that replies, without a callback a message.
class ReplyTest : public CountsTest {
 protected:
  void SetUp() override {
    TcpPair pair = world_->RawSocketPair(Family::kIpv4);
    peer_ = std::move(pair.peer);
    auto state = CreateAsyncIoState(
        *collection_, pair.handle,
        {.read_timeout = kIdleTimeout, .write_timeout = kIdleTimeout});
    ASSERT_TRUE(state.ok()) << state.status();
    state_ = *std::move(state);
    Check(state_->ReadWithChecking(
        [this](AsyncIoState& state, const IoResult& input) {
          ASSERT_TRUE(input.ok());
          size_t size = input.count / pieces_;
          for (size_t i = 0; i != pieces_; ++i) {
            Check(state.Reply(input.data.substr(i * size, size)));
          }
          served_ += pieces_;
          EXPECT_TRUE(state.Discard(input.count).ok());
        }));
  }

  // A message, answered in so many pieces. Returns how many turns it took.
  int Exchange(size_t pieces) {
    pieces_ = pieces;
    const std::string message(4 * pieces, 'm');
    EXPECT_TRUE(peer_->Send(message).ok());
    size_t wanted = served_ + pieces;
    int turns = 0;
    for (; served_ < wanted && turns < 100; ++turns) Turn();
    EXPECT_EQ(peer_->ReceiveExactly(message.size()), message);
    return turns;
  }

  std::unique_ptr<TcpPeer> peer_;
  std::unique_ptr<AsyncIoState> state_;
  size_t pieces_ = 1;
  size_t served_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, ReplyTest, testing::ValuesIn(RealKernels()),
                         NameOf);

TEST_P(ReplyTest, RepliesOfACallbackLeaveInOneGatheringCall) {
  Exchange(1);
  for (size_t pieces : {1, 2, 64, 65, 128, 129}) {
    SCOPED_TRACE(pieces);
    TakeCounts();
    EXPECT_EQ(Exchange(pieces), 1) << "one turn";
    CallCounts made = TakeCounts();
    EXPECT_EQ(made.of(KernelCall::kSend),
              static_cast<int64_t>((pieces + 63) / 64));
    EXPECT_EQ(made.of(KernelCall::kReceive), 1);
    EXPECT_EQ(made.of(KernelCall::kWait), 1);
    EXPECT_EQ(made.of(KernelCall::kSetInterest), 0);
    EXPECT_EQ(made.total(), 2 + made.of(KernelCall::kSend)) << made.ToString();
    EXPECT_EQ(made.total_failures(), 0);
  }
}

TEST_P(ReplyTest, NoAllocationAReply) {
  for (size_t pieces : {1, 64, 100}) Exchange(pieces);
  TakeAllocations();
  for (int i = 0; i < 100; ++i) {
    for (size_t pieces : {1, 64}) Exchange(pieces);
  }
  // By two sends, of which Nagle's algorithm holds back the second: a few
  // times.
  for (int i = 0; i < 3; ++i) Exchange(100);
  EXPECT_EQ(TakeAllocations(), 0);
}

// A stream of three times what one call of the callback is given.
class StreamTest : public CountsTest {
 protected:
  static constexpr size_t kPiece = size_t{16} << 10;
  static constexpr size_t kStream = 3 * kPiece;

  // Reads it, and returns how many bytes each turn has read.
  std::vector<size_t> BytesOfTurns() {
    TcpPair pair = world_->RawSocketPair(Family::kIpv4);
    auto state = CreateAsyncIoState(*collection_, pair.handle);
    EXPECT_TRUE(state.ok()) << state.status();
    size_t read = 0;
    Check((*state)->ReadWithChecking(
        [&read](AsyncIoState& state, const IoResult& input) {
          EXPECT_LE(input.count, kPiece);
          read += input.count;
          EXPECT_TRUE(state.Discard(input.count).ok());
        },
        {.max_read = kPiece}));
    EXPECT_TRUE(pair.peer->Send(std::string(kStream, 's')).ok());
    std::vector<size_t> turns;
    while (read != kStream && turns.size() < 100) {
      size_t before = read;
      Turn();
      turns.push_back(read - before);
    }
    EXPECT_EQ(read, kStream);
    return turns;
  }
};

INSTANTIATE_TEST_SUITE_P(All, StreamTest, testing::ValuesIn(RealKernels()),
                         NameOf);

TEST_P(StreamTest, IsReadSeveralTimesAWait) {
  EXPECT_EQ(BytesOfTurns().size(), 1u);
}

TEST_P(StreamTest, LeavesTheOthersTheirTurn) {
  auto collection = MakeWaitStateCollection(
      kernel_, {.limits = {.bytes_per_turn_max = 2 * kPiece}});
  ASSERT_TRUE(collection.ok()) << collection.status();
  collection_ = *std::move(collection);
  EXPECT_EQ(BytesOfTurns(), (std::vector<size_t>{2 * kPiece, kPiece}));
}

// What is answered while it is read shares memory with the next answer, which
// is still in the cache then.
TEST_P(CountsTest, AnswersLeaveBeforeTheNextConnectionIsRead) {
  TransferRecorder recorder(kernel_);
  auto collection = MakeWaitStateCollection(recorder);
  ASSERT_TRUE(collection.ok()) << collection.status();
  std::vector<TcpPair> pairs;
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < 2; ++i) {
    pairs.push_back(world_->RawSocketPair(Family::kIpv4));
    auto state = CreateAsyncIoState(**collection, pairs.back().handle);
    ASSERT_TRUE(state.ok()) << state.status();
    connections.push_back(
        std::make_unique<Connection>(*std::move(state), Reads::kCheckingOn));
    ASSERT_TRUE(pairs.back().peer->Send(std::string(kMessage, 'm')).ok());
  }
  while (connections[0]->messages() + connections[1]->messages() < 2) {
    (*collection)->Wait(absl::Seconds(10));
    (*collection)->Call();
  }
  EXPECT_EQ(recorder.TakeTransfers(), "receive send receive send ");
}

TEST_P(CountsTest, AWholeConnectionTakesTenCalls) {
  for (Reads reads : {Reads::kBuffer, Reads::kMessages, Reads::kCheckingOn}) {
    SCOPED_TRACE(testing::PrintToString(reads));
    connections_.clear();
    Listen(reads);
    {
      // The first one finds the listener unwatched.
      std::vector<std::unique_ptr<TcpPeer>> first;
      first.push_back(NewConnection());
    }
    TurnUntil([&] { return connections_.back()->state() == nullptr; });
    TakeCounts();
    constexpr int kLives = 20;
    for (int i = 0; i < kLives; ++i) {
      std::vector<std::unique_ptr<TcpPeer>> peers;
      peers.push_back(NewConnection());
      ASSERT_EQ(RoundTrip(peers), 1);
      peers.clear();
      Turn();
      ASSERT_EQ(connections_.back()->state(), nullptr);
    }
    CallCounts made = TakeCounts();
    // Accepted, watched, served, at its end, and away.
    EXPECT_EQ(made.of(KernelCall::kWait), 3 * kLives);
    EXPECT_EQ(made.of(KernelCall::kAccept), kLives);
    EXPECT_EQ(made.of(KernelCall::kSetInterest), 2 * kLives);
    EXPECT_EQ(made.of(KernelCall::kReceive), 2 * kLives);
    EXPECT_EQ(made.of(KernelCall::kSend), kLives);
    EXPECT_EQ(made.of(KernelCall::kClose), kLives);
    EXPECT_EQ(made.total(), 10 * kLives) << made.ToString();
    EXPECT_EQ(made.total_failures(), 0);
  }
}

// ---- Queued output.

class QueuedOutputTest : public CountsTest {
 protected:
  void SetUp() override {
    TcpPair pair = world_->RawSocketPair(Family::kIpv4);
    tcp_peer_ = std::move(pair.peer);
    auto tcp =
        CreateAsyncIoState(*collection_, pair.handle, {.queue_output = true});
    ASSERT_TRUE(tcp.ok()) << tcp.status();
    tcp_ = *std::move(tcp);
    udp_peer_ = world_->Udp(Family::kIpv4);
    auto udp = OpenUdp(*collection_,
                       {.local_address = world_->host_ip(Family::kIpv4)});
    ASSERT_TRUE(udp.ok()) << udp.status();
    udp_ = *std::move(udp);
  }

  // Queues `count` writes and takes turns until they have ended. Returns how
  // many turns that took.
  int Write(int count) {
    int ended = 0;
    HeapUse before = CurrentHeapUse();
    for (int i = 0; i < count; ++i) {
      Check(tcp_->WriteBuffer("0123456789",
                              [&ended](AsyncIoState&, const IoResult& result) {
                                EXPECT_EQ(result.count, 10u);
                                ++ended;
                              }));
    }
    allocations_ += (CurrentHeapUse() - before).allocations;
    int turns = 0;
    for (; ended < count && turns < 100; ++turns) Turn();
    EXPECT_EQ(ended, count);
    EXPECT_EQ(tcp_peer_->ReceiveExactly(static_cast<size_t>(count) * 10).size(),
              static_cast<size_t>(count) * 10);
    return turns;
  }

  int Send(int count) {
    int ended = 0;
    const SocketAddress target = udp_peer_->address();
    HeapUse before = CurrentHeapUse();
    for (int i = 0; i < count; ++i) {
      Check(udp_->SendMessageToAddress(
          target, "0123456789",
          [&ended](AsyncIoState&, const IoResult& result) {
            EXPECT_TRUE(result.ok());
            ++ended;
          }));
    }
    allocations_ += (CurrentHeapUse() - before).allocations;
    int turns = 0;
    for (; ended < count && turns < 100; ++turns) Turn();
    EXPECT_EQ(ended, count);
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(udp_peer_->Receive().payload, "0123456789");
    }
    return turns;
  }

  std::unique_ptr<TcpPeer> tcp_peer_;
  std::unique_ptr<UdpPeer> udp_peer_;
  std::unique_ptr<AsyncIoState> tcp_;
  std::unique_ptr<AsyncIoState> udp_;
};

INSTANTIATE_TEST_SUITE_P(All, QueuedOutputTest,
                         testing::ValuesIn(RealKernels()), NameOf);

// One gathering call takes 64 buffers.
TEST_P(QueuedOutputTest, WritesOfOneTurnLeaveInOneGatheringCall) {
  for (int count : {1, 2, 64, 65, 100, 128, 129}) {
    SCOPED_TRACE(count);
    TakeCounts();
    EXPECT_EQ(Write(count), 1);
    CallCounts made = TakeCounts();
    EXPECT_EQ(made.of(KernelCall::kSend), (count + 63) / 64);
    EXPECT_EQ(made.of(KernelCall::kSetInterest), 0) << made.ToString();
    EXPECT_EQ(made.of(KernelCall::kWait), 1);
    EXPECT_EQ(made.total_failures(), 0);
  }
}

// From inside a callback as well.
TEST_P(QueuedOutputTest, WritesOfACallbackLeaveInOneGatheringCall) {
  char byte;
  int ended = 0;
  bool read = false;
  auto start = [&] {
    read = false;
    Check(
        tcp_->ReadBuffer({&byte, 1}, [&](AsyncIoState& state, const IoResult&) {
          read = true;
          for (int i = 0; i < 50; ++i) {
            Check(state.WriteBuffer(
                "x", [&ended](AsyncIoState&, const IoResult&) { ++ended; }));
          }
        }));
  };
  // The first one makes the socket known to the poller.
  for (int round = 0; round < 2; ++round) {
    start();
    EXPECT_TRUE(tcp_peer_->Send("r").ok());
    TakeCounts();
    ended = 0;
    Turn();
    EXPECT_TRUE(read);
    EXPECT_EQ(ended, 50);
    EXPECT_EQ(tcp_peer_->ReceiveExactly(50).size(), 50u);
  }
  CallCounts made = TakeCounts();
  EXPECT_EQ(made.of(KernelCall::kSend), 1);
  EXPECT_EQ(made.of(KernelCall::kReceive), 1);
  EXPECT_EQ(made.total(), 3) << made.ToString();
}

TEST_P(QueuedOutputTest, DatagramsOfOneTurnLeaveInOneBatch) {
  for (int count : {1, 2, 64, 65, 100}) {
    SCOPED_TRACE(count);
    TakeCounts();
    EXPECT_EQ(Send(count), 1);
    CallCounts made = TakeCounts();
    EXPECT_EQ(made.of(KernelCall::kSendDatagrams), (count + 63) / 64);
    EXPECT_EQ(made.of(KernelCall::kSetInterest), 0) << made.ToString();
    EXPECT_EQ(made.of(KernelCall::kWait), 1);
    EXPECT_EQ(made.total_failures(), 0);
  }
}

// ---- Allocations.

TEST_P(CountsTest, NoAllocationAMessage) {
  constexpr int kRoundTrips = 100;
  for (Reads reads : kAllReads) {
    SCOPED_TRACE(testing::PrintToString(reads));
    connections_.clear();
    Listen(reads);
    std::vector<std::unique_ptr<TcpPeer>> peers;
    for (int i = 0; i < 4; ++i) peers.push_back(NewConnection());
    for (int i = 0; i < 3; ++i) RoundTrip(peers);
    TakeAllocations();
    for (int i = 0; i < kRoundTrips; ++i) RoundTrip(peers);
    EXPECT_EQ(TakeAllocations(), 0);
  }
}

TEST_P(QueuedOutputTest, NoAllocationAQueuedWrite) {
  Write(200);
  Send(100);
  TakeAllocations();
  for (int i = 0; i < 20; ++i) {
    Write(200);
    Send(100);
  }
  EXPECT_EQ(TakeAllocations(), 0);
}

TEST_P(QueuedOutputTest, NoAllocationADatagram) {
  int served = 0;
  char buffer[64];
  std::function<void()> receive = [&] {
    Check(
        udp_->ReceiveMessage(buffer,
                             [&](AsyncIoState& state, const IoResult& result) {
                               ++served;
                               Check(state.SendMessageToAddress(
                                   *result.sender, result.data,
                                   [](AsyncIoState&, const IoResult&) {}));
                               receive();
                             },
                             {.timeout = kIdleTimeout, .needs_address = true}));
  };
  receive();
  auto exchange = [&] {
    EXPECT_TRUE(udp_peer_->SendTo(*udp_->address(), "datagram").ok());
    int wanted = served + 1;
    TurnUntil([&] { return served == wanted; });
    EXPECT_EQ(udp_peer_->Receive().payload, "datagram");
  };
  // The fourth one makes what bursts are received into.
  for (int i = 0; i < 5; ++i) exchange();
  TakeCounts();
  TakeAllocations();
  constexpr int kExchanges = 100;
  for (int i = 0; i < kExchanges; ++i) exchange();
  EXPECT_EQ(TakeAllocations(), 0);
  CallCounts made = TakeCounts();
  // One each is the address that the test asks for.
  EXPECT_EQ(made.of(KernelCall::kLocalAddress), kExchanges);
  EXPECT_EQ(made.total(), 4 * kExchanges) << made.ToString();
  EXPECT_EQ(made.total_failures(), 0);
}

TEST_P(QueuedOutputTest, ABurstOfDatagramsIsReceivedAndAnsweredTogether) {
  constexpr int kBurst = 64;
  std::vector<std::array<char, 64>> buffers(kBurst + 1);
  int served = 0;
  std::function<void()> receive = [&] {
    std::array<char, 64>& buffer =
        buffers[static_cast<size_t>(served) % buffers.size()];
    Check(
        udp_->ReceiveMessage(buffer,
                             [&](AsyncIoState& state, const IoResult& result) {
                               ++served;
                               Check(state.SendMessageToAddress(
                                   *result.sender, result.data,
                                   [](AsyncIoState&, const IoResult&) {}));
                               receive();
                             },
                             {.needs_address = true}));
  };
  receive();
  const SocketAddress address = *udp_->address();
  auto burst = [&] {
    for (int i = 0; i < kBurst; ++i) {
      EXPECT_TRUE(udp_peer_->SendTo(address, "datagram").ok());
    }
    TurnUntil([&, wanted = served + kBurst] { return served == wanted; });
    for (int i = 0; i < kBurst; ++i) {
      EXPECT_EQ(udp_peer_->Receive().payload, "datagram");
    }
  };
  for (int i = 0; i < 3; ++i) burst();
  TakeCounts();
  TakeAllocations();
  for (int i = 0; i < 10; ++i) burst();
  EXPECT_EQ(TakeAllocations(), 0);
  CallCounts made = TakeCounts();
  EXPECT_EQ(made.of(KernelCall::kReceiveDatagrams), 10);
  EXPECT_EQ(made.of(KernelCall::kSendDatagrams), 10);
  EXPECT_EQ(made.of(KernelCall::kWait), 10);
  EXPECT_EQ(made.total(), 30) << made.ToString();
  EXPECT_EQ(made.total_failures(), 0);
}

// A datagram alone takes a wait, a receive and a send; a burst takes as many.
TEST_P(QueuedOutputTest, ReceiveMessagesTakesThreeCallsAndNoAllocation) {
  int served = 0;
  Check(udp_->ReceiveMessages(
      [&](AsyncIoState& state, const IoResult& result) {
        ++served;
        Check(state.Reply(result.data));
        // Bytes that lie elsewhere.
        if (served % 2 == 0) Check(state.Reply("more"));
      },
      {.timeout = kIdleTimeout}));
  const SocketAddress address = *udp_->address();
  auto exchange = [&](int count) {
    int wanted = served + count;
    std::vector<std::string> expected;
    for (int i = served + 1; i <= wanted; ++i) {
      EXPECT_TRUE(udp_peer_->SendTo(address, "datagram").ok());
      expected.push_back("datagram");
      if (i % 2 == 0) expected.push_back("more");
    }
    TakeCounts();
    TakeAllocations();
    TurnUntil([&] { return served == wanted; });
    CallCounts made = TakeCounts();
    int64_t allocations = TakeAllocations();
    for (const std::string& reply : expected) {
      EXPECT_EQ(udp_peer_->Receive().payload, reply);
    }
    return std::pair(made, allocations);
  };
  // The first one makes what all are received into.
  exchange(1);
  for (int i = 0; i < 100; ++i) {
    auto [made, allocations] = exchange(1);
    EXPECT_EQ(made.total(), 3) << made.ToString();
    EXPECT_EQ(made.total_failures(), 0);
    EXPECT_EQ(allocations, 0);
  }
  for (int i = 0; i < 20; ++i) exchange(32);
  for (int i = 0; i < 10; ++i) {
    auto [made, allocations] = exchange(32);
    EXPECT_EQ(made.total(), 3) << made.ToString();
    EXPECT_EQ(made.total_failures(), 0);
    EXPECT_EQ(allocations, 0);
  }
}

TEST_P(CountsTest, NoAllocationAnAppliedFunction) {
  int ran = 0;
  auto apply = [&] {
    HeapUse before = CurrentHeapUse();
    for (int i = 0; i < 10; ++i) Check(collection_->Apply([&ran] { ++ran; }));
    allocations_ += (CurrentHeapUse() - before).allocations;
    Turn();
  };
  for (int i = 0; i < 3; ++i) apply();
  TakeAllocations();
  for (int i = 0; i < 100; ++i) apply();
  EXPECT_EQ(TakeAllocations(), 0);
  EXPECT_EQ(ran, 1030);
}

// Once for all that another thread applies before the loop wakes up, and not
// while it runs such functions: it looks for more before it sleeps.
TEST_P(CountsTest, ALoopIsWokenOnceForAppliedFunctions) {
  Check(collection_->Apply([] {}));
  Turn();
  int ran = 0;
  auto apply_elsewhere = [&] {
    std::thread([&] {
      for (int i = 0; i < 10; ++i) Check(collection_->Apply([&ran] { ++ran; }));
    }).join();
  };
  TakeCounts();
  apply_elsewhere();
  EXPECT_EQ(TakeCounts().of(KernelCall::kWake), 1);
  Turn();
  EXPECT_EQ(ran, 10);

  Check(collection_->Apply([&] { apply_elsewhere(); }));
  TakeCounts();
  Turn();
  EXPECT_EQ(ran, 10);
  Turn();
  EXPECT_EQ(ran, 20);
  EXPECT_EQ(TakeCounts().of(KernelCall::kWake), 0);

  // And again when it may sleep.
  apply_elsewhere();
  EXPECT_EQ(TakeCounts().of(KernelCall::kWake), 1);
  Turn();
  EXPECT_EQ(ran, 30);
}

// ---- Timers.

// A kernel whose clock stands still unless the test moves it, and that tells
// for how long a collection would sleep.
class WatchKernel final : public KernelDecorator {
 public:
  explicit WatchKernel(Kernel& base)
      : KernelDecorator(base), now_(base.Now()) {}

  void AdvanceClock(absl::Duration length) {
    now_ += absl::ToInt64Nanoseconds(length);
  }

  absl::Duration SleepOf(WaitStateCollection& collection) {
    may_sleep_ = false;
    collection.Wait();
    may_sleep_ = true;
    return absl::Nanoseconds(asked_);
  }

  Nanoseconds Now() override { return now_; }
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override {
    asked_ = timeout;
    return KernelDecorator::Wait(poller, reports, may_sleep_ ? timeout : 0);
  }

 private:
  Nanoseconds now_;
  Nanoseconds asked_ = 0;
  bool may_sleep_ = true;
};

// A deadline that moves on with every message is only stored: the entry on the
// wheel stays where it is, which shows in how long the collection would sleep,
// and looks again when its time has come.
TEST_P(CountsTest, RearmingATimeoutDoesNotMoveItsTimer) {
  WatchKernel kernel(world_->kernel());
  auto collection = MakeWaitStateCollection(kernel);
  ASSERT_TRUE(collection.ok()) << collection.status();
  TcpPair pair = world_->RawSocketPair(Family::kIpv4);
  auto state = CreateAsyncIoState(**collection, pair.handle,
                                  {.read_timeout = absl::Seconds(30)});
  ASSERT_TRUE(state.ok()) << state.status();
  int calls = 0;
  IoStatus status = IoStatus::kOk;
  Check((*state)->ReadWithChecking(
      [&](AsyncIoState& state, const IoResult& result) {
        ++calls;
        status = result.status;
        Check(state.Discard(result.count).status());
      }));
  auto message = [&] {
    EXPECT_TRUE(pair.peer->Send("m").ok());
    const int wanted = calls + 1;
    while (calls < wanted) {
      (*collection)->Wait(absl::Seconds(10));
      (*collection)->Call();
    }
    EXPECT_EQ(status, IoStatus::kOk);
  };

  EXPECT_EQ(kernel.SleepOf(**collection), absl::Seconds(30));
  // A message every second, which moves the deadline each time.
  for (int second = 1; second < 30; ++second) {
    kernel.AdvanceClock(absl::Seconds(1));
    message();
    ASSERT_EQ(kernel.SleepOf(**collection), absl::Seconds(30 - second))
        << "the timer was moved";
  }
  EXPECT_EQ(calls, 29);
  // It wakes once for nothing, and goes to where the deadline is.
  kernel.AdvanceClock(absl::Seconds(1));
  EXPECT_EQ(kernel.SleepOf(**collection), absl::ZeroDuration());
  (*collection)->Call();
  EXPECT_EQ(calls, 29);
  EXPECT_EQ(kernel.SleepOf(**collection), absl::Seconds(29));
  kernel.AdvanceClock(absl::Seconds(29));
  EXPECT_EQ(kernel.SleepOf(**collection), absl::ZeroDuration());
  (*collection)->Call();
  EXPECT_EQ(calls, 30);
  EXPECT_EQ(status, IoStatus::kTimeout);
}

// ---- Memory.

// Lets this process have `wanted` descriptors, if it may.
size_t RaiseDescriptorLimit(size_t wanted) {
  rlimit limit = {};
  EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit higher = limit;
  higher.rlim_cur = std::max<rlim_t>(limit.rlim_cur, wanted);
  higher.rlim_max = std::max(limit.rlim_max, higher.rlim_cur);
  // More than the hard limit is for the privileged.
  if (setrlimit(RLIMIT_NOFILE, &higher) != 0) {
    higher = limit;
    higher.rlim_cur = limit.rlim_max;
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &higher), 0);
  }
  return static_cast<size_t>(higher.rlim_cur);
}

class IdleConnectionsTest : public CountsTest {
 protected:
  static constexpr size_t kWanted = 10'000;
  static constexpr int64_t kBytesMax = 330;
  // With what the double of kqueue itself takes.
  static constexpr int64_t kBytesMaxOfDouble = 600;
  // Descriptors that are open besides.
  static constexpr size_t kOthers = 60;

  // Two descriptors each, ours and the peer's, and a few more.
  void SetUp() override {
    size_t limit = RaiseDescriptorLimit(2 * kWanted + kOthers);
    count_ = std::min(kWanted, (limit - kOthers) / 2);
    ASSERT_GE(count_, 1000u) << "too few descriptors to tell";
    auto made = AcceptTcpConnections(
        *collection_, 0,
        ConnectionFunction(
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              Serve(*state);
              states_.push_back(std::move(state));
            }),
        {.address = world_->host_ip(Family::kIpv4)});
    ASSERT_TRUE(made.ok()) << made.status();
    listener_ = *std::move(made);
    states_.reserve(count_);
    peers_.reserve(count_);
  }

  void TearDown() override {
    // No connection is left to linger in the system.
    for (auto& peer : peers_) peer->Reset();
    states_.clear();
  }

  void Serve(AsyncIoState& state) {
    Check(state.ReadWithChecking(
        [this](AsyncIoState& state, const IoResult& result) {
          EXPECT_TRUE(result.ok());
          Check(state.Discard(result.count).status());
          ++messages_;
        },
        {.timeout = kIdleTimeout * 1000}));
  }

  // Connects `count` more, and takes turns until they are accepted. The heap
  // that the turns take is counted, not the peers'.
  void Connect(size_t count) {
    size_t wanted = states_.size() + count;
    for (size_t i = 0; i < count; ++i) {
      peers_.push_back(world_->ConnectTo(listener_->local_address()));
    }
    while (states_.size() < wanted) CountedTurn();
  }

  // Each of the last `count` sends one message.
  void Message(size_t count) {
    int64_t wanted = messages_ + static_cast<int64_t>(count);
    for (size_t i = peers_.size() - count; i < peers_.size(); ++i) {
      EXPECT_TRUE(peers_[i]->Send("hello\n").ok());
    }
    while (messages_ < wanted) CountedTurn();
  }

  void CountedTurn() {
    HeapUse before = CurrentHeapUse();
    Turn();
    bytes_ += (CurrentHeapUse() - before).bytes;
  }

  void CheckHeap(std::string_view how) {
    ASSERT_EQ(states_.size(), count_);
    ASSERT_EQ(collection_->size(), count_ + 1);
    int64_t each = bytes_ / static_cast<int64_t>(count_);
    std::cout << how << ": " << each << " bytes of heap each for " << count_
              << " idle connections\n";
    RecordProperty("bytes_each", std::to_string(each));
    bool is_double = world_->kernel().name() == "kqueue";
    EXPECT_LE(each, is_double ? kBytesMaxOfDouble : kBytesMax);
    EXPECT_GE(each, 100) << "not counted";
  }

  size_t count_ = 0;
  std::vector<std::unique_ptr<AsyncIoState>> states_;
  std::vector<std::unique_ptr<TcpPeer>> peers_;
  int64_t messages_ = 0;
  int64_t bytes_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, IdleConnectionsTest,
                         testing::ValuesIn(RealKernels()), NameOf);

TEST_P(IdleConnectionsTest, OneAfterTheOther) {
  for (size_t i = 0; i < count_; ++i) {
    Connect(1);
    Message(1);
  }
  CheckHeap("one after the other");
}

// All that fit into one turn have a message at the same time.
TEST_P(IdleConnectionsTest, InCrowds) {
  constexpr size_t kCrowd = 250;
  while (states_.size() < count_) {
    size_t crowd = std::min(kCrowd, count_ - states_.size());
    Connect(crowd);
    Message(crowd);
  }
  CheckHeap("in crowds");
}

}  // namespace
}  // namespace aios::test
