#include "proxy/spans.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include "base/hash.h"

namespace plimsoll::proxy {

RequestSpan request_span(const Outcome& outcome, Timestamp started, const Served& served) {
    const auto kept = [](std::string_view text) { return std::string(text.substr(0, max_span_text)); };
    RequestSpan span{.started = started,
                     .outcome = outcome,
                     .method = kept(outcome.method),
                     .host = kept(outcome.host),
                     .path = kept(outcome.path),
                     .listener = kept(outcome.listener),
                     .request_id = kept(outcome.request_id),
                     .route = std::string(served.route_text()),
                     .pool = std::string(served.pool_text())};
    Outcome& own = span.outcome;
    own.auth = nullptr;
    own.method = own.host = own.path = own.client = own.request_id = own.listener = {};
    for (std::size_t i = 0; i < outcome.attempt_count; ++i) {
        RequestSpan::Try& one = span.tries[i];
        one.endpoint = served.endpoint_text(outcome.attempt[i].endpoint);
        const bool known = i < served.attempts_began.size();
        one.began = known ? served.attempts_began[i] : outcome.queue;
        one.ended = known && i + 1u < outcome.attempt_count && i + 1u < served.attempts_began.size()
                        ? served.attempts_began[i + 1]
                        : outcome.total;
        one.ended = std::max(one.began, one.ended);
    }
    return span;
}

std::array<std::uint8_t, 8> attempt_span_id(const Trace& trace, std::size_t attempt) {
    const std::string_view span(reinterpret_cast<const char*>(trace.span_id.data()), trace.span_id.size());
    const std::uint64_t id = std::max<std::uint64_t>(keyed_hash(span, attempt + 1), 1);
    return std::bit_cast<std::array<std::uint8_t, 8>>(id);
}

}  // namespace plimsoll::proxy
