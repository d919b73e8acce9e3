// Reading a scenario: what happens, and what is expected.
#include <fmt/format.h>

#include <algorithm>

#include "sim/scenario_parser.h"

namespace plimsoll::sim {
namespace {

std::optional<Measure> measure_named(std::string_view word) {
    constexpr std::pair<std::string_view, Measure> names[] = {{"availability", Measure::availability},
                                                              {"harmed", Measure::harmed},
                                                              {"share", Measure::share},
                                                              {"p50", Measure::p50},
                                                              {"p90", Measure::p90},
                                                              {"p99", Measure::p99},
                                                              {"p999", Measure::p999}};
    for (const auto& [name, measure] : names) {
        if (name == word) return measure;
    }
    return std::nullopt;
}

std::optional<config::Policy> policy_named(std::string_view word) {
    if (word == "round_robin") return config::Policy::round_robin;
    if (word == "least_request") return config::Policy::least_request;
    return std::nullopt;
}

std::string trimmed(std::string_view line) {
    line = line.substr(0, line.find('#'));
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return std::string(line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
}

}  // namespace

void ScenarioParser::at() {
    const auto when = need(parse_duration, "a time such as 30s");
    if (!when) return;
    const Where where = here(0);
    if (take("server")) return trouble(Instant{} + *when, where);
    change(Instant{} + *when, where);
}

std::optional<Fault> ScenarioParser::fault() {
    if (take("errors")) {
        const auto share = need(parse_percent, "a share such as 30%");
        if (!share) return std::nullopt;
        Fail fail{.share = *share, .fast = false};
        while (more()) {
            if (take("fast"))
                fail.fast = true;
            else if (take("probes"))
                fail.probes = true;
            else
                break;
        }
        return fail;
    }
    if (take("slow")) {
        const auto factor = need(parse_factor, "a factor such as x10");
        return factor ? std::optional<Fault>(Slow{*factor}) : std::nullopt;
    }
    if (take("cold")) {
        const auto factor = need(parse_factor, "a factor such as x3");
        if (!factor || !expect_word("for")) return std::nullopt;
        const auto span = need(parse_duration, "a duration such as 30s");
        return span ? std::optional<Fault>(Cold{*factor, *span}) : std::nullopt;
    }
    if (take("dies")) return Refuse{};
    if (take("hangs")) return Hang{};
    if (take("recovers")) return Healthy{};
    bad(more() ? "S100-unknown-word" : "S101-incomplete", "what happens to the server is missing here",
        "errors 30% [fast], slow x10, dies, hangs, cold x3 for 30s, recovers");
    return std::nullopt;
}

void ScenarioParser::trouble(Instant when, Where where) {
    const auto list = names();
    if (!list) return;
    const Where named = here(next_ - 1);
    const auto what = fault();
    if (!what) return;
    for (const std::string& name : *list) {
        server_names_.emplace_back(name, named);
        last_trouble_[name] = when;
        scenario_.events.push_back({when, where, Trouble{name, *what}});
    }
}

std::optional<Proposed> ScenarioParser::proposed() {
    const auto pool_name = [&]() -> std::optional<std::string> {
        auto name = one_name("the name of a pool");
        if (name) pool_names_.emplace_back(*name, here(next_ - 1));
        return name;
    };
    if (take("weights")) {
        const std::size_t first = next_;
        auto list = endpoints();
        if (!list) return std::nullopt;
        for (const NamedWeight& one : *list) {
            server_names_.emplace_back(one.name, here(first));
            if (one.weight) continue;
            bad_at(first, "S101-incomplete", fmt::format("'{}' has no weight", one.name), one.name + "=1");
            return std::nullopt;
        }
        return ChangeWeights{std::move(*list)};
    }
    if (take("drain")) {
        const std::size_t first = next_;
        auto list = endpoints();
        if (!list) return std::nullopt;
        for (NamedWeight& one : *list) {
            one.weight = 0;
            server_names_.emplace_back(one.name, here(first));
        }
        return ChangeWeights{std::move(*list)};
    }
    if (take("endpoints")) {
        const auto name = pool_name();
        if (!name || !expect_word(":")) return std::nullopt;
        auto list = endpoints();
        if (!list) return std::nullopt;
        return ChangeEndpoints{*name, std::move(*list)};
    }
    if (take("policy")) {
        const auto name = pool_name();
        if (!name) return std::nullopt;
        const auto p = need(policy_named, "round_robin or least_request");
        return p ? std::optional<Proposed>(ChangePolicy{*name, *p}) : std::nullopt;
    }
    if (take("ejection")) {
        const auto name = pool_name();
        if (!name) return std::nullopt;
        if (take("on")) return ChangeEjection{*name, true};
        return expect_word("off") ? std::optional<Proposed>(ChangeEjection{*name, false}) : std::nullopt;
    }
    if (take("retries")) {
        const auto name = pool_name();
        if (!name) return std::nullopt;
        const auto n = need(parse_whole, "a whole number of attempts");
        if (!n) return std::nullopt;
        return ChangeRetries{*name, static_cast<std::uint32_t>(std::clamp<std::uint64_t>(*n, 1, max_attempts))};
    }
    if (take("timeout")) {
        const auto name = pool_name();
        if (!name) return std::nullopt;
        const auto d = need(parse_duration, "a duration such as 1s");
        return d ? std::optional<Proposed>(ChangeTimeout{*name, *d}) : std::nullopt;
    }
    const auto file = need("what changes, or a config file");
    return file ? std::optional<Proposed>(ChangeFile{std::string(*file)}) : std::nullopt;
}

void ScenarioParser::change(Instant when, Where where) {
    ProposedChange change;
    while (more() && peek() != "change") {
        if (take("forced"))
            change.forced = true;
        else if (take("at_once"))
            change.at_once = true;
        else if (take("unguarded"))
            change.unguarded = true;
        else
            return bad("S100-unknown-word", fmt::format("'{}' means nothing here", peek()),
                       "server ..., or [forced] [at_once] [unguarded] change ...");
    }
    if (!expect_word("change")) return;
    auto what = proposed();
    if (!what) return;
    change.proposed = std::move(*what);
    last_change_ = scenario_.events.size();
    scenario_.events.push_back({when, where, std::move(change)});
}

// ---- expectations --------------------------------------------------------------------------------------------------

void ScenarioParser::expect(std::string_view text) {
    const std::size_t before = scenario_.expectations.size();
    if (take("within")) {
        expect_server();
    } else if (take("change")) {
        expect_change();
    } else if (take("finding")) {
        const auto code = need("the code of a finding");
        if (!code) return;
        if (!last_change_) return bad_at(0, "S107-no-change", "no change stands above");
        scenario_.expectations.push_back({{}, {}, ExpectFinding{*last_change_, std::string(*code)}});
    } else if (const auto measure = measure_named(peek())) {
        ++next_;
        std::string server;
        if (*measure == Measure::share) {
            const auto name = one_name("the name of a server");
            if (!name) return;
            server = *name;
            server_names_.emplace_back(server, here(next_ - 1));
        }
        expect_measure(*measure, std::move(server));
    } else {
        return bad(more() ? "S100-unknown-word" : "S101-incomplete", "what is expected is missing here",
                   "within D server N ..., availability, harmed, p99, share N, change ..., finding CODE");
    }
    if (scenario_.expectations.size() == before) return;
    scenario_.expectations.back().where = here(0);
    scenario_.expectations.back().text = trimmed(text);
}

void ScenarioParser::expect_server() {
    const auto within = need(parse_duration, "a duration such as 10s");
    if (!within || !expect_word("server")) return;
    const auto name = one_name("the name of a server");
    if (!name) return;
    server_names_.emplace_back(*name, here(next_ - 1));
    ExpectServer expected{*name, ServerState::ejected, *within, {}};
    if (const auto it = last_trouble_.find(*name); it != last_trouble_.end()) expected.since = it->second;
    if (take("down"))
        expected.state = ServerState::down;
    else if (take("up"))
        expected.state = ServerState::up;
    else if (!expect_word("ejected"))
        return;
    scenario_.expectations.push_back({{}, {}, std::move(expected)});
}

bool ScenarioParser::from_to(ExpectMeasure& measure) {
    measure.to = never;
    if (take("from")) {
        const auto from = need(parse_duration, "a time such as 60s");
        if (!from) return false;
        measure.from = Instant{} + *from;
    }
    if (take("to")) {
        const auto to = need(parse_duration, "a time such as 120s");
        if (!to) return false;
        measure.to = Instant{} + *to;
        if (measure.to <= measure.from) {
            bad_at(next_ - 1, "S102-bad-value", "the time ends before it begins");
            return false;
        }
    }
    return true;
}

void ScenarioParser::expect_measure(Measure measure, std::string server) {
    ExpectMeasure expected{.measure = measure, .server = std::move(server), .from = {}, .to = never};
    if (take("<="))
        expected.at_least = false;
    else if (!take(">="))
        return bad("S101-incomplete", "'>=' or '<=' is missing here");
    const bool is_time = measure >= Measure::p50;
    if (is_time) {
        const auto bound = need(parse_duration, "a duration such as 300ms");
        if (!bound) return;
        expected.bound = seconds(*bound);
    } else {
        const auto bound = need(parse_percent, "a share such as 99.5%");
        if (!bound) return;
        expected.bound = *bound;
    }
    if (!from_to(expected)) return;
    scenario_.expectations.push_back({{}, {}, std::move(expected)});
}

void ScenarioParser::expect_change() {
    if (!last_change_) return bad_at(0, "S107-no-change", "no change stands above");
    ExpectChange expected{*last_change_, ChangeEnd::refused, std::nullopt};
    if (take("completed"))
        expected.end = ChangeEnd::completed;
    else if (take("rolled_back") || (take("rolled") && expect_word("back")))
        expected.end = ChangeEnd::rolled_back;
    else if (!take("refused"))
        return failed_ ? void() : bad("S101-incomplete", "refused, completed or rolled back is missing here");
    if (take("within")) {
        expected.within = need(parse_duration, "a duration such as 10s");
        if (!expected.within) return;
    }
    scenario_.expectations.push_back({{}, {}, std::move(expected)});
}

}  // namespace plimsoll::sim
