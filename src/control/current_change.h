// The change in progress, as Changes keeps it. Private to changes.cpp, change_effects.cpp and manual_rollback.cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/changes.h"

namespace plimsoll::control {

struct Changes::Current {
    std::uint64_t submission = 0;  ///< unlike record.id never used twice: an id that was not journaled is given again
    ChangeRecord record;
    std::string text;  ///< as submitted
    std::shared_ptr<Feed> feed;
    bool announced = false;          ///< the journal has its "change" entry
    std::optional<Planned> planned;  ///< set once the rollout has begun
    rollout::State state;
    std::vector<incident::Altered> altered;
    std::shared_ptr<const snapshot::Snapshot> candidate;  ///< compiled when it became durable
    bool failed_append = false;                           ///< in this round of effects
    std::optional<judge::Verdict> failed;                 ///< to be told to care when this round of effects is done
    Instant decided_to_undo = never;
    std::vector<rollout::Observation> answers;  ///< of effects that are answered at once
    bool performing = false;
    bool adopting = false;  ///< workers are on their way to the adopted revision
    Instant adopting_since;
    std::optional<rollout::Finish> finish_later;  ///< said when they have arrived
};

/// A manual rollback on its way back to normal.
struct Changes::Verification {
    ChangeRecord record;
    std::shared_ptr<Feed> feed;
    Instant since;  ///< since when all is well; `never` until all workers have swapped
    Instant limit;
    std::uint64_t requests = 0, failed = 0;  ///< since then
};

}  // namespace plimsoll::control
