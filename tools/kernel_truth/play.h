// One situation as it is played on a kernel, and the record of what the kernel
// said. Everything goes through the seam (aios/kernel.h), so the same play runs
// on every kernel.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_PLAY_H_
#define AIOS_TOOLS_KERNEL_TRUTH_PLAY_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "tools/kernel_truth/lab.h"

namespace aios::kernel_truth {

inline constexpr Readiness kBoth = kReadable | kWritable;

SocketAddress AnyAddress(Family family, uint16_t port = 0);
SocketAddress LoopbackAddress(Family family, uint16_t port = 0);
// As 127.0.0.1 for a socket of IPv6.
SocketAddress MappedAddress(uint16_t port = 0);

class Play {
 public:
  explicit Play(Lab& lab);
  // What is still open is closed, without leaving anything behind.
  ~Play();
  Play(const Play&) = delete;
  Play& operator=(const Play&) = delete;

  Kernel& kernel() { return kernel_; }

  // Closes everything that is open, without leaving anything behind.
  void Clear();
  // A connection had this port before, and something of it may be left.
  bool HasBeenUsed(uint16_t port) const {
    return lab_.used_ports().count(port) != 0;
  }
  void Use(uint16_t port) { lab_.used_ports().insert(port); }
  // What is done in it is not recorded; a failure of the scene is.
  void Unseen(absl::FunctionRef<void()> scene);
  // What has been recorded since the record had so many steps.
  size_t steps() const { return steps_.size(); }
  std::string TakeSince(size_t steps);

  // ---- The scene. Nothing of it is recorded; a failure is.

  // Sockets have a name in the record.
  Handle Stream(std::string_view name, Family family = Family::kIpv4);
  Handle Datagram(std::string_view name, Family family = Family::kIpv4);
  // On a free port of the loopback address.
  Handle BoundStream(std::string_view name, Family family = Family::kIpv4);
  Handle BoundDatagram(std::string_view name, Family family = Family::kIpv4);
  Handle Listener(std::string_view name = "listener",
                  Family family = Family::kIpv4, int backlog = 16);
  // Connected with each other; the listener is gone.
  struct Pair {
    Handle client = kNoHandle;
    Handle server = kNoHandle;
  };
  Pair Connected(Family family = Family::kIpv4);
  // A connected client of this listener, not accepted yet.
  Handle Client(Handle listener, std::string_view name = "client");
  Handle Accepted(Handle listener, std::string_view name = "server");
  // Where nobody answers, on this machine.
  SocketAddress NobodysStreamAddress();
  SocketAddress NobodysDatagramAddress();
  // Free on every address of this machine, of streams and of datagrams.
  uint16_t FreePort();
  // How others reach this socket.
  SocketAddress At(Handle handle);
  // These must be OK.
  void On(Handle handle, SocketOption option);
  void MustConnect(Handle handle, const SocketAddress& address);
  // Lets everything arrive.
  void Settle() { lab_.Settle(); }
  void ForbidHandles() { lab_.ForbidHandles(); }
  void AllowHandles() { lab_.AllowHandles(); }
  // Gone, without a word in the record.
  void Drop(Handle handle);

  // ---- Calls that are recorded. Each waits for everything to arrive first.

  // Some give what they record, for what depends on it.
  Error Connect(Handle handle, const SocketAddress& address);
  Handle Accept(Handle listener, std::string_view name = "server");
  Transfer Receive(Handle handle, size_t size = 64);
  void Peek(Handle handle);
  void Send(Handle handle, std::string_view bytes);
  void SendTo(Handle handle, const SocketAddress& target,
              std::string_view payload);
  // `sender`: who sent it is asked for, too.
  void ReceiveFrom(Handle handle, size_t size = 64, bool sender = false);
  void Shutdown(Handle handle, Direction direction);
  void TakeError(Handle handle);
  Error Bind(Handle handle, const SocketAddress& address);
  void Listen(Handle handle, int backlog = 16);
  void Addresses(Handle handle);
  void LocalAddress(Handle handle);
  void Set(Handle handle, SocketOption option, bool on = true);
  void Get(Handle handle, SocketOption option);
  void Adopt(Handle handle);
  void Close(Handle handle);
  void Reset(Handle handle);
  // Which readiness is reported, after `awaited` is.
  void Ready(Handle handle, Readiness awaited = kNotReady,
             Readiness interest = kBoth);

  // Anything else: "`step` → `result`".
  void Note(Handle handle, std::string_view step, std::string_view result);
  void Say(std::string_view text);

  // ---- Parts of longer plays.

  // Sends until no more is taken, or receives `size` bytes or until nothing is
  // there. Gives the number of bytes.
  size_t Fill(Handle handle);
  size_t Drain(Handle handle, size_t size);
  // "100 to 200", or the number when it is not in there.
  static std::string Band(size_t number, size_t from, size_t to);
  // Waits until all of `awaited` is reported; false when it does not come.
  bool Await(Handle handle, Readiness awaited);
  Readiness ReadinessNow(Handle handle, Readiness interest = kBoth);
  static std::string Text(Readiness readiness);
  // With the name of a socket instead of a port.
  std::string Text(const SocketAddress& address);

  // Everything that was recorded, from a step on.
  std::string Record(size_t from = 0) const;
  // What was played needs an address family that is missing here.
  bool lacks_family() const { return lacks_family_; }

 private:
  struct Actor {
    std::string name;
    Handle handle = kNoHandle;
    bool stream = false;
    bool open = true;
  };

  bool HasFamily(Family family);
  Handle Open(std::string_view name, SocketType type, Family family);
  void Must(Error error, std::string_view what);
  Actor* Find(Handle handle);
  void Forget(Handle handle);

  Lab& lab_;
  Kernel& kernel_;
  std::unique_ptr<Poller> poller_;
  std::vector<Actor> actors_;
  std::vector<std::pair<std::string, std::string>> steps_;  // actor and text
  bool lacks_family_ = false;
};

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_PLAY_H_
