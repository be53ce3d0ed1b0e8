// The decorators of kernels that other tests trust: CountingKernel and
// FaultKernel, over every kernel.

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "gtest/gtest.h"
#include "tests/support/counting_kernel.h"
#include "tests/support/fault_kernel.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/kernels.h"
#include "tests/support/print.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

constexpr Error kOk;

std::vector<KernelCall> AllCalls() {
  std::vector<KernelCall> calls;
  for (size_t i = 0; i < kKernelCallCount; ++i) {
    calls.push_back(static_cast<KernelCall>(i));
  }
  return calls;
}

class DecoratorTest : public testing::TestWithParam<KernelParam> {
 protected:
  ~DecoratorTest() override {
    for (Handle handle : handles_) world_->kernel().Close(handle);
  }

  TestWorld& world() { return *world_; }

  Handle Keep(Handle handle) {
    handles_.insert(handle);
    return handle;
  }

  TcpPair Connected() {
    TcpPair pair = world().RawSocketPair(Family::kIpv4);
    SocketInfo info;
    EXPECT_EQ(world().kernel().Adopt(Keep(pair.handle), &info), kOk);
    return pair;
  }

  Transfer Send(Kernel& kernel, Handle handle, std::string_view bytes) {
    ConstBuffer buffer = {.data = bytes.data(), .size = bytes.size()};
    return kernel.Send(handle, {&buffer, 1});
  }

  // A listener with so many connections pending.
  Handle Listener(Kernel& kernel, size_t connections) {
    Handle listener = Keep(world().RawListener(Family::kIpv4));
    SocketInfo info;
    EXPECT_EQ(world().kernel().Adopt(listener, &info), kOk);
    SocketAddress address;
    EXPECT_EQ(kernel.LocalAddress(listener, &address), kOk);
    for (size_t i = 0; i < connections; ++i) {
      clients_.push_back(world().ConnectTo(address));
    }
    return listener;
  }
  TcpPeer& client(size_t index) { return *clients_[index]; }

  // Accepts when a connection has arrived, as the next one.
  Error Accept(Kernel& kernel, Handle listener, Handle* connection) {
    Error error(EAGAIN);
    EXPECT_TRUE(world().Until([&] {
      error = kernel.Accept(listener, connection);
      return error != Error(EAGAIN);
    }));
    if (error.ok()) Keep(*connection);
    return error;
  }

 private:
  std::unique_ptr<TestWorld> world_ = GetParam().make_world();
  std::set<Handle> handles_;
  std::vector<std::unique_ptr<TcpPeer>> clients_;
};

TEST(KernelCalls, HaveNames) {
  std::set<std::string_view> names;
  for (KernelCall call : AllCalls()) names.insert(CallName(call));
  EXPECT_EQ(names.size(), kKernelCallCount);
  EXPECT_EQ(CallName(KernelCall::kNow), "Now");
  EXPECT_EQ(CallName(KernelCall::kSendDatagrams), "SendDatagrams");
  EXPECT_EQ(CallName(KernelCall::kWake), "Wake");
}

TEST(KernelCalls, HavePlausibleErrorsExactlyWhenTheyCanFail) {
  for (KernelCall call : AllCalls()) {
    std::span<const int> errors = FaultKernel::PlausibleErrors(call);
    EXPECT_EQ(!errors.empty(), CanFail(call)) << CallName(call);
    EXPECT_LE(errors.size(), FaultKernel::kErrorVariants) << CallName(call);
    for (int code : errors) {
      EXPECT_NE(code, EINTR) << CallName(call);
      EXPECT_NE(code, 0) << CallName(call);
    }
  }
}

class CountingKernelTest : public DecoratorTest {};

