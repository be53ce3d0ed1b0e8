// Running the project's programs as their users do: as processes, by their
// command lines, output and exit codes.

#ifndef AIOS_TESTS_PROGRAMS_PROGRAM_H_
#define AIOS_TESTS_PROGRAMS_PROGRAM_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "aios/address.h"
#include "tests/support/blocking_peer.h"

namespace aios::test {

// A running program. It is killed when its object is destroyed, and when the
// test dies.
class Program {
 public:
  // `path` from the top of the workspace, such as "bench/echo_server". It must
  // be among the test's data.
  Program(const std::string& path, const std::vector<std::string>& arguments);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  // The next line of its standard output, without the line feed. Empty, and a
  // test failure, when none comes.
  std::string ReadLine();

  // Reads the line in which a server says that it is "listening on" an address.
  SocketAddress ReadAddress();

  void Signal(int signal);

  // Waits for its end, and returns the exit code; -1, and a test failure, when
  // it does not end or is killed.
  int Wait();

  // Whether it has ended by itself; `Wait` must not be called then.
  bool Ended();

  // What it has written since the last line that was read, and to standard
  // error. After `Wait`.
  const std::string& out() const { return out_; }
  std::string err();

 private:
  // Reads more of `out_`. False at its end, and when nothing comes.
  bool ReadMore();

  const std::string path_;
  pid_t process_ = -1;
  OwnedDescriptor out_end_;
  OwnedDescriptor err_file_;
  std::string out_;
};

}  // namespace aios::test

#endif  // AIOS_TESTS_PROGRAMS_PROGRAM_H_
