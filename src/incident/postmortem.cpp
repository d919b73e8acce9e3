// The postmortem as Markdown, in the five sections of the story. Facts only; judgement is left to people, visibly.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "incident/postmortem.h"

namespace plimsoll::incident {
namespace {

constexpr Duration far = std::chrono::hours(1'000'000);

/// Text that cannot break a table, a line or turn into markup.
std::string cell(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (static_cast<unsigned char>(c) < 0x20) {
            out += ' ';
        } else {
            if (std::string_view("|*_`<[\\").find(c) != std::string_view::npos) out += '\\';
            out += c;
        }
    }
    return out;
}

/// "0.310 s", "95.210 s (1m35s)"
std::string exact(Duration d) {
    std::string out = fmt::format("{:.3f} s", seconds(d));
    if (d >= std::chrono::minutes(1)) out += fmt::format(" ({})", text(d));
    return out;
}

std::string blank(std::string_view question) { return fmt::format("\n> **To be written:** {}\n", question); }

/// "1,234,567"
std::string number(std::uint64_t n) {
    std::string digits = std::to_string(n);
    for (std::size_t i = digits.size(); i > 3; i -= 3) digits.insert(i - 3, ",");
    return digits;
}

std::string percent(double part, double whole) {
    return whole <= 0 ? "-" : fmt::format("{:.3f} %", 100 * part / whole);
}

/// What kind of line it is, for a table.
std::string words(const Line& line) {
    if (line.what == "t0") return "T0";
    std::string out = line.what;
    std::ranges::replace(out, '_', ' ');
    return out;
}

/// Evidence in nats as odds that people can weigh.
std::string odds(double nats) {
    if (nats > 20) return "more than 400 million to 1";
    return fmt::format("about {} to 1",
                       number(static_cast<std::uint64_t>(std::llround(std::exp(std::max(0.0, nats))))));
}

class Writer {
public:
    Writer(const Incident& incident, const Curves& curves, const Postmortem& about)
        : incident_(incident), curves_(curves), about_(about) {}
    std::string write() {
        head();
        overview();
        timeline();
        root_cause();
        mitigation();
        prevention();
        metrics();
        return std::move(out_);
    }

private:
    template <class... Args>
    void put(fmt::format_string<Args...> format, Args&&... args) {
        out_ += fmt::format(format, std::forward<Args>(args)...);
        out_ += '\n';
    }
    void head();
    void overview();
    void impact();
    void timeline();
    void picture(const std::string& link, std::string_view words);
    void root_cause();
    void alternatives();
    void mitigation();
    void prevention();
    void metrics();
    void metric(std::string_view what, Mark mark, std::string_view clock, std::string_view story);
    [[nodiscard]] Duration since(Mark mark) const { return incident_.at(mark)->since_t0; }
    [[nodiscard]] bool has(Mark mark) const { return incident_.at(mark).has_value(); }
    [[nodiscard]] std::string revision() const { return fmt::format("r{}", incident_.change->revision.value); }

