// Where a kernel is asked: the kernel, and the few things that the seam has no
// call for.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_LAB_H_
#define AIOS_TOOLS_KERNEL_TRUTH_LAB_H_

#include <cstdint>
#include <memory>
#include <set>

#include "aios/kernel.h"

namespace aios::kernel_truth {

class Lab {
 public:
  virtual ~Lab() = default;

  virtual Kernel& kernel() = 0;
  // Lets everything that has been sent arrive, and the answers to it.
  virtual void Settle() = 0;
  // Closes with RST.
  virtual void Reset(Handle handle) = 0;
  // While forbidden, nothing can be opened or accepted.
  virtual void ForbidHandles() = 0;
  virtual void AllowHandles() = 0;
  // Of connections that this kernel has had, and that may have left something.
  virtual std::set<uint16_t>& used_ports() = 0;
};

// On loopback of this machine.
std::unique_ptr<Lab> MakeRealLab(Kernel& kernel);
// On loopback of a simulated host. The seed decides what may be decided.
std::unique_ptr<Lab> MakeSimulatedLab(uint64_t seed);

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_LAB_H_
