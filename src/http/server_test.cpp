#include "http/server.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "http/client.h"
#include "net/loop.h"
#include "net/memory_network.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

const net::Address here = *net::Address::ip("10.0.0.1", 80);
const net::Address client = *net::Address::ip("10.0.0.9", 5000);

Task<Response> echo(Request request) {
    std::string text = request.method + " " + request.path + " ?" + request.query + " " + request.authority + " " +
                       std::string(request.headers.get("x-thing").value_or("-")) + " " + request.body + "\n";
    co_return Response::text(200, std::move(text));
}

/// A server on the memory network, and a raw connection to it.
class ServerTest : public testing::Test {
protected:
    void start(Server::Handler handler = echo, ServerOptions options = {}) {
        server = std::make_unique<Server>(network, std::move(handler), options);
        server->start(*network.listen(here, {}));
        network.run_until_idle();
    }
    std::unique_ptr<net::Stream> connect() {
        std::unique_ptr<net::Stream> stream = network.open(here, client);
        network.run_until_idle();
        return stream;
    }
    void send(net::Stream& stream, std::string_view bytes) {
        EXPECT_EQ(stream.try_write({&bytes, 1}).bytes, bytes.size());
        network.run_until_idle();
    }
    /// All that has come; "<end>" and "<reset>" for how it ended.
    std::string receive(net::Stream& stream) {
        std::string out;
        std::array<char, 1000> part;
        while (true) {
            const net::Io io = stream.try_read(part);
            if (io.state == net::Io::State::would_block) return out;
            if (io.state == net::Io::State::end) return out + "<end>";
            if (io.state == net::Io::State::failed) return out + "<reset>";
            out.append(part.data(), io.bytes);
            network.run_until_idle();
        }
    }
    std::string talk(net::Stream& stream, std::string_view bytes) {
        send(stream, bytes);
        return receive(stream);
    }
    template <class T>
    T get(Task<Result<T>> task) {
        std::optional<Result<T>> result = net::complete(network, std::move(task));
        EXPECT_TRUE(result.has_value());
        EXPECT_TRUE(result->has_value()) << result->error().detail;
        return **std::move(result);
    }

    net::MemoryNetwork network;
    std::unique_ptr<Server> server;
};

std::string status_of(const std::string& answer) { return answer.substr(0, answer.find("\r\n")); }

TEST_F(ServerTest, AnswersWholeRequests) {
    start();
    Request request{.method = "POST", .path = "/a%20b", .query = "c=d", .authority = "web.example", .body = "hello"};
    request.headers.add("X-Thing", "one");
    const Response response = get(fetch(network, here, request, Deadline::none()));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "POST /a%20b ?c=d web.example one hello\n");
    EXPECT_EQ(response.headers.get("content-type"), "text/plain; charset=utf-8");
    EXPECT_EQ(response.headers.get("date"), http_date(network.wall()));
    EXPECT_EQ(server->counts().requests, 1u);
    network.run_until_idle();
    EXPECT_EQ(server->counts().connections, 0u);
}

TEST_F(ServerTest, KeepsAConnectionForMany) {
    start();
    const auto connection = get(ClientConnection::open(network, here, Deadline::none()));
    const std::string wire = *serialise({.path = "/x"}, "a");
    for (int i = 0; i < 3; ++i) {
        const Answer answer = get(connection->exchange(wire, Method::get, Deadline::none()));
        EXPECT_EQ(answer.status, 200);
        EXPECT_EQ(answer.body_bytes, std::string("GET /x ? a - \n").size());
        EXPECT_TRUE(connection->usable());
    }
    EXPECT_EQ(server->counts().accepted, 1u);
    EXPECT_EQ(server->counts().requests, 3u);
}

