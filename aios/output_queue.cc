#include "aios/output_queue.h"

namespace aios {

OutputOperationPool::~OutputOperationPool() {
  while (kept_ != nullptr) {
    OutputOperation* next = kept_->next;
    delete kept_;
    kept_ = next;
  }
}

OutputOperation* OutputOperationPool::Take() {
  if (kept_ == nullptr) return new OutputOperation;
  OutputOperation* operation = kept_;
  kept_ = operation->next;
  --kept_count_;
  return operation;
}

void OutputOperationPool::Give(OutputOperation* operation) {
  if (operation->lookup != nullptr) [[unlikely]] {
    operation->lookup.reset();
  }
  if (kept_count_ >= kKeptMax) {
    delete operation;
    return;
  }
  operation->next = kept_;
  kept_ = operation;
  ++kept_count_;
}

}  // namespace aios
