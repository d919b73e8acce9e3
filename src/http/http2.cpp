#include "http/http2.h"

#include <algorithm>

namespace plimsoll::http {

Preface is_http2_preface(std::string_view so_far) {
    const std::size_t size = std::min(so_far.size(), http2_preface.size());
    if (so_far.substr(0, size) != http2_preface.substr(0, size)) return Preface::no;
    return size == http2_preface.size() ? Preface::yes : Preface::more;
}

std::string_view name(Http2Flood flood) {
    switch (flood) {
        case Http2Flood::none: return "";
        case Http2Flood::resets_received: return "resets_received";
        case Http2Flood::resets_sent: return "resets_sent";
        case Http2Flood::settings: return "settings";
        case Http2Flood::pings: return "pings";
        case Http2Flood::priorities: return "priorities";
        case Http2Flood::window_updates: return "window_updates";
        case Http2Flood::empty_data: return "empty_data";
        case Http2Flood::glitches: return "glitches";
        case Http2Flood::continuations: return "continuations";
        case Http2Flood::header_bytes: return "header_bytes";
        case Http2Flood::header_fields: return "header_fields";
        case Http2Flood::own_answers: return "own_answers";
    }
    return "";
}

std::string_view name(Http2End::Why why) {
    switch (why) {
        case Http2End::Why::closed: return "closed";
        case Http2End::Why::broken: return "broken";
        case Http2End::Why::protocol: return "protocol";
        case Http2End::Why::flood: return "flood";
        case Http2End::Why::idle: return "idle";
        case Http2End::Why::stalled: return "stalled";
        case Http2End::Why::dead: return "dead";
        case Http2End::Why::shut_down: return "shut_down";
        case Http2End::Why::cancelled: return "cancelled";
    }
    return "";
}

}  // namespace plimsoll::http
