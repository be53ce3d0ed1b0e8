// What only few states have at a time, kept out of the state itself.

#ifndef AIOS_STATE_EXTRAS_H_
#define AIOS_STATE_EXTRAS_H_

#include <any>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "aios/address.h"
#include "aios/async_io_state.h"
#include "aios/connect_race.h"
#include "aios/datagram_batch.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/ticket_queue.h"

namespace aios {

// An `Abort`, or something else that ends operations and then calls back.
struct Ending {
  enum class Kind : uint8_t { kAbort, kShutdown, kClose };

  Kind kind = Kind::kAbort;
  Direction direction = Direction::kIo;
  bool keep_alive = false;
  // A `ReadWithChecking` was interrupted: the callback may discard.
  bool checking = false;
  AsyncIoState* state = nullptr;
  IoCallback callback;
  absl::AnyInvocable<void(AsyncIoState&)> close_callback;
  IoResult result;
  SocketAddress sender;
  // Callbacks of what was interrupted; never called. They go with the ending,
  // when no operation refers to anything of theirs any more.
  std::array<IoCallback, 4> suppressed;
  Ticket ticket = kNoTicket;
};

struct StateExtras {
  ~StateExtras();

  std::string name;

  // The caller's stream had no peer when the state was made.
  bool was_unconnected = false;

  // Set while an input operation that has one is in progress.
  IoCallback input_error_callback;
  // Of what the running callback of a `ReadWithChecking` has started in its
  // place.
  IoCallback next_input_callback;
  IoCallback next_input_error_callback;
  // Of the last datagram, when its operation needs it.
  SocketAddress sender;

  // Of a UDP state that is asked again and again: see `InputDatagram`.
  BatchSize batch_size;
  std::unique_ptr<DatagramBatch> batch;  // null when nothing is left in it

  // See `CreateAsyncIoState`; empty: the handle.
  std::any object;
  void (*close_object)(const std::any& object) = nullptr;

  // While connecting. The ticket is set when the outcome is known.
  IoCallback connect_callback;
  SocketAddress connect_target;  // unless it connects to a name
  // Null unless it connects to a name.
  std::unique_ptr<ConnectRace> race;
  std::string connect_detail;
  Ticket connect_ticket = kNoTicket;
  IoResult connect_result;

  // Asked for inside a callback of the state, to take effect after it.
  std::vector<std::unique_ptr<Ending>> endings_to_apply;
  // In effect, and waiting for their callbacks.
  std::vector<std::unique_ptr<Ending>> endings;
};

// What the states of an accepting-handle have in common.
struct StateAttributes {
  std::string name;
  Nanoseconds read_timeout = kForever;
  Nanoseconds write_timeout = kForever;
  bool ipv6 = false;
  bool queue_output = false;
  // The user may have set options of the listening socket.
  bool handle_given = false;
};

// Makes states for sockets that aios has made or examined.
struct StateFactory {
  static std::unique_ptr<AsyncIoState> Make(
      WaitStateCollection& collection, Handle handle, bool socket_ipv6,
      CreateAsyncIoStateOptions&& options);
  static inline std::unique_ptr<AsyncIoState> Make(EventLoop& loop,
                                                   Handle handle,
                                                   bool socket_ipv6);
  static inline std::unique_ptr<AsyncIoState> MakeAccepted(
      EventLoop& loop, Handle handle, const StateAttributes& attributes);
  static StateExtras& Extras(AsyncIoState& state) { return state.Extras(); }
  static void HandleIsGiven(AsyncIoState& state) { state.handle_given_ = true; }
  static EventLoop& Loop(WaitStateCollection& collection);

  // Starts connecting; `state` has an unconnected socket, or none and `error`
  // says why.
  static void Connect(AsyncIoState& state, const SocketAddress& target,
                      Nanoseconds timeout, IoCallback callback, Error error);

  // Makes a state that connects to a name; it has no socket yet.
  // ResourceExhausted when too many lookups wait.
  static absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectByName(
      WaitStateCollection& collection, OperationKind kind, ConnectPlan plan,
      Nanoseconds timeout, IoCallback callback,
      CreateAsyncIoStateOptions options);
};

inline std::unique_ptr<AsyncIoState> StateFactory::Make(EventLoop& loop,
                                                        Handle handle,
                                                        bool socket_ipv6) {
  std::unique_ptr<AsyncIoState> state(new AsyncIoState);
  if (socket_ipv6) state->socket_ipv6_ = true;
  if (loop.observer() != nullptr) [[unlikely]] {
    state->observed_ = true;
  }
  loop.Enter();
  loop.Add(*state, handle);
  return state;
}

inline std::unique_ptr<AsyncIoState> StateFactory::MakeAccepted(
    EventLoop& loop, Handle handle, const StateAttributes& attributes) {
  std::unique_ptr<AsyncIoState> state = Make(loop, handle, attributes.ipv6);
  state->read_timeout_ = attributes.read_timeout;
  state->write_timeout_ = attributes.write_timeout;
  if (attributes.ipv6) state->ipv6_ = true;
  if (attributes.queue_output) state->queue_output_ = true;
  if (attributes.handle_given) [[unlikely]] {
    HandleIsGiven(*state);
  }
  if (!attributes.name.empty()) [[unlikely]] {
    state->Extras().name = attributes.name;
  }
  return state;
}

// Binds the sockets of `plan`, as far as the local end is given, and drops the
// families that it rules out.
absl::Status PlanLocalEnd(EventLoop& loop,
                          const std::optional<HostSpec>& address,
                          const std::optional<Service>& port,
                          ConnectPlan& plan);

}  // namespace aios

#endif  // AIOS_STATE_EXTRAS_H_
