// A worker's hold on revisions: what a resident snapshot needs besides itself, and the pin by which a request keeps it.
// Thread rule: one worker, so the count needs no atomics.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "balance/balance.h"
#include "base/random.h"
#include "proxy/prepared.h"
#include "snapshot/snapshot.h"

namespace plimsoll::proxy {

/// One snapshot on one worker.
struct RevisionSlot {
    std::shared_ptr<const snapshot::Snapshot> snapshot;
    std::shared_ptr<const Prepared> prepared;
    std::vector<balance::Cursor> cursors;  ///< by PoolIndex; empty where there is nothing to remember
    std::size_t in_flight = 0;
    bool resident = false;
};

/// The slots of all revisions that are resident or still pinned.
class Revisions {
public:
    /// The slot of this snapshot; made if need be, its cursors carried over from `from` by pool identity.
    RevisionSlot& hold(std::shared_ptr<const Prepared> prepared, const RevisionSlot* from, Random& random);
    /// Only these are resident from now on (null = none); others retire when nobody pins them.
    void set_resident(const RevisionSlot* active, const RevisionSlot* candidate);
    void unpin(RevisionSlot& slot);
    /// The slots that retired since the last call. Freeing a large one takes a millisecond or more, so that is left to
    /// somebody who is not serving.
    [[nodiscard]] std::vector<std::unique_ptr<RevisionSlot>> take_retired() { return std::exchange(retired_, {}); }

    void started(RevisionNumber revision, Instant now);
    [[nodiscard]] Instant last_started(RevisionNumber revision) const;
    [[nodiscard]] std::size_t pinned(RevisionNumber revision) const;
    [[nodiscard]] std::size_t size() const { return slots_.size(); }

private:
    struct Started {
        RevisionNumber revision;
        Instant at;
    };
    /// Revisions whose last start is remembered; far more than are ever resident at once.
    static constexpr std::size_t remembered = 16;
    template <class Leaves>
    void retire(Leaves leaves);
    std::vector<std::unique_ptr<RevisionSlot>> slots_, retired_;
    std::vector<Started> started_;
};

/// One request's hold on a revision.
class Pinned {
public:
    Pinned(Revisions& revisions, RevisionSlot& slot) : revisions_(revisions), slot_(slot) { ++slot_.in_flight; }
    ~Pinned() { revisions_.unpin(slot_); }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    const snapshot::Snapshot* operator->() const { return slot_.snapshot.get(); }
    [[nodiscard]] RevisionSlot& slot() const { return slot_; }

private:
    Revisions& revisions_;
    RevisionSlot& slot_;
};

}  // namespace plimsoll::proxy
