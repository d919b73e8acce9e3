#include "http/fields.h"

#include <algorithm>
#include <array>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace plimsoll::http {
namespace {

using namespace std::string_view_literals;

constexpr std::array<char, 256> lower_table = [] {
    std::array<char, 256> table{};
    for (unsigned c = 0; c < 256; ++c) table[c] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return table;
}();

constexpr std::array<bool, 256> token_table = [] {
    std::array<bool, 256> table{};
    for (char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")) {
        table[static_cast<unsigned char>(c)] = true;
    }
    for (unsigned c = 'A'; c <= 'Z'; ++c) table[c] = true;
    return table;
}();

constexpr char lower(char c) { return lower_table[static_cast<unsigned char>(c)]; }
constexpr bool is_tchar(char c) { return token_table[static_cast<unsigned char>(c)]; }
constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }

/// First byte below 0x20 other than HTAB, or DEL; `end` when there is none.
const char* find_control(const char* at, const char* end) {
#if defined(__SSE2__)
    const __m128i last_control = _mm_set1_epi8(0x1f), del = _mm_set1_epi8(0x7f), tab = _mm_set1_epi8('\t');
    for (; end - at >= 16; at += 16) {
        const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
        const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, last_control), bytes);
        const __m128i bad = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(bytes, tab), low), _mm_cmpeq_epi8(bytes, del));
        const int mask = _mm_movemask_epi8(bad);
        if (mask != 0) return at + __builtin_ctz(static_cast<unsigned>(mask));
    }
#endif
    for (; at != end; ++at) {
        const auto byte = static_cast<unsigned char>(*at);
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) return at;
    }
    return end;
}

struct Name {
    std::string_view text;
    Known known;
};

/// Ordered by length, so that one length is one short run.
constexpr std::array names = std::to_array<Name>({
    {"te", Known::te},
    {"via", Known::via},
    {"host", Known::host},
    {"date", Known::date},
    {"expect", Known::expect},
    {"cookie", Known::cookie},
    {"server", Known::server},
    {"accept", Known::accept},
    {"upgrade", Known::upgrade},
    {"trailer", Known::trailer},
    {"location", Known::location},
    {"forwarded", Known::forwarded},
    {"x-real-ip", Known::x_real_ip},
    {"connection", Known::connection},
    {"user-agent", Known::user_agent},
    {"keep-alive", Known::keep_alive},
    {"set-cookie", Known::set_cookie},
    {"tracestate", Known::tracestate},
    {"retry-after", Known::retry_after},
    {"traceparent", Known::traceparent},
    {"content-type", Known::content_type},
    {"x-request-id", Known::x_request_id},
    {"authorization", Known::authorization},
    {"content-range", Known::content_range},
    {"cache-control", Known::cache_control},
    {"content-length", Known::content_length},
    {"http2-settings", Known::http2_settings},
    {"x-forwarded-for", Known::x_forwarded_for},
    {"x-forwarded-host", Known::x_forwarded_host},
    {"x-forwarded-port", Known::x_forwarded_port},
    {"content-encoding", Known::content_encoding},
    {"proxy-connection", Known::proxy_connection},
    {"transfer-encoding", Known::transfer_encoding},
    {"x-forwarded-proto", Known::x_forwarded_proto},
    {"proxy-authenticate", Known::proxy_authenticate},
    {"proxy-authorization", Known::proxy_authorization},
});
static_assert(names.size() == known_count - 1);  // all but `other`
static_assert(std::ranges::is_sorted(names, {}, [](const Name& name) { return name.text.size(); }));
static_assert(known_count <= 64);  // one bit each in Fields::present_

constexpr std::size_t longest_name = names.back().text.size();
/// runs[n] is the first name of at least n bytes.
constexpr std::array<std::uint8_t, longest_name + 2> runs = [] {
    std::array<std::uint8_t, longest_name + 2> starts{};
    for (std::size_t size = 0; size < starts.size(); ++size) {
        std::uint8_t at = 0;
        while (at < names.size() && names[at].text.size() < size) ++at;
        starts[size] = at;
    }
    return starts;
}();

constexpr std::uint64_t bit(Known known) { return std::uint64_t{1} << static_cast<unsigned>(known); }

/// RFC 9110 7.6.1, and Proxy-Authorization, which is meant for the first proxy.
constexpr std::uint64_t always_hop = bit(Known::connection) | bit(Known::keep_alive) | bit(Known::te) |
                                     bit(Known::trailer) | bit(Known::transfer_encoding) | bit(Known::upgrade) |
                                     bit(Known::proxy_connection) | bit(Known::proxy_authenticate) |
                                     bit(Known::proxy_authorization) | bit(Known::http2_settings);

