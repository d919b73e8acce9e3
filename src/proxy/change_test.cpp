// What a request meets when the config changes under it. Numbers of complaints: docs/complaints.md.
#include "proxy/test_world.h"
#include "proxy/worker.h"

namespace plimsoll::proxy::test {
namespace {

class Changes : public World {};

TEST_F(Changes, ARequestUnderWayStaysOnItsRevisionAndItsConnectionStaysOpen) {
    install(1);
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("old"), 1s}; };
    Caller caller = call();
    caller.say(get());
    config.pools[0].endpoints = pool("web", {3}).endpoints;
    install(2);
    EXPECT_EQ(worker.pinned(RevisionNumber{1}), 1u);
    EXPECT_EQ(worker.revisions_held(), 2u);
    Caller other = call("192.0.2.8");
    EXPECT_EQ(body_of(other.ask(get())), "from 3");
    network.advance(1s);
    EXPECT_EQ(body_of(caller.hear()), "old");
    EXPECT_EQ(worker.pinned(RevisionNumber{1}), 0u);
    EXPECT_EQ(worker.revisions_held(), 1u);
    EXPECT_EQ(body_of(caller.ask(get())), "from 3");
    EXPECT_FALSE(caller.ended);
    const std::string lines = log();
    EXPECT_EQ(times(lines, "\"revision\":1,"), 1u);
    EXPECT_EQ(times(lines, "\"revision\":2,"), 2u);
}

TEST_F(Changes, ManySwapsLoseNothing) {
    install(1);
    std::vector<Caller> callers;
    for (int i = 0; i < 10; ++i) callers.push_back(call());
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("fine"), 3ms}; };
    int answered = 0;
    for (std::uint64_t revision = 2; revision < 100; ++revision) {
        for (Caller& caller : callers) caller.say(get());
        install(revision);
        network.advance(5ms);
        for (Caller& caller : callers) answered += has(caller.hear(), "200 OK");
    }
    EXPECT_EQ(answered, 980);
    const Report report = worker.collect();
    EXPECT_EQ(report.connections, 10u);
    EXPECT_EQ(report.tally.connections_accepted, 10u);
    EXPECT_EQ(worker.revisions_held(), 1u);
    EXPECT_LE(backend(1).connections() + backend(2).connections(), 20u);
}

