#include "proxy/grpc_answer.h"

#include <charconv>

namespace plimsoll::proxy {
namespace {

/// Fields, and so the whole message, must fit where callers limit them to 8 KiB, even if each byte becomes three.
constexpr std::size_t max_message = 1024;

GrpcStatus of_http(std::uint16_t status) {
    switch (status) {
        case 400: return GrpcStatus::internal;
        case 401: return GrpcStatus::unauthenticated;
        case 403: return GrpcStatus::permission_denied;
        case 404:
        case 405:
        case 501: return GrpcStatus::unimplemented;
        case 408:
        case 504: return GrpcStatus::deadline_exceeded;
        case 413:
        case 429: return GrpcStatus::resource_exhausted;
        case 421:
        case 502:
        case 503: return GrpcStatus::unavailable;
        case 500: return GrpcStatus::internal;
        default: return GrpcStatus::unknown;
    }
}

}  // namespace

bool asks_by_grpc(const http::Fields& fields) {
    constexpr std::string_view type = "application/grpc";
    const std::string_view value = fields.get(http::Known::content_type);
    if (!http::equal_ignoring_case(value.substr(0, type.size()), type)) return false;
    return value.size() == type.size() || value[type.size()] == '+' || value[type.size()] == ';' ||
           value[type.size()] == ' ';
}

GrpcStatus grpc_status(Cause cause, std::uint16_t status) {
    switch (cause) {
        case Cause::limited:
        case Cause::queue_full:
        case Cause::queue_timeout:
        case Cause::overloaded: return GrpcStatus::resource_exhausted;
        case Cause::connect_timeout: return GrpcStatus::unavailable;  // surely nothing was done
        default: return of_http(status);
    }
}

std::int8_t parse_grpc_status(std::string_view value) {
    constexpr auto unknown = static_cast<std::int8_t>(GrpcStatus::unknown);
    int parsed = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
    if (error != std::errc{} || end != value.data() + value.size()) return unknown;
    return parsed < 0 || parsed > 16 ? unknown : static_cast<std::int8_t>(parsed);
}

std::uint16_t http_status(std::int8_t grpc_status) {
    switch (grpc_status) {
        case 0: return 200;
        case 1: return 499;  // CANCELLED
        case 3:
        case 9:
        case 11: return 400;  // INVALID_ARGUMENT, FAILED_PRECONDITION, OUT_OF_RANGE
        case 4: return 504;   // DEADLINE_EXCEEDED
        case 5: return 404;   // NOT_FOUND
        case 6:
        case 10: return 409;  // ALREADY_EXISTS, ABORTED
        case 7: return 403;   // PERMISSION_DENIED
        case 8: return 429;   // RESOURCE_EXHAUSTED
        case 12: return 501;  // UNIMPLEMENTED
        case 14: return 503;  // UNAVAILABLE
        case 16: return 401;  // UNAUTHENTICATED
        default: return 500;  // UNKNOWN, INTERNAL, DATA_LOSS
    }
}

std::string grpc_message(std::string_view text) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string out;
    for (const char c : text.substr(0, max_message)) {
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            out.push_back(c);
        } else {
            const auto byte = static_cast<unsigned char>(c);
            out.append({'%', digits[byte >> 4], digits[byte & 15]});
        }
    }
    return out;
}

void draft_grpc_answer(http::Draft& draft, const GrpcAnswer& answer) {
    draft.clear();
    draft.status = 200;
    draft.add("Content-Type", "application/grpc");
    draft.add("grpc-status", static_cast<std::uint64_t>(grpc_status(answer.cause, answer.status)));
    draft.add("grpc-message", draft.keep(grpc_message(answer.text)));
    if (answer.cause != Cause::none) draft.add("X-Plimsoll-Cause", name(answer.cause));
    if (answer.retry_after_s != 0) draft.add("grpc-retry-pushback-ms", answer.retry_after_s * 1000);
}

}  // namespace plimsoll::proxy
