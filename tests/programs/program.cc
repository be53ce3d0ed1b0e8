#include "tests/programs/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "gtest/gtest.h"
#include "tests/support/test_world.h"

namespace aios::test {

Program::Program(const std::string& path,
                 const std::vector<std::string>& arguments)
    : path_(path) {
  // The test runs at the top of its runfiles.
  std::vector<char*> argv = {const_cast<char*>(path_.c_str())};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  out_end_ = OwnedDescriptor(ends[0]);
  OwnedDescriptor child_end(ends[1]);
  const char* folder = std::getenv("TEST_TMPDIR");
  err_file_ = OwnedDescriptor(open(folder != nullptr ? folder : "/tmp",
                                   O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  EXPECT_TRUE(err_file_.valid());
  process_ = fork();
  if (process_ != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(child_end.get(), STDOUT_FILENO);
  dup2(err_file_.get(), STDERR_FILENO);
  execv(path_.c_str(), argv.data());
  _exit(127);
}

Program::~Program() {
  if (process_ < 0) return;
  kill(process_, SIGKILL);
  waitpid(process_, nullptr, 0);
}

bool Program::ReadMore() {
  if (!PollReadable(out_end_.get(), kGuard)) {
    ADD_FAILURE() << path_ << " says nothing; to standard error: " << err();
    return false;
  }
  std::array<char, 4096> buffer;
  ssize_t count = read(out_end_.get(), buffer.data(), buffer.size());
  if (count > 0) out_.append(buffer.data(), count);
  return count > 0;
}

std::string Program::ReadLine() {
  size_t end;
  while ((end = out_.find('\n')) == std::string::npos) {
    if (!ReadMore()) {
      ADD_FAILURE() << path_
                    << " ended its output; to standard error: " << err();
      return "";
    }
  }
  std::string line = out_.substr(0, end);
  out_.erase(0, end + 1);
  return line;
}

SocketAddress Program::ReadAddress() {
  constexpr std::string_view kStart = "listening on ";
  std::string line = ReadLine();
  if (line.substr(0, kStart.size()) == kStart) {
    absl::StatusOr<SocketAddress> address =
        SocketAddress::Parse(std::string_view(line).substr(kStart.size()));
    if (address.ok()) return *address;
  }
  ADD_FAILURE() << path_ << " wrote \"" << line << "\" instead of its address";
  return SocketAddress();
}

void Program::Signal(int signal) { EXPECT_EQ(kill(process_, signal), 0); }

bool Program::Ended() {
  if (process_ >= 0 && waitpid(process_, nullptr, WNOHANG) == process_) {
    process_ = -1;
  }
  return process_ < 0;
}

int Program::Wait() {
  while (ReadMore()) {
  }
  if (testing::Test::HasFailure()) return -1;
  int status = 0;
  EXPECT_EQ(waitpid(std::exchange(process_, -1), &status, 0) > 0, true);
  EXPECT_TRUE(WIFEXITED(status))
      << path_ << " was killed by signal " << WTERMSIG(status)
      << "; to standard error: " << err();
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Program::err() {
  std::string text(16384, '\0');
  ssize_t count = pread(err_file_.get(), text.data(), text.size(), 0);
  text.resize(count > 0 ? count : 0);
  return text;
}

}  // namespace aios::test
