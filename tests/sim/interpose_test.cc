// The clocks and the randomness that libraries read are the simulation's on the
// thread where one runs, and the system's everywhere else.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"
#include "tests/programs/program.h"
#include "tests/sim/looks_outside.h"

namespace aios::test {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

int64_t Read(clockid_t clock) {
  timespec time;
  EXPECT_EQ(clock_gettime(clock, &time), 0);
  return time.tv_sec * kSecond + time.tv_nsec;
}

// Runs the function inside of the simulation.
void Inside(sim::Simulation& simulation, std::function<void()> function) {
  bool done = false;
  simulation.After(absl::ZeroDuration(), [&] {
    function();
    done = true;
  });
  EXPECT_TRUE(simulation.RunUntil([&] { return done; }));
}

// Everything random that a library could draw, as text.
std::string Randomness() {
  static const auto* const looks = new std::vector<Look>(LooksAtRandomness());
  std::string bytes;
  for (const Look& look : *looks) bytes += look.look();
  return bytes;
}

// What is open in this process.
int DescriptorsOpen() {
  int count = 0;
  for (int descriptor = 0; descriptor != 1024; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) != -1) ++count;
  }
  return count;
}

TEST(Interpose, MonotonicClocksShowVirtualTime) {
  sim::Simulation simulation;
  simulation.RunFor(absl::Seconds(5));
  Inside(simulation, [&] {
    EXPECT_EQ(Read(CLOCK_MONOTONIC), simulation.now());
    EXPECT_EQ(Read(CLOCK_BOOTTIME), simulation.now());
    EXPECT_EQ(std::chrono::steady_clock::now().time_since_epoch().count(),
              simulation.now());
  });
  Nanoseconds before = simulation.now();
  simulation.RunFor(absl::Hours(1));
  Inside(simulation,
         [&] { EXPECT_EQ(Read(CLOCK_MONOTONIC) - before, 3600 * kSecond); });
}

