#include "aios/cares_channel.h"

// Versions to come mark as deprecated what they keep.
#define CARES_NO_DEPRECATED
#include <ares.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <utility>

#include "aios/name_service.h"

namespace aios {

namespace {

// DNS Flag Day 2020: what reaches everywhere without fragments.
constexpr int kUdpSize = 1232;

// c-ares reads on while there is something to read: of a flood, so much at a
// time.
constexpr int kDatagramsPerCallMax = 64;

// `ares_timeout` cuts to milliseconds (before 1.34): waiting for what it says
// would find nothing due, again and again until the clock has moved on.
constexpr Nanoseconds kTimeoutGranularity = 1'000'000;

// A server that has answered so many questions only without EDNS, and none with
// it, does not answer EDNS. One may be chance: the query with EDNS was lost.
constexpr int kAnswersWithoutEdns = 2;

constexpr int kRcodeFormatError = 1;
constexpr int kRcodeServerFailure = 2;
constexpr int kRcodeNotImplemented = 4;
constexpr int kRcodeRefused = 5;
// In a message: the byte with the response code.
constexpr size_t kRcodeOffset = 3;
// And the low byte of the number of additional records.
constexpr size_t kAdditionalOffset = 11;
constexpr int kClassInternet = 1;

// For c-ares, which reads `errno`.
int Fail(Error error) {
  errno = error.code();
  return -1;
}

// The native form is that of the system's headers, which ares.h includes.
SocketAddress FromNative(const sockaddr* native) {
  if (native->sa_family == AF_INET) {
    sockaddr_in in = {};
    memcpy(&in, native, sizeof(in));
    return {IpAddress::FromIpv4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  sockaddr_in6 in6 = {};
  memcpy(&in6, native, sizeof(in6));
  IpAddress::Ipv6Bytes bytes;
  memcpy(bytes.data(), &in6.sin6_addr, bytes.size());
  return {IpAddress::FromIpv6(bytes, in6.sin6_scope_id), ntohs(in6.sin6_port)};
}

// As much of it as fits, as the system does it.
void ToNative(const SocketAddress& address, sockaddr* native,
              ares_socklen_t* size) {
  sockaddr_in6 in6 = {};
  sockaddr_in in = {};
  const void* from = &in6;
  size_t from_size = sizeof(in6);
  if (address.family() == Family::kIpv4) {
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port());
    in.sin_addr.s_addr = htonl(address.ip().ipv4());
    from = &in;
    from_size = sizeof(in);
  } else {
    IpAddress::Ipv6Bytes bytes = address.ip().ipv6();
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port());
    memcpy(&in6.sin6_addr, bytes.data(), bytes.size());
    in6.sin6_scope_id = address.ip().scope();
  }
  memcpy(native, from, std::min<size_t>(*size, from_size));
  *size = static_cast<ares_socklen_t>(from_size);
}

// What a status of c-ares means; `refusal` is the last answer that it passed
// over.
Error ErrorOf(int status, int refusal) {
  switch (status) {
    case ARES_SUCCESS:
      return Error();
    case ARES_ENODATA:
      return Error(LookupError::kNoAddress);
    case ARES_ENOTFOUND:
      return Error(LookupError::kNoSuchName);
    case ARES_ESERVFAIL:
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
      return Error(LookupError::kServerFailure);
    case ARES_EREFUSED:
      return Error(LookupError::kRefused);
    case ARES_ETIMEOUT:
      return Error(LookupError::kTimedOut);
    case ARES_EBADRESP:
      return Error(LookupError::kMalformedAnswer);
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
    case ARES_EBADSTR:
      return Error(LookupError::kBadName);
    case ARES_ENOMEM:
      return Error(ENOMEM);
    case ARES_ECANCELLED:
    case ARES_EDESTRUCTION:
      return Error(LookupError::kCancelled);
    case ARES_ECONNREFUSED:
      // Before 1.20 also when every server has answered that it will not.
      if (refusal == kRcodeRefused) return Error(LookupError::kRefused);
      if (refusal != 0) return Error(LookupError::kServerFailure);
      return Error(LookupError::kUnreachable);
    default:
      return Error(LookupError::kUnreachable);
  }
}

void InitialiseLibrary() {
  // Once in a process; c-ares counts, and does nothing that could fail.
  static const int initialised = ares_library_init(ARES_LIB_INIT_ALL);
  static_cast<void>(initialised);
}

}  // namespace

// A socket that c-ares has opened.
class CaresChannel::Socket final : public Watcher {
 public:
  Socket(CaresChannel& channel, SocketType type)
      : channel_(channel), type_(type) {}

