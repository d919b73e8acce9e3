// Rules on what routes do and on how pools are divided: redirects, subsets, levels, zones, faults, mirrors, trust.
//
// A path that is rewritten before the backend is chosen (haproxy #2926) cannot happen here, by construction: a route's
// conditions are tested on the request as sent, the first that matches is final, and its rewrite touches only what that
// route's pool is asked for. So there is no rule about it.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "check/routes.h"
#include "check/rules.h"

namespace plimsoll::check {

namespace {

using config::Document;
using config::Pool;
using config::Route;

const Pool* find_pool(const config::Config& config, std::string_view name) {
    const auto found = std::ranges::find(config.pools, name, &Pool::name);
    return found == config.pools.end() ? nullptr : &*found;
}

bool within(std::string_view path, std::string_view prefix) {
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    return path.starts_with(prefix) && (path.size() == prefix.size() || path[prefix.size()] == '/');
}

// ---- redirects -----------------------------------------------------------------------------------------------------

/// Whether some clients reach the route by this scheme already.
bool is_asked_by(const config::Config& config, const Route& route, std::string_view scheme) {
    const auto& only = route.match.listeners;
    return std::ranges::any_of(config.listeners, [&](const config::Listener& listener) {
        return listener.protocol == config::Protocol::http && listener.tls.has_value() == (scheme == "https") &&
               (only.empty() || std::ranges::find(only, listener.name) != only.end());
    });
}

/// Whether the place that a client is sent to is surely one that the same route sends on.
bool comes_back(const config::Config& config, const Route& route) {
    const config::Redirect& to = *route.redirect;
    const config::Match& match = route.match;
    if (!to.scheme.empty() && !is_asked_by(config, route, to.scheme)) return false;
    if (!to.host.empty() && (!match.host || to.host.contains(':') || !host_covered(*match.host, to.host))) return false;
    if (to.strip_query && !match.query.empty()) return false;
    if (!to.path.empty()) {
        if (match.path) return *match.path == to.path;
        if (match.path_prefix) return within(to.path, *match.path_prefix);
        return !match.path_regex;
    }
    if (!to.path_prefix.empty()) return match.path_prefix && within(to.path_prefix, *match.path_prefix);
    return true;
}

/// P405: a redirect to where the client came from. Earlier routes may take the new place; then nothing is said.
void redirect_loops(const Document& document, Findings& findings) {
    const auto& routes = document.config.routes;
    for (std::size_t i = 0; i < routes.size(); ++i) {
        if (!routes[i].redirect || !comes_back(document.config, routes[i])) continue;
        const config::Redirect& to = *routes[i].redirect;
        const bool elsewhere = !to.host.empty() || !to.path.empty() || !to.path_prefix.empty();
        config::Match there = routes[i].match;
        if (!to.host.empty()) there.host = to.host;
        if (!to.path.empty() || !to.path_prefix.empty()) {
            there.path_prefix.reset();
            there.path_regex.reset();
            there.path.reset();
            (to.path.empty() ? there.path_prefix : there.path) = to.path.empty() ? to.path_prefix : to.path;
        }
        const auto takes = [&](const Route& earlier) { return overlap(earlier.match, there); };
        if (elsewhere && std::any_of(routes.begin(), routes.begin() + static_cast<std::ptrdiff_t>(i), takes)) continue;
        report(findings, document, Severity::error, "P405-redirect-loop", fmt::format("routes[{}].redirect", i),
               fmt::format("route {} sends clients to where it sends them on again", routes[i].name),
               to.scheme.empty() ? "name another host, path or scheme, or make the match narrower"
                                 : "say match.listeners, so that it applies only where clients come in otherwise");
    }
}

// ---- subsets -------------------------------------------------------------------------------------------------------

bool has_labels(const config::Endpoint& endpoint, const std::map<std::string, std::string>& wanted) {
    return std::ranges::all_of(wanted, [&](const auto& label) {
        const auto found = endpoint.labels.find(label.first);
        return found != endpoint.labels.end() && found->second == label.second;
    });
}

void one_subset(const Document& document, std::size_t route, const Pool& pool, Findings& findings) {
    const auto& wanted = document.config.routes[route].subset;
    const auto chosen = std::ranges::count_if(
        pool.endpoints, [&](const config::Endpoint& e) { return e.weight > 0 && has_labels(e, wanted); });
    if (chosen > 1) return;
    std::string labels;
    for (const auto& [name, value] : wanted) labels += fmt::format("{}{}: {}", labels.empty() ? "" : ", ", name, value);
    const std::string path = fmt::format("routes[{}].subset", route);
    if (chosen == 0) {
        report(findings, document, Severity::error, "P406-subset-empty", path,
               fmt::format("no endpoint of pool {} with a weight has {}: every request of this route would fail",
                           pool.name, labels),
               "see the endpoints' labels");
    } else {
        report(findings, document, Severity::warning, "P406-subset-one", path,
               fmt::format("one endpoint of pool {} has {}: when it fails, so does every request of this route",
                           pool.name, labels),
               "label a second one");
    }
}

/// P406: labels that select nobody, or one alone. What discovery will find is not known.
void subsets(const Document& document, Findings& findings) {
    for (std::size_t i = 0; i < document.config.routes.size(); ++i) {
        const Route& route = document.config.routes[i];
        if (route.subset.empty()) continue;
        std::vector<std::string> names{route.pool};
        for (const auto& target : route.split) names.push_back(target.pool);
        for (const std::string& name : names) {
            const Pool* pool = find_pool(document.config, name);
            if (pool != nullptr && !pool->discovery) one_subset(document, i, *pool, findings);
        }
    }
}

// ---- levels and zones ----------------------------------------------------------------------------------------------

/// P413: a level that nobody is on; mostly a typing error, as the next one would be used just the same.
void priority_gaps(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (pool.endpoints.empty() || pool.discovery) continue;
        std::set<std::uint32_t> levels;
        for (const auto& e : pool.endpoints) levels.insert(e.priority);
        std::uint32_t next = 0;
        for (const std::uint32_t level : levels) {
            if (level != next) break;
            ++next;
        }
        if (next == levels.size()) continue;
        report(findings, document, Severity::warning, "P413-priority-gap", pool_path(pool, "endpoints"),
               fmt::format("nobody has priority {}, but somebody {}", next, *levels.rbegin()), "0, 1, 2 without a gap");
    }
}

/// P413: preferring our own zone needs to know which it is and who stands in it.
void zones(const Document& document, Findings& findings) {
    if (document.config.zone_traffic > 0 && document.config.zone.empty()) {
        report(findings, document, Severity::warning, "P413-zone-unknown", "zone_traffic",
               "the part of the traffic that arrives in our zone is stated, but not which zone that is",
               "say zone: NAME beside it");
    }
    for (const Pool& pool : document.config.pools) {
        if (!pool.zone_aware) continue;
        const std::string path = pool_path(pool, "zone_aware");
        if (document.config.zone.empty()) {
            report(findings, document, Severity::warning, "P413-zone-unknown", path,
                   "this server does not know its own zone, so no zone is preferred",
                   "say zone: NAME at the top level");
        } else if (!pool.endpoints.empty() && !pool.discovery &&
                   std::ranges::none_of(pool.endpoints,
                                        [&](const auto& e) { return e.zone == document.config.zone; })) {
            report(findings, document, Severity::warning, "P413-zone-unknown", path,
                   fmt::format("no endpoint is in our zone {}, so no zone is preferred", document.config.zone),
                   "see the endpoints' zones");
        }
    }
}

// ---- trouble on purpose --------------------------------------------------------------------------------------------

/// P417: a fault that is on; drills end, but their settings stay.
void faults_on(const Document& document, Findings& findings) {
    for (std::size_t i = 0; i < document.config.routes.size(); ++i) {
        const Route& route = document.config.routes[i];
        if (!route.fault) continue;
        const auto say = [&](std::string_view key, std::string message) {
            report(findings, document, Severity::warning, "P417-fault-on", fmt::format("routes[{}].fault.{}", i, key),
                   std::move(message), "fault: off when the drill is over");
        };
        if (route.fault->abort_share > 0) {
            say("abort_share", fmt::format("{} of the requests of route {} get {} on purpose",
                                           percent(route.fault->abort_share), route.name, route.fault->abort_status));
        }
        if (route.fault->delay_share > 0 && route.fault->delay.count() > 0) {
            say("delay_share", fmt::format("{} of the requests of route {} wait {} on purpose",
                                           percent(route.fault->delay_share), route.name, text(route.fault->delay)));
        }
    }
}

/// P417: copies to the pool that serves as well: it carries each request more than once.
void mirrors(const Document& document, Findings& findings) {
    for (std::size_t i = 0; i < document.config.routes.size(); ++i) {
        const Route& route = document.config.routes[i];
        if (!route.mirror || route.mirror->share <= 0) continue;
        const bool same = route.mirror->pool == route.pool ||
                          std::ranges::any_of(route.split, [&](const auto& t) { return t.pool == route.mirror->pool; });
        if (!same) continue;
        report(
            findings, document, Severity::warning, "P417-mirror-to-itself", fmt::format("routes[{}].mirror.pool", i),
            fmt::format("pool {} serves this route already and would carry {:.2f} times its requests, writes included",
                        route.mirror->pool, 1 + route.mirror->share),
            "mirror to a pool of its own");
    }
}

// ---- trust and care ------------------------------------------------------------------------------------------------

/// P421: if everybody is believed, everybody may claim any address: rate limits and logs mean nothing.
void trusts_anybody(const Document& document, Findings& findings) {
    const auto everybody = [](const std::string& network) { return network.ends_with("/0"); };
    for (const config::Listener& listener : document.config.listeners) {
        const auto look = [&](const std::vector<std::string>& networks, std::string_view key, std::string_view how) {
            if (std::ranges::none_of(networks, everybody)) return;
            report(findings, document, Severity::warning, "P421-trusts-anybody",
                   fmt::format("listeners.{}.{}", listener.name, key),
                   fmt::format("anybody who connects may claim any client address by {}", how),
                   "only the networks of your own proxies");
        };
        look(listener.trusted_proxies, "trusted_proxies", "X-Forwarded-For");
        look(listener.proxy_protocol_from, "proxy_protocol_from", "a PROXY header");
    }
}

/// P411: endpoints that come and go by discovery, and nobody looks whether they answer.
void discovered_unchecked(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (!pool.discovery || pool.health) continue;
        report(findings, document, Severity::warning, "P411-discovery-unchecked", pool_path(pool, "health"),
               "whatever is found gets requests at once, answering or not: probing is off",
               "leave health on: found endpoints are then probed before their first request");
    }
}

