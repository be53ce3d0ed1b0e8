#include "aios/error.h"

#include <cerrno>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

TEST(ErrorTest, DefaultIsNoError) {
  constexpr Error kNone;
  EXPECT_TRUE(kNone.ok());
  EXPECT_EQ(kNone.code(), 0);
  EXPECT_EQ(kNone, Error(0));
  EXPECT_EQ(kNone.Name(), "OK");
  EXPECT_EQ(kNone.Message(), "OK");
  EXPECT_TRUE(kNone.ToStatus().ok());
  EXPECT_TRUE(kNone.ToStatus("connect").ok());
}

TEST(ErrorTest, ComparesByCode) {
  EXPECT_EQ(Error(ECONNRESET), Error(ECONNRESET));
  EXPECT_NE(Error(ECONNRESET), Error(ECONNREFUSED));
  EXPECT_FALSE(Error(ECONNRESET).ok());
}

TEST(ErrorTest, MessageHasTextAndName) {
  EXPECT_EQ(Error(ECONNREFUSED).Name(), "ECONNREFUSED");
  EXPECT_EQ(Error(ECONNREFUSED).Message(), "connection refused (ECONNREFUSED)");
  EXPECT_EQ(Error(EMFILE).Message(),
            "too many open files in the process (EMFILE)");
}

TEST(ErrorTest, CodesOutsideTheTableAreNamedByNumber) {
  for (const int code : {4711, -1, std::numeric_limits<int>::max(),
                         std::numeric_limits<int>::min()}) {
    const std::string number = std::to_string(code);
    EXPECT_FALSE(Error(code).ok());
    EXPECT_EQ(Error(code).Name(), "errno " + number);
    EXPECT_EQ(Error(code).Message(), "unknown error (errno " + number + ")");
    EXPECT_EQ(Error(code).ToStatus().code(), absl::StatusCode::kUnknown);
  }
}

struct StatusCase {
  int code;
  const char* name;
  absl::StatusCode status;
};

