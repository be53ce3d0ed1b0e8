#include "aios/state/phases.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace aios {
namespace {

TEST(PhasesTest, EveryCallHasItsRule) {
  EXPECT_EQ(kCallRules.size(), static_cast<size_t>(Call::kShutdown) + 1);
  std::set<std::string> names;
  for (const CallRule& rule : kCallRules) names.insert(rule.name);
  EXPECT_EQ(names.size(), kCallRules.size());
  EXPECT_STREQ(RuleOf(Call::kReadBuffer).name, "ReadBuffer");
  EXPECT_STREQ(RuleOf(Call::kFinish).name, "Finish");
  EXPECT_STREQ(RuleOf(Call::kReply).name, "Reply");
  EXPECT_STREQ(RuleOf(Call::kShutdown).name, "Shutdown");
}

TEST(PhasesTest, OperationsAreNamedByTheirCalls) {
  EXPECT_STREQ(NameOf(InputKind::kReadBuffer), "ReadBuffer");
  EXPECT_STREQ(NameOf(InputKind::kReadWithChecking), "ReadWithChecking");
  EXPECT_STREQ(NameOf(InputKind::kReceiveMessage), "ReceiveMessage");
  EXPECT_STREQ(NameOf(InputKind::kReceiveMessages), "ReceiveMessages");
  EXPECT_STREQ(NameOf(InputKind::kWaitForInput), "WaitForInput");
  EXPECT_STREQ(NameOf(OutputKind::kWriteBuffer), "WriteBuffer");
  EXPECT_STREQ(NameOf(OutputKind::kSendMessage), "SendMessage");
  EXPECT_STREQ(NameOf(OutputKind::kSendToAddress), "SendMessageToAddress");
  EXPECT_STREQ(NameOf(OutputKind::kReply), "Reply");
}

TEST(PhasesTest, EveryCallIsForSomeSocket) {
  for (const CallRule& rule : kCallRules) {
    int allowed = 0;
    for (const char* mistake : rule.wrong_socket) allowed += mistake == nullptr;
    EXPECT_GE(allowed, 1) << rule.name;
  }
}

// May discard, goes on, looks at what was received, runs in place.
struct Powers {
  InCallback phase;
  bool discards;
  bool goes_on;
  bool looks;
  bool in_place;
};

TEST(PhasesTest, WhatACallbackMayDo) {
  constexpr Powers kAll[] = {
      {InCallback::kNone, false, false, false, false},
      {InCallback::kReceive, false, false, false, false},
      {InCallback::kLookClosed, false, false, true, false},
      {InCallback::kLastLook, true, false, true, false},
      {InCallback::kChecking, true, true, true, true},
      {InCallback::kMessages, true, true, true, true},
      {InCallback::kFinished, false, false, true, true},
      {InCallback::kClosed, false, false, true, true},
      {InCallback::kDeleted, false, false, true, true},
  };
  for (const Powers& powers : kAll) {
    int phase = static_cast<int>(powers.phase);
    EXPECT_EQ(MayDiscard(powers.phase), powers.discards) << phase;
    EXPECT_EQ(GoesOn(powers.phase), powers.goes_on) << phase;
    EXPECT_EQ(LooksAtInput(powers.phase), powers.looks) << phase;
    EXPECT_EQ(RunsInPlace(powers.phase), powers.in_place) << phase;
  }
}

}  // namespace
}  // namespace aios
