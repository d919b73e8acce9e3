// What control does in production, in virtual time: plan a change, ask rollout::next, perform its effects.
#include <fmt/format.h>

#include <algorithm>

#include "base/hash.h"
#include "judge/diagnose.h"
#include "rollout/traffic_facts.h"
#include "sim/player.h"
#include "sim/replay.h"

namespace plimsoll::sim {
namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};

bool unservable(const config::Config& config) {
    if (config.listeners.empty() || config.routes.empty()) return true;
    return std::ranges::any_of(config.routes, [&](const config::Route& route) {
        const auto pool = std::ranges::find(config.pools, route.pool, &config::Pool::name);
        return pool == config.pools.end() ||
               std::ranges::none_of(pool->endpoints, [](const config::Endpoint& e) { return e.weight > 0; });
    });
}

config::Pool* pool_named(config::Config& config, const std::string& name) {
    const auto it = std::ranges::find(config.pools, name, &config::Pool::name);
    return it == config.pools.end() ? nullptr : &*it;
}

void set_weights(config::Config& config, const ChangeWeights& change) {
    for (config::Pool& pool : config.pools) {
        for (config::Endpoint& endpoint : pool.endpoints) {
            const auto it = std::ranges::find(change.weights, endpoint.name, &NamedWeight::name);
            if (it != change.weights.end() && it->weight) endpoint.weight = *it->weight;
        }
    }
}

bool is_error(const Finding& finding) { return finding.severity == Severity::error; }

}  // namespace

// ---- the proposal --------------------------------------------------------------------------------------------------

config::Document Player::propose(const Proposed& proposed, const Where& where, Findings& findings) {
    config::Config config = document_.config;
    const auto in_pool = [&](const std::string& name, auto edit) {
        if (config::Pool* pool = pool_named(config, name)) return edit(*pool);
        findings.push_back(
            {Severity::error, "S103-unknown-name", "", where, fmt::format("there is no pool '{}'", name), ""});
    };
    std::visit(Overloaded{
                   [](const ChangeFile&) {},
                   [&](const ChangeWeights& change) { set_weights(config, change); },
                   [&](const ChangeEndpoints& change) {
                       in_pool(change.pool, [&](config::Pool& pool) {
                           const std::vector<config::Endpoint> old = std::exchange(pool.endpoints, {});
                           for (const NamedWeight& one : change.endpoints) {
                               config::Endpoint endpoint;
                               const auto known = std::ranges::find(old, one.name, &config::Endpoint::name);
                               if (known != old.end()) {
                                   endpoint = *known;
                               } else {
                                   endpoint.name = one.name;
                                   endpoint.address = address_of_.at(one.name);
                                   endpoint.capacity = EndpointModel{}.capacity();
                                   if (scenario_.config_file.empty()) endpoint.capacity = 40;
                                   for (const auto& [name, says] : scenario_.servers) {
                                       if (name != one.name) continue;
                                       if (says.capacity) endpoint.capacity = says.capacity;
                                       if (says.undeclared) endpoint.capacity.reset();
                                   }
                               }
                               endpoint.weight = one.weight.value_or(endpoint.weight);
                               pool.endpoints.push_back(std::move(endpoint));
                           }
                       });
                   },
                   [&](const ChangePolicy& change) {
                       in_pool(change.pool, [&](config::Pool& p) { p.policy = change.policy; });
                   },
                   [&](const ChangeEjection& change) {
                       in_pool(change.pool, [&](config::Pool& p) { p.ejection.enabled = change.on; });
                   },
                   [&](const ChangeRetries& change) {
                       in_pool(change.pool, [&](config::Pool& p) { p.retry.attempts = change.attempts; });
                   },
                   [&](const ChangeTimeout& change) {
                       in_pool(change.pool, [&](config::Pool& p) { p.timeouts.per_try = change.per_try; });
                   },
               },
               proposed);
    std::string text = config::print(config);
    std::string file = fmt::format("{}:{} (proposed)", scenario_.file, where.line);
    if (const auto* named = std::get_if<ChangeFile>(&proposed)) {
        text = read_file_(named->file).value_or("");
        file = named->file;
    }
    config::Parsed parsed = config::parse(text, file);
    findings.insert(findings.end(), parsed.findings.begin(), parsed.findings.end());
    if (parsed.document) return std::move(*parsed.document);
    config::Document broken;
    broken.file = file;
    broken.text = text;
    return broken;
}

