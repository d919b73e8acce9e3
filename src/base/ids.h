// Names for numbers, so that an endpoint's index cannot be passed where a route's is meant.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace plimsoll {

/// A number with a meaning. `value` is public: these are labels, not secrets.
template <class Tag, class Raw = std::uint32_t>
struct Id {
    Raw value = 0;
    friend constexpr auto operator<=>(Id, Id) = default;
};

/// Revision rN; numbers start at 1 and never repeat. 0 means "none".
using RevisionNumber = Id<struct RevisionTag, std::uint64_t>;

/// Stable identities: dense numbers handed out once per process by snapshot::Identities for (pool, address), pool
/// name and route name. State that outlives a revision (health, load, cursors, counters) is indexed by these.
using EndpointId = Id<struct EndpointIdTag>;
using PoolId = Id<struct PoolIdTag>;
using RouteId = Id<struct RouteIdTag>;

/// Positions inside one snapshot: an endpoint within its pool, a pool and a route within the snapshot.
using EndpointIndex = Id<struct EndpointIndexTag>;
using PoolIndex = Id<struct PoolIndexTag>;
using RouteIndex = Id<struct RouteIndexTag>;

/// A worker (one thread, one event loop), from 0.
using WorkerIndex = Id<struct WorkerTag, std::uint16_t>;

template <class AnyId>
inline constexpr AnyId none{static_cast<decltype(AnyId::value)>(-1)};

/// Fraction of requests, in [0, 1].
struct Share {
    double value = 0;
    friend constexpr auto operator<=>(Share, Share) = default;
};

/// Which of two resident revisions served a request. `active` is the one in force, `candidate` the one being judged.
/// During a soak the new revision is `candidate` still, with most of the share; `active` is the hold-back.
enum class Arm : std::uint8_t { active = 0, candidate = 1 };

}  // namespace plimsoll

template <class Tag, class Raw>
struct std::hash<plimsoll::Id<Tag, Raw>> {
    std::size_t operator()(plimsoll::Id<Tag, Raw> id) const noexcept { return std::hash<Raw>{}(id.value); }
};
