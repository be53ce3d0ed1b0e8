#include "tests/fuzz/mutator.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace aios {
namespace {

constexpr std::string_view kBlanks = " \t\r";

std::string_view Trimmed(std::string_view text) {
  const size_t start = std::min(text.find_first_not_of(kBlanks), text.size());
  const size_t end = text.find_last_not_of(kBlanks) + 1;
  return start < end ? text.substr(start, end - start) : std::string_view();
}

// -1 for what is no hexadecimal digit.
int HexValue(char c) {
  const size_t place =
      std::string_view("0123456789abcdef0123456789ABCDEF").find(c);
  return place == std::string_view::npos ? -1 : static_cast<int>(place % 16);
}

// The token in a line such as name="\x00a", if it is one.
std::optional<std::string> ParseToken(std::string_view line) {
  const size_t quote = line.find('"');
  if (quote == std::string_view::npos) return std::nullopt;
  if (quote > 0 && line[quote - 1] != '=') return std::nullopt;
  std::string token;
  size_t at = quote + 1;
  while (at < line.size() && line[at] != '"') {
    if (line[at] != '\\') {
      token += line[at++];
    } else if (line.substr(at, 2) == "\\\\" || line.substr(at, 2) == "\\\"") {
      token += line[at + 1];
      at += 2;
    } else if (line.substr(at, 2) == "\\x" && at + 4 <= line.size() &&
               HexValue(line[at + 2]) >= 0 && HexValue(line[at + 3]) >= 0) {
      token += static_cast<char>(HexValue(line[at + 2]) * 16 +
                                 HexValue(line[at + 3]));
      at += 4;
    } else {
      return std::nullopt;
    }
  }
  if (token.empty() || at + 1 != line.size()) return std::nullopt;
  return token;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseDictionary(
    std::string_view content) {
  std::vector<std::string> tokens;
  int number = 0;
  while (!content.empty()) {
    ++number;
    const size_t end = std::min(content.find('\n'), content.size());
    const std::string_view line = Trimmed(content.substr(0, end));
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.empty() || line[0] == '#') continue;
    std::optional<std::string> token = ParseToken(line);
    if (!token.has_value()) {
      return absl::InvalidArgumentError("dictionary, line " +
                                        std::to_string(number) + ": " +
                                        std::string(line));
    }
    tokens.push_back(*std::move(token));
  }
  return tokens;
}

Mutator::Mutator(uint64_t seed, std::vector<std::string> seeds,
                 std::vector<std::string> dictionary, size_t size_max)
    : random_(seed),
      seeds_(std::move(seeds)),
      dictionary_(std::move(dictionary)),
      size_max_(size_max) {}

std::string Mutator::Next() {
  std::string input(Pick(seeds_));
  const size_t size_max = std::max(size_max_, input.size());
  for (size_t changes = 1 + random_.Below(4); changes > 0; --changes) {
    Change(&input);
    if (input.size() > size_max) input.resize(size_max);
  }
  return input;
}

// Empty, when there is nothing to pick from.
std::string_view Mutator::Pick(const std::vector<std::string>& from) {
  if (from.empty()) return std::string_view();
  return from[random_.Below(from.size())];
}

void Mutator::Change(std::string* input) {
  const size_t place = random_.Below(input->size() + 1);
  const size_t length = random_.Below(input->size() - place + 1);
  const auto byte = static_cast<char>(random_.Next());
  switch (random_.Below(9)) {
    case 0:  // one bit
      if (place < input->size()) {
        (*input)[place] =
            static_cast<char>((*input)[place] ^ 1 << random_.Below(8));
      }
      break;
    case 1:  // one byte
      if (place < input->size()) (*input)[place] = byte;
      break;
    case 2:
      input->insert(place, 1, byte);
      break;
    case 3:
      input->erase(place, 1);
      break;
    case 4:
      input->erase(place, length);
      break;
    case 5:
      input->insert(place, input->substr(place, length));
      break;
    case 6:
      input->insert(place, Pick(dictionary_));
      break;
    case 7: {
      const std::string_view token = Pick(dictionary_);
      input->replace(place, token.size(), token);
      break;
    }
    default: {  // goes on as another seed
      const std::string_view other = Pick(seeds_);
      input->replace(place, std::string::npos,
                     other.substr(random_.Below(other.size() + 1)));
    }
  }
}

}  // namespace aios
