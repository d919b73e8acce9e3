#include "sim/traffic.h"

#include <algorithm>

namespace plimsoll::sim {

Source::Source(Traffic traffic, Random random) : traffic_(std::move(traffic)), random_(random) {
    if (const auto* poisson = std::get_if<Poisson>(&traffic_)) {
        double sum = 0;
        for (const Kind& kind : poisson->mix) cumulative_.push_back(sum += std::max(kind.weight, 0.0));
        next_.at = poisson->from;
    } else {
        auto& replayed = std::get<Replayed>(traffic_);
        const std::size_t have = replayed.recording ? replayed.recording->records.size() : 0;
        replayed.last = std::min(replayed.last, have);
        record_ = replayed.first;
        lap_ = replayed.from;
    }
    advance();
}

void Source::advance() {
    std::visit([this](const auto& traffic) { draw(traffic); }, traffic_);
}

void Source::draw(const Poisson& poisson) {
    if (!(poisson.rate > 0) || cumulative_.empty() || !(cumulative_.back() > 0)) {
        next_.at = never;
        return;
    }
    next_.at = next_.at + from_seconds(random_.exponential(1.0 / poisson.rate));
    if (next_.at >= poisson.to) {
        next_.at = never;
        return;
    }
    std::size_t k = 0;
    if (cumulative_.size() > 1) {
        const double x = random_.uniform() * cumulative_.back();
        k = static_cast<std::size_t>(std::ranges::upper_bound(cumulative_, x) - cumulative_.begin());
        k = std::min(k, cumulative_.size() - 1);
    }
    const Kind& kind = poisson.mix[k];
    next_.host = kind.host;
    next_.path = kind.path;
    next_.method = kind.method;
    next_.service = kind.service;
    next_.size = random_.normal();
    next_.key = random_.next();
    next_.client = next_.key;
}

void Source::draw(const Replayed& replayed) {
    if (replayed.first >= replayed.last || !(replayed.speed > 0)) {
        next_.at = never;
        return;
    }
    const auto& records = replayed.recording->records;
    const Duration begin = records[replayed.first].at;
    if (record_ == replayed.last) {
        if (!replayed.repeat) {
            next_.at = never;
            return;
        }
        // the lap is one mean gap longer than its records, so that the rate stays and a lap of one record moves on
        const Duration length = records[replayed.last - 1].at - begin;
        const auto gaps = static_cast<std::int64_t>(std::max<std::size_t>(replayed.last - replayed.first - 1, 1));
        const Duration whole = std::max(length + length / gaps, Duration(std::chrono::microseconds(1)));
        lap_ = lap_ + from_seconds(seconds(whole) / replayed.speed);
        record_ = replayed.first;
    }
    const recording::Record& record = records[record_++];
    next_.at = lap_ + from_seconds(seconds(record.at - begin) / replayed.speed);
    if (next_.at >= replayed.to) {
        next_.at = never;
        return;
    }
    next_.host = record.host;
    next_.path = record.path;
    next_.method = record.method;
    next_.listener = record.listener;
    next_.answers = &record.answers;
    const bool known = replayed.recorded_service && record.service > Duration::zero();
    next_.service = known ? record.service : Duration{};
    next_.size = random_.normal();
    next_.key = random_.next();
    next_.client = record.client_key;
}

}  // namespace plimsoll::sim
