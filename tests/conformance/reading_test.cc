// Conformance of the input side of a state: lines 7-19 of the checklist, and
// what it says about end of file, errors, leftovers and direct use of a socket.

#include <algorithm>
#include <any>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

class ReadingTest : public ConformanceTest {
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
    ASSERT_EQ(channel.state->BufferedDataLength(), bytes.size());
  }

  // Reads with `kind` of operation and returns what it gave.
  Call ReadSome(AsyncIoState& state, size_t size) {
    std::string buffer(size, '\0');
    Recorder read(*this, "read some");
    EXPECT_OK(state.ReadBuffer(buffer, read.Callback()));
    EXPECT_TRUE(RunUntil(read));
    return read.last();
  }
};

INSTANTIATE_TEST_SUITE_P(All, ReadingTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// ---- ReadBuffer.

TEST_P(ReadingTest, Line07_ReadBufferCompletesOnlyWhenTheRangeIsFull) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    const std::string bytes = Pattern(50);
    std::string buffer(50, '\0');
    Recorder read(*this);
    ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
    for (size_t i = 0; i < bytes.size(); ++i) {
      EXPECT_FALSE(read.called()) << "after " << i << " bytes";
      channel.peer->Send(bytes.substr(i, 1));
      Turn(absl::Milliseconds(1));
    }
    ASSERT_TRUE(RunUntil(read));
    const Call& call = read.last();
    EXPECT_EQ(call.callback, "callback");
    EXPECT_EQ(call.state, channel.state.get());
    EXPECT_EQ(call.status, IoStatus::kOk);
    EXPECT_EQ(call.count, bytes.size());
    EXPECT_EQ(call.data, bytes);
    EXPECT_EQ(call.data_begin, buffer.data());
    EXPECT_EQ(buffer, bytes);
    EXPECT_EQ(channel.state->read_status(), IoStatus::kOk);
    EXPECT_EQ(read.callbacks_alive(), 0);
  }
}

TEST_P(ReadingTest, Line07_ReadBufferOfMegabytesOverManyTurns) {
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(3'000'000);
  std::string buffer(bytes.size(), '\0');
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  SendFromPeer(*channel.peer, bytes);
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().count, bytes.size());
  EXPECT_TRUE(buffer == bytes);
}

TEST_P(ReadingTest, ReadBufferFillsItsRangeAlone) {
  Channel channel = MakeChannel();
  std::string buffer = "..........";
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback(),
                                      {.start = 3, .end = 7}));
  channel.peer->Send("abcdef");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(buffer, "...abcd...");
  EXPECT_EQ(read.last().count, 4u);
  EXPECT_EQ(read.last().data, "abcd");
  EXPECT_EQ(read.last().data_begin, buffer.data() + 3);
  // The rest of what arrived is not lost.
  EXPECT_EQ(ReadSome(*channel.state, 2).data, "ef");
}

TEST_P(ReadingTest, CompletionIsPostedEvenWhenTheBytesAreThere) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "abc");
  char buffer[3];
  Recorder read(*this);
  // The recorder sees to it that this call does not call back.
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  EXPECT_FALSE(read.called());
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().data, "abc");
}

TEST_P(ReadingTest, Line08_ReadBufferTimeoutGivesPartialCountToCallback) {
  Channel channel = MakeChannel();
  std::string buffer = "........";
  Recorder read(*this);
  Nanoseconds start = Now();
  ASSERT_OK(
      channel.state->ReadBuffer(buffer, read.Callback(),
                                {.timeout = absl::Milliseconds(8),
                                 .error_callback = read.ErrorCallback()}));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_GE(Since(start), absl::Milliseconds(8));
  const Call& call = read.last();
  EXPECT_EQ(call.callback, "callback") << "a timeout is no error";
  EXPECT_EQ(call.status, IoStatus::kTimeout);
  EXPECT_EQ(call.read_status, IoStatus::kTimeout);
  EXPECT_EQ(call.write_status, IoStatus::kOk) << "the other direction";
  EXPECT_TRUE(call.error.ok());
  EXPECT_EQ(call.count, 3u);
  EXPECT_EQ(call.data, "abc");
  EXPECT_EQ(buffer, "abc.....");
  EXPECT_EQ(channel.state->read_status(), IoStatus::kTimeout);
  EXPECT_EQ(read.callbacks_alive(), 0) << "the error callback goes as well";
}

TEST_P(ReadingTest, Line09_ReadAfterTimeoutGetsTheRestOfTheStream) {
  Channel channel = MakeChannel();
  std::string buffer(6, '.');
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer(buffer, first.Callback(),
                                      {.timeout = absl::Milliseconds(5)}));
  channel.peer->Send("abcd");
  ASSERT_TRUE(RunUntil(first));
  ASSERT_EQ(first.last().status, IoStatus::kTimeout);
  ASSERT_EQ(first.last().count, 4u);

  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadBuffer(buffer, second.Callback(),
                                      {.timeout = absl::InfiniteDuration()}));
  EXPECT_EQ(channel.state->read_status(), IoStatus::kOk)
      << "forgotten when the next operation starts";
  channel.peer->Send("efghij");
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().status, IoStatus::kOk);
  EXPECT_EQ(buffer, "efghij");
}

TEST_P(ReadingTest, Line09_NothingIsLostBetweenTimeoutAndNextRead) {
  Channel channel = MakeChannel();
  std::string buffer(8, '.');
  Recorder first(*this, "first");
  ASSERT_OK(channel.state->ReadBuffer(buffer, first.Callback(),
                                      {.timeout = absl::Milliseconds(2)}));
  ASSERT_TRUE(RunUntil(first));
  ASSERT_EQ(first.last().status, IoStatus::kTimeout);
  channel.peer->Send("late");
  RunFor();
  EXPECT_EQ(buffer, "........") << "no operation, no reading";
  EXPECT_EQ(ReadSome(*channel.state, 4).data, "late");
}

TEST_P(ReadingTest, Line10_SecondInputOperationIsRefusedTheFirstUnaffected) {
  using Start = std::function<absl::Status(AsyncIoState&, IoCallback)>;
  std::string first_buffer(4, '.');
  std::string second_buffer(4, '.');
  auto starts = [](std::string& buffer) {
    return std::vector<std::pair<std::string, Start>>{
        {"ReadBuffer",
         [&buffer](AsyncIoState& state, IoCallback callback) {
           return state.ReadBuffer(buffer, std::move(callback));
         }},
        {"ReadWithChecking",
         [](AsyncIoState& state, IoCallback callback) {
           return state.ReadWithChecking(std::move(callback));
         }},
        {"WaitForInput",
         [](AsyncIoState& state, IoCallback callback) {
           return state.WaitForInput(std::move(callback));
         }},
        {"ReceiveMessage",
         [&buffer](AsyncIoState& state, IoCallback callback) {
           return state.ReceiveMessage(buffer, std::move(callback));
         }},
    };
  };
  for (auto& [first_name, first_start] : starts(first_buffer)) {
    for (auto& [second_name, second_start] : starts(second_buffer)) {
      SCOPED_TRACE(first_name + ", then " + second_name);
      Channel channel =
          MakeChannel({.user_info = std::string("before"), .name = "busy"});
      Recorder first(*this, "first");
      Recorder second(*this, "second");
      ASSERT_OK(
          first_start(*channel.state,
                      first.Callback([name = first_name](AsyncIoState& state,
                                                         const IoResult&) {
                        if (name == "ReadWithChecking") {
                          EXPECT_OK(state.Finish());
                        }
                      })));
      EXPECT_TRUE(IsRefusal(second_start(*channel.state, second.Callback()),
                            absl::StatusCode::kFailedPrecondition,
                            {"busy", first_name, second_name}));
      EXPECT_EQ(second.callbacks_alive(), 0);
      channel.peer->Send("abcd");
      ASSERT_TRUE(RunUntil(first));
      EXPECT_EQ(first.last().status, IoStatus::kOk);
      RunFor(absl::Milliseconds(1));
      EXPECT_FALSE(second.called());
      EXPECT_EQ(second_buffer, "....");
      EXPECT_EQ(first.last().user_info, "before");
    }
  }
}

