// The machinery of a wait-state-collection: one poller, its watchers, timers,
// completions and posted functions. docs/design.md numbers the phases of a
// turn.

#ifndef AIOS_EVENT_LOOP_H_
#define AIOS_EVENT_LOOP_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "aios/check.h"
#include "aios/datagram_batch.h"
#include "aios/input_buffer.h"
#include "aios/kernel.h"
#include "aios/reply_batch.h"
#include "aios/state/output_operation.h"
#include "aios/ticket_queue.h"
#include "aios/timer_wheel.h"
#include "aios/wait_state_collection.h"
#include "aios/watcher.h"

namespace aios {

class NameService;

class EventLoop {
 public:
  EventLoop(WaitStateCollection& collection, Kernel& kernel,
            std::unique_ptr<Poller> poller, WaitStateCollectionOptions options);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  WaitStateCollection& collection() const { return collection_; }
  const Poller& poller() const { return *poller_; }
  Kernel& kernel() const { return kernel_; }
  const std::string& name() const { return options_.name; }
  const Limits& limits() const { return options_.limits; }
  size_t size() const { return size_; }

  // Catches, in debug builds, a call from a thread that does not run the
  // collection.
  void CheckThread() const {
    AIOS_DCHECK(OwnedByThisThread(),
                "a collection and its states belong to the thread that runs "
                "the collection; use Apply from other threads");
  }

  // Every call that may leave the collection something to do begins with this:
  // a kernel that drives it must hear of calls from outside its turns.
  void Enter() {
    CheckThread();
    if (driven_ && !in_call_) [[unlikely]] {
      kernel_.Wake(*poller_);
    }
  }

  // What the public class of the same functions says.
  bool Wait(Nanoseconds duration_max);
  void Call();
  void Run();
  void StopRunning();
  absl::Status Post(absl::AnyInvocable<void()>&& function);
  void CloseAll();

  // `Run` must be preceded by `StartRunning`, perhaps in another thread: from
  // then on the loop counts as running, and a stop is not lost.
  void StartRunning();
  // For a loop with a thread of its own: whether it is at work; after
  // `EndForGood` nothing more is posted.
  bool alive() const { return alive_.load(std::memory_order_acquire); }
  bool driven() const { return driven_; }
  void SetAlive() { alive_.store(true, std::memory_order_release); }
  void EndForGood();

  // ---- Watchers.

  // Starts serving `watcher`, which has the socket `handle`. `internal`: it is
  // no state and no accepting-handle, and `size` does not count it.
  void Add(Watcher& watcher, Handle handle, bool internal = false) {
    watcher.loop_ = this;
    watcher.handle_ = handle;
    watcher.internal_ = internal;
    watcher.previous_ = last_;
    (last_ != nullptr ? last_->next_ : first_) = &watcher;
    last_ = &watcher;
    if (!internal) ++size_;
  }

  // Gives a watcher without one a socket.
  void Attach(Watcher& watcher, Handle handle) { watcher.handle_ = handle; }

  // Gives up its socket: no more reports. The handle is the caller's to close.
  void Detach(Watcher& watcher);

  // Stops serving it altogether.
  void Remove(Watcher& watcher);

  // Sets the directions that `watcher` is to be told about. The kernel hears of
  // it before the next wait, and only if it must: input that is no longer
  // wanted is left with the kernel until it reports some, as it will be wanted
  // again after most callbacks.
  void Want(Watcher& watcher, Readiness wanted) {
    watcher.wanted_ = wanted;
    Readiness missing = wanted & ~watcher.applied_;
    Readiness extra = watcher.applied_ & ~wanted & kWritable;
    if ((missing | extra) != 0 && watcher.interest_ticket_ == kNoTicket) {
      watcher.interest_ticket_ = interest_queue_.Push(&watcher);
    }
  }

  static Readiness Wanted(const Watcher& watcher) { return watcher.wanted_; }
  // Whether it is to be told about all of `readiness`.
  static bool Wants(const Watcher& watcher, Readiness readiness) {
    return (watcher.wanted_ & readiness) == readiness;
  }

  // Calls `OnFlush` at the end of this turn, or before the next wait.
  void FlushLater(Watcher& watcher) {
    if (watcher.flush_ticket_ == kNoTicket) {
      watcher.flush_ticket_ = flush_queue_.Push(&watcher);
    }
  }

  // To be called in `OnReady` when it has found nothing to do. A report may be
  // wrong once; one that comes again and again would keep the loop turning for
  // nothing, and the kernel does not always say what it is that it reports. So
  // a watcher that is reported in `kEmptyReportsMax` turns in a row, each time
  // without reason, is not watched for `kRest`; then it has one more turn, and
  // so on, until a report has had a reason or did not come.
  void NothingBehindReport(Watcher& watcher);

