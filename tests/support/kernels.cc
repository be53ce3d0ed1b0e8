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
  kernels.push_back(Real("kqueue", KqueueOverDouble_user()));
  kernels.push_back(Real("kqueue_pipe", KqueueOverDouble_pipe()));
  kernels.push_back(Real("kqueue_integer", KqueueOverDouble_integer()));
  kernels.push_back(Real("kqueue_overwriting", KqueueOverDouble_overwriting()));
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
