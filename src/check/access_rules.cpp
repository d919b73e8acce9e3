// Rules on a change of whom we believe, of what keeps clients with their endpoint, and of how much each may ask.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "check/rules.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

namespace {

using config::Listener;
using config::Policy;
using config::Pool;

// ---- whom we believe -----------------------------------------------------------------------------------------------

/// Those of `a` that are not in `b`.
std::vector<std::string> without(const std::vector<std::string>& a, const std::vector<std::string>& b) {
    std::vector<std::string> out;
    std::ranges::copy_if(a, std::back_inserter(out), [&](const auto& s) { return std::ranges::find(b, s) == b.end(); });
    return out;
}

/// P421: who may say where a request comes from; rate limits, logs and affinity by client go by it.
void trust_changed(const Change& change, Findings& findings) {
    for (const Listener& listener : change.after.config.listeners) {
        const auto old = std::ranges::find(change.before.listeners, listener.name, &Listener::name);
        if (old == change.before.listeners.end()) continue;
        const auto look = [&](const std::vector<std::string>& was, const std::vector<std::string>& is,
                              std::string_view key, std::string_view gained, std::string_view lost) {
            const auto more = without(is, was), fewer = without(was, is);
            const std::string path = fmt::format("listeners.{}.{}", listener.name, key);
            if (!more.empty()) {
                report(findings, change.after, Severity::warning, "P421-trust-changed", path,
                       fmt::format("{} {}", some_of(more), gained), "only the networks of your own proxies");
            }
            if (!fewer.empty()) {
                report(findings, change.after, Severity::warning, "P421-trust-changed", path,
                       fmt::format("{} {}", some_of(fewer), lost), "first see that no proxy stands there any more");
            }
        };
        look(old->trusted_proxies, listener.trusted_proxies, "trusted_proxies", "may now claim any client address",
             "are no longer believed: all clients behind them count as one, for rate limits too");
        look(old->proxy_protocol_from, listener.proxy_protocol_from, "proxy_protocol_from",
             "must now begin every connection with a PROXY header; whoever there does not is refused",
             "may no longer send a PROXY header; it would be read as a broken request");
    }
}

// ---- what keeps clients with their endpoint ------------------------------------------------------------------------

/// Part of recorded requests that goes to the pool now; nullopt when nothing is recorded.
std::optional<double> part_of_requests(const Change& change, std::string_view pool) {
    if (!change.live.traffic.any()) return std::nullopt;
    double share = 0;
    for (const auto& e : change.forecast.endpoints) share += e.pool == pool ? e.share_now.value : 0;
    return share;
}

std::string of_requests(const Change& change, std::string_view pool) {
    const auto part = part_of_requests(change, pool);
    return part ? fmt::format("; {} of recorded requests go to this pool", percent(*part)) : std::string();
}

/// P419: cookies that are not understood any more: every client is placed anew, and loses what its endpoint kept.
void affinity_lost(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr || !old->affinity) continue;
        const auto say = [&](std::string_view key, std::string_view what) {
            const auto n = static_cast<double>(std::max<std::size_t>(pool.endpoints.size(), 1));
            report(findings, change.after, Severity::warning, "P419-affinity-lost", pool_path(pool, key),
                   fmt::format("{}: every client that has an endpoint gets a new one, {} of them another{}", what,
                               percent(1 - 1 / n), of_requests(change, pool.name)),
                   "only if the endpoints keep no sessions of their own");
        };
        if (!pool.affinity) {
            say("affinity", "cookies are no longer looked at");
        } else if (pool.affinity->cookie != old->affinity->cookie) {
            say("affinity.cookie", "the cookie has another name");
        } else if (pool.affinity->secret != old->affinity->secret) {
            say("affinity.secret", "cookies signed with the old secret are not believed");
        }
    }
}

bool hashes(const Pool& pool) {
    return pool.policy == Policy::maglev || pool.policy == Policy::ring_hash || pool.policy == Policy::rendezvous;
}

/// Part of the keys that change their endpoint when only weights and membership change: half of the sum of what shares
/// differ by, which is what a consistent hash comes near to.
double least_moved(const Pool& before, const Pool& after) {
    std::map<config::Address, double> difference;
    const auto add = [&](const Pool& pool, double sign) {
        double weights = 0;
        for (const auto& e : pool.endpoints) weights += e.weight;
        if (weights <= 0) return;
        for (const auto& e : pool.endpoints) difference[e.address] += sign * e.weight / weights;
    };
    add(before, -1);
    add(after, 1);
    double moved = 0;
    for (const auto& [address, d] : difference) moved += std::max(d, 0.0);
    return moved;
}

/// P419: keys that change their endpoint: caches start cold, sessions are not found.
void keys_move(const Change& change, Findings& findings) {
    for (const Pool& pool : change.after.config.pools) {
        const Pool* old = change.old_pool(pool.name);
        if (old == nullptr || !hashes(*old) || old->endpoints.size() < 2 || pool.endpoints.empty()) continue;
        const auto n = static_cast<double>(pool.endpoints.size());
        const bool other_key = pool.hash.by != old->hash.by || pool.hash.name != old->hash.name;
        if (pool.policy != old->policy || other_key) {
            report(findings, change.after, Severity::warning, "P419-keys-move",
                   pool_path(pool, pool.policy != old->policy ? "policy" : "hash"),
                   fmt::format("{} of keys go to another endpoint, whose cache is cold{}",
                               hashes(pool) ? percent(1 - 1 / n) : "nearly all", of_requests(change, pool.name)),
                   "when traffic is low, or step by step with a split to a second pool");
            continue;
        }
        const double moved = least_moved(*old, pool);
        if (moved <= 0.001) continue;
        report(findings, change.after, moved > 0.5 ? Severity::warning : Severity::note, "P419-keys-move",
               pool_path(pool, "endpoints"),
               fmt::format("at least {} of keys go to another endpoint, whose cache is cold{}", percent(moved),
                           of_requests(change, pool.name)),
               moved > 0.5 ? "in smaller parts" : "");
    }
}

