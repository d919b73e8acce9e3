// What a request meets when endpoints or clients fail.
#include "proxy/test_world.h"
#include "proxy/worker.h"

namespace plimsoll::proxy::test {
namespace {

using After = Reply::After;

class Failures : public World {
protected:
    void one_endpoint() { config.pools[0].endpoints.pop_back(); }
    std::uint64_t attempts(std::uint16_t port, const measure::Tally& tally) {
        return tally.arms[0].endpoints[id(port).value].attempts;
    }
    void expect_own_answer(const std::string& answer, std::string_view status, std::string_view cause) {
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::string(status))) << answer;
        EXPECT_TRUE(has(answer, "X-Plimsoll-Cause: " + std::string(cause) + "\r\n")) << answer;
    }
};

TEST_F(Failures, ARefusedConnectionIsTriedElsewhere) {
    install();
    backend(1).kill();
    Caller caller = call();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(has(caller.ask(get()), "200 OK")) << i;
    EXPECT_TRUE(has(caller.ask(post("x")), "200 OK"));  // nothing was sent: a POST too
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(tally.arms[0].all_routes().failed, 0u);
    EXPECT_EQ(attempts(2, tally), 5u);
    EXPECT_GT(attempts(1, tally), 0u);
}

TEST_F(Failures, WhenNobodyTakesTheConnection) {
    install();
    backend(1).kill();
    backend(2).kill();
    Caller caller = call();
    expect_own_answer(caller.ask(get()), "502", "connect_refused");
    EXPECT_TRUE(has(log(), "\"attempts\":[{")) << log();
    EXPECT_EQ(times(log(), "\"connect_refused\""), 3u);  // two attempts and the request
    backend(1).start();
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
}

TEST_F(Failures, AResetIsTriedAgainForGetOnly) {
    config.pools[0].ejection.enabled = false;
    install();
    int sent = 0;
    backend(1).reply = backend(2).reply = [&](const std::string&) {
        return ++sent % 2 == 1 ? Reply{.bytes = "", .after = After::abort} : Reply{ok_bytes("second")};
    };
    Caller caller = call();
    EXPECT_EQ(body_of(caller.ask(get())), "second");
    EXPECT_EQ(sent, 2);
    expect_own_answer(caller.ask(post("order")), "502", "upstream_reset");
    EXPECT_EQ(sent, 3);  // a POST that may have arrived is never sent twice
}

TEST_F(Failures, NonIdempotentIsSentAgainOnlyWhenTheOperatorSaysSo) {
    config.pools[0].retry.non_idempotent = true;
    install();
    int sent = 0;
    backend(1).reply = backend(2).reply = [&](const std::string&) {
        return ++sent == 1 ? Reply{.bytes = "", .after = After::abort} : Reply{ok_bytes("second")};
    };
    Caller caller = call();
    EXPECT_EQ(body_of(caller.ask(post("order"))), "second");
    EXPECT_TRUE((backend(1).seen.empty() ? backend(2) : backend(1)).seen.back().ends_with("order"));
}

TEST_F(Failures, AKeptConnectionThatWasClosedIsReplacedWithoutAFailure) {
    one_endpoint();
    backend(1).faults().latency = 1ms;
    install();
    Caller caller = call();
    caller.say(get());
    network.advance(10ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
    backend(1).close_all();  // its FIN needs 1 ms; the request goes out before
    caller.say(get());
    network.advance(20ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
    EXPECT_EQ(backend(1).connections(), 2u);
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(tally.arms[0].endpoints[id(1).value].failures(), 0u);
    backend(1).close_all();
    caller.say(post("once"));
    network.advance(20ms);
    expect_own_answer(caller.hear(), "502", "upstream_reset");
    backend(1).close_all();
    network.advance(5ms);  // now it is known to be closed
    caller.say(post("again"));
    network.advance(20ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
}

TEST_F(Failures, ConnectTimeout) {
    one_endpoint();
    install();
    backend(1).faults().connect = net::Faults::Connect::hang;
    Caller caller = call();
    caller.say(get());
    network.advance(499ms);
    EXPECT_EQ(caller.hear(), "");
    network.advance(2ms);
    expect_own_answer(caller.hear(), "504", "connect_timeout");
}

TEST_F(Failures, TryTimeout) {
    one_endpoint();
    config.pools[0].timeouts.per_try = 2s;
    install();
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes("late"), 3s}; };
    Caller caller = call();
    caller.say(get());
    network.advance(1999ms);
    EXPECT_EQ(caller.hear(), "");
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().waiting.count(), 1u);
    network.advance(2ms);
    expect_own_answer(caller.hear(), "504", "try_timeout");
    EXPECT_EQ(worker.collect().tally.arms[0].endpoints[id(1).value].timeouts, 1u);
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 0u);
}

