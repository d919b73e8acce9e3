// Incident: from signals to alerts to incidents, decided purely. control feeds what it sees and performs the effects;
// the simulator does the same in virtual time. Nothing here rolls back: rollout does, and tells us. Thread rule:
// values, used by one thread. Source: incident-response practice of docs/formats/incident.md.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/finding.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "judge/diagnose.h"
#include "judge/verdict.h"
#include "judge/watch.h"

namespace plimsoll::incident {

/// One moment on both clocks: the monotonic one decides and measures, the wall clock is written down.
struct Now {
    Instant instant;
    Timestamp wall;
};

// ---- alerts -------------------------------------------------------------------------------------------------------

enum class AlertState : std::uint8_t { pending, firing, clearing, resolved };
[[nodiscard]] std::string_view name(AlertState state);

/// One signal's life. Identity: kind, subject and pool.
struct Alert {
    judge::SignalKind kind = judge::SignalKind::errors;
    std::string subject;  ///< of the signal: "all", "endpoint b3"
    std::string pool;     ///< empty = not about one pool
    AlertState state = AlertState::pending;
    Instant since;            ///< when it came into this state
    std::uint32_t fired = 0;  ///< how often it went to firing
    std::string text;         ///< the newest sentence of the signal
    std::string incident;     ///< "INC-17"; empty while pending
};

// ---- incidents ----------------------------------------------------------------------------------------------------

/// The marks of an incident, in the order in which they are shown. t0 = the change took live traffic, or the onset.
enum class Mark : std::uint8_t { t0, detected, notified, acknowledged, cause_named, mitigated, recovered, reviewed };
inline constexpr std::size_t mark_count = 8;
[[nodiscard]] std::string_view name(Mark mark);

/// `since_t0` is measured on the monotonic clock, so it stays true when the wall clock is set.
struct Stamp {
    Timestamp at;
    Duration since_t0{};
    friend bool operator==(const Stamp&, const Stamp&) = default;
};

/// A line of the timeline. Lines of the machine (`author` empty) cannot be changed; people add their own.
struct Line {
    Stamp stamp;
    bool key = false;      ///< one of the at most ten lines that tell the story
    std::string what;      ///< closed list: the name of a mark, or "alert", "stage", "verdict", "delivery",
                           ///< "note", "escalated", "relapsed", "impact", "cause", "recovery", "mitigation_failed"
    std::string text;      ///< one sentence
    std::string evidence;  ///< the numbers or the place it rests on; may be empty
    std::string author;    ///< of a note; empty = the machine
    friend bool operator==(const Line&, const Line&) = default;
};
inline constexpr std::size_t max_key_lines = 10;
/// Then further lines are counted, not kept; key lines always are. The whole incident is journaled at each of them, so
/// this bounds what one restless incident can cost to about 50 MB.
inline constexpr std::size_t max_lines = 500;

/// One altered config item of a change, with its place in the file that was proposed.
struct Altered {
    std::string path, before, after;
    Where where;
    friend bool operator==(const Altered&, const Altered&) = default;
};

/// The change that is live, or was when the incident began.
struct Change {
    RevisionNumber revision, base;
    std::string author;                   ///< as given to apply; a role serves better than a name
    std::string reason;                   ///< the message of apply
    std::string before_file, after_file;  ///< names of the two configs, for the scenario; may be empty
    std::vector<Altered> altered;
    std::vector<std::string> forced;  ///< gates that were overridden, e.g. "P301-concentration"
    friend bool operator==(const Change&, const Change&) = default;
};

/// What did it, as far as known.
struct Cause {
    judge::Suspect suspect = judge::Suspect::unknown;
    std::string subject;         ///< "change r42", "server:b7", "demand"
    std::vector<Altered> items;  ///< of a change: the items that can produce the signals, else all of them
    std::string evidence;        ///< one sentence with the numbers
    double score = 0;            ///< in nats, as judge::Hypothesis
    friend bool operator==(const Cause&, const Cause&) = default;
};

/// What users felt between t0 and recovery (or now). Measured; never typed in.
struct Impact {
    std::uint64_t requests = 0;
    std::uint64_t failed = 0;           ///< Outcome::failed(): a client saw it
    double failed_usual = 0;            ///< failures that the usual error rate would have given on as many requests
    std::uint64_t retried = 0;          ///< saved by another attempt
    std::uint64_t slow = 0;             ///< slower than the usual p99
    Duration p99_usual{}, p99_worst{};  ///< worst second
    double utilisation_worst = 0;       ///< busiest endpoint; 0 = capacity unknown
    std::string utilisation_endpoint;
    [[nodiscard]] double failed_share() const {
        return requests == 0 ? 0.0 : static_cast<double>(failed) / static_cast<double>(requests);
    }
    friend bool operator==(const Impact&, const Impact&) = default;
};

/// From measured impact alone: sev1 at >= 10 % failed (and >= 100 requests), sev2 at >= 1 % failed (and >= 20) or p99
/// >= 10 x usual for >= 1 % of the requests, sev3 when anything beyond the usual failed or slowed, sev4 when nobody
/// noticed.
enum class IncidentSeverity : std::uint8_t { sev1 = 1, sev2, sev3, sev4 };
[[nodiscard]] std::string_view name(IncidentSeverity severity);  ///< "SEV-1"
[[nodiscard]] IncidentSeverity severity(const Impact& impact);

enum class Phase : std::uint8_t { open, mitigated, recovered, reviewed };
[[nodiscard]] std::string_view name(Phase phase);

/// One attempt to deliver one notification to one channel.
struct Delivery {
    std::string notification;  ///< its id
    std::string channel;       ///< name of the webhook in the config
    std::uint32_t attempt = 1;
    std::uint16_t status = 0;  ///< HTTP; 0 = no answer
    std::string error;         ///< empty when status is 2xx
    Timestamp at;
    [[nodiscard]] bool arrived() const { return status >= 200 && status < 300; }
    friend bool operator==(const Delivery&, const Delivery&) = default;
};

struct Incident {
    std::uint64_t number = 0;
    std::string pool;     ///< empty = more than one, or not known
    std::string subject;  ///< of the cause once it is named ("change r42"), until then the first signal
    Phase phase = Phase::open;
    bool escalated = false;  ///< a human is needed; a page was asked for
    IncidentSeverity severity = IncidentSeverity::sev4;
    std::optional<Change> change;  ///< live when it began; blamed only if `cause` says so
    std::optional<Cause> cause;
    std::vector<judge::Hypothesis> hypotheses;  ///< of the newest diagnosis, best first
    Impact impact;
    std::array<std::optional<Stamp>, mark_count> marks;  ///< by Mark
    std::vector<Line> lines;
    std::size_t lines_dropped = 0;
    std::vector<Delivery> deliveries;
    RevisionNumber rolled_back_to;
    Duration rollback_took{};  ///< first worker told -> last worker acknowledged
    std::string recovery_proof;
    std::string owner;  ///< set by whoever acknowledges
    bool told = false;  ///< incident_detected was asked for
    // Not written down: belongs to this process's clock.
    Instant t0;
    Instant asked;          ///< when a diagnosis was last wanted
    int drafts = 0;         ///< of the postmortem, asked for
    bool restored = false;  ///< came back after a restart, its alerts are forgotten

