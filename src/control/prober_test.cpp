// Active checks: in virtual time where time matters, on the kernel's loop where its lack does.
#include "control/prober.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <thread>

#include "http/server.h"
#include "net/loop.h"
#include "net/memory_network.h"
#include "net/proxy_protocol.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using balance::Health;

TEST(Starvation, LateByAQuarterOfTheTimeoutButMoreThanUsual) {
    const Instant at{1'000'000'000};
    EXPECT_FALSE(starved(at, at, 1s));
    EXPECT_FALSE(starved(at, at + Duration(249ms), 1s));
    EXPECT_TRUE(starved(at, at + Duration(250ms), 1s));
    EXPECT_FALSE(starved(at, at + Duration(49ms), 10ms));
    EXPECT_TRUE(starved(at, at + Duration(50ms), 10ms));
}

TEST(Starvation, OnlyADelayDuringTheMeasurementSpoilsIt) {
    const auto at = [](int ms) { return Instant{} + Duration(std::chrono::milliseconds(ms)); };
    Lateness lateness;
    lateness.ran(at(100), at(110));
    lateness.ran(at(200), at(700));
    EXPECT_TRUE(lateness.spoils(at(150), at(800), 1s));
    EXPECT_TRUE(lateness.spoils(at(400), at(800), 1s));   // 300 ms of it
    EXPECT_FALSE(lateness.spoils(at(600), at(800), 1s));  // 100 ms of it
    EXPECT_FALSE(lateness.spoils(at(750), at(800), 1s));
    EXPECT_FALSE(lateness.spoils(at(150), at(800), 4s));
    lateness.expect(at(800));
    EXPECT_TRUE(lateness.spoils(at(750), at(1100), 1s));  // it is late at this moment
    EXPECT_EQ(lateness.worst(at(0)), Duration(500ms));
}

TEST(CheckTrials, AllOrMoreThanThePoolCanLose) {
    EXPECT_FALSE(too_many_fall(4, 4, 0, 0.5));
    EXPECT_FALSE(too_many_fall(4, 4, 2, 0.5));
    EXPECT_TRUE(too_many_fall(4, 4, 3, 0.5));
    EXPECT_FALSE(too_many_fall(4, 4, 1, 1.0));  // one may always go if others stay
    EXPECT_TRUE(too_many_fall(4, 4, 2, 1.0));
    EXPECT_TRUE(too_many_fall(1, 1, 1, 0.0));
    EXPECT_TRUE(too_many_fall(4, 2, 2, 0.5));  // all that are left
}

/// A pool whose servers answer by a table.
struct World {
    net::MemoryNetwork network;
    snapshot::Identities identities;
    config::Config config;
    std::map<std::string, std::uint16_t> status{{"/healthz", 200}};
    std::vector<http::Request> seen;
    std::unique_ptr<http::Server> server;
    std::vector<std::pair<std::string, Health>> changes;
    std::vector<balance::Entry> entries;  ///< of each of them
    std::unique_ptr<Prober> prober;
    std::uint64_t revision = 0;

    explicit World(int endpoints) {
        server =
            std::make_unique<http::Server>(network, [this](const http::Request& request) { return answer(request); });
        config::Pool& pool = config.pools.emplace_back();
        pool.name = "web";
        pool.health->interval = 1s;
        pool.health->timeout = 500ms;
        for (int i = 0; i < endpoints; ++i) {
            config::Endpoint& endpoint = pool.endpoints.emplace_back();
            endpoint.address = {fmt::format("10.{}.{}.1", i / 250, i % 250), 80};
            endpoint.name = fmt::format("s{}", i);
        }
        prober = std::make_unique<Prober>(
            network, 7, [this](EndpointId id, Health health, balance::Entry entry, const std::string&) {
                changes.emplace_back(identities.endpoint_name(id), health);
                entries.push_back(entry);
            });
    }
    ~World() {
        prober.reset();
        server.reset();
    }
    async::Task<http::Response> answer(http::Request request) {
        seen.push_back(request);
        const auto known = status.find(request.path);
        co_return http::Response::text(known == status.end() ? std::uint16_t{404} : known->second, "x\n");
    }
    [[nodiscard]] net::Address address(std::size_t i) const {
        const auto& at = config.pools[0].endpoints[i].address;
        return *net::Address::ip(at.host, at.port);
    }
    void listen(std::size_t i) { server->start(std::move(*network.listen(address(i), {}))); }
    config::HealthCheck& check() { return *config.pools[0].health; }
    std::shared_ptr<const snapshot::Snapshot> compile() {
        return snapshot::compile(config, RevisionNumber{++revision}, identities, 1);
    }
    Health health(std::size_t i) {
        return prober->health(identities.endpoint("web", config.pools[0].endpoints[i].address, ""));
    }
};

TEST(Prober, FallsAndRisesByCounts) {
    World world(1);
    world.listen(0);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    EXPECT_EQ(world.health(0), Health::up);
    world.status["/healthz"] = 500;
    world.network.advance(4500ms);  // phase by lot, then three bad ones
    EXPECT_EQ(world.health(0), Health::down);
    world.status["/healthz"] = 200;
    world.network.advance(3s);
    EXPECT_EQ(world.health(0), Health::up);
    EXPECT_EQ(world.changes.size(), 3u);
}

TEST(Prober, WhoIsUpAtTheFirstLookAfterTheStartIsWarmAndNobodyElse) {
    using balance::Entry;
    World world(3);
    world.listen(0);  // nobody listens for the second yet; the third comes later
    config::Endpoint third = world.config.pools[0].endpoints[2];
    world.config.pools[0].endpoints.pop_back();
    const auto first = world.compile();
    world.prober->watch({first.get()});
    world.prober->started();
    world.network.advance(100ms);
    ASSERT_EQ(world.changes.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i)
        EXPECT_EQ(world.entries[i], world.changes[i].second == Health::up ? Entry::at_once : Entry::slowly);
    world.entries.clear();
    world.listen(1);  // it was down at the first look
    world.network.advance(3s);
    EXPECT_EQ(world.health(1), Health::up);
    world.config.pools[0].endpoints.push_back(third);
    world.listen(2);
    const auto second = world.compile();
    world.prober->watch({second.get()});
    world.network.advance(100ms);
    EXPECT_EQ(world.health(2), Health::up);
    world.status["/healthz"] = 500;
    world.network.advance(4500ms);
    world.status["/healthz"] = 200;
    world.network.advance(4500ms);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(world.health(i), Health::up);
    EXPECT_EQ(world.entries, std::vector<Entry>(2 + 2 * 3, Entry::slowly));
}

TEST(Prober, WhoIsNotCheckedIsWarmAtTheStartOnly) {
    using balance::Entry;
    World world(2);
    world.config.pools[0].health.reset();
    config::Endpoint second = world.config.pools[0].endpoints[1];
    world.config.pools[0].endpoints.pop_back();
    const auto before = world.compile();
    world.prober->watch({before.get()});
    world.prober->started();
    world.config.pools[0].endpoints.push_back(second);
    const auto after = world.compile();
    world.prober->watch({after.get()});
    EXPECT_EQ(world.entries, (std::vector{Entry::at_once, Entry::slowly}));
}

TEST(Prober, AsksForTheHostThatIsConfigured) {
    World world(1);
    world.listen(0);
    world.check().host = "shop.example";
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    ASSERT_EQ(world.seen.size(), 1u);
    EXPECT_EQ(world.seen[0].authority, "shop.example");
    EXPECT_EQ(world.seen[0].path, "/healthz");
}

TEST(Prober, TcpIsAConnectionAndNothingElse) {
    World world(2);
    world.check().type = config::CheckType::tcp;
    const auto listener = world.network.listen(world.address(0), {});
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    EXPECT_EQ(world.health(0), Health::up);
    EXPECT_EQ(world.health(1), Health::down);
    world.network.faults(world.address(0)).connect = net::Faults::Connect::hang;
    world.network.advance(6s);
    EXPECT_EQ(world.health(0), Health::down);
}

async::Task<void> read_first(net::Network&, net::Listener& listener, std::string& bytes) {
    auto stream = co_await listener.accept(net::Deadline::none());
    std::array<char, 512> buffer{};
    const auto n = co_await (*stream)->read(buffer, net::Deadline::none());
    if (n) bytes.assign(buffer.data(), *n);
}

TEST(Prober, APoolThatExpectsThePROXYProtocolGetsALocalHeader) {
    World world(1);
    world.config.pools[0].proxy_protocol = config::ProxyProtocol::v2;
    auto listener = world.network.listen(world.address(0), {});
    std::string bytes;
    async::Scope scope;
    scope.spawn(read_first(world.network, **listener, bytes));
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    std::string header;
    net::append_proxy_v2_local(header);
    EXPECT_TRUE(bytes.starts_with(header));
}

TEST(Prober, TenThousandEndpointsNeverNeedMoreSocketsThanTheBudget) {
    World world(10'000);
    for (std::size_t i = 0; i < 10'000; ++i)
        world.network.faults(world.address(i)).connect = net::Faults::Connect::hang;
    world.check().timeout = 20ms;
    const auto active = world.compile();
    world.prober->watch({active.get()});
    for (int i = 0; i < 60; ++i) {
        world.network.advance(20ms);
        ASSERT_LE(world.prober->figures().running, max_probes_at_once);
    }
    const ProbeFigures figures = world.prober->figures();
    EXPECT_EQ(figures.watched, 10'000u);
    EXPECT_GT(figures.bad, 10'000u);  // each was asked at least once: 40 rounds of 256
    EXPECT_GT(figures.waited, 0u);
    EXPECT_EQ(world.health(9'999), Health::down);
}

TEST(Prober, ProbesOfManyDoNotMarchInStep) {
    World world(200);
    for (std::size_t i = 0; i < 200; ++i) world.listen(i);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    std::size_t most = 0;
    for (int i = 0; i < 100; ++i) {
        world.seen.clear();
        world.network.advance(100ms);
        most = std::max(most, world.seen.size());
    }
    EXPECT_LT(most, 60u);  // 20 on average
}

TEST(Prober, AnEndpointThatStaysKeepsItsStateWhateverElseChanges) {
    World world(2);
    world.listen(0);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    EXPECT_EQ(world.health(1), Health::down);
    const std::size_t before = world.changes.size();
    world.config.pools[0].endpoints.emplace_back().address = {"10.9.9.9", 80};
    world.config.pools[0].endpoints[0].weight = 9;
    const auto next = world.compile();
    world.prober->watch({next.get()});
    EXPECT_EQ(world.health(0), Health::up);
    EXPECT_EQ(world.health(1), Health::down);
    EXPECT_EQ(world.health(2), Health::unknown);
    EXPECT_EQ(world.changes.size(), before);
}

// ---- a check that changes: hc-path-404 -----------------------------------------------------------------------------

TEST(Prober, ACheckOnTrialTakesNobodyDownAndSaysWhatItWould) {
    World world(4);
    for (std::size_t i = 0; i < 4; ++i) world.listen(i);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    world.check().path = "/gone";
    const auto candidate = world.compile();
    world.prober->watch({active.get(), candidate.get()});
    world.network.advance(10s);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(world.health(i), Health::up);
    const auto trials = world.prober->trials();
    ASSERT_EQ(trials.size(), 1u);
    EXPECT_EQ(trials[0].pool, "web");
    EXPECT_EQ(trials[0].fall, 4u);
    EXPECT_TRUE(trials[0].too_many);
    EXPECT_EQ(trials[0].why, "/gone answered 404");
    world.prober->watch({active.get()});  // the change was undone
    world.network.advance(10s);
    EXPECT_TRUE(world.prober->trials().empty());
    EXPECT_EQ(world.changes.size(), 4u);  // up, at the start
}

TEST(Prober, ACheckThatPassedItsTrialDecidesFromTheFirstMomentOn) {
    World world(3);
    world.status["/ready"] = 200;
    for (std::size_t i = 0; i < 2; ++i) world.listen(i);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    world.check().path = "/ready";
    const auto candidate = world.compile();
    world.prober->watch({active.get(), candidate.get()});
    world.network.advance(2s);
    ASSERT_EQ(world.prober->trials().size(), 1u);
    EXPECT_EQ(world.prober->trials()[0].asked, 3u);
    EXPECT_EQ(world.prober->trials()[0].fall, 0u);  // the third is down by either
    EXPECT_FALSE(world.prober->trials()[0].too_many);
    world.prober->watch({candidate.get()});
    world.seen.clear();
    world.network.advance(3s);
    EXPECT_TRUE(std::ranges::all_of(world.seen, [](const auto& request) { return request.path == "/ready"; }));
    EXPECT_EQ(world.health(0), Health::up);
    EXPECT_EQ(world.health(2), Health::down);
}

TEST(Prober, ACheckForAPoolThatHadNoneIsOnTrialToo) {
    World world(1);
    world.status.clear();
    world.listen(0);
    const config::HealthCheck check = world.check();
    world.config.pools[0].health.reset();
    const auto active = world.compile();
    world.prober->watch({active.get()});
    EXPECT_EQ(world.health(0), Health::up);
    world.config.pools[0].health = check;
    const auto candidate = world.compile();
    world.prober->watch({active.get(), candidate.get()});
    world.network.advance(1s);
    EXPECT_EQ(world.health(0), Health::up);
    EXPECT_TRUE(world.prober->trials().at(0).too_many);
    world.prober->watch({candidate.get()});  // somebody forced it: then it counts
    EXPECT_EQ(world.health(0), Health::down);
}

TEST(Prober, WithoutATrialAChangedCheckNeedsItsFallsToTakeDown) {  // a rollback by hand
    World world(1);
    world.listen(0);
    const auto active = world.compile();
    world.prober->watch({active.get()});
    world.network.run_until_idle();
    world.check().path = "/gone";
    const auto next = world.compile();
    world.prober->watch({next.get()});
    world.network.run_until_idle();
    EXPECT_EQ(world.health(0), Health::up);
    world.network.advance(5s);
    EXPECT_EQ(world.health(0), Health::down);
}

// ---- when it is our fault: complaint 17 ----------------------------------------------------------------------------

class OnTheKernel : public ::testing::Test {
protected:
    void SetUp() override {
        loop_ = std::move(*net::Loop::create());
        server_ = std::make_unique<http::Server>(*loop_, [this](const http::Request&) { return fine(*loop_); });
        auto listener = std::move(*loop_->listen(*net::Address::ip("127.0.0.1", 0), {}));
        config::Pool& pool = config_.pools.emplace_back();
        pool.name = "web";
        pool.health->interval = 50ms;
        pool.health->timeout = 100ms;
        pool.health->fall = 1;
        pool.endpoints.emplace_back().address = {"127.0.0.1", listener->address().port()};
        server_->start(std::move(listener));
        prober_ = std::make_unique<Prober>(
            *loop_, 7, [this](EndpointId, Health health, balance::Entry, const std::string&) { last_ = health; });
        active_ = snapshot::compile(config_, RevisionNumber{1}, identities_, 1);
        prober_->watch({active_.get()});
        turn_until([this] { return last_ == Health::up; });
    }
    void TearDown() override {
        prober_.reset();
        server_.reset();
    }
    /// Takes a moment, as servers do: a third of what a probe has time for.
    static async::Task<http::Response> fine(net::Network& network) {
        co_await network.sleep_until(network.now() + Duration(30ms));
        co_return http::Response::text(200, "ok\n");
    }
    bool turn_until(const std::function<bool()>& holds) {
        const Instant limit = loop_->now() + Duration(10s);
        while (!holds() && loop_->now() < limit) loop_->turn(loop_->now() + Duration(5ms));
        return holds();
    }

    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<http::Server> server_;
    config::Config config_;
    snapshot::Identities identities_;
    std::shared_ptr<const snapshot::Snapshot> active_;
    std::unique_ptr<Prober> prober_;
    Health last_ = Health::unknown;
};

TEST_F(OnTheKernel, Complaint17ALoopThatIsStarvedTakesNobodyDown) {
    // As when another process takes the processor for a quarter of a second, again and again: every probe that is under
    // way then times out, although the server answers at once.
    while (prober_->figures().discarded < 3) {
        ASSERT_TRUE(turn_until([this] { return prober_->figures().running > 0; }));
        std::this_thread::sleep_for(250ms);
        loop_->turn(loop_->now());
        ASSERT_TRUE(turn_until([this] { return prober_->figures().running == 0; }));
        ASSERT_LT(prober_->figures().run, 200u);
    }
    EXPECT_EQ(last_, Health::up);
    const ProbeFigures figures = prober_->figures();
    EXPECT_TRUE(figures.starved);
    EXPECT_GE(figures.worst_lateness, Duration(100ms));
    EXPECT_EQ(figures.bad, 0u);
}

TEST_F(OnTheKernel, WithoutDescriptorsNobodyIsTakenDown) {
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    rlimit none = before;
    none.rlim_cur = 3;  // what is open stays open
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const bool seen = turn_until([this] { return prober_->figures().no_descriptors >= 3; });
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_TRUE(seen);
    EXPECT_EQ(last_, Health::up);
    EXPECT_TRUE(prober_->figures().starved);
    const auto good = prober_->figures().good;
    EXPECT_TRUE(turn_until([&] { return prober_->figures().good > good; }));
}

TEST_F(OnTheKernel, AServerThatIsGoneIsStillNoticedAtOnce) {
    server_.reset();
    EXPECT_TRUE(turn_until([this] { return last_ == Health::down; }));
}

}  // namespace
}  // namespace plimsoll::control
