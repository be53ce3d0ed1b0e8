// The examples do what their first lines promise.

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

class ExamplesTest : public testing::Test {
 protected:
  // Reads the port on which the line server or the README's example listens.
  static SocketAddress ReadPort(Program& server) {
    std::string line = server.ReadLine();
    int port = 0;
    EXPECT_TRUE(absl::StartsWith(line, "listening on port ")) << line;
    EXPECT_TRUE(absl::SimpleAtoi(line.substr(line.rfind(' ') + 1), &port))
        << line;
    return SocketAddress(IpAddress::Loopback(Family::kIpv4), port);
  }

  RealWorld world_{DefaultKernel()};
};

TEST_F(ExamplesTest, LineServerAnswersWholeLines) {
  Program server("examples/line_server", {"0"});
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(ReadPort(server));
  EXPECT_TRUE(peer->Send("one\ntwo\nthr").ok());
  EXPECT_EQ(peer->ReceiveExactly(8), "ONE\nTWO\n");
  EXPECT_TRUE(peer->Send("ee").ok());
  EXPECT_TRUE(peer->Send("\n\n").ok());
  EXPECT_EQ(peer->ReceiveExactly(7), "THREE\n\n");
  EXPECT_TRUE(peer->Send("no line").ok());
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  PeerRead read = peer->ReceiveAll();
  EXPECT_EQ(read.bytes, "");
  EXPECT_TRUE(read.end);
}

TEST_F(ExamplesTest, LineServerTurnsAwayWhoSendsNoLines) {
  Program server("examples/line_server", {"0"});
  SocketAddress address = ReadPort(server);
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(address);
  EXPECT_TRUE(peer->Send(std::string(1001, 'x')).ok());
  EXPECT_TRUE(peer->ReceiveAll().end);
  peer = world_.ConnectTo(address);
  EXPECT_TRUE(peer->Send("others are served\n").ok());
  EXPECT_EQ(peer->ReceiveExactly(18), "OTHERS ARE SERVED\n");
}

TEST_F(ExamplesTest, ClientPrintsTheAnswer) {
  Program server("examples/line_server", {"0"});
  SocketAddress address = ReadPort(server);
  Program client("examples/client",
                 {"127.0.0.1", std::to_string(address.port()), "hello"});
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_EQ(client.out(), "HELLO\n");
  EXPECT_EQ(client.err(), "");
}

TEST_F(ExamplesTest, ClientSaysWhatWentWrong) {
  SocketAddress refusing =
      world_.RefusingAddress(SocketType::kStream, Family::kIpv4);
  std::string refusing_port = std::to_string(refusing.port());
  Program refused("examples/client", {"127.0.0.1", refusing_port, "hello"});
  EXPECT_EQ(refused.Wait(), 1);
  EXPECT_EQ(refused.err(),
            "client: connect: no connection to 127.0.0.1, port " +
                refusing_port + ": connection refused (ECONNREFUSED)\n");

  std::unique_ptr<TcpListenerPeer> listener = world_.Listen(Family::kIpv4);
  std::string port = std::to_string(listener->address().port());
  Program ended("examples/client", {"127.0.0.1", port, "hello"});
  listener->Accept()->ReceiveExactly(6);
  EXPECT_EQ(ended.Wait(), 1);
  EXPECT_EQ(ended.err(), "client: read: end of stream\n");

  Program ignored("examples/client", {"127.0.0.1", port, "hello"});
  std::unique_ptr<TcpPeer> peer = listener->Accept();
  EXPECT_EQ(ignored.Wait(), 1);
  EXPECT_EQ(ignored.err(), "client: read: timed out\n");
}

TEST_F(ExamplesTest, UdpPairExchangesDatagrams) {
  Program pair("examples/udp_pair", {"How long is this?"});
  EXPECT_EQ(pair.Wait(), 0);
  EXPECT_EQ(pair.out(), "17 bytes\n");
  EXPECT_EQ(pair.err(), "");
}

TEST_F(ExamplesTest, BadArgumentsAreExplained) {
  struct {
    const char* program;
    std::vector<std::string> arguments;
  } cases[] = {
      {"examples/line_server", {}},
      {"examples/line_server", {"1", "2"}},
      {"examples/line_server", {"65536"}},
      {"examples/client", {"127.0.0.1", "80"}},
      {"examples/client", {"127.0.0.1", "-1", "hello"}},
      {"examples/client", {"127.0.0", "80", "hello"}},
      {"examples/udp_pair", {}},
  };
  for (const auto& [name, arguments] : cases) {
    Program program(name, arguments);
    EXPECT_EQ(program.Wait(), 2) << name;
    EXPECT_NE(program.err(), "") << name;
  }
}

TEST_F(ExamplesTest, LineServerSaysThatThePortIsBusy) {
  Program server("examples/line_server", {"0"});
  Program second("examples/line_server",
                 {std::to_string(ReadPort(server).port())});
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_TRUE(absl::StrContains(second.err(), "already in use"))
      << second.err();
}

}  // namespace

}  // namespace aios::test
