// Conformance of WaitStateCollection: lines 1-6 of the checklist.

#include <any>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

class CollectionTest : public ConformanceTest {};
class CollectionDeathTest : public ConformanceTest {
 protected:
  // A child made by fork has none of the kqueues of its parent.
  CollectionDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

INSTANTIATE_TEST_SUITE_P(All, CollectionTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// ---- Applied functions.

TEST_P(CollectionTest, Line01_ApplyFromLoopThreadRunsLaterNotInsideApply) {
  bool inner_ran = false;
  bool outer_ran = false;
  ASSERT_OK(collection().Apply([&] {
    EXPECT_OK(collection().Apply([&] { inner_ran = true; }));
    EXPECT_FALSE(inner_ran);
    outer_ran = true;
  }));
  EXPECT_FALSE(outer_ran);
  CallOnce();
  ASSERT_TRUE(outer_ran);
  EXPECT_FALSE(inner_ran) << "a later Call runs it, not the same";
  CallOnce();
  EXPECT_TRUE(inner_ran);
}

TEST_P(CollectionTest, Line01_ApplyInCallbackRunsAfterTheCallback) {
  Channel channel = MakeChannel();
  bool ran = false;
  Recorder read(*this);
  char byte;
  ASSERT_OK(channel.state->ReadBuffer(
      {&byte, 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
        EXPECT_OK(collection().Apply([&] { ran = true; }));
        EXPECT_FALSE(ran);
      })));
  channel.peer->Send("x");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_TRUE(RunUntil([&] { return ran; }));
}

TEST_P(CollectionTest, FunctionThatAppliesItselfDoesNotStarveSockets) {
  Channel channel = MakeChannel();
  int runs = 0;
  std::function<void()> again = [&] {
    ++runs;
    EXPECT_OK(collection().Apply(again));
  };
  ASSERT_OK(collection().Apply(again));
  Recorder read(*this);
  char byte;
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  channel.peer->Send("x");
  EXPECT_TRUE(RunUntil(read));
  EXPECT_GT(runs, 0);
}

TEST_P(CollectionTest, Line02_AppliedFunctionsRunInPostingOrder) {
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) {
    ASSERT_OK(collection().Apply([&ran, i] { ran.push_back(i); }));
  }
  ASSERT_TRUE(RunUntil([&] { return ran.size() >= 100; }));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(ran[i], i);
}

TEST_P(CollectionTest, Line02_AppliedFunctionsRunInLoopThreadInPostingOrder) {
  AIOS_NEEDS_THREADS(world());
  constexpr int kThreads = 3;
  constexpr int kFunctions = 500;
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
      CreateAndRunWaitStateCollection(kernel());
  ASSERT_OK(running);
  std::promise<std::thread::id> loop_thread;
  ASSERT_OK((*running)->Apply(
      [&] { loop_thread.set_value(std::this_thread::get_id()); }));
  const std::thread::id loop_id = loop_thread.get_future().get();
  EXPECT_NE(loop_id, std::this_thread::get_id());

  // Written in the loop thread alone.
  std::map<int, std::vector<int>> ran;
  bool other_thread = false;
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kFunctions; ++i) {
        EXPECT_OK((*running)->Apply([&, t, i] {
          other_thread |= std::this_thread::get_id() != loop_id;
          ran[t].push_back(i);
        }));
      }
    });
  }
  for (std::thread& poster : posters) poster.join();
  std::promise<void> last;
  ASSERT_OK((*running)->Apply([&] { last.set_value(); }));
  last.get_future().wait();
  EXPECT_FALSE(other_thread);
  for (int t = 0; t < kThreads; ++t) {
    ASSERT_EQ(ran[t].size(), static_cast<size_t>(kFunctions));
    for (int i = 0; i < kFunctions; ++i) ASSERT_EQ(ran[t][i], i);
  }
}

TEST_P(CollectionTest, ApplyWakesABlockedWait) {
  AIOS_NEEDS_THREADS(world());
  // Nothing else could end this wait.
  std::atomic<bool> ran = false;
  std::thread poster(
      [&] { EXPECT_OK(collection().Apply([&] { ran = true; })); });
  while (!ran) {
    EXPECT_TRUE(collection().Wait());
    CallOnce();
  }
  poster.join();
}

