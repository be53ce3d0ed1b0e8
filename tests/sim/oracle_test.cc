// Each rule that a simulation watches over is seen to be broken when it is, and
// no other rule takes it for its own. The promises of aios cannot be broken
// from outside, so they are broken to the oracle's face, by what aios and the
// kernel would have told it; those of streams on the wire.

#include "sim/oracle.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/packet.h"
#include "sim/recording.h"
#include "sim/trace.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

using End = OperationObserver::End;
using Kind = OperationKind;
namespace rule = sim::rule;

class FakePoller final : public Poller {};

constexpr Handle kSocket = 7;
constexpr Nanoseconds kSecond = 1'000'000'000;

// States and operations are numbers here; a state has the socket of its number.
class OracleTest : public testing::Test {
 protected:
  OracleTest() { oracle_.OnCollection(poller_, limits_); }
  ~OracleTest() override {
    // What was broken is in the test's own expectation.
    if (!expected_) {
      EXPECT_EQ(violations_, std::vector<std::string>());
    }
  }

  // ---- What aios tells.

  OperationStart Describe(int operation, Kind kind, int state = kSocket) {
    return {.operation = &names_[operation],
            .state = &names_[state],
            .kind = kind,
            .poller = &poller_,
            .handle = state,
            .time = now_,
            .data = memory_.data(),
            .size = 10,
            .max_read = 16384};
  }
  void Start(int operation, Kind kind, int state = kSocket) {
    oracle_.OnStart(Describe(operation, kind, state));
  }
  void StartWithTimeout(int operation, Kind kind, Nanoseconds timeout,
                        int state = kSocket) {
    OperationStart start = Describe(operation, kind, state);
    start.timeout = timeout;
    oracle_.OnStart(start);
  }
  // With data of its own.
  void Write(int operation, std::string_view data, int state = kSocket,
             Kind kind = Kind::kWriteBuffer) {
    OperationStart start = Describe(operation, kind, state);
    start.data = data.data();
    start.size = data.size();
    oracle_.OnStart(start);
  }
  void StartOnDatagrams(int operation, Kind kind) {
    OperationStart start = Describe(operation, kind);
    start.datagrams = true;
    oracle_.OnStart(start);
  }
  IoResult Result(IoStatus status, size_t count = 0) {
    IoResult result;
    result.status = status;
    result.count = count;
    result.data = {memory_.data(), count};
    return result;
  }
  void EndWith(int operation, const IoResult& result,
               End end = End::kCallback) {
    oracle_.OnEnd(&names_[operation], end, result);
  }
  void EndWith(int operation, IoStatus status, size_t count = 0,
               int error = 0) {
    IoResult result = Result(status, count);
    if (error != 0) result.error = Error(error);
    EndWith(operation, result);
  }
  void EndSilently(int operation) {
    EndWith(operation, Result(IoStatus::kAborted), End::kSilent);
  }
  void CallBack(int operation, std::string_view data) {
    IoResult result;
    result.data = data;
    result.count = data.size();
    oracle_.OnCallback(&names_[operation], result);
  }
  void GoOn(int operation, Nanoseconds timeout = kForever,
            bool paused = false) {
    oracle_.OnContinue(&names_[operation], now_, timeout, paused);
  }

  // ---- What the kernel tells.

  void Receive(std::string_view bytes, size_t place = 0) {
    bytes.copy(memory_.data() + place, bytes.size());
    oracle_.OnReceive(kSocket, {memory_.data() + place, 10 - place},
                      {.count = bytes.size()});
  }
  void ReceiveNone(int error = 0) {
    Transfer transfer;
    if (error != 0) transfer.error = Error(error);
    oracle_.OnReceive(kSocket, memory_, transfer);
  }
  // Of a size, to where no caller's buffer is.
  void ReceiveMuch(size_t count) {
    std::string bytes(count, 'x');
    oracle_.OnReceive(kSocket, bytes, {.count = count});
  }
  void Send(std::string_view bytes, size_t taken, int error = 0) {
    ConstBuffer buffer = {bytes.data(), bytes.size()};
    Transfer transfer = {.count = taken};
    if (error != 0) transfer.error = Error(error);
    oracle_.OnSend(kSocket, {&buffer, 1}, transfer);
  }
  void ReceiveDatagram(std::string_view bytes, const SocketAddress& sender) {
    IncomingDatagram datagram;
    datagram.size = bytes.size();
    datagram.sender = sender;
    oracle_.OnReceiveDatagram(kSocket, bytes, true, datagram, Error());
  }
  void Turn() { oracle_.OnReports(poller_, {}); }
  void Sleep(Nanoseconds length = kForever) {
    oracle_.OnSleep(poller_, length, [&](Handle handle) {
      return unwatched_.contains(handle)
                 ? kNotReady
                 : static_cast<Readiness>(kReadable | kWritable);
    });
  }

