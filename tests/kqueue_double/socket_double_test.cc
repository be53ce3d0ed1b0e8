// What is promised of the double of sockets, in each flavour that has one.

#include "tests/kqueue_double/socket_double.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/event.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <vector>

#include "gtest/gtest.h"

namespace aios::test {
namespace {

constexpr const SystemHabits& kHabits = AIOS_SYSTEM_HABITS;

volatile std::sig_atomic_t signals = 0;

class SocketDoubleTest : public testing::Test {
 protected:
  ~SocketDoubleTest() override {
    for (int fd : opened_) close(fd);
  }

  int Keep(int fd) {
    EXPECT_GE(fd, 0) << errno;
    opened_.push_back(fd);
    return fd;
  }

  // Bound to a free port of the loopback address.
  int Open(int type) {
    int fd = Keep(socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_in any = {};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
    return fd;
  }

  static void Connect(int fd, int to) {
    sockaddr_in address = {};
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(getsockname(to, generic, &length), 0);
    EXPECT_TRUE(connect(fd, generic, length) == 0 || errno == EINPROGRESS);
  }

  // Two connected streams.
  std::array<int, 2> Pair() {
    int listener = Open(SOCK_STREAM);
    EXPECT_EQ(listen(listener, 1), 0);
    int client = Open(SOCK_STREAM);
    Connect(client, listener);
    return {client, Keep(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC))};
  }

  void Close(int fd) {
    std::erase(opened_, fd);
    DoubleClose(kHabits, fd);
  }

  // A datagram socket on which the network has left ECONNREFUSED.
  int Refused() {
    int fd = Open(SOCK_DGRAM);
    int gone = Open(SOCK_DGRAM);
    Connect(fd, gone);
    Close(gone);
    EXPECT_EQ(DoubleSend(fd, "x", 1, 0), 1);
    return fd;
  }

  static int TakeError(int fd) {
    int code = 0;
    socklen_t length = sizeof(code);
    EXPECT_EQ(DoubleGetsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length), 0);
    return code;
  }

  char byte_ = 0;

 private:
  std::vector<int> opened_;
};

TEST_F(SocketDoubleTest, LookingLeavesTheErrorAndItsReport) {
  int fd = Refused();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(DoubleRecv(fd, &byte_, 1, MSG_PEEK), -1);
    EXPECT_EQ(errno, ECONNREFUSED);
  }
  int kq = Keep(kqueue());
  struct kevent change;
  EV_SET(&change, static_cast<uintptr_t>(fd), EVFILT_READ, EV_ADD, 0, 0, 0);
  struct kevent event;
  constexpr timespec kNow = {};
  EXPECT_EQ(kevent(kq, &change, 1, &event, 1, &kNow), 1);
  EXPECT_EQ(kevent(kq, nullptr, 0, &event, 1, &kNow), 1);
  EXPECT_EQ(TakeError(fd), ECONNREFUSED);
  EXPECT_EQ(TakeError(fd), 0);
  EXPECT_EQ(kevent(kq, nullptr, 0, &event, 1, &kNow), 0);
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(SocketDoubleTest, TheNextCallTakesTheError) {
  int fd = Refused();
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, MSG_PEEK), -1);
  EXPECT_EQ(DoubleSend(fd, "x", 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  fd = Refused();
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, MSG_PEEK), -1);
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(TakeError(fd), 0);
}

TEST_F(SocketDoubleTest, AnErrorComesAfterTheDatagrams) {
  int fd = Open(SOCK_DGRAM);
  int peer = Open(SOCK_DGRAM);
  Connect(peer, fd);
  Connect(fd, peer);
  EXPECT_EQ(send(peer, "y", 1, 0), 1);
  Close(peer);
  EXPECT_EQ(DoubleSend(fd, "x", 1, 0), 1);
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, 0), 1);
  EXPECT_EQ(byte_, 'y');
  EXPECT_EQ(DoubleRecv(fd, &byte_, 1, 0), -1);
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_EQ(TakeError(fd), 0);
}

