#include "aios/state/replies.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

namespace aios {

namespace {

// As much of `replies` as `room` allows.
Transfer SendPart(EventLoop& loop, Channel& channel, const ReplyBatch& replies,
                  size_t room) {
  std::array<ConstBuffer, ReplyBatch::kLengthMax> part;
  size_t length = 0;
  for (const ConstBuffer& buffer : replies.buffers()) {
    if (room == 0) break;
    size_t size = std::min(buffer.size, room);
    part[length++] = {buffer.data, size};
    room -= size;
  }
  return channel.Send(loop, {part.data(), length});
}

}  // namespace

// ---- On a stream.

void Replies::HoldCopy(EventLoop& loop, Channel& channel, Output& output,
                       std::string_view data) {
  if (!loop.replies().AddCopy(data)) {
    // So much is sent at once, and the kernel copies it.
    loop.replies().Add(data);
    SendStream(loop, channel, output);
  }
}

// Copies what the kernel did not take of them to the output queue, or all of
// them behind what is being written already.
void Replies::QueueStream(EventLoop& loop, Channel& channel, Output& output,
                          Transfer sent) {
  ReplyBatch& replies = loop.replies();
  bool first = output.active() == nullptr;
  size_t room = loop.limits().bytes_per_turn_max;
  if (first && replies.bytes() > room) {
    sent = SendPart(loop, channel, replies, room);
  }
  if (!sent.error.ok() && !IsPassing(sent.error)) {
    output.Break(sent.error);
  }
  size_t size = replies.bytes() - sent.count;
  std::unique_ptr<char[]> rest(new char[size]);
  char* end = rest.get();
  size_t skip = sent.count;
  for (const ConstBuffer& buffer : replies.buffers()) {
    size_t skipped = std::min(skip, buffer.size);
    skip -= skipped;
    std::memcpy(end, buffer.data + skipped, buffer.size - skipped);
    end += buffer.size - skipped;
  }
  replies.Clear();
  Queue(loop, channel, output, std::move(rest), size, /*target=*/nullptr);
  // Also when the kernel might take more at once: see `Output::SendStream`.
  if (first && !output.is_broken()) output.WaitForSocket(loop, channel);
}

// ---- To datagrams.

void Replies::HoldOrSendDatagram(EventLoop& loop, Channel& channel,
                                 Output& output, std::string_view data) {
  if (HoldDatagram(loop, channel, data)) return;
  loop.datagram_replies().Add(
      {{data.data(), data.size()}, Target(loop, channel)});
  SendDatagrams(loop, channel, output);
}

// One that fails is lost. What the kernel does not take now goes to the output
// queue.
void Replies::SendOtherDatagrams(EventLoop& loop, Channel& channel,
                                 Output& output, Transfer sent) {
  std::span<const OutgoingDatagram> left = loop.datagram_replies().datagrams();
  for (;;) {
    left = left.subspan(sent.count);
    if (sent.error.code() == EAGAIN) break;
    if (!sent.error.ok()) left = left.subspan(1);
    output.SetStatus(sent.error.ok() ? IoStatus::kOk : IoStatus::kError,
                     sent.error);
    if (left.empty()) break;
    sent = channel.SendDatagrams(loop, left);
  }
  for (const OutgoingDatagram& reply : left) {
    QueueCopy(loop, channel, output, {reply.payload.data, reply.payload.size},
              reply.target);
  }
  if (!left.empty()) output.WaitForSocket(loop, channel);
}

// ---- In the queue.

void Replies::QueueCopy(EventLoop& loop, Channel& channel, Output& output,
                        std::string_view data, const SocketAddress* target) {
  std::unique_ptr<char[]> copy(new char[data.size()]);
  if (!data.empty()) std::memcpy(copy.get(), data.data(), data.size());
  Queue(loop, channel, output, std::move(copy), data.size(), target);
}

void Replies::Queue(EventLoop& loop, Channel& channel, Output& output,
                    std::unique_ptr<char[]> data, size_t size,
                    const SocketAddress* target) {
  waiting_ = true;
  // Nobody is called back.
  IoCallback none;
  OutputOperation& operation =
      Output::New(loop, channel, OutputKind::kReply, {data.get(), size}, none);
  operation.owned = std::move(data);
  if (target != nullptr) operation.target = *target;
  output.Add(loop, channel, operation);
}

}  // namespace aios
