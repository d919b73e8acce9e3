// Time is an argument. Instant orders events and measures; Timestamp is for records that people read.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace plimsoll {

using Duration = std::chrono::nanoseconds;

/// A point on one machine's monotonic clock (or a simulator's), nanoseconds since an arbitrary start.
struct Instant {
    std::int64_t ns = 0;

    friend constexpr auto operator<=>(Instant, Instant) = default;
    friend constexpr Instant operator+(Instant at, Duration d) { return {at.ns + d.count()}; }
    friend constexpr Instant operator-(Instant at, Duration d) { return {at.ns - d.count()}; }
    friend constexpr Duration operator-(Instant a, Instant b) { return Duration{a.ns - b.ns}; }
};

/// Later than every instant that will be reached.
inline constexpr Instant never{INT64_MAX};

/// Wall clock, nanoseconds since 1970-01-01T00:00:00Z. Only ever written down; decisions use Instant.
struct Timestamp {
    std::int64_t ns = 0;
    friend constexpr auto operator<=>(Timestamp, Timestamp) = default;
    friend constexpr Timestamp operator+(Timestamp at, Duration d) { return {at.ns + d.count()}; }
    friend constexpr Duration operator-(Timestamp a, Timestamp b) { return Duration{a.ns - b.ns}; }
};

[[nodiscard]] constexpr double seconds(Duration d) { return static_cast<double>(d.count()) * 1e-9; }
[[nodiscard]] constexpr double milliseconds(Duration d) { return static_cast<double>(d.count()) * 1e-6; }
[[nodiscard]] constexpr Duration from_seconds(double s) { return Duration{static_cast<std::int64_t>(s * 1e9)}; }

/// "2026-11-22T10:23:04.310Z"; UTC, milliseconds.
[[nodiscard]] std::string rfc3339(Timestamp at);
/// "250us", "1.5s", "2m", "10m30s": short, exact enough to read; parses back within its last digit.
[[nodiscard]] std::string text(Duration d);

}  // namespace plimsoll
