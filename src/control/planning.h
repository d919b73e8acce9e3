// Planning: everything that can be said about a proposed config before it takes traffic: read, check, project, replay.
// Pure but for reading the recording's files; runs on the background thread, on values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "check/check.h"
#include "config/config.h"
#include "control/certificate_files.h"
#include "discovery/membership.h"
#include "rollout/traffic_facts.h"

namespace plimsoll::control {

struct PlanRequest {
    std::string text, file;  ///< the proposed config
    config::Config active;
    std::string base_name;              ///< "r41 (last known good)"
    std::vector<std::string> segments;  ///< of the recording
    double peak_rate = 0;               ///< highest seen, requests/s; 0 = take the recording's own
    Timestamp now{};                    ///< wall clock, for certificates that expire
    std::vector<check::OutOfRotation> out;
    std::uint64_t seed = 1;
    /// Where certificates come from; null: they are read for this plan only.
    std::shared_ptr<CertificateFiles> certificates{};
    discovery::Found found;     ///< endpoints known now, for both configs
    bool nobody_asks = false;   ///< no server: pools with sources count as served, and nothing is replayed with them
    bool found_is_all = false;  ///< sources of the proposed config that are not in `found` have been asked in vain
};

struct Planned {
    std::optional<config::Document> document;  ///< empty: the text could not be read; `plan.findings` say why
    check::Plan plan;
    check::Verdict verdict = check::Verdict::rejected;
    Findings checks;          ///< of reading and checking
    Findings forecasts;       ///< of the forecast
    bool unservable = false;  ///< it would serve nobody; cannot be forced
    rollout::PoolMix mix;     ///< of recorded requests over the proposed pools; empty = nothing recorded
    double peak_rate = 0;
    bool unasked = false;  ///< only `document` is there: its sources have to be asked before anything can be said
};

/// `between` is called between parts of a few milliseconds: see Background::Turns.
[[nodiscard]] Planned make_planned(const PlanRequest& request, const std::function<void()>& between = {});

/// No listener, no route of an HTTP listener, or a pool that routes name without an endpoint that may take traffic.
[[nodiscard]] bool unservable(const config::Config& config);

}  // namespace plimsoll::control
