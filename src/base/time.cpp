#include "base/time.h"

#include <fmt/format.h>

#include <cmath>
#include <ctime>

namespace plimsoll {

std::string rfc3339(Timestamp at) {
    std::int64_t whole = at.ns / 1'000'000'000;
    std::int64_t rest = at.ns % 1'000'000'000;
    if (rest < 0) {
        rest += 1'000'000'000;
        --whole;
    }
    const std::time_t clock = whole;
    std::tm utc{};
    gmtime_r(&clock, &utc);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
                       utc.tm_hour, utc.tm_min, utc.tm_sec, rest / 1'000'000);
}

std::string text(Duration d) {
    const double s = std::abs(seconds(d));
    const char* sign = d.count() < 0 ? "-" : "";
    if (d.count() == 0) return "0s";
    if (s < 1e-6) return fmt::format("{}{}ns", sign, std::abs(d.count()));
    if (s < 1e-3) return fmt::format("{}{:.4g}us", sign, s * 1e6);
    if (s < 1) return fmt::format("{}{:.4g}ms", sign, s * 1e3);
    if (s < 60) return fmt::format("{}{:.4g}s", sign, s);
    const auto whole = static_cast<std::int64_t>(std::llround(s));
    std::string out = sign;
    if (whole >= 3600) out += fmt::format("{}h", whole / 3600);
    if (whole % 3600 >= 60) out += fmt::format("{}m", whole % 3600 / 60);
    if (whole % 60 != 0) out += fmt::format("{}s", whole % 60);
    return out;
}

}  // namespace plimsoll
