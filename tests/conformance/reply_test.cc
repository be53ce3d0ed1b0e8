// Conformance of `Reply`: answers without a callback.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

// More than a connection takes whose peer does not read.
std::string_view Much() {
  static const auto* data = new std::string(Pattern(12'000'000));
  return *data;
}

class ReplyTest : public ConformanceTest {
 protected:
  using Action = Recorder::Action;

  // Answers every call of the callback by `answer`, which need not discard.
  void Serve(AsyncIoState& state, Recorder& read, Action answer,
             ReadWithCheckingOptions options = {}) {
    ASSERT_OK(state.ReadWithChecking(
        read.Callback([answer = std::move(answer)](AsyncIoState& state,
                                                   const IoResult& result) {
          if (!result.ok()) return;
          answer(state, result);
          if (!state.closed()) static_cast<void>(state.Discard(result.count));
        }),
        std::move(options)));
  }

  // The peer asks, and is answered more than it takes.
  void Stall(Channel& channel, Recorder& read,
             ReadWithCheckingOptions options = {}) {
    Serve(
        *channel.state, read,
        [](AsyncIoState& state, const IoResult&) {
          EXPECT_OK(state.Reply(Much()));
        },
        std::move(options));
    Ask(channel, read);
  }

  // The peer has what the kernel took at once, which is not always all.
  void ExpectBeginning(TcpPeer& peer, std::string_view of) {
    PeerRead got = ReadFromPeer(peer);
    EXPECT_TRUE(got.end) << got.error.Name();
    EXPECT_FALSE(got.bytes.empty());
    EXPECT_EQ(got.bytes, of.substr(0, got.bytes.size()));
    if (!world().simulated()) {
      EXPECT_EQ(got.bytes, of);
    }
  }

  // What the peer says arrives by one call of the callback at least.
  void Ask(Channel& channel, Recorder& read, std::string_view bytes = "?") {
    size_t calls = read.calls().size();
    channel.peer->Send(bytes);
    ASSERT_TRUE(RunUntil([&] { return read.calls().size() > calls; }));
    RunFor(absl::Milliseconds(1));
  }
};

INSTANTIATE_TEST_SUITE_P(All, ReplyTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// Counts the sends that were tried.
class SendCounter final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;
  int sends() const { return sends_; }
  size_t largest() const { return largest_; }

  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) override {
    ++sends_;
    size_t size = 0;
    for (const ConstBuffer& buffer : buffers) size += buffer.size;
    largest_ = std::max(largest_, size);
    return KernelDecorator::Send(handle, buffers);
  }

 private:
  int sends_ = 0;
  size_t largest_ = 0;
};

// ---- What is sent, and when.

TEST_P(ReplyTest, RepliesLeaveWhenTheCallbackHasReturnedInTheirOrder) {
  SendCounter counter(kernel());
  RemakeCollection({}, &counter);
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    Recorder read(*this, "read", Recorder::kRepeating);
    std::vector<std::string> answers = {"one ", "two ", "three"};
    Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
      int before = counter.sends();
      for (const std::string& answer : answers) EXPECT_OK(state.Reply(answer));
      EXPECT_EQ(counter.sends(), before);
      EXPECT_EQ(state.output_queue_length(), 0u);
    });
    Ask(channel, read);
    EXPECT_EQ(channel.peer->ReceiveExactly(13), "one two three");
    ASSERT_TRUE(
        RunUntil([&] { return channel.state->output_queue_length() == 0; }));
    EXPECT_EQ(channel.state->write_status(), IoStatus::kOk);
    EXPECT_EQ(channel.state->Close(), 0u);
  }
}

// Of every size: small ones, of which many are copied together, up to one that
// is too large for that.
TEST_P(ReplyTest, ReplyIsNotNeededWhenTheCallHasReturned) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  std::string expected;
  for (size_t size = 1; size <= 100'000; size *= 3) {
    expected += Pattern(size, static_cast<int>(size));
  }
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    for (size_t size = 1; size <= 100'000; size *= 3) {
      std::string answer = Pattern(size, static_cast<int>(size));
      EXPECT_OK(state.Reply(answer));
      std::fill(answer.begin(), answer.end(), 'x');
    }
  });
  for (int i = 0; i < 2; ++i) {
    Ask(channel, read);
    EXPECT_TRUE(ReadFromPeer(*channel.peer, expected.size()).bytes == expected);
  }
}

TEST_P(ReplyTest, ReplyMayLieInWhatItAnswersAlsoWhenThatIsDiscarded) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        // Whole messages of seven bytes, from behind the first to the last.
        size_t done = 0;
        for (; result.data.size() - done >= 7; done += 7) {
          EXPECT_OK(state.Reply(result.data.substr(done + 1, 6)));
          EXPECT_OK(state.Reply(result.data.substr(done, 1)));
          EXPECT_OK(state.Discard(7));
        }
      })));
  std::string sent;
  std::string expected;
  for (int i = 0; i < 500; ++i) {
    std::string message = Pattern(7, i);
    sent += message;
    expected += message.substr(1) + message[0];
  }
  SendFromPeer(*channel.peer, sent);
  PeerRead got = ReadFromPeer(*channel.peer, expected.size());
  EXPECT_TRUE(got.bytes == expected);
}

