// The double of kqueue does what docs/portability.md says of the systems that
// have it. Built once for each flavour.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace {

using Udata = decltype(kevent::udata);

constexpr timespec kNow = {};
constexpr timespec kLong = {.tv_sec = 10, .tv_nsec = 0};

Udata Token(uintptr_t number) { return std::bit_cast<Udata>(number); }

class KqueueDoubleTest : public testing::Test {
 protected:
  KqueueDoubleTest() : kq_(kqueue()) {
    EXPECT_GE(kq_, 0);
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair_.data()), 0);
  }
  ~KqueueDoubleTest() override {
    for (int fd : pair_) {
      if (fd >= 0) close(fd);
    }
    close(kq_);
  }

  static struct kevent Change(int ident, int16_t filter, uint16_t flags,
                              uintptr_t token, uint32_t fflags = 0) {
    struct kevent change = {};
    EV_SET(&change, static_cast<uintptr_t>(ident), filter, flags, fflags, 0,
           Token(token));
    return change;
  }

  // Result of a call with these changes and no room for events.
  int Tell(const struct kevent& change) {
    return kevent(kq_, &change, 1, nullptr, 0, nullptr);
  }

  std::vector<struct kevent> Call(std::span<const struct kevent> changes,
                                  size_t room,
                                  const timespec* timeout = &kNow) {
    std::vector<struct kevent> events(room);
    int count = kevent(kq_, changes.data(), static_cast<int>(changes.size()),
                       events.data(), static_cast<int>(room), timeout);
    EXPECT_GE(count, 0) << errno;
    events.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return events;
  }
  std::vector<struct kevent> Wait(const timespec* timeout, size_t room = 8) {
    return Call({}, room, timeout);
  }
  std::vector<struct kevent> Poll(size_t room = 8) { return Wait(&kNow, room); }

  void Send(int fd, size_t bytes = 1) {
    std::vector<char> zeros(bytes);
    EXPECT_EQ(write(fd, zeros.data(), bytes), static_cast<ssize_t>(bytes));
  }
  void Drain(int fd) {
    std::array<char, 4096> buffer;
    while (recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0) {
    }
  }

  int fd() const { return pair_[0]; }
  int peer() const { return pair_[1]; }
  int kq() const { return kq_; }

  void Close(int* fd) {
    close(*fd);
    *fd = -1;
  }

  int kq_;
  std::array<int, 2> pair_ = {-1, -1};
};

TEST_F(KqueueDoubleTest, ReportsWhatIsReadyEveryTime) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_READ, EV_ADD, 7)), 0);
  EXPECT_TRUE(Poll().empty());
  Send(peer());
  for (int i = 0; i < 3; ++i) {
    std::vector<struct kevent> events = Poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].ident, static_cast<uintptr_t>(fd()));
    EXPECT_EQ(events[0].filter, EVFILT_READ);
    EXPECT_EQ(events[0].flags & EV_ERROR, 0);
    EXPECT_EQ(events[0].udata, Token(7));
  }
  Drain(fd());
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, EachFilterHasItsEvent) {
  std::array<struct kevent, 2> changes = {
      Change(fd(), EVFILT_READ, EV_ADD, 1),
      Change(fd(), EVFILT_WRITE, EV_ADD, 2)};
  Send(peer());
  std::vector<struct kevent> events = Call(changes, 8);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_NE(events[0].filter, events[1].filter);
  EXPECT_EQ(events[0].ident, events[1].ident);
}

TEST_F(KqueueDoubleTest, EventsComeInTurnWhenThereIsNoRoom) {
  std::array<struct kevent, 2> changes = {
      Change(fd(), EVFILT_WRITE, EV_ADD, 1),
      Change(peer(), EVFILT_WRITE, EV_ADD, 2)};
  std::vector<struct kevent> first = Call(changes, 1);
  std::vector<struct kevent> second = Poll(1);
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_NE(first[0].ident, second[0].ident);
}

TEST_F(KqueueDoubleTest, AddingAgainModifies) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 2)), 0);
  std::vector<struct kevent> events = Poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].udata, Token(2));
}

TEST_F(KqueueDoubleTest, WithClearAnEventComesOnce) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_READ, EV_ADD | EV_CLEAR, 1)), 0);
  Send(peer(), 2);
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_TRUE(Poll().empty());
  Send(peer());
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_TRUE(Poll().empty());
  // It stays so when added without, and what is pending is reported again.
  ASSERT_EQ(Tell(Change(fd(), EVFILT_READ, EV_ADD, 1)), 0);
  EXPECT_EQ(Poll().size(), 1u);
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, WhatWasDeletedIsSilent) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_DELETE, 1)), 0);
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, AFilterOutlivesTheOtherOfItsDescriptor) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_READ, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_DELETE, 1)), 0);
  EXPECT_TRUE(Poll().empty());
  Send(peer());
  EXPECT_EQ(Poll().size(), 1u);
}