void Player::change(const ProposedChange& change, const Where& where) {
    const std::size_t index = played_.changes.size();
    played_.changes.push_back({.where = where, .submitted = world_.now(), .text = "", .findings = {}});
    ChangeSeen& seen = played_.changes.back();
    if (current_) {
        seen.text = "another change is under way";
        seen.finished = world_.now();
        say(fmt::format("change {} refused: {}", index + 1, seen.text));
        return;
    }
    Findings findings;
    config::Document document = propose(change.proposed, where, findings);
    if (has_errors(findings)) {
        seen.findings = findings;
        seen.text = std::ranges::find_if(findings, is_error)->message;
        seen.finished = world_.now();
        say(fmt::format("change {} refused: {}", index + 1, seen.text));
        return;
    }
    give_models(document.config);
    if (change.unguarded) {
        document_ = std::move(document);
        active_ = world_.compile(document_.config, RevisionNumber{++revisions_});
        mix_ = rollout::mix_or_equal(*active_, recorded());
        world_.install({active_, nullptr, {}, false, 0, never});
        seen.end = ChangeEnd::completed;
        seen.exit_code = 0;
        seen.live = seen.finished = world_.now();
        seen.text = "installed without any gate";
        say(fmt::format("change {} installed without any gate", index + 1));
        return;
    }
    begin(change, index, std::move(document), std::move(findings));
}

void Player::begin(const ProposedChange& change, std::size_t index, config::Document document, Findings findings) {
    Current current;
    current.change = index;
    current.name = fmt::format("change {}", index + 1);
    current.document = std::move(document);
    const config::Config& after = current.document.config;
    current.unservable = unservable(after);
    const recording::Recording recording = recorded();
    check::LiveState live{check::summarise(recording), {}};
    for (const snapshot::Pool& pool : active_->pools) {
        for (const snapshot::Endpoint& endpoint : pool.endpoints) {
            // As in production: an ejection passes within seconds, and a change must not look harmless for it.
            const bool down = world_.state(endpoint.id).health == balance::Health::down;
            if (down) live.out.push_back({pool.name, endpoint.address, "down"});
        }
    }
    std::optional<check::Forecast> forecast;
    if (live.traffic.any() && !current.unservable) {
        ReplayOptions options;
        options.peak_rate = live.traffic.peak_rate;
        options.seed = scenario_.seed;
        options.out = live.out;
        forecast = replay(recording, document_.config, after, options);
    }
    current.plan = check::make_plan(document_.config, current.document, live, fmt::format("r{}", revisions_),
                                    forecast ? &*forecast : nullptr);
    current.forecasts = check::judge_forecast(current.plan.forecast, document_.config.guard, &current.document);
    current.checks = std::move(findings);
    for (const Finding& finding : current.plan.findings) {
        if (std::ranges::find(current.forecasts, finding) != current.forecasts.end()) continue;
        if (std::ranges::find(current.checks, finding) == current.checks.end()) current.checks.push_back(finding);
    }
    current.mix = rollout::mix_or_equal(*world_.compile(after, RevisionNumber{revisions_ + 1}), recording);
    mix_ = rollout::mix_or_equal(*active_, recording);
    ChangeSeen& seen = played_.changes[index];
    seen.findings = current.checks;
    seen.findings.insert(seen.findings.end(), current.forecasts.begin(), current.forecasts.end());

    rollout::Proposal proposal;
    proposal.base = active_->revision;
    proposal.base_digest = active_->digest;
    proposal.digest = config::digest(after);
    proposal.config = config::print(after);
    proposal.author = "scenario";
    proposal.message = current.name;
    proposal.guard = document_.config.guard;
    proposal.options = {change.forced, change.at_once, change.forced || change.at_once ? "as the scenario says" : ""};
    for (const config::Difference& one : current.plan.differences) {
        proposal.altered.push_back({one.path, one.before, one.after});
    }
    say(fmt::format("{} proposed", current.name));
    current_ = std::move(current);
    rollout::Step step = rollout::start(std::move(proposal), watch_.usual(), world_.now());
    current_->state = std::move(step.state);
    perform(step.effects);
}

