#include "snapshot/actions.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace plimsoll::snapshot {
namespace {

RequestView asked(std::string_view host, std::string_view path, std::string_view query = {},
                  std::string_view scheme = "http") {
    return {"web", scheme, host, path, query, "GET", nullptr};
}

TEST(Location, HttpsKeepsHostPathAndQuery) {
    const Redirect to{.scheme = "https"};
    EXPECT_EQ(location(to, asked("example.com", "/a", "b=c")), "https://example.com/a?b=c");
    EXPECT_EQ(location(to, asked("example.com:8080", "/a")), "https://example.com/a") << "8080 was for http";
    EXPECT_EQ(location(to, asked("[::1]:8080", "/")), "https://[::1]/");
    EXPECT_EQ(location(to, asked("example.com:8443", "/", "", "https")), "https://example.com:8443/");
    const Redirect bare{.scheme = "https", .strip_query = true};
    EXPECT_EQ(location(bare, asked("example.com", "/a", "b=c")), "https://example.com/a");
}

TEST(Location, HostPathAndPrefix) {
    EXPECT_EQ(location({.host = "new.example:444"}, asked("old", "/a", "q")), "http://new.example:444/a?q");
    EXPECT_EQ(location({.path = "/b"}, asked("h", "/a", "q", "https")), "https://h/b?q");
    EXPECT_EQ(location({.prefix = "/new", .cut = 4}, asked("h", "/old/x")), "http://h/new/x");
    EXPECT_EQ(location({.prefix = "/new", .cut = 4}, asked("h", "/old")), "http://h/new");
    EXPECT_EQ(location({.prefix = "", .cut = 4}, asked("h", "/old")), "http://h/");
    EXPECT_EQ(location({.prefix = "", .cut = 4}, asked("h", "/old/x")), "http://h/x");
}

TEST(Location, CannotBeBentToAnotherHost) {
    const Redirect strip{.prefix = "", .cut = 4};
    EXPECT_EQ(location(strip, asked("h", "/old//evil.example/")), "http://h//evil.example/")
        << "absolute, so what follows the host is a path";
    EXPECT_EQ(location(strip, asked("h", "/old/\\evil.example")), "http://h/\\evil.example");
    EXPECT_EQ(location({.scheme = "https"}, asked("user@evil.example", "/")), std::nullopt);
    EXPECT_EQ(location({.scheme = "https"}, asked("h/evil", "/")), std::nullopt);
    EXPECT_EQ(location({.scheme = "https"}, asked("", "/")), std::nullopt) << "HTTP/1.0 without Host";
    EXPECT_EQ(location({.scheme = "https"}, asked("h", "*")), std::nullopt);
    EXPECT_EQ(location({.scheme = "https"}, asked("h", "")), "https://h/");
}

TEST(Location, HoldsNoLineBreakBlankOrFragment) {
    const Redirect to{.scheme = "https"};
    EXPECT_EQ(location(to, asked("h", "/a\r\nSet-Cookie: x=y")), std::nullopt);
    EXPECT_EQ(location(to, asked("h", "/a", "b\r\nX: y")), std::nullopt);
    EXPECT_EQ(location(to, asked("h\r\n", "/a")), std::nullopt);
    EXPECT_EQ(location(to, asked("h", "/a b")), std::nullopt);
    EXPECT_EQ(location(to, asked("h", "/a#b")), std::nullopt);
    EXPECT_EQ(location(to, asked("h", "/", "a#b")), std::nullopt);
    EXPECT_EQ(location(to, asked("h", std::string(max_rewritten, '/'))), std::nullopt);
    EXPECT_EQ(location(to, asked("h", "/%0d%0aX:%20y")), "https://h/%0d%0aX:%20y") << "an escape stays one";
}

RC_GTEST_PROP(Location, WhateverIsAskedItIsAHeaderValueOnOurHost, (std::string path, std::string query)) {
    const Redirect to{.scheme = "https", .host = "h"};
    const auto made = location(to, asked("x", "/" + path, query));
    if (!made) return;
    RC_ASSERT(made->starts_with("https://h/"));
    for (const char c : *made) RC_ASSERT(static_cast<unsigned char>(c) > ' ' && c != 0x7f);
}

std::string rewritten(const Rewrite& rewrite, std::string_view path) {
    std::string out = "untouched";
    switch (rewrite_path(rewrite, path, out)) {
        case Rewritten::no: EXPECT_EQ(out, "untouched"); return "no";
        case Rewritten::yes: return out;
        case Rewritten::refused: return "refused";
    }
    return "?";
}

Rewrite by_pattern(const std::string& expression, std::string substitution) {
    Rewrite made;
    made.by_pattern = true;
    made.pattern = Pattern(expression);
    made.substitution = std::move(substitution);
    return made;
}

TEST(RewritePath, PathAndPrefix) {
    EXPECT_EQ(rewritten({}, "/a"), "no");
    EXPECT_EQ(rewritten({.path = "/b"}, "/a"), "/b");
    EXPECT_EQ(rewritten({.prefix = "/v2", .cut = 4}, "/api/x"), "/v2/x");
    EXPECT_EQ(rewritten({.prefix = "/v2", .cut = 4}, "/api"), "/v2");
    EXPECT_EQ(rewritten({.prefix = "", .cut = 4}, "/api"), "/");
    EXPECT_EQ(rewritten({.prefix = "/x", .cut = 0}, "/a"), "/x/a");
    EXPECT_EQ(rewritten({.prefix = "/v2", .cut = 4}, "/api%2fx"), "/v2%2fx") << "escapes stay as sent";
    EXPECT_EQ(rewritten({.path = "/b"}, "*"), "no") << "OPTIONS * asks for no path";
    EXPECT_EQ(rewritten({.path = "/b"}, ""), "no") << "nor does CONNECT";
}

TEST(RewritePath, Regex) {
    EXPECT_EQ(rewritten(by_pattern("^/user/([0-9]+)/", "/u\\1/"), "/user/42/x"), "/u42/x");
    EXPECT_EQ(rewritten(by_pattern("o", "0"), "/foo"), "/f0o") << "the first match only";
    EXPECT_EQ(rewritten(by_pattern("z", "0"), "/foo"), "no");
    EXPECT_EQ(rewritten(by_pattern("^/", ""), "/foo"), "refused") << "must begin with a slash";
    EXPECT_EQ(rewritten(by_pattern("o", "?admin=1&"), "/foo"), "refused") << "must not make a query of a path";
    EXPECT_EQ(rewritten(by_pattern("o", " "), "/foo"), "refused");
    EXPECT_EQ(rewritten(by_pattern("o", "\r\nX: y"), "/foo"), "refused");
    EXPECT_EQ(rewritten(by_pattern("(a+)", "\\1\\1\\1"), "/" + std::string(9000, 'a')), "refused") << "too long";
    EXPECT_EQ(rewritten(by_pattern("(", "x"), "/foo"), "no") << "a pattern that cannot be read";
    EXPECT_EQ(rewritten(by_pattern("o", "\\4"), "/foo"), "no") << "a group that is not there";
}

RC_GTEST_PROP(RewritePath, WhateverComesOutCanStandInARequestLine, (std::string path, std::string put)) {
    std::string out;
    std::string escaped;
    for (const char c : put) escaped += c == '\\' ? std::string("\\\\") : std::string(1, c);
    const Rewritten how = rewrite_path(by_pattern("b", escaped), "/" + path + "b", out);
    if (how == Rewritten::yes) RC_ASSERT(is_sendable_path(out));
}

TEST(Actions, UpgradesByNameInAnyCase) {
    Actions actions;
    EXPECT_FALSE(actions.upgrades_to("websocket"));
    actions.upgrades = {"websocket"};
    EXPECT_TRUE(actions.upgrades_to("WebSocket"));
    EXPECT_FALSE(actions.upgrades_to("websocket2"));
    EXPECT_FALSE(actions.upgrades_to("h2c"));
}

}  // namespace
}  // namespace plimsoll::snapshot