TEST_P(ReadingTest, Line10_RefusedOperationChangesNoAttribute) {
  Channel channel = MakeChannel(
      {.read_timeout = absl::Seconds(30), .user_info = std::string("before")});
  char buffer[4];
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadBuffer(buffer, first.Callback()));
  EXPECT_FALSE(channel.state
                   ->ReadBuffer(buffer, second.Callback(),
                                {.timeout = absl::Seconds(1),
                                 .error_callback = second.ErrorCallback(),
                                 .user_info = std::string("after")})
                   .ok());
  EXPECT_FALSE(channel.state
                   ->ReadWithChecking(second.Callback(),
                                      {.timeout = absl::Seconds(1),
                                       .max_read = 3,
                                       .user_info = std::string("after")})
                   .ok());
  EXPECT_EQ(channel.state->read_timeout(), absl::Seconds(30));
  EXPECT_EQ(std::any_cast<std::string>(channel.state->user_info()), "before");
  EXPECT_EQ(channel.state->max_read(), size_t{16} << 10);
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(first));
  EXPECT_EQ(first.last().callback, "callback")
      << "the error callback of the refused one is not its";
}

// ---- ReadWithChecking.

TEST_P(ReadingTest, Line11_OldLengthIsWhatThePreviousCallHadSeen) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    Recorder read(*this, "checking", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(
        read.Callback([](AsyncIoState& state, const IoResult& result) {
          EXPECT_EQ(result.count, result.data.size());
          if (result.count >= 9) {
            EXPECT_OK(state.Finish());
          }
        })));
    std::string sent;
    for (std::string_view part : {"abc", "defg", "hi"}) {
      channel.peer->Send(part);
      sent += part;
      ASSERT_TRUE(RunUntil(
          [&] { return read.called() && read.last().count == sent.size(); }));
    }
    ASSERT_GE(read.calls().size(), 3u);
    size_t previous = 0;
    for (const Call& call : read.calls()) {
      EXPECT_EQ(call.status, IoStatus::kOk);
      EXPECT_EQ(call.old_length, previous);
      EXPECT_GT(call.count, previous) << "nothing new, no call";
      EXPECT_EQ(call.data, sent.substr(0, call.count));
      previous = call.count;
    }
    EXPECT_EQ(previous, sent.size());
  }
}

TEST_P(ReadingTest, Line12_DiscardKeepsTheRestAtTheFront) {
  Channel channel = MakeChannel();
  bool discarded = false;
  size_t old_length = 0;
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (!discarded && result.count == 8) {
          ASSERT_EQ(result.data, "abcdefgh");
          absl::StatusOr<size_t> left = state.Discard(5);
          ASSERT_OK(left);
          EXPECT_EQ(*left, 3u);
          EXPECT_EQ(state.BufferedDataLength(), 3u);
          discarded = true;
        } else if (discarded) {
          if (old_length == 0) old_length = read.last().old_length;
          if (result.count == 5) {
            EXPECT_OK(state.Finish(result.count));
          }
        }
      })));
  channel.peer->Send("abcdefgh");
  ASSERT_TRUE(RunUntil([&] { return discarded; }));
  channel.peer->Send("XY");
  ASSERT_TRUE(RunUntil([&] { return read.callbacks_alive() == 0; }));
  EXPECT_EQ(read.last().data, "fghXY");
  EXPECT_EQ(old_length, 3u);
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
}

TEST_P(ReadingTest, Line12_DiscardOfAllOfNothingAndOfTooMuch) {
  Channel channel = MakeChannel({.name = "discarder"});
  std::string seen;
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_TRUE(IsRefusal(state.Discard(result.count + 1),
                              absl::StatusCode::kInvalidArgument,
                              {"discarder", "Discard"}));
        EXPECT_TRUE(IsRefusal(state.Finish(result.count + 1),
                              absl::StatusCode::kInvalidArgument,
                              {"discarder", "Finish"}));
        absl::StatusOr<size_t> left = state.Discard(0);
        ASSERT_OK(left);
        EXPECT_EQ(*left, result.count) << "nothing was dropped";
        left = state.Discard(result.count);
        ASSERT_OK(left);
        EXPECT_EQ(*left, 0u);
        seen += result.data;
      })));
  channel.peer->Send("first");
  ASSERT_TRUE(RunUntil([&] { return seen.size() == 5; }));
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
  channel.peer->Send("next");
  ASSERT_TRUE(RunUntil([&] { return seen.size() == 9; }))
      << "the refused Finish has not ended it";
  EXPECT_EQ(seen, "firstnext");
  for (const Call& call : read.calls()) EXPECT_EQ(call.old_length, 0u);
}

TEST_P(ReadingTest, DiscardSeveralTimesAndThenFinishInOneCallback) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < 8) return;
        EXPECT_EQ(state.Discard(1).value(), 7u);
        EXPECT_EQ(state.Discard(2).value(), 5u);
        EXPECT_EQ(state.Finish(1).value(), 4u);
        // Once is all.
        EXPECT_TRUE(IsRefusal(state.Discard(1),
                              absl::StatusCode::kFailedPrecondition,
                              {"Discard"}));
        EXPECT_TRUE(IsRefusal(
            state.Finish(), absl::StatusCode::kFailedPrecondition, {"Finish"}));
      })));
  channel.peer->Send("abcdefgh");
  ASSERT_TRUE(RunUntil([&] { return read.callbacks_alive() == 0; }));
  EXPECT_EQ(channel.state->BufferedDataLength(), 4u);
  EXPECT_EQ(ReadSome(*channel.state, 4).data, "efgh");
}

TEST_P(ReadingTest, DiscardAndFinishAreRefusedElsewhere) {
  Channel channel = MakeChannel({.name = "idle"});
  auto expect_refused = [&](AsyncIoState& state) {
    EXPECT_TRUE(IsRefusal(state.Discard(0),
                          absl::StatusCode::kFailedPrecondition,
                          {"idle", "Discard"}));
    EXPECT_TRUE(IsRefusal(state.Finish(), absl::StatusCode::kFailedPrecondition,
                          {"idle", "Finish"}));
  };
  expect_refused(*channel.state);
  LeaveInBuffer(channel, "left");
  expect_refused(*channel.state);

  // In a callback of another kind.
  char buffer[2];
  Recorder read(*this, "read");
  ASSERT_OK(channel.state->ReadBuffer(
      buffer, read.Callback([&](AsyncIoState& state, const IoResult&) {
        expect_refused(state);
      })));
  ASSERT_TRUE(RunUntil(read));

  // While one is in progress but its callback is not running.
  Recorder checking(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(checking.Callback()));
  expect_refused(*channel.state);
  ASSERT_TRUE(RunUntil(checking));
  expect_refused(*channel.state);
  EXPECT_EQ(checking.last().data, "ft");
}

