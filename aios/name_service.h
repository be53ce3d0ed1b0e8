// The resolver of a collection: what it knows of names, and what it asks the
// servers. docs/names.md has the order of its sources.

#ifndef AIOS_NAME_SERVICE_H_
#define AIOS_NAME_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "aios/answer_cache.h"
#include "aios/cares_channel.h"
#include "aios/event_loop.h"
#include "aios/host_spec.h"
#include "aios/hosts_file.h"
#include "aios/kernel.h"
#include "aios/name_tables.h"
#include "aios/resolver_options.h"
#include "aios/system_file.h"
#include "aios/ticket_queue.h"

namespace aios {

struct NameQuestion;
struct NameServers;

// What there is to be said about name servers, by the options and by files.
struct NameConfiguration {
  CaresConfiguration cares;
  std::vector<std::string> search_domains;
  int ndots = 1;

  friend bool operator==(const NameConfiguration&,
                         const NameConfiguration&) = default;
};

// Somebody who waits for what a name has in one family. Destroying it gives up.
class NameWaiter {
 public:
  NameWaiter(const NameWaiter&) = delete;
  NameWaiter& operator=(const NameWaiter&) = delete;

 protected:
  NameWaiter() = default;
  ~NameWaiter() { GiveUp(); }

  // Called in the completion phase of a turn, once. Runs no code of the user.
  virtual void OnAnswer(const Answer& answer) = 0;

  bool waiting() const { return question_ != nullptr; }
  void GiveUp();

 private:
  friend class NameService;

  NameQuestion* question_ = nullptr;
  Family family_ = Family::kIpv4;
  NameWaiter* previous_ = nullptr;
  NameWaiter* next_ = nullptr;
};

class NameService {
 public:
  // `options` must outlive it.
  NameService(EventLoop& loop, const ResolverOptions& options);
  ~NameService();
  NameService(const NameService&) = delete;
  NameService& operator=(const NameService&) = delete;

  // What is known of `name` without asking a server: of "localhost" and the
  // names below it, of names in the hosts file, of earlier answers. Null when a
  // server must be asked, and when the hosts file has not been read yet, or
  // cannot be: `Ask` waits for that. Valid until the next call.
  const Answer* Known(std::string_view name, Family family);

  // Asks the servers, or joins those who have asked already; before that, waits
  // until the hosts file is read, in which the name may be. Whoever asks for
  // both families hears of the addresses of one name. ResourceExhausted when
  // too many questions wait.
  absl::Status Ask(std::string_view name, Family family, NameWaiter& waiter);

  // A port as `LiteralPort` gives it, or that of a service name: NotFound when
  // there is none, another error when the services file cannot be read. `type`
  // not given: over TCP or UDP, whichever comes first.
  absl::StatusOr<uint16_t> Port(const Service& service,
                                std::optional<SocketType> type);

  // Nobody is told of any answer any more. What is known stays so.
  void Close();

 private:
  friend class NameWaiter;

  static void OnHostsFile(void* self);
  static void OnReply(void* self, void* part, CaresReply reply);
  static void RunReplies(void* self);
  void StartQuestions();
  void Begin(NameQuestion& question);
  void Start(NameQuestion& question, Family family);
  bool HaveChannel(NameServers& servers, Error* error);
  // Hands out what has come of it, and sees to what is next.
  void GoOn(NameQuestion& question);
  void Finish(NameQuestion& question, Family family, const CaresReply& reply);
  void Erase(NameQuestion& question);
  // Whether what it is answered holds for those who ask now.
  bool IsCurrent(const NameQuestion& question) const;

  void RefreshUsed();
  // An error when there is no configuration.
  Error RefreshConfiguration();
  Error ReadConfiguration(NameConfiguration* configuration);
  void GiveUpOldest();
  // Null when the name is not in it.
  const Answer* InHostsFile(std::string_view name, Family family);
  const Answer& AnswerFromTable(const HostsTable::Addresses& addresses,
                                Family family);
  void FillAnswer(const std::vector<IpAddress>& addresses, Answer& answer);

  EventLoop& loop_;
  const ResolverOptions& options_;

  AnswerCache cache_;
  HostsFile hosts_;
  // What was found last in it, and the last answer that came from a table.
  HostsTable::Addresses found_;
  Answer from_table_;
  SystemFile services_file_;
  ServicesTable services_;
  SystemFile resolv_conf_;

  std::list<std::unique_ptr<NameQuestion>> questions_;
  // Those that whoever asks now may join, by their names.
  std::map<std::string_view, NameQuestion*> by_name_;
  // Those that have something to ask, in order.
  std::list<NameQuestion*> backlog_;
  // Questions of a name and a family that are with the servers.
  size_t asked_ = 0;
  std::vector<void*> replied_;
  Ticket ticket_ = kNoTicket;

  // The last ones are those that new questions go to; the others have questions
  // under way.
  std::list<std::unique_ptr<NameServers>> servers_;
};

// Which of two errors tells more: that there is nothing in one family tells
// least.
Error WorseOf(Error a, Error b);

// A sentence that says that a name has not been resolved, and why.
std::string NameFailure(std::string_view name, Error error);

}  // namespace aios

#endif  // AIOS_NAME_SERVICE_H_
