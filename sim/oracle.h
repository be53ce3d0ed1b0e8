// The judge that watches every simulation: whether aios does as promised.

#ifndef AIOS_SIM_ORACLE_H_
#define AIOS_SIM_ORACLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "aios/io_result.h"
#include "aios/kernel.h"
#include "aios/operation_observer.h"
#include "sim/oracle_model.h"
#include "sim/oracle_rules.h"
#include "sim/recording.h"
#include "sim/trace.h"

namespace aios::sim {

// Checks the rules of oracle_rules.h for the states and collections of one
// host. It is told of every operation by aios, of every call by the host's
// kernel, and compares: it keeps a model of its own, made of what the kernel
// gave and took.
//
// What it cannot see: whether a buffer is touched after its operation has ended
// by anything but a call of the kernel. That is the address sanitizer's to
// find.
class Oracle final : public OperationObserver {
 public:
  // The first so many are kept.
  static constexpr size_t kViolationsMax = 100;

  // All must outlive the oracle.
  Oracle(Trace& trace, const Nanoseconds& now, uint32_t host,
         std::vector<std::string>& violations,
         const std::unique_ptr<Recording>& recording)
      : trace_(trace),
        now_(now),
        host_(host),
        violations_(violations),
        recording_(recording) {}

  // ---- Told by aios.
  void OnCollection(const Poller& poller, const Limits& limits) override;
  void OnCollectionEnd(const Poller& poller) override;
  void OnStart(const OperationStart& start) override;
  void OnTurnOfWrite(const void* operation, Nanoseconds time,
                     Nanoseconds timeout) override;
  void OnCallback(const void* operation, const IoResult& result) override;
  void OnContinue(const void* operation, Nanoseconds time, Nanoseconds timeout,
                  bool paused) override;
  void OnTimeout(const void* operation, Nanoseconds deadline) override;
  void OnEnd(const void* operation, End end, const IoResult& result) override;
  void OnReply(const void* state, std::string_view data,
               const SocketAddress* target) override;
  void OnReplyRefused(const void* state) override;
  void OnDrop(const void* state, size_t count) override;
  void OnTimeoutSet(const void* state, Direction direction,
                    Nanoseconds timeout) override;
  void OnMaxReadSet(const void* state, size_t max_read) override;
  void OnAbortOfOutput(const void* state, const void* ending) override;
  void OnAbortCallback(const void* state, const void* ending) override;
  void OnClose(const void* state) override;
  uint64_t OnPost(const Poller& poller) override;
  void OnRunPosted(const Poller& poller, uint64_t number) override;
  void OnServe(const Poller& poller, const void* token) override;

  // ---- Told by the kernel, after each call, with its result.
  void OnReceive(Handle handle, std::span<const char> buffer,
                 const Transfer& transfer);
  void OnPeek(Handle handle, const Transfer& transfer);
  void OnReceiveDatagram(Handle handle, std::span<const char> buffer,
                         bool with_sender, const IncomingDatagram& datagram,
                         Error error);
  void OnSend(Handle handle, std::span<const ConstBuffer> buffers,
              const Transfer& transfer);
  void OnSendDatagrams(Handle handle,
                       std::span<const OutgoingDatagram> datagrams,
                       const Transfer& transfer);
  // Before it.
  void OnShutdown(Handle handle, Direction direction);
  void OnConnect(Handle handle, Error error);
  void OnTakeError(Handle handle, Error error);
  void OnPeerAddress(Handle handle, Error error);
  void OnAccepted(const Poller& poller, Handle listener);
  // It is closed or released.
  void OnHandleGone(Handle handle);
  // A `Wait` gives these.
  void OnReports(const Poller& poller, std::span<const Report> reports);
  void OnInterest(Handle handle, const Poller& poller, const void* token,
                  Readiness interest);
  // The kernel runs a turn of the collection. Others are driven by hand.
  void OnTurn(const Poller& poller, bool begins);
  // The collection sleeps for so long; nothing that it has asked for is ready.
  // `interest` gives what it watches of a handle.
  void OnSleep(const Poller& poller, Nanoseconds length,
               absl::FunctionRef<Readiness(Handle)> interest);

