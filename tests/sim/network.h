// Two simulated hosts whose kernels a test calls by hand.

#ifndef AIOS_TESTS_SIM_NETWORK_H_
#define AIOS_TESTS_SIM_NETWORK_H_

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "gtest/gtest.h"
#include "sim/recording.h"
#include "sim/simulation.h"

namespace aios::test {

// A UDP socket on each host, and what travels between them.
class Network {
 public:
  explicit Network(const sim::SimulationOptions& options = {})
      : simulation(options),
        a(simulation.AddHost("a", {.faulty_calls = false})),
        b(simulation.AddHost("b", {.faulty_calls = false})) {
    simulation.StartRecording();
  }

  Handle Open(sim::Host& host, SocketType type, Family family = Family::kIpv4) {
    Handle handle = kNoHandle;
    EXPECT_TRUE(host.kernel().Open(type, family, &handle).ok());
    return handle;
  }
  Handle OpenBound(sim::Host& host, SocketType type, uint16_t port,
                   Family family = Family::kIpv4) {
    Handle handle = Open(host, type, family);
    Error error =
        host.kernel().Bind(handle, SocketAddress(IpAddress::Any(family), port));
    EXPECT_TRUE(error.ok()) << error.Name();
    return handle;
  }
  SocketAddress AddressOf(const sim::Host& host, uint16_t port) {
    return SocketAddress(host.ipv4(), port);
  }

  Error SendTo(sim::Host& from, Handle handle, const SocketAddress& target,
               std::string_view payload) {
    OutgoingDatagram datagram = {{payload.data(), payload.size()}, &target};
    return from.kernel().SendDatagrams(handle, {&datagram, 1}).error;
  }

  // Sends `count` datagrams of `size` bytes from `a` to `b`, one every
  // `every`, and waits until all has arrived that arrives. The payloads begin
  // with their number.
  void Stream(int count, size_t size, absl::Duration every) {
    Handle from = OpenBound(a, SocketType::kDatagram, 1000);
    if (to == kNoHandle) to = OpenBound(b, SocketType::kDatagram, 2000);
    for (int i = 0; i != count; ++i) {
      std::string payload(size, '.');
      for (int byte = 0; byte != 2 && byte < static_cast<int>(size); ++byte) {
        payload[static_cast<size_t>(byte)] = static_cast<char>(i >> (8 * byte));
      }
      EXPECT_TRUE(SendTo(a, from, AddressOf(b, 2000), payload).ok());
      simulation.RunFor(every);
    }
    simulation.RunUntilIdle();
    a.kernel().Close(from);
  }

  // What has arrived at `b`, in order.
  std::vector<std::string> Received() {
    std::vector<std::string> received;
    std::array<char, 65536> room;
    IncomingDatagram datagram;
    while (b.kernel().ReceiveDatagram(to, room, false, &datagram).ok()) {
      received.emplace_back(room.data(), datagram.size);
    }
    return received;
  }

  // How long the packets from `a` took, in order of sending.
  std::vector<Nanoseconds> Delays() {
    std::vector<Nanoseconds> delays;
    for (const sim::RecordedPacket& packet :
         simulation.recording()->packets()) {
      if (packet.packet.from == a.index() && !packet.dropped) {
        delays.push_back(packet.ended - packet.sent);
      }
    }
    return delays;
  }

  sim::Simulation simulation;
  sim::Host& a;
  sim::Host& b;
  Handle to = kNoHandle;
};

// A TCP connection from `a` to `b`.
class Connection : public Network {
 public:
  explicit Connection(const sim::SimulationOptions& options = {})
      : Network(options) {
    listener = OpenBound(b, SocketType::kStream, 80);
    EXPECT_TRUE(b.kernel().Listen(listener, 16).ok());
    near = Open(a, SocketType::kStream);
    EXPECT_EQ(a.kernel().Connect(near, AddressOf(b, 80)), Error(EINPROGRESS));
    EXPECT_TRUE(simulation.RunUntil(
        [&] { return b.kernel().Accept(listener, &far).ok(); }));
  }

  // Sends as much as there is room for; the count or the error.
  static Transfer Send(sim::Host& host, Handle handle, std::string_view bytes) {
    ConstBuffer buffer = {bytes.data(), bytes.size()};
    return host.kernel().Send(handle, {&buffer, 1});
  }
  // Receives once.
  static Transfer Receive(sim::Host& host, Handle handle, std::string* bytes,
                          size_t limit = 65536) {
    std::string room(limit, '\0');
    Transfer transfer = host.kernel().Receive(handle, room);
    bytes->append(room, 0, transfer.count);
    return transfer;
  }

  Handle listener = kNoHandle;
  Handle near = kNoHandle;  // on `a`
  Handle far = kNoHandle;   // on `b`
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SIM_NETWORK_H_
