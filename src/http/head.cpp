#include "http/head.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace plimsoll::http {
namespace {

constexpr std::size_t version_bytes = 8;  // "HTTP/1.1"
constexpr std::size_t crlf_bytes = 2;

enum TargetByte : std::uint8_t { bad = 0, query_only = 1, anywhere = 2 };

/// VCHAR without '#', which would start a fragment. A backslash is taken in a query only: some servers read it as '/'.
constexpr std::array<std::uint8_t, 256> target_table = [] {
    std::array<std::uint8_t, 256> table{};
    for (unsigned c = 0x21; c < 0x7f; ++c) table[c] = anywhere;
    table['#'] = bad;
    table['\\'] = query_only;
    return table;
}();

std::uint8_t target_byte(char c) { return target_table[static_cast<unsigned char>(c)]; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
Slice slice(std::size_t at, std::size_t size) {
    return {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(size)};
}

/// What "HTTP/x.y" says: 0 or 1 for HTTP/1.0 and 1.1, `other` for a version we do not speak, `wrong` for anything else.
enum class Version : std::uint8_t { http10, http11, other, wrong };
Version parse_version(std::string_view text) {
    if (text.size() != version_bytes || !text.starts_with("HTTP/") || !is_digit(text[5]) || text[6] != '.' ||
        !is_digit(text[7])) {
        return Version::wrong;
    }
    if (text[5] != '1' || text[7] > '1') return Version::other;
    return text[7] == '1' ? Version::http11 : Version::http10;
}

/// Transfer-Encoding, strictly: one line, one element, "chunked" (RFC 9112 6.1; anything else is how smuggling starts).
Refusal check_transfer_encoding(const Fields& fields, std::uint8_t minor_version) {
    if (minor_version == 0) return {400, "Transfer-Encoding in HTTP/1.0"};
    if (fields.count(Known::transfer_encoding) > 1) return {400, "more than one Transfer-Encoding"};
    const std::string_view value = fields.get(Known::transfer_encoding);
    if (equal_ignoring_case(value, "chunked")) return {};
    std::string_view list = value;
    std::size_t codings = 0, chunked = 0;
    bool chunked_last = false;
    for (std::string_view coding = next_element(list); !coding.empty(); coding = next_element(list)) {
        if (!is_token(coding)) return {400, "a transfer coding that is not a token"};
        ++codings;
        chunked_last = equal_ignoring_case(coding, "chunked");
        if (chunked_last) ++chunked;
    }
    if (codings == 0 || chunked > 1 || (chunked == 1 && !chunked_last)) return {400, "Transfer-Encoding is ambiguous"};
    if (codings == 1 && chunked == 1) return {400, "Transfer-Encoding is not written as one plain \"chunked\""};
    return {501, "a transfer coding other than chunked"};
}

}  // namespace

Refusal read_framing(const Fields& fields, std::uint8_t minor_version, Framing& framing) {
    framing = {};
    const bool chunked = fields.has(Known::transfer_encoding);
    const bool length = fields.has(Known::content_length);
    if (chunked && length) return {400, "both Content-Length and Transfer-Encoding"};
    if (chunked) {
        framing.kind = Framing::Kind::chunked;
        return check_transfer_encoding(fields, minor_version);
    }
    if (!length) return {};
    if (fields.count(Known::content_length) > 1) return {400, "more than one Content-Length"};
    const Number number = parse_decimal(fields.get(Known::content_length));
    if (!number.ok) return {400, "a Content-Length that is not a number"};
    framing = {Framing::Kind::length, number.value};
    return {};
}

bool is_target(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return target_byte(c) != bad; });
}

Method classify_method(std::string_view text) {
    switch (text.size()) {
        case 3: return text == "GET" ? Method::get : text == "PUT" ? Method::put : Method::other;
        case 4: return text == "POST" ? Method::post : text == "HEAD" ? Method::head : Method::other;
        case 5: return text == "PATCH" ? Method::patch : text == "TRACE" ? Method::trace : Method::other;
        case 6: return text == "DELETE" ? Method::delete_ : Method::other;
        case 7: return text == "OPTIONS" ? Method::options : text == "CONNECT" ? Method::connect : Method::other;
        default: return Method::other;
    }
}

bool is_idempotent(Method method) {
    switch (method) {
        case Method::get:
        case Method::head:
        case Method::put:
        case Method::delete_:
        case Method::options:
        case Method::trace: return true;
        case Method::other:
        case Method::post:
        case Method::patch:
        case Method::connect: return false;
    }
    return false;
}

