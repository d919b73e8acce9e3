#include "proxy/grpc_timeout.h"

#include <algorithm>
#include <array>

namespace plimsoll::proxy {
namespace {

struct Unit {
    char letter;
    std::int64_t ns;
};
/// From the finest.
constexpr std::array<Unit, 6> units = {Unit{'n', 1},         {'u', 1'000},          {'m', 1'000'000},
                                       {'S', 1'000'000'000}, {'M', 60'000'000'000}, {'H', 3'600'000'000'000}};
constexpr std::size_t max_digits = 8;
constexpr std::int64_t max_number = 99'999'999;

}  // namespace

std::optional<Duration> parse_grpc_timeout(std::string_view text) {
    if (text.size() < 2 || text.size() > max_digits + 1) return std::nullopt;
    std::int64_t number = 0;
    for (const char digit : text.substr(0, text.size() - 1)) {
        if (digit < '0' || digit > '9') return std::nullopt;
        number = number * 10 + (digit - '0');
    }
    const auto unit = std::ranges::find(units, text.back(), &Unit::letter);
    if (unit == units.end()) return std::nullopt;
    if (number > INT64_MAX / unit->ns) return Duration::max();
    return Duration{std::max<std::int64_t>(number * unit->ns, 1)};  // 0 would be none
}

std::string format_grpc_timeout(Duration timeout) {
    const std::int64_t ns = std::max<std::int64_t>(timeout.count(), 0);
    for (const Unit& unit : units)
        if (ns / unit.ns <= max_number) return std::to_string(ns / unit.ns) + unit.letter;
    return std::to_string(max_number) + units.back().letter;
}

}  // namespace plimsoll::proxy
