#include "aios/error.h"

#include <cerrno>
#include <string>

#include "absl/status/status.h"

namespace aios {
namespace {

struct Entry {
  int code;
  const char* name;
  const char* text;
};

#define AIOS_ENTRY(code, text) \
  { code, #code, text }

// What the calls of a kernel may answer. A table of our own, because strerror
// depends on the locale and the C library: a message must be the same in every
// process, or traces that contain it could not be compared.
constexpr Entry kEntries[] = {
    // The network.
    AIOS_ENTRY(ECONNREFUSED, "connection refused"),
    AIOS_ENTRY(ECONNRESET, "connection reset by peer"),
    AIOS_ENTRY(ECONNABORTED, "connection aborted"),
    AIOS_ENTRY(EPIPE, "broken pipe"),
    AIOS_ENTRY(ETIMEDOUT, "timed out"),
    AIOS_ENTRY(EHOSTUNREACH, "no route to host"),
    AIOS_ENTRY(ENETUNREACH, "network unreachable"),
    AIOS_ENTRY(EHOSTDOWN, "host is down"),
    AIOS_ENTRY(ENETDOWN, "network is down"),
    AIOS_ENTRY(ENETRESET, "connection reset by network"),
    AIOS_ENTRY(EPROTO, "protocol error"),
#ifdef ENONET  // Linux only.
    AIOS_ENTRY(ENONET, "machine is not on the network"),
#endif

    // Addresses.
    AIOS_ENTRY(EADDRINUSE, "address already in use"),
    AIOS_ENTRY(EADDRNOTAVAIL, "address not available"),
    AIOS_ENTRY(EDESTADDRREQ, "destination address required"),
    AIOS_ENTRY(EAFNOSUPPORT, "address family not supported"),
    AIOS_ENTRY(EPFNOSUPPORT, "protocol family not supported"),

    // The state of the socket.
    AIOS_ENTRY(EAGAIN, "would block"),
    AIOS_ENTRY(EINPROGRESS, "operation in progress"),
    AIOS_ENTRY(EALREADY, "operation already in progress"),
    AIOS_ENTRY(EISCONN, "already connected"),
    AIOS_ENTRY(ENOTCONN, "not connected"),
    AIOS_ENTRY(ESHUTDOWN, "socket has been shut down"),
    AIOS_ENTRY(ECANCELED, "operation canceled"),
    AIOS_ENTRY(EINTR, "interrupted"),

    // The kind of socket, or what was asked of it.
    AIOS_ENTRY(EBADF, "bad file descriptor"),
    AIOS_ENTRY(ENOTSOCK, "not a socket"),
    AIOS_ENTRY(EMSGSIZE, "message too long"),
    AIOS_ENTRY(EPROTONOSUPPORT, "protocol not supported"),
    AIOS_ENTRY(EPROTOTYPE, "wrong protocol for the socket"),
    AIOS_ENTRY(ESOCKTNOSUPPORT, "socket type not supported"),
    AIOS_ENTRY(ENOPROTOOPT, "no such socket option"),
    AIOS_ENTRY(EOPNOTSUPP, "operation not supported"),
    AIOS_ENTRY(ENOTSUP, "not supported"),  // EOPNOTSUPP on Linux.
    AIOS_ENTRY(ENOSYS, "function not implemented"),
    AIOS_ENTRY(EINVAL, "invalid argument"),
    AIOS_ENTRY(EDOM, "argument out of domain"),
    AIOS_ENTRY(ERANGE, "out of range"),
    AIOS_ENTRY(EOVERFLOW, "value too large"),
    AIOS_ENTRY(EFAULT, "bad memory address"),
    AIOS_ENTRY(EIO, "input or output error"),

    // Permissions and resources.
    AIOS_ENTRY(EACCES, "permission denied"),
    AIOS_ENTRY(EPERM, "operation not permitted"),
    AIOS_ENTRY(EMFILE, "too many open files in the process"),
    AIOS_ENTRY(ENFILE, "too many open files in the system"),
    AIOS_ENTRY(ENOBUFS, "no buffer space available"),
    AIOS_ENTRY(ENOMEM, "out of memory"),
    AIOS_ENTRY(ENOSPC, "no space left"),
    AIOS_ENTRY(ETOOMANYREFS, "too many references"),

    // Interfaces, pollers, files, and sockets with a name in the file system.
    AIOS_ENTRY(ENODEV, "no such device"),
    AIOS_ENTRY(ENXIO, "no such device or address"),
    AIOS_ENTRY(ENOENT, "no such entry"),
    AIOS_ENTRY(EFBIG, "file too large"),
    AIOS_ENTRY(EEXIST, "already exists"),
    AIOS_ENTRY(EBUSY, "busy"),
    AIOS_ENTRY(ELOOP, "loop of links or pollers"),
};

#undef AIOS_ENTRY

// By the names that DNS has for them, where it has one.
#define AIOS_LOOKUP_ENTRY(code, name, text) \
  { static_cast<int>(LookupError::code), name, text }

constexpr Entry kLookupEntries[] = {
    AIOS_LOOKUP_ENTRY(kNoSuchName, "NXDOMAIN", "no such name"),
    AIOS_LOOKUP_ENTRY(kNoAddress, "NODATA", "no address of this family"),
    AIOS_LOOKUP_ENTRY(kServerFailure, "SERVFAIL", "name server failure"),
    AIOS_LOOKUP_ENTRY(kRefused, "REFUSED", "refused by the name server"),
    AIOS_LOOKUP_ENTRY(kTimedOut, "NAME_TIMEOUT",
                      "no answer from a name server in time"),
    AIOS_LOOKUP_ENTRY(kUnreachable, "NO_NAME_SERVER",
                      "no name server can be reached"),
    AIOS_LOOKUP_ENTRY(kMalformedAnswer, "BAD_NAME_ANSWER",
                      "malformed answer from a name server"),
    AIOS_LOOKUP_ENTRY(kBadName, "BAD_NAME", "not a name that can be looked up"),
    AIOS_LOOKUP_ENTRY(kCancelled, "NAME_CANCELLED", "lookup cancelled"),
    AIOS_LOOKUP_ENTRY(kNotConfigured, "NAME_NOT_CONFIGURED",
                      "no name server is configured"),
};

#undef AIOS_LOOKUP_ENTRY

const Entry* Find(int code) {
  for (const Entry& entry : kEntries) {
    if (entry.code == code) return &entry;
  }
  for (const Entry& entry : kLookupEntries) {
    if (entry.code == code) return &entry;
  }
  return nullptr;
}

absl::StatusCode CanonicalCode(int code) {
  switch (code) {
    // Where Abseil's table, made for files and processes, would mislead the
    // user of a socket. Which of ECONNRESET and EPIPE a lost connection gives
    // is a race, so they must not differ.
    case EPIPE:
    case EINPROGRESS:
    case EPROTO:
      return absl::StatusCode::kUnavailable;
    // Nothing exists already.
    case EADDRNOTAVAIL:
    case EALREADY:
      return absl::StatusCode::kFailedPrecondition;
    // A datagram that no attempt will make shorter.
    case EMSGSIZE:
      return absl::StatusCode::kInvalidArgument;
    case ETOOMANYREFS:
      return absl::StatusCode::kResourceExhausted;
    // ENOTSUP on Linux, and there alone known to Abseil.
    case EOPNOTSUPP:
      return absl::StatusCode::kUnimplemented;
    default:
      break;
  }
  switch (static_cast<LookupError>(code)) {
    case LookupError::kNoSuchName:
    case LookupError::kNoAddress:
      return absl::StatusCode::kNotFound;
    case LookupError::kServerFailure:
    case LookupError::kRefused:
    case LookupError::kUnreachable:
    case LookupError::kMalformedAnswer:
      return absl::StatusCode::kUnavailable;
    case LookupError::kTimedOut:
      return absl::StatusCode::kDeadlineExceeded;
    case LookupError::kBadName:
      return absl::StatusCode::kInvalidArgument;
    case LookupError::kCancelled:
      return absl::StatusCode::kCancelled;
    case LookupError::kNotConfigured:
      return absl::StatusCode::kFailedPrecondition;
  }
  return absl::ErrnoToStatusCode(code);
}

}  // namespace

std::string Error::Name() const {
  if (ok()) return "OK";
  const Entry* entry = Find(code_);
  return entry != nullptr ? entry->name : "errno " + std::to_string(code_);
}

std::string Error::Message() const {
  if (ok()) return "OK";
  const Entry* entry = Find(code_);
  return std::string(entry != nullptr ? entry->text : "unknown error") + " (" +
         Name() + ")";
}

absl::Status Error::ToStatus(const std::string& context) const {
  if (ok()) return absl::OkStatus();
  return absl::Status(CanonicalCode(code_),
                      context.empty() ? Message() : context + ": " + Message());
}

}  // namespace aios