/// P416: a limit without a queue refuses at the first burst; legitimate, but it should be meant.
void limit_without_queue(const Document& document, Findings& findings) {
    for (const Pool& pool : document.config.pools) {
        if (pool.limits.max_in_flight == 0 || pool.limits.queue > 0) continue;
        report(
            findings, document, Severity::note, "P416-no-queue", pool_path(pool, "limits.max_in_flight"),
            fmt::format("the request after {} in progress gets 503 at once; nobody waits", pool.limits.max_in_flight),
            "a short `queue` takes bursts in");
    }
}

constexpr RuleSummary redirect_loops_codes[] = {
    {"P405-redirect-loop", "a redirect to where it redirects", "redirects to https behind a proxy that ended TLS"}};
constexpr RuleSummary subsets_codes[] = {
    {"P406-subset-empty", "labels that no endpoint has", "envoy #25654; a selector that matched nobody"},
    {"P406-subset-one", "labels that one endpoint alone has", "envoy #4837"}};
constexpr RuleSummary priority_gaps_codes[] = {
    {"P413-priority-gap", "levels of priority with a gap", "Envoy refuses them; a typing error"}};
constexpr RuleSummary zones_codes[] = {
    {"P413-zone-unknown", "zone_aware or zone_traffic without our zone, or nobody in it", "accepted, but not applied"}};
