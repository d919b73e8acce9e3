// MemoryGauge: how much memory is used, of which limit. Of a cgroup it is the group's own count, since that is what the
// kernel kills by, less what the kernel takes back by itself (page cache).
// Thread rule: one thread.
// Source: Linux's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/time.h"
#include "control/memory.h"
#include "net/descriptor.h"

namespace plimsoll::control {

/// Where work is refused in a cgroup: 90 % of its limit, but 16 MiB below it in small ones, which is what workers can
/// take in some milliseconds, and nowhere below three quarters.
inline constexpr std::uint64_t group_limit(std::uint64_t hard) {
    constexpr std::uint64_t burst = 16 << 20;
    return hard - std::max(hard / 10, std::min(hard / 4, burst));
}

class MemoryGauge {
public:
    /// `root` is where cgroups are mounted, `own` the file that names ours.
    explicit MemoryGauge(std::string root = "/sys/fs/cgroup", std::string own = "/proc/self/cgroup");

    /// Of all limits (`written` by the operator, in bytes of resident memory, 0 = none; the group's, and those of the
    /// groups above it) the one that is nearest. Descriptors stay open; a hundred looks a second cost half a percent of
    /// a processor. Page cache is told apart, which is dear, from 70 % of a limit on, 20 times a second, and
    /// 500 times where what is no cache is above three quarters of it (30 us each).
    [[nodiscard]] MemoryReading read(std::uint64_t written, Instant now);

private:
    struct Group {
        net::Descriptor limit, usage, stat;
        bool version2 = false;
        std::uint64_t hard = 0;   ///< 0 = none
        std::uint64_t cache = 0;  ///< reclaimable, when `cache_at`
        Instant cache_at{INT64_MIN};
    };
    /// Finds our group and those above it anew if we have been moved, and reads limits: both may change under us.
    void refresh(Instant now);
    void open_groups();
    [[nodiscard]] MemoryReading read(Group& group, Instant now);
    [[nodiscard]] std::uint64_t resident() const;

    std::string root_;
    net::Descriptor own_, statm_;
    std::string own_text_;
    std::vector<Group> groups_;
    Instant refreshed_{INT64_MIN};
    std::uint64_t page_;
};

}  // namespace plimsoll::control