  SocketType type() const { return type_; }
  Handle handle() const { return Watcher::handle(); }
  // c-ares has something to send on this stream.
  bool has_queue() const {
    return type_ == SocketType::kStream && (wanted_by_cares_ & kWritable) != 0;
  }

  void Want(Readiness wanted) {
    wanted_by_cares_ = wanted;
    UpdateInterest();
  }

  void Close() {
    EventLoop& loop = *this->loop();
    Handle handle = this->handle();
    loop.Remove(*this);
    loop.kernel().Close(handle);
  }

  Error Connect(size_t server, const SocketAddress& address) {
    server_ = server;
    return loop()->kernel().Connect(handle(), address);
  }

  // As `recvfrom`, or an error.
  Transfer Receive(std::span<char> buffer, SocketAddress* sender) {
    if (!failed_.ok()) return {.error = failed_};
    if (!news_.ok()) return {.error = std::exchange(news_, Error())};
    Kernel& kernel = loop()->kernel();
    if (type_ == SocketType::kStream) {
      Transfer transfer = kernel.Receive(handle(), buffer);
      // Each message follows its length, and c-ares reads the two by
      // themselves. Before a new version was found to do otherwise, a message
      // in pieces is not worth more: it only names an error.
      bool is_length = buffer.size() <= 2;
      if (!is_length) CheckStreamRcode(buffer.first(transfer.count));
      if (!is_length && at_message_) {
        channel_.NoticeRefusal({buffer.data(), transfer.count});
      }
      at_message_ = is_length && transfer.count == buffer.size();
      if (at_message_) message_offset_ = 0;
      return transfer;
    }
    while (channel_.datagrams_left_ > 0) {
      --channel_.datagrams_left_;
      IncomingDatagram datagram;
      Error error = kernel.ReceiveDatagram(handle(), buffer, sender != nullptr,
                                           &datagram);
      if (!error.ok()) return {.error = error};
      // Before 1.19.1 an empty one was taken for the end of the connection
      // (CVE-2023-32067). It answers nothing.
      if (datagram.size == 0) continue;
      // Lost, as datagrams may be: see `MayTakeFormatError`.
      if (datagram.size > kRcodeOffset &&
          (buffer[kRcodeOffset] & 0xf) == kRcodeFormatError &&
          !channel_.MayTakeFormatError()) {
        continue;
      }
      if (sender != nullptr) *sender = datagram.sender;
      std::string_view message(buffer.data(), datagram.size);
      channel_.NoticeAnswer(server_, message);
      channel_.NoticeRefusal(message);
      return {.count = datagram.size};
    }
    return {.error = Error(EAGAIN)};
  }

  // Takes all of a datagram.
  Transfer Send(std::span<const ConstBuffer> buffers) {
    if (!failed_.ok()) return {.error = failed_};
    Kernel& kernel = loop()->kernel();
    if (type_ == SocketType::kStream) {
      Transfer transfer = kernel.Send(handle(), buffers);
      // As some systems say while it is connecting.
      if (transfer.error.code() == ENOTCONN) transfer.error = Error(EAGAIN);
      return transfer;
    }
    std::string datagram;
    for (const ConstBuffer& buffer : buffers) {
      datagram.append(buffer.data, buffer.size);
    }
    size_t size = datagram.size();
    channel_.Prepare(server_, &datagram);
    // c-ares would take "would block" for a bad server.
    if (unsent_.empty()) {
      Error error = SendNow(datagram);
      if (!error.ok() && error.code() != EAGAIN) {
        // It may be the news of an earlier datagram, of another question. Then
        // the second attempt succeeds, and the news goes where c-ares looks for
        // it.
        Error news = std::exchange(error, SendNow(datagram));
        if (error.ok()) {
          news_ = news;
          loop()->FlushLater(*this);
        }
      }
      if (error.ok()) return {.count = size};
      if (error.code() != EAGAIN) return {.error = error};
    }
    unsent_.push_back(std::move(datagram));
    UpdateInterest();
    return {.count = size};
  }

