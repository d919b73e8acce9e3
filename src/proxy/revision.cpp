#include "proxy/revision.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <variant>

namespace plimsoll::proxy {
namespace {

/// Where each pool stands in `of`, by PoolId.
std::vector<std::size_t> places_of(const snapshot::Snapshot& of) {
    std::vector<std::size_t> places(of.pool_ids, SIZE_MAX);
    for (std::size_t i = 0; i < of.pools.size(); ++i) places[of.pools[i].id.value] = i;
    return places;
}

std::vector<balance::Cursor> cursors_for(const snapshot::Snapshot& snapshot, const RevisionSlot* from, Random& random) {
    const std::vector<std::size_t> before = from != nullptr ? places_of(*from->snapshot) : std::vector<std::size_t>{};
    std::vector<balance::Cursor> cursors;
    cursors.reserve(snapshot.pools.size());
    for (const snapshot::Pool& pool : snapshot.pools) {
        balance::Cursor& cursor = cursors.emplace_back();
        if (!std::holds_alternative<balance::RoundRobin>(pool.facts.policy) || pool.facts.members.size() < 2) continue;
        const std::size_t at = pool.id.value < before.size() ? before[pool.id.value] : SIZE_MAX;
        if (at != SIZE_MAX && !from->cursors[at].current.empty()) {
            cursor =
                balance::carry_over(from->cursors[at], from->snapshot->pools[at].facts.members, pool.facts.members);
        } else {
            cursor = balance::fresh_cursor(pool.facts, random);
        }
    }
    return cursors;
}

}  // namespace

RevisionSlot& Revisions::hold(std::shared_ptr<const Prepared> prepared, const RevisionSlot* from, Random& random) {
    for (const auto& slot : slots_) {
        if (slot->snapshot != prepared->snapshot) continue;
        slot->prepared = std::move(prepared);  // its certificates may be newer
        return *slot;
    }
    auto slot = std::make_unique<RevisionSlot>();
    slot->cursors = cursors_for(*prepared->snapshot, from, random);
    slot->snapshot = prepared->snapshot;
    slot->prepared = std::move(prepared);
    return *slots_.emplace_back(std::move(slot));
}

void Revisions::set_resident(const RevisionSlot* active, const RevisionSlot* candidate) {
    for (const auto& slot : slots_) slot->resident = slot.get() == active || slot.get() == candidate;
    retire([](const RevisionSlot& slot) { return !slot.resident && slot.in_flight == 0; });
}

template <class Leaves>
void Revisions::retire(Leaves leaves) {
    const auto gone = std::ranges::partition(slots_, [&leaves](const auto& slot) { return !leaves(*slot); });
    std::ranges::move(gone, std::back_inserter(retired_));
    slots_.erase(gone.begin(), gone.end());
}

void Revisions::unpin(RevisionSlot& slot) {
    if (--slot.in_flight > 0 || slot.resident) return;
    retire([&slot](const RevisionSlot& each) { return &each == &slot; });
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
