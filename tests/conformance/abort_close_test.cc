// Conformance of abort, close and shutdown: lines 27-32 of the checklist.

#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

class AbortCloseTest : public ConformanceTest {
 protected:
  // Leaves `bytes` in the input buffer of the state, by a ReadWithChecking.
  void LeaveInBuffer(Channel& channel, std::string_view bytes) {
    Recorder leave(*this, "leave", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(
        leave.Callback([&](AsyncIoState& state, const IoResult& result) {
          if (result.count >= bytes.size()) {
            EXPECT_OK(state.Finish());
          }
        })));
    channel.peer->Send(bytes);
    ASSERT_TRUE(RunUntil(
        [&] { return leave.called() && leave.last().count >= bytes.size(); }));
  }
};

INSTANTIATE_TEST_SUITE_P(All, AbortCloseTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// ---- Abort.

TEST_P(AbortCloseTest, Line27_AbortReplacesTheCallbacksOfAnActiveRead) {
  Channel channel = MakeChannel();
  std::string buffer(8, '.');
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer(
      buffer, read.Callback(), {.error_callback = read.ErrorCallback()}));
  channel.peer->Send("abc");
  RunFor(absl::Milliseconds(2));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  EXPECT_FALSE(abort.called()) << "never inside the call";
  ASSERT_TRUE(RunUntil(abort));
  const Call& call = abort.last();
  EXPECT_EQ(call.state, channel.state.get());
  EXPECT_TRUE(call.interrupted);
  EXPECT_EQ(call.status, IoStatus::kAborted);
  EXPECT_EQ(call.read_status, IoStatus::kAborted);
  EXPECT_EQ(call.write_status, IoStatus::kOk);
  EXPECT_TRUE(call.error.ok());
  EXPECT_EQ(call.count, 3u) << "what its callback would have got";
  EXPECT_EQ(call.data, "abc");
  channel.peer->Send("defghijk");
  RunFor();
  EXPECT_FALSE(read.called());
  EXPECT_EQ(read.callbacks_alive(), 0);
  EXPECT_EQ(buffer, "abc.....") << "no I/O after the abort";
  // The state stays usable, and the stream is whole.
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->ReadBuffer(buffer, next.Callback()));
  EXPECT_EQ(channel.state->read_status(), IoStatus::kOk);
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(buffer, "defghijk");
}

TEST_P(AbortCloseTest, Line27_AbortOfAReadThatNeverStartedToReceive) {
  // Before the loop has had a turn.
  Channel channel = MakeChannel();
  channel.peer->Send("abcd");
  char buffer[4];
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().count, 0u);
  EXPECT_FALSE(read.called());
}

TEST_P(AbortCloseTest, AbortOfACompletedReadWhoseCallbackHasNotRun) {
  // Bytes in the input buffer complete a read at its start.
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "abcdef");
  std::string buffer(4, '.');
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().status, IoStatus::kAborted);
  EXPECT_EQ(abort.last().count, 4u) << "its full count is here, not lost";
  EXPECT_EQ(abort.last().data, "abcd");
  EXPECT_FALSE(read.called());
  EXPECT_EQ(channel.state->BufferedDataLength(), 2u);
}

TEST_P(AbortCloseTest, AbortOfTheReceiveKeepsTheSendersAddress) {
  // Two states whose datagrams come in one turn: the first callback aborts the
  // other's receive, which may have completed.
  std::unique_ptr<AsyncIoState> a = MakeUdp(Family::kIpv4, "a");
  std::unique_ptr<AsyncIoState> b = MakeUdp(Family::kIpv4, "b");
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  char buffers[2][16];
  Recorder receive(*this, "one of the two");
  Recorder abort(*this, "abort");
  auto start = [&](AsyncIoState& state, AsyncIoState& other,
                   char(&buffer)[16]) {
    ASSERT_OK(state.ReceiveMessage(
        buffer, receive.Callback([&](AsyncIoState&, const IoResult&) {
          EXPECT_OK(other.Abort(abort.Callback()));
        }),
        {.needs_address = true}));
  };
  start(*a, *b, buffers[0]);
  start(*b, *a, buffers[1]);
  EXPECT_TRUE(peer->SendTo(*a->address(), "datagram").ok());
  EXPECT_TRUE(peer->SendTo(*b->address(), "datagram").ok());
  RunFor(absl::Milliseconds(2));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  if (abort.last().count != 0) {
    EXPECT_EQ(abort.last().data, "datagram");
    EXPECT_EQ(abort.last().sender, peer->address());
  } else {
    EXPECT_EQ(abort.last().sender, std::nullopt);
  }
}