  // Operations that have started and not ended.
  size_t pending() const { return pending_.size(); }
  // One line each, oldest first.
  std::string DescribePending() const;
  // The host has crashed: its operations will never end, and that is right.
  void Retire();

 private:
  using Operation = ObservedOperation;
  using State = ObservedState;
  using Collection = ObservedCollection;

  void Violation(std::string_view rule, std::string_view what);
  void Violation(std::string_view rule, std::string_view what,
                 const Operation& operation);

  Operation* Find(const void* operation);
  State* FindState(const void* state);
  // The one that has this socket.
  State* FindSocket(Handle handle);
  Collection* FindCollection(const Poller* poller);
  bool InTurn(const State& state);
  // The next sleep is judged by what it is then.
  void Note(Operation& operation);
  // Something is to be told to its callback.
  void Owe(Operation& operation);
  void Pay(Operation& operation);
  void JudgeOrder(const Operation& operation);

  // oracle_deadlines.cc
  void SetDeadline(Operation& operation, Nanoseconds time, Nanoseconds timeout);
  void ClearDeadline(Operation& operation);
  void AttemptWrite(Operation& operation);

  void CheckTimeout(const Operation& operation, Nanoseconds timeout,
                    Nanoseconds expected);

  // oracle_connect.cc
  void FailConnect(Handle handle, Error error);
  void JudgeConnect(const Operation& operation, const IoResult& result);

  // oracle_input.cc
  void StartInput(Operation& operation);
  Operation* InputFor(State& state);
  void CountRead(State& state, const Operation& operation, size_t count);
  void BreakInput(State& state, const Transfer& transfer);
  void JudgeInput(Operation& operation, const IoResult& result);
  void JudgeInputStatus(Operation& operation, const IoResult& result);
  void JudgeBytes(Operation& operation, const IoResult& result);
  void JudgeUnconsumed(const Operation& operation, const IoResult& result);
  void AbortInput(Operation& operation, const IoResult& result);

  // oracle_datagrams.cc
  void JudgeDatagram(Operation& operation, const IoResult& result);

  // oracle_output.cc
  void StartOutput(Operation& operation);
  void TakeReply(Operation& operation);
  Operation* Unsent(State& state);
  bool TakeOffer(State& state, const Transfer& transfer);
  void JudgeOutput(Operation& operation, const IoResult& result);
  void AbortOutput(Operation& operation, const IoResult& result);
  void JudgeOffer(State& state, std::span<const ConstBuffer> buffers);
  bool JudgeReplyOffer(State& state, std::span<const ConstBuffer> buffers);
  void FailWrite(Operation& operation, Error error);
  static bool RepliesWait(const State& state);
  void EndReply(State& state, IoStatus status, int error);
  void JudgeReplies(State& state, std::string_view when);

  // oracle_sleep.cc
  void JudgeSleepOf(Operation& operation,
                    absl::FunctionRef<Readiness(Handle)> interest);

  Trace& trace_;
  const Nanoseconds& now_;
  const uint32_t host_;
  std::vector<std::string>& violations_;
  // The simulation's; null as long as it has none.
  const std::unique_ptr<Recording>& recording_;
  bool retired_ = false;
  uint64_t next_number_ = 1;
  uint64_t next_deadline_order_ = 1;
  uint64_t next_debt_ = 1;
  // How often the kernel has told that somebody was connected.
  uint64_t proofs_ = 0;

  // By their names, which are addresses: only looked up, never walked in an
  // order that could be seen.
  std::map<const void*, Operation> pending_;
  std::map<const void*, State> states_;
  std::map<Handle, State*> sockets_;
  std::map<const Poller*, Collection> collections_;
  // Sockets that have accepted.
  std::set<Handle> listeners_;
  // Sockets whose input was shut down before the first operation.
  std::set<Handle> shut_before_;
};

}  // namespace aios::sim

#endif  // AIOS_SIM_ORACLE_H_
