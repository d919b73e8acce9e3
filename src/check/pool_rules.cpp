// Rules on a change of endpoints, weights and capacity.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "check/rules.h"

namespace plimsoll::check {

namespace {

using config::Pool;

struct Strength {
    std::size_t usable = 0;  ///< endpoints with weight
    double capacity = 0;     ///< of those
    bool all_declared = true;
    double full_at = 0;  ///< requests/s at which the first endpoint is full, given the weights
    const config::Endpoint* first_full = nullptr;
};

/// The level that is used first: the lowest priority of those with weight.
std::uint32_t first_level(const Pool& pool) {
    std::uint32_t level = UINT32_MAX;
    for (const auto& e : pool.endpoints) {
        if (e.weight > 0) level = std::min(level, e.priority);
    }
    return level;
}

/// Of the first level: the others stand by.
Strength strength(const Pool& pool) {
    Strength s;
    double weights = 0;
    const std::uint32_t level = first_level(pool);
    for (const auto& e : pool.endpoints) weights += e.priority == level ? e.weight : 0;
    for (const auto& e : pool.endpoints) {
        if (e.weight <= 0 || e.priority != level) continue;
        ++s.usable;
        s.all_declared &= e.capacity.has_value();
        s.capacity += e.capacity.value_or(0);
        if (!e.capacity) continue;
        const double full = *e.capacity * weights / e.weight;
        if (s.first_full == nullptr || full < s.full_at) {
            s.full_at = full;
            s.first_full = &e;
        }
    }
    return s;
}

bool is_out(const LiveState& live, const Pool& pool, const config::Endpoint& endpoint) {
    return std::ranges::any_of(
        live.out, [&](const OutOfRotation& o) { return o.pool == pool.name && o.address == endpoint.address; });
}

/// P404: nobody left, counting those that are down at this moment.
void nobody_usable(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        std::size_t with_weight = 0, usable = 0;
        for (const auto& e : pool.endpoints) {
            if (e.weight <= 0) continue;
            ++with_weight;
            usable += is_out(change.live, pool, e) ? 0 : 1;
        }
        const Pool* old = change.old_pool(pool.name);
        const bool had_one = old == nullptr || std::ranges::any_of(old->endpoints, [&](const config::Endpoint& e) {
                                 return e.weight > 0 && !is_out(change.live, *old, e);
                             });
        if (with_weight == 0 || usable > 0 || !had_one) continue;
        report(findings, change.after, Severity::error, "P404-nobody-usable", pool_path(pool, "endpoints"),
               fmt::format("all {} endpoints that would take requests are out of rotation now", with_weight),
               "bring one back first");
    }
}

/// P404: most of a pool goes away and nothing shows that the rest can carry it. With a recording and declared
/// capacities the forecast decides instead: replacing ten small servers by four large ones is fine.
void most_endpoints_removed(const Change& change, Findings& findings) {
    for (const Pool& old : change.before.pools) {
        const auto found = std::ranges::find(change.after.config.pools, old.name, &Pool::name);
        if (found == change.after.config.pools.end() || found->discovery) continue;
        const Strength was = strength(old), is = strength(*found);
        if (2 * is.usable >= was.usable) continue;
        const bool declared = was.all_declared && is.all_declared;
        if (declared && (change.live.traffic.any() || 2 * is.capacity >= was.capacity)) continue;
        report(findings, change.after, Severity::error, "P404-most-endpoints-removed", pool_path(old, "endpoints"),
               fmt::format(
                   "{} of {} usable endpoints remain, and {}", is.usable, was.usable,
                   declared ? "there is no recording to show that they suffice" : "their capacities are not declared"),
               "declare capacities and let a recording build up, or remove them in smaller parts");
    }
}

/// P404: a listener that goes away refuses its clients, and no recording of the others can show it.
void listeners_gone(const Change& change, Findings& findings) {
    for (const auto& old : change.before.listeners) {
        const bool kept = std::ranges::any_of(change.after.config.listeners,
                                              [&](const config::Listener& l) { return l.address == old.address; });
        if (kept) continue;
        report(findings, change.after, Severity::warning, "P404-listener-gone", "listeners",
               fmt::format("nobody listens on {} any more; its clients are refused", text(old.address)),
               "keep the old address until clients have moved");
    }
}

/// P404: most routes go away and no recording shows whether they are used.
void most_routes_removed(const Change& change, Findings& findings) {
    std::size_t kept = 0;
    for (const auto& old : change.before.routes) {
        kept += std::ranges::any_of(change.after.config.routes,
                                    [&](const config::Route& r) { return r.match == old.match || r.name == old.name; });
    }
    if (2 * kept >= change.before.routes.size()) return;
    report(findings, change.after, change.live.traffic.any() ? Severity::warning : Severity::error,
           "P404-most-routes-removed", "routes",
           fmt::format("{} of {} routes remain", kept, change.before.routes.size()),
           "remove them in smaller parts, or let a recording show that they are unused");
}

/// The utilisation of the busiest survivor when the one endpoint is gone whose loss hurts most; nullopt when a
/// capacity is unknown or there is nobody else.
std::optional<std::pair<double, std::string>> without_one(const Pool& pool, double rate, const LiveState& live) {
    double weights = 0, hardest = 0;
    std::size_t usable = 0;
    const std::uint32_t level = first_level(pool);
    // With others standing by it is not known who takes over what.
    if (std::ranges::any_of(pool.endpoints, [&](const auto& e) { return e.weight > 0 && e.priority != level; })) {
        return std::nullopt;
    }
    for (const auto& e : pool.endpoints) {
        if (e.weight <= 0 || is_out(live, pool, e)) continue;
        if (!e.capacity) return std::nullopt;
        ++usable;
        weights += e.weight;
        hardest = std::max(hardest, e.weight);
    }
    if (usable < 2) return std::nullopt;
    // Losing the heaviest endpoint hurts every other most; for the heaviest itself the second heaviest counts.
    std::pair<double, std::string> worst{0, ""};
    const config::Endpoint* lost = nullptr;
    const config::Endpoint* next = nullptr;
    for (const auto& e : pool.endpoints) {
        if (e.weight <= 0 || is_out(live, pool, e)) continue;
        if (lost == nullptr || e.weight > lost->weight) {
            next = lost;
            lost = &e;
        } else if (next == nullptr || e.weight > next->weight) {
            next = &e;
        }
    }
    for (const auto& e : pool.endpoints) {
        if (e.weight <= 0 || is_out(live, pool, e)) continue;
        const config::Endpoint& gone = &e == lost ? *next : *lost;
        const double u = rate * e.weight / (weights - gone.weight) / *e.capacity;
        if (u > worst.first) worst = {u, fmt::format("{} without {}", e.name, gone.name)};
    }
    return worst;
}

double pool_rate(const Forecast& forecast, std::string_view pool, bool after) {
    double rate = 0;
    for (const auto& e : forecast.endpoints) {
        if (e.pool == pool) rate += after ? e.rate_after : e.rate_now;
    }
    return rate;
}

/// P402: with any one endpoint gone the rest stay under the cap at recorded peak.
void one_more_may_fail(const Change& change, Findings& findings) {
    const double cap = change.after.config.guard.utilisation_cap;
    for (const Pool& pool : change.after.config.pools) {
        const auto is = without_one(pool, pool_rate(change.forecast, pool.name, true), change.live);
        if (!is || is->first <= cap + 1e-9) continue;
        const Pool* old = change.old_pool(pool.name);
        const auto was = old == nullptr ? std::nullopt
                                        : without_one(*old, pool_rate(change.forecast, pool.name, false), change.live);
        if (was && is->first <= was->first + 1e-9) continue;  // no worse than now
        report(findings, change.after, Severity::warning, "P402-n-plus-1", pool_path(pool, "endpoints"),
               fmt::format("if one more endpoint fails at recorded peak, utilisation reaches {:.2f} ({}; cap {:.2f})",
                           is->first, is->second, cap),
               "add capacity before taking it away");
    }
}

/// P402: the floor under health checks goes away or sinks.
void floor_lowered(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr || !pool.health || pool.panic_threshold >= old->panic_threshold) continue;
        report(findings, change.after, Severity::warning, "P402-floor-lowered", pool_path(pool, "panic_threshold"),
               fmt::format("health checks may now take out {} of the pool before everybody is used again (before {})",
                           percent(1 - pool.panic_threshold), percent(1 - old->panic_threshold)));
    }
}