// ---- every tick ----------------------------------------------------------------------------------------------------

std::vector<judge::EndpointFacts> Player::facts() const {
    const bool live = current_ && current_->candidate && world_.resident().candidate;
    return rollout::endpoint_facts(
        {active_.get(), mix_}, {live ? current_->candidate.get() : nullptr, live ? current_->mix : rollout::PoolMix{}},
        [this](EndpointId id) { return world_.state(id).health == balance::Health::down; },
        [this](EndpointId id) { return world_.is_out(id); });
}

judge::Scene Player::scene() const {
    judge::Scene scene;
    scene.now = world_.now();
    scene.signals = watch_.firing();
    scene.change = newest_live_;
    for (const measure::Tally& window : recent_) scene.since += window;
    scene.endpoints = facts();
    scene.usual = watch_.usual();
    return scene;
}

void Player::observe(const measure::Tally& window) {
    constexpr std::size_t second = 10;  // ticks
    double requests = 0, span = 0;
    for (std::size_t i = recent_.size() - std::min(second, recent_.size()); i < recent_.size(); ++i) {
        for (const measure::ArmTally& arm : recent_[i].arms) {
            requests += static_cast<double>(arm.all_routes().requests);
        }
        span += seconds(recent_[i].to - recent_[i].from);
    }
    const double rate = span > 0 ? requests / span : 0;
    std::vector<judge::EndpointFacts> endpoints = facts();
    const Share share = world_.resident().candidate ? world_.resident().share : Share{};
    const std::vector<judge::Signal> signals = watch_.observe(window, endpoints, share);
    std::vector<judge::Hypothesis> hypotheses;
    // As control does: asked again each second while something fires, since the first answer may know too little.
    const bool again = current_ && !watch_.firing().empty() && world_.now() >= diagnosed_ + std::chrono::seconds(1);
    if (!signals.empty() || again) {
        diagnosed_ = world_.now();
        judge::Scene now = scene();
        now.rate = rate;
        hypotheses = judge::diagnose(now);
        for (const judge::Signal& signal : signals) {
            say(fmt::format("{} {} {}: {}", signal.firing ? "signal" : "cleared", judge::name(signal.kind),
                            signal.subject, signal.text));
        }
        if (!signals.empty()) say(fmt::format("likely cause: {}", hypotheses.front().subject));
    }
    if (!current_) return;
    advance(rollout::Measured{window, std::move(endpoints), rate});
    if (current_ && !hypotheses.empty()) advance(rollout::Signalled{signals, hypotheses});
    if (current_) advance(rollout::Tick{});
}

void Player::advance(const rollout::Observation& observation) {
    rollout::Step step = rollout::next(std::move(current_->state), observation, world_.now());
    current_->state = std::move(step.state);
    perform(step.effects);
}

// ---- effects -------------------------------------------------------------------------------------------------------

void Player::perform(const std::vector<rollout::Effect>& effects) {
    for (const rollout::Effect& effect : effects) {
        perform(effect);
        if (!current_) return;
    }
    while (current_ && !current_->answers.empty()) {
        const rollout::Observation answer = std::move(current_->answers.front());
        current_->answers.erase(current_->answers.begin());
        advance(answer);
    }
}