/// What a peer cannot make us drop by listing it in Connection.
constexpr std::uint64_t never_hop =
    bit(Known::host) | bit(Known::content_length) | bit(Known::x_forwarded_for) | bit(Known::x_forwarded_proto) |
    bit(Known::x_forwarded_host) | bit(Known::x_forwarded_port) | bit(Known::x_real_ip) | bit(Known::forwarded) |
    bit(Known::via) | bit(Known::x_request_id) | bit(Known::traceparent) | bit(Known::tracestate) | bit(Known::date);

}  // namespace

Known classify(std::string_view name) {
    if (name.size() > longest_name) return Known::other;
    for (std::size_t at = runs[name.size()]; at < runs[name.size() + 1]; ++at) {
        if (equal_ignoring_case(names[at].text, name)) return names[at].known;
    }
    return Known::other;
}

std::string_view Fields::get(Known known) const {
    if (!has(known)) return {};
    for (const Line& line : lines_) {
        if (line.known == known) return {base_ + line.value, line.value_size};
    }
    return {};
}

std::string_view Fields::get(std::string_view name) const {
    for (const Header header : *this) {
        if (equal_ignoring_case(header.name, name)) return header.value;
    }
    return {};
}

std::size_t Fields::count(Known known) const {
    if (!has(known)) return 0;
    return static_cast<std::size_t>(
        std::ranges::count_if(lines_, [known](const Line& line) { return line.known == known; }));
}

Refusal Fields::add(std::string_view line, std::size_t at, const HeadLimits& limits) {
    if (!line.empty() && is_blank(line.front())) return {400, "a field continued on a new line"};
    std::size_t name_size = 0;
    while (name_size < line.size() && is_tchar(line[name_size])) ++name_size;
    if (name_size == line.size() || line[name_size] != ':') return {400, "a field name that is not a token"};
    if (name_size == 0) return {400, "a field without a name"};
    if (name_size > std::min<std::size_t>(limits.name_bytes, UINT16_MAX)) return {431, "a field name too long"};
    const char* const start = line.data();
    const char* value = start + name_size + 1;
    const char* end = start + line.size();
    if (find_control(value, end) != end) return {400, "a control byte in a field value"};
    while (value != end && is_blank(*value)) ++value;
    while (end != value && is_blank(end[-1])) --end;
    const auto value_size = static_cast<std::size_t>(end - value);
    if (value_size > limits.value_bytes) return {431, "a field value too long"};
    if (lines_.size() >= limits.fields) return {431, "too many fields"};

    const Known known = classify({start, name_size});
    present_ |= bit(known);
    lines_.push_back({static_cast<std::uint32_t>(at),
                      static_cast<std::uint32_t>(at + static_cast<std::size_t>(value - start)),
                      static_cast<std::uint32_t>(value_size), static_cast<std::uint16_t>(name_size), known,
                      (always_hop & bit(known)) != 0});
    return {};
}

Refusal Fields::add(std::string_view name, std::size_t name_at, std::string_view value, std::size_t value_at,
                    const HeadLimits& limits) {
    const bool lower_case = std::ranges::all_of(name, [](char c) { return is_tchar(c) && lower(c) == c; });
    if (name.empty() || !lower_case) return {400, "a field name that is not a lower-case token"};
    if (name.size() > std::min<std::size_t>(limits.name_bytes, UINT16_MAX)) return {431, "a field name too long"};
    if (!is_field_value(value)) return {400, "a control byte in a field value"};
    if (!value.empty() && (is_blank(value.front()) || is_blank(value.back()))) return {400, "blanks around a value"};
    if (value.size() > limits.value_bytes) return {431, "a field value too long"};
    if (lines_.size() >= limits.fields) return {431, "too many fields"};
    const Known known = classify(name);
    present_ |= bit(known);
    lines_.push_back({static_cast<std::uint32_t>(name_at), static_cast<std::uint32_t>(value_at),
                      static_cast<std::uint32_t>(value.size()), static_cast<std::uint16_t>(name.size()), known,
                      (always_hop & bit(known)) != 0});
    return {};
}

void Fields::drop_last() {
    const Known known = lines_.back().known;
    lines_.pop_back();
    const bool more = std::ranges::any_of(lines_, [known](const Line& line) { return line.known == known; });
    if (!more) present_ &= ~bit(known);
}

