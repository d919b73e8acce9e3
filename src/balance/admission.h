// Whether a request may go, must wait or is refused: the limit of a pool and the line before it. Pure state; whoever
// waits is the caller's business. Circuit breaking is these limits, Member::max_in_flight and the connection limit.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/time.h"

namespace plimsoll::balance {

/// Per worker.
struct LineFacts {
    std::uint32_t max_in_flight = 0;             ///< of the whole pool; 0 = no limit
    std::uint32_t queue = 0;                     ///< requests that may wait; 0 = none
    Duration timeout = std::chrono::seconds(1);  ///< for which one may wait
};

enum class Admission : std::uint8_t { go, wait, refuse };

/// A place in the line. Numbers ascend.
struct Ticket {
    std::uint64_t number = 0;
    Instant deadline;
};

/// One pool's requests under way and those who wait, first come first served; by PoolId, one per worker. Memory is
/// bounded by LineFacts::queue.
class Line {
public:
    struct Answer {
        Admission admission = Admission::go;
        Ticket ticket{};  ///< for `wait`
    };
    /// A request has come. `room` = some endpoint could take it now (pick found one, or nobody is healthy and it shall
    /// fail at once). `go`: it is counted as under way; call leave() when it ends. `wait`: come back when called, or
    /// when the deadline (the earlier of timeout and `until`) has passed. Nobody overtakes those who wait.
    [[nodiscard]] Answer arrive(const LineFacts& facts, bool room, Instant now, Instant until = never);
    /// A request that was let go has ended, or could not be sent after all.
    void leave();
    /// Who goes next, if the pool's limit allows one more; counted as under way. Call after leave(), after a change of
    /// limits or health. Those whose deadline has passed are not called; they hear of it through expire().
    [[nodiscard]] std::optional<Ticket> call(const LineFacts& facts, Instant now);
    /// One who was called found no endpoint after all: back to the head of the line, not counted as under way.
    void put_back(const Ticket& ticket);
    /// One who waits goes away (its client left). False if it does not wait any more.
    bool abandon(const Ticket& ticket);
    /// The first in line whose deadline has passed; it leaves the line and is to be refused. Call until nullopt.
    [[nodiscard]] std::optional<Ticket> expire(Instant now);
    /// When expire() has something to say next; `never` when nobody waits.
    [[nodiscard]] Instant next_deadline() const;

    [[nodiscard]] std::uint32_t in_flight() const { return in_flight_; }
    [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }

private:
    std::deque<Ticket> waiting_;  ///< by number
    std::uint64_t numbers_ = 0;
    std::uint32_t in_flight_ = 0;
};

}  // namespace plimsoll::balance
