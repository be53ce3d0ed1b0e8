// The contract of the seam (aios/kernel.h), on every kernel. The name of a test
// begins with the rule that it is about; those without a number are about what
// the comment of a call says.
//
// A kernel may do all that the contract allows: report what is not ready, give
// reports in any order, return early. So no test demands that something is not
// reported, except where a rule says so.

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "gtest/gtest.h"
#include "tests/support/kernels.h"
#include "tests/support/print.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

constexpr Nanoseconds kMicrosecond = 1'000;
constexpr Nanoseconds kMillisecond = 1'000'000;

constexpr Error kOk;
constexpr Error kWouldBlock(EAGAIN);

// Bytes of which no two neighbouring stretches are alike.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<char>(i * 31 + i / 251);
  }
  return bytes;
}

ConstBuffer BufferOf(std::string_view text) {
  return {.data = text.data(), .size = text.size()};
}

class KernelTest : public testing::Test {
 protected:
  explicit KernelTest(const KernelParam& param) : world_(param.make_world()) {
    EXPECT_EQ(kernel().NewPoller(&poller_), kOk);
  }

  ~KernelTest() override {
    for (Handle handle : handles_) kernel().Close(handle);
  }

  Kernel& kernel() { return world_->kernel(); }
  TestWorld& world() { return *world_; }
  Poller& poller() { return *poller_; }

  // Sees to it that the handle is closed at the end of the test.
  Handle Keep(Handle handle) {
    handles_.insert(handle);
    return handle;
  }
  void Close(Handle handle) {
    handles_.erase(handle);
    kernel().Close(handle);
  }

  Handle Open(SocketType type, Family family) {
    Handle handle = kNoHandle;
    EXPECT_EQ(kernel().Open(type, family, &handle), kOk);
    return Keep(handle);
  }

  Handle Adopt(Handle handle) {
    Keep(handle);
    SocketInfo info;
    EXPECT_EQ(kernel().Adopt(handle, &info), kOk);
    return handle;
  }

  // A connected stream with its peer, closed with the test.
  TcpPair Connected(Family family) {
    TcpPair pair = world().RawSocketPair(family);
    Adopt(pair.handle);
    return pair;
  }

  // Bound to a free port.
  Handle OpenUdp(Family family) {
    Handle handle = Open(SocketType::kDatagram, family);
    EXPECT_EQ(kernel().Bind(handle, SocketAddress(world().host_ip(family), 0)),
              kOk);
    return handle;
  }

  Handle OpenListener(Family family) {
    Handle handle = Open(SocketType::kStream, family);
    EXPECT_EQ(kernel().Bind(handle, SocketAddress(world().host_ip(family), 0)),
              kOk);
    EXPECT_EQ(kernel().Listen(handle, 0), kOk);
    return handle;
  }

  SocketAddress LocalAddress(Handle handle) {
    SocketAddress address;
    EXPECT_EQ(kernel().LocalAddress(handle, &address), kOk);
    return address;
  }

  // Waits for a report of the token with one of these directions. Errors of
  // late changes fail the test.
  bool AwaitReport(Poller& poller, const void* token, Readiness directions) {
    Nanoseconds end = kernel().Now() + kGuard;
    while (kernel().Now() < end) {
      std::array<Report, 64> reports;
      size_t count = kernel().Wait(poller, reports, end - kernel().Now());
      for (const Report& report : std::span(reports).first(count)) {
        EXPECT_EQ(report.error, kOk);
        if (report.token == token && (report.ready & directions) != 0) {
          return true;
        }
      }
    }
    return false;
  }

  // The tokens in the reports of one wait.
  std::set<const void*> Wait(Poller& poller, Nanoseconds timeout) {
    std::array<Report, 64> reports;
    size_t count = kernel().Wait(poller, reports, timeout);
    std::set<const void*> tokens;
    for (const Report& report : std::span(reports).first(count)) {
      tokens.insert(report.token);
    }
    return tokens;
  }

  // Calls until it does not answer EAGAIN, waiting for the handle in between.
  template <typename Function>
  Transfer WhenReady(Handle handle, Readiness direction, Function function) {
    Transfer transfer = function();
    if (transfer.error != kWouldBlock) return transfer;
    int token = 0;
    EXPECT_EQ(
        kernel().SetInterest(poller(), handle, &token, kNotReady, direction),
        kOk);
    while (transfer.error == kWouldBlock) {
      if (!AwaitReport(poller(), &token, direction)) {
        ADD_FAILURE() << "the handle did not get ready";
        break;
      }
      transfer = function();
    }
    EXPECT_EQ(
        kernel().SetInterest(poller(), handle, &token, direction, kNotReady),
        kOk);
    return transfer;
  }

  struct Received {
    std::string bytes;
    Error error;
  };

  // One read, when there is something to read.
  Received Receive(Handle handle, size_t limit = 65536) {
    Received received;
    received.bytes.resize(limit);
    Transfer transfer = WhenReady(handle, kReadable, [&] {
      return kernel().Receive(handle, received.bytes);
    });
    received.bytes.resize(transfer.count);
    received.error = transfer.error;
    return received;
  }

  // To the end of the stream, or to an error.
  Received ReceiveAll(Handle handle) {
    Received all;
    for (;;) {
      Received received = Receive(handle);
      all.bytes += received.bytes;
      all.error = received.error;
      if (received.bytes.empty()) return all;
    }
  }

  Transfer Send(Handle handle, std::string_view bytes) {
    ConstBuffer buffer = BufferOf(bytes);
    return kernel().Send(handle, {&buffer, 1});
  }

  // Sends all of it, in as many calls as it takes.
  Error SendAll(Handle handle, std::string_view bytes) {
    Error error;
    EXPECT_TRUE(world().Until([&] {
      Transfer sent = Send(handle, bytes);
      bytes.remove_prefix(sent.count);
      if (sent.error != kWouldBlock) error = sent.error;
      return bytes.empty() || !error.ok();
    })) << "the peer takes no more";
    return error;
  }

  Transfer SendDatagram(Handle handle, std::string_view payload,
                        const SocketAddress* target) {
    OutgoingDatagram datagram = {.payload = BufferOf(payload),
                                 .target = target};
    return kernel().SendDatagrams(handle, {&datagram, 1});
  }

  struct Datagram {
    std::string payload;
    bool truncated = false;
    SocketAddress sender;
    Error error;
  };

  Datagram ReceiveDatagram(Handle handle, size_t limit = 65536) {
    Datagram result;
    result.payload.resize(limit);
    IncomingDatagram datagram;
    Transfer transfer = WhenReady(handle, kReadable, [&] {
      return Transfer{.error = kernel().ReceiveDatagram(handle, result.payload,
                                                        true, &datagram)};
    });
    result.error = transfer.error;
    result.payload.resize(transfer.error.ok() ? datagram.size : 0);
    result.truncated = datagram.truncated;
    result.sender = datagram.sender;
    return result;
  }

  // Sends until the handle takes no more, and gives what it took.
  size_t Fill(Handle handle) {
    static const std::string kBytes = Pattern(65536);
    size_t total = 0;
    for (;;) {
      Transfer sent = Send(handle, kBytes);
      if (!sent.error.ok()) {
        EXPECT_EQ(sent.error, kWouldBlock);
        return total;
      }
      total += sent.count;
    }
  }

  // Lets a reset by the peer arrive.
  bool AwaitReset(Handle handle) {
    int token = 0;
    EXPECT_EQ(
        kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
        kOk);
    bool reported = AwaitReport(poller(), &token, kReadable);
    EXPECT_EQ(
        kernel().SetInterest(poller(), handle, &token, kReadable, kNotReady),
        kOk);
    return reported;
  }

 private:
  std::unique_ptr<TestWorld> world_;
  std::unique_ptr<Poller> poller_;
  std::set<Handle> handles_;
};

class KernelContract : public KernelTest,
                       public testing::WithParamInterface<KernelParam> {
 protected:
  KernelContract() : KernelTest(GetParam()) {}
};

INSTANTIATE_TEST_SUITE_P(All, KernelContract, testing::ValuesIn(AllKernels()),
                         NameOf);

// What could differ between the families runs in both.
class KernelContractInFamily
    : public KernelTest,
      public testing::WithParamInterface<std::tuple<KernelParam, Family>> {
 protected:
  KernelContractInFamily() : KernelTest(std::get<0>(GetParam())) {}

  void SetUp() override { AIOS_NEEDS_FAMILY(world(), family()); }

  static Family family() { return std::get<1>(GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(
    All, KernelContractInFamily,
    testing::Combine(testing::ValuesIn(AllKernels()),
                     testing::Values(Family::kIpv4, Family::kIpv6)),
    [](const testing::TestParamInfo<std::tuple<KernelParam, Family>>& info) {
      return std::get<0>(info.param).name +
             (std::get<1>(info.param) == Family::kIpv4 ? "Ipv4" : "Ipv6");
    });

// Rule 1: only Wait blocks.

TEST_P(KernelContractInFamily, Rule1_ReceiveAnswersAgainWithoutInput) {
  TcpPair pair = Connected(family());
  std::array<char, 16> buffer;
  EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, kWouldBlock);
  EXPECT_EQ(kernel().Peek(pair.handle).error, kWouldBlock);
}

TEST_P(KernelContractInFamily, Rule1_SendAnswersAgainWhenFull) {
  TcpPair pair = Connected(family());
  EXPECT_GT(Fill(pair.handle), 0u);
  EXPECT_EQ(Send(pair.handle, "more").error, kWouldBlock);
  std::array<ConstBuffer, 2> buffers = {BufferOf("more"), BufferOf("and more")};
  EXPECT_EQ(kernel().Send(pair.handle, buffers).error, kWouldBlock);
}

TEST_P(KernelContractInFamily, Rule1_AcceptAnswersAgainWithoutConnection) {
  Handle connection;
  EXPECT_EQ(kernel().Accept(OpenListener(family()), &connection), kWouldBlock);
  EXPECT_EQ(kernel().Accept(Adopt(world().RawListener(family())), &connection),
            kWouldBlock);
}

TEST_P(KernelContractInFamily, Rule1_AcceptedConnectionDoesNotBlock) {
  Handle listener = OpenListener(family());
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(LocalAddress(listener));
  Handle connection = kNoHandle;
  ASSERT_TRUE(world().Until(
      [&] { return kernel().Accept(listener, &connection).ok(); }));
  Keep(connection);
  std::array<char, 16> buffer;
  EXPECT_EQ(kernel().Receive(connection, buffer).error, kWouldBlock);
  EXPECT_GT(Fill(connection), 0u);
}

TEST_P(KernelContractInFamily, Rule1_ReceiveDatagramAnswersAgain) {
  std::array<char, 16> buffer;
  IncomingDatagram datagram;
  for (Handle handle :
       {OpenUdp(family()),
        Adopt(world().RawSocket(SocketType::kDatagram, family()))}) {
    EXPECT_EQ(kernel().ReceiveDatagram(handle, buffer, true, &datagram),
              kWouldBlock);
    EXPECT_EQ(kernel().ReceiveDatagram(handle, buffer, false, &datagram),
              kWouldBlock);
    EXPECT_EQ(kernel().Peek(handle).error, kWouldBlock);
  }
}

TEST_P(KernelContractInFamily, Rule1_ConnectDoesNotWaitForThePeer) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  SocketAddress silent = world().SilentAddress(family());
  EXPECT_EQ(kernel().Connect(Open(SocketType::kStream, family()), silent),
            Error(EINPROGRESS));
  Handle adopted = Adopt(world().RawSocket(SocketType::kStream, family()));
  EXPECT_EQ(kernel().Connect(adopted, silent), Error(EINPROGRESS));
}

// Rule 2: level-triggered.

TEST_P(KernelContractInFamily, Rule2_EveryWaitReportsWhatIsReady) {
  TcpPair pair = Connected(family());
  ASSERT_EQ(pair.peer->Send("hello"), kOk);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kReadable),
      kOk);
  ASSERT_TRUE(AwaitReport(poller(), &token, kReadable));
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Wait(poller(), kGuard).contains(&token));
    EXPECT_TRUE(Wait(poller(), 0).contains(&token));
  }
}

