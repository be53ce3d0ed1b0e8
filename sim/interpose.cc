// While a simulation runs on a thread, the clocks and the randomness that
// libraries read there are the simulation's; otherwise the system's.
//
// This file defines functions of the C library, which the linker prefers to the
// library's own, and hands calls on to those. Not covered, as no definition can
// catch them: the processor's own counters and random numbers (rdtsc, rdrand),
// system calls without the C library, and calls inside the C library itself.
// docs/simulation.md lists them, with what to do instead. `absl::Now` is not
// covered where Abseil was built to read the processor's counter between two
// looks at the clock.

// The names that are defined below are to be the ones that are written there.
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#undef _TIME_BITS

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
#include "aios/check.h"
#include "sim/simulation.h"

// A definition says what the C library's declaration does.
#if defined(__GLIBC__)
#define AIOS_NOEXCEPT noexcept
#else
#define AIOS_NOEXCEPT
#endif

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 36)
#define AIOS_REPLACES_ARC4RANDOM 1
#endif
#endif

namespace {

using aios::Nanoseconds;
using aios::sim::Simulation;

constexpr Nanoseconds kSecond = 1'000'000'000;

// The file of the program, or of the library, in which an address is.
const void* FileOf(const void* address) {
  Dl_info info;
  return dladdr(address, &info) != 0 ? info.dli_fbase : nullptr;
}

// The function that would have been called without this file: a sanitizer's, or
// the C library's.
void* FindNext(const char* name) {
  // A sanitizer that is linked into the program gives way to the definitions of
  // this file, and its own is left under another name. A sanitizer that comes
  // before this file is called already when we are.
  static const char self = 0;
  if (FileOf(dlsym(RTLD_DEFAULT, name)) == FileOf(&self)) {
    std::array<char, 64> interceptor;
    snprintf(interceptor.data(), interceptor.size(), "__interceptor_%s", name);
    void* found = dlsym(RTLD_DEFAULT, interceptor.data());
    if (found != nullptr) return found;
  }
  return dlsym(RTLD_NEXT, name);
}

// It is looked up at the first call. A local static variable with a guard would
// not do: waiting for the guard takes a system call, and this is how it is
// made.
template <typename Function>
class Next {
 public:
  // The first is there for its type.
  constexpr Next(Function* /*replaced*/, const char* name) : name_(name) {}

  template <typename... Arguments>
  auto operator()(Arguments... arguments) {
    Function* function = function_.load(std::memory_order_relaxed);
    if (function == nullptr) {
      int before = errno;
      function = reinterpret_cast<Function*>(FindNext(name_));
      AIOS_CHECK(function != nullptr,
                 "the C library that this program is linked with has nothing "
                 "to hand a call on to; was it linked with -static?");
      function_.store(function, std::memory_order_relaxed);
      errno = before;
    }
    return function(arguments...);
  }

