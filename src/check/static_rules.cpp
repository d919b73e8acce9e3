// Rules on a config alone. They warn; what is impossible was refused by the parser already.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <unordered_set>

#include "check/routes.h"
#include "check/rules.h"

namespace plimsoll::check {

namespace {

using config::Document;
using config::Pool;
using namespace std::chrono_literals;

/// Unreachable and duplicate routes: the table is read top down, so what an earlier route takes is lost to later ones.
void unreachable_routes(const Document& document, Findings& findings) {
    const auto& routes = document.config.routes;
    const auto covered = covered_by(routes);
    for (std::size_t i = 0; i < routes.size(); ++i) {
        if (!covered[i]) continue;
        const config::Route& winner = routes[*covered[i]];
        const bool same = winner.match == routes[i].match;
        report(findings, document, Severity::warning, same ? "P405-duplicate-route" : "P405-unreachable-route",
               fmt::format("routes[{}]", i),
               fmt::format("route {} is never taken: {} before it matches all of its requests", routes[i].name,
                           winner.name),
               same ? "remove one of them" : "move it up, or make the earlier one narrower");
    }
}

/// The same for the connections of tcp listeners, by server name.
void unreachable_tcp(const Document& document, Findings& findings) {
    for (const config::Listener& listener : document.config.listeners) {
        for (std::size_t i = 0; i < listener.tcp.size(); ++i) {
            for (std::size_t j = 0; j < i; ++j) {
                if (!host_covered(listener.tcp[j].sni, listener.tcp[i].sni)) continue;
                const std::string& winner = listener.tcp[j].sni;
                report(findings, document, Severity::warning, "P405-unreachable-tcp",
                       fmt::format("listeners.{}.tcp[{}]", listener.name, i),
                       fmt::format("{} is never taken: {} before it takes all of its connections",
                                   listener.tcp[i].sni.empty() ? "this entry" : listener.tcp[i].sni,
                                   winner.empty() ? "an entry for every connection" : winner),
                       "move it up");
                break;
            }
        }
    }
}

/// A pool that no route names carries nothing; usually a reference was mistyped or forgotten.
void unused_pools(const Document& document, Findings& findings) {
    std::unordered_set<std::string_view> used;
    for (const auto& route : document.config.routes) {
        used.insert(route.pool);
        for (const auto& target : route.split) used.insert(target.pool);
        if (route.mirror) used.insert(route.mirror->pool);
        if (route.auth) used.insert(route.auth->pool);
    }
    for (const auto& listener : document.config.listeners) {
        for (const auto& route : listener.tcp) used.insert(route.pool);
    }
    for (const Pool& pool : document.config.pools) {
        if (used.contains(pool.name)) continue;
        report(findings, document, Severity::warning, "P406-unused-pool", "pools." + pool.name,
               fmt::format("nothing leads to pool {}", pool.name), "name it in a route, or remove it");
    }
}

/// connect <= per_try <= total: a part that may take longer than the whole is never what was meant.
void timeout_order(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        const auto& t = pool.timeouts;
        if (t.connect > t.per_try) {
            report(findings, document, Severity::warning, "P409-timeout-order", pool_path(pool, "timeouts.connect"),
                   fmt::format("connect {} is longer than per_try {}", text(t.connect), text(t.per_try)),
                   "connect <= per_try <= total");
        }
        if (t.per_try > t.total) {
            report(findings, document, Severity::warning, "P409-timeout-order", pool_path(pool, "timeouts.per_try"),
                   fmt::format("per_try {} is longer than total {}", text(t.per_try), text(t.total)),
                   "connect <= per_try <= total");
        }
    }
}

/// A kept connection must be closed by us before the server closes it under a request; common servers do after 5 to 75
/// s.
void keepalive(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (pool.limits.keepalive_idle < 75s) continue;
        report(findings, document, Severity::warning, "P409-keepalive", pool_path(pool, "limits.keepalive_idle"),
               fmt::format("connections are kept {} without use; servers that close earlier reset late requests",
                           text(pool.limits.keepalive_idle)),
               "keep it below the servers' own keep-alive timeout");
    }
}

