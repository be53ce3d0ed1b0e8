// Conformance of connecting and accepting: lines 33-39 of the checklist.

#include <algorithm>
#include <any>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

class ConnectAcceptTest : public ConformanceTest {
 protected:
  // Connects to a peer's listener.
  absl::StatusOr<std::unique_ptr<AsyncIoState>> Connect(
      const SocketAddress& target, IoCallback callback,
      ConnectTcpOptions options = {}) {
    return ConnectTcp(collection(), target.ip(), target.port(),
                      std::move(callback), std::move(options));
  }

  bool Option(Handle handle, SocketOption option) {
    bool on = false;
    Error error = kernel().GetOption(handle, option, &on);
    EXPECT_TRUE(error.ok()) << error.Name();
    return on;
  }

  // Listens on a free port of the host and keeps the states.
  std::unique_ptr<AcceptingHandle> Listen(AcceptTcpOptions options = {},
                                          Family family = Family::kIpv4) {
    if (!options.address.has_value()) {
      options.address = world().host_ip(family);
    }
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> handle =
        AcceptTcpConnections(
            collection(), 0,
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              accepted_.push_back(std::move(state));
            },
            std::move(options));
    if (!handle.ok()) {
      ADD_FAILURE() << handle.status().ToString();
      return nullptr;
    }
    return *std::move(handle);
  }

  // Reads one byte from an accepted state.
  char ReadByte(AsyncIoState& state) {
    char byte = 0;
    Recorder read(*this, "read byte");
    EXPECT_OK(state.ReadBuffer({&byte, 1}, read.Callback()));
    EXPECT_TRUE(RunUntil(read));
    return byte;
  }

  std::vector<std::unique_ptr<AsyncIoState>> accepted_;
};

INSTANTIATE_TEST_SUITE_P(All, ConnectAcceptTest,
                         testing::ValuesIn(AllKernels()), NameOf);

// ---- Connecting.

TEST_P(ConnectAcceptTest, ConnectGivesAWorkingState) {
  for (Family family : Families()) {
    std::unique_ptr<TcpListenerPeer> listener = world().Listen(family);
    Recorder connect(*this, "connect");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        Connect(listener->address(), connect.Callback(),
                {.read_timeout = absl::Seconds(21),
                 .write_timeout = absl::Seconds(22),
                 .user_info = std::string("mine"),
                 .connect_timeout = absl::Seconds(23),
                 .name = "client",
                 .queue_output = true});
    ASSERT_OK(state);
    EXPECT_TRUE((*state)->connecting());
    EXPECT_FALSE(connect.called()) << "never inside the call";
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_EQ(connect.last().status, IoStatus::kOk);
    EXPECT_EQ(connect.last().state, state->get());
    EXPECT_TRUE(connect.last().error.ok());
    EXPECT_FALSE((*state)->connecting());
    EXPECT_FALSE((*state)->closed());
    EXPECT_EQ((*state)->collection(), &collection());
    EXPECT_EQ((*state)->read_timeout(), absl::Seconds(21));
    EXPECT_EQ((*state)->write_timeout(), absl::Seconds(22))
        << "the connect timeout is none of its";
    EXPECT_EQ((*state)->name(), "client");
    EXPECT_EQ(std::any_cast<std::string>((*state)->user_info()), "mine");
    EXPECT_EQ((*state)->peer_address(), listener->address());
    EXPECT_EQ((*state)->read_status(), IoStatus::kOk);
    EXPECT_EQ(connect.callbacks_alive(), 0);
    EXPECT_FALSE(world().IsInherited((*state)->handle()));

    std::unique_ptr<TcpPeer> peer = listener->Accept();
    EXPECT_EQ((*state)->address(), peer->RemoteAddress());
    Recorder a(*this, "a");
    Recorder b(*this, "b");
    ASSERT_OK((*state)->WriteBuffer("a", a.Callback()));
    ASSERT_OK((*state)->WriteBuffer("b", b.Callback())) << "queue_output";
    ASSERT_TRUE(RunUntil(b));
    EXPECT_EQ(peer->ReceiveExactly(2), "ab");
    peer->Send("c");
    EXPECT_EQ(ReadByte(**state), 'c');
  }
}

TEST_P(ConnectAcceptTest, OperationsMayBeStartedInTheConnectCallback) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  Recorder write(*this, "write");
  Recorder read(*this, "read");
  char buffer[4];
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
      listener->address(),
      connect.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_TRUE(result.ok());
        EXPECT_OK(state.WriteBuffer("hello", write.Callback()));
        EXPECT_OK(state.ReadBuffer(buffer, read.Callback()));
      }));
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(write));
  std::unique_ptr<TcpPeer> peer = listener->Accept();
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
  peer->Send("back");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().data, "back");
}

TEST_P(ConnectAcceptTest, ConnectTakesHostsAndServicesInEveryLiteralForm) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  const std::string host = listener->address().ip().ToString();
  const std::string port = absl::StrCat(listener->address().port());
  int connected = 0;
  auto callback = [&](AsyncIoState&, const IoResult& result) {
    EXPECT_TRUE(result.ok()) << result.ToStatus();
    ++connected;
  };
  std::vector<absl::StatusOr<std::unique_ptr<AsyncIoState>>> states;
  states.push_back(ConnectTcp(collection(), host, port, callback));
  states.push_back(
      ConnectTcp(collection(), host.c_str(), port.c_str(), callback));
  states.push_back(ConnectTcp(collection(), std::string_view(host),
                              listener->address().port(), callback));
  states.push_back(ConnectTcp(collection(), listener->address().ip(),
                              std::string_view(port), callback));
  for (const auto& state : states) ASSERT_OK(state);
  ASSERT_TRUE(RunUntil([&] { return connected == 4; }));
}