 private:
  void OnReady(Readiness ready) override {
    if ((ready & kWritable) != 0 && !unsent_.empty()) {
      while (!unsent_.empty()) {
        Error error = SendNow(unsent_.front());
        if (error.code() == EAGAIN) break;
        // Lost, as datagrams may be.
        unsent_.pop_front();
      }
      UpdateInterest();
      ready &= ~kWritable;
    }
    if (ready == kNotReady) return;
    channel_.Process((ready & kReadable) != 0 ? handle() : kNoHandle,
                     (ready & kWritable) != 0 ? handle() : kNoHandle);
  }

  void OnWatchFailed(Error error) override {
    failed_ = error;
    // So that c-ares meets the error.
    channel_.Process(handle(), kNoHandle);
  }

  Nanoseconds OnTimer(Nanoseconds /*now*/) override { return kForever; }
  void OnDue(uint8_t /*which*/) override {}
  void OnFlush() override {
    if (!news_.ok()) channel_.Process(handle(), kNoHandle);
  }
  void OnCollectionClose() override { channel_.OnCollectionClose(); }

  // Of a message in pieces, only one has the byte that says what became of the
  // query.
  void CheckStreamRcode(std::span<char> piece) {
    if (message_offset_ > kRcodeOffset) return;
    size_t place = kRcodeOffset - message_offset_;
    message_offset_ += piece.size();
    if (place >= piece.size()) return;
    char& byte = piece[place];
    if ((byte & 0xf) == kRcodeFormatError && !channel_.MayTakeFormatError()) {
      byte = static_cast<char>((byte & ~0xf) | kRcodeServerFailure);
    }
  }

  Error SendNow(std::string_view datagram) {
    OutgoingDatagram outgoing{{datagram.data(), datagram.size()}, nullptr};
    return loop()->kernel().SendDatagrams(handle(), {&outgoing, 1}).error;
  }

  void UpdateInterest() {
    Readiness wanted = wanted_by_cares_;
    if (!unsent_.empty()) wanted |= kWritable;
    loop()->Want(*this, wanted);
  }

  CaresChannel& channel_;
  const SocketType type_;
  // Of the channel's, once it is connected.
  size_t server_ = 0;
  Readiness wanted_by_cares_ = kNotReady;
  // The kernel cannot watch it.
  Error failed_;
  // What a send was told of an earlier one.
  Error news_;
  // Bounded by the questions in progress.
  std::deque<std::string> unsent_;
  // Of a stream: the length of a message has just been read.
  bool at_message_ = false;
  // How much of a message has been read, until that is beyond what matters.
  size_t message_offset_ = kRcodeOffset + 1;
};

struct CaresChannel::Calls {
  static CaresChannel& Self(void* user) {
    return *static_cast<CaresChannel*>(user);
  }

  static ares_socket_t Open(int family, int type, int /*protocol*/,
                            void* user) {
    CaresChannel& self = Self(user);
    EventLoop& loop = *self.loop();
    SocketType socket_type =
        type == SOCK_STREAM ? SocketType::kStream : SocketType::kDatagram;
    Handle handle = kNoHandle;
    Error error = loop.kernel().Open(
        socket_type, family == AF_INET ? Family::kIpv4 : Family::kIpv6,
        &handle);
    if (!error.ok()) return Fail(error);
    self.sockets_.push_back(std::make_unique<Socket>(self, socket_type));
    loop.Add(*self.sockets_.back(), handle, /*internal=*/true);
    return handle;
  }

  static int Close(ares_socket_t handle, void* user) {
    CaresChannel& self = Self(user);
    auto place = std::find_if(
        self.sockets_.begin(), self.sockets_.end(),
        [handle](const auto& socket) { return socket->handle() == handle; });
    if (place == self.sockets_.end()) return Fail(Error(EBADF));
    (*place)->Close();
    self.closed_.push_back(std::move(*place));
    self.sockets_.erase(place);
    return 0;
  }

  static int Connect(ares_socket_t handle, const sockaddr* native,
                     ares_socklen_t /*size*/, void* user) {
    CaresChannel& self = Self(user);
    Socket* socket = self.Find(handle);
    if (socket == nullptr) return Fail(Error(EBADF));
    SocketAddress address = FromNative(native);
    size_t server = self.FindServer(address);
    if (server == self.servers_.size()) return Fail(Error(EINVAL));
    // c-ares forgets the zone of a server.
    Error error = socket->Connect(server, self.servers_[server].address);
    return error.ok() ? 0 : Fail(error);
  }

