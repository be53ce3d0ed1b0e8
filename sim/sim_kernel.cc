#include "sim/sim_kernel.h"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "sim/stream_check.h"

namespace aios::sim {

namespace {

constexpr Handle kFirstBase = 1'000'000;
// What a call that does not sleep takes, where nothing else lets time pass.
constexpr Nanoseconds kCallTime = 1'000;
// The longest that a wait is not interrupted where calls are interrupted.
constexpr Nanoseconds kSignalsMax = 1'000'000;
constexpr size_t kBacklogMax = 4096;
constexpr size_t kDatagramMaxOfIpv4 = 65507;
constexpr size_t kDatagramMaxOfIpv6 = 65527;
constexpr size_t kDatagramBytesMax = 212'992;
// Besides its bytes, as the real one accounts for its own structures.
constexpr size_t kDatagramCost = 768;
constexpr size_t kAll = std::numeric_limits<size_t>::max();
constexpr uint32_t kLoopbackInterface = 1;
constexpr uint32_t kInterface = 2;  // "eth0"
// Of the network that the hosts of a simulation have in common, 10/8.
constexpr uint32_t kBroadcastOfNetwork = 0x0AFFFFFF;
constexpr uint32_t kBroadcast = 0xFFFFFFFF;
constexpr uint32_t kBroadcastOfLoopback = 0x7FFFFFFF;

IpAddress Unmapped(const IpAddress& address) {
  return address.is_ipv4_mapped() ? IpAddress::FromIpv4(address.ipv4())
                                  : address;
}

bool IsMulticast(const IpAddress& address) {
  return address.is_ipv4() ? (address.ipv4() >> 28) == 14
                           : address.ipv6()[0] == 0xff;
}

// Addresses of IPv6 that say nothing without the interface.
bool NeedsZone(const IpAddress& address) {
  if (address.is_ipv4()) return false;
  IpAddress::Ipv6Bytes bytes = address.ipv6();
  if (bytes[0] == 0xfe) return (bytes[1] & 0xc0) == 0x80;
  int scope = bytes[1] & 0x0f;
  return bytes[0] == 0xff && (scope == 1 || scope == 2);
}

bool IsLoopback(const IpAddress& address) {
  return address.is_ipv4() ? (address.ipv4() >> 24) == 127
                           : address.is_loopback();
}

// An address to bind to.
struct Claim {
  IpAddress ip;
  bool ipv6_only;
};

Claim ClaimOf(const SimSocket& socket) {
  return {Unmapped(socket.local.ip()), socket.ipv6_only};
}

// Whether packets for one address may be meant for the other.
bool Overlap(const Claim& x, const Claim& y) {
  bool x_both = x.ip.is_ipv6() && x.ip.is_any() && !x.ipv6_only;
  bool y_both = y.ip.is_ipv6() && y.ip.is_any() && !y.ipv6_only;
  if (x.ip.family() != y.ip.family()) return x.ip.is_ipv4() ? y_both : x_both;
  return x.ip.is_any() || y.ip.is_any() || x.ip == y.ip;
}

bool Has(const SimSocket& socket, SocketOption option) {
  return socket.options[static_cast<size_t>(option)];
}

bool Has(const TcpEndpoint& endpoint, SocketOption option) {
  return endpoint.socket != nullptr
             ? Has(*endpoint.socket, option)
             : endpoint.options[static_cast<size_t>(option)];
}

// Whether a socket bound to `local` receives what is sent to `target`; more for
// a closer match, 0 for none.
int Match(const SimSocket& socket, const IpAddress& target) {
  IpAddress local = Unmapped(socket.local.ip());
  if (local == target) return 3;
  if (!local.is_any()) return 0;
  if (local.family() == target.family()) return 2;
  return local.is_ipv6() && !socket.ipv6_only ? 1 : 0;
}

}  // namespace

// ---- Pollers.

SimPoller::SimPoller(SimKernel& kernel, uint64_t id)
    : kernel_(&kernel), id_(id), entity_(id) {}

SimPoller::~SimPoller() {
  if (kernel_ == nullptr) return;
  for (const std::shared_ptr<SimSocket>& socket : kernel_->sockets_) {
    if (socket == nullptr) continue;
    std::erase_if(socket->watches, [this](const std::unique_ptr<Watch>& watch) {
      return watch->poller == this;
    });
  }
  kernel_->simulation_.Forget(*this);
  std::erase(kernel_->pollers_, this);
  --kernel_->open_;
}

void SimPoller::List(Watch& watch) {
  if (watch.listed) return;
  watch.listed = true;
  ready_.push_back(&watch);
}

void SimPoller::Unlist(Watch& watch) {
  if (!watch.listed) return;
  watch.listed = false;
  *std::find(ready_.begin(), ready_.end(), &watch) = nullptr;
}

bool SimPoller::AnyReady() {
  for (Watch*& watch : ready_) {
    if (watch == nullptr) continue;
    if ((kernel_->ReadinessOf(*watch->socket) & watch->interest) != 0) {
      return true;
    }
    watch->listed = false;
    watch = nullptr;
  }
  ready_.clear();
  return false;
}

void SimPoller::TurnAt(Nanoseconds time) {
  if (!turn_ || turn_at_ <= time) return;
  Simulation& simulation = kernel_->simulation_;
  if (turn_event_ != kNoEvent) simulation.events_.Remove(turn_event_);
  turn_at_ = time;
  simulation.Schedule(time, EventKind::kTurn, simulation.Tie(entity_), this,
                      &turn_event_);
}

Error SimKernel::NewPoller(std::unique_ptr<Poller>* poller) {
  if (!DescriptorLeft()) return Error(EMFILE);
  ++open_;
  auto own = std::make_unique<SimPoller>(*this, simulation_.next_subject_++);
  pollers_.push_back(own.get());
  simulation_.pollers_[own->id_] = own.get();
  *poller = std::move(own);
  return Error();
}

bool SimKernel::Drive(Poller& poller, absl::AnyInvocable<Nanoseconds()> turn) {
  auto& own = static_cast<SimPoller&>(poller);
  own.turn_ = std::move(turn);
  own.TurnAt(simulation_.now_);
  return true;
}

Watch* SimKernel::FindWatch(const SimPoller& poller, SimSocket& socket,
                            Handle handle) {
  for (const std::unique_ptr<Watch>& watch : socket.watches) {
    if (watch->poller == &poller && watch->handle == handle) return watch.get();
  }
  return nullptr;
}

void SimKernel::RemoveWatch(Watch& watch) {
  watch.poller->Unlist(watch);
  std::erase_if(watch.socket->watches,
                [&](const std::unique_ptr<Watch>& other) {
                  return other.get() == &watch;
                });
}

Error SimKernel::SetInterest(Poller& poller, Handle handle, void* token,
                             Readiness from, Readiness to) {
  auto& own = static_cast<SimPoller&>(poller);
  SimSocket* socket = Find(handle);
  if (socket == nullptr || own.kernel_ == nullptr) {
    oracle().OnHandleGone(handle);
    return to == kNotReady ? Error() : Error(EBADF);
  }
  simulation_.trace_.Add(simulation_.now_, What::kInterest, host_.index_,
                         socket->id, from, to);
  oracle().OnInterest(handle, poller, token, to);
  Watch* watch = FindWatch(own, *socket, handle);
  if (to == kNotReady) {
    if (watch != nullptr) RemoveWatch(*watch);
    return Error();
  }
  if (watch == nullptr) {
    socket->watches.emplace_back(new Watch{&own, socket, handle});
    watch = socket->watches.back().get();
  }
  watch->token = token;
  watch->interest = to;
  if ((ReadinessOf(*socket) & to) != 0) {
    own.List(*watch);
    if (!own.in_turn_) own.TurnAt(simulation_.now_);
  }
  return Error();
}

void SimKernel::Wake(Poller& poller) {
  auto& own = static_cast<SimPoller&>(poller);
  if (own.kernel_ == nullptr) return;
  if (!own.woken_) {
    simulation_.trace_.Add(simulation_.now_, What::kWake, host_.index_,
                           own.id_);
  }
  own.woken_ = true;
  if (!own.in_turn_) own.TurnAt(simulation_.now_);
}

void SimKernel::Sleep(SimPoller& poller, Nanoseconds timeout) {
  // A program that never sleeps sees time pass all the same.
  Nanoseconds length = std::max<Nanoseconds>(timeout, kCallTime);
  if (poller.woken_ || poller.AnyReady()) {
    length = kCallTime;
  } else if (timeout > kCallTime &&
             simulation_.choices_.Chance(Site::kInterrupt, poller.entity_,
                                         Rate(&FaultRates::interrupt))) {
    // By a signal.
    length = 1 + static_cast<Nanoseconds>(simulation_.choices_.Below(
                     Site::kInterruptTime, poller.entity_,
                     static_cast<uint64_t>(std::min(timeout, kSignalsMax))));
    simulation_.CountFault(Fault::kInterrupt, length < timeout);
  }
  Nanoseconds deadline = DeadlineAfter(simulation_.now_, length);
  poller.in_wait_ = true;
  if (poller.woken_ || poller.AnyReady()) {
    simulation_.SleepUntil(deadline, [] { return false; });
  } else {
    simulation_.SleepUntil(deadline, [&] {
      return poller.kernel_ == nullptr || poller.woken_ || poller.AnyReady();
    });
  }
  poller.in_wait_ = false;
}

size_t SimKernel::Wait(Poller& poller, std::span<Report> reports,
                       Nanoseconds timeout) {
  auto& own = static_cast<SimPoller&>(poller);
  if (own.kernel_ == nullptr) {
    // Of a life that a crash has ended: nothing happens any more.
    simulation_.SleepUntil(DeadlineAfter(simulation_.now_, timeout),
                           [] { return false; });
    return 0;
  }
  if (!own.in_turn_) {
    if (timeout > 0 && !own.woken_ && !own.AnyReady()) TellSleep(own, timeout);
    Sleep(own, timeout);
    if (own.kernel_ == nullptr) return 0;
  }
  own.woken_ = false;
  size_t count = 0;
  if (own.AnyReady()) count = TakeReports(own, reports);
  if (count < reports.size()) count += SpuriousReport(own, reports, count);
  simulation_.trace_.Add(simulation_.now_, What::kWait, host_.index_, own.id_,
                         count);
  oracle().OnReports(own, reports.first(count));
  return count;
}

void SimKernel::TellSleep(SimPoller& poller, Nanoseconds length) {
  oracle().OnSleep(poller, length, [&](Handle handle) {
    SimSocket* socket = Find(handle);
    Watch* watch =
        socket != nullptr ? FindWatch(poller, *socket, handle) : nullptr;
    return watch != nullptr ? watch->interest : kNotReady;
  });
}

size_t SimKernel::TakeReports(SimPoller& poller, std::span<Report> reports) {
  Choices& choices = simulation_.choices_;
  std::vector<Watch*> ready;
  ready.swap(poller.ready_);
  std::erase(ready, nullptr);
  size_t room = reports.size();
  bool shuffle = simulation_.options_.shuffle && ready.size() > 1;
  // Mostly all of them, sometimes only some.
  if (shuffle && choices.Below(Site::kBatchSize, poller.entity_, 4) == 0) {
    room = std::min<size_t>(
        room,
        1 + choices.Below(Site::kBatchSize, poller.entity_, ready.size()));
  }
  size_t count = 0;
  size_t looked_at = 0;
  for (; looked_at != ready.size() && count != room; ++looked_at) {
    Watch& watch = *ready[looked_at];
    Readiness readiness = ReadinessOf(*watch.socket) & watch.interest;
    if (readiness == kNotReady) {
      watch.listed = false;
      continue;
    }
    ready[count] = &watch;
    reports[count++] = {.token = watch.token, .ready = readiness};
    simulation_.trace_.Add(simulation_.now_, What::kReport, host_.index_,
                           watch.socket->id, readiness);
  }
  // Behind those that have not had their turn yet.
  poller.ready_.assign(ready.begin() + static_cast<ptrdiff_t>(looked_at),
                       ready.end());
  poller.ready_.insert(poller.ready_.end(), ready.begin(),
                       ready.begin() + static_cast<ptrdiff_t>(count));
  if (shuffle) {
    for (size_t i = count; i > 1; --i) {
      std::swap(reports[i - 1],
                reports[choices.Below(Site::kBatchOrder, poller.entity_, i)]);
    }
  }
  return count;
}

size_t SimKernel::SpuriousReport(SimPoller& poller, std::span<Report> reports,
                                 size_t count) {
  Choices& choices = simulation_.choices_;
  if (sockets_.empty() || !choices.Chance(Site::kSpurious, poller.entity_,
                                          Rate(&FaultRates::spurious))) {
    return 0;
  }
  SimSocket* socket =
      sockets_[choices.Below(Site::kSpurious, poller.entity_, sockets_.size())]
          .get();
  if (socket == nullptr) return 0;
  for (const std::unique_ptr<Watch>& watch : socket->watches) {
    if (watch->poller != &poller) continue;
    if (std::any_of(reports.begin(),
                    reports.begin() + static_cast<ptrdiff_t>(count),
                    [&](const Report& r) { return r.token == watch->token; })) {
      return 0;
    }
    reports[count] = {.token = watch->token, .ready = watch->interest};
    simulation_.trace_.Add(simulation_.now_, What::kReport, host_.index_,
                           socket->id, watch->interest);
    simulation_.CountFault(
        Fault::kSpurious,
        (ReadinessOf(*socket) & watch->interest) != watch->interest);
    return 1;
  }
  return 0;
}

Readiness SimKernel::ReadinessOf(const SimSocket& socket) const {
  Readiness readiness = kNotReady;
  if (!socket.error.ok()) return kReadable | kWritable;
  if (socket.type == SocketType::kDatagram) {
    readiness = kWritable;
    if (!socket.datagrams.empty() || socket.input_shut) readiness |= kReadable;
    return readiness;
  }
  if (socket.listening) {
    return socket.accept_queue.empty() ? kNotReady : kReadable;
  }
  // As Linux says of a stream that was never connected: hung up.
  if (socket.tcp == nullptr) return kReadable | kWritable;
  if (socket.tcp->readable()) readiness |= kReadable;
  if (socket.tcp->writable()) readiness |= kWritable;
  return readiness;
}

void SimKernel::Notify(SimSocket& socket) {
  if (socket.watches.empty()) return;
  Readiness readiness = ReadinessOf(socket);
  for (const std::unique_ptr<Watch>& watch : socket.watches) {
    if ((readiness & watch->interest) == 0) continue;
    SimPoller& poller = *watch->poller;
    poller.List(*watch);
    if (!poller.in_turn_) poller.TurnAt(simulation_.now_);
  }
}

// ---- Handles.

SimKernel::SimKernel(Host& host)
    : host_(host),
      simulation_(host.simulation_),
      entity_(simulation_.next_subject_++),
      base_(kFirstBase) {
  NewOracle();
}

void SimKernel::NewOracle() {
  oracles_.push_back(std::make_unique<Oracle>(
      simulation_.trace_, simulation_.now_, host_.index_,
      simulation_.violations_, simulation_.recording_));
}

SimKernel::~SimKernel() {
  for (SimPoller* poller : pollers_) poller->kernel_ = nullptr;
}

SimSocket* SimKernel::Find(Handle handle) {
  auto place = static_cast<int64_t>(handle) - base_;
  if (place < 0 || place >= static_cast<int64_t>(sockets_.size())) {
    return nullptr;
  }
  return sockets_[static_cast<size_t>(place)].get();
}

SimSocket* SimKernel::FindOfType(Handle handle, SocketType type, Error* error) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) {
    *error = Error(EBADF);
  } else if (socket->type != type) {
    *error = Error(EOPNOTSUPP);
    return nullptr;
  }
  return socket;
}