TEST_P(KernelContract, Rule2_WhatIsLeftAfterAReadIsReportedAgain) {
  TcpPair pair = Connected(Family::kIpv4);
  ASSERT_EQ(pair.peer->Send("hello"), kOk);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kReadable),
      kOk);
  ASSERT_TRUE(AwaitReport(poller(), &token, kReadable));
  // In a simulated world the five bytes may come in pieces.
  std::string all;
  while (all.size() < 5) {
    char byte;
    ASSERT_TRUE(AwaitReport(poller(), &token, kReadable));
    Transfer received = kernel().Receive(pair.handle, {&byte, 1});
    if (received.error == kWouldBlock) continue;
    ASSERT_EQ(received.count, 1u);
    all += byte;
  }
  EXPECT_EQ(all, "hello");
}

TEST_P(KernelContract, Rule2_WhatBecomesReadyDuringTheWaitEndsIt) {
  Handle handle = OpenUdp(Family::kIpv4);
  SocketAddress own = LocalAddress(handle);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  ASSERT_EQ(peer->SendTo(own, "now"), kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
}

TEST_P(KernelContract, Rule2_WritableIsReportedAgainOnceThereIsRoom) {
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kWritable),
      kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
  EXPECT_TRUE(Wait(poller(), kGuard).contains(&token));
  size_t filled = Fill(pair.handle);
  ASSERT_EQ(pair.peer->ReceiveExactly(filled).size(), filled);
  EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
  ASSERT_TRUE(
      world().Until([&] { return Send(pair.handle, "more").error.ok(); }));
}

TEST_P(KernelContract, Rule2_ReadyHandlesAreReportedInTurn) {
  constexpr size_t kHandles = 40;
  constexpr size_t kRoom = 4;
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  std::array<Handle, kHandles> handles;
  for (Handle& handle : handles) {
    handle = OpenUdp(Family::kIpv4);
    ASSERT_EQ(kernel().SetInterest(poller(), handle, &handle, kNotReady,
                                   kReadable | kWritable),
              kOk);
    ASSERT_EQ(peer->SendTo(LocalAddress(handle), "x"), kOk);
  }
  std::set<const void*> seen;
  // Twice the number of waits that would do.
  for (size_t i = 0; i < 2 * kHandles / kRoom; ++i) {
    std::array<Report, kRoom> reports;
    size_t count = kernel().Wait(poller(), reports, kGuard);
    EXPECT_GT(count, 0u);
    for (const Report& report : std::span(reports).first(count)) {
      seen.insert(report.token);
    }
  }
  EXPECT_EQ(seen.size(), kHandles);
}

TEST_P(KernelContract, Rule2_ManyReportsFitIntoOneWait) {
  constexpr size_t kHandles = 400;
  std::vector<Handle> handles(kHandles);
  for (Handle& handle : handles) {
    handle = OpenUdp(Family::kIpv4);
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &handle, kNotReady, kWritable),
        kOk);
  }
  std::set<const void*> seen;
  std::vector<Report> reports(2 * kHandles);
  for (int i = 0; i < 10 && seen.size() < kHandles; ++i) {
    size_t count = kernel().Wait(poller(), reports, kGuard);
    for (const Report& report : std::span(reports).first(count)) {
      seen.insert(report.token);
    }
  }
  EXPECT_EQ(seen.size(), kHandles);
}

TEST_P(KernelContract, Rule2_PollersAreIndependent) {
  std::unique_ptr<Poller> other;
  ASSERT_EQ(kernel().NewPoller(&other), kOk);
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  int other_token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kWritable),
      kOk);
  ASSERT_EQ(kernel().SetInterest(*other, pair.handle, &other_token, kNotReady,
                                 kWritable),
            kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
  EXPECT_TRUE(AwaitReport(*other, &other_token, kWritable));
  EXPECT_FALSE(Wait(poller(), 0).contains(&other_token));
}

// Rule 3: what reports mean.

TEST_P(KernelContractInFamily, Rule3_EndOfFileIsAReportOfInput) {
  TcpPair pair = Connected(family());
  ASSERT_EQ(pair.peer->ShutdownWrite(), kOk);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kReadable),
      kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
  EXPECT_TRUE(Wait(poller(), kGuard).contains(&token));
}

TEST_P(KernelContractInFamily, Rule3_ResetIsAReportOfTheDirectionAskedFor) {
  for (Readiness interest : {kReadable, kWritable}) {
    TcpPair pair = Connected(family());
    if (interest == kWritable) Fill(pair.handle);
    int token = 0;
    ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token, kNotReady,
                                   interest),
              kOk);
    pair.peer->Reset();
    EXPECT_TRUE(AwaitReport(poller(), &token, interest));
    Close(pair.handle);
  }
}

TEST_P(KernelContractInFamily,
       Rule3_DatagramErrorIsAReportOfTheDirectionAskedFor) {
  SocketAddress refusing =
      world().RefusingAddress(SocketType::kDatagram, family());
  for (Readiness interest : {kReadable, kWritable}) {
    Handle handle = Open(SocketType::kDatagram, family());
    ASSERT_EQ(kernel().Connect(handle, refusing), kOk);
    ASSERT_EQ(SendDatagram(handle, "x", nullptr).error, kOk);
    int token = 0;
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &token, kNotReady, interest),
        kOk);
    EXPECT_TRUE(AwaitReport(poller(), &token, interest));
    Close(handle);
  }
}

TEST_P(KernelContract, Rule3_EmptyInterestIsNeverReported) {
  // One more that is always ready, so that waits have something to report.
  int always = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), OpenUdp(Family::kIpv4), &always,
                                 kNotReady, kWritable),
            kOk);
  // Nothing insists more on being reported than a connection that was reset.
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  pair.peer->Reset();
  ASSERT_TRUE(AwaitReport(poller(), &token, kReadable));
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token,
                                 kReadable | kWritable, kNotReady),
            kOk);
  for (int i = 0; i < 10; ++i) {
    std::set<const void*> reported = Wait(poller(), kMillisecond);
    EXPECT_TRUE(reported.contains(&always));
    EXPECT_FALSE(reported.contains(&token));
  }
}

// Rule 4: changes of interest.

TEST_P(KernelContract, Rule4_AnyInterestMayFollowAnyOther) {
  TcpPair pair = Connected(Family::kIpv4);
  ASSERT_EQ(pair.peer->Send("ready to be read, and writable"), kOk);
  int token = 0;
  for (Readiness from = kNotReady; from <= (kReadable | kWritable); ++from) {
    for (Readiness to = kNotReady; to <= (kReadable | kWritable); ++to) {
      ASSERT_EQ(
          kernel().SetInterest(poller(), pair.handle, &token, kNotReady, from),
          kOk);
      ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token, from, to),
                kOk);
      for (Readiness direction : {kReadable, kWritable}) {
        if ((to & direction) != 0) {
          EXPECT_TRUE(AwaitReport(poller(), &token, direction));
        }
      }
      if (to == kNotReady) {
        EXPECT_FALSE(Wait(poller(), 0).contains(&token));
      }
      ASSERT_EQ(
          kernel().SetInterest(poller(), pair.handle, &token, to, kNotReady),
          kOk);
    }
  }
}

TEST_P(KernelContract, Rule4_TheLastTokenCounts) {
  TcpPair pair = Connected(Family::kIpv4);
  int first = 0;
  int second = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &first, kNotReady, kReadable),
      kOk);
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &second, kReadable,
                                 kReadable | kWritable),
            kOk);
  EXPECT_TRUE(AwaitReport(poller(), &second, kWritable));
  ASSERT_EQ(pair.peer->Send("x"), kOk);
  EXPECT_TRUE(AwaitReport(poller(), &second, kReadable));
  EXPECT_FALSE(Wait(poller(), 0).contains(&first));
}

TEST_P(KernelContract, Rule4_AChangeThatFailsSaysSo) {
  Handle closed = world().RawForeign(Foreign::kClosed);
  int token = 0;
  Error error =
      kernel().SetInterest(poller(), closed, &token, kNotReady, kReadable);
  for (int i = 0; i < 10 && error.ok(); ++i) {
    std::array<Report, 4> reports;
    size_t count = kernel().Wait(poller(), reports, kMillisecond);
    for (const Report& report : std::span(reports).first(count)) {
      if (report.token == &token) error = report.error;
    }
  }
  EXPECT_EQ(error, Error(EBADF));
}

TEST_P(KernelContract, Rule4_TakingInterestFromAClosedHandleIsNoError) {
  Handle handle = OpenUdp(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  Close(handle);
  EXPECT_EQ(
      kernel().SetInterest(poller(), handle, &token, kReadable, kNotReady),
      kOk);
  EXPECT_TRUE(Wait(poller(), 0).empty());
}

TEST_P(KernelContract, Rule4_InterestIsMendedWhenTheHandleWasReplaced) {
  // Someone closes the socket behind our back, and the number comes again.
  Handle handle = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  world().DirectClose(handle);
  Handle again = Open(SocketType::kDatagram, Family::kIpv4);
  if (again != handle) GTEST_SKIP() << "the number did not come again";
  ASSERT_EQ(kernel().SetInterest(poller(), again, &token, kReadable,
                                 kReadable | kWritable),
            kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
}

TEST_P(KernelContract, Rule4_InterestIsMendedWhenTheHandleIsStillKnown) {
  // The same as before, but a duplicate kept the socket alive, and becomes the
  // handle of this number: epoll goes on watching it, the caller thinks not.
  Handle handle = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  int old_token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &old_token, kNotReady, kReadable),
      kOk);
  Handle duplicate = Keep(world().Duplicate(handle));
  world().DirectClose(handle);
  Handle again = Keep(world().Duplicate(duplicate));
  if (again != handle) GTEST_SKIP() << "the number did not come again";
  int token = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), again, &token, kNotReady, kWritable),
            kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
  EXPECT_FALSE(Wait(poller(), 0).contains(&old_token));
}

