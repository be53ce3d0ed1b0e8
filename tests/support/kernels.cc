#include "tests/support/kernels.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/default_kernel.h"
#include "sim/network_options.h"
#include "tests/support/real_world.h"
#include "tests/support/sim_world.h"

#if defined(__linux__)
#include "tests/kqueue_double/flavour.h"
#endif

namespace aios::test {

namespace {

KernelParam Real(std::string name, Kernel& kernel) {
  return {.name = std::move(name), .make_world = [&kernel] {
            return std::make_unique<RealWorld>(kernel);
          }};
}

#if defined(__linux__)
KernelParam Double(std::string name, Kernel& kernel,
                   const Personality& personality) {
  return {.name = std::move(name), .make_world = [&kernel, personality] {
            return std::make_unique<RealWorld>(kernel, personality);
          }};
}
#endif

// Streams arrive cut and joined anywhere; calls move less than they could.
constexpr sim::FaultRates kRandomSegments = {
    .short_read = 300'000,
    .short_write = 300'000,
    .split = 300'000,
};

KernelParam Simulated(std::string name, bool same_host,
                      const sim::FaultRates& faults) {
  return {
      .name = std::move(name), .make_world = [=] {
        return std::make_unique<SimWorld>(SimWorldOptions{
            .seed = SeedOfTest(), .same_host = same_host, .faults = faults});
      }};
}

}  // namespace

void PrintTo(const KernelParam& param, std::ostream* out) {
  *out << param.name;
}

std::vector<KernelParam> AllKernels() {
  std::vector<KernelParam> kernels;
  for (std::string_view name : KernelNames()) {
    kernels.push_back(Real(std::string(name), *KernelByName(name)));
  }
#if defined(__linux__)
  kernels.push_back(Double("kqueue", KqueueOverDouble_neutral(), {}));
  // What is left to Linux, such as its silence, is as there.
  kernels.push_back(
      Double("kqueue_freebsd", KqueueOverDouble_freebsd(),
             {.unread_input_resets = false, .datagram_max = 9216}));
  kernels.push_back(Double("kqueue_netbsd", KqueueOverDouble_netbsd(),
                           {.unread_input_resets = false,
                            .shutdown_needs_a_peer = false,
                            .datagram_max = 9216}));
  kernels.push_back(
      Double("kqueue_macos", KqueueOverDouble_macos(), {.datagram_max = 9216}));
#endif
  kernels.push_back(Simulated("sim", /*same_host=*/false, {}));
  kernels.push_back(Simulated("sim_loopback", /*same_host=*/true, {}));
  kernels.push_back(
      Simulated("sim_segments", /*same_host=*/false, kRandomSegments));
  return kernels;
}

std::vector<KernelParam> KernelsOfEachKind() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.name.starts_with("kqueue_") || kernel.name == "sim_loopback";
  });
  return kernels;
}

std::string NameOf(const testing::TestParamInfo<KernelParam>& info) {
  return info.param.name;
}

}  // namespace aios::test