bool SimKernel::DescriptorLeft() const {
  return host_.up_ && open_ < host_.options_.descriptors_max;
}

uint32_t SimKernel::Rate(uint32_t FaultRates::*fault) const {
  return host_.options_.faulty_calls ? simulation_.options_.faults.*fault : 0;
}

SimSocket& SimKernel::NewSocket(SocketType type, Family family,
                                Handle* handle) {
  auto socket = std::make_shared<SimSocket>(simulation_.next_subject_++);
  socket->type = type;
  socket->family = family;
  socket->local = SocketAddress(IpAddress::Any(family), 0);
  SimSocket& made = *socket;
  *handle = NewHandle(std::move(socket));
  return made;
}

Handle SimKernel::NewHandle(std::shared_ptr<SimSocket> socket) {
  ++open_;
  ++socket->handles;
  // The lowest number that is free, as POSIX demands: reuse comes at once.
  size_t place = sockets_.size();
  if (!free_.empty()) {
    place = *free_.begin();
    free_.erase(free_.begin());
  } else {
    sockets_.emplace_back();
  }
  sockets_[place] = std::move(socket);
  return base_ + static_cast<Handle>(place);
}

void SimKernel::FreeHandle(Handle handle) {
  auto place = static_cast<size_t>(handle - base_);
  std::shared_ptr<SimSocket> socket = std::move(sockets_[place]);
  sockets_[place] = nullptr;
  free_.insert(place);
  --open_;
  if (--socket->handles != 0) return;
  while (!socket->watches.empty()) RemoveWatch(*socket->watches.back());
  LeavePort(*socket);
}