TEST_P(AbortCloseTest, Line28_AbortWithoutOperationHasNoDetails) {
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    Channel channel = MakeChannel();
    Recorder abort(*this, "abort");
    ASSERT_OK(channel.state->Abort(abort.Callback(), direction));
    EXPECT_FALSE(abort.called());
    ASSERT_TRUE(RunUntil(abort));
    EXPECT_FALSE(abort.last().interrupted);
    EXPECT_EQ(abort.last().status, IoStatus::kOk);
    EXPECT_EQ(abort.last().count, 0u);
    EXPECT_EQ(abort.last().data, "");
    EXPECT_EQ(channel.state->read_status(), IoStatus::kOk) << "unchanged";
    EXPECT_EQ(channel.state->write_status(), IoStatus::kOk);
  }
}

TEST_P(AbortCloseTest, Line28_AbortWithoutOperationLeavesTheStatus) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                      {.timeout = absl::Milliseconds(1)}));
  ASSERT_TRUE(RunUntil(read));
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_EQ(channel.state->read_status(), IoStatus::kTimeout);
}

TEST_P(AbortCloseTest, AbortOfTheOtherDirectionDisturbsNothing) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kOutput));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_FALSE(abort.last().interrupted);
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kOk);
}

TEST_P(AbortCloseTest, DirectionIsFreeAsSoonAsTheAbortIsInEffect) {
  // The next operation and the abort's callback do not get mixed up.
  Channel channel = MakeChannel();
  AsyncIoState& state = *channel.state;
  std::string buffer(4, '.');
  std::string next_buffer(4, '.');
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  Recorder abort_read(*this, "abort read");
  Recorder abort_write(*this, "abort write");
  Recorder next_read(*this, "next read");
  Recorder next_write(*this, "next write");
  ASSERT_OK(state.ReadBuffer(buffer, read.Callback(),
                             {.error_callback = read.ErrorCallback()}));
  ASSERT_OK(state.WriteBuffer("one", write.Callback()));
  ASSERT_OK(state.Abort(abort_read.Callback()));
  ASSERT_OK(state.Abort(abort_write.Callback(), Direction::kOutput));
  ASSERT_OK(state.ReadBuffer(next_buffer, next_read.Callback()));
  ASSERT_OK(state.WriteBuffer("two", next_write.Callback()));
  channel.peer->Send("next");
  ASSERT_TRUE(RunUntil(next_read));
  ASSERT_TRUE(RunUntil(next_write));
  EXPECT_EQ(abort_read.last().count, 0u);
  EXPECT_TRUE(abort_read.last().interrupted);
  EXPECT_TRUE(abort_write.last().interrupted);
  EXPECT_EQ(abort_write.last().count, 0u);
  EXPECT_FALSE(read.called());
  EXPECT_FALSE(write.called());
  EXPECT_EQ(buffer, "....");
  EXPECT_EQ(next_buffer, "next");
  EXPECT_EQ(next_read.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.peer->ReceiveExactly(3), "two")
      << "nothing is written of the aborted one";
}

TEST_P(AbortCloseTest, BytesOfTheNextOperationAreNotTheAborts) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "abc");
  AsyncIoState& state = *channel.state;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  Recorder next(*this, "next", Recorder::kRepeating);
  ASSERT_OK(state.ReadWithChecking(read.Callback()));
  ASSERT_OK(state.Abort(abort.Callback([](AsyncIoState& state,
                                          const IoResult& result) {
    EXPECT_EQ(result.data, "");
    EXPECT_TRUE(IsRefusal(state.Discard(1),
                          absl::StatusCode::kFailedPrecondition, {"Discard"}));
  })));
  ASSERT_OK(state.ReadWithChecking(next.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().data, "abc");
  EXPECT_FALSE(read.called());
}

