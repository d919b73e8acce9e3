// Connections to endpoints with TLS: who may use one that was opened for somebody else's request.
#include "http/http2_server.h"
#include "proxy/test_world.h"
#include "proxy/upstream.h"
#include "tls/session.h"
#include "tls/test_certificates.h"

namespace plimsoll::proxy {
namespace {

using namespace test;

/// An endpoint with TLS, of either HTTP: notes for which name each request's connection was opened.
class TlsBackend {
public:
    struct Seen {
        std::string host, sni;
    };
    TlsBackend(net::MemoryNetwork& network, const tls::test::World& world, std::uint16_t port, bool http2)
        : network_(network), http2_(http2) {
        tls::ServerSettings settings;
        settings.scope = "backend";
        for (const char* name : {"DNS:a.example", "DNS:b.example", "DNS:*.many.example"})
            settings.certificates.push_back(world.issue({name}).load(name));
        settings.alpn = {http2 ? "h2" : "http/1.1"};
        context_ = *tls::ServerContext::create(std::move(settings));
        scope_.spawn(accept(*network.listen(*net::Address::ip("10.0.0.1", port), {})));
    }
    Duration delay{};  ///< before each answer
    std::vector<Seen> seen;
    std::size_t opened = 0, open = 0;  ///< connections with a whole handshake

private:
    Task<void> accept(std::unique_ptr<net::Listener> listener) {
        for (;;) {
            auto stream = co_await listener->accept({});
            if (!stream) co_return;
            scope_.spawn(serve(std::move(*stream)));
        }
    }
    Task<void> serve(std::unique_ptr<net::Stream> stream) {
        auto session = co_await tls::accept(std::move(stream), context_, {});
        if (!session) co_return;
        ++opened;
        ++open;
        if (http2_) {
            co_await serve_http2(**session);
        } else {
            co_await serve_http1(**session);
        }
        --open;
    }
    Task<void> serve_http1(tls::Session& session) {
        std::string text;
        char buffer[4096];
        for (;;) {
            while (!has(text, "\r\n\r\n")) {
                auto n = co_await session.read(buffer, {});
                if (!n || *n == 0) co_return;
                text.append(buffer, *n);
            }
            const std::size_t host = text.find("Host: ") + 6;
            seen.push_back({text.substr(host, text.find('\r', host) - host), session.facts().sni});
            text.clear();
            if (delay > Duration{}) co_await network_.sleep_until(network_.now() + delay);
            if (!co_await session.write_all(ok_bytes(seen.back().sni), {})) co_return;
        }
    }
    Task<void> serve_http2(tls::Session& session) {
        http::Http2Server server(
            network_, session, {},
            [this, sni = session.facts().sni](std::unique_ptr<http::ServerStream> request) {
                scope_.spawn(answer(std::move(request), sni));
            },
            counts_);
        (void)co_await server.run();
    }
    Task<void> answer(std::unique_ptr<http::ServerStream> stream, std::string sni) {
        seen.push_back({std::string(stream->head().authority()), sni});
        if (delay > Duration{}) co_await network_.sleep_until(network_.now() + delay);
        http::Draft head;
        head.status = 200;
        head.framing = {http::Framing::Kind::length, sni.size()};
        (void)co_await stream->send({.head = &head, .data = sni, .last = true}, {});
    }

    net::MemoryNetwork& network_;
    bool http2_;
    std::shared_ptr<const tls::ServerContext> context_;
    http::Http2Counts counts_;
    async::Scope scope_;
};

/// Each test with HTTP/1.1 and with HTTP/2 to the endpoint.
class UpstreamNames : public World, public testing::WithParamInterface<bool> {
protected:
    UpstreamNames() {
        config::Pool& pool = config.pools[0];
        pool.endpoints = {{.name = "s", .address = {"10.0.0.1", 443}}};
        pool.protocol = GetParam() ? config::PoolProtocol::http2 : config::PoolProtocol::http1;
        pool.tls.emplace();
        pool.retry.attempts = 1;
    }
    [[nodiscard]] std::shared_ptr<const tls::ClientContext> trusting(const tls::test::World& authority) const {
        tls::ClientSettings settings;
        settings.authorities = authority.root.trust();
        settings.alpn = {GetParam() ? "h2" : "http/1.1"};
        return *tls::ClientContext::create(std::move(settings));
    }
    void install(std::uint64_t revision, std::shared_ptr<const tls::ClientContext> context) {
        const auto snapshot = compile(revision);
        const auto prepared = prepare(snapshot, Credentials{.pools = {{"web", std::move(context)}}});
        EXPECT_EQ(worker.install({.active = snapshot}, prepared), std::vector<std::string>{});
    }
    void install() { install(1, trusting(world)); }
    std::string ask(std::string_view host) {
        return call().ask("GET / HTTP/1.1\r\nHost: " + std::string(host) + "\r\n\r\n");
    }
    /// Nobody's request went over a connection that was opened for another name.
    void expect_own_names(const std::string& but_for = {}) const {
        for (const auto& [host, sni] : server.seen) EXPECT_EQ(sni, but_for.empty() ? host : but_for);
    }

