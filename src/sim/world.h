// World: the decisions of production in virtual time. The same snapshot::match and choose_arm, balance::pick, observe,
// probe_result and may_retry, measure::fold as in the proxy; only sockets and servers are models.
// Thread rule: one thread. Deterministic: the same seed and calls give the same bytes. Events of one instant happen in
// the order in which they were scheduled (timers before deadlines before arrivals); no decision iterates a hash map.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "balance/balance.h"
#include "balance/shared_ejections.h"
#include "balance/shared_loads.h"
#include "base/outcome.h"
#include "base/random.h"
#include "measure/tally.h"
#include "sim/backend.h"
#include "sim/traffic.h"
#include "snapshot/snapshot.h"

namespace plimsoll::sim {

struct WorldOptions {
    std::uint64_t seed = 1;
    std::uint32_t workers = 1;  ///< of the balancer: each has loads, cursors and budgets of its own, as in production
    bool share_loads = true;    ///< workers see each other's requests in flight, as production does (decision 0008)
    bool warm = true;     ///< the endpoints of the first revision count as checked and up; false: they start unknown
    EndpointModel model;  ///< of servers that nothing else was said about
};

/// What the caller wants to hear of as it happens. Views in the Outcome live during the call.
struct Observer {
    std::function<void(const Outcome&)> outcome;
    std::function<void(EndpointId, Instant)> ejected;
    std::function<void(EndpointId, balance::Health, Instant)> health;
};

class World {
public:
    explicit World(WorldOptions options);

    /// For compiling the configs that are installed here.
    [[nodiscard]] snapshot::Identities& identities() { return identities_; }
    /// Compiles for this world's number of workers.
    [[nodiscard]] std::shared_ptr<const snapshot::Snapshot> compile(const config::Config& config,
                                                                    RevisionNumber number);

    /// Puts revisions in force, now. State is carried over by identity, as a worker does it.
    void install(snapshot::Resident resident);
    [[nodiscard]] const snapshot::Resident& resident() const { return resident_; }

    /// What the server at this address is like; before or after it is installed.
    void set_model(const config::Address& address, EndpointModel model);
    /// What active checks are taken to have found, before the next one looks.
    void set_health(EndpointId id, balance::Health health);
    /// A fault at a server, now.
    void fault(const config::Address& address, const Fault& fault);
    void fault_at(Instant at, const config::Address& address, Fault fault);
    /// More traffic. Sources add up.
    void add_traffic(Traffic traffic);

    void observe(Observer observer) { observer_ = std::move(observer); }
    /// Runs until virtual time is `until`; what happens at that very instant has happened.
    void run_until(Instant until);
    [[nodiscard]] Instant now() const { return now_; }

    /// What was counted since the last call, with gauges as of now: what a worker hands over to control.
    [[nodiscard]] measure::Tally take_tally();

    /// One worker's view of an endpoint (worker 0: health is the same in all, loads differ).
    [[nodiscard]] const balance::EndpointState& state(EndpointId id) const { return workers_[0].states[id.value]; }
    [[nodiscard]] bool is_out(EndpointId id) const { return ejections_->standing(id).out_until > now_; }
    [[nodiscard]] bool ejected_anywhere(EndpointId id) const;
    [[nodiscard]] const Backend* backend(const config::Address& address) const;
    [[nodiscard]] std::uint64_t requests() const { return requests_; }
    [[nodiscard]] std::uint64_t events() const { return sequence_; }

private:
    /// What one worker of the balancer knows; outlives revisions.
    struct Worker {
        std::vector<balance::EndpointState> states;           ///< by EndpointId
        std::vector<balance::RetryBudget> budgets;            ///< by PoolId
        std::uint32_t ejections_seen = 0;                     ///< of `ejections_`, in `states`
        std::array<std::vector<balance::Cursor>, 2> cursors;  ///< by Arm, then PoolIndex
        Random random;
    };
    /// A request in flight.
    struct Request {
        Outcome outcome;
        balance::Tried tried;
        const snapshot::Snapshot* serving = nullptr;  ///< pinned: what it started on
        const snapshot::Pool* pool = nullptr;         ///< null = no route
        PoolIndex place;                              ///< of the pool, in `serving`
        const recording::Answers* answers = nullptr;  ///< of a recorded request, while it arrives
        Instant attempt_started;
        Instant deadline;  ///< of the attempt
        Duration service{};
        double size = 0;
        std::uint32_t others = 0;      ///< requests at the endpoint besides, when the attempt was sent
        std::uint32_t generation = 0;  ///< of the attempt: what comes back for an older one is for nobody
        bool live = false;
    };
    struct Work {  ///< a job on its way or in a server
        Job job;
        std::uint32_t backend = 0;
        std::uint32_t life = 0;
        std::uint16_t status = 0;
        Cause cause = Cause::none;
        bool in_worker = false;
        bool live = false;
    };
    enum class What : std::uint8_t { work_done, fault, probe_due, probe_late, deadline };
    struct Event {
        Instant at;
        std::uint64_t sequence;
        What what;
        std::uint32_t index;
        std::uint32_t generation;
        friend bool operator>(const Event& a, const Event& b) {
            return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
        }
    };
    /// First attempts whose deadline lies the same span ahead: they fall due in the order in which they were made.
    struct Deadlines {
        Duration span;
        struct One {
            Instant at;
            std::uint32_t request;
            std::uint32_t generation;
        };
        std::deque<One> due;
    };
    /// Active checks of one endpoint.
    struct Probe {
        EndpointId id;
        std::uint32_t backend = 0;
        config::HealthCheck check;
        balance::ProbeState state;
        std::uint32_t generation = 0;
        bool wanted = false;
        bool scheduled = false;
    };
    struct PlannedFault {
        std::uint32_t backend;
        Fault fault;
    };