  // Exactly one violation, of this rule.
  void ExpectBroken(rule::Name name, std::string_view text = "") {
    expected_ = true;
    ASSERT_EQ(violations_.size(), 1u)
        << (violations_.empty() ? "" : violations_[1]);
    std::string wanted = absl::StrCat("on host 3: ", std::string(name), ": ");
    EXPECT_NE(violations_[0].find(wanted), std::string::npos) << violations_[0];
    EXPECT_NE(violations_[0].find(text), std::string::npos) << violations_[0];
  }

  sim::Trace trace_;
  Nanoseconds now_ = 5 * kSecond;
  std::vector<std::string> violations_;
  std::unique_ptr<sim::Recording> recording_;
  sim::Oracle oracle_{trace_, now_, 3, violations_, recording_};
  FakePoller poller_;
  Limits limits_ = {.output_queue_bytes_max = 1000,
                    .output_queue_length_max = 2,
                    .input_buffer_bytes_max = 50'000,
                    .bytes_per_turn_max = 20'000,
                    .accepts_per_turn_max = 4,
                    .posted_max = 3};
  std::set<Handle> unwatched_;
  std::array<char, 100> memory_ = {};
  bool expected_ = false;
  // Only their addresses count.
  char names_[20] = {};
};

// ---- Nothing is wrong.

TEST_F(OracleTest, IsContentWithOperationsThatEndAsPromised) {
  Start(1, Kind::kReadBuffer);
  Write(2, "hello");
  Write(3, "world");
  EXPECT_EQ(oracle_.pending(), 3u);
  EndWith(1, Result(IoStatus::kAborted), End::kAbort);
  EndSilently(2);
  EndSilently(3);
  Start(4, Kind::kReadBuffer);
  EndSilently(4);
  oracle_.OnClose(&names_[kSocket]);
  EXPECT_EQ(oracle_.pending(), 0u);
}

TEST_F(OracleTest, IsContentWithAnExchange) {
  std::string_view question = "0123456789";
  StartWithTimeout(1, Kind::kReadBuffer, kSecond);
  Sleep(kSecond);
  Turn();
  Receive(question.substr(0, 4));
  Sleep(kSecond);
  Receive(question.substr(4), 4);
  EndWith(1, IoStatus::kOk, 10);
  Write(2, question);
  Send(question, 3);
  Sleep();
  Send(question.substr(3), 7);
  EndWith(2, IoStatus::kOk, 10);
  Start(3, Kind::kReadBuffer, 8);
  Sleep();
  EndSilently(3);
}

TEST_F(OracleTest, IsContentWithAReadWithCheckingThatReplies) {
  std::string_view line = "line";
  Start(1, Kind::kReadWithChecking);
  Turn();
  Receive(line);
  CallBack(1, line);
  oracle_.OnReply(&names_[kSocket], "answer", nullptr);
  oracle_.OnDrop(&names_[kSocket], 2);
  Send("answer", 2);
  std::string_view rest = "swer";
  Write(2, rest, kSocket, Kind::kReply);
  GoOn(1, kForever, /*paused=*/true);
  Sleep();
  Send(rest, 0, EAGAIN);
  Sleep();
  Send(rest, 4);
  EndWith(2, IoStatus::kOk, 4);
  CallBack(1, "ne");
  GoOn(1);
  Sleep();
  ReceiveNone();
  IoResult end;
  end.status = IoStatus::kEof;
  end.data = "ne";
  end.count = 2;
  EndWith(1, end);
}

TEST_F(OracleTest, ACrashEndsEveryOperationRightly) {
  Start(1, Kind::kReadBuffer);
  oracle_.Retire();
  EXPECT_EQ(oracle_.pending(), 0u);
  EndWith(1, IoStatus::kOk);
  oracle_.OnClose(&names_[kSocket]);
}