// The buffer that grew is let go by `Finish`, which is why the replies must
// leave before.
TEST_P(ReplyTest, ReplyMayLieInABufferThatGrewAndGoesByFinish) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  const std::string sent = Pattern(400'000);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < sent.size()) return;
        EXPECT_OK(state.Reply(result.data));
        absl::StatusOr<size_t> left = state.Finish(result.count);
        ASSERT_OK(left);
        EXPECT_EQ(*left, 0u);
      }),
      {.max_read = 100'000}));
  SendFromPeer(*channel.peer, sent);
  PeerRead got = ReadFromPeer(*channel.peer, sent.size());
  EXPECT_TRUE(got.bytes == sent);
}

TEST_P(ReplyTest, MoreRepliesThanOneSendTakesArriveInOrder) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  std::vector<std::string> answers;
  std::string all;
  for (int i = 0; i < 1000; ++i) {
    answers.push_back(std::to_string(i) + ",");
    all += answers.back();
  }
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    for (const std::string& answer : answers) EXPECT_OK(state.Reply(answer));
  });
  Ask(channel, read);
  EXPECT_EQ(ReadFromPeer(*channel.peer, all.size()).bytes, all);
}

TEST_P(ReplyTest, LargeAndSmallRepliesKeepTheirOrder) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  std::vector<std::string> answers;
  std::string all;
  for (int i = 0; i < 200; ++i) {
    answers.push_back(Pattern(i % 3 == 0 ? 40'000 : 10'000 * (i % 3), i));
    all += answers.back();
  }
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    for (const std::string& answer : answers) EXPECT_OK(state.Reply(answer));
  });
  Ask(channel, read);
  EXPECT_TRUE(ReadFromPeer(*channel.peer, all.size()).bytes == all);
}

TEST_P(ReplyTest, ReplyLargerThanATurnSendsIsSentInTurns) {
  SendCounter counter(kernel());
  RemakeCollection({.limits = {.bytes_per_turn_max = 1000}}, &counter);
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  const std::string large = Pattern(30'000);
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply("ab"));
    EXPECT_OK(state.Reply(large));
    EXPECT_OK(state.Reply("yz"));
  });
  Ask(channel, read);
  PeerRead got = ReadFromPeer(*channel.peer, large.size() + 4);
  EXPECT_TRUE(got.bytes == "ab" + large + "yz");
  EXPECT_LE(counter.largest(), 1000u);
}

TEST_P(ReplyTest, ShortCountsLoseNothing) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  faults.LimitTransfers(5);
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult& result) {
    for (size_t i = 0; i != result.data.size(); ++i) {
      EXPECT_OK(state.Reply(result.data.substr(i, 1)));
      EXPECT_OK(state.Reply("..."));
    }
  });
  std::string expected;
  const std::string sent = Pattern(300);
  for (char c : sent) expected += std::string(1, c) + "...";
  SendFromPeer(*channel.peer, sent);
  EXPECT_EQ(ReadFromPeer(*channel.peer, expected.size()).bytes, expected);
}

// ---- A peer that does not take its answers.

TEST_P(ReplyTest, PeerThatDoesNotReadIsReadNoFurtherUntilItHasTakenAll) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    Recorder read(*this, "read", Recorder::kRepeating);
    Stall(channel, read);
    ASSERT_EQ(read.calls().size(), 1u);
    EXPECT_EQ(channel.state->output_queue_length(), 1u);
    EXPECT_GT(channel.state->output_queue_bytes(), 0u);
    EXPECT_LE(channel.state->output_queue_bytes(), Much().size());
    channel.peer->Send("!");
    RunFor();
    EXPECT_EQ(read.calls().size(), 1u);
    EXPECT_EQ(channel.state->BufferedDataLength(), 0u) << "it was read";
    PeerRead got = ReadFromPeer(*channel.peer, Much().size());
    EXPECT_TRUE(got.bytes == Much());
    ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
    EXPECT_EQ(read.last().data, "!");
    EXPECT_EQ(read.last().old_length, 0u);
    got = ReadFromPeer(*channel.peer, Much().size());
    EXPECT_TRUE(got.bytes == Much());
    ASSERT_TRUE(
        RunUntil([&] { return channel.state->output_queue_length() == 0; }));
    EXPECT_EQ(channel.state->output_queue_bytes(), 0u);
  }
}