TEST_P(KernelContract, Rule4_EachOfManyFailuresIsToldOnce) {
  // More than fit into one wait, and among them one that is in order.
  constexpr size_t kHandles = 10;
  Handle good = OpenUdp(Family::kIpv4);
  int good_token = 0;
  std::array<int, kHandles> tokens = {};
  std::vector<Handle> closed;
  while (closed.size() < kHandles) {
    closed.push_back(world().RawSocket(SocketType::kDatagram, Family::kIpv4));
  }
  for (Handle handle : closed) world().DirectClose(handle);
  size_t failures = 0;
  for (size_t i = 0; i < kHandles; ++i) {
    if (i == kHandles / 2) {
      ASSERT_EQ(kernel().SetInterest(poller(), good, &good_token, kNotReady,
                                     kWritable),
                kOk);
    }
    Error error = kernel().SetInterest(poller(), closed[i], &tokens[i],
                                       kNotReady, kReadable | kWritable);
    if (!error.ok()) {
      ++tokens[i];
      ++failures;
    }
  }
  bool reported = false;
  for (int i = 0; i < 40; ++i) {
    std::array<Report, 2> reports;
    size_t count = kernel().Wait(poller(), reports, 0);
    for (const Report& report : std::span(reports).first(count)) {
      if (report.token == &good_token) {
        EXPECT_EQ(report.error, kOk);
        reported = true;
        continue;
      }
      EXPECT_EQ(report.error, Error(EBADF));
      ++*static_cast<int*>(report.token);
      ++failures;
    }
  }
  EXPECT_TRUE(reported);
  EXPECT_EQ(failures, kHandles);
  for (int told : tokens) EXPECT_EQ(told, 1);
}

TEST_P(KernelContract, Rule4_AFailureIsNotToldToThoseWhoHaveLetGo) {
  Handle closed = world().RawForeign(Foreign::kClosed);
  int token = 0;
  Error error = kernel().SetInterest(poller(), closed, &token, kNotReady,
                                     kReadable | kWritable);
  if (error.ok()) {
    ASSERT_EQ(kernel().SetInterest(poller(), closed, &token,
                                   kReadable | kWritable, kNotReady),
              kOk);
  }
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(Wait(poller(), 0).empty());
}

TEST_P(KernelContract, Rule4_ManyChangesCountFromTheNextWait) {
  // More than the reports that fit: of all that was told, the last counts.
  constexpr size_t kHandles = 20;
  std::array<Handle, kHandles> handles;
  for (Handle& handle : handles) {
    handle = OpenUdp(Family::kIpv4);
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &handle, kNotReady, kWritable),
        kOk);
  }
  // A wake meanwhile is not lost.
  kernel().Wake(poller());
  for (Handle& handle : handles) {
    if (&handle == &handles.back()) break;
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &handle, kWritable, kNotReady),
        kOk);
  }
  for (int i = 0; i < 5; ++i) {
    std::array<Report, 1> reports;
    ASSERT_EQ(kernel().Wait(poller(), reports, kGuard), 1u);
    EXPECT_EQ(reports[0].token, &handles.back());
  }
}

// Rule 5: how long a wait lasts.

TEST_P(KernelContract, Rule5_AnUndisturbedWaitIsNeverTooShort) {
  for (Nanoseconds timeout :
       {Nanoseconds{1}, 999 * kMicrosecond, kMillisecond, kMillisecond + 1,
        5 * kMillisecond, 12'345'678 * Nanoseconds{1}}) {
    std::array<Report, 4> reports;
    Nanoseconds start = kernel().Now();
    EXPECT_EQ(kernel().Wait(poller(), reports, timeout), 0u);
    EXPECT_GE(kernel().Now() - start, timeout);
  }
}

TEST_P(KernelContract, Rule5_ZeroPolls) {
  std::array<Report, 4> reports;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(kernel().Wait(poller(), reports, 0), 0u);
  }
}

TEST_P(KernelContract, Rule5_LongTimeoutsDoNotOverflow) {
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kWritable),
      kOk);
  constexpr Nanoseconds kDay = 86'400'000 * kMillisecond;
  for (Nanoseconds timeout :
       {kForever, kForever - 1, kForever / 2, 365 * kDay, 25 * kDay,
        Nanoseconds{INT32_MAX}, Nanoseconds{INT32_MAX} * kMillisecond + 1}) {
    EXPECT_TRUE(Wait(poller(), timeout).contains(&token)) << timeout;
  }
}

TEST_P(KernelContract, Rule5_ReportsEndAWaitForEver) {
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kReadable),
      kOk);
  ASSERT_EQ(pair.peer->Send("x"), kOk);
  bool reported = false;
  while (!reported) reported = Wait(poller(), kForever).contains(&token);
}

// Rule 6: wakes.

TEST_P(KernelContract, Rule6_AWakeEndsTheNextWait) {
  for (int i = 0; i < 3; ++i) {
    Nanoseconds start = kernel().Now();
    kernel().Wake(poller());
    EXPECT_TRUE(Wait(poller(), kGuard).empty());
    EXPECT_LT(kernel().Now() - start, kGuard);
  }
}

TEST_P(KernelContract, Rule6_WakesMergeIntoOne) {
  for (int i = 0; i < 100; ++i) kernel().Wake(poller());
  Nanoseconds start = kernel().Now();
  EXPECT_TRUE(Wait(poller(), kGuard).empty());
  EXPECT_LT(kernel().Now() - start, kGuard);
  start = kernel().Now();
  EXPECT_TRUE(Wait(poller(), 2 * kMillisecond).empty());
  EXPECT_GE(kernel().Now() - start, 2 * kMillisecond);
}

TEST_P(KernelContract, Rule6_AWakeDoesNotTakeTheReportsPlace) {
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), pair.handle, &token, kNotReady, kWritable),
      kOk);
  ASSERT_TRUE(AwaitReport(poller(), &token, kWritable));
  for (int i = 0; i < 3; ++i) {
    kernel().Wake(poller());
    std::array<Report, 1> reports;
    ASSERT_EQ(kernel().Wait(poller(), reports, kGuard), 1u);
    EXPECT_EQ(reports[0].token, &token);
  }
}

TEST_P(KernelContract, Rule6_AWakeIsForItsPollerOnly) {
  std::unique_ptr<Poller> other;
  ASSERT_EQ(kernel().NewPoller(&other), kOk);
  kernel().Wake(*other);
  Nanoseconds start = kernel().Now();
  EXPECT_TRUE(Wait(poller(), 2 * kMillisecond).empty());
  EXPECT_GE(kernel().Now() - start, 2 * kMillisecond);
  EXPECT_TRUE(Wait(*other, kGuard).empty());
  EXPECT_LT(kernel().Now() - start, kGuard);
}

TEST_P(KernelContract, Rule6_AnyThreadMayWake) {
  if (world().simulated()) GTEST_SKIP() << "the other thread is in real time";
  // Each wake follows the return of the wait before it, and so must end one
  // more wait.
  constexpr int kRounds = 1000;
  std::atomic<int> waits_ended = 0;
  std::thread waker([&] {
    for (int i = 0; i < kRounds; ++i) {
      waits_ended.wait(i - 1);
      kernel().Wake(poller());
    }
  });
  Nanoseconds start = kernel().Now();
  for (int i = 0; i < kRounds; ++i) {
    EXPECT_TRUE(Wait(poller(), kGuard).empty());
    waits_ended.store(i + 1);
    waits_ended.notify_one();
  }
  waker.join();
  EXPECT_LT(kernel().Now() - start, kGuard);
}

// Rule 7: receiving from streams.

TEST_P(KernelContractInFamily, Rule7_ReceiveGivesWhatIsThere) {
  TcpPair pair = Connected(family());
  ASSERT_EQ(pair.peer->Send("hello"), kOk);
  Received received = Receive(pair.handle);
  ASSERT_EQ(received.error, kOk);
  ASSERT_GE(received.bytes.size(), 1u);
  EXPECT_TRUE(std::string_view("hello").starts_with(received.bytes));
}

TEST_P(KernelContractInFamily, Rule7_TheEndOfTheStreamComesLastAndStays) {
  TcpPair pair = Connected(family());
  std::string bytes = Pattern(10000);
  ASSERT_EQ(pair.peer->Send(bytes), kOk);
  ASSERT_EQ(pair.peer->ShutdownWrite(), kOk);
  Received all = ReceiveAll(pair.handle);
  EXPECT_EQ(all.error, kOk);
  EXPECT_TRUE(all.bytes == bytes);
  std::array<char, 16> buffer;
  for (int i = 0; i < 3; ++i) {
    Transfer received = kernel().Receive(pair.handle, buffer);
    EXPECT_EQ(received.error, kOk);
    EXPECT_EQ(received.count, 0u);
  }
  Transfer peeked = kernel().Peek(pair.handle);
  EXPECT_EQ(peeked.error, kOk);
  EXPECT_EQ(peeked.count, 0u);
}

TEST_P(KernelContract, Rule7_TheOutputStillWorksAfterTheEnd) {
  TcpPair pair = Connected(Family::kIpv4);
  ASSERT_EQ(pair.peer->ShutdownWrite(), kOk);
  EXPECT_EQ(ReceiveAll(pair.handle).error, kOk);
  EXPECT_EQ(SendAll(pair.handle, "bye"), kOk);
  EXPECT_EQ(pair.peer->ReceiveExactly(3), "bye");
}

TEST_P(KernelContract, Rule7_PeekLeavesTheByteThere) {
  TcpPair pair = Connected(Family::kIpv4);
  ASSERT_EQ(pair.peer->Send("hi"), kOk);
  for (int i = 0; i < 2; ++i) {
    Transfer peeked = WhenReady(pair.handle, kReadable,
                                [&] { return kernel().Peek(pair.handle); });
    EXPECT_EQ(peeked.error, kOk);
    EXPECT_EQ(peeked.count, 1u);
  }
  EXPECT_EQ(Receive(pair.handle, 1).bytes, "h");
  EXPECT_EQ(Receive(pair.handle, 1).bytes, "i");
}

// Rule 8: sending on streams.

TEST_P(KernelContractInFamily, Rule8_SendTakesBuffersInOrder) {
  TcpPair pair = Connected(family());
  std::array<ConstBuffer, 5> buffers = {
      BufferOf("one"), BufferOf(""), BufferOf("two"), {}, BufferOf("three")};
  Transfer sent = kernel().Send(pair.handle, buffers);
  ASSERT_EQ(sent.error, kOk);
  ASSERT_GE(sent.count, 1u);
  EXPECT_EQ(pair.peer->ReceiveExactly(sent.count),
            std::string("onetwothree").substr(0, sent.count));
}

