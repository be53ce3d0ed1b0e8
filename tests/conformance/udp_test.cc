// Conformance of UDP states: lines 40-45 of the checklist.

#include <any>
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

class UdpTest : public ConformanceTest {
 protected:
  // A connected state and its peer, which sends to it.
  struct Link {
    std::unique_ptr<AsyncIoState> state;
    std::unique_ptr<UdpPeer> peer;
  };
  Link MakeLink(Family family = Family::kIpv4, UdpOptions options = {}) {
    Link link;
    link.peer = world().Udp(family);
    if (options.name.empty()) options.name = "connected";
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), link.peer->address().ip(),
                   link.peer->address().port(), std::move(options));
    if (!state.ok()) {
      ADD_FAILURE() << state.status().ToString();
      return link;
    }
    link.state = *std::move(state);
    return link;
  }

  Call Receive(AsyncIoState& state, size_t size = 2000) {
    std::string buffer(size, '\0');
    Recorder receive(*this, "receive");
    EXPECT_OK(state.ReceiveMessage(buffer, receive.Callback(),
                                   {.needs_address = true}));
    EXPECT_TRUE(RunUntil(receive));
    return receive.last();
  }
};

INSTANTIATE_TEST_SUITE_P(All, UdpTest, testing::ValuesIn(AllKernels()), NameOf);

TEST_P(UdpTest, AttributesOfUdpStates) {
  for (Family family : Families()) {
    std::unique_ptr<AsyncIoState> open = MakeUdp(family, "open");
    EXPECT_EQ(open->name(), "open");
    EXPECT_EQ(open->collection(), &collection());
    ASSERT_TRUE(open->address().has_value());
    EXPECT_EQ(open->address()->ip(), world().host_ip(family));
    EXPECT_NE(open->address()->port(), 0);
    EXPECT_EQ(open->peer_address(), std::nullopt) << "it has no peer";
    EXPECT_FALSE(world().IsInherited(open->handle()));

    Link link = MakeLink(family, {.name = "linked",
                                  .read_timeout = absl::Seconds(31),
                                  .write_timeout = absl::Seconds(32),
                                  .user_info = std::string("mine")});
    EXPECT_EQ(link.state->name(), "linked");
    EXPECT_EQ(link.state->peer_address(), link.peer->address());
    EXPECT_EQ(link.state->address()->ip(), world().host_ip(family));
    EXPECT_EQ(link.state->read_timeout(), absl::Seconds(31));
    EXPECT_EQ(link.state->write_timeout(), absl::Seconds(32));
    EXPECT_EQ(std::any_cast<std::string>(link.state->user_info()), "mine");
    EXPECT_FALSE(link.state->connecting());
  }
}

TEST_P(UdpTest, FamilyOfAnOpenedState) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> any = OpenUdp(collection());
  ASSERT_OK(any);
  EXPECT_TRUE((*any)->address()->ip().is_ipv4());
  absl::StatusOr<std::unique_ptr<AsyncIoState>> v4 =
      OpenUdp(collection(), {.ipv6 = Ipv6::kNo});
  ASSERT_OK(v4);
  EXPECT_TRUE((*v4)->address()->ip().is_ipv4());
  if (!world().HasFamily(Family::kIpv6)) return;
  for (Ipv6 ipv6 : {Ipv6::kYes, Ipv6::kBoth}) {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> v6 =
        OpenUdp(collection(), {.ipv6 = ipv6});
    ASSERT_OK(v6);
    EXPECT_TRUE((*v6)->address()->ip().is_ipv6());
  }
}

TEST_P(UdpTest, Line40_EchoToTheAddressThatWasDelivered) {
  for (Family family : Families()) {
    std::unique_ptr<AsyncIoState> server = MakeUdp(family);
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    std::string buffer(64, '\0');
    int echoes = 0;
    std::string reply;
    // As a server does it: one receive in progress, started again by its
    // callback.
    std::function<void(AsyncIoState&)> receive = [&](AsyncIoState& state) {
      EXPECT_OK(state.ReceiveMessage(
          buffer,
          [&](AsyncIoState& state, const IoResult& result) {
            ASSERT_TRUE(result.ok());
            ASSERT_NE(result.sender, nullptr);
            EXPECT_EQ(*result.sender, peer->address());
            reply = "echo " + std::string(result.data);
            EXPECT_OK(state.SendMessageToAddress(
                *result.sender, reply,
                [&](AsyncIoState&, const IoResult& result) {
                  EXPECT_TRUE(result.ok());
                  ++echoes;
                }));
            receive(state);
          },
          {.needs_address = true}));
    };
    receive(*server);
    for (int i = 1; i <= 5; ++i) {
      EXPECT_TRUE(peer->SendTo(*server->address(), absl::StrCat(i)).ok());
      ASSERT_TRUE(RunUntil([&] { return echoes == i; }));
      PeerDatagram got = peer->Receive();
      EXPECT_EQ(got.payload, absl::StrCat("echo ", i));
      EXPECT_EQ(got.sender, *server->address());
    }
  }
}

TEST_P(UdpTest, SenderIsGivenOnlyWhenAskedFor) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
  char buffer[4];
  Recorder receive(*this, "receive");
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.last().sender, std::nullopt);
  EXPECT_EQ(receive.last().data, "x");
}