TEST_F(ServerTest, AnswersPipelinedRequestsInOrder) {
    start();
    const auto stream = connect();
    const std::string answers = talk(*stream,
                                     "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n"
                                     "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
                                     "GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const std::size_t one = answers.find("GET /1"), two = answers.find("POST /2 ? a - hi"),
                      three = answers.find("GET /3");
    EXPECT_LT(one, two);
    EXPECT_LT(two, three);
    EXPECT_NE(three, std::string::npos) << answers;
    EXPECT_TRUE(answers.ends_with("<end>")) << answers;
}

TEST_F(ServerTest, TakesARequestByteByByte) {
    start();
    const auto stream = connect();
    for (char byte : std::string_view("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nh"))
        send(*stream, {&byte, 1});
    EXPECT_EQ(receive(*stream), "");
    EXPECT_TRUE(talk(*stream, "i").ends_with("POST / ? a - hi\n"));
}

TEST_F(ServerTest, HeadHasTheLengthAndNoBody) {
    start();
    const auto stream = connect();
    const std::string answer = talk(*stream, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_NE(answer.find("Content-Length: 15\r\n"), std::string::npos) << answer;
    EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(ServerTest, Http10ClosesUnlessAsked) {
    start();
    EXPECT_TRUE(talk(*connect(), "GET / HTTP/1.0\r\n\r\n").ends_with("<end>"));
    const std::string kept = talk(*connect(), "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    EXPECT_NE(kept.find("Connection: keep-alive\r\n"), std::string::npos);
    EXPECT_FALSE(kept.ends_with("<end>"));
}

TEST_F(ServerTest, RefusesWhatIsMalformedAndCloses) {
    start();
    const std::string answer =
        talk(*connect(), "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n");
    EXPECT_EQ(status_of(answer), "HTTP/1.1 400 Bad Request");
    EXPECT_TRUE(answer.ends_with("more than one Content-Length\n<end>")) << answer;
    EXPECT_EQ(server->counts().requests, 0u);
    EXPECT_EQ(server->counts().refused, 1u);
    EXPECT_EQ(status_of(talk(*connect(), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")),
              "HTTP/1.1 400 Bad Request");
}

TEST_F(ServerTest, RefusesBodiesOverTheLimit) {
    start(echo, {.body_bytes = 4});
    EXPECT_EQ(status_of(talk(*connect(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")),
              "HTTP/1.1 413 Content Too Large");
    EXPECT_EQ(status_of(talk(*connect(),
                             "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabc\r\n2\r\nde\r\n")),
              "HTTP/1.1 413 Content Too Large");
    EXPECT_EQ(status_of(talk(*connect(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd")),
              "HTTP/1.1 200 OK");
}

TEST_F(ServerTest, ContinuesOnlyWhenItWantsTheBody) {
    start(echo, {.body_bytes = 4});
    const auto stream = connect();
    EXPECT_EQ(talk(*stream, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"),
              "HTTP/1.1 100 Continue\r\n\r\n");
    EXPECT_EQ(status_of(talk(*stream, "hi")), "HTTP/1.1 200 OK");
    EXPECT_EQ(
        status_of(talk(*connect(), "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")),
        "HTTP/1.1 413 Content Too Large");
}

TEST_F(ServerTest, SlowClientsAreTimedOut) {
    start();
    const auto head = connect();
    send(*head, "GET / HT");
    const auto body = connect();
    send(*body, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    const auto idle = connect();
    network.advance(11s);
    EXPECT_EQ(status_of(receive(*head)), "HTTP/1.1 408 Request Timeout");
    EXPECT_EQ(receive(*body), "");
    network.advance(20s);
    EXPECT_EQ(status_of(receive(*body)), "HTTP/1.1 408 Request Timeout");
    EXPECT_EQ(receive(*idle), "");
    network.advance(30s);
    EXPECT_EQ(receive(*idle), "<end>") << "an idle connection is closed without a word";
    network.advance(5s);
    EXPECT_EQ(server->counts().connections, 0u) << "lingering ends by itself";
}

TEST_F(ServerTest, AnswersOfAHandlerThatWouldSplitAre500) {
    start([](Request) -> Task<Response> {
        Response response = Response::text(200, "x");
        response.headers.add("X", "a\r\nSet-Cookie: b");
        co_return response;
    });
    const std::string answer = talk(*connect(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(status_of(answer), "HTTP/1.1 500 Internal Server Error");
    EXPECT_EQ(answer.find("Set-Cookie"), std::string::npos);
}

TEST_F(ServerTest, NoContentHasNoFraming) {
    start([](Request) -> Task<Response> {
        Response response;
        response.status = 204;
        co_return response;
    });
    const std::string answer = talk(*connect(), "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_EQ(answer.find("Content-Length"), std::string::npos) << answer;
}

TEST_F(ServerTest, TurnsAwayConnectionsOverTheLimit) {
    start(echo, {.connections = 1});
    const auto first = connect();
    EXPECT_EQ(status_of(receive(*connect())), "HTTP/1.1 503 Service Unavailable");
    EXPECT_EQ(server->counts().over_limit, 1u);
    EXPECT_EQ(status_of(talk(*first, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")), "HTTP/1.1 200 OK");
}

// ---- streaming -----------------------------------------------------------------------------------------------------

/// One line a second, then the end; or an error after `fails_after` lines.
Task<Result<void>> tell(net::Network& network, BodyWriter& out, int lines, int fails_after) {
    for (int i = 0; i < lines; ++i) {
        if (i == fails_after) co_return fail(Code::internal, "lost the thread");
        co_await async::ok(out.write("line " + std::to_string(i) + "\n"));
        co_await network.sleep_until(network.now() + 1s);
    }
    co_return Result<void>();
}

Server::Handler telling(net::Network& network, int lines, int fails_after = -1) {
    return [&network, lines, fails_after](Request) -> Task<Response> {
        // Not a coroutine with captures: the task is made by a function that takes values.
        struct Make {
            static Task<Response> response(net::Network& net, int count, int fails) {
                Response answer;
                answer.stream = [&net, count, fails](BodyWriter& out) { return tell(net, out, count, fails); };
                co_return answer;
            }
        };
        return Make::response(network, lines, fails_after);
    };
}

TEST_F(ServerTest, StreamsPiecesAsTheyCome) {
    start(telling(network, 2));
    const auto stream = connect();
    const std::string begin = talk(*stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    EXPECT_TRUE(begin.ends_with("Transfer-Encoding: chunked\r\n\r\n7\r\nline 0\n\r\n")) << begin;
    network.advance(1s);
    EXPECT_EQ(receive(*stream), "7\r\nline 1\n\r\n");
    network.advance(1s);
    EXPECT_EQ(receive(*stream), "0\r\n\r\n");
    EXPECT_TRUE(talk(*stream, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").ends_with("chunked\r\n\r\n")) << "and goes on";
}

TEST_F(ServerTest, StreamsPlainBytesToHttp10) {
    start(telling(network, 1));
    const auto stream = connect();
    send(*stream, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    network.advance(1s);
    const std::string answer = receive(*stream);
    EXPECT_TRUE(answer.ends_with("Connection: close\r\n\r\nline 0\n<end>")) << answer;
}

TEST_F(ServerTest, AStreamThatFailsIsCutSoThatTheClientKnows) {
    start(telling(network, 3, 1));
    const auto stream = connect();
    send(*stream, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    network.advance(2s);
    const std::string answer = receive(*stream);
    EXPECT_FALSE(answer.ends_with("0\r\n\r\n<end>")) << answer;
    EXPECT_TRUE(answer.ends_with("<reset>")) << answer;
}

TEST_F(ServerTest, LinesReachTheClientOneByOne) {
    start(telling(network, 3));
    std::vector<std::pair<std::string, Instant>> seen;
    const Instant begin = network.now();
    const auto keep = [&](std::string_view line) { return seen.emplace_back(line, network.now()), true; };
    const Response response = get(fetch_lines(network, here, {}, keep, Deadline::none()));
    EXPECT_EQ(response.status, 200);
    ASSERT_EQ(seen.size(), 3u);
    EXPECT_EQ(seen[0].first, "line 0");
    EXPECT_EQ(seen[2].first, "line 2");
    EXPECT_EQ(seen[0].second, begin);
    EXPECT_GE(seen[2].second - begin, Duration(2s));
}

// ---- stopping ------------------------------------------------------------------------------------------------------

TEST_F(ServerTest, StopClosesIdleConnectionsAndLetsRequestsEnd) {
    start(telling(network, 2));
    const auto idle = connect();
    const auto busy = connect();
    send(*busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    async::Scope scope;
    scope.spawn(server->stop(Deadline::after(network.now(), 10s)));
    network.run_until_idle();
    EXPECT_EQ(receive(*idle), "<end>");
    EXPECT_EQ(scope.running(), 1u) << "waits for the request in hand";
    EXPECT_EQ(network.open(here, client), nullptr) << "nobody listens any more";
    network.advance(2s);
    EXPECT_EQ(scope.running(), 0u);
    EXPECT_TRUE(receive(*busy).ends_with("0\r\n\r\n<end>"));
    EXPECT_EQ(server->counts().connections, 0u);
}

TEST_F(ServerTest, StopCutsWhatIsNotDoneAtTheDeadline) {
    start(telling(network, 1000));
    const auto busy = connect();
    send(*busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    async::Scope scope;
    scope.spawn(server->stop(Deadline::after(network.now(), 5s)));
    network.advance(4s);
    EXPECT_EQ(scope.running(), 1u);
    network.advance(2s);
    EXPECT_EQ(scope.running(), 0u);
    EXPECT_EQ(server->counts().connections, 0u);
    server.reset();
    network.advance(10s);
}

TEST_F(ServerTest, StopAnswersWhoeverHasConnectedAndAsked) {
    start();
    const auto stream = network.open(here, client);  // still in the backlog
    const std::string_view request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    ASSERT_EQ(stream->try_write({&request, 1}).bytes, request.size());
    async::Scope scope;
    scope.spawn(server->stop(Deadline::after(network.now(), 5s)));
    network.run_until_idle();
    const std::string answer = receive(*stream);
    EXPECT_EQ(status_of(answer), "HTTP/1.1 200 OK");
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
    EXPECT_EQ(scope.running(), 0u);
}

TEST_F(ServerTest, LeavesNothingBehind) {
    start();
    const auto stream = connect();
    send(*stream, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel");
    server.reset();
    network.run_until_idle();
    EXPECT_EQ(network.streams(), 1u) << "only the client's side is left";
}

// ---- on the kernel -------------------------------------------------------------------------------------------------

TEST(ServerOnKernel, TcpAndUnixSocket) {
    std::unique_ptr<net::Loop> loop = *net::Loop::create();
    std::string directory = testing::TempDir() + "plimsoll-http-XXXXXX";
    ASSERT_NE(::mkdtemp(directory.data()), nullptr);
    const net::Address path = *net::Address::unix_socket(directory + "/s");
    {
        Server server(*loop, [](Request request) -> Task<Response> {
            co_return Response::text(200, request.unix_socket ? "unix" : "tcp");
        });
        auto tcp = *loop->listen(*net::Address::ip("127.0.0.1", 0), {});
        const net::Address port = tcp->address();
        server.start(std::move(tcp));
        server.start(*loop->listen(path, {}));
        const Deadline deadline = Deadline::after(loop->now(), 10s);
        const auto first = net::complete(*loop, fetch(*loop, port, {}, deadline));
        const auto second = net::complete(*loop, fetch(*loop, path, {}, deadline));
        ASSERT_TRUE(first && *first && second && *second);
        EXPECT_EQ((*first)->body, "tcp");
        EXPECT_EQ((*second)->body, "unix");
        struct Stop {
            static Task<bool> run(Server& which, Deadline until) {
                co_await which.stop(until);
                co_return true;
            }
        };
        EXPECT_TRUE(net::complete(*loop, Stop::run(server, deadline)).has_value());
    }
    ::unlink((directory + "/s").c_str());
    ::rmdir(directory.c_str());
}

}  // namespace
}  // namespace plimsoll::http