TEST_P(KernelContract, Rule8_ThousandsOfBuffersAreTakenByPrefixes) {
  TcpPair pair = Connected(Family::kIpv4);
  // Empty ones at the front, more of them than fit into one system call.
  constexpr size_t kEmpty = 2000;
  constexpr size_t kFull = 3000;
  std::string bytes = Pattern(kFull);
  std::vector<ConstBuffer> buffers(kEmpty);
  for (size_t i = 0; i < kFull; ++i) {
    buffers.push_back({.data = &bytes[i], .size = 1});
  }
  std::span<const ConstBuffer> rest = buffers;
  size_t total = 0;
  while (total < kFull) {
    Transfer sent = WhenReady(pair.handle, kWritable,
                              [&] { return kernel().Send(pair.handle, rest); });
    ASSERT_EQ(sent.error, kOk);
    ASSERT_GE(sent.count, 1u);
    total += sent.count;
    // The empty ones stay in front until the first byte went.
    rest = std::span(buffers).subspan(kEmpty + total);
  }
  EXPECT_TRUE(pair.peer->ReceiveExactly(kFull) == bytes);
}

TEST_P(KernelContractInFamily, Rule8_WhatSendTookArrives) {
  TcpPair pair = Connected(family());
  std::string bytes = Pattern(5'000'000);
  std::string arrived;
  size_t sent = 0;
  ASSERT_TRUE(world().Until([&] {
    for (;;) {
      // In two pieces, so that prefixes end everywhere.
      std::string_view rest = std::string_view(bytes).substr(sent);
      if (rest.empty()) break;
      std::array<ConstBuffer, 2> buffers = {
          BufferOf(rest.substr(0, rest.size() / 3)),
          BufferOf(rest.substr(rest.size() / 3))};
      Transfer transfer = kernel().Send(pair.handle, buffers);
      if (!transfer.error.ok()) {
        EXPECT_EQ(transfer.error, kWouldBlock);
        break;
      }
      EXPECT_GE(transfer.count, 1u);
      sent += transfer.count;
    }
    std::array<char, 65536> buffer;
    for (;;) {
      Transfer received = pair.peer->TryReceive(buffer);
      if (received.count == 0) break;
      arrived.append(buffer.data(), received.count);
    }
    return arrived.size() == bytes.size();
  }));
  EXPECT_TRUE(arrived == bytes);
}

// Counts instead of ending the process.
volatile std::sig_atomic_t broken_pipes = 0;

TEST_P(KernelContractInFamily, Rule8_SendingToNobodyIsAnErrorAndNoSignal) {
  auto earlier = std::signal(SIGPIPE, [](int) { broken_pipes = 1; });
  broken_pipes = 0;
  {
    TcpPair pair = Connected(family());
    pair.peer->Reset();
    ASSERT_TRUE(AwaitReset(pair.handle));
    for (int i = 0; i < 3; ++i) {
      Error error = Send(pair.handle, "x").error;
      EXPECT_TRUE(error == Error(EPIPE) || error == Error(ECONNRESET))
          << error.Name();
      std::array<ConstBuffer, 2> buffers = {BufferOf("x"), BufferOf("y")};
      error = kernel().Send(pair.handle, buffers).error;
      EXPECT_TRUE(error == Error(EPIPE) || error == Error(ECONNRESET))
          << error.Name();
    }
  }
  {
    // The peer closes, and answers the first bytes with a reset.
    TcpPair pair = Connected(family());
    pair.peer->Close();
    Error error;
    ASSERT_TRUE(world().Until([&] {
      error = Send(pair.handle, "x").error;
      return !error.ok();
    }));
    EXPECT_TRUE(error == Error(EPIPE) || error == Error(ECONNRESET))
        << error.Name();
  }
  {
    TcpPair pair = Connected(family());
    ASSERT_EQ(kernel().Shutdown(pair.handle, Direction::kOutput), kOk);
    EXPECT_EQ(Send(pair.handle, "x").error, Error(EPIPE));
  }
  std::signal(SIGPIPE, earlier);
  EXPECT_EQ(broken_pipes, 0);
}

TEST_P(KernelContract, Rule8_AConnectionAdoptedAfterItsEndRaisesNoSignal) {
  auto earlier = std::signal(SIGPIPE, [](int) { broken_pipes = 1; });
  broken_pipes = 0;
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  pair.peer->Reset();
  std::array<char, 16> buffer;
  EXPECT_EQ(world().DirectReceive(pair.handle, buffer).error,
            Error(ECONNRESET));
  Adopt(pair.handle);
  std::array<ConstBuffer, 2> buffers = {BufferOf("x"), BufferOf("y")};
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Send(pair.handle, "x").error, Error(EPIPE));
    EXPECT_EQ(kernel().Send(pair.handle, buffers).error, Error(EPIPE));
  }
  // Nor does it the next one of the number, which can be written to.
  Close(pair.handle);
  TcpPair next = Connected(Family::kIpv4);
  EXPECT_EQ(SendAll(next.handle, "hello"), kOk);
  std::signal(SIGPIPE, earlier);
  EXPECT_EQ(broken_pipes, 0);
}

// Rule 9: datagrams.

TEST_P(KernelContractInFamily, Rule9_DatagramsComeWholeWithTheirSender) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> one = world().Udp(family());
  std::unique_ptr<UdpPeer> two = world().Udp(family());
  ASSERT_EQ(one->SendTo(LocalAddress(handle), "first"), kOk);
  Datagram first = ReceiveDatagram(handle);
  ASSERT_EQ(two->SendTo(LocalAddress(handle), "the second"), kOk);
  Datagram second = ReceiveDatagram(handle);
  EXPECT_EQ(first.error, kOk);
  EXPECT_EQ(first.payload, "first");
  EXPECT_EQ(first.sender, one->address());
  EXPECT_FALSE(first.truncated);
  EXPECT_EQ(second.error, kOk);
  EXPECT_EQ(second.payload, "the second");
  EXPECT_EQ(second.sender, two->address());
}

TEST_P(KernelContractInFamily, Rule9_TheSenderIsLeftOutWhenNotAskedFor) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  ASSERT_EQ(peer->SendTo(LocalAddress(handle), "hello"), kOk);
  std::array<char, 3> buffer;
  IncomingDatagram datagram;
  ASSERT_TRUE(world().Until([&] {
    return kernel().ReceiveDatagram(handle, buffer, false, &datagram).ok();
  }));
  EXPECT_EQ(datagram.size, 3u);
  EXPECT_TRUE(datagram.truncated);
}

TEST_P(KernelContractInFamily, Rule9_DatagramsAreReceivedTogether) {
  Handle handle = OpenUdp(family());
  std::array<std::unique_ptr<UdpPeer>, 2> peers = {world().Udp(family()),
                                                   world().Udp(family())};
  const std::array<std::string_view, 7> sent = {"a", "",  "ccc",   "dddddd",
                                                "e", "f", "gggggg"};
  for (size_t i = 0; i < sent.size(); ++i) {
    ASSERT_EQ(peers[i % 2]->SendTo(LocalAddress(handle), sent[i]), kOk);
  }
  size_t received = 0;
  ASSERT_TRUE(world().Until([&] {
    std::array<std::array<char, 5>, 3> buffers;
    std::array<IncomingDatagram, 3> datagrams;
    for (size_t i = 0; i < 3; ++i) datagrams[i].buffer = buffers[i];
    Transfer transfer = kernel().ReceiveDatagrams(handle, true, datagrams);
    EXPECT_EQ(transfer.count == 0, !transfer.error.ok());
    EXPECT_LE(transfer.count, 3u);
    for (size_t i = 0; i < transfer.count; ++i, ++received) {
      std::string_view whole = sent[received];
      EXPECT_EQ(std::string_view(buffers[i].data(), datagrams[i].size),
                whole.substr(0, 5));
      EXPECT_EQ(datagrams[i].truncated, whole.size() > 5);
      EXPECT_EQ(datagrams[i].sender, peers[received % 2]->address());
    }
    return received == sent.size();
  }));
  std::array<char, 5> buffer;
  IncomingDatagram none;
  none.buffer = buffer;
  EXPECT_EQ(kernel().ReceiveDatagrams(handle, false, {&none, 1}).error,
            kWouldBlock);
}

TEST_P(KernelContractInFamily, Rule9_DatagramsGoToTheirTargets) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> one = world().Udp(family());
  std::unique_ptr<UdpPeer> two = world().Udp(family());
  SocketAddress to_one = one->address();
  SocketAddress to_two = two->address();
  std::array<OutgoingDatagram, 3> datagrams = {{
      {.payload = BufferOf("a"), .target = &to_one},
      {.payload = BufferOf(""), .target = &to_two},
      {.payload = BufferOf("ccc"), .target = &to_two},
  }};
  size_t sent = 0;
  while (sent < datagrams.size()) {
    Transfer transfer =
        kernel().SendDatagrams(handle, std::span(datagrams).subspan(sent));
    ASSERT_EQ(transfer.error, kOk);
    ASSERT_GE(transfer.count, 1u);
    sent += transfer.count;
  }
  PeerDatagram received = one->Receive();
  EXPECT_EQ(received.payload, "a");
  EXPECT_EQ(received.sender, LocalAddress(handle));
  std::multiset<std::string> others = {two->Receive().payload,
                                       two->Receive().payload};
  EXPECT_EQ(others, (std::multiset<std::string>{"", "ccc"}));
}

TEST_P(KernelContractInFamily, Rule9_ConnectedSocketsNeedNoTarget) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  ASSERT_EQ(kernel().Connect(handle, peer->address()), kOk);
  ASSERT_EQ(SendDatagram(handle, "hello", nullptr).error, kOk);
  EXPECT_EQ(peer->Receive().payload, "hello");
  // What others send does not arrive.
  std::unique_ptr<UdpPeer> stranger = world().Udp(family());
  static_cast<void>(stranger->SendTo(LocalAddress(handle), "strange"));
  ASSERT_EQ(peer->SendTo(LocalAddress(handle), "answer"), kOk);
  EXPECT_EQ(ReceiveDatagram(handle).payload, "answer");
}

