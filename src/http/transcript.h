// What the codec's tests and fuzz targets share: a message's meaning as one comparable text, however it was cut.
// Values; no thread rule. Not part of the library.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/body.h"
#include "http/head.h"

namespace plimsoll::http::test {

inline void line(std::string& out, std::string_view name, std::string_view value) {
    out.append(name).append("=").append(value).append("\n");
}

inline std::string text(const Framing& framing) {
    switch (framing.kind) {
        case Framing::Kind::none: return "none";
        case Framing::Kind::length: return std::to_string(framing.length);
        case Framing::Kind::chunked: return "chunked";
        case Framing::Kind::until_close: return "until close";
    }
    return "?";
}

inline std::string text(const Refusal& refusal) {
    return "refused " + std::to_string(refusal.status) + " " + std::string(refusal.reason);
}

/// Calls step(prefix) for each cut and for the whole, until it says it is done.
template <class Step>
inline void grow(std::string_view input, std::span<const std::size_t> cuts, Step step) {
    for (std::size_t cut : cuts) {
        const std::string copy(input.substr(0, std::min(cut, input.size())));
        if (step(std::string_view(copy))) return;
    }
    step(input);
}

/// Everything a head says, one fact a line.
inline std::string describe(const Fields& fields) {
    std::string out;
    for (const Header header : fields) {
        out.append(header.name).append(": ").append(header.value);
        out.append(header.hop ? " (hop, " : " (").append(std::to_string(std::to_underlying(header.known)));
        out.append(")\n");
    }
    return out;
}

inline std::string describe(const RequestHead& head) {
    std::string out;
    line(out, "method", head.method_text());
    line(out, "known", std::to_string(std::to_underlying(head.method)));
    line(out, "version", std::to_string(head.minor_version));
    line(out, "authority", head.authority());
    line(out, "path", head.path());
    line(out, "query", head.has_query ? head.query() : std::string_view("(none)"));
    line(out, "framing", text(head.framing));
    line(out, "keep_alive", head.keep_alive ? "yes" : "no");
    line(out, "continue", head.expects_continue ? "yes" : "no");
    line(out, "upgrade", head.upgrade ? "yes" : "no");
    line(out, "bytes", std::to_string(head.bytes));
    return out + describe(head.fields);
}

inline std::string describe(const ResponseHead& head) {
    std::string out;
    line(out, "status", std::to_string(head.status));
    line(out, "reason", head.reason());
    line(out, "version", std::to_string(head.minor_version));
    line(out, "framing", text(head.framing));
    line(out, "keep_alive", head.keep_alive ? "yes" : "no");
    line(out, "upgrade", head.upgrade ? "yes" : "no");
    line(out, "bytes", std::to_string(head.bytes));
    return out + describe(head.fields);
}

/// Feeds `input` cut at `cuts` (ascending positions), each time from a fresh copy, as a buffer that moves would; gives
/// what came of it: "more", "refused <status> <reason>", or the description.
inline std::string parse_request(std::string_view input, std::span<const std::size_t> cuts = {},
                                 const HeadLimits& limits = {}) {
    RequestParser parser(limits);
    std::string result = "more";
    grow(input, cuts, [&](std::string_view received) {
        switch (parser.feed(received)) {
            case Progress::more: return false;
            case Progress::complete: result = describe(parser.head()); return true;
            case Progress::refused: result = text(parser.refusal()); return true;
        }
        return true;
    });
    return result;
}

inline std::string parse_response(std::string_view input, Method request, std::span<const std::size_t> cuts = {},
                                  const HeadLimits& limits = {}) {
    ResponseParser parser(limits);
    std::string result = "more";
    grow(input, cuts, [&](std::string_view received) {
        switch (parser.feed(received, request)) {
            case Progress::more: return false;
            case Progress::complete: result = describe(parser.head()); return true;
            case Progress::refused: result = text(parser.refusal()); return true;
        }
        return true;
    });
    return result;
}

/// The same for a body: "<state> after <bytes>: <data>" and the trailers.
inline std::string decode_body(std::string_view input, const Framing& framing, std::span<const std::size_t> cuts = {},
                               const BodyLimits& limits = {}) {
    BodyDecoder decoder(framing, limits);
    std::string data;
    std::string_view state = "more";
    std::size_t done = 0;
    grow(input, cuts, [&](std::string_view received) {
        while (true) {
            const BodyStep step = decoder.next(received.substr(std::min(done, received.size())));
            done += step.consumed;
            data.append(step.data);
            if (step.kind == BodyStep::Kind::data) continue;
            if (step.kind == BodyStep::Kind::more) return false;
            state = step.kind == BodyStep::Kind::end ? "end" : "refused";
            return true;
        }
    });
    std::string out = state == "refused" ? text(decoder.refusal()) : std::string(state);
    out.append(" after ").append(std::to_string(done)).append(": ").append(data);
    if (decoder.ended()) out.append("\n").append(describe(decoder.trailers()));
    return out;
}

}  // namespace plimsoll::http::test
