// What must hold within a route, and between it and what it names.
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "config/units.h"
#include "config/validate.h"

namespace plimsoll::config {

namespace {

constexpr std::array<std::string_view, 1> known_upgrades{"websocket"};
constexpr std::array<std::string_view, 9> known_methods{"GET",     "HEAD",    "POST",  "PUT",  "DELETE",
                                                        "CONNECT", "OPTIONS", "TRACE", "PATCH"};
constexpr std::array<std::string_view, 10> framing{"connection", "content-length", "transfer-encoding", "te",
                                                   "trailer",    "upgrade",        "proxy-connection",  "keep-alive",
                                                   "host",       "http2-settings"};

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return out;
}
std::string upper(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - ('a' - 'A')) : c; });
    return out;
}

bool is_token(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string_view("!#$%&'*+-.^_`|~").contains(c);
    });
}

/// One route under examination.
struct Examined {
    const Route& route;
    const Names& names;
    Report& report;
    std::string path;

    void error(std::string_view code, std::string_view key, std::string message, std::string remedy = {}) const {
        report.error(code, fmt::format("{}.{}", path, key), std::move(message), std::move(remedy));
    }
};

void fields(const Examined& x, const std::vector<FieldMatch>& conditions, std::string_view key, bool header) {
    for (std::size_t i = 0; i < conditions.size(); ++i) {
        const FieldMatch& c = conditions[i];
        const std::string item = fmt::format("match.{}[{}]", key, i);
        if (c.exact && c.regex) x.error("P207-match", item, "both exact and regex", "keep one of them");
        if (header && !c.name.empty() && !is_token(c.name)) {
            x.error("P207-match", item + ".name", fmt::format("\"{}\" cannot name a header", c.name.substr(0, 80)),
                    "letters, digits, '-' and '_'");
        }
        if (!header && c.name.empty() && x.report.sources.written(fmt::format("{}.{}.name", x.path, item))) {
            x.error("P207-match", item + ".name", "a query parameter without a name", "say which");
        }
    }
}

void match(const Examined& x) {
    const Match& m = x.route.match;
    const int paths = m.path.has_value() + m.path_prefix.has_value() + m.path_regex.has_value();
    if (paths > 1) {
        std::string which;
        const auto say = [&](bool given, std::string_view name) {
            if (given) which += (which.empty() ? "" : " and ") + std::string(name);
        };
        say(m.path.has_value(), "path");
        say(m.path_prefix.has_value(), "path_prefix");
        say(m.path_regex.has_value(), "path_regex");
        x.error("P207-match", "match", fmt::format("{} at once", which), "keep one of them");
    }
    for (std::size_t i = 0; i < m.listeners.size(); ++i) {
        const std::string item = fmt::format("{}.match.listeners[{}]", x.path, i);
        const Listener* listener = x.report.listener(x.names, m.listeners[i], item);
        if (listener != nullptr && listener->protocol == Protocol::tcp) {
            x.report.error("P214-protocol", item,
                           fmt::format("{} is a tcp listener; it goes by its own `tcp`", listener->name),
                           "name an http listener");
        }
    }
    for (std::size_t i = 0; i < m.methods.size(); ++i) {
        const std::string meant = upper(m.methods[i]);
        if (meant == m.methods[i] || std::ranges::find(known_methods, meant) == known_methods.end()) continue;
        x.error("P207-match", fmt::format("match.methods[{}]", i), fmt::format("no client sends \"{}\"", m.methods[i]),
                fmt::format("methods are written {}", meant));
    }
    fields(x, m.headers, "headers", true);
    fields(x, m.query, "query", false);
}

void split(const Examined& x) {
    double weights = 0;
    std::unordered_set<std::string_view> seen;
    for (std::size_t i = 0; i < x.route.split.size(); ++i) {
        const Target& target = x.route.split[i];
        const std::string item = fmt::format("{}.split[{}].pool", x.path, i);
        weights += target.weight;
        x.report.pool(x.names, target.pool, item);
        if (!target.pool.empty() && !seen.insert(target.pool).second) {
            x.report.error("P201-duplicate-name", item, fmt::format("{} is in this split already", target.pool),
                           "add the weights up");
        }
    }
    if (!x.route.split.empty() && weights <= 0) {
        x.error("P205-all-weights-zero", "split", fmt::format("all {} parts have weight 0", x.route.split.size()),
                "nobody would answer; give at least one a weight");
    }
}

