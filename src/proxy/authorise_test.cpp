// What a request meets on a route that has a server asked first.
#include "proxy/authorise.h"

#include "http/http2_client.h"
#include "proxy/test_world.h"
#include "proxy/worker.h"

namespace plimsoll::proxy::test {
namespace {

using After = Reply::After;

/// Endpoints 1 and 2 serve, 8 and 9 are asked.
class Asking : public World {
protected:
    Asking() {
        config.pools.push_back(pool("auth", {8, 9}));
        auth().pool = "auth";
        answer({.bytes = allow()});
    }
    config::Auth& auth() {
        if (!config.routes[0].auth) config.routes[0].auth.emplace();
        return *config.routes[0].auth;
    }
    static std::string allow(std::string_view lines = {}) {
        return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + std::string(lines) + "\r\n";
    }
    static std::string deny(std::string_view status, std::string_view lines, std::string_view body) {
        return "HTTP/1.1 " + std::string(status) + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
               std::string(lines) + "\r\n" + std::string(body);
    }
    /// Of both auth servers.
    void answer(Reply reply) {
        backend(8).reply = backend(9).reply = [reply](const std::string&) { return reply; };
    }
    std::vector<std::string> questions() {
        std::vector<std::string> all = backend(8).seen;
        all.insert(all.end(), backend(9).seen.begin(), backend(9).seen.end());
        return all;
    }
    std::vector<std::string> served() {
        std::vector<std::string> all = backend(1).seen;
        all.insert(all.end(), backend(2).seen.begin(), backend(2).seen.end());
        return all;
    }
    EndpointId auth_id(std::uint16_t port) {
        return identities.endpoint("auth", {"10.0.0.1", port}, "b" + std::to_string(port));
    }
    measure::EndpointTally at_auth(const measure::Tally& tally, std::uint16_t port) {
        return tally.arms[0].endpoints[auth_id(port).value];
    }
    static std::uint64_t verdicts(const measure::Tally& tally, AuthVerdict verdict) {
        return tally.auth[static_cast<std::size_t>(verdict)];
    }
    void expect_failed(const std::string& heard) {
        EXPECT_TRUE(heard.starts_with("HTTP/1.1 503")) << heard;
        EXPECT_TRUE(has(heard, "X-Plimsoll-Cause: auth_failed\r\n")) << heard;
    }
};

TEST_F(Asking, AllowsAndSaysWhatWasAsked) {
    install();
    Caller caller = call();
    const std::string heard =
        caller.ask(get("/cart?id=1",
                       "Authorization: Bearer t\r\nX-Forwarded-Uri: /public\r\nX_Forwarded_Method: HEAD\r\n"
                       "X-Original-URL: /public\r\nIf-None-Match: \"a\"\r\nRange: bytes=0-1\r\nCookie: a=b\r\n"));
    EXPECT_EQ(body_of(heard).substr(0, 5), "from ");
    ASSERT_EQ(questions().size(), 1u);
    const std::string asked = questions()[0];
    EXPECT_TRUE(asked.starts_with("GET /cart?id=1 HTTP/1.1\r\nHost: a.example\r\n")) << asked;
    for (const char* line : {"X-Forwarded-Method: GET\r\n", "X-Forwarded-Uri: /cart?id=1\r\n",
                             "X-Forwarded-Host: a.example\r\n", "X-Forwarded-Proto: http\r\n",
                             "X-Forwarded-For: 192.0.2.7\r\n", "Authorization: Bearer t\r\n", "Cookie: a=b\r\n"}) {
        EXPECT_EQ(times(asked, line), 1u) << line << "\n" << asked;
    }
    for (const char* not_said : {"/public", "HEAD", "If-None-Match", "Range:"}) {
        EXPECT_FALSE(has(asked, not_said)) << not_said << "\n" << asked;
    }
    ASSERT_EQ(served().size(), 1u);
    EXPECT_TRUE(has(served()[0], "If-None-Match")) << "the endpoint gets what it always got";
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(verdicts(tally, AuthVerdict::allowed), 1u);
    EXPECT_EQ(at_auth(tally, 8).attempts + at_auth(tally, 9).attempts, 1u);
    EXPECT_EQ(at_auth(tally, 8).picks + at_auth(tally, 9).picks, 0u) << "no decision about where requests go";
    EXPECT_TRUE(has(log(), "\"auth\":{\"verdict\":\"allowed\",\"status\":200,\"cause\":\"-\",\"pool\":\"auth\""))
        << log();
}

TEST_F(Asking, AFixedPathAndHostAndOnlyTheHeadersThatAreNamed) {
    auth().path = "/verify?rd=1";
    auth().host = "gate.example";
    auth().request_headers = {"authorization"};
    install();
    Caller caller = call();
    caller.ask(get("/x?y", "Authorization: Bearer t\r\nCookie: secret\r\nX-Other: 1\r\n"));
    const std::string asked = questions().at(0);
    EXPECT_TRUE(asked.starts_with("GET /verify?rd=1 HTTP/1.1\r\nHost: gate.example\r\n")) << asked;
    EXPECT_TRUE(has(asked, "Authorization: Bearer t\r\n") && has(asked, "X-Forwarded-Uri: /x?y\r\n") &&
                has(asked, "X-Forwarded-Host: a.example\r\n") && has(asked, "X-Request-Id: "))
        << asked;
    EXPECT_FALSE(has(asked, "Cookie") || has(asked, "X-Other")) << asked;
}

TEST_F(Asking, WhatItSaysTakesThePlaceOfWhatTheClientClaims) {
    auth().upstream_headers = {"X-User", "X-Groups"};
    auth().client_headers = {"Set-Cookie"};
    answer({.bytes = allow("x-user: alice\r\nX-Groups: a\r\nX-Groups: b\r\nX-Secret: 1\r\nSet-Cookie: s=2\r\n")});
    install();
    Caller caller = call();
    const std::string heard = caller.ask(get("/", "X-User: root\r\nX_User: root\r\nx-groups: wheel\r\n"));
    const std::string seen = served().at(0);
    EXPECT_FALSE(has(seen, "root") || has(seen, "wheel") || has(seen, "X-Secret") || has(seen, "s=2")) << seen;
    EXPECT_TRUE(has(seen, "x-user: alice\r\n") && has(seen, "X-Groups: a\r\n") && has(seen, "X-Groups: b\r\n")) << seen;
    EXPECT_TRUE(has(heard, "Set-Cookie: s=2\r\n")) << heard;
    EXPECT_FALSE(has(heard, "alice")) << heard;

    answer({.bytes = allow()});  // it says nothing of the user: then nobody does
    caller.ask(get("/anonymous", "X-User: root\r\nX_USER: root\r\n"));
    for (const std::string& each : served()) EXPECT_FALSE(has(each, "root")) << each;
}

TEST_F(Asking, ARefusalIsPassedOnWithItsHeadersAndBody) {
    config.routes[0].response_headers.set = {{"X-Edge", "1"}};
    answer({.bytes = deny("401 Unauthorized",
                          "WWW-Authenticate: Basic realm=\"x\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                          "Connection: X-Hop\r\nX-Hop: 1\r\n",
                          "sign in")});
    install();
    Caller caller = call();
    const std::string heard = caller.ask(get());
    EXPECT_TRUE(heard.starts_with("HTTP/1.1 401 Unauthorized\r\n")) << heard;
    for (const char* line : {"WWW-Authenticate: Basic realm=\"x\"\r\n", "Set-Cookie: a=1\r\n", "Set-Cookie: b=2\r\n",
                             "Content-Length: 7\r\n", "X-Edge: 1\r\n"}) {
        EXPECT_EQ(times(heard, line), 1u) << line << "\n" << heard;
    }
    EXPECT_FALSE(has(heard, "X-Hop")) << heard;
    EXPECT_EQ(body_of(heard), "sign in");
    EXPECT_TRUE(served().empty());
    answer({.bytes = deny("302 Found", "Location: https://in.example/\r\n", "")});
    EXPECT_TRUE(has(caller.ask(get()), "302 Found\r\nLocation: https://in.example/\r\n"));  // the connection went on
    answer({.bytes = deny("403 Forbidden", "", "no")});
    const std::string head = caller.ask("HEAD / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    EXPECT_TRUE(has(head, "403 Forbidden") && has(head, "Content-Length: 2\r\n") && body_of(head).empty()) << head;
    answer({.bytes = allow()});
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    EXPECT_FALSE(caller.ended);

    const Report report = worker.collect();
    EXPECT_EQ(verdicts(report.tally, AuthVerdict::denied), 3u);
    EXPECT_EQ(report.tally.causes[static_cast<std::size_t>(Cause::auth_denied)], 3u);
    EXPECT_EQ(report.tally.arms[0].all_routes().failed, 0u) << "a refusal is no failure of anybody";
    EXPECT_EQ(at_auth(report.tally, 8).failures() + at_auth(report.tally, 9).failures(), 0u);
    EXPECT_EQ(report.records.at(0).record.status, 401);
    EXPECT_EQ(report.records.at(0).record.endpoint, "");
}

TEST_F(Asking, ARefusalWhoseBodyIsTooLongOrCutStaysARefusal) {
    const std::string html = "Content-Type: text/html\r\nContent-Encoding: gzip\r\nSet-Cookie: a=1\r\n";
    answer({.bytes = deny("403 Forbidden", html, std::string(max_denial_body + 1, 'x'))});
    install();
    Caller caller = call();
    const auto expect_refused = [](const std::string& heard) {
        EXPECT_TRUE(heard.starts_with("HTTP/1.1 403 ") && has(heard, "Set-Cookie: a=1\r\n")) << heard;
        EXPECT_TRUE(body_of(heard).starts_with("auth_denied: ")) << heard;
        EXPECT_FALSE(has(heard, "gzip") || has(heard, "html")) << heard;
    };
    expect_refused(caller.ask(get()));
    const std::string cut = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n" + html + "\r\nhalf";
    answer({.bytes = cut, .after = After::close});
    expect_refused(caller.ask(get()));
    auth().on_failure = config::OnFailure::allow;
    install(2);
    answer({.bytes = cut});  // and then nothing
    caller.say(get());
    network.advance(1s);
    expect_refused(caller.hear());
    EXPECT_TRUE(served().empty());
}

TEST_F(Asking, ABodyIsNeitherReadNorSentNorLost) {
    answer({.bytes = allow(), .delay = 100ms});
    install();
    Caller caller = call();
    const std::string body(300'000, 'b');
    caller.say(
        "POST /form HTTP/1.1\r\nHost: a.example\r\nContent-Type: a/b\r\nContent-Length: 300000\r\n"
        "Expect: 100-continue\r\n\r\n");
    EXPECT_EQ(caller.hear(), "") << "not before it is known that somebody wants it";
    const std::string asked = questions().at(0);
    EXPECT_TRUE(asked.starts_with("GET /form ") && has(asked, "X-Forwarded-Method: POST\r\n")) << asked;
    EXPECT_FALSE(has(asked, "Content-Length") || has(asked, "Transfer-Encoding") || has(asked, "Expect")) << asked;
    network.advance(100ms);
    EXPECT_TRUE(caller.hear().starts_with("HTTP/1.1 100 Continue"));
    EXPECT_TRUE(has(caller.ask(body), "200 OK"));
    ASSERT_EQ(served().size(), 1u);
    EXPECT_TRUE(served()[0].ends_with("\r\n\r\n" + body));
    EXPECT_EQ(questions().size(), 1u);
}

TEST_F(Asking, AfterARefusalTheConnectionGoesOnOnlyIfNothingOfTheBodyIsOwed) {
    answer({.bytes = deny("403 Forbidden", "", "no")});
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(post("small")), "403 Forbidden"));
    EXPECT_FALSE(caller.ended);
    const std::string heard = caller.ask("POST /form HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nhalf");
    EXPECT_TRUE(has(heard, "403 Forbidden") && has(heard, "Connection: close\r\n")) << heard;
    EXPECT_TRUE(caller.ended);
}

TEST_F(Asking, WithoutAnAnswerInTimeItIs503) {
    answer({.bytes = allow(), .delay = 2s});
    auth().timeout = 500ms;
    install();
    Caller caller = call();
    caller.say(get());
    network.advance(499ms);
    EXPECT_EQ(caller.hear(), "");
    network.advance(1ms);
    expect_failed(caller.hear());
    EXPECT_TRUE(served().empty());
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(at_auth(tally, 8).timeouts + at_auth(tally, 9).timeouts, 1u) << "it is the auth server's failure";
    EXPECT_EQ(verdicts(tally, AuthVerdict::failed), 1u);
    EXPECT_EQ(tally.arms[0].all_routes().failed, 1u);
    EXPECT_TRUE(has(log(), "\"cause\":\"auth_failed\"") && has(log(), "\"cause\":\"try_timeout\",\"pool\":\"auth\""))
        << log();
}

TEST_F(Asking, TheWholeRequestsTimeBoundsIt) {
    answer({.bytes = allow(), .delay = 2s});
    config.routes[0].timeout = 300ms;
    install();
    Caller caller = call();
    caller.say(get());
    network.advance(300ms);
    EXPECT_TRUE(has(caller.hear(), "X-Plimsoll-Cause: total_timeout\r\n"));
    EXPECT_EQ(at_auth(worker.collect().tally, 8).timeouts + at_auth(worker.collect().tally, 9).timeouts, 0u);
    // What asking has taken is gone for the endpoint.
    answer({.bytes = allow(), .delay = 200ms});
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("late"), 200ms}; };
    caller.say(get());
    network.advance(300ms);
    EXPECT_TRUE(has(caller.hear(), "X-Plimsoll-Cause: total_timeout\r\n"));
}

