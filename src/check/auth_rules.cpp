// Rules about who may pass: routes that ask an auth server, and changes after which one that had to be asked is not.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "check/recorded.h"
#include "check/rules.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

namespace {

using config::Config;
using config::Document;
using config::Route;

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return out;
}

/// Pools that a route's requests go to; with no targets, none.
std::vector<std::string_view> pools_of(const Route& route) {
    std::vector<std::string_view> out;
    if (!route.pool.empty()) out.emplace_back(route.pool);
    for (const auto& target : route.split) out.emplace_back(target.pool);
    return out;
}

// ---- rules on a config alone ---------------------------------------------------------------------------------------

/// P422: who takes the auth server down has opened the route.
void fails_open(const Document& document, Findings& findings) {
    for (std::size_t i = 0; i < document.config.routes.size(); ++i) {
        const Route& route = document.config.routes[i];
        if (!route.auth || route.auth->on_failure == config::OnFailure::deny) continue;
        report(findings, document, Severity::warning, "P422-auth-fails-open",
               fmt::format("routes[{}].auth.on_failure", i),
               fmt::format("when pool {} gives no answer, route {} lets every request through unasked",
                           route.auth->pool, route.name),
               "deny, where more than convenience depends on it");
    }
}

/// P409: the wait for the auth server counts in the whole.
void auth_time(const Document& document, Findings& findings) {
    for (std::size_t i = 0; i < document.config.routes.size(); ++i) {
        const Route& route = document.config.routes[i];
        if (!route.auth) continue;
        std::optional<Duration> total = route.timeout;
        for (const std::string_view name : pools_of(route)) {
            const auto pool = std::ranges::find(document.config.pools, name, &config::Pool::name);
            if (route.timeout || pool == document.config.pools.end()) continue;
            total = std::min(total.value_or(pool->timeouts.total), pool->timeouts.total);
        }
        if (!total || route.auth->timeout < *total) continue;
        report(findings, document, Severity::warning, "P409-auth-timeout", fmt::format("routes[{}].auth.timeout", i),
               fmt::format("asking may take {}, the request as a whole {}: nothing is left for the endpoint",
                           text(route.auth->timeout), text(*total)),
               "well below the total");
    }
}

/// Whether the route itself sees to it that this header is not the client's.
bool takes_away(const Route& route, const std::string& header) {
    const auto is = [&](std::string_view name) { return lower(name) == header; };
    const auto& edit = route.request_headers;
    return std::ranges::any_of(edit.remove, is) ||
           std::ranges::any_of(edit.set, [&](const auto& line) { return is(line.first); }) ||
           (route.auth && std::ranges::any_of(route.auth->upstream_headers, is));
}

/// P422: an endpoint that believes X-User by one route gets the client's own by another.
void forgeable(const Document& document, Findings& findings) {
    std::map<std::pair<std::string_view, std::string>, const Route*> believed;  // pool, header -> by which route
    const auto& routes = document.config.routes;
    for (const Route& route : routes) {
        if (!route.auth) continue;
        for (const std::string_view pool : pools_of(route)) {
            for (const std::string& name : route.auth->upstream_headers) {
                // What every client may send is not believed because it came from us.
                const std::string header = lower(name);
                if (header != "authorization" && header != "cookie") believed.try_emplace({pool, header}, &route);
            }
        }
    }
    for (std::size_t i = 0; i < routes.size(); ++i) {
        const auto pools = pools_of(routes[i]);
        for (const auto& [what, by] : believed) {
            if (std::ranges::find(pools, what.first) == pools.end() || takes_away(routes[i], what.second)) continue;
            report(findings, document, Severity::warning, "P422-forgeable-header", fmt::format("routes[{}]", i),
                   fmt::format("pool {} is told {} by the auth server of route {}; by route {} any client can say it",
                               what.first, what.second, by->name, routes[i].name),
                   fmt::format("request_headers: {{remove: [{}]}}", what.second));
            break;
        }
    }
}

// ---- rules on a change ---------------------------------------------------------------------------------------------

/// At most this many findings of one change: one who opens everything need not read it all.
constexpr std::size_t most_examples = 10;

/// A request to try both revisions with.
struct Witness {
    RequestClass request;
    std::string listener;
};

