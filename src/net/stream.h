// Stream: an ordered flow of bytes both ways. Two implementations ship: the kernel's (loop.h) and one in memory with
// virtual time (memory_network.h). The socket is always tried first; only would-block suspends, and neither way
// allocates.
// Thread rule: belongs to the thread of its Network.
#pragma once

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "async/deadline.h"
#include "base/result.h"
#include "net/address.h"
#include "net/ready.h"

namespace plimsoll::net {

using async::Deadline;

/// What one try at the socket came to.
struct Io {
    enum class State : std::uint8_t {
        moved,        ///< `bytes` > 0 went through
        would_block,  ///< nothing now; wait
        end,          ///< reading: the peer has closed its side in order
        failed,       ///< the connection is broken: `code` says how (reset, closed by us = cancelled, io)
    };
    State state = State::would_block;
    Code code = Code::internal;
    std::size_t bytes = 0;

    static Io moved(std::size_t n) { return {State::moved, Code::internal, n}; }
    static Io would_block() { return {}; }
    static Io end() { return {State::end, Code::closed, 0}; }
    static Io failed(Code code) { return {State::failed, code, 0}; }
};

/// The Error that a Code from a stream stands for; `what` was being done. The caller sets the side.
[[nodiscard]] Error stream_error(Code code, std::string_view what);

/// At most this many pieces go into one gathered write; more are written in several steps.
inline constexpr std::size_t max_pieces = 64;

class ReadAwait;
class WriteAwait;
class ReadableAwait;

class Stream {
public:
    Stream() = default;
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    /// Closes. Nobody may wait for it any more (waiters in destroyed coroutines have disarmed themselves).
    virtual ~Stream() = default;

    /// Reads what is there, at most into.size() > 0 bytes. Never waits.
    virtual Io try_read(std::span<char> into) = 0;
    /// Writes as much of the pieces, in order, as the socket takes. Never waits. Empty pieces are skipped; if there is
    /// nothing to write at all: moved(0).
    virtual Io try_write(std::span<const std::string_view> pieces) = 0;

    /// Wakes `waiter` once: when reading (writing) may make progress, its deadline passes, or the stream is closed. At
    /// most one waiter per direction.
    virtual void arm(Waiter& waiter) = 0;

    /// Says "no more bytes from me" (FIN). Reading goes on.
    virtual void shutdown_write() = 0;
    /// Ends both directions now; wakes waiters with Code::cancelled. What was written and not yet sent is still
    /// delivered. Later calls give failed(cancelled). Idempotent.
    virtual void close() = 0;
    /// As close(), but the peer gets a reset (RST) and cannot take a cut answer for a whole one.
    virtual void abort() = 0;
    [[nodiscard]] virtual bool closed() const = 0;
    /// True if, as far as the loop has seen, the peer has sent nothing unread and has not closed: a pooled connection
    /// for which this is false must not be reused. Costs no system call.
    [[nodiscard]] virtual bool quiet() const = 0;

    /// Whoever waits to read gets Code::timeout now, as if its deadline had passed.
    virtual void expire_read() = 0;
    /// Bytes that are kept for it outside of whoever owns it: encryption's, and with `sockets` the kernel's (a system
    /// call). For choosing whom to end when memory is short.
    [[nodiscard]] virtual std::size_t held(bool sockets) const = 0;

    /// The queue from which the loop wakes this stream's waiters: a stream built over this one (TLS) puts waiters there
    /// for bytes that it holds itself. Outlives the stream.
    [[nodiscard]] virtual ReadyQueue& ready() = 0;

    [[nodiscard]] virtual const Address& peer() const = 0;
    [[nodiscard]] virtual const Address& local() const = 0;

    // ---- awaitables: no coroutine frame, no allocation ----

    /// `Result<std::size_t> n = co_await stream.read(buffer, deadline);` n > 0 bytes, or 0: the peer closed in order.
    /// Errors: timeout, reset, cancelled (closed by us).
    [[nodiscard]] ReadAwait read(std::span<char> into, Deadline deadline);
    /// `Result<void> sent = co_await stream.write_all(pieces, deadline);` All bytes went to the socket. The pieces (and
    /// their array) must live until then. Errors: timeout, reset, cancelled; then an unknown part was sent
    /// (see written()).
    [[nodiscard]] WriteAwait write_all(std::span<const std::string_view> pieces, Deadline deadline);
    [[nodiscard]] WriteAwait write_all(std::string_view bytes, Deadline deadline);
    /// Waits until a read would give something (bytes, end or failure), without reading: an idle connection needs no
    /// buffer. Errors: timeout, cancelled.
    [[nodiscard]] ReadableAwait readable(Deadline deadline);