TEST_F(OracleTest, KeepsTheFirstViolationsOnly) {
  for (size_t i = 0; i != 1000; ++i) EndWith(1, IoStatus::kOk);
  EXPECT_EQ(violations_.size(), sim::Oracle::kViolationsMax);
  expected_ = true;
}

TEST_F(OracleTest, WhatItSeesIsPartOfTheTrace) {
  uint64_t hash = trace_.hash();
  Start(1, Kind::kReadBuffer);
  EXPECT_NE(trace_.hash(), hash);
  hash = trace_.hash();
  EndSilently(1);
  EXPECT_NE(trace_.hash(), hash);
}

// ---- Ends and callbacks.

TEST_F(OracleTest, EndsOnce_AnOperationThatEndsTwice) {
  Start(1, Kind::kReadBuffer);
  EndSilently(1);
  EndSilently(1);
  ExpectBroken(rule::kEndsOnce, "it ended a second time");
}

TEST_F(OracleTest, EndsOnce_AnOperationThatEndsWithoutAStart) {
  EndSilently(1);
  ExpectBroken(rule::kEndsOnce);
}

TEST_F(OracleTest, EndsOnce_AnOperationInWhosePlaceAnotherStarts) {
  Start(1, Kind::kReadBuffer);
  Start(1, Kind::kReadBuffer);
  ExpectBroken(rule::kEndsOnce, "it was replaced before it had ended");
}

TEST_F(OracleTest, EndsOnce_ACallbackAfterTheEnd) {
  Start(1, Kind::kReadWithChecking);
  EndSilently(1);
  CallBack(1, "x");
  ExpectBroken(rule::kEndsOnce, "an operation calls back that is over");
}

TEST_F(OracleTest, AnOperationThatNeverEndsIsPending) {
  Start(1, Kind::kReadBuffer);
  EXPECT_EQ(oracle_.pending(), 1u);
  EXPECT_EQ(oracle_.DescribePending(),
            "  operation 1, ReadBuffer, in progress since 5.000000000 s\n");
}

TEST_F(OracleTest, SilentAfterClose) {
  Start(1, Kind::kReadBuffer);
  Write(2, "x");
  oracle_.OnClose(&names_[kSocket]);
  ExpectBroken(rule::kSilentAfterClose,
               "its state is closed and it has not ended (operation 1");
}

TEST_F(OracleTest, WritesInOrder) {
  Write(1, "a");
  Write(2, "b");
  // Of other states, and reads, do not matter.
  Write(3, "c", 8);
  Start(4, Kind::kReadBuffer);
  EndSilently(4);
  EndSilently(3);
  EndSilently(2);
  EXPECT_TRUE(violations_.empty());
  EndSilently(1);
  ExpectBroken(rule::kWritesInOrder);
}

TEST_F(OracleTest, WritesInOrder_AReplyThatAWriteOvertakes) {
  oracle_.OnTimeoutSet(&names_[kSocket], Direction::kOutput, kForever);
  oracle_.OnReply(&names_[kSocket], "a", nullptr);
  Write(1, "a", kSocket, Kind::kReply);
  Write(2, "b");
  EndSilently(2);
  EndSilently(1);
  ExpectBroken(rule::kWritesInOrder);
}

TEST_F(OracleTest, AbortAfterWrites) {
  Write(1, "a");
  Write(2, "b");
  EndWith(1, Result(IoStatus::kAborted), End::kAbort);
  oracle_.OnAbortOfOutput(&names_[kSocket], &names_[15]);
  // Another one, which has ended nothing, may come before.
  oracle_.OnAbortCallback(&names_[kSocket], &names_[16]);
  oracle_.OnAbortCallback(&names_[kSocket], &names_[15]);
  ExpectBroken(rule::kAbortAfterWrites);
}

TEST_F(OracleTest, CallbackOrder) {
  std::string_view data = "a";
  Write(1, data);
  Send(data, 1);
  Start(2, Kind::kWaitForInput, 8);
  oracle_.OnPeek(8, {.count = 1});
  EndWith(2, IoStatus::kOk);
  EndWith(1, IoStatus::kOk, 1);
  ExpectBroken(rule::kCallbackOrder);
}

TEST_F(OracleTest, CallbackOwed_WhatWasReceived) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  Sleep();
  ExpectBroken(rule::kCallbackOwed);
}

TEST_F(OracleTest, CallbackOwed_AWriteThatWasTaken) {
  std::string_view data = "a";
  Write(1, data);
  Send(data, 1);
  Sleep();
  ExpectBroken(rule::kCallbackOwed);
}

