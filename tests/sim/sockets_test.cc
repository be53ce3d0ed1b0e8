// Sockets of simulated hosts that are used without aios: call by call
// (raw_sockets.h), and by scenarios (plain_sockets.h).

#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/plain_sockets.h"
#include "sim/raw_sockets.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

TEST(RawSockets, AreBlockingUntilAiosHasThem) {
  Network network;
  sim::RawSockets raw(network.a);
  Handle handle = raw.Open(SocketType::kStream, Family::kIpv4);
  EXPECT_TRUE(raw.IsBlocking(handle));
  SocketInfo info;
  EXPECT_TRUE(network.a.kernel().Adopt(handle, &info).ok());
  EXPECT_FALSE(raw.IsBlocking(handle));
  network.a.kernel().Release(handle);
  EXPECT_TRUE(raw.IsBlocking(handle));
  raw.SetBlocking(handle, false);
  EXPECT_TRUE(network.a.kernel().Adopt(handle, &info).ok());
  network.a.kernel().Release(handle);
  EXPECT_FALSE(raw.IsBlocking(handle)) << "as it was found";
}

TEST(RawSockets, WhatIsNotForAiosIsRefusedWithTheError) {
  Network network;
  sim::RawSockets raw(network.a);
  SocketInfo info;
  Kernel& kernel = network.a.kernel();
  EXPECT_EQ(kernel.Adopt(raw.OpenForeign(Error(ENOTSOCK)), &info),
            Error(ENOTSOCK));
  EXPECT_EQ(kernel.Adopt(raw.Closed(), &info), Error(EBADF));
  EXPECT_FALSE(raw.IsBlocking(raw.Closed()));
}

TEST(RawSockets, ADuplicateKeepsTheConnection) {
  Connection connection;
  sim::RawSockets raw(connection.a);
  Handle duplicate = raw.Duplicate(connection.near);
  EXPECT_NE(duplicate, connection.near);
  connection.a.kernel().Close(connection.near);
  EXPECT_EQ(connection.Send(connection.a, duplicate, "alive").count, 5u);
  connection.simulation.RunUntilIdle();
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.b, connection.far, &bytes).count, 5u);
  connection.a.kernel().Close(duplicate);
  connection.simulation.RunFor(absl::Seconds(1));
  Transfer end = connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_TRUE(end.error.ok());
  EXPECT_EQ(end.count, 0u);
  EXPECT_EQ(raw.Duplicate(duplicate), kNoHandle) << "it is closed";
}

