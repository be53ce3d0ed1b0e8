// The kernel of macOS and the BSDs: sockets by `PosixKernel`, readiness by
// kqueue. What the systems do differently is in docs/portability.md.

#ifndef AIOS_BACKENDS_KQUEUE_KERNEL_H_
#define AIOS_BACKENDS_KQUEUE_KERNEL_H_

#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string_view>

#include "aios/error.h"
#include "aios/kernel.h"
#include "backends/posix_socket.h"

namespace aios {

// Changes of interest cost no call of their own: they go with the next `Wait`,
// and errors of theirs come as reports (rule 4). One kernel for the process is
// enough (see default_kernel.h), and more do no harm. It must outlive its
// pollers. A handle is not to be closed while another thread waits in a poller
// that watches it: the wait may just be telling a change of it (rule 16).
class KqueueKernel final : public PosixKernel {
 public:
  std::string_view name() const override { return "kqueue"; }

  void Close(Handle handle) override;

  Error NewPoller(std::unique_ptr<Poller>* poller) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;
  void Wake(Poller& poller) override;

 private:
  class KqueuePoller;

  // Guards the set and the changes that pollers have yet to tell.
  std::mutex mutex_;
  std::set<KqueuePoller*> pollers_;
};

}  // namespace aios

#endif  // AIOS_BACKENDS_KQUEUE_KERNEL_H_
