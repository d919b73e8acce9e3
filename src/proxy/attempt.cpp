// One attempt of an exchange: a connection, the request on it, the head of the answer.
#include <algorithm>

#include "proxy/exchange.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// 1xx heads that may come before the answer; more is an endpoint gone mad.
constexpr int max_interim = 16;

}  // namespace

Task<Cause> Exchange::attempt() {
    begin_attempt();
    for (bool fresh = false;; fresh = true) {
        Cause cause = co_await connect(fresh);
        if (cause == Cause::none) cause = co_await send();
        if (cause == Cause::none) cause = co_await read_head();
        if (cause != Cause::upstream_reset || fresh || !stale()) co_return cause;
        drop_upstream();
    }
}

/// A kept connection that the endpoint was closing while we sent: nothing came back, so the same endpoint is asked once
/// more on a fresh one, unless that could do the work twice.
bool Exchange::stale() const {
    if (!last_attempt().reused || upstream_->stream->received() != heard_before_) return false;
    if (upload_failed_ != Cause::none || core_.cutting) return false;
    const bool sent_here = upstream_->stream->written() != sent_before_;
    return !sent_here || (http::is_idempotent(head_.method) && !body_read_on_);
}

void Exchange::begin_attempt() {
    attempt_started_ = core_.now();
    if (outcome_.attempt_count == 0) outcome_.queue = attempt_started_ - outcome_.started;
    Attempt& attempt = outcome_.attempt[outcome_.attempt_count++];
    attempt = Attempt{};
    attempt.endpoint = pool_->facts.members[chosen_.value].id;
    ++core_.endpoints[attempt.endpoint.value].in_flight;
    attempting_ = true;
}

void Exchange::end_attempt(Cause cause) {
    Attempt& attempt = last_attempt();
    attempt.cause = cause;
    --core_.endpoints[attempt.endpoint.value].in_flight;
    attempting_ = false;
    core_.observe(attempt, pool_->facts);
}

void Exchange::drop_upstream() {
    scope_.cancel();
    uploading_ = false;
    upstream_.reset();
}

Deadline Exchange::total_deadline() const {
    return Deadline::after(std::max(outcome_.started, sent_at_), pool_->timeouts.total);
}

/// While the client still sends its body, the endpoint cannot be late: the clocks start when the request was sent.
Deadline Exchange::head_deadline() const {
    const Instant now = core_.now();
    const config::Timeouts& timeouts = pool_->timeouts;
    if (uploading_) {
        return async::earlier(Deadline::after(now, timeouts.per_try), Deadline::after(now, timeouts.total));
    }
    const Instant from = std::max(attempt_started_, sent_at_);
    return async::earlier(Deadline::after(from, timeouts.per_try), total_deadline());
}

Cause Exchange::late() const {
    return total_deadline().passed(core_.now()) ? Cause::total_timeout : Cause::try_timeout;
}

/// Why the endpoint's stream failed before the head of the answer.
Cause Exchange::broken(const Error& error) const {
    if (upload_failed_ != Cause::none) return upload_failed_;
    if (error.code == Code::timeout) return late();
    if (error.code == Code::cancelled) return core_.cutting ? Cause::shutting_down : Cause::internal;
    return Cause::upstream_reset;
}