TEST_P(ReadingTest,
       DiscardAndFinishAreRefusedOnceTheCallbackHasClosedTheState) {
  Channel channel = MakeChannel({.name = "shut"});
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        size_t there = result.count;
        EXPECT_EQ(state.Close(), there);
        EXPECT_TRUE(IsRefusal(state.Discard(1),
                              absl::StatusCode::kFailedPrecondition,
                              {"shut", "Discard", "closed"}));
        EXPECT_TRUE(IsRefusal(state.Finish(1),
                              absl::StatusCode::kFailedPrecondition,
                              {"shut", "Finish", "closed"}));
        EXPECT_EQ(result.data, std::string("abc").substr(0, there));
        std::string left(there, '.');
        EXPECT_EQ(state.GetBufferedData(left).value(), there);
        EXPECT_EQ(left, std::string("abc").substr(0, there));
      })));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(read));
  RunFor();
  EXPECT_EQ(read.calls().size(), 1u);
  EXPECT_EQ(read.callbacks_alive(), 0);
}

TEST_P(ReadingTest, Line13_FinishPreservesTheRestForTheNextRead) {
  Channel channel = MakeChannel();
  Recorder first(*this, "first", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      first.Callback([](AsyncIoState& state, const IoResult& result) {
        if (result.count < 8) return;
        absl::StatusOr<size_t> left = state.Finish(3);
        ASSERT_OK(left);
        EXPECT_EQ(*left, 5u);
      })));
  channel.peer->Send("abcdefgh");
  ASSERT_TRUE(RunUntil([&] { return first.callbacks_alive() == 0; }));
  EXPECT_EQ(channel.state->BufferedDataLength(), 5u);

  // Offered at once: nothing more arrives.
  Recorder second(*this, "second");
  ASSERT_OK(channel.state->ReadWithChecking(
      second.Callback([](AsyncIoState& state, const IoResult& result) {
        EXPECT_OK(state.Finish(result.count));
      })));
  ASSERT_TRUE(RunUntil(second));
  EXPECT_EQ(second.last().data, "defgh");
  EXPECT_EQ(second.last().old_length, 0u);
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
}

TEST_P(ReadingTest, Line13_OldLengthIsZeroAgainAfterCallsThatHadSeenTheBytes) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "seen");
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().old_length, 0u);
  EXPECT_EQ(read.last().data, "seen");
  channel.peer->Send("+");
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().old_length, 4u);
}

TEST_P(ReadingTest, Line14_FinishThenStartANewReadInTheSameCallback) {
  Channel channel = MakeChannel();
  std::string body(6, '.');
  Recorder header(*this, "header", Recorder::kRepeating);
  Recorder rest(*this, "body");
  Recorder after(*this, "after");
  ASSERT_OK(channel.state->ReadWithChecking(
      header.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < 2) return;
        EXPECT_OK(state.Finish(2));
        EXPECT_OK(state.ReadBuffer(
            body, rest.Callback([&](AsyncIoState& state, const IoResult&) {
              // And from a callback of ReadBuffer.
              EXPECT_OK(state.ReadWithChecking(
                  after.Callback([](AsyncIoState& state, const IoResult&) {
                    EXPECT_OK(state.Finish());
                  })));
            })));
      })));
  channel.peer->Send("6:abc");
  ASSERT_TRUE(RunUntil([&] { return header.callbacks_alive() == 0; }));
  channel.peer->Send("def!");
  ASSERT_TRUE(RunUntil(after));
  EXPECT_EQ(body, "abcdef");
  EXPECT_EQ(after.last().data, "!");
}

TEST_P(ReadingTest, Line14_ManyReadsOutOfOneSegmentDoNotRecurse) {
  Channel channel = MakeChannel();
  int calls = 0;
  bool running = false;
  const std::string bytes = Pattern(10'000);
  std::function<void(AsyncIoState&)> start = [&](AsyncIoState& state) {
    EXPECT_OK(state.ReadWithChecking(
        [&](AsyncIoState& state, const IoResult& result) {
          ASSERT_FALSE(running);
          running = true;
          ASSERT_EQ(result.data[0], bytes[calls]);
          ++calls;
          EXPECT_OK(state.Finish(1));
          if (calls < 10'000) start(state);
          running = false;
        }));
  };
  start(*channel.state);
  channel.peer->Send(bytes);
  EXPECT_TRUE(RunUntil([&] { return calls == 10'000; }));
}

TEST_P(ReadingTest, Line15_NoCallReadsMoreThanMaxReadNewBytes) {
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(1000);
  Recorder read(*this, "checking", Recorder::kRepeating);
  channel.peer->Send(bytes);
  std::string got;
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        size_t fresh = result.count - state.old_length();
        EXPECT_LE(fresh, 64u);
        EXPECT_GE(fresh, 1u);
        got += result.data.substr(state.old_length());
        // Every other call leaves some.
        size_t consumed =
            read.calls().size() % 2 == 0 ? result.count : result.count / 2;
        if (got.size() < bytes.size()) {
          EXPECT_OK(state.Discard(consumed));
        } else {
          EXPECT_OK(state.Finish());
        }
      }),
      {.max_read = 64}));
  ASSERT_TRUE(RunUntil([&] { return got.size() >= bytes.size(); }));
  EXPECT_TRUE(got == bytes);
  EXPECT_EQ(channel.state->max_read(), 64u) << "it becomes the state's";
}

TEST_P(ReadingTest, MaxReadOfTheStateIsUsedWhenNoneIsGiven) {
  Channel channel = MakeChannel();
  EXPECT_EQ(channel.state->max_read(), size_t{16} << 10);
  ASSERT_OK(channel.state->set_max_read(1));
  channel.peer->Send("abc");
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 3; }));
  EXPECT_EQ(read.calls()[0].data, "a");
  EXPECT_EQ(read.calls()[1].data, "ab");
  EXPECT_EQ(read.calls()[2].data, "abc");
}

TEST_P(ReadingTest, Line16_LinesAreTheSameOverAnySegmentation) {
  const std::vector<std::string> lines = {
      "", "a", "hello, world", std::string(300, 'x'), "", "last"};
  std::string bytes;
  for (const std::string& line : lines) bytes += line + "\n";
  for (size_t segment : {size_t{1}, size_t{7}, bytes.size()}) {
    SCOPED_TRACE(segment);
    Channel channel = MakeChannel();
    std::vector<std::string> got;
    Recorder read(*this, "lines", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(
        read.Callback([&](AsyncIoState& state, const IoResult& result) {
          // Searches only what is new.
          size_t done = 0;
          size_t from = state.old_length();
          for (;;) {
            size_t end = result.data.find('\n', from);
            if (end == std::string_view::npos) break;
            got.emplace_back(result.data.substr(done, end - done));
            done = from = end + 1;
          }
          EXPECT_EQ(state.Discard(done).value(), result.count - done);
        })));
    for (size_t at = 0; at < bytes.size(); at += segment) {
      channel.peer->Send(bytes.substr(at, segment));
      Turn(absl::Milliseconds(1));
    }
    ASSERT_TRUE(RunUntil([&] { return got.size() >= lines.size(); }));
    EXPECT_EQ(got, lines);
  }
}

