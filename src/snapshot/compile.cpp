// From what an operator may write to what a worker needs.
#include <algorithm>

#include "base/hash.h"
#include "snapshot/snapshot.h"

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
    return facts;
}

balance::Policy policy(config::Policy written) {
    if (written == config::Policy::round_robin) return balance::RoundRobin{};
    return balance::LeastRequest{};
}

Pool compile_pool(const config::Pool& written, Identities& identities, std::uint32_t workers) {
    Pool pool;
    pool.id = identities.pool(written.name);
    pool.name = written.name;
    pool.timeouts = written.timeouts;
    pool.retry = retry_facts(written.retry);
    pool.limits = written.limits;
    pool.health = written.health;
    pool.facts.id = pool.id;
    pool.facts.policy = policy(written.policy);
    pool.facts.ejection = ejection_facts(written.ejection);
    pool.facts.panic_threshold = written.panic_threshold;
    const std::uint64_t limit = written.limits.max_in_flight_per_endpoint;
    const auto part = static_cast<std::uint32_t>((limit + workers - 1) / workers);
    for (const auto& endpoint : written.endpoints) {
        const EndpointId id = identities.endpoint(written.name, endpoint.address, endpoint.name);
        pool.endpoints.push_back({id, endpoint.name, endpoint.address, endpoint.capacity.value_or(0), endpoint.zone});
        pool.facts.members.push_back({id, endpoint.weight, endpoint.capacity.value_or(0), part});
    }
    return pool;
}

std::string canonical(std::string host) {
    std::ranges::transform(host, host.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    if (host.ends_with('.')) host.pop_back();
    return host;
}

}  // namespace

std::shared_ptr<const Snapshot> compile(const config::Config& config, RevisionNumber revision, Identities& identities,
                                        std::uint32_t workers) {
    workers = std::max<std::uint32_t>(workers, 1);
    auto snapshot = std::make_shared<Snapshot>();
    snapshot->revision = revision;
    snapshot->digest = config::digest(config);
    snapshot->listeners = config.listeners;
    snapshot->access_log = config.access_log;

    std::unordered_map<std::string_view, PoolIndex> pool_of;
    for (const auto& pool : config.pools) {
        pool_of.emplace(pool.name, PoolIndex{static_cast<std::uint32_t>(snapshot->pools.size())});
        snapshot->pools.push_back(compile_pool(pool, identities, workers));
    }
    for (const auto& route : config.routes) {
        const auto pool = pool_of.find(route.pool);
        PLIMSOLL_ENSURE(pool != pool_of.end(), "a route names a pool that does not exist; parse() refuses that");
        const RouteIndex index{static_cast<std::uint32_t>(snapshot->routes.size())};
        snapshot->routes.push_back({identities.route(route.name), route.name, route.match, pool->second});
        auto& list = route.match.host ? snapshot->by_host_[canonical(*route.match.host)] : snapshot->any_host_;
        list.push_back(index);
    }
    snapshot->endpoint_ids = static_cast<std::uint32_t>(identities.endpoints());
    snapshot->pool_ids = static_cast<std::uint32_t>(identities.pools());
    snapshot->route_ids = static_cast<std::uint32_t>(identities.routes());
    return snapshot;
}

Arm choose_arm(const Resident& resident, std::uint64_t affinity_key, Instant now) {
    if (!resident.candidate || now >= resident.lease) return Arm::active;
    return unit_interval(keyed_hash(affinity_key, resident.arm_key)) < resident.share.value ? Arm::candidate
                                                                                            : Arm::active;
}

}  // namespace plimsoll::snapshot
