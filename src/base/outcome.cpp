#include "base/outcome.h"

namespace plimsoll {

std::string_view name(Cause cause) {
    switch (cause) {
        case Cause::none: return "-";
        case Cause::bad_request: return "bad_request";
        case Cause::client_closed: return "client_closed";
        case Cause::client_timeout: return "client_timeout";
        case Cause::no_route: return "no_route";
        case Cause::no_endpoint: return "no_endpoint";
        case Cause::limited: return "limited";
        case Cause::total_timeout: return "total_timeout";
        case Cause::shutting_down: return "shutting_down";
        case Cause::internal: return "internal";
        case Cause::connect_refused: return "connect_refused";
        case Cause::connect_failed: return "connect_failed";
        case Cause::connect_timeout: return "connect_timeout";
        case Cause::try_timeout: return "try_timeout";
        case Cause::upstream_reset: return "upstream_reset";
        case Cause::upstream_protocol: return "upstream_protocol";
        case Cause::upstream_truncated: return "upstream_truncated";
        case Cause::upstream_idle: return "upstream_idle";
        case Cause::rate_limited: return "rate_limited";
        case Cause::queue_full: return "queue_full";
        case Cause::queue_timeout: return "queue_timeout";
        case Cause::overloaded: return "overloaded";
        case Cause::not_allowed: return "not_allowed";
        case Cause::misdirected: return "misdirected";
        case Cause::fault_injected: return "fault_injected";
        case Cause::tunnel_idle: return "tunnel_idle";
        case Cause::upstream_tls: return "upstream_tls";
        case Cause::auth_denied: return "auth_denied";
        case Cause::auth_failed: return "auth_failed";
    }
    return "unknown";
}

bool is_upstream(Cause cause) {
    return (cause >= Cause::connect_refused && cause <= Cause::upstream_idle) || cause == Cause::upstream_tls;
}

bool is_client(Cause cause) {
    switch (cause) {
        case Cause::bad_request:
        case Cause::client_closed:
        case Cause::client_timeout:
        case Cause::not_allowed:
        case Cause::misdirected:
        case Cause::auth_denied: return true;
        default: return false;
    }
}

std::string_view name(AuthVerdict verdict) {
    switch (verdict) {
        case AuthVerdict::allowed: return "allowed";
        case AuthVerdict::denied: return "denied";
        case AuthVerdict::failed: return "failed";
        case AuthVerdict::bypassed: return "bypassed";
        case AuthVerdict::dropped: return "dropped";
    }
    return "unknown";
}

std::string_view name(Spoken spoken) {
    switch (spoken) {
        case Spoken::http1: return "http1";
        case Spoken::http2: return "http2";
        case Spoken::tcp: return "tcp";
    }
    return "unknown";
}

}  // namespace plimsoll
