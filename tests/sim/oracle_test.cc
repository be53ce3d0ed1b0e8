// Each invariant that a simulation watches over is seen to be broken when it
// is. The promises of aios cannot be broken from outside, so they are broken to
// the oracle's face; those of streams on the wire.

#include "sim/oracle.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/packet.h"
#include "sim/recording.h"
#include "sim/trace.h"
#include "tests/sim/network.h"

namespace aios::test {
namespace {

using End = OperationObserver::End;

class OracleTest : public testing::Test {
 protected:
  void Start(int operation, int state, const char* kind) {
    oracle_.OnStart(&names_[operation], &names_[state], kind);
  }
  void Finish(int operation, End end = End::kCallback) {
    oracle_.OnEnd(&names_[operation], end, IoStatus::kOk, 0);
  }
  // Exactly one violation, which has the text.
  void ExpectViolation(std::string_view text) {
    ASSERT_EQ(violations_.size(), 1u);
    EXPECT_NE(violations_[0].find(text), std::string::npos) << violations_[0];
    EXPECT_NE(violations_[0].find("host 3"), std::string::npos);
  }

  sim::Trace trace_;
  Nanoseconds now_ = 5'000'000'000;
  std::vector<std::string> violations_;
  std::unique_ptr<sim::Recording> recording_;
  sim::Oracle oracle_{trace_, now_, 3, violations_, recording_};
  // Only their addresses count.
  char names_[20] = {};
};

TEST_F(OracleTest, IsContentWithOperationsThatEndAsPromised) {
  Start(1, 10, "ReadBuffer");
  Start(2, 10, "WriteBuffer");
  Start(3, 10, "WriteBuffer");
  EXPECT_EQ(oracle_.pending(), 3u);
  Finish(2);
  Finish(1, End::kAbort);
  Finish(3);
  Start(1, 10, "ReadBuffer");
  oracle_.OnTimeout(&names_[1], now_);
  Finish(1);
  Start(4, 10, "ReadBuffer");
  Finish(4, End::kSilent);
  oracle_.OnClose(&names_[10]);
  EXPECT_EQ(oracle_.pending(), 0u);
  EXPECT_EQ(violations_, std::vector<std::string>());
}

TEST_F(OracleTest, I1_AnOperationThatEndsTwice) {
  Start(1, 10, "ReadBuffer");
  Finish(1);
  Finish(1);
  ExpectViolation("I1: it ended a second time");
}

TEST_F(OracleTest, I1_AnOperationThatEndsWithoutAStart) {
  Finish(1);
  ExpectViolation("I1");
}

TEST_F(OracleTest, I1_AnOperationInWhosePlaceAnotherStarts) {
  Start(1, 10, "ReadBuffer");
  Start(1, 10, "ReadBuffer");
  ExpectViolation("I1: it was replaced before it had ended");
}

TEST_F(OracleTest, I1_AnOperationThatNeverEndsIsPending) {
  Start(1, 10, "ReadBuffer");
  EXPECT_EQ(oracle_.pending(), 1u);
  EXPECT_EQ(oracle_.DescribePending(),
            "  operation 1, ReadBuffer, in progress since 5.000000000 s\n");
}

TEST_F(OracleTest, I3_ATimeoutBeforeItsDeadline) {
  Start(1, 10, "ReadBuffer");
  oracle_.OnTimeout(&names_[1], now_ + 1);
  ExpectViolation("I3: it times out 1 ns before its deadline");
}

TEST_F(OracleTest, I5_AWriteThatOvertakesAnother) {
  Start(1, 10, "WriteBuffer");
  Start(2, 10, "SendMessage");
  // Of other states, and reads, do not matter.
  Start(3, 11, "WriteBuffer");
  Start(4, 10, "ReadBuffer");
  Finish(4);
  Finish(3);
  Finish(2);
  EXPECT_TRUE(violations_.empty());
  Finish(1);
  ExpectViolation("I5: a write that was started later has ended before");
}

TEST_F(OracleTest, I5_AReplyThatAWriteOvertakes) {
  Start(1, 10, "Reply");
  Start(2, 10, "WriteBuffer");
  Finish(2);
  Finish(1);
  ExpectViolation("I5: a write that was started later has ended before");
}

TEST_F(OracleTest, I6_AStateThatIsClosedWithAnOperationInProgress) {
  Start(1, 10, "ReadBuffer");
  Start(2, 10, "WriteBuffer");
  oracle_.OnClose(&names_[10]);
  ExpectViolation("I6: its state is closed and it has not ended (operation 1");
}

TEST_F(OracleTest, ACrashEndsEveryOperationRightly) {
  Start(1, 10, "ReadBuffer");
  oracle_.Retire();
  EXPECT_EQ(oracle_.pending(), 0u);
  Finish(1);
  oracle_.OnClose(&names_[10]);
  EXPECT_TRUE(violations_.empty());
}

TEST_F(OracleTest, KeepsTheFirstViolationsOnly) {
  for (size_t i = 0; i != 1000; ++i) Finish(1);
  EXPECT_EQ(violations_.size(), sim::Oracle::kViolationsMax);
}

TEST_F(OracleTest, WhatItSeesIsPartOfTheTrace) {
  uint64_t hash = trace_.hash();
  Start(1, 10, "ReadBuffer");
  EXPECT_NE(trace_.hash(), hash);
  hash = trace_.hash();
  Finish(1);
  EXPECT_NE(trace_.hash(), hash);
}

// ---- I4, on the wire.

// Lets somebody change packets on their way.
template <typename Change>
sim::Rule Tamper(sim::Simulation& simulation, Change change) {
  return simulation.DropIf([change](const sim::Packet& packet) mutable {
    return change(const_cast<sim::Packet&>(packet));
  });
}

TEST(StreamOracle, I4_AByteThatIsChangedOnTheWay) {
  Connection connection;
  sim::Rule rule = Tamper(connection.simulation, [](sim::Packet& packet) {
    if (!packet.payload.empty()) packet.payload[0] ^= 1;
    return false;
  });
  connection.Send(connection.a, connection.near, "hello");
  connection.simulation.RunUntilIdle();
  std::string bytes;
  connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_EQ(bytes, "iello");
  ASSERT_EQ(connection.simulation.violations().size(), 1u);
  EXPECT_NE(connection.simulation.violations()[0].find("I4: connection"),
            std::string::npos);
  EXPECT_NE(connection.simulation.violations()[0].find(
                "has read bytes that its peer did not write there"),
            std::string::npos);
}

TEST(StreamOracle, I4_AStreamThatEndsTooEarly) {
  Connection connection;
  // The end is told without what comes before it.
  sim::Rule rule = Tamper(connection.simulation, [](sim::Packet& packet) {
    if (!packet.payload.empty()) return true;
    if ((packet.flags & sim::Packet::kFin) != 0) packet.sequence = 1;
    return false;
  });
  connection.Send(connection.a, connection.near, "lost");
  EXPECT_TRUE(
      connection.a.kernel().Shutdown(connection.near, Direction::kOutput).ok());
  connection.simulation.RunFor(absl::Milliseconds(100));
  std::string bytes;
  Transfer end = connection.Receive(connection.b, connection.far, &bytes);
  EXPECT_TRUE(end.error.ok());
  EXPECT_EQ(end.count, 0u);
  ASSERT_EQ(connection.simulation.violations().size(), 1u)
      << "bytes: " << bytes;
  EXPECT_NE(
      connection.simulation.violations()[0].find("is at its end, but not"),
      std::string::npos);
}

TEST(StreamOracle, I4_IsContentWithWhatIsRight) {
  Connection connection({.faults = {.loss = 100'000,
                                    .duplication = 100'000,
                                    .reordering = 100'000,
                                    .split = 300'000,
                                    .join = 300'000}});
  std::string sent;
  std::string got;
  for (int i = 0; i != 200; ++i) {
    std::string piece(static_cast<size_t>(i) * 7, static_cast<char>(i));
    if (!piece.empty()) connection.Send(connection.a, connection.near, piece);
    sent += piece;
    connection.simulation.RunFor(absl::Milliseconds(1));
    connection.Receive(connection.b, connection.far, &got);
  }
  connection.a.kernel().Close(connection.near);
  connection.simulation.RunFor(absl::Minutes(3));
  while (connection.Receive(connection.b, connection.far, &got).count != 0) {
  }
  EXPECT_TRUE(got == sent);
  EXPECT_TRUE(connection.simulation.violations().empty());
}

}  // namespace
}  // namespace aios::test
