// What passes beside heads and bodies: answers of our own to gRPC, Early Hints, trailers, copies, a tunnel's end.
#include "proxy/test_http2.h"

namespace plimsoll::proxy::test {
namespace {

class ExchangeTest : public World {
protected:
    Http2Caller http2_caller() {
        return {network, network.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.7", 5000))};
    }
    /// The pool's one endpoint is this one, which speaks HTTP/2.
    std::unique_ptr<Http2Backend> http2_backend() {
        config.pools[0].endpoints.resize(1);
        config.pools[0].endpoints[0] = {.name = "b9", .address = {"10.0.0.1", 9}};
        config.pools[0].protocol = config::PoolProtocol::http2;
        return std::make_unique<Http2Backend>(network, 9);
    }
    void one_endpoint() { config.pools[0].endpoints.pop_back(); }
    config::Route& route() { return config.routes[0]; }
};

const Http2Caller::Ask grpc_call{.method = "POST", .fields = {{"content-type", "application/grpc+proto"}}, .body = "x"};

// ---- gRPC ----------------------------------------------------------------------------------------------------------

TEST_F(ExchangeTest, CallersOfGrpcGetAStatusOfGrpc) {
    install();
    backend(1).kill();
    backend(2).kill();
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask(grpc_call);
    EXPECT_EQ(heard.status, 200);
    EXPECT_EQ(heard.fields,
              "content-type: application/grpc\ngrpc-status: 14\n"
              "grpc-message: connect_refused: the server refused the connection\nx-plimsoll-cause: connect_refused\n");
    EXPECT_EQ(heard.body, "");
    EXPECT_TRUE(heard.ended);
    // To everybody who counts it is the failure that it is.
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().failed, 1u);
    EXPECT_TRUE(has(log(), R"("status":502,"cause":"connect_refused")")) << log();
}

TEST_F(ExchangeTest, AServersGrpcStatusCountsAsWhatItAmountsTo) {
    const auto endpoint = http2_backend();
    endpoint->fields = {{"content-type", "application/grpc"}};
    install();
    Http2Caller caller = http2_caller();
    struct Case {
        Lines trailers;
        std::uint64_t failed, of_endpoint;
        std::string_view logged;
    };
    for (const Case& c : {Case{{{"grpc-status", "0"}}, 0, 0, R"("status":200,"cause":"-")"},
                          Case{{{"grpc-status", "5"}}, 0, 0, R"("status":404,"cause":"-")"},
                          Case{{{"grpc-status", "13"}}, 1, 1, R"("status":500,"cause":"-")"},
                          Case{{{"grpc-status", "14"}}, 1, 1, R"("status":503,"cause":"-")"},
                          Case{{{"grpc-status", "12"}}, 1, 0, R"("status":501,"cause":"-")"},
                          Case{{}, 1, 1, R"("status":500,"cause":"-")"}}) {
        endpoint->trailers = c.trailers;
        const std::size_t before = log().size();
        const Http2Caller::Heard heard = caller.ask(grpc_call);
        EXPECT_EQ(heard.status, 200) << "the client gets what the server said";
        EXPECT_EQ(heard.trailers, c.trailers.empty() ? "" : "grpc-status: " + c.trailers[0].second + "\n");
        const measure::Tally tally = worker.collect().tally;
        EXPECT_EQ(tally.arms[0].all_routes().failed, c.failed) << c.logged;
        EXPECT_EQ(tally.arms[0].endpoints[id(9).value].status_5xx, c.of_endpoint) << c.logged;
        EXPECT_TRUE(has(log().substr(before), c.logged)) << log().substr(before);
    }
    EXPECT_TRUE(has(log(), R"("grpc_status":14)")) << log();
}

TEST_F(ExchangeTest, OthersGetAnAnswerOfHttp) {
    install();
    backend(1).kill();
    backend(2).kill();
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard web =
        caller.ask({.method = "POST", .fields = {{"content-type", "application/grpc-web"}}, .body = "x"});
    EXPECT_EQ(web.status, 502);
    EXPECT_EQ(web.body, "connect_refused: the server refused the connection\n");
    // gRPC is HTTP/2.
    EXPECT_TRUE(call().ask(post("x", "Content-Type: application/grpc\r\n")).starts_with("HTTP/1.1 502 "));
}

TEST_F(ExchangeTest, ARateLimitTellsCallersOfGrpcWhenToComeBack) {
    route().rate_limits.push_back({.by = config::RateKey::route, .rate = 0.5, .burst = 1});
    install();
    Http2Caller caller = http2_caller();
    EXPECT_TRUE(has(caller.ask(grpc_call).body, "from "));
    const Http2Caller::Heard heard = caller.ask(grpc_call);
    EXPECT_EQ(heard.status, 200);
    EXPECT_TRUE(has(heard.fields, "grpc-status: 8\n")) << heard.fields;
    EXPECT_TRUE(has(heard.fields, "grpc-retry-pushback-ms: 2000\n")) << heard.fields;
    EXPECT_FALSE(has(heard.fields, "retry-after")) << heard.fields;
}

TEST_F(ExchangeTest, ADirectAnswerThatIsAnErrorIsOneOfGrpcToo) {
    route().pool.clear();
    route().respond = config::Respond{.status = 503, .body = "closed for repairs\n"};
    route().response_headers.set["X-Edge"] = "1";
    install();
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask(grpc_call);
    EXPECT_EQ(heard.fields,
              "content-type: application/grpc\ngrpc-status: 14\ngrpc-message: closed for repairs%0A\nx-edge: 1\n");
    EXPECT_EQ(worker.collect().tally.arms[0].all_routes().failed, 1u);
}

TEST_F(ExchangeTest, AnEndpointsOwnErrorIsPassedOnAsItIs) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) {
        return Reply{"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nContent-Type: text/html\r\n\r\n<p>\n"};
    };
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask(grpc_call);
    EXPECT_EQ(heard.status, 502);
    EXPECT_EQ(heard.body, "<p>\n");
}

