// Found endpoints on their way: asked on the loop, remembered by the journal, part of a plan.
#include "control/members.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "control/planning.h"
#include "discovery/name_server.h"
#include "net/loop.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using discovery::NameServer;
using discovery::Reply;

config::Config site(const config::Discovery& from) {
    config::Config config;
    config::Listener& listener = config.listeners.emplace_back();
    listener.name = "web";
    listener.address = {"127.0.0.1", 1};
    config::Pool& pool = config.pools.emplace_back();
    pool.name = "web";
    pool.discovery = from;
    config::Route& route = config.routes.emplace_back();
    route.name = "all";
    route.pool = "web";
    return config;
}

class DiscoveryTest : public ::testing::Test {
protected:
    void SetUp() override {
        loop_ = std::move(*net::Loop::create());
        server_ = std::make_unique<NameServer>(*loop_);
        from_.name = "web.test";
        from_.resolvers = {server_->address()};
        discovery_ = std::make_unique<Discovery>(
            *loop_, [this](const discovery::Source&, const discovery::Shift& shift) { shifts_.push_back(shift); });
    }
    void TearDown() override {
        discovery_.reset();
        server_.reset();
    }
    void answer(std::vector<std::string> hosts, std::uint32_t ttl = 1) {
        server_->script = [hosts, ttl](const NameServer::Asked& asked) {
            Reply reply;
            if (asked.type == discovery::type_a)
                for (const std::string& host : hosts)
                    reply.records.push_back(discovery::a(asked.name, host.c_str(), ttl));
            return reply;
        };
    }
    bool turn_until(const std::function<bool()>& holds) {
        const Instant limit = loop_->now() + Duration(10s);
        while (!holds() && loop_->now() < limit) loop_->turn(loop_->now() + Duration(5ms));
        return holds();
    }
    [[nodiscard]] std::size_t members() const {
        const auto found = discovery_->found().find({"web", from_});
        return found == discovery_->found().end() ? 0 : found->second.size();
    }

    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<NameServer> server_;
    config::Discovery from_;
    std::unique_ptr<Discovery> discovery_;
    std::vector<discovery::Shift> shifts_;
};

TEST_F(DiscoveryTest, FollowsKeepsWhenItFailsAndTakesALossOnlyTwice) {
    answer({"10.0.0.1", "10.0.0.2", "10.0.0.3"});
    const config::Config config = site(from_);
    discovery_->watch({&config});
    ASSERT_TRUE(turn_until([&] { return members() == 3; }));
    server_->script = [](const NameServer::Asked&) { return Reply{.rcode = 3}; };
    ASSERT_TRUE(turn_until([&] { return discovery_->sources()[0].membership->failures == 1; }));
    EXPECT_EQ(members(), 3u);
    answer({"10.0.0.3"});
    ASSERT_TRUE(turn_until([&] { return discovery_->sources()[0].membership->held == 1; }));
    EXPECT_EQ(members(), 3u);
    ASSERT_TRUE(turn_until([&] { return members() == 1; }));
    EXPECT_EQ(shifts_.size(), 2u);
    EXPECT_EQ(discovery_->sources()[0].membership->differs_since, never);
}

TEST_F(DiscoveryTest, WhatAGuestHasAskedForIsThereAndGoesWithTheGuest) {
    answer({"10.0.0.1"});
    bool done = false;
    discovery_->await(site(from_), [&] { done = true; });
    EXPECT_FALSE(done);
    ASSERT_TRUE(turn_until([&] { return done; }));
    EXPECT_EQ(members(), 1u);
    bool again = false;
    discovery_->await(site(from_), [&] { again = true; });
    EXPECT_TRUE(again);  // at once
}

TEST_F(DiscoveryTest, WhatIsRememberedCountsUntilThereIsAnAnswer) {
    server_->script = [](const NameServer::Asked&) { return Reply{.rcode = 3}; };
    const config::Config config = site(from_);
    config::Endpoint endpoint;
    endpoint.address = {"10.0.0.7", 80};
    discovery_->restore({"web", from_}, {endpoint});
    discovery_->watch({&config});
    EXPECT_TRUE(discovery_->asked(config));
    ASSERT_TRUE(turn_until([&] { return discovery_->sources()[0].membership->failures == 1; }));
    EXPECT_EQ(members(), 1u);
    config::Config slower = config;
    slower.pools[0].discovery->refresh = 9s;
    discovery_->watch({&slower});
    EXPECT_EQ(members(), 1u);
    discovery_->watch({});
    EXPECT_EQ(members(), 0u);
}

