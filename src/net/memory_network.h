// MemoryNetwork: the network in virtual time. Deterministic: events of the same moment happen in the order in which
// they were caused, and time moves only when told (or, in run(), when nothing is left to do at this moment).
// Thread rule: one thread; post() too.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "net/network.h"

namespace plimsoll::net {

/// What goes wrong with connections to one address. Changed at any time; `connect_*` apply to connects from then on,
/// the rest to connections made from then on.
struct Faults {
    enum class Connect : std::uint8_t {
        accept,
        refuse,  ///< at once, or after connect_delay
        hang,    ///< never answered: the deadline ends it
        unreachable,
    };
    Connect connect = Connect::accept;
    Duration connect_delay{};
    Duration latency{};  ///< of every byte, each way
    /// The connection breaks (both sides see reset) once this many bytes have come from the connecting (listening)
    /// side.
    std::optional<std::uint64_t> reset_after_sent{};
    std::optional<std::uint64_t> reset_after_received{};
    std::size_t buffer = 64 * 1024;  ///< bytes in flight each way before the writer has to wait
};

class MemoryNetwork;
class MemoryListener;

/// Fires once at a moment of virtual time; destroying it clears it.
class MemoryTimer {
public:
    MemoryTimer(MemoryNetwork& network, std::move_only_function<void()> due)
        : network_(network), due_(std::move(due)) {}
    MemoryTimer(const MemoryTimer&) = delete;
    MemoryTimer& operator=(const MemoryTimer&) = delete;
    ~MemoryTimer() { clear(); }
    /// Sets or moves; `never` clears.
    void set(Instant at);
    void clear();

private:
    friend class MemoryNetwork;
    MemoryNetwork& network_;
    std::move_only_function<void()> due_;
    std::optional<std::pair<Instant, std::uint64_t>> key_;
};

class MemoryNetwork final : public Network {
public:
    explicit MemoryNetwork(Instant start = Instant{1'000'000'000},
                           Timestamp wall = Timestamp{1'763'798'400'000'000'000});
    ~MemoryNetwork() override;

    Instant now() const override { return now_; }
    Timestamp wall() const override { return wall_ + (now_ - start_); }
    Task<Result<std::unique_ptr<Stream>>> connect(Address address, Deadline deadline) override;
    Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    Task<void> sleep_until(Instant at) override;
    void post(std::move_only_function<void()> work) override { posted_.push_back(std::move(work)); }
    ReadyQueue& ready() override { return ready_; }
    /// Runs, moving time to the next timer whenever nothing is left to do, until stop() or until no timer is left.
    void run() override;
    void stop() override { stopped_ = true; }

    /// Does all that can be done at this moment.
    void run_until_idle();
    /// Lets time pass, doing everything in its order.
    void advance(Duration by) { advance_to(now_ + by); }
    void advance_to(Instant at);

    /// The faults of connections to this address; change them through the reference.
    Faults& faults(const Address& to) { return faults_[to]; }
    /// The client side of a new connection to a listener, as if connect() had answered at once, from `from`.
    /// nullptr if nobody listens.
    [[nodiscard]] std::unique_ptr<Stream> open(const Address& to, const Address& from);
    /// Streams that exist: what a test checks for leaks.
    [[nodiscard]] std::size_t streams() const { return streams_; }
    /// Connections that a listener at this address was given.
    [[nodiscard]] std::uint64_t connections_to(const Address& to) const;

private:
    friend class MemoryStream;
    friend class MemoryListener;
    friend class MemoryTimer;
    async::Scope& scope() override { return *scope_; }
    /// Fires the first timer if it is due at or before `until`, moving time to it.
    bool fire(Instant until);
    Address fresh_address();

    Instant start_, now_;
    Timestamp wall_;
    bool stopped_ = false;
    std::uint64_t sequence_ = 0;
    std::uint16_t next_port_ = 40'000;
    std::size_t streams_ = 0;
    ReadyQueue ready_;
    std::deque<std::move_only_function<void()>> posted_;
    std::map<std::pair<Instant, std::uint64_t>, MemoryTimer*> timers_;
    std::map<Address, std::vector<MemoryListener*>> listeners_;
    std::map<Address, std::uint64_t> connections_;
    std::map<Address, Faults> faults_;
    std::unique_ptr<async::Scope> scope_;
};

}  // namespace plimsoll::net
