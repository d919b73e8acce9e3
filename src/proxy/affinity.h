// Sessions by cookie: a signed name of the endpoint that a client began with. Nothing is remembered here: any worker,
// any process and any machine with the same secret reads it.
// Thread rule: immutable once made; any thread.
// Source: RFC 6265bis (cookies), RFC 2104 (HMAC), RFC 4648 section 5 (base64url). What happens when an endpoint leaves:
// docs/sessions.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "http/fields.h"

namespace plimsoll::proxy {

struct SessionSettings {
    std::string pool;    ///< its name: a cookie of one pool says nothing in another
    std::string cookie;  ///< the cookie's name, a token
    std::string secret;  ///< not empty
    Duration ttl{};      ///< 0 = until the browser closes
};

/// An endpoint of the pool as it is known outside of this process.
struct SessionMember {
    EndpointId id;
    std::string address;  ///< as configured: "10.0.0.7:8080"
};

/// The cookies of one pool in one snapshot.
class Sessions {
public:
    Sessions(SessionSettings settings, std::span<const SessionMember> members);

    struct Found {
        EndpointId endpoint;
        bool renew = false;  ///< more than half of its time is over: send set_cookie() with the answer
    };
    /// Looks through all Cookie lines: of several cookies of our name the first counts that is signed by us, has not
    /// expired, and names an endpoint that the pool still has. nullopt: choose anew, and send set_cookie(). Whether the
    /// endpoint is well is for the caller to judge. At most `max_cookies` of our name are checked (each costs a hash).
    /// `now` is the wall clock: a cookie outlives processes and machines.
    [[nodiscard]] std::optional<Found> find(const http::Fields& fields, Timestamp now) const;
    static constexpr std::size_t max_cookies = 4;

    /// The value of a Set-Cookie field. `secure`: the client came by TLS. nullopt for an endpoint that is not a member.
    [[nodiscard]] std::optional<std::string> set_cookie(EndpointId endpoint, Timestamp now, bool secure) const;

    /// The cookie's value alone: 39 letters of base64url. For tests and `explain`.
    [[nodiscard]] std::optional<std::string> value(EndpointId endpoint, Timestamp now) const;

private:
    using Mark = std::uint64_t;  ///< 64 bits of a keyed hash of pool and address: tells nobody the address
    [[nodiscard]] std::optional<Found> read(std::string_view value, Timestamp now) const;
    [[nodiscard]] Mark mark(std::string_view address) const;

    SessionSettings settings_;
    std::unordered_map<Mark, EndpointId> by_mark_;
    std::unordered_map<EndpointId, Mark> by_endpoint_;
};

}  // namespace plimsoll::proxy