/// Exactly one of pool, split, redirect and respond; and nothing that needs a server where there is none.
void action(const Examined& x) {
    const Route& r = x.route;
    const auto& sources = x.report.sources;
    const auto given = [&](bool set, std::string_view key) {
        return set || sources.written(fmt::format("{}.{}", x.path, key)) ? 1 : 0;
    };
    const bool redirects = r.redirect.has_value(), responds = r.respond.has_value();
    const int servers = given(!r.pool.empty(), "pool") + (r.split.empty() ? 0 : 1);
    const int actions = servers + (redirects ? 1 : 0) + (responds ? 1 : 0);
    if (actions == 0) {
        x.report.error("P210-action", x.path, "nothing is done with the requests of this route",
                       "say one of pool, split, redirect and respond");
    } else if (actions > 1) {
        std::string which;
        const auto say = [&](bool is, std::string_view name) {
            if (is) which += (which.empty() ? "" : ", ") + std::string(name);
        };
        say(!r.pool.empty(), "pool");
        say(!r.split.empty(), "split");
        say(redirects, "redirect");
        say(responds, "respond");
        x.report.error("P210-action", x.path, fmt::format("{} at once", which), "keep one of them");
    }
    if (responds && !r.respond->body.empty() && (r.respond->status == 204 || r.respond->status == 304)) {
        x.error("P210-action", "respond.body", fmt::format("a {} has no body", r.respond->status),
                "leave it out, or answer 200");
    }
    if (servers > 0 || actions == 0) return;
    const auto needs_server = [&](bool set, std::string_view key) {
        if (!set) return;
        x.error("P210-action", key,
                fmt::format("{} needs a pool; this route {}", key, redirects ? "redirects" : "responds"),
                "leave it out");
    };
    needs_server(!r.subset.empty(), "subset");
    needs_server(r.rewrite.has_value(), "rewrite");
    needs_server(r.mirror.has_value(), "mirror");
    needs_server(r.timeout.has_value(), "timeout");
    needs_server(!r.upgrades.empty(), "upgrades");
    needs_server(r.connect, "connect");
    needs_server(r.early_hints != EarlyHints{}, "early_hints");
    needs_server(r.trailers != Trailers{}, "trailers");
    needs_server(r.request_headers != HeaderEdit{}, "request_headers");
}

void redirect(const Examined& x) {
    const Redirect& r = *x.route.redirect;
    constexpr std::array<std::uint16_t, 5> statuses{301, 302, 303, 307, 308};
    if (std::ranges::find(statuses, r.status) == statuses.end()) {
        x.error("P211-rewrite", "redirect.status", fmt::format("{} sends nobody anywhere", r.status),
                "301, 302, 303, 307 or 308");
    }
    if (!r.scheme.empty() && r.scheme != "http" && r.scheme != "https") {
        x.error("P211-rewrite", "redirect.scheme",
                fmt::format("\"{}\" is not a scheme of the web", r.scheme.substr(0, 80)), "http or https");
    }
    if (!r.path.empty() && !r.path_prefix.empty()) {
        x.error("P211-rewrite", "redirect", "both path and path_prefix", "keep one of them");
    }
    if (!r.path_prefix.empty() && !x.route.match.path_prefix) {
        x.error("P211-rewrite", "redirect.path_prefix", "there is no match.path_prefix that it could replace",
                "say match.path_prefix, or redirect.path");
    }
}

void rewrite(const Examined& x) {
    const Rewrite& r = *x.route.rewrite;
    const int ways = (r.path.empty() ? 0 : 1) + (r.path_prefix.empty() ? 0 : 1) + (r.regex.empty() ? 0 : 1);
    if (ways > 1)
        x.error("P211-rewrite", "rewrite", "more than one of path, path_prefix and regex", "keep one of them");
    if (!r.path_prefix.empty() && !x.route.match.path_prefix) {
        x.error("P211-rewrite", "rewrite.path_prefix", "there is no match.path_prefix that it could replace",
                "say match.path_prefix, or rewrite.path");
    }
    if (r.regex.empty()) {
        if (!r.substitution.empty()) {
            x.error("P211-rewrite", "rewrite.substitution", "there is no regex whose match it could replace",
                    "say regex");
        }
        return;
    }
    RE2::Options options(RE2::Quiet);
    options.set_max_mem(max_regex_bytes);
    const RE2 compiled(r.regex, options);
    std::string why;
    if (compiled.ok() && !compiled.CheckRewriteString(r.substitution, &why)) {
        x.error("P211-rewrite", "rewrite.substitution", fmt::format("RE2 says: {}", why),
                "\\1 to \\9 are the groups of the regex, \\0 all of it");
    }
}

