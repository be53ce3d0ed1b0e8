// Conformance of timeouts and of the user-info slot: lines 24-26 of the
// checklist.

#include <any>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

class TimeoutTest : public ConformanceTest {
 protected:
  // To make it takes long, and must not be done in what a test measures.
  TimeoutTest() { EndlessData(); }

  // Returns a time not later than that of the turn in which `recorder` was
  // first called: what is started inside that turn counts from there, as the
  // loop's time stands still in a turn.
  Nanoseconds RunUntilFirstCall(const Recorder& recorder) {
    Nanoseconds before_turn = 0;
    EXPECT_TRUE(RunUntil([&] {
      if (recorder.called()) return true;
      before_turn = Now();
      return false;
    }));
    return before_turn;
  }
};

INSTANTIATE_TEST_SUITE_P(All, TimeoutTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(TimeoutTest, Line24_TimeoutOfAnOperationBecomesTheStates) {
  Channel channel = MakeChannel();
  char byte;
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, first.Callback(),
                                      {.timeout = absl::Milliseconds(3)}));
  EXPECT_EQ(channel.state->read_timeout(), absl::Milliseconds(3));
  EXPECT_EQ(channel.state->write_timeout(), absl::InfiniteDuration())
      << "of the other direction";
  ASSERT_TRUE(RunUntil(first));
  ASSERT_EQ(first.last().status, IoStatus::kTimeout);
  // The next operation uses it without being told.
  Recorder second(*this, "second");
  Nanoseconds start = Now();
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, second.Callback()));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().status, IoStatus::kTimeout);
  EXPECT_GE(Since(start), absl::Milliseconds(3));

  // So do operations of the other kinds.
  Recorder third(*this, "third");
  ASSERT_OK(channel.state->WaitForInput(third.Callback()));
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(third.last().status, IoStatus::kTimeout);
}

TEST_P(TimeoutTest, Line24_WriteTimeoutOfAnOperationBecomesTheStates) {
  Channel channel = MakeChannel();
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), first.Callback(),
                                       {.timeout = absl::Milliseconds(3)}));
  EXPECT_EQ(channel.state->write_timeout(), absl::Milliseconds(3));
  EXPECT_EQ(channel.state->read_timeout(), absl::InfiniteDuration())
      << "the slip in the manual";
  ASSERT_TRUE(RunUntil(first));
  ASSERT_EQ(first.last().status, IoStatus::kTimeout);
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), second.Callback()));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().status, IoStatus::kTimeout);
}

TEST_P(TimeoutTest, Line24_EveryOperationSetsItsDirectionsTimeout) {
  Channel channel = MakeChannel();
  AsyncIoState& state = *channel.state;
  std::unique_ptr<AsyncIoState> udp = MakeUdp();
  char buffer[4];
  Recorder ignored(*this, "ignored", Recorder::kRepeating);
  ASSERT_OK(state.ReadWithChecking(ignored.Callback(),
                                   {.timeout = absl::Seconds(11)}));
  EXPECT_EQ(state.read_timeout(), absl::Seconds(11));
  ASSERT_OK(state.SendMessage("x", ignored.Callback(),
                              {.timeout = absl::Seconds(12)}));
  EXPECT_EQ(state.write_timeout(), absl::Seconds(12));
  ASSERT_OK(udp->ReceiveMessage(buffer, ignored.Callback(),
                                {.timeout = absl::Seconds(13)}));
  EXPECT_EQ(udp->read_timeout(), absl::Seconds(13));
  EXPECT_EQ(udp->write_timeout(), absl::InfiniteDuration());
  ASSERT_OK(udp->SendMessageToAddress(*udp->address(), "x", ignored.Callback(),
                                      {.timeout = absl::Seconds(14)}));
  EXPECT_EQ(udp->write_timeout(), absl::Seconds(14));
  EXPECT_EQ(udp->read_timeout(), absl::Seconds(13));
}

