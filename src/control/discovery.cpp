#include "control/discovery.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace plimsoll::control {

namespace {

/// Guests look this often whether their sources have answered.
constexpr Duration guest_look = std::chrono::milliseconds(20);

}  // namespace

Discovery::Discovery(net::Network& network, Changed changed) : network_(network), changed_(std::move(changed)) {}

// ---- who is asked --------------------------------------------------------------------------------------------------

void Discovery::watch(const std::vector<const config::Config*>& configs) {
    residents_.clear();
    for (const config::Config* config : configs) {
        if (config == nullptr) continue;
        for (discovery::Source& source : discovery::sources(*config)) residents_.push_back(std::move(source));
    }
    set(residents_);
}

void Discovery::set(const std::vector<discovery::Source>& sources) {
    std::vector<discovery::Source> wanted = sources;
    for (const auto& guest : guests_) wanted.insert(wanted.end(), guest->sources.begin(), guest->sources.end());
    All now;
    std::vector<std::shared_ptr<Watched>> fresh;
    for (const discovery::Source& source : wanted) {
        if (now.contains(source)) continue;
        const auto known = all_.find(source);
        const bool same = known != all_.end() && known->second->source.second == source.second && known->second->wanted;
        if (same) {
            now.emplace(source, known->second);
            continue;
        }
        auto watched = std::make_shared<Watched>();
        watched->source = source;
        watched->since = network_.now();
        if (known != all_.end()) {  // it is asked at another pace from now on
            watched->membership = known->second->membership;
        } else if (const auto remembered = found_.find(source); remembered != found_.end()) {
            watched->membership.members = remembered->second;
        }
        fresh.push_back(watched);
        now.emplace(source, std::move(watched));
    }
    for (const auto& [source, watched] : all_) {
        const auto still = now.find(source);
        if (still == now.end() || still->second != watched) watched->wanted = false;
        if (still == now.end()) found_.erase(source);
    }
    all_ = std::move(now);
    for (const auto& watched : fresh) {
        if (watched->source.second.type == config::DiscoveryType::file) {
            scope_.spawn(read_file(watched));
        } else {
            scope_.spawn(ask_name(watched));
        }
    }
}

void Discovery::restore(const discovery::Source& source, std::vector<config::Endpoint> members) {
    std::ranges::sort(members, {}, &config::Endpoint::address);
    found_[source] = std::move(members);
}

bool Discovery::asked(const std::vector<discovery::Source>& sources) const {
    return std::ranges::all_of(sources, [this](const discovery::Source& source) {
        const auto known = all_.find(source);
        return known != all_.end() && (known->second->membership.asked() || !known->second->membership.members.empty());
    });
}

bool Discovery::asked(const config::Config& config) const { return asked(discovery::sources(config)); }

void Discovery::await(const config::Config& config, std::function<void()> done) {
    auto guest =
        std::make_shared<Guest>(Guest{discovery::sources(config), std::move(done), network_.now() + first_answer_wait});
    if (asked(guest->sources)) return guest->done();
    guests_.push_back(guest);
    set(residents_);
    scope_.spawn(wait_for(std::move(guest)));
}

async::Task<void> Discovery::wait_for(std::shared_ptr<Guest> guest) {
    while (network_.now() < guest->until && !asked(guest->sources))
        co_await network_.sleep_until(network_.now() + guest_look);
    guest->done();  // what it begins may keep the sources
    // A change needs some time from its plan to its workers; what was found for it must be there then.
    co_await network_.sleep_until(std::max(network_.now(), guest->until));
    std::erase(guests_, guest);
    set(residents_);
}

// ---- asking --------------------------------------------------------------------------------------------------------

std::shared_ptr<discovery::Resolver> Discovery::resolver(const std::vector<std::string>& servers) {
    std::weak_ptr<discovery::Resolver>& known = resolvers_[servers];
    if (auto still = known.lock()) return still;
    auto made = std::make_shared<discovery::Resolver>(network_, discovery::ResolverOptions{.servers = servers});
    known = made;
    return made;
}

async::Task<void> Discovery::ask_name(std::shared_ptr<Watched> watched) {
    const config::Discovery& from = watched->source.second;
    const auto servers = resolver(from.resolvers);
    while (watched->wanted) {
        const Instant started = network_.now();
        Result<discovery::Answer> answer = discovery::Answer{};
        if (from.type == config::DiscoveryType::srv) {
            answer = co_await servers->services(from.name);
        } else {
            answer = co_await servers->addresses(from.name, from.port);
        }
        if (!watched->wanted) co_return;
        took(*watched, answer);
        const Duration ttl = answer ? answer->ttl : Duration{};
        co_await network_.sleep_until(started + discovery::pause(watched->membership, ttl, from.refresh));
    }
}

async::Task<void> Discovery::read_file(std::shared_ptr<Watched> watched) {
    discovery::EndpointFile file(watched->source.second.file);
    while (watched->wanted) {
        if (const auto answer = file.look(network_.wall(), !watched->membership.doubted.empty()))
            took(*watched, *answer);
        co_await network_.sleep_until(network_.now() + discovery::look_every);
    }
}

void Discovery::took(Watched& watched, const Result<discovery::Answer>& answer) {
    const discovery::Shift shift = discovery::take(watched.membership, answer, network_.now());
    const std::string source = discovery::describe(watched.source.second);
    if (!shift.note.empty()) spdlog::warn("discovery of pool {} ({}): {}", watched.source.first, source, shift.note);
    if (!shift.any()) return;
    found_[watched.source] = watched.membership.members;
    spdlog::info("discovery of pool {} ({}): {} endpoints, {} new, {} gone, {} altered", watched.source.first, source,
                 watched.membership.members.size(), shift.added.size(), shift.removed.size(), shift.altered.size());
    changed_(watched.source, shift);
}

std::vector<SourceView> Discovery::sources() const {
    std::vector<SourceView> views;
    for (const auto& [source, watched] : all_)
        views.push_back(
            {source.first, discovery::describe(source.second), source.second, watched->since, &watched->membership});
    return views;
}

}  // namespace plimsoll::control
