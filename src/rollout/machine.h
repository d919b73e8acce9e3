// Inside of the rollout room: one call of next(), taken apart. Not for other rooms.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rollout/rollout.h"

namespace plimsoll::rollout {

/// Works on a state for the time of one observation.
struct Machine {
    State state;
    Instant now;
    std::vector<Effect> effects;

    // machine.cpp: what all stages use
    void say(Level level, std::string text);
    void journal(std::string_view event, std::string_view text);
    void enter(StageState stage);
    void install(Share share, bool shadow);
    void finish(Ending ending, int exit_code, bool freeze, std::string text);
    void keep_lease();
    [[nodiscard]] Duration in_stage(Instant since) const { return now - since - state.pauses; }
    [[nodiscard]] std::string revision_name() const;

    // gates.cpp: before traffic
    void on(const Checked& checked);
    void on(const Forecasted& forecast);
    void on(const Appended& appended);
    void begin_shadow();
    void measure_shadow(Shadow& shadow, const Measured& measured);
    void shadow_deadline(const Shadow& shadow);

    // live.cpp: on live traffic
    void begin_step(std::size_t step);
    void begin_soak();
    void measure_live(const Measured& measured);
    void measure_canary(const Measured& measured);
    void measure_soak(const Measured& measured);
    void complete();
    void on(const Signalled& signalled);
    void on(const Diverged& diverged);
    /// What keeps it from its next step, or null.
    [[nodiscard]] const judge::Signal* held_by() const;
    void live_deadlines();

    // back.cpp: the way back and its proof
    void undo(Undoing undoing, std::string_view detected_by, Instant detected, std::string cause);
    void leave();
    void measure_undoing(const Measured& measured);
    void measure_verifying(const Measured& measured);
    void verifying_deadline();
    void account_for(const measure::Tally& window);
};

// lines.cpp: words and numbers for people and the journal
[[nodiscard]] std::string percent(double fraction);
[[nodiscard]] std::string step_line(const State& state, const judge::Verdict& verdict);
[[nodiscard]] std::string journal_body(const State& state, std::string_view event, std::string_view text, Instant now);
[[nodiscard]] std::string revision_body(const State& state);
[[nodiscard]] std::string harm_text(const Account& account);

}  // namespace plimsoll::rollout
