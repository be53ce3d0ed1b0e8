#include "sim/plain_sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <utility>

#include "aios/check.h"

namespace aios::sim {

namespace {

// What one turn sends or receives at most, so that others have theirs.
constexpr size_t kBytesPerTurnMax = size_t{1} << 20;

}  // namespace

PlainSockets::PlainSockets(Kernel& kernel) : kernel_(kernel) {
  Error error = kernel_.NewPoller(&poller_);
  AIOS_CHECK(error.ok(), "no descriptor is left for the plain sockets");
  driven_ = kernel_.Drive(*poller_, [this] { return Turn(); });
  room_.resize(size_t{64} << 10);
}

PlainSockets::~PlainSockets() {
  while (!sockets_.empty()) Forget(sockets_.begin()->first);
}

void PlainSockets::Post(absl::AnyInvocable<void()> function) {
  posted_.push_back(std::move(function));
  kernel_.Wake(*poller_);
}

void PlainSockets::Send(Handle handle, std::string_view bytes, Done done) {
  std::shared_ptr<Socket>& socket = sockets_[handle];
  if (socket == nullptr) socket = std::make_shared<Socket>();
  socket->handle = handle;
  socket->sending = true;
  socket->unsent = bytes;
  socket->sent = 0;
  socket->sent_all = std::move(done);
}

void PlainSockets::Receive(Handle handle, const ReceiveOptions& options,
                           Received received, Done done) {
  std::shared_ptr<Socket>& socket = sockets_[handle];
  if (socket == nullptr) socket = std::make_shared<Socket>();
  socket->handle = handle;
  socket->receiving = true;
  socket->options = options;
  socket->received = 0;
  socket->next_sip = 0;
  socket->on_bytes = std::move(received);
  socket->received_all = std::move(done);
}

bool PlainSockets::sending(Handle handle) const {
  auto found = sockets_.find(handle);
  return found != sockets_.end() && found->second->sending;
}

bool PlainSockets::receiving(Handle handle) const {
  auto found = sockets_.find(handle);
  return found != sockets_.end() && found->second->receiving;
}

void PlainSockets::Forget(Handle handle) {
  auto found = sockets_.find(handle);
  if (found == sockets_.end()) return;
  Socket& socket = *found->second;
  if (socket.interest != kNotReady) {
    static_cast<void>(kernel_.SetInterest(*poller_, handle, &socket,
                                          socket.interest, kNotReady));
  }
  socket.sending = false;
  socket.receiving = false;
  socket.interest = kNotReady;
  sockets_.erase(found);
}

bool PlainSockets::Sipping(const Socket& socket) const {
  return socket.receiving && socket.next_sip > kernel_.Now();
}

void PlainSockets::PumpOutput(Socket& socket) {
  size_t budget = kBytesPerTurnMax;
  while (socket.sending && budget != 0) {
    if (!socket.unsent.empty()) {
      ConstBuffer buffer{socket.unsent.data(),
                         std::min(socket.unsent.size(), budget)};
      Transfer transfer = kernel_.Send(socket.handle, {&buffer, 1});
      if (transfer.error.code() == EAGAIN) return;
      if (!transfer.error.ok()) {
        socket.sending = false;
        std::exchange(socket.sent_all, nullptr)(socket.sent, false,
                                                transfer.error);
        return;
      }
      socket.unsent.remove_prefix(transfer.count);
      socket.sent += transfer.count;
      budget -= std::min(budget, transfer.count);
    }
    if (socket.unsent.empty()) {
      socket.sending = false;
      std::exchange(socket.sent_all, nullptr)(socket.sent, false, Error());
    }
  }
}

void PlainSockets::PumpInput(Socket& socket) {
  size_t budget = kBytesPerTurnMax;
  while (socket.receiving && budget != 0 && !Sipping(socket)) {
    size_t limit = std::min(room_.size(), budget);
    size_t left = socket.options.size - socket.received;
    if (socket.options.size != 0) limit = std::min(limit, left);
    if (socket.options.sip != 0) limit = std::min(limit, socket.options.sip);
    Transfer transfer =
        kernel_.Receive(socket.handle, std::span(room_).first(limit));
    if (transfer.error.code() == EAGAIN) return;
    bool end = transfer.error.ok() && transfer.count == 0;
    if (transfer.count != 0) {
      socket.received += transfer.count;
      budget -= std::min(budget, transfer.count);
      socket.on_bytes({room_.data(), transfer.count});
    }
    bool enough =
        socket.options.size != 0 && socket.received == socket.options.size;
    if (end || enough || !transfer.error.ok()) {
      socket.receiving = false;
      std::exchange(socket.received_all, nullptr)(socket.received, end,
                                                  transfer.error);
      return;
    }
    if (socket.options.sip != 0) {
      socket.next_sip = kernel_.Now() + socket.options.every;
    }
  }
}

void PlainSockets::Pump(Socket& socket) {
  PumpOutput(socket);
  PumpInput(socket);
}

Nanoseconds PlainSockets::Turn() {
  std::array<Report, 16> reports;
  // Every socket is tried in each turn: what is reported does not matter.
  kernel_.Wait(*poller_, reports, 0);
  for (size_t n = posted_.size(); n != 0; --n) {
    absl::AnyInvocable<void()> function = std::move(posted_.front());
    posted_.pop_front();
    function();
  }
  std::vector<std::shared_ptr<Socket>> sockets;
  for (const auto& [handle, socket] : sockets_) {
    if (socket->sending || socket->receiving) sockets.push_back(socket);
  }
  for (const std::shared_ptr<Socket>& socket : sockets) Pump(*socket);
  Nanoseconds sleep = posted_.empty() ? kForever : 0;
  for (const auto& [handle, socket] : sockets_) {
    Readiness wanted = kNotReady;
    if (socket->sending) wanted |= kWritable;
    if (Sipping(*socket)) {
      sleep = std::min(sleep, socket->next_sip - kernel_.Now());
    } else if (socket->receiving) {
      wanted |= kReadable;
    }
    if (wanted == socket->interest) continue;
    Error error = kernel_.SetInterest(*poller_, handle, socket.get(),
                                      socket->interest, wanted);
    if (error.ok()) socket->interest = wanted;
  }
  return sleep;
}

}  // namespace aios::sim
