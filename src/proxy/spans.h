// What a worker keeps of a sampled request until control takes it: enough to write its spans.
// Thread rule: filled by one worker, then a value that control owns.
// Source: https://opentelemetry.io/docs/specs/otel/trace/api/, https://www.w3.org/TR/trace-context/.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "base/outcome.h"
#include "base/time.h"
#include "proxy/access_log.h"

namespace plimsoll::proxy {

/// Kept between two collects at most (ten a second): bounds memory at about 4 MB a worker; more are counted as dropped.
inline constexpr std::size_t max_spans = 4096;
/// Of any text of a client's that goes into a span.
inline constexpr std::size_t max_span_text = 1024;

/// One request with its attempts, owned.
struct RequestSpan {
    Timestamp started;
    Outcome outcome;  ///< its views are empty: the texts are below
    std::string method, host, path, listener, request_id;
    std::string route, pool;
    struct Try {
        std::string endpoint;
        Duration began{};  ///< from the request's start
        Duration ended{};  ///< likewise; when the next one began, or the request's end
    };
    std::array<Try, max_attempts> tries{};  ///< by Outcome::attempt
};

/// Copies what is needed. `outcome.trace` exists and is sampled.
[[nodiscard]] RequestSpan request_span(const Outcome& outcome, Timestamp started, const Served& served);

/// The span id of one attempt: what the endpoint is sent as its parent. Follows from the request's span id, so both
/// sides of the worker can tell it without keeping it. Never zero.
[[nodiscard]] std::array<std::uint8_t, 8> attempt_span_id(const Trace& trace, std::size_t attempt);

}  // namespace plimsoll::proxy
