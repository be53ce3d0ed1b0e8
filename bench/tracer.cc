// Counts the kernel calls, or the user instructions, of a process.
//
//   tracer --pid=4711 --instructions
//
// Exact, and wherever a process may trace another: no counters of the processor
// are needed, which virtual machines often have not. The instructions are
// counted by executing them one by one, which is a thousand times slower. It
// attaches, says so, counts until its standard input ends, detaches, and prints
// what it has counted as a line of JSON. For processes with one thread.
//
// Attaching and detaching interrupt a wait of the process, which costs it a few
// instructions and a call: counts of two lengths of the same traffic, and their
// difference, are free of that. //bench:compare does so.

#include <elf.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "absl/flags/flag.h"
#include "bench/flags.h"

ABSL_FLAG(int, pid, 0, "the process");
ABSL_FLAG(bool, instructions, false, "count instructions, not kernel calls");

namespace {

[[noreturn]] void Fail(std::string_view what) {
  std::cerr << "tracer: " << what << ": " << std::strerror(errno) << std::endl;
  std::exit(1);
}

// `data`: a number or an address.
void Ptrace(__ptrace_request request, pid_t pid, uintptr_t address = 0,
            uintptr_t data = 0) {
  if (ptrace(request, pid, address, data) < 0) Fail("ptrace");
}

// Where the process is.
uint64_t InstructionPointer(pid_t pid) {
  user_regs_struct registers = {};
  iovec part = {&registers, sizeof(registers)};
  Ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS,
         reinterpret_cast<uintptr_t>(&part));
#if defined(__x86_64__)
  return registers.rip;
#elif defined(__aarch64__)
  return registers.pc;
#else
#error "which register is the instruction pointer?"
#endif
}

std::string NameOf(uint64_t call) {
  switch (call) {
#define AIOS_NAME(name) \
  case SYS_##name:      \
    return #name
    AIOS_NAME(accept);
    AIOS_NAME(accept4);
    AIOS_NAME(brk);
    AIOS_NAME(clock_gettime);
    AIOS_NAME(close);
    AIOS_NAME(epoll_ctl);
    AIOS_NAME(epoll_pwait);
    AIOS_NAME(epoll_pwait2);
#ifdef SYS_epoll_wait
    AIOS_NAME(epoll_wait);
#endif
    AIOS_NAME(fcntl);
    AIOS_NAME(getpeername);
    AIOS_NAME(getsockname);
    AIOS_NAME(getsockopt);
    AIOS_NAME(ioctl);
    AIOS_NAME(madvise);
    AIOS_NAME(mmap);
    AIOS_NAME(munmap);
    AIOS_NAME(read);
    AIOS_NAME(readv);
    AIOS_NAME(recvfrom);
    AIOS_NAME(recvmmsg);
    AIOS_NAME(recvmsg);
    AIOS_NAME(sendmmsg);
    AIOS_NAME(sendmsg);
    AIOS_NAME(sendto);
    AIOS_NAME(setsockopt);
    AIOS_NAME(shutdown);
    AIOS_NAME(timerfd_settime);
    AIOS_NAME(write);
    AIOS_NAME(writev);
#undef AIOS_NAME
    default:
      return "call_" + std::to_string(call);
  }
}

class Tracer {
 public:
  Tracer(pid_t pid, bool instructions) : pid_(pid), steps_(instructions) {
    Ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD);
    Ptrace(PTRACE_INTERRUPT, pid);
    int status = 0;
    if (waitpid(pid, &status, __WALL) < 0 || !WIFSTOPPED(status)) {
      Fail("waitpid");
    }
    if (steps_) place_ = InstructionPointer(pid);
  }

  // Until another thread calls Stop().
  void Count() {
    uintptr_t signal = 0;
    for (;;) {
      Ptrace(steps_ ? PTRACE_SINGLESTEP : PTRACE_SYSCALL, pid_, 0, signal);
      int status = 0;
      if (waitpid(pid_, &status, __WALL) < 0) Fail("waitpid");
      if (!WIFSTOPPED(status)) {
        std::cerr << "tracer: the process has ended" << std::endl;
        std::exit(1);
      }
      signal = 0;
      int stopped_by = WSTOPSIG(status);
      if (stopped_by == (SIGTRAP | 0x80)) {
        CountCall();
      } else if (stopped_by == SIGTRAP) {
        if (status >> 16 == 0) CountInstruction();
      } else if (stopped_by == kStopSignal && stop_.load()) {
        break;
      } else {
        signal = static_cast<uintptr_t>(stopped_by);
      }
    }
    Ptrace(PTRACE_DETACH, pid_);
  }

  // From another thread.
  void Stop() {
    stop_.store(true);
    kill(pid_, kStopSignal);
  }

  void Print() const {
    uint64_t total = 0;
    std::cout << "{\"instructions\": " << instructions_ << ", \"calls\": {";
    const char* separator = "";
    for (const auto& [call, count] : calls_) {
      std::cout << separator << "\"" << NameOf(call) << "\": " << count;
      separator = ", ";
      total += count;
    }
    std::cout << "}, \"calls_total\": " << total
              << ", \"calls_failed\": " << failed_ << "}" << std::endl;
  }

 private:
  // By default it does nothing to a process.
  static constexpr int kStopSignal = SIGURG;

  void CountCall() {
    __ptrace_syscall_info info = {};
    Ptrace(PTRACE_GET_SYSCALL_INFO, pid_, sizeof(info),
           reinterpret_cast<uintptr_t>(&info));
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
      ++calls_[info.entry.nr];
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT && info.exit.is_error) {
      ++failed_;
    }
  }

  void CountInstruction() {
    // An instruction that repeats itself, such as "rep movsb", traps after each
    // time, but it is one.
    uint64_t place = InstructionPointer(pid_);
    if (place != place_) ++instructions_;
    place_ = place;
  }

  const pid_t pid_;
  const bool steps_;
  std::atomic<bool> stop_ = false;
  uint64_t place_ = 0;
  uint64_t instructions_ = 0;
  std::map<uint64_t, uint64_t> calls_;
  uint64_t failed_ = 0;
};

}  // namespace

int main(int argc, char* argv[]) {
  aios::bench::ParseFlags(argc, argv, "counts what a process does");
  int pid = absl::GetFlag(FLAGS_pid);
  if (pid <= 0) aios::bench::UsageError("--pid: which process?");
  Tracer tracer(pid, absl::GetFlag(FLAGS_instructions));
  std::cout << "attached" << std::endl;
  std::thread stopper([&tracer] {
    std::string line;
    while (std::getline(std::cin, line)) {
    }
    tracer.Stop();
  });
  tracer.Count();
  stopper.join();
  tracer.Print();
  return 0;
}
