#include "aios/name_service.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "aios/text.h"

namespace aios {

namespace {

constexpr Nanoseconds kSecond = 1'000'000'000;

// A channel that has been idle for longer is made anew.
constexpr Nanoseconds kChannelAgeMax = 60 * kSecond;

// resolv.conf and services are read at once, and longer ones not at all. The
// whole registry of services has less than 2 MiB.
constexpr size_t kFileSizeMax = size_t{4} << 20;

constexpr Nanoseconds kTimeoutDefault = 2 * kSecond;
constexpr int kTriesDefault = 3;
constexpr int kNdotsDefault = 1;

// A question as text: the name in lower case, and a last character for the
// family. Takes nothing from the heap.
class QuestionKey {
 public:
  QuestionKey(std::string_view name, Family family)
      : size_(std::min(name.size(), text_.size() - 1)) {
    for (size_t i = 0; i != size_; ++i) {
      text_[i] = absl::ascii_tolower(static_cast<unsigned char>(name[i]));
    }
    text_[size_] = family == Family::kIpv4 ? '4' : '6';
  }

  std::string_view name() const { return {text_.data(), size_}; }
  std::string_view view() const { return {text_.data(), size_ + 1}; }
  std::string_view relative_name() const {
    return name().substr(0, size_ - (name().ends_with('.') ? 1 : 0));
  }

 private:
  // `KindOf` lets no longer name pass.
  std::array<char, 256> text_;
  size_t size_;
};

bool IsLocalhost(std::string_view name) {
  // RFC 6761, section 6.3.
  return name == "localhost" || name.ends_with(".localhost");
}

}  // namespace

struct NameQuestion {
  NameService* service = nullptr;
  std::string name;
  Family family = Family::kIpv4;
  // It is with the servers.
  bool asked = false;
  CaresReply reply;
  // Who waits for the answer, in the order in which they asked.
  NameWaiter* first = nullptr;
  NameWaiter* last = nullptr;
};

void NameWaiter::GiveUp() {
  if (question_ == nullptr) return;
  NameQuestion& question = *std::exchange(question_, nullptr);
  (previous_ != nullptr ? previous_->next_ : question.first) = next_;
  (next_ != nullptr ? next_->previous_ : question.last) = previous_;
  previous_ = nullptr;
  next_ = nullptr;
  // One that is with the servers goes on: its answer is good for the next who
  // asks, who otherwise might never have the time to wait for it.
  if (question.first == nullptr && !question.asked) {
    question.service->Forget(question);
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
  asked_ = 0;
  channel_.reset();
  hosts_.Close();
  for (auto& [key, question] : questions_) {
    // Not forgotten one by one while we walk.
    question->asked = true;
    while (question->first != nullptr) question->first->GiveUp();
  }
  questions_.clear();
}

// ---- What is known.

const Answer* NameService::Known(std::string_view name, Family family) {
  QuestionKey key(name, family);
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
  return cache_.Find(key.view(), loop_.Now());
}

const Answer* NameService::InHostsFile(const NameQuestion& question) {
  return InHostsFile(
      QuestionKey(question.name, question.family).relative_name(),
      question.family);
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
  QuestionKey key(name, family);
  auto place = questions_.find(key.view());
  if (place == questions_.end()) {
    if (backlog_.size() >= options_.questions_waiting_max) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "host name ", Quoted(name), " cannot be looked up: ", backlog_.size(),
          " lookups are waiting, the limit"));
    }
    auto question = std::make_unique<NameQuestion>();
    question->service = this;
    question->name = key.name();
    question->family = family;
    backlog_.push_back(question.get());
    place =
        questions_.emplace(std::string(key.view()), std::move(question)).first;
  }
  NameQuestion& question = *place->second;
  waiter.question_ = &question;
  waiter.previous_ = question.last;
  (question.last != nullptr ? question.last->next_ : question.first) = &waiter;
  question.last = &waiter;
  StartQuestions();
  return absl::OkStatus();
}

void NameService::Forget(NameQuestion& question) {
  std::replace(backlog_.begin(), backlog_.end(), &question,
               static_cast<NameQuestion*>(nullptr));
  questions_.erase(
      std::string(QuestionKey(question.name, question.family).view()));
}

