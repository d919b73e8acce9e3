#include "proxy/worker.h"

#include <algorithm>

#include "proxy/client.h"
#include "proxy/core.h"
#include "proxy/exchange.h"
#include "proxy/line.h"

namespace plimsoll::proxy {
namespace {

using async::Deadline;
using async::Task;

/// Lines wait in memory at most this long.
constexpr Duration log_flush_every = std::chrono::milliseconds(100);

Task<void> flush_later(Worker::Core& core) {
    co_await core.network.sleep_until(core.now() + log_flush_every);
    core.log_flush_due = false;
    core.log.flush();
}

Task<void> cut_at(Worker::Core& core, Deadline deadline) {
    co_await core.network.sleep_until(deadline.at);
    core.cut();
}

Task<void> close_idle_at(Worker::Core& core, Instant at, std::vector<std::shared_ptr<ListenerSlot>> of) {
    co_await core.network.sleep_until(at);
    for (const auto& slot : of) core.close_idle(slot.get());
}

template <class T>
T& grown(std::vector<T>& vector, std::size_t at) {
    if (vector.size() <= at) vector.resize(at + 1);
    return vector[at];
}

/// What was counted since the last time.
measure::Http2Tally take(http::Http2Counts& counts) {
    static_assert(http::http2_floods <= measure::Http2Tally::limits);
    const http::Http2Counts seen = std::exchange(counts, {});
    measure::Http2Tally tally{.streams = seen.streams,
                              .refused = seen.refused,
                              .malformed = seen.malformed,
                              .too_large = seen.too_large,
                              .resets_received = seen.resets_received,
                              .resets_sent = seen.resets_sent,
                              .goaways_received = seen.goaways_received,
                              .goaways_sent = seen.goaways_sent};
    std::ranges::copy(seen.floods, tally.floods.begin());
    return tally;
}

}  // namespace

Worker::Core::Core(net::Network& on, const WorkerSettings& given)
    : network(on),
      settings(given),
      random(given.seed),
      upstreams(on, blocks),
      collected(on.now()),
      log(given.log_sink) {
    if (settings.rates == nullptr) settings.rates = std::make_shared<RateTable>();
    if (settings.shed == nullptr) settings.shed = std::make_shared<ShedCounts>();
    if (settings.ejections == nullptr) settings.ejections = std::make_shared<balance::SharedEjections>();
}

// ---- what control asks for -----------------------------------------------------------------------------------------

std::vector<std::string> Worker::Core::install(snapshot::Resident next, std::shared_ptr<const Prepared> for_active,
                                               std::shared_ptr<const Prepared> for_candidate,
                                               std::shared_ptr<balance::SharedLoads> shared_loads) {
    PLIMSOLL_ENSURE(next.active != nullptr, "a worker without an active revision");
    const RevisionSlot* before = active;
    if (for_active == nullptr) for_active = prepare(next.active);
    RevisionSlot& new_active = revisions.hold(std::move(for_active), before, random);
    RevisionSlot* new_candidate = nullptr;
    if (next.candidate != nullptr) {
        if (for_candidate == nullptr) for_candidate = prepare(next.candidate);
        new_candidate = &revisions.hold(std::move(for_candidate), &new_active, random);
    }
    resident = std::move(next);
    active = &new_active;
    candidate = new_candidate;
    revisions.set_resident(active, candidate);
    ask_of_requests();

    std::vector<bool> served;
    for (const RevisionSlot* slot : {active, candidate}) {
        if (slot == nullptr) continue;
        const snapshot::Snapshot& snapshot = *slot->snapshot;
        endpoints.resize(std::max<std::size_t>(endpoints.size(), snapshot.endpoint_ids));
        budgets.resize(std::max<std::size_t>(budgets.size(), snapshot.pool_ids));
        lines.resize(budgets.size());
        served.resize(endpoints.size());
        for (const snapshot::Pool& pool : snapshot.pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) served[endpoint.id.value] = true;
        }
    }
    settings.ejections->reserve(endpoints.size(), budgets.size());
    upstreams.serve(std::move(served));
    share(std::move(shared_loads));
    call_all_waiting();  // limits may have grown
    std::vector<std::string> failures;
    open_listeners(failures);
    if (std::string failure = log.open(active->snapshot->access_log, active->snapshot->access_log_format);
        !failure.empty()) {
        failures.push_back(std::move(failure));
    }
    if (candidate != nullptr && candidate->snapshot->access_log != active->snapshot->access_log) {
        if (std::string failure = AccessLog::try_open(candidate->snapshot->access_log); !failure.empty())
            failures.push_back(std::move(failure));  // known before it is let in, not after
    }
    return failures;
}

