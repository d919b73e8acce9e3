#include "lab/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>
#include <optional>
#include <vector>

#include "lab/statistics.h"

namespace plimsoll::lab {
namespace {

using Counts = std::map<std::string, std::uint64_t, std::less<>>;

struct Line {
    std::string_view client, method, path, status, size, referer, agent;
};

/// Splits one combined line; quotes inside a quoted field are escaped with a backslash.
std::optional<Line> split(std::string_view text) {
    Line line;
    const auto take_quoted = [&](std::string_view& field) {
        const std::size_t open = text.find('"');
        if (open == std::string_view::npos) return false;
        std::size_t close = open + 1;
        while (close < text.size() && text[close] != '"') close += text[close] == '\\' ? 2 : 1;
        if (close >= text.size()) return false;
        field = text.substr(open + 1, close - open - 1);
        text.remove_prefix(close + 1);
        return true;
    };
    line.client = text.substr(0, text.find(' '));
    std::string_view request;
    if (!take_quoted(request)) return std::nullopt;
    const std::size_t first = request.find(' '), last = request.rfind(' ');
    if (first == std::string_view::npos || last <= first) return std::nullopt;
    line.method = request.substr(0, first);
    line.path = request.substr(first + 1, last - first - 1);
    if (text.size() < 6 || text[0] != ' ' || text[4] != ' ') return std::nullopt;
    line.status = text.substr(1, 3);
    line.size = text.substr(5, text.find(' ', 5) - 5);
    if (!take_quoted(line.referer) || !take_quoted(line.agent)) return std::nullopt;
    return line;
}

Spread spread(std::vector<double> values) {
    Spread s;
    s.count = values.size();
    if (values.empty()) return s;
    s.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    s.p50 = quantile(values, 0.5), s.p90 = quantile(values, 0.9), s.p99 = quantile(values, 0.99);
    s.largest = std::ranges::max(values);
    double sum = 0, squares = 0, n = 0;
    for (const double v : values) {
        if (v <= 0) continue;
        sum += std::log(v), squares += std::log(v) * std::log(v), n += 1;
    }
    if (n > 0) s.log_mean = sum / n, s.log_sigma = std::sqrt(std::max(0.0, squares / n - s.log_mean * s.log_mean));
    return s;
}

Popularity popularity(const Counts& counts) {
    std::vector<std::uint64_t> sorted;
    for (const auto& entry : counts) sorted.push_back(entry.second);
    std::ranges::sort(sorted, std::greater{});
    const auto total = static_cast<double>(std::accumulate(sorted.begin(), sorted.end(), std::uint64_t{0}));
    const auto top = [&](std::size_t n) {
        n = std::min(n, sorted.size());
        return static_cast<double>(
                   std::accumulate(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(n), std::uint64_t{0})) /
               std::max(total, 1.0);
    };
    return {.distinct = sorted.size(),
            .exponent = sorted.empty() ? 0 : zipf_exponent(sorted),
            .top_1 = top(1),
            .top_10 = top(10),
            .top_100 = top(100)};
}

std::map<std::string, double> shares(const Counts& counts, std::size_t total) {
    std::map<std::string, double> result;
    for (const auto& [what, n] : counts) result[what] = static_cast<double>(n) / static_cast<double>(total);
    return result;
}

std::string ending_of(std::string_view path) {
    path = path.substr(0, path.find('?'));
    const std::string_view last = path.substr(path.rfind('/') + 1);
    const std::size_t dot = last.rfind('.');
    return dot == std::string_view::npos ? "page" : std::string(last.substr(dot));
}

template <class Each>
void for_each_line(std::string_view text, Each each) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        each(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

}  // namespace

LogFigures measure_log(std::string_view text) {
    LogFigures f;
    Counts paths, clients, methods, statuses, ends;
    std::vector<double> sizes, path_lengths, agents, referers;
    std::size_t queries = 0;
    for_each_line(text, [&](std::string_view raw) {
        const std::optional<Line> line = split(raw);
        if (!line) {
            ++f.bad_lines;
            return;
        }
        ++f.requests;
        ++paths[std::string(line->path)];
        ++clients[std::string(line->client)];
        ++methods[std::string(line->method)];
        ++statuses[std::string(line->status)];
        ++ends[ending_of(line->path)];
        queries += line->path.contains('?') ? 1 : 0;
        path_lengths.push_back(static_cast<double>(line->path.size()));
        agents.push_back(static_cast<double>(line->agent.size()));
        if (line->referer != "-") referers.push_back(static_cast<double>(line->referer.size()));
        std::uint64_t size = 0;
        if (line->status == "200" &&
            std::from_chars(line->size.data(), line->size.data() + line->size.size(), size).ec == std::errc{})
            sizes.push_back(static_cast<double>(size));
    });
    if (f.requests == 0) return f;
    const auto total = static_cast<double>(f.requests);
    f.paths = popularity(paths), f.clients = popularity(clients);
    f.methods = shares(methods, f.requests), f.statuses = shares(statuses, f.requests);
    f.endings = shares(ends, f.requests);
    f.query_share = static_cast<double>(queries) / total;
    f.referer_share = static_cast<double>(referers.size()) / total;
    f.size_200 = spread(std::move(sizes)), f.path_length = spread(std::move(path_lengths));
    f.agent_length = spread(std::move(agents)), f.referer_length = spread(std::move(referers));
    return f;
}

ShapeFigures measure_minutes(std::string_view csv, double quiet) {
    std::vector<double> minutes;
    for_each_line(csv, [&](std::string_view line) {
        const std::string_view field = line.substr(line.rfind(',') + 1);
        double count = 0;
        const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), count);
        if (error == std::errc{}) minutes.push_back(count);
    });
    ShapeFigures f{.minutes = minutes.size()};
    constexpr std::size_t half = 30;
    if (minutes.size() <= 2 * half + 1) return f;
    std::vector<double> sums{0};
    for (const double m : minutes) sums.push_back(sums.back() + m);
    f.mean = sums.back() / static_cast<double>(minutes.size());
    f.largest = std::ranges::max(minutes);

