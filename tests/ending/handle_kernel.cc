#include "tests/ending/handle_kernel.h"

#include "gtest/gtest.h"

namespace aios::test {

Error HandleKernel::Before(KernelCall call, Handle handle) {
  if (handle != kNoHandle && call != KernelCall::kAdopt) {
    EXPECT_TRUE(open_.contains(handle))
        << CallName(call) << " of handle " << handle << ", which is not open";
  }
  return Error();
}

void HandleKernel::Add(Handle handle) {
  EXPECT_TRUE(open_.insert(handle).second) << handle << " was open already";
}

void HandleKernel::Remove(Handle handle, KernelCall call) {
  open_.erase(handle);
  if (may_close_watched_) {
    interest_.erase(handle);
  } else {
    EXPECT_FALSE(interest_.contains(handle))
        << CallName(call) << " of handle " << handle << ", which is watched";
  }
}

Error HandleKernel::Open(SocketType type, Family family, Handle* handle) {
  Error error = KernelDecorator::Open(type, family, handle);
  if (error.ok()) Add(*handle);
  return error;
}

Error HandleKernel::Adopt(Handle handle, SocketInfo* info) {
  Error error = KernelDecorator::Adopt(handle, info);
  if (error.ok()) Add(handle);
  return error;
}

Error HandleKernel::Accept(Handle listener, Handle* connection) {
  Error error = KernelDecorator::Accept(listener, connection);
  if (error.ok()) Add(*connection);
  return error;
}

void HandleKernel::Release(Handle handle) {
  KernelDecorator::Release(handle);
  Remove(handle, KernelCall::kRelease);
}

void HandleKernel::Close(Handle handle) {
  KernelDecorator::Close(handle);
  Remove(handle, KernelCall::kClose);
}

Error HandleKernel::SetInterest(Poller& poller, Handle handle, void* token,
                                Readiness from, Readiness to) {
  auto known = interest_.find(handle);
  EXPECT_EQ(from, known == interest_.end() ? kNotReady : known->second);
  Error error = KernelDecorator::SetInterest(poller, handle, token, from, to);
  if (!error.ok()) return error;
  if (to == kNotReady) {
    interest_.erase(handle);
  } else {
    interest_[handle] = to;
  }
  return error;
}

}  // namespace aios::test
