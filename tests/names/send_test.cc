// Sending to a name, on every kernel.

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

using testing::ElementsAre;
using testing::HasSubstr;

class SendTest : public NamesTest {
 protected:
  SendTest() : peer_(world().Udp(Family::kIpv4)) {
    server_.Add("peer.example", peer_->address().ip().ToString());
    state_ = MakeUdp();
  }

  absl::Status Send(const HostSpec& host, std::string_view data,
                    IoCallback callback, WriteOptions options = {}) {
    return state_->SendMessageToAddress(host, peer_->address().port(), data,
                                        std::move(callback),
                                        std::move(options));
  }

  std::string Received() { return peer_->Receive().payload; }

  const std::unique_ptr<UdpPeer> peer_;
  std::unique_ptr<AsyncIoState> state_;
};

INSTANTIATE_TEST_SUITE_P(All, SendTest, testing::ValuesIn(AllKernels()),
                         NameOf);

TEST_P(SendTest, GoesToTheAddressOfTheName) {
  Recorder send(*this);
  ASSERT_OK(Send("peer.example", "hello", send.Callback()));
  EXPECT_FALSE(send.called());
  ASSERT_TRUE(ServeUntil([&] { return send.called(); }));
  EXPECT_EQ(send.last().status, IoStatus::kOk);
  EXPECT_EQ(send.last().count, 5u);
  EXPECT_EQ(Received(), "hello");
  EXPECT_THAT(server_.log(), ElementsAre("peer.example A"))
      << "in the family of the state alone";
}

TEST_P(SendTest, AStateOfIpv6AsksForIpv6) {
  AIOS_NEEDS_FAMILY(world(), Family::kIpv6);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv6);
  server_.Add("peer.example", peer->address().ip().ToString());
  std::unique_ptr<AsyncIoState> state = MakeUdp(Family::kIpv6);
  Recorder send(*this);
  ASSERT_OK(state->SendMessageToAddress("peer.example", peer->address().port(),
                                        "hello", send.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return send.called(); }));
  EXPECT_EQ(send.last().status, IoStatus::kOk);
  EXPECT_EQ(peer->Receive().payload, "hello");
  EXPECT_THAT(server_.log(), ElementsAre("peer.example AAAA"));
}

TEST_P(SendTest, KeepsItsPlaceInTheQueue) {
  server_.Hold();
  Recorder slow(*this, "slow");
  Recorder literal(*this, "literal");
  Recorder cached(*this, "cached");
  ASSERT_OK(Send("peer.example", "1", slow.Callback()));
  ASSERT_OK(Send(peer_->address().ip(), "2", literal.Callback()));
  ASSERT_OK(Send("localhost", "3", cached.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  RunFor();
  EXPECT_THAT(order(), ElementsAre()) << "nothing overtakes the lookup";
  EXPECT_EQ(state_->output_queue_length(), 3u);
  server_.Release();
  ASSERT_TRUE(ServeUntil([&] { return cached.called(); }));
  EXPECT_THAT(order(), ElementsAre("slow:callback", "literal:callback",
                                   "cached:callback"));
  EXPECT_EQ(Received(), "1");
  EXPECT_EQ(Received(), "2");
}

TEST_P(SendTest, ALookupThatFailsIsAnErrorAndTheQueueGoesOn) {
  Recorder bad(*this, "bad");
  Recorder good(*this, "good");
  std::string detail;
  ASSERT_OK(Send(
      "none.example", "1", bad.Callback(),
      {.error_callback =
           bad.ErrorCallback([&](AsyncIoState&, const IoResult& result) {
             detail = result.detail;
             EXPECT_EQ(result.ToStatus().code(), absl::StatusCode::kNotFound);
           })}));
  ASSERT_OK(Send("peer.example", "2", good.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return good.called(); }));
  EXPECT_THAT(order(), ElementsAre("bad:error_callback", "good:callback"));
  EXPECT_EQ(bad.last().status, IoStatus::kError);
  EXPECT_EQ(bad.last().error, Error(LookupError::kNoSuchName));
  EXPECT_EQ(bad.last().count, 0u);
  EXPECT_EQ(detail,
            "host name \"none.example\" cannot be resolved: no such name "
            "(NXDOMAIN)");
  EXPECT_EQ(Received(), "2");

  // Known to fail now, but still not inside the call.
  Recorder again(*this, "again");
  ASSERT_OK(Send("none.example", "3", again.Callback()));
  EXPECT_FALSE(again.called());
  ASSERT_TRUE(RunUntil(again));
  EXPECT_EQ(again.last().error, Error(LookupError::kNoSuchName));
  EXPECT_EQ(server_.queries(), 2u);
}

TEST_P(SendTest, TheTimeoutCountsTheLookup) {
  server_.Hold();
  Recorder slow(*this, "slow");
  Recorder next(*this, "next");
  Nanoseconds start = Now();
  std::string detail;
  ASSERT_OK(Send("peer.example", "1",
                 slow.Callback([&](AsyncIoState&, const IoResult& result) {
                   detail = result.detail;
                 }),
                 {.timeout = absl::Milliseconds(20)}));
  ASSERT_OK(Send(peer_->address().ip(), "2", next.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return slow.called(); }));
  EXPECT_GE(Since(start), absl::Milliseconds(20));
  EXPECT_EQ(slow.last().status, IoStatus::kTimeout);
  EXPECT_EQ(slow.last().count, 0u);
  EXPECT_THAT(detail, HasSubstr("\"peer.example\""));
  ASSERT_TRUE(ServeUntil([&] { return next.called(); }));
  EXPECT_EQ(Received(), "2");
  // The answer comes late: it is kept, and ends nothing a second time.
  server_.Release();
  RunFor();
  EXPECT_EQ(slow.calls().size(), 1u);
  Recorder again(*this, "again");
  ASSERT_OK(Send("peer.example", "3", again.Callback()));
  ASSERT_TRUE(RunUntil(again));
  EXPECT_EQ(Received(), "3");
  EXPECT_EQ(server_.queries(), 1u);
}

