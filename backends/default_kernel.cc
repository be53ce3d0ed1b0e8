#include "backends/default_kernel.h"

#include <array>

#include "backends/epoll_kernel.h"

namespace aios {

Kernel& DefaultKernel() {
  // Never destroyed: states of static lifetime may still close their handles.
  static EpollKernel& kernel = *new EpollKernel();
  return kernel;
}

Kernel* KernelByName(std::string_view name) {
  return name == DefaultKernel().name() ? &DefaultKernel() : nullptr;
}

std::span<const std::string_view> KernelNames() {
  static constexpr std::array<std::string_view, 1> kNames = {"epoll"};
  return kNames;
}

}  // namespace aios
