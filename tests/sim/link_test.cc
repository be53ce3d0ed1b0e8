// What packets go through on their way: latency, bandwidth, queues, sizes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/network_options.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

constexpr Nanoseconds kMicrosecond = 1'000;
constexpr Nanoseconds kMillisecond = 1'000'000;

// So far apart that no packet waits for another.
constexpr absl::Duration kApart = absl::Seconds(10);

std::vector<Nanoseconds> DelaysWith(const sim::Latency& latency, int count) {
  Network network;
  network.simulation.SetLink(network.a, network.b, {.latency = latency});
  network.Stream(count, 10, kApart);
  std::vector<Nanoseconds> delays = network.Delays();
  EXPECT_EQ(delays.size(), static_cast<size_t>(count));
  return delays;
}

double Mean(const std::vector<Nanoseconds>& values) {
  return static_cast<double>(
             std::accumulate(values.begin(), values.end(), Nanoseconds{0})) /
         static_cast<double>(values.size());
}

TEST(Link, FixedLatency) {
  for (Nanoseconds delay :
       DelaysWith(sim::Latency::Fixed(absl::Milliseconds(3)), 20)) {
    EXPECT_EQ(delay, 3 * kMillisecond);
  }
}

TEST(Link, UniformLatencyReachesBothEndsAndNothingElse) {
  std::vector<Nanoseconds> delays = DelaysWith(
      sim::Latency::Uniform(absl::Milliseconds(1), absl::Milliseconds(3)),
      1000);
  auto [least, most] = std::minmax_element(delays.begin(), delays.end());
  EXPECT_GE(*least, kMillisecond);
  EXPECT_LE(*most, 3 * kMillisecond);
  EXPECT_LT(*least, kMillisecond + 20 * kMicrosecond);
  EXPECT_GT(*most, 3 * kMillisecond - 20 * kMicrosecond);
  EXPECT_NEAR(Mean(delays), 2 * kMillisecond, 60 * kMicrosecond);
}

TEST(Link, ExponentialLatency) {
  std::vector<Nanoseconds> delays = DelaysWith(
      sim::Latency::Exponential(absl::Milliseconds(1), absl::Milliseconds(2)),
      2000);
  EXPECT_GE(*std::min_element(delays.begin(), delays.end()), kMillisecond);
  EXPECT_NEAR(Mean(delays), 3 * kMillisecond, 200 * kMicrosecond);
  // Of the exponential distribution 1/e is above the mean, 1/e^3 above thrice.
  auto above = [&](Nanoseconds length) {
    return std::count_if(delays.begin(), delays.end(), [&](Nanoseconds delay) {
      return delay - kMillisecond > length;
    });
  };
  EXPECT_NEAR(static_cast<double>(above(2 * kMillisecond)), 736, 80);
  EXPECT_NEAR(static_cast<double>(above(6 * kMillisecond)), 100, 35);
}

TEST(Link, HeavyTailedLatencyIsMostlyShortAndRarelyVeryLong) {
  std::vector<Nanoseconds> delays = DelaysWith(
      sim::Latency::HeavyTailed(absl::Milliseconds(1), absl::Milliseconds(1)),
      3000);
  auto above = [&](Nanoseconds length) {
    return std::count_if(delays.begin(), delays.end(), [&](Nanoseconds delay) {
      return delay - kMillisecond > length;
    });
  };
  EXPECT_NEAR(static_cast<double>(above(kMillisecond)), 3000 * 0.23, 100);
  EXPECT_GT(above(100 * kMillisecond), 5);
  EXPECT_EQ(above(1000 * kMillisecond), 0);
}

TEST(Link, PacketsOfALinkKeepTheirOrderWhateverTheLatency) {
  Network network;
  network.simulation.SetLink(
      network.a, network.b,
      {.latency = sim::Latency::Uniform(absl::ZeroDuration(),
                                        absl::Milliseconds(50))});
  network.Stream(200, 10, absl::Microseconds(100));
  std::vector<std::string> received = network.Received();
  ASSERT_EQ(received.size(), 200u);
  for (size_t i = 0; i != received.size(); ++i) {
    EXPECT_EQ(static_cast<unsigned char>(received[i][0]), i % 256);
  }
}

