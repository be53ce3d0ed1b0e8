// The kernels that the parameterised suites run on:
//
//   class ReadTest : public testing::TestWithParam<KernelParam> {
//    protected:
//     std::unique_ptr<TestWorld> world_ = GetParam().make_world();
//   };
//   INSTANTIATE_TEST_SUITE_P(All, ReadTest, testing::ValuesIn(AllKernels()),
//                            NameOf);
//
// A new kernel is one more entry in `AllKernels` (kernels.cc).

#ifndef AIOS_TESTS_SUPPORT_KERNELS_H_
#define AIOS_TESTS_SUPPORT_KERNELS_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/test_world.h"

namespace aios::test {

struct KernelParam {
  // Letters, digits and underscores, such as "epoll".
  std::string name;
  // One world for each test.
  std::function<std::unique_ptr<TestWorld>()> make_world;
};

// What GoogleTest prints of a failed test's parameter.
void PrintTo(const KernelParam& param, std::ostream* out);

std::vector<KernelParam> AllKernels();

// For suites of thousands of cases: one of each kind. The kqueue kernel is in
// `AllKernels` several times, over systems that differ in details, and the
// simulated one with peers on its own host, too.
std::vector<KernelParam> KernelsOfEachKind();

std::string NameOf(const testing::TestParamInfo<KernelParam>& info);

}  // namespace aios::test

#endif  // AIOS_TESTS_SUPPORT_KERNELS_H_
