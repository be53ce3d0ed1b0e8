#include "aios/event_loop.h"

#include <algorithm>
#include <span>
#include <tuple>
#include <utility>

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "aios/check.h"
#include "aios/duration.h"
#include "aios/name_service.h"
#include "aios/operation_observer.h"
#include "aios/text.h"

namespace aios {

namespace {

// Callbacks start operations that complete at once, whose callbacks start more.
// A turn goes along with that so often, then looks at the sockets again.
constexpr int kRoundsPerTurnMax = 16;

// Of these, the callbacks that may follow one from the other before what they
// have queued is sent: all those of a batch of datagrams.
constexpr int kCallbacksPerRoundMax = 64;

// So many functions further on, `Post` has memory fetched: two cache lines.
constexpr size_t kPlacesAhead = 4;

// A kernel that means well is wrong about a socket now and then, but hardly so
// often in a row. A hundred looks a second cost nothing worth mentioning.
constexpr uint8_t kEmptyReportsMax = 16;
constexpr Nanoseconds kRest = 10'000'000;

}  // namespace

// Wakes the loop when those that rest are to be watched again.
class EventLoop::RestTimer final : public Watcher {
 public:
  void Start(EventLoop& loop) {
    if (this->loop() == nullptr) loop.Add(*this, kNoHandle, /*internal=*/true);
    if (end_ != kForever) return;
    end_ = DeadlineAfter(loop.Now(), kRest);
    loop.CountDeadlines(1);
    loop.ScheduleTimer(*this, end_);
  }

 private:
  void OnReady(Readiness /*ready*/) override {}
  void OnWatchFailed(Error /*error*/) override {}
  Nanoseconds OnTimer(Nanoseconds now) override {
    if (end_ > now) return end_;
    loop()->Due(*this, end_, loop()->NextDeadlineOrder(), 0);
    return kForever;
  }
  void OnDue(uint8_t /*which*/) override {
    end_ = kForever;
    loop()->CountDeadlines(-1);
    loop()->EndRests();
  }
  void OnFlush() override {}
  void OnCollectionClose() override {
    if (std::exchange(end_, kForever) != kForever) loop()->CountDeadlines(-1);
    loop()->Remove(*this);
  }

