// As backends/default_kernel.cc, with the kqueue kernel over the double besides
// that of the system: for programs that are to run on it.

#include "backends/default_kernel.h"

#include <array>

#include "backends/epoll_kernel.h"
#include "tests/kqueue_double/flavour.h"

namespace aios {

Kernel& DefaultKernel() {
  static EpollKernel& kernel = *new EpollKernel();
  return kernel;
}

Kernel* KernelByName(std::string_view name) {
  if (name == "kqueue") return &test::KqueueOverDouble_neutral();
  return name == DefaultKernel().name() ? &DefaultKernel() : nullptr;
}

std::span<const std::string_view> KernelNames() {
  static constexpr std::array<std::string_view, 2> kNames = {"epoll", "kqueue"};
  return kNames;
}

}  // namespace aios
