// Wheel: coarse timers for very many waits. Setting and clearing cost a few instructions; a timer is up to one tick
// (2.1 ms) late and never early. Made to be used lazily: an owner whose deadline moves later leaves its timer where it
// is, and sets it anew when it fires too soon.
// Thread rule: one thread.
// Source: Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (1987), scheme 6.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace plimsoll::net {

struct TimerLink {
    TimerLink* previous = this;
    TimerLink* next = this;
};

/// Lives in its owner; destroying it clears it.
class Timer : private TimerLink {
public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    virtual ~Timer() { clear(); }

    [[nodiscard]] bool is_set() const { return next != static_cast<const TimerLink*>(this); }
    /// When it fires; `never` if not set.
    [[nodiscard]] Instant at() const { return is_set() ? at_ : never; }
    void clear() {
        previous->next = next;
        next->previous = previous;
        previous = next = this;
    }

protected:
    /// The moment has come; the timer is clear and may be set again, or destroyed.
    virtual void due(Instant now) = 0;

private:
    friend class Wheel;
    Instant at_ = never;
    std::int64_t tick_ = 0;
};

class Wheel {
public:
    explicit Wheel(Instant start) : visited_(tick(start)), soonest_(INT64_MAX) {}

    /// Sets or moves. `never` clears.
    void set(Timer& timer, Instant at);
    /// No timer fires before this; `never` if none is set. May be too early, never too late.
    [[nodiscard]] Instant next() const;
    /// Fires what is due.
    void run(Instant now);

private:
    static constexpr int tick_bits = 21;        // 2^21 ns = 2.1 ms
    static constexpr std::size_t slots = 4096;  // one turn of the wheel = 8.6 s; later timers stay for several turns
    struct Slot {
        TimerLink timers;
        std::int64_t soonest = INT64_MAX;  ///< no timer in here is due before this tick
    };
    static std::int64_t tick(Instant at) { return at.ns >> tick_bits; }
    void visit(Slot& slot, std::int64_t now_tick, TimerLink& due);
    void find_soonest();

    std::int64_t visited_;  ///< all slots up to this tick have been visited
    std::int64_t soonest_;  ///< no timer at all is due before this tick
    std::array<Slot, slots> slots_;
};

}  // namespace plimsoll::net
