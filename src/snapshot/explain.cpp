#include "snapshot/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "base/hash.h"

namespace plimsoll::snapshot {

namespace {

constexpr std::array<std::string_view, 8> policy_names{"round_robin", "least_request", "peak_ewma",  "prequal",
                                                       "maglev",      "ring_hash",     "rendezvous", "random"};
static_assert(std::variant_size_v<balance::Policy> == policy_names.size());

std::string_view first_header(const RequestView& request, std::string_view lower_case_name) {
    std::string_view found;
    auto take = [&](std::string_view value) {
        found = value;
        return false;
    };
    if (request.headers != nullptr) request.headers->each(lower_case_name, take);
    return found;
}

std::string lowered(std::string text) {
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return text;
}

/// The cookie of that name in the first Cookie line that has it (RFC 6265 section 5.4).
std::string_view cookie(const RequestView& request, std::string_view name) {
    std::string_view found;
    auto look = [&](std::string_view line) {
        while (!line.empty() && found.empty()) {
            std::string_view pair = line.substr(0, line.find(';'));
            line.remove_prefix(std::min(line.size(), pair.size() + 1));
            while (pair.starts_with(' ')) pair.remove_prefix(1);
            if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
                found = pair.substr(name.size() + 1);
            }
        }
        return found.empty();
    };
    if (request.headers != nullptr) request.headers->each("cookie", look);
    return found;
}

std::string_view key_text(const Pool& pool, const RequestView& request, const Around& around) {
    switch (pool.hash.by) {
        case config::HashBy::client: return around.client;
        case config::HashBy::header: return first_header(request, lowered(pool.hash.name));
        case config::HashBy::cookie: return cookie(request, pool.hash.name);
        case config::HashBy::path: return request.path;
    }
    return {};
}

std::string key_source(const config::Hash& hash) {
    switch (hash.by) {
        case config::HashBy::client: return "client address";
        case config::HashBy::header: return "header " + hash.name;
        case config::HashBy::cookie: return "cookie " + hash.name;
        case config::HashBy::path: return "path";
    }
    return {};
}

/// One target of the winner, looked into.
class Looked {
public:
    Looked(const Snapshot& snapshot, const Target& target, const RequestView& request, const Around& around)
        : pool_(snapshot.pool(target.pool)), target_(target), request_(request), around_(around) {
        facts_ = pool_.facts;
        for (std::uint32_t i = 0; i < facts_.members.size(); ++i) {
            if (!in_subset(i)) facts_.members[i].weight = 0;
        }
        take_states(snapshot.endpoint_ids);
    }
    PoolView view(double probability);

private:
    [[nodiscard]] bool in_subset(std::uint32_t i) const {
        return target_.subset == nullptr || target_.subset->contains(i);
    }
    [[nodiscard]] const balance::EndpointState& state(std::uint32_t i) const {
        return states_[facts_.members[i].id.value];
    }
    [[nodiscard]] bool out(std::uint32_t i) const {
        return state(i).ejected_until > around_.now || state(i).not_before > around_.now;
    }
    void take_states(std::uint32_t ids);
    [[nodiscard]] EndpointView endpoint(std::uint32_t i, double share) const;
    [[nodiscard]] std::string trouble(std::uint32_t i) const;
    [[nodiscard]] std::string key() const;

