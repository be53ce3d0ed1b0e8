// A kernel that watches over the handles of the code under test, over any other
// kernel: each is closed or released exactly once, used only while it is open,
// and its interest is told truthfully.

#ifndef AIOS_TESTS_ENDING_HANDLE_KERNEL_H_
#define AIOS_TESTS_ENDING_HANDLE_KERNEL_H_

#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/support/kernel_decorator.h"

namespace aios::test {

class HandleKernel : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  // Handles that were opened, accepted or adopted, and not given up since.
  size_t open_handles() const { return open_.size(); }
  // Of these, the ones that some poller watches.
  size_t watched_handles() const { return interest_.size(); }

  // Lets handles be closed although they are watched, as happens when taking
  // the interest away was made to fail.
  void AllowClosingWatched() { may_close_watched_ = true; }

  Error Open(SocketType type, Family family, Handle* handle) override;
  Error Adopt(Handle handle, SocketInfo* info) override;
  Error Accept(Handle listener, Handle* connection) override;
  void Release(Handle handle) override;
  void Close(Handle handle) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;

 protected:
  Error Before(KernelCall call, Handle handle) override;

 private:
  void Add(Handle handle);
  void Remove(Handle handle, KernelCall call);

  std::set<Handle> open_;
  // What is watched, by handle; the poller is one at a time in these tests.
  std::map<Handle, Readiness> interest_;
  bool may_close_watched_ = false;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_ENDING_HANDLE_KERNEL_H_