TEST_F(KqueueDoubleTest, DisabledFiltersAreSilent) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_DISABLE, 1)), 0);
  EXPECT_TRUE(Poll().empty());
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ENABLE, 1)), 0);
  EXPECT_EQ(Poll().size(), 1u);
}

TEST_F(KqueueDoubleTest, ABareEnableKeepsOrOverwritesTheUdata) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ENABLE, 0)), 0);
  std::vector<struct kevent> events = Poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].udata, Token(AIOS_KQUEUE_OVERWRITES_UDATA ? 0 : 1));
}

TEST_F(KqueueDoubleTest, ChangesThatFailAreEventsAndComeAlone) {
  int closed = dup(fd());
  close(closed);
  std::array<struct kevent, 4> changes = {
      Change(fd(), EVFILT_WRITE, EV_ADD, 1),
      Change(closed, EVFILT_READ, EV_ADD, 2),
      Change(fd(), EVFILT_READ, EV_DELETE, 3),
      Change(peer(), EVFILT_WRITE, EV_ADD, 4)};
  std::vector<struct kevent> events = Call(changes, 8);
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].flags & EV_ERROR, EV_ERROR);
  EXPECT_EQ(events[0].data, EBADF);
  EXPECT_EQ(events[0].ident, static_cast<uintptr_t>(closed));
  EXPECT_EQ(events[0].udata, Token(2));
  EXPECT_EQ(events[0].flags & EV_ADD,
            AIOS_KQUEUE_ERRORS_KEEP_FLAGS ? EV_ADD : 0);
  EXPECT_EQ(events[1].data, ENOENT);
  EXPECT_EQ(events[1].udata, Token(3));
  // The others were made.
  EXPECT_EQ(Poll().size(), 2u);
}

TEST_F(KqueueDoubleTest, WithoutRoomTheFirstErrorEndsTheCall) {
  std::array<struct kevent, 2> changes = {
      Change(fd(), EVFILT_READ, EV_DELETE, 1),
      Change(fd(), EVFILT_WRITE, EV_ADD, 2)};
  EXPECT_EQ(kevent(kq(), changes.data(), 2, nullptr, 0, nullptr), -1);
  EXPECT_EQ(errno, ENOENT);
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, AReceiptIsAnErrorOfZero) {
  struct kevent change = Change(fd(), EVFILT_WRITE, EV_ADD | EV_RECEIPT, 1);
  std::vector<struct kevent> events = Call({&change, 1}, 8);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].flags & EV_ERROR, EV_ERROR);
  EXPECT_EQ(events[0].data, 0);
  EXPECT_EQ(Poll().size(), 1u);
}

TEST_F(KqueueDoubleTest, WhatCannotBeWatchedIsRefused) {
  int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_EQ(Tell(Change(null, EVFILT_READ, EV_ADD, 1)), -1);
  EXPECT_EQ(errno, EINVAL);
  close(null);
  EXPECT_EQ(Tell(Change(fd(), -7, EV_ADD, 1)), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(Tell(Change(-1, EVFILT_READ, EV_ADD, 1)), -1);
  EXPECT_EQ(errno, EBADF);
}

TEST_F(KqueueDoubleTest, AClosedDescriptorIsForgottenThoughADuplicateIsOpen) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)), 0);
  int number = fd();
  int duplicate = dup(fd());
  Close(&pair_[0]);
  EXPECT_TRUE(Poll().empty());
  // Also when the same socket comes again under the number.
  ASSERT_EQ(dup(duplicate), number);
  pair_[0] = number;
  EXPECT_TRUE(Poll().empty());
  EXPECT_EQ(Tell(Change(number, EVFILT_WRITE, EV_DELETE, 1)), -1);
  EXPECT_EQ(errno, ENOENT);
  close(duplicate);
}

TEST_F(KqueueDoubleTest, AnEndComesWithWhatIsUnread) {
  ASSERT_EQ(Tell(Change(fd(), EVFILT_READ, EV_ADD, 1)), 0);
  Send(peer());
  Close(&pair_[1]);
  std::vector<struct kevent> events = Poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].flags & EV_EOF, EV_EOF);
}

TEST_F(KqueueDoubleTest, AnUnconnectedSocketIsSilentUntilItIsConnected) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  ASSERT_EQ(bind(listener, generic, length), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  ASSERT_EQ(getsockname(listener, generic, &length), 0);
  int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(Tell(Change(client, EVFILT_WRITE, EV_ADD, 1)), 0);
  ASSERT_EQ(Tell(Change(client, EVFILT_READ, EV_ADD, 1)), 0);
  EXPECT_TRUE(Poll().empty());
  ASSERT_EQ(connect(client, generic, length), 0);
  std::vector<struct kevent> events = Wait(&kLong);
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].filter, EVFILT_WRITE);
  close(client);
  close(listener);
}

