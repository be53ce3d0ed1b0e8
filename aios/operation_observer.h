// For kernels that watch over the promise that every operation ends once.

#ifndef AIOS_OPERATION_OBSERVER_H_
#define AIOS_OPERATION_OBSERVER_H_

#include <cstddef>
#include <cstdint>

#include "aios/io_result.h"
#include "aios/kernel.h"

namespace aios {

// Told of every operation of the states on its kernel. An operation is named by
// a pointer that no other operation has at the same time.
class OperationObserver {
 public:
  enum class End : uint8_t {
    kCallback,  // by its callback, which is about to be called
    kAbort,     // by the callback of an abort in its place
    kSilent,    // by a close
  };

  virtual ~OperationObserver() = default;

  // `state` names the state, `kind` the call that started it.
  virtual void OnStart(const void* operation, const void* state,
                       const char* kind) = 0;
  virtual void OnEnd(const void* operation, End end, IoStatus status,
                     size_t count) = 0;
  // It is about to time out; its deadline was this.
  virtual void OnTimeout(const void* operation, Nanoseconds deadline) = 0;
  // No operation of the state may end by a callback any more.
  virtual void OnClose(const void* state) = 0;
};

}  // namespace aios

#endif  // AIOS_OPERATION_OBSERVER_H_
