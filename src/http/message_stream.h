// MessageStream: one exchange of messages, whatever version of HTTP is on the wire: ServerStream for the one who
// answers, ClientStream for the one who asks. Bodies are pulled: what is not taken is not read from the peer
// (backpressure), and send() ends when the peer (socket, flow-control window) took it.
//   H1: one at a time on a connection. H2: one of many.
// Thread rule: its network's thread. At most one coroutine in more()/read_head() and one in send() at a time; they may
// be different ones.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "async/deadline.h"
#include "async/task.h"
#include "base/result.h"
#include "http/draft.h"
#include "http/fields.h"
#include "http/head.h"
#include "http/message.h"

namespace plimsoll::http {

enum class Version : std::uint8_t { http1, http2 };

/// What has arrived of a body.
struct BodyPiece {
    std::string_view data;  ///< valid until the next take() or more()
    bool ended = false;     ///< nothing follows; trailers() are complete
    Refusal refusal;        ///< status != 0: the peer broke the framing, and nothing more will come
};

/// What is sent in one step: any of the head, data, and the end, in this order. Views live until send() is done.
struct Outgoing {
    const Draft* head = nullptr;  ///< with the first step only
    std::string_view data{};
    bool last = false;                ///< the message ends with this
    const Draft* trailers = nullptr;  ///< with `last`; its lines go (HTTP/1.1: if chunked), see forward_trailers()
    bool close = false;               ///< with an answer's head: the client is not to use this connection again
};

class MessageStream {
public:
    MessageStream() = default;
    MessageStream(const MessageStream&) = delete;
    MessageStream& operator=(const MessageStream&) = delete;
    /// Gives up what is unfinished: the peer sees a reset (stream or connection), never a clean end.
    virtual ~MessageStream() = default;

    [[nodiscard]] virtual Version version() const = 0;

    /// What is there of the peer's body; never waits. After a tunnel began: raw bytes.
    [[nodiscard]] virtual BodyPiece take() = 0;
    /// Waits until take() has something new to say. Errors: timeout, reset (broken off before its end), cancelled
    /// (aborted by us).
    [[nodiscard]] virtual async::Task<Result<void>> more(async::Deadline deadline) = 0;
    /// After BodyPiece::ended; empty if none came. Lives as long as the stream.
    [[nodiscard]] virtual const Fields& trailers() const = 0;

    /// Errors: timeout (nobody takes it), reset, cancelled. After an error the stream can only be destroyed.
    [[nodiscard]] virtual async::Task<Result<void>> send(const Outgoing& what, async::Deadline deadline) = 0;

    /// Breaks the exchange off so that the peer cannot take it for complete; wakes who waits with cancelled.
    /// Idempotent.
    virtual void abort() = 0;
    /// Bytes of memory that this exchange keeps, about; of its connection, what is this exchange's alone. `sockets`:
    /// see net::Stream::held.
    [[nodiscard]] virtual std::size_t held(bool sockets) const = 0;
};

/// For the one who answers.
class ServerStream : public MessageStream {
public:
    /// Whole and valid. In HTTP/2 :authority and :path stand where Host and the target would.
    [[nodiscard]] virtual const RequestHead& head() const = 0;
    /// A 1xx answer, but not 101; before the final one. HTTP/1.0 clients are not sent it. Errors as send().
    [[nodiscard]] virtual async::Task<Result<void>> send_interim(const Draft& head, async::Deadline deadline) = 0;
    /// The client has gone or reset this exchange, as far as the loop has seen.
    [[nodiscard]] virtual bool gone() const = 0;
    /// Called once when gone() becomes true by the client's doing, so that work for nobody can end at once. Called from
    /// within the session: it may abort streams, not destroy this one. HTTP/2 only: a half-closed HTTP/1.1 client may
    /// still wait for its answer.
    void when_gone(std::move_only_function<void()> tell) { tell_gone_ = std::move(tell); }

protected:
    void went() {
        if (auto tell = std::exchange(tell_gone_, nullptr)) tell();
    }

private:
    std::move_only_function<void()> tell_gone_;
};

/// For the one who asks. send() the request (all of it, or in steps while read_head() waits), then read_head(), then
/// take() and more(). Destroyed after both messages ended, its connection may be used again.
class ClientStream : public MessageStream {
public:
    /// Waits for the head of the final answer; interim ones are skipped (a bounded number). Errors: timeout, reset
    /// (also closed before a head), protocol, cancelled. Retry::yes when the peer surely did nothing with the request
    /// (refused stream, GOAWAY before it, a kept connection that closed before a byte went out).
    [[nodiscard]] virtual async::Task<Result<void>> read_head(async::Deadline deadline) = 0;
    [[nodiscard]] virtual const ResponseHead& head() const = 0;
    /// Some byte of the request may have reached the peer.
    [[nodiscard]] virtual bool sent() const = 0;
    /// Some byte came back for it.
    [[nodiscard]] virtual bool heard() const = 0;

    /// From now on read_head() returns for Early Hints (103, RFC 8297) too: then has_hints(), they are to be taken, and
    /// the head is still to be waited for.
    void want_hints() { hints_wanted_ = true; }
    [[nodiscard]] bool has_hints() const { return !hints_.empty(); }
    /// In order; without what belongs to the connection and without cookies. See max_hints.
    [[nodiscard]] std::vector<Headers> take_hints() { return std::exchange(hints_, {}); }

protected:
    /// False: they are dropped.
    bool keep_hints(const Fields& fields);

private:
    std::vector<Headers> hints_;
    std::size_t hints_kept_ = 0, hint_bytes_ = 0;
    bool hints_wanted_ = false;
};

}  // namespace plimsoll::http
