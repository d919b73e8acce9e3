// Time and requests; servers and probes are in servers.cpp.
#include "sim/world.h"

#include <algorithm>
#include <functional>

#include "check/recorded.h"

namespace plimsoll::sim {
namespace {

/// What a client is told when nothing better came: docs/formats/access-log.md.
std::uint16_t status_for(Cause cause) {
    switch (cause) {
        case Cause::no_route: return 404;
        case Cause::no_endpoint:
        case Cause::limited: return 503;
        case Cause::total_timeout:
        case Cause::connect_timeout:
        case Cause::try_timeout: return 504;
        default: return 502;
    }
}

bool is_connect(Cause cause) {
    return cause == Cause::connect_refused || cause == Cause::connect_failed || cause == Cause::connect_timeout;
}

bool is_idempotent(std::string_view method) { return method != "POST" && method != "PATCH"; }

/// What a route that has no pool answers.
std::uint16_t own_status(const snapshot::Route& route) {
    if (route.actions->redirect) return route.actions->redirect->status;
    return route.actions->respond ? route.actions->respond->status : std::uint16_t{404};
}

}  // namespace

World::World(WorldOptions options) : options_(options), random_(options.seed) {
    for (std::uint32_t i = 0; i < std::max(options_.workers, 1u); ++i) {
        workers_.push_back({{}, {}, 0, {}, random_.split()});
    }
}

std::shared_ptr<const snapshot::Snapshot> World::compile(const config::Config& config, RevisionNumber number) {
    return snapshot::compile(config, number, identities_, static_cast<std::uint32_t>(workers_.size()));
}

void World::add_traffic(Traffic traffic) { sources_.emplace_back(std::move(traffic), random_.split()); }

void World::schedule(Instant at, What what, std::uint32_t index, std::uint32_t generation) {
    events_.push_back({at, sequence_++, what, index, generation});
    std::ranges::push_heap(events_, std::greater<>{});
}

World::Deadlines* World::earliest_deadline() {
    Deadlines* first = nullptr;
    for (Deadlines& list : deadlines_) {
        while (!list.due.empty() &&
               requests_in_flight_[list.due.front().request].generation != list.due.front().generation) {
            list.due.pop_front();  // answered in time
        }
        if (!list.due.empty() && (first == nullptr || list.due.front().at < first->due.front().at)) first = &list;
    }
    return first;
}

void World::run_until(Instant until) {
    while (true) {
        const Instant timer = events_.empty() ? never : events_.front().at;
        Deadlines* list = earliest_deadline();
        const Instant deadline = list != nullptr ? list->due.front().at : never;
        Source* source = nullptr;
        for (Source& one : sources_) {
            if (one.next().at < (source != nullptr ? source->next().at : never)) source = &one;
        }
        const Instant arrival = source != nullptr ? source->next().at : never;
        const Instant at = std::min({timer, deadline, arrival});
        if (at > until || at == never) break;
        now_ = std::max(now_, at);
        if (timer == at) {
            std::ranges::pop_heap(events_, std::greater<>{});
            const Event event = events_.back();
            events_.pop_back();
            handle(event);
        } else if (deadline == at) {
            const std::uint32_t slot = list->due.front().request;
            list->due.pop_front();
            deadline_passed(slot);
        } else {
            const Arrival arriving = source->next();
            source->advance();
            arrive(arriving);
        }
    }
    now_ = std::max(now_, until);
}

void World::handle(const Event& event) {
    switch (event.what) {
        case What::work_done: return work_done(event.index);
        case What::fault: return apply(faults_[event.index]);
        case What::probe_due: return probe_now(event.index);
        case What::probe_late:
            if (probes_[event.index].generation == event.generation) probe_answered(event.index, false);
            return;
        case What::deadline:
            if (requests_in_flight_[event.index].generation == event.generation) deadline_passed(event.index);
            return;
    }
}

std::uint32_t World::take_slot() {
    if (free_requests_.empty()) {
        requests_in_flight_.emplace_back();
        return static_cast<std::uint32_t>(requests_in_flight_.size() - 1);
    }
    const std::uint32_t slot = free_requests_.back();
    free_requests_.pop_back();
    return slot;
}

void World::arrive(const Arrival& arrival) {
    ++requests_;
    const std::uint32_t slot = take_slot();
    Request& request = requests_in_flight_[slot];
    request.live = true;
    request.tried = {};
    request.service = arrival.service;
    request.size = arrival.size;
    Outcome& outcome = request.outcome;
    outcome = Outcome{};
    outcome.started = now_;
    outcome.method = arrival.method;
    outcome.host = arrival.host;
    outcome.path = arrival.path;
    outcome.client_key = arrival.client;
    outcome.affinity_key = arrival.key;
    if (workers_.size() > 1) outcome.worker = {static_cast<std::uint16_t>(random_.below(workers_.size()))};
    if (!resident_.active) return finish(slot, Cause::no_route, 0);
    outcome.arm = snapshot::choose_arm(resident_, arrival.key, now_);
    const snapshot::Snapshot& serving = outcome.arm == Arm::active ? *resident_.active : *resident_.candidate;
    outcome.revision = serving.revision;
    Worker& worker = workers_[outcome.worker.value];
    outcome.listener = arrival.listener.empty() ? check::usual_listener(serving.listeners) : arrival.listener;
    request.answers = arrival.answers;
    const auto matched = match(serving, request);
    const snapshot::Target* target = nullptr;
    request.pool = nullptr;
    if (matched) {
        const snapshot::Route& route = serving.route(*matched);
        outcome.route = route.id;
        target = snapshot::choose_target(route, route.targets.size() > 1 ? worker.random.uniform() : 0);
    }
    if (target != nullptr) {
        request.serving = &serving;
        request.place = target->pool;
        request.pool = &serving.pool(target->pool);
        outcome.pool = request.pool->id;
        balance::on_request(worker.budgets[outcome.pool.value], request.pool->retry, now_);
        send(slot);
    }
    if (resident_.shadow && resident_.candidate && outcome.arm == Arm::active) {
        shadow(requests_in_flight_[slot], worker);
    }
    if (target != nullptr) return;
    if (!matched) return finish(slot, Cause::no_route, 0);
    finish(slot, Cause::none, own_status(serving.route(*matched)));
}

/// By what is known of it: all of a request that the world made, the answers to conditions of one that was recorded.
std::optional<RouteIndex> World::match(const snapshot::Snapshot& in, const Request& request) {
    const Outcome& outcome = request.outcome;
    snapshot::RequestView view;
    view.listener = outcome.listener;
    view.host = outcome.host;
    view.path = outcome.path;
    view.method = outcome.method;
    if (request.answers == nullptr) return in.match(view);
    snapshot::Remembered known = check::remembered(*request.answers);
    view.remembered = &known;
    return in.match(view);
}

void World::shadow(const Request& request, Worker& worker) {
    measure::ShadowTally& counted = tally_.shadow;
    ++counted.decisions;
    const Outcome& outcome = request.outcome;
    counted.active_no_route += outcome.route == none<RouteId>;
    if (outcome.attempt_count > 0) ++counted.active_picks[outcome.attempt[0].endpoint.value];
    const snapshot::Snapshot& candidate = *resident_.candidate;
    const auto matched = match(candidate, request);
    if (!matched) {
        ++counted.no_route;
        return;
    }
    const snapshot::Route& route = candidate.route(*matched);
    counted.route_changed += outcome.route != none<RouteId> && outcome.route != route.id;
    const snapshot::Target* target =
        snapshot::choose_target(route, route.targets.size() > 1 ? worker.random.uniform() : 0);
    if (target == nullptr) {
        counted.pool_changed += request.pool != nullptr;
        return;
    }
    const snapshot::Pool& pool = candidate.pool(target->pool);
    counted.pool_changed += request.pool != nullptr && outcome.pool != pool.id;
    balance::Cursor& cursor = worker.cursors[static_cast<std::size_t>(Arm::candidate)][target->pool.value];
    const auto chosen = choose(pool, cursor, {}, worker, outcome.affinity_key);
    if (!chosen) {
        ++counted.no_endpoint;
        return;
    }
    ++counted.picks[pool.facts.members[chosen->index.value].id.value];
}

std::optional<balance::Pick> World::choose(const snapshot::Pool& pool, balance::Cursor& cursor,
                                           const balance::Tried& tried, Worker& worker, std::uint64_t key) {
    ejections_->adopt(worker.states, worker.ejections_seen, now_);
    return balance::pick(pool.facts, worker.states, cursor, tried, now_, worker.random, {key, nullptr, shared_.view()});
}

void World::send(std::uint32_t slot) {
    Request& request = requests_in_flight_[slot];
    Outcome& outcome = request.outcome;
    Worker& worker = workers_[outcome.worker.value];
    // A request stays on the revision it started on, whatever was installed meanwhile; a cursor that has left is missed
    // by nobody.
    const auto& installed = outcome.arm == Arm::active ? resident_.active : resident_.candidate;
    balance::Cursor spare;
    balance::Cursor& cursor = installed.get() == request.serving
                                  ? worker.cursors[static_cast<std::size_t>(outcome.arm)][request.place.value]
                                  : spare;
    const auto chosen = choose(*request.pool, cursor, request.tried, worker, outcome.affinity_key);
    if (!chosen) {
        if (outcome.attempt_count == 0) return finish(slot, Cause::no_endpoint, 0);
        const Attempt& last = outcome.attempt[outcome.attempt_count - 1u];
        return finish(slot, last.cause, last.status);
    }
    const EndpointId id = request.pool->facts.members[chosen->index.value].id;
    request.tried.add(chosen->index);
    Attempt& attempt = outcome.attempt[outcome.attempt_count++];
    attempt = Attempt{};
    attempt.endpoint = id;
    request.others = shared_.size() > 0 ? shared_.view()[id.value].load() : worker.states[id.value].in_flight;
    ++worker.states[id.value].in_flight;
    shared_.add(id);
    if (chosen->panic) {
        ++tally_.arms[static_cast<std::size_t>(outcome.arm)].endpoints[id.value].panic_picks;
    }
    request.attempt_started = now_;
    give_deadline(slot, outcome.attempt_count == 1);
    submit(backend_of_endpoint_[id.value], {slot, request.generation, request.size, request.service, false});
}

void World::give_deadline(std::uint32_t slot, bool first) {
    Request& request = requests_in_flight_[slot];
    const config::Timeouts& timeouts = request.pool->timeouts;
    if (!first) {
        request.deadline = std::min(now_ + timeouts.per_try, request.outcome.started + timeouts.total);
        return schedule(request.deadline, What::deadline, slot, request.generation);
    }
    const Duration span = std::min(timeouts.per_try, timeouts.total);
    request.deadline = now_ + span;
    auto list = std::ranges::find(deadlines_, span, &Deadlines::span);
    if (list == deadlines_.end()) list = deadlines_.insert(deadlines_.end(), Deadlines{span, {}});
    list->due.push_back({request.deadline, slot, request.generation});
}

void World::deadline_passed(std::uint32_t slot) {
    const Request& request = requests_in_flight_[slot];
    const bool over = now_ >= request.outcome.started + request.pool->timeouts.total;
    end_attempt(slot, over ? Cause::total_timeout : Cause::try_timeout, 0);
}

void World::end_attempt(std::uint32_t slot, Cause cause, std::uint16_t status) {
    Request& request = requests_in_flight_[slot];
    Outcome& outcome = request.outcome;
    Worker& worker = workers_[outcome.worker.value];
    Attempt& attempt = outcome.attempt[outcome.attempt_count - 1u];
    attempt.cause = cause;
    attempt.status = status;
    if (status != 0) attempt.first_byte = now_ - request.attempt_started;
    ++request.generation;
    balance::EndpointState& state = worker.states[attempt.endpoint.value];
    if (state.in_flight > 0) {
        --state.in_flight;
        shared_.remove(attempt.endpoint);
    }
    judge(request, attempt);
    const bool failed = cause != Cause::none || status >= 500;
    if (failed && try_again(slot, attempt)) return send(slot);
    finish(slot, cause, status);
}

/// What the worker learns from an attempt that has ended.
void World::judge(const Request& request, const Attempt& attempt) {
    Worker& worker = workers_[request.outcome.worker.value];
    const balance::PoolFacts& pool = request.pool->facts;
    for (const EndpointId id : ejections_->observe(pool, worker.states, attempt, now_)) {
        if (observer_.ejected) observer_.ejected(id, now_);
    }
    balance::learn(worker.states[attempt.endpoint.value], pool, attempt, now_ - request.attempt_started, request.others,
                   now_);
}

bool World::try_again(std::uint32_t slot, const Attempt& failed) {
    const Request& request = requests_in_flight_[slot];
    const Outcome& outcome = request.outcome;
    if (now_ >= outcome.started + request.pool->timeouts.total) return false;
    balance::RetryBudget& budget = workers_[outcome.worker.value].budgets[outcome.pool.value];
    return balance::may_retry(budget, request.pool->retry, failed, outcome.attempt_count, is_idempotent(outcome.method),
                              !is_connect(failed.cause), true, now_);
}

void World::finish(std::uint32_t slot, Cause cause, std::uint16_t status) {
    Request& request = requests_in_flight_[slot];
    Outcome& outcome = request.outcome;
    outcome.cause = cause;
    outcome.status = cause == Cause::none ? status : status_for(cause);
    outcome.total = now_ - outcome.started;
    outcome.first_byte = outcome.total;
    ++request.generation;
    request.live = false;
    measure::fold(tally_, outcome);
    if (observer_.outcome) observer_.outcome(outcome);
    free_requests_.push_back(slot);
}

measure::Tally World::take_tally() {
    for (const Request& request : requests_in_flight_) {
        if (!request.live) continue;
        const Outcome& outcome = request.outcome;
        measure::ArmTally& arm = tally_.arms[static_cast<std::size_t>(outcome.arm)];
        arm.route(outcome.route).waiting.add(now_ - outcome.started);
        if (outcome.attempt_count > 0) ++arm.endpoints[outcome.endpoint().value].in_flight;
    }
    tally_.to = now_;
    measure::Tally taken = std::move(tally_);
    tally_ = {};
    tally_.from = now_;
    return taken;
}

bool World::ejected_anywhere(EndpointId id) const {
    return std::ranges::any_of(workers_,
                               [&](const Worker& worker) { return worker.states[id.value].ejected_until > now_; });
}

}  // namespace plimsoll::sim