    const Pool& pool_;
    const Target& target_;
    const RequestView& request_;
    const Around& around_;
    balance::PoolFacts facts_;  ///< those outside of the subset have weight 0
    std::vector<balance::EndpointState> states_;
    std::vector<bool> usable_;
    bool anybody_up_ = false;
};

void Looked::take_states(std::uint32_t ids) {
    states_.resize(ids);
    for (std::size_t i = 0; i < ids; ++i) {
        if (i < around_.states.size()) {
            states_[i] = around_.states[i];
        } else if (around_.states.empty()) {
            states_[i].health = balance::Health::up;
        }
    }
    for (std::uint32_t i = 0; i < facts_.members.size(); ++i) {
        anybody_up_ |= facts_.members[i].weight > 0 && state(i).health == balance::Health::up && !out(i);
    }
    for (std::uint32_t i = 0; i < facts_.members.size(); ++i) {
        const auto wanted = anybody_up_ ? balance::Health::up : balance::Health::unknown;
        usable_.push_back(state(i).health == wanted && !out(i));
    }
}

/// Why it is not fit to serve by its state.
std::string Looked::trouble(std::uint32_t i) const {
    const balance::EndpointState& is = state(i);
    if (is.health == balance::Health::down) return "down by its health check";
    if (is.ejected_until > around_.now) {
        return fmt::format("ejected after failures, {} more", plimsoll::text(is.ejected_until - around_.now));
    }
    if (is.not_before > around_.now) {
        return fmt::format("asked to be left alone, {} more", plimsoll::text(is.not_before - around_.now));
    }
    if (is.health == balance::Health::unknown) return "not checked yet";
    return {};
}

EndpointView Looked::endpoint(std::uint32_t i, double share) const {
    EndpointView made;
    made.index = {i};
    made.share = share;
    std::string why = trouble(i);
    if (share > 0) {
        if (!usable_[i]) made.remark = fmt::format("{}; used in panic: too few are healthy", why);
        if (usable_[i] && !why.empty()) made.remark = why;
    } else if (!in_subset(i)) {
        made.why_not = "not in the route's subset";
    } else if (pool_.facts.members[i].weight <= 0) {
        made.why_not = "weight 0: it is drained";
    } else if (!why.empty()) {
        made.why_not = std::move(why);
    } else {
        made.why_not =
            fmt::format("a later priority (level {}): used as those before it fail", pool_.facts.members[i].priority);
    }
    return made;
}

std::string Looked::key() const {
    if (!goes_by_key(pool_)) return {};
    const std::string source = key_source(pool_.hash);
    const std::string_view text = key_text(pool_, request_, around_);
    if (text.empty()) {
        return pool_.hash.by == config::HashBy::client ? "client address, which is not known here"
                                                       : fmt::format("{} is not there: by lot", source);
    }
    balance::Cursor cursor;
    Random random(1);
    const auto home = balance::pick(facts_, states_, cursor, {}, around_.now, random,
                                    {.key = keyed_hash(text, 0), .subset = target_.subset.get()});
    if (!home) return fmt::format("{}: nobody can take it", source);
    return fmt::format("{}: this one goes to {}", source, pool_.endpoints[home->index.value].name);
}

PoolView Looked::view(double probability) {
    PoolView made;
    made.pool = target_.pool;
    made.probability = probability;
    made.policy = policy_text(pool_);
    made.key = key();
    if (pool_.affinity) {
        made.sticky =
            cookie(request_, pool_.affinity->cookie).empty()
                ? fmt::format("cookie {}: not there; the answer sets it", pool_.affinity->cookie)
                : fmt::format("cookie {}: goes where it says, if that server can serve", pool_.affinity->cookie);
    }
    if (target_.subset != nullptr) {
        made.subset = fmt::format("{} of {} endpoints", target_.subset_size, pool_.endpoints.size());
    }
    const std::vector<double> shares = balance::local_shares(facts_, usable_);
    for (std::uint32_t i = 0; i < shares.size(); ++i) made.endpoints.push_back(endpoint(i, shares[i]));
    return made;
}

std::string percent(double share) { return fmt::format("{:.4g}%", share * 100); }

std::string edit_text(const HeaderEdit& edit) {
    std::string made;
    const auto say = [&made](std::string_view verb, std::string_view name) {
        made += fmt::format("{}{} {}", made.empty() ? "" : ", ", verb, name);
    };
    for (const std::string& name : edit.remove) say("removes", name);
    for (const HeaderLine& line : edit.set) say("sets", line.name);
    for (const HeaderLine& line : edit.add) say("adds", line.name);
    return made;
}

void tell_fault(const config::Fault& fault, std::vector<std::string>& remarks) {
    if (fault.delay_share > 0) {
        remarks.push_back(
            fmt::format("fault: {} of requests wait {}", percent(fault.delay_share), plimsoll::text(fault.delay)));
    }
    if (fault.abort_share > 0) {
        remarks.push_back(
            fmt::format("fault: {} of requests are answered {}", percent(fault.abort_share), fault.abort_status));
    }
}

void tell_limits(const Actions& actions, std::vector<std::string>& remarks) {
    for (const RateLimit& limit : actions.rate_limits) {
        const std::string by = limit.by == config::RateKey::client   ? "of one client"
                               : limit.by == config::RateKey::header ? "of one " + limit.header
                                                                     : "of all clients together";
        remarks.push_back(
            fmt::format("rate limit: {:g}/s {}, bursts of {:g}; 429 beyond", limit.rate, by, limit.burst));
    }
}

std::string joined(const std::vector<std::string>& names) {
    std::string made;
    for (const std::string& name : names) made += (made.empty() ? "" : ", ") + name;
    return made;
}

void tell_auth(const Auth& auth, std::string_view pool, std::vector<std::string>& remarks) {
    remarks.push_back(fmt::format("auth: pool {} is asked first, GET {}, within {}; without an answer {}", pool,
                                  auth.path.empty() ? "the same path" : auth.path, plimsoll::text(auth.timeout),
                                  auth.allow_on_failure ? "the request goes on" : "503"));
    if (!auth.upstream_headers.empty()) {
        remarks.push_back(
            fmt::format("auth: it alone says {}; the client's are removed", joined(auth.upstream_headers)));
    }
}

void tell(const Snapshot& snapshot, const Route& route, const RequestView& request, std::vector<std::string>& remarks) {
    const Actions& actions = *route.actions;
    tell_limits(actions, remarks);
    if (actions.auth) tell_auth(*actions.auth, snapshot.pool(actions.auth->pool).name, remarks);
    if (actions.fault) tell_fault(*actions.fault, remarks);
    if (actions.mirror) {
        remarks.push_back(fmt::format("mirror: {} of requests are copied to pool {}", percent(actions.mirror->share),
                                      snapshot.pool(actions.mirror->pool).name));
    }
    if (!actions.request_headers.empty()) remarks.push_back("request: " + edit_text(actions.request_headers));
    if (!actions.response_headers.empty()) remarks.push_back("answer: " + edit_text(actions.response_headers));
    if (actions.trailers == config::Trailers::pass) remarks.push_back("trailers: passed on, both ways");
    if (actions.early_hints != config::EarlyHints::http2) {
        const bool all = actions.early_hints == config::EarlyHints::all;
        remarks.push_back(all ? "early hints: passed on, to clients of HTTP/1.1 as well" : "early hints: dropped");
    }
    if (route.timeout) remarks.push_back(fmt::format("timeout: {} in all", plimsoll::text(*route.timeout)));
    if (request.method == "CONNECT" && !actions.connect) {
        remarks.push_back("CONNECT: this route opens no tunnels; the answer is 405");
    }
    const std::string_view upgrade = first_header(request, "upgrade");
    if (!upgrade.empty()) {
        remarks.push_back(actions.upgrades_to(upgrade) ? "upgrade: allowed, if the server agrees"
                                                       : "upgrade: this route does not allow it");
    }
}

/// What becomes of the request when nobody stands behind the route. True if that is all.
bool answer(const Route& route, const RequestView& request, Explanation& made) {
    const Actions& actions = *route.actions;
    if (actions.redirect) {
        if (auto to = location(*actions.redirect, request)) {
            made.status = actions.redirect->status;
            made.location = std::move(*to);
            const std::string asked =
                fmt::format("{}://{}{}", request.scheme, request.host, request.path.empty() ? "/" : request.path);
            if (made.location.substr(0, made.location.find('?')) == asked && !actions.redirect->strip_query) {
                made.remarks.emplace_back("loop: the redirect leads to what was asked for");
            }
        } else {
            made.status = 400;
            made.refused = "no Location can be made: host, path or query hold what may not stand in one";
        }
        return true;
    }
    if (actions.respond) made.status = actions.respond->status;
    return actions.respond.has_value();
}

/// False: refused.
bool rewrite(const Route& route, const RequestView& request, Explanation& made) {
    made.host = request.host;
    made.path = request.path;
    if (!route.actions->rewrite) return true;
    if (!route.actions->rewrite->host.empty()) made.host = route.actions->rewrite->host;
    std::string path;
    const Rewritten how = rewrite_path(*route.actions->rewrite, request.path, path);
    if (how == Rewritten::yes) made.path = path;
    made.rewritten = made.host != request.host || made.path != request.path;
    if (how != Rewritten::refused) return true;
    made.status = 400;
    made.refused = "the rewritten path could not stand in a request line";
    return false;
}

}  // namespace

