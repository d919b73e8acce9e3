#include "check/recorded.h"

#include <algorithm>

namespace plimsoll::check {

namespace {

constexpr std::size_t max_unjudged = 20;  // what a person reads

}  // namespace

std::string_view usual_listener(const std::vector<config::Listener>& listeners) {
    const config::Listener* found = nullptr;
    for (const config::Listener& listener : listeners) {
        if (listener.protocol != config::Protocol::http) continue;
        if (found == nullptr || (listener.tls && !found->tls)) found = &listener;
    }
    return found == nullptr ? std::string_view() : std::string_view(found->name);
}

std::string_view ListenerNames::operator()(std::string_view recorded) const {
    const auto named = std::ranges::find(listeners_, recorded, &config::Listener::name);
    if (named != listeners_.end()) return named->name;
    const auto was = std::ranges::find(recorded_by_, recorded, &config::Listener::name);
    if (was != recorded_by_.end()) {
        const auto there = std::ranges::find(listeners_, was->address, &config::Listener::address);
        if (there != listeners_.end()) return there->name;
    }
    return usual_listener(listeners_);
}

bool same_pools(const snapshot::Snapshot& before, const snapshot::Route& was, const snapshot::Snapshot& after,
                const snapshot::Route& is) {
    return std::ranges::equal(was.targets, is.targets, [&](const auto& a, const auto& b) {
        return before.pool(a.pool).name == after.pool(b.pool).name && a.upto == b.upto;
    });
}

void UnjudgedCount::add(const Way& was, const Way& is, double requests) {
    const Way& way = is.open != nullptr ? is : was;
    if (way.open == nullptr) return;
    const bool alike = was.open != nullptr && is.open != nullptr && was.open->name == is.open->name &&
                       was.condition->digest == is.condition->digest && was.condition->invert == is.condition->invert &&
                       same_pools(*was.in, *was.open, *is.in, *is.open);
    counted_[{way.open->name, (way.condition->invert ? "not " : "") + way.condition->text, alike}] += requests;
}

std::vector<Unjudged> UnjudgedCount::out_of(double requests) const {
    std::vector<Unjudged> all;
    for (const auto& [what, count] : counted_) {
        const auto& [route, condition, alike] = what;
        all.push_back({route, condition, requests > 0 ? count / requests : 0, alike});
    }
    std::ranges::sort(all, [](const Unjudged& a, const Unjudged& b) {
        return std::tie(b.fraction, a.route, a.condition) < std::tie(a.fraction, b.route, b.condition);
    });
    if (all.size() > max_unjudged) all.resize(max_unjudged);
    return all;
}

}  // namespace plimsoll::check