/// Old revisions and their memory stayed for as long as somebody's tunnel did.
TEST_F(Changes, Complaint05And06TunnelsStayAndTheirRevisionsGo) {
    config.routes[0].upgrades = {"websocket"};
    for (const std::uint16_t port : std::vector<std::uint16_t>{1, 2}) {
        backend(port).reply = [](const std::string& text) {
            if (!text.starts_with("GET")) return Reply{"heard " + text};
            return Reply{
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"};
        };
    }
    std::vector<Caller> tunnels;
    std::weak_ptr<const snapshot::Snapshot> before;
    for (std::uint64_t revision = 1; revision <= 150; ++revision) {
        const auto next = compile(revision);
        ASSERT_EQ(worker.install({.active = next}), std::vector<std::string>{});
        (void)worker.collect();  // hands over what it holds of the old one
        EXPECT_TRUE(before.expired()) << "r" << revision - 1 << " is still in memory";
        before = next;
        tunnels.push_back(call());
        const std::string answer =
            tunnels.back().ask(get("/",
                                   "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        ASSERT_TRUE(has(answer, "101 Switching")) << answer;
        EXPECT_EQ(worker.revisions_held(), 1u);
    }
    for (Caller& tunnel : tunnels) EXPECT_EQ(tunnel.ask("word\r\n\r\n"), "heard word\r\n\r\n");
    config.pools[0].endpoints = pool("web", {3}).endpoints;  // theirs are gone from the file
    install(151);
    for (Caller& tunnel : tunnels) EXPECT_EQ(tunnel.ask("word\r\n\r\n"), "heard word\r\n\r\n");
}

TEST_F(Changes, Complaint07SeveralNewcomersGetNothingBeforeTheirFirstCheck) {
    config.pools[0].health.emplace();
    install(1);
    for (const std::uint16_t port : std::vector<std::uint16_t>{1, 2}) worker.set_health(id(port), balance::Health::up);
    config.pools[0].endpoints = pool("web", {1, 2, 3, 4, 5}).endpoints;
    install(2);
    Caller caller = call();
    for (int i = 0; i < 300; ++i) caller.ask(get());
    for (const std::uint16_t port : std::vector<std::uint16_t>{3, 4, 5})
        EXPECT_EQ(backend(port).seen.size(), 0u) << port;
    worker.set_health(id(3), balance::Health::up);
    worker.set_health(id(4), balance::Health::down);
    for (int i = 0; i < 300; ++i) caller.ask(get());
    EXPECT_NEAR(static_cast<double>(backend(3).seen.size()), 100, 2);
    EXPECT_EQ(backend(4).seen.size() + backend(5).seen.size(), 0u);
}

TEST_F(Changes, HealthLoadAndIdleConnectionsSurvive) {
    config.pools[0].ejection = {.enabled = true, .consecutive = 1, .base = 10s, .max_fraction = 0.5};
    config.pools[0].panic_threshold = 0;
    install(1);
    worker.set_health(id(1), balance::Health::up);
    worker.set_health(id(2), balance::Health::up);
    backend(1).reply = [](const std::string&) { return Reply{"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"}; };
    Caller caller = call();
    for (int i = 0; i < 6; ++i) caller.ask(get());
    const std::size_t at_bad = backend(1).seen.size();
    EXPECT_EQ(at_bad, 1u);
    install(2);
    for (int i = 0; i < 6; ++i) caller.ask(get());
    EXPECT_EQ(backend(1).seen.size(), at_bad);
    EXPECT_EQ(backend(2).connections(), 1u);
}

TEST_F(Changes, CursorsGoOnWhereTheyWere) {
    install(1);
    Caller caller = call();
    std::string order;
    for (std::uint64_t i = 0; i < 40; ++i) {
        order += body_of(caller.ask(get())).back();
        install(i + 2);  // with a fresh cursor each time, one endpoint could get them all
    }
    EXPECT_EQ(std::ranges::count(order, '1'), 20) << order;
}

TEST_F(Changes, ConnectionsToEndpointsThatAreGoneAreClosed) {
    install(1);
    Caller caller = call();
    caller.ask(get());
    caller.ask(get());
    EXPECT_EQ(worker.collect().idle_upstream, 2u);
    config.pools[0].endpoints.pop_back();
    install(2);
    EXPECT_EQ(worker.collect().idle_upstream, 1u);
}

TEST_F(Changes, TheCandidateGetsItsShareOfRequestsAndARollbackIsAtOnce) {
    auto active = compile(1);
    config.pools[0].endpoints = pool("web", {3}).endpoints;
    auto candidate = compile(2);
    (void)worker.install({.active = active, .candidate = candidate, .share = {0.25}, .arm_key = 99});
    Caller one = call();
    unsigned at_candidate = 0;
    for (int i = 0; i < 800; ++i) at_candidate += body_of(one.ask(get("/", "X-Request-Id: same\r\n"))) == "from 3";
    EXPECT_GT(at_candidate, 150u);
    EXPECT_LT(at_candidate, 250u);
    const measure::Tally tally = worker.collect().tally;
    EXPECT_EQ(tally.arms[1].all_routes().requests, at_candidate);
    EXPECT_EQ(tally.arms[0].all_routes().requests, 800u - at_candidate);

    const Instant last = worker.last_started(RevisionNumber{2});
    network.advance(5ms);
    (void)worker.install({.active = active});
    for (int i = 0; i < 50; ++i) {
        Caller caller = call("192.0.2." + std::to_string(i + 1));
        EXPECT_NE(body_of(caller.ask(get())), "from 3");
    }
    EXPECT_EQ(worker.last_started(RevisionNumber{2}), last);
    EXPECT_EQ(worker.last_started(RevisionNumber{3}), Instant{INT64_MIN});
}

TEST_F(Changes, TheLeaseOfACandidateRunsOut) {
    auto active = compile(1);
    config.pools[0].endpoints = pool("web", {3}).endpoints;
    (void)worker.install(
        {.active = active, .candidate = compile(2), .share = {1.0}, .arm_key = 1, .lease = network.now() + 5s});
    Caller caller = call();
    EXPECT_EQ(body_of(caller.ask(get())), "from 3");
    network.advance(6s);
    EXPECT_NE(body_of(caller.ask(get())), "from 3");
}

TEST_F(Changes, InShadowTheCandidateDecidesAndNothingComesOfIt) {
    auto active = compile(1);
    config.pools[0].endpoints = pool("web", {1, 3}).endpoints;
    config.routes[0].match.path_prefix = "/api";
    config.routes.push_back({.name = "rest", .match = {.path_prefix = "/rest"}, .pool = "web"});
    (void)worker.install({.active = active, .candidate = compile(2), .shadow = true, .arm_key = 1});
    Caller caller = call();
    for (int i = 0; i < 6; ++i) caller.ask(get("/api/x"));
    for (int i = 0; i < 3; ++i) caller.ask(get("/rest"));
    caller.ask(get("/none"));
    EXPECT_TRUE(backend(3).seen.empty());
    const measure::ShadowTally shadow = worker.collect().tally.shadow;
    EXPECT_EQ(shadow.decisions, 10u);
    EXPECT_EQ(shadow.no_route, 1u);
    EXPECT_EQ(shadow.route_changed, 3u);
    EXPECT_EQ(shadow.pool_changed, 0u);
    EXPECT_EQ(shadow.active_no_route, 0u);
    EXPECT_EQ(shadow.picks[id(1).value] + shadow.picks[id(3).value], 9u);
    EXPECT_GE(shadow.picks[id(3).value], 4u);
    EXPECT_EQ(shadow.active_picks[id(1).value], 5u);
    EXPECT_EQ(shadow.active_picks[id(2).value], 5u);
}

TEST_F(Changes, ListenersComeAndGo) {
    install(1);
    Caller old = call();
    EXPECT_TRUE(has(old.ask(get()), "200 OK"));
    Caller busy = call();
    backend(1).reply = backend(2).reply = [](const std::string&) { return Reply{ok_bytes("slow"), 1s}; };
    busy.say(get());
    config.listeners[0].address.port = 81;
    install(2);
    ASSERT_EQ(worker.listening().size(), 1u);
    EXPECT_EQ(worker.listening()[0].port(), 81);
    old.hear();
    EXPECT_TRUE(old.ended);  // nobody is owed anything on it
    network.advance(1s);
    EXPECT_TRUE(has(busy.hear(), "Connection: close\r\n"));
    EXPECT_NE(network.open(*net::Address::ip("10.9.9.9", 81), *net::Address::ip("192.0.2.1", 1)), nullptr);
}

TEST_F(Changes, AListenerThatCannotBeOpenedIsSaidAndTriedAgain) {
    auto taken = *network.listen(*net::Address::ip("10.9.9.9", 81), {});
    config.listeners.push_back({.name = "second", .address = {"10.9.9.9", 81}});
    const auto failures = worker.install({.active = compile(1)});
    ASSERT_EQ(failures.size(), 1u);
    EXPECT_TRUE(has(failures[0], "listener second")) << failures[0];
    Caller caller = call();
    EXPECT_TRUE(has(caller.ask(get()), "200 OK"));
    taken.reset();
    install(2);
    EXPECT_EQ(worker.listening().size(), 2u);
}

TEST_F(Changes, TheSameSeedGivesTheSameRun) {
    const auto run = [this](std::uint64_t seed) {
        std::string lines;
        config::Config least = config;
        least.pools[0].policy = config::Policy::least_request;
        net::MemoryNetwork world;
        Backend one(world, 1), two(world, 2);
        Worker own(world, {.seed = seed, .log_sink = [&](std::string_view text) { lines += text; }});
        (void)own.install({.active = snapshot::compile(least, RevisionNumber{1}, identities, 1)});
        for (int i = 0; i < 30; ++i) {
            Caller caller(world, world.open(*net::Address::ip("10.9.9.9", 80), *net::Address::ip("192.0.2.7", 5)));
            caller.ask(get());
        }
        world.advance(1s);
        return lines;
    };
    EXPECT_EQ(run(5), run(5));
    EXPECT_NE(run(5), run(6));
}

}  // namespace
}  // namespace plimsoll::proxy::test
