// The order in which to try the addresses of a name: RFC 6724.

#ifndef AIOS_DESTINATION_ORDER_H_
#define AIOS_DESTINATION_ORDER_H_

#include <cstdint>
#include <span>

#include "aios/address.h"
#include "aios/kernel.h"

namespace aios {

// An address of a name, and the one that the system would send from.
struct Destination {
  enum class Source : uint8_t { kNotAsked, kNone, kKnown };

  IpAddress ip;
  IpAddress source_ip = {};
  Source source = Source::kNotAsked;

  friend bool operator==(const Destination&, const Destination&) = default;
};

// Asks the kernel for the sources that have not been asked for: connects a
// datagram socket, which sends nothing, and looks at its address.
void FindSources(Kernel& kernel, std::span<Destination> destinations);

// Sorts by the rules of RFC 6724, section 6, as far as the seam can tell: not
// those on deprecated and home addresses and on encapsulated interfaces. Those
// with no source come last. What no rule tells apart keeps its order; the
// longest common prefix counts for IPv6 only, as for IPv4 it would undo the
// balancing of name servers. A source that was not asked for counts as none.
void SortDestinations(std::span<Destination> destinations);

}  // namespace aios

#endif  // AIOS_DESTINATION_ORDER_H_