TEST_P(ConnectAcceptTest, Line33_RefusedConnectGivesOneCallbackWithTheError) {
  for (Family family : Families()) {
    Recorder connect(*this, "connect");
    SocketAddress target = world().RefusingAddress(SocketType::kStream, family);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        Connect(target, connect.Callback(), {.name = "unlucky"});
    ASSERT_OK(state);
    EXPECT_FALSE(connect.called()) << "even when it is refused at once";
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_EQ(connect.last().status, IoStatus::kError);
    EXPECT_EQ(connect.last().error, Error(ECONNREFUSED));
    EXPECT_EQ(
        connect.last().detail,
        absl::StrCat("no connection to ", target.ip().ToString(), ", port ",
                     target.port(), ": connection refused (ECONNREFUSED)"));
    EXPECT_FALSE((*state)->connecting());
    EXPECT_EQ((*state)->handle(), kNoHandle);
    EXPECT_FALSE((*state)->closed()) << "that is left to its owner";
    EXPECT_EQ((*state)->address(), std::nullopt);
    EXPECT_EQ((*state)->peer_address(), std::nullopt);
    RunFor();
    EXPECT_EQ(connect.calls().size(), 1u);
    Recorder refused(*this, "refused");
    char byte;
    EXPECT_TRUE(IsRefusal((*state)->ReadBuffer({&byte, 1}, refused.Callback()),
                          absl::StatusCode::kFailedPrecondition,
                          {"unlucky", "ReadBuffer", "not connected"}));
    EXPECT_TRUE(IsRefusal((*state)->WriteBuffer("x", refused.Callback()),
                          absl::StatusCode::kFailedPrecondition,
                          {"unlucky", "WriteBuffer", "not connected"}));
    EXPECT_EQ((*state)->Close(), 0u);
    EXPECT_TRUE((*state)->closed());
  }
}

TEST_P(ConnectAcceptTest, Line33_ConnectTimesOut) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  for (Family family : Families()) {
    SocketAddress silent = world().SilentAddress(family);
    Recorder connect(*this, "connect");
    Nanoseconds start = Now();
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        Connect(silent, connect.Callback(),
                {.connect_timeout = absl::Milliseconds(10)});
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_EQ(connect.last().status, IoStatus::kTimeout);
    EXPECT_TRUE(connect.last().error.ok());
    EXPECT_EQ(connect.last().detail,
              absl::StrCat("no connection to ", silent.ip().ToString(),
                           ", port ", silent.port(), ": no answer yet"));
    EXPECT_GE(Since(start), absl::Milliseconds(10));
    EXPECT_EQ((*state)->handle(), kNoHandle);
    EXPECT_EQ((*state)->read_status(), IoStatus::kTimeout);
    RunFor();
    EXPECT_EQ(connect.calls().size(), 1u);
  }
}

TEST_P(ConnectAcceptTest, ConnectTimeoutDoesNotOutliveTheConnect) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  Recorder write(*this, "write");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      Connect(listener->address(), connect.Callback(),
              {.connect_timeout = absl::Milliseconds(8)});
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  ASSERT_TRUE(connect.last().status == IoStatus::kOk);
  ASSERT_OK((*state)->WriteBuffer(EndlessData(), write.Callback()));
  RunFor(absl::Milliseconds(12));
  EXPECT_FALSE(write.called());
}

TEST_P(ConnectAcceptTest, Line34_NodelayIsOnAndKeepaliveOffByDefault) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      Connect(listener->address(), connect.Callback());
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_TRUE(Option((*state)->handle(), SocketOption::kNoDelay));
  EXPECT_FALSE(Option((*state)->handle(), SocketOption::kKeepAlive));

  Recorder other(*this, "other");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> reverse =
      Connect(listener->address(), other.Callback(),
              {.keepalive = true, .nodelay = false});
  ASSERT_OK(reverse);
  ASSERT_TRUE(RunUntil(other));
  EXPECT_FALSE(Option((*reverse)->handle(), SocketOption::kNoDelay));
  EXPECT_TRUE(Option((*reverse)->handle(), SocketOption::kKeepAlive));
}

TEST_P(ConnectAcceptTest, Line35_LocalAddressAndPortAreHonoured) {
  for (Family family : Families()) {
    std::unique_ptr<TcpListenerPeer> listener = world().Listen(family);
    bool done = false;
    // Somebody else may take the port between the two binds: try again then.
    for (int attempt = 0; attempt < 5 && !done; ++attempt) {
      uint16_t port = Listen({}, family)->local_port();
      Recorder connect(*this, "connect");
      absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
          listener->address(), connect.Callback(),
          {.local_address = world().host_ip(family), .local_port = port});
      ASSERT_OK(state);
      ASSERT_TRUE(RunUntil(connect));
      if (connect.last().error == Error(EADDRINUSE)) continue;
      ASSERT_EQ(connect.last().status, IoStatus::kOk);
      SocketAddress expected(world().host_ip(family), port);
      EXPECT_EQ((*state)->address(), expected);
      EXPECT_EQ(listener->Accept()->RemoteAddress(), expected);
      done = true;
    }
    EXPECT_TRUE(done);
  }
}