TEST_F(SocketDoubleTest, BatchesLeaveTheirErrorsOrLoseThem) {
  int fd = Open(SOCK_DGRAM);
  Connect(fd, fd);
  std::array<iovec, 2> vectors;
  vectors.fill({.iov_base = &byte_, .iov_len = 1});
  std::array<mmsghdr, 2> messages = {};
  for (size_t i = 0; i < 2; ++i) {
    messages[i].msg_hdr.msg_iov = &vectors[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  EXPECT_EQ(DoubleRecvmmsg(kHabits, fd, messages.data(), 2, 0), -1);
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_EQ(TakeError(fd), kHabits.batches_leave_errors ? EAGAIN : 0);
  EXPECT_EQ(DoubleSendmmsg(kHabits, fd, messages.data(), 2, 0), 2);
  EXPECT_EQ(TakeError(fd), 0);
  std::vector<char> huge(70000);
  vectors[1] = {.iov_base = huge.data(), .iov_len = huge.size()};
  EXPECT_EQ(DoubleSendmmsg(kHabits, fd, messages.data(), 2, 0), 1);
  EXPECT_EQ(TakeError(fd), kHabits.batches_leave_errors ? EMSGSIZE : 0);
}

TEST_F(SocketDoubleTest, LongDatagramsNeedABufferForSending) {
  int fd = Open(SOCK_DGRAM);
  Connect(fd, fd);
  std::vector<char> bytes(9217);
  EXPECT_EQ(DoubleSend(fd, bytes.data(), 9216, 0), 9216);
  EXPECT_EQ(DoubleSend(fd, bytes.data(), 9217, 0), -1);
  EXPECT_EQ(errno, EMSGSIZE);
  int size = 100'000;
  EXPECT_EQ(
      DoubleSetsockopt(kHabits, fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)),
      0);
  EXPECT_EQ(DoubleSend(fd, bytes.data(), 9217, 0), 9217);
}

TEST_F(SocketDoubleTest, ABrokenPipeIsASignalUnlessItWasForbidden) {
  auto earlier = std::signal(SIGPIPE, [](int) { signals = signals + 1; });
  signals = 0;
  std::array<int, 2> pair = Pair();
  ASSERT_EQ(shutdown(pair[0], SHUT_WR), 0);
  EXPECT_EQ(DoubleSend(pair[0], "x", 1, MSG_NOSIGNAL), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(signals, 0);
  EXPECT_EQ(DoubleSend(pair[0], "x", 1, 0), -1);
  EXPECT_EQ(errno, EPIPE);
  EXPECT_EQ(signals, 1);
  int on = 1;
  EXPECT_EQ(DoubleSetsockopt(kHabits, pair[0], SOL_SOCKET, kNoSigpipe, &on,
                             sizeof(on)),
            0);
  EXPECT_EQ(DoubleSend(pair[0], "x", 1, 0), -1);
  EXPECT_EQ(signals, 1);
  std::signal(SIGPIPE, earlier);
}

TEST_F(SocketDoubleTest, WhatIsShutDownMayBeShut) {
  std::array<int, 2> pair = Pair();
  ASSERT_EQ(shutdown(pair[1], SHUT_WR), 0);
  EXPECT_EQ(recv(pair[0], &byte_, 1, 0), 0);
  sockaddr_in address;
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  EXPECT_EQ(DoubleGetpeername(kHabits, pair[0], generic, &length), 0);
  if (kHabits.shut_is_shut) {
    EXPECT_EQ(DoubleShutdown(kHabits, pair[0], SHUT_RDWR), -1);
    EXPECT_EQ(errno, ENOTCONN);
    EXPECT_EQ(recv(pair[1], &byte_, 1, MSG_DONTWAIT), -1) << "nothing was done";
    EXPECT_EQ(DoubleShutdown(kHabits, pair[0], SHUT_WR), 0);
    EXPECT_EQ(DoubleShutdown(kHabits, pair[0], SHUT_WR), -1);
    EXPECT_EQ(DoubleGetpeername(kHabits, pair[0], generic, &length), -1);
    EXPECT_EQ(errno, EINVAL);
    int on = 1;
    EXPECT_EQ(DoubleSetsockopt(kHabits, pair[0], SOL_SOCKET, kNoSigpipe, &on,
                               sizeof(on)),
              -1);
    EXPECT_EQ(errno, EINVAL);
  } else {
    EXPECT_EQ(DoubleShutdown(kHabits, pair[0], SHUT_RDWR), 0);
  }
  EXPECT_EQ(recv(pair[1], &byte_, 1, 0), 0);
}

TEST_F(SocketDoubleTest, AShutdownWithoutAPeer) {
  int fd = Open(SOCK_STREAM);
  EXPECT_EQ(DoubleShutdown(kHabits, fd, SHUT_RDWR),
            kHabits.shutdown_needs_no_peer ? 0 : -1);
}

TEST_F(SocketDoubleTest, ACloseWithUnreadInput) {
  std::array<int, 2> pair = Pair();
  ASSERT_EQ(send(pair[1], "x", 1, 0), 1);
  Close(pair[0]);
  EXPECT_EQ(recv(pair[1], &byte_, 1, 0), kHabits.close_sends_fin ? 0 : -1);
}

TEST_F(SocketDoubleTest, StreamsHaveTheBuffersOfTheirSystem) {
  int fd = Keep(DoubleSocket(kHabits, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (int name : {SO_SNDBUF, SO_RCVBUF}) {
    int bytes = 0;
    socklen_t length = sizeof(bytes);
    EXPECT_EQ(getsockopt(fd, SOL_SOCKET, name, &bytes, &length), 0);
    EXPECT_EQ(bytes, kHabits.stream_buffer);
  }
}

TEST_F(SocketDoubleTest, AnAcceptedSocketInheritsItsMode) {
  int listener = Open(SOCK_STREAM);
  ASSERT_EQ(listen(listener, 1), 0);
  Connect(Open(SOCK_STREAM), listener);
  int fd = Keep(DoubleAccept(kHabits, listener, SOCK_CLOEXEC));
  EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(SocketDoubleTest, WithoutADescriptorTheConnectionMayBeDropped) {
  int listener = Open(SOCK_STREAM);
  ASSERT_EQ(listen(listener, 1), 0);
  Connect(Open(SOCK_STREAM), listener);
  rlimit limit;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  rlimit none = limit;
  none.rlim_cur = static_cast<rlim_t>(dup(listener));
  close(static_cast<int>(none.rlim_cur));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  EXPECT_EQ(DoubleAccept(kHabits, listener, SOCK_CLOEXEC), -1);
  EXPECT_EQ(errno, EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  int fd = DoubleAccept(kHabits, listener, SOCK_CLOEXEC);
  EXPECT_EQ(fd >= 0, !kHabits.accept_drops);
  if (fd >= 0) close(fd);
}

}  // namespace
}  // namespace aios::test