TEST_P(UdpTest, AddressAsHostAndServiceInEveryLiteralForm) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  const std::string host = peer->address().ip().ToString();
  const int port = peer->address().port();
  Recorder sends(*this, "sends", Recorder::kRepeating);
  ASSERT_OK(state->SendMessageToAddress(host, port, "one", sends.Callback()));
  ASSERT_OK(state->SendMessageToAddress(host.c_str(), absl::StrCat(port), "two",
                                        sends.Callback()));
  ASSERT_OK(state->SendMessageToAddress(peer->address().ip(), port, "three",
                                        sends.Callback()));
  ASSERT_OK(state->SendMessageToAddress(
      peer->address(), "[four]", sends.Callback(), {.start = 1, .end = 5}));
  ASSERT_TRUE(RunUntil([&] { return sends.calls().size() == 4; }));
  for (const char* expected : {"one", "two", "three", "four"}) {
    EXPECT_EQ(peer->Receive().payload, expected);
  }
  EXPECT_EQ(sends.last().count, 4u);
}

TEST_P(UdpTest, Line41_TheOtherKindOfSendIsAnErrorToTheCaller) {
  std::unique_ptr<AsyncIoState> open = MakeUdp(Family::kIpv4, "open");
  Link link = MakeLink();
  Recorder none(*this, "none");
  EXPECT_TRUE(IsRefusal(open->SendMessage("x", none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"open", "SendMessage", "SendMessageToAddress"}));
  EXPECT_TRUE(IsRefusal(link.state->SendMessageToAddress(link.peer->address(),
                                                         "x", none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"connected", "SendMessageToAddress"}));
  EXPECT_TRUE(
      IsRefusal(link.state->SendMessageToAddress(world().peer_ip(Family::kIpv4),
                                                 9, "x", none.Callback()),
                absl::StatusCode::kInvalidArgument,
                {"connected", "SendMessageToAddress"}));
  Channel channel = MakeChannel({.name = "stream"});
  EXPECT_TRUE(IsRefusal(channel.state->SendMessageToAddress(
                            link.peer->address(), "x", none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"stream", "SendMessageToAddress"}));
  EXPECT_EQ(none.callbacks_alive(), 0);
}

TEST_P(UdpTest, StreamOperationsAreRefusedOnDatagrams) {
  std::unique_ptr<AsyncIoState> state = MakeUdp(Family::kIpv4, "open");
  Recorder none(*this, "none");
  char buffer[4];
  EXPECT_TRUE(IsRefusal(state->ReadBuffer(buffer, none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"open", "ReadBuffer", "UDP"}));
  EXPECT_TRUE(IsRefusal(state->ReadWithChecking(none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"open", "ReadWithChecking", "UDP"}));
  EXPECT_TRUE(IsRefusal(state->WriteBuffer("x", none.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"open", "WriteBuffer", "UDP"}));
}

TEST_P(UdpTest, Line42_ManySendsInARowWithoutWaiting) {
  for (bool connected : {false, true}) {
    SCOPED_TRACE(connected);
    Link link = MakeLink();
    std::unique_ptr<AsyncIoState> open = MakeUdp();
    AsyncIoState& state = connected ? *link.state : *open;
    constexpr int kSends = 100;
    std::vector<std::string> data;
    std::vector<Recorder> sends;
    std::vector<std::string> expected = order();
    for (int i = 0; i < kSends; ++i) {
      data.push_back(absl::StrCat("datagram ", i));
      sends.emplace_back(*this, data[i]);
      expected.push_back(data[i] + ":callback");
    }
    for (int i = 0; i < kSends; ++i) {
      if (connected) {
        ASSERT_OK(state.SendMessage(data[i], sends[i].Callback()));
      } else {
        ASSERT_OK(state.SendMessageToAddress(link.peer->address(), data[i],
                                             sends[i].Callback()));
      }
    }
    EXPECT_EQ(state.output_queue_length(), static_cast<size_t>(kSends));
    ASSERT_TRUE(RunUntil(sends.back()));
    EXPECT_EQ(order(), expected);
    for (int i = 0; i < kSends; ++i) {
      EXPECT_EQ(sends[i].last().status, IoStatus::kOk);
      EXPECT_EQ(sends[i].last().count, data[i].size());
      EXPECT_EQ(link.peer->Receive().payload, data[i]);
    }
  }
}

TEST_P(UdpTest, Line42_QueueMayBeSwitchedOff) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      OpenUdp(collection(), {.name = "narrow", .queue_output = false});
  ASSERT_OK(state);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  ASSERT_OK((*state)->SendMessageToAddress(peer->address(), "first",
                                           first.Callback()));
  EXPECT_TRUE(IsRefusal((*state)->SendMessageToAddress(
                            peer->address(), "second", second.Callback()),
                        absl::StatusCode::kFailedPrecondition,
                        {"narrow", "SendMessageToAddress"}));
  ASSERT_TRUE(RunUntil(first));
  EXPECT_EQ(peer->Receive().payload, "first");
}

TEST_P(UdpTest, DatagramsCountAgainstTheLimitsOfTheQueue) {
  RemakeCollection({.limits = {.output_queue_length_max = 2}});
  Link link = MakeLink();
  Recorder sends(*this, "sends", Recorder::kRepeating);
  for (int i = 0; i < 3; ++i) {
    ASSERT_OK(link.state->SendMessage("x", sends.Callback()));
  }
  Recorder refused(*this, "refused");
  EXPECT_TRUE(IsRefusal(link.state->SendMessage("x", refused.Callback()),
                        absl::StatusCode::kResourceExhausted,
                        {"connected", "SendMessage"}));
  EXPECT_TRUE(RunUntil([&] { return sends.calls().size() == 3; }));
}

