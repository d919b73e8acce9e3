// MemoryWatch: looks at memory a hundred times a second while there is a limit, a thousand times near it, and does what
// MemoryGuard says: workers refuse, end connections, the allocator gives back. A thread of its own, since a disk that
// stalls control must not stall this: a hundred fast clients fill what is left in a tenth of a second.
// Thread rule: made, asked and destroyed on control's thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "control/fleet.h"
#include "control/memory.h"
#include "control/memory_gauge.h"

namespace plimsoll::control {

class MemoryWatch {
public:
    /// `fleet` outlives this. `written`: see set_written.
    MemoryWatch(Fleet& fleet, std::uint64_t written);
    ~MemoryWatch();
    MemoryWatch(const MemoryWatch&) = delete;
    MemoryWatch& operator=(const MemoryWatch&) = delete;

    /// `max_memory` of the active revision, bytes; 0 = none but the cgroup's.
    void set_written(std::uint64_t bytes) { written_ = bytes; }

    struct Figures {
        std::uint64_t in_use = 0, limit = 0;  ///< bytes; of the last look; limit 0 = there is none
        bool shedding = false;
        std::uint64_t shortages = 0;
        std::uint64_t connections_refused = 0, requests_refused = 0, connections_ended = 0;
    };
    [[nodiscard]] Figures figures() const;

private:
    void run(const std::stop_token& stop);
    void look();
    void trim(const std::stop_token& stop);
    void tell(const MemoryReading& reading);

    Fleet& fleet_;
    std::atomic<std::uint64_t> written_;
    std::atomic<std::uint64_t> in_use_ = 0, limit_ = 0, shortages_ = 0;
    std::atomic<bool> shedding_ = false;

    // Of the watch's thread.
    MemoryGauge gauge_;
    MemoryGuard guard_;
    std::shared_ptr<const Fleet::Relief> relief_;  ///< the order that is under way
    Figures before_;                               ///< counts when memory became short

    /// Trimming has a thread of its own: it takes as long as the heap is large, and looking must go on.
    struct Trim {
        std::mutex mutex;
        std::condition_variable_any wake;
        bool wanted = false;  ///< guarded by `mutex`, as what follows
        bool done = false;
        Instant began;
        Duration cost{};
    };
    Trim trim_;
    std::jthread trimmer_;

    std::mutex mutex_;  ///< for `wake_`
    std::condition_variable_any wake_;
    std::jthread thread_;  ///< last: uses all of the above
};

}  // namespace plimsoll::control
