// c-ares, which speaks DNS, on the loop of a collection: its sockets are the
// kernel's, its timers the loop's. It reads no file and no environment.

#ifndef AIOS_CARES_CHANNEL_H_
#define AIOS_CARES_CHANNEL_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/dns_answer.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/watcher.h"

struct ares_channeldata;

namespace aios {

// Everything that c-ares is told.
struct CaresConfiguration {
  std::vector<SocketAddress> servers;
  Nanoseconds timeout = 0;
  int tries = 1;

  friend bool operator==(const CaresConfiguration&,
                         const CaresConfiguration&) = default;
};

struct CaresReply {
  Error error = {};
  std::vector<IpAddress> addresses = {};
  // The least of the records'.
  int64_t ttl_seconds = 0;
};

// Asks the name servers for addresses of names as they are: which names those
// should be is not c-ares' to say, and neither what an answer means. A channel
// walks its timers second by
// second from the last time it was used: one that was idle for long is better
// made anew.
class CaresChannel final : private Watcher {
 public:
  // Called with what `Ask` was given; perhaps inside `Ask`. It must not call
  // the channel.
  using ReplyFunction = void (*)(void* context, void* object, CaresReply reply);

  // `error` says why there is none (null): c-ares has no memory.
  static std::unique_ptr<CaresChannel> Make(EventLoop& loop,
                                            const CaresConfiguration& options,
                                            ReplyFunction reply, void* context,
                                            Error* error);
  // Questions in progress are not answered any more.
  ~CaresChannel() override;

  // Asks for the addresses of `name`, in lower case, in `family`.
  void Ask(std::string_view name, Family family, void* object);

  size_t questions() const { return questions_.size(); }

  // What `other`, which has the same servers, has found out about them.
  void Learn(const CaresChannel& other) { servers_ = other.servers_; }

 private:
  class Socket;
  struct Calls;  // from c-ares to us

  struct Server {
    SocketAddress address;
    // It has answered a query with EDNS.
    bool answers_edns = false;
    // How many questions it has answered only when they came again, without.
    int answers_without = 0;
  };

  enum class Sent : uint8_t { kNotYet, kWithEdns, kWithout };

  struct Question {
    CaresChannel* channel = nullptr;
    std::string name;
    Family family = Family::kIpv4;
    void* object = nullptr;
    // Of an answer that c-ares has passed over, to ask the next server.
    int refusal = 0;
    bool asked_again = false;
    // The last query for it over UDP, by server.
    std::vector<Sent> sent;
    std::list<Question>::iterator place;
  };

  CaresChannel(ReplyFunction reply, void* context);

  // Watcher: the timer.
  void OnReady(Readiness ready) override;
  void OnWatchFailed(Error error) override;
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override;
  void OnCollectionClose() override;

  void Start(Question& question);
  void Reply(Question& question, int status, std::string_view message);
  // Tells c-ares that sockets are ready, and what follows from it.
  void Process(Handle readable, Handle writable);
  void AfterCall();
  // Takes EDNS out of a query for a server that may not answer it otherwise.
  void Prepare(size_t server, std::string* query);
  // Learns from an answer over UDP whether the server minds EDNS.
  void NoticeAnswer(size_t server, std::string_view message);
  void NoticeRefusal(std::string_view message);
  // When a server does not know EDNS, c-ares (before 1.19) gives the query new
  // memory, though it may wait to be sent by TCP from where it was.
  bool MayTakeFormatError() const;
  Socket* Find(Handle handle) const;
  // The place of the server with this address, but for its zone.
  size_t FindServer(const SocketAddress& address) const;
  static bool IsAbout(const Question& question, const DnsQuestion& asked);
  // Null when there is none. Of several, any one.
  Question* FindQuestion(const DnsQuestion& asked);

  const ReplyFunction reply_;
  void* const context_;
  ares_channeldata* channel_ = nullptr;
  std::vector<Server> servers_;
  std::list<Question> questions_;
  // To be asked once more, when c-ares has returned.
  std::vector<Question*> again_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  // Closed, and perhaps on the stack still.
  std::vector<std::unique_ptr<Socket>> closed_;
  // Datagrams that may be read in this call of c-ares.
  int datagrams_left_ = 0;
  Nanoseconds deadline_ = kForever;
};

}  // namespace aios

#endif  // AIOS_CARES_CHANNEL_H_
