#include "cli/explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "discovery/membership.h"
#include "net/address.h"

namespace plimsoll::cli {

namespace {

using Json = nlohmann::json;
using snapshot::EndpointView;
using snapshot::Explanation;
using snapshot::PoolView;

/// Routes that were passed over are shown up to this many; the last ones are the nearest to the winner.
constexpr std::size_t most_passed_over = 20;
constexpr std::size_t most_endpoints = 50;

std::string lowered(std::string_view text) {
    std::string made(text);
    std::ranges::transform(made, made.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    return made;
}

std::string_view trimmed(std::string_view text) {
    while (text.starts_with(' ') || text.starts_with('\t')) text.remove_prefix(1);
    while (text.ends_with(' ') || text.ends_with('\t')) text.remove_suffix(1);
    return text;
}

/// The port that is written at the end of an authority; 0 = none.
Result<std::uint16_t> port_of(std::string_view authority) {
    const auto colon = authority.rfind(':');
    if (colon == std::string_view::npos || authority.find(']', colon) != std::string_view::npos) return 0;
    const std::string_view digits = authority.substr(colon + 1);
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc{} || end != digits.data() + digits.size()) {
        return fail(Code::invalid, fmt::format("\"{}\" is not a port", digits));
    }
    return port;
}

snapshot::HeaderLookup lookup(const Question& question) {
    return {question.headers, [](const std::vector<std::pair<std::string, std::string>>& lines, std::string_view name,
                                 snapshot::ValueSink sink) {
                for (const auto& [key, value] : lines) {
                    if (lowered(key) == name && !sink(value)) return;
                }
            }};
}

std::string percent(double share) { return fmt::format("{:.1f}%", share * 100); }

std::string route_place(const Told& told, RouteIndex route) {
    const Where where = told.document.sources.where(fmt::format("routes[{}]", route.value));
    return where.line > 0 ? fmt::format("{}:{}", told.document.file, where.line)
                          : fmt::format("routes[{}]", route.value);
}

void add_routes(std::string& out, const Told& told) {
    const Explanation& e = told.explanation;
    if (e.winner) {
        const snapshot::Route& route = told.snapshot.route(*e.winner);
        out += fmt::format("route     {}  ({})\n", route.name, route_place(told, *e.winner));
    } else {
        out += "route     none matches\n";
    }
    const std::size_t hidden = e.passed_over.size() - std::min(e.passed_over.size(), most_passed_over);
    if (hidden > 0) out += fmt::format("  not     {} routes before these\n", hidden);
    std::size_t width = 0;
    for (std::size_t i = hidden; i < e.passed_over.size(); ++i) {
        width = std::max(width, told.snapshot.route(e.passed_over[i].route).name.size());
    }
    for (std::size_t i = hidden; i < e.passed_over.size(); ++i) {
        const auto& [route, why] = e.passed_over[i];
        out += fmt::format("  not     {:<{}}  {}\n", told.snapshot.route(route).name, width, why.text);
    }
    if (e.other_hosts > 0) {
        out += fmt::format("  not     {} {} for other hosts\n", e.other_hosts, e.other_hosts == 1 ? "route" : "routes");
    }
}

void add_answer(std::string& out, const Told& told) {
    const Explanation& e = told.explanation;
    for (const std::string& remark : e.remarks) out += fmt::format("          {}\n", remark);
    if (e.rewritten) {
        out += fmt::format("rewrite   {}{} is asked for as {}{}\n", told.question.host,
                           snapshot::split_target(told.question.target).path, e.host, e.path);
    }
    if (!e.refused.empty()) {
        out += fmt::format("answer    400: {}\n", e.refused);
    } else if (!e.location.empty()) {
        out += fmt::format("answer    {} to {}\n", *e.status, e.location);
    } else if (e.status) {
        out += fmt::format("answer    {}{}\n", *e.status, e.winner ? " by the route itself" : ": no route");
    }
}

/// What finds more endpoints of this pool than are written; empty: nothing does.
std::string found_elsewhere(const Told& told, const std::string& pool) {
    for (const auto& [name, source] : discovery::sources(told.document.config))
        if (name == pool) return discovery::describe(source);
    return {};
}

void add_pool(std::string& out, const Told& told, const PoolView& view) {
    const snapshot::Pool& pool = told.snapshot.pool(view.pool);
    out += fmt::format("pool      {}", pool.name);
    if (told.explanation.pools.size() > 1) out += fmt::format("  {} of requests", percent(view.probability));
    out += fmt::format("  {}\n", view.policy);
    if (!view.subset.empty()) out += fmt::format("  subset  {}\n", view.subset);
    if (!view.sticky.empty()) out += fmt::format("  sticky  {}\n", view.sticky);
    if (!view.key.empty()) out += fmt::format("  key     {}\n", view.key);
    const std::string found_by = told.with_health ? std::string{} : found_elsewhere(told, pool.name);
    if (!found_by.empty())
        out += fmt::format("          and whom discovery finds by {}: a running server knows\n", found_by);
    if (view.endpoints.empty() && found_by.empty()) out += "          no endpoints: 503\n";
    std::size_t width = 0;
    for (const auto& endpoint : pool.endpoints) width = std::max(width, endpoint.name.size());
    std::size_t shown = 0;
    const bool nobody = std::ranges::all_of(view.endpoints, [](const EndpointView& one) { return one.share <= 0; });
    for (const EndpointView& one : view.endpoints) {
        if (shown++ == most_endpoints) {
            out += fmt::format("          and {} more\n", view.endpoints.size() - most_endpoints);
            break;
        }
        const snapshot::Endpoint& endpoint = pool.endpoints[one.index.value];
        const std::string address = text(endpoint.address);
        const std::string share = one.share > 0 ? percent(one.share) : "-";
        out += fmt::format("  {:<{}}  {:>6}", endpoint.name, width, share);
        if (address != endpoint.name) out += "  " + address;
        if (const std::string& said = one.why_not.empty() ? one.remark : one.why_not; !said.empty()) out += "  " + said;
        out += '\n';
    }
    if (nobody && !view.endpoints.empty() && found_by.empty()) out += "          nobody can take it: 503\n";
}

Json as_json(const Told& told, const PoolView& view) {
    const snapshot::Pool& pool = told.snapshot.pool(view.pool);
    Json endpoints = Json::array();
    for (const EndpointView& one : view.endpoints) {
        const snapshot::Endpoint& endpoint = pool.endpoints[one.index.value];
        endpoints.push_back({{"name", endpoint.name},
                             {"address", text(endpoint.address)},
                             {"share", one.share},
                             {"why_not", one.why_not},
                             {"remark", one.remark}});
    }
    return {{"pool", pool.name},
            {"probability", view.probability},
            {"policy", view.policy},
            {"subset", view.subset},
            {"sticky", view.sticky},
            {"key", view.key},
            {"endpoints", std::move(endpoints)}};
}

}  // namespace

Result<Question> ask(std::string_view url, const std::vector<std::string>& headers) {
    Question made;
    std::string_view rest = url;
    if (const auto mark = rest.find("://"); mark != std::string_view::npos && mark < rest.find_first_of("/?")) {
        made.scheme = lowered(rest.substr(0, mark));
        rest.remove_prefix(mark + 3);
    }
    if (made.scheme != "http" && made.scheme != "https") {
        return fail(Code::invalid, fmt::format("\"{}\" is not http or https", made.scheme));
    }
    const auto end = std::min(rest.find_first_of("/?#"), rest.size());
    made.host = rest.substr(0, end);
    made.target = rest.substr(end, rest.find('#') - end);  // a fragment is never sent
    if (!made.target.starts_with('/')) made.target.insert(0, "/");
    if (made.host.empty()) return fail(Code::invalid, fmt::format("\"{}\" names no host", url));
    const auto port = port_of(made.host);
    if (!port) return std::unexpected(port.error());
    made.port = *port != 0 ? *port : made.scheme == "https" ? std::uint16_t{443} : std::uint16_t{80};
    for (const std::string& line : headers) {
        const auto colon = line.find(':');
        const std::string_view name = trimmed(std::string_view(line).substr(0, colon));
        if (colon == std::string::npos || name.empty()) {
            return fail(Code::invalid, fmt::format("\"{}\" is not a header; write it as 'Name: value'", line));
        }
        const std::string_view value = trimmed(std::string_view(line).substr(colon + 1));
        if (lowered(name) == "host") made.host = value;
        made.headers.emplace_back(name, value);
    }
    return made;
}

Result<Reached> reach(const config::Config& config, const Question& question) {
    const config::Listener* by_port = nullptr;
    const config::Listener* by_scheme = nullptr;
    for (const config::Listener& listener : config.listeners) {
        if (!question.listener.empty() && listener.name == question.listener) return Reached{&listener, {}};
        if (listener.protocol != config::Protocol::http || listener.tls.has_value() != (question.scheme == "https")) {
            continue;
        }
        if (by_port == nullptr && listener.address.port == question.port) by_port = &listener;
        if (by_scheme == nullptr) by_scheme = &listener;
    }
    if (!question.listener.empty()) {
        return fail(Code::not_found, fmt::format("there is no listener \"{}\"", question.listener));
    }
    if (by_port != nullptr) return Reached{by_port, {}};
    const std::string port = fmt::format("no {} listener has port {}", question.scheme, question.port);
    if (by_scheme != nullptr) return Reached{by_scheme, port + "; this one is taken, --listener names another"};
    return fail(Code::not_found, port + ", and no other speaks it; --listener names one anyway");
}

std::string explanation_text(const Told& told) {
    const Question& q = told.question;
    std::string out = fmt::format("{} {}://{}{}\n", q.method, q.scheme, q.host, q.target);
    out += fmt::format("by        {}{}\n", told.from,
                       told.with_health ? ", with the health of its endpoints" : "; all endpoints taken as up");
    out += fmt::format("listener  {}  {}", told.reached.listener->name, text(told.reached.listener->address));
    out += told.reached.remark.empty() ? "\n" : fmt::format("  ({})\n", told.reached.remark);
    add_routes(out, told);
    add_answer(out, told);
    for (const PoolView& view : told.explanation.pools) add_pool(out, told, view);
    return out;
}

std::string explanation_json(const Told& told) {
    const Explanation& e = told.explanation;
    Json passed = Json::array(), pools = Json::array();
    for (const auto& [route, why] : e.passed_over) {
        passed.push_back({{"route", told.snapshot.route(route).name}, {"why_not", why.text}});
    }
    for (const PoolView& view : e.pools) pools.push_back(as_json(told, view));
    Json made{{"config", told.from},
              {"digest", told.snapshot.digest},
              {"with_health", told.with_health},
              {"listener", told.reached.listener->name},
              {"route", nullptr},
              {"passed_over", std::move(passed)},
              {"other_hosts", e.other_hosts},
              {"status", nullptr},
              {"location", e.location},
              {"refused", e.refused},
              {"remarks", e.remarks},
              {"pools", std::move(pools)}};
    if (e.winner) made["route"] = told.snapshot.route(*e.winner).name;
    if (e.status) made["status"] = *e.status;
    if (!e.pools.empty()) made["asked"] = {{"host", e.host}, {"path", e.path}, {"rewritten", e.rewritten}};
    return made.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<std::string> explained(const Question& question, const config::Document& document, const KnownHealth* health,
                              std::string from, bool json) {
    const auto reached = reach(document.config, question);
    if (!reached) return std::unexpected(reached.error());
    snapshot::Identities identities;
    const auto compiled = snapshot::compile(document.config, RevisionNumber{1}, identities, 1);
    std::vector<balance::EndpointState> states;
    constexpr Instant now{};
    if (health != nullptr) {
        states.resize(compiled->endpoint_ids);
        for (const snapshot::Pool& pool : compiled->pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                const auto found = health->find({pool.name, text(endpoint.address)});
                const KnownEndpoint known = found == health->end() ? KnownEndpoint{} : found->second;
                balance::EndpointState& state = states[endpoint.id.value];
                // Without checks nobody is told apart: such a pool uses everybody.
                state.health = pool.health ? known.health : balance::Health::up;
                state.ejected_until = now + known.ejected_for;
                state.not_before = now + known.paused_for;
            }
        }
    }
    net::Address client;
    if (!question.client.empty()) {
        auto parsed = net::Address::ip(question.client, 0);
        if (!parsed) return std::unexpected(parsed.error());
        client = std::move(*parsed);
    }
    const snapshot::HeaderLookup headers = lookup(question);
    const auto [path, query, has_query] = snapshot::split_target(question.target);
    const snapshot::RequestView request{reached->listener->name, question.scheme, question.host, path, query,
                                        question.method,         &headers};
    const Explanation explanation = snapshot::explain(
        *compiled, request,
        {.states = states, .now = now, .client = question.client.empty() ? std::string_view{} : client.host_bytes()});
    const Told told{question, document, *reached, *compiled, explanation, health != nullptr, std::move(from)};
    return json ? explanation_json(told) : explanation_text(told);
}

}  // namespace plimsoll::cli
