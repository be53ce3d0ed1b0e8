#include "aios/input_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace aios {

InputBuffer::InputBuffer() : data_(new char[kCapacity]), capacity_(kCapacity) {}

size_t InputBuffer::MakeRoom(size_t wanted) {
  size_t enough = std::min(wanted, std::max<size_t>(wanted / 4, kCapacity / 4));
  if (capacity_ - end_ < enough) {
    size_t length = size();
    if (length <= capacity_ / 2 && capacity_ - length >= enough) {
      // At least a quarter of the capacity was consumed since the last move.
      std::memmove(data_.get(), data_.get() + begin_, length);
    } else {
      size_t capacity = std::max(capacity_ * 2, length + wanted);
      std::unique_ptr<char[]> data(new char[capacity]);
      std::memcpy(data.get(), data_.get() + begin_, length);
      data_ = std::move(data);
      capacity_ = capacity;
    }
    begin_ = 0;
    end_ = length;
  }
  return std::min(wanted, capacity_ - end_);
}

void InputBufferPool::TakeOther() {
  if (others_.empty()) {
    next_ = std::make_unique<InputBuffer>();
    return;
  }
  next_ = std::move(others_.back());
  others_.pop_back();
}

void InputBufferPool::GiveOther(std::unique_ptr<InputBuffer>& place) {
  std::unique_ptr<InputBuffer> buffer = std::move(place);
  // Buffers that had to grow are let go: a burst must not hold memory for ever.
  if (buffer->capacity_ != InputBuffer::kCapacity) return;
  if (next_ == nullptr) {
    next_ = std::move(buffer);
  } else if (others_.size() + 1 < kKeptMax) {
    others_.push_back(std::move(buffer));
  }
}

}  // namespace aios