TEST_P(SendTest, AbortEndsTheLookupAndWhatIsBehindIt) {
  server_.Hold();
  Recorder slow(*this, "slow");
  Recorder other(*this, "other");
  Recorder literal(*this, "literal");
  Recorder abort(*this, "abort");
  ASSERT_OK(Send("peer.example", "1", slow.Callback()));
  ASSERT_OK(Send("other.example", "2", other.Callback()));
  ASSERT_OK(Send(peer_->address().ip(), "3", literal.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 2; }));
  ASSERT_OK(state_->Abort(abort.Callback(), Direction::kOutput));
  // In the same turn as the abort, perhaps.
  server_.Release();
  ASSERT_TRUE(RunUntil(abort));
  EXPECT_TRUE(abort.last().interrupted);
  EXPECT_THAT(order(), ElementsAre("other:callback", "literal:callback",
                                   "abort:callback"));
  EXPECT_EQ(other.last().status, IoStatus::kAborted);
  RunFor();
  EXPECT_EQ(peer_->TryReceive(), std::nullopt);
  // The state goes on.
  Recorder again(*this, "again");
  ASSERT_OK(Send("peer.example", "4", again.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return again.called(); }));
  EXPECT_EQ(Received(), "4");
}

TEST_P(SendTest, CloseEndsTheLookupSilently) {
  server_.Hold();
  Recorder send(*this);
  ASSERT_OK(Send("peer.example", "1", send.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  state_->Close();
  EXPECT_EQ(send.callbacks_alive(), 0);
  server_.Release();
  RunFor();
  EXPECT_FALSE(send.called());
  EXPECT_EQ(peer_->TryReceive(), std::nullopt);
}

TEST_P(SendTest, ClosingTheCollectionEndsTheLookupSilently) {
  server_.Hold();
  Recorder send(*this);
  ASSERT_OK(Send("peer.example", "1", send.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return server_.queries() == 1; }));
  collection().Close();
  EXPECT_EQ(send.callbacks_alive(), 0);
  server_.Release();
  RunFor();
  EXPECT_FALSE(send.called());
  // It can be used on.
  state_ = MakeUdp();
  Recorder again(*this, "again");
  ASSERT_OK(Send("peer.example", "2", again.Callback()));
  ASSERT_TRUE(ServeUntil([&] { return again.called(); }));
  EXPECT_EQ(Received(), "2");
}

TEST_P(SendTest, AThousandSendsToAName) {
  constexpr int kSends = 1000;
  int sent = 0;
  for (int i = 0; i != kSends; ++i) {
    ASSERT_OK(
        Send("Peer.EXAMPLE", "x", [&](AsyncIoState&, const IoResult& result) {
          EXPECT_EQ(result.status, IoStatus::kOk);
          ++sent;
        }));
  }
  ASSERT_TRUE(ServeUntil([&] {
    while (peer_->TryReceive().has_value()) {
    }
    return sent == kSends;
  }));
  EXPECT_EQ(server_.queries(), 1u);
}

TEST_P(SendTest, WhatIsRefusedAsksNobody) {
  Recorder never(*this, "never");
  EXPECT_TRUE(IsRefusal(
      Send("peer.example", "abc", never.Callback(), {.start = 2, .end = 1}),
      absl::StatusCode::kInvalidArgument, {"range"}));
  EXPECT_TRUE(IsRefusal(Send("peer.example", "abc", nullptr),
                        absl::StatusCode::kInvalidArgument, {"callback"}));
  EXPECT_TRUE(IsRefusal(state_->SendMessageToAddress("peer.example", "none",
                                                     "abc", never.Callback()),
                        absl::StatusCode::kNotFound,
                        {"SendMessageToAddress", "\"none\" is unknown"}));
  Channel tcp = MakeChannel();
  EXPECT_TRUE(IsRefusal(tcp.state->SendMessageToAddress(
                            "peer.example", 1, "abc", never.Callback()),
                        absl::StatusCode::kInvalidArgument, {}));
  RunFor();
  server_.Serve();
  EXPECT_EQ(server_.queries(), 0u);
}

TEST_P(SendTest, WithoutAQueueALookupIsAnOperationInProgress) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
      OpenUdp(collection(), {.queue_output = false});
  ASSERT_OK(made);
  state_ = *std::move(made);
  Recorder send(*this);
  Recorder never(*this, "never");
  ASSERT_OK(Send("peer.example", "1", send.Callback()));
  EXPECT_TRUE(IsRefusal(Send(peer_->address().ip(), "2", never.Callback()),
                        absl::StatusCode::kFailedPrecondition,
                        {"SendMessageToAddress is in progress"}));
  ASSERT_TRUE(ServeUntil([&] { return send.called(); }));
  EXPECT_EQ(Received(), "1");
}

TEST_P(SendTest, ServicesHaveNames) {
  files_.files["/etc/services"] = absl::StrCat(
      "# comment\nmine ", peer_->address().port(), "/udp other\nmine 1/tcp\n");
  for (std::string service : {"mine", "other"}) {
    Recorder send(*this);
    ASSERT_OK(state_->SendMessageToAddress(peer_->address().ip(), service,
                                           service, send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(Received(), service);
  }
}

}  // namespace
}  // namespace aios::test