TEST_P(CollectionTest, ApplyRefusesWhenTheLimitIsReached) {
  RemakeCollection({.name = "bounded", .limits = {.posted_max = 3}});
  int ran = 0;
  auto post = [&] { return collection().Apply([&] { ++ran; }); };
  EXPECT_OK(post());
  EXPECT_OK(post());
  EXPECT_OK(post());
  EXPECT_TRUE(IsRefusal(post(), absl::StatusCode::kResourceExhausted,
                        {"bounded", "Apply"}));
  CallOnce();
  EXPECT_EQ(ran, 3) << "those that were taken all run, the refused one not";
  EXPECT_OK(post());
  CallOnce();
  EXPECT_EQ(ran, 4);
}

TEST_P(CollectionTest, ApplyRefusesAnEmptyFunction) {
  EXPECT_TRUE(IsRefusal(collection().Apply(nullptr),
                        absl::StatusCode::kInvalidArgument, {"test", "Apply"}));
}

TEST_P(CollectionTest, FunctionsThatWaitAreDestroyedWithTheCollection) {
  auto token = std::make_shared<int>();
  bool ran = false;
  ASSERT_OK(collection().Apply([&ran, token] { ran = true; }));
  EXPECT_EQ(token.use_count(), 2);
  DestroyCollection();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_FALSE(ran);
}

// ---- Waiting and looping by hand.

TEST_P(CollectionTest, WaitSaysWhetherThereIsWorkAndDoesNotDoIt) {
  EXPECT_FALSE(collection().Wait(absl::ZeroDuration()));
  bool ran = false;
  ASSERT_OK(collection().Apply([&] { ran = true; }));
  EXPECT_TRUE(collection().Wait());
  EXPECT_TRUE(collection().Wait());
  EXPECT_FALSE(ran);
  CallOnce();
  EXPECT_TRUE(ran);
  EXPECT_FALSE(collection().Wait(absl::ZeroDuration()));
}

TEST_P(CollectionTest, WaitFindsAReadySocketAndCallServesIt) {
  Channel channel = MakeChannel();
  Recorder read(*this);
  char byte;
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  channel.peer->Send("x");
  EXPECT_TRUE(collection().Wait());
  EXPECT_TRUE(collection().Wait()) << "what was found is found again";
  EXPECT_FALSE(read.called());
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(byte, 'x');
}

// That a socket cannot be watched is reported once, unlike what is ready.
TEST_P(CollectionTest, ErrorThatAWaitFoundIsServedAlsoAfterAnotherWait) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  for (bool loop : {false, true}) {
    Channel channel = MakeChannel();
    Recorder read(*this);
    char byte;
    ASSERT_OK(channel.state->ReadBuffer(
        {&byte, 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
          if (loop) collection().StopLoop();
        })));
    faults.FailInterestLate(Error(ENOMEM));
    EXPECT_TRUE(collection().Wait());
    if (loop) {
      Loop();
    } else {
      EXPECT_TRUE(collection().Wait());
      ASSERT_TRUE(RunUntil(read));
    }
    EXPECT_EQ(read.last().error, Error(ENOMEM));
  }
}

TEST_P(CollectionTest, WaitReturnsAfterItsLongestDuration) {
  Nanoseconds start = Now();
  int waits = 0;
  // A kernel may return early now and then, but that is no work to do.
  while (Since(start) < absl::Milliseconds(3)) {
    EXPECT_FALSE(collection().Wait(absl::Milliseconds(3) - Since(start)));
    ++waits;
  }
  EXPECT_LT(waits, 20) << "it does not sleep";
}

TEST_P(CollectionTest, CallWithoutWorkReturns) {
  CallOnce();
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(CollectionTest, CloseBetweenWaitAndCallDropsWhatWasFound) {
  Channel first = MakeChannel();
  Channel second = MakeChannel();
  Recorder read_first(*this, "first");
  Recorder read_second(*this, "second");
  char bytes[2];
  ASSERT_OK(first.state->ReadBuffer({&bytes[0], 1}, read_first.Callback()));
  ASSERT_OK(second.state->ReadBuffer({&bytes[1], 1}, read_second.Callback()));
  first.peer->Send("a");
  second.peer->Send("b");
  ASSERT_TRUE(collection().Wait());
  first.state.reset();
  ASSERT_TRUE(RunUntil(read_second));
  EXPECT_FALSE(read_first.called());
  EXPECT_EQ(bytes[1], 'b');
}

TEST_P(CollectionTest, LoopRunsUntilStoppedAndCanRunAgain) {
  for (int round = 0; round < 2; ++round) {
    Channel channel = MakeChannel();
    Recorder read(*this);
    char byte;
    ASSERT_OK(channel.state->ReadBuffer(
        {&byte, 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
          collection().StopLoop();
        })));
    channel.peer->Send("x");
    Loop();
    EXPECT_TRUE(read.called());
  }
}