Error SimKernel::Log(What what, const SimSocket& socket, Error error,
                     uint64_t b) {
  simulation_.trace_.Add(simulation_.now_, what, host_.index_, socket.id,
                         static_cast<uint64_t>(error.code()), b);
  return error;
}

Transfer SimKernel::Log(What what, const SimSocket& socket, Transfer transfer,
                        uint64_t b) {
  uint64_t result = transfer.error.ok()
                        ? transfer.count
                        : ~static_cast<uint64_t>(transfer.error.code());
  simulation_.trace_.Add(simulation_.now_, what, host_.index_, socket.id,
                         result, b);
  return transfer;
}

bool SimKernel::InjectedError(SimSocket& socket,
                              std::initializer_list<int> codes, Error* error) {
  Choices& choices = simulation_.choices_;
  if (!choices.Chance(Site::kErrno, socket.entity, Rate(&FaultRates::error))) {
    return false;
  }
  *error = Error(codes.begin()[choices.Below(Site::kErrnoValue, socket.entity,
                                             codes.size())]);
  simulation_.CountFault(Fault::kErrno, true);
  return true;
}

bool SimKernel::WouldBlock(SimSocket& socket, bool would_succeed) {
  if (!simulation_.choices_.Chance(Site::kWouldBlock, socket.entity,
                                   Rate(&FaultRates::would_block))) {
    return false;
  }
  simulation_.CountFault(Fault::kWouldBlock, would_succeed);
  return true;
}

Error SimKernel::Open(SocketType type, Family family, Handle* handle) {
  if (!DescriptorLeft()) return Error(EMFILE);
  SimSocket& socket = NewSocket(type, family, handle);
  return Log(What::kOpen, socket, Error(), static_cast<uint64_t>(type));
}

Error SimKernel::Adopt(Handle handle, SocketInfo* info) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  if (!socket->foreign.ok()) {
    return Log(What::kAdopt, *socket, socket->foreign);
  }
  SocketAddress peer;
  socket->adopted_as_nonblocking = !socket->blocking;
  socket->blocking = false;
  info->type = socket->type;
  info->family = socket->family;
  info->listening = socket->listening;
  info->connected = PeerAddress(handle, &peer).ok();
  return Log(What::kAdopt, *socket, Error());
}

void SimKernel::Release(Handle handle) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return;
  oracle().OnHandleGone(handle);
  socket->blocking = !std::exchange(socket->adopted_as_nonblocking, false);
  Log(What::kRelease, *socket, Error());
}

void SimKernel::Close(Handle handle) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return;
  oracle().OnHandleGone(handle);
  Log(What::kClose, *socket, Error());
  if (socket->handles != 1) {
    FreeHandle(handle);
    return;
  }
  if (socket->listening) {
    StopListening(*socket);
  } else if (socket->tcp != nullptr) {
    socket->tcp->options = socket->options;
    socket->tcp->Close();
  }
  FreeHandle(handle);
}

void SimKernel::StopListening(SimSocket& listener) {
  listener.listening = false;
  listener.accept_queue.clear();
  listener.handshakes = 0;
  // Those in its queue, and on their way into it, are turned away.
  std::vector<TcpEndpoint*> waiting;
  for (const auto& [id, endpoint] : endpoints_) {
    if (endpoint->listener == &listener) waiting.push_back(endpoint.get());
  }
  for (TcpEndpoint* endpoint : waiting) {
    endpoint->listener = nullptr;
    endpoint->Reset();
  }
}

void SimKernel::Disconnect(SimSocket& socket) {
  socket.connecting = false;
  std::exchange(socket.tcp, nullptr)->Close();
  OnEnded(socket);
  if (!socket.address_given) {
    socket.local =
        SocketAddress(IpAddress::Any(socket.family), socket.local.port());
  }
}

void SimKernel::OnEnded(SimSocket& socket) {
  if (!socket.port_given) LeavePort(socket);
}

Error SimKernel::SetOption(Handle handle, SocketOption option, bool on) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  if (option == SocketOption::kLinger && on) return Error(EINVAL);
  if (option == SocketOption::kIpv6Only) {
    if (socket->family != Family::kIpv6) return Error(ENOPROTOOPT);
    if (socket->bound) return Error(EINVAL);
    socket->ipv6_only = on;
  } else if (option == SocketOption::kNoDelay &&
             socket->type != SocketType::kStream) {
    return Error(ENOPROTOOPT);
  }
  socket->options[static_cast<size_t>(option)] = on;
  if (option == SocketOption::kKeepAlive && socket->tcp != nullptr) {
    socket->tcp->EnableKeepAlive(on);
  }
  return Log(What::kSetOption, *socket, Error(),
             static_cast<uint64_t>(option) * 2 + (on ? 1 : 0));
}

Error SimKernel::GetOption(Handle handle, SocketOption option, bool* on) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  bool ipv4 = socket->family == Family::kIpv4;
  if (option == SocketOption::kIpv6Only && ipv4) return Error(EOPNOTSUPP);
  if (option == SocketOption::kNoDelay && socket->type != SocketType::kStream) {
    return Error(ipv4 ? EOPNOTSUPP : ENOPROTOOPT);
  }
  *on = option == SocketOption::kIpv6Only
            ? socket->ipv6_only
            : socket->options[static_cast<size_t>(option)];
  return Error();
}

