// Every way in which two sockets become peers: what one sends is what the other
// receives, the simulation finds nothing wrong with it, and finds what somebody
// changed on the way.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/packet.h"
#include "sim/plain_sockets.h"
#include "sim/raw_sockets.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

struct End {
  sim::Host* host = nullptr;
  Handle handle = kNoHandle;

  Kernel& kernel() const { return host->kernel(); }
};

struct Peers {
  End one = {};
  End other = {};  // the same as `one` where a socket is its own peer
};

// Bound to this port, which others may use after it.
End Bound(Network& network, sim::Host& host, uint16_t port,
          SocketType type = SocketType::kStream,
          Family family = Family::kIpv4) {
  End end{&host, network.Open(host, type, family)};
  EXPECT_TRUE(end.kernel()
                  .SetOption(end.handle, SocketOption::kReuseAddress, true)
                  .ok());
  EXPECT_EQ(end.kernel().Bind(end.handle,
                              SocketAddress(IpAddress::Any(family), port)),
            Error());
  return end;
}

void Connect(const End& end, const SocketAddress& address) {
  EXPECT_EQ(end.kernel().Connect(end.handle, address), Error(EINPROGRESS));
}

End Listening(Network& network, sim::Host& host, uint16_t port,
              Family family = Family::kIpv4) {
  End end = Bound(network, host, port, SocketType::kStream, family);
  EXPECT_TRUE(end.kernel().Listen(end.handle, 16).ok());
  return end;
}

End Accepted(const End& listener) {
  End end{listener.host};
  EXPECT_TRUE(listener.kernel().Accept(listener.handle, &end.handle).ok());
  return end;
}

// From port 1000 of `a` to port 80 of `b`, accepted there.
Peers Accepting(Network& network, const End& listener) {
  Peers peers{.one = Bound(network, network.a, 1000)};
  Connect(peers.one, network.AddressOf(network.b, 80));
  network.simulation.RunFor(absl::Seconds(10));
  peers.other = Accepted(listener);
  return peers;
}

Peers ByAccept(Network& network) {
  return Accepting(network, Listening(network, network.b, 80));
}

Peers ByAcceptOfTheSameHost(Network& network) {
  End listener = Listening(network, network.a, 80);
  Peers peers{
      .one = {&network.a, network.Open(network.a, SocketType::kStream)}};
  Connect(peers.one, SocketAddress(IpAddress::Loopback(Family::kIpv4), 80));
  network.simulation.RunFor(absl::Seconds(1));
  peers.other = Accepted(listener);
  return peers;
}

Peers ByAcceptOfAMappedAddress(Network& network) {
  End listener = Listening(network, network.b, 80, Family::kIpv6);
  Peers peers{
      .one = {&network.a, network.Open(network.a, SocketType::kStream)}};
  Connect(peers.one, network.AddressOf(network.b, 80));
  network.simulation.RunFor(absl::Seconds(1));
  peers.other = Accepted(listener);
  return peers;
}

Peers Simultaneous(Network& network, sim::Host& one, sim::Host& other) {
  Peers peers{Bound(network, one, 1000), Bound(network, other, 80)};
  Connect(peers.one, network.AddressOf(other, 80));
  Connect(peers.other, network.AddressOf(one, 1000));
  network.simulation.RunFor(absl::Seconds(60));
  return peers;
}

Peers BySimultaneousOpen(Network& network) {
  return Simultaneous(network, network.a, network.b);
}

Peers BySimultaneousOpenTheOtherWayRound(Network& network) {
  return Simultaneous(network, network.b, network.a);
}

Peers BySimultaneousOpenOfTheSameHost(Network& network) {
  return Simultaneous(network, network.a, network.a);
}

// Loses the packet of this number from the beginning of the attempt.
template <int kLost>
Peers BySimultaneousOpenWithLoss(Network& network) {
  sim::Rule rule = network.simulation.DropIf(
      [n = 0](const sim::Packet&) mutable { return n++ == kLost; });
  return Simultaneous(network, network.a, network.b);
}

