// One socket with its asynchronous state: what is being read and written, the
// timeouts, the input buffer and the output queue.
//
// How every operation ends. It ends exactly once:
//   * by its callback (or its error callback, see below),
//   * or by the callback of `Abort` in its place,
//   * or silently, when the state is closed or destroyed.
// None of these runs inside the call that started the operation. Buffers belong
// to the caller and must stay as they are until the operation ended.
//
// Which callback. A success, a timeout, an end of file, and `kAborted` for
// queued writes go to the callback; an error goes to the error callback when
// one was given, otherwise to the callback as well.
//
// Errors of the caller. A call that cannot start returns a status whose message
// names the state and the operation in progress, and changes nothing:
// InvalidArgument (bad argument, wrong kind of socket), FailedPrecondition
// (closed, not connected yet, direction busy), ResourceExhausted (queue full).
// The callbacks it was given are destroyed before it returns, with all that
// they captured, and never run: what must survive a refusal, such as the state
// itself, is to be owned elsewhere.

#ifndef AIOS_ASYNC_IO_STATE_H_
#define AIOS_ASYNC_IO_STATE_H_

#include <any>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/host_spec.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/state/received.h"
#include "aios/wait_state_collection.h"

namespace aios {

// What the caller promises about a socket. Lisp: nil, t, :connected.
enum class Udp : uint8_t { kNo, kUnconnected, kConnected };

// Family of a socket that aios makes. Lisp: :any, nil, t, :both.
enum class Ipv6 : uint8_t {
  kAny,   // that of the address given, or else IPv4
  kNo,    // IPv4
  kYes,   // IPv6 only
  kBoth,  // an IPv6 socket that serves IPv4, too, as mapped addresses
};

inline constexpr size_t kToEnd = std::numeric_limits<size_t>::max();

// A timeout that an operation is given. Three different things: not given (the
// state's timeout stays as it is), `absl::InfiniteDuration()` (none), and a
// length. Given, it becomes the state's timeout for this and all later
// operations of the direction. Zero: try once without waiting. Negative, and so
// not-a-number: InvalidArgument.
using Timeout = std::optional<absl::Duration>;

// A value for the state's one user-info slot, when given; it stays there after
// the operation.
using UserInfo = std::optional<std::any>;

struct ReadBufferOptions {
  size_t start = 0;     // of the range of the buffer to fill
  size_t end = kToEnd;  // and its end; `kToEnd`: the buffer's
  Timeout timeout = {};
  std::optional<IoCallback> error_callback = {};
  UserInfo user_info = {};
};

struct ReadWithCheckingOptions {
  Timeout timeout = {};
  // Becomes the state's `max_read`, when given. At least 1.
  std::optional<size_t> max_read = {};
  std::optional<IoCallback> error_callback = {};
  UserInfo user_info = {};
};

struct ReceiveMessagesOptions {
  Timeout timeout = {};
  std::optional<IoCallback> error_callback = {};
  UserInfo user_info = {};
};

struct WaitForInputOptions {
  Timeout timeout = {};
  UserInfo user_info = {};
};

struct ReceiveMessageOptions {
  size_t start = 0;
  size_t end = kToEnd;
  Timeout timeout = {};
  std::optional<IoCallback> error_callback = {};
  bool needs_address = false;
  UserInfo user_info = {};
};

// For `WriteBuffer`, `SendMessage` and `SendMessageToAddress`.
struct WriteOptions {
  size_t start = 0;
  size_t end = kToEnd;
  Timeout timeout = {};
  std::optional<IoCallback> error_callback = {};
  UserInfo user_info = {};
};

struct GetBufferedDataOptions {
  size_t start = 0;
  size_t end = kToEnd;
};

struct CloseOptions {
  // Leaves the socket open, for the caller to use and close.
  bool keep_alive = false;
};

struct AbortAndCloseOptions {
  // Called with the state when it is closed.
  absl::AnyInvocable<void(AsyncIoState&)> close_callback = {};
  bool keep_alive = false;
};

struct ShutdownOptions {
  // Ends the operations in progress of the direction first.
  bool abort = false;
  // Called with the result, whether or not the call returned it already.
  IoCallback callback = {};
};

struct CreateAsyncIoStateOptions {
  absl::Duration read_timeout = absl::InfiniteDuration();
  absl::Duration write_timeout = absl::InfiniteDuration();
  std::any user_info = {};
  Udp udp = Udp::kNo;
  // Whether the socket is of IPv6: the family in which `SendMessageToAddress`
  // looks names up.
  bool ipv6 = false;
  std::string name = {};
  // Lets write operations wait behind the one in progress, instead of refusing
  // them.
  bool queue_output = false;
};

class AsyncIoState {
 public:
  // Closes the state, and its socket, silently. Allowed in every callback, the
  // state's own included.
  ~AsyncIoState() = default;
  // Inside a callback of `ReadWithChecking` or `ReceiveMessages` the object
  // itself goes when that has returned.
  void operator delete(AsyncIoState* state, std::destroying_delete_t);
  AsyncIoState(const AsyncIoState&) = delete;
  AsyncIoState& operator=(const AsyncIoState&) = delete;

