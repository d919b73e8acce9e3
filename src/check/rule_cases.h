// Cases of rules, and edits of the scenario b10() that several tests make. For tests of this room.
#pragma once

#include <functional>
#include <ostream>

#include "check/scenario.h"

namespace plimsoll::check::scenario {

using namespace std::chrono_literals;
using config::Config;

struct Case {
    const char* name;
    const char* code;
    std::function<void(Config&)> before;  ///< of b10()
    std::function<void(Config&)> fires;   ///< of before
    std::function<void(Config&)> silent;  ///< of before
    std::function<LiveState()> state = [] { return live(); };
};
inline std::ostream& operator<<(std::ostream& out, const Case& c) { return out << c.name; }

inline void nothing(Config&) {}
inline config::Pool& web(Config& c) { return c.pools[0]; }

inline config::Listener tcp_listener() {
    config::Listener l;
    l.name = "raw";
    l.address = {"127.0.0.1", 8081};
    l.protocol = config::Protocol::tcp;
    l.tcp = {{"", "web"}};
    return l;
}
/// A listener "secure" with certificate "main" beside "web".
inline void with_tls(Config& c) {
    c.certificates = {{"main", "m.pem", "m.key", ""}};
    config::Listener l;
    l.name = "secure";
    l.address = {"127.0.0.1", 8443};
    l.tls.emplace();
    l.tls->certificates = {"main"};
    c.listeners.push_back(l);
}
/// First of all, /old is sent to another host.
inline void redirecting(Config& c) {
    config::Route r;
    r.name = "old";
    r.match.path_prefix = "/old";
    r.redirect.emplace();
    c.routes.insert(c.routes.begin(), r);
}
/// Nine of v1, one of v2.
inline void labelled(Config& c) {
    for (std::size_t i = 0; i < 10; ++i) web(c).endpoints[i].labels = {{"version", i < 9 ? "v1" : "v2"}};
}

/// The last route asks pool "auth".
inline void asking(Config& c) {
    c.pools.push_back(pool("auth", 4, 500, 9401));
    c.routes.back().auth.emplace();
    c.routes.back().auth->pool = "auth";
    c.routes.back().auth->upstream_headers = {"X-User"};
}
inline LiveState with_posts() {
    LiveState state = live();
    state.traffic.mix[0].method = "POST";
    return state;
}

/// Of all requests, after the change.
inline double share_of(const Forecast& forecast, std::string_view pool) {
    double share = 0;
    for (const auto& e : forecast.endpoints) share += e.pool == pool ? e.share_after.value : 0;
    return share;
}

}  // namespace plimsoll::check::scenario
