#include "discovery/membership.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

namespace plimsoll::discovery {

namespace {

using config::Endpoint;

bool before(const Endpoint& a, const Endpoint& b) { return a.address < b.address; }

const Endpoint* find(std::span<const Endpoint> sorted, const config::Address& address) {
    const auto at = std::ranges::lower_bound(sorted, address, {}, &Endpoint::address);
    return at != sorted.end() && at->address == address ? &*at : nullptr;
}

bool serves(const Endpoint* endpoint) { return endpoint != nullptr && endpoint->weight > 0; }

std::string names(const std::vector<config::Address>& addresses) {
    std::string out;
    for (std::size_t i = 0; i < std::min(addresses.size(), max_named); ++i)
        out += (out.empty() ? "" : ", ") + text(addresses[i]);
    if (addresses.size() > max_named) out += fmt::format(" and {} more", addresses.size() - max_named);
    return out;
}

Shift refuse(Membership& membership, std::string why, Instant now) {
    Shift shift;
    if (membership.failures_in_row == 0)
        shift.note = fmt::format("{}; {} known endpoints stay", why, membership.members.size());
    ++membership.failures;
    if (membership.failures_in_row < UINT32_MAX) ++membership.failures_in_row;
    membership.trouble = std::move(why);
    membership.differs_since = std::min(membership.differs_since, now);
    return shift;
}

/// What is left of `members` although the answer lacks it: all of it as long as nobody has said so twice.
std::vector<Endpoint> not_yet_gone(Membership& membership, const std::vector<Endpoint>& answer, bool partial,
                                   bool settled) {
    std::vector<Endpoint> lost;
    std::size_t serving = 0;
    for (const Endpoint& member : membership.members) {
        if (serves(&member)) ++serving;
        const Endpoint* there = find(answer, member.address);
        if (serves(&member) ? !serves(there) : there == nullptr) lost.push_back(member);
    }
    const auto taken_out =
        static_cast<std::size_t>(std::ranges::count_if(lost, [](const Endpoint& e) { return e.weight > 0; }));
    if (!partial && (settled || taken_out * 2 <= serving)) {
        membership.doubted.clear();
        return {};
    }
    const std::set<config::Address> twice(membership.doubted.begin(), membership.doubted.end());
    if (!partial) std::erase_if(lost, [&](const Endpoint& e) { return twice.contains(e.address); });
    if (!partial) {
        membership.doubted.clear();
        for (const Endpoint& endpoint : lost) membership.doubted.push_back(endpoint.address);
    }
    return lost;
}

/// Whom TLS verifies at endpoints that were found by DNS: what the operator wrote, never what DNS answered, which
/// anybody on the way can write (RFC 9525, 6.1.2): of SRV the domain, not the target.
std::string tls_name(const config::Discovery& discovery) {
    if (discovery.type == config::DiscoveryType::file) return {};
    std::string_view name = discovery.name;
    while (discovery.type == config::DiscoveryType::srv && name.starts_with('_') && name.contains('.')) {
        name.remove_prefix(name.find('.') + 1);
    }
    return std::string(name);
}

}  // namespace

Shift shift_between(std::span<const Endpoint> was, std::span<const Endpoint> is) {
    Shift shift;
    for (const Endpoint& endpoint : is) {
        const Endpoint* old = find(was, endpoint.address);
        if (old == nullptr) {
            shift.added.push_back(endpoint);
        } else if (*old != endpoint) {
            shift.altered.push_back(endpoint);
        }
    }
    for (const Endpoint& endpoint : was)
        if (find(is, endpoint.address) == nullptr) shift.removed.push_back(endpoint);
    return shift;
}

Shift take(Membership& membership, const Result<Answer>& answer, Instant now) {
    if (!answer) return refuse(membership, answer.error().detail, now);
    if (std::ranges::none_of(answer->endpoints, [](const Endpoint& e) { return e.weight > 0; }))
        return refuse(membership,
                      answer->endpoints.empty()
                          ? std::string("an empty answer")
                          : fmt::format("all {} endpoints have weight 0", answer->endpoints.size()),
                      now);
    if (answer->endpoints.size() > max_found)
        return refuse(membership, fmt::format("{} endpoints, more than {}", answer->endpoints.size(), max_found), now);

    std::vector<Endpoint> next = answer->endpoints;
    std::ranges::sort(next, before);
    next.erase(std::ranges::unique(next, {}, &Endpoint::address).begin(), next.end());
    const bool was_doubting = !membership.doubted.empty();
    for (Endpoint& kept : not_yet_gone(membership, next, answer->partial, answer->settled)) {
        const auto at = std::ranges::lower_bound(next, kept.address, {}, &Endpoint::address);
        if (at != next.end() && at->address == kept.address) {
            *at = std::move(kept);  // it is there with weight 0: its draining is what is doubted
        } else {
            next.insert(at, std::move(kept));
        }
    }
    Shift shift = shift_between(membership.members, next);
    const bool doubting = !membership.doubted.empty();
    if (doubting && !was_doubting) {
        ++membership.held;
        shift.note =
            fmt::format("{} of {} endpoints are missing from the answer; they go if the next answer lacks them too: {}",
                        membership.doubted.size(), membership.members.size(), names(membership.doubted));
    } else if (membership.failures_in_row > 0 && !doubting) {
        shift.note = fmt::format("answers again after {} failures", membership.failures_in_row);
    }
    membership.members = std::move(next);
    ++membership.answers;
    membership.failures_in_row = 0;
    membership.trouble.clear();
    if (answer->partial) {
        membership.trouble = "only a part of the addresses could be asked for";
    } else {
        membership.good_at = now;
    }
    membership.differs_since = doubting || answer->partial ? std::min(membership.differs_since, now) : never;
    return shift;
}

Duration pause(const Membership& membership, Duration ttl, Duration refresh) {
    const Duration longest = std::max(refresh, shortest_pause);
    if (membership.failures_in_row > 0) {
        const std::uint32_t doublings = std::min(membership.failures_in_row - 1, 20u);
        return std::min(longest, Duration(shortest_pause.count() << doublings));
    }
    return ttl <= Duration{} ? longest : std::clamp(ttl, shortest_pause, longest);
}

std::string standing(const Membership& membership) {
    if (!membership.asked()) return "no answer yet";
    if (!membership.trouble.empty()) {
        return membership.failures_in_row > 1
                   ? fmt::format("{} ({} times in a row)", membership.trouble, membership.failures_in_row)
                   : membership.trouble;
    }
    if (membership.doubted.empty()) return {};
    return fmt::format("{} endpoints stay until a second answer lacks them: {}", membership.doubted.size(),
                       names(membership.doubted));
}

bool SourceOrder::operator()(const Source& a, const Source& b) const {
    const auto place = [](const Source& s) {
        return std::tie(s.first, s.second.type, s.second.name, s.second.port, s.second.file, s.second.resolvers);
    };
    return place(a) < place(b);
}

config::Config with_found(const config::Config& written, const Found& found) {
    config::Config served = written;
    for (config::Pool& pool : served.pools) {
        if (!pool.discovery) continue;
        const auto here = found.find({pool.name, *pool.discovery});
        if (here == found.end()) continue;
        std::set<config::Address> taken;
        std::set<std::string> called;
        for (const Endpoint& endpoint : pool.endpoints) {
            taken.insert(endpoint.address);
            called.insert(endpoint.name);
        }
        for (Endpoint endpoint : here->second) {
            if (!taken.insert(endpoint.address).second || config::own_listener(written, endpoint.address)) continue;
            if (endpoint.name.empty() || called.contains(endpoint.name)) endpoint.name = text(endpoint.address);
            called.insert(endpoint.name);
            if (!endpoint.capacity && pool.discovery->capacity > 0) endpoint.capacity = pool.discovery->capacity;
            endpoint.tls_name = tls_name(*pool.discovery);
            pool.endpoints.push_back(std::move(endpoint));
        }
    }
    return served;
}

std::vector<Source> sources(const config::Config& config) {
    std::vector<Source> all;
    for (const config::Pool& pool : config.pools)
        if (pool.discovery) all.emplace_back(pool.name, *pool.discovery);
    return all;
}

std::string describe(const config::Discovery& discovery) {
    switch (discovery.type) {
        case config::DiscoveryType::dns: return fmt::format("dns {}:{}", discovery.name, discovery.port);
        case config::DiscoveryType::srv: return fmt::format("srv {}", discovery.name);
        case config::DiscoveryType::file: return fmt::format("file {}", discovery.file);
    }
    return "?";
}

}  // namespace plimsoll::discovery
