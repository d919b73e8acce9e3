#include "rollout/machine.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/exit_code.h"

namespace plimsoll::rollout {

std::string_view name(Stage stage) {
    switch (stage) {
        case Stage::checking: return "checking";
        case Stage::simulating: return "simulating";
        case Stage::durable: return "durable";
        case Stage::shadow: return "shadow";
        case Stage::canary: return "canary";
        case Stage::soak: return "soak";
        case Stage::undoing: return "undoing";
        case Stage::verifying: return "verifying";
        case Stage::ended: return "ended";
    }
    return "?";
}

std::string_view name(Ending ending) {
    switch (ending) {
        case Ending::completed: return "completed";
        case Ending::rejected: return "rejected";
        case Ending::rolled_back: return "rolled_back";
        case Ending::aborted: return "aborted";
        case Ending::interrupted: return "interrupted";
    }
    return "?";
}

std::uint64_t Account::harmed() const { return std::min(requests, failed + slow); }

Stage stage_of(const State& state) {
    static_assert(std::variant_size_v<StageState> == static_cast<std::size_t>(Stage::ended) + 1);
    return static_cast<Stage>(state.stage.index());
}

bool ended(const State& state) { return std::holds_alternative<Ended>(state.stage); }

Share soak_share(const State& state) {
    // Without anybody held back there is nothing to compare with; with more than half it is no soak.
    return Share{1 - std::clamp(state.proposal.guard.hold_back, 0.001, 0.5)};
}

std::vector<Share> steps(const State& state) {
    std::vector<Share> result;
    if (!state.proposal.options.at_once)
        for (const double share : state.proposal.guard.steps)
            if (share > 0 && share < soak_share(state).value) result.push_back(Share{share});
    if (result.empty()) result.push_back(soak_share(state));
    return result;
}

// ---- what all stages use -------------------------------------------------------------------------------------------

std::string Machine::revision_name() const {
    return state.revision.value == 0 ? std::string("the change") : fmt::format("r{}", state.revision.value);
}

void Machine::say(Level level, std::string text) {
    effects.emplace_back(
        Report{.level = level, .stage = stage_of(state), .share = state.share, .text = std::move(text)});
}

void Machine::journal(std::string_view event, std::string_view text) {
    effects.emplace_back(Append{.kind = "rollout",
                                .subject = state.revision.value == 0 ? "" : revision_name(),
                                .body = journal_body(state, event, text, now)});
}

void Machine::enter(StageState stage) {
    state.stage = std::move(stage);
    state.entered = now;
    state.pauses = {};
    state.last_line = now;
}

void Machine::install(Share share, bool shadow) {
    state.share = share;
    state.lease_renewed = now;
    if (share.value > 0 && !state.took_traffic) {
        state.took_traffic = true;
        state.account.t0 = now;
        const judge::Baseline& past = state.baseline;
        const double q = past.total.count() >= 10'000 ? 0.999 : 0.99;
        state.account.slow_threshold = 3 * past.total.quantile(q);
    }
    effects.emplace_back(Install{.revision = state.revision, .share = share, .shadow = shadow, .lease = lease});
}

void Machine::finish(Ending ending, int exit_code, bool freeze, std::string text) {
    Finish last{.ending = ending,
                .exit_code = exit_code,
                .frozen_digest = freeze ? state.proposal.digest : "",
                .text = std::move(text),
                .account = state.account};
    state.paused = false;
    enter(Ended{last});
    journal("ended", last.text);
    say(exit_code == exit_code::unverified ? Level::page : Level::key, last.text);
    effects.emplace_back(std::move(last));
}

void Machine::keep_lease() {
    const Stage stage = stage_of(state);
    if (stage != Stage::shadow && stage != Stage::canary && stage != Stage::soak && stage != Stage::undoing) return;
    if (now - state.lease_renewed < lease / 3) return;
    state.lease_renewed = now;
    effects.emplace_back(Renew{.lease = lease});
}

// ---- dispatch ------------------------------------------------------------------------------------------------------

namespace {

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};

void on_command(Machine& m, const Command& command) {
    State& state = m.state;
    const Stage stage = stage_of(state);
    const std::string by = fmt::format("{}{}{}", command.who, command.reason.empty() ? "" : ": ", command.reason);
    switch (command.verb) {
        case Verb::abort:
            if (stage != Stage::undoing && stage != Stage::verifying)
                m.undo({.ending = Ending::aborted, .reason = fmt::format("aborted by {}", by)}, command.who, m.now, "");
            return;
        case Verb::pause:
            if (state.paused || (stage != Stage::shadow && stage != Stage::canary && stage != Stage::soak)) return;
            state.paused = true;
            state.paused_at = m.now;
            m.say(Level::key, fmt::format("paused by {}", by));
            return;
        case Verb::resume:
            if (!state.paused) return;
            state.paused = false;
            state.pauses += m.now - state.paused_at;
            m.say(Level::key, fmt::format("resumed by {}", by));
            return;
        case Verb::promote:
            if (stage == Stage::soak) {
                m.say(Level::key, "the soak is not shortened: last known good is earned by time");
                return;
            }
            if (stage != Stage::shadow && stage != Stage::canary) return;
            m.say(Level::warning, fmt::format("taken on without waiting for evidence by {}", by));
            m.journal("promoted", by);
            return m.begin_step(stage == Stage::shadow ? 0 : std::get<Canary>(state.stage).step + 1);
    }
}

void on_installed(Machine& m, Instant at) {
    State& state = m.state;
    if (auto* shadow = std::get_if<Shadow>(&state.stage)) {
        shadow->installed_at = std::min(shadow->installed_at, at);
    } else if (auto* canary = std::get_if<Canary>(&state.stage)) {
        if (canary->installed_at != never) return;
        canary->installed_at = at;
        state.trial.begin_step(state.share, state.endpoints, state.rate);
    } else if (auto* soak = std::get_if<Soak>(&state.stage)) {
        if (soak->installed_at != never) return;
        soak->installed_at = at;
        state.trial.begin_step(state.share, state.endpoints, state.rate);
    } else if (auto* undoing = std::get_if<Undoing>(&state.stage); undoing != nullptr && !undoing->waiting) {
        state.account.rolled_back = at;
        m.say(Level::key, fmt::format("all workers serve r{} again", state.proposal.base.value));
        m.enter(Verifying{.undone = *undoing, .good_since = at, .recent = {}, .text = {}});
    }
}

void on_measured(Machine& m, const Measured& measured) {
    m.state.endpoints = measured.endpoints;
    m.state.rate = measured.rate;
    const Stage stage = stage_of(m.state);
    if (m.state.took_traffic) m.account_for(measured.window);
    if (!m.state.took_traffic) {
        judge::extend(m.state.baseline, measured.window, m.state.baseline_seconds);
        m.state.baseline_seconds += seconds(measured.window.to - measured.window.from);
    }
    if (stage == Stage::shadow) m.measure_shadow(std::get<Shadow>(m.state.stage), measured);
    if (stage == Stage::canary || stage == Stage::soak) m.measure_live(measured);
    if (stage == Stage::undoing) m.measure_undoing(measured);
    if (stage == Stage::verifying) m.measure_verifying(measured);
}

void on_append_failed(Machine& m, const AppendFailed& failed) {
    const Stage stage = stage_of(m.state);
    if (stage == Stage::undoing || stage == Stage::verifying) return;  // the way back does not wait for a disk
    m.undo({.ending = Ending::interrupted, .reason = fmt::format("the journal cannot be written: {}", failed.detail)},
           "journal", m.now, "");
}

void on_shutdown(Machine& m) {
    if (m.state.share.value > 0 || std::holds_alternative<Shadow>(m.state.stage)) {
        m.state.share = Share{0};
        m.effects.emplace_back(Uninstall{.to = m.state.proposal.base, .reason = "the server stops"});
    }
    m.finish(Ending::interrupted, exit_code::error, false,
             fmt::format("interrupted: the server stops; r{} is in force", m.state.proposal.base.value));
}

/// Deadlines, in every stage, with every observation: a rollout always ends.
void deadlines(Machine& m) {
    State& state = m.state;
    if (state.paused && m.now - state.paused_at >= pause_limit)
        on_command(m, Command{.verb = Verb::resume, .who = "the limit of pauses", .reason = text(pause_limit)});
    const Duration waited = m.now - state.entered;
    switch (stage_of(state)) {
        case Stage::checking:
            if (waited >= check_limit)
                m.undo({.ending = Ending::interrupted, .reason = "the checks did not answer"}, "deadline", m.now, "");
            break;
        case Stage::simulating:
            if (waited >= simulation_limit)
                m.undo({.ending = Ending::interrupted, .reason = "the simulation did not answer"}, "deadline", m.now,
                       "");
            break;
        case Stage::durable:
            if (waited >= append_limit)
                m.undo({.ending = Ending::interrupted, .reason = "the journal did not answer"}, "deadline", m.now, "");
            break;
        case Stage::shadow: m.shadow_deadline(std::get<Shadow>(state.stage)); break;
        case Stage::canary:
        case Stage::soak: m.live_deadlines(); break;
        case Stage::undoing:
        case Stage::verifying: m.verifying_deadline(); break;
        case Stage::ended: break;
    }
}

}  // namespace

