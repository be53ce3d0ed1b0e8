// The same scenarios on a kernel that does whatever the contract allows: short
// counts, small batches, one report a wait, calls that would block although the
// socket is ready, spurious reports, reports in another order. What the user
// sees is the same as on a smooth one. And: a socket that cannot be watched
// fails its operations once, and nobody else's.

#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/ending/handle_kernel.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

// A collection on a kernel with faults, and what the callbacks of a scenario
// have told.
class Stage {
 public:
  explicit Stage(const KernelParam& kernel)
      : world_(kernel.make_world()),
        handles_(world_->kernel()),
        faults_(handles_) {
    handles_.AllowClosingWatched();
    auto made = MakeWaitStateCollection(faults_);
    EXPECT_TRUE(made.ok()) << made.status();
    collection_ = *std::move(made);
  }
  ~Stage() {
    states_.clear();
    listener_.reset();
    EXPECT_EQ(collection_->size(), 0u);
    collection_.reset();
    EXPECT_EQ(handles_.open_handles(), 0u);
  }

  TestWorld& world() { return *world_; }
  FaultKernel& faults() { return faults_; }
  WaitStateCollection& collection() { return *collection_; }

  // Every operation has a name, and ends once.
  IoCallback End(std::string name,
                 std::function<void(const IoResult&)> then = nullptr) {
    size_t index = ends_.size();
    ends_.push_back(0);
    return [this, index, name = std::move(name), then = std::move(then)](
               AsyncIoState&, const IoResult& result) {
      EXPECT_EQ(++ends_[index], 1) << name << " has ended before";
      Tell(absl::StrCat(name, ": ", std::string(IoStatusName(result.status)),
                        " ", result.count));
      if (then != nullptr) then(result);
    };
  }
  bool all_ended() const {
    for (int ends : ends_) {
      if (ends == 0) return false;
    }
    return true;
  }

  void Tell(std::string line) { story_ += std::move(line) + "\n"; }
  const std::string& story() const { return story_; }

  // Called before each turn, with its number.
  std::function<void(int)> before_turn;

  void Turn(absl::Duration duration_max = absl::Milliseconds(10)) {
    if (before_turn != nullptr) before_turn(turns_);
    ++turns_;
    collection_->Wait(duration_max);
    collection_->Call();
  }
  void TurnUntil(absl::FunctionRef<bool()> done) {
    constexpr int kTurnsMax = 200'000;
    for (int i = 0; i < kTurnsMax && !done(); ++i) Turn();
    ASSERT_TRUE(done()) << "it never ended; so far:\n" << story_;
  }
  void TurnUntilAllEnded() {
    TurnUntil([this] { return all_ended(); });
  }

  AsyncIoState& Keep(absl::StatusOr<std::unique_ptr<AsyncIoState>> state) {
    EXPECT_TRUE(state.ok()) << state.status();
    states_.push_back(*std::move(state));
    return *states_.back();
  }
  AsyncIoState& Connected(std::unique_ptr<TcpPeer>* peer,
                          CreateAsyncIoStateOptions options = {}) {
    TcpPair pair = world_->RawSocketPair(Family::kIpv4);
    *peer = std::move(pair.peer);
    return Keep(
        CreateAsyncIoState(*collection_, pair.handle, std::move(options)));
  }
  AsyncIoState& Udp() {
    return Keep(OpenUdp(*collection_,
                        {.local_address = world_->host_ip(Family::kIpv4)}));
  }
  void Keep(std::unique_ptr<AcceptingHandle> listener) {
    listener_ = std::move(listener);
  }

 private:
  const std::unique_ptr<TestWorld> world_;
  HandleKernel handles_;
  FaultKernel faults_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::vector<std::unique_ptr<AsyncIoState>> states_;
  std::unique_ptr<AcceptingHandle> listener_;
  std::vector<int> ends_;
  std::string story_;
  int turns_ = 0;
};

void Check(const absl::Status& status) { EXPECT_TRUE(status.ok()) << status; }

