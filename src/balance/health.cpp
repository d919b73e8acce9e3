// Passive ejection, in a row and by comparison, endpoints that ask for a pause, and the rise and fall of active checks.
// Pure; see balance.h.
// Source of the comparison: Envoy's documentation of outlier detection by success rate.
#include <algorithm>
#include <cmath>

#include "balance/view.h"

namespace plimsoll::balance {
namespace {

/// How many of a pool may be out by ejection at once.
std::size_t most_out(const Ejection& ejection, std::size_t pool_size) {
    if (pool_size <= 1) return 0;
    // the crumb keeps 0.3 x 10 at 3
    const double allowed = std::floor(ejection.max_fraction * static_cast<double>(pool_size) + 1e-9);
    return std::max<std::size_t>(1, static_cast<std::size_t>(std::max(allowed, 0.0)));
}

Duration time_out(const Ejection& ejection, std::uint32_t times) {
    const Duration::rep longest = std::max(ejection.ceiling, ejection.base).count();
    const Duration::rep base = std::max<Duration::rep>(ejection.base.count(), 1);
    if (times > longest / base) return Duration{longest};
    return Duration{base * static_cast<Duration::rep>(times)};
}

void succeeded(EndpointState& state, const Ejection& ejection, Instant now) {
    state.failures_in_row = 0;
    if (ejection.base <= Duration::zero()) state.times_ejected = 0;
    while (state.times_ejected > 0 && now - state.ejected_until >= ejection.base) {
        --state.times_ejected;
        state.ejected_until = state.ejected_until + ejection.base;
    }
}

void eject(EndpointState& state, const Ejection& ejection, Instant now) {
    state.failures_in_row = 0;
    if (state.times_ejected < UINT32_MAX) ++state.times_ejected;
    state.ejected_until = now + time_out(ejection, state.times_ejected);
    state.up_since = state.ejected_until;  // it comes back through slow start
}

double rate_of(const SuccessWindow& window) { return 1 - static_cast<double>(window.failures) / window.requests; }

/// Sums over those that have enough requests.
struct Rates {
    std::size_t count = 0;
    double sum = 0, squares = 0;
    void add(const SuccessWindow& window, const Ejection& ejection) {
        if (window.requests == 0 || window.requests < ejection.min_requests) return;
        ++count;
        sum += rate_of(window);
        squares += rate_of(window) * rate_of(window);
    }
    [[nodiscard]] std::optional<double> bar(const Ejection& ejection) const {
        if (count == 0 || count < ejection.min_endpoints) return std::nullopt;
        const double mean = sum / static_cast<double>(count);
        const double variance = std::max(0.0, squares / static_cast<double>(count) - mean * mean);
        return mean - ejection.stdev_factor * std::sqrt(variance);
    }
};

}  // namespace

bool observe(EndpointState& state, const Attempt& attempt, const Ejection& ejection, std::size_t pool_size,
             std::size_t ejected_now, Instant now) {
    if (state.ejected_until > now) return false;  // late answers of before, and panic traffic
    const bool failed = is_upstream(attempt.cause) || attempt.status >= 500;
    if (ejection.success_rate && (failed || attempt.status != 0) && state.window.requests < UINT32_MAX) {
        ++state.window.requests;
        state.window.failures += failed;
    }
    if (!failed) {
        if (attempt.status != 0) succeeded(state, ejection, now);
        return false;
    }
    if (state.times_ejected > 0) state.ejected_until = now;  // clean time starts anew
    if (state.failures_in_row < UINT32_MAX) ++state.failures_in_row;
    if (ejection.consecutive == 0 || state.failures_in_row < ejection.consecutive) return false;
    if (ejected_now >= most_out(ejection, pool_size)) return false;
    eject(state, ejection, now);
    return true;
}

std::size_t count_out(const PoolFacts& pool, std::span<const EndpointState> states, Instant now) {
    return static_cast<std::size_t>(std::ranges::count_if(
        pool.members, [&](const Member& member) { return is_out(states[member.id.value], now); }));
}

std::optional<double> success_bar(std::span<const SuccessWindow> windows, const Ejection& ejection) {
    Rates rates;
    for (const SuccessWindow& window : windows) rates.add(window, ejection);
    return rates.bar(ejection);
}

std::size_t compare_success(Comparison& comparison, const PoolFacts& pool, std::span<EndpointState> states,
                            Instant now) {
    const Ejection& ejection = pool.ejection;
    if (!ejection.success_rate) return 0;
    if (comparison.since.ns == INT64_MIN) comparison.since = now;
    if (now - comparison.since < ejection.interval) return 0;
    comparison.since = now;
    Rates rates;
    for (const Member& member : pool.members) rates.add(states[member.id.value].window, ejection);
    const std::optional<double> bar = rates.bar(ejection);
    std::size_t out = bar ? count_out(pool, states, now) : 0;
    std::size_t ejected = 0;
    while (bar && out < most_out(ejection, pool.members.size())) {  // the worst first: the ceiling may stop us
        EndpointState* worst = nullptr;
        for (const Member& member : pool.members) {
            EndpointState& state = states[member.id.value];
            if (state.window.requests == 0 || state.window.requests < ejection.min_requests) continue;
            if (is_out(state, now) || !(rate_of(state.window) < *bar)) continue;
            if (worst == nullptr || rate_of(state.window) < rate_of(worst->window)) worst = &state;
        }
        if (worst == nullptr) break;
        eject(*worst, ejection, now);
        ++out;
        ++ejected;
    }
    for (const Member& member : pool.members) states[member.id.value].window = {};
    return ejected;
}

bool hold_back(EndpointState& state, std::uint16_t status, Duration asked_for, const Ejection& ejection,
               std::size_t pool_size, std::size_t ejected_now, Instant now) {
    if (status != 503 || asked_for <= Duration::zero() || is_out(state, now)) return false;
    if (ejected_now >= most_out(ejection, pool_size)) return false;
    state.not_before = now + std::min(asked_for, longest_hold);
    state.up_since = state.not_before;
    return true;
}

void set_health(EndpointState& state, Health health, Instant now, Entry entry) {
    if (health == Health::up && state.health != Health::up) {
        state.up_since = entry == Entry::slowly ? std::max(now, state.up_since) : Instant{INT64_MIN};
    }
    state.health = health;
}

bool probe_result(ProbeState& state, bool good, std::uint32_t rise, std::uint32_t fall) {
    const Health says = good ? Health::up : Health::down;
    if (state.health == Health::unknown) {
        state = {says, 0};
        return true;
    }
    if (state.health == says) {
        state.streak = 0;
        return false;
    }
    if (++state.streak < std::max(good ? rise : fall, 1u)) return false;
    state = {says, 0};
    return true;
}

}  // namespace plimsoll::balance