TEST_F(Asking, ARefusedConnectionIsTriedAtAnother) {
    install();
    backend(8).kill();
    Caller caller = call();
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(has(caller.ask(get()), "200 OK")) << i;
    EXPECT_EQ(backend(9).seen.size(), 4u);
    const measure::Tally tally = worker.collect().tally;
    EXPECT_GT(at_auth(tally, 8).connect_failures, 0u);
    EXPECT_EQ(tally.arms[0].all_routes().failed, 0u);
    EXPECT_EQ(tally.arms[0].all_routes().retried, 0u) << "the endpoint was asked once";
    backend(9).kill();
    expect_failed(caller.ask(get()));
}

TEST_F(Asking, AServerErrorIsNoAnswerAndEjectsWhoGivesIt) {
    config.pools[1].ejection.consecutive = 2;
    config.pools[1].ejection.max_fraction = 0.5;
    config.pools[1].panic_threshold = 0;
    backend(8).reply = [](const std::string&) { return Reply{deny("500 Oops", "", "stack trace")}; };
    install();
    Caller caller = call();
    int failed = 0;
    for (int i = 0; i < 12; ++i) {
        const std::string heard = caller.ask(get());
        EXPECT_FALSE(has(heard, "stack trace"));
        failed += has(heard, "auth_failed") ? 1 : 0;
    }
    EXPECT_EQ(failed, 2);
    EXPECT_EQ(backend(8).seen.size(), 2u);
    EXPECT_EQ(served().size(), 10u);
}

