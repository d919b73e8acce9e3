// Http2Session: one connection of HTTP/2, either side: bytes in and out, nghttp2 between them, streams in progress,
// timers and limits. Http2Server and Http2Client are its two doors. Inside of the room.
//   Reading and writing are waiters on the stream, not coroutines: an idle connection costs no buffer and no frame. All
//   frames of one turn of the loop go out in one write. Nobody is resumed from within: who waits is put into the loop's
//   queue.
// Thread rule: its network's thread.
// Source: RFC 9113; nghttp2's programmers' guide.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "http/http2.h"
#include "http/http2_channel.h"
#include "http/http2_guard.h"
#include "http/http2_output.h"
#include "http/message_stream.h"
#include "net/network.h"

namespace plimsoll::http {

/// One field on its way out; views.
struct Http2Field {
    std::string_view name;
    std::string_view value;
    bool unindexed = false;  ///< secret or never the same twice: kept out of the dynamic table, which many users share
};

/// `wait` after `from`; 0 = never.
[[nodiscard]] inline Instant after(Instant from, Duration wait) { return wait.count() <= 0 ? never : from + wait; }

class Http2Session {
public:
    using Handler = std::function<void(std::unique_ptr<ServerStream>)>;
    enum class Role : std::uint8_t { server, client };

    Http2Session(Role role, net::Network& network, net::Stream& stream, const Http2Limits& limits, Handler handler,
                 Http2Counts& counts);
    Http2Session(const Http2Session&) = delete;
    Http2Session& operator=(const Http2Session&) = delete;
    ~Http2Session();

    async::Task<Http2End> run(std::string_view received);
    Result<std::unique_ptr<ClientStream>> open();
    void shut_down();
    void close_idle();
    void close();

    [[nodiscard]] std::size_t streams() const { return active_; }
    [[nodiscard]] bool idle() const { return active_ == 0; }
    [[nodiscard]] std::uint64_t requests() const { return requests_; }
    [[nodiscard]] std::size_t held() const;
    [[nodiscard]] bool shutting_down() const { return over_ || ending_ || shutting_down_; }
    [[nodiscard]] bool usable() const;
    [[nodiscard]] std::size_t capacity() const;
    [[nodiscard]] bool peer_settled() const { return peer_settled_; }
    [[nodiscard]] bool connect_protocol() const;

    // ---- for channels ----

    void join(Http2Channel& channel);
    /// The channel is destroyed.
    void leave(Http2Channel& channel);
    /// It no longer counts as in progress.
    void release(Http2Channel& channel);
    void consume(Http2Channel& channel, std::size_t bytes);
    void reset(Http2Channel& channel, std::uint32_t error_code);
    /// False: the stream cannot be begun or answered.
    bool submit(Http2Channel& channel, const std::vector<Http2Field>& fields, bool ended);
    bool submit_interim(Http2Channel& channel, const std::vector<Http2Field>& fields);
    void resume(Http2Channel& channel);
    /// Encodes what there is, as far as there is room; written at the end of this turn.
    void push();
    /// A wait ends then at the latest.
    void note_deadline(Instant at);
    void wake(net::Waiter& waiter, net::Wake why) { queue_.push(waiter, why); }
    void malformed() { ++counts_.malformed; }
    [[nodiscard]] Http2Output& output() { return output_; }
    [[nodiscard]] const Http2Limits& limits() const { return limits_; }
    /// For the fields of one head at a time.
    [[nodiscard]] std::vector<Http2Field>& fields() { return fields_; }

private:
    struct Callbacks;  ///< nghttp2's, in http2_callbacks.cpp
    friend struct Callbacks;
    struct Close {
        void operator()(nghttp2_session* session) const;
    };
    class Reader final : public net::Waiter {
    public:
        explicit Reader(Http2Session& session) : Waiter(net::Direction::read, never), session_(session) {}
        void woken(net::Wake why) override { session_.on_readable(why); }

    private:
        Http2Session& session_;
    };
    class Writer final : public net::Waiter {
    public:
        explicit Writer(Http2Session& session) : Waiter(net::Direction::write, never), session_(session) {}
        void woken(net::Wake why) override { session_.on_writable(why); }