TEST_P(CollectionTest, StopLoopWithoutLoopIsNotRemembered) {
  collection().StopLoop();
  bool first = false;
  bool second = false;
  ASSERT_OK(collection().Apply([&] {
    first = true;
    EXPECT_OK(collection().Apply([&] {
      second = true;
      collection().StopLoop();
    }));
  }));
  Loop();
  EXPECT_TRUE(first);
  EXPECT_TRUE(second) << "the loop ended by the stop that came before it";
}

TEST_P(CollectionTest, StopLoopEndsTheLoopAfterItsTurn) {
  int ran = 0;
  bool later = false;
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(collection().Apply([&] {
      ++ran;
      collection().StopLoop();
      EXPECT_OK(collection().Apply([&] { later = true; }));
    }));
  }
  Loop();
  EXPECT_EQ(ran, 3) << "functions of the same turn";
  EXPECT_FALSE(later);
  // Not lost, either.
  CallOnce();
  EXPECT_TRUE(later);
}

TEST_P(CollectionTest, Line03_StopFromAnotherThreadEndsABlockedLoop) {
  AIOS_NEEDS_THREADS(world());
  for (int round = 0; round < 20; ++round) {
    std::promise<void> looping;
    std::thread stopper([&] {
      looping.get_future().wait();
      // The loop has nothing to do any more: it is blocked, or about to be.
      collection().StopLoop();
    });
    ASSERT_OK(collection().Apply([&] { looping.set_value(); }));
    Loop();
    stopper.join();
  }
}

TEST_P(CollectionTest, AttributesAreThoseGiven) {
  RemakeCollection({.name = "named", .limits = {.accepts_per_turn_max = 7}});
  EXPECT_EQ(collection().name(), "named");
  EXPECT_EQ(collection().limits().accepts_per_turn_max, 7);
  EXPECT_EQ(&collection().kernel(), &kernel());
  EXPECT_FALSE(collection().Alive()) << "driven by hand";
  EXPECT_EQ(collection().size(), 0u);
}

// ---- Create and run.

TEST_P(CollectionTest, Line04_StopOfCreateAndRunClosesItsStatesSilently) {
  AIOS_NEEDS_THREADS(world());
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
      CreateAndRunWaitStateCollection(kernel(), {.name = "runner"});
  ASSERT_OK(running);
  EXPECT_TRUE((*running)->Alive());
  EXPECT_NE((*running)->name().find("runner"), std::string::npos);

  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state;
  std::atomic<bool> called = false;
  auto token = std::make_shared<int>();
  char byte;
  ASSERT_OK((*running)->Apply([&] {
    state = *CreateAsyncIoState(**running, pair.handle);
    auto callback = [&called, token](AsyncIoState&, const IoResult&) {
      called = true;
    };
    EXPECT_OK(state->ReadBuffer({&byte, 1}, callback));
    EXPECT_OK(state->WriteBuffer(EndlessData(), callback));
    (*running)->StopLoop();
  }));
  while ((*running)->Alive()) std::this_thread::yield();
  EXPECT_TRUE(state->closed());
  EXPECT_EQ(state->collection(), nullptr);
  EXPECT_EQ((*running)->size(), 0u);
  PeerRead read = pair.peer->ReceiveAll();
  EXPECT_TRUE(read.end || !read.error.ok()) << "the socket is closed";
  EXPECT_TRUE(IsRefusal((*running)->Apply([] {}),
                        absl::StatusCode::kFailedPrecondition, {"runner"}));
  EXPECT_TRUE(IsRefusal(
      state->ReadBuffer({&byte, 1}, [](AsyncIoState&, const IoResult&) {}),
      absl::StatusCode::kFailedPrecondition, {"closed"}));
  EXPECT_FALSE(called);
  EXPECT_EQ(token.use_count(), 1) << "the callbacks went with the operations";
}