// Connections to several peers, at the same time and one after the other, with
// what is left of one by which it was closed.
TEST_P(ConnectAcceptTest, ALocalPortMayBeThatOfOtherConnections) {
  std::unique_ptr<TcpListenerPeer> first = world().Listen(Family::kIpv4);
  std::unique_ptr<TcpListenerPeer> second = world().Listen(Family::kIpv4);
  std::unique_ptr<TcpListenerPeer> third = world().Listen(Family::kIpv4);
  bool done = false;
  for (int attempt = 0; attempt < 5 && !done; ++attempt) {
    uint16_t port = Listen()->local_port();
    Recorder connects(*this, "connects", Recorder::kRepeating);
    auto connect = [&](TcpListenerPeer& listener) {
      size_t calls = connects.calls().size();
      absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
          listener.address(), connects.Callback(), {.local_port = port});
      EXPECT_OK(state);
      EXPECT_TRUE(RunUntil([&] { return connects.calls().size() > calls; }));
      return *std::move(state);
    };
    std::unique_ptr<AsyncIoState> one = connect(*first);
    if (connects.last().error == Error(EADDRINUSE)) continue;
    ASSERT_EQ(connects.last().status, IoStatus::kOk);
    std::unique_ptr<AsyncIoState> two = connect(*second);
    ASSERT_EQ(connects.last().status, IoStatus::kOk)
        << connects.last().error.Name();
    EXPECT_EQ(two->address()->port(), port);
    // Closed here first, so that the system remembers them for a while.
    std::unique_ptr<TcpPeer> peer_of_one = first->Accept();
    std::unique_ptr<TcpPeer> peer_of_two = second->Accept();
    one.reset();
    two.reset();
    EXPECT_TRUE(peer_of_one->ReceiveAll().end);
    EXPECT_TRUE(peer_of_two->ReceiveAll().end);
    peer_of_one->Close();
    peer_of_two->Close();
    RunFor();
    std::unique_ptr<AsyncIoState> three = connect(*third);
    ASSERT_EQ(connects.last().status, IoStatus::kOk)
        << connects.last().error.Name();
    EXPECT_EQ(three->address()->port(), port);
    done = true;
  }
  EXPECT_TRUE(done);
}

// One socket, connected to itself: TCP allows it, and aios does not forbid it.
TEST_P(ConnectAcceptTest, AConnectionToItselfIsOneLikeAnyOther) {
  const IpAddress host = world().host_ip(Family::kIpv4);
  bool done = false;
  for (int attempt = 0; attempt < 5 && !done; ++attempt) {
    uint16_t port = Listen()->local_port();
    Recorder connect(*this, "connect");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        Connect(SocketAddress(host, port), connect.Callback(),
                {.local_address = host, .local_port = port});
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    if (connect.last().error == Error(EADDRINUSE)) continue;
    ASSERT_EQ(connect.last().status, IoStatus::kOk)
        << connect.last().error.Name();
    EXPECT_EQ((*state)->address(), (*state)->peer_address());
    Recorder write(*this, "write");
    ASSERT_OK((*state)->WriteBuffer("x", write.Callback()));
    EXPECT_EQ(ReadByte(**state), 'x');
    ASSERT_TRUE(RunUntil(write));
    done = true;
  }
  EXPECT_TRUE(done);
}

TEST_P(ConnectAcceptTest, Line35_LocalAddressAloneGetsAPortOfTheSystem) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  const std::string local = world().host_ip(Family::kIpv4).ToString();
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      Connect(listener->address(), connect.Callback(),
              {.local_address = HostSpec(local)});
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  ASSERT_EQ(connect.last().status, IoStatus::kOk);
  EXPECT_EQ((*state)->address()->ip(), world().host_ip(Family::kIpv4));
  EXPECT_NE((*state)->address()->port(), 0);
}

TEST_P(ConnectAcceptTest, Line35_LocalAddressThatIsNotOursFails) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
      listener->address(), connect.Callback(), {.local_address = "192.0.2.77"});
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_EQ(connect.last().status, IoStatus::kError);
  EXPECT_EQ(connect.last().error, Error(EADDRNOTAVAIL));
}

TEST_P(ConnectAcceptTest, AbortInAnyDirectionCancelsTheConnect) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  for (Direction direction :
       {Direction::kInput, Direction::kOutput, Direction::kIo}) {
    Recorder connect(*this, "connect");
    Recorder abort(*this, "abort");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
        silent, connect.Callback(), {.connect_timeout = absl::Milliseconds(4)});
    ASSERT_OK(state);
    RunFor(absl::Milliseconds(1));
    if (connect.called()) continue;  // a slow machine
    ASSERT_OK((*state)->Abort(abort.Callback(), direction));
    ASSERT_TRUE(RunUntil(abort));
    EXPECT_TRUE(abort.last().interrupted);
    EXPECT_EQ(abort.last().status, IoStatus::kAborted);
    EXPECT_FALSE((*state)->connecting());
    EXPECT_EQ((*state)->handle(), kNoHandle);
    // The timeout went with it.
    RunFor(absl::Milliseconds(6));
    EXPECT_FALSE(connect.called());
    EXPECT_EQ(connect.callbacks_alive(), 0);
  }
}

TEST_P(ConnectAcceptTest, ConnectCallbackMayDestroyItsState) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  for (bool refused : {false, true}) {
    std::unique_ptr<AsyncIoState> owned;
    Recorder connect(*this, "connect");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = Connect(
        refused ? world().RefusingAddress(SocketType::kStream, Family::kIpv4)
                : listener->address(),
        connect.Callback(
            [&](AsyncIoState&, const IoResult&) { owned.reset(); }));
    ASSERT_OK(state);
    owned = *std::move(state);
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_EQ(owned, nullptr);
    EXPECT_EQ(collection().size(), 0u);
  }
}

