// The resolver of a collection: what it knows of names, and what it asks the
// servers. docs/names.md has the order of its sources.

#ifndef AIOS_NAME_SERVICE_H_
#define AIOS_NAME_SERVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
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

// Somebody who waits for the answer to a question. Destroying it gives up.
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
  // until the hosts file is read, in which the name may be. ResourceExhausted
  // when too many questions wait.
  absl::Status Ask(std::string_view name, Family family, NameWaiter& waiter);

  // A port as `LiteralPort` gives it, or that of a service name: NotFound when
  // there is none, another error when the services file cannot be read. `type`
  // not given: over TCP or UDP, whichever comes first.
  absl::StatusOr<uint16_t> Port(const Service& service,
                                std::optional<SocketType> type);

  // Nobody is told of any answer any more. What is known stays so.
  void Close();

  // Questions that have no answer yet.
  size_t questions() const { return questions_.size(); }

 private:
  friend class NameWaiter;

  static void OnHostsFile(void* self);
  static void OnReply(void* self, void* question, CaresReply reply);
  static void RunReplies(void* self);
  void Finish(NameQuestion& question, const CaresReply& reply);
  void StartQuestions();
  bool HaveChannel(Error* error);
  Error ReadConfiguration(CaresConfiguration* options);
  // Null when the name is not in it.
  const Answer* InHostsFile(std::string_view name, Family family);
  const Answer* InHostsFile(const NameQuestion& question);
  void Forget(NameQuestion& question);
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

  std::map<std::string, std::unique_ptr<NameQuestion>, std::less<>> questions_;
  // Those that are not with the servers yet, in order; null: forgotten.
  std::deque<NameQuestion*> backlog_;
  size_t asked_ = 0;
  std::vector<NameQuestion*> replied_;
  Ticket ticket_ = kNoTicket;

  // Null while there is nothing to ask, or nobody. What it was made with.
  std::unique_ptr<CaresChannel> channel_;
  CaresConfiguration channel_options_;
  bool configured_ = false;
  Nanoseconds channel_used_ = 0;
};

// Which of two errors tells more: that there is nothing in one family tells
// least.
Error WorseOf(Error a, Error b);

// A sentence that says that a name has not been resolved, and why.
std::string NameFailure(std::string_view name, Error error);

}  // namespace aios

#endif  // AIOS_NAME_SERVICE_H_
