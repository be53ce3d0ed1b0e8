#include "tests/support/heap.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace aios::test {

namespace {

constexpr size_t kDefault = __STDCPP_DEFAULT_NEW_ALIGNMENT__;

// Constant-initialised: `new` is used before any constructor runs.
constinit std::atomic<int64_t> allocations = 0;
constinit std::atomic<int64_t> bytes = 0;

int64_t Cost(size_t size) {
  return static_cast<int64_t>((size + 8 + 15) / 16 * 16);
}

// In front of what is given out stands its size, so that a count does not
// depend on which block the allocator happened to find.
size_t PrefixFor(size_t alignment) {
  return alignment < kDefault ? kDefault : alignment;
}

void* Allocate(size_t size, size_t alignment) {
  static_assert(kDefault >= sizeof(size));
  size_t prefix = PrefixFor(alignment);
  // A multiple of the alignment, as `aligned_alloc` wants it.
  size_t whole = (prefix + size + prefix - 1) / prefix * prefix;
  void* memory = std::aligned_alloc(prefix, whole);
  if (memory == nullptr) return nullptr;
  std::memcpy(memory, &size, sizeof(size));
  allocations.fetch_add(1, std::memory_order_relaxed);
  bytes.fetch_add(Cost(size), std::memory_order_relaxed);
  return static_cast<char*>(memory) + prefix;
}

void* AllocateOrDie(size_t size, size_t alignment = kDefault) {
  void* memory = Allocate(size, alignment);
  if (memory == nullptr) std::abort();
  return memory;
}

void Free(void* memory, size_t alignment = kDefault) {
  if (memory == nullptr) return;
  void* block = static_cast<char*>(memory) - PrefixFor(alignment);
  size_t size;
  std::memcpy(&size, block, sizeof(size));
  bytes.fetch_sub(Cost(size), std::memory_order_relaxed);
  std::free(block);
}

}  // namespace

HeapUse CurrentHeapUse() {
  return {allocations.load(std::memory_order_relaxed),
          bytes.load(std::memory_order_relaxed)};
}

}  // namespace aios::test

using aios::test::Allocate;
using aios::test::AllocateOrDie;
using aios::test::Free;
using aios::test::kDefault;
using std::align_val_t;
using std::nothrow_t;

void* operator new(size_t size) { return AllocateOrDie(size); }
void* operator new[](size_t size) { return AllocateOrDie(size); }
void* operator new(size_t size, const nothrow_t&) noexcept {
  return Allocate(size, kDefault);
}
void* operator new[](size_t size, const nothrow_t&) noexcept {
  return Allocate(size, kDefault);
}
void* operator new(size_t size, align_val_t alignment) {
  return AllocateOrDie(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, align_val_t alignment) {
  return AllocateOrDie(size, static_cast<size_t>(alignment));
}
void* operator new(size_t size, align_val_t alignment,
                   const nothrow_t&) noexcept {
  return Allocate(size, static_cast<size_t>(alignment));
}
void* operator new[](size_t size, align_val_t alignment,
                     const nothrow_t&) noexcept {
  return Allocate(size, static_cast<size_t>(alignment));
}

void operator delete(void* memory) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }
void operator delete(void* memory, const nothrow_t&) noexcept { Free(memory); }
void operator delete[](void* memory, const nothrow_t&) noexcept {
  Free(memory);
}
void operator delete(void* memory, align_val_t alignment) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
void operator delete[](void* memory, align_val_t alignment) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
void operator delete(void* memory, size_t, align_val_t alignment) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
void operator delete[](void* memory, size_t, align_val_t alignment) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
void operator delete(void* memory, align_val_t alignment,
                     const nothrow_t&) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
void operator delete[](void* memory, align_val_t alignment,
                       const nothrow_t&) noexcept {
  Free(memory, static_cast<size_t>(alignment));
}
