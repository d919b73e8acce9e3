// A whole control loop with its workers, real sockets on loopback, real backends: what becomes of a change when all is
// well, and when the journal, the server or a person gets in its way. Guard times are fractions of a second.
#include "control/control.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/random.h"
#include "http/client.h"
#include "http/server.h"
#include "net/loop.h"

namespace plimsoll::control {
namespace {

using namespace std::chrono_literals;
using Json = nlohmann::json;

/// A journal in memory that outlives its server, and that can be told to refuse.
struct Disk {
    std::unique_ptr<store::Journal> journal = store::memory_journal();
    std::function<bool(const store::Entry&)> refuses = [](const store::Entry&) { return false; };
    std::vector<std::string> kinds;  ///< of what was written
};

class DiskJournal final : public store::Journal {
public:
    explicit DiskJournal(std::shared_ptr<Disk> disk) : disk_(std::move(disk)) {}
    Result<std::uint64_t> append(Timestamp at, std::string_view kind, std::string_view subject,
                                 std::string_view body) override {
        return append_all({{0, at, std::string(kind), std::string(subject), std::string(body)}});
    }
    Result<std::uint64_t> append_all(std::vector<store::Entry> entries) override {
        for (const store::Entry& entry : entries)
            if (disk_->refuses(entry)) return fail(Code::io, "no space left on device");
        for (const store::Entry& entry : entries) disk_->kinds.push_back(entry.kind);
        return disk_->journal->append_all(std::move(entries));
    }
    Result<void> read(std::uint64_t after, const std::function<bool(const store::Entry&)>& visit) override {
        return disk_->journal->read(after, visit);
    }

private:
    std::shared_ptr<Disk> disk_;
};

/// Answers after 8 ms in the mean, with a long tail: the noise of a busy machine is small beside it.
async::Task<http::Response> answer(net::Network& network, Random& random) {
    co_await network.sleep_until(network.now() + from_seconds(-0.008 * std::log(1 - random.uniform())));
    co_return http::Response::text(200, "ok\n");
}

async::Task<void> send_requests(net::Network& network, net::Address to, std::uint64_t& answered, std::uint64_t& bad) {
    while (true) {
        http::Request request;
        request.authority = "site";
        const auto got =
            co_await http::fetch(network, to, std::move(request), async::Deadline::after(network.now(), 5s));
        ++(got && got->status == 200 ? answered : bad);
        co_await network.sleep_until(network.now() + Duration(1ms));
    }
}

class ControlTest : public ::testing::Test {
protected:
    void SetUp() override {
        state_ = ::testing::TempDir() + "plimsoll-control-" +
                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
        std::filesystem::remove_all(state_);
        auto loop = net::Loop::create();
        ASSERT_TRUE(loop);
        loop_ = std::move(*loop);
        backends_ =
            std::make_unique<http::Server>(*loop_, [this](const http::Request&) { return answer(*loop_, random_); });
        for (int i = 0; i < 2; ++i) {
            auto listener = loop_->listen(*net::Address::ip("127.0.0.1", 0), {});
            ASSERT_TRUE(listener);
            endpoints_.push_back((*listener)->address().text());
            backends_->start(std::move(*listener));
        }
        auto probe = loop_->listen(*net::Address::ip("127.0.0.1", 0), {});
        ASSERT_TRUE(probe);
        front_ = (*probe)->address();  // free again at once; workers do not take port 0
    }
    void TearDown() override {
        traffic_.cancel();
        control_.reset();
        std::filesystem::remove_all(state_);
    }

