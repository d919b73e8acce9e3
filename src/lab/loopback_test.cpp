// The lab's moving parts against each other on loopback: real sockets, free ports, fractions of a second.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "lab/backends.h"
#include "lab/hook.h"
#include "lab/load.h"
#include "lab/process.h"

namespace plimsoll::lab {
namespace {

using namespace std::chrono_literals;

BackendsSettings one(bool fast) {
    BackendsSettings settings;
    settings.count = 1;
    settings.first_port = 0;
    settings.backend.fast = fast;
    return settings;
}

LoadSettings towards(std::uint16_t port, Duration duration) {
    LoadSettings settings;
    settings.port = port;
    settings.duration = duration;
    settings.slow = 5s;  // a busy build machine is no finding of this test
    return settings;
}

TEST(Loopback, EveryRequestIsAnsweredAsItAsked) {
    const auto backends = Backends::start(one(true));
    ASSERT_TRUE(backends) << backends.error().detail;
    auto load = Load::start(towards((*backends)->port(0), 400ms), Traffic(TrafficModel{}, 1500, 3));
    ASSERT_TRUE(load) << load.error().detail;
    const LoadReport report = (*load)->wait();
    EXPECT_GT(report.due, 400u);
    EXPECT_EQ(report.answered, report.due);
    EXPECT_EQ(report.failed(), 0u);
    EXPECT_EQ(report.unexpected, 0u);  // statuses and sizes as asked: 200, 206, 301, 304, 404, HEAD and POST
    EXPECT_EQ(report.closed_unexpectedly, 0u);
    EXPECT_EQ(report.backends.at("b0"), report.answered);
    EXPECT_EQ((*backends)->counts(0).requests, report.answered);
    EXPECT_GT(report.statuses.size(), 3u);
}

TEST(Loopback, FewConnectionsServeManyClients) {
    const auto backends = Backends::start(one(true));
    ASSERT_TRUE(backends);
    LoadSettings settings = towards((*backends)->port(0), 300ms);
    settings.connections = 4;
    auto load = Load::start(settings, Traffic(TrafficModel{}, 1000, 4));
    ASSERT_TRUE(load);
    const LoadReport report = (*load)->wait();
    EXPECT_EQ(report.answered, report.due);
    EXPECT_GT(report.connections, 4u);  // each client has its own address, so the four are opened again and again
}

TEST(Loopback, ADeadBackendRefusesAndARevivedOneServes) {
    const auto backends = Backends::start(one(true));
    ASSERT_TRUE(backends);
    ASSERT_TRUE((*backends)->set_faults(0, {.dead = true}));
    const std::uint16_t port = (*backends)->port(0);
    auto dead = Load::start(towards(port, 100ms), Traffic(TrafficModel{}, 500, 5));
    const LoadReport refused = (*dead)->wait();
    EXPECT_GT(refused.due, 10u);
    EXPECT_EQ(refused.lost(), refused.due);
    ASSERT_TRUE((*backends)->set_faults(0, {}));
    auto alive = Load::start(towards(port, 100ms), Traffic(TrafficModel{}, 500, 5));
    const LoadReport served = (*alive)->wait();
    EXPECT_EQ(served.answered, served.due);
}

TEST(Loopback, DyingResetsWhatIsUnderWay) {
    const auto backends = Backends::start(one(false));
    ASSERT_TRUE(backends);
    ASSERT_TRUE((*backends)->set_faults(0, {.hang = true}));
    auto load = Load::start(towards((*backends)->port(0), 100ms), Traffic(TrafficModel{}, 300, 6));
    while ((*load)->so_far().due < 5) std::this_thread::yield();
    ASSERT_TRUE((*backends)->set_faults(0, {.dead = true}));
    const LoadReport report = (*load)->wait();
    EXPECT_EQ(report.answered, 0u);
    EXPECT_EQ(report.lost(), report.due);
}

TEST(Loopback, AFailShareIsSeenAsServerErrors) {
    const auto backends = Backends::start(one(true));
    ASSERT_TRUE(backends);
    ASSERT_TRUE((*backends)->set_faults(0, {.fail_share = 1}));
    auto load = Load::start(towards((*backends)->port(0), 100ms), Traffic(TrafficModel{}, 500, 7));
    const LoadReport report = (*load)->wait();
    EXPECT_EQ(report.server_errors, report.due);
    EXPECT_EQ(report.lost(), 0u);
}

TEST(Loopback, TheHookKeepsWhatItIsTold) {
    const auto hook = Hook::start();
    ASSERT_TRUE(hook);
    const auto finished = run({"curl", "-s", "-d", "the team", (*hook)->url()}, 10s);
    ASSERT_TRUE(finished);
    if (finished->exit_code == 127) GTEST_SKIP() << "no curl here";
    EXPECT_EQ(finished->exit_code, 0);
    ASSERT_EQ((*hook)->messages().size(), 1u);
    EXPECT_EQ((*hook)->messages()[0].body, "the team");
}

TEST(ControlOrder, NamesASwitchAndKeepsTheOthers) {
    const std::vector<BackendFaults> now{{}, {.slow = 4}};
    const auto order = parse_order("/b1?fail=0.25&capacity=400", now);
    ASSERT_TRUE(order);
    EXPECT_EQ(order->index, 1u);
    EXPECT_EQ(order->faults.slow, 4);
    EXPECT_EQ(order->faults.fail_share, 0.25);
    EXPECT_EQ(order->capacity, 400);
    EXPECT_EQ(parse_order("/b2", now).error().code, Code::not_found);
    EXPECT_EQ(parse_order("/x", now).error().code, Code::not_found);
    EXPECT_EQ(parse_order("/b0?fail=2", now).error().code, Code::invalid);
    EXPECT_EQ(parse_order("/b0?slow=", now).error().code, Code::invalid);
}

TEST(Process, TellsHowAProgramEnded) {
    const auto three = run({"sh", "-c", "echo out; echo err >&2; exit 3"}, 10s);
    ASSERT_TRUE(three);
    EXPECT_EQ(three->exit_code, 3);
    EXPECT_EQ(three->output, "out\n");
    EXPECT_EQ(three->errors, "err\n");
    EXPECT_EQ(run({"sh", "-c", "kill -9 $$"}, 10s)->exit_code, 128 + 9);
    EXPECT_EQ(run({"/nowhere/at-all"}, 10s)->exit_code, 127);
    EXPECT_EQ(run({"sleep", "60"}, 50ms)->exit_code, -1);
}

TEST(Process, CountsItsCpuTime) {
    const auto mine = cpu_time(::getpid());
    ASSERT_TRUE(mine);
    EXPECT_GE(mine->count(), 0);
    EXPECT_FALSE(cpu_time(-5));
}

}  // namespace
}  // namespace plimsoll::lab
