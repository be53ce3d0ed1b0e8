#include "tests/support/kernels.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "backends/default_kernel.h"
#include "tests/support/real_world.h"

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
  return kernels;
}

std::vector<KernelParam> KernelsOfEachKind() {
  std::vector<KernelParam> kernels = AllKernels();
  std::erase_if(kernels, [](const KernelParam& kernel) {
    return kernel.name.starts_with("kqueue_");
  });
  return kernels;
}

std::string NameOf(const testing::TestParamInfo<KernelParam>& info) {
  return info.param.name;
}

}  // namespace aios::test
