// Conformance of the output side of a state: lines 20-23 of the checklist, the
// output queue and its limits.

#include <algorithm>
#include <any>
#include <cerrno>
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

class WritingTest : public ConformanceTest {
 protected:
  // Starts a write that does not end until the peer reads a lot, and lets it
  // fill the buffers on the way.
  void Stall(AsyncIoState& state, Recorder& write) {
    ASSERT_OK(state.WriteBuffer(EndlessData(), write.Callback()));
    RunFor();
    ASSERT_FALSE(write.called());
  }
};

INSTANTIATE_TEST_SUITE_P(All, WritingTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(WritingTest, WriteBufferWritesItsRangeAlone) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    Recorder write(*this);
    const std::string data = "0123456789";
    ASSERT_OK(channel.state->WriteBuffer(data, write.Callback(),
                                         {.start = 2, .end = 7}));
    EXPECT_FALSE(write.called());
    ASSERT_TRUE(RunUntil(write));
    EXPECT_EQ(write.last().callback, "callback");
    EXPECT_EQ(write.last().status, IoStatus::kOk);
    EXPECT_EQ(write.last().count, 5u);
    EXPECT_EQ(write.last().state, channel.state.get());
    EXPECT_EQ(channel.state->write_status(), IoStatus::kOk);
    EXPECT_EQ(channel.peer->ReceiveExactly(5), "23456");
    EXPECT_EQ(write.callbacks_alive(), 0);
  }
}

TEST_P(WritingTest, Line20_MegabytesAgainstASlowReaderAreWrittenCompletely) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    const std::string data = Pattern(12'000'000);
    Recorder write(*this);
    ASSERT_OK(channel.state->WriteBuffer(data, write.Callback()));
    PeerRead read;
    std::string buffer(100'000, '\0');
    // The reader takes a sip now and then, and not before the buffers are full.
    RunFor(absl::Milliseconds(2));
    EXPECT_FALSE(write.called());
    ASSERT_TRUE(RunUntil(
        [&] {
          Transfer transfer = channel.peer->TryReceive(buffer);
          if (transfer.error.ok()) {
            read.bytes.append(buffer, 0, transfer.count);
          } else {
            Turn(absl::Milliseconds(1));
          }
          return read.bytes.size() >= data.size();
        },
        absl::ZeroDuration()));
    ASSERT_TRUE(RunUntil(write));
    EXPECT_EQ(write.last().status, IoStatus::kOk);
    EXPECT_EQ(write.last().count, data.size());
    EXPECT_TRUE(read.bytes == data);
  }
}

TEST_P(WritingTest, Line21_OverlapWithoutQueueIsRefusedTheFirstUnaffected) {
  Channel channel = MakeChannel({.write_timeout = absl::Seconds(60),
                                 .user_info = std::string("before"),
                                 .name = "narrow"});
  const std::string data = Pattern(3'000'000);
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->WriteBuffer(data, first.Callback()));
  EXPECT_TRUE(IsRefusal(
      channel.state->WriteBuffer("overlap", second.Callback(),
                                 {.timeout = absl::Seconds(1),
                                  .error_callback = second.ErrorCallback(),
                                  .user_info = std::string("after")}),
      absl::StatusCode::kFailedPrecondition, {"narrow", "WriteBuffer"}));
  EXPECT_TRUE(
      IsRefusal(channel.state->SendMessage("overlap", second.Callback()),
                absl::StatusCode::kFailedPrecondition,
                {"narrow", "SendMessage", "WriteBuffer"}));
  EXPECT_EQ(second.callbacks_alive(), 0);
  EXPECT_EQ(channel.state->output_queue_length(), 1u);
  EXPECT_EQ(channel.state->write_timeout(), absl::Seconds(60));
  EXPECT_EQ(std::any_cast<std::string>(channel.state->user_info()), "before");
  PeerRead read = ReadFromPeer(*channel.peer, data.size());
  ASSERT_TRUE(RunUntil(first));
  EXPECT_EQ(first.last().status, IoStatus::kOk);
  EXPECT_TRUE(read.bytes == data);
  EXPECT_FALSE(second.called());
  // When it has ended the next one is welcome.
  Recorder third(*this, "third");
  ASSERT_OK(channel.state->WriteBuffer("third", third.Callback()));
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(channel.peer->ReceiveExactly(5), "third");
}

