#include "http/http2_channel.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "http/http2_session.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;

constexpr Refusal too_long{400, "a body longer than its Content-Length"};
constexpr Refusal too_short{400, "a body shorter than its Content-Length"};
constexpr Refusal no_body{400, "a body where there must be none"};
constexpr Refusal malformed{400, "a malformed message"};
constexpr Refusal early_trailers{400, "trailers that do not end the stream"};

HeadLimits trailer_limits(const Http2Limits& limits) {
    HeadLimits trailers = limits.head;
    trailers.head_bytes = limits.trailer_bytes;
    trailers.fields = limits.trailer_fields;
    return trailers;
}

/// Lines of a draft that have no place in HTTP/2, or that are written otherwise.
bool is_dropped(Known known, std::string_view value) {
    switch (known) {
        case Known::host:
        case Known::content_length:
        case Known::transfer_encoding:
        case Known::connection:
        case Known::upgrade:
        case Known::keep_alive:
        case Known::proxy_connection:
        case Known::http2_settings: return true;
        case Known::te: return !equal_ignoring_case(value, "trailers");
        default: return false;
    }
}

/// Secrets of different users share one dynamic table; and what is never the same twice only pushes others out of it.
bool is_unindexed(Known known) {
    switch (known) {
        case Known::authorization:
        case Known::proxy_authorization:
        case Known::cookie:
        case Known::set_cookie:
        case Known::x_request_id:
        case Known::traceparent: return true;
        default: return false;
    }
}

class Digits {
public:
    explicit Digits(std::uint64_t value) : end_(std::to_chars(text_.begin(), text_.end(), value).ptr) {}
    [[nodiscard]] std::string_view view() const {
        return {text_.data(), static_cast<std::size_t>(end_ - text_.data())};
    }

private:
    std::array<char, 20> text_{};
    char* end_;
};

void add_lines(std::vector<Http2Field>& fields, const Draft& draft) {
    for (const Draft::Line& line : draft.lines()) {
        const Known known = classify(line.name);
        // With a body its framing says how long it is. Without one a length is of what HEAD or 304 leaves out.
        const bool of_nothing = known == Known::content_length && draft.framing.kind == Framing::Kind::none;
        if (of_nothing || !is_dropped(known, line.value)) {
            fields.push_back({line.name, line.value, is_unindexed(known)});
        }
    }
}

void add_length(std::vector<Http2Field>& fields, const Framing& framing, const Digits& length) {
    if (framing.kind == Framing::Kind::length) fields.push_back({"content-length", length.view()});
}

}  // namespace

// ------------------------------------------------------------------------------------------------------------ channel

/// While it lives, the channel may look at what the sender lent it.
struct Http2Channel::Sending {
    explicit Sending(Http2Channel& own) : channel(&own) { own.sending_ = this; }
    Sending(const Sending&) = delete;
    ~Sending() {
        if (channel == nullptr) return;
        channel->sending_ = nullptr;
        channel->drop_outgoing();
    }
    Http2Channel* channel;  ///< nullptr once it is gone, which may be before the coroutine that waits for it
};

Http2Channel::Http2Channel(Http2Session& session, std::int32_t id, Side peer)
    : session_(&session), id_(id), peer_(peer), trailers_(trailer_limits(session.limits())) {
    session.join(*this);
}

Http2Channel::~Http2Channel() {
    for (net::Waiter* waiter : waiting_) {
        if (waiter != nullptr) waiter->disarm();
    }
    if (session_ != nullptr) session_->leave(*this);
    if (sending_ != nullptr) sending_->channel = nullptr;
}

void Http2Channel::Wait::await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    net::Waiter*& slot = channel_.waiting_[static_cast<std::size_t>(direction())];
    PLIMSOLL_ENSURE(slot == nullptr, "a stream has one waiter per direction");
    sit_in(slot);
    channel_.session_->note_deadline(deadline());
}

Http2Channel::Wait Http2Channel::wait(Way way, Deadline deadline) { return {*this, way, deadline}; }

void Http2Channel::wake(Way way) {
    net::Waiter* waiter = waiting_[static_cast<std::size_t>(way)];
    if (waiter != nullptr && session_ != nullptr) session_->wake(*waiter, net::Wake::ready);
}

Instant Http2Channel::expire(Instant now) {
    Instant soonest = never;
    for (net::Waiter* waiter : waiting_) {
        if (waiter == nullptr) continue;
        if (waiter->deadline() > now) {
            soonest = std::min(soonest, waiter->deadline());
        } else {
            session_->wake(*waiter, net::Wake::timeout);
        }
    }
    return soonest;
}

