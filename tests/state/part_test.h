// What the tests of a state's parts have in common: a kernel whose answers are
// written down beforehand, a loop on it, and a channel that counts what it is
// told.

#ifndef AIOS_TESTS_STATE_PART_TEST_H_
#define AIOS_TESTS_STATE_PART_TEST_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"
#include "aios/aios.h"
#include "aios/event_loop.h"
#include "aios/state/channel.h"
#include "aios/state/ending.h"
#include "aios/state/factory.h"
#include "aios/state/output_operation.h"
#include "bench/null_kernel.h"
#include "gtest/gtest.h"

namespace aios::test {

// A receive gives the next of `input`; none left: EAGAIN. A send takes as many
// bytes, or datagrams, as the next of `room` says; none left: all.
class WrittenKernel final : public bench::NullKernel {
 public:
  struct Input {
    std::string bytes;
    int error = 0;  // with no bytes; 0: the end of the stream
  };
  std::deque<Input> input;
  struct Room {
    size_t count = 0;
    int error = 0;
  };
  std::deque<Room> room;
  // What was sent, one string each call or datagram; sizes asked for.
  std::vector<std::string> sent;
  std::vector<size_t> asked;
  std::vector<Handle> closed;
  std::vector<Direction> shut;
  int connect_error = 0;
  int socket_error = 0;
  bool has_peer = true;

  Transfer Receive(Handle, std::span<char> buffer) override {
    asked.push_back(buffer.size());
    if (input.empty()) return {.error = Error(EAGAIN)};
    Input& next = input.front();
    Transfer transfer = {.count = std::min(next.bytes.size(), buffer.size()),
                         .error = Error(next.error)};
    std::copy_n(next.bytes.begin(), transfer.count, buffer.begin());
    next.bytes.erase(0, transfer.count);
    if (next.bytes.empty()) input.pop_front();
    return transfer;
  }
  Transfer Peek(Handle) override {
    if (input.empty()) return {.error = Error(EAGAIN)};
    return {.count = input.front().bytes.empty() ? 0U : 1U,
            .error = Error(input.front().error)};
  }
  Transfer Send(Handle, std::span<const ConstBuffer> buffers) override {
    std::string all;
    for (const ConstBuffer& buffer : buffers) {
      all.append(buffer.data, buffer.size);
    }
    Room next = {.count = all.size()};
    if (!room.empty()) {
      next = room.front();
      room.pop_front();
    }
    sent.push_back(all.substr(0, next.count));
    return {.count = std::min(next.count, all.size()),
            .error = Error(next.error)};
  }
  Error ReceiveDatagram(Handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) override {
    if (input.empty()) return Error(EAGAIN);
    Input next = input.front();
    input.pop_front();
    if (next.error != 0) return Error(next.error);
    datagram->size = std::min(next.bytes.size(), buffer.size());
    datagram->truncated = next.bytes.size() > buffer.size();
    std::copy_n(next.bytes.begin(), datagram->size, buffer.begin());
    if (want_sender) {
      datagram->sender = SocketAddress(IpAddress::Loopback(Family::kIpv4), 7);
    }
    return {};
  }
  Transfer SendDatagrams(Handle,
                         std::span<const OutgoingDatagram> all) override {
    Room next = {.count = all.size()};
    if (!room.empty()) {
      next = room.front();
      room.pop_front();
    }
    for (const OutgoingDatagram& datagram : all.first(next.count)) {
      sent.emplace_back(datagram.payload.data, datagram.payload.size);
    }
    return {.count = next.count, .error = Error(next.error)};
  }
  Error Connect(Handle, const SocketAddress&) override {
    return Error(connect_error);
  }
  Error TakeError(Handle) override { return Error(socket_error); }
  Error PeerAddress(Handle, SocketAddress*) override {
    return Error(has_peer ? 0 : ENOTCONN);
  }
  Error Shutdown(Handle, Direction direction) override {
    shut.push_back(direction);
    return {};
  }
  void Close(Handle handle) override { closed.push_back(handle); }
};

class CountingChannel final : public Channel {
 public:
  int inputs_ended = 0;
  std::vector<OutputOperation*> outputs_ended;
  int connects_ended = 0;
  std::vector<Ending*> endings;
  int flushes = 0;

  void OnReady(Readiness) override {}
  void OnWatchFailed(Error) override {}
  Nanoseconds OnTimer(Nanoseconds) override { return kForever; }
  void OnDue(uint8_t) override {}
  void OnFlush() override { ++flushes; }
  void OnCollectionClose() override { Leave(*loop()); }
  void OnInputEnded() override { ++inputs_ended; }
  void OnOutputEnded(OutputOperation& operation) override {
    outputs_ended.push_back(&operation);
  }
  void OnTargetKnown(OutputOperation&) override {}
  void OnConnectEnded() override { ++connects_ended; }
  void OnEnding(Ending& ending) override { endings.push_back(&ending); }
};

class PartTest : public testing::Test {
 protected:
  static constexpr Handle kHandle = 3;

  explicit PartTest(size_t output_queue_bytes_max = 100)
      : limits_{.output_queue_bytes_max = output_queue_bytes_max,
                .output_queue_length_max = 3,
                .input_buffer_bytes_max = 64,
                .bytes_per_turn_max = 32},
        collection_(*MakeWaitStateCollection(kernel_, {.limits = limits_})),
        loop_(StateFactory::Loop(*collection_)) {
    loop_.Add(channel_, kHandle);
  }
  ~PartTest() override {
    if (channel_.loop() != nullptr) channel_.Leave(loop_);
  }

  // Runs `function` in a turn of the loop, as callbacks do.
  void InATurn(std::function<void()> function) {
    ASSERT_TRUE(collection_->Apply(std::move(function)).ok());
    Turn();
  }
  void Turn() {
    collection_->Wait(absl::ZeroDuration());
    collection_->Call();
  }

  static IoCallback Ignore() {
    return [](AsyncIoState&, const IoResult&) {};
  }

  WrittenKernel kernel_;
  const Limits limits_;
  std::unique_ptr<WaitStateCollection> collection_;
  EventLoop& loop_;
  CountingChannel channel_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_STATE_PART_TEST_H_
