// Heads of HTTP/1.1 messages (RFC 9112 sections 2 to 6), parsed strictly and in place: no I/O, no copy, no allocation
// once warm. One parser a direction and connection; no thread rule.
//
//   parser.feed(received)  while it says more: append to `received` and feed it again, whole
//   parser.head()          once complete: views into `received`; head().bytes of it are the head, the rest is body
//   parser.reset()         for the next message
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "http/fields.h"
#include "http/limits.h"

namespace plimsoll::http {

enum class Method : std::uint8_t { other, get, head, post, put, delete_, options, patch, trace, connect };

/// Case-sensitive, as RFC 9110 9.1 says.
[[nodiscard]] Method classify_method(std::string_view text);
/// RFC 9110 9.2.2: sending it twice is as sending it once.
[[nodiscard]] bool is_idempotent(Method method);

/// How long the body is (RFC 9112 section 6.3).
struct Framing {
    enum class Kind : std::uint8_t { none, length, chunked, until_close };
    Kind kind = Kind::none;
    std::uint64_t length = 0;  ///< for `length` only; 0 is told apart from `none` since it was announced
    [[nodiscard]] bool has_body() const { return kind != Kind::none && !(kind == Kind::length && length == 0); }
    friend bool operator==(const Framing&, const Framing&) = default;
};

/// Longest method we carry (RFC 9112 3: longer than any we know is 501).
inline constexpr std::size_t max_method_bytes = 32;
/// The bytes of a request target: VCHAR without '#'.
[[nodiscard]] bool is_target(std::string_view text);
/// The body's length as Transfer-Encoding and Content-Length give it; `none` when they say nothing.
[[nodiscard]] Refusal read_framing(const Fields& fields, std::uint8_t minor_version, Framing& framing);

enum class Progress : std::uint8_t {
    more,      ///< no verdict yet: feed again when bytes have come
    complete,  ///< the head is whole and valid
    refused,   ///< see refusal(); answer its status and close
};

/// A piece of the head by offset, so that the buffer may move.
struct Slice {
    std::uint32_t at = 0;
    std::uint32_t size = 0;
};

class RequestParser;
class ResponseParser;

/// A request's head. Views point into the bytes fed last; call rebase() if they move.
class RequestHead {
public:
    Method method = Method::other;
    std::uint8_t minor_version = 1;  ///< HTTP/1.x: 0 or 1
    Framing framing;                 ///< none, length or chunked
    bool keep_alive = true;          ///< the client lets us keep the connection
    bool expects_continue = false;   ///< Expect: 100-continue, from HTTP/1.1
    bool upgrade = false;            ///< asks for another protocol, by both fields, without a body, from HTTP/1.1
    bool has_query = false;          ///< there was a '?'
    bool absolute_form = false;      ///< the target named the authority (URI, or CONNECT's host:port); Host was replaced
    std::size_t bytes = 0;           ///< of the head as received, empty line included
    Fields fields;

    [[nodiscard]] std::string_view method_text() const { return view(method_text_); }
    /// As sent.
    [[nodiscard]] std::string_view target() const { return view(target_); }
    /// What routing sees and what is forwarded, byte for byte as sent: up to '?', "/" when the target had none, "*" for
    /// the asterisk form.
    [[nodiscard]] std::string_view path() const { return path_.size != 0 ? view(path_) : std::string_view("/"); }
    /// After '?', without it.
    [[nodiscard]] std::string_view query() const { return view(query_); }
    /// Of the absolute-form target or :authority, else the Host field; validated; empty only in HTTP/1.0.
    [[nodiscard]] std::string_view authority() const { return view(authority_); }
    /// If `upgrade`: the protocol asked for, "websocket": the Upgrade field, or :protocol of an extended CONNECT
    /// (RFC 8441), whose method() is connect and whose target is a path all the same. Empty when several Upgrade lines
    /// came.
    [[nodiscard]] std::string_view protocol() const { return view(protocol_); }
    /// The bytes have moved to `base`.
    void rebase(const char* base) { base_ = base, fields.rebase(base); }

private:
    friend class RequestParser;
    friend class RequestSection;
    [[nodiscard]] std::string_view view(Slice slice) const { return {base_ + slice.at, slice.size}; }
    /// `text` stands at `at`; it is empty, or starts with '/' or '?', and has no byte that cannot stand in a target.
    Refusal read_path(std::string_view text, std::size_t at);
    /// The Expect field: understood, or refused.
    Refusal read_expect();
    const char* base_ = "";
    Slice method_text_, target_, path_, query_, authority_, protocol_;
};

/// A response's head.
class ResponseHead {
public:
    std::uint16_t status = 0;
    std::uint8_t minor_version = 1;
    Framing framing;         ///< also right for answers to HEAD, 1xx, 204, 304 (none)
    bool keep_alive = true;  ///< the connection may be used again once the body has ended
    bool upgrade = false;    ///< 101: what follows is another protocol
    std::size_t bytes = 0;
    Fields fields;