Error Http2Channel::error(std::string_view doing) const {
    Error error = failed_ ? *failed_ : Error{Code::reset, peer_, Retry::no, "the connection has ended"};
    error.detail.insert(0, std::string(doing) + ": ");
    return error;
}

Error Http2Channel::timeout(std::string_view doing) const {
    return {Code::timeout, peer_, Retry::no, std::string(doing) + ": the deadline passed"};
}

void Http2Channel::fail(Error error) {
    if (!failed_) failed_ = std::move(error);
    wake(Way::read);
    wake(Way::write);
}

// ---- receiving

void Http2Channel::expect(const Framing& framing, bool tunnel) {
    tunnel_ = tunnel;
    body_allowed_ = framing.kind != Framing::Kind::none;
    has_length_ = framing.kind == Framing::Kind::length;
    length_ = framing.length;
}

void Http2Channel::receive(std::string_view data) {
    heard_ = true;
    if (failed_ || cut_) return session_->consume(*this, data.size());
    if (!tunnel_) {
        if (!body_allowed_) return refuse(no_body);
        if (has_length_ && data.size() > length_ - received_) return refuse(too_long);
    }
    received_ += data.size();
    arrived_.append(data);
    wake(Way::read);
}

void Http2Channel::receive_end() {
    if (failed_ || cut_) return;
    if (!tunnel_ && has_length_ && received_ != length_) return refuse(too_short);
    received_end_ = true;
    wake(Way::read);
}

void Http2Channel::refuse(const Refusal& refusal) {
    if (refusal_.status != 0) return;
    refusal_ = {static_cast<std::uint16_t>(peer_ == Side::client ? refusal.status : 502), refusal.reason};
    gone_ = true;
    session_->malformed();
    session_->reset(*this, NGHTTP2_PROTOCOL_ERROR);
    fail({Code::protocol, peer_, Retry::no, std::string(refusal.reason)});
    on_gone();
}

BodyPiece Http2Channel::take_piece() {
    BodyPiece piece;
    held_.clear();
    if (!arrived_.empty()) {
        std::swap(held_, arrived_);
        piece.data = held_;
        if (session_ != nullptr) session_->consume(*this, held_.size());
    }
    piece.ended = received_end_;
    piece.refusal = refusal_;
    told_end_ = received_end_;
    return piece;
}

Task<Result<void>> Http2Channel::wait_for_more(Deadline deadline) {
    while (true) {
        if (cut_) co_return std::unexpected(error("read"));
        if (!arrived_.empty() || received_end_ || refusal_.status != 0) co_return Result<void>();
        if (failed_) co_return std::unexpected(error("read"));
        const net::Wake why = co_await wait(Way::read, deadline);
        if (timed_out(why) && arrived_.empty() && !received_end_) co_return std::unexpected(timeout("read"));
    }
}

// ---- sending

void Http2Channel::drop_outgoing() {
    out_ = chunk_ = {};
    out_last_ = false;
    out_trailers_ = nullptr;
    if (lent() > 0 && session_ != nullptr) session_->output().keep(*this);
}

bool Http2Channel::all_sent() const {
    return !head_queued_ && out_.empty() && chunk_.empty() && (!out_last_ || sent_end_) && lent() == 0;
}

void Http2Channel::queue(const Outgoing& what) {
    const bool trailers = what.last && what.trailers != nullptr && !what.trailers->lines().empty();
    out_ = what.data;
    out_last_ = what.last;
    out_trailers_ = trailers ? what.trailers : nullptr;
    if (what.head == nullptr) {
        if (!out_.empty() || out_last_) session_->resume(*this);
        return;
    }
    head_queued_ = true;
    if (submit_head(*what.head, out_last_ && out_.empty() && !trailers)) return;
    head_queued_ = false;
    fail({Code::reset, peer_, Retry::yes, "the stream cannot be begun"});
}

Task<Result<void>> Http2Channel::send_all(const Outgoing& what, Deadline deadline) {
    if (failed_) co_return std::unexpected(error("send"));
    const Sending sending(*this);
    queue(what);
    if (session_ != nullptr) session_->push();
    while (!all_sent()) {
        if (failed_ || session_ == nullptr) co_return std::unexpected(error("send"));
        const net::Wake why = co_await wait(Way::write, deadline);
        if (session_ == nullptr && failed_) co_return std::unexpected(error("send"));  // what was lent never went
        if (timed_out(why) && !all_sent() && !failed_) {
            fail(timeout("send"));
            co_return std::unexpected(error("send"));
        }
    }
    co_return Result<void>();
}

