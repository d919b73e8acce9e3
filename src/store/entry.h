// What an entry must be before any journal takes it; shared by the implementations. Pure; any thread.
#pragma once

#include <string_view>

#include "base/result.h"

namespace plimsoll::store {

/// Errors: invalid when there is no kind or the body is not a JSON object; limit when a part is too long.
[[nodiscard]] Result<void> acceptable(std::string_view kind, std::string_view subject, std::string_view body);

}  // namespace plimsoll::store