// ---- Addresses and ports.

uint32_t SimKernel::InterfaceIndex(std::string_view name) {
  if (name == "lo") return kLoopbackInterface;
  if (name == "eth0") return kInterface;
  return 0;
}

bool SimKernel::IsLocal(const IpAddress& address) const {
  if (address.is_any() || IsLoopback(address)) return true;
  if (address == host_.ipv4_ || address == host_.ipv6_ ||
      address == host_.link_local_) {
    return true;
  }
  const std::vector<IpAddress>& more = host_.options_.addresses;
  return std::find(more.begin(), more.end(), address) != more.end();
}

SocketAddress SimKernel::ToFamily(const SimSocket& socket,
                                  const SocketAddress& address) const {
  if (socket.family == address.family()) return address;
  // The unspecified address of a socket for both shows as its own.
  if (address.ip().is_any()) {
    return SocketAddress(IpAddress::Any(socket.family), address.port());
  }
  return SocketAddress(address.ip().ToIpv4Mapped(), address.port());
}

IpAddress SimKernel::SourceFor(const IpAddress& target) const {
  if (IsLoopback(target)) return IpAddress::Loopback(target.family());
  if (IsLocal(target)) return target;
  if (target.is_ipv4()) return host_.ipv4_;
  // The one whose reach is that of the target.
  IpAddress::Ipv6Bytes bytes = target.ipv6();
  bool near = NeedsZone(target) || (bytes[0] == 0xff && (bytes[1] & 15) == 0);
  if (!near) return host_.ipv6_;
  // It shows the zone that it was asked for.
  return IpAddress::FromIpv6(host_.link_local_.ipv6(), target.scope());
}

bool SimKernel::IsBroadcast(const IpAddress& address) const {
  return address.is_ipv4() && (address.ipv4() == kBroadcast ||
                               address.ipv4() == kBroadcastOfNetwork ||
                               address.ipv4() == kBroadcastOfLoopback);
}

Error SimKernel::FindWay(const SimSocket& socket, const IpAddress& address,
                         Purpose purpose, Way* way) const {
  IpAddress target = Unmapped(address);
  // Where it is bound to; an address of many is none to send from.
  IpAddress bound = Unmapped(socket.local.ip());
  bool chosen = bound.is_any() || IsMulticast(bound) || IsBroadcast(bound);
  if (socket.family == Family::kIpv6 && target.is_ipv4() &&
      (socket.ipv6_only || (!bound.is_any() && bound.is_ipv6()))) {
    return Error(ENETUNREACH);
  }
  // "Any" is oneself.
  if (target.is_any()) {
    bool own = bound.is_ipv4() && !chosen;
    target = own ? bound : IpAddress::Loopback(target.family());
  }
  if (target.is_ipv6()) {
    if (purpose == Purpose::kConnectStream && IsMulticast(target)) {
      return Error(ENETUNREACH);
    }
    uint32_t zone = NeedsZone(target) ? target.scope() : 0;
    if (zone != 0 && socket.zone != 0 && zone != socket.zone) {
      return Error(purpose == Purpose::kSend ? ENETUNREACH : EINVAL);
    }
    if (zone == 0) zone = socket.zone;
    if (NeedsZone(target)) {
      if (zone == 0 && purpose != Purpose::kSend) return Error(EINVAL);
      // A program that only sends is given the one interface that there is.
      if (zone == 0) zone = kInterface;
      if (zone != kInterface) return Error(ENETUNREACH);
    }
    if (bound.is_ipv4() && !bound.is_any()) return Error(EAFNOSUPPORT);
    target = IpAddress::FromIpv6(target.ipv6(), NeedsZone(target) ? zone : 0);
  }
  way->source = chosen ? SourceFor(target) : bound;
  way->target = target;
  way->host = simulation_.HostFor(host_, target);
  if (target.is_ipv6()) {
    // What comes from ::1 is taken by loopback alone, but for datagrams to
    // oneself; what is sent to ::1 over the other interface is taken by nobody.
    bool oneself = purpose != Purpose::kConnectStream && IsLocal(target) &&
                   !NeedsZone(target);
    if (IsLoopback(target) ? socket.zone == kInterface
                           : IsLoopback(way->source) && !oneself) {
      way->host = Simulation::kNowhere;
    }
    return Error();
  }
  if (IsLoopback(way->source) && !IsLocal(target) && !IsMulticast(target) &&
      target.ipv4() != kBroadcast) {
    return Error(EINVAL);
  }
  if (purpose == Purpose::kConnectStream) {
    return IsMulticast(target) || IsBroadcast(target) ? Error(ENETUNREACH)
                                                      : Error();
  }
  return IsBroadcast(target) ? Error(EACCES) : Error();
}

bool SimKernel::PortTaken(const SimSocket& socket,
                          const SocketAddress& address) const {
  Claim wanted{Unmapped(address.ip()), socket.ipv6_only};
  bool reuse = Has(socket, SocketOption::kReuseAddress);
  bool share = Has(socket, SocketOption::kReusePort);
  auto found = bound_.find({socket.type, address.port()});
  if (found != bound_.end()) {
    for (const SimSocket* other : found->second) {
      if (other == &socket || !Overlap(wanted, ClaimOf(*other))) continue;
      if (share && Has(*other, SocketOption::kReusePort)) continue;
      if (reuse && Has(*other, SocketOption::kReuseAddress) &&
          !other->listening) {
        continue;
      }
      return true;
    }
  }
  if (socket.type != SocketType::kStream) return false;
  // Connections whose sockets are gone, or came from a listener.
  for (auto place = connections_.lower_bound({address.port(), 0, {}, {}});
       place != connections_.end() &&
       std::get<0>(place->first) == address.port();
       ++place) {
    const TcpEndpoint& endpoint = *place->second;
    if (!Overlap(wanted, {endpoint.local().ip(), false})) continue;
    if (reuse && Has(endpoint, SocketOption::kReuseAddress)) continue;
    if (share && Has(endpoint, SocketOption::kReusePort)) continue;
    return true;
  }
  return false;
}

Error SimKernel::Bind(Handle handle, const SocketAddress& address) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  if (socket->bound || (socket->tcp != nullptr && !socket->tcp->ended())) {
    return Log(What::kBind, *socket, Error(EINVAL));
  }
  if (address.family() != socket->family) {
    return Log(What::kBind, *socket,
               Error(socket->family == Family::kIpv6 ? EINVAL : EAFNOSUPPORT));
  }
  if (socket->ipv6_only && address.ip().is_ipv4_mapped()) {
    return Log(What::kBind, *socket, Error(EINVAL));
  }
  IpAddress ip = Unmapped(address.ip());
  if (ip.is_ipv6()) {
    if (IsMulticast(ip) && socket->type == SocketType::kStream) {
      return Log(What::kBind, *socket, Error(EINVAL));
    }
    if (NeedsZone(ip)) {
      if (ip.scope() == 0) return Log(What::kBind, *socket, Error(EINVAL));
      if (ip.scope() != kLoopbackInterface && ip.scope() != kInterface) {
        return Log(What::kBind, *socket, Error(ENODEV));
      }
    } else {
      ip = IpAddress::FromIpv6(ip.ipv6());
    }
  }
  if (!IsLocal(ip) && !IsMulticast(ip) && !IsBroadcast(ip)) {
    return Log(What::kBind, *socket, Error(EADDRNOTAVAIL));
  }
  SocketAddress wanted(address.family() == ip.family() ? ip : ip.ToIpv4Mapped(),
                       address.port());
  Error error;
  if (wanted.port() == 0) {
    error = BindEphemeral(*socket, wanted.ip(), nullptr);
  } else if (PortTaken(*socket, wanted)) {
    error = Error(EADDRINUSE);
  } else {
    BindTo(*socket, wanted);
  }
  if (!error.ok()) return Log(What::kBind, *socket, error);
  socket->address_given = !ip.is_any();
  socket->port_given = wanted.port() != 0;
  socket->zone = NeedsZone(ip) ? ip.scope() : 0;
  return Log(What::kBind, *socket, Error(), wanted.port());
}

