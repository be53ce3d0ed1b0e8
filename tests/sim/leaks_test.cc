// What does not follow from the seed and cannot be made to: SIMULATED_TEST
// finds it, and says what kind of thing it is.

#include <stdlib.h>
#include <sys/personality.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "aios/kernel.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"
#include "tests/sim/looks_outside.h"

namespace aios::test {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
#else
constexpr bool kAddressSanitizer = false;
#endif

constexpr const char* kOutlivesARun =
    "it is something that outlives a run: a static or global object (a "
    "generator, a counter";
constexpr const char* kAddresses =
    "it depends on where things lie in memory: a std::set or std::map ordered "
    "by pointers, the order of absl::flat_hash_set";
constexpr const char* kOutside =
    "it comes from outside: threads (std::thread, std::async), the processor's "
    "counters and random numbers (rdtsc";

// Makes the trace depend on the bits.
void Show(sim::Simulation& simulation, uint64_t bits) {
  static constexpr const char* kName = "leaky";
  sim::Host* host = simulation.FindHost(kName);
  if (host == nullptr) host = &simulation.AddHost(kName);
  for (int i = 0; i != 64; ++i) {
    Handle handle = kNoHandle;
    EXPECT_TRUE(host->kernel()
                    .Open((bits >> i & 1) != 0 ? SocketType::kDatagram
                                               : SocketType::kStream,
                          Family::kIpv4, &handle)
                    .ok());
    host->kernel().Close(handle);
  }
}

// The failures of a simulated test with this body.
std::string Failures(const std::function<void(sim::Simulation&)>& body) {
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    sim::RunSimulated(body, {1, 1});
  }
  std::string text;
  for (int i = 0; i != failures.size(); ++i) {
    absl::StrAppend(&text, failures.GetTestPartResult(i).message(), "\n");
  }
  return text;
}

bool AddressesCanBeFixed() {
  int before = personality(0xffffffff);
  bool can = before != -1 && personality(static_cast<unsigned long>(before) |
                                         ADDR_NO_RANDOMIZE) != -1;
  if (before != -1) personality(static_cast<unsigned long>(before));
  return can;
}

// A test of a body that leaks: each is a test of its own, as the process in
// which it runs again must not have run others before.
class LeaksTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!AddressesCanBeFixed()) {
      GTEST_SKIP() << "without fixed addresses kinds cannot be told apart";
    }
  }

  void ExpectFound(const std::function<void(sim::Simulation&)>& body,
                   const char* where, const char* kind) {
    std::string text = Failures(body);
    EXPECT_NE(text.find(where), std::string::npos) << text;
    EXPECT_NE(text.find(kind), std::string::npos) << text;
    EXPECT_NE(text.find("is the first that differs"), std::string::npos)
        << text;
  }
};

constexpr const char* kTheSecondTime = "another trace the second time";
constexpr const char* kElsewhere = "another trace in another process";
constexpr const char* kAnywhere = "another trace";

TEST_F(LeaksTest, AStaticGenerator) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        static std::mt19937_64 generator;
        Show(simulation, generator());
      },
      kTheSecondTime, kOutlivesARun);
}

TEST_F(LeaksTest, AStaticGeneratorThatIsSeededInTheBody) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        static std::mt19937_64 generator{std::random_device{}()};
        Show(simulation, generator());
      },
      kTheSecondTime, kOutlivesARun);
}

TEST_F(LeaksTest, AStaticCounter) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        static uint64_t count = 0;
        Show(simulation, ++count);
      },
      kTheSecondTime, kOutlivesARun);
}

TEST_F(LeaksTest, RandRWithAStaticState) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        static unsigned state = 1;
        Show(simulation, static_cast<uint64_t>(rand_r(&state)));
      },
      kTheSecondTime, "the state of rand_r, erand48, nrand48 or jrand48");
}

