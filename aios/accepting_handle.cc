#include "aios/accepting_handle.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/state/factory.h"
#include "aios/text.h"

namespace aios {

namespace {

// Between two attempts: to bind to a port in use, and to accept when there are
// no descriptors.
constexpr Nanoseconds kRetryInterval = 100'000'000;

bool IsOfOneConnection(Error error) {
  switch (error.code()) {
    // The peer gave up before it was accepted.
    case ECONNABORTED:
    // Linux hands out what the network left on the new connection.
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ETIMEDOUT:
    case ECONNRESET:
    case EPERM:  // a firewall refused it
      return true;
    default:
      return false;
  }
}

// Opens, binds and listens, once.
Error Listen(Kernel& kernel, const SocketAddress& address,
             const AcceptTcpOptions& options, Handle* handle,
             std::string* what) {
  *what = "no socket";
  Error error = OpenSocket(kernel, SocketType::kStream, address.family(),
                           options.ipv6, handle);
  if (!error.ok()) return error;
  *what = absl::StrCat("cannot listen on ", address.ToString());
  // The accepted sockets inherit the last two.
  error = kernel.SetOption(*handle, SocketOption::kReuseAddress, true);
  if (error.ok() && options.reuseport) {
    error = kernel.SetOption(*handle, SocketOption::kReusePort, true);
    if (!error.ok()) *what = "this system has no reuseport";
  }
  if (error.ok() && options.nodelay) {
    error = kernel.SetOption(*handle, SocketOption::kNoDelay, true);
  }
  if (error.ok() && options.keepalive) {
    error = kernel.SetOption(*handle, SocketOption::kKeepAlive, true);
  }
  if (error.ok()) error = kernel.Bind(*handle, address);
  if (error.ok()) error = kernel.Listen(*handle, options.backlog);
  if (!error.ok()) kernel.Close(*handle);
  return error;
}

// Tries again while the port is in use, until `timeout` has passed.
Error ListenWithin(Kernel& kernel, Nanoseconds timeout,
                   const SocketAddress& address,
                   const AcceptTcpOptions& options, Handle* handle,
                   std::string* what) {
  Error error = Listen(kernel, address, options, handle, what);
  if (error.code() != EADDRINUSE || timeout == 0) return error;
  std::unique_ptr<Poller> poller;
  if (Error none = kernel.NewPoller(&poller); !none.ok()) return none;
  Nanoseconds deadline = DeadlineAfter(kernel.Now(), timeout);
  for (;;) {
    Nanoseconds left = deadline - kernel.Now();
    if (left <= 0) return error;
    std::array<Report, 1> reports;
    kernel.Wait(*poller, reports, std::min(left, kRetryInterval));
    error = Listen(kernel, address, options, handle, what);
    if (error.code() != EADDRINUSE) return error;
  }
}

}  // namespace

struct AcceptingHandle::Delivery {
  // Either connections go to this one,
  ConnectionFunction connection_function;
  StateAttributes attributes;
  // or to this one.
  SocketFunction socket_function;
};

struct AcceptFactory {
  static absl::StatusOr<std::unique_ptr<AcceptingHandle>> Make(
      WaitStateCollection& collection, const Service& service,
      ConnectionFunction connection_function, SocketFunction socket_function,
      AcceptTcpOptions options);
};

absl::StatusOr<std::unique_ptr<AcceptingHandle>> AcceptFactory::Make(
    WaitStateCollection& collection, const Service& service,
    ConnectionFunction connection_function, SocketFunction socket_function,
    AcceptTcpOptions options) {
  auto refuse = [&options](const absl::Status& why) {
    return absl::Status(
        why.code(),
        absl::StrCat(WithName("AcceptTcpConnections", options.handle_name),
                     " refused: ", why.message()));
  };
  if (!connection_function && !socket_function) {
    return refuse(absl::InvalidArgumentError("the function is empty"));
  }
  if (options.backlog < 0) {
    return refuse(absl::InvalidArgumentError(
        absl::StrCat("the backlog is ", options.backlog, "; give 0 or more")));
  }
  if (options.init_timeout < absl::ZeroDuration()) {
    return refuse(absl::InvalidArgumentError("init_timeout is negative"));
  }
  if (options.read_timeout < absl::ZeroDuration() ||
      options.write_timeout < absl::ZeroDuration()) {
    return refuse(absl::InvalidArgumentError(
        "a timeout is negative; give a length or absl::InfiniteDuration()"));
  }
  EventLoop& loop = StateFactory::Loop(collection);
  loop.Enter();
  Kernel& kernel = loop.kernel();
  std::unique_ptr<AcceptingHandle> accepting(new AcceptingHandle);
  AcceptingHandle::Delivery& delivery = *accepting->delivery_;
  delivery.connection_function = std::move(connection_function);
  delivery.attributes = {.name = std::move(options.name),
                         .read_timeout = ToNanoseconds(options.read_timeout),
                         .write_timeout = ToNanoseconds(options.write_timeout),
                         .queue_output = options.queue_output,
                         .handle_given = options.init_function != nullptr};
  delivery.socket_function = std::move(socket_function);
  accepting->error_function_ = std::move(options.error_function);
  accepting->listening_function_ = std::move(options.listening_function);
  accepting->handle_name_ = options.handle_name;
  accepting->user_info_ = std::move(options.user_info);

  Family family = FamilyFor(loop, options.ipv6, options.address);
  if (accepting->listening_function_ && options.address.has_value() &&
      IsName(*options.address) &&
      loop.names().Known(options.address->text(), family) == nullptr) {
    if (options.init_timeout != absl::ZeroDuration()) {
      return refuse(absl::InvalidArgumentError(
          "init_timeout is for an address that is known at once"));
    }
    loop.Add(*accepting, kNoHandle);
    absl::Status status = accepting->LookUpAndListen(service, options);
    if (!status.ok()) return refuse(status);
    return accepting;
  }

  absl::StatusOr<std::optional<SocketAddress>> address =
      ResolveLocalEnd(loop, options.address, service, SocketType::kStream,
                      family, options.ipv6);
  if (!address.ok()) return refuse(address.status());
  Handle handle = kNoHandle;
  std::string what;
  if (Error error = ListenWithin(kernel, ToNanoseconds(options.init_timeout),
                                 **address, options, &handle, &what);
      !error.ok()) {
    return refuse(error.ToStatus(what));
  }
  if (Error error = kernel.LocalAddress(handle, &accepting->local_address_);
      !error.ok()) {
    kernel.Close(handle);
    return refuse(error.ToStatus("the listening socket has no address"));
  }
  delivery.attributes.ipv6 = address->value().family() == Family::kIpv6;
  loop.Add(*accepting, handle);
  if (options.init_function) options.init_function(handle);
  loop.Want(*accepting, kReadable);
  if (accepting->listening_function_) {
    accepting->listening_ticket_ =
        loop.Complete(&AcceptingHandle::RunListening, accepting.get());
  }
  return accepting;
}

absl::StatusOr<std::unique_ptr<AcceptingHandle>> AcceptTcpConnections(
    WaitStateCollection& collection, const Service& service,
    ConnectionFunction function, AcceptTcpOptions options) {
  return AcceptFactory::Make(collection, service, std::move(function), nullptr,
                             std::move(options));
}

absl::StatusOr<std::unique_ptr<AcceptingHandle>> AcceptTcpConnections(
    WaitStateCollection& collection, const Service& service,
    SocketFunction function, AcceptTcpOptions options) {
  return AcceptFactory::Make(collection, service, nullptr, std::move(function),
                             std::move(options));
}

AcceptingHandle::AcceptingHandle() : delivery_(new Delivery) {}

AcceptingHandle::~AcceptingHandle() { CloseNow(); }

WaitStateCollection* AcceptingHandle::collection() const {
  return closed_ ? nullptr : &loop()->collection();
}

// ---- Listening on a name.

absl::Status AcceptingHandle::LookUpAndListen(const Service& service,
                                              AcceptTcpOptions& options) {
  LookupFamily family = options.ipv6 == Ipv6::kAny  ? LookupFamily::kBoth
                        : options.ipv6 == Ipv6::kNo ? LookupFamily::kIpv4
                                                    : LookupFamily::kIpv6;
  HostSpec host = *options.address;
  // It refers to text of the caller.
  options.address.reset();
  absl::StatusOr<std::unique_ptr<Lookup>> lookup = LookUp(
      loop()->collection(), host, service,
      [this, options = std::move(options)](const LookupResult& result) mutable {
        ListenOn(result, options);
      },
      {.family = family, .socket_type = SocketType::kStream});
  if (!lookup.ok()) return lookup.status();
  lookup_ = *std::move(lookup);
  return absl::OkStatus();
}

void AcceptingHandle::ListenOn(const LookupResult& result,
                               AcceptTcpOptions& options) noexcept {
  EventLoop& loop = *this->loop();
  Kernel& kernel = loop.kernel();
  absl::Status status = result.ToStatus();
  for (SocketAddress address : result.addresses) {
    if (options.ipv6 == Ipv6::kAny) {
      address = SocketAddress(address.ip().Unmapped(), address.port());
    }
    Handle handle = kNoHandle;
    std::string what;
    Error error = Listen(kernel, address, options, &handle, &what);
    if (error.ok()) {
      error = kernel.LocalAddress(handle, &local_address_);
      if (!error.ok()) kernel.Close(handle);
    }
    status = error.ToStatus(what);
    if (!error.ok()) continue;
    delivery_->attributes.ipv6 = address.family() == Family::kIpv6;
    loop.Attach(*this, handle);
    if (options.init_function) {
      loop.BeginCallback(*this);
      options.init_function(handle);
      if (!loop.EndCallback() || closed_) return;
    }
    if (!closing_) loop.Want(*this, kReadable);
    break;
  }
  if (!status.ok()) {
    status = absl::Status(status.code(),
                          absl::StrCat("AcceptTcpConnections \"", handle_name_,
                                       "\" failed: ", status.message()));
  }
  TellListening(status);
}

void AcceptingHandle::RunListening(void* object) {
  auto& self = *static_cast<AcceptingHandle*>(object);
  self.listening_ticket_ = kNoTicket;
  self.TellListening(absl::OkStatus());
}

void AcceptingHandle::TellListening(const absl::Status& status) noexcept {
  EventLoop& loop = *this->loop();
  // It is called once, and may destroy this handle.
  auto function = std::move(listening_function_);
  loop.BeginCallback(*this);
  function(*this, status);
  loop.EndCallback();
}

// ---- Accepting.

// Returns whether this handle still exists.
inline bool AcceptingHandle::HandOut(EventLoop& loop, Delivery& delivery,
                                     Handle connection) {
  if (delivery.connection_function) [[likely]] {
    loop.BeginCallback(*this);
    delivery.connection_function(
        *this,
        StateFactory::MakeAccepted(loop, connection, delivery.attributes));
  } else {
    loop.kernel().Release(connection);
    loop.BeginCallback(*this);
    delivery.socket_function(*this, connection);
  }
  return loop.EndCallback();
}

void AcceptingHandle::Accept(EventLoop& loop) noexcept {
  // One accept a report costs no call that fails; when the turn before this one
  // had as many as it took, there is a crowd, and it takes more.
  bool crowded = loop.turn() == last_turn_ + 1 && accepted_all_;
  accepts_next_ =
      crowded ? std::min(accepts_next_ * 2, loop.limits().accepts_per_turn_max)
              : 1;
  last_turn_ = loop.turn();
  accepted_all_ = false;
  // The functions may destroy this handle, but not what they lie in.
  std::unique_ptr<Delivery> delivery = std::move(delivery_);
  for (int i = 0; i < accepts_next_; ++i) {
    Handle connection = kNoHandle;
    Error error = loop.kernel().Accept(handle(), &connection);
    if (error.ok()) [[likely]] {
      in_episode_ = false;
      if (!HandOut(loop, *delivery, connection) || closed_) return;
      if (closing_) break;
    } else if (error.code() == EAGAIN) {
      if (i == 0) loop.NothingBehindReport(*this);
      break;
    } else if (!IsOfOneConnection(error)) {
      Pause(error);
      break;
    }
    accepted_all_ = i + 1 == accepts_next_;
  }
  delivery_ = std::move(delivery);
}

void AcceptingHandle::OnReady(Readiness /*ready*/) {
  EventLoop& loop = *this->loop();
  if (loop.MayCallBack()) [[likely]] {
    Accept(loop);
  } else {
    AcceptLater(loop);
  }
}

ABSL_ATTRIBUTE_NOINLINE void AcceptingHandle::AcceptLater(EventLoop& loop) {
  if (accept_ticket_ != kNoTicket) return;
  accept_ticket_ = loop.Complete(&AcceptingHandle::RunAccept, this);
}

void AcceptingHandle::RunAccept(void* object) {
  auto& self = *static_cast<AcceptingHandle*>(object);
  self.accept_ticket_ = kNoTicket;
  if (!self.closing_) self.Accept(*self.loop());
}

void AcceptingHandle::OnWatchFailed(Error error) { Pause(error); }

void AcceptingHandle::Pause(Error error) {
  EventLoop& loop = *this->loop();
  loop.Want(*this, kNotReady);
  if (resume_ == kForever) loop.CountDeadlines(1);
  resume_ = DeadlineAfter(loop.Now(), kRetryInterval);
  loop.ScheduleTimer(*this, resume_);
  if (in_episode_) return;
  in_episode_ = true;
  episode_error_ = error;
  if (error_function_ && error_ticket_ == kNoTicket) {
    error_ticket_ = loop.Complete(&AcceptingHandle::RunError, this);
  }
}

Nanoseconds AcceptingHandle::OnTimer(Nanoseconds now) {
  if (resume_ > now) return resume_;
  loop()->Due(*this, resume_, loop()->NextDeadlineOrder(), 0);
  return kForever;
}

void AcceptingHandle::OnDue(uint8_t /*which*/) {
  if (resume_ == kForever) return;
  resume_ = kForever;
  loop()->CountDeadlines(-1);
  if (!closing_) loop()->Want(*this, kReadable);
}

void AcceptingHandle::RunError(void* object) {
  auto& self = *static_cast<AcceptingHandle*>(object);
  self.error_ticket_ = kNoTicket;
  self.TellError();
}

void AcceptingHandle::TellError() noexcept {
  EventLoop& loop = *this->loop();
  auto function = std::move(error_function_);
  loop.BeginCallback(*this);
  function(*this, episode_error_);
  if (loop.EndCallback() && !closed_) error_function_ = std::move(function);
}

// ---- Closing.

absl::Status AcceptingHandle::Close(
    absl::AnyInvocable<void(WaitStateCollection&)> callback) {
  if (closed_ || closing_) {
    return absl::FailedPreconditionError(absl::StrCat(
        WithName("accepting-handle", handle_name_), " (port ", local_port(),
        "): Close refused: it is ", closed_ ? "closed" : "being closed"));
  }
  EventLoop& loop = *this->loop();
  loop.Enter();
  closing_ = true;
  loop.Want(*this, kNotReady);
  lookup_.reset();
  if (listening_ticket_ != kNoTicket) {
    loop.CancelCompletion(std::exchange(listening_ticket_, kNoTicket));
  }
  close_callback_ = std::move(callback);
  close_ticket_ = loop.Complete(&AcceptingHandle::RunClose, this);
  return absl::OkStatus();
}

void AcceptingHandle::RunClose(void* object) {
  auto& self = *static_cast<AcceptingHandle*>(object);
  self.close_ticket_ = kNoTicket;
  self.FinishClose();
}

void AcceptingHandle::FinishClose() noexcept {
  EventLoop& loop = *this->loop();
  auto callback = std::move(close_callback_);
  loop.BeginCallback(*this);
  CloseNow();
  if (callback) callback(loop.collection());
  loop.EndCallback();
}

void AcceptingHandle::CloseNow() {
  if (closed_ || loop() == nullptr) return;
  EventLoop& loop = *this->loop();
  loop.Enter();
  closed_ = true;
  for (Ticket* ticket :
       {&accept_ticket_, &error_ticket_, &close_ticket_, &listening_ticket_}) {
    if (*ticket != kNoTicket) {
      loop.CancelCompletion(std::exchange(*ticket, kNoTicket));
    }
  }
  if (std::exchange(resume_, kForever) != kForever) loop.CountDeadlines(-1);
  // Destroying these may run code of the user, which may destroy this handle:
  // nothing of it is touched after that.
  std::unique_ptr<Delivery> delivery = std::move(delivery_);
  auto error_function = std::move(error_function_);
  auto close_callback = std::move(close_callback_);
  auto listening_function = std::move(listening_function_);
  std::unique_ptr<Lookup> lookup = std::move(lookup_);
  Handle handle = this->handle();
  loop.Remove(*this);
  if (handle != kNoHandle) loop.kernel().Close(handle);
}

}  // namespace aios
