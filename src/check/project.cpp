// The analytic forecast: route mix x long-run shares x peak rate.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "balance/balance.h"
#include "check/rules.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

namespace {

using Address = std::pair<std::string, config::Address>;  // pool, address: an endpoint's identity

constexpr std::size_t max_moved = 20;

/// Some of a pool's endpoints: those that a route's `subset` names, or all.
using Part = std::pair<std::uint32_t, const balance::Subset*>;

/// One config made ready for asking: which route, and which part of all requests each endpoint gets.
struct Side {
    const config::Config& config;
    std::shared_ptr<const snapshot::Snapshot> snapshot;
    ListenerNames listeners;
    std::map<Part, double> asked;             ///< of all requests, by whom they are for
    std::map<Part, double> copied;            ///< by mirrors and for auth servers, besides
    std::vector<std::vector<double>> shares;  ///< by pool, by member: of all requests, copies included
    double no_endpoint = 0;
};

/// Long-run shares within a part with those out of rotation left out, unless so many are out that everybody is used
/// (panic).
std::vector<double> usable_shares(const snapshot::Pool& pool, const balance::Subset* subset,
                                  const std::set<Address>& out) {
    balance::PoolFacts facts = pool.facts;
    std::vector<bool> usable(facts.members.size(), true);
    for (std::size_t i = 0; i < facts.members.size(); ++i) {
        if (subset != nullptr && !subset->contains(static_cast<std::uint32_t>(i))) facts.members[i].weight = 0;
        usable[i] = !out.contains({pool.name, pool.endpoints[i].address});
    }
    return balance::expected_shares(facts, usable);
}

Side make_side(const config::Config& config, const config::Config& before) {
    snapshot::Identities identities;
    return {.config = config,
            .snapshot = snapshot::compile(config, RevisionNumber{}, identities, 1),
            .listeners = {config.listeners, before.listeners},
            .asked = {},
            .copied = {},
            .shares = {},
            .no_endpoint = 0};
}

/// Adds a fraction of all requests to whom the route sends them; nobody when it answers by itself.
void send(Side& side, const snapshot::Route& route, double fraction) {
    double from = 0;
    for (const snapshot::Target& target : route.targets) {
        side.asked[{target.pool.value, target.subset.get()}] += fraction * (target.upto - from);
        from = target.upto;
    }
    if (const auto& auth = route.actions->auth) side.copied[{auth->pool.value, nullptr}] += fraction;
    if (const auto& mirror = route.actions->mirror) {
        side.copied[{mirror->pool.value, nullptr}] += fraction * mirror->share;
    }
}

/// Turns what is asked of pools into what each endpoint gets while these are out.
void settle(Side& side, const std::set<Address>& out) {
    const auto& pools = side.snapshot->pools;
    side.shares.clear();
    side.no_endpoint = 0;
    for (const auto& pool : pools) side.shares.emplace_back(pool.endpoints.size(), 0.0);
    const auto give = [&](const std::map<Part, double>& parts, bool counts) {
        for (const auto& [part, fraction] : parts) {
            const auto& pool = pools[part.first];
            const auto shares = usable_shares(pool, part.second, out);
            for (std::size_t i = 0; i < shares.size(); ++i) side.shares[part.first][i] += fraction * shares[i];
            const bool nobody = std::ranges::all_of(shares, [](double s) { return s <= 0; });
            const bool may_be_found = side.config.pools[part.first].discovery.has_value();
            if (counts && nobody && !may_be_found) side.no_endpoint += fraction;
        }
    };
    give(side.asked, true);
    give(side.copied, false);
}

/// What a way is called: route and pools.
struct Names {
    std::string route, pool;
    friend auto operator<=>(const Names&, const Names&) = default;
};

Names names(const Way& way) {
    if (way.route == nullptr) return {};
    const snapshot::Route& route = *way.route;
    std::string pools;
    for (const auto& target : route.targets) pools += (pools.empty() ? "" : "+") + way.in->pool(target.pool).name;
    if (route.actions->redirect) pools = "redirect";
    if (route.actions->respond) pools = "our own answer";
    return {route.name, pools};
}

Way send(Side& side, const RequestClass& request, double fraction) {
    const Way way = way_of(*side.snapshot, request, side.listeners(request.listener));
    if (way.route != nullptr) send(side, *way.route, fraction);
    return way;
}

void send_recorded(Side& now, Side& after, const Traffic& traffic, Forecast& forecast) {
    std::map<std::pair<Names, Names>, Moved> moved;
    UnjudgedCount unjudged;
    for (const RequestClass& request : traffic.mix) {
        const double fraction = static_cast<double>(request.requests) / static_cast<double>(traffic.requests);
        const Way old_way = send(now, request, fraction), new_way = send(after, request, fraction);
        unjudged.add(old_way, new_way, fraction);
        const Names was = names(old_way), is = names(new_way);
        if (was == is) continue;
        if (was.route != is.route) forecast.route_changed += fraction;
        if (was.pool != is.pool) forecast.pool_changed += fraction;
        if (is.route.empty()) forecast.route_lost += fraction;
        if (was.route.empty()) forecast.route_gained += fraction;
        Moved& m = moved[{was, is}];
        if (m.fraction == 0) m = {request.host, request.path, was.route, is.route, was.pool, is.pool, 0};
        m.fraction += fraction;
    }
    forecast.unjudged = unjudged.out_of(1);
    for (auto& [ways, m] : moved) forecast.moved.push_back(std::move(m));
    std::ranges::sort(forecast.moved, [](const Moved& a, const Moved& b) {
        return std::tie(b.fraction, a.path) < std::tie(a.fraction, b.path);
    });
    if (forecast.moved.size() > max_moved) forecast.moved.resize(max_moved);
}

/// Nothing recorded: every route gets the same. Good enough to show a direction, never to pass on.
void send_equally(Side& side) {
    const auto& routes = side.snapshot->routes;
    for (const auto& route : routes) send(side, route, 1 / static_cast<double>(routes.size()));
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
            const double share = side.shares[p][i];
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

LoadForecast load(Side& now, Side& then, double peak_rate, const std::set<Address>& out) {
    settle(now, out);
    settle(then, out);
    LoadForecast forecast;
    forecast.no_endpoint_now = now.no_endpoint;
    forecast.no_endpoint_after = then.no_endpoint;
    std::map<Address, std::size_t> index;
    add_endpoints(then, true, peak_rate, out, index, forecast.endpoints);
    add_endpoints(now, false, peak_rate, out, index, forecast.endpoints);
    return forecast;
}

std::optional<double> ratio(double rate, double capacity) {
    return capacity > 0 ? std::optional(rate / capacity) : std::nullopt;
}

}  // namespace

double Forecast::open() const {
    double sum = 0;
    for (const Unjudged& one : unjudged) sum += one.alike ? 0 : one.fraction;
    return sum;
}

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

std::string back_up(const std::vector<std::string>& down) {
    return fmt::format("{} {} back up", some_of(down), down.size() == 1 ? "is" : "are");
}

std::vector<std::string> down_in(const std::vector<OutOfRotation>& out, const config::Config& before,
                                 const config::Config& after) {
    std::set<Address> left;
    for (const OutOfRotation& one : out) left.emplace(one.pool, one.address);
    std::vector<std::string> names;
    for (const config::Config* config : {&before, &after}) {
        for (const config::Pool& pool : config->pools) {
            for (const config::Endpoint& endpoint : pool.endpoints) {
                if (left.erase({pool.name, endpoint.address}) > 0) names.push_back(endpoint.name);
            }
        }
    }
    return names;
}

Forecast project(const config::Config& before, const config::Config& after, const LiveState& live) {
    std::set<Address> out;
    for (const auto& endpoint : live.out) out.emplace(endpoint.pool, endpoint.address);
    Side now = make_side(before, before), then = make_side(after, before);

    Forecast forecast;
    forecast.requests = live.traffic.requests;
    forecast.every = live.traffic.every;
    forecast.span = live.traffic.span;
    forecast.peak_rate = live.traffic.peak_rate;
    if (live.traffic.any()) {
        send_recorded(now, then, live.traffic, forecast);
    } else {
        send_equally(now);
        send_equally(then);
    }
    static_cast<LoadForecast&>(forecast) = load(now, then, forecast.peak_rate, out);
    forecast.down = down_in(live.out, before, after);
    if (!forecast.down.empty()) forecast.recovered = load(now, then, forecast.peak_rate, {});
    return forecast;
}

}  // namespace plimsoll::check
