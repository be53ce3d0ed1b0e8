#include "aios/name_service.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "aios/name_search.h"
#include "aios/text.h"

namespace aios {

namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

// A channel that has been idle for longer is made anew.
constexpr Nanoseconds kChannelAgeMax = 60 * kSecond;

// resolv.conf and services are read at once, and longer ones not at all. The
// whole registry of services has less than 2 MiB.
constexpr size_t kFileSizeMax = size_t{4} << 20;

// Configurations of before that still have questions under way. It takes a file
// that changes again and again, and servers that are silent, to have more.
constexpr size_t kOldServersMax = 8;

constexpr Nanoseconds kTimeoutDefault = 2 * kSecond;
constexpr int kTriesDefault = 3;
constexpr int kNdotsDefault = 1;

// A name in lower case. Takes nothing from the heap.
class NameKey {
 public:
  explicit NameKey(std::string_view name)
      : size_(std::min(name.size(), text_.size())) {
    for (size_t i = 0; i != size_; ++i) {
      text_[i] = absl::ascii_tolower(static_cast<unsigned char>(name[i]));
    }
  }

  std::string_view name() const { return {text_.data(), size_}; }
  std::string_view relative_name() const {
    return name().substr(0, size_ - (name().ends_with('.') ? 1 : 0));
  }

 private:
  // `KindOf` lets no longer name pass.
  std::array<char, 255> text_;
  size_t size_;
};

bool IsLocalhost(std::string_view name) {
  // RFC 6761, section 6.3.
  return name == "localhost" || name.ends_with(".localhost");
}

}  // namespace

// A configuration, and c-ares with it.
struct NameServers {
  NameConfiguration configuration;
  // Null while there is nothing to ask.
  std::unique_ptr<CaresChannel> channel;
  Nanoseconds used = 0;
  // Names that are looked for with it.
  size_t questions = 0;
  bool given_up = false;
};

// A name that is looked for.
struct NameQuestion {
  struct Part {
    NameQuestion* question = nullptr;
    Family family = Family::kIpv4;
    // c-ares is to answer.
    bool asked = false;
    CaresReply reply;
    // Who waits for the answer, in the order in which they asked.
    NameWaiter* first = nullptr;
    NameWaiter* last = nullptr;
  };

  Part& part(Family family) { return parts[static_cast<size_t>(family)]; }
  bool HasWaiters() const {
    return parts[0].first != nullptr || parts[1].first != nullptr;
  }

  // Null: it is gone already.
  NameService* service = nullptr;
  std::list<std::unique_ptr<NameQuestion>>::iterator place;
  std::string name;
  NameSearch search;
  // Null until the search has begun, and when it is not by servers: because of
  // the error, or the hosts file.
  NameServers* servers = nullptr;
  Error error;
  std::optional<HostsTable::Addresses> in_hosts_file;
  std::optional<std::list<NameQuestion*>::iterator> in_backlog;
  std::array<Part, 2> parts;
};

void NameWaiter::GiveUp() {
  if (question_ == nullptr) return;
  NameQuestion& question = *std::exchange(question_, nullptr);
  NameQuestion::Part& part = question.part(family_);
  (previous_ != nullptr ? previous_->next_ : part.first) = next_;
  (next_ != nullptr ? next_->previous_ : part.last) = previous_;
  previous_ = nullptr;
  next_ = nullptr;
  // A search that has begun goes on: its answer is good for the next who asks,
  // who otherwise might never have the time to wait for it.
  if (question.service != nullptr && !question.search.begun() &&
      !question.HasWaiters()) {
    question.service->Erase(question);
  }
}

NameService::NameService(EventLoop& loop, const ResolverOptions& options)
    : loop_(loop),
      options_(options),
      cache_(options.answers_max),
      hosts_(loop, options.hosts_file, &NameService::OnHostsFile, this),
      services_file_(loop.kernel(), options.services_file, kFileSizeMax),
      resolv_conf_(loop.kernel(), options.resolv_conf, kFileSizeMax) {}

NameService::~NameService() { Close(); }