TEST_P(ReadingTest, BytesPiledUpToTheLimitEndWithEmsgsizeAndAreNotLost) {
  RemakeCollection({.limits = {.input_buffer_bytes_max = 1000}});
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(2500);
  channel.peer->Send(bytes);
  Recorder read(*this, "greedy", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
  ASSERT_TRUE(
      RunUntil([&] { return read.called() && !read.last().error.ok(); }));
  const Call& call = read.last();
  EXPECT_EQ(call.callback, "callback");
  EXPECT_EQ(call.status, IoStatus::kError);
  EXPECT_EQ(call.error, Error(EMSGSIZE));
  EXPECT_EQ(call.count, 1000u);
  EXPECT_TRUE(call.data == bytes.substr(0, 1000));
  EXPECT_EQ(channel.state->read_status(), IoStatus::kError);
  EXPECT_EQ(channel.state->read_error(), Error(EMSGSIZE));
  EXPECT_EQ(read.callbacks_alive(), 0);
  // The stream is as good as ever.
  Call rest = ReadSome(*channel.state, bytes.size());
  EXPECT_EQ(rest.status, IoStatus::kOk);
  EXPECT_TRUE(rest.data == bytes);
}

TEST_P(ReadingTest, LimitedErrorGoesToTheErrorCallbackWhichMayDiscard) {
  RemakeCollection({.limits = {.input_buffer_bytes_max = 100}});
  Channel channel = MakeChannel();
  channel.peer->Send(Pattern(150));
  Recorder read(*this, "greedy", Recorder::kRepeating);
  Recorder next(*this, "next");
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback(), {.error_callback = read.ErrorCallback(
                            [&](AsyncIoState& state, const IoResult&) {
                              EXPECT_EQ(state.Discard(90).value(), 10u);
                              EXPECT_OK(state.ReadWithChecking(next.Callback(
                                  [](AsyncIoState& state, const IoResult&) {
                                    EXPECT_OK(state.Finish());
                                  })));
                            })}));
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(read.last().callback, "error_callback");
  EXPECT_EQ(next.last().data, Pattern(150).substr(90, next.last().count));
}

TEST_P(ReadingTest, ReadWithCheckingTakesNoMoreThanTheLimitAtOnce) {
  // A `max_read` above the limit, and a consumer that keeps up.
  RemakeCollection({.limits = {.input_buffer_bytes_max = 1000}});
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(20'000);
  std::string got;
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_EQ(result.status, IoStatus::kOk);
        EXPECT_LE(result.count, 1000u);
        got += result.data;
        EXPECT_OK(state.Discard(result.count));
      }),
      {.max_read = 5000}));
  SendFromPeer(*channel.peer, bytes);
  ASSERT_TRUE(RunUntil([&] { return got.size() >= bytes.size(); }));
  EXPECT_TRUE(got == bytes);
}

// ---- End of file and errors.

// The last callback of one may start the next one and drop then what that would
// have begun with: there is nothing to look at before more has come.
TEST_P(ReadingTest, BytesDroppedAfterTheNextReadWithCheckingWasStarted) {
  for (bool finish : {false, true}) {
    for (bool abort : {false, true}) {
      SCOPED_TRACE(testing::Message() << (finish ? "finish" : "discard")
                                      << (abort ? ", aborted" : ", timed out"));
      Channel channel = MakeChannel();
      Recorder next(*this, "next", Recorder::kRepeating);
      auto start_next = [&](AsyncIoState& state, const IoResult& result) {
        if (result.ok()) return;
        EXPECT_EQ(result.data, "abc");
        ASSERT_OK(state.ReadWithChecking(
            next.Callback([](AsyncIoState& state, const IoResult& result) {
              if (result.ok()) {
                EXPECT_OK(state.Reply("!"));
              }
              EXPECT_OK(state.Discard(result.count));
            }),
            {.timeout = absl::Milliseconds(20)}));
        EXPECT_OK(finish ? state.Finish(result.count)
                         : state.Discard(result.count));
      };
      Recorder read(*this, "read", Recorder::kRepeating);
      Recorder aborted(*this, "aborted");
      ASSERT_OK(channel.state->ReadWithChecking(
          read.Callback(start_next), {.timeout = absl::Milliseconds(20)}));
      SendFromPeer(*channel.peer, "abc");
      ASSERT_TRUE(
          RunUntil([&] { return read.called() && read.last().count == 3; }));
      if (abort) {
        ASSERT_OK(channel.state->Abort(aborted.Callback(start_next)));
        ASSERT_TRUE(RunUntil(aborted));
      } else {
        ASSERT_TRUE(
            RunUntil([&] { return read.last().status == IoStatus::kTimeout; }));
      }
      RunFor(absl::Milliseconds(1));
      EXPECT_FALSE(next.called());
      channel.peer->Send("d");
      ASSERT_TRUE(RunUntil(next));
      EXPECT_EQ(next.last().data, "d");
      ASSERT_TRUE(
          RunUntil([&] { return next.last().status == IoStatus::kTimeout; }));
      EXPECT_EQ(next.calls().size(), 2u);
    }
  }
}

TEST_P(ReadingTest, Line17_EofWithLeftoverInputGivesItToTheCallback) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({}, family);
    Recorder read(*this, "checking", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(
        read.Callback([](AsyncIoState& state, const IoResult& result) {
          // Legal in the last call, too.
          if (!result.ok()) {
            EXPECT_EQ(state.Discard(2).value(), 2u);
          }
        }),
        {.error_callback = read.ErrorCallback()}));
    channel.peer->Send("rest");
    ASSERT_TRUE(RunUntil(read));
    channel.peer->Close();
    ASSERT_TRUE(RunUntil([&] { return read.last().status != IoStatus::kOk; }));
    EXPECT_EQ(read.last().callback, "callback") << "end of file is no error";
    EXPECT_EQ(read.last().status, IoStatus::kEof);
    EXPECT_EQ(read.last().read_status, IoStatus::kEof);
    EXPECT_EQ(read.last().count, 4u);
    EXPECT_EQ(read.last().data, "rest");
    EXPECT_EQ(read.last().old_length, 4u);
    EXPECT_EQ(channel.state->BufferedDataLength(), 2u);
    EXPECT_EQ(read.callbacks_alive(), 0) << "it has ended by itself";
  }
}

TEST_P(ReadingTest, Line17_EofWithoutLeftoverInputHasCountZero) {
  Channel channel = MakeChannel();
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback(), {.error_callback = read.ErrorCallback()}));
  channel.peer->Close();
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().callback, "callback");
  EXPECT_EQ(read.last().status, IoStatus::kEof);
  EXPECT_EQ(read.last().count, 0u);
  EXPECT_EQ(read.last().data, "");
}

TEST_P(ReadingTest, EofInReadBufferGivesWhatArrivedToTheCallback) {
  Channel channel = MakeChannel();
  std::string buffer(8, '.');
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(
      buffer, read.Callback(), {.error_callback = read.ErrorCallback()}));
  channel.peer->Send("abc");
  EXPECT_TRUE(channel.peer->ShutdownWrite().ok());
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().callback, "callback");
  EXPECT_EQ(read.last().status, IoStatus::kEof);
  EXPECT_EQ(read.last().count, 3u);
  EXPECT_EQ(buffer, "abc.....");
}

