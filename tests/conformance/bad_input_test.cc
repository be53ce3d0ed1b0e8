// What a user may get wrong: each gets a clear error that names the state and
// the operation, and nothing is lost by it.

#include <any>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

// A timeout computed from what is not a number. Abseil turns it into an
// infinite duration with the sign of the NaN, so this is what aios can see: a
// negative NaN, such as 0.0 / 0.0 on x86, arrives as minus infinity.
absl::Duration NotANumber() {
  return absl::Seconds(std::copysign(std::nan(""), -1.0));
}

class BadInputTest : public ConformanceTest {
 protected:
  struct NamedStart {
    std::string name;
    bool is_input;
    std::function<absl::Status(AsyncIoState&, IoCallback, Timeout)> start;
  };

  // All operations that start something.
  std::vector<NamedStart> Starts() {
    return {
        {"ReadBuffer", true,
         [this](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.ReadBuffer(buffer_, std::move(callback),
                                   {.timeout = timeout});
         }},
        {"ReadWithChecking", true,
         [](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.ReadWithChecking(std::move(callback),
                                         {.timeout = timeout});
         }},
        {"WaitForInput", true,
         [](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.WaitForInput(std::move(callback), {.timeout = timeout});
         }},
        {"ReceiveMessage", true,
         [this](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.ReceiveMessage(buffer_, std::move(callback),
                                       {.timeout = timeout});
         }},
        {"WriteBuffer", false,
         [](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.WriteBuffer("data", std::move(callback),
                                    {.timeout = timeout});
         }},
        {"SendMessage", false,
         [](AsyncIoState& state, IoCallback callback, Timeout timeout) {
           return state.SendMessage("data", std::move(callback),
                                    {.timeout = timeout});
         }},
    };
  }

  // That a state that refused something works as before.
  void ExpectIntact(Channel& channel) {
    const std::string bytes = "intact";
    std::string got(bytes.size(), '\0');
    Recorder read(*this, "read");
    Recorder write(*this, "write");
    ASSERT_OK(channel.state->ReadBuffer(got, read.Callback()));
    ASSERT_OK(channel.state->WriteBuffer(bytes, write.Callback()));
    channel.peer->Send(bytes);
    ASSERT_TRUE(RunUntil(read));
    ASSERT_TRUE(RunUntil(write));
    EXPECT_EQ(got, bytes);
    EXPECT_EQ(channel.peer->ReceiveExactly(bytes.size()), bytes);
    EXPECT_EQ(read.last().status, IoStatus::kOk);
    EXPECT_EQ(write.last().status, IoStatus::kOk);
  }

  std::string buffer_ = std::string(8, '.');
};

INSTANTIATE_TEST_SUITE_P(All, BadInputTest, testing::ValuesIn(AllKernels()),
                         NameOf);

// ---- Handles.

TEST_P(BadInputTest, HandleThatIsNoSocket) {
  Handle handle = world().RawForeign(Foreign::kNotASocket);
  EXPECT_TRUE(IsRefusal(
      CreateAsyncIoState(collection(), handle, {.name = "file"}),
      absl::StatusCode::kInvalidArgument,
      {"CreateAsyncIoState", "file", absl::StrCat(handle), "ENOTSOCK"}));
  EXPECT_EQ(collection().size(), 0u);
  // It is the caller's still, and open.
  EXPECT_TRUE(world().IsBlocking(handle));
  world().DirectClose(handle);
}

TEST_P(BadInputTest, HandleThatIsClosed) {
  for (Handle handle : {world().RawForeign(Foreign::kClosed), kNoHandle}) {
    EXPECT_TRUE(IsRefusal(
        CreateAsyncIoState(collection(), handle, {.name = "stale"}),
        absl::StatusCode::kInvalidArgument,
        {"CreateAsyncIoState", "stale", absl::StrCat(handle), "EBADF"}));
  }
  EXPECT_EQ(collection().size(), 0u);
}

TEST_P(BadInputTest, HandleOfAnotherFamily) {
  Handle handle = world().RawForeign(Foreign::kOtherFamily);
  EXPECT_TRUE(IsRefusal(
      CreateAsyncIoState(collection(), handle, {.name = "local"}),
      absl::StatusCode::kInvalidArgument, {"CreateAsyncIoState", "local"}));
  EXPECT_TRUE(world().IsBlocking(handle));
  world().DirectClose(handle);
}

