// Control: keeps the loop. Starts from the journal, collects what workers counted ten times a second, lets judges and
// watch look at it, carries changes and incidents on, probes, records, notifies. What it decides comes from the pure
// rooms; what it does is posted to workers or appended to the journal.
// Thread rule: everything on the thread that runs `network`.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "control/background.h"
#include "control/care.h"
#include "control/changes.h"
#include "control/ejection_watch.h"
#include "control/fleet.h"
#include "control/ledger.h"
#include "control/members.h"
#include "control/memory_watch.h"
#include "control/notifier.h"
#include "control/prober.h"
#include "control/recorder.h"
#include "control/site.h"
#include "control/spans_exporter.h"
#include "net/network.h"

namespace plimsoll::control {

struct ControlSettings {
    std::string state;          ///< directory: journal, recording, incidents
    std::uint32_t workers = 0;  ///< 0 = as the config says, or one per core
    std::uint64_t seed = 0;     ///< of all dice; from the system's entropy in production
    std::string version;
    std::shared_ptr<net::ListeningSockets> listening{};  ///< inherited and open ones of all workers; may be null
    /// After a restart serve what can be served, if a listener or a file is not there any more, as long as one listener
    /// is. Not for who replaces a server that can serve all of it.
    bool serve_what_can = false;
};

class Control {
public:
    /// Opens the state directory's journal and serves: the revision it calls active, or `first` when it has none.
    /// Errors: conflict (another server holds the state), io, invalid (nothing to serve).
    [[nodiscard]] static Result<std::unique_ptr<Control>> start(net::Network& network,
                                                                std::unique_ptr<store::Journal> journal,
                                                                std::optional<config::Document> first,
                                                                const ControlSettings& settings);
    ~Control();

    /// `done` is called when all workers listen, with the listeners that could not be opened.
    void when_serving(std::function<void(const std::vector<std::string>& failures)> done);
    /// Nothing came of this start. If it was the first, so is the next one: what never served need not be served.
    void does_not_serve();
    /// Stops accepting, lets requests in flight end until the deadline; then `done`.
    /// `idle_grace`: see proxy::Worker::drain.
    void shut_down(Duration grace, std::function<void()> done, Duration idle_grace = {});
    /// Another process takes over: from now on nothing is judged, recorded or written; workers and probes go on.
    void stand_down() { stood_down_ = true; }
    /// It has failed to: as before.
    void resume() { stood_down_ = false; }
    void reopen_logs() { fleet_->reopen_logs(); }

    [[nodiscard]] Changes& changes() { return *changes_; }
    [[nodiscard]] const Changes& changes() const { return *changes_; }
    [[nodiscard]] Care& care() { return *care_; }
    [[nodiscard]] const Care& care() const { return *care_; }
    [[nodiscard]] const Site& site() const { return site_; }
    [[nodiscard]] const History& history() const { return ledger_->history(); }
    [[nodiscard]] const Prober& prober() const { return *prober_; }
    [[nodiscard]] const Members& members() const { return *members_; }
    [[nodiscard]] balance::Standing standing(EndpointId id) const { return fleet_->ejections().standing(id); }
    [[nodiscard]] const SpansExporter& spans() const { return *spans_; }
    [[nodiscard]] const ControlSettings& settings() const { return settings_; }
    [[nodiscard]] net::Network& network() const { return network_; }

    /// Lets a rolled-back configuration in again. `prefix` of its digest. Errors: not_found, invalid (ambiguous).
    Result<std::string> thaw(const std::string& prefix, const std::string& who, const std::string& why);
    Result<void> acknowledge(const std::string& incident, const std::string& who, const std::string& note);

    /// Figures for metrics and status that are nobody else's.
    struct Gauges {
        std::size_t connections = 0, idle_upstream = 0, workers = 0, replays_waiting = 0, deliveries_pending = 0;
        std::uint64_t accept_pauses = 0, journal_failures = 0, recorder_failures = 0, recording_bytes = 0, ticks = 0;
        std::string journal_failure, recorder_failure;
        Duration slowest_tick{};  ///< between asking the workers and the last answer
        Instant started;
        ProbeFigures probes;
        std::vector<SourceFigures> sources;  ///< one for each source of endpoints
        MemoryWatch::Figures memory;
        std::uint64_t memberships = 0;  ///< snapshots installed because endpoints were found or lost
    };
    [[nodiscard]] Gauges gauges() const;

private:
    Control(net::Network& network, const ControlSettings& settings);
    Result<void> choose_revision(std::optional<config::Document> first);
    void end_interrupted();
    void remember_peak();
    async::Task<void> keep_time();
    void renew_certificates();
    void tick(Collected collected);
    void collect_signals(const measure::Tally& window);
    void earn_known_good();
    [[nodiscard]] std::vector<std::string> what_stops(const Fleet::Installed& installed);
    void look_at_members();
    void look_at_ejections();
    [[nodiscard]] judge::Scene scene() const;

    net::Network& network_;
    ControlSettings settings_;
    bool first_start_ = false;  ///< the journal had no active revision
    Site site_;
    std::unique_ptr<Ledger> ledger_;
    std::unique_ptr<Fleet> fleet_;
    std::unique_ptr<MemoryWatch> memory_;
    std::unique_ptr<Members> members_;
    std::unique_ptr<Recorder> recorder_;
    std::unique_ptr<Prober> prober_;
    std::unique_ptr<Notifier> notifier_;
    std::unique_ptr<SpansExporter> spans_;
    std::unique_ptr<Care> care_;
    std::unique_ptr<Background> background_;
    std::unique_ptr<Changes> changes_;

    std::vector<measure::Tally> recent_;  ///< one a second, the last thirty: what a diagnosis looks at
    measure::Tally second_;               ///< being filled
    EjectionWatch ejections_;
    std::deque<std::pair<Duration, std::uint64_t>> windows_;  ///< length and requests of the last ticks
    Collected last_;  ///< gauges of the last round; tally and records are moved out
    std::uint64_t ticks_ = 0;
    bool collecting_ = false;
    bool serving_ = false;  ///< the first install has been posted
    bool stood_down_ = false;
    Instant asked_;
    Duration slowest_tick_{};
    Instant started_;
    Instant quiet_since_;        ///< no signal, no change: what earns a revision its good name
    RevisionNumber quiet_of_{};  ///< the revision that served since then
    Share recent_share_;
    async::Scope scope_;  ///< last: its tasks use all of the above
};

}  // namespace plimsoll::control
