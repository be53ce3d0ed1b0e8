// The seam: everything aios asks of an operating system. Sockets, readiness,
// waking and time sit in one class because they must come from one world: the
// epoll kernel, the kqueue kernel and the simulated one each implement it, and
// no other code makes a system call or reads a clock.
//
// THE CONTRACT. As short as it can be; each rule has tests of its number that
// run on every kernel (tests/kernel_contract_test.cc). Code above the seam may
// rely on these rules and on nothing else.
//
//  1. Only `Wait` blocks. Every other call returns at once, whatever the
//     blocking mode of the descriptor; what would block answers EAGAIN. But
//     `Close` may take as long as other code has told a handle to linger:
//     switch `kLinger` off before, where that may be.
//  2. Readiness is level-triggered. While a handle is ready in a direction that
//     its interest asks for, no `Wait` on its poller sleeps, and every `Wait`
//     reports it or, when the reports do not fit, a later one does, in turn.
//  3. Reports are hints. They may be spurious, come in any order and be split
//     over several waits; only the next call on the handle tells the truth. An
//     error, a hang-up or an end of file on a handle is a report of the
//     directions asked for. Reports may name directions that were not asked for
//     as well: the caller masks. A handle whose interest is empty is never
//     reported.
//  4. `SetInterest` counts from the next `Wait` at the latest. Reports already
//     handed out are not taken back: the caller drops those of a handle it has
//     meanwhile closed. A change that fails says so from the call, and the
//     interest is as it was, or as the error of a later report, and the handle
//     has no interest any more.
//  5. `Wait` returns when there are reports, when its poller was woken or when
//     the timeout has passed, whichever is first; it may return early without
//     any. A timeout is rounded up, so that a `Wait` that is not disturbed
//     never ends before it.
//  6. `Wake` may be called from any thread. The `Wait` in progress, or else the
//     next one, returns without sleeping. Wakes before that merge into one.
//  7. `Receive` gives 1 or more bytes, or 0 without an error at the end of the
//     stream, again on every call. Fewer bytes than asked for prove nothing.
//  8. `Send` takes a prefix of the buffers: at least one byte, or an error.
//     After the peer is gone the error is EPIPE or ECONNRESET; no signal is
//     ever raised. ENOBUFS and ENOMEM, here and from calls that receive, are
//     passing: nothing is lost, the call may be repeated, and the handle may be
//     reported meanwhile. (They are the end of a datagram that was to be sent.)
//  9. Datagrams go and come whole, one buffer each. One that is longer than the
//     buffer is cut and flagged; an empty one is a datagram like any other.
//     `Adopt` switches off what would join or cut them.
// 10. An error that the network left on a handle is given once: to the next
//     call on it, or to `TakeError`. Other code that has asked for its details
//     (IP_RECVERR) may fetch them until the next call that answers EAGAIN.
// 11. `Connect` answers OK, an error, or EINPROGRESS; then the handle becomes
//     writable when the attempt has ended, and `TakeError` says how.
// 12. `Accept` gives connections in the order of their arrival, EAGAIN when
//     there is none. When it fails for lack of descriptors or memory, which it
//     may do although there is none, the connection stays and the handle stays
//     ready. On macOS the system itself drops a connection for which there is
//     no descriptor, so the kernel looks first whether there is one; what it
//     cannot see is that another thread takes the last one in between, or that
//     the whole system has none: then the connection is reset.
// 13. An interrupted call (EINTR) is repeated by the kernel, or answers EAGAIN
//     where it could block; callers never see it.
// 14. `Close` never fails and ends every report of the handle, unless other
//     code holds a duplicate of it (a child process, `dup`): empty the interest
//     first where that may be. The handle may be given to the next `Open` or
//     `Accept`.
// 15. `Now` never goes back and is always greater than zero.
// 16. Kernels are safe to use from several threads; one handle and one poller,
//     `Wake` aside, belong to one thread at a time. So no handle is closed
//     while another thread waits in a poller that watches it.
// 17. A poller belongs to the process that made it. A child that has a copy
//     (fork) may close handles, set interest and destroy the poller, all of
//     which leaves its parent undisturbed; it must not wait.

#ifndef AIOS_KERNEL_H_
#define AIOS_KERNEL_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "aios/address.h"
#include "aios/error.h"

