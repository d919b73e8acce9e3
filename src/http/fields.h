// Header fields as views into the bytes they came in, and the character rules of RFC 9110 section 5 and 9112 section 5.
// Values; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>
#include <vector>

#include "http/limits.h"

namespace plimsoll::http {

/// The names that some part of us acts on. Found out once, when the line is parsed.
enum class Known : std::uint8_t {
    other,
    host,
    content_length,
    transfer_encoding,
    connection,
    expect,
    upgrade,
    keep_alive,
    te,
    trailer,
    proxy_connection,
    proxy_authenticate,
    proxy_authorization,
    http2_settings,
    x_forwarded_for,
    x_forwarded_proto,
    x_forwarded_host,
    x_forwarded_port,
    x_real_ip,
    forwarded,
    via,
    x_request_id,
    traceparent,
    tracestate,
    authorization,
    cookie,
    set_cookie,
    date,
    server,
    location,
    retry_after,
    content_type,
    content_encoding,
    content_range,
    cache_control,
    user_agent,
    accept,
};
inline constexpr std::size_t known_count = static_cast<std::size_t>(Known::accept) + 1;

/// The name's meaning, any case. O(length).
[[nodiscard]] Known classify(std::string_view name);

/// One header line: name as sent, value without surrounding blanks.
struct Header {
    std::string_view name;
    std::string_view value;
    Known known = Known::other;
    bool hop = false;  ///< belongs to this connection only and must not be forwarded (RFC 9110 7.6.1)
};

/// Why bytes were not taken: the status to answer and a fixed text for log and body. Status 0 = nothing was refused.
struct Refusal {
    std::uint16_t status = 0;
    std::string_view reason;
    friend bool operator==(const Refusal&, const Refusal&) = default;
};

/// What the Connection lines say.
struct ConnectionOptions {
    bool close = false;
    bool keep_alive = false;
    bool upgrade = false;
    Refusal refusal;  ///< an element that is no token, or more than `max_connection_options` of them
};
/// Bounds the work of looking each one up among the lines.
inline constexpr std::size_t max_connection_options = 32;

/// The lines of one head or trailer section, as offsets from one base, so that the buffer may move (see rebase).
/// Keeps its memory over clear(): one allocation a connection, none a request.
class Fields {
public:
    class Iterator {
    public:
        Iterator(const Fields* fields, std::size_t at) : fields_(fields), at_(at) {}
        Header operator*() const { return (*fields_)[at_]; }
        Iterator& operator++() { return ++at_, *this; }
        friend bool operator==(const Iterator&, const Iterator&) = default;

    private:
        const Fields* fields_;
        std::size_t at_;
    };

    [[nodiscard]] std::size_t size() const { return lines_.size(); }
    [[nodiscard]] bool empty() const { return lines_.empty(); }
    [[nodiscard]] Header operator[](std::size_t at) const {
        const Line& line = lines_[at];
        return {{base_ + line.name, line.name_size}, {base_ + line.value, line.value_size}, line.known, line.hop};
    }
    [[nodiscard]] Iterator begin() const { return {this, 0}; }
    [[nodiscard]] Iterator end() const { return {this, lines_.size()}; }

    /// O(1).
    [[nodiscard]] bool has(Known known) const { return (present_ >> static_cast<unsigned>(known)) & 1u; }
    /// Value of the first such line, empty when there is none. O(1) when absent, else O(lines). Not for `other`.
    [[nodiscard]] std::string_view get(Known known) const;
    /// The same by name, any case.
    [[nodiscard]] std::string_view get(std::string_view name) const;
    [[nodiscard]] std::size_t count(Known known) const;

    /// The bytes have moved: from now on views start at `base`.
    void rebase(const char* base) { base_ = base; }
    void clear() { lines_.clear(), present_ = 0; }

    /// Parses one line (without CRLF) that stands at `at` from the base of the next rebase(), and keeps it.
    /// Refuses: no colon, empty name, blank or other non-token byte in the name, control byte in the value, a line that
    /// starts with a blank (obs-fold), sizes over the limits.
    [[nodiscard]] Refusal add(std::string_view line, std::size_t at, const HeadLimits& limits);
    /// Keeps one line of an HTTP/2 field section (RFC 9113 8.2), whose name and value stand at these offsets. Refuses:
    /// a name that is no lower-case token, a value with a control byte or blanks around it, sizes over the limits.
    [[nodiscard]] Refusal add(std::string_view name, std::size_t name_at, std::string_view value, std::size_t value_at,
                              const HeadLimits& limits);
    /// Reads the Connection lines: marks what RFC 9110 7.6.1 says not to forward (the fixed set, and names listed
    /// there, except framing, Host and what we set ourselves). Needs rebase() first.
    [[nodiscard]] ConnectionOptions read_connection();
    void mark_hop(Known known);  ///< these lines are not for the next peer either
    void drop_last();            ///< forgets the newest line

private:
    void mark_listed(std::string_view option);

    struct Line {
        std::uint32_t name = 0, value = 0, value_size = 0;
        std::uint16_t name_size = 0;
        Known known = Known::other;
        bool hop = false;
    };
    std::vector<Line> lines_;
    const char* base_ = "";
    std::uint64_t present_ = 0;
};

/// RFC 9110 6.5.1: nothing that frames, routes, authenticates, modifies the request, controls the response or describes
/// the content may come in a trailer: every name that we know by meaning is one of these, and some that we do not.
[[nodiscard]] bool may_be_trailer(const Header& header);

/// ASCII only, as field names and tokens are.
[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);
/// RFC 9110 5.6.2: at least one tchar, nothing else.
[[nodiscard]] bool is_token(std::string_view text);
/// No control byte but HTAB: what may stand in a field value or reason phrase.
[[nodiscard]] bool is_field_value(std::string_view text);
/// uri-host [":" port] in the strict form that names a server: letters, digits, "-._~", or "[" IPv6 "]". No userinfo,
/// no percent-encoding; port 0..65535 or empty; at most 261 bytes.
[[nodiscard]] bool is_authority(std::string_view text);
/// Takes the next element of a comma-separated list off the front, blanks trimmed, empty elements skipped; empty at the
/// end.
[[nodiscard]] std::string_view next_element(std::string_view& list);
/// 1*DIGIT up to 2^63 - 1; anything else is nullopt-like: `ok` false.
struct Number {
    bool ok = false;
    std::uint64_t value = 0;
};
[[nodiscard]] Number parse_decimal(std::string_view digits);

}  // namespace plimsoll::http
