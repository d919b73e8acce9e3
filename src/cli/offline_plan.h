// `plan` without a server: the same check and replay, on files.
#pragma once

#include <string>

#include "base/result.h"

namespace plimsoll::cli {

/// JSON as the server's /v1/plan answers. `recording_file` may be empty (then the forecast says there was no data).
/// `peak_rate` in requests/s; 0 = the recording's own.
[[nodiscard]] Result<std::string> offline_plan(const std::string& file, const std::string& text,
                                               const std::string& base_file, const std::string& recording_file,
                                               double peak_rate);

}  // namespace plimsoll::cli