namespace aios {

class OperationObserver;

// A socket as its kernel names it: a file descriptor on real systems.
using Handle = int;
inline constexpr Handle kNoHandle = -1;

// Nanoseconds, as a point on the kernel's monotonic clock or as a length.
using Nanoseconds = int64_t;
inline constexpr Nanoseconds kForever = std::numeric_limits<int64_t>::max();

enum class SocketType : uint8_t { kStream, kDatagram };

enum class SocketOption : uint8_t {
  kReuseAddress,
  kReusePort,
  kNoDelay,
  kKeepAlive,
  kIpv6Only,
  // Whether `Close` waits for what was sent to arrive (SO_LINGER, with a time).
  // Only to be switched off.
  kLinger,
};

enum class Direction : uint8_t { kInput = 1, kOutput = 2, kIo = 3 };

// Sets of directions, for interest and readiness.
using Readiness = uint8_t;
inline constexpr Readiness kNotReady = 0;
inline constexpr Readiness kReadable = 1;
inline constexpr Readiness kWritable = 2;

// What a stream call did: `count` bytes, or an error.
struct Transfer {
  size_t count = 0;
  Error error = {};
};

// One buffer of a gathering send; same layout idea as iovec.
struct ConstBuffer {
  const char* data = nullptr;
  size_t size = 0;
};

struct OutgoingDatagram {
  ConstBuffer payload;
  // Null on a connected socket. Must be of the family of the socket.
  const SocketAddress* target = nullptr;
};

struct IncomingDatagram {
  std::span<char> buffer = {};  // where to, for `ReceiveDatagrams`
  size_t size = 0;              // bytes stored
  bool truncated = false;
  SocketAddress sender;  // only when asked for
};

// What a socket that was made elsewhere turns out to be.
struct SocketInfo {
  SocketType type = SocketType::kStream;
  Family family = Family::kIpv4;
  bool connected = false;
  bool listening = false;
};

// Tells whether a file has changed: two that are equal are of the same text,
// unless the first of them is `fresh`.
struct FileStamp {
  uint64_t size = 0;  // bytes; some systems say 0 of files that they make up
  uint64_t device = 0;
  uint64_t inode = 0;
  // When the text was changed, and when anything was, in nanoseconds of the
  // system's calendar time.
  int64_t modified = 0;
  int64_t changed = 0;
  // It was changed so shortly before that the next change could leave the same
  // times, since clocks of file systems are coarse.
  bool fresh = false;

  friend bool operator==(const FileStamp& a, const FileStamp& b) {
    return a.size == b.size && a.device == b.device && a.inode == b.inode &&
           a.modified == b.modified && a.changed == b.changed;
  }
};

// Whether a call that moves bytes of a stream, or receives, has failed for now
// only: what would block, and rule 8.
inline bool IsPassing(Error error) {
  return error.code() == EAGAIN || error.code() == ENOBUFS ||
         error.code() == ENOMEM;
}

// One entry of a `Wait`. `error` is set when a change of interest failed late.
struct Report {
  void* token = nullptr;
  Readiness ready = kNotReady;
  Error error = {};
};

// A place to wait in; one for each collection. Each kernel derives its own.
class Poller {
 public:
  virtual ~Poller() = default;

 protected:
  Poller() = default;
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;
};

class Kernel {
 public:
  virtual ~Kernel() = default;

  // "epoll", "kqueue", …
  virtual std::string_view name() const = 0;

  // The monotonic time. Rule 15.
  virtual Nanoseconds Now() = 0;

  // Makes a socket, not inherited by child processes.
  virtual Error Open(SocketType type, Family family, Handle* handle) = 0;

  // Takes a socket that was made elsewhere: says what it is, and prepares it so
  // that rule 1 holds. ENOTSOCK or EBADF when it is none, EPROTONOSUPPORT when
  // it is not a stream or datagram socket of IPv4 or IPv6.
  virtual Error Adopt(Handle handle, SocketInfo* info) = 0;

  // Gives a handle back to other code, in the blocking mode in which `Adopt`
  // found it; one that `Open` or `Accept` made, in blocking mode. The handle
  // must have no interest.
  virtual void Release(Handle handle) = 0;

  virtual void Close(Handle handle) = 0;

  virtual Error SetOption(Handle handle, SocketOption option, bool on) = 0;
  virtual Error GetOption(Handle handle, SocketOption option, bool* on) = 0;

  virtual Error Bind(Handle handle, const SocketAddress& address) = 0;
  // `backlog` 0 or less: as long as the system allows.
  virtual Error Listen(Handle handle, int backlog) = 0;
  // On a datagram socket this only fixes the peer, and never is in progress.
  virtual Error Connect(Handle handle, const SocketAddress& address) = 0;
  // Reads the error the network left on the handle, and clears it.
  virtual Error TakeError(Handle handle) = 0;
  virtual Error Accept(Handle listener, Handle* connection) = 0;

