// Smooth weighted round robin and its cursors. Pure; see balance.h.
// Source: nginx's smooth weighted round robin (2012). Cursors carried over by identity: state that starts anew with
// every change drowns whoever comes first.
#include <algorithm>

#include "balance/view.h"

namespace plimsoll::balance {
namespace {

/// nginx's rule: everybody eligible gains its weight, the richest serves and pays the total. Those not eligible neither
/// gain nor pay, so the proportions among the others stay exact.
template <class MayServe, class Weight>
std::optional<std::uint32_t> smooth(std::span<double> current, double total, const MayServe& may_serve,
                                    const Weight& weight) {
    const auto n = static_cast<std::uint32_t>(current.size());
    std::uint32_t best = n;
    double most = 0;
    for (std::uint32_t i = 0; i < n; ++i) {
        if (!may_serve(i)) continue;
        current[i] += weight(i);
        if (best == n || current[i] > most) {
            best = i;
            most = current[i];
        }
    }
    if (best == n) return std::nullopt;
    current[best] -= total;
    return best;
}

double total_weight(std::span<const Member> members) {
    double total = 0;
    for (const Member& member : members) total += member.weight;
    return total;
}

/// Steps taken at most to reach a random phase of uneven weights; bounds what installing a large pool costs a worker.
constexpr std::uint64_t phase_work = 1u << 16;

}  // namespace

std::optional<std::uint32_t> choose(const RoundRobin&, const Eligible& eligible, const Candidates& all, Cursor& cursor,
                                    Random&) {
    const View& view = eligible.view;
    if (all.count == 0) return std::nullopt;
    if (cursor.current.size() != view.size()) cursor.current.assign(view.size(), 0.0);
    const auto weight = [&](std::uint32_t i) { return view.weight(i); };
    if (all.count == view.size()) return smooth(cursor.current, all.total, [](std::uint32_t) { return true; }, weight);
    return smooth(cursor.current, all.total, eligible, weight);
}

Cursor carry_over(const Cursor& old, std::span<const Member> old_members, std::span<const Member> members) {
    Cursor cursor;
    cursor.current.assign(members.size(), 0.0);
    const double before = total_weight(old_members);
    const double after = total_weight(members);
    if (before <= 0 || after <= 0 || old.current.size() != old_members.size()) return cursor;
    const auto carried = [&](double owed) { return std::clamp(owed * (after / before), -after, after); };
    if (std::ranges::equal(old_members, members, {}, &Member::id, &Member::id)) {  // as a rule nobody came or went
        std::ranges::transform(old.current, cursor.current.begin(), carried);
        return cursor;
    }
    std::vector<std::pair<EndpointId, double>> known;  // sorted, so that 1,000 endpoints do not cost a million steps
    known.reserve(old_members.size());
    for (std::size_t i = 0; i < old_members.size(); ++i) known.emplace_back(old_members[i].id, old.current[i]);
    std::ranges::sort(known, {}, &std::pair<EndpointId, double>::first);
    for (std::size_t i = 0; i < members.size(); ++i) {
        const auto it = std::ranges::lower_bound(known, members[i].id, {}, &std::pair<EndpointId, double>::first);
        if (it == known.end() || it->first != members[i].id) continue;
        cursor.current[i] = carried(it->second);
    }
    return cursor;
}

Cursor fresh_cursor(const PoolFacts& pool, Random& random) {
    Cursor cursor;
    const std::size_t n = pool.members.size();
    cursor.current.assign(n, 0.0);
    Candidates all;
    for (const Member& member : pool.members) {
        if (member.weight > 0) all.add(member.weight);
    }
    if (all.count == 0) return cursor;
    if (all.even()) {  // k steps taken at once: everybody gained k weights, the first k paid the total
        const std::uint64_t k = random.below(all.count);
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const double weight = pool.members[i].weight;
            if (!(weight > 0)) continue;
            cursor.current[i] = static_cast<double>(k) * weight - (seen++ < k ? all.total : 0.0);
        }
        return cursor;
    }
    const std::uint64_t steps = random.below(std::max<std::uint64_t>(phase_work / n, 16));
    for (std::uint64_t step = 0; step < steps; ++step) {
        (void)smooth(
            cursor.current, all.total, [&](std::uint32_t i) { return pool.members[i].weight > 0; },
            [&](std::uint32_t i) { return pool.members[i].weight; });
    }
    return cursor;
}

}  // namespace plimsoll::balance
