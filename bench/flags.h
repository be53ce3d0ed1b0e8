// The command line of the project's programs: the flags that a program defines
// by ABSL_FLAG and no others, and exit code 2 for whatever is malformed.
// (`absl::ParseCommandLine` has flags of its own and ends with 1.)

#ifndef AIOS_BENCH_FLAGS_H_
#define AIOS_BENCH_FLAGS_H_

#include <string_view>

namespace aios::bench {

// Sets the flags from the forms "--name=value", "--name value", "--name" and
// "--noname", the last two for truth values. `about` says in a line what the
// program does. Ends the program: after "--help" with the usage and 0, after a
// mistake as `UsageError` does.
void ParseFlags(int argc, char* argv[], std::string_view about);

// Ends the program with 2, after the message and the usage on standard error:
// for values that are right each by itself and make no sense here. After
// `ParseFlags` only.
[[noreturn]] void UsageError(std::string_view message);

}  // namespace aios::bench

#endif  // AIOS_BENCH_FLAGS_H_