TEST_P(KernelContract, Rule9_ManyDatagramsGoInBatches) {
  constexpr size_t kDatagrams = 200;
  Handle handle = OpenUdp(Family::kIpv4);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  SocketAddress target = peer->address();
  std::vector<std::string> payloads;
  payloads.reserve(kDatagrams);
  for (size_t i = 0; i < kDatagrams; ++i) {
    payloads.push_back(Pattern(i));
  }
  std::vector<OutgoingDatagram> datagrams;
  datagrams.reserve(kDatagrams);
  for (const std::string& payload : payloads) {
    datagrams.push_back({.payload = BufferOf(payload), .target = &target});
  }
  size_t sent = 0;
  while (sent < kDatagrams) {
    Transfer transfer = WhenReady(handle, kWritable, [&] {
      return kernel().SendDatagrams(handle, std::span(datagrams).subspan(sent));
    });
    ASSERT_EQ(transfer.error, kOk);
    ASSERT_GE(transfer.count, 1u);
    sent += transfer.count;
  }
  std::vector<std::string> arrived;
  arrived.reserve(kDatagrams);
  for (size_t i = 0; i < kDatagrams; ++i) {
    arrived.push_back(peer->Receive().payload);
  }
  // A network may reorder.
  std::sort(arrived.begin(), arrived.end());
  std::sort(payloads.begin(), payloads.end());
  EXPECT_TRUE(arrived == payloads);
}

TEST_P(KernelContractInFamily, Rule9_DatagramsThatAreAlikeStayApart) {
  Handle handle = OpenUdp(family());
  std::array<std::unique_ptr<UdpPeer>, 2> peers = {world().Udp(family()),
                                                   world().Udp(family())};
  std::array<SocketAddress, 2> targets = {peers[0]->address(),
                                          peers[1]->address()};
  struct Sent {
    size_t peer;
    std::string payload;
  };
  std::vector<Sent> all;
  // A long run to one peer; then runs that end by a shorter one, an empty one,
  // a longer one and another peer.
  for (char c = 'A'; c <= 'z'; ++c) all.push_back({0, std::string(1200, c)});
  for (size_t size : {10, 10, 10, 3, 10, 10, 0, 0, 10, 10, 20, 20}) {
    all.push_back({0, Pattern(size)});
  }
  for (size_t peer : {1, 1, 0, 1, 0, 0}) all.push_back({peer, Pattern(20)});
  std::vector<OutgoingDatagram> datagrams;
  datagrams.reserve(all.size());
  for (const Sent& one : all) {
    datagrams.push_back(
        {.payload = BufferOf(one.payload), .target = &targets[one.peer]});
  }
  for (size_t sent = 0; sent < all.size();) {
    Transfer transfer = WhenReady(handle, kWritable, [&] {
      return kernel().SendDatagrams(handle, std::span(datagrams).subspan(sent));
    });
    ASSERT_EQ(transfer.error, kOk);
    ASSERT_GE(transfer.count, 1u);
    sent += transfer.count;
  }
  // A network may reorder.
  std::array<std::multiset<std::string>, 2> expected;
  std::array<std::multiset<std::string>, 2> arrived;
  for (const Sent& one : all) {
    expected[one.peer].insert(one.payload);
    arrived[one.peer].insert(peers[one.peer]->Receive().payload);
  }
  EXPECT_TRUE(arrived == expected);
}

TEST_P(KernelContractInFamily, Rule9_ALongDatagramIsCutAndFlagged) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  ASSERT_EQ(peer->SendTo(LocalAddress(handle), "too long"), kOk);
  Datagram cut = ReceiveDatagram(handle, 3);
  EXPECT_EQ(cut.error, kOk);
  EXPECT_EQ(cut.payload, "too");
  EXPECT_TRUE(cut.truncated);
  // The rest is lost, and the next one comes as it is.
  ASSERT_EQ(peer->SendTo(LocalAddress(handle), "fit"), kOk);
  Datagram fitting = ReceiveDatagram(handle, 3);
  EXPECT_EQ(fitting.payload, "fit");
  EXPECT_FALSE(fitting.truncated);
}

TEST_P(KernelContractInFamily, Rule9_AnEmptyDatagramIsADatagram) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  ASSERT_EQ(peer->SendTo(LocalAddress(handle), ""), kOk);
  EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
  std::array<char, 3> buffer;
  IncomingDatagram datagram;
  ASSERT_TRUE(world().Until([&] {
    return kernel().ReceiveDatagram(handle, buffer, true, &datagram).ok();
  }));
  EXPECT_EQ(datagram.size, 0u);
  EXPECT_FALSE(datagram.truncated);
  EXPECT_EQ(datagram.sender, peer->address());
  // And the other way round.
  SocketAddress target = peer->address();
  EXPECT_EQ(SendDatagram(handle, "", &target).count, 1u);
  EXPECT_EQ(peer->Receive().payload, "");
}

TEST_P(KernelContractInFamily, Rule9_AnOversizedDatagramFailsInItsTurn) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  SocketAddress target = peer->address();
  std::string oversized(70000, 'x');
  std::array<OutgoingDatagram, 3> datagrams = {{
      {.payload = BufferOf("good"), .target = &target},
      {.payload = BufferOf(oversized), .target = &target},
      {.payload = BufferOf("also good"), .target = &target},
  }};
  Transfer sent = kernel().SendDatagrams(handle, datagrams);
  EXPECT_EQ(sent.error, kOk);
  EXPECT_EQ(sent.count, 1u);
  for (size_t length : {2, 1}) {
    sent =
        kernel().SendDatagrams(handle, std::span(datagrams).subspan(1, length));
    EXPECT_EQ(sent.error, Error(EMSGSIZE));
    EXPECT_EQ(sent.count, 0u);
  }
  EXPECT_EQ(kernel().SendDatagrams(handle, std::span(datagrams).last(1)).count,
            1u);
  EXPECT_EQ(peer->Receive().payload, "good");
  EXPECT_EQ(peer->Receive().payload, "also good");
}

TEST_P(KernelContract, Rule9_AnErrorFarDownABatchWaitsForItsTurn) {
  Handle handle = OpenUdp(Family::kIpv4);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  SocketAddress target = peer->address();
  std::string oversized(70000, 'x');
  // So that the failing one is the first, the last, or in the middle of any
  // batches of a power of two, as kernels make them.
  for (size_t failing : {31, 32, 33, 63, 64, 65, 127, 128, 129}) {
    std::vector<OutgoingDatagram> datagrams(
        150, {.payload = BufferOf("good"), .target = &target});
    datagrams[failing].payload = BufferOf(oversized);
    size_t sent = 0;
    Transfer transfer;
    do {
      transfer = WhenReady(handle, kWritable, [&] {
        return kernel().SendDatagrams(handle,
                                      std::span(datagrams).subspan(sent));
      });
      EXPECT_EQ(transfer.error.ok(), transfer.count != 0);
      sent += transfer.count;
    } while (transfer.error.ok() && sent < datagrams.size());
    EXPECT_EQ(transfer.error, Error(EMSGSIZE));
    EXPECT_EQ(sent, failing);
    while (peer->TryReceive().has_value()) {
    }
  }
}

// Rule 10: an error is given once.

TEST_P(KernelContractInFamily, Rule10_ADatagramErrorIsGivenToTheNextCall) {
  SocketAddress refusing =
      world().RefusingAddress(SocketType::kDatagram, family());
  enum class Call { kReceive, kPeek, kSend, kSendMany, kTakeError };
  for (Call call : {Call::kReceive, Call::kPeek, Call::kSend, Call::kSendMany,
                    Call::kTakeError}) {
    Handle handle = Open(SocketType::kDatagram, family());
    ASSERT_EQ(kernel().Connect(handle, refusing), kOk);
    ASSERT_EQ(SendDatagram(handle, "x", nullptr).error, kOk);
    ASSERT_TRUE(AwaitReset(handle));
    std::array<char, 16> buffer;
    IncomingDatagram datagram;
    std::array<OutgoingDatagram, 2> more = {
        {{.payload = BufferOf("y")}, {.payload = BufferOf("z")}}};
    Error error;
    switch (call) {
      case Call::kReceive:
        error = kernel().ReceiveDatagram(handle, buffer, true, &datagram);
        break;
      case Call::kPeek:
        error = kernel().Peek(handle).error;
        break;
      case Call::kSend:
        error = kernel().SendDatagrams(handle, std::span(more).first(1)).error;
        break;
      case Call::kSendMany:
        error = kernel().SendDatagrams(handle, more).error;
        break;
      case Call::kTakeError:
        error = kernel().TakeError(handle);
        break;
    }
    EXPECT_EQ(error, Error(ECONNREFUSED)) << static_cast<int>(call);
    EXPECT_EQ(kernel().TakeError(handle), kOk);
    EXPECT_EQ(kernel().ReceiveDatagram(handle, buffer, true, &datagram),
              kWouldBlock);
    Close(handle);
  }
}

TEST_P(KernelContractInFamily, Rule10_AnErrorBehindDatagramsIsGivenOnce) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  ASSERT_EQ(kernel().Connect(handle, peer->address()), kOk);
  for (std::string_view payload : {"one", "", "three"}) {
    ASSERT_EQ(peer->SendTo(LocalAddress(handle), payload), kOk);
  }
  ASSERT_TRUE(AwaitReset(handle));
  peer.reset();
  ASSERT_EQ(SendDatagram(handle, "anyone?", nullptr).error, kOk);
  size_t received = 0;
  int refused = 0;
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  // With a wait before each call, so that the error is reported as well.
  while (received != 3 || refused == 0) {
    ASSERT_TRUE(AwaitReport(poller(), &token, kReadable));
    std::array<std::array<char, 8>, 8> buffers;
    std::array<IncomingDatagram, 8> datagrams;
    for (size_t i = 0; i < 8; ++i) datagrams[i].buffer = buffers[i];
    Transfer transfer = kernel().ReceiveDatagrams(handle, true, datagrams);
    received += transfer.count;
    if (transfer.error.ok() || transfer.error == kWouldBlock) continue;
    EXPECT_EQ(transfer.error, Error(ECONNREFUSED));
    ++refused;
  }
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(kernel().TakeError(handle), kOk);
}

TEST_P(KernelContractInFamily, Rule10_WhatACallAnsweredIsNotLeftOnTheHandle) {
  Handle handle = OpenUdp(family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  SocketAddress target = peer->address();
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kReadable),
      kOk);
  std::array<char, 8> buffer;
  std::array<IncomingDatagram, 2> incoming;
  for (IncomingDatagram& datagram : incoming) datagram.buffer = buffer;
  EXPECT_EQ(kernel().ReceiveDatagrams(handle, true, incoming).error,
            kWouldBlock);
  EXPECT_FALSE(Wait(poller(), 0).contains(&token));
  EXPECT_EQ(kernel().TakeError(handle), kOk);

  std::string oversized(70000, 'x');
  std::array<OutgoingDatagram, 3> outgoing = {{
      {.payload = BufferOf(oversized), .target = &target},
      {.payload = BufferOf("good"), .target = &target},
      {.payload = BufferOf(oversized), .target = &target},
  }};
  EXPECT_EQ(kernel().SendDatagrams(handle, outgoing).error, Error(EMSGSIZE));
  EXPECT_EQ(kernel().TakeError(handle), kOk);
  for (int i = 0; i < 2; ++i) {
    Transfer sent =
        kernel().SendDatagrams(handle, std::span(outgoing).subspan(1));
    EXPECT_EQ(sent.error, kOk);
    EXPECT_EQ(sent.count, 1u);
    EXPECT_EQ(kernel().TakeError(handle), kOk);
    EXPECT_FALSE(Wait(poller(), 0).contains(&token));
    EXPECT_EQ(peer->Receive().payload, "good");
  }
}