    // world.cpp: time and requests
    void schedule(Instant at, What what, std::uint32_t index, std::uint32_t generation = 0);
    void handle(const Event& event);
    [[nodiscard]] Deadlines* earliest_deadline();
    void arrive(const Arrival& arrival);
    [[nodiscard]] static std::optional<RouteIndex> match(const snapshot::Snapshot& in, const Request& request);
    void shadow(const Request& request, Worker& worker);
    void send(std::uint32_t slot);
    void end_attempt(std::uint32_t slot, Cause cause, std::uint16_t status);
    [[nodiscard]] bool try_again(std::uint32_t slot, const Attempt& failed);
    void finish(std::uint32_t slot, Cause cause, std::uint16_t status);
    void judge(const Request& request, const Attempt& attempt);
    void share_loads();
    [[nodiscard]] std::optional<balance::Pick> choose(const snapshot::Pool& pool, balance::Cursor& cursor,
                                                      const balance::Tried& tried, Worker& worker, std::uint64_t key);
    void deadline_passed(std::uint32_t slot);
    void give_deadline(std::uint32_t slot, bool first);
    std::uint32_t take_slot();

    // servers.cpp: servers and probes
    std::uint32_t backend_at(const config::Address& address);
    void submit(std::uint32_t backend, const Job& job);
    void start(std::uint32_t backend, const Job& job);
    void answer_later(std::uint32_t backend, const Job& job, Duration after, Cause cause, std::uint16_t status);
    void work_done(std::uint32_t work);
    void deliver(const Job& job, Cause cause, std::uint16_t status);
    void apply(const PlannedFault& planned);
    std::uint32_t take_work();
    void want_probes();
    void probe_now(std::uint32_t probe);
    void probe_answered(std::uint32_t probe, bool good);

    WorldOptions options_;
    Random random_;
    snapshot::Identities identities_;
    snapshot::Resident resident_;
    std::vector<std::shared_ptr<const snapshot::Snapshot>> kept_;  ///< requests point into them
    std::vector<Worker> workers_;
    balance::SharedLoads shared_{0};  ///< requests in flight of all workers; empty if they do not share
    /// Of all workers, as in production (decision 0014).
    std::unique_ptr<balance::SharedEjections> ejections_ = std::make_unique<balance::SharedEjections>();
    std::map<config::Address, std::uint32_t> backend_of_;
    std::vector<Backend> backends_;
    std::vector<std::uint32_t> backend_of_endpoint_;  ///< by EndpointId
    std::vector<Source> sources_;
    std::vector<Request> requests_in_flight_;
    std::vector<std::uint32_t> free_requests_;
    std::vector<Work> works_;
    std::vector<std::uint32_t> free_works_;
    std::vector<Probe> probes_;
    std::vector<PlannedFault> faults_;
    std::vector<Event> events_;  ///< a heap, earliest first
    std::vector<Deadlines> deadlines_;
    std::uint64_t sequence_ = 0;
    std::uint64_t requests_ = 0;
    Instant now_{0};
    measure::Tally tally_;
    Observer observer_;
};

}  // namespace plimsoll::sim
