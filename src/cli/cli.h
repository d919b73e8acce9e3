// The `plimsoll` command: parses the command line and talks to a running server over its admin socket, or works on
// files alone. Data goes to standard output, messages to standard error; exit codes are in base/exit_code.h.
#pragma once

#include <functional>
#include <string>

namespace plimsoll::cli {

struct ServeOptions {
    std::string config;  ///< file; empty = the revision that the journal calls active
    std::string state;   ///< directory for journal, recording and admin socket
    bool quiet = false;
    std::string user;         ///< to serve as, when started as root; empty = nobody else
    double drain_s = 10;      ///< requests in flight have this long when the server is stopped
    double handover_s = 600;  ///< connections have this long when another process has taken over
};

/// Runs the command. `serve` is handed in by `app`, which names the concrete parts of a server.
[[nodiscard]] int run(int argc, const char* const* argv, const std::function<int(const ServeOptions&)>& serve);

}  // namespace plimsoll::cli
