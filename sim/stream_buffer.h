// The bytes of a stream between a program and the network.

#ifndef AIOS_SIM_STREAM_BUFFER_H_
#define AIOS_SIM_STREAM_BUFFER_H_

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

namespace aios::sim {

// A ring of bytes that grows as needed and gives its memory back when it is
// empty.
class StreamBuffer {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

  void Append(std::span<const char> bytes) {
    if (bytes.empty()) return;
    if (size_ + bytes.size() > ring_.size()) Grow(size_ + bytes.size());
    size_t mask = ring_.size() - 1;
    size_t place = (begin_ + size_) & mask;
    size_t first = std::min(bytes.size(), ring_.size() - place);
    std::memcpy(&ring_[place], bytes.data(), first);
    if (first != bytes.size()) {
      std::memcpy(ring_.data(), bytes.data() + first, bytes.size() - first);
    }
    size_ += bytes.size();
  }

  // Copies `into.size()` bytes from `offset` on, which must be there.
  void Copy(size_t offset, std::span<char> into) const {
    if (into.empty()) return;
    size_t place = (begin_ + offset) & (ring_.size() - 1);
    size_t first = std::min(into.size(), ring_.size() - place);
    std::memcpy(into.data(), &ring_[place], first);
    if (first != into.size()) {
      std::memcpy(into.data() + first, ring_.data(), into.size() - first);
    }
  }

  void Consume(size_t count) {
    begin_ += count;
    size_ -= count;
    if (size_ == 0) {
      begin_ = 0;
      if (ring_.size() > kKeptMax) ring_ = {};
    }
  }

  void Clear() {
    begin_ = 0;
    size_ = 0;
    ring_ = {};
  }

 private:
  static constexpr size_t kKeptMax = 4096;

  void Grow(size_t needed) {
    size_t capacity = std::max<size_t>(ring_.size(), 512);
    while (capacity < needed) capacity *= 2;
    std::vector<char> ring(capacity);
    Copy(0, {ring.data(), size_});
    ring_ = std::move(ring);
    begin_ = 0;
  }

  std::vector<char> ring_;  // a power of two long, or empty
  size_t begin_ = 0;
  size_t size_ = 0;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_STREAM_BUFFER_H_
