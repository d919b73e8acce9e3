// Answers of our own to callers of gRPC: a status in fields with HTTP status 200 and no body ("Trailers-Only"), since
// their libraries make UNKNOWN of most else and show nobody our text. Pure.
// Source: gRPC over HTTP2 (grpc/doc/PROTOCOL-HTTP2.md), grpc/doc/statuscodes.md, grpc/doc/http-grpc-status-mapping.md.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/outcome.h"
#include "http/draft.h"
#include "http/fields.h"

namespace plimsoll::proxy {

/// The codes that we give, by their names in gRPC.
enum class GrpcStatus : std::uint8_t {
    unknown = 2,
    deadline_exceeded = 4,
    permission_denied = 7,
    resource_exhausted = 8,
    unimplemented = 12,
    internal = 13,
    unavailable = 14,
    unauthenticated = 16,
};

/// Content-Type is application/grpc, with a "+format" or parameters or without. Not application/grpc-web, whose callers
/// read HTTP statuses. O(fields).
[[nodiscard]] bool asks_by_grpc(const http::Fields& fields);

/// What `cause` is to a caller, or where it does not say, `status`, which an HTTP client would have been answered.
/// UNAVAILABLE is only what may be asked again at once: load that we turn away is RESOURCE_EXHAUSTED.
[[nodiscard]] GrpcStatus grpc_status(Cause cause, std::uint16_t status);

/// The value of an endpoint's grpc-status, 0 (OK) to 16; UNKNOWN if it is none of them, as callers' libraries have it.
[[nodiscard]] std::int8_t parse_grpc_status(std::string_view value);
/// The HTTP status that a gRPC status amounts to: what is 500 or more is the server's failure. 200 for OK. Source:
/// google/rpc/code.proto.
[[nodiscard]] std::uint16_t http_status(std::int8_t grpc_status);

/// Percent-encodes for grpc-message: all but 0x20 to 0x7e, and '%'. At most 1 KiB of `text` is taken.
[[nodiscard]] std::string grpc_message(std::string_view text);

struct GrpcAnswer {
    Cause cause = Cause::internal;
    std::uint16_t status = 500;       ///< which an HTTP client would have been answered
    std::string_view text{};          ///< for people
    std::uint64_t retry_after_s = 0;  ///< becomes grpc-retry-pushback-ms; 0 = not said
};
/// To be sent with nothing behind it.
void draft_grpc_answer(http::Draft& draft, const GrpcAnswer& answer);

}  // namespace plimsoll::proxy
