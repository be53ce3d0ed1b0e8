#include "tests/support/kernels.h"

#include <string_view>

#include "backends/default_kernel.h"
#include "tests/support/real_world.h"

namespace aios::test {

void PrintTo(const KernelParam& param, std::ostream* out) {
  *out << param.name;
}

std::vector<KernelParam> AllKernels() {
  std::vector<KernelParam> kernels;
  for (std::string_view name : KernelNames()) {
    Kernel& kernel = *KernelByName(name);
    kernels.push_back({.name = std::string(name), .make_world = [&kernel] {
                         return std::make_unique<RealWorld>(kernel);
                       }});
  }
  return kernels;
}

std::string NameOf(const testing::TestParamInfo<KernelParam>& info) {
  return info.param.name;
}

}  // namespace aios::test