Step start(Proposal proposal, judge::Baseline past, Instant now) {
    Machine m{.state = {}, .now = now, .effects = {}};
    m.state.proposal = std::move(proposal);
    m.state.baseline = std::move(past);
    m.state.baseline_seconds =
        m.state.baseline.rate > 0 ? static_cast<double>(m.state.baseline.requests) / m.state.baseline.rate : 0;
    m.state.rate = m.state.baseline.rate;
    m.state.account.submitted = now;
    m.enter(Checking{});
    const Options& options = m.state.proposal.options;
    if ((options.force || options.at_once) && options.reason.empty()) {
        m.finish(Ending::rejected, exit_code::rejected, false,
                 "rejected: forcing a change, or all of it at once, needs a reason");
        return {std::move(m.state), std::move(m.effects)};
    }
    m.say(Level::key, fmt::format("change by {}: {}", m.state.proposal.author, m.state.proposal.message));
    if (options.force) m.say(Level::warning, fmt::format("gates before traffic are forced: {}", options.reason));
    if (options.at_once) m.say(Level::warning, fmt::format("all at once: {}", options.reason));
    m.journal("submitted", m.state.proposal.message);
    m.effects.emplace_back(RunChecks{});
    return {std::move(m.state), std::move(m.effects)};
}

Step next(State state, const Observation& observation, Instant now) {
    Machine m{.state = std::move(state), .now = now, .effects = {}};
    if (!ended(m.state)) {
        m.keep_lease();
        std::visit(
            Overloaded{[&](const Checked& o) { m.on(o); }, [&](const Forecasted& o) { m.on(o); },
                       [&](const Appended& o) { m.on(o); }, [&](const Signalled& o) { m.on(o); },
                       [&](const Diverged& o) { m.on(o); }, [&](const AppendFailed& o) { on_append_failed(m, o); },
                       [&](const Installed& o) { on_installed(m, o.at); },
                       [&](const Measured& o) { on_measured(m, o); }, [&](const Command& o) { on_command(m, o); },
                       [](const Tick&) {}, [&](const ShuttingDown&) { on_shutdown(m); }},
            observation);
        if (!ended(m.state)) deadlines(m);
    }
    return {std::move(m.state), std::move(m.effects)};
}

}  // namespace plimsoll::rollout
