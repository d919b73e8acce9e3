// The way back: capacity checked, one pointer per worker, recovery measured and proven.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/exit_code.h"
#include "rollout/machine.h"

namespace plimsoll::rollout {
namespace {

/// Requests within the recovery window before it proves anything.
constexpr std::uint64_t recovery_needs = 20;
/// Error rate and slow fraction that count as "as before" when too little of the past is known.
constexpr double least_error_rate = 0.001;
constexpr double slow_fraction = 0.02;  ///< beyond 1.5 x the past's p99: twice the 1 % beyond the p99 itself
constexpr double share_distance = 0.2;  ///< total variation between picks and expected shares
constexpr std::uint64_t past_needs = 200;

/// Busiest endpoint if the old revision had all traffic now; infinite when it has nobody to send it to.
double load_of_old(const State& state) {
    double expected = 0;
    for (const judge::EndpointFacts& e : state.endpoints) expected += e.expected_active;
    if (!state.endpoints.empty() && !(expected > 0)) return std::numeric_limits<double>::infinity();
    return judge::hottest(judge::projected_utilisation(state.endpoints, state.rate, Share{0})).utilisation;
}

/// Going back now would do more harm than staying: some server of the old revision would be overloaded, more than any
/// is now, and what that loses is more than what the candidate fails.
bool back_is_worse(const State& state) {
    const double old = load_of_old(state);
    const double present =
        judge::hottest(judge::projected_utilisation(state.endpoints, state.rate, state.share)).utilisation;
    if (!(old > 1) || old <= present + 0.05) return false;
    const judge::StepCounts c = state.trial.counts();
    const double failing =
        c.requests[1] == 0 ? 0 : static_cast<double>(c.failed[1]) / static_cast<double>(c.requests[1]);
    return state.share.value * failing < 1 - 1 / old;
}

/// Smallest share of the candidate at which no server is projected above its capacity; the present one if there is
/// none.
Share least_safe_share(const State& state) {
    for (double f = 0; f < state.share.value; f += 0.01)
        if (judge::hottest(judge::projected_utilisation(state.endpoints, state.rate, Share{f})).utilisation <= 1)
            return Share{f};
    return state.share;
}

bool within(std::uint64_t count, double expected) {
    return static_cast<double>(count) <= expected + 3 * std::sqrt(expected) + 1;
}

/// Distance between where requests went and where they should; 0 when too few went to say.
double unevenness(const measure::Tally& recent, const std::vector<judge::EndpointFacts>& endpoints, double& noise) {
    double all = 0, expected = 0;
    std::vector<double> picks;
    for (const judge::EndpointFacts& e : endpoints) {
        if (!e.comparable) continue;
        picks.push_back(static_cast<double>(recent.arms[0].endpoints[e.id.value].picks));
        all += picks.back();
        expected += e.expected_active;
    }
    if (!(all > 0) || !(expected > 0)) return 0;
    double distance = 0;
    std::size_t i = 0;
    for (const judge::EndpointFacts& e : endpoints)
        if (e.comparable) distance += std::abs(picks[i++] / all - e.expected_active / expected) / 2;
    noise = 1.5 * std::sqrt(static_cast<double>(picks.size()) / (6.28 * all));
    return distance;
}

/// Whether what was measured since everything went back looks like the past; says what it looked at.
bool in_base_band(const State& state, const measure::Tally& recent, std::string& text) {
    const measure::RouteTally all = recent.arms[0].all_routes();
    const std::uint64_t by_candidate = recent.arms[1].all_routes().requests;
    const double n = static_cast<double>(all.requests);
    const judge::Baseline& past = state.baseline;
    const bool errors = within(all.failed, n * std::max(past.error_rate(), least_error_rate));
    bool latency = true;
    if (past.total.count() >= past_needs) {
        const Duration p99 = past.total.quantile(0.99);
        const std::size_t border = measure::Histogram::bucket(p99 + p99 / 2);
        latency = within(all.total.at_least(border) + all.waiting.at_least(border), n * slow_fraction);
    }
    double noise = 0;
    const double distance = unevenness(recent, state.endpoints, noise);
    const bool shares = distance <= share_distance + noise;
    const bool left = within(by_candidate, 0.01 * n);  // requests that began before the way back may still end
    text = fmt::format("{} failed of {} ({} before), p99 {:.1f} ms ({:.1f} before), {} from the expected shares",
                       all.failed, all.requests, percent(past.error_rate()), milliseconds(all.total.quantile(0.99)),
                       milliseconds(past.total.quantile(0.99)), percent(distance));
    return errors && latency && shares && left;
}

}  // namespace

void Machine::account_for(const measure::Tally& window) {
    if (window.to <= state.account.t0) return;
    Account& a = state.account;
    const std::size_t slow = measure::Histogram::bucket(a.slow_threshold);
    for (std::size_t arm = 0; arm < 2; ++arm) {
        const measure::RouteTally all = window.arms[arm].all_routes();
        a.requests += all.requests;
        a.failed += all.failed;
        if (a.slow_threshold > Duration{}) a.slow += all.total.at_least(slow);
        if (arm == 1) {
            a.candidate_requests += all.requests;
            a.candidate_failed += all.failed;
        }
    }
    a.expected_failed = state.baseline.error_rate() * static_cast<double>(a.requests);
}

void Machine::undo(Undoing undoing, std::string_view detected_by, Instant detected, std::string cause) {
    state.paused = false;
    Account& account = state.account;
    account.detected = detected;
    account.detected_by = std::string(detected_by);
    if (!cause.empty()) account.cause_named = now;
    account.cause = std::move(cause);
    if (!state.took_traffic) {
        if (std::holds_alternative<Shadow>(state.stage))
            effects.emplace_back(Uninstall{.to = state.proposal.base, .reason = undoing.reason});
        const bool interrupted = undoing.ending == Ending::interrupted;
        finish(undoing.ending, interrupted ? exit_code::error : exit_code::rejected, false,
               fmt::format("{} before it took traffic, in {}: {}", name(undoing.ending), name(stage_of(state)),
                           undoing.reason));
        return;
    }
    say(Level::key, fmt::format("{} goes back: {}", revision_name(), undoing.reason));
    enter(std::move(undoing));
    if (back_is_worse(state)) {
        std::get<Undoing>(state.stage).waiting = true;
        const double old = load_of_old(state);
        const Share least = least_safe_share(state);
        say(Level::page,
            fmt::format("r{} cannot carry the load now: a server would be at {:.2f} of its capacity; {} stays "
                        "on {} until it can",
                        state.proposal.base.value, old, percent(least.value), revision_name()));
        install(least, false);
        return;
    }
    leave();
}

void Machine::leave() {
    Undoing& undoing = std::get<Undoing>(state.stage);
    undoing.waiting = false;
    state.entered = now;
    journal("undoing", undoing.reason);
    const auto loads = judge::projected_utilisation(state.endpoints, state.rate, Share{0});
    if (const judge::Hottest hot = judge::hottest(loads); hot.position >= 0)
        say(hot.utilisation > 1 ? Level::warning : Level::detail,
            fmt::format("rollback checked: r{} puts {} at {:.2f} of its capacity", state.proposal.base.value,
                        state.endpoints[static_cast<std::size_t>(hot.position)].name, hot.utilisation));
    state.share = Share{0};
    effects.emplace_back(Uninstall{.to = state.proposal.base, .reason = undoing.reason});
}

void Machine::measure_undoing(const Measured& measured) {
    if (!std::get<Undoing>(state.stage).waiting) return;
    state.trial.observe(measured.window, measured.endpoints);
    if (!back_is_worse(state)) leave();
}

void Machine::measure_verifying(const Measured& measured) {
    Verifying& verifying = std::get<Verifying>(state.stage);
    if (measured.window.from < state.account.rolled_back) return;
    measure::extend(verifying.recent, measured.window);
    if (state.account.candidate_requests == 0) {
        verifying.text = "the candidate served nobody";
    } else if (!in_base_band(state, verifying.recent, verifying.text)) {
        verifying.good_since = measured.window.to;
        verifying.recent = {};
        return;
    } else if (measured.window.to - verifying.good_since < state.proposal.guard.recovery_window ||
               verifying.recent.arms[0].all_routes().requests < recovery_needs) {
        return;
    }
    state.account.recovered = measured.window.to;
    const Undoing undone = verifying.undone;
    effects.emplace_back(RecoveryMeasured{.proven = true, .text = verifying.text});
    say(Level::key, fmt::format("recovered: {}", verifying.text));
    const bool interrupted = undone.ending == Ending::interrupted;
    finish(undone.ending, interrupted ? exit_code::error : exit_code::rolled_back, undone.for_harm,
           fmt::format("{} {}, recovery proven: {}; {}", revision_name(),
                       undone.ending == Ending::aborted ? "aborted" : "rolled back", undone.reason,
                       harm_text(state.account)));
}

void Machine::verifying_deadline() {
    const Duration waited = now - state.entered;
    if (auto* undoing = std::get_if<Undoing>(&state.stage)) {
        if (undoing->waiting) {
            if (waited >= state.proposal.guard.max_step) leave();
            return;
        }
        // By now every lease has run out, so workers that are alive went back by themselves; the measurement tells.
        if (waited < install_limit) return;
        say(Level::page, "not all workers acknowledged the way back; their leases have run out");
        const Undoing undone = *undoing;
        state.account.rolled_back = now;
        enter(Verifying{.undone = undone, .good_since = now, .recent = {}, .text = {}});
        return;
    }
    const Verifying& verifying = std::get<Verifying>(state.stage);
    if (waited < state.proposal.guard.recovery_window + recovery_limit) return;
    const std::string seen = verifying.text.empty() ? "nothing was measured" : verifying.text;
    effects.emplace_back(RecoveryMeasured{.proven = false, .text = seen});
    const Undoing undone = verifying.undone;
    finish(undone.ending, exit_code::unverified, undone.for_harm,
           fmt::format("{} rolled back, recovery not proven: {}; {}; {}", revision_name(), seen, undone.reason,
                       harm_text(state.account)));
}

}  // namespace plimsoll::rollout
