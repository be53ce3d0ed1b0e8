#include "aios/resolver.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/state/factory.h"

namespace aios {

absl::Status LookupResult::ToStatus() const {
  if (ok()) return absl::OkStatus();
  return absl::Status(error.ToStatus().code(), std::string(detail));
}

// For the answer of a server about one family.
class Lookup::Waiter final : public NameWaiter {
 public:
  Waiter(Lookup& lookup, Family family) : lookup_(lookup), family_(family) {}

  bool answered() const { return !waiting(); }

 private:
  void OnAnswer(const Answer& answer) override {
    lookup_.Take(family_, answer);
    lookup_.CompleteWhenAnswered();
  }

  Lookup& lookup_;
  const Family family_;
};

Lookup::Lookup() = default;

Lookup::~Lookup() { End(); }

absl::StatusOr<std::unique_ptr<Lookup>> LookUp(WaitStateCollection& collection,
                                               const HostSpec& host,
                                               const Service& service,
                                               LookupCallback callback,
                                               LookupOptions options) {
  auto refuse = [&host](const absl::Status& why) {
    return absl::Status(why.code(), absl::StrCat("LookUp of ", host.ToString(),
                                                 " refused: ", why.message()));
  };
  if (!callback) {
    return refuse(absl::InvalidArgumentError("the callback is empty"));
  }
  if (!(options.timeout > absl::ZeroDuration())) {
    return refuse(absl::InvalidArgumentError("the timeout is not positive"));
  }
  EventLoop& loop = StateFactory::Loop(collection);
  loop.Enter();
  bool is_name = KindOf(host) == SpecKind::kName;
  SocketAddress literal;
  if (!is_name) {
    absl::StatusOr<SocketAddress> address =
        ResolveLiteral(loop.kernel(), host, 0);
    if (!address.ok()) return refuse(address.status());
    literal = *address;
    if (options.family != LookupFamily::kBoth &&
        (options.family == LookupFamily::kIpv4) !=
            (literal.family() == Family::kIpv4)) {
      return refuse(absl::InvalidArgumentError(
          "the address is not of the family that is asked for"));
    }
  }
  absl::StatusOr<uint16_t> port =
      loop.names().Port(service, options.socket_type);
  if (!port.ok()) return refuse(port.status());

  std::unique_ptr<Lookup> lookup(new Lookup);
  lookup->callback_ = std::move(callback);
  lookup->port_ = *port;
  loop.Add(*lookup, kNoHandle, /*internal=*/true);
  if (!is_name) {
    lookup->addresses_.emplace_back(literal.ip(), *port);
    lookup->Complete(Error());
    return lookup;
  }
  absl::Status status =
      lookup->Start(loop.names(), host.text(), options.family);
  if (!status.ok()) return refuse(status);
  Nanoseconds deadline =
      DeadlineAfter(loop.Now(), ToNanoseconds(options.timeout));
  if (lookup->ticket_ == kNoTicket && deadline != kForever) {
    lookup->deadline_ = deadline;
    loop.CountDeadlines(1);
    loop.ScheduleTimer(*lookup, deadline);
  }
  return lookup;
}

absl::Status Lookup::Start(NameService& names, std::string_view name,
                           LookupFamily family) {
  both_ = family == LookupFamily::kBoth;
  for (Family one : {Family::kIpv6, Family::kIpv4}) {
    if (family ==
        (one == Family::kIpv4 ? LookupFamily::kIpv6 : LookupFamily::kIpv4)) {
      continue;
    }
    if (const Answer* known = names.Known(name, one)) {
      Take(one, *known);
      continue;
    }
    auto& waiter = waiters_[static_cast<size_t>(one)];
    waiter = std::make_unique<Waiter>(*this, one);
    absl::Status status = names.Ask(name, one, *waiter);
    if (!status.ok()) return status;
  }
  CompleteWhenAnswered();
  // Only failures are told of by name.
  if (ticket_ == kNoTicket || !error_.ok()) name_ = name;
  return absl::OkStatus();
}

void Lookup::Take(Family family, const Answer& answer) {
  errors_[static_cast<size_t>(family)] = answer.error;
  if (both_) {
    destinations_.insert(destinations_.end(), answer.destinations.begin(),
                         answer.destinations.end());
  } else {
    AddAddresses(answer.destinations);
  }
}

void Lookup::AddAddresses(const std::vector<Destination>& destinations) {
  addresses_.reserve(destinations.size());
  for (const Destination& destination : destinations) {
    addresses_.emplace_back(destination.ip, port_);
  }
}

void Lookup::CompleteWhenAnswered() {
  for (const std::unique_ptr<Waiter>& waiter : waiters_) {
    if (waiter != nullptr && !waiter->answered()) return;
  }
  CompleteWithAnswers(WorseOf(errors_[0], errors_[1]));
}

void Lookup::CompleteWithAnswers(Error error) {
  // About to end already, as it is.
  if (ended_ || ticket_ != kNoTicket) return;
  if (both_) {
    if (destinations_.size() > 1) {
      FindSources(loop()->kernel(), destinations_);
      SortDestinations(destinations_);
    }
    AddAddresses(destinations_);
  }
  Complete(addresses_.empty() ? error : Error());
}

void Lookup::Complete(Error error) {
  if (ended_ || ticket_ != kNoTicket) return;
  EventLoop& loop = *this->loop();
  error_ = error;
  for (std::unique_ptr<Waiter>& waiter : waiters_) waiter.reset();
  if (std::exchange(deadline_, kForever) != kForever) loop.CountDeadlines(-1);
  ticket_ = loop.Complete(&Lookup::Run, this);
}

void Lookup::Cancel() {
  if (ended_) return;
  loop()->Enter();
  Complete(Error(LookupError::kCancelled));
}

Nanoseconds Lookup::OnTimer(Nanoseconds now) {
  if (deadline_ > now) return deadline_;
  loop()->Due(*this, deadline_, loop()->NextDeadlineOrder(), 0);
  return kForever;
}

void Lookup::OnDue(uint8_t /*which*/) {
  if (deadline_ > loop()->Now()) return;
  CompleteWithAnswers(Error(LookupError::kTimedOut));
}

void Lookup::Run(void* self) { static_cast<Lookup*>(self)->CallBack(); }

void Lookup::CallBack() noexcept {
  ticket_ = kNoTicket;
  // On the stack, for the callback may destroy this.
  LookupCallback callback = std::move(callback_);
  std::vector<SocketAddress> addresses = std::move(addresses_);
  std::string detail = error_.ok() ? "" : NameFailure(name_, error_);
  LookupResult result{
      .error = error_, .addresses = addresses, .detail = detail};
  End();
  callback(result);
}

void Lookup::End() {
  if (ended_) return;
  ended_ = true;
  EventLoop& loop = *this->loop();
  for (std::unique_ptr<Waiter>& waiter : waiters_) waiter.reset();
  if (ticket_ != kNoTicket) {
    loop.CancelCompletion(std::exchange(ticket_, kNoTicket));
  }
  if (std::exchange(deadline_, kForever) != kForever) loop.CountDeadlines(-1);
  loop.Remove(*this);
  // Goes last: what it captured may own this.
  LookupCallback callback = std::move(callback_);
}

}  // namespace aios
