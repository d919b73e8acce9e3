// Reading Retry-After. Pure; see retry.h. Source: RFC 9110 10.2.3 and 5.6.7.
#include <array>
#include <cstdint>

#include "balance/retry.h"

namespace plimsoll::balance {
namespace {

/// More seconds than this are as good as for ever; keeps the arithmetic within 64 bits.
constexpr std::uint64_t most_seconds = 10ull * 365 * 86'400;

constexpr std::array<std::string_view, 12> months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array<std::string_view, 7> long_days = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes parts off the front of a text; once something does not fit, nothing does.
class Reader {
public:
    explicit Reader(std::string_view text) : rest_(text) {}
    void literal(std::string_view wanted) {
        good_ = good_ && rest_.starts_with(wanted);
        if (good_) rest_.remove_prefix(wanted.size());
    }
    /// Exactly `digits` digits; with `padded` a leading blank stands for 0.
    int number(std::size_t digits, bool padded = false) {
        int value = 0;
        good_ = good_ && rest_.size() >= digits;
        for (std::size_t i = 0; good_ && i < digits; ++i) {
            const char c = padded && i == 0 && rest_[0] == ' ' ? '0' : rest_[i];
            good_ = is_digit(c);
            value = value * 10 + (c - '0');
        }
        if (good_) rest_.remove_prefix(digits);
        return value;
    }
    template <std::size_t N>
    int one_of(const std::array<std::string_view, N>& names) {
        for (std::size_t i = 0; good_ && i < N; ++i) {
            if (!rest_.starts_with(names[i])) continue;
            rest_.remove_prefix(names[i].size());
            return static_cast<int>(i);
        }
        good_ = false;
        return 0;
    }
    [[nodiscard]] bool done() const { return good_ && rest_.empty(); }

private:
    std::string_view rest_;
    bool good_ = true;
};

struct Date {
    int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

void clock_time(Reader& reader, Date& date) {
    date.hour = reader.number(2);
    reader.literal(":");
    date.minute = reader.number(2);
    reader.literal(":");
    date.second = reader.number(2);
}

/// Sun, 06 Nov 1994 08:49:37 GMT
std::optional<Date> imf_fixdate(std::string_view text) {
    Reader reader(text);
    Date date;
    reader.one_of(days);
    reader.literal(", ");
    date.day = reader.number(2);
    reader.literal(" ");
    date.month = reader.one_of(months) + 1;
    reader.literal(" ");
    date.year = reader.number(4);
    reader.literal(" ");
    clock_time(reader, date);
    reader.literal(" GMT");
    return reader.done() ? std::optional(date) : std::nullopt;
}

/// Sunday, 06-Nov-94 08:49:37 GMT. A year that looks more than 50 years ahead is one of the past.
std::optional<Date> rfc850_date(std::string_view text, int this_year) {
    Reader reader(text);
    Date date;
    reader.one_of(long_days);
    reader.literal(", ");
    date.day = reader.number(2);
    reader.literal("-");
    date.month = reader.one_of(months) + 1;
    reader.literal("-");
    date.year = this_year / 100 * 100 + reader.number(2);
    if (date.year > this_year + 50) date.year -= 100;
    reader.literal(" ");
    clock_time(reader, date);
    reader.literal(" GMT");
    return reader.done() ? std::optional(date) : std::nullopt;
}

/// Sun Nov  6 08:49:37 1994
std::optional<Date> asctime_date(std::string_view text) {
    Reader reader(text);
    Date date;
    reader.one_of(days);
    reader.literal(" ");
    date.month = reader.one_of(months) + 1;
    reader.literal(" ");
    date.day = reader.number(2, true);
    reader.literal(" ");
    clock_time(reader, date);
    reader.literal(" ");
    date.year = reader.number(4);
    return reader.done() ? std::optional(date) : std::nullopt;
}

/// Seconds since 1970, or nullopt for a date that does not exist.
std::optional<std::int64_t> since_epoch(const Date& date) {
    const std::chrono::year_month_day day{std::chrono::year(date.year),
                                          std::chrono::month(static_cast<unsigned>(date.month)),
                                          std::chrono::day(static_cast<unsigned>(date.day))};
    if (!day.ok() || date.hour > 23 || date.minute > 59 || date.second > 60) return std::nullopt;
    const std::int64_t whole = std::chrono::sys_days(day).time_since_epoch().count();
    return whole * 86'400 + date.hour * 3'600 + date.minute * 60 + date.second;
}

std::optional<Duration> delta_seconds(std::string_view value) {
    std::uint64_t amount = 0;
    for (const char c : value) {
        if (!is_digit(c)) return std::nullopt;
        amount = std::min(amount * 10 + static_cast<std::uint64_t>(c - '0'), most_seconds);
    }
    return std::chrono::seconds(amount);
}

}  // namespace

std::optional<Duration> retry_after(std::string_view value, Timestamp now) {
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (value.empty()) return std::nullopt;
    if (is_digit(value.front())) return delta_seconds(value);
    const std::int64_t now_seconds = now.ns / 1'000'000'000;
    const auto today = std::chrono::sys_days(std::chrono::days(now_seconds / 86'400));
    auto date = imf_fixdate(value);
    if (!date) date = rfc850_date(value, int(std::chrono::year_month_day(today).year()));
    if (!date) date = asctime_date(value);
    if (!date) return std::nullopt;
    const auto at = since_epoch(*date);
    if (!at) return std::nullopt;
    const std::int64_t ahead = std::min<std::int64_t>(*at - now_seconds, most_seconds);
    return std::chrono::seconds(std::max<std::int64_t>(ahead, 0));
}

}  // namespace plimsoll::balance
