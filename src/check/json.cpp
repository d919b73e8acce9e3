// Plans and forecasts as JSON: docs/formats/plan.md.
#include <nlohmann/json.hpp>

#include "check/check.h"

namespace plimsoll::check {

namespace {

using Json = nlohmann::ordered_json;

Json nullable(std::optional<double> value) { return value ? Json(*value) : Json(nullptr); }

Json json(const Where& where) { return {{"file", where.file}, {"line", where.line}, {"column", where.column}}; }

Json json(const Finding& f) {
    return {{"severity", name(f.severity)}, {"code", f.code},       {"path", f.path},
            {"where", json(f.where)},       {"message", f.message}, {"remedy", f.remedy}};
}

Json json(const config::Difference& d) {
    using Kind = config::Difference::Kind;
    const std::string_view kind = d.kind == Kind::added ? "added" : d.kind == Kind::removed ? "removed" : "changed";
    return {{"kind", kind},
            {"path", d.path},
            {"before", d.before},
            {"after", d.after},
            {"now_default", d.now_default},
            {"where", json(d.where)}};
}

Json json(const EndpointForecast& e) {
    return {{"pool", e.pool},
            {"endpoint", e.name},
            {"address", text(e.address)},
            {"present_now", e.present_now},
            {"present_after", e.present_after},
            {"out_of_rotation", e.out},
            {"share_now", e.share_now.value},
            {"share_after", e.share_after.value},
            {"peak_per_second_now", e.rate_now},
            {"peak_per_second_after", e.rate_after},
            {"capacity_per_second", e.capacity > 0 ? Json(e.capacity) : Json(nullptr)},
            {"capacity_source", name(e.source)},
            {"utilisation_now", nullable(e.utilisation_now())},
            {"utilisation_after", nullable(e.utilisation_after())}};
}

Json json(const Moved& m) {
    return {{"fraction", m.fraction},
            {"host", m.host},
            {"path", m.path},
            {"route_before", m.route_before},
            {"route_after", m.route_after},
            {"pool_before", m.pool_before},
            {"pool_after", m.pool_after}};
}

Json json(const Unjudged& u) {
    return {{"route", u.route}, {"condition", u.condition}, {"fraction", u.fraction}, {"alike", u.alike}};
}

Json json(const FaultForecast& f) {
    return {{"fault", f.fault},
            {"harmed_now", f.harmed_now},
            {"harmed_after", f.harmed_after},
            {"share_now", f.share_now},
            {"share_after", f.share_after}};
}

template <class T>
Json list(const std::vector<T>& values) {
    Json out = Json::array();
    for (const T& value : values) out.push_back(json(value));
    return out;
}

void put_load(Json& out, const LoadForecast& load) {
    out["no_endpoint_now"] = load.no_endpoint_now;
    out["no_endpoint_after"] = load.no_endpoint_after;
    out["endpoints"] = list(load.endpoints);
    if (load.simulated) {
        const Simulated& s = *load.simulated;
        out["simulated"] = {{"failed_now", s.failed_now},
                            {"failed_after", s.failed_after},
                            {"slow_limit_ms", milliseconds(s.slow_limit)},
                            {"slow_now", s.slow_now},
                            {"slow_after", s.slow_after},
                            {"p99_ms_now", milliseconds(s.p99_now)},
                            {"p99_ms_after", milliseconds(s.p99_after)}};
    }
    out["faults"] = list(load.faults);
}

Json json(const Forecast& f) {
    Json out{{"method", f.method == Forecast::Method::replay ? "replay" : "projection"},
             {"has_data", f.has_data()},
             {"requests", f.requests},
             {"every", f.every},
             {"span_ms", milliseconds(f.span)},
             {"peak_per_second", f.peak_rate},
             {"route_changed", f.route_changed},
             {"pool_changed", f.pool_changed},
             {"route_lost", f.route_lost},
             {"route_gained", f.route_gained},
             {"moved", list(f.moved)},
             {"unjudged", list(f.unjudged)}};
    put_load(out, f);
    if (f.recovered) {
        out["down"] = f.down;
        put_load(out["recovered"], *f.recovered);
    }
    return out;
}

/// Bytes of an operator's file may not be UTF-8; they are shown, not fatal.
std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

std::string to_json(const Forecast& forecast) { return dump(json(forecast)); }

std::string to_json(const Plan& plan, const std::vector<std::string>& allowed) {
    std::string_view word = "rejected";
    switch (verdict(plan, allowed)) {
        case Verdict::no_change: word = "no_change"; break;
        case Verdict::pass: word = "pass"; break;
        case Verdict::hold: word = "hold"; break;
        case Verdict::rejected: break;
    }
    return dump({{"format", 1},
                 {"base", plan.base},
                 {"base_digest", plan.base_digest},
                 {"file", plan.file},
                 {"digest", plan.digest},
                 {"verdict", word},
                 {"allowed", allowed},
                 {"utilisation_cap", plan.utilisation_cap},
                 {"differences", list(plan.differences)},
                 {"findings", list(plan.findings)},
                 {"forecast", json(plan.forecast)}});
}

}  // namespace plimsoll::check
