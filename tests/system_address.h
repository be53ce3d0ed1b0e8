// What the system makes of addresses: the oracle for ours.

#ifndef AIOS_TESTS_SYSTEM_ADDRESS_H_
#define AIOS_TESTS_SYSTEM_ADDRESS_H_

#include <optional>
#include <string>
#include <string_view>

#include "aios/address.h"

namespace aios {

// The address that inet_pton reads, in either family; it knows no zones.
std::optional<IpAddress> SystemParse(std::string_view text);

// The text that inet_ntop prints: without the zone.
std::string SystemText(const IpAddress& address);

// The system prints the same as `IpAddress::ToString`, zones aside, with one
// exception: it writes IPv4 at the end of the deprecated "compatible" addresses
// too (::1.2.3.4), where RFC 5952 wants it only behind prefixes that are known
// to have an IPv4 address follow. True for those. (Below ::0.1.0.0, both print
// what they print for any IPv6 address.)
bool SystemTextDiffers(const IpAddress& address);

}  // namespace aios

#endif  // AIOS_TESTS_SYSTEM_ADDRESS_H_
