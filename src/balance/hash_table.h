// The tables by which Maglev and RingHash map keys to endpoints: made once per snapshot, never changed. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "balance/balance.h"

namespace plimsoll::balance {

/// Places in Maglev's table: prime, and at least 65 for each of 1,000 endpoints (NSDI'16, 5.3: the small table).
inline constexpr std::uint32_t maglev_places = 65'537;
/// Points on a ring at most; what operators ask for beyond is scaled down.
inline constexpr std::size_t max_ring_points = 1u << 20;

class HashTable {
public:
    /// Members with weight 0 have no place. At most 65,535 members.
    [[nodiscard]] static HashTable maglev(std::span<const Member> members);
    /// An endpoint of mean weight has `points`; each at least one. At most 65,535 members.
    [[nodiscard]] static HashTable ring(std::span<const Member> members, std::uint32_t points);

    /// The endpoint at home here, as an index into the members that the table was made of. Not for an empty table.
    [[nodiscard]] std::uint32_t at(std::uint64_t hash) const;
    [[nodiscard]] bool empty() const { return owner_.empty(); }
    /// For evenness and disruption: Maglev's places, or a ring's owners in order of their points.
    [[nodiscard]] std::span<const std::uint16_t> owners() const { return owner_; }

private:
    std::vector<std::uint64_t> points_;  ///< of a ring, ascending; empty for Maglev
    std::vector<std::uint16_t> owner_;
};

}  // namespace plimsoll::balance