LineScanner::Found LineScanner::find(std::string_view bytes) {
    const std::size_t left = bytes.size() - scanned_;
    const void* lf = left == 0 ? nullptr : std::memchr(bytes.data() + scanned_, '\n', left);
    if (lf == nullptr) {
        scanned_ = bytes.size();
        return Found::nothing;
    }
    const auto at = static_cast<std::size_t>(static_cast<const char*>(lf) - bytes.data());
    scanned_ = at + 1;
    return at > line_ && bytes[at - 1] == '\r' ? Found::line : Found::bare_lf;
}

std::string_view LineScanner::take(std::string_view bytes) {
    const std::string_view line = bytes.substr(line_, scanned_ - crlf_bytes - line_);
    line_ = scanned_;
    return line;
}

// ---------------------------------------------------------------------------------------------------------- requests

void RequestParser::reset() {
    lines_.reset();
    Fields fields = std::move(head_.fields);  // keeps its memory
    fields.clear();
    head_ = RequestHead();
    head_.fields = std::move(fields);
    refusal_ = {};
    first_line_done_ = skipped_empty_line_ = complete_ = false;
}

Progress RequestParser::refuse(std::uint16_t status, std::string_view reason) {
    refusal_ = {status, reason};
    return Progress::refused;
}

/// What can be said of a line before, or whether or not, it is whole. Runs before anything else, so that the verdict
/// does not depend on how the bytes were cut.
Refusal RequestParser::check_partial(std::string_view received) const {
    const std::size_t start = lines_.line_start();
    if (!first_line_done_) {
        const char first = received[start];
        if (!is_token({&first, 1}) && (first != '\r' || skipped_empty_line_)) {
            return {400, "this is not an HTTP/1.1 request"};  // TLS, or a body nobody announced
        }
        const std::size_t longest = max_method_bytes + 1 + limits_.target_bytes + 1 + version_bytes + crlf_bytes;
        if (lines_.position() - start > longest) return {414, "the request line is too long"};
    }
    if (lines_.position() > limits_.head_bytes) {
        return first_line_done_ ? Refusal{431, "the head is too long"} : Refusal{414, "the request line is too long"};
    }
    return {};
}

Progress RequestParser::feed(std::string_view received) {
    head_.rebase(received.data());
    if (refusal_.status != 0) return Progress::refused;
    if (complete_) return Progress::complete;
    while (lines_.line_start() < received.size()) {
        const LineScanner::Found found = lines_.find(received);
        Refusal refusal = check_partial(received);
        if (refusal.status != 0) return refuse(refusal.status, refusal.reason);
        if (found == LineScanner::Found::nothing) return Progress::more;
        if (found == LineScanner::Found::bare_lf) return refuse(400, "a line that ends without CR");
        const std::size_t at = lines_.line_start();
        const std::string_view line = lines_.take(received);
        if (!first_line_done_) {
            if (line.empty()) {
                skipped_empty_line_ = true;
                continue;
            }
            first_line_done_ = true;
            refusal = parse_request_line(line, at);
        } else if (line.empty()) {
            refusal = finish();
            complete_ = refusal.status == 0;
            if (complete_) return Progress::complete;
        } else {
            refusal = head_.fields.add(line, at, limits_);
        }
        if (refusal.status != 0) return refuse(refusal.status, refusal.reason);
    }
    return Progress::more;
}

Refusal RequestParser::parse_request_line(std::string_view line, std::size_t at) {
    const std::size_t method_end = line.find(' ');
    const std::string_view method = line.substr(0, method_end);
    if (!is_token(method)) return {400, "a method that is not a token"};
    if (method_end == std::string_view::npos) return {400, "a request line without a target"};
    if (method.size() > max_method_bytes) return {501, "an unknown method"};
    head_.method_text_ = slice(at, method.size());
    head_.method = classify_method(method);

    const std::size_t target_at = method_end + 1;
    std::size_t target_end = target_at;
    while (target_end < line.size() && target_byte(line[target_end]) != bad) ++target_end;
    const std::string_view target = line.substr(target_at, target_end - target_at);
    if (target.empty()) return {400, "a request line without a target"};
    if (target_end == line.size()) return {400, "a request line without a version"};
    if (line[target_end] != ' ') return {400, "a byte that cannot stand in a target"};
    const Version version = parse_version(line.substr(target_end + 1));
    if (version == Version::wrong) return {400, "a malformed version"};
    if (version == Version::other) return {505, "a version other than HTTP/1.0 and HTTP/1.1"};
    head_.minor_version = version == Version::http11 ? 1 : 0;
    if (target.size() > limits_.target_bytes) return {414, "the target is too long"};
    head_.target_ = slice(at + target_at, target.size());
    if (head_.method == Method::connect) {  // authority-form, with a port (RFC 9112 3.2.3)
        const std::size_t colon = target.rfind(':');
        const bool named = is_authority(target) && colon != std::string_view::npos && colon + 1 < target.size() &&
                           target.find(']', colon) == std::string_view::npos;
        if (!named || head_.minor_version == 0) return {400, "CONNECT without host:port"};
        head_.absolute_form = true;
        head_.authority_ = head_.target_;
        return {};
    }
    return parse_target(target, at + target_at);
}

