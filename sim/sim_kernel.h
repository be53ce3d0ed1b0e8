// The kernel of one simulated host: its sockets, ports and pollers.

#ifndef AIOS_SIM_SIM_KERNEL_H_
#define AIOS_SIM_SIM_KERNEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "aios/kernel.h"
#include "sim/choice.h"
#include "sim/oracle.h"
#include "sim/packet.h"
#include "sim/simulation.h"
#include "sim/tcp.h"

namespace aios::sim {

struct SimSocket;

// What a poller is to tell of a socket.
struct Watch {
  SimPoller* poller;
  SimSocket* socket;
  Handle handle;  // that it was asked for by
  void* token = nullptr;
  Readiness interest = kNotReady;
  // In the poller's list of perhaps ready sockets.
  bool listed = false;
};

struct SimSocket {
  explicit SimSocket(uint64_t id) : id(id), entity(id) {}

  const uint64_t id;
  ChoiceEntity entity;
  int handles = 0;  // that refer to it
  SocketType type = SocketType::kStream;
  Family family = Family::kIpv4;
  bool ipv6_only = false;
  std::array<bool, 6> options = {};  // by SocketOption
  // What `Adopt` answers, if it is no socket of ours.
  Error foreign;
  // The mode of the descriptor; kernel calls do not care.
  bool blocking = false;
  bool adopted_as_nonblocking = false;
  size_t send_capacity = TcpEndpoint::kSendCapacity;
  size_t receive_capacity = TcpEndpoint::kReceiveCapacity;

  // It holds the port of `local`.
  bool bound = false;
  // By `Connect`: the port is free for connections to elsewhere.
  bool bound_by_connect = false;
  // What `Bind` was told stays when a connection ends; the rest was chosen for
  // the connection and goes with it.
  bool port_given = false;
  bool address_given = false;
  SocketAddress local;
  // The interface that it uses since it was given a link-local address; 0: any.
  uint32_t zone = 0;
  bool connected = false;  // UDP: has a peer
  SocketAddress peer;
  // Streams: nobody has asked by `Connect` yet how the attempt ended.
  bool connecting = false;
  // It was shut down after it had failed, and before anybody has asked: Linux
  // leaves it in a state from which it cannot connect any more.
  bool stuck = false;

  // Streams: the connection, or the queue of a listener.
  TcpEndpoint* tcp = nullptr;
  bool listening = false;
  size_t backlog = 0;
  std::deque<TcpEndpoint*> accept_queue;
  size_t handshakes = 0;
  // A connect failed before there was a packet, or was refused.
  Error error;

  // Datagrams.
  struct Datagram {
    std::vector<char> payload;
    SocketAddress sender;
    SocketAddress target;
    uint64_t seal;  // 0: it was damaged on purpose
  };
  std::deque<Datagram> datagrams;
  size_t datagram_bytes = 0;
  bool input_shut = false;
  bool output_shut = false;

  std::vector<std::unique_ptr<Watch>> watches;
};

class SimPoller final : public Poller {
 public:
  SimPoller(SimKernel& kernel, uint64_t id);
  ~SimPoller() override;

 private:
  friend class Simulation;
  friend class SimKernel;
  friend class Host;

  void List(Watch& watch);
  void Unlist(Watch& watch);
  bool AnyReady();
  // Has it run at `time` at the latest.
  void TurnAt(Nanoseconds time);

  SimKernel* kernel_;
  const uint64_t id_;
  ChoiceEntity entity_;
  std::vector<Watch*> ready_;  // perhaps ready; null: no more
  bool woken_ = false;
  absl::AnyInvocable<Nanoseconds()> turn_;
  bool in_turn_ = false;
  bool in_wait_ = false;  // driven by hand, and sleeping
  Nanoseconds turn_at_ = kForever;
  EventPlace turn_event_ = kNoEvent;
  bool turn_put_off_ = false;  // it came while the host was paused
  Nanoseconds last_turn_ = 0;
  int turns_now_ = 0;  // at that moment
};

class SimKernel final : public Kernel {
 public:
  explicit SimKernel(Host& host);
  ~SimKernel() override;

