// Rules on a change of routes, timeouts, retries, health checks and limits, and on what its guard can show.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "check/routes.h"
#include "check/rules.h"
#include "judge/verdict.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

namespace {

using config::Pool;
using namespace std::chrono_literals;

/// At most this many findings of one rule; the rest are counted in the last one.
constexpr std::size_t most_examples = 10;

// ---- what a diff shows ---------------------------------------------------------------------------------------------

/// P403: a key was deleted and a default took its place, which nobody wrote and nobody sees.
void now_default(const Change& change, Findings& findings) {
    for (const auto& d : change.differences) {
        if (!d.now_default) continue;
        findings.push_back({Severity::warning, "P403-now-default", d.path, d.where,
                            d.after.empty() ? fmt::format("was {}; now not set", d.before)
                                            : fmt::format("was {}; now the default {}", d.before, d.after),
                            "write the value if it is meant"});
    }
}

/// P403: accepted but not applied is the worst of both.
void at_start_only(const Change& change, Findings& findings) {
    for (const auto& d : change.differences) {
        if (!d.path.starts_with("admin.") && d.path != "workers") continue;
        findings.push_back(
            {Severity::warning, "P403-at-start-only", d.path, d.where,
             fmt::format("{} -> {} applies when the server is started next, not by this rollout", d.before, d.after),
             "plan a restart"});
    }
}

// ---- routes --------------------------------------------------------------------------------------------------------

/// P405: a route that was reachable is hidden by this change: its requests go elsewhere without any error.
void newly_unreachable(const Change& change, Findings& findings) {
    const auto& routes = change.after.config.routes;
    const auto was = covered_by(change.before.routes), is = covered_by(routes);
    std::set<std::string_view> hidden_before, known_before;
    for (std::size_t i = 0; i < was.size(); ++i) {
        known_before.insert(change.before.routes[i].name);
        if (was[i]) hidden_before.insert(change.before.routes[i].name);
    }
    std::size_t told = 0;
    for (std::size_t i = 0; i < routes.size(); ++i) {
        if (!is[i] || hidden_before.contains(routes[i].name) || !known_before.contains(routes[i].name)) continue;
        const auto& winner = routes[*is[i]];
        if (same_action(winner, routes[i])) continue;  // the same answer by another name
        if (++told > most_examples) break;
        report(findings, change.after, Severity::error, "P405-newly-unreachable", fmt::format("routes[{}]", i),
               fmt::format("route {} would never be taken again: {} before it matches all of its requests and sends "
                           "them to {} instead of {}",
                           routes[i].name, winner.name, action_text(winner), action_text(routes[i])),
               fmt::format("move {} below it, or make it narrower", winner.name));
    }
}

/// P405: two routes change places, some request fits both, and they lead to different pools. A reorder of routes that
/// no request fits twice means nothing and is not reported.
void order_of_overlapping(const Change& change, Findings& findings) {
    const bool reordered =
        std::ranges::any_of(change.differences, [](const auto& d) { return d.path == "routes.order"; });
    if (!reordered) return;
    const auto& routes = change.after.config.routes;
    for (const Swapped& pair : swapped(change.before.routes, routes, most_examples)) {
        const auto &first = routes[pair.first], &second = routes[pair.second];
        report(findings, change.after, Severity::error, "P405-order", fmt::format("routes[{}]", pair.first),
               fmt::format("{} now comes before {}: requests that fit both go to {} instead of {}", first.name,
                           second.name, action_text(first), action_text(second)),
               "keep their order, or make their matches disjoint");
    }
}

// ---- timeouts ------------------------------------------------------------------------------------------------------

/// Part of a request class that a timeout surely cuts: one in a hundred is slower than the 99th percentile; about a
/// third is slower than the mean, for the skewed service times that servers have.
double surely_cut(const RequestClass& c, Duration timeout) {
    if (c.service_mean.count() > 0 && timeout < c.service_mean) return 0.3;
    if (c.service_p99.count() > 0 && timeout < c.service_p99) return 0.01;
    return 0;
}

/// P409: per_try or total below what was recorded, by path: a number far above the average may cut one report off.
void timeout_below_observed(const Change& change, Findings& findings) {
    if (!change.live.traffic.any()) return;
    snapshot::Identities ids;
    const auto compiled = snapshot::compile(change.after.config, RevisionNumber{}, ids, 1);
    struct Cut {
        double harmed = 0;
        const RequestClass* worst = nullptr;
        double worst_harmed = 0;
    };
    std::vector<Cut> cuts(compiled->pools.size());
    const ListenerNames listeners(change.after.config.listeners, change.before.listeners);
    for (const RequestClass& c : change.live.traffic.mix) {
        const snapshot::Route* route = way_of(*compiled, c, listeners(c.listener)).route;
        if (route == nullptr || route->targets.empty()) continue;
        const PoolIndex p = route->pool;
        const Pool* old = change.old_pool(compiled->pool(p).name);
        if (old == nullptr) continue;
        const auto& t = compiled->pool(p).timeouts;
        const double more = surely_cut(c, std::min(t.per_try, t.total)) -
                            surely_cut(c, std::min(old->timeouts.per_try, old->timeouts.total));
        if (more <= 0) continue;
        const double harmed =
            more * static_cast<double>(c.requests) / static_cast<double>(change.live.traffic.requests);
        Cut& cut = cuts[p.value];
        cut.harmed += harmed;
        if (harmed > cut.worst_harmed) {
            cut.worst = &c;
            cut.worst_harmed = harmed;
        }
    }
    for (std::size_t p = 0; p < cuts.size(); ++p) {
        if (cuts[p].worst == nullptr) continue;
        const auto& c = *cuts[p].worst;
        const bool harmful = cuts[p].harmed > change.after.config.guard.harm_budget;
        const auto& t = compiled->pools[p].timeouts;
        report(findings, change.after, harmful ? Severity::error : Severity::warning, "P409-timeout-below-observed",
               fmt::format("pools.{}.timeouts.{}", compiled->pools[p].name, t.total < t.per_try ? "total" : "per_try"),
               fmt::format("at least {} of recorded requests took longer than {}; e.g. {}{}: mean {}, p99 {}",
                           percent(cuts[p].harmed), text(std::min(t.per_try, t.total)), c.host, c.path,
                           text(c.service_mean), text(c.service_p99)),
               "stay above the slowest path's p99");
    }
}

/// P409: keeping idle connections longer may outlive the servers' patience; it shows at night, not in a canary.
void keepalive_raised(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr || pool.limits.keepalive_idle <= old->limits.keepalive_idle) continue;
        report(findings, change.after, Severity::warning, "P409-keepalive-raised",
               pool_path(pool, "limits.keepalive_idle"),
               fmt::format("unused connections are kept {} instead of {}; a server that closes them sooner resets late "
                           "requests, mostly when traffic is low",
                           text(pool.limits.keepalive_idle), text(old->limits.keepalive_idle)),
               "keep it below the servers' own keep-alive timeout");
    }
}

