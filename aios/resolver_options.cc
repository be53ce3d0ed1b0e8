#include "aios/resolver_options.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "aios/host_spec.h"

namespace aios {

namespace {

constexpr size_t kServersMax = 16;
constexpr size_t kDomainsMax = 16;
constexpr int kTriesMax = 10;
constexpr int kNdotsMax = 15;

}  // namespace

absl::Status ResolverOptions::Check() const {
  auto wrong = [](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat("resolver: ", what...));
  };
  if (servers.has_value()) {
    if (servers->size() > kServersMax) {
      return wrong("more than ", kServersMax, " servers");
    }
    for (const SocketAddress& server : *servers) {
      if (server.port() == 0 || server.ip().is_any()) {
        return wrong("no server can be at ", server.ToString());
      }
    }
  }
  if (timeout.has_value() &&
      !(*timeout >= absl::Milliseconds(1) && *timeout <= absl::Minutes(1))) {
    return wrong("timeout is ", absl::FormatDuration(*timeout),
                 "; it must be 1 ms to 1 minute");
  }
  if (tries.has_value() && (*tries < 1 || *tries > kTriesMax)) {
    return wrong("tries is ", *tries, "; it must be 1 to ", kTriesMax);
  }
  if (ndots.has_value() && (*ndots < 0 || *ndots > kNdotsMax)) {
    return wrong("ndots is ", *ndots, "; it must be 0 to ", kNdotsMax);
  }
  if (search_domains.has_value()) {
    if (search_domains->size() > kDomainsMax) {
      return wrong("more than ", kDomainsMax, " search domains");
    }
    for (const std::string& domain : *search_domains) {
      if (KindOf(HostSpec(domain)) != SpecKind::kName) {
        return wrong("search domain ", HostSpec(domain).ToString(),
                     " is no domain name");
      }
    }
  }
  for (absl::Duration ttl : {ttl_min, ttl_max, negative_ttl, failure_ttl}) {
    if (!(ttl >= absl::ZeroDuration())) {
      return wrong("a time to keep answers is negative");
    }
  }
  if (ttl_min > ttl_max) return wrong("ttl_min is more than ttl_max");
  if (questions_max < 1) return wrong("questions_max is 0");
  return absl::OkStatus();
}

}  // namespace aios