TEST_P(AbortCloseTest, SecondAbortFindsNothingAndIsCalledAfterTheFirst) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->Abort(first.Callback()));
  ASSERT_OK(channel.state->Abort(second.Callback()));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_TRUE(first.last().interrupted);
  EXPECT_FALSE(second.last().interrupted);
  EXPECT_EQ(order(),
            (std::vector<std::string>{"first:callback", "second:callback"}));
}

TEST_P(AbortCloseTest, Line29_AbortInsideACallbackTakesEffectAfterIt) {
  Channel channel = MakeChannel();
  char buffer[4];
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer(
      {buffer, 1}, first.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.Abort(abort.Callback()));
        // It is on what is in progress when this callback has returned.
        EXPECT_OK(state.ReadBuffer(buffer, second.Callback()));
        EXPECT_EQ(state.read_status(), IoStatus::kOk) << "not aborted yet";
      })));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().count, 0u);
  channel.peer->Send("abcd");
  RunFor();
  EXPECT_FALSE(second.called());
  EXPECT_EQ(order(),
            (std::vector<std::string>{"first:callback", "abort:callback"}));
}

TEST_P(AbortCloseTest, Line29_AbortInsideACheckingCallbackEndsThatRead) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  Recorder abort(*this, "abort");
  size_t calls = 0;
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < 3) return;
        calls = read.calls().size();
        EXPECT_OK(state.Abort(abort.Callback()));
        // Still a legal place.
        EXPECT_EQ(state.Discard(1).value(), 2u);
      })));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().data, "bc");
  channel.peer->Send("d");
  RunFor();
  EXPECT_EQ(read.calls().size(), calls);
  EXPECT_EQ(read.callbacks_alive(), 0);
}

TEST_P(AbortCloseTest, Line29_AbortInsideACallbackAfterFinishFindsNothing) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < 3) return;
        EXPECT_OK(state.Abort(abort.Callback()));
        EXPECT_OK(state.Finish());
      })));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_FALSE(abort.last().interrupted);
  EXPECT_EQ(channel.state->BufferedDataLength(), 3u);
}

TEST_P(AbortCloseTest, Line29_AbortInsideACallbackOfAnotherStateIsAtOnce) {
  Channel channel = MakeChannel();
  Channel other = MakeChannel();
  char bytes[2];
  Recorder read(*this, "read");
  Recorder trigger(*this, "trigger");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer({&bytes[0], 1}, read.Callback()));
  ASSERT_OK(other.state->ReadBuffer(
      {&bytes[1], 1}, trigger.Callback([&](AsyncIoState&, const IoResult&) {
        EXPECT_OK(channel.state->Abort(abort.Callback()));
        EXPECT_EQ(channel.state->read_status(), IoStatus::kAborted);
      })));
  other.peer->Send("x");
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  channel.peer->Send("x");
  RunFor();
  EXPECT_FALSE(read.called());
}

TEST_P(AbortCloseTest, Line30_AbortCallbackRestartsReadingNothingIsLost) {
  for (size_t discarded : {size_t{0}, size_t{2}, size_t{3}}) {
    SCOPED_TRACE(discarded);
    Channel channel = MakeChannel();
    Recorder read(*this, "checking", Recorder::kRepeating);
    Recorder abort(*this, "abort");
    Recorder again(*this, "again", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
    channel.peer->Send("abc");
    ASSERT_TRUE(
        RunUntil([&] { return read.called() && read.last().count == 3; }));
    ASSERT_OK(channel.state->Abort(
        abort.Callback([&](AsyncIoState& state, const IoResult& result) {
          EXPECT_EQ(result.count, 3u);
          EXPECT_EQ(result.data, "abc");
          if (discarded != 0) {
            EXPECT_EQ(state.Discard(discarded).value(), 3 - discarded);
          }
          EXPECT_OK(state.ReadWithChecking(again.Callback()));
        })));
    ASSERT_TRUE(RunUntil(abort));
    channel.peer->Send("def");
    const std::string rest = std::string("abcdef").substr(discarded);
    ASSERT_TRUE(RunUntil(
        [&] { return again.called() && again.last().count == rest.size(); }));
    EXPECT_EQ(again.last().data, rest);
    EXPECT_EQ(again.calls()[0].old_length, 0u);
    EXPECT_EQ(read.calls().back().status, IoStatus::kOk);
  }
}

TEST_P(AbortCloseTest, Line30_DiscardInTheAbortCallbackOfAnotherKindIsRefused) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback([](AsyncIoState& state,
                                                   const IoResult&) {
    EXPECT_TRUE(IsRefusal(state.Discard(0),
                          absl::StatusCode::kFailedPrecondition, {"Discard"}));
  })));
  ASSERT_TRUE(RunUntil(abort));
}

