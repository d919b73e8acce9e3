#include "rollout/traffic_facts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "balance/balance.h"
#include "check/recorded.h"

namespace plimsoll::rollout {

namespace {

/// Records looked at, evenly spaced: enough for a share within half a percent.
constexpr std::size_t looked_at = 20'000;

void normalise(PoolMix& mix) {
    const double sum = std::accumulate(mix.begin(), mix.end(), 0.0);
    if (sum <= 0) return;
    for (double& share : mix) share /= sum;
}

struct Absent {
    const std::function<bool(EndpointId)>& down;
    const std::function<bool(EndpointId)>& out;
};

/// Shares within a pool while some are down; as configured when nobody may take anything.
std::vector<double> shares_within(const snapshot::Pool& pool, const std::function<bool(EndpointId)>& down) {
    std::vector<bool> usable;
    for (const balance::Member& member : pool.facts.members) usable.push_back(!down(member.id));
    std::vector<double> shares = balance::local_shares(pool.facts, usable);
    const bool nobody = std::ranges::all_of(shares, [](double share) { return share <= 0; });
    return nobody ? balance::local_shares(pool.facts, {}) : shares;
}

bool is_comparable(const snapshot::Pool& pool, const std::function<bool(EndpointId)>& out) {
    return !snapshot::goes_by_key(pool) && !pool.affinity && !pool.by_subset &&
           std::ranges::none_of(pool.facts.members, [&](const balance::Member& member) { return out(member.id); });
}

/// `places`: by EndpointId, one more than its place in `facts`; 0 = not there yet.
void add_side(std::vector<judge::EndpointFacts>& facts, std::vector<std::size_t>& places, const Side& side,
              double judge::EndpointFacts::* expected, const Absent& absent) {
    places.resize(std::max<std::size_t>(places.size(), side.snapshot->endpoint_ids), 0);
    for (std::size_t p = 0; p < side.snapshot->pools.size(); ++p) {
        const snapshot::Pool& pool = side.snapshot->pools[p];
        const std::vector<double> shares = shares_within(pool, absent.down);
        const bool comparable = !side.guessed && is_comparable(pool, absent.out);
        const double of_pool = p < side.mix.size() ? side.mix[p] : 0;
        for (std::size_t e = 0; e < pool.endpoints.size(); ++e) {
            const snapshot::Endpoint& endpoint = pool.endpoints[e];
            std::size_t& place = places[endpoint.id.value];
            if (place == 0) {
                judge::EndpointFacts made;
                made.id = endpoint.id;
                made.name = endpoint.name;
                made.pool = pool.name;
                made.group = endpoint.zone;
                // A drained endpoint is not waited for: nobody is to be told that it is down.
                made.eligible = !absent.down(endpoint.id) || pool.facts.members[e].weight <= 0;
                made.out = absent.out(endpoint.id);
                facts.push_back(std::move(made));
                place = facts.size();
            }
            judge::EndpointFacts& known = facts[place - 1];
            // The newest word on capacity wins: the side that is added last is the candidate.
            if (endpoint.capacity > 0) known.capacity = endpoint.capacity;
            known.*expected = of_pool * shares[e];
            known.comparable &= comparable;
        }
    }
}

/// Requests of a route go to its pools by their parts; to none, when it answers by itself.
void add(PoolMix& mix, const snapshot::Route& route, double requests) {
    snapshot::each_target(
        route, [&](const snapshot::Target& target, double part) { mix[target.pool.value] += requests * part; });
}

}  // namespace

PoolMix pool_mix(const snapshot::Snapshot& snapshot, const recording::Recording& recording) {
    PoolMix mix(snapshot.pools.size(), 0.0);
    const std::size_t stride = recording.records.size() / looked_at + 1;
    const check::ListenerNames listeners(snapshot.listeners, snapshot.listeners);
    for (std::size_t i = 0; i < recording.records.size(); i += stride) {
        const recording::Record& record = recording.records[i];
        if (record.cause == Cause::bad_request) continue;
        const check::Way way = check::way_of(snapshot, record, listeners(record.listener));
        if (way.route != nullptr) add(mix, *way.route, 1);
    }
    normalise(mix);
    return mix;
}

PoolMix pool_mix(const snapshot::Snapshot& snapshot, const measure::Tally& tally) {
    PoolMix mix(snapshot.pools.size(), 0.0);
    for (const snapshot::Route& route : snapshot.routes)
        for (const measure::ArmTally& arm : tally.arms)
            if (const measure::RouteTally* seen = arm.routes.find(route.id.value))
                add(mix, route, static_cast<double>(seen->requests));
    normalise(mix);
    return mix;
}

PoolMix equal_mix(const snapshot::Snapshot& snapshot) {
    PoolMix mix(snapshot.pools.size(), 0.0);
    for (const snapshot::Route& route : snapshot.routes)
        for (const snapshot::Target& target : route.targets) mix[target.pool.value] = 1;
    normalise(mix);
    return mix;
}

bool says_something(const PoolMix& mix) {
    return std::ranges::any_of(mix, [](double share) { return share > 0; });
}

PoolMix mix_or_equal(const snapshot::Snapshot& snapshot, const recording::Recording& recording) {
    PoolMix mix = pool_mix(snapshot, recording);
    return says_something(mix) ? mix : equal_mix(snapshot);
}

std::vector<judge::EndpointFacts> endpoint_facts(const Side& active, const Side& candidate,
                                                 const std::function<bool(EndpointId)>& down,
                                                 const std::function<bool(EndpointId)>& out) {
    const Absent absent{down, out};
    std::vector<judge::EndpointFacts> facts;
    std::vector<std::size_t> places;
    add_side(facts, places, active, &judge::EndpointFacts::expected_active, absent);
    if (candidate.snapshot != nullptr)
        add_side(facts, places, candidate, &judge::EndpointFacts::expected_candidate, absent);
    return facts;
}

}  // namespace plimsoll::rollout
