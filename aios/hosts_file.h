// The hosts file of a collection: kept as a table, and read anew when it has
// changed, a bounded part of it in each turn of the loop.

#ifndef AIOS_HOSTS_FILE_H_
#define AIOS_HOSTS_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "aios/event_loop.h"
#include "aios/kernel.h"
#include "aios/name_tables.h"
#include "aios/system_file.h"
#include "aios/watcher.h"

namespace aios {

class HostsFile final : private Watcher {
 public:
  // Called in a turn, before its completions, when it has been found out what
  // is in the file, or that it cannot be read, and nothing was known before.
  using Function = void (*)(void* object);

  HostsFile(EventLoop& loop, const std::string& path, Function on_end,
            void* object);
  ~HostsFile() override { Close(); }

  // To be called before each use of the table: looks at the file when it is
  // time to (`SystemFile`). A file of up to 64 KiB is in the table when this
  // returns; of a longer one the rest is read in the turns to come, with the
  // old table in force until the new one is whole.
  void Refresh() {
    if (loop() == nullptr && file_.Due(loop_.Now())) Work();
  }

  // Whether there is a table (an empty one when there is no file). Without one
  // nothing can be said of any name: the file is being read, or `error` is why
  // it cannot be.
  bool known() const { return known_; }
  bool reading() const { return loop() != nullptr; }
  Error error() const { return file_.error(); }

  // As `HostsTable::Find`.
  bool Find(std::string_view name, HostsTable::Addresses* addresses) const;

  // Gives up what is being read. What is known stays so.
  void Close();

 private:
  // Does what one turn may; goes on in the next one when that is not all.
  void Work();
  // True when there is more to do.
  bool WorkOnPart();

  void OnReady(Readiness /*ready*/) override {}
  void OnWatchFailed(Error /*error*/) override {}
  Nanoseconds OnTimer(Nanoseconds now) override;
  void OnDue(uint8_t which) override;
  void OnFlush() override {}
  void OnCollectionClose() override { Close(); }

  EventLoop& loop_;
  const Function on_end_;
  void* const object_;

  SystemFile file_;
  bool known_ = false;
  HostsTable table_;
  // The one that is being made of the text that was read.
  std::optional<HostsTable> new_table_;
};

}  // namespace aios

#endif  // AIOS_HOSTS_FILE_H_
