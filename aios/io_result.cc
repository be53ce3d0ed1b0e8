#include "aios/io_result.h"

#include <string>

namespace aios {

std::string_view IoStatusName(IoStatus status) {
  switch (status) {
    case IoStatus::kOk:
      return "ok";
    case IoStatus::kEof:
      return "eof";
    case IoStatus::kTimeout:
      return "timeout";
    case IoStatus::kAborted:
      return "aborted";
    case IoStatus::kError:
      return "error";
  }
  return "unknown";
}

absl::Status IoResult::ToStatus() const {
  switch (status) {
    case IoStatus::kOk:
      return absl::OkStatus();
    case IoStatus::kEof:
      return absl::OutOfRangeError("end of stream");
    case IoStatus::kTimeout:
      return absl::DeadlineExceededError(
          detail.empty() ? std::string("timed out") : std::string(detail));
    case IoStatus::kAborted:
      return absl::CancelledError("aborted");
    case IoStatus::kError:
      return detail.empty()
                 ? error.ToStatus()
                 : absl::Status(error.ToStatus().code(), std::string(detail));
  }
  return absl::InternalError("unknown status");
}

}  // namespace aios
