// A list of endpoints by itself, as discovery reads it from a file: each item as in a pool's `endpoints`, with the same
// rules and the same findings.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace plimsoll::config {

/// What came of reading: endpoints if no finding is an error.
struct ParsedEndpoints {
    std::optional<std::vector<Endpoint>> endpoints;
    Findings findings;
};

/// Reads YAML or JSON (which is YAML): a list of {address, weight, zone, ...}. An address twice is a finding, so is
/// anything but a list; an empty list is none. Names default to the address. Limits as parse().
[[nodiscard]] ParsedEndpoints parse_endpoints(std::string_view yaml, std::string file);

}  // namespace plimsoll::config