TEST_P(AbortCloseTest,
       Line31_AbortOfBothDirectionsIsOneCallbackWithoutDetails) {
  for (bool checking : {false, true}) {
    SCOPED_TRACE(checking);
    Channel channel = MakeChannel();
    char buffer[8];
    Recorder read(*this, "read", Recorder::kRepeating);
    Recorder write(*this, "write");
    Recorder abort(*this, "abort");
    if (checking) {
      ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
    } else {
      ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
    }
    ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
    channel.peer->Send("abc");
    RunFor(absl::Milliseconds(2));
    size_t calls = read.calls().size();
    ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kIo));
    ASSERT_TRUE(RunUntil(abort));
    EXPECT_TRUE(abort.last().interrupted);
    EXPECT_EQ(abort.last().count, 0u);
    EXPECT_EQ(abort.last().data, "");
    EXPECT_EQ(abort.last().read_status, IoStatus::kAborted);
    EXPECT_EQ(abort.last().write_status, IoStatus::kAborted);
    channel.peer->Send("defghijk");
    RunFor();
    EXPECT_EQ(read.calls().size(), calls);
    EXPECT_FALSE(write.called());
    EXPECT_EQ(read.callbacks_alive() + write.callbacks_alive(), 0);
  }
}

TEST_P(AbortCloseTest, AbortOfOutputGivesWhatWasWritten) {
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
  RunFor();
  ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kOutput));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().status, IoStatus::kAborted);
  size_t written = abort.last().count;
  EXPECT_GT(written, 0u);
  EXPECT_LT(written, EndlessData().size());
  EXPECT_FALSE(write.called());
  PeerRead read = ReadFromPeer(*channel.peer, written);
  EXPECT_TRUE(read.bytes == EndlessData().substr(0, written));
  RunFor();
  char byte;
  EXPECT_EQ(channel.peer->TryReceive({&byte, 1}).error, Error(EAGAIN))
      << "nothing is written after the abort";
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->WriteBuffer("next", next.Callback()));
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(channel.peer->ReceiveExactly(4), "next");
}

TEST_P(AbortCloseTest, QueuedWritesEndByTheirCallbacksBeforeTheAborts) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), active.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(
      "second", second.Callback(), {.error_callback = second.ErrorCallback()}));
  ASSERT_OK(channel.state->WriteBuffer("third", third.Callback()));
  RunFor();
  ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kOutput));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_EQ(order(),
            (std::vector<std::string>{"second:callback", "third:callback",
                                      "abort:callback"}));
  for (Recorder* queued : {&second, &third}) {
    EXPECT_EQ(queued->last().status, IoStatus::kAborted);
    EXPECT_EQ(queued->last().count, 0u);
    EXPECT_FALSE(queued->last().interrupted);
  }
  EXPECT_FALSE(active.called());
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
  EXPECT_EQ(channel.state->output_queue_bytes(), 0u);
  size_t written = abort.last().count;
  PeerRead read = ReadFromPeer(*channel.peer, written);
  RunFor();
  char byte;
  EXPECT_EQ(channel.peer->TryReceive({&byte, 1}).error, Error(EAGAIN));
}

