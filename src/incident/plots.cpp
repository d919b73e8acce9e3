// Three plots as SVG text. No library: lines, words and a frame.
// Colours: dark ones of Okabe-Ito and Tol (told apart with any colour vision, 3:1 on white), each with a dash of its
// own.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "incident/postmortem.h"

namespace plimsoll::incident {
namespace {

constexpr double width = 960, height = 420;
constexpr double left = 76, right = 768, top = 118, bottom = 368;  // of the plotting area; the legend is to its right
constexpr std::size_t max_coloured = 8;

struct Style {
    std::string_view colour, dash;
};
constexpr std::array<Style, max_coloured> styles{{{"#0072B2", "none"},
                                                  {"#D55E00", "7 3"},
                                                  {"#117733", "2 2"},
                                                  {"#882255", "9 3 2 3"},
                                                  {"#332288", "12 4"},
                                                  {"#96690A", "4 2"},
                                                  {"#AA4499", "8 2 2 2 2 2"},
                                                  {"#222222", "6 2 1 2 1 2"}}};

/// Safe inside XML text and attributes; control characters and bytes that are no UTF-8 lead or tail become '?'.
std::string xml(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) >= 0x7f ? '?' : c;
        }
    }
    return out;
}

std::string shortened(std::string_view text, std::size_t most) {
    return text.size() <= most ? std::string(text) : std::string(text.substr(0, most - 2)) + "..";
}

/// A step of 1, 2 or 5 times a power of ten that divides `span` into at most `parts`.
double nice_step(double span, int parts) {
    const double raw = span / parts;
    const double power = std::pow(10, std::floor(std::log10(raw)));
    for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor * power >= raw) return factor * power;
    }
    return 10 * power;
}

/// One curve: values by point, NaN where there is nothing to show.
struct Curve {
    std::string label;
    Style style;
    double thickness = 2;
    std::vector<double> values;
};

struct Chart {
    std::string title, description, unit;
    bool logarithmic = false;
    double low = 0, high = 1;
    std::vector<Curve> curves;
    struct Level {
        double value;
        std::string label;
    };
    std::vector<Level> levels;  ///< dotted horizontal lines
    std::string remark;         ///< in the middle of the area, when there is little to see
};

class Canvas {
public:
    Canvas(const Chart& chart, const Incident& incident, const Curves& curves)
        : chart_(chart), incident_(incident), points_(curves.points) {
        if (!points_.empty()) {
            from_ = seconds(points_.front().at);
            to_ = seconds(points_.back().at + points_.back().span);
        }
        if (to_ <= from_) to_ = from_ + 1;
    }
    std::string draw();

private:
    [[nodiscard]] double x(double s) const { return left + (s - from_) / (to_ - from_) * (right - left); }
    [[nodiscard]] double y(double value) const {
        const auto place = [&](double v) { return chart_.logarithmic ? std::log10(std::max(v, chart_.low)) : v; };
        const double part = (place(value) - place(chart_.low)) / (place(chart_.high) - place(chart_.low));
        return bottom - std::clamp(part, 0.0, 1.0) * (bottom - top);
    }
    template <class... Args>
    void put(fmt::format_string<Args...> format, Args&&... args) {
        out_ += fmt::format(format, std::forward<Args>(args)...);
        out_ += '\n';
    }
    void frame();
    void time_axis();
    void value_axis();
    void grid_line(double value, const std::string& label);
    void curve(const Curve& curve);
    void marks();
    void legend();

    const Chart& chart_;
    const Incident& incident_;
    const std::vector<Point>& points_;
    double from_ = 0, to_ = 1;
    std::string out_;
};

