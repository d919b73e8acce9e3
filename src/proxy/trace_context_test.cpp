#include "proxy/trace_context.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "proxy/lines_for_test.h"

namespace plimsoll::proxy {
namespace {

using test::Lines;

constexpr std::string_view example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

std::string text(const Trace& trace) {
    const auto letters = traceparent(trace);
    return {letters.begin(), letters.end()};
}

TEST(TraceContext, ReadsWhatTheCallerSaid) {
    const auto trace = parse_traceparent(example);
    ASSERT_TRUE(trace);
    EXPECT_EQ(trace->trace_id[0], 0x4b);
    EXPECT_EQ(trace->trace_id[15], 0x36);
    EXPECT_EQ(trace->parent_id[7], 0xb7);
    EXPECT_TRUE(trace->sampled);
    EXPECT_TRUE(exists(*trace));
    EXPECT_FALSE(exists(Trace{}));
    EXPECT_FALSE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")->sampled);
    EXPECT_TRUE(parse_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff")->sampled);
}

TEST(TraceContext, LaterVersionsMayGoOn) {
    for (const std::string_view right :
         {"cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
          "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings"})
        EXPECT_TRUE(parse_traceparent(right)) << right;
    EXPECT_FALSE(parse_traceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x"));
}

TEST(TraceContext, AnythingElseIsNone) {
    for (const std::string_view wrong : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
                                         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
                                         "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                         "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                                         "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                                         "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                                         "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
                                         "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                         "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                                         "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                                         " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        EXPECT_FALSE(parse_traceparent(wrong)) << wrong;
}

TEST(TraceContext, GoesOnWithTheCallersTrace) {
    Random random(7);
    const std::string line = "traceparent: " + std::string(example);
    const Lines lines{line, "tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"};
    const TraceContext context = trace_context(lines.fields(), random, 0);
    EXPECT_TRUE(context.trace.sampled) << "the caller decided";
    EXPECT_TRUE(context.keep_state);
    EXPECT_EQ(context.trace.parent_id, parse_traceparent(example)->parent_id);
    EXPECT_EQ(context.trace.trace_id, parse_traceparent(example)->trace_id);
    EXPECT_NE(context.trace.span_id, context.trace.parent_id);
    EXPECT_EQ(text(context.trace).substr(0, 36), example.substr(0, 36));
    EXPECT_TRUE(text(context.trace).ends_with("-01"));
}

TEST(TraceContext, BeginsOneWhereThereIsNone) {
    Random random(7);
    const std::string line = "traceparent: " + std::string(example);
    const Lines twice{line, line, "tracestate: a=b"}, wrong{"traceparent: 00-0", "tracestate: a=b"}, nothing{};
    for (const Lines* lines : {&twice, &wrong, &nothing}) {
        const TraceContext context = trace_context(lines->fields(), random, 1);
        EXPECT_TRUE(exists(context.trace));
        EXPECT_NE(context.trace.trace_id, parse_traceparent(example)->trace_id);
        EXPECT_FALSE(exists({.trace_id = {}, .span_id = {}, .parent_id = {}, .sampled = true}));
        EXPECT_EQ(context.trace.parent_id, (std::array<std::uint8_t, 8>{}));
        EXPECT_TRUE(context.trace.sampled);
        EXPECT_FALSE(context.keep_state) << "state of no trace";
    }
    EXPECT_FALSE(trace_context(nothing.fields(), random, 0).trace.sampled);
}

TEST(TraceContext, TheShareThatIsRecorded) {
    Random random(11);
    const Lines nothing{};
    int sampled = 0;
    for (int i = 0; i < 20'000; ++i) sampled += trace_context(nothing.fields(), random, 0.25).trace.sampled ? 1 : 0;
    EXPECT_NEAR(sampled, 5000, 250);  // four standard deviations
}

TEST(TraceContext, StateIsPassedOnOnlyWhenItIsRight) {
    const auto right = [](std::string_view value) {
        const std::string line = "tracestate: " + std::string(value);
        const Lines lines{line};
        return is_tracestate(lines.fields());
    };
    for (const std::string_view good :
         {"a=1", "a=1,b=2", "a=1 , b=2", "", "a=1,,b=2", "fw529a3039@dt=FfAB~_-!", "0a=x y", "a/b*c_d-e=~"})
        EXPECT_TRUE(right(good)) << good;
    for (const std::string_view bad :
         {"a", "A=1", "=1", "a=", "a=1,a=2", "a=1=2", "a@=1", "@a=1", "a@b@c=1", "a b=1", "_a=1"})
        EXPECT_FALSE(right(bad)) << bad;
    std::string many = "k0=1";
    for (int i = 1; i < 32; ++i) many += ",k" + std::to_string(i) + "=1";
    EXPECT_TRUE(right(many));
    EXPECT_FALSE(right(many + ",k32=1"));
    EXPECT_TRUE(right(std::string(256, 'k') + "=1"));
    EXPECT_FALSE(right(std::string(257, 'k') + "=1"));
    EXPECT_FALSE(right("k=" + std::string(257, 'v')));
    const Lines two{"tracestate: a=1", "Tracestate: a=2"};
    EXPECT_FALSE(is_tracestate(two.fields())) << "lines are one list";
}

RC_GTEST_PROP(TraceContext, HearsWhatItSays, ()) {
    Random random(*rc::gen::arbitrary<std::uint64_t>());
    const Lines nothing{};
    const Trace ours = trace_context(nothing.fields(), random, 0.5).trace;
    const auto heard = parse_traceparent(text(ours));
    RC_ASSERT(heard.has_value());
    RC_ASSERT(heard->trace_id == ours.trace_id);
    RC_ASSERT(heard->parent_id == ours.span_id);
    RC_ASSERT(heard->sampled == ours.sampled);
}

RC_GTEST_PROP(TraceContext, AnyOtherLetterIsEitherRefusedOrChangesTheValue, ()) {
    std::string changed(example);
    const std::size_t at = *rc::gen::inRange<std::size_t>(0, changed.size());
    changed[at] = *rc::gen::arbitrary<char>();
    RC_PRE(changed != example);
    const auto heard = parse_traceparent(changed);
    if (!heard) return;
    RC_ASSERT(at != 2 && at != 35 && at != 52);
    if (at > 2 && at < 52) RC_ASSERT(text(*heard) != text(*parse_traceparent(example)) || at > 35);
}

}  // namespace
}  // namespace plimsoll::proxy