#define CASE(code, status) \
  { code, #code, absl::StatusCode::status }

constexpr StatusCase kStatusCases[] = {
    // Try again later, perhaps.
    CASE(ECONNREFUSED, kUnavailable),
    CASE(ECONNRESET, kUnavailable),
    CASE(ECONNABORTED, kUnavailable),
    CASE(EPIPE, kUnavailable),
    CASE(EHOSTUNREACH, kUnavailable),
    CASE(ENETUNREACH, kUnavailable),
    CASE(EHOSTDOWN, kUnavailable),
    CASE(ENETDOWN, kUnavailable),
    CASE(ENETRESET, kUnavailable),
    CASE(EPROTO, kUnavailable),
    CASE(EAGAIN, kUnavailable),
    CASE(EINPROGRESS, kUnavailable),
    CASE(EINTR, kUnavailable),
    CASE(ETIMEDOUT, kDeadlineExceeded),
    CASE(ECANCELED, kCancelled),
    // Change something first.
    CASE(EADDRINUSE, kFailedPrecondition),
    CASE(EADDRNOTAVAIL, kFailedPrecondition),
    CASE(EALREADY, kFailedPrecondition),
    CASE(EISCONN, kFailedPrecondition),
    CASE(ENOTCONN, kFailedPrecondition),
    CASE(ESHUTDOWN, kFailedPrecondition),
    CASE(EBADF, kFailedPrecondition),
    CASE(EBUSY, kFailedPrecondition),
    CASE(EACCES, kPermissionDenied),
    CASE(EPERM, kPermissionDenied),
    CASE(EMFILE, kResourceExhausted),
    CASE(ENFILE, kResourceExhausted),
    CASE(ENOBUFS, kResourceExhausted),
    CASE(ENOMEM, kResourceExhausted),
    CASE(ENOSPC, kResourceExhausted),
    CASE(ETOOMANYREFS, kResourceExhausted),
    // The caller asked for the wrong thing.
    CASE(EINVAL, kInvalidArgument),
    CASE(EDOM, kInvalidArgument),
    CASE(EFAULT, kInvalidArgument),
    CASE(ENOTSOCK, kInvalidArgument),
    CASE(EMSGSIZE, kInvalidArgument),
    CASE(EPROTOTYPE, kInvalidArgument),
    CASE(ENOPROTOOPT, kInvalidArgument),
    CASE(EDESTADDRREQ, kInvalidArgument),
    CASE(ERANGE, kOutOfRange),
    CASE(EOVERFLOW, kOutOfRange),
    CASE(EAFNOSUPPORT, kUnimplemented),
    CASE(EPFNOSUPPORT, kUnimplemented),
    CASE(EPROTONOSUPPORT, kUnimplemented),
    CASE(ESOCKTNOSUPPORT, kUnimplemented),
    CASE(EOPNOTSUPP, kUnimplemented),
    CASE(ENOSYS, kUnimplemented),
    CASE(ENODEV, kNotFound),
    CASE(ENXIO, kNotFound),
    CASE(ENOENT, kNotFound),
    CASE(EFBIG, kOutOfRange),
    CASE(EEXIST, kAlreadyExists),
    CASE(EIO, kUnknown),
    CASE(ELOOP, kUnknown),
};

#undef CASE

TEST(ErrorTest, EveryLookupErrorHasANameATextAndAStatusOfItsOwnKind) {
  struct Case {
    LookupError code;
    std::string name;
    absl::StatusCode status;
  };
  const Case kCases[] = {
      {LookupError::kNoSuchName, "NXDOMAIN", absl::StatusCode::kNotFound},
      {LookupError::kNoAddress, "NODATA", absl::StatusCode::kNotFound},
      {LookupError::kServerFailure, "SERVFAIL", absl::StatusCode::kUnavailable},
      {LookupError::kRefused, "REFUSED", absl::StatusCode::kUnavailable},
      {LookupError::kTimedOut, "NAME_TIMEOUT",
       absl::StatusCode::kDeadlineExceeded},
      {LookupError::kUnreachable, "NO_NAME_SERVER",
       absl::StatusCode::kUnavailable},
      {LookupError::kMalformedAnswer, "BAD_NAME_ANSWER",
       absl::StatusCode::kUnavailable},
      {LookupError::kBadName, "BAD_NAME", absl::StatusCode::kInvalidArgument},
      {LookupError::kCancelled, "NAME_CANCELLED", absl::StatusCode::kCancelled},
      {LookupError::kNotConfigured, "NAME_NOT_CONFIGURED",
       absl::StatusCode::kFailedPrecondition},
  };
  for (const Case& c : kCases) {
    const Error error(c.code);
    EXPECT_FALSE(error.ok());
    EXPECT_EQ(error.Name(), c.name);
    EXPECT_EQ(error.ToStatus().code(), c.status) << c.name;
    EXPECT_EQ(error.Message().find("unknown"), std::string::npos) << c.name;
  }
}

TEST(ErrorTest, EverySocketErrorHasItsNameATextAndACanonicalStatus) {
  for (const StatusCase& c : kStatusCases) {
    SCOPED_TRACE(c.name);
    const Error error(c.code);
    EXPECT_EQ(error.Name(), c.name);
    EXPECT_EQ(error.ToStatus().code(), c.status);
    EXPECT_EQ(error.ToStatus().message(), error.Message());
    // Lower case, so that it reads well after "context: ".
    const std::string suffix = std::string(" (") + c.name + ")";
    ASSERT_GT(error.Message().size(), suffix.size());
    const std::string text =
        error.Message().substr(0, error.Message().size() - suffix.size());
    EXPECT_EQ(text + suffix, error.Message());
    EXPECT_EQ(text.find_first_not_of("abcdefghijklmnopqrstuvwxyz "),
              std::string::npos)
        << text;
  }
}

TEST(ErrorTest, ContextComesFirstInTheStatus) {
  EXPECT_EQ(Error(ECONNREFUSED).ToStatus("connect to 127.0.0.1:80").message(),
            "connect to 127.0.0.1:80: connection refused (ECONNREFUSED)");
}

}  // namespace
}  // namespace aios