constexpr RuleSummary faults_on_codes[] = {
    {"P417-fault-on", "fault injection that is on", "drills end, their settings stay"}};
constexpr RuleSummary mirrors_codes[] = {
    {"P417-mirror-to-itself", "copies to the pool that serves", "shadow traffic that doubled the load"}};
constexpr RuleSummary trusts_anybody_codes[] = {
    {"P421-trusts-anybody", "trusted networks that hold everybody", "forged X-Forwarded-For past rate limits"}};
constexpr RuleSummary discovered_unchecked_codes[] = {
    {"P411-discovery-unchecked", "discovery with probing off", "Slack 2020-05-12: dead hosts stayed listed"}};
constexpr RuleSummary limit_without_queue_codes[] = {
    {"P416-no-queue", "a limit on requests in flight without a queue", "for review"}};

constexpr std::array table{
    StaticRule{redirect_loops_codes, redirect_loops},
    StaticRule{subsets_codes, subsets},
    StaticRule{priority_gaps_codes, priority_gaps},
    StaticRule{zones_codes, zones},
    StaticRule{faults_on_codes, faults_on},
    StaticRule{mirrors_codes, mirrors},
    StaticRule{trusts_anybody_codes, trusts_anybody},
    StaticRule{discovered_unchecked_codes, discovered_unchecked},
    StaticRule{limit_without_queue_codes, limit_without_queue},
};

}  // namespace

std::span<const StaticRule> action_rules() { return table; }

}  // namespace plimsoll::check
