// Revisions coming in, servers, probes: the other half of World.
#include <algorithm>

#include "sim/world.h"

namespace plimsoll::sim {
namespace {

using namespace std::chrono_literals;

constexpr Duration refusal = 100us;     ///< how soon a refusal or a full queue is known
constexpr Duration fast_failure = 2ms;  ///< how soon a server that fails fast answers
constexpr Duration probe_work = 1ms;    ///< what answering a probe costs a worker

const snapshot::Pool* pool_with(const snapshot::Snapshot* snapshot, PoolId id, std::size_t& place) {
    if (snapshot == nullptr) return nullptr;
    const auto it = std::ranges::find(snapshot->pools, id, &snapshot::Pool::id);
    if (it == snapshot->pools.end()) return nullptr;
    place = static_cast<std::size_t>(it - snapshot->pools.begin());
    return &*it;
}

}  // namespace

void World::install(snapshot::Resident resident) {
    const snapshot::Resident old = std::move(resident_);
    resident_ = std::move(resident);
    const bool first = kept_.empty();
    for (const auto& snapshot : {resident_.active, resident_.candidate}) {
        if (snapshot && std::ranges::find(kept_, snapshot) == kept_.end()) kept_.push_back(snapshot);
    }
    for (Worker& worker : workers_) {
        worker.states.resize(identities_.endpoints());
        worker.budgets.resize(identities_.pools());
        const auto before = std::move(worker.cursors);
        for (const Arm arm : {Arm::active, Arm::candidate}) {
            const auto& snapshot = arm == Arm::active ? resident_.active : resident_.candidate;
            auto& cursors = worker.cursors[static_cast<std::size_t>(arm)];
            cursors.clear();
            if (!snapshot) continue;
            if (snapshot == old.candidate || snapshot == old.active) {
                cursors = before[snapshot == old.active ? 0 : 1];
                continue;
            }
            for (const snapshot::Pool& pool : snapshot->pools) {
                std::size_t place = 0;
                const snapshot::Pool* was = pool_with(old.active.get(), pool.id, place);
                cursors.push_back(was != nullptr
                                      ? balance::carry_over(before[0][place], was->facts.members, pool.facts.members)
                                      : balance::fresh_cursor(pool.facts, worker.random));
            }
        }
    }
    ejections_->reserve(identities_.endpoints(), identities_.pools());
    share_loads();
    backend_of_endpoint_.resize(identities_.endpoints(), UINT32_MAX);
    probes_.resize(identities_.endpoints());
    for (const auto& snapshot : {resident_.active, resident_.candidate}) {
        if (!snapshot) continue;
        for (const snapshot::Pool& pool : snapshot->pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                backend_of_endpoint_[endpoint.id.value] = backend_at(endpoint.address);
                if (!first || !options_.warm || !pool.health) continue;
                set_health(endpoint.id, balance::Health::up);
            }
        }
    }
    want_probes();
}

/// Room for the counts of new endpoints; what is in flight moves over.
void World::share_loads() {
    if (!options_.share_loads || shared_.size() == identities_.endpoints()) return;
    shared_ = balance::SharedLoads(identities_.endpoints());
    for (const Worker& worker : workers_) {
        for (std::uint32_t i = 0; i < worker.states.size(); ++i) shared_.add(EndpointId{i}, worker.states[i].in_flight);
    }
}

std::uint32_t World::backend_at(const config::Address& address) {
    const auto next = static_cast<std::uint32_t>(backends_.size());
    const auto [it, is_new] = backend_of_.emplace(address, next);
    if (is_new) backends_.emplace_back(options_.model, random_.split());
    return it->second;
}

void World::set_model(const config::Address& address, EndpointModel model) {
    backends_[backend_at(address)].set_model(model);
}

const Backend* World::backend(const config::Address& address) const {
    const auto it = backend_of_.find(address);
    return it == backend_of_.end() ? nullptr : &backends_[it->second];
}

void World::fault(const config::Address& address, const Fault& what) { apply({backend_at(address), what}); }

void World::fault_at(Instant at, const config::Address& address, Fault what) {
    faults_.push_back({backend_at(address), std::move(what)});
    schedule(at, What::fault, static_cast<std::uint32_t>(faults_.size() - 1));
}

void World::apply(const PlannedFault& planned) {
    Backend& backend = backends_[planned.backend];
    std::deque<Job> lost;
    const std::uint32_t life = backend.life();
    backend.apply(planned.fault, now_, lost);
    if (backend.life() != life) {  // the process died: what it worked on breaks, then what waited
        const std::size_t before = works_.size();
        for (std::size_t i = 0; i < before; ++i) {
            const Work work = works_[i];
            if (!work.live || !work.in_worker || work.backend != planned.backend || work.life != life) continue;
            deliver(work.job, Cause::upstream_reset, 0);
        }
        for (const Job& job : lost) deliver(job, Cause::upstream_reset, 0);
    }
    Job next;
    while (backends_[planned.backend].resume_one(next)) start(planned.backend, next);
}

