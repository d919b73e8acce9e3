#include "http/server.h"

#include <array>
#include <optional>
#include <utility>

#include "http/body.h"
#include "http/writer.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;

constexpr std::size_t first_buffer = 4 * 1024;
/// After an answer that closes: how much and how long we go on reading, so that the peer gets the answer and not a
/// reset (RFC 9112 9.6).
constexpr std::size_t linger_bytes = 256 * 1024;
constexpr Duration linger_time = std::chrono::seconds(2);
/// Between two tries when a listener fails for a reason it did not wait out itself.
constexpr Duration accept_pause = std::chrono::milliseconds(100);

Task<void> nothing() { co_return; }

bool is_framing(std::string_view name) {
    const Known known = classify(name);
    return known == Known::content_length || known == Known::transfer_encoding || known == Known::connection ||
           known == Known::date;
}

/// What a handler gave can be sent as it is.
bool is_sound(const Response& response) {
    if (response.status < 200 || response.status > 599) return false;
    for (const Headers::Line& line : response.headers) {
        if (!is_token(line.name) || !is_field_value(line.value)) return false;
    }
    return true;
}

bool has_no_body(std::uint16_t status) { return status == 204 || status == 304; }

}  // namespace

/// Sends a streamed body: chunks, or plain bytes to a client of HTTP/1.0.
class Server::Chunks final : public BodyWriter {
public:
    Chunks(net::Network& network, net::Stream& stream, bool chunked, Duration timeout)
        : network_(network), stream_(stream), timeout_(timeout), chunked_(chunked) {}

    Task<Result<void>> write(std::string_view piece) override {
        if (piece.empty()) co_return Result<void>();
        const Deadline deadline = Deadline::after(network_.now(), timeout_);
        const ChunkHead head(piece.size());
        const std::array<std::string_view, 3> pieces{chunked_ ? head.view() : std::string_view(), piece,
                                                     chunked_ ? chunk_end : std::string_view()};
        Result<void> sent = co_await stream_.write_all(pieces, deadline);
        if (!sent) sent.error().side = Side::client;
        co_return sent;
    }

private:
    net::Network& network_;
    net::Stream& stream_;
    Duration timeout_;
    bool chunked_;
};

/// One accepted connection, request after request.
class Server::Connection {
public:
    Connection(Server& server, std::unique_ptr<net::Stream> stream)
        : server_(server), stream_(std::move(stream)), parser_(server.options_.head) {
        ++server_.counts_.connections;
    }
    Connection(const Connection&) = delete;
    ~Connection() { --server_.counts_.connections; }

    Task<void> run() {
        while (true) {
            std::optional<Request> request = co_await next_request();
            if (!request) break;
            ++server_.counts_.requests;
            Response response = co_await server_.handler_(*std::move(request));
            const bool sent = co_await answer(std::move(response));
            if (!sent) co_return;
            if (!keep_alive_) break;
        }
        co_await linger();
    }

private:
    /// While it lives the connection owes nobody anything and may be closed by stop().
    class Idle {
    public:
        explicit Idle(Connection& connection) : idle_(connection.server_.idle_), stream_(connection.stream_.get()) {
            idle_.insert(stream_);
        }
        Idle(const Idle&) = delete;
        ~Idle() { idle_.erase(stream_); }

    private:
        std::unordered_set<net::Stream*>& idle_;
        net::Stream* stream_;
    };

    [[nodiscard]] std::string_view received() const { return std::string_view(buffer_).substr(0, size_); }
    [[nodiscard]] Deadline in(Duration timeout) const { return Deadline::after(server_.network_.now(), timeout); }

