// Stable numbers for names. Thread rule: one owner, one thread (control's or a simulation's).
#include <fmt/format.h>

#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

namespace {

std::uint32_t number(std::unordered_map<std::string, std::uint32_t>& ids, std::vector<std::string>& names,
                     std::string key, std::string_view display) {
    const auto [it, is_new] = ids.emplace(std::move(key), static_cast<std::uint32_t>(names.size()));
    if (is_new) {
        names.emplace_back(display);
    } else {
        names[it->second] = display;
    }
    return it->second;
}

std::string_view name_of(const std::vector<std::string>& names, std::uint32_t id) {
    return id < names.size() ? std::string_view(names[id]) : std::string_view("?");
}

}  // namespace

EndpointId Identities::endpoint(std::string_view pool, const config::Address& address, std::string_view display_name) {
    // A pool's name has no '/', so pool and address cannot run into each other.
    return EndpointId{number(endpoint_ids_, endpoints_, fmt::format("{}/{}", pool, text(address)), display_name)};
}
PoolId Identities::pool(std::string_view name) { return PoolId{number(pool_ids_, pools_, std::string(name), name)}; }
RouteId Identities::route(std::string_view name) {
    return RouteId{number(route_ids_, routes_, std::string(name), name)};
}
RateLimitId Identities::rate_limit(std::string_view route, std::string_view key) {
    const auto fresh = static_cast<std::uint32_t>(rate_limit_ids_.size());
    return RateLimitId{rate_limit_ids_.emplace(fmt::format("{}/{}", route, key), fresh).first->second};
}

std::string_view Identities::endpoint_name(EndpointId id) const { return name_of(endpoints_, id.value); }
std::string_view Identities::pool_name(PoolId id) const { return name_of(pools_, id.value); }
std::string_view Identities::route_name(RouteId id) const { return name_of(routes_, id.value); }

}  // namespace plimsoll::snapshot