// ---- retries -------------------------------------------------------------------------------------------------------

/// P410: the most that retries may multiply the load by goes up.
void amplification_raised(const Change& change, Findings& findings) {
    const auto most = [](const config::Retry& r) {
        return std::min(static_cast<double>(std::max(r.attempts, 1u)), r.attempts > 1 ? 1 + r.budget : 1.0);
    };
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr) continue;
        const double is = most(pool.retry), was = most(old->retry);
        if (is > was + 0.1) {
            report(findings, change.after, Severity::warning, "P410-amplification-raised",
                   pool_path(pool, "retry.budget"),
                   fmt::format("when servers fail, retries may multiply the load by {:.1f} (before {:.1f})", is, was));
        }
        double rate = 0;
        for (const auto& e : change.forecast.endpoints) rate += e.pool == pool.name ? e.rate_after : 0;
        const bool floods = rate > 0 && pool.retry.attempts > 1 && pool.retry.min_per_second > 0.5 * rate;
        if (floods && pool.retry.min_per_second > old->retry.min_per_second) {
            report(findings, change.after, Severity::warning, "P410-budget-void",
                   pool_path(pool, "retry.min_per_second"),
                   fmt::format("{:.0f} retries/s are always allowed, recorded peak is {:.0f} requests/s: the budget "
                               "bounds nothing",
                               pool.retry.min_per_second, rate));
        }
    }
}

