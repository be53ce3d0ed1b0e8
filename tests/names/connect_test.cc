// Connecting to a name and listening on one, on every kernel.

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "tests/names/names_test.h"

namespace aios::test {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class ConnectTest : public NamesTest {
 protected:
  std::unique_ptr<AsyncIoState> Connect(const HostSpec& host, uint16_t port,
                                        Recorder& recorder,
                                        ConnectTcpOptions options = {}) {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = ConnectTcp(
        collection(), host, port,
        recorder.Callback([this](AsyncIoState&, const IoResult& result) {
          detail_ = result.detail;
          status_ = result.ToStatus();
        }),
        std::move(options));
    EXPECT_OK(state);
    EXPECT_FALSE(recorder.called()) << "never inside the call";
    return state.ok() ? *std::move(state) : nullptr;
  }

  void AddAddressOf(const TcpListenerPeer& listener, std::string_view name) {
    server_.Add(name, listener.address().ip().ToString());
  }

  std::string detail_;
  absl::Status status_;
  std::unique_ptr<AcceptingHandle> accepting_;
};

INSTANTIATE_TEST_SUITE_P(All, ConnectTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(ConnectTest, ToANameInEitherFamily) {
  for (Family family : Families()) {
    std::string name = family == Family::kIpv4 ? "four.example" : "six.example";
    std::unique_ptr<TcpListenerPeer> listener = world().Listen(family);
    AddAddressOf(*listener, name);
    Recorder connect(*this);
    std::unique_ptr<AsyncIoState> state =
        Connect(name, listener->address().port(), connect);
    ASSERT_NE(state, nullptr);
    EXPECT_TRUE(state->connecting());
    EXPECT_EQ(state->handle(), kNoHandle);
    char byte;
    EXPECT_TRUE(IsRefusal(state->ReadBuffer({&byte, 1}, connect.Callback()),
                          absl::StatusCode::kFailedPrecondition,
                          {"not connected yet"}));
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    ASSERT_EQ(connect.last().status, IoStatus::kOk) << detail_;
    EXPECT_EQ(state->peer_address(), listener->address());
    EXPECT_EQ(detail_, "");
    std::unique_ptr<TcpPeer> peer = listener->Accept();
    Recorder write(*this, "write");
    ASSERT_OK(state->WriteBuffer("hello", write.Callback()));
    ASSERT_TRUE(RunUntil(write));
    EXPECT_EQ(peer->ReceiveExactly(5), "hello");
  }
}

TEST_P(ConnectTest, ToLocalhostWithoutAServer) {
  std::unique_ptr<TcpListenerPeer> listener;
  SocketAddress address;
  if (!world().simulated()) {
    listener = world().Listen(Family::kIpv4);
    address = listener->address();
  } else {
    // The peers of this world are on another host.
    auto handle = AcceptTcpConnections(
        collection(), 0, [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
        {.address = "localhost"});
    ASSERT_OK(handle);
    accepting_ = *std::move(handle);
    address = accepting_->local_address();
  }
  EXPECT_TRUE(address.ip().is_loopback());
  for (std::string name : {"localhost", "LOCALHOST.", "some.localhost"}) {
    Recorder connect(*this);
    std::unique_ptr<AsyncIoState> state =
        Connect(name, address.port(), connect);
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    EXPECT_EQ(connect.last().status, IoStatus::kOk) << name << detail_;
  }
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(ConnectTest, TheNextAddressIsTriedWhenOneRefuses) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  // Nobody listens at this port of IPv6.
  server_.Add("both.example", world().peer_ip(Family::kIpv6).ToString());
  AddAddressOf(*listener, "both.example");
  Nanoseconds start = Now();
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state =
      Connect("both.example", listener->address().port(), connect);
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kOk) << detail_;
  EXPECT_EQ(state->peer_address(), listener->address());
  if (world().simulated()) {
    EXPECT_LT(Since(start), absl::Milliseconds(250)) << "at once";
  }
}

TEST_P(ConnectTest, AttemptsShareALocalPort) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  IpAddress silent = IpAddress::Parse("192.0.2.1").value();
  IpAddress good = IpAddress::Parse("192.0.2.2").value();
  files_.redirections = {{silent, world().SilentAddress(Family::kIpv4)},
                         {good, listener->address()}};
  // The silent one is tried for as long as it is alone, the good one then.
  server_.Add("two.example", silent.ToString());
  server_.Add("two.example", good.ToString());
  bool done = false;
  // Somebody else may take the port before it is bound again: another one then.
  for (int attempt = 0; attempt < 5 && !done; ++attempt) {
    uint16_t port = MakeUdp()->address()->port();
    Recorder connect(*this);
    std::unique_ptr<AsyncIoState> state =
        Connect("two.example", listener->address().port(), connect,
                {.connect_timeout = absl::Seconds(5), .local_port = port});
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    if (connect.last().error == Error(EADDRINUSE)) continue;
    ASSERT_EQ(connect.last().status, IoStatus::kOk) << detail_;
    EXPECT_EQ(state->address()->port(), port);
    EXPECT_EQ(state->peer_address(), listener->address());
    done = true;
  }
  EXPECT_TRUE(done);
}

TEST_P(ConnectTest, TheNextAddressIsTriedAfterAWhileWhenOneIsSilent) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  IpAddress silent = IpAddress::Parse("192.0.2.1").value();
  IpAddress good = IpAddress::Parse("192.0.2.2").value();
  files_.redirections = {{silent, world().SilentAddress(Family::kIpv4)},
                         {good, listener->address()}};
  server_.Add("two.example", silent.ToString());
  server_.Add("two.example", good.ToString());
  Nanoseconds start = Now();
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state =
      Connect("two.example", listener->address().port(), connect);
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kOk) << detail_;
  EXPECT_EQ(state->peer_address(), listener->address());
  EXPECT_GE(Since(start), absl::Milliseconds(250));
  if (world().simulated()) {
    EXPECT_LT(Since(start), absl::Milliseconds(300));
  }
}