/// A configuration without conditions on headers or query costs its requests nothing here.
void Worker::Core::ask_of_requests() {
    if (!settings.record) return;
    std::vector<const snapshot::Snapshot*> resident_ones{active->snapshot.get()};
    if (candidate != nullptr) resident_ones.push_back(candidate->snapshot.get());
    questions = snapshot::Questions(resident_ones);
}

void Worker::Core::open_listeners(std::vector<std::string>& failures) {
    if (draining) return;
    struct Wanted {
        const config::Listener* listener;
        const RevisionSlot* of;
        std::size_t index;
    };
    std::vector<Wanted> wanted;
    const auto at = [&](const config::Address& address) {
        return std::ranges::find_if(wanted, [&](const Wanted& each) { return each.listener->address == address; });
    };
    const auto want = [&](const RevisionSlot& of) {
        const auto& all = of.snapshot->listeners;
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (at(all[i].address) == wanted.end()) wanted.push_back({&all[i], &of, i});
        }
    };
    want(*active);
    if (candidate != nullptr && !resident.shadow) want(*candidate);
    const auto take_over = [](ListenerSlot& slot, const Wanted& from) {
        slot.settings = *from.listener;
        slot.prepared = from.of->prepared;
        slot.index = from.index;
        slot.name = *slot.names.insert(slot.settings.name).first;
    };
    std::vector<std::shared_ptr<ListenerSlot>> kept;
    for (const std::shared_ptr<ListenerSlot>& slot : listeners) {
        const auto found = at(slot->settings.address);
        if (found == wanted.end()) {
            close_listener(*slot);
            continue;
        }
        take_over(*slot, *found);
        wanted.erase(found);
        kept.push_back(slot);
    }
    listeners = std::move(kept);
    for (const Wanted& each : wanted) {
        const config::Listener& listener = *each.listener;
        if (listener.tls && each.of->prepared->listeners[each.index].tls == nullptr) {
            failures.push_back("listener " + listener.name + ": its certificates are not loaded");
            continue;
        }
        const auto address = net::Address::ip(listener.address.host, listener.address.port);
        auto opened =
            address ? network.listen(*address, {.reuse_port = settings.workers > 1}) : std::unexpected(address.error());
        if (!opened) {
            failures.push_back("listener " + listener.name + ": " + opened.error().detail);
            continue;
        }
        auto slot = std::make_shared<ListenerSlot>();
        take_over(*slot, each);
        slot->listener = std::move(*opened);
        listeners.push_back(slot);
        scope.spawn(accept_from(*this, slot));
    }
}

/// Those who got through the handshake are served; those who are between two requests are not kept.
void Worker::Core::close_listener(ListenerSlot& slot, bool idle_too) {
    slot.closing = true;
    clients.each([&slot, idle_too](Client& client) {
        if (client.slot.get() == &slot && (idle_too || client.speaks_http2())) client.end_when_idle();
    });
    const auto self = std::ranges::find_if(listeners, [&](const auto& each) { return each.get() == &slot; });
    while (std::unique_ptr<net::Stream> stream = slot.listener->try_accept()) {
        ++tally.connections_accepted;
        scope.spawn(serve(*this, *self, std::move(stream)));
    }
    accept_pauses += slot.listener->accept_pauses();
    slot.listener->close();
}

void Worker::Core::close_idle(const ListenerSlot* of) {
    clients.each([of](Client& client) {
        if (client.slot.get() == of) client.end_when_idle();
    });
}

void Worker::Core::cut() {
    cutting = true;
    exchanges.each([](Exchange& exchange) { exchange.cut(); });
    clients.each([](Client& client) {
        if (client.stream != nullptr) client.stream->abort();  // null within a handshake, which has its own deadline
    });
}

std::uint32_t Worker::Core::connection_limit(const ListenerSlot& slot) const {
    const std::uint32_t parts = std::max(settings.workers, 1u);
    return std::max(1u, (slot.settings.limits.max_connections + parts - 1) / parts);
}

