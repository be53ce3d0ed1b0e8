#include "aios/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace aios {
namespace {

// Longer than every host name people type, short enough for a log line.
constexpr size_t kQuotedSizeMax = 100;

}  // namespace

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsDigit);
}

std::string Quoted(std::string_view text) {
  const bool cut = text.size() > kQuotedSizeMax;
  // Built from its parts because Abseil's view may be a type of its own.
  const absl::string_view shown(text.data(),
                                cut ? kQuotedSizeMax : text.size());
  std::string quoted = "\"" + absl::CHexEscape(shown) + "\"";
  if (cut) quoted += "... (" + std::to_string(text.size()) + " bytes)";
  return quoted;
}

std::string WithName(std::string_view what, std::string_view name) {
  std::string text(what);
  if (!name.empty()) text.append(" \"").append(name).append("\"");
  return text;
}

const char* ReadDecimal(std::string_view text, uint32_t limit,
                        const char* above_limit, uint32_t* value) {
  if (text.empty()) return "is empty";
  if (!AllDigits(text)) return "is not a decimal number";
  // Other programs take it for octal.
  if (text[0] == '0' && text.size() > 1) return "has a leading zero";
  uint64_t number = 0;
  for (const char c : text) {
    number = number * 10 + static_cast<uint64_t>(c - '0');
    if (number > limit) return above_limit;
  }
  *value = static_cast<uint32_t>(number);
  return nullptr;
}

const char* ReadPort(std::string_view text, uint16_t* port) {
  uint32_t value = 0;
  const char* wrong = ReadDecimal(text, 65535, "is above 65535", &value);
  if (wrong != nullptr) return wrong;
  *port = static_cast<uint16_t>(value);
  return nullptr;
}

}  // namespace aios