TEST_P(BadInputTest, HandleOfTheOtherKind) {
  struct Case {
    std::string what;
    Handle handle;
    Udp udp;
    std::string part;
  };
  Handle datagram = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  Handle stream = world().RawSocket(SocketType::kStream, Family::kIpv4);
  Handle connected = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  ASSERT_TRUE(kernel().Connect(connected, peer->address()).ok());
  Handle listener = world().RawListener(Family::kIpv4);
  const std::vector<Case> cases = {
      {"UDP as TCP", datagram, Udp::kNo, "UDP"},
      {"TCP as UDP", stream, Udp::kUnconnected, "TCP"},
      {"TCP as connected UDP", stream, Udp::kConnected, "TCP"},
      {"unconnected as connected", datagram, Udp::kConnected, "unconnected"},
      {"connected as unconnected", connected, Udp::kUnconnected, "connected"},
      {"listening", listener, Udp::kNo, "listening"},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    EXPECT_TRUE(IsRefusal(
        CreateAsyncIoState(collection(), c.handle,
                           {.udp = c.udp, .name = "other kind"}),
        absl::StatusCode::kInvalidArgument,
        {"CreateAsyncIoState", "other kind", absl::StrCat(c.handle), c.part}));
    EXPECT_TRUE(world().IsBlocking(c.handle)) << "as it was";
  }
  EXPECT_EQ(collection().size(), 0u);
  for (Handle handle : {datagram, stream, connected, listener}) {
    world().DirectClose(handle);
  }
}

TEST_P(BadInputTest, RefusedHandleWorksOnAndCanBeGivenAgain) {
  TcpPair pair = world().RawSocketPair(Family::kIpv4);
  EXPECT_FALSE(
      CreateAsyncIoState(collection(), pair.handle, {.udp = Udp::kUnconnected})
          .ok());
  EXPECT_EQ(world().DirectSend(pair.handle, "x").count, 1u);
  EXPECT_EQ(pair.peer->ReceiveExactly(1), "x");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), pair.handle);
  ASSERT_OK(state);
  Channel channel{.state = *std::move(state), .peer = std::move(pair.peer)};
  ExpectIntact(channel);
}

