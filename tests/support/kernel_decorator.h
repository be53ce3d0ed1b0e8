// What the decorators of kernels share: a kernel that passes every call on to
// another one, with a look at each before and after. Decorators make no system
// call and read no clock, so they work over any kernel, and over each other.

#ifndef AIOS_TESTS_SUPPORT_KERNEL_DECORATOR_H_
#define AIOS_TESTS_SUPPORT_KERNEL_DECORATOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios::test {

// The calls of `Kernel`, `name` aside.
enum class KernelCall : uint8_t {
  kNow,
  kOpen,
  kAdopt,
  kRelease,
  kClose,
  kSetOption,
  kGetOption,
  kBind,
  kListen,
  kConnect,
  kTakeError,
  kAccept,
  kLocalAddress,
  kPeerAddress,
  kReceive,
  kPeek,
  kSend,
  kReceiveDatagram,
  kReceiveDatagrams,
  kSendDatagrams,
  kShutdown,
  kInterfaceIndex,
  kReadFile,
  kNewPoller,
  kSetInterest,
  kWait,
  kWake,
};

inline constexpr size_t kKernelCallCount =
    static_cast<size_t>(KernelCall::kWake) + 1;

// As in kernel.h, such as "SetInterest".
std::string_view CallName(KernelCall call);

// False for those that have no way to say that they failed: `Now`, `Release`,
// `Close`, `Wait` and `Wake`.
bool CanFail(KernelCall call);

class KernelDecorator : public Kernel {
 public:
  // `base` must outlive the decorator.
  explicit KernelDecorator(Kernel& base) : base_(base) {}

  std::string_view name() const override { return base_.name(); }
  Nanoseconds Now() override;
  Error Open(SocketType type, Family family, Handle* handle) override;
  Error Adopt(Handle handle, SocketInfo* info) override;
  void Release(Handle handle) override;
  void Close(Handle handle) override;
  Error SetOption(Handle handle, SocketOption option, bool on) override;
  Error GetOption(Handle handle, SocketOption option, bool* on) override;
  Error Bind(Handle handle, const SocketAddress& address) override;
  Error Listen(Handle handle, int backlog) override;
  Error Connect(Handle handle, const SocketAddress& address) override;
  Error TakeError(Handle handle) override;
  Error Accept(Handle listener, Handle* connection) override;
  Error LocalAddress(Handle handle, SocketAddress* address) override;
  Error PeerAddress(Handle handle, SocketAddress* address) override;
  Transfer Receive(Handle handle, std::span<char> buffer) override;
  Transfer Peek(Handle handle) override;
  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) override;
  Error ReceiveDatagram(Handle handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) override;
  Transfer SendDatagrams(Handle handle,
                         std::span<const OutgoingDatagram> datagrams) override;
  Transfer ReceiveDatagrams(Handle handle, bool want_sender,
                            std::span<IncomingDatagram> datagrams) override;
  Error Shutdown(Handle handle, Direction direction) override;
  uint32_t InterfaceIndex(std::string_view name) override;
  Transfer ReadFile(std::string_view path, uint64_t offset,
                    std::span<char> buffer, FileStamp* stamp) override;
  Error NewPoller(std::unique_ptr<Poller>* poller) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;
  void Wake(Poller& poller) override;
  bool Drive(Poller& poller, absl::AnyInvocable<Nanoseconds()> turn) override {
    return base_.Drive(poller, std::move(turn));
  }
  void RunLibrary(absl::FunctionRef<void()> function) override {
    base_.RunLibrary(function);
  }
  OperationObserver* observer() override { return base_.observer(); }

 protected:
  Kernel& base() { return base_; }

  // Before each call. An error is given to the caller in place of the call,
  // which is not made; it is ignored for those that cannot fail. `handle` is
  // kNoHandle for calls without one.
  virtual Error Before(KernelCall call, Handle handle);

  // After each call, made or not, with what the caller is given.
  virtual void After(KernelCall call, Handle handle, Error error);

 private:
  template <typename Function>
  Error Pass(KernelCall call, Handle handle, Function function);
  template <typename Function>
  Transfer PassTransfer(KernelCall call, Handle handle, Function function);

  Kernel& base_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_KERNEL_DECORATOR_H_
