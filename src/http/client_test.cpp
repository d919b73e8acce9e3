#include "http/client.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "async/scope.h"
#include "http/message.h"
#include "net/memory_network.h"

namespace plimsoll::http {
namespace {

using async::Deadline;
using async::Task;
using namespace std::chrono_literals;

const net::Address there = *net::Address::ip("10.0.0.1", 80);

/// Takes one connection, reads until the request's head has ended, says `answer`, and closes if asked.
Task<void> say(std::unique_ptr<net::Listener> listener, std::string answer, bool close, std::string& request) {
    Result<std::unique_ptr<net::Stream>> stream = co_await listener->accept(Deadline::none());
    if (!stream) co_return;
    std::string buffer(10'000, '\0');
    while (request.find("\r\n\r\n") == std::string::npos) {
        const Result<std::size_t> n = co_await (*stream)->read(buffer, Deadline::none());
        if (!n || *n == 0) co_return;
        request.append(buffer, 0, *n);
    }
    (void)co_await (*stream)->write_all(answer, Deadline::none());
    if (close) co_return;
    (void)co_await (*stream)->read(buffer, Deadline::none());
}

class ClientTest : public testing::Test {
protected:
    void answering(std::string answer, bool close = true) {
        request.clear();
        scope.spawn(say(*network.listen(there, {}), std::move(answer), close, request));
    }
    Result<Response> ask(Request what = {}, ClientOptions options = {}) {
        const Deadline deadline = Deadline::after(network.now(), 3s);
        auto result = net::complete(network, fetch(network, there, std::move(what), deadline, options));
        return result ? std::move(*result) : fail(Code::internal, "the network stopped");
    }
    void expect_error(const Result<Response>& result, Code code, std::string_view detail) {
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, code) << result.error().detail;
        EXPECT_NE(result.error().detail.find(detail), std::string::npos) << result.error().detail;
    }

    net::MemoryNetwork network;
    std::string request;
    async::Scope scope;
};

TEST_F(ClientTest, SendsOneWholeRequest) {
    answering("HTTP/1.1 201 Created\r\nContent-Length: 2\r\nX: y\r\n\r\nok");
    const Result<Response> response =
        ask({.method = "POST", .path = "/a?b", .headers = {{"X-Thing", "1"}, {"Content-Length", "99"}}, .body = "{}"});
    ASSERT_TRUE(response.has_value()) << response.error().detail;
    EXPECT_EQ(response->status, 201);
    EXPECT_EQ(response->body, "ok");
    EXPECT_EQ(response->headers.get("x"), "y");
    EXPECT_EQ(request,
              "POST /a?b HTTP/1.1\r\nHost: 10.0.0.1:80\r\nX-Thing: 1\r\nConnection: close\r\n"
              "Content-Length: 2\r\n\r\n{}");
}

TEST_F(ClientTest, ReadsChunkedAndUntilClose) {
    answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n");
    EXPECT_EQ(ask()->body, "abcde");
    answering("HTTP/1.1 200 OK\r\n\r\nall of this");
    EXPECT_EQ(ask()->body, "all of this");
}

TEST_F(ClientTest, SkipsInterimAnswers) {
    answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nx");
    const Result<Response> response = ask();
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "x");
    EXPECT_FALSE(response->headers.get("link").has_value());
}

TEST_F(ClientTest, EndlessInterimAnswersAreAnError) {
    std::string many;
    for (int i = 0; i < 20; ++i) many += "HTTP/1.1 100 Continue\r\n\r\n";
    answering(many + "HTTP/1.1 200 OK\r\n\r\n");
    expect_error(ask(), Code::protocol, "interim");
}

TEST_F(ClientTest, NobodyThere) {
    const Result<Response> response = ask();
    ASSERT_FALSE(response.has_value());
    EXPECT_EQ(response.error().code, Code::refused);
    EXPECT_EQ(response.error().side, Side::upstream);
    EXPECT_EQ(response.error().retry, Retry::yes) << "nothing was sent";
}

TEST_F(ClientTest, ClosedWithoutAnAnswer) {
    answering("");
    const Result<Response> response = ask();
    expect_error(response, Code::closed, "without an answer");
    EXPECT_EQ(response.error().retry, Retry::no) << "it may have been done";
}

TEST_F(ClientTest, CutAnswersAreNotAnswers) {
    answering("HTTP/1.1 200 OK\r\nContent-Le");
    expect_error(ask(), Code::protocol, "within the head");
    answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc");
    expect_error(ask(), Code::protocol, "within the body");
    answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    expect_error(ask(), Code::protocol, "within the body");
}

TEST_F(ClientTest, MalformedAnswers) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nabcde");
    expect_error(ask(), Code::protocol, "more than one Content-Length");
    answering("HTTP/1.1 101 Switching Protocols\r\n\r\n");
    expect_error(ask(), Code::protocol, "nobody asked for");
}