Refusal RequestParser::parse_target(std::string_view target, std::size_t at) {
    if (target.front() == '/') return head_.read_path(target, at);
    if (target == "*") {
        if (head_.method != Method::options) return {400, "\"*\" as a target is for OPTIONS"};
        head_.path_ = slice(at, 1);
        return {};
    }
    std::size_t scheme = 0;
    if (equal_ignoring_case(target.substr(0, 7), "http://")) scheme = 7;
    if (equal_ignoring_case(target.substr(0, 8), "https://")) scheme = 8;
    if (scheme == 0) return {400, "a target that is neither a path nor an http URI"};
    const std::size_t end = std::min(target.find_first_of("/?", scheme), target.size());
    const std::string_view authority = target.substr(scheme, end - scheme);
    if (!is_authority(authority)) return {400, "a target with an invalid authority"};
    head_.absolute_form = true;
    head_.authority_ = slice(at + scheme, authority.size());
    return head_.read_path(target.substr(end), at + end);
}

Refusal RequestHead::read_path(std::string_view text, std::size_t at) {
    const std::size_t path_end = std::min(text.find('?'), text.size());
    for (std::size_t i = 0; i < path_end; ++i) {
        if (target_byte(text[i]) != anywhere) return {400, "a backslash in the path"};
        if (text[i] != '%') continue;
        if (path_end - i < 3 || !is_hex(text[i + 1]) || !is_hex(text[i + 2])) {
            return {400, "a malformed percent-encoding in the path"};
        }
        if (text[i + 1] == '0' && text[i + 2] == '0') return {400, "%00 in the path"};
    }
    path_ = slice(at, path_end);
    if (path_end == text.size()) return {};
    has_query = true;
    query_ = slice(at + path_end + 1, text.size() - path_end - 1);
    return {};
}

Refusal RequestHead::read_expect() {
    if (!fields.has(Known::expect)) return {};
    const bool plain =
        fields.count(Known::expect) == 1 && equal_ignoring_case(fields.get(Known::expect), "100-continue");
    if (!plain) return {417, "an expectation other than 100-continue"};
    expects_continue = true;
    return {};
}

Refusal RequestParser::finish() {
    head_.bytes = lines_.line_start();
    const ConnectionOptions connection = head_.fields.read_connection();
    if (connection.refusal.status != 0) return connection.refusal;
    head_.keep_alive = !connection.close && (head_.minor_version == 1 || connection.keep_alive);
    if (const Refusal refusal = finish_host(); refusal.status != 0) return refusal;
    if (const Refusal refusal = read_framing(head_.fields, head_.minor_version, head_.framing); refusal.status != 0) {
        return refusal;
    }
    if (head_.method == Method::connect && head_.framing.kind != Framing::Kind::none) {
        return {400, "CONNECT with a body"};
    }
    if (head_.minor_version == 0) {
        // Means nothing here (RFC 9110 10.1.1), and must not come to mean something when forwarded as HTTP/1.1.
        head_.fields.mark_hop(Known::expect);
    } else if (const Refusal refusal = head_.read_expect(); refusal.status != 0) {
        return refusal;
    }
    head_.upgrade = head_.minor_version == 1 && connection.upgrade && head_.fields.has(Known::upgrade) &&
                    head_.framing.kind == Framing::Kind::none;
    if (head_.upgrade && head_.fields.count(Known::upgrade) == 1) {
        const std::string_view protocol = head_.fields.get(Known::upgrade);
        head_.protocol_ = slice(static_cast<std::size_t>(protocol.data() - head_.base_), protocol.size());
    }
    return {};
}

Refusal RequestParser::finish_host() {
    const std::size_t hosts = head_.fields.count(Known::host);
    if (hosts > 1) return {400, "more than one Host"};
    if (hosts == 0) {
        if (head_.minor_version == 1) return {400, "no Host"};
        return {};
    }
    const std::string_view host = head_.fields.get(Known::host);
    if (!is_authority(host)) return {400, "an invalid Host"};
    if (!head_.absolute_form) {
        head_.authority_ = slice(static_cast<std::size_t>(host.data() - head_.base_), host.size());
    }
    return {};
}

