#include "http/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <coroutine>
#include <utility>

namespace plimsoll::http {
namespace {

using async::Task;

/// One read: two TLS records.
constexpr std::size_t read_bytes = 32 * 1024;
/// Reads, and writes, in a row before the others get their turn.
constexpr int turns = 8;

}  // namespace

/// run()'s wait. Destroyed before the end, it ends the session: the stream may go with the coroutine.
class Http2Session::Finished final : public net::Waiter {
public:
    explicit Finished(Http2Session& session) : Waiter(net::Direction::read, never), session_(&session) {
        session.running_ = this;
    }
    ~Finished() override {
        if (session_ == nullptr) return;
        session_->running_ = nullptr;
        if (!session_->over_) session_->finish(Http2End::Why::cancelled, "dropped");
    }
    [[nodiscard]] bool await_ready() const { return session_->over_; }
    void await_suspend(std::coroutine_handle<> handle) {
        handle_ = handle;
        sit_in(session_->finished_);
    }
    void await_resume() const {}
    /// The session goes first: run() never goes on, and is only destroyed.
    void forget() {
        disarm();
        session_ = nullptr;
    }

private:
    void woken(net::Wake) override { handle_.resume(); }
    Http2Session* session_;
    std::coroutine_handle<> handle_;
};

Http2Session::Http2Session(Role role, net::Network& network, net::Stream& stream, const Http2Limits& limits,
                           Handler handler, Http2Counts& counts)
    : role_(role),
      network_(network),
      stream_(stream),
      queue_(stream.ready()),
      limits_(limits),
      handler_(std::move(handler)),
      counts_(counts),
      guard_(limits),
      reader_(*this),
      writer_(*this) {
    if (limits_.connection_window == 0) {
        const std::uint64_t all = std::uint64_t{limits_.streams} * limits_.stream_window;
        limits_.connection_window =
            server() ? 4 * 1024 * 1024
                     : static_cast<std::uint32_t>(std::min<std::uint64_t>(all, NGHTTP2_MAX_WINDOW_SIZE));
    }
    begun_at_ = idle_since_ = heard_at_ = now();
    make_library();
    submit_settings();
}

Http2Session::~Http2Session() {
    if (running_ != nullptr) running_->forget();
    if (!over_) finish(Http2End::Why::cancelled, "dropped");
    fresh_.clear();
    building_.reset();
}

Task<Http2End> Http2Session::run(std::string_view received) {
    begun_ = true;
    begun_at_ = idle_since_ = heard_at_ = now();
    if (!over_) {
        request_write();
        feed(received);
        after_input();
    }
    Finished finished(*this);  // a local, so that its destruction before the end is seen
    co_await finished;
    co_return std::move(end_);
}

// ------------------------------------------------------------------------------------------------------------ doors

bool Http2Session::usable() const {
    return !over_ && !ending_ && !shutting_down_ && !goaway_received_ &&
           nghttp2_session_get_next_stream_id(library_.get()) <= INT32_MAX;
}

std::size_t Http2Session::held() const {
    // nghttp2's own: a session with its tables, and a stream, as the heap shows them.
    constexpr std::size_t library_bytes = 16 * 1024, stream_bytes = 1024;
    std::size_t bytes = sizeof(*this) + library_bytes + output_.held();
    for (const Http2Channel* channel = channels_; channel != nullptr; channel = channel->next_) {
        bytes += stream_bytes + sizeof(Http2ServerStream) + channel->buffered();
    }
    return bytes;
}

std::size_t Http2Session::capacity() const {
    if (!usable()) return 0;
    const std::size_t theirs =
        nghttp2_session_get_remote_settings(library_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    const std::size_t most = std::min<std::size_t>(limits_.streams, theirs);
    return most > active_ ? most - active_ : 0;
}

bool Http2Session::connect_protocol() const {
    return nghttp2_session_get_remote_settings(library_.get(), NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

Result<std::unique_ptr<ClientStream>> Http2Session::open() {
    if (!usable()) {
        return fail(Code::closed, "the connection takes no more requests", Side::upstream, Retry::yes);
    }
    if (capacity() == 0) {
        return fail(Code::limit, "as many streams as the connection may have", Side::upstream, Retry::yes);
    }
    return std::make_unique<Http2ClientStream>(*this);
}

void Http2Session::shut_down() {
    if (over_ || ending_ || shutting_down_) return;
    shutting_down_ = true;
    shut_down_at_ = now();
    if (!server()) {
        if (active_ == 0) end(Http2End::Why::shut_down, NGHTTP2_NO_ERROR, {});
        return;
    }
    nghttp2_submit_shutdown_notice(library_.get());
    send_ping(notice_ping);
    note_deadline(shut_down_at_ + notice_time);
    request_write();
}

void Http2Session::send_last_goaway() {
    if (last_goaway_sent_) return;
    last_goaway_sent_ = true;
    nghttp2_submit_goaway(library_.get(), NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(library_.get()),
                          NGHTTP2_NO_ERROR, nullptr, 0);
    request_write();
}

void Http2Session::close_idle() {
    if (over_ || active_ != 0) return;
    shutting_down_ = true;
    end(Http2End::Why::shut_down, NGHTTP2_NO_ERROR, {});
}

void Http2Session::close() {
    if (over_) return;
    const bool cut = active_ != 0;
    ending_ = false;
    finish(Http2End::Why::cancelled, "closed by us");
    cut ? stream_.abort() : stream_.close();
}

// ------------------------------------------------------------------------------------------------------------ input

void Http2Session::on_readable(net::Wake why) {
    if (over_) return;
    if (why == net::Wake::cancelled) return finish(Http2End::Why::cancelled, "closed by us");
    for (int i = 0; i < turns && read_once(); ++i) {
    }
    after_input();
}

bool Http2Session::read_once() {
    std::array<char, read_bytes> buffer;  // on the stack: an idle connection holds none
    const net::Io io = stream_.try_read(buffer);
    switch (io.state) {
        case net::Io::State::would_block: return false;
        case net::Io::State::end:
            finish(active_ == 0 || finished_cleanly() ? Http2End::Why::closed : Http2End::Why::broken,
                   "closed by the peer");
            return false;
        case net::Io::State::failed: broken(io.code); return false;
        case net::Io::State::moved: break;
    }
    heard_at_ = now();
    pinged_ = false;
    if (ending_ || lingering_) {
        discard(io.bytes);
    } else {
        feed({buffer.data(), io.bytes});
    }
    return !over_;
}

/// Nothing is owed to the peer, nor by it.
bool Http2Session::finished_cleanly() const {
    for (const Http2Channel* channel = channels_; channel != nullptr; channel = channel->next_) {
        if (channel->open_) return false;
    }
    return true;
}

void Http2Session::discard(std::size_t bytes) {
    linger_left_ -= std::min(linger_left_, bytes);
    if (linger_left_ == 0) finish();
}

void Http2Session::feed(std::string_view bytes) {
    if (bytes.empty()) return;
    in_library_ = true;
    const ssize_t n =
        nghttp2_session_mem_recv(library_.get(), reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    in_library_ = false;
    if (ending_ || over_) return;
    if (n < 0) return failed(static_cast<int>(n));
    if (nghttp2_session_get_outbound_queue_size(library_.get()) > limits_.own_answers) flood(Http2Flood::own_answers);
}

void Http2Session::after_input() {
    if (over_) return;
    if (next_due() <= now()) check_timers(now());
    if (over_) return;
    dispatch();
    if (over_) return;
    if (nghttp2_session_want_write(library_.get()) != 0) request_write();
    settle();
    if (!over_) arm_reader();
}

/// Outside of nghttp2, and only for streams that are still there.
void Http2Session::dispatch() {
    while (!fresh_.empty() && !over_) {
        std::vector<std::unique_ptr<Http2ServerStream>> fresh = std::exchange(fresh_, {});
        for (std::unique_ptr<Http2ServerStream>& stream : fresh) {
            if (stream->failed() || over_ || ending_) continue;
            ++requests_;
            ++counts_.streams;
            handler_(std::move(stream));
        }
    }
}

void Http2Session::arm_reader() {
    reader_.disarm();
    reader_.set_deadline(next_due());
    stream_.arm(reader_);
}

// ----------------------------------------------------------------------------------------------------------- output

void Http2Session::request_write() {
    if (over_ || !begun_ || writer_.armed()) return;
    queue_.push(writer_, net::Wake::ready);
}

void Http2Session::pump() {
    if (over_ || in_library_ || lingering_) return;
    in_library_ = true;
    ssize_t n = 0;
    while (output_.pending() < limits_.output) {
        const std::uint8_t* data = nullptr;
        n = nghttp2_session_mem_send(library_.get(), &data);
        if (n <= 0) break;
        output_.append({reinterpret_cast<const char*>(data), static_cast<std::size_t>(n)});
    }
    in_library_ = false;
    if (n < 0) failed(static_cast<int>(n));
}

void Http2Session::on_writable(net::Wake why) {
    if (over_) return;
    if (why == net::Wake::cancelled) return finish(Http2End::Why::cancelled, "closed by us");
    if (why == net::Wake::timeout) {
        finish(Http2End::Why::stalled, "the peer takes nothing");
        return stream_.abort();
    }
    blocked_ = false;
    for (int i = 0; i < turns; ++i) {
        pump();
        if (over_ || output_.pending() == 0) break;
        const net::Io io = output_.write(stream_);
        if (io.state == net::Io::State::would_block) {
            blocked_ = true;
            writer_.set_deadline(after(now(), limits_.write_timeout));
            stream_.arm(writer_);
            return;
        }
        if (io.state != net::Io::State::moved) return broken(io.code);
    }
    if (over_) return;
    if (output_.pending() > 0 || nghttp2_session_want_write(library_.get()) != 0) request_write();
    settle();
    if (!over_ && reader_.armed() && next_due() < reader_.deadline()) arm_reader();
}

// ---------------------------------------------------------------------------------------------------------- the end

void Http2Session::flood(Http2Flood flood) {
    if (over_ || ending_) return;
    ++counts_.floods[static_cast<std::size_t>(flood)];
    end(Http2End::Why::flood, NGHTTP2_ENHANCE_YOUR_CALM, std::string(name(flood)));
    end_.flood = flood;
    // Who sends a flood and reads nothing is owed no farewell. (Not from within nghttp2, which calls us.)
    if (blocked_) linger_until_ = now();
}

void Http2Session::end(Http2End::Why why, std::uint32_t error_code, std::string detail) {
    if (over_ || ending_) return;
    ending_ = true;
    end_ = {why, Http2Flood::none, std::move(detail)};
    linger_left_ = linger_bytes;
    linger_until_ = now() + linger_time;
    nghttp2_session_terminate_session(library_.get(), error_code);
    lose_channels(name(why));
    note_deadline(linger_until_);
    request_write();
}

void Http2Session::lose_channels(std::string_view why) {
    while (channels_ != nullptr) {
        Http2Channel& channel = *channels_;
        if (channel.open_) nghttp2_session_set_stream_user_data(library_.get(), channel.id_, nullptr);
        const bool owed = over_ && channel.lent() > 0;
        if (!over_ && channel.lent() > 0) output_.keep(channel);
        release(channel);
        channels_ = channel.next_;
        if (channels_ != nullptr) channels_->previous_ = nullptr;
        channel.next_ = nullptr;
        channel.lost(why, owed);
    }
}

void Http2Session::failed(int library_error) {
    switch (library_error) {
        case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
            finish(Http2End::Why::protocol, "not the preface of HTTP/2");
            return stream_.close();
        case NGHTTP2_ERR_FLOODED: return flood(Http2Flood::own_answers);
        case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS: return flood(Http2Flood::continuations);
        default: return end(Http2End::Why::protocol, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror(library_error));
    }
}

void Http2Session::settle() {
    if (over_ || lingering_) return;
    if (!server() && shutting_down_ && active_ == 0) end(Http2End::Why::shut_down, NGHTTP2_NO_ERROR, {});
    const bool done = nghttp2_session_want_read(library_.get()) == 0 && nghttp2_session_want_write(library_.get()) == 0;
    if (done && output_.pending() == 0) return linger();
    if (active_ == 0) output_.shrink();
}

void Http2Session::linger() {
    if (!ending_) {
        end_ = {shutting_down_ ? Http2End::Why::shut_down : Http2End::Why::closed, Http2Flood::none, {}};
        ending_ = true;
        linger_left_ = linger_bytes;
    }
    lingering_ = true;
    lose_channels("the connection has ended");
    if (!server()) return finish();
    stream_.shutdown_write();
    linger_until_ = now() + linger_time;
    note_deadline(linger_until_);
}

void Http2Session::broken(Code code) {
    finish(code == Code::cancelled ? Http2End::Why::cancelled : Http2End::Why::broken, std::string(name(code)));
}

void Http2Session::finish(Http2End::Why why, std::string detail) {
    if (over_) return;
    if (!ending_) end_ = {why, Http2Flood::none, std::move(detail)};
    finish();
}

void Http2Session::finish() {
    if (over_) return;
    over_ = true;
    reader_.disarm();
    writer_.disarm();
    lose_channels(name(end_.why));
    output_.clear();
    if (finished_ != nullptr) queue_.push(*finished_, net::Wake::ready);
}

}  // namespace plimsoll::http
