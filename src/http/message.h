// Whole messages, owned: for everything that is not the proxy's hot path. Values; no thread rule.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "http/head.h"

namespace plimsoll::http {

/// Header lines that own their text, in order.
class Headers {
public:
    struct Line {
        std::string name;
        std::string value;
        friend bool operator==(const Line&, const Line&) = default;
    };
    Headers() = default;
    Headers(std::initializer_list<Line> lines) : lines_(lines) {}

    /// Value of the first such line, any case; nullopt when there is none.
    [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const;
    Headers& add(std::string_view name, std::string_view value);
    /// Replaces all lines of that name.
    Headers& set(std::string_view name, std::string_view value);
    void remove(std::string_view name);
    /// Copies what was parsed.
    static Headers copy(const Fields& fields);

    [[nodiscard]] auto begin() const { return lines_.begin(); }
    [[nodiscard]] auto end() const { return lines_.end(); }
    [[nodiscard]] std::size_t size() const { return lines_.size(); }
    friend bool operator==(const Headers&, const Headers&) = default;

private:
    std::vector<Line> lines_;
};

struct Request {
    std::string method = "GET";
    std::string path = "/";   ///< as sent, up to '?'; for the client: with '?' and query, or leave them in `query`
    std::string query{};      ///< without '?'
    std::string authority{};  ///< the Host; the client puts the address when it is empty
    Headers headers{};
    std::string body{};
    std::string peer{};        ///< server only: "127.0.0.1:4711", "unix:..."
    bool unix_socket = false;  ///< server only: came over a Unix-domain socket, so the file's mode has let it in

    /// Value of the first such query parameter, percent-decoded ('+' is a blank); nullopt when there is none.
    [[nodiscard]] std::optional<std::string> parameter(std::string_view name) const;
};

/// Where a streaming answer goes, piece by piece.
class BodyWriter {
public:
    virtual ~BodyWriter() = default;
    /// Sends `piece` at once (as a chunk). Errors: timeout, reset (the client has gone; side client).
    [[nodiscard]] virtual async::Task<Result<void>> write(std::string_view piece) = 0;
};

struct Response {
    std::uint16_t status = 200;
    Headers headers{};
    std::string body{};  ///< whole; or, when `stream` is set, nothing
    /// Called once the head is sent; the body ends when its task ends, cut (the client can tell) if that is an error.
    /// A callable that owns what it captures and returns a named coroutine's task. Not called for HEAD.
    std::move_only_function<async::Task<Result<void>>(BodyWriter&)> stream{};

    /// With its type: `Response::text(404, "no such change\n")`.
    static Response text(std::uint16_t status, std::string body);
    static Response json(std::uint16_t status, std::string body);
    static Response typed(std::uint16_t status, std::string_view content_type, std::string body);
};

/// "%2f" -> "/", and '+' -> ' ' if asked. Malformed escapes stay as they are.
[[nodiscard]] std::string percent_decode(std::string_view text, bool plus_is_blank = false);
/// For one path segment or query value: everything but unreserved characters is escaped (RFC 3986 2.3).
[[nodiscard]] std::string percent_encode(std::string_view text);
/// "Sun, 22 Nov 2026 10:23:04 GMT" (RFC 9110 5.6.7).
[[nodiscard]] std::string http_date(Timestamp at);

}  // namespace plimsoll::http
