#include "sim/replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>

#include "check/recorded.h"
#include "sim/world.h"

namespace plimsoll::sim {
namespace {

using Snapshot = std::shared_ptr<const snapshot::Snapshot>;

/// What one case showed.
struct Shown {
    std::uint64_t requests = 0, failed = 0, no_endpoint = 0;
    measure::Histogram total;
    std::vector<std::uint64_t> picks;  ///< by EndpointId

    [[nodiscard]] double fraction(std::uint64_t n) const {
        return requests == 0 ? 0.0 : static_cast<double>(n) / static_cast<double>(requests);
    }
    [[nodiscard]] double slow(Duration limit) const {
        return fraction(total.at_least(measure::Histogram::bucket(limit)));
    }
    /// Failed answers are answers too: one that took long is counted once.
    [[nodiscard]] double harmed(Duration limit) const { return std::min(1.0, fraction(failed) + slow(limit)); }
};

struct Case {
    bool after = false;
    double rate = 1;         ///< times the peak
    bool unlimited = false;  ///< servers that never queue: what is decided, before overload and ejection answer to it
    std::optional<config::Address> victim = {};
    Fault fault = {};
};

using Out = std::vector<check::OutOfRotation>;

class Replay {
public:
    Replay(const recording::Recording& recording, const config::Config& before, const config::Config& after,
           const ReplayOptions& options)
        : options_(options),
          recording_(std::make_shared<recording::Recording>()),
          before_(snapshot::compile(before, RevisionNumber{1}, identities_, 1)),
          after_(snapshot::compile(after, RevisionNumber{2}, identities_, 1)),
          names_(before_->listeners, before_->listeners),
          names_after_(after_->listeners, before_->listeners) {
        peak_ = options.peak_rate > 0 ? options.peak_rate : recording::peak_rate(recording);
        choose(recording);
        name_listeners();
        size_servers();
    }

    [[nodiscard]] double peak() const { return peak_; }
    [[nodiscard]] const snapshot::Snapshot& before() const { return *before_; }
    [[nodiscard]] const snapshot::Snapshot& after() const { return *after_; }
    [[nodiscard]] check::Way way_before(const recording::Record& record) const {
        return check::way_of(*before_, record, names_(record.listener));
    }
    [[nodiscard]] check::Way way_after(const recording::Record& record) const {
        return check::way_of(*after_, record, names_after_(record.listener));
    }
    /// One case while these are out of rotation.
    [[nodiscard]] Shown run(const Case& what, const Out& out) const;

private:
    void choose(const recording::Recording& recording);
    void name_listeners();
    void size_servers();
    void count_work(bool after, std::map<config::Address, Duration>& mean) const;

