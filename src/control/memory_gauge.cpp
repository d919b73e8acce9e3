#include "control/memory_gauge.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>
#include <sstream>
#include <string_view>

namespace plimsoll::control {
namespace {

constexpr Duration refresh_every = std::chrono::seconds(1);
/// Reading memory.stat makes the kernel add up its counters of all processors.
constexpr Duration cache_every = std::chrono::milliseconds(50);
/// Near the limit, where the kernel takes page cache back to make room for what grows: usage stays where it is, and
/// only a fresh count of the cache shows that nothing is left of it.
constexpr Duration cache_every_close = std::chrono::milliseconds(2);
constexpr std::uint64_t unlimited = std::uint64_t{1} << 60;  // "max", or v1's nearly 2^63, mean none

net::Descriptor open(const std::string& path) { return net::Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC)); }

/// The file from its beginning, as much as fits.
std::string_view contents(const net::Descriptor& file, std::span<char> into) {
    if (!file.open()) return {};
    const ssize_t n = ::pread(file.get(), into.data(), into.size(), 0);
    return {into.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::uint64_t number_in(const net::Descriptor& file) {
    std::array<char, 32> text;
    return number(contents(file, text));
}

/// The value behind a line's name; 0 if there is no such line.
std::uint64_t value_of(std::string_view lines, std::string_view name) {
    for (std::size_t at = 0; at < lines.size(); at = lines.find('\n', at), at += at != std::string_view::npos) {
        const std::string_view line = lines.substr(at);
        if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ' ') {
            return number(line.substr(name.size() + 1));
        }
    }
    return 0;
}

}  // namespace

MemoryGauge::MemoryGauge(std::string root, std::string own)
    : root_(std::move(root)),
      own_(open(own)),
      statm_(open("/proc/self/statm")),
      page_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE))) {}

void MemoryGauge::open_groups() {
    groups_.clear();
    std::istringstream lines(own_text_);
    for (std::string line; std::getline(lines, line);) {
        // hierarchy:controllers:path, where v2 is hierarchy 0 without controllers.
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool v2 = controllers == ",,";
        if (!v2 && controllers.find(",memory,") == std::string::npos) continue;
        const std::string base = root_ + (v2 ? "" : "/memory");
        // In a namespace of cgroups the path may not be there; those above it may.
        for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
            const std::string group = base + path;
            if (net::Descriptor limit = open(group + (v2 ? "/memory.max" : "/memory.limit_in_bytes")); limit.open()) {
                groups_.push_back({.limit = std::move(limit),
                                   .usage = open(group + (v2 ? "/memory.current" : "/memory.usage_in_bytes")),
                                   .stat = open(group + "/memory.stat"),
                                   .version2 = v2});
            }
            if (path.find('/') == std::string::npos) break;
        }
    }
}

void MemoryGauge::refresh(Instant now) {
    if (now < refreshed_ + refresh_every) return;
    refreshed_ = now;
    std::array<char, 8192> text;
    if (const std::string_view own = contents(own_, text); own != own_text_) {
        own_text_ = own;
        open_groups();
    }
    for (Group& group : groups_) {
        const std::uint64_t limit = number_in(group.limit);
        group.hard = limit < unlimited ? limit : 0;
    }
}

MemoryReading MemoryGauge::read(Group& group, Instant now) {
    MemoryReading out{.in_use = number_in(group.usage),
                      .limit = group_limit(group.hard),
                      .hard = group.hard,
                      .sockets = group.version2};
    if (out.in_use <= out.limit / 10 * 7) return out;  // even with its page cache
    const bool close = out.in_use - std::min(out.in_use, group.cache) > out.limit / 4 * 3;
    if (now >= group.cache_at + (close ? cache_every_close : cache_every)) {
        std::array<char, 8192> text;
        const std::string_view lines = contents(group.stat, text);
        // Both lists: the kernel takes from either before it kills. Version 1 has its own counts without those below.
        const std::string_view prefix = group.version2 ? "" : "total_";
        group.cache = value_of(lines, std::string(prefix) + "inactive_file") +
                      value_of(lines, std::string(prefix) + "active_file");
        group.cache_at = now;
    }
    out.in_use -= std::min(out.in_use, group.cache);
    return out;
}

std::uint64_t MemoryGauge::resident() const {
    std::array<char, 128> text;
    const std::string_view pages = contents(statm_, text);
    const std::size_t blank = pages.find(' ');
    return blank == std::string_view::npos ? 0 : number(pages.substr(blank + 1)) * page_;
}

MemoryReading MemoryGauge::read(std::uint64_t written, Instant now) {
    refresh(now);
    const auto nearer = [](const MemoryReading& a, const MemoryReading& b) {
        if (a.limit == 0 || b.limit == 0) return b.limit == 0;
        return static_cast<double>(a.in_use) / static_cast<double>(a.limit) >
               static_cast<double>(b.in_use) / static_cast<double>(b.limit);
    };
    MemoryReading out;
    if (written != 0) out = {.in_use = resident(), .limit = written};
    for (Group& group : groups_) {
        if (group.hard == 0) continue;
        const MemoryReading one = read(group, now);
        if (!nearer(out, one)) out = one;
    }
    return out;
}

}  // namespace plimsoll::control
