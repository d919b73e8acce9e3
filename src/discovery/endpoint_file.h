// EndpointFile: a list of endpoints in a file that somebody else writes, at any time, perhaps not at once.
// Thread rule: one thread; look() reads the disk.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "discovery/answer.h"

namespace plimsoll::discovery {

/// Largest file that is read: max_found endpoints with all their keys have about 2 MiB.
inline constexpr std::size_t max_file_bytes = 4u << 20;
/// From one look() to the next.
inline constexpr Duration look_every = std::chrono::seconds(1);
/// A file that has been left alone for this long when it is first looked at says what it will say at a second look and
/// a third: as long as it takes until a removal is believed that had to be confirmed.
inline constexpr Duration settled_after = 2 * look_every;

class EndpointFile {
public:
    explicit EndpointFile(std::string path) : path_(std::move(path)) {}

    /// What the file says, if there is something new to say; nullopt: nothing changed since the last look, or it is
    /// changing at this moment. A file that was written in place is believed when two looks in a row find the same
    /// (size, time, inode), so that a half-written one is not taken for a whole one; the first look of all believes at
    /// once, and calls its answer settled if the file is older than settled_after by `wall`, the clock that files are
    /// stamped with. `again` = say it even if it is old. Errors (side us): io (cannot be read), invalid (every finding,
    /// with line), limit.
    [[nodiscard]] std::optional<Result<Answer>> look(Timestamp wall, bool again = false);

private:
    struct Stamp {
        std::uint64_t inode = 0, size = 0;
        std::int64_t modified_ns = 0;
        friend bool operator==(const Stamp&, const Stamp&) = default;
    };
    [[nodiscard]] Result<Stamp> stamp() const;
    [[nodiscard]] Result<Answer> read() const;

    std::string path_;
    std::optional<Stamp> seen_;   ///< at the last look
    std::optional<Stamp> taken_;  ///< of what was said last
    bool missing_ = false;
    bool unreadable_ = false;
    bool looked_ = false;
};

}  // namespace plimsoll::discovery
