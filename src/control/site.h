// Site: what is true at this moment, shared by the parts of control. A plain value that Control owns; parts get it by
// reference and say which fields they write.
// Thread rule: control's thread.
#pragma once

#include <memory>
#include <set>
#include <string>

#include "base/ids.h"
#include "config/config.h"
#include "judge/watch.h"
#include "measure/series.h"
#include "rollout/traffic_facts.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

struct Site {
    snapshot::Identities identities;

    // Written by Changes.
    std::shared_ptr<const snapshot::Snapshot> active;
    config::Document active_document;
    std::shared_ptr<const snapshot::Snapshot> candidate;  ///< resident beside `active`; null = none
    Share share;                                          ///< that the candidate serves
    bool shadow = false;
    rollout::PoolMix candidate_mix;
    bool mix_guessed = false;  ///< the candidate's: neither a recording nor the routes' names say anything

    // Written by Prober.
    std::set<EndpointId> down;  ///< held down by active checks

    // Written by Control, each tick.
    std::set<EndpointId> out;  ///< out of rotation for a time: ejected, or at their own wish
    measure::Series series;
    measure::Tally totals;  ///< since the start
    double rate = 0;        ///< requests/s over the last second or so
    double peak_rate = 0;   ///< highest mean over ten seconds, of the recording and of what was seen since
    rollout::PoolMix active_mix;
    judge::Watch watch;

    [[nodiscard]] bool is_down(EndpointId id) const { return down.contains(id); }
    [[nodiscard]] std::vector<judge::EndpointFacts> facts() const {
        return rollout::endpoint_facts(
            {active.get(), active_mix}, {candidate.get(), candidate_mix, mix_guessed},
            [this](EndpointId id) { return is_down(id); }, [this](EndpointId id) { return out.contains(id); });
    }
};

}  // namespace plimsoll::control
