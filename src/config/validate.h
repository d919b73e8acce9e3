// What must hold between the items of a config for it to be served at all. Private to this room.
#pragma once

#include "config/config.h"

namespace plimsoll::config {

/// Findings kept of one file; more would only hide the first cause. The last one then says that it is not all.
inline constexpr std::size_t max_findings = 1000;
/// Appends unless there are max_findings already.
void add_bounded(Findings& findings, Finding finding);

/// Appends findings: nothing to serve, repeated names and addresses, references to nothing, steps out of order.
void validate(const Config& config, const Sources& sources, Findings& findings);

}  // namespace plimsoll::config