    /// The site with both weights and what else is written at the top level.
    [[nodiscard]] std::string config(int weight, const std::string& extra = "") const {
        return fmt::format(
            "listeners: {{web: {{address: '{}'}}{}}}\nroutes:\n  - {{name: all, pool: web}}\npools:\n  web:\n"
            "    policy: round_robin\n    health: off\n    endpoints:\n      - {{name: a, address: '{}', weight: 10}}\n"
            "      - {{name: b, address: '{}', weight: {}}}\n"
            "guard: {{shadow: 100ms, shadow_decisions: 5, min_step: 100ms, max_step: 8s, soak: 200ms, "
            "recovery_window: 300ms, steps: [50%, 100%], hold_back: 20%, harm_budget: 20%}}\n",
            front_.text(), extra, endpoints_[0], endpoints_[1], weight);
    }
    void start(const std::string& first = "") {
        std::optional<config::Document> document;
        if (!first.empty()) {
            config::Parsed parsed = config::parse(first, "first.yaml");
            ASSERT_TRUE(parsed.document) << (parsed.findings.empty() ? "" : text(parsed.findings.front()));
            document = std::move(*parsed.document);
        }
        auto started = Control::start(*loop_, std::make_unique<DiskJournal>(disk_), std::move(document),
                                      {.state = state_, .workers = 1, .seed = 7, .version = "test"});
        ASSERT_TRUE(started) << started.error().detail;
        control_ = std::move(*started);
        std::optional<std::vector<std::string>> failures;
        control_->when_serving([&](const std::vector<std::string>& seen) { failures = seen; });
        ASSERT_TRUE(wait([&] { return failures.has_value(); }));
        ASSERT_TRUE(failures->empty()) << failures->front();
    }
    /// As after a crash: nothing is told to anybody.
    void crash() { control_.reset(); }
    void send() {
        for (int i = 0; i < 16; ++i) traffic_.spawn(send_requests(*loop_, front_, answered_, bad_));
        ASSERT_TRUE(wait([&] { return answered_ > 250 && control_->site().rate > 50; }));
    }
    /// Runs the loop until it holds. False: it did not within twenty seconds.
    bool wait(const std::function<bool()>& holds) {
        const Instant limit = loop_->now() + Duration(20s);
        loop_->turn(loop_->now());  // reads the clock
        while (!holds()) {
            if (loop_->now() > limit) return false;
            loop_->turn(loop_->now() + Duration(5ms));
        }
        return true;
    }
    Result<std::shared_ptr<Feed>> submit(const std::string& text, const std::string& base = "") {
        Submission submission;
        submission.text = text;
        submission.file = "next.yaml";
        submission.author = "ann";
        submission.reason = "test";
        submission.base_digest = base;
        return control_->changes().submit(std::move(submission));
    }
    /// The result of a change: the feed's last line.
    Json result(const Result<std::shared_ptr<Feed>>& feed) {
        if (!feed) return {{"ending", "not taken"}, {"summary", feed.error().detail}};
        if (!wait([&] { return (*feed)->closed(); }))
            return {{"ending", "hangs"}, {"summary", (*feed)->lines().back()}};
        return Json::parse((*feed)->lines().back());
    }
    bool live() { return control_->site().candidate && control_->site().share.value > 0; }