// --------------------------------------------------------------------------------------------------------- responses

void ResponseParser::reset() {
    lines_.reset();
    Fields fields = std::move(head_.fields);
    fields.clear();
    head_ = ResponseHead();
    head_.fields = std::move(fields);
    refusal_ = {};
    first_line_done_ = complete_ = false;
}

/// An upstream's fault is a 502, whatever the same words in a request would be.
Progress ResponseParser::refuse(const Refusal& refusal) {
    refusal_ = {502, refusal.reason};
    return Progress::refused;
}

Progress ResponseParser::feed(std::string_view received, Method request) {
    head_.rebase(received.data());
    if (refusal_.status != 0) return Progress::refused;
    if (complete_) return Progress::complete;
    while (lines_.line_start() < received.size()) {
        const LineScanner::Found found = lines_.find(received);
        if (!first_line_done_ && received[0] != 'H') return refuse({502, "this is not an HTTP/1.1 response"});
        if (lines_.position() > limits_.head_bytes) return refuse({502, "the head is too long"});
        if (found == LineScanner::Found::nothing) return Progress::more;
        if (found == LineScanner::Found::bare_lf) return refuse({502, "a line that ends without CR"});
        const std::size_t at = lines_.line_start();
        const std::string_view line = lines_.take(received);
        Refusal refusal;
        if (!first_line_done_) {
            first_line_done_ = true;
            refusal = parse_status_line(line, at);
        } else if (line.empty()) {
            refusal = finish(request);
            complete_ = refusal.status == 0;
            if (complete_) return Progress::complete;
        } else {
            refusal = head_.fields.add(line, at, limits_);
        }
        if (refusal.status != 0) return refuse(refusal);
    }
    return Progress::more;
}

/// "HTTP/1.1 200 OK". The blank before an empty phrase may be missing: many servers leave it out, and nothing reads it
/// otherwise.
Refusal ResponseParser::parse_status_line(std::string_view line, std::size_t at) {
    const Version version = parse_version(line.substr(0, version_bytes));
    if (version == Version::wrong) return {502, "this is not an HTTP/1.1 response"};
    if (version == Version::other) return {502, "a version other than HTTP/1.0 and HTTP/1.1"};
    head_.minor_version = version == Version::http11 ? 1 : 0;
    const std::size_t status_at = version_bytes + 1, status_end = status_at + 3;
    const bool shaped = line.size() >= status_end && line[version_bytes] == ' ' && is_digit(line[status_at]) &&
                        is_digit(line[status_at + 1]) && is_digit(line[status_at + 2]) &&
                        (line.size() == status_end || line[status_end] == ' ');
    if (!shaped) return {502, "a malformed status line"};
    head_.status = static_cast<std::uint16_t>((line[status_at] - '0') * 100 + (line[status_at + 1] - '0') * 10 +
                                              (line[status_at + 2] - '0'));
    if (head_.status < 100 || head_.status > 599) return {502, "a status outside 100 to 599"};
    if (line.size() == status_end) return {};
    const std::string_view reason = line.substr(status_end + 1);
    if (!is_field_value(reason)) return {502, "a control byte in the status line"};
    head_.reason_ = slice(at + status_end + 1, reason.size());
    return {};
}

/// RFC 9112 6.3, in its order.
Refusal ResponseParser::finish(Method request) {
    head_.bytes = lines_.line_start();
    const ConnectionOptions connection = head_.fields.read_connection();
    if (connection.refusal.status != 0) return connection.refusal;
    Framing framing;
    if (const Refusal refusal = read_framing(head_.fields, head_.minor_version, framing); refusal.status != 0) {
        return refusal;
    }
    head_.keep_alive = !connection.close && (head_.minor_version == 1 || connection.keep_alive);
    if (head_.status < 200) {
        if (framing.kind != Framing::Kind::none) return {502, "a body announced in an interim response"};
        if (head_.minor_version == 0) return {502, "an interim response in HTTP/1.0"};
        head_.upgrade = head_.status == 101;
        return {};
    }
    if (head_.status == 204) {
        // It must not announce a body (RFC 9110 8.6). If one follows all the same, it must not be read as an answer.
        if (framing.has_body()) head_.keep_alive = false;
        return {};
    }
    if (request == Method::head || head_.status == 304) return {};
    if (framing.kind == Framing::Kind::none) {
        framing.kind = Framing::Kind::until_close;
        head_.keep_alive = false;
    }
    head_.framing = framing;
    return {};
}

}  // namespace plimsoll::http