Peers BySimultaneousOpenWhereOneListens(Network& network) {
  End listener = Bound(network, network.b, 80);
  Peers peers = {Bound(network, network.a, 1000),
                 Bound(network, network.b, 80)};
  EXPECT_TRUE(listener.kernel().Listen(listener.handle, 16).ok());
  Connect(peers.one, network.AddressOf(network.b, 80));
  Connect(peers.other, network.AddressOf(network.a, 1000));
  network.simulation.RunFor(absl::Seconds(1));
  return peers;
}

Peers ByConnectToItself(Network& network) {
  End self = Bound(network, network.a, 1000);
  Connect(self, network.AddressOf(network.a, 1000));
  network.simulation.RunFor(absl::Seconds(1));
  return {self, self};
}

Peers ByTheSameFourAgainAfterAnEnd(Network& network) {
  End listener = Listening(network, network.b, 80);
  Peers first = Accepting(network, listener);
  Connection::Send(*first.one.host, first.one.handle, "of the first");
  network.simulation.RunFor(absl::Seconds(1));
  std::string bytes;
  Connection::Receive(*first.other.host, first.other.handle, &bytes);
  first.one.kernel().Close(first.one.handle);
  network.simulation.RunFor(absl::Seconds(1));
  first.other.kernel().Close(first.other.handle);
  network.simulation.RunFor(absl::Seconds(1));
  return Accepting(network, listener);
}

Peers ByTheSameFourAgainAfterTheServerEnded(Network& network) {
  End listener = Listening(network, network.b, 80);
  Peers first = Accepting(network, listener);
  first.other.kernel().Close(first.other.handle);
  network.simulation.RunFor(absl::Seconds(1));
  first.one.kernel().Close(first.one.handle);
  network.simulation.RunFor(absl::Seconds(1));
  return Accepting(network, listener);
}

Peers ByTheSameFourAgainAfterAReset(Network& network) {
  End listener = Listening(network, network.b, 80);
  Peers first = Accepting(network, listener);
  Connection::Send(*first.other.host, first.other.handle, "never read");
  network.simulation.RunFor(absl::Seconds(1));
  sim::RawSockets(network.a).CloseWithReset(first.one.handle);
  return Accepting(network, listener);
}

Peers ByTheSameFourAgainAfterACrash(Network& network) {
  End listener = Listening(network, network.b, 80);
  Peers first = Accepting(network, listener);
  Connection::Send(*first.other.host, first.other.handle, "never read");
  network.a.Crash();
  network.a.Restart();
  return Accepting(network, listener);
}

Peers ByUdpConnect(Network& network) {
  Peers peers{Bound(network, network.a, 1000, SocketType::kDatagram),
              Bound(network, network.b, 80, SocketType::kDatagram)};
  EXPECT_TRUE(peers.one.kernel()
                  .Connect(peers.one.handle, network.AddressOf(network.b, 80))
                  .ok());
  EXPECT_TRUE(
      peers.other.kernel()
          .Connect(peers.other.handle, network.AddressOf(network.a, 1000))
          .ok());
  return peers;
}

Peers ByUdpConnectToItself(Network& network) {
  End self = Bound(network, network.a, 1000, SocketType::kDatagram);
  EXPECT_TRUE(self.kernel()
                  .Connect(self.handle, network.AddressOf(network.a, 1000))
                  .ok());
  return {self, self};
}

struct Way {
  const char* name;
  Peers (*make)(Network& network);
  bool stream = true;
};

