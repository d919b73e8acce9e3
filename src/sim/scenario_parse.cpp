// Reading a scenario: the world. Events and expectations are read in scenario_events.cpp.
#include <fmt/format.h>

#include <algorithm>

#include "sim/scenario_parser.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

constexpr double default_capacity = 40;
constexpr std::size_t most_findings = 200;

std::optional<config::Policy> policy(std::string_view word) {
    if (word == "round_robin") return config::Policy::round_robin;
    if (word == "least_request") return config::Policy::least_request;
    return std::nullopt;
}

}  // namespace

config::Address scenario_address(std::size_t number) {
    return {fmt::format("10.{}.{}.{}", number / 62'500 % 250, number / 250 % 250, number % 250 + 1), 80};
}

ParsedScenario parse_scenario(std::string_view text, std::string file) {
    return ScenarioParser(std::move(file)).parse(text);
}

// ---- words ---------------------------------------------------------------------------------------------------------

Where ScenarioParser::here(std::size_t word) const {
    int column = static_cast<int>(line_text_.size()) + 1;
    if (word < words_.size()) column = words_[word].column;
    return {scenario_.file, line_, column};
}

void ScenarioParser::bad_at(std::size_t word, std::string code, std::string message, std::string remedy) {
    failed_ = true;
    if (findings_.size() >= most_findings) return;
    findings_.push_back({Severity::error, std::move(code), fmt::format("line {}", line_), here(word),
                         std::move(message), std::move(remedy)});
}

void ScenarioParser::bad(std::string code, std::string message, std::string remedy) {
    bad_at(next_, std::move(code), std::move(message), std::move(remedy));
}

bool ScenarioParser::take(std::string_view word) {
    if (!more() || peek() != word) return false;
    ++next_;
    return true;
}

std::optional<std::string_view> ScenarioParser::need(std::string_view what) {
    if (more()) return words_[next_++].text;
    bad("S101-incomplete", fmt::format("{} is missing here", what));
    return std::nullopt;
}

bool ScenarioParser::expect_word(std::string_view word) {
    if (take(word)) return true;
    bad("S101-incomplete", more() ? fmt::format("'{}' stands where '{}' should", peek(), word)
                                  : fmt::format("'{}' is missing here", word));
    return false;
}

void ScenarioParser::end_of_statement() {
    if (!failed_ && more()) bad("S100-unknown-word", fmt::format("'{}' means nothing here", peek()));
}

// ---- lines ---------------------------------------------------------------------------------------------------------

ParsedScenario ScenarioParser::parse(std::string_view text) {
    ParsedScenario parsed;
    if (text.size() > most_scenario_bytes) {
        parsed.findings.push_back({Severity::error,
                                   "S109-too-large",
                                   "",
                                   {scenario_.file, 0, 0},
                                   fmt::format("{} bytes; a scenario has at most {}", text.size(), most_scenario_bytes),
                                   ""});
        return parsed;
    }
    std::size_t begin = 0, statements = 0;
    while (begin <= text.size()) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        ++line_;
        line(text.substr(begin, end - begin));
        begin = end + 1;
        if (!words_.empty() && ++statements > most_statements) {
            bad("S109-too-large", fmt::format("more than {} statements", most_statements));
            break;
        }
    }
    finish();
    std::ranges::sort(findings_, {}, [](const Finding& f) { return std::pair(f.where.line, f.where.column); });
    parsed.findings = std::move(findings_);
    if (!has_errors(parsed.findings)) parsed.scenario = std::move(scenario_);
    return parsed;
}

void ScenarioParser::line(std::string_view text) {
    line_text_ = text;
    words_ = split_words(text);
    next_ = 0;
    failed_ = false;
    if (!more()) return;
    statement();
    end_of_statement();
}

void ScenarioParser::statement() {
    const std::string_view word = words_[next_++].text;
    if (word == "seed") return seed();
    if (word == "config") return config_file();
    if (word == "pool") return pool();
    if (word == "route") return route();
    if (word == "guard") return guard();
    if (word == "server") return server();
    if (word == "load") return load();
    if (word == "at") return at();
    if (word == "expect") return expect(line_text_);
    if (word == "warmup" || word == "until") {
        if (const auto span = need(parse_duration, "a duration such as 20s")) {
            word == "warmup" ? void(scenario_.warmup = *span) : void(until_ = Instant{} + *span);
        }
        return;
    }
    bad_at(0, "S100-unknown-word", fmt::format("no statement begins with '{}'", word),
           "seed, config, pool, route, guard, server, load, warmup, until, at, expect");
}

void ScenarioParser::seed() {
    if (const auto n = need(parse_whole, "a whole number")) scenario_.seed = *n;
}

void ScenarioParser::config_file() {
    if (!scenario_.config_file.empty()) return bad_at(0, "S104-twice", "there is a config already");
    if (const auto name = need("a file name")) scenario_.config_file = *name;
    scenario_.config_where = here(1);
}

// ---- pools ---------------------------------------------------------------------------------------------------------

std::optional<std::string> ScenarioParser::one_name(std::string_view what) {
    const auto word = need(what);
    if (!word) return std::nullopt;
    if (is_name(*word)) return std::string(*word);
    bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}' is not a name", *word));
    return std::nullopt;
}

