// The demo of tools/run: everything is as expected, and nothing colours a file.

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/programs/program.h"

namespace aios::test {

namespace {

TEST(DemoTest, EveryRowIsAsExpected) {
  Program demo("tools/demo/demo", {});
  EXPECT_EQ(demo.Wait(), 0);
  EXPECT_EQ(demo.err(), "");
  EXPECT_FALSE(absl::StrContains(demo.out(), "FAIL")) << demo.out();
  EXPECT_FALSE(absl::StrContains(demo.out(), "\033")) << demo.out();
  for (const char* operation :
       {"ConnectTcp", "AcceptTcpConnections", "ReadBuffer", "ReadWithChecking",
        "WriteBuffer", "Abort", "ReceiveMessage", "SendMessageToAddress",
        "AbortAndClose"}) {
    EXPECT_TRUE(absl::StrContains(demo.out(), operation)) << operation;
  }
}

TEST(DemoTest, ArgumentsAreAMistake) {
  Program demo("tools/demo/demo", {"--fast"});
  EXPECT_EQ(demo.Wait(), 2);
  EXPECT_NE(demo.err(), "");
}

}  // namespace

}  // namespace aios::test
