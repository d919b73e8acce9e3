// From check's forecast to what a rollout must know of it.
#pragma once

#include "check/forecast.h"
#include "rollout/rollout.h"

namespace plimsoll::rollout {

/// `findings` = check::judge_forecast(forecast, ...); any error among them refuses. The summary is one line for people:
/// what moves, and the busiest endpoint.
[[nodiscard]] Forecasted foretold(const check::Forecast& forecast, Findings findings);

}  // namespace plimsoll::rollout