void SimKernel::BindTo(SimSocket& socket, const SocketAddress& address) {
  socket.bound = true;
  socket.local = address;
  bound_[{socket.type, address.port()}].push_back(&socket);
}

void SimKernel::LeavePort(SimSocket& socket) {
  if (!std::exchange(socket.bound, false)) return;
  socket.bound_by_connect = false;
  auto found = bound_.find({socket.type, socket.local.port()});
  std::erase(found->second, &socket);
  if (found->second.empty()) bound_.erase(found);
}

Error SimKernel::BindEphemeral(SimSocket& socket, const IpAddress& address,
                               const SocketAddress* remote) {
  const HostOptions& options = host_.options_;
  uint32_t count =
      options.ephemeral_port_last - options.ephemeral_port_first + 1;
  uint64_t start =
      simulation_.choices_.Below(Site::kEphemeralPort, entity_, count);
  Claim wanted{Unmapped(address), socket.ipv6_only};
  for (uint32_t i = 0; i != count; ++i) {
    auto port = static_cast<uint16_t>(options.ephemeral_port_first +
                                      (start + i) % count);
    SocketAddress candidate(address, port);
    auto found = bound_.find({socket.type, port});
    if (found != bound_.end() &&
        std::any_of(found->second.begin(), found->second.end(),
                    [&](const SimSocket* other) {
                      // A connection needs the port to that peer only.
                      return Overlap(wanted, ClaimOf(*other)) &&
                             !(remote != nullptr && other->bound_by_connect);
                    })) {
      continue;
    }
    if (remote != nullptr) {
      if (connections_.count(KeyOf({Unmapped(address), port}, *remote)) != 0) {
        continue;
      }
    } else if (socket.type == SocketType::kStream &&
               PortTaken(socket, candidate)) {
      continue;
    }
    BindTo(socket, candidate);
    socket.bound_by_connect = remote != nullptr;
    return Error();
  }
  simulation_.CountFault(Fault::kPortExhaustion, true);
  return Error(remote != nullptr ? EADDRNOTAVAIL : EADDRINUSE);
}

SimKernel::ConnectionKey SimKernel::KeyOf(const SocketAddress& local,
                                          const SocketAddress& remote) {
  return {local.port(), remote.port(), local.ip().ipv6(), remote.ip().ipv6()};
}

SimSocket* SimKernel::FindListener(const SocketAddress& target) {
  auto found = bound_.find({SocketType::kStream, target.port()});
  if (found == bound_.end()) return nullptr;
  std::vector<SimSocket*> best;
  int best_match = 1;
  for (SimSocket* socket : found->second) {
    if (!socket->listening) continue;
    int match = Match(*socket, target.ip());
    if (match < best_match) continue;
    if (match > best_match) best.clear();
    best_match = match;
    best.push_back(socket);
  }
  if (best.empty()) return nullptr;
  // Several share the port: each its part of the connections.
  return best[next_share_++ % best.size()];
}

SimSocket* SimKernel::FindBound(SocketType type, const SocketAddress& target,
                                const SocketAddress& source) {
  auto found = bound_.find({type, target.port()});
  if (found == bound_.end()) return nullptr;
  std::vector<SimSocket*> best;
  int best_match = 1;
  for (SimSocket* socket : found->second) {
    int match = Match(*socket, target.ip());
    if (socket->connected) {
      if (match == 0 || !(socket->peer == source)) continue;
      match += 4;
    }
    if (match < best_match) continue;
    // The latest, unless all of them share the port.
    if (match > best_match || !Has(*socket, SocketOption::kReusePort)) {
      best.clear();
    }
    best_match = match;
    best.push_back(socket);
  }
  if (best.empty()) return nullptr;
  // To the same one for the same sender.
  return best[source.port() % best.size()];
}

Error SimKernel::LocalAddress(Handle handle, SocketAddress* address) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  *address = ToFamily(*socket, socket->local);
  return Error();
}

Error SimKernel::PeerAddress(Handle handle, SocketAddress* address) {
  Error error = PeerAddressNow(handle, address);
  oracle().OnPeerAddress(handle, error);
  return error;
}

Error SimKernel::PeerAddressNow(Handle handle, SocketAddress* address) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  if (socket->type == SocketType::kDatagram) {
    if (!socket->connected || socket->peer.port() == 0) return Error(ENOTCONN);
    *address = ToFamily(*socket, socket->peer);
    return Error();
  }
  if (socket->tcp == nullptr || !socket->tcp->connected()) {
    return Error(ENOTCONN);
  }
  *address = ToFamily(*socket, socket->tcp->remote());
  return Error();
}

// ---- Connections.

Error SimKernel::Listen(Handle handle, int backlog) {
  Error error;
  SimSocket* socket = FindOfType(handle, SocketType::kStream, &error);
  if (socket == nullptr) return error;
  if (socket->tcp != nullptr || socket->stuck) {
    return Log(What::kListen, *socket, Error(EINVAL));
  }
  if (!socket->bound) {
    error = BindEphemeral(*socket, socket->local.ip(), nullptr);
    if (!error.ok()) return Log(What::kListen, *socket, error);
  }
  // Two that were bound with kReuseAddress cannot both listen.
  for (const SimSocket* other :
       bound_[{SocketType::kStream, socket->local.port()}]) {
    if (other != socket && other->listening &&
        Overlap(ClaimOf(*socket), ClaimOf(*other)) &&
        !(Has(*socket, SocketOption::kReusePort) &&
          Has(*other, SocketOption::kReusePort))) {
      return Log(What::kListen, *socket, Error(EADDRINUSE));
    }
  }
  socket->listening = true;
  socket->backlog =
      backlog <= 0
          ? kBacklogMax
          : std::min<size_t>(static_cast<size_t>(backlog), kBacklogMax);
  return Log(What::kListen, *socket, Error(), socket->backlog);
}

Error SimKernel::Connect(Handle handle, const SocketAddress& address) {
  Error error = ConnectNow(handle, address);
  oracle().OnConnect(handle, error);
  return error;
}