INSTANTIATE_TEST_SUITE_P(All, CountingKernelTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(CountingKernelTest, CountsCallsAndFailures) {
  CountingKernel kernel(world().kernel());
  EXPECT_EQ(kernel.counts().ToString(), "none");
  TcpPair pair = Connected();
  CallCounts before = kernel.counts();
  EXPECT_EQ(Send(kernel, pair.handle, "x").count, 1u);
  std::array<char, 8> buffer;
  EXPECT_EQ(kernel.Receive(pair.handle, buffer).error, Error(EAGAIN));
  ASSERT_EQ(pair.peer->Send("y"), kOk);
  EXPECT_TRUE(world().Until(
      [&] { return world().kernel().Peek(pair.handle).count == 1; }));
  EXPECT_EQ(kernel.Receive(pair.handle, buffer).count, 1u);
  EXPECT_GT(kernel.Now(), 0);
  CallCounts made = kernel.counts() - before;
  EXPECT_EQ(made.of(KernelCall::kReceive), 2);
  EXPECT_EQ(made.failures_of(KernelCall::kReceive), 1);
  EXPECT_EQ(made.of(KernelCall::kSend), 1);
  EXPECT_EQ(made.of(KernelCall::kNow), 1);
  EXPECT_EQ(made.total(), 3);
  EXPECT_EQ(made.total_failures(), 1);
  EXPECT_EQ(made.ToString(), "Now 1, Receive 2 (1 failed), Send 1");
  EXPECT_EQ(kernel.counts() - kernel.counts(), CallCounts());
}

TEST_P(CountingKernelTest, CountsEveryKindOfCall) {
  CountingKernel kernel(world().kernel());
  EXPECT_EQ(kernel.name(), world().kernel().name());
  Handle handle = kNoHandle;
  ASSERT_EQ(kernel.Open(SocketType::kDatagram, Family::kIpv4, &handle), kOk);
  SocketInfo info;
  SocketAddress address(world().host_ip(Family::kIpv4), 0);
  bool on;
  std::array<char, 8> buffer;
  IncomingDatagram datagram;
  std::unique_ptr<Poller> poller;
  std::array<Report, 2> reports;
  static_cast<void>(kernel.Adopt(handle, &info));
  static_cast<void>(
      kernel.SetOption(handle, SocketOption::kReuseAddress, true));
  static_cast<void>(kernel.GetOption(handle, SocketOption::kReuseAddress, &on));
  static_cast<void>(kernel.Bind(handle, address));
  static_cast<void>(kernel.Listen(handle, 1));
  static_cast<void>(kernel.LocalAddress(handle, &address));
  static_cast<void>(kernel.Connect(handle, address));
  static_cast<void>(kernel.PeerAddress(handle, &address));
  static_cast<void>(kernel.TakeError(handle));
  Handle none;
  static_cast<void>(kernel.Accept(handle, &none));
  static_cast<void>(kernel.Receive(handle, buffer));
  static_cast<void>(kernel.Peek(handle));
  static_cast<void>(Send(kernel, handle, "x"));
  static_cast<void>(kernel.ReceiveDatagram(handle, buffer, true, &datagram));
  datagram.buffer = buffer;
  static_cast<void>(kernel.ReceiveDatagrams(handle, true, {&datagram, 1}));
  OutgoingDatagram outgoing = {.payload = {.data = "x", .size = 1}};
  static_cast<void>(kernel.SendDatagrams(handle, {&outgoing, 1}));
  static_cast<void>(kernel.Shutdown(handle, Direction::kInput));
  static_cast<void>(kernel.InterfaceIndex("none"));
  FileStamp stamp;
  static_cast<void>(kernel.ReadFile("/none", 0, {}, &stamp));
  static_cast<void>(kernel.Now());
  ASSERT_EQ(kernel.NewPoller(&poller), kOk);
  static_cast<void>(
      kernel.SetInterest(*poller, handle, &none, kNotReady, kWritable));
  kernel.Wake(*poller);
  kernel.Wait(*poller, reports, 0);
  static_cast<void>(
      kernel.SetInterest(*poller, handle, &none, kWritable, kNotReady));
  kernel.Release(handle);
  kernel.Close(handle);
  CallCounts counts = kernel.counts();
  for (KernelCall call : AllCalls()) {
    EXPECT_EQ(counts.of(call), call == KernelCall::kSetInterest ? 2 : 1)
        << CallName(call);
  }
}

TEST_P(CountingKernelTest, AConnectInProgressIsNoFailure) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  CountingKernel kernel(world().kernel());
  Handle handle = kNoHandle;
  ASSERT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
  Keep(handle);
  EXPECT_EQ(kernel.Connect(handle, world().SilentAddress(Family::kIpv4)),
            Error(EINPROGRESS));
  EXPECT_EQ(kernel.counts().of(KernelCall::kConnect), 1);
  EXPECT_EQ(kernel.counts().failures_of(KernelCall::kConnect), 0);
}

