// By lot, and by fewest requests in flight. Pure; see policy.h.
// Source: Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing".
#include "balance/view.h"

namespace plimsoll::balance {
namespace {

/// Draws by rejection before the members are walked through; with half of the pool eligible one walk in 65,000 picks.
constexpr int throws = 16;

/// In-flight requests per weight if `extra` more were there.
double load(const View& view, std::uint32_t i, double extra) { return (view.in_flight(i) + extra) / view.weight(i); }

}  // namespace

std::uint32_t draw(const Eligible& eligible, const Candidates& all, std::optional<std::uint32_t> without,
                   Random& random) {
    const View& view = eligible.view;
    const bool even = all.even();
    if (even && all.count == view.size()) {  // the common case: everybody is a candidate
        if (!without) return static_cast<std::uint32_t>(random.below(all.count));
        const auto k = static_cast<std::uint32_t>(random.below(all.count - 1));
        return k < *without ? k : k + 1;
    }
    for (int i = 0; i < throws; ++i) {
        const auto at = static_cast<std::uint32_t>(random.below(view.size()));
        if (at == without || !eligible(at)) continue;
        if (even || random.uniform() * all.heaviest < view.weight(at)) return at;
    }
    double left = random.uniform() * (all.total - (without ? view.weight(*without) : 0.0));
    std::uint32_t last = without.value_or(0);
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (i == without || !eligible(i)) continue;
        last = i;
        left -= view.weight(i);
        if (left < 0) return i;
    }
    return last;  // rounding left a crumb: the last candidate has it
}

std::optional<std::uint32_t> choose(const WeightedRandom&, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    if (all.count == 0) return std::nullopt;
    return draw(eligible, all, std::nullopt, random);
}

std::optional<std::uint32_t> choose(const LeastRequest&, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    if (all.count == 0) return std::nullopt;
    const View& view = eligible.view;
    const std::uint32_t first = draw(eligible, all, std::nullopt, random);
    if (all.count == 1) return first;
    const double bar = load(view, first, 0);
    if (all.count > full_scan_up_to) {
        const std::uint32_t second = draw(eligible, all, first, random);
        return load(view, second, 1) <= bar ? second : first;
    }
    std::uint32_t best = first;
    double best_load = bar;
    std::uint64_t equals = 0;  // how many share best_load, so that ties fall by lot
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (i == first || !eligible(i)) continue;
        const double its = load(view, i, 1);
        if (its > best_load) continue;
        equals = its < best_load || best == first ? 1 : equals + 1;
        if (equals == 1 || random.below(equals) == 0) best = i;
        best_load = its;
    }
    return best;
}

}  // namespace plimsoll::balance
