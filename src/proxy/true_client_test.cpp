#include "proxy/true_client.h"

#include <gtest/gtest.h>

#include <rapidcheck/gtest.h>

#include "proxy/lines_for_test.h"

namespace plimsoll::proxy {
namespace {

using test::Lines;

const net::Networks& proxies() {
    static const net::Networks networks =
        *net::Networks::parse(std::vector<std::string>{"10.0.0.0/8", "2001:db8:ffff::/48"});
    return networks;
}

std::string seen(std::string_view peer, const Lines& lines) {
    return true_client(*net::Address::ip(peer, 1000), lines.fields(), proxies()).address.text();
}

TEST(TrueClient, AStrangerIsWhoConnected) {
    const Lines lines{"X-Forwarded-For: 10.0.0.1", "Forwarded: for=1.2.3.4"};
    const TrueClient client = true_client(*net::Address::ip("192.0.2.9", 5), lines.fields(), proxies());
    EXPECT_EQ(client.address.text(), "192.0.2.9:5");
    EXPECT_FALSE(client.believed);
    EXPECT_TRUE(true_client(*net::Address::ip("10.0.0.1", 5), lines.fields(), proxies()).believed);
}

TEST(TrueClient, TheRightMostThatIsNotTrusted) {
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 192.0.2.1"}), "192.0.2.1:0");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2"}), "192.0.2.1:0");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1,10.0.0.2", "A: b",
                                "X-Forwarded-For: 10.0.0.3"}),
              "192.0.2.1:0")
        << "lines are one list";
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 10.0.0.9, 10.0.0.2"}), "10.0.0.9:0") << "all trusted: the left-most";
    EXPECT_EQ(seen("10.0.0.1", {}), "10.0.0.1:1000");
}

TEST(TrueClient, PortsBracketsAndMappedAddresses) {
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 192.0.2.1:4711"}), "192.0.2.1:4711");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: [2001:db8::1]:4711"}), "[2001:db8::1]:4711");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: [2001:db8::1]"}), "[2001:db8::1]:0");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 2001:db8::1, 2001:db8:ffff::7"}), "[2001:db8::1]:0");
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: ::ffff:192.0.2.1, ::ffff:10.9.9.9"}), "192.0.2.1:0");
    EXPECT_EQ(seen("::ffff:10.0.0.1", {"X-Forwarded-For: 192.0.2.1"}), "192.0.2.1:0");
}

TEST(TrueClient, GarbageStopsTheWalk) {
    for (const std::string_view bad : {"unknown", "_hidden", "1.2.3", "192.0.2.1:", "192.0.2.1:99999", "192.0.2.1:8x",
                                       "[2001:db8::1", "[2001:db8::1]x", "[192.0.2.1]", "evil.example", "\"1.2.3.4\"",
                                       "fe80::1%eth0", "1.2.3.4 5.6.7.8", "for=1.2.3.4"}) {
        const std::string line = "X-Forwarded-For: 192.0.2.1, " + std::string(bad) + ", 10.0.0.2";
        EXPECT_EQ(seen("10.0.0.1", {line}), "10.0.0.2:0") << bad;
        const std::string last = "X-Forwarded-For: 192.0.2.1, " + std::string(bad);
        EXPECT_EQ(seen("10.0.0.1", {last}), "10.0.0.1:1000") << bad;
    }
    EXPECT_EQ(seen("10.0.0.1", {"X-Forwarded-For: 192.0.2.1, , ,10.0.0.2,"}), "192.0.2.1:0") << "nothing is no garbage";
}

TEST(TrueClient, ForwardedCountsOnlyWithoutXForwardedFor) {
    EXPECT_EQ(seen("10.0.0.1", {"Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2;by=10.0.0.1"}), "192.0.2.1:0");
    EXPECT_EQ(seen("10.0.0.1", {"Forwarded: proto=http; For=\"[2001:db8::1]:4711\" ; host=a"}), "[2001:db8::1]:4711");
    EXPECT_EQ(seen("10.0.0.1", {"Forwarded: for=6.6.6.6", "X-Forwarded-For: 192.0.2.1"}), "192.0.2.1:0");
    for (const std::string_view bad : {"for=unknown", "for=_x", "proto=http", "for=1.2.3.4;for=5.6.7.8",
                                       "for=\"1.2.3.4", "1.2.3.4", "for", "for=", "for=\"1.2.\\3.4\""}) {
        const std::string line = "Forwarded: for=192.0.2.1, " + std::string(bad) + ", for=10.0.0.2";
        EXPECT_EQ(seen("10.0.0.1", {line}), "10.0.0.2:0") << bad;
    }
}

TEST(TrueClient, TheWalkIsBounded) {
    std::string line = "X-Forwarded-For: 192.0.2.1";
    for (std::size_t i = 0; i < max_forwarded_elements; ++i) line += ", 10.0.0.2";
    EXPECT_EQ(seen("10.0.0.1", {line}), "10.0.0.2:0");
}

TEST(TrueClient, WhatIsAppended) {
    EXPECT_EQ(forwarded_for(*net::Address::ip("192.0.2.1", 9)), "192.0.2.1");
    EXPECT_EQ(forwarded_for(*net::Address::ip("2001:db8::1", 9)), "2001:db8::1");
    EXPECT_EQ(forwarded_for(*net::Address::unix_socket("/run/x")), "unknown");
    EXPECT_EQ(forwarded_element(*net::Address::ip("192.0.2.1", 9)), "for=192.0.2.1");
    EXPECT_EQ(forwarded_element(*net::Address::ip("2001:db8::1", 9)), "for=\"[2001:db8::1]\"");
    EXPECT_EQ(forwarded_element(net::Address()), "for=unknown");
}

/// Whatever stands to the left, nobody outside can say that he is somebody else.
RC_GTEST_PROP(TrueClient, WhatAClientInventsChangesNothing, ()) {
    std::string invented;
    for (int i = *rc::gen::inRange(0, 20); i > 0; --i)
        invented += *rc::gen::element(std::string("10.0.0.1"), std::string("6.6.6.6"), std::string(","),
                                      std::string(" "), std::string(";"), std::string("for="), std::string("\""),
                                      std::string("["), std::string("::1"), std::string(":80"), std::string("unknown"));
    const std::string chain = "X-Forwarded-For: " + invented + ", 192.0.2.1, 10.0.0.7";
    RC_ASSERT(seen("10.0.0.1", {chain}) == "192.0.2.1:0");
    const std::string own = "X-Forwarded-For: " + invented;
    RC_ASSERT(seen("192.0.2.1", {own}) == "192.0.2.1:1000");
}

}  // namespace
}  // namespace plimsoll::proxy
