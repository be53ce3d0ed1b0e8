// How the names of hosts and services are resolved.

#ifndef AIOS_RESOLVER_OPTIONS_H_
#define AIOS_RESOLVER_OPTIONS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "aios/address.h"

namespace aios {

// The options of the one resolver of a collection; docs/names.md shows them in
// use. What is not given comes from `resolv_conf`, and then from the defaults
// named here. Files are read by the kernel of the collection: the simulated one
// has none, so that there what is not given here does not exist.
struct ResolverOptions {
  // The name servers, in the order in which they are asked: at most 16. Empty:
  // none, and names that only a server knows fail with `kNotConfigured`; so
  // they do where there is no `resolv_conf`.
  std::optional<std::vector<SocketAddress>> servers = {};

  // How long a server has to answer; twice as long in the second round over all
  // servers, and so on. 1 ms to 1 minute; default 2 s.
  std::optional<absl::Duration> timeout = {};

  // Rounds over all servers: 1 to 10; default 3.
  std::optional<int> tries = {};

  // Domains that are tried behind a name that does not end in a dot: at most
  // 16; default none. A name with at least `ndots` dots (0 to 15, default 1) is
  // tried as it is first, otherwise last.
  std::optional<std::vector<std::string>> search_domains = {};
  std::optional<int> ndots = {};

  // Paths; empty for none. The first two are looked at again after 5 s of use.
  std::string resolv_conf = "/etc/resolv.conf";
  std::string hosts_file = "/etc/hosts";
  std::string services_file = "/etc/services";

  // For how long answers are kept: for the time that they say, but within these
  // bounds; that a name or its addresses do not exist; and that the servers
  // failed to find out.
  absl::Duration ttl_min = absl::Seconds(1);
  absl::Duration ttl_max = absl::Hours(24);
  absl::Duration negative_ttl = absl::Seconds(5);
  absl::Duration failure_ttl = absl::Seconds(1);

  // Answers that are kept, one for each name and family. The one that was not
  // used for the longest time makes room.
  size_t answers_max = 2048;

  // Questions, of a name and a family, that are with the servers at a time; the
  // others wait. Not so many that their answers overrun the receive buffer.
  size_t questions_max = 128;

  // Questions that wait. A lookup that needs one more is refused with
  // ResourceExhausted.
  size_t questions_waiting_max = 65536;
};

// InvalidArgument for a value outside its range.
absl::Status CheckOptions(const ResolverOptions& options);

}  // namespace aios

#endif  // AIOS_RESOLVER_OPTIONS_H_