  std::string_view name() const override { return "sim"; }
  Nanoseconds Now() override { return simulation_.now_; }
  Error Open(SocketType type, Family family, Handle* handle) override;
  Error Adopt(Handle handle, SocketInfo* info) override;
  void Release(Handle handle) override;
  void Close(Handle handle) override;
  Error SetOption(Handle handle, SocketOption option, bool on) override;
  Error GetOption(Handle handle, SocketOption option, bool* on) override;
  Error Bind(Handle handle, const SocketAddress& address) override;
  Error Listen(Handle handle, int backlog) override;
  Error Connect(Handle handle, const SocketAddress& address) override;
  Error TakeError(Handle handle) override;
  Error Accept(Handle listener, Handle* connection) override;
  Error LocalAddress(Handle handle, SocketAddress* address) override;
  Error PeerAddress(Handle handle, SocketAddress* address) override;
  Transfer Receive(Handle handle, std::span<char> buffer) override;
  Transfer Peek(Handle handle) override;
  Transfer Send(Handle handle, std::span<const ConstBuffer> buffers) override;
  Error ReceiveDatagram(Handle handle, std::span<char> buffer, bool want_sender,
                        IncomingDatagram* datagram) override;
  Transfer SendDatagrams(Handle handle,
                         std::span<const OutgoingDatagram> datagrams) override;
  Error Shutdown(Handle handle, Direction direction) override;
  uint32_t InterfaceIndex(std::string_view name) override;
  Error NewPoller(std::unique_ptr<Poller>* poller) override;
  Error SetInterest(Poller& poller, Handle handle, void* token, Readiness from,
                    Readiness to) override;
  size_t Wait(Poller& poller, std::span<Report> reports,
              Nanoseconds timeout) override;
  void Wake(Poller& poller) override;
  bool Drive(Poller& poller, absl::AnyInvocable<Nanoseconds()> turn) override;

  void RunLibrary(absl::FunctionRef<void()> function) override {
    simulation_.RunAs(host_, function);
  }
  OperationObserver* observer() override { return oracles_.back().get(); }

 private:
  friend class Host;
  friend class RawSockets;
  friend class Simulation;
  friend class SimPoller;
  friend class TcpEndpoint;

  // Local port, remote port, local address, remote address.
  using ConnectionKey = std::tuple<uint16_t, uint16_t, IpAddress::Ipv6Bytes,
                                   IpAddress::Ipv6Bytes>;
  static ConnectionKey KeyOf(const SocketAddress& local,
                             const SocketAddress& remote);

  SimSocket* Find(Handle handle);
  SimSocket* FindOfType(Handle handle, SocketType type, Error* error);
  SimSocket& NewSocket(SocketType type, Family family, Handle* handle);
  Handle NewHandle(std::shared_ptr<SimSocket> socket);
  void FreeHandle(Handle handle);
  Watch* FindWatch(const SimPoller& poller, SimSocket& socket, Handle handle);
  void RemoveWatch(Watch& watch);
  bool DescriptorLeft() const;
  // The rate of a fault of calls, 0 where this host is spared.
  uint32_t Rate(uint32_t FaultRates::*fault) const;
  bool InjectedError(SimSocket& socket, std::initializer_list<int> codes,
                     Error* error);
  bool WouldBlock(SimSocket& socket, bool would_succeed);
  Error Log(What what, const SimSocket& socket, Error error, uint64_t b = 0);
  Transfer Log(What what, const SimSocket& socket, Transfer transfer,
               uint64_t b = 0);