TEST(Link, EachDirectionHasItsOwn) {
  Network network;
  network.simulation.SetLink(
      network.a, network.b,
      {.latency = sim::Latency::Fixed(absl::Milliseconds(10))});
  network.simulation.SetLink(
      network.b, network.a,
      {.latency = sim::Latency::Fixed(absl::Milliseconds(70))});
  Handle from = network.OpenBound(network.a, SocketType::kDatagram, 1000);
  Handle to = network.OpenBound(network.b, SocketType::kDatagram, 2000);
  EXPECT_TRUE(
      network
          .SendTo(network.a, from, network.AddressOf(network.b, 2000), "there")
          .ok());
  EXPECT_TRUE(
      network.SendTo(network.b, to, network.AddressOf(network.a, 1000), "back")
          .ok());
  network.simulation.RunUntilIdle();
  const auto& packets = network.simulation.recording()->packets();
  ASSERT_EQ(packets.size(), 2u);
  EXPECT_EQ(packets[0].ended - packets[0].sent, 10 * kMillisecond);
  EXPECT_EQ(packets[1].ended - packets[1].sent, 70 * kMillisecond);
}

TEST(Link, BandwidthMakesPacketsWaitForOneAnother) {
  Network network;
  // 100 bytes, headers included, take a millisecond.
  network.simulation.SetLink(
      network.a, network.b,
      {.latency = sim::Latency::Fixed(absl::Milliseconds(5)),
       .bits_per_second = 800'000});
  network.Stream(10, 72, absl::ZeroDuration());
  std::vector<Nanoseconds> delays = network.Delays();
  ASSERT_EQ(delays.size(), 10u);
  for (size_t i = 0; i != delays.size(); ++i) {
    EXPECT_EQ(delays[i], (5 + static_cast<Nanoseconds>(i) + 1) * kMillisecond);
  }
}

TEST(Link, TheQueueIsBoundedAndDropsWhatComesToAFullOne) {
  Network network;
  network.simulation.SetLink(
      network.a, network.b,
      {.bits_per_second = 800'000, .queue_bytes_max = 500});
  network.Stream(20, 72, absl::ZeroDuration());
  // Those that found at most 500 bytes before them.
  EXPECT_EQ(network.Received().size(), 6u);
  EXPECT_EQ(network.simulation.fault_count(sim::Fault::kQueueOverflow).fired,
            14u);
  // When it is empty again, they go through.
  EXPECT_TRUE(network
                  .SendTo(network.a,
                          network.Open(network.a, SocketType::kDatagram),
                          network.AddressOf(network.b, 2000), "again")
                  .ok());
  network.simulation.RunUntilIdle();
  EXPECT_EQ(network.Received(), std::vector<std::string>{"again"});
}

TEST(Link, StreamsAreCutToFitTheMtuOfTheirDirection) {
  Connection connection;
  connection.simulation.SetLink(connection.a, connection.b, {.mtu_bytes = 140});
  std::string bytes(1000, 'x');
  EXPECT_EQ(connection.Send(connection.a, connection.near, bytes).count, 1000u);
  EXPECT_EQ(connection.Send(connection.b, connection.far, bytes).count, 1000u);
  connection.simulation.RunUntilIdle();
  size_t most_from_a = 0;
  size_t most_from_b = 0;
  for (const sim::RecordedPacket& packet :
       connection.simulation.recording()->packets()) {
    size_t& most =
        packet.packet.from == connection.a.index() ? most_from_a : most_from_b;
    most = std::max(most, packet.packet.size());
  }
  EXPECT_EQ(most_from_a, 140u);
  EXPECT_EQ(most_from_b, 1040u);
}

TEST(Link, ADatagramInFragmentsIsLostWithAnyOfThem) {
  auto arrive = [](size_t size) {
    Network network({.seed = 5, .faults = {.loss = 100'000}});
    network.Stream(400, size, absl::Milliseconds(1));
    return network.Delays().size();
  };
  EXPECT_NEAR(static_cast<double>(arrive(1000)), 400 * 0.9, 30);
  // In 7 fragments: 0.9^7 of them.
  EXPECT_NEAR(static_cast<double>(arrive(10'000)), 400 * 0.478, 45);
}

}  // namespace
}  // namespace aios::test