TEST_P(CollectionTest, Line04_NoCallbackAfterStopOfCreateAndRun) {
  AIOS_NEEDS_THREADS(world());
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
      CreateAndRunWaitStateCollection(kernel());
  ASSERT_OK(running);
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state;
  std::atomic<int> calls = 0;
  char byte;
  std::promise<void> started;
  ASSERT_OK((*running)->Apply([&] {
    state = *CreateAsyncIoState(**running, pair.handle);
    EXPECT_OK(state->ReadBuffer(
        {&byte, 1}, [&calls](AsyncIoState&, const IoResult&) { ++calls; }));
    started.set_value();
  }));
  started.get_future().wait();
  (*running)->StopLoop();
  while ((*running)->Alive()) std::this_thread::yield();
  // A connection that is open would take the byte and call back.
  pair.peer->Send("x");
  EXPECT_TRUE(state->closed());
  running->reset();
  EXPECT_EQ(calls, 0);
}

TEST_P(CollectionTest, StopOfCreateAndRunIsNeverLost) {
  AIOS_NEEDS_THREADS(world());
  for (int round = 0; round < 50; ++round) {
    absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
        CreateAndRunWaitStateCollection(kernel());
    ASSERT_OK(running);
    // The loop counts as started on return.
    (*running)->StopLoop();
    while ((*running)->Alive()) std::this_thread::yield();
  }
}

TEST_P(CollectionTest, DestroyingCreateAndRunStopsItsThread) {
  AIOS_NEEDS_THREADS(world());
  auto token = std::make_shared<int>();
  std::unique_ptr<AsyncIoState> state;
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  {
    absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
        CreateAndRunWaitStateCollection(kernel());
    ASSERT_OK(running);
    std::promise<void> made;
    ASSERT_OK((*running)->Apply([&] {
      state = *CreateAsyncIoState(**running, pair.handle);
      EXPECT_OK(
          state->WaitForInput([token](AsyncIoState&, const IoResult&) {}));
      made.set_value();
    }));
    made.get_future().wait();
  }
  EXPECT_TRUE(state->closed());
  EXPECT_EQ(token.use_count(), 1) << "the callback went with the operation";
}

TEST_P(CollectionTest, ApplyFromManyThreadsWhileTheLoopServesSockets) {
  AIOS_NEEDS_THREADS(world());
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> running =
      CreateAndRunWaitStateCollection(kernel());
  ASSERT_OK(running);
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state;
  constexpr int kThreads = 3;
  constexpr int kWrites = 200;
  const std::string message = "message of 24 characters";
  std::atomic<int> written = 0;
  std::vector<std::thread> writers;
  ASSERT_OK((*running)->Apply([&] {
    state = *CreateAsyncIoState(**running, pair.handle, {.queue_output = true});
  }));
  for (int t = 0; t < kThreads; ++t) {
    writers.emplace_back([&] {
      for (int i = 0; i < kWrites; ++i) {
        EXPECT_OK((*running)->Apply([&] {
          EXPECT_OK(state->WriteBuffer(
              message, [&](AsyncIoState&, const IoResult& result) {
                if (result.ok()) ++written;
              }));
        }));
      }
    });
  }
  std::string bytes =
      pair.peer->ReceiveExactly(message.size() * kThreads * kWrites);
  for (std::thread& writer : writers) writer.join();
  for (size_t at = 0; at < bytes.size(); at += message.size()) {
    ASSERT_EQ(bytes.substr(at, message.size()), message);
  }
  // The bytes can be there before the callback has run; the loop's end cannot.
  std::promise<void> closed;
  while (written != kThreads * kWrites) std::this_thread::yield();
  ASSERT_OK((*running)->Apply([&] {
    state.reset();
    closed.set_value();
  }));
  closed.get_future().wait();
}

// ---- Closing.

TEST_P(CollectionTest, Line05_CloseInsideACallbackLoopGoesOn) {
  Channel closing = MakeChannel({.name = "closing"});
  Channel bystander = MakeChannel({.name = "bystander"});
  TcpPair later = world().RawSocketPair(Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {});
  ASSERT_OK(listener);
  Recorder closing_read(*this, "closing");
  Recorder bystander_read(*this, "bystander");
  Recorder later_read(*this, "later");
  std::unique_ptr<AsyncIoState> later_state;
  char bytes[4];
  ASSERT_OK(
      bystander.state->ReadBuffer({&bytes[0], 1}, bystander_read.Callback()));
  ASSERT_OK(closing.state->ReadBuffer(
      {&bytes[1], 1},
      closing_read.Callback([&](AsyncIoState&, const IoResult&) {
        collection().Close();
        EXPECT_EQ(collection().size(), 0u);
        absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
            CreateAsyncIoState(collection(), later.handle, {.name = "later"});
        ASSERT_OK(made);
        later_state = *std::move(made);
        EXPECT_OK(later_state->ReadBuffer(
            {&bytes[2], 1},
            later_read.Callback([&](AsyncIoState&, const IoResult&) {
              collection().StopLoop();
            })));
      })));
  bystander.peer->Send("b");
  closing.peer->Send("c");
  later.peer->Send("l");
  Loop();
  EXPECT_EQ(later_read.last().data, "l");
  EXPECT_EQ(closing_read.calls().size(), 1u);
  EXPECT_TRUE(closing.state->closed());
  EXPECT_TRUE(bystander.state->closed());
  EXPECT_FALSE(later_state->closed());
  EXPECT_EQ((*listener)->collection(), nullptr);
  EXPECT_EQ((*listener)->socket(), kNoHandle);
  // Whether it was served before the other is the kernel's choice.
  if (!bystander_read.called()) {
    EXPECT_EQ(bystander_read.callbacks_alive(), 0);
  }
}

