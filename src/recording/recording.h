// Recording: traffic as it happened, in a form that can be replayed and forecast from. A codec over bytes; who keeps
// the files is control's (rolling) or cli's (import) business. Format: docs/formats/recording.md.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/finding.h"
#include "base/outcome.h"
#include "base/result.h"
#include "base/time.h"

namespace plimsoll::recording {

/// Longest string kept in a record, bytes: paths beyond it are cut, so that one client cannot fill a recording.
inline constexpr std::size_t max_string_bytes = 512;
/// A block takes no more than this; its writer then wants to be finished. Bounds what damage to one block can cost.
inline constexpr std::size_t max_block_records = 65'536;
inline constexpr std::size_t max_block_bytes = 8u << 20;
/// Conditions that a record has answers to, at most: what fits a string of a block.
inline constexpr std::size_t max_asked = max_string_bytes / 8;
/// Bad lines of an import that are kept as findings; the rest are only counted.
inline constexpr std::size_t max_import_findings = 20;

/// What conditions on headers and query parameters were found to be when the request came, instead of their values.
struct Answers {
    /// Digests of the conditions that were asked, at most max_asked; null = none was. Shared by many records.
    std::shared_ptr<const std::vector<std::uint64_t>> asked{};
    std::uint64_t held = 0;  ///< bit i: (*asked)[i] held; 0 beyond them
    [[nodiscard]] std::span<const std::uint64_t> digests() const {
        return asked == nullptr ? std::span<const std::uint64_t>{} : std::span(*asked);
    }
    /// By value: no matter who shares what.
    friend bool operator==(const Answers& a, const Answers& b) {
        return a.held == b.held && std::ranges::equal(a.digests(), b.digests());
    }
};

/// One request as recorded. What an imported log does not know is 0 or empty. A record with Cause::bad_request was
/// refused before routing: it has no method and path, and replay and forecast leave it out.
struct Record {
    Duration at{};                   ///< since the start of the recording
    std::uint64_t client_key = 0;    ///< keyed hash of the client address
    std::string host, path, method;  ///< path without the query; cut at 512 bytes
    std::string endpoint;            ///< name of the endpoint that answered
    std::uint32_t request_head_bytes = 0, response_head_bytes = 0;
    std::uint64_t request_body_bytes = 0, response_body_bytes = 0;
    std::uint16_t status = 0;
    std::uint8_t attempts = 1;
    Cause cause = Cause::none;
    Duration service{};  ///< last attempt: start -> head of the answer; 0 = unknown
    Duration total{};
    std::string listener{};  ///< name of the listener it came in at; empty = unknown
    Answers answers{};
    friend bool operator==(const Record&, const Record&) = default;
};

/// Appends records to a byte buffer, in the newest format. Strings that repeat are written once per block; a block
/// stands alone, so a rolling recording can drop its oldest blocks and a damaged block does not spoil the others.
class BlockWriter {
public:
    /// `base` = wall clock of the block's start; Record.at of what is added counts from it.
    explicit BlockWriter(Timestamp base);
    /// False, and nothing is added, when the block is full or `at` is more than ten years from the base. Amortised
    /// O(length of the strings); strings are cut at max_string_bytes.
    bool add(const Record& record);
    [[nodiscard]] std::size_t records() const { return records_; }
    /// Bytes of the block so far, without its header.
    [[nodiscard]] std::size_t bytes() const { return body_.size(); }
    /// The block with its header and checksum; the writer is empty afterwards and starts anew at `next_base`.
    [[nodiscard]] std::string finish(Timestamp next_base);

private:
    void put_string(std::string_view text);
    void put_answers(const Answers& answers);

    struct Hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
    };
    Timestamp base_;
    std::int64_t previous_at_ = 0;
    std::size_t records_ = 0;
    std::string body_;
    std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>> strings_;  ///< looked up, never iterated
    std::shared_ptr<const std::vector<std::uint64_t>> asked_;                        ///< of the record before
    std::string asked_text_;                                                         ///< the same as bytes
};

/// What the head of a block says.
struct BlockHead {
    Timestamp base;           ///< wall clock; its records are near it
    std::size_t records = 0;  ///< at most max_block_records
    std::size_t body = 0;     ///< bytes between this head and the next
};
inline constexpr std::size_t block_head_bytes = 40;
/// The head that these bytes begin with; nullopt when there is none, or a damaged one.
[[nodiscard]] std::optional<BlockHead> block_head(std::string_view bytes);

/// A recording in memory, in order of time: all of it, or a sample.
struct Recording {
    Timestamp start;
    std::vector<Record> records;
    std::size_t every = 1;  ///< one record stands for so many requests
    std::size_t damaged_blocks = 0;
    [[nodiscard]] Duration span() const { return records.empty() ? Duration{} : records.back().at; }
};
/// Reads the blocks of one or more files laid end to end, of any version and in any order of time. Damaged blocks are
/// counted and skipped. No bytes are an empty recording. Errors: invalid when there are bytes and not one intact block
/// among them.
/// With `every` > 1, one record of each `every` is kept, by dice, so that a pattern in the traffic is not taken for the
/// traffic. The others are checked, but no record is made of them.
[[nodiscard]] Result<Recording> read(std::string_view bytes, std::size_t every = 1);
/// Blocks of at most 4,096 records. Records must be in order of time, `at` >= 0; `read` gives the same back.
[[nodiscard]] std::string write(const Recording& recording);

/// Highest mean request rate over any window of this length, requests/s. 0 when empty. The window is shortened to the
/// recording's own span (but not below a second), so that a short recording does not look idle.
[[nodiscard]] double peak_rate(const Recording& recording, Duration window = std::chrono::seconds(10));
/// The same from the heads of blocks, in order of time, as if all requests of a block came at its base: for blocks
/// that are much shorter than the window.
[[nodiscard]] double peak_rate(std::span<const BlockHead> blocks, Duration window = std::chrono::seconds(10));

/// What came of an import.
struct Imported {
    Recording recording;
    std::size_t lines = 0;         ///< not counting empty ones
    std::size_t bad_lines = 0;     ///< not understood, left out
    std::size_t bad_requests = 0;  ///< understood lines about something that was no request ("-", TLS bytes); kept
    Findings findings;             ///< the first max_import_findings bad lines
};
/// Imports an Apache/NGINX access log in combined format. Bad lines are findings (at most 20 are kept, all are
/// counted). Timestamps have whole seconds: requests of one second are spread evenly over it, in order. Clients become
/// keyed_hash(address text, key). Referrer and user agent are read and dropped.
[[nodiscard]] Imported import_combined(std::string_view text, std::string file, std::uint64_t key);

}  // namespace plimsoll::recording