TEST_F(Failures, TotalTimeoutEndsARetry) {
    config.pools[0].timeouts.per_try = 2s;
    config.pools[0].timeouts.total = 3s;
    config.pools[0].retry.on = {"timeout"};
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("late"), 60s}; };
    Caller caller = call();
    caller.say(get());
    network.advance(2999ms);
    EXPECT_EQ(caller.hear(), "");
    network.advance(2ms);
    expect_own_answer(caller.hear(), "504", "total_timeout");
    EXPECT_EQ(backend(1).seen.size() + backend(2).seen.size(), 2u);
}

TEST_F(Failures, TheClockForTheAnswerStartsWhenTheBodyHasBeenSent) {
    one_endpoint();
    config.pools[0].timeouts.per_try = 1s;
    config.pools[0].timeouts.total = 2s;
    install();
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes("thanks"), 900ms}; };
    Caller caller = call();
    caller.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    for (int i = 0; i < 5; ++i) {
        network.advance(1500ms);
        caller.say("x");
    }
    network.advance(950ms);
    EXPECT_EQ(body_of(caller.hear()), "thanks");
}

TEST_F(Failures, AStalledBodyFromTheEndpointIsCut) {
    one_endpoint();
    config.pools[0].timeouts.idle = 3s;
    install();
    backend(1).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", .more = {{60s, "defghij"}}};
    };
    Caller caller = call();
    EXPECT_TRUE(caller.ask(get()).ends_with("abc"));
    network.advance(4s);
    caller.hear();
    EXPECT_TRUE(caller.reset);
    EXPECT_TRUE(has(log(), "\"status\":200,\"cause\":\"upstream_idle\"")) << log();
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().failed, 1u);
}

TEST_F(Failures, ATruncatedAnswerIsNeverAWholeOne) {
    one_endpoint();
    install();
    for (const char* bytes : {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz"}) {
        for (const After after : {After::close, After::abort}) {
            backend(1).reply = [&](const std::string&) { return Reply{.bytes = bytes, .after = after}; };
            Caller caller = call();
            const std::string answer = caller.ask(get());
            network.advance(50ms);
            caller.hear();
            EXPECT_FALSE(has(answer, "\r\n0\r\n\r\n")) << answer;
            EXPECT_TRUE(caller.reset || answer.starts_with("HTTP/1.1 502")) << bytes << "\n" << answer;
        }
    }
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().failed, 6u);
    EXPECT_EQ(worker.collect().idle_upstream, 0u);
}

TEST_F(Failures, AnswersThatAreNotHttpAre502AndTheConnectionIsNotUsedAgain) {
    one_endpoint();
    config.pools[0].ejection.enabled = false;
    install();
    Caller caller = call();
    for (const char* bytes : {"hello\r\n\r\n", "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n",
                              "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"}) {
        backend(1).reply = [&](const std::string&) { return Reply{bytes}; };
        expect_own_answer(caller.ask(get()), "502", "upstream_protocol");
    }
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes("fine") + "and a surplus"}; };
    EXPECT_EQ(body_of(caller.ask(get())), "fine");
    EXPECT_EQ(worker.collect().idle_upstream, 0u);
}

