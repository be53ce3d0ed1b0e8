// The sockets of one host of a scenario that are used without aios: so that
// what aios does is judged by something else.

#ifndef AIOS_SIM_PLAIN_SOCKETS_H_
#define AIOS_SIM_PLAIN_SOCKETS_H_

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "aios/error.h"
#include "aios/kernel.h"

namespace aios::sim {

class PlainSockets {
 public:
  // Told what became of it: how many bytes, whether the stream has ended, and
  // the error.
  using Done = absl::AnyInvocable<void(size_t count, bool end, Error error)>;
  using Received = absl::AnyInvocable<void(std::string_view bytes)>;

  // `kernel` must outlive it.
  explicit PlainSockets(Kernel& kernel);
  ~PlainSockets();
  PlainSockets(const PlainSockets&) = delete;
  PlainSockets& operator=(const PlainSockets&) = delete;

  // Whether the kernel calls `Turn`; otherwise somebody else has to.
  bool driven() const { return driven_; }
  // Returns for how long there is nothing to do.
  Nanoseconds Turn();

  // Runs it as a program of the host: not while the host is paused.
  void Post(absl::AnyInvocable<void()> function);

  // The others only in a function that was posted.

  // Sends all of it, which must stay. One at a time.
  void Send(Handle handle, std::string_view bytes, Done done);
  // Receives `size` bytes, or to the end of the stream. With `sip`, only so
  // many at a time, and the next after `every`. One at a time.
  struct ReceiveOptions {
    size_t size = 0;
    size_t sip = 0;
    Nanoseconds every = 0;
  };
  void Receive(Handle handle, const ReceiveOptions& options, Received received,
               Done done);
  bool sending(Handle handle) const;
  bool receiving(Handle handle) const;
  // Before it is closed: what is in progress ends silently.
  void Forget(Handle handle);

 private:
  struct Socket {
    Handle handle = kNoHandle;
    Readiness interest = kNotReady;
    bool sending = false;
    std::string_view unsent;
    size_t sent = 0;
    Done sent_all;
    bool receiving = false;
    ReceiveOptions options;
    size_t received = 0;
    Nanoseconds next_sip = 0;
    Received on_bytes;
    Done received_all;
  };

  void Pump(Socket& socket);
  void PumpOutput(Socket& socket);
  void PumpInput(Socket& socket);
  bool Sipping(const Socket& socket) const;

  Kernel& kernel_;
  std::unique_ptr<Poller> poller_;
  bool driven_ = false;
  std::deque<absl::AnyInvocable<void()>> posted_;
  // Never erased while it may be on the stack: forgotten ones go with the turn.
  std::map<Handle, std::shared_ptr<Socket>> sockets_;
  std::vector<char> room_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_PLAIN_SOCKETS_H_