  virtual Error LocalAddress(Handle handle, SocketAddress* address) = 0;
  // ENOTCONN when there is no peer.
  virtual Error PeerAddress(Handle handle, SocketAddress* address) = 0;

  // Streams. `buffer` and the sum of `buffers` are not empty. `Peek` tells what
  // `Receive` would give, up to one byte, and leaves it there; an error that it
  // gives is taken all the same (rule 10). It works on datagrams too.
  virtual Transfer Receive(Handle handle, std::span<char> buffer) = 0;
  virtual Transfer Peek(Handle handle) = 0;
  virtual Transfer Send(Handle handle,
                        std::span<const ConstBuffer> buffers) = 0;

  // Datagrams. `want_sender` fills in the sender. `SendDatagrams` sends a
  // prefix of the list and gives its length; the error, if any, is of the
  // datagram after that prefix, and given only when the prefix is empty.
  // Otherwise the next call meets it again, unless it was one that the network
  // left on the handle (rule 10): that one is lost.
  virtual Error ReceiveDatagram(Handle handle, std::span<char> buffer,
                                bool want_sender,
                                IncomingDatagram* datagram) = 0;
  virtual Transfer SendDatagrams(
      Handle handle, std::span<const OutgoingDatagram> datagrams) = 0;
  // Receives what is there into the first of `datagrams`, which are not empty,
  // and gives their number; an error only when that is none. One that the
  // network left on the handle and that comes after them is not lost: the next
  // call gives it (rule 10), and the handle is ready until then. One after the
  // other unless a kernel overrides it, as it must where such an error can come
  // after a datagram that was there before it.
  virtual Transfer ReceiveDatagrams(Handle handle, bool want_sender,
                                    std::span<IncomingDatagram> datagrams);

  // Each direction that is asked for is shut down, also when the other one is
  // already, by a call before or by the peer's end of the stream. To do it
  // again is OK. ENOTCONN when there is no peer or none any more, though some
  // systems say OK then, and a datagram socket may be shut down all the same.
  virtual Error Shutdown(Handle handle, Direction direction) = 0;

  // The index of a network interface, 0 when there is none of this name.
  virtual uint32_t InterfaceIndex(std::string_view name) = 0;

  // Reads a file by which the system is configured, such as /etc/hosts: the
  // bytes from `offset` on, fewer than `buffer` has room for only at the end of
  // the file. `stamp` is that of the file before they were read; an empty
  // `buffer` asks for it alone, which takes no descriptor. Nothing stays open:
  // whoever reads in pieces compares their stamps. Errors: ENOENT when there is
  // no file, as always on a kernel without files; EINVAL for what is not a
  // regular one; others (EACCES, EMFILE, …) say nothing about what is in it.
  virtual Transfer ReadFile(std::string_view path, uint64_t offset,
                            std::span<char> buffer, FileStamp* stamp);

  // Readiness. `from` is the interest set last for this handle on this poller
  // (none for a new one), `to` the one to have; `token` comes back in reports.
  virtual Error NewPoller(std::unique_ptr<Poller>* poller) = 0;
  virtual Error SetInterest(Poller& poller, Handle handle, void* token,
                            Readiness from, Readiness to) = 0;
  // Returns the number of reports written. `timeout` of 0 polls, `kForever`
  // waits for ever. `reports` is not empty.
  virtual size_t Wait(Poller& poller, std::span<Report> reports,
                      Nanoseconds timeout) = 0;
  virtual void Wake(Poller& poller) = 0;

  // A kernel that runs its collections itself, as a simulated one does, keeps
  // `turn` for as long as the poller exists and returns true. `turn` runs one
  // turn of the poller's collection without sleeping, and returns for how long
  // the collection would sleep then. `Wake` tells such a kernel that there is
  // something to do.
  virtual bool Drive(Poller& /*poller*/,
                     absl::AnyInvocable<Nanoseconds()> /*turn*/) {
    return false;
  }

  // Calls `function`, which is code of a library that reads clocks and draws
  // randomness by itself: a simulated kernel lets it see its own.
  virtual void RunLibrary(absl::FunctionRef<void()> function) { function(); }

  // Who is to be told of the operations of states on this kernel; null for
  // nobody.
  virtual OperationObserver* observer() { return nullptr; }
};

}  // namespace aios

#endif  // AIOS_KERNEL_H_