TEST_P(UdpTest, Line43_OneSocketForBothFamilies) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made = OpenUdp(
      collection(), {.name = "both", .ipv6 = Ipv6::kBoth, .local_port = 0});
  ASSERT_OK(made);
  AsyncIoState& state = **made;
  const uint16_t port = state.address()->port();
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    EXPECT_TRUE(peer->SendTo({world().host_ip(family), port}, "hello").ok());
    Call call = Receive(state);
    EXPECT_EQ(call.data, "hello");
    ASSERT_TRUE(call.sender.has_value());
    EXPECT_EQ(call.sender->port(), peer->address().port());
    EXPECT_EQ(call.sender->ip(), peer->address().ip().ToIpv4Mapped());
    // The delivered address is good for the reply, and so is the plain one.
    Recorder replies(*this, "replies", Recorder::kRepeating);
    ASSERT_OK(
        state.SendMessageToAddress(*call.sender, "reply", replies.Callback()));
    ASSERT_OK(state.SendMessageToAddress(peer->address(), "again",
                                         replies.Callback()));
    ASSERT_TRUE(RunUntil([&] { return replies.calls().size() == 2; }));
    EXPECT_EQ(peer->Receive().payload, "reply");
    EXPECT_EQ(peer->Receive().payload, "again");
  }
}

TEST_P(UdpTest, Line43_Ipv6AloneReceivesNoIpv4) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
      OpenUdp(collection(), {.ipv6 = Ipv6::kYes, .local_port = 0});
  ASSERT_OK(made);
  const uint16_t port = (*made)->address()->port();
  std::unique_ptr<UdpPeer> v4 = world().Udp(Family::kIpv4);
  std::unique_ptr<UdpPeer> v6 = world().Udp(Family::kIpv6);
  // Refused or dropped: both are right.
  v4->SendTo({world().host_ip(Family::kIpv4), port}, "four");
  EXPECT_TRUE(v6->SendTo({world().host_ip(Family::kIpv6), port}, "six").ok());
  EXPECT_EQ(Receive(**made).data, "six");
}

TEST_P(UdpTest, Line44_OversizedDatagramIsTruncatedAndFlagged) {
  for (Family family : Families()) {
    std::unique_ptr<AsyncIoState> state = MakeUdp(family);
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    const std::string large = Pattern(1000);
    EXPECT_TRUE(peer->SendTo(*state->address(), large).ok());
    EXPECT_TRUE(peer->SendTo(*state->address(), "next").ok());
    std::string buffer(100, '.');
    Recorder receive(*this, "receive");
    ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback(),
                                    {.start = 10, .end = 50}));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().status, IoStatus::kOk);
    EXPECT_TRUE(receive.last().truncated);
    EXPECT_EQ(receive.last().count, 40u);
    EXPECT_EQ(receive.last().data, large.substr(0, 40));
    EXPECT_EQ(buffer.substr(50), std::string(50, '.'));
    Call next = Receive(*state, 4);
    EXPECT_EQ(next.data, "next");
    EXPECT_FALSE(next.truncated) << "it just fits";
    // The flag is that of one datagram, not of the state.
    EXPECT_TRUE(peer->SendTo(*state->address(), large).ok());
    EXPECT_TRUE(Receive(*state, 4).truncated);
    Recorder nothing(*this, "nothing");
    ASSERT_OK(state->ReceiveMessage(buffer, nothing.Callback(),
                                    {.timeout = absl::ZeroDuration()}));
    ASSERT_TRUE(RunUntil(nothing));
    EXPECT_EQ(nothing.last().status, IoStatus::kTimeout);
    EXPECT_FALSE(nothing.last().truncated);
  }
}

TEST_P(UdpTest, Line45_BadLocalAddressGivesAnErrorAndNoState) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = OpenUdp(
      collection(), {.name = "homeless", .local_address = "192.0.2.77"});
  EXPECT_TRUE(
      IsRefusal(state, Error(EADDRNOTAVAIL).ToStatus().code(),
                {"OpenUdp", "homeless", "192.0.2.77", "EADDRNOTAVAIL"}));
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  state = ConnectUdp(collection(), peer->address().ip(), peer->address().port(),
                     {.name = "homeless", .local_address = "192.0.2.77"});
  EXPECT_TRUE(IsRefusal(state, Error(EADDRNOTAVAIL).ToStatus().code(),
                        {"ConnectUdp", "homeless", "192.0.2.77"}));
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(UdpTest, Line45_BusyLocalPortGivesAnErrorAndNoState) {
  std::unique_ptr<AsyncIoState> first = MakeUdp();
  EXPECT_TRUE(IsRefusal(
      OpenUdp(collection(), {.name = "late",
                             .local_address = first->address()->ip(),
                             .local_port = first->address()->port()}),
      Error(EADDRINUSE).ToStatus().code(), {"OpenUdp", "late", "EADDRINUSE"}));
  EXPECT_EQ(collection().size(), 1u);
}

TEST_P(UdpTest, EmptyDatagramsAreDatagrams) {
  Link link = MakeLink();
  std::unique_ptr<AsyncIoState> open = MakeUdp();
  Recorder sends(*this, "sends", Recorder::kRepeating);
  ASSERT_OK(link.state->SendMessage("", sends.Callback()));
  ASSERT_OK(
      open->SendMessageToAddress(link.peer->address(), "", sends.Callback()));
  ASSERT_TRUE(RunUntil([&] { return sends.calls().size() == 2; }));
  for (const Call& call : sends.calls()) {
    EXPECT_EQ(call.status, IoStatus::kOk);
    EXPECT_EQ(call.count, 0u);
  }
  EXPECT_EQ(link.peer->Receive().payload, "");
  PeerDatagram second = link.peer->Receive();
  EXPECT_NE(second.sender, SocketAddress()) << "it came, empty as it is";

  EXPECT_TRUE(link.peer->SendTo(*open->address(), "").ok());
  EXPECT_TRUE(link.peer->SendTo(*open->address(), "not empty").ok());
  // WaitForInput sees it and leaves it.
  Recorder wait(*this, "wait");
  ASSERT_OK(open->WaitForInput(wait.Callback()));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kOk);
  Call call = Receive(*open);
  EXPECT_EQ(call.status, IoStatus::kOk) << "never an end of file";
  EXPECT_EQ(call.count, 0u);
  EXPECT_EQ(call.sender, link.peer->address());
  EXPECT_EQ(Receive(*open).data, "not empty");
}