std::optional<std::vector<NamedWeight>> ScenarioParser::endpoints() {
    std::vector<NamedWeight> all;
    if (!more()) {
        bad("S101-incomplete", "endpoints are missing here");
        return std::nullopt;
    }
    while (more()) {
        const std::string_view word = words_[next_++].text;
        const std::size_t equals = word.find('=');
        std::optional<double> weight;
        if (equals != std::string_view::npos) {
            weight = parse_number(word.substr(equals + 1));
            if (!weight || *weight > 1e6) {
                bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}': a weight is a number from 0 to 1000000", word));
                return std::nullopt;
            }
        }
        const auto row = parse_row(word.substr(0, equals), most_endpoints - std::min(endpoints_, most_endpoints));
        if (!row) {
            bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}' is neither a name nor a row such as b0..b9", word));
            return std::nullopt;
        }
        endpoints_ += row->size();
        for (const std::string& name : *row) {
            if (std::ranges::find(all, name, &NamedWeight::name) != all.end()) {
                bad_at(next_ - 1, "S104-twice", fmt::format("'{}' stands here twice", name));
                return std::nullopt;
            }
            all.push_back({name, weight});
        }
    }
    return all;
}

bool ScenarioParser::pool_option(config::Pool& pool) {
    if (take("policy")) {
        const auto p = need(policy, "round_robin or least_request");
        if (p) pool.policy = *p;
        return p.has_value();
    }
    if (take("ejection")) {
        pool.ejection.enabled = false;
        return expect_word("off");
    }
    if (take("health")) {
        pool.health.reset();
        return expect_word("off");
    }
    if (take("retries")) {
        const auto n = need(parse_whole, "a whole number of attempts");
        if (n) pool.retry.attempts = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(*n, 1, max_attempts));
        return n.has_value();
    }
    if (take("timeout")) {
        const auto d = need(parse_duration, "a duration such as 1s");
        if (d) pool.timeouts.per_try = *d;
        if (d) pool.timeouts.total = std::max(pool.timeouts.total, *d);
        return d.has_value();
    }
    bad("S100-unknown-word", fmt::format("'{}' is no option of a pool", peek()),
        "policy, ejection off, health off, retries N, timeout D, then ':' and the endpoints");
    return false;
}

void ScenarioParser::pool() {
    if (!pool_where_) pool_where_ = here(0);
    config::Pool pool;
    const auto name = one_name("a name for the pool");
    if (!name) return;
    pool.name = *name;
    if (std::ranges::find(scenario_.config.pools, pool.name, &config::Pool::name) != scenario_.config.pools.end()) {
        return bad_at(1, "S104-twice", fmt::format("there is a pool '{}' already", pool.name));
    }
    while (!take(":")) {
        if (!more()) return bad("S101-incomplete", "':' and the endpoints are missing here");
        if (!pool_option(pool)) return;
    }
    const auto members = endpoints();
    if (!members) return;
    for (const NamedWeight& member : *members) {
        config::Endpoint endpoint;
        endpoint.name = member.name;
        endpoint.weight = member.weight.value_or(1);
        pool.endpoints.push_back(std::move(endpoint));
    }
    scenario_.config.pools.push_back(std::move(pool));
}

