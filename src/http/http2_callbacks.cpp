// nghttp2's side of Http2Session: its callbacks, options and settings. Callbacks note what happened and wake who waits;
// they resume nobody, and never call nghttp2 to read or write.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "http/http2_session.h"

namespace plimsoll::http {
namespace {

std::string_view text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
}

nghttp2_nv pair(const Http2Field& field) {
    // nghttp2 copies, and lower-cases the name.
    return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.name.data())),
            reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.value.data())), field.name.size(),
            field.value.size(),
            static_cast<std::uint8_t>(field.unindexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE)};
}

/// Stream errors that we made ourselves, for reasons of ours: not the peer's doing.
bool is_ours(std::uint32_t error_code) {
    return error_code == NGHTTP2_INTERNAL_ERROR || error_code == NGHTTP2_CANCEL || error_code == NGHTTP2_NO_ERROR;
}

using Library = nghttp2_session;

}  // namespace

struct Http2Session::Callbacks {
    static Http2Session& of(void* user) { return *static_cast<Http2Session*>(user); }
    static Http2Channel* channel(Library* library, std::int32_t id) {
        return static_cast<Http2Channel*>(nghttp2_session_get_stream_user_data(library, id));
    }

    static int begin_frame(Library*, const nghttp2_frame_hd* head, void* user) {
        Http2Session& own = of(user);
        if (own.ending_) return 0;
        const Http2Flood flood = own.guard_.frame({head->type, head->flags, head->length}, own.now());
        if (flood != Http2Flood::none) own.flood(flood);
        return 0;
    }

    static int begin_headers(Library* library, const nghttp2_frame* frame, void* user) {
        Http2Session& own = of(user);
        if (own.ending_) return 0;
        own.head_open_ = true;
        own.head_since_ = own.now();
        const std::int32_t id = frame->hd.stream_id;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) return own.begin_request(id), 0;
        if (Http2Channel* to = channel(library, id)) to->begin_section();
        return 0;
    }

    static int field(Library* library, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                     const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
        Http2Session& own = of(user);
        Http2Channel* to = channel(library, frame->hd.stream_id);
        if (own.ending_ || to == nullptr) return 0;
        to->receive_field(text(name, name_size), text(value, value_size));
        const Http2Flood flood = own.guard_.section(to->section().bytes(), to->section().fields());
        if (flood != Http2Flood::none) own.flood(flood);
        return 0;
    }

    /// nghttp2 would leave a field out that is not valid; we refuse the message.
    static int bad_field(Library* library, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                         const std::uint8_t* value, std::size_t value_size, std::uint8_t flags, void* user) {
        Http2Channel* to = of(user).ending_ ? nullptr : channel(library, frame->hd.stream_id);
        if (to == nullptr) return 0;
        to->spoil_section({400, "an invalid field"});
        return field(library, frame, name, name_size, value, value_size, flags, user);
    }

    static int frame_received(Library* library, const nghttp2_frame* frame, void* user) {
        Http2Session& own = of(user);
        if (own.ending_) return 0;
        const std::int32_t id = frame->hd.stream_id;
        const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        switch (frame->hd.type) {
            case NGHTTP2_DATA:
                own.pings_in_quiet_ = 0;
                own.data_frame(channel(library, id), frame);
                break;
            case NGHTTP2_HEADERS:
                own.head_open_ = false;
                own.pings_in_quiet_ = 0;
                if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
                    own.finish_request(ended);
                } else if (Http2Channel* to = channel(library, id)) {
                    to->receive_section(ended);
                }
                break;
            case NGHTTP2_RST_STREAM:
                ++own.counts_.resets_received;
                own.reset_by_peer_ = id;
                break;
            case NGHTTP2_SETTINGS:
                ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 ? own.acknowledged_ : own.peer_settled_) = true;
                break;
            case NGHTTP2_PING:
                if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && own.shutting_down_ && own.server() &&
                    frame->ping.opaque_data[0] == notice_ping) {
                    own.send_last_goaway();
                }
                break;
            case NGHTTP2_GOAWAY:
                ++own.counts_.goaways_received;
                own.goaway_received_ = true;
                break;
            default: break;
        }
        return 0;
    }

    static int bad_frame(Library*, const nghttp2_frame* frame, int, void* user) {
        if (frame->hd.type == NGHTTP2_HEADERS) of(user).head_open_ = false;
        return 0;
    }

    static int data_chunk(Library* library, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                          void* user) {
        Http2Session& own = of(user);
        Http2Channel* to = own.ending_ ? nullptr : channel(library, id);
        if (to == nullptr) {
            nghttp2_session_consume(library, id, size);
        } else {
            to->receive(text(bytes, size));
        }
        return 0;
    }

    static int stream_closed(Library* library, std::int32_t id, std::uint32_t error_code, void* user) {
        Http2Session& own = of(user);
        const bool by_peer = std::exchange(own.reset_by_peer_, 0) == id;
        Http2Channel* to = channel(library, id);
        if (to == nullptr) return 0;
        to->closed(error_code, by_peer);
        if (own.building_ && own.building_.get() == to) {
            own.head_open_ = false;
            nghttp2_session_set_stream_user_data(library, id, nullptr);
            own.building_.reset();
        }
        return 0;
    }

    static int frame_sent(Library* library, const nghttp2_frame* frame, void* user) {
        Http2Session& own = of(user);
        const std::int32_t id = frame->hd.stream_id;
        const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
        switch (frame->hd.type) {
            case NGHTTP2_HEADERS:
                if (Http2Channel* of_stream = channel(library, id)) of_stream->head_sent(ended, own.output_.queued());
                break;
            case NGHTTP2_DATA:
                own.guard_.data_sent();
                if (Http2Channel* of_stream = ended ? channel(library, id) : nullptr) of_stream->end_sent();
                break;
            case NGHTTP2_RST_STREAM: own.reset_sent(frame->rst_stream.error_code); break;
            case NGHTTP2_GOAWAY:
                ++own.counts_.goaways_sent;
                if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !own.ending_) {
                    own.broken_by_peer(frame->goaway.error_code);
                }
                break;
            default: break;
        }
        return 0;
    }

    static int frame_not_sent(Library*, const nghttp2_frame* frame, int, void* user) {
        if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
        for (Http2Channel* channel = of(user).channels_; channel != nullptr; channel = channel->next_) {
            if (channel->id_ != frame->hd.stream_id) continue;
            channel->not_sent();
            break;
        }
        return 0;
    }

    static ssize_t read_data(Library* library, std::int32_t id, std::uint8_t*, std::size_t most, std::uint32_t* flags,
                             nghttp2_data_source*, void* user) {
        Http2Channel* from = channel(library, id);
        if (from == nullptr) return NGHTTP2_ERR_DEFERRED;
        bool last = false;
        const std::string_view data = from->next_data(most, last);
        if (data.empty() && !last) return NGHTTP2_ERR_DEFERRED;
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (last) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            if (of(user).submit_trailers(*from)) *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        }
        return static_cast<ssize_t>(data.size());
    }

    static int send_data(Library* library, nghttp2_frame* frame, const std::uint8_t* head, std::size_t size,
                         nghttp2_data_source*, void* user) {
        Http2Session& own = of(user);
        Http2Channel* from = channel(library, frame->hd.stream_id);
        // Whoever lent the bytes has taken them back: the stream cannot end well.
        if (from == nullptr || from->data_in_hand().size() != size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        if (own.output_.pending() >= own.limits_.output) return NGHTTP2_ERR_WOULDBLOCK;
        constexpr std::size_t frame_head = 9;
        own.output_.append(text(head, frame_head));
        own.output_.append(from->data_in_hand(), *from);
        from->data_sent();
        return 0;
    }

    /// Registered for all types that RFC 9113 does not know, so that begin_frame counts them; thrown away.
    static int unknown_frame(Library*, void**, const nghttp2_frame_hd*, void*) { return NGHTTP2_ERR_CANCEL; }

    static int explain(Library*, int, const char* message, std::size_t size, void* user) {
        of(user).error_text_.assign(message, size);
        return 0;
    }
};

