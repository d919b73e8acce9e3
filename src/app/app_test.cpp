// What a server does with its successor, its service manager and its journal; the whole of it is tests/e2e/upgrade.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>

#include "app/lendable_journal.h"
#include "app/privileges.h"
#include "app/service_manager.h"
#include "app/upgrade.h"
#include "net/loop.h"

namespace plimsoll::app {
namespace {

using namespace std::chrono_literals;

struct Directory {
    Directory() {
        char name[] = "/tmp/plimsoll-app-XXXXXX";
        path = ::mkdtemp(name);
    }
    ~Directory() { std::filesystem::remove_all(path); }
    std::string path;
};

// ---- the journal ---------------------------------------------------------------------------------------------------

TEST(LendableJournal, OneProcessHoldsIt) {
    const Directory directory;
    const std::string path = directory.path + "/journal.db";
    auto ours = LendableJournal::open(path);
    ASSERT_TRUE(ours);
    ASSERT_EQ((*ours)->append(Timestamp{1}, "revision", "r1", "{}"), 1u);
    EXPECT_FALSE(LendableJournal::open(path));

    (*ours)->lend();
    (*ours)->lend();
    EXPECT_EQ((*ours)->append(Timestamp{2}, "revision", "r2", "{}").error().code, Code::io);
    EXPECT_EQ((*ours)->append_all({}).error().code, Code::io);
    EXPECT_FALSE((*ours)->read(0, [](const store::Entry&) { return true; }));
    {
        auto theirs = LendableJournal::open(path);
        ASSERT_TRUE(theirs) << "lent means free";
        EXPECT_EQ((*ours)->take_back().error().code, Code::conflict);
        EXPECT_EQ((*theirs)->append(Timestamp{3}, "revision", "r2", "{}"), 2u);
    }
    EXPECT_EQ((*ours)->take_back(), 1u) << "one entry of theirs";
    EXPECT_EQ((*ours)->take_back(), 0u);
    EXPECT_EQ((*ours)->append(Timestamp{4}, "revision", "r3", "{}"), 3u);
}

// ---- the service manager -------------------------------------------------------------------------------------------

TEST(ServiceManager, IsTold) {
    const Directory directory;
    const std::string path = directory.path + "/notify";
    const net::Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM, 0));
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    path.copy(at.sun_path, sizeof at.sun_path - 1);
    ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
    ::setenv("NOTIFY_SOCKET", path.c_str(), 1);
    tell_service_manager("READY=1\nSTATUS=r1 serves");
    ::setenv("NOTIFY_SOCKET", (directory.path + "/nobody").c_str(), 1);
    tell_service_manager("READY=1");
    ::unsetenv("NOTIFY_SOCKET");
    tell_service_manager("READY=1");
    char text[100];
    ASSERT_GT(::recv(socket.get(), text, sizeof text, MSG_DONTWAIT), 0);
    EXPECT_TRUE(std::string_view(text).starts_with("READY=1\nSTATUS=r1 serves"));
    EXPECT_LT(::recv(socket.get(), text, sizeof text, MSG_DONTWAIT), 0) << "once";
    EXPECT_TRUE(reloading().starts_with("RELOADING=1\nMONOTONIC_USEC="));
}

TEST(ServiceManager, SocketsOfAnotherProcessAreNotOurs) {
    ::setenv("LISTEN_PID", "1", 1);
    ::setenv("LISTEN_FDS", "3", 1);
    EXPECT_TRUE(activated_sockets()->empty());
    EXPECT_EQ(std::getenv("LISTEN_FDS"), nullptr) << "nor a child's";
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "many", 1);
    EXPECT_FALSE(activated_sockets());
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "0", 1);
    EXPECT_TRUE(activated_sockets()->empty());
}

TEST(Privileges, AUserThatDoesNotExist) {
    EXPECT_EQ(drop_privileges("no-such-user-here", "/nowhere", "").error().code, Code::not_found);
}

// ---- the successor -------------------------------------------------------------------------------------------------

/// Runs an upgrade to a shell script until it failed; gives the reason. The script's descriptor 3 is the wire.
std::string failure_of(const std::string& program, std::vector<std::string> arguments, Duration patience) {
    auto network = *net::Loop::create();
    auto listening = *net::ListeningSockets::create({});
    std::string reason;
    bool lent = false;
    Upgrade upgrade(*network, listening,
                    {.program = program,
                     .arguments = std::move(arguments),
                     .patience = patience,
                     .watched = patience,
                     .lend = [&lent]() -> Result<void> {
                         lent = true;
                         return {};
                     },
                     .replaced = [](pid_t) { ADD_FAILURE() << "replaced"; },
                     .failed =
                         [&](const std::string& why) {
                             reason = why;
                             network->stop();
                         }});
    network->run();
    EXPECT_FALSE(lent);
    EXPECT_FALSE(listening->handed_over());
    return reason;
}

TEST(Upgrade, AProgramThatCannotStartReplacesNobody) {
    EXPECT_EQ(failure_of("/bin/false", {"false"}, 30s),
              "the new process ended before it was ready; it ended with exit code 1");
    EXPECT_EQ(failure_of("/nowhere", {"nowhere"}, 30s), "/nowhere cannot be started: No such file or directory");
    EXPECT_EQ(failure_of("/bin/sh", {"sh", "-c", "kill -SEGV $$"}, 30s),
              "the new process ended before it was ready; it ended with signal 11");
}

TEST(Upgrade, AProgramThatSaysNothingIsEnded) {
    EXPECT_EQ(failure_of("/bin/sleep", {"sleep", "1000"}, 50ms),
              "the new process was silent for 50ms; it ended with signal 15");
}

TEST(Upgrade, AProgramThatSaysSomethingElseIsEnded) {
    EXPECT_EQ(failure_of("/bin/sh", {"sh", "-c", "printf 'no port' >&3; exec sleep 1000"}, 30s),
              "the new process says: no port; it ended with signal 15");
}

TEST(Upgrade, AServerThatStopsEndsItsSuccessor) {
    auto network = *net::Loop::create();
    bool failed = false;
    {
        const Upgrade upgrade(*network, *net::ListeningSockets::create({}),
                              {.program = "/bin/sleep",
                               .arguments = {"sleep", "1000"},
                               .lend = []() -> Result<void> { return {}; },
                               .replaced = [](pid_t) {},
                               .failed = [&failed](const std::string&) { failed = true; }});
        EXPECT_TRUE(upgrade.under_way());
    }
    EXPECT_FALSE(failed);
}

TEST(Upgrade, APredecessorIsFoundOnlyWhereThereIsOne) {
    ::unsetenv("PLIMSOLL_SUCCEEDS");
    EXPECT_FALSE(Predecessor::find()->has_value());
    ::setenv("PLIMSOLL_SUCCEEDS", "9999", 1);
    EXPECT_FALSE(Predecessor::find());
    EXPECT_EQ(std::getenv("PLIMSOLL_SUCCEEDS"), nullptr);
}

}  // namespace
}  // namespace plimsoll::app
