// Series: the recent past, second by second, in bounded memory. Detectors, incident plots and the status page read it.
// Pure; owned and used by one thread.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "measure/tally.h"

namespace plimsoll::measure {

/// One endpoint during one second, over both arms.
struct EndpointSecond {
    std::array<std::uint32_t, 2> picks{};  ///< by Arm
    std::uint32_t failures = 0;            ///< attempts that ended in connect failure, reset, timeout or 5xx
    std::uint32_t connect_failures = 0;
    std::uint32_t in_flight = 0;  ///< gauge, as of the second's last window
    [[nodiscard]] std::uint32_t all_picks() const { return picks[0] + picks[1]; }
};

/// One arm during one second.
struct ArmSecond {
    std::uint32_t requests = 0;
    std::uint32_t failed = 0;
    std::uint32_t no_endpoint = 0;
    Histogram total;  ///< time to the head of the answer
};

/// What was counted in windows that *end* within [at, at + 1 s).
struct Second {
    Instant at;  ///< whole seconds of the monotonic clock
    std::array<ArmSecond, 2> arms;
    std::vector<EndpointSecond> endpoints;  ///< by EndpointId
    [[nodiscard]] std::uint64_t requests() const { return std::uint64_t{arms[0].requests} + arms[1].requests; }
    [[nodiscard]] std::uint64_t failed() const { return std::uint64_t{arms[0].failed} + arms[1].failed; }
    [[nodiscard]] Histogram total() const;
};

/// A ring of the last `capacity` seconds. A second in which nothing was handed over is absent, not zero: no data is
/// not the same as no requests.
class Series {
public:
    /// About 1.6 kB a second plus 20 bytes an endpoint; 900 seconds of 100 endpoints are 3.2 MB.
    explicit Series(std::size_t capacity = 900);
    /// Adds a window of all workers (100 ms as a rule). A window older than the newest second counts into its own
    /// second if that is still here, else it is dropped.
    void add(const Tally& window);
    /// Ascending in time; the last one may still be filling.
    [[nodiscard]] const std::deque<Second>& seconds() const { return seconds_; }
    /// Sum over seconds with from <= at < to. Gauges are those of the last second.
    [[nodiscard]] Second sum(Instant from, Instant to) const;

private:
    std::size_t capacity_;
    std::deque<Second> seconds_;
};

}  // namespace plimsoll::measure
