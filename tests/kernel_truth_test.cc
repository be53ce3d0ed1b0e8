// docs/kernel_truth.md says what kernels answer. It must be so: on the kernel
// of this machine, on the simulated one with several seeds, and row by row.

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/programs/program.h"

namespace aios::test {

namespace {

constexpr char kProgram[] = "tools/kernel_truth/kernel_truth";
constexpr char kLacksFamily[] = "(IPv6 is missing here)";
constexpr char kLacksNetwork[] = "(needs a network of its own: ";

std::vector<std::string> Split(const std::string& text,
                               const std::string& separator) {
  std::vector<std::string> parts;
  size_t start = 0;
  for (size_t end; (end = text.find(separator, start)) != text.npos;
       start = end + separator.size()) {
    parts.push_back(text.substr(start, end - start));
  }
  parts.push_back(text.substr(start));
  return parts;
}

struct Row {
  std::string real;
  std::string simulated;
};

// By "group: situation".
using Page = std::map<std::string, Row>;

Page ReadPage() {
  Page page;
  std::ifstream file("docs/kernel_truth.md");
  EXPECT_TRUE(file.good());
  std::string group;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("## ", 0) == 0) group = line.substr(3);
    std::vector<std::string> cells = Split(line, " | ");
    if (cells.size() != 4 ||
        cells[0].find_first_of("123456789") == cells[0].npos) {
      continue;
    }
    // Without the backslashes of Markdown.
    for (std::string& cell : cells) std::erase(cell, '\\');
    std::string simulated = cells[3].substr(0, cells[3].size() - 2);
    bool added =
        page.insert({group + ": " + cells[1], Row{cells[2], simulated}}).second;
    EXPECT_TRUE(added) << "twice: " << cells[1];
  }
  return page;
}

struct Answer {
  std::string name;
  std::string answer;
  std::string may_differ;
};

std::vector<Answer> Ask(const std::vector<std::string>& arguments) {
  Program program(kProgram, arguments);
  EXPECT_EQ(program.Wait(), 0);
  EXPECT_EQ(program.err(), "");
  std::vector<Answer> answers;
  for (const std::string& line : Split(program.out(), "\n")) {
    std::vector<std::string> parts = Split(line, "\t");
    if (parts.size() == 3) answers.push_back({parts[0], parts[1], parts[2]});
  }
  return answers;
}

constexpr char kRegenerate[] =
    "\nif the new answer is right: bazel run //tools/kernel_truth -- --write";

TEST(KernelTruthTest, ThePageHasEverySituation) {
  Page page = ReadPage();
  std::vector<Answer> answers = Ask({"--kernel=sim"});
  EXPECT_GE(page.size(), 600u);
  std::set<std::string> names;
  for (const Answer& answer : answers) {
    EXPECT_TRUE(names.insert(answer.name).second) << "twice: " << answer.name;
    EXPECT_EQ(page.count(answer.name), 1u) << answer.name << kRegenerate;
  }
  EXPECT_EQ(names.size(), page.size()) << kRegenerate;
}

TEST(KernelTruthTest, TheKernelOfThisMachineAnswersAsThePageSays) {
  Page page = ReadPage();
  std::string lacking;
  for (const Answer& answer : Ask({"--kernel=epoll"})) {
    if (answer.answer == kLacksFamily) continue;
    if (answer.answer.rfind(kLacksNetwork, 0) == 0) {
      lacking = answer.answer;
      continue;
    }
    EXPECT_EQ(answer.answer, page[answer.name].real)
        << answer.name << kRegenerate;
  }
  if (!lacking.empty()) {
    std::printf("Left out: the rows of special addresses. %s\n",
                lacking.c_str());
  }
}

TEST(KernelTruthTest, TheSimulatedKernelAnswersAsTheRealOneDoes) {
  Page page = ReadPage();
  for (const char* seed : {"1", "2", "3", "4"}) {
    for (const Answer& answer :
         Ask({"--kernel=sim", std::string("--seed=") + seed})) {
      const Row& row = page[answer.name];
      if (answer.may_differ.empty()) {
        EXPECT_EQ(row.simulated, "the same") << answer.name << kRegenerate;
        EXPECT_EQ(answer.answer, row.real)
            << answer.name << ", seed " << seed << kRegenerate;
      } else {
        EXPECT_EQ(answer.answer + ". May differ: " + answer.may_differ,
                  row.simulated)
            << answer.name << ", seed " << seed << kRegenerate;
      }
    }
  }
}

TEST(KernelTruthTest, MistakesOnTheCommandLine) {
  for (const char* argument :
       {"--kernel=abacus", "--kernel", "--write=x", "--seed=x", "sim", ""}) {
    Program program(kProgram, {argument});
    EXPECT_EQ(program.Wait(), 2) << argument;
    EXPECT_NE(program.err(), "") << argument;
  }
}

}  // namespace

}  // namespace aios::test