TEST_P(KernelContractInFamily, Rule10_AResetIsGivenOnce) {
  std::array<char, 16> buffer;
  {
    TcpPair pair = Connected(family());
    pair.peer->Reset();
    ASSERT_TRUE(AwaitReset(pair.handle));
    EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, Error(ECONNRESET));
    EXPECT_EQ(kernel().TakeError(pair.handle), kOk);
    EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, kOk);
  }
  {
    TcpPair pair = Connected(family());
    pair.peer->Reset();
    ASSERT_TRUE(AwaitReset(pair.handle));
    EXPECT_EQ(kernel().TakeError(pair.handle), Error(ECONNRESET));
    EXPECT_EQ(kernel().TakeError(pair.handle), kOk);
    EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, kOk);
  }
  {
    TcpPair pair = Connected(family());
    pair.peer->Reset();
    ASSERT_TRUE(AwaitReset(pair.handle));
    EXPECT_EQ(kernel().Peek(pair.handle).error, Error(ECONNRESET));
    EXPECT_EQ(kernel().TakeError(pair.handle), kOk);
  }
}

// Rule 11: connecting.

TEST_P(KernelContractInFamily, Rule11_AConnectThatSucceeds) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(family());
  Handle handle = Open(SocketType::kStream, family());
  Error error = kernel().Connect(handle, listener->address());
  if (error == Error(EINPROGRESS)) {
    int token = 0;
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &token, kNotReady, kWritable),
        kOk);
    ASSERT_TRUE(AwaitReport(poller(), &token, kWritable));
    SocketAddress ignored;
    // Reports are hints: it is connected when there is a peer.
    ASSERT_TRUE(world().Until(
        [&] { return kernel().PeerAddress(handle, &ignored).ok(); }));
    error = kernel().TakeError(handle);
  }
  EXPECT_EQ(error, kOk);
  std::unique_ptr<TcpPeer> peer = listener->Accept();
  ASSERT_NE(peer, nullptr);
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(handle, &address), kOk);
  EXPECT_EQ(address, listener->address());
  EXPECT_EQ(LocalAddress(handle), peer->RemoteAddress());
  EXPECT_EQ(SendAll(handle, "hello"), kOk);
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
}

TEST_P(KernelContractInFamily, Rule11_AConnectThatIsRefused) {
  Handle handle = Open(SocketType::kStream, family());
  Error error = kernel().Connect(
      handle, world().RefusingAddress(SocketType::kStream, family()));
  if (error == Error(EINPROGRESS)) {
    int token = 0;
    ASSERT_EQ(
        kernel().SetInterest(poller(), handle, &token, kNotReady, kWritable),
        kOk);
    ASSERT_TRUE(world().Until([&] {
      EXPECT_TRUE(AwaitReport(poller(), &token, kWritable));
      error = kernel().TakeError(handle);
      return !error.ok();
    }));
  }
  EXPECT_EQ(error, Error(ECONNREFUSED));
  EXPECT_EQ(kernel().TakeError(handle), kOk);
}

TEST_P(KernelContractInFamily, Rule11_AConnectInProgressHasNoPeer) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  Handle handle = Open(SocketType::kStream, family());
  ASSERT_EQ(kernel().Connect(handle, world().SilentAddress(family())),
            Error(EINPROGRESS));
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(handle, &address), Error(ENOTCONN));
  EXPECT_EQ(kernel().TakeError(handle), kOk);
}

TEST_P(KernelContractInFamily, Rule11_AConnectThatIsGivenUpCanBeClosed) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  Handle handle = Open(SocketType::kStream, family());
  ASSERT_EQ(kernel().Connect(handle, world().SilentAddress(family())),
            Error(EINPROGRESS));
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), handle, &token, kNotReady, kWritable),
      kOk);
  Close(handle);
  EXPECT_TRUE(Wait(poller(), kMillisecond).empty());
}

TEST_P(KernelContractInFamily, Rule11_ADatagramConnectIsNeverInProgress) {
  Handle handle = Open(SocketType::kDatagram, family());
  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  EXPECT_EQ(kernel().Connect(handle, peer->address()), kOk);
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(handle, &address), kOk);
  EXPECT_EQ(address, peer->address());
}

// Rule 12: accepting.

TEST_P(KernelContractInFamily, Rule12_ConnectionsComeInTheOrderOfArrival) {
  Handle listener = OpenListener(family());
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(world().ConnectTo(LocalAddress(listener)));
    ASSERT_NE(peers.back(), nullptr);
  }
  for (const std::unique_ptr<TcpPeer>& peer : peers) {
    Handle connection = kNoHandle;
    ASSERT_TRUE(world().Until(
        [&] { return kernel().Accept(listener, &connection).ok(); }));
    Keep(connection);
    SocketAddress address;
    EXPECT_EQ(kernel().PeerAddress(connection, &address), kOk);
    EXPECT_EQ(address, peer->LocalAddress());
    EXPECT_EQ(LocalAddress(connection), peer->RemoteAddress());
  }
  Handle connection = kNoHandle;
  EXPECT_EQ(kernel().Accept(listener, &connection), kWouldBlock);
}

TEST_P(KernelContract, Rule12_WithoutHandlesTheConnectionStays) {
  Handle listener = OpenListener(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(
      kernel().SetInterest(poller(), listener, &token, kNotReady, kReadable),
      kOk);
  std::unique_ptr<TcpPeer> first = world().ConnectTo(LocalAddress(listener));
  std::unique_ptr<TcpPeer> second = world().ConnectTo(LocalAddress(listener));
  ASSERT_TRUE(first != nullptr && second != nullptr);
  Handle connection = kNoHandle;
  {
    std::unique_ptr<HandleShortage> shortage = world().LimitHandles(0);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
      EXPECT_EQ(kernel().Accept(listener, &connection), Error(EMFILE));
    }
    Handle opened = kNoHandle;
    EXPECT_EQ(kernel().Open(SocketType::kStream, Family::kIpv4, &opened),
              Error(EMFILE));
    std::unique_ptr<Poller> made;
    EXPECT_EQ(kernel().NewPoller(&made), Error(EMFILE));
    shortage->Allow(1);
    EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
    EXPECT_EQ(kernel().Accept(listener, &connection), kOk);
    Keep(connection);
    SocketAddress address;
    EXPECT_EQ(kernel().PeerAddress(connection, &address), kOk);
    EXPECT_EQ(address, first->LocalAddress());
    EXPECT_EQ(kernel().Accept(listener, &connection), Error(EMFILE));
  }
  EXPECT_TRUE(AwaitReport(poller(), &token, kReadable));
  ASSERT_EQ(kernel().Accept(listener, &connection), kOk);
  Keep(connection);
  SocketAddress address;
  EXPECT_EQ(kernel().PeerAddress(connection, &address), kOk);
  EXPECT_EQ(address, second->LocalAddress());
}

TEST_P(KernelContract, Rule12_AConnectionThatEndedIsStillGiven) {
  Handle listener = OpenListener(Family::kIpv4);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(LocalAddress(listener));
  ASSERT_EQ(peer->Send("and gone"), kOk);
  peer->Close();
  Handle connection = kNoHandle;
  ASSERT_TRUE(world().Until(
      [&] { return kernel().Accept(listener, &connection).ok(); }));
  Keep(connection);
  Received all = ReceiveAll(connection);
  EXPECT_EQ(all.bytes, "and gone");
  EXPECT_EQ(all.error, kOk);
}

// Rule 13: interrupted calls.

TEST_P(KernelContract, Rule13_InterruptedCallsAreNeverSeen) {
  TcpPair pair = Connected(Family::kIpv4);
  Handle listener = OpenListener(Family::kIpv4);
  std::unique_ptr<Interruptions> interruptions = world().InterruptCalls();
  std::string bytes = Pattern(65536);
  std::array<char, 65536> buffer;
  ASSERT_TRUE(world().Until([&] {
    Error sent = Send(pair.handle, bytes).error;
    EXPECT_TRUE(sent.ok() || sent == kWouldBlock) << sent.Name();
    while (pair.peer->TryReceive(buffer).count > 0) {
    }
    EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, kWouldBlock);
    Handle connection;
    EXPECT_EQ(kernel().Accept(listener, &connection), kWouldBlock);
    // Interrupted in its sleep it may end early, without anything to report.
    std::array<Report, 4> reports;
    EXPECT_EQ(kernel().Wait(poller(), reports, 3 * kMillisecond), 0u);
    return interruptions->count() >= 20;
  }));
}

// Rule 14: closing.

TEST_P(KernelContract, Rule14_AClosedHandleIsNotReported) {
  int always = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), OpenUdp(Family::kIpv4), &always,
                                 kNotReady, kWritable),
            kOk);
  TcpPair pair = Connected(Family::kIpv4);
  int token = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  ASSERT_TRUE(AwaitReport(poller(), &token, kWritable));
  Close(pair.handle);
  for (int i = 0; i < 5; ++i) {
    std::set<const void*> reported = Wait(poller(), kMillisecond);
    EXPECT_TRUE(reported.contains(&always));
    EXPECT_FALSE(reported.contains(&token));
  }
}

