// A revision compiled for serving. Immutable, shared by all workers; requests pin it with a worker-local count.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "balance/balance.h"
#include "base/ids.h"
#include "base/result.h"
#include "config/config.h"

namespace plimsoll::snapshot {

/// Hands out the dense, stable numbers that state is keyed by. Append-only; owned by control (or a simulation), used
/// on its thread only. Names are kept for people.
class Identities {
public:
    EndpointId endpoint(std::string_view pool, const config::Address& address, std::string_view display_name);
    PoolId pool(std::string_view name);
    RouteId route(std::string_view name);

    [[nodiscard]] std::string_view endpoint_name(EndpointId id) const;  ///< "b3"; the newest display name wins
    [[nodiscard]] std::string_view pool_name(PoolId id) const;
    [[nodiscard]] std::string_view route_name(RouteId id) const;
    [[nodiscard]] std::size_t endpoints() const { return endpoints_.size(); }
    [[nodiscard]] std::size_t pools() const { return pools_.size(); }
    [[nodiscard]] std::size_t routes() const { return routes_.size(); }

private:
    std::vector<std::string> endpoints_, pools_, routes_;
    std::unordered_map<std::string, std::uint32_t> endpoint_ids_, pool_ids_, route_ids_;
};

struct Endpoint {
    EndpointId id;
    std::string name;
    config::Address address;
    double capacity = 0;  ///< requests/s, 0 = not declared
    std::string zone;
};

struct Pool {
    PoolId id;
    std::string name;
    balance::PoolFacts facts;  ///< facts.members[i] and endpoints[i] are the same endpoint
    std::vector<Endpoint> endpoints;
    config::Timeouts timeouts;
    balance::RetryFacts retry;
    config::PoolLimits limits;
    std::optional<config::HealthCheck> health;
};

struct Route {
    RouteId id;
    std::string name;
    config::Match match;
    PoolIndex pool;
};

/// Everything a worker needs to serve one revision.
class Snapshot {
public:
    RevisionNumber revision;
    std::string digest;  ///< of the config
    std::vector<config::Listener> listeners;
    std::vector<Route> routes;
    std::vector<Pool> pools;
    std::string access_log;

    /// The first route in file order that matches, or nullopt. `host` as sent (port and case are ignored), `path` up to
    /// '?'. Cost is proportional to the routes of that host and the host-less ones, not to all routes.
    [[nodiscard]] std::optional<RouteIndex> match(std::string_view host, std::string_view path) const;
    [[nodiscard]] const Pool& pool(PoolIndex index) const { return pools[index.value]; }
    [[nodiscard]] const Route& route(RouteIndex index) const { return routes[index.value]; }
    /// Size needed for per-endpoint state: one more than the largest endpoint id.
    std::uint32_t endpoint_ids = 0;
    std::uint32_t pool_ids = 0;
    std::uint32_t route_ids = 0;

private:
    friend std::shared_ptr<const Snapshot> compile(const config::Config&, RevisionNumber, Identities&, std::uint32_t);
    struct HostHash {
        using is_transparent = void;
        std::size_t operator()(std::string_view host) const { return std::hash<std::string_view>{}(host); }
    };
    std::unordered_map<std::string, std::vector<RouteIndex>, HostHash, std::equal_to<>> by_host_;  ///< lower case
    std::vector<RouteIndex> any_host_;  ///< merged with a host's own routes in file order while matching
};

/// Whether the path conditions of `match` hold for `path` (cut at '?'); the host is not looked at. A prefix counts by
/// whole segments and its trailing '/' does not matter.
[[nodiscard]] bool path_matches(const config::Match& match, std::string_view path);

/// Compiles a config that parsed without errors. `workers` divides per-endpoint limits (each worker gets its part,
/// rounded up). Cannot fail: what could be wrong is a finding of config::parse or check.
[[nodiscard]] std::shared_ptr<const Snapshot> compile(const config::Config& config, RevisionNumber revision,
                                                      Identities& identities, std::uint32_t workers);

/// Two resident revisions and how requests are divided between them: all that a rollout ever changes in a worker.
struct Resident {
    std::shared_ptr<const Snapshot> active;
    std::shared_ptr<const Snapshot> candidate;  ///< null = none
    Share share;                                ///< of requests that the candidate serves
    bool shadow = false;        ///< the candidate decides on every request of the active arm, and nothing comes of it
    std::uint64_t arm_key = 0;  ///< key of the hash that assigns arms; new for every change
    Instant lease{INT64_MAX};   ///< past this the worker serves `active` only, until control speaks again
};

/// The arm for a request with this affinity key. Randomised by keyed hash, monotone in share: who is in the candidate
/// at 5 % is still in it at 25 %.
[[nodiscard]] Arm choose_arm(const Resident& resident, std::uint64_t affinity_key, Instant now);

}  // namespace plimsoll::snapshot