    [[nodiscard]] std::string id() const;  ///< "INC-17"
    [[nodiscard]] const std::optional<Stamp>& at(Mark mark) const { return marks[static_cast<std::size_t>(mark)]; }
    [[nodiscard]] std::vector<Line> key_lines() const;
    [[nodiscard]] bool is_open() const { return phase == Phase::open || phase == Phase::mitigated; }
    /// The change is named as the cause.
    [[nodiscard]] bool blames_change() const { return change && cause && cause->suspect == judge::Suspect::change; }
};

// ---- what is seen -------------------------------------------------------------------------------------------------

/// A candidate takes live traffic for the first time, or another share of it. `change` is kept from the first one on.
struct ChangeLive {
    Change change;
    Share share;
    Instant at = never;  ///< when it did, if that was before now; so in the ones below
};
/// The live change passed everything: it is last known good now. Its signals are no longer taken as its doing.
struct ChangeSettled {
    RevisionNumber revision;
};
/// The gates refused a change before it took traffic: not an incident, but its author is told.
struct ChangeRejected {
    Change change;
    std::string gate;  ///< "check", "replay", "shadow"
    std::string text;
};
/// A change's trial failed: opens an incident if none is open, with the change as its cause.
struct TrialFailed {
    RevisionNumber revision;
    judge::Verdict verdict;
    Instant at = never;
};
/// From judge::Watch, firing or cleared. `pool` as control knows it from the endpoint; may be empty.
struct SignalSeen {
    judge::Signal signal;
    std::string pool;
};
/// The answer to WantDiagnosis; at any later time too.
struct Diagnosed {
    std::string incident;
    std::vector<judge::Hypothesis> hypotheses;  ///< best first
};
/// The answer to WantImpact.
struct ImpactMeasured {
    std::string incident;
    Impact impact;
};
/// All workers serve `to` again, or an endpoint was ejected: what did the harm is out of the way.
struct Mitigated {
    std::string incident;
    std::string text;
    RevisionNumber to{};  ///< of a rollback; 0 for other means
    Duration took{};
    Instant at = never;
};
struct MitigationFailed {
    std::string incident;
    std::string text;
};
/// The measured answer to "is it even and fast again". Not proven is not the same as failed: it may be asked again.
struct RecoveryChecked {
    std::string incident;
    bool proven = false;
    std::string text;  ///< the numbers: skew, error rate, p99 against their bands, for how long
    Instant at = never;
};
struct Acknowledged {
    std::string incident, who;
};
struct NoteAdded {
    std::string incident, who, text;
};
struct Reviewed {
    std::string incident, who;
};
struct Delivered {
    std::string incident;
    Delivery delivery;
};
/// Nothing but time. At least every second while anything is open.
struct Tick {};

using Observation =
    std::variant<ChangeLive, ChangeSettled, ChangeRejected, TrialFailed, SignalSeen, Diagnosed, ImpactMeasured,
                 Mitigated, MitigationFailed, RecoveryChecked, Acknowledged, NoteAdded, Reviewed, Delivered, Tick>;

// ---- what is to be done -------------------------------------------------------------------------------------------

enum class Urgency : std::uint8_t { info, low, page };
[[nodiscard]] std::string_view name(Urgency urgency);

/// Something that happened and that somebody is to be told; notification.h makes the message of it.
enum class Event : std::uint8_t {
    change_accepted,     ///< info
    change_rejected,     ///< info
    incident_detected,   ///< low with a change at hand (it is being rolled back) or a cause named; else page
    incident_escalated,  ///< page: rollback failed, recovery unverified in time, or users still affected
    incident_recovered,  ///< low
    incident_relapsed,   ///< page
};
[[nodiscard]] std::string_view name(Event event);  ///< "incident.detected": the type of the webhook

/// Write this incident to the journal (kind "incident", subject its id) as it is now.
struct Save {
    std::string incident;
};
struct Notify {
    Event event;
    Urgency urgency = Urgency::info;
    std::string incident;          ///< empty for changes
    std::optional<Change> change;  ///< of change_accepted and change_rejected
    std::string text;              ///< one sentence
};
/// Run judge::diagnose and answer with Diagnosed.
struct WantDiagnosis {
    std::string incident;
};
/// Measure since `t0` and answer with ImpactMeasured.
struct WantImpact {
    std::string incident;
    Instant t0;
};
/// Recovered, and the impact was measured: the postmortem can be drafted. Comes a second time `redraft` later, when the
/// plots show what came after.
struct DraftPostmortem {
    std::string incident;
};
using Effect = std::variant<Save, Notify, WantDiagnosis, WantImpact, DraftPostmortem>;

// ---- the machine --------------------------------------------------------------------------------------------------

struct Settings {
    Duration pending{};  ///< a signal must last this long; judge's signals are strong already
    Duration resolve_hold = std::chrono::seconds(2);     ///< a cleared signal must stay away this long
    Duration recovery_limit = std::chrono::seconds(10);  ///< mitigated but not proven recovered by then: page
    Duration page_after = std::chrono::seconds(10);  ///< cause known, no change, users still affected after this: page
    Duration diagnosis_grace =
        std::chrono::seconds(1);                   ///< without a change, nobody is told before a diagnosis or this
    Duration ask_again = std::chrono::seconds(1);  ///< diagnosis (until a cause is named) and impact, while it is open
    Duration redraft = std::chrono::seconds(30);   ///< after recovery
    Duration relapse = std::chrono::minutes(1);    ///< the same signal again within this reopens the incident
    Duration blame = std::chrono::hours(1);        ///< how long a settled change still is the context of an incident
    double cause_nats = 3;                         ///< a hypothesis is named the cause from this score (odds of 20:1)
};
inline constexpr std::size_t max_incidents = 200;     ///< in memory; older ones are in the journal
inline constexpr std::size_t max_alerts = 1'000;      ///< further signals are counted and otherwise ignored
inline constexpr std::size_t max_deliveries = 200;    ///< per incident; further ones are lines dropped
inline constexpr std::size_t max_note_bytes = 4'096;  ///< longer notes are cut

struct State {
    Settings settings;
    std::uint64_t next_number = 1;
    std::vector<Alert> alerts;  ///< resolved ones stay for `relapse`
    std::size_t alerts_dropped = 0;
    std::vector<Incident> incidents;  ///< ascending by number
    struct Live {
        Change change;
        Now applied;
        Share share;
        bool settled = false;
        Instant settled_at;
    };
    std::optional<Live> live;

    /// By id ("INC-17"); null when it is not in memory.
    [[nodiscard]] const Incident* find(std::string_view id) const;
};

struct Step {
    State state;
    std::vector<Effect> effects;
};
/// What follows from one observation. Never fails: an observation about an unknown incident changes nothing. `now` must
/// not go back. Cost: linear in alerts and open incidents.
[[nodiscard]] Step next(State state, const Observation& seen, Now now);

/// Puts an incident read from the journal back, after a restart; ascending. Open ones go on where they were.
void restore(State& state, Incident incident, Now now);

// ---- as text ------------------------------------------------------------------------------------------------------

/// JSON object, docs/formats/incident.md.
[[nodiscard]] std::string to_json(const Incident& incident);
/// Errors: invalid, naming what is missing.
[[nodiscard]] Result<Incident> from_json(std::string_view json);

}  // namespace plimsoll::incident
