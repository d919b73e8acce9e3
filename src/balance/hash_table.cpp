// Filling the tables. Sources: Eisenbud et al., "Maglev", NSDI'16, section 3.4; Karger et al. 1997 and ketama (Last.fm
// 2007) for the ring. The order of members in the file plays no part: tables go by identity.
#include "balance/hash_table.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "balance/view.h"
#include "base/hash.h"

namespace plimsoll::balance {
namespace {

/// Indices of members with weight, by identity.
std::vector<std::uint16_t> by_identity(std::span<const Member> members) {
    std::vector<std::uint16_t> order;
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (members[i].weight > 0) order.push_back(static_cast<std::uint16_t>(i));
    }
    std::ranges::sort(order, {}, [&](std::uint16_t i) { return std::pair(identity_of(members[i]), i); });
    return order;
}

double heaviest(std::span<const Member> members) {
    double most = 0;
    for (const Member& member : members) most = std::max(most, member.weight);
    return most;
}

}  // namespace

HashTable HashTable::maglev(std::span<const Member> members) {
    struct Row {
        std::uint32_t next, skip;  ///< the permutation of this endpoint: next, next + skip, ...
        double credit = 0, gain = 0;
        std::uint16_t index = 0;
    };
    HashTable table;
    std::vector<Row> rows;
    const double most = heaviest(members);
    for (const std::uint16_t i : by_identity(members)) {
        const std::uint64_t identity = identity_of(members[i]);
        rows.push_back({static_cast<std::uint32_t>(keyed_hash(identity, 0x6f6666) % maglev_places),
                        static_cast<std::uint32_t>(keyed_hash(identity, 0x736b70) % (maglev_places - 1) + 1), 0,
                        members[i].weight / most, i});
    }
    if (rows.empty()) return table;
    constexpr std::uint16_t nobody = 0xffff;
    table.owner_.assign(maglev_places, nobody);
    for (std::uint32_t filled = 0;;) {
        for (Row& row : rows) {
            row.credit += row.gain;
            if (row.credit < 1 - 1e-9) continue;  // a lighter one takes its turn less often
            row.credit -= 1;
            while (table.owner_[row.next] != nobody) row.next = (row.next + row.skip) % maglev_places;
            table.owner_[row.next] = row.index;
            if (++filled == maglev_places) return table;
        }
    }
}

HashTable HashTable::ring(std::span<const Member> members, std::uint32_t points) {
    HashTable table;
    const std::vector<std::uint16_t> order = by_identity(members);
    double total = 0;
    for (const std::uint16_t i : order) total += members[i].weight;
    const double all = std::min(static_cast<double>(std::max(points, 1u)) * static_cast<double>(order.size()),
                                static_cast<double>(max_ring_points));
    std::vector<std::pair<std::uint64_t, std::uint16_t>> ring;  // point, place in the order: ties go by identity
    for (std::uint16_t place = 0; place < order.size(); ++place) {
        const Member& member = members[order[place]];
        const auto mine = static_cast<std::uint64_t>(std::max(1.0, std::round(all * member.weight / total)));
        const std::uint64_t identity = identity_of(member);
        for (std::uint64_t k = 0; k < mine; ++k) ring.emplace_back(keyed_hash(identity, 0x72696e67 + k), place);
    }
    std::ranges::sort(ring);
    for (const auto& [point, place] : ring) {
        table.points_.push_back(point);
        table.owner_.push_back(order[place]);
    }
    return table;
}

std::uint32_t HashTable::at(std::uint64_t hash) const {
    if (points_.empty()) return owner_[hash % maglev_places];
    const auto point = std::ranges::lower_bound(points_, hash);
    return owner_[point == points_.end() ? 0 : static_cast<std::size_t>(point - points_.begin())];
}

std::shared_ptr<const HashTable> build_table(const Policy& policy, std::span<const Member> members) {
    if (members.size() > 65'535) return nullptr;
    HashTable table;
    if (std::holds_alternative<Maglev>(policy)) table = HashTable::maglev(members);
    if (const auto* ring = std::get_if<RingHash>(&policy)) table = HashTable::ring(members, ring->points);
    if (table.empty()) return nullptr;
    return std::make_shared<const HashTable>(std::move(table));
}

}  // namespace plimsoll::balance