TEST_P(ConnectAcceptTest, ConnectWithoutHandlesFailsInTheCallback) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  std::unique_ptr<HandleShortage> shortage = world().LimitHandles(0);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      Connect(listener->address(), connect.Callback());
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  EXPECT_EQ(connect.last().status, IoStatus::kError);
  EXPECT_EQ(connect.last().error, Error(EMFILE));
  shortage.reset();
  // It was no harm to anything else.
  Recorder again(*this, "again");
  state = Connect(listener->address(), again.Callback());
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(again));
  EXPECT_EQ(again.last().status, IoStatus::kOk);
}

TEST_P(ConnectAcceptTest, ScopedAddressesReachLinkLocalListeners) {
  std::optional<TestWorld::LinkLocal> link = world().link_local();
  if (!link.has_value()) {
    GTEST_SKIP() << "this machine has no link-local address";
  }
  // By the value, by the interface's number and by its name.
  const std::string bare =
      IpAddress::FromIpv6(link->ip.ipv6()).ToString() + "%";
  const std::string by_number = absl::StrCat(bare, link->ip.scope());
  const std::string by_name = bare + link->interface_name;
  std::unique_ptr<AcceptingHandle> listener =
      Listen({.address = HostSpec(by_name)});
  ASSERT_NE(listener, nullptr);
  EXPECT_EQ(listener->local_address().ip(), link->ip);
  const int port = listener->local_port();
  for (const HostSpec& host :
       {HostSpec(link->ip), HostSpec(by_number), HostSpec(by_name)}) {
    Recorder connect(*this, "connect");
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectTcp(collection(), host, port, connect.Callback());
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_EQ(connect.last().status, IoStatus::kOk)
        << connect.last().error.Name();
    ASSERT_TRUE((*state)->peer_address().has_value());
    EXPECT_EQ((*state)->peer_address()->ip(), link->ip) << "scope and all";
  }
}

TEST_P(ConnectAcceptTest, ScopesAreReadByTheKernelsInterfaces) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  Recorder connect(*this, "connect");
  EXPECT_TRUE(IsRefusal(ConnectTcp(collection(), "fe80::1%no-such-interface", 9,
                                   connect.Callback()),
                        absl::StatusCode::kInvalidArgument,
                        {"ConnectTcp", "no-such-interface"}));
  // The names of loopback interfaces on the systems we know.
  for (const char* name : {"lo", "lo0"}) {
    uint32_t index = kernel().InterfaceIndex(name);
    if (index == 0) continue;
    // Whether that address exists is another question, which the callback
    // answers.
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state = ConnectTcp(
        collection(), absl::StrCat("fe80::1%", name), 9, connect.Callback(),
        {.connect_timeout = absl::Milliseconds(50)});
    ASSERT_OK(state);
    ASSERT_TRUE(RunUntil(connect));
    EXPECT_NE(connect.last().error, Error(EINVAL)) << "no scope arrived";
    return;
  }
  GTEST_SKIP() << "this machine has no loopback interface of a known name";
}

// ---- Accepting.

TEST_P(ConnectAcceptTest,
       Line36_PortZeroReportsTheRealPortBeforeAnyConnection) {
  for (Family family : Families()) {
    Handle seen = kNoHandle;
    SocketAddress bound;
    bool returned = false;
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
        AcceptTcpConnections(
            collection(), 0,
            [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
              accepted_.push_back(std::move(state));
            },
            {.init_function =
                 [&](Handle handle) {
                   EXPECT_FALSE(returned);
                   seen = handle;
                   EXPECT_TRUE(kernel().LocalAddress(handle, &bound).ok());
                 },
             .address = world().host_ip(family),
             .handle_name = "listener",
             .user_info = std::string("info")});
    returned = true;
    ASSERT_OK(listener);
    EXPECT_NE((*listener)->local_port(), 0);
    EXPECT_EQ(seen, (*listener)->socket());
    EXPECT_EQ(bound, (*listener)->local_address());
    EXPECT_EQ(bound.port(), (*listener)->local_port());
    EXPECT_EQ(bound.ip(), world().host_ip(family));
    EXPECT_EQ((*listener)->name(), "listener");
    EXPECT_EQ((*listener)->collection(), &collection());
    EXPECT_FALSE(world().IsInherited((*listener)->socket()));
    // And the port is real.
    std::unique_ptr<TcpPeer> peer = world().ConnectTo(bound);
    peer->Send("x");
    accepted_.clear();
    ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
    EXPECT_EQ(accepted_[0]->peer_address(), peer->LocalAddress());
    EXPECT_EQ(accepted_[0]->address(), bound);
    EXPECT_EQ(ReadByte(*accepted_[0]), 'x');
    EXPECT_FALSE(world().IsInherited(accepted_[0]->handle()));
    accepted_.clear();
  }
}

TEST_P(ConnectAcceptTest, ConnectionsAreHandedOutInTheOrderOfTheirArrival) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 20; ++i) {
    peers.push_back(world().ConnectTo(listener->local_address()));
  }
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == peers.size(); }));
  for (size_t i = 0; i < peers.size(); ++i) {
    EXPECT_EQ(accepted_[i]->peer_address(), peers[i]->LocalAddress());
  }
}

