// A small mutator, for replaying fuzz targets where libFuzzer is not there. It
// is blind: it sees no coverage. What makes it useful are good seeds and a
// dictionary, and that it gives the same inputs in every run.

#ifndef AIOS_TESTS_FUZZ_MUTATOR_H_
#define AIOS_TESTS_FUZZ_MUTATOR_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/random.h"

namespace aios {

// Reads a dictionary as libFuzzer does: a line is empty, a comment (#), or
// [name=]"token" with the escapes \\, \" and \xNN. InvalidArgument with the
// number of the line for anything else.
absl::StatusOr<std::vector<std::string>> ParseDictionary(
    std::string_view content);

class Mutator {
 public:
  // No input gets longer than `size_max`, unless a seed is.
  Mutator(uint64_t seed, std::vector<std::string> seeds,
          std::vector<std::string> dictionary, size_t size_max);

  // A seed with one to four changes.
  std::string Next();

 private:
  void Change(std::string* input);
  std::string_view Pick(const std::vector<std::string>& from);

  Random random_;
  std::vector<std::string> seeds_;
  std::vector<std::string> dictionary_;
  size_t size_max_;
};

}  // namespace aios

#endif  // AIOS_TESTS_FUZZ_MUTATOR_H_
