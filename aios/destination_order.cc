#include "aios/destination_order.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace aios {

namespace {

using Bytes = IpAddress::Ipv6Bytes;

// Any port that is not 0 will do: nothing is sent there.
constexpr uint16_t kProbePort = 53;

struct Policy {
  Bytes prefix;
  int length;  // in bits
  int precedence;
  int label;
};

// The default table of RFC 6724, section 2.1, the longest prefixes first.
constexpr Policy kPolicies[] = {
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, 50, 0},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96, 35, 4},
    {{}, 96, 1, 3},
    {{0x20, 0x01}, 32, 5, 5},
    {{0x20, 0x02}, 16, 30, 2},
    {{0x3f, 0xfe}, 16, 1, 12},
    {{0xfe, 0xc0}, 10, 1, 11},
    {{0xfc}, 7, 3, 13},
    {{}, 0, 40, 1},
};

int CommonBits(const Bytes& a, const Bytes& b) {
  int bits = 0;
  for (size_t i = 0; i != a.size(); ++i) {
    unsigned differ = static_cast<unsigned>(a[i] ^ b[i]);
    if (differ == 0) {
      bits += 8;
      continue;
    }
    return bits + __builtin_clz(differ) - 24;
  }
  return bits;
}

const Policy& PolicyOf(const IpAddress& ip) {
  Bytes bytes = ip.ipv6();
  return *std::find_if(std::begin(kPolicies), std::end(kPolicies),
                       [&bytes](const Policy& policy) {
                         return CommonBits(bytes, policy.prefix) >=
                                policy.length;
                       });
}

// As the scopes of multicast addresses are numbered.
enum Scope { kLinkLocal = 2, kSiteLocal = 5, kGlobal = 14 };

int ScopeOf(const IpAddress& ip) {
  Bytes bytes = ip.ipv6();
  if (ip.is_loopback()) return kLinkLocal;
  if (ip.is_ipv4() || ip.is_ipv4_mapped()) {
    return bytes[12] == 169 && bytes[13] == 254 ? kLinkLocal : kGlobal;
  }
  if (bytes[0] == 0xff) return bytes[1] & 0xf;
  if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80) return kLinkLocal;
  if (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0xc0) return kSiteLocal;
  return kGlobal;
}

// What the rules ask of a destination; computed once for each.
struct Ranked {
  Destination destination;
  bool usable = false;        // rule 1
  bool scopes_match = false;  // rule 2
  bool labels_match = false;  // rule 5
  int precedence = 0;         // rule 6
  int scope = 0;              // rule 8
  int common_bits = 0;        // rule 9
};

Ranked Rank(const Destination& destination) {
  const Policy& policy = PolicyOf(destination.ip);
  Ranked ranked = {.destination = destination,
                   .usable = destination.source == Destination::Source::kKnown,
                   .precedence = policy.precedence,
                   .scope = ScopeOf(destination.ip)};
  if (!ranked.usable) return ranked;
  const IpAddress& source = destination.source_ip;
  ranked.scopes_match = ScopeOf(source) == ranked.scope;
  ranked.labels_match = PolicyOf(source).label == policy.label;
  // An interface's part of an address tells nothing of distance.
  ranked.common_bits =
      std::min(CommonBits(destination.ip.ipv6(), source.ipv6()), 64);
  return ranked;
}

bool Before(const Ranked& a, const Ranked& b) {
  if (a.usable != b.usable) return a.usable;
  if (a.scopes_match != b.scopes_match) return a.scopes_match;
  if (a.labels_match != b.labels_match) return a.labels_match;
  if (a.precedence != b.precedence) return a.precedence > b.precedence;
  if (a.scope != b.scope) return a.scope < b.scope;
  return a.usable && a.destination.ip.is_ipv6() && b.destination.ip.is_ipv6() &&
         a.common_bits > b.common_bits;
}

}  // namespace

void FindSources(Kernel& kernel, std::span<Destination> destinations) {
  for (Destination& destination : destinations) {
    if (destination.source != Destination::Source::kNotAsked) continue;
    destination.source = Destination::Source::kNone;
    Handle handle = kNoHandle;
    if (!kernel.Open(SocketType::kDatagram, destination.ip.family(), &handle)
             .ok()) {
      continue;
    }
    SocketAddress source;
    if (kernel.Connect(handle, SocketAddress(destination.ip, kProbePort))
            .ok() &&
        kernel.LocalAddress(handle, &source).ok()) {
      destination.source = Destination::Source::kKnown;
      destination.source_ip = source.ip();
    }
    kernel.Close(handle);
  }
}

void SortDestinations(std::span<Destination> destinations) {
  if (destinations.size() < 2) return;
  std::vector<Ranked> ranked;
  ranked.reserve(destinations.size());
  for (const Destination& destination : destinations) {
    ranked.push_back(Rank(destination));
  }
  std::stable_sort(ranked.begin(), ranked.end(), Before);
  for (size_t i = 0; i != ranked.size(); ++i) {
    destinations[i] = ranked[i].destination;
  }
}

}  // namespace aios