void Canvas::frame() {
    put(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" aria-labelledby="t d" font-family="system-ui, 'DejaVu Sans', Verdana, sans-serif" font-size="12" fill="#222222">)",
        width, height);
    put(R"(<title id="t">{}</title>)", xml(chart_.title));
    put(R"(<desc id="d">{}</desc>)", xml(chart_.description));
    put(R"(<rect width="{}" height="{}" fill="#ffffff"/>)", width, height);
    put(R"(<text x="24" y="28" font-size="16" font-weight="bold">{}</text>)", xml(chart_.title));
    put(R"(<rect x="{}" y="{}" width="{}" height="{}" fill="#fafafa" stroke="#888888"/>)", left, top, right - left,
        bottom - top);
}

void Canvas::time_axis() {
    const bool minutes = to_ - from_ > 600;
    const double unit = minutes ? 60 : 1;
    const double step = nice_step((to_ - from_) / unit, 9) * unit;
    for (double s = std::ceil(from_ / step) * step; s <= to_ + step * 1e-9; s += step) {
        put(R"(<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#888888"/>)", x(s), bottom, bottom + 5);
        put(R"(<text x="{:.1f}" y="{}" text-anchor="middle">{:.4g}</text>)", x(s), bottom + 19,
            std::abs(s) < step / 2 ? 0.0 : s / unit);
    }
    put(R"(<text x="{}" y="{}" text-anchor="middle">{} since T0</text>)", (left + right) / 2, bottom + 38,
        minutes ? "minutes" : "seconds");
}

void Canvas::grid_line(double value, const std::string& label) {
    put(R"(<line x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}" stroke="#dddddd"/>)", left, y(value), right, y(value));
    put(R"(<text x="{}" y="{:.1f}" text-anchor="end">{}</text>)", left - 8, y(value) + 4, label);
}

void Canvas::value_axis() {
    if (chart_.logarithmic) {
        const bool wide = chart_.high / chart_.low > 1000;
        for (double decade = std::pow(10, std::floor(std::log10(chart_.low))); decade <= chart_.high; decade *= 10) {
            for (const double factor : {1.0, 2.0, 5.0}) {
                const double value = decade * factor;
                if (value < chart_.low * 0.999 || value > chart_.high * 1.001 || (wide && factor > 1)) continue;
                grid_line(value, fmt::format("{:.4g}", value));
            }
        }
    } else {
        const double step = nice_step(chart_.high - chart_.low, 6);
        for (double value = chart_.low; value <= chart_.high + step * 1e-9; value += step)
            grid_line(value, fmt::format("{:.4g}", value));
    }
    put(R"svg(<text transform="translate(22 {}) rotate(-90)" text-anchor="middle">{}</text>)svg", (top + bottom) / 2,
        xml(chart_.unit));
}

/// Steps, not slopes: a value holds for its whole second, so that nothing seems to begin before it did.
void Canvas::curve(const Curve& curve) {
    std::string path;
    bool pen_down = false;
    Duration end{};
    for (std::size_t i = 0; i < points_.size(); ++i) {
        const Point& point = points_[i];
        if (std::isnan(curve.values[i])) {
            pen_down = false;
            continue;
        }
        if (pen_down && point.at > end + point.span / 2) pen_down = false;
        end = point.at + point.span;
        path += fmt::format("{}{:.1f} {:.1f}H{:.1f}", pen_down ? "L" : "M", x(seconds(point.at)), y(curve.values[i]),
                            x(seconds(end)));
        pen_down = true;
    }
    if (path.empty()) return;
    put(R"(<path d="{}" fill="none" stroke="{}" stroke-width="{}" stroke-dasharray="{}" stroke-linejoin="round"/>)",
        path, curve.style.colour, curve.thickness, curve.style.dash);
}

/// Vertical lines with their words above. A word that would reach over a later line stands above that line's word, so
/// that no line runs through a word.
void Canvas::marks() {
    struct Shown {
        double at, start, end;
        int row;
        std::string label;
        bool solid;
    };
    std::vector<Shown> shown;
    const auto take = [&](Mark mark, std::string_view word) {
        const auto& stamp = incident_.at(mark);
        if (!stamp) return;
        const double s = seconds(stamp->since_t0);
        if (s < from_ || s > to_) return;
        std::string label = mark == Mark::t0 ? std::string(word) : fmt::format("{} +{:.2f} s", word, s);
        const double wide = static_cast<double>(label.size()) * 7.2 + 10;
        shown.push_back({x(s), x(s) + 4, x(s) + 4 + wide, 0, std::move(label), mark == Mark::t0});
    };
    take(Mark::t0, incident_.blames_change() ? "T0: change live" : "T0: onset");
    take(Mark::detected, "detected");
    take(Mark::mitigated, incident_.rolled_back_to.value != 0 ? "rolled back" : "mitigated");
    take(Mark::recovered, "recovered");
    for (std::size_t i = shown.size(); i-- > 0;) {
        for (std::size_t later = i + 1; later < shown.size(); ++later) {
            if (shown[later].at < shown[i].end) shown[i].row = std::max(shown[i].row, shown[later].row + 1);
        }
    }
    for (const Shown& each : shown) {
        const double base = top - 8 - each.row * 16;
        put(R"(<line x1="{0:.1f}" y1="{1}" x2="{0:.1f}" y2="{2}" stroke="#444444" stroke-width="1.2"{3}/>)", each.at,
            base - 10, bottom, each.solid ? "" : R"( stroke-dasharray="4 3")");
        put(R"(<text x="{:.1f}" y="{:.1f}">{}</text>)", each.start, base, xml(each.label));
    }
}

void Canvas::legend() {
    double at = top + 8;
    const auto entry = [&](const Style& style, double thickness, const std::string& label) {
        put(R"(<line x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}" stroke="{}" stroke-width="{}" stroke-dasharray="{}"/>)",
            right + 14, at, right + 50, at, style.colour, thickness, style.dash);
        put(R"(<text x="{}" y="{:.1f}">{}</text>)", right + 58, at + 4, xml(label));
        at += 20;
    };
    for (const Curve& each : chart_.curves) {
        if (!each.label.empty()) entry(each.style, each.thickness, each.label);
    }
    for (const auto& level : chart_.levels) entry({"#444444", "1 3"}, 1.4, level.label);
}