    std::span<char> room() {
        if (buffer_.size() - size_ < first_buffer) buffer_.resize(std::max(first_buffer, buffer_.size() * 2));
        return std::span(buffer_).subspan(size_);
    }
    void consume(std::size_t bytes) {
        std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(bytes),
                  buffer_.begin() + static_cast<std::ptrdiff_t>(size_), buffer_.begin());
        size_ -= bytes;
    }

    /// False: the peer has gone or was too slow.
    Task<bool> read_more(Deadline deadline) {
        const Result<std::size_t> n = co_await stream_->read(room(), deadline);
        timed_out_ = !n && n.error().code == Code::timeout;
        if (!n || *n == 0) co_return false;
        size_ += *n;
        co_return true;
    }

    /// The first bytes of the next request, unless there are some. False: there will be none.
    Task<bool> await_request() {
        if (size_ > 0) co_return true;
        if (server_.stopping_) {
            // Whoever has sent a request already gets his answer.
            const net::Io io = stream_->try_read(room());
            size_ += io.state == net::Io::State::moved ? io.bytes : 0;
            co_return size_ > 0;
        }
        const Idle idle(*this);
        co_return co_await read_more(in(server_.options_.idle_timeout));
    }

    Task<std::optional<Request>> next_request() {
        parser_.reset();
        const bool begun = co_await await_request();
        if (!begun) co_return std::nullopt;
        const Deadline deadline = in(server_.options_.head_timeout);
        while (true) {
            const Progress progress = parser_.feed(received());
            if (progress == Progress::complete) break;
            if (progress == Progress::refused) {
                co_await refuse(parser_.refusal());
                co_return std::nullopt;
            }
            const bool more = co_await read_more(deadline);
            if (more) continue;
            if (timed_out_) co_await refuse({408, "the head took too long"});
            co_return std::nullopt;
        }
        Request request = begin_request();
        const bool whole = co_await read_body(request.body);
        if (!whole) co_return std::nullopt;
        co_return request;
    }

    /// Copies what the head says, before the buffer moves on.
    Request begin_request() {
        const RequestHead& head = parser_.head();
        keep_alive_ = head.keep_alive;
        head_request_ = head.method == Method::head;
        http11_ = head.minor_version == 1;
        Request request;
        request.method = head.method_text();
        request.path = head.path();
        request.query = head.query();
        request.authority = head.authority();
        request.headers = Headers::copy(head.fields);
        request.peer = stream_->peer().text();
        request.unix_socket = stream_->local().family() == net::Address::Family::unix_socket;
        return request;
    }

    Task<bool> read_body(std::string& body) {
        const Framing framing = parser_.head().framing;
        const bool expects_continue = parser_.head().expects_continue;
        consume(parser_.head().bytes);
        if (framing.kind == Framing::Kind::length && framing.length > server_.options_.body_bytes) {
            co_await refuse({413, "the body is too large"});
            co_return false;
        }
        const Deadline deadline = in(server_.options_.body_timeout);
        if (expects_continue && framing.has_body() && size_ == 0) {
            const Result<void> sent = co_await stream_->write_all(continue_head, deadline);
            if (!sent) co_return false;
        }
        BodyDecoder decoder(framing);
        while (true) {
            const BodyStep step = decoder.next(received());
            if (step.kind == BodyStep::Kind::refused) {
                co_await refuse(decoder.refusal());
                co_return false;
            }
            if (body.size() + step.data.size() > server_.options_.body_bytes) {
                co_await refuse({413, "the body is too large"});
                co_return false;
            }
            body.append(step.data);
            consume(step.consumed);
            if (step.kind == BodyStep::Kind::end) co_return true;
            if (step.kind == BodyStep::Kind::data) continue;
            const bool more = co_await read_more(deadline);
            if (more) continue;
            if (timed_out_) co_await refuse({408, "the body took too long"});
            co_return false;
        }
    }

    /// An answer of ours, after which the connection ends: what follows cannot be trusted.
    Task<void> refuse(Refusal refusal) {
        ++server_.counts_.refused;
        out_.clear();
        append_answer(out_, refusal.status, std::string(refusal.reason) + "\n", false);
        const Result<void> sent = co_await stream_->write_all(out_, in(server_.options_.write_timeout));
        if (sent) co_await linger();
        stream_->close();
    }

    void write_head(const Response& response, const Framing& framing) {
        out_.clear();
        HeadWriter writer(out_);
        writer.status_line(response.status).field("Date", http_date(server_.network_.wall()));
        for (const Headers::Line& line : response.headers) {
            if (!is_framing(line.name)) writer.field(line.name, line.value);
        }
        writer.framing(framing);
        if (!keep_alive_) writer.field("Connection", "close");
        if (keep_alive_ && !http11_) writer.field("Connection", "keep-alive");
        writer.end();
    }

    /// False: the connection is over.
    Task<bool> answer(Response response) {
        if (!is_sound(response)) response = Response::text(500, "the answer was not valid HTTP\n");
        const bool streams = static_cast<bool>(response.stream);
        if (server_.stopping_ || (streams && !http11_)) keep_alive_ = false;
        if (response.headers.get("Connection").value_or("") == "close") keep_alive_ = false;
        Framing framing{Framing::Kind::length, response.body.size()};
        if (streams) framing = {http11_ ? Framing::Kind::chunked : Framing::Kind::until_close, 0};
        if (has_no_body(response.status)) framing = {};
        const bool body_goes = framing.kind != Framing::Kind::none && !head_request_;

        write_head(response, framing);
        const std::array<std::string_view, 2> pieces{
            out_, body_goes && !streams ? std::string_view(response.body) : std::string_view()};
        const Result<void> sent = co_await stream_->write_all(pieces, in(server_.options_.write_timeout));
        if (!sent) co_return false;
        if (!body_goes || !streams) co_return true;

        Chunks chunks(server_.network_, *stream_, http11_, server_.options_.write_timeout);
        const Result<void> streamed = co_await response.stream(chunks);
        if (!streamed) {
            stream_->abort();  // without the last chunk: the client must not take this for a whole answer
            co_return false;
        }
        if (!http11_) co_return true;
        const Result<void> ended = co_await stream_->write_all(last_chunk, in(server_.options_.write_timeout));
        co_return ended.has_value();
    }

    Task<void> linger() {
        if (stream_->closed()) co_return;
        stream_->shutdown_write();
        if (server_.stopping_) co_return;
        const Idle idle(*this);
        const Deadline deadline = in(linger_time);
        for (std::size_t left = linger_bytes; left > 0;) {
            size_ = 0;
            const Result<std::size_t> n = co_await stream_->read(room(), deadline);
            if (!n || *n == 0) co_return;
            left -= std::min(left, *n);
        }
    }

    Server& server_;
    std::unique_ptr<net::Stream> stream_;
    RequestParser parser_;
    std::string buffer_;  ///< [0, size_) is received and not used up
    std::size_t size_ = 0;
    std::string out_;
    bool keep_alive_ = true;
    bool head_request_ = false;
    bool http11_ = true;
    bool timed_out_ = false;
};

