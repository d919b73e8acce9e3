// Frames of HTTP/2 written by hand, valid or not: for tests and fuzz targets. Values; no thread rule. Not part of the
// library.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::http::test {

enum FrameType : std::uint8_t {
    data_frame = 0,
    headers_frame = 1,
    priority_frame = 2,
    rst_stream_frame = 3,
    settings_frame = 4,
    push_promise_frame = 5,
    ping_frame = 6,
    goaway_frame = 7,
    window_update_frame = 8,
    continuation_frame = 9,
};
enum FrameFlag : std::uint8_t { none = 0, end_stream = 1, ack = 1, end_headers = 4, padded = 8 };

inline std::string number(std::uint32_t value, int bytes) {
    std::string out;
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
    return out;
}

/// RFC 9113 4.1. `length`: what the frame says, if it is to lie.
inline std::string frame(std::uint8_t type, unsigned flags, std::uint32_t stream, std::string_view payload,
                         std::int64_t length = -1) {
    const auto size = length < 0 ? static_cast<std::uint32_t>(payload.size()) : static_cast<std::uint32_t>(length);
    return number(size, 3) + static_cast<char>(type) + static_cast<char>(flags) + number(stream, 4) +
           std::string(payload);
}

/// One field as a literal, never indexed, without Huffman (RFC 7541 6.2.3).
inline std::string literal(std::string_view name, std::string_view value) {
    const auto text = [](std::string_view part) {
        std::string out;
        std::size_t rest = part.size();
        if (rest < 127) {
            out.push_back(static_cast<char>(rest));
        } else {
            out.push_back(127);
            for (rest -= 127; rest >= 128; rest /= 128) out.push_back(static_cast<char>(rest % 128 + 128));
            out.push_back(static_cast<char>(rest));
        }
        return out.append(part);
    };
    return "\x10" + text(name) + text(value);
}

using FieldList = std::initializer_list<std::pair<std::string_view, std::string_view>>;

inline std::string block(FieldList fields) {
    std::string out;
    for (const auto& [name, value] : fields) out += literal(name, value);
    return out;
}

/// A whole header section.
inline std::string headers(std::uint32_t stream, FieldList fields, unsigned flags = end_headers | end_stream) {
    return frame(headers_frame, flags, stream, block(fields));
}

inline constexpr FieldList plain_request{{":method", "GET"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/"}};

/// What a client says first.
inline std::string greeting() {
    return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(settings_frame, 0, 0, "") + frame(settings_frame, ack, 0, "");
}

}  // namespace plimsoll::http::test