TEST_F(OracleTest, CallbackOwed_WhatWasLeftWhenRepliesHadToWait) {
  Start(1, Kind::kReadWithChecking);
  Receive("two lines");
  CallBack(1, "two lines");
  oracle_.OnReply(&names_[kSocket], "a", nullptr);
  std::string_view reply = "a";
  Write(2, reply, kSocket, Kind::kReply);
  GoOn(1, kForever, /*paused=*/true);
  Send(reply, 1);
  EndWith(2, IoStatus::kOk, 1);
  GoOn(1);
  Sleep();
  ExpectBroken(rule::kCallbackOwed);
}

TEST_F(OracleTest, CallbackOwed_AReadThatStaysPaused) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnDrop(&names_[kSocket], 1);
  GoOn(1, kForever, /*paused=*/true);
  Sleep();
  ExpectBroken(rule::kCallbackOwed, "it is paused, and its replies are out");
}

TEST_F(OracleTest, NewsToCallback) {
  Start(1, Kind::kReadWithChecking);
  CallBack(1, "");
  ExpectBroken(rule::kNews);
}

// ---- What callbacks are told.

TEST_F(OracleTest, InputStatus_AnErrorToldAsTheEnd) {
  Start(1, Kind::kReadBuffer);
  Receive("abc");
  ReceiveNone(ECONNRESET);
  EndWith(1, IoStatus::kEof, 3);
  ExpectBroken(rule::kInputStatus,
               "it ends with eof , and the kernel said ECONNRESET");
}

TEST_F(OracleTest, InputStatus_AnEndThatNobodyTold) {
  Start(1, Kind::kReadWithChecking);
  EndWith(1, IoStatus::kEof);
  ExpectBroken(rule::kInputStatus);
}

TEST_F(OracleTest, InputStatus_SuccessBeforeTheBufferIsFull) {
  Start(1, Kind::kReadBuffer);
  Receive("abc");
  EndWith(1, IoStatus::kOk, 3);
  ExpectBroken(rule::kInputStatus);
}

TEST_F(OracleTest, InputStatus_ATimeoutThatWasNone) {
  StartWithTimeout(1, Kind::kReadBuffer, kSecond);
  EndWith(1, IoStatus::kTimeout);
  ExpectBroken(rule::kInputStatus);
}

TEST_F(OracleTest, InputCount) {
  Start(1, Kind::kReadBuffer);
  Receive("0123456789");
  EndWith(1, IoStatus::kOk, 9);
  ExpectBroken(rule::kInputCount);
}

TEST_F(OracleTest, InputBytes_InTheCallersBuffer) {
  Start(1, Kind::kReadBuffer);
  Receive("0123456789");
  memory_[3] = '!';
  EndWith(1, IoStatus::kOk, 10);
  ExpectBroken(rule::kInputBytes);
}

TEST_F(OracleTest, InputBytes_InTheStatesBuffer) {
  Start(1, Kind::kReadWithChecking);
  Receive("hello");
  CallBack(1, "hallo");
  ExpectBroken(rule::kInputBytes);
}

TEST_F(OracleTest, InputBytes_ThatAreLostBetweenTwoOperations) {
  Start(1, Kind::kReadWithChecking);
  Receive("hello");
  CallBack(1, "hello");
  EndWith(1, Result(IoStatus::kOk, 5));
  Start(2, Kind::kReadBuffer);
  ExpectBroken(rule::kInputBytes);
}

class DatagramOracleTest : public OracleTest {
 protected:
  // Receives two, and tells of the first.
  void Tell(std::string_view data, const SocketAddress& sender,
            bool truncated) {
    StartOnDatagrams(1, Kind::kReceiveMessages);
    ReceiveDatagram("one", first_);
    ReceiveDatagram("two", second_);
    IoResult result;
    result.data = data;
    result.count = data.size();
    result.sender = &sender;
    result.truncated = truncated;
    oracle_.OnCallback(&names_[1], result);
  }

  SocketAddress first_{IpAddress::Loopback(Family::kIpv4), 1};
  SocketAddress second_{IpAddress::Loopback(Family::kIpv4), 2};
};

TEST_F(DatagramOracleTest, IsContentWithTheFirst) {
  Tell("one", first_, false);
  EXPECT_TRUE(violations_.empty());
}