class FaultKernelTest : public DecoratorTest {
 protected:
  FaultKernel& kernel() { return kernel_; }

 private:
  FaultKernel kernel_{world().kernel()};
};

INSTANTIATE_TEST_SUITE_P(All, FaultKernelTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(FaultKernelTest, FailsTheNthCallOfAKindOnce) {
  TcpPair pair = Connected();
  kernel().FailNth(KernelCall::kSend, 2, Error(ENOBUFS));
  std::array<char, 8> buffer;
  EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, Error(EAGAIN));
  EXPECT_EQ(Send(kernel(), pair.handle, "a").error, kOk);
  EXPECT_FALSE(kernel().fault_was_reached());
  EXPECT_EQ(Send(kernel(), pair.handle, "lost").error, Error(ENOBUFS));
  EXPECT_TRUE(kernel().fault_was_reached());
  EXPECT_EQ(kernel().failed_call(), KernelCall::kSend);
  EXPECT_EQ(Send(kernel(), pair.handle, "b").error, kOk);
  EXPECT_EQ(pair.peer->ReceiveExactly(2), "ab");
}

TEST_P(FaultKernelTest, FailsTheNthOfAllCallsThatCanFail) {
  TcpPair pair = Connected();
  kernel().FailNth(2, Error(ENOMEM));
  kernel().Now();
  SocketAddress address;
  EXPECT_EQ(kernel().LocalAddress(pair.handle, &address), kOk);
  kernel().Now();
  EXPECT_EQ(kernel().PeerAddress(pair.handle, &address), Error(ENOMEM));
  EXPECT_EQ(kernel().failed_call(), KernelCall::kPeerAddress);
  EXPECT_EQ(kernel().PeerAddress(pair.handle, &address), kOk);
  // Arming again forgets the last one.
  kernel().FailNth(100, Error(ENOMEM));
  EXPECT_FALSE(kernel().fault_was_reached());
}

TEST_P(FaultKernelTest, FailsWithAnErrorThatTheCallMayGive) {
  Handle handle = kNoHandle;
  for (size_t variant = 0; variant < FaultKernel::kErrorVariants; ++variant) {
    kernel().FailNth(1, variant);
    Error error = kernel().Open(SocketType::kStream, Family::kIpv4, &handle);
    EXPECT_EQ(error, FaultKernel::PlausibleError(KernelCall::kOpen, variant));
    EXPECT_FALSE(error.ok());
    EXPECT_EQ(handle, kNoHandle);
  }
}

TEST_P(FaultKernelTest, FailsEveryCallUntilHealed) {
  Handle handle = kNoHandle;
  kernel().FailEvery(KernelCall::kOpen, Error(EMFILE));
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(kernel().Open(SocketType::kStream, Family::kIpv4, &handle),
              Error(EMFILE));
  }
  EXPECT_FALSE(kernel().fault_was_reached());
  kernel().Heal(KernelCall::kOpen);
  EXPECT_EQ(kernel().Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
  Keep(handle);
}

TEST_P(FaultKernelTest, AConnectionThatCouldNotBeAcceptedStays) {
  Handle listener = Listener(kernel(), 1);
  Handle connection = kNoHandle;
  kernel().FailNth(KernelCall::kAccept, 1, Error(EMFILE));
  EXPECT_EQ(kernel().Accept(listener, &connection), Error(EMFILE));
  EXPECT_EQ(connection, kNoHandle);
  EXPECT_EQ(Accept(kernel(), listener, &connection), kOk);
}