TEST_P(CollectionTest, CloseEndsEveryOperationSilently) {
  Channel channel = MakeChannel({.queue_output = true});
  std::unique_ptr<AsyncIoState> udp = MakeUdp();
  Recorder read(*this, "read");
  Recorder writes(*this, "writes", Recorder::kRepeating);
  Recorder abort(*this, "abort");
  Recorder receive(*this, "receive");
  char buffer[16];
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), writes.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("queued", writes.Callback()));
  ASSERT_OK(udp->ReceiveMessage(buffer, receive.Callback()));
  RunFor();
  ASSERT_OK(channel.state->Abort(abort.Callback()));
  EXPECT_EQ(collection().size(), 2u);
  collection().Close();
  EXPECT_EQ(collection().size(), 0u);
  RunFor();
  EXPECT_FALSE(read.called());
  EXPECT_FALSE(writes.called());
  EXPECT_FALSE(abort.called());
  EXPECT_FALSE(receive.called());
  EXPECT_TRUE(channel.state->closed());
  EXPECT_EQ(channel.state->handle(), kNoHandle);
  EXPECT_TRUE(udp->closed());
  // Other states can be added.
  Channel next = MakeChannel();
  Recorder again(*this, "again");
  ASSERT_OK(next.state->ReadBuffer({buffer, 1}, again.Callback()));
  next.peer->Send("x");
  EXPECT_TRUE(RunUntil(again));
}

TEST_P(CollectionTest, StatesOutliveTheirCollectionClosed) {
  Channel channel = MakeChannel({.user_info = std::string("mine"),
                                 .name = "survivor",
                                 .queue_output = true});
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {});
  ASSERT_OK(listener);
  const uint16_t port = (*listener)->local_port();
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  Recorder queued(*this, "queued");
  char byte;
  ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("queued", queued.Callback()));
  RunFor();
  DestroyCollection();

  AsyncIoState& state = *channel.state;
  EXPECT_TRUE(state.closed());
  EXPECT_EQ(state.collection(), nullptr);
  EXPECT_EQ(state.handle(), kNoHandle);
  EXPECT_EQ(state.name(), "survivor");
  EXPECT_EQ(std::any_cast<std::string>(state.user_info()), "mine");
  EXPECT_EQ(state.address(), std::nullopt);
  EXPECT_EQ(state.peer_address(), std::nullopt);
  EXPECT_EQ(state.output_queue_length(), 0u);
  EXPECT_EQ(state.output_queue_bytes(), 0u);
  EXPECT_EQ(state.Close(), 0u);
  EXPECT_TRUE(IsRefusal(state.ReadBuffer({&byte, 1}, read.Callback()),
                        absl::StatusCode::kFailedPrecondition,
                        {"survivor", "ReadBuffer", "closed"}));
  EXPECT_EQ((*listener)->collection(), nullptr);
  EXPECT_EQ((*listener)->socket(), kNoHandle);
  EXPECT_EQ((*listener)->local_port(), port);
  EXPECT_FALSE(read.called());
  EXPECT_FALSE(write.called());
  EXPECT_FALSE(queued.called());
  EXPECT_EQ(read.callbacks_alive(), 0);
  EXPECT_EQ(write.callbacks_alive(), 0);
  EXPECT_EQ(queued.callbacks_alive(), 0);
}

