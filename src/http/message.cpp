#include "http/message.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <utility>

#include "http/fields.h"

namespace plimsoll::http {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_unreserved(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

}  // namespace

std::optional<std::string_view> Headers::get(std::string_view name) const {
    const auto found =
        std::ranges::find_if(lines_, [name](const Line& l) { return equal_ignoring_case(l.name, name); });
    if (found == lines_.end()) return std::nullopt;
    return found->value;
}

Headers& Headers::add(std::string_view name, std::string_view value) {
    lines_.push_back({std::string(name), std::string(value)});
    return *this;
}

Headers& Headers::set(std::string_view name, std::string_view value) {
    remove(name);
    return add(name, value);
}

void Headers::remove(std::string_view name) {
    std::erase_if(lines_, [name](const Line& line) { return equal_ignoring_case(line.name, name); });
}

Headers Headers::copy(const Fields& fields) {
    Headers headers;
    headers.lines_.reserve(fields.size());
    for (const Header header : fields) headers.add(header.name, header.value);
    return headers;
}

std::optional<std::string> Request::parameter(std::string_view name) const {
    std::string_view rest = query;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('&'), rest.size());
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        if (percent_decode(pair.substr(0, equals), true) != name) continue;
        return percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
    }
    return std::nullopt;
}

Response Response::typed(std::uint16_t status, std::string_view content_type, std::string body) {
    Response response;
    response.status = status;
    response.headers.add("Content-Type", content_type);
    response.body = std::move(body);
    return response;
}

Response Response::text(std::uint16_t status, std::string body) {
    return typed(status, "text/plain; charset=utf-8", std::move(body));
}

Response Response::json(std::uint16_t status, std::string body) {
    return typed(status, "application/json", std::move(body));
}

std::string percent_decode(std::string_view text, bool plus_is_blank) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '%' && text.size() - at > 2) {
            const int high = hex_value(text[at + 1]), low = hex_value(text[at + 2]);
            if (high >= 0 && low >= 0) {
                out.push_back(static_cast<char>(high * 16 + low));
                at += 2;
                continue;
            }
        }
        out.push_back(plus_is_blank && text[at] == '+' ? ' ' : text[at]);
    }
    return out;
}

std::string percent_encode(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (char c : text) {
        if (is_unreserved(c)) {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.append({'%', digits[byte >> 4], digits[byte & 15]});
        }
    }
    return out;
}

std::string http_date(Timestamp at) {
    using namespace std::chrono;
    constexpr std::array days{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array months{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const sys_seconds when = floor<sys_seconds::duration>(sys_time<nanoseconds>(nanoseconds(at.ns)));
    const sys_days day = floor<std::chrono::days>(when);
    const year_month_day date(day);
    const hh_mm_ss time(when - day);
    std::array<char, 64> text;
    const int size =
        std::snprintf(text.data(), text.size(), "%s, %02u %s %04d %02d:%02d:%02d GMT", days[weekday(day).c_encoding()],
                      static_cast<unsigned>(date.day()), months[static_cast<unsigned>(date.month()) - 1],
                      static_cast<int>(date.year()), static_cast<int>(time.hours().count()),
                      static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()));
    return std::string(text.data(), static_cast<std::size_t>(size));
}

}  // namespace plimsoll::http
