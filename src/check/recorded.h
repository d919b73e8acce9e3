// Recorded: what a recording knows of a request, as a route table asks for it, and what it does not know.
// Pure; values that live for a call.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "check/forecast.h"
#include "config/config.h"
#include "recording/recording.h"
#include "snapshot/questions.h"
#include "snapshot/snapshot.h"

namespace plimsoll::check {

/// Where requests are taken to have come in when that was not recorded: the first http listener with TLS, as plain ones
/// beside it mostly redirect, else the first; "" = nowhere.
[[nodiscard]] std::string_view usual_listener(const std::vector<config::Listener>& listeners);

/// What recorded listeners are called in a config. Keeps its arguments.
class ListenerNames {
public:
    /// `recorded_by`: of the config in force, so that a listener with another name at the same address is known again.
    ListenerNames(const std::vector<config::Listener>& listeners, const std::vector<config::Listener>& recorded_by)
        : listeners_(listeners), recorded_by_(recorded_by) {}
    /// By name, else by address, else the usual one.
    [[nodiscard]] std::string_view operator()(std::string_view recorded) const;

private:
    const std::vector<config::Listener>& listeners_;
    const std::vector<config::Listener>& recorded_by_;
};

/// For one match; a view of the answers.
[[nodiscard]] inline snapshot::Remembered remembered(const recording::Answers& answers) {
    return snapshot::Remembered(answers.digests(), answers.held);
}

/// One side of a comparison: which route a recorded request takes, and which it might have taken instead.
struct Way {
    const snapshot::Snapshot* in = nullptr;
    const snapshot::Route* route = nullptr;  ///< null = none
    const snapshot::Route* open = nullptr;   ///< it comes before `route`, and a condition of it was not recorded
    const snapshot::FieldCondition* condition = nullptr;
};
/// `listener` by its name in `in`; `Recorded` is a recording::Record or a RequestClass.
template <class Recorded>
[[nodiscard]] Way way_of(const snapshot::Snapshot& in, const Recorded& request, std::string_view listener) {
    snapshot::Remembered known = remembered(request.answers);
    snapshot::RequestView view;
    view.listener = listener;
    view.host = request.host;
    view.path = request.path;
    view.method = request.method;
    view.remembered = &known;
    Way way{.in = &in};
    const auto taken = in.match(view);
    if (taken) way.route = &in.route(*taken);
    if (const auto open = known.open(taken)) {
        way.open = &in.route(open->route);
        way.condition = open->condition;
    }
    return way;
}

/// The same pools, in the same parts.
[[nodiscard]] bool same_pools(const snapshot::Snapshot& before, const snapshot::Route& was,
                              const snapshot::Snapshot& after, const snapshot::Route& is);

/// Counts requests of which a condition is not known.
class UnjudgedCount {
public:
    void add(const Way& was, const Way& is, double requests);
    /// Largest first.
    [[nodiscard]] std::vector<Unjudged> out_of(double requests) const;

private:
    std::map<std::tuple<std::string, std::string, bool>, double> counted_;
};

}  // namespace plimsoll::check
