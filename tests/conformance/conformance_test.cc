#include "tests/conformance/conformance_test.h"

#include <algorithm>
#include <cerrno>

namespace aios::test {

testing::AssertionResult IsOk(const absl::Status& status) {
  if (status.ok()) return testing::AssertionSuccess();
  return testing::AssertionFailure() << status.ToString();
}

testing::AssertionResult IsRefusal(const absl::Status& status,
                                   absl::StatusCode code,
                                   std::initializer_list<std::string> parts) {
  if (status.code() != code) {
    return testing::AssertionFailure() << "is " << status.ToString() << ", not "
                                       << absl::StatusCodeToString(code);
  }
  std::string message(status.message().data(), status.message().size());
  for (const std::string& part : parts) {
    if (message.find(part) == std::string::npos) {
      return testing::AssertionFailure()
             << "the message does not say '" << part << "': " << message;
    }
  }
  return testing::AssertionSuccess();
}

std::string Pattern(size_t size, unsigned salt) {
  std::string pattern(size, '\0');
  unsigned value = 12345 + salt * 7919;
  for (char& byte : pattern) {
    value = value * 1664525 + 1013904223;
    byte = static_cast<char>(value >> 24);
  }
  return pattern;
}

std::string_view EndlessData() {
  static const std::string* data = [] {
    // Within the default limit of an output queue, to be queued itself.
    constexpr size_t kSize = 60'000'000;
    // Of a prime length, to differ from every buffer's.
    std::string pattern = Pattern(1'000'003);
    auto* bytes = new std::string;
    bytes->reserve(kSize + pattern.size());
    while (bytes->size() < kSize) bytes->append(pattern);
    return bytes;
  }();
  return *data;
}

Recorder::Recorder(Conformance& test, std::string name, Kind kind)
    : test_(test), log_(std::make_shared<Log>()) {
  log_->name = std::move(name);
  log_->kind = kind;
  test.logs_.push_back(log_);
}

IoCallback Recorder::Make(std::string callback, Action action) {
  // Counts the callbacks that are alive; moves with the callback.
  struct Token {
    explicit Token(std::shared_ptr<Log> log) : log(std::move(log)) {
      ++this->log->alive;
    }
    Token(Token&& other) noexcept = default;
    Token& operator=(Token&&) = delete;
    ~Token() {
      if (log != nullptr) --log->alive;
    }
    std::shared_ptr<Log> log;
  };
  return [token = Token(log_), &test = test_, callback = std::move(callback),
          action = std::move(action)](AsyncIoState& state,
                                      const IoResult& result) {
    Log& log = *token.log;
    EXPECT_TRUE(test.in_loop_)
        << log.name << ": its " << callback << " ran outside of the loop";
    EXPECT_FALSE(test.in_callback_)
        << log.name << ": its " << callback << " ran inside another one";
    if (log.kind == kOnce) {
      EXPECT_TRUE(log.calls.empty())
          << log.name << " has ended by its " << log.calls[0].callback
          << ", and now by its " << callback;
    }
    Call call;
    call.callback = callback;
    call.state = &state;
    call.status = result.status;
    call.truncated = result.truncated;
    call.interrupted = result.interrupted;
    call.error = result.error;
    call.count = result.count;
    call.detail.assign(result.detail.data(), result.detail.size());
    call.data.assign(result.data.data(), result.data.size());
    call.data_begin = result.data.data();
    if (result.sender != nullptr) call.sender = *result.sender;
    call.read_status = state.read_status();
    call.write_status = state.write_status();
    call.old_length = state.old_length();
    if (const auto* text = std::any_cast<std::string>(&state.user_info())) {
      call.user_info = *text;
    }
    call.time = test.Now();
    log.calls.push_back(std::move(call));
    test.order_.push_back(log.name + ":" + callback);
    if (action != nullptr) {
      test.in_callback_ = true;
      // The action may destroy the state and this callback with it.
      Action copy = action;
      Conformance& the_test = test;
      copy(state, result);
      the_test.in_callback_ = false;
    }
  };
}

absl::AnyInvocable<void(AsyncIoState&)> Recorder::CloseCallback(Action action) {
  return [callback = Make("close_callback", std::move(action))](
             AsyncIoState& state) mutable { callback(state, IoResult()); };
}

const Call& Recorder::last() const {
  static const Call* none = new Call;
  if (log_->calls.empty()) {
    ADD_FAILURE() << log_->name << " has not ended";
    return *none;
  }
  return log_->calls.back();
}

void HandleLedger::After(KernelCall call, Handle /*handle*/, Error error) {
  switch (call) {
    case KernelCall::kOpen:
    case KernelCall::kAccept:
    case KernelCall::kAdopt:
      if (error.ok()) ++handles_;
      break;
    case KernelCall::kClose:
    case KernelCall::kRelease:
      --handles_;
      break;
    default:
      break;
  }
}

Conformance::Conformance(const KernelParam& param)
    : world_(param.make_world()), ledger_(world_->kernel()) {
  RemakeCollection({.name = "test"});
}

Conformance::~Conformance() {
  // The test's states and handles are gone.
  if (collection_ != nullptr) {
    EXPECT_EQ(collection_->size(), 0u)
        << "states or handles that were destroyed are still in the collection";
  }
  collection_.reset();
  EXPECT_EQ(ledger_.handles(), 0) << "handles taken and not given back";
  for (const std::shared_ptr<Recorder::Log>& log : logs_) {
    EXPECT_EQ(log->alive, 0) << log->name << ": callbacks were left behind";
  }
}

void Conformance::RemakeCollection(WaitStateCollectionOptions options,
                                   Kernel* other_kernel) {
  collection_.reset();
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> made =
      MakeWaitStateCollection(
          other_kernel != nullptr ? *other_kernel : kernel(),
          std::move(options));
  if (!made.ok()) {
    ADD_FAILURE() << made.status().ToString();
    return;
  }
  collection_ = *std::move(made);
}

void Conformance::DestroyCollection() { collection_.reset(); }

std::vector<Family> Conformance::Families() {
  std::vector<Family> families;
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    if (world_->HasFamily(family)) families.push_back(family);
  }
  return families;
}