TEST_F(KqueueDoubleTest, BadTimeoutsAreRefused) {
  for (timespec timeout : {timespec{.tv_sec = -1, .tv_nsec = 0},
                           timespec{.tv_sec = 0, .tv_nsec = -1},
                           timespec{.tv_sec = 0, .tv_nsec = 1'000'000'000},
                           timespec{.tv_sec = 100'000'001, .tv_nsec = 0}}) {
    struct kevent event;
    EXPECT_EQ(kevent(kq(), nullptr, 0, &event, 1, &timeout), -1);
    EXPECT_EQ(errno, EINVAL);
  }
}

TEST_F(KqueueDoubleTest, ATimeoutPasses) {
  constexpr timespec kShort = {.tv_sec = 0, .tv_nsec = 2'000'000};
  timespec begin;
  timespec end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  EXPECT_TRUE(Wait(&kShort).empty());
  clock_gettime(CLOCK_MONOTONIC, &end);
  EXPECT_GE(
      (end.tv_sec - begin.tv_sec) * 1'000'000'000 + end.tv_nsec - begin.tv_nsec,
      kShort.tv_nsec);
}

TEST_F(KqueueDoubleTest, ASleepEndsAtATick) {
  constexpr int64_t kTick = AIOS_KQUEUE_TICK_NANOSECONDS;
  constexpr timespec kShort = {.tv_sec = 0, .tv_nsec = 1'000'000};
  auto now = [] {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  int64_t begin = now();
  EXPECT_TRUE(Wait(&kShort).empty());
  EXPECT_GE(now() / kTick * kTick, begin + kShort.tv_nsec);
}

TEST_F(KqueueDoubleTest, AForkedChildHasNone) {
  pid_t child = fork();
  if (child == 0) {
    int result = kevent(kq(), nullptr, 0, nullptr, 0, nullptr);
    _exit(result == -1 && errno == EBADF ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(Poll().empty()) << "the parent keeps its own";
}

TEST_F(KqueueDoubleTest, WithoutRoomItDoesNotWait) {
  EXPECT_EQ(kevent(kq(), nullptr, 0, nullptr, 0, nullptr), 0);
}

TEST_F(KqueueDoubleTest, AnotherThreadsChangeEndsAWait) {
  std::thread other([&] { Tell(Change(fd(), EVFILT_WRITE, EV_ADD, 1)); });
  EXPECT_EQ(Wait(&kLong).size(), 1u);
  other.join();
}

TEST_F(KqueueDoubleTest, IsInheritedUntilToldOtherwise) {
  EXPECT_EQ(fcntl(kq(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(KqueueDoubleTest, AClosedKqueueIsNone) {
  int other = kqueue();
  close(other);
  EXPECT_EQ(kevent(other, nullptr, 0, nullptr, 0, nullptr), -1);
  EXPECT_EQ(errno, EBADF);
}

#if AIOS_KQUEUE_HAS_USER_FILTER

TEST_F(KqueueDoubleTest, ATriggerIsReportedOnce) {
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 9)), 0);
  EXPECT_TRUE(Poll().empty());
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, 0, 9, NOTE_TRIGGER)), 0);
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, 0, 9, NOTE_TRIGGER)), 0);
  std::vector<struct kevent> events = Poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].filter, EVFILT_USER);
  EXPECT_EQ(events[0].udata, Token(9));
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, WaysToLoseATrigger) {
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 9, NOTE_TRIGGER)),
            0);
  EXPECT_TRUE(Poll().empty());
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_CLEAR, 9, NOTE_TRIGGER)), 0);
  EXPECT_TRUE(Poll().empty());
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, 0, 9, NOTE_TRIGGER)), 0);
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 9)), 0);
  EXPECT_TRUE(Poll().empty());
}

TEST_F(KqueueDoubleTest, ATriggerMayOverwriteTheUdata) {
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 9)), 0);
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, 0, 0, NOTE_TRIGGER)), 0);
  std::vector<struct kevent> events = Poll();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].udata, Token(AIOS_KQUEUE_OVERWRITES_UDATA ? 0 : 9));
}

TEST_F(KqueueDoubleTest, ATriggerEndsAnothersWait) {
  ASSERT_EQ(Tell(Change(0, EVFILT_USER, EV_ADD | EV_CLEAR, 9)), 0);
  constexpr int kRounds = 200;
  std::atomic<int> done = 0;
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      Tell(Change(0, EVFILT_USER, 0, 9, NOTE_TRIGGER));
      done.wait(i);
    }
  });
  for (int i = 0; i < kRounds; ++i) {
    EXPECT_EQ(Wait(&kLong).size(), 1u);
    done.store(i + 1);
    done.notify_one();
  }
  other.join();
}

#else

TEST_F(KqueueDoubleTest, ThereIsNoUserFilter) {
#ifdef EVFILT_USER
  FAIL() << "EVFILT_USER is defined";
#endif
}

#endif

}  // namespace