TEST(RawSockets, BuffersHaveTheSizesTheyAreGiven) {
  Connection connection;
  sim::RawSockets near(connection.a);
  sim::RawSockets far(connection.b);
  near.SetSendBuffer(connection.near, 20'000);
  far.SetReceiveBuffer(connection.far, 10'000);
  const std::string bytes(1'000'000, 'x');
  size_t sent = 0;
  for (int i = 0; i != 200; ++i) {
    Transfer transfer = connection.Send(connection.a, connection.near, bytes);
    if (!transfer.error.ok()) break;
    EXPECT_LE(transfer.count, 20'000u);
    sent += transfer.count;
    connection.simulation.RunFor(absl::Seconds(1));
  }
  // The window that was open before cannot be taken back.
  EXPECT_GE(sent, 30'000u);
  EXPECT_LE(sent, 2'000'000u);
  EXPECT_EQ(connection.Send(connection.a, connection.near, bytes).error,
            Error(EAGAIN));
}

TEST(RawSockets, ClosingWithResetIsSeenAsOne) {
  Connection connection;
  sim::RawSockets(connection.a).CloseWithReset(connection.near);
  connection.simulation.RunUntilIdle();
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.b, connection.far, &bytes).error,
            Error(ECONNRESET));
}

// A connection whose ends are used by plain sockets.
class PlainSocketsTest : public testing::Test {
 protected:
  struct End {
    size_t count = 0;
    bool end = false;
    Error error;
    Nanoseconds time = 0;
    bool done = false;
  };
  sim::PlainSockets::Done Into(End* end) {
    return [this, end](size_t count, bool at_end, Error error) {
      *end = {count, at_end, error, connection_.simulation.now(), true};
    };
  }
  void Receive(const sim::PlainSockets::ReceiveOptions& options, End* end) {
    there_.Post([this, options, end] {
      there_.Receive(
          connection_.far, options,
          [this](std::string_view bytes) { received_ += bytes; }, Into(end));
    });
  }

  Connection connection_;
  sim::PlainSockets here_{connection_.a.kernel()};
  sim::PlainSockets there_{connection_.b.kernel()};
  std::string received_;
};

TEST_F(PlainSocketsTest, SendAndReceiveEverything) {
  const std::string bytes(5'000'000, 'x');
  End sent;
  End received;
  EXPECT_TRUE(here_.driven());
  here_.Post([&] {
    here_.Send(connection_.near, bytes, Into(&sent));
    EXPECT_TRUE(here_.sending(connection_.near));
  });
  Receive({.size = bytes.size()}, &received);
  EXPECT_TRUE(connection_.simulation.RunUntil(
      [&] { return sent.done && received.done; }));
  EXPECT_EQ(sent.count, bytes.size());
  EXPECT_TRUE(sent.error.ok());
  EXPECT_EQ(received.count, bytes.size());
  EXPECT_FALSE(received.end);
  EXPECT_TRUE(received_ == bytes);
  EXPECT_FALSE(here_.sending(connection_.near));
  EXPECT_FALSE(there_.receiving(connection_.far));
}

TEST_F(PlainSocketsTest, ReceiveInSips) {
  End received;
  Receive({.size = 50, .sip = 10, .every = 1'000'000}, &received);
  connection_.Send(connection_.a, connection_.near, std::string(80, 'x'));
  Nanoseconds start = connection_.simulation.now();
  EXPECT_TRUE(connection_.simulation.RunUntil([&] { return received.done; }));
  EXPECT_EQ(received_.size(), 50u);
  EXPECT_GE(received.time - start, 4'000'000);
  EXPECT_LT(received.time - start, 5'000'000);
}

TEST_F(PlainSocketsTest, TheEndAndAnErrorAreTold) {
  End end;
  Receive({}, &end);
  connection_.Send(connection_.a, connection_.near, "last");
  EXPECT_TRUE(connection_.a.kernel()
                  .Shutdown(connection_.near, Direction::kOutput)
                  .ok());
  EXPECT_TRUE(connection_.simulation.RunUntil([&] { return end.done; }));
  EXPECT_TRUE(end.end);
  EXPECT_EQ(end.count, 4u);
  End broken;
  connection_.simulation.ResetConnections(connection_.a, connection_.b);
  there_.Post([&] { there_.Send(connection_.far, "x", Into(&broken)); });
  EXPECT_TRUE(connection_.simulation.RunUntil([&] { return broken.done; }));
  EXPECT_FALSE(broken.error.ok());
}

TEST_F(PlainSocketsTest, WhatIsForgottenEndsSilently) {
  End received;
  Receive({}, &received);
  connection_.simulation.RunFor(absl::Milliseconds(1));
  there_.Post([&] {
    EXPECT_TRUE(there_.receiving(connection_.far));
    there_.Forget(connection_.far);
    EXPECT_FALSE(there_.receiving(connection_.far));
  });
  connection_.Send(connection_.a, connection_.near, "late");
  connection_.simulation.RunFor(absl::Seconds(1));
  EXPECT_FALSE(received.done);
  EXPECT_EQ(received_, "");
}

TEST_F(PlainSocketsTest, APausedHostRunsNothing) {
  bool ran = false;
  connection_.b.Pause();
  there_.Post([&] { ran = true; });
  connection_.simulation.RunFor(absl::Seconds(1));
  EXPECT_FALSE(ran);
  connection_.b.Resume();
  connection_.simulation.RunFor(absl::Seconds(1));
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace aios::test
