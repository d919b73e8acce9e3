#include "control/memory.h"

#include <algorithm>

namespace plimsoll::control {
namespace {

/// Trimming takes at most one part in so many of the time, and rests at least so long.
constexpr int trim_share = 20, trim_share_soon = 5;
constexpr Duration trim_rest = std::chrono::milliseconds(50);
/// From an order, or a refusal, until most of what it frees is free.
constexpr Duration until_freed = std::chrono::milliseconds(20);
/// How fast usage rises is taken over so long, and never over less than half of it: the kernel counts by batches of
/// pages, 256 KiB a processor, which within a millisecond would look like a flood.
constexpr Duration rise_over = std::chrono::milliseconds(10);

}  // namespace

/// Without a floor: refuse at the limit, 5 % to either side of it. With one: the same within what is left above it.
void MemoryGuard::set_levels(const MemoryReading& reading) {
    const std::uint64_t slack = reading.limit / 20;
    refuse_ = reading.limit;
    resume_ = reading.limit - slack;
    end_ = reading.limit + slack;
    if (reading.in_use <= resume_) floor_ = 0;
    if (floor_ == 0) return;
    floor_ = std::min(floor_, reading.in_use);
    const std::uint64_t room = reading.hard == 0 ? 2 * slack : reading.hard - std::min(reading.hard, floor_);
    resume_ = std::max(resume_, floor_ + room / 4);
    refuse_ = std::max(refuse_, floor_ + room / 2);
    end_ = std::max(end_, floor_ + room / 4 * 3);
}

std::uint64_t MemoryGuard::ahead(std::uint64_t in_use, Instant now) const {
    if (in_use <= seen_ || now <= seen_at_ || seen_ == 0) return in_use;
    const Duration over = std::max(now - seen_at_, rise_over / 2);
    const double rate = static_cast<double>(in_use - seen_) / static_cast<double>(over.count());
    return in_use + static_cast<std::uint64_t>(rate * static_cast<double>(foresight.count()));
}

/// How much must be ended now; 0 = nothing.
std::uint64_t MemoryGuard::order(const MemoryReading& reading, Instant now) {
    const std::uint64_t soon = ahead(reading.in_use, now);
    const bool haste = soon > (reading.hard != 0 ? reading.hard : end_ + reading.limit / 20);
    const bool must =
        haste || reading.in_use > end_ || now - above_since_ >= above_limit || now - since_ >= above_resume;
    const Duration pause = ordered_ ? order_lost : haste ? order_every_in_haste : order_every;
    if (!must || now < ordered_at_ + pause) return 0;
    ordered_ = true;
    ordered_at_ = now;
    return (haste ? soon : reading.in_use) - resume_;
}

bool MemoryGuard::spent(const MemoryReading& reading) const {
    return relieved_at_ >= since_ && trim_began_ > relieved_at_ && held_ <= reading.limit / 20;
}

MemoryGuard::Step MemoryGuard::look(const MemoryReading& reading, Instant now) {
    Step step;
    const bool before = shedding_;
    if (reading.limit == 0) {
        *this = {};
        step.changed = before;
        return step;
    }
    set_levels(reading);
    if (reading.in_use <= refuse_) above_since_ = now;
    if (!shedding_ && reading.in_use > refuse_) {
        shedding_ = true;
        since_ = above_since_ = now;
        relieved_at_ = Instant{INT64_MIN};
        trim_soon(now);
    } else if (shedding_ && reading.in_use <= resume_) {
        shedding_ = false;
    } else if (shedding_ && spent(reading)) {
        floor_ = reading.in_use;
        shedding_ = false;
        set_levels(reading);
    }
    step.changed = shedding_ != before;
    step.trim = reading.in_use > resume_ && now >= next_trim_;
    if (shedding_) step.end_bytes = order(reading, now);
    near_ = reading.in_use > reading.limit / 4 * 3;
    if (now >= seen_at_ + rise_over) {
        seen_ = reading.in_use;
        seen_at_ = now;
    }
    return step;
}

void MemoryGuard::trimmed(Instant began, Duration cost) {
    trim_began_ = began;
    trim_cost_ = cost;
    next_trim_ = began + std::max(trim_rest, cost * trim_share);
}

void MemoryGuard::trim_soon(Instant now) {
    const Instant earliest = trim_began_ + trim_cost_ * trim_share_soon;
    next_trim_ = std::min(next_trim_, std::max(now + until_freed, earliest));
}

void MemoryGuard::relieved(std::uint64_t held, Instant now) {
    ordered_ = false;
    held_ = held;
    relieved_at_ = now;
    trim_soon(now);
}

}  // namespace plimsoll::control