TEST_P(ReplyTest, EchoToASlowReaderIsWholeAndHoldsNoMoreThanIsReadAtATime) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  size_t held = 0;
  ASSERT_OK(channel.state->ReadWithChecking(
      [&](AsyncIoState& state, const IoResult& result) {
        ASSERT_TRUE(result.ok());
        EXPECT_EQ(state.output_queue_length(), 0u) << "called while paused";
        EXPECT_OK(state.Reply(result.data));
        EXPECT_OK(state.Discard(result.count));
      },
      {.max_read = 10'000}));
  const std::string sent = Pattern(20'000'000);
  std::string got;
  size_t offset = 0;
  std::string buffer(100'000, '\0');
  // It sends as much as it can, and reads when nothing else goes on.
  ASSERT_TRUE(RunUntil(
      [&] {
        held = std::max(held, channel.state->output_queue_bytes() +
                                  channel.state->BufferedDataLength());
        Transfer transfer = channel.peer->TrySend(
            std::string_view(sent).substr(offset, 100'000));
        offset += transfer.count;
        Turn(absl::ZeroDuration());
        if (transfer.count != 0) return false;
        transfer = channel.peer->TryReceive(buffer);
        got.append(buffer, 0, transfer.count);
        if (transfer.count == 0) Turn(absl::Milliseconds(1));
        return got.size() >= sent.size();
      },
      absl::ZeroDuration()));
  EXPECT_TRUE(got == sent);
  EXPECT_LE(held, 10'000u);
}

TEST_P(ReplyTest, ReadTimeoutDoesNotCountWhileRepliesWait) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Stall(channel, read, {.timeout = absl::Milliseconds(20)});
  RunFor(absl::Milliseconds(60));
  ASSERT_EQ(read.calls().size(), 1u);
  PeerRead got = ReadFromPeer(*channel.peer, Much().size());
  EXPECT_TRUE(got.bytes == Much());
  // It starts anew when they are out.
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
}

// Otherwise requests that it could not answer yet would lie there until the
// peer, which waits for the answers, says more.
TEST_P(ReplyTest, WhatTheCallbackLeftComesAgainWhenTheRepliesAreOut) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        ASSERT_TRUE(result.ok());
        if (result.count < 3 && result.data.back() != 'c') return;
        // One request at a time.
        EXPECT_OK(state.Reply(Much()));
        EXPECT_OK(state.Discard(1));
      })));
  channel.peer->Send("abc");
  for (int i = 0; i < 3; ++i) {
    PeerRead got = ReadFromPeer(*channel.peer, Much().size());
    ASSERT_TRUE(got.bytes == Much());
  }
  const std::vector<Call>& calls = read.calls();
  ASSERT_GE(calls.size(), 3u);
  EXPECT_EQ(calls[calls.size() - 3].data, "abc");
  EXPECT_EQ(calls[calls.size() - 2].data, "bc");
  EXPECT_EQ(calls[calls.size() - 2].old_length, 2u);
  EXPECT_EQ(calls[calls.size() - 1].data, "c");
  EXPECT_EQ(calls[calls.size() - 1].old_length, 1u);
  // Once: with nothing left there is nothing to look at.
  size_t count = calls.size();
  RunFor();
  EXPECT_EQ(read.calls().size(), count);
}

TEST_P(ReplyTest, RequestsLeftForLackOfRoomAreAnsweredAlsoAfterTheEnd) {
  RemakeCollection({.limits = {.output_queue_bytes_max = 1'000'000}});
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  const std::string answer = Pattern(3'000'000);
  int refused = 0;
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        for (size_t i = 0; result.ok() && i != result.count; ++i) {
          absl::Status status = state.Reply(answer);
          if (!status.ok()) {
            EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kResourceExhausted,
                                  {"Reply refused"}));
            ++refused;
            break;
          }
          EXPECT_OK(state.Discard(1));
        }
      })));
  channel.peer->Send("1234567890");
  channel.peer->ShutdownWrite();
  std::string expected;
  for (int i = 0; i < 10; ++i) expected += answer;
  PeerRead got = ReadFromPeer(*channel.peer, expected.size());
  EXPECT_TRUE(got.bytes == expected);
  ASSERT_TRUE(RunUntil([&] { return read.last().status == IoStatus::kEof; }));
  EXPECT_EQ(read.last().data, "");
  EXPECT_GT(refused, 0);
}

// ---- A reply that fails ends the ReadWithChecking with its status.

TEST_P(ReplyTest, WriteTimeoutEndsTheReadWithChecking) {
  Channel channel = MakeChannel({.write_timeout = absl::Milliseconds(20)});
  Recorder read(*this, "read", Recorder::kRepeating);
  Stall(channel, read, {.error_callback = read.ErrorCallback()});
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().callback, "callback");
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
  EXPECT_EQ(read.last().read_status, IoStatus::kTimeout);
  EXPECT_EQ(read.last().write_status, IoStatus::kTimeout);
  EXPECT_EQ(read.callbacks_alive(), 0);
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
}

TEST_P(ReplyTest, WriteTimeoutOfZeroTriesOnce) {
  Channel channel = MakeChannel({.write_timeout = absl::ZeroDuration()});
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult& result) {
    EXPECT_OK(state.Reply(result.data == "?" ? "taken" : Much()));
  });
  Ask(channel, read);
  EXPECT_EQ(channel.peer->ReceiveExactly(5), "taken");
  channel.peer->Send("!");
  ASSERT_TRUE(RunUntil(
      [&] { return read.called() && read.last().status != IoStatus::kOk; }));
  EXPECT_EQ(read.last().status, IoStatus::kTimeout);
}

TEST_P(ReplyTest, ResetByThePeerEndsTheReadWithChecking) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Stall(channel, read, {.error_callback = read.ErrorCallback()});
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().callback, "error_callback");
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_TRUE(read.last().error == Error(ECONNRESET) ||
              read.last().error == Error(EPIPE))
      << read.last().error.Name();
  EXPECT_EQ(read.callbacks_alive(), 0);
}

