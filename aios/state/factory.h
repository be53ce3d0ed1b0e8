// Makes states for sockets that aios has made or examined.

#ifndef AIOS_STATE_FACTORY_H_
#define AIOS_STATE_FACTORY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "aios/async_io_state.h"
#include "aios/connect_race.h"
#include "aios/event_loop.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/state/state.h"
#include "aios/wait_state_collection.h"

namespace aios {

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

struct StateFactory {
  static EventLoop& Loop(WaitStateCollection& collection);

  static inline std::unique_ptr<State> Make(EventLoop& loop, Handle handle,
                                            bool socket_ipv6);
  static std::unique_ptr<State> Make(WaitStateCollection& collection,
                                     Handle handle, bool socket_ipv6,
                                     CreateAsyncIoStateOptions&& options);
  static inline std::unique_ptr<AsyncIoState> MakeAccepted(
      EventLoop& loop, Handle handle, const StateAttributes& attributes);

  // Makes a state that connects to a name; it has no socket yet.
  // ResourceExhausted when too many lookups wait.
  static absl::StatusOr<std::unique_ptr<AsyncIoState>> ConnectByName(
      WaitStateCollection& collection, OperationKind kind, ConnectPlan plan,
      Nanoseconds timeout, IoCallback callback,
      CreateAsyncIoStateOptions options);
};

inline std::unique_ptr<State> StateFactory::Make(EventLoop& loop, Handle handle,
                                                 bool socket_ipv6) {
  std::unique_ptr<State> state(new State);
  if (socket_ipv6) state->set_socket_ipv6(true);
  if (loop.observer() != nullptr) [[unlikely]] {
    state->received().set_observed();
  }
  loop.Enter();
  loop.Add(*state, handle);
  return state;
}

inline std::unique_ptr<AsyncIoState> StateFactory::MakeAccepted(
    EventLoop& loop, Handle handle, const StateAttributes& attributes) {
  std::unique_ptr<State> state = Make(loop, handle, attributes.ipv6);
  state->input.set_timeout(attributes.read_timeout);
  state->output.set_timeout(attributes.write_timeout);
  if (attributes.ipv6) state->set_ipv6(true);
  if (attributes.queue_output) state->output.set_may_wait();
  if (attributes.handle_given) [[unlikely]] {
    state->set_handle_given();
  }
  if (!attributes.name.empty()) [[unlikely]] {
    state->Extras().name = attributes.name;
  }
  return state;
}

}  // namespace aios

#endif  // AIOS_STATE_FACTORY_H_
