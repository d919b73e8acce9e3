// SpansExporter: sends what workers kept of sampled requests to an OpenTelemetry collector, and remembers one trace for
// each bucket of latency, for exemplars. Losing spans costs spans, never traffic: every queue has an end, every loss is
// counted.
// Thread rule: control's thread.
// Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp (JSON), semantic conventions for HTTP spans 1.23.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "async/scope.h"
#include "async/task.h"
#include "base/ids.h"
#include "config/config.h"
#include "net/network.h"
#include "proxy/spans.h"

namespace plimsoll::control {

/// Requests of one call: some hundred kB of JSON, built within a few milliseconds of control's thread.
inline constexpr std::size_t spans_in_batch = 256;
/// Requests that wait for a collector that is slow or away; about 16 MB.
inline constexpr std::size_t max_spans_waiting = 16'384;
/// Exemplars remembered, over all routes.
inline constexpr std::size_t max_exemplars = 10'000;

/// The body of one export: a server span a request, a client span an attempt below it.
/// Ids are lower-case hex, times nanoseconds since 1970 as text (the protocol's JSON form).
[[nodiscard]] std::string otlp_json(std::span<const proxy::RequestSpan> requests, std::string_view service,
                                    std::string_view version);

/// "0af7651916cd43dd8448eb211c80319c".
[[nodiscard]] std::string hex_of(std::span<const std::uint8_t> bytes);

/// The newest sampled request in one bucket of a route's latency.
struct Exemplar {
    std::array<std::uint8_t, 16> trace_id{};
    Duration took{};  ///< time to the head of the answer
    Timestamp at{};   ///< when it began
};
struct ExemplarKey {
    RouteId route;
    Arm arm;
    std::size_t bucket;  ///< of measure::Histogram
    auto operator<=>(const ExemplarKey&) const = default;
};

/// Counters since the start; spans are counted by request.
struct SpanFigures {
    std::uint64_t exported = 0;
    std::uint64_t dropped = 0;   ///< no room, or the collector refused or was away twice
    std::uint64_t failures = 0;  ///< calls that failed
    std::size_t waiting = 0;     ///< now
    std::string last_failure;
};

class SpansExporter {
public:
    SpansExporter(net::Network& network, std::string version);
    SpansExporter(const SpansExporter&) = delete;
    SpansExporter& operator=(const SpansExporter&) = delete;

    /// Sends to `tracing->url` from now on. nullopt: what waits is dropped.
    void set(const std::optional<config::Tracing>& tracing);
    /// What workers kept since the last time. Sends a second later at the latest, or when a batch is full.
    void add(std::vector<proxy::RequestSpan> requests);

    [[nodiscard]] SpanFigures figures() const;
    [[nodiscard]] const std::map<ExemplarKey, Exemplar>& exemplars() const { return exemplars_; }

private:
    async::Task<void> send_all();
    async::Task<bool> send(std::string body);
    void remember(const proxy::RequestSpan& request);

    net::Network& network_;
    std::string version_;
    std::optional<config::Tracing> tracing_;
    std::deque<proxy::RequestSpan> waiting_;
    std::map<ExemplarKey, Exemplar> exemplars_;
    SpanFigures figures_;
    bool sending_ = false;
    async::Scope scope_;  ///< last: its task uses all of the above
};

}  // namespace plimsoll::control
