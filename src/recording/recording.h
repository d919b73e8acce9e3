// Recording: traffic as it happened, in a form that can be replayed and forecast from. A codec over bytes; who keeps
// the files is control's (rolling) or cli's (import) business. Format: docs/formats/recording.md.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/finding.h"
#include "base/outcome.h"
#include "base/result.h"
#include "base/time.h"

namespace plimsoll::recording {

/// One request as recorded. What an imported log does not know is 0 or empty.
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
    friend bool operator==(const Record&, const Record&) = default;
};

/// Appends records to a byte buffer. Strings that repeat are written once per block; a block stands alone, so a
/// rolling recording can drop its oldest blocks and a damaged block does not spoil the others.
class BlockWriter {
public:
    /// `base` = wall clock of the block's start; Record.at of what is added counts from it.
    explicit BlockWriter(Timestamp base);
    void add(const Record& record);
    [[nodiscard]] std::size_t records() const { return records_; }
    /// The block with its header and checksum; the writer is empty afterwards and starts anew at `next_base`.
    [[nodiscard]] std::string finish(Timestamp next_base);

private:
    Timestamp base_;
    std::size_t records_ = 0;
    std::string body_;
    std::vector<std::string> strings_;
};

/// A whole recording in memory, in order of time.
struct Recording {
    Timestamp start;
    std::vector<Record> records;
    std::size_t damaged_blocks = 0;
    [[nodiscard]] Duration span() const { return records.empty() ? Duration{} : records.back().at; }
};
/// Reads the blocks of one or more files laid end to end. Damaged blocks are counted and skipped.
[[nodiscard]] Result<Recording> read(std::string_view bytes);
[[nodiscard]] std::string write(const Recording& recording);

/// Highest mean request rate over any window of this length, requests/s. 0 when empty.
[[nodiscard]] double peak_rate(const Recording& recording, Duration window = std::chrono::seconds(10));

/// Imports an Apache/NGINX access log in combined format. Bad lines are findings (at most 20 are kept, all are
/// counted). Timestamps have whole seconds: requests of one second are spread evenly over it, in order.
struct Imported {
    Recording recording;
    std::size_t lines = 0, bad_lines = 0;
    Findings findings;
};
[[nodiscard]] Imported import_combined(std::string_view text, std::string file, std::uint64_t key);

}  // namespace plimsoll::recording
