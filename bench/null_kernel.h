// A kernel on which everything is ready and costs nothing, so that a benchmark
// measures what the library does and not what the system does.

#ifndef AIOS_BENCH_NULL_KERNEL_H_
#define AIOS_BENCH_NULL_KERNEL_H_

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "aios/kernel.h"

namespace aios::bench {

// Handles are any numbers from 0; all are connected streams. Sends take
// everything. Receives give what `input` holds, once for each time that it was
// set, in pieces of at most `piece` bytes.
class NullKernel : public Kernel {
 public:
  // Must stay where it is until it is read.
  void set_input(std::string_view input, size_t piece) {
    input_ = input;
    piece_ = piece;
  }
  int64_t sends() const { return sends_; }
  int64_t receives() const { return receives_; }

  std::string_view name() const override { return "null"; }
  Nanoseconds Now() override { return now_ += 1000; }
  Error Open(SocketType, Family, Handle*) override { return Error(EMFILE); }
  Error Adopt(Handle, SocketInfo* info) override {
    *info = {.connected = true};
    return {};
  }
  void Release(Handle) override {}
  void Close(Handle) override {}
  Error SetOption(Handle, SocketOption, bool) override { return {}; }
  Error GetOption(Handle, SocketOption, bool* on) override {
    *on = false;
    return {};
  }
  Error Bind(Handle, const SocketAddress&) override { return {}; }
  Error Listen(Handle, int) override { return {}; }
  Error Connect(Handle, const SocketAddress&) override { return {}; }
  Error TakeError(Handle) override { return {}; }
  Error Accept(Handle, Handle*) override { return Error(EAGAIN); }
  Error LocalAddress(Handle, SocketAddress*) override { return {}; }
  Error PeerAddress(Handle, SocketAddress*) override { return {}; }

  Transfer Receive(Handle, std::span<char> buffer) override {
    ++receives_;
    size_t count = std::min({buffer.size(), piece_, input_.size()});
    if (count == 0) return {.error = Error(EAGAIN)};
    std::copy_n(input_.begin(), count, buffer.begin());
    input_.remove_prefix(count);
    return {.count = count};
  }
  Transfer Peek(Handle) override {
    return {.count = input_.empty() ? 0U : 1U,
            .error = input_.empty() ? Error(EAGAIN) : Error()};
  }
  Transfer Send(Handle, std::span<const ConstBuffer> buffers) override {
    ++sends_;
    size_t count = 0;
    for (const ConstBuffer& buffer : buffers) count += buffer.size;
    return {.count = count};
  }
  Error ReceiveDatagram(Handle, std::span<char>, bool,
                        IncomingDatagram*) override {
    return Error(EAGAIN);
  }
  Transfer SendDatagrams(Handle,
                         std::span<const OutgoingDatagram> datagrams) override {
    return {.count = datagrams.size()};
  }
  Error Shutdown(Handle, Direction) override { return {}; }
  uint32_t InterfaceIndex(std::string_view) override { return 0; }

  Error NewPoller(std::unique_ptr<Poller>* poller) override {
    *poller = std::make_unique<NullPoller>();
    return {};
  }
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness,
                    Readiness to) override {
    std::vector<Report>& ready = static_cast<NullPoller&>(poller).ready;
    auto position = static_cast<size_t>(handle);
    if (position >= ready.size()) ready.resize(position + 1);
    ready[position] = {.token = token, .ready = to};
    return {};
  }
  // Never sleeps: time passes all the same.
  size_t Wait(Poller& poller, std::span<Report> reports, Nanoseconds) override {
    size_t count = 0;
    for (Report report : static_cast<NullPoller&>(poller).ready) {
      if (input_.empty()) report.ready &= ~kReadable;
      if (report.ready == kNotReady) continue;
      if (count == reports.size()) break;
      reports[count++] = report;
    }
    return count;
  }
  void Wake(Poller&) override {}

 private:
  struct NullPoller final : Poller {
    // By handle.
    std::vector<Report> ready;
  };

  Nanoseconds now_ = 1'000'000'000;
  std::string_view input_;
  size_t piece_ = 1;
  int64_t sends_ = 0;
  int64_t receives_ = 0;
};

}  // namespace aios::bench

#endif  // AIOS_BENCH_NULL_KERNEL_H_