class PeersTest : public testing::TestWithParam<Way> {
 protected:
  void Send(const End& end, std::string_view bytes) {
    EXPECT_EQ(Connection::Send(*end.host, end.handle, bytes).count,
              bytes.size());
    network_.simulation.RunFor(absl::Seconds(1));
  }
  std::string Received(const End& end) {
    std::string bytes;
    Connection::Receive(*end.host, end.handle, &bytes);
    return bytes;
  }
  // Whether it is its own peer.
  bool Self() const {
    return peers_.one.host == peers_.other.host &&
           peers_.one.handle == peers_.other.handle;
  }
  const std::vector<std::string>& violations() const {
    return network_.simulation.violations();
  }
  // Somebody on the way.
  template <typename Change>
  sim::Rule Tamper(Change change) {
    return network_.simulation.DropIf([change](const sim::Packet& packet) {
      return change(const_cast<sim::Packet&>(packet));
    });
  }

  Network network_;
  Peers peers_ = GetParam().make(network_);
};

TEST_P(PeersTest, WhatIsRightIsFoundRight) {
  for (const char* bytes : {"one", "two", "three"}) {
    Send(peers_.one, bytes);
    EXPECT_EQ(Received(peers_.other), bytes);
    Send(peers_.other, bytes);
    EXPECT_EQ(Received(peers_.one), bytes);
  }
  if (GetParam().stream) {
    for (const End* end : {&peers_.one, &peers_.other}) {
      static_cast<void>(
          end->kernel().Shutdown(end->handle, Direction::kOutput));
      network_.simulation.RunFor(absl::Seconds(1));
    }
    EXPECT_EQ(Received(peers_.one), "");
    EXPECT_EQ(Received(peers_.other), "");
  }
  EXPECT_EQ(violations(), std::vector<std::string>());
}

