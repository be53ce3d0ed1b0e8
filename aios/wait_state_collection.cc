#include "aios/wait_state_collection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "aios/duration.h"
#include "aios/event_loop.h"
#include "aios/text.h"

namespace aios {

WaitStateCollection::WaitStateCollection(Kernel& kernel,
                                         std::unique_ptr<Poller> poller,
                                         WaitStateCollectionOptions options)
    : loop_(std::make_unique<EventLoop>(*this, kernel, std::move(poller),
                                        std::move(options))) {}

WaitStateCollection::~WaitStateCollection() {
  if (thread_.joinable()) {
    loop_->StopRunning();
    thread_.join();
  }
}

bool WaitStateCollection::Wait(absl::Duration duration_max) {
  return loop_->Wait(
      ToNanoseconds(std::max(duration_max, absl::ZeroDuration())));
}

void WaitStateCollection::Call() { loop_->Call(); }
void WaitStateCollection::Loop() {
  loop_->StartRunning();
  loop_->Run();
}

void WaitStateCollection::StopLoop() { loop_->StopRunning(); }

absl::Status WaitStateCollection::Apply(absl::AnyInvocable<void()> function) {
  return loop_->Post(std::move(function));
}

void WaitStateCollection::Close() {
  loop_->Enter();
  loop_->CloseAll();
}

bool WaitStateCollection::Alive() const { return loop_->alive(); }
Kernel& WaitStateCollection::kernel() const { return loop_->kernel(); }
const std::string& WaitStateCollection::name() const { return loop_->name(); }
const Limits& WaitStateCollection::limits() const { return loop_->limits(); }
size_t WaitStateCollection::size() const { return loop_->size(); }

absl::StatusOr<std::unique_ptr<WaitStateCollection>> MakeWaitStateCollection(
    Kernel& kernel, WaitStateCollectionOptions options) {
  if (absl::Status status = CheckOptions(options.resolver); !status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("collection \"", options.name,
                                     "\" cannot be made: ", status.message()));
  }
  std::unique_ptr<Poller> poller;
  if (Error error = kernel.NewPoller(&poller); !error.ok()) {
    return error.ToStatus(
        absl::StrCat(WithName("collection", options.name), " cannot be made"));
  }
  return std::unique_ptr<WaitStateCollection>(
      new WaitStateCollection(kernel, std::move(poller), std::move(options)));
}

absl::StatusOr<std::unique_ptr<WaitStateCollection>>
CreateAndRunWaitStateCollection(Kernel& kernel,
                                WaitStateCollectionOptions options) {
  options.name = absl::StrCat("Loop Collection ", options.name);
  absl::StatusOr<std::unique_ptr<WaitStateCollection>> collection =
      MakeWaitStateCollection(kernel, std::move(options));
  if (!collection.ok()) return collection;
  EventLoop& loop = *(*collection)->loop_;
  // Here and not in the thread, so that a stop that comes first is not lost.
  loop.StartRunning();
  loop.SetAlive();
  // A kernel that drives the collection is its thread, so to say.
  if (loop.driven()) return collection;
  (*collection)->thread_ = std::thread([&loop] {
    loop.Run();
    loop.CloseAll();
    loop.EndForGood();
  });
  return collection;
}

}  // namespace aios