Error SimKernel::ConnectNow(Handle handle, const SocketAddress& address) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  Error error;
  if (socket->type == SocketType::kDatagram && !socket->bound) {
    error = BindEphemeral(*socket, IpAddress::Any(socket->family), nullptr);
    if (!error.ok()) return Log(What::kConnect, *socket, Error(EAGAIN));
  }
  Way way;
  if (socket->type == SocketType::kDatagram) {
    if (socket->family == Family::kIpv4 && address.ip().is_ipv6()) {
      return Log(What::kConnect, *socket, Error(EAFNOSUPPORT));
    }
    error = FindWay(*socket, address.ip(), Purpose::kConnectDatagram, &way);
    if (NeedsZone(address.ip()) && socket->zone == 0) {
      socket->zone = address.ip().scope();
    }
    if (!error.ok()) return Log(What::kConnect, *socket, error);
    // From here on it has the address that its datagrams come from.
    if (Unmapped(socket->local.ip()).is_any()) {
      socket->local = SocketAddress(way.source, socket->local.port());
    }
    socket->connected = true;
    socket->peer = SocketAddress(way.target, address.port());
    return Log(What::kConnect, *socket, Error(), address.port());
  }
  if (socket->stuck) return Log(What::kConnect, *socket, Error(EINVAL));
  if (TcpEndpoint* tcp = socket->tcp; tcp != nullptr) {
    if (tcp->phase() == TcpEndpoint::Phase::kSynSent) {
      return Log(What::kConnect, *socket, Error(EALREADY));
    }
    if (!socket->connecting) {
      return Log(What::kConnect, *socket, Error(EISCONN));
    }
    // The first call after an attempt tells how it ended.
    socket->connecting = false;
    if (tcp->dead()) {
      error = tcp->TakeError();
      if (error.ok()) error = Error(ECONNABORTED);
      Disconnect(*socket);
    }
    return Log(What::kConnect, *socket, error);
  }
  if (socket->listening) return Log(What::kConnect, *socket, Error(EISCONN));
  if (socket->family != address.family()) {
    return Log(What::kConnect, *socket,
               Error(socket->family == Family::kIpv6 ? EINVAL : EAFNOSUPPORT));
  }
  if (InjectedError(*socket, {ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EACCES},
                    &error)) {
    return Log(What::kConnect, *socket, error);
  }
  error = FindWay(*socket, address.ip(), Purpose::kConnectStream, &way);
  if (!error.ok()) return Log(What::kConnect, *socket, error);
  SocketAddress target(way.target, address.port());
  if (!socket->bound) {
    error = BindEphemeral(*socket, way.source, &target);
    if (!error.ok()) return Log(What::kConnect, *socket, error);
  }
  SocketAddress local(way.source, socket->local.port());
  if (auto before = connections_.find(KeyOf(local, target));
      before != connections_.end()) {
    // One that is only remembered may be called again: its timestamps tell the
    // packets of the two apart.
    if (!before->second->only_remembered()) {
      return Log(What::kConnect, *socket, Error(EADDRNOTAVAIL));
    }
    before->second->GiveWay();
  }
  TcpEndpoint& endpoint = NewEndpoint(local, target, way.host);
  endpoint.socket = socket;
  socket->tcp = &endpoint;
  if (Unmapped(socket->local.ip()) != local.ip()) socket->local = local;
  socket->connecting = true;
  endpoint.ShutBeforehand(socket->input_shut, socket->output_shut);
  endpoint.SetCapacities(socket->send_capacity, socket->receive_capacity);
  if (Has(*socket, SocketOption::kKeepAlive)) endpoint.EnableKeepAlive(true);
  endpoint.Connect();
  return Log(What::kConnect, *socket, Error(EINPROGRESS), target.port());
}

Error SimKernel::TakeError(Handle handle) {
  Error error = TakeErrorNow(handle);
  oracle().OnTakeError(handle, error);
  return error;
}

Error SimKernel::TakeErrorNow(Handle handle) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  Error error = std::exchange(socket->error, Error());
  if (error.ok() && socket->tcp != nullptr) error = socket->tcp->TakeError();
  return Log(What::kTakeError, *socket, error);
}

Error SimKernel::Accept(Handle listener, Handle* connection) {
  SimSocket* socket = Find(listener);
  if (socket == nullptr) return Error(EBADF);
  // As Linux does, before it looks whether there is a connection. It stays in
  // the queue, here and in the cases below.
  if (!DescriptorLeft()) return Log(What::kAccept, *socket, Error(EMFILE));
  Error error;
  if (FindOfType(listener, SocketType::kStream, &error) == nullptr) {
    return Log(What::kAccept, *socket, error);
  }
  if (!socket->listening) return Log(What::kAccept, *socket, Error(EINVAL));
  if (socket->accept_queue.empty() || WouldBlock(*socket, true)) {
    return Log(What::kAccept, *socket, Error(EAGAIN));
  }
  if (InjectedError(*socket, {EMFILE, ENFILE, ENOBUFS, ENOMEM}, &error)) {
    return Log(What::kAccept, *socket, error);
  }
  TcpEndpoint* endpoint = socket->accept_queue.front();
  socket->accept_queue.pop_front();
  SimSocket& accepted =
      NewSocket(SocketType::kStream, socket->family, connection);
  accepted.ipv6_only = socket->ipv6_only;
  accepted.options = endpoint->options;
  accepted.send_capacity = socket->send_capacity;
  accepted.receive_capacity = socket->receive_capacity;
  accepted.tcp = endpoint;
  accepted.local = endpoint->local();
  endpoint->listener = nullptr;
  endpoint->socket = &accepted;
  if (Has(accepted, SocketOption::kKeepAlive)) endpoint->EnableKeepAlive(true);
  if (!socket->watches.empty()) {
    oracle().OnAccepted(*socket->watches.front()->poller, listener);
  }
  return Log(What::kAccept, *socket, Error(), accepted.id);
}

Transfer SimKernel::ReceiveUnconnected(SimSocket& socket) {
  if (!socket.error.ok()) {
    return {.error = std::exchange(socket.error, Error())};
  }
  if (socket.input_shut) return {};
  return {.error = Error(ENOTCONN)};
}

Transfer SimKernel::Receive(Handle handle, std::span<char> buffer) {
  Transfer transfer = ReceiveNow(handle, buffer);
  oracle().OnReceive(handle, buffer, transfer);
  return transfer;
}

Transfer SimKernel::ReceiveNow(Handle handle, std::span<char> buffer) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return {.error = Error(EBADF)};
  if (socket->type == SocketType::kDatagram) {
    IncomingDatagram datagram;
    Error error = ReceiveDatagram(handle, buffer, false, &datagram);
    return {.count = datagram.size, .error = error};
  }
  TcpEndpoint* tcp = socket->tcp;
  if (tcp == nullptr) {
    return Log(What::kReceive, *socket, ReceiveUnconnected(*socket));
  }
  if (WouldBlock(*socket, tcp->readable())) {
    return Log(What::kReceive, *socket, Transfer{.error = Error(EAGAIN)});
  }
  Error error;
  if (tcp->connected() &&
      InjectedError(*socket, {ECONNRESET, ETIMEDOUT}, &error)) {
    tcp->Fail(error, /*tell_peer=*/true);
    // What has arrived before is still there, and comes first.
  }
  size_t count_max = kAll;
  Choices& choices = simulation_.choices_;
  if (tcp->unread() > 1 && choices.Chance(Site::kShortRead, socket->entity,
                                          Rate(&FaultRates::short_read))) {
    count_max = 1 + choices.Below(Site::kReadSize, socket->entity,
                                  std::min(tcp->unread(), buffer.size()));
    simulation_.CountFault(Fault::kShortRead,
                           count_max < std::min(tcp->unread(), buffer.size()));
  }
  return Log(What::kReceive, *socket, tcp->Receive(buffer, false, count_max),
             buffer.size());
}

Transfer SimKernel::Peek(Handle handle) {
  Transfer transfer = PeekNow(handle);
  oracle().OnPeek(handle, transfer);
  return transfer;
}

