// What must hold between the items of a config for it to be served at all. Private to this room.
#pragma once

#include "config/config.h"

namespace plimsoll::config {

/// Appends findings: nothing to serve, repeated names and addresses, references to nothing, steps out of order.
void validate(const Config& config, const Sources& sources, Findings& findings);

}  // namespace plimsoll::config