std::string policy_text(const Pool& pool) {
    std::string made(policy_names[pool.facts.policy.index()]);
    if (goes_by_key(pool)) {
        made += " by " + key_source(pool.hash);
        if (pool.hash.bounded_load > 0) made += fmt::format(", bounded load {:g}", pool.hash.bounded_load);
    }
    return made;
}

Explanation explain(const Snapshot& snapshot, const RequestView& asked, const Around& around) {
    RequestView request = asked;
    if (const TargetParts parts = split_target(asked.path); parts.has_query) {
        request.path = parts.path;
        if (request.query.empty()) request.query = parts.query;
    }
    Explanation made;
    made.winner = snapshot.match(request);
    const std::uint32_t end = made.winner ? made.winner->value : static_cast<std::uint32_t>(snapshot.routes.size());
    for (std::uint32_t i = 0; i < end; ++i) {
        auto why = why_not(snapshot.routes[i].match, request);
        PLIMSOLL_ENSURE(why.has_value(), "the route table passed over a route that matches");
        if (why->unmet == Unmet::host) {
            ++made.other_hosts;
        } else {
            made.passed_over.push_back({{i}, std::move(*why)});
        }
    }
    if (!made.winner) {
        made.status = 404;
        return made;
    }
    const Route& route = snapshot.route(*made.winner);
    tell(snapshot, route, request, made.remarks);
    if (answer(route, request, made) || !rewrite(route, request, made)) return made;
    each_target(route, [&](const Target& target, double part) {
        made.pools.push_back(Looked(snapshot, target, request, around).view(part));
    });
    return made;
}

}  // namespace plimsoll::snapshot
