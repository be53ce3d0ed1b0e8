// Conformance of `ReceiveMessages`, and of `Reply` in its callbacks.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/conformance/conformance_test.h"
#include "tests/support/fault_kernel.h"

namespace aios::test {
namespace {

class ReceiveMessagesTest : public ConformanceTest {
 protected:
  // A connected state and its peer.
  struct Link {
    std::unique_ptr<AsyncIoState> state;
    std::unique_ptr<UdpPeer> peer;
  };
  Link MakeLink(Family family = Family::kIpv4) {
    Link link{.state = nullptr, .peer = world().Udp(family)};
    absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
        ConnectUdp(collection(), link.peer->address().ip(),
                   link.peer->address().port(), {.name = "connected"});
    if (state.ok()) {
      link.state = *std::move(state);
    } else {
      ADD_FAILURE() << state.status().ToString();
    }
    return link;
  }

  Call ReceiveOne(AsyncIoState& state) {
    std::string buffer(100, '\0');
    Recorder receive(*this, "receive");
    EXPECT_OK(state.ReceiveMessage(buffer, receive.Callback(),
                                   {.needs_address = true}));
    EXPECT_TRUE(RunUntil(receive));
    return receive.last();
  }
};

INSTANTIATE_TEST_SUITE_P(All, ReceiveMessagesTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(ReceiveMessagesTest, GivesDatagramsOfEveryLengthWithTheirSenders) {
  for (Family family : Families()) {
    std::unique_ptr<AsyncIoState> state = MakeUdp(family);
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    std::unique_ptr<UdpPeer> other = world().Udp(family);
    Recorder receive(*this, "receive", Recorder::kRepeating);
    ASSERT_OK(state->ReceiveMessages(receive.Callback()));
    size_t expected = 0;
    for (size_t size : {5, 0, 1472, 60'000, 0, 1}) {
      for (UdpPeer* sender : {peer.get(), other.get()}) {
        const std::string payload = Pattern(size);
        EXPECT_TRUE(sender->SendTo(*state->address(), payload).ok());
        ++expected;
        ASSERT_TRUE(
            RunUntil([&] { return receive.calls().size() == expected; }));
        EXPECT_EQ(receive.last().status, IoStatus::kOk);
        EXPECT_TRUE(receive.last().data == payload) << size;
        EXPECT_EQ(receive.last().count, size);
        EXPECT_FALSE(receive.last().truncated);
        EXPECT_EQ(receive.last().sender, sender->address());
      }
    }
  }
}

TEST_P(ReceiveMessagesTest, RepliesGoToTheSender) {
  for (Family family : Families()) {
    std::unique_ptr<AsyncIoState> state = MakeUdp(family);
    std::unique_ptr<UdpPeer> peers[] = {world().Udp(family),
                                        world().Udp(family)};
    ASSERT_OK(
        state->ReceiveMessages([](AsyncIoState& state, const IoResult& result) {
          ASSERT_TRUE(result.ok());
          EXPECT_OK(state.Reply(result.data));
          EXPECT_OK(state.Reply(""));
          EXPECT_OK(state.Reply("and more"));
        }));
    for (int i = 0; i < 3; ++i) {
      for (std::unique_ptr<UdpPeer>& peer : peers) {
        const std::string payload = absl::StrCat("datagram ", i);
        EXPECT_TRUE(peer->SendTo(*state->address(), payload).ok());
        for (std::string_view reply :
             {std::string_view(payload), std::string_view(""),
              std::string_view("and more")}) {
          std::optional<PeerDatagram> got;
          ASSERT_TRUE(
              RunUntil([&] { return (got = peer->TryReceive()).has_value(); },
                       absl::Milliseconds(1)));
          EXPECT_EQ(got->payload, reply);
          EXPECT_EQ(got->sender, *state->address());
        }
      }
    }
    EXPECT_EQ(state->write_status(), IoStatus::kOk);
    EXPECT_EQ(state->output_queue_length(), 0u);
  }
}

// For one that comes alone, and for a burst.
TEST_P(ReceiveMessagesTest, ReplyIsNotNeededWhenTheCallHasReturned) {
  std::unique_ptr<AsyncIoState> state = MakeUdp(Family::kIpv4);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  ASSERT_OK(
      state->ReceiveMessages([](AsyncIoState& state, const IoResult& result) {
        ASSERT_TRUE(result.ok());
        for (size_t size : {10, 9000, 1000}) {
          std::string answer = std::string(result.data) + Pattern(size);
          EXPECT_OK(state.Reply(answer));
          std::fill(answer.begin(), answer.end(), 'x');
        }
      }));
  for (int count : {1, 1, 1, 4, 4, 4}) {
    for (int i = 0; i < count; ++i) {
      EXPECT_TRUE(
          peer->SendTo(*state->address(), absl::StrCat("no. ", i, " ")).ok());
    }
    for (int i = 0; i < count; ++i) {
      for (size_t size : {10, 9000, 1000}) {
        std::optional<PeerDatagram> got;
        ASSERT_TRUE(
            RunUntil([&] { return (got = peer->TryReceive()).has_value(); },
                     absl::Milliseconds(1)));
        EXPECT_TRUE(got->payload == absl::StrCat("no. ", i, " ", Pattern(size)))
            << i << " " << size;
      }
    }
  }
}

TEST_P(ReceiveMessagesTest, RepliesOfAConnectedSocketGoToThePeer) {
  for (Family family : Families()) {
    Link link = MakeLink(family);
    ASSERT_OK(link.state->ReceiveMessages(
        [&](AsyncIoState& state, const IoResult& result) {
          ASSERT_TRUE(result.ok());
          ASSERT_NE(result.sender, nullptr);
          EXPECT_EQ(*result.sender, link.peer->address());
          EXPECT_OK(state.Reply(result.data));
        }));
    for (std::string_view payload : {"one", "", "three"}) {
      EXPECT_TRUE(link.peer->SendTo(*link.state->address(), payload).ok());
      std::optional<PeerDatagram> got;
      ASSERT_TRUE(
          RunUntil([&] { return (got = link.peer->TryReceive()).has_value(); },
                   absl::Milliseconds(1)));
      EXPECT_EQ(got->payload, payload);
    }
  }
}

TEST_P(ReceiveMessagesTest, OneSocketForBothFamiliesAnswersBoth) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made = OpenUdp(
      collection(), {.name = "both", .ipv6 = Ipv6::kBoth, .local_port = 0});
  ASSERT_OK(made);
  ASSERT_OK(
      (*made)->ReceiveMessages([](AsyncIoState& state, const IoResult& result) {
        ASSERT_TRUE(result.ok());
        EXPECT_OK(state.Reply(result.data));
      }));
  const uint16_t port = (*made)->address()->port();
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    std::unique_ptr<UdpPeer> peer = world().Udp(family);
    EXPECT_TRUE(peer->SendTo({world().host_ip(family), port}, "hello").ok());
    std::optional<PeerDatagram> got;
    ASSERT_TRUE(RunUntil([&] { return (got = peer->TryReceive()).has_value(); },
                         absl::Milliseconds(1)));
    EXPECT_EQ(got->payload, "hello");
  }
}

TEST_P(ReceiveMessagesTest, FinishEndsIt) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder receive(*this, "receive", Recorder::kRepeating);
  ASSERT_OK(state->ReceiveMessages(
      receive.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_OK(state.Reply("before"));
        absl::StatusOr<size_t> left = state.Discard(0);
        ASSERT_OK(left);
        EXPECT_EQ(*left, 0u);
        left = state.Finish();
        ASSERT_OK(left);
        EXPECT_EQ(*left, 0u);
        EXPECT_EQ(result.data, "x") << "it stays until the callback returns";
        EXPECT_TRUE(IsRefusal(state.Reply("after"),
                              absl::StatusCode::kFailedPrecondition,
                              {"udp", "Reply", "ReceiveMessages"}));
        EXPECT_TRUE(IsRefusal(state.Finish(),
                              absl::StatusCode::kFailedPrecondition,
                              {"udp", "Finish", "ReceiveMessages"}));
      })));
  EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.callbacks_alive(), 0);
  EXPECT_EQ(peer->Receive().payload, "before");
  EXPECT_TRUE(peer->SendTo(*state->address(), "y").ok());
  RunFor();
  EXPECT_EQ(receive.calls().size(), 1u);
  EXPECT_EQ(ReceiveOne(*state).data, "y");
}

