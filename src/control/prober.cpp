#include "control/prober.h"

#include <fmt/format.h>

#include "http/client.h"

namespace plimsoll::control {

Prober::Prober(net::Network& network, std::uint64_t seed,
               std::function<void(EndpointId, balance::Health, const std::string&)> changed)
    : network_(network), random_(seed), changed_(std::move(changed)) {}

void Prober::watch(const std::vector<const snapshot::Snapshot*>& snapshots) {
    std::map<EndpointId, std::shared_ptr<Target>> wanted;
    for (const snapshot::Snapshot* snapshot : snapshots) {
        if (snapshot == nullptr) continue;
        for (const snapshot::Pool& pool : snapshot->pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                if (!pool.health) {
                    if (!unchecked_.contains(endpoint.id)) changed_(endpoint.id, balance::Health::up, "not checked");
                    unchecked_[endpoint.id] = balance::Health::up;
                    continue;
                }
                unchecked_.erase(endpoint.id);
                const auto address = net::Address::ip(endpoint.address.host, endpoint.address.port);
                if (!address) continue;  // config::parse takes literal addresses only
                auto& target = wanted[endpoint.id];
                if (const auto known = targets_.find(endpoint.id); known != targets_.end()) {
                    target = known->second;
                    target->name = endpoint.name;
                    target->check = *pool.health;
                } else {
                    target = std::make_shared<Target>(Target{endpoint.id, endpoint.name, *address, *pool.health, {}});
                }
            }
        }
    }
    for (const auto& [id, target] : targets_)
        if (!wanted.contains(id)) target->wanted = false;
    const auto before = std::exchange(targets_, std::move(wanted));
    for (const auto& [id, target] : targets_)
        if (!before.contains(id)) scope_.spawn(probe_loop(target));
}

balance::Health Prober::health(EndpointId id) const {
    if (const auto target = targets_.find(id); target != targets_.end()) return target->second->state.health;
    return unchecked_.contains(id) ? balance::Health::up : balance::Health::unknown;
}

async::Task<void> Prober::probe_loop(std::shared_ptr<Target> target) {
    while (target->wanted) {
        const Instant started = network_.now();
        http::Request request;
        request.path = target->check.path;
        request.headers.add("user-agent", "plimsoll-health");
        const auto answer = co_await http::fetch(network_, target->address, std::move(request),
                                                 async::Deadline::after(started, target->check.timeout));
        if (!target->wanted) co_return;
        if (answer) {
            const bool good = answer->status == target->check.expect_status;
            settle(*target, good, fmt::format("{} answered {}", target->check.path, answer->status));
        } else if (answer.error().side == Side::upstream) {
            settle(*target, false, answer.error().detail);
        }
        // A tenth of jitter either way, so that probes of many endpoints do not march in step.
        const Duration pause = from_seconds(seconds(target->check.interval) * (0.9 + 0.2 * random_.uniform()));
        co_await network_.sleep_until(started + pause);
    }
}

void Prober::settle(Target& target, bool good, const std::string& why) {
    if (balance::probe_result(target.state, good, target.check.rise, target.check.fall))
        changed_(target.id, target.state.health, why);
}

}  // namespace plimsoll::control
