// The buffer of bytes that were read from a socket and not yet consumed.

#ifndef AIOS_INPUT_BUFFER_H_
#define AIOS_INPUT_BUFFER_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace aios {

// Grows at its end and is consumed at its front.
class InputBuffer {
 public:
  // The capacity that buffers start with, and with which the pool keeps them.
  static constexpr size_t kCapacity = size_t{16} << 10;

  InputBuffer();

  size_t size() const { return end_ - begin_; }
  std::string_view view() const { return {data_.get() + begin_, size()}; }

  // Room for up to `wanted` bytes behind the contents, which may move: fewer
  // rather than making the buffer larger, but never much fewer and never none.
  std::span<char> Room(size_t wanted);
  // The first `n` bytes of the room have been filled.
  void Append(size_t n) { end_ += n; }
  // `n` is not greater than `size()`.
  void Consume(size_t n);

  // How much of the contents the callback has seen already.
  size_t old_length = 0;

 private:
  friend class InputBufferPool;

  std::unique_ptr<char[]> data_;
  size_t capacity_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

// Keeps the buffers that connections gave back when all was consumed, so that
// an idle connection owns none and a busy one need not allocate.
class InputBufferPool {
 public:
  // As many as can be in use in one turn, which serves that many reports. 2 MB:
  // among 10,000 connections that were busy together, 200 bytes for each.
  static constexpr size_t kKeptMax = 128;

  std::unique_ptr<InputBuffer> Take();
  void Give(std::unique_ptr<InputBuffer> buffer);

 private:
  std::vector<std::unique_ptr<InputBuffer>> kept_;
};

}  // namespace aios

#endif  // AIOS_INPUT_BUFFER_H_