    /// Bytes that the socket took and gave since the stream began.
    [[nodiscard]] std::uint64_t written() const { return written_; }
    [[nodiscard]] std::uint64_t received() const { return received_; }

protected:
    std::uint64_t written_ = 0;
    std::uint64_t received_ = 0;

private:
    friend class ReadAwait;
    friend class WriteAwait;
    /// After this many operations in a row that did not have to wait, the loop gets a turn, so that one fast pair of
    /// peers cannot keep the others from being served.
    static constexpr std::uint8_t turns = 64;
    bool lucky() { return ++in_a_row_ < turns; }
    std::uint8_t in_a_row_ = 0;
};

/// Common part of what waits for a stream in a coroutine.
class StreamAwait : protected Waiter {
public:
    StreamAwait(StreamAwait&&) = default;

protected:
    StreamAwait(Stream& stream, Direction direction, Deadline deadline)
        : Waiter(direction, deadline.at), stream_(&stream) {}
    void suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        stream_->arm(*this);
    }
    Stream* stream_;
    std::coroutine_handle<> handle_;
};

class [[nodiscard]] ReadAwait final : StreamAwait {
public:
    ReadAwait(Stream& stream, std::span<char> into, Deadline deadline)
        : StreamAwait(stream, Direction::read, deadline), into_(into) {}
    ReadAwait(ReadAwait&&) = default;
    [[nodiscard]] bool await_ready() {
        io_ = stream_->lucky() ? stream_->try_read(into_) : Io::would_block();
        return io_.state != Io::State::would_block;
    }
    void await_suspend(std::coroutine_handle<> handle) {
        stream_->in_a_row_ = 0;
        suspend(handle);
    }
    [[nodiscard]] Result<std::size_t> await_resume() {
        if (io_.state == Io::State::failed) return std::unexpected(stream_error(io_.code, "read"));
        return io_.bytes;
    }

private:
    void woken(Wake why) override;
    std::span<char> into_;
    Io io_;
};

class [[nodiscard]] WriteAwait final : StreamAwait {
public:
    WriteAwait(Stream& stream, std::span<const std::string_view> pieces, Deadline deadline)
        : StreamAwait(stream, Direction::write, deadline), pieces_(pieces) {}
    WriteAwait(Stream& stream, std::string_view bytes, Deadline deadline)
        : StreamAwait(stream, Direction::write, deadline), rest_(bytes) {}
    WriteAwait(WriteAwait&&) = default;
    [[nodiscard]] bool await_ready() {
        if (!stream_->lucky()) return false;
        return step();
    }
    void await_suspend(std::coroutine_handle<> handle) {
        stream_->in_a_row_ = 0;
        suspend(handle);
    }
    [[nodiscard]] Result<void> await_resume() {
        if (io_.state == Io::State::failed) return std::unexpected(stream_error(io_.code, "write"));
        return {};
    }

private:
    /// Writes until done (true), failed (true) or blocked (false).
    bool step();
    void woken(Wake why) override;
    std::string_view rest_;                     ///< of the piece that was cut
    std::span<const std::string_view> pieces_;  ///< not begun
    Io io_;
};

class [[nodiscard]] ReadableAwait final : StreamAwait {
public:
    ReadableAwait(Stream& stream, Deadline deadline) : StreamAwait(stream, Direction::read, deadline) {}
    ReadableAwait(ReadableAwait&&) = default;
    [[nodiscard]] bool await_ready() const { return !stream_->quiet() || stream_->closed(); }
    void await_suspend(std::coroutine_handle<> handle) { suspend(handle); }
    [[nodiscard]] Result<void> await_resume() {
        if (why_ == Wake::timeout) return std::unexpected(stream_error(Code::timeout, "wait"));
        if (why_ == Wake::cancelled || stream_->closed()) return std::unexpected(stream_error(Code::cancelled, "wait"));
        return {};
    }

private:
    void woken(Wake why) override;
    Wake why_ = Wake::ready;
};

inline ReadAwait Stream::read(std::span<char> into, Deadline deadline) { return {*this, into, deadline}; }
inline WriteAwait Stream::write_all(std::span<const std::string_view> pieces, Deadline deadline) {
    return {*this, pieces, deadline};
}
inline WriteAwait Stream::write_all(std::string_view bytes, Deadline deadline) { return {*this, bytes, deadline}; }
inline ReadableAwait Stream::readable(Deadline deadline) { return {*this, deadline}; }

}  // namespace plimsoll::net
