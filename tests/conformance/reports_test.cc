// Reports of readiness that no call explains, again and again: the loop does
// not turn for nothing, and nothing else comes of them.

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

// As long as it is stubborn, every `Wait` returns at once and reports whatever
// is watched as ready in the directions asked for, as a system does of a socket
// with something on it that no call takes away.
class StubbornKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override {
    Error error = KernelDecorator::SetInterest(poller, handle, token, from, to);
    if (error.ok()) watched_[token] = to;
    return error;
  }

  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override {
    ++waits;
    std::erase_if(watched_,
                  [](const auto& one) { return one.second == kNotReady; });
    bool stubborn = is_stubborn && !watched_.empty();
    size_t count =
        KernelDecorator::Wait(poller, reports.first(1), stubborn ? 0 : timeout);
    if (!stubborn || count != 0) return count;
    for (const auto& [token, interest] : watched_) {
      reports[count++] = {.token = token, .ready = interest};
    }
    return count;
  }

  bool is_stubborn = true;
  int waits = 0;

 private:
  std::map<void*, Readiness> watched_;
};

class ReportsTest : public ConformanceTest {
 protected:
  ReportsTest() : stubborn_(kernel()), faults_(stubborn_) {
    RemakeCollection({}, &faults_);
  }
  ~ReportsTest() override { DestroyCollection(); }

  // How often the loop turns in a tenth of a second.
  int TurnsOfAWhile() {
    int before = stubborn_.waits;
    RunFor(absl::Milliseconds(100));
    return stubborn_.waits - before;
  }
  // Some turns in a row, then two for each rest, and some for what tests do.
  static constexpr int kTurnsMax = 60;

  StubbornKernel stubborn_;
  FaultKernel faults_;
};

INSTANTIATE_TEST_SUITE_P(All, ReportsTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(ReportsTest, ThatNothingExplainsDoNotSpinAReadingLoop) {
  for (int kind = 0; kind < 4; ++kind) {
    SCOPED_TRACE(kind);
    Channel channel = MakeChannel();
    std::string buffer(3, '\0');
    Recorder read(*this, "read");
    if (kind == 0) {
      ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
    } else if (kind == 1) {
      ASSERT_OK(channel.state->ReadWithChecking(
          read.Callback([](AsyncIoState& state, const IoResult& result) {
            EXPECT_EQ(result.data, "abc");
            EXPECT_OK(state.Finish(3));
          })));
    } else if (kind == 2) {
      ASSERT_OK(channel.state->ReceiveMessage(buffer, read.Callback()));
    } else {
      ASSERT_OK(channel.state->WaitForInput(read.Callback()));
    }
    EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
    EXPECT_FALSE(read.called());
    // It is looked at now and then all the same.
    ASSERT_EQ(channel.peer->Send("abc"), Error());
    ASSERT_TRUE(RunUntil(read));
    EXPECT_EQ(read.last().status, IoStatus::kOk);
  }
}

TEST_P(ReportsTest, ThatNothingExplainsDoNotSpinALoopForDatagrams) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  for (bool messages : {false, true}) {
    SCOPED_TRACE(messages);
    std::unique_ptr<AsyncIoState> state = MakeUdp();
    std::string buffer(3, '\0');
    Recorder receive(*this, "receive");
    if (messages) {
      ASSERT_OK(state->ReceiveMessages(
          receive.Callback([](AsyncIoState& state, const IoResult&) {
            EXPECT_OK(state.Finish());
          })));
    } else {
      ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
    }
    EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
    EXPECT_EQ(peer->SendTo(*state->address(), "abc"), Error());
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().data, "abc");
  }
}

TEST_P(ReportsTest, ThatNothingExplainsDoNotSpinAWritingLoop) {
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  const std::string data = Pattern(size_t{32} << 20);
  ASSERT_OK(channel.state->WriteBuffer(data, write.Callback()));
  // Until the peer, which does not read, has as much as it takes.
  RunFor(absl::Milliseconds(300));
  EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
  EXPECT_FALSE(write.called());
  stubborn_.is_stubborn = false;
  EXPECT_EQ(ReadFromPeer(*channel.peer, data.size()).bytes, data);
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().count, data.size());
}

TEST_P(ReportsTest, ThatNothingExplainsDoNotSpinAConnectingLoop) {
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(collection(), silent.ip(), silent.port(), connect.Callback(),
                 {.connect_timeout = absl::Milliseconds(200)});
  ASSERT_OK(state);
  EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_EQ(connect.last().status, IoStatus::kTimeout);
}

TEST_P(ReportsTest, ThatNothingExplainsDoNotSpinAnAcceptingLoop) {
  std::unique_ptr<AsyncIoState> accepted;
  auto listener = AcceptTcpConnections(
      collection(), 0,
      [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
        accepted = std::move(state);
      },
      {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted != nullptr; }));
}

// Closing what is not watched for the moment, and destroying it all.
TEST_P(ReportsTest, OfWhatRestsWhenItIsClosed) {
  Channel first = MakeChannel();
  Channel second = MakeChannel();
  char byte;
  Recorder one(*this, "one");
  Recorder two(*this, "two");
  ASSERT_OK(first.state->ReadBuffer({&byte, 1}, one.Callback()));
  ASSERT_OK(second.state->WaitForInput(two.Callback()));
  EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
  first.state->Close();
  EXPECT_EQ(second.peer->Send("x"), Error());
  ASSERT_TRUE(RunUntil(two));
  EXPECT_FALSE(one.called());
  ASSERT_OK(second.state->ReadBuffer({&byte, 1}, one.Callback()));
  ASSERT_TRUE(RunUntil(one));
  ASSERT_OK(second.state->ReadBuffer({&byte, 1}, two.Callback()));
  TurnsOfAWhile();
  DestroyCollection();
}

