// Policies that go by latency, peak EWMA and Prequal, and what they learn from attempts. Pure; see policy.h.
// Sources: Finagle's and Linkerd's peak EWMA; Wydrowski et al., NSDI'24, arXiv 2312.10172.
#include <algorithm>
#include <array>
#include <cmath>

#include "balance/view.h"

namespace plimsoll::balance {
namespace {

/// The newest attempt's least part of the failure rate: so one failure does not condemn, and a dozen do.
constexpr double newest_counts = 1.0 / 16;
/// Decay of what is remembered while the pool's policy is another one.
constexpr Duration usual_decay = std::chrono::seconds(10);

double decay_of(const Policy& policy) {
    const auto* ewma = std::get_if<PeakEwma>(&policy);
    return std::max(seconds(ewma != nullptr ? ewma->decay : usual_decay), 1e-3);
}

/// What is left after `now - at` of something that decays: 1 now, 1/e after `decay` seconds.
double left_over(Instant at, Instant now, double decay) {
    if (at.ns == INT64_MIN) return 0;
    return now <= at ? 1 : std::exp(-seconds(now - at) / decay);
}

/// What a request is expected to cost when an answer takes `latency` and some fail.
double with_failures(double latency, double failure_rate, Duration penalty) {
    return latency + failure_rate * std::max(0.0, seconds(penalty) - latency);
}

/// 429 says "not you, not now": no fault of the endpoint, but no reason either to send it more because it was quick.
bool counts_as_failure(const Attempt& attempt) {
    return is_upstream(attempt.cause) || attempt.status >= 500 || attempt.status == 429;
}

/// Seconds that a request is expected to cost at this endpoint if nobody else were there.
double expected_cost(const PeakEwma& policy, const Latency& latency, double decay, Instant now) {
    if (latency.at.ns == INT64_MIN) return seconds(policy.unknown);
    const double left = left_over(latency.at, now, decay);
    const double took = latency.ewma > 0 ? latency.ewma * left : seconds(policy.unknown);
    return with_failures(std::max(took, 1e-6), latency.failure_rate * left, policy.failure_penalty);
}

/// What a request is expected to take with `others` in flight besides: the median of what the fresh samples took per
/// request that was in flight with them, times those in flight now. 0 = not known. Latency that is not conditioned on
/// load sends everybody to whoever was idle a moment ago.
double latency_at(const Samples& samples, double others, Duration fresh, Instant now) {
    std::array<double, Samples::kept> each{};
    std::size_t found = 0;
    for (const Samples::One& one : samples.ring) {
        if (one.at.ns == INT64_MIN || now - one.at > fresh) continue;
        each[found++] = one.seconds / (one.others + 1.0);
    }
    if (found == 0) return 0;
    const auto middle = each.begin() + static_cast<std::ptrdiff_t>(found / 2);
    std::nth_element(each.begin(), middle, each.begin() + static_cast<std::ptrdiff_t>(found));
    return *middle * (others + 1);
}

void remember(Samples& samples, Samples::One one) {
    samples.ring[samples.next] = one;
    samples.next = static_cast<std::uint8_t>((samples.next + 1) % Samples::kept);
}

/// An endpoint looked at for Prequal.
struct Probe {
    std::uint32_t index = 0;
    double in_flight = 0;
    double load = 0;  ///< in flight per weight, mean weight = 1
};

/// Draws up to `wanted` different candidates; all of them when there are no more.
std::size_t look_at(const Eligible& eligible, const Candidates& all, std::span<Probe> probes, Random& random) {
    const View& view = eligible.view;
    const double mean = all.total / all.count;
    std::size_t found = 0;
    const auto add = [&](std::uint32_t i) {
        const double n = view.in_flight(i);
        probes[found++] = {i, n, n * mean / view.weight(i)};
    };
    if (all.count <= probes.size()) {
        for (std::uint32_t i = 0; i < view.size() && found < probes.size(); ++i) {
            if (eligible(i)) add(i);
        }
        return found;
    }
    for (std::size_t tries = 0; tries < 2 * probes.size() && found < probes.size(); ++tries) {
        const std::uint32_t i = draw(eligible, all, std::nullopt, random);
        const auto known = probes.first(found);
        if (std::ranges::find(known, i, &Probe::index) == known.end()) add(i);
    }
    return found;
}

/// The load above which an endpoint is hot.
double hot_above(std::span<const Probe> probes, double quantile) {
    std::array<double, max_probes> loads{};
    std::ranges::transform(probes, loads.begin(), &Probe::load);
    const auto end = loads.begin() + static_cast<std::ptrdiff_t>(probes.size());
    const double place = std::clamp(quantile, 0.0, 1.0) * static_cast<double>(probes.size() - 1);
    const auto at = loads.begin() + static_cast<std::ptrdiff_t>(place);
    std::nth_element(loads.begin(), at, end);
    return *at;
}

}  // namespace

std::optional<std::uint32_t> choose(const PeakEwma& policy, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    if (all.count == 0) return std::nullopt;
    const View& view = eligible.view;
    const double decay = decay_of(view.pool.policy);
    const double mean = all.total / all.count;
    const auto cost = [&](std::uint32_t i) {  // the draw is by weight; what is in flight there counts per weight
        return expected_cost(policy, view.state(i).latency, decay, view.now) *
               (1 + view.in_flight(i) * mean / view.weight(i));
    };
    const std::uint32_t first = draw(eligible, all, std::nullopt, random);
    if (all.count == 1) return first;
    if (all.count > full_scan_up_to) {
        const std::uint32_t second = draw(eligible, all, first, random);
        return cost(second) < cost(first) ? second : first;
    }
    std::uint32_t best = first;
    double least = cost(first);
    for (std::uint32_t i = 0; i < view.size(); ++i) {
        if (i == first || !eligible(i)) continue;
        const double its = cost(i);
        if (its >= least) continue;
        best = i;
        least = its;
    }
    return best;
}

std::optional<std::uint32_t> choose(const Prequal& policy, const Eligible& eligible, const Candidates& all, Cursor&,
                                    Random& random) {
    if (all.count == 0) return std::nullopt;
    const View& view = eligible.view;
    std::array<Probe, max_probes> room{};
    const auto wanted = std::clamp<std::size_t>(policy.probes, 1, max_probes);
    const std::size_t found = look_at(eligible, all, std::span(room).first(wanted), random);
    const auto probes = std::span<const Probe>(room).first(found);
    const double hot = hot_above(probes, policy.hot);
    std::optional<std::uint32_t> best;
    bool best_cold = false;
    double least = 0;
    double equals = 0;  // what those that share `least` weigh, so that ties fall by lot
    for (const Probe& probe : probes) {
        const bool cold = probe.load <= hot;
        if (best_cold && !cold) continue;
        const Latency& latency = view.state(probe.index).latency;
        const double failing = latency.failure_rate * left_over(latency.at, view.now, seconds(usual_decay));
        const double its =
            cold ? with_failures(latency_at(view.state(probe.index).samples, probe.in_flight, policy.fresh, view.now),
                                 failing, policy.failure_penalty)
                 : probe.load;
        const bool first = !best || (cold && !best_cold);
        if (!first && its > least) continue;
        const double weight = found == all.count ? view.weight(probe.index) : 1.0;  // else the draw was by weight
        equals = first || its < least ? weight : equals + weight;
        if (equals <= weight || random.uniform() * equals < weight) best = probe.index;
        least = its;
        best_cold = cold;
    }
    return best;
}

void learn(EndpointState& state, const PoolFacts& pool, const Attempt& attempt, Duration took, std::uint32_t others,
           Instant now) {
    const double sample = std::max(seconds(took), 1e-9);
    const bool failed = counts_as_failure(attempt);
    const bool answered = attempt.status != 0 && !failed;
    Latency& latency = state.latency;
    const double left = left_over(latency.at, now, decay_of(pool.policy));
    const double before = latency.ewma * left;
    if (!answered && !failed) {  // the client left, or our own limits: it takes at least this long
        if (sample <= before) return;
        latency = {sample, latency.failure_rate * left, now};
        return remember(state.samples, {others, static_cast<float>(sample), now});
    }
    const double newest = std::max(1 - left, newest_counts);
    latency.failure_rate += newest * ((failed ? 1.0 : 0.0) - latency.failure_rate);
    if (sample >= before) {
        latency.ewma = sample;
    } else {  // a failure's being quick says nothing about how long answers take
        latency.ewma = answered ? before + (1 - left) * sample : before;
    }
    latency.at = now;
    if (!answered) return;
    remember(state.samples, {others, static_cast<float>(sample), now});
    if (pool.adaptive) observe(state.limiter, *pool.adaptive, took, others + 1, now);
}

}  // namespace plimsoll::balance
