// Reads requests from one connection of the lab's small servers. Thread rule: that of its stream.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "async/task.h"
#include "http/head.h"
#include "net/stream.h"

namespace plimsoll::lab {

class RequestReader {
public:
    /// Keeps at most this much of a body; the rest is read and dropped.
    static constexpr std::size_t kept_body = 1 << 20;

    /// `stream` must outlive the reader.
    explicit RequestReader(net::Stream& stream) : stream_(stream), buffer_(16 * 1024) {}

    /// Reads the next request to the end of its body. False: no more of them (closed, broken, or refused, which was
    /// answered).
    async::Task<bool> next();
    /// Until the next call of next().
    [[nodiscard]] const http::RequestHead& head() const { return parser_.head(); }
    [[nodiscard]] const std::string& body() const { return body_; }

private:
    async::Task<bool> more(std::string& into);

    net::Stream& stream_;
    std::vector<char> buffer_;
    std::string head_, rest_, body_;
    http::RequestParser parser_;
};

}  // namespace plimsoll::lab
