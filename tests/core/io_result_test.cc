#include "aios/io_result.h"

#include <cerrno>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "aios/error.h"
#include "gtest/gtest.h"

namespace aios {
namespace {

IoResult With(IoStatus status, Error error = {}) {
  IoResult result;
  result.status = status;
  result.error = error;
  return result;
}

TEST(IoResultTest, IsASuccessWithNothingDoneAtFirst) {
  IoResult result;
  EXPECT_TRUE(result.ok());
  EXPECT_TRUE(result.error.ok());
  EXPECT_EQ(result.count, 0u);
  EXPECT_TRUE(result.data.empty());
  EXPECT_EQ(result.sender, nullptr);
  EXPECT_FALSE(result.truncated);
  EXPECT_FALSE(result.interrupted);
}

TEST(IoResultTest, OnlyOkIsOk) {
  EXPECT_TRUE(With(IoStatus::kOk).ok());
  for (IoStatus status : {IoStatus::kEof, IoStatus::kTimeout,
                          IoStatus::kAborted, IoStatus::kError}) {
    EXPECT_FALSE(With(status).ok());
    EXPECT_FALSE(With(status, Error(EPIPE)).ToStatus().ok());
  }
}

TEST(IoResultTest, ToStatus) {
  EXPECT_EQ(With(IoStatus::kOk).ToStatus(), absl::OkStatus());
  EXPECT_EQ(With(IoStatus::kEof).ToStatus().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(With(IoStatus::kTimeout).ToStatus().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(With(IoStatus::kAborted).ToStatus().code(),
            absl::StatusCode::kCancelled);
  for (int code : {ECONNRESET, EPIPE, EMSGSIZE, EMFILE}) {
    EXPECT_EQ(With(IoStatus::kError, Error(code)).ToStatus(),
              Error(code).ToStatus());
  }
}

TEST(IoResultTest, TheDetailIsTheMessageOfTheStatus) {
  IoResult result = With(IoStatus::kError, Error(LookupError::kNoSuchName));
  result.detail = "what is known";
  EXPECT_EQ(result.ToStatus(), absl::NotFoundError("what is known"));
  result.status = IoStatus::kTimeout;
  EXPECT_EQ(result.ToStatus(), absl::DeadlineExceededError("what is known"));
}

TEST(IoResultTest, EveryStatusHasANameOfItsOwn) {
  std::set<std::string> names;
  for (IoStatus status : {IoStatus::kOk, IoStatus::kEof, IoStatus::kTimeout,
                          IoStatus::kAborted, IoStatus::kError}) {
    names.insert(std::string(IoStatusName(status)));
  }
  EXPECT_EQ(names, (std::set<std::string>{"ok", "eof", "timeout", "aborted",
                                          "error"}));
}

}  // namespace
}  // namespace aios
