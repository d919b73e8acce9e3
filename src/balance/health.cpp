// Passive ejection and the rise and fall of active checks. Pure; see balance.h.
#include <algorithm>
#include <cmath>

#include "balance/balance.h"

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

}  // namespace

bool observe(EndpointState& state, const Attempt& attempt, const Ejection& ejection, std::size_t pool_size,
             std::size_t ejected_now, Instant now) {
    if (state.ejected_until > now) return false;  // late answers of before, and panic traffic
    const bool failed = is_upstream(attempt.cause) || attempt.status >= 500;
    if (!failed) {
        if (attempt.status != 0) succeeded(state, ejection, now);
        return false;
    }
    if (state.times_ejected > 0) state.ejected_until = now;  // clean time starts anew
    if (state.failures_in_row < UINT32_MAX) ++state.failures_in_row;
    if (ejection.consecutive == 0 || state.failures_in_row < ejection.consecutive) return false;
    if (ejected_now >= most_out(ejection, pool_size)) return false;
    state.failures_in_row = 0;
    if (state.times_ejected < UINT32_MAX) ++state.times_ejected;
    state.ejected_until = now + time_out(ejection, state.times_ejected);
    return true;
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