TEST_P(ConnectTest, IPv6HasALittleTimeToAnswerFirst) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  std::unique_ptr<TcpListenerPeer> four = world().Listen(Family::kIpv4);
  std::unique_ptr<TcpListenerPeer> six = world().Listen(Family::kIpv6);
  for (bool late : {false, true}) {
    SCOPED_TRACE(late);
    Configure(Options());
    IpAddress ip4 = IpAddress::Parse("192.0.2.1").value();
    IpAddress ip6 = IpAddress::Parse("2001:db8::1").value();
    files_.redirections = {{ip4, four->address()}, {ip6, six->address()}};
    std::optional<DnsQuery> asked_for_six;
    server_.set_handler([&](const DnsQuery& query) -> std::string {
      if (query.type == DnsType::kA) {
        return DnsAnswer(query, {AddressRecord(query.name, "192.0.2.1")});
      }
      asked_for_six = query;
      return "";
    });
    Nanoseconds start = Now();
    Recorder connect(*this);
    std::unique_ptr<AsyncIoState> state = Connect("both.example", 80, connect);
    ASSERT_TRUE(ServeUntil([&] { return asked_for_six.has_value(); }));
    RunFor(absl::Milliseconds(2));
    server_.Serve();
    if (!late && Since(start) < absl::Milliseconds(50)) {
      EXPECT_FALSE(connect.called());
    }
    if (!late) {
      server_.SendToLast(DnsAnswer(
          *asked_for_six, {AddressRecord("both.example", "2001:db8::1")}));
    }
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    EXPECT_EQ(connect.last().status, IoStatus::kOk) << detail_;
    if (late) {
      EXPECT_EQ(state->peer_address(), four->address());
      EXPECT_GE(Since(start), absl::Milliseconds(50));
    } else if (world().simulated()) {
      // To which of the two, RFC 6724 says; but now it is no use to wait.
      EXPECT_LT(Since(start), absl::Milliseconds(50));
    }
  }
}

TEST_P(ConnectTest, TheErrorNamesEveryAddressAndWhyItFailed) {
  SocketAddress refusing =
      world().RefusingAddress(SocketType::kStream, Family::kIpv4);
  server_.Add("host.example", refusing.ip().ToString());
  bool both = world().HasFamily(Family::kIpv6);
  if (both) {
    server_.Add("host.example", world().peer_ip(Family::kIpv6).ToString());
  }
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state =
      Connect("host.example", refusing.port(), connect);
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kError);
  EXPECT_EQ(connect.last().error, Error(ECONNREFUSED));
  EXPECT_THAT(detail_,
              AllOf(HasSubstr("no connection to \"host.example\", port "),
                    HasSubstr(absl::StrCat(refusing.ToString(),
                                           ": connection refused "
                                           "(ECONNREFUSED)"))));
  if (both) {
    EXPECT_THAT(
        detail_,
        HasSubstr(absl::StrCat(
            SocketAddress(world().peer_ip(Family::kIpv6), refusing.port())
                .ToString(),
            ": connection refused (ECONNREFUSED)")));
  }
  EXPECT_EQ(status_.message(), detail_);
  EXPECT_EQ(state->handle(), kNoHandle);
  EXPECT_FALSE(state->connecting());
}

