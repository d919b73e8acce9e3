#include "rollout/foretell.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rollout/machine.h"

namespace plimsoll::rollout {

Forecasted foretold(const check::Forecast& forecast, Findings findings) {
    Forecasted result;
    result.refused = has_errors(findings);
    result.findings = std::move(findings);
    result.from_recording = forecast.has_data();
    result.route_changed = forecast.route_changed;
    result.pool_changed = forecast.pool_changed;
    result.no_route = forecast.route_lost;
    result.open = forecast.open();
    double moved = 0;
    for (const check::EndpointForecast& e : forecast.endpoints) {
        moved += std::abs(e.share_after.value - e.share_now.value) / 2;
        const double utilisation = e.utilisation_after().value_or(0);
        if (utilisation <= result.hottest) continue;
        result.hottest = utilisation;
        result.hottest_name = e.name;
    }
    result.summary = forecast.has_data()
                         ? fmt::format("{} of requests move to other servers, {} to another pool", percent(moved),
                                       percent(forecast.pool_changed))
                         : fmt::format("{} of requests would move if routes were used equally", percent(moved));
    if (!result.hottest_name.empty())
        result.summary += fmt::format("; busiest {} at {:.2f} of its capacity", result.hottest_name, result.hottest);
    return result;
}

}  // namespace plimsoll::rollout
