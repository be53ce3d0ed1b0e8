#include "aios/state/output_operation.h"

namespace aios {

OutputOperationPool::~OutputOperationPool() {
  while (kept_ != nullptr) {
    OutputOperation* next = kept_->next;
    delete kept_;
    kept_ = next;
  }
}

}  // namespace aios
