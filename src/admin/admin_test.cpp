// The admin API over real sockets: what it answers to garbage, to strangers, and to a change whose reader goes away.
#include "admin/admin.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "http/client.h"
#include "net/loop.h"
#include "store/journal.h"

namespace plimsoll::admin {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

class AdminTest : public ::testing::Test {
protected:
    void SetUp() override {
        state_ =
            ::testing::TempDir() + "plimsoll-admin-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::remove_all(state_);
        std::filesystem::create_directories(state_);
        auto loop = net::Loop::create();
        ASSERT_TRUE(loop);
        loop_ = std::move(*loop);
        std::string free;
        {
            auto probe = loop_->listen(*net::Address::ip("127.0.0.1", 0), {});
            ASSERT_TRUE(probe);
            free = (*probe)->address().text();
        }
        config_ = fmt::format(
            "listeners: {{web: {{address: '{}'}}}}\nroutes:\n  - {{name: all, pool: web}}\npools:\n  web:\n"
            "    health: off\n    endpoints: [{{name: a, address: '127.0.0.1:9'}}]\n",
            free);
        start();
    }
    /// Anew, if it runs already.
    void start() {
        admin_.reset();
        control_.reset();
        config::Parsed parsed = config::parse(config_, "first.yaml");
        ASSERT_TRUE(parsed.document);
        auto started = control::Control::start(*loop_, store::memory_journal(), std::move(*parsed.document),
                                               {.state = state_, .workers = 1, .seed = 7, .version = "test"});
        ASSERT_TRUE(started) << started.error().detail;
        control_ = std::move(*started);
        admin_ = std::make_unique<Admin>(*control_);
        ASSERT_TRUE(admin_->listen(state_ + "/admin.sock"));
    }
    void TearDown() override {
        admin_.reset();
        control_.reset();
        std::filesystem::remove_all(state_);
    }
    http::Response call(const std::string& method, const std::string& path, const std::string& body = "",
                        bool allowed = true) {
        http::Request request;
        request.method = method;
        request.path = path;
        request.authority = "plimsoll";
        request.body = body;
        request.headers.add("content-type", "application/json");
        if (allowed) request.headers.add("x-plimsoll-request", "1");
        auto answer =
            net::complete(*loop_, http::fetch(*loop_, *net::Address::unix_socket(state_ + "/admin.sock"),
                                              std::move(request), async::Deadline::after(loop_->now(), Duration(20s))));
        EXPECT_TRUE(answer && *answer) << path;
        return answer && *answer ? std::move(**answer) : http::Response{};
    }
    /// By TCP, as everybody on the machine may.
    http::Response visit(const std::string& path, const std::string& accept = "") {
        http::Request request;
        request.path = path;
        request.authority = "localhost";
        if (!accept.empty()) request.headers.add("accept", accept);
        std::uint16_t free = 0;
        {
            auto probe = loop_->listen(*net::Address::ip("127.0.0.1", 0), {});
            EXPECT_TRUE(probe);
            free = (*probe)->address().port();
        }
        EXPECT_TRUE(admin_->listen(config::Address{"127.0.0.1", free}));
        auto answer =
            net::complete(*loop_, http::fetch(*loop_, *net::Address::ip("127.0.0.1", free), std::move(request),
                                              async::Deadline::after(loop_->now(), Duration(20s))));
        EXPECT_TRUE(answer && *answer) << path;
        return answer && *answer ? std::move(**answer) : http::Response{};
    }
    [[nodiscard]] std::string proposal(const std::string& text) const {
        return Json{{"text", text}, {"file", "next.yaml"}, {"author", "ann"}}.dump();
    }

