// From what an operator may write to what a worker needs.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/hash.h"
#include "snapshot/compile_actions.h"
#include "snapshot/compile_pool.h"
#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

/// One run of compile.
class Compiler {
public:
    Compiler(const config::Config& config, Identities& identities, std::uint32_t workers, const Snapshot* previous)
        : config_(config), identities_(identities), previous_(previous), made_(std::make_shared<Snapshot>()) {
        made_->workers = std::max<std::uint32_t>(workers, 1);
    }
    std::shared_ptr<const Snapshot> run(RevisionNumber revision);

private:
    using Labels = std::map<std::string, std::string>;
    struct Chosen {
        std::shared_ptr<const balance::Subset> subset;
        std::uint32_t size = 0;
    };
    void settings();
    void pools();
    void routes();
    void tcp();
    [[nodiscard]] PoolIndex pool_called(std::string_view name) const;
    [[nodiscard]] std::vector<Target> targets(const config::Route& written);
    [[nodiscard]] Chosen subset(PoolIndex pool, const Labels& labels);

    const config::Config& config_;
    Identities& identities_;
    const Snapshot* previous_;
    std::shared_ptr<Snapshot> made_;
    std::unordered_map<std::string_view, PoolIndex> pool_of_;
    /// Routes with the same labels share one: thousands of them over thousands of endpoints would not fit.
    std::map<std::pair<std::uint32_t, Labels>, Chosen> subsets_;
};

void Compiler::settings() {
    made_->digest = config::digest(config_);
    made_->listeners = config_.listeners;
    made_->certificates = config_.certificates;
    made_->error_pages = compile_pages(config_.error_pages);
    made_->access_log = config_.access_log;
    made_->access_log_format = config_.access_log_format;
    made_->tracing = config_.tracing;
    made_->zone = config_.zone;
    made_->max_memory = config_.max_memory;
}

void Compiler::pools() {
    std::unordered_map<PoolId, const Pool*> before;
    if (previous_ != nullptr) {
        for (const Pool& pool : previous_->pools) before.emplace(pool.id, &pool);
    }
    made_->pools.reserve(config_.pools.size());
    for (const auto& written : config_.pools) {
        pool_of_.emplace(written.name, PoolIndex{static_cast<std::uint32_t>(made_->pools.size())});
        const auto was = before.find(identities_.pool(written.name));
        made_->pools.push_back(compile_pool(written, {config_.zone, config_.zone_traffic}, identities_, made_->workers,
                                            was == before.end() ? nullptr : was->second));
    }
}

PoolIndex Compiler::pool_called(std::string_view name) const {
    const auto pool = pool_of_.find(name);
    PLIMSOLL_ENSURE(pool != pool_of_.end(), "a route names a pool that does not exist; parse() refuses that");
    return pool->second;
}

Compiler::Chosen Compiler::subset(PoolIndex pool, const Labels& labels) {
    if (labels.empty()) return {};
    const auto [known, is_new] = subsets_.try_emplace({pool.value, labels});
    if (!is_new) return known->second;
    const auto& endpoints = config_.pools[pool.value].endpoints;
    std::vector<EndpointIndex> chosen;
    for (std::uint32_t i = 0; i < endpoints.size(); ++i) {
        const bool has_all = std::ranges::all_of(labels, [&](const auto& label) {
            const auto found = endpoints[i].labels.find(label.first);
            return found != endpoints[i].labels.end() && found->second == label.second;
        });
        if (has_all) chosen.push_back({i});
    }
    known->second = {std::make_shared<const balance::Subset>(chosen, endpoints.size()),
                     static_cast<std::uint32_t>(chosen.size())};
    return known->second;
}

std::vector<Target> Compiler::targets(const config::Route& written) {
    std::vector<Target> made;
    const auto add = [&](std::string_view name, double upto) {
        const PoolIndex pool = pool_called(name);
        Chosen chosen = subset(pool, written.subset);
        made_->pools[pool.value].by_subset |= chosen.subset != nullptr;
        made.push_back({pool, upto, std::move(chosen.subset), chosen.size});
    };
    if (written.redirect || written.respond) return made;
    if (written.split.empty()) {
        add(written.pool, 1);
        return made;
    }
    double sum = 0, upto = 0;
    for (const config::Target& part : written.split) sum += std::max(part.weight, 0.0);
    for (const config::Target& part : written.split) {
        upto += sum > 0 ? std::max(part.weight, 0.0) / sum : 1.0 / static_cast<double>(written.split.size());
        add(part.pool, upto);
    }
    // Rounding must not leave a gap below 1, nor give it to a part of weight 0.
    const double last = made.back().upto;
    for (Target& target : made) {
        if (target.upto == last) target.upto = 1;
    }
    return made;
}

void Compiler::routes() {
    const auto plain = std::make_shared<const Actions>();
    made_->routes.reserve(config_.routes.size());
    for (const auto& written : config_.routes) {
        Route& route = made_->routes.emplace_back();
        route.id = identities_.route(written.name);
        route.name = written.name;
        route.match = written.match;
        route.targets = targets(written);
        if (!route.targets.empty()) route.pool = route.targets.front().pool;
        route.timeout = written.timeout;
        ActionPools pools;
        if (written.mirror) pools.mirror = pool_called(written.mirror->pool);
        if (written.auth) pools.auth = pool_called(written.auth->pool);
        route.actions = compile_actions(written, pools, identities_);
        if (route.actions == nullptr) route.actions = plain;
    }
    made_->table_ = RouteTable(config_.routes);
}

void Compiler::tcp() {
    for (const config::Listener& listener : config_.listeners) {
        if (listener.protocol != config::Protocol::tcp) continue;
        Snapshot::TcpTable& table = made_->tcp_.emplace_back();
        table.listener = listener.name;
        for (const config::TcpRoute& written : listener.tcp) {
            const auto at = static_cast<std::uint32_t>(table.routes.size());
            const bool any = written.sni.empty() || written.sni == "*";
            // Names of routes have no '@', so the two cannot be confused.
            std::string name = fmt::format("{}@{}", any ? "*" : written.sni, listener.name);
            const RouteId id = identities_.route(name);
            table.routes.push_back({id, std::move(name), written.sni, pool_called(written.pool)});
            if (any) {
                table.any = std::min(table.any, at);
            } else if (table.hosts.add(written.sni, static_cast<std::uint32_t>(table.first.size())) ==
                       table.first.size()) {
                table.first.push_back(at);
            }
        }
    }
}

std::shared_ptr<const Snapshot> Compiler::run(RevisionNumber revision) {
    made_->revision = revision;
    settings();
    pools();
    routes();
    tcp();
    made_->endpoint_ids = static_cast<std::uint32_t>(identities_.endpoints());
    made_->pool_ids = static_cast<std::uint32_t>(identities_.pools());
    made_->route_ids = static_cast<std::uint32_t>(identities_.routes());
    made_->rate_limit_ids = static_cast<std::uint32_t>(identities_.rate_limits());
    return made_;
}

std::shared_ptr<const Snapshot> compile(const config::Config& config, RevisionNumber revision, Identities& identities,
                                        std::uint32_t workers, const Snapshot* previous) {
    return Compiler(config, identities, workers, previous).run(revision);
}

Arm choose_arm(const Resident& resident, std::uint64_t affinity_key, Instant now) {
    if (!resident.candidate || now >= resident.lease) return Arm::active;
    return unit_interval(keyed_hash(affinity_key, resident.arm_key)) < resident.share.value ? Arm::candidate
                                                                                            : Arm::active;
}

}  // namespace plimsoll::snapshot
