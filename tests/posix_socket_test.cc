// What backends/posix_socket.h says beyond the contract of kernels, which
// kernel_contract_test.cc covers: addresses in their native form, and, on
// Linux, the blocking modes of sockets and datagrams sent together.

#include "backends/posix_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
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

#if defined(__linux__)

class ReadFile : public testing::Test {
 protected:
  ReadFile() { Write("one\ntwo\n"); }

  void Write(std::string_view text) { std::ofstream(path_) << text; }

  // What is read of the file at `path` from `offset` on.
  std::string Read(const std::string& path, uint64_t offset, size_t size) {
    std::string text(size, '-');
    Transfer transfer =
        DefaultKernel().ReadFile(path, offset, std::span(text), &stamp_);
    EXPECT_EQ(transfer.error, Error());
    text.resize(transfer.count);
    return text;
  }

  Error ErrorOf(const std::string& path) {
    std::array<char, 8> buffer;
    Transfer transfer = DefaultKernel().ReadFile(path, 0, buffer, &stamp_);
    EXPECT_EQ(transfer.count, 0u);
    // To ask for the stamp alone is no different.
    EXPECT_EQ(DefaultKernel().ReadFile(path, 0, {}, &stamp_).error,
              transfer.error);
    return transfer.error;
  }

  const std::string path_ = testing::TempDir() + "/some_file";
  FileStamp stamp_;
};

TEST_F(ReadFile, GivesWhatIsThere) {
  EXPECT_EQ(Read(path_, 0, 100), "one\ntwo\n");
  EXPECT_EQ(stamp_.size, 8u);
  EXPECT_EQ(Read(path_, 0, 5), "one\nt");
  EXPECT_EQ(Read(path_, 5, 100), "wo\n");
  EXPECT_EQ(Read(path_, 8, 100), "");
  EXPECT_EQ(Read(path_, 100, 100), "");
}

TEST_F(ReadFile, GivesStampsThatAreEqualUntilTheFileIsWrittenAgain) {
  FileStamp stamp;
  ASSERT_EQ(DefaultKernel().ReadFile(path_, 0, {}, &stamp).error, Error());
  EXPECT_TRUE(stamp.fresh) << "it was written just now";
  Read(path_, 0, 8);
  EXPECT_EQ(stamp_, stamp) << "reading changes nothing";
  Write("one\ntwo\nthree\n");
  Read(path_, 0, 8);
  EXPECT_FALSE(stamp_ == stamp);
  // Another file in its place.
  stamp = stamp_;
  std::ofstream(path_ + ".new") << "one\ntwo\nthree\n";
  ASSERT_EQ(std::rename((path_ + ".new").c_str(), path_.c_str()), 0);
  Read(path_, 0, 8);
  EXPECT_FALSE(stamp_ == stamp);
}

TEST_F(ReadFile, CallsAFileFreshAsLongAsItsTimesProveNothing) {
  // Nobody has written to the program that runs this for a while.
  ASSERT_EQ(DefaultKernel().ReadFile("/etc/passwd", 0, {}, &stamp_).error,
            Error());
  EXPECT_FALSE(stamp_.fresh);
  // What only the time of the text says may be made up, the other one not.
  const timespec long_ago = {1'000'000'000, 0};
  const timespec times[2] = {long_ago, long_ago};
  ASSERT_EQ(utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  Read(path_, 0, 8);
  EXPECT_EQ(stamp_.modified, 1'000'000'000'000'000'000);
  EXPECT_TRUE(stamp_.fresh);
}

TEST_F(ReadFile, RefusesWhatIsNoFile) {
  EXPECT_EQ(ErrorOf(path_ + ".none"), Error(ENOENT));
  EXPECT_EQ(ErrorOf(path_ + std::string("\0x", 2)), Error(ENOENT));
  EXPECT_EQ(ErrorOf("/dev/zero"), Error(EINVAL));
  EXPECT_EQ(ErrorOf(testing::TempDir()), Error(EINVAL));
  // A pipe that nobody writes to keeps nobody waiting.
  std::string pipe = path_ + ".pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf(pipe), Error(EINVAL));
  EXPECT_EQ(unlink(pipe.c_str()), 0);
}

TEST_F(ReadFile, NeedsADescriptorForBytesOnly) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit none = before;
  none.rlim_cur = 0;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  std::array<char, 8> buffer;
  Error look = DefaultKernel().ReadFile(path_, 0, {}, &stamp_).error;
  Error read = DefaultKernel().ReadFile(path_, 0, buffer, &stamp_).error;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(look, Error());
  EXPECT_EQ(read, Error(EMFILE));
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