TEST_P(ConnectAcceptTest, AttributesOfAcceptedStates) {
  std::unique_ptr<AcceptingHandle> listener =
      Listen({.nodelay = true,
              .keepalive = true,
              .read_timeout = absl::Milliseconds(3),
              .write_timeout = absl::Seconds(42),
              .name = "accepted",
              .queue_output = true});
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(listener->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  AsyncIoState& state = *accepted_[0];
  EXPECT_EQ(state.name(), "accepted");
  EXPECT_EQ(state.read_timeout(), absl::Milliseconds(3));
  EXPECT_EQ(state.write_timeout(), absl::Seconds(42));
  EXPECT_EQ(state.collection(), &collection());
  EXPECT_TRUE(Option(state.handle(), SocketOption::kNoDelay));
  EXPECT_TRUE(Option(state.handle(), SocketOption::kKeepAlive));
  EXPECT_EQ(std::any_cast<Handle>(state.object()), state.handle());
  Recorder a(*this, "a");
  Recorder b(*this, "b");
  ASSERT_OK(state.WriteBuffer("a", a.Callback()));
  ASSERT_OK(state.WriteBuffer("b", b.Callback())) << "queue_output";
  ASSERT_TRUE(RunUntil(b));
  Recorder silence(*this, "silence");
  ASSERT_OK(state.ReadWithChecking(silence.Callback()));
  ASSERT_TRUE(RunUntil(silence));
  EXPECT_EQ(silence.last().status, IoStatus::kTimeout);

  std::unique_ptr<AcceptingHandle> plain = Listen();
  accepted_.clear();
  peer = world().ConnectTo(plain->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  EXPECT_EQ(accepted_[0]->name(), "");
  EXPECT_EQ(accepted_[0]->read_timeout(), absl::InfiniteDuration());
  EXPECT_EQ(accepted_[0]->write_timeout(), absl::InfiniteDuration());
  EXPECT_FALSE(Option(accepted_[0]->handle(), SocketOption::kNoDelay));
  EXPECT_FALSE(Option(accepted_[0]->handle(), SocketOption::kKeepAlive));
}

TEST_P(ConnectAcceptTest, Line37_CreateStateOffHandsOutTheBareSocket) {
  std::vector<Handle> sockets;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [&](AcceptingHandle&, Handle socket) { sockets.push_back(socket); },
          {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_TRUE(RunUntil([&] { return sockets.size() == 1; }));
  EXPECT_EQ(collection().size(), 1u) << "there is no state for it";
  EXPECT_TRUE(world().IsBlocking(sockets[0]));
  EXPECT_FALSE(world().IsInherited(sockets[0]));
  // Blocking code can use it.
  EXPECT_EQ(world().DirectSend(sockets[0], "bare").count, 4u);
  EXPECT_EQ(peer->ReceiveExactly(4), "bare");
  // And so can another collection.
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> other =
      MakeWaitStateCollection(kernel());
  ASSERT_OK(other);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(**other, sockets[0]);
  ASSERT_OK(state);
  EXPECT_EQ((*state)->collection(), other->get());
  char byte = 0;
  ASSERT_OK(
      (*state)->ReadBuffer({&byte, 1}, [](AsyncIoState&, const IoResult&) {}));
  peer->Send("x");
  ASSERT_TRUE(world().Until([&] {
    (*other)->Wait(absl::Milliseconds(1));
    (*other)->Call();
    return byte == 'x';
  }));
}

TEST_P(ConnectAcceptTest, Line38_CloseCallsBackWhenThePortIsFree) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  const SocketAddress address = listener->local_address();
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(address);
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  int closed = 0;
  bool in_close = true;
  ASSERT_OK(listener->Close([&](WaitStateCollection& its_collection) {
    EXPECT_FALSE(in_close) << "not inside the call";
    ++closed;
    EXPECT_EQ(&its_collection, &collection());
    EXPECT_EQ(listener->collection(), nullptr);
    EXPECT_EQ(listener->socket(), kNoHandle);
    // The port is free.
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> next =
        AcceptTcpConnections(
            collection(), address.port(),
            [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
            {.address = address.ip()});
    EXPECT_OK(next);
  }));
  in_close = false;
  EXPECT_TRUE(IsRefusal(listener->Close(),
                        absl::StatusCode::kFailedPrecondition,
                        {"Close", absl::StrCat(address.port())}));
  ASSERT_TRUE(RunUntil([&] { return closed != 0; }));
  RunFor(absl::Milliseconds(1));
  EXPECT_EQ(closed, 1);
  EXPECT_EQ(listener->local_port(), address.port()) << "still known";
  EXPECT_TRUE(IsRefusal(listener->Close(),
                        absl::StatusCode::kFailedPrecondition, {"Close"}));
  // What was accepted lives on.
  peer->Send("x");
  EXPECT_EQ(ReadByte(*accepted_[0]), 'x');
}

TEST_P(ConnectAcceptTest, Line38_NoConnectionIsHandedOutAfterClose) {
  for (bool wait : {false, true}) {
    std::unique_ptr<AcceptingHandle> listener = Listen();
    std::unique_ptr<TcpPeer> peer =
        world().ConnectTo(listener->local_address());
    if (wait) collection().Wait();
    ASSERT_OK(listener->Close());
    RunFor();
    EXPECT_TRUE(accepted_.empty());
    EXPECT_EQ(listener->collection(), nullptr);
    PeerRead read = peer->ReceiveAll();
    EXPECT_TRUE(read.end || !read.error.ok()) << "the connection is gone";
  }
}

TEST_P(ConnectAcceptTest, Line38_NorWhenItWasAcceptedAlreadyInTheSameTurn) {
  // Functions that were posted run between the accept and its delivery.
  for (bool destroy : {false, true}) {
    SCOPED_TRACE(destroy);
    std::unique_ptr<AcceptingHandle> listener = Listen();
    std::unique_ptr<TcpPeer> peer =
        world().ConnectTo(listener->local_address());
    ASSERT_TRUE(collection().Wait());
    ASSERT_OK(collection().Apply([&] {
      if (destroy) {
        listener.reset();
      } else {
        EXPECT_OK(listener->Close());
      }
    }));
    CallOnce();
    RunFor(absl::Milliseconds(1));
    EXPECT_TRUE(accepted_.empty());
    PeerRead read = peer->ReceiveAll();
    EXPECT_TRUE(read.end || !read.error.ok()) << "the connection is gone";
  }
}

TEST_P(ConnectAcceptTest, Line38_AcceptedStatesOutliveTheirDestroyedHandle) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(listener->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  listener.reset();
  peer->Send("x");
  EXPECT_EQ(ReadByte(*accepted_[0]), 'x');
}

TEST_P(ConnectAcceptTest, Line39_UserInfoIsOnTheHandleNotOnItsStates) {
  bool seen = false;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [&](AcceptingHandle& handle, std::unique_ptr<AsyncIoState> state) {
            EXPECT_EQ(std::any_cast<std::string>(handle.user_info()), "info");
            EXPECT_FALSE(state->user_info().has_value());
            EXPECT_EQ(state->read_timeout(), absl::InfiniteDuration());
            EXPECT_EQ(state->write_timeout(), absl::InfiniteDuration());
            handle.set_user_info(7);
            seen = true;
          },
          {.address = world().host_ip(Family::kIpv4),
           .user_info = std::string("info")});
  ASSERT_OK(listener);
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_TRUE(RunUntil([&] { return seen; }));
  EXPECT_EQ(std::any_cast<int>((*listener)->user_info()), 7);
}

TEST_P(ConnectAcceptTest, StateThatIsDroppedInTheFunctionIsClosed) {
  int connections = 0;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [&](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {
            ++connections;
          },
          {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  for (int i = 1; i <= 3; ++i) {
    std::unique_ptr<TcpPeer> peer =
        world().ConnectTo((*listener)->local_address());
    ASSERT_TRUE(RunUntil([&] { return connections == i; }));
    EXPECT_TRUE(peer->ReceiveAll().end);
    EXPECT_EQ(collection().size(), 1u);
  }
}

TEST_P(ConnectAcceptTest, HandleMayBeClosedOrDestroyedInItsOwnFunction) {
  enum How { kClose, kDestroy, kCollection };
  for (How how : {kClose, kDestroy, kCollection}) {
    SCOPED_TRACE(how);
    int connections = 0;
    std::unique_ptr<AcceptingHandle> listener;
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> made =
        AcceptTcpConnections(
            collection(), 0,
            [&](AcceptingHandle& handle, std::unique_ptr<AsyncIoState>) {
              ++connections;
              switch (how) {
                case kClose:
                  EXPECT_OK(handle.Close());
                  break;
                case kDestroy:
                  listener.reset();
                  break;
                case kCollection:
                  collection().Close();
                  break;
              }
            },
            {.address = world().host_ip(Family::kIpv4)});
    ASSERT_OK(made);
    listener = *std::move(made);
    const SocketAddress address = listener->local_address();
    std::vector<std::unique_ptr<TcpPeer>> peers;
    for (int i = 0; i < 3; ++i) peers.push_back(world().ConnectTo(address));
    ASSERT_TRUE(RunUntil([&] { return connections != 0; }));
    RunFor(absl::Milliseconds(2));
    EXPECT_EQ(connections, 1);
    EXPECT_EQ(collection().size(), 0u);
    for (const std::unique_ptr<TcpPeer>& peer : peers) {
      PeerRead read = peer->ReceiveAll();
      EXPECT_TRUE(read.end || !read.error.ok()) << "none is left hanging";
    }
  }
}

TEST_P(ConnectAcceptTest, ConnectionThatWasResetBeforeItWasAccepted) {
  // A kernel may hand it out or drop it; the listener goes on in either case.
  std::unique_ptr<AcceptingHandle> listener = Listen();
  std::unique_ptr<TcpPeer> lost = world().ConnectTo(listener->local_address());
  lost->Reset();
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(listener->local_address());
  const SocketAddress expected = peer->LocalAddress();
  ASSERT_TRUE(RunUntil([&] {
    return !accepted_.empty() && accepted_.back()->peer_address() == expected;
  }));
  if (accepted_.size() == 2) {
    char byte;
    Recorder read(*this, "read");
    ASSERT_OK(accepted_[0]->ReadBuffer({&byte, 1}, read.Callback()));
    ASSERT_TRUE(RunUntil(read));
    EXPECT_EQ(read.last().error, Error(ECONNRESET));
  }
}

TEST_P(ConnectAcceptTest, ACrowdOfConnectionsDoesNotStarveAState) {
  RemakeCollection({.limits = {.accepts_per_turn_max = 4}});
  std::unique_ptr<AcceptingHandle> listener = Listen();
  Channel channel = MakeChannel();
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 40; ++i) {
    peers.push_back(world().ConnectTo(listener->local_address()));
  }
  char byte;
  size_t accepted_before = 1000;
  Recorder read(*this, "read");
  ASSERT_OK(channel.state->ReadBuffer(
      {&byte, 1}, read.Callback([&](AsyncIoState&, const IoResult&) {
        accepted_before = accepted_.size();
      })));
  channel.peer->Send("x");
  // Until it has arrived, as the crowd has.
  Pass(absl::Milliseconds(1));
  size_t most = 0;
  ASSERT_TRUE(RunUntil(
      [&] {
        size_t before = accepted_.size();
        Turn();
        most = std::max(most, accepted_.size() - before);
        return accepted_.size() == peers.size();
      },
      absl::ZeroDuration()));
  EXPECT_LE(most, 4u);
  EXPECT_LE(accepted_before, 8u) << "it had to wait for the crowd";
}

TEST_P(ConnectAcceptTest, OneListenerForBothFamilies) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
            accepted_.push_back(std::move(state));
          },
          {.ipv6 = Ipv6::kBoth});
  ASSERT_OK(listener);
  const uint16_t port = (*listener)->local_port();
  std::unique_ptr<TcpPeer> v4 =
      world().ConnectTo({world().host_ip(Family::kIpv4), port});
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
  std::unique_ptr<TcpPeer> v6 =
      world().ConnectTo({world().host_ip(Family::kIpv6), port});
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 2; }));
  EXPECT_EQ(accepted_[0]->peer_address()->ip(),
            v4->LocalAddress().ip().ToIpv4Mapped());
  EXPECT_EQ(accepted_[1]->peer_address(), v6->LocalAddress());
}

