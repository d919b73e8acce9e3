// Worker: one thread's data plane. Accepts, routes, balances, retries, streams, and says what became of each request.
// Thread rule: made, called and destroyed on the thread that runs its network; control posts to network.post().
// What workers share: immutable snapshots, and atomics (counts in flight, ejections, rate buckets).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "async/deadline.h"
#include "balance/balance.h"
#include "balance/shared_ejections.h"
#include "balance/shared_loads.h"
#include "base/ids.h"
#include "base/time.h"
#include "measure/tally.h"
#include "net/address.h"
#include "net/network.h"
#include "proxy/prepared.h"
#include "proxy/rate_limit.h"
#include "proxy/shed_counts.h"
#include "proxy/spans.h"
#include "recording/recording.h"
#include "snapshot/snapshot.h"

namespace plimsoll::proxy {

struct WorkerSettings {
    WorkerIndex index{};
    std::uint32_t workers = 1;           ///< in all; divides limits that a config states for the whole server
    std::uint64_t hash_key = 0;          ///< of client addresses in outcomes and recordings: the same in all workers
    std::uint64_t seed = 0;              ///< of this worker's dice and request ids; different in each worker
    bool record = true;                  ///< keep a Recorded for each request until collect()
    std::shared_ptr<RateTable> rates{};  ///< shared by all workers; null = one of its own
    std::shared_ptr<balance::SharedEjections> ejections{};  ///< of all workers; null = this one is alone
    std::shared_ptr<ShedCounts> shed{};                     ///< of all workers; null = of its own
    /// Where access-log lines go, in whole lines, instead of the snapshot's `access_log` file. For tests.
    std::function<void(std::string_view)> log_sink{};
};

/// One request as the recording wants it; `record.at` is 0, `at` says when it started.
struct Recorded {
    Timestamp at;
    recording::Record record;
};
/// Kept between two collects at most; beyond, requests are served and counted but not recorded (recording_dropped).
inline constexpr std::size_t max_recorded = 65'536;

/// All that a worker has to say since the last time.
struct Report {
    WorkerIndex worker;
    measure::Tally tally;  ///< with the gauges (in_flight, waiting) of this moment
    std::vector<Recorded> records;
    std::vector<RequestSpan> spans;  ///< of sampled requests
    /// Revisions that nobody here uses any more. Whoever takes the report frees them, so that no worker has to.
    std::vector<std::shared_ptr<const void>> retired;
    std::size_t connections = 0;      ///< client connections open now
    std::size_t idle_upstream = 0;    ///< pooled connections to endpoints now
    std::uint64_t accept_pauses = 0;  ///< times that accepting stopped for lack of descriptors, since the start
};

class Worker {
public:
    Worker(net::Network& network, const WorkerSettings& settings);
    /// Cuts what is still under way; drain() first to be kind.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// From the next request on, requests are served by `resident`; those under way stay on the revision they began
    /// with. No connection is closed but those of listeners that vanished, and idle ones to endpoints that vanished.
    /// Health, load, cursors and retry budgets are carried over by identity. Always succeeds; what comes back are the
    /// listeners that could not be opened (tried again at the next install), one sentence each.
    /// `active` and `candidate`: prepare() of the resident snapshots; made here when null, which costs O(endpoints).
    /// `loads`: counts of all workers, large enough for both; null = this worker is alone.
    std::vector<std::string> install(snapshot::Resident resident, std::shared_ptr<const Prepared> active = {},
                                     std::shared_ptr<const Prepared> candidate = {},
                                     std::shared_ptr<balance::SharedLoads> loads = {});
    /// What active checks found out.
    void set_health(EndpointId endpoint, balance::Health health, balance::Entry entry = balance::Entry::slowly);

    /// While true, new connections are reset and new requests, those with half a head too, are answered 503
    /// `overloaded`: memory is short.
    void shed(bool on);
    /// Ends connections, those first that hold most, until they have held `bytes`; at most max_ended. What was under
    /// way on them ends with `overloaded`. Gives about how much those hold that are left.
    /// `sockets`: the kernel's memory for sockets counts. Costs microseconds per connection.
    std::uint64_t relieve(std::uint64_t bytes, bool sockets);
    /// So that one call stalls the others for milliseconds at most.
    static constexpr std::size_t max_ended = 512;

    /// Moves out what was counted and recorded since the last call.
    [[nodiscard]] Report collect();

    /// Stops accepting, closes idle connections, tells the others to close after their answer; at the deadline cuts
    /// what is left. drained() says when all is done.
    /// `idle_grace`: idle HTTP/1.1 connections are not closed for that long but told to close with their next answer,
    /// so that nobody's request meets a closed connection (HTTP/2 says GOAWAY at once).
    void drain(async::Deadline deadline, Duration idle_grace = {});
    [[nodiscard]] bool drained() const;

    /// When the last request was started on that revision; INT64_MIN if none was (or long ago). Measures a rollback.
    [[nodiscard]] Instant last_started(RevisionNumber revision) const;
    /// Requests under way on that revision.
    [[nodiscard]] std::size_t pinned(RevisionNumber revision) const;
    /// Revisions held in memory: resident ones, and old ones until their last request ends.
    [[nodiscard]] std::size_t revisions_held() const;

    /// What this worker knows of an endpoint; a default state if it has never heard of it.
    [[nodiscard]] balance::EndpointState endpoint_state(EndpointId endpoint) const;
    /// Addresses listened on now (port 0 has become the real one).
    [[nodiscard]] std::vector<net::Address> listening() const;
    /// Opens the access log anew, after somebody renamed the file.
    /// Why it could not be opened anew (then the old file is written on); empty = it was.
    std::string reopen_log();

    struct Core;  ///< the inside, in core.h

private:
    std::unique_ptr<Core> core_;
};

}  // namespace plimsoll::proxy
