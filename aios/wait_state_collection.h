// The event loop: a collection of sockets that one thread waits on and serves.

#ifndef AIOS_WAIT_STATE_COLLECTION_H_
#define AIOS_WAIT_STATE_COLLECTION_H_

#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/kernel.h"
#include "aios/resolver_options.h"

namespace aios {

class EventLoop;

// Bounds of everything that could grow or that one socket could take from the
// others. Each field says what happens when it is reached.
struct Limits {
  // Bytes waiting in the output queue of a state behind the operation in
  // progress, and how many operations. One more is refused with
  // ResourceExhausted.
  size_t output_queue_bytes_max = size_t{64} << 20;
  size_t output_queue_length_max = 65536;

  // Unconsumed bytes that a `ReadWithChecking` may pile up. When they are
  // reached and the callback wants still more, the operation ends with the
  // error EMSGSIZE; nothing is lost.
  size_t input_buffer_bytes_max = size_t{16} << 20;

  // Bytes that one state reads or writes before the others have their turn.
  size_t bytes_per_turn_max = size_t{256} << 10;

  // Connections that one listening socket accepts before the others have their
  // turn.
  int accepts_per_turn_max = 64;

  // Functions posted by `Apply` and not yet run. One more is refused with
  // ResourceExhausted.
  size_t posted_max = 1'000'000;
};

struct WaitStateCollectionOptions {
  // For printing only.
  std::string name = {};
  Limits limits = {};
  // How host and service names are resolved.
  ResolverOptions resolver = {};
};

// A wait-state-collection belongs to the thread that runs it: by `Loop`, or by
// `Wait` and `Call` in turn. Its states belong to that thread too. From any
// other thread only `Apply`, `StopLoop` and `Alive` are allowed, which a debug
// build checks.
//
// It belongs to one process, too. A child that `fork` makes has copies of the
// collection and of its states. It may leave them alone, or close and destroy
// them, which closes its copies of the sockets and changes nothing for the
// parent; and it may make a collection of its own. It must not run its copy, as
// it would take the parent's reports (a debug build ends it then), nor destroy
// one of `CreateAndRunWaitStateCollection`, whose thread it does not have.
// `Shutdown`, and bytes that it reads or writes, are the parent's as well. A
// fork that runs no handlers of `pthread_atfork` (`_Fork`, `clone`) is not
// noticed: such a child leaves its copies alone.
class WaitStateCollection {
 public:
  ~WaitStateCollection();
  WaitStateCollection(const WaitStateCollection&) = delete;
  WaitStateCollection& operator=(const WaitStateCollection&) = delete;

  // Sleeps until at least one state is ready, a timeout is due, a function was
  // posted or `StopLoop` was called, at most for `duration_max` (zero: only
  // looks). Returns whether there is something for `Call` to do.
  // Lisp: `wait-for-wait-state-collection`.
  bool Wait(absl::Duration duration_max = absl::InfiniteDuration());

  // Serves what `Wait` found, once: performs the I/O of the ready states, ends
  // the operations whose time is over, runs the posted functions and the
  // callbacks, and sends what these have queued. Never sleeps. Must not be
  // called from a callback.
  // Lisp: `call-wait-state-collection`.
  void Call();

  // Repeats `Wait` and `Call` until `StopLoop`. One loop at a time.
  // Lisp: `loop-processing-wait-state-collection`.
  void Loop();

  // Makes a running `Loop` return after its present turn. Without one it has no
  // effect and is not remembered. Any thread.
  // Lisp: `wait-state-collection-stop-loop`.
  void StopLoop();

  // Runs `function` in the thread of the collection, at some moment of a later
  // `Call`, never inside this call; functions of one thread in the order in
  // which it posted them. Any thread. What is still waiting when the collection
  // is destroyed is destroyed without being run. Errors: ResourceExhausted when
  // `Limits::posted_max` are waiting, FailedPrecondition when the loop of a
  // `CreateAndRunWaitStateCollection` has ended.
  // Lisp: `apply-in-wait-state-collection-process`.
  absl::Status Apply(absl::AnyInvocable<void()> function);

  // Closes every state and every accepting-handle silently: their sockets are
  // closed and no callback of theirs runs any more. The collection can be used
  // on; a loop does not stop. Allowed in callbacks.
  // Lisp: `close-wait-state-collection`.
  void Close();

  // Whether the thread of `CreateAndRunWaitStateCollection` is running its
  // loop. Always false for a collection driven by hand. Any thread. Lisp:
  // `wait-state-collection-alive-p`.
  bool Alive() const;

  Kernel& kernel() const;
  const std::string& name() const;
  const Limits& limits() const;

  // The number of states and accepting-handles that are not closed.
  size_t size() const;

 private:
  friend struct StateFactory;
  friend absl::StatusOr<std::unique_ptr<WaitStateCollection>>
  MakeWaitStateCollection(Kernel& kernel, WaitStateCollectionOptions options);
  friend absl::StatusOr<std::unique_ptr<WaitStateCollection>>
  CreateAndRunWaitStateCollection(Kernel& kernel,
                                  WaitStateCollectionOptions options);

  WaitStateCollection(Kernel& kernel, std::unique_ptr<Poller> poller,
                      WaitStateCollectionOptions options);

  std::unique_ptr<EventLoop> loop_;
  // Runs the loop of `CreateAndRunWaitStateCollection`; otherwise no thread.
  std::thread thread_;
};

// Makes an empty collection on `kernel`, which must outlive it. It does not run
// by itself. When it is destroyed its states are closed silently; the state
// objects stay valid and closed. It must not be destroyed by its own callbacks.
// Errors: InvalidArgument for `options.resolver`, what the kernel says when it
// has no descriptors left.
// Lisp: `make-wait-state-collection`.
absl::StatusOr<std::unique_ptr<WaitStateCollection>> MakeWaitStateCollection(
    Kernel& kernel, WaitStateCollectionOptions options = {});

// The same, and runs its `Loop` in a new thread. When that loop ends the
// collection is closed. Destroying the collection stops the loop and waits for
// its thread. States are made and used in its thread only: `Apply` a function
// that does so. The reference's `handler` for escaping errors has no
// counterpart: callbacks do not throw.
// Lisp: `create-and-run-wait-state-collection`.
absl::StatusOr<std::unique_ptr<WaitStateCollection>>
CreateAndRunWaitStateCollection(Kernel& kernel,
                                WaitStateCollectionOptions options = {});

}  // namespace aios

#endif  // AIOS_WAIT_STATE_COLLECTION_H_
