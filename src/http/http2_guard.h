// Http2Guard: counts the frames that cost their sender nothing and us something, and says when it is enough. Told the
// time; no I/O, no thread rule.
// Source: CVE-2019-9511 to -9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/time.h"
#include "http/http2.h"

namespace plimsoll::http {

/// A token bucket: full at first, refilled by time up to its burst.
class Http2Allowance {
public:
    explicit Http2Allowance(Http2Rate rate)
        : left_(std::int64_t{rate.burst} * one), most_(left_), per_second_(rate.per_second) {}

    /// Uses one up; false when there is none.
    bool take(Instant now);
    /// Adds, up to the burst.
    void give(std::uint32_t more);

private:
    static constexpr std::int64_t one = 1'000'000'000;  // so that nanoseconds times a rate count in these units
    std::int64_t left_, most_;
    std::int64_t per_second_;
    Instant last_{};
};

/// A frame's header as received (RFC 9113 4.1).
struct Http2FrameHead {
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::size_t length = 0;
};

class Http2Guard {
public:
    explicit Http2Guard(const Http2Limits& limits);

    /// Each frame as its header arrives. The limit that it crosses, or none.
    [[nodiscard]] Http2Flood frame(const Http2FrameHead& head, Instant now);
    /// DATA that was nothing but padding.
    [[nodiscard]] Http2Flood empty_data(Instant now);
    /// A stream error that the peer made us send.
    [[nodiscard]] Http2Flood reset_sent(Instant now);
    /// We have sent DATA: it is answered with updates of two windows.
    void data_sent() { window_updates_.give(updates_per_data); }
    /// A head's size so far, all fields counted, those too that were not kept.
    [[nodiscard]] Http2Flood section(std::size_t bytes, std::size_t fields) const;

private:
    /// Peers update in small steps: for each of our frames both windows, some several times.
    static constexpr std::uint32_t updates_per_data = 10;
    /// A head over its limit is answered; one over this many times the limit is an attack.
    static constexpr std::size_t patience = 4;

    HeadLimits head_;
    std::uint32_t most_continuations_;
    std::uint32_t continuations_ = 0;  ///< of the section in progress
    Http2Allowance resets_received_, resets_sent_, settings_, pings_, priorities_, window_updates_, empty_data_,
        glitches_;
};

}  // namespace plimsoll::http
