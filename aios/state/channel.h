// The socket of a state as the other parts of the state see it: its phase, what
// is known of it, every call that goes to it, and the directions in which it is
// watched.

#ifndef AIOS_STATE_CHANNEL_H_
#define AIOS_STATE_CHANNEL_H_

#include <cstddef>
#include <optional>
#include <span>

#include "aios/address.h"
#include "aios/async_io_state.h"
#include "aios/datagram_batch.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/state/output_operation.h"
#include "aios/state/phases.h"
#include "aios/ticket_queue.h"
#include "aios/watcher.h"

namespace aios {

struct Ending;

class Channel : public Watcher {
 public:
  using Watcher::handle;
  using Watcher::loop;

  ChannelPhase phase() const { return phase_; }
  bool open() const { return phase_ == ChannelPhase::kOpen; }
  bool connecting() const { return phase_ == ChannelPhase::kConnecting; }
  bool closed() const { return phase_ == ChannelPhase::kClosed; }

  Udp udp() const { return udp_; }
  void set_udp(Udp udp) { udp_ = udp; }
  bool is_stream() const { return udp_ == Udp::kNo; }
  // Whether names are looked up in IPv6.
  bool ipv6() const { return ipv6_; }
  void set_ipv6(bool ipv6) { ipv6_ = ipv6; }
  // Whether the socket is of IPv6, whatever the caller claimed.
  bool socket_ipv6() const { return socket_ipv6_; }
  void set_socket_ipv6(bool ipv6) { socket_ipv6_ = ipv6; }
  // The caller's stream had no peer when the state was made: kqueue is silent
  // about such a one, so that an operation has to try without a report.
  bool was_unconnected() const { return was_unconnected_; }
  void set_was_unconnected() { was_unconnected_ = true; }

  // The user has the handle, or had it before us, and may have set options.
  bool handle_given() const { return handle_given_; }
  void set_handle_given() const { handle_given_ = true; }

  // ---- What goes to and comes from the socket.

  Transfer Receive(EventLoop& loop, std::span<char> buffer) {
    return loop.kernel().Receive(handle(), buffer);
  }
  Transfer Peek(EventLoop& loop) { return loop.kernel().Peek(handle()); }
  Transfer Send(EventLoop& loop, std::span<const ConstBuffer> buffers) {
    return loop.kernel().Send(handle(), buffers);
  }
  Error ReceiveDatagram(EventLoop& loop, std::span<char> buffer,
                        bool want_sender, IncomingDatagram* datagram) {
    return loop.kernel().ReceiveDatagram(handle(), buffer, want_sender,
                                         datagram);
  }
  Error ReceiveOne(EventLoop& loop, DatagramBatch& batch) {
    return batch.ReceiveOne(loop.kernel(), handle());
  }
  Transfer ReceiveBatch(EventLoop& loop, DatagramBatch& batch, size_t count) {
    return batch.Receive(loop.kernel(), handle(), /*want_sender=*/true, count);
  }
  Transfer SendDatagrams(EventLoop& loop,
                         std::span<const OutgoingDatagram> datagrams) {
    return loop.kernel().SendDatagrams(handle(), datagrams);
  }
  Error ShutDown(EventLoop& loop, Direction direction) {
    return loop.kernel().Shutdown(handle(), direction);
  }
  Error StartConnect(EventLoop& loop, const SocketAddress& target) {
    return loop.kernel().Connect(handle(), target);
  }
  Error TakeError(EventLoop& loop) { return loop.kernel().TakeError(handle()); }
  // None when the socket has none, or is closed.
  std::optional<SocketAddress> LocalAddress() const;
  std::optional<SocketAddress> PeerAddress() const;

  // ---- Watching.

  // Whether to be told that the socket is ready in one direction.
  void Want(EventLoop& loop, Readiness direction, bool wanted) {
    Readiness others = EventLoop::Wanted(*this) & ~direction;
    loop.Want(*this, wanted ? others | direction : others);
  }
  bool Wants(Readiness directions) const {
    return EventLoop::Wants(*this, directions);
  }
  // What was queued is sent soon: when the state's callback has returned, if
  // one is running.
  void SendSoon(EventLoop& loop) {
    if (!loop.InCallbackOf(*this)) loop.FlushLater(*this);
  }

  // ---- Phases.

  void BeginConnecting() { phase_ = ChannelPhase::kConnecting; }
  // The connect is over, with or without a socket, and its callback comes next.
  void EndConnecting() {
    phase_ = handle() == kNoHandle ? ChannelPhase::kUnconnected
                                   : ChannelPhase::kOpen;
  }
  // Gives it the socket that it did not have.
  void Attach(Handle handle, Family family);
  // Closes the socket, without which the state cannot do anything any more.
  void Drop();
  // Leaves the loop for good. Returns the socket, which is the caller's to
  // close.
  Handle Leave(EventLoop& loop) {
    Handle handle = this->handle();
    phase_ = ChannelPhase::kClosed;
    loop.Remove(*this);
    return handle;
  }

  // ---- What the state does when something in it has come to an end. In the
  // completion phase of a turn.

  virtual void OnInputEnded() = 0;
  // The operation is the oldest one.
  virtual void OnOutputEnded(OutputOperation& operation) = 0;
  // The name to which it goes has been resolved, or cannot be.
  virtual void OnTargetKnown(OutputOperation& operation) = 0;
  virtual void OnConnectEnded() = 0;
  virtual void OnEnding(Ending& ending) = 0;

  Ticket QueueInputEnded(EventLoop& loop);
  Ticket QueueConnectEnded(EventLoop& loop);

 protected:
  Channel() = default;
  ~Channel() override = default;

 private:
  ChannelPhase phase_ = ChannelPhase::kOpen;
  Udp udp_ = Udp::kNo;
  bool ipv6_ : 1 = false;
  bool socket_ipv6_ : 1 = false;
  bool was_unconnected_ : 1 = false;
  mutable bool handle_given_ : 1 = false;
};

}  // namespace aios

#endif  // AIOS_STATE_CHANNEL_H_
