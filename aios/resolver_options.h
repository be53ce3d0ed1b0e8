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

// How many there may be, in the options and in `resolv_conf`.
inline constexpr size_t kNameServersMax = 16;
inline constexpr size_t kSearchDomainsMax = 64;

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
  // 64; default none. A name with at least `ndots` dots (0 to 15, default 1) is
  // tried as it is first, otherwise last. The search ends at the first name
  // that has an address of either family; docs/names.md says what errors do to
  // it.
  std::optional<std::vector<std::string>> search_domains = {};
  std::optional<int> ndots = {};

  // Paths; empty for none. Each file is looked at again when it is needed and
  // the last look was 5 s ago, and read when it has changed. Only one that does
  // not exist counts as empty. When one cannot be read (no descriptor is left,
  // permission is denied, it is too long, …) what was read before stays, and it
  // is tried again after 100 ms; when nothing was read before, what needs the
  // file fails with that error, and the next one who needs it tries again: no
  // server is asked for a name that may be in the hosts file.
  //
  // What is not taken from them, as the systems' own resolvers do not take all:
  //
  // resolv.conf: of `nameserver` the first 16, of `search` the first 64 domains
  // and of several such lines the last. `ndots:` is cut to 15, `timeout:` to 1
  // to 30 and `attempts:` to 1 to 5. At most 4 MiB.
  //
  // hosts: of one name the first 1024 lines, and of these the first 32
  // addresses of each family. At most 256 MiB. What is longer than 64 KiB is
  // read and indexed in the turns after the first question, at most 256 KiB in
  // each: questions wait for the first time, and go by the old text after a
  // change.
  //
  // services: at most 4 MiB, read at once.
  //
  // In all three, lines, words and numbers that are malformed are passed over:
  // addresses and names as `HostSpec` does not take them, and of numbers those
  // that are not digits alone (leading zeros are allowed in files).
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

  // Names whose answers are kept. The one that was not used for the longest
  // time makes room.
  size_t answers_max = 2048;

  // Questions, of a name and a family, that are with the servers at a time; the
  // others wait. Not so many that their answers overrun the receive buffer.
  size_t questions_max = 128;

  // Names that wait. A lookup that needs one more is refused with
  // ResourceExhausted.
  size_t questions_waiting_max = 65536;
};

// InvalidArgument for a value outside its range.
absl::Status CheckOptions(const ResolverOptions& options);

}  // namespace aios

#endif  // AIOS_RESOLVER_OPTIONS_H_