TEST_P(ReplyTest, ReplyThatFailsAtOnceEndsTheReadWithChecking) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  faults.FailNth(KernelCall::kSend, 1, Error(EPIPE));
  Serve(*channel.state, read,
        [](AsyncIoState& state, const IoResult&) {
          EXPECT_OK(state.Reply("one"));
          EXPECT_OK(state.Reply("two"));
        },
        {.error_callback = read.ErrorCallback()});
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().callback, "error_callback");
  EXPECT_EQ(read.last().error, Error(EPIPE));
  EXPECT_EQ(channel.state->write_status(), IoStatus::kError);
  EXPECT_EQ(channel.state->write_error(), Error(EPIPE));
}

// An end of file as the answer would say that all is well.
TEST_P(ReplyTest, ReplyThatFailsBehindTheEndOfTheInputIsToldAll) {
  for (bool times_out : {false, true}) {
    FaultKernel faults(kernel());
    RemakeCollection({}, &faults);
    Channel channel = MakeChannel({.write_timeout = absl::Milliseconds(20)});
    Recorder first(*this, "first", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(first.Callback()));
    channel.peer->Send("?");
    channel.peer->ShutdownWrite();
    ASSERT_TRUE(RunUntil([&] {
      return first.called() && first.last().status == IoStatus::kEof;
    }));
    ASSERT_EQ(channel.state->BufferedDataLength(), 1u);
    if (!times_out) faults.FailEvery(KernelCall::kSend, Error(EPIPE));
    Recorder read(*this, "read", Recorder::kRepeating);
    Serve(*channel.state, read, [](AsyncIoState& state, const IoResult&) {
      EXPECT_OK(state.Reply(Much()));
    });
    ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
    if (times_out) {
      EXPECT_EQ(read.last().status, IoStatus::kTimeout);
    } else {
      EXPECT_EQ(read.last().status, IoStatus::kError);
      EXPECT_EQ(read.last().error, Error(EPIPE));
    }
    faults.Heal(KernelCall::kSend);
    channel.state.reset();
    DestroyCollection();
  }
}

TEST_P(ReplyTest, RepliesBehindTheEndOfTheInputArriveAndThenComesTheEnd) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Stall(channel, read);
  channel.peer->ShutdownWrite();
  PeerRead got = ReadFromPeer(*channel.peer, Much().size());
  EXPECT_TRUE(got.bytes == Much());
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kEof);
}

TEST_P(ReplyTest, KernelThatCannotWatchTheSocketEndsThePausedRead) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply(Much()));
    faults.FailInterestLate(Error(ENOMEM));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().error, Error(ENOMEM));
}

// ---- Aborts.

TEST_P(ReplyTest, AbortOfTheOutputEndsThePausedReadWithChecking) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder abort(*this, "abort");
  Stall(channel, read);
  ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kOutput));
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
  ASSERT_TRUE(
      RunUntil([&] { return abort.called() && read.calls().size() == 2; }));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(read.last().status, IoStatus::kAborted);
  EXPECT_EQ(read.last().write_status, IoStatus::kAborted);
  EXPECT_EQ(read.callbacks_alive(), 0);
}

TEST_P(ReplyTest, AbortOfTheInputLetsTheRepliesGoOn) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder abort(*this, "abort");
  Stall(channel, read);
  ASSERT_OK(channel.state->Abort(abort.Callback(), Direction::kInput));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().status, IoStatus::kAborted);
  EXPECT_EQ(channel.state->output_queue_length(), 1u);
  // The direction is free, and not paused by what came before it.
  char buffer[1];
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->ReadBuffer(buffer, next.Callback()));
  channel.peer->Send("!");
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().data, "!");
  PeerRead got = ReadFromPeer(*channel.peer, Much().size());
  EXPECT_TRUE(got.bytes == Much());
  EXPECT_EQ(read.calls().size(), 1u);
}

TEST_P(ReplyTest, AbortsInTheCallbackComeAfterTheReplies) {
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    for (bool stalls : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << static_cast<int>(direction) << " " << stalls);
      Channel channel = MakeChannel();
      Recorder read(*this, "read", Recorder::kRepeating);
      Recorder abort(*this, "abort");
      Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.Abort(abort.Callback(), direction));
        EXPECT_OK(state.Reply("answer"));
        if (stalls) {
          EXPECT_OK(state.Reply(Much()));
        }
      });
      channel.peer->Send("?");
      ASSERT_TRUE(RunUntil(abort));
      RunFor(absl::Milliseconds(1));
      bool ends_output = direction != Direction::kInput;
      // Of a reply that is ended the beginning, at least, is out.
      size_t there = ends_output ? 1 : 6;
      EXPECT_EQ(channel.peer->ReceiveExactly(there),
                std::string("answer").substr(0, there));
      if (stalls || direction != Direction::kOutput) {
        EXPECT_TRUE(abort.last().interrupted);
      }
      if (stalls && ends_output) {
        EXPECT_EQ(channel.state->output_queue_length(), 0u);
      }
      if (direction == Direction::kOutput) {
        ASSERT_EQ(read.calls().size(), abort.last().interrupted ? 2u : 1u);
        if (abort.last().interrupted) {
          EXPECT_EQ(read.last().status, IoStatus::kAborted);
        }
      } else {
        EXPECT_EQ(read.calls().size(), 1u);
        EXPECT_EQ(read.callbacks_alive(), 0);
      }
    }
  }
}

