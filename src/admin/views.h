// Views: what control knows, as people and programs read it. JSON objects have a member "text", the same for a
// terminal. Pure functions of control's state.
#pragma once

#include <map>
#include <string>

#include "admin/metrics_page.h"
#include "control/control.h"

namespace plimsoll::admin {

[[nodiscard]] std::string status_json(const control::Control& control);
/// What discovery has found and is believed, by pool and source.
[[nodiscard]] std::string members_json(const control::Control& control);
[[nodiscard]] std::string changes_json(const control::Control& control);
/// Empty when there is no such change.
[[nodiscard]] std::string change_json(const control::Control& control, const std::string& id);
[[nodiscard]] std::string incidents_json(const control::Control& control);
/// Empty when there is no such incident.
[[nodiscard]] std::string incident_json(const control::Control& control, const std::string& id);
[[nodiscard]] std::string plan_json(const control::PlanAnswer& answer);
[[nodiscard]] std::string postmortem_json(const std::map<std::string, std::string>& files);

/// What monitoring asks for; names and bounds: docs/observability.md.
[[nodiscard]] std::string metrics(const control::Control& control, MetricsFormat format);

}  // namespace plimsoll::admin
