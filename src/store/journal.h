// The Journal: our durable, append-only history. Revisions, rollouts, incidents, notifications are all entries in it;
// everything else (active revision, last known good, a postmortem) is a fold over them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace plimsoll::store {

struct Entry {
    std::uint64_t sequence = 0;  ///< 1, 2, 3, ... without gaps
    Timestamp at;                ///< wall clock when it was written
    std::string kind;            ///< closed list in docs/formats/journal.md, e.g. "revision", "rollout", "incident"
    std::string subject;         ///< what it is about: "r42", "INC-17"; may be empty
    std::string body;            ///< JSON object
};

/// Thread rule: used by one thread (control's). Two implementations ship: SQLite and memory.
class Journal {
public:
    virtual ~Journal() = default;
    /// Durable (fsync'd) when it returns. Errors: io (disk full, read-only), in which case nothing was written.
    virtual Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                         std::string_view body) = 0;
    /// All or nothing, one fsync. Returns the last sequence number.
    virtual Result<std::uint64_t> append_all(std::vector<Entry> entries) = 0;
    /// Calls `visit` for each entry with sequence > `after`, ascending, until it returns false.
    virtual Result<void> read(std::uint64_t after, const std::function<bool(const Entry&)>& visit) = 0;
};

[[nodiscard]] std::unique_ptr<Journal> memory_journal();
/// Opens or creates. WAL, synchronous=FULL, integrity-checked on open, schema version checked. A damaged file is
/// refused by name with what to do, never silently replaced. Only one process may hold it (errors: conflict).
[[nodiscard]] Result<std::unique_ptr<Journal>> sqlite_journal(const std::string& path);

}  // namespace plimsoll::store
