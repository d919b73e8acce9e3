#include "proxy/trace_context.h"

#include <algorithm>
#include <span>

namespace plimsoll::proxy {
namespace {

constexpr std::size_t version_00_letters = 55;
constexpr std::size_t max_members = 32;  // 3.3.1.1
constexpr std::string_view digits = "0123456789abcdef";

/// Lower case only, as 3.2.2 says. False: something else.
bool read_hex(std::string_view text, std::span<std::uint8_t> into) {
    if (text.size() != into.size() * 2) return false;
    for (std::size_t i = 0; i < into.size(); ++i) {
        const std::size_t high = digits.find(text[2 * i]), low = digits.find(text[2 * i + 1]);
        if (high == std::string_view::npos || low == std::string_view::npos) return false;
        into[i] = static_cast<std::uint8_t>(high << 4 | low);
    }
    return true;
}

bool all_zero(std::span<const std::uint8_t> bytes) {
    return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0; });
}

void draw(std::span<std::uint8_t> bytes, Random& random) {
    do {
        for (std::size_t i = 0; i < bytes.size(); i += 8) {
            const std::uint64_t number = random.next();
            for (std::size_t k = 0; k < 8 && i + k < bytes.size(); ++k)
                bytes[i + k] = static_cast<std::uint8_t>(number >> (8 * k));
        }
    } while (all_zero(bytes));  // zero means "none"
}

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// lcalpha or digit first, then lcalpha, digit, "_-*/" (3.3.1.3.1); with a tenant in front of "@": 241 and 14 letters.
bool is_key(std::string_view key) {
    const auto is_part = [](std::string_view part, std::size_t most) {
        return !part.empty() && part.size() <= most && (is_lower(part[0]) || is_digit(part[0])) &&
               std::ranges::all_of(part, [](char c) {
                   return is_lower(c) || is_digit(c) || c == '_' || c == '-' || c == '*' || c == '/';
               });
    };
    const std::size_t at = key.find('@');
    if (at == std::string_view::npos) return is_part(key, 256);
    return is_part(key.substr(0, at), 241) && is_part(key.substr(at + 1), 14);
}

/// Printable ASCII but comma and equals sign, not ending in a blank (3.3.1.3.2).
bool is_value(std::string_view value) {
    return !value.empty() && value.size() <= 256 && value.back() != ' ' &&
           std::ranges::all_of(value, [](char c) { return c >= 0x20 && c <= 0x7e && c != ',' && c != '='; });
}

}  // namespace

std::optional<Trace> parse_traceparent(std::string_view text) {
    if (text.size() < version_00_letters || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
    std::array<std::uint8_t, 1> version{}, flags{};
    Trace trace;
    if (!read_hex(text.substr(0, 2), version) || !read_hex(text.substr(3, 32), trace.trace_id) ||
        !read_hex(text.substr(36, 16), trace.parent_id) || !read_hex(text.substr(53, 2), flags))
        return std::nullopt;
    if (version[0] == 0xff || all_zero(trace.trace_id) || all_zero(trace.parent_id)) return std::nullopt;
    if (text.size() > version_00_letters && (version[0] == 0 || text[version_00_letters] != '-')) return std::nullopt;
    trace.sampled = (flags[0] & 1) != 0;
    return trace;
}

bool is_tracestate(const http::Fields& fields) {
    std::array<std::string_view, max_members> keys;
    std::size_t members = 0;
    for (const http::Header line : fields) {
        if (line.known != http::Known::tracestate) continue;
        std::string_view list = line.value;
        for (std::string_view member; !(member = http::next_element(list)).empty();) {
            const std::size_t equals = member.find('=');
            if (equals == std::string_view::npos || members == max_members) return false;
            const std::string_view key = member.substr(0, equals);
            if (!is_key(key) || !is_value(member.substr(equals + 1))) return false;
            const std::span seen(keys.data(), members);
            if (std::ranges::find(seen, key) != seen.end()) return false;
            keys[members++] = key;
        }
    }
    return true;
}

TraceContext trace_context(const http::Fields& fields, Random& random, double sample) {
    TraceContext context;
    std::optional<Trace> caller;
    if (fields.count(http::Known::traceparent) == 1) {
        for (const http::Header line : fields)
            if (line.known == http::Known::traceparent) caller = parse_traceparent(line.value);
    }
    if (caller) {
        context.trace = *caller;
        context.keep_state = is_tracestate(fields);
    } else {
        draw(context.trace.trace_id, random);
        context.trace.sampled = random.chance(sample);
    }
    draw(context.trace.span_id, random);
    return context;
}

std::array<char, 55> traceparent(const Trace& trace) {
    std::array<char, 55> text{};
    std::size_t at = 0;
    const auto put = [&](std::span<const std::uint8_t> bytes) {
        for (const std::uint8_t byte : bytes) {
            text[at++] = digits[byte >> 4];
            text[at++] = digits[byte & 15];
        }
    };
    const std::array<std::uint8_t, 1> version{0}, flags{static_cast<std::uint8_t>(trace.sampled ? 1 : 0)};
    put(version);
    text[at++] = '-';
    put(trace.trace_id);
    text[at++] = '-';
    put(trace.span_id);
    text[at++] = '-';
    put(flags);
    return text;
}

bool exists(const Trace& trace) { return !all_zero(trace.trace_id); }

}  // namespace plimsoll::proxy