TEST_F(Asking, OnFailureAllowLetsItPassButBelievesNobody) {
    auth().on_failure = config::OnFailure::allow;
    auth().upstream_headers = {"X-User"};
    answer({.bytes = deny("500 Oops", "X-User: nobody\r\n", "")});
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get("/", "X-User: root\r\n")), "200 OK"));
    EXPECT_FALSE(has(served().at(0), "X-User")) << served().at(0);
    EXPECT_EQ(verdicts(worker.collect().tally, AuthVerdict::bypassed), 1u);
    EXPECT_TRUE(has(log(), "\"auth\":{\"verdict\":\"bypassed\",\"status\":500"));
    answer({.bytes = deny("403 Forbidden", "", "")});
    EXPECT_TRUE(has(caller.ask(get()), "403")) << "no is an answer";
}

TEST_F(Asking, AStaleConnectionIsReplacedAndAnAnswerOnIt) {
    config.pools[1].endpoints.pop_back();
    config.pools[1].ejection.enabled = false;
    backend(8).faults().latency = 1ms;
    install();
    Caller caller = call();
    caller.say(get());
    network.advance(10ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
    backend(8).close_all();  // its FIN needs 1 ms; the question goes out before
    caller.say(get());
    network.advance(20ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
    EXPECT_EQ(at_auth(worker.collect().tally, 8).failures(), 0u);
}

TEST_F(Asking, AnAnswersBodyIsReadWhileTheRequestGoesOn) {
    config.pools[1].endpoints.pop_back();
    backend(8).reply = [](const std::string&) {
        return Reply{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", .more = {{100ms, "half"}}};
    };
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get()), "200 OK")) << "at once";
    network.advance(100ms);
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    EXPECT_EQ(backend(8).connections(), 1u) << "and its connection is used again";
}

