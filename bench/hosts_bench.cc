// What a large hosts file costs: writes one, looks up its last name, and tells
// how long the answer and the longest turn of the loop took, and what the file
// costs while it does not change. The answer's time is that of the clock, the
// others are processor time, so that other work of the machine does not count.

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/resolver.h"
#include "backends/default_kernel.h"

namespace aios::bench {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

// Of this thread, in milliseconds.
double ProcessorTime() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e3 +
         static_cast<double>(time.tv_nsec) / 1e6;
}

// Memory that the process has in use, in MB.
double Memory() {
  int64_t size = 0;
  int64_t resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / 1e6;
}

struct Figures {
  double first_call = 0;
  double longest_turn = 0;
  double answer = 0;
  int turns = 0;
};

// All in milliseconds.
Figures LookUpOnce(WaitStateCollection& collection, const std::string& name) {
  Figures figures;
  bool answered = false;
  const auto begin = Clock::now();
  double before = ProcessorTime();
  std::unique_ptr<Lookup> lookup =
      LookUp(collection, name, 80,
             [&answered](const LookupResult& result) {
               if (!result.ok()) std::abort();
               answered = true;
             },
             {.family = LookupFamily::kIpv4})
          .value();
  double after = ProcessorTime();
  figures.first_call = after - before;
  while (!answered) {
    before = after;
    collection.Wait(absl::Seconds(1));
    collection.Call();
    after = ProcessorTime();
    figures.longest_turn = std::max(figures.longest_turn, after - before);
    ++figures.turns;
  }
  figures.answer = Milliseconds(Clock::now() - begin);
  return figures;
}

void Print(const char* what, const Figures& figures) {
  std::printf(
      "%-28s answer after %9.3f ms, call %9.3f ms, longest turn %9.3f ms, "
      "turns %d\n",
      what, figures.answer, figures.first_call, figures.longest_turn,
      figures.turns);
}

std::string NameOf(int line) {
  return "host" + std::to_string(line) + ".some.domain.example";
}

int Run(int lines) {
  const std::string path = std::filesystem::temp_directory_path() /
                           ("aios_hosts_bench_" + std::to_string(getpid()));
  auto write = [&path, lines](const char* address) {
    std::ofstream file(path);
    for (int i = 0; i != lines; ++i) {
      file << address << ' ' << NameOf(i) << '\n';
    }
    std::printf("%d lines, %.1f MB\n", lines,
                static_cast<double>(file.tellp()) / 1e6);
  };
  write("192.0.2.1");
  const std::string last = NameOf(lines - 1);
  const double memory = Memory();
  auto collection = MakeWaitStateCollection(
                        DefaultKernel(),
                        {.resolver = {.servers = std::vector<SocketAddress>(),
                                      .hosts_file = path}})
                        .value();
  Print("first lookup", LookUpOnce(*collection, last));
  std::printf("memory of the table %.1f MB\n", Memory() - memory);
  Figures again;
  for (int i = 0; i != 1000; ++i) again = LookUpOnce(*collection, last);
  Print("known", again);
  // The first look after the file was written reads it again: its time may be
  // that of a later change, too.
  for (const char* what : {"5 s later, perhaps read again",
                           "10 s later, unchanged", "15 s later, unchanged"}) {
    const auto begin = Clock::now();
    while (Clock::now() - begin < std::chrono::milliseconds(5100)) {
      collection->Wait(absl::Milliseconds(10));
      collection->Call();
    }
    Print(what, LookUpOnce(*collection, last));
  }
  std::printf("memory of the table %.1f MB\n", Memory() - memory);
  unlink(path.c_str());
  return 0;
}

}  // namespace
}  // namespace aios::bench

int main(int argc, char* argv[]) {
  return aios::bench::Run(argc > 1 ? std::atoi(argv[1]) : 1'000'000);
}
