// next(): what follows from one observation. The rules are in docs/formats/incident.md.
#include "incident/machine.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::incident {

using judge::Suspect;

std::string label(RevisionNumber revision) { return fmt::format("r{}", revision.value); }

void Machine::add(Incident& incident, Line line) {
    if (line.key && std::ranges::count_if(incident.lines, &Line::key) >= static_cast<std::ptrdiff_t>(max_key_lines)) {
        line.key = false;
    }
    if (!line.key && incident.lines.size() >= max_lines) {
        ++incident.lines_dropped;
        return;
    }
    incident.lines.push_back(std::move(line));
}

/// Sets a mark that is not set yet, with its key line.
bool Machine::mark(Incident& incident, Mark which, std::string line, std::string evidence) {
    auto& slot = incident.marks[static_cast<std::size_t>(which)];
    if (slot) return false;
    slot = stamp(incident);
    add(incident, {*slot, true, std::string(name(which)), std::move(line), std::move(evidence), {}});
    return true;
}

/// Makes `t0` the moment from which the incident is counted.
void Machine::begin_at(Incident& incident, Instant t0, std::string line) {
    const Duration moved = incident.t0 - t0;
    if (moved == Duration{0} && incident.at(Mark::t0)) return;
    for (auto& each : incident.marks) {
        if (each) each->since_t0 += moved;
    }
    for (Line& each : incident.lines) each.stamp.since_t0 += moved;
    incident.t0 = t0;
    const Stamp at{now_.wall + -(now_.instant - t0), Duration{0}};
    incident.marks[static_cast<std::size_t>(Mark::t0)] = at;
    add(incident, {at, true, "t0", std::move(line), {}, {}});
}

Incident& Machine::open(std::string pool, std::string subject, std::string line, bool change_at_hand) {
    if (state_.incidents.size() >= max_incidents) {
        const auto oldest = std::ranges::find_if(state_.incidents, [](const Incident& i) { return !i.is_open(); });
        state_.incidents.erase(oldest == state_.incidents.end() ? state_.incidents.begin() : oldest);
    }
    Incident& incident = state_.incidents.emplace_back();
    incident.number = state_.next_number++;
    incident.pool = std::move(pool);
    incident.subject = std::move(subject);
    incident.t0 = now_.instant;
    const auto& live = state_.live;
    if (live) incident.change = live->change;
    if (live && change_at_hand) {
        begin_at(incident, live->applied.instant,
                 fmt::format("{} took its first live traffic", label(live->change.revision)));
    } else {
        begin_at(incident, now_.instant, "onset: the first signal");
    }
    mark(incident, Mark::detected, std::move(line));
    return incident;
}

void Machine::tell_detected(Incident& incident) {
    if (incident.told) return;
    incident.told = true;
    const bool change_at_hand = incident.blames_change() || (state_.live && !state_.live->settled && incident.change);
    const Urgency urgency = change_at_hand || incident.cause ? Urgency::low : Urgency::page;
    incident.escalated = incident.escalated || urgency == Urgency::page;
    std::string line = fmt::format("{} detected: {}", incident.id(), incident.subject);
    if (incident.cause) {
        line += fmt::format("; cause: {}", incident.cause->subject);
    } else if (!change_at_hand) {
        line += "; no cause is known and nothing is being done about it";
    }
    effects_.push_back(Notify{Event::incident_detected, urgency, incident.id(), std::nullopt, std::move(line)});
}

void Machine::escalate(Incident& incident, std::string why) {
    if (incident.escalated) return;
    incident.escalated = true;
    incident.told = true;
    add(incident, {stamp(incident), true, "escalated", why, {}, {}});
    effects_.push_back(Notify{Event::incident_escalated, Urgency::page, incident.id(), std::nullopt,
                              fmt::format("{} needs a human: {}", incident.id(), why)});
    save(incident);
}

void Machine::ask(Incident& incident) {
    incident.asked = now_.instant;
    if (!incident.cause) effects_.push_back(WantDiagnosis{incident.id()});
    effects_.push_back(WantImpact{incident.id(), incident.t0});
}