TEST_P(ReadingTest, EofIsStickyAfterWhatIsLeftInTheBuffer) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(read.Callback()));
  channel.peer->Send("abc");
  EXPECT_TRUE(channel.peer->ShutdownWrite().ok());
  ASSERT_TRUE(RunUntil(
      [&] { return read.called() && read.last().status == IoStatus::kEof; }));
  ASSERT_EQ(channel.state->BufferedDataLength(), 3u);

  Recorder wait(*this, "wait for leftovers");
  ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kOk);

  EXPECT_EQ(ReadSome(*channel.state, 2).status, IoStatus::kOk);
  Call partial = ReadSome(*channel.state, 2);
  EXPECT_EQ(partial.status, IoStatus::kEof);
  EXPECT_EQ(partial.data, "c");
  for (int i = 0; i < 2; ++i) {
    Call empty = ReadSome(*channel.state, 2);
    EXPECT_EQ(empty.status, IoStatus::kEof);
    EXPECT_EQ(empty.count, 0u);
    EXPECT_EQ(channel.state->read_status(), IoStatus::kEof);
  }
  for (int i = 0; i < 2; ++i) {
    Recorder checking(*this, "checking");
    ASSERT_OK(channel.state->ReadWithChecking(checking.Callback()));
    ASSERT_TRUE(RunUntil(checking));
    EXPECT_EQ(checking.last().status, IoStatus::kEof);
    char byte;
    Recorder receive(*this, "receive");
    ASSERT_OK(channel.state->ReceiveMessage({&byte, 1}, receive.Callback()));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().status, IoStatus::kEof);
    Recorder waiting(*this, "wait");
    ASSERT_OK(channel.state->WaitForInput(waiting.Callback()));
    ASSERT_TRUE(RunUntil(waiting));
    EXPECT_EQ(waiting.last().status, IoStatus::kEof);
  }
  // The other direction is open.
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->WriteBuffer("still here", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.peer->ReceiveExactly(10), "still here");
}

TEST_P(ReadingTest, ResetGoesToTheErrorCallbackAndIsSticky) {
  Channel channel = MakeChannel();
  std::string buffer(8, '.');
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(
      buffer, read.Callback(), {.error_callback = read.ErrorCallback()}));
  channel.peer->Send("abc");
  RunFor(absl::Milliseconds(2));
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().callback, "error_callback");
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().error, Error(ECONNRESET));
  EXPECT_EQ(read.last().read_status, IoStatus::kError);
  EXPECT_EQ(read.callbacks_alive(), 0);
  EXPECT_EQ(buffer.substr(0, read.last().count),
            std::string("abc").substr(0, read.last().count));
  for (int i = 0; i < 2; ++i) {
    Recorder again(*this, "again");
    ASSERT_OK(channel.state->ReadBuffer(
        buffer, again.Callback(), {.error_callback = again.ErrorCallback()}));
    ASSERT_TRUE(RunUntil(again));
    EXPECT_EQ(again.last().callback, "error_callback");
    EXPECT_EQ(again.last().error, Error(ECONNRESET));
    EXPECT_EQ(again.last().count, 0u);
    EXPECT_EQ(channel.state->read_error(), Error(ECONNRESET));
  }
}

TEST_P(ReadingTest, ErrorGoesToTheCallbackWhenThereIsNoErrorCallback) {
  Channel channel = MakeChannel();
  char byte;
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().callback, "callback");
  EXPECT_EQ(read.last().error, Error(ECONNRESET));
  EXPECT_FALSE(read.last().status == IoStatus::kOk);
}

TEST_P(ReadingTest, ErrorOfReadWithCheckingKeepsWhatHadArrived) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback(), {.error_callback = read.ErrorCallback()}));
  channel.peer->Send("abc");
  ASSERT_TRUE(
      RunUntil([&] { return read.called() && read.last().count == 3; }));
  channel.peer->Reset();
  ASSERT_TRUE(
      RunUntil([&] { return read.last().callback == "error_callback"; }));
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().data, "abc");
  // What is left comes first, then the error again.
  EXPECT_EQ(ReadSome(*channel.state, 3).data, "abc");
  EXPECT_EQ(ReadSome(*channel.state, 3).error, Error(ECONNRESET));
}

// Whatever its callback does meanwhile: here the interest in the socket
// changes.
TEST_P(ReadingTest, BrokenStreamIsReadNoFurtherByAReadWithChecking) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  Channel channel = MakeChannel();
  Recorder first(*this, "first", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      first.Callback([&](AsyncIoState&, const IoResult& result) {
        if (result.ok() && result.count == 3) {
          faults.FailNth(KernelCall::kReceive, 1, Error(EHOSTUNREACH));
        }
      })));
  channel.peer->Send("abc");
  ASSERT_TRUE(
      RunUntil([&] { return first.called() && first.last().count == 3; }));
  channel.peer->Send("d");
  ASSERT_TRUE(RunUntil([&] { return first.callbacks_alive() == 0; }));
  ASSERT_EQ(first.last().error, Error(EHOSTUNREACH));
  Recorder read(*this, "checking", Recorder::kRepeating);
  Recorder write(*this, "write");
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (!result.ok()) return;
        EXPECT_OK(state.WriteBuffer(EndlessData(), write.Callback()));
        EXPECT_OK(state.Shutdown(Direction::kOutput));
      })));
  ASSERT_TRUE(RunUntil([&] { return read.calls().size() == 2; }));
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().error, Error(EHOSTUNREACH));
  EXPECT_EQ(read.last().data, "abc");
}

TEST_P(ReadingTest, ResetOfAnIdleStateIsSeenByTheNextOperation) {
  Channel channel = MakeChannel();
  channel.peer->Reset();
  RunFor();
  EXPECT_EQ(channel.state->read_status(), IoStatus::kOk);
  EXPECT_EQ(ReadSome(*channel.state, 1).error, Error(ECONNRESET));
}

// ---- WaitForInput and ReceiveMessage.

TEST_P(ReadingTest, WaitForInputTakesNothing) {
  Channel channel = MakeChannel();
  Recorder wait(*this);
  ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
  RunFor();
  EXPECT_FALSE(wait.called());
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kOk);
  EXPECT_EQ(wait.last().count, 0u);
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
  std::string taken;
  ASSERT_TRUE(world().Until([&] {
    char buffer[3];
    Transfer received = world().DirectReceive(channel.state->handle(), buffer);
    taken.append(buffer, received.count);
    return taken.size() == 3;
  }));
  EXPECT_EQ(taken, "abc");
}

TEST_P(ReadingTest, WaitForInputWaitsAgainAfterTheInputWasTaken) {
  Channel channel = MakeChannel();
  for (int i = 0; i < 3; ++i) {
    Recorder wait(*this);
    ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
    RunFor(absl::Milliseconds(2));
    EXPECT_FALSE(wait.called());
    channel.peer->Send("x");
    ASSERT_TRUE(RunUntil(wait));
    EXPECT_EQ(ReadSome(*channel.state, 1).data, "x");
  }
}

TEST_P(ReadingTest, WaitForInputTimesOut) {
  Channel channel = MakeChannel();
  Recorder wait(*this);
  Nanoseconds start = Now();
  ASSERT_OK(channel.state->WaitForInput(wait.Callback(),
                                        {.timeout = absl::Milliseconds(4)}));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_GE(Since(start), absl::Milliseconds(4));
  EXPECT_EQ(wait.last().status, IoStatus::kTimeout);
  EXPECT_EQ(channel.state->read_timeout(), absl::Milliseconds(4));
}

TEST_P(ReadingTest, WaitForInputEndsAtOnceWhenThereAreLeftovers) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "left");
  Recorder wait(*this);
  ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kOk);
  EXPECT_EQ(channel.state->BufferedDataLength(), 4u);
}

