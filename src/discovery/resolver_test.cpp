// The resolver against a scripted name server on loopback, UDP and TCP.
#include "discovery/resolver.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "discovery/name_server.h"
#include "net/loop.h"
#include "net/memory_network.h"

namespace plimsoll::discovery {
namespace {

using namespace std::chrono_literals;

class ResolverTest : public ::testing::Test {
protected:
    void SetUp() override {
        loop_ = std::move(*net::Loop::create());
        server_ = std::make_unique<NameServer>(*loop_);
        resolver_ = std::make_unique<Resolver>(*loop_, ResolverOptions{{server_->address()}, 100ms, 2});
    }
    void TearDown() override {
        resolver_.reset();
        server_.reset();
    }
    /// The records whose name and type are asked for; no data otherwise.
    void records(std::vector<Record> all) {
        server_->script = [all = std::move(all)](const NameServer::Asked& asked) {
            Reply reply;
            for (const Record& record : all)
                if (record.name == asked.name && record.type == asked.type) reply.records.push_back(record);
            return reply;
        };
    }
    Result<Answer> addresses(const std::string& name) {
        return *net::complete(*loop_, resolver_->addresses(name, 8080));
    }
    Result<Answer> services(const std::string& name) { return *net::complete(*loop_, resolver_->services(name)); }
    static std::vector<std::string> hosts(const Result<Answer>& answer) {
        std::vector<std::string> out;
        if (answer)
            for (const auto& e : answer->endpoints) out.push_back(text(e.address));
        return out;
    }
    using Strings = std::vector<std::string>;

    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<NameServer> server_;
    std::unique_ptr<Resolver> resolver_;
};

TEST_F(ResolverTest, BothFamiliesWithTheShortestTtl) {
    records({a("web.test", "10.0.0.2", 30), a("web.test", "10.0.0.1", 20), aaaa("web.test", "2001:db8::1", 7)});
    const auto answer = addresses("web.test");
    ASSERT_TRUE(answer) << answer.error().detail;
    EXPECT_EQ(hosts(answer), (Strings{"10.0.0.1:8080", "10.0.0.2:8080", "[2001:db8::1]:8080"}));
    EXPECT_EQ(answer->ttl, Duration(7s));
    EXPECT_FALSE(answer->partial);
    EXPECT_EQ(answer->endpoints[0].labels.at("host"), "web.test");
    EXPECT_EQ(resolver_->pending(), 0u);
}

TEST_F(ResolverTest, ACnamesTtlCountsAndItsTargetIsTaken) {
    server_->script = [](const NameServer::Asked& asked) {
        Reply reply;
        reply.records.push_back(cname("web.test", "real.test", 3));
        if (asked.type == type_a) reply.records.push_back(a("real.test", "10.0.0.1", 60));
        return reply;
    };
    const auto answer = addresses("web.test");
    ASSERT_TRUE(answer) << answer.error().detail;
    EXPECT_EQ(hosts(answer), (Strings{"10.0.0.1:8080"}));
    EXPECT_EQ(answer->ttl, Duration(3s));
}

TEST_F(ResolverTest, NobodyIsReachedAtZeroOrAtAGroup) {
    records({a("web.test", "0.0.0.0"), a("web.test", "224.0.0.1"), a("web.test", "255.255.255.255"),
             aaaa("web.test", "::"), aaaa("web.test", "ff02::1"), a("web.test", "10.0.0.1")});
    EXPECT_EQ(hosts(addresses("web.test")), (Strings{"10.0.0.1:8080"}));
}

TEST_F(ResolverTest, FailuresAreToldApart) {
    const auto code = [&](Reply reply) {
        server_->script = [reply](const NameServer::Asked&) { return reply; };
        const auto answer = addresses("web.test");
        return answer ? Code::internal : answer.error().code;
    };
    EXPECT_EQ(code({.rcode = 3}), Code::not_found);
    EXPECT_EQ(code({.rcode = 2}), Code::refused);
    EXPECT_EQ(code({.rcode = 5}), Code::refused);
    EXPECT_EQ(code({.silent = true}), Code::timeout);
    EXPECT_NE(code({.records = {a("web.test", "10.0.0.1")}, .cut = 3}), Code::internal);
}

TEST_F(ResolverTest, NoDataIsAnEmptyAnswer) {
    records({});
    const auto answer = addresses("web.test");
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->endpoints.empty());
}

TEST_F(ResolverTest, OneFamilyThatFailsMakesTheAnswerPartial) {
    server_->script = [](const NameServer::Asked& asked) {
        if (asked.type == type_aaaa) return Reply{.rcode = 2};
        return Reply{.records = {a("web.test", "10.0.0.1")}};
    };
    const auto answer = addresses("web.test");
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->partial);
    EXPECT_EQ(hosts(answer), (Strings{"10.0.0.1:8080"}));
}