std::string Pattern(size_t size) {
  std::string pattern(size, '\0');
  unsigned value = 1;
  for (char& byte : pattern) {
    value = value * 1664525 + 1013904223;
    byte = static_cast<char>(value >> 24);
  }
  return pattern;
}

// ---- Scenarios.

void Connect(Stage& stage) {
  std::unique_ptr<TcpListenerPeer> peer = stage.world().Listen(Family::kIpv4);
  AsyncIoState& state =
      stage.Keep(ConnectTcp(stage.collection(), peer->address().ip(),
                            peer->address().port(), stage.End("connect")));
  stage.TurnUntilAllEnded();
  if (state.handle() == kNoHandle) return;
  Check(state.WriteBuffer("hello", stage.End("write")));
  stage.TurnUntilAllEnded();
  if (state.write_status() == IoStatus::kOk) {
    stage.Tell(peer->Accept()->ReceiveExactly(5));
  }
}

void ConnectRefused(Stage& stage) {
  SocketAddress address =
      stage.world().RefusingAddress(SocketType::kStream, Family::kIpv4);
  stage.Keep(ConnectTcp(stage.collection(), address.ip(), address.port(),
                        stage.End("connect")));
  stage.TurnUntilAllEnded();
}

void Accept(Stage& stage) {
  std::vector<SocketAddress> accepted;
  auto listener = AcceptTcpConnections(
      stage.collection(), 0,
      ConnectionFunction(
          [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
            accepted.push_back(state->peer_address().value());
          }),
      {.address = stage.world().host_ip(Family::kIpv4)});
  ASSERT_TRUE(listener.ok()) << listener.status();
  SocketAddress address = (*listener)->local_address();
  stage.Keep(*std::move(listener));
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 5; ++i) peers.push_back(stage.world().ConnectTo(address));
  stage.TurnUntil([&] { return accepted.size() == peers.size(); });
  for (size_t i = 0; i < peers.size(); ++i) {
    stage.Tell(accepted[i] == peers[i]->LocalAddress() ? "in order" : "not");
  }
}

void ReadBuffer(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  const std::string bytes = Pattern(3000);
  EXPECT_TRUE(peer->Send(bytes).ok());
  std::vector<char> first(1000);
  std::vector<char> rest(5000);
  Check(state.ReadBuffer(first, stage.End("first", [&](const IoResult& result) {
    stage.Tell(result.data == bytes.substr(0, result.count) ? "right" : "not");
  })));
  stage.TurnUntilAllEnded();
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  Check(state.ReadBuffer(rest, stage.End("rest", [&](const IoResult& result) {
    stage.Tell(result.data == bytes.substr(1000, result.count) ? "right"
                                                               : "not");
  })));
  stage.TurnUntilAllEnded();
}

