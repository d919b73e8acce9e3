#include "control/memory.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

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
    std::ifstream in("/proc/self/cgroup");
    return cgroup_memory_limit("/sys/fs/cgroup", {std::istreambuf_iterator<char>(in), {}});
}

std::uint64_t cgroup_memory_limit(const std::string& root, const std::string& own) {
    constexpr std::uint64_t unlimited = std::uint64_t{1} << 60;  // "max", or v1's nearly 2^63, mean none
    std::uint64_t smallest = 0;
    std::istringstream lines(own);
    for (std::string line; std::getline(lines, line);) {
        // hierarchy:controllers:path, where v2 is hierarchy 0 without controllers.
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool v2 = controllers == ",,";
        if (!v2 && controllers.find(",memory,") == std::string::npos) continue;
        const std::string base = root + (v2 ? "" : "/memory");
        // In a namespace of cgroups the path may not be there; those above it may.
        for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
            std::ifstream in(base + path + (v2 ? "/memory.max" : "/memory.limit_in_bytes"));
            std::uint64_t limit = 0;
            if (in >> limit && limit > 0 && limit < unlimited)
                smallest = smallest == 0 ? limit : std::min(smallest, limit);
            if (path.find('/') == std::string::npos) break;
        }
    }
    return smallest;
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
