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

// Reads a decimal number: digits only, no sign, no leading zeros. Returns null,
// or else what is wrong, in words that follow what it is about ("zone ").
// `above_limit` is the answer for a number above `limit`.
const char* ReadDecimal(std::string_view text, uint32_t limit,
                        const char* above_limit, uint32_t* value);

// The same for a port.
const char* ReadPort(std::string_view text, uint16_t* port);

}  // namespace aios

#endif  // AIOS_TEXT_H_
