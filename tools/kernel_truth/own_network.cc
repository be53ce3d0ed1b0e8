#include "tools/kernel_truth/own_network.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "aios/error.h"
#include "tools/kernel_truth/cat.h"

namespace aios::kernel_truth {

namespace {

constexpr int kLoopback = 1;
constexpr int kInterface = 2;
constexpr int kOtherEnd = 3;

// A request of rtnetlink: a header, a structure, and attributes, which may lie
// within each other.
class Request {
 public:
  template <typename Body>
  Request(uint16_t type, uint16_t flags, const Body& body) {
    nlmsghdr header = {};
    header.nlmsg_type = type;
    header.nlmsg_flags =
        static_cast<uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
    Append(&header, sizeof(header));
    Append(&body, sizeof(body));
  }

  void Add(uint16_t type, const void* data, size_t size) {
    size_t place = Open(type);
    Append(data, size);
    Close(place);
  }
  void Add(uint16_t type, std::string_view text) {
    Add(type, text.data(), text.size());
  }
  void Add(uint16_t type, uint32_t number) {
    Add(type, &number, sizeof(number));
  }
  void AddAddress(uint16_t type, int family, const char* text) {
    std::array<char, sizeof(in6_addr)> bytes;
    inet_pton(family, text, bytes.data());
    Add(type, bytes.data(),
        family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr));
  }
  size_t Open(uint16_t type) {
    size_t place = bytes_.size();
    rtattr attribute = {};
    attribute.rta_type = type;
    Append(&attribute, sizeof(attribute));
    return place;
  }
  void Close(size_t place) {
    auto size = static_cast<uint16_t>(bytes_.size() - place);
    std::memcpy(&bytes_[place], &size, sizeof(size));
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
  }
  void Append(const void* data, size_t size) {
    const auto* begin = static_cast<const char*>(data);
    bytes_.insert(bytes_.end(), begin, begin + size);
  }

  Error Ask() {
    auto size = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &size, sizeof(size));
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) return Error(errno);
    Error error;
    struct {
      nlmsghdr header;
      nlmsgerr result;
      std::array<char, 1024> rest;
    } answer = {};
    if (send(fd, bytes_.data(), bytes_.size(), 0) < 0 ||
        recv(fd, &answer, sizeof(answer), 0) < 0) {
      error = Error(errno);
    } else {
      error = Error(-answer.result.error);
    }
    close(fd);
    return error;
  }

 private:
  std::vector<char> bytes_;
};

// Two interfaces, each the other end of the other.
Error MakePair() {
  ifinfomsg near = {};
  near.ifi_index = kInterface;
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, near);
  request.Add(IFLA_IFNAME, std::string_view("eth0"));
  size_t info = request.Open(IFLA_LINKINFO);
  request.Add(IFLA_INFO_KIND, std::string_view("veth"));
  size_t data = request.Open(IFLA_INFO_DATA);
  size_t peer = request.Open(VETH_INFO_PEER);
  ifinfomsg far = {};
  far.ifi_index = kOtherEnd;
  request.Append(&far, sizeof(far));
  request.Add(IFLA_IFNAME, std::string_view("other"));
  // Too small for IPv6: nothing is ever routed out of this end.
  request.Add(IFLA_MTU, uint32_t{68});
  request.Close(peer);
  request.Close(data);
  request.Close(info);
  return request.Ask();
}

Error SwitchOn(int index) {
  ifinfomsg body = {};
  body.ifi_index = index;
  // Without ARP: nobody is asked, and nothing fails for want of an answer.
  body.ifi_flags = IFF_UP | (index == kLoopback ? 0 : IFF_NOARP);
  body.ifi_change = body.ifi_flags;
  Request request(RTM_NEWLINK, 0, body);
  if (index == kInterface) {
    // The addresses are those that are given below.
    size_t families = request.Open(IFLA_AF_SPEC);
    size_t six = request.Open(AF_INET6);
    uint8_t mode = IN6_ADDR_GEN_MODE_NONE;
    request.Add(IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
    request.Close(six);
    request.Close(families);
  }
  return request.Ask();
}

Error AddAddress(int family, const char* address, uint8_t prefix,
                 const char* broadcast = nullptr) {
  ifaddrmsg body = {};
  body.ifa_family = static_cast<uint8_t>(family);
  body.ifa_prefixlen = prefix;
  // Nobody else has it: it need not be tried out.
  body.ifa_flags = IFA_F_NODAD | IFA_F_PERMANENT;
  body.ifa_index = kInterface;
  Request request(RTM_NEWADDR, NLM_F_CREATE, body);
  request.AddAddress(IFA_LOCAL, family, address);
  request.AddAddress(IFA_ADDRESS, family, address);
  if (broadcast != nullptr) {
    request.AddAddress(IFA_BROADCAST, family, broadcast);
  }
  return request.Ask();
}

Error AddDefaultRoute(int family) {
  rtmsg body = {};
  body.rtm_family = static_cast<uint8_t>(family);
  body.rtm_table = RT_TABLE_MAIN;
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_scope = family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
  body.rtm_type = RTN_UNICAST;
  Request request(RTM_NEWROUTE, NLM_F_CREATE, body);
  request.Add(RTA_OIF, uint32_t{kInterface});
  return request.Ask();
}

}  // namespace

std::string EnterOwnNetwork() {
  // With permission, or as the master of a namespace of users as well.
  if (unshare(CLONE_NEWNET) != 0 &&
      unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    return Cat("no network namespace: ", Error(errno).Name());
  }
  struct Step {
    const char* what;
    Error error;
  };
  // In this order; what follows a failure fails as well.
  for (const Step& step : std::initializer_list<Step>{
           {"loopback", SwitchOn(kLoopback)},
           {"a pair of interfaces", MakePair()},
           {"eth0", SwitchOn(kInterface)},
           {"its other end", SwitchOn(kOtherEnd)},
           {"10.0.0.1", AddAddress(AF_INET, "10.0.0.1", 8, "10.255.255.255")},
           {"fd00::1", AddAddress(AF_INET6, "fd00::1", 64)},
           {"fe80::1", AddAddress(AF_INET6, "fe80::1", 64)},
           {"the route of IPv4", AddDefaultRoute(AF_INET)},
           {"the route of IPv6", AddDefaultRoute(AF_INET6)}}) {
    if (!step.error.ok()) {
      return Cat("cannot make ", step.what, ": ", step.error.Name());
    }
  }
  return "";
}

}  // namespace aios::kernel_truth