TEST_F(Asking, ThePoolsOwnLimitAndLine) {
    config.pools[1].limits.max_in_flight = 1;
    answer({.bytes = allow(), .delay = 100ms});
    install();
    Caller one = call(), other = call("192.0.2.8");
    one.say(get());
    expect_failed(other.ask(get()));
    network.advance(100ms);
    EXPECT_TRUE(has(one.hear(), "200 OK"));
    config.pools[1].limits.queue = 1;
    install(2);
    one.say(get());
    other.say(get());
    network.advance(200ms);
    EXPECT_TRUE(has(one.hear(), "200 OK") && has(other.hear(), "200 OK"));
    EXPECT_TRUE(has(log(), "\"cause\":\"limited\",\"pool\":\"auth\",\"endpoint\":\"\",\"attempts\":0")) << log();
}

TEST_F(Asking, RateLimitsComeBeforeAndMirrorsAfter) {
    config.pools.push_back(pool("copy", {5}));
    config.routes[0].mirror = config::Mirror{"copy", 1};
    config.routes[0].rate_limits = {{config::RateKey::route, "", 0.001, 2}};
    auth().upstream_headers = {"X-User"};
    answer({.bytes = deny("403 Forbidden", "", "")});
    install();
    Caller caller = call();
    caller.ask(get());
    EXPECT_TRUE(backend(5).seen.empty()) << "nothing of it goes anywhere";
    answer({.bytes = allow("X-User: alice\r\n")});
    EXPECT_TRUE(has(caller.ask(get("/", "X-User: root\r\n")), "200 OK"));
    ASSERT_EQ(backend(5).seen.size(), 1u);
    EXPECT_TRUE(has(backend(5).seen[0], "X-User: alice\r\n") && !has(backend(5).seen[0], "root"));
    EXPECT_TRUE(has(caller.ask(get()), "429"));
    EXPECT_EQ(questions().size(), 2u);
}