/// Retries multiply load just when servers are slow; the budget is what bounds it.
void retry_amplification(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        const auto& r = pool.retry;
        const double most = std::min(static_cast<double>(r.attempts), 1 + r.budget);
        if (r.attempts < 2 || r.budget <= 0.5) continue;
        const bool unbounded = r.attempts > 2 && r.budget > 1;
        report(findings, document, unbounded ? Severity::error : Severity::warning,
               unbounded ? "P410-retry-unbounded" : "P410-retry-amplification", pool_path(pool, "retry.budget"),
               fmt::format("{} attempts with a budget of {} retries per request multiply the load by up to {:.1f}",
                           r.attempts, percent(r.budget), most),
               "a budget of 20% bounds it to 1.2");
    }
}

/// attempts x per_try <= total, or the last attempt is cut off in the middle.
void retry_time(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        const bool on_timeout = std::ranges::find(pool.retry.on, "timeout") != pool.retry.on.end();
        if (!on_timeout || pool.retry.attempts < 2) continue;
        const Duration needed = pool.timeouts.per_try * pool.retry.attempts;
        if (needed <= pool.timeouts.total) continue;
        report(findings, document, Severity::warning, "P410-retry-time", pool_path(pool, "timeouts.total"),
               fmt::format("{} attempts of {} need {}, total is {}", pool.retry.attempts, text(pool.timeouts.per_try),
                           text(needed), text(pool.timeouts.total)),
               "raise total or lower per_try");
    }
}

/// What is not idempotent and may have arrived is carried out twice when it is sent again.
void non_idempotent(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (!pool.retry.non_idempotent || pool.retry.attempts < 2) continue;
        report(findings, document, Severity::warning, "P410-non-idempotent", pool_path(pool, "retry.non_idempotent"),
               "POST and PATCH are sent again after they may have arrived, and may be carried out twice",
               "only if the servers recognise repeated requests");
    }
}

/// One slow probe should not remove a server, and a dead one should not stay a minute.
void health_shape(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (!pool.health) continue;
        const auto& h = *pool.health;
        if (h.fall == 1) {
            report(findings, document, Severity::warning, "P411-fall-1", pool_path(pool, "health.fall"),
                   "a single bad probe takes a server out", "fall: 2 or more");
        }
        if (h.timeout >= h.interval) {
            report(findings, document, Severity::warning, "P411-probe-overlap", pool_path(pool, "health.timeout"),
                   fmt::format("a probe may take {}, the next is due after {}", text(h.timeout), text(h.interval)),
                   "timeout < interval");
        }
        if (const Duration notice = h.interval * h.fall; notice > 60s) {
            report(findings, document, Severity::warning, "P411-slow-to-notice", pool_path(pool, "health.interval"),
                   fmt::format("a dead server is noticed after {}", text(notice)),
                   "interval x fall of a minute or less");
        }
    }
}

/// Without a floor one wrong health check removes every server at once.
void panic_floor(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (!pool.health || pool.panic_threshold > 0) continue;
        report(findings, document, Severity::warning, "P411-no-floor", pool_path(pool, "panic_threshold"),
               "a wrong health check would take every server out and nothing would be answered",
               "panic_threshold: 50%");
    }
}

/// A server that fails fast always has the fewest requests in flight and draws the rest unless something ejects it.
void sinkhole(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (pool.policy != config::Policy::least_request || pool.ejection.enabled || pool.endpoints.size() < 2)
            continue;
        report(findings, document, Severity::warning, "P412-sinkhole", pool_path(pool, "ejection.enabled"),
               "least_request without ejection sends most requests to a server that fails fast",
               "enable ejection, or use round_robin");
    }
}

/// Ejecting more than half moves more load to each survivor than it had before.
void ejection_ceiling(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (!pool.ejection.enabled || pool.ejection.max_fraction <= 0.5) continue;
        report(findings, document, Severity::warning, "P412-ejection-ceiling", pool_path(pool, "ejection.max_fraction"),
               fmt::format("up to {} of the pool may be ejected; the rest would carry {:.1f} times their load",
                           percent(pool.ejection.max_fraction),
                           1 / std::max(1 - pool.ejection.max_fraction,
                                        1 / static_cast<double>(std::max<std::size_t>(pool.endpoints.size(), 1)))),
               "50% or less");
    }
}

/// A cookie is signed for one pool: another pool with the same name for it replaces it with its own.
void shared_cookie(const Document& document, Findings& findings) {
    std::map<std::string_view, const Pool*> first;
    for (const Pool& pool : document.config.pools) {
        if (!pool.affinity) continue;
        const auto [seen, is_new] = first.try_emplace(pool.affinity->cookie, &pool);
        if (is_new) continue;
        report(findings, document, Severity::warning, "P419-cookie-shared", pool_path(pool, "affinity.cookie"),
               fmt::format("the cookie \"{}\" is pool {}'s too: a client of both loses one session with each answer of "
                           "the other",
                           pool.affinity->cookie, seen->second->name),
               "a name of its own for each pool's cookie");
    }
}