void Player::perform(const rollout::Effect& effect) {
    std::visit(Overloaded{
                   [&](const rollout::RunChecks&) {
                       current_->answers.emplace_back(rollout::Checked{current_->checks, current_->unservable});
                   },
                   [&](const rollout::RunSimulation&) { current_->answers.emplace_back(forecasted()); },
                   [&](const rollout::Append& append) {
                       if (append.kind != "revision") return;
                       const RevisionNumber number{++revisions_};
                       current_->candidate = world_.compile(current_->document.config, number);
                       current_->answers.emplace_back(rollout::Appended{number});
                   },
                   [&](const rollout::Install& one) {
                       install(one.shadow ? Share{} : one.share, one.shadow, world_.now() + one.lease);
                       if (!one.shadow && one.share.value > 0) {
                           if (!newest_live_ || newest_live_->revision != one.revision) {
                               newest_live_ = judge::ChangeFacts{one.revision, world_.now(), one.share,
                                                                 current_->state.proposal.altered};
                           }
                           newest_live_->share = one.share;
                       }
                       current_->answers.emplace_back(rollout::Installed{world_.now()});
                   },
                   [&](const rollout::Renew& one) {
                       const snapshot::Resident& resident = world_.resident();
                       if (resident.candidate) install(resident.share, resident.shadow, world_.now() + one.lease);
                   },
                   [&](const rollout::Uninstall&) {
                       world_.install({active_, nullptr, {}, false, 0, never});
                       current_->answers.emplace_back(rollout::Installed{world_.now()});
                   },
                   [](const rollout::Failed&) {},            // for incidents, which a scenario does not keep
                   [](const rollout::RecoveryMeasured&) {},  // likewise
                   [&](const rollout::Adopt&) { adopt(); },
                   [&](const rollout::Report& report) {
                       if (report.level == rollout::Level::detail) return;
                       say(fmt::format("{} {}: {}", current_->name, rollout::name(report.stage), report.text));
                   },
                   [&](const rollout::Finish& one) { finish(one); },
               },
               effect);
}

rollout::Forecasted Player::forecasted() const {
    const check::Forecast& forecast = current_->plan.forecast;
    rollout::Forecasted answer;
    answer.refused = has_errors(current_->forecasts);
    answer.findings = current_->forecasts;
    answer.from_recording = forecast.has_data();
    answer.route_changed = forecast.route_changed;
    answer.pool_changed = forecast.pool_changed;
    answer.no_route = forecast.route_lost;
    for (const check::EndpointForecast& endpoint : forecast.endpoints) {
        const double busy = endpoint.utilisation_after().value_or(0);
        if (busy <= answer.hottest) continue;
        answer.hottest = busy;
        answer.hottest_name = endpoint.name;
    }
    const auto error = std::ranges::find_if(current_->forecasts, is_error);
    answer.summary = error != current_->forecasts.end()
                         ? error->message
                         : fmt::format("busiest {} at {:.2f} of capacity", answer.hottest_name, answer.hottest);
    return answer;
}

void Player::install(Share share, bool shadow, Instant lease) {
    world_.install({active_, current_->candidate, share, shadow, keyed_hash(current_->name, scenario_.seed), lease});
}

void Player::adopt() {
    document_ = current_->document;
    active_ = current_->candidate;
    mix_ = current_->mix;
    world_.install({active_, nullptr, {}, false, 0, never});
}

void Player::finish(const rollout::Finish& finish) {
    ChangeSeen& seen = played_.changes[current_->change];
    const bool live = finish.account.t0 != never;
    seen.end = finish.ending == rollout::Ending::completed ? ChangeEnd::completed
               : live                                      ? ChangeEnd::rolled_back
                                                           : ChangeEnd::refused;
    seen.exit_code = finish.exit_code;
    seen.live = finish.account.t0;
    seen.finished = finish.account.rolled_back != never ? finish.account.rolled_back : world_.now();
    seen.text = finish.text;
    say(fmt::format("{} {}", current_->name, finish.text));
    current_.reset();
}

}  // namespace plimsoll::sim
