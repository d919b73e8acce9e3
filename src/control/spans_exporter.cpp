#include "control/spans_exporter.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "control/http_target.h"
#include "http/client.h"
#include "measure/tally.h"

namespace plimsoll::control {

namespace {

/// How long a batch may fill, and how long a collector that refused gets until it is asked again.
constexpr Duration fill_time = std::chrono::seconds(1);
constexpr Duration retry_pause = std::chrono::seconds(1);
constexpr Duration call_limit = std::chrono::seconds(5);

enum class Kind : int { server = 2, client = 3 };  // opentelemetry.proto.trace.v1.Span.SpanKind

/// Writes one JSON text. Objects are written in place: a tree of values for each span would cost more than the span.
class Writer {
public:
    [[nodiscard]] std::string take() && { return std::move(out_); }
    template <class... Args>
    void raw(fmt::format_string<Args...> format, Args&&... args) {
        fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
    }
    void quoted(std::string_view text) { proxy::append_json_string(out_, text); }

    void begin_attributes() {
        out_ += "\"attributes\":[";
        first_ = true;
    }
    void end_attributes() { out_ += ']'; }
    /// Left out when empty.
    void text(std::string_view key, std::string_view value) {
        if (value.empty()) return;
        begin(key);
        out_ += "{\"stringValue\":";
        quoted(value);
        out_ += "}}";
    }
    void number(std::string_view key, std::uint64_t value) {
        begin(key);
        raw("{{\"intValue\":\"{}\"}}}}", value);
    }

private:
    void begin(std::string_view key) {
        raw("{}{{\"key\":\"{}\",\"value\":", std::exchange(first_, false) ? "" : ",", key);
    }
    std::string out_;
    bool first_ = true;
};

std::string_view protocol_version(Spoken spoken) { return spoken == Spoken::http2 ? "2" : "1.1"; }

struct SpanHead {
    std::span<const std::uint8_t> span, parent;
    std::string name;
    Kind kind;
    Timestamp begin, end;
};

void begin_span(Writer& out, const Trace& trace, const SpanHead& head) {
    out.raw("{{\"traceId\":\"{}\",\"spanId\":\"{}\"", hex_of(trace.trace_id), hex_of(head.span));
    if (std::ranges::any_of(head.parent, [](std::uint8_t byte) { return byte != 0; }))
        out.raw(",\"parentSpanId\":\"{}\"", hex_of(head.parent));
    out.raw(",\"name\":");
    out.quoted(head.name);
    out.raw(",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\",", static_cast<int>(head.kind),
            head.begin.ns, std::max(head.begin.ns, head.end.ns));
}

void end_span(Writer& out, bool error, std::string_view why) {
    out.end_attributes();
    if (error) {
        out.raw(",\"status\":{{\"code\":2,\"message\":");  // STATUS_CODE_ERROR
        out.quoted(why);
        out.raw("}}");
    }
    out.raw("}}");
}

Timestamp later(Timestamp at, Duration by) { return {at.ns + by.count()}; }

void server_span(Writer& out, const proxy::RequestSpan& request) {
    const Outcome& outcome = request.outcome;
    const bool tcp = outcome.spoken == Spoken::tcp;
    const std::string name =
        tcp ? fmt::format("TCP {}", request.route) : fmt::format("{} {}", request.method, request.route);
    begin_span(out, outcome.trace,
               {outcome.trace.span_id, outcome.trace.parent_id, name, Kind::server, request.started,
                later(request.started, outcome.total)});
    out.begin_attributes();
    if (!tcp) {
        out.text("http.request.method", request.method);
        out.text("url.path", request.path);
        out.text("network.protocol.version", protocol_version(outcome.spoken));
    }
    out.text("server.address", request.host);
    if (outcome.status != 0) out.number("http.response.status_code", outcome.status);
    if (outcome.grpc_status >= 0) out.number("rpc.grpc.status_code", static_cast<std::uint64_t>(outcome.grpc_status));
    out.text("plimsoll.listener", request.listener);
    out.text("plimsoll.route", request.route);
    out.text("plimsoll.pool", request.pool);
    if (outcome.attempt_count > 0) out.text("plimsoll.endpoint", request.tries[outcome.attempt_count - 1u].endpoint);
    out.text("plimsoll.cause", plimsoll::name(outcome.cause));
    out.number("plimsoll.revision", outcome.revision.value);
    out.text("plimsoll.arm", outcome.arm == Arm::active ? "active" : "candidate");
    out.text("plimsoll.request_id", request.request_id);
    out.number("plimsoll.queue_us",
               static_cast<std::uint64_t>(std::max<std::int64_t>(outcome.queue.count(), 0) / 1000));
    end_span(out, outcome.failed(), plimsoll::name(outcome.cause));
}

void attempt_span(Writer& out, const proxy::RequestSpan& request, std::size_t index) {
    const Attempt& attempt = request.outcome.attempt[index];
    const proxy::RequestSpan::Try& one = request.tries[index];
    const auto id = proxy::attempt_span_id(request.outcome.trace, index);
    const std::string name =
        request.outcome.spoken == Spoken::tcp ? fmt::format("TCP {}", request.pool) : request.method;
    begin_span(out, request.outcome.trace,
               {id, request.outcome.trace.span_id, name, Kind::client, later(request.started, one.began),
                later(request.started, one.ended)});
    out.begin_attributes();
    out.text("http.request.method", request.method);
    if (attempt.status != 0) out.number("http.response.status_code", attempt.status);
    out.text("plimsoll.pool", request.pool);
    out.text("plimsoll.endpoint", one.endpoint);
    if (attempt.panic) out.text("plimsoll.panic", "true");
    out.text("plimsoll.cause", plimsoll::name(attempt.cause));
    if (index > 0) out.number("http.request.resend_count", index);
    end_span(out, attempt.cause != Cause::none || attempt.status >= 500, plimsoll::name(attempt.cause));
}

}  // namespace

std::string hex_of(std::span<const std::uint8_t> bytes) {
    std::string out;
    for (const std::uint8_t byte : bytes) fmt::format_to(std::back_inserter(out), "{:02x}", byte);
    return out;
}

std::string otlp_json(std::span<const proxy::RequestSpan> requests, std::string_view service,
                      std::string_view version) {
    Writer out;
    out.raw("{{\"resourceSpans\":[{{\"resource\":{{");
    out.begin_attributes();
    out.text("service.name", service);
    out.text("service.version", version);
    out.end_attributes();
    out.raw("}},\"scopeSpans\":[{{\"scope\":{{\"name\":\"plimsoll\",\"version\":");
    out.quoted(version);
    out.raw("}},\"spans\":[");
    bool first = true;
    for (const proxy::RequestSpan& request : requests) {
        if (!std::exchange(first, false)) out.raw(",");
        server_span(out, request);
        for (std::size_t i = 0; i < request.outcome.attempt_count; ++i) {
            out.raw(",");
            attempt_span(out, request, i);
        }
    }
    out.raw("]}}]}}]}}");
    return std::move(out).take();
}

SpansExporter::SpansExporter(net::Network& network, std::string version)
    : network_(network), version_(std::move(version)) {}

void SpansExporter::set(const std::optional<config::Tracing>& tracing) {
    tracing_ = tracing;
    if (tracing_) return;
    figures_.dropped += waiting_.size();
    waiting_.clear();
    exemplars_.clear();
}

void SpansExporter::remember(const proxy::RequestSpan& request) {
    const Outcome& outcome = request.outcome;
    if (outcome.status == 0 || outcome.spoken == Spoken::tcp) return;
    const ExemplarKey key{outcome.route, outcome.arm, measure::Histogram::bucket(outcome.first_byte)};
    const auto found = exemplars_.find(key);
    if (found == exemplars_.end() && exemplars_.size() >= max_exemplars) return;
    exemplars_[key] = {outcome.trace.trace_id, outcome.first_byte, request.started};
}

void SpansExporter::add(std::vector<proxy::RequestSpan> requests) {
    for (proxy::RequestSpan& request : requests) {
        remember(request);
        if (!tracing_ || waiting_.size() >= max_spans_waiting) {
            ++figures_.dropped;
            continue;
        }
        waiting_.push_back(std::move(request));
    }
    if (waiting_.empty() || std::exchange(sending_, true)) return;
    scope_.spawn(send_all());
}

/// Runs while there is something to send. Of what comes while a call is under way, the newest is dropped.
async::Task<void> SpansExporter::send_all() {
    while (tracing_ && !waiting_.empty()) {
        if (waiting_.size() < spans_in_batch) co_await network_.sleep_until(network_.now() + fill_time);
        if (!tracing_ || waiting_.empty()) break;
        const auto end = waiting_.begin() + static_cast<std::ptrdiff_t>(std::min(spans_in_batch, waiting_.size()));
        const std::vector<proxy::RequestSpan> batch(std::move_iterator(waiting_.begin()), std::move_iterator(end));
        waiting_.erase(waiting_.begin(), end);
        const std::string body = otlp_json(batch, tracing_->service, version_);
        bool sent = co_await send(body);
        if (!sent && tracing_) {
            co_await network_.sleep_until(network_.now() + retry_pause);
            sent = tracing_ && co_await send(body);
        }
        (sent ? figures_.exported : figures_.dropped) += batch.size();
    }
    sending_ = false;
}

async::Task<bool> SpansExporter::send(std::string body) {
    const auto where = http_target(tracing_->url);
    std::string failure;
    if (where) {
        http::Request request;
        request.method = "POST";
        request.path = where->path;
        request.authority = where->authority;
        request.headers.add("Content-Type", "application/json");
        request.body = std::move(body);
        const auto answer = co_await http::fetch(network_, where->address, std::move(request),
                                                 async::Deadline::after(network_.now(), call_limit));
        if (answer && answer->status / 100 == 2) co_return true;
        failure = answer ? fmt::format("the collector answered {}", answer->status) : answer.error().detail;
    } else {
        failure = where.error().detail;
    }
    ++figures_.failures;
    figures_.last_failure = std::move(failure);
    co_return false;
}

SpanFigures SpansExporter::figures() const {
    SpanFigures out = figures_;
    out.waiting = waiting_.size();
    return out;
}

}  // namespace plimsoll::control