/// P410: writes that may be carried out twice; every signal a user sees improves, so nothing later would notice.
void replays_writes(const Change& change, Findings& findings) {
    std::uint64_t writes = 0;
    for (const RequestClass& c : change.live.traffic.mix) {
        if (c.method == "POST" || c.method == "PATCH") writes += c.requests;
    }
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        const bool newly = old == nullptr || !old->retry.non_idempotent || old->retry.attempts < 2;
        if (!newly || !pool.retry.non_idempotent || pool.retry.attempts < 2 || writes == 0) continue;
        report(findings, change.after, Severity::error, "P410-replays-writes", pool_path(pool, "retry.non_idempotent"),
               fmt::format("{} of recorded requests are POST or PATCH; those that fail after they arrived would be "
                           "carried out twice",
                           percent(static_cast<double>(writes) / static_cast<double>(change.live.traffic.requests))),
               "leave it off, or allow this finding if the servers recognise repeated requests");
    }
}

// ---- health --------------------------------------------------------------------------------------------------------

/// P411: a probe's timeout within the tail of ordinary answers removes healthy servers, most at peak.
void health_too_tight(const Change& change, Findings& findings) {
    const Duration p999 = change.live.traffic.service_p999, mean = change.live.traffic.service_mean;
    for (const Pool& pool : change.after.config.pools) {
        if (!pool.health || p999.count() == 0 || pool.health->timeout >= p999) continue;
        const Pool* old = change.old_pool(pool.name);
        const bool was_as_tight = old != nullptr && old->health && old->health->timeout <= pool.health->timeout &&
                                  old->health->fall <= pool.health->fall;
        if (was_as_tight) continue;
        const bool removes = pool.health->fall == 1 || pool.health->timeout < mean;
        report(findings, change.after, removes ? Severity::error : Severity::warning, "P411-health-too-tight",
               pool_path(pool, "health.timeout"),
               fmt::format("a probe fails after {}, but requests took {} on average and one in a thousand over {}; {} "
                           "bad probe{} in a row take{} a server out",
                           text(pool.health->timeout), text(mean), text(p999), pool.health->fall,
                           pool.health->fall == 1 ? "" : "s", pool.health->fall == 1 ? "s" : ""),
               "timeout above the recorded p99.9, fall 2 or more");
    }
}

/// P411: another probe is another opinion about every server at once; no canary of requests touches it.
void health_changed(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr || !old->health) continue;
        if (!pool.health) {
            report(findings, change.after, Severity::warning, "P411-health-off", pool_path(pool, "health"),
                   "servers are no longer probed; only failing requests will show a dead one",
                   pool.ejection.enabled ? "" : "ejection is off as well: nothing would take a dead server out");
        } else if (pool.health->path != old->health->path || pool.health->expect_status != old->health->expect_status) {
            report(findings, change.after, Severity::warning, "P411-probe-changed", pool_path(pool, "health.path"),
                   fmt::format("servers are judged by GET {} = {} instead of {} = {}", pool.health->path,
                               pool.health->expect_status, old->health->path, old->health->expect_status),
                   "probe each server with it before relying on it");
        }
    }
}

// ---- limits --------------------------------------------------------------------------------------------------------

/// P416: sizes that recorded requests exceed.
void sizes_below_recorded(const Change& change, Findings& findings) {
    const auto& traffic = change.live.traffic;
    const auto check = [&](const config::Listener& l, std::string_view key, std::uint64_t limit, std::uint64_t was,
                           std::uint64_t seen) {
        if (seen == 0 || limit == 0 || limit >= seen || (was != 0 && was <= limit)) return;
        report(findings, change.after, Severity::error, "P416-size-below-recorded",
               fmt::format("listeners.{}.limits.{}", l.name, key),
               fmt::format("{} bytes, but one recorded request in a thousand has {} or more", limit, seen),
               "stay above the recorded p99.9");
    };
    for (const auto& listener : change.after.config.listeners) {
        const auto old = std::ranges::find(change.before.listeners, listener.name, &config::Listener::name);
        const auto limits = old == change.before.listeners.end() ? config::ListenerLimits{} : old->limits;
        check(listener, "max_head_bytes", listener.limits.max_head_bytes, limits.max_head_bytes,
              traffic.head_bytes_p999);
        check(listener, "max_body_bytes", listener.limits.max_body_bytes, limits.max_body_bytes,
              traffic.body_bytes_p999);
    }
}