TEST_F(LeaksTest, ASetOrderedByPointers) {
  if (kAddressSanitizer) {
    GTEST_SKIP() << "the address sanitizer gives out addresses in the order of "
                    "the allocations, in every run";
  }
  ExpectFound(
      [](sim::Simulation& simulation) {
        std::vector<std::unique_ptr<int>> numbers;
        std::set<int*> ordered;
        for (int i = 0; i != 32; ++i) {
          numbers.push_back(std::make_unique<int>(i));
          ordered.insert(numbers.back().get());
        }
        for (const int* number : ordered) {
          Show(simulation, static_cast<uint64_t>(*number));
        }
      },
      kAnywhere, kAddresses);
}

TEST_F(LeaksTest, TheOrderOfAFlatHashSet) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        absl::flat_hash_set<int> numbers;
        for (int i = 0; i != 50; ++i) numbers.insert(i);
        for (int number : numbers) {
          Show(simulation, static_cast<uint64_t>(number));
        }
      },
      kAnywhere, kAddresses);
}

int a_global = 0;

TEST_F(LeaksTest, TheAddressOfAStaticObject) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        Show(simulation, reinterpret_cast<uintptr_t>(&a_global));
      },
      kElsewhere, kAddresses);
}

#if defined(__x86_64__)
TEST_F(LeaksTest, Rdtsc) {
  ExpectFound([](sim::Simulation& simulation) { Show(simulation, __rdtsc()); },
              kTheSecondTime, kOutside);
}
#endif

TEST_F(LeaksTest, AThreadThatReadsTheClock) {
  auto body = [](sim::Simulation& simulation) {
    uint64_t now = 0;
    std::thread([&] {
      now = static_cast<uint64_t>(
          std::chrono::steady_clock::now().time_since_epoch().count());
    }).join();
    Show(simulation, now);
  };
  std::string text = Failures(body);
  EXPECT_NE(text.find(kOutside), std::string::npos) << text;
  EXPECT_NE(text.find("The body has started 1 thread,"), std::string::npos)
      << text;
}

TEST_F(LeaksTest, StdAsync) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        uint64_t sum = 0;
        for (int i = 0; i != 2; ++i) {
          sum += static_cast<uint64_t>(
              std::async(std::launch::async,
                         [] { return std::chrono::steady_clock::now(); })
                  .get()
                  .time_since_epoch()
                  .count());
        }
        Show(simulation, sum);
      },
      kTheSecondTime, "The body has started 2 threads,");
}

TEST_F(LeaksTest, TheNumberOfTheProcess) {
  ExpectFound(
      [](sim::Simulation& simulation) {
        Show(simulation, static_cast<uint64_t>(getpid()));
      },
      kElsewhere, "the number of the process");
}

const uint64_t before_main = std::random_device{}();

TEST_F(LeaksTest, AStaticObjectThatWasSeededBeforeTheRun) {
  ExpectFound(
      [](sim::Simulation& simulation) { Show(simulation, before_main); },
      kElsewhere, "a static object that was made of one of these before");
}

// ---- What is not found where there is nothing.

TEST(SimulatedTestTest, LooksThatAreCaughtLeakNothing) {
  // Some are made of what outlives a run, if nothing of the simulation's.
  static const auto* const looks = new std::vector<Look>(LooksOutside());
  EXPECT_EQ(Failures([](sim::Simulation& simulation) {
              for (const Look& look : *looks) {
                uint64_t bits = 0;
                for (char c : look.look()) bits = sim::Mix(bits, c);
                Show(simulation, bits);
              }
            }),
            "");
}

SIMULATED_TEST(SimulatedTestTest, ClocksInTheBodyShowVirtualTime) {
  auto steady = [] {
    return std::chrono::steady_clock::now().time_since_epoch().count();
  };
  EXPECT_EQ(steady(), simulation.now());
  simulation.RunFor(absl::Hours(1));
  EXPECT_EQ(steady(), simulation.now());
  EXPECT_EQ(absl::FromChrono(std::chrono::system_clock::now()),
            simulation.Realtime());
  Show(simulation, static_cast<uint64_t>(steady()));
}

// ---- The other process.

void ShowProcess(sim::Simulation& simulation) {
  Show(simulation, static_cast<uint64_t>(getpid()));
}

