#include "http/draft.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "http/head.h"
#include "http/writer.h"

namespace plimsoll::http {
namespace {

std::string request(const Draft& draft) {
    std::string out;
    append_http1_request(out, draft);
    return out;
}

std::string response(const Draft& draft, std::string_view connection = {}) {
    std::string out;
    append_http1_response(out, draft, draft.framing, connection);
    return out;
}

Draft get() {
    Draft draft;
    draft.method = "GET";
    draft.scheme = "https";
    draft.authority = "web.example:8443";
    draft.target = "/a?b";
    return draft;
}

TEST(Draft, WritesARequest) {
    Draft draft = get();
    draft.add("X-One", "1");
    draft.add("X-Number", std::uint64_t{18'446'744'073'709'551'615U});
    EXPECT_EQ(request(draft),
              "GET /a?b HTTP/1.1\r\nHost: web.example:8443\r\nX-One: 1\r\nX-Number: 18446744073709551615\r\n\r\n");
}

TEST(Draft, AppendsToWhatIsThere) {
    std::string out = "before";
    append_http1_request(out, get());
    append_http1_request(out, get());
    EXPECT_EQ(out, "before" + request(get()) + request(get()));
}

TEST(Draft, WritesFramings) {
    Draft draft = get();
    draft.method = "POST";
    draft.framing = {Framing::Kind::length, 5};
    EXPECT_TRUE(request(draft).ends_with("Content-Length: 5\r\n\r\n"));
    draft.framing = {Framing::Kind::chunked, 0};
    EXPECT_TRUE(request(draft).ends_with("Transfer-Encoding: chunked\r\n\r\n"));
    draft.framing = {Framing::Kind::length, 0};
    EXPECT_TRUE(request(draft).ends_with("Content-Length: 0\r\n\r\n"));
}

TEST(Draft, AnUpgradeIsAskedForByBothFields) {
    Draft draft = get();
    draft.protocol = "websocket";
    EXPECT_TRUE(request(draft).starts_with("GET /a?b HTTP/1.1\r\n"));
    EXPECT_TRUE(request(draft).ends_with("Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
    // An extended CONNECT of HTTP/2 is a GET here (RFC 8441 5).
    draft.method = "CONNECT";
    EXPECT_TRUE(request(draft).starts_with("GET /a?b HTTP/1.1\r\n"));
    RequestParser parser;
    const std::string wire = request(draft);
    ASSERT_EQ(parser.feed(wire), Progress::complete);
    EXPECT_TRUE(parser.head().upgrade);
    EXPECT_EQ(parser.head().protocol(), "websocket");
}

TEST(Draft, APlainConnectNamesItsAuthority) {
    Draft draft = get();
    draft.method = "CONNECT";
    draft.target = {};
    EXPECT_TRUE(request(draft).starts_with("CONNECT web.example:8443 HTTP/1.1\r\n"));
}

TEST(Draft, WritesAnAnswer) {
    Draft draft;
    draft.status = 404;
    draft.framing = {Framing::Kind::length, 3};
    draft.add("A", "b");
    EXPECT_EQ(response(draft), "HTTP/1.1 404 Not Found\r\nA: b\r\nContent-Length: 3\r\n\r\n");
    draft.reason = "Nope";
    EXPECT_EQ(response(draft, "close"), "HTTP/1.1 404 Nope\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
}

TEST(Draft, SetsAndRemovesWhateverTheCase) {
    Draft draft = get();
    draft.add("X-A", "1");
    draft.add("x-a", "2");
    draft.add("X-B", "3");
    draft.set("x-A", "4");
    ASSERT_EQ(draft.lines().size(), 2u);
    EXPECT_EQ(draft.lines()[0].name, "X-B");
    EXPECT_EQ(draft.lines()[1].value, "4");
    draft.remove("x-b");
    EXPECT_EQ(draft.lines().size(), 1u);
    draft.remove("absent");
    EXPECT_EQ(draft.lines().size(), 1u);
}

TEST(Draft, TrailersThatMayComeSoLate) {
    const std::string names[] = {"X-Sum",
                                 "ETag",
                                 "Content-MD5",
                                 "Proxy-Thing",
                                 "If-Match",
                                 "X-Forwarded-User",
                                 "Sec-Fetch-Mode",
                                 "Range",
                                 "WWW-Authenticate",
                                 "grpc-status",
                                 "Vary",
                                 "X-Original-URL",
                                 "Access-Control-Allow-Origin",
                                 "Host",
                                 "Cookie"};
    std::string wire;
    Fields trailers;
    for (const std::string& name : names) {
        const std::size_t at = wire.size();
        wire.append(name).append(": 1");
        ASSERT_EQ(trailers.add(std::string_view(wire).substr(at), at, {}).status, 0);
    }
    trailers.rebase(wire.data());
    Draft draft;
    draft.forward_trailers(trailers);
    std::string out;
    append_http1_trailers(out, draft);
    EXPECT_EQ(out, "0\r\nX-Sum: 1\r\nETag: 1\r\ngrpc-status: 1\r\n\r\n");
}

TEST(Draft, ForwardsWhatMayBeForwarded) {
    RequestParser parser;
    const std::string wire =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-Keep: 2\r\n"
        "TE: trailers\r\nCookie: c\r\nAccept: */*\r\n\r\n";
    ASSERT_EQ(parser.feed(wire), Progress::complete);
    Draft draft = get();
    draft.forward(parser.head().fields, drop(Known::cookie));
    EXPECT_EQ(request(draft), "GET /a?b HTTP/1.1\r\nHost: web.example:8443\r\nX-Keep: 2\r\nAccept: */*\r\n\r\n");
}

TEST(Draft, KeptTextStaysWhereItIs) {
    Draft draft;
    std::vector<std::pair<std::string_view, std::string>> kept;
    for (std::size_t i = 0; i < 300; ++i) {
        std::string text((i * 37) % 5000, static_cast<char>('a' + i % 26));
        const std::string_view own = draft.keep(text);
        kept.emplace_back(own, std::move(text));
    }
    for (const auto& [own, text] : kept) EXPECT_EQ(own, text);
    EXPECT_EQ(draft.keep({}), "");
    draft.clear();
    const std::string_view again = draft.keep("again");
    EXPECT_EQ(again, "again");
}

TEST(Draft, OwnsWhatItWasMadeFrom) {
    Draft draft;
    {
        std::string method = "GET", host = "a.example", target = "/t", name = "X-Name",
                    value = "a value of some length";
        draft.method = method;
        draft.authority = host;
        draft.target = target;
        draft.add(name, value);
        draft.own();
        for (std::string* text : {&method, &host, &target, &name, &value}) text->assign(text->size(), '!');
    }
    EXPECT_EQ(request(draft), "GET /t HTTP/1.1\r\nHost: a.example\r\nX-Name: a value of some length\r\n\r\n");
}

TEST(Draft, AClearedDraftIsEmpty) {
    Draft draft = get();
    draft.protocol = "websocket";
    draft.status = 200;
    draft.framing = {Framing::Kind::length, 9};
    draft.add("a", "b");
    draft.clear();
    EXPECT_TRUE(draft.lines().empty());
    EXPECT_EQ(draft.method, "");
    EXPECT_EQ(draft.protocol, "");
    EXPECT_EQ(draft.status, 0);
    EXPECT_EQ(draft.framing, Framing{});
}

TEST(DraftDeathTest, NeverSplitsAMessage) {
    Draft draft = get();
    EXPECT_DEATH(draft.add("X", "a\r\nEvil: b"), "split");
    EXPECT_DEATH(draft.add("X\r\nEvil", "b"), "split");
    EXPECT_DEATH(draft.add("", "b"), "split");
}

/// What is written is read back as it was meant.
RC_GTEST_PROP(DraftProperty, IsReadBack, ()) {
    const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange('a', 'z')));
    const auto value = rc::gen::container<std::string>(rc::gen::inRange('!', '~'));
    const auto lines = *rc::gen::resize(
        20, rc::gen::container<std::vector<std::pair<std::string, std::string>>>(rc::gen::pair(word, value)));
    Draft draft = get();
    std::vector<std::pair<std::string, std::string>> given;
    for (const auto& [name, text] : lines) {
        if (classify(name) != Known::other) continue;
        draft.add(name, text);
        given.emplace_back(name, text);
    }
    const std::string wire = request(draft);
    RequestParser parser;
    RC_ASSERT(parser.feed(wire) == Progress::complete);
    RC_ASSERT(parser.head().bytes == wire.size());
    RC_ASSERT(parser.head().fields.size() == given.size() + 1);
    for (std::size_t i = 0; i < given.size(); ++i) {
        RC_ASSERT(std::string(parser.head().fields[i + 1].name) == given[i].first);
        RC_ASSERT(std::string(parser.head().fields[i + 1].value) == given[i].second);
    }
}

}  // namespace
}  // namespace plimsoll::http