TEST_P(PeersTest, PlainSocketsOfTheseAreFoundRight) {
  if (!GetParam().stream || Self()) {
    GTEST_SKIP() << "a plain socket is one end of a stream";
  }
  const std::string sent(100'000, 'x');
  sim::PlainSockets one(peers_.one.kernel());
  sim::PlainSockets other(peers_.other.kernel());
  std::string got;
  int done = 0;
  one.Post([&] {
    one.Send(peers_.one.handle, sent, [&](size_t, bool, Error) { ++done; });
  });
  other.Post([&] {
    other.Receive(
        peers_.other.handle, {.size = sent.size()},
        [&](std::string_view bytes) { got += bytes; },
        [&](size_t, bool, Error) { ++done; });
  });
  EXPECT_TRUE(network_.simulation.RunUntil([&] { return done == 2; }));
  EXPECT_TRUE(got == sent);
  EXPECT_EQ(violations(), std::vector<std::string>());
}

TEST_P(PeersTest, AChangedByteIsFoundInEachDirection) {
  Send(peers_.one, "first");
  EXPECT_EQ(Received(peers_.other), "first");
  Send(peers_.other, "first");
  EXPECT_EQ(Received(peers_.one), "first");
  EXPECT_EQ(violations(), std::vector<std::string>());
  sim::Rule rule = Tamper([](sim::Packet& packet) {
    if (!packet.payload.empty()) packet.payload.back() ^= 1;
    return false;
  });
  Send(peers_.one, "second");
  EXPECT_NE(Received(peers_.other), "second");
  ASSERT_EQ(violations().size(), 1u);
  EXPECT_NE(violations()[0].find("I4: "), std::string::npos);
  if (Self()) return;
  Send(peers_.other, "third");
  EXPECT_NE(Received(peers_.one), "third");
  ASSERT_EQ(violations().size(), 2u);
  EXPECT_NE(violations()[1], violations()[0]) << "it is the other end";
}

TEST_P(PeersTest, BytesOfSomebodyElseAreFound) {
  if (GetParam().stream) {
    // A stranger knows the numbers, and is faster.
    sim::Rule rule = Tamper([](sim::Packet& packet) {
      if (!packet.payload.empty()) packet.payload.assign({'s', 'p', 'y'});
      return false;
    });
    Send(peers_.one, "one");
    EXPECT_EQ(Received(peers_.other), "spy");
  } else {
    End stranger = Bound(network_, network_.a, 666, SocketType::kDatagram);
    SocketAddress to;
    SocketAddress from;
    EXPECT_TRUE(
        peers_.other.kernel().LocalAddress(peers_.other.handle, &to).ok());
    EXPECT_TRUE(
        peers_.other.kernel().PeerAddress(peers_.other.handle, &from).ok());
    EXPECT_TRUE(
        network_.SendTo(network_.a, stranger.handle, to, "honest").ok());
    network_.simulation.RunFor(absl::Seconds(1));
    EXPECT_EQ(Received(peers_.other), "") << "it has one peer";
    EXPECT_EQ(violations(), std::vector<std::string>());
    sim::Rule rule = Tamper([from](sim::Packet& packet) {
      packet.source = from;
      return false;
    });
    EXPECT_TRUE(network_.SendTo(network_.a, stranger.handle, to, "spy").ok());
    network_.simulation.RunFor(absl::Seconds(1));
    EXPECT_EQ(Received(peers_.other), "spy");
  }
  ASSERT_EQ(violations().size(), 1u);
  EXPECT_NE(violations()[0].find("I4: "), std::string::npos);
}

TEST_P(PeersTest, AnEarlyEndIsFound) {
  if (!GetParam().stream) {
    GTEST_SKIP() << "datagrams have no end, and may be lost";
  }
  Send(peers_.one, "before");
  EXPECT_EQ(Received(peers_.other), "before");
  // The end is told without what comes before it.
  sim::Rule rule = Tamper([](sim::Packet& packet) {
    if (!packet.payload.empty()) return true;
    if ((packet.flags & sim::Packet::kFin) != 0) packet.sequence -= 4;
    return false;
  });
  Send(peers_.one, "lost");
  EXPECT_TRUE(
      peers_.one.kernel().Shutdown(peers_.one.handle, Direction::kOutput).ok());
  network_.simulation.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(Received(peers_.other), "");
  ASSERT_EQ(violations().size(), 1u);
  EXPECT_NE(violations()[0].find("is at its end, but not all"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, PeersTest,
    testing::Values(
        Way{"Accept", ByAccept},
        Way{"AcceptOfTheSameHost", ByAcceptOfTheSameHost},
        Way{"AcceptOfAMappedAddress", ByAcceptOfAMappedAddress},
        Way{"SimultaneousOpen", BySimultaneousOpen},
        Way{"SimultaneousOpenTheOtherWayRound",
            BySimultaneousOpenTheOtherWayRound},
        Way{"SimultaneousOpenOfTheSameHost", BySimultaneousOpenOfTheSameHost},
        Way{"SimultaneousOpenWithLossOfTheFirst",
            BySimultaneousOpenWithLoss<0>},
        Way{"SimultaneousOpenWithLossOfTheSecond",
            BySimultaneousOpenWithLoss<1>},
        Way{"SimultaneousOpenWithLossOfTheThird",
            BySimultaneousOpenWithLoss<2>},
        Way{"SimultaneousOpenWithLossOfTheFourth",
            BySimultaneousOpenWithLoss<3>},
        Way{"SimultaneousOpenWhereOneListens",
            BySimultaneousOpenWhereOneListens},
        Way{"ConnectToItself", ByConnectToItself},
        Way{"TheSameFourAgainAfterAnEnd", ByTheSameFourAgainAfterAnEnd},
        Way{"TheSameFourAgainAfterTheServerEnded",
            ByTheSameFourAgainAfterTheServerEnded},
        Way{"TheSameFourAgainAfterAReset", ByTheSameFourAgainAfterAReset},
        Way{"TheSameFourAgainAfterACrash", ByTheSameFourAgainAfterACrash},
        Way{"UdpConnect", ByUdpConnect, false},
        Way{"UdpConnectToItself", ByUdpConnectToItself, false}),
    [](const testing::TestParamInfo<Way>& info) { return info.param.name; });

}  // namespace
}  // namespace aios::test
