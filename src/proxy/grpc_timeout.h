// grpc-timeout: how long the caller of a gRPC method waits. Pure.
// Source: gRPC over HTTP2 (grpc/doc/PROTOCOL-HTTP2.md, "Timeout"): 1 to 8 digits and a unit of H M S m u n.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace plimsoll::proxy {

/// nullopt: not of the form above (the field is then ignored and forwarded as it is). Longer than 292 years, the most a
/// Duration holds, becomes that. "0m" is zero: over already.
[[nodiscard]] std::optional<Duration> parse_grpc_timeout(std::string_view text);
/// The finest unit that holds it in 8 digits, rounded down so that the endpoint never has longer than the caller waits;
/// zero and less is "0n".
[[nodiscard]] std::string format_grpc_timeout(Duration timeout);

}  // namespace plimsoll::proxy