  // ---- Input. At most one input operation at a time; a second one is refused
  // with FailedPrecondition and disturbs nothing. After an end of file or a
  // hard error of a stream each new operation ends with that status again,
  // after what is left in the input buffer has been read. Lack of memory in the
  // system (ENOBUFS, ENOMEM) is no error here: the call is made again, until it
  // succeeds or the timeout is over.

  // Fills `buffer[start, end)` completely, from the input buffer first and then
  // from the socket. At a timeout or an end of file the bytes read so far are
  // in place and count as read. The timeout is that of the whole operation. An
  // empty range is InvalidArgument. Lisp: `async-io-state-read-buffer`.
  [[nodiscard]] absl::Status ReadBuffer(std::span<char> buffer,
                                        IoCallback callback,
                                        ReadBufferOptions options = {});

  // Reads into the state's own buffer and calls `callback` again and again,
  // each time with all that is there as `data`, until it has called `Finish` or
  // was given a status other than `kOk`. The callback says by `Discard` how
  // much it has consumed; what it leaves is there in front of the new bytes the
  // next time, and `old_length` says how much that is. Between two calls at
  // most `max_read` bytes are read. The timeout is an idle timeout: it starts
  // anew whenever the callback has returned. Bytes left by an earlier operation
  // are offered at once. Lisp: `async-io-state-read-with-checking`.
  [[nodiscard]] absl::Status ReadWithChecking(IoCallback callback);
  [[nodiscard]] absl::Status ReadWithChecking(IoCallback callback,
                                              ReadWithCheckingOptions options);

  // Drops the first `n` bytes of the input buffer and returns how many are
  // left. Only in the callback of `ReadWithChecking`, or in an abort callback
  // that interrupted one (FailedPrecondition elsewhere, and once the state is
  // closed). More than there are: InvalidArgument, nothing is dropped. In the
  // callback of `ReceiveMessages` there are none.
  // Lisp: `async-io-state-discard`.
  absl::StatusOr<size_t> Discard(size_t n) {
    if (!received_.MayDropUnseen(n)) [[unlikely]] {
      return DiscardInDetail(n);
    }
    received_.Drop(n);
    return received_.size();
  }

  // Ends the `ReadWithChecking` or `ReceiveMessages` whose callback is running,
  // which is not called again, after dropping the first `n` bytes; returns how
  // many are left. A new input operation may be started at once. Errors: as
  // `Discard`.
  // Lisp: `async-io-state-finish`.
  absl::StatusOr<size_t> Finish(size_t n = 0);

  // Ends when there is input (`kOk`), or the stream has ended, without reading
  // any. Errors are given to the callback.
  // Lisp: `async-io-state-wait-for-input`.
  [[nodiscard]] absl::Status WaitForInput(IoCallback callback,
                                          WaitForInputOptions options = {});

  // Receives what one receive call of the kernel gives: on UDP one datagram
  // (`truncated` when it did not fit; an empty one is a success with count 0),
  // on TCP what has arrived, or `kEof`. On TCP bytes in the input buffer come
  // first. A UDP state whose callbacks start the next receive may have received
  // up to 64 datagrams ahead, for the next operations; closing loses them.
  // Lisp: `async-io-state-receive-message`.
  [[nodiscard]] absl::Status ReceiveMessage(std::span<char> buffer,
                                            IoCallback callback);
  [[nodiscard]] absl::Status ReceiveMessage(std::span<char> buffer,
                                            IoCallback callback,
                                            ReceiveMessageOptions options);

  // The same with `needs_address` and no other options, at less cost.
  [[nodiscard]] absl::Status ReceiveMessageWithAddress(std::span<char> buffer,
                                                       IoCallback callback);

