#include "proxy/affinity.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>
#include <set>

#include "http/fields.h"
#include "proxy/lines_for_test.h"

namespace plimsoll::proxy {
namespace {

using namespace std::chrono_literals;
using test::Lines;

constexpr Timestamp now{1'795'000'000'000'000'000};

const std::vector<SessionMember>& members() {
    static const std::vector<SessionMember> all = {
        {EndpointId{4}, "10.0.0.4:80"}, {EndpointId{9}, "10.0.0.9:80"}, {EndpointId{2}, "10.0.0.2:80"}};
    return all;
}

Sessions sessions(Duration ttl = 1h, std::string pool = "web", std::string secret = "s3cret") {
    return Sessions({std::move(pool), "plimsoll", std::move(secret), ttl}, members());
}

std::optional<EndpointId> found(const Sessions& in, std::string_view cookies, Timestamp at = now) {
    const std::string line = "Cookie: " + std::string(cookies);
    const Lines lines{line};
    EXPECT_FALSE(lines.refused());
    const auto session = in.find(lines.fields(), at);
    return session ? std::optional(session->endpoint) : std::nullopt;
}

TEST(Sessions, TheCookieLeadsBack) {
    const Sessions ours = sessions();
    for (const SessionMember& member : members())
        EXPECT_EQ(found(ours, "plimsoll=" + *ours.value(member.id, now)), member.id);
    EXPECT_EQ(found(sessions(), "plimsoll=" + *ours.value(EndpointId{4}, now)), EndpointId{4}) << "another process";
    EXPECT_EQ(ours.value(EndpointId{5}, now), std::nullopt);
    EXPECT_EQ(ours.set_cookie(EndpointId{5}, now, true), std::nullopt);
}

TEST(Sessions, TheTextOfTheField) {
    const std::string value = *sessions().value(EndpointId{4}, now);
    EXPECT_EQ(value.size(), 39u);
    EXPECT_EQ(*sessions().set_cookie(EndpointId{4}, now, true),
              "plimsoll=" + value + "; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure");
    EXPECT_EQ(*sessions(0ns).set_cookie(EndpointId{4}, now, false),
              "plimsoll=" + *sessions(0ns).value(EndpointId{4}, now) + "; Path=/; HttpOnly; SameSite=Lax");
    EXPECT_TRUE(http::is_field_value(*sessions().set_cookie(EndpointId{4}, now, true)));
    EXPECT_EQ(value.find("10.0"), std::string::npos);
}

TEST(Sessions, AmongOthersQuotedAndTwice) {
    const Sessions ours = sessions();
    const std::string four = *ours.value(EndpointId{4}, now), nine = *ours.value(EndpointId{9}, now);
    EXPECT_EQ(found(ours, "a=b; plimsoll=" + four + "; c=d"), EndpointId{4});
    EXPECT_EQ(found(ours, "a;plimsoll=\"" + four + "\";"), EndpointId{4});
    EXPECT_EQ(found(ours, "plimsoll=; plimsoll=x; plimsoll=" + nine + "; plimsoll=" + four), EndpointId{9});
    EXPECT_EQ(found(ours, "Plimsoll=" + four), std::nullopt) << "names are case-sensitive";
    EXPECT_EQ(found(ours, "xplimsoll=" + four), std::nullopt);
    const std::string first = "Cookie: plimsoll=wrong", second = "cookie: a=b; plimsoll=" + nine;
    const Lines crumbs{first, "Accept: */*", second};
    EXPECT_EQ(ours.find(crumbs.fields(), now)->endpoint, EndpointId{9});
    const std::string other = "X-Cookie: plimsoll=" + nine;
    const Lines none{other};
    EXPECT_FALSE(ours.find(none.fields(), now));
}

TEST(Sessions, TheWorkPerRequestIsBounded) {
    const Sessions ours = sessions();
    const std::string four = *ours.value(EndpointId{4}, now);
    EXPECT_EQ(found(ours, "plimsoll=1; plimsoll=2; plimsoll=3; plimsoll=" + four), EndpointId{4});
    EXPECT_EQ(found(ours, "plimsoll=1; plimsoll=2; plimsoll=3; plimsoll=4; plimsoll=" + four), std::nullopt);
}

TEST(Sessions, AnotherPoolSecretOrAddressSaysNothing) {
    const std::string cookie = "plimsoll=" + *sessions().value(EndpointId{4}, now);
    EXPECT_EQ(found(sessions(1h, "api"), cookie), std::nullopt);
    EXPECT_EQ(found(sessions(1h, "web", "other"), cookie), std::nullopt);
    const std::vector<SessionMember> left = {{EndpointId{4}, "10.0.0.44:80"}};
    EXPECT_EQ(found(Sessions({"web", "plimsoll", "s3cret", 1h}, left), cookie), std::nullopt) << "its server has left";
}

TEST(Sessions, ItExpiresAndIsRenewedInTime) {
    const Sessions ours = sessions(1h);
    const std::string line = "Cookie: plimsoll=" + *ours.value(EndpointId{4}, now);
    const Lines lines{line};
    EXPECT_FALSE(ours.find(lines.fields(), now)->renew);
    EXPECT_FALSE(ours.find(lines.fields(), now + 30min)->renew);
    EXPECT_TRUE(ours.find(lines.fields(), now + 31min)->renew);
    EXPECT_TRUE(ours.find(lines.fields(), now + 3599s));
    EXPECT_FALSE(ours.find(lines.fields(), now + 1h));
    const std::string forever = "Cookie: plimsoll=" + *sessions(0ns).value(EndpointId{4}, now);
    const Lines session{forever};
    EXPECT_FALSE(sessions(0ns).find(session.fields(), now + 10'000h)->renew);
    EXPECT_TRUE(ours.find(session.fields(), now)->renew) << "a ttl was configured since";
}

TEST(Sessions, MarksOfEndpointsDiffer) {
    std::set<std::string> marks;
    for (const SessionMember& member : members()) marks.insert(sessions(0ns).value(member.id, now)->substr(0, 10));
    marks.insert(sessions(0ns, "api").value(EndpointId{4}, now)->substr(0, 10));
    EXPECT_EQ(marks.size(), 4u);
}

/// Any other text than the one that was handed out is refused, one bit or one letter off included.
RC_GTEST_PROP(Sessions, ForgedCookiesAreRefused, ()) {
    const Sessions ours = sessions();
    std::string value = *ours.value(EndpointId{4}, now);
    const std::string right = value;
    const std::size_t at = *rc::gen::inRange<std::size_t>(0, value.size());
    switch (*rc::gen::inRange(0, 3)) {
        case 0: value[at] = *rc::gen::element('A', 'b', '9', '-', '_', '=', '+', '/', '.'); break;
        case 1: value.erase(at, 1); break;
        default: value.insert(at, 1, *rc::gen::element('A', '_', '=')); break;
    }
    RC_PRE(value != right);
    RC_ASSERT(!found(ours, "plimsoll=" + value));
}

}  // namespace
}  // namespace plimsoll::proxy
