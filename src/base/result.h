// Errors are values: whose fault, and may the work be tried again. No exceptions cross a room's border.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll {

/// What went wrong, in the few kinds that a caller can act on.
enum class Code : std::uint8_t {
    invalid,      ///< the input does not say anything we can act on
    not_found,    ///< the named thing does not exist
    conflict,     ///< stale base, frozen change, or somebody else is changing the same thing
    refused,      ///< the peer refused the connection
    unreachable,  ///< no way to the peer (route, address, descriptor)
    timeout,      ///< the deadline passed
    reset,        ///< the peer broke the connection
    closed,       ///< the peer closed in order, at a point where nothing was owed
    protocol,     ///< the peer broke its protocol
    limit,        ///< a named maximum was hit
    io,           ///< disk or kernel said no
    cancelled,    ///< the scope that wanted the answer is gone
    internal,     ///< a promise of ours was broken
};

/// Whose fault it is: decides the status code, the log line, and whom to page.
enum class Side : std::uint8_t { client, upstream, us };

/// Whether the same work may be sent again without doing it twice.
enum class Retry : std::uint8_t { no, yes };

struct Error {
    Code code = Code::internal;
    Side side = Side::us;
    Retry retry = Retry::no;
    std::string detail;  ///< for humans; ends up in logs and on terminals, never a secret
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string detail, Side side = Side::us,
                                                 Retry retry = Retry::no) {
    return std::unexpected(Error{code, side, retry, std::move(detail)});
}

[[nodiscard]] std::string_view name(Code code);
[[nodiscard]] std::string_view name(Side side);

/// Ends the process with a reason. For invariants of ours that are broken; active in release builds too.
[[noreturn]] void broken(std::string_view reason, const char* file, int line);

#define PLIMSOLL_ENSURE(condition, reason)                    \
    do {                                                      \
        if (!(condition)) [[unlikely]]                        \
            ::plimsoll::broken((reason), __FILE__, __LINE__); \
    } while (false)

}  // namespace plimsoll
