// A file by which the system is configured, read anew when it has changed.

#ifndef AIOS_SYSTEM_FILE_H_
#define AIOS_SYSTEM_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "aios/error.h"
#include "aios/kernel.h"

namespace aios {

// Only a file that does not exist (ENOENT) is taken for an empty one. When it
// cannot be read for another reason, what was read before stays, and the next
// look comes soon.
class SystemFile {
 public:
  // `kernel` must outlive it. An empty `path` is that of a file that does not
  // exist. One of more than `size_max` bytes cannot be read (EFBIG).
  SystemFile(Kernel& kernel, std::string path, size_t size_max);

  enum class Outcome : uint8_t {
    kSame,    // what was known is still so
    kNew,     // the file was read, or is found not to exist
    kMore,    // a part was read; call again for the next one
    kFailed,  // `error` says why
  };

  // Looks whether the file has changed if it is time to, 5 s after the last
  // look, or 100 ms after one that failed. Reads at most about `bytes_max`
  // bytes of it. As long as nothing is known it is always time.
  Outcome Read(Nanoseconds now, size_t bytes_max);

  // The same, for a file that is small enough to be read at once.
  Outcome ReadAll(Nanoseconds now);

  // Whether `Read` would do more than answer `kSame`.
  bool Due(Nanoseconds now) const {
    return !known_ || reading_ || now >= next_look_;
  }

  // Whether the file was read, or found not to exist.
  bool known() const { return known_; }
  bool exists() const { return exists_; }
  // Empty where there is no file, or nothing is known.
  const std::string& text() const { return text_; }
  std::string TakeText() { return std::exchange(text_, std::string()); }
  // Why the last look failed; OK when it did not.
  Error error() const { return error_; }

  // Forgets everything, as before the first `Read`.
  void Forget();

 private:
  void Cancel();
  Outcome Fail(Nanoseconds now, Error error);
  Outcome NoFile(Nanoseconds now);
  Outcome BeginAgain(Nanoseconds now);
  Outcome ReadPiece(Nanoseconds now, size_t bytes_max);

  Kernel& kernel_;
  const std::string path_;
  const size_t size_max_;

  bool known_ = false;
  bool exists_ = false;
  std::string text_;
  // Of `text_`, and whether another one that equals it proves that the file is
  // the same.
  FileStamp stamp_;
  bool stamp_counts_ = false;
  Nanoseconds next_look_ = 0;
  Error error_;

  // What is being read.
  bool reading_ = false;
  std::string new_text_;
  FileStamp new_stamp_;
  // How often the file has changed while it was being read.
  int changes_ = 0;
};

}  // namespace aios

#endif  // AIOS_SYSTEM_FILE_H_
