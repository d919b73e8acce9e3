// Names, severity and small views of an incident.
#include "incident/incident.h"

#include <algorithm>

namespace plimsoll::incident {

std::string_view name(AlertState state) {
    switch (state) {
        case AlertState::pending: return "pending";
        case AlertState::firing: return "firing";
        case AlertState::clearing: return "clearing";
        case AlertState::resolved: return "resolved";
    }
    return "?";
}

std::string_view name(Mark mark) {
    switch (mark) {
        case Mark::t0: return "t0";
        case Mark::detected: return "detected";
        case Mark::notified: return "notified";
        case Mark::acknowledged: return "acknowledged";
        case Mark::cause_named: return "cause_named";
        case Mark::mitigated: return "mitigated";
        case Mark::recovered: return "recovered";
        case Mark::reviewed: return "reviewed";
    }
    return "?";
}

std::string_view name(IncidentSeverity severity) {
    switch (severity) {
        case IncidentSeverity::sev1: return "SEV-1";
        case IncidentSeverity::sev2: return "SEV-2";
        case IncidentSeverity::sev3: return "SEV-3";
        case IncidentSeverity::sev4: return "SEV-4";
    }
    return "?";
}

std::string_view name(Phase phase) {
    switch (phase) {
        case Phase::open: return "open";
        case Phase::mitigated: return "mitigated";
        case Phase::recovered: return "recovered";
        case Phase::reviewed: return "reviewed";
    }
    return "?";
}

std::string_view name(Urgency urgency) {
    switch (urgency) {
        case Urgency::info: return "info";
        case Urgency::low: return "low";
        case Urgency::page: return "page";
    }
    return "?";
}

std::string_view name(Event event) {
    switch (event) {
        case Event::change_accepted: return "change.accepted";
        case Event::change_rejected: return "change.rejected";
        case Event::incident_detected: return "incident.detected";
        case Event::incident_escalated: return "incident.escalated";
        case Event::incident_recovered: return "incident.recovered";
        case Event::incident_relapsed: return "incident.relapsed";
    }
    return "?";
}

IncidentSeverity severity(const Impact& impact) {
    const double failed = impact.failed_share();
    if (failed >= 0.10 && impact.requests >= 100) return IncidentSeverity::sev1;
    const bool crawling = impact.p99_usual > Duration{0} && impact.p99_worst >= 10 * impact.p99_usual &&
                          static_cast<double>(impact.slow) >= 0.01 * static_cast<double>(impact.requests);
    if ((failed >= 0.01 && impact.failed >= 20) || crawling) return IncidentSeverity::sev2;
    // One per cent of requests is slower than the usual p99 even on a good day; twice that is not.
    const bool slowed =
        impact.slow > 0 && static_cast<double>(impact.slow) > 0.02 * static_cast<double>(impact.requests);
    if (static_cast<double>(impact.failed) > impact.failed_usual + 0.5 || slowed) return IncidentSeverity::sev3;
    return IncidentSeverity::sev4;
}

std::string Incident::id() const { return "INC-" + std::to_string(number); }

std::vector<Line> Incident::key_lines() const {
    std::vector<Line> out;
    std::ranges::copy_if(lines, std::back_inserter(out), &Line::key);
    // Insertion sort: at most ten, and lines of the same moment keep their order.
    for (std::size_t i = 1; i < out.size(); ++i) {
        for (std::size_t k = i; k > 0 && out[k].stamp.since_t0 < out[k - 1].stamp.since_t0; --k) {
            std::swap(out[k], out[k - 1]);
        }
    }
    return out;
}

const Incident* State::find(std::string_view id) const {
    const auto found = std::ranges::find_if(incidents, [&](const Incident& incident) { return incident.id() == id; });
    return found == incidents.end() ? nullptr : &*found;
}

}  // namespace plimsoll::incident
