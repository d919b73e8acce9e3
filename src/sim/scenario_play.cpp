// Time, traffic and expectations of a scenario; changes are in scenario_change.cpp.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "rollout/traffic_facts.h"
#include "sim/player.h"
#include "sim/scenario_parser.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

/// What `server` does not say. Servers of a config file without a declared capacity never queue.
constexpr double inline_capacity = 40;
constexpr Duration inline_latency = 20ms;
constexpr double inline_sigma = 0.4;
constexpr Duration file_latency = 40ms;
constexpr double file_sigma = 0.5;
constexpr Duration harm_limit = 300ms;  ///< slower than this is harm, as in docs/formats/scenario.md
constexpr std::size_t most_recorded = 300'000;
constexpr Duration tick_every = 100ms;     ///< as control's
constexpr std::size_t recent_ticks = 300;  ///< 30 s, for diagnosis

std::string_view word(ServerState state) {
    switch (state) {
        case ServerState::ejected: return "ejected";
        case ServerState::down: return "down";
        case ServerState::up: return "up";
    }
    return "";
}

std::string_view word(ChangeEnd end) {
    switch (end) {
        case ChangeEnd::refused: return "refused";
        case ChangeEnd::completed: return "completed";
        case ChangeEnd::rolled_back: return "rolled back";
    }
    return "";
}

std::string text(const Fault& fault) {
    struct Visitor {
        std::string operator()(const Healthy&) const { return "recovers"; }
        std::string operator()(const Slow& slow) const { return fmt::format("slow x{}", slow.factor); }
        std::string operator()(const Fail& fail) const {
            return fmt::format("errors {:.0f} %{}", fail.share * 100, fail.fast ? " fast" : "");
        }
        std::string operator()(const Refuse&) const { return "dies"; }
        std::string operator()(const Hang&) const { return "hangs"; }
        std::string operator()(const Cold& cold) const {
            return fmt::format("cold x{} for {}", cold.factor, plimsoll::text(cold.span));
        }
    };
    return std::visit(Visitor{}, fault);
}

judge::WatchSettings watch_settings(const config::Guard& guard) {
    judge::WatchSettings settings;
    settings.utilisation_cap = guard.utilisation_cap;
    return settings;
}

}  // namespace

bool Played::passed() const {
    return findings.empty() && std::ranges::all_of(seen, [](const Seen& one) { return one.met; });
}

Played play(const Scenario& scenario, const ReadFile& read_file) { return Player(scenario, read_file).play(); }

Player::Player(const Scenario& scenario, const ReadFile& read_file)
    : scenario_(scenario),
      read_file_(read_file),
      world_({.seed = scenario.seed, .workers = 1, .warm = true, .model = {}}),
      start_(Instant{} + scenario.warmup),
      counted_(scenario.expectations.size()),
      change_of_event_(scenario.events.size()) {}

// ---- before it begins ----------------------------------------------------------------------------------------------

void Player::know(const config::Config& config) {
    for (const config::Pool& pool : config.pools) {
        for (const config::Endpoint& endpoint : pool.endpoints)
            address_of_.try_emplace(endpoint.name, endpoint.address);
    }
}

bool Player::prepare() {
    const auto read = [&](const std::string& name, const Where& where) -> std::optional<config::Document> {
        const Result<std::string> text = read_file_(name);
        if (!text) {
            played_.findings.push_back({Severity::error, "S108-file", name, where,
                                        fmt::format("cannot read '{}': {}", name, text.error().detail), ""});
            return std::nullopt;
        }
        config::Parsed parsed = config::parse(*text, name);
        return std::move(parsed.document);  // what is wrong with a change's file is for the checks to say
    };
    if (!scenario_.config_file.empty()) {
        auto document = read(scenario_.config_file, scenario_.config_where);
        if (!document && played_.findings.empty()) {
            played_.findings.push_back({Severity::error, "S108-file", scenario_.config_file, scenario_.config_where,
                                        "the config in force at the start is not valid", "plimsoll check FILE"});
        }
        if (!document) return false;
        document_ = std::move(*document);
    } else {
        config::Parsed parsed = config::parse(config::print(scenario_.config), scenario_.file + " (config)");
        if (!parsed.document) {
            played_.findings = std::move(parsed.findings);
            return false;
        }
        document_ = std::move(*parsed.document);
    }
    know(document_.config);
    for (const Event& event : scenario_.events) {
        const auto* change = std::get_if<ProposedChange>(&event.what);
        if (change == nullptr) continue;
        if (const auto* named = std::get_if<ChangeFile>(&change->proposed)) {
            if (files_.contains(named->file)) continue;
            if (auto document = read(named->file, event.where)) {
                know(document->config);
                files_.emplace(named->file, std::move(*document));
            }
        }
        if (const auto* fresh = std::get_if<ChangeEndpoints>(&change->proposed)) {
            for (const NamedWeight& one : fresh->endpoints) {
                address_of_.try_emplace(one.name, scenario_address(address_of_.size()));
            }
        }
    }
    check_known();
    return played_.findings.empty();
}

