#include "aios/resolver_options.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "aios/host_spec.h"

namespace aios {

namespace {

constexpr int kTriesMax = 10;
constexpr int kNdotsMax = 15;

}  // namespace

absl::Status CheckOptions(const ResolverOptions& options) {
  auto wrong = [](auto... what) {
    return absl::InvalidArgumentError(absl::StrCat("resolver: ", what...));
  };
  if (options.servers.has_value()) {
    if (options.servers->size() > kNameServersMax) {
      return wrong("more than ", kNameServersMax, " servers");
    }
    for (const SocketAddress& server : *options.servers) {
      if (server.port() == 0 || server.ip().is_any()) {
        return wrong("no server can be at ", server.ToString());
      }
    }
  }
  if (options.timeout.has_value() &&
      !(*options.timeout >= absl::Milliseconds(1) &&
        *options.timeout <= absl::Minutes(1))) {
    return wrong("timeout is ", absl::FormatDuration(*options.timeout),
                 "; it must be 1 ms to 1 minute");
  }
  if (options.tries.has_value() &&
      (*options.tries < 1 || *options.tries > kTriesMax)) {
    return wrong("tries is ", *options.tries, "; it must be 1 to ", kTriesMax);
  }
  if (options.ndots.has_value() &&
      (*options.ndots < 0 || *options.ndots > kNdotsMax)) {
    return wrong("ndots is ", *options.ndots, "; it must be 0 to ", kNdotsMax);
  }
  if (options.search_domains.has_value()) {
    if (options.search_domains->size() > kSearchDomainsMax) {
      return wrong("more than ", kSearchDomainsMax, " search domains");
    }
    for (const std::string& domain : *options.search_domains) {
      if (KindOf(HostSpec(domain)) != SpecKind::kName) {
        return wrong("search domain ", HostSpec(domain).ToString(),
                     " is no domain name");
      }
    }
  }
  for (absl::Duration ttl : {options.ttl_min, options.ttl_max,
                             options.negative_ttl, options.failure_ttl}) {
    if (!(ttl >= absl::ZeroDuration())) {
      return wrong("a time to keep answers is negative");
    }
  }
  if (options.ttl_min > options.ttl_max) {
    return wrong("ttl_min is more than ttl_max");
  }
  if (options.questions_max < 1) return wrong("questions_max is 0");
  return absl::OkStatus();
}

}  // namespace aios
