#include "control/prober.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

namespace plimsoll::control {

namespace {

using balance::Entry;
using balance::Health;

/// How often we look whether we are late: half of what counts.
constexpr Duration heartbeat = std::chrono::milliseconds(100);
/// Starvation is over when nothing was discarded for this long.
constexpr Duration recovered_after = std::chrono::seconds(10);
constexpr Duration shown_lateness = std::chrono::minutes(1);

std::string host_part(const std::string& host) {
    const auto colon = host.rfind(':');
    return colon == std::string::npos || host.ends_with(']') ? host : host.substr(0, colon);
}

}  // namespace

bool too_many_fall(std::size_t endpoints, std::size_t up, std::size_t fall, double panic_threshold) {
    if (fall == 0) return false;
    if (fall >= up) return true;
    const double may = std::floor(static_cast<double>(endpoints) * (1 - std::clamp(panic_threshold, 0.0, 1.0)) + 1e-9);
    return fall > std::max<std::size_t>(1, static_cast<std::size_t>(may));
}

Prober::Prober(net::Network& network, std::uint64_t seed, Changed changed)
    : network_(network), random_(seed), changed_(std::move(changed)), turns_(network) {
    scope_.spawn(watch_ourselves());
}

// ---- who is checked, and how ---------------------------------------------------------------------------------------

Way Prober::way_to(const snapshot::Snapshot& snapshot, const snapshot::Pool& pool, const snapshot::Endpoint& endpoint,
                   const net::Address& address) const {
    Way way;
    way.address = address;
    way.http2 = pool.protocol == config::PoolProtocol::http2;
    way.proxy_protocol = pool.proxy_protocol;
    if (!pool.tls) return way;
    if (tls_of_) way.tls = tls_of_(snapshot, pool);
    way.server_name = snapshot::tls_name(pool, endpoint);
    if (way.server_name.empty() && pool.health) way.server_name = host_part(pool.health->host);
    if (way.server_name.empty()) way.server_name = endpoint.address.host;
    return way;
}

/// The target that counts for an endpoint: as it is, if nothing about it changed; else a new one that takes over what
/// is known. What the same check found out on trial is what it would say now.
std::shared_ptr<Prober::Target> Prober::live(Target wanted) {
    const auto known = targets_.find(wanted.id);
    if (known != targets_.end() && known->second->check == wanted.check && known->second->way == wanted.way)
        return known->second;
    const Health before = health(wanted.id);
    wanted.was_there = known != targets_.end() ? known->second->was_there : !started_;
    if (known != targets_.end()) {
        wanted.state = known->second->state;
        wanted.state.streak = 0;
    } else if (unchecked_.contains(wanted.id)) {
        wanted.state.health = Health::up;  // it served until now: `fall` bad answers take it down, not the first
    }
    if (const auto tried = trials_.find(wanted.id); tried != trials_.end() && tried->second->check == wanted.check &&
                                                    tried->second->way == wanted.way &&
                                                    tried->second->state.health != Health::unknown) {
        wanted.state = tried->second->state;
        wanted.why = tried->second->why;
    }
    auto target = std::make_shared<Target>(std::move(wanted));
    if (target->state.health != before && target->state.health != Health::unknown)
        changed_(target->id, target->state.health, Entry::slowly, "by the new check: " + target->why);
    return target;
}

void Prober::watch(const std::vector<const snapshot::Snapshot*>& snapshots) {
    Targets wanted, on_trial;
    std::map<EndpointId, Health> unchecked;
    std::vector<TrialPool> pools;
    for (const snapshot::Snapshot* snapshot : snapshots) {
        if (snapshot == nullptr) continue;
        for (const snapshot::Pool& pool : snapshot->pools) {
            TrialPool trial{pool.name, pool.facts.panic_threshold, {}};
            bool tried = false;
            for (std::size_t i = 0; i < pool.endpoints.size(); ++i) {
                const snapshot::Endpoint& endpoint = pool.endpoints[i];
                const auto address = net::Address::ip(endpoint.address.host, endpoint.address.port);
                if (!address) continue;  // config::parse takes literal addresses only
                if (pool.facts.members[i].weight > 0) trial.endpoints.push_back(endpoint.id);
                const bool decided = wanted.contains(endpoint.id) || unchecked.contains(endpoint.id);
                if (!pool.health) {
                    if (!decided) unchecked.emplace(endpoint.id, Health::up);
                    continue;
                }
                Target target{endpoint.id, way_to(*snapshot, pool, endpoint, *address), *pool.health};
                if (!decided) {
                    wanted.emplace(endpoint.id, live(std::move(target)));
                    continue;
                }
                const auto counts = wanted.find(endpoint.id);
                if (counts != wanted.end() && counts->second->check == target.check &&
                    counts->second->way == target.way)
                    continue;
                target.trial = tried = true;
                const auto running = trials_.find(endpoint.id);
                const bool same = running != trials_.end() && running->second->check == target.check &&
                                  running->second->way == target.way;
                on_trial.emplace(endpoint.id, same ? running->second : std::make_shared<Target>(std::move(target)));
            }
            if (tried) pools.push_back(std::move(trial));
        }
    }
    for (const auto& [id, health_now] : unchecked)
        if (!unchecked_.contains(id) && health(id) != Health::up)
            changed_(id, health_now, started_ ? Entry::slowly : Entry::at_once, "not checked");
    const Targets before = std::exchange(targets_, std::move(wanted));
    const Targets trials_before = std::exchange(trials_, std::move(on_trial));
    unchecked_ = std::move(unchecked);
    trial_pools_ = std::move(pools);
    begin(targets_, before);
    begin(trials_, trials_before);
}

void Prober::begin(const Targets& now, const Targets& before) {
    for (const auto& [id, target] : before) {
        const auto still = now.find(id);
        if (still == now.end() || still->second != target) target->wanted = false;
    }
    for (const auto& [id, target] : now) {
        const auto already = before.find(id);
        if (already == before.end() || already->second != target) scope_.spawn(probe_loop(target));
    }
}

Health Prober::health(EndpointId id) const {
    if (const auto target = targets_.find(id); target != targets_.end()) return target->second->state.health;
    return unchecked_.contains(id) ? Health::up : Health::unknown;
}

// ---- probing -------------------------------------------------------------------------------------------------------

async::Task<void> Prober::probe_loop(std::shared_ptr<Target> target) {
    bool first = true;
    while (target->wanted) {
        // A place is handed on by who leaves it, so those who wait are served in their order.
        if (figures_.running >= max_probes_at_once) {
            ++figures_.waited;
            static_cast<void>(co_await turns_.wait(net::Deadline::none()));
        } else {
            ++figures_.running;
        }
        if (!target->wanted) {
            leave();
            co_return;
        }
        const Instant started = network_.now();
        ++figures_.run;
        const ProbeResult result = co_await probe(network_, target->way, target->check,
                                                  async::Deadline::after(started, target->check.timeout));
        leave();
        if (!target->wanted) co_return;
        settle(*target, result, started);
        // New endpoints are asked at once, then each at a moment of its own: probes of many do not march in step.
        const double jitter = target->check.jitter * (2 * random_.uniform() - 1);
        const double share = std::exchange(first, false) ? random_.uniform() : 1 + jitter;
        co_await network_.sleep_until(started + from_seconds(seconds(target->check.interval) * share));
    }
}

void Prober::leave() {
    if (!turns_.wake_one()) --figures_.running;
}

async::Task<void> Prober::watch_ourselves() {
    while (true) {
        const Instant expected = network_.now() + heartbeat;
        lateness_.expect(expected);
        co_await network_.sleep_until(expected);
        lateness_.ran(expected, network_.now());
        if (said_starved_ && network_.now() - starved_at_ > recovered_after) {
            said_starved_ = false;
            spdlog::info("health checks count again; {} results were discarded so far", figures_.discarded);
        }
    }
}

void Prober::settle(Target& target, const ProbeResult& result, Instant started) {
    const Instant now = network_.now();
    switch (result.kind) {
        case ProbeResult::Kind::good: ++figures_.good; break;
        case ProbeResult::Kind::bad:
            if (lateness_.spoils(started, now, target.check.timeout)) {
                ++figures_.discarded;
                return say_starved(
                    "our own loop runs late");  // want of time makes a good answer bad, never a bad one good
            }
            ++figures_.bad;
            break;
        case ProbeResult::Kind::no_descriptors:
            ++figures_.no_descriptors;
            ++figures_.discarded;
            return say_starved(result.why);
        case ProbeResult::Kind::ours: ++figures_.discarded; return;
    }
    target.why = result.why;
    const bool good = result.kind == ProbeResult::Kind::good;
    const bool first = target.state.health == Health::unknown;
    if (balance::probe_result(target.state, good, target.check.rise, target.check.fall) && !target.trial)
        changed_(target.id, target.state.health, first && good && target.was_there ? Entry::at_once : Entry::slowly,
                 result.why);
}

void Prober::say_starved(const std::string& why) {
    starved_at_ = network_.now();
    if (std::exchange(said_starved_, true)) return;
    spdlog::warn("health checks do not count for the moment, health stays as it is: {}", why);
}

// ---- what is seen --------------------------------------------------------------------------------------------------

std::vector<CheckTrial> Prober::trials() const {
    std::vector<CheckTrial> all;
    for (const TrialPool& pool : trial_pools_) {
        CheckTrial& trial = all.emplace_back();
        trial.pool = pool.name;
        trial.endpoints = pool.endpoints.size();
        for (const EndpointId id : pool.endpoints) {
            const bool is_up = health(id) == Health::up;
            const auto live = targets_.find(id);
            // One whose last answers were bad may be on its way down whatever it is asked.
            const bool well = is_up && (live == targets_.end() || live->second->state.streak == 0);
            const auto tried = trials_.find(id);
            if (is_up) ++trial.up;
            if (tried == trials_.end() || tried->second->state.health == Health::unknown) continue;
            ++trial.asked;
            if (!well || tried->second->state.health != Health::down) continue;
            ++trial.fall;
            trial.why = tried->second->why;
        }
        trial.too_many = too_many_fall(trial.endpoints, trial.up, trial.fall, pool.panic_threshold);
    }
    return all;
}

ProbeFigures Prober::figures() const {
    ProbeFigures figures = figures_;
    const Instant now = network_.now();
    figures.waiting = turns_.size();
    figures.watched = targets_.size();
    figures.on_trial = trials_.size();
    figures.starved = now - starved_at_ <= recovered_after;
    figures.worst_lateness = lateness_.worst(now - shown_lateness);
    return figures;
}

}  // namespace plimsoll::control
