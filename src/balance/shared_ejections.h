// Ejection decided once for all workers, on what all of them saw. What is decided is said by the pure functions of
// balance.h; this brings them the figures of all workers and carries their answer to the others.
// Thread rule: any thread; atomics, and nobody waits: who finds another worker deciding about the same pool leaves his
// own case to the next attempt.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "balance/balance.h"
#include "base/ids.h"
#include "base/outcome.h"
#include "base/time.h"

namespace plimsoll::balance {

/// An array that grows without moving what is in it, so that others may use it meanwhile.
template <class T>
class GrowingArray {
public:
    GrowingArray() = default;
    ~GrowingArray() {
        for (std::atomic<T*>& chunk : chunks_) delete[] chunk.load(std::memory_order_relaxed);
    }
    GrowingArray(const GrowingArray&) = delete;
    GrowingArray& operator=(const GrowingArray&) = delete;

    /// Room for indices below `size`. Any thread; several at once are fine.
    void reserve(std::size_t size) {
        for (std::size_t k = 0; k < chunks_.size() && first * ((std::size_t{1} << k) - 1) < size; ++k) {
            if (chunks_[k].load(std::memory_order_acquire) != nullptr) continue;
            T* made = new T[first << k]();
            T* none = nullptr;
            if (!chunks_[k].compare_exchange_strong(none, made, std::memory_order_acq_rel)) delete[] made;
        }
    }
    /// nullptr beyond what was reserved.
    [[nodiscard]] T* find(std::size_t i) const {
        const std::size_t k = static_cast<std::size_t>(std::bit_width(i + first)) - std::bit_width(first);
        if (k >= chunks_.size()) return nullptr;
        T* chunk = chunks_[k].load(std::memory_order_acquire);
        return chunk == nullptr ? nullptr : chunk + (i + first - (first << k));
    }

private:
    static constexpr std::size_t first = 64;    ///< elements of chunk 0; each next one holds twice as many
    std::array<std::atomic<T*>, 26> chunks_{};  ///< enough for all 32-bit ids
};

/// What took an endpoint out of rotation for a time, whatever its checks say.
enum class OutBy : std::uint8_t { failures, success_rate, retry_after };  ///< `failures`: so many in a row
inline constexpr std::size_t out_by_count = 3;
/// As written in metrics.
[[nodiscard]] std::string_view name(OutBy by);

/// Passive health of an endpoint as people are told of it.
struct Standing {
    Instant out_until{INT64_MIN};                        ///< out while this lies ahead
    OutBy by = OutBy::failures;                          ///< what keeps it out until then
    std::array<std::uint32_t, out_by_count> times = {};  ///< out so often since the process began, by OutBy
};

/// What the workers of one process know together of endpoints that fail. Each has copies of it in its EndpointStates,
/// which is what `pick` goes by; only whoever holds a pool's claim changes it, so max_fraction holds over all workers
/// at every moment. One worker alone uses it just so.
class SharedEjections {
public:
    /// Room for ids below these; call it before such ids are used. Any thread.
    void reserve(std::size_t endpoints, std::size_t pools);

    /// Folds one attempt in: rows of failures and success rates count over all workers (see balance::observe and
    /// balance::compare_success). Who was ejected by it; seldom anybody. `states` are the calling worker's.
    std::vector<EndpointId> observe(const PoolFacts& pool, std::span<EndpointState> states, const Attempt& attempt,
                                    Instant now);
    /// balance::hold_back for all workers.
    bool hold_back(const PoolFacts& pool, std::span<EndpointState> states, EndpointId id, std::uint16_t status,
                   Duration asked_for, Instant now);
    /// Brings a worker's copies up to date; call it before a pick. `seen` is the worker's, 0 at first. One load when
    /// nobody was ejected meanwhile, else O(endpoints).
    void adopt(std::span<EndpointState> states, std::uint32_t& seen, Instant now) const;

    /// Any thread. An id that no room was made for has never been out.
    [[nodiscard]] Standing standing(EndpointId id) const;
    /// Another number each time that somebody was taken out. Any thread.
    [[nodiscard]] std::uint32_t version() const { return version_.load(std::memory_order_acquire); }

private:
    /// A cache line each: neighbours in a pool are busy at the same time.
    struct alignas(64) Endpoint {
        std::atomic<std::uint64_t> window{0};  ///< of the present interval: requests, and failures << 32
        std::atomic<std::uint32_t> row{0};     ///< failures in a row
        std::atomic<std::uint32_t> times_ejected{0};
        std::atomic<std::int64_t> ejected_until{INT64_MIN};
        std::atomic<std::int64_t> not_before{INT64_MIN};
        std::array<std::atomic<std::uint32_t>, out_by_count> times{};  ///< out, by OutBy
        std::atomic<OutBy> by{OutBy::failures};                        ///< what ejected it
    };
    struct alignas(64) Pool {
        std::atomic<bool> claimed{false};
        std::atomic<std::int64_t> since{INT64_MIN};  ///< when the present interval began
    };
    class Claim;

    [[nodiscard]] Endpoint& endpoint(EndpointId id) const;
    [[nodiscard]] Pool& its_own(const PoolFacts& pool) const;
    static void copy_to(EndpointState& state, const Endpoint& from, Instant now);
    static void publish(const EndpointState& state, Endpoint& to);
    /// The same of one that was taken out just now.
    static void publish_out(const EndpointState& state, Endpoint& to, OutBy by);
    void refresh(const PoolFacts& pool, std::span<EndpointState> states, Instant now) const;
    /// Whether this attempt ejects its endpoint; asked only when something about it may change.
    bool decide(const PoolFacts& pool, std::span<EndpointState> states, const Attempt& attempt, Instant now);
    void compare(const PoolFacts& pool, std::span<EndpointState> states, std::vector<EndpointId>& ejected, Instant now);

    GrowingArray<Endpoint> endpoints_;       ///< by EndpointId
    GrowingArray<Pool> pools_;               ///< by PoolId
    std::atomic<std::uint32_t> version_{0};  ///< counts what the others must hear of
};

}  // namespace plimsoll::balance
