#include "aios/input_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace aios {

InputBuffer::InputBuffer() : data_(new char[kCapacity]), capacity_(kCapacity) {}

std::span<char> InputBuffer::Room(size_t wanted) {
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
  return {data_.get() + end_, std::min(wanted, capacity_ - end_)};
}

void InputBuffer::Consume(size_t n) {
  begin_ += n;
  if (begin_ == end_) {
    begin_ = 0;
    end_ = 0;
  }
}

std::unique_ptr<InputBuffer> InputBufferPool::Take() {
  if (kept_.empty()) return std::make_unique<InputBuffer>();
  std::unique_ptr<InputBuffer> buffer = std::move(kept_.back());
  kept_.pop_back();
  return buffer;
}

void InputBufferPool::Give(std::unique_ptr<InputBuffer> buffer) {
  // Buffers that had to grow are let go: a burst must not hold memory for ever.
  if (kept_.size() >= kKeptMax || buffer->capacity_ != InputBuffer::kCapacity) {
    return;
  }
  buffer->begin_ = 0;
  buffer->end_ = 0;
  buffer->old_length = 0;
  kept_.push_back(std::move(buffer));
}

}  // namespace aios
