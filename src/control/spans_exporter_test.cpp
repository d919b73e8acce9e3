// Spans on their way to a collector that answers by a table, in virtual time.
#include "control/spans_exporter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/server.h"
#include "measure/tally.h"
#include "net/memory_network.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

proxy::RequestSpan request(std::uint8_t number) {
    proxy::RequestSpan span;
    span.started = Timestamp{1'700'000'000'000'000'000};
    span.method = "GET";
    span.path = "/cart\"\n";
    span.host = "shop.example";
    span.route = "shop";
    span.pool = "web";
    span.listener = "public";
    Outcome& outcome = span.outcome;
    outcome.status = 200;
    outcome.route = RouteId{3};
    outcome.revision = RevisionNumber{42};
    outcome.first_byte = 20ms;
    outcome.total = 30ms;
    outcome.trace.sampled = true;
    outcome.trace.trace_id = {0xab, number};
    outcome.trace.span_id = {0xcd, number};
    outcome.trace.parent_id = {0xef, 1};
    outcome.attempt_count = 2;
    outcome.attempt[0].cause = Cause::connect_refused;
    outcome.attempt[1].status = 200;
    span.tries[0] = {"b1", 1ms, 2ms};
    span.tries[1] = {"b2", 2ms, 30ms};
    return span;
}

std::vector<proxy::RequestSpan> requests(std::size_t count) {
    std::vector<proxy::RequestSpan> out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(request(static_cast<std::uint8_t>(i + 1)));
    return out;
}

struct Collector {
    net::MemoryNetwork network;
    std::vector<http::Request> seen;
    std::vector<std::uint16_t> answers;  ///< in turn; then 200
    std::unique_ptr<http::Server> server;
    SpansExporter exporter{network, "1.2"};

    explicit Collector(bool there = true) {
        exporter.set(config::Tracing{.url = "http://10.0.0.9:4318/v1/traces", .sample = 1, .service = "edge"});
        if (!there) return;
        server = std::make_unique<http::Server>(network, [this](const http::Request& got) { return answer(got); });
        auto listener = network.listen(*net::Address::ip("10.0.0.9", 4318), {});
        EXPECT_TRUE(listener);
        if (listener) server->start(std::move(*listener));
    }
    async::Task<http::Response> answer(http::Request got) {
        const std::uint16_t status = seen.size() < answers.size() ? answers[seen.size()] : 200;
        seen.push_back(std::move(got));
        co_return http::Response::json(status, "{}");
    }
    void wait(Duration time) { (void)net::complete(network, pause(network, time)); }
    static async::Task<bool> pause(net::Network& network, Duration time) {
        co_await network.sleep_until(network.now() + time);
        co_return true;
    }
};

std::string attribute(const Json& span, const std::string& key) {
    for (const Json& each : span["attributes"])
        if (each["key"] == key) {
            const Json& value = each["value"];
            return value.contains("stringValue") ? value["stringValue"] : value["intValue"];
        }
    return "(none)";
}

TEST(SpansExporter, ARequestIsAServerSpanWithAClientSpanForEachAttempt) {
    Collector collector;
    collector.exporter.add(requests(1));
    collector.wait(3s);
    ASSERT_EQ(collector.seen.size(), 1u);
    EXPECT_EQ(collector.seen[0].method, "POST");
    EXPECT_EQ(collector.seen[0].path, "/v1/traces");
    EXPECT_EQ(collector.seen[0].headers.get("content-type"), "application/json");
    const Json body = Json::parse(collector.seen[0].body);
    const Json& resource = body["resourceSpans"][0];
    EXPECT_EQ(attribute(resource["resource"], "service.name"), "edge");
    const Json& spans = resource["scopeSpans"][0]["spans"];
    ASSERT_EQ(spans.size(), 3u);
    const Json& server = spans[0];
    EXPECT_EQ(server["kind"], 2);
    EXPECT_EQ(server["traceId"], "ab010000000000000000000000000000");
    EXPECT_EQ(server["spanId"], "cd01000000000000");
    EXPECT_EQ(server["parentSpanId"], "ef01000000000000");
    EXPECT_EQ(server["startTimeUnixNano"], "1700000000000000000");
    EXPECT_EQ(server["endTimeUnixNano"], "1700000000030000000");
    EXPECT_FALSE(server.contains("status"));
    for (const auto& [key, value] : std::map<std::string, std::string>{{"http.request.method", "GET"},
                                                                       {"url.path", "/cart\"\n"},
                                                                       {"http.response.status_code", "200"},
                                                                       {"plimsoll.route", "shop"},
                                                                       {"plimsoll.pool", "web"},
                                                                       {"plimsoll.endpoint", "b2"},
                                                                       {"plimsoll.cause", "-"},
                                                                       {"plimsoll.revision", "42"},
                                                                       {"plimsoll.arm", "active"}})
        EXPECT_EQ(attribute(server, key), value) << key;
    for (std::size_t i = 1; i < 3; ++i) {
        EXPECT_EQ(spans[i]["kind"], 3);
        EXPECT_EQ(spans[i]["traceId"], server["traceId"]);
        EXPECT_EQ(spans[i]["parentSpanId"], server["spanId"]);
        EXPECT_EQ(spans[i]["spanId"], hex_of(proxy::attempt_span_id(request(1).outcome.trace, i - 1)));
    }
    EXPECT_EQ(attribute(spans[1], "plimsoll.cause"), "connect_refused");
    EXPECT_EQ(spans[1]["status"]["code"], 2);
    EXPECT_EQ(spans[1]["endTimeUnixNano"], "1700000000002000000");
    EXPECT_EQ(attribute(spans[2], "plimsoll.endpoint"), "b2");
    EXPECT_EQ(collector.exporter.figures().exported, 1u);
}