TEST_F(DiscoveryTest, AFileIsASourceLikeAnyOther) {
    const std::string path = ::testing::TempDir() + "plimsoll-members-test.yaml";
    std::ofstream(path) << "- address: 10.0.0.1:80\n- address: 10.0.0.2:80\n";
    from_ = {};
    from_.type = config::DiscoveryType::file;
    from_.file = path;
    const config::Config config = site(from_);
    discovery_->watch({&config});
    EXPECT_EQ(members(), 2u);
    std::filesystem::remove(path);
}

TEST(Membership, TheJournalRemembersWhoWasFoundLast) {
    config::Endpoint one, two;
    one.address = {"10.0.0.1", 80};
    one.name = "one";
    one.weight = 2.5;
    one.capacity = 10;
    one.priority = 1;
    one.zone = "west";
    one.labels = {{"host", "a.test"}};
    two.address = {"::1", 80};
    two.name = text(two.address);
    History history;
    history.fold(membership_entry({"web", "dns web.test:80", 0, 2, {one, two}, {}, {}, {}}));
    EXPECT_EQ(history.members_of("web", "dns web.test:80"), (std::vector{one, two}));
    one.weight = 3;
    history.fold(membership_entry({"web", "dns web.test:80", 2, 1, {}, {two}, {one}, {}}));
    EXPECT_EQ(history.members_of("web", "dns web.test:80"), (std::vector{one}));
    EXPECT_TRUE(history.members_of("web", "file x").empty());
    ASSERT_EQ(history.membership_changes.size(), 2u);
    EXPECT_EQ(history.membership_changes[1].removed, (std::vector{two}));
    EXPECT_EQ(history.unreadable, 0u);
}

TEST(Membership, AMembershipKeepsTheRevisionAndItsDigest) {
    config::Discovery from;
    from.name = "web.test";
    const config::Config written = site(from);
    config::Endpoint one;
    one.address = {"10.0.0.1", 80};
    one.name = "one";
    snapshot::Identities identities;
    const auto before = compile_served(written, {}, RevisionNumber{4}, identities, 1, nullptr);
    const auto after =
        compile_served(written, {{{"web", from}, {one}}}, RevisionNumber{4}, identities, 1, before.get());
    EXPECT_TRUE(before->pools[0].endpoints.empty());
    EXPECT_EQ(after->pools[0].endpoints.size(), 1u);
    EXPECT_EQ(after->revision, RevisionNumber{4});
    EXPECT_EQ(after->digest, before->digest);
    EXPECT_EQ(after->digest, config::digest(written));
}

TEST(Membership, APlanAsksFirstAndAPoolWithoutAnybodyCannotServe) {
    PlanRequest request;
    request.text =
        "listeners: {web: {address: '127.0.0.1:1'}}\nroutes: [{name: all, pool: web}]\n"
        "pools: {web: {discovery: {type: dns, name: web.test}}}\n";
    request.file = "x.yaml";
    const Planned first = make_planned(request);
    ASSERT_TRUE(first.document);
    EXPECT_TRUE(first.unasked);
    request.found_is_all = true;
    const Planned in_vain = make_planned(request);
    EXPECT_FALSE(in_vain.unasked);
    EXPECT_TRUE(in_vain.unservable);
    request.found_is_all = false;
    request.nobody_asks = true;
    EXPECT_FALSE(make_planned(request).unasked);
    EXPECT_FALSE(make_planned(request).unservable);
    config::Endpoint one;
    one.address = {"10.0.0.1", 80};
    request.found[{"web", *first.document->config.pools[0].discovery}] = {one};
    EXPECT_FALSE(make_planned(request).unservable);
}

}  // namespace
}  // namespace plimsoll::control
