// What a request meets when nothing goes wrong.
#include "proxy/worker.h"

#include "proxy/test_world.h"

namespace plimsoll::proxy::test {
namespace {

TEST_F(World, CarriesARequestAndSaysWhatHappened) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("hello"), 20ms}; };
    Caller caller = call();
    caller.say(get("/cart?id=1"));
    EXPECT_EQ(worker.pinned(RevisionNumber{1}), 1u);
    network.advance(20ms);
    const std::string answer = caller.hear();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_EQ(body_of(answer), "hello");
    EXPECT_EQ(worker.pinned(RevisionNumber{1}), 0u);

    Report report = worker.collect();
    const measure::RouteTally route = report.tally.arms[0].all_routes();
    EXPECT_EQ(route.requests, 1u);
    EXPECT_EQ(route.failed, 0u);
    EXPECT_EQ(report.tally.connections_accepted, 1u);
    ASSERT_EQ(report.records.size(), 1u);
    const recording::Record& record = report.records[0].record;
    EXPECT_EQ(record.path, "/cart");
    EXPECT_EQ(record.host, "a.example");
    EXPECT_EQ(record.method, "GET");
    EXPECT_EQ(record.service, 20ms);
    EXPECT_EQ(record.response_body_bytes, 5u);
    EXPECT_TRUE(record.endpoint == "b1" || record.endpoint == "b2");
    const std::string line = log();
    EXPECT_TRUE(has(line, "\"client\":\"192.0.2.7\"") && has(line, "\"cause\":\"-\"") &&
                has(line, "\"route\":\"all\"") && has(line, "\"first_byte_us\":20000"))
        << line;
}

TEST_F(World, RecordsWhatConditionsCameToAndNoValue) {
    config::Route beta{.name = "beta", .match = {}, .pool = "web"};
    beta.match.headers.push_back({.name = "Authorization", .exact = "secret", .regex = {}});
    beta.match.query.push_back({.name = "id", .exact = "1", .regex = {}});
    config.routes.insert(config.routes.begin(), beta);
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get("/?id=1", "Authorization: secret\r\n")), "200 OK"));
    EXPECT_TRUE(has(caller.ask(get("/?id=2")), "200 OK"));
    const Report report = worker.collect();
    ASSERT_EQ(report.records.size(), 2u);
    const recording::Record &with = report.records[0].record, &without = report.records[1].record;
    EXPECT_EQ(with.listener, "web");
    ASSERT_EQ(with.answers.digests().size(), 4u) << "is each there, and is it what is asked for";
    EXPECT_EQ(with.answers.held, 0b1111u);
    EXPECT_EQ(without.answers.held, 0b0010u) << "only the parameter is there";
    EXPECT_EQ(with.answers.asked, without.answers.asked);
    const recording::Recording both{.start = {}, .records = {with, without}};
    EXPECT_EQ(recording::write(both).find("secret"), std::string::npos);
}

TEST_F(World, AsksNothingOfRequestsWhereNoConditionIs) {
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get("/?id=1")), "200 OK"));
    const Report report = worker.collect();
    ASSERT_EQ(report.records.size(), 1u);
    EXPECT_EQ(report.records[0].record.answers, recording::Answers{});
    EXPECT_EQ(report.records[0].record.listener, "web");
}

TEST_F(World, KeepsConnectionsOnBothSides) {
    install();
    Caller caller = call();
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(has(caller.ask(get()), "200 OK")) << i;
    EXPECT_EQ(backend(1).seen.size(), 5u);
    EXPECT_EQ(backend(2).seen.size(), 5u);
    EXPECT_EQ(backend(1).connections() + backend(2).connections(), 2u);
    EXPECT_EQ(worker.collect().idle_upstream, 2u);
    network.advance(31s);  // keepalive_idle of the pool is 30 s
    EXPECT_EQ(worker.collect().idle_upstream, 0u);
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
}