TEST_P(ReadingTest, WaitForInputTellsAnErrorToItsOnlyCallback) {
  Channel channel = MakeChannel();
  Recorder wait(*this);
  ASSERT_OK(channel.state->WaitForInput(wait.Callback()));
  channel.peer->Reset();
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kError);
  EXPECT_EQ(wait.last().error, Error(ECONNRESET));
}

TEST_P(ReadingTest, ReceiveMessageOnTcpCompletesWithWhatIsThere) {
  Channel channel = MakeChannel();
  std::string buffer(16, '.');
  Recorder receive(*this);
  ASSERT_OK(channel.state->ReceiveMessage(
      buffer, receive.Callback(),
      {.start = 2, .end = 10, .needs_address = true}));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.last().status, IoStatus::kOk);
  // A world may deliver less than was sent at once.
  const size_t count = receive.last().count;
  ASSERT_GE(count, 1u);
  EXPECT_EQ(receive.last().data, std::string("abc").substr(0, count));
  EXPECT_EQ(buffer, ".." + receive.last().data + std::string(14 - count, '.'));
  EXPECT_FALSE(receive.last().truncated);
  EXPECT_EQ(receive.last().sender, channel.peer->LocalAddress());
}

TEST_P(ReadingTest, ReceiveMessageOnTcpTakesLeftoversFirst) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "abcdef");
  channel.peer->Send("ghi");
  std::string buffer(4, '.');
  std::string got;
  while (got.size() < 9) {
    Recorder receive(*this);
    ASSERT_OK(channel.state->ReceiveMessage(buffer, receive.Callback()));
    ASSERT_TRUE(RunUntil(receive));
    ASSERT_EQ(receive.last().status, IoStatus::kOk);
    ASSERT_GE(receive.last().count, 1u);
    got += receive.last().data;
  }
  EXPECT_EQ(got, "abcdefghi");
}

// ---- What is left in the buffer.

TEST_P(ReadingTest, Line18_GetBufferedDataIsRefusedWhileAnOperationIsActive) {
  char buffer[8];
  struct Case {
    std::string operation;
    std::function<absl::Status(AsyncIoState&, IoCallback)> start;
  };
  const std::vector<Case> cases = {
      {"ReadBuffer",
       [&](AsyncIoState& state, IoCallback callback) {
         return state.ReadBuffer(buffer, std::move(callback));
       }},
      {"ReadWithChecking",
       [](AsyncIoState& state, IoCallback callback) {
         return state.ReadWithChecking(std::move(callback));
       }},
      {"WaitForInput",
       [](AsyncIoState& state, IoCallback callback) {
         return state.WaitForInput(std::move(callback));
       }},
      {"WriteBuffer",
       [](AsyncIoState& state, IoCallback callback) {
         return state.WriteBuffer(EndlessData(), std::move(callback));
       }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.operation);
    Channel channel = MakeChannel({.name = "holder"});
    LeaveInBuffer(channel, "abcd");
    Recorder operation(*this, c.operation, Recorder::kRepeating);
    ASSERT_OK(c.start(*channel.state, operation.Callback()));
    char out[8];
    EXPECT_TRUE(IsRefusal(channel.state->GetBufferedData(out),
                          absl::StatusCode::kFailedPrecondition,
                          {"holder", "GetBufferedData", c.operation}));
    // After its end by close, it is allowed.
    channel.state->Close();
    absl::StatusOr<size_t> got = channel.state->GetBufferedData(out);
    ASSERT_OK(got);
    // ReadBuffer has taken what there was.
    EXPECT_EQ(std::string(out, *got),
              c.operation == "ReadBuffer" ? "" : "abcd");
  }
}

TEST_P(ReadingTest, Line18_GetBufferedDataMovesWhatFits) {
  Channel channel = MakeChannel();
  char none[4];
  EXPECT_EQ(channel.state->GetBufferedData(none).value(), 0u);
  LeaveInBuffer(channel, "abcdefg");
  std::string out = "..........";
  EXPECT_EQ(channel.state->GetBufferedData(out, {.start = 2, .end = 5}).value(),
            3u);
  EXPECT_EQ(out, "..abc.....");
  EXPECT_EQ(channel.state->BufferedDataLength(), 4u);
  EXPECT_EQ(channel.state->GetBufferedData(out).value(), 4u);
  EXPECT_EQ(out.substr(0, 4), "defg");
  EXPECT_EQ(channel.state->GetBufferedData(out).value(), 0u);
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
}

TEST_P(ReadingTest, Line18_GetBufferedDataInACallbackThatEndedItsOperation) {
  Channel channel = MakeChannel();
  Recorder read(*this, "checking", Recorder::kRepeating);
  char out[8];
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([&](AsyncIoState& state, const IoResult& result) {
        if (result.count < 3) return;
        EXPECT_TRUE(IsRefusal(state.GetBufferedData(out),
                              absl::StatusCode::kFailedPrecondition,
                              {"ReadWithChecking"}));
        EXPECT_OK(state.Finish(1));
        absl::StatusOr<size_t> got = state.GetBufferedData(out);
        ASSERT_OK(got);
        EXPECT_EQ(std::string(out, *got), "bc");
      })));
  channel.peer->Send("abc");
  ASSERT_TRUE(RunUntil([&] { return read.callbacks_alive() == 0; }));
  EXPECT_EQ(channel.state->BufferedDataLength(), 0u);
}

TEST_P(ReadingTest, Line19_CloseReturnsUnreadBytesThatCanBeFetchedAfterwards) {
  Channel channel = MakeChannel();
  LeaveInBuffer(channel, "abcdef");
  EXPECT_EQ(channel.state->Close(), 6u);
  EXPECT_EQ(channel.state->Close(), 0u) << "the second time";
  EXPECT_EQ(channel.state->BufferedDataLength(), 6u);
  char out[4];
  EXPECT_EQ(channel.state->GetBufferedData(out).value(), 4u);
  EXPECT_EQ(std::string(out, 4), "abcd");
  EXPECT_EQ(channel.state->GetBufferedData(out).value(), 2u);
  EXPECT_EQ(std::string(out, 2), "ef");
  EXPECT_TRUE(channel.peer->ReceiveAll().end) << "the socket was closed";
}

TEST_P(ReadingTest, Line19_CloseWithKeepAliveLeavesAWorkingSocket) {
  for (bool blocking : {true, false}) {
    SCOPED_TRACE(blocking ? "blocking" : "nonblocking");
    TcpPair pair = world().RawSocketPair(Family::kIpv4);
    world().SetBlocking(pair.handle, blocking);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
        CreateAsyncIoState(collection(), pair.handle);
    ASSERT_OK(made);
    Channel channel{.state = *std::move(made), .peer = std::move(pair.peer)};
    LeaveInBuffer(channel, "early");
    Recorder read(*this, "in progress");
    Recorder write(*this, "in progress");
    ASSERT_OK(channel.state->WaitForInput(read.Callback()));
    EXPECT_EQ(channel.state->Close({.keep_alive = true}), 5u);
    EXPECT_TRUE(channel.state->closed());
    EXPECT_EQ(channel.state->handle(), kNoHandle);
    EXPECT_EQ(world().IsBlocking(pair.handle), blocking)
        << "the mode in which it was given";
    char out[8];
    EXPECT_EQ(channel.state->GetBufferedData(out).value(), 5u);
    channel.state.reset();

    // It carries on, directly and under another state.
    world().SetBlocking(pair.handle, true);
    EXPECT_EQ(world().DirectSend(pair.handle, "out").count, 3u);
    world().SetBlocking(pair.handle, blocking);
    EXPECT_EQ(channel.peer->ReceiveExactly(3), "out");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> again =
        CreateAsyncIoState(collection(), pair.handle);
    ASSERT_OK(again);
    channel.peer->Send("in");
    EXPECT_EQ(ReadSome(**again, 2).data, "in");
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(read.called());
    EXPECT_EQ((*again)->Close(), 0u);
    EXPECT_TRUE(channel.peer->ReceiveAll().end);
  }
}

