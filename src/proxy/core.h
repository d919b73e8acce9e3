// The inside of a Worker: everything its connections share. Included by this room's sources only.
// Thread rule: one worker.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/scope.h"
#include "balance/admission.h"
#include "balance/balance.h"
#include "balance/shared_loads.h"
#include "base/random.h"
#include "measure/tally.h"
#include "net/network.h"
#include "net/parking.h"
#include "proxy/access_log.h"
#include "proxy/buffer.h"
#include "proxy/chain.h"
#include "proxy/revision.h"
#include "proxy/scratch.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"
#include "snapshot/questions.h"

namespace plimsoll::proxy {

class Client;
class Exchange;

/// An address this worker listens on. Shared with its connections, which may outlive it.
struct ListenerSlot {
    config::Listener settings;                 ///< of the active revision, as of the last install
    std::set<std::string> names;               ///< all it has had: requests that began under one end under it
    std::string_view name;                     ///< the present one, in `names`
    std::shared_ptr<const Prepared> prepared;  ///< the same revision's
    std::size_t index = 0;                     ///< of this listener in it
    [[nodiscard]] const PreparedListener& made() const { return prepared->listeners[index]; }
    std::unique_ptr<net::Listener> listener;
    std::size_t connections = 0;
    bool closing = false;  ///< no revision wants it any more: its connections close after their answer
};

struct Worker::Core {
    Core(net::Network& on, const WorkerSettings& given);

    // ---- worker.cpp: what control asks for ----
    std::vector<std::string> install(snapshot::Resident resident, std::shared_ptr<const Prepared> for_active,
                                     std::shared_ptr<const Prepared> for_candidate,
                                     std::shared_ptr<balance::SharedLoads> shared);
    void ask_of_requests();
    void open_listeners(std::vector<std::string>& failures);
    void close_listener(ListenerSlot& slot, bool idle_too = true);
    void close_idle(const ListenerSlot* of);
    void cut();

    // ---- shed.cpp: memory is short ----
    void shed(bool on);
    /// No new work is to be taken.
    [[nodiscard]] bool sheds() const { return shedding || settings.shed->shedding.load(std::memory_order_relaxed); }
    /// One more connection fits into what may be taken on before the next look at memory; counts it. One always does.
    [[nodiscard]] bool affords_connection();
    std::uint64_t relieve(std::uint64_t bytes, bool sockets);

    Report collect();
    std::uint32_t connection_limit(const ListenerSlot& slot) const;

    // ---- for requests ----
    [[nodiscard]] Instant now() const { return network.now(); }
    /// The one place where the data plane says what happened.
    void observe(const Outcome& outcome, const Served& served);
    /// Passive health: one attempt has ended.
    void observe(const Attempt& attempt, const balance::PoolFacts& pool);
    /// Of a 503: a server that says when it can serve again is not asked before, whether the answer is passed on or
    /// not.
    void heed_retry_after(EndpointId endpoint, const balance::PoolFacts& pool, const http::Fields& fields);
    void share(std::shared_ptr<balance::SharedLoads> wanted);
    /// A request goes to this endpoint; gives how many are there already, of all workers.
    std::uint32_t arrive(EndpointId endpoint);
    void leave(EndpointId endpoint);
    /// Takes over whom other workers ejected; before a choice.
    void adopt_ejections() { settings.ejections->adopt(endpoints, ejections_seen, now()); }
    /// What `pick` is told of other workers' requests.
    [[nodiscard]] std::span<const std::atomic<std::uint32_t>> shared() const {
        return loads != nullptr ? loads->view() : std::span<const std::atomic<std::uint32_t>>{};
    }
    /// A request has left a pool: whoever waits for its place goes next.
    void left(PoolId pool, const balance::LineFacts& facts);
    /// Wakes those who may go now.
    void call_waiting(PoolId pool, const balance::LineFacts& facts);
    /// The same at all pools: a place may be there although no request has left (an endpoint is back, a limit grew).
    void call_all_waiting();
    /// In shadow: what the candidate would do with a request that the active revision serves.
    void shadow(const snapshot::RequestView& request, const snapshot::Route* active_route,
                const snapshot::Pool* active_pool);
    [[nodiscard]] bool shadowing(Arm arm) const {
        return candidate != nullptr && resident.shadow && arm == Arm::active && now() < resident.lease;
    }
    measure::EndpointTally& endpoint_tally(Arm arm, EndpointId id);

    net::Network& network;
    WorkerSettings settings;
    Random random;

    snapshot::Resident resident;
    Revisions revisions;
    RevisionSlot* active = nullptr;
    RevisionSlot* candidate = nullptr;
    snapshot::Questions questions;                  ///< of both, for recording; empty when nothing is recorded
    std::vector<balance::EndpointState> endpoints;  ///< by EndpointId
    std::shared_ptr<balance::SharedLoads> loads;    ///< of all workers; null = this one is alone
    std::vector<balance::RetryBudget> budgets;      ///< by PoolId
    std::uint32_t ejections_seen = 0;               ///< of settings.ejections, in `endpoints`
    struct Line {
        balance::Line line;
        std::map<std::uint64_t, net::Parking*> waiting;  ///< by ticket
    };
    std::vector<Line> lines;  ///< by PoolId

    std::vector<std::shared_ptr<ListenerSlot>> listeners;
    std::size_t connections = 0;
    std::uint64_t accept_pauses = 0;  ///< of listeners that are closed
    bool draining = false;
    bool shedding = false;  ///< memory is short: no new work
    bool cutting = false;   ///< the drain's deadline has passed

    Blocks blocks;
    std::uint32_t look_seen = 0;       ///< at memory, and
    std::uint64_t taken_on_since = 0;  ///< bytes, about
    DraftPool drafts;
    Upstreams upstreams;
    Chain<Client> clients;
    Chain<Exchange> exchanges;

    std::size_t mirrors = 0;                                          ///< copies of requests under way
    std::map<std::pair<Arm, EndpointId>, std::uint32_t> tcp_tunnels;  ///< open ones
    http::Http2Counts http2_counts;                                   ///< of clients' connections

    measure::Tally tally;
    std::vector<Recorded> records;
    std::vector<RequestSpan> spans;
    Instant collected;  ///< when the tally began
    AccessLog log;
    bool log_flush_due = false;
    async::Scope scope;  ///< last: its tasks end before what they use
};

/// Takes connections until the listener is closed.
async::Task<void> accept_from(Worker::Core& core, std::shared_ptr<ListenerSlot> slot);

}  // namespace plimsoll::proxy
