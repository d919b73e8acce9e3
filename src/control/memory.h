// Memory: when there is too little of it, new work is refused with a named cause instead of the process being killed.
// Thread rule: control's thread.
#pragma once

#include <cstdint>
#include <string>

namespace plimsoll::control {

/// Bytes that the allocator has handed out to this process. Not the resident size: freed memory that the allocator
/// keeps is no reason to refuse anybody.
/// Dear on a large heap: looks at every free block, with the allocator's locks held.
[[nodiscard]] std::uint64_t memory_in_use();
/// Resident size in bytes; a few microseconds.
[[nodiscard]] std::uint64_t resident_memory();
/// The smallest limit of the memory cgroup that this process is in and of those above it, in bytes; 0 = none. A unit's
/// MemoryMax= is one. Source: Linux's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
[[nodiscard]] std::uint64_t cgroup_memory_limit();
/// `root` is where cgroups are mounted, `own` the text of /proc/self/cgroup.
[[nodiscard]] std::uint64_t cgroup_memory_limit(const std::string& root, const std::string& own);

/// Whether to refuse new work. Starts above the limit and ends below 95 % of it, so that it does not flutter.
class MemoryGuard {
public:
    /// True when the answer has changed. A limit of 0 is none.
    bool look(std::uint64_t in_use, std::uint64_t limit);
    [[nodiscard]] bool shedding() const { return shedding_; }

private:
    bool shedding_ = false;
};

}  // namespace plimsoll::control
