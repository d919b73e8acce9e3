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

/// `host` is asked for: it names the server where neither the pool's TLS nor discovery does.
[[nodiscard]] inline Destination destination(const snapshot::Pool& pool, const PreparedPool& made, EndpointIndex at,
                                             std::string_view host, const Client& client) {
    Destination to{.endpoint = pool.facts.members[at.value].id,
                   .address = made.addresses[at.value],
                   .limits = pool.limits,
                   .max_connections = pool.part.max_connections_per_endpoint,
                   .http2 = pool.protocol == config::PoolProtocol::http2,
                   .tls = made.tls,
                   .server_name = {},
                   .proxy_protocol = pool.proxy_protocol,
                   .client = client.peer,
                   .local = client.local};
    if (pool.tls) {
        const std::string& own_name = snapshot::tls_name(pool, pool.endpoints[at.value]);
        to.server_name = own_name.empty() ? std::string(without_port(host)) : own_name;
    }
    return to;
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