TEST_F(Asking, RoutesThatAnswerThemselvesAskToo) {
    config.routes[0].pool.clear();
    config.routes[0].respond = config::Respond{200, "secret"};
    answer({.bytes = deny("403 Forbidden", "", "no")});
    install();
    Caller caller = call();
    EXPECT_EQ(body_of(caller.ask(get())), "no");
    answer({.bytes = allow()});
    EXPECT_EQ(body_of(caller.ask(get())), "secret");
}

TEST_F(Asking, AHandshakeIsAskedLikeAnythingElse) {
    config.routes[0].upgrades = {"websocket"};
    backend(1).reply = backend(2).reply = [](const std::string&) {
        return Reply{
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello"};
    };
    const std::string handshake = get("/chat",
                                      "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    answer({.bytes = deny("401 Unauthorized", "", "")});
    install();
    Caller refused = call();
    EXPECT_TRUE(has(refused.ask(handshake), "401 Unauthorized"));
    EXPECT_TRUE(served().empty());
    EXPECT_FALSE(has(questions().at(0), "Upgrade: websocket")) << questions().at(0);
    answer({.bytes = allow()});
    Caller caller = call();
    const std::string heard = caller.ask(handshake);
    EXPECT_TRUE(has(heard, "101 Switching") && heard.ends_with("hello")) << heard;
    install(2);  // the tunnel holds no revision, and its line still knows who was asked
    EXPECT_EQ(worker.revisions_held(), 1u);
    caller.stream().close();
    EXPECT_TRUE(has(log(), "\"tunnel\":true")) << log();
    EXPECT_EQ(times(log(), "\"auth\":{\"verdict\":\"allowed\",\"status\":200,\"cause\":\"-\",\"pool\":\"auth\""), 1u)
        << log();
}

TEST_F(Asking, ConnectIsAskedByWhereItLeads) {
    config.routes[0].connect = true;
    answer({.bytes = deny("407 Proxy Authentication Required", "", "")});
    install();
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask("CONNECT db.example:5432 HTTP/1.1\r\nHost: db.example:5432\r\n\r\n"), "407 "));
    const std::string asked = questions().at(0);
    EXPECT_TRUE(asked.starts_with("GET / HTTP/1.1\r\n") && has(asked, "X-Forwarded-Method: CONNECT\r\n") &&
                has(asked, "X-Forwarded-Uri: db.example:5432\r\n"))
        << asked;
}