void ReadLines(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  bool ended = false;
  Check(state.ReadWithChecking([&](AsyncIoState& state,
                                   const IoResult& result) {
    EXPECT_FALSE(ended);
    size_t begin = 0;
    for (size_t end; (end = result.data.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      stage.Tell(std::string(result.data.substr(begin, end - begin)));
    }
    if (begin != 0) Check(state.Discard(begin).status());
    if (result.ok()) return;
    ended = true;
    stage.Tell(absl::StrCat(std::string(IoStatusName(result.status)), " ",
                            result.count - begin));
  }));
  EXPECT_TRUE(peer->Send("one\ntwo\nthree").ok());
  stage.Turn();
  EXPECT_TRUE(peer->Send("\nfour\nrest").ok());
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  stage.TurnUntil([&] { return ended; });
}

// Answers each line, more than is taken at a time.
void ReplyToLines(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  const std::string answer = Pattern(5000);
  std::string expected;
  bool ended = false;
  Check(
      state.ReadWithChecking([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_FALSE(ended);
        size_t begin = 0;
        for (size_t end; result.ok() && (end = result.data.find('\n', begin)) !=
                                            std::string::npos;
             begin = end + 1) {
          std::string_view line = result.data.substr(begin, end - begin);
          Check(state.Reply(line));
          Check(state.Reply(answer));
          expected += line;
          expected += answer;
        }
        if (begin != 0) Check(state.Discard(begin).status());
        if (result.ok()) return;
        ended = true;
        stage.Tell(absl::StrCat(std::string(IoStatusName(result.status)), " ",
                                result.count));
      }));
  EXPECT_TRUE(peer->Send("one\ntwo\nthree").ok());
  stage.Turn();
  EXPECT_TRUE(peer->Send("\nfour\nrest").ok());
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  std::string got;
  std::vector<char> buffer(4096);
  stage.TurnUntil([&] {
    got.append(buffer.data(), peer->TryReceive(buffer).count);
    return ended;
  });
  if (state.read_status() == IoStatus::kEof) {
    got += peer->ReceiveExactly(expected.size() - got.size());
  }
  stage.Tell(got == expected.substr(0, got.size()) ? "right" : "not");
}

void ReadTimeout(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  EXPECT_TRUE(peer->Send("abc").ok());
  std::vector<char> buffer(8);
  Check(state.ReadBuffer({buffer.data(), 3}, stage.End("all")));
  stage.TurnUntilAllEnded();
  Check(state.ReadBuffer(buffer, stage.End("none"),
                         {.timeout = absl::Milliseconds(2)}));
  stage.TurnUntilAllEnded();
}

void WaitForInput(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  bool sent = false;
  Check(state.WaitForInput(stage.End("wait", [&](const IoResult& result) {
    if (result.ok()) {
      EXPECT_TRUE(sent) << "there was nothing yet";
    }
  })));
  for (int i = 0; i < 4; ++i) stage.Turn(absl::ZeroDuration());
  sent = true;
  EXPECT_TRUE(peer->Send("abcdefgh").ok());
  stage.TurnUntilAllEnded();
  std::vector<char> buffer(8);
  Check(state.ReadBuffer(buffer, stage.End("read")));
  stage.TurnUntilAllEnded();
}

void Write(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer, {.queue_output = true});
  const std::string bytes = Pattern(20'000);
  // The kernel's buffers are made full, so that it has to wait in between.
  std::string all;
  for (int i = 0; i < 100; ++i) {
    std::string_view part = std::string_view(bytes).substr(
        static_cast<size_t>(i) * 7, i == 50 ? 15'000 : 40);
    Check(state.WriteBuffer(part, stage.End(absl::StrCat("write ", i))));
    all += part;
  }
  std::string got;
  std::vector<char> buffer(4096);
  stage.TurnUntil([&] {
    got.append(buffer.data(), peer->TryReceive(buffer).count);
    return stage.all_ended();
  });
  if (state.write_status() == IoStatus::kOk) {
    got += peer->ReceiveExactly(all.size() - got.size());
  }
  stage.Tell(got == all.substr(0, got.size()) ? "right" : "not");
}

void SendDatagrams(Stage& stage) {
  std::unique_ptr<UdpPeer> peer = stage.world().Udp(Family::kIpv4);
  AsyncIoState& state = stage.Udp();
  for (int i = 0; i < 20; ++i) {
    const char digit = static_cast<char>('a' + i);
    auto data = std::make_shared<std::string>(1, digit);
    Check(state.SendMessageToAddress(
        peer->address(), *data,
        stage.End(absl::StrCat("send ", i), [data](const IoResult&) {})));
  }
  stage.TurnUntilAllEnded();
  while (std::optional<PeerDatagram> datagram = peer->TryReceive()) {
    stage.Tell(datagram->payload);
  }
}

void ReceiveDatagrams(Stage& stage) {
  std::unique_ptr<UdpPeer> peer = stage.world().Udp(Family::kIpv4);
  AsyncIoState& state = stage.Udp();
  SocketAddress address = state.address().value();
  std::vector<char> buffer(8);
  for (int i = 0; i < 5; ++i) {
    EXPECT_TRUE(peer->SendTo(address, absl::StrCat("message", i)).ok());
    Check(state.ReceiveMessage(buffer,
                               stage.End("receive",
                                         [&](const IoResult& result) {
                                           stage.Tell(std::string(result.data));
                                           if (result.ok()) {
                                             EXPECT_EQ(*result.sender,
                                                       peer->address());
                                           }
                                         }),
                               {.needs_address = true}));
    stage.TurnUntilAllEnded();
  }
}

// Echoes bursts of them.
void EchoDatagrams(Stage& stage) {
  constexpr int kDatagrams = 60;
  std::unique_ptr<UdpPeer> peer = stage.world().Udp(Family::kIpv4);
  AsyncIoState& state = stage.Udp();
  SocketAddress address = state.address().value();
  int received = 0;
  bool ended = false;
  Check(state.ReceiveMessages([&](AsyncIoState& state, const IoResult& result) {
    EXPECT_FALSE(ended);
    if (!result.ok()) {
      ended = true;
      stage.Tell(std::string(IoStatusName(result.status)));
      return;
    }
    EXPECT_EQ(*result.sender, peer->address());
    stage.Tell(std::string(result.data));
    Check(state.Reply(result.data));
    Check(state.Reply("and more"));
    if (++received == kDatagrams) Check(state.Finish().status());
  }));
  for (int sent = 0; sent < kDatagrams;) {
    for (int i = 0; i < kDatagrams / 3; ++i, ++sent) {
      EXPECT_TRUE(peer->SendTo(address, absl::StrCat("message", sent)).ok());
    }
    stage.TurnUntil([&] { return received == sent || ended; });
    if (ended) return;
  }
  stage.TurnUntil([&] { return state.output_queue_length() == 0; });
  for (int i = 0; i < 2 * kDatagrams; ++i) stage.Tell(peer->Receive().payload);
}

void BothWays(Stage& stage) {
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  std::vector<char> buffer(10);
  Check(state.ReadBuffer(buffer, stage.End("read")));
  stage.Turn(absl::ZeroDuration());
  const std::string bytes = Pattern(500);
  Check(state.WriteBuffer(bytes, stage.End("write", [&](const IoResult&) {
    EXPECT_TRUE(peer->Send("0123456789").ok());
  })));
  stage.TurnUntilAllEnded();
}

struct Scenario {
  const char* name;
  void (*run)(Stage&);
};

constexpr Scenario kScenarios[] = {
    {"Connect", Connect},
    {"ConnectRefused", ConnectRefused},
    {"Accept", Accept},
    {"ReadBuffer", ReadBuffer},
    {"ReadLines", ReadLines},
    {"ReplyToLines", ReplyToLines},
    {"ReadTimeout", ReadTimeout},
    {"WaitForInput", WaitForInput},
    {"Write", Write},
    {"SendDatagrams", SendDatagrams},
    {"ReceiveDatagrams", ReceiveDatagrams},
    {"EchoDatagrams", EchoDatagrams},
    {"BothWays", BothWays},
};

void PrintTo(const Scenario& scenario, std::ostream* out) {
  *out << scenario.name;
}

using Param = std::tuple<KernelParam, Scenario>;

std::string ParamName(const testing::TestParamInfo<Param>& info) {
  return std::get<0>(info.param).name + "_" + std::get<1>(info.param).name;
}

class RoughKernelTest : public testing::TestWithParam<Param> {
 protected:
  // What it tells on a kernel that was made rough.
  std::string Story(absl::FunctionRef<void(FaultKernel&)> roughen) {
    Stage stage(std::get<0>(GetParam()));
    roughen(stage.faults());
    std::get<1>(GetParam()).run(stage);
    return stage.story();
  }
};

INSTANTIATE_TEST_SUITE_P(All, RoughKernelTest,
                         testing::Combine(testing::ValuesIn(AllKernels()),
                                          testing::ValuesIn(kScenarios)),
                         ParamName);

TEST_P(RoughKernelTest, TellsTheSameStory) {
  const std::string smooth = Story([](FaultKernel&) {});
  ASSERT_FALSE(smooth.empty());
  struct Roughness {
    const char* name;
    void (*roughen)(FaultKernel&);
  };
  const Roughness kinds[] = {
      {"one byte a call", [](FaultKernel& k) { k.LimitTransfers(1); }},
      {"seven bytes a call", [](FaultKernel& k) { k.LimitTransfers(7); }},
      {"one datagram a call", [](FaultKernel& k) { k.LimitBatches(1); }},
      {"one report a wait", [](FaultKernel& k) { k.LimitReports(1); }},
      {"would block every other time",
       [](FaultKernel& k) { k.WouldBlockEvery(2); }},
      {"would block every third time",
       [](FaultKernel& k) { k.WouldBlockEvery(3); }},
      {"spurious reports", [](FaultKernel& k) { k.SetSpuriousReports(true); }},
      {"reversed reports", [](FaultKernel& k) { k.SetReversedReports(true); }},
      {"all of it",
       [](FaultKernel& k) {
         k.LimitTransfers(5);
         k.LimitBatches(2);
         k.LimitReports(1);
         k.WouldBlockEvery(3);
         k.SetSpuriousReports(true);
         k.SetReversedReports(true);
       }},
  };
  for (const Roughness& kind : kinds) {
    SCOPED_TRACE(kind.name);
    EXPECT_EQ(Story(kind.roughen), smooth);
  }
}

// The change of interest before each turn in turn fails late: the handle is not
// watched, which a later report says. `Stage` sees to it that everything ends,
// and once.
TEST_P(RoughKernelTest, InterestThatFailsLateEndsWhatItConcerns) {
  for (int turn = 0; turn < 12; ++turn) {
    SCOPED_TRACE(turn);
    Stage stage(std::get<0>(GetParam()));
    stage.before_turn = [&](int number) {
      if (number == turn) stage.faults().FailInterestLate(Error(ENOMEM));
    };
    std::get<1>(GetParam()).run(stage);
  }
}

// A change that fails at once is no different, and being told of more than is
// wanted disturbs nothing and does not make the collection spin.
TEST_P(RoughKernelTest, InterestThatFailsDoesNotMakeItSpin) {
  for (int64_t n = 1;; ++n) {
    SCOPED_TRACE(n);
    Stage stage(std::get<0>(GetParam()));
    stage.faults().FailNth(KernelCall::kSetInterest, n, Error(ENOMEM));
    std::get<1>(GetParam()).run(stage);
    for (int i = 0; i < 4; ++i) stage.Turn(absl::ZeroDuration());
    EXPECT_FALSE(stage.collection().Wait(absl::ZeroDuration())) << "it spins";
    if (!stage.faults().fault_was_reached()) break;
  }
}

// From some moment on no change succeeds, as when other code has closed the
// handle. The operations fail; the collection serves the others.
class LostHandleTest : public testing::TestWithParam<KernelParam> {};

INSTANTIATE_TEST_SUITE_P(All, LostHandleTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(LostHandleTest, InterestThatFailsForEverEndsTheOperations) {
  Stage stage(GetParam());
  std::unique_ptr<TcpPeer> peer;
  AsyncIoState& state = stage.Connected(&peer);
  std::unique_ptr<TcpPeer> other_peer;
  AsyncIoState& other = stage.Connected(&other_peer);
  std::vector<char> buffer(8);
  std::vector<char> other_buffer(8);
  Check(other.ReadBuffer(other_buffer, stage.End("other read")));
  Check(state.ReadBuffer(buffer, stage.End("read")));
  // Waits for the socket to take more.
  stage.faults().FailEvery(KernelCall::kSend, Error(EAGAIN));
  Check(state.WriteBuffer("bytes", stage.End("write")));
  for (int i = 0; i < 3; ++i) stage.Turn(absl::ZeroDuration());
  EXPECT_EQ(stage.story(), "");

  stage.faults().FailEvery(KernelCall::kSetInterest, Error(EBADF));
  stage.faults().FailEvery(KernelCall::kSend, Error(EBADF));
  stage.TurnUntil([&] { return !stage.story().empty(); });
  for (int i = 0; i < 3; ++i) stage.Turn(absl::ZeroDuration());
  EXPECT_EQ(stage.story(), "write: error 0\nread: error 0\n");
  EXPECT_EQ(state.read_error(), Error(EBADF));
  EXPECT_TRUE(other_peer->Send("12345678").ok());
  stage.TurnUntilAllEnded();
  EXPECT_EQ(other.read_status(), IoStatus::kOk);
}

}  // namespace
}  // namespace aios::test
