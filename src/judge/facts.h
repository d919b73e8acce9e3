// What a judge must be told about endpoints and the past: values made by control (or the simulator) from the two
// resident revisions. Pure; no thread rule.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ids.h"
#include "measure/tally.h"

namespace plimsoll::judge {

/// One endpoint of either revision. Shares count over all pools of a revision together: they sum to 1 over all
/// endpoints, so that a route moved to another pool shows as well as a weight.
struct EndpointFacts {
    EndpointId id;
    std::string name;               ///< as operators know it: "b3"
    std::string pool;               ///< its pool's name
    std::string group;              ///< what it has in common with others (zone, version label); may be empty
    double capacity = 0;            ///< requests/s it can carry; 0 = not known
    double expected_active = 0;     ///< share of all requests it should get under the active revision, given who is up
    double expected_candidate = 0;  ///< and under the candidate; 0 when there is none
    bool eligible = true;           ///< active checks do not hold it down
    bool out = false;               ///< ejected, or left alone at its own wish: takes nothing for a time
    /// What is expected can be held against where requests go: no key, cookie or subset decides in its pool, and nobody
    /// of it is out.
    bool comparable = true;
};

/// The active arm's own recent past, from before the change took traffic: what "normal" means.
struct Baseline {
    std::uint64_t requests = 0;
    std::uint64_t failed = 0;
    measure::Histogram total;  ///< time to the head of the answer
    double rate = 0;           ///< requests/s
    [[nodiscard]] double error_rate() const {
        return requests == 0 ? 0.0 : static_cast<double>(failed) / static_cast<double>(requests);
    }
};
/// Adds the active arm's requests of a window; `rate` becomes the mean over all that was added (weighted by time).
void extend(Baseline& baseline, const measure::Tally& window, double seconds_so_far);

/// Utilisation of each endpoint if shares were `active` * (1 - share) + `candidate` * share at this rate; 0 where the
/// capacity is not known. Same order as `endpoints`.
[[nodiscard]] std::vector<double> projected_utilisation(std::span<const EndpointFacts> endpoints, double rate,
                                                        Share share);

/// The busiest endpoint: position in `endpoints` and utilisation. Position -1 when no capacity is known.
struct Hottest {
    int position = -1;
    double utilisation = 0;
};
[[nodiscard]] Hottest hottest(std::span<const double> utilisation);

/// Largest share of the candidate for which no endpoint is projected above max(cap, 1.1 x what the active revision
/// alone puts on it). 1 when nothing binds. For equal servers this is f <= (cap/u - 1)/(m - 1).
[[nodiscard]] Share ramp_bound(std::span<const EndpointFacts> endpoints, double rate, double cap);

}  // namespace plimsoll::judge