TEST_P(ReceiveMessagesTest, ItsCallbackMayStartAnotherInputOperation) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  char buffer[8];
  Recorder first(*this, "first");
  Recorder second(*this, "second");
  Recorder third(*this, "third");
  ASSERT_OK(state->ReceiveMessages(
      first.Callback([&](AsyncIoState& state, const IoResult&) {
        Recorder none(*this, "none");
        EXPECT_TRUE(IsRefusal(state.ReceiveMessages(none.Callback()),
                              absl::StatusCode::kFailedPrecondition,
                              {"udp", "ReceiveMessages", "in progress"}));
        EXPECT_OK(state.Finish());
        ASSERT_OK(state.ReceiveMessages(
            second.Callback([&](AsyncIoState& state, const IoResult&) {
              EXPECT_OK(state.Finish());
              ASSERT_OK(state.ReceiveMessage(buffer, third.Callback()));
            })));
      })));
  for (std::string_view payload : {"one", "two", "three"}) {
    EXPECT_TRUE(peer->SendTo(*state->address(), payload).ok());
  }
  ASSERT_TRUE(RunUntil(third));
  EXPECT_EQ(first.last().data, "one");
  EXPECT_EQ(second.last().data, "two");
  EXPECT_EQ(third.last().data, "three");
}

TEST_P(ReceiveMessagesTest, TheTimeoutIsOneOfIdleness) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  constexpr absl::Duration kTimeout = absl::Milliseconds(40);
  Recorder receive(*this, "receive", Recorder::kRepeating);
  ASSERT_OK(state->ReceiveMessages(receive.Callback(),
                                   {.timeout = kTimeout,
                                    .error_callback = receive.ErrorCallback(),
                                    .user_info = std::string("mine")}));
  EXPECT_EQ(state->read_timeout(), kTimeout);
  // Together they take longer than the timeout.
  for (size_t i = 0; i < 10; ++i) {
    RunFor(kTimeout / 8);
    EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
    ASSERT_TRUE(RunUntil([&] { return receive.calls().size() > i; }));
    ASSERT_EQ(receive.last().status, IoStatus::kOk);
    EXPECT_EQ(receive.last().user_info, "mine");
  }
  Nanoseconds last = receive.last().time;
  ASSERT_TRUE(RunUntil([&] { return receive.calls().size() == 11; }));
  EXPECT_EQ(receive.last().status, IoStatus::kTimeout);
  EXPECT_EQ(receive.last().callback, "callback");
  EXPECT_EQ(receive.last().count, 0u);
  EXPECT_EQ(receive.last().sender, std::nullopt);
  EXPECT_GE(absl::Nanoseconds(receive.last().time - last), kTimeout);
  EXPECT_EQ(receive.callbacks_alive(), 0);
  EXPECT_EQ(state->read_status(), IoStatus::kTimeout);
}

TEST_P(ReceiveMessagesTest, ATimeoutOfZeroTakesWhatIsThere) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  for (std::string_view payload : {"one", "two"}) {
    EXPECT_TRUE(peer->SendTo(*state->address(), payload).ok());
  }
  RunFor(absl::Milliseconds(1));
  Recorder receive(*this, "receive", Recorder::kRepeating);
  ASSERT_OK(state->ReceiveMessages(receive.Callback(),
                                   {.timeout = absl::ZeroDuration()}));
  ASSERT_TRUE(RunUntil([&] { return receive.calls().size() == 3; }));
  EXPECT_EQ(receive.calls()[0].data, "one");
  EXPECT_EQ(receive.calls()[1].data, "two");
  EXPECT_EQ(receive.calls()[2].status, IoStatus::kTimeout);
}

