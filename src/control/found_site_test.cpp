// A whole control loop with its workers, a name server and real sockets: servers that come and go by DNS, a name server
// that fails, a check that would take everybody down, and what is known from before a restart.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "control/control.h"
#include "discovery/name_server.h"
#include "http/client.h"
#include "http/server.h"
#include "net/loop.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using discovery::NameServer;
using discovery::Reply;
using Json = nlohmann::json;

class FoundSite : public ::testing::Test {
protected:
    void SetUp() override {
        state_ =
            ::testing::TempDir() + "plimsoll-found-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::remove_all(state_);
        loop_ = std::move(*net::Loop::create());
        names_ = std::make_unique<NameServer>(*loop_);
        for (const char* host : {"127.0.0.1", "127.0.0.2"}) {
            servers_.push_back(std::make_unique<http::Server>(
                *loop_, [this, host](const http::Request& request) { return answer(request, host); }));
            auto listener = loop_->listen(*net::Address::ip(host, port_), {});
            ASSERT_TRUE(listener);
            port_ = (*listener)->address().port();
            servers_.back()->start(std::move(*listener));
        }
        front_ = (*loop_->listen(*net::Address::ip("127.0.0.1", 0), {}))->address();  // free again at once
    }
    void TearDown() override {
        traffic_.cancel();
        control_.reset();
        servers_.clear();
        names_.reset();
        std::filesystem::remove_all(state_);
    }
    async::Task<http::Response> answer(http::Request request, std::string host) {
        if (request.path == "/gone") co_return http::Response::text(404, "no\n");
        if (request.path != "/healthz") ++asked_[host];
        co_return http::Response::text(200, "ok\n");
    }
    void found(std::vector<std::string> hosts) {
        names_->script = [hosts](const NameServer::Asked& asked) {
            Reply reply;
            if (asked.type == discovery::type_a)
                for (const std::string& host : hosts)
                    reply.records.push_back(discovery::a(asked.name, host.c_str(), 1));
            return reply;
        };
    }
    [[nodiscard]] std::string config(const std::string& check = "/healthz") const {
        return fmt::format(
            "listeners: {{web: {{address: '{}'}}}}\nroutes:\n  - {{name: all, pool: web}}\npools:\n  web:\n"
            "    policy: round_robin\n    health: {{path: {}, interval: 100ms, timeout: 80ms}}\n"
            "    discovery: {{type: dns, name: web.test, port: {}, refresh: 1s, max_divergence: 1s, resolvers: "
            "['{}']}}\n"
            "guard: {{shadow: 100ms, shadow_decisions: 5, min_step: 100ms, max_step: 8s, soak: 200ms, "
            "recovery_window: 300ms, steps: [50%, 100%], hold_back: 20%, harm_budget: 20%}}\n",
            front_.text(), check, port_, names_->address());
    }
    /// A journal as a process leaves it that served `text` and had found `host`.
    [[nodiscard]] std::unique_ptr<store::Journal> left_behind(const std::string& text, const std::string& source,
                                                              const std::string& host) const {
        const Timestamp at = loop_->wall();
        config::Endpoint member;
        member.address = {host, port_};
        member.name = config::text(member.address);
        auto journal = store::memory_journal();
        static_cast<void>(
            journal->append_all({revision_entry({RevisionNumber{1},
                                                 {},
                                                 config::digest(config::parse(text, "first.yaml").document->config),
                                                 text,
                                                 "first.yaml",
                                                 {},
                                                 at}),
                                 active_entry(RevisionNumber{1}, "first start", at),
                                 membership_entry({"web", source, 0, 1, {member}, {}, {}, at})}));
        return journal;
    }
    void start() {
        config::Parsed parsed = config::parse(config(), "first.yaml");
        ASSERT_TRUE(parsed.document) << (parsed.findings.empty() ? "" : text(parsed.findings.front()));
        start(store::memory_journal(), std::move(*parsed.document));
    }
    void start(std::unique_ptr<store::Journal> journal, std::optional<config::Document> first) {
        auto started = Control::start(*loop_, std::move(journal), std::move(first),
                                      {.state = state_, .workers = 1, .seed = 7, .version = "test"});
        ASSERT_TRUE(started) << started.error().detail;
        control_ = std::move(*started);
        bool serving = false;
        control_->when_serving([&](const std::vector<std::string>&) { serving = true; });
        ASSERT_TRUE(wait([&] { return serving; }));
    }
    struct Traffic {
        static async::Task<void> send(net::Network& network, net::Address to, std::uint64_t& good, std::uint64_t& bad) {
            while (true) {
                http::Request request;
                request.authority = "site";
                const auto got =
                    co_await http::fetch(network, to, std::move(request), async::Deadline::after(network.now(), 5s));
                ++(got && got->status == 200 ? good : bad);
                co_await network.sleep_until(network.now() + Duration(2ms));
            }
        }
    };
    void send() {
        for (int i = 0; i < 8; ++i) traffic_.spawn(Traffic::send(*loop_, front_, good_, bad_));
        ASSERT_TRUE(wait([&] { return good_ > 50; }));
    }
    bool wait(const std::function<bool()>& holds) {
        loop_->turn(loop_->now());
        const Instant limit = loop_->now() + Duration(30s);
        while (!holds() && loop_->now() < limit) loop_->turn(loop_->now() + Duration(5ms));
        return holds();
    }

