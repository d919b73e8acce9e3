#include "net/parking.h"

#include <algorithm>

namespace plimsoll::net {

Parking::~Parking() { PLIMSOLL_ENSURE(places_.empty(), "a parking goes while somebody waits in it"); }

void Parking::Place::await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    at_ = parking_->places_.insert(parking_->places_.end(), this);
    parked_ = true;
    parking_->expect(deadline());
}

Parking::Place::~Place() {
    if (parked_) parking_->places_.erase(at_);
}

void Parking::Place::leave(Wake why) {
    parking_->places_.erase(at_);
    parked_ = false;
    parking_->network_.ready().push(*this, why);
}

void Parking::Place::woken(Wake why) {
    why_ = why;
    handle_.resume();
}

bool Parking::wake_one() {
    if (places_.empty()) return false;
    places_.front()->leave(Wake::ready);
    return true;
}

void Parking::wake_all(Wake why) {
    while (!places_.empty()) places_.front()->leave(why);
}

/// Deadlines mostly come in order, so one sleep at a time is enough; only an earlier one starts it anew.
void Parking::expect(Instant deadline) {
    if (deadline >= next_) return;
    next_ = deadline;
    scope_.cancel();
    scope_.spawn(watch_deadlines());
}

Task<void> Parking::watch_deadlines() {
    while (next_ != never) {
        co_await network_.sleep_until(next_);
        const Instant now = network_.now();
        next_ = never;
        for (auto at = places_.begin(); at != places_.end();) {
            Place& place = **at++;
            if (place.deadline() <= now) {
                place.leave(Wake::timeout);
            } else {
                next_ = std::min(next_, place.deadline());
            }
        }
    }
}

}  // namespace plimsoll::net
