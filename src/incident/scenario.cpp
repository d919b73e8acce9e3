// An incident as a regression scenario, in the language of docs/formats/scenario.md.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "incident/postmortem.h"

namespace plimsoll::incident {
namespace {

constexpr std::size_t max_loads = 8;

/// A word of the scenario language; nothing when the text cannot be one.
std::string word(std::string_view key, std::string_view text) {
    const bool plain =
        !text.empty() && std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
    return plain ? fmt::format(" {} {}", key, text) : "";
}

std::string file(const std::string& written, const Incident& incident, std::string_view which) {
    return word("", written).empty() ? fmt::format("{}-{}.yaml", incident.id(), which) : written;
}

/// One line of a comment, whatever the text holds.
std::string comment(std::string text) {
    std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
    return "# " + text + "\n";
}

}  // namespace

std::optional<std::string> scenario(const Incident& incident, const ScenarioFacts& facts) {
    if (!incident.blames_change()) return std::nullopt;
    const Change& change = *incident.change;
    std::string out = comment(fmt::format("Regression scenario of {}, written from its journal.", incident.id()));
    out += comment(incident.cause->subject + ": " + incident.cause->evidence);
    for (const Altered& item : incident.cause->items) {
        out += comment(fmt::format("  {} {} -> {}", item.path, item.before, item.after));
    }
    out += fmt::format("seed {}\nconfig {}\n", facts.seed, file(change.before_file, incident, "before"));
    std::vector<Traffic> traffic = facts.traffic;
    if (traffic.empty()) traffic.push_back({"", "", facts.rate});
    if (traffic.size() > max_loads) traffic.resize(max_loads);
    for (const Traffic& each : traffic) {
        if (!(each.rate > 0) || !std::isfinite(each.rate)) continue;
        out += fmt::format("load {:.2f}/s{}{} for 60s\n", each.rate, word("host", each.host), word("path", each.path));
    }
    out += fmt::format("at 10s change {}\n", file(change.after_file, incident, "after"));
    if (!change.forced.empty()) {
        out += comment("It took traffic only because gates were forced. Not forced, it must not.");
        out += "expect change refused\n";
    } else {
        out += comment(
            "All gates before live traffic let it pass. If a check refuses it by now, write \"expect change "
            "refused\".");
        out += "expect change rolled_back\n";
    }
    return out;
}

}  // namespace plimsoll::incident
