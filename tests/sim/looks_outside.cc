#include "tests/sim/looks_outside.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <exception>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "sim/simulation.h"

// The functions that `read` and its like become where a compiler knows how
// large the buffer is.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
ssize_t __read_chk(int descriptor, void* buffer, size_t size, size_t room);
ssize_t __pread_chk(int descriptor, void* buffer, size_t size, off_t place,
                    size_t room);
ssize_t __pread64_chk(int descriptor, void* buffer, size_t size, off64_t place,
                      size_t room);
int __open_2(const char* path, int flags);
int __openat_2(int folder, const char* path, int flags);
// NOLINTEND(bugprone-reserved-identifier)
}

namespace aios::test {
namespace {

using Buffer = std::array<char, 13>;

std::string Text(ssize_t count, const Buffer& buffer) {
  if (count != static_cast<ssize_t>(buffer.size())) {
    return absl::StrCat("failed: ", count);
  }
  return absl::BytesToHexString(std::string(buffer.data(), buffer.size()));
}

std::string Text(timespec time) {
  return absl::StrCat(time.tv_sec, ".", time.tv_nsec);
}

std::string Text(timeval time) {
  return absl::StrCat(time.tv_sec, ".", time.tv_usec);
}

template <typename Clock>
std::string Text(std::chrono::time_point<Clock> time) {
  return absl::StrCat(time.time_since_epoch().count());
}

// Fills the buffer by a function that returns how much it has read.
template <typename Function>
std::function<std::string()> Reading(Function function) {
  return [function] {
    Buffer buffer = {};
    ssize_t count = function(buffer.data(), buffer.size());
    return Text(count, buffer);
  };
}

// The same, from a descriptor that it closes again.
template <typename Open, typename Read>
std::function<std::string()> Reading(Open open, Read read) {
  return Reading([open, read](char* data, size_t size) {
    int descriptor = open();
    ssize_t count = read(descriptor, data, size);
    close(descriptor);
    return count;
  });
}

template <typename Open>
std::function<std::string()> ReadingFile(Open open) {
  return Reading([open](char* data, size_t size) -> ssize_t {
    FILE* file = open();
    if (file == nullptr) return -1;
    size_t count = fread(data, 1, size, file);
    fclose(file);
    return static_cast<ssize_t>(count);
  });
}

std::string ReadClock(clockid_t clock) {
  timespec time = {};
  return clock_gettime(clock, &time) == 0 ? Text(time) : "failed";
}

std::string ReadClockByNumber(clockid_t clock) {
  timespec time = {};
  return syscall(SYS_clock_gettime, clock, &time) == 0 ? Text(time) : "failed";
}

// Whether there is such a source on this machine.
bool HasSource(const char* token) {
  try {
    std::random_device device(token);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

std::vector<Look> LooksAtRandomness() {
  std::vector<Look> looks = {
    {"getrandom",
     Reading([](char* data, size_t size) { return getrandom(data, size, 0); })},
    {"getentropy", Reading([](char* data, size_t size) {
       return getentropy(data, size) == 0 ? static_cast<ssize_t>(size) : -1;
     })},
    {"syscall(SYS_getrandom)", Reading([](char* data, size_t size) {
       return syscall(SYS_getrandom, data, size, 0);
     })},
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 36)
    {"arc4random", [] { return absl::StrCat(arc4random()); }},
    {"arc4random_buf", Reading([](char* data, size_t size) {
       arc4random_buf(data, size);
       return static_cast<ssize_t>(size);
     })},
    {"arc4random_uniform",
     [] { return absl::StrCat(arc4random_uniform(1'000'000'000)); }},
#endif
    {"rand", [] { return absl::StrCat(rand()); }},
    {"random", [] { return absl::StrCat(random()); }},
    {"drand48", [] { return absl::StrCat(drand48() * 0x1p48); }},
    {"lrand48", [] { return absl::StrCat(lrand48()); }},
    {"mrand48", [] { return absl::StrCat(mrand48()); }},
    {"rand after srand",
     [] {
       srand(static_cast<unsigned>(rand()));
       return absl::StrCat(rand());
     }},
    {"random after srandom",
     [] {
       srandom(static_cast<unsigned>(random()));
       return absl::StrCat(random());
     }},
    {"lrand48 after srand48 and seed48",
     [] {
       srand48(lrand48());
       std::array<unsigned short, 3> seed = {
           static_cast<unsigned short>(lrand48()), 2, 3};
       seed48(seed.data());
       return absl::StrCat(lrand48());
     }},
    {"std::mt19937 of a std::random_device",
     [] {
       std::mt19937 generator{std::random_device{}()};
       return absl::StrCat(generator());
     }},
    {"std::shuffle by a std::random_device",
     [] {
       std::array<int, 20> numbers;
       std::iota(numbers.begin(), numbers.end(), 0);
       std::shuffle(numbers.begin(), numbers.end(), std::random_device{});
       std::string text;
       for (int number : numbers) absl::StrAppend(&text, number, ",");
       return text;
     }},
    {"std::random_device that was there before",
     [] {
       static auto* const device = new std::random_device;
       return absl::StrCat((*device)());
     }}
  };
  for (const char* token : {"default", "rand_s", "rdseed", "rdrand", "rdrnd",
                            "hw", "hardware", "arc4random", "getentropy",
                            "/dev/urandom", "/dev/random", "mt19937", "prng"}) {
    if (!HasSource(token)) continue;
    looks.push_back({absl::StrCat("std::random_device ", token), [token] {
                       std::random_device device(token);
                       return absl::StrCat(device(), " ", device());
                     }});
  }
  for (const char* path : {"/dev/urandom", "/dev/random"}) {
    auto add = [&](const char* name, std::function<std::string()> look) {
      looks.push_back({absl::StrCat(path, " ", name), std::move(look)});
    };
    auto opened = [path] { return open(path, O_RDONLY | O_CLOEXEC); };
    add("open", Reading(opened, read));
    add("open64", Reading([path] { return open64(path, O_RDONLY); }, read));
    add("openat",
        Reading([path] { return openat(AT_FDCWD, path, O_RDONLY); }, read));
    add("openat64",
        Reading([path] { return openat64(AT_FDCWD, path, O_RDONLY); }, read));
    add("__open_2", Reading([path] { return __open_2(path, O_RDONLY); }, read));
    add("__openat_2",
        Reading([path] { return __openat_2(AT_FDCWD, path, O_RDONLY); }, read));
    add("syscall(SYS_openat)",
        Reading(
            [path] {
              return static_cast<int>(
                  syscall(SYS_openat, AT_FDCWD, path, O_RDONLY, 0));
            },
            read));
    add("dup", Reading(
                   [path] {
                     int first = open(path, O_RDONLY);
                     int second = dup(first);
                     close(first);
                     return second;
                   },
                   read));
    add("syscall(SYS_read)",
        Reading(opened, [](int descriptor, char* data, size_t size) {
          return syscall(SYS_read, descriptor, data, size);
        }));
    add("readv", Reading(opened, [](int descriptor, char* data, size_t size) {
          std::array<iovec, 2> parts = {{{data, 5}, {data + 5, size - 5}}};
          return readv(descriptor, parts.data(), 2);
        }));
    add("preadv", Reading(opened, [](int descriptor, char* data, size_t size) {
          iovec part = {data, size};
          return preadv(descriptor, &part, 1, 0);
        }));
    add("preadv64",
        Reading(opened, [](int descriptor, char* data, size_t size) {
          iovec part = {data, size};
          return preadv64(descriptor, &part, 1, 0);
        }));
    add("pread", Reading(opened, [](int descriptor, char* data, size_t size) {
          return pread(descriptor, data, size, 0);
        }));
    add("pread64", Reading(opened, [](int descriptor, char* data, size_t size) {
          return pread64(descriptor, data, size, 0);
        }));
    add("__read_chk",
        Reading(opened, [](int descriptor, char* data, size_t size) {
          return __read_chk(descriptor, data, size, size);
        }));
    add("__pread_chk",
        Reading(opened, [](int descriptor, char* data, size_t size) {
          return __pread_chk(descriptor, data, size, 0, size);
        }));
    add("__pread64_chk",
        Reading(opened, [](int descriptor, char* data, size_t size) {
          return __pread64_chk(descriptor, data, size, 0, size);
        }));
    add("fopen", ReadingFile([path] { return fopen(path, "r"); }));
    add("fopen64", ReadingFile([path] { return fopen64(path, "rbe"); }));
    add("fopen, unbuffered", ReadingFile([path] {
          FILE* file = fopen(path, "r");
          setvbuf(file, nullptr, _IONBF, 0);
          return file;
        }));
    add("fdopen",
        ReadingFile([path] { return fdopen(open(path, O_RDONLY), "r"); }));
    add("fopen, read by its descriptor",
        Reading([path](char* data, size_t size) {
          FILE* file = fopen(path, "r");
          ssize_t count = read(fileno(file), data, size);
          fclose(file);
          return count;
        }));
    add("std::ifstream", Reading([path](char* data, size_t size) {
          std::ifstream file(path, std::ios::binary);
          file.read(data, static_cast<std::streamsize>(size));
          return static_cast<ssize_t>(file.gcount());
        }));
    add("std::ifstream, unbuffered", Reading([path](char* data, size_t size) {
          std::ifstream file;
          file.rdbuf()->pubsetbuf(nullptr, 0);
          file.open(path, std::ios::binary);
          file.read(data, static_cast<std::streamsize>(size));
          return static_cast<ssize_t>(file.gcount());
        }));
    add("a descriptor from before",
        Reading([descriptor = open(path, O_RDONLY | O_CLOEXEC)](char* data,
                                                                size_t size) {
          return read(descriptor, data, size);
        }));
  }
  return looks;
}

std::vector<Look> LooksAtClocks() {
  std::vector<Look> looks = {
      {"gettimeofday",
       [] {
         timeval time = {};
         gettimeofday(&time, nullptr);
         return Text(time);
       }},
      {"time", [] { return absl::StrCat(time(nullptr)); }},
      {"timespec_get",
       [] {
         timespec time = {};
         return timespec_get(&time, TIME_UTC) == TIME_UTC ? Text(time)
                                                          : "failed";
       }},
      {"clock", [] { return absl::StrCat(clock()); }},
      {"times",
       [] {
         tms used = {};
         clock_t now = times(&used);
         return absl::StrCat(now, " ", used.tms_utime, " ", used.tms_stime);
       }},
      {"getrusage",
       [] {
         rusage usage = {};
         getrusage(RUSAGE_SELF, &usage);
         return absl::StrCat(Text(usage.ru_utime), " ", Text(usage.ru_stime));
       }},
      {"clock of the process",
       [] {
         clockid_t clock;
         clock_getcpuclockid(0, &clock);
         return ReadClock(clock);
       }},
      {"clock of the thread",
       [] {
         clockid_t clock;
         pthread_getcpuclockid(pthread_self(), &clock);
         return ReadClock(clock);
       }},
      {"std::chrono::steady_clock",
       [] { return Text(std::chrono::steady_clock::now()); }},
      {"std::chrono::system_clock",
       [] { return Text(std::chrono::system_clock::now()); }},
      {"std::chrono::high_resolution_clock",
       [] { return Text(std::chrono::high_resolution_clock::now()); }},
      {"syscall(SYS_gettimeofday)",
       [] {
         timeval time = {};
         syscall(SYS_gettimeofday, &time, nullptr);
         return Text(time);
       }},
#ifdef SYS_time
      {"syscall(SYS_time)",
       [] { return absl::StrCat(syscall(SYS_time, nullptr)); }},
#endif
      {"syscall(SYS_times)",
       [] { return absl::StrCat(syscall(SYS_times, nullptr)); }},
      {"syscall(SYS_getrusage)",
       [] {
         rusage usage = {};
         syscall(SYS_getrusage, RUSAGE_SELF, &usage);
         return absl::StrCat(Text(usage.ru_utime), " ", Text(usage.ru_stime));
       }},
  };
  for (const auto& [name, clock] :
       std::vector<std::pair<std::string, clockid_t>>{
           {"REALTIME", CLOCK_REALTIME},
           {"REALTIME_COARSE", CLOCK_REALTIME_COARSE},
           {"REALTIME_ALARM", CLOCK_REALTIME_ALARM},
           {"TAI", CLOCK_TAI},
           {"MONOTONIC", CLOCK_MONOTONIC},
           {"MONOTONIC_RAW", CLOCK_MONOTONIC_RAW},
           {"MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE},
           {"BOOTTIME", CLOCK_BOOTTIME},
           {"BOOTTIME_ALARM", CLOCK_BOOTTIME_ALARM},
           {"PROCESS_CPUTIME_ID", CLOCK_PROCESS_CPUTIME_ID},
           {"THREAD_CPUTIME_ID", CLOCK_THREAD_CPUTIME_ID}}) {
    looks.push_back({"clock_gettime CLOCK_" + name,
                     [clock = clock] { return ReadClock(clock); }});
    looks.push_back({"syscall(SYS_clock_gettime) CLOCK_" + name,
                     [clock = clock] { return ReadClockByNumber(clock); }});
  }
  return looks;
}

std::vector<Look> LooksOutside() {
  std::vector<Look> looks = LooksAtRandomness();
  for (Look& look : LooksAtClocks()) looks.push_back(std::move(look));
  return looks;
}

std::string SeenInASimulation(const Look& look, uint64_t seed) {
  sim::Simulation simulation({.seed = seed});
  std::string seen;
  auto add = [&] { absl::StrAppend(&seen, look.look(), "; "); };
  simulation.CallInside([&] {
    add();
    add();
    simulation.RunFor(absl::Milliseconds(1250));
    add();
  });
  bool done = false;
  simulation.After(absl::Seconds(1), [&] {
    add();
    add();
    done = true;
  });
  return simulation.RunUntil([&] { return done; }) ? seen : "did not run";
}

}  // namespace aios::test