void NameService::Close() {
  if (ticket_ != kNoTicket) {
    loop_.CancelCompletion(std::exchange(ticket_, kNoTicket));
  }
  replied_.clear();
  backlog_.clear();
  by_name_.clear();
  asked_ = 0;
  hosts_.Close();
  while (servers_.size() > 1) servers_.pop_front();
  for (const std::unique_ptr<NameServers>& servers : servers_) {
    servers->channel.reset();
    servers->questions = 0;
  }
  for (std::unique_ptr<NameQuestion>& question : questions_) {
    question->service = nullptr;
    for (NameQuestion::Part& part : question->parts) {
      while (part.first != nullptr) part.first->GiveUp();
    }
  }
  questions_.clear();
}

// ---- What is known.

const Answer* NameService::Known(std::string_view name, Family family) {
  NameKey key(name);
  if (IsLocalhost(key.relative_name())) {
    static const auto* const kLoopback =
        new HostsTable::Addresses{{{IpAddress::Loopback(Family::kIpv4)},
                                   {IpAddress::Loopback(Family::kIpv6)}}};
    return &AnswerFromTable(*kLoopback, family);
  }
  hosts_.Refresh();
  if (!hosts_.known()) return nullptr;
  if (const Answer* answer = InHostsFile(key.relative_name(), family)) {
    return answer;
  }
  // With other servers it may be answered otherwise.
  RefreshUsed();
  return cache_.Find(key.name(), family, loop_.Now());
}

const Answer* NameService::InHostsFile(std::string_view name, Family family) {
  return hosts_.Find(name, &found_) ? &AnswerFromTable(found_, family)
                                    : nullptr;
}

const Answer& NameService::AnswerFromTable(
    const HostsTable::Addresses& addresses, Family family) {
  FillAnswer(addresses[static_cast<size_t>(family)], from_table_);
  return from_table_;
}

void NameService::FillAnswer(const std::vector<IpAddress>& addresses,
                             Answer& answer) {
  answer.error = addresses.empty() ? Error(LookupError::kNoAddress) : Error();
  // Its place in the heap stays.
  answer.destinations.clear();
  for (const IpAddress& ip : addresses) {
    answer.destinations.push_back({.ip = ip});
  }
  if (answer.destinations.size() > 1) {
    FindSources(loop_.kernel(), answer.destinations);
    SortDestinations(answer.destinations);
  }
}

absl::StatusOr<uint16_t> NameService::Port(const Service& service,
                                           std::optional<SocketType> type) {
  if (KindOf(service) != SpecKind::kName) return LiteralPort(service);
  switch (services_file_.ReadAll(loop_.Now())) {
    case SystemFile::Outcome::kNew:
      services_ = ServicesTable(services_file_.text());
      break;
    case SystemFile::Outcome::kFailed:
      if (services_file_.known()) break;
      return services_file_.error().ToStatus(
          absl::StrCat("service ", service.ToString(),
                       " cannot be looked up: ", options_.services_file));
    case SystemFile::Outcome::kSame:
    case SystemFile::Outcome::kMore:
      break;
  }
  std::optional<uint16_t> port = services_.Find(service.text(), type);
  if (port.has_value()) return *port;
  return absl::NotFoundError(absl::StrCat(
      "service ", service.ToString(), " is unknown",
      !type.has_value()              ? ""
      : *type == SocketType::kStream ? " for TCP"
                                     : " for UDP",
      options_.services_file.empty()
          ? std::string(": no services file is configured")
          : absl::StrCat(": it is not in ", options_.services_file)));
}

// ---- Questions.

void NameService::OnHostsFile(void* self) {
  static_cast<NameService*>(self)->StartQuestions();
}

