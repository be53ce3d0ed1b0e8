// Files that a test makes up, for a kernel that shows them in place of its own.

#ifndef AIOS_TESTS_SUPPORT_TEXT_FILES_H_
#define AIOS_TESTS_SUPPORT_TEXT_FILES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "aios/kernel.h"

namespace aios::test {

class TextFiles {
 public:
  struct File {
    // Writes a new text, at a new time.
    File& operator=(std::string_view new_text) {
      text = new_text;
      ++modified;
      return *this;
    }

    std::string text;
    // What every call gives, if it is one; only those that ask for bytes.
    Error error;
    Error read_error;
    // For the stamp. A negative size: that of the text.
    int64_t modified = 0;
    bool fresh = false;
    int64_t size = -1;
  };

  // Makes it when there is none.
  File& operator[](std::string_view path);
  void Remove(std::string_view path) { files_.erase(std::string(path)); }

  // As `Kernel::ReadFile` has it.
  Transfer Read(std::string_view path, uint64_t offset, std::span<char> buffer,
                FileStamp* stamp);

  // Called at the end of each read that gives bytes.
  std::function<void()> after_read;

  // Calls that asked for the stamp alone, calls that asked for bytes, and the
  // bytes of the longest.
  int looks = 0;
  int reads = 0;
  size_t most_bytes = 0;

 private:
  std::map<std::string, File, std::less<>> files_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_TEXT_FILES_H_
