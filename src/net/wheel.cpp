#include "net/wheel.h"

#include <algorithm>

namespace plimsoll::net {
namespace {

void append(TimerLink& list, TimerLink& link) {
    link.previous = list.previous;
    link.next = &list;
    list.previous->next = &link;
    list.previous = &link;
}

}  // namespace

void Wheel::set(Timer& timer, Instant at) {
    timer.clear();
    if (at == never) return;
    timer.at_ = at;
    const std::int64_t round_up = at.ns > INT64_MAX - (1 << tick_bits) ? 0 : (1 << tick_bits) - 1;
    timer.tick_ = std::max((at.ns + round_up) >> tick_bits, visited_ + 1);
    Slot& slot = slots_[static_cast<std::size_t>(timer.tick_) % slots];
    append(slot.timers, timer);
    slot.soonest = std::min(slot.soonest, timer.tick_);
    soonest_ = std::min(soonest_, timer.tick_);
}

Instant Wheel::next() const { return soonest_ == INT64_MAX ? never : Instant{soonest_ << tick_bits}; }

void Wheel::visit(Slot& slot, std::int64_t now_tick, TimerLink& due) {
    std::int64_t soonest = INT64_MAX;
    for (TimerLink* link = slot.timers.next; link != &slot.timers;) {
        auto& timer = static_cast<Timer&>(*link);
        link = link->next;
        if (timer.tick_ <= now_tick) {
            timer.clear();
            append(due, timer);
        } else {
            soonest = std::min(soonest, timer.tick_);
        }
    }
    slot.soonest = soonest;
}

void Wheel::run(Instant now) {
    const std::int64_t now_tick = tick(now);
    if (now_tick <= visited_) return;
    if (now_tick < soonest_) {
        visited_ = now_tick;
        return;
    }
    TimerLink due;
    const std::int64_t first = std::max(visited_ + 1, now_tick - static_cast<std::int64_t>(slots) + 1);
    for (std::int64_t t = first; t <= now_tick; ++t) {
        Slot& slot = slots_[static_cast<std::size_t>(t) % slots];
        if (slot.soonest <= now_tick) visit(slot, now_tick, due);
    }
    visited_ = now_tick;
    find_soonest();
    while (due.next != &due) {
        auto& timer = static_cast<Timer&>(*due.next);
        timer.clear();
        timer.due(now);
    }
}

void Wheel::find_soonest() {
    soonest_ = INT64_MAX;
    for (std::int64_t t = visited_ + 1; t <= visited_ + static_cast<std::int64_t>(slots); ++t) {
        const Slot& slot = slots_[static_cast<std::size_t>(t) % slots];
        soonest_ = std::min(soonest_, slot.soonest);
        if (soonest_ == t) return;  // nothing can be sooner
    }
}

}  // namespace plimsoll::net
