// Reads that are started where another one ends: in its last callback, or in
// that of the abort, after all that was buffered has been dropped. There is
// nothing to be read then until something arrives.

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/conformance/conformance_test.h"
#include "tests/support/kernels.h"

namespace aios::test {
namespace {

enum class Next { kReadBuffer, kReadWithChecking, kReceive, kWait };
constexpr Next kAllNext[] = {Next::kReadBuffer, Next::kReadWithChecking,
                             Next::kReceive, Next::kWait};

class RestartTest : public ConformanceTest {
 protected:
  absl::Status Start(Next next, AsyncIoState& state, IoCallback callback) {
    switch (next) {
      case Next::kReadBuffer:
        return state.ReadBuffer(buffer_, std::move(callback),
                                {.timeout = absl::InfiniteDuration()});
      case Next::kReadWithChecking:
        return state.ReadWithChecking(std::move(callback),
                                      {.timeout = absl::InfiniteDuration()});
      case Next::kReceive:
        return state.ReceiveMessage(buffer_, std::move(callback),
                                    {.timeout = absl::InfiniteDuration()});
      case Next::kWait:
        return state.WaitForInput(std::move(callback),
                                  {.timeout = absl::InfiniteDuration()});
    }
    return absl::OkStatus();
  }

  // Of the next operation, when "z" has arrived.
  void ExpectNews(Next next, const Call& call) {
    EXPECT_EQ(call.status, IoStatus::kOk);
    if (next != Next::kWait) {
      EXPECT_EQ(call.data, "z");
    }
  }

  std::vector<char> buffer_ = std::vector<char>(1);
};

INSTANTIATE_TEST_SUITE_P(All, RestartTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(RestartTest, AfterATimeoutAndDiscardTheNextReadWaits) {
  for (Next next : kAllNext) {
    SCOPED_TRACE(static_cast<int>(next));
    Channel channel = MakeChannel();
    Recorder first(*this, "first", Recorder::kRepeating);
    Recorder second(*this, "second", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(
        first.Callback([&](AsyncIoState& state, const IoResult& result) {
          if (result.ok()) return;
          EXPECT_OK(state.Discard(result.count));
          EXPECT_OK(Start(next, state, second.Callback()));
        }),
        {.timeout = absl::Milliseconds(2)}));
    channel.peer->Send("abc");
    ASSERT_TRUE(RunUntil([&] {
      return first.called() && first.last().status == IoStatus::kTimeout;
    }));
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(second.called()) << "there is nothing to be read";
    channel.peer->Send("z");
    ASSERT_TRUE(RunUntil(second));
    ExpectNews(next, second.last());
  }
}

TEST_P(RestartTest, AfterTheEndAndDiscardTheNextReadFindsTheEnd) {
  for (Next next : kAllNext) {
    SCOPED_TRACE(static_cast<int>(next));
    Channel channel = MakeChannel();
    Recorder first(*this, "first", Recorder::kRepeating);
    Recorder second(*this, "second");
    ASSERT_OK(channel.state->ReadWithChecking(
        first.Callback([&](AsyncIoState& state, const IoResult& result) {
          if (result.ok()) return;
          EXPECT_OK(state.Discard(result.count));
          EXPECT_OK(Start(next, state, second.Callback()));
        })));
    channel.peer->Send("abc");
    channel.peer->ShutdownWrite();
    ASSERT_TRUE(RunUntil(second));
    EXPECT_EQ(second.last().status, IoStatus::kEof);
    EXPECT_EQ(second.last().count, 0u);
  }
}

TEST_P(RestartTest, AfterAnAbortAndDiscardTheNextReadWaits) {
  for (Next next : kAllNext) {
    SCOPED_TRACE(static_cast<int>(next));
    Channel channel = MakeChannel();
    Recorder first(*this, "first", Recorder::kRepeating);
    Recorder abort(*this, "abort");
    Recorder second(*this, "second", Recorder::kRepeating);
    ASSERT_OK(channel.state->ReadWithChecking(first.Callback()));
    channel.peer->Send("abc");
    ASSERT_TRUE(
        RunUntil([&] { return first.called() && first.last().count == 3; }));
    ASSERT_OK(channel.state->Abort(
        abort.Callback([&](AsyncIoState& state, const IoResult& result) {
          EXPECT_OK(state.Discard(result.count));
          EXPECT_OK(Start(next, state, second.Callback()));
        })));
    ASSERT_TRUE(RunUntil(abort));
    RunFor(absl::Milliseconds(1));
    EXPECT_FALSE(second.called()) << "there is nothing to be read";
    channel.peer->Send("z");
    ASSERT_TRUE(RunUntil(second));
    ExpectNews(next, second.last());
  }
}

}  // namespace
}  // namespace aios::test