TEST_F(ResolverTest, AnAnswerTooLargeForUdpComesByTcp) {
    Reply large{.truncated = true};
    for (int i = 1; i <= 200; ++i) large.records.push_back(a("web.test", fmt::format("10.0.1.{}", i).c_str()));
    server_->script = [large](const NameServer::Asked& asked) { return asked.type == type_a ? large : Reply{}; };
    const auto answer = addresses("web.test");
    ASSERT_TRUE(answer) << answer.error().detail;
    EXPECT_EQ(answer->endpoints.size(), 200u);
    EXPECT_TRUE(std::ranges::any_of(server_->asked, &NameServer::Asked::tcp));
}

TEST_F(ResolverTest, ServicesHavePrioritiesAndWeights) {
    records({srv("_http._tcp.test", 20, 0, 81, "spare.test", 12), srv("_http._tcp.test", 10, 60, 80, "a.test", 12),
             srv("_http._tcp.test", 10, 0, 80, "b.test", 12), a("a.test", "10.0.0.1", 9), a("a.test", "10.0.0.2", 9),
             a("b.test", "10.0.0.3"), aaaa("spare.test", "2001:db8::9")});
    const auto answer = services("_http._tcp.test");
    ASSERT_TRUE(answer) << answer.error().detail;
    EXPECT_EQ(hosts(answer), (Strings{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "[2001:db8::9]:81"}));
    const auto& e = answer->endpoints;
    EXPECT_EQ(e[0].weight, 30);  // 60 over two addresses
    EXPECT_EQ(e[2].weight, 0.1);
    EXPECT_EQ(e[3].weight, 1);  // the only ones of their priority
    EXPECT_EQ(e[0].priority, 0u);
    EXPECT_EQ(e[3].priority, 1u);
    EXPECT_EQ(e[0].labels.at("host"), "a.test");
    EXPECT_EQ(answer->ttl, Duration(9s));
}

TEST_F(ResolverTest, ATargetThatCannotBeLookedUpMakesTheAnswerPartial) {
    server_->script = [](const NameServer::Asked& asked) {
        if (asked.type == type_srv)
            return Reply{.records = {srv("s.test", 1, 1, 80, "a.test"), srv("s.test", 1, 1, 80, "b.test")}};
        if (asked.name == "b.test") return Reply{.rcode = 3};
        return asked.type == type_a ? Reply{.records = {a("a.test", "10.0.0.1")}} : Reply{};
    };
    const auto answer = services("s.test");
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->partial);
    EXPECT_EQ(hosts(answer), (Strings{"10.0.0.1:80"}));
}

TEST_F(ResolverTest, ATargetOfADotIsNobody) {
    records({srv("s.test", 0, 0, 80, ".")});
    const auto answer = services("s.test");
    ASSERT_TRUE(answer);
    EXPECT_TRUE(answer->endpoints.empty());
}

TEST_F(ResolverTest, ManyAskAtOnceAndOneMayLeave) {
    records({a("web.test", "10.0.0.1")});
    server_->script = [plain = server_->script](const NameServer::Asked& asked) {
        return asked.name == "slow.test" ? Reply{.silent = true} : plain(asked);
    };
    {
        async::Scope scope;
        struct Ask {
            static async::Task<void> slowly(Resolver& resolver) {
                static_cast<void>(co_await resolver.addresses("slow.test", 1));
            }
        };
        scope.spawn(Ask::slowly(*resolver_));
        EXPECT_EQ(hosts(addresses("web.test")).size(), 1u);
    }
    EXPECT_EQ(hosts(addresses("web.test")).size(), 1u);
}

TEST_F(ResolverTest, ServersThatAreNoneAreSaid) {
    Resolver wrong(*loop_, {{"not an address"}, 100ms, 1});
    const auto answer = *net::complete(*loop_, wrong.addresses("web.test", 80));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Code::invalid);
    net::MemoryNetwork memory;
    Resolver nowhere(memory, {{server_->address()}, 100ms, 1});
    EXPECT_FALSE(*net::complete(memory, nowhere.addresses("web.test", 80)));
}

}  // namespace
}  // namespace plimsoll::discovery