void Conformance::Turn(absl::Duration duration_max) {
  collection_->Wait(duration_max);
  CallOnce();
}

void Conformance::CallOnce() {
  in_loop_ = true;
  collection_->Call();
  in_loop_ = false;
}

void Conformance::Loop() {
  in_loop_ = true;
  collection_->Loop();
  in_loop_ = false;
}

bool Conformance::RunUntil(absl::FunctionRef<bool()> condition,
                           absl::Duration wait) {
  Nanoseconds start = Now();
  while (!condition()) {
    if (Now() - start > kGuard) return false;
    Turn(wait);
  }
  return true;
}

void Conformance::RunFor(absl::Duration duration) {
  Nanoseconds start = Now();
  do {
    Turn(duration - Since(start));
  } while (Since(start) < duration);
}

void Conformance::Pass(absl::Duration duration) {
  Nanoseconds start = Now();
  ASSERT_TRUE(world_->Until([&] { return Since(start) >= duration; }));
}

void Conformance::InLoop(std::function<void()> function) {
  bool ran = false;
  ASSERT_OK(collection_->Apply([&] {
    EXPECT_TRUE(in_loop_);
    in_callback_ = true;
    function();
    in_callback_ = false;
    ran = true;
  }));
  ASSERT_TRUE(RunUntil([&] { return ran; }));
}

Channel Conformance::MakeChannel(CreateAsyncIoStateOptions options,
                                 Family family) {
  if (options.name.empty()) options.name = "channel";
  TcpPair pair = world_->RawSocketPair(family);
  Channel channel{.state = nullptr, .peer = std::move(pair.peer)};
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      CreateAsyncIoState(*collection_, pair.handle, std::move(options));
  if (!state.ok()) {
    ADD_FAILURE() << state.status().ToString();
    world_->DirectClose(pair.handle);
    return channel;
  }
  channel.state = *std::move(state);
  return channel;
}

std::unique_ptr<AsyncIoState> Conformance::MakeUdp(Family family,
                                                   std::string name) {
  absl::StatusOr<std::unique_ptr<AsyncIoState>> state =
      OpenUdp(*collection_, {.name = std::move(name),
                             .local_address = world_->host_ip(family),
                             .local_port = 0});
  if (!state.ok()) {
    ADD_FAILURE() << state.status().ToString();
    return nullptr;
  }
  return *std::move(state);
}

PeerRead Conformance::ReadFromPeer(TcpPeer& peer, size_t size) {
  PeerRead read;
  std::string buffer(65536, '\0');
  bool done = RunUntil(
      [&] {
        // As much as there is, so that a turn without progress is a wait.
        while (read.bytes.size() < size && !read.end && read.error.ok()) {
          Transfer transfer = peer.TryReceive(std::span<char>(buffer).first(
              std::min(buffer.size(), size - read.bytes.size())));
          if (transfer.error.code() == EAGAIN) {
            // The collection may have nothing to do until the peer has read:
            // look again soon.
            Turn(absl::Milliseconds(1));
            return false;
          }
          if (!transfer.error.ok()) {
            read.error = transfer.error;
          } else if (transfer.count == 0) {
            read.end = true;
          } else {
            read.bytes.append(buffer, 0, transfer.count);
          }
        }
        return true;
      },
      absl::ZeroDuration());
  EXPECT_TRUE(done) << "the peer got " << read.bytes.size() << " bytes";
  return read;
}

void Conformance::SendFromPeer(TcpPeer& peer, std::string_view bytes) {
  bool done = RunUntil(
      [&] {
        Transfer transfer = peer.TrySend(bytes);
        if (transfer.error.ok()) {
          bytes.remove_prefix(transfer.count);
        } else if (transfer.error.code() != EAGAIN) {
          ADD_FAILURE() << transfer.error.Message();
          return true;
        }
        if (bytes.empty()) return true;
        Turn(absl::Milliseconds(1));
        return false;
      },
      absl::ZeroDuration());
  EXPECT_TRUE(done) << bytes.size() << " bytes could not be sent";
}

}  // namespace aios::test