TEST_P(ConnectAcceptTest, ListenerOfIpv6AloneLeavesIpv4Free) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  auto ignore = [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {};
  bool done = false;
  for (int attempt = 0; attempt < 100 && !done; ++attempt) {
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> v6 =
        AcceptTcpConnections(collection(), 0, ignore, {.ipv6 = Ipv6::kYes});
    ASSERT_OK(v6);
    EXPECT_TRUE((*v6)->local_address().ip().is_ipv6());
    absl::StatusOr<std::unique_ptr<AcceptingHandle>> v4 = AcceptTcpConnections(
        collection(), (*v6)->local_port(), ignore, {.ipv6 = Ipv6::kNo});
    // Somebody else may have that port, on a busy machine more often than not.
    done = v4.ok();
  }
  EXPECT_TRUE(done);
}

TEST_P(ConnectAcceptTest, BusyPortIsRefusedAtOnceByDefault) {
  std::unique_ptr<AcceptingHandle> first = Listen();
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> second =
      AcceptTcpConnections(
          collection(), first->local_port(),
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
          {.address = world().host_ip(Family::kIpv4), .handle_name = "late"});
  EXPECT_TRUE(IsRefusal(second, Error(EADDRINUSE).ToStatus().code(),
                        {"AcceptTcpConnections", "late", "EADDRINUSE",
                         absl::StrCat(first->local_port())}));
  EXPECT_EQ(collection().size(), 1u);
  // The first is as good as before.
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(first->local_address());
  EXPECT_TRUE(RunUntil([&] { return accepted_.size() == 1; }));
}