 private:
  const char* name_;
  std::atomic<Function*> function_ = nullptr;
};

// Calls the next function of the name.
#define AIOS_NEXT(name, ...)                    \
  [&] {                                         \
    static constinit Next next(&::name, #name); \
    return next(__VA_ARGS__);                   \
  }()

// ---- Clocks.

timespec ToTimespec(Nanoseconds time) {
  return {.tv_sec = static_cast<time_t>(time / kSecond),
          .tv_nsec = static_cast<long>(time % kSecond)};
}

timeval ToTimeval(Nanoseconds time) {
  timespec result = ToTimespec(time);
  return {.tv_sec = result.tv_sec,
          .tv_usec = static_cast<suseconds_t>(result.tv_nsec / 1000)};
}

// What the realtime clock of the host shows whose code runs.
Nanoseconds Realtime(const Simulation& simulation) {
  return absl::ToUnixNanos(simulation.Realtime());
}

bool IsRealtime(clockid_t clock) {
  switch (clock) {
    case CLOCK_REALTIME:
#ifdef CLOCK_REALTIME_COARSE
    case CLOCK_REALTIME_COARSE:
#endif
#ifdef CLOCK_REALTIME_ALARM
    case CLOCK_REALTIME_ALARM:
#endif
#ifdef CLOCK_TAI
    case CLOCK_TAI:
#endif
      return true;
    default:
      return false;
  }
}

bool IsMonotonic(clockid_t clock) {
  switch (clock) {
    case CLOCK_MONOTONIC:
#ifdef CLOCK_MONOTONIC_RAW
    case CLOCK_MONOTONIC_RAW:
#endif
#ifdef CLOCK_MONOTONIC_COARSE
    case CLOCK_MONOTONIC_COARSE:
#endif
#ifdef CLOCK_BOOTTIME
    case CLOCK_BOOTTIME:
#endif
#ifdef CLOCK_BOOTTIME_ALARM
    case CLOCK_BOOTTIME_ALARM:
#endif
      return true;
    default:
      return false;
  }
}

// Of used-up processor time. A program that is simulated computes in no time at
// all; these clocks show virtual time, as it has to be some that follows from
// the seed.
bool IsProcessorTime(clockid_t clock) {
#if defined(__linux__)
  // Those of other processes and threads have negative numbers; in the lowest
  // three bits a descriptor's clock has a three.
  if (static_cast<int>(clock) < 0) return (static_cast<int>(clock) & 7) != 3;
#endif
  return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID;
}

// False for a clock that stays the system's.
bool IsSimulated(clockid_t clock) {
  return IsRealtime(clock) || IsMonotonic(clock) || IsProcessorTime(clock);
}

// ---- Randomness.

void FillRandom(Simulation& simulation, void* buffer, size_t size) {
  auto* bytes = static_cast<unsigned char*>(buffer);
  while (size != 0) {
    uint64_t bits = simulation.RandomBits();
    size_t length = std::min(size, sizeof(bits));
    memcpy(bytes, &bits, length);
    bytes += length;
    size -= length;
  }
}

// From 0 to 2^31 - 1.
long Random31(Simulation& simulation) {
  return static_cast<long>(simulation.RandomBits() >> 33);
}

bool IsRandomDevice(int descriptor) {
  int before = errno;
  struct stat file;
  struct stat device;
  bool is =
      fstat(descriptor, &file) == 0 && S_ISCHR(file.st_mode) &&
      ((stat("/dev/urandom", &device) == 0 && file.st_rdev == device.st_rdev) ||
       (stat("/dev/random", &device) == 0 && file.st_rdev == device.st_rdev));
  errno = before;
  return is;
}

// The simulation to take the bytes from that are read from the descriptor; null
// when they are the system's. It does not matter how the device was opened, nor
// whether a simulation ran then.
Simulation* RandomSource(int descriptor) {
  Simulation* simulation = Simulation::Current();
  return simulation != nullptr && IsRandomDevice(descriptor) ? simulation
                                                             : nullptr;
}

// -1 when they are the system's.
ssize_t ReadRandom(int descriptor, void* buffer, size_t size) {
  Simulation* simulation = RandomSource(descriptor);
  if (simulation == nullptr) return -1;
  FillRandom(*simulation, buffer, size);
  return static_cast<ssize_t>(size);
}

ssize_t ReadRandom(int descriptor, const iovec* parts, int count) {
  Simulation* simulation = RandomSource(descriptor);
  if (simulation == nullptr) return -1;
  size_t size = 0;
  for (int i = 0; i < count; ++i) {
    FillRandom(*simulation, parts[i].iov_base, parts[i].iov_len);
    size += parts[i].iov_len;
  }
  return static_cast<ssize_t>(size);
}

#if defined(__GLIBC__)
// The C library reads its files without a call that could be caught. So a file
// of a random device becomes one that reads by a function of ours. It keeps the
// descriptor, which the C++ library reads from.
FILE* RandomFile(int descriptor) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  auto* cookie = reinterpret_cast<void*>(static_cast<intptr_t>(descriptor));
  static constexpr auto kDescriptor = [](void* cookie) {
    return static_cast<int>(reinterpret_cast<intptr_t>(cookie));
  };
  FILE* file = fopencookie(
      cookie, "r",
      {.read =
           [](void* cookie, char* buffer, size_t size) {
             return read(kDescriptor(cookie), buffer, size);
           },
       .write = nullptr,
       .seek = nullptr,
       .close = [](void* cookie) { return close(kDescriptor(cookie)); }});
  if (file != nullptr) file->_fileno = descriptor;
  return file;
}

// What the program gets for the file that it has opened.
FILE* Opened(FILE* file, const char* mode) {
  if (file == nullptr || mode[0] != 'r' || strchr(mode, '+') != nullptr ||
      RandomSource(fileno(file)) == nullptr) {
    return file;
  }
  int descriptor = fcntl(fileno(file), F_DUPFD_CLOEXEC, 0);
  fclose(file);
  if (descriptor < 0) return nullptr;
  return RandomFile(descriptor);
}
#endif

}  // namespace