TEST_P(KernelContract, Rule14_ANewInterestEndsWithItsHandle) {
  // No wait between the two: a kernel may not have told its system yet.
  Handle first = OpenUdp(Family::kIpv4);
  int first_token = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), first, &first_token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  Close(first);
  EXPECT_TRUE(Wait(poller(), 0).empty());
  first = OpenUdp(Family::kIpv4);
  ASSERT_EQ(kernel().SetInterest(poller(), first, &first_token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  Close(first);
  // Nor is it that of the next handle of the number.
  OpenUdp(Family::kIpv4);
  EXPECT_TRUE(Wait(poller(), 0).empty());
}

TEST_P(KernelContract, Rule14_TheNumberMayComeAgain) {
  for (int i = 0; i < 5; ++i) {
    Handle first = OpenUdp(Family::kIpv4);
    int first_token = 0;
    ASSERT_EQ(kernel().SetInterest(poller(), first, &first_token, kNotReady,
                                   kReadable | kWritable),
              kOk);
    ASSERT_TRUE(AwaitReport(poller(), &first_token, kWritable));
    Close(first);
    Handle second = OpenUdp(Family::kIpv4);
    int second_token = 0;
    ASSERT_EQ(kernel().SetInterest(poller(), second, &second_token, kNotReady,
                                   kWritable),
              kOk);
    EXPECT_TRUE(AwaitReport(poller(), &second_token, kWritable));
    EXPECT_FALSE(Wait(poller(), 0).contains(&first_token));
    Close(second);
  }
}

TEST_P(KernelContract, Rule14_WithoutInterestADuplicateIsNotReportedEither) {
  int always = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), OpenUdp(Family::kIpv4), &always,
                                 kNotReady, kWritable),
            kOk);
  TcpPair pair = Connected(Family::kIpv4);
  Handle duplicate = Keep(world().Duplicate(pair.handle));
  int token = 0;
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token, kNotReady,
                                 kReadable | kWritable),
            kOk);
  ASSERT_EQ(kernel().SetInterest(poller(), pair.handle, &token,
                                 kReadable | kWritable, kNotReady),
            kOk);
  Close(pair.handle);
  EXPECT_EQ(SendAll(duplicate, "still there"), kOk);
  for (int i = 0; i < 5; ++i) {
    std::set<const void*> reported = Wait(poller(), kMillisecond);
    EXPECT_TRUE(reported.contains(&always));
    EXPECT_FALSE(reported.contains(&token));
  }
}

TEST_P(KernelContractInFamily, Rule14_ThePeerSeesTheClose) {
  {
    TcpPair pair = Connected(family());
    ASSERT_EQ(SendAll(pair.handle, "bye"), kOk);
    Close(pair.handle);
    PeerRead all = pair.peer->ReceiveAll();
    EXPECT_EQ(all.bytes, "bye");
    EXPECT_TRUE(all.end);
  }
  {
    // With input that nobody has read, the connection is reset where the system
    // tells that.
    TcpPair pair = Connected(family());
    ASSERT_EQ(pair.peer->Send("unread"), kOk);
    ASSERT_TRUE(AwaitReset(pair.handle));
    Close(pair.handle);
    PeerRead all = pair.peer->ReceiveAll();
    bool resets = world().personality().unread_input_resets;
    EXPECT_EQ(all.error, resets ? Error(ECONNRESET) : kOk);
    EXPECT_EQ(all.end, !resets);
  }
}

// Rule 15: the clock.

TEST_P(KernelContract, Rule15_TimeNeverGoesBack) {
  Nanoseconds last = kernel().Now();
  EXPECT_GT(last, 0);
  std::array<Report, 1> reports;
  for (int i = 0; i < 2000; ++i) {
    if (i % 100 == 0) kernel().Wait(poller(), reports, 10 * kMicrosecond);
    Nanoseconds now = kernel().Now();
    EXPECT_GE(now, last);
    last = now;
  }
}

// Rule 16: threads.

TEST_P(KernelContract, Rule16_EachThreadHasHandlesAndAPollerOfItsOwn) {
  if (world().simulated()) GTEST_SKIP() << "a simulation has one thread";
  // An echo by each thread; adopting, changing and closing all the time.
  constexpr int kThreads = 4;
  constexpr int kRounds = 200;
  std::array<std::atomic<int>, kThreads> done = {};
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([this, t, &done] {
      std::unique_ptr<Poller> own;
      if (!kernel().NewPoller(&own).ok()) return;
      for (int i = 0; i < kRounds; ++i) {
        Handle handle;
        if (!kernel()
                 .Open(SocketType::kDatagram, Family::kIpv4, &handle)
                 .ok()) {
          return;
        }
        SocketInfo info;
        SocketAddress address;
        std::array<char, 16> buffer;
        IncomingDatagram datagram;
        int token;
        std::array<Report, 4> reports;
        bool good =
            kernel()
                .Bind(handle,
                      SocketAddress(IpAddress::Loopback(Family::kIpv4), 0))
                .ok() &&
            kernel().Adopt(handle, &info).ok() &&
            kernel().LocalAddress(handle, &address).ok() &&
            kernel()
                .SetInterest(*own, handle, &token, kNotReady, kReadable)
                .ok() &&
            SendDatagram(handle, "echo", &address).error.ok() &&
            kernel().Wait(*own, reports, kGuard) == 1 &&
            reports[0].token == &token &&
            kernel().ReceiveDatagram(handle, buffer, true, &datagram).ok() &&
            datagram.sender == address;
        kernel().Close(handle);
        if (good) done[t].fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::atomic<int>& rounds : done) EXPECT_EQ(rounds, kRounds);
}

// The calls one by one.

TEST_P(KernelContractInFamily, Open_MakesWhatIsAskedFor) {
  for (SocketType type : {SocketType::kStream, SocketType::kDatagram}) {
    Handle handle = Open(type, family());
    SocketInfo info;
    ASSERT_EQ(kernel().Adopt(handle, &info), kOk);
    EXPECT_EQ(info.type, type);
    EXPECT_EQ(info.family, family());
    EXPECT_FALSE(info.connected);
    EXPECT_FALSE(info.listening);
  }
}

TEST_P(KernelContract, Open_AndAcceptAreNotInherited) {
  EXPECT_FALSE(world().IsInherited(Open(SocketType::kStream, Family::kIpv4)));
  Handle listener = OpenListener(Family::kIpv4);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(LocalAddress(listener));
  Handle connection = kNoHandle;
  ASSERT_TRUE(world().Until(
      [&] { return kernel().Accept(listener, &connection).ok(); }));
  EXPECT_FALSE(world().IsInherited(Keep(connection)));
}

TEST_P(KernelContractInFamily, Adopt_SaysWhatASocketIs) {
  SocketInfo info;
  TcpPair pair = world().RawSocketPair(family());
  ASSERT_EQ(kernel().Adopt(Keep(pair.handle), &info), kOk);
  EXPECT_EQ(info.type, SocketType::kStream);
  EXPECT_EQ(info.family, family());
  EXPECT_TRUE(info.connected);
  EXPECT_FALSE(info.listening);

  Handle listener = Keep(world().RawListener(family()));
  ASSERT_EQ(kernel().Adopt(listener, &info), kOk);
  EXPECT_EQ(info.type, SocketType::kStream);
  EXPECT_FALSE(info.connected);
  EXPECT_TRUE(info.listening);

  Handle udp = Keep(world().RawSocket(SocketType::kDatagram, family()));
  ASSERT_EQ(kernel().Adopt(udp, &info), kOk);
  EXPECT_EQ(info.type, SocketType::kDatagram);
  EXPECT_EQ(info.family, family());
  EXPECT_FALSE(info.connected);

  std::unique_ptr<UdpPeer> peer = world().Udp(family());
  ASSERT_EQ(kernel().Connect(udp, peer->address()), kOk);
  ASSERT_EQ(kernel().Adopt(udp, &info), kOk);
  EXPECT_TRUE(info.connected);
}

TEST_P(KernelContract, Adopt_RefusesWhatIsNoSocketOfOurs) {
  SocketInfo info;
  Handle file = Keep(world().RawForeign(Foreign::kNotASocket));
  EXPECT_EQ(kernel().Adopt(file, &info), Error(ENOTSOCK));
  EXPECT_EQ(kernel().Adopt(world().RawForeign(Foreign::kClosed), &info),
            Error(EBADF));
  EXPECT_EQ(kernel().Adopt(kNoHandle, &info), Error(EBADF));
  Handle other = Keep(world().RawForeign(Foreign::kOtherFamily));
  EXPECT_EQ(kernel().Adopt(other, &info), Error(EPROTONOSUPPORT));
}

TEST_P(KernelContract, Release_RestoresTheBlockingMode) {
  for (bool blocking : {true, false}) {
    TcpPair pair = world().RawSocketPair(Family::kIpv4);
    Handle listener = world().RawListener(Family::kIpv4);
    Handle udp = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
    for (Handle handle : {pair.handle, listener, udp}) {
      Keep(handle);
      world().SetBlocking(handle, blocking);
      Adopt(handle);
    }
    std::array<char, 16> buffer;
    Handle connection;
    EXPECT_EQ(kernel().Receive(pair.handle, buffer).error, kWouldBlock);
    EXPECT_EQ(kernel().Accept(listener, &connection), kWouldBlock);
    EXPECT_EQ(kernel().Receive(udp, buffer).error, kWouldBlock);
    for (Handle handle : {pair.handle, listener, udp}) {
      kernel().Release(handle);
      EXPECT_EQ(world().IsBlocking(handle), blocking);
    }
    // Twice is as good as once.
    Adopt(pair.handle);
    kernel().Release(pair.handle);
    EXPECT_EQ(world().IsBlocking(pair.handle), blocking);
  }
}

TEST_P(KernelContract, Release_GivesOwnHandlesBackInBlockingMode) {
  Handle opened = Open(SocketType::kDatagram, Family::kIpv4);
  Handle listener = OpenListener(Family::kIpv4);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(LocalAddress(listener));
  Handle connection = kNoHandle;
  ASSERT_TRUE(world().Until(
      [&] { return kernel().Accept(listener, &connection).ok(); }));
  Keep(connection);
  for (Handle handle : {opened, listener, connection}) {
    kernel().Release(handle);
    EXPECT_TRUE(world().IsBlocking(handle));
  }
}

TEST_P(KernelContract, Release_ForgetsAHandleThatWasClosed) {
  // Adopted as nonblocking and closed; the next one of this number is blocking.
  TcpPair first = world().RawSocketPair(Family::kIpv4);
  world().SetBlocking(first.handle, false);
  Adopt(first.handle);
  Close(first.handle);
  Handle opened = kNoHandle;
  for (int i = 0; i < 20 && opened != first.handle; ++i) {
    opened = Open(SocketType::kStream, Family::kIpv4);
  }
  kernel().Release(opened);
  EXPECT_TRUE(world().IsBlocking(opened));
}

TEST_P(KernelContract, Release_LeavesTheConnectionAsItIs) {
  TcpPair pair = Connected(Family::kIpv4);
  kernel().Release(pair.handle);
  EXPECT_EQ(world().DirectSend(pair.handle, "direct").count, 6u);
  EXPECT_EQ(pair.peer->ReceiveExactly(6), "direct");
  ASSERT_EQ(pair.peer->Send("answer"), kOk);
  std::array<char, 6> buffer;
  Transfer received = world().DirectReceive(pair.handle, buffer);
  EXPECT_EQ(received.error, kOk);
  EXPECT_GE(received.count, 1u);
}

TEST_P(KernelContractInFamily, Options_CanBeSetAndRead) {
  Handle stream = Open(SocketType::kStream, family());
  for (SocketOption option :
       {SocketOption::kReuseAddress, SocketOption::kReusePort,
        SocketOption::kNoDelay, SocketOption::kKeepAlive,
        SocketOption::kIpv6Only}) {
    if (option == SocketOption::kIpv6Only && family() == Family::kIpv4) {
      continue;
    }
    for (bool value : {true, false, true}) {
      ASSERT_EQ(kernel().SetOption(stream, option, value), kOk)
          << static_cast<int>(option);
      bool read = !value;
      ASSERT_EQ(kernel().GetOption(stream, option, &read), kOk);
      EXPECT_EQ(read, value) << static_cast<int>(option);
    }
  }
}

TEST_P(KernelContract, Options_LingerIsOffAndCanOnlyBeSwitchedOff) {
  for (SocketType type : {SocketType::kStream, SocketType::kDatagram}) {
    Handle handle = Open(type, Family::kIpv4);
    bool on = true;
    EXPECT_EQ(kernel().GetOption(handle, SocketOption::kLinger, &on), kOk);
    EXPECT_FALSE(on);
    EXPECT_EQ(kernel().SetOption(handle, SocketOption::kLinger, true),
              Error(EINVAL));
    EXPECT_EQ(kernel().SetOption(handle, SocketOption::kLinger, false), kOk);
  }
}

TEST_P(KernelContract, Options_OfAnotherTypeAreRefused) {
  Handle udp = Open(SocketType::kDatagram, Family::kIpv4);
  EXPECT_FALSE(kernel().SetOption(udp, SocketOption::kNoDelay, true).ok());
  EXPECT_FALSE(kernel().SetOption(udp, SocketOption::kIpv6Only, true).ok());
}

TEST_P(KernelContractInFamily, Bind_ToPortZeroGivesAFreePort) {
  Handle handle = OpenUdp(family());
  SocketAddress address = LocalAddress(handle);
  EXPECT_EQ(address.ip(), world().host_ip(family()));
  EXPECT_NE(address.port(), 0);
  SocketAddress peer;
  EXPECT_EQ(kernel().PeerAddress(handle, &peer), Error(ENOTCONN));
}

TEST_P(KernelContractInFamily, Bind_ToABusyPortFails) {
  Handle listener = OpenListener(family());
  Handle other = Open(SocketType::kStream, family());
  EXPECT_EQ(kernel().Bind(other, LocalAddress(listener)), Error(EADDRINUSE));
}

TEST_P(KernelContractInFamily, Bind_ToABusyPortIsAllowedToThoseWhoShare) {
  Handle first = Open(SocketType::kStream, family());
  ASSERT_EQ(kernel().SetOption(first, SocketOption::kReusePort, true), kOk);
  ASSERT_EQ(kernel().Bind(first, SocketAddress(world().host_ip(family()), 0)),
            kOk);
  ASSERT_EQ(kernel().Listen(first, 8), kOk);
  Handle second = Open(SocketType::kStream, family());
  ASSERT_EQ(kernel().SetOption(second, SocketOption::kReusePort, true), kOk);
  EXPECT_EQ(kernel().Bind(second, LocalAddress(first)), kOk);
  EXPECT_EQ(kernel().Listen(second, 8), kOk);
}

TEST_P(KernelContract, Bind_ToAForeignAddressFails) {
  Handle handle = Open(SocketType::kStream, Family::kIpv4);
  // 192.0.2.0/24 and 198.51.100.0/24 are for documentation.
  EXPECT_EQ(
      kernel().Bind(handle, SocketAddress(IpAddress::FromIpv4(0xC6336401), 0)),
      Error(EADDRNOTAVAIL));
}

TEST_P(KernelContract, LocalAddress_OfAnUnboundSocketIsUnspecified) {
  Handle handle = Open(SocketType::kStream, Family::kIpv4);
  EXPECT_EQ(LocalAddress(handle),
            SocketAddress(IpAddress::Any(Family::kIpv4), 0));
}

TEST_P(KernelContract, Ipv6_ListenersTakeBothFamiliesWhenToldSo) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  Handle listener = Open(SocketType::kStream, Family::kIpv6);
  ASSERT_EQ(kernel().SetOption(listener, SocketOption::kIpv6Only, false), kOk);
  ASSERT_EQ(
      kernel().Bind(listener, SocketAddress(IpAddress::Any(Family::kIpv6), 0)),
      kOk);
  ASSERT_EQ(kernel().Listen(listener, 8), kOk);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(SocketAddress(
      world().host_ip(Family::kIpv4), LocalAddress(listener).port()));
  ASSERT_NE(peer, nullptr);
  Handle connection = kNoHandle;
  ASSERT_TRUE(world().Until(
      [&] { return kernel().Accept(listener, &connection).ok(); }));
  Keep(connection);
  SocketAddress address;
  ASSERT_EQ(kernel().PeerAddress(connection, &address), kOk);
  EXPECT_EQ(address, SocketAddress(peer->LocalAddress().ip().ToIpv4Mapped(),
                                   peer->LocalAddress().port()));
}

TEST_P(KernelContract, Ipv6_ListenersTakeOneFamilyWhenToldSo) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  // The port is free in the other family, unless another program has just
  // taken it there: then with another port.
  EXPECT_TRUE(world().Until([&] {
    Handle listener = Open(SocketType::kStream, Family::kIpv6);
    EXPECT_EQ(kernel().SetOption(listener, SocketOption::kIpv6Only, true), kOk);
    EXPECT_EQ(kernel().Bind(listener,
                            SocketAddress(IpAddress::Any(Family::kIpv6), 0)),
              kOk);
    EXPECT_EQ(kernel().Listen(listener, 8), kOk);
    Handle other = Open(SocketType::kStream, Family::kIpv4);
    return kernel()
        .Bind(other, SocketAddress(world().host_ip(Family::kIpv4),
                                   LocalAddress(listener).port()))
        .ok();
  }));
}