TEST_P(WritingTest, Line21_OverlapIsRefusedUntilTheCallbackHasRun) {
  // Even when the first was small enough to be written at once.
  Channel channel = MakeChannel();
  Recorder first(*this, "first");
  Recorder next(*this, "next");
  Recorder refused(*this, "refused");
  ASSERT_OK(channel.state->WriteBuffer(
      "one", first.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.WriteBuffer("two", next.Callback()));
      })));
  EXPECT_FALSE(channel.state->WriteBuffer("x", refused.Callback()).ok());
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(channel.peer->ReceiveExactly(6), "onetwo");
}

TEST_P(WritingTest, Line21_QueuedWritesKeepTheirOrderEachCallbackOnce) {
  Channel channel = MakeChannel({.queue_output = true});
  std::vector<Recorder> writes;
  std::vector<std::string> data;
  std::string all;
  std::vector<std::string> order;
  for (int i = 0; i < 40; ++i) {
    // Some that fill the buffers, some of one byte.
    size_t size = i % 10 == 3 ? 1'000'000 : i % 3 == 0 ? 1 : 5000;
    data.push_back(Pattern(size, i));
    all += data.back();
    writes.emplace_back(*this, "write " + std::to_string(i));
    order.push_back("write " + std::to_string(i) + ":callback");
  }
  for (int i = 0; i < 40; ++i) {
    ASSERT_OK(channel.state->WriteBuffer(data[i], writes[i].Callback()));
    EXPECT_EQ(channel.state->output_queue_length(), static_cast<size_t>(i) + 1);
  }
  EXPECT_EQ(channel.state->output_queue_bytes(), all.size());
  PeerRead read = ReadFromPeer(*channel.peer, all.size());
  ASSERT_TRUE(RunUntil(writes.back()));
  EXPECT_TRUE(read.bytes == all);
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(writes[i].last().status, IoStatus::kOk);
    EXPECT_EQ(writes[i].last().count, data[i].size());
  }
  EXPECT_EQ(this->order(), order);
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
  EXPECT_EQ(channel.state->output_queue_bytes(), 0u);
}

TEST_P(WritingTest, WritesStartedInAWriteCallbackGoToTheTail) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder a(*this, "a");
  Recorder b(*this, "b");
  Recorder c(*this, "c");
  ASSERT_OK(channel.state->WriteBuffer(
      "aa", a.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.WriteBuffer("cc", c.Callback()));
      })));
  ASSERT_OK(channel.state->WriteBuffer("bb", b.Callback()));
  ASSERT_TRUE(RunUntil(c));
  EXPECT_EQ(channel.peer->ReceiveExactly(6), "aabbcc");
  EXPECT_EQ(order(), (std::vector<std::string>{"a:callback", "b:callback",
                                               "c:callback"}));
}

TEST_P(WritingTest, ManyWritesEachFromTheCallbackBeforeDoNotRecurse) {
  Channel channel = MakeChannel();
  int written = 0;
  bool running = false;
  std::function<void(AsyncIoState&)> start = [&](AsyncIoState& state) {
    EXPECT_OK(state.WriteBuffer(
        "x", [&](AsyncIoState& state, const IoResult& result) {
          ASSERT_FALSE(running);
          running = true;
          ASSERT_TRUE(result.ok());
          if (++written < 5000) start(state);
          running = false;
        }));
  };
  start(*channel.state);
  ASSERT_TRUE(RunUntil([&] { return written == 5000; }));
  EXPECT_EQ(channel.peer->ReceiveExactly(5000), std::string(5000, 'x'));
}

TEST_P(WritingTest, ReadsGoOnWhileAWriteIsStalled) {
  Channel channel = MakeChannel();
  Recorder write(*this, "write");
  Stall(*channel.state, write);
  for (int i = 0; i < 3; ++i) {
    Recorder read(*this, "read");
    char byte;
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
    channel.peer->Send("x");
    ASSERT_TRUE(RunUntil(read));
    EXPECT_EQ(read.last().status, IoStatus::kOk);
  }
  EXPECT_FALSE(write.called());
}