TEST_P(ReceiveMessagesTest, AnErrorOfTheSocketEndsItAndIsThenForgotten) {
  SocketAddress target =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
      ConnectUdp(collection(), target.ip(), target.port());
  ASSERT_OK(made);
  AsyncIoState& state = **made;
  for (bool with_error_callback : {false, true}) {
    Recorder receive(*this, "receive");
    Recorder send(*this, "send");
    ReceiveMessagesOptions options;
    if (with_error_callback) options.error_callback = receive.ErrorCallback();
    auto last = [&](AsyncIoState& state, const IoResult&) {
      EXPECT_TRUE(IsRefusal(state.Reply("x"),
                            absl::StatusCode::kFailedPrecondition, {"Reply"}))
          << "to whom?";
    };
    ASSERT_OK(
        state.ReceiveMessages(receive.Callback(last), std::move(options)));
    ASSERT_OK(state.SendMessage("anyone?", send.Callback()));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().callback,
              with_error_callback ? "error_callback" : "callback");
    EXPECT_EQ(receive.last().status, IoStatus::kError);
    EXPECT_EQ(receive.last().error, Error(ECONNREFUSED));
    EXPECT_EQ(receive.callbacks_alive(), 0);
    EXPECT_EQ(state.read_status(), IoStatus::kError);
  }
  Recorder next(*this, "next");
  ASSERT_OK(state.ReceiveMessages(next.Callback(),
                                  {.timeout = absl::Milliseconds(2)}));
  EXPECT_EQ(state.read_status(), IoStatus::kOk);
  ASSERT_TRUE(RunUntil(next));
  EXPECT_EQ(next.last().status, IoStatus::kTimeout);
}

TEST_P(ReceiveMessagesTest, ShutdownOfInputEndsItWithAnEof) {
  Link link = MakeLink();
  Recorder receive(*this, "receive");
  ASSERT_OK(link.state->ReceiveMessages(receive.Callback()));
  RunFor(absl::Milliseconds(1));
  absl::StatusOr<bool> shut = link.state->Shutdown(Direction::kInput);
  ASSERT_OK(shut);
  EXPECT_TRUE(*shut);
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.last().status, IoStatus::kEof);
  Recorder again(*this, "again");
  ASSERT_OK(link.state->ReceiveMessages(again.Callback()));
  ASSERT_TRUE(RunUntil(again));
  EXPECT_EQ(again.last().status, IoStatus::kEof);
}

TEST_P(ReceiveMessagesTest, AnAbortTakesNoDatagram) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder receive(*this, "receive");
  Recorder abort(*this, "abort");
  ASSERT_OK(state->ReceiveMessages(receive.Callback()));
  RunFor(absl::Milliseconds(1));
  ASSERT_OK(state->Abort(abort.Callback()));
  EXPECT_TRUE(peer->SendTo(*state->address(), "kept").ok());
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().status, IoStatus::kAborted);
  EXPECT_EQ(abort.last().count, 0u);
  EXPECT_EQ(abort.last().data, "");
  EXPECT_FALSE(receive.called());
  EXPECT_EQ(ReceiveOne(*state).data, "kept");
}

TEST_P(ReceiveMessagesTest, IsRefusedWhereItCannotBe) {
  constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
  constexpr absl::StatusCode kFailed = absl::StatusCode::kFailedPrecondition;
  std::unique_ptr<AsyncIoState> state = MakeUdp(Family::kIpv4, "open");
  Channel channel = MakeChannel({.name = "stream"});
  Recorder none(*this, "none");
  EXPECT_TRUE(
      IsRefusal(channel.state->ReceiveMessages(none.Callback()), kInvalid,
                {"stream", "ReceiveMessages", "TCP", "use ReadWithChecking"}));
  EXPECT_TRUE(IsRefusal(state->ReadWithChecking(none.Callback()), kInvalid,
                        {"open", "ReadWithChecking", "use ReceiveMessages"}));
  EXPECT_TRUE(IsRefusal(state->ReceiveMessages(nullptr), kInvalid,
                        {"open", "ReceiveMessages", "callback is empty"}));
  EXPECT_TRUE(IsRefusal(
      state->ReceiveMessages(none.Callback(),
                             {.timeout = -absl::Seconds(1), .user_info = 1}),
      kInvalid, {"open", "ReceiveMessages", "negative"}));
  EXPECT_FALSE(state->user_info().has_value()) << "nothing was changed";
  EXPECT_TRUE(IsRefusal(state->Reply("x"), kFailed,
                        {"open", "Reply", "ReceiveMessages"}));
  char buffer[8];
  Recorder first(*this, "first");
  ASSERT_OK(state->ReceiveMessage(buffer, first.Callback()));
  EXPECT_TRUE(
      IsRefusal(state->ReceiveMessages(none.Callback()), kFailed,
                {"open", "ReceiveMessages", "ReceiveMessage is in progress"}));
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
  ASSERT_TRUE(RunUntil(first));
  Recorder second(*this, "second");
  ASSERT_OK(state->ReceiveMessages(
      second.Callback([](AsyncIoState& state, const IoResult& result) {
        EXPECT_TRUE(IsRefusal(state.Discard(1), kInvalid,
                              {"open", "Discard", "1 bytes", "0 are there"}));
        EXPECT_TRUE(IsRefusal(state.Finish(1), kInvalid, {"open", "Finish"}));
        EXPECT_EQ(result.data, "y");
      })));
  EXPECT_TRUE(
      IsRefusal(state->ReceiveMessage(buffer, none.Callback()), kFailed,
                {"open", "ReceiveMessage", "ReceiveMessages is in progress"}));
  EXPECT_TRUE(peer->SendTo(*state->address(), "y").ok());
  ASSERT_TRUE(RunUntil(second));
  state->Close();
  EXPECT_TRUE(IsRefusal(state->ReceiveMessages(none.Callback()), kFailed,
                        {"open", "ReceiveMessages", "closed"}));
  EXPECT_EQ(none.callbacks_alive(), 0);
}

