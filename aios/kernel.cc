#include "aios/kernel.h"

#include <cerrno>

namespace aios {

Error Kernel::ReadFile(std::string_view /*path*/, size_t /*size_max*/,
                       std::string* /*text*/) {
  return Error(ENOENT);
}

}  // namespace aios