TEST_P(ConnectAcceptTest, InitTimeoutBoundsTheWaitForABusyPort) {
  std::unique_ptr<AcceptingHandle> first = Listen();
  Nanoseconds start = Now();
  bool initialised = false;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> second =
      AcceptTcpConnections(
          collection(), first->local_port(),
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
          {.init_function = [&](Handle) { initialised = true; },
           .init_timeout = absl::Milliseconds(120),
           .address = world().host_ip(Family::kIpv4)});
  EXPECT_TRUE(
      IsRefusal(second, Error(EADDRINUSE).ToStatus().code(), {"EADDRINUSE"}));
  EXPECT_GE(Since(start), absl::Milliseconds(120));
  EXPECT_FALSE(initialised);
}

// Frees something when somebody waits.
class WaitHookKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;
  std::function<void()> hook;

 protected:
  Error Before(KernelCall call, Handle /*handle*/) override {
    if (call == KernelCall::kWait && hook != nullptr) {
      std::exchange(hook, nullptr)();
    }
    return Error();
  }
};

TEST_P(ConnectAcceptTest, InitTimeoutIsEnoughWhenThePortBecomesFree) {
  WaitHookKernel hooked(kernel());
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> other =
      MakeWaitStateCollection(hooked);
  ASSERT_OK(other);
  std::unique_ptr<AcceptingHandle> first = Listen();
  const SocketAddress address = first->local_address();
  hooked.hook = [&] { first.reset(); };
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> second =
      AcceptTcpConnections(
          **other, address.port(),
          [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
          {.init_timeout = absl::Seconds(5), .address = address.ip()});
  ASSERT_OK(second);
  EXPECT_EQ(first, nullptr) << "the port was busy at first";
  EXPECT_EQ((*second)->local_address(), address);
}

TEST_P(ConnectAcceptTest, ReuseportLetsListenersShareThePort) {
  auto listen = [&](int port, bool reuseport) {
    return AcceptTcpConnections(
        collection(), port,
        [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
          accepted_.push_back(std::move(state));
        },
        {.address = world().host_ip(Family::kIpv4), .reuseport = reuseport});
  };
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> first = listen(0, true);
  ASSERT_OK(first);
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> second =
      listen((*first)->local_port(), true);
  ASSERT_OK(second);
  EXPECT_EQ((*first)->local_port(), (*second)->local_port());
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 10; ++i) {
    peers.push_back(world().ConnectTo((*first)->local_address()));
  }
  ASSERT_TRUE(RunUntil([&] { return accepted_.size() == peers.size(); }));
  // Sharing wants the consent of both.
  EXPECT_FALSE(listen((*first)->local_port(), false).ok());
}

TEST_P(ConnectAcceptTest, ListenerFromTheWorldIsNotAState) {
  Handle handle = world().RawListener(Family::kIpv4);
  EXPECT_TRUE(IsRefusal(CreateAsyncIoState(collection(), handle),
                        absl::StatusCode::kInvalidArgument,
                        {"CreateAsyncIoState", "listening"}));
  world().DirectClose(handle);
}

