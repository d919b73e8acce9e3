#include "control/background.h"

#include <pthread.h>
#include <sys/resource.h>

#include <utility>

namespace plimsoll::control {

namespace {

/// Nice value of the thread: a replay takes what workers leave, and a quarter of a processor if they leave nothing.
constexpr int niceness = 5;

}  // namespace

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
    (void)::setpriority(PRIO_PROCESS, 0, niceness);  // of this thread, by Linux's reading; without it replays go on too
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