/// P416: requests in flight at one endpoint = its rate x service time (Little 1961). A cap below that queues or
/// refuses at peak, and a canary on a share of requests does not fill it.
void concurrency_below_need(const Change& change, Findings& findings) {
    const double service = seconds(change.live.traffic.service_mean);
    if (!change.live.traffic.any() || service <= 0) return;
    for (const Pool& pool : change.after.config.pools) {
        const double limit = pool.limits.max_in_flight_per_endpoint;
        if (limit <= 0) continue;
        double rate = 0, rate_before = 0;
        for (const auto& e : change.forecast.endpoints) {
            if (e.pool != pool.name) continue;
            rate = std::max(rate, e.rate_after);
            rate_before = std::max(rate_before, e.rate_now);
        }
        const Pool* old = change.old_pool(pool.name);
        const double old_limit = old == nullptr ? 0 : old->limits.max_in_flight_per_endpoint;
        if (old_limit > 0 && old_limit <= limit && rate <= rate_before * 1.01) continue;
        const double needed = rate * service;
        // Arrivals bunch: two standard deviations of a Poisson count above the mean are ordinary.
        const double ordinary = needed + 2 * std::sqrt(needed);
        if (limit >= ordinary) continue;
        report(findings, change.after, needed >= limit ? Severity::error : Severity::warning,
               "P416-concurrency-below-need", pool_path(pool, "limits.max_in_flight_per_endpoint"),
               fmt::format("{:.0f} in flight allowed; at recorded peak an endpoint needs {:.1f} on average, {:.1f} "
                           "ordinarily ({:.0f}/s x {})",
                           limit, needed, ordinary, rate, text(change.live.traffic.service_mean)),
               "twice the ordinary need leaves room");
    }
}

/// P416: connections that arrive faster than idle ones are closed fill the listener in the end.
void connections_fill(const Change& change, Findings& findings) {
    for (const auto& listener : change.after.config.listeners) {
        const auto old = std::ranges::find(change.before.listeners, listener.name, &config::Listener::name);
        if (old == change.before.listeners.end()) continue;
        const auto held = [&](const config::Listener& l) {
            return change.live.traffic.peak_rate * seconds(l.idle_timeout) /
                   static_cast<double>(l.limits.max_connections);
        };
        if (held(listener) <= 1 || held(listener) <= held(*old) * 1.01) continue;
        report(findings, change.after, Severity::warning, "P416-connections-fill",
               fmt::format("listeners.{}.idle_timeout", listener.name),
               fmt::format("if every request came on a connection of its own, {:.0f} would be held at peak; {} are "
                           "allowed",
                           change.live.traffic.peak_rate * seconds(listener.idle_timeout),
                           listener.limits.max_connections),
               "a shorter idle_timeout or more max_connections");
    }
}

// ---- the guard -----------------------------------------------------------------------------------------------------

/// P423: with so few requests no step can show that its candidate is harmless, and each change would be undone.
void too_quiet(const Change& change, Findings& findings) {
    const Traffic& traffic = change.live.traffic;
    const config::Guard& guard = change.before.guard;  // of the config in force: it guards this change
    if (traffic.span < 60s || traffic.requests < 2) return;
    const double rate = static_cast<double>(traffic.requests * traffic.every) / seconds(traffic.span);
    double needed = guard.shadow_decisions;
    for (const double share : guard.steps)
        if (share < 1) needed = std::max(needed, judge::least_requests(guard.harm_budget, Share{share}));
    if (needed <= rate * seconds(guard.max_step)) return;
    report(
        findings, change.after, Severity::warning, "P423-too-quiet", "guard.max_step",
        fmt::format("the recording has {:.3g} requests/s: within max_step {} a step sees {:.0f}, and to show that a "
                    "candidate is harmless takes {:.0f} even if nothing fails; the change is likely to be undone for "
                    "want of evidence",
                    rate, text(guard.max_step), rate * seconds(guard.max_step), needed),
        fmt::format("a max_step above {}, or a larger harm_budget", text(from_seconds(std::ceil(needed / rate)))));
}

