#include "sim/backend.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::sim {
namespace {

/// A server of undeclared capacity must never be what decides: it has as many workers as requests could come.
constexpr std::uint32_t workers_without_limit = 100'000;
constexpr std::uint32_t most_workers = 1'000'000;

}  // namespace

EndpointModel sized(double capacity, Duration service, double sigma) {
    EndpointModel model;
    model.service = std::max(service, Duration{1000});
    model.sigma = sigma;
    if (!(capacity > 0)) {
        model.workers = workers_without_limit;
        return model;
    }
    const double wanted = std::round(capacity * seconds(model.service));
    model.workers = static_cast<std::uint32_t>(std::clamp(wanted, 1.0, static_cast<double>(most_workers)));
    model.scale = static_cast<double>(model.workers) / (capacity * seconds(model.service));
    model.service = std::max(from_seconds(static_cast<double>(model.workers) / capacity), Duration{1});
    return model;
}

Backend::Taken Backend::submit(const Job& job) {
    if (std::holds_alternative<Refuse>(fault_)) return Taken::refused;
    if (const auto* fail = std::get_if<Fail>(&fault_)) {
        if (fail->fast && (!job.probe || fail->probes) && random_.chance(fail->share)) return Taken::failed;
    }
    const bool stuck = std::holds_alternative<Hang>(fault_);
    if (!stuck && busy_ < model_.workers) {
        ++busy_;
        return Taken::started;
    }
    if (queue_.size() < model_.queue) {
        queue_.push_back(job);
        return Taken::queued;
    }
    return stuck ? Taken::swallowed : Taken::full;
}

Duration Backend::work_time(const Job& job, Instant now) const {
    double ns = 0;
    if (job.service > Duration::zero()) {
        ns = static_cast<double>(job.service.count()) * (job.probe ? 1.0 : model_.scale);
    } else {
        ns = static_cast<double>(model_.service.count());
        if (model_.sigma > 0) ns *= std::exp(model_.sigma * job.size - 0.5 * model_.sigma * model_.sigma);
    }
    if (const auto* slow = std::get_if<Slow>(&fault_)) ns *= slow->factor;
    if (const auto* cold = std::get_if<Cold>(&fault_); cold != nullptr && now < cold_until_) ns *= cold->factor;
    return Duration{std::max<std::int64_t>(1, std::llround(std::min(ns, 1e15)))};
}

bool Backend::finish_one(Job& next) {
    if (busy_ > 0) --busy_;
    return resume_one(next);
}

std::uint16_t Backend::answer(const Job& job) {
    if (std::holds_alternative<Hang>(fault_)) return 0;
    if (const auto* fail = std::get_if<Fail>(&fault_)) {
        if (!fail->fast && (!job.probe || fail->probes) && random_.chance(fail->share)) return 500;
    }
    return 200;
}

bool Backend::resume_one(Job& next) {
    if (std::holds_alternative<Hang>(fault_) || busy_ >= model_.workers || queue_.empty()) return false;
    next = queue_.front();
    queue_.pop_front();
    ++busy_;
    return true;
}

void Backend::apply(const Fault& fault, Instant now, std::deque<Job>& lost) {
    fault_ = fault;
    if (const auto* cold = std::get_if<Cold>(&fault_)) cold_until_ = now + cold->span;
    if (std::holds_alternative<Refuse>(fault_)) {
        lost.swap(queue_);
        busy_ = 0;
        ++life_;
    }
}

}  // namespace plimsoll::sim
