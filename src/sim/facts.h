// What judges are told about endpoints, made from the resident revisions and the traffic's mix over pools.
#pragma once

#include <functional>
#include <vector>

#include "base/ids.h"
#include "judge/facts.h"
#include "recording/recording.h"
#include "snapshot/snapshot.h"

namespace plimsoll::sim {

/// Share of requests that goes to each pool, by PoolIndex, by matching recorded requests; equal over routes when none
/// were recorded.
[[nodiscard]] std::vector<double> pool_mix(const snapshot::Snapshot& snapshot, const recording::Recording& recording);

/// Facts for every endpoint of either revision. `candidate` may be null. `down`: held down by active checks.
[[nodiscard]] std::vector<judge::EndpointFacts> endpoint_facts(const snapshot::Snapshot& active,
                                                               const std::vector<double>& active_mix,
                                                               const snapshot::Snapshot* candidate,
                                                               const std::vector<double>& candidate_mix,
                                                               const std::function<bool(EndpointId)>& down);

}  // namespace plimsoll::sim