Server::Server(net::Network& network, Handler handler, const ServerOptions& options)
    : network_(network), handler_(std::move(handler)), options_(options) {}

Server::~Server() = default;

void Server::start(std::unique_ptr<net::Listener> listener) {
    listeners_.push_back(std::move(listener));
    scope_.spawn(accept_all(listeners_.back().get()));
}

void Server::serve(std::unique_ptr<net::Stream> stream) {
    ++counts_.accepted;
    if (counts_.connections >= options_.connections) {
        ++counts_.over_limit;
        std::string out;
        append_answer(out, 503, "too many connections\n", false);
        const std::string_view piece = out;
        (void)stream->try_write({&piece, 1});  // if it does not fit, he learns it from the close
        return;
    }
    scope_.spawn(run(std::move(stream)));
}

Task<void> Server::accept_all(net::Listener* listener) {
    while (true) {
        Result<std::unique_ptr<net::Stream>> accepted = co_await listener->accept(Deadline::none());
        if (accepted) {
            serve(*std::move(accepted));
            continue;
        }
        if (accepted.error().code == Code::cancelled) co_return;
        ++counts_.accept_errors;
        co_await network_.sleep_until(network_.now() + accept_pause);
    }
}

Task<void> Server::run(std::unique_ptr<net::Stream> stream) {
    Connection connection(*this, std::move(stream));
    co_await connection.run();
}

Task<void> Server::cut_at(Deadline deadline) {
    co_await network_.sleep_until(deadline.at);
    // Posted, since the scope's joiner owns the scope that this task runs in.
    network_.post([this, alive = std::weak_ptr(alive_)] {
        if (alive.expired()) return;
        scope_.cancel();
        scope_.spawn(nothing());  // its end wakes the joiner
    });
}

Task<void> Server::stop(Deadline deadline) {
    stopping_ = true;
    for (const std::unique_ptr<net::Listener>& listener : listeners_) {
        while (std::unique_ptr<net::Stream> waiting = listener->try_accept()) serve(std::move(waiting));
        listener->close();
    }
    for (net::Stream* stream : std::vector(idle_.begin(), idle_.end())) {
        if (stream->quiet()) stream->close();
    }
    async::Scope clock;
    if (deadline.at != never) clock.spawn(cut_at(deadline));
    co_await scope_.join();
}

}  // namespace plimsoll::http
