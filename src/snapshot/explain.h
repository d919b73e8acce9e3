// Explanation: why a request goes where it goes. The same decisions as the proxy's, told instead of taken. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "balance/balance.h"
#include "snapshot/conditions.h"
#include "snapshot/request_view.h"
#include "snapshot/snapshot.h"

namespace plimsoll::snapshot {

struct PassedOver {
    RouteIndex route;
    WhyNot why;
};

struct EndpointView {
    EndpointIndex index;
    double share = 0;     ///< of the requests that come to this pool by this route, in the long run
    std::string why_not;  ///< why it gets none; empty when it may get some
    std::string remark;   ///< what one should know besides: "not known yet", "panic"
};

struct PoolView {
    PoolIndex pool;
    double probability = 1;  ///< that the request goes to this pool
    std::string policy;      ///< "maglev by cookie sid"
    std::string key;         ///< what the policy's key is for this request, and whose it is; empty when it has none
    std::string sticky;      ///< what affinity does with this request; empty = there is none
    std::string subset;      ///< how many endpoints are in the route's subset; empty = the whole pool
    std::vector<EndpointView> endpoints;
};

struct Explanation {
    std::vector<PassedOver> passed_over;  ///< in file order, before the winner; those for other hosts are only counted
    std::size_t other_hosts = 0;          ///< routes before the winner that are for other hosts
    std::optional<RouteIndex> winner;
    std::optional<std::uint16_t> status;  ///< what we answer ourselves: redirect, respond, 404, 400
    std::string location;                 ///< of a redirect
    std::string refused;                  ///< why we answer 400
    std::string host, path;               ///< what the server is asked for, rewritten or not
    bool rewritten = false;
    std::vector<PoolView> pools;       ///< several with a split
    std::vector<std::string> remarks;  ///< fault, mirror, rate limits, header edits ... one line each
};

/// What else is known.
struct Around {
    std::span<const balance::EndpointState> states{};  ///< by EndpointId of this snapshot; empty = all count as up
    Instant now{};
    std::string_view client{};  ///< the bytes of the client's address in network order; empty = not known
};
/// O(routes), compiles patterns, allocates: for people.
[[nodiscard]] Explanation explain(const Snapshot& snapshot, const RequestView& request, const Around& around = {});
/// "peak_ewma", "maglev by header x-user, bounded load 1.25".
[[nodiscard]] std::string policy_text(const Pool& pool);

}  // namespace plimsoll::snapshot
