// Parking: where coroutines of one thread wait for each other: for a place in a queue, for a connection that somebody
// else is opening, for a window to open. First in, first out; each with its deadline; woken from a clean stack.
// Thread rule: its network's thread. Destroying it while somebody waits is an error of the caller.
#pragma once

#include <coroutine>
#include <cstddef>
#include <list>

#include "async/scope.h"
#include "net/network.h"

namespace plimsoll::net {

class Parking {
public:
    explicit Parking(Network& network) : network_(network) {}
    Parking(const Parking&) = delete;
    Parking& operator=(const Parking&) = delete;
    ~Parking();

    class Place;
    /// `Wake why = co_await parking.wait(deadline);` ready: woken; timeout: nobody did by then (up to a timer's
    /// coarseness late); cancelled: by wake_all(Wake::cancelled). O(1), no allocation but the list's node.
    [[nodiscard]] Place wait(Deadline deadline);
    /// Wakes who has waited longest. False: nobody waits.
    bool wake_one();
    void wake_all(Wake why = Wake::ready);
    /// Who waits and has not been woken.
    [[nodiscard]] std::size_t size() const { return places_.size(); }

private:
    Task<void> watch_deadlines();
    void expect(Instant deadline);

    Network& network_;
    std::list<Place*> places_;
    Instant next_ = never;  ///< when watch_deadlines() looks again
    async::Scope scope_;
};

/// One wait; lives in the waiting coroutine's frame. Destroying it leaves the queue.
class [[nodiscard]] Parking::Place final : Waiter {
public:
    Place(Parking& parking, Deadline deadline) : Waiter(Direction::read, deadline.at), parking_(&parking) {}
    Place(Place&& other) noexcept : Waiter(std::move(other)), parking_(other.parking_) {}
    ~Place() override;
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle);
    [[nodiscard]] Wake await_resume() const { return why_; }

private:
    friend class Parking;
    void woken(Wake why) override;
    void leave(Wake why);
    Parking* parking_;
    std::list<Place*>::iterator at_;
    bool parked_ = false;
    Wake why_ = Wake::cancelled;
    std::coroutine_handle<> handle_;
};

inline Parking::Place Parking::wait(Deadline deadline) { return {*this, deadline}; }

}  // namespace plimsoll::net
