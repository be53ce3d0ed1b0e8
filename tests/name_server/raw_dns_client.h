// A DNS client of plain sockets on a simulated host: it sees what is on the
// wire, and believes nothing.

#ifndef AIOS_TESTS_NAME_SERVER_RAW_DNS_CLIENT_H_
#define AIOS_TESTS_NAME_SERVER_RAW_DNS_CLIENT_H_

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "aios/address.h"
#include "aios/error.h"
#include "aios/kernel.h"
#include "gtest/gtest.h"
#include "sim/dns_message.h"
#include "sim/simulation.h"

namespace aios::sim {

// What came back.
struct RawAnswer {
  Nanoseconds after = 0;  // since the client was made
  SocketAddress sender;
  std::string bytes;

  DnsMessage message() const {
    absl::StatusOr<DnsMessage> message = DecodeDnsMessage(bytes);
    EXPECT_TRUE(message.ok()) << message.status();
    return message.ok() ? *message : DnsMessage();
  }
  bool malformed() const { return !DecodeDnsMessage(bytes).ok(); }
};

inline DnsMessage Query(uint16_t id, std::string_view name,
                        DnsType type = DnsType::kA) {
  DnsMessage query;
  query.id = id;
  query.recursion_desired = true;
  query.questions = {{DnsName::Parse(name).value(), type}};
  return query;
}

// The addresses of an answer, in order, with spaces between.
inline std::string Addresses(const DnsMessage& message) {
  std::string text;
  for (const DnsRecord& record : message.answers) {
    std::optional<IpAddress> address = AddressOf(record);
    if (!address.has_value()) continue;
    if (!text.empty()) text += ' ';
    text += address->ToString();
  }
  return text;
}

class RawDnsClient {
 public:
  RawDnsClient(Host& host, SocketAddress server, bool tcp = false)
      : host_(host), server_(std::move(server)), tcp_(tcp), start_(Now()) {
    EXPECT_TRUE(kernel()
                    .Open(tcp ? SocketType::kStream : SocketType::kDatagram,
                          server_.family(), &handle_)
                    .ok());
    if (!tcp) return;
    Error error = kernel().Connect(handle_, server_);
    if (error.code() == EINPROGRESS) {
      host_.simulation().RunFor(absl::Milliseconds(10));
      error = kernel().TakeError(handle_);
    }
    error_ = error;
  }
  ~RawDnsClient() { kernel().Close(handle_); }
  RawDnsClient(const RawDnsClient&) = delete;
  RawDnsClient& operator=(const RawDnsClient&) = delete;

  void Send(const DnsMessage& message) { SendBytes(EncodeDnsMessage(message)); }

  void SendBytes(const std::string& bytes) {
    if (tcp_) {
      std::string framed(1, static_cast<char>(bytes.size() >> 8));
      framed.push_back(static_cast<char>(bytes.size()));
      SendRaw(framed + bytes);
      return;
    }
    OutgoingDatagram datagram = {.payload = {bytes.data(), bytes.size()},
                                 .target = &server_};
    EXPECT_TRUE(
        kernel().SendDatagrams(handle_, std::span(&datagram, 1)).error.ok());
  }

  // By TCP, without its length before it.
  void SendRaw(std::string_view bytes) {
    ConstBuffer buffer{bytes.data(), bytes.size()};
    Transfer transfer = kernel().Send(handle_, std::span(&buffer, 1));
    EXPECT_EQ(transfer.count, bytes.size());
  }

  // All that comes within this time.
  std::vector<RawAnswer> Receive(absl::Duration time = absl::Milliseconds(10)) {
    constexpr absl::Duration kTick = absl::Milliseconds(1);
    std::vector<RawAnswer> answers;
    for (absl::Duration past; past < time; past += kTick) {
      host_.simulation().RunFor(kTick);
      tcp_ ? ReceiveTcp(answers) : ReceiveUdp(answers);
    }
    return answers;
  }

  // The one answer to the query; a failure if there is not exactly one.
  RawAnswer Ask(const DnsMessage& query) {
    Send(query);
    std::vector<RawAnswer> answers = Receive();
    EXPECT_EQ(answers.size(), 1u);
    return answers.empty() ? RawAnswer() : answers[0];
  }

  Kernel& kernel() { return host_.kernel(); }
  Handle handle() const { return handle_; }
  // Of a connection: how connecting or receiving ended.
  Error error() const { return error_; }
  bool ended() const { return ended_; }
  // Bytes that make no whole message.
  const std::string& rest() const { return rest_; }

 private:
  Nanoseconds Now() { return host_.simulation().now(); }

  void ReceiveUdp(std::vector<RawAnswer>& answers) {
    while (true) {
      IncomingDatagram datagram;
      Error error = kernel().ReceiveDatagram(handle_, room_, true, &datagram);
      if (!error.ok()) {
        if (error.code() != EAGAIN) error_ = error;
        return;
      }
      answers.push_back({Now() - start_, datagram.sender,
                         std::string(room_.data(), datagram.size)});
    }
  }

  void ReceiveTcp(std::vector<RawAnswer>& answers) {
    while (!ended_ && error_.ok()) {
      Transfer transfer = kernel().Receive(handle_, room_);
      if (transfer.error.code() == EAGAIN) break;
      error_ = transfer.error;
      ended_ = transfer.error.ok() && transfer.count == 0;
      rest_.append(room_.data(), transfer.count);
    }
    while (rest_.size() >= 2) {
      size_t size = static_cast<size_t>(static_cast<uint8_t>(rest_[0]) << 8 |
                                        static_cast<uint8_t>(rest_[1]));
      if (rest_.size() - 2 < size) return;
      answers.push_back({Now() - start_, server_, rest_.substr(2, size)});
      rest_.erase(0, 2 + size);
    }
  }

  Host& host_;
  SocketAddress server_;
  bool tcp_;
  Nanoseconds start_;
  Handle handle_ = kNoHandle;
  Error error_;
  bool ended_ = false;
  std::string rest_;
  std::array<char, 65536> room_ = {};
};

}  // namespace aios::sim

#endif  // AIOS_TESTS_NAME_SERVER_RAW_DNS_CLIENT_H_