TEST_F(DatagramOracleTest, DatagramAsReceived_Bytes) {
  Tell("two", first_, false);
  ExpectBroken(rule::kDatagram);
}

TEST_F(DatagramOracleTest, DatagramAsReceived_Sender) {
  Tell("one", second_, false);
  ExpectBroken(rule::kDatagram);
}

TEST_F(DatagramOracleTest, DatagramAsReceived_Truncation) {
  Tell("one", first_, true);
  ExpectBroken(rule::kDatagram);
}

TEST_F(DatagramOracleTest, DatagramAsReceived_NotTwice) {
  Tell("one", first_, false);
  IoResult result;
  result.data = "one";
  result.count = 3;
  oracle_.OnCallback(&names_[1], result);
  ExpectBroken(rule::kDatagram);
}

TEST_F(OracleTest, InputSeen) {
  Start(1, Kind::kWaitForInput);
  EndWith(1, IoStatus::kOk);
  ExpectBroken(rule::kInputSeen);
}

TEST_F(OracleTest, ConnectStatus_SuccessWithoutAPeer) {
  Start(1, Kind::kConnectTcp);
  oracle_.OnConnect(kSocket, Error(EINPROGRESS));
  oracle_.OnTakeError(kSocket, Error());
  EndWith(1, IoStatus::kOk);
  ExpectBroken(rule::kConnectStatus);
}

TEST_F(OracleTest, ConnectStatus_AnErrorToldAsATimeout) {
  StartWithTimeout(1, Kind::kConnectTcp, kSecond);
  oracle_.OnConnect(kSocket, Error(EINPROGRESS));
  oracle_.OnTakeError(kSocket, Error(ECONNREFUSED));
  EndWith(1, IoStatus::kTimeout);
  ExpectBroken(rule::kConnectStatus);
}

TEST_F(OracleTest, WriteStatus_AnErrorToldAsSuccess) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 0, EPIPE);
  EndWith(1, IoStatus::kOk, 0);
  ExpectBroken(rule::kWriteStatus, "the kernel said EPIPE");
}

TEST_F(OracleTest, WriteStatus_SuccessBeforeAllIsTaken) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 2);
  EndWith(1, IoStatus::kOk, 2);
  ExpectBroken(rule::kWriteStatus);
}

TEST_F(OracleTest, WriteStatus_AbortedAlthoughNoneHasFailed) {
  Write(1, "abc");
  EndWith(1, IoStatus::kAborted);
  ExpectBroken(rule::kWriteStatus);
}

TEST_F(OracleTest, WriteCount) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 3);
  EndWith(1, IoStatus::kOk, 2);
  ExpectBroken(rule::kWriteCount);
}

// ---- What is read and sent.

TEST_F(OracleTest, ReadsForOperation_ToAnotherPlace) {
  Start(1, Kind::kReadBuffer);
  Receive("abc");
  Receive("d", 0);
  ExpectBroken(rule::kReadsForOperation);
}

TEST_F(OracleTest, ReadsForOperation_WhenNobodyWants) {
  Start(1, Kind::kReadBuffer);
  EndSilently(1);
  // A program may use the socket directly.
  Receive("abc");
  EXPECT_TRUE(violations_.empty());
  oracle_.OnTurn(poller_, true);
  Receive("abc");
  ExpectBroken(rule::kReadsForOperation);
}

TEST_F(OracleTest, SendsForOperation_WhatDoesNotComeNext) {
  Write(1, "first");
  std::string_view second = "second";
  Write(2, second);
  Send(second, 0, EAGAIN);
  ExpectBroken(rule::kSendsForOperation);
}

TEST_F(OracleTest, SendsForOperation_WhatHasBeenSent) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 3);
  oracle_.OnTurn(poller_, true);
  Send(data, 3);
  ExpectBroken(rule::kSendsForOperation,
               "neither a write in progress nor a reply");
}

TEST_F(OracleTest, SendsForOperation_AReplyThatOvertakesAWrite) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  Write(2, "before");
  CallBack(1, "x");
  std::string_view reply = "reply";
  oracle_.OnReply(&names_[kSocket], reply, nullptr);
  Send(reply, 5);
  violations_.resize(1);
  ExpectBroken(rule::kSendsForOperation);
}

TEST_F(OracleTest, RepliesLeave_AfterTheCallback) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "reply", nullptr);
  GoOn(1);
  ExpectBroken(rule::kRepliesLeave);
}

