#include "config/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace plimsoll::config {

namespace {

struct DurationUnit {
    std::string_view name;
    std::int64_t ns;
};
// Longest first where one is the beginning of another.
constexpr std::array<DurationUnit, 6> duration_units{{{"h", 3'600'000'000'000},
                                                      {"ms", 1'000'000},
                                                      {"m", 60'000'000'000},
                                                      {"us", 1'000},
                                                      {"ns", 1},
                                                      {"s", 1'000'000'000}}};
constexpr std::int64_t longest_ns = 100ll * 24 * 3'600'000'000'000;  // fits a double's 53 bits

constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> size_units{
    {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes digits with at most one point off the front of `text`.
std::optional<double> take_decimal(std::string_view& text) {
    std::size_t n = 0;
    bool point = false;
    while (n < text.size() && (is_digit(text[n]) || (text[n] == '.' && !point))) point |= text[n++] == '.';
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + n, value, std::chars_format::fixed);
    if (n == 0 || error != std::errc{} || end != text.data() + n) return std::nullopt;
    text.remove_prefix(n);
    return value;
}

}  // namespace

std::optional<Duration> parse_duration(std::string_view text) {
    if (text.empty()) return std::nullopt;
    double total = 0;
    while (!text.empty()) {
        const auto number = take_decimal(text);
        if (!number) return std::nullopt;
        const auto unit =
            std::ranges::find_if(duration_units, [&](const DurationUnit& u) { return text.starts_with(u.name); });
        if (unit == duration_units.end()) return std::nullopt;
        text.remove_prefix(unit->name.size());
        total += *number * static_cast<double>(unit->ns);
        if (!(total <= static_cast<double>(longest_ns))) return std::nullopt;
    }
    return Duration{std::llround(total)};
}

std::string print_duration(Duration d) {
    constexpr std::array<std::pair<std::string_view, std::int64_t>, 6> by_size{{{"h", 3'600'000'000'000},
                                                                                {"m", 60'000'000'000},
                                                                                {"s", 1'000'000'000},
                                                                                {"ms", 1'000'000},
                                                                                {"us", 1'000},
                                                                                {"ns", 1}}};
    if (d.count() == 0) return "0s";
    for (const auto& [name, ns] : by_size) {
        if (d.count() % ns == 0) return fmt::format("{}{}", d.count() / ns, name);
    }
    return fmt::format("{}ns", d.count());
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
    for (const auto& [name, bytes] : size_units) {
        if (!text.ends_with(name)) continue;
        text.remove_suffix(name.size());
        while (text.ends_with(' ')) text.remove_suffix(1);
        const auto number = parse_count(text);
        if (!number || *number > UINT64_MAX / bytes) return std::nullopt;
        return *number * bytes;
    }
    return parse_count(text);
}

std::string print_size(std::uint64_t bytes) {
    for (const auto& [name, unit] : size_units) {
        if (unit > 1 && bytes != 0 && bytes % unit == 0) return fmt::format("{}{}", bytes / unit, name);
    }
    return fmt::format("{}", bytes);
}

std::optional<double> parse_number(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
    return value;
}

std::optional<double> parse_fraction(std::string_view text) {
    if (!text.ends_with('%')) return parse_number(text);
    text.remove_suffix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    const auto percent = parse_number(text);
    return percent ? std::optional(*percent / 100) : std::nullopt;
}

std::string print_number(double value) { return fmt::format("{}", value == 0 ? 0.0 : value); }

std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        next[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] != b[j - 1] ? 1u : 0u)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                next[j] = std::min(next[j], before[j - 2] + 1);
        }
        std::swap(before, row);
        std::swap(row, next);
    }
    return row[b.size()];
}

}  // namespace plimsoll::config
