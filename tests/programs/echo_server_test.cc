// The echo server: what it answers, when it stops reading, how it ends.

#include <signal.h>

#include <cstdint>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/match.h"
#include "aios/address.h"
#include "backends/default_kernel.h"
#include "gtest/gtest.h"
#include "tests/programs/program.h"
#include "tests/support/blocking_peer.h"
#include "tests/support/real_world.h"
#include "tests/support/test_world.h"

namespace aios::test {

namespace {

constexpr char kEchoServer[] = "bench/echo_server";

// A program and the kernel that it is told to use.
struct Server {
  std::string kernel;
  std::string path;
};

void PrintTo(const Server& server, std::ostream* out) { *out << server.kernel; }

std::vector<Server> Servers() {
  std::vector<Server> servers;
  for (std::string_view kernel : KernelNames()) {
    servers.push_back({.kernel = std::string(kernel), .path = kEchoServer});
  }
#if defined(__linux__)
  servers.push_back(
      {.kernel = "kqueue", .path = "tests/kqueue_double/echo_server"});
#endif
  return servers;
}

class EchoServerTest : public testing::TestWithParam<Server> {
 protected:
  // The arguments that run it on its kernel.
  static std::vector<std::string> With(std::vector<std::string> arguments) {
    arguments.push_back("--kernel=" + GetParam().kernel);
    return arguments;
  }
  static const std::string& path() { return GetParam().path; }

