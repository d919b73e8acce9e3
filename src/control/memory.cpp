#include "control/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <fstream>

namespace plimsoll::control {

std::uint64_t memory_in_use() {
    const struct mallinfo2 info = ::mallinfo2();
    return static_cast<std::uint64_t>(info.uordblks) + static_cast<std::uint64_t>(info.hblkhd);
}

std::uint64_t resident_memory() {
    std::ifstream in("/proc/self/statm");
    std::uint64_t size = 0, resident = 0;
    in >> size >> resident;
    return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

std::uint64_t cgroup_memory_limit() {
    // "max", or v1's nearly 2^63, mean none.
    constexpr std::uint64_t unlimited = std::uint64_t{1} << 60;
    for (const char* file : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
        std::ifstream in(file);
        std::uint64_t limit = 0;
        if (in >> limit && limit > 0 && limit < unlimited) return limit;
    }
    return 0;
}

bool MemoryGuard::look(std::uint64_t in_use, std::uint64_t limit) {
    const bool before = shedding_;
    if (limit == 0) {
        shedding_ = false;
    } else {
        shedding_ = shedding_ ? in_use > limit - limit / 20 : in_use > limit;
    }
    return shedding_ != before;
}

}  // namespace plimsoll::control