TEST_P(AbortCloseTest, AbortInAWriteCallbackAmongWritesThatHaveCompleted) {
  // The three leave in one gathering call, so all have completed when the first
  // callback runs; where they have not, the later ones are aborted with what
  // was written of them.
  Channel channel = MakeChannel({.queue_output = true});
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->WriteBuffer(
      "first", first.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.Abort(abort.Callback(), Direction::kOutput));
      })));
  ASSERT_OK(channel.state->WriteBuffer("second", second.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("third", third.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_EQ(order(), (std::vector<std::string>{
                         "first:callback", "third:callback", "abort:callback"}))
      << "the oldest of those whose callback had not run is the interrupted "
         "one";
  EXPECT_FALSE(second.called());
  EXPECT_EQ(abort.last().status, IoStatus::kAborted);
  size_t written = 5 + abort.last().count + third.last().count;
  if (third.last().status == IoStatus::kOk) {
    EXPECT_EQ(third.last().count, 5u);
    EXPECT_EQ(abort.last().count, 6u);
  } else {
    EXPECT_EQ(third.last().status, IoStatus::kAborted);
  }
  EXPECT_EQ(channel.peer->ReceiveExactly(written),
            std::string("firstsecondthird").substr(0, written));
  RunFor();
  char byte;
  EXPECT_EQ(channel.peer->TryReceive({&byte, 1}).error, Error(EAGAIN));
}

TEST_P(AbortCloseTest, AbortStopsTheTimeout) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback(),
                                      {.timeout = absl::Milliseconds(3)}));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  ASSERT_TRUE(RunUntil(abort));
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, next.Callback(),
                                      {.timeout = absl::InfiniteDuration()}));
  RunFor(absl::Milliseconds(6));
  EXPECT_FALSE(next.called());
}

TEST_P(AbortCloseTest, AbortCallbackMayDestroyTheState) {
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    Channel channel = MakeChannel({.queue_output = true});
    Recorder read(*this, "read");
    Recorder write(*this, "write", Recorder::kRepeating);
    Recorder abort(*this, "abort");
    ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
    ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
    ASSERT_OK(channel.state->WriteBuffer("queued", write.Callback()));
    ASSERT_OK(channel.state->Abort(
        abort.Callback(
            [&](AsyncIoState&, const IoResult&) { channel.state.reset(); }),
        direction));
    ASSERT_TRUE(RunUntil(abort));
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(read.called());
    EXPECT_EQ(collection().size(), 0u);
  }
}

TEST_P(AbortCloseTest, CloseBeforeTheAbortCallbackEndsItSilently) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  channel.state->Close();
  RunFor();
  EXPECT_FALSE(read.called());
  EXPECT_FALSE(abort.called());
  EXPECT_EQ(read.callbacks_alive() + abort.callbacks_alive(), 0);
}

// ---- AbortAndClose.

TEST_P(AbortCloseTest, Line32_CloseCallbackOnceWhenTheSocketIsClosed) {
  Channel channel = MakeChannel({.queue_output = true});
  char byte;
  Recorder read(*this, "read");
  Recorder write(*this, "write", Recorder::kRepeating);
  Recorder close(*this, "close");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("written", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("queued", write.Callback()));
  RunFor(absl::Milliseconds(1));
  ASSERT_OK(channel.state->AbortAndClose(
      {.close_callback =
           close.CloseCallback([&](AsyncIoState& state, const IoResult&) {
             EXPECT_EQ(&state, channel.state.get());
             EXPECT_TRUE(state.closed());
             EXPECT_EQ(state.handle(), kNoHandle);
             EXPECT_EQ(state.collection(), nullptr);
             EXPECT_EQ(collection().size(), 0u);
             // There is a FIN behind what was written.
             PeerRead read = channel.peer->ReceiveAll();
             EXPECT_TRUE(read.end);
             EXPECT_EQ(read.bytes.substr(0, 7), "written");
           })}));
  EXPECT_FALSE(channel.state->closed()) << "nothing happens inside the call";
  EXPECT_FALSE(close.called());
  ASSERT_TRUE(RunUntil(close));
  RunFor();
  EXPECT_EQ(close.calls().size(), 1u);
  EXPECT_FALSE(read.called());
  EXPECT_EQ(write.calls().size(), 1u);
  EXPECT_EQ(read.callbacks_alive() + write.callbacks_alive(), 0);
}

TEST_P(AbortCloseTest, Line32_AbortAndCloseKeepingTheSocket) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "left");
  Handle handle = channel.state->handle();
  Recorder read(*this, "read");
  Recorder close(*this, "close");
  Recorder checking(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->AbortAndClose(
      {.close_callback = close.CloseCallback(), .keep_alive = true}));
  ASSERT_TRUE(RunUntil(close));
  EXPECT_TRUE(channel.state->closed());
  char out[8];
  EXPECT_EQ(channel.state->GetBufferedData(out).value(), 4u);
  EXPECT_EQ(world().DirectSend(handle, "alive").count, 5u);
  EXPECT_EQ(channel.peer->ReceiveExactly(5), "alive");
  world().DirectClose(handle);
  EXPECT_TRUE(channel.peer->ReceiveAll().end);
}