TEST_P(UdpTest, ConnectedStateHearsItsPeerAlone) {
  Link link = MakeLink();
  std::unique_ptr<UdpPeer> stranger = world().Udp(Family::kIpv4);
  stranger->SendTo(*link.state->address(), "from a stranger");
  EXPECT_TRUE(link.peer->SendTo(*link.state->address(), "from the peer").ok());
  Call call = Receive(*link.state);
  EXPECT_EQ(call.data, "from the peer");
  EXPECT_EQ(call.sender, link.peer->address());
}

TEST_P(UdpTest, LocalPortIsHonoured) {
  bool done = false;
  for (int attempt = 0; attempt < 5 && !done; ++attempt) {
    // A port that is free, most likely.
    const SocketAddress local = *MakeUdp()->address();
    std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), peer->address().ip(), peer->address().port(),
                   {.local_address = local.ip(), .local_port = local.port()});
    if (!state.ok()) continue;
    EXPECT_EQ((*state)->address(), local);
    Recorder send(*this, "send");
    ASSERT_OK((*state)->SendMessage("x", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(peer->Receive().sender, local);
    done = true;
  }
  EXPECT_TRUE(done);
}

TEST_P(UdpTest, UnreachablePortIsAnErrorOfAnOperationAndThenForgotten) {
  for (Family family : Families()) {
    SocketAddress target =
        world().RefusingAddress(SocketType::kDatagram, family);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
        ConnectUdp(collection(), target.ip(), target.port());
    ASSERT_OK(made);
    AsyncIoState& state = **made;
    char buffer[8];
    Recorder receive(*this, "receive");
    Recorder send(*this, "send");
    ASSERT_OK(
        state.ReceiveMessage(buffer, receive.Callback(),
                             {.error_callback = receive.ErrorCallback()}));
    ASSERT_OK(state.SendMessage("anyone?", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().status, IoStatus::kOk)
        << "that it was sent says nothing of its delivery";
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().callback, "error_callback");
    EXPECT_EQ(receive.last().status, IoStatus::kError);
    EXPECT_EQ(receive.last().error, Error(ECONNREFUSED));
    EXPECT_EQ(state.read_status(), IoStatus::kError);
    // The state is usable, the status forgotten.
    Recorder next(*this, "next");
    ASSERT_OK(state.ReceiveMessage(buffer, next.Callback(),
                                   {.timeout = absl::Milliseconds(2)}));
    EXPECT_EQ(state.read_status(), IoStatus::kOk);
    EXPECT_EQ(state.read_error(), Error());
    ASSERT_TRUE(RunUntil(next));
    EXPECT_EQ(next.last().status, IoStatus::kTimeout);
  }
}

TEST_P(UdpTest, DatagramThatIsTooLongFailsAloneTheOthersGo) {
  Link link = MakeLink();
  const std::string huge(70'000, 'x');
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  ASSERT_OK(link.state->SendMessage("first", first.Callback()));
  ASSERT_OK(link.state->SendMessage(
      huge, second.Callback(), {.error_callback = second.ErrorCallback()}));
  ASSERT_OK(link.state->SendMessage("third", third.Callback()));
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(first.last().status, IoStatus::kOk);
  EXPECT_EQ(second.last().callback, "error_callback");
  EXPECT_EQ(second.last().status, IoStatus::kError);
  EXPECT_EQ(second.last().error, Error(EMSGSIZE));
  EXPECT_EQ(second.last().count, 0u);
  EXPECT_EQ(third.last().status, IoStatus::kOk);
  EXPECT_EQ(link.peer->Receive().payload, "first");
  EXPECT_EQ(link.peer->Receive().payload, "third");
  EXPECT_EQ(link.state->write_status(), IoStatus::kOk);
}

TEST_P(UdpTest, ADatagramThatMeetsAFullQueueIsLostAlone) {
  for (int code : {ENOBUFS, ENOMEM}) {
    FaultKernel faults(kernel());
    RemakeCollection({}, &faults);
    {
      Link link = MakeLink();
      Recorder first(*this, "first");
      Recorder second(*this, "second");
      Recorder third(*this, "third");
      faults.FailNth(KernelCall::kSendDatagrams, 1, Error(code));
      ASSERT_OK(
          link.state->SendMessage("first", first.Callback(),
                                  {.error_callback = first.ErrorCallback()}));
      ASSERT_OK(link.state->SendMessage("second", second.Callback()));
      ASSERT_OK(link.state->SendMessage("third", third.Callback()));
      ASSERT_TRUE(RunUntil(third));
      EXPECT_EQ(first.last().callback, "error_callback");
      EXPECT_EQ(first.last().error, Error(code));
      EXPECT_EQ(second.last().status, IoStatus::kOk);
      EXPECT_EQ(third.last().status, IoStatus::kOk);
      EXPECT_EQ(link.peer->Receive().payload, "second");
      EXPECT_EQ(link.peer->Receive().payload, "third");
      // It is not tried again, neither by itself nor with the next one.
      Recorder fourth(*this, "fourth");
      ASSERT_OK(link.state->SendMessage("fourth", fourth.Callback()));
      ASSERT_TRUE(RunUntil(fourth));
      EXPECT_EQ(link.peer->Receive().payload, "fourth");
      RunFor();
      EXPECT_FALSE(link.peer->TryReceive().has_value());
    }
    DestroyCollection();
  }
}

TEST_P(UdpTest, LargestDatagramsArriveWhole) {
  Link link = MakeLink();
  const std::string largest = Pattern(world().personality().datagram_max);
  Recorder send(*this, "send");
  ASSERT_OK(link.state->SendMessage(largest, send.Callback()));
  ASSERT_TRUE(RunUntil(send));
  ASSERT_EQ(send.last().status, IoStatus::kOk);
  EXPECT_TRUE(link.peer->Receive().payload == largest);
  const std::string large = Pattern(60'000);
  EXPECT_TRUE(link.peer->SendTo(*link.state->address(), large).ok());
  Call call = Receive(*link.state, 65'536);
  EXPECT_TRUE(call.data == large);
  EXPECT_FALSE(call.truncated);
}

TEST_P(UdpTest, ReceiveTimesOutAndTheLateDatagramIsNotLost) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  char buffer[8];
  Recorder receive(*this, "receive");
  Nanoseconds start = Now();
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback(),
                                  {.timeout = absl::Milliseconds(4),
                                   .error_callback = receive.ErrorCallback(),
                                   .needs_address = true}));
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_GE(Since(start), absl::Milliseconds(4));
  EXPECT_EQ(receive.last().callback, "callback");
  EXPECT_EQ(receive.last().status, IoStatus::kTimeout);
  EXPECT_EQ(receive.last().count, 0u);
  EXPECT_EQ(receive.last().sender, std::nullopt);
  EXPECT_TRUE(peer->SendTo(*state->address(), "late").ok());
  RunFor(absl::Milliseconds(1));
  ASSERT_OK(state->set_read_timeout(absl::InfiniteDuration()));
  EXPECT_EQ(Receive(*state).data, "late");
}