extern "C" {

// ---- Clocks.

int clock_gettime(clockid_t clock, timespec* time) AIOS_NOEXCEPT {
  const Simulation* simulation = Simulation::Current();
  if (simulation != nullptr && IsSimulated(clock)) {
    *time = ToTimespec(IsRealtime(clock) ? Realtime(*simulation)
                                         : simulation->now());
    return 0;
  }
  return AIOS_NEXT(clock_gettime, clock, time);
}

int clock_getres(clockid_t clock, timespec* resolution) AIOS_NOEXCEPT {
  if (Simulation::Current() != nullptr && IsSimulated(clock)) {
    if (resolution != nullptr) *resolution = ToTimespec(1);
    return 0;
  }
  return AIOS_NEXT(clock_getres, clock, resolution);
}

int gettimeofday(timeval* time, void* zone) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    *time = ToTimeval(Realtime(*simulation));
    return 0;
  }
  return AIOS_NEXT(gettimeofday, time, zone);
}

time_t time(time_t* result) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    time_t now = ToTimespec(Realtime(*simulation)).tv_sec;
    if (result != nullptr) *result = now;
    return now;
  }
  return AIOS_NEXT(time, result);
}

int timespec_get(timespec* time, int base) AIOS_NOEXCEPT {
  // Which bases there are depends on the C library; all but the first are
  // monotonic, or of processor time.
  int known = AIOS_NEXT(timespec_get, time, base);
  const Simulation* simulation = Simulation::Current();
  if (simulation != nullptr && known != 0) {
    *time = ToTimespec(base == TIME_UTC ? Realtime(*simulation)
                                        : simulation->now());
  }
  return known;
}

clock_t clock() AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    return static_cast<clock_t>(simulation->now() / (kSecond / CLOCKS_PER_SEC));
  }
  return AIOS_NEXT(clock);
}

clock_t times(tms* times) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    auto now = static_cast<clock_t>(simulation->now() /
                                    (kSecond / sysconf(_SC_CLK_TCK)));
    if (times != nullptr) {
      *times = {};
      times->tms_utime = now;
    }
    return now;
  }
  return AIOS_NEXT(times, times);
}

// Only its times; the rest of it stays the system's.
int getrusage(int who, rusage* usage) AIOS_NOEXCEPT {
  int result = AIOS_NEXT(getrusage, who, usage);
  const Simulation* simulation = Simulation::Current();
  if (simulation != nullptr && result == 0) {
    usage->ru_utime = ToTimeval(simulation->now());
    usage->ru_stime = {};
  }
  return result;
}

// ---- Randomness.

ssize_t getrandom(void* buffer, size_t size, unsigned flags) {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return static_cast<ssize_t>(size);
  }
  return AIOS_NEXT(getrandom, buffer, size, flags);
}

int getentropy(void* buffer, size_t size) {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return 0;
  }
  return AIOS_NEXT(getentropy, buffer, size);
}

#if AIOS_REPLACES_ARC4RANDOM
uint32_t arc4random() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<uint32_t>(simulation->RandomBits());
  }
  return AIOS_NEXT(arc4random);
}

void arc4random_buf(void* buffer, size_t size) AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return;
  }
  AIOS_NEXT(arc4random_buf, buffer, size);
}

