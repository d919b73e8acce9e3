// Recorder: the rolling recording on disk. Takes what workers recorded, writes a block a second into segment files,
// forgets what is older than `keep` or above `max_bytes`. Losing it costs forecasts, never traffic: every failure is
// counted and said, none is fatal.
// Thread rule: control's thread; load() may run on any thread, it only reads files.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "config/config.h"
#include "proxy/worker.h"
#include "recording/recording.h"

namespace plimsoll::control {

class Recorder {
public:
    /// `directory` is made if need be; segments found there are kept (a restart does not forget yesterday's peak).
    Recorder(std::string directory, config::RecordingSettings settings);

    void set(config::RecordingSettings settings) { settings_ = settings; }

    using Timed = proxy::Recorded;
    /// Requests of the last moments, in any order. `now` is the wall clock.
    void add(std::vector<Timed> records, Timestamp now);
    /// Writes what is buffered, e.g. before a forecast reads the files.
    void flush(Timestamp now);

    /// Paths of the segments, oldest first: what load() takes.
    [[nodiscard]] std::vector<std::string> segments() const;
    [[nodiscard]] std::uint64_t bytes() const;
    [[nodiscard]] std::uint64_t failures() const { return failures_; }
    [[nodiscard]] const std::string& last_failure() const { return last_failure_; }

private:
    struct Segment {
        Timestamp start;
        std::string path;
        std::uint64_t bytes = 0;
    };
    void write_block(Timestamp now);
    void forget(Timestamp now);
    void failed(std::string why);

    std::string directory_;
    config::RecordingSettings settings_;
    std::vector<Timed> buffer_;
    Timestamp block_start_{};
    std::deque<Segment> segments_;
    std::uint64_t failures_ = 0;
    std::string last_failure_;
};

/// How much of a recording is enough.
struct Enough {
    std::size_t looked_at = 500'000;  ///< the newest so many, and what shares a megabyte with them
    std::size_t most = 50'000;        ///< of these, evenly
};
/// Reads segments, newest first, and keeps a sample; in order of time. Nothing recorded: an empty recording. About
/// 40 ms for as much as is enough (control_bench). `between` is called before each piece of about a millisecond.
[[nodiscard]] recording::Recording load(const std::vector<std::string>& segments, const Enough& enough = {},
                                        const std::function<void()>& between = {});
/// recording::peak_rate of all segments. Reads 40 bytes a block.
[[nodiscard]] double peak_rate(const std::vector<std::string>& segments);

}  // namespace plimsoll::control