TEST_P(TimeoutTest, Line25_NoneRemovesTheTimeoutAndNothingKeepsIt) {
  Channel channel = MakeChannel({.read_timeout = absl::Milliseconds(2)});
  char byte;
  Recorder with(*this, "not given");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, with.Callback()));
  EXPECT_EQ(channel.state->read_timeout(), absl::Milliseconds(2));
  ASSERT_TRUE(RunUntil(with));
  EXPECT_EQ(with.last().status, IoStatus::kTimeout);

  Recorder without(*this, "none");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, without.Callback(),
                                      {.timeout = absl::InfiniteDuration()}));
  EXPECT_EQ(channel.state->read_timeout(), absl::InfiniteDuration());
  RunFor(absl::Milliseconds(6));
  EXPECT_FALSE(without.called());
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(without));
  EXPECT_EQ(without.last().status, IoStatus::kOk);

  Recorder later(*this, "later");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, later.Callback()));
  RunFor(absl::Milliseconds(4));
  EXPECT_FALSE(later.called()) << "removed for this one, too";
}

TEST_P(TimeoutTest, SetTimeoutTakesEffectWithTheNextOperation) {
  Channel channel = MakeChannel();
  char byte;
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, first.Callback()));
  ASSERT_OK(channel.state->set_read_timeout(absl::Milliseconds(2)));
  RunFor(absl::Milliseconds(6));
  EXPECT_FALSE(first.called()) << "it was started without";
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(first));
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, second.Callback()));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().status, IoStatus::kTimeout);

  Recorder write(*this, "write");
  ASSERT_OK(channel.state->set_write_timeout(absl::Milliseconds(2)));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kTimeout);
}

TEST_P(TimeoutTest, NegativeTimeoutsAreRefusedAndChangeNothing) {
  Channel channel = MakeChannel({.read_timeout = absl::Seconds(7),
                                 .write_timeout = absl::Seconds(8),
                                 .name = "patient"});
  AsyncIoState& state = *channel.state;
  EXPECT_TRUE(IsRefusal(state.set_read_timeout(-absl::Nanoseconds(1)),
                        absl::StatusCode::kInvalidArgument, {"patient"}));
  EXPECT_TRUE(IsRefusal(state.set_write_timeout(-absl::InfiniteDuration()),
                        absl::StatusCode::kInvalidArgument, {"patient"}));
  EXPECT_EQ(state.read_timeout(), absl::Seconds(7));
  EXPECT_EQ(state.write_timeout(), absl::Seconds(8));
}

TEST_P(TimeoutTest, ZeroTimeoutTriesOnceAndThenTimesOut) {
  Channel channel = MakeChannel();
  std::string buffer(4, '.');
  Recorder nothing(*this, "nothing there");
  ASSERT_OK(channel.state->ReadBuffer(buffer, nothing.Callback(),
                                      {.timeout = absl::ZeroDuration()}));
  EXPECT_FALSE(nothing.called()) << "posted, like every outcome";
  ASSERT_TRUE(RunUntil(nothing));
  EXPECT_EQ(nothing.last().status, IoStatus::kTimeout);
  EXPECT_EQ(nothing.last().count, 0u);

  channel.peer->Send("abcdef");
  RunFor(absl::Milliseconds(1));
  Recorder all(*this, "all there");
  ASSERT_OK(channel.state->ReadBuffer(buffer, all.Callback()));
  ASSERT_TRUE(RunUntil(all));
  EXPECT_EQ(all.last().status, IoStatus::kOk);
  EXPECT_EQ(buffer, "abcd");

  Recorder some(*this, "some there");
  ASSERT_OK(channel.state->ReadBuffer(buffer, some.Callback()));
  ASSERT_TRUE(RunUntil(some));
  EXPECT_EQ(some.last().status, IoStatus::kTimeout);
  EXPECT_EQ(some.last().count, 2u);
  EXPECT_EQ(buffer.substr(0, 2), "ef");
}

