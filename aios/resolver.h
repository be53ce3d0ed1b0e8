// Looking up the addresses of a host. Connecting and sending to a name do so by
// themselves; this is for programs that want the addresses.

#ifndef AIOS_RESOLVER_H_
#define AIOS_RESOLVER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/host_spec.h"
#include "aios/kernel.h"
#include "aios/resolver_options.h"
#include "aios/ticket_queue.h"
#include "aios/wait_state_collection.h"
#include "aios/watcher.h"

namespace aios {

enum class LookupFamily : uint8_t { kIpv4, kIpv6, kBoth };

struct LookupOptions {
  LookupFamily family = LookupFamily::kBoth;
  // Within which the answer must be there; if by then one family has answered
  // with addresses, these are the answer. Zero or negative: InvalidArgument.
  absl::Duration timeout = absl::InfiniteDuration();
  // Whose service it is; not given: the first one of that name.
  std::optional<SocketType> socket_type = {};
};

// Valid during the callback.
struct LookupResult {
  // A `LookupError`, `kTimedOut` also for the timeout of the lookup itself; or
  // ENOMEM.
  Error error;
  // Without an error at least one, in the order in which they should be tried
  // (RFC 6724). When one family has addresses, what went wrong with the other
  // does not count.
  std::span<const SocketAddress> addresses;
  // A sentence with the name and the reason, when there is an error.
  std::string_view detail;

  bool ok() const { return error.ok(); }
  absl::Status ToStatus() const;
};

using LookupCallback = absl::AnyInvocable<void(const LookupResult&)>;

struct Answer;
struct Destination;
class NameService;

// A lookup in progress, or one that has ended. Destroying it ends it silently,
// in its own callback, too; so does closing the collection.
class Lookup final : private Watcher {
 public:
  ~Lookup() override;

  // Whether the callback has been called or never will be.
  bool ended() const { return ended_; }

  // Ends the lookup: the callback is called soon, not inside this call, with
  // `kCancelled`. Nothing when the callback is about to be called, or has been.
  void Cancel();

 private:
  friend absl::StatusOr<std::unique_ptr<Lookup>> LookUp(
      WaitStateCollection& collection, const HostSpec& host,
      const Service& service, LookupCallback callback, LookupOptions options);
  class Waiter;

  Lookup();

  void OnReady(Readiness /*ready*/) override {}
  void OnWatchFailed(Error /*error*/) override {}
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override {}
  void OnCollectionClose() override { End(); }

  absl::Status Start(NameService& names, std::string_view name,
                     LookupFamily family);
  // Keeps what one family has to say.
  void Take(Family family, const Answer& answer);
  void AddAddresses(const std::vector<Destination>& destinations);
  void CompleteWhenAnswered();
  // With the addresses there are, or else with `error`.
  void CompleteWithAnswers(Error error);
  void Complete(Error error);
  void End();
  static void Run(void* self);
  void CallBack() noexcept;

  LookupCallback callback_;
  // Of what is looked up; empty for an address, and for what is known.
  std::string name_;
  uint16_t port_ = 0;
  bool both_ = false;  // families
  // By family; null for those that are not wanted, or known.
  std::array<std::unique_ptr<Waiter>, 2> waiters_;
  std::array<Error, 2> errors_;
  // Of both families, while they are not in order yet.
  std::vector<Destination> destinations_;
  Nanoseconds deadline_ = kForever;
  Ticket ticket_ = kNoTicket;
  bool ended_ = false;
  Error error_;
  std::vector<SocketAddress> addresses_;
};

// Looks up the addresses of `host`, each with the port of `service`, and calls
// `callback` once, never inside this call. An address needs no lookup and is
// its own answer. Errors of the call: InvalidArgument for a malformed host,
// service or option (an address of a family that is not asked for is one),
// NotFound for a service that does not exist, ResourceExhausted when too many
// lookups wait.
absl::StatusOr<std::unique_ptr<Lookup>> LookUp(WaitStateCollection& collection,
                                               const HostSpec& host,
                                               const Service& service,
                                               LookupCallback callback,
                                               LookupOptions options = {});

}  // namespace aios

#endif  // AIOS_RESOLVER_H_
