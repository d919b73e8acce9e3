// Http2Session: its streams and its timers.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>

#include "http/http2_session.h"

namespace plimsoll::http {

// ---------------------------------------------------------------------------------------------------------- channels

void Http2Session::join(Http2Channel& channel) {
    channel.next_ = channels_;
    if (channels_ != nullptr) channels_->previous_ = &channel;
    channels_ = &channel;
    if (active_++ == 0) heard_at_ = std::max(heard_at_, now());
    pinged_ = pinged_ && active_ > 1;
    if (limits_.ping_interval.count() > 0) note_deadline(next_ping());
}

void Http2Session::leave(Http2Channel& channel) {
    if (channel.open_) {
        if (!channel.finished() && !channel.cut_) {
            const std::uint32_t code = !server()           ? NGHTTP2_CANCEL
                                       : channel.sent_end_ ? NGHTTP2_NO_ERROR
                                                           : NGHTTP2_INTERNAL_ERROR;
            reset(channel, code);
        }
        nghttp2_session_set_stream_user_data(library_.get(), channel.id_, nullptr);
    }
    if (channel.lent() > 0) output_.keep(channel);
    if (!channel.arrived_.empty()) {
        nghttp2_session_consume_connection(library_.get(), channel.arrived_.size());
        request_write();
    }
    release(channel);
    (channel.previous_ != nullptr ? channel.previous_->next_ : channels_) = channel.next_;
    if (channel.next_ != nullptr) channel.next_->previous_ = channel.previous_;
}

void Http2Session::release(Http2Channel& channel) {
    if (!channel.counted_) return;
    channel.counted_ = false;
    if (--active_ != 0 || over_) return;
    idle_since_ = now();
    note_deadline(after(idle_since_, limits_.idle_timeout));
    if (shutting_down_) request_write();
}

void Http2Session::consume(Http2Channel& channel, std::size_t bytes) {
    if (channel.open_ && !channel.received_end_) {
        nghttp2_session_consume(library_.get(), channel.id_, bytes);
    } else {
        nghttp2_session_consume_connection(library_.get(), bytes);
    }
    if (!in_library_ && nghttp2_session_want_write(library_.get()) != 0) request_write();
}

void Http2Session::reset(Http2Channel& channel, std::uint32_t error_code) {
    if (!channel.open_) return;
    nghttp2_submit_rst_stream(library_.get(), NGHTTP2_FLAG_NONE, channel.id_, error_code);
    request_write();
}

void Http2Session::resume(Http2Channel& channel) {
    // Refused when it was not waiting for us: then it comes by itself.
    (void)nghttp2_session_resume_data(library_.get(), channel.id_);
}

void Http2Session::push() {
    if (!blocked_) pump();
    request_write();
}

void Http2Session::note_deadline(Instant at) {
    waits_due_ = std::min(waits_due_, at);
    if (!reader_.armed() || at >= reader_.deadline()) return;
    reader_.disarm();
    reader_.set_deadline(at);
    stream_.arm(reader_);
}

// ----------------------------------------------------------------------------------------------------------- timers

Instant Http2Session::next_due() const {
    if (ending_ || lingering_) return linger_until_;
    Instant due = waits_due_;
    if (!peer_settled_) due = std::min(due, after(begun_at_, limits_.head_timeout));
    if (!acknowledged_) due = std::min(due, after(begun_at_, limits_.settings_timeout));
    if (head_open_) due = std::min(due, after(head_since_, limits_.head_timeout));
    if (active_ == 0) due = std::min(due, after(idle_since_, limits_.idle_timeout));
    if (shutting_down_ && server() && !last_goaway_sent_) due = std::min(due, shut_down_at_ + notice_time);
    if (active_ > 0 && limits_.ping_interval.count() > 0) {
        due = std::min(due, pinged_ ? pinged_at_ + limits_.ping_timeout : next_ping());
    }
    return due;
}

void Http2Session::check_timers(Instant at) {
    if (ending_ || lingering_) {
        if (linger_until_ <= at) finish();
        return;
    }
    if (waits_due_ <= at) {
        waits_due_ = never;
        for (Http2Channel* channel = channels_; channel != nullptr; channel = channel->next_) {
            waits_due_ = std::min(waits_due_, channel->expire(at));
        }
    }
    if ((!peer_settled_ && after(begun_at_, limits_.head_timeout) <= at) ||
        (!acknowledged_ && after(begun_at_, limits_.settings_timeout) <= at)) {
        return end(Http2End::Why::stalled, NGHTTP2_SETTINGS_TIMEOUT, "no SETTINGS, or none acknowledged");
    }
    if (head_open_ && after(head_since_, limits_.head_timeout) <= at) {
        return end(Http2End::Why::stalled, NGHTTP2_ENHANCE_YOUR_CALM, "a head that does not end");
    }
    if (active_ == 0 && after(idle_since_, limits_.idle_timeout) <= at) {
        return end(Http2End::Why::idle, NGHTTP2_NO_ERROR, {});
    }
    if (shutting_down_ && server() && shut_down_at_ + notice_time <= at) send_last_goaway();
    if (active_ == 0 || limits_.ping_interval.count() <= 0) return;
    if (pinged_ && pinged_at_ + limits_.ping_timeout <= at) {
        finish(Http2End::Why::dead, "no answer to a PING");
        return stream_.abort();
    }
    if (!pinged_ && next_ping() <= at) {
        pinged_ = true;
        ++pings_in_quiet_;
        pinged_at_ = at;
        send_ping(life_ping);
    }
}

Instant Http2Session::next_ping() const {
    if (pings_in_quiet_ < limits_.free_pings) return heard_at_ + limits_.ping_interval;
    return std::max(heard_at_ + limits_.ping_interval, pinged_at_ + limits_.quiet_ping_interval);
}

void Http2Session::send_ping(std::uint64_t opaque) {
    std::array<std::uint8_t, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(opaque >> (8 * i));
    nghttp2_submit_ping(library_.get(), NGHTTP2_FLAG_NONE, bytes.data());
    ++counts_.pings_sent;
    request_write();
}

}  // namespace plimsoll::http
