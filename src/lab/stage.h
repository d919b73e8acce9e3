// What the story and the drills play on: backends, a hook, the server as a child process, load. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lab/backends.h"
#include "lab/hook.h"
#include "lab/load.h"
#include "lab/plimsoll_client.h"

namespace plimsoll::lab {

inline constexpr std::size_t backend_count = 8;

/// How a change is let in on the stage. The product's defaults take ten minutes and more; a story has two.
struct Pace {
    std::string steps = "[5%, 25%, 100%]";
    std::string min_step = "2s", max_step = "60s", shadow = "1s", soak = "3s", recovery_window = "2s";
    std::string recording = "10m";  ///< how far back the traffic goes that a change is replayed against
    std::string harm_budget = "0.5%";
    int shadow_decisions = 200;
};

/// The pool's weights and declared capacities; the rest of a stage's configuration never changes.
struct Shape {
    std::array<double, backend_count> weight{1, 1, 1, 1, 1, 1, 1, 1};
    std::array<double, backend_count> capacity{200, 200, 200, 200, 200, 200, 200, 200};
};

struct StageOptions {
    std::string plimsoll, directory, log;
    double rate = 960;
    std::uint64_t seed = 1;
    bool fast_backends = false;
    int workers = 0;  ///< of the server; 0 = one per core
    Pace pace;
};

class Stage {
public:
    /// Backends and hook are up; the directory is empty but for nothing. Errors say what is missing.
    [[nodiscard]] static Result<std::unique_ptr<Stage>> set(const StageOptions& options);

    /// Writes a configuration and gives its file name.
    [[nodiscard]] Result<std::string> write(const std::string& name, const Shape& shape) const;
    /// Starts the server on `config` (empty: on its journal) and waits until it answers.
    [[nodiscard]] Result<void> start_server(const std::string& config);
    [[nodiscard]] Result<void> start_load(Duration at_most);
    void stop_server();

    [[nodiscard]] std::string path(const std::string& name) const { return options.directory + "/" + name; }

    StageOptions options;
    std::unique_ptr<Backends> backends;
    std::unique_ptr<Hook> hook;
    std::optional<Plimsoll> plimsoll;
    std::optional<Child> server;
    std::unique_ptr<Load> load;
    std::uint16_t port = 0, admin_port = 0;

private:
    Stage() = default;
};

/// Requests from an access log, or from the traffic model when `log` is empty. Errors: io, invalid (no request in it).
[[nodiscard]] Result<Traffic> make_traffic(const std::string& log, double rate, std::uint64_t seed);
/// A loopback TCP port that was free just now.
[[nodiscard]] Result<std::uint16_t> free_port();

}  // namespace plimsoll::lab
