// Draft: a head on its way out, before it is encoded for HTTP/1.1 or HTTP/2. Names and values are views into the head
// it was made from, into the snapshot, or into the draft's own memory (keep). Cleared and used again, it allocates
// nothing once warm.
// Thread rule: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/fields.h"
#include "http/head.h"

namespace plimsoll::http {

/// What is written must be valid already: it came from a parser, is a constant, or was asked about with is_token /
/// is_field_value. A name or value with a control byte ends the process, since it would split the message.
class Draft {
public:
    struct Line {
        std::string_view name;  ///< as received or as configured; HTTP/2 lower-cases it
        std::string_view value;
    };

    // Of a request; empty in an answer.
    std::string_view method;
    std::string_view scheme;     ///< "http" or "https"
    std::string_view authority;  ///< Host or :authority
    std::string_view target;     ///< path and query, "*" for OPTIONS *; empty for CONNECT without :protocol
    std::string_view protocol;   ///< an upgrade that is asked for: "websocket" (Upgrade field, or RFC 8441 :protocol)
    // Of an answer; 0 in a request.
    std::uint16_t status = 0;
    std::string_view reason;  ///< HTTP/1.1 only; the standard phrase when empty

    /// How the body is delimited: none, length, or chunked = "not known before" (HTTP/2: by END_STREAM).
    Framing framing;

    void clear();
    void add(std::string_view name, std::string_view value);
    void add(std::string_view name, std::uint64_t value);
    /// Removes all lines of that name, any case.
    void remove(std::string_view name);
    /// Removes the lines whose name the predicate picks.
    template <class Picks>
    void remove_if(Picks picks) {
        std::erase_if(lines_, [&](const Line& line) { return picks(line.name); });
    }
    /// remove() and add().
    void set(std::string_view name, std::string_view value);
    /// All lines of `fields` that may be forwarded (not hop), in order; without Host and Content-Length, which are
    /// written from validated values, and without any in `drop` (bits `1 << Known`, see writer.h).
    void forward(const Fields& fields, std::uint64_t drop = 0);
    /// All lines of a trailer section that may come so late (may_be_trailer) and are not the connection's.
    void forward_trailers(const Fields& trailers);
    [[nodiscard]] std::span<const Line> lines() const { return lines_; }

    /// Copies everything that is only looked at, so that the draft may outlive what it was made from.
    void own();
    /// Bytes of all lines as HTTP/1.1 writes them: how large the head is, about.
    [[nodiscard]] std::size_t bytes() const;

    /// Copies text to memory that lives until clear() and does not move.
    [[nodiscard]] std::string_view keep(std::string_view text);

private:
    static constexpr std::size_t block = 2048;
    std::vector<Line> lines_;
    std::vector<std::unique_ptr<char[]>> blocks_;
    std::vector<std::unique_ptr<char[]>> large_;  ///< texts larger than a block
    std::size_t used_ = 0;                        ///< of the last block in use
    std::size_t blocks_used_ = 0;
};

/// The draft as an HTTP/1.1 request head, empty line included. A protocol becomes Connection: upgrade and Upgrade.
void append_http1_request(std::string& out, const Draft& draft);
/// The draft as an HTTP/1.1 status line and fields, empty line included. `framing` is how the body is really sent (an
/// HTTP/1.0 client takes no chunks); `connection` is written as Connection unless empty ("close", "keep-alive",
/// "upgrade").
void append_http1_response(std::string& out, const Draft& draft, const Framing& framing, std::string_view connection);
/// The end of a chunked body with the draft's lines as trailers.
void append_http1_trailers(std::string& out, const Draft& draft);

}  // namespace plimsoll::http
