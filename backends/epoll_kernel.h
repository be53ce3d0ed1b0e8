// The kernel of Linux: sockets by `PosixKernel`, readiness by epoll.

#ifndef AIOS_BACKENDS_EPOLL_KERNEL_H_
#define AIOS_BACKENDS_EPOLL_KERNEL_H_

#include <memory>
#include <span>
#include <string_view>

#include "aios/error.h"
#include "aios/kernel.h"
#include "backends/posix_socket.h"

namespace aios {

// Has no state but the system's; one for the process is enough (see
// default_kernel.h), and more do no harm.
class EpollKernel final : public PosixKernel {
 public:
  std::string_view name() const override { return "epoll"; }

  Error NewPoller(std::unique_ptr<Poller>* poller) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;
  void Wake(Poller& poller) override;
};

}  // namespace aios

#endif  // AIOS_BACKENDS_EPOLL_KERNEL_H_
