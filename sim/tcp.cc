#include "sim/tcp.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "sim/sim_kernel.h"
#include "sim/simulation.h"

namespace aios::sim {

namespace {

constexpr Nanoseconds kMillisecond = 1'000'000;
constexpr Nanoseconds kSecond = 1000 * kMillisecond;

// As Linux has them.
constexpr Nanoseconds kTimeoutMin = 200 * kMillisecond;
constexpr Nanoseconds kTimeoutMax = 120 * kSecond;
constexpr Nanoseconds kFirstTimeout = kSecond;
constexpr int kSynAttemptsMax = 6;
constexpr int kSynAckAttemptsMax = 5;
constexpr int kAttemptsMax = 15;
constexpr int kOrphanAttemptsMax = 8;
constexpr Nanoseconds kDelayedAcknowledgement = 40 * kMillisecond;
constexpr Nanoseconds kTimeWait = 60 * kSecond;
constexpr Nanoseconds kOrphanTime = 60 * kSecond;
constexpr Nanoseconds kKeepAliveIdle = 7200 * kSecond;
constexpr Nanoseconds kKeepAliveInterval = 75 * kSecond;
constexpr int kKeepAliveProbes = 9;
// The longest that a stream waits for more where streams are joined.
constexpr Nanoseconds kJoinMax = kMillisecond;

}  // namespace

TcpEndpoint::TcpEndpoint(SimKernel& kernel, uint64_t id,
                         const SocketAddress& local,
                         const SocketAddress& remote, uint32_t remote_host)
    : kernel_(kernel),
      id_(id),
      entity_(id),
      local_(local),
      remote_(remote),
      remote_host_(remote_host) {}

// ---- Sending packets.

size_t TcpEndpoint::Window() const {
  size_t used = received_.size();
  size_t window = used < receive_capacity_ ? receive_capacity_ - used : 0;
  // What was promised stays promised.
  return std::max<size_t>(window,
                          std::max(window_told_, expected_) - expected_);
}

Simulation::Link& TcpEndpoint::Link() {
  if (link_ == nullptr) {
    link_ =
        &kernel_.simulation_.LinkBetween(kernel_.host_.index_, remote_host_);
  }
  return *link_;
}

size_t TcpEndpoint::SegmentMax() {
  if (remote_host_ == kernel_.host_.index_) return 65495;
  size_t mtu = Link().options.mtu_bytes;
  return mtu > 40 ? mtu - 40 : 1;
}

void TcpEndpoint::Emit(uint8_t flags, uint64_t sequence, size_t offset,
                       size_t length) {
  Simulation& simulation = kernel_.simulation_;
  Packet* packet = simulation.NewPacket();
  packet->protocol = Packet::Protocol::kTcp;
  packet->flags = flags;
  packet->from = kernel_.host_.index_;
  packet->to = remote_host_;
  packet->source = local_;
  packet->target = remote_;
  packet->source_end = id_;
  packet->target_end = peer_id_;
  packet->sequence = sequence;
  packet->acknowledged = expected_;
  packet->window = Window();
  packet->payload.resize(length);
  if (length != 0) sent_.Copy(offset, packet->payload);
  if ((flags & Packet::kSyn) != 0) packet->check = check_;
  if ((flags & Packet::kAck) != 0) {
    window_told_ = expected_ + packet->window;
    unacknowledged_segments_ = 0;
    acknowledge_at_ = kForever;
  }
  simulation.Send(packet, &Link());
}

void TcpEndpoint::MayJoin() {
  Simulation& simulation = kernel_.simulation_;
  if (joining_) {
    // What was written before is still here.
    if (!std::exchange(joined_, true)) simulation.CountEffect(Fault::kJoin);
    return;
  }
  Choices& choices = simulation.choices_;
  if (!choices.Chance(Site::kJoin, entity_, simulation.options_.faults.join)) {
    return;
  }
  joining_ = true;
  joined_ = false;
  join_until_ = simulation.now_ + 1 +
                static_cast<Nanoseconds>(choices.Below(
                    Site::kJoinTime, entity_, static_cast<uint64_t>(kJoinMax)));
  simulation.CountFault(Fault::kJoin, false);
}

void TcpEndpoint::Transmit() {
  if (phase_ != Phase::kOpen) return;
  if (joining_) {
    if (kernel_.simulation_.now_ < join_until_) {
      TimerChanged();
      return;
    }
    joining_ = false;
  }
  const FaultRates& faults = kernel_.simulation_.options_.faults;
  size_t segment_max = SegmentMax();
  while (!fin_sent_ && next_ < SendEnd()) {
    uint64_t window_end = unacknowledged_ + peer_window_;
    if (next_ >= window_end) break;
    size_t length = std::min<uint64_t>(
        {SendEnd() - next_, window_end - next_, segment_max});
    if (faults.split != 0 && length > 1) {
      Choices& choices = kernel_.simulation_.choices_;
      if (choices.Chance(Site::kSegmentSize, entity_, faults.split)) {
        size_t cut = 1 + choices.Below(Site::kSegmentSize, entity_, length);
        kernel_.simulation_.CountFault(Fault::kSplit, cut < length);
        length = cut;
      }
    }
    if (measured_ == 0) {
      measured_ = next_ + length;
      measured_since_ = kernel_.simulation_.now_;
    }
    Emit(Packet::kAck, next_, next_ - unacknowledged_, length);
    next_ += length;
  }
  if (fin_wanted_ && !fin_sent_ && next_ == SendEnd()) {
    Emit(Packet::kAck | Packet::kFin, next_, 0, 0);
    ++next_;
    fin_sent_ = true;
    passive_ = fin_received_;
  }
  bool waiting = next_ > unacknowledged_ || next_ < SendEnd();
  if (waiting && retransmit_at_ == kForever) StartRetransmitTimer();
  TimerChanged();
}

void TcpEndpoint::Retransmit() {
  Simulation& simulation = kernel_.simulation_;
  simulation.trace_.Add(simulation.now_, What::kRetransmit,
                        kernel_.host_.index_, id_, unacknowledged_, attempts_);
  // What is sent again says nothing about the way's length.
  measured_ = 0;
  switch (phase_) {
    case Phase::kSynSent:
      measured_since_ = 0;
      Emit(Packet::kSyn, 0, 0, 0);
      return;
    case Phase::kSynReceived:
      measured_since_ = 0;
      Emit(Packet::kSyn | Packet::kAck, 0, 0, 0);
      return;
    case Phase::kOpen:
    case Phase::kTimeWait:
      break;
    case Phase::kDead:
      return;
  }
  if (!sent_.empty()) {
    size_t length = std::min(sent_.size(), SegmentMax());
    // Into a closed window a single byte, to learn whether it has opened.
    if (peer_window_ == 0) length = 1;
    Emit(Packet::kAck, unacknowledged_, 0, length);
    next_ = std::max(next_, unacknowledged_ + length);
  } else if (fin_sent_ && !fin_acknowledged_) {
    Emit(Packet::kAck | Packet::kFin, unacknowledged_, 0, 0);
  }
}

void TcpEndpoint::StartRetransmitTimer() {
  Nanoseconds wait = timeout_;
  for (int i = 0; i < backoff_ && wait < kTimeoutMax; ++i) wait *= 2;
  retransmit_at_ = kernel_.simulation_.now_ + std::min(wait, kTimeoutMax);
}

// ---- The program's side.

void TcpEndpoint::Connect() {
  CheckBy(std::make_shared<ConnectionCheck>(), /*caller=*/true);
  phase_ = Phase::kSynSent;
  timeout_ = kFirstTimeout;
  measured_since_ = kernel_.simulation_.now_;
  Emit(Packet::kSyn, 0, 0, 0);
  next_ = 1;
  StartRetransmitTimer();
  TimerChanged();
}

void TcpEndpoint::ShutBeforehand(bool input, bool output) {
  input_shut_ = input;
  silent_ = output;
}

Transfer TcpEndpoint::Receive(std::span<char> buffer, bool peek,
                              size_t count_max) {
  if (!received_.empty()) {
    size_t count = std::min({received_.size(), buffer.size(), count_max});
    received_.Copy(0, buffer.first(count));
    if (peek) return {.count = count};
    received_.Consume(count);
    CheckRead(buffer.first(count));
    // The peer hears of the room when there is enough of it to be worth a
    // packet.
    uint64_t end = expected_ + Window();
    if (phase_ == Phase::kOpen && !fin_received_ &&
        end >= window_told_ + std::min<uint64_t>(receive_capacity_ / 2,
                                                 2 * SegmentMax()) &&
        window_told_ - expected_ < receive_capacity_ / 2) {
      SendAcknowledgement();
    }
    return {.count = count};
  }
  if (fin_received_) {
    // From then on an error is for those who write.
    CheckEnd();
    return {};
  }
  if (!error_.ok()) return {.error = TakeError()};
  if (input_shut_ || phase_ == Phase::kDead) return {};
  return {.error = Error(EAGAIN)};
}

Transfer TcpEndpoint::Send(std::span<const ConstBuffer> buffers,
                           size_t count_max) {
  if (!error_.ok()) return {.error = TakeError()};
  if (phase_ == Phase::kDead || phase_ == Phase::kTimeWait || fin_wanted_) {
    return {.error = Error(EPIPE)};
  }
  if (phase_ != Phase::kOpen) return {.error = Error(EAGAIN)};
  if (silent_) return {.error = Error(EPIPE)};
  size_t room =
      sent_.size() < send_capacity_ ? send_capacity_ - sent_.size() : 0;
  room = std::min(room, count_max);
  if (room == 0) return {.error = Error(EAGAIN)};
  size_t count = 0;
  for (const ConstBuffer& buffer : buffers) {
    size_t taken = std::min(buffer.size, room - count);
    sent_.Append({buffer.data, taken});
    if (outgoing_ != nullptr && taken != 0) {
      outgoing_->Written({buffer.data, taken});
    }
    count += taken;
    if (count == room) break;
  }
  MayJoin();
  Transmit();
  return {.count = count};
}

Error TcpEndpoint::Shutdown(Direction direction) {
  if (!connected()) return Error(ENOTCONN);
  if (direction != Direction::kOutput) input_shut_ = true;
  if (direction != Direction::kInput && !fin_wanted_) {
    fin_wanted_ = true;
    Transmit();
    MaybeFinish();
  }
  Notify();
  return Error();
}

void TcpEndpoint::Close() {
  socket = nullptr;
  switch (phase_) {
    case Phase::kSynSent:
    case Phase::kDead:
      Die();
      return;
    case Phase::kTimeWait:
      return;
    case Phase::kSynReceived:
    case Phase::kOpen:
      break;
  }
  if (!received_.empty()) {
    Reset();
    return;
  }
  fin_wanted_ = true;
  if (fin_acknowledged_) forget_at_ = kernel_.simulation_.now_ + kOrphanTime;
  Transmit();
  MaybeFinish();
  TimerChanged();
}

void TcpEndpoint::Reset() {
  socket = nullptr;
  // There is nothing to reset any more.
  if (phase_ == Phase::kTimeWait) return;
  if (phase_ == Phase::kSynReceived || phase_ == Phase::kOpen) {
    Emit(Packet::kRst | Packet::kAck, next_, 0, 0);
  }
  Die();
}

void TcpEndpoint::GiveWay() {
  if (socket == nullptr) {
    Die();
  } else {
    kernel_.Unregister(*this);
  }
}

Error TcpEndpoint::TakeError() { return std::exchange(error_, Error()); }

void TcpEndpoint::Fail(Error error, bool tell_peer) {
  if (phase_ == Phase::kDead) return;
  if (tell_peer && phase_ != Phase::kSynSent) {
    Emit(Packet::kRst | Packet::kAck, next_, 0, 0);
  }
  error_ = error;
  Die();
}

void TcpEndpoint::EnableKeepAlive(bool on) {
  keep_alive_ = on;
  probes_ = 0;
  probe_at_ = on && phase_ == Phase::kOpen
                  ? kernel_.simulation_.now_ + kKeepAliveIdle
                  : kForever;
  TimerChanged();
}

void TcpEndpoint::SetCapacities(size_t send, size_t receive) {
  send_capacity_ = send;
  receive_capacity_ = receive;
}

bool TcpEndpoint::readable() const {
  // Linux reports a hang-up of what is not connected yet only by other means.
  if (phase_ == Phase::kSynSent || phase_ == Phase::kSynReceived) return false;
  return !received_.empty() || fin_received_ || input_shut_ || !error_.ok() ||
         phase_ == Phase::kDead;
}

bool TcpEndpoint::writable() const {
  if (phase_ == Phase::kSynSent || phase_ == Phase::kSynReceived) return false;
  if (phase_ == Phase::kDead || !error_.ok() || fin_wanted_) return true;
  // Not before a third is free: a writer that is woken for every acknowledged
  // segment would do nothing else.
  return sent_.size() * 3 <= send_capacity_ * 2;
}

// ---- The network's side.

void TcpEndpoint::Open(const Packet& syn) {
  phase_ = Phase::kSynReceived;
  CheckBy(syn.check, /*caller=*/false);
  timeout_ = kFirstTimeout;
  expected_ = syn.sequence + 1;
  peer_window_ = syn.window;
  peer_id_ = syn.source_end;
  measured_since_ = kernel_.simulation_.now_;
  Emit(Packet::kSyn | Packet::kAck, 0, 0, 0);
  next_ = 1;
  StartRetransmitTimer();
  TimerChanged();
}

void TcpEndpoint::Establish(const Packet& packet) {
  phase_ = Phase::kOpen;
  peer_window_ = packet.window;
  unacknowledged_ = 1;
  backoff_ = 0;
  retransmit_at_ = kForever;
  if (measured_since_ != 0) MeasureRoundTrip();
  if (keep_alive_) EnableKeepAlive(true);
  if (listener != nullptr) {
    --listener->handshakes;
    listener->accept_queue.push_back(this);
    kernel_.Notify(*listener);
  }
  Notify();
}

void TcpEndpoint::OnPacket(const Packet& packet) {
  bool syn = (packet.flags & Packet::kSyn) != 0;
  bool acknowledges = (packet.flags & Packet::kAck) != 0;
  if (packet.target_end != 0 && packet.target_end != id_) {
    // For an earlier connection, whose other end does not know yet.
    if ((packet.flags & Packet::kRst) == 0) kernel_.AnswerWithReset(packet);
    return;
  }
  if (peer_id_ != 0 && packet.source_end != 0 &&
      packet.source_end != peer_id_) {
    // The other host has forgotten this connection and begins a new one. It
    // finds our answer strange, and tells us so by a reset.
    if (syn && !acknowledges) SendAcknowledgement();
    return;
  }
  if ((packet.flags & Packet::kRst) != 0) {
    OnReset();
    return;
  }
  attempts_ = 0;
  switch (phase_) {
    case Phase::kDead:
      return;
    case Phase::kSynSent:
      if (!syn) {
        // Of a connection that we have forgotten.
        kernel_.AnswerWithReset(packet);
        return;
      }
      expected_ = packet.sequence + 1;
      peer_id_ = packet.source_end;
      AgreeOnCheck(packet);
      if (!acknowledges) {
        // Both ends have called at the same moment, or they are the same.
        phase_ = Phase::kSynReceived;
        Emit(Packet::kSyn | Packet::kAck, 0, 0, 0);
        return;
      }
      Establish(packet);
      SendAcknowledgement();
      TimerChanged();
      return;
    case Phase::kSynReceived:
      if (!acknowledges) {
        // Our answer was lost, or is still on its way.
        Emit(Packet::kSyn | Packet::kAck, 0, 0, 0);
        return;
      }
      if (packet.acknowledged < 1) return;
      Establish(packet);
      if (syn) {
        SendAcknowledgement();
        TimerChanged();
        return;
      }
      break;
    case Phase::kOpen:
    case Phase::kTimeWait:
      if (syn) {
        // The third packet of the handshake was lost.
        SendAcknowledgement();
        return;
      }
      break;
  }
  if (keep_alive_) EnableKeepAlive(true);
  OnAcknowledgement(packet);
  if (phase_ == Phase::kDead) return;
  OnData(packet);
  if (phase_ == Phase::kDead) return;
  Transmit();
  MaybeFinish();
  TimerChanged();
}

void TcpEndpoint::MeasureRoundTrip() {
  Nanoseconds sample = kernel_.simulation_.now_ - measured_since_;
  measured_ = 0;
  if (smoothed_round_trip_ == 0) {
    smoothed_round_trip_ = sample;
    round_trip_variation_ = sample / 2;
  } else {
    Nanoseconds error = sample - smoothed_round_trip_;
    if (error < 0) error = -error;
    round_trip_variation_ += (error - round_trip_variation_) / 4;
    smoothed_round_trip_ += (sample - smoothed_round_trip_) / 8;
  }
  timeout_ = std::clamp(smoothed_round_trip_ + 4 * round_trip_variation_,
                        kTimeoutMin, kTimeoutMax);
}

void TcpEndpoint::OnAcknowledgement(const Packet& packet) {
  uint64_t acknowledged = packet.acknowledged;
  if (acknowledged > next_) return;
  if (acknowledged >= unacknowledged_) {
    // Of an old packet that was overtaken the window is old, too.
    bool same = packet.window == peer_window_;
    if (peer_window_ == 0 && packet.window != 0 && !fin_sent_) {
      // No probe is needed any more; the last one may not have been taken.
      backoff_ = 0;
      retransmit_at_ = kForever;
      if (acknowledged == unacknowledged_) next_ = unacknowledged_;
    }
    peer_window_ = packet.window;
    if (acknowledged == unacknowledged_) {
      bool duplicate = same && packet.payload.empty() &&
                       next_ > unacknowledged_ &&
                       (packet.flags & Packet::kFin) == 0;
      if (duplicate && ++duplicate_acknowledgements_ == 3 &&
          acknowledged >= recover_) {
        recover_ = next_;
        Retransmit();
      }
      return;
    }
  } else {
    return;
  }
  duplicate_acknowledgements_ = 0;
  backoff_ = 0;
  if (measured_ != 0 && acknowledged >= measured_) MeasureRoundTrip();
  uint64_t data_end = SendEnd();
  bool was_writable = writable();
  sent_.Consume(std::min(acknowledged, data_end) - unacknowledged_);
  unacknowledged_ = acknowledged;
  if (fin_sent_ && acknowledged == next_) {
    fin_acknowledged_ = true;
    if (socket == nullptr && listener == nullptr) {
      forget_at_ = kernel_.simulation_.now_ + kOrphanTime;
    }
  }
  retransmit_at_ = kForever;
  if (next_ > unacknowledged_) {
    // The next hole of the same loss.
    if (unacknowledged_ < recover_) Retransmit();
    StartRetransmitTimer();
  }
  if (!was_writable && writable()) Notify();
}

void TcpEndpoint::OnData(const Packet& packet) {
  uint64_t sequence = packet.sequence;
  size_t length = packet.payload.size();
  bool fin = (packet.flags & Packet::kFin) != 0;
  if (length == 0 && !fin) {
    // A keepalive probe asks for an answer by an old number.
    if (sequence < expected_ && phase_ == Phase::kOpen) SendAcknowledgement();
    return;
  }
  if (length != 0 && sequence + length > expected_) {
    // Nobody will ever read it.
    if (socket == nullptr && listener == nullptr) {
      Reset();
      return;
    }
    if (input_shut_ && fin_wanted_) {
      Fail(Error(ECONNRESET), /*tell_peer=*/true);
      return;
    }
  }
  if (fin) fin_at_ = std::min(fin_at_, sequence + length);
  bool in_order = sequence <= expected_;
  if (in_order) {
    if (sequence + length > expected_) {
      size_t offset = expected_ - sequence;
      size_t taken = std::min(length - offset, Window());
      received_.Append({packet.payload.data() + offset, taken});
      expected_ += taken;
      TakeInOrder();
      if (taken != 0) Notify();
    }
  } else if (length != 0 && sequence + length <= expected_ + Window()) {
    auto [place, added] = early_.try_emplace(sequence, packet.payload);
    if (added) early_bytes_ += length;
  }
  if (!fin_received_ && expected_ == fin_at_) OnFin();
  ++unacknowledged_segments_;
  // At once where the peer may be waiting for it or something is missing,
  // otherwise with the next packet, or a little later.
  if (!in_order || !early_.empty() || fin || unacknowledged_segments_ >= 2 ||
      sequence + length != expected_) {
    SendAcknowledgement();
  } else {
    acknowledge_at_ = kernel_.simulation_.now_ + kDelayedAcknowledgement;
  }
}

void TcpEndpoint::TakeInOrder() {
  while (!early_.empty() && early_.begin()->first <= expected_) {
    auto first = early_.begin();
    uint64_t sequence = first->first;
    std::vector<char> bytes = std::move(first->second);
    early_.erase(first);
    early_bytes_ -= bytes.size();
    if (sequence + bytes.size() <= expected_) continue;
    size_t offset = expected_ - sequence;
    received_.Append({bytes.data() + offset, bytes.size() - offset});
    expected_ += bytes.size() - offset;
  }
}

void TcpEndpoint::OnFin() {
  fin_received_ = true;
  ++expected_;
  Notify();
}

void TcpEndpoint::OnReset() {
  switch (phase_) {
    case Phase::kSynSent:
      error_ = Error(ECONNREFUSED);
      break;
    case Phase::kSynReceived:
    case Phase::kOpen:
      // After both have said that they send no more, nothing is lost.
      if (fin_received_ && fin_acknowledged_) break;
      error_ = Error(fin_received_ && !fin_sent_ ? EPIPE : ECONNRESET);
      break;
    case Phase::kTimeWait:
    case Phase::kDead:
      break;
  }
  bool handshake = phase_ == Phase::kSynReceived;
  if (handshake && listener != nullptr) {
    --listener->handshakes;
    listener = nullptr;
  }
  Die();
}

void TcpEndpoint::MaybeFinish() {
  if (phase_ != Phase::kOpen || !fin_acknowledged_ || !fin_received_) return;
  // Only the one that ended first keeps the ports for a while.
  if (passive_) {
    Die();
    return;
  }
  phase_ = Phase::kTimeWait;
  if (socket != nullptr) kernel_.OnEnded(*socket);
  retransmit_at_ = kForever;
  acknowledge_at_ = kForever;
  probe_at_ = kForever;
  forget_at_ = kernel_.simulation_.now_ + kTimeWait;
  TimerChanged();
}

void TcpEndpoint::Notify() {
  if (socket != nullptr) kernel_.Notify(*socket);
}

void TcpEndpoint::CheckBy(std::shared_ptr<ConnectionCheck> check, bool caller) {
  check_ = std::move(check);
  if (check_ == nullptr) return;
  outgoing_ = caller ? &check_->forth : &check_->back;
  incoming_ = caller ? &check_->back : &check_->forth;
}

void TcpEndpoint::AgreeOnCheck(const Packet& packet) {
  if (packet.source_end == id_) {
    // A connection with itself reads what it has written.
    incoming_ = outgoing_;
  } else if (packet.check != check_ && packet.source_end < id_) {
    // Both have called, and each has a check of its own. Whichever packets are
    // lost, both ends decide for the one of the earlier end.
    CheckBy(packet.check, /*caller=*/false);
  }
}

void TcpEndpoint::Accuse(std::string_view what) {
  kernel_.simulation_.AddViolation(
      absl::StrCat("I4: connection ", id_, " on host \"", kernel_.host_.name_,
                   "\" ", std::string(what)));
  incoming_ = nullptr;
}

void TcpEndpoint::CheckRead(std::span<const char> bytes) {
  if (incoming_ == nullptr || incoming_->Read(bytes)) return;
  Accuse("has read bytes that its peer did not write there");
}

void TcpEndpoint::CheckEnd() {
  if (incoming_ == nullptr || incoming_->Complete()) return;
  Accuse("is at its end, but not all that its peer wrote has been read");
}

void TcpEndpoint::Die() {
  phase_ = Phase::kDead;
  joining_ = false;
  sent_.Clear();
  early_.clear();
  early_bytes_ = 0;
  retransmit_at_ = kForever;
  acknowledge_at_ = kForever;
  probe_at_ = kForever;
  forget_at_ = kForever;
  kernel_.Unregister(*this);
  if (socket != nullptr) kernel_.OnEnded(*socket);
  Notify();
  if (socket == nullptr && listener == nullptr) kernel_.RemoveEndpoint(*this);
}

// ---- Timers.

Nanoseconds TcpEndpoint::NextTimer() const {
  Nanoseconds next =
      std::min({retransmit_at_, acknowledge_at_, probe_at_, forget_at_});
  return joining_ ? std::min(next, join_until_) : next;
}

void TcpEndpoint::TimerChanged() {
  Nanoseconds next = NextTimer();
  // A later one is noticed when the earlier event comes.
  if (next >= scheduled) return;
  Simulation& simulation = kernel_.simulation_;
  if (event != kNoEvent) simulation.events_.Remove(event);
  scheduled = next;
  simulation.Schedule(next, EventKind::kTcpTimer, simulation.Tie(entity_), this,
                      &event);
}

void TcpEndpoint::OnTimer() {
  Nanoseconds now = kernel_.simulation_.now_;
  if (forget_at_ <= now) {
    Die();
    return;
  }
  if (joining_ && join_until_ <= now) Transmit();
  if (acknowledge_at_ <= now) SendAcknowledgement();
  if (probe_at_ <= now) {
    if (probes_ == kKeepAliveProbes) {
      Fail(Error(ETIMEDOUT), /*tell_peer=*/true);
      return;
    }
    ++probes_;
    probe_at_ = now + kKeepAliveInterval;
    Emit(Packet::kAck, unacknowledged_ - 1, 0, 0);
  }
  if (retransmit_at_ <= now) {
    int attempts_max = phase_ == Phase::kSynSent       ? kSynAttemptsMax
                       : phase_ == Phase::kSynReceived ? kSynAckAttemptsMax
                       : socket == nullptr             ? kOrphanAttemptsMax
                                                       : kAttemptsMax;
    if (attempts_ == attempts_max) {
      if (phase_ == Phase::kSynReceived && listener != nullptr) {
        --listener->handshakes;
        listener = nullptr;
      }
      Fail(Error(ETIMEDOUT), /*tell_peer=*/false);
      return;
    }
    Retransmit();
    ++attempts_;
    ++backoff_;
    recover_ = std::max(recover_, next_);
    StartRetransmitTimer();
  }
  TimerChanged();
}

}  // namespace aios::sim
