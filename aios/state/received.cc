#include "aios/state/received.h"

#include <algorithm>
#include <span>

namespace aios {

std::span<char> Received::MoreRoom(InputBufferPool& pool, size_t wanted,
                                   size_t buffer_bytes_max) {
  if (buffer_ == nullptr) pool.Take(buffer_);
  return buffer_->Room(std::min(wanted, buffer_bytes_max - buffer_->size()));
}

}  // namespace aios
