#include "net/ready.h"

#include <cstddef>

namespace plimsoll::net {

void Waiter::disarm() {
    if (slot_ != nullptr) {
        *slot_ = nullptr;
        slot_ = nullptr;
    }
    if (queue_ != nullptr) queue_->unlink(*this);
}

ReadyQueue::~ReadyQueue() {
    while (first_ != nullptr) unlink(*first_);
}

void ReadyQueue::push(Waiter& waiter, Wake why) {
    if (waiter.queue_ != nullptr) return;
    if (waiter.slot_ != nullptr) {
        *waiter.slot_ = nullptr;
        waiter.slot_ = nullptr;
    }
    waiter.queue_ = this;
    waiter.why_ = why;
    waiter.previous_ = last_;
    waiter.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &waiter;
    last_ = &waiter;
}

void ReadyQueue::unlink(Waiter& waiter) {
    (waiter.previous_ != nullptr ? waiter.previous_->next_ : first_) = waiter.next_;
    (waiter.next_ != nullptr ? waiter.next_->previous_ : last_) = waiter.previous_;
    waiter.previous_ = waiter.next_ = nullptr;
    waiter.queue_ = nullptr;
}

std::size_t ReadyQueue::run(std::size_t most) {
    // Those who are queued meanwhile wait for the next turn: a few fast peers that are always ready must not keep the
    // loop from looking at all the others.
    std::size_t queued = 0;
    for (const Waiter* waiter = first_; waiter != nullptr && queued < most; waiter = waiter->next_) ++queued;
    std::size_t woken = 0;
    for (; woken < queued && first_ != nullptr; ++woken) {
        Waiter& waiter = *first_;
        unlink(waiter);
        waiter.woken(waiter.why_);
    }
    return woken;
}

}  // namespace plimsoll::net
