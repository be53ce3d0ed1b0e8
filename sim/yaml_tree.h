// A YAML text as a tree that knows its places, within limits. What people do
// not need in files that they write by hand is refused: several documents,
// tags, anchors and aliases, keys that are not plain words.

#ifndef AIOS_SIM_YAML_TREE_H_
#define AIOS_SIM_YAML_TREE_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace aios::sim {

// Counted from 1.
struct TextPlace {
  int line = 1;
  int column = 1;
};

struct YamlNode {
  enum class Kind : unsigned char { kNull, kScalar, kList, kMap };
  struct Key {
    std::string text;
    TextPlace place;
  };

  Kind kind = Kind::kNull;
  TextPlace place;
  // Scalars.
  std::string text;
  bool quoted = false;
  // The elements of a list, the values of a map.
  std::vector<YamlNode> items;
  // Of a map, in the order of the text, without duplicates.
  std::vector<Key> keys;
};

struct YamlLimits {
  size_t bytes_max = size_t{1} << 20;
  size_t depth_max = 16;
  size_t nodes_max = 100'000;
};

// "file:line:column: what", as compilers write it.
std::string AtPlace(std::string_view file, TextPlace place,
                    std::string_view what);

// InvalidArgument, its message made by `AtPlace`, for what is no YAML, or
// refused.
absl::StatusOr<YamlNode> ParseYaml(std::string_view file, std::string_view text,
                                   const YamlLimits& limits = {});

}  // namespace aios::sim

#endif  // AIOS_SIM_YAML_TREE_H_