void Fields::mark_hop(Known known) {
    for (Line& line : lines_) {
        if (line.known == known) line.hop = true;
    }
}

void Fields::mark_listed(std::string_view option) {
    for (Line& line : lines_) {
        if (line.name_size != option.size() || (never_hop & bit(line.known)) != 0) continue;
        if (equal_ignoring_case({base_ + line.name, line.name_size}, option)) line.hop = true;
    }
}

ConnectionOptions Fields::read_connection() {
    ConnectionOptions options;
    if (!has(Known::connection)) return options;
    std::size_t seen = 0;
    for (std::size_t at = 0; at < lines_.size(); ++at) {
        if (lines_[at].known != Known::connection) continue;
        std::string_view list = (*this)[at].value;
        for (std::string_view option = next_element(list); !option.empty(); option = next_element(list)) {
            if (!is_token(option)) {
                options.refusal = {400, "a Connection option that is not a token"};
                return options;
            }
            if (++seen > max_connection_options) {
                options.refusal = {400, "too many Connection options"};
                return options;
            }
            if (equal_ignoring_case(option, "close")) {
                options.close = true;
            } else if (equal_ignoring_case(option, "keep-alive")) {
                options.keep_alive = true;
            } else if (equal_ignoring_case(option, "upgrade")) {
                options.upgrade = true;
            } else {
                mark_listed(option);
            }
        }
    }
    return options;
}

bool may_be_trailer(const Header& header) {
    constexpr std::array families{"content-"sv, "proxy-"sv, "if-"sv, "x-forwarded-"sv, "sec-"sv, "access-control-"sv};
    constexpr std::array others{"www-authenticate"sv,
                                "max-forwards"sv,
                                "range"sv,
                                "pragma"sv,
                                "age"sv,
                                "expires"sv,
                                "vary"sv,
                                "warning"sv,
                                "set-cookie2"sv,
                                "x-http-method"sv,
                                "x-http-method-override"sv,
                                "x-method-override"sv,
                                "x-original-url"sv,
                                "x-rewrite-url"sv,
                                "x-original-host"sv,
                                "x-host"sv};
    if (header.known != Known::other) return false;
    const auto begins = [&](std::string_view family) {
        return equal_ignoring_case(header.name.substr(0, family.size()), family);
    };
    const auto is = [&](std::string_view name) { return equal_ignoring_case(header.name, name); };
    return std::ranges::none_of(families, begins) && std::ranges::none_of(others, is);
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t at = 0; at < a.size(); ++at) {
        if (lower(a[at]) != lower(b[at])) return false;
    }
    return true;
}

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_tchar); }

bool is_field_value(std::string_view text) {
    const char* end = text.data() + text.size();
    return find_control(text.data(), end) == end;
}

bool is_authority(std::string_view text) {
    // 255 bytes of name (RFC 1035 2.3.4), ":" and five digits.
    if (text.empty() || text.size() > 261) return false;
    std::size_t at = 0;
    if (text.front() == '[') {
        for (at = 1; at < text.size() && text[at] != ']'; ++at) {
            const char c = lower(text[at]);
            if (!is_digit(c) && !(c >= 'a' && c <= 'f') && c != ':' && c != '.') return false;
        }
        if (at < 3 || at >= text.size()) return false;
        ++at;
    } else {
        for (; at < text.size() && text[at] != ':'; ++at) {
            const char c = lower(text[at]);
            const bool named = is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '.' || c == '_' || c == '~';
            if (!named) return false;
        }
        if (at == 0) return false;
    }
    if (at == text.size()) return true;
    if (text[at] != ':') return false;
    const std::string_view port = text.substr(at + 1);
    if (port.empty()) return true;
    const Number number = parse_decimal(port);
    return port.size() <= 5 && number.ok && number.value <= 65535;
}

std::string_view next_element(std::string_view& list) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        std::string_view element = list.substr(0, comma);
        list.remove_prefix(std::min(comma + 1, list.size()));
        while (!element.empty() && is_blank(element.front())) element.remove_prefix(1);
        while (!element.empty() && is_blank(element.back())) element.remove_suffix(1);
        if (!element.empty()) return element;
    }
    return {};
}

Number parse_decimal(std::string_view digits) {
    if (digits.empty()) return {};
    std::uint64_t value = 0;
    for (char c : digits) {
        if (!is_digit(c)) return {};
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (value > (static_cast<std::uint64_t>(INT64_MAX) - digit) / 10) return {};
        value = value * 10 + digit;
    }
    return {true, value};
}

}  // namespace plimsoll::http
