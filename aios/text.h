// Small helpers for reading text that a user gave, and for showing it in
// messages. Not part of the public interface.

#ifndef AIOS_TEXT_H_
#define AIOS_TEXT_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace aios {

// The ASCII digits only, whatever the locale.
constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// True for one or more digits and nothing else.
bool AllDigits(std::string_view text);

// `text` in double quotes for a message: one line of ASCII whatever is in it,
// with other bytes escaped as in C, and cut (its length added) when it is long.
std::string Quoted(std::string_view text);

// What a message is about: `what`, and `name` in double quotes if it has one.
std::string WithName(std::string_view what, std::string_view name);

// What `ReadDecimal` found.
enum class DecimalError : uint8_t {
  kNone,
  kEmpty,
  kNotDecimal,   // anything but digits: a sign, a blank, trailing text
  kLeadingZero,  // other programs take it for octal; of a number of any size
  kAboveLimit,   // however large, and otherwise right
};

// Reads a decimal number of at most `limit`: digits only, no sign, no leading
// zeros. `value` is left alone when there is an error.
DecimalError ReadDecimal(std::string_view text, uint64_t limit,
                         uint64_t* value);

// The same for a port. Returns null, or else what is wrong, in words that
// follow what it is about ("the port ").
const char* ReadPort(std::string_view text, uint16_t* port);

}  // namespace aios

#endif  // AIOS_TEXT_H_
