// A kernel whose outcomes a test decides: time goes on when the test says so,
// sends take as much as the test allows, connects wait until they are let go.
// It gives no more than the contract: what looks ready and yet would block is a
// spurious report. What a stream's call could move it moves at once: the cells
// of the table are about the order of whole steps.

#ifndef AIOS_TESTS_ENDING_ENDING_KERNEL_H_
#define AIOS_TESTS_ENDING_ENDING_KERNEL_H_

#include <cstddef>
#include <limits>
#include <memory>
#include <span>

#include "absl/functional/any_invocable.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "tests/ending/handle_kernel.h"

namespace aios::test {

class EndingKernel final : public HandleKernel {
 public:
  static constexpr size_t kUnlimited = std::numeric_limits<size_t>::max();

  using HandleKernel::HandleKernel;

  // Who watches over the base knows nothing of what is made up here.
  OperationObserver* observer() override { return nullptr; }

  // Lets time pass at once.
  void AdvanceClock(Nanoseconds length) { skew_ += length; }

  // How much sends take from now on, all together: bytes of streams, numbers of
  // datagrams.
  void AllowSends(size_t amount) { sends_left_ = amount; }

  // The next call of its kind fails.
  void FailNextReceive(Error error) { receive_error_ = error; }
  void FailNextSend(Error error) { send_error_ = error; }
  void FailNextInterest(Error error) { interest_error_ = error; }

  // How `Connect` answers: as the base does; with this error, or OK when it has
  // really connected; or it stays in progress until `LetConnectGo`.
  enum class Connects { kAsUsual, kAtOnce, kHeld };
  void SetConnects(Connects connects) { connects_ = connects; }
  void FailNextConnect(Error error) { connect_error_ = error; }
  void LetConnectGo();

  // Bytes of streams, and datagrams as one each.
  size_t received() const { return received_; }
  size_t sent() const { return sent_; }

  Nanoseconds Now() override { return KernelDecorator::Now() + skew_; }
  void Close(Handle handle) override;
  Error Connect(Handle handle, const SocketAddress& address) override;
  Error TakeError(Handle handle) override;
  Transfer Receive(Handle handle, std::span<char> buffer) override;
  Transfer Peek(Handle handle) override;
  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) override;
  Transfer ReceiveDatagrams(Handle handle, bool want_sender,
                            std::span<IncomingDatagram> datagrams) override;
  Error ReceiveDatagram(Handle handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) override;
  Transfer SendDatagrams(Handle handle,
                         std::span<const OutgoingDatagram> datagrams) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  // Reports of both directions of a handle come as one.
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;
  // The tests take the turns themselves.
  bool Drive(Poller& /*poller*/,
             absl::AnyInvocable<Nanoseconds()> /*turn*/) override {
    return false;
  }

 private:
  Nanoseconds skew_ = 0;
  size_t sends_left_ = kUnlimited;
  Error receive_error_;
  Error send_error_;
  Error interest_error_;
  Error connect_error_;
  // Of a connect that was let go and failed at once.
  Error late_connect_error_;
  Connects connects_ = Connects::kAsUsual;
  Handle held_ = kNoHandle;
  SocketAddress held_address_;
  size_t received_ = 0;
  size_t sent_ = 0;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_ENDING_ENDING_KERNEL_H_
