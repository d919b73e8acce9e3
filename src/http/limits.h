// Every maximum of the HTTP/1.1 codec, with its reason. Values; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>

namespace plimsoll::http {

/// Of a message's head. The first limit that the bytes cross, in stream order, decides the status.
struct HeadLimits {
    std::size_t head_bytes = 16 * 1024;   ///< request line and fields with the empty line; 431 beyond (414 if crossed
                                          ///< within the request line). Bounds what one connection may make us hold.
    std::size_t target_bytes = 8 * 1024;  ///< request target; 414 beyond. RFC 9112 3 asks for at least 8000.
    std::size_t fields = 100;             ///< header lines; 431 beyond. Bounds the work per head.
    std::size_t name_bytes = 256;         ///< of one field name; 431 beyond. At most 65535.
    std::size_t value_bytes = 16 * 1024;  ///< of one field value; 431 beyond.
};

/// Of a chunked body's overhead; the data itself is the caller's to limit.
struct BodyLimits {
    std::size_t size_line_bytes = 256;        ///< one chunk-size line with its extensions
    std::size_t extension_bytes = 16 * 1024;  ///< all extensions of one body: they carry nothing, so a flood is abuse
    std::size_t trailer_bytes = 8 * 1024;     ///< the whole trailer section
    std::size_t trailer_fields = 32;          ///< trailer lines
    std::uint64_t chunk_bytes = 1ULL << 40;   ///< one chunk; far above use, far below overflow
};

/// Of the Early Hints (103) for one answer that are passed on; what is over is dropped. A page names a dozen files.
inline constexpr std::size_t max_hints = 8;
inline constexpr std::size_t max_hint_bytes = 16 * 1024;

}  // namespace plimsoll::http