/// Requests that a route's conditions take; none where they go by pattern, header or query.
void add_witnesses(const Route& route, const std::string& usual, std::vector<Witness>& out) {
    const config::Match& match = route.match;
    if (!match.headers.empty() || !match.query.empty() || match.path_regex) return;
    std::string host = match.host.value_or("any.example");
    if (host.starts_with("*.")) host = "any" + host.substr(1);
    const std::string method = match.methods.empty() ? "GET" : match.methods.front();
    const std::string listener = match.listeners.empty() ? usual : match.listeners.front();
    const auto add = [&](std::string path) { out.push_back({{host, std::move(path), method, 0, {}, {}}, listener}); };
    if (match.path) return add(*match.path);
    std::string prefix = match.path_prefix.value_or("");
    while (prefix.ends_with('/')) prefix.pop_back();
    add(prefix.empty() ? "/" : prefix);
    add(prefix + "/any");
}

std::size_t place(const snapshot::Snapshot& snapshot, const snapshot::Route& route) {
    return static_cast<std::size_t>(&route - snapshot.routes.data());
}

/// P422: a request that had to be authorised no longer has to be: its route asks nobody any more, or another route
/// takes it. Tried with what was recorded, and with requests made from the conditions of both sides' routes.
void opened(const Change& change, Findings& findings) {
    const auto has_auth = [](const Route& route) { return route.auth.has_value(); };
    if (std::ranges::none_of(change.before.routes, has_auth)) return;
    std::vector<Witness> witnesses;
    const std::string usual_before(usual_listener(change.before.listeners));
    const std::string usual(usual_listener(change.after.config.listeners));
    for (const RequestClass& c : change.live.traffic.mix) witnesses.push_back({c, usual});
    for (const Route& route : change.before.routes) {
        if (route.auth) add_witnesses(route, usual_before, witnesses);
    }
    for (const Route& route : change.after.config.routes) {
        if (!route.auth) add_witnesses(route, usual, witnesses);
    }
    snapshot::Identities ids;
    const auto before = snapshot::compile(change.before, RevisionNumber{}, ids, 1);
    const auto after = snapshot::compile(change.after.config, RevisionNumber{}, ids, 1);
    struct Opened {
        const Witness* example = nullptr;
        std::uint64_t requests = 0;
    };
    std::map<std::pair<std::size_t, std::size_t>, Opened> by_routes;  // route after, route before
    for (const Witness& witness : witnesses) {
        const snapshot::Route* was = way_of(*before, witness.request, witness.listener).route;
        const snapshot::Route* is = way_of(*after, witness.request, witness.listener).route;
        if (was == nullptr || !was->actions->auth || is == nullptr || is->actions->auth) continue;
        if (is->actions->redirect) continue;  // it gives nothing away
        Opened& one = by_routes[{place(*after, *is), place(*before, *was)}];
        if (one.example == nullptr) one.example = &witness;
        one.requests += witness.request.requests;
    }
    std::size_t told = 0;
    for (const auto& [routes, one] : by_routes) {
        if (++told > most_examples) break;
        const std::string& now = after->routes[routes.first].name;
        const auto& old = before->routes[routes.second];
        const RequestClass& r = one.example->request;
        const auto all = static_cast<double>(std::max<std::uint64_t>(change.live.traffic.requests, 1));
        report(findings, change.after, Severity::error, "P422-opened", fmt::format("routes[{}]", routes.first),
               fmt::format("{} {}{}: before, pool {} was asked whether it may go on (route {}); now route {} lets it "
                           "through unasked{}",
                           r.method, r.host, r.path, before->pool(old.actions->auth->pool).name, old.name, now,
                           one.requests == 0 ? ""
                                             : fmt::format("; {} of recorded requests",
                                                           percent(static_cast<double>(one.requests) / all))),
               now == old.name ? "keep `auth`, or allow this finding if everybody may pass"
                               : fmt::format("give {} the same `auth`, or put it below {}", now, old.name));
    }
}

constexpr RuleSummary fails_open_codes[] = {
    {"P422-auth-fails-open", "auth that lets requests pass without an answer", "whoever can overload it is let in"}};
constexpr RuleSummary auth_time_codes[] = {
    {"P409-auth-timeout", "asking that may take as long as the whole request", "a part longer than the whole"}};
constexpr RuleSummary forgeable_codes[] = {{"P422-forgeable-header",
                                            "a header believed by one route and the client's own by another",
                                            "identity headers that the client sends itself"}};
constexpr RuleSummary opened_codes[] = {
    {"P422-opened", "requests that had to be authorised and no longer have to", "a protected path opened by an edit"}};

constexpr std::array static_table{StaticRule{fails_open_codes, fails_open}, StaticRule{auth_time_codes, auth_time},
                                  StaticRule{forgeable_codes, forgeable}};
constexpr std::array change_table{ChangeRule{opened_codes, opened}};

}  // namespace

std::span<const StaticRule> auth_rules() { return static_table; }
std::span<const ChangeRule> auth_change_rules() { return change_table; }

}  // namespace plimsoll::check
