// One end of a simulated TCP connection.
//
// Modelled: handshake and its retries, refusal, backlog, segmentation, the
// receive window with its updates and probes, acknowledgements (delayed as
// Linux does), loss and reordering with retransmission until it gives up, half
// close, FIN and RST with the errors they leave, close with unread data,
// TIME_WAIT, keepalive. Not modelled, as the API does not show it: congestion
// control, Nagle's algorithm, selective acknowledgement, urgent data.

#ifndef AIOS_SIM_TCP_H_
#define AIOS_SIM_TCP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "sim/choice.h"
#include "sim/event_queue.h"
#include "sim/packet.h"
#include "sim/simulation.h"
#include "sim/stream_buffer.h"
#include "sim/stream_check.h"

namespace aios::sim {

class SimKernel;
struct SimSocket;

class TcpEndpoint {
 public:
  enum class Phase : uint8_t {
    kSynSent,      // connect has been called
    kSynReceived,  // a child of a listener, before the third packet
    kOpen,         // with or without FIN in either direction
    kTimeWait,     // both have ended, we first
    kDead,         // no packets any more
  };

  // How much it keeps at most, unless told otherwise.
  static constexpr size_t kSendCapacity = size_t{5} << 19;     // 2.5 MiB
  static constexpr size_t kReceiveCapacity = size_t{3} << 19;  // 1.5 MiB

  TcpEndpoint(SimKernel& kernel, uint64_t id, const SocketAddress& local,
              const SocketAddress& remote, uint32_t remote_host);

  uint64_t id() const { return id_; }
  // The other end's, once it is known.
  uint64_t peer_id() const { return peer_id_; }
  Phase phase() const { return phase_; }
  const SocketAddress& local() const { return local_; }
  const SocketAddress& remote() const { return remote_; }
  bool dead() const { return phase_ == Phase::kDead; }
  // Nothing goes over it any more, in either direction.
  bool ended() const { return dead() || phase_ == Phase::kTimeWait; }

  // The socket that programs see; null before accept and after close.
  SimSocket* socket = nullptr;
  // The listener whose queue it is in, before accept.
  SimSocket* listener = nullptr;
  // Those of the listener when the connection came, and of the socket when it
  // was closed.
  std::array<bool, 6> options = {};

  // ---- The program's side.

  void Connect();
  // What was shut down before the connection was: that is not told to the peer.
  void ShutBeforehand(bool input, bool output);
  Transfer Receive(std::span<char> buffer, bool peek, size_t count_max);
  Transfer Send(std::span<const ConstBuffer> buffers, size_t count_max);
  Error Shutdown(Direction direction);
  // The descriptor is gone: FIN after what was sent, RST when there is unread
  // input.
  void Close();
  // RST, and nothing else.
  void Reset();
  Error TakeError();
  // Another one takes its place.
  void GiveWay();
  // An error that appears by itself, with the effect a real one has.
  void Fail(Error error, bool tell_peer);
  void EnableKeepAlive(bool on);

  void SetCapacities(size_t send, size_t receive);

  bool readable() const;
  bool writable() const;
  bool connected() const { return phase_ == Phase::kOpen; }
  // It is over for this end, which only waits for what may still come of it.
  bool only_remembered() const {
    return phase_ == Phase::kTimeWait ||
           (phase_ == Phase::kOpen && fin_acknowledged_ && socket == nullptr &&
            listener == nullptr);
  }
  size_t unread() const { return received_.size(); }
  size_t unsent() const { return sent_.size(); }

  // ---- The network's side.

  // As the child of a listener, by its first packet.
  void Open(const Packet& syn);
  void OnPacket(const Packet& packet);
  // The earliest moment at which `OnTimer` has something to do.
  Nanoseconds NextTimer() const;
  void OnTimer();
  void TimerChanged();

  // Its timer in the simulation's queue: at `NextTimer`, or before.
  Nanoseconds scheduled = kForever;
  EventPlace event = kNoEvent;