TEST_P(ReceiveMessagesTest, RepliesAndOtherSendsKeepTheirOrder) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder sends(*this, "sends", Recorder::kRepeating);
  int received = 0;
  ASSERT_OK(state->ReceiveMessages([&](AsyncIoState& state,
                                       const IoResult& result) {
    ++received;
    EXPECT_OK(state.Reply("1"));
    EXPECT_OK(
        state.SendMessageToAddress(*result.sender, "2", sends.Callback()));
    EXPECT_OK(state.Reply("3"));
    EXPECT_OK(state.SendMessageToAddress(*result.sender, "4", sends.Callback(),
                                         {.timeout = absl::Seconds(30)}));
    EXPECT_OK(state.Reply("5"));
  }));
  constexpr int kDatagrams = 6;
  for (int i = 0; i < kDatagrams; ++i) {
    EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
  }
  ASSERT_TRUE(RunUntil([&] {
    return received == kDatagrams && state->output_queue_length() == 0;
  }));
  for (int i = 0; i < kDatagrams; ++i) {
    for (const char* expected : {"1", "2", "3", "4", "5"}) {
      ASSERT_EQ(peer->Receive().payload, expected) << i;
    }
  }
  EXPECT_EQ(sends.calls().size(), 2u * kDatagrams);
}

TEST_P(ReceiveMessagesTest, CloseSendsTheReplyBehindASendWhoseCallbackIsDue) {
  FaultKernel faults(kernel());
  RemakeCollection({}, &faults);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder send(*this, "send");
  ASSERT_OK(state->ReceiveMessages([](AsyncIoState& state, const IoResult&) {
    EXPECT_OK(state.Reply("reply"));
    state.Close();
  }));
  EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
  Pass(absl::Milliseconds(1));
  // It is sent in the turn that receives, in which callbacks come last.
  faults.FailNth(KernelCall::kSendDatagrams, 1, Error(EAGAIN));
  ASSERT_OK(
      state->SendMessageToAddress(peer->address(), "send", send.Callback()));
  ASSERT_OK(collection().Apply([] {}));
  ASSERT_TRUE(RunUntil([&] { return state->closed(); }));
  EXPECT_EQ(peer->Receive().payload, "send");
  EXPECT_EQ(peer->Receive().payload, "reply");
}