TEST_P(BadInputTest, HandleThatWasClosedBehindTheStatesBack) {
  // An error of the world, not of the call: it comes to the operations.
  Channel channel = MakeChannel({.queue_output = true});
  world().DirectClose(channel.state->handle());
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  Recorder queued(*this, "queued");
  ASSERT_OK(channel.state->ReadBuffer(buffer_, read.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("x", write.Callback()));
  ASSERT_OK(channel.state->WriteBuffer("y", queued.Callback()));
  ASSERT_TRUE(RunUntil(read));
  ASSERT_TRUE(RunUntil(queued));
  EXPECT_EQ(read.last().error, Error(EBADF));
  EXPECT_EQ(write.last().error, Error(EBADF));
  EXPECT_EQ(queued.last().status, IoStatus::kAborted);
  // The number must not be closed again: somebody may have it by now.
  channel.state->Close({.keep_alive = true});
}

// ---- Timeouts.

TEST_P(BadInputTest, NegativeTimeoutsOfOperations) {
  Channel channel = MakeChannel({.read_timeout = absl::Seconds(41),
                                 .write_timeout = absl::Seconds(42),
                                 .name = "hasty"});
  for (const NamedStart& start : Starts()) {
    for (absl::Duration timeout : {-absl::Nanoseconds(1), -absl::Hours(1),
                                   -absl::InfiniteDuration(), NotANumber()}) {
      SCOPED_TRACE(start.name + " " + absl::FormatDuration(timeout));
      Recorder none(*this, "none");
      EXPECT_TRUE(
          IsRefusal(start.start(*channel.state, none.Callback(), timeout),
                    absl::StatusCode::kInvalidArgument,
                    {"hasty", start.name, "timeout"}));
      EXPECT_EQ(none.callbacks_alive(), 0);
    }
  }
  EXPECT_EQ(channel.state->read_timeout(), absl::Seconds(41)) << "unchanged";
  EXPECT_EQ(channel.state->write_timeout(), absl::Seconds(42));
  ExpectIntact(channel);
}

TEST_P(BadInputTest, NegativeTimeoutsOfAttributes) {
  Channel channel = MakeChannel({.name = "hasty"});
  for (absl::Duration timeout : {-absl::Nanoseconds(1), NotANumber()}) {
    EXPECT_TRUE(IsRefusal(channel.state->set_read_timeout(timeout),
                          absl::StatusCode::kInvalidArgument,
                          {"hasty", "set_read_timeout"}));
    EXPECT_TRUE(IsRefusal(channel.state->set_write_timeout(timeout),
                          absl::StatusCode::kInvalidArgument,
                          {"hasty", "set_write_timeout"}));
  }
  EXPECT_EQ(channel.state->read_timeout(), absl::InfiniteDuration());
  ExpectIntact(channel);
}

TEST_P(BadInputTest, NegativeTimeoutsOfCreators) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  const IpAddress ip = peer->address().ip();
  const int port = peer->address().port();
  for (absl::Duration timeout : {-absl::Nanoseconds(1), NotANumber()}) {
    TcpPair pair = world().RawSocketPair(Family::kIpv4);
    EXPECT_TRUE(IsRefusal(
        CreateAsyncIoState(collection(), pair.handle,
                           {.read_timeout = timeout, .name = "hasty"}),
        absl::StatusCode::kInvalidArgument,
        {"CreateAsyncIoState", "hasty", "timeout"}));
    EXPECT_FALSE(CreateAsyncIoState(collection(), pair.handle,
                                    {.write_timeout = timeout})
                     .ok());
    EXPECT_EQ(world().DirectSend(pair.handle, "x").count, 1u)
        << "the handle is the caller's still";
    world().DirectClose(pair.handle);
    EXPECT_TRUE(IsRefusal(
        OpenUdp(collection(), {.name = "hasty", .read_timeout = timeout}),
        absl::StatusCode::kInvalidArgument, {"OpenUdp", "hasty", "timeout"}));
    EXPECT_TRUE(
        IsRefusal(ConnectUdp(collection(), ip, port,
                             {.name = "hasty", .write_timeout = timeout}),
                  absl::StatusCode::kInvalidArgument,
                  {"ConnectUdp", "hasty", "timeout"}));
    Recorder none(*this, "none");
    EXPECT_TRUE(
        IsRefusal(ConnectTcp(collection(), ip, port, none.Callback(),
                             {.read_timeout = timeout, .name = "hasty"}),
                  absl::StatusCode::kInvalidArgument,
                  {"ConnectTcp", "hasty", "timeout"}));
    EXPECT_TRUE(
        IsRefusal(ConnectTcp(collection(), ip, port, none.Callback(),
                             {.connect_timeout = timeout, .name = "hasty"}),
                  absl::StatusCode::kInvalidArgument,
                  {"ConnectTcp", "hasty", "connect_timeout"}));
    EXPECT_TRUE(
        IsRefusal(AcceptTcpConnections(
                      collection(), 0,
                      [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
                      {.init_timeout = timeout, .handle_name = "hasty"}),
                  absl::StatusCode::kInvalidArgument,
                  {"AcceptTcpConnections", "hasty", "init_timeout"}));
    for (bool input : {true, false}) {
      AcceptTcpOptions options{.handle_name = "hasty"};
      (input ? options.read_timeout : options.write_timeout) = timeout;
      EXPECT_TRUE(
          IsRefusal(AcceptTcpConnections(
                        collection(), 0,
                        [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
                        std::move(options)),
                    absl::StatusCode::kInvalidArgument,
                    {"AcceptTcpConnections", "hasty", "timeout"}));
    }
  }
  Recorder none(*this, "none");
  EXPECT_TRUE(IsRefusal(
      ConnectTcp(collection(), ip, port, none.Callback(),
                 {.connect_timeout = absl::ZeroDuration(), .name = "hasty"}),
      absl::StatusCode::kInvalidArgument, {"ConnectTcp", "connect_timeout"}));
  EXPECT_EQ(collection().size(), 0u);
}

// ---- Ranges and callbacks.

TEST_P(BadInputTest, EmptyRanges) {
  Channel channel = MakeChannel({.name = "nothing"});
  AsyncIoState& state = *channel.state;
  Recorder none(*this, "none");
  auto expect = [&](const absl::Status& status, std::string call) {
    EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kInvalidArgument,
                          {"nothing", call, "empty"}));
  };
  expect(state.ReadBuffer({}, none.Callback()), "ReadBuffer");
  expect(state.ReadBuffer(buffer_, none.Callback(), {.start = 3, .end = 3}),
         "ReadBuffer");
  expect(state.ReadBuffer(buffer_, none.Callback(), {.start = 8}),
         "ReadBuffer");
  expect(state.ReceiveMessage({}, none.Callback()), "ReceiveMessage");
  expect(state.WriteBuffer("", none.Callback()), "WriteBuffer");
  expect(state.WriteBuffer("abc", none.Callback(), {.start = 2, .end = 2}),
         "WriteBuffer");
  expect(state.SendMessage("", none.Callback()), "SendMessage");
  EXPECT_EQ(none.callbacks_alive(), 0);
  EXPECT_EQ(state.output_queue_length(), 0u);
  ExpectIntact(channel);
}

