// W3C trace context: which trace a request belongs to, and whether it is recorded. Pure.
// Thread rule: none.
// Source: https://www.w3.org/TR/trace-context/ (level 1, sections 3.2, 3.3, 4).
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "base/outcome.h"
#include "base/random.h"
#include "http/fields.h"

namespace plimsoll::proxy {

/// What a caller said. Strict: lower-case hex, no zero ids, version not ff; version 00 is exactly 55 characters, a
/// later one may go on behind a '-'. `span_id` is left zero, `parent_id` is the caller's span.
[[nodiscard]] std::optional<Trace> parse_traceparent(std::string_view text);

/// Whether the lines together are a list that may be passed on: at most 32 members, each key "=" value as 3.3.1 says,
/// no key twice. Empty members are allowed.
[[nodiscard]] bool is_tracestate(const http::Fields& fields);

struct TraceContext {
    Trace trace;              ///< with a span of our own
    bool keep_state = false;  ///< forward the tracestate lines as they came; otherwise drop them
};

/// Goes on with the caller's trace if it sent one right traceparent, keeping its decision; otherwise begins one,
/// recorded with probability `sample`. Ids come from `random`.
[[nodiscard]] TraceContext trace_context(const http::Fields& fields, Random& random, double sample);

/// "00-<trace id>-<our span id>-<flags>": what the endpoint is sent.
[[nodiscard]] std::array<char, 55> traceparent(const Trace& trace);
/// True when there is one.
[[nodiscard]] bool exists(const Trace& trace);

}  // namespace plimsoll::proxy
