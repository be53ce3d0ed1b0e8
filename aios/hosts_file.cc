#include "aios/hosts_file.h"

#include <cstddef>
#include <utility>

namespace aios {

namespace {

// A list of a million hosts has 30 to 60 MB.
constexpr size_t kSizeMax = size_t{256} << 20;

// What is done at once: a part is read or gone over, and four of them are done
// in a turn, so that a file of one part is known at once: it is read, its names
// are counted, the index is cleared, and they are put there.
constexpr size_t kPartSize = size_t{64} << 10;
constexpr int kPartsPerTurn = 4;

}  // namespace

HostsFile::HostsFile(EventLoop& loop, const std::string& path, Function on_end,
                     void* object)
    : loop_(loop),
      on_end_(on_end),
      object_(object),
      file_(loop.kernel(), path, kSizeMax) {}

bool HostsFile::Find(std::string_view name,
                     HostsTable::Addresses* addresses) const {
  return table_.Find(
      name,
      [this](std::string_view zone) {
        return loop_.kernel().InterfaceIndex(zone);
      },
      addresses);
}

void HostsFile::Work() {
  for (int part = 0; part != kPartsPerTurn; ++part) {
    if (WorkOnPart()) continue;
    if (loop() != nullptr) {
      loop_.CountDeadlines(-1);
      loop_.Remove(*this);
    }
    return;
  }
  if (loop() == nullptr) {
    loop_.Add(*this, kNoHandle, /*internal=*/true);
    loop_.CountDeadlines(1);
  }
  // In the next turn, which does not sleep.
  loop_.ScheduleTimer(*this, loop_.Now());
}

bool HostsFile::WorkOnPart() {
  if (new_table_.has_value()) {
    if (!new_table_->Build(kPartSize)) return true;
    table_ = *std::move(new_table_);
    new_table_.reset();
    known_ = true;
    return false;
  }
  switch (file_.Read(loop_.Now(), kPartSize)) {
    case SystemFile::Outcome::kSame:
    case SystemFile::Outcome::kFailed:
      return false;
    case SystemFile::Outcome::kMore:
      return true;
    case SystemFile::Outcome::kNew:
      new_table_.emplace(file_.TakeText());
      return true;
  }
  return false;
}

Nanoseconds HostsFile::OnTimer(Nanoseconds now) {
  loop_.Due(*this, now, loop_.NextDeadlineOrder(), 0);
  return kForever;
}

void HostsFile::OnDue(uint8_t /*which*/) {
  const bool known = known_;
  Work();
  if (!known && loop() == nullptr) on_end_(object_);
}

void HostsFile::Close() {
  if (loop() == nullptr) return;
  // The text may be in the table that is given up.
  file_.Forget();
  new_table_.reset();
  loop_.CancelTimer(*this);
  loop_.CountDeadlines(-1);
  loop_.Remove(*this);
}

}  // namespace aios