  // Addresses and ports.
  bool IsLocal(const IpAddress& address) const;
  SocketAddress ToFamily(const SimSocket& socket,
                         const SocketAddress& address) const;
  IpAddress SourceFor(const IpAddress& target) const;
  bool IsBroadcast(const IpAddress& address) const;
  // From where to where it goes what a socket sends to an address; or why it
  // cannot.
  enum class Purpose : uint8_t { kConnectStream, kConnectDatagram, kSend };
  struct Way {
    IpAddress source;
    IpAddress target;
    uint32_t host = 0;
  };
  Error FindWay(const SimSocket& socket, const IpAddress& address,
                Purpose purpose, Way* way) const;
  void LeavePort(SimSocket& socket);
  bool PortTaken(const SimSocket& socket, const SocketAddress& address) const;
  void BindTo(SimSocket& socket, const SocketAddress& address);
  Error BindEphemeral(SimSocket& socket, const IpAddress& address,
                      const SocketAddress* remote);
  SimSocket* FindBound(SocketType type, const SocketAddress& target,
                       const SocketAddress& source);
  SimSocket* FindListener(const SocketAddress& target);

  // Waiting.
  void Sleep(SimPoller& poller, Nanoseconds timeout);
  size_t TakeReports(SimPoller& poller, std::span<Report> reports);
  size_t SpuriousReport(SimPoller& poller, std::span<Report> reports,
                        size_t count);
  Readiness ReadinessOf(const SimSocket& socket) const;
  void Notify(SimSocket& socket);

  // The calls of the same names, of which the oracle is told afterwards.
  Error ConnectNow(Handle handle, const SocketAddress& address);
  Error TakeErrorNow(Handle handle);
  Error PeerAddressNow(Handle handle, SocketAddress* address);
  Transfer ReceiveNow(Handle handle, std::span<char> buffer);
  Transfer PeekNow(Handle handle);
  Transfer SendNow(Handle handle, std::span<const ConstBuffer> buffers);
  Error ReceiveDatagramNow(Handle handle, std::span<char> buffer,
                           bool want_sender, IncomingDatagram* datagram);
  Transfer SendDatagramsNow(Handle handle,
                            std::span<const OutgoingDatagram> datagrams);

  // Connections.
  Transfer ReceiveUnconnected(SimSocket& socket);
  void StopListening(SimSocket& listener);
  // It can connect anew.
  void Disconnect(SimSocket& socket);
  // Its connection has ended.
  void OnEnded(SimSocket& socket);
  TcpEndpoint& NewEndpoint(const SocketAddress& local,
                           const SocketAddress& remote, uint32_t remote_host);
  // Its addresses are free again; then: nobody refers to it any more.
  void Unregister(TcpEndpoint& endpoint);
  void RemoveEndpoint(TcpEndpoint& endpoint);
  void OnPacket(const Packet& packet);
  void OnTcpPacket(const Packet& packet);
  void OnUdpPacket(const Packet& packet);
  void OnUnreachable(const Packet& packet);
  void AnswerWithReset(const Packet& packet);
  Error SendDatagram(SimSocket& socket, const OutgoingDatagram& datagram);
  void NewOracle();
  Oracle& oracle() const { return *oracles_.back(); }
  void TellSleep(SimPoller& poller, Nanoseconds length);
  void Crash();
  std::string Describe() const;

  Host& host_;
  Simulation& simulation_;
  ChoiceEntity entity_;
  // One for each life of the host: those of earlier ones may still be told of
  // operations that ended with it.
  std::vector<std::unique_ptr<Oracle>> oracles_;
  // Handles count from a base that no real descriptor reaches, and that no
  // earlier life of the host has used.
  Handle base_;
  std::vector<std::shared_ptr<SimSocket>> sockets_;  // by handle - base
  std::set<size_t> free_;
  int open_ = 0;  // sockets and pollers
  uint64_t next_share_ = 0;
  std::vector<SimPoller*> pollers_;
  std::map<ConnectionKey, TcpEndpoint*> connections_;
  std::map<uint64_t, std::unique_ptr<TcpEndpoint>> endpoints_;
  // Bound sockets by port, listeners and datagram sockets, oldest first.
  std::map<std::pair<SocketType, uint16_t>, std::vector<SimSocket*>> bound_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_SIM_KERNEL_H_
