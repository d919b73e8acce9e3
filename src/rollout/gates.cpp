// Before traffic: checks, simulation, the journal, shadow.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "rollout/machine.h"

namespace plimsoll::rollout {
namespace {

/// Decisions before exact comparisons of shadow and forecast say anything.
constexpr std::uint64_t compare_from = 100;
/// Shadow and forecast may differ by this fraction of requests before the forecast counts as wrong: recordings are
/// minutes old, and mixes drift.
constexpr double forecast_tolerance = 0.05;

std::string errors_of(const Findings& findings) {
    std::string all;
    for (const Finding& f : findings)
        if (f.severity == Severity::error) all += fmt::format("{}{}: {}", all.empty() ? "" : "; ", f.code, f.message);
    return all;
}

bool same_members(const std::vector<judge::EndpointFacts>& a, const std::vector<judge::EndpointFacts>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.id == y.id && x.eligible == y.eligible && x.capacity == y.capacity;
    });
}

/// What exact comparison of both revisions on the same requests says against the candidate; empty = nothing.
std::string objection(const measure::ShadowTally& seen, const Forecasted& forecast) {
    const double n = static_cast<double>(seen.decisions);
    if (seen.decisions < compare_from) return {};
    const auto fraction = [n](std::uint64_t count) { return static_cast<double>(count) / n; };
    const double noise = 3 * std::sqrt(0.25 / n);
    if (seen.no_endpoint > 2 && fraction(seen.no_endpoint) > 0.001) {
        std::uint64_t active = 0;
        for (const auto& [id, picks] : seen.active_picks) active += picks;
        // Whoever the active revision found no endpoint for is missing from its picks.
        const std::uint64_t active_missing = seen.decisions - std::min(seen.decisions, active + seen.active_no_route);
        if (seen.no_endpoint > 2 * active_missing)
            return fmt::format("{} of {} requests would find no endpoint", seen.no_endpoint, seen.decisions);
    }
    if (seen.no_route > seen.active_no_route + 2 && fraction(seen.no_route - seen.active_no_route) >
                                                        forecast.no_route + 0.001 + (forecast.no_route > 0 ? noise : 0))
        return fmt::format("{} of {} requests would match no route ({} now)", seen.no_route, seen.decisions,
                           seen.active_no_route);
    if (!forecast.from_recording) return {};
    const double route_off = std::abs(fraction(seen.route_changed) - forecast.route_changed);
    const double pool_off = std::abs(fraction(seen.pool_changed) - forecast.pool_changed);
    const double tolerance = forecast_tolerance + noise + forecast.open;
    if (route_off > tolerance || pool_off > tolerance)
        return fmt::format(
            "the forecast does not describe this traffic: {} of requests change route ({} foretold), "
            "{} change pool ({} foretold)",
            percent(fraction(seen.route_changed)), percent(forecast.route_changed),
            percent(fraction(seen.pool_changed)), percent(forecast.pool_changed));
    return {};
}

}  // namespace

void Machine::on(const Checked& checked) {
    if (!std::holds_alternative<Checking>(state.stage)) return;
    const std::string errors = errors_of(checked.findings);
    if (checked.unservable) {
        undo({.ending = Ending::rejected,
              .reason = fmt::format("it would serve nobody{}{}", errors.empty() ? "" : ": ", errors)},
             "check", now, "");
        return;
    }
    if (!errors.empty() && !state.proposal.options.force) {
        undo({.ending = Ending::rejected, .reason = errors}, "check", now, "");
        return;
    }
    const auto warnings = std::count_if(checked.findings.begin(), checked.findings.end(),
                                        [](const Finding& f) { return f.severity == Severity::warning; });
    if (!errors.empty()) say(Level::warning, fmt::format("forced past: {}", errors));
    say(Level::key, fmt::format("checks: {} findings, {} warnings", checked.findings.size(), warnings));
    enter(Simulating{});
    effects.emplace_back(RunSimulation{});
}

