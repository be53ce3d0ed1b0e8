// The simulated TCP as its packets and its calls show it. What kernels answer
// in each situation is compared with the real one by //tests:kernel_truth_test.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/packet.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

// When the packets of `host` with these flags were sent, from the beginning.
std::vector<Nanoseconds> SentAt(Network& network, const sim::Host& host,
                                uint8_t flags) {
  std::vector<Nanoseconds> times;
  Nanoseconds start = network.simulation.recording()->packets()[0].sent;
  for (const sim::RecordedPacket& packet :
       network.simulation.recording()->packets()) {
    if (packet.packet.from == host.index() && packet.packet.flags == flags) {
      times.push_back(packet.sent - start);
    }
  }
  return times;
}

TEST(Tcp, TheHandshakeIsThreePackets) {
  Connection connection;
  connection.simulation.RunUntilIdle();
  const auto& packets = connection.simulation.recording()->packets();
  ASSERT_EQ(packets.size(), 3u);
  EXPECT_EQ(packets[0].packet.flags, sim::Packet::kSyn);
  EXPECT_EQ(packets[1].packet.flags, sim::Packet::kSyn | sim::Packet::kAck);
  EXPECT_EQ(packets[2].packet.flags, sim::Packet::kAck);
}

TEST(Tcp, AConnectIntoSilenceIsTriedAgainAndGivenUp) {
  Network network;
  sim::Rule rule = network.simulation.Partition(network.a, network.b);
  Handle handle = network.Open(network.a, SocketType::kStream);
  EXPECT_EQ(
      network.a.kernel().Connect(handle, network.AddressOf(network.b, 80)),
      Error(EINPROGRESS));
  Nanoseconds start = network.simulation.now();
  network.simulation.RunUntilIdle();
  EXPECT_EQ(
      SentAt(network, network.a, sim::Packet::kSyn),
      (std::vector<Nanoseconds>{0, kSecond, 3 * kSecond, 7 * kSecond,
                                15 * kSecond, 31 * kSecond, 63 * kSecond}));
  EXPECT_EQ(network.simulation.now() - start, 127 * kSecond);
  EXPECT_EQ(network.a.kernel().TakeError(handle), Error(ETIMEDOUT));
}

TEST(Tcp, AConnectToAPortWhereNobodyListensIsRefused) {
  Network network;
  Handle handle = network.Open(network.a, SocketType::kStream);
  EXPECT_EQ(
      network.a.kernel().Connect(handle, network.AddressOf(network.b, 80)),
      Error(EINPROGRESS));
  network.simulation.RunUntilIdle();
  EXPECT_EQ(network.a.kernel().TakeError(handle), Error(ECONNREFUSED));
}

TEST(Tcp, AFullBacklogIsSilentAndTheConnectSucceedsWhenThereIsRoom) {
  Network network;
  Handle listener = network.OpenBound(network.b, SocketType::kStream, 80);
  ASSERT_TRUE(network.b.kernel().Listen(listener, 1).ok());
  std::vector<Handle> handles;
  for (int i = 0; i != 3; ++i) {
    handles.push_back(network.Open(network.a, SocketType::kStream));
    EXPECT_EQ(network.a.kernel().Connect(handles.back(),
                                         network.AddressOf(network.b, 80)),
              Error(EINPROGRESS));
    network.simulation.RunFor(absl::Milliseconds(1));
  }
  SocketAddress peer;
  EXPECT_EQ(network.a.kernel().PeerAddress(handles[1], &peer), Error());
  EXPECT_EQ(network.a.kernel().PeerAddress(handles[2], &peer), Error(ENOTCONN));
  Handle accepted = kNoHandle;
  EXPECT_TRUE(network.b.kernel().Accept(listener, &accepted).ok());
  network.simulation.RunFor(absl::Seconds(2));
  EXPECT_EQ(network.a.kernel().PeerAddress(handles[2], &peer), Error());
}

TEST(Tcp, ALostSegmentIsSentAgain) {
  Connection connection;
  connection.simulation.RunUntilIdle();
  {
    sim::Rule rule =
        connection.simulation.Partition(connection.a, connection.b);
    connection.Send(connection.a, connection.near, "hello");
    connection.simulation.RunFor(absl::Milliseconds(100));
  }
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.b, connection.far, &bytes).error,
            Error(EAGAIN));
  connection.simulation.RunFor(absl::Milliseconds(150));
  EXPECT_EQ(connection.Receive(connection.b, connection.far, &bytes).count, 5u);
  EXPECT_EQ(bytes, "hello");
}

