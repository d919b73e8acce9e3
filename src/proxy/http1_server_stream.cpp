#include "proxy/http1_server_stream.h"

#include "proxy/body_part.h"
#include "proxy/client.h"
#include "proxy/framed.h"

namespace plimsoll::proxy {

using async::Deadline;
using async::Task;
using Kind = http::Framing::Kind;

Http1ServerStream::Http1ServerStream(Client& client)
    : client_(client), body_(client.parser.head().framing), more_in_(client.core.blocks) {
    consumed_ = head().bytes;
}

const http::RequestHead& Http1ServerStream::head() const { return client_.parser.head(); }

http::BodyPiece Http1ServerStream::take() {
    http::BodyPiece piece;
    if (tunnel_) {
        Buffer& in = first_ ? client_.in : more_in_;
        const std::size_t skip = first_ ? consumed_ : 0;
        piece.data = in.view().substr(skip);
        if (first_) {
            consumed_ += piece.data.size();
        } else {
            in.consume(piece.data.size());
        }
        piece.ended = body_.ended();
        return piece;
    }
    BodyPart part;
    if (first_) {
        part = decode_part(body_, client_.in.bytes().subspan(consumed_));
        consumed_ += part.consumed;
    } else {
        part = decode_part(body_, more_in_);
    }
    piece.data = part.data;
    piece.ended = body_.ended();
    if (part.refused) piece.refusal = body_.refusal();
    return piece;
}

Task<Result<void>> Http1ServerStream::more(Deadline deadline) {
    if (first_ && tunnel_) {  // nobody looks at the request's head any more
        client_.in.release();
        consumed_ = 0;
    }
    first_ = false;
    if (more_in_.empty() && client_.stream->quiet()) {
        more_in_.release();  // who waits holds no memory
        const Result<void> ready = co_await client_.stream->readable(deadline);
        if (!ready) co_return ready;
    }
    const Result<std::size_t> n = co_await client_.stream->read(more_in_.room(), deadline);
    if (!n) co_return std::unexpected(n.error());
    if (*n == 0 && !body_.finish()) co_return fail(Code::reset, "the client closed within its request", Side::client);
    more_in_.produced(*n);
    co_return Result<void>{};
}

/// Decides how the answer is framed and whether the connection lives on, and writes the head to client.out.
void Http1ServerStream::start_answer(const http::Draft& draft, bool close) {
    const http::RequestHead& request = head();
    answered_ = true;
    client_.out.clear();
    const bool connect = request.method == http::Method::connect && draft.status < 300;
    if (draft.status == 101 || connect) {
        tunnel_ = true;
        body_ = http::BodyDecoder({Kind::until_close, 0});
        answer_framing_ = {Kind::until_close, 0};
        append_http1_response(client_.out, draft, answer_framing_, draft.status == 101 ? "upgrade" : "");
        return;
    }
    answer_framing_ = draft.framing;
    if (answer_framing_.kind == Kind::chunked && request.minor_version == 0) answer_framing_ = {Kind::until_close, 0};
    chunked_ = answer_framing_.kind == Kind::chunked;
    // What follows a CONNECT that was refused may be meant for the tunnel: it must not be read as a request.
    keep_ = !close && request.keep_alive && request.method != http::Method::connect && body_.ended() &&
            !client_.closing() && answer_framing_.kind != Kind::until_close;
    const std::string_view connection = !keep_ ? "close" : request.minor_version == 0 ? "keep-alive" : "";
    append_http1_response(client_.out, draft, answer_framing_, connection);
}

Task<Result<void>> Http1ServerStream::send(const http::Outgoing& what, Deadline deadline) {
    std::string_view head_text;
    if (what.head != nullptr) {
        start_answer(*what.head, what.close);
        head_text = client_.out;
    }
    const Framed framed(head_text, what.data, chunked_, what.last, what.trailers);
    if (const Result<void> sent = co_await client_.stream->write_all(framed.pieces(), deadline); !sent) {
        keep_ = false;
        co_return sent;
    }
    if (what.last) {
        complete_ = true;
        if (tunnel_) client_.stream->shutdown_write();
    }
    co_return Result<void>{};
}

Task<Result<void>> Http1ServerStream::send_interim(const http::Draft& draft, Deadline deadline) {
    if (head().minor_version == 0) co_return Result<void>{};
    client_.out.clear();
    append_http1_response(client_.out, draft, {}, "");
    co_return co_await client_.stream->write_all(client_.out, deadline);
}

void Http1ServerStream::abort() { client_.stream->abort(); }
bool Http1ServerStream::gone() const { return client_.stream->closed(); }

bool Http1ServerStream::finish() {
    client_.linger = !keep_ && answered_ && !tunnel_ && (!body_.ended() || head().method == http::Method::connect);
    client_.in.consume(consumed_);
    if (!more_in_.empty() && body_.ended()) client_.in = std::move(more_in_);
    return keep_ && complete_ && body_.ended();
}

}  // namespace plimsoll::proxy
