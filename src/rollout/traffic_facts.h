// Traffic facts: what judges are told about endpoints, made from the two resident revisions, the traffic's mix over
// pools and the health of endpoints. Pure functions of values.
#pragma once

#include <functional>
#include <vector>

#include "base/ids.h"
#include "judge/facts.h"
#include "measure/tally.h"
#include "recording/recording.h"
#include "snapshot/snapshot.h"

namespace plimsoll::rollout {

/// Share of all requests that goes to each pool of a snapshot, by PoolIndex; sums to 1, or all 0 when nothing is known.
using PoolMix = std::vector<double>;

/// By matching recorded requests. Requests that match no route are left out.
[[nodiscard]] PoolMix pool_mix(const snapshot::Snapshot& snapshot, const recording::Recording& recording);
/// By what was counted per route (either arm); routes the snapshot does not know are left out.
[[nodiscard]] PoolMix pool_mix(const snapshot::Snapshot& snapshot, const measure::Tally& tally);
/// Every pool that a route names takes the same: what is assumed when nothing was seen.
[[nodiscard]] PoolMix equal_mix(const snapshot::Snapshot& snapshot);

/// Whether it knows anything: some pool has a share.
[[nodiscard]] bool says_something(const PoolMix& mix);

/// The first of them that knows anything: the recording, else equal_mix.
[[nodiscard]] PoolMix mix_or_equal(const snapshot::Snapshot& snapshot, const recording::Recording& recording);

/// One revision and how requests spread over its pools.
struct Side {
    const snapshot::Snapshot* snapshot = nullptr;
    PoolMix mix;
    bool guessed = false;  ///< nothing is known of how they do: `mix` is nothing to hold them against
};
/// Facts for every endpoint of either side, in the order of the active revision, then what only the candidate has.
/// Shares are as this balancer sends them while `down` tells endpoints that active checks hold down; those that are
/// `out` for a time (ejected, or at their own wish) are expected to get what the revision means them to, since that may
/// be why they are. `candidate.snapshot` may be null.
[[nodiscard]] std::vector<judge::EndpointFacts> endpoint_facts(const Side& active, const Side& candidate,
                                                               const std::function<bool(EndpointId)>& down,
                                                               const std::function<bool(EndpointId)>& out);

}  // namespace plimsoll::rollout
