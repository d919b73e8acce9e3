// On live traffic: canary steps, soak, and the signals of the watch meanwhile.
#include <fmt/format.h>

#include <algorithm>

#include "base/exit_code.h"
#include "rollout/machine.h"

namespace plimsoll::rollout {
namespace {

constexpr Duration line_every = std::chrono::seconds(1);
/// A diagnosis undoes a change from this score on: ln 20, one chance in twenty to be wrong, given that something is.
constexpr double convincing = 3.0;
/// A step above its bound by less than this (the rate of requests wavers) stays where it is.
constexpr double bound_slack = 1.1;

bool hurts(judge::SignalKind kind) { return kind != judge::SignalKind::demand; }

/// A signal that fires and that nobody but perhaps this change explains: no step up while it lasts.
bool unexplained(const State& state) {
    const bool firing =
        std::any_of(state.signals.begin(), state.signals.end(), [](const judge::Signal& s) { return hurts(s.kind); });
    if (!firing) return false;
    return state.hypotheses.empty() || state.hypotheses.front().suspect == judge::Suspect::unknown;
}

}  // namespace

const judge::Signal* Machine::held_by() const {
    if (state.proposal.options.force) return nullptr;
    const auto may_cure = [this](const judge::Signal& signal) {
        constexpr std::string_view pool = "pool ";
        if (!signal.subject.starts_with(pool)) return false;
        const std::string path = "pools." + signal.subject.substr(pool.size());
        return std::ranges::any_of(state.proposal.altered, [&](const judge::AlteredItem& item) {
            return item.path == path || item.path.starts_with(path + ".discovery");
        });
    };
    const auto holding = std::ranges::find_if_not(state.diverging, may_cure);
    return holding == state.diverging.end() ? nullptr : &*holding;
}

void Machine::on(const Diverged& diverged) {
    const bool was = held_by() != nullptr;
    state.diverging = diverged.firing;
    const judge::Signal* by = held_by();
    const Stage stage = stage_of(state);
    if (stage != Stage::shadow && stage != Stage::canary && stage != Stage::soak) return;
    if (!was && by != nullptr) say(Level::warning, fmt::format("held: {}", by->text));
    if (was && by == nullptr) say(Level::key, "no longer held: what is wanted serves");
}

void Machine::begin_step(std::size_t step) {
    const std::vector<Share> all = steps(state);
    if (step >= all.size()) return begin_soak();
    if (!state.took_traffic) {
        const config::Guard& guard = state.proposal.guard;
        state.trial = judge::Trial(
            {.alpha = guard.alpha, .harm_budget = guard.harm_budget, .utilisation_cap = guard.utilisation_cap},
            state.baseline);
    }
    Share share = all[step];
    const Share bound = judge::ramp_bound(state.endpoints, state.rate, state.proposal.guard.utilisation_cap);
    const bool bounded = !state.proposal.options.at_once && share > bound;
    if (bounded) share = bound;
    const auto* before = std::get_if<Canary>(&state.stage);
    const bool again = before != nullptr && before->step == step;
    const Instant since = again ? before->since : now;
    const Duration pauses = again ? state.pauses : Duration{};
    enter(Canary{.step = step, .since = since, .installed_at = never});
    state.pauses = pauses;  // the step's deadline does not start anew with another share
    state.share = share;
    journal("step", percent(share.value));
    install(share, false);
    say(Level::key, fmt::format("canary: {} serves {} of requests{}", revision_name(), percent(share.value),
                                bounded ? fmt::format(", less than the step's {}: a server would exceed {:g} of its "
                                                      "capacity",
                                                      percent(all[step].value), state.proposal.guard.utilisation_cap)
                                        : ""));
}

void Machine::begin_soak() {
    enter(Soak{});
    state.share = soak_share(state);
    journal("stage", "soak");
    install(state.share, false);
    say(Level::key,
        fmt::format("soak: {} serves {}, r{} keeps {} for {}", revision_name(), percent(soak_share(state).value),
                    state.proposal.base.value, percent(1 - soak_share(state).value), text(state.proposal.guard.soak)));
}

void Machine::measure_live(const Measured& measured) {
    const bool canary = stage_of(state) == Stage::canary;
    const Instant installed_at =
        canary ? std::get<Canary>(state.stage).installed_at : std::get<Soak>(state.stage).installed_at;
    if (installed_at == never || measured.window.from < installed_at) return;
    state.trial.observe(measured.window, measured.endpoints);
    state.account.hottest = std::max(state.account.hottest, state.trial.counts().hottest);
    const judge::Verdict verdict = state.trial.overall();
    if (verdict.decision == judge::Decision::fail) {
        say(Level::key, step_line(state, verdict));
        effects.emplace_back(Failed{verdict});
        undo({.ending = Ending::rolled_back, .for_harm = true, .reason = verdict.text}, judge::name(verdict.family),
             now, verdict.text);
        return;
    }
    if (now - state.last_line >= line_every) {
        state.last_line = now;
        say(Level::detail, step_line(state, verdict));
    }
    canary ? measure_canary(measured) : measure_soak(measured);
}

void Machine::measure_canary(const Measured&) {
    const Canary& canary = std::get<Canary>(state.stage);
    const config::Guard& guard = state.proposal.guard;
    const std::vector<Share> all = steps(state);
    const bool at_once = state.proposal.options.at_once;
    const Share bound = at_once ? Share{1} : judge::ramp_bound(state.endpoints, state.rate, guard.utilisation_cap);
    if (state.share.value > bound.value * bound_slack) {
        say(Level::warning,
            fmt::format("at {} requests/s now a server would exceed {:g} of its capacity: back to {}",
                        static_cast<std::uint64_t>(state.rate), guard.utilisation_cap, percent(bound.value)));
        return begin_step(canary.step);
    }
    if (state.paused || in_stage(canary.installed_at) < guard.min_step || unexplained(state)) return;
    if (held_by() != nullptr) return;
    const judge::Verdict verdict = state.trial.overall();
    if (verdict.decision != judge::Decision::pass) return;
    const Share following = canary.step + 1 < all.size() ? all[canary.step + 1] : soak_share(state);
    if (following > bound || state.share < std::min(all[canary.step], bound)) {
        if (state.share < std::min(all[canary.step], bound)) begin_step(canary.step);  // the bound has risen
        return;
    }
    say(Level::key, step_line(state, verdict));
    begin_step(canary.step + 1);
}

void Machine::measure_soak(const Measured& measured) {
    Soak& soak = std::get<Soak>(state.stage);
    soak.candidate_requests += measured.window.arms[1].all_routes().requests;
    const config::Guard& guard = state.proposal.guard;
    if (state.paused || in_stage(soak.installed_at) < guard.soak || unexplained(state)) return;
    if (held_by() != nullptr) return;
    // No data is never a pass: a soak without requests goes on.
    if (soak.candidate_requests < guard.shadow_decisions) return;
    say(Level::key, step_line(state, state.trial.overall()));
    complete();
}

void Machine::complete() {
    effects.emplace_back(Adopt{.revision = state.revision});
    finish(Ending::completed, exit_code::done, false, fmt::format("{} is last known good", revision_name()));
}

void Machine::on(const Signalled& signalled) {
    for (const judge::Signal& signal : signalled.signals) {
        std::erase_if(state.signals,
                      [&](const judge::Signal& s) { return s.kind == signal.kind && s.subject == signal.subject; });
        if (signal.firing) state.signals.push_back(signal);
    }
    state.hypotheses = signalled.hypotheses;
    const Stage stage = stage_of(state);
    const bool live = stage == Stage::canary || stage == Stage::soak;
    const auto fired = std::find_if(signalled.signals.begin(), signalled.signals.end(),
                                    [](const judge::Signal& s) { return s.firing && hurts(s.kind); });
    if (fired == signalled.signals.end()) {
        // A diagnosis may come, or change, while older signals fire.
        if (!live || state.signals.empty()) return;
    }
    const judge::Signal& signal = fired != signalled.signals.end() ? *fired : state.signals.front();
    if (signalled.hypotheses.empty()) {
        if (fired != signalled.signals.end()) say(Level::warning, signal.text);
        return;
    }
    const judge::Hypothesis& top = signalled.hypotheses.front();
    const bool guilty = top.suspect == judge::Suspect::change && top.revision == state.revision &&
                        top.score >= convincing && hurts(signal.kind);
    if (live && guilty) {
        judge::Verdict verdict = state.trial.overall();
        verdict.decision = judge::Decision::fail;
        verdict.text = fmt::format("{}; {}", signal.text, top.evidence);
        say(Level::key, verdict.text);
        effects.emplace_back(Failed{verdict});
        undo({.ending = Ending::rolled_back, .for_harm = true, .reason = verdict.text},
             fmt::format("signal {} of {}", judge::name(signal.kind), signal.subject), signal.at,
             fmt::format("{}: {}", top.subject, top.evidence));
        return;
    }
    if (fired == signalled.signals.end()) return;
    say(Level::warning, fmt::format("{}; {}: {} ({})", signal.text,
                                    top.suspect == judge::Suspect::change    ? "suspected"
                                    : top.suspect == judge::Suspect::unknown ? "cause not known"
                                                                             : "not the change",
                                    top.subject, top.evidence));
}

void Machine::live_deadlines() {
    if (state.paused) return;
    const config::Guard& guard = state.proposal.guard;
    const auto* canary = std::get_if<Canary>(&state.stage);
    const Instant installed_at = canary != nullptr ? canary->installed_at : std::get<Soak>(state.stage).installed_at;
    if (installed_at == never) {
        if (now - state.entered >= install_limit)
            undo({.ending = Ending::interrupted, .reason = "not all workers acknowledged the new share"}, "deadline",
                 now, "");
        return;
    }
    const Duration limit = canary != nullptr ? guard.max_step : guard.soak + guard.max_step;
    if (in_stage(canary != nullptr ? canary->since : installed_at) < limit) return;
    const Share bound = judge::ramp_bound(state.endpoints, state.rate, guard.utilisation_cap);
    const judge::Signal* held = held_by();
    const std::string why = held != nullptr      ? held->text
                            : unexplained(state) ? state.signals.front().text
                            : bound.value < 1 && canary != nullptr
                                ? fmt::format("a server would exceed {:g} of its capacity above a share of {}",
                                              guard.utilisation_cap, percent(bound.value))
                                : state.trial.overall().text;
    undo({.ending = Ending::rolled_back,
          .reason = fmt::format("held for evidence at {}: {}", percent(state.share.value), why)},
         "deadline", now, "");
}

}  // namespace plimsoll::rollout