void Player::check_known() {
    const auto check = [&](const std::string& name, const Where& where) {
        if (address_of_.contains(name)) return;
        played_.findings.push_back(
            {Severity::error, "S103-unknown-name", "", where, fmt::format("there is no server '{}'", name), ""});
    };
    for (const Event& event : scenario_.events) {
        if (const auto* trouble = std::get_if<Trouble>(&event.what)) check(trouble->server, event.where);
    }
    for (const Expectation& expectation : scenario_.expectations) {
        if (const auto* one = std::get_if<ExpectServer>(&expectation.what)) check(one->server, expectation.where);
        const auto* measure = std::get_if<ExpectMeasure>(&expectation.what);
        if (measure != nullptr && !measure->server.empty()) check(measure->server, expectation.where);
    }
    for (const auto& [name, says] : scenario_.servers) check(name, {scenario_.file, 0, 0});
}

void Player::give_models(const config::Config& config) {
    const bool from_file = !scenario_.config_file.empty();
    for (const config::Pool& pool : config.pools) {
        for (const config::Endpoint& endpoint : pool.endpoints) {
            double capacity = endpoint.capacity.value_or(from_file ? 0 : inline_capacity);
            Duration latency = from_file ? file_latency : inline_latency;
            double sigma = from_file ? file_sigma : inline_sigma;
            std::uint32_t queue = EndpointModel{}.queue;
            for (const auto& [name, says] : scenario_.servers) {
                if (name != endpoint.name) continue;
                capacity = says.capacity.value_or(capacity);
                if (says.latency) {
                    latency = *says.latency;
                    sigma = says.sigma.value_or(sigma);
                }
                queue = says.queue.value_or(queue);
            }
            EndpointModel model = sized(capacity, latency, sigma);
            model.queue = queue;
            world_.set_model(endpoint.address, model);
        }
    }
}

void Player::start_world() {
    give_models(document_.config);
    for (const auto& [name, document] : files_) give_models(document.config);
    watch_ = judge::Watch(watch_settings(document_.config.guard));
    active_ = world_.compile(document_.config, RevisionNumber{++revisions_});
    world_.install({active_, nullptr, {}, false, 0, never});
    mix_ = rollout::equal_mix(*active_);
    for (Poisson load : scenario_.loads) {
        load.from = load.from == Instant{} ? load.from : load.from + scenario_.warmup;  // the first load warms up too
        load.to = load.to + scenario_.warmup;
        world_.add_traffic(std::move(load));
    }
    world_.observe({.outcome = [this](const Outcome& outcome) { record(outcome), count(outcome); },
                    .ejected = [this](EndpointId id, Instant at) { server_is(id, ServerState::ejected, at); },
                    .health =
                        [this](EndpointId id, balance::Health health, Instant at) {
                            if (health == balance::Health::down) server_is(id, ServerState::down, at);
                            if (health == balance::Health::up) server_is(id, ServerState::up, at);
                        }});
}

// ---- while it runs -------------------------------------------------------------------------------------------------

void Player::record(const Outcome& outcome) {
    recording::Record record;
    record.at = outcome.started - Instant{};
    record.client_key = outcome.client_key;
    record.host = outcome.host;
    record.path = outcome.path;
    record.method = outcome.method;
    record.status = outcome.status;
    record.attempts = std::max<std::uint8_t>(outcome.attempt_count, 1);
    record.cause = outcome.cause;
    record.total = outcome.total;
    if (outcome.attempt_count > 0) record.service = outcome.attempt[outcome.attempt_count - 1u].first_byte;
    recording_.push_back(std::move(record));
    if (recording_.size() > most_recorded) recording_.pop_front();
}

recording::Recording Player::recorded() const {
    recording::Recording recording;
    recording.records.assign(recording_.begin(), recording_.end());
    std::ranges::sort(recording.records, {}, [](const recording::Record& r) { return std::pair(r.at, r.client_key); });
    if (recording.records.empty()) return recording;
    const Duration first = recording.records.front().at;
    for (recording::Record& one : recording.records) one.at -= first;
    return recording;
}