absl::Status NameService::Ask(std::string_view name, Family family,
                              NameWaiter& waiter) {
  AIOS_DCHECK(!waiter.waiting(), "a waiter waits for one answer");
  RefreshUsed();
  NameKey key(name);
  auto found = by_name_.find(key.name());
  if (found == by_name_.end()) {
    if (backlog_.size() >= options_.questions_waiting_max) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "host name ", Quoted(name), " cannot be looked up: ", backlog_.size(),
          " lookups are waiting, the limit"));
    }
    NameQuestion& made =
        *questions_.emplace_back(std::make_unique<NameQuestion>());
    made.service = this;
    made.place = std::prev(questions_.end());
    made.name = key.name();
    for (Family one : {Family::kIpv4, Family::kIpv6}) {
      made.part(one).question = &made;
      made.part(one).family = one;
    }
    found = by_name_.emplace(made.name, &made).first;
  }
  NameQuestion& question = *found->second;
  NameQuestion::Part& part = question.part(family);
  waiter.question_ = &question;
  waiter.family_ = family;
  waiter.previous_ = part.last;
  (part.last != nullptr ? part.last->next_ : part.first) = &waiter;
  part.last = &waiter;
  question.search.Want(family);
  if (!question.in_backlog.has_value() && question.search.HasQuestion()) {
    question.in_backlog = backlog_.insert(backlog_.end(), &question);
  }
  StartQuestions();
  return absl::OkStatus();
}

void NameService::Erase(NameQuestion& question) {
  if (IsCurrent(question)) by_name_.erase(question.name);
  if (question.in_backlog.has_value()) backlog_.erase(*question.in_backlog);
  if (NameServers* servers = question.servers; servers != nullptr) {
    --servers->questions;
    if (servers->questions == 0 && servers != servers_.back().get()) {
      servers_.remove_if(
          [servers](const auto& one) { return one.get() == servers; });
    }
  }
  questions_.erase(question.place);
}

bool NameService::IsCurrent(const NameQuestion& question) const {
  return question.servers == nullptr ||
         question.servers == servers_.back().get();
}

void NameService::StartQuestions() {
  hosts_.Refresh();
  // Nobody outside is asked for a name that may be in the file.
  if (!hosts_.known() && hosts_.reading()) return;
  while (!backlog_.empty() && asked_ < options_.questions_max) {
    NameQuestion& question = *backlog_.front();
    if (!question.search.begun()) Begin(question);
    if (std::optional<Family> family = question.search.NextQuestion()) {
      Start(question, *family);
    }
    if (!question.search.HasQuestion()) {
      backlog_.pop_front();
      question.in_backlog.reset();
    }
  }
}

void NameService::Begin(NameQuestion& question) {
  HostsTable::Addresses addresses;
  if (hosts_.Find(NameKey(question.name).relative_name(), &addresses)) {
    // The file has been read only after the question was put.
    question.in_hosts_file = std::move(addresses);
    question.search.Begin(NameCandidates::Of(question.name));
    return;
  }
  question.error = hosts_.known() ? RefreshConfiguration() : hosts_.error();
  if (!question.error.ok()) {
    question.search.Begin(NameCandidates(question.name, {}, 0));
    return;
  }
  NameServers& servers = *servers_.back();
  ++servers.questions;
  question.servers = &servers;
  // What is known in one family says which name it is.
  const std::string* owner = cache_.FindOwner(question.name, loop_.Now());
  question.search.Begin(
      owner != nullptr
          ? NameCandidates::Of(*owner)
          : NameCandidates(question.name, servers.configuration.search_domains,
                           servers.configuration.ndots));
}

void NameService::Start(NameQuestion& question, Family family) {
  NameQuestion::Part& part = question.part(family);
  part.asked = true;
  ++asked_;
  const std::string& name = question.search.candidate();
  CaresReply reply = {.error = question.error};
  if (question.in_hosts_file.has_value()) {
    reply.addresses = (*question.in_hosts_file)[static_cast<size_t>(family)];
    if (reply.addresses.empty()) reply.error = Error(LookupError::kNoAddress);
  } else if (IsLocalhost(name)) {
    // With a search domain it may have become one.
    reply.addresses = {IpAddress::Loopback(family)};
    reply.ttl_seconds = std::numeric_limits<int32_t>::max();
  } else if (reply.error.ok() && HaveChannel(*question.servers, &reply.error)) {
    question.servers->channel->Ask(name, family, &part);
    return;
  }
  OnReply(this, &part, std::move(reply));
}

