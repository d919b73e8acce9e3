// `plimsoll serve`: names the concrete parts of a server and wires them; start, signals, upgrade, stop.
// Thread rule: main's thread, which becomes control's.
#pragma once

#include <string>
#include <vector>

#include "cli/cli.h"

namespace plimsoll::app {

/// Serves until it is told to stop or another process has taken over. `arguments` are the process's own, with which its
/// successor is started. Gives the exit code.
[[nodiscard]] int serve(const cli::ServeOptions& options, const std::vector<std::string>& arguments);

}  // namespace plimsoll::app