TEST(Interpose, RealtimeClocksShowTheSimulationsDate) {
  const absl::Time start = absl::FromUnixSeconds(1'234'567'890);
  sim::Simulation simulation({.start = start});
  simulation.RunFor(absl::Milliseconds(2500));
  Inside(simulation, [&] {
    EXPECT_EQ(absl::FromChrono(std::chrono::system_clock::now()),
              start + absl::Milliseconds(2500));
    EXPECT_EQ(time(nullptr), 1'234'567'892);
    time_t written = 0;
    EXPECT_EQ(time(&written), written);
    timeval now;
    EXPECT_EQ(gettimeofday(&now, nullptr), 0);
    EXPECT_EQ(now.tv_sec, 1'234'567'892);
    EXPECT_EQ(now.tv_usec, 500'000);
  });
}

TEST(Interpose, ProcessorTimeIsVirtualTime) {
  sim::Simulation simulation;
  Inside(simulation, [&] {
    EXPECT_EQ(Read(CLOCK_PROCESS_CPUTIME_ID), simulation.now());
    EXPECT_EQ(clock(), simulation.now() / 1'000);
  });
  EXPECT_LT(Read(CLOCK_PROCESS_CPUTIME_ID), 900 * kSecond);
}

TEST(Interpose, EveryClockHasTheSameResolution) {
  sim::Simulation simulation;
  Inside(simulation, [&] {
    for (clockid_t clock :
         {CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC,
          CLOCK_MONOTONIC_COARSE, CLOCK_PROCESS_CPUTIME_ID}) {
      timespec resolution = {};
      EXPECT_EQ(clock_getres(clock, &resolution), 0);
      EXPECT_EQ(resolution.tv_sec, 0);
      EXPECT_EQ(resolution.tv_nsec, 1);
      EXPECT_EQ(clock_getres(clock, nullptr), 0);
    }
  });
}

TEST(Interpose, AClockThatDoesNotExistIsRefusedAsEver) {
  sim::Simulation simulation;
  Inside(simulation, [&] {
    timespec time;
    EXPECT_EQ(clock_gettime(1000, &time), -1);
    EXPECT_EQ(errno, EINVAL);
    EXPECT_EQ(timespec_get(&time, 1000), 0);
  });
}

TEST(Interpose, TheBodyIsInsideWithoutARun) {
  const absl::Time start = absl::FromUnixSeconds(1'234'567'890);
  sim::Simulation simulation({.start = start});
  simulation.CallInside([&] {
    EXPECT_EQ(sim::Simulation::Current(), &simulation);
    EXPECT_EQ(std::chrono::steady_clock::now().time_since_epoch().count(),
              simulation.now());
    simulation.RunFor(absl::Hours(1));
    EXPECT_EQ(std::chrono::steady_clock::now().time_since_epoch().count(),
              simulation.now());
    EXPECT_EQ(absl::FromChrono(std::chrono::system_clock::now()),
              start + absl::Hours(1));
  });
  EXPECT_EQ(sim::Simulation::Current(), nullptr);
}

TEST(Interpose, OutsideOfARunTheClocksAreTheSystems) {
  sim::Simulation simulation({.start = absl::FromUnixSeconds(1'000)});
  simulation.RunFor(absl::Hours(1));
  // A simulation begins in 1970 here; and this program was not started then.
  EXPECT_GT(absl::FromChrono(std::chrono::system_clock::now()),
            absl::FromUnixSeconds(1'500'000'000));
  EXPECT_GT(time(nullptr), 1'500'000'000);
  EXPECT_EQ(sim::Simulation::Current(), nullptr);
  int64_t first = Read(CLOCK_MONOTONIC);
  EXPECT_NE(first, simulation.now());
  EXPECT_GE(Read(CLOCK_MONOTONIC), first);
}

class LooksTest : public testing::TestWithParam<Look> {};

TEST_P(LooksTest, SeesTheSameInTwoRuns) {
  EXPECT_EQ(SeenInASimulation(GetParam(), 7), SeenInASimulation(GetParam(), 7));
}

std::string TestName(const testing::TestParamInfo<Look>& info) {
  std::string name;
  for (char c : info.param.name) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) name += c;
  }
  return absl::StrCat(name, info.index);
}

INSTANTIATE_TEST_SUITE_P(Outside, LooksTest, testing::ValuesIn(LooksOutside()),
                         TestName);

class LooksAtRandomnessTest : public testing::TestWithParam<Look> {};

TEST_P(LooksAtRandomnessTest, FollowsFromTheSeedAndNeverComesTwice) {
  EXPECT_NE(SeenInASimulation(GetParam(), 7), SeenInASimulation(GetParam(), 8));
  sim::Simulation simulation;
  std::set<std::string> seen;
  Inside(simulation, [&] {
    for (int i = 0; i != 20; ++i) seen.insert(GetParam().look());
  });
  EXPECT_EQ(seen.size(), 20u);
}

INSTANTIATE_TEST_SUITE_P(Outside, LooksAtRandomnessTest,
                         testing::ValuesIn(LooksAtRandomness()), TestName);

TEST(Interpose, AnotherProcessSeesTheSame) {
  Program program("tests/sim/looks", {});
  std::string expected;
  for (const Look& look : LooksOutside()) {
    absl::StrAppend(&expected, look.name, ": ", SeenInASimulation(look, 7),
                    "\n");
  }
  EXPECT_EQ(program.Wait(), 0) << program.err();
  EXPECT_EQ(program.out(), expected);
}

// A program that seeds the C library's generators finds them as it left them.
TEST(Interpose, GeneratorsOutsideAreNotDisturbed) {
  auto draw = [](bool between) {
    srand(5);
    srand48(5);
    if (between) {
      sim::Simulation simulation;
      Inside(simulation, [] {
        srand(static_cast<unsigned>(rand()));
        srand48(lrand48() + 1);
        std::array<unsigned short, 7> parameters = {1, 2, 3, 4, 5, 6, 7};
        seed48(parameters.data());
        lcong48(parameters.data());
      });
    }
    return absl::StrCat(rand(), " ", random(), " ", lrand48(), " ", mrand48());
  };
  EXPECT_EQ(draw(true), draw(false));
}

// Generators whose state is the caller's give what they give outside.
TEST(Interpose, GeneratorsOfTheCallersAreLeftAlone) {
  auto draw = [] {
    unsigned seed = 5;
    std::array<unsigned short, 3> seeds = {1, 2, 3};
    return absl::StrCat(rand_r(&seed), " ", nrand48(seeds.data()));
  };
  std::string inside;
  sim::Simulation simulation;
  Inside(simulation, [&] { inside = draw(); });
  EXPECT_EQ(inside, draw());
}

TEST(Interpose, ARandomDeviceLeavesNoDescriptorBehind) {
  sim::Simulation simulation;
  Inside(simulation, [] { Randomness(); });
  int before = DescriptorsOpen();
  Inside(simulation, [] {
    for (int i = 0; i != 5; ++i) Randomness();
    FILE* file = fopen("/dev/urandom", "r");
    ASSERT_NE(file, nullptr);
    EXPECT_GE(fileno(file), 0);
    EXPECT_EQ(fclose(file), 0);
  });
  EXPECT_EQ(DescriptorsOpen(), before);
}

TEST(Interpose, AFileOfARandomDeviceReadsTheSystemsAfterTheRun) {
  auto draw = [] {
    sim::Simulation simulation;
    FILE* file = nullptr;
    Inside(simulation, [&] { file = fopen("/dev/urandom", "r"); });
    std::array<char, 16> bytes = {};
    EXPECT_EQ(fread(bytes.data(), 1, bytes.size(), file), bytes.size());
    fclose(file);
    return std::string(bytes.data(), bytes.size());
  };
  EXPECT_NE(draw(), draw());
}

// As from any descriptor that is none.
TEST(Interpose, ReadingFailsAsEver) {
  sim::Simulation simulation;
  Inside(simulation, [] {
    char byte;
    errno = 0;
    EXPECT_EQ(read(-1, &byte, 1), -1);
    EXPECT_EQ(errno, EBADF);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    EXPECT_EQ(write(ends[1], "ab", 2), 2);
    std::array<char, 8> buffer;
    errno = 0;
    EXPECT_EQ(read(ends[0], buffer.data(), buffer.size()), 2);
    EXPECT_EQ(errno, 0);
    close(ends[0]);
    close(ends[1]);
  });
}

TEST(Interpose, OtherSystemCallsByNumberAreMadeAsEver) {
  sim::Simulation simulation;
  Inside(simulation, [] {
    EXPECT_EQ(syscall(SYS_getpid), getpid());
    EXPECT_EQ(syscall(SYS_close, -1), -1);
    EXPECT_EQ(errno, EBADF);
  });
  EXPECT_EQ(syscall(SYS_getpid), getpid());
}

TEST(Interpose, ThreadsThatAreStartedAreCounted) {
  sim::Simulation simulation;
  std::thread([] {}).join();
  EXPECT_EQ(simulation.threads_started(), 0);
  Inside(simulation, [] {
    std::thread([] {}).join();
    EXPECT_EQ(std::async(std::launch::async, [] { return 7; }).get(), 7);
  });
  EXPECT_EQ(simulation.threads_started(), 2);
}

TEST(Interpose, OutsideOfARunRandomnessIsTheSystems) {
  auto draw = [] {
    sim::Simulation simulation({.seed = 5});
    simulation.RunFor(absl::Seconds(1));
    return Randomness();
  };
  EXPECT_NE(draw(), draw());
}

TEST(Interpose, OtherFilesAreOpenedAsEver) {
  sim::Simulation simulation;
  Inside(simulation, [&] {
    EXPECT_EQ(fopen("/does/not/exist", "r"), nullptr);
    FILE* file = fopen("/dev/null", "r");
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(fgetc(file), EOF);
    fclose(file);
  });
}

TEST(Interpose, TwoSimulationsOnTwoThreadsDoNotMeet) {
  auto run = [](uint64_t seed, int64_t date, std::atomic<int>& at_work) {
    sim::Simulation simulation(
        {.seed = seed, .start = absl::FromUnixSeconds(date)});
    // Both are within a run at the same time.
    ++at_work;
    std::string seen;
    for (int i = 0; i != 50; ++i) {
      Inside(simulation, [&] {
        if (i == 0) {
          while (at_work != 2) std::this_thread::yield();
        }
        EXPECT_EQ(sim::Simulation::Current(), &simulation);
        EXPECT_EQ(Read(CLOCK_MONOTONIC), simulation.now());
        EXPECT_EQ(time(nullptr), date + i);
        seen += Randomness();
      });
      simulation.RunFor(absl::Seconds(1));
    }
    return seen;
  };
  std::atomic<int> at_work = 0;
  std::string other;
  std::thread thread([&] { other = run(1, 1'000, at_work); });
  std::string mine = run(2, 2'000'000'000, at_work);
  thread.join();
  EXPECT_NE(mine, other);
  // As each would be alone.
  at_work = 1;
  EXPECT_EQ(run(1, 1'000, at_work), other);
  at_work = 1;
  EXPECT_EQ(run(2, 2'000'000'000, at_work), mine);
}

TEST(Interpose, AThreadWithoutASimulationReadsTheSystems) {
  sim::Simulation simulation({.start = absl::FromUnixSeconds(1'000)});
  Inside(simulation, [&] {
    time_t here = time(nullptr);
    time_t there = 0;
    std::thread([&] { there = time(nullptr); }).join();
    EXPECT_EQ(here, 1'000);
    EXPECT_GT(there, 1'500'000'000);
  });
}

TEST(Interpose, EachHostHasItsRealtimeClock) {
  sim::Simulation simulation({.start = absl::FromUnixSeconds(5'000)});
  sim::Host& late =
      simulation.AddHost("late", {.clock_offset = -absl::Seconds(100)});
  sim::Host& fast =
      simulation.AddHost("fast", {.clock_drift_per_million = 1'000});
  EXPECT_EQ(late.Now(), absl::FromUnixSeconds(4'900));
  simulation.RunFor(absl::Seconds(1'000));
  EXPECT_EQ(late.Now(), absl::FromUnixSeconds(5'900));
  EXPECT_EQ(fast.Now(), absl::FromUnixSeconds(6'001));
  fast.SetClockDrift(0);
  fast.StepClock(-absl::Seconds(1));
  simulation.RunFor(absl::Seconds(10));
  EXPECT_EQ(fast.Now(), absl::FromUnixSeconds(6'010));
  // A program sees that of its host.
  int64_t seen = 0;
  std::unique_ptr<Poller> poller;
  ASSERT_TRUE(late.kernel().NewPoller(&poller).ok());
  late.kernel().Drive(*poller, [&]() -> Nanoseconds {
    seen = time(nullptr);
    return kForever;
  });
  simulation.RunFor(absl::Microseconds(1));
  EXPECT_EQ(seen, 5'910);
}

}  // namespace
}  // namespace aios::test