void ScenarioParser::route() {
    const auto path = need("a path");
    if (!path) return;
    if (!path->starts_with('/')) return bad_at(1, "S102-bad-value", fmt::format("'{}' is not a path", *path));
    if (!expect_word("pool")) return;
    const auto name = one_name("the name of a pool");
    if (!name) return;
    pool_names_.emplace_back(*name, here(next_ - 1));
    config::Route route;
    route.name = std::string(*path);
    if (*path != "/") route.match.path_prefix = std::string(*path);
    route.pool = *name;
    routes_.push_back(std::move(route));
}

// ---- guard, servers, traffic ---------------------------------------------------------------------------------------

bool ScenarioParser::guard_field(std::string_view key) {
    config::Guard& guard = scenario_.config.guard;
    const std::pair<std::string_view, Duration*> spans[] = {{"min_step", &guard.min_step},
                                                            {"max_step", &guard.max_step},
                                                            {"shadow", &guard.shadow},
                                                            {"soak", &guard.soak},
                                                            {"recovery_window", &guard.recovery_window}};
    for (const auto& [name, field] : spans) {
        if (key != name) continue;
        const auto value = need(parse_duration, "a duration such as 2s");
        if (value) *field = *value;
        return value.has_value();
    }
    const std::pair<std::string_view, double*> numbers[] = {{"hold_back", &guard.hold_back},
                                                            {"utilisation_cap", &guard.utilisation_cap},
                                                            {"harm_budget", &guard.harm_budget},
                                                            {"alpha", &guard.alpha}};
    for (const auto& [name, field] : numbers) {
        if (key != name) continue;
        const auto value = need(parse_number, "a number");
        if (value) *field = *value;
        return value.has_value();
    }
    if (key == "shadow_decisions") {
        const auto n = need(parse_whole, "a whole number");
        if (n) guard.shadow_decisions = static_cast<std::uint32_t>(std::min<std::uint64_t>(*n, 1'000'000));
        return n.has_value();
    }
    if (key == "steps") {
        const auto list = need("shares such as 1%,25%,100%");
        if (!list) return false;
        std::vector<double> steps;
        for (std::size_t begin = 0; begin <= list->size();) {
            const std::size_t end = std::min(list->find(',', begin), list->size());
            const auto share = parse_percent(list->substr(begin, end - begin));
            if (!share || *share <= (steps.empty() ? 0.0 : steps.back())) {
                bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}': shares ascend, as in 1%,25%,100%", *list));
                return false;
            }
            steps.push_back(*share);
            begin = end + 1;
        }
        guard.steps = std::move(steps);
        return true;
    }
    bad_at(next_ - 1, "S100-unknown-word", fmt::format("'{}' is no field of guard", key));
    return false;
}

void ScenarioParser::guard() {
    if (!guard_where_) guard_where_ = here(0);
    if (!more()) return bad("S101-incomplete", "a field of guard is missing here");
    while (more()) {
        if (!guard_field(words_[next_++].text)) return;
    }
}

std::optional<std::vector<std::string>> ScenarioParser::names() {
    const auto list = need("the name of a server");
    if (!list) return std::nullopt;
    std::vector<std::string> all;
    for (std::size_t begin = 0; begin <= list->size();) {
        const std::size_t end = std::min(list->find(',', begin), list->size());
        const auto row = parse_row(list->substr(begin, end - begin), most_endpoints);
        if (!row || all.size() + row->size() > most_endpoints) {
            bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}': names are a, a,b or b0..b9", *list));
            return std::nullopt;
        }
        all.insert(all.end(), row->begin(), row->end());
        begin = end + 1;
    }
    return all;
}

