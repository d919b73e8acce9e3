#include "proxy/prepared.h"

namespace plimsoll::proxy {

std::shared_ptr<const Prepared> prepare(std::shared_ptr<const snapshot::Snapshot> snapshot,
                                        const Credentials& credentials) {
    auto prepared = std::make_shared<Prepared>();
    for (const config::Listener& listener : snapshot->listeners) {
        PreparedListener& made = prepared->listeners.emplace_back();
        made.trusted = net::Networks::parse(listener.trusted_proxies).value_or(net::Networks{});
        made.proxy_protocol = net::Networks::parse(listener.proxy_protocol_from).value_or(net::Networks{});
        if (const auto tls = credentials.listeners.find(listener.name); tls != credentials.listeners.end()) {
            made.tls = tls->second;
        }
    }
    for (const snapshot::Pool& pool : snapshot->pools) {
        PreparedPool& made = prepared->pools.emplace_back();
        std::vector<SessionMember> members;
        for (const snapshot::Endpoint& endpoint : pool.endpoints) {
            // A literal by config's rules; an address of family none fails to connect, and says so.
            made.addresses.push_back(
                net::Address::ip(endpoint.address.host, endpoint.address.port).value_or(net::Address{}));
            if (pool.affinity) members.push_back({endpoint.id, config::text(endpoint.address)});
        }
        if (const auto tls = credentials.pools.find(pool.name); tls != credentials.pools.end()) made.tls = tls->second;
        if (pool.affinity) {
            made.sessions = std::make_unique<Sessions>(
                SessionSettings{pool.name, pool.affinity->cookie, pool.affinity->secret, pool.affinity->ttl}, members);
        }
    }
    prepared->snapshot = std::move(snapshot);
    return prepared;
}

}  // namespace plimsoll::proxy
