// The main() of fuzz targets in normal builds: gives them the committed corpus
// and a bounded number of mutations of it, as test cases. It needs no
// libFuzzer, so it runs with every compiler and sanitizer, and every run is the
// same.
//
// An input that fails ends the process; its bytes are printed before.

#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tests/fuzz/mutator.h"

ABSL_FLAG(std::string, corpus, "", "folder with inputs, or one input");
ABSL_FLAG(std::string, dictionary, "", "dictionary in libFuzzer's format");
ABSL_FLAG(uint64_t, mutations, 0, "how many mutations of the corpus to try");
ABSL_FLAG(uint64_t, seed, 1, "seed of the mutations");
ABSL_FLAG(uint64_t, size_max, 4096, "longest mutation in bytes");

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// Defined when a sanitizer is linked in.
// NOLINTNEXTLINE(bugprone-reserved-identifier): it is not ours to name.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(
    void (*callback)());

namespace {

// What is being tried, for the handlers below.
const uint8_t* current_data = nullptr;
size_t current_size = 0;

// Only with calls that a signal handler may make.
void PrintCurrentInput() {
  constexpr std::string_view kBefore = "\nThe input that failed:\nprintf '";
  constexpr std::string_view kAfter =
      "' > input  # then give the target --corpus=$PWD/input\n";
  constexpr char kDigits[] = "0123456789abcdef";
  const auto print = [](const char* data, size_t size) {
    return write(STDERR_FILENO, data, size) == static_cast<ssize_t>(size);
  };
  if (current_data == nullptr) return;
  bool ok = print(kBefore.data(), kBefore.size());
  for (size_t i = 0; ok && i < current_size; ++i) {
    const char escaped[] = {'\\', 'x', kDigits[current_data[i] >> 4],
                            kDigits[current_data[i] & 0xf]};
    ok = print(escaped, sizeof(escaped));
  }
  if (ok) print(kAfter.data(), kAfter.size());
  current_data = nullptr;  // Once, even if several handlers run.
}

void OnSignal(int signal) {
  PrintCurrentInput();
  // It was reset to its default, which ends the process.
  raise(signal);
}

void InstallHandlers() {
  const auto install = [](int signal) {
    struct sigaction action = {};
    action.sa_handler = OnSignal;
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
  };
  install(SIGABRT);
  if (__sanitizer_set_death_callback != nullptr) {
    // The sanitizer handles the other signals, and prints more than we could.
    __sanitizer_set_death_callback(PrintCurrentInput);
    return;
  }
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) install(signal);
}

void Try(std::string_view input) {
  // A block of exactly this size, so that a sanitizer sees every byte that is
  // read beyond it.
  const std::unique_ptr<uint8_t[]> data(new uint8_t[input.size()]);
  if (!input.empty()) std::memcpy(data.get(), input.data(), input.size());
  current_data = data.get();
  current_size = input.size();
  EXPECT_EQ(LLVMFuzzerTestOneInput(data.get(), input.size()), 0);
  current_data = nullptr;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The files of the corpus, in an order that does not depend on the file system.
std::vector<std::string> CorpusPaths() {
  const std::string corpus = absl::GetFlag(FLAGS_corpus);
  if (!std::filesystem::is_directory(corpus)) return {corpus};
  std::vector<std::string> paths;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(corpus)) {
    if (entry.is_regular_file()) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> Corpus() {
  std::vector<std::string> inputs;
  for (const std::string& path : CorpusPaths()) {
    inputs.push_back(ReadFile(path));
  }
  return inputs;
}

TEST(FuzzReplay, TheEmptyInputHolds) { Try(""); }

TEST(FuzzReplay, TheCorpusHolds) {
  const std::vector<std::string> paths = CorpusPaths();
  // Inputs that are no longer found would not be missed otherwise.
  ASSERT_FALSE(paths.empty());
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    Try(ReadFile(path));
  }
}

TEST(FuzzReplay, MutationsOfTheCorpusHold) {
  std::vector<std::string> dictionary;
  const std::string path = absl::GetFlag(FLAGS_dictionary);
  if (!path.empty()) {
    absl::StatusOr<std::vector<std::string>> parsed =
        aios::ParseDictionary(ReadFile(path));
    ASSERT_TRUE(parsed.ok()) << path << ": " << parsed.status();
    dictionary = *parsed;
  }
  aios::Mutator mutator(absl::GetFlag(FLAGS_seed), Corpus(), dictionary,
                        absl::GetFlag(FLAGS_size_max));
  const uint64_t mutations = absl::GetFlag(FLAGS_mutations);
  for (uint64_t i = 0; i < mutations && !HasFailure(); ++i) {
    Try(mutator.Next());
  }
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  absl::SetProgramUsageMessage(
      "Gives a fuzz target its corpus and mutations of it.");
  absl::ParseCommandLine(argc, argv);
  InstallHandlers();
  return RUN_ALL_TESTS();
}