Report Worker::Core::collect() {
    exchanges.each([this](const Exchange& exchange) {
        const Outcome& outcome = exchange.outcome();
        if (outcome.tunnel) ++tally.tunnels;
        measure::ArmTally& arm = tally.arms[static_cast<std::size_t>(outcome.arm)];
        if (const EndpointId at = exchange.at_endpoint(); at != none<EndpointId>) {
            ++endpoint_tally(outcome.arm, at).in_flight;
        }
        if (exchange.answered() || outcome.route == none<RouteId>) return;
        arm.routes[outcome.route.value].waiting.add(now() - outcome.started);
    });
    for (const Line& line : lines) tally.queue_waiting += line.line.waiting();
    for (const auto& [at, count] : tcp_tunnels) {
        tally.tunnels += count;
        endpoint_tally(at.first, at.second).in_flight += count;
    }
    call_all_waiting();
    tally.mirrors = mirrors;
    tally.http2_clients = take(http2_counts);
    tally.http2_upstream = take(upstreams.http2_counts);
    Report report;
    report.worker = settings.index;
    tally.from = std::exchange(collected, now());
    tally.to = now();
    tally.log_dropped += log.take_dropped();
    report.tally = std::exchange(tally, measure::Tally{});
    report.records = std::exchange(records, {});
    report.spans = std::exchange(spans, {});
    for (auto& slot : revisions.take_retired()) report.retired.push_back(std::move(slot));
    report.connections = connections;
    report.idle_upstream = upstreams.idle();
    report.accept_pauses = accept_pauses;
    for (const auto& slot : listeners) report.accept_pauses += slot->listener->accept_pauses();
    return report;
}

// ---- for requests --------------------------------------------------------------------------------------------------

measure::EndpointTally& Worker::Core::endpoint_tally(Arm arm, EndpointId id) {
    return tally.arms[static_cast<std::size_t>(arm)].endpoints[id.value];
}

void Worker::Core::observe(const Outcome& outcome, const Served& served) {
    measure::fold(tally, outcome);
    const bool recorded = settings.record && records.size() < max_recorded;
    if (settings.record && !recorded) ++tally.recording_dropped;
    const bool sampled = outcome.trace.sampled && spans.size() < max_spans;
    if (outcome.trace.sampled && !sampled) ++tally.spans_dropped;
    if (!recorded && !log.on() && !sampled) return;
    const Timestamp started = network.wall() + (outcome.started - now());
    if (sampled) spans.push_back(request_span(outcome, started, served));
    if (log.on()) {
        log.add(outcome, started, served);
        if (!std::exchange(log_flush_due, true)) scope.spawn(flush_later(*this));
    }
    if (!recorded) return;
    recording::Record& record = records.emplace_back(Recorded{started, {}}).record;
    record.client_key = outcome.client_key;
    record.host = outcome.host.substr(0, recording::max_string_bytes);
    record.path = outcome.path.substr(0, recording::max_string_bytes);
    record.method = outcome.method.substr(0, recording::max_string_bytes);
    record.endpoint = served.endpoint_text(outcome.endpoint());
    record.request_head_bytes = outcome.request_head_bytes;
    record.response_head_bytes = outcome.response_head_bytes;
    record.request_body_bytes = outcome.request_body_bytes;
    record.response_body_bytes = outcome.response_body_bytes;
    record.status = outcome.status;
    record.attempts = outcome.attempt_count;
    record.cause = outcome.cause;
    if (outcome.attempt_count > 0) record.service = outcome.attempts().back().first_byte;
    record.total = outcome.total;
    record.listener = outcome.listener;
    if (served.answers != nullptr) record.answers = *served.answers;
}

void Worker::Core::observe(const Attempt& attempt, const balance::PoolFacts& pool) {
    (void)settings.ejections->observe(pool, endpoints, attempt, now());
}

void Worker::Core::heed_retry_after(EndpointId endpoint, const balance::PoolFacts& pool, const http::Fields& fields) {
    const auto after = balance::retry_after(fields.get(http::Known::retry_after), network.wall());
    if (after) (void)settings.ejections->hold_back(pool, endpoints, endpoint, 503, *after, now());
}

/// From now on counts are kept in `wanted`; what this worker has under way moves along.
void Worker::Core::share(std::shared_ptr<balance::SharedLoads> wanted) {
    if (wanted == loads) return;
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
        const EndpointId id{static_cast<std::uint32_t>(i)};
        const std::uint32_t here = endpoints[i].in_flight;
        if (here == 0) continue;
        if (loads != nullptr && i < loads->size()) loads->remove(id, here);
        if (wanted != nullptr && i < wanted->size()) wanted->add(id, here);
    }
    loads = std::move(wanted);
}

std::uint32_t Worker::Core::arrive(EndpointId endpoint) {
    const std::uint32_t here = endpoints[endpoint.value].in_flight++;
    if (loads == nullptr || endpoint.value >= loads->size()) return here;
    const std::uint32_t all = loads->view()[endpoint.value].load(std::memory_order_relaxed);
    loads->add(endpoint);
    return all;
}

void Worker::Core::leave(EndpointId endpoint) {
    --endpoints[endpoint.value].in_flight;
    if (loads != nullptr && endpoint.value < loads->size()) loads->remove(endpoint);
}

