// What backends/posix_socket.h says beyond the contract of kernels, which
// kernel_contract_test.cc covers: addresses in their native form, and, on
// Linux, the blocking modes of sockets and datagrams sent together.

#include "backends/posix_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "aios/address.h"
#include "backends/default_kernel.h"
#include "gtest/gtest.h"
#include "tests/support/print.h"
#include "tests/support/real_world.h"

namespace aios {
namespace {

SocketAddress Parsed(const std::string& text) {
  absl::StatusOr<SocketAddress> address = SocketAddress::Parse(text);
  EXPECT_TRUE(address.ok()) << address.status();
  return address.ok() ? *address : SocketAddress();
}

TEST(NativeAddress, Ipv4IsInNetworkOrder) {
  NativeAddress native;
  std::memset(&native, 0xFF, sizeof(native));
  SocketAddress address = Parsed("192.0.2.1:258");
  ASSERT_EQ(ToNative(address, &native), sizeof(sockaddr_in));
  EXPECT_EQ(native.ipv4.sin_family, AF_INET);
  const unsigned char port[] = {1, 2};
  EXPECT_EQ(std::memcmp(&native.ipv4.sin_port, port, sizeof(port)), 0);
  const unsigned char ip[] = {192, 0, 2, 1};
  EXPECT_EQ(std::memcmp(&native.ipv4.sin_addr, ip, sizeof(ip)), 0);
  EXPECT_EQ(FromNative(native, sizeof(sockaddr_in)), address);
}

TEST(NativeAddress, Ipv6HasItsScope) {
  NativeAddress native;
  std::memset(&native, 0xFF, sizeof(native));
  SocketAddress address = Parsed("[fe80::1%7]:443");
  ASSERT_EQ(ToNative(address, &native), sizeof(sockaddr_in6));
  EXPECT_EQ(native.ipv6.sin6_family, AF_INET6);
  EXPECT_EQ(native.ipv6.sin6_port, htons(443));
  EXPECT_EQ(native.ipv6.sin6_flowinfo, 0u);
  EXPECT_EQ(native.ipv6.sin6_scope_id, 7u);
  in6_addr expected;
  ASSERT_EQ(inet_pton(AF_INET6, "fe80::1", &expected), 1);
  EXPECT_EQ(std::memcmp(&native.ipv6.sin6_addr, &expected, sizeof(expected)),
            0);
  EXPECT_EQ(FromNative(native, sizeof(sockaddr_in6)), address);
}

TEST(NativeAddress, MappedAddressesStayMapped) {
  NativeAddress native;
  SocketAddress address = Parsed("[::ffff:192.0.2.1]:1");
  ASSERT_EQ(ToNative(address, &native), sizeof(sockaddr_in6));
  EXPECT_EQ(FromNative(native, sizeof(sockaddr_in6)), address);
}

TEST(NativeAddress, WhatIsNoneOfOursIsTheDefault) {
  NativeAddress native;
  ToNative(Parsed("[::1]:1"), &native);
  EXPECT_EQ(FromNative(native, 0), SocketAddress());
  EXPECT_EQ(FromNative(native, sizeof(sockaddr_in6) - 1), SocketAddress());
  native.generic.sa_family = AF_UNIX;
  EXPECT_EQ(FromNative(native, sizeof(native)), SocketAddress());
}

TEST(DefaultKernel, IsTheFirstOfThoseWithANameAndStays) {
  ASSERT_FALSE(KernelNames().empty());
  EXPECT_EQ(KernelNames()[0], DefaultKernel().name());
  for (std::string_view name : KernelNames()) {
    ASSERT_NE(KernelByName(name), nullptr);
    EXPECT_EQ(KernelByName(name)->name(), name);
    EXPECT_EQ(KernelByName(name), KernelByName(name));
  }
  EXPECT_EQ(KernelByName(DefaultKernel().name()), &DefaultKernel());
  EXPECT_EQ(KernelByName(""), nullptr);
  EXPECT_EQ(KernelByName("iocp"), nullptr);
}

#if defined(__linux__) && !AIOS_PLAIN_SOCKETS

class ReadFile : public testing::Test {
 protected:
  ReadFile() { std::ofstream(path_) << "one\ntwo\n"; }

