#include "control/fleet.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <latch>
#include <limits>

#include "base/hash.h"
#include "net/loop.h"

namespace plimsoll::control {

Result<std::unique_ptr<Fleet>> Fleet::start(net::Network& home, const FleetSettings& settings) {
    std::unique_ptr<Fleet> fleet(new Fleet(home));
    if (settings.listening != nullptr) settings.listening->divide(settings.workers);
    for (std::uint32_t i = 0; i < settings.workers; ++i) {
        auto loop = net::Loop::create(settings.listening);
        if (!loop) return std::unexpected(loop.error());
        fleet->members_.push_back(std::make_unique<Member>());
        fleet->members_.back()->loop = std::move(*loop);
    }
    std::latch ready(static_cast<std::ptrdiff_t>(settings.workers));
    const auto rates = std::make_shared<proxy::RateTable>();
    for (std::uint32_t i = 0; i < settings.workers; ++i) {
        const proxy::WorkerSettings worker_settings{.index = WorkerIndex{static_cast<std::uint16_t>(i)},
                                                    .workers = settings.workers,
                                                    .hash_key = settings.hash_key,
                                                    .seed = keyed_hash(std::uint64_t{i}, settings.seed),
                                                    .record = settings.record,
                                                    .rates = rates,
                                                    .ejections = fleet->ejections_,
                                                    .shed = fleet->shed_counts_};
        Member& member = *fleet->members_[i];
        member.thread = std::thread([&member, worker_settings, &ready] {
            pthread_setname_np(pthread_self(), "plimsoll-worker");
            member.worker = std::make_unique<proxy::Worker>(*member.loop, worker_settings);
            ready.count_down();
            member.loop->run();
            member.worker.reset();
        });
    }
    ready.wait();
    return fleet;
}

Fleet::~Fleet() {
    *alive_ = false;
    for (const auto& member : members_) member->loop->stop();
    for (const auto& member : members_)
        if (member->thread.joinable()) member->thread.join();
}

template <class Answer>
void Fleet::ask_all(std::function<Answer(proxy::Worker&, net::Network&)> ask, std::function<void(Answer)> fold,
                    std::function<void()> done) {
    struct Round {
        std::size_t missing;
        std::function<void(Answer)> fold;
        std::function<void()> done;
    };
    auto round = std::make_shared<Round>(Round{members_.size(), std::move(fold), std::move(done)});
    for (const auto& member : members_) {
        member->loop->post([ask, round, alive = alive_, &home = home_, &member = *member] {
            home.post([round, alive, answer = ask(*member.worker, *member.loop)]() mutable {
                if (!*alive) return;
                round->fold(std::move(answer));
                if (--round->missing == 0) round->done();
            });
        });
    }
}

void Fleet::install(const snapshot::Resident& resident, std::function<void(Installed)> done) {
    auto installed = std::make_shared<Installed>();
    installed->listening = std::numeric_limits<std::size_t>::max();
    const auto active = credentials_.prepared(resident.active, installed->failures);
    const auto candidate = credentials_.prepared(resident.candidate, installed->failures);
    credentials_.keep_only(resident.active.get(), resident.candidate.get());
    const std::size_t endpoints =
        std::max(resident.active->endpoint_ids, resident.candidate != nullptr ? resident.candidate->endpoint_ids : 0);
    if (members_.size() > 1 && (loads_ == nullptr || loads_->size() < endpoints)) {
        loads_ = std::make_shared<balance::SharedLoads>(std::max<std::size_t>(64, 2 * endpoints));
    }
    const auto posted = unacknowledged_.insert(home_.now());
    ask_all<Installed>(
        [resident, active, candidate, loads = loads_](proxy::Worker& worker, net::Network&) {
            auto failures = worker.install(resident, active, candidate, loads);
            // The loop's clock stands still during a turn; this measures the turn's own work. The same monotonic clock.
            const auto now = std::chrono::steady_clock::now().time_since_epoch();
            return Installed{Instant{std::chrono::duration_cast<Duration>(now).count()}, std::move(failures),
                             worker.listening().size()};
        },
        [installed](Installed one) {
            installed->at = std::max(installed->at, one.at);
            installed->listening = std::min(installed->listening, one.listening);
            for (std::string& failure : one.failures)
                if (std::ranges::find(installed->failures, failure) == installed->failures.end())
                    installed->failures.push_back(std::move(failure));
        },
        [this, posted, installed, done = std::move(done)] {
            unacknowledged_.erase(posted);
            done(std::move(*installed));
        });
}

void Fleet::set_health(EndpointId endpoint, balance::Health health, balance::Entry entry) {
    for (const auto& member : members_)
        member->loop->post(
            [&worker = *member->worker, endpoint, health, entry] { worker.set_health(endpoint, health, entry); });
}

void Fleet::collect(std::function<void(Collected)> done) {
    auto all = std::make_shared<Collected>();
    ask_all<proxy::Report>([](proxy::Worker& worker, net::Network&) { return worker.collect(); },
                           [all](proxy::Report report) {
                               all->tally += report.tally;
                               all->records.insert(all->records.end(), std::make_move_iterator(report.records.begin()),
                                                   std::make_move_iterator(report.records.end()));
                               all->spans.insert(all->spans.end(), std::make_move_iterator(report.spans.begin()),
                                                 std::make_move_iterator(report.spans.end()));
                               all->connections += report.connections;
                               all->idle_upstream += report.idle_upstream;
                               all->accept_pauses += report.accept_pauses;
                           },
                           [all, done = std::move(done)] { done(std::move(*all)); });
}

void Fleet::use_of(RevisionNumber revision, std::function<void(Use)> done) {
    auto all = std::make_shared<Use>();
    ask_all<Use>([revision](proxy::Worker& worker,
                            net::Network&) { return Use{worker.last_started(revision), worker.pinned(revision)}; },
                 [all](Use one) {
                     all->last_started = std::max(all->last_started, one.last_started);
                     all->in_flight += one.in_flight;
                 },
                 [all, done = std::move(done)] { done(*all); });
}

void Fleet::drain(Instant deadline, Duration idle_grace) {
    for (const auto& member : members_)
        member->loop->post(
            [&worker = *member->worker, deadline, idle_grace] { worker.drain(async::Deadline{deadline}, idle_grace); });
}

void Fleet::drained(std::function<void(bool)> done) {
    auto all = std::make_shared<bool>(true);
    ask_all<bool>([](proxy::Worker& worker, net::Network&) { return worker.drained(); },
                  [all](bool one) { *all = *all && one; }, [all, done = std::move(done)] { done(*all); });
}

void Fleet::reopen_logs() {
    for (const auto& member : members_)
        member->loop->post([&worker = *member->worker, &home = home_] {
            if (std::string failure = worker.reopen_log(); !failure.empty())
                home.post([failure] { spdlog::error("{}; the file that is open is written on", failure); });
        });
}

void Fleet::allow(std::uint64_t bytes) {
    shed_counts_->allowance = bytes / members_.size();
    ++shed_counts_->looks;
}

void Fleet::shed(bool on) {
    shed_counts_->shedding = on;
    for (const auto& member : members_) member->loop->post([&worker = *member->worker, on] { worker.shed(on); });
}

std::shared_ptr<const Fleet::Relief> Fleet::relieve(std::uint64_t bytes, bool sockets) {
    const auto relief = std::make_shared<Relief>(members_.size());
    const std::uint64_t part = bytes / members_.size() + 1;
    for (const auto& member : members_) {
        member->loop->post([&worker = *member->worker, part, sockets, relief] {
            relief->held += worker.relieve(part, sockets);
            --relief->missing;
        });
    }
    return relief;
}

}  // namespace plimsoll::control