TEST_P(ConnectTest, Line33_ANameThatDoesNotExistIsAnErrorThatSaysSo) {
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state = Connect("none.example", 80, connect);
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kError);
  EXPECT_EQ(connect.last().error, Error(LookupError::kNoSuchName));
  EXPECT_EQ(detail_,
            "host name \"none.example\" cannot be resolved: no such name "
            "(NXDOMAIN)");
}

TEST_P(ConnectTest, TheTimeoutCountsLookupAndAttempts) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  server_.Hold();
  {
    Recorder connect(*this);
    Nanoseconds start = Now();
    std::unique_ptr<AsyncIoState> state =
        Connect("host.example", 80, connect,
                {.connect_timeout = absl::Milliseconds(20)});
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    EXPECT_EQ(connect.last().status, IoStatus::kTimeout);
    EXPECT_GE(Since(start), absl::Milliseconds(20));
    EXPECT_THAT(detail_, AllOf(HasSubstr("lookup of IPv4: no answer yet"),
                               HasSubstr("lookup of IPv6: no answer yet")));
  }
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  server_.Add("host.example", silent.ip().ToString());
  server_.Release();
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state =
      Connect("host.example", silent.port(), connect,
              {.connect_timeout = absl::Milliseconds(20)});
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kTimeout);
  EXPECT_THAT(detail_,
              HasSubstr(absl::StrCat(silent.ToString(), ": no answer yet")));
}

TEST_P(ConnectTest, AbortDuringTheLookupAndDuringTheAttempts) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  server_.Add("host.example", silent.ip().ToString());
  for (bool attempts : {false, true}) {
    if (!attempts) server_.Hold();
    Recorder connect(*this);
    Recorder abort(*this, "abort");
    std::unique_ptr<AsyncIoState> state =
        Connect("host.example", silent.port(), connect);
    size_t wanted = server_.queries();
    ASSERT_TRUE(ServeUntil([&] { return server_.queries() >= wanted; }));
    RunFor();
    server_.Serve();
    ASSERT_OK(state->Abort(abort.Callback(), Direction::kIo));
    if (!attempts) server_.Release();
    ASSERT_TRUE(RunUntil(abort));
    EXPECT_TRUE(abort.last().interrupted);
    RunFor();
    EXPECT_FALSE(connect.called());
    EXPECT_EQ(connect.callbacks_alive(), 0);
  }
}

TEST_P(ConnectTest, CloseDuringTheLookupAndInTheCallback) {
  server_.Hold();
  Recorder connect(*this);
  std::unique_ptr<AsyncIoState> state = Connect("host.example", 80, connect);
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  state.reset();
  server_.Release();
  RunFor();
  EXPECT_FALSE(connect.called());

  std::unique_ptr<AsyncIoState> other;
  Recorder destroy(*this, "destroy");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made = ConnectTcp(
      collection(), "none.example", 80,
      destroy.Callback([&](AsyncIoState&, const IoResult& result) {
        other.reset();
        EXPECT_THAT(std::string(result.detail), HasSubstr("none.example"));
      }));
  ASSERT_OK(made);
  other = *std::move(made);
  ASSERT_TRUE(ServeUntil([&] { return destroy.called(); }));
}

TEST_P(ConnectTest, ClosingTheCollectionEndsItSilently) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  server_.Add("host.example", silent.ip().ToString());
  Recorder lookup(*this, "lookup");
  Recorder attempt(*this, "attempt");
  std::unique_ptr<AsyncIoState> one =
      Connect("host.example", silent.port(), attempt);
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  RunFor();
  server_.Hold();
  std::unique_ptr<AsyncIoState> two = Connect("other.example", 80, lookup);
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 4; }));
  EXPECT_EQ(collection().size(), 2u) << "aios' own sockets do not count";
  collection().Close();
  EXPECT_TRUE(one->closed());
  EXPECT_TRUE(two->closed());
  EXPECT_EQ(collection().size(), 0u);
  RunFor();
  EXPECT_FALSE(lookup.called() || attempt.called());
}

TEST_P(ConnectTest, TheLocalEndRulesFamiliesOut) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  AddAddressOf(*listener, "host.example");
  Recorder connect(*this);
  IpAddress local = world().host_ip(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state =
      Connect("host.example", listener->address().port(), connect,
              {.local_address = local});
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().status, IoStatus::kOk) << detail_;
  EXPECT_EQ(state->address()->ip(), local);
  EXPECT_THAT(server_.log(), ElementsAre("host.example A"));
}