// Sets a variable, and removes it again.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    if (const char* before = getenv(name)) before_ = before;
    had_ = getenv(name) != nullptr;
    setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() {
    if (had_) {
      setenv(name_, before_.c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::string before_;
  bool had_;
};

TEST(SimulatedTestTest, TheOtherProcessCanBeSwitchedOff) {
  EXPECT_NE(Failures(&ShowProcess), "");
  Variable off("AIOS_SIM_OTHER_PROCESS", "0");
  EXPECT_EQ(Failures(&ShowProcess), "");
}

TEST(SimulatedTestTest, EachOfSeveralCallsInATestIsComparedWithItsOwn) {
  auto harmless = [](sim::Simulation& simulation) { Show(simulation, 1); };
  // Looked at when all is over: another process does not compare.
  std::string first = Failures(harmless);
  std::string second = Failures(&ShowProcess);
  std::string third = Failures(harmless);
  std::string fourth = Failures(&ShowProcess);
  EXPECT_EQ(first, "");
  EXPECT_NE(second.find(kElsewhere), std::string::npos) << second;
  EXPECT_EQ(third, "");
  EXPECT_NE(fourth.find(kElsewhere), std::string::npos) << fourth;
}

TEST(SimulatedTestTest, TheFirstSeedOfTheRangeIsCompared) {
  Variable seeds("AIOS_SIM_SEEDS", "7..8");
  EXPECT_NE(Failures([](sim::Simulation& simulation) {
              if (simulation.seed() == 7) ShowProcess(simulation);
            }).find("seed 7 gave another trace in another process"),
            std::string::npos);
}

// What chooses tests, and collects their results, is not the other process'.
TEST(SimulatedTestTest, ShardsFiltersAndResultFilesAreThisProcessOnly) {
  const char* folder = getenv("TEST_TMPDIR");
  std::string path = absl::StrCat(folder != nullptr ? folder : "/tmp",
                                  "/aios_leaks_test_", getpid());
  Variable shards("GTEST_TOTAL_SHARDS", "1000");
  Variable shard("GTEST_SHARD_INDEX", "1");
  Variable shards_of_bazel("TEST_TOTAL_SHARDS", "1000");
  Variable shard_of_bazel("TEST_SHARD_INDEX", "1");
  Variable repeat("GTEST_REPEAT", "0");
  Variable filter("TESTBRIDGE_TEST_ONLY", "Nothing.*");
  Variable other_filter("GTEST_FILTER", "Nothing.*");
  Variable result("XML_OUTPUT_FILE", path);
  Variable other_result("GTEST_OUTPUT", absl::StrCat("xml:", path));
  Variable mark("TEST_PREMATURE_EXIT_FILE", path);
  EXPECT_NE(Failures(&ShowProcess).find(kElsewhere), std::string::npos);
  EXPECT_FALSE(std::ifstream(path).good());
}

TEST(SimulatedTestTest, ABodyThatCrashesInTheOtherProcessOnlyIsAFailure) {
  static const std::string mine = [] {
    if (getenv("AIOS_LEAKS_TEST_PROCESS") == nullptr) {
      setenv("AIOS_LEAKS_TEST_PROCESS", absl::StrCat(getpid()).c_str(), 1);
    }
    return std::string(getenv("AIOS_LEAKS_TEST_PROCESS"));
  }();
  std::string text = Failures([](sim::Simulation& simulation) {
    Show(simulation, 1);
    if (absl::StrCat(getpid()) != mine) _exit(3);
  });
  EXPECT_NE(text.find("fails in another process and not in this one"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("status 3"), std::string::npos) << text;
  EXPECT_NE(text.find("AIOS_SIM_OTHER_PROCESS=0"), std::string::npos) << text;
}

// The programs that a body starts are none that have a task.
TEST(SimulatedTestTest, TheBodyDoesNotSeeTheTask) {
  EXPECT_EQ(Failures([](sim::Simulation& simulation) {
              Show(simulation, getenv("AIOS_SIM_TASK") == nullptr ? 0 : 1);
            }),
            "");
}

}  // namespace
}  // namespace aios::test