    [[nodiscard]] std::string_view reason() const { return {base_ + reason_.at, reason_.size}; }
    /// 1xx except 101: another head follows.
    [[nodiscard]] bool interim() const { return status < 200 && status != 101; }
    void rebase(const char* base) { base_ = base, fields.rebase(base); }

private:
    friend class ResponseParser;
    friend class ResponseSection;
    const char* base_ = "";
    Slice reason_;
};

/// What both parsers share: finding lines, each byte looked at once however it is fed.
class LineScanner {
public:
    enum class Found : std::uint8_t { nothing, line, bare_lf };

    void reset() { line_ = 0, scanned_ = 0; }
    /// Looks for the end of the line that starts at line_start().
    Found find(std::string_view bytes);
    /// After Found::line: the line without CRLF; moves on to the next one.
    std::string_view take(std::string_view bytes);
    [[nodiscard]] std::size_t line_start() const { return line_; }
    /// One past the LF, or past the last byte looked at.
    [[nodiscard]] std::size_t position() const { return scanned_; }

private:
    std::size_t line_ = 0;     ///< where the current line starts
    std::size_t scanned_ = 0;  ///< no LF between line_ and here, unless one was just found
};

class RequestParser {
public:
    explicit RequestParser(const HeadLimits& limits = {}) : limits_(limits) {}

    /// `received`: all bytes since the head's first, the old ones unchanged; may lie elsewhere than last time. One CRLF
    /// before the request line is skipped (RFC 9112 2.2). The verdict does not depend on how the bytes were cut.
    Progress feed(std::string_view received);
    /// After a refusal: what was understood before it, for a log.
    [[nodiscard]] const RequestHead& head() const { return head_; }
    [[nodiscard]] RequestHead& head() { return head_; }
    [[nodiscard]] const Refusal& refusal() const { return refusal_; }
    void reset();

private:
    Progress refuse(std::uint16_t status, std::string_view reason);
    Refusal check_partial(std::string_view received) const;
    Refusal parse_request_line(std::string_view line, std::size_t at);
    Refusal parse_target(std::string_view target, std::size_t at);
    Refusal finish();
    Refusal finish_host();

    HeadLimits limits_;
    LineScanner lines_;
    RequestHead head_;
    Refusal refusal_;
    bool first_line_done_ = false;
    bool skipped_empty_line_ = false;
    bool complete_ = false;
};

class ResponseParser {
public:
    explicit ResponseParser(const HeadLimits& limits = {}) : limits_(limits) {}

    /// As RequestParser::feed. `request`: the method of the request this answers (HEAD has no body). Refusals carry
    /// 502.
    Progress feed(std::string_view received, Method request);
    [[nodiscard]] const ResponseHead& head() const { return head_; }
    [[nodiscard]] ResponseHead& head() { return head_; }
    [[nodiscard]] const Refusal& refusal() const { return refusal_; }
    void reset();

private:
    Progress refuse(const Refusal& refusal);
    Refusal parse_status_line(std::string_view line, std::size_t at);
    Refusal finish(Method request);

    HeadLimits limits_;
    LineScanner lines_;
    ResponseHead head_;
    Refusal refusal_;
    bool first_line_done_ = false;
    bool complete_ = false;
};

}  // namespace plimsoll::http
