#include "base/result.h"

#include <cstdio>
#include <cstdlib>

namespace plimsoll {

std::string_view name(Code code) {
    switch (code) {
        case Code::invalid: return "invalid";
        case Code::not_found: return "not_found";
        case Code::conflict: return "conflict";
        case Code::refused: return "refused";
        case Code::unreachable: return "unreachable";
        case Code::timeout: return "timeout";
        case Code::reset: return "reset";
        case Code::closed: return "closed";
        case Code::protocol: return "protocol";
        case Code::limit: return "limit";
        case Code::io: return "io";
        case Code::cancelled: return "cancelled";
        case Code::internal: return "internal";
    }
    return "unknown";
}

std::string_view name(Side side) {
    switch (side) {
        case Side::client: return "client";
        case Side::upstream: return "upstream";
        case Side::us: return "us";
    }
    return "unknown";
}

void broken(std::string_view reason, const char* file, int line) {
    std::fprintf(stderr, "plimsoll: broken invariant: %.*s (%s:%d)\n", static_cast<int>(reason.size()), reason.data(),
                 file, line);
    std::abort();
}

}  // namespace plimsoll