void Machine::name_cause(Incident& incident, Cause cause) {
    if (incident.cause) {
        if (incident.cause->suspect == cause.suspect || incident.cause->score >= cause.score || !incident.is_open())
            return;
        incident.marks[static_cast<std::size_t>(Mark::cause_named)] = stamp(incident);
        log(incident, "cause", fmt::format("cause revised: {} instead of {}", cause.subject, incident.cause->subject),
            cause.evidence);
    }
    const Instant detected = incident.t0 + incident.at(Mark::detected)->since_t0;
    const auto& live = state_.live;
    const bool same = live && incident.change && live->change.revision == incident.change->revision;
    if (cause.suspect != Suspect::change) {
        begin_at(incident, detected, "onset: the first signal");
    } else if (same && live->applied.instant <= detected) {  // later: the same revision was tried again since
        begin_at(incident, live->applied.instant,
                 fmt::format("{} took its first live traffic", label(incident.change->revision)));
    }
    std::string line = cause.subject;
    for (const Altered& item : cause.items) {
        line += fmt::format("; {} {} -> {}", item.path, item.before.empty() ? "(none)" : item.before,
                            item.after.empty() ? "(none)" : item.after);
        if (!item.where.file.empty()) line += fmt::format(" ({}:{})", item.where.file, item.where.line);
        if (line.size() > 400) {
            line += fmt::format("; {} altered items in all", cause.items.size());
            break;
        }
    }
    incident.subject = cause.subject;
    mark(incident, Mark::cause_named, std::move(line), cause.evidence);
    incident.cause = std::move(cause);
    save(incident);
}

void Machine::recover(Incident& incident, std::string proof) {
    mark(incident, Mark::recovered, proof);
    incident.phase = Phase::recovered;
    incident.recovery_proof = std::move(proof);
    effects_.push_back(WantImpact{incident.id(), incident.t0});
    effects_.push_back(Notify{Event::incident_recovered, Urgency::low, incident.id(), std::nullopt,
                              fmt::format("{} recovered: {}", incident.id(), incident.recovery_proof)});
    incident.drafts = 0;
    save(incident);
}

void Machine::relapse(Incident& incident, const Alert& alert) {
    incident.phase = Phase::open;
    incident.marks[static_cast<std::size_t>(Mark::recovered)].reset();
    // The old line stays in the log, but the story's recovery is the last one.
    for (Line& line : incident.lines) line.key = line.key && line.what != name(Mark::recovered);
    incident.escalated = true;
    log(incident, "relapsed", fmt::format("relapsed: {}", alert.text));
    effects_.push_back(Notify{Event::incident_relapsed, Urgency::page, incident.id(), std::nullopt,
                              fmt::format("{} is back: {}", incident.id(), alert.text)});
    ask(incident);
    save(incident);
}

// ---- changes ----

/// The end of what is known of the course so far; what people and webhooks do runs beside it.
Instant Machine::latest_mark(const Incident& incident) {
    Duration latest{};
    for (const Mark each : {Mark::detected, Mark::mitigated, Mark::recovered}) {
        if (incident.at(each)) latest = std::max(latest, incident.at(each)->since_t0);
    }
    return incident.t0 + latest;
}

void Machine::operator()(const ChangeLive& seen) {
    happened(seen.at, {INT64_MIN});
    if (state_.live && state_.live->change.revision == seen.change.revision) {
        state_.live->share = seen.share;
    } else {
        state_.live = State::Live{seen.change, now_, seen.share, false, {}};
    }
    for (Incident& incident : state_.incidents) {
        if (!incident.is_open() || !incident.change || incident.change->revision != seen.change.revision) continue;
        log(incident, "stage",
            fmt::format("{} takes {:.4g} % of requests", label(seen.change.revision), seen.share.value * 100));
        save(incident);
    }
}

void Machine::operator()(const ChangeSettled& seen) {
    if (!state_.live || state_.live->change.revision != seen.revision || state_.live->settled) return;
    state_.live->settled = true;
    state_.live->settled_at = now_.instant;
    effects_.push_back(Notify{Event::change_accepted,
                              Urgency::info,
                              {},
                              state_.live->change,
                              fmt::format("{} passed all gates and is last known good", label(seen.revision))});
}

void Machine::operator()(const ChangeRejected& seen) {
    effects_.push_back(
        Notify{Event::change_rejected,
               Urgency::info,
               {},
               seen.change,
               fmt::format("a change was refused before it took traffic, by {}: {}", seen.gate, seen.text)});
}

