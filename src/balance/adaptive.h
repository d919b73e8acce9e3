// Adaptive concurrency: how many requests an endpoint may have at once, found from its latency. Pure.
// Source: the gradient of Netflix's concurrency-limits and Envoy's adaptive concurrency filter (the ratio of the best
// to the present latency; the square root of the limit as room to grow), after TCP Vegas (Brakmo and Peterson 1995).
#pragma once

#include <cstdint>

#include "base/time.h"

namespace plimsoll::balance {

/// As the config says it, per worker.
struct Adaptive {
    std::uint32_t min = 10;
    std::uint32_t max = 1000;
    double tolerance = 1.5;  ///< latency may be this many times the best before the limit shrinks
};

/// What is known of one endpoint.
struct Limiter {
    double limit = 0;           ///< 0 = nothing known: Adaptive::max
    double best = 0;            ///< seconds: the best mean latency of a window; 0 = none
    std::uint32_t best_at = 0;  ///< with so many in flight it is still about that good
    double sum = 0;             ///< seconds, of the present window
    std::uint32_t count = 0;    ///< of the present window
    std::uint32_t most = 0;     ///< requests in flight at once in the present window
    Instant since{INT64_MIN};   ///< when the present window began
};

/// One answer. `in_flight` = requests there when it was sent, this one included. Returns the limit from now on, within
/// [min, max].
std::uint32_t observe(Limiter& limiter, const Adaptive& facts, Duration latency, std::uint32_t in_flight, Instant now);

/// The limit now.
[[nodiscard]] std::uint32_t limit(const Limiter& limiter, const Adaptive& facts);

}  // namespace plimsoll::balance