    std::string state_;
    Random random_{11};
    std::unique_ptr<net::Loop> loop_;
    std::unique_ptr<http::Server> backends_;
    std::vector<std::string> endpoints_;
    net::Address front_;
    std::shared_ptr<Disk> disk_ = std::make_shared<Disk>();
    std::unique_ptr<Control> control_;
    std::uint64_t answered_ = 0, bad_ = 0;
    async::Scope traffic_;
};

TEST_F(ControlTest, TheFirstStartIsJournaledAndServes) {
    start(config(10));
    send();
    std::vector<std::string> first = disk_->kinds;  // known_good may follow by now, on a machine that is slow
    first.resize(2);
    EXPECT_EQ(first, (std::vector<std::string>{"revision", "active"}));
    EXPECT_EQ(control_->history().active, RevisionNumber{1});
    EXPECT_EQ(bad_, 0u);
}

TEST_F(ControlTest, AHarmlessChangeCompletesAndIsDurable) {
    start(config(10));
    send();
    const Json ended = result(submit(config(12), control_->site().active->digest));
    EXPECT_EQ(ended["ending"], "completed") << ended.dump(2);
    EXPECT_EQ(ended["exit"], 0);
    EXPECT_EQ(control_->history().active, RevisionNumber{2});
    EXPECT_EQ(control_->history().last_known_good(), RevisionNumber{2});
    EXPECT_EQ(control_->history().change("C1")->ending, "completed");
    EXPECT_EQ(control_->site().active->digest, control_->history().revision(RevisionNumber{2})->digest);
    EXPECT_EQ(bad_, 0u);
}

TEST_F(ControlTest, ARefusedChangeLeavesEverythingAsItIs) {
    start(config(10));
    send();
    const std::string digest = control_->site().active->digest;
    EXPECT_EQ(result(submit("listeners: [unclosed"))["exit"], 3);
    EXPECT_EQ(control_->site().active->digest, digest);
    EXPECT_EQ(control_->history().revisions.size(), 1u);
    EXPECT_EQ(control_->history().change("C1")->ending, "rejected");
}

TEST_F(ControlTest, Complaint19AStaleBaseAndASecondChangeAreConflicts) {
    start(config(10));
    const auto stale = submit(config(12), "0123456789abcdef");
    ASSERT_FALSE(stale);
    EXPECT_EQ(stale.error().code, Code::conflict);
    ASSERT_TRUE(submit(config(12)));
    const auto second = submit(config(14));
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, Code::conflict);
}

TEST_F(ControlTest, AJournalThatRefusesTheRevisionEndsTheChangeBeforeTraffic) {
    start(config(10));
    send();
    disk_->refuses = [full = false](const store::Entry& entry) mutable { return full |= entry.kind == "revision"; };
    const Json ended = result(submit(config(12)));
    EXPECT_EQ(ended["ending"], "interrupted") << ended.dump(2);
    EXPECT_EQ(ended["exit"], 1);
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    disk_->refuses = [](const store::Entry&) { return false; };
    EXPECT_EQ(result(submit(config(12)))["ending"], "completed");  // the disk is well again, so is everything else
}

TEST_F(ControlTest, AFullDiskInTheCanarySendsTheChangeBackAtOnceAndSaysSo) {
    start(config(10));
    send();
    const auto feed = submit(config(12));
    ASSERT_TRUE(wait([&] { return live(); }));
    disk_->refuses = [](const store::Entry&) { return true; };
    ASSERT_TRUE(wait([&] { return !control_->site().candidate; }));
    const Json ended = result(feed);
    EXPECT_EQ(ended["ending"], "interrupted") << ended.dump(2);
    EXPECT_EQ(ended["exit"], 1);
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    EXPECT_FALSE(submit(config(14)));  // the ending is still owed
    disk_->refuses = [](const store::Entry&) { return false; };
    ASSERT_TRUE(wait([&] { return control_->history().change("C1")->ending == "interrupted"; }));
    EXPECT_EQ(bad_, 0u);
}

TEST_F(ControlTest, WhatCannotBeMadeActiveDurablyIsTakenBack) {
    start(config(10));
    send();
    disk_->refuses = [](const store::Entry& entry) { return entry.kind == "active"; };
    const Json ended = result(submit(config(12)));
    EXPECT_EQ(ended["ending"], "interrupted") << ended.dump(2);
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    EXPECT_FALSE(control_->site().candidate);
    EXPECT_EQ(control_->history().active, RevisionNumber{1});
}

TEST_F(ControlTest, ARestartInTheCanaryServesWhatWasAcknowledged) {
    start(config(10));
    send();
    ASSERT_TRUE(submit(config(12)));
    ASSERT_TRUE(wait([&] { return live(); }));
    const std::string digest = control_->site().active->digest;
    crash();
    start();
    EXPECT_EQ(control_->site().active->digest, digest);
    EXPECT_EQ(control_->history().active, RevisionNumber{1});
    EXPECT_EQ(control_->history().change("C1")->ending, "interrupted");
    EXPECT_EQ(control_->history().change("C1")->exit_code, 1);
    EXPECT_FALSE(control_->changes().in_progress());
}

TEST_F(ControlTest, ACrashAfterTheRevisionBecameActiveIsNotCalledAnInterruption) {
    start(config(10));
    send();
    disk_->refuses = [](const store::Entry& entry) { return entry.kind == "ending"; };
    EXPECT_EQ(result(submit(config(12)))["ending"], "completed");
    crash();
    disk_->refuses = [](const store::Entry&) { return false; };
    start();
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{2});
    EXPECT_EQ(control_->history().change("C1")->ending, "completed");
    EXPECT_EQ(control_->history().change("C1")->exit_code, 0);
}

TEST_F(ControlTest, AnAbortedChangeGoesBackAndAnAbortWhilePlanningIsOne) {
    start(config(10));
    send();
    const auto planning = submit(config(12));
    ASSERT_TRUE(planning);
    ASSERT_TRUE(control_->changes().abort("ann", "second thoughts"));
    EXPECT_EQ(result(planning)["ending"], "aborted");
    EXPECT_EQ(control_->history().change("C1")->ending, "aborted");
    const auto feed = submit(config(14));  // while the first is still being planned in the background
    ASSERT_TRUE(wait([&] { return live(); }));
    ASSERT_TRUE(control_->changes().abort("ann", "second thoughts"));
    const Json ended = result(feed);
    EXPECT_EQ(ended["ending"], "aborted") << ended.dump(2);
    EXPECT_EQ(ended["change"], "C2");
    EXPECT_EQ(control_->history().revision(RevisionNumber{2})->text, config(14));
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
}

