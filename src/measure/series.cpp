#include "measure/series.h"

#include <algorithm>

namespace plimsoll::measure {
namespace {

constexpr std::int64_t second_ns = 1'000'000'000;

std::uint32_t narrow(std::uint64_t n) { return n > UINT32_MAX ? UINT32_MAX : static_cast<std::uint32_t>(n); }

void grow(Second& second, std::size_t endpoints) {
    if (second.endpoints.size() < endpoints) second.endpoints.resize(endpoints);
}

void add_arm(Second& second, std::size_t arm, const ArmTally& tally) {
    ArmSecond& to = second.arms[arm];
    const RouteTally all = tally.all_routes();
    to.requests += narrow(all.requests);
    to.failed += narrow(all.failed);
    to.no_endpoint += narrow(all.no_endpoint);
    to.total.add(all.total);
    grow(second, tally.endpoints.ids());
    for (const auto& [id, from] : tally.endpoints) {
        EndpointSecond& endpoint = second.endpoints[id];
        endpoint.picks[arm] += narrow(from.picks);
        endpoint.failures += narrow(from.failures());
        endpoint.connect_failures += narrow(from.connect_failures);
        endpoint.in_flight += from.in_flight;
    }
}

}  // namespace

Histogram Second::total() const {
    Histogram sum = arms[0].total;
    sum.add(arms[1].total);
    return sum;
}

Series::Series(std::size_t capacity) : capacity_(std::max<std::size_t>(capacity, 1)) {}

void Series::add(const Tally& window) {
    const Instant at{window.to.ns - ((window.to.ns % second_ns) + second_ns) % second_ns};
    auto place = std::lower_bound(seconds_.begin(), seconds_.end(), at,
                                  [](const Second& second, Instant t) { return second.at < t; });
    if (place == seconds_.end() || place->at != at) {
        if (place == seconds_.begin() && seconds_.size() >= capacity_) return;  // older than all we keep
        place = seconds_.insert(place, Second{.at = at, .arms = {}, .endpoints = {}});
    }
    for (EndpointSecond& endpoint : place->endpoints) endpoint.in_flight = 0;
    for (std::size_t arm = 0; arm < window.arms.size(); ++arm) add_arm(*place, arm, window.arms[arm]);
    while (seconds_.size() > capacity_) seconds_.pop_front();
}

Second Series::sum(Instant from, Instant to) const {
    Second sum{.at = from, .arms = {}, .endpoints = {}};
    for (const Second& second : seconds_) {
        if (second.at < from || second.at >= to) continue;
        for (std::size_t arm = 0; arm < sum.arms.size(); ++arm) {
            sum.arms[arm].requests += second.arms[arm].requests;
            sum.arms[arm].failed += second.arms[arm].failed;
            sum.arms[arm].no_endpoint += second.arms[arm].no_endpoint;
            sum.arms[arm].total.add(second.arms[arm].total);
        }
        grow(sum, second.endpoints.size());
        for (std::size_t i = 0; i < sum.endpoints.size(); ++i) {
            const EndpointSecond one = i < second.endpoints.size() ? second.endpoints[i] : EndpointSecond{};
            for (std::size_t arm = 0; arm < 2; ++arm) sum.endpoints[i].picks[arm] += one.picks[arm];
            sum.endpoints[i].failures += one.failures;
            sum.endpoints[i].connect_failures += one.connect_failures;
            sum.endpoints[i].in_flight = one.in_flight;
        }
    }
    return sum;
}

}  // namespace plimsoll::measure
