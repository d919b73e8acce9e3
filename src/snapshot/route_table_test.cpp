// Matching: its plain meaning, the big table against that meaning, and conditions at their edges.
#include "snapshot/route_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <re2/re2.h>

#include <map>

#include "snapshot/snapshot.h"

// Matches are written here by the few conditions they have.
#pragma clang diagnostic ignored "-Wmissing-designated-field-initializers"

namespace plimsoll::snapshot {
namespace {

using config::Config;
using config::FieldMatch;
using Lines = std::vector<std::pair<std::string, std::string>>;

HeaderLookup lookup(const Lines& lines) {
    return {lines, [](const Lines& in, std::string_view name, ValueSink sink) {
                for (const auto& [key, value] : in) {
                    std::string lower = key;
                    for (char& c : lower) c = static_cast<char>(std::tolower(c));
                    if (lower == name && !sink(value)) return;
                }
            }};
}

// ---- the plain meaning, written once more and without cleverness ----------------------------------------------------

std::string decoded(const std::string& text) {
    std::string made;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '%' && i + 2 < text.size() && std::isxdigit(text[i + 1]) && std::isxdigit(text[i + 2])) {
            made += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
            i += 2;
        } else {
            made += text[i] == '+' ? ' ' : text[i];
        }
    }
    return made;
}

bool some_value_fits(const FieldMatch& field, const std::vector<std::string>& values) {
    for (const std::string& value : values) {
        if (field.exact ? value == *field.exact : field.regex ? RE2::FullMatch(value, *field.regex) : true) return true;
    }
    return false;
}

bool plain_header(const FieldMatch& field, const Lines& lines) {
    std::vector<std::string> values;
    std::string joined;
    for (const auto& [name, value] : lines) {
        if (strcasecmp(name.c_str(), field.name.c_str()) != 0) continue;
        if (!values.empty()) joined += ", ";
        joined += value;
        values.push_back(value);
    }
    if (values.size() > 1) values.push_back(joined);
    return some_value_fits(field, values) != field.invert;
}

bool plain_query(const FieldMatch& field, const std::string& query) {
    std::vector<std::string> values;
    std::size_t at = 0;
    while (at <= query.size()) {
        const std::size_t end = std::min(query.find('&', at), query.size());
        const std::string part = query.substr(at, end - at);
        const std::size_t equals = std::min(part.find('='), part.size());
        if (!part.empty() && decoded(part.substr(0, equals)) == field.name) {
            values.push_back(equals < part.size() ? decoded(part.substr(equals + 1)) : "");
        }
        at = end + 1;
    }
    return some_value_fits(field, values) != field.invert;
}

bool plain_host(std::string pattern, std::string host) {
    for (char& c : pattern) c = static_cast<char>(std::tolower(c));
    for (char& c : host) c = static_cast<char>(std::tolower(c));
    host = host.substr(0, host.find(':'));
    if (host.ends_with('.')) host.pop_back();
    if (pattern == "*") return true;
    if (!pattern.starts_with("*.")) return host == pattern;
    return host.size() >= pattern.size() && host.ends_with(pattern.substr(1));
}

struct Asked {
    std::string listener, host, path, query, method;
    Lines lines;
};

bool plain_match(const config::Match& m, const Asked& asked) {
    const auto among = [](const std::vector<std::string>& names, const std::string& is) {
        return names.empty() || std::ranges::find(names, is) != names.end();
    };
    if (m.host && !plain_host(*m.host, asked.host)) return false;
    if (!among(m.listeners, asked.listener) || !among(m.methods, asked.method)) return false;
    if (m.path && asked.path != *m.path) return false;
    if (m.path_prefix) {
        std::string prefix = *m.path_prefix;
        while (prefix.ends_with('/')) prefix.pop_back();
        if (asked.path != prefix && !asked.path.starts_with(prefix + "/") && !prefix.empty()) return false;
    }
    if (m.path_regex && !RE2::FullMatch(asked.path, *m.path_regex)) return false;
    for (const auto& field : m.headers) {
        if (!plain_header(field, asked.lines)) return false;
    }
    for (const auto& field : m.query) {
        if (!plain_query(field, asked.query)) return false;
    }
    return true;
}

// ---- random tables and requests
// --------------------------------------------------------------------------------------

template <class T>
T one_of(std::vector<T> values) {
    return *rc::gen::elementOf(std::move(values));
}

FieldMatch any_field(std::vector<std::string> names) {
    FieldMatch field;
    field.name = one_of(std::move(names));
    const int kind = *rc::gen::inRange(0, 3);
    if (kind == 1) field.exact = one_of<std::string>({"1", "a b", "1, 2", "", "x"});
    if (kind == 2) field.regex = one_of<std::string>({"[0-9]+", ".*", "a.b", "1, 2|x"});
    field.invert = *rc::gen::inRange(0, 4) == 0;
    return field;
}

