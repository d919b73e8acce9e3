#include "lab/story_table.h"

#include <fmt/format.h>

#include <array>

#include "lab/statistics.h"

namespace plimsoll::lab {
namespace {

struct Row {
    std::string_view what, story;
    std::optional<Timestamp> Clock::* ours;
};
constexpr std::array<Row, 7> rows{{
    {"the change takes traffic (T0)", "before 10:23", &Clock::t0},
    {"detected", "10:23", &Clock::detected},
    {"the team is told", "10:24  +1 min", &Clock::told},
    {"the cause is named", "10:27  +4 min", &Clock::cause},
    {"rolled back", "10:28  +5 min", &Clock::rolled_back},
    {"traffic even again, proven", "10:30  +7 min", &Clock::recovered},
    {"postmortem on disk", "10:35  +12 min", &Clock::postmortem},
}};

}  // namespace

std::string print_table(const Clock& clock) {
    std::string out = fmt::format("{:<32} {:<18} {}\n", "", "the story", "Plimsoll, since T0");
    for (const Row& row : rows) {
        const std::optional<Timestamp>& at = clock.*row.ours;
        std::string ours = "-";
        if (at && clock.t0) ours = fmt::format("+{:.3f} s", seconds(*at - *clock.t0));
        out += fmt::format("{:<32} {:<18} {:>12}\n", row.what, row.story, ours);
    }
    return out + fmt::format("{:<32} {:<18} {:>12}\n", "requests harmed", "7 minutes of most", clock.harmed);
}

std::string print_runs(const Promises& promises) {
    struct Line {
        const char *name, *title, *unit;
    };
    constexpr std::array<Line, 6> lines{{{"detection_ms", "T0 to detected", "ms"},
                                         {"rollback_ms", "detected to rolled back", "ms"},
                                         {"last_started_ms", "detected to last request started on it", "ms"},
                                         {"recovery_ms", "T0 to recovered, proven", "ms"},
                                         {"harmed", "requests harmed (server's count)", ""},
                                         {"harmed_seen_by_load", "requests harmed (load's count)", ""}}};
    std::string out = fmt::format("{:<40} {:>6} {:>10} {:>10}\n", "the bad change, forced", "runs", "p50", "max");
    for (const Line& line : lines) {
        const auto& values = promises.figures(line.name);
        out += fmt::format("{:<40} {:>6} {:>10.1f} {:>10.1f} {}\n", line.title, values.size(), median(values),
                           quantile(values, 1), line.unit);
    }
    return out;
}

}  // namespace plimsoll::lab
