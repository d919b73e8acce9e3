#include "control/memory_watch.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

namespace plimsoll::control {
namespace {

constexpr auto look_for_limit_every = std::chrono::seconds(1);

Instant monotonic() {
    return Instant{std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()).count()};
}

/// Processor time of this thread: what a busy machine makes us wait is no cost of ours.
Duration thread_time() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

/// This thread wants a processor seldom, for microseconds, and soon: Linux 6.12 and later put whoever asks for short
/// turns before those with long ones (sched_setattr(2)); older ones take no notice.
void ask_for_short_turns() {
    // struct sched_attr, first version; the kernel's header and glibc's do not go together.
    const struct {
        std::uint32_t size = 48, policy = SCHED_OTHER;
        std::uint64_t flags = 0;
        std::int32_t nice = 0;
        std::uint32_t priority = 0;
        std::uint64_t runtime = 100'000, deadline = 0, period = 0;  // ns
    } wanted;
    static_assert(sizeof wanted == 48);
    (void)::syscall(SYS_sched_setattr, 0, &wanted, 0);
}

}  // namespace

MemoryWatch::MemoryWatch(Fleet& fleet, std::uint64_t written)
    : fleet_(fleet),
      written_(written),
      trimmer_([this](const std::stop_token& stop) { trim(stop); }),
      thread_([this](const std::stop_token& stop) { run(stop); }) {
    pthread_setname_np(trimmer_.native_handle(), "plimsoll-trim");
    pthread_setname_np(thread_.native_handle(), "plimsoll-memory");
}

MemoryWatch::~MemoryWatch() = default;

MemoryWatch::Figures MemoryWatch::figures() const {
    const proxy::ShedCounts& counts = fleet_.shed_counts();
    return {.in_use = in_use_,
            .limit = limit_,
            .shedding = shedding_,
            .shortages = shortages_,
            .connections_refused = counts.connections_refused,
            .requests_refused = counts.requests_refused,
            .connections_ended = counts.connections_ended};
}

void MemoryWatch::run(const std::stop_token& stop) {
    ask_for_short_turns();
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        look();
        const auto pause = limit_ != 0 ? guard_.next_look() : Duration(look_for_limit_every);
        (void)wake_.wait_for(lock, stop, pause, [] { return false; });
    }
}

void MemoryWatch::look() {
    const Instant now = monotonic();
    if (relief_ != nullptr && relief_->missing == 0) {
        guard_.relieved(relief_->held, now);
        relief_.reset();
    }
    {
        const std::lock_guard lock(trim_.mutex);
        if (std::exchange(trim_.done, false)) {
            trim_.wanted = false;
            guard_.trimmed(trim_.began, trim_.cost);
        }
    }
    const MemoryReading reading = gauge_.read(written_, now);
    const MemoryGuard::Step step = guard_.look(reading, now);
    in_use_ = reading.in_use;
    limit_ = reading.limit == 0 ? 0 : guard_.level();
    fleet_.allow(reading.limit == 0 ? UINT64_MAX : guard_.level() - std::min(guard_.level(), reading.in_use));
    if (step.changed) {
        shedding_ = guard_.shedding();
        fleet_.shed(guard_.shedding());
        tell(reading);
    }
    if (step.end_bytes > 0) relief_ = fleet_.relieve(step.end_bytes, reading.sockets);
    if (step.trim) {
        const std::lock_guard lock(trim_.mutex);
        if (!std::exchange(trim_.wanted, true)) trim_.began = now;
        trim_.wake.notify_one();
    }
}

void MemoryWatch::trim(const std::stop_token& stop) {
    std::unique_lock lock(trim_.mutex);
    while (trim_.wake.wait(lock, stop, [this] { return trim_.wanted && !trim_.done; })) {
        lock.unlock();
        const Duration before = thread_time();
        (void)::malloc_trim(0);
        const Duration cost = thread_time() - before;
        lock.lock();
        trim_.cost = cost;
        trim_.done = true;
    }
}

void MemoryWatch::tell(const MemoryReading& reading) {
    const Figures all = figures();
    if (guard_.shedding()) {
        ++shortages_;
        before_ = all;
        spdlog::error("memory is short: {} MiB in use, {} MiB allowed; new connections and requests are refused",
                      reading.in_use >> 20, guard_.level() >> 20);
        return;
    }
    spdlog::info(
        "memory is enough again: {} MiB in use, {} MiB allowed; meanwhile {} connections and {} requests refused, "
        "{} connections ended",
        reading.in_use >> 20, guard_.level() >> 20, all.connections_refused - before_.connections_refused,
        all.requests_refused - before_.requests_refused, all.connections_ended - before_.connections_ended);
    if (guard_.floor() != 0)
        spdlog::warn("no connection holds the memory that is in use; work is taken up to {} MiB", guard_.level() >> 20);
}

}  // namespace plimsoll::control