  // ---- Time.

  // The time from which new deadlines count: that of the turn, or the clock's
  // between turns.
  Nanoseconds Now() {
    if (!in_call_) now_ = kernel_.Now();
    return now_;
  }

  // The same in a turn.
  Nanoseconds turn_time() const {
    AIOS_DCHECK(in_call_, "the time of a turn is only known in it");
    return now_;
  }

  // Whether a turn is in progress.
  bool in_call() const { return in_call_; }

  // Counts the turns.
  uint64_t turn() const { return turn_; }

  // Makes sure that `watcher.OnTimer` is called when `deadline` has come, or
  // earlier: a timer that is set to an earlier time already is left alone and
  // looks again when it expires. So a deadline that moves on with every message
  // costs nothing.
  void ScheduleTimer(Watcher& watcher, Nanoseconds deadline) {
    TimerEntry& entry = watcher;
    if (entry.on_wheel()) {
      if (entry.expiry <= deadline) return;
      timers_.Cancel(entry);
    }
    timers_.Schedule(entry, deadline);
  }

  void CancelTimer(Watcher& watcher) {
    TimerEntry& entry = watcher;
    if (entry.on_wheel()) timers_.Cancel(entry);
  }

  // Deadlines that are set. With none, timers that are left on the wheel wake
  // nobody.
  void CountDeadlines(int change) { deadlines_ += change; }

  // Numbers deadlines in the order in which they were set.
  uint32_t NextDeadlineOrder() { return deadline_order_++; }

  // Only in `Watcher::OnTimer`: `OnDue(which)` is to be called in the order of
  // deadlines, and of `order` among equal ones.
  void Due(Watcher& watcher, Nanoseconds deadline, uint32_t order,
           uint8_t which) {
    due_.push_back({deadline, order, which, &watcher});
  }

  // ---- Completions: callbacks run in the order in which they were queued.

  using CompletionFunction = void (*)(void* object);

  Ticket Complete(CompletionFunction function, void* object) {
    return completions_.Push({function, object});
  }
  void CancelCompletion(Ticket ticket) { completions_.Cancel(ticket); }

  // In `OnReady` and `OnFlush`: whether the callback of what has just ended may
  // be called at once instead, since none waits to be called before it. It may
  // destroy the watcher.
  bool MayCallBack() const { return calls_back_ && completions_.empty(); }

  // Brackets the callback of `watcher`, in which it may be removed and
  // destroyed: `EndCallback` returns false when it was destroyed.
  void BeginCallback(Watcher& watcher) {
    AIOS_DCHECK(in_call_ && running_ == nullptr,
                "callbacks run in a turn, one after the other");
    running_ = &watcher;
  }
  bool EndCallback() {
    Watcher* watcher = std::exchange(running_, nullptr);
    if (watcher == nullptr) return false;
    if (watcher->removed_) [[unlikely]] {
      watcher->loop_ = nullptr;
    }
    return true;
  }
  // The same when the watcher is known to be there and not removed.
  void EndCallbackOfOpen() { running_ = nullptr; }
  bool InCallbackOf(const Watcher& watcher) const {
    return running_ == &watcher;
  }

  // Null almost always.
  OperationObserver* observer() const { return observer_; }

  // How names are resolved; made on first use.
  NameService& names();

  // ---- Pools.

  InputBufferPool& input_buffers() { return input_buffers_; }
  OutputOperationPool& output_operations() { return output_operations_; }
  // Of the watcher whose callback is running; empty otherwise.
  ReplyBatch& replies() { return replies_; }
  DatagramReplies& datagram_replies() { return datagram_replies_; }

  // Which all datagram sockets use in turn. While a callback looks at what is
  // in it, it stays.
  DatagramBatch& datagram_batch() {
    if (datagram_batch_ == nullptr) [[unlikely]] {
      datagram_batch_ = std::make_unique<DatagramBatch>();
    }
    return *datagram_batch_;
  }
  // The same while callbacks look at it.
  DatagramBatch& datagram_batch_in_use() { return *datagram_batch_; }
  // Takes it, with what is in it, out for one socket.
  std::unique_ptr<DatagramBatch> TakeDatagramBatch() {
    if (datagram_batch_ == nullptr) return std::make_unique<DatagramBatch>();
    return std::move(datagram_batch_);
  }
  // Puts it back, with what is in it. No callback is running.
  void PutDatagramBatch(std::unique_ptr<DatagramBatch> batch) {
    datagram_batch_ = std::move(batch);
  }
  // Gives up what is in `batch`.
  void GiveDatagramBatch(std::unique_ptr<DatagramBatch> batch) {
    batch->Clear();
    if (datagram_batch_ == nullptr) datagram_batch_ = std::move(batch);
  }

