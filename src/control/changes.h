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
        std::uint64_t seed;
        std::uint32_t workers;
    };
    explicit Changes(Parts parts);
    ~Changes();

    /// Plans, without any effect. `done` runs later.
    void plan(std::string text, std::string file, std::function<void(PlanAnswer)> done);

    /// Starts a change. The feed carries a JSON line for each report and closes after the result.
    /// Errors: conflict (stale base, frozen, another change in progress), invalid.
    Result<std::shared_ptr<Feed>> submit(Submission submission);
    /// To an older revision now, without a ramp, then verified. None named = the last known good before the active one.
    /// Aborts a change in progress first. Errors: not_found, conflict.
    Result<std::shared_ptr<Feed>> rollback(RevisionNumber to, const std::string& who, const std::string& reason);
    /// Undoes the change in progress. Errors: not_found.
    Result<void> abort(const std::string& who, const std::string& reason);

    /// Each tick, after `site` has been brought up to date.
    void measured(const measure::Tally& window, const std::vector<judge::EndpointFacts>& facts,
                  const std::vector<judge::Signal>& signals, const std::vector<judge::Hypothesis>& hypotheses);
    /// The server stops: what is in progress ends as interrupted.
    void shut_down();

    [[nodiscard]] bool in_progress() const { return current_ != nullptr; }
    /// For diagnosis: the change that has live traffic, or had within the hour.
    [[nodiscard]] std::optional<judge::ChangeFacts> newest_live() const;
    /// "canary 5.0 %" or empty.
    [[nodiscard]] std::string stage_text() const;
    [[nodiscard]] const std::string& current_id() const;

    /// Milliseconds from the decision to undo until the last request was started on the undone revision, and until all
    /// workers had swapped; of the newest rollback.
    struct RollbackTiming {
        Duration last_started{};
        Duration swapped{};
    };
    [[nodiscard]] const std::optional<RollbackTiming>& last_rollback() const { return last_rollback_; }

private:
    struct Current;
    struct Verification;

    [[nodiscard]] PlanRequest plan_request(std::string text, std::string file) const;
    void planned(Planned planned);
    void begin(Planned planned);
    void advance(const rollout::Observation& observation);
    void perform(std::vector<rollout::Effect> effects);
    void append(const rollout::Append& append);
    void install(const rollout::Install& install);
    void renew(const rollout::Renew& renew);
    void uninstall(const rollout::Uninstall& uninstall);
    void adopt(const rollout::Adopt& adopt);
    void report(const rollout::Report& report);
    void finish(const rollout::Finish& finish);
    void installed(Fleet::Installed installed, std::uint64_t round);
    void tell_care_live(Share share);
    void tell_care_failed(const judge::Verdict& verdict);
    void tell_care_undone(Duration took, Instant swapped);
    void tell_care_recovered(const rollout::RecoveryMeasured& measured);
    void line(const std::string& stage, const std::string& text, bool durable);
    void close(const std::string& ending, int exit_code, const std::string& summary, std::string detail);
    [[nodiscard]] snapshot::Resident resident(Instant lease) const;
    void verify_rollback();

    Parts parts_;
    std::unique_ptr<Current> current_;
    std::unique_ptr<Verification> verification_;
    std::optional<judge::ChangeFacts> newest_live_;
    std::optional<RollbackTiming> last_rollback_;
    std::uint64_t rounds_ = 0;  ///< of installs; an acknowledgement of an older one is not taken for a newer
    std::uint64_t arm_key_ = 0;
};

}  // namespace plimsoll::control