std::optional<std::pair<Duration, std::optional<double>>> ScenarioParser::latency() {
    const auto word = need("a latency such as 20ms or lognormal(20ms, 0.4)");
    if (!word) return std::nullopt;
    if (const auto mean = parse_duration(*word); mean && *mean > Duration::zero()) return {{*mean, std::nullopt}};
    constexpr std::string_view head = "lognormal(";
    const std::size_t comma = word->find(',');
    if (word->starts_with(head) && word->ends_with(')') && comma != std::string_view::npos && comma > head.size()) {
        std::string_view sigma_text = word->substr(comma + 1, word->size() - comma - 2);
        while (sigma_text.starts_with(' ')) sigma_text.remove_prefix(1);
        const auto mean = parse_duration(word->substr(head.size(), comma - head.size()));
        const auto sigma = parse_number(sigma_text);
        if (mean && *mean > Duration::zero() && sigma && *sigma <= 3) return {{*mean, *sigma}};
    }
    bad_at(next_ - 1, "S102-bad-value", fmt::format("'{}' is no latency", *word), "20ms, or lognormal(20ms, 0.4)");
    return std::nullopt;
}

void ScenarioParser::server() {
    const auto list = names();
    if (!list) return;
    const Where where = here(1);
    ServerSays says;
    if (!more()) return bad("S101-incomplete", "capacity, latency or queue is missing here");
    while (more()) {
        if (take("capacity")) {
            const auto n = need(parse_number, "a number of requests/s");
            if (!n) return;
            if (*n <= 0 || *n > 1e6)
                return bad_at(next_ - 1, "S102-bad-value", "a capacity is above 0, at most 1000000");
            says.capacity = *n;
        } else if (take("undeclared")) {
            says.undeclared = true;
        } else if (take("latency")) {
            const auto l = latency();
            if (!l) return;
            says.latency = l->first;
            says.sigma = l->second;
        } else if (take("queue")) {
            const auto n = need(parse_whole, "a whole number");
            if (!n) return;
            says.queue = static_cast<std::uint32_t>(std::min<std::uint64_t>(*n, 1'000'000));
        } else {
            return bad("S100-unknown-word", fmt::format("'{}' is nothing that a server has", peek()),
                       "capacity N [undeclared], latency L, queue N");
        }
    }
    for (const std::string& name : *list) {
        scenario_.servers.emplace_back(name, says);
        server_names_.emplace_back(name, where);
    }
}

void ScenarioParser::load() {
    load_seen_ = true;
    Poisson poisson;
    const auto rate = need(parse_rate, "a rate such as 60/s");
    if (!rate) return;
    if (*rate > 1e6) return bad_at(1, "S102-bad-value", "at most 1000000/s");
    poisson.rate = *rate;
    std::optional<Duration> span;
    Kind kind;
    while (more()) {
        std::optional<std::string_view> word;
        if (take("path")) {
            if (!(word = need("a path"))) return;
            kind.path = *word;
        } else if (take("host")) {
            if (!(word = need("a host"))) return;
            kind.host = *word;
        } else if (take("method")) {
            if (!(word = need("a method"))) return;
            kind.method = *word;
        } else if (take("from")) {
            const auto from = need(parse_duration, "a time such as 30s");
            if (!from) return;
            poisson.from = Instant{} + *from;
        } else if (take("for")) {
            span = need(parse_duration, "a duration such as 120s");
            if (!span) return;
        } else {
            return bad("S100-unknown-word", fmt::format("'{}' is nothing that a load has", peek()),
                       "host, path, method, from, for");
        }
    }
    if (span) poisson.to = poisson.from + *span;
    poisson.mix = {kind};
    scenario_.loads.push_back(std::move(poisson));
}

// ---- the whole -----------------------------------------------------------------------------------------------------

void ScenarioParser::finish() {
    words_.clear();
    line_ = 0;
    line_text_ = {};
    if (!scenario_.config_file.empty() && pool_where_) {
        findings_.push_back({Severity::error, "S105-config-and-pool", "", *pool_where_,
                             "pools are in the config file already", "either config FILE, or pool, route and guard"});
    }
    if (!scenario_.config_file.empty() && guard_where_) {
        findings_.push_back({Severity::error, "S105-config-and-pool", "", *guard_where_,
                             "the guard is in the config file already", ""});
    }
    if (scenario_.config_file.empty() && !pool_where_) {
        bad("S106-no-world", "there are no servers", "pool NAME: a b c, or config FILE");
    }
    if (!load_seen_) bad("S106-no-world", "there is no traffic", "load 60/s for 120s");
    check_names();
    check_size();
    // events in order of time; expectations keep pointing at theirs
    std::vector<std::size_t> order(scenario_.events.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](std::size_t i) { return std::pair(scenario_.events[i].at, i); });
    std::vector<Event> sorted;
    std::vector<std::size_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
        place[order[i]] = i;
        sorted.push_back(std::move(scenario_.events[order[i]]));
    }
    scenario_.events = std::move(sorted);
    for (Expectation& expectation : scenario_.expectations) {
        if (auto* change = std::get_if<ExpectChange>(&expectation.what)) change->change = place[change->change];
        if (auto* finding = std::get_if<ExpectFinding>(&expectation.what)) finding->change = place[finding->change];
    }
    write_config();
}