/// P407: an endpoint that carries traffic is taken out; said so that nobody is surprised.
void removed_with_traffic(const Change& change, Findings& findings) {
    std::map<std::string, std::vector<std::string>> gone;
    std::map<std::string, double> share;
    for (const auto& e : change.forecast.endpoints) {
        const bool stops = e.present_now && e.share_now.value > 0 && e.share_after.value <= 0;
        if (!stops || e.out) continue;
        gone[e.pool].push_back(e.name);
        share[e.pool] += e.share_now.value;
    }
    for (const auto& [pool, names] : gone) {
        if (!change.live.traffic.any()) break;
        report(findings, change.after, Severity::note, "P407-removed-with-traffic",
               fmt::format("pools.{}.endpoints", pool),
               fmt::format("{} of requests go to {} now; requests in progress finish there, new ones go to the others",
                           percent(share[pool]), some_of(names)));
    }
}

/// P412: load on the survivors when as many are ejected as may be.
void survivors_of_ejection(const Change& change, Findings& findings) {
    const auto load = [&](const Pool& pool, bool after) -> std::optional<double> {
        const Strength s = strength(pool);
        if (!pool.ejection.enabled || !s.all_declared || s.usable < 2) return std::nullopt;
        const auto out = std::max(1.0, std::floor(pool.ejection.max_fraction * static_cast<double>(s.usable)));
        const double left = static_cast<double>(s.usable) - out;
        if (left < 1) return std::nullopt;
        return pool_rate(change.forecast, pool.name, after) / (s.full_at * left / static_cast<double>(s.usable));
    };
    for (const Pool& pool : change.after.config.pools) {
        const auto is = load(pool, true);
        const Pool* old = change.old_pool(pool.name);
        const auto was = old == nullptr ? std::nullopt : load(*old, false);
        if (!is || *is <= 1 || (was && *was > 1)) continue;
        report(findings, change.after, Severity::warning, "P412-survivors", pool_path(pool, "ejection.max_fraction"),
               fmt::format(
                   "if as many are ejected as may be, the others would be at utilisation {:.2f} at recorded peak", *is),
               "lower max_fraction or add capacity");
    }
}

