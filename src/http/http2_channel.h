// One stream of HTTP/2 as both sides see it: what has arrived, what is to go, who waits. Http2ServerStream and
// Http2ClientStream put the MessageStream contract on it. Inside of the room.
// Thread rule: its connection's thread.
// Source: RFC 9113 sections 5 and 8.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "async/frames.h"
#include "async/task.h"
#include "http/http2_output.h"
#include "http/message_stream.h"
#include "http/section.h"
#include "net/ready.h"

namespace plimsoll::http {

class Http2Session;

class Http2Channel : public Http2Lender {
public:
    Http2Channel(const Http2Channel&) = delete;
    Http2Channel& operator=(const Http2Channel&) = delete;

    // ---- told by the session, never waits, resumes nobody ----

    void receive(std::string_view data);
    /// END_STREAM came.
    void receive_end();
    /// A field of a head or of trailers.
    virtual void receive_field(std::string_view name, std::string_view value) = 0;
    /// The section in progress is malformed.
    virtual void spoil_section(const Refusal& refusal) = 0;
    /// What the section in progress has come to: bytes and fields, kept or not.
    [[nodiscard]] virtual const SectionText& section() const = 0;
    /// The section is whole.
    virtual void receive_section(bool ended) = 0;
    virtual void begin_section() = 0;
    /// nghttp2 has closed the stream: it is over, cleanly if both sides had ended.
    void closed(std::uint32_t error_code, bool by_peer);
    /// The request was never sent and never will be.
    void not_sent();
    /// The connection is over, and the session forgets this. `owed`: some of what was lent was not written.
    void lost(std::string_view why, bool owed);
    /// HEADERS were encoded; `at`: bytes queued before them.
    void head_sent(bool ended, std::uint64_t at);
    /// DATA with END_STREAM was encoded.
    void end_sent() { sent_end_ = true, wake(Way::write); }
    /// The next part of the body; sets `last` with the end. Nothing and not the end: nothing to send now.
    [[nodiscard]] std::string_view next_data(std::size_t most, bool& last);
    /// What next_data gave has gone to the output.
    void data_sent();
    [[nodiscard]] std::string_view data_in_hand() const { return chunk_; }
    [[nodiscard]] const Draft* trailers_to_send() const { return out_trailers_; }
    /// Wakes who waits for longer than until `now`; gives the earliest deadline that is left.
    [[nodiscard]] Instant expire(Instant now);

    [[nodiscard]] std::int32_t id() const { return id_; }
    /// Both messages have ended in order.
    [[nodiscard]] bool finished() const { return received_end_ && sent_end_; }
    /// The stream cannot go on.
    [[nodiscard]] bool failed() const { return failed_.has_value(); }
    /// Memory for what has arrived: heads, and what nobody has taken.
    [[nodiscard]] std::size_t buffered() const { return section().held() + arrived_.capacity() + held_.capacity(); }

protected:
    Http2Channel(Http2Session& session, std::int32_t id, Side peer);
    ~Http2Channel();

    class Wait;
    enum class Way : std::uint8_t { read, write };

    /// Encodes the head; false: the stream cannot be begun.
    virtual bool submit_head(const Draft& head, bool ended) = 0;
    /// The client has gone.
    virtual void on_gone() {}
    void returned() override { wake(Way::write); }

    [[nodiscard]] BodyPiece take_piece();
    [[nodiscard]] async::Task<Result<void>> wait_for_more(async::Deadline deadline);
    [[nodiscard]] async::Task<Result<void>> send_all(const Outgoing& what, async::Deadline deadline);
    /// Waits until HEADERS that were submitted have been encoded.
    [[nodiscard]] async::Task<Result<void>> flush_head(async::Deadline deadline);
    void abort_stream();
    void refuse(const Refusal& refusal);
    void expect(const Framing& framing, bool tunnel);
    void wake(Way way);
    /// The error that the next operation gives.
    [[nodiscard]] Error error(std::string_view doing) const;
    /// Result of a wait: an error for timeout and failure.
    [[nodiscard]] static bool timed_out(net::Wake why) { return why == net::Wake::timeout; }
    [[nodiscard]] Error timeout(std::string_view doing) const;
    [[nodiscard]] Wait wait(Way way, async::Deadline deadline);

    Http2Session* session_;  ///< nullptr once it is over
    std::int32_t id_;
    Side peer_;
    bool open_ = false;  ///< nghttp2 knows the stream
    bool head_queued_ = false;
    bool head_sent_ = false;
    bool received_end_ = false;
    bool sent_end_ = false;
    bool told_end_ = false;
    bool cut_ = false;   ///< aborted by us
    bool gone_ = false;  ///< broken off by the peer
    bool heard_ = false;
    Refusal refusal_;
    TrailerSection trailers_;

private:
    friend class Http2Session;
    struct Sending;
    void queue(const Outgoing& what);
    [[nodiscard]] bool all_sent() const;
    void drop_outgoing();
    void fail(Error error);

