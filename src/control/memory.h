// Memory: when it runs out, what should be done about it. Pure: told what was measured and when.
// Thread rule: a value of one thread.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace plimsoll::control {

/// What is used and where that ends; bytes.
struct MemoryReading {
    std::uint64_t in_use = 0;
    std::uint64_t limit = 0;  ///< above it new work is refused; 0 = there is none
    std::uint64_t hard = 0;   ///< where the kernel kills; 0 = nowhere, the limit is our own
    bool sockets = false;     ///< `in_use` has what the kernel holds for our sockets in it (cgroup v2)
};

/// Refuses new work above the limit and until usage is 5 % below it; ends what is under way when that is not enough:
/// from 5 % above the limit on, when usage rises so fast that the kernel would kill within some looks, when it has been
/// above the limit for a second, or when it will not go down to where work is taken again. When all that is ours to
/// give back is given back and usage is still high (the group is not ours alone, or the limit is less than an idle
/// server needs), the present usage becomes the floor and new work is taken: a server that refuses for good is no
/// better than one that was killed.
class MemoryGuard {
public:
    struct Step {
        bool changed = false;         ///< shedding() is another than before
        bool trim = false;            ///< freed memory should be given back to the kernel; say trimmed()
        std::uint64_t end_bytes = 0;  ///< connections that hold so much should be ended; say relieved(). 0 = none
    };
    [[nodiscard]] Step look(const MemoryReading& reading, Instant now);
    /// The allocator has given back what it could, at that cost. It takes the heap's locks: at most a twentieth of the
    /// time, a fifth right after something was freed.
    void trimmed(Instant began, Duration cost);
    /// All workers have ended what they were asked to; `held` bytes are held by connections that are left.
    void relieved(std::uint64_t held, Instant now);

    [[nodiscard]] bool shedding() const { return shedding_; }
    /// How soon to look again: near the limit it takes workers some milliseconds to be beyond it.
    [[nodiscard]] Duration next_look() const { return near_ ? look_close : look_far; }
    /// Usage above which work is refused; of the last look.
    [[nodiscard]] std::uint64_t level() const { return refuse_; }
    /// Usage that is taken for granted; 0 = none.
    [[nodiscard]] std::uint64_t floor() const { return floor_; }

    static constexpr Duration look_far = std::chrono::milliseconds(10);
    static constexpr Duration look_close = std::chrono::milliseconds(1);
    /// Time between two orders to end connections: what the first has freed must be seen.
    static constexpr Duration order_every = std::chrono::milliseconds(100);
    /// The same while usage runs towards the kernel's limit.
    static constexpr Duration order_every_in_haste = std::chrono::milliseconds(20);
    /// How far ahead usage is extrapolated: what workers may still do before an order reaches them.
    static constexpr Duration foresight = std::chrono::milliseconds(100);
    /// An order that is not answered for so long is given again.
    static constexpr Duration order_lost = std::chrono::seconds(1);
    static constexpr Duration above_limit = std::chrono::seconds(1);
    static constexpr Duration above_resume = std::chrono::seconds(2);

private:
    void set_levels(const MemoryReading& reading);
    [[nodiscard]] std::uint64_t order(const MemoryReading& reading, Instant now);
    /// What usage will have come to after `foresight`.
    [[nodiscard]] std::uint64_t ahead(std::uint64_t in_use, Instant now) const;
    void trim_soon(Instant now);
    /// Nothing that is left is ours to give back.
    [[nodiscard]] bool spent(const MemoryReading& reading) const;

    bool shedding_ = false;
    bool near_ = false;  ///< above three quarters of the limit
    std::uint64_t floor_ = 0;
    std::uint64_t refuse_ = 0, resume_ = 0, end_ = 0;  ///< levels
    Instant since_{};                                  ///< shedding
    Instant above_since_{};                            ///< usage was last at or below refuse_
    std::uint64_t seen_ = 0;                           ///< usage a while ago: what it has risen from
    Instant seen_at_{INT64_MIN};
    Instant next_trim_{}, trim_began_{INT64_MIN};
    Duration trim_cost_{};
    Instant ordered_at_{INT64_MIN}, relieved_at_{INT64_MIN};
    std::uint64_t held_ = 0;  ///< by connections, when relieved_at_
    bool ordered_ = false;
};

}  // namespace plimsoll::control