void NameService::StartQuestions() {
  hosts_.Refresh();
  // Nobody outside is asked for a name that may be in the file.
  if (!hosts_.known() && hosts_.reading()) return;
  while (!backlog_.empty() && asked_ < options_.questions_max) {
    NameQuestion* question = backlog_.front();
    backlog_.pop_front();
    if (question == nullptr) continue;
    question->asked = true;
    ++asked_;
    Error error = hosts_.known() ? Error() : hosts_.error();
    if (!error.ok() || InHostsFile(*question) != nullptr) {
      OnReply(this, question, {.error = error});
    } else if (HaveChannel(&error)) {
      channel_->Ask(question->name, question->family, question);
    } else {
      OnReply(this, question, {.error = error});
    }
  }
}

bool NameService::HaveChannel(Error* error) {
  Nanoseconds now = loop_.Now();
  if (channel_ == nullptr || channel_->questions() == 0) {
    bool stale = channel_ == nullptr || now - channel_used_ > kChannelAgeMax;
    if (!configured_ || resolv_conf_.Due(now)) {
      CaresConfiguration options;
      *error = ReadConfiguration(&options);
      if (!error->ok()) return false;
      configured_ = true;
      stale |= options != channel_options_;
      channel_options_ = std::move(options);
    }
    if (channel_options_.servers.empty()) {
      channel_.reset();
      *error = Error(LookupError::kNotConfigured);
      return false;
    }
    if (stale) {
      channel_ = CaresChannel::Make(loop_, channel_options_,
                                    &NameService::OnReply, this, error);
    }
  }
  channel_used_ = now;
  return channel_ != nullptr;
}

Error NameService::ReadConfiguration(CaresConfiguration* configuration) {
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
  configuration->servers = options_.servers.value_or(file.servers);
  configuration->search_domains =
      options_.search_domains.value_or(file.search_domains);
  std::optional<absl::Duration> timeout =
      options_.timeout.has_value() ? options_.timeout : file.timeout;
  configuration->timeout =
      timeout.has_value() ? ToNanoseconds(*timeout) : kTimeoutDefault;
  configuration->tries =
      options_.tries.value_or(file.tries.value_or(kTriesDefault));
  configuration->ndots =
      options_.ndots.value_or(file.ndots.value_or(kNdotsDefault));
  return Error();
}

// ---- Answers.

void NameService::OnReply(void* self, void* question, CaresReply reply) {
  auto& service = *static_cast<NameService*>(self);
  auto* asked = static_cast<NameQuestion*>(question);
  asked->reply = std::move(reply);
  service.replied_.push_back(asked);
  // Later: c-ares is on the stack, and perhaps the call of the user.
  if (service.ticket_ == kNoTicket) {
    service.ticket_ =
        service.loop_.Complete(&NameService::RunReplies, &service);
  }
}

void NameService::RunReplies(void* self) {
  auto& service = *static_cast<NameService*>(self);
  service.ticket_ = kNoTicket;
  std::vector<NameQuestion*> replied;
  replied.swap(service.replied_);
  for (NameQuestion* question : replied) {
    auto place = service.questions_.find(
        QuestionKey(question->name, question->family).view());
    // It lives on the stack from here on: who asks the same again asks anew.
    std::unique_ptr<NameQuestion> own = std::move(place->second);
    service.questions_.erase(place);
    --service.asked_;
    service.Finish(*own, own->reply);
  }
  service.StartQuestions();
}

void NameService::Finish(NameQuestion& question, const CaresReply& reply) {
  Answer answer;
  Nanoseconds ttl = 0;
  if (const Answer* in_file = InHostsFile(question)) {
    // It waited until the file was read, or the file has changed meanwhile.
    answer = *in_file;
  } else if (reply.error.ok()) {
    FillAnswer(reply.addresses, answer);
    ttl = std::clamp<Nanoseconds>(reply.ttl_seconds * kSecond,
                                  ToNanoseconds(options_.ttl_min),
                                  ToNanoseconds(options_.ttl_max));
  } else {
    answer.error = reply.error;
    bool negative = reply.error == Error(LookupError::kNoSuchName) ||
                    reply.error == Error(LookupError::kNoAddress);
    // RFC 9520: not to ask servers in trouble again and again.
    ttl =
        ToNanoseconds(negative ? options_.negative_ttl : options_.failure_ttl);
  }
  // What is no news of a server is not worth keeping.
  if (ttl != 0 && reply.error != Error(LookupError::kNotConfigured) &&
      reply.error != Error(ENOMEM)) {
    cache_.Put(QuestionKey(question.name, question.family).view(), answer,
               DeadlineAfter(loop_.Now(), ttl));
  }
  while (question.first != nullptr) {
    NameWaiter* waiter = question.first;
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
