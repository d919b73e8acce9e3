#include "control/background.h"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include <utility>

namespace plimsoll::control {

namespace {

/// Nice value of the thread: a replay takes what workers leave, and a thirtieth of a processor if they leave nothing,
/// so that the plan of a change that is to help an overloaded site takes seconds, not minutes.
constexpr int niceness = 15;
/// Of a piece of work that takes turns: two thirds of the time nobody has to share a processor with it.
constexpr int rest_per_run = 2;

/// What the thread that calls has had of a processor.
Duration processor_time() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

Background::Turns::Turns() : ran_(processor_time()) {}

void Background::Turns::rest() {
    const Duration now = processor_time();
    std::this_thread::sleep_for(rest_per_run * (now - ran_));
    ran_ = now;
}

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
