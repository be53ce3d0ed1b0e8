#include "aios/connect_race.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/local_end.h"
#include "aios/name_service.h"
#include "aios/text.h"

namespace aios {

namespace {

// What RFC 8305, section 8, recommends.
constexpr Nanoseconds kResolutionDelay = 50'000'000;
constexpr Nanoseconds kAttemptDelay = 250'000'000;

size_t Index(Family family) { return static_cast<size_t>(family); }

Family Other(Family family) {
  return family == Family::kIpv4 ? Family::kIpv6 : Family::kIpv4;
}

}  // namespace

// The lookup in one family.
class ConnectRace::Waiter final : public NameWaiter {
 public:
  Waiter(ConnectRace& race, Family family) : race_(race), family_(family) {}

  bool pending() const { return waiting(); }

  absl::Status Start(NameService& names) {
    if (const Answer* known = names.Known(race_.plan_.name, family_)) {
      Take(*known);
      return absl::OkStatus();
    }
    return names.Ask(race_.plan_.name, family_, *this);
  }

 private:
  void OnAnswer(const Answer& answer) override {
    Take(answer);
    race_.Answered(family_);
  }

  void Take(const Answer& answer) {
    race_.untried_[Index(family_)].assign(answer.destinations.begin(),
                                          answer.destinations.end());
    if (answer.error.ok()) return;
    race_.lookup_error_ = WorseOf(race_.lookup_error_, answer.error);
    // That a name has one family only is the rule.
    if (answer.error != Error(LookupError::kNoAddress)) {
      race_.Note(family_ == Family::kIpv4 ? "lookup of IPv4" : "lookup of IPv6",
                 answer.error);
    }
  }

  ConnectRace& race_;
  const Family family_;
};

// A socket that is being connected.
class ConnectRace::Attempt final : public Watcher {
 public:
  Attempt(ConnectRace& race, const SocketAddress& target)
      : race_(race), target_(target) {}

  const SocketAddress& target() const { return target_; }

  // EINPROGRESS is none.
  Error Start(EventLoop& loop, const ConnectPlan& plan) {
    Kernel& kernel = loop.kernel();
    Handle handle = kNoHandle;
    Error error = OpenToConnect(kernel, plan.type, target_.family(),
                                plan.local[Index(target_.family())], &handle);
    if (!error.ok()) return error;
    loop.Add(*this, handle, /*internal=*/true);
    if (plan.nodelay) {
      error = kernel.SetOption(handle, SocketOption::kNoDelay, true);
    }
    if (error.ok() && plan.keepalive) {
      error = kernel.SetOption(handle, SocketOption::kKeepAlive, true);
    }
    if (error.ok()) error = kernel.Connect(handle, target_);
    connected_ = error.ok();
    if (error.code() != EINPROGRESS) return error;
    loop.Want(*this, kWritable);
    return Error();
  }

  bool connected() const { return connected_; }

  // Gives the socket up.
  Handle Release() {
    if (loop() == nullptr) return kNoHandle;
    Handle handle = this->handle();
    loop()->Remove(*this);
    return handle;
  }

  void Close() {
    EventLoop* loop = this->loop();
    Handle handle = Release();
    if (handle != kNoHandle) loop->kernel().Close(handle);
  }

  void Look() {
    Kernel& kernel = loop()->kernel();
    if (Error error = kernel.TakeError(handle()); !error.ok()) {
      race_.Failed(*this, error);
      return;
    }
    // As for an address: only a peer proves the connection.
    SocketAddress peer;
    if (kernel.PeerAddress(handle(), &peer).ok()) {
      race_.Win(*this);
    } else {
      loop()->NothingBehindReport(*this);
    }
  }

 private:
  void OnReady(Readiness /*ready*/) override { Look(); }
  void OnWatchFailed(Error error) override { race_.Failed(*this, error); }
  Nanoseconds OnTimer(Nanoseconds /*now*/) override { return kForever; }
  void OnDue(uint8_t /*which*/) override {}
  void OnFlush() override {}
  void OnCollectionClose() override { race_.Stop(); }