TEST_P(ReplyTest, ShutdownOfTheOutputWithAbortEndsThePausedRead) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder shutdown(*this, "shutdown");
  Stall(channel, read);
  absl::StatusOr<bool> done = channel.state->Shutdown(
      Direction::kOutput, {.abort = true, .callback = shutdown.Callback()});
  ASSERT_OK(done);
  EXPECT_FALSE(*done);
  ASSERT_TRUE(RunUntil(shutdown));
  EXPECT_EQ(shutdown.last().status, IoStatus::kOk);
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kAborted);
}

TEST_P(ReplyTest, ShutdownInTheCallbackComesAfterTheReplies) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply("the last "));
    EXPECT_OK(state.Reply("words"));
    absl::StatusOr<bool> done = state.Shutdown(Direction::kOutput);
    ASSERT_OK(done);
    EXPECT_TRUE(*done);
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  PeerRead got = ReadFromPeer(*channel.peer);
  EXPECT_EQ(got.bytes, "the last words");
  EXPECT_TRUE(got.end);
}

TEST_P(ReplyTest, ReplyAfterAShutdownOfTheOutputEndsTheReadWithEpipe) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Shutdown(Direction::kOutput));
    EXPECT_OK(state.Reply("too late"));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().error, Error(EPIPE));
  // The output stays broken, and says so to the next one as well.
  Recorder next(*this, "next", Recorder::kRepeating);
  Serve(*channel.state, next, [](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply("later"));
    EXPECT_OK(state.Reply("still"));
  });
  channel.peer->Send("!");
  ASSERT_TRUE(RunUntil([&] { return next.calls().size() == 2; }));
  EXPECT_EQ(next.last().status, IoStatus::kError);
  EXPECT_EQ(next.last().error, Error(EPIPE));
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
}

// ---- Finish, and what follows it.

TEST_P(ReplyTest, FinishSendsTheRepliesBeforeIt) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  std::string answer = "answer ";
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply(answer));
    EXPECT_OK(state.Finish(1));
    // They are out: it is nobody's any more.
    answer = "wrong";
    EXPECT_OK(state.WriteBuffer("and more", write.Callback()));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(channel.peer->ReceiveExactly(15), "answer and more");
}

TEST_P(ReplyTest, RepliesGoOnBehindAFinishWhateverIsReadNext) {
  using Start =
      std::function<absl::Status(AsyncIoState&, std::span<char>, IoCallback)>;
  const std::vector<std::pair<std::string, Start>> starts = {
      {"ReadBuffer",
       [](AsyncIoState& state, std::span<char> buffer, IoCallback callback) {
         return state.ReadBuffer(buffer, std::move(callback));
       }},
      {"ReadWithChecking",
       [](AsyncIoState& state, std::span<char>, IoCallback callback) {
         return state.ReadWithChecking(std::move(callback));
       }},
      {"WaitForInput",
       [](AsyncIoState& state, std::span<char>, IoCallback callback) {
         return state.WaitForInput(std::move(callback));
       }},
      {"ReceiveMessage",
       [](AsyncIoState& state, std::span<char> buffer, IoCallback callback) {
         return state.ReceiveMessage(buffer, std::move(callback));
       }},
  };
  for (const auto& named : starts) {
    // clang 14 captures no structured bindings.
    const Start& start = named.second;
    for (bool bytes_left : {false, true}) {
      SCOPED_TRACE(named.first + (bytes_left ? ", bytes left" : ""));
      Channel channel = MakeChannel();
      Recorder read(*this, "read", Recorder::kRepeating);
      Recorder next(*this, "next", Recorder::kRepeating);
      char buffer[1];
      ASSERT_OK(channel.state->ReadWithChecking(
          read.Callback([&](AsyncIoState& state, const IoResult& result) {
            if (result.count < 2) return;
            EXPECT_OK(state.Reply(Much()));
            EXPECT_OK(state.Finish(bytes_left ? 1 : 2));
            EXPECT_OK(start(state, buffer, next.Callback()));
          })));
      channel.peer->Send("?!");
      ASSERT_TRUE(
          RunUntil([&] { return channel.state->output_queue_length() == 1; }));
      if (!bytes_left) channel.peer->Send("!");
      ASSERT_TRUE(RunUntil(next));
      EXPECT_EQ(next.last().status, IoStatus::kOk);
      EXPECT_EQ(channel.state->output_queue_length(), 1u);
      PeerRead got = ReadFromPeer(*channel.peer, Much().size());
      EXPECT_TRUE(got.bytes == Much());
      ASSERT_TRUE(
          RunUntil([&] { return channel.state->output_queue_length() == 0; }));
    }
  }
}

TEST_P(ReplyTest, OfAReplyThatFailsBehindAFinishOnlyTheWriteStatusTells) {
  Channel channel = MakeChannel({.write_timeout = absl::Milliseconds(20)});
  Recorder read(*this, "read");
  Recorder next(*this, "next");
  char buffer[1];
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply(Much()));
    EXPECT_OK(state.Finish(1));
    EXPECT_OK(state.ReadBuffer(buffer, next.Callback()));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(
      [&] { return channel.state->write_status() == IoStatus::kTimeout; }));
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(next.called());
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
  channel.peer->Send("!");
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().status, IoStatus::kOk);
}

