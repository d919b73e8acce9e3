// One probe: connects as traffic does (PROXY protocol, TLS), asks, and says what came of it.
// Thread rule: its network's thread.
// Source: docs/health.md; grpc.health.v1.
#pragma once

#include <memory>
#include <string>

#include "async/deadline.h"
#include "async/task.h"
#include "config/config.h"
#include "net/network.h"
#include "tls/context.h"

namespace plimsoll::control {

/// How an endpoint is reached: the same as for its traffic.
struct Way {
    net::Address address;
    bool http2 = false;
    config::ProxyProtocol proxy_protocol = config::ProxyProtocol::off;  ///< ours say LOCAL: nobody stands behind them
    std::shared_ptr<const tls::ClientContext> tls;                      ///< null = plain
    std::string server_name;                                            ///< for TLS
    friend bool operator==(const Way&, const Way&) = default;
};

struct ProbeResult {
    enum class Kind : std::uint8_t {
        good,
        bad,
        ours,            ///< it failed for a reason of ours: says nothing about the endpoint
        no_descriptors,  ///< the same, and it is that we have none left
    };
    Kind kind = Kind::bad;
    std::string why;  ///< one sentence, for people
};

/// A connection to the endpoint, ready for its protocol. Errors: those of Network::connect and tls::connect.
[[nodiscard]] async::Task<Result<std::unique_ptr<net::Stream>>> connect(net::Network& network, const Way& way,
                                                                        async::Deadline deadline);

/// `deadline` covers all of it. Never fails: what goes wrong is the result. `way` and `check` must live until then.
[[nodiscard]] async::Task<ProbeResult> probe(net::Network& network, const Way& way, const config::HealthCheck& check,
                                             async::Deadline deadline);

}  // namespace plimsoll::control