    tls::test::World world;
    TlsBackend server{network, world, 443, GetParam()};
};

TEST_P(UpstreamNames, AConnectionServesTheNameItWasVerifiedForOnly) {
    install();
    for (const char* host : {"a.example", "a.example", "b.example", "a.example", "b.example"})
        EXPECT_TRUE(has(ask(host), " 200 ")) << host;
    ASSERT_EQ(server.seen.size(), 5u);
    expect_own_names();
    EXPECT_EQ(server.opened, 2u) << "each name's is used again";
}

TEST_P(UpstreamNames, AHostThatTheServerCannotProveToBeIsNotServed) {
    install();
    EXPECT_TRUE(has(ask("a.example"), " 200 "));
    EXPECT_TRUE(has(ask("bank.example"), "X-Plimsoll-Cause: upstream_tls"));
    EXPECT_EQ(server.seen.size(), 1u);
}

TEST_P(UpstreamNames, TheCaseOfAHostAndItsPortMakeNoOtherName) {
    install();
    for (const char* host : {"a.example", "A.Example", "a.example:80"}) EXPECT_TRUE(has(ask(host), " 200 ")) << host;
    EXPECT_EQ(server.opened, 1u);
}

TEST_P(UpstreamNames, AFixedNameSharesConnectionsBetweenHosts) {
    config.pools[0].tls->server_name = "a.example";
    install();
    for (const char* host : {"a.example", "b.example", "bank.example"}) EXPECT_TRUE(has(ask(host), " 200 ")) << host;
    expect_own_names("a.example");
    EXPECT_EQ(server.opened, 1u);
}

TEST_P(UpstreamNames, AConnectionOfOtherAuthoritiesIsNotUsedAfterAChange) {
    install(1, trusting(world));
    EXPECT_TRUE(has(ask("a.example"), " 200 "));
    const tls::test::World other("other");
    install(2, trusting(other));
    EXPECT_TRUE(has(ask("a.example"), "X-Plimsoll-Cause: upstream_tls"));
    const auto again = trusting(world);
    install(3, again);
    EXPECT_TRUE(has(ask("a.example"), " 200 "));
    install(4, again);  // a change of something else
    EXPECT_TRUE(has(ask("a.example"), " 200 "));
    EXPECT_EQ(server.opened, 2u);
}

TEST_P(UpstreamNames, AnotherNamesIdleConnectionDoesNotFillTheLimit) {
    config.pools[0].limits.max_connections_per_endpoint = 1;
    install();
    for (const char* host : {"a.example", "b.example", "a.example"}) EXPECT_TRUE(has(ask(host), " 200 ")) << host;
    expect_own_names();
    EXPECT_EQ(server.open, 1u);
}

TEST_P(UpstreamNames, NamesTakeTurnsAtALimit) {
    config.pools[0].limits.max_connections_per_endpoint = 1;
    install();
    server.delay = 10ms;
    std::vector<Caller> callers;
    for (int i = 0; i < 12; ++i) {
        callers.push_back(call());
        callers.back().say(i % 2 == 0 ? "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
                                      : "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    }
    network.advance(1s);
    for (Caller& caller : callers) EXPECT_TRUE(has(caller.hear(), " 200 "));
    EXPECT_EQ(server.seen.size(), 12u);
    expect_own_names();
    EXPECT_LE(server.open, 1u);
}

TEST_P(UpstreamNames, NamesWithoutEndKeepNoMoreConnectionsThanAreKept) {
    config.pools[0].limits.idle_connections_per_endpoint = 3;
    install();
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(has(ask("n" + std::to_string(i) + ".many.example"), " 200 "));
    expect_own_names();
    EXPECT_LE(server.open, 4u);
    const std::size_t before = server.opened;
    EXPECT_TRUE(has(ask("n19.many.example"), " 200 "));
    EXPECT_EQ(server.opened, before) << "the newest are kept";
}

TEST(Terms, WhatAProxyHeaderSaidOfOneClientIsNotSaidOfAnother) {
    const config::PoolLimits limits;
    const net::Address one = *net::Address::ip("192.0.2.1", 1000), two = *net::Address::ip("192.0.2.2", 1000);
    const auto to = [&](const net::Address& client, config::ProxyProtocol header) {
        return Destination{.limits = limits, .proxy_protocol = header, .client = client, .local = one};
    };
    EXPECT_TRUE(Terms(to(one, config::ProxyProtocol::off)).fit(to(two, config::ProxyProtocol::off)));
    EXPECT_TRUE(Terms(to(one, config::ProxyProtocol::v2)).fit(to(one, config::ProxyProtocol::v2)));
    EXPECT_FALSE(Terms(to(one, config::ProxyProtocol::v2)).fit(to(two, config::ProxyProtocol::v2)));
    EXPECT_FALSE(Terms(to(one, config::ProxyProtocol::off)).fit(to(one, config::ProxyProtocol::v2)));
}

INSTANTIATE_TEST_SUITE_P(Http, UpstreamNames, testing::Bool(), [](const testing::TestParamInfo<bool>& each) {
    return std::string(each.param ? "Two" : "One");
});

}  // namespace
}  // namespace plimsoll::proxy