void header_edit(const Examined& x, const HeaderEdit& edit, std::string_view key) {
    const auto look = [&](std::string_view name, std::string item) {
        if (!frames_messages(name)) return;
        const bool host = lower(name) == "host";
        x.error("P212-header", fmt::format("{}.{}", key, item),
                host ? "Host is part of the request line, so to say" : fmt::format("{} frames the message", name),
                host ? "use rewrite.host" : "it is ours to write");
    };
    for (std::size_t i = 0; i < edit.remove.size(); ++i) look(edit.remove[i], fmt::format("remove[{}]", i));
    for (const auto& [name, value] : edit.set) look(name, "set." + name);
    for (const auto& [name, value] : edit.add) look(name, "add." + name);
}

void auth(const Examined& x) {
    const Auth& a = *x.route.auth;
    x.report.pool(x.names, a.pool, x.path + ".auth.pool");
    const auto look = [&](const std::vector<std::string>& names, std::string_view key) {
        for (std::size_t i = 0; i < names.size(); ++i) {
            if (!frames_messages(names[i])) continue;
            x.error("P212-header", fmt::format("auth.{}[{}]", key, i),
                    fmt::format("{} belongs to one connection or message and cannot be taken over", names[i]),
                    lower(names[i]) == "host" ? "auth.host and X-Forwarded-Host are for that" : "leave it out");
        }
    };
    look(a.request_headers, "request_headers");
    look(a.upstream_headers, "upstream_headers");
    look(a.client_headers, "client_headers");
}

void rate_limits(const Examined& x) {
    if (x.route.rate_limits.size() > max_rate_limits) {
        x.error("P215-rate-limit", fmt::format("rate_limits[{}]", max_rate_limits),
                fmt::format("{} rate limits; a route has at most {}", x.route.rate_limits.size(), max_rate_limits),
                "leave out what another one implies, or divide the route");
    }
    for (std::size_t i = 0; i < x.route.rate_limits.size(); ++i) {
        const RateLimit& limit = x.route.rate_limits[i];
        const std::string item = fmt::format("rate_limits[{}]", i);
        if (limit.by == RateKey::header && limit.header.empty()) {
            x.error("P215-rate-limit", item + ".by", "which header?", "say header: its name");
        } else if (limit.by != RateKey::header && !limit.header.empty()) {
            x.error("P215-rate-limit", item + ".header", "it is not counted by header",
                    "by: header, or leave header out");
        }
    }
}

void upgrades(const Examined& x) {
    for (std::size_t i = 0; i < x.route.upgrades.size(); ++i) {
        const std::string& name = x.route.upgrades[i];
        if (std::ranges::find(known_upgrades, lower(name)) != known_upgrades.end()) continue;
        x.error("P220-upgrade", fmt::format("upgrades[{}]", i),
                fmt::format("\"{}\" cannot be upgraded to", name.substr(0, 80)),
                Report::nearest(lower(name), {known_upgrades.begin(), known_upgrades.end()}, "known: websocket"));
    }
}

void examine(const Examined& x) {
    const Route& r = x.route;
    match(x);
    action(x);
    if (!r.pool.empty()) x.report.pool(x.names, r.pool, x.path + ".pool");
    split(x);
    if (r.redirect) redirect(x);
    if (r.rewrite) rewrite(x);
    header_edit(x, r.request_headers, "request_headers");
    header_edit(x, r.response_headers, "response_headers");
    validate_error_pages(r.error_pages, x.path + ".error_pages", x.report);
    if (r.mirror) x.report.pool(x.names, r.mirror->pool, x.path + ".mirror.pool");
    if (r.auth) auth(x);
    rate_limits(x);
    upgrades(x);
}

}  // namespace

bool frames_messages(std::string_view field) { return std::ranges::find(framing, lower(field)) != framing.end(); }

void validate_routes(const Config& config, const Names& names, Report& report) {
    std::unordered_set<std::string_view> seen;
    for (std::size_t i = 0; i < config.routes.size(); ++i) {
        const Route& route = config.routes[i];
        const Examined x{route, names, report, fmt::format("routes[{}]", i)};
        if (!route.name.empty() && !seen.insert(route.name).second) {
            x.error("P201-duplicate-name", "name", fmt::format("a second route \"{}\"", route.name),
                    "counters are kept by route name; give it its own");
        }
        examine(x);
    }
}

}  // namespace plimsoll::config