Task<Cause> Exchange::connect(bool fresh) {
    Attempt& attempt = last_attempt();
    attempt.reused = false;
    if (!fresh) upstream_ = core_.upstreams.take(attempt.endpoint);
    if (upstream_) {
        attempt.reused = true;
    } else {
        const Instant start = core_.now();
        const Deadline own = Deadline::after(start, pool_->timeouts.connect);
        const net::Address& address = pinned_.slot().addresses[pool_at_][chosen_.value];
        auto stream = co_await core_.network.connect(address, async::earlier(own, total_deadline()));
        attempt.connect = core_.now() - start;
        if (core_.cutting) co_return Cause::shutting_down;
        if (!stream) {
            if (stream.error().code == Code::refused) co_return Cause::connect_refused;
            if (stream.error().code == Code::limit) {  // ours, not the endpoint's: nobody is ejected for it
                own_reason_ = "no descriptor or port is left for a connection to the server";
                co_return Cause::limited;
            }
            if (stream.error().code != Code::timeout) co_return Cause::connect_failed;
            co_return own.passed(core_.now()) ? Cause::connect_timeout : Cause::total_timeout;
        }
        upstream_ = std::make_unique<Upstream>(core_.upstreams, attempt.endpoint, std::move(*stream), core_.blocks);
    }
    sent_before_ = upstream_->stream->written();
    heard_before_ = upstream_->stream->received();
    co_return Cause::none;
}

Task<Cause> Exchange::send() {
    const snapshot::Endpoint& endpoint = pool_->endpoints[chosen_.value];
    client_.up.clear();
    append_upstream_head(client_.up, head_,
                         {.client = client_.address,
                          .trust = client_.slot->settings.trust_forwarded,
                          .request_id = outcome_.request_id,
                          .fallback_host = endpoint.address.host});
    const bool chunked = head_.framing.kind == http::Framing::Kind::chunked;
    std::array<std::string_view, 5> pieces{client_.up, {}, body_start_};
    std::optional<http::ChunkHead> size;
    if (chunked && !body_start_.empty()) {
        pieces[1] = size.emplace(body_start_.size()).view();
        pieces[3] = http::chunk_end;
    }
    if (chunked && body_.ended()) pieces[4] = http::last_chunk;
    net::Stream& stream = *upstream_->stream;
    const Result<void> sent = co_await stream.write_all(pieces, head_deadline());
    sent_ = sent_ || stream.written() != sent_before_;
    if (!sent) {
        // A reset may stand behind an answer that came early ("413", then close): reading finds out.
        const Cause cause = broken(sent.error());
        co_return cause == Cause::upstream_reset ? Cause::none : cause;
    }
    if (body_.ended()) co_return Cause::none;
    if (head_.expects_continue && body_start_.empty() && !continue_sent_) {
        continue_sent_ = true;
        const Deadline soon = Deadline::after(core_.now(), client_.slot->settings.body_idle_timeout);
        if (!co_await client_.stream->write_all(http::continue_head, soon)) co_return Cause::client_closed;
    }
    uploading_ = true;
    scope_.spawn(upload());
    co_return Cause::none;
}

Task<Cause> Exchange::read_head() {
    Upstream& upstream = *upstream_;
    Attempt& attempt = last_attempt();
    for (int interim = 0; interim < max_interim;) {
        if (!upstream.in.empty()) {
            const http::Progress progress = upstream.parser.feed(upstream.in.view(), head_.method);
            if (progress == http::Progress::refused) co_return Cause::upstream_protocol;
            if (progress == http::Progress::complete) {
                const http::ResponseHead& head = upstream.parser.head();
                if (!head.interim()) {
                    // We never ask for another protocol, so none may be spoken.
                    if (head.status < 200 || head.status > 599) co_return Cause::upstream_protocol;
                    attempt.status = head.status;
                    attempt.first_byte = core_.now() - attempt_started_;
                    co_return Cause::none;
                }
                ++interim;  // we have answered Expect ourselves; other 1xx are optional for clients
                upstream.in.consume(head.bytes);
                upstream.parser.reset();
                continue;
            }
        }
        const Result<std::size_t> n = co_await upstream.stream->read(upstream.in.room(), head_deadline());
        if (n && *n > 0) {
            upstream.in.produced(*n);
        } else if (n) {
            co_return Cause::upstream_reset;
        } else if (n.error().code != Code::timeout || (!uploading_ && head_deadline().passed(core_.now()))) {
            co_return broken(n.error());
        }
    }
    co_return Cause::upstream_protocol;
}

}  // namespace plimsoll::proxy
