#include "tests/support/text_files.h"

#include <algorithm>
#include <cerrno>

namespace aios::test {

TextFiles::File& TextFiles::operator[](std::string_view path) {
  return files_[std::string(path)];
}

Transfer TextFiles::Read(std::string_view path, uint64_t offset,
                         std::span<char> buffer, FileStamp* stamp) {
  ++(buffer.empty() ? looks : reads);
  most_bytes = std::max(most_bytes, buffer.size());
  auto found = files_.find(path);
  if (found == files_.end()) return {.error = Error(ENOENT)};
  const File& file = found->second;
  if (!file.error.ok()) return {.error = file.error};
  if (!buffer.empty() && !file.read_error.ok()) {
    return {.error = file.read_error};
  }
  *stamp = {.size = file.size < 0 ? file.text.size()
                                  : static_cast<uint64_t>(file.size),
            .modified = file.modified,
            .changed = file.modified,
            .fresh = file.fresh};
  Transfer transfer;
  if (offset < file.text.size()) {
    transfer.count = file.text.copy(buffer.data(), buffer.size(), offset);
  }
  if (!buffer.empty() && after_read) after_read();
  return transfer;
}

}  // namespace aios::test