TEST_P(ReceiveMessagesTest, AReplyIsRefusedBehindAWriteWithoutAQueue) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
      OpenUdp(collection(), {.name = "narrow",
                             .queue_output = false,
                             .local_address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(made);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  Recorder receive(*this, "receive", Recorder::kRepeating);
  Recorder send(*this, "send");
  ASSERT_OK((*made)->ReceiveMessages(
      receive.Callback([&](AsyncIoState& state, const IoResult& result) {
        EXPECT_OK(state.Reply("first"));
        EXPECT_OK(state.Reply("second"));
        ASSERT_OK(state.SendMessageToAddress(*result.sender, "third",
                                             send.Callback()));
        EXPECT_TRUE(IsRefusal(state.Reply("fourth"),
                              absl::StatusCode::kFailedPrecondition,
                              {"narrow", "Reply", "SendMessageToAddress"}));
      })));
  EXPECT_TRUE(peer->SendTo(*(*made)->address(), "x").ok());
  ASSERT_TRUE(RunUntil(send));
  for (const char* expected : {"first", "second", "third"}) {
    EXPECT_EQ(peer->Receive().payload, expected);
  }
}

TEST_P(ReceiveMessagesTest, AReplyThatFailsIsLostAlone) {
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  // Longer than a datagram by a little, and by more than any can be.
  for (size_t size : {65'530, 70'000}) {
    const std::string huge(size, 'x');
    for (bool huge_last : {false, true}) {
      Recorder receive(*this, "receive", Recorder::kRepeating);
      ASSERT_OK(state->ReceiveMessages(
          receive.Callback([&](AsyncIoState& state, const IoResult& result) {
            ASSERT_TRUE(result.ok());
            EXPECT_OK(state.Reply("before"));
            EXPECT_OK(state.Reply(huge));
            if (!huge_last) {
              EXPECT_OK(state.Reply("after"));
            }
            EXPECT_OK(state.Finish());
          })));
      EXPECT_TRUE(peer->SendTo(*state->address(), "x").ok());
      ASSERT_TRUE(RunUntil(receive));
      EXPECT_EQ(peer->Receive().payload, "before");
      if (huge_last) {
        EXPECT_EQ(state->write_status(), IoStatus::kError);
        EXPECT_EQ(state->write_error(), Error(EMSGSIZE));
      } else {
        EXPECT_EQ(peer->Receive().payload, "after");
        EXPECT_EQ(state->write_status(), IoStatus::kOk);
        EXPECT_EQ(state->write_error(), Error());
      }
      EXPECT_EQ(state->read_status(), IoStatus::kOk);
    }
  }
}

// ---- What comes together.

// A receiver of numbered datagrams.
class MessageBurstsTest : public ReceiveMessagesTest {
 protected:
  static constexpr int kBurst = 40;
  static constexpr int kBursts = 4;
  static constexpr int kMiddle = kBurst * (kBursts - 1) + kBurst / 2;

  void Receive() { ASSERT_OK(state_->ReceiveMessages(Callback())); }

  IoCallback Callback() {
    return [this](AsyncIoState& state, const IoResult& result) {
      if (!result.ok()) {
        ends_.push_back(result.status);
        return;
      }
      CheckNext(result);
      action_(state);
      // Whatever the action has done to the state.
      --received_;
      CheckNext(result);
    };
  }

  // Sends bursts, as many as it takes until the state receives many at a time.
  // Ends when all are received, or in the middle of the last one.
  void SendBursts(bool to_the_end = true) {
    const SocketAddress address = *state_->address();
    for (int burst = 0; burst < kBursts; ++burst) {
      for (int i = 0; i < kBurst; ++i, ++sent_) {
        ASSERT_TRUE(SenderOf(sent_).SendTo(address, absl::StrCat(sent_)).ok());
      }
      ASSERT_TRUE(RunUntil([&] {
        return received_ ==
               (to_the_end || burst != kBursts - 1 ? sent_ : kMiddle);
      }));
    }
  }

  void Restart() {
    state_ = MakeUdp();
    sent_ = 0;
    received_ = 0;
    ends_.clear();
  }

  void CheckNext(const IoResult& result) {
    CheckNext(result.data, result.sender);
  }
  void CheckNext(const Call& call) {
    CheckNext(call.data, call.sender.has_value() ? &*call.sender : nullptr);
  }
  void CheckNext(std::string_view data, const SocketAddress* sender) {
    EXPECT_EQ(data, absl::StrCat(received_));
    ASSERT_NE(sender, nullptr);
    EXPECT_EQ(*sender, SenderOf(received_).address());
    ++received_;
  }

  UdpPeer& SenderOf(int number) { return number % 2 == 0 ? *peer_ : *other_; }
  bool InTheMiddle() const { return received_ == kMiddle; }

  std::unique_ptr<UdpPeer> peer_ = world().Udp(Family::kIpv4);
  std::unique_ptr<UdpPeer> other_ = world().Udp(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state_ = MakeUdp();
  // Called in each callback.
  std::function<void(AsyncIoState&)> action_ = [](AsyncIoState&) {};
  int sent_ = 0;
  int received_ = 0;
  std::vector<IoStatus> ends_;
  std::string reply_;
};

INSTANTIATE_TEST_SUITE_P(All, MessageBurstsTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(MessageBurstsTest, AreReceivedInOrder) {
  Receive();
  SendBursts();
  EXPECT_EQ(received_, kBurst * kBursts);
}

TEST_P(MessageBurstsTest, AreAnsweredInOrderWhereverTheBytesAre) {
  // Their bytes are others in the next callback.
  std::string number;
  std::string again;
  action_ = [&](AsyncIoState& state) {
    number = absl::StrCat("number ", received_ - 1);
    EXPECT_OK(state.Reply(number));
    again = absl::StrCat("again ", received_ - 1);
    EXPECT_OK(state.Reply(again));
  };
  Receive();
  const SocketAddress address = *state_->address();
  for (int burst = 0; burst < kBursts; ++burst) {
    int first = sent_;
    for (int i = 0; i < kBurst; ++i, ++sent_) {
      ASSERT_TRUE(SenderOf(sent_).SendTo(address, absl::StrCat(sent_)).ok());
    }
    ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
    for (int i = first; i < sent_; ++i) {
      EXPECT_EQ(SenderOf(i).Receive().payload, absl::StrCat("number ", i));
      EXPECT_EQ(SenderOf(i).Receive().payload, absl::StrCat("again ", i));
    }
  }
}

// Replies that do not fit behind what was received, and more of them than leave
// together.
TEST_P(MessageBurstsTest, ManyAndLongRepliesAreSentWhenThereIsNoRoom) {
  const std::string large =
      Pattern(std::min<size_t>(30'000, world().personality().datagram_max));
  const size_t replies = 90'000 / large.size();
  std::vector<std::string> numbers;
  for (int i = 0; i < 100; ++i) numbers.push_back(absl::StrCat(i));
  action_ = [&](AsyncIoState& state) {
    if (received_ <= kMiddle) return;
    if (received_ == kMiddle + 1) {
      for (size_t i = 0; i < replies; ++i) {
        EXPECT_OK(state.Reply(large));
      }
    } else if (received_ == kMiddle + 2) {
      for (const std::string& number : numbers) {
        EXPECT_OK(state.Reply(number));
      }
    }
  };
  Receive();
  SendBursts();
  for (size_t i = 0; i < replies; ++i) {
    EXPECT_TRUE(SenderOf(kMiddle).Receive().payload == large);
  }
  for (const std::string& number : numbers) {
    EXPECT_EQ(SenderOf(kMiddle + 1).Receive().payload, number);
  }
}

TEST_P(MessageBurstsTest, LeaveTheRestToTheNextOperation) {
  action_ = [&](AsyncIoState& state) {
    if (InTheMiddle()) {
      EXPECT_OK(state.Finish());
    }
  };
  Receive();
  SendBursts(/*to_the_end=*/false);
  RunFor(absl::Milliseconds(1));
  EXPECT_TRUE(InTheMiddle()) << received_;
  Recorder wait(*this, "wait");
  ASSERT_OK(state_->WaitForInput(wait.Callback()));
  ASSERT_TRUE(RunUntil(wait));
  EXPECT_EQ(wait.last().status, IoStatus::kOk);
  EXPECT_EQ(state_->BufferedDataLength(), 0u);
  for (int i = 0; i < 3; ++i) CheckNext(ReceiveOne(*state_));
  Receive();
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
  // And what comes later.
  SendBursts();
}

TEST_P(MessageBurstsTest, LeaveTheRestToWhatTheCallbackStartsInstead) {
  char buffer[8];
  Recorder receive(*this, "receive");
  Recorder wait(*this, "wait");
  action_ = [&](AsyncIoState& state) {
    if (received_ == kMiddle - 2) {
      EXPECT_OK(state.Finish());
      Receive();
    } else if (received_ == kMiddle - 1) {
      EXPECT_OK(state.Finish());
      ASSERT_OK(state.WaitForInput(
          wait.Callback([&](AsyncIoState&, const IoResult& result) {
            EXPECT_TRUE(result.ok());
            Receive();
          })));
    } else if (InTheMiddle()) {
      EXPECT_OK(state.Finish());
      ASSERT_OK(state.ReceiveMessageWithAddress(
          buffer, receive.Callback([&](AsyncIoState&, const IoResult& result) {
            CheckNext(result);
            Receive();
          })));
    }
  };
  Receive();
  SendBursts();
  EXPECT_TRUE(wait.called());
  EXPECT_TRUE(receive.called());
}

// A `ReceiveMessage` that is started again by its callback receives ahead, too.
TEST_P(MessageBurstsTest, GoOnWithWhatAnotherOperationHasReceivedAhead) {
  char buffer[8];
  bool stop = false;
  std::function<void(AsyncIoState&)> receive = [&](AsyncIoState& state) {
    ASSERT_OK(state.ReceiveMessageWithAddress(
        buffer, [&](AsyncIoState& state, const IoResult& result) {
          CheckNext(result);
          if (!InTheMiddle()) {
            receive(state);
            return;
          }
          stop = true;
          Receive();
        }));
  };
  action_ = [&](AsyncIoState& state) {
    EXPECT_TRUE(stop);
    EXPECT_OK(state.Reply("got it"));
  };
  receive(*state_);
  SendBursts();
  for (int i = kMiddle; i < sent_; ++i) {
    EXPECT_EQ(SenderOf(i).Receive().payload, "got it");
  }
}

TEST_P(MessageBurstsTest, AreLostWhenTheInputIsShutDown) {
  for (bool finish : {false, true}) {
    SCOPED_TRACE(finish);
    Restart();
    action_ = [&](AsyncIoState& state) {
      if (!InTheMiddle()) return;
      // Without a peer: done, and called an error.
      EXPECT_EQ(state.Shutdown(Direction::kInput).ok(),
                !world().personality().shutdown_needs_a_peer);
      if (!finish) return;
      EXPECT_OK(state.Finish());
      Receive();
    };
    Receive();
    SendBursts(/*to_the_end=*/false);
    ASSERT_TRUE(RunUntil([&] { return !ends_.empty(); }));
    EXPECT_TRUE(InTheMiddle()) << received_;
    EXPECT_EQ(ends_, std::vector{IoStatus::kEof});
    EXPECT_EQ(ReceiveOne(*state_).status, IoStatus::kEof);
  }
}

// What is left waits for its turn while the input is shut down.
TEST_P(MessageBurstsTest, AreLostWhenTheInputIsShutDownBeforeTheirTurn) {
  std::unique_ptr<AsyncIoState> other = MakeUdp();
  Recorder abort(*this, "abort");
  action_ = [&](AsyncIoState&) {
    if (!InTheMiddle()) return;
    // Its callback comes before the next datagram.
    ASSERT_OK(other->Abort(abort.Callback([&](AsyncIoState&, const IoResult&) {
      EXPECT_TRUE(InTheMiddle()) << received_;
      EXPECT_EQ(state_->Shutdown(Direction::kInput).ok(),
                !world().personality().shutdown_needs_a_peer);
    })));
  };
  Receive();
  SendBursts(/*to_the_end=*/false);
  ASSERT_TRUE(RunUntil([&] { return !ends_.empty(); }));
  EXPECT_TRUE(abort.called());
  EXPECT_TRUE(InTheMiddle()) << received_;
  EXPECT_EQ(ends_, std::vector{IoStatus::kEof});
}

TEST_P(MessageBurstsTest, EndWithTheState) {
  enum How { kClose, kDestroy, kFinishAndDestroy, kAbortAndClose };
  for (How how : {kClose, kDestroy, kFinishAndDestroy, kAbortAndClose}) {
    SCOPED_TRACE(how);
    Restart();
    Recorder close(*this, "close");
    action_ = [&](AsyncIoState& state) {
      EXPECT_OK(state.Reply("before"));
      if (!InTheMiddle()) return;
      switch (how) {
        case kClose:
          state.Close();
          EXPECT_TRUE(IsRefusal(state.Reply("after"),
                                absl::StatusCode::kFailedPrecondition,
                                {"closed"}));
          break;
        case kFinishAndDestroy:
          EXPECT_OK(state.Finish());
          Receive();
          [[fallthrough]];
        case kDestroy:
          state_.reset();
          break;
        case kAbortAndClose:
          EXPECT_OK(
              state.AbortAndClose({.close_callback = close.CloseCallback()}));
          break;
      }
    };
    Receive();
    SendBursts(/*to_the_end=*/false);
    RunFor(absl::Milliseconds(1));
    EXPECT_TRUE(InTheMiddle()) << received_;
    EXPECT_EQ(close.called(), how == kAbortAndClose);
    EXPECT_TRUE(ends_.empty());
    EXPECT_EQ(collection().size(), 0u);
    for (int i = 0; i < kMiddle; ++i) {
      EXPECT_EQ(SenderOf(i).Receive().payload, "before");
    }
  }
}

TEST_P(MessageBurstsTest, EndWithTheCollection) {
  action_ = [&](AsyncIoState&) {
    if (InTheMiddle()) collection().Close();
  };
  Receive();
  SendBursts(/*to_the_end=*/false);
  RunFor(absl::Milliseconds(1));
  EXPECT_TRUE(InTheMiddle()) << received_;
}

TEST_P(MessageBurstsTest, StopAtAnAbortBeforeTheNextDatagram) {
  Recorder abort(*this, "abort");
  action_ = [&](AsyncIoState& state) {
    if (!InTheMiddle()) return;
    ASSERT_OK(state.Abort(abort.Callback()));
    EXPECT_OK(state.Reply("all the same"));
  };
  Receive();
  SendBursts(/*to_the_end=*/false);
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(abort.last().count, 0u);
  RunFor(absl::Milliseconds(1));
  ASSERT_TRUE(InTheMiddle()) << received_;
  EXPECT_EQ(SenderOf(kMiddle - 1).Receive().payload, "all the same");
  action_ = [](AsyncIoState&) {};
  Receive();
  EXPECT_TRUE(RunUntil([&] { return received_ == sent_; }));
}

TEST_P(MessageBurstsTest, LetOtherCallbacksRunThatAreDueBefore) {
  std::unique_ptr<AsyncIoState> other = MakeUdp();
  Recorder abort(*this, "abort", Recorder::kRepeating);
  action_ = [&](AsyncIoState&) {
    ASSERT_OK(other->Abort(
        abort.Callback([&, number = received_](AsyncIoState&, const IoResult&) {
          EXPECT_EQ(received_, number);
        })));
  };
  Receive();
  SendBursts();
  ASSERT_TRUE(RunUntil(
      [&] { return abort.calls().size() == static_cast<size_t>(sent_); }));
}

// Each keeps some while the other receives.
TEST_P(MessageBurstsTest, OfTwoSocketsAreNotMixedUp) {
  std::unique_ptr<AsyncIoState> other = MakeUdp();
  const SocketAddress address = *other->address();
  int others = 0;
  std::function<void()> receive_other = [&] {
    ASSERT_OK(other->ReceiveMessages(
        [&](AsyncIoState& state, const IoResult& result) {
          ASSERT_TRUE(result.ok());
          EXPECT_EQ(result.data, absl::StrCat("other ", others));
          EXPECT_OK(state.Reply(result.data));
          if (++others % 7 != 0) return;
          EXPECT_OK(state.Finish());
          receive_other();
        }));
  };
  action_ = [&](AsyncIoState& state) {
    EXPECT_OK(state.Reply("mine"));
    if (received_ % 5 != 0) return;
    EXPECT_OK(state.Finish());
    Receive();
  };
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  receive_other();
  Receive();
  for (int burst = 0; burst < kBursts; ++burst) {
    int first = sent_;
    for (int i = 0; i < kBurst; ++i, ++sent_) {
      ASSERT_TRUE(
          SenderOf(sent_).SendTo(*state_->address(), absl::StrCat(sent_)).ok());
      ASSERT_TRUE(peer->SendTo(address, absl::StrCat("other ", sent_)).ok());
    }
    ASSERT_TRUE(
        RunUntil([&] { return received_ == sent_ && others == sent_; }));
    for (int i = first; i < sent_; ++i) {
      EXPECT_EQ(peer->Receive().payload, absl::StrCat("other ", i));
      EXPECT_EQ(SenderOf(i).Receive().payload, "mine");
    }
  }
}

// Each has a batch of its own then, of which the collection keeps one.
TEST_P(MessageBurstsTest, LeaveWhatTheCallbackLooksAtWhenAnotherStateCloses) {
  std::unique_ptr<AsyncIoState> other = MakeUdp();
  const SocketAddress address = *other->address();
  int others = 0;
  ASSERT_OK(other->ReceiveMessages([&](AsyncIoState& state, const IoResult&) {
    // In the middle of the last burst.
    if (++others == kMiddle) {
      EXPECT_OK(state.Finish());
    }
  }));
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  for (int burst = 0; burst < kBursts; ++burst) {
    for (int i = 0; i < kBurst; ++i) {
      ASSERT_TRUE(peer->SendTo(address, "other").ok());
    }
    ASSERT_TRUE(RunUntil([&] {
      return others == std::min(kBurst * (burst + 1), int{kMiddle});
    }));
  }
  action_ = [&](AsyncIoState& state) {
    reply_ = absl::StrCat("reply ", received_ - 1);
    EXPECT_OK(state.Reply(reply_));
    if (InTheMiddle()) other.reset();
  };
  Receive();
  SendBursts();
  for (int i = 0; i < sent_; ++i) {
    EXPECT_EQ(SenderOf(i).Receive().payload, absl::StrCat("reply ", i));
  }
}

TEST_P(MessageBurstsTest, DoNotStarveAnotherState) {
  Link quiet = MakeLink();
  const SocketAddress address = *state_->address();
  int flooded = 0;
  ASSERT_OK(
      state_->ReceiveMessages([&](AsyncIoState& state, const IoResult& result) {
        ++flooded;
        peer_->SendTo(address, "and another");
        EXPECT_OK(state.Reply(result.data));
      }));
  for (int i = 0; i < 20; ++i) peer_->SendTo(address, "one");
  Recorder read(*this, "quiet");
  ASSERT_OK(quiet.state->ReceiveMessages(read.Callback()));
  EXPECT_TRUE(quiet.peer->SendTo(*quiet.state->address(), "x").ok());
  EXPECT_TRUE(RunUntil(read));
  EXPECT_GT(flooded, 0);
}

// ---- A kernel that takes no replies.

class WaitingRepliesTest : public MessageBurstsTest {
 protected:
  WaitingRepliesTest() { UseLimits({}); }
  ~WaitingRepliesTest() override {
    state_.reset();
    DestroyCollection();
  }

  void UseLimits(const Limits& limits) {
    state_.reset();
    RemakeCollection({.limits = limits}, &faults_);
    Restart();
    action_ = [this](AsyncIoState& state) {
      if (InTheMiddle()) {
        faults_.FailEvery(KernelCall::kSendDatagrams, Error(EAGAIN));
      }
      ReplyWithNumber(state);
    };
  }

  void ReplyWithNumber(AsyncIoState& state) {
    reply_ = absl::StrCat("reply ", received_ - 1);
    EXPECT_OK(state.Reply(reply_));
  }

  // Until replies wait.
  void Block() {
    Receive();
    const SocketAddress address = *state_->address();
    for (int burst = 0; burst < kBursts; ++burst) {
      for (int i = 0; i < kBurst; ++i, ++sent_) {
        ASSERT_TRUE(SenderOf(sent_).SendTo(address, absl::StrCat(sent_)).ok());
      }
      ASSERT_TRUE(RunUntil([&] {
        return received_ == sent_ || state_->output_queue_length() != 0;
      }));
    }
    ASSERT_GE(received_, kMiddle);
    ASSERT_NE(state_->output_queue_length(), 0u);
    RunFor(absl::Milliseconds(1));
    blocked_at_ = received_;
  }
  void Heal() { faults_.Heal(KernelCall::kSendDatagrams); }

  void ExpectReplies(int first, int end) {
    for (int i = first; i < end; ++i) {
      EXPECT_EQ(SenderOf(i).Receive().payload, absl::StrCat("reply ", i));
    }
  }

  FaultKernel faults_{kernel()};
  int blocked_at_ = 0;
};

INSTANTIATE_TEST_SUITE_P(All, WaitingRepliesTest,
                         testing::ValuesIn(AllKernels()), NameOf);

TEST_P(WaitingRepliesTest, PauseTheReceiving) {
  Block();
  RunFor();
  EXPECT_EQ(received_, blocked_at_);
  Heal();
  action_ = [](AsyncIoState&) {};
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
  EXPECT_EQ(state_->output_queue_length(), 0u);
  EXPECT_EQ(state_->write_status(), IoStatus::kOk);
  ExpectReplies(0, blocked_at_);
}

// The others wait when one was sent.
TEST_P(WaitingRepliesTest, WaitInTheirOrder) {
  faults_.LimitBatches(3);
  Block();
  Heal();
  action_ = [this](AsyncIoState& state) { ReplyWithNumber(state); };
  ASSERT_TRUE(RunUntil([&] {
    return received_ == sent_ && state_->output_queue_length() == 0;
  }));
  ExpectReplies(0, sent_);
}

TEST_P(WaitingRepliesTest, WaitWithoutAQueueToo) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made = OpenUdp(
      collection(),
      {.queue_output = false, .local_address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(made);
  state_ = *std::move(made);
  Block();
  Heal();
  action_ = [](AsyncIoState&) {};
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
  ExpectReplies(0, blocked_at_);
}

TEST_P(WaitingRepliesTest, AreLostWhenTheyTimeOut) {
  ASSERT_OK(state_->set_write_timeout(absl::Milliseconds(1)));
  action_ = [reply = std::move(action_)](AsyncIoState& state) {
    if (state.write_status() != IoStatus::kTimeout) reply(state);
  };
  // Receiving stops until they have, and goes on by itself.
  Receive();
  SendBursts();
  EXPECT_EQ(state_->output_queue_length(), 0u);
  EXPECT_EQ(state_->write_status(), IoStatus::kTimeout);
  EXPECT_TRUE(ends_.empty());
  Heal();
  RunFor(absl::Milliseconds(1));
  ExpectReplies(0, kMiddle - kBurst / 2);
}

TEST_P(WaitingRepliesTest, AreLostWhenTheOutputIsAborted) {
  Block();
  action_ = [](AsyncIoState&) {};
  Recorder abort(*this, "abort");
  ASSERT_OK(state_->Abort(abort.Callback(), Direction::kOutput));
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(state_->output_queue_length(), 0u);
  EXPECT_TRUE(ends_.empty());
}

TEST_P(WaitingRepliesTest, EndWithTheInput) {
  Block();
  action_ = [](AsyncIoState&) {};
  Recorder abort(*this, "abort");
  ASSERT_OK(state_->Abort(abort.Callback(), Direction::kInput));
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_EQ(received_, blocked_at_);
  // The replies go all the same, and nothing is received meanwhile.
  Heal();
  ASSERT_TRUE(RunUntil([&] { return state_->output_queue_length() == 0; }));
  RunFor(absl::Milliseconds(1));
  EXPECT_EQ(received_, blocked_at_);
  ExpectReplies(0, blocked_at_);
  Receive();
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
}

TEST_P(WaitingRepliesTest, EndAtAShutdownOfInput) {
  Block();
  EXPECT_EQ(state_->Shutdown(Direction::kInput).ok(),
            !world().personality().shutdown_needs_a_peer)
      << "without a peer";
  RunFor(absl::Milliseconds(1));
  EXPECT_TRUE(ends_.empty()) << "the replies are to be sent before";
  Heal();
  ASSERT_TRUE(RunUntil([&] { return !ends_.empty(); }));
  EXPECT_EQ(ends_, std::vector{IoStatus::kEof});
  EXPECT_EQ(received_, blocked_at_);
  ExpectReplies(0, blocked_at_);
}

TEST_P(WaitingRepliesTest, EndWithTheState) {
  Block();
  state_.reset();
  RunFor(absl::Milliseconds(1));
  EXPECT_EQ(received_, blocked_at_);
}

TEST_P(WaitingRepliesTest, OfAFinishedOneGoAllTheSame) {
  auto reply = std::move(action_);
  action_ = [&](AsyncIoState& state) {
    reply(state);
    if (InTheMiddle()) {
      EXPECT_OK(state.Finish());
    }
  };
  Block();
  EXPECT_TRUE(InTheMiddle()) << received_;
  Heal();
  ASSERT_TRUE(RunUntil([&] { return state_->output_queue_length() == 0; }));
  ExpectReplies(0, kMiddle);
}

TEST_P(WaitingRepliesTest, StayWithinTheLimitsOfTheQueue) {
  UseLimits({.output_queue_length_max = 2});
  std::vector<absl::Status> replies;
  action_ = [&](AsyncIoState& state) {
    if (!InTheMiddle()) return;
    faults_.FailEvery(KernelCall::kSendDatagrams, Error(EAGAIN));
    for (int i = 0; i < 5; ++i) replies.push_back(state.Reply("x"));
  };
  Block();
  EXPECT_EQ(state_->output_queue_length(), 3u);
  ASSERT_EQ(replies.size(), 5u);
  for (int i = 0; i < 3; ++i) EXPECT_OK(replies[i]);
  for (int i = 3; i < 5; ++i) {
    EXPECT_TRUE(IsRefusal(replies[i], absl::StatusCode::kResourceExhausted,
                          {"udp", "Reply", "2 operations"}));
  }
  Heal();
  ASSERT_TRUE(RunUntil([&] { return received_ == sent_; }));
}

TEST_P(WaitingRepliesTest, FailAlone) {
  // One of those in a batch, whichever.
  action_ = [&](AsyncIoState& state) {
    if (InTheMiddle()) {
      faults_.LimitBatches(2);
      faults_.FailNth(KernelCall::kSendDatagrams, 2, Error(ECONNREFUSED));
    }
    ReplyWithNumber(state);
  };
  Receive();
  SendBursts();
  EXPECT_TRUE(faults_.fault_was_reached());
  EXPECT_TRUE(ends_.empty());
  std::vector<std::string> got;
  ASSERT_TRUE(RunUntil(
      [&] {
        for (UdpPeer* peer : {peer_.get(), other_.get()}) {
          while (std::optional<PeerDatagram> datagram = peer->TryReceive()) {
            got.push_back(datagram->payload);
          }
        }
        return got.size() >= static_cast<size_t>(sent_) - 1;
      },
      absl::Milliseconds(1)));
  EXPECT_EQ(got.size(), static_cast<size_t>(sent_) - 1);
}

}  // namespace
}  // namespace aios::test