  Nanoseconds end_ = kForever;
};

EventLoop::EventLoop(WaitStateCollection& collection, Kernel& kernel,
                     std::unique_ptr<Poller> poller,
                     WaitStateCollectionOptions options)
    : collection_(collection),
      kernel_(kernel),
      observer_(kernel.observer()),
      poller_(std::move(poller)),
      options_(std::move(options)) {
  if (observer_ != nullptr) {
    observer_->OnCollection(*poller_, options_.limits);
  }
  driven_ = kernel_.Drive(*poller_, [this] { return Turn(); });
}

EventLoop::~EventLoop() {
  AIOS_CHECK(running_ == nullptr && !in_call_,
             "a collection must not be destroyed by its own callbacks");
  CloseAll();
  if (observer_ != nullptr) observer_->OnCollectionEnd(*poller_);
}

NameService& EventLoop::names() {
  if (names_ == nullptr) {
    names_ = std::make_unique<NameService>(*this, options_.resolver);
  }
  return *names_;
}

bool EventLoop::Wait(Nanoseconds duration_max) {
  AIOS_CHECK(!in_call_, "Wait must not be called from a callback");
  CheckThread();
  owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  // Code of the user ran since the last turn, perhaps for long.
  now_ = kernel_.Now();
  // What an earlier wait found and nobody served is found again, except errors.
  bool unserved = report_next_ != report_end_;
  for (const Report* report = report_next_; report != report_end_; ++report) {
    if (report->token != nullptr && !report->error.ok()) {
      ServeUnwanted(*report, *static_cast<Watcher*>(report->token));
    }
  }
  WaitForWork(unserved ? 0 : duration_max);
  return report_next_ != report_end_ || !completions_.empty() ||
         !flush_queue_.empty() || has_posted_.load(std::memory_order_acquire) ||
         NextDeadline() <= now_;
}

inline Nanoseconds EventLoop::PrepareWait() {
  if (!flush_queue_.empty() || !interest_queue_.empty()) [[unlikely]] {
    if (!flush_queue_.empty()) Flush();
    ApplyInterest();
    if (!flush_queue_.empty()) return 0;
  }
  // A stop need not be looked for: it wakes the wait.
  if (!completions_.empty() || has_posted_.load(std::memory_order_acquire))
      [[unlikely]] {
    return 0;
  }
  Nanoseconds deadline = NextDeadline();
  return deadline == kForever ? kForever
                              : std::max<Nanoseconds>(deadline - now_, 0);
}

inline void EventLoop::WaitForWork(Nanoseconds duration_max) {
  Nanoseconds timeout = std::min(duration_max, PrepareWait());
  size_t found = kernel_.Wait(*poller_, reports_, timeout);
  now_ = kernel_.Now();
  report_next_ = reports_.data();
  report_end_ = report_next_ + found;
}

Nanoseconds EventLoop::Turn() {
  WaitForWork(0);
  Call();
  if (alive() && stop_.load(std::memory_order_acquire)) {
    // The end of what would be the thread of its own.
    CloseAll();
    EndForGood();
    return kForever;
  }
  return PrepareWait();
}

inline void EventLoop::ServeReports() {
  Report* const end = report_end_;
  for (Report* report = report_next_; report != end; ++report) {
    // Those that follow have not been served: `ForgetReportsOf`.
    report_next_ = report + 1;
    auto* watcher = static_cast<Watcher*>(report->token);
    if (watcher == nullptr) [[unlikely]] {
      continue;
    }
    int unwanted = report->ready & ~watcher->wanted_;
    if ((unwanted | report->error.code()) == 0) [[likely]] {
      watcher->OnReady(report->ready);
    } else {
      ServeUnwanted(*report, *watcher);
    }
    if (!completions_.empty() && calls_back_) RunWaitingCompletions();
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void EventLoop::ServeTurn() {
  in_call_ = true;
  ++turn_;
  bool posted = has_posted_.load(std::memory_order_acquire);
  // Callbacks run while their bytes are in the cache, unless they have to wait
  // for the deadlines and posted functions of this turn.
  calls_back_ = !posted;
  if (NextDeadline() <= now_) [[unlikely]] {
    FindDue();
    if (!due_.empty()) calls_back_ = false;
  }
  ServeReports();
  if (!calls_back_) [[unlikely]] {
    FireDue();
    if (posted) RunPosted();
    calls_back_ = true;
  }
  if (!completions_.empty() || !flush_queue_.empty()) FinishTurn();
  calls_back_ = false;
  in_call_ = false;
}

void EventLoop::FinishTurn() {
  for (int round = 0; round < kRoundsPerTurnMax; ++round) {
    for (int i = 0; i < kCallbacksPerRoundMax && !completions_.empty(); ++i) {
      RunWaitingCompletions();
    }
    if (flush_queue_.empty()) break;
    Flush();
  }
}

void EventLoop::Call() {
  AIOS_CHECK(!in_call_, "Call must not be called from a callback");
  CheckThread();
  ServeTurn();
}

// The report is of more than `watcher` wants, or of an error.
void EventLoop::ServeUnwanted(const Report& report, Watcher& watcher) {
  if (observer_ != nullptr) observer_->OnServe(*poller_, report.token);
  if (!report.error.ok()) {
    watcher.applied_ = kNotReady;
    watcher.OnWatchFailed(report.error);
    return;
  }
  Readiness unwanted = report.ready & ~watcher.wanted_;
  if ((unwanted & kReadable) != 0 && !watcher.input_unwanted_) {
    watcher.input_unwanted_ = true;
    if (watcher.interest_ticket_ == kNoTicket) {
      watcher.interest_ticket_ = interest_queue_.Push(&watcher);
    }
  }
  Readiness wanted = report.ready & watcher.wanted_;
  if (wanted != kNotReady) watcher.OnReady(wanted);
}

void EventLoop::NothingBehindReport(Watcher& watcher) {
  auto turn = static_cast<uint8_t>(turn_);
  // Twice in a turn is once.
  if (watcher.resting_ || turn == watcher.last_empty_turn_) return;
  if (turn != static_cast<uint8_t>(watcher.last_empty_turn_ + 1)) {
    watcher.empty_reports_ = 0;
  }
  watcher.last_empty_turn_ = turn;
  if (watcher.empty_reports_ < kEmptyReportsMax) ++watcher.empty_reports_;
  if (watcher.empty_reports_ < kEmptyReportsMax) return;
  watcher.resting_ = true;
  resting_.push_back(&watcher);
  if (watcher.interest_ticket_ == kNoTicket) {
    watcher.interest_ticket_ = interest_queue_.Push(&watcher);
  }
  if (rest_timer_ == nullptr) rest_timer_ = std::make_unique<RestTimer>();
  rest_timer_->Start(*this);
}

void EventLoop::EndRests() {
  for (Watcher* watcher : resting_) {
    watcher->resting_ = false;
    // What comes in the next turn is the next in a row.
    watcher->last_empty_turn_ = static_cast<uint8_t>(turn_);
    if (watcher->interest_ticket_ == kNoTicket) {
      watcher->interest_ticket_ = interest_queue_.Push(watcher);
    }
  }
  resting_.clear();
}

void EventLoop::FindDue() {
  TimerEntry* entry = timers_.Advance(now_);
  while (entry != nullptr) {
    auto* watcher = static_cast<Watcher*>(entry);
    entry = entry->next;
    Nanoseconds next = watcher->OnTimer(now_);
    if (next != kForever) timers_.Schedule(*watcher, next);
  }
  std::sort(
      due_.begin(), due_.end(), [](const DueDeadline& a, const DueDeadline& b) {
        return std::tie(a.deadline, a.order) < std::tie(b.deadline, b.order);
      });
}

void EventLoop::FireDue() {
  for (const DueDeadline& due : due_) {
    if (due.watcher != nullptr) due.watcher->OnDue(due.which);
  }
  due_.clear();
}

void EventLoop::RunPosted() noexcept {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    posted_now_.swap(posted_);
  }
  for (absl::AnyInvocable<void()>& function : posted_now_) {
    std::move(function)();
    // What it captured goes now, not when the others have run.
    function = nullptr;
  }
  posted_now_.clear();
  // Not before they have run: what is posted meanwhile need not wake us.
  std::lock_guard<std::mutex> lock(mutex_);
  if (posted_.empty()) has_posted_.store(false, std::memory_order_release);
}

void EventLoop::RunWaitingCompletions() {
  for (size_t n = completions_.size(); n != 0; --n) {
    Completion completion = completions_.Pop();
    if (completion.function != nullptr) [[likely]] {
      completion.function(completion.object);
    }
  }
}

void EventLoop::Flush() {
  for (size_t n = flush_queue_.size(); n != 0; --n) {
    Watcher* watcher = flush_queue_.Pop();
    if (watcher == nullptr) continue;
    watcher->flush_ticket_ = kNoTicket;
    watcher->OnFlush();
  }
}

void EventLoop::ApplyInterest() {
  // What fails and is wanted all the same is tried again at the next wait: if
  // it fails for ever, as on a handle that other code has closed, it must not
  // keep us here.
  for (size_t n = interest_queue_.size(); n != 0; --n) {
    Watcher* watcher = interest_queue_.Pop();
    if (watcher == nullptr) continue;
    watcher->interest_ticket_ = kNoTicket;
    Readiness target = watcher->wanted_;
    if (!watcher->input_unwanted_) target |= watcher->applied_ & kReadable;
    watcher->input_unwanted_ = false;
    if (watcher->resting_) [[unlikely]] {
      target = kNotReady;
    }
    if (target == watcher->applied_) continue;
    Error error = kernel_.SetInterest(*poller_, watcher->handle_,
                                      static_cast<void*>(watcher),
                                      watcher->applied_, target);
    if (error.ok()) {
      watcher->applied_ = target;
    } else {
      watcher->OnWatchFailed(error);
    }
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void EventLoop::ForgetReportsOf(
    const Watcher& watcher) {
  // At most as many as a wait takes.
  for (Report* report = report_next_; report != report_end_; ++report) {
    if (report->token == static_cast<const void*>(&watcher)) {
      report->token = nullptr;
    }
  }
}

ABSL_ATTRIBUTE_ALWAYS_INLINE inline void EventLoop::StopWatching(
    Watcher& watcher) {
  if (watcher.interest_ticket_ != kNoTicket) {
    interest_queue_.Cancel(std::exchange(watcher.interest_ticket_, kNoTicket));
  }
  if (watcher.applied_ != kNotReady) {
    // Needed even before closing: while a duplicate of the descriptor is open
    // elsewhere, epoll goes on reporting it. It cannot fail in a way that
    // matters.
    static_cast<void>(kernel_.SetInterest(*poller_, watcher.handle_,
                                          static_cast<void*>(&watcher),
                                          watcher.applied_, kNotReady));
    watcher.applied_ = kNotReady;
  }
  if (watcher.resting_) [[unlikely]] {
    watcher.resting_ = false;
    std::erase(resting_, &watcher);
  }
  watcher.wanted_ = kNotReady;
  watcher.handle_ = kNoHandle;
  ForgetReportsOf(watcher);
}

void EventLoop::Detach(Watcher& watcher) { StopWatching(watcher); }

void EventLoop::Remove(Watcher& watcher) {
  StopWatching(watcher);
  CancelTimer(watcher);
  for (DueDeadline& due : due_) {
    if (due.watcher == &watcher) due.watcher = nullptr;
  }
  if (watcher.flush_ticket_ != kNoTicket) [[unlikely]] {
    flush_queue_.Cancel(std::exchange(watcher.flush_ticket_, kNoTicket));
  }
  (watcher.previous_ != nullptr ? watcher.previous_->next_ : first_) =
      watcher.next_;
  (watcher.next_ != nullptr ? watcher.next_->previous_ : last_) =
      watcher.previous_;
  watcher.previous_ = nullptr;
  watcher.next_ = nullptr;
  if (!watcher.internal_) --size_;
  // While its callback runs it keeps the way to us, so that we learn when it is
  // destroyed.
  if (running_ == &watcher) {
    watcher.removed_ = true;
  } else {
    watcher.loop_ = nullptr;
  }
}

Watcher::~Watcher() {
  if (loop_ != nullptr && loop_->running_ == this) loop_->running_ = nullptr;
}

void EventLoop::CloseAll() {
  // Its answers reach nobody any more, and its sockets are in the list, too.
  if (names_ != nullptr) names_->Close();
  // Closing destroys callbacks, whose captures may close and destroy others:
  // look at the first one anew each time.
  while (first_ != nullptr) first_->OnCollectionClose();
}

absl::Status EventLoop::Post(absl::AnyInvocable<void()>&& function) {
  bool wake = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!function || ended_ || posted_.size() >= limits().posted_max)
        [[unlikely]] {
      return PostRefused(function);
    }
    if (observer_ != nullptr) [[unlikely]] {
      function = ObservePosted(std::move(function));
    }
    posted_.push_back(std::move(function));
    // The loop's processor has the places that follow in its cache: have them
    // fetched, or the next calls wait for them, and the loop for the mutex.
    __builtin_prefetch(&posted_.back() + kPlacesAhead, /*rw=*/1);
    // Otherwise the loop is awake, or about to look.
    wake = !has_posted_.load(std::memory_order_relaxed);
    if (wake) has_posted_.store(true, std::memory_order_release);
  }
  if (wake &&
      owner_.load(std::memory_order_relaxed) != std::this_thread::get_id()) {
    kernel_.Wake(*poller_);
  }
  return absl::OkStatus();
}

absl::AnyInvocable<void()> EventLoop::ObservePosted(
    absl::AnyInvocable<void()>&& function) {
  return [this, number = observer_->OnPost(*poller_),
          function = std::move(function)]() mutable {
    observer_->OnRunPosted(*poller_, number);
    std::move(function)();
  };
}

absl::Status EventLoop::PostRefused(
    const absl::AnyInvocable<void()>& function) const {
  if (!function) {
    return absl::InvalidArgumentError(absl::StrCat(
        WithName("collection", name()), ": Apply needs a function"));
  }
  if (ended_) {
    return absl::FailedPreconditionError(absl::StrCat(
        WithName("collection", name()), ": Apply refused: its loop has ended"));
  }
  return absl::ResourceExhaustedError(absl::StrCat(
      WithName("collection", name()), ": Apply refused: ", posted_.size(),
      " functions are waiting to run, the limit"));
}

void EventLoop::StartRunning() {
  std::lock_guard<std::mutex> lock(mutex_);
  AIOS_CHECK(!running_loop_, "only one Loop may run on a collection");
  running_loop_ = true;
}

void EventLoop::Run() {
  AIOS_CHECK(!in_call_, "Loop must not be called from a callback");
  CheckThread();
  owner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  now_ = kernel_.Now();
  // What a `Wait` before this has found.
  if (report_next_ != report_end_) ServeTurn();
  while (!stop_.load(std::memory_order_acquire)) {
    WaitForWork(kForever);
    ServeTurn();
  }
  std::lock_guard<std::mutex> lock(mutex_);
  running_loop_ = false;
  stop_.store(false, std::memory_order_release);
  owner_.store(std::thread::id(), std::memory_order_relaxed);
}

void EventLoop::StopRunning() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!running_loop_) return;
    stop_.store(true, std::memory_order_release);
  }
  kernel_.Wake(*poller_);
}

void EventLoop::EndForGood() {
  std::vector<absl::AnyInvocable<void()>> unused;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    unused.swap(posted_);
    has_posted_.store(false, std::memory_order_release);
  }
  if (observer_ != nullptr) observer_->OnCollectionEnd(*poller_);
  alive_.store(false, std::memory_order_release);
}

}  // namespace aios