std::string Canvas::draw() {
    frame();
    if (points_.empty()) {
        put(R"(<text x="{}" y="{}" text-anchor="middle" font-size="14">no data was kept for this time</text>)",
            (left + right) / 2, (top + bottom) / 2);
        return out_ + "</svg>\n";
    }
    value_axis();
    time_axis();
    for (const auto& level : chart_.levels) {
        put(R"(<line x1="{0}" y1="{1:.1f}" x2="{2}" y2="{1:.1f}" stroke="#444444" stroke-width="1.4" stroke-dasharray="1 3"/>)",
            left, y(level.value), right);
    }
    for (std::size_t i = chart_.curves.size(); i-- > 0;) curve(chart_.curves[i]);  // the first ones on top
    if (!chart_.remark.empty()) {
        put(R"(<text x="{}" y="{}" text-anchor="middle" font-size="14">{}</text>)", (left + right) / 2,
            (top + bottom) / 2, xml(chart_.remark));
    }
    marks();
    legend();
    return out_ + "</svg>\n";
}

double highest(const std::vector<double>& values) {
    double most = 0;
    for (const double value : values) most = std::isnan(value) ? most : std::max(most, value);
    return most;
}

/// The end of an axis that holds `most` with some air.
double axis_end(double most, double least) {
    const double wanted = std::max(most * 1.08, least);
    const double step = nice_step(wanted, 6);
    return std::ceil(wanted / step - 1e-9) * step;
}

Chart share_chart(const Incident& incident, const Curves& curves) {
    Chart chart;
    chart.title = fmt::format("{}: share of decisions per endpoint", incident.id());
    chart.unit = "share of decisions, %";
    struct Ranked {
        std::size_t index;
        double distance;  // of the furthest share from the expected one
        std::vector<double> values;
    };
    std::vector<Ranked> ranked;
    for (std::size_t e = 0; e < curves.endpoints.size(); ++e) {
        Ranked each{e, 0, {}};
        for (const Point& point : curves.points) {
            std::uint64_t all = 0;
            for (const auto picks : point.picks) all += picks;
            const bool known = all > 0 && e < point.picks.size();
            each.values.push_back(known ? 100.0 * static_cast<double>(point.picks[e]) / static_cast<double>(all) : NAN);
            if (known)
                each.distance =
                    std::max(each.distance, std::abs(each.values.back() - 100 * curves.endpoints[e].expected));
        }
        ranked.push_back(std::move(each));
    }
    std::ranges::sort(ranked, [](const Ranked& a, const Ranked& b) {
        return std::pair(-a.distance, a.index) < std::pair(-b.distance, b.index);
    });
    const std::size_t coloured = std::min(ranked.size(), max_coloured);
    std::ranges::sort(ranked.begin(), ranked.begin() + static_cast<std::ptrdiff_t>(coloured), {}, &Ranked::index);
    double most = 0;
    for (std::size_t i = ranked.size(); i-- > 0;) {  // the remarkable ones last, on top
        const double peak = highest(ranked[i].values);
        most = std::max(most, peak);
        const auto& name = curves.endpoints[ranked[i].index].name;
        const bool first_grey = i == coloured && i < ranked.size();
        std::string label = i < coloured ? fmt::format("{} max {:.1f} %", shortened(name, 10), peak)
                            : first_grey ? fmt::format("{} others", ranked.size() - coloured)
                                         : "";
        chart.curves.push_back({std::move(label), i < coloured ? styles[i] : Style{"#999999", "none"},
                                i < coloured ? 2.0 : 1.0, std::move(ranked[i].values)});
    }
    std::ranges::reverse(chart.curves);
    const auto expected = [](const Curves::Endpoint& endpoint) { return endpoint.expected; };
    if (!curves.endpoints.empty() && curves.endpoints.front().expected > 0 &&
        std::ranges::adjacent_find(curves.endpoints, std::ranges::not_equal_to{}, expected) == curves.endpoints.end()) {
        chart.levels.push_back({100 * curves.endpoints.front().expected,
                                fmt::format("expected {:.1f} %", 100 * curves.endpoints.front().expected)});
    }
    chart.high = std::min(100.0, axis_end(most, 5));
    chart.description =
        fmt::format("Share of balancing decisions of {} endpoints over time. Largest share of one endpoint: {:.1f} %.",
                    curves.endpoints.size(), most);
    return chart;
}

