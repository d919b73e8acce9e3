#include "http/body.h"

#include <algorithm>

namespace plimsoll::http {
namespace {

/// Whatever the limits say: four bits below overflow, so that a size can be checked after each digit.
constexpr std::uint64_t max_chunk_bytes = std::uint64_t{1} << 59;

/// Value of a hex digit, or -1.
int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

bool is_control(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

}  // namespace

BodyDecoder::BodyDecoder(const Framing& framing, const BodyLimits& limits) : limits_(limits) {
    limits_.chunk_bytes = std::min(limits.chunk_bytes, max_chunk_bytes);
    switch (framing.kind) {
        case Framing::Kind::none: state_ = State::end; break;
        case Framing::Kind::length:
            state_ = framing.length == 0 ? State::end : State::length;
            remaining_ = framing.length;
            break;
        case Framing::Kind::chunked: state_ = State::size_start; break;
        case Framing::Kind::until_close: state_ = State::until_close; break;
    }
}

BodyStep BodyDecoder::refuse(std::size_t consumed, std::string_view reason, std::uint16_t status) {
    state_ = State::refused;
    refusal_ = {status, reason};
    return {BodyStep::Kind::refused, consumed, {}};
}

BodyStep BodyDecoder::take_data(std::string_view bytes, std::size_t before) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, bytes.size() - before));
    if (size == 0) return {BodyStep::Kind::more, before, {}};
    skip(size);
    return {BodyStep::Kind::data, before + size, bytes.substr(before, size)};
}

std::uint64_t BodyDecoder::remaining() const {
    if (state_ == State::until_close) return UINT64_MAX;
    return state_ == State::length || state_ == State::data ? remaining_ : 0;
}

void BodyDecoder::skip(std::uint64_t n) {
    if (state_ == State::until_close) return;
    remaining_ -= n;
    if (remaining_ != 0) return;
    state_ = state_ == State::length ? State::end : State::data_cr;
}

BodyStep BodyDecoder::next(std::string_view bytes) {
    switch (state_) {
        case State::end: return {BodyStep::Kind::end, 0, {}};
        case State::refused: return {BodyStep::Kind::refused, 0, {}};
        case State::length: return take_data(bytes, 0);
        case State::until_close:
            if (bytes.empty()) return {};
            return {BodyStep::Kind::data, bytes.size(), bytes};
        default: return next_chunked(bytes);
    }
}

bool BodyDecoder::finish() {
    if (state_ == State::until_close) state_ = State::end;
    return state_ == State::end;
}

BodyStep BodyDecoder::next_chunked(std::string_view bytes) {
    for (std::size_t at = 0; at < bytes.size(); ++at) {
        const char byte = bytes[at];
        Refusal refusal;
        switch (state_) {
            case State::data: return take_data(bytes, at);
            case State::data_cr:
                if (byte != '\r') return refuse(at, "a chunk longer than its size");
                state_ = State::data_lf;
                break;
            case State::data_lf:
                if (byte != '\n') return refuse(at, "a chunk that does not end in CRLF");
                state_ = State::size_start;
                break;
            case State::trailer: refusal = step_trailer(byte); break;
            default: refusal = step_size_line(byte); break;
        }
        if (refusal.status != 0) return refuse(at, refusal.reason, refusal.status);
        if (state_ == State::end) return {BodyStep::Kind::end, at + 1, {}};
    }
    return {BodyStep::Kind::more, bytes.size(), {}};
}

/// chunk-size [ chunk-ext ] CRLF. No blanks after the size, no bare LF, no control byte in an extension.
Refusal BodyDecoder::step_size_line(char byte) {
    if (state_ == State::size_start) line_bytes_ = 0, remaining_ = 0;
    if (++line_bytes_ > limits_.size_line_bytes) return {400, "a chunk-size line too long"};
    if (state_ == State::size_lf) {
        if (byte != '\n') return {400, "CR without LF in a chunk-size line"};
        state_ = remaining_ == 0 ? State::trailer : State::data;
        return {};
    }
    if (state_ == State::extension) {
        if (byte == '\r') {
            state_ = State::size_lf;
            return {};
        }
        if (is_control(byte)) return {400, "a control byte in a chunk extension"};
        if (++extension_bytes_ > limits_.extension_bytes) return {400, "too many chunk extensions"};
        return {};
    }
    const int digit = hex_value(byte);
    if (digit >= 0) {
        state_ = State::size;
        // Was at most max_chunk_bytes: the shift cannot overflow.
        remaining_ = (remaining_ << 4) | static_cast<std::uint64_t>(digit);
        if (remaining_ > limits_.chunk_bytes) return {400, "a chunk too large"};
        return {};
    }
    if (state_ == State::size_start) return {400, "a chunk without a size"};
    if (byte == '\r') {
        state_ = State::size_lf;
    } else if (byte == ';') {
        state_ = State::extension;
    } else {
        return {400, "a chunk size that is not hexadecimal"};
    }
    return {};
}

Refusal BodyDecoder::step_trailer(char byte) {
    if (trailer_text_.size() >= limits_.trailer_bytes) return {431, "trailers too long"};
    trailer_text_.push_back(byte);
    if (byte != '\n') return {};
    std::string_view line(trailer_text_);
    line.remove_prefix(trailer_line_);
    if (!line.ends_with("\r\n")) return {400, "a trailer line that ends without CR"};
    line.remove_suffix(2);
    if (line.empty()) {
        trailers_.rebase(trailer_text_.data());
        state_ = State::end;
        return {};
    }
    HeadLimits limits;
    limits.fields = limits_.trailer_fields;
    if (++trailer_lines_ > limits_.trailer_fields) return {431, "too many trailers"};
    if (const Refusal refusal = trailers_.add(line, trailer_line_, limits); refusal.status != 0) return refusal;
    trailers_.rebase(trailer_text_.data());
    if (!may_be_trailer(trailers_[trailers_.size() - 1])) trailers_.drop_last();
    trailer_line_ = trailer_text_.size();
    return {};
}

}  // namespace plimsoll::http