TEST_F(World, AnswersPipelinedRequestsInOrder) {
    install();
    backend(1).reply = [](const std::string& request) { return Reply{ok_bytes(request.substr(4, 2)), 30ms}; };
    backend(2).reply = [](const std::string& request) { return Reply{ok_bytes(request.substr(4, 2)), 1ms}; };
    Caller caller = call();
    caller.say(get("/1") + get("/2") + get("/3") + get("/4"));
    network.advance(1s);
    const std::string answers = caller.hear();
    std::size_t last = 0;
    for (const char* body : {"/1", "/2", "/3", "/4"}) {
        const std::size_t at = answers.find("\r\n\r\n" + std::string(body));
        ASSERT_NE(at, std::string::npos) << answers;
        EXPECT_GE(at, last);
        last = at;
    }
}

TEST_F(World, SetsWhatEndpointsMayRelyOn) {
    install();
    Caller caller = call();
    caller.ask(get("/x?q",
                   "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nForwarded: for=6.6.6.6\r\n"
                   "Connection: x-secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                   "X-Request-Id: abc-1\r\nX-Other: kept\r\nUpgrade: h2c\r\n"));
    const std::string seen = backend(1).seen.empty() ? backend(2).seen.at(0) : backend(1).seen.at(0);
    EXPECT_TRUE(seen.starts_with("GET /x?q HTTP/1.1\r\nHost: a.example\r\n")) << seen;
    EXPECT_TRUE(has(seen, "X-Forwarded-For: 192.0.2.7\r\n")) << seen;
    EXPECT_TRUE(has(seen, "X-Forwarded-Host: a.example\r\n"));
    EXPECT_TRUE(has(seen, "X-Forwarded-Proto: http\r\n"));
    EXPECT_TRUE(has(seen, "Forwarded: for=192.0.2.7;host=\"a.example\";proto=http\r\n"));
    EXPECT_TRUE(has(seen, "X-Request-Id: abc-1\r\n"));
    EXPECT_TRUE(has(seen, "X-Other: kept\r\n"));
    for (const char* gone : {"6.6.6.6", "evil", "X-Secret", "Keep-Alive", "TE:", "Connection:", "Upgrade"}) {
        EXPECT_FALSE(has(seen, gone)) << gone << " in " << seen;
    }
}

TEST_F(World, TrustsForwardedHeadersOnlyWhenTold) {
    config.listeners[0].trusted_proxies = {"192.0.2.0/24"};
    install();
    Caller caller = call();
    caller.ask(get("/", "X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\nX-Forwarded-Proto: https\r\n"));
    const std::string seen = backend(1).seen.empty() ? backend(2).seen.at(0) : backend(1).seen.at(0);
    EXPECT_TRUE(has(seen, "X-Forwarded-For: 6.6.6.6, 7.7.7.7, 192.0.2.7\r\n")) << seen;
    EXPECT_TRUE(has(seen, "X-Forwarded-Proto: https\r\n"));
    EXPECT_TRUE(has(log(), "\"client\":\"7.7.7.7\""));
}

TEST_F(World, GeneratesARequestIdWhenThereIsNoSaneOne) {
    install();
    Caller caller = call();
    caller.ask(get("/", "X-Request-Id: a b\r\n"));
    caller.ask(get("/"));
    std::vector<std::string> ids;
    for (const auto& seen : {backend(1).seen.at(0), backend(2).seen.at(0)}) {
        const std::size_t at = seen.find("X-Request-Id: ");
        ASSERT_NE(at, std::string::npos);
        ids.push_back(seen.substr(at + 14, seen.find("\r\n", at) - at - 14));
        EXPECT_EQ(ids.back().size(), 32u) << ids.back();
    }
    EXPECT_NE(ids[0], ids[1]);
}

TEST_F(World, StreamsALengthBodyBothWaysWithBackpressure) {
    config.pools[0].endpoints.pop_back();
    install();
    const std::string big(1'000'000, 'x');
    backend(1).reply = [](const std::string& request) { return Reply{ok_bytes(body_of(request))}; };
    Caller caller = call();
    caller.say(post(big));
    network.advance(1ms);
    std::string answer;
    for (int i = 0; i < 2000 && answer.size() < big.size() + 40; ++i) {
        answer += caller.hear();
        network.advance(1ms);
    }
    EXPECT_TRUE(body_of(answer) == big) << answer.size();
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));  // the connection goes on
    EXPECT_EQ(backend(1).connections(), 1u);
}

