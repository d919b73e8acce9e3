// Framed: one step of an HTTP/1.1 message with its framing around it, for one gathered write.
// Thread rule: none.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "http/draft.h"
#include "http/writer.h"

namespace plimsoll::proxy {

class Framed {
public:
    /// `trailers` of a chunked body, with `last`; may be nullptr.
    Framed(std::string_view head, std::string_view data, bool chunked, bool last, const http::Draft* trailers)
        : pieces_{head, {}, data, {}, {}} {
        if (chunked && !data.empty()) {
            pieces_[1] = size_.emplace(data.size()).view();
            pieces_[3] = http::chunk_end;
        }
        if (!chunked || !last) return;
        pieces_[4] = http::last_chunk;
        if (trailers == nullptr || trailers->lines().empty()) return;
        http::append_http1_trailers(end_, *trailers);
        pieces_[4] = end_;
    }
    Framed(const Framed&) = delete;
    Framed& operator=(const Framed&) = delete;
    [[nodiscard]] std::span<const std::string_view> pieces() const { return pieces_; }

private:
    std::optional<http::ChunkHead> size_;
    std::string end_;
    std::array<std::string_view, 5> pieces_;
};

}  // namespace plimsoll::proxy