// ---- how much may be asked -----------------------------------------------------------------------------------------

/// The tightest limit on a whole route.
std::optional<std::size_t> route_limit(const config::Route& route) {
    std::optional<std::size_t> out;
    for (std::size_t i = 0; i < route.rate_limits.size(); ++i) {
        if (route.rate_limits[i].by != config::RateKey::route) continue;
        if (!out || route.rate_limits[i].rate < route.rate_limits[*out].rate) out = i;
    }
    return out;
}

/// P416: a limit on a route below what was recorded of it refuses real clients. Limits by client or header cannot be
/// judged: a recording is summed up without them.
void rate_below_recorded(const Change& change, Findings& findings) {
    const auto& traffic = change.live.traffic;
    if (!traffic.any()) return;
    const auto& routes = change.after.config.routes;
    const bool any = std::ranges::any_of(routes, [](const auto& r) { return route_limit(r).has_value(); });
    if (!any) return;
    snapshot::Identities ids;
    const auto compiled = snapshot::compile(change.after.config, RevisionNumber{}, ids, 1);
    const ListenerNames listeners(change.after.config.listeners, change.before.listeners);
    std::vector<double> requests(routes.size(), 0);
    for (const RequestClass& c : traffic.mix) {
        const snapshot::Route* route = way_of(*compiled, c, listeners(c.listener)).route;
        if (route != nullptr)
            requests[static_cast<std::size_t>(route - compiled->routes.data())] += static_cast<double>(c.requests);
    }
    for (std::size_t i = 0; i < routes.size(); ++i) {
        const auto limit = route_limit(routes[i]);
        if (!limit) continue;
        const double peak = requests[i] / static_cast<double>(traffic.requests) * traffic.peak_rate;
        const double rate = routes[i].rate_limits[*limit].rate;
        if (rate >= peak) continue;
        const auto old = std::ranges::find(change.before.routes, routes[i].name, &config::Route::name);
        if (old != change.before.routes.end()) {
            const auto was = route_limit(*old);
            if (was && old->rate_limits[*was].rate <= rate) continue;  // no tighter than now
        }
        report(findings, change.after, Severity::error, "P416-rate-below-recorded",
               fmt::format("routes[{}].rate_limits[{}].rate", i, *limit),
               fmt::format("{:.0f} requests/s allowed, {:.0f}/s recorded at peak: {} of them would get 429", rate, peak,
                           percent(1 - rate / peak)),
               "above the recorded peak, with room");
    }
}

/// P416: the same by Little's law for a pool as a whole (Little 1961).
void pool_limit_below_need(const Change& change, Findings& findings) {
    const double service = seconds(change.live.traffic.service_mean);
    if (!change.live.traffic.any() || service <= 0) return;
    for (const Pool& pool : change.after.config.pools) {
        const double limit = pool.limits.max_in_flight;
        const Pool* old = change.old_pool(pool.name);
        const double old_limit = old == nullptr ? 0 : old->limits.max_in_flight;
        if (limit <= 0 || (old_limit > 0 && old_limit <= limit)) continue;
        double rate = 0;
        for (const auto& e : change.forecast.endpoints) rate += e.pool == pool.name ? e.rate_after : 0;
        const double needed = rate * service, ordinary = needed + 2 * std::sqrt(needed);
        if (limit >= ordinary) continue;
        report(findings, change.after, needed >= limit ? Severity::error : Severity::warning,
               "P416-pool-limit-below-need", pool_path(pool, "limits.max_in_flight"),
               fmt::format(
                   "{:.0f} in flight allowed; at recorded peak the pool needs {:.1f} on average, {:.1f} ordinarily "
                   "({:.0f}/s x {}){}",
                   limit, needed, ordinary, rate, text(change.live.traffic.service_mean),
                   pool.limits.queue == 0 ? "; nobody may wait" : ""),
               "twice the ordinary need leaves room");
    }
}

constexpr RuleSummary trust_changed_codes[] = {{"P421-trust-changed", "networks that are newly believed, or no longer",
                                                "forged X-Forwarded-For; a whole proxy counted as one client"}};
constexpr RuleSummary affinity_lost_codes[] = {
    {"P419-affinity-lost", "cookies that stop being understood", "all sticky clients move at once"}};
constexpr RuleSummary keys_move_codes[] = {
    {"P419-keys-move", "keys that change their endpoint", "cold caches; Karger 1997, Maglev 2016"}};
constexpr RuleSummary rate_below_recorded_codes[] = {
    {"P416-rate-below-recorded", "a rate limit below the recorded peak of its route", "replay of recorded rates"}};
constexpr RuleSummary pool_limit_below_need_codes[] = {
    {"P416-pool-limit-below-need", "a pool's max_in_flight below rate x service time", "Little 1961"}};

constexpr std::array table{
    ChangeRule{trust_changed_codes, trust_changed},
    ChangeRule{affinity_lost_codes, affinity_lost},
    ChangeRule{keys_move_codes, keys_move},
    ChangeRule{rate_below_recorded_codes, rate_below_recorded},
    ChangeRule{pool_limit_below_need_codes, pool_limit_below_need},
};

}  // namespace

std::span<const ChangeRule> access_change_rules() { return table; }

}  // namespace plimsoll::check
