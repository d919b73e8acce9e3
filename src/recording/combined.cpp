// Imports access logs in combined format: host ident user [time] "request" status bytes "referrer" "agent".
// Pure; any thread. Source: Apache mod_log_config and NGINX ngx_http_log_module (their "combined"), RFC 9112 section 3.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

#include "base/hash.h"
#include "recording/recording.h"

namespace plimsoll::recording {
namespace {

constexpr std::size_t max_line_bytes = 64u << 10;  // servers cap request heads well below this

struct Line {
    std::int64_t second = 0;  ///< since 1970, UTC
    int number = 0;           ///< of the line in its file
    Record record;
};

/// Walks over one line. The first thing that does not fit is kept as `problem` with its place; then all is empty.
struct Cursor {
    std::string_view line;
    std::size_t at = 0;
    std::string problem;

    bool refuse(std::string what) {
        if (problem.empty()) problem = std::move(what);
        return false;
    }
    bool take(char expected, std::string_view where) {
        if (at < line.size() && line[at] == expected) return ++at, true;
        return refuse(fmt::format("expected '{}' {}", expected, where));
    }
    /// Up to the next space, which is taken too. At least one character.
    std::string_view word(std::string_view what) {
        const std::size_t end = line.find(' ', at);
        if (!problem.empty() || end == std::string_view::npos || end == at)
            return refuse(fmt::format("no {}", what)), "";
        const auto found = line.substr(at, end - at);
        at = end + 1;
        return found;
    }
    /// A field in double quotes, escapes undone: \" \\ \xhh and C's control letters; any other backslash is itself.
    std::string quoted(std::string_view what);
};

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string Cursor::quoted(std::string_view what) {
    std::string out;
    if (!problem.empty() || !take('"', fmt::format("before the {}", what))) return out;
    static constexpr std::string_view letters = "bnrtvf\"\\";
    static constexpr std::string_view meanings = "\b\n\r\t\v\f\"\\";
    while (at < line.size() && line[at] != '"') {
        const char c = line[at++];
        if (c != '\\' || at == line.size()) {
            out += c;
        } else if (const auto letter = letters.find(line[at]); letter != std::string_view::npos) {
            out += meanings[letter];
            ++at;
        } else if (line[at] == 'x' && at + 2 < line.size() && hex_value(line[at + 1]) >= 0 &&
                   hex_value(line[at + 2]) >= 0) {
            out += static_cast<char>(hex_value(line[at + 1]) * 16 + hex_value(line[at + 2]));
            at += 3;
        } else {
            out += c;
        }
    }
    take('"', fmt::format("after the {} (the quote is never closed)", what));
    return out;
}

/// All of `text` as a decimal number of at most `most`.
std::optional<std::uint64_t> decimal(std::string_view text, std::uint64_t most) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > most) return std::nullopt;
    return value;
}

/// "10/Oct/2000:13:55:36 -0700" as seconds since 1970, UTC.
std::optional<std::int64_t> moment(std::string_view text) {
    static constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (text.size() != 26 || text[2] != '/' || text[6] != '/' || text[11] != ':' || text[14] != ':' ||
        text[17] != ':' || text[20] != ' ' || (text[21] != '+' && text[21] != '-')) {
        return std::nullopt;
    }
    const auto month = std::ranges::find(months, text.substr(3, 3));
    const auto day = decimal(text.substr(0, 2), 31), year = decimal(text.substr(7, 4), 9999);
    const auto hour = decimal(text.substr(12, 2), 23), minute = decimal(text.substr(15, 2), 59);
    const auto second = decimal(text.substr(18, 2), 60);  // 60: leap second
    const auto zone_hour = decimal(text.substr(22, 2), 14), zone_minute = decimal(text.substr(24, 2), 59);
    if (month == months.end() || !day || !year || !hour || !minute || !second || !zone_hour || !zone_minute) {
        return std::nullopt;
    }
    const auto date = std::chrono::year_month_day{std::chrono::year{static_cast<int>(*year)},
                                                  std::chrono::month{static_cast<unsigned>(month - months.begin()) + 1},
                                                  std::chrono::day{static_cast<unsigned>(*day)}};
    // The range in which nanoseconds since 1970 fit, with room for a recording's length.
    if (!date.ok() || *year < 1970 || *year > 2200) return std::nullopt;
    const std::int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
    const auto number = [](std::optional<std::uint64_t> n) { return static_cast<std::int64_t>(*n); };
    const std::int64_t zone = (number(zone_hour) * 60 + number(zone_minute)) * (text[21] == '-' ? -60 : 60);
    const std::int64_t utc = days * 86'400 + number(hour) * 3600 + number(minute) * 60 + number(second) - zone;
    return utc >= 0 ? std::optional(utc) : std::nullopt;
}

/// IPv4, IPv6 (also with a zone) or a host name; not checked further, since it is only hashed.
bool plausible_client(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == ':' ||
               c == '-' || c == '_' || c == '%';
    });
}

bool is_method(std::string_view text) {
    static constexpr std::string_view others = "!#$%&'*+-.^_`|~";  // RFC 9110 token
    return !text.empty() && text.size() <= 32 && std::ranges::all_of(text, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               others.find(c) != std::string_view::npos;
    });
}

