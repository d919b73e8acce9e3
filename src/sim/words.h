// Words of a scenario's line, with their columns, and the numbers among them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace plimsoll::sim {

struct Word {
    std::string_view text;  ///< into the line
    int column = 1;         ///< from 1
};

/// Splits at blanks; '#' ends the line; what stands in parentheses is part of its word; a ':' that ends a word is a
/// word.
[[nodiscard]] std::vector<Word> split_words(std::string_view line);

/// "30", "0.5": finite and not negative.
[[nodiscard]] std::optional<double> parse_number(std::string_view text);
[[nodiscard]] std::optional<std::uint64_t> parse_whole(std::string_view text);
/// "250ms", "1.5s", "2m", "1h", "40us"; at most a day.
[[nodiscard]] std::optional<Duration> parse_duration(std::string_view text);
/// "30%" -> 0.3; 0 to 100.
[[nodiscard]] std::optional<double> parse_percent(std::string_view text);
/// "60/s" -> 60.
[[nodiscard]] std::optional<double> parse_rate(std::string_view text);
/// "x10" -> 10; above 0.
[[nodiscard]] std::optional<double> parse_factor(std::string_view text);
/// Letters, digits, '_', '-', '.', not "..".
[[nodiscard]] bool is_name(std::string_view text);
/// "b0..b9" -> b0, b1, ... b9; a plain name is a row of one. Nullopt when neither, or longer than `most`.
[[nodiscard]] std::optional<std::vector<std::string>> parse_row(std::string_view text, std::size_t most);

}  // namespace plimsoll::sim