  // Receives one datagram after the other into the collection's memory and
  // calls `callback` again and again, each time with one as `data`, of whatever
  // length, and with its `sender`; both are valid until the callback returns,
  // whatever it does. It goes on until the callback has called `Finish`, or was
  // given a status other than `kOk`: an error of the socket, a timeout, or
  // `kEof` when input has been shut down. The timeout is an idle timeout, as
  // that of `ReadWithChecking`.
  //
  // When datagrams come faster than one a turn, up to 64 are received together,
  // and the callback is called for one right after the other. Those it has not
  // been called for when the operation ends, and when other callbacks have to
  // come before, are kept: the next input operation has them first.
  // `Shutdown` of input and closing lose them. An `Abort` or `AbortAndClose` of
  // the callback takes effect before the next datagram. InvalidArgument on TCP.
  // No Lisp symbol: `async-io-state-receive-message`, started again by its
  // callback.
  [[nodiscard]] absl::Status ReceiveMessages(IoCallback callback);
  [[nodiscard]] absl::Status ReceiveMessages(IoCallback callback,
                                             ReceiveMessagesOptions options);

  // Bytes that were read from the socket and not yet handed over.
  // Lisp: `async-io-state-buffered-data-length`.
  size_t BufferedDataLength() const { return received_.size(); }

  // Moves as many of them as fit into `buffer[start, end)` and returns how
  // many. FailedPrecondition while an operation is in progress. Works after
  // `Close`. Lisp: `async-io-state-get-buffered-data`.
  absl::StatusOr<size_t> GetBufferedData(std::span<char> buffer,
                                         GetBufferedDataOptions options = {});

  // ---- Output. A second operation while one is in progress is refused with
  // FailedPrecondition, or with `queue_output` waits for its turn, in the order
  // of the calls. The time of a queued operation counts from its turn. When an
  // operation fails or times out on a stream, those queued behind it end by
  // their callbacks with `kAborted` and count 0, in order; datagrams go on.
  // "Written" means handed to the operating system.
  //
  // Lack of memory in the system (ENOBUFS, ENOMEM) is no error of a stream: the
  // write goes on as soon as it can, until its timeout is over. A datagram ends
  // with that error: see `SendMessage`.

  // Writes `data[start, end)` completely. TCP only; an empty range is
  // InvalidArgument.
  // Lisp: `async-io-state-write-buffer`.
  [[nodiscard]] absl::Status WriteBuffer(std::string_view data,
                                         IoCallback callback);
  [[nodiscard]] absl::Status WriteBuffer(std::string_view data,
                                         IoCallback callback,
                                         WriteOptions options);

  // Sends `data[start, end)` as one message on a connected socket. Datagrams
  // may be empty. An error is of this datagram, or news of an earlier one;
  // those behind it go all the same, and nothing is sent twice. So ENOBUFS
  // (macOS and the BSDs: a queue of the system is full, and nothing tells when
  // it is not) says that the datagram is lost, and EMSGSIZE that it is longer
  // than the system takes: there 9,216 bytes unless SO_SNDBUF is raised. On TCP
  // the same as `WriteBuffer`. Lisp: `async-io-state-send-message`.
  [[nodiscard]] absl::Status SendMessage(std::string_view data,
                                         IoCallback callback);
  [[nodiscard]] absl::Status SendMessage(std::string_view data,
                                         IoCallback callback,
                                         WriteOptions options);

  // Sends `data[start, end)` as one datagram on an unconnected UDP socket. A
  // host name is looked up in IPv6 when the state has `ipv6`, otherwise in
  // IPv4, and the best of its addresses is taken. The datagram keeps its place
  // in the output queue meanwhile, and the timeout counts the lookup; what goes
  // wrong with it is an error of the operation, with the name in
  // `IoResult::detail`. NotFound for a service that does not exist. Lisp:
  // `async-io-state-send-message-to-address`.
  [[nodiscard]] absl::Status SendMessageToAddress(const HostSpec& host,
                                                  const Service& service,
                                                  std::string_view data,
                                                  IoCallback callback,
                                                  WriteOptions options = {});

  // The same to an address that `ReceiveMessage` delivered.
  [[nodiscard]] absl::Status SendMessageToAddress(const SocketAddress& address,
                                                  std::string_view data,
                                                  IoCallback callback);
  [[nodiscard]] absl::Status SendMessageToAddress(const SocketAddress& address,
                                                  std::string_view data,
                                                  IoCallback callback,
                                                  WriteOptions options);