bool NameService::HaveChannel(NameServers& servers, Error* error) {
  Nanoseconds now = loop_.Now();
  const CaresConfiguration& configuration = servers.configuration.cares;
  if (servers.given_up || configuration.servers.empty()) {
    *error = Error(servers.given_up ? LookupError::kTimedOut
                                    : LookupError::kNotConfigured);
    return false;
  }
  std::unique_ptr<CaresChannel>& channel = servers.channel;
  if (channel == nullptr ||
      (channel->questions() == 0 && now - servers.used > kChannelAgeMax)) {
    std::unique_ptr<CaresChannel> made = CaresChannel::Make(
        loop_, configuration, &NameService::OnReply, this, error);
    if (made != nullptr && channel != nullptr) made->Learn(*channel);
    channel = std::move(made);
  }
  servers.used = now;
  return channel != nullptr;
}

// ---- The configuration.

void NameService::RefreshUsed() {
  // What is known already stays in force when the file cannot be read.
  if (!servers_.empty()) static_cast<void>(RefreshConfiguration());
}

Error NameService::RefreshConfiguration() {
  if (!servers_.empty() && !resolv_conf_.Due(loop_.Now())) return Error();
  NameConfiguration configuration;
  if (Error error = ReadConfiguration(&configuration); !error.ok()) {
    return error;
  }
  if (!servers_.empty()) {
    NameServers& old = *servers_.back();
    if (configuration == old.configuration) return Error();
    // Answers hold for the servers that gave them and for the search domains
    // that led there; so do those that are still to come.
    cache_.Clear();
    std::erase_if(by_name_, [](const auto& one) {
      return one.second->servers != nullptr;
    });
    if (old.questions == 0) servers_.pop_back();
  }
  servers_.push_back(std::make_unique<NameServers>());
  servers_.back()->configuration = std::move(configuration);
  if (servers_.size() > kOldServersMax + 1) GiveUpOldest();
  return Error();
}

void NameService::GiveUpOldest() {
  for (const std::unique_ptr<NameServers>& servers : servers_) {
    if (servers->given_up) continue;
    servers->given_up = true;
    servers->channel.reset();
    for (const std::unique_ptr<NameQuestion>& question : questions_) {
      if (question->servers != servers.get()) continue;
      for (NameQuestion::Part& part : question->parts) {
        if (part.asked) {
          OnReply(this, &part, {.error = Error(LookupError::kTimedOut)});
        }
      }
    }
    return;
  }
}

Error NameService::ReadConfiguration(NameConfiguration* configuration) {
  if (resolv_conf_.ReadAll(loop_.Now()) == SystemFile::Outcome::kFailed &&
      !resolv_conf_.known()) {
    return resolv_conf_.error();
  }
  ResolvConf file;
  if (resolv_conf_.exists()) {
    // Anew even if the text is the same: an interface that a zone names may
    // have come meanwhile.
    file = ResolvConf(resolv_conf_.text(), [this](std::string_view name) {
      return loop_.kernel().InterfaceIndex(name);
    });
    // resolv.conf(5): without a server it is the one on this machine.
    if (file.servers.empty()) {
      file.servers.emplace_back(IpAddress::Loopback(Family::kIpv4), 53);
    }
  }
  configuration->search_domains =
      options_.search_domains.value_or(file.search_domains);
  configuration->ndots =
      options_.ndots.value_or(file.ndots.value_or(kNdotsDefault));
  CaresConfiguration& cares = configuration->cares;
  cares.servers = options_.servers.value_or(file.servers);
  std::optional<absl::Duration> timeout =
      options_.timeout.has_value() ? options_.timeout : file.timeout;
  cares.timeout =
      timeout.has_value() ? ToNanoseconds(*timeout) : kTimeoutDefault;
  cares.tries = options_.tries.value_or(file.tries.value_or(kTriesDefault));
  return Error();
}

// ---- Answers.

