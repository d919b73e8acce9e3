// Adaptive concurrency. Pure; see adaptive.h.
#include "balance/adaptive.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::balance {
namespace {

/// A window is judged when it has both; a mean of fewer answers is noise.
constexpr Duration window = std::chrono::milliseconds(100);
constexpr std::uint32_t window_answers = 20;
/// How fast the best latency gives way to a worse one, per second, when no more are in flight than when it was
/// measured: a service that has become slower for good is believed after half a minute. Under more load it never gives
/// way, or a long overload would end up as the standard.
constexpr double forgotten = 0.1;
/// Latency within this of the best is as good: so many in flight do no harm.
constexpr double as_good = 1.05;
/// The least that the limit can shrink to by itself: below, the room to grow outweighs the steepest step.
constexpr std::uint32_t least_limit = 4;
/// Of the new limit that a window brings, this much is taken over.
constexpr double smoothing = 0.4;
/// The limit never shrinks faster than this in one window.
constexpr double steepest = 0.5;

void judge_best(Limiter& limiter, const Adaptive& facts, double mean, double past) {
    if (limiter.best <= 0 || mean < limiter.best) {
        limiter.best = mean;
        limiter.best_at = limiter.most;
    } else if (mean <= limiter.best * as_good) {
        limiter.best_at = std::max(limiter.best_at, limiter.most);
    } else if (limiter.most <= std::max({limiter.best_at, facts.min, least_limit})) {
        limiter.best = std::min(mean, limiter.best * (1 + forgotten * std::min(past, 1.0)));
    }
}

void close_window(Limiter& limiter, const Adaptive& facts, Instant now) {
    const double mean = limiter.sum / limiter.count;
    judge_best(limiter, facts, mean, seconds(now - limiter.since));
    const double gradient = std::clamp(facts.tolerance * limiter.best / mean, steepest, 1.0);
    double wanted = limiter.limit * gradient + std::sqrt(limiter.limit);
    // who does not use what it may have says nothing about more
    if (limiter.most * 2 < limiter.limit) wanted = std::min(wanted, limiter.limit);
    limiter.limit = std::clamp(limiter.limit + smoothing * (wanted - limiter.limit), static_cast<double>(facts.min),
                               static_cast<double>(facts.max));
    limiter.sum = 0;
    limiter.count = 0;
    limiter.most = 0;
    limiter.since = now;
}

}  // namespace

std::uint32_t observe(Limiter& limiter, const Adaptive& facts, Duration latency, std::uint32_t in_flight, Instant now) {
    if (limiter.since.ns == INT64_MIN) limiter.since = now;
    if (limiter.limit <= 0) limiter.limit = std::clamp(4.0 * facts.min, 1.0, std::max(1.0, 1.0 * facts.max));
    limiter.sum += std::max(seconds(latency), 1e-9);
    ++limiter.count;
    limiter.most = std::max(limiter.most, in_flight);
    if (limiter.count >= window_answers && now - limiter.since >= window) close_window(limiter, facts, now);
    return limit(limiter, facts);
}

std::uint32_t limit(const Limiter& limiter, const Adaptive& facts) {
    const std::uint32_t least = std::max(facts.min, 1u);
    const std::uint32_t most = std::max(facts.max, least);
    if (limiter.limit <= 0) return most;
    return std::clamp(static_cast<std::uint32_t>(std::min(limiter.limit, 4e9)), least, most);
}

}  // namespace plimsoll::balance
