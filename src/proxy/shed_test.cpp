// What a worker does when memory is short.
#include <gtest/gtest.h>

#include "proxy/buffer.h"
#include "proxy/test_world.h"

namespace plimsoll::proxy::test {
namespace {

TEST_F(World, ShortOfMemoryHalfSentHeadsAreRefusedToo) {
    install();
    Caller half = call(), idle = call(), late = call("192.0.2.8");
    EXPECT_TRUE(has(idle.ask(get()), "200 OK"));
    half.say("GET / HTTP/1.1\r\nHost: a.exa");
    worker.shed(true);
    const std::string answer = half.hear();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
    EXPECT_TRUE(has(answer, "X-Plimsoll-Cause: overloaded\r\n"));
    EXPECT_TRUE(half.ended || half.reset) << "it holds nothing any more";
    EXPECT_TRUE(late.ask("GET / HT").starts_with("HTTP/1.1 503")) << "nor does one that begins now";
    EXPECT_TRUE(has(idle.ask(get()), "503")) << "its connection stays";
    worker.shed(false);
    EXPECT_TRUE(has(idle.ask(get()), "200 OK"));
    EXPECT_EQ(times(log(), "\"cause\":\"overloaded\""), 3u);
}

TEST_F(World, NoMoreConnectionsComeInThanFitUntilMemoryIsLookedAtAgain) {
    install();
    shed_counts->allowance = block_bytes;  // less than what two need, with what goes with them
    ++shed_counts->looks;
    Caller first = call(), second = call();
    EXPECT_TRUE(has(first.ask(get()), "200 OK"));
    EXPECT_EQ(second.hear(), "");
    EXPECT_TRUE(second.reset);
    EXPECT_EQ(shed_counts->connections_refused, 1u);
    EXPECT_TRUE(has(first.ask(get()), "200 OK")) << "who is in is served";
    shed_counts->allowance = 0;
    ++shed_counts->looks;
    EXPECT_TRUE(has(call().ask(get()), "200 OK")) << "nobody is kept out for good by usage just below the limit";
    Caller fifth = call();
    EXPECT_EQ(fifth.hear(), "");
    EXPECT_TRUE(fifth.reset);
}

TEST_F(World, ShortOfMemoryTheLargestHoldersAreEndedByName) {
    install();
    backend(1).reply = [](const std::string&) { return Reply{.bytes = ok_bytes("late"), .delay = 5s}; };
    backend(2).reply = backend(1).reply;
    Caller idle = call(), busy = call(), busy_too = call();
    busy.say(get());
    busy_too.say(get());
    const std::uint64_t held = worker.relieve(0, false);
    EXPECT_GT(held, 2 * block_bytes) << "two heads, each in its block";
    const std::uint64_t left = worker.relieve(1, false);
    EXPECT_LT(left, held - block_bytes) << "one is enough, and it is not the one that holds nothing";
    EXPECT_TRUE(busy.hear().empty());
    EXPECT_TRUE(busy_too.hear().empty());
    EXPECT_NE(busy.reset, busy_too.reset);
    (void)worker.relieve(block_bytes, false);
    (void)busy.hear();
    (void)busy_too.hear();
    EXPECT_TRUE(busy.reset && busy_too.reset);
    const std::string lines = log();
    EXPECT_EQ(times(lines, "\"path\":\"/\",\"status\":0,\"cause\":\"overloaded\""), 2u) << lines;
    EXPECT_TRUE(worker.endpoint_state(id(1)).in_flight == 0 && worker.endpoint_state(id(2)).in_flight == 0);
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes("soon")}; };
    backend(2).reply = backend(1).reply;
    EXPECT_TRUE(has(idle.ask(get()), "200 OK")) << "no endpoint is to blame, and the small one lives";
    EXPECT_EQ(times(log(), "\"path\":\"/\",\"status\":0"), 2u);
}

TEST_F(World, ShortOfMemoryIdleConnectionsAreClosedInOrder) {
    install();
    Caller idle = call();
    EXPECT_TRUE(has(idle.ask(get()), "200 OK"));
    EXPECT_EQ(worker.relieve(1, false), 0u);
    (void)idle.hear();
    EXPECT_TRUE(idle.ended);
    EXPECT_FALSE(idle.reset);
}

}  // namespace
}  // namespace plimsoll::proxy::test