TEST_P(BadInputTest, RangesBeyondTheirBuffer) {
  Channel channel = MakeChannel({.name = "overrun"});
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "overrun udp");
  AsyncIoState& state = *channel.state;
  Recorder none(*this, "none");
  auto expect = [&](const absl::Status& status, std::string call) {
    EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kInvalidArgument,
                          {"overrun", call, "range"}));
  };
  struct Range {
    size_t start;
    size_t end;
  };
  const size_t huge = std::numeric_limits<size_t>::max() - 1;
  for (const Range& range :
       {Range{0, 9}, Range{9, kToEnd}, Range{5, 3}, Range{0, huge},
        Range{huge, huge}, Range{huge, 4}}) {
    SCOPED_TRACE(absl::StrCat(range.start, ", ", range.end));
    expect(state.ReadBuffer(buffer_, none.Callback(),
                            {.start = range.start, .end = range.end}),
           "ReadBuffer");
    expect(state.ReceiveMessage(buffer_, none.Callback(),
                                {.start = range.start, .end = range.end}),
           "ReceiveMessage");
    expect(state.WriteBuffer("12345678", none.Callback(),
                             {.start = range.start, .end = range.end}),
           "WriteBuffer");
    expect(state.SendMessage("12345678", none.Callback(),
                             {.start = range.start, .end = range.end}),
           "SendMessage");
    expect(
        udp->SendMessageToAddress(*udp->address(), "12345678", none.Callback(),
                                  {.start = range.start, .end = range.end}),
        "SendMessageToAddress");
    EXPECT_TRUE(IsRefusal(state.GetBufferedData(buffer_, {.start = range.start,
                                                          .end = range.end}),
                          absl::StatusCode::kInvalidArgument,
                          {"overrun", "GetBufferedData", "range"}));
  }
  EXPECT_EQ(none.callbacks_alive(), 0);
  EXPECT_EQ(buffer_, "........");
  ExpectIntact(channel);
}

TEST_P(BadInputTest, EmptyCallbacks) {
  Channel channel = MakeChannel({.name = "mute"});
  for (const NamedStart& start : Starts()) {
    EXPECT_TRUE(IsRefusal(start.start(*channel.state, nullptr, std::nullopt),
                          absl::StatusCode::kInvalidArgument,
                          {"mute", start.name, "callback"}));
  }
  EXPECT_TRUE(IsRefusal(channel.state->Abort(nullptr),
                        absl::StatusCode::kInvalidArgument, {"mute", "Abort"}));
  EXPECT_TRUE(IsRefusal(ConnectTcp(collection(), world().peer_ip(Family::kIpv4),
                                   9, nullptr, {.name = "mute"}),
                        absl::StatusCode::kInvalidArgument,
                        {"ConnectTcp", "mute"}));
  EXPECT_TRUE(IsRefusal(
      AcceptTcpConnections(collection(), 0, ConnectionFunction(),
                           {.handle_name = "mute"}),
      absl::StatusCode::kInvalidArgument, {"AcceptTcpConnections", "mute"}));
  EXPECT_TRUE(IsRefusal(AcceptTcpConnections(collection(), 0, SocketFunction(),
                                             {.handle_name = "mute"}),
                        absl::StatusCode::kInvalidArgument,
                        {"AcceptTcpConnections", "mute"}));
  ExpectIntact(channel);
}

TEST_P(BadInputTest, MaxReadOutOfRange) {
  Channel channel = MakeChannel({.name = "greedy"});
  AsyncIoState& state = *channel.state;
  Recorder none(*this, "none");
  for (size_t max_read :
       {size_t{0}, (size_t{1} << 30) + 1, std::numeric_limits<size_t>::max()}) {
    EXPECT_TRUE(IsRefusal(state.set_max_read(max_read),
                          absl::StatusCode::kInvalidArgument,
                          {"greedy", "max_read"}));
    EXPECT_TRUE(IsRefusal(
        state.ReadWithChecking(none.Callback(), {.max_read = max_read}),
        absl::StatusCode::kInvalidArgument,
        {"greedy", "ReadWithChecking", "max_read"}));
  }
  EXPECT_EQ(state.max_read(), size_t{16} << 10) << "unchanged";
  EXPECT_OK(state.set_max_read(size_t{1} << 30));
  EXPECT_EQ(state.max_read(), size_t{1} << 30);
  ExpectIntact(channel);
}

