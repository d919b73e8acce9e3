// A revision compiled for serving. Immutable, shared by all workers; requests pin it with a worker-local count.
#pragma once

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
#include "snapshot/actions.h"
#include "snapshot/conditions.h"
#include "snapshot/request_view.h"
#include "snapshot/route_table.h"

namespace plimsoll::snapshot {

/// Hands out the dense, stable numbers that state is keyed by. Append-only; owned by control (or a simulation), used
/// on its thread only. Names are kept for people.
class Identities {
public:
    EndpointId endpoint(std::string_view pool, const config::Address& address, std::string_view display_name);
    PoolId pool(std::string_view name);
    RouteId route(std::string_view name);
    /// `key` names the limit within its route: what it goes by, and which of several such it is.
    RateLimitId rate_limit(std::string_view route, std::string_view key);

    [[nodiscard]] std::string_view endpoint_name(EndpointId id) const;  ///< "b3"; the newest display name wins
    [[nodiscard]] std::string_view pool_name(PoolId id) const;
    [[nodiscard]] std::string_view route_name(RouteId id) const;
    [[nodiscard]] std::size_t endpoints() const { return endpoints_.size(); }
    [[nodiscard]] std::size_t pools() const { return pools_.size(); }
    [[nodiscard]] std::size_t routes() const { return routes_.size(); }
    [[nodiscard]] std::size_t rate_limits() const { return rate_limit_ids_.size(); }

private:
    std::vector<std::string> endpoints_, pools_, routes_;
    std::unordered_map<std::string, std::uint32_t> endpoint_ids_, pool_ids_, route_ids_, rate_limit_ids_;
};

struct Endpoint {
    EndpointId id;
    std::string name;
    config::Address address;
    double capacity = 0;  ///< requests/s, 0 = not declared
    std::string zone;
    std::string tls_name{};  ///< the name it was found by; empty = none
};

/// A pool-wide limit's part for one worker, rounded up; 0 = no limit.
struct WorkerLimits {
    std::uint32_t max_in_flight = 0;
    std::uint32_t max_connections_per_endpoint = 0;
    std::uint32_t queue = 0;
};

struct Pool {
    PoolId id;
    std::string name;
    balance::PoolFacts facts;         ///< facts.members[i] and endpoints[i] are the same endpoint
    std::vector<Endpoint> endpoints;  ///< may be empty: discovery has found nobody yet
    config::Timeouts timeouts;
    balance::RetryFacts retry;
    config::PoolLimits limits;  ///< as written, over all workers
    WorkerLimits part;          ///< what one worker may use of them
    std::optional<config::HealthCheck> health;
    config::PoolProtocol protocol = config::PoolProtocol::http1;
    std::optional<config::PoolTls> tls;  ///< certificate by name, in Snapshot::certificates
    config::ProxyProtocol proxy_protocol = config::ProxyProtocol::off;
    config::Hash hash;  ///< what the key of a hashing policy is made of
    std::optional<config::Affinity> affinity;
    bool by_subset = false;  ///< some route names a subset of it
};
/// Whether the pool's policy goes by a key (Asked::key), made from what `hash` names.
[[nodiscard]] bool goes_by_key(const Pool& pool);

/// Whom TLS asks for and verifies at this endpoint: what is written, else the name it was found by. Empty: whatever
/// Host (or server name) the client asked for.
[[nodiscard]] const std::string& tls_name(const Pool& pool, const Endpoint& endpoint);

/// One pool that a route may send to.
struct Target {
    PoolIndex pool;
    double upto = 1;  ///< draws below this and not below the target before it go here; the last one's is 1
    std::shared_ptr<const balance::Subset> subset;  ///< for Asked::subset; null = the whole pool
    std::uint32_t subset_size = 0;                  ///< endpoints in it
};

struct Route {
    RouteId id;
    std::string name;
    config::Match match;
    /// The first target's pool; none<PoolIndex> when the route answers by itself (redirect, respond).
    PoolIndex pool = none<PoolIndex>;
    std::vector<Target> targets{};             ///< in file order; one, but for a split
    std::optional<Duration> timeout{};         ///< instead of the pool's timeouts.total
    std::shared_ptr<const Actions> actions{};  ///< never null in a compiled snapshot
};
/// The target for a draw in [0, 1); null when the route answers by itself. Parts are exact: weight / sum of weights.
[[nodiscard]] const Target* choose_target(const Route& route, double draw);
/// Calls each(target, part) for every part of the route; the parts sum to 1. Never, when it answers by itself.
template <class F>
void each_target(const Route& route, F each) {
    double before = 0;
    for (const Target& target : route.targets) {
        each(target, target.upto - before);
        before = target.upto;
    }
}

/// What a TCP listener does with a connection.
struct TcpRoute {
    RouteId id;
    std::string name;  ///< "SNI@LISTENER", "*@LISTENER": what it is called in counters and logs
    std::string sni;   ///< as written; empty = every connection
    PoolIndex pool;
};

/// Everything a worker needs to serve one revision.
class Snapshot {
public:
    RevisionNumber revision;
    std::string digest;  ///< of the config
    std::vector<config::Listener> listeners;
    std::vector<config::Certificate> certificates;
    std::vector<Route> routes;
    std::vector<Pool> pools;
    std::vector<ErrorPage> error_pages;
    std::string access_log;
    config::LogFormat access_log_format = config::LogFormat::json;
    std::optional<config::Tracing> tracing;
    std::string zone;
    std::uint64_t max_memory = 0;  ///< as written
    std::uint32_t workers = 1;     ///< that limits are divided by

