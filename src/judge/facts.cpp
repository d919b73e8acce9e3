#include "judge/facts.h"

#include <algorithm>

namespace plimsoll::judge {

void extend(Baseline& baseline, const measure::Tally& window, double seconds_so_far) {
    const measure::RouteTally active = window.arms[0].all_routes();
    const double span = seconds(window.to - window.from);
    if (span > 0) {
        const double rate = static_cast<double>(active.requests) / span;
        baseline.rate = (baseline.rate * seconds_so_far + rate * span) / (seconds_so_far + span);
    }
    baseline.requests += active.requests;
    baseline.failed += active.failed;
    baseline.total.add(active.total);
}

std::vector<double> projected_utilisation(std::span<const EndpointFacts> endpoints, double rate, Share share) {
    std::vector<double> result;
    result.reserve(endpoints.size());
    for (const EndpointFacts& endpoint : endpoints) {
        const double expected =
            (1 - share.value) * endpoint.expected_active + share.value * endpoint.expected_candidate;
        result.push_back(endpoint.capacity > 0 ? rate * expected / endpoint.capacity : 0.0);
    }
    return result;
}

Hottest hottest(std::span<const double> utilisation) {
    Hottest found;
    for (std::size_t i = 0; i < utilisation.size(); ++i)
        if (utilisation[i] > found.utilisation)
            found = {.position = static_cast<int>(i), .utilisation = utilisation[i]};
    return found;
}

Share ramp_bound(std::span<const EndpointFacts> endpoints, double rate, double cap) {
    double bound = 1;
    for (const EndpointFacts& endpoint : endpoints) {
        if (!(endpoint.capacity > 0)) continue;
        const double alone = rate * endpoint.expected_active / endpoint.capacity;
        const double full = rate * endpoint.expected_candidate / endpoint.capacity;
        const double limit = std::max(cap, 1.1 * alone);
        if (full > limit) bound = std::min(bound, (limit - alone) / (full - alone));
    }
    return Share{std::clamp(bound, 0.0, 1.0)};
}

}  // namespace plimsoll::judge
