// Connecting to a name: Happy Eyeballs, version 2 (RFC 8305).

#ifndef AIOS_CONNECT_RACE_H_
#define AIOS_CONNECT_RACE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "aios/address.h"
#include "aios/destination_order.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/watcher.h"

namespace aios {

// How to connect to a name.
struct ConnectPlan {
  SocketType type = SocketType::kStream;
  std::string name = {};
  // In place of a name: an address needs no lookup.
  std::optional<IpAddress> address = {};
  uint16_t port = 0;
  // By family: whether its addresses are wanted, and where to bind.
  std::array<bool, 2> wanted = {true, true};
  std::array<std::optional<SocketAddress>, 2> local = {};
  bool nodelay = false;
  bool keepalive = false;
};

// Whose connect it is.
class ConnectRaceOwner {
 public:
  // `handle` is connected, and the owner's; or `kNoHandle`, and `error` says
  // why there is none.
  virtual void RaceIsOver(Handle handle, Family family, Error error) = 0;

 protected:
  ~ConnectRaceOwner() = default;
};

// Looks the name up in both families and tries the addresses one after the
// other, each a little later than the one before: the first that answers wins,
// the others are closed.
class ConnectRace final : private Watcher {
 public:
  ConnectRace(ConnectRaceOwner& owner, ConnectPlan plan);
  ~ConnectRace() override;

  // Begins. ResourceExhausted when too many lookups wait. Ends by
  // `ConnectRaceOwner::RaceIsOver`, perhaps inside this call.
  absl::Status Start(EventLoop& loop);

  // Looks whether an attempt has succeeded and nobody was told yet.
  void LookAgain();

  // Closes whatever is open. Nothing happens any more.
  void Stop();

  // What was tried and what became of it, for a message.
  std::string Describe() const;

 private:
  class Attempt;
  class Waiter;

  void OnReady(Readiness /*ready*/) override {}
  void OnWatchFailed(Error /*error*/) override {}
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override {}
  // The state is closed, too, and ends it.
  void OnCollectionClose() override { Stop(); }

  bool Pending(Family family) const;
  bool MayBegin() const;
  void Answered(Family family);
  // Starts what is to be started now, and finds out whether it is over.
  void Advance();
  Destination TakeNext();
  // False when it has failed already.
  bool StartAttempt(const IpAddress& ip);
  void Failed(Attempt& attempt, Error error);
  void Win(Attempt& attempt);
  void Lose();
  void Note(const std::string& what, Error error);
  void SetTimer(Nanoseconds deadline);

  ConnectRaceOwner& owner_;
  const ConnectPlan plan_;
  std::array<std::unique_ptr<Waiter>, 2> waiters_;
  // Not tried yet, by family, the best first.
  std::array<std::deque<Destination>, 2> untried_;
  std::optional<Family> last_family_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  // Ended, and perhaps on the stack still.
  std::vector<std::unique_ptr<Attempt>> ended_;
  // IPv4 was first to answer: how long to wait for IPv6.
  Nanoseconds resolution_deadline_ = kForever;
  // No attempt before this time, unless there is none.
  Nanoseconds next_start_ = 0;
  Nanoseconds deadline_ = kForever;
  bool advancing_ = false;
  bool over_ = false;
  std::string tried_;
  // The last one of an attempt, or else of the lookups.
  Error attempt_error_;
  Error lookup_error_;
};

}  // namespace aios

#endif  // AIOS_CONNECT_RACE_H_