void ScenarioParser::check_names() {
    if (!scenario_.config_file.empty()) return;  // known when the file is read
    const auto& pools = scenario_.config.pools;
    for (const auto& [name, where] : pool_names_) {
        if (std::ranges::find(pools, name, &config::Pool::name) != pools.end()) continue;
        findings_.push_back(
            {Severity::error, "S103-unknown-name", "", where, fmt::format("there is no pool '{}'", name), ""});
    }
    std::set<std::string, std::less<>> known;
    for (const config::Pool& pool : pools) {
        for (const config::Endpoint& endpoint : pool.endpoints) known.insert(endpoint.name);
    }
    for (const Event& event : scenario_.events) {
        const auto* change = std::get_if<ProposedChange>(&event.what);
        if (change == nullptr) continue;
        if (const auto* fresh = std::get_if<ChangeEndpoints>(&change->proposed)) {
            for (const NamedWeight& one : fresh->endpoints) known.insert(one.name);
        }
        if (std::holds_alternative<ChangeFile>(change->proposed)) return;  // it may name anything
    }
    for (const auto& [name, where] : server_names_) {
        if (known.contains(name)) continue;
        findings_.push_back(
            {Severity::error, "S103-unknown-name", "", where, fmt::format("there is no server '{}'", name), ""});
    }
}

void ScenarioParser::check_size() {
    Instant end{0};
    for (const Poisson& one : scenario_.loads) end = std::max(end, one.to == never ? one.from : one.to);
    for (const Event& event : scenario_.events) end = std::max(end, event.at);
    for (Expectation& expectation : scenario_.expectations) {
        if (const auto* m = std::get_if<ExpectMeasure>(&expectation.what); m != nullptr && m->to != never) {
            end = std::max(end, m->to);
        }
        if (const auto* s = std::get_if<ExpectServer>(&expectation.what)) end = std::max(end, s->since + s->within);
    }
    scenario_.end = until_.value_or(end);
    if (scenario_.end <= Instant{} && !scenario_.loads.empty()) {
        bad("S106-no-world", "it never ends: no load says for how long, and there is no 'until'", "until 120s");
    }
    double requests = 0;
    for (Poisson& one : scenario_.loads) {
        if (one.to == never) one.to = std::max(scenario_.end, one.from);
        requests += one.rate * seconds(one.to - one.from + scenario_.warmup);
    }
    if (requests > most_requests) {
        bad("S109-too-large", fmt::format("{:.0f} requests; at most {:.0f} are played", requests, most_requests));
    }
}

void ScenarioParser::write_config() {
    if (!scenario_.config_file.empty()) return;
    config::Config& config = scenario_.config;
    config::Listener listener;
    listener.name = "front";
    listener.address = {"127.0.0.1", 8080};
    config.listeners.push_back(listener);
    config.routes = routes_;
    if (routes_.empty() && !config.pools.empty()) config.routes.push_back({"all", {}, config.pools.front().name});
    std::map<std::string, std::size_t> number;
    for (config::Pool& pool : config.pools) {
        for (config::Endpoint& endpoint : pool.endpoints) {
            endpoint.address = scenario_address(number.emplace(endpoint.name, number.size()).first->second);
            endpoint.capacity = default_capacity;
            for (const auto& [name, says] : scenario_.servers) {
                if (name != endpoint.name) continue;
                if (says.capacity) endpoint.capacity = says.capacity;
                if (says.undeclared) endpoint.capacity.reset();
            }
        }
    }
}

}  // namespace plimsoll::sim