TEST_P(ReadingTest, Line19_HandOverToAnotherCollectionLosesNothing) {
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> other =
      MakeWaitStateCollection(kernel());
  ASSERT_OK(other);
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(5000);
  LeaveInBuffer(channel, bytes.substr(0, 3000));
  SendFromPeer(*channel.peer, bytes.substr(3000));
  Handle handle = channel.state->handle();
  std::string got(channel.state->BufferedDataLength(), '\0');
  EXPECT_EQ(channel.state->Close({.keep_alive = true}), got.size());
  EXPECT_EQ(channel.state->GetBufferedData(got).value(), got.size());
  absl::StatusOr<std::unique_ptr<AsyncIoState>> moved =
      CreateAsyncIoState(**other, handle);
  ASSERT_OK(moved);
  std::string rest(bytes.size() - got.size(), '\0');
  IoStatus status = IoStatus::kAborted;
  ASSERT_OK((*moved)->ReadBuffer(
      rest,
      [&](AsyncIoState&, const IoResult& result) { status = result.status; }));
  Nanoseconds start = Now();
  while (status == IoStatus::kAborted && Now() - start < kGuard) {
    (*other)->Wait(absl::Milliseconds(50));
    (*other)->Call();
  }
  EXPECT_EQ(status, IoStatus::kOk);
  EXPECT_TRUE(got + rest == bytes);
}

// ---- The socket is still the user's.

TEST_P(ReadingTest, ReadThroughTheStateWhileWritingDirectly) {
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), pair.handle);
  ASSERT_OK(state);
  char buffer[4];
  Recorder read(*this);
  ASSERT_OK((*state)->ReadBuffer(buffer, read.Callback()));
  RunFor(absl::Milliseconds(1));
  // The socket does not block: what it takes at once, which may be little.
  std::string_view unsent = "directly";
  ASSERT_TRUE(world().Until([&] {
    unsent.remove_prefix(world().DirectSend(pair.handle, unsent).count);
    return unsent.empty();
  }));
  EXPECT_EQ(pair.peer->ReceiveExactly(8), "directly");
  pair.peer->Send("back");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().data, "back");
}

TEST_P(ReadingTest, WriteThroughTheStateWhileReadingDirectly) {
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), pair.handle);
  ASSERT_OK(state);
  pair.peer->Send("for the object");
  Recorder write(*this);
  ASSERT_OK((*state)->WriteBuffer("from the state", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  // The loop has run with input there: it must have left it alone.
  RunFor(absl::Milliseconds(1));
  std::string buffer(14, '\0');
  size_t got = 0;
  while (got < buffer.size()) {
    Transfer transfer = world().DirectReceive(
        pair.handle, std::span<char>(buffer).subspan(got));
    ASSERT_TRUE(transfer.error.ok()) << transfer.error.Message();
    ASSERT_NE(transfer.count, 0u);
    got += transfer.count;
  }
  EXPECT_EQ(buffer, "for the object");
  EXPECT_EQ(pair.peer->ReceiveExactly(14), "from the state");
}

// A stream with a socket, as users have them.
struct PlainStream {
  Handle handle;
  Handle native_handle() const { return handle; }
};

struct ClosingStream {
  ClosingStream(TestWorld& world, Handle handle)
      : world(world), handle(handle) {}
  Handle native_handle() { return handle; }
  void close() {
    ++closes;
    blocking_at_close = world.IsBlocking(handle);
    world.DirectClose(handle);
  }
  TestWorld& world;
  Handle handle;
  int closes = 0;
  bool blocking_at_close = false;
};

TEST_P(ReadingTest, StateOnAStreamObjectWithoutClose) {
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  PlainStream stream{pair.handle};
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), stream,
                         // Always TCP, whatever this says.
                         {.read_timeout = absl::Seconds(9),
                          .udp = Udp::kUnconnected,
                          .name = "stream"});
  ASSERT_OK(state);
  EXPECT_EQ(std::any_cast<PlainStream*>((*state)->object()), &stream);
  EXPECT_EQ((*state)->handle(), pair.handle);
  EXPECT_EQ((*state)->read_timeout(), absl::Seconds(9));
  pair.peer->Send("x");
  EXPECT_EQ(ReadSome(**state, 1).data, "x");
  (*state)->Close();
  EXPECT_TRUE(pair.peer->ReceiveAll().end) << "its socket is closed";
}

TEST_P(ReadingTest, StateOnAStreamObjectWithCloseLetsItClose) {
  enum How { kClose, kDestroy, kCollection, kKeepAlive };
  for (How how : {kClose, kDestroy, kCollection, kKeepAlive}) {
    SCOPED_TRACE(how);
    TcpPair pair = world().RawSocketPair(Family::kIpv4);
    ClosingStream stream(world(), pair.handle);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        CreateAsyncIoState(collection(), stream);
    ASSERT_OK(state);
    EXPECT_EQ(std::any_cast<ClosingStream*>((*state)->object()), &stream);
    pair.peer->Send("x");
    EXPECT_EQ(ReadSome(**state, 1).data, "x");
    switch (how) {
      case kClose:
        (*state)->Close();
        (*state)->Close();
        break;
      case kDestroy:
        break;
      case kCollection:
        collection().Close();
        break;
      case kKeepAlive:
        (*state)->Close({.keep_alive = true});
        break;
    }
    state->reset();
    EXPECT_EQ(stream.closes, how == kKeepAlive ? 0 : 1);
    if (how == kKeepAlive) {
      EXPECT_EQ(world().DirectSend(pair.handle, "y").count, 1u);
      EXPECT_EQ(pair.peer->ReceiveExactly(1), "y");
      stream.close();
    }
    EXPECT_TRUE(pair.peer->ReceiveAll().end);
  }
}

TEST_P(ReadingTest, StreamObjectClosesItsSocketInTheModeItGaveIt) {
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  world().SetBlocking(pair.handle, false);
  ClosingStream stream(world(), pair.handle);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), stream);
  ASSERT_OK(state);
  state->reset();
  EXPECT_FALSE(stream.blocking_at_close);
  // The next socket of that number is another one.
  Recorder connect(*this, "connect");
  state = ConnectTcp(collection(), listener->address().ip(),
                     listener->address().port(), connect.Callback());
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  ASSERT_TRUE(connect.last().status == IoStatus::kOk);
  Handle handle = (*state)->handle();
  (*state)->Close({.keep_alive = true});
  EXPECT_TRUE(world().IsBlocking(handle));
  world().DirectClose(handle);
}

TEST_P(ReadingTest, RefusedStreamObjectIsNotClosed) {
  Handle handle = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  ClosingStream stream(world(), handle);
  EXPECT_TRUE(IsRefusal(CreateAsyncIoState(collection(), stream),
                        absl::StatusCode::kInvalidArgument, {"UDP"}));
  EXPECT_EQ(stream.closes, 0);
  EXPECT_TRUE(world().IsBlocking(handle)) << "as it was";
  world().DirectClose(handle);
}