 private:
  size_t Window() const;
  size_t SegmentMax();
  Simulation::Link& Link();
  uint64_t SendEnd() const { return unacknowledged_ + sent_.size(); }
  void Emit(uint8_t flags, uint64_t sequence, size_t offset, size_t length);
  void SendAcknowledgement() { Emit(Packet::kAck, next_, 0, 0); }
  void MayJoin();
  void Transmit();
  void Retransmit();
  void StartRetransmitTimer();
  void OnAcknowledgement(const Packet& packet);
  void OnData(const Packet& packet);
  void TakeInOrder();
  void OnFin();
  void OnReset();
  // It is established, perhaps after being an attempt of the program's.
  void Establish(const Packet& packet);
  void MeasureRoundTrip();
  void Notify();
  // `caller`: it writes what goes forth.
  void CheckBy(std::shared_ptr<ConnectionCheck> check, bool caller);
  // By the first packet of the other end of an attempt.
  void AgreeOnCheck(const Packet& packet);
  void Accuse(std::string_view what);
  void CheckRead(std::span<const char> bytes);
  void CheckEnd();
  void Die();
  void MaybeFinish();

  SimKernel& kernel_;
  const uint64_t id_;
  ChoiceEntity entity_;
  const SocketAddress local_;
  const SocketAddress remote_;
  const uint32_t remote_host_;
  Simulation::Link* link_ = nullptr;
  uint64_t peer_id_ = 0;
  size_t send_capacity_ = kSendCapacity;
  size_t receive_capacity_ = kReceiveCapacity;
  Phase phase_ = Phase::kSynSent;

  // Sending. Sequence number 0 is the SYN; data starts at 1.
  StreamBuffer sent_;            // from `unacknowledged_` on
  uint64_t unacknowledged_ = 0;  // the first byte not acknowledged
  uint64_t next_ = 0;            // the next to be sent
  uint64_t peer_window_ = 0;
  bool silent_ = false;      // as `fin_wanted_`, but the peer is not told
  bool fin_wanted_ = false;  // the program sends no more
  bool fin_sent_ = false;    // its number is `next_` - 1 then
  bool fin_acknowledged_ = false;
  bool passive_ = false;  // the peer had sent its FIN before
  int duplicate_acknowledgements_ = 0;
  uint64_t recover_ = 0;  // in recovery until this is acknowledged
  int attempts_ = 0;      // without an answer
  int backoff_ = 0;       // without progress

  // Receiving.
  StreamBuffer received_;
  uint64_t expected_ = 0;     // the next byte from the peer
  uint64_t window_told_ = 0;  // the end of the window the peer knows
  std::map<uint64_t, std::vector<char>> early_;  // what came before its turn
  size_t early_bytes_ = 0;
  uint64_t fin_at_ = UINT64_MAX;  // the number of the peer's FIN, if it came
  bool fin_received_ = false;     // and everything before it
  bool input_shut_ = false;
  int unacknowledged_segments_ = 0;

  // Of the connection, and what this end writes and reads of it; null before
  // the peer is known.
  std::shared_ptr<ConnectionCheck> check_;
  StreamCheck* outgoing_ = nullptr;
  StreamCheck* incoming_ = nullptr;

  Error error_;
  bool keep_alive_ = false;
  int probes_ = 0;

  // RFC 6298, in integers.
  Nanoseconds smoothed_round_trip_ = 0;
  Nanoseconds round_trip_variation_ = 0;
  Nanoseconds timeout_ = 1'000'000'000;
  uint64_t measured_ = 0;  // the number whose way is being measured
  Nanoseconds measured_since_ = 0;

  // It waits for more to send, until then; and whether more has come.
  bool joining_ = false;
  bool joined_ = false;
  Nanoseconds join_until_ = 0;
  Nanoseconds retransmit_at_ = kForever;
  Nanoseconds acknowledge_at_ = kForever;
  Nanoseconds probe_at_ = kForever;   // keepalive
  Nanoseconds forget_at_ = kForever;  // TIME_WAIT, and orphans
};

}  // namespace aios::sim

#endif  // AIOS_SIM_TCP_H_