void Machine::on(const Forecasted& forecast) {
    if (!std::holds_alternative<Simulating>(state.stage)) return;
    state.forecast = forecast;
    const std::string errors = errors_of(forecast.findings);
    const bool refused = forecast.refused || !errors.empty();
    const std::string why = errors.empty() ? forecast.summary : errors;
    if (refused && !state.proposal.options.force) {
        undo({.ending = Ending::rejected, .reason = why}, "simulation", now, "");
        return;
    }
    if (refused) say(Level::warning, fmt::format("forced past: {}", why));
    say(Level::key,
        fmt::format("forecast{}: {}", forecast.from_recording ? "" : " without recorded traffic", forecast.summary));
    enter(Durable{});
    effects.emplace_back(Append{.kind = "revision", .subject = "", .body = revision_body(state)});
}

void Machine::on(const Appended& appended) {
    if (!std::holds_alternative<Durable>(state.stage)) return;
    state.revision = appended.revision;
    say(Level::key, fmt::format("{} is durable", revision_name()));
    begin_shadow();
}

void Machine::begin_shadow() {
    enter(Shadow{});
    journal("stage", "shadow");
    if (state.proposal.options.force) {
        say(Level::warning, "shadow: forced past");
        begin_step(0);
        return;
    }
    install(Share{0}, true);
    say(Level::key,
        fmt::format("shadow: {} decides on live traffic, r{} serves", revision_name(), state.proposal.base.value));
    if (const judge::Signal* by = held_by(); by != nullptr) say(Level::warning, fmt::format("held: {}", by->text));
}

void Machine::measure_shadow(Shadow& shadow, const Measured& measured) {
    if (shadow.installed_at == never || measured.window.from < shadow.installed_at) return;
    const config::Guard& guard = state.proposal.guard;
    const bool armed = !shadow.judged.empty() && same_members(shadow.judged, measured.endpoints);
    if (!armed && measured.rate > 0) {
        shadow.judged = measured.endpoints;
        shadow.rate = measured.rate;
        shadow.decisions = judge::UtilisationProcess(
            judge::UtilisationProcess::cells(measured.endpoints, measured.rate, guard.utilisation_cap));
    }
    shadow.seen += measured.window.shadow;
    shadow.decisions.add(measured.window.shadow.picks.dense());
    shadow.decisions.add_active(measured.window.shadow.active_picks.dense());

    const auto reject = [&](std::string why) {
        undo({.ending = Ending::rejected, .reason = std::move(why)}, "shadow", now, "");
    };
    const double threshold = std::log(static_cast<double>(judge::family_count) / guard.alpha);
    if (shadow.decisions.log_e() >= threshold) {
        const auto worst = shadow.decisions.worst();
        const auto fact = std::find_if(shadow.judged.begin(), shadow.judged.end(),
                                       [&](const judge::EndpointFacts& e) { return e.id == worst.id; });
        const bool known = fact != shadow.judged.end();
        return reject(
            fmt::format("{} would take {} of requests, {:.2f} of its capacity, by {} decisions on live traffic",
                        known ? fact->name : "an endpoint", percent(worst.share),
                        known ? shadow.rate * worst.share / fact->capacity : 0.0, shadow.decisions.decisions()));
    }
    if (std::string why = objection(shadow.seen, state.forecast); !why.empty()) return reject(std::move(why));
    const bool enough = shadow.seen.decisions >= guard.shadow_decisions && !shadow.judged.empty();
    if (state.paused || !enough || in_stage(shadow.installed_at) < guard.shadow) return;
    if (held_by() != nullptr) return;
    say(Level::key, fmt::format("shadow: {} decisions, {} change route, {} change pool", shadow.seen.decisions,
                                shadow.seen.route_changed, shadow.seen.pool_changed));
    begin_step(0);
}

void Machine::shadow_deadline(const Shadow& shadow) {
    if (state.paused) return;
    if (shadow.installed_at == never) {
        if (now - state.entered >= install_limit)
            undo({.ending = Ending::interrupted, .reason = "not all workers acknowledged the shadow"}, "deadline", now,
                 "");
        return;
    }
    if (in_stage(shadow.installed_at) < state.proposal.guard.max_step) return;
    if (const judge::Signal* by = held_by(); by != nullptr) {
        undo({.ending = Ending::rejected, .reason = fmt::format("held in shadow: {}", by->text)}, "deadline", now, "");
        return;
    }
    undo({.ending = Ending::rejected,
          .reason = fmt::format("held for evidence: {} decisions in {}, {} are needed", shadow.seen.decisions,
                                text(state.proposal.guard.max_step), state.proposal.guard.shadow_decisions)},
         "deadline", now, "");
}

}  // namespace plimsoll::rollout