TEST_P(ReplyTest, BufferedDataIsNotFetchedWhileRepliesWait) {
  Channel channel = MakeChannel({.name = "busy"});
  Recorder read(*this, "read", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        if (result.count < 2) return;
        EXPECT_OK(state.Reply(Much()));
        EXPECT_OK(state.Finish(1));
      })));
  channel.peer->Send("?!");
  ASSERT_TRUE(
      RunUntil([&] { return channel.state->output_queue_length() == 1; }));
  char buffer[8];
  EXPECT_TRUE(IsRefusal(channel.state->GetBufferedData(buffer),
                        absl::StatusCode::kFailedPrecondition,
                        {"busy", "GetBufferedData", "Reply is in progress"}));
  Recorder write(*this, "write");
  EXPECT_TRUE(IsRefusal(channel.state->WriteBuffer("x", write.Callback()),
                        absl::StatusCode::kFailedPrecondition,
                        {"busy", "WriteBuffer", "Reply is in progress"}));
  PeerRead got = ReadFromPeer(*channel.peer, Much().size());
  EXPECT_TRUE(got.bytes == Much());
  ASSERT_TRUE(
      RunUntil([&] { return channel.state->output_queue_length() == 0; }));
  absl::StatusOr<size_t> fetched = channel.state->GetBufferedData(buffer);
  ASSERT_OK(fetched);
  EXPECT_EQ(*fetched, 1u);
  EXPECT_EQ(buffer[0], '!');
}

// ---- Closing.

TEST_P(ReplyTest, CloseSendsTheRepliesBeforeIt) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read");
  std::string answer = "goodbye";
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply(answer));
    EXPECT_OK(state.Discard(1));
    state.Close();
    answer = "wrong..";
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  ExpectBeginning(*channel.peer, "goodbye");
}

TEST_P(ReplyTest, CloseSendsTheReplyBehindAWriteWhoseCallbackHasNotRun) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  Channel channel = MakeChannel({.queue_output = true});
  Recorder write(*this, "write");
  size_t in_queue = 0;
  ASSERT_OK(channel.state->ReadWithChecking(
      [&](AsyncIoState& state, const IoResult&) {
        in_queue = state.output_queue_length();
        EXPECT_OK(state.Reply("reply"));
        state.Close();
      }));
  channel.peer->Send("?");
  Pass(absl::Milliseconds(1));
  // It is written in the turn that reads, in which callbacks come last.
  faults.FailNth(KernelCall::kSend, 1, Error(EAGAIN));
  ASSERT_OK(channel.state->WriteBuffer("write ", write.Callback()));
  ASSERT_OK(collection().Apply([] {}));
  ASSERT_TRUE(RunUntil([&] { return channel.state->closed(); }));
  PeerRead got = ReadFromPeer(*channel.peer);
  // The kernel may take less than all.
  const std::string all = "write reply";
  EXPECT_GT(got.bytes.size(), all.find(' ') + 1);
  EXPECT_EQ(got.bytes, all.substr(0, got.bytes.size()));
  // Where reports of the two directions come in this order.
  EXPECT_EQ(write.called(), in_queue == 0);
}

TEST_P(ReplyTest, DestroyingTheStateSendsTheRepliesBeforeIt) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read");
  auto answer = std::make_unique<std::string>("goodbye");
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_OK(state.Reply(*answer));
        EXPECT_OK(state.Discard(1));
        channel.state.reset();
        answer.reset();
      })));
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  ExpectBeginning(*channel.peer, "goodbye");
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(ReplyTest, AbortAndCloseInTheCallbackComesAfterTheReplies) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read");
  Recorder close(*this, "close");
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.AbortAndClose({.close_callback = close.CloseCallback()}));
    EXPECT_OK(state.Reply("goodbye"));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(close));
  ExpectBeginning(*channel.peer, "goodbye");
  EXPECT_EQ(read.callbacks_alive(), 0);
}

TEST_P(ReplyTest, ClosingWithAStalledReplyDropsIt) {
  enum class How { kClose, kDestroy, kCollection };
  for (bool in_callback : {false, true}) {
    for (How how : {How::kClose, How::kDestroy, How::kCollection}) {
      if (in_callback && how == How::kCollection) continue;
      RemakeCollection({});
      Channel channel = MakeChannel();
      Recorder read(*this, "read", Recorder::kRepeating);
      auto close = [&] {
        switch (how) {
          case How::kClose:
            channel.state->Close();
            break;
          case How::kDestroy:
            channel.state.reset();
            break;
          case How::kCollection:
            DestroyCollection();
            break;
        }
      };
      ASSERT_OK(channel.state->ReadWithChecking(
          read.Callback([&](AsyncIoState& state, const IoResult&) {
            EXPECT_OK(state.Discard(1));
            EXPECT_OK(state.Reply(Much()));
            if (in_callback) close();
          })));
      Ask(channel, read);
      if (!in_callback) close();
      EXPECT_EQ(read.calls().size(), 1u);
      EXPECT_EQ(read.callbacks_alive(), 0);
      EXPECT_TRUE(channel.state == nullptr || channel.state->closed());
      channel.state.reset();
    }
  }
}

