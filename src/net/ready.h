// Who waits, and in which order those are woken whose wait is over. Nobody is resumed from within somebody else's call:
// close() on a stream puts its waiters into the queue, and the loop resumes them from a clean stack.
// Thread rule: one queue per Network, used on its thread.
#pragma once

#include <cstdint>
#include <utility>

#include "base/time.h"

namespace plimsoll::net {

enum class Direction : std::uint8_t { read = 0, write = 1 };

enum class Wake : std::uint8_t {
    ready,      ///< try again
    timeout,    ///< the deadline passed
    cancelled,  ///< the stream was closed on this side
};

class ReadyQueue;

/// One wait. Lives in the waiting coroutine's frame (or in whatever watches a stream); destroying it ends the wait.
class Waiter {
public:
    Waiter(Direction direction, Instant deadline) : deadline_(deadline), direction_(direction) {}
    /// Only before it is armed.
    Waiter(Waiter&& other) noexcept : deadline_(other.deadline_), direction_(other.direction_) {}
    Waiter& operator=(Waiter&&) = delete;
    virtual ~Waiter() { disarm(); }

    [[nodiscard]] Instant deadline() const { return deadline_; }
    void set_deadline(Instant deadline) { deadline_ = deadline; }
    [[nodiscard]] Direction direction() const { return direction_; }
    [[nodiscard]] bool armed() const { return slot_ != nullptr || queue_ != nullptr; }
    /// Ends the wait without waking. Idempotent.
    void disarm();

    /// The wait is over; called from the loop, with a clean stack. May arm again or destroy the waiter.
    virtual void woken(Wake why) = 0;

    /// For streams: keeps the waiter in *slot until it is woken or disarmed.
    void sit_in(Waiter*& slot) {
        slot_ = &slot;
        slot = this;
    }

private:
    friend class ReadyQueue;
    Instant deadline_;
    Waiter** slot_ = nullptr;      ///< where the stream keeps us
    ReadyQueue* queue_ = nullptr;  ///< set while queued
    Waiter* previous_ = nullptr;
    Waiter* next_ = nullptr;
    Direction direction_;
    Wake why_ = Wake::ready;
};

/// First in, first out.
class ReadyQueue {
public:
    ReadyQueue() = default;
    ReadyQueue(const ReadyQueue&) = delete;
    ReadyQueue& operator=(const ReadyQueue&) = delete;
    ~ReadyQueue();
    /// Moves the waiter from its stream into the queue. A waiter that is queued already keeps its place and reason.
    void push(Waiter& waiter, Wake why);
    [[nodiscard]] bool empty() const { return first_ == nullptr; }
    /// Wakes those that are queued now, at most `most`; those they queue wait for the next call. Returns how many.
    std::size_t run(std::size_t most);

private:
    friend class Waiter;
    void unlink(Waiter& waiter);
    Waiter* first_ = nullptr;
    Waiter* last_ = nullptr;
};

}  // namespace plimsoll::net