TEST_P(ReadingTest, AttributesOfANewState) {
  for (Family family : Families()) {
    Channel channel = MakeChannel({.read_timeout = absl::Seconds(3),
                                   .write_timeout = absl::Milliseconds(1500),
                                   .user_info = 42,
                                   .name = "attributes"},
                                  family);
    AsyncIoState& state = *channel.state;
    EXPECT_EQ(state.collection(), &collection());
    EXPECT_EQ(std::any_cast<Handle>(state.object()), state.handle());
    EXPECT_NE(state.handle(), kNoHandle);
    EXPECT_FALSE(state.closed());
    EXPECT_FALSE(state.connecting());
    EXPECT_EQ(state.name(), "attributes");
    EXPECT_EQ(std::any_cast<int>(state.user_info()), 42);
    EXPECT_EQ(state.read_timeout(), absl::Seconds(3));
    EXPECT_EQ(state.write_timeout(), absl::Milliseconds(1500));
    EXPECT_EQ(state.read_status(), IoStatus::kOk);
    EXPECT_EQ(state.write_status(), IoStatus::kOk);
    EXPECT_EQ(state.old_length(), 0u);
    EXPECT_EQ(state.BufferedDataLength(), 0u);
    EXPECT_EQ(state.address(), channel.peer->RemoteAddress());
    EXPECT_EQ(state.peer_address(), channel.peer->LocalAddress());
    state.set_name("another");
    EXPECT_EQ(state.name(), "another");
  }
  Channel plain = MakeChannel();
  EXPECT_EQ(plain.state->read_timeout(), absl::InfiniteDuration());
  EXPECT_EQ(plain.state->write_timeout(), absl::InfiniteDuration());
  EXPECT_FALSE(plain.state->user_info().has_value());
}

// ---- Fairness and ending inside callbacks.

TEST_P(ReadingTest, StateWithEndlessInputDoesNotStarveAnother) {
  Channel flood = MakeChannel({.name = "flood"});
  Channel quiet = MakeChannel({.name = "quiet"});
  // The flood is always there again when its callback has consumed it.
  size_t flooded = 0;
  ASSERT_OK(flood.state->ReadWithChecking(
      [&](AsyncIoState& state, const IoResult& result) {
        flooded += result.count;
        EXPECT_OK(state.Discard(result.count));
        flood.peer->TrySend(EndlessData().substr(0, 65536));
      },
      {.max_read = size_t{1} << 20}));
  flood.peer->TrySend(EndlessData().substr(0, size_t{1} << 20));
  char byte;
  Recorder read(*this, "quiet");
  ASSERT_OK(quiet.state->ReadBuffer({&byte, 1}, read.Callback()));
  quiet.peer->Send("x");
  EXPECT_TRUE(RunUntil(read));
  EXPECT_GT(flooded, 0u);
}

TEST_P(ReadingTest, BytesPerTurnAreBounded) {
  RemakeCollection({.limits = {.bytes_per_turn_max = 4096}});
  Channel channel = MakeChannel();
  const std::string bytes = Pattern(200'000);
  std::string buffer(bytes.size(), '\0');
  SendFromPeer(*channel.peer, bytes.substr(0, 100'000));
  Recorder read(*this);
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  SendFromPeer(*channel.peer, bytes.substr(100'000));
  int turns = 0;
  ASSERT_TRUE(RunUntil([&] {
    ++turns;
    return read.called();
  }));
  EXPECT_TRUE(buffer == bytes);
  // It could take part in the turns of SendFromPeer, which were few.
  EXPECT_GT(turns, 100'000 / 4096 / 2);
}

TEST_P(ReadingTest, ClosingOrDestroyingTheStateInItsOwnReadCallback) {
  enum How { kClose, kDestroy, kCollection, kAbortAndClose };
  using Start = std::function<absl::Status(AsyncIoState&, IoCallback)>;
  char buffer[4];
  const std::vector<std::pair<std::string, Start>> starts = {
      {"ReadBuffer",
       [&](AsyncIoState& state, IoCallback callback) {
         return state.ReadBuffer(buffer, std::move(callback));
       }},
      {"ReadWithChecking",
       [&](AsyncIoState& state, IoCallback callback) {
         return state.ReadWithChecking(std::move(callback));
       }},
      {"WaitForInput",
       [&](AsyncIoState& state, IoCallback callback) {
         return state.WaitForInput(std::move(callback));
       }},
      {"ReceiveMessage",
       [&](AsyncIoState& state, IoCallback callback) {
         return state.ReceiveMessage(buffer, std::move(callback));
       }},
  };
  for (const auto& [name, start] : starts) {
    for (How how : {kClose, kDestroy, kCollection, kAbortAndClose}) {
      for (bool with_output : {false, true}) {
        SCOPED_TRACE(name + ", " + std::to_string(how) + ", " +
                     std::to_string(with_output));
        Channel channel = MakeChannel({.queue_output = true});
        Recorder read(*this, "read");
        Recorder write(*this, "write");
        Recorder queued(*this, "queued");
        if (with_output) {
          ASSERT_OK(
              channel.state->WriteBuffer(EndlessData(), write.Callback()));
          ASSERT_OK(channel.state->WriteBuffer("queued", queued.Callback()));
        }
        ASSERT_OK(start(
            *channel.state,
            read.Callback([&](AsyncIoState& state, const IoResult& result) {
              switch (how) {
                case kClose:
                  state.Close();
                  // What was read may still be looked at.
                  EXPECT_EQ(result.data,
                            std::string_view("abcd").substr(0, result.count));
                  break;
                case kDestroy:
                  channel.state.reset();
                  break;
                case kCollection:
                  collection().Close();
                  break;
                case kAbortAndClose:
                  EXPECT_OK(state.AbortAndClose());
                  EXPECT_FALSE(state.closed());
                  break;
              }
            })));
        channel.peer->Send("abcd");
        ASSERT_TRUE(RunUntil(read));
        EXPECT_EQ(read.last().status, IoStatus::kOk);
        EXPECT_TRUE(RunUntil([&] { return collection().size() == 0; }));
        RunFor(absl::Milliseconds(1));
        EXPECT_FALSE(write.called());
        EXPECT_FALSE(queued.called());
        EXPECT_EQ(read.callbacks_alive() + write.callbacks_alive() +
                      queued.callbacks_alive(),
                  0);
        if (channel.state != nullptr) {
          EXPECT_TRUE(channel.state->closed());
        }
      }
    }
  }
}

TEST_P(ReadingTest, CallbackThatOwnsItsStateMayDropIt) {
  // As programs do that keep nothing but the callback.
  Channel channel = MakeChannel();
  AsyncIoState* state = channel.state.get();
  char byte;
  bool ran = false;
  ASSERT_OK(state->ReadBuffer(
      {&byte, 1}, [owned = std::move(channel.state), &ran](
                      AsyncIoState&, const IoResult&) { ran = true; }));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil([&] { return ran; }));
  EXPECT_EQ(collection().size(), 0u) << "it went with the callback";
}

TEST_P(ReadingTest, CollectionThatClosesAStateOwnedByItsCallback) {
  Channel channel = MakeChannel();
  AsyncIoState* state = channel.state.get();
  ASSERT_OK(state->ReadWithChecking(
      [owned = std::move(channel.state)](AsyncIoState&, const IoResult&) {}));
  collection().Close();
  EXPECT_EQ(collection().size(), 0u);
  EXPECT_TRUE(channel.peer->ReceiveAll().end);
}

}  // namespace
}  // namespace aios::test