TEST_P(TimeoutTest, ZeroTimeoutOfTheOtherInputOperations) {
  std::unique_ptr<AsyncIoState> udp = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  char buffer[8];
  for (bool there : {false, true}) {
    SCOPED_TRACE(there);
    Channel channel = MakeChannel({.read_timeout = absl::ZeroDuration()});
    const IoStatus expected = there ? IoStatus::kOk : IoStatus::kTimeout;
    if (there) {
      channel.peer->Send("ab");
      EXPECT_TRUE(peer->SendTo(*udp->address(), "datagram").ok());
      RunFor(absl::Milliseconds(2));
    }
    Recorder wait(*this, "wait");
    ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
    ASSERT_TRUE(RunUntil(wait));
    EXPECT_EQ(wait.last().status, expected);
    Recorder check(*this, "check");
    ASSERT_OK(channel.state->ReadWithChecking(
        check.Callback([&](AsyncIoState& state, const IoResult& result) {
          if (result.ok()) {
            EXPECT_OK(state.Finish());
          }
        })));
    ASSERT_TRUE(RunUntil(check));
    EXPECT_EQ(check.last().status, expected);
    Recorder receive(*this, "receive");
    ASSERT_OK(udp->ReceiveMessage(buffer, receive.Callback(),
                                  {.timeout = absl::ZeroDuration()}));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().status, expected);
  }
}

TEST_P(TimeoutTest, ZeroTimeoutOfWritesTriesOnce) {
  Channel channel = MakeChannel(
      {.write_timeout = absl::ZeroDuration(), .queue_output = true});
  Recorder fits(*this, "fits");
  ASSERT_OK(channel.state->WriteBuffer("fits", fits.Callback()));
  ASSERT_TRUE(RunUntil(fits));
  EXPECT_EQ(fits.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.peer->ReceiveExactly(4), "fits");
  Recorder endless(*this, "endless");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), endless.Callback()));
  ASSERT_TRUE(RunUntil(endless));
  EXPECT_EQ(endless.last().status, IoStatus::kTimeout);
  EXPECT_GT(endless.last().count, 0u) << "it was tried";
}

TEST_P(TimeoutTest, TimeoutsAreNeverEarly) {
  Channel channel = MakeChannel();
  char byte;
  for (absl::Duration timeout :
       {absl::Nanoseconds(1), absl::Microseconds(1), absl::Microseconds(300),
        absl::Milliseconds(1), absl::Microseconds(1999),
        absl::Milliseconds(17)}) {
    SCOPED_TRACE(absl::FormatDuration(timeout));
    Recorder read(*this);
    Nanoseconds start = Now();
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                        {.timeout = timeout}));
    ASSERT_TRUE(RunUntil(read));
    EXPECT_EQ(read.last().status, IoStatus::kTimeout);
    EXPECT_GE(absl::Nanoseconds(read.last().time - start), timeout);
  }
}

TEST_P(TimeoutTest, HugeTimeoutsDoNotOverflow) {
  for (absl::Duration timeout :
       {absl::Hours(24 * 49), absl::Hours(24 * 365 * 200),
        absl::Hours(24LL * 365 * 5000),
        absl::Nanoseconds(std::numeric_limits<int64_t>::max()),
        absl::InfiniteDuration()}) {
    SCOPED_TRACE(absl::FormatDuration(timeout));
    Channel channel = MakeChannel();
    char byte;
    Recorder read(*this);
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                        {.timeout = timeout}));
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(read.called());
    channel.peer->Send("x");
    ASSERT_TRUE(RunUntil(read));
    EXPECT_EQ(read.last().status, IoStatus::kOk);
  }
}

TEST_P(TimeoutTest, DataThatArrivedByTheDeadlineWins) {
  Channel channel = MakeChannel();
  std::unique_ptr<AsyncIoState> udp = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  std::string buffer(4, '.');
  std::string datagram(16, '.');
  Recorder read(*this, "read");
  Recorder receive(*this, "receive");
  // The loop is busy elsewhere while both the data and the deadline come.
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback(),
                                      {.timeout = absl::Milliseconds(2)}));
  ASSERT_OK(udp->ReceiveMessage(datagram, receive.Callback(),
                                {.timeout = absl::Milliseconds(2)}));
  channel.peer->Send("abcd");
  EXPECT_TRUE(peer->SendTo(*udp->address(), "datagram").ok());
  Pass(absl::Milliseconds(4));
  Turn(absl::ZeroDuration());
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kOk);
  EXPECT_EQ(buffer, "abcd");
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.last().status, IoStatus::kOk);
  EXPECT_EQ(receive.last().data, "datagram");
}

// Keeps its reports for a later wait, as when more are ready than fit into one.
class LateReportsKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override {
    if (late) return 0;
    return KernelDecorator::Wait(poller, reports, timeout);
  }
  bool late = false;
};