    /// The first route in file order all of whose conditions hold, or nullopt. Cost: see RouteTable.
    [[nodiscard]] std::optional<RouteIndex> match(const RequestView& request) const { return table_.match(request); }
    /// The same when only host and target (path, or path and query) are known.
    [[nodiscard]] std::optional<RouteIndex> match(std::string_view host, std::string_view path) const;
    /// What routes ask for beyond host and plain path, in file order.
    [[nodiscard]] const std::vector<Conditions>& conditions() const { return table_.conditions(); }
    /// The first TCP route of that listener that takes `sni` (empty = the client named none, or spoke no TLS), or null.
    [[nodiscard]] const TcpRoute* match_tcp(std::string_view listener, std::string_view sni) const;
    /// The page to send instead of our own text: the route's, else the global one, else null. `route` may be null.
    [[nodiscard]] const ErrorPage* error_page(const Route* route, std::uint16_t status) const;
    [[nodiscard]] const Pool& pool(PoolIndex index) const { return pools[index.value]; }
    [[nodiscard]] const Route& route(RouteIndex index) const { return routes[index.value]; }
    /// Size needed for per-endpoint state: one more than the largest endpoint id.
    std::uint32_t endpoint_ids = 0;
    std::uint32_t pool_ids = 0;
    std::uint32_t route_ids = 0;
    std::uint32_t rate_limit_ids = 0;

private:
    friend class Compiler;
    /// The TCP routes of one listener.
    struct TcpTable {
        std::string listener;
        std::vector<TcpRoute> routes;
        HostTable hosts;                         ///< to a position in `first`
        std::vector<std::uint32_t> first;        ///< first route of that pattern
        std::uint32_t any = WordTable::missing;  ///< first route that takes every connection
    };
    RouteTable table_;
    std::vector<TcpTable> tcp_;
};

/// Compiles a config that parsed without errors. `workers` divides per-endpoint and pool-wide limits (each worker gets
/// its part, rounded up). Cannot fail: what could be wrong is a finding of config::parse or check. `previous`, if
/// given, lends what is dear to build and has not changed: hash tables.
[[nodiscard]] std::shared_ptr<const Snapshot> compile(const config::Config& config, RevisionNumber revision,
                                                      Identities& identities, std::uint32_t workers,
                                                      const Snapshot* previous = nullptr);

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
