#include "control/background.h"

#include <pthread.h>

#include <utility>

namespace plimsoll::control {

Background::Background(net::Network& home) : home_(home), thread_([this] { serve(); }) {}

Background::~Background() {
    *alive_ = false;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    ready_.notify_one();
    thread_.join();
}

void Background::run(std::function<std::function<void()>()> work) {
    {
        const std::lock_guard lock(mutex_);
        work_.push_back(std::move(work));
    }
    ready_.notify_one();
}

std::size_t Background::waiting() const {
    const std::lock_guard lock(mutex_);
    return work_.size();
}

void Background::serve() {
    pthread_setname_np(pthread_self(), "plimsoll-replay");
    std::unique_lock lock(mutex_);
    while (true) {
        ready_.wait(lock, [this] { return stopping_ || !work_.empty(); });
        if (stopping_) return;
        const auto work = std::move(work_.front());
        work_.pop_front();
        lock.unlock();
        home_.post([alive = alive_, result = work()] {
            if (*alive) result();
        });
        lock.lock();
    }
}

}  // namespace plimsoll::control
