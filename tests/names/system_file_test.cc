#include "aios/system_file.h"

#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "backends/default_kernel.h"
#include "gtest/gtest.h"
#include "tests/support/kernel_decorator.h"
#include "tests/support/print.h"
#include "tests/support/text_files.h"

namespace aios::test {
namespace {

using Outcome = SystemFile::Outcome;

constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr size_t kSizeMax = 100'000;

class FilesKernel final : public KernelDecorator {
 public:
  using KernelDecorator::KernelDecorator;

  Transfer ReadFile(std::string_view path, uint64_t offset,
                    std::span<char> buffer, FileStamp* stamp) override {
    return files.Read(path, offset, buffer, stamp);
  }

  TextFiles files;
};

class SystemFileTest : public testing::Test {
 protected:
  FilesKernel kernel_{DefaultKernel()};
  TextFiles& files_ = kernel_.files;
  SystemFile file_{kernel_, "/file", kSizeMax};
};

TEST_F(SystemFileTest, IsReadOnceAChange) {
  files_["/file"] = "one";
  EXPECT_FALSE(file_.known());
  EXPECT_EQ(file_.ReadAll(1), Outcome::kNew);
  EXPECT_TRUE(file_.known());
  EXPECT_TRUE(file_.exists());
  EXPECT_EQ(file_.text(), "one");
  EXPECT_EQ(files_.reads, 1);
  // It is not looked at before 5 s have passed, …
  files_["/file"] = "two";
  EXPECT_FALSE(file_.Due(5 * kSecond));
  EXPECT_EQ(file_.ReadAll(5 * kSecond), Outcome::kSame);
  EXPECT_EQ(file_.text(), "one");
  EXPECT_EQ(files_.looks, 1);
  // … and then read only if it has changed.
  EXPECT_EQ(file_.ReadAll(1 + 5 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "two");
  EXPECT_EQ(file_.ReadAll(1 + 10 * kSecond), Outcome::kSame);
  EXPECT_EQ(file_.ReadAll(1 + 15 * kSecond), Outcome::kSame);
  EXPECT_EQ(files_.looks, 4);
  EXPECT_EQ(files_.reads, 2);
}

TEST_F(SystemFileTest, IsReadAgainWhenItsStampProvesNothing) {
  files_["/file"] = "one";
  // The next change may come at the same time.
  files_["/file"].fresh = true;
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
  files_["/file"].text = "two";
  files_["/file"].fresh = false;
  EXPECT_EQ(file_.ReadAll(5 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "two");
  EXPECT_EQ(file_.ReadAll(10 * kSecond), Outcome::kSame);
  // A file that the system makes up: it does not tell its size.
  files_["/file"].size = 0;
  EXPECT_EQ(file_.ReadAll(15 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "two");
  files_["/file"].text = "three";
  EXPECT_EQ(file_.ReadAll(20 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "three");
}

TEST_F(SystemFileTest, OneThatDoesNotExistIsKnownToBeEmpty) {
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
  EXPECT_TRUE(file_.known());
  EXPECT_FALSE(file_.exists());
  EXPECT_EQ(file_.error(), Error());
  EXPECT_EQ(file_.ReadAll(5 * kSecond), Outcome::kSame);
  files_["/file"] = "one";
  EXPECT_EQ(file_.ReadAll(10 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "one");
  files_.Remove("/file");
  EXPECT_EQ(file_.ReadAll(15 * kSecond), Outcome::kNew);
  EXPECT_EQ(file_.text(), "");
  EXPECT_FALSE(file_.exists());

  SystemFile none(kernel_, "", kSizeMax);
  files_[""] = "never";
  EXPECT_EQ(none.ReadAll(0), Outcome::kNew);
  EXPECT_FALSE(none.exists());
}

TEST_F(SystemFileTest, OneThatCannotBeReadIsNotKnown) {
  files_["/file"] = "one";
  int reads = 0;
  for (int code : {EMFILE, ENFILE, ENOMEM, EACCES, EIO, EINVAL, ENOTDIR}) {
    for (Error TextFiles::File::*error :
         {&TextFiles::File::error, &TextFiles::File::read_error}) {
      files_["/file"].*error = Error(code);
      EXPECT_EQ(file_.ReadAll(0), Outcome::kFailed);
      EXPECT_EQ(file_.error(), Error(code));
      EXPECT_FALSE(file_.known());
      files_["/file"].*error = Error();
      reads = files_.reads;
    }
  }
  // Nothing is known: the next look need not wait.
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
  EXPECT_EQ(files_.reads, reads + 1);
  EXPECT_EQ(file_.error(), Error());
}

TEST_F(SystemFileTest, WhatWasReadBeforeStaysAndTheNextLookComesSoon) {
  files_["/file"] = "one";
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
  files_["/file"] = "two";
  files_["/file"].read_error = Error(EMFILE);
  EXPECT_EQ(file_.ReadAll(5 * kSecond), Outcome::kFailed);
  EXPECT_EQ(file_.text(), "one");
  EXPECT_TRUE(file_.exists());
  files_["/file"].error = Error(EACCES);
  EXPECT_EQ(file_.ReadAll(5 * kSecond + kSecond / 10 - 1), Outcome::kSame)
      << "not at once";
  EXPECT_EQ(file_.ReadAll(5 * kSecond + kSecond / 10), Outcome::kFailed);
  EXPECT_EQ(file_.error(), Error(EACCES));
  EXPECT_EQ(file_.text(), "one");
  files_["/file"].error = files_["/file"].read_error = Error();
  EXPECT_EQ(file_.ReadAll(5 * kSecond + kSecond / 5), Outcome::kNew);
  EXPECT_EQ(file_.text(), "two");
}

TEST_F(SystemFileTest, OneThatIsTooLongCannotBeRead) {
  files_["/file"] = std::string(kSizeMax + 1, 'x');
  EXPECT_EQ(file_.ReadAll(0), Outcome::kFailed);
  EXPECT_EQ(file_.error(), Error(EFBIG));
  EXPECT_EQ(files_.reads, 0);
  // Nor if its size does not say so.
  files_["/file"].size = 10;
  EXPECT_EQ(file_.ReadAll(0), Outcome::kFailed);
  EXPECT_EQ(file_.error(), Error(EFBIG));
  files_["/file"] = std::string(kSizeMax, 'x');
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
}

TEST_F(SystemFileTest, IsReadInPieces) {
  std::string text;
  for (int i = 0; i != 9'000; ++i) text += static_cast<char>('a' + i % 26);
  for (int64_t size : {9'000, 0, 100, 90'000}) {
    SCOPED_TRACE(size);
    files_["/file"] = text;
    files_["/file"].size = size;
    file_.Forget();
    files_.reads = 0;
    files_.most_bytes = 0;
    Outcome outcome = file_.Read(0, 1'000);
    for (; outcome == Outcome::kMore; outcome = file_.Read(0, 1'000)) {
      EXPECT_FALSE(file_.known());
      EXPECT_TRUE(file_.Due(0));
    }
    EXPECT_EQ(outcome, Outcome::kNew);
    EXPECT_EQ(file_.text(), text);
    EXPECT_EQ(files_.reads, 10) << "the last one sees the end";
    EXPECT_EQ(files_.most_bytes, 1'000u);
  }
}

TEST_F(SystemFileTest, IsReadFromItsBeginningWhenItChangesMeanwhile) {
  files_["/file"] = std::string(5'000, 'a');
  files_.after_read = [this] {
    if (files_.reads == 3) files_["/file"] = std::string(4'000, 'b');
  };
  Outcome outcome = file_.Read(0, 1'000);
  while (outcome == Outcome::kMore) outcome = file_.Read(0, 1'000);
  EXPECT_EQ(outcome, Outcome::kNew);
  EXPECT_EQ(file_.text(), std::string(4'000, 'b'));
  // It goes while it is read.
  files_["/file"] = std::string(5'000, 'c');
  files_.after_read = [this] { files_.Remove("/file"); };
  EXPECT_EQ(file_.Read(5 * kSecond, 1'000), Outcome::kMore);
  EXPECT_EQ(file_.Read(5 * kSecond, 1'000), Outcome::kNew);
  EXPECT_FALSE(file_.exists());
}

TEST_F(SystemFileTest, OneThatChangesAllTheTimeCannotBeRead) {
  files_["/file"] = std::string(5'000, 'a');
  files_.after_read = [this] { ++files_["/file"].modified; };
  Outcome outcome;
  int calls = 0;
  do {
    outcome = file_.Read(0, 1'000);
    ASSERT_LT(++calls, 100);
  } while (outcome == Outcome::kMore);
  EXPECT_EQ(outcome, Outcome::kFailed);
  EXPECT_EQ(file_.error(), Error(EAGAIN));
  files_.after_read = nullptr;
  EXPECT_EQ(file_.ReadAll(0), Outcome::kNew);
}

}  // namespace
}  // namespace aios::test
