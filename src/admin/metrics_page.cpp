#include "admin/metrics_page.h"

#include <algorithm>
#include <charconv>

namespace plimsoll::admin {

namespace {

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

/// Takes the text up to `mark` off the front.
std::string_view next(std::string_view& text, char mark) {
    const std::size_t end = text.find(mark);
    const std::string_view part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    return trimmed(part);
}

struct Offer {
    std::string_view type;
    double quality = 1;
    bool known_version = true;
};

Offer offer(std::string_view text) {
    Offer out{.type = next(text, ';')};
    while (!text.empty()) {
        const std::string_view parameter = next(text, ';');
        if (parameter.starts_with("q=")) {
            const std::string_view digits = parameter.substr(2);
            if (std::from_chars(digits.data(), digits.data() + digits.size(), out.quality).ec != std::errc())
                out.quality = 0;
        } else if (parameter.starts_with("version=")) {
            out.known_version = parameter == "version=1.0.0" || parameter == "version=0.0.1";
        }
    }
    return out;
}

}  // namespace

MetricsFormat metrics_format(std::string_view accept) {
    double open = 0, plain = 0;
    while (!accept.empty()) {
        const Offer one = offer(next(accept, ','));
        if (one.type == "application/openmetrics-text" && one.known_version) open = std::max(open, one.quality);
        if (one.type == "text/plain") plain = std::max(plain, one.quality);
    }
    return open > 0 && open >= plain ? MetricsFormat::openmetrics : MetricsFormat::prometheus;
}

std::string_view content_type(MetricsFormat format) {
    return format == MetricsFormat::openmetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                                : "text/plain; version=0.0.4; charset=utf-8";
}

std::string label(std::string_view value) {
    std::string out;
    for (const char c : value) {
        if (c == '\\' || c == '"') out += '\\';
        if (c == '\n') {
            out += "\\n";
        } else {
            out += c;
        }
    }
    return out;
}

void MetricsPage::begin(std::string_view name, std::string_view type, std::string_view suffix, std::string_view help) {
    name_ = name;
    suffix_ = suffix;
    // OpenMetrics names a counter's family without the "_total" of its samples.
    const std::string_view shown = format_ == MetricsFormat::openmetrics ? std::string_view{} : suffix;
    fmt::format_to(std::back_inserter(text_), "# HELP {0}{1} {2}\n# TYPE {0}{1} {3}\n", name, shown, help, type);
}

void MetricsPage::bucket(std::string_view labels, std::uint64_t value, std::string_view trace_id, double took_s,
                         double at_s) {
    line("_bucket", labels, value);
    if (format_ == MetricsFormat::openmetrics && !trace_id.empty())
        fmt::format_to(std::back_inserter(text_), " # {{trace_id=\"{}\"}} {} {:.3f}", trace_id, took_s, at_s);
    text_ += '\n';
}

std::string MetricsPage::take() && {
    if (format_ == MetricsFormat::openmetrics) text_ += "# EOF\n";
    return std::move(text_);
}

}  // namespace plimsoll::admin