TEST_P(FaultKernelTest, AConnectionThatWasAbortedIsGone) {
  Handle listener = Listener(kernel(), 2);
  Handle connection = kNoHandle;
  // As soon as it is there; an abort of nothing is no abort.
  ASSERT_TRUE(world().Until([&] {
    kernel().FailNth(KernelCall::kAccept, 1, Error(ECONNABORTED));
    Error error = kernel().Accept(listener, &connection);
    EXPECT_TRUE(error == Error(EAGAIN) || error == Error(ECONNABORTED));
    return error == Error(ECONNABORTED);
  }));
  EXPECT_EQ(connection, kNoHandle);
  EXPECT_EQ(Accept(kernel(), listener, &connection), kOk);
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(connection, &address), kOk);
  EXPECT_EQ(address, client(1).LocalAddress());
  EXPECT_TRUE(client(0).Receive().end);
}

TEST_P(FaultKernelTest, AStreamThatWasResetIsDead) {
  for (KernelCall call : {KernelCall::kReceive, KernelCall::kSend}) {
    TcpPair pair = Connected();
    ASSERT_EQ(pair.peer->Send("never read"), kOk);
    ASSERT_TRUE(world().Until(
        [&] { return world().kernel().Peek(pair.handle).count == 1; }));
    kernel().FailNth(call, 1, Error(ECONNRESET));
    std::array<char, 64> buffer;
    if (call == KernelCall::kReceive) {
      EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, Error(ECONNRESET));
    } else {
      EXPECT_EQ(Send(kernel(), pair.handle, "x").error, Error(ECONNRESET));
    }
    Transfer received = kernel().Receive(pair.handle, buffer);
    EXPECT_EQ(received.error, kOk);
    EXPECT_EQ(received.count, 0u);
    EXPECT_EQ(Send(kernel(), pair.handle, "x").error, Error(EPIPE));
    EXPECT_TRUE(pair.peer->ReceiveAll().bytes.empty());
  }
}

TEST_P(FaultKernelTest, AFailedConnectLeavesTheSocketUnconnected) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Handle handle = kNoHandle;
  ASSERT_EQ(kernel().Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
  Keep(handle);
  kernel().FailNth(KernelCall::kConnect, 1, Error(ENETUNREACH));
  EXPECT_EQ(kernel().Connect(handle, listener->address()), Error(ENETUNREACH));
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(handle, &address), Error(ENOTCONN));
}

TEST_P(FaultKernelTest, LimitsTransfers) {
  TcpPair pair = Connected();
  kernel().LimitTransfers(3);
  std::array<ConstBuffer, 3> buffers = {{{.data = "ab", .size = 2},
                                         {.data = "cd", .size = 2},
                                         {.data = "ef", .size = 2}}};
  size_t first = kernel().Send(pair.handle, buffers).count;
  EXPECT_GE(first, 1u);
  EXPECT_LE(first, 3u);
  std::string sent = std::string("abcdef").substr(0, first);
  size_t second = Send(kernel(), pair.handle, "uvwxy").count;
  EXPECT_GE(second, 1u);
  EXPECT_LE(second, 3u);
  sent += std::string("uvwxy").substr(0, second);
  EXPECT_EQ(pair.peer->ReceiveExactly(sent.size()), sent);
  ASSERT_EQ(pair.peer->Send("hello"), kOk);
  std::string received;
  std::array<char, 64> buffer;
  ASSERT_TRUE(world().Until([&] {
    Transfer transfer = kernel().Receive(pair.handle, buffer);
    EXPECT_LE(transfer.count, 3u);
    received.append(buffer.data(), transfer.count);
    return received.size() == 5;
  }));
  EXPECT_EQ(received, "hello");
  kernel().LimitTransfers(0);
  EXPECT_TRUE(world().Until([&] {
    return Send(kernel(), pair.handle, "defgh").count > 3;
  })) << "there is no limit any more";
}

TEST_P(FaultKernelTest, LimitsBatches) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  SocketAddress target = peer->address();
  Handle handle = kNoHandle;
  ASSERT_EQ(kernel().Open(SocketType::kDatagram, Family::kIpv4, &handle), kOk);
  Keep(handle);
  std::array<OutgoingDatagram, 4> datagrams;
  datagrams.fill({.payload = {.data = "x", .size = 1}, .target = &target});
  kernel().LimitBatches(2);
  EXPECT_EQ(kernel().SendDatagrams(handle, datagrams).count, 2u);
  kernel().LimitBatches(0);
  EXPECT_EQ(kernel().SendDatagrams(handle, datagrams).count, 4u);
}

