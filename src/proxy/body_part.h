// BodyPart: what a body decoder takes out of a buffer, brought together in one piece, in place.
// Thread rule: none.
#pragma once

#include <cstring>
#include <span>
#include <string_view>

#include "http/body.h"
#include "proxy/buffer.h"

namespace plimsoll::proxy {

struct BodyPart {
    std::string_view data;  ///< inside the given bytes; framing between pieces has been closed over
    std::size_t consumed = 0;
    bool refused = false;  ///< see the decoder's refusal()
};

/// Takes all that `bytes` has of the body.
[[nodiscard]] inline BodyPart decode_part(http::BodyDecoder& body, std::span<char> bytes) {
    BodyPart part;
    char* begin = nullptr;
    char* end = nullptr;
    for (;;) {
        const http::BodyStep step = body.next({bytes.data() + part.consumed, bytes.size() - part.consumed});
        part.consumed += step.consumed;
        if (step.kind != http::BodyStep::Kind::data) {
            part.refused = step.kind == http::BodyStep::Kind::refused;
            break;
        }
        char* from = bytes.data() + (step.data.data() - bytes.data());
        if (begin == nullptr) {
            begin = end = from;
        } else if (from != end) {
            std::memmove(end, from, step.data.size());
        }
        end += step.data.size();
    }
    if (begin != nullptr) part.data = {begin, static_cast<std::size_t>(end - begin)};
    return part;
}
[[nodiscard]] inline BodyPart decode_part(http::BodyDecoder& body, Buffer& in) {
    BodyPart part = decode_part(body, in.bytes());
    in.consume(part.consumed);  // the bytes stay where they are until the buffer is read into
    return part;
}

}  // namespace plimsoll::proxy