TEST_P(AbortCloseTest, Line32_AbortAndCloseWithoutCallbackOrOperation) {
  Channel channel = MakeChannel();
  ASSERT_OK(channel.state->AbortAndClose());
  EXPECT_TRUE(RunUntil([&] { return channel.state->closed(); }));
  EXPECT_TRUE(IsRefusal(channel.state->AbortAndClose(),
                        absl::StatusCode::kFailedPrecondition,
                        {"channel", "AbortAndClose", "closed"}));
}

TEST_P(AbortCloseTest, CloseCallbackMayDestroyTheState) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder close(*this, "close");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->AbortAndClose(
      {.close_callback = close.CloseCallback(
           [&](AsyncIoState&, const IoResult&) { channel.state.reset(); })}));
  ASSERT_TRUE(RunUntil(close));
  EXPECT_EQ(close.callbacks_alive(), 0);
  EXPECT_FALSE(read.called());
}

TEST_P(AbortCloseTest, CloseCallbackMayOwnTheState) {
  // The usual way to let a state go when it is closed.
  Channel channel = MakeChannel();
  AsyncIoState* state = channel.state.get();
  bool closed = false;
  auto token = std::make_shared<int>();
  ASSERT_OK(state->AbortAndClose(
      {.close_callback = [owned = std::move(channel.state), &closed,
                          token](AsyncIoState& state) {
        EXPECT_EQ(&state, owned.get());
        closed = true;
      }}));
  ASSERT_TRUE(RunUntil([&] { return closed; }));
  RunFor(absl::Milliseconds(1));
  EXPECT_EQ(token.use_count(), 1);
}

TEST_P(AbortCloseTest, AbortThenAbortAndCloseCallBackInThatOrder) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  Recorder abort(*this, "abort");
  Recorder close(*this, "close");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  ASSERT_OK(
      channel.state->AbortAndClose({.close_callback = close.CloseCallback()}));
  ASSERT_TRUE(RunUntil(close));
  EXPECT_EQ(order(), (std::vector<std::string>{"abort:callback",
                                               "close:close_callback"}));
}

TEST_P(AbortCloseTest, CloseBeforeAbortAndCloseTookEffectEndsItSilently) {
  for (bool destroy : {false, true}) {
    Channel channel = MakeChannel();
    Recorder close(*this, "close");
    ASSERT_OK(channel.state->AbortAndClose(
        {.close_callback = close.CloseCallback()}));
    if (destroy) {
      channel.state.reset();
    } else {
      channel.state->Close();
    }
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(close.called());
    EXPECT_EQ(close.callbacks_alive(), 0);
  }
}

// ---- Shutdown.

TEST_P(AbortCloseTest, ShutdownOfOutputEndsThePeersStreamOnly) {
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->WriteBuffer("bye", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  Recorder shutdown(*this, "shutdown");
  absl::StatusOr<bool> done = channel.state->Shutdown(
      Direction::kOutput, {.callback = shutdown.Callback()});
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  EXPECT_FALSE(shutdown.called()) << "posted";
  PeerRead read = channel.peer->ReceiveAll();
  EXPECT_TRUE(read.end);
  EXPECT_EQ(read.bytes, "bye");
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_EQ(shutdown.last().status, IoStatus::kOk);
  // The other direction is open.
  char buffer[4];
  Recorder input(*this, "input");
  ASSERT_OK(channel.state->ReadBuffer(buffer, input.Callback()));
  channel.peer->Send("more");
  ASSERT_TRUE(RunUntil(input));
  EXPECT_EQ(input.last().data, "more");
}

// A last answer and the end of the stream, in one go.
TEST_P(AbortCloseTest, WritesStartedBeforeAShutdownOfOutputAreSent) {
  for (bool in_callback : {false, true}) {
    SCOPED_TRACE(in_callback);
    Channel channel = MakeChannel({.queue_output = true});
    Recorder first(*this, "first");
    Recorder second(*this, "second");
    auto answer = [&](AsyncIoState& state) {
      ASSERT_OK(state.WriteBuffer("good", first.Callback()));
      ASSERT_OK(state.WriteBuffer("bye", second.Callback()));
      absl::StatusOr<bool> done = state.Shutdown(Direction::kOutput);
      ASSERT_OK(done);
      EXPECT_TRUE(*done);
      EXPECT_FALSE(first.called()) << "not within the call";
    };
    if (in_callback) {
      ASSERT_OK(channel.state->ReadWithChecking(
          [&](AsyncIoState& state, const IoResult& result) {
            ASSERT_OK(state.Finish(result.count));
            answer(state);
          }));
      channel.peer->Send("request");
    } else {
      answer(*channel.state);
    }
    ASSERT_TRUE(RunUntil(second));
    EXPECT_EQ(first.last().status, IoStatus::kOk);
    EXPECT_EQ(second.last().status, IoStatus::kOk);
    PeerRead read = ReadFromPeer(*channel.peer);
    EXPECT_TRUE(read.end);
    EXPECT_EQ(read.bytes, "goodbye");
  }
}

TEST_P(AbortCloseTest, ShutdownOfOutputFailsWhatTheSystemHasNoRoomFor) {
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
  ASSERT_OK(channel.state->Shutdown(Direction::kOutput));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kError);
  EXPECT_EQ(write.last().error, Error(EPIPE));
  PeerRead read = ReadFromPeer(*channel.peer);
  EXPECT_TRUE(read.end);
  EXPECT_EQ(read.bytes.size(), write.last().count);
}

