#include "backends/default_kernel.h"

#include <array>

// Bazel chooses by platform which of the two is there; the headers say the
// same.
#if __has_include(<sys/epoll.h>)
#include "backends/epoll_kernel.h"
#else
#include "backends/kqueue_kernel.h"
#endif

namespace aios {

namespace {

#if __has_include(<sys/epoll.h>)
using SystemKernel = EpollKernel;
#else
using SystemKernel = KqueueKernel;
#endif

}  // namespace

Kernel& DefaultKernel() {
  // Never destroyed: states of static lifetime may still close their handles.
  static SystemKernel& kernel = *new SystemKernel();
  return kernel;
}

Kernel* KernelByName(std::string_view name) {
  return name == DefaultKernel().name() ? &DefaultKernel() : nullptr;
}

std::span<const std::string_view> KernelNames() {
  static const std::array<std::string_view, 1> names = {DefaultKernel().name()};
  return names;
}

}  // namespace aios
