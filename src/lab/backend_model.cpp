#include "lab/backend_model.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace plimsoll::lab {

std::size_t workers_for(double capacity, Duration mean) {
    const double wanted = std::round(capacity * seconds(mean));
    return wanted < 1 ? 1 : static_cast<std::size_t>(wanted);
}

BackendModel::BackendModel(const BackendSettings& settings, Random random)
    : settings_(settings), random_(random), free_at_(workers_for(settings.capacity, settings.mean), Instant{}) {}

void BackendModel::forget_started(Instant now) {
    while (!starts_.empty() && starts_.front() <= now) starts_.pop_front();
}

BackendModel::Admission BackendModel::arrive(Instant now) {
    const bool failed = faults_.fail_share > 0 && random_.chance(faults_.fail_share);
    if (settings_.fast || (failed && faults_.fail_fast)) {
        return {.admitted = true, .failed = failed, .start = now, .done = now};
    }
    forget_started(now);
    if (starts_.size() >= settings_.queue && free_at_.front() > now) return {};

    // Whole workers rarely give exactly the capacity asked for; the mean is bent so that workers / mean does.
    const double mean = static_cast<double>(free_at_.size()) / settings_.capacity;
    const double drawn = settings_.sigma > 0 ? random_.lognormal(mean, settings_.sigma) : mean;
    const Instant start = std::max(now, free_at_.front());
    const Instant done = start + from_seconds(drawn * faults_.slow);
    std::ranges::pop_heap(free_at_, std::greater{});
    free_at_.back() = done;
    std::ranges::push_heap(free_at_, std::greater{});
    if (start > now) starts_.push_back(start);
    return {.admitted = true, .failed = failed, .start = start, .done = done};
}

std::size_t BackendModel::waiting(Instant now) {
    forget_started(now);
    return starts_.size();
}

std::size_t BackendModel::busy(Instant now) const {
    return static_cast<std::size_t>(std::ranges::count_if(free_at_, [now](Instant at) { return at > now; }));
}

void BackendModel::set_capacity(double capacity, Instant now) {
    settings_.capacity = capacity;
    const std::size_t wanted = workers_for(capacity, settings_.mean);
    std::ranges::sort(free_at_);
    // Those that free up first go: what is promised to waiting requests stands.
    while (free_at_.size() > wanted) free_at_.erase(free_at_.begin());
    while (free_at_.size() < wanted) free_at_.push_back(now);
    std::ranges::make_heap(free_at_, std::greater{});
}

}  // namespace plimsoll::lab
