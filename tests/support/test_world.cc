#include "tests/support/test_world.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "gtest/gtest.h"

namespace aios::test {

namespace {

constexpr Nanoseconds kMicrosecond = 1'000;

// Between two looks of `Until`: soon at first, for what is nearly there.
constexpr Nanoseconds kPauseMax = 1000 * kMicrosecond;

}  // namespace

Error TcpPeer::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    Transfer sent = TrySend(bytes);
    if (sent.error == Error(EAGAIN)) {
      if (!AwaitWritable()) return Error(ETIMEDOUT);
    } else if (!sent.error.ok()) {
      return sent.error;
    }
    bytes.remove_prefix(sent.count);
  }
  return Error();
}

PeerRead TcpPeer::Receive(size_t limit) {
  PeerRead read;
  read.bytes.resize(limit);
  Transfer received;
  do {
    if (!AwaitReadable()) {
      received = {.error = Error(ETIMEDOUT)};
      break;
    }
    received = TryReceive(read.bytes);
  } while (received.error == Error(EAGAIN));
  read.bytes.resize(received.count);
  read.error = received.error;
  read.end = received.error.ok() && received.count == 0;
  return read;
}

std::string TcpPeer::ReceiveExactly(size_t size) {
  std::string bytes;
  while (bytes.size() < size) {
    PeerRead read = Receive(size - bytes.size());
    if (read.bytes.empty()) {
      ADD_FAILURE() << "the peer got " << bytes.size() << " of " << size
                    << " bytes, then "
                    << (read.end ? "the end of the stream" : read.error.Name());
      break;
    }
    bytes += read.bytes;
  }
  return bytes;
}

PeerRead TcpPeer::ReceiveAll() {
  PeerRead all;
  while (!all.end && all.error.ok()) {
    PeerRead read = Receive();
    all.bytes += read.bytes;
    all.end = read.end;
    all.error = read.error;
  }
  return all;
}

TestWorld::~TestWorld() = default;

bool TestWorld::Until(absl::FunctionRef<bool()> condition) {
  if (idle_poller_ == nullptr) {
    Error error = kernel().NewPoller(&idle_poller_);
    if (!error.ok()) {
      ADD_FAILURE() << "no poller to wait in: " << error.Name();
      return false;
    }
  }
  Nanoseconds end = kernel().Now() + kGuard;
  Nanoseconds pause = 0;
  while (!condition()) {
    if (kernel().Now() >= end) return false;
    std::array<Report, 1> none;
    kernel().Wait(*idle_poller_, none, pause);
    pause = std::min(pause + 10 * kMicrosecond, kPauseMax);
  }
  return true;
}

}  // namespace aios::test
