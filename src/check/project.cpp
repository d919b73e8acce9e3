// The analytic forecast: route mix x long-run shares x peak rate.
#include <algorithm>
#include <map>
#include <set>

#include "balance/balance.h"
#include "check/forecast.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

namespace {

using Address = std::pair<std::string, config::Address>;  // pool, address: an endpoint's identity

constexpr std::size_t max_moved = 20;

/// One config made ready for asking: which route, and which part of a pool's requests each endpoint gets.
struct Side {
    std::shared_ptr<const snapshot::Snapshot> snapshot;
    std::vector<std::vector<double>> shares;  ///< by pool, by member; all 0 when nobody is usable
    std::vector<double> pool_fraction;        ///< of all requests, by pool
    double no_endpoint = 0;
};

/// Long-run shares with those out of rotation left out, unless so many are out that everybody is used (panic).
std::vector<double> usable_shares(const snapshot::Pool& pool, const std::set<Address>& out) {
    balance::PoolFacts facts = pool.facts;
    std::size_t gone = 0, taking_part = 0;
    for (std::size_t i = 0; i < facts.members.size(); ++i) {
        if (facts.members[i].weight <= 0) continue;
        ++taking_part;
        if (!out.contains({pool.name, pool.endpoints[i].address})) continue;
        facts.members[i].weight = 0;
        ++gone;
    }
    const double healthy = taking_part == 0 ? 0 : 1 - static_cast<double>(gone) / static_cast<double>(taking_part);
    return balance::expected_shares(healthy < facts.panic_threshold ? pool.facts : facts);
}

Side make_side(const config::Config& config, const std::set<Address>& out) {
    Side side;
    snapshot::Identities identities;
    side.snapshot = snapshot::compile(config, RevisionNumber{}, identities, 1);
    for (const auto& pool : side.snapshot->pools) side.shares.push_back(usable_shares(pool, out));
    side.pool_fraction.assign(side.snapshot->pools.size(), 0);
    return side;
}

/// Adds a fraction of all requests to the pool it goes to.
void send(Side& side, PoolIndex pool, double fraction) {
    side.pool_fraction[pool.value] += fraction;
    const auto& shares = side.shares[pool.value];
    if (std::ranges::all_of(shares, [](double s) { return s <= 0; })) side.no_endpoint += fraction;
}

struct Way {
    std::string route, pool;
    friend auto operator<=>(const Way&, const Way&) = default;
};

Way way(Side& side, const RequestClass& request, double fraction) {
    const auto index = side.snapshot->match(request.host, request.path);
    if (!index) return {};
    const auto& route = side.snapshot->route(*index);
    send(side, route.pool, fraction);
    return {route.name, side.snapshot->pool(route.pool).name};
}

void send_recorded(Side& now, Side& after, const Traffic& traffic, Forecast& forecast) {
    std::map<std::pair<Way, Way>, Moved> moved;
    for (const RequestClass& request : traffic.mix) {
        const double fraction = static_cast<double>(request.requests) / static_cast<double>(traffic.requests);
        const Way was = way(now, request, fraction), is = way(after, request, fraction);
        if (was == is) continue;
        if (was.route != is.route) forecast.route_changed += fraction;
        if (was.pool != is.pool) forecast.pool_changed += fraction;
        if (is.route.empty()) forecast.route_lost += fraction;
        if (was.route.empty()) forecast.route_gained += fraction;
        Moved& m = moved[{was, is}];
        if (m.fraction == 0) m = {request.host, request.path, was.route, is.route, was.pool, is.pool, 0};
        m.fraction += fraction;
    }
    for (auto& [ways, m] : moved) forecast.moved.push_back(std::move(m));
    std::ranges::sort(forecast.moved, [](const Moved& a, const Moved& b) {
        return std::tie(b.fraction, a.path) < std::tie(a.fraction, b.path);
    });
    if (forecast.moved.size() > max_moved) forecast.moved.resize(max_moved);
}

/// Nothing recorded: every route gets the same. Good enough to show a direction, never to pass on.
void send_equally(Side& side) {
    const auto& routes = side.snapshot->routes;
    for (const auto& route : routes) send(side, route.pool, 1 / static_cast<double>(routes.size()));
}

void add_endpoints(const Side& side, bool is_after, double peak_rate, const std::set<Address>& out,
                   std::map<Address, std::size_t>& index, std::vector<EndpointForecast>& endpoints) {
    for (std::size_t p = 0; p < side.snapshot->pools.size(); ++p) {
        const auto& pool = side.snapshot->pools[p];
        for (std::size_t i = 0; i < pool.endpoints.size(); ++i) {
            const auto& endpoint = pool.endpoints[i];
            const Address address{pool.name, endpoint.address};
            const auto [it, is_new] = index.emplace(address, endpoints.size());
            if (is_new) {
                auto& made = endpoints.emplace_back();
                made.pool = pool.name;
                made.name = endpoint.name;
                made.address = endpoint.address;
                made.out = out.contains(address);
            }
            EndpointForecast& e = endpoints[it->second];
            const double share = side.pool_fraction[p] * side.shares[p][i];
            (is_after ? e.present_after : e.present_now) = true;
            (is_after ? e.share_after : e.share_now) = Share{share};
            (is_after ? e.rate_after : e.rate_now) = share * peak_rate;
            (is_after ? e.capacity : e.capacity_now) = endpoint.capacity;
            if (is_after || !e.present_after) {
                e.source = endpoint.capacity > 0 ? CapacitySource::declared : CapacitySource::unknown;
            }
        }
    }
}

std::optional<double> ratio(double rate, double capacity) {
    return capacity > 0 ? std::optional(rate / capacity) : std::nullopt;
}

}  // namespace

std::string_view name(CapacitySource source) {
    switch (source) {
        case CapacitySource::unknown: return "unknown";
        case CapacitySource::declared: return "declared";
        case CapacitySource::learned: return "learned";
    }
    return "unknown";
}

std::optional<double> EndpointForecast::utilisation_now() const { return ratio(rate_now, capacity_now); }
std::optional<double> EndpointForecast::utilisation_after() const { return ratio(rate_after, capacity); }

Forecast project(const config::Config& before, const config::Config& after, const LiveState& live) {
    std::set<Address> out;
    for (const auto& endpoint : live.out) out.emplace(endpoint.pool, endpoint.address);
    Side now = make_side(before, out), then = make_side(after, out);

    Forecast forecast;
    forecast.requests = live.traffic.requests;
    forecast.span = live.traffic.span;
    forecast.peak_rate = live.traffic.peak_rate;
    if (live.traffic.any()) {
        send_recorded(now, then, live.traffic, forecast);
    } else {
        send_equally(now);
        send_equally(then);
    }
    forecast.no_endpoint_now = now.no_endpoint;
    forecast.no_endpoint_after = then.no_endpoint;
    std::map<Address, std::size_t> index;
    add_endpoints(then, true, forecast.peak_rate, out, index, forecast.endpoints);
    add_endpoints(now, false, forecast.peak_rate, out, index, forecast.endpoints);
    return forecast;
}

}  // namespace plimsoll::check