TEST(Tcp, DataThatNobodyAcknowledgesBreaksTheConnectionAtLast) {
  Connection connection;
  connection.simulation.RunUntilIdle();
  sim::Rule rule = connection.simulation.Partition(connection.a, connection.b);
  connection.Send(connection.a, connection.near, "hello");
  Nanoseconds start = connection.simulation.now();
  connection.simulation.RunUntilIdle();
  // As Linux does with 15 attempts.
  EXPECT_NEAR(
      static_cast<double>(connection.simulation.now() - start) / kSecond, 924.6,
      30);
  EXPECT_EQ(connection.Send(connection.a, connection.near, "x").error,
            Error(ETIMEDOUT));
  EXPECT_EQ(connection.Send(connection.a, connection.near, "x").error,
            Error(EPIPE));
}

TEST(Tcp, WritingStopsWhenBothBuffersAreFullAndGoesOnWhenThereIsRoom) {
  Connection connection;
  const std::string bytes(1'000'000, 'x');
  size_t sent = 0;
  for (;;) {
    Transfer transfer = connection.Send(connection.a, connection.near, bytes);
    if (!transfer.error.ok()) {
      EXPECT_EQ(transfer.error, Error(EAGAIN));
      size_t before = sent;
      connection.simulation.RunFor(absl::Seconds(1));
      transfer = connection.Send(connection.a, connection.near, bytes);
      sent += transfer.count;
      if (sent == before) break;
      continue;
    }
    sent += transfer.count;
  }
  EXPECT_GE(sent, 4'000'000u);
  EXPECT_LE(sent, 4'300'000u);
  // A sip does not make room for a write; all that is there does.
  std::string got;
  connection.Receive(connection.b, connection.far, &got, 100);
  connection.simulation.RunFor(absl::Seconds(1));
  while (connection.Receive(connection.b, connection.far, &got).count != 0) {
    connection.simulation.RunFor(absl::Milliseconds(10));
  }
  EXPECT_EQ(got.size(), sent);
  EXPECT_EQ(connection.Send(connection.a, connection.near, "more").count, 4u);
}

TEST(Tcp, AHalfClosedConnectionWorksTheOtherWay) {
  Connection connection;
  EXPECT_TRUE(
      connection.a.kernel().Shutdown(connection.near, Direction::kOutput).ok());
  connection.simulation.RunUntilIdle();
  std::string bytes;
  Transfer end = connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_TRUE(end.error.ok());
  EXPECT_EQ(end.count, 0u);
  EXPECT_EQ(connection.Send(connection.b, connection.far, "answer").count, 6u);
  connection.simulation.RunUntilIdle();
  EXPECT_EQ(connection.Receive(connection.a, connection.near, &bytes).count,
            6u);
  EXPECT_EQ(connection.Send(connection.a, connection.near, "x").error,
            Error(EPIPE));
}

TEST(Tcp, ClosingWithUnreadInputResets) {
  Connection connection;
  connection.Send(connection.a, connection.near, "unread");
  connection.simulation.RunUntilIdle();
  connection.b.kernel().Close(connection.far);
  connection.simulation.RunUntilIdle();
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.a, connection.near, &bytes).error,
            Error(ECONNRESET));
}

