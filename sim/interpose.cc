// While a simulation runs on a thread, the clocks and the randomness that
// libraries read there are the simulation's; otherwise the system's.
//
// This file defines functions of the C library, which the linker prefers to the
// library's own, and hands calls on to those. Not covered, as no definition can
// catch them: the processor's own counters and random numbers (rdtsc, rdrand),
// direct system calls, and calls inside the C library itself. Clocks of used-up
// processor time stay the system's. `absl::Now` is not covered where Abseil was
// built to read the processor's counter between two looks at the clock, as it
// is on x86 by default.

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"
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

// The function that would have been called without this file.
template <typename Function>
Function* Real(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

timespec ToTimespec(Nanoseconds time) {
  return {.tv_sec = static_cast<time_t>(time / 1'000'000'000),
          .tv_nsec = static_cast<long>(time % 1'000'000'000)};
}

// What the realtime clock of the host shows whose code runs.
Nanoseconds Realtime(const Simulation& simulation) {
  return absl::ToUnixNanos(simulation.Realtime());
}

bool IsRealtime(clockid_t clock) {
  return clock == CLOCK_REALTIME
#ifdef CLOCK_REALTIME_COARSE
         || clock == CLOCK_REALTIME_COARSE
#endif
#ifdef CLOCK_TAI
         || clock == CLOCK_TAI
#endif
      ;
}

bool IsMonotonic(clockid_t clock) {
  return clock == CLOCK_MONOTONIC
#ifdef CLOCK_MONOTONIC_RAW
         || clock == CLOCK_MONOTONIC_RAW
#endif
#ifdef CLOCK_MONOTONIC_COARSE
         || clock == CLOCK_MONOTONIC_COARSE
#endif
#ifdef CLOCK_BOOTTIME
         || clock == CLOCK_BOOTTIME
#endif
      ;
}

void FillRandom(Simulation& simulation, void* buffer, size_t size) {
  auto* bytes = static_cast<unsigned char*>(buffer);
  while (size != 0) {
    uint64_t bits = simulation.RandomBits();
    size_t length = size < sizeof(bits) ? size : sizeof(bits);
    memcpy(bytes, &bits, length);
    bytes += length;
    size -= length;
  }
}

#if defined(__GLIBC__)
ssize_t ReadRandom(void* /*cookie*/, char* buffer, size_t size) {
  // The file may have been opened while a simulation ran and be read after.
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return static_cast<ssize_t>(size);
  }
  return Real<ssize_t(void*, size_t, unsigned)>("getrandom")(buffer, size, 0);
}
#endif

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    if (IsMonotonic(clock)) {
      *time = ToTimespec(simulation->now());
      return 0;
    }
    if (IsRealtime(clock)) {
      *time = ToTimespec(Realtime(*simulation));
      return 0;
    }
  }
  static auto* const real = Real<int(clockid_t, timespec*)>("clock_gettime");
  return real(clock, time);
}

int gettimeofday(timeval* time, void* zone) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    timespec now = ToTimespec(Realtime(*simulation));
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
  }
  static auto* const real = Real<int(timeval*, void*)>("gettimeofday");
  return real(time, zone);
}

time_t time(time_t* result) AIOS_NOEXCEPT {
  if (const Simulation* simulation = Simulation::Current()) {
    time_t now = ToTimespec(Realtime(*simulation)).tv_sec;
    if (result != nullptr) *result = now;
    return now;
  }
  static auto* const real = Real<time_t(time_t*)>("time");
  return real(result);
}

ssize_t getrandom(void* buffer, size_t size, unsigned flags) {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return static_cast<ssize_t>(size);
  }
  static auto* const real = Real<ssize_t(void*, size_t, unsigned)>("getrandom");
  return real(buffer, size, flags);
}

int getentropy(void* buffer, size_t size) {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return 0;
  }
  static auto* const real = Real<int(void*, size_t)>("getentropy");
  return real(buffer, size);
}

#if AIOS_REPLACES_ARC4RANDOM
uint32_t arc4random() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<uint32_t>(simulation->RandomBits());
  }
  static auto* const real = Real<uint32_t()>("arc4random");
  return real();
}

void arc4random_buf(void* buffer, size_t size) AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    FillRandom(*simulation, buffer, size);
    return;
  }
  static auto* const real = Real<void(void*, size_t)>("arc4random_buf");
  real(buffer, size);
}
#endif

int rand() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<int>(simulation->RandomBits() >> 33);
  }
  static auto* const real = Real<int()>("rand");
  return real();
}

long random() AIOS_NOEXCEPT {
  if (Simulation* simulation = Simulation::Current()) {
    return static_cast<long>(simulation->RandomBits() >> 33);
  }
  static auto* const real = Real<long()>("random");
  return real();
}

#if defined(__GLIBC__)
// Libraries open the system's random device with it.
FILE* fopen(const char* path, const char* mode) {
  if (Simulation::Current() != nullptr &&
      (strcmp(path, "/dev/urandom") == 0 || strcmp(path, "/dev/random") == 0)) {
    return fopencookie(nullptr, "r",
                       {.read = ReadRandom,
                        .write = nullptr,
                        .seek = nullptr,
                        .close = nullptr});
  }
  static auto* const real = Real<FILE*(const char*, const char*)>("fopen");
  return real(path, mode);
}
#endif

}  // extern "C"