TEST_P(WritingTest, Line22_WriteTimeoutGivesPartialCountToCallback) {
  Channel channel = MakeChannel();
  Recorder write(*this);
  Nanoseconds start = Now();
  ASSERT_OK(
      channel.state->WriteBuffer(EndlessData(), write.Callback(),
                                 {.timeout = absl::Milliseconds(8),
                                  .error_callback = write.ErrorCallback()}));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_GE(Since(start), absl::Milliseconds(8));
  const Call& call = write.last();
  EXPECT_EQ(call.callback, "callback") << "a timeout is no error";
  EXPECT_EQ(call.status, IoStatus::kTimeout);
  EXPECT_EQ(call.write_status, IoStatus::kTimeout);
  EXPECT_EQ(call.read_status, IoStatus::kOk) << "the other direction";
  EXPECT_TRUE(call.error.ok());
  EXPECT_GT(call.count, 0u);
  EXPECT_LT(call.count, EndlessData().size());
  EXPECT_EQ(write.callbacks_alive(), 0);
  // The peer gets what the count says, and nothing more until there is a new
  // write.
  PeerRead read = ReadFromPeer(*channel.peer, call.count);
  EXPECT_TRUE(read.bytes == EndlessData().substr(0, call.count));
  RunFor();
  char byte;
  EXPECT_EQ(channel.peer->TryReceive({&byte, 1}).error, Error(EAGAIN));
  // The state can be used on, by who knows how to go on in the stream.
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->WriteBuffer("next", next.Callback(),
                                       {.timeout = absl::InfiniteDuration()}));
  EXPECT_EQ(channel.state->write_status(), IoStatus::kOk);
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.peer->ReceiveExactly(4), "next");
}

TEST_P(WritingTest, Line23_ResetDuringAWriteGoesToTheErrorCallback) {
  Channel channel = MakeChannel();
  Recorder write(*this);
  ASSERT_OK(
      channel.state->WriteBuffer(EndlessData(), write.Callback(),
                                 {.error_callback = write.ErrorCallback()}));
  RunFor();
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(write));
  const Call& call = write.last();
  EXPECT_EQ(call.callback, "error_callback");
  EXPECT_EQ(call.status, IoStatus::kError);
  EXPECT_TRUE(call.error == Error(ECONNRESET) || call.error == Error(EPIPE))
      << call.error.Name();
  EXPECT_EQ(call.write_status, IoStatus::kError);
  EXPECT_EQ(channel.state->write_error(), call.error);
  EXPECT_GT(call.count, 0u);
  EXPECT_LT(call.count, EndlessData().size());
  EXPECT_EQ(write.callbacks_alive(), 0);
}

TEST_P(WritingTest, Line23_ResetDuringAWriteGoesToTheCallbackWithoutAnother) {
  Channel channel = MakeChannel();
  Recorder write(*this);
  Stall(*channel.state, write);
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().callback, "callback");
  EXPECT_EQ(write.last().status, IoStatus::kError);
}

TEST_P(WritingTest, ErrorOfAStreamIsSticky) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder write(*this, "write");
  Stall(*channel.state, write);
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(write));
  for (int i = 0; i < 2; ++i) {
    Recorder again(*this, "again");
    ASSERT_OK(channel.state->WriteBuffer(
        "x", again.Callback(), {.error_callback = again.ErrorCallback()}));
    ASSERT_TRUE(RunUntil(again));
    EXPECT_EQ(again.last().callback, "error_callback");
    EXPECT_EQ(again.last().status, IoStatus::kError);
    EXPECT_EQ(again.last().error, write.last().error);
    EXPECT_EQ(again.last().count, 0u);
    EXPECT_EQ(channel.state->write_status(), IoStatus::kError);
  }
}

TEST_P(WritingTest, QueuedWritesBehindAnErrorEndAborted) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  Stall(*channel.state, active);
  ASSERT_OK(channel.state->WriteBuffer(
      "second", second.Callback(), {.error_callback = second.ErrorCallback()}));
  ASSERT_OK(channel.state->WriteBuffer("third", third.Callback()));
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(active.last().status, IoStatus::kError);
  EXPECT_EQ(second.last().callback, "callback") << "aborted is no error";
  for (Recorder* queued : {&second, &third}) {
    EXPECT_EQ(queued->last().status, IoStatus::kAborted);
    EXPECT_EQ(queued->last().count, 0u);
    EXPECT_TRUE(queued->last().error.ok());
  }
  EXPECT_EQ(order(),
            (std::vector<std::string>{"active:callback", "second:callback",
                                      "third:callback"}));
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
  EXPECT_EQ(channel.state->output_queue_bytes(), 0u);
}

