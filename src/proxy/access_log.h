// The access log: a line a request, as JSON or for people, built into memory and written in batches; never waited for.
// Formats: docs/formats/access-log.md.
// Thread rule: one worker. Several workers append to one file; each batch is whole lines in one write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/outcome.h"
#include "base/time.h"
#include "recording/recording.h"
#include "snapshot/snapshot.h"

namespace plimsoll::proxy {

/// What an outcome's ids are called, in the revision that served it; null = none. A tunnel has let go of its revision
/// and has names only.
struct Served {
    const snapshot::Route* route = nullptr;
    const snapshot::Pool* pool = nullptr;
    std::string_view route_name{}, pool_name{}, endpoint_name{};
    std::span<const Duration> attempts_began{};   ///< from the request's start; may be empty
    const recording::Answers* answers = nullptr;  ///< for the recording; null = nothing was asked
    [[nodiscard]] std::string_view route_text() const { return route != nullptr ? route->name : route_name; }
    [[nodiscard]] std::string_view pool_text() const { return pool != nullptr ? pool->name : pool_name; }
    /// O(endpoints of the pool).
    [[nodiscard]] std::string_view endpoint_text(EndpointId id) const;
};
/// One line of JSON, with its newline, appended to `out`.
void append_log_line(std::string& out, const Outcome& outcome, Timestamp started, const Served& served);
/// The same for people: timers, cause and names, blank-separated; texts of clients are quoted and escaped.
void append_text_line(std::string& out, const Outcome& outcome, Timestamp started, const Served& served);
/// `text` as a JSON string with quotes. Bytes that are not ASCII are escaped one by one: a log must stay readable
/// whatever a client sends.
void append_json_string(std::string& out, std::string_view text);

class AccessLog {
public:
    explicit AccessLog(std::function<void(std::string_view)> sink) : sink_(std::move(sink)) {}
    ~AccessLog();
    AccessLog(const AccessLog&) = delete;
    AccessLog& operator=(const AccessLog&) = delete;

    /// A path, "-" for standard output, empty = off. The same path again changes nothing. Gives a sentence if the file
    /// cannot be opened (then lines are dropped and counted), else an empty one.
    /// Lines are in `format` from now on.
    std::string open(const std::string& path, config::LogFormat format = config::LogFormat::json);
    /// Opens the same path anew; if that fails, the file that is open is written on.
    std::string reopen();
    /// Whether open() would succeed, as it would say it. Makes the file if it is not there.
    [[nodiscard]] static std::string try_open(const std::string& path);
    [[nodiscard]] bool on() const { return sink_ != nullptr || !path_.empty(); }

    /// One line about a request that began at `started`.
    void add(const Outcome& outcome, Timestamp started, const Served& served);
    /// Adds a line as it is, with its newline.
    void add(std::string_view line);
    /// Writes what is buffered, as far as the file takes it without waiting.
    void flush();
    /// Lines lost since the last call: the disk or the reader of standard output did not keep up.
    [[nodiscard]] std::uint64_t take_dropped() { return std::exchange(dropped_, 0); }

private:
    void added();
    void drop(std::size_t bytes);
    void close();
    static constexpr std::size_t batch = 32 * 1024;       ///< written when this much has come together
    static constexpr std::size_t most = 4 * 1024 * 1024;  ///< held when the file takes nothing; beyond, lines are lost
    std::function<void(std::string_view)> sink_;
    std::string path_;
    config::LogFormat format_ = config::LogFormat::json;
    int fd_ = -1;
    bool owned_ = false;
    bool regular_ = false;
    std::string lines_;
    std::uint64_t dropped_ = 0;
};

}  // namespace plimsoll::proxy