    std::string state_;
    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<NameServer> names_;
    std::vector<std::unique_ptr<http::Server>> servers_;
    std::map<std::string, std::uint64_t> asked_;
    std::uint16_t port_ = 0;
    net::Address front_;
    std::unique_ptr<Control> control_;
    std::uint64_t good_ = 0, bad_ = 0;
    async::Scope traffic_;
};

TEST_F(FoundSite, ServersComeByDnsWithoutARevisionAndStayWhenTheNameServerFails) {
    found({"127.0.0.1"});
    start();
    send();
    EXPECT_EQ(asked_["127.0.0.2"], 0u);
    const std::string digest = control_->site().active->digest;
    found({"127.0.0.1", "127.0.0.2"});
    ASSERT_TRUE(wait([&] { return asked_["127.0.0.2"] > 20; }));
    EXPECT_EQ(control_->site().active->digest, digest);
    EXPECT_EQ(control_->history().revisions.size(), 1u);
    EXPECT_GE(control_->gauges().memberships, 1u);
    // From here on the name server is ill: everything goes on, and soon somebody is told.
    names_->script = [](const NameServer::Asked&) { return Reply{.rcode = 2}; };
    ASSERT_TRUE(wait([&] { return !control_->members().firing().empty(); }));
    EXPECT_EQ(control_->members().firing()[0].signal.subject, "pool web");
    EXPECT_FALSE(control_->care().state().alerts.empty());
    EXPECT_EQ(control_->site().active->pools[0].endpoints.size(), 2u);
    found({"127.0.0.1", "127.0.0.2"});
    ASSERT_TRUE(wait([&] { return control_->members().firing().empty(); }));
    EXPECT_FALSE(control_->history().membership_changes.empty());
    EXPECT_EQ(bad_, 0u);
}

TEST_F(FoundSite, ACheckThatWouldTakeEverybodyDownEndsTheChange) {
    found({"127.0.0.1", "127.0.0.2"});
    start();
    send();
    Submission submission;
    submission.text = config("/gone");
    submission.file = "next.yaml";
    submission.author = "ann";
    const auto feed = control_->changes().submit(std::move(submission));
    ASSERT_TRUE(feed) << feed.error().detail;
    ASSERT_TRUE(wait([&] { return (*feed)->closed(); }));
    const Json ended = Json::parse((*feed)->lines().back());
    EXPECT_NE(ended["ending"], "completed") << ended.dump(2);
    EXPECT_NE(ended["summary"].get<std::string>().find("health check"), std::string::npos) << ended["summary"];
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    EXPECT_TRUE(control_->site().down.empty());
    EXPECT_EQ(bad_, 0u);
}