  // Answers what the running callback of `ReadWithChecking` was given: writes
  // `data`, which is no longer needed when this call has returned. All replies
  // of a callback leave together, at once when it has returned: from the input
  // buffer if they lie in what the callback was given, otherwise from a copy
  // (more than 64 of them, or more than 64 KiB of copies, take more than one
  // call of the kernel). What the kernel does not take then is written later.
  // Meanwhile the `ReadWithChecking` is paused: a peer that does not take its
  // answers is read no further, and only the write timeout counts. When they
  // are written it goes on, with what the callback has left in the input
  // buffer, if anything, whether or not more has come.
  //
  // There is no callback. A reply that fails, is aborted, or is not taken
  // whole within the write timeout, ends the `ReadWithChecking` with its status
  // (if that was finished or aborted meanwhile, only `write_status` tells).
  // `Finish`, `Shutdown` and `Close` send the replies that were made before
  // them; `Close` does so once, and drops what is not taken.
  //
  // In the callback of `ReceiveMessages` it sends one datagram, perhaps empty,
  // to the sender, or to the peer of a connected socket. The replies to
  // datagrams that were received together leave together. What the kernel does
  // not take then is copied as well, and the receiving is paused; but a reply
  // that fails, is aborted or times out is lost, as datagrams are
  // (`write_status` tells, until the next one is sent), and the receiving goes
  // on.
  //
  // FailedPrecondition outside those callbacks, in their last call, after
  // `Finish`, and behind another write without `queue_output`. InvalidArgument
  // for no bytes on a stream. ResourceExhausted when more would wait than the
  // output queue may hold: leave the request in the input buffer. No Lisp
  // symbol: `async-io-state-write-buffer` with a copy and a callback that goes
  // on reading.
  [[nodiscard]] absl::Status Reply(std::string_view data) {
    return received_.in_callback() == InCallback::kMessages
               ? ReplyToDatagram(data)
               : ReplyOnStream(data);
  }

  // ---- Ending.

  // Ends what is in progress in `direction`; `abort_callback` is called later
  // in place of its callback, once and in every case. It gets the status
  // `kAborted` with what was done so far, or a result that is not `interrupted`
  // when nothing was in progress. From the call on no I/O is done for what it
  // ends, and the direction is free for the next operation. Queued writes end
  // by their own callbacks, with `kAborted` and count 0, before it. With `kIo`
  // it gets no details. Inside a callback of this state the abort takes effect
  // when that has returned, on what is in progress then. A connect in progress
  // counts as an operation in both directions. The state stays usable.
  // FailedPrecondition on a closed state.
  // Lisp: `async-io-state-abort`.
  [[nodiscard]] absl::Status Abort(IoCallback abort_callback,
                                   Direction direction = Direction::kInput);

  // Aborts everything silently, then closes the state, then calls the close
  // callback. Nothing of it happens inside this call. FailedPrecondition on a
  // closed state.
  // Lisp: `async-io-state-abort-and-close`.
  absl::Status AbortAndClose(AbortAndCloseOptions options = {});

  // Shuts the socket down in `direction`. Returns true when that is done, false
  // when an operation has to be aborted first (`abort`): its callbacks are not
  // called, and the result arrives by the callback. Without `abort` an
  // operation in progress ends by itself; writes that have been started are
  // tried once more before, so that what the system has room for is sent, and
  // what it has none for fails with EPIPE. From then on input ends with `kEof`:
  // on TCP after the bytes that have arrived, on UDP at once. Errors: what the
  // kernel says; of a UDP socket without a peer, ENOTCONN on most systems, and
  // it is shut down all the same. Lisp: `async-io-state-shutdown`.
  absl::StatusOr<bool> Shutdown(Direction direction,
                                ShutdownOptions options = {});

  // Closes the state at once: operations in progress end silently. Returns the
  // number of bytes left in the input buffer, which can still be fetched. A
  // second time it does nothing and returns 0.
  //
  // What was written and has not arrived is sent by the system after that. A
  // SO_LINGER with a time, by which the system would keep the caller waiting
  // meanwhile, is switched off (one with zero, which resets the connection,
  // stays); so is it by destruction.
  // Lisp: `close-async-io-state`.
  size_t Close(CloseOptions options = {});

  // ---- Attributes. Each `set_` takes effect with the next operation.

  // The native handle, `kNoHandle` once closed. It may be used to set options;
  // docs/portability.md says which of them aios changes or makes up for. After
  // this call, as after `object`, closing the state takes a kernel call more,
  // which makes sure that it does not wait for a SO_LINGER.
  Handle handle() const;

  // The object given at creation: a `Handle`, or a pointer to the socket
  // stream. Lisp: `async-io-state-object`.
  std::any object() const;

  // Null once closed. Lisp: `async-io-state-collection`.
  WaitStateCollection* collection() const;
  bool closed() const;
  // Whether `ConnectTcp` is still at work.
  bool connecting() const;

