// A hash of the names of hosts, for tables of them.

#ifndef AIOS_NAME_HASH_H_
#define AIOS_NAME_HASH_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace aios {

// The same everywhere but for the order of bytes of the machine. Names that
// somebody has chosen so that their hashes are equal have others with another
// seed.
inline uint32_t NameHash(std::string_view name, uint32_t seed) {
  constexpr uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;
  uint64_t hash = (seed + 1) * kOdd + name.size();
  for (size_t i = 0; i < name.size(); i += sizeof(uint64_t)) {
    uint64_t bytes = 0;
    std::memcpy(&bytes, name.data() + i,
                std::min(sizeof(bytes), name.size() - i));
    hash = (hash ^ bytes) * kOdd;
    hash ^= hash >> 32;
  }
  return static_cast<uint32_t>(hash * kOdd >> 32);
}

}  // namespace aios

#endif  // AIOS_NAME_HASH_H_
