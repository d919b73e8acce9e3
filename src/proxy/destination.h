// Where an attempt's connection goes, and why there was none: the same for every request to a pool.
// Thread rule: none.
#pragma once

#include <string>
#include <string_view>

#include "base/outcome.h"
#include "proxy/client.h"
#include "proxy/heads.h"
#include "proxy/prepared.h"
#include "proxy/upstream.h"

namespace plimsoll::proxy {

/// What TLS asks an endpoint for, and verifies: `host`, which is asked for, names the server where neither the pool's
/// TLS nor discovery does. In small letters: a host is the same in any (RFC 9110, 4.2.3).
[[nodiscard]] inline std::string server_name(const snapshot::Pool& pool, EndpointIndex at, std::string_view host) {
    if (!pool.tls) return {};
    const std::string& own_name = snapshot::tls_name(pool, pool.endpoints[at.value]);
    if (!own_name.empty()) return own_name;
    std::string name(without_port(host));
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return name;
}

[[nodiscard]] inline Destination destination(const snapshot::Pool& pool, const PreparedPool& made, EndpointIndex at,
                                             std::string_view host, const Client& client) {
    return Destination{.endpoint = pool.facts.members[at.value].id,
                       .address = made.addresses[at.value],
                       .limits = pool.limits,
                       .max_connections = pool.part.max_connections_per_endpoint,
                       .http2 = pool.protocol == config::PoolProtocol::http2,
                       .tls = made.tls,
                       .server_name = server_name(pool, at, host),
                       .proxy_protocol = pool.proxy_protocol,
                       .client = client.peer,
                       .local = client.local};
}

/// `own_late`: the time for connecting is over, not the one for the whole.
[[nodiscard]] inline Cause connect_cause(const Error& error, bool tls, bool own_late) {
    switch (error.code) {
        case Code::refused: return Cause::connect_refused;
        case Code::limit: return Cause::limited;  // ours, not the endpoint's: nobody is ejected for it
        case Code::timeout: return own_late ? Cause::connect_timeout : Cause::total_timeout;
        case Code::protocol:
        case Code::invalid: return tls ? Cause::upstream_tls : Cause::connect_failed;
        default: return Cause::connect_failed;
    }
}

}  // namespace plimsoll::proxy