TEST_F(ClientTest, DeadlineCoversAll) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", false);
    const Instant begin = network.now();
    const Result<Response> response = ask();
    ASSERT_FALSE(response.has_value());
    EXPECT_EQ(response.error().code, Code::timeout);
    EXPECT_EQ(network.now() - begin, Duration(3s));
}

TEST_F(ClientTest, BodiesAreLimited) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde");
    EXPECT_TRUE(ask({}, {.body_bytes = 5}).has_value());
    answering("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef");
    expect_error(ask({}, {.body_bytes = 5}), Code::limit, "more than 5 bytes");
}

TEST_F(ClientTest, WillNotSendWhatIsNotOneRequest) {
    expect_error(ask({.path = "/a b"}), Code::invalid, "path");
    expect_error(ask({.path = "/\r\nX: y"}), Code::invalid, "path");
    expect_error(ask({.query = "a#b"}), Code::invalid, "path");
    expect_error(ask({.method = "GET /"}), Code::invalid, "method");
    expect_error(ask({.authority = "a\r\nX: y"}), Code::invalid, "host");
    expect_error(ask({.headers = {{"X", "a\nb"}}}), Code::invalid, "header");
}

TEST_F(ClientTest, LinesAreCutAsTheyAre) {
    answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n3\r\ntwo\r\n7\r\n\r\n\nfour\r\n0\r\n\r\n");
    std::vector<std::string> lines;
    const auto keep = [&](std::string_view line) { return lines.emplace_back(line), true; };
    const auto result = net::complete(network, fetch_lines(network, there, {}, keep, Deadline::none()));
    ASSERT_TRUE(result && *result);
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "", "four"}));
}

TEST_F(ClientTest, LinesEndWhenTheReaderHasEnough) {
    answering("HTTP/1.1 200 OK\r\n\r\none\ntwo\nthree", false);
    std::vector<std::string> lines;
    const auto keep = [&](std::string_view line) { return lines.emplace_back(line), lines.size() < 2; };
    const auto result = net::complete(network, fetch_lines(network, there, {}, keep, Deadline::none()));
    ASSERT_TRUE(result && *result);
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two"}));
}

TEST_F(ClientTest, ALineWithoutEndIsLimited) {
    answering("HTTP/1.1 200 OK\r\n\r\n" + std::string(100, 'x'));
    const auto keep = [](std::string_view) { return true; };
    const auto result =
        net::complete(network, fetch_lines(network, there, {}, keep, Deadline::none(), {.line_bytes = 50}));
    ASSERT_TRUE(result.has_value());
    ASSERT_FALSE(result->has_value());
    EXPECT_EQ(result->error().code, Code::limit);
}

TEST_F(ClientTest, AConnectionWithBytesNobodyAskedForIsNotUsedAgain) {
    answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false);
    auto opened = net::complete(network, ClientConnection::open(network, there, Deadline::none()));
    ASSERT_TRUE(opened && *opened);
    ClientConnection& connection = ***opened;
    const std::string wire = *serialise({}, "a");
    const auto answer = net::complete(network, connection.exchange(wire, Method::get, Deadline::none()));
    ASSERT_TRUE(answer && *answer);
    EXPECT_FALSE(connection.usable());
    const auto again = net::complete(network, connection.exchange(wire, Method::get, Deadline::none()));
    ASSERT_TRUE(again.has_value());
    EXPECT_FALSE(again->has_value());
}

TEST(Message, QueryParameters) {
    Request request;
    request.query = "a=1&b=x%20y+z&&c&a=2&d%3d=%zz";
    EXPECT_EQ(request.parameter("a"), "1");
    EXPECT_EQ(request.parameter("b"), "x y z");
    EXPECT_EQ(request.parameter("c"), "");
    EXPECT_EQ(request.parameter("d="), "%zz");
    EXPECT_FALSE(request.parameter("e").has_value());
}

TEST(Message, PercentCodingGoesBothWays) {
    std::string all;
    for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
    EXPECT_EQ(percent_decode(percent_encode(all)), all);
    EXPECT_EQ(percent_encode("a b/c~é"), "a%20b%2Fc~%C3%A9");
    EXPECT_EQ(percent_decode("%4"), "%4");
}

TEST(Message, HeadersInAnyCase) {
    Headers headers{{"A", "1"}, {"b", "2"}, {"a", "3"}};
    EXPECT_EQ(headers.get("a"), "1");
    headers.set("a", "4");
    EXPECT_EQ(headers, (Headers{{"b", "2"}, {"a", "4"}}));
}

TEST(Message, DatesAreImfFixdate) {
    EXPECT_EQ(http_date(Timestamp{784111777'000'000'000}), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_EQ(http_date(Timestamp{4102444799'999'999'999}), "Thu, 31 Dec 2099 23:59:59 GMT");
}

}  // namespace
}  // namespace plimsoll::http