TEST(SpansExporter, WaitsForABatchAndSendsNoMoreThanOneAtOnce) {
    Collector collector;
    collector.exporter.add(requests(10));
    collector.wait(500ms);
    EXPECT_TRUE(collector.seen.empty());
    collector.exporter.add(requests(5));
    collector.wait(1s);
    ASSERT_EQ(collector.seen.size(), 1u);
    EXPECT_EQ(Json::parse(collector.seen[0].body)["resourceSpans"][0]["scopeSpans"][0]["spans"].size(), 45u);
    collector.exporter.add(requests(spans_in_batch + 1));
    collector.wait(500ms);
    EXPECT_EQ(collector.seen.size(), 2u);  // the full one went at once
    collector.wait(2s);
    EXPECT_EQ(collector.seen.size(), 3u);
    EXPECT_EQ(collector.exporter.figures().exported, 15u + spans_in_batch + 1u);
}

TEST(SpansExporter, TriesOnceMoreAndThenCountsTheLoss) {
    Collector collector;
    collector.answers = {503, 200, 503, 500};
    collector.exporter.add(requests(2));
    collector.wait(5s);
    EXPECT_EQ(collector.seen.size(), 2u);
    EXPECT_EQ(collector.seen[0].body, collector.seen[1].body);
    EXPECT_EQ(collector.exporter.figures().exported, 2u);
    EXPECT_EQ(collector.exporter.figures().failures, 1u);
    collector.exporter.add(requests(3));
    collector.wait(5s);
    EXPECT_EQ(collector.seen.size(), 4u);
    EXPECT_EQ(collector.exporter.figures().dropped, 3u);
    EXPECT_EQ(collector.exporter.figures().last_failure, "the collector answered 500");
}

TEST(SpansExporter, ACollectorThatIsAwayCostsABoundedQueue) {
    Collector collector(false);
    for (int i = 0; i < 100; ++i) collector.exporter.add(requests(200));
    EXPECT_EQ(collector.exporter.figures().waiting, max_spans_waiting);
    EXPECT_EQ(collector.exporter.figures().dropped, 20'000u - max_spans_waiting);
    collector.exporter.set(std::nullopt);
    EXPECT_EQ(collector.exporter.figures().waiting, 0u);
    collector.wait(10s);
    collector.exporter.add(requests(1));
    EXPECT_EQ(collector.exporter.figures().waiting, 0u);
    EXPECT_EQ(collector.exporter.figures().exported, 0u);
    EXPECT_EQ(collector.exporter.figures().exported + collector.exporter.figures().dropped, 20'001u);
}

TEST(SpansExporter, RemembersTheNewestTraceOfEachBucket) {
    Collector collector;
    std::vector<proxy::RequestSpan> two = requests(2);
    collector.exporter.add(two);
    two[0].outcome.first_byte = 3s;
    collector.exporter.add({two[0]});
    const auto& known = collector.exporter.exemplars();
    ASSERT_EQ(known.size(), 2u);
    const auto at = known.find({RouteId{3}, Arm::active, measure::Histogram::bucket(20ms)});
    ASSERT_NE(at, known.end());
    EXPECT_EQ(at->second.trace_id[1], 2);
}

}  // namespace
}  // namespace plimsoll::control