std::uint32_t World::take_work() {
    if (free_works_.empty()) {
        works_.emplace_back();
        return static_cast<std::uint32_t>(works_.size() - 1);
    }
    const std::uint32_t index = free_works_.back();
    free_works_.pop_back();
    return index;
}

void World::submit(std::uint32_t index, const Job& job) {
    switch (backends_[index].submit(job)) {
        case Backend::Taken::started: return start(index, job);
        case Backend::Taken::queued:
        case Backend::Taken::swallowed: return;
        case Backend::Taken::full: return answer_later(index, job, refusal, Cause::none, 503);
        case Backend::Taken::failed: return answer_later(index, job, fast_failure, Cause::none, 500);
        case Backend::Taken::refused: return answer_later(index, job, refusal, Cause::connect_refused, 0);
    }
}

void World::start(std::uint32_t index, const Job& job) {
    const std::uint32_t work = take_work();
    works_[work] = {job, index, backends_[index].life(), 0, Cause::none, true, true};
    schedule(now_ + backends_[index].work_time(job, now_), What::work_done, work);
}

void World::answer_later(std::uint32_t index, const Job& job, Duration after, Cause cause, std::uint16_t status) {
    const std::uint32_t work = take_work();
    works_[work] = {job, index, backends_[index].life(), status, cause, false, true};
    schedule(now_ + after, What::work_done, work);
}

void World::work_done(std::uint32_t index) {
    const Work work = works_[index];
    works_[index].live = false;
    free_works_.push_back(index);
    if (!work.in_worker) return deliver(work.job, work.cause, work.status);
    Backend& backend = backends_[work.backend];
    if (backend.life() != work.life) return;  // its server died; whoever waited was told then
    const std::uint16_t status = backend.answer(work.job);
    Job next;
    if (backend.finish_one(next)) start(work.backend, next);
    if (status != 0) deliver(work.job, Cause::none, status);
}

void World::deliver(const Job& job, Cause cause, std::uint16_t status) {
    if (job.probe) {
        const Probe& probe = probes_[job.owner];
        if (probe.generation != job.generation) return;
        return probe_answered(job.owner, cause == Cause::none && status == probe.check.expect_status);
    }
    if (requests_in_flight_[job.owner].generation == job.generation) end_attempt(job.owner, cause, status);
}

// ---- active checks -------------------------------------------------------------------------------------------------

void World::set_health(EndpointId id, balance::Health health) {
    probes_[id.value].state = {health, 0};
    for (Worker& worker : workers_) {
        balance::set_health(worker.states[id.value], health, now_, balance::Entry::at_once);
    }
}

void World::want_probes() {
    for (Probe& probe : probes_) probe.wanted = false;
    for (const auto& snapshot : {resident_.active, resident_.candidate}) {
        if (!snapshot) continue;
        for (const snapshot::Pool& pool : snapshot->pools) {
            for (const snapshot::Endpoint& endpoint : pool.endpoints) {
                Probe& probe = probes_[endpoint.id.value];
                if (probe.wanted || !pool.health) continue;  // the active revision's check comes first
                probe.wanted = true;
                probe.id = endpoint.id;
                probe.backend = backend_of_endpoint_[endpoint.id.value];
                probe.check = *pool.health;
            }
        }
    }
    for (std::uint32_t i = 0; i < probes_.size(); ++i) {
        Probe& probe = probes_[i];
        if (!probe.wanted) {  // whoever comes back later, or is no longer checked, is unknown again
            ++probe.generation;
            probe.state = {};
            for (Worker& worker : workers_) worker.states[i].health = balance::Health::unknown;
        } else if (!probe.scheduled) {
            const double known = probe.state.health == balance::Health::unknown ? 0.05 : 1.0;
            const Duration wait = from_seconds(seconds(probe.check.interval) * known * random_.uniform());
            probe.scheduled = true;
            schedule(now_ + wait, What::probe_due, i);
        }
    }
}

void World::probe_now(std::uint32_t index) {
    Probe& probe = probes_[index];
    probe.scheduled = probe.wanted;
    if (!probe.wanted) return;
    const std::uint32_t generation = ++probe.generation;
    schedule(now_ + std::max({probe.check.interval, probe.check.timeout, Duration(1ms)}), What::probe_due, index);
    schedule(now_ + probe.check.timeout, What::probe_late, index, generation);
    submit(probe.backend, {index, generation, 0, probe_work, true});
}

void World::probe_answered(std::uint32_t index, bool good) {
    Probe& probe = probes_[index];
    ++probe.generation;
    if (!balance::probe_result(probe.state, good, probe.check.rise, probe.check.fall)) return;
    for (Worker& worker : workers_) balance::set_health(worker.states[probe.id.value], probe.state.health, now_);
    if (observer_.health) observer_.health(probe.id, probe.state.health, now_);
}

}  // namespace plimsoll::sim