constexpr RuleSummary too_quiet_codes[] = {{"P423-too-quiet", "too few requests for a step to pass within max_step",
                                            "a canary that nobody asks proves nothing"}};
constexpr RuleSummary now_default_codes[] = {{"P403-now-default", "a deleted key whose default applies now",
                                              "AWS 74876-2: a removed setting fell back to a low default"}};
constexpr RuleSummary at_start_only_codes[] = {
    {"P403-at-start-only", "items that a rollout does not apply", "accepted, but not applied"}};
constexpr RuleSummary newly_unreachable_codes[] = {
    {"P405-newly-unreachable", "a route that this change hides", "skipper #436, #954; ingress-nginx #10820"}};
constexpr RuleSummary order_of_overlapping_codes[] = {{"P405-order",
                                                       "overlapping routes to different pools that change places",
                                                       "terraform #27139: order is meaning and diffs hide it"}};
constexpr RuleSummary timeout_below_observed_codes[] = {
    {"P409-timeout-below-observed", "timeouts below the recorded p99 of some path", "haproxy #1236"}};
constexpr RuleSummary keepalive_raised_codes[] = {{"P409-keepalive-raised",
                                                   "kept connections that may outlive the servers' patience",
                                                   "LB idle must be below server keep-alive"}};
constexpr RuleSummary amplification_raised_codes[] = {
    {"P410-amplification-raised", "retries that may multiply load more than before",
     "SRE book; metastable retry storms"},
    {"P410-budget-void", "min_per_second so high that the budget bounds nothing", "SRE book, retry budgets"}};
constexpr RuleSummary replays_writes_codes[] = {
    {"P410-replays-writes", "writes in the recording that would be sent again", "Twilio billing 2013"}};
constexpr RuleSummary health_too_tight_codes[] = {
    {"P411-health-too-tight", "probe timeout within the recorded tail", "Chef 2014"}};
constexpr RuleSummary health_changed_codes[] = {
    {"P411-probe-changed", "another probe for every server at once", "Stack Exchange 2016; kubeflow #3014"},
    {"P411-health-off", "active probing is switched off", "servers that only failing requests show"}};
constexpr RuleSummary sizes_below_recorded_codes[] = {
    {"P416-size-below-recorded", "size limits below recorded p99.9", "replay of recorded sizes"}};
constexpr RuleSummary concurrency_below_need_codes[] = {
    {"P416-concurrency-below-need", "max_in_flight below rate x service time", "Little 1961; openlibrary #10351"}};
constexpr RuleSummary connections_fill_codes[] = {
    {"P416-connections-fill", "arrival x idle_timeout above max_connections", "slow fill after a longer keep-alive"}};

constexpr std::array table{
    ChangeRule{now_default_codes, now_default},
    ChangeRule{at_start_only_codes, at_start_only},
    ChangeRule{newly_unreachable_codes, newly_unreachable},
    ChangeRule{order_of_overlapping_codes, order_of_overlapping},
    ChangeRule{timeout_below_observed_codes, timeout_below_observed},
    ChangeRule{keepalive_raised_codes, keepalive_raised},
    ChangeRule{amplification_raised_codes, amplification_raised},
    ChangeRule{replays_writes_codes, replays_writes},
    ChangeRule{health_too_tight_codes, health_too_tight},
    ChangeRule{health_changed_codes, health_changed},
    ChangeRule{sizes_below_recorded_codes, sizes_below_recorded},
    ChangeRule{concurrency_below_need_codes, concurrency_below_need},
    ChangeRule{connections_fill_codes, connections_fill},
    ChangeRule{too_quiet_codes, too_quiet},
};

}  // namespace

std::span<const ChangeRule> setting_change_rules() { return table; }

}  // namespace plimsoll::check