TEST_P(TimeoutTest, DataWinsEvenWhenItsReportIsLate) {
  LateReportsKernel late(kernel());
  RemakeCollection({}, &late);
  {
    Channel whole = MakeChannel();
    Channel part = MakeChannel();
    std::string buffer(4, '.');
    std::string part_buffer(8, '.');
    Recorder read(*this, "whole");
    Recorder read_part(*this, "part");
    ASSERT_OK(whole.state->ReadBuffer(buffer, read.Callback(),
                                      {.timeout = absl::Milliseconds(2)}));
    ASSERT_OK(part.state->ReadBuffer(part_buffer, read_part.Callback(),
                                     {.timeout = absl::Milliseconds(2)}));
    whole.peer->Send("abcd");
    part.peer->Send("abc");
    Pass(absl::Milliseconds(4));
    late.late = true;
    Turn(absl::ZeroDuration());
    ASSERT_TRUE(read.called());
    EXPECT_EQ(read.last().status, IoStatus::kOk);
    EXPECT_EQ(buffer, "abcd");
    ASSERT_TRUE(read_part.called());
    EXPECT_EQ(read_part.last().status, IoStatus::kTimeout);
    EXPECT_EQ(read_part.last().count, 3u);
    late.late = false;
  }
  DestroyCollection();
}

TEST_P(TimeoutTest, PartOfTheDataByTheDeadlineIsCounted) {
  Channel channel = MakeChannel();
  std::string buffer(8, '.');
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback(),
                                      {.timeout = absl::Milliseconds(2)}));
  channel.peer->Send("abc");
  Pass(absl::Milliseconds(4));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_EQ(read.last().count, 3u);
  EXPECT_EQ(buffer, "abc.....");
}

TEST_P(TimeoutTest, ReadBufferMeasuresTheWholeOperation) {
  // Bytes that keep coming do not put the end off.
  Channel channel = MakeChannel();
  std::string buffer(1'000'000, '.');
  Recorder read(*this);
  Nanoseconds start = Now();
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback(),
                                      {.timeout = absl::Milliseconds(10)}));
  size_t sent = 0;
  ASSERT_TRUE(RunUntil(
      [&] {
        if (!read.called() && channel.peer->TrySend("x").error.ok()) ++sent;
        Turn(absl::Milliseconds(1));
        return read.called();
      },
      absl::ZeroDuration()));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_GE(Since(start), absl::Milliseconds(10));
  EXPECT_GT(read.last().count, 0u);
  EXPECT_LE(read.last().count, sent);
}

TEST_P(TimeoutTest, ReadWithCheckingMeasuresIdleTimeAnewAfterEachCall) {
  Channel channel = MakeChannel();
  constexpr absl::Duration kIdle = absl::Milliseconds(15);
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback(),
      {.timeout = kIdle, .error_callback = read.ErrorCallback()}));
  Pass(absl::Milliseconds(8));
  channel.peer->Send("a");
  Nanoseconds turn = RunUntilFirstCall(read);
  ASSERT_EQ(read.last().status, IoStatus::kOk);
  ASSERT_TRUE(RunUntil([&] { return read.last().status != IoStatus::kOk; }));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_EQ(read.last().callback, "callback");
  EXPECT_GE(absl::Nanoseconds(read.last().time - turn), kIdle)
      << "the timer did not start anew";
  EXPECT_EQ(read.last().data, "a") << "nothing is lost";
  EXPECT_EQ(read.calls().size(), 2u);
  EXPECT_EQ(read.callbacks_alive(), 0) << "the timeout has ended it";
  EXPECT_EQ(channel.state->BufferedDataLength(), 1u);
}

TEST_P(TimeoutTest, TimeoutSetInTheCheckingCallbackCountsForItsNextWait) {
  // As in a protocol whose phases differ in their patience.
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.set_read_timeout(absl::Milliseconds(3)));
      })));
  channel.peer->Send("x");
  Nanoseconds turn = RunUntilFirstCall(read);
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_GE(absl::Nanoseconds(read.last().time - turn), absl::Milliseconds(3));
}