  static ares_ssize_t ReceiveFrom(ares_socket_t handle, void* buffer,
                                  size_t size, int /*flags*/,
                                  sockaddr* sender_native,
                                  ares_socklen_t* sender_size, void* user) {
    Socket* socket = Self(user).Find(handle);
    if (socket == nullptr) return Fail(Error(EBADF));
    SocketAddress sender;
    bool want_sender = socket->type() == SocketType::kDatagram &&
                       sender_native != nullptr && sender_size != nullptr;
    Transfer transfer = socket->Receive({static_cast<char*>(buffer), size},
                                        want_sender ? &sender : nullptr);
    if (!transfer.error.ok()) return Fail(transfer.error);
    if (want_sender) ToNative(sender, sender_native, sender_size);
    return static_cast<ares_ssize_t>(transfer.count);
  }

  static ares_ssize_t SendVector(ares_socket_t handle, const iovec* vectors,
                                 int count, void* user) {
    Socket* socket = Self(user).Find(handle);
    if (socket == nullptr) return Fail(Error(EBADF));
    std::vector<ConstBuffer> buffers;
    for (int i = 0; i != count; ++i) {
      if (vectors[i].iov_len == 0) continue;
      buffers.push_back(
          {static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len});
    }
    if (buffers.empty()) return 0;
    Transfer transfer = socket->Send(buffers);
    if (!transfer.error.ok()) return Fail(transfer.error);
    return static_cast<ares_ssize_t>(transfer.count);
  }

  static void State(void* user, ares_socket_t handle, int readable,
                    int writable) {
    Socket* socket = Self(user).Find(handle);
    if (socket == nullptr) return;
    Readiness wanted = kNotReady;
    if (readable != 0) wanted |= kReadable;
    if (writable != 0) wanted |= kWritable;
    socket->Want(wanted);
  }

