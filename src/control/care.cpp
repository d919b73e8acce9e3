#include "control/care.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>

#include "rollout/rollout.h"

namespace plimsoll::control {

namespace {

/// Seconds before T0 that a postmortem shows, so that "before" can be seen, and after its last mark.
constexpr Duration lead = std::chrono::seconds(30);
constexpr Duration tail = std::chrono::seconds(10);
/// Configs kept in memory for scenarios of changes in progress; older ones are in the journal.
constexpr std::size_t max_configs = 8;
/// Error rate that counts as usual even where there never was an error: one in a thousand.
constexpr double quiet_error_rate = 0.001;

template <class... F>
struct Overloaded : F... {
    using F::operator()...;
};

Result<void> write_file(const std::filesystem::path& path, const std::string& content) {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    file << content;
    file.close();
    if (!file) return fail(Code::io, fmt::format("{}: cannot write", path.string()));
    return {};
}

/// One example request a route, at the rate the route has now: what a scenario needs to be faithful to routing.
std::vector<incident::Traffic> traffic_by_route(const Site& site) {
    std::vector<std::uint64_t> counts(site.active->routes.size(), 0);
    std::uint64_t all = 0;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const std::uint32_t id = site.active->routes[i].id.value;
        for (const measure::ArmTally& arm : site.totals.arms)
            counts[i] += arm.routes[id].requests;
        all += counts[i];
    }
    std::vector<incident::Traffic> traffic;
    for (std::size_t i = 0; i < counts.size(); ++i) {
        if (counts[i] == 0) continue;
        const config::Match& match = site.active->routes[i].match;
        traffic.push_back({match.host.value_or(""), match.path.value_or(match.path_prefix.value_or("/")),
                           site.rate * static_cast<double>(counts[i]) / static_cast<double>(all)});
    }
    std::ranges::sort(traffic, std::ranges::greater{}, &incident::Traffic::rate);
    return traffic;
}

}  // namespace

Care::Care(Parts parts) : parts_(std::move(parts)) {
    // Recovery is measured by rollout, which has this long: no page before it has spoken.
    state_.settings.recovery_limit = rollout::recovery_limit + std::chrono::seconds(5);
}

incident::Now Care::now() const { return {parts_.network.now(), parts_.network.wall()}; }

void Care::restore() {
    for (const auto& [id, json] : parts_.ledger.history().incidents) {
        auto read = incident::from_json(json);
        if (!read) {
            spdlog::warn("incident {} in the journal cannot be read: {}", id, read.error().detail);
            continue;
        }
        incident::restore(state_, std::move(*read), now());
    }
}

void Care::remember_change(RevisionNumber revision, std::string before, std::string after) {
    configs_[revision.value] = {std::move(before), std::move(after)};
    while (configs_.size() > max_configs) configs_.erase(configs_.begin());
}

void Care::observe(const incident::Observation& seen) {
    std::deque<incident::Observation> todo{seen};
    while (!todo.empty()) {
        incident::Step step = incident::next(std::move(state_), todo.front(), now());
        todo.pop_front();
        state_ = std::move(step.state);
        std::vector<incident::Observation> answers;
        for (const incident::Effect& effect : step.effects) perform(effect, answers);
        for (incident::Observation& answer : answers) todo.push_back(std::move(answer));
    }
}

void Care::perform(const incident::Effect& effect, std::vector<incident::Observation>& answers) {
    std::visit(
        Overloaded{
            [&](const incident::Save& save) {
                const incident::Incident* incident = state_.find(save.incident);
                if (incident == nullptr) return;
                const auto written = parts_.ledger.append(
                    incident_entry(save.incident, incident::to_json(*incident), parts_.network.wall()));
                if (!written)
                    spdlog::error("{} could not be written to the journal: {}", save.incident, written.error().detail);
            },
            [&](const incident::Notify& notify) {
                const incident::Incident* about = notify.incident.empty() ? nullptr : state_.find(notify.incident);
                parts_.notify(notify, about);
            },
            [&](const incident::WantDiagnosis& want) {
                answers.push_back(incident::Diagnosed{want.incident, judge::diagnose(parts_.scene())});
            },
            [&](const incident::WantImpact& want) {
                answers.push_back(incident::ImpactMeasured{want.incident, impact(want.t0)});
            },
            [&](const incident::DraftPostmortem& draft) { write_postmortem(draft.incident); },
        },
        effect);
}

incident::Impact Care::impact(Instant t0) const {
    incident::Impact out;
    const judge::Baseline& usual = parts_.site.watch.usual();
    out.p99_usual = usual.total.quantile(0.99);
    const std::size_t slow = measure::Histogram::bucket(out.p99_usual) + 1;
    const std::vector<judge::EndpointFacts> facts = parts_.site.facts();
    for (const measure::Second& second : parts_.site.series.seconds()) {
        if (second.at + std::chrono::seconds(1) <= t0) continue;
        const measure::Histogram total = second.total();
        out.requests += second.requests();
        out.failed += second.failed();
        if (usual.requests > 0) out.slow += total.at_least(slow);
        if (total.count() > 0) out.p99_worst = std::max(out.p99_worst, total.quantile(0.99));
        for (const judge::EndpointFacts& endpoint : facts) {
            if (endpoint.capacity <= 0 || endpoint.id.value >= second.endpoints.size()) continue;
            const double busy = second.endpoints[endpoint.id.value].all_picks() / endpoint.capacity;
            if (busy <= out.utilisation_worst) continue;
            out.utilisation_worst = busy;
            out.utilisation_endpoint = endpoint.name;
        }
    }
    out.failed_usual = usual.error_rate() * static_cast<double>(out.requests);
    return out;
}

