// The inside of next(): rules as methods of one step. Only for this room; source of the rules:
// docs/formats/incident.md.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "incident/incident.h"

namespace plimsoll::incident {

/// One step: applies an observation, then the passing of time, to a state that it does not own.
class Machine {
public:
    Machine(State& state, std::vector<Effect>& effects, Now now)
        : state_(state), effects_(effects), arrived_(now), now_(now) {}

    void operator()(const ChangeLive& seen);
    void operator()(const ChangeSettled& seen);
    void operator()(const ChangeRejected& seen);
    void operator()(const TrialFailed& seen);
    void operator()(const SignalSeen& seen);
    void operator()(const Diagnosed& seen);
    void operator()(const ImpactMeasured& seen);
    void operator()(const Mitigated& seen);
    void operator()(const MitigationFailed& seen);
    void operator()(const RecoveryChecked& seen);
    void operator()(const Acknowledged& seen);
    void operator()(const NoteAdded& seen);
    void operator()(const Reviewed& seen);
    void operator()(const Delivered& seen);
    void operator()(const Tick&) {}

    /// What time alone brings about; after every observation.
    void pass_time();

private:
    Incident* find(std::string_view id) {
        const auto found = std::ranges::find_if(state_.incidents, [&](const Incident& i) { return i.id() == id; });
        return found == state_.incidents.end() ? nullptr : &*found;
    }
    [[nodiscard]] Stamp stamp(const Incident& incident) const { return {now_.wall, now_.instant - incident.t0}; }
    [[nodiscard]] Duration since(const Incident& incident, Mark mark) const {
        return now_.instant - incident.t0 - incident.at(mark)->since_t0;
    }
    static void add(Incident& incident, Line line);
    void log(Incident& incident, std::string what, std::string line, std::string evidence = {}) {
        add(incident, {stamp(incident), false, std::move(what), std::move(line), std::move(evidence), {}});
    }
    bool mark(Incident& incident, Mark mark, std::string line, std::string evidence = {});
    void save(const Incident& incident) { effects_.push_back(Save{incident.id()}); }

    /// Writes down what follows as of `at`, within [not_before, when the observation came].
    void happened(Instant at, Instant not_before) {
        const Instant when =
            at == never ? arrived_.instant : std::clamp(at, std::min(not_before, arrived_.instant), arrived_.instant);
        now_ = {when, arrived_.wall + (when - arrived_.instant)};
    }
    [[nodiscard]] static Instant latest_mark(const Incident& incident);

    Incident& open(std::string pool, std::string subject, std::string line, bool change_at_hand);
    void begin_at(Incident& incident, Instant t0, std::string line);
    void tell_detected(Incident& incident);
    void escalate(Incident& incident, std::string why);
    void ask(Incident& incident);
    void name_cause(Incident& incident, Cause cause);
    void recover(Incident& incident, std::string proof);
    void relapse(Incident& incident, const Alert& alert);

    Alert* alert_of(const SignalSeen& seen);
    void fire(Alert& alert);
    void move(Alert& alert);
    [[nodiscard]] bool covers(const Incident& incident, const Alert& alert) const;
    [[nodiscard]] bool any_alert(const Incident& incident, bool only_felt) const;
    [[nodiscard]] bool ever_alerted(const Incident& incident) const;
    void watch(Incident& incident);

    State& state_;
    std::vector<Effect>& effects_;
    Now arrived_;  ///< when the observation came
    Now now_;      ///< when it happened: what is written down
};

/// "r42"
[[nodiscard]] std::string label(RevisionNumber revision);
/// Whether the change can touch this pool: by the paths of what it altered. Anything outside "pools." may touch all.
[[nodiscard]] bool touches(const Change& change, std::string_view pool);

}  // namespace plimsoll::incident