TEST_P(FaultKernelTest, WouldBlockThoughReady) {
  TcpPair pair = Connected();
  kernel().WouldBlockEvery(2);
  EXPECT_EQ(Send(kernel(), pair.handle, "a").error, kOk);
  EXPECT_EQ(Send(kernel(), pair.handle, "b").error, Error(EAGAIN));
  EXPECT_EQ(Send(kernel(), pair.handle, "b").error, kOk);
  EXPECT_EQ(Send(kernel(), pair.handle, "c").error, Error(EAGAIN));
  kernel().WouldBlockEvery(0);
  EXPECT_EQ(Send(kernel(), pair.handle, "c").error, kOk);
  EXPECT_EQ(pair.peer->ReceiveExactly(3), "abc");
}

TEST_P(FaultKernelTest, SpuriousReportsEverySecondWait) {
  std::unique_ptr<Poller> poller;
  ASSERT_EQ(kernel().NewPoller(&poller), kOk);
  TcpPair pair = Connected();
  TcpPair unwatched = Connected();
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(*poller, pair.handle, &token, kNotReady, kReadable),
      kOk);
  int other = 0;
  ASSERT_EQ(kernel().SetInterest(*poller, unwatched.handle, &other, kNotReady,
                                 kReadable),
            kOk);
  ASSERT_EQ(kernel().SetInterest(*poller, unwatched.handle, &other, kReadable,
                                 kNotReady),
            kOk);
  std::array<Report, 8> reports;
  EXPECT_EQ(kernel().Wait(*poller, reports, 0), 0u);
  kernel().SetSpuriousReports(true);
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(kernel().Wait(*poller, reports, kGuard), 1u);
    EXPECT_EQ(reports[0].token, &token);
    EXPECT_EQ(reports[0].ready, kReadable);
    constexpr Nanoseconds kAWhile = 1'000'000;
    Nanoseconds start = kernel().Now();
    EXPECT_EQ(kernel().Wait(*poller, reports, kAWhile), 0u);
    EXPECT_GE(kernel().Now() - start, kAWhile);
  }
  // What is closed is not reported any more, not even so.
  world().kernel().Release(pair.handle);
  kernel().Close(world().Duplicate(unwatched.handle));
  ASSERT_EQ(
      kernel().SetInterest(*poller, pair.handle, &token, kReadable, kNotReady),
      kOk);
  EXPECT_EQ(kernel().Wait(*poller, reports, 0), 0u);
  EXPECT_EQ(kernel().Wait(*poller, reports, 0), 0u);
}

