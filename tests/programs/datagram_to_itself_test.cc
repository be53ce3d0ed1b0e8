// The program that tools/check_macos links for macOS does here, over the double
// of kqueue, what it says.

#include "gtest/gtest.h"
#include "tests/programs/program.h"

namespace aios::test {
namespace {

constexpr char kProgram[] = "tests/programs/datagram_to_itself";

TEST(DatagramToItselfTest, ComesBackOverKqueue) {
  Program program(kProgram, {"kqueue"});
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_EQ(program.out(), "kqueue: to myself\n");
  EXPECT_EQ(program.err(), "");
}

TEST(DatagramToItselfTest, NeedsAKernel) {
  Program program(kProgram, {"none"});
  EXPECT_EQ(program.Wait(), 2);
  EXPECT_EQ(program.err(), "there is no kernel \"none\" here\n");
}

}  // namespace
}  // namespace aios::test