// ---- Early Hints ---------------------------------------------------------------------------------------------------

constexpr std::string_view hint =
    "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nSet-Cookie: a=b\r\nX-Inside: 1\r\nConnection: x-hop\r\n"
    "X-Hop: 1\r\n\r\n";

TEST_F(ExchangeTest, EarlyHintsReachClientsOfHttp2BeforeTheAnswer) {
    route().response_headers.remove = {"X-Inside"};
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) {
        return Reply{.bytes = std::string(hint), .more = {{1s, ok_bytes("page")}}};
    };
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard& heard = caller.ask({});
    EXPECT_EQ(heard.hints, std::vector<std::string>{"link: </a.css>; rel=preload\n"});
    EXPECT_EQ(heard.status, 0);
    network.advance(1s);
    EXPECT_EQ(heard.status, 200);
    EXPECT_EQ(heard.body, "page");
    EXPECT_EQ(heard.hints.size(), 1u);
}

TEST_F(ExchangeTest, EarlyHintsFromHttp2) {
    const auto endpoint = http2_backend();
    endpoint->hints = {{{"link", "</a.css>"}}, {{"link", "</b.css>"}}, {{"set-cookie", "a=b"}}};
    install();
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask({});
    EXPECT_EQ(heard.hints, (std::vector<std::string>{"link: </a.css>\n", "link: </b.css>\n"}));
    EXPECT_EQ(heard.body, "hello");
    EXPECT_TRUE(call().ask(get()).starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST_F(ExchangeTest, EarlyHintsToHttp1OnlyWhereTheRouteSaysSo) {
    install();
    backend(1).reply =
        backend(2).reply = [](const std::string&) { return Reply{std::string(hint) + ok_bytes("page")}; };
    EXPECT_TRUE(call().ask(get()).starts_with("HTTP/1.1 200 OK\r\n"));
    route().early_hints = config::EarlyHints::all;
    install(2);
    const std::string heard = call().ask(get());
    EXPECT_TRUE(
        heard.starts_with("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nX-Inside: 1\r\n\r\n"
                          "HTTP/1.1 200 OK\r\n"))
        << heard;
    EXPECT_TRUE(call().ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
    route().early_hints = config::EarlyHints::off;
    install(3);
    EXPECT_TRUE(call().ask(get()).starts_with("HTTP/1.1 200 OK\r\n"));
    Http2Caller caller = http2_caller();
    EXPECT_TRUE(caller.ask({}).hints.empty());
}

TEST_F(ExchangeTest, OtherInterimAnswersAreDroppedAndHintsAreBounded) {
    install();
    std::string before =
        "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 150 X\r\nLink: a\r\n\r\n";
    for (std::size_t i = 0; i < http::max_hints + 3; ++i) before.append(hint);
    backend(1).reply = backend(2).reply = [&](const std::string&) { return Reply{before + ok_bytes("page")}; };
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask({});
    EXPECT_EQ(heard.hints.size(), http::max_hints);
    EXPECT_EQ(heard.body, "page");
    before = "HTTP/1.1 103 X\r\nLink: " + std::string(10'000, 'a') + "\r\n\r\n";
    before += before;
    EXPECT_EQ(caller.ask({}).hints.size(), 1u);  // 16 KiB in all
}

TEST_F(ExchangeTest, ARetryAfterHintsIsStillARetry) {
    config.pools[0].retry.on = {"reset"};
    install();
    int asked = 0;
    backend(1).reply = backend(2).reply = [&](const std::string&) {
        return ++asked == 1 ? Reply{std::string(hint), {}, Reply::After::abort, {{1s, ""}}} : Reply{ok_bytes("second")};
    };
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard& heard = caller.ask({});
    network.advance(1s);
    EXPECT_EQ(heard.hints.size(), 1u);
    EXPECT_EQ(heard.body, "second");
}

// ---- trailers ------------------------------------------------------------------------------------------------------

const std::string upload_with_trailers =
    "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE, x-hop\r\n"
    "Trailer: X-Sum, Host, x_real_ip\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nX_Real_IP: evil\r\n"
    "X-Plimsoll-Cause: evil\r\nX-Hop: 1\r\nX-Inside: 1\r\nX-Set: 1\r\nContent-Type: a\r\n\r\n";
const std::string answer_with_trailers =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n"
    "Set-Cookie: a=b\r\nAge: 1\r\n\r\n";

TEST_F(ExchangeTest, TrailersAreDroppedUnlessTheRouteSaysOtherwise) {
    install();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{answer_with_trailers}; };
    const std::string heard = call().ask(upload_with_trailers);
    EXPECT_TRUE(heard.ends_with("3\r\nabc\r\n0\r\n\r\n")) << heard;
    EXPECT_FALSE(has(heard, "Trailer")) << heard;
    const std::string& seen = backend(1).seen.empty() ? backend(2).seen[0] : backend(1).seen[0];
    EXPECT_TRUE(seen.ends_with("3\r\nabc\r\n0\r\n\r\n")) << seen;
    EXPECT_FALSE(has(seen, "Trailer") || has(seen, "TE:") || has(seen, "Connection")) << seen;
    Http2Caller caller = http2_caller();
    EXPECT_EQ(caller.ask({}).trailers, "");
}

TEST_F(ExchangeTest, TrailersPassOverHttp1BothWays) {
    route().trailers = config::Trailers::pass;
    route().request_headers.remove = {"X-Inside"};
    route().request_headers.set["X-Set"] = "ours";
    one_endpoint();
    install();
    backend(1).reply = [](const std::string&) { return Reply{answer_with_trailers}; };
    const std::string heard = call().ask(upload_with_trailers);
    EXPECT_TRUE(heard.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")) << heard;
    EXPECT_TRUE(has(heard, "\r\nTrailer: X-Sum\r\n")) << heard;
    EXPECT_EQ(times(heard, "X-Sum: 1"), 1u);
    const std::string& seen = backend(1).seen[0];
    EXPECT_TRUE(seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")) << seen;
    EXPECT_TRUE(has(seen, "\r\nTE: trailers\r\n") && has(seen, "\r\nConnection: TE\r\n")) << seen;
    EXPECT_TRUE(has(seen, "\r\nTrailer: X-Sum\r\n")) << seen;
    // Who does not say that it takes them gets none, nor does HTTP/1.0, which has no chunks.
    const std::string plain = call().ask(get());
    EXPECT_TRUE(plain.ends_with("3\r\nabc\r\n0\r\n\r\n")) << plain;
    EXPECT_FALSE(has(plain, "Trailer")) << plain;
    const std::string old = call().ask("GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    EXPECT_TRUE(old.ends_with("\r\n\r\nabc")) << old;
}

TEST_F(ExchangeTest, TrailersPassFromHttp1ToHttp2AndBack) {
    route().trailers = config::Trailers::pass;
    one_endpoint();
    install();
    backend(1).reply = [](const std::string&) { return Reply{answer_with_trailers}; };
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask({.method = "POST",
                                                 .fields = {{"te", "trailers"}},
                                                 .body = "abc",
                                                 .trailers = {{"x-sum", "2"}, {"range", "x"}}});
    EXPECT_EQ(heard.trailers, "x-sum: 1\n");
    EXPECT_TRUE(has(heard.fields, "trailer: X-Sum\n")) << heard.fields;
    EXPECT_TRUE(backend(1).seen[0].ends_with("\r\n0\r\nx-sum: 2\r\n\r\n")) << backend(1).seen[0];

    const auto endpoint = http2_backend();
    endpoint->trailers = {{"x-sum", "3"}, {"cookie", "evil"}};
    install(2);
    const std::string back = call().ask(upload_with_trailers);
    EXPECT_EQ(endpoint->seen_trailers, "x-sum: 1\nx-inside: 1\nx-set: 1\n");
    EXPECT_TRUE(has(endpoint->seen, "te: trailers\n")) << endpoint->seen;
    EXPECT_TRUE(back.ends_with("\r\n0\r\nx-sum: 3\r\n\r\n")) << back;
}

TEST_F(ExchangeTest, WhatConnectionListsIsKnownWhenTheTrailersCome) {
    route().trailers = config::Trailers::pass;
    one_endpoint();
    install();
    backend(1).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-hop\r\nTransfer-Encoding: chunked\r\n\r\n",
                     .more = {{1s, "8\r\nx-sum, x\r\n"}, {1s, "0\r\nX-Hop: 1\r\nX-Sum: 1\r\n\r\n"}}};
    };
    Caller caller = call();
    caller.say(get("/", "TE: trailers\r\nConnection: TE\r\n"));
    network.advance(3s);
    const std::string heard = caller.hear();
    EXPECT_TRUE(heard.ends_with("0\r\nX-Sum: 1\r\n\r\n")) << heard;
}

TEST_F(ExchangeTest, FromHttp2ToHttp2TrailersAlwaysPass) {
    const auto endpoint = http2_backend();
    endpoint->trailers = {{"grpc-status", "0"}};
    install();
    Http2Caller caller = http2_caller();
    const Http2Caller::Heard heard = caller.ask({.method = "POST", .body = "abc", .trailers = {{"x-sum", "2"}}});
    EXPECT_EQ(heard.trailers, "grpc-status: 0\n");
    EXPECT_EQ(endpoint->seen_trailers, "x-sum: 2\n");
}

// ---- what is said and kept -----------------------------------------------------------------------------------------

TEST_F(ExchangeTest, NoContentHasNoLength) {
    route().pool.clear();
    route().respond = config::Respond{.status = 204};
    install();
    const std::string heard = call().ask(get());
    EXPECT_TRUE(heard.starts_with("HTTP/1.1 204 ")) << heard;
    EXPECT_FALSE(has(heard, "Content-Length")) << heard;
}

TEST_F(ExchangeTest, AHeadLargerThanABlockIsReadOrRefused) {
    config.listeners[0].limits.max_head_bytes = 64 * 1024;
    config.listeners[0].http2 = true;
    install();
    for (const std::size_t size : {32'700u, 32'768u, 40'000u, 60'000u}) {
        Caller caller = call();
        std::string head = get("/", "X-Large: " + std::string(size, 'x') + "\r\n");
        const std::size_t first = std::min<std::size_t>(head.size(), 32'768);
        caller.say(head.substr(0, first));
        caller.say(head.substr(first));
        EXPECT_TRUE(caller.hear().starts_with("HTTP/1.1 200 ")) << size;
    }
    Caller caller = call();
    caller.say(get("/", "X-Large: " + std::string(70'000, 'x') + "\r\n"));
    EXPECT_TRUE(caller.hear().starts_with("HTTP/1.1 431 "));
}

TEST_F(ExchangeTest, ARequestEndsUnderTheNameThatItsListenerHad) {
    one_endpoint();
    install();
    backend(1).reply = [](const std::string&) { return Reply{.bytes = ok_bytes("late"), .delay = 3s}; };
    Caller caller = call();
    caller.say(get());
    config.listeners[0].name = std::string(200, 'n');
    install(2);
    network.advance(6s);
    EXPECT_TRUE(has(caller.hear(), "late"));
    EXPECT_TRUE(has(log(), R"("listener":"web")")) << log();
    (void)caller.ask(get());
    network.advance(6s);
    EXPECT_TRUE(has(log(), R"("listener":"nnn)")) << log();
}

TEST_F(ExchangeTest, ACopyComesAsItsPoolIsReached) {
    config.pools.push_back(pool("copy", {5}));
    config.pools[1].proxy_protocol = config::ProxyProtocol::v1;
    config.pools[1].timeouts.deadline_header = "X-Left-Ms";
    config.pools[0].timeouts.deadline_header = "X-Left-Ms";
    route().mirror = config::Mirror{"copy", 1};
    install();
    EXPECT_TRUE(has(call().ask(get()), "200 OK"));
    network.advance(100ms);
    ASSERT_EQ(backend(5).seen.size(), 1u);
    EXPECT_TRUE(backend(5).seen[0].starts_with("PROXY TCP4 192.0.2.7 ")) << backend(5).seen[0];
    EXPECT_TRUE(has(backend(5).seen[0], "X-Left-Ms: "));
    EXPECT_FALSE(has(backend(5).seen[0], "X-Left-Ms: 0\r\n")) << backend(5).seen[0];
}

// ---- the pool's line -----------------------------------------------------------------------------------------------

class LineTest : public ExchangeTest {
protected:
    LineTest() {
        config.pools[0].limits.max_in_flight_per_endpoint = 1;
        config.pools[0].limits.queue = 10;
        config.pools[0].limits.queue_timeout = 30s;
        backend(1).reply = [](const std::string&) { return Reply{.bytes = ok_bytes("from 1"), .delay = 4s}; };
        install();
        worker.set_health(id(1), balance::Health::up);
        worker.set_health(id(2), balance::Health::down);
    }
};

TEST_F(ExchangeTest, CountsMayBeCollectedBeforeAnythingIsServed) {
    EXPECT_EQ(worker.collect().connections, 0u);  // a source of endpoints may take its time
}

TEST_F(LineTest, WhoWaitsGoesToAnEndpointThatIsBack) {
    Caller first = call(), second = call("192.0.2.8");
    first.say(get());
    second.say(get());
    network.advance(1s);
    EXPECT_EQ(worker.collect().tally.queue_waiting, 1u);
    EXPECT_EQ(second.hear(), "");
    worker.set_health(id(2), balance::Health::up);
    (void)worker.collect();  // ten times a second
    EXPECT_TRUE(has(second.hear(), "from 2"));
    network.advance(20s);
    EXPECT_TRUE(has(first.hear(), "from 1"));
}

TEST_F(LineTest, WhoIsGoneWaitsNoMore) {
    Caller first = call();
    first.say(get());
    auto second = std::make_unique<Http2Caller>(
        network, network.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.7", 5000)));
    (void)second->ask({});
    EXPECT_EQ(worker.collect().tally.queue_waiting, 1u);
    second.reset();
    network.advance(100ms);
    EXPECT_EQ(worker.collect().tally.queue_waiting, 0u);
    EXPECT_TRUE(has(log(), R"("cause":"client_closed")")) << log();
}

// ---- trailers that are no trailers ---------------------------------------------------------------------------------

TEST_F(ExchangeTest, BadTrailersAreRefused) {
    route().trailers = config::Trailers::pass;
    install();
    std::string asked = upload_with_trailers;
    asked.replace(asked.find("X-Hop: 1"), 8, "X Hop: 1");
    EXPECT_TRUE(call().ask(asked).starts_with("HTTP/1.1 400 "));
    EXPECT_TRUE(backend(1).seen.empty() && backend(2).seen.empty());
}

// ---- copies --------------------------------------------------------------------------------------------------------

TEST_F(ExchangeTest, ACopyIsWhatTheEndpointWouldHaveGot) {
    config.pools.push_back(pool("other", {5}));
    route().match.path_prefix = "/form";
    route().mirror = config::Mirror{.pool = "other"};
    route().rewrite = config::Rewrite{.host = "inside.example", .path_prefix = "/api"};
    route().request_headers.set["X-Edge"] = "1";
    route().request_headers.remove = {"X-Secret"};
    install();
    EXPECT_TRUE(has(call().ask(post("abc", "X-Secret: 1\r\nX-Plimsoll-Mirror: forged\r\n")), "200 OK"));
    const std::string& original = backend(1).seen.empty() ? backend(2).seen[0] : backend(1).seen[0];
    ASSERT_EQ(backend(5).seen.size(), 1u);
    std::string copy = backend(5).seen[0];
    EXPECT_TRUE(original.starts_with("POST /api HTTP/1.1\r\nHost: inside.example\r\n")) << original;
    EXPECT_FALSE(has(original, "X-Plimsoll-Mirror")) << original;
    const std::string_view marker = "X-Plimsoll-Mirror: true\r\n";
    ASSERT_TRUE(has(copy, marker)) << copy;
    copy.erase(copy.find(marker), marker.size());
    EXPECT_EQ(copy, original);
}

// ---- the endpoint's deadline ---------------------------------------------------------------------------------------

TEST_F(ExchangeTest, AnEndpointIsToldHowLongItHas) {
    config.pools[0].timeouts = {.per_try = 2s, .total = 3s, .deadline_header = "X-Deadline-Ms"};
    config.pools[0].retry = {.attempts = 2, .on = {"timeout"}};
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{.bytes = "", .delay = 1h}; };
    install();
    Caller caller = call();
    caller.say(get("/", "x-deadline-ms: 999999\r\nX-Other: 1\r\n"));
    network.advance(10s);
    ASSERT_EQ(backend(1).seen.size(), 1u);
    ASSERT_EQ(backend(2).seen.size(), 1u);
    const bool in_order = has(backend(1).seen[0], ": 2000\r\n");
    const std::string &first = backend(in_order ? 1 : 2).seen[0], &second = backend(in_order ? 2 : 1).seen[0];
    EXPECT_TRUE(has(first, "X-Deadline-Ms: 2000\r\n")) << first;
    EXPECT_TRUE(has(second, "X-Deadline-Ms: 1000\r\n")) << "of three seconds two are gone: " << second;
    EXPECT_FALSE(has(first + second, "999999")) << "a client cannot say it";
}

TEST_F(ExchangeTest, NobodyIsToldUnlessThePoolSaysHow) {
    install();
    call().ask(get("/", "X-Deadline-Ms: 5\r\n"));
    const std::string& seen = backend(1).seen.empty() ? backend(2).seen[0] : backend(1).seen[0];
    EXPECT_TRUE(has(seen, "X-Deadline-Ms: 5\r\n")) << "then it is a header as any other";
}

// ---- tunnels -------------------------------------------------------------------------------------------------------

class TunnelEnd : public ExchangeTest {
protected:
    TunnelEnd() {
        route().upgrades = {"websocket"};
        config.listeners[0].body_idle_timeout = 10s;
        backend(1).reply = backend(2).reply = [](const std::string&) {
            return Reply{
                .bytes = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                .after = Reply::After::close,
                .more = {{60s, "bye"}}};
        };
        install();
    }
    static std::string upgrade() {
        return get("/", "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    }
};

TEST_F(TunnelEnd, AClientThatDoesNotCloseIsWaitedForShortly) {
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(upgrade()), " 101 "));
    network.advance(60s);
    EXPECT_EQ(caller.hear(), "bye");
    EXPECT_TRUE(caller.ended);
    network.advance(9700ms);
    EXPECT_EQ(log(), "");
    EXPECT_EQ(worker.collect().connections, 1u);
    network.advance(1s);
    EXPECT_TRUE(has(log(), R"("cause":"-")")) << log();
    EXPECT_EQ(worker.collect().connections, 0u);
}

TEST_F(TunnelEnd, EachByteOfTheClientsGivesItTime) {
    Caller caller = call();
    (void)caller.ask(upgrade());
    network.advance(60s);
    for (int i = 0; i < 5; ++i) {
        network.advance(8s);
        caller.say("x");
    }
    EXPECT_EQ(log(), "");
    caller.stream().shutdown_write();
    network.run_until_idle();
    EXPECT_TRUE(has(log(), R"("cause":"-")")) << log();
}

}  // namespace
}  // namespace plimsoll::proxy::test