TEST_F(World, RechunksBodiesAndDropsExtensionsAndTrailers) {
    config.pools[0].endpoints.pop_back();
    install();
    backend(1).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n",
                     .more = {{5ms, "2\r\nde"}, {5ms, "\r\n0\r\nX-Trailer: 1\r\n\r\n"}}};
    };
    Caller caller = call();
    caller.say("POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;ext\r\nwiki\r\n");
    caller.say("5\r\npe");
    caller.say("dia\r\n0\r\nTrailer: x\r\n\r\n" + get("/next"));
    network.advance(20ms);
    const std::string seen = backend(1).seen.at(0);
    EXPECT_TRUE(has(seen, "\r\n\r\n4\r\nwiki\r\n2\r\npe\r\n3\r\ndia\r\n0\r\n\r\n")) << seen;
    EXPECT_FALSE(has(seen, "ext") || has(seen, "Trailer"));
    const std::string answer = caller.hear();
    EXPECT_TRUE(has(answer, "\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")) << answer;
    EXPECT_FALSE(has(answer, "a=b") || has(answer, "X-Trailer"));
    EXPECT_EQ(backend(1).seen.size(), 2u);
    EXPECT_EQ(backend(1).connections(), 1u);
}

TEST_F(World, AnswersWithoutABody) {
    config.pools[0].endpoints.pop_back();
    install();
    backend(1).reply = [](const std::string& request) {
        if (request.starts_with("HEAD")) return Reply{"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"};
        if (has(request, "/204")) return Reply{"HTTP/1.1 204 No Content\r\n\r\n"};
        return Reply{"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n"};
    };
    Caller caller = call();
    const std::string head = caller.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(has(head, "Content-Length: 77\r\n") && body_of(head).empty()) << head;
    EXPECT_FALSE(has(caller.ask(get("/204")), "Content-Length"));
    EXPECT_TRUE(has(caller.ask(get("/304")), "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n\r\n"));
    EXPECT_EQ(backend(1).connections(), 1u);
}

TEST_F(World, UntilCloseAnswersAreChunkedForNewClientsAndClosedForOld) {
    config.pools[0].endpoints.pop_back();
    install();
    backend(1).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.0 200 OK\r\n\r\nabc", .after = Reply::After::close};
    };
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get()), "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    Caller old = call();
    const std::string answer = old.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(has(answer, "Connection: close\r\n") && answer.ends_with("\r\n\r\nabc")) << answer;
    EXPECT_TRUE(old.ended);
    EXPECT_TRUE(has(backend(1).seen.back(), "Host: 10.0.0.1\r\n"));
}

TEST_F(World, KeepsHttp10ConnectionsThatAskForIt) {
    install();
    Caller caller = call();
    const std::string kept = caller.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_TRUE(has(kept, "Connection: keep-alive\r\n")) << kept;
    const std::string last = caller.ask("GET / HTTP/1.0\r\n\r\n");
    EXPECT_TRUE(has(last, "Connection: close\r\n")) << last;
    EXPECT_TRUE(caller.ended);
}

TEST_F(World, AnswersExpectContinueWhenTheBodyIsWanted) {
    install();
    Caller caller = call();
    const std::string first =
        caller.ask("POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(first, "HTTP/1.1 100 Continue\r\n\r\n");
    EXPECT_TRUE(has(caller.ask("body"), "HTTP/1.1 200 OK"));
    const std::string seen = backend(1).seen.empty() ? backend(2).seen.at(0) : backend(1).seen.at(0);
    EXPECT_FALSE(has(seen, "Expect"));
    EXPECT_TRUE(seen.ends_with("\r\n\r\nbody"));
}

TEST_F(World, InterimAnswersAreNotTakenForTheAnswer) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) {
        return Reply{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok_bytes("done")};
    };
    Caller caller = call();
    const std::string answer = caller.ask(get());
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK")) << answer;
    EXPECT_EQ(body_of(answer), "done");
}