  ConnectRace& race_;
  const SocketAddress target_;
  bool connected_ = false;
};

ConnectRace::ConnectRace(ConnectRaceOwner& owner, ConnectPlan plan)
    : owner_(owner), plan_(std::move(plan)) {}

ConnectRace::~ConnectRace() { Stop(); }

absl::Status ConnectRace::Start(EventLoop& loop) {
  loop.Add(*this, kNoHandle, /*internal=*/true);
  if (plan_.address.has_value()) {
    untried_[Index(plan_.address->family())].push_back({.ip = *plan_.address});
    Advance();
    return absl::OkStatus();
  }
  // IPv6 first, as the RFC has it.
  for (Family family : {Family::kIpv6, Family::kIpv4}) {
    if (!plan_.wanted[Index(family)]) continue;
    auto& waiter = waiters_[Index(family)];
    waiter = std::make_unique<Waiter>(*this, family);
    if (absl::Status status = waiter->Start(loop.names()); !status.ok()) {
      Stop();
      return status;
    }
  }
  if (!Pending(Family::kIpv4)) {
    Answered(Family::kIpv4);
  } else {
    Advance();
  }
  return absl::OkStatus();
}

void ConnectRace::Stop() {
  if (over_) return;
  over_ = true;
  for (std::unique_ptr<Waiter>& waiter : waiters_) waiter.reset();
  // Not destroyed: one of them may be calling.
  for (std::unique_ptr<Attempt>& attempt : attempts_) attempt->Close();
  SetTimer(kForever);
  loop()->Remove(*this);
}

bool ConnectRace::Pending(Family family) const {
  const std::unique_ptr<Waiter>& waiter = waiters_[Index(family)];
  return waiter != nullptr && waiter->pending();
}

void ConnectRace::Answered(Family family) {
  if (over_) return;
  if (family == Family::kIpv4 && Pending(Family::kIpv6)) {
    resolution_deadline_ = DeadlineAfter(loop()->Now(), kResolutionDelay);
  }
  Advance();
}

bool ConnectRace::MayBegin() const {
  return !Pending(Family::kIpv6) || last_family_.has_value() ||
         loop()->Now() >= resolution_deadline_;
}

void ConnectRace::Advance() {
  // An attempt that fails at once leads back here.
  if (over_ || advancing_) return;
  advancing_ = true;
  EventLoop& loop = *this->loop();
  auto untried = [this] {
    return !untried_[0].empty() || !untried_[1].empty();
  };
  while (!over_ && untried() && MayBegin() &&
         (attempts_.empty() || loop.Now() >= next_start_)) {
    if (StartAttempt(TakeNext().ip)) {
      next_start_ = DeadlineAfter(loop.Now(), kAttemptDelay);
    }
  }
  advancing_ = false;
  if (over_) return;
  bool pending = Pending(Family::kIpv4) || Pending(Family::kIpv6);
  if (attempts_.empty() && !untried() && !pending) {
    Lose();
    return;
  }
  Nanoseconds deadline = kForever;
  if (untried()) {
    deadline = MayBegin() ? next_start_ : resolution_deadline_;
  }
  SetTimer(deadline);
}

Destination ConnectRace::TakeNext() {
  Family family = Family::kIpv6;
  if (last_family_.has_value()) {
    family = Other(*last_family_);
  } else if (!untried_[0].empty() && !untried_[1].empty()) {
    std::array<Destination, 2> best = {untried_[0].front(),
                                       untried_[1].front()};
    FindSources(loop()->kernel(), best);
    SortDestinations(best);
    family = best[0].ip.family();
  }
  if (untried_[Index(family)].empty()) family = Other(family);
  last_family_ = family;
  Destination next = untried_[Index(family)].front();
  untried_[Index(family)].pop_front();
  return next;
}

bool ConnectRace::StartAttempt(const IpAddress& ip) {
  attempts_.push_back(std::make_unique<Attempt>(
      *this, SocketAddress(ip.Unmapped(), plan_.port)));
  Attempt& attempt = *attempts_.back();
  Error error = attempt.Start(*loop(), plan_);
  if (!error.ok()) {
    Failed(attempt, error);
    return false;
  }
  if (attempt.connected()) Win(attempt);
  return true;
}

void ConnectRace::Failed(Attempt& attempt, Error error) {
  if (over_) return;
  attempt_error_ = error;
  Note(attempt.target().ToString(), error);
  attempt.Close();
  auto place = std::find_if(
      attempts_.begin(), attempts_.end(),
      [&attempt](const auto& one) { return one.get() == &attempt; });
  ended_.push_back(std::move(*place));
  attempts_.erase(place);
  // The next one need not wait.
  next_start_ = 0;
  Advance();
}

void ConnectRace::Win(Attempt& attempt) {
  if (over_) return;
  Family family = attempt.target().family();
  Handle handle = attempt.Release();
  Stop();
  owner_.RaceIsOver(handle, family, Error());
}

void ConnectRace::Lose() {
  Error error = attempt_error_.ok() ? lookup_error_ : attempt_error_;
  Stop();
  owner_.RaceIsOver(kNoHandle, Family::kIpv4, error);
}

void ConnectRace::LookAgain() {
  for (size_t i = 0; i < attempts_.size() && !over_;) {
    Attempt* attempt = attempts_[i].get();
    attempt->Look();
    // One that has failed has left the list, and others may have come.
    if (i < attempts_.size() && attempts_[i].get() == attempt) ++i;
  }
}

void ConnectRace::Note(const std::string& what, Error error) {
  absl::StrAppend(&tried_, tried_.empty() ? "" : "; ", what, ": ",
                  error.Message());
}

std::string ConnectRace::Describe() const {
  if (over_ && attempt_error_.ok()) {
    return NameFailure(plan_.name, lookup_error_);
  }
  std::string text =
      absl::StrCat("no connection to ",
                   plan_.address.has_value() ? plan_.address->ToString()
                                             : Quoted(plan_.name),
                   ", port ", plan_.port, ": ", tried_);
  const char* separator = tried_.empty() ? "" : "; ";
  for (const std::unique_ptr<Attempt>& attempt : attempts_) {
    absl::StrAppend(&text, separator, attempt->target().ToString(),
                    ": no answer yet");
    separator = "; ";
  }
  for (Family family : {Family::kIpv6, Family::kIpv4}) {
    if (!Pending(family)) continue;
    absl::StrAppend(&text, separator,
                    family == Family::kIpv4 ? "lookup of IPv4: no answer yet"
                                            : "lookup of IPv6: no answer yet");
    separator = "; ";
  }
  return text;
}

void ConnectRace::SetTimer(Nanoseconds deadline) {
  if (deadline == deadline_) return;
  EventLoop& loop = *this->loop();
  if (deadline_ == kForever) loop.CountDeadlines(1);
  if (deadline == kForever) loop.CountDeadlines(-1);
  deadline_ = deadline;
  if (deadline != kForever) loop.ScheduleTimer(*this, deadline);
}

Nanoseconds ConnectRace::OnTimer(Nanoseconds now) {
  if (deadline_ > now) return deadline_;
  loop()->Due(*this, deadline_, loop()->NextDeadlineOrder(), 0);
  return kForever;
}

void ConnectRace::OnDue(uint8_t /*which*/) {
  if (over_ || deadline_ > loop()->Now()) return;
  SetTimer(kForever);
  Advance();
}

}  // namespace aios
