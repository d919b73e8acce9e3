// Prepared: what serving a snapshot needs beside it, made once by control and shared by all workers: binary addresses,
// networks, TLS contexts, session cookies. So that installing a revision costs a worker next to nothing.
// Thread rule: immutable once made.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net/address.h"
#include "net/networks.h"
#include "proxy/affinity.h"
#include "snapshot/snapshot.h"
#include "tls/context.h"

namespace plimsoll::proxy {

/// TLS contexts of one revision. Made by control, which reads the files.
struct Credentials {
    std::map<std::string, std::shared_ptr<const tls::ServerContext>, std::less<>> listeners;  ///< by listener name
    std::map<std::string, std::shared_ptr<const tls::ClientContext>, std::less<>> pools;      ///< by pool name
    /// The very same contexts.
    friend bool operator==(const Credentials&, const Credentials&) = default;
};

struct PreparedListener {
    net::Networks trusted;         ///< whose X-Forwarded-For is believed
    net::Networks proxy_protocol;  ///< whose connections begin with a PROXY header
    std::shared_ptr<const tls::ServerContext> tls;
};

struct PreparedPool {
    std::vector<net::Address> addresses;  ///< by EndpointIndex
    std::shared_ptr<const tls::ClientContext> tls;
    std::unique_ptr<const Sessions> sessions;  ///< null without affinity
};

struct Prepared {
    std::shared_ptr<const snapshot::Snapshot> snapshot;
    std::vector<PreparedListener> listeners;  ///< as in the snapshot
    std::vector<PreparedPool> pools;          ///< by PoolIndex
};
/// O(endpoints). A network that does not parse (config refuses those) contains nobody.
[[nodiscard]] std::shared_ptr<const Prepared> prepare(std::shared_ptr<const snapshot::Snapshot> snapshot,
                                                      const Credentials& credentials = {});

}  // namespace plimsoll::proxy
