// Care: from signals to incidents, on this process's clock. Feeds the pure machine of room `incident`, performs what it
// asks for (journal, notification, diagnosis, impact), proves recovery, and writes postmortems to disk.
// Thread rule: control's thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/ledger.h"
#include "control/site.h"
#include "incident/incident.h"
#include "incident/postmortem.h"
#include "judge/diagnose.h"
#include "net/network.h"

namespace plimsoll::control {

class Care {
public:
    struct Parts {
        net::Network& network;
        Site& site;
        Ledger& ledger;
        /// What the diagnosis is told; made by Control.
        std::function<judge::Scene()> scene;
        /// Hands a notification to whoever sends it.
        std::function<void(const incident::Notify&, const incident::Incident*)> notify;
        std::string directory;  ///< postmortems go to DIRECTORY/INC-n/
        std::string version;
    };
    explicit Care(Parts parts);

    /// Incidents of the journal, after a restart.
    void restore();
    void observe(const incident::Observation& seen);
    /// Once a second or so: time passes, and open incidents are measured for recovery.
    void tick();

    /// Remembers the two configs of a change, for the scenario of its postmortem.
    void remember_change(RevisionNumber revision, std::string before, std::string after);

    [[nodiscard]] const incident::State& state() const { return state_; }
    /// The newest incident that blames this revision, or empty.
    [[nodiscard]] std::string incident_of(RevisionNumber revision) const;
    /// File name -> content. Errors: not_found.
    [[nodiscard]] Result<std::map<std::string, std::string>> postmortem(const std::string& id) const;

private:
    struct Configs {
        std::string before, after;
    };
    [[nodiscard]] incident::Now now() const;
    void perform(const incident::Effect& effect, std::vector<incident::Observation>& next);
    [[nodiscard]] incident::Impact impact(Instant t0) const;
    /// How the last guard.recovery_window was; the text has the numbers either way.
    struct Recovery {
        bool served = false;  ///< clients get answers as usual
        bool proven = false;  ///< and no signal of the incident stands any more
        std::string text;
    };
    [[nodiscard]] Recovery recovery(const incident::Incident& incident) const;
    void write_postmortem(const std::string& id);
    [[nodiscard]] incident::Curves curves_around(const incident::Incident& incident) const;

    Parts parts_;
    incident::State state_;
    std::map<std::uint64_t, Configs> configs_;  ///< by revision; the last few
};

}  // namespace plimsoll::control