TEST_P(ConnectTest, UdpToAName) {
  for (Family family : Families()) {
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    std::string name = family == Family::kIpv4 ? "four.example" : "six.example";
    server_.Add(name, peer->address().ip().ToString());
    Recorder connect(*this);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), name, peer->address().port(),
                   connect.Callback(), {.name = "linked"});
    ASSERT_OK(state);
    EXPECT_TRUE((*state)->connecting());
    EXPECT_TRUE(IsRefusal((*state)->SendMessage("x", connect.Callback()),
                          absl::StatusCode::kFailedPrecondition,
                          {"linked", "ConnectUdp is in progress"}));
    ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
    ASSERT_EQ(connect.last().status, IoStatus::kOk);
    EXPECT_EQ((*state)->peer_address(), peer->address());
    Recorder send(*this, "send");
    ASSERT_OK((*state)->SendMessage("hello", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(peer->Receive().payload, "hello");
  }
}

TEST_P(ConnectTest, UdpToAnAddressWithACallback) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder connect(*this);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectUdp(collection(), peer->address().ip(), peer->address().port(),
                 connect.Callback());
  ASSERT_OK(state);
  EXPECT_FALSE(connect.called());
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_EQ(connect.last().status, IoStatus::kOk);
  EXPECT_EQ((*state)->peer_address(), peer->address());
}

TEST_P(ConnectTest, UdpInOneFamilyAlone) {
  Recorder connect(*this);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectUdp(collection(), "none.example", 80, connect.Callback(),
                 {.ipv6 = Ipv6::kYes});
  ASSERT_OK(state);
  ASSERT_TRUE(ServeUntil([&] { return connect.called(); }));
  EXPECT_EQ(connect.last().error, Error(LookupError::kNoSuchName));
  EXPECT_THAT(server_.log(), ElementsAre("none.example AAAA"));
}

TEST_P(ConnectTest, UdpWithoutACallbackTakesWhatIsKnown) {
  Recorder none(*this);
  EXPECT_TRUE(
      IsRefusal(ConnectUdp(collection(), "host.example", 80, {.name = "sync"}),
                absl::StatusCode::kFailedPrecondition,
                {"ConnectUdp", "sync", "host.example", "LookUp"}));
  EXPECT_OK(ConnectUdp(collection(), "localhost", 80));
  server_.Serve();
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(ConnectTest, ALocalEndIsNeverAskedForAtAServer) {
  Recorder none(*this);
  for (const absl::Status& status :
       {OpenUdp(collection(), {.name = "mine", .local_address = "me.example"})
            .status(),
        ConnectTcp(collection(), "host.example", 80, none.Callback(),
                   {.local_address = "me.example", .name = "mine"})
            .status(),
        ConnectTcp(collection(), IpAddress(), 80, none.Callback(),
                   {.local_address = "me.example", .name = "mine"})
            .status()}) {
    EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kFailedPrecondition,
                          {"mine", "me.example", "LookUp"}));
  }
  server_.Serve();
  EXPECT_EQ(server_.queries(), 0u);
  EXPECT_EQ(none.callbacks_alive(), 0);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      OpenUdp(collection(), {.local_address = "localhost"});
  ASSERT_OK(state);
  EXPECT_TRUE((*state)->address()->ip().is_loopback());
}

