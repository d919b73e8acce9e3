// Bodies of an exchange: the client's to the endpoint, the endpoint's to the client, both at once if need be. Each is
// pulled: what the taker does not take is not read.
#include <array>

#include "proxy/body_part.h"
#include "proxy/exchange.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// One step of a body with its framing around it, for one gathered write.
class Framed {
public:
    Framed(std::string_view before, std::string_view data, bool chunked, bool last)
        : pieces_{before, {}, data, {}, {}} {
        if (chunked && !data.empty()) {
            pieces_[1] = size_.emplace(data.size()).view();
            pieces_[3] = http::chunk_end;
        }
        if (chunked && last) pieces_[4] = http::last_chunk;
    }
    Framed(const Framed&) = delete;
    [[nodiscard]] std::span<const std::string_view> pieces() const { return pieces_; }

private:
    std::optional<http::ChunkHead> size_;
    std::array<std::string_view, 5> pieces_;
};

}  // namespace

void Exchange::fail_upload(Cause cause, std::uint16_t status, std::string_view reason) {
    upload_failed_ = cause;
    own_status_ = status;
    own_reason_ = reason;
    upstream_->stream->abort();  // wakes whoever waits for the answer
}

/// Runs beside the wait for the answer. Ends when the body has ended, the client fails, or the endpoint takes no more.
Task<void> Exchange::upload() {
    const bool chunked = head_.framing.kind == http::Framing::Kind::chunked;
    while (!body_.ended()) {
        const Deadline slow = Deadline::after(core_.now(), client_.slot->settings.body_idle_timeout);
        const Result<std::size_t> n = co_await client_.stream->read(upload_in_.room(), slow);
        if (!n || *n == 0) {
            const bool late = !n && n.error().code == Code::timeout;
            fail_upload(late            ? Cause::client_timeout
                        : core_.cutting ? Cause::shutting_down
                                        : Cause::client_closed,
                        0, {});
            break;
        }
        body_read_on_ = true;
        upload_in_.produced(*n);
        const BodyPart part = decode_part(body_, upload_in_);
        outcome_.request_body_bytes += part.data.size();
        if (part.refused) {
            fail_upload(Cause::bad_request, body_.refusal().status, body_.refusal().reason);
            break;
        }
        if (over_limit()) {
            fail_upload(Cause::bad_request, 413, "the request's body is larger than this listener takes");
            break;
        }
        const Framed framed({}, part.data, chunked, body_.ended());
        const Deadline stalled = Deadline::after(core_.now(), pool_->timeouts.idle);
        const Result<void> sent = co_await upstream_->stream->write_all(framed.pieces(), stalled);
        if (!sent) {
            // Reset: perhaps behind an early answer, which the other side of this exchange is reading.
            if (sent.error().code == Code::timeout) fail_upload(Cause::upstream_idle, 0, {});
            break;
        }
    }
    if (body_.ended()) sent_at_ = core_.now();
    uploading_ = false;
}

Task<Cause> Exchange::relay_answer() {
    const http::ResponseHead& answer = upstream_->parser.head();
    const bool body_taken = body_.ended() && !uploading_;
    const AnswerFraming framing = answer_framing(head_, answer, body_taken && !client_.closing());
    client_.out.clear();
    append_client_head(client_.out, head_, answer, framing);
    upstream_->in.consume(answer.bytes);
    const Cause cause = co_await relay_body(framing, answer.status);
    if (cause != Cause::none && !answered() && cause != Cause::client_closed && cause != Cause::client_timeout) {
        co_return cause;  // nothing of it was sent: we can still answer ourselves
    }
    keep_client_ = cause == Cause::none && framing.keep_alive;
    if (cause != Cause::none) client_.stream->abort();  // a cut answer must not look like a whole one
    keep_or_close_upstream(cause);
    end_attempt(cause);
    co_return cause;
}

Task<Cause> Exchange::relay_body(const AnswerFraming& framing, std::uint16_t status) {
    const bool chunked = framing.framing.kind == http::Framing::Kind::chunked;
    Upstream& upstream = *upstream_;
    http::BodyDecoder body(upstream.parser.head().framing);
    std::string_view head = client_.out;
    for (;;) {
        const BodyPart part = decode_part(body, upstream.in);
        if (part.refused) co_return answered() ? Cause::upstream_truncated : Cause::upstream_protocol;
        const Framed framed(head, part.data, chunked, body.ended());
        const Deadline slow = Deadline::after(core_.now(), client_.slot->settings.body_idle_timeout);
        const Result<void> sent = co_await client_.stream->write_all(framed.pieces(), slow);
        if (!sent) {
            if (core_.cutting) co_return Cause::shutting_down;
            co_return sent.error().code == Code::timeout ? Cause::client_timeout : Cause::client_closed;
        }
        if (!head.empty()) {
            outcome_.status = status;
            outcome_.first_byte = core_.now() - outcome_.started;
            outcome_.response_head_bytes = static_cast<std::uint32_t>(head.size());
            head = {};
        }
        outcome_.response_body_bytes += part.data.size();
        if (body.ended()) co_return Cause::none;
        const Deadline stalled = Deadline::after(core_.now(), pool_->timeouts.idle);
        const Result<std::size_t> n = co_await upstream.stream->read(upstream.in.room(), stalled);
        if (!n) {
            if (upload_failed_ != Cause::none) co_return upload_failed_;
            if (core_.cutting) co_return Cause::shutting_down;
            co_return n.error().code == Code::timeout ? Cause::upstream_idle : Cause::upstream_truncated;
        }
        upstream.in.produced(*n);
        if (*n == 0 && !body.finish()) co_return Cause::upstream_truncated;
    }
}

/// A connection is kept if neither side owes the other anything on it.
void Exchange::keep_or_close_upstream(Cause cause) {
    const bool clean = cause == Cause::none && body_.ended() && !uploading_ && upstream_->in.empty() &&
                       upstream_->parser.head().keep_alive && upstream_->stream->quiet();
    scope_.cancel();
    uploading_ = false;
    const config::PoolLimits& limits = pool_->limits;
    if (clean && limits.keepalive_idle > Duration{}) {
        const Instant until = Deadline::after(core_.now(), limits.keepalive_idle).at;
        core_.upstreams.keep(std::move(upstream_), limits.idle_connections_per_endpoint, until);
    }
    upstream_.reset();
}

}  // namespace plimsoll::proxy
