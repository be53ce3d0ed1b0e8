#include "aios/state/datagrams.h"

namespace aios {

void Datagrams::TakeNext(EventLoop& loop, Input& input) {
  IncomingDatagram datagram = TakeNow(loop, input.buffer());
  input.SetReceived(datagram.size, datagram.truncated);
  sender_ = datagram.sender;
}

IncomingDatagram Datagrams::TakeNow(EventLoop& loop, std::span<char> buffer) {
  // The batch may go with its last datagram.
  IncomingDatagram datagram = batch_->Take(buffer);
  if (batch_->empty()) loop.GiveDatagramBatch(std::move(batch_));
  return datagram;
}

bool Datagrams::ReceiveForLater(EventLoop& loop, Channel& channel,
                                Input& input) {
  Error error = ReceiveTogether(loop, channel, loop.datagram_batch());
  if (!error.ok()) return input.EndDatagram(error);
  Keep(loop);
  return input.EndWell();
}

bool Datagrams::ReceiveAhead(EventLoop& loop, Channel& channel, Input& input) {
  std::unique_ptr<DatagramBatch> batch = loop.TakeDatagramBatch();
  Transfer transfer = channel.ReceiveBatch(loop, *batch, batch_size_.get());
  if (!transfer.error.ok()) [[unlikely]] {
    loop.GiveDatagramBatch(std::move(batch));
    return input.EndDatagram(transfer.error);
  }
  batch_size_.Came(transfer.count);
  batch_ = std::move(batch);
  TakeNext(loop, input);
  return input.EndWell();
}

}  // namespace aios
