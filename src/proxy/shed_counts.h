// Whether memory is short, and what that has cost clients; of all workers. Written only when it is.
#pragma once

#include <atomic>
#include <cstdint>

namespace plimsoll::proxy {

struct ShedCounts {
    /// Memory is short. Said here too, since a worker may be a long turn away from its mailbox.
    std::atomic<bool> shedding = false;
    /// What each worker may take on until memory is looked at again, bytes: a thousand connections come sooner than
    /// the next look. And the number of the last look.
    std::atomic<std::uint64_t> allowance = UINT64_MAX;
    std::atomic<std::uint32_t> looks = 0;
    std::atomic<std::uint64_t> connections_refused = 0;  ///< reset when they were accepted
    std::atomic<std::uint64_t> requests_refused = 0;     ///< answered 503 `overloaded`
    std::atomic<std::uint64_t> connections_ended = 0;    ///< with whatever was under way on them
};

}  // namespace plimsoll::proxy