Task<Result<void>> Http2Channel::flush_head(Deadline deadline) {
    session_->push();
    while (head_queued_) {
        if (failed_ || session_ == nullptr) co_return std::unexpected(error("send"));
        const net::Wake why = co_await wait(Way::write, deadline);
        if (timed_out(why) && head_queued_ && !failed_) co_return std::unexpected(timeout("send"));
    }
    co_return Result<void>();
}

void Http2Channel::head_sent(bool ended, std::uint64_t at) {
    if (!head_sent_) head_at_ = at;
    head_sent_ = true;
    head_queued_ = false;
    if (ended) sent_end_ = true;
    wake(Way::write);
}

std::string_view Http2Channel::next_data(std::size_t most, bool& last) {
    chunk_ = out_.substr(0, std::min(most, out_.size()));
    out_.remove_prefix(chunk_.size());
    last = out_last_ && out_.empty();
    return chunk_;
}

void Http2Channel::data_sent() {
    chunk_ = {};
    if (out_.empty()) wake(Way::write);
}

void Http2Channel::abort_stream() {
    if (cut_) return;
    cut_ = true;
    // Wakes first: afterwards the session may be gone for us.
    fail({Code::cancelled, Side::us, Retry::no, "aborted"});
    failed_->code = Code::cancelled;
    drop_outgoing();
    if (session_ != nullptr && !finished()) {
        session_->reset(*this, peer_ == Side::client ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_CANCEL);
    }
}

// ---- the end

void Http2Channel::closed(std::uint32_t error_code, bool by_peer) {
    open_ = false;
    heard_ = heard_ || by_peer;
    if (finished() || peer_ == Side::upstream) session_->release(*this);
    wake(Way::read);
    wake(Way::write);
    if (finished() || cut_ || failed_) return;
    if (!by_peer && error_code == NGHTTP2_PROTOCOL_ERROR) return refuse(malformed);  // nghttp2 saw it before us
    const bool untouched = error_code == NGHTTP2_REFUSED_STREAM && peer_ == Side::upstream;
    gone_ = true;
    std::string detail = by_peer ? "the stream was reset by the peer: " : "the stream was closed: ";
    detail.append(nghttp2_http2_strerror(error_code));
    fail({Code::reset, peer_, untouched ? Retry::yes : Retry::no, std::move(detail)});
    on_gone();
}

void Http2Channel::not_sent() {
    open_ = false;
    head_queued_ = false;
    session_->release(*this);
    fail({Code::reset, peer_, Retry::yes, "the connection takes no more requests"});
}

void Http2Channel::lost(std::string_view why, bool owed) {
    sent_some_ = some_sent();
    open_ = false;
    if ((!finished() || owed) && !failed_) {
        gone_ = true;
        fail({Code::reset, peer_, peer_ == Side::upstream && !sent_some_ ? Retry::yes : Retry::no, std::string(why)});
        on_gone();
    }
    wake(Way::read);
    wake(Way::write);
    out_ = chunk_ = {};
    session_ = nullptr;
}

bool Http2Channel::some_sent() const {
    if (session_ == nullptr) return sent_some_;
    return head_sent_ && session_->output().written() > head_at_;
}

// -------------------------------------------------------------------------------------------------------- server side

Http2ServerStream::Http2ServerStream(Http2Session& session, std::int32_t id)
    : Http2Stream(session, id, Side::client), section_(session.limits().head, session.limits().connect_protocol) {
    open_ = true;
}

void Http2ServerStream::receive_field(std::string_view name, std::string_view value) {
    head_done_ ? trailers_.add(name, value) : section_.add(name, value);
}

const SectionText& Http2ServerStream::section() const { return head_done_ ? trailers_.text() : section_.text(); }

Refusal Http2ServerStream::finish_head(bool ended) {
    heard_ = true;
    const Refusal refusal = section_.finish(ended);
    if (refusal.status != 0) return refusal;
    head_done_ = true;
    expect(section_.head().framing, section_.head().method == Method::connect);
    received_end_ = ended;
    return {};
}