TEST_F(OracleTest, RepliesLeave_WithFinish) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "reply", nullptr);
  EndWith(1, Result(IoStatus::kOk, 1));
  ExpectBroken(rule::kRepliesLeave);
}

TEST_F(OracleTest, RepliesLeave_WithClose) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "reply", nullptr);
  EndSilently(1);
  oracle_.OnClose(&names_[kSocket]);
  ExpectBroken(rule::kRepliesLeave);
}

TEST_F(OracleTest, RepliesLeave_NotThoseThatWereRefused) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "reply", nullptr);
  oracle_.OnReplyRefused(&names_[kSocket]);
  GoOn(1);
}

TEST_F(OracleTest, SentBeforeShutdown) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 0, EAGAIN);
  oracle_.OnShutdown(kSocket, Direction::kInput);
  oracle_.OnShutdown(kSocket, Direction::kOutput);
  EXPECT_TRUE(violations_.empty());
  Write(2, "more");
  oracle_.OnShutdown(kSocket, Direction::kOutput);
  ExpectBroken(rule::kSentBeforeShutdown);
}

// ---- Deadlines.

TEST_F(OracleTest, TimeoutStays) {
  StartWithTimeout(1, Kind::kReadBuffer, kSecond);
  EndSilently(1);
  oracle_.OnTimeoutSet(&names_[kSocket], Direction::kInput, 2 * kSecond);
  StartWithTimeout(2, Kind::kReadBuffer, 2 * kSecond);
  EndSilently(2);
  EXPECT_TRUE(violations_.empty());
  StartWithTimeout(3, Kind::kReadBuffer, kSecond);
  ExpectBroken(rule::kTimeoutStays);
}

TEST_F(OracleTest, NotEarly) {
  StartWithTimeout(1, Kind::kConnectTcp, kSecond);
  now_ += kSecond - 1;
  oracle_.OnTimeout(&names_[1], now_ + 1);
  ExpectBroken(rule::kNotEarly, "it times out 1 ns before its deadline");
}

TEST_F(OracleTest, DeadlineAsAsked_AnIdleTimeoutThatIsNotSetAnew) {
  StartWithTimeout(1, Kind::kReadWithChecking, kSecond);
  Nanoseconds deadline = now_ + kSecond;
  now_ += kSecond / 2;
  Receive("x");
  CallBack(1, "x");
  GoOn(1, kSecond);
  now_ = deadline;
  Turn();
  ReceiveNone(EAGAIN);
  oracle_.OnTimeout(&names_[1], deadline);
  ExpectBroken(rule::kDeadlineAsAsked);
}

TEST_F(OracleTest, DeadlineAsAsked_AQueuedWriteWithTheDeadlineOfTheFirst) {
  std::string_view data = "ab";
  OperationStart first = Describe(1, Kind::kWriteBuffer);
  first.data = data.data();
  first.size = 1;
  first.timeout = kSecond;
  oracle_.OnStart(first);
  OperationStart second = Describe(2, Kind::kWriteBuffer);
  second.data = data.data() + 1;
  second.size = 1;
  second.queued = true;
  oracle_.OnStart(second);
  Nanoseconds deadline = now_ + kSecond;
  now_ += kSecond / 2;
  Send(data.substr(0, 1), 1);
  EndWith(1, IoStatus::kOk, 1);
  oracle_.OnTurnOfWrite(&names_[2], now_, kSecond);
  now_ = deadline;
  Send(data.substr(1), 0, EAGAIN);
  oracle_.OnTimeout(&names_[2], deadline);
  ExpectBroken(rule::kDeadlineAsAsked);
}

TEST_F(OracleTest, NotLate) {
  StartWithTimeout(1, Kind::kReadBuffer, kSecond);
  Sleep(kSecond);
  EXPECT_TRUE(violations_.empty());
  Sleep(kSecond + 1);
  ExpectBroken(rule::kNotLate);
}

TEST_F(OracleTest, DeadlineOrder) {
  StartWithTimeout(1, Kind::kConnectTcp, kSecond, 1);
  StartWithTimeout(2, Kind::kConnectTcp, kSecond, 2);
  now_ += kSecond;
  Turn();
  oracle_.OnTimeout(&names_[2], now_);
  oracle_.OnTimeout(&names_[1], now_);
  ExpectBroken(rule::kDeadlineOrder);
}