 private:
  friend class Watcher;
  class RestTimer;

  struct Completion {
    CompletionFunction function = nullptr;
    void* object = nullptr;
  };
  struct DueDeadline {
    Nanoseconds deadline;
    uint32_t order;
    uint8_t which;
    Watcher* watcher;
  };

  bool OwnedByThisThread() const {
    std::thread::id owner = owner_.load(std::memory_order_relaxed);
    return owner == std::thread::id() || owner == std::this_thread::get_id();
  }
  // Phases 1 to 4 of a turn.
  inline void WaitForWork(Nanoseconds duration_max);
  // Phases 1 and 2; returns how long the turn may sleep then.
  inline Nanoseconds PrepareWait();
  // The other phases.
  inline void ServeTurn();
  // A turn without sleeping, for a kernel that drives the collection.
  Nanoseconds Turn();
  void ApplyInterest();
  inline void ServeReports();
  void ServeUnwanted(const Report& report, Watcher& watcher);
  void EndRests();
  // Looks at the timers that have expired, and collects in `due_` the deadlines
  // that have passed.
  void FindDue();
  void FireDue();
  void RunPosted() noexcept;
  // `function`, of which the observer is told when it runs.
  absl::AnyInvocable<void()> ObservePosted(
      absl::AnyInvocable<void()>&& function);
  // What `Post` returns when it refuses, with `mutex_` held.
  absl::Status PostRefused(const absl::AnyInvocable<void()>& function) const;
  void RunWaitingCompletions();
  void Flush();
  // Phase 8, when there is something to do in it.
  void FinishTurn();
  Nanoseconds NextDeadline() const {
    return deadlines_ == 0 ? kForever : timers_.NextExpiry();
  }
  inline void StopWatching(Watcher& watcher);
  inline void ForgetReportsOf(const Watcher& watcher);

  WaitStateCollection& collection_;
  Kernel& kernel_;
  OperationObserver* const observer_;
  const std::unique_ptr<Poller> poller_;
  const WaitStateCollectionOptions options_;

  Watcher* first_ = nullptr;
  Watcher* last_ = nullptr;
  size_t size_ = 0;

  // The time of the last wait's end; stands still during a turn.
  Nanoseconds now_ = 0;
  bool in_call_ = false;
  bool calls_back_ = false;
  // The kernel calls `Turn`.
  bool driven_ = false;
  uint64_t turn_ = 0;
  // The watcher whose callback is running.
  Watcher* running_ = nullptr;

  // What the last wait gave and `Call` has not yet served.
  static constexpr size_t kReportsMax = 128;
  std::array<Report, kReportsMax> reports_;
  Report* report_next_ = reports_.data();
  Report* report_end_ = reports_.data();

  TicketQueue<Watcher*> interest_queue_;
  // They are not watched before `rest_timer_` has expired, which is null until
  // it is first needed.
  std::vector<Watcher*> resting_;
  std::unique_ptr<RestTimer> rest_timer_;
  TicketQueue<Watcher*> flush_queue_;
  TicketQueue<Completion> completions_;

  TimerWheel timers_;
  int64_t deadlines_ = 0;
  uint32_t deadline_order_ = 0;
  std::vector<DueDeadline> due_;

  InputBufferPool input_buffers_;
  OutputOperationPool output_operations_;
  ReplyBatch replies_;
  DatagramReplies datagram_replies_{options_.limits.output_queue_length_max,
                                    options_.limits.output_queue_bytes_max};
  std::unique_ptr<DatagramBatch> datagram_batch_;

  // Null until a name is to be resolved.
  std::unique_ptr<NameService> names_;

  // The thread that runs the collection; none before and after.
  std::atomic<std::thread::id> owner_;
  std::atomic<bool> alive_ = false;

  // Functions taken from `posted_`, kept for its capacity.
  std::vector<absl::AnyInvocable<void()>> posted_now_;

  // Other threads write from here on: not in the cache lines of what is above.
  alignas(64) std::mutex mutex_;
  // Guarded by `mutex_`.
  std::vector<absl::AnyInvocable<void()>> posted_;
  bool running_loop_ = false;
  bool ended_ = false;
  // Written under `mutex_`, looked at without it. `has_posted_` is set as long
  // as the loop looks for posted functions before it sleeps.
  std::atomic<bool> has_posted_ = false;
  std::atomic<bool> stop_ = false;
};

}  // namespace aios

#endif  // AIOS_EVENT_LOOP_H_
