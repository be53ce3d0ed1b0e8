// Options that the program sets on sockets of aios, or has set before, and what
// it does with them in a child process. On Linux, whose options they are.

// Needs struct timespec, and does not include it.
// clang-format off
#include <time.h>
#include <linux/errqueue.h>
// clang-format on
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <any>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/conformance/conformance_test.h"

namespace aios::test {
namespace {

// Those with the sockets of Linux.
std::vector<KernelParam> RealKernels() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.name != "epoll" && kernel.name != "kqueue";
  });
  return kernels;
}

template <typename T>
void Set(Handle handle, int level, int name, T value) {
  ASSERT_EQ(setsockopt(handle, level, name, &value, sizeof(value)), 0)
      << strerror(errno);
}

void Linger(Handle handle, int seconds) {
  Set(handle, SOL_SOCKET, SO_LINGER, linger{.l_onoff = 1, .l_linger = seconds});
}

class ProgramOptionsTest : public ConformanceTest {};

INSTANTIATE_TEST_SUITE_P(All, ProgramOptionsTest,
                         testing::ValuesIn(RealKernels()), NameOf);

// ---- SO_LINGER.

// Longer than anything in a test may take.
constexpr int kLingerSeconds = 12;

TEST_P(ProgramOptionsTest, CloseDoesNotWaitForALinger) {
  enum { kAdopted, kByHandle, kByObject, kDestroyed, kAborted, kLast };
  for (int way = 0; way < kLast; ++way) {
    SCOPED_TRACE(way);
    Channel channel;
    if (way == kAdopted) {
      TcpPair pair = world().RawSocketPair(Family::kIpv4);
      channel.peer = std::move(pair.peer);
      Linger(pair.handle, kLingerSeconds);
      auto state = CreateAsyncIoState(collection(), pair.handle);
      ASSERT_OK(state);
      channel.state = *std::move(state);
    } else {
      channel = MakeChannel();
      Linger(way == kByObject ? std::any_cast<Handle>(channel.state->object())
                              : channel.state->handle(),
             kLingerSeconds);
    }
    // More than the peer, which does not read, takes: some of it waits in the
    // system.
    Recorder write(*this, "write");
    ASSERT_OK(channel.state->WriteBuffer(EndlessData(), write.Callback()));
    RunFor();
    Nanoseconds start = Now();
    if (way == kDestroyed) {
      channel.state.reset();
    } else if (way == kAborted) {
      bool closed = false;
      ASSERT_OK(channel.state->AbortAndClose(
          {.close_callback = [&](AsyncIoState&) { closed = true; }}));
      ASSERT_TRUE(RunUntil([&] { return closed; }));
    } else {
      channel.state->Close();
    }
    EXPECT_LT(Since(start), absl::Seconds(kLingerSeconds / 2));
    // The system goes on sending what it had taken.
    PeerRead read = channel.peer->ReceiveAll();
    EXPECT_TRUE(read.end);
    EXPECT_FALSE(read.bytes.empty());
  }
}

