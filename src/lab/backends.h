// Sample backends on real sockets: each a port that behaves like a server with workers and one queue (backend_model.h),
// with faults that can be switched while they run. For demonstrations, the story and benchmarks.
// Thread rule: the backends run on a thread of their own; members may be called from any other thread and return when
// the switch has been thrown.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "lab/backend_model.h"

namespace plimsoll::lab {

struct BackendsSettings {
    std::size_t count = 8;
    std::uint16_t first_port = 9101;  ///< the others follow; 0 = any free ports
    BackendSettings backend;
    bool health_in_queue = true;                ///< /healthz waits like any request; else it is answered at once
    std::optional<std::uint16_t> control_port;  ///< HTTP port to switch faults by; 0 = any free port
    std::uint64_t seed = 1;
};

/// What a backend has seen since its start.
struct BackendCounts {
    std::uint64_t requests = 0;  ///< without health checks
    std::uint64_t refused = 0;   ///< queue full: 503
    std::uint64_t failed = 0;    ///< 500 by fail_share
    std::uint64_t health = 0;
    std::uint64_t connections = 0;  ///< accepted in all
};

/// The backends b0, b1, ... A request says by headers what it wants back: X-Lab-Size (bytes of body) and X-Lab-Status,
/// or by the query, `?size=N&status=N`; without them a line of text. Every answer names its backend in X-Backend.
class Backends {
public:
    /// Listens and serves from now on. Errors: conflict (port in use), io.
    [[nodiscard]] static Result<std::unique_ptr<Backends>> start(const BackendsSettings& settings);
    Backends(const Backends&) = delete;
    ~Backends();

    [[nodiscard]] std::size_t size() const { return ports_.size(); }
    [[nodiscard]] std::uint16_t port(std::size_t index) const { return ports_.at(index); }
    /// 0 when there is none.
    [[nodiscard]] std::uint16_t control_port() const { return control_port_; }

    /// Throws the switches of one backend. `dead` closes the listener and resets all connections; clearing it listens
    /// again. Errors: conflict (the port was taken meanwhile).
    Result<void> set_faults(std::size_t index, const BackendFaults& faults);
    [[nodiscard]] BackendFaults faults(std::size_t index);
    void set_capacity(std::size_t index, double capacity);
    [[nodiscard]] BackendCounts counts(std::size_t index);

private:
    struct World;
    Backends() = default;

    std::vector<std::uint16_t> ports_;
    std::uint16_t control_port_ = 0;
    std::unique_ptr<World> world_;
    std::thread thread_;
};

/// What a control request asks for, as "POST /b3?slow=4&fail=0.2&hang=1&dead=0&capacity=400": unnamed switches stay.
/// Errors: invalid, not_found (no such backend).
struct ControlOrder {
    std::size_t index = 0;
    BackendFaults faults;
    std::optional<double> capacity;
};
[[nodiscard]] Result<ControlOrder> parse_order(std::string_view target, const std::vector<BackendFaults>& now);

}  // namespace plimsoll::lab