void Machine::operator()(const TrialFailed& seen) {
    if (!state_.live || state_.live->change.revision != seen.revision) {
        // We were not told that it is live (a restart, perhaps): it is, since its trial has data.
        Change change;
        change.revision = seen.revision;
        state_.live = State::Live{std::move(change), now_, {}, false, {}};
    }
    happened(seen.at, state_.live->applied.instant);
    const auto found = std::ranges::find_if(state_.incidents, [&](const Incident& each) {
        return each.is_open() && each.change && each.change->revision == seen.revision &&
               (!each.cause || each.blames_change());
    });
    const std::string_view family = judge::name(seen.verdict.family);
    const std::string& text = seen.verdict.text;
    const std::string line = text.starts_with(family) ? text : fmt::format("{}: {}", family, text);
    Incident& incident =
        found != state_.incidents.end() ? *found : open("", fmt::format("change {}", label(seen.revision)), line, true);
    log(incident, "verdict", fmt::format("verdict {}: {}", judge::name(seen.verdict.decision), line),
        fmt::format("log evidence {:.4g}, threshold {:.4g}", seen.verdict.log_e, seen.verdict.threshold));
    const Change& change = *incident.change;
    name_cause(incident, {Suspect::change, fmt::format("change {}", label(seen.revision)), change.altered,
                          seen.verdict.text, seen.verdict.log_e});
    tell_detected(incident);
    ask(incident);
    save(incident);
}

// ---- the course of an incident ----

void Machine::operator()(const Diagnosed& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || seen.hypotheses.empty() || !incident->is_open()) return;
    incident->hypotheses = seen.hypotheses;
    const auto& top = seen.hypotheses.front();
    const bool ahead = seen.hypotheses.size() < 2 || top.score >= seen.hypotheses[1].score + 1;
    if (top.suspect == Suspect::change && !incident->change && state_.live) incident->change = state_.live->change;
    const bool nameable = top.suspect != Suspect::unknown && (top.suspect != Suspect::change || incident->change);
    if (nameable && top.score >= state_.settings.cause_nats && ahead) {
        Cause cause{top.suspect, top.subject, {}, top.evidence, top.score};
        if (top.suspect == Suspect::change) {
            std::ranges::copy_if(incident->change->altered, std::back_inserter(cause.items),
                                 [&](const Altered& item) { return top.subject.find(item.path) != std::string::npos; });
            if (cause.items.empty()) cause.items = incident->change->altered;
        }
        name_cause(*incident, std::move(cause));
    }
    tell_detected(*incident);
}

void Machine::operator()(const ImpactMeasured& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || incident->phase == Phase::reviewed) return;
    incident->impact = seen.impact;
    const IncidentSeverity now = severity(seen.impact);
    const bool changed = now != incident->severity;
    incident->severity = now;
    if (changed) {
        log(*incident, "impact",
            fmt::format("{}: {} of {} requests failed", name(now), seen.impact.failed, seen.impact.requests));
    }
    const bool final = incident->phase == Phase::recovered;
    if (changed || final) save(*incident);
    if (final && incident->drafts == 0) {
        incident->drafts = 1;
        effects_.push_back(DraftPostmortem{incident->id()});
    }
}

void Machine::operator()(const Mitigated& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || incident->phase != Phase::open) return;
    happened(seen.at, latest_mark(*incident));
    incident->phase = Phase::mitigated;
    incident->rolled_back_to = seen.to;
    incident->rollback_took = seen.took;
    std::string evidence = seen.took > Duration{0} ? fmt::format("took {}", text(seen.took)) : "";
    if (!mark(*incident, Mark::mitigated, seen.text, evidence)) log(*incident, "mitigated", seen.text, evidence);
    if (seen.to.value != 0 && state_.live && incident->change &&
        state_.live->change.revision == incident->change->revision) {
        state_.live.reset();
    }
    save(*incident);
}

void Machine::operator()(const MitigationFailed& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || !incident->is_open()) return;
    log(*incident, "mitigation_failed", seen.text);
    escalate(*incident, fmt::format("mitigation failed: {}", seen.text));
}

void Machine::operator()(const RecoveryChecked& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || !incident->is_open()) return;
    happened(seen.at, latest_mark(*incident));
    if (seen.proven) return recover(*incident, seen.text);
    const std::string line = fmt::format("not recovered yet: {}", seen.text);
    if (incident->lines.empty() || incident->lines.back().text != line) log(*incident, "recovery", line);
}

void Machine::operator()(const Acknowledged& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr) return;
    if (!mark(*incident, Mark::acknowledged, fmt::format("by {}", seen.who))) return;
    incident->owner = seen.who;
    save(*incident);
}

void Machine::operator()(const NoteAdded& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || seen.text.empty()) return;
    const std::string author = seen.who.empty() ? "somebody" : seen.who;
    add(*incident, {stamp(*incident), false, "note", seen.text.substr(0, max_note_bytes), {}, author});
    save(*incident);
}

void Machine::operator()(const Reviewed& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr || incident->phase != Phase::recovered) return;
    mark(*incident, Mark::reviewed, fmt::format("by {}", seen.who));
    incident->phase = Phase::reviewed;
    save(*incident);
}

