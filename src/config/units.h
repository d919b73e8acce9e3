// The small languages inside values: durations, sizes, fractions, numbers. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace plimsoll::config {

/// "2s", "500ms", "1m30s", "1.5s"; units ns us ms s m h. nullopt when it is not one, or above 100 days.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);
/// The largest unit that divides it: "10m", "1500ms". Parses back to exactly the same duration (for >= 0).
[[nodiscard]] std::string print_duration(Duration d);

/// "16KiB", "256MiB", "512B" or a bare number of bytes; units B KiB MiB GiB TiB.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);
[[nodiscard]] std::string print_size(std::uint64_t bytes);

/// "20%" or "0.2".
[[nodiscard]] std::optional<double> parse_fraction(std::string_view text);
/// A finite decimal number, whole text.
[[nodiscard]] std::optional<double> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_count(std::string_view text);
/// Shortest digits that parse back to the same double.
[[nodiscard]] std::string print_number(double value);

/// Edits that turn one word into the other: insert, delete, replace, swap of neighbours (Damerau 1964, in the
/// restricted form). O(n m).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace plimsoll::config
