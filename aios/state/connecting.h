// The connect of a state, which owns it for as long as it lasts: to an address,
// or to a name.

#ifndef AIOS_STATE_CONNECTING_H_
#define AIOS_STATE_CONNECTING_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "aios/address.h"
#include "aios/connect_race.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "aios/state/channel.h"
#include "aios/state/input.h"
#include "aios/state/output.h"
#include "aios/ticket_queue.h"

namespace aios {

// It is an operation of both directions: its deadline is that of the output.
class Connecting final : private ConnectRaceOwner {
 public:
  Connecting(Channel& channel, Input& input, Output& output,
             IoCallback callback)
      : channel_(channel),
        input_(input),
        output_(output),
        callback_(std::move(callback)) {}
  Connecting(const Connecting&) = delete;
  Connecting& operator=(const Connecting&) = delete;

  // Begins. The channel has an unconnected socket, or `error` says why not.
  void Start(const SocketAddress& target, Nanoseconds timeout, Error error);
  // The same by name: the channel has no socket yet. ResourceExhausted when too
  // many lookups wait.
  absl::Status StartByName(OperationKind kind, ConnectPlan plan,
                           Nanoseconds timeout);
  bool is_over() const { return ticket_ != kNoTicket; }

  // Looks whether the socket is connected, or why not. A hint that it might be.
  void Look();
  // The kernel cannot watch the socket.
  void Fail(Error error) { Complete(IoStatus::kError, error); }
  // The deadline has passed.
  void TimeOut();

  // The outcome is known, and the callback is to be called: it is moved to
  // `callback`, and what more there is to say to `detail`.
  IoResult Finish(IoCallback* callback, std::string* detail);

  // Ends it for `Abort`. The callback is moved to `callback`.
  void Interrupt(IoCallback* callback);
  // Ends it for `Close`.
  void Close();

 private:
  void RaceIsOver(Handle handle, Family family, Error error) override;

  void TellStart(OperationKind kind, Nanoseconds timeout) const;
  void Complete(IoStatus status, Error error);
  std::string Describe(Error error) const;

  Channel& channel_;
  Input& input_;
  Output& output_;
  IoCallback callback_;
  // Null unless it connects to a name; otherwise the address.
  std::unique_ptr<ConnectRace> race_;
  SocketAddress target_;
  // Set when the outcome is known.
  Ticket ticket_ = kNoTicket;
  IoResult result_;
  std::string detail_;
};

}  // namespace aios

#endif  // AIOS_STATE_CONNECTING_H_
