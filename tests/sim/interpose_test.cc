// The clocks and the randomness that libraries read are the simulation's on the
// thread where one runs, and the system's everywhere else.

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/time.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "sim/simulation.h"

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
  std::string bytes;
  std::array<char, 13> buffer;
  EXPECT_EQ(getrandom(buffer.data(), buffer.size(), 0),
            static_cast<ssize_t>(buffer.size()));
  bytes.append(buffer.data(), buffer.size());
  EXPECT_EQ(getentropy(buffer.data(), buffer.size()), 0);
  bytes.append(buffer.data(), buffer.size());
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 36)
  arc4random_buf(buffer.data(), buffer.size());
  bytes.append(buffer.data(), buffer.size());
  bytes += std::to_string(arc4random());
#endif
  bytes += std::to_string(rand());
  bytes += std::to_string(random());
  FILE* file = fopen("/dev/urandom", "r");
  EXPECT_NE(file, nullptr);
  if (file != nullptr) {
    EXPECT_EQ(fread(buffer.data(), 1, buffer.size(), file), buffer.size());
    bytes.append(buffer.data(), buffer.size());
    fclose(file);
  }
  return bytes;
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

TEST(Interpose, ProcessorTimeStaysTheSystems) {
  sim::Simulation simulation;
  Inside(simulation,
         [&] { EXPECT_LT(Read(CLOCK_PROCESS_CPUTIME_ID), 900 * kSecond); });
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

TEST(Interpose, RandomnessComesFromTheSeed) {
  auto draw = [](uint64_t seed) {
    sim::Simulation simulation({.seed = seed});
    std::string bytes;
    Inside(simulation, [&] { bytes = Randomness() + Randomness(); });
    return bytes;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
  // Not the same again and again within a run, either.
  sim::Simulation simulation;
  std::set<std::string> seen;
  Inside(simulation, [&] {
    for (int i = 0; i != 50; ++i) seen.insert(Randomness());
  });
  EXPECT_EQ(seen.size(), 50u);
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
    for (int i = 0; i != 200; ++i) {
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