    bool tunnel_ = false;
    bool body_allowed_ = true;
    bool has_length_ = false;
    bool in_trailers_ = false;
    bool counted_ = true;  ///< among the session's streams in progress
    bool out_last_ = false;
    bool out_end_ = false;  ///< with out_last_: nghttp2 was told of the end
    std::uint64_t length_ = 0, received_ = 0;
    std::uint64_t head_at_ = 0;  ///< in the output
    std::string arrived_, held_;
    std::string_view out_, chunk_;
    const Draft* out_trailers_ = nullptr;
    Sending* sending_ = nullptr;  ///< the send() in progress
    std::optional<Error> failed_;
    bool sent_some_ = false;  ///< at the session's end
    net::Waiter* waiting_[2] = {nullptr, nullptr};
    Http2Channel* previous_ = nullptr;  ///< in the session's list
    Http2Channel* next_ = nullptr;

protected:
    [[nodiscard]] bool some_sent() const;
};

/// One coroutine's wait for a stream; lives in its frame.
class Http2Channel::Wait final : public net::Waiter {
public:
    Wait(Http2Channel& channel, Way way, async::Deadline deadline)
        : Waiter(way == Way::read ? net::Direction::read : net::Direction::write, deadline.at), channel_(channel) {}
    [[nodiscard]] bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle);
    [[nodiscard]] net::Wake await_resume() const { return why_; }

private:
    void woken(net::Wake why) override {
        why_ = why;
        handle_.resume();
    }
    Http2Channel& channel_;
    std::coroutine_handle<> handle_;
    net::Wake why_ = net::Wake::ready;
};

/// The contract's common part, over a channel.
template <class Base>
class Http2Stream : public Base, public Http2Channel {
public:
    static void* operator new(std::size_t bytes) { return async::allocate_frame(bytes); }
    static void operator delete(void* memory, std::size_t bytes) noexcept { async::free_frame(memory, bytes); }

    [[nodiscard]] Version version() const final { return Version::http2; }
    [[nodiscard]] BodyPiece take() final { return take_piece(); }
    [[nodiscard]] async::Task<Result<void>> more(async::Deadline deadline) final { return wait_for_more(deadline); }
    [[nodiscard]] const Fields& trailers() const final { return trailers_.fields(); }
    [[nodiscard]] async::Task<Result<void>> send(const Outgoing& what, async::Deadline deadline) final {
        return send_all(what, deadline);
    }
    void abort() final { abort_stream(); }
    [[nodiscard]] std::size_t held(bool) const final { return sizeof(*this) + buffered(); }

protected:
    using Http2Channel::Http2Channel;
};

class Http2ServerStream final : public Http2Stream<ServerStream> {
public:
    Http2ServerStream(Http2Session& session, std::int32_t id);

    [[nodiscard]] const RequestHead& head() const override { return section_.head(); }
    [[nodiscard]] async::Task<Result<void>> send_interim(const Draft& head, async::Deadline deadline) override;
    [[nodiscard]] bool gone() const override { return gone_; }

    void receive_field(std::string_view name, std::string_view value) override;
    void spoil_section(const Refusal& refusal) override {
        head_done_ ? trailers_.refuse(refusal) : section_.refuse(refusal);
    }
    [[nodiscard]] const SectionText& section() const override;
    void begin_section() override {}
    void receive_section(bool ended) override;
    /// The head is whole: what is wrong with it.
    [[nodiscard]] Refusal finish_head(bool ended);

private:
    bool submit_head(const Draft& head, bool ended) override;
    void on_gone() override { went(); }
    RequestSection section_;
    bool head_done_ = false;
};

class Http2ClientStream final : public Http2Stream<ClientStream> {
public:
    explicit Http2ClientStream(Http2Session& session);

    [[nodiscard]] async::Task<Result<void>> read_head(async::Deadline deadline) override;
    [[nodiscard]] const ResponseHead& head() const override { return section_.head(); }
    [[nodiscard]] bool sent() const override { return some_sent(); }
    [[nodiscard]] bool heard() const override { return heard_; }

    void receive_field(std::string_view name, std::string_view value) override;
    void spoil_section(const Refusal& refusal) override {
        head_done_ ? trailers_.refuse(refusal) : section_.refuse(refusal);
    }
    [[nodiscard]] const SectionText& section() const override;
    void begin_section() override;
    void receive_section(bool ended) override;

private:
    bool submit_head(const Draft& head, bool ended) override;
    ResponseSection section_;
    Method method_ = Method::other;
    std::uint32_t interims_ = 0;
    bool head_done_ = false;
};

}  // namespace plimsoll::http
