// Prober: active health checks of every endpoint of the resident revisions. Results go through the pure
// balance::probe_result; a change of health is told to the workers. State belongs to the endpoint's identity and
// survives every change of configuration.
//   What is our own fault is not held against an endpoint: no descriptors, or a loop that ran late (starvation.h).
//   A candidate's check that differs from the active revision's runs beside it, on trial: it decides nothing until that
//   revision is active (docs/decisions/0009).
// Thread rule: control's thread.
#pragma once

#include <cstddef>
#include <cstdint>
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
#include "control/probe.h"
#include "control/starvation.h"
#include "net/network.h"
#include "net/parking.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

/// Probes under way at once, over all pools: a descriptor each, and what the loop can begin in one turn without being
/// late for anything else. Others wait their turn.
inline constexpr std::size_t max_probes_at_once = 256;

/// What a check on trial says about a pool.
struct CheckTrial {
    std::string pool;
    std::size_t endpoints = 0;  ///< of the pool, with a weight
    std::size_t up = 0;         ///< by the check that counts now
    std::size_t asked = 0;      ///< have answered the check on trial
    std::size_t fall = 0;       ///< up now, and down by the check on trial
    bool too_many = false;      ///< see too_many_fall
    std::string why;            ///< what one of those that fall answered
};
/// Whether a new check takes too many down: all that are up, or more than the pool can lose before it panics (but one
/// may always fall, if others are up).
[[nodiscard]] bool too_many_fall(std::size_t endpoints, std::size_t up, std::size_t fall, double panic_threshold);

/// Counters since the start, gauges of now.
struct ProbeFigures {
    std::uint64_t run = 0, good = 0, bad = 0;
    std::uint64_t discarded = 0;       ///< bad results that came while we were starved; they did not count
    std::uint64_t no_descriptors = 0;  ///< probes that could not begin for want of a descriptor or port
    std::uint64_t waited = 0;          ///< probes that had to wait because max_probes_at_once ran
    std::size_t running = 0, waiting = 0, watched = 0, on_trial = 0;
    bool starved = false;       ///< a result was discarded within the last ten seconds: health stands still
    Duration worst_lateness{};  ///< of our loop, of the last minute
};

class Prober {
public:
    using Changed = std::function<void(EndpointId, balance::Health, balance::Entry, const std::string& why)>;
    using TlsOf =
        std::function<std::shared_ptr<const tls::ClientContext>(const snapshot::Snapshot&, const snapshot::Pool&)>;
    /// `changed` is called with every change of an endpoint's health, how it enters if it comes up, and `why` for
    /// people.
    Prober(net::Network& network, std::uint64_t seed, Changed changed);
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    /// Where TLS contexts of pools come from. Without: pools with `tls` are probed in plain, which fails.
    void set_tls(TlsOf tls_of) { tls_of_ = std::move(tls_of); }

    /// Checks the endpoints of these snapshots from now on, and no others; the first (active) revision that has an
    /// endpoint says how. An endpoint that stays keeps its state. Null snapshots are left out.
    void watch(const std::vector<const snapshot::Snapshot*>& snapshots);

    /// Who is watched by now was there when we came: up at its first look, it has served all along and is warm. Who
    /// comes later, or is seen down once, comes up slowly.
    void started() { started_ = true; }

    [[nodiscard]] balance::Health health(EndpointId id) const;
    /// Endpoints whose checks run.
    [[nodiscard]] std::size_t watched() const { return targets_.size(); }
    /// Pools whose check is on trial.
    [[nodiscard]] std::vector<CheckTrial> trials() const;
    [[nodiscard]] ProbeFigures figures() const;

private:
    struct Target {
        EndpointId id;
        Way way;
        config::HealthCheck check;
        balance::ProbeState state{};
        std::string why{};  ///< of the last result that counted
        bool trial = false;
        bool wanted = true;
        bool was_there = false;  ///< since before started()
    };
    using Targets = std::map<EndpointId, std::shared_ptr<Target>>;
    struct TrialPool {
        std::string name;
        double panic_threshold = 0;
        std::vector<EndpointId> endpoints;
    };
    [[nodiscard]] Way way_to(const snapshot::Snapshot& snapshot, const snapshot::Pool& pool,
                             const snapshot::Endpoint& endpoint, const net::Address& address) const;
    [[nodiscard]] std::shared_ptr<Target> live(Target wanted);
    void begin(const Targets& now, const Targets& before);
    async::Task<void> probe_loop(std::shared_ptr<Target> target);
    async::Task<void> watch_ourselves();
    void settle(Target& target, const ProbeResult& result, Instant started);
    void leave();
    void say_starved(const std::string& why);

    net::Network& network_;
    Random random_;
    Changed changed_;
    TlsOf tls_of_;
    Targets targets_, trials_;
    std::vector<TrialPool> trial_pools_;
    std::map<EndpointId, balance::Health> unchecked_;  ///< pools without checks: up as long as passive health allows
    Lateness lateness_;
    ProbeFigures figures_;
    Instant starved_at_{INT64_MIN / 2};
    bool said_starved_ = false;
    bool started_ = false;
    net::Parking turns_;
    async::Scope scope_;  ///< last: its tasks use all of the above
};

}  // namespace plimsoll::control