void Machine::operator()(const Delivered& seen) {
    Incident* incident = find(seen.incident);
    if (incident == nullptr) return;
    const Delivery& d = seen.delivery;
    if (incident->deliveries.size() < max_deliveries) {
        incident->deliveries.push_back(d);
    } else {
        ++incident->lines_dropped;
    }
    const std::string outcome = d.status != 0 ? std::to_string(d.status) : d.error.empty() ? "no answer" : d.error;
    if (!d.arrived() || !mark(*incident, Mark::notified, fmt::format("{} answered {}", d.channel, outcome))) {
        log(*incident, "delivery",
            fmt::format("{}: attempt {} of {}: {}", d.channel, d.attempt, d.notification, outcome));
    }
    save(*incident);
}

/// What time brings about in one open incident.
void Machine::watch(Incident& incident) {
    const Settings& settings = state_.settings;
    const Duration age = since(incident, Mark::detected);
    if (!incident.told && age >= settings.diagnosis_grace) tell_detected(incident);
    if (now_.instant - incident.asked >= settings.ask_again) ask(incident);
    const bool blamed = incident.blames_change();
    const auto& live = state_.live;
    const bool still_live =
        blamed && incident.phase == Phase::open && live && live->change.revision == incident.change->revision;
    if (incident.phase == Phase::mitigated && blamed && since(incident, Mark::mitigated) >= settings.recovery_limit) {
        escalate(incident, fmt::format("recovery is not proven {} after mitigation", text(settings.recovery_limit)));
    }
    if (still_live && !live->settled && age >= settings.recovery_limit) {
        escalate(incident, fmt::format("{} is not rolled back {} after detection", incident.cause->subject,
                                       text(settings.recovery_limit)));
    }
    if (age >= settings.page_after && any_alert(incident, true) && incident.phase == Phase::open) {
        escalate(incident, fmt::format("users are still affected {} after detection", text(settings.page_after)));
    }
    // A rolled-back change is over when its recovery is measured; anything else when its signals stay away.
    if (any_alert(incident, false) || (blamed && incident.phase == Phase::mitigated)) return;
    if (ever_alerted(incident)) {
        recover(incident, fmt::format("all signals stayed away for {}", text(settings.resolve_hold)));
    } else if (incident.restored && age >= settings.relapse && !still_live) {
        recover(incident, "no signal since the restart");
    }
}

void Machine::pass_time() {
    now_ = arrived_;
    // By index: firing an alert may open an incident, and nothing here adds or removes alerts.
    for (std::size_t i = 0; i < state_.alerts.size(); ++i) move(state_.alerts[i]);
    for (Incident& incident : state_.incidents) {
        if (incident.is_open()) watch(incident);
    }
    std::erase_if(state_.alerts, [&](const Alert& alert) {
        if (alert.state != AlertState::resolved || now_.instant - alert.since < state_.settings.relapse) return false;
        const Incident* incident = find(alert.incident);
        return incident == nullptr || !incident->is_open();
    });
    for (Incident& incident : state_.incidents) {
        if (incident.phase == Phase::recovered && incident.drafts < 2 && !incident.restored &&
            since(incident, Mark::recovered) >= state_.settings.redraft) {
            incident.drafts = 2;
            effects_.push_back(DraftPostmortem{incident.id()});
        }
    }
    const auto& live = state_.live;
    if (live && live->settled && now_.instant - live->settled_at >= state_.settings.blame) state_.live.reset();
}

Step next(State state, const Observation& seen, Now now) {
    Step step{std::move(state), {}};
    Machine machine(step.state, step.effects, now);
    std::visit(machine, seen);
    machine.pass_time();
    return step;
}

void restore(State& state, Incident incident, Now now) {
    const auto& began = incident.at(Mark::t0);
    incident.t0 = began ? now.instant - (now.wall - began->at) : now.instant;
    incident.asked = now.instant;
    incident.restored = true;
    state.next_number = std::max(state.next_number, incident.number + 1);
    std::erase_if(state.incidents, [&](const Incident& each) { return each.number == incident.number; });
    const auto place = std::ranges::upper_bound(state.incidents, incident.number, {}, &Incident::number);
    state.incidents.insert(place, std::move(incident));
    if (state.incidents.size() > max_incidents) {
        const auto oldest = std::ranges::find_if(state.incidents, [](const Incident& each) { return !each.is_open(); });
        if (oldest != state.incidents.end()) state.incidents.erase(oldest);
    }
}

}  // namespace plimsoll::incident
