// The kernels of the operating system this was built for.

#ifndef AIOS_BACKENDS_DEFAULT_KERNEL_H_
#define AIOS_BACKENDS_DEFAULT_KERNEL_H_

#include <span>
#include <string_view>

#include "aios/kernel.h"

namespace aios {

// The one to use unless there is a reason for another. It lives as long as the
// process, and is safe to use from several threads.
Kernel& DefaultKernel();

// One by its name, as `Kernel::name` gives it and `--kernel=epoll` takes it;
// null when there is none of this name.
Kernel* KernelByName(std::string_view name);

// The names, the default kernel's first.
std::span<const std::string_view> KernelNames();

}  // namespace aios

#endif  // AIOS_BACKENDS_DEFAULT_KERNEL_H_