Transfer SimKernel::PeekNow(Handle handle) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return {.error = Error(EBADF)};
  Transfer transfer;
  char byte;
  if (socket->type == SocketType::kDatagram) {
    if (!socket->error.ok()) {
      transfer.error = std::exchange(socket->error, Error());
    } else if (!socket->datagrams.empty()) {
      transfer.count =
          std::min<size_t>(socket->datagrams.front().payload.size(), 1);
    } else {
      transfer.error = Error(EAGAIN);
    }
  } else if (socket->tcp == nullptr) {
    transfer = ReceiveUnconnected(*socket);
  } else {
    transfer = socket->tcp->Receive({&byte, 1}, /*peek=*/true, 1);
  }
  return Log(What::kPeek, *socket, transfer);
}

Transfer SimKernel::Send(Handle handle, std::span<const ConstBuffer> buffers) {
  Transfer transfer = SendNow(handle, buffers);
  oracle().OnSend(handle, buffers, transfer);
  return transfer;
}

Transfer SimKernel::SendNow(Handle handle,
                            std::span<const ConstBuffer> buffers) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return {.error = Error(EBADF)};
  if (socket->type == SocketType::kDatagram) {
    OutgoingDatagram datagram{buffers[0], nullptr};
    Transfer transfer = SendDatagrams(handle, {&datagram, 1});
    if (transfer.count == 1) transfer.count = buffers[0].size;
    return transfer;
  }
  TcpEndpoint* tcp = socket->tcp;
  if (tcp == nullptr) {
    Error error = std::exchange(socket->error, Error());
    if (error.ok()) error = Error(EPIPE);
    return Log(What::kSend, *socket, Transfer{.error = error});
  }
  if (WouldBlock(*socket, tcp->writable())) {
    return Log(What::kSend, *socket, Transfer{.error = Error(EAGAIN)});
  }
  Error error;
  if (tcp->connected() &&
      InjectedError(*socket, {ECONNRESET, EPIPE, ETIMEDOUT}, &error)) {
    tcp->Fail(error, /*tell_peer=*/true);
  }
  size_t size = 0;
  for (const ConstBuffer& buffer : buffers) size += buffer.size;
  size_t count_max = kAll;
  Choices& choices = simulation_.choices_;
  if (size > 1 && choices.Chance(Site::kShortWrite, socket->entity,
                                 Rate(&FaultRates::short_write))) {
    count_max = 1 + choices.Below(Site::kWriteSize, socket->entity, size);
    simulation_.CountFault(Fault::kShortWrite, count_max < size);
  }
  return Log(What::kSend, *socket, tcp->Send(buffers, count_max), size);
}

Error SimKernel::Shutdown(Handle handle, Direction direction) {
  oracle().OnShutdown(handle, direction);
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  Error error;
  if (socket->listening) {
    if (direction != Direction::kOutput) {
      StopListening(*socket);
      Notify(*socket);
    }
  } else if (socket->tcp == nullptr) {
    // It has its effect although it fails, as on Linux.
    if (!socket->connected) error = Error(ENOTCONN);
    if (direction != Direction::kOutput) socket->input_shut = true;
    if (direction != Direction::kInput) socket->output_shut = true;
    Notify(*socket);
  } else if (socket->tcp->phase() == TcpEndpoint::Phase::kSynSent) {
    // The attempt is given up.
    Disconnect(*socket);
    socket->error = Error(ECONNRESET);
    Notify(*socket);
  } else {
    if (std::exchange(socket->connecting, false) && socket->tcp->ended()) {
      socket->stuck = true;
    }
    error = socket->tcp->Shutdown(direction);
  }
  return Log(What::kShutdown, *socket, error, static_cast<uint64_t>(direction));
}

TcpEndpoint& SimKernel::NewEndpoint(const SocketAddress& local,
                                    const SocketAddress& remote,
                                    uint32_t remote_host) {
  uint64_t id = simulation_.next_subject_++;
  auto& endpoint = endpoints_[id];
  endpoint =
      std::make_unique<TcpEndpoint>(*this, id, local, remote, remote_host);
  connections_[KeyOf(local, remote)] = endpoint.get();
  return *endpoint;
}

void SimKernel::Unregister(TcpEndpoint& endpoint) {
  auto found = connections_.find(KeyOf(endpoint.local(), endpoint.remote()));
  if (found != connections_.end() && found->second == &endpoint) {
    connections_.erase(found);
  }
}

void SimKernel::RemoveEndpoint(TcpEndpoint& endpoint) {
  auto found = endpoints_.find(endpoint.id());
  if (found == endpoints_.end()) return;
  // Its own functions may be on the stack, and an event may refer to it.
  simulation_.Bury(std::move(found->second));
  endpoints_.erase(found);
}

// ---- Packets.

void SimKernel::OnPacket(const Packet& packet) {
  switch (packet.protocol) {
    case Packet::Protocol::kTcp:
      return OnTcpPacket(packet);
    case Packet::Protocol::kUdp:
      return OnUdpPacket(packet);
    case Packet::Protocol::kUnreachable:
      return OnUnreachable(packet);
  }
}

void SimKernel::OnTcpPacket(const Packet& packet) {
  auto found = connections_.find(KeyOf(packet.target, packet.source));
  bool syn = (packet.flags & (Packet::kSyn | Packet::kAck)) == Packet::kSyn;
  SimSocket* listener = syn ? FindListener(packet.target) : nullptr;
  if (found != connections_.end()) {
    TcpEndpoint& endpoint = *found->second;
    // A new connection may take the place of one that is only remembered.
    if (listener == nullptr ||
        endpoint.phase() != TcpEndpoint::Phase::kTimeWait ||
        packet.source_end == endpoint.peer_id()) {
      endpoint.OnPacket(packet);
      return;
    }
    endpoint.GiveWay();
  }
  if (listener == nullptr) {
    if ((packet.flags & Packet::kRst) == 0) AnswerWithReset(packet);
    return;
  }
  if (listener->accept_queue.size() + listener->handshakes >
      listener->backlog) {
    // The peer will try again.
    return;
  }
  TcpEndpoint& endpoint =
      NewEndpoint(packet.target, packet.source, packet.from);
  endpoint.listener = listener;
  endpoint.options = listener->options;
  endpoint.SetCapacities(listener->send_capacity, listener->receive_capacity);
  ++listener->handshakes;
  endpoint.Open(packet);
}

void SimKernel::AnswerWithReset(const Packet& packet) {
  Packet* answer = simulation_.NewPacket();
  answer->protocol = Packet::Protocol::kTcp;
  answer->flags = Packet::kRst | Packet::kAck;
  answer->from = host_.index_;
  answer->to = packet.from;
  answer->source = packet.target;
  answer->target = packet.source;
  answer->sequence = packet.acknowledged;
  answer->acknowledged = packet.sequence + packet.payload.size() + 1;
  answer->target_end = packet.source_end;
  simulation_.Send(answer);
}

void SimKernel::OnUdpPacket(const Packet& packet) {
  SimSocket* socket =
      FindBound(SocketType::kDatagram, packet.target, packet.source);
  if (socket == nullptr) {
    Packet* answer = simulation_.NewPacket();
    answer->protocol = Packet::Protocol::kUnreachable;
    answer->from = host_.index_;
    answer->to = packet.from;
    answer->source = packet.target;
    answer->target = packet.source;
    simulation_.Send(answer);
    return;
  }
  size_t cost = packet.payload.size() + kDatagramCost;
  if (socket->datagram_bytes + cost > kDatagramBytesMax) {
    simulation_.CountFault(Fault::kQueueOverflow, true);
    return;
  }
  socket->datagram_bytes += cost;
  socket->datagrams.push_back({packet.payload, packet.source, packet.target,
                               packet.corrupted ? 0 : packet.seal});
  Notify(*socket);
}

