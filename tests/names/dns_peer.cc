#include "tests/names/dns_peer.h"

#include <cstddef>
#include <optional>

#include "gtest/gtest.h"

namespace aios::test {

namespace {

constexpr size_t kHeaderSize = 12;
constexpr unsigned kClassInternet = 1;

unsigned Byte(std::string_view bytes, size_t at) {
  return static_cast<unsigned char>(bytes[at]);
}

unsigned Number(std::string_view bytes, size_t at) {
  return Byte(bytes, at) << 8 | Byte(bytes, at + 1);
}

void Append(std::string& bytes, unsigned number) {
  bytes.push_back(static_cast<char>(number >> 8));
  bytes.push_back(static_cast<char>(number));
}

void AppendName(std::string& bytes, std::string_view name) {
  while (!name.empty()) {
    size_t length = std::min(name.find('.'), name.size());
    bytes.push_back(static_cast<char>(length));
    bytes.append(name.substr(0, length));
    name.remove_prefix(std::min(length + 1, name.size()));
  }
  bytes.push_back('\0');
}

std::optional<DnsQuery> ParseQuery(const PeerDatagram& datagram) {
  std::string_view bytes = datagram.payload;
  DnsQuery query = {.sender = datagram.sender, .bytes = datagram.payload};
  if (bytes.size() < kHeaderSize) return std::nullopt;
  query.id = static_cast<uint16_t>(Number(bytes, 0));
  query.edns = Number(bytes, 10) != 0;
  size_t at = kHeaderSize;
  while (at < bytes.size() && Byte(bytes, at) != 0) {
    size_t length = Byte(bytes, at);
    if (!query.name.empty()) query.name += '.';
    query.name += bytes.substr(at + 1, length);
    at += 1 + length;
  }
  if (at + 5 > bytes.size()) return std::nullopt;
  query.type = static_cast<DnsType>(Number(bytes, at + 1));
  return query;
}

}  // namespace

DnsRecord AddressRecord(std::string_view name, std::string_view ip_text,
                        uint32_t ttl) {
  IpAddress ip = IpAddress::Parse(ip_text).value();
  DnsRecord record = {.name = std::string(name), .ttl = ttl};
  IpAddress::Ipv6Bytes bytes = ip.ipv6();
  record.type = ip.is_ipv4() ? DnsType::kA : DnsType::kAaaa;
  record.data.assign(bytes.begin() + (ip.is_ipv4() ? 12 : 0), bytes.end());
  return record;
}

DnsRecord AliasRecord(std::string_view name, std::string_view target,
                      uint32_t ttl) {
  DnsRecord record = {
      .name = std::string(name), .type = DnsType::kCname, .ttl = ttl};
  AppendName(record.data, target);
  return record;
}

std::string DnsAnswer(const DnsQuery& query,
                      const std::vector<DnsRecord>& records, DnsCode code) {
  std::string bytes;
  Append(bytes, query.id);
  bytes.push_back(static_cast<char>(0x81));  // an answer; recursion is desired
  bytes.push_back(static_cast<char>(0x80 | static_cast<unsigned>(code)));
  Append(bytes, 1);
  Append(bytes, static_cast<unsigned>(records.size()));
  Append(bytes, 0);
  Append(bytes, 0);
  AppendName(bytes, query.name);
  Append(bytes, static_cast<unsigned>(query.type));
  Append(bytes, kClassInternet);
  for (const DnsRecord& record : records) {
    AppendName(bytes, record.name);
    Append(bytes, static_cast<unsigned>(record.type));
    Append(bytes, kClassInternet);
    Append(bytes, record.ttl >> 16);
    Append(bytes, record.ttl & 0xffff);
    Append(bytes, static_cast<unsigned>(record.data.size()));
    bytes += record.data;
  }
  return bytes;
}

DnsPeer::DnsPeer(TestWorld& world, Family family) : socket_(world.Udp(family)) {
  handler_ = [this](const DnsQuery& query) { return FromZone(query); };
}

void DnsPeer::Add(std::string_view name, std::string_view ip, uint32_t ttl) {
  zone_[std::string(name)].push_back(AddressRecord(name, ip, ttl));
}

std::string DnsPeer::FromZone(const DnsQuery& query) const {
  auto found = zone_.find(query.name);
  if (found == zone_.end()) return DnsAnswer(query, {}, DnsCode::kNoSuchName);
  std::vector<DnsRecord> records;
  for (const DnsRecord& record : found->second) {
    if (record.type == query.type) records.push_back(record);
  }
  return DnsAnswer(query, records);
}

void DnsPeer::Serve() {
  while (std::optional<PeerDatagram> datagram = socket_->TryReceive()) {
    std::optional<DnsQuery> query = ParseQuery(*datagram);
    if (!query.has_value()) {
      ADD_FAILURE() << "the name server was sent what is no query";
      continue;
    }
    log_.push_back(query->name + (query->type == DnsType::kA ? " A" : " AAAA"));
    last_ = *query;
    waiting_.push_back(*std::move(query));
  }
  if (!held_) Release();
}

void DnsPeer::Release() {
  held_ = false;
  std::vector<DnsQuery> waiting = std::move(waiting_);
  waiting_.clear();
  for (const DnsQuery& query : waiting) {
    std::string answer = handler_(query);
    if (!answer.empty()) {
      EXPECT_TRUE(socket_->SendTo(query.sender, answer).ok());
    }
  }
}

void DnsPeer::SendToLast(std::string_view bytes) {
  EXPECT_TRUE(socket_->SendTo(last_.sender, bytes).ok());
}

}  // namespace aios::test
