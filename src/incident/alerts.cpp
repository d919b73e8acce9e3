// Signals to alerts, alerts to incidents: hysteresis, grouping, inhibition.
#include <fmt/format.h>

#include <algorithm>

#include "incident/machine.h"

namespace plimsoll::incident {

using judge::SignalKind;

namespace {

/// Symptoms that users feel, as against those that only a server feels.
bool felt_by_users(SignalKind kind) {
    return kind == SignalKind::errors || kind == SignalKind::latency || kind == SignalKind::missing;
}

}  // namespace

bool touches(const Change& change, std::string_view pool) {
    if (pool.empty() || change.altered.empty()) return true;
    const std::string prefix = fmt::format("pools.{}", pool);
    return std::ranges::any_of(change.altered, [&](const Altered& item) {
        if (!item.path.starts_with("pools.")) return true;
        return item.path == prefix || item.path.starts_with(prefix + ".") || item.path.starts_with(prefix + "[");
    });
}

Alert* Machine::alert_of(const SignalSeen& seen) {
    const auto found = std::ranges::find_if(state_.alerts, [&](const Alert& alert) {
        return alert.kind == seen.signal.kind && alert.subject == seen.signal.subject && alert.pool == seen.pool;
    });
    if (found != state_.alerts.end()) return &*found;
    if (!seen.signal.firing) return nullptr;
    if (state_.alerts.size() >= max_alerts) {
        ++state_.alerts_dropped;
        return nullptr;
    }
    return &state_.alerts.emplace_back(Alert{.kind = seen.signal.kind,
                                             .subject = seen.signal.subject,
                                             .pool = seen.pool,
                                             .state = AlertState::pending,
                                             .since = now_.instant,
                                             .fired = 0,
                                             .text = seen.signal.text,
                                             .incident = {}});
}

void Machine::operator()(const SignalSeen& seen) {
    Alert* alert = alert_of(seen);
    if (alert == nullptr) return;
    if (!seen.signal.firing) {
        if (alert->state == AlertState::pending) {
            state_.alerts.erase(state_.alerts.begin() + (alert - state_.alerts.data()));
        } else if (alert->state == AlertState::firing) {
            alert->state = AlertState::clearing;
            alert->since = now_.instant;
        }
        return;
    }
    alert->text = seen.signal.text;
    if (alert->state == AlertState::clearing) {
        alert->state = AlertState::firing;
        alert->since = now_.instant;
    } else if (alert->state == AlertState::resolved) {
        alert->state = AlertState::pending;
        alert->since = now_.instant;
    }
}

bool Machine::covers(const Incident& incident, const Alert& alert) const {
    if (!incident.is_open()) return false;
    // More requests than usual are nobody's symptom: they come from outside.
    const bool change =
        incident.blames_change() || (!incident.cause && incident.change && state_.live && !state_.live->settled);
    if (change) return alert.kind != SignalKind::demand && touches(*incident.change, alert.pool);
    return incident.pool.empty() || alert.pool.empty() || incident.pool == alert.pool;
}

void Machine::fire(Alert& alert) {
    alert.state = AlertState::firing;
    alert.since = now_.instant;
    ++alert.fired;
    const std::string before = alert.incident;
    const auto covering = std::ranges::find_if(state_.incidents, [&](const Incident& i) { return covers(i, alert); });
    if (covering != state_.incidents.end()) {
        alert.incident = covering->id();
        const bool known = alert.fired > 1 && before == alert.incident;
        log(*covering, "alert", fmt::format("{} {}: {}", judge::name(alert.kind), known ? "again" : "too", alert.text));
        ask(*covering);
        save(*covering);
        return;
    }
    Incident* old = before.empty() ? nullptr : find(before);
    if (old != nullptr &&
        now_.instant - old->t0 - old->marks[static_cast<std::size_t>(Mark::recovered)].value_or(Stamp{}).since_t0 <
            state_.settings.relapse &&
        old->phase == Phase::recovered) {
        return relapse(*old, alert);
    }
    const auto& live = state_.live;
    const bool at_hand =
        live && !live->settled && alert.kind != SignalKind::demand && touches(live->change, alert.pool);
    Incident& incident =
        open(alert.pool, fmt::format("{} of {}", judge::name(alert.kind), alert.subject), alert.text, at_hand);
    alert.incident = incident.id();
    if (at_hand) tell_detected(incident);  // else once a diagnosis is there, or the grace for it is over
    ask(incident);
    save(incident);
}

void Machine::move(Alert& alert) {
    const Duration lasted = now_.instant - alert.since;
    if (alert.state == AlertState::pending && lasted >= state_.settings.pending) fire(alert);
    if (alert.state == AlertState::clearing && lasted >= state_.settings.resolve_hold) {
        alert.state = AlertState::resolved;
        alert.since = now_.instant;
        if (Incident* incident = find(alert.incident); incident != nullptr) {
            log(*incident, "alert", fmt::format("{} of {} resolved", judge::name(alert.kind), alert.subject));
            save(*incident);
        }
    }
}

bool Machine::any_alert(const Incident& incident, bool only_felt) const {
    const std::string id = incident.id();
    return std::ranges::any_of(state_.alerts, [&](const Alert& alert) {
        return alert.incident == id && (alert.state == AlertState::firing || alert.state == AlertState::clearing) &&
               (!only_felt || felt_by_users(alert.kind));
    });
}

bool Machine::ever_alerted(const Incident& incident) const {
    const std::string id = incident.id();
    return std::ranges::any_of(state_.alerts, [&](const Alert& alert) { return alert.incident == id; });
}

}  // namespace plimsoll::incident