TEST_P(CollectionTest, SizeCountsStatesAndHandlesThatAreNotClosed) {
  EXPECT_EQ(collection().size(), 0u);
  Channel channel = MakeChannel();
  EXPECT_EQ(collection().size(), 1u);
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {});
  ASSERT_OK(listener);
  EXPECT_EQ(collection().size(), 2u);
  channel.state->Close();
  EXPECT_EQ(collection().size(), 1u);
  listener->reset();
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(CollectionTest, ACallbackMayDestroyStatesOfTheSameTurn) {
  // Each callback destroys the state of the other; only one of them can run.
  Channel first = MakeChannel();
  Channel second = MakeChannel();
  Recorder read(*this, "one of the two");
  char bytes[2];
  ASSERT_OK(first.state->ReadBuffer(
      {&bytes[0], 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
        second.state.reset();
      })));
  ASSERT_OK(second.state->ReadBuffer(
      {&bytes[1], 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
        first.state.reset();
      })));
  first.peer->Send("a");
  second.peer->Send("b");
  ASSERT_TRUE(RunUntil(read));
  RunFor();
  EXPECT_NE(first.state == nullptr, second.state == nullptr);
}

// ---- Exceptions. The design leaves them to the program's end, where the
// reference contains them.

INSTANTIATE_TEST_SUITE_P(All, CollectionDeathTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(CollectionDeathTest, Line06_ExceptionLeavingACallbackEndsTheProgram) {
  Channel channel = MakeChannel();
  auto run = [&] {
    char byte;
    EXPECT_OK(channel.state->ReadBuffer(
        {&byte, 1}, [](AsyncIoState&, const IoResult&) {
          throw std::runtime_error("out of a callback");
        }));
    channel.peer->Send("x");
    EXPECT_TRUE(RunUntil([] { return false; }));
  };
  EXPECT_EXIT(run(), testing::KilledBySignal(SIGABRT), "out of a callback");
}

TEST_P(CollectionDeathTest, Line06_ExceptionLeavingACheckingCallbackEndsIt) {
  Channel channel = MakeChannel();
  auto run = [&] {
    EXPECT_OK(
        channel.state->ReadWithChecking([](AsyncIoState&, const IoResult&) {
          throw std::runtime_error("out of a callback");
        }));
    channel.peer->Send("x");
    EXPECT_TRUE(RunUntil([] { return false; }));
  };
  EXPECT_EXIT(run(), testing::KilledBySignal(SIGABRT), "out of a callback");
}

// ---- Mistakes of the programmer.

TEST_P(CollectionDeathTest, TheLoopIsNotEnteredFromItsCallbacks) {
  auto in_callback = [&](std::function<void()> mistake) {
    EXPECT_OK(collection().Apply(std::move(mistake)));
    EXPECT_TRUE(RunUntil([] { return false; }));
  };
  EXPECT_DEATH(in_callback([&] { collection().Call(); }), "from a callback");
  EXPECT_DEATH(in_callback([&] { collection().Wait(); }), "from a callback");
  EXPECT_DEATH(in_callback([&] { collection().Loop(); }), "from a callback");
  EXPECT_DEATH(in_callback([&] { DestroyCollection(); }),
               "destroyed by its own callbacks");
}

#ifndef NDEBUG
TEST_P(CollectionDeathTest, DebugBuildsCatchCallsFromOtherThreads) {
  AIOS_NEEDS_THREADS(world());
  Channel channel = MakeChannel();
  RunFor(absl::Milliseconds(1));
  auto in_thread = [](std::function<void()> mistake) {
    std::thread(std::move(mistake)).join();
  };
  char byte;
  auto ignore = [](AsyncIoState&, const IoResult&) {};
  const char* kMessage = "belong to the thread";
  EXPECT_DEATH(in_thread([&] {
                 EXPECT_OK(channel.state->ReadBuffer({&byte, 1}, ignore));
               }),
               kMessage);
  EXPECT_DEATH(
      in_thread([&] { EXPECT_OK(channel.state->WriteBuffer("x", ignore)); }),
      kMessage);
  EXPECT_DEATH(in_thread([&] { EXPECT_OK(channel.state->Abort(ignore)); }),
               kMessage);
  EXPECT_DEATH(in_thread([&] { channel.state->Close(); }), kMessage);
  EXPECT_DEATH(in_thread([&] { collection().Close(); }), kMessage);
  EXPECT_DEATH(in_thread([&] { collection().Wait(); }), kMessage);
  EXPECT_DEATH(in_thread([&] {
                 static_cast<void>(CreateAsyncIoState(collection(), 0));
                 MakeChannel();
               }),
               kMessage);
}
#endif

}  // namespace
}  // namespace aios::test