    const Incident& incident_;
    const Curves& curves_;
    const Postmortem& about_;
    std::string out_;
};

void Writer::head() {
    put("# {}: {}\n", incident_.id(), cell(incident_.subject));
    const bool reviewed = incident_.phase == Phase::reviewed;
    put("| | |\n|---|---|");
    put("| Status | {} |", reviewed ? "reviewed" : "draft, written by the machine");
    put("| Severity | {} (computed from measured impact) |", name(incident_.severity));
    put("| Owner | {} |", incident_.owner.empty() ? "**to be named**" : cell(incident_.owner));
    put("| Began (T0) | {} |", has(Mark::t0) ? rfc3339(incident_.at(Mark::t0)->at) : "-");
    put("| Pool | {} |", incident_.pool.empty() ? "all" : cell(incident_.pool));
    put("| Written by | Plimsoll {} from its journal |\n", cell(about_.version));
}

void Writer::overview() {
    put("## Overview\n");
    if (incident_.blames_change()) {
        const Change& change = *incident_.change;
        put("{} (by {}: \"{}\") took its first live traffic at T0 and did harm: {}.", revision(),
            change.author.empty() ? "an unnamed author" : cell(change.author), cell(change.reason),
            cell(incident_.cause->evidence));
    } else if (incident_.cause) {
        put("Not a change: the cause is {}. {}.", cell(incident_.cause->subject), cell(incident_.cause->evidence));
    } else {
        put("{} was seen; no cause has been named.", cell(incident_.subject));
    }
    if (has(Mark::detected)) out_ += fmt::format("It was detected {} after T0", exact(since(Mark::detected)));
    if (has(Mark::mitigated))
        out_ += fmt::format(", {} after {}",
                            incident_.rolled_back_to.value != 0
                                ? fmt::format("rolled back to r{}", incident_.rolled_back_to.value)
                                : "mitigated",
                            exact(since(Mark::mitigated)));
    if (has(Mark::recovered)) out_ += fmt::format(", and recovery was proven after {}", exact(since(Mark::recovered)));
    put("{}\n", has(Mark::recovered) ? "." : ". It is not over.");
    impact();
}

void Writer::impact() {
    const Impact& impact = incident_.impact;
    const auto requests = static_cast<double>(impact.requests);
    put("| Impact, T0 to {} | |\n|---|---|", has(Mark::recovered) ? "recovery" : "now");
    put("| Requests | {} |", number(impact.requests));
    put("| Failed, seen by clients | {} ({}; usual would have been {:.1f}) |", number(impact.failed),
        percent(static_cast<double>(impact.failed), requests), impact.failed_usual);
    put("| Saved by another attempt | {} |", number(impact.retried));
    put("| Slower than the usual p99 | {} ({}; usual is 1 %) |", number(impact.slow),
        percent(static_cast<double>(impact.slow), requests));
    if (impact.p99_worst > Duration{0})
        put("| p99, worst second | {:.1f} ms (usual {:.1f} ms) |", milliseconds(impact.p99_worst),
            milliseconds(impact.p99_usual));
    if (impact.utilisation_worst > 0)
        put("| Busiest server | {} at {:.2f} x its capacity |", cell(impact.utilisation_endpoint),
            impact.utilisation_worst);
    const Duration end = has(Mark::mitigated) ? since(Mark::mitigated) : far;
    const Duration cut = Duration{1} - std::chrono::seconds(1);
    // The second that T0 falls into counts as during.
    const double during = skew(curves_, cut, end);
    if (during > 0)
        put("| Largest share / expected share of a server | {:.2f} during, {:.2f} before |", during,
            skew(curves_, -far, cut));
    put("");
}

void Writer::timeline() {
    put("## Timeline of Events\n\nTimes are UTC. \"Since T0\" is measured on the monotonic clock.\n");
    put("| time | since T0 | | what | evidence |\n|---|---|---|---|---|");
    for (const Line& line : incident_.key_lines()) {
        put("| {} | {:+.3f} s | {} | {} | {} |", rfc3339(line.stamp.at).substr(11, 12), seconds(line.stamp.since_t0),
            words(line), cell(line.text), cell(line.evidence));
    }
    put("");
    bool any_note = false;
    for (const Line& line : incident_.lines) {
        if (line.author.empty()) continue;
        if (!any_note) put("Notes of people:\n");
        any_note = true;
        put("- {} {}: {}", rfc3339(line.stamp.at).substr(11, 12), cell(line.author), cell(line.text));
    }
    if (any_note) put("");
    put("The full log has {} lines{}: `plimsoll incidents show {} --log`.\n", incident_.lines.size(),
        incident_.lines_dropped == 0 ? "" : fmt::format(" ({} more were not kept)", incident_.lines_dropped),
        incident_.id());
    picture(about_.share_plot, "Share of decisions per server over time");
    picture(about_.errors_plot, "Failed requests over time");
    picture(about_.latency_plot, "Latency over time");
}

void Writer::picture(const std::string& link, std::string_view words) {
    if (!link.empty()) put("![{}]({})\n", words, link);
}

void Writer::root_cause() {
    put("## Root Cause Analysis\n\n### Triggering cause\n");
    if (incident_.blames_change()) {
        put("{}: {}.\n", cell(incident_.cause->subject), cell(incident_.cause->evidence));
        if (!incident_.cause->items.empty()) put("| altered item | before | after | place |\n|---|---|---|---|");
        for (const Altered& item : incident_.cause->items) {
            put("| {} | {} | {} | {} |", cell(item.path), cell(item.before), cell(item.after),
                item.where.file.empty() ? "-" : fmt::format("{}:{}", cell(item.where.file), item.where.line));
        }
        put("");
    } else if (incident_.cause) {
        put("{}: {}.\n", cell(incident_.cause->subject), cell(incident_.cause->evidence));
        if (incident_.change) put("{} was live at the time and is not the cause.\n", revision());
    } else {
        put("No hypothesis had enough evidence.\n");
    }
    if (incident_.cause)
        put("Weight of the evidence: {} ({:.1f} nats).\n", odds(incident_.cause->score), incident_.cause->score);
    alternatives();
    put("### Contributing factors");
    if (incident_.change && !incident_.change->forced.empty()) {
        out_ += "\nOverridden by hand when it was applied: ";
        for (const std::string& gate : incident_.change->forced)
            out_ += fmt::format("{}{}", &gate == &incident_.change->forced.front() ? "" : ", ", cell(gate));
        put(".");
    }
    out_ += blank(
        incident_.blames_change()
            ? "why did check, replay, shadow and the earlier stages not stop it? What made it look right at the time?"
            : "what made this possible, and what made it as large as it was?");
    put("");
}

void Writer::alternatives() {
    if (incident_.hypotheses.empty()) return;
    put("Hypotheses weighed, best first:\n\n| hypothesis | score, nats | evidence |\n|---|---|---|");
    for (const auto& each : incident_.hypotheses)
        put("| {} | {:.1f} | {} |", cell(each.subject), each.score, cell(each.evidence));
    put("");
}

void Writer::mitigation() {
    put("## Mitigation Steps\n");
    int step = 0;
    if (has(Mark::mitigated)) {
        const auto lines = incident_.key_lines();
        const auto line = std::ranges::find(lines, name(Mark::mitigated), &Line::what);
        put("{}. At +{}: {}.{}", ++step, exact(since(Mark::mitigated)),
            line == lines.end() ? "mitigated" : cell(line->text),
            incident_.rollback_took > Duration{0} ? fmt::format(" The rollback itself took {:.3f} ms, from the first "
                                                                "worker told to the last one that acknowledged.",
                                                                milliseconds(incident_.rollback_took))
                                                  : "");
        if (incident_.rolled_back_to.value != 0)
            put("{}. A change that was rolled back is frozen: it is refused until somebody releases it with a reason.",
                ++step);
    }
    if (has(Mark::recovered))
        put("{}. At +{} recovery was proven: {}.", ++step, exact(since(Mark::recovered)),
            cell(incident_.recovery_proof));
    if (step == 0) put("Nothing was done by the machine.");
    if (has(Mark::recovered)) {
        // The second that recovery falls into is not whole.
        const double after = skew(curves_, since(Mark::recovered) + std::chrono::seconds(1), far);
        if (after > 0) put("\nAfter recovery the largest share / expected share of a server was {:.2f}.", after);
    }
    out_ += blank("what did people do, and did it help?");
    put("");
}

void Writer::prevention() {
    put("## Preventive Measures\n\n### Rigorous testing before production\n");
    if (!about_.scenario_file.empty())
        put("- A regression scenario of this incident is ready: [{0}]({0}). Every later plan can be played against it.",
            about_.scenario_file);
    if (incident_.change && !incident_.change->forced.empty())
        put("- The gates had refused it, and were forced. Forcing is where to begin.");
    out_ += blank("which check or test, had it existed, would have refused this? Owner, date.");
    put("\n### Monitoring and alerting\n");
    const auto first = std::ranges::find(incident_.lines, name(Mark::detected), &Line::what);
    if (first != incident_.lines.end())
        put("- First to speak, at {:+.3f} s: {}.", seconds(first->stamp.since_t0), cell(first->text));
    int more = 0;
    for (const Line& line : incident_.lines) {
        if (line.what == "alert" && more < 5) put("- At {:+.3f} s: {}.", seconds(line.stamp.since_t0), cell(line.text));
        more += line.what == "alert" ? 1 : 0;
    }
    if (more > 5) put("- And {} more lines about alerts in the full log.", more - 5);
    out_ += blank("which signal was late, silent or noise? Owner, date.");
    put("\n### Incident response plan\n");
    const auto undelivered =
        std::ranges::count_if(incident_.deliveries, [](const Delivery& d) { return !d.arrived(); });
    put("- Attempts to notify: {}, of which {} did not arrive.", incident_.deliveries.size(), undelivered);
    if (!has(Mark::notified)) put("- Nobody was notified.");
    put("- {}", incident_.escalated
                    ? "A human was called."
                    : "No human was called: the machine rolled back or the trouble healed, and that was verified.");
    if (!has(Mark::acknowledged)) put("- Nobody has acknowledged it.");
    out_ += blank("did the right people know in time, and did they know what to do? Owner, date.");
    put("");
}

void Writer::metric(std::string_view what, Mark mark, std::string_view clock, std::string_view story) {
    const bool known = has(mark) && has(Mark::detected);
    put("| {} | {} | {} | {} | {} |", what, known ? exact(since(mark)) : "-",
        known ? fmt::format("{:+.3f} s", seconds(since(mark) - since(Mark::detected))) : "-", clock, story);
}

void Writer::metrics() {
    put("## Metrics\n\nBeside them the outage that Plimsoll was made after. Its clock begins at detection; when the "
        "change was applied is not known.\n");
    put("| | since T0 | since detection | that outage | since its detection |\n|---|---|---|---|---|");
    metric("detected", Mark::detected, "10:23", "0 min");
    metric("team notified", Mark::notified, "10:24", "+1 min");
    metric("cause named", Mark::cause_named, "10:27", "+4 min");
    metric("rolled back", Mark::mitigated, "10:28", "+5 min");
    metric("even and healthy again", Mark::recovered, "10:30", "+7 min");
    metric("postmortem drafted", Mark::recovered, "10:35", "+12 min");
    metric("acknowledged", Mark::acknowledged, "-", "-");
    metric("reviewed", Mark::reviewed, "-", "-");
}

}  // namespace

std::string postmortem(const Incident& incident, const Curves& curves, const Postmortem& about) {
    return Writer(incident, curves, about).write();
}

}  // namespace plimsoll::incident