TEST_P(ProgramOptionsTest, CloseOfAnAcceptedStateDoesNotWaitForALinger) {
  std::unique_ptr<AsyncIoState> accepted;
  auto listener = AcceptTcpConnections(
      collection(), 0,
      [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
        accepted = std::move(state);
      },
      {.init_function = [](Handle handle) { Linger(handle, kLingerSeconds); },
       .address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_TRUE(RunUntil([&] { return accepted != nullptr; }));
  Recorder write(*this, "write");
  ASSERT_OK(accepted->WriteBuffer(EndlessData(), write.Callback()));
  RunFor();
  Nanoseconds start = Now();
  accepted.reset();
  listener->reset();
  EXPECT_LT(Since(start), absl::Seconds(kLingerSeconds / 2));
}

TEST_P(ProgramOptionsTest, CloseWithALingerOfZeroResets) {
  Channel channel = MakeChannel();
  Linger(channel.state->handle(), 0);
  channel.state->Close();
  EXPECT_EQ(channel.peer->ReceiveAll().error, Error(ECONNRESET));
}

TEST_P(ProgramOptionsTest, ALingerIsGivenBackAsItWas) {
  Channel channel = MakeChannel();
  Handle handle = channel.state->handle();
  Linger(handle, kLingerSeconds);
  channel.state->Close({.keep_alive = true});
  linger found = {};
  socklen_t length = sizeof(found);
  ASSERT_EQ(getsockopt(handle, SOL_SOCKET, SO_LINGER, &found, &length), 0);
  EXPECT_EQ(found.l_linger, kLingerSeconds);
  world().DirectClose(handle);
}

// ---- Error queues.

class ErrorQueueTest : public ProgramOptionsTest {
 protected:
  // Errors in the queue of the socket, which are taken out.
  std::vector<int> TakeDetails(Handle handle) {
    std::vector<int> errors;
    for (;;) {
      alignas(cmsghdr) std::array<char, 512> control;
      msghdr message = {};
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      if (recvmsg(handle, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
      for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
           part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != IPPROTO_IP || part->cmsg_type != IP_RECVERR) {
          continue;
        }
        sock_extended_err error;
        std::memcpy(&error, CMSG_DATA(part), sizeof(error));
        errors.push_back(static_cast<int>(error.ee_errno));
      }
    }
    return errors;
  }

  int TurnsOfAWhile() {
    int turns = 0;
    Nanoseconds start = Now();
    while (Since(start) < absl::Milliseconds(200)) {
      Turn(absl::Milliseconds(200) - Since(start));
      ++turns;
    }
    return turns;
  }

  void Send(AsyncIoState& state, const SocketAddress& target) {
    Recorder send(*this, "send");
    ASSERT_OK(state.SendMessageToAddress(target, "x", send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(send.last().status, IoStatus::kOk);
  }
};

INSTANTIATE_TEST_SUITE_P(All, ErrorQueueTest, testing::ValuesIn(RealKernels()),
                         NameOf);

TEST_P(ErrorQueueTest, AnErrorIsToldOnceAndItsDetailsDoNotSpinTheLoop) {
  SocketAddress nobody =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  enum { kOne, kMany, kWait, kLast };
  for (int kind = 0; kind < kLast; ++kind) {
    SCOPED_TRACE(kind);
    std::unique_ptr<AsyncIoState> state = MakeUdp();
    Set(state->handle(), IPPROTO_IP, IP_RECVERR, 1);
    std::string buffer(100, '\0');
    Recorder failed(*this, "failed");
    Recorder good(*this, "good");
    auto start = [&](Recorder& recorder) {
      IoCallback end = recorder.Callback(
          [kind](AsyncIoState& state, const IoResult& result) {
            if (kind == kMany && result.ok()) {
              EXPECT_OK(state.Finish());
            }
          });
      if (kind == kOne) return state->ReceiveMessage(buffer, std::move(end));
      if (kind == kMany) return state->ReceiveMessages(std::move(end));
      return state->WaitForInput(std::move(end));
    };
    ASSERT_OK(start(failed));
    Send(*state, nobody);
    ASSERT_TRUE(RunUntil(failed));
    EXPECT_EQ(failed.last().error, Error(ECONNREFUSED));
    ASSERT_OK(start(good));
    EXPECT_LT(TurnsOfAWhile(), 20);
    EXPECT_FALSE(good.called());
    EXPECT_EQ(peer->SendTo(*state->address(), "hello"), Error());
    ASSERT_TRUE(RunUntil(good));
    EXPECT_EQ(good.last().status, IoStatus::kOk);
  }
}

TEST_P(ErrorQueueTest, TheCallbackMayFetchTheDetails) {
  SocketAddress nobody =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  Set(state->handle(), IPPROTO_IP, IP_RECVERR, 1);
  std::string buffer(100, '\0');
  Recorder receive(*this, "receive");
  std::vector<int> details;
  ASSERT_OK(state->ReceiveMessage(
      buffer, receive.Callback([&](AsyncIoState& state, const IoResult&) {
        details = TakeDetails(state.handle());
      })));
  Send(*state, nobody);
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(details, std::vector<int>{ECONNREFUSED});
}

TEST_P(ErrorQueueTest, EachOfSeveralErrorsIsTold) {
  SocketAddress nobody =
      world().RefusingAddress(SocketType::kDatagram, Family::kIpv4);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  // Behind the back of aios, so that no send of the state takes an error.
  Handle handle = state->handle();
  Set(handle, IPPROTO_IP, IP_RECVERR, 1);
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_port = htons(nobody.port());
  target.sin_addr.s_addr = htonl(nobody.ip().ipv4());
  int sent = 0;
  for (int i = 0; i < 3; ++i) {
    if (sendto(handle, "x", 1, 0, reinterpret_cast<sockaddr*>(&target),
               sizeof(target)) == 1) {
      ++sent;
    }
  }
  // One that failed has taken the error of the one before.
  ASSERT_EQ(sent, 2);
  int told = 3 - sent;
  std::string buffer(100, '\0');
  for (; told < 2; ++told) {
    Recorder receive(*this, "receive");
    ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().error, Error(ECONNREFUSED));
  }
  Recorder receive(*this, "receive");
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  EXPECT_LT(TurnsOfAWhile(), 20);
}

// They are no errors, and the program's to fetch whenever it likes.
TEST_P(ErrorQueueTest, TimestampsStayAndDoNotSpinTheLoop) {
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  std::unique_ptr<AsyncIoState> state = MakeUdp();
  Set(state->handle(), SOL_SOCKET, SO_TIMESTAMPING,
      SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE);
  std::string buffer(100, '\0');
  Recorder receive(*this, "receive");
  ASSERT_OK(state->ReceiveMessage(buffer, receive.Callback()));
  Send(*state, peer->address());
  EXPECT_LT(TurnsOfAWhile(), 80);
  EXPECT_EQ(peer->SendTo(*state->address(), "hello"), Error());
  ASSERT_TRUE(RunUntil(receive));
  EXPECT_EQ(receive.last().data, "hello");
  msghdr message = {};
  if (recvmsg(state->handle(), &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
    GTEST_SKIP() << "this system has no timestamps: " << strerror(errno);
  }
}

// ---- Datagrams that are joined or cut.

TEST_P(ProgramOptionsTest, DatagramsStayWholeWhateverAnAdoptedSocketWasTold) {
  Handle handle = world().RawSocket(SocketType::kDatagram, Family::kIpv4);
  sockaddr_in any = {};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(handle, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  Set(handle, IPPROTO_UDP, UDP_GRO, 1);
  Set(handle, IPPROTO_UDP, UDP_SEGMENT, 100);
  Set(handle, IPPROTO_UDP, UDP_CORK, 1);
  auto adopted = CreateAsyncIoState(
      collection(), handle, {.udp = Udp::kUnconnected, .queue_output = true});
  ASSERT_OK(adopted);
  std::unique_ptr<AsyncIoState> sender = MakeUdp();
  // Neighbours of the same size and target go to the system as one message.
  std::vector<std::unique_ptr<Recorder>> sends;
  const std::string payload = Pattern(500);
  for (int i = 0; i < 8; ++i) {
    sends.push_back(std::make_unique<Recorder>(*this, "send"));
    ASSERT_OK(sender->SendMessageToAddress(*(*adopted)->address(), payload,
                                           sends.back()->Callback()));
  }
  std::string buffer(5000, '\0');
  for (int i = 0; i < 8; ++i) {
    Recorder receive(*this, "receive");
    ASSERT_OK((*adopted)->ReceiveMessage(buffer, receive.Callback()));
    ASSERT_TRUE(RunUntil(receive));
    EXPECT_EQ(receive.last().data, payload);
  }
  std::unique_ptr<UdpPeer> peer = world().Udp(Family::kIpv4);
  for (int i = 0; i < 2; ++i) {
    Recorder send(*this, "send");
    ASSERT_OK((*adopted)->SendMessageToAddress(peer->address(), payload,
                                               send.Callback()));
    ASSERT_TRUE(RunUntil(send));
    EXPECT_EQ(peer->Receive().payload, payload);
  }
}

// ---- fork.

class ForkTest : public ProgramOptionsTest {
 protected:
  // Runs `function` in a child of this process and returns how that has ended.
  // The child ends by _exit, as a test runner must.
  template <typename Function>
  int InAChild(Function function) {
    pid_t child = fork();
    if (child == 0) {
      function();
      _exit(testing::Test::HasFailure() ? 1 : 0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return status;
  }
};

// A kqueue is not there in a child, so the double of it shows nothing.
INSTANTIATE_TEST_SUITE_P(All, ForkTest, testing::Values(AllKernels().front()),
                         NameOf);

TEST_P(ForkTest, AChildThatDestroysItsCopiesDisturbsNobody) {
  ASSERT_EQ(kernel().name(), "epoll");
  std::vector<std::unique_ptr<AsyncIoState>> accepted;
  auto listener = AcceptTcpConnections(
      collection(), 0,
      [&](AcceptingHandle&, std::unique_ptr<AsyncIoState> state) {
        accepted.push_back(std::move(state));
      },
      {.address = world().host_ip(Family::kIpv4)});
  ASSERT_OK(listener);
  Channel channel = MakeChannel();
  std::string buffer(3, '\0');
  Recorder read(*this, "read");
  ASSERT_OK(channel.state->ReadBuffer(buffer, read.Callback()));
  std::unique_ptr<AsyncIoState> udp = MakeUdp();
  Recorder receive(*this, "receive");
  std::string datagram(10, '\0');
  ASSERT_OK(udp->ReceiveMessage(datagram, receive.Callback()));
  // All are watched from now on.
  Turn(absl::ZeroDuration());
  int status = InAChild([&] {
    listener->reset();
    channel.state.reset();
    udp->Close();
    DestroyCollection();
  });
  EXPECT_EQ(status, 0);
  std::unique_ptr<TcpPeer> peer =
      world().ConnectTo((*listener)->local_address());
  ASSERT_EQ(channel.peer->Send("abc"), Error());
  EXPECT_EQ(world().Udp(Family::kIpv4)->SendTo(*udp->address(), "hello"),
            Error());
  ASSERT_TRUE(RunUntil([&] {
    return read.called() && receive.called() && accepted.size() == 1;
  }));
  EXPECT_EQ(read.last().data, "abc");
  EXPECT_EQ(receive.last().data, "hello");
}

TEST_P(ForkTest, AChildMayHaveACollectionOfItsOwn) {
  Channel channel = MakeChannel();
  int status = InAChild([&] {
    channel.state->Close();
    RemakeCollection({});
    Channel other = MakeChannel();
    std::string buffer(3, '\0');
    Recorder read(*this, "read");
    ASSERT_OK(other.state->ReadBuffer(buffer, read.Callback()));
    ASSERT_EQ(other.peer->Send("abc"), Error());
    ASSERT_TRUE(RunUntil(read));
  });
  EXPECT_EQ(status, 0);
}

#ifndef NDEBUG
TEST_P(ForkTest, AChildThatRunsTheCollectionOfItsParentIsCaught) {
  Channel channel = MakeChannel();
  int status = InAChild([&] {
    fclose(stderr);
    Turn(absl::ZeroDuration());
  });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGABRT);
}
#endif

}  // namespace
}  // namespace aios::test