TEST(Tcp, AClosedConnectionDeliversWhatWasSent) {
  Connection connection({.faults = {.loss = 200'000}});
  const std::string sent(50'000, 'x');
  connection.Send(connection.a, connection.near, sent);
  connection.a.kernel().Close(connection.near);
  std::string got;
  Transfer last;
  EXPECT_TRUE(connection.simulation.RunUntil([&] {
    do {
      last = connection.Receive(connection.b, connection.far, &got);
    } while (last.count != 0);
    return last.error.ok();
  }));
  EXPECT_EQ(got, sent);
}

TEST(Tcp, KeepaliveNoticesAPeerThatIsGone) {
  Connection connection;
  ASSERT_TRUE(connection.a.kernel()
                  .SetOption(connection.near, SocketOption::kKeepAlive, true)
                  .ok());
  connection.simulation.RunFor(absl::Hours(10));
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.a, connection.near, &bytes).error,
            Error(EAGAIN))
      << "the peer has answered all the time";
  connection.b.Crash();
  Nanoseconds start = connection.simulation.now();
  ASSERT_TRUE(connection.simulation.RunUntil(
      [&] {
        return connection.Receive(connection.a, connection.near, &bytes)
                   .error != Error(EAGAIN);
      },
      {.time_max = absl::Hours(10)}));
  EXPECT_LE(connection.simulation.now() - start,
            (7200 + 9 * 75 + 75) * kSecond);
  EXPECT_EQ(connection.Send(connection.a, connection.near, "x").error,
            Error(EPIPE));
}

TEST(Tcp, AfterARestartOldSegmentsAreAnsweredWithAReset) {
  Connection connection;
  connection.simulation.RunUntilIdle();
  connection.b.Crash();
  connection.Send(connection.a, connection.near, "hello");
  connection.simulation.RunFor(absl::Milliseconds(100));
  std::string bytes;
  EXPECT_EQ(connection.Receive(connection.a, connection.near, &bytes).error,
            Error(EAGAIN))
      << "nobody tells";
  connection.b.Restart();
  connection.simulation.RunFor(absl::Seconds(5));
  EXPECT_EQ(connection.Receive(connection.a, connection.near, &bytes).error,
            Error(ECONNRESET));
}

TEST(Tcp, OnlyTheEndThatClosedFirstKeepsItsPort) {
  Connection connection;
  SocketAddress address;
  ASSERT_TRUE(
      connection.a.kernel().LocalAddress(connection.near, &address).ok());
  connection.a.kernel().Close(connection.near);
  connection.simulation.RunFor(absl::Milliseconds(100));
  connection.b.kernel().Close(connection.far);
  connection.simulation.RunFor(absl::Milliseconds(100));
  auto bind = [&] {
    Handle handle = connection.Open(connection.a, SocketType::kStream);
    Error error = connection.a.kernel().Bind(handle, address);
    connection.a.kernel().Close(handle);
    return error;
  };
  EXPECT_EQ(bind(), Error(EADDRINUSE));
  connection.simulation.RunFor(absl::Seconds(61));
  EXPECT_EQ(bind(), Error());
}

TEST(Tcp, AConnectionBetweenLinkLocalAddresses) {
  Network network;
  Handle listener =
      network.OpenBound(network.b, SocketType::kStream, 80, Family::kIpv6);
  ASSERT_TRUE(network.b.kernel().Listen(listener, 16).ok());
  Handle near = network.Open(network.a, SocketType::kStream, Family::kIpv6);
  SocketAddress target(network.b.link_local(), 80);
  EXPECT_EQ(target.ToString(), "[fe80::2%2]:80");
  EXPECT_EQ(network.a.kernel().Connect(near, target), Error(EINPROGRESS));
  network.simulation.RunUntilIdle();
  Handle far = kNoHandle;
  ASSERT_TRUE(network.b.kernel().Accept(listener, &far).ok());
  SocketAddress address;
  EXPECT_TRUE(network.a.kernel().PeerAddress(near, &address).ok());
  EXPECT_EQ(address, target);
  EXPECT_TRUE(network.b.kernel().PeerAddress(far, &address).ok());
  EXPECT_EQ(address.ip(), network.a.link_local());
  EXPECT_EQ(Connection::Send(network.a, near, "hello").count, 5u);
  network.simulation.RunUntilIdle();
  std::string bytes;
  EXPECT_EQ(Connection::Receive(network.b, far, &bytes).count, 5u);
}

TEST(Tcp, AnEphemeralPortIsFreeAsSoonAsItsConnectionHasFailed) {
  Network network;
  Handle first = network.Open(network.a, SocketType::kStream);
  EXPECT_EQ(network.a.kernel().Connect(first, network.AddressOf(network.b, 80)),
            Error(EINPROGRESS));
  SocketAddress address;
  EXPECT_TRUE(network.a.kernel().LocalAddress(first, &address).ok());
  Handle second = network.Open(network.a, SocketType::kStream);
  EXPECT_EQ(network.a.kernel().Bind(second, address), Error(EADDRINUSE));
  network.simulation.RunUntilIdle();
  EXPECT_EQ(network.a.kernel().TakeError(first), Error(ECONNREFUSED));
  EXPECT_EQ(network.a.kernel().Bind(second, address), Error());
  EXPECT_EQ(network.a.kernel().Bind(first, SocketAddress(network.a.ipv4(), 0)),
            Error());
}

TEST(Tcp, BytesArriveOnceAndInOrderWhateverTheNetworkDoes) {
  for (uint64_t seed = 1; seed != 30; ++seed) {
    Connection connection({.seed = seed,
                           .faults = {.loss = 50'000,
                                      .duplication = 100'000,
                                      .reordering = 100'000,
                                      .split = 500'000,
                                      .join = 200'000}});
    std::string sent;
    for (int i = 0; i != 20'000; ++i) sent += static_cast<char>(i * 7 + i / 99);
    size_t taken = 0;
    std::string got;
    for (int i = 0; i != 100'000 && got.size() != sent.size(); ++i) {
      taken += connection
                   .Send(connection.a, connection.near,
                         std::string_view(sent).substr(taken, 3000))
                   .count;
      connection.Receive(connection.b, connection.far, &got, 700);
      connection.simulation.RunFor(absl::Milliseconds(5));
    }
    EXPECT_TRUE(got == sent) << seed;
    EXPECT_TRUE(connection.simulation.violations().empty());
  }
}

}  // namespace
}  // namespace aios::test