TEST_P(AbortCloseTest, ShutdownOfInputWithoutAbortLetsTheReadEndByItself) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this, "read");
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  RunFor(absl::Milliseconds(1));
  absl::StatusOr<bool> done = channel.state->Shutdown(Direction::kInput);
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kEof);
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->WriteBuffer("out", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
}

TEST_P(AbortCloseTest, ShutdownWithAbortEndsTheOperationFirst) {
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    SCOPED_TRACE(static_cast<int>(direction));
    Channel channel = MakeChannel();
    char byte;
    Recorder read(*this, "read");
    Recorder write(*this, "write");
    Recorder shutdown(*this, "shutdown");
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
    ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
    RunFor(absl::Milliseconds(1));
    absl::StatusOr<bool> done = channel.state->Shutdown(
        direction, {.abort = true, .callback = shutdown.Callback()});
    ASSERT_OK(done);
    EXPECT_FALSE(*done) << "the result comes by the callback";
    ASSERT_TRUE(RunUntil(shutdown));
    EXPECT_EQ(shutdown.last().status, IoStatus::kOk);
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(read.called() && direction != Direction::kOutput);
    EXPECT_FALSE(write.called());
    if (direction == Direction::kInput) {
      Recorder next(*this, "next");
      ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, next.Callback()));
      ASSERT_TRUE(RunUntil(next));
      EXPECT_EQ(next.last().status, IoStatus::kEof);
    } else {
      // Everything that was written arrives, then the end.
      PeerRead got = ReadFromPeer(*channel.peer);
      EXPECT_TRUE(got.end);
      EXPECT_TRUE(got.bytes == EndlessData().substr(0, got.bytes.size()));
    }
  }
}

// The shutdown comes after the abort, and sends what was started in between.
TEST_P(AbortCloseTest, ShutdownWithAbortCallsBackAfterTheWritesThatItSends) {
  Channel channel = MakeChannel();
  Recorder aborted(*this, "aborted");
  Recorder sent(*this, "sent");
  Recorder shutdown(*this, "shutdown");
  ASSERT_OK(channel.state->WriteBuffer("aborted", aborted.Callback()));
  absl::StatusOr<bool> done = channel.state->Shutdown(
      Direction::kOutput,
      {.abort = true,
       .callback = shutdown.Callback([&](AsyncIoState&, const IoResult&) {
         EXPECT_TRUE(sent.called());
       })});
  ASSERT_OK(done);
  EXPECT_FALSE(*done);
  ASSERT_OK(channel.state->WriteBuffer("sent", sent.Callback()));
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_EQ(shutdown.last().status, IoStatus::kOk);
  EXPECT_EQ(sent.last().status, IoStatus::kOk);
  EXPECT_FALSE(aborted.called());
  PeerRead got = ReadFromPeer(*channel.peer);
  EXPECT_TRUE(got.end);
  EXPECT_EQ(got.bytes, "sent");
}

