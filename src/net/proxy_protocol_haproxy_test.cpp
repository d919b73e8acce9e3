// What HAProxy says and hears, when it is installed: an implementation that is not ours.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "net/kernel.h"
#include "net/proxy_protocol.h"

namespace plimsoll::net {
namespace {

constexpr const char* haproxy = "/usr/sbin/haproxy";
constexpr int patience_ms = 10'000;  // for a reader that will never come

Address local_of(int fd) {
    sockaddr_storage storage{};
    socklen_t length = sizeof storage;
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
    return Address::from_kernel(storage, length);
}

Descriptor listening() {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM, 0));  // without CLOEXEC: HAProxy is handed some of them
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&in), sizeof in), 0);
    EXPECT_EQ(::listen(socket.get(), 16), 0);
    return socket;
}

Descriptor connected(const Address& to) {
    Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage storage;
    const auto length = static_cast<socklen_t>(to.to_kernel(storage));
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length), 0);
    return socket;
}

bool readable(int fd) {
    pollfd wait{fd, POLLIN, 0};
    return ::poll(&wait, 1, patience_ms) == 1;
}

/// Until `enough` says so, the end, or nothing for a long time.
template <class Enough>
std::string read_until(int fd, Enough enough) {
    std::string bytes;
    char buffer[4096];
    while (!enough(bytes) && readable(fd)) {
        const ssize_t n = ::read(fd, buffer, sizeof buffer);
        if (n <= 0) break;
        bytes.append(buffer, static_cast<std::size_t>(n));
    }
    return bytes;
}

class HaproxyTest : public testing::Test {
protected:
    void SetUp() override {
        if (!std::filesystem::exists(haproxy)) GTEST_SKIP() << "no haproxy here";
        char name[] = "/tmp/plimsoll-haproxy-XXXXXX";
        ASSERT_NE(::mkdtemp(name), nullptr);
        directory_ = name;
    }
    void TearDown() override {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        if (!directory_.empty()) std::filesystem::remove_all(directory_);
    }
    /// Its listening sockets are ours already, so that nobody waits for it to start.
    void start(const std::string& sections) {
        const std::string file = directory_ + "/haproxy.cfg";
        std::ofstream(file)
            << "global\n  nbthread 1\n  maxconn 50\ndefaults\n  timeout connect 5s\n  timeout client 9s\n"
               "  timeout server 9s\n"
            << sections;
        pid_ = ::fork();
        if (pid_ == 0) {
            ::execl(haproxy, haproxy, "-db", "-q", "-f", file.c_str(), nullptr);
            ::_exit(127);
        }
    }

    std::string directory_;
    pid_t pid_ = -1;
};

TEST_F(HaproxyTest, WeUnderstandWhatItSends) {
    for (const std::string option :
         {"send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"}) {
        SCOPED_TRACE(option);
        const Descriptor front = listening(), back = listening();
        start("listen l\n  mode tcp\n  unique-id-format %pid-%ts\n  bind fd@" + std::to_string(front.get()) +
              "\n  server s " + local_of(back.get()).text() + " " + option + "\n");
        const Descriptor client = connected(local_of(front.get()));
        ASSERT_EQ(::write(client.get(), "hello", 5), 5);
        ASSERT_TRUE(readable(back.get()));
        const Descriptor taken(::accept(back.get(), nullptr, nullptr));
        const std::string bytes =
            read_until(taken.get(), [](const std::string& so_far) { return so_far.ends_with("hello"); });
        const ProxyHeader header = decode_proxy_header(bytes);
        ASSERT_EQ(header.state, ProxyHeader::State::done) << header.reason << ": " << bytes;
        EXPECT_EQ(header.source, local_of(client.get()));
        EXPECT_EQ(header.destination, local_of(front.get()));
        EXPECT_EQ(bytes.substr(header.consumed), "hello");
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }
}

TEST_F(HaproxyTest, ItUnderstandsWhatWeSend) {
    const Descriptor front = listening();
    start("frontend f\n  mode http\n  bind fd@" + std::to_string(front.get()) +
          " accept-proxy\n  http-request return status 200 content-type text/plain "
          "lf-string \"[%[src]|%[src_port]|%[dst]|%[dst_port]]\"\n");
    struct Case {
        const char *source, *destination;
        std::string_view said;
    };
    for (const auto append : {append_proxy_v1, append_proxy_v2}) {
        for (const Case& one : {Case{"192.0.2.1", "192.0.2.2", "[192.0.2.1|4711|192.0.2.2|443]"},
                                Case{"2001:db8::1", "2001:db8::2", "[2001:db8::1|4711|2001:db8::2|443]"}}) {
            std::string bytes;
            append(bytes, *Address::ip(one.source, 4711), *Address::ip(one.destination, 443));
            bytes += "GET / HTTP/1.0\r\n\r\n";
            const Descriptor client = connected(local_of(front.get()));
            ASSERT_EQ(::write(client.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
            const std::string answer = read_until(client.get(), [](const std::string&) { return false; });
            EXPECT_NE(answer.find(one.said), std::string::npos) << answer;
        }
    }
    for (const auto append : {append_proxy_v1_local, append_proxy_v2_local}) {
        std::string bytes;
        append(bytes);
        bytes += "GET / HTTP/1.0\r\n\r\n";
        const Descriptor client = connected(local_of(front.get()));
        ASSERT_EQ(::write(client.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
        const std::string answer = read_until(client.get(), [](const std::string&) { return false; });
        const Address us = local_of(client.get());
        EXPECT_NE(answer.find("[" + us.host() + "|" + std::to_string(us.port()) + "|"), std::string::npos) << answer;
    }
}

}  // namespace
}  // namespace plimsoll::net
