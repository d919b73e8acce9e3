// Prober: active health checks of every endpoint of the resident revisions. Results go through the pure
// balance::probe_result; a change of health is told to the workers. State belongs to the endpoint's identity and
// survives every change of configuration. Failures of our own (no descriptors) are not held against an endpoint.
// Thread rule: control's thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "balance/balance.h"
#include "base/ids.h"
#include "base/random.h"
#include "config/config.h"
#include "net/network.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

class Prober {
public:
    /// `changed` is called with every change of an endpoint's health, and `why` for people.
    Prober(net::Network& network, std::uint64_t seed,
           std::function<void(EndpointId, balance::Health, const std::string& why)> changed);

    /// Checks the endpoints of these snapshots from now on, and no others. An endpoint that stays keeps its state; a
    /// check that changed applies from the next probe on. Null snapshots are left out.
    void watch(const std::vector<const snapshot::Snapshot*>& snapshots);

    [[nodiscard]] balance::Health health(EndpointId id) const;
    /// Endpoints whose checks run.
    [[nodiscard]] std::size_t watched() const { return targets_.size(); }

private:
    struct Target {
        EndpointId id;
        std::string name;
        net::Address address;
        config::HealthCheck check;
        balance::ProbeState state;
        bool wanted = true;
    };
    async::Task<void> probe_loop(std::shared_ptr<Target> target);
    void settle(Target& target, bool good, const std::string& why);

    net::Network& network_;
    Random random_;
    std::function<void(EndpointId, balance::Health, const std::string&)> changed_;
    std::map<EndpointId, std::shared_ptr<Target>> targets_;
    std::map<EndpointId, balance::Health> unchecked_;  ///< pools without checks: up as long as passive health allows
    async::Scope scope_;                               ///< last: its tasks use all of the above
};

}  // namespace plimsoll::control