TEST_F(Asking, TracesGoOn) {
    config.tracing = config::Tracing{"http://127.0.0.1:4318/v1/traces", 1, "plimsoll"};
    install();
    Caller caller = call();
    caller.ask(get("/", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"));
    const std::string asked = questions().at(0);
    EXPECT_EQ(times(asked, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-"), 1u) << asked;
    EXPECT_FALSE(has(asked, "b7ad6b7169203331")) << "our own span is the parent";
}

TEST_F(Asking, ItsOwnRevisionIsAsked) {
    install(1);
    answer({.bytes = allow(), .delay = 100ms});
    Caller caller = call();
    caller.say(get());
    config.routes[0].auth.reset();
    config.pools.pop_back();
    install(2);
    EXPECT_EQ(worker.revisions_held(), 2u);
    network.advance(100ms);
    EXPECT_TRUE(has(caller.hear(), "200 OK"));
    EXPECT_EQ(worker.revisions_held(), 1u);
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    EXPECT_EQ(questions().size(), 1u);
}

// ---- HTTP/2 --------------------------------------------------------------------------------------------------------

class AskingHttp2 : public Asking {
protected:
    struct Heard {
        std::uint16_t status = 0;
        std::string fields, body;
    };
    /// One request by HTTP/2 with prior knowledge. `stays` = until it has its answer.
    Heard ask(std::string method, std::string body, bool stays = true) {
        stream_ = network.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.9", 5000));
        client_ = std::make_unique<http::Http2Client>(network, *stream_, http::Http2Limits{}, counts_);
        scope_.spawn(run());
        Heard heard;
        scope_.spawn(exchange(std::move(method), std::move(body), &heard));
        network.run_until_idle();
        if (stays) network.advance(1s);
        client_->close();
        stream_->close();
        network.advance(1s);
        return heard;
    }

private:
    Task<void> run() { (void)co_await client_->run(); }
    Task<void> exchange(std::string method, std::string body, Heard* heard) {
        const auto soon = async::Deadline::after(network.now(), 5s);
        auto stream = client_->open();
        EXPECT_TRUE(stream.has_value());
        if (!stream) co_return;
        http::Draft draft;
        draft.method = method;
        draft.scheme = "http";
        draft.authority = "a.example";
        draft.target = "/two";
        draft.add("x-user", "root");
        draft.framing.kind = body.empty() ? http::Framing::Kind::none : http::Framing::Kind::chunked;
        if (!co_await (*stream)->send({.head = &draft, .data = body, .last = true}, soon)) co_return;
        if (!co_await (*stream)->read_head(soon)) co_return;
        heard->status = (*stream)->head().status;
        for (const http::Header each : (*stream)->head().fields) {
            heard->fields.append(each.name).append(": ").append(each.value).append("\n");
        }
        for (http::BodyPiece piece = (*stream)->take();; piece = (*stream)->take()) {
            heard->body.append(piece.data);
            if (piece.ended || !co_await (*stream)->more(soon)) co_return;
        }
    }
    http::Http2Counts counts_;
    std::unique_ptr<net::Stream> stream_;
    std::unique_ptr<http::Http2Client> client_;
    async::Scope scope_;
};

TEST_F(AskingHttp2, IsAllowedAndRefusedTheSame) {
    auth().upstream_headers = {"X-User"};
    answer({.bytes = allow("X-User: alice\r\n"), .delay = 10ms});
    install();
    const Heard allowed = ask("POST", "payload");
    EXPECT_EQ(allowed.status, 200);
    ASSERT_EQ(served().size(), 1u);
    EXPECT_TRUE(has(served()[0], "payload") && has(served()[0], "X-User: alice\r\n") && !has(served()[0], "root"));
    EXPECT_TRUE(has(questions()[0], "X-Forwarded-Method: POST\r\n") &&
                has(questions()[0], "X-Forwarded-Uri: /two\r\n"));
    answer({.bytes = deny("401 Unauthorized", "WWW-Authenticate: Bearer\r\nConnection: close\r\n", "sign in")});
    const Heard denied = ask("POST", "payload");
    EXPECT_EQ(denied.status, 401);
    EXPECT_EQ(denied.body, "sign in");
    EXPECT_TRUE(has(denied.fields, "www-authenticate: Bearer\n")) << denied.fields;
    EXPECT_EQ(served().size(), 1u);
    answer({.bytes = "", .after = After::abort});
    EXPECT_EQ(ask("GET", "").status, 503);
}

TEST_F(AskingHttp2, WhoHasGoneIsNotServed) {
    answer({.bytes = allow(), .delay = 100ms});
    install();
    ask("GET", "", false);
    EXPECT_EQ(questions().size(), 1u);
    EXPECT_TRUE(served().empty());
    EXPECT_EQ(verdicts(worker.collect().tally, AuthVerdict::dropped), 1u);
    EXPECT_TRUE(has(log(), "\"cause\":\"client_closed\"")) << log();
    answer({.bytes = allow()});
    EXPECT_EQ(ask("GET", "").status, 200);
}

// ---- names ---------------------------------------------------------------------------------------------------------

TEST(IsSameHeader, AsServersThatMakeVariablesOfThemSeeIt) {
    EXPECT_TRUE(is_same_header("X-User", "x_user"));
    EXPECT_TRUE(is_same_header("", ""));
    EXPECT_FALSE(is_same_header("X-User", "X-Users"));
    EXPECT_FALSE(is_same_header("XUser", "X-User"));
}

}  // namespace
}  // namespace plimsoll::proxy::test