TEST_P(ReplyTest, CloseSendsOfALargeReplyWhatATurnDoes) {
  RemakeCollection({.limits = {.bytes_per_turn_max = 1000}});
  Channel channel = MakeChannel();
  Recorder read(*this, "read");
  const std::string large = Pattern(5000);
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Discard(1));
    EXPECT_OK(state.Reply(large));
    state.Close();
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  PeerRead got = ReadFromPeer(*channel.peer);
  EXPECT_FALSE(got.bytes.empty());
  EXPECT_LE(got.bytes.size(), 1000u);
  EXPECT_EQ(got.bytes, large.substr(0, got.bytes.size()));
}

// ---- Replies and other writes.

TEST_P(ReplyTest, WritesKeepTheirPlaceBetweenReplies) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder write(*this, "write");
  Recorder other(*this, "other");
  std::string answer = "1 ";
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult& result) {
    if (result.data != "?") return;
    EXPECT_OK(state.Reply(answer));
    EXPECT_OK(state.WriteBuffer("2 ", write.Callback()));
    EXPECT_OK(state.Reply("3 "));
    EXPECT_OK(state.Reply("4 "));
    EXPECT_OK(state.SendMessage("5 ", other.Callback(),
                                {.error_callback = other.ErrorCallback()}));
    EXPECT_OK(state.Reply("6 "));
    // The fourth waits with the third, the sixth for the callback to return.
    EXPECT_EQ(state.output_queue_length(), 3u);
  });
  Ask(channel, read);
  EXPECT_EQ(ReadFromPeer(*channel.peer, 12).bytes, "1 2 3 4 5 6 ");
  ASSERT_TRUE(RunUntil(other));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
  ASSERT_TRUE(
      RunUntil([&] { return channel.state->output_queue_length() == 0; }));
  // And it goes on.
  channel.peer->Send("!");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kOk);
}

TEST_P(ReplyTest, ReplyBehindAWriteWithoutAQueueIsRefused) {
  Channel channel = MakeChannel({.name = "narrow"});
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder write(*this, "write");
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.WriteBuffer("write", write.Callback()));
    EXPECT_TRUE(
        IsRefusal(state.Reply("reply"), absl::StatusCode::kFailedPrecondition,
                  {"narrow", "Reply refused", "WriteBuffer is in progress"}));
  });
  Ask(channel, read);
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(channel.peer->ReceiveExactly(5), "write");
}

TEST_P(ReplyTest, ReplyBehindAWriteThatFailsEndsTheReadAborted) {
  Channel channel = MakeChannel(
      {.write_timeout = absl::Milliseconds(20), .queue_output = true});
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder write(*this, "write");
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.WriteBuffer(Much(), write.Callback()));
    EXPECT_OK(state.Reply("one"));
    EXPECT_OK(state.Reply("two"));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(write.last().status, IoStatus::kTimeout);
  EXPECT_EQ(read.last().status, IoStatus::kAborted);
  EXPECT_EQ(channel.state->output_queue_length(), 0u);
}

TEST_P(ReplyTest, WriteBehindAStalledReplyIsWrittenAfterIt) {
  Channel channel = MakeChannel({.queue_output = true});
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder write(*this, "write");
  Stall(channel, read);
  ASSERT_OK(channel.state->WriteBuffer("after", write.Callback()));
  EXPECT_EQ(channel.state->output_queue_length(), 2u);
  PeerRead got = ReadFromPeer(*channel.peer, Much().size() + 5);
  EXPECT_TRUE(got.bytes == std::string(Much()) + "after");
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
}

// ---- Time.

// The deadlines of a turn come before its callbacks: the one that the request
// has met is no deadline of the pause.
TEST_P(ReplyTest, RequestAtItsDeadlineIsAnsweredAndPaused) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  Serve(*channel.state, read,
        [](AsyncIoState& state, const IoResult&) {
          EXPECT_OK(state.Reply(Much()));
        },
        {.timeout = absl::Milliseconds(20)});
  RunFor(absl::Milliseconds(1));
  channel.peer->Send("?");
  Pass(absl::Milliseconds(40));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kOk);
  RunFor(absl::Milliseconds(40));
  EXPECT_EQ(read.calls().size(), 1u);
  EXPECT_EQ(channel.state->output_queue_length(), 1u);
}

// ---- Limits.

TEST_P(ReplyTest, RepliesThatWaitAreBounded) {
  RemakeCollection({.limits = {.output_queue_bytes_max = 1'000'000}});
  Channel channel = MakeChannel({.name = "full"});
  Recorder read(*this, "read", Recorder::kRepeating);
  std::string expected;
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult& result) {
    ASSERT_EQ(result.data, "?");
    EXPECT_OK(state.Reply(Much()));
    expected = Much();
    const std::string_view part = Much().substr(0, 300'000);
    for (int i = 0; i < 100; ++i) {
      absl::Status status = state.Reply(part);
      if (status.ok()) {
        expected += part;
        continue;
      }
      EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kResourceExhausted,
                            {"full", "Reply refused", "behind the Reply",
                             "bytes wait", "1000000"}));
    }
    EXPECT_LE(state.output_queue_bytes(), Much().size() + 1'000'000);
    EXPECT_LE(state.output_queue_length(), 4u);
  });
  Ask(channel, read);
  EXPECT_LT(expected.size(), Much().size() + 2'000'000);
  PeerRead got = ReadFromPeer(*channel.peer, expected.size());
  EXPECT_TRUE(got.bytes == expected);
}