/// There are no accounts: who reaches the admin listener changes the configuration.
void open_admin(const Document& document, Findings& findings) {
    const std::string& host = document.config.admin.address.host;
    if (host.empty() || host.starts_with("127.") || host == "::1") return;
    report(findings, document, Severity::warning, "P424-admin-open", "admin.address",
           fmt::format("whoever reaches {} can change the configuration: there are no accounts", host),
           "127.0.0.1, and a proxy of yours that knows who may; or the Unix socket alone");
}

constexpr RuleSummary unreachable_routes_codes[] = {
    {"P405-unreachable-route", "a route that an earlier one hides", "Istio IST0130/0131; skipper #954"},
    {"P405-duplicate-route", "a route that repeats an earlier one",
     "contour #640: one duplicate removed a whole domain"}};
constexpr RuleSummary unreachable_tcp_codes[] = {
    {"P405-unreachable-tcp", "a server name that an earlier one hides", "as for routes"}};
constexpr RuleSummary unused_pools_codes[] = {{"P406-unused-pool", "a pool that nothing leads to", "Istio IST0101"}};
constexpr RuleSummary timeout_order_codes[] = {
    {"P409-timeout-order", "connect <= per_try <= total", "haproxy #1236; istio #26302"}};
constexpr RuleSummary keepalive_codes[] = {{"P409-keepalive", "kept connections outlive the servers' patience",
                                            "resets without an entry in any server's log, worst at night"}};
constexpr RuleSummary retry_amplification_codes[] = {
    {"P410-retry-amplification", "retries that may add half the load again or more",
     "SRE book: 4 attempts at 3 layers = 64"},
    {"P410-retry-unbounded", "more than two attempts with a budget above one retry per request",
     "metastable retry storms; nothing recovers by itself"}};
constexpr RuleSummary retry_time_codes[] = {{"P410-retry-time", "attempts x per_try <= total", "SRE book, deadlines"}};
constexpr RuleSummary non_idempotent_codes[] = {
    {"P410-non-idempotent", "writes that may be carried out twice", "Twilio billing 2013"}};
constexpr RuleSummary health_shape_codes[] = {
    {"P411-fall-1", "a single bad probe that takes a server out", "Chef 2014: very low health-check timeouts"},
    {"P411-probe-overlap", "a probe that may outlast its interval", "Chef 2014"},
    {"P411-slow-to-notice", "a dead server noticed after more than a minute",
     "the time to notice is the time it harms"}};
constexpr RuleSummary panic_floor_codes[] = {
    {"P411-no-floor", "health checks without a panic floor", "AWS 74876-2: the floor was removed"}};
constexpr RuleSummary sinkhole_codes[] = {
    {"P412-sinkhole", "least_request that feeds a fast failure", "SRE book; AWS Builders' Library"}};
constexpr RuleSummary ejection_ceiling_codes[] = {
    {"P412-ejection-ceiling", "ejection of more than half", "AFD 2025: dropped nodes overloaded the rest"}};

constexpr RuleSummary shared_cookie_codes[] = {
    {"P419-cookie-shared", "one name for two pools' cookies", "each answer would end the other's session"}};
constexpr RuleSummary open_admin_codes[] = {
    {"P424-admin-open", "an admin listener on more than loopback", "there are no accounts"}};

constexpr std::array table{
    StaticRule{unreachable_routes_codes, unreachable_routes},
    StaticRule{unreachable_tcp_codes, unreachable_tcp},
    StaticRule{unused_pools_codes, unused_pools},
    StaticRule{timeout_order_codes, timeout_order},
    StaticRule{keepalive_codes, keepalive},
    StaticRule{retry_amplification_codes, retry_amplification},
    StaticRule{retry_time_codes, retry_time},
    StaticRule{non_idempotent_codes, non_idempotent},
    StaticRule{health_shape_codes, health_shape},
    StaticRule{panic_floor_codes, panic_floor},
    StaticRule{sinkhole_codes, sinkhole},
    StaticRule{ejection_ceiling_codes, ejection_ceiling},
    StaticRule{shared_cookie_codes, shared_cookie},
    StaticRule{open_admin_codes, open_admin},
};

}  // namespace

std::span<const StaticRule> static_rules() { return table; }

}  // namespace plimsoll::check