void Http2ServerStream::receive_section(bool ended) {
    if (failed()) return;
    if (!ended) return refuse(early_trailers);
    if (const Refusal refusal = trailers_.finish(); refusal.status != 0) return refuse(refusal);
    receive_end();
}

bool Http2ServerStream::submit_head(const Draft& head, bool ended) {
    PLIMSOLL_ENSURE(head.status >= 200 && head.status <= 599, "a final answer has a final status");
    std::vector<Http2Field>& fields = session_->fields();
    const Digits status(head.status), length(head.framing.length);
    fields.clear();
    fields.push_back({":status", status.view()});
    add_lines(fields, head);
    add_length(fields, head.framing, length);
    return session_->submit(*this, fields, ended);
}

Task<Result<void>> Http2ServerStream::send_interim(const Draft& head, Deadline deadline) {
    PLIMSOLL_ENSURE(head.status >= 100 && head.status < 200 && head.status != 101, "an interim answer that HTTP/2 has");
    if (failed()) co_return std::unexpected(error("send"));
    if (head_sent_ && sent_end_) co_return Result<void>();
    std::vector<Http2Field>& fields = session_->fields();
    const Digits status(head.status);
    fields.clear();
    fields.push_back({":status", status.view()});
    add_lines(fields, head);
    head_queued_ = true;
    if (!session_->submit_interim(*this, fields)) {
        head_queued_ = false;
        co_return plimsoll::fail(Code::reset, "the stream cannot be answered", Side::client);
    }
    co_return co_await flush_head(deadline);
}

// -------------------------------------------------------------------------------------------------------- client side

Http2ClientStream::Http2ClientStream(Http2Session& session)
    : Http2Stream(session, -1, Side::upstream), section_(session.limits().head) {}

void Http2ClientStream::begin_section() {
    heard_ = true;
    if (!head_done_ && interims_ > 0) section_ = ResponseSection(session_->limits().head);
}

void Http2ClientStream::receive_field(std::string_view name, std::string_view value) {
    head_done_ ? trailers_.add(name, value) : section_.add(name, value);
}

const SectionText& Http2ClientStream::section() const { return head_done_ ? trailers_.text() : section_.text(); }

void Http2ClientStream::receive_section(bool ended) {
    if (failed()) return;
    if (head_done_) {
        if (!ended) return refuse(early_trailers);
        if (const Refusal refusal = trailers_.finish(); refusal.status != 0) return refuse(refusal);
        return receive_end();
    }
    if (const Refusal refusal = section_.finish(method_, ended); refusal.status != 0) return refuse(refusal);
    if (section_.head().status < 200) {
        if (++interims_ > session_->limits().interim) return refuse({502, "too many interim answers"});
        if (section_.head().status == 103 && keep_hints(section_.head().fields)) wake(Way::read);
        return;
    }
    head_done_ = true;
    expect(section_.head().framing, method_ == Method::connect && section_.head().status < 300);
    wake(Way::read);
    if (ended) receive_end();
}

Task<Result<void>> Http2ClientStream::read_head(Deadline deadline) {
    while (!head_done_ || cut_) {
        if (failed()) co_return std::unexpected(error("read"));
        if (has_hints()) break;
        const net::Wake why = co_await wait(Way::read, deadline);
        if (timed_out(why) && !head_done_ && !has_hints() && !failed()) co_return std::unexpected(timeout("read"));
    }
    co_return Result<void>();
}

bool Http2ClientStream::submit_head(const Draft& head, bool ended) {
    PLIMSOLL_ENSURE(is_token(head.method) && is_field_value(head.authority) && is_target(head.target),
                    "a request of ours that would split the message");
    std::vector<Http2Field>& fields = session_->fields();
    const Digits length(head.framing.length);
    const bool tunnel = !head.protocol.empty();
    const std::string_view method = tunnel ? std::string_view("CONNECT") : head.method;
    method_ = classify_method(method);
    fields.clear();
    fields.push_back({":method", method});
    if (tunnel) fields.push_back({":protocol", head.protocol});
    if (tunnel || method_ != Method::connect) {
        fields.push_back({":scheme", head.scheme.empty() ? std::string_view("http") : head.scheme});
        fields.push_back({":path", head.target.empty() ? std::string_view("/") : head.target});
    }
    if (!head.authority.empty()) fields.push_back({":authority", head.authority});
    add_lines(fields, head);
    if (method_ != Method::connect) add_length(fields, head.framing, length);
    return session_->submit(*this, fields, ended);
}

}  // namespace plimsoll::http