void NameService::OnReply(void* self, void* part, CaresReply reply) {
  auto& service = *static_cast<NameService*>(self);
  auto& asked = *static_cast<NameQuestion::Part*>(part);
  asked.asked = false;
  asked.reply = std::move(reply);
  service.replied_.push_back(part);
  // Later: c-ares is on the stack, and perhaps the call of the user.
  if (service.ticket_ == kNoTicket) {
    service.ticket_ =
        service.loop_.Complete(&NameService::RunReplies, &service);
  }
}

void NameService::RunReplies(void* self) {
  auto& service = *static_cast<NameService*>(self);
  service.ticket_ = kNoTicket;
  std::vector<void*> replied;
  replied.swap(service.replied_);
  service.asked_ -= replied.size();
  for (void* one : replied) {
    auto& part = *static_cast<NameQuestion::Part*>(one);
    part.question->search.Take(part.family, std::move(part.reply));
    service.GoOn(*part.question);
  }
  service.StartQuestions();
}

void NameService::GoOn(NameQuestion& question) {
  NameSearch& search = question.search;
  for (Family family : {Family::kIpv6, Family::kIpv4}) {
    if (std::optional<CaresReply> result = search.TakeResult(family)) {
      Finish(question, family, *result);
    }
  }
  // Of what was asked with servers of before, the answer is of no use to
  // others.
  bool for_nobody = !IsCurrent(question) && !question.HasWaiters();
  if (search.over() || (for_nobody && !search.waits())) {
    Erase(question);
  } else if (!question.in_backlog.has_value() && search.HasQuestion()) {
    // It was there before those that have not begun.
    question.in_backlog = backlog_.insert(backlog_.begin(), &question);
  }
}

void NameService::Finish(NameQuestion& question, Family family,
                         const CaresReply& reply) {
  const NameSearch& search = question.search;
  Answer answer;
  Nanoseconds failure_ttl = ToNanoseconds(options_.failure_ttl);
  Nanoseconds ttl = 0;
  bool negative = reply.error == Error(LookupError::kNoSuchName) ||
                  reply.error == Error(LookupError::kNoAddress);
  if (reply.error.ok()) {
    FillAnswer(reply.addresses, answer);
    ttl = std::clamp<Nanoseconds>(reply.ttl_seconds * kSecond,
                                  ToNanoseconds(options_.ttl_min),
                                  ToNanoseconds(options_.ttl_max));
  } else {
    answer.error = reply.error;
    // RFC 9520: not to ask servers in trouble again and again.
    ttl = negative ? ToNanoseconds(options_.negative_ttl) : failure_ttl;
  }
  // A candidate before it may turn out to be the right one.
  if (search.uncertain()) ttl = std::min(ttl, failure_ttl);
  // What is no news of a server is not worth keeping.
  if (ttl != 0 && question.servers != nullptr && IsCurrent(question) &&
      reply.error != Error(LookupError::kNotConfigured) &&
      reply.error != Error(ENOMEM)) {
    cache_.Put(question.name, family,
               search.exists() ? search.candidate() : std::string_view(),
               answer, DeadlineAfter(loop_.Now(), ttl));
  }
  NameQuestion::Part& part = question.part(family);
  while (part.first != nullptr) {
    NameWaiter* waiter = part.first;
    waiter->GiveUp();
    waiter->OnAnswer(answer);
  }
}

Error WorseOf(Error a, Error b) {
  auto rank = [](Error error) {
    if (error.ok()) return 0;
    if (error == Error(LookupError::kNoSuchName)) return 1;
    if (error == Error(LookupError::kNoAddress)) return 2;
    return 3;
  };
  return rank(a) >= rank(b) ? a : b;
}

std::string NameFailure(std::string_view name, Error error) {
  // No error of a server, and so one of a file, or of memory.
  const bool file = error.code() < static_cast<int>(LookupError::kNoSuchName) &&
                    error != Error(ENOMEM);
  return absl::StrCat(
      "host name ", Quoted(name), " cannot be resolved: ",
      file ? "the hosts file or resolv.conf cannot be read: " : "",
      error.Message());
}

}  // namespace aios