  static void Answered(void* object, int status, int /*timeouts*/,
                       unsigned char* message, int size) {
    auto& question = *static_cast<Question*>(object);
    std::string_view bytes;
    if (message != nullptr && size > 0) {
      bytes = {reinterpret_cast<const char*>(message),
               static_cast<size_t>(size)};
    }
    question.channel->Reply(question, status, bytes);
  }
};

CaresChannel::CaresChannel(ReplyFunction reply, void* context)
    : reply_(reply), context_(context) {}

std::unique_ptr<CaresChannel> CaresChannel::Make(
    EventLoop& loop, const CaresConfiguration& options, ReplyFunction reply,
    void* context, Error* error) {
  InitialiseLibrary();
  std::unique_ptr<CaresChannel> self(new CaresChannel(reply, context));
  loop.Add(*self, kNoHandle, /*internal=*/true);
  for (const SocketAddress& address : options.servers) {
    self->servers_.push_back({.address = address});
  }

  // Whatever is not said here, c-ares would look for in files and in the
  // environment.
  std::string lookups = "b";
  std::string no_file = "/dev/null";
  ares_options native = {};
  native.flags = ARES_FLAG_EDNS;
  native.ednspsz = kUdpSize;
  native.timeout =
      static_cast<int>(std::max<Nanoseconds>(options.timeout / 1'000'000, 1));
  native.tries = options.tries;
  native.ndots = 1;
  native.domains = nullptr;
  native.ndomains = 0;
  native.lookups = lookups.data();
  native.sock_state_cb = &Calls::State;
  native.sock_state_cb_data = self.get();
  int mask = ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS |
             ARES_OPT_TRIES | ARES_OPT_NDOTS | ARES_OPT_SERVERS |
             ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS | ARES_OPT_SORTLIST |
             ARES_OPT_NOROTATE | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_RESOLVCONF
  native.resolvconf_path = no_file.data();
  mask |= ARES_OPT_RESOLVCONF;
#endif
#ifdef ARES_OPT_QUERY_CACHE
  // The cache is ours: it knows of both families, and of bounds.
  native.qcache_max_ttl = 0;
  mask |= ARES_OPT_QUERY_CACHE;
#endif
  int status = ARES_SUCCESS;
  loop.kernel().RunLibrary(
      [&] { status = ares_init_options(&self->channel_, &native, mask); });
  if (status != ARES_SUCCESS) {
    self->channel_ = nullptr;
    *error = ErrorOf(status, 0);
    return nullptr;
  }

  static constexpr ares_socket_functions kFunctions = {
      .asocket = &Calls::Open,
      .aclose = &Calls::Close,
      .aconnect = &Calls::Connect,
      .arecvfrom = &Calls::ReceiveFrom,
      .asendv = &Calls::SendVector,
  };
  ares_set_socket_functions(self->channel_, &kFunctions, self.get());

  std::vector<ares_addr_port_node> servers(options.servers.size());
  for (size_t i = 0; i != servers.size(); ++i) {
    const SocketAddress& server = options.servers[i];
    ares_addr_port_node& node = servers[i];
    node.next = i + 1 == servers.size() ? nullptr : &servers[i + 1];
    if (server.family() == Family::kIpv4) {
      node.family = AF_INET;
      node.addr.addr4.s_addr = htonl(server.ip().ipv4());
    } else {
      node.family = AF_INET6;
      IpAddress::Ipv6Bytes bytes = server.ip().ipv6();
      memcpy(&node.addr.addr6, bytes.data(), bytes.size());
    }
    node.udp_port = server.port();
    node.tcp_port = server.port();
  }
  status = ares_set_servers_ports(self->channel_,
                                  servers.empty() ? nullptr : servers.data());
  if (status != ARES_SUCCESS) {
    *error = ErrorOf(status, 0);
    return nullptr;
  }
  return self;
}

CaresChannel::~CaresChannel() {
  if (channel_ != nullptr) ares_destroy(std::exchange(channel_, nullptr));
  closed_.clear();
  if (deadline_ != kForever) loop()->CountDeadlines(-1);
  loop()->Remove(*this);
}

void CaresChannel::OnCollectionClose() { loop()->names().Close(); }

void CaresChannel::Ask(std::string_view name, Family family, void* object) {
  Question& question = questions_.emplace_back();
  question.channel = this;
  question.name = name;
  question.family = family;
  question.object = object;
  question.sent.resize(servers_.size());
  question.place = std::prev(questions_.end());
  Start(question);
  AfterCall();
}

void CaresChannel::Start(Question& question) {
  loop()->kernel().RunLibrary([&] {
    ares_query(channel_, question.name.c_str(), kClassInternet,
               DnsType(question.family), &Calls::Answered, &question);
  });
}

void CaresChannel::Reply(Question& question, int status,
                         std::string_view message) {
  // The end of the channel: whoever asked has gone.
  if (channel_ == nullptr) return;
  if (status == ARES_EFORMERR && !question.asked_again) {
    // A server that does not know EDNS. c-ares repeats the first question that
    // finds it out without, but forgets that the others were on their way.
    question.asked_again = true;
    again_.push_back(&question);
    return;
  }
  CaresReply reply = {.error = ErrorOf(status, question.refusal)};
  if (reply.error.ok()) {
    std::optional<DnsAddresses> found =
        ReadDnsAddresses(message, question.name, question.family);
    if (!found.has_value()) {
      reply.error = Error(LookupError::kMalformedAnswer);
    } else if (found->addresses.empty()) {
      reply.error = Error(LookupError::kNoAddress);
    } else {
      reply.addresses = std::move(found->addresses);
      reply.ttl_seconds = found->ttl_seconds;
    }
  }
  void* object = question.object;
  questions_.erase(question.place);
  reply_(context_, object, std::move(reply));
}

void CaresChannel::Process(Handle readable, Handle writable) {
  datagrams_left_ = kDatagramsPerCallMax;
  static_assert(kNoHandle == ARES_SOCKET_BAD);
  loop()->kernel().RunLibrary(
      [&] { ares_process_fd(channel_, readable, writable); });
  AfterCall();
}

void CaresChannel::AfterCall() {
  while (!again_.empty()) {
    Question* question = again_.back();
    again_.pop_back();
    Start(*question);
  }
  closed_.clear();
  EventLoop& loop = *this->loop();
  timeval left = {};
  bool any_left = false;
  loop.kernel().RunLibrary(
      [&] { any_left = ares_timeout(channel_, nullptr, &left) != nullptr; });
  Nanoseconds deadline = kForever;
  if (any_left) {
    deadline =
        loop.Now() + static_cast<Nanoseconds>(left.tv_sec) * 1'000'000'000 +
        static_cast<Nanoseconds>(left.tv_usec) * 1000 + kTimeoutGranularity;
  }
  if (deadline == deadline_) return;
  if (deadline_ == kForever) loop.CountDeadlines(1);
  if (deadline == kForever) loop.CountDeadlines(-1);
  deadline_ = deadline;
  if (deadline != kForever) loop.ScheduleTimer(*this, deadline);
}

// It has neither a handle nor output.
void CaresChannel::OnReady(Readiness /*ready*/) {}
void CaresChannel::OnWatchFailed(Error /*error*/) {}
void CaresChannel::OnFlush() {}

Nanoseconds CaresChannel::OnTimer(Nanoseconds now) {
  if (deadline_ > now) return deadline_;
  loop()->Due(*this, deadline_, loop()->NextDeadlineOrder(), 0);
  return kForever;
}

void CaresChannel::OnDue(uint8_t /*which*/) {
  // Something else may have moved it meanwhile.
  if (deadline_ > loop()->Now()) return;
  deadline_ = kForever;
  loop()->CountDeadlines(-1);
  Process(kNoHandle, kNoHandle);
}

void CaresChannel::NoticeRefusal(std::string_view message) {
  if (message.size() < 12) return;
  int rcode = message[3] & 0xf;
  if (rcode != kRcodeServerFailure && rcode != kRcodeNotImplemented &&
      rcode != kRcodeRefused) {
    return;
  }
  std::optional<DnsQuestion> asked = ReadDnsQuestion(message);
  if (!asked.has_value()) return;
  for (Question& question : questions_) {
    if (IsAbout(question, *asked)) question.refusal = rcode;
  }
}

void CaresChannel::Prepare(size_t server, std::string* query) {
  const Server& known = servers_[server];
  if (known.answers_edns || query->size() <= kAdditionalOffset) return;
  std::optional<DnsQuestion> asked = ReadDnsQuestion(*query);
  if (!asked.has_value()) return;
  Question* question = FindQuestion(*asked);
  if (question == nullptr) return;
  // The record of EDNS is the only one, and the last.
  char& additional = (*query)[kAdditionalOffset];
  Sent& sent = question->sent[server];
  if (additional == 1 &&
      (sent != Sent::kNotYet || known.answers_without >= kAnswersWithoutEdns)) {
    additional = 0;
    query->resize(asked->end);
  }
  sent = additional == 1 ? Sent::kWithEdns : Sent::kWithout;
}

void CaresChannel::NoticeAnswer(size_t server, std::string_view message) {
  Server& known = servers_[server];
  if (known.answers_edns) return;
  std::optional<DnsQuestion> asked = ReadDnsQuestion(message);
  if (!asked.has_value()) return;
  const Question* question = FindQuestion(*asked);
  if (question == nullptr) return;
  if (question->sent[server] == Sent::kWithEdns) {
    known.answers_edns = true;
  } else if (known.answers_without < kAnswersWithoutEdns) {
    ++known.answers_without;
  }
}

bool CaresChannel::IsAbout(const Question& question, const DnsQuestion& asked) {
  return asked.type == DnsType(question.family) && asked.name == question.name;
}

CaresChannel::Question* CaresChannel::FindQuestion(const DnsQuestion& asked) {
  auto found = std::find_if(
      questions_.begin(), questions_.end(),
      [&asked](const Question& one) { return IsAbout(one, asked); });
  return found == questions_.end() ? nullptr : &*found;
}

size_t CaresChannel::FindServer(const SocketAddress& address) const {
  auto found = std::find_if(
      servers_.begin(), servers_.end(), [&address](const Server& server) {
        return server.address.port() == address.port() &&
               server.address.family() == address.family() &&
               server.address.ip().ipv6() == address.ip().ipv6();
      });
  return static_cast<size_t>(found - servers_.begin());
}

bool CaresChannel::MayTakeFormatError() const {
  return std::none_of(sockets_.begin(), sockets_.end(),
                      [](const auto& socket) { return socket->has_queue(); });
}

CaresChannel::Socket* CaresChannel::Find(Handle handle) const {
  for (const std::unique_ptr<Socket>& socket : sockets_) {
    if (socket->handle() == handle) return socket.get();
  }
  return nullptr;
}

}  // namespace aios
