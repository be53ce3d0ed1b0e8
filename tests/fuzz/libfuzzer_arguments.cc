// Linked into fuzz targets with libFuzzer, which calls this before it reads its
// arguments. `--seeds=DIR` names the committed corpus; libFuzzer by itself
// would take it as the folder to write new inputs to.

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace {

bool IsFile(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  // libFuzzer keeps pointers to them.
  static std::vector<std::string> arguments;
  static std::vector<char*> pointers;

  std::string seeds;
  bool has_inputs = false;
  bool has_file = false;
  constexpr std::string_view kSeeds = "--seeds=";
  arguments.emplace_back((*argv)[0]);
  // "bazel test" collects what is written here; "bazel run" tells where the
  // user is.
  for (const char* name :
       {"TEST_UNDECLARED_OUTPUTS_DIR", "BUILD_WORKING_DIRECTORY"}) {
    const std::string folder = FromEnvironment(name);
    if (folder.empty()) continue;
    arguments.push_back("-artifact_prefix=" + folder + "/");
    break;
  }
  for (int i = 1; i < *argc; ++i) {
    const std::string argument = (*argv)[i];
    if (argument.starts_with(kSeeds)) {
      seeds = argument.substr(kSeeds.size());
      continue;
    }
    arguments.push_back(argument);
    if (argument.starts_with("-")) continue;
    has_inputs = true;
    has_file = has_file || IsFile(argument);
  }
  // With a file among its inputs, libFuzzer tries just these.
  if (!seeds.empty() && !has_file) {
    if (!has_inputs) {
      std::string scratch = FromEnvironment("TEST_TMPDIR");
      if (scratch.empty()) {
        scratch = (std::filesystem::temp_directory_path() / "fuzz.XXXXXX");
        if (mkdtemp(scratch.data()) == nullptr) std::abort();
      }
      arguments.push_back(scratch);
    }
    arguments.push_back(seeds);
  }
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  *argc = static_cast<int>(arguments.size());
  *argv = pointers.data();
  return 0;
}