// However many requests a peer sends that takes no answer: a small one may ask
// for a large one.
// A peer that asks for much in little, and takes nothing, is not to cost an
// operation for each byte.
TEST_P(ReplyTest, SmallRepliesWaitTogether) {
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  std::string expected(Much());
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply(Much()));
    for (int i = 0; i < 1000; ++i) EXPECT_OK(state.Reply(std::to_string(i)));
    EXPECT_LE(state.output_queue_length(), 20u);
  });
  for (int i = 0; i < 1000; ++i) expected += std::to_string(i);
  Ask(channel, read);
  EXPECT_LE(channel.state->output_queue_length(), 20u);
  PeerRead got = ReadFromPeer(*channel.peer, expected.size());
  EXPECT_TRUE(got.bytes == expected);
}

TEST_P(ReplyTest, LargeRepliesOfOneCallbackDoNotPileUp) {
  RemakeCollection({.limits = {.output_queue_bytes_max = 1'000'000}});
  Channel channel = MakeChannel();
  Recorder read(*this, "read", Recorder::kRepeating);
  size_t accepted = 0;
  Serve(*channel.state, read, [&](AsyncIoState& state, const IoResult&) {
    while (accepted < 1000 && state.Reply(Much()).ok()) ++accepted;
  });
  Ask(channel, read);
  EXPECT_LE(accepted, 2u);
  EXPECT_LE(channel.state->output_queue_bytes(), Much().size());
}

// ---- Refusals.

TEST_P(ReplyTest, OnlyTheCallbackOfAReadWithCheckingThatGoesOnMayReply) {
  Channel channel = MakeChannel({.name = "asked"});
  Channel bystander = MakeChannel({.name = "bystander"});
  auto refused = [](AsyncIoState& state) {
    return IsRefusal(state.Reply("answer"),
                     absl::StatusCode::kFailedPrecondition,
                     {state.name(), "Reply refused",
                      "only the callback of a ReadWithChecking that goes on"});
  };
  EXPECT_TRUE(refused(*channel.state)) << "outside of callbacks";
  Recorder other(*this, "other", Recorder::kRepeating);
  ASSERT_OK(bystander.state->ReadWithChecking(other.Callback()));
  Recorder read(*this, "read", Recorder::kRepeating);
  Recorder buffer_read(*this, "buffer");
  Recorder write(*this, "write");
  Recorder abort(*this, "abort");
  char buffer[1];
  ASSERT_OK(channel.state->ReadBuffer(
      buffer, buffer_read.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_TRUE(refused(state)) << "of ReadBuffer";
      })));
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(buffer_read));
  ASSERT_OK(channel.state->WriteBuffer(
      "x", write.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_TRUE(refused(state)) << "of WriteBuffer";
      })));
  ASSERT_TRUE(RunUntil(write));
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_TRUE(refused(*bystander.state)) << "of another state";
        EXPECT_OK(state.Reply("y"));
        EXPECT_OK(state.Finish(1));
        EXPECT_TRUE(refused(state)) << "after Finish";
      })));
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  Recorder interrupted(*this, "interrupted");
  ASSERT_OK(channel.state->ReadWithChecking(interrupted.Callback()));
  ASSERT_OK(channel.state->Abort(
      abort.Callback([&](AsyncIoState& state, const IoResult&) {
        EXPECT_TRUE(refused(state)) << "of Abort";
      })));
  ASSERT_TRUE(RunUntil(abort));
  Recorder last(*this, "last");
  ASSERT_OK(channel.state->ReadWithChecking(
      last.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_EQ(result.status, IoStatus::kEof);
        EXPECT_TRUE(refused(state)) << "in the last call";
      })));
  channel.peer->ShutdownWrite();
  ASSERT_TRUE(RunUntil(last));
  EXPECT_EQ(ReadFromPeer(*channel.peer, 2).bytes, "xy");
  EXPECT_FALSE(other.called());
}

TEST_P(ReplyTest, ReplyOfAClosedStateOrOfNoBytesIsRefused) {
  Channel channel = MakeChannel({.name = "asked"});
  Recorder read(*this, "read");
  Serve(*channel.state, read, [](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply("a"));
    EXPECT_TRUE(IsRefusal(state.Reply(""), absl::StatusCode::kInvalidArgument,
                          {"asked", "Reply refused"}));
    EXPECT_OK(state.Reply("b"));
    EXPECT_OK(state.Discard(1));
    state.Close();
    EXPECT_TRUE(IsRefusal(state.Reply("c"),
                          absl::StatusCode::kFailedPrecondition,
                          {"asked", "Reply refused", "closed"}));
  });
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(ReadFromPeer(*channel.peer, 2).bytes, "ab");
}

}  // namespace
}  // namespace aios::test