TEST_P(FaultKernelTest, SpuriousReportsJoinTrueOnes) {
  std::unique_ptr<Poller> poller;
  ASSERT_EQ(kernel().NewPoller(&poller), kOk);
  TcpPair pair = Connected();
  int token = 0;
  ASSERT_EQ(kernel().SetInterest(*poller, pair.handle, &token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  kernel().SetSpuriousReports(true);
  std::array<Report, 8> reports;
  ASSERT_EQ(kernel().Wait(*poller, reports, kGuard), 1u);
  EXPECT_EQ(reports[0].ready, kReadable | kWritable);
}

TEST_P(FaultKernelTest, LimitsAndReversesReports) {
  std::unique_ptr<Poller> poller;
  ASSERT_EQ(kernel().NewPoller(&poller), kOk);
  std::array<TcpPair, 3> pairs;
  for (TcpPair& pair : pairs) {
    pair = Connected();
    ASSERT_EQ(
        kernel().SetInterest(*poller, pair.handle, &pair, kNotReady, kWritable),
        kOk);
  }
  kernel().LimitReports(1);
  std::set<const void*> tokens;
  std::array<Report, 8> reports;
  for (int i = 0; i < 6; ++i) {
    ASSERT_LE(kernel().Wait(*poller, reports, kGuard), 1u);
    tokens.insert(reports[0].token);
  }
  EXPECT_EQ(tokens.size(), 3u);
  kernel().LimitReports(0);
  kernel().SetReversedReports(true);
  tokens.clear();
  size_t count = kernel().Wait(*poller, reports, kGuard);
  for (const Report& report : std::span(reports).first(count)) {
    tokens.insert(report.token);
  }
  EXPECT_EQ(tokens.size(), count);
}

TEST_P(FaultKernelTest, AnInterestCanFailLate) {
  std::unique_ptr<Poller> poller;
  ASSERT_EQ(kernel().NewPoller(&poller), kOk);
  TcpPair pair = Connected();
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(*poller, pair.handle, &token, kNotReady, kReadable),
      kOk);
  kernel().FailInterestLate(Error(ENOSPC));
  EXPECT_EQ(kernel().SetInterest(*poller, pair.handle, &token, kReadable,
                                 kReadable | kWritable),
            kOk);
  std::array<Report, 8> reports;
  ASSERT_EQ(kernel().Wait(*poller, reports, kGuard), 1u);
  EXPECT_EQ(reports[0].token, &token);
  EXPECT_EQ(reports[0].error, Error(ENOSPC));
  EXPECT_EQ(kernel().Wait(*poller, reports, 0), 0u);
  // From here it starts again, without interest.
  ASSERT_EQ(
      kernel().SetInterest(*poller, pair.handle, &token, kNotReady, kWritable),
      kOk);
  ASSERT_EQ(kernel().Wait(*poller, reports, kGuard), 1u);
  EXPECT_EQ(reports[0].error, kOk);
  EXPECT_NE(reports[0].ready & kWritable, 0);
}

TEST_P(FaultKernelTest, DecoratorsCanBeStacked) {
  CountingKernel counting(kernel());
  TcpPair pair = Connected();
  kernel().FailNth(KernelCall::kSend, 1, Error(ENOBUFS));
  EXPECT_EQ(Send(counting, pair.handle, "x").error, Error(ENOBUFS));
  EXPECT_EQ(counting.counts().failures_of(KernelCall::kSend), 1);
  std::unique_ptr<Poller> poller;
  ASSERT_EQ(counting.NewPoller(&poller), kOk);
  std::array<Report, 2> reports;
  counting.Wake(*poller);
  Nanoseconds start = counting.Now();
  EXPECT_EQ(counting.Wait(*poller, reports, kGuard), 0u);
  EXPECT_LT(counting.Now() - start, kGuard);
}

// The peers and the world itself.

class TestWorldTest : public DecoratorTest {};

INSTANTIATE_TEST_SUITE_P(All, TestWorldTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(TestWorldTest, UntilLooksUntilTheConditionHolds) {
  int looks = 0;
  EXPECT_TRUE(world().Until([&] { return ++looks == 10; }));
  EXPECT_EQ(looks, 10);
}

TEST_P(TestWorldTest, PeersTalk) {
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    if (!world().HasFamily(family)) continue;
    std::unique_ptr<TcpListenerPeer> listener = world().Listen(family);
    std::unique_ptr<TcpPeer> one = world().ConnectTo(listener->address());
    std::unique_ptr<TcpPeer> two = listener->Accept();
    ASSERT_TRUE(one != nullptr && two != nullptr);
    EXPECT_EQ(one->LocalAddress(), two->RemoteAddress());
    ASSERT_EQ(one->Send("hello"), kOk);
    EXPECT_EQ(two->ReceiveExactly(5), "hello");
    ASSERT_EQ(one->ShutdownWrite(), kOk);
    EXPECT_TRUE(two->ReceiveAll().end);
    two->Reset();
    PeerRead read = one->ReceiveAll();
    EXPECT_EQ(read.error, Error(ECONNRESET));
    EXPECT_FALSE(read.end);
  }
}

TEST_P(TestWorldTest, AShortageEndsWithItsObject) {
  Kernel& kernel = world().kernel();
  Handle handle = kNoHandle;
  {
    std::unique_ptr<HandleShortage> shortage = world().LimitHandles(2);
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
      Keep(handle);
    }
    EXPECT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle),
              Error(EMFILE));
    shortage->Allow(1);
    ASSERT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
    Keep(handle);
    EXPECT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle),
              Error(EMFILE));
  }
  EXPECT_EQ(kernel.Open(SocketType::kStream, Family::kIpv4, &handle), kOk);
  Keep(handle);
}

}  // namespace
}  // namespace aios::test