void Player::count(const Outcome& outcome) {
    if (outcome.started < start_) return;
    const bool harmed = outcome.failed() || outcome.first_byte > harm_limit;
    ++played_.requests;
    played_.failed += outcome.failed();
    played_.harmed += harmed;
    const Instant began = Instant{} + (outcome.started - start_);
    for (std::size_t i = 0; i < counted_.size(); ++i) {
        const auto* expected = std::get_if<ExpectMeasure>(&scenario_.expectations[i].what);
        if (expected == nullptr || began < expected->from || began >= expected->to) continue;
        Counted& counted = counted_[i];
        ++counted.requests;
        counted.failed += outcome.failed();
        counted.harmed += harmed;
        if (expected->measure >= Measure::p50) counted.total.add(outcome.first_byte);
        if (!expected->server.empty() && outcome.attempt_count > 0 &&
            world_.identities().endpoint_name(outcome.attempt[0].endpoint) == expected->server) {
            ++counted.first_choice;
        }
    }
}

void Player::server_is(EndpointId id, ServerState state, Instant when) {
    const std::string name(world_.identities().endpoint_name(id));
    if (state != ServerState::up) say(fmt::format("server {} {}", name, word(state)));
    for (std::size_t i = 0; i < counted_.size(); ++i) {
        const auto* expected = std::get_if<ExpectServer>(&scenario_.expectations[i].what);
        if (expected == nullptr || expected->server != name || expected->state != state) continue;
        if (when >= start_ + (expected->since - Instant{})) counted_[i].met = std::min(counted_[i].met, when);
    }
}

bool Player::holds(const std::string& server, ServerState state) const {
    for (const auto& snapshot : {active_, current_ ? current_->candidate : nullptr}) {
        if (!snapshot) continue;
        for (const snapshot::Pool& pool : snapshot->pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                if (endpoint.name != server) continue;
                const balance::Health health = world_.state(endpoint.id).health;
                const bool out = world_.ejected_anywhere(endpoint.id);
                if (state == ServerState::ejected && out) return true;
                if (state == ServerState::down && health == balance::Health::down) return true;
                if (state == ServerState::up && health == balance::Health::up && !out) return true;
            }
        }
    }
    return false;
}

void Player::look_at_servers() {
    for (std::size_t i = 0; i < counted_.size(); ++i) {
        const auto* expected = std::get_if<ExpectServer>(&scenario_.expectations[i].what);
        if (expected == nullptr || counted_[i].met != never) continue;
        if (world_.now() < start_ + (expected->since - Instant{})) continue;
        // "up" right when the trouble begins is not yet an answer to it
        if (expected->state == ServerState::up && world_.now() == start_ + (expected->since - Instant{})) continue;
        if (holds(expected->server, expected->state)) counted_[i].met = world_.now();
    }
}

void Player::say(std::string text) {
    if (world_.now() < start_) return;
    constexpr std::size_t most_lines = 2000;
    if (played_.timeline.size() >= most_lines) return;
    played_.timeline.push_back(fmt::format("{:9.3f}s  {}", clock(world_.now()), text));
}

void Player::happen(const Event& event) {
    if (const auto* trouble = std::get_if<Trouble>(&event.what)) {
        say(fmt::format("server {} {}", trouble->server, text(trouble->fault)));
        world_.fault(address_of_.at(trouble->server), trouble->fault);
        return;
    }
    change_of_event_[static_cast<std::size_t>(&event - scenario_.events.data())] = played_.changes.size();
    change(std::get<ProposedChange>(event.what), event.where);
}

void Player::tick() {
    const measure::Tally window = world_.take_tally();
    recent_.push_back(window);
    if (recent_.size() > recent_ticks) recent_.pop_front();
    look_at_servers();
    observe(window);
}

Played Player::play() {
    if (!prepare()) return std::move(played_);
    start_world();
    const Instant end = start_ + (scenario_.end - Instant{});
    std::size_t next_event = 0;
    for (Instant next_tick = Instant{} + tick_every; world_.now() < end;) {
        Instant until = std::min(next_tick, end);
        const bool event_first =
            next_event < scenario_.events.size() && start_ + (scenario_.events[next_event].at - Instant{}) <= until;
        if (event_first) until = start_ + (scenario_.events[next_event].at - Instant{});
        world_.run_until(until);
        if (event_first) {
            happen(scenario_.events[next_event++]);
        } else {
            tick();
            next_tick = next_tick + tick_every;
        }
    }
    if (current_) {
        ChangeSeen& seen = played_.changes[current_->change];
        seen.ended = false;
        seen.live = current_->state.account.t0;
        seen.text = fmt::format("still in {} at {:.0f} % when the scenario ended",
                                rollout::name(rollout::stage_of(current_->state)), current_->state.share.value * 100);
    }
    for (std::size_t i = 0; i < scenario_.expectations.size(); ++i) played_.seen.push_back(judge(i));
    return std::move(played_);
}

