#include "aios/state/ending.h"

#include <algorithm>
#include <iterator>

namespace aios {

void Endings::Queue(EventLoop& loop, Channel& channel,
                    std::unique_ptr<Ending> ending) {
  ending->channel = &channel;
  ending->ticket = loop.Complete(
      [](void* object) {
        auto* queued = static_cast<Ending*>(object);
        queued->channel->OnEnding(*queued);
      },
      ending.get());
  queued_.push_back(std::move(ending));
}

std::unique_ptr<Ending> Endings::Unqueue(const Ending& ending) {
  auto place = std::find_if(
      queued_.begin(), queued_.end(),
      [&](const std::unique_ptr<Ending>& one) { return one.get() == &ending; });
  std::unique_ptr<Ending> taken = std::move(*place);
  queued_.erase(place);
  return taken;
}

std::vector<std::unique_ptr<Ending>> Endings::Close(EventLoop& loop) {
  for (const std::unique_ptr<Ending>& ending : queued_) {
    loop.CancelCompletion(ending->ticket);
  }
  std::vector<std::unique_ptr<Ending>> all = std::exchange(to_apply_, {});
  std::move(queued_.begin(), queued_.end(), std::back_inserter(all));
  queued_.clear();
  return all;
}

}  // namespace aios