TEST_P(WritingTest, QueuedWritesBehindATimeoutEndAbortedAndNothingIsSent) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  Recorder after(*this, "after");
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), active.Callback(),
                                       {.timeout = absl::Milliseconds(5)}));
  ASSERT_OK(channel.state->WriteBuffer("second", second.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(
      "third", third.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.WriteBuffer("after", after.Callback(),
                                    {.timeout = absl::InfiniteDuration()}));
      })));
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(active.last().status, IoStatus::kTimeout);
  EXPECT_EQ(second.last().status, IoStatus::kAborted);
  EXPECT_EQ(second.last().count, 0u);
  EXPECT_EQ(third.last().status, IoStatus::kAborted);
  EXPECT_EQ(third.last().count, 0u);
  size_t sent = active.last().count;
  PeerRead read = ReadFromPeer(*channel.peer, sent + 5);
  EXPECT_EQ(read.bytes.substr(sent), "after");
  ASSERT_TRUE(RunUntil(after));
  EXPECT_EQ(after.last().status, IoStatus::kOk);
  EXPECT_EQ(order(),
            (std::vector<std::string>{"active:callback", "second:callback",
                                      "third:callback", "after:callback"}));
}

TEST_P(WritingTest, PeerThatOnlyEndsItsSideStillReceives) {
  Channel channel = MakeChannel();
  EXPECT_TRUE(channel.peer->ShutdownWrite().ok());
  RunFor(absl::Milliseconds(1));
  Recorder write(*this);
  ASSERT_OK(channel.state->WriteBuffer("to a half-closer", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.peer->ReceiveExactly(16), "to a half-closer");
}

TEST_P(WritingTest, WritingToAClosedPeerIsAnErrorAndNeverASignal) {
  // The death by SIGPIPE would be that of this program.
  auto before = std::signal(SIGPIPE, SIG_DFL);
  for (Family family : Families()) {
    for (bool queue : {false, true}) {
      Channel channel = MakeChannel({.queue_output = queue}, family);
      channel.peer->Close();
      IoStatus status = IoStatus::kOk;
      Error error;
      // The first write or two may still be taken: the reset is on its way.
      for (int i = 0; i < 100 && status == IoStatus::kOk; ++i) {
        Recorder write(*this, "write");
        ASSERT_OK(channel.state->WriteBuffer("anyone?", write.Callback()));
        ASSERT_TRUE(RunUntil(write));
        status = write.last().status;
        error = write.last().error;
        RunFor(absl::Milliseconds(1));
      }
      EXPECT_EQ(status, IoStatus::kError);
      EXPECT_TRUE(error == Error(EPIPE) || error == Error(ECONNRESET))
          << error.Name();
    }
  }
  std::signal(SIGPIPE, before);
}

TEST_P(WritingTest, WriteAfterOutputShutdownIsAnErrorAndNeverASignal) {
  auto before = std::signal(SIGPIPE, SIG_DFL);
  Channel channel = MakeChannel();
  absl::StatusOr<bool> done = channel.state->Shutdown(Direction::kOutput);
  ASSERT_OK(done);
  EXPECT_TRUE(*done);
  Recorder write(*this);
  ASSERT_OK(channel.state->WriteBuffer(
      "too late", write.Callback(), {.error_callback = write.ErrorCallback()}));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().callback, "error_callback");
  EXPECT_EQ(write.last().error, Error(EPIPE));
  EXPECT_EQ(write.last().count, 0u);
  EXPECT_TRUE(channel.peer->ReceiveAll().end);
  std::signal(SIGPIPE, before);
}

TEST_P(WritingTest, SendMessageOnTcpIsAWrite) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder a(*this, "a");
  Recorder b(*this, "b");
  ASSERT_OK(channel.state->SendMessage("[message]", a.Callback(),
                                       {.start = 1, .end = 8}));
  ASSERT_OK(channel.state->WriteBuffer("!", b.Callback()));
  ASSERT_TRUE(RunUntil(b));
  EXPECT_EQ(a.last().count, 7u);
  EXPECT_EQ(channel.peer->ReceiveExactly(8), "message!");
}

// ---- Limits and accounting.

