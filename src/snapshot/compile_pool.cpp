#include "snapshot/compile_pool.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/hash.h"

namespace plimsoll::snapshot {

namespace {

std::uint8_t retry_bit(std::string_view condition) {
    if (condition == "connect_failure") return static_cast<std::uint8_t>(balance::RetryOn::connect_failure);
    if (condition == "reset") return static_cast<std::uint8_t>(balance::RetryOn::reset);
    if (condition == "timeout") return static_cast<std::uint8_t>(balance::RetryOn::timeout);
    if (condition == "status_5xx") return static_cast<std::uint8_t>(balance::RetryOn::status_5xx);
    return 0;
}

balance::RetryFacts retry_facts(const config::Retry& retry) {
    balance::RetryFacts facts;
    facts.attempts = static_cast<std::uint8_t>(std::clamp<std::size_t>(retry.attempts, 1, max_attempts));
    facts.on = 0;
    for (const auto& condition : retry.on) facts.on = static_cast<std::uint8_t>(facts.on | retry_bit(condition));
    facts.non_idempotent = retry.non_idempotent;
    facts.budget = retry.budget;
    facts.min_per_second = retry.min_per_second;
    return facts;
}

balance::Ejection ejection_facts(const config::Ejection& ejection) {
    balance::Ejection facts;
    facts.consecutive = ejection.enabled ? ejection.consecutive : UINT32_MAX;  // off: a row that never fills
    facts.base = ejection.base;
    facts.ceiling = std::max(facts.ceiling, ejection.base);
    facts.max_fraction = ejection.enabled ? ejection.max_fraction : 0;
    facts.success_rate = ejection.enabled && ejection.success_rate;
    facts.stdev_factor = ejection.stdev_factor;
    facts.min_requests = ejection.min_requests;
    facts.min_endpoints = ejection.min_endpoints;
    facts.interval = ejection.interval;
    return facts;
}

balance::Policy policy_of(const config::Pool& written) {
    const double bound = written.hash.bounded_load;
    switch (written.policy) {
        case config::Policy::round_robin: return balance::RoundRobin{};
        case config::Policy::least_request: return balance::LeastRequest{};
        case config::Policy::peak_ewma: return balance::PeakEwma{.decay = written.ewma_decay};
        case config::Policy::prequal: return balance::Prequal{};
        case config::Policy::maglev: return balance::Maglev{.bounded_load = bound};
        case config::Policy::ring_hash: return balance::RingHash{.bounded_load = bound};
        case config::Policy::rendezvous: return balance::Rendezvous{.bounded_load = bound};
        case config::Policy::random: return balance::WeightedRandom{};
    }
    return balance::LeastRequest{};
}

/// One worker's part of a limit, rounded up; 0 stays "no limit".
std::uint32_t part_of(std::uint64_t limit, std::uint32_t workers) {
    return static_cast<std::uint32_t>((limit + workers - 1) / workers);
}

/// Numbers zones in the order in which endpoints name them.
class Zones {
public:
    std::uint8_t number(std::string_view zone) {
        if (zone.empty()) return 0;
        if (const std::uint8_t known = find(zone); known != 0) return known;
        if (names_.size() == balance::max_zones) return 0;
        names_.push_back(zone);
        return static_cast<std::uint8_t>(names_.size());
    }
    [[nodiscard]] std::uint8_t find(std::string_view zone) const {
        const auto found = std::ranges::find(names_, zone);
        return found == names_.end() ? std::uint8_t{0} : static_cast<std::uint8_t>(found - names_.begin() + 1);
    }

private:
    std::vector<std::string_view> names_;
};

/// Levels are the ranks of the priorities that are written: 0, 10, 20 are levels 0, 1, 2.
std::uint8_t level_of(const std::set<std::uint32_t>& priorities, std::uint32_t priority) {
    const auto rank = static_cast<std::size_t>(std::distance(priorities.begin(), priorities.find(priority)));
    return static_cast<std::uint8_t>(std::min<std::size_t>(rank, balance::max_levels - 1));
}

/// Whether build_table would make the same of both.
bool same_table(const balance::PoolFacts& a, const balance::PoolFacts& b) {
    if (a.policy.index() != b.policy.index()) return false;
    const auto* ring_a = std::get_if<balance::RingHash>(&a.policy);
    const auto* ring_b = std::get_if<balance::RingHash>(&b.policy);
    if (ring_a != nullptr && ring_b != nullptr && ring_a->points != ring_b->points) return false;
    return std::ranges::equal(a.members, b.members, [](const balance::Member& x, const balance::Member& y) {
        return x.id == y.id && x.identity == y.identity && x.weight == y.weight;
    });
}

void add_members(Pool& pool, const config::Pool& written, Identities& identities, std::uint32_t workers) {
    const std::uint32_t most = part_of(written.limits.max_in_flight_per_endpoint, workers);
    std::set<std::uint32_t> priorities;
    for (const auto& endpoint : written.endpoints) priorities.insert(endpoint.priority);
    Zones zones;
    pool.endpoints.reserve(written.endpoints.size());
    pool.facts.members.reserve(written.endpoints.size());
    for (const auto& endpoint : written.endpoints) {
        const EndpointId id = identities.endpoint(written.name, endpoint.address, endpoint.name);
        const double capacity = endpoint.capacity.value_or(0);
        pool.endpoints.push_back({id, endpoint.name, endpoint.address, capacity, endpoint.zone, endpoint.tls_name});
        balance::Member& member = pool.facts.members.emplace_back();
        member.id = id;
        member.weight = endpoint.weight;
        member.capacity = capacity;
        member.max_in_flight = most;
        member.priority = level_of(priorities, endpoint.priority);
        member.zone = zones.number(endpoint.zone);
        member.identity = std::max<std::uint64_t>(keyed_hash(text(endpoint.address), 0), 1);
    }
}

}  // namespace

Pool compile_pool(const config::Pool& written, const OwnZone& zone, Identities& identities, std::uint32_t workers,
                  const Pool* before) {
    Pool pool;
    pool.id = identities.pool(written.name);
    pool.name = written.name;
    pool.timeouts = written.timeouts;
    pool.retry = retry_facts(written.retry);
    pool.limits = written.limits;
    pool.part = {part_of(written.limits.max_in_flight, workers),
                 part_of(written.limits.max_connections_per_endpoint, workers), part_of(written.limits.queue, workers)};
    pool.health = written.health;
    pool.protocol = written.protocol;
    pool.tls = written.tls;
    pool.proxy_protocol = written.proxy_protocol;
    pool.hash = written.hash;
    pool.affinity = written.affinity;
    add_members(pool, written, identities, workers);

    balance::PoolFacts& facts = pool.facts;
    facts.id = pool.id;
    facts.policy = policy_of(written);
    facts.ejection = ejection_facts(written.ejection);
    facts.panic_threshold = written.panic_threshold;
    facts.slow_start = written.slow_start;
    if (written.zone_aware && !zone.name.empty()) {
        facts.own_zone_traffic = zone.traffic;
        const auto own = std::ranges::find(pool.endpoints, zone.name, &Endpoint::zone);
        if (own != pool.endpoints.end()) {
            facts.own_zone = facts.members[static_cast<std::size_t>(own - pool.endpoints.begin())].zone;
        }
    }
    if (written.adaptive) {
        facts.adaptive = balance::Adaptive{part_of(written.adaptive->min, workers),
                                           part_of(written.adaptive->max, workers), written.adaptive->tolerance};
    }
    const bool lends = before != nullptr && same_table(before->facts, facts);
    facts.table = lends ? before->facts.table : balance::build_table(facts.policy, facts.members);
    return pool;
}

const std::string& tls_name(const Pool& pool, const Endpoint& endpoint) {
    return pool.tls && !pool.tls->server_name.empty() ? pool.tls->server_name : endpoint.tls_name;
}

bool goes_by_key(const Pool& pool) { return balance::is_hashing(pool.facts.policy); }

}  // namespace plimsoll::snapshot