Care::Recovery Care::recovery(const incident::Incident& incident) const {
    const Site& site = parts_.site;
    const Duration window = site.active_document.config.guard.recovery_window;
    const Instant end = parts_.network.now();
    const measure::Second recent = site.series.sum(end - window - std::chrono::seconds(1), end);
    const judge::Baseline& usual = site.watch.usual();
    const double error_rate =
        recent.requests() == 0 ? 0 : static_cast<double>(recent.failed()) / static_cast<double>(recent.requests());
    const double allowed = std::max(quiet_error_rate, 2 * usual.error_rate());
    const Duration p99 = recent.total().quantile(0.99);
    const bool still = std::ranges::any_of(state_.alerts, [&](const incident::Alert& alert) {
        return alert.incident == incident.id() && alert.state != incident::AlertState::resolved;
    });
    Recovery checked;
    checked.served = recent.requests() > 0 && error_rate <= allowed;
    checked.proven = checked.served && !still;
    checked.text = fmt::format("{} requests in {}: {:.2f} % failed (usual {:.2f} %), p99 {} (usual {}){}",
                               recent.requests(), text(window), error_rate * 100, usual.error_rate() * 100, text(p99),
                               text(usual.total.quantile(0.99)), still ? "; a signal still fires" : "");
    return checked;
}

void Care::tick() {
    observe(incident::Tick{});
    // A rollback proves its own recovery (rollout); what is left is harm that no change did.
    std::vector<incident::Observation> found;
    for (const incident::Incident& incident : state_.incidents) {
        if (!incident.is_open() || incident.blames_change()) continue;
        const Recovery checked = recovery(incident);
        if (checked.served && incident.phase == incident::Phase::open && incident.cause)
            found.push_back(
                incident::Mitigated{incident.id(), "requests are served as usual: " + checked.text, {}, {}});
        if (checked.proven) found.push_back(incident::RecoveryChecked{incident.id(), true, checked.text});
    }
    for (const incident::Observation& observation : found) observe(observation);
}

std::string Care::incident_of(RevisionNumber revision) const {
    for (auto incident = state_.incidents.rbegin(); incident != state_.incidents.rend(); ++incident)
        if (incident->change && incident->change->revision == revision) return incident->id();
    return {};
}

incident::Curves Care::curves_around(const incident::Incident& incident) const {
    std::vector<incident::Curves::Endpoint> endpoints;
    std::vector<EndpointId> ids;
    for (const judge::EndpointFacts& facts : parts_.site.facts()) {
        endpoints.push_back({facts.name, facts.expected_active});
        ids.push_back(facts.id);
    }
    Instant last = incident.t0;
    for (const auto& mark : incident.marks)
        if (mark) last = std::max(last, incident.t0 + mark->since_t0);
    return incident::curves(parts_.site.series, std::move(endpoints), ids, incident.t0, incident.t0 - lead,
                            last + tail);
}

Result<std::map<std::string, std::string>> Care::postmortem(const std::string& id) const {
    const incident::Incident* incident = state_.find(id);
    if (incident == nullptr) return fail(Code::not_found, fmt::format("there is no incident {}", id));
    const std::filesystem::path directory = std::filesystem::path(parts_.directory) / id;
    std::map<std::string, std::string> files;
    std::error_code error;
    for (const auto& file : std::filesystem::directory_iterator(directory, error)) {
        std::ifstream stream(file.path(), std::ios::binary);
        files[file.path().filename().string()] = {std::istreambuf_iterator<char>(stream), {}};
    }
    if (!files.empty()) return files;
    // Not drafted yet (still open): what is known so far, without pictures.
    files["postmortem.md"] =
        incident::postmortem(*incident, curves_around(*incident), {parts_.version, "", "", "", ""});
    return files;
}

void Care::write_postmortem(const std::string& id) {
    const incident::Incident* incident = state_.find(id);
    if (incident == nullptr) return;
    const std::filesystem::path directory = std::filesystem::path(parts_.directory) / id;
    std::error_code made;
    std::filesystem::create_directories(directory, made);

    const incident::Curves curves = curves_around(*incident);
    const incident::Plots plots = incident::plots(*incident, curves);
    std::map<std::string, std::string> files{
        {"share.svg", plots.share}, {"errors.svg", plots.errors}, {"latency.svg", plots.latency}};
    incident::Postmortem about{parts_.version, "share.svg", "errors.svg", "latency.svg", ""};
    if (incident->change) {
        const auto configs = configs_.find(incident->change->revision.value);
        const auto scenario = incident::scenario(*incident, {parts_.site.rate, traffic_by_route(parts_.site), 1});
        if (configs != configs_.end() && scenario) {
            about.scenario_file = "regression.scenario";
            files["regression.scenario"] = *scenario;
            files[incident->change->before_file] = configs->second.before;
            files[incident->change->after_file] = configs->second.after;
        }
    }
    files["postmortem.md"] = incident::postmortem(*incident, curves, about);
    for (const auto& [name, content] : files) {
        if (const auto written = write_file(directory / name, content); !written) {
            spdlog::error("the postmortem of {} could not be written: {}", id, written.error().detail);
            return;
        }
    }
    spdlog::info("{}: postmortem drafted in {}", id, directory.string());
}

}  // namespace plimsoll::control
