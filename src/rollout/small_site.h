// A small site that performs the effects of a rollout, in virtual time. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "judge/eight_servers.h"
#include "rollout/rollout.h"

namespace plimsoll::rollout {

using namespace std::chrono_literals;

inline constexpr Duration tick = 100ms;

using judge::even_shares;

/// Three quarters of requests to two of eight servers: the story.
inline std::vector<double> concentrated() {
    std::vector<double> shares(8, 0.25 / 6);
    shares[0] = shares[1] = 0.375;
    return shares;
}

inline Forecasted moves_nothing() {
    Forecasted forecast;
    forecast.summary = "nothing moves";
    forecast.from_recording = true;
    return forecast;
}

/// Eight servers of 400 requests/s at 60 %; a server above its capacity fails what is too much and slows the rest.
struct World {
    double rate = 1920;
    double capacity = 400;
    double error_active = 0.0005, error_candidate = 0.0005;
    std::vector<double> shares_active = even_shares(), shares_candidate = even_shares();
    bool installs_acknowledged = true, uninstalls_acknowledged = true;
    bool answers = true;  ///< of checks, simulation, journal
    Findings check_findings;
    Forecasted forecast = moves_nothing();
    bool unservable = false;
    Random random{11};

    Instant now{5'000'000'000};
    State state;
    Share share;
    bool shadow = false, installed = false;
    std::vector<Observation> answers_due;
    std::vector<Stage> stages;
    std::vector<double> shares_installed;
    std::vector<std::string> text;
    std::optional<Finish> finished;
    int adopted = 0, uninstalls = 0;

    [[nodiscard]] std::vector<judge::EndpointFacts> facts() const {
        return judge::eight_servers(shares_active, shares_candidate, capacity);
    }
    measure::Tally window() {
        measure::Tally t;
        t.from = now - tick;
        t.to = now;
        const auto n = static_cast<std::uint64_t>(rate / 10);
        std::vector<double> load(8);
        for (std::uint32_t i = 0; i < 8; ++i)
            load[i] = rate * ((1 - share.value) * shares_active[i] + share.value * shares_candidate[i]) / capacity;
        for (std::uint64_t i = 0; i < n; ++i) {
            Outcome o;
            o.arm = random.chance(share.value) ? Arm::candidate : Arm::active;
            const bool b = o.arm == Arm::candidate;
            const std::uint32_t server = judge::draw(random, b ? shares_candidate : shares_active);
            const double u = load[server];
            const double lost = u > 1 ? 1 - 1 / u : 0;
            o.route = RouteId{0};
            o.status = random.chance(std::max(lost, b ? error_candidate : error_active)) ? 503 : 200;
            o.first_byte = from_seconds(random.lognormal(u > 1 ? 0.8 : 0.02 / (1.05 - u), 0.4));
            o.attempt_count = 1;
            o.attempt[0].endpoint = EndpointId{server};
            o.attempt[0].status = o.status;
            measure::fold(t, o);
            if (!shadow) continue;
            ++t.shadow.decisions;
            ++t.shadow.picks[judge::draw(random, shares_candidate)];
            ++t.shadow.active_picks[server];
        }
        return t;
    }
    judge::Baseline past() {
        judge::Baseline b;
        for (int i = 0; i < 100; ++i) judge::extend(b, window(), i * 0.1);
        return b;
    }
    static Proposal proposal() {
        Proposal p;
        p.base = RevisionNumber{41};
        p.digest = "d42";
        p.author = "ana";
        p.message = "weights";
        p.guard.soak = 20s;
        p.guard.max_step = 60s;
        p.guard.min_step = 3s;
        p.guard.shadow = 1s;
        return p;
    }
    void take(Step step) {
        state = std::move(step.state);
        for (Effect& e : step.effects) perform(e);
        if (stages.empty() || stages.back() != stage_of(state)) stages.push_back(stage_of(state));
    }
    void perform(const Effect& effect) {
        ASSERT_FALSE(finished) << "an effect after Finish";
        if (const auto* e = std::get_if<Report>(&effect)) {
            text.push_back(e->text);
            if (stages.empty() || stages.back() != e->stage) stages.push_back(e->stage);
        }
        if (std::holds_alternative<RunChecks>(effect) && answers)
            answers_due.push_back(Checked{check_findings, unservable});
        if (std::holds_alternative<RunSimulation>(effect) && answers) answers_due.push_back(forecast);
        if (const auto* e = std::get_if<Append>(&effect); e != nullptr && e->kind == "revision" && answers)
            answers_due.push_back(Appended{RevisionNumber{42}});
        if (const auto* e = std::get_if<Install>(&effect)) {
            share = e->share;
            shadow = e->shadow;
            shares_installed.push_back(e->share.value);
            if (installs_acknowledged) answers_due.push_back(Installed{now});
        }
        if (std::holds_alternative<Uninstall>(effect)) {
            ++uninstalls;
            share = Share{0};
            shadow = false;
            if (uninstalls_acknowledged) answers_due.push_back(Installed{now});
        }
        if (std::holds_alternative<Adopt>(effect)) ++adopted;
        if (const auto* e = std::get_if<Finish>(&effect)) finished = *e;
    }
    void observe(const Observation& o) { take(next(std::move(state), o, now)); }
    void start_with(Proposal p) { take(start(std::move(p), past(), now)); }
    void step() {
        const std::vector<Observation> due = std::exchange(answers_due, {});
        for (const Observation& o : due)
            if (!ended(state)) observe(o);
        now = now + tick;
        if (!ended(state)) observe(Measured{window(), facts(), rate});
    }
    const Finish& run(Duration limit = 600s) {
        const Instant end = now + limit;
        while (!finished && now < end) step();
        EXPECT_TRUE(finished) << "still in " << name(stage_of(state));
        static const Finish nothing;
        return finished ? *finished : nothing;
    }
    void until(Stage stage) {
        while (!finished && stage_of(state) != stage) step();
    }
};

inline judge::Hypothesis blames(judge::Suspect suspect, std::string subject, std::uint64_t revision = 0) {
    judge::Hypothesis h;
    h.suspect = suspect;
    h.subject = std::move(subject);
    h.revision = RevisionNumber{revision};
    h.score = 20;
    h.evidence = "because";
    return h;
}

inline judge::Signal signal(judge::SignalKind kind, Instant at) {
    judge::Signal s;
    s.kind = kind;
    s.subject = "all";
    s.at = at;
    s.text = "signal";
    return s;
}

inline judge::Signal diverging(std::string subject) {
    judge::Signal s;
    s.kind = judge::SignalKind::divergence;
    s.subject = std::move(subject);
    s.text = s.subject + ": what is wanted has not been what serves for 90s";
    return s;
}

}  // namespace plimsoll::rollout