uint32_t arc4random_uniform(uint32_t bound) AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<uint32_t>(
        aios::sim::Choices::Scale(simulation->RandomBits(), bound));
  }
  return AIOS_NEXT(arc4random_uniform, bound);
}
#endif

int rand() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<int>(Random31(*simulation));
  }
  return AIOS_NEXT(rand);
}

long random() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return Random31(*simulation);
  }
  return AIOS_NEXT(random);
}

double drand48() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<double>(simulation->RandomBits() >> 16) * 0x1p-48;
  }
  return AIOS_NEXT(drand48);
}

long lrand48() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return Random31(*simulation);
  }
  return AIOS_NEXT(lrand48);
}

long mrand48() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<int32_t>(simulation->RandomBits() >> 32);
  }
  return AIOS_NEXT(mrand48);
}

// In a simulation, seeds of the program's own have no effect: what comes of
// them would be the same for every seed, and outlive the run.
void srand(unsigned seed) AIOS_NOEXCEPT {
  if (Simulation::Current() == nullptr) AIOS_NEXT(srand, seed);
}

void srandom(unsigned seed) AIOS_NOEXCEPT {
  if (Simulation::Current() == nullptr) AIOS_NEXT(srandom, seed);
}

void srand48(long seed) AIOS_NOEXCEPT {
  if (Simulation::Current() == nullptr) AIOS_NEXT(srand48, seed);
}

void lcong48(unsigned short* parameters) AIOS_NOEXCEPT {
  if (Simulation::Current() == nullptr) AIOS_NEXT(lcong48, parameters);
}

unsigned short* seed48(unsigned short* seed) AIOS_NOEXCEPT {
  if (Simulation::Current() != nullptr) {
    static thread_local std::array<unsigned short, 3> before;
    before = {};
    return before.data();
  }
  return AIOS_NEXT(seed48, seed);
}

// ---- Reading from a random device.

ssize_t read(int descriptor, void* buffer, size_t size) {
  ssize_t count = ReadRandom(descriptor, buffer, size);
  return count >= 0 ? count : AIOS_NEXT(read, descriptor, buffer, size);
}

ssize_t readv(int descriptor, const iovec* parts, int count) {
  ssize_t size = ReadRandom(descriptor, parts, count);
  return size >= 0 ? size : AIOS_NEXT(readv, descriptor, parts, count);
}

ssize_t pread(int descriptor, void* buffer, size_t size, off_t place) {
  ssize_t count = ReadRandom(descriptor, buffer, size);
  return count >= 0 ? count : AIOS_NEXT(pread, descriptor, buffer, size, place);
}

#if defined(__GLIBC__)
ssize_t pread64(int descriptor, void* buffer, size_t size, off64_t place) {
  ssize_t count = ReadRandom(descriptor, buffer, size);
  return count >= 0 ? count
                    : AIOS_NEXT(pread64, descriptor, buffer, size, place);
}

ssize_t preadv(int descriptor, const iovec* parts, int count, off_t place) {
  ssize_t size = ReadRandom(descriptor, parts, count);
  return size >= 0 ? size : AIOS_NEXT(preadv, descriptor, parts, count, place);
}

ssize_t preadv64(int descriptor, const iovec* parts, int count, off64_t place) {
  ssize_t size = ReadRandom(descriptor, parts, count);
  return size >= 0 ? size
                   : AIOS_NEXT(preadv64, descriptor, parts, count, place);
}

// What a call of `read` becomes where the compiler knows the room for it. The
// declarations are the C library's own.
// NOLINTBEGIN(bugprone-reserved-identifier)
ssize_t __read_chk(int descriptor, void* buffer, size_t size, size_t room);
ssize_t __pread_chk(int descriptor, void* buffer, size_t size, off_t place,
                    size_t room);
ssize_t __pread64_chk(int descriptor, void* buffer, size_t size, off64_t place,
                      size_t room);

ssize_t __read_chk(int descriptor, void* buffer, size_t size, size_t room) {
  ssize_t count = size > room ? -1 : ReadRandom(descriptor, buffer, size);
  return count >= 0 ? count
                    : AIOS_NEXT(__read_chk, descriptor, buffer, size, room);
}

