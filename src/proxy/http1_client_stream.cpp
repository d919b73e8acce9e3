#include "proxy/http1_client_stream.h"

#include "proxy/body_part.h"
#include "proxy/framed.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;

namespace {

/// 1xx heads that may come before the answer; more is an endpoint gone mad.
constexpr int max_interim = 16;

std::unexpected<Error> broke(Code code, std::string what, Retry retry = Retry::no) {
    return fail(code, std::move(what), Side::upstream, retry);
}

}  // namespace

Http1ClientStream::Http1ClientStream(Upstreams& home, std::unique_ptr<Upstream> connection,
                                     const config::PoolLimits& limits)
    : home_(home),
      connection_(std::move(connection)),
      idle_limit_(limits.idle_connections_per_endpoint),
      idle_time_(limits.keepalive_idle),
      max_requests_(limits.max_requests_per_connection),
      max_age_(limits.max_connection_age),
      sent_before_(connection_->stream->written()),
      heard_before_(connection_->stream->received()) {
    ++connection_->requests;
}

Http1ClientStream::~Http1ClientStream() {
    if (!reusable()) return;
    Instant until = home_.now() + idle_time_;
    if (max_age_ > Duration{}) until = std::min(until, connection_->opened + max_age_);
    home_.keep(std::move(connection_), idle_limit_, until);
}

/// A connection is kept if neither side owes the other anything on it.
bool Http1ClientStream::reusable() const {
    const Upstream& c = *connection_;
    if (!request_ended_ || !answer_began_ || !body_.ended() || tunnel_ || c.once) return false;
    if (!c.in.empty() || !c.parser.head().keep_alive || !c.stream->quiet()) return false;
    if (max_requests_ != 0 && c.requests >= max_requests_) return false;
    if (max_age_ > Duration{} && home_.now() - c.opened >= max_age_) return false;
    return idle_time_ > Duration{};
}

Task<Result<void>> Http1ClientStream::send(const http::Outgoing& what, Deadline deadline) {
    std::string_view head_text;
    if (what.head != nullptr) {
        connection_->out.clear();
        append_http1_request(connection_->out, *what.head);
        head_text = connection_->out;
        chunked_ = what.head->framing.kind == http::Framing::Kind::chunked;
        method_ = what.head->protocol.empty() ? http::classify_method(what.head->method) : http::Method::get;
        asked_upgrade_ = what.head->protocol;
    }
    const Framed framed(head_text, what.data, chunked_, what.last, what.trailers);
    const Result<void> sent = co_await connection_->stream->write_all(framed.pieces(), deadline);
    if (!sent) {
        Error error = sent.error();
        error.side = Side::upstream;
        co_return std::unexpected(std::move(error));
    }
    if (what.last) {
        request_ended_ = true;
        if (tunnel_) connection_->stream->shutdown_write();
    }
    co_return Result<void>{};
}

/// True: the final head is there, or has_hints(). False: more bytes are needed.
Result<bool> Http1ClientStream::take_head() {
    Upstream& c = *connection_;
    while (!c.in.empty()) {
        const http::Progress progress = c.parser.feed(c.in.view(), method_);
        if (progress == http::Progress::more) return false;
        if (progress == http::Progress::refused) return broke(Code::protocol, std::string(c.parser.refusal().reason));
        const http::ResponseHead& head = c.parser.head();
        if (!head.interim()) {
            const bool opened = method_ == http::Method::connect && head.status >= 200 && head.status < 300;
            if (head.status == 101 && asked_upgrade_.empty()) {
                return broke(Code::protocol, "the server switched protocols without being asked");
            }
            if (head.status == 101 && !http::equal_ignoring_case(head.fields.get("upgrade"), asked_upgrade_)) {
                return broke(Code::protocol, "the server switched to another protocol than asked for");
            }
            if (head.status > 599) return broke(Code::protocol, "a status above 599");
            answer_began_ = head_pending_ = true;
            tunnel_ = head.status == 101 || opened;
            body_ = http::BodyDecoder(tunnel_ ? http::Framing{http::Framing::Kind::until_close, 0} : head.framing);
            return true;
        }
        if (++interim_ > max_interim) return broke(Code::protocol, "too many interim answers");
        const bool hints = head.status == 103 && keep_hints(head.fields);
        c.in.consume(head.bytes);
        c.parser.reset();
        if (hints) return true;
    }
    return false;
}

Task<Result<void>> Http1ClientStream::read_head(Deadline deadline) {
    for (;;) {
        const Result<bool> there = take_head();
        if (!there) co_return std::unexpected(there.error());
        if (*there) co_return Result<void>{};
        const Result<std::size_t> n = co_await read(deadline);
        if (!n) co_return std::unexpected(n.error());
        if (*n == 0) {
            co_return broke(Code::reset, "closed before its answer", sent() ? Retry::no : Retry::yes);
        }
    }
}

http::BodyPiece Http1ClientStream::take() {
    Upstream& c = *connection_;
    http::BodyPiece piece;
    if (std::exchange(head_pending_, false)) c.in.consume(c.parser.head().bytes);  // its views hold until more()
    if (tunnel_) {
        piece.data = c.in.view();
        c.in.consume(piece.data.size());
        piece.ended = body_.ended();
        return piece;
    }
    const BodyPart part = decode_part(body_, c.in);
    piece.data = part.data;
    piece.ended = body_.ended();
    if (part.refused) piece.refusal = body_.refusal();
    return piece;
}

/// Bytes into the buffer, which is given back while there is nothing to read: who waits holds no memory.
Task<Result<std::size_t>> Http1ClientStream::read(Deadline deadline) {
    Upstream& c = *connection_;
    Result<std::size_t> n = 0;
    if (c.in.empty() && c.stream->quiet()) {
        c.in.release();
        if (const Result<void> ready = co_await c.stream->readable(deadline); !ready)
            n = std::unexpected(ready.error());
    }
    if (n) n = co_await c.stream->read(c.in.room(), deadline);
    if (n) {
        c.in.produced(*n);
        co_return n;
    }
    Error error = n.error();
    error.side = Side::upstream;
    co_return std::unexpected(std::move(error));
}

Task<Result<void>> Http1ClientStream::more(Deadline deadline) {
    const Result<std::size_t> n = co_await read(deadline);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0 && !body_.finish()) co_return broke(Code::reset, "closed within its answer");
    co_return Result<void>{};
}

void Http1ClientStream::abort() { connection_->stream->abort(); }

}  // namespace plimsoll::proxy