TEST_P(TimeoutTest, NewReadMayBeStartedInTheTimeoutCallback) {
  Channel channel = MakeChannel();
  char byte;
  int timeouts = 0;
  std::function<void(AsyncIoState&)> start = [&](AsyncIoState& state) {
    EXPECT_OK(
        state.ReadBuffer({&byte, 1},
                         [&](AsyncIoState& state, const IoResult& result) {
                           EXPECT_EQ(result.status, IoStatus::kTimeout);
                           if (++timeouts < 1000) start(state);
                         },
                         {.timeout = absl::Microseconds(1)}));
  };
  start(*channel.state);
  EXPECT_TRUE(RunUntil([&] { return timeouts == 1000; }));
}

TEST_P(TimeoutTest, NoStaleTimerAfterACompletion) {
  // The deadline of the first operation lies within the second.
  Channel channel = MakeChannel();
  char byte;
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, first.Callback(),
                                      {.timeout = absl::Milliseconds(5)}));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(first));
  ASSERT_EQ(first.last().status, IoStatus::kOk);
  Recorder second(*this, "second");
  Nanoseconds start = Now();
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, second.Callback(),
                                      {.timeout = absl::Milliseconds(20)}));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().status, IoStatus::kTimeout);
  EXPECT_GE(Since(start), absl::Milliseconds(20));
}

TEST_P(TimeoutTest, ShorterTimeoutAfterALongerOneIsNotLate) {
  Channel channel = MakeChannel();
  char byte;
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, first.Callback(),
                                      {.timeout = absl::Hours(1)}));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(first));
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, second.Callback(),
                                      {.timeout = absl::Milliseconds(2)}));
  ASSERT_TRUE(RunUntil(second)) << "waited for the old timer";
  EXPECT_EQ(second.last().status, IoStatus::kTimeout);
}

TEST_P(TimeoutTest, EqualDeadlinesFireInTheOrderInWhichTheyWereSet) {
  std::vector<Channel> channels;
  std::vector<Recorder> reads;
  std::vector<char> bytes(5);
  for (int i = 0; i < 5; ++i) {
    channels.push_back(MakeChannel());
    reads.emplace_back(*this, std::to_string(i));
  }
  // Time stands still in a turn: the deadlines are equal.
  InLoop([&] {
    for (int i : {3, 0, 4, 1, 2}) {
      EXPECT_OK(
          channels[i].state->ReadBuffer({&bytes[i], 1}, reads[i].Callback(),
                                        {.timeout = absl::Milliseconds(2)}));
    }
  });
  ASSERT_TRUE(RunUntil([&] { return order().size() == 5; }));
  EXPECT_EQ(order(),
            (std::vector<std::string>{"3:callback", "0:callback", "4:callback",
                                      "1:callback", "2:callback"}));
}

TEST_P(TimeoutTest, DeadlinesOfOneTurnFireInTheirOrder) {
  std::vector<Channel> channels;
  std::vector<Recorder> reads;
  std::vector<char> bytes(4);
  for (int i = 0; i < 4; ++i) {
    channels.push_back(MakeChannel());
    reads.emplace_back(*this, std::to_string(i));
  }
  InLoop([&] {
    for (int i = 0; i < 4; ++i) {
      EXPECT_OK(channels[i].state->ReadBuffer(
          {&bytes[i], 1}, reads[i].Callback(),
          {.timeout = absl::Microseconds(500 - 100 * i)}));
    }
  });
  // All are due when the loop looks.
  Pass(absl::Milliseconds(2));
  ASSERT_TRUE(RunUntil([&] { return order().size() == 4; }));
  EXPECT_EQ(order(), (std::vector<std::string>{"3:callback", "2:callback",
                                               "1:callback", "0:callback"}));
}

TEST_P(TimeoutTest, BothDirectionsHaveTimersOfTheirOwn) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  Nanoseconds start = Now();
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                      {.timeout = absl::Milliseconds(12)}));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback(),
                                       {.timeout = absl::Milliseconds(4)}));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kTimeout);
  EXPECT_GE(absl::Nanoseconds(write.last().time - start),
            absl::Milliseconds(4));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_GE(absl::Nanoseconds(read.last().time - start),
            absl::Milliseconds(12));
  EXPECT_EQ(order(),
            (std::vector<std::string>{"write:callback", "read:callback"}));
}