TEST_P(WritingTest, QueueRefusesWhenItsBytesAreUsedUp) {
  RemakeCollection({.limits = {.output_queue_bytes_max = 100}});
  Channel channel = MakeChannel({.name = "full", .queue_output = true});
  Recorder active(*this, "active");
  Stall(*channel.state, active);
  Recorder a(*this, "a");
  Recorder b(*this, "b");
  Recorder refused(*this, "refused");
  const std::string data = Pattern(100);
  ASSERT_OK(channel.state->WriteBuffer(data, a.Callback(), {.end = 60}));
  EXPECT_TRUE(IsRefusal(
      channel.state->WriteBuffer(data, refused.Callback(), {.start = 59}),
      absl::StatusCode::kResourceExhausted, {"full", "WriteBuffer"}));
  EXPECT_EQ(refused.callbacks_alive(), 0);
  // What fits is taken still.
  ASSERT_OK(channel.state->WriteBuffer(data, b.Callback(), {.start = 60}));
  EXPECT_TRUE(IsRefusal(channel.state->WriteBuffer("x", refused.Callback()),
                        absl::StatusCode::kResourceExhausted, {"full"}));
  EXPECT_EQ(channel.state->output_queue_length(), 3u);
  EXPECT_GE(channel.state->output_queue_bytes(), 100u);

  // Nothing of what was taken is lost, and afterwards there is room again.
  const size_t size = EndlessData().size();
  PeerRead read = ReadFromPeer(*channel.peer, size + 100);
  ASSERT_TRUE(RunUntil(b));
  EXPECT_TRUE(read.bytes.substr(0, size) == EndlessData());
  EXPECT_EQ(read.bytes.substr(size), data);
  Recorder next(*this, "next");
  EXPECT_OK(channel.state->WriteBuffer("next", next.Callback()));
  EXPECT_TRUE(RunUntil(next));
}