TEST_F(OracleTest, InputWins) {
  StartWithTimeout(1, Kind::kReadBuffer, kSecond);
  now_ += kSecond;
  Turn();
  oracle_.OnTimeout(&names_[1], now_);
  ExpectBroken(rule::kInputWins, "without a last attempt");
}

// ---- Waking.

TEST_F(OracleTest, LostWakeUp_OfARead) {
  Start(1, Kind::kReadBuffer);
  Sleep();
  unwatched_.insert(kSocket);
  Sleep();
  EXPECT_TRUE(violations_.empty()) << "nothing has changed that it knew of";
  oracle_.OnInterest(kSocket, poller_, &names_[kSocket], kNotReady);
  Sleep();
  ExpectBroken(rule::kLostWakeUp);
}

TEST_F(OracleTest, LostWakeUp_OfAWrite) {
  std::string_view data = "abc";
  Write(1, data);
  Send(data, 1);
  unwatched_.insert(kSocket);
  Sleep();
  ExpectBroken(rule::kLostWakeUp);
}

TEST_F(OracleTest, AcceptsAgain) {
  Turn();
  oracle_.OnAccepted(poller_, 9);
  oracle_.OnInterest(9, poller_, &names_[9], kNotReady);
  Sleep(kSecond / 10);
  EXPECT_TRUE(violations_.empty());
  Sleep();
  ExpectBroken(rule::kAcceptsAgain);
}

TEST_F(OracleTest, StaleReport) {
  Report report = {.token = &names_[kSocket], .ready = kReadable};
  oracle_.OnReports(poller_, {&report, 1});
  oracle_.OnServe(poller_, report.token);
  oracle_.OnInterest(kSocket, poller_, report.token, kNotReady);
  oracle_.OnServe(poller_, report.token);
  ExpectBroken(rule::kStaleReport);
}

TEST_F(OracleTest, PostedInOrder_OneThatIsLost) {
  oracle_.OnPost(poller_);
  Sleep();
  ExpectBroken(rule::kPosted);
}

TEST_F(OracleTest, PostedInOrder_OneThatOvertakesAnother) {
  oracle_.OnPost(poller_);
  oracle_.OnRunPosted(poller_, oracle_.OnPost(poller_));
  ExpectBroken(rule::kPosted);
}

// ---- Limits.