// ---- Lack of memory, which passes.

TEST_P(ReportsTest, LackOfMemoryDoesNotEndAWrite) {
  for (int code : {ENOBUFS, ENOMEM}) {
    stubborn_.is_stubborn = false;
    Channel channel = MakeChannel({.queue_output = true});
    Recorder first(*this, "first");
    Recorder second(*this, "second");
    faults_.FailNth(KernelCall::kSend, 1, Error(code));
    ASSERT_OK(channel.state->WriteBuffer("one", first.Callback()));
    ASSERT_OK(channel.state->WriteBuffer("two", second.Callback()));
    ASSERT_TRUE(RunUntil(second));
    EXPECT_TRUE(faults_.fault_was_reached());
    EXPECT_EQ(first.last().status, IoStatus::kOk);
    EXPECT_EQ(second.last().status, IoStatus::kOk);
    EXPECT_EQ(channel.state->write_error(), Error());
    EXPECT_EQ(channel.peer->ReceiveExactly(6), "onetwo");
  }
}

TEST_P(ReportsTest, LackOfMemoryThatLastsIsTheWriteTimeout) {
  stubborn_.is_stubborn = false;
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  faults_.FailEvery(KernelCall::kSend, Error(ENOBUFS));
  ASSERT_OK(channel.state->WriteBuffer("one", write.Callback(),
                                       {.timeout = absl::Milliseconds(200)}));
  // The system finds that the socket has room.
  EXPECT_LT(TurnsOfAWhile(), kTurnsMax);
  EXPECT_FALSE(write.called());
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kTimeout);
  EXPECT_EQ(write.last().count, 0u);
}

TEST_P(ReportsTest, LackOfMemoryDoesNotEndAReply) {
  stubborn_.is_stubborn = false;
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  faults_.FailNth(KernelCall::kSend, 1, Error(ENOMEM));
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        if (!result.ok()) return;
        EXPECT_OK(state.Reply(result.data));
        EXPECT_OK(state.Discard(result.data.size()));
      })));
  ASSERT_EQ(channel.peer->Send("abc"), Error());
  EXPECT_EQ(ReadFromPeer(*channel.peer, 3).bytes, "abc");
  EXPECT_TRUE(faults_.fault_was_reached());
  ASSERT_EQ(channel.peer->Send("def"), Error());
  EXPECT_EQ(ReadFromPeer(*channel.peer, 3).bytes, "def");
  for (const Call& call : read.calls()) EXPECT_EQ(call.status, IoStatus::kOk);
}

TEST_P(ReportsTest, LackOfMemoryDoesNotEndARead) {
  stubborn_.is_stubborn = false;
  for (int code : {ENOBUFS, ENOMEM}) {
    for (bool peeks : {false, true}) {
      Channel channel = MakeChannel();
      std::string buffer(3, '\0');
      Recorder read(*this, "read");
      if (peeks) {
        faults_.FailNth(KernelCall::kPeek, 1, Error(code));
        ASSERT_OK(channel.state->WaitForInput(read.Callback()));
      } else {
        faults_.FailNth(KernelCall::kReceive, 1, Error(code));
        ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
      }
      ASSERT_EQ(channel.peer->Send("abc"), Error());
      ASSERT_TRUE(RunUntil(read));
      EXPECT_TRUE(faults_.fault_was_reached());
      EXPECT_EQ(read.last().status, IoStatus::kOk);
      EXPECT_EQ(channel.state->read_error(), Error());
    }
  }
}

TEST_P(ReportsTest, LackOfMemoryDoesNotEndAReceive) {
  stubborn_.is_stubborn = false;
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::string buffer(3, '\0');
  Recorder receive(*this, "receive");
  faults_.FailNth(KernelCall::kReceiveDatagram, 1, Error(ENOMEM));
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  EXPECT_EQ(peer->SendTo(*state->address(), "abc"), Error());
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_TRUE(faults_.fault_was_reached());
  EXPECT_EQ(receive.last().data, "abc");
}

// A datagram is not worth waiting for: it may get lost anywhere.
TEST_P(ReportsTest, LackOfMemoryEndsTheDatagramThatWasToBeSent) {
  stubborn_.is_stubborn = false;
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  faults_.FailNth(KernelCall::kSendDatagrams, 1, Error(ENOBUFS));
  ASSERT_OK(
      state->SendMessageToAddress(peer->address(), "lost", first.Callback()));
  ASSERT_OK(
      state->SendMessageToAddress(peer->address(), "found", second.Callback()));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(first.last().error, Error(ENOBUFS));
  EXPECT_EQ(second.last().status, IoStatus::kOk);
  EXPECT_EQ(peer->Receive().payload, "found");
}

// No connection was begun that could go on: whoever wants one asks again.
TEST_P(ReportsTest, LackOfMemoryEndsAConnect) {
  stubborn_.is_stubborn = false;
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  faults_.FailNth(KernelCall::kConnect, 1, Error(ENOBUFS));
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(collection(), listener->address().ip(),
                 listener->address().port(), connect.Callback());
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_EQ(connect.last().error, Error(ENOBUFS));
}

TEST_P(ReportsTest, LackOfMemoryDoesNotEndAccepting) {
  stubborn_.is_stubborn = false;
  std::unique_ptr<AsyncIoState> accepted;
  auto listener = AcceptTcpConnections(
      collection(), 0,
      [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
        accepted = std::move(state);
      },
      {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  faults_.FailNth(KernelCall::kAccept, 1, Error(ENOBUFS));
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted != nullptr; }));
  EXPECT_TRUE(faults_.fault_was_reached());
}

}  // namespace
}  // namespace aios::test
