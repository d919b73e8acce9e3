// Feeds the incident machine one story after the other, on a clock that the test turns. For tests.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "incident/incident.h"

namespace plimsoll::incident {

using judge::Signal;
using judge::SignalKind;
using judge::Suspect;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr Timestamp begin_of_day{1'795'343'000'000'000'000};

/// Turns the clock and feeds the machine; keeps every effect.
class World {
public:
    State state;
    std::vector<Effect> effects;
    Duration clock{};

    std::vector<Effect> see(const Observation& seen) {
        auto step = next(std::move(state), seen, now());
        state = std::move(step.state);
        effects.insert(effects.end(), step.effects.begin(), step.effects.end());
        return step.effects;
    }
    void pass(Duration d, Duration tick = milliseconds(100)) {
        for (const Duration end = clock + d; clock < end;) {
            clock += tick;
            see(Tick{});
        }
    }
    [[nodiscard]] Now now() const { return {Instant{1'000'000} + clock, begin_of_day + clock}; }
    [[nodiscard]] const Incident& incident(std::size_t i = 0) const { return state.incidents.at(i); }
    [[nodiscard]] std::vector<Notify> told() const {
        std::vector<Notify> out;
        for (const Effect& effect : effects) {
            if (const auto* notify = std::get_if<Notify>(&effect)) out.push_back(*notify);
        }
        return out;
    }
    [[nodiscard]] std::vector<std::string> told_names() const {
        std::vector<std::string> out;
        for (const Notify& each : told())
            out.push_back(std::string(name(each.event)) + " " + std::string(name(each.urgency)));
        return out;
    }
};

inline Change change(std::uint64_t revision = 42, std::string path = "pools.web.endpoints[b1].weight") {
    Change out;
    out.revision = {revision};
    out.base = {revision - 1};
    out.author = "platform";
    out.reason = "new weights";
    out.before_file = "before.yaml";
    out.after_file = "after.yaml";
    out.altered = {{std::move(path), "100", "1000", {"after.yaml", 37, 15}}};
    return out;
}

inline SignalSeen signal(SignalKind kind, std::string subject = "all", std::string pool = {}, bool firing = true) {
    Signal out;
    out.kind = kind;
    out.text = std::string(judge::name(kind)) + " of " + subject;
    out.subject = std::move(subject);
    out.firing = firing;
    return {std::move(out), std::move(pool)};
}

inline TrialFailed trial(std::uint64_t revision = 42) {
    judge::Verdict verdict;
    verdict.decision = judge::Decision::fail;
    verdict.family = judge::Family::saturation;
    verdict.log_e = 12;
    verdict.threshold = 8.7;
    verdict.text = "b1 works at 3.9 x its capacity";
    return {{revision}, verdict};
}

inline Diagnosed diagnosis(std::string id, Suspect suspect, std::string subject, double score) {
    judge::Hypothesis top, rest;
    top.suspect = suspect;
    top.subject = std::move(subject);
    top.score = score;
    top.evidence = "35 of 486 against 4 of 9,234";
    rest.score = 0;
    return {std::move(id), {top, rest}};
}

inline Delivered delivered(std::string id, std::uint16_t status, std::uint32_t attempt = 1) {
    Delivery delivery;
    delivery.notification = "msg_1";
    delivery.channel = "team";
    delivery.attempt = attempt;
    delivery.status = status;
    if (status == 0) delivery.error = "refused";
    return {std::move(id), delivery};
}

template <class T>
inline std::size_t count(const std::vector<Effect>& effects) {
    return static_cast<std::size_t>(
        std::ranges::count_if(effects, [](const Effect& effect) { return std::holds_alternative<T>(effect); }));
}

/// The story of PRODUCT.md, healed: change at 0 s, seen at 0.9 s, rolled back, even again.
inline World healed_rollback() {
    World world;
    world.see(ChangeLive{change(), {0.5}});
    world.pass(milliseconds(900));
    world.see(signal(SignalKind::utilisation, "endpoint b1", "web"));
    world.see(signal(SignalKind::latency));
    world.clock += milliseconds(10);
    world.see(trial());
    world.clock += milliseconds(30);
    world.see(Mitigated{"INC-1", "r41 serves all requests on 4 of 4 workers", {41}, milliseconds(28)});
    world.clock += milliseconds(20);
    world.see(delivered("INC-1", 204));
    world.pass(seconds(2));
    world.see(signal(SignalKind::utilisation, "endpoint b1", "web", false));
    world.see(signal(SignalKind::latency, "all", "", false));
    world.pass(seconds(1));
    world.see(RecoveryChecked{"INC-1", true, "skew 1.02, errors 0.00 %, p99 19 ms for 3 s"});
    return world;
}

}  // namespace plimsoll::incident
