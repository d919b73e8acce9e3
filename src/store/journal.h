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

/// Largest body of an entry: a config of 10,000 endpoints with its plots fits; a runaway writer does not fill the disk
/// at once.
inline constexpr std::size_t max_body_bytes = 8u << 20;
/// Longest kind and subject, bytes.
inline constexpr std::size_t max_name_bytes = 128;

/// Thread rule: used by one thread (control's). Two implementations ship: SQLite and memory.
class Journal {
public:
    virtual ~Journal() = default;
    /// Durable (fsync'd) when it returns; gives the entry's sequence. Errors: io (disk full, read-only), in which case
    /// nothing was written and a later append may succeed; invalid (no kind, body is not a JSON object); limit.
    virtual Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                         std::string_view body) = 0;
    /// All or nothing, one fsync; `sequence` of the entries is ignored. Returns the journal's last sequence number, 0
    /// when it is empty. Errors as append.
    virtual Result<std::uint64_t> append_all(std::vector<Entry> entries) = 0;
    /// Calls `visit` for each entry with sequence > `after`, ascending, until it returns false. `visit` may append.
    /// Errors: io, or invalid when an entry is not what was written (then the ones before it were visited).
    virtual Result<void> read(std::uint64_t after, const std::function<bool(const Entry&)>& visit) = 0;
};

[[nodiscard]] std::unique_ptr<Journal> memory_journal();
/// Opens or creates. WAL, synchronous=FULL, integrity-checked on open, schema version checked. A damaged file is
/// refused by name with what to do, never silently replaced or changed. Only one process may hold it. Beside `path` lie
/// `path`-wal, `path`-shm (SQLite's) and `path`.lock (who holds it). Reads the whole journal once: about 0.3 s for 100
/// MB. Errors: conflict (held, with the process that does), invalid (damaged, foreign, of a newer version), io.
[[nodiscard]] Result<std::unique_ptr<Journal>> sqlite_journal(const std::string& path);

}  // namespace plimsoll::store
