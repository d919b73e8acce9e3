// Changes: carries a proposed config through its rollout. The pure machine of room `rollout` decides; this performs its
// effects (journal, workers, reports) and feeds back what happened. One change at a time: two at once could not be told
// apart.
// Thread rule: control's thread; planning runs on the background thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/background.h"
#include "control/care.h"
#include "control/feed.h"
#include "control/fleet.h"
#include "control/ledger.h"
#include "control/members.h"
#include "control/planning.h"
#include "control/prober.h"
#include "control/recorder.h"
#include "control/site.h"
#include "rollout/rollout.h"

namespace plimsoll::control {

struct Submission {
    std::string text, file, author, reason;
    std::string base_digest;  ///< empty = whatever is active
    bool force = false, at_once = false;
};

/// Plans that may wait for the background thread: each holds a config of up to 16 MiB and takes up to seconds.
inline constexpr std::size_t max_plans_waiting = 8;

/// What a plan is answered with.
struct PlanAnswer {
    Planned planned;
    std::string frozen;  ///< why this config may not be applied again; empty = it may
};

class Changes {
public:
    struct Parts {
        net::Network& network;
        Site& site;
        Ledger& ledger;
        Fleet& fleet;
        Prober& prober;
        Care& care;
        Recorder& recorder;
        Background& background;
        Members& members;
        std::uint64_t seed;
        std::uint32_t workers;
    };
    explicit Changes(Parts parts);
    ~Changes();

    /// Plans, without any effect. `done` runs later. Errors: limit (max_plans_waiting wait already).
    Result<void> plan(std::string text, std::string file, std::function<void(PlanAnswer)> done);

    /// Starts a change. The feed carries a JSON line for each report and closes after the result.
    /// Errors: conflict (stale base, another change in progress, stopping), invalid, io (the journal owes entries).
    Result<std::shared_ptr<Feed>> submit(Submission submission);
    /// To an older revision now, without a ramp, then verified. None named = the last known good before the active one.
    /// With a change in progress that has been planned: aborts it, which is the fastest way back, and gives its feed.
    /// Only to a revision that was active before; others were refused or undone and have to pass the gates again.
    /// Errors: not_found, conflict, invalid.
    Result<std::shared_ptr<Feed>> rollback(RevisionNumber to, const std::string& who, const std::string& reason);
    /// Undoes the change in progress, or gives up planning it. Errors: not_found.
    Result<void> abort(const std::string& who, const std::string& reason);

    /// Each tick, after `site` has been brought up to date.
    void measured(const measure::Tally& window, const std::vector<judge::EndpointFacts>& facts,
                  const std::vector<judge::Signal>& signals, const std::vector<judge::Hypothesis>& hypotheses);
    /// Each tick in which a worker has not answered for `silent`, which is long: nobody sees what the change does, so
    /// it goes back, and its deadlines run.
    void unmeasured(Duration silent);
    /// Endpoints were found or lost: what is resident is compiled anew, with the same revisions, and posted to the
    /// workers.
    void membership_changed();
    /// Hands the workers what is resident once more: what it was made from (certificate files) has changed, or
    /// something was lacking.
    void reinstall();
    /// What could not be opened or loaded when serving began.
    void began(std::vector<std::string> failures) { usual_failures_ = std::move(failures); }
    /// Whether something that the active revision names could not be opened or loaded at the last install.
    [[nodiscard]] bool lacks() const { return !usual_failures_.empty(); }
    /// The server stops: what is in progress ends as interrupted, and nothing new is taken.
    void shut_down();

    [[nodiscard]] bool in_progress() const { return current_ != nullptr; }
    /// For diagnosis: the change that has live traffic, or had within the hour.
    [[nodiscard]] std::optional<judge::ChangeFacts> newest_live() const;
    /// "canary 5.0 %" or empty.
    [[nodiscard]] std::string stage_text() const;
    [[nodiscard]] const std::string& current_id() const;

    /// How the newest switch between revisions went, from the verdict on: until the last request was started on the
    /// side that was left, and until all workers had swapped.
    struct SwitchTiming {
        Duration last_started{};
        Duration swapped{};
    };
    [[nodiscard]] const std::optional<SwitchTiming>& last_switch() const { return last_switch_; }

private:
    struct Current;
    struct Verification;

    [[nodiscard]] PlanRequest plan_request(std::string text, std::string file) const;
    /// Plans in the background, once the sources that the proposal names have been asked.
    void run_plan(PlanRequest request, std::function<void(Planned)> done);
    void follow_sources();
    void stop_for_checks();
    void planned(Planned planned);
    void begin(Planned planned);
    void advance(const rollout::Observation& observation);
    void perform(std::vector<rollout::Effect> effects);
    void append(const rollout::Append& append);
    void install(const rollout::Install& install);
    void renew(const rollout::Renew& renew);
    void uninstall();
    void take_back(const std::string& why);
    void refused_append(const Error& error);
    void adopt(const rollout::Adopt& adopt);
    void report(const rollout::Report& report);
    void end_adoption();
    void end_late_adoption();
    void tell_divergence();
    void finish(const rollout::Finish& finish);
    void installed(Fleet::Installed installed, std::uint64_t round);
    void tell_care_live(Share share);
    void tell_care_failed(const judge::Verdict& verdict);
    void tell_care_undone(Duration took, Instant swapped);
    void tell_care_recovered(const rollout::RecoveryMeasured& measured);
    void line(const std::string& stage, const std::string& text, bool durable);
    void close(const std::string& ending, int exit_code, const std::string& summary, std::string detail);
    [[nodiscard]] snapshot::Resident resident(Instant lease) const;
    void count_rollback(const measure::Tally& window);
    void verify_rollback();
    void end_verification(int exit_code, const std::string& summary);
    void owe(std::vector<store::Entry> entries);
    void pay();
    [[nodiscard]] std::string next_change() const;

    Parts parts_;
    std::unique_ptr<Current> current_;
    std::unique_ptr<Verification> verification_;
    std::optional<judge::ChangeFacts> newest_live_;
    std::optional<SwitchTiming> last_switch_;
    std::vector<store::Entry> owed_;           ///< true already, but the journal did not take them; tried again
    Instant paid_{INT64_MIN};                  ///< when that was tried last
    std::vector<std::string> usual_failures_;  ///< what could not be opened though no candidate serves
    bool stopping_ = false;
    std::uint64_t submissions_ = 0;
    std::uint64_t rounds_ = 0;  ///< of installs; an acknowledgement of an older one is not taken for a newer
    std::uint64_t arm_key_ = 0;
};

}  // namespace plimsoll::control