TEST_P(ConnectTest, ServicesThatDoNotExist) {
  files_.files["/etc/services"] = "mine 0/tcp\nyours 7777/udp\n";
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "lost");
  IpAddress ip = world().peer_ip(Family::kIpv4);
  auto ignore = [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {};
  Recorder none(*this);
  for (std::string service : {"none", "Mine", "yours"}) {
    for (const HostSpec& host : {HostSpec(ip), HostSpec("host.example")}) {
      EXPECT_TRUE(IsRefusal(ConnectTcp(collection(), host, service,
                                       none.Callback(), {.name = "lost"}),
                            absl::StatusCode::kNotFound,
                            {"ConnectTcp", "lost", service, "TCP"}));
    }
    EXPECT_TRUE(IsRefusal(AcceptTcpConnections(collection(), service, ignore,
                                               {.handle_name = "lost"}),
                          absl::StatusCode::kNotFound,
                          {"AcceptTcpConnections", "lost", service}));
  }
  for (std::string service : {"none", "mine"}) {
    EXPECT_TRUE(
        IsRefusal(udp->SendMessageToAddress(ip, service, "x", none.Callback()),
                  absl::StatusCode::kNotFound,
                  {"SendMessageToAddress", "lost", service, "UDP"}));
    EXPECT_TRUE(IsRefusal(
        ConnectUdp(collection(), ip, service, {.name = "lost"}),
        absl::StatusCode::kNotFound, {"ConnectUdp", "lost", service}));
  }
  EXPECT_EQ(none.callbacks_alive(), 0);
  EXPECT_EQ(files_.files.reads, 1) << "read when a name is met, once";
  auto handle =
      AcceptTcpConnections(collection(), "mine", ignore,
                           {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(handle);
  EXPECT_NE((*handle)->local_port(), 0);
}

// ---- Listening.

class ListenTest : public ConnectTest {
 protected:
  struct Told {
    int calls = 0;
    absl::Status status;
  };

  std::unique_ptr<AcceptingHandle> Listen(const HostSpec& address, Told& told,
                                          AcceptTcpOptions options = {}) {
    options.address = address;
    options.handle_name = "door";
    options.listening_function = [&told](AcceptingHandle&,
                                         const absl::Status& status) {
      ++told.calls;
      told.status = status;
    };
    auto handle = AcceptTcpConnections(
        collection(), 0,
        [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          accepted_.push_back(std::move(state));
        },
        std::move(options));
    EXPECT_OK(handle);
    EXPECT_EQ(told.calls, 0) << "never inside the call";
    return handle.ok() ? *std::move(handle) : nullptr;
  }

  std::vector<std::unique_ptr<AsyncIoState>> accepted_;
};

INSTANTIATE_TEST_SUITE_P(All, ListenTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(ListenTest, OnAName) {
  server_.Add("me.example", world().host_ip(Family::kIpv4).ToString());
  Told told;
  int initialised = 0;
  std::unique_ptr<AcceptingHandle> handle = Listen(
      "me.example", told, {.init_function = [&](Handle) { ++initialised; }});
  EXPECT_EQ(handle->socket(), kNoHandle);
  EXPECT_EQ(collection().size(), 1u);
  ASSERT_TRUE(ServeUntil([&] { return told.calls != 0; }));
  EXPECT_OK(told.status);
  EXPECT_EQ(initialised, 1);
  EXPECT_NE(handle->local_port(), 0);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(handle->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  EXPECT_EQ(told.calls, 1);
}

TEST_P(ListenTest, OnAnAddressOrWhatIsKnownTheFunctionIsCalledToo) {
  Told told;
  std::unique_ptr<AcceptingHandle> handle =
      Listen(world().host_ip(Family::kIpv4), told);
  EXPECT_NE(handle->local_port(), 0) << "at once";
  ASSERT_TRUE(RunUntil([&] { return told.calls != 0; }));
  EXPECT_OK(told.status);
}

TEST_P(ListenTest, OnANameThatIsNotThereOrNotOurs) {
  Told told;
  std::unique_ptr<AcceptingHandle> handle = Listen("none.example", told);
  ASSERT_TRUE(ServeUntil([&] { return told.calls != 0; }));
  EXPECT_TRUE(IsRefusal(told.status, absl::StatusCode::kNotFound,
                        {"door", "none.example", "NXDOMAIN"}));
  EXPECT_EQ(handle->socket(), kNoHandle);

  server_.Add("other.example", "192.0.2.77");
  Told other;
  std::unique_ptr<AcceptingHandle> second = Listen("other.example", other);
  ASSERT_TRUE(ServeUntil([&] { return other.calls != 0; }));
  EXPECT_TRUE(IsRefusal(other.status, absl::StatusCode::kFailedPrecondition,
                        {"door", "192.0.2.77", "EADDRNOTAVAIL"}));
}

TEST_P(ListenTest, CloseDuringTheLookup) {
  server_.Hold();
  Told told;
  std::unique_ptr<AcceptingHandle> handle = Listen("me.example", told);
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  bool closed = false;
  ASSERT_OK(handle->Close([&](WaitStateCollection&) { closed = true; }));
  ASSERT_TRUE(RunUntil([&] { return closed; }));
  server_.Release();
  RunFor();
  EXPECT_EQ(told.calls, 0);
}

TEST_P(ListenTest, ANameThatIsNotKnownNeedsTheFunction) {
  EXPECT_TRUE(
      IsRefusal(AcceptTcpConnections(
                    collection(), 0,
                    [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
                    {.address = "me.example", .handle_name = "door"}),
                absl::StatusCode::kFailedPrecondition,
                {"AcceptTcpConnections", "door", "me.example", "LookUp"}));
  server_.Serve();
  EXPECT_EQ(server_.queries(), 0u);
}

}  // namespace
}  // namespace aios::test