TEST_P(BadInputTest, NegativeBacklog) {
  EXPECT_TRUE(
      IsRefusal(AcceptTcpConnections(
                    collection(), 0,
                    [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
                    {.backlog = -1, .handle_name = "queue"}),
                absl::StatusCode::kInvalidArgument,
                {"AcceptTcpConnections", "queue", "backlog"}));
  EXPECT_EQ(collection().size(), 0u);
}

// ---- Overlaps.

TEST_P(BadInputTest, OverlapWithoutQueueNamesTheOperationInProgress) {
  Channel channel = MakeChannel({.name = "single"});
  Recorder read(*this, "read");
  Recorder write(*this, "write");
  const std::string data = Pattern(2'000'000);
  ASSERT_OK(channel.state->ReceiveMessage(buffer_, read.Callback()));
  ASSERT_OK(channel.state->WriteBuffer(data, write.Callback()));
  for (const NamedStart& start : Starts()) {
    Recorder none(*this, "none");
    EXPECT_TRUE(
        IsRefusal(start.start(*channel.state, none.Callback(), std::nullopt),
                  absl::StatusCode::kFailedPrecondition,
                  {"single", start.name,
                   start.is_input ? "ReceiveMessage is in progress"
                                  : "WriteBuffer is in progress"}));
  }
  channel.peer->Send("both go on");
  ASSERT_TRUE(RunUntil(read));
  EXPECT_TRUE(ReadFromPeer(*channel.peer, data.size()).bytes == data);
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kOk);
}

TEST_P(BadInputTest, OverlapWithQueueConcernsOutputAlone) {
  Channel channel = MakeChannel({.name = "queue", .queue_output = true});
  Recorder read(*this, "read");
  Recorder writes(*this, "writes", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadBuffer(buffer_, read.Callback()));
  for (const NamedStart& start : Starts()) {
    if (start.is_input) {
      Recorder none(*this, "none");
      EXPECT_TRUE(
          IsRefusal(start.start(*channel.state, none.Callback(), std::nullopt),
                    absl::StatusCode::kFailedPrecondition,
                    {"queue", start.name, "ReadBuffer is in progress"}));
    } else {
      EXPECT_OK(start.start(*channel.state, writes.Callback(), std::nullopt));
    }
  }
  EXPECT_TRUE(RunUntil([&] { return writes.calls().size() == 2; }));
  EXPECT_EQ(channel.peer->ReceiveExactly(8), "datadata");
}

// ---- Operations on states in the wrong condition.

TEST_P(BadInputTest, OperationsOnAClosedState) {
  Channel channel = MakeChannel({.name = "gone"});
  AsyncIoState& state = *channel.state;
  state.Close();
  for (const NamedStart& start : Starts()) {
    Recorder none(*this, "none");
    EXPECT_TRUE(IsRefusal(start.start(state, none.Callback(), std::nullopt),
                          absl::StatusCode::kFailedPrecondition,
                          {"gone", start.name, "closed"}));
  }
  Recorder none(*this, "none");
  auto expect = [](const absl::Status& status, std::string call) {
    EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kFailedPrecondition,
                          {"gone", call, "closed"}));
  };
  expect(state.SendMessageToAddress(world().peer_ip(Family::kIpv4), 9, "x",
                                    none.Callback()),
         "SendMessageToAddress");
  expect(state.SendMessageToAddress(SocketAddress(), "x", none.Callback()),
         "SendMessageToAddress");
  expect(state.Abort(none.Callback()), "Abort");
  expect(state.AbortAndClose({.close_callback = none.CloseCallback()}),
         "AbortAndClose");
  expect(state.Shutdown(Direction::kIo).status(), "Shutdown");
  expect(state.Reply("data"), "Reply");
  EXPECT_FALSE(state.Discard(0).ok());
  EXPECT_FALSE(state.Finish().ok());
  EXPECT_EQ(state.Close(), 0u);
  EXPECT_EQ(state.GetBufferedData(buffer_).value(), 0u);
  // The attributes can still be used.
  state.set_name("renamed");
  EXPECT_EQ(state.name(), "renamed");
  EXPECT_OK(state.set_read_timeout(absl::Seconds(1)));
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(none.called());
  EXPECT_EQ(none.callbacks_alive(), 0);
}