TEST_F(Failures, FailuresInARowEjectAnEndpoint) {
    config.pools[0].ejection = {.enabled = true, .consecutive = 3, .base = 10s, .max_fraction = 0.5};
    config.pools[0].panic_threshold = 0;
    install();
    backend(1).reply = [](const std::string&) { return Reply{"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"}; };
    Caller caller = call();
    int failed = 0;
    for (int i = 0; i < 40; ++i) failed += has(caller.ask(get()), "500 Oops");
    EXPECT_EQ(failed, 3);
    EXPECT_GT(worker.endpoint_state(id(1)).ejected_until, network.now());
    network.advance(11s);
    for (int i = 0; i < 4; ++i) failed += has(caller.ask(get()), "500 Oops");
    EXPECT_GT(failed, 3);
}

TEST_F(Failures, A5xxIsTriedElsewhereWhenToldAndPassedOnWhenNobodyElseIsThere) {
    config.pools[0].retry.on = {"status_5xx"};
    config.pools[0].ejection.enabled = false;
    install();
    backend(1).reply = [](const std::string&) { return Reply{"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"}; };
    Caller caller = call();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    worker.set_health(id(2), balance::Health::down);
    worker.set_health(id(1), balance::Health::up);
    config.pools[0].panic_threshold = 0;
    install(2);
    EXPECT_TRUE(has(caller.ask(get()), "503 Busy"));
    EXPECT_TRUE(has(caller.ask(get()), "503 Busy"));
}

TEST_F(Failures, TheRetryBudgetStopsAStorm) {
    config.pools[0].retry = {.attempts = 3, .on = {"reset"}, .budget = 0.2, .min_per_second = 0};
    config.pools[0].ejection.enabled = false;
    install();
    const auto reset = [](const std::string&) { return Reply{{}, {}, Reply::After::abort}; };
    backend(1).reply = reset;
    backend(2).reply = reset;
    Caller caller = call();
    for (int i = 0; i < 100; ++i) caller.ask(get());
    const measure::Tally tally = worker.collect().tally;
    EXPECT_LE(attempts(1, tally) + attempts(2, tally), 121u);
    EXPECT_GE(attempts(1, tally) + attempts(2, tally), 115u);
}

/// With two endpoints there is no third try: what it would have cost stays in the budget for others.
TEST_F(Failures, Complaint18ARetryThatIsNotMadeCostsNothing) {
    config.pools[0].retry = {.attempts = 4, .on = {"status_5xx"}, .budget = 0.2, .min_per_second = 0};
    config.pools[0].ejection.enabled = false;
    for (const std::uint16_t port : std::vector<std::uint16_t>{1, 2})
        backend(port).reply = [](const std::string&) { return Reply{"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"}; };
    install();
    Caller caller = call();
    for (int i = 0; i < 1000; ++i) EXPECT_TRUE(has(caller.ask(get()), " 503 "));
    EXPECT_NEAR(static_cast<double>(backend(1).seen.size() + backend(2).seen.size()), 1200, 2);
}

TEST_F(Failures, UnhealthyEndpointsGetNothingAndNobodyIsSaidPlainly) {
    config.pools[0].panic_threshold = 0;
    install();
    worker.set_health(id(1), balance::Health::down);
    worker.set_health(id(2), balance::Health::up);
    Caller caller = call();
    for (int i = 0; i < 6; ++i) caller.ask(get());
    EXPECT_EQ(backend(1).seen.size(), 0u);
    worker.set_health(id(2), balance::Health::down);
    expect_own_answer(caller.ask(get()), "503", "no_endpoint");
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().no_endpoint, 1u);
}

TEST_F(Failures, TheLimitOfRequestsInFlightIsKept) {
    one_endpoint();
    config.pools[0].limits.max_in_flight_per_endpoint = 2;
    install();
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes("slow"), 1s}; };
    Caller a = call(), b = call(), c = call();
    a.say(get());
    b.say(get());
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 2u);
    expect_own_answer(c.ask(get()), "503", "limited");
    network.advance(2s);
    EXPECT_TRUE(has(a.hear(), "200 OK") && has(b.hear(), "200 OK"));
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 0u);
}

