// What is plotted and measured of the seconds around an incident.
#include <algorithm>

#include "incident/postmortem.h"

namespace plimsoll::incident {

Curves curves(const measure::Series& series, std::vector<Curves::Endpoint> endpoints, std::span<const EndpointId> ids,
              Instant t0, Instant from, Instant to) {
    PLIMSOLL_ENSURE(endpoints.size() == ids.size(), "an endpoint's curve needs its id");
    Curves out{std::move(endpoints), {}};
    for (const measure::Second& second : series.seconds()) {
        if (second.at < from || second.at >= to) continue;
        Point point{.at = second.at - t0,
                    .requests = second.requests(),
                    .failed = second.failed(),
                    .candidate_requests = second.arms[static_cast<std::size_t>(Arm::candidate)].requests,
                    .picks = {}};
        const measure::Histogram total = second.total();
        if (total.count() > 0) {
            point.p50 = total.quantile(0.5);
            point.p99 = total.quantile(0.99);
        }
        for (const EndpointId id : ids) {
            point.picks.push_back(id.value < second.endpoints.size() ? second.endpoints[id.value].all_picks() : 0);
        }
        out.points.push_back(std::move(point));
    }
    return out;
}

double skew(const Curves& curves, Duration from, Duration to) {
    std::vector<std::uint64_t> picks(curves.endpoints.size());
    std::uint64_t all = 0;
    for (const Point& point : curves.points) {
        if (point.at < from || point.at >= to) continue;
        for (std::size_t e = 0; e < std::min(picks.size(), point.picks.size()); ++e) {
            picks[e] += point.picks[e];
            all += point.picks[e];
        }
    }
    if (all == 0) return 0;
    double worst = 0;
    for (std::size_t e = 0; e < picks.size(); ++e) {
        const double expected =
            curves.endpoints[e].expected > 0 ? curves.endpoints[e].expected : 1.0 / static_cast<double>(picks.size());
        worst = std::max(worst, static_cast<double>(picks[e]) / static_cast<double>(all) / expected);
    }
    return worst;
}

}  // namespace plimsoll::incident
