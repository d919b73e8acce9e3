// The balancing benchmarks: experiments whose figures are quoted in docs/balancing.md, each with the promise it keeps.
// Thread rule: none; pure functions, same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "balance/balance.h"
#include "sim/farm.h"

namespace plimsoll::sim {

struct NamedPolicy {
    std::string_view name;
    balance::Policy policy;
};
/// Those that balance by load or lot, then those that map keys; in the order of the tables.
[[nodiscard]] std::vector<NamedPolicy> balancing_policies();
[[nodiscard]] std::vector<NamedPolicy> hashing_policies();

/// Linkerd's slow server (2016): 11 servers, 1,000 requests/s, one answers after 2 s from 15 s to 45 s of 60 s.
/// `scale` shrinks all spans.
[[nodiscard]] FarmOptions slow_server(const balance::Policy& policy, double scale = 1);
/// Prequal's antagonists: `servers` with 4 slots, every second one twice as quick and of twice the weight, at any time
/// 10 % of them slowed to 40 %; `load` = of what they can carry all together.
[[nodiscard]] FarmOptions antagonists(const balance::Policy& policy, double load, std::uint32_t balancers,
                                      std::uint32_t servers = 100);
/// Zipf(1.0) keys over 100 servers, about 10,000 requests in flight.
[[nodiscard]] FarmOptions hot_keys(const balance::Policy& policy, std::uint32_t servers = 100);
/// One server with 8 slots of 10 ms under `load` times what it can carry.
[[nodiscard]] FarmOptions overload(double load, bool adaptive);

/// How even a table is and what removing one member moves.
struct TableFigures {
    double largest = 0;   ///< places of the largest share / mean
    double smallest = 0;  ///< places of the smallest share / mean
    double moved = 0;     ///< of the places whose owner stayed, those that changed owner when one member went
};
/// `seed`: another set of addresses.
[[nodiscard]] TableFigures table_figures(const balance::Policy& policy, std::uint32_t members, std::uint64_t seed = 1);

struct BalancingReport {
    std::string text;
    bool kept = true;  ///< every promise, with every seed
};
/// One part ("slow-server", "tables", "hot-keys", "antagonists", "workers", "overload"), "all", or "promises": all that
/// is promised and no more, in seconds. Each experiment runs with seeds 1 to `seeds` (>= 1).
[[nodiscard]] BalancingReport balancing_report(std::string_view part, std::uint64_t seeds = 5);

}  // namespace plimsoll::sim