    std::vector<double> ratio;
    for (std::size_t i = half; i + half < minutes.size(); ++i) {
        const double around = (sums[i + half + 1] - sums[i - half]) / (2 * half + 1);
        if (around >= quiet) ratio.push_back(minutes[i] / around);
    }
    if (ratio.size() < 2) return f;
    f.p05 = quantile(ratio, 0.05), f.p50 = quantile(ratio, 0.5);
    f.p95 = quantile(ratio, 0.95), f.p99 = quantile(ratio, 0.99);
    constexpr double p95_in_sigmas = 1.6449;
    f.sigma = (std::log(f.p95) - std::log(f.p05)) / (2 * p95_in_sigmas);
    const double mean = std::accumulate(ratio.begin(), ratio.end(), 0.0) / static_cast<double>(ratio.size());
    double variance = 0, covariance = 0;
    for (std::size_t i = 0; i < ratio.size(); ++i) {
        variance += (ratio[i] - mean) * (ratio[i] - mean);
        if (i > 0) covariance += (ratio[i] - mean) * (ratio[i - 1] - mean);
    }
    f.memory = variance > 0 ? covariance / variance : 0;
    return f;
}

namespace {

std::string print_shares(std::string_view title, const std::map<std::string, double>& shares) {
    std::vector<std::pair<double, std::string>> sorted;
    for (const auto& [what, share] : shares) sorted.emplace_back(share, what);
    std::ranges::sort(sorted, std::greater{});
    std::string out = fmt::format("{:<18}", title);
    constexpr std::size_t shown = 12;
    for (std::size_t i = 0; i < std::min(shown, sorted.size()); ++i)
        out += fmt::format("{} {:.2f} %  ", sorted[i].second, 100 * sorted[i].first);
    return out + "\n";
}

std::string print(std::string_view title, const Spread& s) {
    return fmt::format(
        "{:<18}n {}  mean {:.1f}  p50 {:.0f}  p90 {:.0f}  p99 {:.0f}  max {:.0f}  ln: {:.3f} +/- {:.3f}\n", title,
        s.count, s.mean, s.p50, s.p90, s.p99, s.largest, s.log_mean, s.log_sigma);
}

std::string print(std::string_view title, const Popularity& p) {
    return fmt::format(
        "{:<18}{} distinct  Zipf exponent {:.2f}  top 1: {:.1f} %  top 10: {:.1f} %  top 100: {:.1f} %\n", title,
        p.distinct, p.exponent, 100 * p.top_1, 100 * p.top_10, 100 * p.top_100);
}

}  // namespace

std::string print(const LogFigures& f) {
    std::string out = fmt::format("{:<18}{} ({} lines not understood)\n", "requests", f.requests, f.bad_lines);
    out += print("paths", f.paths) + print("clients", f.clients);
    out += print_shares("methods", f.methods) + print_shares("statuses", f.statuses);
    out += print_shares("endings", f.endings);
    out += fmt::format("{:<18}{:.1f} %\n{:<18}{:.1f} %\n", "with a query", 100 * f.query_share, "with a referer",
                       100 * f.referer_share);
    out += print("size of a 200", f.size_200) + print("path length", f.path_length);
    return out + print("agent length", f.agent_length) + print("referer length", f.referer_length);
}

std::string print(const ShapeFigures& f) {
    return fmt::format("{:<18}{}  mean {:.0f}/min  largest {:.0f}\n", "minutes", f.minutes, f.mean, f.largest) +
           fmt::format("{:<18}p05 {:.3f}  p50 {:.3f}  p95 {:.3f}  p99 {:.3f}\n", "minute / its hour", f.p05, f.p50,
                       f.p95, f.p99) +
           fmt::format("{:<18}sigma {:.3f}  correlation with the next minute {:.2f}\n", "as log-normal", f.sigma,
                       f.memory);
}

}  // namespace plimsoll::lab