// What a reply may get wrong inside the callback is in reply_test.cc.
TEST_P(BadInputTest, RepliesOutsideOfTheCallback) {
  Channel channel = MakeChannel({.name = "unasked"});
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "datagrams");
  for (AsyncIoState* state : {channel.state.get(), udp.get()}) {
    for (std::string_view data : {"data", ""}) {
      EXPECT_TRUE(IsRefusal(
          state->Reply(data), absl::StatusCode::kFailedPrecondition,
          {state->name(), "Reply refused: only the callback of a ",
           state == udp.get() ? "ReceiveMessages" : "ReadWithChecking",
           " that goes on may call it"}));
    }
  }
  Recorder read(*this, "read", Recorder::kRepeating);
  ASSERT_OK(channel.state->ReadWithChecking(
      read.Callback([](AsyncIoState& state, const IoResult& result) {
        EXPECT_TRUE(IsRefusal(state.Reply(result.data.substr(0, 0)),
                              absl::StatusCode::kInvalidArgument,
                              {"unasked", "Reply refused"}));
        EXPECT_OK(state.Finish(result.count));
      })));
  EXPECT_FALSE(channel.state->Reply("in progress, and not called").ok());
  channel.peer->Send("?");
  ASSERT_TRUE(RunUntil(read));
  ExpectIntact(channel);
}

