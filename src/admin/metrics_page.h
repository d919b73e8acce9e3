// MetricsPage: writes samples in the two text forms that monitoring asks for. Knows no figures.
// Thread rule: none.
// Source: prometheus.io/docs/instrumenting/exposition_formats (0.0.4), OpenMetrics 1.0.0.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace plimsoll::admin {

enum class MetricsFormat : std::uint8_t { prometheus, openmetrics };
/// What an Accept header asks for; plain Prometheus when it does not care.
[[nodiscard]] MetricsFormat metrics_format(std::string_view accept);
[[nodiscard]] std::string_view content_type(MetricsFormat format);

/// A label's value, escaped.
[[nodiscard]] std::string label(std::string_view value);

class MetricsPage {
public:
    explicit MetricsPage(MetricsFormat format) : format_(format) {}

    /// Begins a family; its samples follow. A counter's `name` has no "_total": it is added.
    void counter(std::string_view name, std::string_view help) { begin(name, "counter", "_total", help); }
    void gauge(std::string_view name, std::string_view help) { begin(name, "gauge", "", help); }
    void histogram(std::string_view name, std::string_view help) { begin(name, "histogram", "", help); }

    template <class Value>
    void sample(std::string_view labels, Value value) {
        line("", labels, value);
        text_ += '\n';
    }
    /// "_bucket", "_sum" and "_count" of a histogram.
    template <class Value>
    void part(std::string_view suffix, std::string_view labels, Value value) {
        line(suffix, labels, value);
        text_ += '\n';
    }
    /// A bucket with the trace of a request in it; the trace is left out where the format has no place for it.
    void bucket(std::string_view labels, std::uint64_t value, std::string_view trace_id, double took_s, double at_s);

    template <class Value>
    void counter(std::string_view name, std::string_view help, Value value) {
        counter(name, help);
        sample("", value);
    }
    template <class Value>
    void gauge(std::string_view name, std::string_view help, Value value) {
        gauge(name, help);
        sample("", value);
    }
    /// The whole page, with its end.
    [[nodiscard]] std::string take() &&;

private:
    void begin(std::string_view name, std::string_view type, std::string_view suffix, std::string_view help);
    template <class Value>
    void line(std::string_view suffix, std::string_view labels, Value value) {
        const auto out = std::back_inserter(text_);
        fmt::format_to(out, "{}{}{}", name_, suffix_, suffix);
        if (!labels.empty()) fmt::format_to(out, "{{{}}}", labels);
        fmt::format_to(out, " {}", value);
    }

    MetricsFormat format_;
    std::string text_;
    std::string name_;
    std::string_view suffix_;
};

}  // namespace plimsoll::admin