TEST_F(OracleTest, BytesPerTurn_OfInput) {
  Start(1, Kind::kReadWithChecking);
  Turn();
  ReceiveMuch(16'000);
  Turn();
  ReceiveMuch(16'000);
  EXPECT_TRUE(violations_.empty());
  ReceiveMuch(16'000);
  ExpectBroken(rule::kBytesPerTurn);
}

TEST_F(OracleTest, BytesPerTurn_OfOutput) {
  std::string data(20'001, 'x');
  Write(1, data);
  Send(std::string_view(data).substr(0, 20'000), 0, EAGAIN);
  EXPECT_TRUE(violations_.empty());
  Send(data, 0, EAGAIN);
  ExpectBroken(rule::kBytesPerTurn);
}

TEST_F(OracleTest, AcceptsPerTurn) {
  for (int turn = 0; turn != 2; ++turn) {
    Turn();
    for (int i = 0; i != 4; ++i) oracle_.OnAccepted(poller_, 9);
  }
  EXPECT_TRUE(violations_.empty());
  oracle_.OnAccepted(poller_, 9);
  ExpectBroken(rule::kAcceptsPerTurn);
}

TEST_F(OracleTest, OutputQueue_Length) {
  for (int i = 1; i != 4; ++i) Write(i, "x");
  EXPECT_TRUE(violations_.empty());
  Write(4, "x");
  ExpectBroken(rule::kOutputQueue);
}

TEST_F(OracleTest, OutputQueue_Bytes) {
  std::string data(1000, 'x');
  Write(1, data);
  Write(2, data);
  EXPECT_TRUE(violations_.empty());
  Write(3, "x");
  ExpectBroken(rule::kOutputQueue);
}

TEST_F(OracleTest, InputBuffer) {
  Start(1, Kind::kReadWithChecking);
  std::string all;
  for (int i = 0; i != 4; ++i) {
    Turn();
    ReceiveMuch(16'000);
    all.append(16'000, 'x');
    CallBack(1, all);
    if (i != 3) GoOn(1);
  }
  ExpectBroken(rule::kInputBuffer);
}

TEST_F(OracleTest, MaxRead) {
  Start(1, Kind::kReadWithChecking);
  oracle_.OnMaxReadSet(&names_[kSocket], 100);
  ReceiveMuch(100);
  EXPECT_TRUE(violations_.empty());
  ReceiveMuch(101);
  ExpectBroken(rule::kMaxRead);
}

TEST_F(OracleTest, PostedLimit) {
  // Three wait, and three that are being run.
  for (int i = 0; i != 6; ++i) oracle_.OnPost(poller_);
  EXPECT_TRUE(violations_.empty());
  oracle_.OnPost(poller_);
  ExpectBroken(rule::kPostedLimit);
}

TEST_F(OracleTest, BackPressure_AReadThatGoesOn) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "a", nullptr);
  Write(2, "a", kSocket, Kind::kReply);
  GoOn(1);
  ExpectBroken(rule::kBackPressure);
}

TEST_F(OracleTest, BackPressure_ReadingMeanwhile) {
  Start(1, Kind::kReadWithChecking);
  Receive("x");
  CallBack(1, "x");
  oracle_.OnReply(&names_[kSocket], "a", nullptr);
  Write(2, "a", kSocket, Kind::kReply);
  GoOn(1, kForever, /*paused=*/true);
  Receive("y");
  ExpectBroken(rule::kBackPressure);
}

// ---- I4, on the wire.

// Lets somebody change packets on their way.
template <typename Change>
sim::Rule Tamper(sim::Simulation& simulation, Change change) {
  return simulation.DropIf([change](const sim::Packet& packet) mutable {
    return change(const_cast<sim::Packet&>(packet));
  });
}

TEST(StreamOracle, I4_AByteThatIsChangedOnTheWay) {
  Connection connection;
  sim::Rule rule = Tamper(connection.simulation, [](sim::Packet& packet) {
    if (!packet.payload.empty()) packet.payload[0] ^= 1;
    return false;
  });
  connection.Send(connection.a, connection.near, "hello");
  connection.simulation.RunUntilIdle();
  std::string bytes;
  connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_EQ(bytes, "iello");
  ASSERT_EQ(connection.simulation.violations().size(), 1u);
  EXPECT_NE(connection.simulation.violations()[0].find("I4: connection"),
            std::string::npos);
  EXPECT_NE(connection.simulation.violations()[0].find(
                "has read bytes that its peer did not write there"),
            std::string::npos);
}

TEST(StreamOracle, I4_AStreamThatEndsTooEarly) {
  Connection connection;
  // The end is told without what comes before it.
  sim::Rule rule = Tamper(connection.simulation, [](sim::Packet& packet) {
    if (!packet.payload.empty()) return true;
    if ((packet.flags & sim::Packet::kFin) != 0) packet.sequence = 1;
    return false;
  });
  connection.Send(connection.a, connection.near, "lost");
  EXPECT_TRUE(
      connection.a.kernel().Shutdown(connection.near, Direction::kOutput).ok());
  connection.simulation.RunFor(absl::Milliseconds(100));
  std::string bytes;
  Transfer end = connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_TRUE(end.error.ok());
  EXPECT_EQ(end.count, 0u);
  ASSERT_EQ(connection.simulation.violations().size(), 1u)
      << "bytes: " << bytes;
  EXPECT_NE(
      connection.simulation.violations()[0].find("is at its end, but not"),
      std::string::npos);
}

TEST(StreamOracle, I4_IsContentWithWhatIsRight) {
  Connection connection({.faults = {.loss = 100'000,
                                    .duplication = 100'000,
                                    .reordering = 100'000,
                                    .split = 300'000,
                                    .join = 300'000}});
  std::string sent;
  std::string got;
  for (int i = 0; i != 200; ++i) {
    std::string piece(static_cast<size_t>(i) * 7, static_cast<char>(i));
    if (!piece.empty()) connection.Send(connection.a, connection.near, piece);
    sent += piece;
    connection.simulation.RunFor(absl::Milliseconds(1));
    connection.Receive(connection.b, connection.far, &got);
  }
  connection.a.kernel().Close(connection.near);
  connection.simulation.RunFor(absl::Minutes(3));
  while (connection.Receive(connection.b, connection.far, &got).count != 0) {
  }
  EXPECT_TRUE(got == sent);
  EXPECT_TRUE(connection.simulation.violations().empty());
}

}  // namespace
}  // namespace aios::test
