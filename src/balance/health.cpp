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

}  // namespace

std::string_view name(Health health) {
    switch (health) {
        case Health::unknown: return "unchecked";
        case Health::up: return "up";
        case Health::down: return "DOWN";
    }
    return "?";
}

Lesson lesson_of(const Attempt& attempt) {
    if (is_upstream(attempt.cause) || attempt.status >= 500) return Lesson::failed;
    return attempt.status != 0 || attempt.cause == Cause::none ? Lesson::succeeded : Lesson::none;
}

bool observe(EndpointState& state, const Attempt& attempt, const Ejection& ejection, std::size_t pool_size,
             std::size_t ejected_now, Instant now) {
    if (state.ejected_until > now) return false;  // late answers of before, and panic traffic
    const Lesson lesson = lesson_of(attempt);
    if (lesson == Lesson::succeeded) succeeded(state, ejection, now);
    if (lesson != Lesson::failed) return false;
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
    std::size_t count = 0;
    double sum = 0, squares = 0;
    for (const SuccessWindow& window : windows) {
        if (window.requests == 0 || window.requests < ejection.min_requests) continue;
        ++count;
        sum += rate_of(window);
        squares += rate_of(window) * rate_of(window);
    }
    if (count == 0 || count < ejection.min_endpoints) return std::nullopt;
    const double mean = sum / static_cast<double>(count);
    const double variance = std::max(0.0, squares / static_cast<double>(count) - mean * mean);
    return mean - ejection.stdev_factor * std::sqrt(variance);
}

std::size_t compare_success(const PoolFacts& pool, std::span<EndpointState> states,
                            std::span<const SuccessWindow> windows, Instant now) {
    const Ejection& ejection = pool.ejection;
    const std::optional<double> bar = success_bar(windows, ejection);
    if (!bar) return 0;
    std::size_t out = count_out(pool, states, now);
    std::size_t ejected = 0;
    while (out < most_out(ejection, pool.members.size())) {  // the worst first: the ceiling may stop us
        std::optional<std::size_t> worst;
        for (std::size_t i = 0; i < windows.size(); ++i) {
            if (windows[i].requests == 0 || windows[i].requests < ejection.min_requests) continue;
            if (is_out(states[pool.members[i].id.value], now) || !(rate_of(windows[i]) < *bar)) continue;
            if (!worst || rate_of(windows[i]) < rate_of(windows[*worst])) worst = i;
        }
        if (!worst) break;
        eject(states[pool.members[*worst].id.value], ejection, now);
        ++out;
        ++ejected;
    }
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
        const bool out = state.up_since > now;  // until then, by an ejection or a pause
        state.up_since = entry == Entry::slowly || out ? std::max(now, state.up_since) : Instant{INT64_MIN};
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
