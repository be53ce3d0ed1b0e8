// Datagrams that a state receives: alone, several together, and those that wait
// for its next operation.

#ifndef AIOS_STATE_DATAGRAMS_H_
#define AIOS_STATE_DATAGRAMS_H_

#include <memory>
#include <span>
#include <utility>

#include "absl/base/attributes.h"
#include "aios/address.h"
#include "aios/datagram_batch.h"
#include "aios/error.h"
#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/state/channel.h"
#include "aios/state/input.h"

namespace aios {

class Datagrams {
 public:
  // ---- Those that were received ahead.

  bool empty() const { return batch_ == nullptr; }
  // Takes the next one out for the operation in progress, which ends well.
  void TakeNext(EventLoop& loop, Input& input);
  // The same for a callback that is called at once.
  IncomingDatagram TakeNow(EventLoop& loop, std::span<char> buffer);
  // Puts them where callbacks are called with one after the other.
  DatagramBatch& PutBack(EventLoop& loop) {
    loop.PutDatagramBatch(std::move(batch_));
    return loop.datagram_batch();
  }
  // Keeps what is left there for the next callback, or the next operation.
  void Keep(EventLoop& loop) {
    if (!loop.datagram_batch().empty()) batch_ = loop.TakeDatagramBatch();
  }
  void Drop(EventLoop& loop) {
    if (batch_ != nullptr) loop.GiveDatagramBatch(std::move(batch_));
  }

  // The sender of what the last operation received, or is about to tell of.
  const SocketAddress& sender() const { return sender_; }
  void set_sender(const SocketAddress& sender) { sender_ = sender; }

  // ---- Receiving. What returns a bool says whether the operation has ended.

  // For a `ReceiveMessage`: one datagram, or when its callback asks again and
  // again, several. `more` is null for a state that needs no more than the
  // datagram itself.
  static bool ReceiveMessage(EventLoop& loop, Channel& channel, Input& input,
                             Datagrams* more) {
    if (input.asks_again() && more->batch_size_.get() != 1) {
      return more->ReceiveAhead(loop, channel, input);
    }
    IncomingDatagram datagram;
    Error error = channel.ReceiveDatagram(loop, input.buffer(),
                                          input.needs_address(), &datagram);
    if (!error.ok()) [[unlikely]] {
      return input.EndDatagram(error);
    }
    input.SetReceived(datagram.size, datagram.truncated);
    if (input.needs_address()) more->sender_ = datagram.sender;
    if (input.asks_again()) more->batch_size_.CameAlone();
    return input.EndWell();
  }

  // For a `ReceiveMessages`: one or several into `batch`.
  ABSL_ATTRIBUTE_ALWAYS_INLINE Error ReceiveTogether(EventLoop& loop,
                                                     Channel& channel,
                                                     DatagramBatch& batch) {
    if (batch_size_.get() == 1) [[likely]] {
      Error error = channel.ReceiveOne(loop, batch);
      if (error.ok()) batch_size_.CameAlone();
      return error;
    }
    Transfer transfer = channel.ReceiveBatch(loop, batch, batch_size_.get());
    if (transfer.error.ok()) batch_size_.Came(transfer.count);
    return transfer.error;
  }
  // The same for a callback that is called later.
  bool ReceiveForLater(EventLoop& loop, Channel& channel, Input& input);

 private:
  bool ReceiveAhead(EventLoop& loop, Channel& channel, Input& input);

  BatchSize batch_size_;
  // Null when nothing is left in it.
  std::unique_ptr<DatagramBatch> batch_;
  SocketAddress sender_;
};

}  // namespace aios

#endif  // AIOS_STATE_DATAGRAMS_H_
