// Sends a datagram to itself over a kernel by its name, and says what came: a
// program with sockets, readiness and time, and nothing else, so that it links
// where Abseil is not. tools/check_macos links it for macOS.

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string_view>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "backends/default_kernel.h"

namespace {

int Fail(const char* call, aios::Error error) {
  std::fprintf(stderr, "%s: error %d\n", call, error.code());
  return 1;
}

int Run(aios::Kernel& kernel) {
  constexpr std::string_view kText = "to myself";
  constexpr aios::Nanoseconds kGuard = 10'000'000'000;

  std::unique_ptr<aios::Poller> poller;
  aios::Error error = kernel.NewPoller(&poller);
  if (!error.ok()) return Fail("NewPoller", error);
  aios::Handle handle = aios::kNoHandle;
  error =
      kernel.Open(aios::SocketType::kDatagram, aios::Family::kIpv4, &handle);
  if (!error.ok()) return Fail("Open", error);
  aios::SocketAddress address(aios::IpAddress::Loopback(aios::Family::kIpv4),
                              0);
  error = kernel.Bind(handle, address);
  if (error.ok()) error = kernel.LocalAddress(handle, &address);
  if (!error.ok()) return Fail("Bind", error);

  int token = 0;
  error = kernel.SetInterest(*poller, handle, &token, aios::kNotReady,
                             aios::kReadable);
  if (!error.ok()) return Fail("SetInterest", error);
  aios::OutgoingDatagram datagram = {
      .payload = {.data = kText.data(), .size = kText.size()},
      .target = &address};
  error = kernel.SendDatagrams(handle, {&datagram, 1}).error;
  if (!error.ok()) return Fail("SendDatagrams", error);

  aios::Nanoseconds end = kernel.Now() + kGuard;
  for (;;) {
    std::array<aios::Report, 1> reports;
    aios::Nanoseconds left = end - kernel.Now();
    if (left <= 0) return Fail("Wait", aios::Error());
    if (kernel.Wait(*poller, reports, left) == 0) continue;
    if (!reports[0].error.ok()) return Fail("Wait", reports[0].error);
    std::array<char, 64> buffer;
    aios::IncomingDatagram received;
    error = kernel.ReceiveDatagram(handle, buffer, true, &received);
    if (!error.ok()) return Fail("ReceiveDatagram", error);
    std::printf("%.*s: %.*s\n", static_cast<int>(kernel.name().size()),
                kernel.name().data(), static_cast<int>(received.size),
                buffer.data());
    break;
  }
  error = kernel.SetInterest(*poller, handle, &token, aios::kReadable,
                             aios::kNotReady);
  if (!error.ok()) return Fail("SetInterest", error);
  kernel.Close(handle);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  aios::Kernel* kernel =
      argc == 2 ? aios::KernelByName(argv[1]) : &aios::DefaultKernel();
  if (kernel == nullptr) {
    std::fprintf(stderr, "there is no kernel \"%s\" here\n", argv[1]);
    return 2;
  }
  return Run(*kernel);
}
