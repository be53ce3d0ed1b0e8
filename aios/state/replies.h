// Answers without a callback: held while the callback that gives them runs,
// sent together when it has returned, and what the kernel does not take then
// queued among the writes.

#ifndef AIOS_STATE_REPLIES_H_
#define AIOS_STATE_REPLIES_H_

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/base/attributes.h"
#include "aios/address.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/reply_batch.h"
#include "aios/state/channel.h"
#include "aios/state/output.h"
#include "aios/state/received.h"

namespace aios {

// Those that are held lie in the collection: one callback runs at a time.
class Replies {
 public:
  // Some are in the output queue.
  bool waiting() const { return waiting_; }
  // One that was in the output queue has ended.
  void CountAnew(const Output& output) {
    waiting_ = output.Has(OutputKind::kReply);
  }

  // The gate: what the running callback has answered goes before whatever may
  // not overtake it.
  void SendHeld(EventLoop& loop, Channel& channel, Output& output) {
    if (!loop.InCallbackOf(channel)) return;
    if (!loop.replies().empty()) SendStream(loop, channel, output);
    if (!loop.datagram_replies().empty()) SendDatagrams(loop, channel, output);
  }

  // ---- On a stream.

  // Holds one more; the batch is not full. What lies in the input buffer stays
  // there until the callback has returned; other bytes may be gone when this
  // call has.
  void Hold(EventLoop& loop, Channel& channel, Output& output,
            const Received& received, std::string_view data) {
    if (received.Holds(data)) {
      loop.replies().Add(data);
    } else {
      HoldCopy(loop, channel, output, data);
    }
  }
  // Sends those that are held, at least one.
  ABSL_ATTRIBUTE_ALWAYS_INLINE void SendStream(EventLoop& loop,
                                               Channel& channel,
                                               Output& output) {
    ReplyBatch& replies = loop.replies();
    Transfer sent;
    if (output.active() == nullptr &&
        replies.bytes() <= loop.limits().bytes_per_turn_max) [[likely]] {
      sent = channel.Send(loop, replies.buffers());
      if (sent.count == replies.bytes()) [[likely]] {
        replies.Clear();
        output.SetStatus(IoStatus::kOk, Error());
        return;
      }
    }
    QueueStream(loop, channel, output, sent);
  }

  // ---- To datagrams.

  // Where a reply to the datagram goes that the callback was given last: null
  // for the peer.
  static const SocketAddress* Target(EventLoop& loop, const Channel& channel) {
    return channel.udp() == Udp::kUnconnected
               ? &loop.datagram_batch_in_use().last().sender
               : nullptr;
  }
  // Until the callbacks have returned that follow one another. Returns false
  // when there is no room.
  ABSL_ATTRIBUTE_ALWAYS_INLINE static bool HoldDatagram(EventLoop& loop,
                                                        const Channel& channel,
                                                        std::string_view data) {
    DatagramReplies& replies = loop.datagram_replies();
    DatagramBatch& batch = loop.datagram_batch_in_use();
    if (replies.full() || data.size() > DatagramReplies::kSizeMax ||
        !batch.Keep(&data)) [[unlikely]] {
      return false;
    }
    replies.Add({{data.data(), data.size()}, Target(loop, channel)});
    return true;
  }
  // The same with none before it: sent at once where there is no room.
  void HoldOrSendDatagram(EventLoop& loop, Channel& channel, Output& output,
                          std::string_view data);
  ABSL_ATTRIBUTE_ALWAYS_INLINE void SendDatagrams(EventLoop& loop,
                                                  Channel& channel,
                                                  Output& output) {
    DatagramReplies& replies = loop.datagram_replies();
    output.SetStatus(IoStatus::kOk, Error());
    Transfer sent = channel.SendDatagrams(loop, replies.datagrams());
    if (sent.count != replies.length()) [[unlikely]] {
      SendOtherDatagrams(loop, channel, output, sent);
    }
    replies.Clear();
  }

  // Queues a copy of `data` behind what is being written already.
  void QueueCopy(EventLoop& loop, Channel& channel, Output& output,
                 std::string_view data, const SocketAddress* target);

 private:
  ABSL_ATTRIBUTE_NOINLINE void HoldCopy(EventLoop& loop, Channel& channel,
                                        Output& output, std::string_view data);
  void QueueStream(EventLoop& loop, Channel& channel, Output& output,
                   Transfer sent);
  void SendOtherDatagrams(EventLoop& loop, Channel& channel, Output& output,
                          Transfer sent);
  void Queue(EventLoop& loop, Channel& channel, Output& output,
             std::unique_ptr<char[]> data, size_t size,
             const SocketAddress* target);

  bool waiting_ = false;
};

}  // namespace aios

#endif  // AIOS_STATE_REPLIES_H_