// --------------------------------------------------------------------------------------------------- what they call

void Http2Session::begin_request(std::int32_t id) {
    building_.reset();
    if (active_ >= limits_.streams) {
        ++counts_.refused;
        nghttp2_submit_rst_stream(library_.get(), NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
        return;
    }
    building_ = std::make_unique<Http2ServerStream>(*this, id);
    nghttp2_session_set_stream_user_data(library_.get(), id, static_cast<Http2Channel*>(building_.get()));
    // All streams alike, frame by frame in turn, whatever the client wishes.
    const nghttp2_extpri fair{.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    nghttp2_session_change_extpri_stream_priority(library_.get(), id, &fair, 1);
}

void Http2Session::finish_request(bool ended) {
    std::unique_ptr<Http2ServerStream> stream = std::move(building_);
    if (!stream || stream->failed()) return;
    const Refusal refusal = stream->finish_head(ended);
    if (refusal.status == 0) {
        fresh_.push_back(std::move(stream));
        return;
    }
    if (refusal.status == 400) {
        ++counts_.malformed;
        reset(*stream, NGHTTP2_PROTOCOL_ERROR);
    } else {
        ++counts_.too_large;
        const std::string status = std::to_string(refusal.status);
        fields_.assign({{":status", status}, {"content-length", "0"}});
        submit(*stream, fields_, true);
        if (!ended) reset(*stream, NGHTTP2_NO_ERROR);
    }
    stream->cut_ = true;  // it goes now, and has been answered
}

void Http2Session::data_frame(Http2Channel* channel, const nghttp2_frame* frame) {
    const bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (channel != nullptr && ended) return channel->receive_end();
    if (ended || frame->hd.length == 0 || frame->hd.length > frame->data.padlen) return;
    const Http2Flood crossed = guard_.empty_data(now());
    if (crossed != Http2Flood::none) flood(crossed);
}

void Http2Session::reset_sent(std::uint32_t error_code) {
    ++counts_.resets_sent;
    if (is_ours(error_code)) return;
    const Http2Flood crossed = guard_.reset_sent(now());
    if (crossed != Http2Flood::none) flood(crossed);
}

void Http2Session::broken_by_peer(std::uint32_t error_code) {
    ending_ = true;
    std::string detail = nghttp2_http2_strerror(error_code);
    if (!error_text_.empty()) detail.append(": ").append(error_text_);
    end_ = {Http2End::Why::protocol, Http2Flood::none, std::move(detail)};
    linger_left_ = linger_bytes;
    linger_until_ = now() + linger_time;
    lose_channels("the peer broke the protocol");
}

bool Http2Session::submit(Http2Channel& channel, const std::vector<Http2Field>& fields, bool ended) {
    pairs(fields);
    const nghttp2_data_provider provider{.source = {}, .read_callback = &Callbacks::read_data};
    const nghttp2_data_provider* body = ended ? nullptr : &provider;
    if (server()) {
        return nghttp2_submit_response(library_.get(), channel.id_, pairs_.data(), pairs_.size(), body) == 0;
    }
    const std::int32_t id =
        nghttp2_submit_request(library_.get(), nullptr, pairs_.data(), pairs_.size(), body, &channel);
    if (id < 0) return false;
    channel.id_ = id;
    channel.open_ = true;
    ++requests_;
    ++counts_.streams;
    return true;
}

bool Http2Session::submit_interim(Http2Channel& channel, const std::vector<Http2Field>& fields) {
    pairs(fields);
    return nghttp2_submit_headers(library_.get(), NGHTTP2_FLAG_NONE, channel.id_, nullptr, pairs_.data(), pairs_.size(),
                                  nullptr) == 0;
}

bool Http2Session::submit_trailers(Http2Channel& channel) {
    if (channel.trailers_to_send() == nullptr) return false;
    fields_.clear();
    for (const Draft::Line& line : channel.trailers_to_send()->lines()) fields_.push_back({line.name, line.value});
    pairs(fields_);
    return nghttp2_submit_trailer(library_.get(), channel.id_, pairs_.data(), pairs_.size()) == 0;
}

void Http2Session::pairs(const std::vector<Http2Field>& fields) {
    pairs_.clear();
    for (const Http2Field& field : fields) pairs_.push_back(pair(field));
}

// ------------------------------------------------------------------------------------------------------------ making

void Http2Session::Close::operator()(nghttp2_session* session) const { nghttp2_session_del(session); }

void Http2Session::make_library() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    PLIMSOLL_ENSURE(nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0, "no memory");
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, &Callbacks::begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, &Callbacks::begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, &Callbacks::field);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, &Callbacks::bad_field);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, &Callbacks::frame_received);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, &Callbacks::bad_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, &Callbacks::data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, &Callbacks::stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, &Callbacks::frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, &Callbacks::frame_not_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, &Callbacks::send_data);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, &Callbacks::unknown_frame);
    nghttp2_session_callbacks_set_error_callback2(callbacks, &Callbacks::explain);

    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_outbound_ack(option, limits_.own_answers);
    nghttp2_option_set_max_continuations(option, limits_.continuations + 1);  // ours speaks first, with a name
    nghttp2_option_set_max_deflate_dynamic_table_size(option, limits_.header_table);
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);  // ours
    nghttp2_option_set_max_send_header_block_length(option, std::size_t{16} * limits_.head.head_bytes);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; ++type) {
        nghttp2_option_set_user_recv_extension_type(option, static_cast<std::uint8_t>(type));
    }
    Library* library = nullptr;
    const int made = server() ? nghttp2_session_server_new2(&library, callbacks, this, option)
                              : nghttp2_session_client_new2(&library, callbacks, this, option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    PLIMSOLL_ENSURE(made == 0, "no memory");
    library_.reset(library);
}

void Http2Session::submit_settings() {
    std::array<nghttp2_settings_entry, 8> settings;
    std::size_t count = 0;
    const auto add = [&](nghttp2_settings_id id, std::uint32_t value) {
        settings[count++] = {static_cast<std::int32_t>(id), value};
    };
    add(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits_.stream_window);
    add(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(limits_.head.head_bytes));
    if (limits_.header_table != NGHTTP2_DEFAULT_HEADER_TABLE_SIZE) {
        add(NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, limits_.header_table);
    }
    if (server()) {
        add(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits_.streams);
        add(NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1);
        if (limits_.connect_protocol) add(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1);
    } else {
        add(NGHTTP2_SETTINGS_ENABLE_PUSH, 0);
    }
    nghttp2_submit_settings(library_.get(), NGHTTP2_FLAG_NONE, settings.data(), count);
    nghttp2_session_set_local_window_size(
        library_.get(), NGHTTP2_FLAG_NONE, 0,
        static_cast<std::int32_t>(std::min<std::uint32_t>(limits_.connection_window, NGHTTP2_MAX_WINDOW_SIZE)));
}

}  // namespace plimsoll::http
