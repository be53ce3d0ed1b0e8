// Texts and numbers in a row, as one text.

#ifndef AIOS_TOOLS_KERNEL_TRUTH_CAT_H_
#define AIOS_TOOLS_KERNEL_TRUTH_CAT_H_

#include <string>
#include <string_view>
#include <type_traits>

namespace aios::kernel_truth {

template <typename... Parts>
std::string Cat(const Parts&... parts) {
  std::string text;
  auto append = [&](const auto& part) {
    if constexpr (std::is_integral_v<std::decay_t<decltype(part)>>) {
      text += std::to_string(part);
    } else {
      text += std::string_view(part);
    }
  };
  (append(parts), ...);
  return text;
}

}  // namespace aios::kernel_truth

#endif  // AIOS_TOOLS_KERNEL_TRUTH_CAT_H_