TEST_P(UdpTest, AbortedReceiveTakesNoDatagram) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  char buffer[8];
  Recorder receive(*this, "receive");
  Recorder abort(*this, "abort");
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  RunFor(absl::Milliseconds(1));
  ASSERT_OK(state->Abort(abort.Callback()));
  EXPECT_TRUE(peer->SendTo(*state->address(), "kept").ok());
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().count, 0u);
  EXPECT_EQ(Receive(*state).data, "kept");
}

TEST_P(UdpTest, StatesOnSocketsThatWereMadeElsewhere) {
  for (Family family : Families()) {
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    Handle handle = world().RawSocket(SocketType::kDatagram, family);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = CreateAsyncIoState(
        collection(), handle,
        {.udp = Udp::kUnconnected, .ipv6 = family == Family::kIpv6});
    ASSERT_OK(state);
    Recorder send(*this, "send");
    ASSERT_OK(
        (*state)->SendMessageToAddress(peer->address(), "x", send.Callback()));
    Recorder refused(*this, "refused");
    EXPECT_FALSE(
        (*state)
            ->SendMessageToAddress(peer->address(), "y", refused.Callback())
            .ok())
        << "queue_output is off by default here";
    ASSERT_TRUE(RunUntil(send));
    PeerDatagram got = peer->Receive();
    EXPECT_EQ(got.payload, "x");
    EXPECT_TRUE(peer->SendTo(got.sender, "back").ok());
    EXPECT_EQ(Receive(**state).data, "back");
    // Keeping the socket alive gives it back as it was.
    (*state)->Close({.keep_alive = true});
    EXPECT_TRUE(world().IsBlocking(handle));
    EXPECT_TRUE(kernel().Connect(handle, peer->address()).ok());
    absl::StatusOr<std::unique_ptr<AsyncIoState>> connected =
        CreateAsyncIoState(collection(), handle, {.udp = Udp::kConnected});
    ASSERT_OK(connected);
    Recorder message(*this, "message");
    ASSERT_OK((*connected)->SendMessage("again", message.Callback()));
    ASSERT_TRUE(RunUntil(message));
    EXPECT_EQ(peer->Receive().payload, "again");
  }
}

TEST_P(UdpTest, FloodOfDatagramsDoesNotStarveAnotherState) {
  Link flood = MakeLink();
  Link quiet = MakeLink();
  std::string buffer(2000, '\0');
  int flooded = 0;
  std::function<void(AsyncIoState&)> receive = [&](AsyncIoState& state) {
    EXPECT_OK(
        state.ReceiveMessage(buffer, [&](AsyncIoState& state, const IoResult&) {
          ++flooded;
          flood.peer->SendTo(*state.address(), "and another");
          receive(state);
        }));
  };
  receive(*flood.state);
  for (int i = 0; i < 20; ++i) {
    flood.peer->SendTo(*flood.state->address(), "one");
  }
  char byte;
  Recorder read(*this, "quiet");
  ASSERT_OK(quiet.state->ReceiveMessage({&byte, 1}, read.Callback()));
  EXPECT_TRUE(quiet.peer->SendTo(*quiet.state->address(), "x").ok());
  EXPECT_TRUE(RunUntil(read));
  EXPECT_GT(flooded, 0);
}

