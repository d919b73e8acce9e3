#include "sim/words.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace plimsoll::sim {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// End of the word that starts at `begin`.
std::size_t word_end(std::string_view line, std::size_t begin) {
    int depth = 0;
    std::size_t i = begin;
    for (; i < line.size(); ++i) {
        const char c = line[i];
        if (c == '(') ++depth;
        if (c == ')' && depth > 0) --depth;
        if (c == '#' || (depth == 0 && is_blank(c))) break;
    }
    while (i > begin && is_blank(line[i - 1])) --i;  // an open parenthesis took blanks along
    return i;
}

}  // namespace

std::vector<Word> split_words(std::string_view line) {
    std::vector<Word> words;
    std::size_t i = 0;
    while (i < line.size()) {
        if (is_blank(line[i])) {
            ++i;
            continue;
        }
        if (line[i] == '#') break;
        const std::size_t end = word_end(line, i);
        std::string_view text = line.substr(i, end - i);
        const bool colon = text.size() > 1 && text.ends_with(':');
        if (colon) text.remove_suffix(1);
        words.push_back({text, static_cast<int>(i) + 1});
        if (colon) words.push_back({line.substr(end - 1, 1), static_cast<int>(end)});
        i = end;
    }
    return words;
}

std::optional<double> parse_number(std::string_view text) {
    double value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end || !std::isfinite(value) || value < 0) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> parse_whole(std::string_view text) {
    std::uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc{} || stop != end) return std::nullopt;
    return value;
}

std::optional<Duration> parse_duration(std::string_view text) {
    std::size_t digits = 0;
    while (digits < text.size() && (is_digit(text[digits]) || text[digits] == '.')) ++digits;
    const auto number = parse_number(text.substr(0, digits));
    if (!number) return std::nullopt;
    const std::string_view unit = text.substr(digits);
    double ns = 0;
    if (unit == "us") ns = 1e3;
    if (unit == "ms") ns = 1e6;
    if (unit == "s") ns = 1e9;
    if (unit == "m") ns = 60e9;
    if (unit == "h") ns = 3600e9;
    const double value = *number * ns;
    if (ns == 0 || value > 86'400e9) return std::nullopt;
    return Duration{std::llround(value)};
}

std::optional<double> parse_percent(std::string_view text) {
    if (!text.ends_with('%')) return std::nullopt;
    const auto number = parse_number(text.substr(0, text.size() - 1));
    if (!number || *number > 100) return std::nullopt;
    return *number / 100;
}

std::optional<double> parse_rate(std::string_view text) {
    if (!text.ends_with("/s")) return std::nullopt;
    return parse_number(text.substr(0, text.size() - 2));
}

std::optional<double> parse_factor(std::string_view text) {
    if (!text.starts_with('x')) return std::nullopt;
    const auto number = parse_number(text.substr(1));
    if (!number || *number <= 0 || *number > 1e6) return std::nullopt;
    return number;
}

bool is_name(std::string_view text) {
    if (text.empty() || text.size() > 200 || text.find("..") != std::string_view::npos) return false;
    return std::ranges::all_of(text, [](char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '-' || c == '.';
    });
}

std::optional<std::vector<std::string>> parse_row(std::string_view text, std::size_t most) {
    const std::size_t dots = text.find("..");
    if (dots == std::string_view::npos) {
        if (!is_name(text) || most == 0) return std::nullopt;
        return std::vector<std::string>{std::string(text)};
    }
    const std::string_view first = text.substr(0, dots), last = text.substr(dots + 2);
    if (!is_name(first) || !is_name(last)) return std::nullopt;
    std::size_t prefix = first.size();
    while (prefix > 0 && is_digit(first[prefix - 1])) --prefix;
    if (!last.starts_with(first.substr(0, prefix))) return std::nullopt;
    const auto from = parse_whole(first.substr(prefix)), to = parse_whole(last.substr(prefix));
    if (!from || !to || *from > *to || *to - *from >= most) return std::nullopt;
    std::vector<std::string> names;
    for (std::uint64_t i = *from; i <= *to; ++i)
        names.push_back(std::string(first.substr(0, prefix)) + std::to_string(i));
    return names;
}

}  // namespace plimsoll::sim