// ---- what was expected ---------------------------------------------------------------------------------------------

Seen Player::judge(std::size_t index) const {
    const Expectation& expectation = scenario_.expectations[index];
    const Counted& counted = counted_[index];
    Seen seen;
    if (const auto* server = std::get_if<ExpectServer>(&expectation.what)) {
        const Instant since = start_ + (server->since - Instant{});
        seen.met = counted.met != never && counted.met - since <= server->within;
        seen.saw = counted.met == never
                       ? fmt::format("never {}", word(server->state))
                       : fmt::format("{} after {:.3f}s", word(server->state), seconds(counted.met - since));
    } else if (const auto* measured = std::get_if<ExpectMeasure>(&expectation.what)) {
        seen = judge_measure(*measured, counted);
    } else if (const auto* change = std::get_if<ExpectChange>(&expectation.what)) {
        seen = judge_change(*change);
    } else if (const auto* finding = std::get_if<ExpectFinding>(&expectation.what)) {
        std::set<std::string> codes;
        if (const auto at = change_of_event_[finding->change]) {
            for (const Finding& one : played_.changes[*at].findings) codes.insert(one.code);
        }
        seen.met = std::ranges::any_of(codes, [&](const std::string& code) {
            return code == finding->code || code.starts_with(finding->code + "-");
        });
        seen.saw = codes.empty() ? "no finding" : fmt::format("{}", fmt::join(codes, ", "));
    }
    seen.expectation = expectation;
    return seen;
}

Seen Player::judge_measure(const ExpectMeasure& expected, const Counted& counted) const {
    Seen seen;
    if (counted.requests == 0) {
        seen.saw = "no requests in that time";
        return seen;
    }
    const double n = static_cast<double>(counted.requests);
    double value = 0;
    switch (expected.measure) {
        case Measure::availability: value = 1 - static_cast<double>(counted.failed) / n; break;
        case Measure::harmed: value = static_cast<double>(counted.harmed) / n; break;
        case Measure::share: value = static_cast<double>(counted.first_choice) / n; break;
        case Measure::p50: value = seconds(counted.total.quantile(0.5)); break;
        case Measure::p90: value = seconds(counted.total.quantile(0.9)); break;
        case Measure::p99: value = seconds(counted.total.quantile(0.99)); break;
        case Measure::p999: value = seconds(counted.total.quantile(0.999)); break;
    }
    constexpr double crumb = 1e-12;
    seen.met = expected.at_least ? value >= expected.bound - crumb : value <= expected.bound + crumb;
    seen.saw = expected.measure >= Measure::p50 ? plimsoll::text(from_seconds(value))
                                                : fmt::format("{:.3f} % of {} requests", value * 100, counted.requests);
    return seen;
}

Seen Player::judge_change(const ExpectChange& expected) const {
    Seen seen;
    const auto index = change_of_event_[expected.change];
    if (!index) {
        seen.saw = "it was never proposed";
        return seen;
    }
    const ChangeSeen& change = played_.changes[*index];
    seen.saw = change.ended ? fmt::format("{}: {}", word(change.end), change.text) : change.text;
    seen.met = change.ended && change.end == expected.end;
    if (!seen.met || !expected.within) return seen;
    const Instant from = change.live != never ? change.live : change.submitted;
    const Duration took = change.finished - from;
    seen.met = took <= *expected.within;
    seen.saw = fmt::format("after {:.3f}s; {}", seconds(took), seen.saw);
    return seen;
}

std::string describe(const Played& played) {
    std::string out;
    for (const Finding& finding : played.findings) out += text(finding) + "\n";
    for (const std::string& line : played.timeline) out += line + "\n";
    out += fmt::format("{} requests, {} failed, {} harmed\n", played.requests, played.failed, played.harmed);
    for (const Seen& seen : played.seen) {
        out += fmt::format("{} {}:{}: {}  ({})\n", seen.met ? "ok  " : "FAIL", seen.expectation.where.file,
                           seen.expectation.where.line, seen.expectation.text, seen.saw);
    }
    return out;
}

}  // namespace plimsoll::sim