void Worker::Core::left(PoolId pool, const balance::LineFacts& facts) {
    lines[pool.value].line.leave();
    call_waiting(pool, facts);
}

void Worker::Core::call_all_waiting() {
    if (active == nullptr) return;  // nothing is served yet
    for (const snapshot::Pool& pool : active->snapshot->pools)
        if (pool.limits.queue > 0) call_waiting(pool.id, line_facts(pool));
}

void Worker::Core::call_waiting(PoolId pool, const balance::LineFacts& facts) {
    Line& line = lines[pool.value];
    while (!line.waiting.empty()) {
        const auto ticket = line.line.call(facts, now());
        if (!ticket) return;
        const auto who = line.waiting.find(ticket->number);
        if (who != line.waiting.end()) (void)who->second->wake_one();
    }
}

void Worker::Core::shadow(const snapshot::RequestView& request, const snapshot::Route* active_route,
                          const snapshot::Pool* active_pool) {
    measure::ShadowTally& shadow = tally.shadow;
    const snapshot::Snapshot& snapshot = *candidate->snapshot;
    ++shadow.decisions;
    if (active_route == nullptr) ++shadow.active_no_route;
    const auto index = snapshot.match(request);
    if (!index) {
        ++shadow.no_route;
        return;
    }
    const snapshot::Route& route = snapshot.route(*index);
    if (active_route != nullptr && active_route->id != route.id) ++shadow.route_changed;
    const snapshot::Target* target = snapshot::choose_target(route, random.uniform());
    if (target == nullptr) return;  // it answers by itself
    const snapshot::Pool& pool = snapshot.pool(target->pool);
    if (active_pool != nullptr && active_pool->id != pool.id) ++shadow.pool_changed;
    adopt_ejections();
    const auto pick = balance::pick(pool.facts, endpoints, candidate->cursors[target->pool.value], {}, now(), random,
                                    {.subset = target->subset.get(), .shared = shared()});
    if (!pick) {
        ++shadow.no_endpoint;
        return;
    }
    ++shadow.picks[pool.facts.members[pick->index.value].id.value];
}

// ---- the border ----------------------------------------------------------------------------------------------------

Worker::Worker(net::Network& network, const WorkerSettings& settings)
    : core_(std::make_unique<Core>(network, settings)) {}
Worker::~Worker() { core_->scope.cancel(); }

std::vector<std::string> Worker::install(snapshot::Resident resident, std::shared_ptr<const Prepared> active,
                                         std::shared_ptr<const Prepared> candidate,
                                         std::shared_ptr<balance::SharedLoads> loads) {
    return core_->install(std::move(resident), std::move(active), std::move(candidate), std::move(loads));
}
void Worker::set_health(EndpointId endpoint, balance::Health health, balance::Entry entry) {
    balance::set_health(grown(core_->endpoints, endpoint.value), health, core_->now(), entry);
}
void Worker::shed(bool on) { core_->shed(on); }
std::uint64_t Worker::relieve(std::uint64_t bytes, bool sockets) { return core_->relieve(bytes, sockets); }
Report Worker::collect() { return core_->collect(); }

void Worker::drain(async::Deadline deadline, Duration idle_grace) {
    core_->draining = true;
    std::vector<std::shared_ptr<ListenerSlot>> ended = core_->listeners;
    for (const auto& slot : ended) core_->close_listener(*slot, idle_grace == Duration{});
    core_->listeners.clear();
    if (idle_grace > Duration{}) {
        core_->scope.spawn(close_idle_at(*core_, std::min(core_->now() + idle_grace, deadline.at), std::move(ended)));
    } else {
        core_->upstreams.serve({});
    }
    if (deadline.at != never) core_->scope.spawn(cut_at(*core_, deadline));
}
bool Worker::drained() const { return core_->draining && core_->connections == 0; }

Instant Worker::last_started(RevisionNumber revision) const { return core_->revisions.last_started(revision); }
std::size_t Worker::pinned(RevisionNumber revision) const { return core_->revisions.pinned(revision); }
std::size_t Worker::revisions_held() const { return core_->revisions.size(); }
balance::EndpointState Worker::endpoint_state(EndpointId endpoint) const {
    return endpoint.value < core_->endpoints.size() ? core_->endpoints[endpoint.value] : balance::EndpointState{};
}
std::vector<net::Address> Worker::listening() const {
    std::vector<net::Address> addresses;
    for (const auto& slot : core_->listeners) addresses.push_back(slot->listener->address());
    return addresses;
}
std::string Worker::reopen_log() { return core_->log.reopen(); }

}  // namespace plimsoll::proxy
