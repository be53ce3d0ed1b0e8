// Reads DNS messages: what a server says of the addresses of a name. Trusts
// nothing in them, and takes a time that their size bounds.

#ifndef AIOS_DNS_ANSWER_H_
#define AIOS_DNS_ANSWER_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "aios/address.h"

namespace aios {

struct DnsQuestion {
  // In lower case, without a final dot.
  std::string name;
  int type = 0;
  // Of the message: where the records begin.
  size_t end = 0;
};

// The type of the records with the addresses of a family: A or AAAA.
int DnsType(Family family);

// The question of a message that has one.
std::optional<DnsQuestion> ReadDnsQuestion(std::string_view message);

struct DnsAddresses {
  // Each once, in the order of the message; at most 32.
  std::vector<IpAddress> addresses;
  // The least of the records'.
  int64_t ttl_seconds = 0;
};

// The addresses of `name` in `family` that the message tells of; none, if it
// has none. Aliases are followed within the message, in whatever order they are
// there; records of names that nobody asked for do not count. The names in it
// need not be names of hosts. Null when the message makes no sense.
std::optional<DnsAddresses> ReadDnsAddresses(std::string_view message,
                                             std::string_view name,
                                             Family family);

}  // namespace aios

#endif  // AIOS_DNS_ANSWER_H_
