// ::ffff:a.b.c.d given as an address of a socket that aios makes, or sends
// from: it is a.b.c.d, in every function.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

class MappedAddressesTest : public ConformanceTest {
 protected:
  void SetUp() override { AIOS_NEEDS_FAMILY(world(), Family::kIpv6); }

  // As text, which takes the other way into aios.
  static std::string Mapped(const IpAddress& ip) {
    return ip.ToIpv4Mapped().ToString();
  }

  void ExpectEcho(AsyncIoState& state, UdpPeer& peer) {
    Recorder send(*this, "send");
    EXPECT_OK(state.SendMessage("there", send.Callback()));
    EXPECT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().status, IoStatus::kOk);
    EXPECT_EQ(peer.Receive().payload, "there");
  }

  const IpAddress host_ = world().host_ip(Family::kIpv4);
};

INSTANTIATE_TEST_SUITE_P(All, MappedAddressesTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(MappedAddressesTest, ConnectTcp) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  const SocketAddress target = listener->address();
  for (bool local : {false, true}) {
    Recorder connect(*this, "connect");
    const std::string from = Mapped(host_);
    ConnectTcpOptions options;
    if (local) options.local_address = from;
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectTcp(collection(), Mapped(target.ip()), target.port(),
                   connect.Callback(), std::move(options));
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    ASSERT_EQ(connect.last().status, IoStatus::kOk) << connect.last().detail;
    EXPECT_EQ((*state)->peer_address(), target);
    EXPECT_EQ((*state)->address()->ip(), host_);
  }
}

TEST_P(MappedAddressesTest, ConnectUdp) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  const SocketAddress target = peer->address();
  for (Ipv6 ipv6 : {Ipv6::kAny, Ipv6::kNo}) {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), target.ip().ToIpv4Mapped(), target.port(),
                   {.ipv6 = ipv6});
    ASSERT_OK(state);
    EXPECT_EQ((*state)->peer_address(), target);
    ExpectEcho(**state, *peer);
  }
  EXPECT_TRUE(IsRefusal(ConnectUdp(collection(), Mapped(target.ip()),
                                   target.port(), {.ipv6 = Ipv6::kYes}),
                        absl::StatusCode::kInvalidArgument, {"ConnectUdp"}));
}

TEST_P(MappedAddressesTest, ConnectUdpWithACallback) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  const SocketAddress target = peer->address();
  const std::string from = Mapped(host_);
  for (Ipv6 ipv6 : {Ipv6::kAny, Ipv6::kNo}) {
    Recorder connect(*this, "connect");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), Mapped(target.ip()), target.port(),
                   connect.Callback(), {.ipv6 = ipv6, .local_address = from});
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    ASSERT_EQ(connect.last().status, IoStatus::kOk) << connect.last().detail;
    EXPECT_EQ((*state)->peer_address(), target);
    ExpectEcho(**state, *peer);
  }
  Recorder refused(*this, "refused");
  EXPECT_TRUE(
      IsRefusal(ConnectUdp(collection(), Mapped(target.ip()), target.port(),
                           refused.Callback(), {.ipv6 = Ipv6::kYes}),
                absl::StatusCode::kInvalidArgument, {"ConnectUdp"}));
}

TEST_P(MappedAddressesTest, SendMessageToAddress) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  const SocketAddress target = peer->address();
  std::unique_ptr<AsyncIoState> plain = MakeUdp();
  absl::StatusOr<std::unique_ptr<AsyncIoState>> both =
      OpenUdp(collection(), {.ipv6 = Ipv6::kBoth});
  ASSERT_OK(both);
  for (AsyncIoState* state : {plain.get(), both->get()}) {
    Recorder sends(*this, "sends", Recorder::kRepeating);
    ASSERT_OK(state->SendMessageToAddress(
        SocketAddress(target.ip().ToIpv4Mapped(), target.port()), "one",
        sends.Callback()));
    ASSERT_OK(state->SendMessageToAddress(Mapped(target.ip()), target.port(),
                                          "two", sends.Callback()));
    ASSERT_TRUE(RunUntil([&] { return sends.calls().size() == 2; }));
    for (const Call& call : sends.calls()) {
      EXPECT_EQ(call.status, IoStatus::kOk) << call.error.Name();
    }
    EXPECT_EQ(peer->Receive().payload, "one");
    EXPECT_EQ(peer->Receive().payload, "two");
  }
}

TEST_P(MappedAddressesTest, OpenUdp) {
  const std::string local = Mapped(host_);
  for (Ipv6 ipv6 : {Ipv6::kAny, Ipv6::kNo}) {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        OpenUdp(collection(), {.ipv6 = ipv6, .local_address = local});
    ASSERT_OK(state);
    EXPECT_EQ((*state)->address()->ip(), host_);
  }
  absl::StatusOr<std::unique_ptr<AsyncIoState>> both =
      OpenUdp(collection(), {.ipv6 = Ipv6::kBoth, .local_address = local});
  ASSERT_OK(both);
  EXPECT_EQ((*both)->address()->ip(), host_.ToIpv4Mapped())
      << "a socket of IPv6";
  EXPECT_TRUE(IsRefusal(
      OpenUdp(collection(), {.ipv6 = Ipv6::kYes, .local_address = local}),
      absl::StatusCode::kInvalidArgument, {"OpenUdp", "IPv6 only"}));
}

TEST_P(MappedAddressesTest, AcceptTcpConnections) {
  const std::string local = Mapped(host_);
  auto listen = [&](Ipv6 ipv6) {
    return AcceptTcpConnections(
        collection(), 0, [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
        {.address = local, .ipv6 = ipv6});
  };
  for (Ipv6 ipv6 : {Ipv6::kAny, Ipv6::kNo}) {
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener = listen(ipv6);
    ASSERT_OK(listener);
    EXPECT_EQ((*listener)->local_address().ip(), host_);
    world().ConnectTo((*listener)->local_address());
  }
  EXPECT_OK(listen(Ipv6::kBoth));
  EXPECT_TRUE(IsRefusal(listen(Ipv6::kYes), absl::StatusCode::kInvalidArgument,
                        {"AcceptTcpConnections", "IPv6 only"}));
}

// What has nothing to do with a mapped address: the two families do not mix.
TEST_P(MappedAddressesTest, ALocalAddressOfIpv4IsNoneForATargetOfIpv6) {
  const IpAddress target = world().peer_ip(Family::kIpv6);
  Recorder none(*this, "none");
  EXPECT_TRUE(IsRefusal(ConnectTcp(collection(), target, 9, none.Callback(),
                                   {.local_address = host_}),
                        absl::StatusCode::kInvalidArgument,
                        {"ConnectTcp", "IPv6 only"}));
  EXPECT_TRUE(IsRefusal(
      ConnectUdp(collection(), target, 9, {.local_address = host_}),
      absl::StatusCode::kInvalidArgument, {"ConnectUdp", "IPv6 only"}));
  EXPECT_TRUE(IsRefusal(ConnectUdp(collection(), target, 9, none.Callback(),
                                   {.local_address = host_}),
                        absl::StatusCode::kInvalidArgument,
                        {"ConnectUdp", "IPv6 only"}));
}

}  // namespace
}  // namespace aios::test
