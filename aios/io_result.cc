#include "aios/io_result.h"

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
      return absl::DeadlineExceededError("timed out");
    case IoStatus::kAborted:
      return absl::CancelledError("aborted");
    case IoStatus::kError:
      return error.ToStatus();
  }
  return absl::InternalError("unknown status");
}

}  // namespace aios