// As a server does it: each callback starts the next receive. So the state may
// receive ahead, which nobody notices.
TEST_P(UdpTest, BurstsAreHandedOutInOrderAndNothingOfThemIsLost) {
  constexpr size_t kRoom = 20;
  constexpr size_t kBurst = 40;
  constexpr int kBursts = 8;
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peers[] = {world().Udp(Family::kIpv4),
                                      world().Udp(Family::kIpv4)};
  // From empty ones to those that do not fit.
  auto payload = [](size_t i) {
    return absl::StrCat(i).append(i % 30, '.').substr(0, i % 30);
  };
  std::string buffer(kRoom, '\0');
  size_t received = 0;
  size_t stop_at = 0;
  std::function<void()> receive = [&] {
    EXPECT_OK(state->ReceiveMessage(
        buffer,
        [&](AsyncIoState&, const IoResult& result) {
          ASSERT_TRUE(result.ok()) << result.error.Name();
          std::string whole = payload(received);
          EXPECT_EQ(result.data, whole.substr(0, kRoom)) << received;
          EXPECT_EQ(result.truncated, whole.size() > kRoom) << received;
          ASSERT_NE(result.sender, nullptr);
          EXPECT_EQ(*result.sender, peers[received % 2]->address());
          if (++received != stop_at) receive();
        },
        {.needs_address = true}));
  };
  size_t sent = 0;
  for (int burst = 0; burst < kBursts; ++burst) {
    for (size_t i = 0; i < kBurst; ++i, ++sent) {
      ASSERT_TRUE(
          peers[sent % 2]->SendTo(*state->address(), payload(sent)).ok());
    }
    // In the middle of each it is not asked for a while.
    stop_at = sent - kBurst / 2;
    if (burst == 0) receive();
    ASSERT_TRUE(RunUntil([&] { return received == stop_at; }));
    RunFor(absl::Milliseconds(1));
    EXPECT_EQ(received, stop_at);
    // What it has received ahead is input like any other.
    Recorder wait(*this, "wait");
    ASSERT_OK(state->WaitForInput(wait.Callback()));
    ASSERT_TRUE(RunUntil(wait));
    EXPECT_EQ(wait.last().status, IoStatus::kOk);
    stop_at = 0;
    receive();
    ASSERT_TRUE(RunUntil([&] { return received == sent; }));
  }
  // Closing loses the rest.
  for (size_t i = 0; i < kBurst; ++i, ++sent) {
    ASSERT_TRUE(peers[sent % 2]->SendTo(*state->address(), payload(sent)).ok());
  }
  stop_at = sent - kBurst / 2;
  ASSERT_TRUE(RunUntil([&] { return received == stop_at; }));
  state.reset();
  RunFor();
  EXPECT_EQ(received, stop_at);
}

// A receiver of numbered datagrams whose callbacks start the next receive.
class BurstTest : public UdpTest {
 protected:
  static constexpr int kBurst = 40;
  static constexpr int kBursts = 4;

  // Sends bursts, as many as it takes until the state receives many at a time.
  void SendBursts() {
    Receive();
    for (int burst = 0; burst < kBursts; ++burst) {
      for (int i = 0; i < kBurst; ++i, ++sent_) {
        ASSERT_TRUE(SenderOf(sent_)
                        .SendTo(*state_->address(), absl::StrCat(sent_))
                        .ok());
      }
      ASSERT_TRUE(RunUntil([&] { return received_ == sent_ || stopped_; }));
    }
  }

  void Receive() {
    auto callback = [this](AsyncIoState&, const IoResult& result) {
      if (stopped_ && result.status == IoStatus::kEof) {
        eof_ = true;
        return;
      }
      ASSERT_EQ(result.status, IoStatus::kOk);
      std::string number = absl::StrCat(received_);
      EXPECT_EQ(result.data, number);
      ++received_;
      before_next_();
      Receive();
      after_next_();
      // Whatever has happened to the state, and whatever comes next.
      EXPECT_EQ(result.data, number);
      ASSERT_NE(result.sender, nullptr);
      EXPECT_EQ(*result.sender, SenderOf(received_ - 1).address());
    };
    if (!with_error_callback_) {
      ASSERT_OK(state_->ReceiveMessageWithAddress(buffer_, callback));
      return;
    }
    ASSERT_OK(state_->ReceiveMessage(
        buffer_, callback,
        {.error_callback = [](AsyncIoState&, const IoResult&) { FAIL(); },
         .needs_address = true}));
  }

  UdpPeer& SenderOf(int number) { return number % 2 == 0 ? *peer_ : *other_; }

  // In the middle of the last burst.
  bool InTheMiddle() const {
    return received_ == kBurst * (kBursts - 1) + kBurst / 2;
  }

