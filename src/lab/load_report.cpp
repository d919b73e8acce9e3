#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lab/load.h"

namespace plimsoll::lab {

std::string_view name(Failure failure) {
    constexpr std::array<std::string_view, failure_count> names{"refused", "reset", "closed", "timeout", "protocol"};
    return names[static_cast<std::size_t>(failure)];
}

std::uint64_t LoadReport::lost() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t n : failures) sum += n;
    return sum;
}

std::string print(const LoadReport& r, bool series) {
    std::string out =
        fmt::format("requests {}  answered {}  failed {} (5xx {}", r.due, r.answered, r.failed(), r.server_errors);
    for (std::size_t i = 0; i < failure_count; ++i) {
        if (r.failures[i] > 0) out += fmt::format(", {} {}", name(static_cast<Failure>(i)), r.failures[i]);
    }
    out += fmt::format(")  slow {}  unexpected {}\n", r.slow, r.unexpected);
    out += "statuses";
    for (const auto& [status, n] : r.statuses) out += fmt::format("  {}: {}", status, n);
    out += fmt::format("\nconnections {}  closed by the server {}\n", r.connections, r.closed_unexpectedly);
    out += fmt::format(
        "latency ms  p50 {:.1f}  p90 {:.1f}  p99 {:.1f}  p99.9 {:.1f}  max {:.1f}  (sent late by at most {:.1f})\n",
        milliseconds(r.latency.quantile(0.5)), milliseconds(r.latency.quantile(0.9)),
        milliseconds(r.latency.quantile(0.99)), milliseconds(r.latency.quantile(0.999)),
        milliseconds(r.latency.largest()), milliseconds(r.late_max));
    if (!r.backends.empty()) {
        out += "backends";
        for (const auto& [backend, n] : r.backends) {
            out +=
                fmt::format("  {} {:.1f} %", backend, 100.0 * static_cast<double>(n) / static_cast<double>(r.answered));
        }
        out += "\n";
    }
    if (!series) return out;
    out += "second      due answered   failed     slow  mean ms   max ms\n";
    for (std::size_t i = 0; i < r.series.size(); ++i) {
        const Second& s = r.series[i];
        const double mean = s.answered == 0 ? 0 : milliseconds(s.latency_sum) / s.answered;
        out += fmt::format("{:>6} {:>8} {:>8} {:>8} {:>8} {:>8.1f} {:>8.1f}\n", i, s.due, s.answered, s.failed, s.slow,
                           mean, milliseconds(s.latency_max));
    }
    return out;
}

std::string to_json(const LoadReport& r) {
    nlohmann::json json{{"requests", r.due},
                        {"answered", r.answered},
                        {"failed", r.failed()},
                        {"server_errors", r.server_errors},
                        {"slow", r.slow},
                        {"unexpected", r.unexpected},
                        {"connections", r.connections},
                        {"closed_unexpectedly", r.closed_unexpectedly},
                        {"p50_ms", milliseconds(r.latency.quantile(0.5))},
                        {"p90_ms", milliseconds(r.latency.quantile(0.9))},
                        {"p99_ms", milliseconds(r.latency.quantile(0.99))},
                        {"p999_ms", milliseconds(r.latency.quantile(0.999))},
                        {"late_max_ms", milliseconds(r.late_max)}};
    for (const auto& [status, n] : r.statuses) json["statuses"][std::to_string(status)] = n;
    for (const auto& [backend, n] : r.backends) json["backends"][backend] = n;
    for (std::size_t i = 0; i < failure_count; ++i) {
        json["failures"][std::string(name(static_cast<Failure>(i)))] = r.failures[i];
    }
    for (const Second& s : r.series) {
        json["series"].push_back({{"due", s.due}, {"answered", s.answered}, {"failed", s.failed}, {"slow", s.slow}});
    }
    return json.dump();
}

}  // namespace plimsoll::lab
