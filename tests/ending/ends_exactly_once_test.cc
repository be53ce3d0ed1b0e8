// Every operation ends exactly once: by its callback, by that of an abort in
// its place, or silently when its state is closed. Each cell of the table
// (cell.h) is one test; in each
//   * the callbacks that run, their order, status and count are the defined
//     ones, and none runs outside of `Call`;
//   * what the callbacks captured is destroyed, once, when the operation is
//     over; it owns the buffers, so that nobody may touch these any more;
//   * the bytes of the stream are those that were reported;
//   * the state works on, or is closed with its socket.
// No time passes: the clock is the test's.

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/aios.h"
#include "gtest/gtest.h"
#include "tests/ending/cell.h"
#include "tests/ending/ending_kernel.h"
#include "tests/support/kernels.h"
#include "tests/support/test_world.h"

namespace aios::test {
namespace {

constexpr std::string_view kBytes = "abcdefgh";
constexpr std::string_view kBytesBefore = "12345678";
static_assert(kBytes.size() == kFull && kBytesBefore.size() == kFull);

constexpr absl::Duration kTimeout = absl::Hours(1);
constexpr Nanoseconds kTimeoutOver = 3601 * Nanoseconds{1'000'000'000};

// What callbacks capture. Each is destroyed exactly once.
class Token {
 public:
  explicit Token(std::set<const Token*>& alive, std::string_view bytes = {})
      : alive_(alive), bytes_(bytes.begin(), bytes.end()) {
    EXPECT_TRUE(alive_.insert(this).second);
  }
  ~Token() { EXPECT_EQ(alive_.erase(this), 1u) << "destroyed twice"; }
  Token(const Token&) = delete;
  Token& operator=(const Token&) = delete;

  // The buffer of the operation: a block of its own, so that a sanitizer sees
  // whoever touches it too late.
  std::span<char> buffer() { return bytes_; }
  std::string_view data() const { return {bytes_.data(), bytes_.size()}; }

  // What goes with the callback: the state itself, in some tests.
  std::unique_ptr<AsyncIoState> owned;

 private:
  std::set<const Token*>& alive_;
  std::vector<char> bytes_;
};

class EndingTest {
 protected:
  // `is_owned`: the callback of the operation owns the state.
  EndingTest(const KernelParam& kernel, const Cell& cell, bool is_owned = false)
      : cell_(cell),
        is_owned_(is_owned),
        world_(kernel.make_world()),
        kernel_(world_->kernel()) {
    absl::StatusOr<std::unique_ptr<WaitStateCollection>> made =
        MakeWaitStateCollection(kernel_);
    EXPECT_TRUE(made.ok()) << made.status();
    collection_ = *std::move(made);
    MakeBystander();
  }

  ~EndingTest() {
    // States outlive their collection as closed ones.
    collection_.reset();
    for (AsyncIoState* state :
         {state_.get(), helper_.get(), bystander_.get()}) {
      if (state == nullptr) continue;
      EXPECT_TRUE(state->closed());
      EXPECT_EQ(state->handle(), kNoHandle);
      EXPECT_EQ(state->collection(), nullptr);
    }
    EXPECT_TRUE(tokens_.empty()) << tokens_.size() << " callbacks leaked";
    EXPECT_EQ(kernel_.open_handles(), 0u);
    EXPECT_EQ(kernel_.watched_handles(), 0u);
  }

  // A state with a deadline far away, which has nothing to do with it: so that
  // the collection looks at its timers whenever time passes.
  void MakeBystander() {
    absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
        OpenUdp(*collection_, {.name = "bystander"});
    ASSERT_TRUE(made.ok()) << made.status();
    bystander_ = *std::move(made);
    auto token = NewToken(".");
    std::span<char> buffer = token->buffer();
    absl::Status status = bystander_->ReceiveMessage(
        buffer,
        [token = std::move(token)](AsyncIoState&, const IoResult&) {
          ADD_FAILURE() << "nothing has happened to the bystander";
        },
        {.timeout = 1000 * kTimeout});
    ASSERT_TRUE(status.ok()) << status;
    Turn();
  }

  // Tokens, handles and states that are not the tested one's.
  size_t others() const {
    size_t count = 0;
    if (!bystander_->closed()) ++count;
    if (helper_ != nullptr && !helper_->closed()) ++count;
    return count;
  }

  // ---- Turns.

  void Wait(absl::Duration duration_max = absl::ZeroDuration()) {
    collection_->Wait(duration_max);
  }
  void Call() {
    calling_ = true;
    collection_->Call();
    calling_ = false;
  }
  void Turn(absl::Duration duration_max = absl::ZeroDuration()) {
    Wait(duration_max);
    Call();
  }
  [[nodiscard]] bool TurnUntil(absl::FunctionRef<bool()> condition) {
    return world_->Until([&] {
      if (condition()) return true;
      Turn(absl::Microseconds(100));
      return condition();
    });
  }
  // Until the kernel would report the state's socket, as often as it is asked.
  void AwaitReady(Readiness readiness) {
    Kernel& kernel = world_->kernel();
    Handle handle = state_raw_->handle();
    std::unique_ptr<Poller> poller;
    ASSERT_TRUE(kernel.NewPoller(&poller).ok());
    int token = 0;
    ASSERT_TRUE(
        kernel.SetInterest(*poller, handle, &token, kNotReady, readiness).ok());
    std::vector<Report> reports(1);
    EXPECT_TRUE(world_->Until([&] {
      return kernel.Wait(*poller, reports, 1'000'000) != 0;
    })) << "the socket does not become ready";
    EXPECT_TRUE(
        kernel.SetInterest(*poller, handle, &token, readiness, kNotReady).ok());
  }
  // A simulated network takes its time, and may deliver in pieces; on a real
  // one what was sent has arrived.
  void AwaitArrival() {
    if (!world_->simulated()) return;
    Nanoseconds start = world_->kernel().Now();
    EXPECT_TRUE(world_->Until(
        [&] { return world_->kernel().Now() - start > 1'000'000; }));
  }
  void AwaitReadable() { AwaitReady(kReadable); }

  // ---- Callbacks.

  std::unique_ptr<Token> NewToken(std::string_view bytes = {}) {
    return std::make_unique<Token>(tokens_, bytes);
  }

  using Extra = std::function<void(AsyncIoState&, const IoResult&)>;

  // Records its run, then does what is asked for.
  IoCallback Callback(Caller caller, std::unique_ptr<Token> token,
                      Extra extra = nullptr, bool is_error_callback = false) {
    return [this, caller, token = std::move(token), extra = std::move(extra),
            is_error_callback](AsyncIoState& state, const IoResult& result) {
      Record({.caller = caller,
              .status = result.status,
              .count = result.count,
              .interrupted = result.interrupted});
      EXPECT_EQ(&state, state_raw_);
      EXPECT_EQ(result.status == IoStatus::kError, !result.error.ok());
      if (has_error_callback(caller)) {
        EXPECT_EQ(is_error_callback, result.status == IoStatus::kError);
      }
      // Of those queued behind a failure or an abort, it is that one's.
      bool is_first =
          !cell_.is_queued() || (result.status != IoStatus::kAborted &&
                                 !(acted_ && cell_.act_concerns_it()));
      if ((caller == Caller::kOperation || caller == Caller::kAgain) &&
          is_first) {
        EXPECT_EQ(cell_.is_input() ? state.read_status() : state.write_status(),
                  result.status);
      }
      if ((caller == Caller::kAbort || caller == Caller::kFirstAbort) &&
          result.interrupted) {
        EXPECT_EQ(cell_.is_input() ? state.read_status() : state.write_status(),
                  IoStatus::kAborted);
      }
      if (cell_.is_input() && !cell_.is_checking() && !result.data.empty()) {
        EXPECT_EQ(result.data.size(), result.count);
        input_taken_ += result.data;
      }
      // It may destroy the state, and with that, perhaps, what it is in.
      Extra copy = extra;
      if (copy != nullptr) copy(state, result);
    };
  }

  // Of another operation than the one under test: only does what is asked for.
  IoCallback OtherCallback(std::unique_ptr<Token> token,
                           std::function<void()> action) {
    return [this, token = std::move(token), action = std::move(action)](
               AsyncIoState&, const IoResult&) {
      CheckPlace();
      std::function<void()> copy = action;
      copy();
    };
  }

  void Record(const Ran& ran) {
    CheckPlace();
    log_.push_back(ran);
    if (acted_) return;
    ++runs_before_act_;
  }

  void CheckPlace() const {
    EXPECT_FALSE(starting_) << "a callback inside a call that starts";
    EXPECT_TRUE(calling_) << "a callback outside of Call";
  }

  bool has_error_callback(Caller caller) const {
    return (caller == Caller::kOperation || caller == Caller::kBefore) &&
           !cell_.is_connect() && cell_.operation != Operation::kWaitForInput;
  }

  // ---- The state.

  Timeout timeout() const {
    return cell_.outcome == Outcome::kNever ? absl::InfiniteDuration()
                                            : kTimeout;
  }

  void Adopt(absl::StatusOr<std::unique_ptr<AsyncIoState>> made) {
    ASSERT_TRUE(made.ok()) << made.status();
    state_ = *std::move(made);
    state_raw_ = state_.get();
  }

  // Makes it, up to where the operation can be started. For `kWhenEnded` it is
  // prepared so that the operation ends at once.
  void MakeState() {
    bool ends_at_once = cell_.place == Place::kWhenEnded;
    switch (cell_.operation) {
      case Operation::kReceiveMessageUdp:
      case Operation::kReceiveMessages:
      case Operation::kSendMessageUdp:
      case Operation::kQueuedSend: {
        udp_peer_ = world_->Udp(Family::kIpv4);
        SocketAddress address = udp_peer_->address();
        Adopt(ConnectUdp(*collection_, address.ip(), address.port()));
        break;
      }
      case Operation::kSendMessageToAddress:
        udp_peer_ = world_->Udp(Family::kIpv4);
        Adopt(OpenUdp(*collection_,
                      {.local_address = world_->host_ip(Family::kIpv4)}));
        break;
      case Operation::kConnectTcp:
        if (ends_at_once) {
          kernel_.SetConnects(EndingKernel::Connects::kAtOnce);
          if (cell_.outcome == Outcome::kError) {
            kernel_.FailNextConnect(Error(ECONNREFUSED));
          }
        } else if (cell_.place != Place::kJustStarted ||
                   cell_.outcome == Outcome::kTimeout ||
                   cell_.outcome == Outcome::kNever) {
          kernel_.SetConnects(EndingKernel::Connects::kHeld);
        }
        if (cell_.outcome == Outcome::kError) {
          target_ = world_->RefusingAddress(SocketType::kStream, Family::kIpv4);
        } else {
          listener_ = world_->Listen(Family::kIpv4);
          target_ = listener_->address();
        }
        return;
      default: {
        TcpPair pair = world_->RawSocketPair(Family::kIpv4);
        peer_ = std::move(pair.peer);
        Adopt(CreateAsyncIoState(
            *collection_, pair.handle,
            {.name = "tested",
             .queue_output = cell_.operation == Operation::kQueuedWrite}));
        if (ends_at_once && cell_.is_input()) {
          ASSERT_NO_FATAL_FAILURE(PrepareInput());
        }
        break;
      }
    }
    if (cell_.is_input() || ends_at_once) return;
    // Otherwise they would be sent before anybody can interfere.
    bool at_once = cell_.place == Place::kJustStarted &&
                   cell_.outcome == Outcome::kSuccess;
    if (!at_once) kernel_.AllowSends(0);
    if (cell_.place == Place::kInCallbackOfWriteBefore &&
        cell_.outcome == Outcome::kNever) {
      kernel_.AllowSends(cell_.is_datagram() ? 1 : kFull);
    }
  }

  // Leaves bytes in the input buffer, or the stream at its end or broken, or
  // both.
  void PrepareInput() {
    bool leaves_bytes = cell_.operation == Operation::kReadBuffer ||
                        cell_.operation == Operation::kReadWithChecking ||
                        cell_.outcome == Outcome::kSuccess;
    size_t bytes = !leaves_bytes                        ? 0
                   : cell_.outcome == Outcome::kSuccess ? kFull
                                                        : kPart;
    bool over = false;
    bool all_there = false;
    absl::Status status = state_->ReadWithChecking(
        [&](AsyncIoState& state, const IoResult& result) {
          all_there = result.count == bytes;
          over = !result.ok();
          if (cell_.outcome == Outcome::kSuccess && all_there) {
            EXPECT_TRUE(state.Finish().ok());
            over = true;
          }
        });
    ASSERT_TRUE(status.ok()) << status;
    if (bytes != 0) {
      PeerSends(kBytes.substr(0, bytes));
      ASSERT_TRUE(TurnUntil([&] { return all_there; }));
    }
    if (cell_.outcome == Outcome::kEof) peer_->ShutdownWrite();
    if (cell_.outcome == Outcome::kError) peer_->Reset();
    ASSERT_TRUE(TurnUntil([&] { return over; }));
    ASSERT_EQ(state_->BufferedDataLength(), bytes);
  }

  void PeerSends(std::string_view bytes) {
    Error error = peer_->Send(bytes);
    // To a socket that is closed already it may fail.
    EXPECT_TRUE(error.ok() || may_be_closed()) << error.Name();
    peer_sent_ += bytes;
    AwaitArrival();
  }

  // ---- The operation.

  // `again`: the second time, without a timeout.
  void Start(bool again = false) {
    Caller caller = again ? Caller::kAgain : Caller::kOperation;
    Timeout timeout = again ? absl::InfiniteDuration() : this->timeout();
    // Of output, what is written; of input, room.
    auto token =
        NewToken(cell_.is_input() ? std::string_view("........") : kBytes);
    std::span<char> buffer = token->buffer();
    std::string_view data = token->data();
    Token* owner = is_owned_ ? token.get() : nullptr;
    if (owner != nullptr) owner->owned = std::move(state_);
    Extra extra;
    if (!again) {
      extra = [this](AsyncIoState& state, const IoResult& result) {
        InOwnCallback(state, result);
      };
    }
    IoCallback callback = Callback(caller, std::move(token), extra);
    IoCallback error_callback;
    if (has_error_callback(caller)) {
      error_callback = Callback(caller, NewToken(), extra,
                                /*is_error_callback=*/true);
    }
    if (cell_.is_queued() && !again) StartBefore();

    starting_ = true;
    absl::Status status;
    // None yet for a connect.
    AsyncIoState* state = state_raw_;
    switch (cell_.operation) {
      case Operation::kReadBuffer:
        status = state->ReadBuffer(
            buffer, std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kReadWithChecking:
        status = state->ReadWithChecking(
            std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kReceiveMessageTcp:
      case Operation::kReceiveMessageUdp:
        status =
            state->ReceiveMessage(buffer, std::move(callback),
                                  {.timeout = timeout,
                                   .error_callback = std::move(error_callback),
                                   .needs_address = true});
        break;
      case Operation::kReceiveMessages:
        status = state->ReceiveMessages(
            std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kWaitForInput:
        status = state->WaitForInput(std::move(callback), {.timeout = timeout});
        break;
      case Operation::kWriteBuffer:
      case Operation::kQueuedWrite:
        status = state->WriteBuffer(
            data, std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kSendMessageTcp:
      case Operation::kSendMessageUdp:
      case Operation::kQueuedSend:
        status = state->SendMessage(
            data, std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kSendMessageToAddress:
        status = state->SendMessageToAddress(
            udp_peer_->address(), data, std::move(callback),
            {.timeout = timeout, .error_callback = std::move(error_callback)});
        break;
      case Operation::kConnectTcp: {
        absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
            ConnectTcp(*collection_, target_.ip(), target_.port(),
                       std::move(callback), {.connect_timeout = *timeout});
        status = made.status();
        if (made.ok()) Adopt(std::move(made));
        if (owner != nullptr) owner->owned = std::move(state_);
        break;
      }
    }
    starting_ = false;
    ASSERT_TRUE(status.ok()) << status;
  }

  void StartBefore() {
    auto token = NewToken(kBytesBefore);
    std::string_view data = token->data();
    Extra extra = [this](AsyncIoState&, const IoResult&) {
      if (cell_.place == Place::kInCallbackOfWriteBefore) DoAct();
    };
    WriteOptions options = {
        .timeout = timeout(),
        .error_callback = Callback(Caller::kBefore, NewToken(), extra,
                                   /*is_error_callback=*/true)};
    IoCallback callback = Callback(Caller::kBefore, std::move(token), extra);
    starting_ = true;
    absl::Status status =
        cell_.is_datagram() ? state_raw_->SendMessage(data, std::move(callback),
                                                      std::move(options))
                            : state_raw_->WriteBuffer(data, std::move(callback),
                                                      std::move(options));
    starting_ = false;
    ASSERT_TRUE(status.ok()) << status;
  }

  void InOwnCallback(AsyncIoState& state, const IoResult& result) {
    bool last = true;
    if (cell_.is_checking()) {
      last = !result.ok() || cell_.outcome == Outcome::kSuccess;
      if (last) {
        // Consumes what there is; without an error that ends the read.
        input_taken_ += result.data;
        size_t size = cell_.is_datagram() ? 0 : result.data.size();
        absl::StatusOr<size_t> left =
            result.ok() ? state.Finish(size) : state.Discard(size);
        EXPECT_TRUE(left.ok()) << left.status();
      }
    }
    if (!last) {
      if (cell_.place == Place::kInEarlierCallback) DoAct();
      return;
    }
    if (cell_.place == Place::kInOwnCallback) DoAct();
    if (cell_.place == Place::kInOwnCallbackAfterRestart) {
      if (!cell_.is_input()) kernel_.AllowSends(0);
      Start(/*again=*/true);
      DoAct();
    }
  }

  // ---- What happens to it.

  // Lets it do a part of its work, if it can and is still there.
  void DoPart(bool is_active = true) {
    Turn();
    if (cell_.has_part()) {
      if (cell_.is_datagram()) {
        PeerSendsDatagram(kBytes.substr(0, kPart));
        AwaitArrival();
      } else if (cell_.is_input()) {
        PeerSends(kBytes.substr(0, kPart));
      } else {
        kernel_.AllowSends(kPart);
      }
      if (is_active) {
        ASSERT_TRUE(TurnUntil([&] {
          return (cell_.is_input() ? kernel_.received() : kernel_.sent()) >=
                 kPart;
        }));
      }
    }
    Turn();
  }

  // Makes the outcome come, as far as that is the world's doing.
  void MakeOutcome() {
    switch (cell_.outcome) {
      case Outcome::kSuccess:
        if (cell_.receives_datagrams()) {
          PeerSendsDatagram();
        } else if (cell_.is_input()) {
          PeerSends(kBytes);
        } else if (cell_.is_connect()) {
          kernel_.LetConnectGo();
        } else {
          kernel_.AllowSends(EndingKernel::kUnlimited);
        }
        break;
      case Outcome::kTimeout:
        kernel_.AdvanceClock(kTimeoutOver);
        break;
      case Outcome::kEof:
        EXPECT_TRUE(peer_->ShutdownWrite().ok());
        break;
      case Outcome::kError:
        MakeError();
        break;
      case Outcome::kNever:
        break;
    }
  }

  void MakeError() {
    if (cell_.is_connect()) {
      kernel_.LetConnectGo();
    } else if (cell_.receives_datagrams()) {
      kernel_.FailNextReceive(Error(ECONNREFUSED));
      PeerSendsDatagram();
    } else if (!cell_.is_input()) {
      // Not a reset, which some worlds take time to deliver.
      kernel_.FailNextSend(
          Error(cell_.is_datagram() ? EHOSTUNREACH : ECONNRESET));
      kernel_.AllowSends(EndingKernel::kUnlimited);
    } else if (cell_.place == Place::kInOtherDirectionsCallback) {
      // A reset would be told to the write.
      kernel_.FailNextReceive(Error(ECONNRESET));
      EXPECT_TRUE(peer_->Send("x").ok());
    } else {
      peer_->Reset();
    }
  }

  void PeerSendsDatagram(std::string_view bytes = kBytes) {
    std::optional<SocketAddress> address = state_raw_->address();
    ASSERT_TRUE(address.has_value());
    EXPECT_TRUE(udp_peer_->SendTo(*address, bytes).ok());
  }

  // Until the next `Wait` reports the outcome.
  void AwaitOutcome() {
    if (cell_.outcome == Outcome::kNever ||
        cell_.outcome == Outcome::kTimeout) {
      return;
    }
    if (cell_.is_connect()) AwaitReady(kWritable);
    if (cell_.is_input()) AwaitReadable();
  }

  // ---- What somebody does to it.

  void DoAct() {
    ASSERT_FALSE(acted_);
    acted_ = true;
    // Nothing of it happens inside the call; so it is as a start.
    bool was_starting = std::exchange(starting_, true);
    switch (cell_.act) {
      case Act::kNothing:
        break;
      case Act::kAbortInput:
        Abort(Direction::kInput);
        break;
      case Act::kAbortOutput:
        Abort(Direction::kOutput);
        break;
      case Act::kAbortIo:
        Abort(Direction::kIo);
        break;
      case Act::kAbortAndClose: {
        absl::Status status = state_raw_->AbortAndClose(
            {.close_callback = [this, token = NewToken()](AsyncIoState& state) {
              Record({.caller = Caller::kClose});
              EXPECT_TRUE(state.closed());
            }});
        EXPECT_TRUE(status.ok()) << status;
        EXPECT_FALSE(state_raw_->closed());
        break;
      }
      case Act::kShutdown: {
        // When nothing was in progress it is done already, and the kernel may
        // have refused it: the stream was reset, the datagrams have no peer.
        absl::StatusOr<bool> status = state_raw_->Shutdown(
            cell_.is_connect() ? Direction::kOutput : cell_.direction(),
            {.abort = true,
             .callback = [this, token = NewToken()](AsyncIoState&,
                                                    const IoResult& result) {
               EXPECT_FALSE(result.interrupted);
               Record({.caller = Caller::kShutdown});
             }});
        if (cell_.outcome != Outcome::kError &&
            cell_.operation != Operation::kSendMessageToAddress) {
          EXPECT_TRUE(status.ok()) << status.status();
        }
        break;
      }
      case Act::kClose:
        state_raw_->Close();
        if (!is_owned_) {
          EXPECT_TRUE(state_raw_->closed());
        }
        break;
      case Act::kDestroy:
        state_.reset();
        break;
      case Act::kCloseCollection:
        collection_->Close();
        EXPECT_EQ(collection_->size(), 0u);
        break;
      case Act::kDestroyCollection:
        collection_.reset();
        break;
    }
    starting_ = was_starting;
  }

  void Abort(Direction direction, Caller caller = Caller::kAbort,
             Extra extra = nullptr) {
    absl::Status status = state_raw_->Abort(
        Callback(caller, NewToken(), std::move(extra)), direction);
    EXPECT_TRUE(status.ok()) << status;
  }

  void ActInAbortCallback() {
    ASSERT_NO_FATAL_FAILURE(DoPart());
    starting_ = true;
    Abort(cell_.direction(), Caller::kFirstAbort,
          [this](AsyncIoState&, const IoResult&) {
            Start(/*again=*/true);
            DoAct();
          });
    starting_ = false;
    ASSERT_TRUE(TurnUntil([&] { return acted_; }));
  }

  bool stays_open() const { return !cell_.closes(); }

  // The helper's operations end at once: its stream is at its end.
  void MakeHelper() {
    TcpPair pair = world_->RawSocketPair(Family::kIpv4);
    absl::StatusOr<std::unique_ptr<AsyncIoState>> made =
        CreateAsyncIoState(*collection_, pair.handle, {.name = "helper"});
    ASSERT_TRUE(made.ok()) << made.status();
    helper_ = *std::move(made);
    EXPECT_TRUE(pair.peer->ShutdownWrite().ok());
    bool ended = false;
    char byte;
    ASSERT_TRUE(
        helper_
            ->ReadBuffer({&byte, 1},
                         [&](AsyncIoState&, const IoResult&) { ended = true; })
            .ok());
    ASSERT_TRUE(TurnUntil([&] { return ended; }));
    EXPECT_EQ(helper_->read_status(), IoStatus::kEof);
  }

  // In one turn: the operation gets its outcome, and the callback of the other
  // one, which ended before, acts.
  void ActInOtherStatesCallback() {
    ASSERT_NO_FATAL_FAILURE(DoPart());
    MakeOutcome();
    AwaitOutcome();
    auto token = NewToken(".");
    std::span<char> buffer = token->buffer();
    starting_ = true;
    absl::Status status = helper_->ReadBuffer(
        buffer, OtherCallback(std::move(token), [this] { DoAct(); }));
    starting_ = false;
    ASSERT_TRUE(status.ok()) << status;
    Turn();
    EXPECT_TRUE(acted_);
  }

  void ActInOtherDirectionsCallback() {
    ASSERT_NO_FATAL_FAILURE(DoPart());
    if (cell_.is_input()) {
      MakeOutcome();
      AwaitOutcome();
      // Sent before the wait, and so ended before the input is served.
      auto token = NewToken("w");
      std::string_view data = token->data();
      IoCallback callback =
          OtherCallback(std::move(token), [this] { DoAct(); });
      absl::Status status =
          cell_.is_datagram()
              ? state_raw_->SendMessage(data, std::move(callback))
              : state_raw_->WriteBuffer(data, std::move(callback));
      ASSERT_TRUE(status.ok()) << status;
    } else {
      // Of one report, input is served before output.
      auto token = NewToken(".");
      std::span<char> buffer = token->buffer();
      IoCallback callback =
          OtherCallback(std::move(token), [this] { DoAct(); });
      absl::Status status =
          state_raw_->ReceiveMessage(buffer, std::move(callback));
      ASSERT_TRUE(status.ok()) << status;
      if (cell_.is_datagram()) {
        PeerSendsDatagram();
      } else {
        EXPECT_TRUE(peer_->Send("r").ok());
      }
      AwaitReadable();
      MakeOutcome();
      AwaitOutcome();
    }
    Turn();
    EXPECT_TRUE(acted_);
  }

  // ---- The cell.

  void RunCell() {
    if (cell_.place == Place::kInOtherStatesCallback) {
      ASSERT_NO_FATAL_FAILURE(MakeHelper());
    }
    ASSERT_NO_FATAL_FAILURE(MakeState());
    if (cell_.place == Place::kWhenEnded && cell_.outcome == Outcome::kError) {
      if (cell_.receives_datagrams()) {
        kernel_.FailNextInterest(Error(ENOMEM));
      } else if (!cell_.is_input() && !cell_.is_connect()) {
        kernel_.FailNextSend(Error(ECONNRESET));
      }
    }
    ASSERT_NO_FATAL_FAILURE(Start());
    EXPECT_TRUE(log_.empty());

    switch (cell_.place) {
      case Place::kJustStarted:
        DoAct();
        if (goes_on()) {
          ASSERT_NO_FATAL_FAILURE(DoPart());
        }
        break;
      case Place::kWhileActive:
        ASSERT_NO_FATAL_FAILURE(DoPart());
        DoAct();
        break;
      case Place::kWhenReported:
        ASSERT_NO_FATAL_FAILURE(DoPart());
        MakeOutcome();
        AwaitOutcome();
        EXPECT_TRUE(collection_->Wait(absl::Seconds(1)));
        DoAct();
        // With what it has reported.
        if (collection_ != nullptr) Call();
        break;
      case Place::kWhenEnded:
        if (!cell_.is_input() || cell_.is_datagram()) Wait();
        DoAct();
        break;
      case Place::kInOtherStatesCallback:
        ActInOtherStatesCallback();
        break;
      case Place::kInOtherDirectionsCallback:
        ActInOtherDirectionsCallback();
        break;
      case Place::kInAbortCallback:
        ActInAbortCallback();
        break;
      case Place::kNowhere:
      case Place::kInOwnCallback:
      case Place::kInEarlierCallback:
      case Place::kInOwnCallbackAfterRestart:
      case Place::kInCallbackOfWriteBefore:
        if (!(cell_.place == Place::kInCallbackOfWriteBefore &&
              cell_.outcome == Outcome::kNever)) {
          ASSERT_NO_FATAL_FAILURE(DoPart());
        }
        break;
    }
    if (testing::Test::HasFatalFailure()) return;
    bool outcome_made = cell_.place == Place::kWhenReported ||
                        cell_.place == Place::kWhenEnded ||
                        cell_.place == Place::kInOtherStatesCallback ||
                        cell_.place == Place::kInOtherDirectionsCallback;
    if (!outcome_made) MakeOutcomeAfterAct();
    CheckRuns();
  }

  bool may_be_closed() const {
    return acted_ && (cell_.closes() || (is_owned_ && !goes_on()));
  }

  // The operation is still to end by itself, or not at all.
  bool goes_on() const { return !cell_.act_concerns_it(); }

  // It comes all the same, when nobody waits for it any more.
  void MakeOutcomeAfterAct() {
    if (cell_.is_datagram() && may_be_closed()) {
      // Nowhere to send to.
      kernel_.AdvanceClock(kTimeoutOver);
      return;
    }
    if (!cell_.is_connect() || goes_on() || !acted_) {
      MakeOutcome();
    }
  }

  void CheckRuns() {
    Expected expected = ExpectedOf(cell_);
    if (is_owned_) expected = ExpectedOfOwned(expected);
    if (collection_ != nullptr) {
      bool all_ran = TurnUntil([&] {
        if (log_.size() >= expected.runs.size()) return true;
        // The one queued behind a timeout has its own time.
        if (cell_.outcome == Outcome::kTimeout) {
          kernel_.AdvanceClock(kTimeoutOver);
        }
        return false;
      });
      EXPECT_TRUE(all_ran) << "a callback is missing";
      // Nothing more comes.
      for (int i = 0; i < 3; ++i) Turn();
      kernel_.AdvanceClock(24 * kTimeoutOver);
      for (int i = 0; i < 3; ++i) Turn();
      // And the collection rests, unless a send or connect looks as if it could
      // go on.
      if (expected.left_active == 0 || cell_.is_input()) {
        EXPECT_FALSE(collection_->Wait(absl::ZeroDuration())) << "it spins";
      }
    }
    EXPECT_EQ(log_, expected.runs);
    EXPECT_EQ(acted_, cell_.act != Act::kNothing);
    if (acted_) {
      EXPECT_EQ(runs_before_act_, expected.runs_before_act);
    }
    if (is_owned_) {
      CheckOwned(expected);
      return;
    }
    // An operation has a callback or two.
    size_t with_error_callback = has_error_callback(Caller::kOperation) ? 2 : 1;
    size_t tokens = 0;
    if (expected.left_active != 0) {
      tokens = expected.left_active * with_error_callback;
      // What was started again has one callback.
      if (cell_.place == Place::kInOwnCallbackAfterRestart ||
          cell_.place == Place::kInAbortCallback) {
        tokens = 1;
      }
    }
    if (!bystander_->closed()) ++tokens;
    EXPECT_EQ(tokens_.size(), tokens) << "what callbacks captured";
    EXPECT_EQ(state_ == nullptr || state_->closed(), cell_.closes());
    if (cell_.closes()) {
      EXPECT_EQ(kernel_.open_handles(), others());
    }
    if (state_ != nullptr && stays_open()) CheckState(expected);
    if (peer_ != nullptr && !cell_.is_input()) CheckOutput();
  }

  // With the operation goes its callback, and with that the state: the rest is
  // silent.
  Expected ExpectedOfOwned(const Expected& whole) const {
    Expected expected = whole;
    expected.runs.clear();
    for (const Ran& ran : whole.runs) {
      // The state is gone before it could be told.
      if (ran.caller == Caller::kClose) break;
      expected.runs.push_back(ran);
      bool is_part = cell_.is_checking() && ran.status == IoStatus::kOk &&
                     cell_.outcome != Outcome::kSuccess;
      if (ran.caller == Caller::kOperation && !is_part) break;
    }
    return expected;
  }

  void CheckOwned(const Expected& expected) {
    size_t left = expected.left_active != 0 ? 1 : 0;
    EXPECT_EQ(kernel_.open_handles(), others() + left);
    if (left == 0) {
      EXPECT_EQ(tokens_.size(), bystander_->closed() ? 0u : 1u);
    }
  }

  // ---- Afterwards.

  // The state is as it should be, and works.
  void CheckState(const Expected& expected) {
    EXPECT_EQ(collection_->size(), others() + 1);
    if (cell_.is_connect()) {
      bool is_connected = !log_.empty() &&
                          log_[0].caller == Caller::kOperation &&
                          log_[0].status == IoStatus::kOk;
      bool has_socket = is_connected || expected.left_active != 0;
      EXPECT_EQ(state_->handle() != kNoHandle, has_socket);
      EXPECT_EQ(state_->connecting(), expected.left_active != 0);
      EXPECT_EQ(kernel_.open_handles(), others() + (has_socket ? 1 : 0));
      return;
    }
    if (cell_.act == Act::kShutdown || expected.left_active != 0) return;
    if (cell_.is_input()) {
      CheckInput();
    } else {
      // A stream with an error stays as it is.
      bool broken = cell_.outcome == Outcome::kError && !cell_.is_datagram();
      kernel_.AllowSends(EndingKernel::kUnlimited);
      // If it waits for a send that was aborted.
      kernel_.FailNextSend(Error());
      std::optional<IoStatus> status;
      auto ended = [&](AsyncIoState&, const IoResult& result) {
        status = result.status;
      };
      absl::Status started;
      switch (cell_.operation) {
        case Operation::kSendMessageToAddress:
          started =
              state_->SendMessageToAddress(udp_peer_->address(), "+", ended);
          break;
        default:
          started = state_->SendMessage("+", ended);
      }
      ASSERT_TRUE(started.ok()) << started;
      ASSERT_TRUE(TurnUntil([&] { return status.has_value(); }));
      if (!broken) {
        EXPECT_EQ(*status, IoStatus::kOk);
        works_on_ = true;
      }
    }
  }

  // What the peer sent is what the operation was given and what comes now.
  void CheckInput() {
    if (cell_.is_datagram() || cell_.outcome == Outcome::kError) return;
    // Without details nobody knows what was read.
    if (cell_.act == Act::kAbortIo && !cell_.is_checking()) return;
    std::string all = input_taken_;
    bool end = false;
    while (all.size() < peer_sent_.size() && !end) {
      bool ended = false;
      std::vector<char> buffer(64);
      absl::Status status = state_->ReceiveMessage(
          buffer, [&](AsyncIoState&, const IoResult& result) {
            ended = true;
            end = !result.ok();
            all += result.data;
          });
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_TRUE(TurnUntil([&] { return ended; }));
    }
    EXPECT_EQ(all, peer_sent_);
  }

  // What arrived is what was reported as written; more only if nobody was told.
  void CheckOutput() {
    if (cell_.outcome == Outcome::kError || cell_.is_connect()) return;
    size_t reported = works_on_ ? 1 : 0;
    for (const Ran& ran : log_) reported += ran.count;
    bool told = !cell_.closes() && cell_.act != Act::kAbortIo &&
                cell_.act != Act::kShutdown;
    std::string got;
    std::vector<char> buffer(64);
    EXPECT_TRUE(world_->Until([&] {
      Transfer transfer = peer_->TryReceive(buffer);
      got.append(buffer.data(), transfer.count);
      return got.size() >= reported;
    })) << "less arrived than was reported";
    if (works_on_ && told) {
      ASSERT_FALSE(got.empty());
      EXPECT_EQ(got.back(), '+');
      got.pop_back();
      --reported;
    }
    if (!told) return;
    EXPECT_EQ(got.size(), reported);
    std::string written(cell_.is_queued() ? kBytesBefore : "");
    written += kBytes;
    // A part of the first one alone is possible, too.
    EXPECT_EQ(written.substr(0, got.size()), got);
  }

  const Cell cell_;
  const bool is_owned_;
  const std::unique_ptr<TestWorld> world_;
  EndingKernel kernel_;
  std::set<const Token*> tokens_;
  std::unique_ptr<WaitStateCollection> collection_;
  std::unique_ptr<TcpPeer> peer_;
  std::unique_ptr<UdpPeer> udp_peer_;
  std::unique_ptr<TcpListenerPeer> listener_;
  SocketAddress target_;
  std::unique_ptr<AsyncIoState> bystander_;
  std::unique_ptr<AsyncIoState> helper_;
  std::unique_ptr<AsyncIoState> state_;
  // The same; stays when it was destroyed.
  AsyncIoState* state_raw_ = nullptr;
  // Inside a call that starts or ends something; inside `Call`.
  bool starting_ = false;
  bool calling_ = false;
  bool acted_ = false;
  std::vector<Ran> log_;
  size_t runs_before_act_ = 0;
  std::string peer_sent_;
  std::string input_taken_;
  bool works_on_ = false;
};

using CellParam = std::tuple<KernelParam, Cell>;

class EndsExactlyOnceTest : public testing::TestWithParam<CellParam>,
                            protected EndingTest {
 protected:
  EndsExactlyOnceTest()
      : EndingTest(std::get<0>(GetParam()), std::get<1>(GetParam())) {}
};

TEST_P(EndsExactlyOnceTest, Cell) { RunCell(); }

INSTANTIATE_TEST_SUITE_P(
    All, EndsExactlyOnceTest,
    testing::Combine(testing::ValuesIn(KernelsOfEachKind()),
                     testing::ValuesIn(PossibleCells())),
    [](const testing::TestParamInfo<CellParam>& info) {
      return std::get<0>(info.param).name + "_" +
             std::get<1>(info.param).Name();
    });

// ---- States that are owned by the callback of their own operation: they go
// when the operation has ended, whichever way.

std::vector<Cell> OwnedCells() {
  std::vector<Cell> cells;
  for (const Cell& cell : PossibleCells()) {
    // What does not concern the operation is as if nothing was done; nobody but
    // the callback can destroy the state; the callback is what owns it, and so
    // it starts nothing on it.
    if ((cell.act != Act::kNothing && !cell.act_concerns_it()) ||
        cell.act == Act::kDestroy ||
        cell.place == Place::kInOwnCallbackAfterRestart ||
        cell.place == Place::kInAbortCallback) {
      continue;
    }
    cells.push_back(cell);
  }
  return cells;
}

class OwnedByItsCallbackTest : public testing::TestWithParam<CellParam>,
                               protected EndingTest {
 protected:
  OwnedByItsCallbackTest()
      : EndingTest(std::get<0>(GetParam()), std::get<1>(GetParam()),
                   /*is_owned=*/true) {}
};

TEST_P(OwnedByItsCallbackTest, Cell) { RunCell(); }

INSTANTIATE_TEST_SUITE_P(
    All, OwnedByItsCallbackTest,
    testing::Combine(testing::ValuesIn(KernelsOfEachKind()),
                     testing::ValuesIn(OwnedCells())),
    [](const testing::TestParamInfo<CellParam>& info) {
      return std::get<0>(info.param).name + "_" +
             std::get<1>(info.param).Name();
    });

// ---- The table itself.

TEST(EndingTableTest, EveryCellIsTestedOrHasAReason) {
  std::map<std::string, size_t> reasons;
  size_t impossible = 0;
  for (const Cell& cell : AllCells()) {
    if (std::optional<std::string> why = WhyImpossible(cell)) {
      ++reasons[*why];
      ++impossible;
    }
  }
  EXPECT_EQ(PossibleCells().size() + impossible, AllCells().size());
  for (const auto& [why, count] : reasons) {
    testing::Test::RecordProperty("impossible", why);
    std::cout << count << " cells are impossible: " << why << "\n";
  }
  std::cout << PossibleCells().size() << " of " << AllCells().size()
            << " cells are tested\n";
}

TEST(EndingTableTest, NamesAreUnique) {
  std::set<std::string> names;
  for (const Cell& cell : AllCells()) {
    EXPECT_TRUE(names.insert(cell.Name()).second) << cell.Name();
  }
}

// Each operation is ended in each way somewhere, by each status that it has.
TEST(EndingTableTest, NothingIsLeftOut) {
  std::set<std::tuple<Operation, Act>> acts;
  std::set<std::tuple<Operation, Place>> places;
  for (const Cell& cell : PossibleCells()) {
    acts.insert({cell.operation, cell.act});
    places.insert({cell.operation, cell.place});
  }
  EXPECT_EQ(acts.size(), 13u * 10u);
  // No own callback before the last, but of ReadWithChecking and
  // ReceiveMessages; none of a write before, but of the queued ones; a connect
  // has no restart, not after an abort either, and no other direction.
  EXPECT_EQ(places.size(), 13u * 12u - 11u - 11u - 3u);
}

}  // namespace
}  // namespace aios::test
