#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <set>

#include "tools/kernel_truth/lab.h"

namespace aios::kernel_truth {

namespace {

void Must(Error error, const char* what) {
  if (error.ok()) return;
  std::fprintf(stderr, "kernel_truth: %s: %s\n", what, error.Message().c_str());
  std::exit(1);
}

class RealLab final : public Lab {
 public:
  explicit RealLab(Kernel& kernel) : kernel_(kernel) {
    // Packets on loopback travel in the order in which one processor sent them,
    // which is what `Settle` builds on. Without the permission it is still so
    // almost always.
    if (sched_getaffinity(0, sizeof(processors_), &processors_) == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(sched_getcpu(), &one);
      pinned_ = sched_setaffinity(0, sizeof(one), &one) == 0;
    }
    getrlimit(RLIMIT_NOFILE, &limit_);
    Must(kernel_.NewPoller(&poller_), "a poller");
    Handle listener;
    Must(kernel_.Open(SocketType::kStream, Family::kIpv4, &listener), "open");
    Must(kernel_.Bind(listener, {IpAddress::Loopback(Family::kIpv4), 0}),
         "bind");
    Must(kernel_.Listen(listener, 1), "listen");
    SocketAddress address;
    Must(kernel_.LocalAddress(listener, &address), "local address");
    Must(kernel_.Open(SocketType::kStream, Family::kIpv4, &sender_), "open");
    Error error = kernel_.Connect(sender_, address);
    if (error != Error(EINPROGRESS)) Must(error, "connect");
    Await(listener, kReadable);
    Must(kernel_.Accept(listener, &receiver_), "accept");
    kernel_.Close(listener);
    Await(sender_, kWritable);
  }

  ~RealLab() override {
    AllowHandles();
    Reset(sender_);
    Reset(receiver_);
    poller_.reset();
    if (pinned_) sched_setaffinity(0, sizeof(processors_), &processors_);
  }

  Kernel& kernel() override { return kernel_; }

  void Settle() override {
    // What was sent before a byte has arrived when the byte has; an answer to
    // it, when the next one has; and an answer to that.
    for (int i = 0; i < 3; ++i) {
      char byte = 0;
      ConstBuffer buffer = {.data = &byte, .size = 1};
      Must(kernel_.Send(sender_, {&buffer, 1}).error, "send");
      Await(receiver_, kReadable);
      Must(kernel_.Receive(receiver_, {&byte, 1}).error, "receive");
    }
  }

  void Reset(Handle handle) override {
    linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(handle, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    kernel_.Close(handle);
  }

  void ForbidHandles() override {
    rlimit none = limit_;
    none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
  }

  void AllowHandles() override { setrlimit(RLIMIT_NOFILE, &limit_); }

  std::set<uint16_t>& used_ports() override { return used_ports_; }

 private:
  void Await(Handle handle, Readiness wanted) {
    Must(kernel_.SetInterest(*poller_, handle, this, kNotReady, wanted),
         "interest");
    constexpr Nanoseconds kGuard = 10'000'000'000;
    Nanoseconds deadline = kernel_.Now() + kGuard;
    std::array<Report, 1> reports;
    while (kernel_.Wait(*poller_, reports, deadline - kernel_.Now()) == 0) {
      if (kernel_.Now() >= deadline) Must(Error(ETIMEDOUT), "await");
    }
    Must(kernel_.SetInterest(*poller_, handle, this, wanted, kNotReady),
         "interest");
  }

  Kernel& kernel_;
  cpu_set_t processors_;
  bool pinned_ = false;
  rlimit limit_ = {};
  std::set<uint16_t> used_ports_;
  std::unique_ptr<Poller> poller_;
  Handle sender_ = kNoHandle;
  Handle receiver_ = kNoHandle;
};

}  // namespace

std::unique_ptr<Lab> MakeRealLab(Kernel& kernel) {
  return std::make_unique<RealLab>(kernel);
}

}  // namespace aios::kernel_truth
