// The same seed gives the same trace: in this process and in others, with
// addresses randomised or not, and, by the committed hashes, with every
// compiler, optimisation and sanitizer in which this test runs.

#include <sys/personality.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iomanip>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest-spi.h"
#include "gtest/gtest.h"
#include "sim/simulated_test.h"
#include "sim/simulation.h"
#include "sim/trace.h"
#include "tests/programs/program.h"
#include "tests/sim/kernel_workload.h"

namespace aios::test {
namespace {

std::string Hashes(const std::vector<std::string>& arguments) {
  Program program("tests/sim/hashes", arguments);
  EXPECT_EQ(program.Wait(), 0) << program.err();
  return program.out();
}

// While it lives, processes that are started have the addresses that were
// linked, as under setarch --addr-no-randomize.
class FixedAddresses {
 public:
  FixedAddresses() : before_(personality(0xffffffff)) {
    works_ = personality(static_cast<unsigned long>(before_) |
                         ADDR_NO_RANDOMIZE) != -1;
  }
  ~FixedAddresses() { personality(static_cast<unsigned long>(before_)); }
  bool works() const { return works_; }

 private:
  int before_;
  bool works_;
};

TEST(Determinism, TheHashesAreTheCommittedOnes) {
  std::ifstream file("tests/sim/hashes.txt");
  std::stringstream committed;
  committed << file.rdbuf();
  EXPECT_EQ(Hashes({}), committed.str())
      << "the simulator behaves differently. If only this configuration says "
         "so, something in it does not follow from the seed. If a change of "
         "the simulator means it to, then\n"
         "  bazel run //tests/sim:hashes > tests/sim/hashes.txt";
}

TEST(Determinism, OtherProcessesGiveTheSame) {
  std::string randomised = Hashes({"states", "1", "10"});
  EXPECT_EQ(Hashes({"states", "1", "10"}), randomised);
  FixedAddresses fixed;
  if (!fixed.works()) GTEST_SKIP() << "addresses cannot be fixed here";
  EXPECT_EQ(Hashes({"states", "1", "10"}), randomised)
      << "without address randomisation";
}

TEST(Determinism, TheFirstRunOfAProcessAndTheThousandthAreTheSame) {
  std::ostringstream hash;
  hash << std::hex << std::setw(16) << std::setfill('0')
       << RunKernelWorkload(3);
  std::string expected = absl::StrCat("1 ", hash.str(), "\n");
  for (int i = 100; i <= 1000; i += 100) {
    absl::StrAppend(&expected, i, " ", hash.str(), "\n");
  }
  EXPECT_EQ(Hashes({"repeat", "3", "1000"}), expected);
}

TEST(Determinism, RunsOfOtherSeedsBetweenChangeNothing) {
  uint64_t alone = RunKernelWorkload(5);
  for (uint64_t seed = 100; seed != 120; ++seed) RunKernelWorkload(seed);
  EXPECT_EQ(RunKernelWorkload(5), alone);
}

TEST(Determinism, OtherSeedsGiveOtherTraces) {
  std::set<uint64_t> hashes;
  constexpr uint64_t kSeeds = 100;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    hashes.insert(RunKernelWorkload(seed));
  }
  EXPECT_EQ(hashes.size(), kSeeds);
}

TEST(Determinism, TheWholeTracesAreEqualNotOnlyTheirHashes) {
  std::vector<sim::TraceEvent> first;
  std::vector<sim::TraceEvent> second;
  RunKernelWorkload(7, &first);
  RunKernelWorkload(7, &second);
  EXPECT_GT(first.size(), 1000u);
  EXPECT_EQ(sim::Trace::FirstDifference(first, second), first.size());
  EXPECT_EQ(first.size(), second.size());
}

TEST(Determinism, TheFirstEventThatDiffersIsFound) {
  std::vector<sim::TraceEvent> a(10);
  for (size_t i = 0; i != a.size(); ++i) a[i].subject = i;
  std::vector<sim::TraceEvent> b = a;
  EXPECT_EQ(sim::Trace::FirstDifference(a, b), 10u);
  b[6].b = 1;
  b[8].b = 1;
  EXPECT_EQ(sim::Trace::FirstDifference(a, b), 6u);
  EXPECT_EQ(sim::Trace::FirstDifference(b, a), 6u);
  b = a;
  b.resize(4);
  EXPECT_EQ(sim::Trace::FirstDifference(a, b), 4u) << "one ends before";
  EXPECT_EQ(sim::Trace::FirstDifference({}, b), 0u);
}

// What a test with a hidden source of chance looks like.
int runs = 0;

void NotFromTheSeed(sim::Simulation& simulation) {
  sim::Host& host = simulation.AddHost("fickle");
  for (int i = 0; i != 3; ++i) {
    Handle handle = kNoHandle;
    EXPECT_TRUE(host.kernel()
                    .Open(i == 2 && ++runs == 2 ? SocketType::kDatagram
                                                : SocketType::kStream,
                          Family::kIpv4, &handle)
                    .ok());
    host.kernel().Close(handle);
  }
}

TEST(Determinism, ADivergenceIsReportedAsTheFirstEventThatDiffers) {
  runs = 0;
  testing::TestPartResultArray failures;
  {
    testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::
            INTERCEPT_ONLY_CURRENT_THREAD,
        &failures);
    sim::RunSimulated(&NotFromTheSeed, {1, 1});
  }
  ASSERT_EQ(failures.size(), 1);
  std::string message = failures.GetTestPartResult(0).message();
  EXPECT_NE(message.find("event 4 is the first that differs"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("fickle       open"), std::string::npos) << message;
}

}  // namespace
}  // namespace aios::test