TEST_P(AbortCloseTest, ShutdownWithAbortOfAnIdleStateIsSynchronous) {
  Channel channel = MakeChannel();
  Recorder shutdown(*this, "shutdown");
  absl::StatusOr<bool> done = channel.state->Shutdown(
      Direction::kIo, {.abort = true, .callback = shutdown.Callback()});
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  EXPECT_TRUE(channel.peer->ReceiveAll().end);
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_EQ(shutdown.last().status, IoStatus::kOk);
}

TEST_P(AbortCloseTest, ShutdownThatFailsGivesTheKernelsError) {
  if (!world().personality().shutdown_needs_a_peer) {
    GTEST_SKIP() << "no shutdown fails on this system";
  }
  Handle handle = world().RawSocket(SocketType::kStream, Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), handle, {.name = "loose"});
  ASSERT_OK(state);
  Recorder shutdown(*this, "shutdown");
  EXPECT_TRUE(IsRefusal(
      (*state)->Shutdown(Direction::kOutput, {.callback = shutdown.Callback()}),
      Error(ENOTCONN).ToStatus().code(), {"loose", "Shutdown", "ENOTCONN"}));
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_EQ(shutdown.last().status, IoStatus::kError);
  EXPECT_EQ(shutdown.last().error, Error(ENOTCONN));
}

TEST_P(AbortCloseTest, ShutdownCallbackMayDestroyTheState) {
  for (bool abort : {false, true}) {
    Channel channel = MakeChannel();
    char byte;
    Recorder read(*this, "read");
    Recorder shutdown(*this, "shutdown");
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
    ASSERT_OK(channel.state->Shutdown(
        abort ? Direction::kIo : Direction::kOutput,
        {.abort = abort,
         .callback = shutdown.Callback(
             [&](AsyncIoState&, const IoResult&) { channel.state.reset(); })}));
    ASSERT_TRUE(RunUntil(shutdown));
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(read.called());
    EXPECT_EQ(read.callbacks_alive() + shutdown.callbacks_alive(), 0);
    EXPECT_EQ(collection().size(), 0u);
  }
}

TEST_P(AbortCloseTest, ShutdownInACallbackOfTheStateWithAbort) {
  // The read that the callback has just started is what is in progress then.
  Channel channel = MakeChannel();
  char bytes[2];
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  Recorder shutdown(*this, "shutdown");
  ASSERT_OK(channel.state->ReadBuffer(
      {&bytes[0], 1}, first.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.ReadBuffer({&bytes[1], 1}, second.Callback()));
        absl::StatusOr<bool> done =
            state.Shutdown(Direction::kInput,
                           {.abort = true, .callback = shutdown.Callback()});
        ASSERT_OK(done);
        EXPECT_FALSE(*done);
      })));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_FALSE(second.called());
}

// ---- In functions that `Apply` posted. What ends operations everywhere else
// is in the table of tests/ending.

TEST_P(AbortCloseTest, OperationsStartedAndEndedInAnAppliedFunction) {
  Channel aborted = MakeChannel();
  Channel closed = MakeChannel();
  Channel destroyed = MakeChannel();
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  Recorder none(*this, "none");
  Recorder abort(*this, "abort");
  char buffer[1];
  InLoop([&] {
    for (Channel* channel : {&aborted, &closed, &destroyed}) {
      channel->peer->Send("x");
      EXPECT_OK(channel->state->ReadBuffer(buffer, none.Callback()));
      EXPECT_OK(channel->state->WriteBuffer("x", none.Callback()));
    }
    EXPECT_OK(aborted.state->Abort(abort.Callback(), Direction::kIo));
    closed.state->Close();
    destroyed.state.reset();
    EXPECT_FALSE(abort.called()) << "posted";
  });
  ASSERT_TRUE(RunUntil(abort));
  RunFor(absl::Milliseconds(1));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_FALSE(none.called());
  EXPECT_EQ(none.callbacks_alive(), 0);
  // Nothing of the aborted write has left.
  ASSERT_OK(aborted.state->WriteBuffer("y", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(aborted.peer->ReceiveExactly(1), "y");
  char byte;
  ASSERT_OK(aborted.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(byte, 'x') << "and nothing of the input is lost";
}

}  // namespace
}  // namespace aios::test
