// Rollout: what a Change does next. A pure state machine: next(state, observation, now) -> {state, effects}. control
// performs the effects and feeds back what happened; the simulator does the same in virtual time, bit for bit the same.
//
//   checking -> simulating -> durable -> shadow -> canary (steps) -> soak -> completed
//        \________ rejected ________/______/          \_______________/ -> undoing -> verifying -> rolled back, ...
//
// Stages are never skipped (break-glass passes through them at once and says so). Only evidence promotes. Any fail
// undoes at once. No data holds, and holding ends with the old revision. Thread rule: a value; whoever has it owns it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/finding.h"
#include "base/ids.h"
#include "base/time.h"
#include "config/config.h"
#include "judge/diagnose.h"
#include "judge/facts.h"
#include "judge/verdict.h"
#include "judge/watch.h"
#include "measure/tally.h"

namespace plimsoll::rollout {

// ---- what is proposed ----------------------------------------------------------------------------------------------

/// Break-glass. Both need a `reason`; `start` ends the rollout as rejected without one. Neither switches off what
/// follows live traffic: the canary's evidence, the watch, rollback and its verification.
struct Options {
    bool force = false;  ///< pass checks, simulation and shadow whatever they say (except a config that serves nobody)
    bool at_once = false;  ///< one step of 1 - hold_back, not the guard's steps; not bounded by projected load
    std::string reason;    ///< for the record
};

struct Proposal {
    RevisionNumber base;      ///< the active revision, to which everything can return
    std::string base_digest;  ///< of its config
    std::string digest;       ///< of the proposed config; frozen when it is undone for harm
    std::string config;       ///< printed; becomes the body of the journal's "revision" entry
    std::string author, message;
    std::vector<judge::AlteredItem> altered;  ///< what differs, for diagnosis
    config::Guard guard;                      ///< of the *active* revision: a change cannot loosen its own guard
    Options options;
};

// ---- stages --------------------------------------------------------------------------------------------------------

enum class Stage : std::uint8_t { checking, simulating, durable, shadow, canary, soak, undoing, verifying, ended };
[[nodiscard]] std::string_view name(Stage stage);

enum class Ending : std::uint8_t {
    completed,    ///< the revision is last known good
    rejected,     ///< stopped before it took traffic
    rolled_back,  ///< undone: harm was shown, or evidence did not come
    aborted,      ///< a person stopped it
    interrupted,  ///< the server stopped, or the journal could not be written
};
[[nodiscard]] std::string_view name(Ending ending);

/// When what happened, and whom it hurt. Instants are `never` until they happen. Goes to the incident room and the
/// story.
struct Account {
    Instant submitted = never;
    Instant t0 = never;           ///< first live traffic on the candidate: change applied
    Instant detected = never;     ///< evidence of harm (or the decision to stop)
    Instant cause_named = never;  ///< the change, with evidence; equals `detected` when the comparison itself names it
    Instant rolled_back = never;  ///< all workers serve the old revision only
    Instant recovered = never;    ///< back in the base band for guard.recovery_window (the window's end)
    std::string detected_by;      ///< "errors", "imbalance", "signal utilisation of endpoint b1", "author"
    std::string cause;            ///< sentence; empty when nobody is to blame
    std::uint64_t requests = 0, candidate_requests = 0;  ///< from T0 to recovery (or the end)
    std::uint64_t failed = 0, candidate_failed = 0;      ///< client-visible failures among them
    /// Answered slower than `slow_threshold`, three times the p99.9 of the past (p99 if the past has fewer than 10,000
    /// requests). A timeout that was answered 504 counts in `failed` and here.
    std::uint64_t slow = 0;
    Duration slow_threshold{};
    double expected_failed = 0;  ///< what the past's error rate would have failed of `requests`
    double hottest = 0;          ///< highest observed utilisation of an endpoint since T0
    /// Requests harmed, at most: failed + slow, not more than `requests`.
    [[nodiscard]] std::uint64_t harmed() const;
};

// ---- observations --------------------------------------------------------------------------------------------------

/// All findings about the change. `unservable`: it leaves no listener, no route, or a routed pool without an endpoint
/// that may take traffic; this alone cannot be forced.
struct Checked {
    Findings findings;
    bool unservable = false;
};

/// What the simulation foretells (from check::Forecast and the replay of recordings).
struct Forecasted {
    bool refused = false;         ///< it must not take traffic
    Findings findings;            ///< why, and what else is worth reading
    std::string summary;          ///< "75 % of requests move to 2 of 8 servers; b1 at 2.25 of capacity"
    bool from_recording = false;  ///< false: nothing was recorded, the forecast is from declared values only
    double route_changed = 0;     ///< fraction of requests that match another route
    double pool_changed = 0;      ///< fraction of requests that go to another pool
    double no_route = 0;          ///< fraction that matches a route now and would match none
    double hottest = 0;           ///< utilisation at the recorded peak, full share
    std::string hottest_name;
    double open = 0;  ///< fraction that may take another way than foretold: a condition was not recorded
};

/// The journal has the revision, durably; answers Append{"revision"}.
struct Appended {
    RevisionNumber revision;
};
/// The journal refused any entry. Before traffic it ends the rollout; later it undoes it.
struct AppendFailed {
    std::string detail;
};
/// All workers have acknowledged the newest Install or Uninstall. `at` = the last acknowledgement.
struct Installed {
    Instant at;
};
/// Once a tick (100 ms as a rule).
struct Measured {
    measure::Tally window;  ///< counts since the previous Measured, gauges as of now, all workers
    std::vector<judge::EndpointFacts> endpoints;
    double rate = 0;  ///< requests/s over about the last second
};
/// What Watch says, and who did it. Cleared signals (firing = false) too.
struct Signalled {
    std::vector<judge::Signal> signals;
    std::vector<judge::Hypothesis> hypotheses;  ///< ranked; the first counts
};
/// What is wanted and has not been what serves for too long, all of it each time: discovery that is not followed, a
/// worker that has not taken its revision. While there is any the rollout stays where it is: it would be judged in a
/// world that is about to change. Except by what it may cure, the discovery of a pool that it alters or removes; and a
/// forced change is not held.
struct Diverged {
    std::vector<judge::Signal> firing;
};
enum class Verb : std::uint8_t {
    abort,    ///< undo now
    promote,  ///< take the next step without waiting for evidence; never past a fail, never out of the soak
    pause,    ///< stay at this share; evidence of harm still undoes. At most an hour
    resume,
};
struct Command {
    Verb verb = Verb::abort;
    std::string who, reason;
};
struct Tick {};
/// The server is told to stop.
struct ShuttingDown {};

using Observation = std::variant<Checked, Forecasted, Appended, AppendFailed, Installed, Measured, Signalled, Diverged,
                                 Command, Tick, ShuttingDown>;

// ---- effects: performed in the order given
// ---------------------------------------------------------------------------

struct RunChecks {};      ///< answer: Checked
struct RunSimulation {};  ///< answer: Forecasted
/// Durable before the effects after it are performed. kind "revision": control gives it the next number and answers
/// Appended; kind "rollout": answered only when it fails.
struct Append {
    std::string kind;
    std::string subject;  ///< "r42"; empty for kind "revision"
    std::string body;     ///< JSON object, docs/formats/journal.md
};
/// Every worker serves the candidate with this share (shadow: decides only). Valid for `lease`, then the worker returns
/// to the active revision by itself. Answer: Installed.
struct Install {
    RevisionNumber revision;
    Share share;
    bool shadow = false;
    Duration lease{};
};
/// Extends the lease of what is installed.
struct Renew {
    Duration lease{};
};
/// All traffic to `to` (the active revision) now; the candidate leaves. Answer: Installed.
struct Uninstall {
    RevisionNumber to;
    std::string reason;
};
/// Harm by the candidate is shown; Uninstall follows. For the incident room (incident::TrialFailed). Family and numbers
/// are the trial's; when a signal of the watch decided, `text` names it.
struct Failed {
    judge::Verdict verdict;
};
/// The measured answer to "is it as before again", once, after the last Uninstall of a change that took traffic.
struct RecoveryMeasured {
    bool proven = false;
    std::string text;
};
/// The revision becomes active, alone, and last known good.
struct Adopt {
    RevisionNumber revision;
};
enum class Level : std::uint8_t { detail, key, warning, page };  ///< page: a human is needed now
/// A line for the terminal, the timeline and the log.
struct Report {
    Level level = Level::detail;
    Stage stage = Stage::checking;
    Share share;
    std::string text;
};
/// The last effect of every rollout.
struct Finish {
    Ending ending = Ending::rejected;
    int exit_code = 1;          ///< 0 completed, 3 rejected, 4 undone and recovered, 5 undone and unverified, 1 else
    std::string frozen_digest;  ///< not to be applied again unless thawed; empty = none
    std::string text;           ///< one sentence
    Account account;
};
using Effect = std::variant<RunChecks, RunSimulation, Append, Install, Renew, Uninstall, Failed, RecoveryMeasured,
                            Adopt, Report, Finish>;

// ---- the machine ---------------------------------------------------------------------------------------------------

struct Checking {};
struct Simulating {};
struct Durable {};
struct Shadow {
    Instant installed_at = never;  ///< `never` until all workers have acknowledged; so in the stages below
    measure::ShadowTally seen;
    judge::UtilisationProcess decisions;
    std::vector<judge::EndpointFacts> judged;  ///< what `decisions` was made for; empty = not yet
    double rate = 0;                           ///< at which
};
struct Canary {
    std::size_t step = 0;   ///< index into steps(state)
    Instant since = never;  ///< first time at this step; the share may have been lowered meanwhile
    Instant installed_at = never;
};
struct Soak {
    Instant installed_at = never;
    std::uint64_t candidate_requests = 0;
};
/// On the way back.
struct Undoing {
    Ending ending = Ending::rolled_back;
    bool for_harm = false;  ///< freezes the digest
    bool waiting = false;   ///< the old revision could not carry the load now; only a part of it went back
    std::string reason;
};
struct Verifying {
    Undoing undone;
    Instant good_since = never;
    measure::Tally recent;  ///< since good_since
    std::string text;       ///< what the newest look said
};
struct Ended {
    Finish finish;
};
using StageState = std::variant<Checking, Simulating, Durable, Shadow, Canary, Soak, Undoing, Verifying, Ended>;

struct State {
    Proposal proposal;
    RevisionNumber revision;  ///< 0 until durable
    StageState stage;
    Instant entered;  ///< this stage, or this step of it
    Instant lease_renewed{INT64_MIN};
    Share share;  ///< installed or being installed
    bool took_traffic = false;
    bool paused = false;
    Instant paused_at = never;
    Duration pauses{};             ///< of this stage or step; deadlines wait for them
    Instant last_line{INT64_MIN};  ///< when the newest line about progress was said
    Forecasted forecast;
    judge::Baseline baseline;
    double baseline_seconds = 0;
    judge::Trial trial;
    std::vector<judge::EndpointFacts> endpoints;  ///< as of the last Measured
    double rate = 0;
    std::vector<judge::Signal> signals;         ///< firing
    std::vector<judge::Hypothesis> hypotheses;  ///< newest diagnosis of them
    std::vector<judge::Signal> diverging;       ///< as of the last Diverged
    Account account;
};

struct Step {
    State state;
    std::vector<Effect> effects;
};

/// A rollout at its beginning. `past` = the active revision's recent past (Watch::usual()), may be empty.
[[nodiscard]] Step start(Proposal proposal, judge::Baseline past, Instant now);
/// Never fails, never blocks. An observation that does not belong to the stage changes nothing. After Finish, nothing
/// changes any more.
[[nodiscard]] Step next(State state, const Observation& observation, Instant now);

[[nodiscard]] Stage stage_of(const State& state);
[[nodiscard]] bool ended(const State& state);
/// Shares of the canary steps of this rollout: the guard's below 1 - hold_back, or one of 1 - hold_back when at_once.
[[nodiscard]] std::vector<Share> steps(const State& state);
/// Share of the soak: 1 - hold_back.
[[nodiscard]] Share soak_share(const State& state);

/// Longest waits for answers of control, and other fixed limits with their reasons in rollout.cpp.
inline constexpr Duration check_limit = std::chrono::seconds(60);
inline constexpr Duration simulation_limit = std::chrono::minutes(5);
inline constexpr Duration append_limit = std::chrono::seconds(10);
inline constexpr Duration install_limit = std::chrono::seconds(5);
inline constexpr Duration lease = std::chrono::seconds(3);
inline constexpr Duration pause_limit = std::chrono::hours(1);
/// Recovery that is not proven within recovery_window + this is unverified: a human is needed.
inline constexpr Duration recovery_limit = std::chrono::seconds(30);

}  // namespace plimsoll::rollout