    private:
        Http2Session& session_;
    };
    class Finished;
    /// What our PINGs carry: the answer to one is told from the answer to another.
    static constexpr std::uint64_t notice_ping = 1, life_ping = 2;
    /// Between the two GOAWAYs of an orderly end, if the peer does not answer our PING.
    static constexpr Duration notice_time = std::chrono::seconds(1);
    /// After the last GOAWAY: how much and how long we go on reading, so that the peer gets it and not a reset.
    static constexpr std::size_t linger_bytes = 256 * 1024;
    static constexpr Duration linger_time = std::chrono::seconds(1);

    // Called by nghttp2's callbacks.
    void begin_request(std::int32_t id);
    void finish_request(bool ended);
    void data_frame(Http2Channel* channel, const nghttp2_frame* frame);
    void reset_sent(std::uint32_t error_code);
    void broken_by_peer(std::uint32_t error_code);
    bool submit_trailers(Http2Channel& channel);
    void pairs(const std::vector<Http2Field>& fields);

    [[nodiscard]] bool server() const { return role_ == Role::server; }
    void make_library();
    void submit_settings();

    void on_readable(net::Wake why);
    /// False: nothing more to read for now, or ever.
    bool read_once();
    void feed(std::string_view bytes);
    void discard(std::size_t bytes);
    void after_input();
    [[nodiscard]] bool finished_cleanly() const;
    void dispatch();
    void arm_reader();
    void on_writable(net::Wake why);
    void pump();
    void request_write();

    void check_timers(Instant now);
    [[nodiscard]] Instant next_due() const;
    void send_ping(std::uint64_t opaque);
    [[nodiscard]] Instant next_ping() const;
    void send_last_goaway();

    void flood(Http2Flood flood);
    /// GOAWAY, then what is written goes out, then the end.
    void end(Http2End::Why why, std::uint32_t error_code, std::string detail);
    void failed(int library_error);
    void lose_channels(std::string_view why);
    /// After input or output: is the connection done?
    void settle();
    void linger();
    /// The socket has failed.
    void broken(Code code);
    void finish(Http2End::Why why, std::string detail);
    void finish();

    [[nodiscard]] Instant now() const { return network_.now(); }

    Role role_;
    net::Network& network_;
    net::Stream& stream_;
    net::ReadyQueue& queue_;
    Http2Limits limits_;
    Handler handler_;
    Http2Counts& counts_;
    Http2Guard guard_;
    std::unique_ptr<nghttp2_session, Close> library_;
    Http2Output output_;
    Reader reader_;
    Writer writer_;
    Finished* running_ = nullptr;      ///< run()'s wait, while its coroutine lives
    net::Waiter* finished_ = nullptr;  ///< who waits in run()

    Http2Channel* channels_ = nullptr;                       ///< all that live
    std::unique_ptr<Http2ServerStream> building_;            ///< the head in progress
    std::vector<std::unique_ptr<Http2ServerStream>> fresh_;  ///< whole, not handed out yet
    std::vector<Http2Field> fields_;
    std::vector<nghttp2_nv> pairs_;
    std::size_t active_ = 0;
    std::uint64_t requests_ = 0;

    Http2End end_;
    bool begun_ = false;
    bool over_ = false;       ///< nothing is read or written any more
    bool ending_ = false;     ///< no more input counts; output goes out
    bool lingering_ = false;  ///< all is written; the peer's last bytes are thrown away
    bool blocked_ = false;    ///< the socket is full
    bool in_library_ = false;
    bool peer_settled_ = false;
    bool acknowledged_ = false;  ///< our SETTINGS
    bool shutting_down_ = false;
    bool last_goaway_sent_ = false;
    bool goaway_received_ = false;
    bool pinged_ = false;
    std::uint32_t pings_in_quiet_ = 0;  ///< since the peer last sent HEADERS or DATA
    bool head_open_ = false;
    std::int32_t reset_by_peer_ = 0;  ///< the stream whose RST_STREAM is being handled
    std::size_t linger_left_ = 0;
    Instant begun_at_{}, idle_since_{}, head_since_{}, heard_at_{}, pinged_at_{}, shut_down_at_{}, linger_until_{};
    Instant waits_due_ = never;  ///< no stream's wait ends before this
    std::string error_text_;     ///< nghttp2's last words
};

}  // namespace plimsoll::http