  std::unique_ptr<UdpPeer> peer_ = world().Udp(Family::kIpv4);
  std::unique_ptr<UdpPeer> other_ = world().Udp(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state_ = MakeUdp();
  std::array<char, 16> buffer_;
  bool with_error_callback_ = false;
  // Called in each callback, before and after it starts the next receive.
  std::function<void()> before_next_ = [] {};
  std::function<void()> after_next_ = [] {};
  int sent_ = 0;
  int received_ = 0;
  bool stopped_ = false;
  bool eof_ = false;
};

INSTANTIATE_TEST_SUITE_P(All, BurstTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// The next datagram is there already, and must not get into the way of this
// one.
TEST_P(BurstTest, LeavesWhatTheCallbackLooksAt) {
  with_error_callback_ = true;
  SendBursts();
  EXPECT_EQ(received_, kBurst * kBursts);
}

TEST_P(BurstTest, IsLostWhenTheInputIsShutDown) {
  for (bool before_next : {false, true}) {
    SCOPED_TRACE(before_next);
    state_ = MakeUdp();
    sent_ = 0;
    received_ = 0;
    stopped_ = false;
    eof_ = false;
    before_next_ = [] {};
    after_next_ = [] {};
    (before_next ? before_next_ : after_next_) = [&] {
      if (!InTheMiddle()) return;
      stopped_ = true;
      // Without a peer: done, and called an error.
      EXPECT_EQ(state_->Shutdown(Direction::kInput).ok(),
                !world().personality().shutdown_needs_a_peer);
    };
    SendBursts();
    ASSERT_TRUE(RunUntil([&] { return eof_; }));
    EXPECT_TRUE(InTheMiddle()) << received_;
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(UdpTest::Receive(*state_).status, IoStatus::kEof);
    }
  }
}

TEST_P(BurstTest, EndsWithTheState) {
  for (bool destroy : {false, true}) {
    SCOPED_TRACE(destroy);
    with_error_callback_ = destroy;
    state_ = MakeUdp();
    sent_ = 0;
    received_ = 0;
    stopped_ = false;
    after_next_ = [&] {
      if (!InTheMiddle()) return;
      stopped_ = true;
      if (destroy) {
        state_.reset();
      } else {
        state_->Close();
      }
    };
    SendBursts();
    RunFor(absl::Milliseconds(1));
    EXPECT_TRUE(InTheMiddle()) << received_;
    EXPECT_EQ(collection().size(), 0u);
  }
}

TEST_P(BurstTest, GoesOnAfterAnAbort) {
  Recorder abort(*this, "abort");
  after_next_ = [&] {
    if (!InTheMiddle()) return;
    stopped_ = true;
    ASSERT_OK(state_->Abort(abort.Callback()));
  };
  SendBursts();
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().count, 0u);
  RunFor(absl::Milliseconds(1));
  ASSERT_TRUE(InTheMiddle()) << received_;
  after_next_ = [] {};
  Receive();
  EXPECT_TRUE(RunUntil([&] { return received_ == sent_; }));
}

TEST_P(BurstTest, LetsCallbacksGoFirstThatWaitedBefore) {
  std::unique_ptr<AsyncIoState> other = MakeUdp();
  int aborts = 0;
  before_next_ = [&] {
    EXPECT_EQ(aborts, received_ - 1);
    ASSERT_OK(other->Abort([&](AsyncIoState&, const IoResult&) { ++aborts; }));
  };
  SendBursts();
  EXPECT_EQ(received_, kBurst * kBursts);
}

TEST_P(UdpTest, ClosingOrDestroyingTheStateInItsUdpCallbacks) {
  for (bool destroy : {false, true}) {
    for (bool in_send : {false, true}) {
      SCOPED_TRACE(absl::StrCat(destroy, in_send));
      Link link = MakeLink();
      char buffer[8];
      Recorder receive(*this, "receive");
      Recorder first(*this, "first");
      Recorder later(*this, "later", Recorder::kRepeating);
      auto end = [&](AsyncIoState& state, const IoResult&) {
        if (destroy) {
          link.state.reset();
        } else {
          state.Close();
        }
      };
      if (in_send) {
        ASSERT_OK(link.state->ReceiveMessage(buffer, receive.Callback()));
        ASSERT_OK(link.state->SendMessage("first", first.Callback(end)));
        for (int i = 0; i < 3; ++i) {
          ASSERT_OK(link.state->SendMessage("later", later.Callback()));
        }
        ASSERT_TRUE(RunUntil(first));
      } else {
        ASSERT_OK(link.state->ReceiveMessage(buffer, receive.Callback(end),
                                             {.needs_address = true}));
        EXPECT_TRUE(link.peer->SendTo(*link.state->address(), "datagram").ok());
        ASSERT_TRUE(RunUntil(receive));
      }
      RunFor(absl::Milliseconds(1));
      EXPECT_FALSE(later.called());
      EXPECT_EQ(later.callbacks_alive() + receive.callbacks_alive(), 0);
      EXPECT_EQ(collection().size(), 0u);
    }
  }
}

// The kernel then reports readiness for ever and has nothing to give: a state
// that waited for the one to lead to the other would spin.
TEST_P(UdpTest, InputThatIsShutDownIsAtItsEnd) {
  for (Direction direction : {Direction::kInput, Direction::kIo}) {
    SCOPED_TRACE(static_cast<int>(direction));
    std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), peer->address().ip(), peer->address().port());
    ASSERT_OK(state);
    std::array<char, 16> buffer;
    Recorder receive(*this, "receive");
    ASSERT_OK((*state)->ReceiveMessage(buffer, receive.Callback()));
    EXPECT_EQ((*state)->Shutdown(direction).value(), true);
    EXPECT_FALSE(receive.called()) << "posted";
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().status, IoStatus::kEof);
    EXPECT_EQ(receive.last().count, 0u);
    Recorder wait(*this, "wait");
    ASSERT_OK((*state)->WaitForInput(wait.Callback()));
    ASSERT_TRUE(RunUntil(wait));
    EXPECT_EQ(wait.last().status, IoStatus::kEof);
    Recorder send(*this, "send");
    ASSERT_OK((*state)->SendMessage("x", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().status, direction == Direction::kInput
                                      ? IoStatus::kOk
                                      : IoStatus::kError);
  }
  // Without a peer the kernel calls it an error, and may do it all the same.
  std::unique_ptr<AsyncIoState> state = MakeUdp(Family::kIpv4, "loose");
  EXPECT_EQ(state->Shutdown(Direction::kInput).ok(),
            !world().personality().shutdown_needs_a_peer);
  Recorder wait(*this, "wait");
  ASSERT_OK(state->WaitForInput(wait.Callback(),
                                {.timeout = absl::Milliseconds(10)}));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_NE(wait.last().status, IoStatus::kOk);
}