TEST_F(FoundSite, AChangeWhoseSourceFindsNobodyIsRejected) {
    found({"127.0.0.1"});
    start();
    names_->script = [plain = names_->script](const NameServer::Asked& asked) {
        return asked.name == "web.test" ? plain(asked) : Reply{.rcode = 3};
    };
    Submission submission;
    submission.text = config();
    submission.text.replace(submission.text.find("web.test"), 8, "wep.test");
    submission.file = "next.yaml";
    submission.author = "ann";
    const auto feed = control_->changes().submit(std::move(submission));
    ASSERT_TRUE(feed) << feed.error().detail;
    ASSERT_TRUE(wait([&] { return (*feed)->closed(); }));
    const Json ended = Json::parse((*feed)->lines().back());
    EXPECT_EQ(ended["ending"], "rejected") << ended.dump(2);
    EXPECT_NE(ended["summary"].get<std::string>().find("NXDOMAIN"), std::string::npos) << ended["summary"];
}

/// What is known from before a restart, and a file that says something else.
class FoundSiteAgain : public FoundSite {
protected:
    void SetUp() override {
        FoundSite::SetUp();
        std::filesystem::create_directories(state_);
        file_ = state_ + "/found.yaml";
        text_ = fmt::format(
            "listeners: {{web: {{address: '{}'}}}}\nroutes:\n  - {{name: all, pool: web}}\npools:\n  web:\n"
            "    discovery: {{type: file, file: {}}}\n",
            front_.text(), file_);
    }
    void write(const std::string& host, Duration age) const {
        std::ofstream(file_) << fmt::format("- address: {}:{}\n", host, port_);
        const auto written = std::filesystem::file_time_type::clock::now() - age;
        std::filesystem::last_write_time(file_, written);
    }
    void start_again() { start(left_behind(text_, "file " + file_, "127.0.0.1"), {}); }
    [[nodiscard]] std::vector<std::string> serving() const {
        std::vector<std::string> hosts;
        for (const auto& endpoint : control_->site().active->pools[0].endpoints) hosts.push_back(endpoint.address.host);
        return hosts;
    }

    std::string file_, text_;
};

TEST_F(FoundSiteAgain, WhoseFileNoLongerNamesHimServesNobody) {  // ray#66157: a stale list came back
    write("127.0.0.2", 10s);
    start_again();
    EXPECT_EQ(serving(), (std::vector<std::string>{"127.0.0.2"}));
    send();
    EXPECT_GT(asked_["127.0.0.2"], 0u);
    EXPECT_EQ(asked_["127.0.0.1"], 0u);
    EXPECT_EQ(bad_, 0u);
}

TEST_F(FoundSiteAgain, AFileThatMayBeBeingWrittenTakesNobodyAway) {
    write("127.0.0.2", 0s);
    start_again();
    EXPECT_EQ(serving(), (std::vector<std::string>{"127.0.0.1", "127.0.0.2"}));
    ASSERT_TRUE(wait([&] { return serving().size() == 1; }));  // it has stood still
    EXPECT_EQ(serving(), (std::vector<std::string>{"127.0.0.2"}));
}

TEST_F(FoundSiteAgain, AFileThatCannotBeReadLeavesWhoIsKnown) {
    start_again();
    EXPECT_EQ(serving(), (std::vector<std::string>{"127.0.0.1"}));
    const std::vector<SourceFigures> figures = control_->gauges().sources;
    ASSERT_EQ(figures.size(), 1u);
    EXPECT_EQ(figures[0].failures, 1u);
    EXPECT_NE(figures[0].standing.find("No such file"), std::string::npos) << figures[0].standing;
    send();
    EXPECT_EQ(bad_, 0u);
}

TEST_F(FoundSite, ANameServerThatIsDownDoesNotKeepFromServingWhoIsKnown) {
    names_->script = [](const NameServer::Asked&) { return Reply{.silent = true}; };
    const std::string text = config();
    start(left_behind(text, fmt::format("dns web.test:{}", port_), "127.0.0.1"), {});
    EXPECT_EQ(control_->gauges().sources.at(0).failures, 0u) << "it did not wait for an answer";
    send();
    EXPECT_EQ(bad_, 0u);
}

}  // namespace
}  // namespace plimsoll::control
