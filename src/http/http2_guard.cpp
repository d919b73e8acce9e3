#include "http/http2_guard.h"

#include <algorithm>

namespace plimsoll::http {
namespace {

enum Type : std::uint8_t {
    data = 0,
    headers = 1,
    priority = 2,
    rst_stream = 3,
    settings = 4,
    push_promise = 5,
    ping = 6,
    goaway = 7,
    window_update = 8,
    continuation = 9,
    priority_update = 0x10,  // RFC 9218
};
constexpr std::uint8_t ack = 1, end_stream = 1;

/// Longer pauses refill any bucket.
constexpr std::int64_t longest_pause = std::int64_t{3600} * 1'000'000'000;

}  // namespace

bool Http2Allowance::take(Instant now) {
    const std::int64_t passed = std::clamp<std::int64_t>(now.ns - last_.ns, 0, longest_pause);
    last_ = now;
    left_ = std::min(most_, left_ + passed * per_second_);
    if (left_ < one) return false;
    left_ -= one;
    return true;
}

void Http2Allowance::give(std::uint32_t more) { left_ = std::min(most_, left_ + std::int64_t{more} * one); }

Http2Guard::Http2Guard(const Http2Limits& limits)
    : head_(limits.head),
      most_continuations_(limits.continuations),
      resets_received_(limits.resets_received),
      resets_sent_(limits.resets_sent),
      settings_(limits.settings),
      pings_(limits.pings),
      priorities_(limits.priorities),
      window_updates_(limits.window_updates),
      empty_data_(limits.empty_data),
      glitches_(limits.glitches) {}

Http2Flood Http2Guard::frame(const Http2FrameHead& head, Instant now) {
    if (head.type != continuation) continuations_ = 0;
    switch (head.type) {
        case data:
            if (head.length != 0 || (head.flags & end_stream) != 0) return Http2Flood::none;
            return empty_data(now);
        case headers:
        case push_promise: return Http2Flood::none;
        case continuation: return ++continuations_ > most_continuations_ ? Http2Flood::continuations : Http2Flood::none;
        case rst_stream: return resets_received_.take(now) ? Http2Flood::none : Http2Flood::resets_received;
        case settings: return (head.flags & ack) != 0 || settings_.take(now) ? Http2Flood::none : Http2Flood::settings;
        case ping: return (head.flags & ack) != 0 || pings_.take(now) ? Http2Flood::none : Http2Flood::pings;
        case priority:
        case priority_update: return priorities_.take(now) ? Http2Flood::none : Http2Flood::priorities;
        case window_update: return window_updates_.take(now) ? Http2Flood::none : Http2Flood::window_updates;
        default: return glitches_.take(now) ? Http2Flood::none : Http2Flood::glitches;
    }
}

Http2Flood Http2Guard::empty_data(Instant now) {
    return empty_data_.take(now) ? Http2Flood::none : Http2Flood::empty_data;
}

Http2Flood Http2Guard::reset_sent(Instant now) {
    return resets_sent_.take(now) ? Http2Flood::none : Http2Flood::resets_sent;
}

Http2Flood Http2Guard::section(std::size_t bytes, std::size_t fields) const {
    if (bytes > patience * head_.head_bytes) return Http2Flood::header_bytes;
    if (fields > patience * head_.fields) return Http2Flood::header_fields;
    return Http2Flood::none;
}

}  // namespace plimsoll::http
