#include "admin/views.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/exit_code.h"

namespace plimsoll::admin {

namespace {

using Json = nlohmann::json;
using control::Control;

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string revision_name(RevisionNumber number) { return fmt::format("r{}", number.value); }

/// One endpoint over the last ten seconds.
struct EndpointView {
    judge::EndpointFacts facts;
    std::string address;
    double rate = 0, share = 0, wanted = 0, failures = 0;
    std::uint32_t in_flight = 0;
    balance::Health health = balance::Health::unknown;
    balance::Standing standing;
    Duration out_for{};  ///< that is left of an ejection or a pause; 0 = it takes requests, as far as its checks go
};

std::string health_text(const EndpointView& one) {
    if (one.health == balance::Health::down || one.out_for <= Duration{}) return std::string(name(one.health));
    const auto left = text(std::chrono::ceil<std::chrono::seconds>(one.out_for));
    if (one.standing.by == balance::OutBy::retry_after) return fmt::format("PAUSED {} (retry-after)", left);
    return fmt::format("EJECTED {} ({})", left, name(one.standing.by));
}

struct SiteView {
    std::vector<EndpointView> endpoints;
    measure::Second recent;
    double spanned = 10;
};

/// Addresses of what serves, as the config writes them.
std::unordered_map<std::uint32_t, std::string> addresses(const control::Site& site) {
    std::unordered_map<std::uint32_t, std::string> all;
    for (const snapshot::Snapshot* snapshot : {site.active.get(), site.candidate.get()}) {
        if (snapshot == nullptr) continue;
        for (const snapshot::Pool& pool : snapshot->pools)
            for (const snapshot::Endpoint& endpoint : pool.endpoints)
                all.try_emplace(endpoint.id.value, text(endpoint.address));
    }
    return all;
}

SiteView look(const Control& control) {
    const control::Site& site = control.site();
    SiteView view;
    auto known = addresses(site);
    const Instant now = control.network().now();
    view.recent = site.series.sum(now - std::chrono::seconds(10), now);
    double picks = 0;
    for (const measure::EndpointSecond& endpoint : view.recent.endpoints) picks += endpoint.all_picks();
    for (const judge::EndpointFacts& facts : site.facts()) {
        EndpointView one;
        one.facts = facts;
        one.address = std::move(known[facts.id.value]);
        one.wanted = facts.expected_active * (1 - site.share.value) + facts.expected_candidate * site.share.value;
        one.health = control.prober().health(facts.id);
        one.standing = control.standing(facts.id);
        one.out_for = one.standing.out_until > now ? one.standing.out_until - now : Duration{};
        if (facts.id.value < view.recent.endpoints.size()) {
            const measure::EndpointSecond& seen = view.recent.endpoints[facts.id.value];
            one.rate = seen.all_picks() / view.spanned;
            one.share = picks > 0 ? seen.all_picks() / picks : 0;
            one.failures = seen.failures;
            one.in_flight = seen.in_flight;
        }
        view.endpoints.push_back(std::move(one));
    }
    return view;
}

std::size_t open_incidents(const Control& control) {
    return static_cast<std::size_t>(std::ranges::count_if(
        control.care().state().incidents, [](const incident::Incident& incident) { return incident.is_open(); }));
}

std::string status_text(const Control& control, const SiteView& view) {
    const control::History& history = control.history();
    const control::Site& site = control.site();
    const Control::Gauges gauges = control.gauges();
    const double error_rate = view.recent.requests() == 0 ? 0
                                                          : static_cast<double>(view.recent.failed()) /
                                                                static_cast<double>(view.recent.requests());
    const Instant now = control.network().now();
    std::string out = fmt::format("plimsoll {}  up {}  {} live{}  {} workers  {} connections\n",
                                  control.settings().version, text(now - gauges.started), revision_name(history.active),
                                  history.last_known_good() == history.active ? " = last known good" : "",
                                  gauges.workers, gauges.connections);
    out += fmt::format("{:.0f} requests/s  errors {:.2f} %  p50 {}  p99 {}  open incidents {}\n", site.rate,
                       error_rate * 100, text(view.recent.total().quantile(0.5)),
                       text(view.recent.total().quantile(0.99)), open_incidents(control));
    if (control.changes().in_progress())
        out +=
            fmt::format("change {} in progress: {}\n", control.changes().current_id(), control.changes().stage_text());
    if (!history.changes.empty()) {
        const control::ChangeRecord& last = history.changes.back();
        if (!last.ending.empty()) out += fmt::format("last change {}: {}\n", last.id, last.summary);
    }
    if (gauges.journal_failures > 0) out += fmt::format("JOURNAL FAILING: {}\n", gauges.journal_failure);
    if (gauges.recorder_failures > 0) out += fmt::format("RECORDING FAILING: {}\n", gauges.recorder_failure);
    for (const judge::Signal& signal : site.watch.firing()) out += fmt::format("SIGNAL {}\n", signal.text);
    for (const auto& seen : control.members().firing()) out += fmt::format("SIGNAL {}\n", seen.signal.text);
    for (const control::SourceFigures& source : gauges.sources)
        if (!source.standing.empty())
            out += fmt::format("DISCOVERY of pool {} ({}): {}\n", source.pool, source.source, source.standing);
    if (gauges.probes.starved)
        out +=
            fmt::format("HEALTH CHECKS STARVED: {} results discarded, health stands still\n", gauges.probes.discarded);
    out += fmt::format("\n{:<12} {:<12} {:>7} {:>7} {:>9} {:>6} {:>9} {:>6}  {}\n", "POOL", "ENDPOINT", "SHARE",
                       "WANTED", "RATE", "UTIL", "FAILURES", "INFL", "HEALTH");
    for (const EndpointView& one : view.endpoints) {
        const std::string utilisation =
            one.facts.capacity > 0 ? fmt::format("{:.2f}", one.rate / one.facts.capacity) : "-";
        out += fmt::format("{:<12} {:<12} {:>6.1f}% {:>6.1f}% {:>7.1f}/s {:>6} {:>9} {:>6}  {}\n", one.facts.pool,
                           one.facts.name, one.share * 100, one.wanted * 100, one.rate, utilisation, one.failures,
                           one.in_flight, health_text(one));
    }
    return out;
}

std::string change_line(const control::ChangeRecord& change) {
    return fmt::format("{:<5} {}  {:<10} {:<12} {}{}", change.id, rfc3339(change.submitted),
                       change.revision == RevisionNumber{} ? "-" : revision_name(change.revision),
                       change.ending.empty() ? "in progress" : change.ending, change.author,
                       change.reason.empty() ? "" : ": " + change.reason);
}

Json change_object(const control::ChangeRecord& change) {
    Json out{{"id", change.id},
             {"base", change.base.value},
             {"revision", change.revision.value},
             {"digest", change.digest},
             {"file", change.file},
             {"author", change.author},
             {"reason", change.reason},
             {"forced", change.forced},
             {"at_once", change.at_once},
             {"submitted", rfc3339(change.submitted)},
             {"ending", change.ending},
             {"exit", change.exit_code},
             {"summary", change.summary},
             {"incident", change.incident}};
    if (!change.ending.empty()) out["ended"] = rfc3339(change.ended);
    if (!change.detail.empty()) out["detail"] = Json::parse(change.detail, nullptr, false);
    return out;
}

std::string incident_line(const incident::Incident& incident) {
    const auto& began = incident.at(incident::Mark::t0);
    return fmt::format("{:<7} {}  {:<6} {:<10} {}", incident.id(), began ? rfc3339(began->at) : "-",
                       incident::name(incident.severity), incident::name(incident.phase),
                       incident.cause ? incident.cause->subject : incident.subject + " (cause not named)");
}

std::string incident_text(const incident::Incident& incident) {
    std::string out = incident_line(incident) + "\n";
    if (incident.cause) {
        out += fmt::format("cause: {}\n  {}\n", incident.cause->subject, incident.cause->evidence);
        for (const incident::Altered& item : incident.cause->items)
            out += fmt::format("  {}:{} {}: {} -> {}\n", item.where.file, item.where.line, item.path, item.before,
                               item.after);
    }
    out += fmt::format("impact: {} of {} requests failed, {} slow; worst p99 {} (usual {})\n", incident.impact.failed,
                       incident.impact.requests, incident.impact.slow, text(incident.impact.p99_worst),
                       text(incident.impact.p99_usual));
    for (const incident::Line& line : incident.key_lines())
        out += fmt::format("  {}  {:<13} {}\n", rfc3339(line.stamp.at), line.what, line.text);
    return out;
}

}  // namespace

namespace {

/// Each source of endpoints, and the newest changes of its members.
Json discovery_list(const Control& control) {
    constexpr std::size_t shown = 10;
    Json list = Json::array();
    for (const control::SourceFigures& source : control.members().figures()) {
        Json changes = Json::array();
        const auto& all = control.history().membership_changes;
        for (auto change = all.rbegin(); change != all.rend() && changes.size() < shown; ++change) {
            if (change->pool != source.pool || change->source != source.source) continue;
            changes.push_back({{"at", rfc3339(change->at)},
                               {"before", change->before},
                               {"after", change->after},
                               {"added", change->added.size()},
                               {"removed", change->removed.size()},
                               {"altered", change->altered.size()}});
        }
        list.push_back({{"pool", source.pool},
                        {"source", source.source},
                        {"members", source.members},
                        {"doubted", source.doubted},
                        {"answers", source.answers},
                        {"failures", source.failures},
                        {"held", source.held},
                        {"good_age_s", source.good_age_s < 0 ? Json(nullptr) : Json(source.good_age_s)},
                        {"differs_s", source.differs_s},
                        {"standing", source.standing},
                        {"changes", std::move(changes)}});
    }
    return list;
}

}  // namespace

std::string status_json(const Control& control) {
    const SiteView view = look(control);
    const control::History& history = control.history();
    const control::Site& site = control.site();
    Json endpoints = Json::array();
    for (const EndpointView& one : view.endpoints)
        endpoints.push_back({{"pool", one.facts.pool},
                             {"name", one.facts.name},
                             {"address", one.address},
                             {"share", one.share},
                             {"wanted", one.wanted},
                             {"rate", one.rate},
                             {"capacity", one.facts.capacity},
                             {"failures", one.failures},
                             {"in_flight", one.in_flight},
                             {"health", name(one.health)},
                             {"out_by", one.out_for > Duration{} ? name(one.standing.by) : ""},
                             {"out_for_ms", milliseconds(one.out_for)}});
    Json signals = Json::array();
    for (const judge::Signal& signal : site.watch.firing())
        signals.push_back({{"kind", judge::name(signal.kind)}, {"subject", signal.subject}, {"text", signal.text}});
    for (const auto& seen : control.members().firing())
        signals.push_back(
            {{"kind", judge::name(seen.signal.kind)}, {"subject", seen.signal.subject}, {"text", seen.signal.text}});
    const Control::Gauges gauges = control.gauges();
    return dump({{"version", control.settings().version},
                 {"active", history.active.value},
                 {"digest", site.active->digest},
                 {"last_known_good", history.last_known_good().value},
                 {"candidate", site.candidate ? site.candidate->revision.value : 0},
                 {"share", site.share.value},
                 {"rate", site.rate},
                 {"peak_rate", site.peak_rate},
                 {"requests", view.recent.requests()},
                 {"failed", view.recent.failed()},
                 {"p50_ms", milliseconds(view.recent.total().quantile(0.5))},
                 {"p99_ms", milliseconds(view.recent.total().quantile(0.99))},
                 {"open_incidents", open_incidents(control)},
                 {"change", control.changes().current_id()},
                 {"stage", control.changes().stage_text()},
                 {"connections", gauges.connections},
                 {"workers", gauges.workers},
                 {"journal_failures", gauges.journal_failures},
                 {"endpoints", std::move(endpoints)},
                 {"discovery", discovery_list(control)},
                 {"signals", std::move(signals)},
                 {"text", status_text(control, view)}});
}

std::string members_json(const Control& control) {
    return "{\"members\":" + control::found_json(control.members().found()) + "}";
}

std::string changes_json(const Control& control) {
    Json list = Json::array();
    std::string human;
    const auto& changes = control.history().changes;
    for (auto change = changes.rbegin(); change != changes.rend(); ++change) {
        list.push_back(change_object(*change));
        human += change_line(*change) + "\n";
    }
    if (changes.empty()) human = "no change has been proposed yet\n";
    return dump({{"changes", std::move(list)}, {"text", human}});
}

std::string change_json(const Control& control, const std::string& id) {
    const control::ChangeRecord* change = control.history().change(id);
    if (change == nullptr) return {};
    Json out = change_object(*change);
    std::string human = change_line(*change) + "\n";
    Json lines = Json::array();
    for (const control::ChangeRecord::Line& line : change->lines) {
        lines.push_back({{"at", rfc3339(line.at)}, {"stage", line.stage}, {"text", line.text}});
        if (!line.text.starts_with('{'))
            human += fmt::format("  {}  {:<9} {}\n", rfc3339(line.at), line.stage, line.text);
    }
    if (!change->summary.empty()) human += change->summary + "\n";
    out["lines"] = std::move(lines);
    out["text"] = human;
    return dump(out);
}

std::string incidents_json(const Control& control) {
    Json list = Json::array();
    std::string human;
    const auto& incidents = control.care().state().incidents;
    for (auto incident = incidents.rbegin(); incident != incidents.rend(); ++incident) {
        list.push_back(Json::parse(incident::to_json(*incident)));
        human += incident_line(*incident) + "\n";
    }
    if (incidents.empty()) human = "no incidents\n";
    return dump({{"incidents", std::move(list)}, {"text", human}});
}

std::string incident_json(const Control& control, const std::string& id) {
    const incident::Incident* incident = control.care().state().find(id);
    if (incident == nullptr) return {};
    Json out = Json::parse(incident::to_json(*incident));
    out["text"] = incident_text(*incident);
    return dump(out);
}

std::string plan_json(const control::PlanAnswer& answer) {
    const control::Planned& planned = answer.planned;
    Json out = Json::parse(check::to_json(planned.plan));
    std::string verdict = "accepted";
    if (planned.verdict == check::Verdict::rejected) verdict = "rejected";
    if (planned.verdict == check::Verdict::no_change) verdict = "no_change";
    std::string human = check::describe(planned.plan);
    if (!answer.frozen.empty() && verdict == "accepted") {
        verdict = "conflict";
        human += fmt::format(
            "\nFROZEN: this configuration was undone before: {}\n`plimsoll thaw {:.12} -m WHY` allows it.\n",
            answer.frozen, planned.plan.digest);
    }
    out["verdict"] = verdict;
    out["exit"] = verdict == "rejected"   ? exit_code::rejected
                  : verdict == "conflict" ? exit_code::conflict
                                          : exit_code::done;
    out["text"] = human;
    return dump(out);
}

std::string postmortem_json(const std::map<std::string, std::string>& files) { return dump({{"files", files}}); }

}  // namespace plimsoll::admin