TEST_P(ConnectAcceptTest, DescriptorExhaustionPausesAcceptingAndLosesNothing) {
  std::vector<Error> told;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> listener =
      AcceptTcpConnections(
          collection(), 0,
          [this](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
            accepted_.push_back(std::move(state));
          },
          {.address = world().host_ip(Family::kIpv4),
           .error_function = [&](AcceptingHandle& handle, Error error) {
             EXPECT_EQ(&handle, listener->get());
             told.push_back(error);
           }});
  ASSERT_OK(listener);
  Channel channel = MakeChannel();
  std::vector<std::unique_ptr<TcpPeer>> peers;
  for (int i = 0; i < 4; ++i) {
    peers.push_back(world().ConnectTo((*listener)->local_address()));
  }
  for (int episode = 1; episode <= 2; ++episode) {
    SCOPED_TRACE(episode);
    accepted_.clear();
    std::unique_ptr<HandleShortage> shortage = world().LimitHandles(0);
    // No spin while nothing can be accepted.
    Nanoseconds start = Now();
    int turns = 0;
    while (Since(start) < absl::Milliseconds(150)) {
      Turn();
      ++turns;
    }
    EXPECT_LT(turns, 20);
    EXPECT_TRUE(accepted_.empty());
    ASSERT_EQ(told.size(), static_cast<size_t>(episode))
        << "once for each episode";
    EXPECT_EQ(told.back(), Error(EMFILE));
    // Others are served meanwhile.
    char byte;
    Recorder read(*this, "read");
    ASSERT_OK(channel.state->ReadBuffer({&byte, 1}, read.Callback()));
    channel.peer->Send("x");
    ASSERT_TRUE(RunUntil(read));

    // As handles return, it goes on by itself, in the order of arrival.
    if (episode == 1) {
      shortage->Allow(2);
      ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 2; }));
      EXPECT_EQ(accepted_[0]->peer_address(), peers[0]->LocalAddress());
      EXPECT_EQ(accepted_[1]->peer_address(), peers[1]->LocalAddress());
      peers.erase(peers.begin(), peers.begin() + 2);
      // The next failure after that success is a new episode.
      ASSERT_TRUE(RunUntil([&] { return told.size() == 2; }));
    } else {
      shortage.reset();
      ASSERT_TRUE(RunUntil([&] { return accepted_.size() == 2; }));
      EXPECT_EQ(accepted_[0]->peer_address(), peers[0]->LocalAddress());
      EXPECT_EQ(accepted_[1]->peer_address(), peers[1]->LocalAddress());
      // Bytes that they sent meanwhile are there.
      peers[0]->Send("y");
      EXPECT_EQ(ReadByte(*accepted_[0]), 'y');
    }
  }
}

TEST_P(ConnectAcceptTest, HandleMayBeDestroyedWhileAcceptingPauses) {
  std::unique_ptr<AcceptingHandle> listener;
  int told = 0;
  absl::StatusOr<std::unique_ptr<AcceptingHandle>> made = AcceptTcpConnections(
      collection(), 0, [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
      {.address = world().host_ip(Family::kIpv4),
       .error_function = [&](AcceptingHandle&, Error) {
         ++told;
         listener.reset();
       }});
  ASSERT_OK(made);
  listener = *std::move(made);
  std::unique_ptr<TcpPeer> peer = world().ConnectTo(listener->local_address());
  std::unique_ptr<HandleShortage> shortage = world().LimitHandles(0);
  ASSERT_TRUE(RunUntil([&] { return told != 0; }));
  RunFor(absl::Milliseconds(1));
  EXPECT_EQ(told, 1);
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(ConnectAcceptTest, HandleMayBeDestroyedInItsCloseCallback) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  bool closed = false;
  ASSERT_OK(listener->Close([&](WaitStateCollection&) {
    closed = true;
    listener.reset();
  }));
  ASSERT_TRUE(RunUntil([&] { return closed; }));
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(ConnectAcceptTest, CloseCallbackMayOwnTheHandle) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  AcceptingHandle* handle = listener.get();
  auto token = std::make_shared<int>();
  bool closed = false;
  ASSERT_OK(handle->Close([owned = std::move(listener), token,
                           &closed](WaitStateCollection&) { closed = true; }));
  ASSERT_TRUE(RunUntil([&] { return closed; }));
  EXPECT_EQ(token.use_count(), 1);
}

TEST_P(ConnectAcceptTest, DestroyedHandleDoesNotCallBack) {
  std::unique_ptr<AcceptingHandle> listener = Listen();
  bool closed = false;
  ASSERT_OK(listener->Close([&](WaitStateCollection&) { closed = true; }));
  listener.reset();
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(closed);
}

TEST_P(ConnectAcceptTest, TwoStatesTalkToEachOther) {
  // Both ends are aios', on two collections.
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> other =
      MakeWaitStateCollection(kernel());
  ASSERT_OK(other);
  for (Family family : Families()) {
    accepted_.clear();
    std::unique_ptr<AcceptingHandle> listener = Listen({}, family);
    bool connected = false;
    absl::StatusOr<std::unique_ptr<AsyncIoState>> client = ConnectTcp(
        **other, listener->local_address().ip(), listener->local_port(),
        [&](AsyncIoState&, const IoResult& result) {
          connected = result.ok();
        });
    ASSERT_OK(client);
    ASSERT_TRUE(world().Until([&] {
      (*other)->Wait(absl::ZeroDuration());
      (*other)->Call();
      Turn(absl::ZeroDuration());
      return connected && !accepted_.empty();
    }));
    EXPECT_EQ((*client)->address(), accepted_[0]->peer_address());
    EXPECT_EQ((*client)->peer_address(), accepted_[0]->address());
  }
}

}  // namespace
}  // namespace aios::test
