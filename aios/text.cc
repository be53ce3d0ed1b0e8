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

DecimalError ReadDecimal(std::string_view text, uint64_t limit,
                         uint64_t* value) {
  if (text.empty()) return DecimalError::kEmpty;
  if (!AllDigits(text)) return DecimalError::kNotDecimal;
  if (text[0] == '0' && text.size() > 1) return DecimalError::kLeadingZero;
  uint64_t number = 0;
  for (const char c : text) {
    const auto digit = static_cast<uint64_t>(c - '0');
    if (digit > limit || number > (limit - digit) / 10) {
      return DecimalError::kAboveLimit;
    }
    number = number * 10 + digit;
  }
  *value = number;
  return DecimalError::kNone;
}

const char* ReadPort(std::string_view text, uint16_t* port) {
  uint64_t value = 0;
  switch (ReadDecimal(text, 65535, &value)) {
    case DecimalError::kNone:
      *port = static_cast<uint16_t>(value);
      return nullptr;
    case DecimalError::kEmpty:
      return "is empty";
    case DecimalError::kLeadingZero:
      return "has a leading zero";
    case DecimalError::kAboveLimit:
      return "is above 65535";
    case DecimalError::kNotDecimal:
      break;
  }
  return "is not a decimal number";
}

}  // namespace aios
