#include "control/members.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>

namespace plimsoll::control {

namespace {

/// A source that changes all the time must not fill the disk: at most one entry in this time for each.
constexpr Duration write_every = std::chrono::seconds(5);
/// Workers take an install between two events. This much later something is wrong.
constexpr Duration install_allowed = std::chrono::seconds(10);

}  // namespace

std::shared_ptr<const snapshot::Snapshot> compile_served(const config::Config& written, const discovery::Found& found,
                                                         RevisionNumber revision, snapshot::Identities& identities,
                                                         std::uint32_t workers, const snapshot::Snapshot* previous) {
    if (found.empty()) return snapshot::compile(written, revision, identities, workers, previous);
    auto compiled = snapshot::compile(discovery::with_found(written, found), revision, identities, workers, previous);
    // Ours alone until it is returned. The digest names what was written: a plan against it is not stale because a
    // server came or went.
    std::const_pointer_cast<snapshot::Snapshot>(compiled)->digest = config::digest(written);
    return compiled;
}

Members::Members(Parts parts)
    : parts_(parts),
      discovery_(parts.network, [this](const discovery::Source&, const discovery::Shift&) { changed_ = true; }) {}

void Members::remember(const config::Config& config) {
    for (const discovery::Source& source : discovery::sources(config)) {
        if (found().contains(source)) continue;
        std::vector<config::Endpoint> members =
            parts_.ledger.history().members_of(source.first, discovery::describe(source.second));
        if (members.empty()) continue;
        spdlog::info("discovery of pool {} ({}): {} endpoints are known from before", source.first,
                     discovery::describe(source.second), members.size());
        std::ranges::sort(members, {}, &config::Endpoint::address);
        written_[source] = {members, Instant{INT64_MIN / 2}};
        discovery_.restore(source, std::move(members));
    }
}

void Members::follow(const std::vector<const config::Config*>& configs) {
    for (const config::Config* config : configs)
        if (config != nullptr) remember(*config);
    discovery_.watch(configs);
}

std::vector<std::string> Members::nobody(const config::Config& config) const {
    std::vector<std::string> all;
    const std::vector<SourceView> views = discovery_.sources();
    for (const config::Pool& pool : config.pools) {
        if (!pool.discovery || !pool.endpoints.empty() || found().contains({pool.name, *pool.discovery})) continue;
        std::string why = "it has not been asked";
        for (const SourceView& view : views)
            if (view.pool == pool.name && view.source == discovery::describe(*pool.discovery))
                why = discovery::standing(*view.membership);
        all.push_back(fmt::format("pool {} has nobody: {}: {}", pool.name, discovery::describe(*pool.discovery), why));
    }
    return all;
}

// ---- the journal ---------------------------------------------------------------------------------------------------

void Members::write(const discovery::Source& source, const std::vector<config::Endpoint>& members) {
    Written& written = written_[source];
    const Instant now = parts_.network.now();
    if (written.members == members || now - written.at < write_every) return;
    written.at = now;
    const discovery::Shift shift = discovery::shift_between(written.members, members);
    const auto entry =
        membership_entry({source.first, discovery::describe(source.second), written.members.size(), members.size(),
                          shift.added, shift.removed, shift.altered, parts_.network.wall()});
    // What the journal does not take stays owed: the next entry tells the difference to the last one that it has.
    if (parts_.ledger.append(entry)) written.members = members;
}

// ---- wanted and serving --------------------------------------------------------------------------------------------

std::vector<Differing> Members::differing() const {
    std::vector<Differing> all;
    for (const SourceView& view : discovery_.sources()) {
        const discovery::Membership& membership = *view.membership;
        const Instant since = membership.asked() ? membership.differs_since : view.since;
        if (since == never) continue;
        all.push_back({"pool " + view.pool, view.pool, since, view.settings.max_divergence,
                       view.source + ": " + discovery::standing(membership)});
    }
    if (const Instant since = parts_.fleet.unacknowledged_since(); since != never)
        all.push_back({"workers", {}, since, install_allowed, "a worker has not taken what was installed"});
    return all;
}

std::vector<Divergence::Seen> Members::tick() {
    for (const auto& [source, members] : found()) write(source, members);
    return divergence_.observe(differing(), parts_.network.now());
}

std::vector<SourceFigures> Members::figures() const {
    std::vector<SourceFigures> all;
    const Instant now = parts_.network.now();
    for (const SourceView& view : discovery_.sources()) {
        const discovery::Membership& membership = *view.membership;
        SourceFigures& one = all.emplace_back();
        one.pool = view.pool;
        one.source = view.source;
        one.members = membership.members.size();
        one.doubted = membership.doubted.size();
        one.answers = membership.answers;
        one.failures = membership.failures;
        one.held = membership.held;
        one.failures_in_row = membership.failures_in_row;
        if (membership.good_at != Instant{INT64_MIN}) one.good_age_s = seconds(now - membership.good_at);
        if (membership.differs_since != never) one.differs_s = seconds(now - membership.differs_since);
        one.standing = discovery::standing(membership);
    }
    return all;
}

}  // namespace plimsoll::control