config::Match any_match() {
    config::Match m;
    if (*rc::gen::inRange(0, 3) > 0) {
        m.host = one_of<std::string>({"a.x", "b.A.x", "*.x", "*.a.x", "*.b.a.x", "*", "c.y"});
    }
    const int kind = *rc::gen::inRange(0, 5);
    if (kind == 1) m.path = one_of<std::string>({"/", "/a", "/a/b", "/a/", "*", "/a//b"});
    if (kind == 2 || kind == 3) m.path_prefix = one_of<std::string>({"/", "/a", "/a/", "/a/b", "/ab", "/a//b", "/a//"});
    if (kind == 4) m.path_regex = one_of<std::string>({"/a.*", "/[ab]", ".*b"});
    if (*rc::gen::inRange(0, 6) == 0) m.listeners = {one_of<std::string>({"web", "internal"})};
    if (*rc::gen::inRange(0, 4) == 0) m.methods = {one_of<std::string>({"GET", "POST"}), "HEAD"};
    if (*rc::gen::inRange(0, 4) == 0) m.headers.push_back(any_field({"X-A", "x-b"}));
    if (*rc::gen::inRange(0, 4) == 0) m.query.push_back(any_field({"q", "a b"}));
    return m;
}

Asked any_request() {
    Asked asked;
    asked.listener = one_of<std::string>({"web", "internal", ""});
    asked.host = one_of<std::string>({"a.x", "A.x.", "b.a.x", "b.a.x:80", "z.b.a.x", "x", ".x", "c.y", "", "x."});
    asked.path =
        one_of<std::string>({"/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "//a", "/a//b", "/a//b/c", "*", "", "/b"});
    asked.query =
        one_of<std::string>({"", "q", "q=1", "q=2&q=1", "q=a+b", "q=a%20b", "%71=x", "a+b=1", "q=%zz&&q=1,+2"});
    asked.method = one_of<std::string>({"GET", "POST", "HEAD", ""});
    const int lines = *rc::gen::inRange(0, 4);
    for (int i = 0; i < lines; ++i) {
        asked.lines.emplace_back(one_of<std::string>({"x-a", "X-A", "X-B", "other"}),
                                 one_of<std::string>({"1", "2", "x", "", "a b"}));
    }
    return asked;
}

RequestView view(const Asked& asked, const HeaderLookup& headers) {
    return {asked.listener, "http", asked.host, asked.path, asked.query, asked.method, &headers};
}

RC_GTEST_PROP(RouteTable, IsTheFirstRouteInFileOrderAllOfWhoseConditionsHold, ()) {
    std::vector<config::Route> routes(static_cast<std::size_t>(*rc::gen::inRange(0, 40)));
    for (auto& route : routes) route.match = any_match();
    const RouteTable table(routes);
    for (int i = 0; i < 30; ++i) {
        const Asked asked = any_request();
        const HeaderLookup headers = lookup(asked.lines);
        std::optional<RouteIndex> expected;
        for (std::uint32_t at = 0; at < routes.size(); ++at) {
            const bool matches = plain_match(routes[at].match, asked);
            RC_ASSERT(matches == !why_not(routes[at].match, view(asked, headers)).has_value());
            if (matches && !expected) expected = RouteIndex{at};
        }
        RC_ASSERT(table.match(view(asked, headers)) == expected);
    }
}

RC_GTEST_PROP(WordTable, FindsWhatWasAddedAndNothingElse, (std::vector<std::string> words)) {
    WordTable table;
    std::map<std::pair<std::uint32_t, std::string>, std::uint32_t> expected;
    for (std::uint32_t i = 0; i < words.size(); ++i) {
        const std::uint32_t scope = i % 3;
        const auto [known, is_new] = expected.try_emplace({scope, words[i]}, i);
        RC_ASSERT(table.add(scope, words[i], i) == known->second);
    }
    for (const auto& [key, value] : expected) RC_ASSERT(table.find(key.first, key.second) == value);
    RC_ASSERT(table.size() == expected.size());
    RC_ASSERT(table.find(7, "x") == WordTable::missing);
}

// ---- by example
// ------------------------------------------------------------------------------------------------------

struct Table {
    Config config;
    Identities ids;
    std::shared_ptr<const Snapshot> made;

    explicit Table(std::vector<config::Match> matches) {
        config.pools.resize(1);
        config.pools[0].name = "web";
        for (std::size_t i = 0; i < matches.size(); ++i) {
            config::Route route;
            route.name = "r" + std::to_string(i);
            route.match = std::move(matches[i]);
            route.pool = "web";
            config.routes.push_back(std::move(route));
        }
        made = compile(config, {1}, ids, 1);
    }
    [[nodiscard]] int taken(const RequestView& request) const {
        const auto route = made->match(request);
        return route ? static_cast<int>(route->value) : -1;
    }
    [[nodiscard]] int taken(std::string_view host, std::string_view path = "/") const {
        RequestView request;
        request.host = host;
        request.path = path;
        return taken(request);
    }
};

TEST(Hosts, AWildcardIsOneLabelOrMoreButNotTheBareDomain) {
    const Table t({{.host = "*.example.com"}});
    EXPECT_EQ(t.taken("a.example.com"), 0);
    EXPECT_EQ(t.taken("A.b.EXAMPLE.com.:443"), 0);
    EXPECT_EQ(t.taken("example.com"), -1);
    EXPECT_EQ(t.taken("badexample.com"), -1);
    EXPECT_EQ(t.taken(".example.com"), -1);
    EXPECT_EQ(t.taken("a.example.com.evil.org"), -1);
    EXPECT_EQ(t.taken("a.example.com", "*"), 0);
}

TEST(Hosts, FileOrderBeatsTheMoreSpecificName) {
    const Table t({{.host = "*.example.com", .path_prefix = "/api"}, {.host = "a.example.com"}, {.host = "*.com"}});
    EXPECT_EQ(t.taken("a.example.com", "/api/x"), 0);
    EXPECT_EQ(t.taken("a.example.com", "/x"), 1);
    EXPECT_EQ(t.taken("b.example.com", "/x"), 2);
}

TEST(Hosts, AStarTakesRequestsWithoutAHost) {
    const Table t({{.host = "*"}});
    EXPECT_EQ(t.taken(""), 0);
    EXPECT_EQ(t.taken(std::string(5000, 'a')), 0);
}

TEST(Paths, AreTakenAsSent) {
    const Table t({{.path_prefix = "/admin"}, {.path = "/a%2fb"}, {.path_regex = "/a/[^/]+"}});
    EXPECT_EQ(t.taken("", "/%61dmin"), -1) << "no decoding: the server is asked for what was matched";
    EXPECT_EQ(t.taken("", "/x/../admin"), -1) << "no dot segments removed";
    EXPECT_EQ(t.taken("", "//admin"), -1) << "no slashes merged";
    EXPECT_EQ(t.taken("", "/ADMIN"), -1) << "paths have case";
    EXPECT_EQ(t.taken("", "/a%2fb"), 1);
    EXPECT_EQ(t.taken("", "/a%2Fb"), -1) << "an escape's case is part of it";
    EXPECT_EQ(t.taken("", "/a/b"), 2);
    EXPECT_EQ(t.taken("", "/a/b/c"), -1) << "a regex is of the whole path";
    EXPECT_EQ(t.taken("", "/a/\xff\xfe"), 2) << "bytes, not characters";
    EXPECT_EQ(t.taken("", "/admin?x=/y"), 0) << "the query is no part of the path";
}

TEST(Headers, EveryLineAndTheJoinedOneAreSeen) {
    const Table deny({{.headers = {{.name = "X-Role", .exact = "admin"}}}});
    const auto taken = [&](const Table& t, const Lines& lines) {
        const HeaderLookup headers = lookup(lines);
        RequestView request;
        request.headers = &headers;
        return t.taken(request);
    };
    EXPECT_EQ(taken(deny, {{"x-role", "admin"}}), 0);
    EXPECT_EQ(taken(deny, {{"x-role", "guest"}, {"X-ROLE", "admin"}}), 0) << "hidden behind another line";
    EXPECT_EQ(taken(deny, {{"x-role", "admin"}, {"X-ROLE", "guest"}}), 0);
    EXPECT_EQ(taken(deny, {{"x-role", "guest"}}), -1);
    EXPECT_EQ(taken(deny, {}), -1);
    const Table joined({{.headers = {{.name = "x-role", .exact = "a, b"}}}});
    EXPECT_EQ(taken(joined, {{"x-role", "a"}, {"x-role", "b"}}), 0) << "split over two lines";
    EXPECT_EQ(taken(joined, {{"x-role", "a, b"}}), 0);
    const Table unless({{.headers = {{.name = "x-role", .exact = "admin", .invert = true}}}});
    EXPECT_EQ(taken(unless, {{"x-role", "guest"}, {"x-role", "admin"}}), -1) << "an exception is not got round either";
    EXPECT_EQ(taken(unless, {}), 0);
    const Table absent({{.headers = {{.name = "x-role", .invert = true}}}});
    EXPECT_EQ(taken(absent, {{"x-role", ""}}), -1) << "empty is there";
    EXPECT_EQ(taken(absent, {}), 0);
    const Table wide({{.headers = {{.name = "x-role", .regex = "a+, b+"}}}});
    EXPECT_EQ(taken(wide, {{"x-role", std::string(3000, 'a')}, {"x-role", std::string(3000, 'b')}}), 0);
}

TEST(Headers, ARegexThatCannotBeReadNeverHoldsNotEvenInverted) {
    const Table t({{.headers = {{.name = "x", .regex = "("}}},
                   {.headers = {{.name = "x", .regex = "(", .invert = true}}},
                   {.path_regex = "("}});
    EXPECT_EQ(t.taken("", "/"), -1);
    EXPECT_TRUE(pattern_error("(").has_value());
    EXPECT_FALSE(pattern_error("a|b").has_value());
    EXPECT_TRUE(substitution_error("(a)", "\\2").has_value());
    EXPECT_FALSE(substitution_error("(a)", "\\1").has_value());
}

TEST(Query, IsDecodedAndEveryValueIsSeen) {
    const Table t({{.query = {{.name = "v", .exact = "a b/c"}}}, {.query = {{.name = "n", .regex = "[0-9]+"}}}});
    EXPECT_EQ(t.taken("", "/?v=a+b/c"), 0);
    EXPECT_EQ(t.taken("", "/?v=x&v=a%20b%2Fc"), 0);
    EXPECT_EQ(t.taken("", "/?%76=a b%2fc"), 0);
    EXPECT_EQ(t.taken("", "/?v=a%20b%2Fc%"), -1);
    EXPECT_EQ(t.taken("", "/?n=%31%32"), 1);
    EXPECT_EQ(t.taken("", "/?n="), -1);
    EXPECT_EQ(t.taken("", "/?n=x&m=1;n=1"), -1) << "';' separates nothing";
    EXPECT_EQ(t.taken("", "/?n=" + std::string(20'000, '+') + "1"), -1);
}

TEST(Match, WhatIsNotKnownOfARequestDoesNotFulfilAnything) {
    const Table t({{.listeners = {"internal"}},
                   {.methods = {"POST"}},
                   {.headers = {{.name = "x-beta"}}},
                   {.query = {{.name = "q"}}},
                   {.headers = {{.name = "x-beta", .invert = true}}}});
    EXPECT_EQ(t.taken("a.x"), 4);
}

TEST(Match, MethodsAndListeners) {
    const Table t({{.listeners = {"internal", "admin"}, .methods = {"GET", "HEAD"}}, {.methods = {"POST"}}});
    RequestView request{"admin", "http", "a", "/", "", "HEAD", nullptr};
    EXPECT_EQ(t.taken(request), 0);
    request.method = "get";
    EXPECT_EQ(t.taken(request), -1) << "methods have case";
    request.method = "POST";
    EXPECT_EQ(t.taken(request), 1);
    request.method = "GET";
    request.listener = "public";
    EXPECT_EQ(t.taken(request), -1);
}

TEST(Match, DeepPathsAndManySegmentsCostNoMoreThanTheTableIsDeep) {
    const Table t({{.path_prefix = "/a/b/c"}, {.path_prefix = "/"}});
    EXPECT_EQ(t.taken("", "/a/b/c" + std::string(16'000, '/')), 0);
    EXPECT_EQ(t.taken("", std::string(16'000, '/')), 1);
}

TEST(WhyNot, NamesTheFirstConditionThatFails) {
    const config::Match m{.host = "a.x",
                          .path_prefix = "/api",
                          .listeners = {"web"},
                          .methods = {"GET"},
                          .headers = {{.name = "X-Beta", .exact = "1"}},
                          .query = {{.name = "q", .regex = "[0-9]+"}}};
    const Lines lines{{"x-beta", "0"}};
    const HeaderLookup headers = lookup(lines);
    RequestView r{"", "http", "b.x", "/apix", "q=a", "POST", nullptr};
    EXPECT_EQ(why_not(m, r)->text, "host \"b.x\" is not a.x");
    r.host = "a.x";
    EXPECT_EQ(why_not(m, r)->text, "listener is not known, not web");
    r.listener = "web";
    EXPECT_EQ(why_not(m, r)->text, "path \"/apix\" is not below /api");
    r.path = "/api\x1b[2J";
    EXPECT_EQ(why_not(m, r)->text, "path \"/api\\x1b[2J\" is not below /api") << "nothing that a terminal obeys";
    r.path = "/api/x";
    EXPECT_EQ(why_not(m, r)->text, "method is POST, not GET");
    r.method = "GET";
    EXPECT_EQ(why_not(m, r)->text, "header x-beta is not there");
    r.headers = &headers;
    EXPECT_EQ(why_not(m, r)->text, "header x-beta is \"0\", not \"1\"");
    EXPECT_EQ(why_not(m, r)->unmet, Unmet::header);
}

}  // namespace
}  // namespace plimsoll::snapshot