TEST_F(Failures, AClientThatLeavesInItsBodyCountsForNobody) {
    one_endpoint();
    install();
    Caller caller = call();
    caller.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 1u);
    caller.stream().close();
    network.advance(10ms);
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 0u);
    EXPECT_EQ(worker.endpoint_state(id(1)).failures_in_row, 0u);
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(tally.arms[0].all_routes().client_gone, 1u);
    EXPECT_EQ(tally.arms[0].all_routes().failed, 0u);
    EXPECT_TRUE(backend(1).seen.empty());
    EXPECT_EQ(worker.collect().connections, 0u);
}

TEST_F(Failures, AClientThatStopsSendingItsBody) {
    one_endpoint();
    config.listeners[0].body_idle_timeout = 4s;
    install();
    Caller caller = call();
    caller.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    network.advance(5s);
    expect_own_answer(caller.hear(), "408", "client_timeout");
}

TEST_F(Failures, AClientThatDoesNotTakeItsAnswer) {
    one_endpoint();
    config.listeners[0].body_idle_timeout = 4s;
    install();
    backend(1).reply = [](const std::string&) { return Reply{ok_bytes(std::string(1'000'000, 'x'))}; };
    Caller caller = call();
    caller.say(get());
    network.advance(5s);
    caller.hear();
    EXPECT_TRUE(caller.reset);
    EXPECT_TRUE(has(log(), "\"cause\":\"client_timeout\"")) << log();
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight, 0u);
}

TEST_F(Failures, AnAnswerBeforeTheBodyHasEndedIsPassedOnAndBothSidesAreClosed) {
    one_endpoint();
    install();
    backend(1).answer_early = true;
    backend(1).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig", .after = After::close};
    };
    Caller caller = call();
    caller.say("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nbegin");
    network.advance(5ms);
    const std::string answer = caller.hear();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413 Too Large")) << answer;
    EXPECT_TRUE(has(answer, "Connection: close\r\n"));
    EXPECT_EQ(worker.collect().idle_upstream, 0u);
    network.advance(2s);
    caller.hear();
    EXPECT_TRUE(caller.ended || caller.reset);
}

TEST_F(Failures, DrainFinishesWhatIsUnderWayAndClosesTheRest) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("last"), 1s}; };
    Caller busy = call(), idle = call();
    busy.say(get());
    worker.drain(async::Deadline::after(network.now(), 10s));
    EXPECT_FALSE(worker.drained());
    idle.hear();
    EXPECT_TRUE(idle.ended);
    EXPECT_EQ(network.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.1", 1)), nullptr);
    network.advance(1s);
    const std::string answer = busy.hear();
    EXPECT_TRUE(has(answer, "200 OK") && has(answer, "Connection: close\r\n")) << answer;
    EXPECT_TRUE(busy.ended);
    EXPECT_TRUE(worker.drained());
}

TEST_F(Failures, DrainCutsAtItsDeadline) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("never"), 4s}; };
    Caller busy = call();
    busy.say(get());
    worker.drain(async::Deadline::after(network.now(), 2s));
    network.advance(2100ms);
    EXPECT_TRUE(worker.drained());
    busy.hear();
    EXPECT_TRUE(busy.reset);
    EXPECT_TRUE(has(log(), "\"cause\":\"shutting_down\"")) << log();
}

TEST_F(Failures, NothingLeaks) {
    install();
    const std::size_t before = network.streams();
    for (int i = 0; i < 20; ++i) {
        Caller caller = call();
        caller.ask(i % 3 == 0 ? "nonsense\r\n\r\n" : get());
    }
    network.advance(120s);
    EXPECT_EQ(network.streams(), before);
    EXPECT_EQ(worker.collect().connections, 0u);
}

}  // namespace
}  // namespace plimsoll::proxy::test
