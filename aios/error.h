// What went wrong in the world: refused, reset, unreachable, out of
// descriptors. Mistakes of the caller are `absl::Status` values returned by the
// call; errors of the world arrive in callbacks as an `Error`.

#ifndef AIOS_ERROR_H_
#define AIOS_ERROR_H_

#include <string>

#include "absl/status/status.h"

namespace aios {

// Why a name could not be resolved. The numbers are those of no errno value.
enum class LookupError : int {
  kNoSuchName = 0x10000,  // the name does not exist
  kNoAddress,             // it exists, and has no address of this family
  kServerFailure,         // the servers failed to find out
  kRefused,               // the servers refused to answer
  kTimedOut,              // no server answered in time
  kUnreachable,           // no server could be reached
  kMalformedAnswer,       // the answer made no sense
  kBadName,               // no name that a server could be asked for
  kCancelled,             // by the caller
  kNotConfigured,         // there is no server to ask
};

// An error code: 0 for none, otherwise an errno value of <cerrno> or a
// `LookupError`. Every kernel, simulated ones included, uses the errno values
// of the system it was built on.
class Error {
 public:
  constexpr Error() = default;
  constexpr explicit Error(int code) : code_(code) {}
  constexpr explicit Error(LookupError code) : code_(static_cast<int>(code)) {}

  constexpr int code() const { return code_; }
  constexpr bool ok() const { return code_ == 0; }

  // The standard name, such as "ECONNREFUSED" or "NXDOMAIN"; "errno 4711" for a
  // code without a name here, "OK" for none.
  std::string Name() const;

  // Text for people, such as "connection refused (ECONNREFUSED)".
  std::string Message() const;

  // The nearest canonical status, its message `context` (when not empty), a
  // colon, and `Message()`. OK when there is no error.
  absl::Status ToStatus(const std::string& context = std::string()) const;

  friend constexpr bool operator==(Error a, Error b) = default;

 private:
  int code_ = 0;
};

}  // namespace aios

#endif  // AIOS_ERROR_H_
