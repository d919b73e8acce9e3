// Resolver: asks name servers for A, AAAA and SRV without a thread: c-ares speaks DNS (UDP, TCP when an answer was
// cut), its sockets are watched by our network. Thread rule: its network's thread. Source: RFC 1035, RFC 2782 (SRV),
// RFC 3596 (AAAA); c-ares 1.18 manual pages.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/result.h"
#include "base/time.h"
#include "discovery/answer.h"
#include "net/network.h"

namespace plimsoll::discovery {

struct ResolverOptions {
    /// "192.0.2.53", "192.0.2.53:5353", "[2001:db8::53]:53"; none = those of /etc/resolv.conf, read again when it
    /// changes.
    std::vector<std::string> servers;
    Duration timeout = std::chrono::seconds(1);  ///< of the first try with each server; doubles with every round
    int tries = 2;                               ///< rounds over all servers; so a lookup ends after about 3 s a server
};

class Resolver {
public:
    /// Names are asked for as they are written: no search domains, no hosts file, no cache.
    Resolver(net::Network& network, ResolverOptions options);
    /// Lookups that still wait must have been destroyed.
    ~Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;

    /// A and AAAA of `name`, each with `port`. Records nobody can be reached by (unspecified, multicast) are passed
    /// over. Errors (side us): not_found (no such name), timeout, refused (the servers will not say: SERVFAIL,
    /// REFUSED), protocol (nonsense), invalid (no usable name server or name), limit (more than max_found, no
    /// descriptors).
    [[nodiscard]] async::Task<Result<Answer>> addresses(std::string name, std::uint16_t port);
    /// SRV of `name`, and A and AAAA of every target. SRV priority becomes Endpoint.priority, in order from 0, at most
    /// 15; SRV weight becomes the weight, divided between the addresses of a target. A weight of 0 beside larger ones
    /// is a tenth ("a very small chance", RFC 2782); only zeros are all 1. A target "." is an empty answer.
    [[nodiscard]] async::Task<Result<Answer>> services(std::string name);

    /// Questions sent and not yet answered.
    [[nodiscard]] std::size_t pending() const;

private:
    struct Inside;
    std::unique_ptr<Inside> inside_;
};

}  // namespace plimsoll::discovery