TEST_P(UdpTest, ScopedTargetsAreSentThroughTheirInterface) {
  std::optional<TestWorld::LinkLocal> link = world().link_local();
  if (!link.has_value()) {
    GTEST_SKIP() << "this machine has no link-local address";
  }
  const std::string text = IpAddress::FromIpv6(link->ip.ipv6()).ToString() +
                           "%" + link->interface_name;
  absl::StatusOr<std::unique_ptr<AsyncIoState>> a =
      OpenUdp(collection(), {.local_address = HostSpec(text)});
  ASSERT_OK(a);
  EXPECT_EQ((*a)->address()->ip(), link->ip);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> b =
      OpenUdp(collection(), {.ipv6 = Ipv6::kYes});
  ASSERT_OK(b);
  Recorder send(*this, "send");
  ASSERT_OK((*b)->SendMessageToAddress(text, (*a)->address()->port(), "scoped",
                                       send.Callback()));
  ASSERT_TRUE(RunUntil(send));
  EXPECT_EQ(send.last().status, IoStatus::kOk) << send.last().error.Name();
  Call call = Receive(**a);
  EXPECT_EQ(call.data, "scoped");
  ASSERT_TRUE(call.sender.has_value());
  EXPECT_EQ(call.sender->ip().scope(), link->ip.scope());
}

// ---- Shutdown.

TEST_P(UdpTest, AnErrorFromBeforeIsNotHowShutDownInputEnds) {
  SocketAddress target =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<AsyncIoState> state =
      ConnectUdp(collection(), target.ip(), target.port()).value();
  char buffer[8];
  Recorder receive(*this, "receive");
  Recorder send(*this, "send");
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  ASSERT_OK(state->SendMessage("anyone?", send.Callback()));
  ASSERT_TRUE(RunUntil(receive));
  ASSERT_EQ(receive.last().error, Error(ECONNREFUSED));
  EXPECT_OK(state->Shutdown(Direction::kInput));
  EXPECT_EQ(state->read_error(), Error());
  EXPECT_EQ(Receive(*state).status, IoStatus::kEof);
}

TEST_P(UdpTest, ShutdownOfTheInputIsTheEndForReceives) {
  for (bool connected : {true, false}) {
    SCOPED_TRACE(connected ? "connected" : "unconnected");
    Link link = MakeLink();
    std::unique_ptr<AsyncIoState> open = MakeUdp();
    AsyncIoState& state = connected ? *link.state : *open;
    absl::StatusOr<bool> done = state.Shutdown(Direction::kInput);
    if (connected || !world().personality().shutdown_needs_a_peer) {
      EXPECT_OK(done);
    } else {
      EXPECT_TRUE(IsRefusal(done, Error(ENOTCONN).ToStatus().code(),
                            {"Shutdown", "ENOTCONN"}));
    }
    for (int i = 0; i < 3; ++i) {
      Call received = Receive(state);
      EXPECT_EQ(received.status, IoStatus::kEof);
      EXPECT_EQ(received.count, 0u);
      Recorder wait(*this, "wait");
      ASSERT_OK(state.WaitForInput(wait.Callback()));
      ASSERT_TRUE(RunUntil(wait));
      EXPECT_EQ(wait.last().status, IoStatus::kEof);
    }
    // The other direction works on.
    Recorder send(*this, "send");
    ASSERT_OK(connected ? state.SendMessage("out", send.Callback())
                        : state.SendMessageToAddress(link.peer->address(),
                                                     "out", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().status, IoStatus::kOk);
    EXPECT_EQ(link.peer->Receive().payload, "out");
  }
}

TEST_P(UdpTest, ShutdownOfTheInputEndsTheReceiveInProgress) {
  for (bool abort : {false, true}) {
    SCOPED_TRACE(abort ? "abort" : "no abort");
    Link link = MakeLink();
    char buffer[8];
    Recorder receive(*this, "receive");
    Recorder shutdown(*this, "shutdown");
    ASSERT_OK(link.state->ReceiveMessage(buffer, receive.Callback()));
    RunFor(absl::Milliseconds(1));
    absl::StatusOr<bool> done = link.state->Shutdown(
        Direction::kInput, {.abort = abort, .callback = shutdown.Callback()});
    ASSERT_OK(done);
    EXPECT_EQ(*done, !abort);
    EXPECT_FALSE(receive.called()) << "not inside the call";
    ASSERT_TRUE(RunUntil(shutdown));
    RunFor(absl::Milliseconds(1));
    if (abort) {
      EXPECT_FALSE(receive.called());
    } else {
      ASSERT_TRUE(receive.called());
      EXPECT_EQ(receive.last().status, IoStatus::kEof);
    }
    EXPECT_EQ(receive.callbacks_alive(), 0);
    EXPECT_EQ(Receive(*link.state).status, IoStatus::kEof);
  }
}

TEST_P(UdpTest, AfterShutdownOfTheInputAnIdleCollectionSleeps) {
  Link link = MakeLink();
  ASSERT_OK(link.state->Shutdown(Direction::kInput));
  EXPECT_EQ(Receive(*link.state).status, IoStatus::kEof);
  // The kernel goes on calling the socket readable.
  Nanoseconds start = Now();
  int turns = 0;
  while (Since(start) < absl::Milliseconds(20)) {
    Turn(absl::Milliseconds(20));
    ++turns;
  }
  EXPECT_LE(turns, 5);
}

}  // namespace
}  // namespace aios::test