  const std::string path_ = testing::TempDir() + "/some_file";
  std::string text_ = "old";
};

TEST_F(ReadFile, GivesTheWholeText) {
  EXPECT_EQ(DefaultKernel().ReadFile(path_, 8, &text_), Error());
  EXPECT_EQ(text_, "one\ntwo\n");
}

TEST_F(ReadFile, RefusesWhatIsTooLong) {
  EXPECT_EQ(DefaultKernel().ReadFile(path_, 7, &text_), Error(EFBIG));
  EXPECT_EQ(text_, "");
}

TEST_F(ReadFile, RefusesWhatIsNoFile) {
  EXPECT_EQ(DefaultKernel().ReadFile(path_ + ".none", 8, &text_),
            Error(ENOENT));
  EXPECT_EQ(DefaultKernel().ReadFile(path_ + std::string("\0x", 2), 8, &text_),
            Error(ENOENT));
  EXPECT_EQ(DefaultKernel().ReadFile("/dev/zero", 8, &text_), Error(EINVAL));
  EXPECT_EQ(DefaultKernel().ReadFile(testing::TempDir(), 8, &text_),
            Error(EINVAL));
  // A pipe that nobody writes to keeps nobody waiting.
  std::string pipe = path_ + ".pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(DefaultKernel().ReadFile(pipe, 8, &text_), Error(EINVAL));
  EXPECT_EQ(unlink(pipe.c_str()), 0);
}

TEST(BlockingModes, OthersMayUseConnectedSocketsAndBlock) {
  Kernel& kernel = DefaultKernel();
  test::RealWorld world(kernel);
  test::TcpPair pair = world.RawSocketPair(Family::kIpv4);
  SocketInfo info;
  ASSERT_TRUE(kernel.Adopt(pair.handle, &info).ok());
  EXPECT_TRUE(world.IsBlocking(pair.handle));
  kernel.Close(pair.handle);
}

TEST(BlockingModes, AcceptedSocketsBlockOthers) {
  Kernel& kernel = DefaultKernel();
  test::RealWorld world(kernel);
  Handle listener = world.RawListener(Family::kIpv4);
  SocketInfo info;
  ASSERT_TRUE(kernel.Adopt(listener, &info).ok());
  SocketAddress address;
  ASSERT_TRUE(kernel.LocalAddress(listener, &address).ok());
  std::unique_ptr<test::TcpPeer> peer = world.ConnectTo(address);
  Handle connection = kNoHandle;
  ASSERT_TRUE(kernel.Accept(listener, &connection).ok());
  EXPECT_TRUE(world.IsBlocking(connection));
  kernel.Close(connection);
  kernel.Close(listener);
}

// Datagrams that the system cuts from one message. What is sent and arrives is
// the same as without; how many there were in a packet is seen only by a
// receiver that wants them together.
class CutMessages : public testing::Test {
 protected:
  static constexpr size_t kSize = 100;

  CutMessages() : target_(IpAddress::Loopback(Family::kIpv4), 0) {
    for (Handle* handle : {&sender_, &receiver_}) {
      EXPECT_TRUE(
          kernel_.Open(SocketType::kDatagram, Family::kIpv4, handle).ok());
    }
    EXPECT_TRUE(kernel_.Bind(receiver_, target_).ok());
    EXPECT_TRUE(kernel_.LocalAddress(receiver_, &target_).ok());
  }
  ~CutMessages() override {
    kernel_.Close(sender_);
    kernel_.Close(receiver_);
  }

  void Send(const std::vector<std::string>& payloads) {
    std::vector<OutgoingDatagram> datagrams;
    datagrams.reserve(payloads.size());
    for (const std::string& payload : payloads) {
      datagrams.push_back(
          {.payload = {.data = payload.data(), .size = payload.size()},
           .target = &target_});
    }
    Transfer transfer = kernel_.SendDatagrams(sender_, datagrams);
    EXPECT_EQ(transfer.error, Error());
    EXPECT_EQ(transfer.count, payloads.size());
  }

  // What one call gives; empty when there is none.
  std::string Receive() {
    std::string payload(size_t{64} << 10, '\0');
    IncomingDatagram datagram;
    Error error = kernel_.ReceiveDatagram(receiver_, payload, false, &datagram);
    payload.resize(error.ok() ? datagram.size : 0);
    return payload;
  }

  Kernel& kernel_ = DefaultKernel();
  Handle sender_ = kNoHandle;
  Handle receiver_ = kNoHandle;
  SocketAddress target_;
  const std::string a_ = std::string(kSize, 'a');
  const std::string b_ = std::string(kSize, 'b');
};

TEST_F(CutMessages, TakeNeighboursOfTheSameSizeAndAShorterOne) {
  int on = 1;
  if (setsockopt(receiver_, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) != 0) {
    GTEST_SKIP() << "the system does not give datagrams together";
  }
  Send({a_, b_, "c", a_, "longer" + a_, a_});
  EXPECT_EQ(Receive(), a_ + b_ + "c");
  EXPECT_EQ(Receive(), a_);
  EXPECT_EQ(Receive(), "longer" + a_ + a_);
}

TEST_F(CutMessages, AreRefusedByASocketWithoutChecksums) {
  int on = 1;
  ASSERT_EQ(setsockopt(sender_, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)), 0);
  Send({a_, b_, a_});
  EXPECT_EQ(Receive(), a_);
  EXPECT_EQ(Receive(), b_);
  EXPECT_EQ(Receive(), a_);
}

#endif

}  // namespace
}  // namespace aios