TEST_P(KernelContract, Ipv6_ScopesGoBothWays) {
  std::optional<TestWorld::LinkLocal> local = world().link_local();
  if (!local.has_value()) GTEST_SKIP() << "no link-local address here";
  ASSERT_NE(local->ip.scope(), 0u);
  EXPECT_EQ(kernel().InterfaceIndex(local->interface_name), local->ip.scope());
  Handle receiver = Open(SocketType::kDatagram, Family::kIpv6);
  ASSERT_EQ(kernel().Bind(receiver, SocketAddress(local->ip, 0)), kOk);
  SocketAddress target = LocalAddress(receiver);
  EXPECT_EQ(target.ip(), local->ip);
  Handle sender = Open(SocketType::kDatagram, Family::kIpv6);
  ASSERT_EQ(kernel().Bind(sender, SocketAddress(local->ip, 0)), kOk);
  ASSERT_EQ(SendDatagram(sender, "scoped", &target).error, kOk);
  Datagram received = ReceiveDatagram(receiver);
  EXPECT_EQ(received.payload, "scoped");
  EXPECT_EQ(received.sender, LocalAddress(sender));
  ASSERT_EQ(kernel().Connect(sender, target), kOk);
  SocketAddress peer;
  ASSERT_EQ(kernel().PeerAddress(sender, &peer), kOk);
  EXPECT_EQ(peer, target);
}

TEST_P(KernelContract, InterfaceIndex_IsZeroForNamesThatAreNone) {
  for (std::string_view name :
       {std::string_view(""), std::string_view("no such"),
        std::string_view("a name that is longer than any system allows it"),
        std::string_view("lo\0", 3)}) {
    EXPECT_EQ(kernel().InterfaceIndex(name), 0u) << name;
  }
}

TEST_P(KernelContractInFamily, Shutdown_OfTheOutputIsTheEndForThePeer) {
  TcpPair pair = Connected(family());
  ASSERT_EQ(SendAll(pair.handle, "bye"), kOk);
  ASSERT_EQ(kernel().Shutdown(pair.handle, Direction::kOutput), kOk);
  PeerRead all = pair.peer->ReceiveAll();
  EXPECT_EQ(all.bytes, "bye");
  EXPECT_TRUE(all.end);
  ASSERT_EQ(pair.peer->Send("and you"), kOk);
  EXPECT_EQ(Receive(pair.handle, 3).error, kOk);
}

TEST_P(KernelContract, Shutdown_OfTheInputIsTheEndForTheReader) {
  TcpPair pair = Connected(Family::kIpv4);
  ASSERT_EQ(kernel().Shutdown(pair.handle, Direction::kInput), kOk);
  Received received = Receive(pair.handle);
  EXPECT_EQ(received.error, kOk);
  EXPECT_EQ(received.bytes, "");
  EXPECT_EQ(SendAll(pair.handle, "still"), kOk);
  EXPECT_EQ(pair.peer->ReceiveExactly(5), "still");
}

TEST_P(KernelContractInFamily, Shutdown_OfBothEndsTheOutputAfterThePeersEnd) {
  TcpPair pair = Connected(family());
  ASSERT_EQ(pair.peer->ShutdownWrite(), kOk);
  EXPECT_EQ(ReceiveAll(pair.handle).error, kOk);
  EXPECT_EQ(kernel().Shutdown(pair.handle, Direction::kIo), kOk);
  EXPECT_TRUE(pair.peer->ReceiveAll().end);
}

TEST_P(KernelContract, Shutdown_OfWhatIsShutDownIsOk) {
  constexpr Direction kInput = Direction::kInput;
  constexpr Direction kOutput = Direction::kOutput;
  constexpr Direction kIo = Direction::kIo;
  for (bool peer_ended : {false, true}) {
    for (std::array<Direction, 2> calls : {std::array{kInput, kInput},
                                           {kOutput, kOutput},
                                           {kOutput, kInput},
                                           {kInput, kOutput},
                                           {kInput, kIo},
                                           {kOutput, kIo}}) {
      TcpPair pair = Connected(Family::kIpv4);
      if (peer_ended) {
        ASSERT_EQ(pair.peer->ShutdownWrite(), kOk);
        EXPECT_EQ(ReceiveAll(pair.handle).error, kOk);
      }
      EXPECT_EQ(kernel().Shutdown(pair.handle, calls[0]), kOk);
      Error again = kernel().Shutdown(pair.handle, calls[1]);
      // Unless that was the end of the connection.
      if (again != Error(ENOTCONN) || !peer_ended || calls[0] == kInput) {
        EXPECT_EQ(again, kOk) << peer_ended << static_cast<int>(calls[0])
                              << static_cast<int>(calls[1]);
      }
      if (calls[1] != kInput || calls[0] != kInput) {
        EXPECT_TRUE(pair.peer->ReceiveAll().end);
      } else {
        EXPECT_EQ(SendAll(pair.handle, "still"), kOk);
      }
    }
  }
}

TEST_P(KernelContract, Shutdown_OfAnUnconnectedSocketIsRefusedOrNothing) {
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    Handle handle = Open(SocketType::kStream, Family::kIpv4);
    EXPECT_EQ(
        kernel().Shutdown(handle, direction),
        world().personality().shutdown_needs_a_peer ? Error(ENOTCONN) : kOk);
  }
}

}  // namespace
}  // namespace aios::test
