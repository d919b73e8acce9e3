// A sampled request as it is handed to control.
#include "proxy/spans.h"

#include <gtest/gtest.h>

#include <set>

namespace plimsoll::proxy {
namespace {

using namespace std::chrono_literals;

TEST(Spans, OwnWhatTheyNameAndKnowWhenEachAttemptRan) {
    std::string path(3000, 'x');
    Outcome outcome;
    outcome.path = path;
    outcome.method = "GET";
    outcome.total = 30ms;
    outcome.attempt_count = 2;
    const std::array<Duration, 2> began{1ms, 12ms};
    const RequestSpan span =
        request_span(outcome, Timestamp{},
                     {.route_name = "shop", .pool_name = "web", .endpoint_name = "a", .attempts_began = began});
    path.clear();
    EXPECT_EQ(span.path, std::string(max_span_text, 'x'));
    EXPECT_TRUE(span.outcome.path.empty());
    EXPECT_EQ(span.route, "shop");
    EXPECT_EQ(span.tries[0].began, Duration(1ms));
    EXPECT_EQ(span.tries[0].ended, Duration(12ms));
    EXPECT_EQ(span.tries[1].began, Duration(12ms));
    EXPECT_EQ(span.tries[1].ended, Duration(30ms));
    EXPECT_EQ(span.tries[1].endpoint, "a");
}

TEST(Spans, WithoutClocksAnAttemptFillsTheTimeAfterTheQueue) {
    Outcome outcome;
    outcome.queue = 5ms;
    outcome.total = 20ms;
    outcome.attempt_count = 1;
    const RequestSpan span = request_span(outcome, Timestamp{}, {});
    EXPECT_EQ(span.tries[0].began, Duration(5ms));
    EXPECT_EQ(span.tries[0].ended, Duration(20ms));
}

TEST(Spans, EachAttemptHasAnIdOfItsOwnAndAlwaysTheSame) {
    std::set<std::array<std::uint8_t, 8>> ids;
    for (std::uint8_t request = 1; request <= 50; ++request) {
        const Trace trace{.span_id = {request, 7}};
        for (std::size_t attempt = 0; attempt < max_attempts; ++attempt) {
            const auto id = attempt_span_id(trace, attempt);
            EXPECT_EQ(id, attempt_span_id(trace, attempt));
            EXPECT_NE(id, trace.span_id);
            EXPECT_NE(id, (std::array<std::uint8_t, 8>{}));
            ids.insert(id);
        }
    }
    EXPECT_EQ(ids.size(), 200u);
}

}  // namespace
}  // namespace plimsoll::proxy