TEST_P(BadInputTest, OperationsOnAConnectingState) {
  AIOS_NEEDS_SILENT_ADDRESS(world());
  SocketAddress silent = world().SilentAddress(Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(collection(), silent.ip(), silent.port(), connect.Callback(),
                 {.name = "underway", .queue_output = true});
  ASSERT_OK(state);
  for (const NamedStart& start : Starts()) {
    Recorder none(*this, "none");
    EXPECT_TRUE(
        IsRefusal(start.start(**state, none.Callback(), std::nullopt),
                  absl::StatusCode::kFailedPrecondition,
                  {"underway", start.name, "not connected yet", "ConnectTcp"}));
    EXPECT_EQ(none.callbacks_alive(), 0);
  }
  EXPECT_TRUE(IsRefusal((*state)->Shutdown(Direction::kOutput),
                        absl::StatusCode::kFailedPrecondition,
                        {"underway", "Shutdown", "not connected"}));
  EXPECT_TRUE((*state)->connecting()) << "undisturbed";
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(connect.called());
}

TEST_P(BadInputTest, RefusedOperationsDoNotDisturbAConnectThatSucceeds) {
  std::unique_ptr<TcpListenerPeer> listener = world().Listen(Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(collection(), listener->address().ip(),
                 listener->address().port(), connect.Callback());
  ASSERT_OK(state);
  Recorder none(*this, "none");
  EXPECT_FALSE((*state)->WriteBuffer("x", none.Callback()).ok());
  ASSERT_TRUE(RunUntil(connect));
  Channel channel{.state = *std::move(state), .peer = listener->Accept()};
  ExpectIntact(channel);
}

TEST_P(BadInputTest, OperationsOnAStateWhoseConnectFailed) {
  SocketAddress refusing =
      world().RefusingAddress(SocketType::kStream, Family::kIpv4);
  Recorder connect(*this, "connect");
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      ConnectTcp(collection(), refusing.ip(), refusing.port(),
                 connect.Callback(), {.name = "refused"});
  ASSERT_OK(state);
  ASSERT_TRUE(RunUntil(connect));
  for (const NamedStart& start : Starts()) {
    Recorder none(*this, "none");
    EXPECT_TRUE(IsRefusal(start.start(**state, none.Callback(), std::nullopt),
                          absl::StatusCode::kFailedPrecondition,
                          {"refused", start.name, "not connected"}));
  }
  EXPECT_TRUE(IsRefusal((*state)->Shutdown(Direction::kOutput),
                        absl::StatusCode::kFailedPrecondition,
                        {"refused", "Shutdown", "not connected"}));
  // Ending it is in order in every way.
  Recorder abort(*this, "abort");
  Recorder close(*this, "close");
  EXPECT_OK((*state)->Abort(abort.Callback(), Direction::kIo));
  EXPECT_OK((*state)->AbortAndClose({.close_callback = close.CloseCallback()}));
  ASSERT_TRUE(RunUntil(close));
  EXPECT_FALSE(abort.last().interrupted);
}

TEST_P(BadInputTest, OperationsOnAStreamThatWasNeverConnected) {
  // The promise was the caller's; the kernel's answer comes to the callbacks.
  Handle handle = world().RawSocket(SocketType::kStream, Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(collection(), handle);
  ASSERT_OK(state);
  EXPECT_EQ((*state)->peer_address(), std::nullopt);
  Recorder write(*this, "write");
  ASSERT_OK((*state)->WriteBuffer("x", write.Callback()));
  ASSERT_TRUE(RunUntil(write));
  EXPECT_EQ(write.last().status, IoStatus::kError);
  EXPECT_TRUE(write.last().error == Error(EPIPE) ||
              write.last().error == Error(ENOTCONN))
      << write.last().error.Name();
  Recorder read(*this, "read");
  ASSERT_OK((*state)->ReadBuffer(buffer_, read.Callback()));
  ASSERT_TRUE(RunUntil(read));
  EXPECT_EQ(read.last().status, IoStatus::kError);
  EXPECT_EQ(read.last().error, Error(ENOTCONN));
}

// ---- Hosts and services.

TEST_P(BadInputTest, MalformedAddresses) {
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "lost");
  Recorder none(*this, "none");
  auto ignore = [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {};
  for (std::string host :
       {"", " ", "256.0.0.1", "127.1", "1.2.3.4.5", "0x7f.0.0.1", "01.2.3.4",
        "127.0.0.1 ", "::1::", "fe80::1%", "[::1]", ":", "a..b", "-\xff",
        "127.0.0.1:80"}) {
    SCOPED_TRACE(host);
    auto expect = [](const absl::Status& status, std::string call) {
      EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kInvalidArgument,
                            {call, "lost"}));
    };
    expect(ConnectTcp(collection(), host, 80, none.Callback(), {.name = "lost"})
               .status(),
           "ConnectTcp");
    expect(ConnectUdp(collection(), host, 80, {.name = "lost"}).status(),
           "ConnectUdp");
    expect(udp->SendMessageToAddress(host, 80, "x", none.Callback()),
           "SendMessageToAddress");
    expect(
        OpenUdp(collection(), {.name = "lost", .local_address = HostSpec(host)})
            .status(),
        "OpenUdp");
    expect(
        AcceptTcpConnections(collection(), 0, ignore,
                             {.address = HostSpec(host), .handle_name = "lost"})
            .status(),
        "AcceptTcpConnections");
  }
  EXPECT_EQ(collection().size(), 1u);
}

TEST_P(BadInputTest, PortsOutOfRange) {
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "harbour");
  const IpAddress ip = world().peer_ip(Family::kIpv4);
  Recorder none(*this, "none");
  auto ignore = [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {};
  const std::string huge = "99999999999999999999";
  const std::vector<Service> services = {
      -1,
      65536,
      std::numeric_limits<int64_t>::max(),
      "65536",
      "-1",
      "",
      " 80",
      "80 ",
      "80,81",
      huge,
      uint64_t{1} << 63,
      int64_t{1} << 32,  // 0 when cut down
  };
  for (const Service& service : services) {
    SCOPED_TRACE(service.ToString());
    auto expect = [](const absl::Status& status, std::string call) {
      EXPECT_TRUE(IsRefusal(status, absl::StatusCode::kInvalidArgument,
                            {call, "harbour"}));
    };
    expect(ConnectTcp(collection(), ip, service, none.Callback(),
                      {.name = "harbour"})
               .status(),
           "ConnectTcp");
    expect(ConnectTcp(collection(), ip, 80, none.Callback(),
                      {.local_port = service, .name = "harbour"})
               .status(),
           "ConnectTcp");
    expect(ConnectUdp(collection(), ip, service, {.name = "harbour"}).status(),
           "ConnectUdp");
    expect(OpenUdp(collection(), {.name = "harbour", .local_port = service})
               .status(),
           "OpenUdp");
    expect(udp->SendMessageToAddress(ip, service, "x", none.Callback()),
           "SendMessageToAddress");
    expect(AcceptTcpConnections(collection(), service, ignore,
                                {.handle_name = "harbour"})
               .status(),
           "AcceptTcpConnections");
  }
  EXPECT_EQ(collection().size(), 1u);
  EXPECT_EQ(none.callbacks_alive(), 0);
}

TEST_P(BadInputTest, BusyPortsNameTheAddress) {
  for (Family family : Families()) {
    Handle busy = world().RawListener(family);
    SocketAddress address;
    ASSERT_TRUE(kernel().LocalAddress(busy, &address).ok());
    EXPECT_TRUE(IsRefusal(
        AcceptTcpConnections(
            collection(), address.port(),
            [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
            {.address = address.ip(), .handle_name = "second"}),
        Error(EADDRINUSE).ToStatus().code(),
        {"AcceptTcpConnections", "second", "EADDRINUSE", address.ToString()}));
    world().DirectClose(busy);
  }
}

TEST_P(BadInputTest, AddressesOfTheOtherFamily) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  const IpAddress v4 = world().peer_ip(Family::kIpv4);
  const IpAddress v6 = world().peer_ip(Family::kIpv6);
  auto ignore = [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {};
  std::unique_ptr<AsyncIoState> udp = MakeUdp(Family::kIpv4, "torn");
  Recorder none(*this, "none");
  auto expect = [](const absl::Status& status, std::string call) {
    EXPECT_TRUE(
        IsRefusal(status, absl::StatusCode::kInvalidArgument, {call, "torn"}));
  };
  expect(udp->SendMessageToAddress(v6, 9, "x", none.Callback()),
         "SendMessageToAddress");
  expect(udp->SendMessageToAddress(SocketAddress(v6, 9), "x", none.Callback()),
         "SendMessageToAddress");
  expect(ConnectTcp(collection(), v4, 9, none.Callback(),
                    {.local_address = v6, .name = "torn"})
             .status(),
         "ConnectTcp");
  expect(ConnectUdp(collection(), v6, 9, {.name = "torn", .ipv6 = Ipv6::kNo})
             .status(),
         "ConnectUdp");
  expect(ConnectUdp(collection(), v4, 9, {.name = "torn", .ipv6 = Ipv6::kYes})
             .status(),
         "ConnectUdp");
  expect(ConnectUdp(collection(), v6, 9, {.name = "torn", .ipv6 = Ipv6::kBoth})
             .status(),
         "ConnectUdp");
  expect(OpenUdp(collection(),
                 {.name = "torn", .ipv6 = Ipv6::kNo, .local_address = v6})
             .status(),
         "OpenUdp");
  expect(AcceptTcpConnections(
             collection(), 0, ignore,
             {.address = v6, .ipv6 = Ipv6::kNo, .handle_name = "torn"})
             .status(),
         "AcceptTcpConnections");
  EXPECT_EQ(collection().size(), 1u);
}

TEST_P(BadInputTest, CollectionWithoutHandles) {
  std::unique_ptr<HandleShortage> shortage = world().LimitHandles(0);
  EXPECT_TRUE(IsRefusal(MakeWaitStateCollection(kernel(), {.name = "poor"}),
                        absl::StatusCode::kResourceExhausted,
                        {"poor", "EMFILE"}));
  EXPECT_TRUE(IsRefusal(OpenUdp(collection(), {.name = "poor"}),
                        absl::StatusCode::kResourceExhausted,
                        {"OpenUdp", "EMFILE"}));
  EXPECT_TRUE(
      IsRefusal(AcceptTcpConnections(
                    collection(), 0,
                    [](AcceptingHandle&, std::unique_ptr<AsyncIoState>) {},
                    {.handle_name = "poor"}),
                absl::StatusCode::kResourceExhausted,
                {"AcceptTcpConnections", "poor", "EMFILE"}));
}

TEST_P(BadInputTest, MessagesAboutWhatHasNoNameReadWell) {
  auto message = [](const auto& status) {
    return std::string(status.status().message());
  };
  EXPECT_EQ(
      message(AcceptTcpConnections(collection(), 0, ConnectionFunction())),
      "AcceptTcpConnections refused: the function is empty");
  EXPECT_EQ(message(AcceptTcpConnections(collection(), 0, ConnectionFunction(),
                                         {.handle_name = "door"})),
            "AcceptTcpConnections \"door\" refused: the function is empty");
  EXPECT_EQ(message(ConnectTcp(collection(), "127.0.0.1", 80, nullptr)),
            "ConnectTcp refused: the callback is empty");
  EXPECT_TRUE(
      message(OpenUdp(collection(), {.read_timeout = -absl::Seconds(1)}))
          .starts_with("OpenUdp refused: "));
}

TEST_P(BadInputTest, ARefusedCallDestroysItsCallbackWithoutCallingIt) {
  Channel channel = MakeChannel();
  Recorder first(*this, "first");
  Recorder refused(*this, "refused");
  char buffer[4];
  ASSERT_OK(channel.state->ReadBuffer(buffer, first.Callback()));
  EXPECT_TRUE(IsRefusal(
      channel.state->ReadBuffer(buffer, refused.Callback(),
                                {.error_callback = refused.ErrorCallback()}),
      absl::StatusCode::kFailedPrecondition, {"ReadBuffer"}));
  EXPECT_EQ(refused.callbacks_alive(), 0);
  EXPECT_EQ(first.callbacks_alive(), 1);
  RunFor(absl::Milliseconds(1));
  EXPECT_FALSE(refused.called());
}

}  // namespace
}  // namespace aios::test
