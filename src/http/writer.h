// Writes heads and chunk framing. Appends to a caller's string, whose memory is kept between messages. No I/O, no
// thread rule. Source: RFC 9112 sections 3, 4, 5 and 7.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/fields.h"
#include "http/head.h"

namespace plimsoll::http {

/// The standard phrase of a status, or "" (RFC 9110 section 15).
[[nodiscard]] std::string_view reason_phrase(std::uint16_t status);

/// One head, from its first line to end(). What is written must be valid already: it came from a parser, or is a
/// constant, or was asked about with is_token / is_field_value. A name or value with a control byte ends the process,
/// since it would split the message.
class HeadWriter {
public:
    explicit HeadWriter(std::string& out) : out_(out) {}

    /// "GET /a?b HTTP/1.1": method, path and query of `head` in origin form, whatever form they came in.
    HeadWriter& request_line(const RequestHead& head);
    HeadWriter& request_line(std::string_view method, std::string_view target);
    /// "HTTP/1.1 200 OK"; the standard phrase unless one is given.
    HeadWriter& status_line(std::uint16_t status, std::string_view reason = {});

    HeadWriter& field(std::string_view name, std::string_view value);
    HeadWriter& field(std::string_view name, std::uint64_t value);
    /// All lines of `fields` that may be forwarded (not hop), in order, names as received; without Host and
    /// Content-Length, which are written from validated values, and without any in `drop` (bit `1 << Known`).
    HeadWriter& forward(const Fields& fields, std::uint64_t drop = 0);
    /// Content-Length, Transfer-Encoding: chunked, or nothing.
    HeadWriter& framing(const Framing& framing);
    /// The empty line.
    void end();

private:
    std::string& out_;
};

/// For HeadWriter::forward's `drop`.
[[nodiscard]] constexpr std::uint64_t drop(Known known) { return std::uint64_t{1} << static_cast<unsigned>(known); }

/// "1f40\r\n" for a chunk of `size` > 0 bytes; the data and chunk_end follow. Made for writev.
class ChunkHead {
public:
    explicit ChunkHead(std::uint64_t size);
    [[nodiscard]] std::string_view view() const { return {text_.data() + at_, text_.size() - at_}; }

private:
    std::array<char, 18> text_;
    std::size_t at_;
};
inline constexpr std::string_view chunk_end = "\r\n";
inline constexpr std::string_view last_chunk = "0\r\n\r\n";  ///< no trailers
inline constexpr std::string_view continue_head = "HTTP/1.1 100 Continue\r\n\r\n";

/// A whole small answer of our own that closes or keeps the connection: head and plain-text body.
void append_answer(std::string& out, std::uint16_t status, std::string_view body, bool keep_alive,
                   bool head_request = false);

}  // namespace plimsoll::http