    std::string state_, config_;
    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<control::Control> control_;
    std::unique_ptr<Admin> admin_;
};

TEST_F(AdminTest, GarbageIsAnsweredAndChangesNothing) {
    for (const char* body : {"", "{", "[]", "null", "\"text\"", "\xff\xfe", "{\"text\": 1e999}"})
        EXPECT_EQ(call("POST", "/v1/apply", body).status, 400) << body;
    EXPECT_EQ(call("POST", "/v1/thaw", "{\"digest\": 7, \"reason\": []}").status, 404);
    EXPECT_EQ(call("POST", "/v1/rollback", "{\"to\": -1}").status, 404);
    EXPECT_EQ(call("POST", "/v1/rollback", "{\"to\": 99}").status, 404);
    EXPECT_EQ(call("POST", "/v1/abort", "{}").status, 404);
    EXPECT_EQ(call("POST", "/v1/incidents//ack", "{}").status, 404);
    EXPECT_EQ(call("POST", "/v1/incidents/INC-7/ack", "{}").status, 404);
    EXPECT_EQ(call("POST", "/v1/unknown", "{}").status, 404);
    EXPECT_EQ(call("DELETE", "/v1/changes").status, 405);
    for (const char* path : {"/v1/changes/C9", "/v1/revisions/r", "/v1/revisions/99999999999999999999",
                             "/v1/incidents/../../etc/passwd/postmortem", "/v1/incidents/INC-7/postmortem", "/v2"})
        EXPECT_EQ(call("GET", path).status, 404) << path;
    EXPECT_EQ(call("GET", "/v1/changes").body, "{\"changes\":[],\"text\":\"no change has been proposed yet\\n\"}");
}

TEST_F(AdminTest, AWriteWithoutItsHeaderIsRefused) {
    EXPECT_EQ(call("POST", "/v1/apply", proposal(config_), false).status, 415);
    EXPECT_FALSE(control_->changes().in_progress());
}

TEST_F(AdminTest, APlanSaysWhatWouldBecomeOfIt) {
    const Json plan = Json::parse(call("POST", "/v1/plan", proposal(config_)).body);
    EXPECT_EQ(plan["verdict"], "no_change");
    EXPECT_EQ(plan["exit"], 0);
    EXPECT_EQ(Json::parse(call("POST", "/v1/plan", proposal("listeners: [")).body)["exit"], 3);
    EXPECT_TRUE(control_->history().changes.empty());
}

TEST_F(AdminTest, ARevisionShowsItsSecretsOnTheUnixSocketOnly) {
    EXPECT_EQ(visit("/v1/revisions/r1").body, config_);  // it has none: as it was written
    config_ += "notify: [{name: pager, url: 'http://127.0.0.1:9/x', secret: hush-4711}]\n";
    start();
    EXPECT_EQ(call("GET", "/v1/revisions/r1").body, config_);
    const http::Response shown = visit("/v1/revisions/r1");
    EXPECT_EQ(shown.status, 200);
    EXPECT_EQ(shown.body.find("hush-4711"), std::string::npos);
    EXPECT_NE(shown.body.find("(set)"), std::string::npos);
    EXPECT_NE(shown.body.find("pager"), std::string::npos);
}

TEST_F(AdminTest, SoManyEndpointsHaveANameInMetricsAndNoMore) {
    config_.resize(config_.find("    endpoints:"));
    config_ += "    endpoints:\n";
    for (int i = 0; i < 1100; ++i)
        config_ += fmt::format("      - {{name: e{}, address: '10.{}.{}.1:80', capacity: 2}}\n", i, i / 250, i % 250);
    start();
    const http::Response page = visit("/metrics", "application/openmetrics-text; version=1.0.0");
    EXPECT_EQ(page.headers.get("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    const std::string& text = page.body;
    EXPECT_TRUE(text.ends_with("\n# EOF\n"));
    std::size_t named = 0;
    for (std::size_t at = 0; (at = text.find("\nplimsoll_endpoint_capacity{", at)) != std::string::npos; ++at) ++named;
    EXPECT_EQ(named, 1025u);
    EXPECT_NE(text.find("plimsoll_endpoint_capacity{pool=\"(other)\",endpoint=\"(other)\"} 152\n"), std::string::npos);
}

TEST_F(AdminTest, TheLastLineOfAnApplyIsItsResult) {
    const http::Response answer = call("POST", "/v1/apply", proposal("listeners: ["));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.headers.get("content-type"), "application/x-ndjson");
    const std::string lines = answer.body.substr(0, answer.body.size() - 1);
    const Json result = Json::parse(lines.substr(lines.rfind('\n') + 1));
    EXPECT_EQ(result["ending"], "rejected");
    EXPECT_EQ(result["exit"], 3);
    EXPECT_EQ(result["change"], "C1");
}

TEST_F(AdminTest, TwoAppliesAtOnceAreAConflict) {
    control::Submission first, second;
    first.text = second.text = config_;
    ASSERT_TRUE(control_->changes().submit(std::move(first)));
    const auto refused = control_->changes().submit(std::move(second));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::conflict);
}

TEST_F(AdminTest, AReaderWhoLeavesChangesNothing) {
    const auto known = [this] { return control_->changes().in_progress() || control_->history().change("C1"); };
    const Instant limit = loop_->now() + Duration(20s);
    {
        async::Scope reader;
        struct Leaves {
            static async::Task<void> apply(net::Network& network, net::Address to, std::string body) {
                http::Request request;
                request.method = "POST";
                request.path = "/v1/apply";
                request.headers.add("content-type", "application/json").add("x-plimsoll-request", "1");
                request.body = std::move(body);
                (void)co_await http::fetch(network, to, std::move(request), async::Deadline::none());
            }
        };
        reader.spawn(
            Leaves::apply(*loop_, *net::Address::unix_socket(state_ + "/admin.sock"), proposal("listeners: [")));
        while (!known() && loop_->now() < limit) loop_->turn(loop_->now() + Duration(5ms));
    }
    while (control_->changes().in_progress() && loop_->now() < limit) loop_->turn(loop_->now() + Duration(5ms));
    ASSERT_TRUE(control_->history().change("C1"));
    EXPECT_EQ(control_->history().change("C1")->ending, "rejected");
    EXPECT_EQ(call("GET", "/v1/changes/C1").status, 200);
}

}  // namespace
}  // namespace plimsoll::admin