TEST_F(ControlTest, AFrozenConfigurationIsRefusedUntilItIsThawed) {
    start(config(10));
    send();
    const std::string digest = config::digest(config::parse(config(12), "x").document->config);
    ASSERT_TRUE(disk_->journal->append_all({frozen_entry({digest, "C0", "it hurt", {}})}));
    traffic_.cancel();
    crash();
    start();
    send();
    const Json frozen = result(submit(config(12)));
    EXPECT_EQ(frozen["ending"], "frozen") << frozen.dump(2);
    EXPECT_EQ(frozen["exit"], 6);
    EXPECT_FALSE(control_->thaw(digest.substr(0, 3), "an SRE", "too short to name one"));
    ASSERT_TRUE(control_->thaw(digest.substr(0, 12), "an SRE", "the cause is fixed"));
    EXPECT_EQ(result(submit(config(12)))["ending"], "completed");
}

TEST_F(ControlTest, ARollbackByHandServesAtOnceAndIsVerified) {
    start(config(10));
    send();
    ASSERT_EQ(result(submit(config(12)))["ending"], "completed");
    const auto feed = control_->changes().rollback(RevisionNumber{1}, "ann", "");
    ASSERT_TRUE(feed) << feed.error().detail;
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    const Json ended = result(feed);
    EXPECT_EQ(ended["exit"], 0) << ended.dump(2);
    EXPECT_EQ(ended["summary"].get<std::string>().find(" 0 requests"), std::string::npos) << ended["summary"];
    EXPECT_EQ(control_->history().active, RevisionNumber{1});
    EXPECT_EQ(control_->history().change("C2")->revision, RevisionNumber{1});
    EXPECT_EQ(bad_, 0u);
}

TEST_F(ControlTest, ARollbackDoesNotWaitForABrokenDiskAndIsWrittenWhenItIsWell) {
    start(config(10));
    send();
    ASSERT_EQ(result(submit(config(12)))["ending"], "completed");
    disk_->refuses = [](const store::Entry&) { return true; };
    ASSERT_TRUE(control_->changes().rollback(RevisionNumber{1}, "ann", ""));
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    disk_->refuses = [](const store::Entry&) { return false; };
    ASSERT_TRUE(wait([&] { return control_->history().active == RevisionNumber{1}; }));
    crash();
    start();
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    EXPECT_EQ(control_->history().change("C2")->ending, "completed");
}

TEST_F(ControlTest, ACrashWhileARollbackIsVerifiedKeepsItAndSaysThatNobodyVerifiedIt) {
    start(config(10));
    send();
    ASSERT_EQ(result(submit(config(12)))["ending"], "completed");
    ASSERT_TRUE(control_->changes().rollback(RevisionNumber{1}, "ann", ""));
    crash();
    start();
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
    EXPECT_EQ(control_->history().change("C2")->ending, "completed");
    EXPECT_EQ(control_->history().change("C2")->exit_code, 5);
}

TEST_F(ControlTest, OnlyARevisionThatWasActiveMayBeRolledBackTo) {
    start(config(10));
    send();
    const auto feed = submit(config(12));
    ASSERT_TRUE(wait([&] { return live(); }));
    ASSERT_TRUE(control_->changes().abort("ann", ""));
    ASSERT_EQ(result(feed)["ending"], "aborted");
    const auto past_the_gates = control_->changes().rollback(RevisionNumber{2}, "ann", "");
    ASSERT_FALSE(past_the_gates);
    EXPECT_EQ(past_the_gates.error().code, Code::conflict);
}

TEST_F(ControlTest, AListenerThatCannotBeOpenedSendsTheChangeBack) {
    start(config(10));
    send();
    const auto taken = loop_->listen(*net::Address::ip("127.0.0.1", 0), {});
    ASSERT_TRUE(taken);
    const Json ended = result(submit(config(10, fmt::format(", more: {{address: '{}'}}", (*taken)->address().text()))));
    EXPECT_EQ(ended["ending"], "aborted") << ended.dump(2);
    EXPECT_NE(ended["summary"].get<std::string>().find("more"), std::string::npos) << ended["summary"];
    EXPECT_EQ(control_->site().active->revision, RevisionNumber{1});
}

TEST_F(ControlTest, StoppingEndsTheChangeAndTakesNoNewOne) {
    start(config(10));
    send();
    const auto feed = submit(config(12));
    ASSERT_TRUE(wait([&] { return live(); }));
    bool stopped = false;
    control_->shut_down(2s, [&] { stopped = true; });
    EXPECT_EQ(result(feed)["ending"], "interrupted");
    EXPECT_FALSE(submit(config(14)));
    EXPECT_FALSE(control_->changes().rollback({}, "ann", ""));
    traffic_.cancel();
    ASSERT_TRUE(wait([&] { return stopped; }));
    EXPECT_EQ(control_->history().change("C1")->ending, "interrupted");
    EXPECT_EQ(control_->history().active, RevisionNumber{1});
}

}  // namespace
}  // namespace plimsoll::control
