#include "bench/flags.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "absl/flags/commandlineflag.h"
#include "absl/flags/reflection.h"
#include "absl/strings/string_view.h"

namespace aios::bench {

namespace {

std::string& ProgramName() {
  static auto& name = *new std::string;
  return name;
}

std::string& About() {
  static auto& about = *new std::string;
  return about;
}

std::string Usage() {
  std::map<std::string, std::string> lines;  // in alphabetical order
  for (const auto& [name, flag] : absl::GetAllFlags()) {
    std::string line = "  --" + std::string(name);
    if (!flag->IsOfType<bool>()) line += "=" + flag->DefaultValue();
    line.resize(std::max<size_t>(line.size() + 2, 26), ' ');
    lines[std::string(name)] = line + flag->Help() + "\n";
  }
  std::string text =
      ProgramName() + ": " + About() + "\n\nFlags, with their defaults:\n";
  for (const auto& [name, line] : lines) text += line;
  return text;
}

// Abseil's string view is the standard one only in some builds.
absl::string_view ToAbsl(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

void ParseFlags(int argc, char* argv[], std::string_view about) {
  std::string_view program = argc > 0 ? argv[0] : "";
  ProgramName() = program.substr(program.rfind('/') + 1);
  About() = about;
  for (int i = 1; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--help") {
      std::cout << Usage();
      std::exit(0);
    }
    if (argument.substr(0, 2) != "--") {
      UsageError("unexpected argument \"" + std::string(argument) + "\"");
    }
    size_t equals = argument.find('=');
    std::string_view name = argument.substr(2, equals - 2);
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(ToAbsl(name));
    std::string_view value;
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (flag != nullptr && flag->IsOfType<bool>()) {
      value = "true";
    } else if (flag == nullptr && name.substr(0, 2) == "no") {
      flag = absl::FindCommandLineFlag(ToAbsl(name.substr(2)));
      if (flag != nullptr && !flag->IsOfType<bool>()) flag = nullptr;
      value = "false";
    } else if (flag != nullptr) {
      if (++i == argc) {
        UsageError("flag --" + std::string(name) + " needs a value");
      }
      value = argv[i];
    }
    if (flag == nullptr) UsageError("unknown flag --" + std::string(name));
    std::string error;
    if (!flag->ParseFrom(ToAbsl(value), &error)) UsageError(error);
  }
}

void UsageError(std::string_view message) {
  std::cerr << ProgramName() << ": " << message << "\n\n" << Usage();
  std::exit(2);
}

}  // namespace aios::bench
