// Bodies of HTTP/1.1 messages (RFC 9112 sections 6 and 7): takes framing off, without copying and without I/O. One
// decoder a message; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/fields.h"
#include "http/head.h"
#include "http/limits.h"

namespace plimsoll::http {

/// One step through a body. `consumed` bytes of the input are done with; `data` is a part of them.
struct BodyStep {
    enum class Kind : std::uint8_t {
        more,     ///< nothing left to do with these bytes: read on (consumed may be > 0: framing was taken off)
        data,     ///< `data` is not empty; step again with what follows
        end,      ///< the body has ended; what follows belongs to the next message
        refused,  ///< see refusal(); the connection cannot be used again
    };
    Kind kind = Kind::more;
    std::size_t consumed = 0;
    std::string_view data;
};

/// Chunk extensions are dropped; trailers are parsed strictly and kept apart. The data handed out, the end and the
/// refusal do not depend on how the bytes were cut.
class BodyDecoder {
public:
    BodyDecoder() = default;  ///< no body: ends at once
    explicit BodyDecoder(const Framing& framing, const BodyLimits& limits = {});

    /// Takes bytes off the front of `bytes`. Call again with bytes.substr(consumed) after `data`.
    BodyStep next(std::string_view bytes);
    /// The peer closed its side: true when the body ends by that (until_close) or had ended already; false = truncated.
    bool finish();

    [[nodiscard]] bool ended() const { return state_ == State::end; }
    /// Bytes that are surely data from here on, for splice(2) and large reads: the rest of the length or of this chunk,
    /// without end (2^64 - 1) for until_close.
    [[nodiscard]] std::uint64_t remaining() const;
    /// Tells that `n` <= remaining() bytes of data went by without next().
    void skip(std::uint64_t n);
    [[nodiscard]] const Refusal& refusal() const { return refusal_; }
    /// After the end of a chunked body. Without the names that must not come as trailers (RFC 9110 6.5.1: framing,
    /// routing, authentication, content description). Views live as long as the decoder does not move.
    [[nodiscard]] const Fields& trailers() const { return trailers_; }

private:
    enum class State : std::uint8_t {
        length,
        until_close,
        size_start,
        size,
        extension,
        size_lf,
        data,
        data_cr,
        data_lf,
        trailer,
        end,
        refused,
    };
    BodyStep refuse(std::size_t consumed, std::string_view reason, std::uint16_t status = 400);
    BodyStep take_data(std::string_view bytes, std::size_t before);
    BodyStep next_chunked(std::string_view bytes);
    Refusal step_size_line(char byte);
    Refusal step_trailer(char byte);

    State state_ = State::end;
    std::uint64_t remaining_ = 0;
    std::size_t line_bytes_ = 0;
    std::size_t extension_bytes_ = 0;
    std::size_t trailer_lines_ = 0;
    std::size_t trailer_line_ = 0;  ///< where the current line starts in trailer_text_
    BodyLimits limits_;
    Refusal refusal_;
    std::string trailer_text_;
    Fields trailers_;
};

}  // namespace plimsoll::http