ssize_t __pread_chk(int descriptor, void* buffer, size_t size, off_t place,
                    size_t room) {
  ssize_t count = size > room ? -1 : ReadRandom(descriptor, buffer, size);
  return count >= 0
             ? count
             : AIOS_NEXT(__pread_chk, descriptor, buffer, size, place, room);
}

ssize_t __pread64_chk(int descriptor, void* buffer, size_t size, off64_t place,
                      size_t room) {
  ssize_t count = size > room ? -1 : ReadRandom(descriptor, buffer, size);
  return count >= 0
             ? count
             : AIOS_NEXT(__pread64_chk, descriptor, buffer, size, place, room);
}
// NOLINTEND(bugprone-reserved-identifier)

FILE* fopen(const char* path, const char* mode) {
  return Opened(AIOS_NEXT(fopen, path, mode), mode);
}

FILE* fopen64(const char* path, const char* mode) {
  return Opened(AIOS_NEXT(fopen64, path, mode), mode);
}

FILE* fdopen(int descriptor, const char* mode) AIOS_NOEXCEPT {
  if (mode[0] == 'r' && strchr(mode, '+') == nullptr &&
      RandomSource(descriptor) != nullptr) {
    return RandomFile(descriptor);
  }
  return AIOS_NEXT(fdopen, descriptor, mode);
}

// ---- System calls by their number.

long syscall(long number, ...) AIOS_NOEXCEPT {
  // None has more than six arguments, and one that has fewer looks at no more.
  std::array<long, 6> a;
  va_list list;
  va_start(list, number);
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  auto pointer = [&](size_t i) { return reinterpret_cast<void*>(a[i]); };
  if (Simulation::Current() != nullptr) {
    switch (number) {
#ifdef SYS_clock_gettime
      case SYS_clock_gettime:
        return clock_gettime(static_cast<clockid_t>(a[0]),
                             static_cast<timespec*>(pointer(1)));
#endif
#ifdef SYS_clock_getres
      case SYS_clock_getres:
        return clock_getres(static_cast<clockid_t>(a[0]),
                            static_cast<timespec*>(pointer(1)));
#endif
#ifdef SYS_gettimeofday
      case SYS_gettimeofday:
        return gettimeofday(static_cast<timeval*>(pointer(0)), pointer(1));
#endif
#ifdef SYS_time
      case SYS_time:
        return static_cast<long>(time(static_cast<time_t*>(pointer(0))));
#endif
#ifdef SYS_times
      case SYS_times:
        return times(static_cast<tms*>(pointer(0)));
#endif
#ifdef SYS_getrusage
      case SYS_getrusage:
        return getrusage(static_cast<int>(a[0]),
                         static_cast<rusage*>(pointer(1)));
#endif
#ifdef SYS_getrandom
      case SYS_getrandom:
        return getrandom(pointer(0), static_cast<size_t>(a[1]),
                         static_cast<unsigned>(a[2]));
#endif
#ifdef SYS_read
      case SYS_read:
        return read(static_cast<int>(a[0]), pointer(1),
                    static_cast<size_t>(a[2]));
#endif
      default:
        break;
    }
  }
  return AIOS_NEXT(syscall, number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
#endif  // __GLIBC__

// ---- Threads. They see the system's clocks; when one was started, it is the
// first suspect where the second run of a seed differs.

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                   void* (*function)(void*), void* argument) AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    simulation->CountThread();
  }
  return AIOS_NEXT(pthread_create, thread, attributes, function, argument);
}

#if defined(__GLIBCXX__)
// std::random_device::operator(), whichever source it was made with: some are
// instructions of the processor. The definition is weak, as one in a library
// that is linked statically must not be there twice; it is preferred then, and
// its sources but those instructions are caught above.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
__attribute__((weak)) unsigned _ZNSt13random_device9_M_getvalEv(void* device) {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<unsigned>(simulation->RandomBits());
  }
  return AIOS_NEXT(_ZNSt13random_device9_M_getvalEv, device);
}
#endif

}  // extern "C"
