#include "sim/facts.h"

#include <algorithm>

#include "balance/balance.h"

namespace plimsoll::sim {
namespace {

/// Shares within a pool over the endpoints that may take requests now; as configured when nobody may.
std::vector<double> shares_within(const snapshot::Pool& pool, const std::function<bool(EndpointId)>& down) {
    balance::PoolFacts usable = pool.facts;
    for (balance::Member& member : usable.members) {
        if (down(member.id)) member.weight = 0;
    }
    const std::vector<double> shares = balance::expected_shares(usable);
    const bool somebody = std::ranges::any_of(shares, [](double share) { return share > 0; });
    return somebody ? shares : balance::expected_shares(pool.facts);
}

}  // namespace

std::vector<double> pool_mix(const snapshot::Snapshot& snapshot, const recording::Recording& recording) {
    std::vector<double> mix(snapshot.pools.size(), 0.0);
    double sum = 0;
    constexpr std::size_t looked_at = 2000;  // enough for a share within a percent or two
    const std::size_t stride = recording.records.size() / looked_at + 1;
    for (std::size_t i = 0; i < recording.records.size(); i += stride) {
        const recording::Record& record = recording.records[i];
        const auto route = snapshot.match(record.host, record.path);
        if (!route) continue;
        mix[snapshot.route(*route).pool.value] += 1;
        sum += 1;
    }
    if (sum == 0) {
        for (const snapshot::Route& route : snapshot.routes) {
            mix[route.pool.value] += 1;
            sum += 1;
        }
    }
    if (sum > 0) {
        for (double& share : mix) share /= sum;
    }
    return mix;
}

std::vector<judge::EndpointFacts> endpoint_facts(const snapshot::Snapshot& active,
                                                 const std::vector<double>& active_mix,
                                                 const snapshot::Snapshot* candidate,
                                                 const std::vector<double>& candidate_mix,
                                                 const std::function<bool(EndpointId)>& down) {
    std::vector<judge::EndpointFacts> facts;
    const auto add = [&](const snapshot::Snapshot& side, const std::vector<double>& mix,
                         double judge::EndpointFacts::* expected) {
        for (std::size_t p = 0; p < side.pools.size(); ++p) {
            const snapshot::Pool& pool = side.pools[p];
            const std::vector<double> shares = shares_within(pool, down);
            for (std::size_t e = 0; e < pool.endpoints.size(); ++e) {
                const snapshot::Endpoint& endpoint = pool.endpoints[e];
                auto known = std::ranges::find(facts, endpoint.id, &judge::EndpointFacts::id);
                if (known == facts.end()) {
                    judge::EndpointFacts made;
                    made.id = endpoint.id;
                    made.name = endpoint.name;
                    made.pool = pool.name;
                    made.group = endpoint.zone;
                    made.eligible = !down(endpoint.id);
                    known = facts.insert(facts.end(), std::move(made));
                }
                if (endpoint.capacity > 0) known->capacity = endpoint.capacity;
                (*known).*expected = (p < mix.size() ? mix[p] : 0.0) * shares[e];
            }
        }
    };
    add(active, active_mix, &judge::EndpointFacts::expected_active);
    if (candidate != nullptr) add(*candidate, candidate_mix, &judge::EndpointFacts::expected_candidate);
    return facts;
}

}  // namespace plimsoll::sim
