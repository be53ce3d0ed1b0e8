// Listening for TCP connections.

#ifndef AIOS_ACCEPTING_HANDLE_H_
#define AIOS_ACCEPTING_HANDLE_H_

#include <any>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/async_io_state.h"
#include "aios/host_spec.h"
#include "aios/kernel.h"
#include "aios/resolver.h"
#include "aios/wait_state_collection.h"
#include "aios/watcher.h"

namespace aios {

class AcceptingHandle;

// Called for each connection, in the order of their arrival; usually starts the
// first operation on the state. A state that is dropped is closed.
using ConnectionFunction =
    absl::AnyInvocable<void(AcceptingHandle&, std::unique_ptr<AsyncIoState>)>;

// The same with the bare socket, for use elsewhere: another collection, or
// blocking code. It is the function's to close. On systems where accepted
// sockets would be non-blocking it is made blocking.
using SocketFunction = absl::AnyInvocable<void(AcceptingHandle&, Handle)>;

struct AcceptTcpOptions {
  // Called in the calling thread with the bound and listening socket, before
  // `AcceptTcpConnections` returns: to find out its address, or set options,
  // which the accepted sockets inherit. With it, closing one of their states
  // takes a kernel call more: see `AsyncIoState::handle`.
  absl::AnyInvocable<void(Handle)> init_function = {};
  // How long to try again, about every 100 ms and in the calling thread, while
  // the port is in use. Zero: not at all.
  absl::Duration init_timeout = absl::ZeroDuration();
  // Connections that wait in the system to be accepted; 0: as many as the
  // system allows. Negative: InvalidArgument.
  int backlog = 0;
  // The local address to listen on; all of them when not given. An address, a
  // name that is known without asking a name server (docs/names.md), or, with
  // `listening_function`, any name.
  std::optional<HostSpec> address = {};
  // Called once when listening has begun, never inside this call; or when it
  // cannot begin, for a reason that showed later: then the handle is only good
  // for closing. For a name that has to be looked up first the handle has no
  // socket and no address until then, and `init_timeout` must be zero.
  absl::AnyInvocable<void(AcceptingHandle&, const absl::Status&)>
      listening_function = {};
  // Options of the accepted sockets.
  bool nodelay = false;
  bool keepalive = false;
  Ipv6 ipv6 = Ipv6::kAny;
  // Lets several listeners share the port: one for each thread's collection.
  bool reuseport = false;
  // Attributes of the states that are made. A negative timeout is
  // InvalidArgument.
  absl::Duration read_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::string name = {};
  bool queue_output = false;
  // Attributes of the handle.
  std::string handle_name = {};
  std::any user_info = {};
  // Told when accepting fails for lack of descriptors or memory, once for each
  // episode. Connections wait in the system meanwhile; accepting goes on by
  // itself. macOS may reset one when another thread takes the last descriptor
  // at that moment (rule 12 in aios/kernel.h).
  absl::AnyInvocable<void(AcceptingHandle&, Error)> error_function = {};
};

// A listening socket within a collection. Destroying it closes it silently;
// allowed in its own functions, too. Accepted states do not depend on it.
// Lisp: `accepting-handle`.
class AcceptingHandle final : private Watcher {
 public:
  ~AcceptingHandle() override;

  // Lisp: `accepting-handle-collection`. Null once closed.
  WaitStateCollection* collection() const;
  // The listening socket, only for queries; `kNoHandle` once closed, and while
  // a name is being looked up.
  // Lisp: `accepting-handle-socket`.
  Handle socket() const { return handle(); }
  // The port and address that it is bound to, after closing, too.
  // Lisp: `accepting-handle-local-port`.
  uint16_t local_port() const { return local_address_.port(); }
  const SocketAddress& local_address() const { return local_address_; }
  // Lisp: `accepting-handle-name`.
  const std::string& name() const { return handle_name_; }
  // Lisp: `accepting-handle-user-info`.
  const std::any& user_info() const { return user_info_; }
  std::any& user_info() { return user_info_; }
  void set_user_info(std::any user_info) { user_info_ = std::move(user_info); }

  // Stops listening and frees the port, not inside this call; then calls
  // `callback`, when given. After this call no connection is handed out, and
  // the listening function is not called any more.
  // FailedPrecondition when it is closed or being closed already.
  // Lisp: `close-accepting-handle`.
  absl::Status Close(
      absl::AnyInvocable<void(WaitStateCollection&)> callback = nullptr);

 private:
  friend struct AcceptFactory;

  // What becomes of connections.
  struct Delivery;

  AcceptingHandle();

  void OnReady(Readiness ready) override;
  void OnWatchFailed(Error error) override;
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override {}
  void OnCollectionClose() override { CloseNow(); }

  absl::Status LookUpAndListen(const Service& service,
                               AcceptTcpOptions& options);
  void ListenOn(const LookupResult& result, AcceptTcpOptions& options) noexcept;
  static void RunListening(void* handle);
  void TellListening(const absl::Status& status) noexcept;
  void Pause(Error error);
  void CloseNow();
  void Accept(EventLoop& loop) noexcept;
  void AcceptLater(EventLoop& loop);
  inline bool HandOut(EventLoop& loop, Delivery& delivery, Handle connection);
  void TellError() noexcept;
  void FinishClose() noexcept;
  static void RunAccept(void* handle);
  static void RunError(void* handle);
  static void RunClose(void* handle);

  // Null while it is under way.
  std::unique_ptr<Delivery> delivery_;
  absl::AnyInvocable<void(AcceptingHandle&, Error)> error_function_;
  absl::AnyInvocable<void(WaitStateCollection&)> close_callback_;
  absl::AnyInvocable<void(AcceptingHandle&, const absl::Status&)>
      listening_function_;
  // While the address is being looked up.
  std::unique_ptr<Lookup> lookup_;
  std::string handle_name_;
  std::any user_info_;
  SocketAddress local_address_;
  bool closing_ = false;
  bool closed_ = false;
  // Accepting has failed and that was told; until the next success.
  bool in_episode_ = false;
  Error episode_error_;
  // Set while accepting pauses.
  Nanoseconds resume_ = kForever;
  // How many connections to accept at a report, the turn of the last one, and
  // whether there were as many.
  int accepts_next_ = 1;
  uint64_t last_turn_ = 0;
  bool accepted_all_ = false;
  Ticket accept_ticket_ = kNoTicket;
  Ticket error_ticket_ = kNoTicket;
  Ticket close_ticket_ = kNoTicket;
  Ticket listening_ticket_ = kNoTicket;
};

// Listens on `service` (0: a free port that the system picks) and calls
// `function` for each connection. Errors: InvalidArgument for malformed
// arguments, NotFound for a service that does not
// exist, FailedPrecondition for a name that is not known when there is no
// `listening_function`, what the kernel says otherwise, such as a port that
// stayed in use for `init_timeout`. A call that fails destroys the functions it
// was given, and what they captured.
// Lisp: `accept-tcp-connections-creating-async-io-states`; the second with its
// `create-state` nil.
absl::StatusOr<std::unique_ptr<AcceptingHandle>> AcceptTcpConnections(
    WaitStateCollection& collection, const Service& service,
    ConnectionFunction function, AcceptTcpOptions options = {});
absl::StatusOr<std::unique_ptr<AcceptingHandle>> AcceptTcpConnections(
    WaitStateCollection& collection, const Service& service,
    SocketFunction function, AcceptTcpOptions options = {});

}  // namespace aios

#endif  // AIOS_ACCEPTING_HANDLE_H_