    const ReplayOptions& options_;
    snapshot::Identities identities_;
    std::shared_ptr<recording::Recording> recording_;  ///< the busiest stretch; listeners by their names before
    std::shared_ptr<recording::Recording> renamed_;    ///< the same by their names after; shared when none differs
    Snapshot before_, after_;
    check::ListenerNames names_, names_after_;
    double peak_ = 0, speed_ = 1;
    Duration span_{}, span_under_fault_{};
    std::map<config::Address, EndpointModel> now_models_, after_models_;
};

/// The densest stretch of as many records as a case may have, at a speed that makes its mean rate the peak.
void Replay::choose(const recording::Recording& recording) {
    const auto& records = recording.records;
    if (records.empty() || !(peak_ > 0)) return;
    const double wanted = std::clamp(peak_ * seconds(options_.longest), 1.0,
                                     static_cast<double>(std::max<std::size_t>(options_.most_requests, 1)));
    span_ = from_seconds(wanted / peak_);
    span_under_fault_ = std::min(span_, from_seconds(static_cast<double>(options_.most_under_fault) / peak_));
    const std::size_t n = std::min(records.size(), static_cast<std::size_t>(wanted));
    std::size_t first = 0;
    for (std::size_t i = 0; i + n <= records.size(); ++i) {
        const auto length = [&](std::size_t k) { return records[k + n - 1].at - records[k].at; };
        if (length(i) < length(first)) first = i;
    }
    const auto begin = records.begin() + static_cast<std::ptrdiff_t>(first);
    recording_->records.assign(begin, begin + static_cast<std::ptrdiff_t>(n));
    // a lap of the source is one mean gap longer than its records (and never shorter than 1 us): see Source
    const double length = seconds(recording_->span() - recording_->records.front().at);
    const double lap =
        std::max(length * static_cast<double>(n) / static_cast<double>(std::max<std::size_t>(n - 1, 1)), 1e-6);
    speed_ = peak_ * lap / static_cast<double>(n);
}

void Replay::name_listeners() {
    bool differs = false;
    for (recording::Record& record : recording_->records) {
        differs |= names_(record.listener) != names_after_(record.listener);
    }
    renamed_ = differs ? std::make_shared<recording::Recording>(*recording_) : recording_;
    if (differs) {
        for (recording::Record& record : renamed_->records) record.listener = names_after_(record.listener);
    }
    for (recording::Record& record : recording_->records) record.listener = names_(record.listener);
}

/// Mean recorded work of the requests that reach each server under this revision.
void Replay::count_work(bool after, std::map<config::Address, Duration>& mean) const {
    const snapshot::Snapshot& snapshot = after ? *after_ : *before_;
    std::vector<std::pair<double, double>> of_pool(snapshot.pools.size());
    for (const recording::Record& record : (after ? renamed_ : recording_)->records) {
        if (record.service <= Duration::zero()) continue;
        const check::Way way = check::way_of(snapshot, record, record.listener);
        if (way.route == nullptr) continue;
        snapshot::each_target(*way.route, [&](const snapshot::Target& target, double part) {
            auto& [sum, count] = of_pool[target.pool.value];
            sum += part * seconds(record.service);
            count += part;
        });
    }
    for (std::size_t p = 0; p < snapshot.pools.size(); ++p) {
        const auto [sum, count] = of_pool[p];
        const Duration service = count <= 0 ? options_.service : from_seconds(sum / count);
        for (const snapshot::Endpoint& endpoint : snapshot.pools[p].endpoints)
            mean.try_emplace(endpoint.address, service);
    }
}

/// A server carries what it is declared to carry of the requests it gets today; what the change sends to it may weigh
/// more or less.
void Replay::size_servers() {
    std::map<config::Address, Duration> mean;
    count_work(false, mean);
    count_work(true, mean);
    const auto model = [&](const snapshot::Endpoint& endpoint) {
        return sized(endpoint.capacity, mean.at(endpoint.address), options_.sigma);
    };
    for (const auto& pool : before_->pools) {
        for (const auto& endpoint : pool.endpoints) now_models_.try_emplace(endpoint.address, model(endpoint));
    }
    for (const auto& pool : after_->pools) {
        for (const auto& endpoint : pool.endpoints) {
            const auto known = now_models_.find(endpoint.address);
            const bool undeclared = endpoint.capacity <= 0 && known != now_models_.end();
            after_models_.try_emplace(endpoint.address, undeclared ? known->second : model(endpoint));
        }
    }
}

Shown Replay::run(const Case& what, const Out& out) const {
    if (options_.between) options_.between();
    World world({.seed = options_.seed, .workers = 1, .warm = true, .model = {}});
    world.identities() = identities_;
    for (const auto& [address, model] : what.after ? after_models_ : now_models_) {
        world.set_model(address, what.unlimited ? sized(0, model.service, model.sigma) : model);
    }
    snapshot::Resident resident;
    resident.active = before_;
    world.install(resident);
    for (const check::OutOfRotation& gone : out) {
        world.fault(gone.address, Refuse{});
        for (const snapshot::Pool& pool : before_->pools) {
            if (pool.name != gone.pool) continue;
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                if (endpoint.address == gone.address) world.set_health(endpoint.id, balance::Health::down);
            }
        }
    }
    if (what.after) {
        resident.active = after_;
        world.install(resident);
    }
    const Duration span = what.victim ? span_under_fault_ : span_;
    const Instant end = Instant{} + span;
    if (what.victim) world.fault_at(Instant{} + span / 5, *what.victim, what.fault);
    world.add_traffic(Replayed{.recording = what.after ? renamed_ : recording_,
                               .first = 0,
                               .last = recording_->records.size(),
                               .speed = speed_ * what.rate,
                               .from = {},
                               .to = end});
    world.run_until(end + std::chrono::seconds(30));  // what is under way may end
    const measure::Tally tally = world.take_tally();
    const measure::RouteTally all = tally.arms[0].all_routes();
    Shown shown{all.requests, all.failed, all.no_endpoint, all.total, {}};
    shown.picks.resize(identities_.endpoints());
    for (const auto& [id, endpoint] : tally.arms[0].endpoints) shown.picks[id] = endpoint.picks;
    return shown;
}

/// The server that most depends on: the busiest endpoint of the revision, by what a case showed.
std::optional<snapshot::Endpoint> busiest(const snapshot::Snapshot& snapshot, const Shown& shown) {
    std::optional<snapshot::Endpoint> most;
    for (const snapshot::Pool& pool : snapshot.pools) {
        for (const snapshot::Endpoint& endpoint : pool.endpoints) {
            const std::uint64_t picks = shown.picks[endpoint.id.value];
            if (picks > 0 && (!most || picks > shown.picks[most->id.value])) most = endpoint;
        }
    }
    return most;
}

void fill_endpoints(check::LoadForecast& forecast, const Replay& replay, const Shown& now, const Shown& after,
                    const Out& out) {
    std::map<EndpointId, std::size_t> place;
    const auto entry = [&](const snapshot::Pool& pool, const snapshot::Endpoint& endpoint) -> check::EndpointForecast& {
        const auto [it, is_new] = place.emplace(endpoint.id, forecast.endpoints.size());
        if (is_new) {
            check::EndpointForecast fresh;
            fresh.pool = pool.name;
            fresh.name = endpoint.name;
            fresh.address = endpoint.address;
            fresh.out = std::ranges::any_of(out, [&](const check::OutOfRotation& gone) {
                return gone.pool == pool.name && gone.address == endpoint.address;
            });
            forecast.endpoints.push_back(std::move(fresh));
        }
        return forecast.endpoints[it->second];
    };
    for (const snapshot::Pool& pool : replay.after().pools) {
        for (const snapshot::Endpoint& endpoint : pool.endpoints) {
            check::EndpointForecast& one = entry(pool, endpoint);
            one.present_after = true;
            one.share_after = {after.fraction(after.picks[endpoint.id.value])};
            one.capacity = endpoint.capacity;
        }
    }
    for (const snapshot::Pool& pool : replay.before().pools) {
        for (const snapshot::Endpoint& endpoint : pool.endpoints) {
            check::EndpointForecast& one = entry(pool, endpoint);
            one.present_now = true;
            one.share_now = {now.fraction(now.picks[endpoint.id.value])};
            one.capacity_now = endpoint.capacity;
        }
    }
    for (check::EndpointForecast& one : forecast.endpoints) {
        one.rate_now = one.share_now.value * replay.peak();
        one.rate_after = one.share_after.value * replay.peak();
        const bool known = one.capacity > 0 || one.capacity_now > 0;
        one.source = known ? check::CapacitySource::declared : check::CapacitySource::unknown;
    }
}

/// "web", "web and beta" for a split; empty when there is no route, or it answers by itself.
std::string pool_names(const snapshot::Snapshot& in, const snapshot::Route* route) {
    std::string names;
    if (route == nullptr) return names;
    for (const snapshot::Target& target : route->targets) {
        names += (names.empty() ? "" : " and ") + in.pool(target.pool).name;
    }
    return names;
}

/// Which route and pool each recorded request would take, before and after.
void fill_routes(check::Forecast& forecast, const Replay& replay, const recording::Recording& recording) {
    const std::size_t seen = recording.records.size();
    std::uint64_t route = 0, pool = 0, lost = 0, gained = 0;
    std::map<std::pair<std::string, std::string>, std::pair<check::Moved, std::uint64_t>> ways;
    check::UnjudgedCount unjudged;
    for (const recording::Record& record : recording.records) {
        const check::Way was = replay.way_before(record), is = replay.way_after(record);
        unjudged.add(was, is, 1);
        const snapshot::Route* old_route = was.route;
        const snapshot::Route* new_route = is.route;
        const bool both = old_route != nullptr && new_route != nullptr;
        if (old_route == nullptr && new_route == nullptr) continue;
        const bool same_route = both && old_route->id == new_route->id;
        const bool same_pool = both && check::same_pools(*was.in, *old_route, *is.in, *new_route);
        if (same_route && same_pool) continue;
        lost += new_route == nullptr;
        gained += old_route == nullptr;
        route += both && !same_route;
        pool += both && !same_pool;
        auto& [moved, count] =
            ways[{old_route != nullptr ? old_route->name : "", new_route != nullptr ? new_route->name : ""}];
        if (count++ == 0) {
            moved = {record.host,
                     record.path,
                     old_route != nullptr ? old_route->name : "",
                     new_route != nullptr ? new_route->name : "",
                     pool_names(replay.before(), old_route),
                     pool_names(replay.after(), new_route),
                     0};
        }
    }
    if (seen == 0) return;
    const auto fraction = [&](std::uint64_t n) { return static_cast<double>(n) / static_cast<double>(seen); };
    forecast.route_changed = fraction(route);
    forecast.pool_changed = fraction(pool);
    forecast.route_lost = fraction(lost);
    forecast.route_gained = fraction(gained);
    forecast.unjudged = unjudged.out_of(static_cast<double>(seen));
    for (auto& [names, way] : ways) {
        way.first.fraction = fraction(way.second);
        forecast.moved.push_back(std::move(way.first));
    }
    std::ranges::sort(forecast.moved, [](const check::Moved& a, const check::Moved& b) {
        return a.fraction != b.fraction
                   ? a.fraction > b.fraction
                   : std::tie(a.route_before, a.route_after) < std::tie(b.route_before, b.route_after);
    });
    constexpr std::size_t most_moved = 20;  // what a person reads
    if (forecast.moved.size() > most_moved) forecast.moved.resize(most_moved);
}

void fill_faults(check::LoadForecast& forecast, const Replay& replay, const Shown& now, const Shown& after,
                 const Out& out) {
    const Duration limit = forecast.simulated->slow_limit;
    const auto harmed = [&](const Case& what) { return replay.run(what, out).harmed(limit); };
    const auto with_fault = [](bool is_after, const config::Address& victim, const Fault& fault) {
        return Case{.after = is_after, .victim = victim, .fault = fault};
    };
    const auto old_victim = busiest(replay.before(), now);
    const auto new_victim = busiest(replay.after(), after);
    if (old_victim && new_victim) {
        const bool same = old_victim->address == new_victim->address;
        const std::string who =
            same ? new_victim->name
                 : fmt::format("the busiest server ({} now, {} after)", old_victim->name, new_victim->name);
        const std::pair<const char*, Fault> faults[] = {
            {"dies", Refuse{}}, {"hangs", Hang{}}, {"fails fast", Fail{}}, {"is 10 times slower", Slow{10}}};
        for (const auto& [name, fault] : faults) {
            check::FaultForecast one;
            one.fault = fmt::format("{} {}", who, name);
            one.kind = name;
            one.harmed_now = harmed(with_fault(false, old_victim->address, fault));
            one.harmed_after = harmed(with_fault(true, new_victim->address, fault));
            one.share_now = now.fraction(now.picks[old_victim->id.value]);
            one.share_after = after.fraction(after.picks[new_victim->id.value]);
            forecast.faults.push_back(std::move(one));
        }
    }
    constexpr const char* more = "110 % of the recorded peak";
    check::FaultForecast peak;
    peak.fault = peak.kind = more;
    peak.harmed_now = harmed({.rate = 1.1});
    peak.harmed_after = harmed({.after = true, .rate = 1.1});
    forecast.faults.push_back(std::move(peak));
}

/// Both revisions while these are out: shares, service, and what each standard fault would do.
check::LoadForecast load(const Replay& replay, const Out& out, const ReplayOptions& options) {
    check::LoadForecast forecast;
    const Shown now = replay.run({}, out);
    const Shown then = replay.run({.after = true}, out);
    const Shown decided_now = replay.run({.unlimited = true}, out);
    const Shown decided_then = replay.run({.after = true, .unlimited = true}, out);
    fill_endpoints(forecast, replay, decided_now, decided_then, out);
    if (now.requests == 0) return forecast;
    forecast.no_endpoint_now = now.fraction(now.no_endpoint);
    forecast.no_endpoint_after = then.fraction(then.no_endpoint);
    check::Simulated simulated;
    simulated.requests = now.requests;
    simulated.p99_now = now.total.quantile(0.99);
    simulated.p99_after = then.total.quantile(0.99);
    simulated.slow_limit = std::max(options.slow_at_least, 2 * simulated.p99_now);
    simulated.failed_now = now.fraction(now.failed);
    simulated.failed_after = then.fraction(then.failed);
    simulated.slow_now = now.slow(simulated.slow_limit);
    simulated.slow_after = then.slow(simulated.slow_limit);
    forecast.simulated = simulated;
    if (options.faults) fill_faults(forecast, replay, decided_now, decided_then, out);
    return forecast;
}

}  // namespace

check::Forecast replay(const recording::Recording& recording, const config::Config& before, const config::Config& after,
                       const ReplayOptions& options) {
    const Replay replay(recording, before, after, options);
    check::Forecast forecast;
    forecast.method = check::Forecast::Method::replay;
    forecast.requests = recording.records.size();
    forecast.every = recording.every;
    forecast.span = recording.span();
    forecast.peak_rate = replay.peak();
    static_cast<check::LoadForecast&>(forecast) = load(replay, options.out, options);
    if (!forecast.has_data()) return forecast;
    fill_routes(forecast, replay, recording);
    forecast.down = check::down_in(options.out, before, after);
    if (!forecast.down.empty()) forecast.recovered = load(replay, {}, options);
    return forecast;
}

}  // namespace plimsoll::sim