TEST_P(WritingTest, QueueRefusesWhenItsLengthIsUsedUp) {
  RemakeCollection({.limits = {.output_queue_length_max = 2}});
  Channel channel = MakeChannel({.name = "full", .queue_output = true});
  Recorder active(*this, "active");
  Stall(*channel.state, active);
  Recorder a(*this, "a");
  Recorder b(*this, "b");
  Recorder refused(*this, "refused");
  ASSERT_OK(channel.state->WriteBuffer("a", a.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("b", b.Callback()));
  EXPECT_TRUE(IsRefusal(channel.state->SendMessage("c", refused.Callback()),
                        absl::StatusCode::kResourceExhausted,
                        {"full", "SendMessage"}));
  EXPECT_EQ(channel.state->output_queue_length(), 3u);
}

TEST_P(WritingTest, QueueDoesNotCountTheOperationInProgress) {
  RemakeCollection({.limits = {.output_queue_bytes_max = 10}});
  Channel channel = MakeChannel({.queue_output = true});
  Recorder write(*this);
  const std::string data = Pattern(1000);
  ASSERT_OK(channel.state->WriteBuffer(data, write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_TRUE(channel.peer->ReceiveExactly(1000) == data);
}

TEST_P(WritingTest, EndlessWritesOfOneStateDoNotStarveAnother) {
  Channel flood = MakeChannel({.name = "flood"});
  Channel quiet = MakeChannel({.name = "quiet"});
  // Every byte written is taken, and there is always more to write.
  size_t flooded = 0;
  std::string buffer(1 << 20, '\0');
  std::function<void(AsyncIoState&)> write = [&](AsyncIoState& state) {
    EXPECT_OK(
        state.WriteBuffer(EndlessData().substr(0, 65536),
                          [&](AsyncIoState& state, const IoResult& result) {
                            flooded += result.count;
                            flood.peer->TryReceive(buffer);
                            write(state);
                          }));
  };
  write(*flood.state);
  char byte;
  Recorder read(*this, "quiet");
  ASSERT_OK(quiet.state->ReadBuffer({&byte, 1}, read.Callback()));
  quiet.peer->Send("x");
  EXPECT_TRUE(RunUntil(read));
  RunFor(absl::Milliseconds(1));
  EXPECT_GT(flooded, 0u);
  flood.state.reset();
}

TEST_P(WritingTest, BytesPerTurnAreBounded) {
  RemakeCollection({.limits = {.bytes_per_turn_max = 4096}});
  for (bool queued : {false, true}) {
    Channel channel = MakeChannel({.queue_output = true});
    const std::string data = Pattern(100'000);
    Recorder write(*this, "write", Recorder::kRepeating);
    int calls = queued ? 100 : 1;
    for (int i = 0; i < calls; ++i) {
      size_t size = data.size() / calls;
      ASSERT_OK(channel.state->WriteBuffer(
          data, write.Callback(), {.start = i * size, .end = (i + 1) * size}));
    }
    int turns = 0;
    ASSERT_TRUE(RunUntil([&] {
      ++turns;
      return write.calls().size() == static_cast<size_t>(calls);
    }));
    EXPECT_TRUE(channel.peer->ReceiveExactly(data.size()) == data);
    EXPECT_GT(turns, 100'000 / 4096 / 2);
  }
}

TEST_P(WritingTest, CallbacksOfTheSameStateArriveInOrderWithinADirection) {
  Channel channel = MakeChannel({.queue_output = true});
  std::vector<Recorder> writes;
  std::vector<std::string> expected;
  for (int i = 0; i < 200; ++i) {
    writes.emplace_back(*this, std::to_string(i));
    expected.push_back(std::to_string(i) + ":callback");
    ASSERT_OK(channel.state->WriteBuffer("x", writes[i].Callback()));
  }
  ASSERT_TRUE(RunUntil(writes.back()));
  EXPECT_EQ(order(), expected);
  EXPECT_EQ(channel.peer->ReceiveExactly(200), std::string(200, 'x'));
}

TEST_P(WritingTest, ClosingOrDestroyingTheStateInAWriteCallback) {
  enum How { kClose, kDestroy, kCollection, kAbortAndClose };
  for (How how : {kClose, kDestroy, kCollection, kAbortAndClose}) {
    for (bool message : {false, true}) {
      SCOPED_TRACE(std::to_string(how) + (message ? ", message" : ""));
      Channel channel = MakeChannel({.queue_output = true});
      Recorder read(*this, "read");
      Recorder first(*this, "first");
      Recorder second(*this, "second");
      char byte;
      ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
      IoCallback callback =
          first.Callback([&](AsyncIoState& state, const IoResult&) {
            switch (how) {
              case kClose:
                state.Close();
                break;
              case kDestroy:
                channel.state.reset();
                break;
              case kCollection:
                collection().Close();
                break;
              case kAbortAndClose:
                EXPECT_OK(state.AbortAndClose());
                break;
            }
          });
      if (message) {
        ASSERT_OK(channel.state->SendMessage("first", std::move(callback)));
      } else {
        ASSERT_OK(channel.state->WriteBuffer("first", std::move(callback)));
      }
      // Endless, so that it cannot have ended when the first one's callback
      // runs.
      ASSERT_OK(channel.state->WriteBuffer(EndlessData(), second.Callback()));
      ASSERT_TRUE(RunUntil(first));
      EXPECT_TRUE(RunUntil([&] { return collection().size() == 0; }));
      RunFor(absl::Milliseconds(1));
      EXPECT_FALSE(read.called());
      EXPECT_FALSE(second.called());
      EXPECT_EQ(read.callbacks_alive() + first.callbacks_alive() +
                    second.callbacks_alive(),
                0);
    }
  }
}

TEST_P(WritingTest, DestroyingTheStateInAnAbortedWritesCallback) {
  // The first of several completions that are waiting destroys the state.
  Channel channel = MakeChannel({.queue_output = true});
  Recorder active(*this, "active");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  ASSERT_OK(channel.state->WriteBuffer(
      EndlessData(), active.Callback([&](AsyncIoState&, const IoResult&) {
        channel.state.reset();
      }),
      {.timeout = absl::Milliseconds(3)}));
  ASSERT_OK(channel.state->WriteBuffer("second", second.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("third", third.Callback()));
  ASSERT_TRUE(RunUntil(active));
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(second.called());
  EXPECT_FALSE(third.called());
  EXPECT_EQ(second.callbacks_alive() + third.callbacks_alive(), 0);
}

TEST_P(WritingTest, BufferIsNotReadAfterTheCallback) {
  Channel channel = MakeChannel({.queue_output = true});
  std::string data = Pattern(100'000);
  const std::string expected = data;
  Recorder write(*this);
  ASSERT_OK(channel.state->WriteBuffer(
      data, write.Callback([&](AsyncIoState&, const IoResult&) {
        std::fill(data.begin(), data.end(), 'Z');
      })));
  PeerRead read = ReadFromPeer(*channel.peer, expected.size());
  ASSERT_TRUE(RunUntil(write));
  EXPECT_TRUE(read.bytes == expected);
}

}  // namespace
}  // namespace aios::test