  RealWorld world_{DefaultKernel()};
};

INSTANTIATE_TEST_SUITE_P(All, EchoServerTest, testing::ValuesIn(Servers()),
                         [](const testing::TestParamInfo<Server>& info) {
                           return info.param.kernel;
                         });

class EchoServerFlagsTest : public testing::Test {
 protected:
  RealWorld world_{DefaultKernel()};
};

// Bytes of which no part looks like another.
std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& byte : bytes) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

TEST_P(EchoServerTest, AnswersEachMessage) {
  Program server(path(), With({"--port=0"}));
  SocketAddress address = server.ReadAddress();
  EXPECT_EQ(address.ip(), IpAddress::Loopback(Family::kIpv4));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(address);
  for (const char* message : {"hello", "x", "a longer message\n"}) {
    EXPECT_TRUE(peer->Send(message).ok());
    EXPECT_EQ(peer->ReceiveExactly(std::string(message).size()), message);
  }
}

TEST_P(EchoServerTest, AnswersAllBeforeItCloses) {
  Program server(path(), With({"--port=0"}));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  EXPECT_TRUE(peer->Send("all of this").ok());
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  PeerRead read = peer->ReceiveAll();
  EXPECT_EQ(read.bytes, "all of this");
  EXPECT_TRUE(read.end);
}

TEST_P(EchoServerTest, AnswersEachFrameByItself) {
  Program server(path(), With({"--port=0", "--frame=4"}));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  EXPECT_TRUE(peer->Send("onetwo3456").ok());
  EXPECT_EQ(peer->ReceiveExactly(8), "onetwo34");
  // The rest of a frame is waited for.
  EXPECT_TRUE(peer->Send("78").ok());
  EXPECT_EQ(peer->ReceiveExactly(4), "5678");
  // More frames than it has buffers for.
  std::string bytes = Pattern(60'000);
  EXPECT_TRUE(peer->Send(bytes).ok());
  EXPECT_TRUE(peer->ReceiveExactly(bytes.size()) == bytes);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_EQ(server.out(),
            "served 1 connections, 15003 messages, 60012 bytes\n");
}

TEST_P(EchoServerTest, ServesIpv6) {
  AIOS_NEEDS_FAMILY(world_, Family::kIpv6);
  Program server(path(), With({"--port=0", "--address=::1"}));
  SocketAddress address = server.ReadAddress();
  EXPECT_EQ(address.ip(), IpAddress::Loopback(Family::kIpv6));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(address);
  EXPECT_TRUE(peer->Send("hello").ok());
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
}

TEST_P(EchoServerTest, ReadsNoFurtherWhileNobodyTakesTheAnswers) {
  Program server(path(), With({"--port=0"}));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  // More than the system holds for a connection.
  const std::string bytes = Pattern(size_t{64} << 20);
  size_t sent = 0;
  size_t sent_before = 0;
  for (int idle = 0; idle < 20; ++idle) {
    for (;;) {
      Transfer transfer = peer->TrySend(std::string_view(bytes).substr(sent));
      if (transfer.count == 0) break;
      sent += transfer.count;
    }
    ASSERT_LT(sent, bytes.size()) << "it never stopped reading";
    if (sent != sent_before) idle = 0;
    sent_before = sent;
    // Gives it the time to go on, if it wants.
    OwnedDescriptor nothing =
        MakeBoundSocket(SocketType::kDatagram, Family::kIpv4);
    PollReadable(nothing.get(), 5'000'000);
  }
  // It goes on where it stopped.
  EXPECT_TRUE(peer->ReceiveExactly(sent) == bytes.substr(0, sent));
  EXPECT_TRUE(peer->Send("hello").ok());
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
}

TEST_P(EchoServerTest, ClosesIdleConnections) {
  Program server(path(), With({"--port=0", "--read_timeout=20ms"}));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  PeerRead read = peer->ReceiveAll();
  EXPECT_EQ(read.bytes, "");
  EXPECT_TRUE(read.end);
}

TEST_P(EchoServerTest, OutlivesPeersThatReset) {
  Program server(path(), With({"--port=0"}));
  SocketAddress address = server.ReadAddress();
  for (int i = 0; i < 20; ++i) {
    std::unique_ptr<TcpPeer> peer = world_.ConnectTo(address);
    peer->TrySend(Pattern(100'000));
    peer->Reset();
  }
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(address);
  EXPECT_TRUE(peer->Send("hello").ok());
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
}

TEST_P(EchoServerTest, SumsUpAtItsEnd) {
  for (int signal : {SIGTERM, SIGINT}) {
    for (const char* threads : {"--threads=1", "--threads=3"}) {
      Program server(path(), With({"--port=0", threads}));
      SocketAddress address = server.ReadAddress();
      std::vector<std::unique_ptr<TcpPeer>> peers;
      for (int i = 0; i < 9; ++i) {
        peers.push_back(world_.ConnectTo(address));
        for (int message = 0; message < 2; ++message) {
          EXPECT_TRUE(peers.back()->Send("12345").ok());
          EXPECT_EQ(peers.back()->ReceiveExactly(5), "12345");
        }
      }
      server.Signal(signal);
      EXPECT_EQ(server.Wait(), 0);
      EXPECT_EQ(server.out(), "served 9 connections, 18 messages, 90 bytes\n");
      EXPECT_EQ(server.err(), "");
      EXPECT_TRUE(peers[0]->ReceiveAll().end);
    }
  }
}

TEST_P(EchoServerTest, SinkAnswersHowMuchCame) {
  Program server(path(), With({"--port=0", "--sink"}));
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  EXPECT_TRUE(peer->Send(Pattern(0x123456)).ok());
  EXPECT_TRUE(peer->ShutdownWrite().ok());
  PeerRead read = peer->ReceiveAll();
  EXPECT_EQ(read.bytes, std::string("\x56\x34\x12\0\0\0\0\0", 8));
  EXPECT_TRUE(read.end);
  server.Signal(SIGTERM);
  EXPECT_EQ(server.Wait(), 0);
  EXPECT_TRUE(absl::EndsWith(server.out(), " messages, 1193046 bytes\n"))
      << server.out();
}

TEST_P(EchoServerTest, EchoesDatagrams) {
  for (const char* threads : {"--threads=1", "--threads=3"}) {
    Program server(path(), With({"--port=0", "--udp", threads}));
    SocketAddress address = server.ReadAddress();
    std::unique_ptr<UdpPeer> peer = world_.Udp(Family::kIpv4);
    ASSERT_TRUE(peer->Connect(address).ok());
    for (size_t size : {5, 0, 1, 1472, 65507}) {
      std::string message = Pattern(size);
      EXPECT_TRUE(peer->Send(message).ok());
      EXPECT_TRUE(peer->Receive().payload == message) << size;
    }
    // A burst, less than the system holds.
    for (int i = 0; i < 64; ++i) {
      EXPECT_TRUE(peer->Send(std::to_string(i)).ok());
    }
    for (int i = 0; i < 64; ++i) {
      EXPECT_EQ(peer->Receive().payload, std::to_string(i));
    }
    server.Signal(SIGTERM);
    EXPECT_EQ(server.Wait(), 0);
    EXPECT_EQ(server.out(), "served 0 connections, 69 messages, 67103 bytes\n");
  }
}

TEST_P(EchoServerTest, BusyPortIsAnError) {
  Program server(path(), With({"--port=0"}));
  std::string port = std::to_string(server.ReadAddress().port());
  Program second(path(), With({"--port", port}));
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_EQ(second.out(), "");
  EXPECT_TRUE(absl::StrContains(second.err(), "already in use"))
      << second.err();
  EXPECT_TRUE(absl::StrContains(second.err(), "127.0.0.1:" + port))
      << second.err();
}

TEST_F(EchoServerFlagsTest, BadFlagsAreExplained) {
  const std::vector<std::string> lines[] = {
      {"--prot=1"},
      {"--port"},
      {"--port="},
      {"--port=http"},
      {"--port=-1"},
      {"--port=65536"},
      {"--address=localhost"},
      {"--address=1.2.3"},
      {"--kernel=none"},
      {"--read_timeout=0"},
      {"--read_timeout=-1s"},
      {"--read_timeout=nan"},
      {"--threads=0"},
      {"--threads=1.5"},
      {"--udp=perhaps"},
      {"--udp", "--sink"},
      {"--frame=-1"},
      {"--frame=65537"},
      {"--frame=1", "--sink"},
      {"--frame=1", "--udp"},
      {"7777"},
      {"-p", "7777"},
      {"--"},
  };
  for (const std::vector<std::string>& line : lines) {
    Program server(kEchoServer, line);
    EXPECT_EQ(server.Wait(), 2) << line[0];
    EXPECT_EQ(server.out(), "");
    EXPECT_TRUE(absl::StartsWith(server.err(), "echo_server: ")) << line[0];
    EXPECT_TRUE(absl::StrContains(server.err(), "--read_timeout=30s"))
        << line[0];
  }
}

TEST_F(EchoServerFlagsTest, FlagsHaveSeveralForms) {
  Program server(kEchoServer, {"--port", "0", "--udp=true", "--noudp",
                               "--nosink", "--read_timeout=inf", "--kernel",
                               std::string(DefaultKernel().name())});
  std::unique_ptr<TcpPeer> peer = world_.ConnectTo(server.ReadAddress());
  EXPECT_TRUE(peer->Send("hello").ok());
  EXPECT_EQ(peer->ReceiveExactly(5), "hello");
  Program help(kEchoServer, {"--help"});
  EXPECT_EQ(help.Wait(), 0);
  EXPECT_TRUE(absl::StrContains(help.out(), "--sink")) << help.out();
}

}  // namespace

}  // namespace aios::test