/// Takes "METHOD target HTTP/x" apart into the record. False when it is not a request (then the record is untouched).
bool read_request(std::string_view request, Record& record) {
    const std::size_t first = request.find(' '), last = request.rfind(' ');
    if (first == std::string_view::npos || first == last) return false;
    const auto method = request.substr(0, first), version = request.substr(last + 1);
    auto target = request.substr(first + 1, last - first - 1);
    if (!is_method(method) || !version.starts_with("HTTP/") || target.empty()) return false;
    if (target.find(' ') != std::string_view::npos) return false;
    std::string_view host;
    const std::size_t scheme = target.find("://");
    if (method == "CONNECT") {
        host = target;
        target = {};
    } else if (target.front() != '/' && target != "*") {
        if (scheme == std::string_view::npos || scheme > 8) return false;
        const auto rest = target.substr(scheme + 3);
        const std::size_t end = std::min(rest.find_first_of("/?"), rest.size());
        host = rest.substr(0, end);
        target = rest.substr(end);
        if (host.empty()) return false;
    }
    target = target.substr(0, target.find('?'));
    if (target.empty() && method != "CONNECT") target = "/";
    record.method = method;
    record.host = host.substr(0, max_string_bytes);
    record.path = target.substr(0, max_string_bytes);
    return true;
}

/// The line as a record; `cursor.problem` says what is wrong with it.
std::optional<Line> read_line(Cursor& cursor, std::uint64_t key) {
    if (cursor.line.size() > max_line_bytes) {
        cursor.refuse(fmt::format("the line has {} bytes, more than {}", cursor.line.size(), max_line_bytes));
        return std::nullopt;
    }
    Line out;
    const auto client = cursor.word("client address");
    if (cursor.problem.empty() && !plausible_client(client)) {
        cursor.at = 0;
        cursor.refuse("the client is neither an address nor a host name");
    }
    cursor.word("ident field");
    // A user name may hold spaces, so it ends where the time begins.
    const std::size_t bracket = cursor.line.find(" [", cursor.at);
    if (cursor.problem.empty() && (bracket == std::string_view::npos || bracket == cursor.at)) {
        cursor.refuse("no user field before a [time]");
    }
    if (!cursor.problem.empty()) return std::nullopt;
    cursor.at = bracket + 2;
    const std::size_t close = cursor.line.find(']', cursor.at);
    const auto time =
        close == std::string_view::npos ? std::nullopt : moment(cursor.line.substr(cursor.at, close - cursor.at));
    if (!time) {
        cursor.refuse("the time is not like [10/Oct/2000:13:55:36 -0700]");
        return std::nullopt;
    }
    out.second = *time;
    cursor.at = close + 1;
    cursor.take(' ', "after the time");
    const std::string request = cursor.quoted("request");
    cursor.take(' ', "after the request");
    const std::size_t status_at = cursor.at;
    const auto status = cursor.word("status");
    const auto bytes = cursor.word("byte count");
    static_cast<void>(cursor.quoted("referrer"));
    cursor.take(' ', "after the referrer");
    static_cast<void>(cursor.quoted("user agent"));
    if (cursor.problem.empty() && cursor.at != cursor.line.size()) cursor.refuse("more after the user agent");
    if (!cursor.problem.empty()) return std::nullopt;

    const auto status_number = status == "-" ? std::optional<std::uint64_t>(0) : decimal(status, 999);
    const auto byte_number = bytes == "-" ? std::optional<std::uint64_t>(0) : decimal(bytes, INT64_MAX);
    if (!status_number || (status != "-" && (status.size() != 3 || *status_number < 100)) || !byte_number) {
        cursor.at = status_at;
        cursor.refuse("status and bytes are not numbers or '-'");
        return std::nullopt;
    }
    out.record.client_key = keyed_hash(client, key);
    out.record.status = static_cast<std::uint16_t>(*status_number);
    out.record.response_body_bytes = *byte_number;
    if (!read_request(request, out.record)) out.record.cause = Cause::bad_request;
    return out;
}

/// Orders lines by their second and spreads those of one second evenly over it.
Recording spread(std::vector<Line> lines) {
    Recording out;
    if (lines.empty()) return out;
    std::ranges::sort(lines, {}, [](const Line& line) { return std::pair(line.second, line.number); });
    const std::int64_t first = lines.front().second;
    out.start = Timestamp{first * 1'000'000'000};
    out.records.reserve(lines.size());
    for (std::size_t i = 0; i < lines.size();) {
        std::size_t end = i;
        while (end < lines.size() && lines[end].second == lines[i].second) ++end;
        const auto count = static_cast<std::int64_t>(end - i);
        const Duration second{(lines[i].second - first) * 1'000'000'000};
        for (std::int64_t k = 0; i < end; ++i, ++k) {
            lines[i].record.at = second + Duration{k * 1'000'000'000 / count};
            out.records.push_back(std::move(lines[i].record));
        }
    }
    return out;
}

}  // namespace

Imported import_combined(std::string_view text, std::string file, std::uint64_t key) {
    Imported out;
    std::vector<Line> lines;
    int number = 0;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        ++number;
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line.empty()) continue;
        ++out.lines;
        Cursor cursor{.line = line, .problem = {}};
        if (auto read = read_line(cursor, key)) {
            out.bad_requests += read->record.cause == Cause::bad_request ? 1 : 0;
            read->number = number;
            lines.push_back(std::move(*read));
            continue;
        }
        ++out.bad_lines;
        if (out.findings.size() == max_import_findings) continue;
        out.findings.push_back({.severity = Severity::warning,
                                .code = "R101-log-line",
                                .path = "",
                                .where = {file, number, static_cast<int>(cursor.at) + 1},
                                .message = "not a line in combined format: " + cursor.problem,
                                .remedy = "the line is left out; the log format must be \"combined\""});
    }
    out.recording = spread(std::move(lines));
    return out;
}

}  // namespace plimsoll::recording
