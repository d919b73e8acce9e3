// Fleet: the workers and their threads, as control sees them: things are posted to each, and come back when all have
// answered. Nothing here waits for a worker.
// Thread rule: control's thread; callbacks run there too.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "balance/balance.h"
#include "balance/shared_ejections.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "control/credentials.h"
#include "net/listening_sockets.h"
#include "net/network.h"
#include "proxy/worker.h"
#include "snapshot/snapshot.h"

namespace plimsoll::control {

struct FleetSettings {
    std::uint32_t workers = 1;
    std::uint64_t hash_key = 0;  ///< of client addresses in recordings
    std::uint64_t seed = 0;
    bool record = true;
    std::shared_ptr<net::ListeningSockets> listening{};  ///< inherited and open ones of all workers; may be null
};

/// What one round of collecting brought, over all workers.
struct Collected {
    measure::Tally tally;
    std::vector<proxy::Recorded> records;
    std::vector<proxy::RequestSpan> spans;
    std::size_t connections = 0;
    std::size_t idle_upstream = 0;
    std::uint64_t accept_pauses = 0;
};

class Fleet {
public:
    /// Starts the threads; they serve nothing until install(). Errors: io (no descriptors).
    [[nodiscard]] static Result<std::unique_ptr<Fleet>> start(net::Network& home, const FleetSettings& settings);
    /// Stops and joins; use drain first to be kind. Callbacks that are still on their way are dropped.
    ~Fleet();
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;

    [[nodiscard]] std::size_t size() const { return members_.size(); }

    struct Installed {
        Instant at;                         ///< when the last worker had swapped
        std::vector<std::string> failures;  ///< listeners that could not be opened; empty = all well
        std::size_t listening = 0;          ///< listeners that every worker has open, or fewer
    };
    /// Where TLS contexts come from.
    [[nodiscard]] CredentialStore& credentials() { return credentials_; }
    /// Every worker serves `resident` from its next event on. `done` runs when all have swapped; certificates that
    /// could not be loaded are among its failures.
    void install(const snapshot::Resident& resident, std::function<void(Installed)> done);
    /// When the oldest install was posted that some worker has not taken yet; `never` when all have.
    [[nodiscard]] Instant unacknowledged_since() const {
        return unacknowledged_.empty() ? never : *unacknowledged_.begin();
    }
    void set_health(EndpointId endpoint, balance::Health health, balance::Entry entry);
    /// Moves out what workers counted and recorded since the last time.
    void collect(std::function<void(Collected)> done);
    /// When a request was last started on this revision, over all workers; and how many still run on it.
    struct Use {
        Instant last_started{INT64_MIN};
        std::size_t in_flight = 0;
    };
    void use_of(RevisionNumber revision, std::function<void(Use)> done);
    /// Stops accepting, lets requests in flight finish until `deadline`.
    void drain(Instant deadline, Duration idle_grace = {});
    /// Whether all requests have ended; `done` gets the answer.
    void drained(std::function<void(bool)> done);
    void reopen_logs();

    // ---- from any thread ----
    /// Until this is called again, new connections that take about so many bytes may come in, at all workers together.
    void allow(std::uint64_t bytes);
    /// See proxy::Worker::shed.
    void shed(bool on);
    struct Relief {
        std::atomic<std::size_t> missing;     ///< workers that have not answered; 0 = done
        std::atomic<std::uint64_t> held = 0;  ///< by connections that are left, of those that have
    };
    /// See proxy::Worker::relieve; each worker ends its part of `bytes`.
    [[nodiscard]] std::shared_ptr<const Relief> relieve(std::uint64_t bytes, bool sockets);
    [[nodiscard]] const proxy::ShedCounts& shed_counts() const { return *shed_counts_; }
    [[nodiscard]] const balance::SharedEjections& ejections() const { return *ejections_; }

private:
    struct Member {
        std::unique_ptr<net::Network> loop;
        std::unique_ptr<proxy::Worker> worker;  ///< made and destroyed on its thread
        std::thread thread;
    };
    explicit Fleet(net::Network& home) : home_(home) {}
    /// Runs `ask` on every worker's thread, then `fold` here with each answer, then `done` after the last.
    template <class Answer>
    void ask_all(std::function<Answer(proxy::Worker&, net::Network&)> ask, std::function<void(Answer)> fold,
                 std::function<void()> done);

    net::Network& home_;
    CredentialStore credentials_;
    std::shared_ptr<proxy::ShedCounts> shed_counts_ = std::make_shared<proxy::ShedCounts>();
    std::shared_ptr<balance::SharedEjections> ejections_ = std::make_shared<balance::SharedEjections>();
    std::shared_ptr<balance::SharedLoads> loads_;  ///< of all workers; a larger one when endpoints have come
    std::vector<std::unique_ptr<Member>> members_;
    std::multiset<Instant> unacknowledged_;                       ///< installs under way, by when they were posted
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  ///< read by callbacks on control's thread
};

}  // namespace plimsoll::control
