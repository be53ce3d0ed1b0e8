// The program in README.md, built from there, does what the page says.

#include <memory>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "aios/address.h"
#include "backends/default_kernel.h"
#include "gtest/gtest.h"
#include "tests/programs/program.h"
#include "tests/support/real_world.h"
#include "tests/support/test_world.h"

namespace aios::test {

namespace {

TEST(ReadmeExampleTest, SendsBackWhatComes) {
  Program program("tests/pages/readme_example", {});
  std::string line = program.ReadLine();
  ASSERT_TRUE(absl::StartsWith(line, "listening on port ")) << line;
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(line.substr(line.rfind(' ')), &port)) << line;
  RealWorld world(DefaultKernel());
  SocketAddress address(IpAddress::Loopback(Family::kIpv4), port);
  for (const char* text : {"hello", "hello again"}) {
    std::unique_ptr<TcpPeer> peer = world.ConnectTo(address);
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(peer->Send(text).ok());
      EXPECT_EQ(peer->ReceiveExactly(std::string(text).size()), text);
    }
    EXPECT_TRUE(peer->ShutdownWrite().ok());
    EXPECT_TRUE(peer->ReceiveAll().end);
  }
}

}  // namespace

}  // namespace aios::test
