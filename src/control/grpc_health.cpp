#include "control/grpc_health.h"

#include <fmt/format.h>

#include <optional>

namespace plimsoll::control {

namespace {

constexpr std::size_t frame_head = 5;

std::unexpected<Error> broken_answer(std::string detail) {
    return fail(Code::protocol, std::move(detail), Side::upstream);
}

void put_varint(std::string& out, std::uint64_t n) {
    for (; n >= 0x80; n >>= 7) out += static_cast<char>((n & 0x7f) | 0x80);
    out += static_cast<char>(n);
}

/// Takes a varint from the front of `rest`; nullopt when it is cut off or longer than 64 bits.
std::optional<std::uint64_t> take_varint(std::string_view& rest) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest.empty(); shift += 7) {
        const auto byte = static_cast<unsigned char>(rest.front());
        rest.remove_prefix(1);
        if (shift == 63 && byte > 1) return std::nullopt;
        value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) return value;
    }
    return std::nullopt;
}

/// Takes the value of a field of that wire type away. False: cut off, or a type that does not exist.
bool skip(std::string_view& rest, unsigned wire_type) {
    std::uint64_t length = 0;
    switch (wire_type) {
        case 0: return take_varint(rest).has_value();
        case 1: length = 8; break;
        case 2: {
            const auto given = take_varint(rest);
            if (!given) return false;
            length = *given;
            break;
        }
        case 5: length = 4; break;
        default: return false;  // groups have been gone since proto3
    }
    if (length > rest.size()) return false;
    rest.remove_prefix(static_cast<std::size_t>(length));
    return true;
}

}  // namespace

std::string_view name(Serving serving) {
    switch (serving) {
        case Serving::unknown: return "UNKNOWN";
        case Serving::serving: return "SERVING";
        case Serving::not_serving: return "NOT_SERVING";
        case Serving::service_unknown: return "SERVICE_UNKNOWN";
    }
    return "?";
}

std::string encode_health_request(std::string_view service) {
    std::string message;
    if (!service.empty()) {
        message += '\x0a';  // field 1, length-delimited
        put_varint(message, service.size());
        message += service;
    }
    std::string frame(1, '\0');  // not compressed
    for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(message.size() >> shift & 0xff);
    return frame + message;
}

Result<Serving> decode_health_answer(std::string_view body) {
    if (body.size() < frame_head) return broken_answer("grpc: no message in the answer");
    if (body[0] != '\0') return broken_answer("grpc: a compressed answer, which was not asked for");
    std::uint64_t length = 0;
    for (std::size_t i = 1; i < frame_head; ++i) length = length << 8 | static_cast<unsigned char>(body[i]);
    std::string_view rest = body.substr(frame_head);
    if (length != rest.size())
        return broken_answer(fmt::format("grpc: a message of {} bytes in a body that has {}", length, rest.size()));
    std::uint64_t status = 0;
    while (!rest.empty()) {
        const auto tag = take_varint(rest);
        if (!tag || *tag >> 3 == 0 || *tag > UINT32_MAX) return broken_answer("grpc: not a protobuf message");
        if (*tag >> 3 != 1) {
            if (!skip(rest, static_cast<unsigned>(*tag & 7))) return broken_answer("grpc: a field that is cut off");
            continue;
        }
        const auto value = (*tag & 7) == 0 ? take_varint(rest) : std::nullopt;
        if (!value) return broken_answer("grpc: the status is not a number");
        status = *value;  // the last one counts
    }
    if (status > static_cast<std::uint64_t>(Serving::service_unknown)) return Serving::unknown;
    return static_cast<Serving>(status);
}

}  // namespace plimsoll::control