/// P415: weights that do not follow the capacities fill one endpoint while the others idle. Uneven weights over
/// matching capacities waste nothing and are never reported.
void weights_against_capacity(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Strength is = strength(pool);
        if (is.usable < 2 || !is.all_declared || is.capacity <= 0) continue;
        const double used = is.full_at / is.capacity;
        const Pool* old = change.old_pool(pool.name);
        const Strength was = old == nullptr ? Strength{} : strength(*old);
        const double used_before = was.all_declared && was.capacity > 0 ? was.full_at / was.capacity : 1;
        if (used >= 0.5 || used >= used_before - 1e-9) continue;
        report(findings, change.after, Severity::warning, "P415-weights-against-capacity", pool_path(pool, "endpoints"),
               fmt::format("{} is full when the pool has {:.0f} requests/s, of {:.0f} that its endpoints could carry",
                           is.first_full->name, is.full_at, is.capacity),
               "give weights in proportion to capacity");
    }
}

/// P415: the same without declared capacities and without traffic: only the proportion can be told.
void weights_unknown(const Change& change, Findings& findings) {
    if (change.live.traffic.any()) return;  // the forecast says it better
    const auto steepest = [](const Pool& pool) {
        double sum = 0, most = 0;
        for (const auto& e : pool.endpoints) {
            sum += e.weight;
            most = std::max(most, e.weight);
        }
        return sum > 0 ? most / sum * static_cast<double>(pool.endpoints.size()) : 0;
    };
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (strength(pool).all_declared || old == nullptr) continue;
        const double is = steepest(pool), was = steepest(*old);
        if (is <= 2 || is <= was * 1.5) continue;
        report(findings, change.after, Severity::warning, "P415-uneven-unknown", pool_path(pool, "endpoints"),
               fmt::format("one endpoint would get {:.1f} times the average (before {:.1f}), and capacities are not "
                           "declared",
                           is, was),
               "declare capacity, in requests/s");
    }
}

constexpr RuleSummary one_more_may_fail_codes[] = {
    {"P402-n-plus-1", "with one endpoint gone the rest stay under the cap at recorded peak",
     "AWS 74876-2; Yu, SIGCOMM 2024"}};
constexpr RuleSummary floor_lowered_codes[] = {
    {"P402-floor-lowered", "the floor under health checks sinks", "AWS 74876-2: min-healthy removed, 84 min"}};
constexpr RuleSummary nobody_usable_codes[] = {
    {"P404-nobody-usable", "a pool whose endpoints are all out now", "a drain while the others are down"}};
constexpr RuleSummary most_endpoints_removed_codes[] = {
    {"P404-most-endpoints-removed", "most of a pool removed without evidence that the rest suffices",
     "GCLB 2023; envoy #13072; a selector that matched 2 of 10"}};
constexpr RuleSummary most_routes_removed_codes[] = {
    {"P404-most-routes-removed", "most routes removed", "GCLB 2023: empty configs"}};
constexpr RuleSummary listeners_gone_codes[] = {{"P404-listener-gone", "a listener's address goes away", "GCLB 2023"}};
constexpr RuleSummary removed_with_traffic_codes[] = {{"P407-removed-with-traffic",
                                                       "an endpoint that carries traffic is removed or drained",
                                                       "envoy #7218; rancher #24558"}};
constexpr RuleSummary survivors_of_ejection_codes[] = {
    {"P412-survivors", "load on the survivors after the largest allowed ejection", "AFD 2025"}};
constexpr RuleSummary weights_against_capacity_codes[] = {{"P415-weights-against-capacity",
                                                           "weights that fill one endpoint while others idle",
                                                           "argo-rollouts #3888; the originating incident"}};
constexpr RuleSummary weights_unknown_codes[] = {
    {"P415-uneven-unknown", "concentration where neither capacity nor traffic is known", "the originating incident"}};

constexpr std::array table{
    ChangeRule{one_more_may_fail_codes, one_more_may_fail},
    ChangeRule{floor_lowered_codes, floor_lowered},
    ChangeRule{nobody_usable_codes, nobody_usable},
    ChangeRule{most_endpoints_removed_codes, most_endpoints_removed},
    ChangeRule{most_routes_removed_codes, most_routes_removed},
    ChangeRule{listeners_gone_codes, listeners_gone},
    ChangeRule{removed_with_traffic_codes, removed_with_traffic},
    ChangeRule{survivors_of_ejection_codes, survivors_of_ejection},
    ChangeRule{weights_against_capacity_codes, weights_against_capacity},
    ChangeRule{weights_unknown_codes, weights_unknown},
};

}  // namespace

std::span<const ChangeRule> pool_change_rules() { return table; }

}  // namespace plimsoll::check
