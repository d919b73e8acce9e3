#include "control/ejection_watch.h"

#include <gtest/gtest.h>

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;

/// A pool of four and what workers find out about it.
struct Site {
    snapshot::Snapshot snapshot;
    std::vector<balance::EndpointState> states = std::vector<balance::EndpointState>(4);
    balance::SharedEjections ejections;
    EjectionWatch watch;
    Instant now{1'000'000'000};

    Site() {
        snapshot::Pool pool{};
        pool.id = pool.facts.id = PoolId{0};
        pool.name = "web";
        for (std::uint32_t i = 0; i < 4; ++i) {
            pool.facts.members.push_back({.id = EndpointId{i}});
            snapshot::Endpoint endpoint{};
            endpoint.id = EndpointId{i};
            endpoint.name = "b" + std::to_string(i);
            pool.endpoints.push_back(endpoint);
        }
        snapshot.pools.push_back(std::move(pool));
        ejections.reserve(4, 1);
    }
    void fail(std::uint32_t endpoint) {
        for (int i = 0; i < 5; ++i)
            (void)ejections.observe(snapshot.pools[0].facts, states, {.endpoint = EndpointId{endpoint}, .status = 500},
                                    now);
    }
    std::vector<EjectionWatch::Seen> look() {
        const snapshot::Snapshot* const resident[] = {&snapshot, nullptr};
        return watch.look(ejections, resident, now);
    }
};

TEST(EjectionWatch, SaysWhenItBeginsAndWhenItEndsOnceEach) {
    Site site;
    EXPECT_TRUE(site.look().empty());
    site.fail(2);
    site.now = site.now + 60ms;
    const auto began = site.look();
    ASSERT_EQ(began.size(), 1u);
    EXPECT_TRUE(began[0].out);
    EXPECT_EQ(began[0].endpoint, EndpointId{2});
    EXPECT_EQ(began[0].text, "endpoint b2 of pool web is ejected for 10s after failures in a row (1 so far)");
    EXPECT_EQ(site.watch.out(), std::set{EndpointId{2}});
    site.now = site.now + 5s;
    EXPECT_TRUE(site.look().empty());
    site.now = site.now + 5s;
    const auto ended = site.look();
    ASSERT_EQ(ended.size(), 1u);
    EXPECT_FALSE(ended[0].out);
    EXPECT_EQ(ended[0].text, "endpoint b2 of pool web takes requests again");
    EXPECT_TRUE(site.watch.out().empty());
    EXPECT_TRUE(site.look().empty());
    site.fail(2);
    EXPECT_EQ(site.look()[0].text, "endpoint b2 of pool web is ejected for 20s after failures in a row (2 so far)");
}

TEST(EjectionWatch, WhoAsksForAPauseIsNotCalledEjected) {
    Site site;
    const snapshot::Pool& pool = site.snapshot.pools[0];
    ASSERT_TRUE(site.ejections.hold_back(pool.facts, site.states, EndpointId{1}, 503, 3s, site.now));
    const auto seen = site.look();
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0].text,
              "endpoint b1 of pool web is left alone for 3s, as its 503 with Retry-After asked (1 so far)");
}

TEST(EjectionWatch, AnEndpointThatHasLeftComesToItsEndToo) {
    Site site;
    site.fail(0);
    ASSERT_EQ(site.look().size(), 1u);
    site.snapshot.pools.clear();
    EXPECT_TRUE(site.look().empty());
    site.now = site.now + 10s;
    ASSERT_EQ(site.look().size(), 1u);
    EXPECT_TRUE(site.watch.out().empty());
}

}  // namespace
}  // namespace plimsoll::control