  // Lisp: `async-io-state-name`.
  std::string name() const;
  void set_name(std::string name);

  // Lisp: `async-io-state-user-info`.
  const std::any& user_info() const;
  std::any& user_info();
  void set_user_info(std::any user_info);

  // `absl::InfiniteDuration()` for none. Setting: InvalidArgument when
  // negative. Lisp: `async-io-state-read-timeout`,
  // `async-io-state-write-timeout`.
  absl::Duration read_timeout() const;
  absl::Duration write_timeout() const;
  absl::Status set_read_timeout(absl::Duration timeout);
  absl::Status set_write_timeout(absl::Duration timeout);

  // The last status of each direction. A timeout, an abort and an error of a
  // datagram are forgotten when the next operation of the direction starts.
  // Lisp: `async-io-state-read-status`, `async-io-state-write-status`.
  IoStatus read_status() const;
  IoStatus write_status() const;
  // The reason while the status is `kError`.
  Error read_error() const;
  Error write_error() const;

  // How many bytes a `ReadWithChecking` reads at most between two calls of its
  // callback. 16 KiB unless set. Setting 0, or more than 1 GiB:
  // InvalidArgument.
  // Lisp: `async-io-state-max-read`.
  size_t max_read() const;
  absl::Status set_max_read(size_t max_read);

  // How much of `data` the previous call of the `ReadWithChecking` callback has
  // seen already.
  // Lisp: `async-io-state-old-length`.
  size_t old_length() const;

  // Bytes and operations in the output queue, the one in progress included.
  // Replies are in it, several as one, when they have to wait and their
  // callback has returned.
  size_t output_queue_bytes() const;
  size_t output_queue_length() const;

  // The address of this end, and of the other; none when the socket has none.
  // Lisp: `async-io-state-address`, `async-io-state-peer-address`.
  std::optional<SocketAddress> address() const;
  std::optional<SocketAddress> peer_address() const;

 protected:
  AsyncIoState() = default;

  // What the inline functions above look at. Everything else of a state is in
  // aios/state/state.h: only functions that make states make this class.
  [[no_unique_address]] Received received_;

 private:
  absl::StatusOr<size_t> DiscardInDetail(size_t n);
  absl::Status ReplyOnStream(std::string_view data);
  absl::Status ReplyToDatagram(std::string_view data);
};

// Makes a state for a socket that exists already. `handle` must be a stream or
// datagram socket of IPv4 or IPv6, and `options.udp` tell the truth about it.
// The state owns it from then on: `Close` closes it, unless kept alive. While
// the state exists the socket may be used directly in a direction in which the
// state is not used, and stays in its blocking mode where the system allows.
// Of its options those that join or cut datagrams (UDP_GRO, UDP_SEGMENT and
// UDP_CORK) are switched off, for good; docs/portability.md has others that
// matter.
// Errors: InvalidArgument, what the handle is in the message; the handle stays
// the caller's then.
// Lisp: `create-async-io-state`.
absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoState(
    WaitStateCollection& collection, Handle handle,
    CreateAsyncIoStateOptions options = {});

// An object that has a socket.
template <typename T>
concept SocketStream = requires(T& stream) {
  { stream.native_handle() } -> std::convertible_to<Handle>;
};

// How `CreateAsyncIoState` refers to a socket stream.
struct SocketStreamObject {
  Handle handle = kNoHandle;
  std::any pointer = {};  // to the stream
  // Closes the stream; null when closing the handle is all there is to do.
  void (*close)(const std::any& pointer) = nullptr;
};
absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoStateOnStream(
    WaitStateCollection& collection, SocketStreamObject object,
    CreateAsyncIoStateOptions options);

// The same for an object that has a socket, always TCP whatever `options.udp`
// says. The object must outlive the state; closing the state calls its
// `close()` if it has one, and otherwise closes its socket.
// `AsyncIoState::object` returns a pointer to it.
template <SocketStream Stream>
absl::StatusOr<std::unique_ptr<AsyncIoState>> CreateAsyncIoState(
    WaitStateCollection& collection, Stream& stream,
    CreateAsyncIoStateOptions options = {}) {
  SocketStreamObject object{.handle = stream.native_handle(),
                            .pointer = &stream};
  if constexpr (requires { stream.close(); }) {
    object.close = [](const std::any& pointer) {
      std::any_cast<Stream*>(pointer)->close();
    };
  }
  return CreateAsyncIoStateOnStream(collection, std::move(object),
                                    std::move(options));
}

}  // namespace aios

#endif  // AIOS_ASYNC_IO_STATE_H_
