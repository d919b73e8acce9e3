// HTTP/2 against other people's: nghttp and h2load ask Http2Server, Http2Client asks nghttpd, over loopback. Skipped
// where they are not installed (packages nghttp2-client, nghttp2-server).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/http2_client.h"
#include "http/http2_server.h"
#include "net/loop.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

bool installed(const std::string& program) {
    for (const char* directory : {"/usr/bin/", "/usr/sbin/", "/usr/local/bin/"}) {
        if (std::filesystem::exists(directory + program)) return true;
    }
    return false;
}

/// A program of somebody else's, in a directory of its own; ended with this.
class Child {
public:
    Child(const std::filesystem::path& directory, std::vector<std::string> words) : output_(directory / "output") {
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, 1, output_.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
        posix_spawn_file_actions_adddup2(&actions, 1, 2);
        std::vector<char*> arguments;
        for (std::string& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        if (posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ) != 0) pid_ = -1;
        posix_spawn_file_actions_destroy(&actions);
    }
    Child(const Child&) = delete;
    ~Child() {
        if (pid_ <= 0 || ended()) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    bool ended() {
        if (pid_ > 0 && ::waitpid(pid_, &status_, WNOHANG) == pid_) pid_ = 0;
        return pid_ <= 0;
    }
    [[nodiscard]] std::string output() const {
        std::ifstream file(output_, std::ios::binary);
        return {(std::istreambuf_iterator<char>(file)), {}};
    }

private:
    std::filesystem::path output_;
    pid_t pid_ = -1;
    int status_ = 0;
};

class Http2PeersTest : public testing::Test {
protected:
    void SetUp() override {
        for (const char* program : {"nghttp", "h2load", "nghttpd"}) {
            if (!installed(program)) GTEST_SKIP() << program << " is not installed";
        }
        std::string name = (std::filesystem::temp_directory_path() / "http2-peers-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory = name;
        loop = *net::Loop::create();
        work = std::make_unique<async::Scope>();
    }
    void TearDown() override {
        work.reset();
        listener.reset();
        loop.reset();
        if (!directory.empty()) std::filesystem::remove_all(directory);
    }

    std::string serve() {
        listener = *loop->listen(*net::Address::ip("127.0.0.1", 0), {});
        work->spawn(accept_all());
        return "http://127.0.0.1:" + std::to_string(listener->address().port());
    }
    Task<void> accept_all() {
        while (true) {
            Result<std::unique_ptr<net::Stream>> stream = co_await listener->accept(Deadline::none());
            if (!stream) co_return;
            work->spawn(connection(*std::move(stream)));
        }
    }
    Task<void> connection(std::unique_ptr<net::Stream> stream) {
        Http2Server server(
            *loop, *stream, {},
            [this](std::unique_ptr<ServerStream> request) { work->spawn(answer(std::move(request))); }, counts);
        ends.push_back(co_await server.run());
    }
    /// "/n/1234" is answered with that many bytes, anything else with what was sent.
    Task<void> answer(std::unique_ptr<ServerStream> stream) {
        const Deadline deadline = Deadline::after(loop->now(), 30s);
        std::string body;
        for (BodyPiece piece = stream->take();; piece = stream->take()) {
            body.append(piece.data);
            if (piece.ended) break;
            const Result<void> more = co_await stream->more(deadline);
            if (!more) co_return;
        }
        const std::string_view path = stream->head().path();
        if (path.starts_with("/n/")) body.assign(parse_decimal(path.substr(3)).value, 'x');
        Draft draft;
        draft.status = 200;
        draft.framing = {Framing::Kind::length, body.size()};
        draft.add("server", "plimsoll");
        (void)co_await stream->send({.head = &draft, .data = body, .last = true}, deadline);
    }

    /// Runs it to its end while the loop serves.
    std::string run(std::vector<std::string> words) {
        Child child(directory, std::move(words));
        (void)net::complete(*loop, ended(&child));
        return child.output();
    }
    Task<bool> ended(Child* child) {
        while (!child->ended()) co_await loop->sleep_until(loop->now() + 2ms);
        co_return true;
    }

    Task<Result<std::string>> fetch(Http2Client* client, std::string target, std::string body) {
        const Deadline deadline = Deadline::after(loop->now(), 20s);
        std::unique_ptr<ClientStream> stream = co_await async::ok(client->open());
        Draft draft;
        draft.method = body.empty() ? "GET" : "POST";
        draft.scheme = "http";
        draft.authority = "localhost";
        draft.target = target;
        co_await async::ok(stream->send({.head = &draft, .data = body, .last = true}, deadline));
        co_await async::ok(stream->read_head(deadline));
        std::string out = std::to_string(stream->head().status) + " ";
        for (BodyPiece piece = stream->take();; piece = stream->take()) {
            out.append(piece.data);
            if (piece.ended) break;
            co_await async::ok(stream->more(deadline));
        }
        co_return out;
    }

    Task<bool> pause() {
        co_await loop->sleep_until(loop->now() + 10ms);
        co_return true;
    }
    Task<void> use(Http2Client* client, std::optional<Http2End>* end) { *end = co_await client->run(); }
    Task<void> keep(Http2Client* client, std::optional<Result<std::string>>* into) {
        *into = co_await fetch(client, "/small", "");
    }
    Task<bool> settled(std::vector<std::optional<Result<std::string>>>* all) {
        for (const auto& one : *all) {
            while (!one) co_await loop->sleep_until(loop->now() + 1ms);
        }
        co_return true;
    }
    Task<bool> gone(std::optional<Http2End>* end) {
        while (!*end) co_await loop->sleep_until(loop->now() + 1ms);
        co_return true;
    }

    std::filesystem::path directory;
    std::unique_ptr<net::Loop> loop;
    std::unique_ptr<net::Listener> listener;
    Http2Counts counts;
    std::vector<Http2End> ends;
    std::unique_ptr<async::Scope> work;
};

TEST_F(Http2PeersTest, NghttpGetsBodiesAndUploads) {
    const std::string base = serve();
    const std::string url = base + "/n/300000";
    const std::string got = run({"nghttp", "--no-verify-peer", url, url + "?again", base + "/n/0"});
    EXPECT_EQ(got.size(), 600'000u) << got.substr(0, 200);
    std::ofstream(directory / "upload") << std::string(700'000, 'u');
    const std::string echoed = run({"nghttp", "-d", (directory / "upload").string(), base + "/echo"});
    EXPECT_EQ(echoed, std::string(700'000, 'u')) << echoed.substr(0, 200);
    const std::string talk = run({"nghttp", "-nv", base + "/n/5"});
    EXPECT_NE(talk.find(":status: 200"), std::string::npos) << talk;
    EXPECT_NE(talk.find("server: plimsoll"), std::string::npos);
    EXPECT_EQ(counts.malformed + counts.refused + counts.resets_sent, 0u);
    for (const Http2End& end : ends) EXPECT_EQ(end.why, Http2End::Why::closed) << end.detail;
}

TEST_F(Http2PeersTest, H2loadGetsAllAnswers) {
    const std::string base = serve();
    const std::string report = run({"h2load", "-n", "20000", "-c", "4", "-m", "100", base + "/n/100"});
    EXPECT_NE(report.find("20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout"),
              std::string::npos)
        << report;
    EXPECT_EQ(counts.streams, 20000u);
    EXPECT_EQ(counts.resets_sent, 0u);
    const std::string large = run({"h2load", "-n", "200", "-c", "2", "-m", "20", base + "/n/1000000"});
    EXPECT_NE(large.find("200 succeeded, 0 failed"), std::string::npos) << large;
}

TEST_F(Http2PeersTest, AsksNghttpd) {
    std::ofstream(directory / "small") << "hello";
    std::ofstream(directory / "large") << std::string(3'000'000, 'z');
    // A port that is free now; nobody else listens on loopback in between.
    std::uint16_t port = 0;
    {
        const auto probe = *loop->listen(*net::Address::ip("127.0.0.1", 0), {});
        port = probe->address().port();
    }
    const Child child(directory, {"nghttpd", "--no-tls", "-a", "127.0.0.1", "-d", directory.string(),
                                  "--max-concurrent-streams=100", std::to_string(port)});
    std::unique_ptr<net::Stream> stream;
    for (int tries = 0; tries < 200 && !stream; ++tries) {
        auto connected =
            net::complete(*loop, loop->connect(*net::Address::ip("127.0.0.1", port), Deadline::after(loop->now(), 1s)));
        if (connected->has_value()) {
            stream = **std::move(connected);
        } else {
            (void)net::complete(*loop, pause());
        }
    }
    ASSERT_TRUE(stream) << child.output();
    Http2Client client(*loop, *stream, {}, counts);
    std::optional<Http2End> end;
    work->spawn(use(&client, &end));
    EXPECT_EQ(net::complete(*loop, fetch(&client, "/small", ""))->value(), "200 hello");
    EXPECT_EQ(net::complete(*loop, fetch(&client, "/large", ""))->value().size(), 3'000'004u);
    EXPECT_EQ(net::complete(*loop, fetch(&client, "/missing", ""))->value().substr(0, 3), "404");
    EXPECT_EQ(net::complete(*loop, fetch(&client, "/small", std::string(2'000'000, 'u')))->value().substr(0, 3), "200");
    std::vector<std::optional<Result<std::string>>> many(90);
    for (auto& one : many) work->spawn(keep(&client, &one));
    (void)net::complete(*loop, settled(&many));
    for (const auto& one : many) EXPECT_EQ(one->value(), "200 hello");
    EXPECT_EQ(counts.malformed, 0u);
    client.shut_down();
    (void)net::complete(*loop, gone(&end));
    EXPECT_EQ(end->why, Http2End::Why::shut_down) << end->detail;
    work.reset();
}

}  // namespace
}  // namespace plimsoll::http
