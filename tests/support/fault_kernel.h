// A kernel that fails on request, over any other kernel. Tests of robustness
// let one call fail, for every call and every error it may give:
//
//   for (size_t variant = 0; variant < FaultKernel::kErrorVariants; ++variant)
//   {
//     for (int64_t n = 1;; ++n) {
//       FaultKernel kernel(world.kernel());
//       kernel.FailNth(n, variant);
//       RunTheOperation(kernel);  // must end exactly once
//       if (!kernel.fault_was_reached()) break;
//     }
//   }
//
// A failed call is not carried out, and leaves behind what an honest failure
// leaves behind: a connection that could not be accepted stays pending, one
// that was aborted is gone, a stream that was reset is dead from then on.
//
// The other faults break no rule of the contract (kernel.h); they only make
// frequent what is rare.

#ifndef AIOS_TESTS_SUPPORT_FAULT_KERNEL_H_
#define AIOS_TESTS_SUPPORT_FAULT_KERNEL_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/support/kernel_decorator.h"

namespace aios::test {

// May be used from several threads.
class FaultKernel final : public KernelDecorator {
 public:
  // No call has more plausible errors than this.
  static constexpr size_t kErrorVariants = 6;

  // What a system may answer to the call, as errno values; EAGAIN is among them
  // where the call can block. Empty for calls that cannot fail.
  static std::span<const int> PlausibleErrors(KernelCall call);

  // Plausible error number `variant`, counted round and round.
  static Error PlausibleError(KernelCall call, size_t variant);

  explicit FaultKernel(Kernel& base) : KernelDecorator(base) {}

  // Who watches over the base knows nothing of what is made up here.
  OperationObserver* observer() override { return nullptr; }

  // One call fails: the `n`-th from now on, 1 being the next. Only calls that
  // can fail are counted; of one kind, or of all. The error must not be EINTR,
  // which no kernel gives (rule 13). A new choice replaces the last one.
  void FailNth(KernelCall call, int64_t n, Error error);
  void FailNth(int64_t n, Error error);
  void FailNth(int64_t n, size_t variant);
  bool fault_was_reached() const;
  // The call that failed, once the fault was reached.
  std::optional<KernelCall> failed_call() const;

  // Every call of one kind fails, until `Heal`.
  void FailEvery(KernelCall call, Error error);
  void Heal(KernelCall call);

  // The next change of interest is not carried out and takes the handle's
  // interest away; the error comes as a report of the next `Wait` (rule 4).
  void FailInterestLate(Error error);

  // At most so many bytes in each `Receive` and `Send`, so many datagrams in
  // each batch, so many reports in each `Wait`. 0: no limit.
  void LimitTransfers(size_t bytes);
  void LimitBatches(size_t datagrams);
  void LimitReports(size_t reports);

  // Every `n`-th call that could block answers EAGAIN, ready or not. 0: none.
  void WouldBlockEvery(int64_t n);

  // Every second `Wait` returns at once and reports all that is watched as
  // ready in the directions asked for; the others are as they should be, so
  // that time goes on.
  void SetSpuriousReports(bool on);

  // Reports come in the reverse of their order.
  void SetReversedReports(bool on);

  Transfer Receive(Handle handle, std::span<char> buffer) override;
  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) override;
  Transfer SendDatagrams(Handle handle,
                         std::span<const OutgoingDatagram> datagrams) override;
  void Close(Handle handle) override;
  Error NewPoller(std::unique_ptr<Poller>* poller) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;

 protected:
  Error Before(KernelCall call, Handle handle) override;

 private:
  struct NthFault {
    std::optional<KernelCall> call;  // any when empty
    int64_t calls_left = 0;          // fails when it gets to 0
    std::function<Error(KernelCall)> error_of;
  };
  struct Watch {
    void* token;
    Readiness interest;
  };
  struct LateError {
    const Poller* poller;
    void* token;
    Handle handle;
    Error error;
  };

  void Arm(NthFault fault);
  // The error for this call, none for nearly all.
  Error ChooseError(KernelCall call);
  // Does what a failure with this error has done.
  Error Suffer(KernelCall call, Handle handle, Error error);
  size_t AddLateErrors(const Poller& poller, std::span<Report> reports);
  size_t AddSpurious(const Poller& poller, std::span<Report> reports,
                     size_t count);

  mutable std::mutex mutex_;
  // All below is guarded by it.
  std::optional<NthFault> nth_;
  std::optional<KernelCall> failed_call_;
  std::map<KernelCall, Error> always_;
  std::optional<Error> next_late_error_;
  std::vector<LateError> late_errors_;
  size_t transfer_max_ = 0;
  size_t batch_max_ = 0;
  size_t reports_max_ = 0;
  int64_t would_block_every_ = 0;
  int64_t calls_that_could_block_ = 0;
  bool spurious_ = false;
  bool spurious_next_ = false;
  bool reversed_ = false;
  std::map<std::pair<const Poller*, Handle>, Watch> watches_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_FAULT_KERNEL_H_
