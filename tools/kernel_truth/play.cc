#include "tools/kernel_truth/play.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "tools/kernel_truth/cat.h"

namespace aios::kernel_truth {

namespace {

constexpr Nanoseconds kGuard = 10'000'000'000;

std::string Text(const Transfer& transfer) {
  return transfer.error.ok() ? Cat(transfer.count) : transfer.error.Name();
}

std::string_view Name(SocketOption option) {
  switch (option) {
    case SocketOption::kReuseAddress:
      return "reuse address";
    case SocketOption::kReusePort:
      return "reuse port";
    case SocketOption::kNoDelay:
      return "no delay";
    case SocketOption::kKeepAlive:
      return "keep alive";
    case SocketOption::kIpv6Only:
      return "IPv6 only";
    case SocketOption::kLinger:
      return "linger";
  }
  return "?";
}

std::string_view Name(Direction direction) {
  return direction == Direction::kInput    ? "input"
         : direction == Direction::kOutput ? "output"
                                           : "both";
}

}  // namespace

SocketAddress AnyAddress(Family family, uint16_t port) {
  return SocketAddress(IpAddress::Any(family), port);
}

SocketAddress LoopbackAddress(Family family, uint16_t port) {
  return SocketAddress(IpAddress::Loopback(family), port);
}

SocketAddress MappedAddress(uint16_t port) {
  return SocketAddress(IpAddress::Loopback(Family::kIpv4).ToIpv4Mapped(), port);
}

Play::Play(Lab& lab) : lab_(lab), kernel_(lab.kernel()) {
  Must(kernel_.NewPoller(&poller_), "a poller");
}

Play::~Play() { Clear(); }

void Play::Clear() {
  lab_.AllowHandles();
  for (const Actor& actor : actors_) {
    if (!actor.open) continue;
    // A reset leaves no connection that is remembered.
    if (actor.stream) {
      lab_.Reset(actor.handle);
    } else {
      kernel_.Close(actor.handle);
    }
  }
  actors_.clear();
}

void Play::Unseen(absl::FunctionRef<void()> scene) {
  auto begin = static_cast<std::ptrdiff_t>(steps_.size());
  scene();
  steps_.erase(
      std::remove_if(steps_.begin() + begin, steps_.end(),
                     [](const auto& step) { return !step.first.empty(); }),
      steps_.end());
}

std::string Play::TakeSince(size_t steps) {
  std::string record = Record(steps);
  steps_.resize(steps);
  return record;
}

// ---- The scene.

void Play::Must(Error error, std::string_view what) {
  if (!error.ok()) Say(Cat("CANNOT ", what, ": ", error.Name()));
}

bool Play::HasFamily(Family family) {
  if (family == Family::kIpv4) return true;
  // It may be compiled in, and yet without an address.
  Handle probe = kNoHandle;
  if (!kernel_.Open(SocketType::kDatagram, family, &probe).ok()) return false;
  bool has = kernel_.Bind(probe, LoopbackAddress(family)).ok();
  kernel_.Close(probe);
  return has;
}

Handle Play::Open(std::string_view name, SocketType type, Family family) {
  Handle handle = kNoHandle;
  if (!HasFamily(family)) lacks_family_ = true;
  Must(kernel_.Open(type, family, &handle), "open");
  actors_.push_back({.name = std::string(name),
                     .handle = handle,
                     .stream = type == SocketType::kStream});
  return handle;
}

Handle Play::Stream(std::string_view name, Family family) {
  return Open(name, SocketType::kStream, family);
}

Handle Play::Datagram(std::string_view name, Family family) {
  return Open(name, SocketType::kDatagram, family);
}

Handle Play::BoundStream(std::string_view name, Family family) {
  Handle handle = Stream(name, family);
  Must(kernel_.Bind(handle, LoopbackAddress(family)), "bind");
  return handle;
}

Handle Play::BoundDatagram(std::string_view name, Family family) {
  Handle handle = Datagram(name, family);
  Must(kernel_.Bind(handle, LoopbackAddress(family)), "bind");
  return handle;
}

Handle Play::Listener(std::string_view name, Family family, int backlog) {
  Handle handle = BoundStream(name, family);
  Must(kernel_.Listen(handle, backlog), "listen");
  return handle;
}

Play::Pair Play::Connected(Family family) {
  Handle listener = Listener("listener", family);
  Pair pair;
  pair.client = Client(listener);
  pair.server = Accepted(listener);
  Drop(listener);
  return pair;
}

Handle Play::Client(Handle listener, std::string_view name) {
  SocketAddress address = At(listener);
  Handle client = Stream(name, address.family());
  MustConnect(client, address);
  return client;
}

Handle Play::Accepted(Handle listener, std::string_view name) {
  Handle handle = kNoHandle;
  if (!Await(listener, kReadable)) Must(Error(ETIMEDOUT), "accept");
  Must(kernel_.Accept(listener, &handle), "accept");
  actors_.push_back(
      {.name = std::string(name), .handle = handle, .stream = true});
  return handle;
}

SocketAddress Play::NobodysStreamAddress() {
  // The port stays taken, so that nobody else comes to listen there.
  return At(BoundStream("nobody"));
}

SocketAddress Play::NobodysDatagramAddress() {
  // It takes nothing but from itself.
  Handle nobody = BoundDatagram("nobody");
  SocketAddress address = At(nobody);
  MustConnect(nobody, address);
  return address;
}

uint16_t Play::FreePort() {
  Family family = HasFamily(Family::kIpv6) ? Family::kIpv6 : Family::kIpv4;
  for (int i = 0; i < 100; ++i) {
    Handle stream = kNoHandle;
    Handle datagram = kNoHandle;
    Must(kernel_.Open(SocketType::kStream, family, &stream), "open");
    Must(kernel_.Open(SocketType::kDatagram, family, &datagram), "open");
    Must(kernel_.Bind(stream, AnyAddress(family)), "bind");
    uint16_t port = At(stream).port();
    bool free = kernel_.Bind(datagram, AnyAddress(family, port)).ok();
    kernel_.Close(stream);
    kernel_.Close(datagram);
    if (free) return port;
  }
  Say("CANNOT find a free port");
  return 0;
}

SocketAddress Play::At(Handle handle) {
  SocketAddress address;
  Must(kernel_.LocalAddress(handle, &address), "tell the address");
  if (address.ip().is_any()) {
    return LoopbackAddress(address.family(), address.port());
  }
  return address;
}

void Play::On(Handle handle, SocketOption option) {
  Must(kernel_.SetOption(handle, option, true), "set an option");
}

void Play::MustConnect(Handle handle, const SocketAddress& address) {
  Error error = kernel_.Connect(handle, address);
  if (error == Error(EINPROGRESS)) {
    error =
        Await(handle, kWritable) ? kernel_.TakeError(handle) : Error(ETIMEDOUT);
  }
  Must(error, "connect");
  lab_.Settle();
}

void Play::Drop(Handle handle) {
  kernel_.Close(handle);
  Forget(handle);
}

Play::Actor* Play::Find(Handle handle) {
  // The last one: handles are used again.
  for (auto actor = actors_.rbegin(); actor != actors_.rend(); ++actor) {
    if (actor->handle == handle) return &*actor;
  }
  return nullptr;
}

void Play::Forget(Handle handle) {
  if (Actor* actor = Find(handle)) actor->open = false;
}

// ---- Calls.

void Play::Note(Handle handle, std::string_view step, std::string_view result) {
  Actor* actor = Find(handle);
  steps_.emplace_back(actor == nullptr ? "no socket" : actor->name,
                      Cat(step, " → ", result));
}

void Play::Say(std::string_view text) { steps_.emplace_back("", text); }

Error Play::Connect(Handle handle, const SocketAddress& address) {
  lab_.Settle();
  Error error = kernel_.Connect(handle, address);
  Note(handle, "connect", error.Name());
  return error;
}

Handle Play::Accept(Handle listener, std::string_view name) {
  lab_.Settle();
  Handle handle = kNoHandle;
  Error error = kernel_.Accept(listener, &handle);
  Note(listener, "accept", error.Name());
  if (error.ok()) {
    actors_.push_back(
        {.name = std::string(name), .handle = handle, .stream = true});
  }
  return handle;
}

Transfer Play::Receive(Handle handle, size_t size) {
  lab_.Settle();
  std::string room(size, '\0');
  Transfer transfer = kernel_.Receive(handle, {room.data(), size});
  std::string result;
  if (!transfer.error.ok()) {
    result = transfer.error.Name();
  } else if (transfer.count == 0) {
    result = "0 bytes";
  } else {
    result = Cat("\"", room.substr(0, transfer.count), "\"");
  }
  Note(handle, "receive", result);
  return transfer;
}

void Play::Peek(Handle handle) {
  lab_.Settle();
  Note(handle, "peek", kernel_truth::Text(kernel_.Peek(handle)));
}

void Play::Send(Handle handle, std::string_view bytes) {
  lab_.Settle();
  ConstBuffer buffer = {.data = bytes.data(), .size = bytes.size()};
  Note(handle, Cat("send \"", bytes, "\""),
       kernel_truth::Text(kernel_.Send(handle, {&buffer, 1})));
}

void Play::SendTo(Handle handle, const SocketAddress& target,
                  std::string_view payload) {
  lab_.Settle();
  OutgoingDatagram datagram = {{payload.data(), payload.size()}, &target};
  std::string what = payload.size() < 20 ? Cat("\"", payload, "\"")
                                         : Cat(payload.size(), " bytes");
  Transfer transfer = kernel_.SendDatagrams(handle, {&datagram, 1});
  Note(handle, Cat("send ", what, " to ", Text(target)), transfer.error.Name());
}

void Play::ReceiveFrom(Handle handle, size_t size, bool sender) {
  lab_.Settle();
  // What is not stored shows.
  std::string room(size, '?');
  IncomingDatagram datagram;
  Error error =
      kernel_.ReceiveDatagram(handle, {room.data(), size}, sender, &datagram);
  std::string result = error.Name();
  if (error.ok()) {
    result = datagram.size < 20 ? Cat("\"", room.substr(0, datagram.size), "\"")
                                : Cat(datagram.size, " bytes");
    if (datagram.truncated) result += ", truncated";
    if (sender) result += " from " + Text(datagram.sender);
  }
  Note(handle, "receive", result);
}

void Play::Shutdown(Handle handle, Direction direction) {
  lab_.Settle();
  Note(handle, Cat("shutdown ", Name(direction)),
       kernel_.Shutdown(handle, direction).Name());
}

void Play::TakeError(Handle handle) {
  lab_.Settle();
  Note(handle, "take error", kernel_.TakeError(handle).Name());
}

Error Play::Bind(Handle handle, const SocketAddress& address) {
  lab_.Settle();
  std::string where = Text(address);
  Error error = kernel_.Bind(handle, address);
  Note(handle, Cat("bind to ", where), error.Name());
  return error;
}

void Play::Listen(Handle handle, int backlog) {
  lab_.Settle();
  Note(handle, "listen", kernel_.Listen(handle, backlog).Name());
}

void Play::LocalAddress(Handle handle) {
  lab_.Settle();
  SocketAddress address;
  Error error = kernel_.LocalAddress(handle, &address);
  Note(handle, "local address", error.ok() ? Text(address) : error.Name());
}

void Play::Addresses(Handle handle) {
  LocalAddress(handle);
  SocketAddress address;
  Error error = kernel_.PeerAddress(handle, &address);
  Note(handle, "peer address", error.ok() ? Text(address) : error.Name());
}

void Play::Set(Handle handle, SocketOption option, bool on) {
  Note(handle, Cat("set ", Name(option), on ? " on" : " off"),
       kernel_.SetOption(handle, option, on).Name());
}

void Play::Get(Handle handle, SocketOption option) {
  bool on = false;
  Error error = kernel_.GetOption(handle, option, &on);
  Note(handle, Name(option), !error.ok() ? error.Name() : on ? "on" : "off");
}

void Play::Adopt(Handle handle) {
  lab_.Settle();
  SocketInfo info;
  Error error = kernel_.Adopt(handle, &info);
  std::string result = error.Name();
  if (error.ok()) {
    result = Cat(info.type == SocketType::kStream ? "stream" : "datagram",
                 info.family == Family::kIpv4 ? " IPv4" : " IPv6",
                 info.connected ? " connected" : "",
                 info.listening ? " listening" : "");
  }
  Note(handle, "adopt", result);
}

void Play::Close(Handle handle) {
  lab_.Settle();
  kernel_.Close(handle);
  Note(handle, "close", "done");
  Forget(handle);
}

void Play::Reset(Handle handle) {
  lab_.Settle();
  Note(handle, "close with reset", "done");
  lab_.Reset(handle);
  Forget(handle);
}

void Play::Ready(Handle handle, Readiness awaited, Readiness interest) {
  lab_.Settle();
  if (awaited != kNotReady && !Await(handle, awaited)) {
    Note(handle, "ready", Cat("never ", Text(awaited)));
    return;
  }
  lab_.Settle();
  std::string step = interest == kReadable   ? "ready when asked for read"
                     : interest == kWritable ? "ready when asked for write"
                                             : "ready";
  Note(handle, step, Text(ReadinessNow(handle, interest) & interest));
}

// ---- Parts.

bool Play::Await(Handle handle, Readiness awaited) {
  if (!kernel_.SetInterest(*poller_, handle, this, kNotReady, kBoth).ok()) {
    return false;
  }
  Nanoseconds deadline = kernel_.Now() + kGuard;
  std::array<Report, 1> reports;
  bool reported = false;
  // The other direction may be ready all the time, so it does not sleep for
  // ever; a kernel that simulates needs its time to go on.
  while (!reported && kernel_.Now() < deadline) {
    size_t count = kernel_.Wait(*poller_, reports, deadline - kernel_.Now());
    reported = count != 0 && (reports[0].ready & awaited) == awaited;
    if (!reported) lab_.Settle();
  }
  static_cast<void>(
      kernel_.SetInterest(*poller_, handle, this, kBoth, kNotReady));
  return reported;
}

Readiness Play::ReadinessNow(Handle handle, Readiness interest) {
  Error error =
      kernel_.SetInterest(*poller_, handle, this, kNotReady, interest);
  if (!error.ok()) {
    Must(error, "ask for readiness");
    return kNotReady;
  }
  std::array<Report, 1> reports;
  size_t count = kernel_.Wait(*poller_, reports, 0);
  static_cast<void>(
      kernel_.SetInterest(*poller_, handle, this, interest, kNotReady));
  return count == 0 ? kNotReady : reports[0].ready;
}

std::string Play::Text(Readiness readiness) {
  switch (readiness) {
    case kNotReady:
      return "none";
    case kReadable:
      return "read";
    case kWritable:
      return "write";
    default:
      return "read and write";
  }
}

std::string Play::Text(const SocketAddress& address) {
  std::string port = address.port() == 0 ? "0" : "other";
  for (const Actor& actor : actors_) {
    SocketAddress local;
    if (actor.open && address.port() != 0 &&
        kernel_.LocalAddress(actor.handle, &local).ok() &&
        local.port() == address.port()) {
      port = actor.name;
      break;
    }
  }
  std::string ip = address.ip().ToString();
  return Cat(address.ip().is_ipv6() ? "[" : "", ip,
             address.ip().is_ipv6() ? "]:" : ":", port);
}

size_t Play::Fill(Handle handle) {
  std::string bytes(65536, 'x');
  ConstBuffer buffer = {.data = bytes.data(), .size = bytes.size()};
  size_t total = 0;
  for (;;) {
    size_t before = total;
    for (;;) {
      Transfer transfer = kernel_.Send(handle, {&buffer, 1});
      if (!transfer.error.ok()) break;
      total += transfer.count;
    }
    if (total == before) return total;
    lab_.Settle();
  }
}

size_t Play::Drain(Handle handle, size_t size) {
  std::vector<char> room(65536);
  size_t total = 0;
  while (total < size) {
    lab_.Settle();
    Transfer transfer = kernel_.Receive(
        handle, {room.data(), std::min(room.size(), size - total)});
    if (transfer.count == 0) break;
    total += transfer.count;
  }
  return total;
}

std::string Play::Band(size_t number, size_t from, size_t to) {
  return number >= from && number <= to ? Cat(from, " to ", to) : Cat(number);
}

std::string Play::Record(size_t from) const {
  std::string record;
  const std::string* actor = nullptr;
  for (size_t i = from; i != steps_.size(); ++i) {
    const auto& [who, text] = steps_[i];
    if (actor != nullptr && *actor == who) {
      record += ", " + text;
    } else {
      record +=
          Cat(actor == nullptr ? "" : "; ", who, who.empty() ? "" : ": ", text);
    }
    actor = &who;
  }
  return record;
}

}  // namespace aios::kernel_truth