void SimKernel::OnUnreachable(const Packet& packet) {
  SimSocket* socket =
      FindBound(SocketType::kDatagram, packet.target, packet.source);
  // Only a socket with one peer is told: another could not know which of its
  // datagrams it was.
  if (socket == nullptr || !socket->connected) return;
  socket->error = Error(ECONNREFUSED);
  Notify(*socket);
}

Error SimKernel::ReceiveDatagram(Handle handle, std::span<char> buffer,
                                 bool want_sender, IncomingDatagram* datagram) {
  Error error = ReceiveDatagramNow(handle, buffer, want_sender, datagram);
  oracle().OnReceiveDatagram(handle, buffer, want_sender, *datagram, error);
  return error;
}

Error SimKernel::ReceiveDatagramNow(Handle handle, std::span<char> buffer,
                                    bool want_sender,
                                    IncomingDatagram* datagram) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return Error(EBADF);
  if (socket->type == SocketType::kStream) {
    // The bytes are taken and not stored: that is what Linux makes of the flag
    // by which it tells the size of a datagram.
    std::vector<char> taken(buffer.size());
    Transfer transfer = Receive(handle, taken);
    datagram->size = transfer.count;
    return transfer.error;
  }
  if (WouldBlock(*socket, !socket->datagrams.empty())) {
    return Log(What::kReceiveDatagram, *socket, Error(EAGAIN));
  }
  if (!socket->error.ok()) {
    return Log(What::kReceiveDatagram, *socket,
               std::exchange(socket->error, Error()));
  }
  // Also when the input was shut down, although it is reported as readable; as
  // on Linux.
  if (socket->datagrams.empty()) {
    return Log(What::kReceiveDatagram, *socket, Error(EAGAIN));
  }
  SimSocket::Datagram& first = socket->datagrams.front();
  if (first.seal != 0 &&
      first.seal != SealOf(first.payload, first.sender, first.target)) {
    simulation_.AddViolation(absl::StrCat(
        "I4: datagram socket ", socket->id, " on host \"", host_.name_,
        "\" has read a datagram that its sender did not send there"));
  }
  size_t size = std::min(first.payload.size(), buffer.size());
  std::copy_n(first.payload.begin(), size, buffer.begin());
  datagram->size = size;
  datagram->truncated = size < first.payload.size();
  if (want_sender) datagram->sender = ToFamily(*socket, first.sender);
  socket->datagram_bytes -= first.payload.size() + kDatagramCost;
  socket->datagrams.pop_front();
  return Log(What::kReceiveDatagram, *socket, Error(), size);
}

Transfer SimKernel::SendDatagrams(Handle handle,
                                  std::span<const OutgoingDatagram> datagrams) {
  Transfer transfer = SendDatagramsNow(handle, datagrams);
  oracle().OnSendDatagrams(handle, datagrams, transfer);
  return transfer;
}

Transfer SimKernel::SendDatagramsNow(
    Handle handle, std::span<const OutgoingDatagram> datagrams) {
  SimSocket* socket = Find(handle);
  if (socket == nullptr) return {.error = Error(EBADF)};
  if (socket->type == SocketType::kStream) {
    // It has its peer: the addresses are ignored.
    Transfer transfer = Send(handle, {&datagrams[0].payload, 1});
    return {.count = transfer.error.ok() ? 1u : 0u, .error = transfer.error};
  }
  if (WouldBlock(*socket, true)) {
    return Log(What::kSendDatagram, *socket, Transfer{.error = Error(EAGAIN)});
  }
  size_t sent = 0;
  Error error;
  for (const OutgoingDatagram& datagram : datagrams) {
    error = SendDatagram(*socket, datagram);
    if (!error.ok()) break;
    ++sent;
  }
  Transfer transfer{.count = sent};
  if (sent == 0) transfer.error = error;
  return Log(What::kSendDatagram, *socket, transfer, datagrams.size());
}

Error SimKernel::SendDatagram(SimSocket& socket,
                              const OutgoingDatagram& datagram) {
  if (!socket.bound &&
      !BindEphemeral(socket, IpAddress::Any(socket.family), nullptr).ok()) {
    return Error(EAGAIN);
  }
  SocketAddress target;
  if (datagram.target != nullptr) {
    if (socket.family == Family::kIpv4 && datagram.target->ip().is_ipv6()) {
      return Error(EAFNOSUPPORT);
    }
    target = *datagram.target;
  } else if (socket.connected) {
    target = socket.peer;
  } else {
    return Error(EDESTADDRREQ);
  }
  if (datagram.target != nullptr && target.port() == 0) return Error(EINVAL);
  Way way;
  Error error = FindWay(socket, target.ip(), Purpose::kSend, &way);
  if (!error.ok()) return error;
  if (datagram.payload.size >
      (way.target.is_ipv4() ? kDatagramMaxOfIpv4 : kDatagramMaxOfIpv6)) {
    return Error(EMSGSIZE);
  }
  if (!socket.error.ok()) return std::exchange(socket.error, Error());
  if (socket.output_shut) return Error(EPIPE);
  if (InjectedError(socket, {ENOBUFS, ENETUNREACH, EPERM}, &error)) {
    return error;
  }
  Packet* packet = simulation_.NewPacket();
  packet->protocol = Packet::Protocol::kUdp;
  packet->from = host_.index_;
  packet->to = way.host;
  packet->source = SocketAddress(way.source, socket.local.port());
  packet->target = SocketAddress(way.target, target.port());
  packet->payload.assign(datagram.payload.data,
                         datagram.payload.data + datagram.payload.size);
  packet->seal = SealOf(packet->payload, packet->source, packet->target);
  simulation_.Send(packet);
  return Error();
}

// ---- The end of a life.

void SimKernel::Crash() {
  for (SimPoller* poller : pollers_) {
    simulation_.Forget(*poller);
    poller->kernel_ = nullptr;
    poller->ready_.clear();
  }
  pollers_.clear();
  connections_.clear();
  bound_.clear();
  for (auto& [id, endpoint] : endpoints_) {
    simulation_.Bury(std::move(endpoint));
  }
  endpoints_.clear();
  auto life = static_cast<Handle>(sockets_.size() + 1);
  sockets_.clear();
  free_.clear();
  open_ = 0;
  oracles_.back()->Retire();
  NewOracle();
  base_ += life;
}

std::string SimKernel::Describe() const {
  std::string report;
  for (const std::shared_ptr<SimSocket>& socket : sockets_) {
    if (socket == nullptr) continue;
    absl::StrAppend(&report, "  #", socket->id, " ",
                    socket->type == SocketType::kStream ? "tcp " : "udp ",
                    socket->local.ToString());
    if (socket->listening) {
      absl::StrAppend(&report, " listening, ", socket->accept_queue.size(),
                      " to accept, ", socket->handshakes, " in handshake");
    } else if (socket->tcp != nullptr) {
      static constexpr const char* kPhases[] = {"connecting", "accepting",
                                                "open", "time-wait", "ended"};
      absl::StrAppend(&report, " - ", socket->tcp->remote().ToString(), " ",
                      kPhases[static_cast<size_t>(socket->tcp->phase())], ", ",
                      socket->tcp->unread(), " unread, ", socket->tcp->unsent(),
                      " unacknowledged");
    } else if (socket->type == SocketType::kDatagram) {
      absl::StrAppend(&report, ", ", socket->datagrams.size(),
                      " datagrams unread");
    }
    absl::StrAppend(&report, socket->watches.empty() ? "" : ", watched", "\n");
  }
  return report;
}

}  // namespace aios::sim