Chart errors_chart(const Incident& incident, const Curves& curves) {
    Chart chart;
    chart.title = fmt::format("{}: failed requests", incident.id());
    chart.unit = "failed, % of requests";
    Curve curve{"", styles[1], 2, {}};
    curve.style.dash = "none";
    std::uint64_t failed = 0, requests = 0;
    for (const Point& point : curves.points) {
        failed += point.failed;
        requests += point.requests;
        curve.values.push_back(point.requests == 0
                                   ? NAN
                                   : 100.0 * static_cast<double>(point.failed) / static_cast<double>(point.requests));
    }
    const double most = highest(curve.values);
    curve.label = fmt::format("failed, max {:.3g} %", most);
    if (failed == 0 && requests > 0) chart.remark = fmt::format("none of {} requests failed", requests);
    chart.high = std::min(100.0, axis_end(most, 1));
    chart.description =
        fmt::format("{} of {} requests failed in the time shown; worst moment {:.3g} %.", failed, requests, most);
    chart.curves.push_back(std::move(curve));
    return chart;
}

Chart latency_chart(const Incident& incident, const Curves& curves) {
    Chart chart;
    chart.title = fmt::format("{}: time to the head of the answer", incident.id());
    chart.unit = "milliseconds (logarithmic)";
    chart.logarithmic = true;
    Curve p50{"", styles[0], 2, {}}, p99{"", styles[1], 2, {}};
    double low = INFINITY, high = 0;
    const auto take = [&](Curve& curve, Duration value) {
        const double ms = milliseconds(value);
        curve.values.push_back(ms > 0 ? ms : NAN);
        if (ms <= 0) return;
        low = std::min(low, ms);
        high = std::max(high, ms);
    };
    for (const Point& point : curves.points) {
        take(p50, point.p50);
        take(p99, point.p99);
    }
    p99.label = fmt::format("p99, max {:.4g} ms", highest(p99.values));
    p50.label = fmt::format("p50, max {:.4g} ms", highest(p50.values));
    if (high <= 0) {
        low = 1;
        high = 10;
        chart.remark = "no request was answered";
    }
    chart.low = low / 1.3;
    chart.high = std::max(high * 1.3, chart.low * 10);
    chart.description =
        fmt::format("Median and 99th percentile of the time to the head of the answer. {}; {}.", p99.label, p50.label);
    if (const double usual = milliseconds(incident.impact.p99_usual); usual > chart.low && usual < chart.high) {
        chart.levels.push_back({usual, fmt::format("usual p99 {:.4g} ms", usual)});
    }
    chart.curves.push_back(std::move(p99));
    chart.curves.push_back(std::move(p50));
    return chart;
}

}  // namespace

Plots plots(const Incident& incident, const Curves& curves) {
    const Chart share = share_chart(incident, curves), errors = errors_chart(incident, curves),
                latency = latency_chart(incident, curves);
    return {Canvas(share, incident, curves).draw(), Canvas(errors, incident, curves).draw(),
            Canvas(latency, incident, curves).draw()};
}

}  // namespace plimsoll::incident
