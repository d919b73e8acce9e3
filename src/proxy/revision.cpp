#include "proxy/revision.h"

#include <algorithm>

namespace plimsoll::proxy {
namespace {

balance::Cursor cursor_for(const snapshot::Pool& pool, const RevisionSlot* from, Random& random) {
    if (from != nullptr) {
        const auto& pools = from->snapshot->pools;
        for (std::size_t i = 0; i < pools.size(); ++i) {
            if (pools[i].id == pool.id) {
                return balance::carry_over(from->cursors[i], pools[i].facts.members, pool.facts.members);
            }
        }
    }
    return balance::fresh_cursor(pool.facts, random);
}

}  // namespace

RevisionSlot& Revisions::hold(std::shared_ptr<const Prepared> prepared, const RevisionSlot* from, Random& random) {
    for (const auto& slot : slots_) {
        if (slot->snapshot != prepared->snapshot) continue;
        slot->prepared = std::move(prepared);  // its certificates may be newer
        return *slot;
    }
    auto slot = std::make_unique<RevisionSlot>();
    for (const snapshot::Pool& pool : prepared->snapshot->pools) {
        slot->cursors.push_back(cursor_for(pool, from, random));
    }
    slot->snapshot = prepared->snapshot;
    slot->prepared = std::move(prepared);
    return *slots_.emplace_back(std::move(slot));
}

void Revisions::set_resident(const RevisionSlot* active, const RevisionSlot* candidate) {
    for (const auto& slot : slots_) slot->resident = slot.get() == active || slot.get() == candidate;
    std::erase_if(slots_, [](const auto& slot) { return !slot->resident && slot->in_flight == 0; });
}

void Revisions::unpin(RevisionSlot& slot) {
    if (--slot.in_flight > 0 || slot.resident) return;
    std::erase_if(slots_, [&slot](const auto& each) { return each.get() == &slot; });
}

void Revisions::started(RevisionNumber revision, Instant now) {
    for (Started& each : started_) {
        if (each.revision == revision) {
            each.at = now;
            return;
        }
    }
    if (started_.size() == remembered) {
        started_.erase(std::ranges::min_element(started_, {}, &Started::at));
    }
    started_.push_back({revision, now});
}

Instant Revisions::last_started(RevisionNumber revision) const {
    const auto found = std::ranges::find(started_, revision, &Started::revision);
    return found == started_.end() ? Instant{INT64_MIN} : found->at;
}

std::size_t Revisions::pinned(RevisionNumber revision) const {
    std::size_t sum = 0;
    for (const auto& slot : slots_) {
        if (slot->snapshot->revision == revision) sum += slot->in_flight;
    }
    return sum;
}

}  // namespace plimsoll::proxy