TEST_P(TimeoutTest, QueuedWriteDoesNotTimeOutWhileItWaits) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder queued(*this, "queued");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), active.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("queued", queued.Callback(),
                                       {.timeout = absl::Milliseconds(2)}));
  RunFor(absl::Milliseconds(8));
  EXPECT_FALSE(active.called())
      << "the timeout of a queued operation is not that of the active one";
  EXPECT_FALSE(queued.called());
}

TEST_P(TimeoutTest, TimeOfAQueuedWriteStartsWhenItBecomesActive) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder queued(*this, "queued");
  const std::string data = Pattern(10'000'000);
  ASSERT_OK(channel.state->WriteBuffer(data, active.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), queued.Callback(),
                                       {.timeout = absl::Milliseconds(6)}));
  RunFor(absl::Milliseconds(8));
  ASSERT_FALSE(active.called());
  PeerRead read = ReadFromPeer(*channel.peer, data.size() / 2);
  size_t got = read.bytes.size();
  // Now the first one may end; the second has its time from there on.
  while (!active.called()) {
    got += ReadFromPeer(*channel.peer, 100'000).bytes.size();
  }
  ASSERT_EQ(active.last().status, IoStatus::kOk);
  ASSERT_TRUE(RunUntil(queued));
  EXPECT_EQ(queued.last().status, IoStatus::kTimeout);
  EXPECT_GT(got, data.size() / 2);
}

TEST_P(TimeoutTest, QueuedWriteKeepsTheTimeoutThatItWasGiven) {
  // And one that was given none has the state's at its turn.
  for (bool given : {true, false}) {
    SCOPED_TRACE(given);
    Channel channel = MakeChannel({.queue_output = true});
    Recorder active(*this, "active");
    Recorder queued(*this, "queued");
    const std::string data = Pattern(10'000'000);
    ASSERT_OK(channel.state->WriteBuffer(data, active.Callback()));
    Timeout timeout;
    if (given) timeout = absl::Milliseconds(2);
    ASSERT_OK(channel.state->WriteBuffer(EndlessData(), queued.Callback(),
                                         {.timeout = timeout}));
    ASSERT_OK(channel.state->set_write_timeout(given ? absl::InfiniteDuration()
                                                     : absl::Milliseconds(2)));
    while (!active.called()) {
      ASSERT_FALSE(ReadFromPeer(*channel.peer, 100'000).bytes.empty());
    }
    ASSERT_EQ(active.last().status, IoStatus::kOk);
    ASSERT_TRUE(RunUntil(queued));
    EXPECT_EQ(queued.last().status, IoStatus::kTimeout);
  }
}

// ---- User-info.

TEST_P(TimeoutTest, Line26_UserInfoOfAWriteIsWhatThePendingReadSees) {
  Channel channel = MakeChannel({.user_info = std::string("initial")});
  char byte;
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                      {.user_info = std::string("of read")}));
  EXPECT_EQ(std::any_cast<std::string>(channel.state->user_info()), "of read");
  ASSERT_OK(channel.state->WriteBuffer("x", write.Callback(),
                                       {.user_info = std::string("of write")}));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().user_info, "of write");
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().user_info, "of write");
  // It stays there.
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->WriteBuffer("y", next.Callback()));
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().user_info, "of write");
}

TEST_P(TimeoutTest, Line26_UserInfoIsKeptWhenNoneIsGivenAndMayBeEmptied) {
  Channel channel = MakeChannel({.user_info = std::string("initial")});
  AsyncIoState& state = *channel.state;
  Recorder ignored(*this, "ignored", Recorder::kRepeating);
  ASSERT_OK(state.WaitForInput(ignored.Callback()));
  EXPECT_EQ(std::any_cast<std::string>(state.user_info()), "initial");
  // An empty value is a value.
  ASSERT_OK(
      state.WriteBuffer("x", ignored.Callback(), {.user_info = std::any()}));
  EXPECT_FALSE(state.user_info().has_value());
  state.set_user_info(17);
  EXPECT_EQ(std::any_cast<int>(state.user_info()), 17);
  std::any_cast<int&>(state.user_info()) = 18;
  EXPECT_EQ(std::any_cast<int>(state.user_info()), 18);
  state.Close();
  EXPECT_EQ(std::any_cast<int>(state.user_info()), 18) << "after close, too";
}

}  // namespace
}  // namespace aios::test
