// Starvation: whether we were fit to judge others. A loop that gets no processor time or no descriptors makes every
// server look slow; what it measures then says something about us. Pure.
// Source: haproxy#1902, #1770, k3s#10240 (checks starve and everything is marked down).
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>

#include "base/time.h"

namespace plimsoll::control {

/// Timers are coarse and machines are busy: less than this is nothing.
inline constexpr Duration usual_lateness = std::chrono::milliseconds(50);

/// Whether something that should have happened at `expected` and happened at `actual` spoils a measurement that had
/// `timeout` to succeed: late by a quarter of it, but at least by more than is usual.
[[nodiscard]] constexpr bool starved(Instant expected, Instant actual, Duration timeout) {
    return actual - expected >= std::max(usual_lateness, timeout / 4);
}

/// The delays of our own loop in the recent past.
class Lateness {
public:
    /// The loop was to run at `expected` and did at `actual`. In order of time.
    void ran(Instant expected, Instant actual) {
        due_ = never;
        if (actual - expected < usual_lateness) return;
        late_.push_back({expected, actual});
        if (late_.size() > kept) late_.pop_front();
    }
    /// When it is to run next.
    void expect(Instant at) { due_ = at; }
    /// Whether any delay that touches the time from `since` to `now` spoils what had `timeout`. One that lasts counts.
    [[nodiscard]] bool spoils(Instant since, Instant now, Duration timeout) const {
        if (due_ < now && starved(due_, now, timeout)) return true;
        return std::any_of(late_.begin(), late_.end(), [&](const Delay& delay) {
            return delay.actual >= since && starved(std::max(delay.expected, since), delay.actual, timeout);
        });
    }
    /// The longest that is remembered and ended after `since`.
    [[nodiscard]] Duration worst(Instant since) const {
        Duration longest{};
        for (const Delay& delay : late_)
            if (delay.actual >= since) longest = std::max(longest, delay.actual - delay.expected);
        return longest;
    }

private:
    struct Delay {
        Instant expected, actual;
    };
    /// Delays remembered: more than a probe's timeout can see at one heartbeat a tenth of a second.
    static constexpr std::size_t kept = 600;
    std::deque<Delay> late_;
    Instant due_ = never;
};

}  // namespace plimsoll::control