TEST_F(World, LimitsAndBrokenRequestsAreAnsweredAndClosed) {
    config.listeners[0].limits.max_head_bytes = 2000;
    config.listeners[0].limits.max_headers = 5;
    config.listeners[0].limits.max_body_bytes = 10;
    install();
    const auto refused = [&](const std::string& request, std::string_view status) {
        Caller caller = call();
        const std::string answer = caller.ask(request);
        EXPECT_TRUE(answer.starts_with("HTTP/1.1 " + std::string(status))) << request.substr(0, 80) << "\n" << answer;
        EXPECT_TRUE(has(answer, "X-Plimsoll-Cause: bad_request\r\n") && has(answer, "Connection: close\r\n")) << answer;
        network.advance(2s);
        caller.hear();
        EXPECT_TRUE(caller.ended || caller.reset);
    };
    refused("GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(3000, 'x') + "\r\n\r\n", "431");
    refused("GET / HTTP/1.1\r\nHost: a\r\nA:1\r\nB:1\r\nC:1\r\nD:1\r\nE:1\r\n\r\n", "431");
    refused("GET /" + std::string(9000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", "414");
    refused(post("this is too long"), "413");
    refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nf\r\nthis is too lon\r\n0\r\n\r\n", "413");
    refused("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400");
    refused("GET / HTTP/1.1\nHost: a\n\n", "400");
    refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400");
    refused("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", "400");
    EXPECT_TRUE(backend(1).seen.empty() && backend(2).seen.empty());
    EXPECT_EQ(times(log(), "\"cause\":\"bad_request\""), 9u) << log();
}

TEST_F(World, ChunkedBodiesOverTheLimitAreStoppedUnderWay) {
    config.listeners[0].limits.max_body_bytes = 10;
    install();
    Caller caller = call();
    caller.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    const std::string answer = caller.ask("6\r\nfghijk\r\n");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 413")) << answer;
    EXPECT_TRUE(backend(1).seen.empty() && backend(2).seen.empty());  // never whole there
    EXPECT_EQ(worker.endpoint_state(id(1)).in_flight + worker.endpoint_state(id(2)).in_flight, 0u);
}

TEST_F(World, SlowHeadsAndIdleConnectionsAreClosed) {
    install();
    Caller slow = call();
    slow.say("GET / HTTP/1.1\r\nHo");
    network.advance(9s);
    slow.say("st");
    network.advance(2s);  // head_timeout 10 s counts from the first byte
    EXPECT_TRUE(slow.hear().starts_with("HTTP/1.1 408"));
    Caller idle = call();
    idle.ask(get());
    network.advance(59s);
    idle.hear();
    EXPECT_FALSE(idle.ended);
    network.advance(2s);
    idle.hear();
    EXPECT_TRUE(idle.ended);
    Caller silent = call();
    network.advance(11s);
    EXPECT_EQ(silent.hear(), "");
    EXPECT_TRUE(silent.ended);
    EXPECT_EQ(worker.collect().connections, 0u);
}

TEST_F(World, ConnectionsOverTheLimitAreRefused) {
    config.listeners[0].limits.max_connections = 2;
    install();
    Caller a = call(), b = call(), c = call();
    c.hear();
    EXPECT_TRUE(c.reset);
    EXPECT_TRUE(has(a.ask(get()), "200") && has(b.ask(get()), "200"));
    EXPECT_EQ(worker.collect().tally.connections_refused, 1u);
}

TEST_F(World, NoRoute) {
    config.routes[0].match.path_prefix = "/api";
    install();
    Caller caller = call();
    const std::string answer = caller.ask(get("/other"));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 404")) << answer;
    EXPECT_TRUE(has(answer, "X-Plimsoll-Cause: no_route\r\n"));
    EXPECT_TRUE(has(caller.ask(get("/api/x")), "200 OK"));  // the connection lives on
    EXPECT_EQ(worker.collect().tally.arms[0].unmatched.requests, 1u);
}

TEST_F(World, ShortOfMemoryNewRequestsAreRefusedByNameAndNewConnectionsNotTaken) {
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    worker.shed(true);
    const std::string answer = caller.ask(get());
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
    EXPECT_TRUE(has(answer, "X-Plimsoll-Cause: overloaded\r\n"));
    Caller late = call();
    late.say(get());
    late.hear();
    EXPECT_TRUE(late.reset);
    worker.shed(false);
    Caller again = call();
    EXPECT_TRUE(has(again.ask(get()), "200 OK"));
}

}  // namespace
}  // namespace plimsoll::proxy::test
